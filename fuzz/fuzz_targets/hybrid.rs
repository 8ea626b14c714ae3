// SPDX-License-Identifier: Apache-2.0
//! Hints in streams that may be anything.
#![no_main]

use aivideo_hybrid::{hint::Hint, obu, sei};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    let _ = Hint::from_bytes(stream);
    for syntax in [sei::Syntax::H264, sei::Syntax::H265] {
        let _ = sei::find(stream, syntax);
        if let Some(with) = sei::insert(stream, syntax, b"data") {
            assert!(sei::find(&with, syntax).contains(&b"data".to_vec()));
        }
    }
    let _ = obu::find(stream);
    if let Some(with) = obu::insert(stream, b"data") {
        assert!(obu::find(&with).contains(&b"data".to_vec()));
    }
});
