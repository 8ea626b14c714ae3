// SPDX-License-Identifier: Apache-2.0
//! Chains of effects as text: what is taken prints to the same chain.
#![no_main]

use aivideo_fx::parse::{parse, print};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(items) = parse(text) {
        assert_eq!(parse(&print(&items)).expect("its own text"), items);
    }
});
