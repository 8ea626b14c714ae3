// SPDX-License-Identifier: Apache-2.0
//! The tables file: anything is refused or read, and what is read is whole.
#![no_main]

use aivideo_codec::entropy::Tables;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(tables) = Tables::parse(data) {
        for quality in 0..64 {
            assert_eq!(tables.z_tables(quality).len(), tables.z_channels());
        }
        for index in 1..=31 {
            let width = 2 * tables.y_max() as usize + 2;
            assert!((0..5).all(|level| {
                tables
                    .y_tables(index, level)
                    .iter()
                    .all(|t| t.len() == width)
            }));
        }
    }
});
