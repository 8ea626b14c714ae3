// SPDX-License-Identifier: Apache-2.0
//! Speed of the codec's parts outside the network, on a made-up 720p picture:
//! `cargo run --release -p aivideo-codec --example kernels` (threads: `RAYON_NUM_THREADS`).

use aivideo_codec::entropy::tables::synthetic;
use aivideo_codec::entropy::{Tables, TileHistory, TileShape, decode_y, encode_y};
use aivideo_codec::loop_filter::{FrameFilters, LoopFilter, synthetic as made_up};
use aivideo_codec::motion::{Reference, Searcher, Variant, code, compensate};
use std::time::Instant;

const WIDTH: usize = 1280;
const HEIGHT: usize = 768;

fn time<T>(what: &str, runs: u32, mut f: impl FnMut() -> T) -> f64 {
    f();
    let start = Instant::now();
    for _ in 0..runs {
        std::hint::black_box(f());
    }
    let ms = start.elapsed().as_secs_f64() * 1e3 / f64::from(runs);
    println!("{what:<28}{ms:9.3} ms");
    ms
}

fn main() {
    let texture = |dx: f64, dy: f64| -> Vec<u8> {
        let mut state = 1u32;
        (0..WIDTH * HEIGHT)
            .map(|i| {
                let (x, y) = ((i % WIDTH) as f64 + dx, (i / WIDTH) as f64 + dy);
                state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                let noise = f64::from(state >> 28);
                let v =
                    120.0 + 50.0 * (x * 0.13 + (y * 0.05).sin()).sin() + 40.0 * (y * 0.17).cos();
                (v + noise) as u8
            })
            .collect()
    };
    let (before, now) = (texture(0.0, 0.0), texture(5.25, -3.5));
    let chroma = vec![128; WIDTH * HEIGHT / 2];
    let mut searcher = Searcher::new(WIDTH, HEIGHT, 8, Variant::Full);
    let mut reference = Reference::new(WIDTH, HEIGHT);
    reference.load(&before, &chroma);
    time("motion search", 20, || {
        searcher.search(&now, &reference, 100.0)
    });
    let field = searcher.search(&now, &reference, 100.0);
    time("reference borders", 20, || reference.load(&before, &chroma));
    let (mut y, mut uv) = (vec![0; WIDTH * HEIGHT], vec![0; WIDTH * HEIGHT / 2]);
    time("motion compensation", 20, || {
        compensate(&reference, &field, &mut y, &mut uv)
    });
    time("motion coding", 20, || {
        code::encode_tile(field.width, 20, &field.vectors, &field.skip)
    });

    let filters = FrameFilters::new(&made_up::numbers(1)).expect("sound filters");
    let mut filter = LoopFilter::new(WIDTH, HEIGHT);
    let skip = vec![false; WIDTH * HEIGHT / 256];
    let mut filtered = now.clone();
    time("loop filter", 20, || {
        filtered.copy_from_slice(&now);
        filter.apply(&filters.luma, 2, &mut filtered, &skip)
    });
    time("loop filter with chroma", 20, || {
        filtered.copy_from_slice(&now);
        let planes = [&mut filtered[..], &mut uv[..]];
        filter.apply_to_frame(&filters, 2, planes, [&skip; 2])
    });
    let still = vec![true; skip.len()];
    time("loop filter, classes alone", 20, || {
        filter.apply(&filters.luma, 2, &mut filtered, &still)
    });
    time("loop filter and its choice", 20, || {
        filtered.copy_from_slice(&now);
        filter.choose(&filters, [&mut filtered, &mut uv], &before, [&skip; 2])
    });

    let tables = Tables::parse(&synthetic::file(32, 20, 12)).expect("sound tables");
    let shape = TileShape {
        channels: 48,
        z_channels: 32,
        width64: WIDTH / 64,
        height64: HEIGHT / 64,
    };
    for (name, share) in [("dense", 100), ("a third", 33)] {
        let mut state = 7u64;
        let mut noise = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) as u32
        };
        let z: Vec<i8> = (0..shape.z_len())
            .map(|_| {
                if noise() % 100 < share {
                    1 + (noise() % 12) as i8
                } else {
                    0
                }
            })
            .collect();
        let skip = vec![false; shape.blocks()];
        let mut coded = 0u32;
        let y: Vec<i16> = (0..shape.y_len())
            .map(|i| {
                let (channel, block) = (i / shape.blocks(), i % shape.blocks());
                let (row, x) = (block / shape.width16(), block % shape.width16());
                let index = z[(channel / 4 * shape.height64 + row / 4) * shape.width64 + x / 4];
                if index == 0 {
                    return 0;
                }
                coded += 1;
                let size = (noise() % 256 * u32::from(index.unsigned_abs()) / 700) as i16;
                if noise() & 1 == 0 { size } else { -size }
            })
            .collect();
        let mut history = TileHistory::new(&shape);
        let ms = time(&format!("y encode, {name}"), 20, || {
            history.reset();
            encode_y(&tables, &shape, &z, &skip, &y, &mut history)
        });
        println!(
            "{:>40.1} M symbols/s on one core",
            f64::from(coded) / ms / 1e3
        );
        history.reset();
        let bytes = encode_y(&tables, &shape, &z, &skip, &y, &mut history);
        let ms = time(&format!("y decode, {name}"), 20, || {
            history.reset();
            decode_y(&tables, &shape, &z, &skip, &bytes, &mut history).expect("a sound stream")
        });
        println!(
            "{:>40.1} M symbols/s on one core, {:.2} bits a symbol",
            f64::from(coded) / ms / 1e3,
            8.0 * bytes.len() as f64 / f64::from(coded)
        );
    }
}
