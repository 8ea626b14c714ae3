// SPDX-License-Identifier: Apache-2.0
//! Residuals of any bytes: levels stay in range, add to pictures of either depth, and code back.
#![no_main]

use aivideo_codec::residual::{Area, Scale, code};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&[width, height, quality, class], data)) = data.split_first_chunk::<4>() else {
        return;
    };
    let (width, height) = (1 + usize::from(width % 4), 1 + usize::from(height % 4));
    let classes: Vec<u8> = (0..width * height)
        .map(|i| (usize::from(class) * (i + 1) % code::CLASSES) as u8)
        .collect();
    let quality = quality % 64;
    let Ok(squares) = code::decode_tile(width, &classes, quality, data) else {
        return;
    };
    let again = code::encode_tile(width, &classes, quality, &squares);
    assert_eq!(
        code::decode_tile(width, &classes, quality, &again).expect("own stream"),
        squares
    );
    let blocks = width * height;
    let (mut eight, mut ten) = (vec![128u8; 384 * blocks], vec![512u16; 384 * blocks]);
    for square in &squares {
        area(width, blocks, &mut eight).add(square, Scale::new(quality, 8));
        area(width, blocks, &mut ten).add(square, Scale::new(quality, 10));
    }
    assert!(ten.iter().all(|sample| *sample < 1024));
});

fn area<S>(width: usize, blocks: usize, samples: &mut [S]) -> Area<'_, S> {
    let (y, uv) = samples.split_at_mut(256 * blocks);
    let (u, v) = uv.split_at_mut(64 * blocks);
    Area {
        width: 16 * width,
        y,
        u,
        v,
    }
}
