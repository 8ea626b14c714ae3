// SPDX-License-Identifier: Apache-2.0
//! `.cube` files of any text.
#![no_main]

use aivideo_fx::cube::Cube;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Cube::parse(text) {
        Ok(cube) => {
            let count = if cube.three { cube.size.pow(3) } else { cube.size };
            assert_eq!(cube.entries.len(), count);
        }
        Err((Some(line), _)) => assert!((1..=text.lines().count().max(1)).contains(&line)),
        Err((None, _)) => {}
    }
});
