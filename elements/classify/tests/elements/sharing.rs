// SPDX-License-Identifier: Apache-2.0
//! Several elements, one model.

use gst::prelude::*;

use crate::common::{Bench, element, grey, probe, probed};

#[test]
fn elements_with_one_instance_id_share_an_engine() {
    let model = probe();
    let id = [("sync", "true"), ("model-instance-id", "shared-by-two")];
    let mut benches = [
        Bench::with_probe(&model, &id),
        Bench::with_probe(&model, &id),
    ];
    for (k, bench) in benches.iter_mut().enumerate() {
        bench.caps("RGB", 16, 16);
        let level = 50 + 100 * k as u8;
        let mut results = Vec::new();
        for i in 0..16 {
            results.extend(bench.pass(grey(level, i)));
        }
        assert_eq!(results.len(), 1);
        assert!(
            (probed(&results[0]).0 - f64::from(level)).abs() < 0.2,
            "each gets its own result"
        );
    }
    for bench in &benches {
        assert_eq!(bench.stat("frames"), 2, "one engine counts for both");
        assert_eq!(bench.stat("clips"), 1, "the element counts its own");
    }
}

#[test]
fn streams_in_parallel_get_their_own_results() {
    let model = probe();
    let path = model.path.clone();
    let threads: Vec<_> = (0..4u8)
        .map(|k| {
            let path = path.clone();
            std::thread::spawn(move || {
                let mut bench = Bench::new(&[
                    ("model-location", path.to_str().unwrap()),
                    ("sync", "true"),
                    ("clip-stride", "4"),
                    ("model-instance-id", "four-streams"),
                    ("batch-size", "4"),
                    ("batch-timeout", "2000"),
                ]);
                bench.caps("RGB", 16, 16);
                let level = 30 + 50 * k;
                let mut count = 0;
                for i in 0..80 {
                    for result in bench.pass(grey(level, i)) {
                        let (first, last) = probed(&result);
                        assert!((first - f64::from(level)).abs() < 0.3, "{first}");
                        assert!((last - f64::from(level)).abs() < 0.3, "{last}");
                        count += 1;
                    }
                }
                count
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 17);
    }
}

#[test]
fn conflicting_settings_under_one_id_are_refused() {
    let model = probe();
    let location = model.path.to_str().unwrap();
    let first = element(&[
        ("model-location", location),
        ("model-instance-id", "in-conflict"),
        ("batch-size", "1"),
    ]);
    first.set_state(gst::State::Paused).unwrap();
    let second = element(&[
        ("model-location", location),
        ("model-instance-id", "in-conflict"),
        ("batch-size", "2"),
    ]);
    let bus = gst::Bus::new();
    second.set_bus(Some(&bus));
    assert!(second.set_state(gst::State::Paused).is_err());
    let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!();
    };
    let text = format!(
        "{} {}",
        error.error().message(),
        error.debug().unwrap_or_default()
    );
    for element in [first, second] {
        element.set_state(gst::State::Null).unwrap();
    }
    assert!(text.contains("in-conflict"), "{text}");
}
