// SPDX-License-Identifier: Apache-2.0
//! The tables file: anything is refused or read, and what is read is whole.
#![no_main]

use aivideo_codec::entropy::Tables;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(tables) = Tables::parse(data) {
        let width = 2 * tables.y_max() as usize + 2;
        for channel in 0..tables.z_channels() {
            let z_width = 2 * tables.z_max() as usize + 2;
            assert!(tables.z_tables(channel).iter().all(|t| t.len() == z_width));
            for index in 1..=31 {
                let four = tables.y_tables_of(channel, index);
                let mut all = (0..120).map(|i| four.get(i % 4, i / 4 % 5, i / 20));
                assert!(all.all(|t| t.len() == width));
            }
        }
    }
});
