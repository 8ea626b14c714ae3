// SPDX-License-Identifier: Apache-2.0
//! Motion of any bytes: vectors stay in range, predict without leaving the reference, and code back.
#![no_main]

use aivideo_codec::motion::{Field, Reference, code, compensate};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&[width, height, quality], data)) = data.split_first_chunk::<3>() else {
        return;
    };
    let (width, height) = (
        4 * (1 + usize::from(width % 3)),
        4 * (1 + usize::from(height % 3)),
    );
    let quality = quality % 64;
    let mut field = Field::still(width, height);
    if code::decode_tile(width, quality, data, &mut field.vectors, &mut field.skip).is_err() {
        return;
    }
    assert!(field.vectors.iter().all(|v| v.in_range()));
    let again = code::encode_tile(width, quality, &field.vectors, &field.skip);
    let mut same = Field::still(width, height);
    code::decode_tile(width, quality, &again, &mut same.vectors, &mut same.skip).expect("own stream");
    assert_eq!(field, same);
    let samples = width * height * 256;
    let reference = Reference::<u8>::new(width * 16, height * 16);
    compensate(
        &reference,
        &field,
        &mut vec![0; samples],
        &mut vec![0; samples / 2],
    );
});
