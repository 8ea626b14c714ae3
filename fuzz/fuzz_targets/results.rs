// SPDX-License-Identifier: Apache-2.0
//! What users write at the elements for results: addresses, topics, tags; and labels to draw.
#![no_main]

use aivideo_meta::{json, overlay::text::Type, publish::target};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok((host, port)) = target::parse_address(text, &["mqtt", "tcp"], 1883) {
        assert!(!host.is_empty() && port > 0);
    }
    let _ = target::parse_brokers(text);
    let _ = (
        target::check_mqtt_topic(text),
        target::check_kafka_topic(text),
    );
    let _ = json::parse_tags(text);
    thread_local!(static FONT: std::cell::RefCell<Option<Type>> = std::cell::RefCell::new(Type::built_in().ok()));
    FONT.with_borrow_mut(|font| {
        if let Some(font) = font {
            let mask = font.line(text, 12, 200);
            assert!(mask.width <= 200);
            assert_eq!(mask.coverage.len(), mask.width * mask.height);
        }
    });
});
