// SPDX-License-Identifier: Apache-2.0
//! The framing of files: resynchronisation always goes forward, and finds sound headers only.
#![no_main]

use aivideo_codec::bitstream::byte_stream::{Scan, UnitHeader, scan};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = UnitHeader::parse(data);
    match scan(data) {
        Scan::Unit { skip, header, size } => {
            assert_eq!(UnitHeader::parse(&data[skip..]), Ok((header, size)));
        }
        Scan::More { skip } => assert!(skip <= data.len()),
    }
});
