// SPDX-License-Identifier: Apache-2.0
//! Motion at 1920x1088 on one core: search, prediction, coding, each with its frames a second. Processor
//! time of the thread is measured, so that other programs disturb less.
//!
//! Real frames where there are some: `AIVIDEO_BENCH_Y4M=clip.y4m` (8 bits, 4:2:0, 1920x1080, three
//! frames or more); else a made-up scene of a moving and a resting half with noise.
//!
//!     cargo bench -p aivideo-codec --bench motion

use aivideo_codec::motion::{Field, Reference, Searcher, Variant, code, compensate};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Duration;

const WIDTH: usize = 1920;
const HEIGHT: usize = 1088;
/// Squared error for a bit: about quality 32.
const WORTH: f64 = 80.0;

/// Luma of two pictures in a row, and a name.
fn pictures() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let mut all = vec![
        ("made-up", scene(0.0), scene(1.0)),
        ("still", scene(0.0), scene(0.0)),
    ];
    if let Some([first, second]) = std::env::var_os("AIVIDEO_BENCH_Y4M").and_then(|p| y4m(&p)) {
        all.push(("real", first, second));
    }
    all
}

/// The left half moves, the right half rests; both have a little noise.
fn scene(time: f64) -> Vec<u8> {
    let mut state = 1 + time as u32;
    (0..WIDTH * HEIGHT)
        .map(|i| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            let moving = if i % WIDTH < WIDTH / 2 { time } else { 0.0 };
            let x = (i % WIDTH) as f64 + 5.25 * moving;
            let y = (i / WIDTH) as f64 - 3.5 * moving;
            let v = 120.0 + 50.0 * (x * 0.13 + (y * 0.05).sin()).sin() + 40.0 * (y * 0.17).cos();
            (v + f64::from(state >> 30)) as u8
        })
        .collect()
}

/// The second and third picture of a file.
fn y4m(path: &std::ffi::OsStr) -> Option<[Vec<u8>; 2]> {
    let data = std::fs::read(path).ok()?;
    let line = |at: usize| {
        data[at..]
            .iter()
            .position(|&b| b == b'\n')
            .map(|n| at + n + 1)
    };
    let header = String::from_utf8_lossy(&data[..line(0)?]).into_owned();
    if !header.contains(" W1920 ") || !header.contains(" H1080 ") {
        return None;
    }
    let mut at = line(0)?;
    let mut read = || {
        at = line(at)?;
        let mut luma = data.get(at..at + 1920 * 1080)?.to_vec();
        at += 1920 * 1080 * 3 / 2;
        luma.resize(WIDTH * HEIGHT, 0);
        for row in 1080..HEIGHT {
            luma.copy_within(1079 * WIDTH..1080 * WIDTH, row * WIDTH);
        }
        Some(luma)
    };
    read()?;
    Some([read()?, read()?])
}

/// Processor time of `n` calls.
fn timed<T>(n: u64, mut f: impl FnMut() -> T) -> Duration {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let start = now();
    for _ in 0..n {
        black_box(f());
    }
    now() - start
}

fn motion(c: &mut Criterion) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.expect("a thread");
    let mut group = c.benchmark_group("motion 1080p");
    group.sample_size(20);
    // "Elements" are frames.
    group.throughput(Throughput::Elements(1));
    for (name, before, now) in pictures() {
        let mut reference = Reference::new(WIDTH, HEIGHT);
        let chroma = vec![128; WIDTH * HEIGHT / 2];
        reference.load(&before, &chroma);
        for (mode, variant) in [
            ("search", Variant::Full),
            ("search, 16x16", Variant::Blocks16),
        ] {
            // Its vectors of the frame before are those of the same pictures: as in steady motion.
            let mut searcher = Searcher::new(WIDTH, HEIGHT, 8, variant);
            group.bench_function(format!("{mode}, {name}"), |b| {
                b.iter_custom(|n| {
                    pool.install(|| timed(n, || searcher.search(&now, &reference, WORTH)))
                });
            });
        }
        let mut searcher = Searcher::new(WIDTH, HEIGHT, 8, Variant::Full);
        let field: Field = searcher.search(&now, &reference, WORTH);
        let (mut y, mut uv) = (vec![0; WIDTH * HEIGHT], vec![0; WIDTH * HEIGHT / 2]);
        group.bench_function(format!("prediction, {name}"), |b| {
            b.iter_custom(|n| {
                pool.install(|| {
                    timed(n, || {
                        reference.load(&before, &chroma);
                        compensate(&reference, &field, &mut y, &mut uv);
                    })
                })
            });
        });
        group.bench_function(format!("coding, {name}"), |b| {
            let coded = || code::encode_tile(field.width, 20, &field.vectors, &field.skip);
            b.iter_custom(|n| timed(n, coded));
        });
    }
    group.finish();
}

criterion_group!(benches, motion);
criterion_main!(benches);
