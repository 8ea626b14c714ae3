// SPDX-License-Identifier: Apache-2.0
//! Frames a second of 4K through a table of 33 x 33 x 33 on one thread:
//!
//! ```text
//! cargo run --release -p aivideo-color --example table_speed [rounds]
//! ```

use std::time::Instant;

use aivideo_color::{
    planes::{Planes, PlanesMut, apply},
    table::{ColorTable, tetrahedral},
};

const W: usize = 3840;
const H: usize = 2160;
const SIZE: usize = 33;

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Codes as a picture has them: near each other, with a little noise.
fn plane(n: usize, width: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    (0..n)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((i % width) * 180 / width + (i / width) / 40 + (state >> 28) as usize) as u8
        })
        .collect()
}

fn main() {
    let rounds: usize = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(15);
    let entries = (0..SIZE.pow(3))
        .map(|i| [i % SIZE, i / SIZE % SIZE, i / SIZE / SIZE].map(|v| (v as f32 / 32.0).powf(0.9)));
    let table = ColorTable::new(SIZE, [0.0; 3], [1.0; 3], entries);
    let chroma = W / 2 * H / 2;
    let (y, u, v) = (
        plane(W * H, W, 1),
        plane(chroma, W / 2, 2),
        plane(chroma, W / 2, 3),
    );
    let (mut oy, mut ou, mut ov) = (vec![0u8; W * H], vec![0u8; chroma], vec![0u8; chroma]);
    let (mut r, mut g, mut b) = (y.clone(), plane(W * H, W, 4), plane(W * H, W, 5));
    let (mut yuv, mut rgb) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begun = Instant::now();
        let from = Planes {
            width: W,
            height: H,
            y: &y,
            u: &u,
            v: &v,
        };
        let mut to = PlanesMut {
            y: &mut oy,
            u: &mut ou,
            v: &mut ov,
        };
        apply(&table, &from, &mut to, true);
        yuv.push(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        for y in 0..H {
            let row = y * W..(y + 1) * W;
            tetrahedral(
                &mut r[row.clone()],
                &mut g[row.clone()],
                &mut b[row],
                &table,
            );
        }
        rgb.push(begun.elapsed().as_secs_f64());
    }
    for (name, times) in [("4:2:0 planes", yuv), ("red, green, blue", rgb)] {
        let best = times.iter().copied().fold(f64::INFINITY, f64::min);
        let median = median(times);
        println!(
            "{name:<18} median {:6.1} ms, {:5.1} fps; best {:6.1} ms, {:5.1} fps",
            median * 1e3,
            1.0 / median,
            best * 1e3,
            1.0 / best
        );
    }
}
