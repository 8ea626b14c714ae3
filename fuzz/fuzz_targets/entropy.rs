// SPDX-License-Identifier: Apache-2.0
//! z and y streams of any bytes; what decodes must code back to symbols that decode the same.
#![no_main]

use aivideo_codec::entropy::tables::synthetic;
use aivideo_codec::entropy::{
    Tables, TileHistory, TileShape, decode_y, decode_z, encode_y, encode_z,
};
use std::sync::LazyLock;

static TABLES: LazyLock<Tables> =
    LazyLock::new(|| Tables::parse(&synthetic::file(32, 20, 12)).expect("sound tables"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&[width, height, cut], data)) = data.split_first_chunk::<3>() else {
        return;
    };
    let shape = TileShape {
        channels: 48,
        z_channels: 32,
        width64: 1 + usize::from(width % 4),
        height64: 1 + usize::from(height % 3),
    };
    let (z_data, y_data) = data.split_at(data.len() * usize::from(cut) / 256);
    // Sparse, dense or full skipping, by the last byte of the head.
    let skip: Vec<bool> = (0..shape.blocks())
        .map(|i| i % 7 == usize::from(cut % 7) || cut > 200)
        .collect();
    let Ok(z) = decode_z(&TABLES, &shape, &skip, z_data) else {
        return;
    };
    let again = encode_z(&TABLES, &shape, &skip, &z);
    assert_eq!(decode_z(&TABLES, &shape, &skip, &again), Ok(z.clone()));
    if let Ok(y) = decode_y(
        &TABLES,
        &shape,
        &z,
        &skip,
        y_data,
        &mut TileHistory::new(&shape),
    ) {
        let again = encode_y(
            &TABLES,
            &shape,
            &z,
            &skip,
            &y,
            &mut TileHistory::new(&shape),
        );
        let same = decode_y(
            &TABLES,
            &shape,
            &z,
            &skip,
            &again,
            &mut TileHistory::new(&shape),
        );
        assert_eq!(same, Ok(y));
    }
});
