// SPDX-License-Identifier: Apache-2.0
//! Access units and sequence headers of any bytes.
#![no_main]

use aivideo_codec::bitstream::{AccessUnit, SequenceHeader};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok((header, used)) = SequenceHeader::parse(data) {
        assert!(used <= data.len());
        let written = header.write();
        assert_eq!(
            SequenceHeader::parse(&written).expect("own header").0,
            header
        );
    }
    if let Ok(unit) = AccessUnit::parse(data) {
        let sent: usize = unit
            .tiles
            .iter()
            .flatten()
            .map(|t| t.len())
            .sum();
        assert!(sent <= data.len());
    }
});
