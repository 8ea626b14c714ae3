// SPDX-License-Identifier: Apache-2.0
//! Time a frame of each effect takes, on one thread:
//!
//! ```sh
//! cargo run --release -p aivideo-fx --example bench [-- WIDTHxHEIGHT [FORMAT [EFFECTS]]]
//! ```
//!
//! Prints the median and the fastest of many frames. Frames are noise, so that no branch predictor
//! learns them; buffers are reused, as pipelines with pools do.

use std::time::{Duration, Instant};

use aivideo_fx::chain::{Chain, Renderer, registry_defaults, resolve};
use aivideo_fx::effects::posterize;
use aivideo_fx::parse::parse;
use aivideo_fx::pass::{Moment, hash};
use aivideo_fx::picture::{Colorimetry, PixelFormat, RawFrame};
use aivideo_fx::registry::EFFECTS;
use aivideo_fx::simd::Level;
use aivideo_fx::simd::lut::RowLut;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let size = arguments.next().unwrap_or_else(|| "3840x2160".into());
    let (width, height) = size.split_once('x').ok_or("the size is WIDTHxHEIGHT")?;
    let (width, height): (usize, usize) = (width.parse()?, height.parse()?);
    let format = arguments.next().unwrap_or_else(|| "NV12".into());
    let format = PixelFormat::ALL
        .into_iter()
        .find(|known| format!("{known:?}").eq_ignore_ascii_case(&format))
        .ok_or_else(|| format!("{format} is none of {:?}", PixelFormat::ALL))?;
    let chains: Vec<String> = match arguments.next() {
        Some(chain) => vec![chain],
        None => EFFECTS
            .iter()
            .map(|effect| effect.name.to_string())
            .chain([
                "posterize:space=rgb".into(),
                "posterize,threshold,invert".into(),
                "posterize,vignette".into(),
                "blur:sigma=1".into(),
                "blur:sigma=20".into(),
            ])
            .collect(),
    };

    println!(
        "{width}x{height} {format:?}, one thread, tables by {:?}",
        Level::best()
    );
    let mut bytes = vec![0u8; 3840 * 2160];
    let table = RowLut::new(&[&posterize::lut(8)]);
    for level in Level::available() {
        let mut best = Duration::MAX;
        for _ in 0..10 {
            let start = Instant::now();
            table.apply_at(level, std::hint::black_box(&mut bytes));
            best = best.min(start.elapsed());
        }
        let rate = bytes.len() as f64 / best.as_secs_f64() / 1e9;
        println!("table look-up, {level:?}: {rate:.2} GB/s");
    }
    println!(
        "{:<32} {:>12} {:>12} {:>9}",
        "chain", "median ns", "fastest ns", "frames/s"
    );
    for text in chains {
        let effects = resolve(&parse(&text)?, &registry_defaults());
        let chain = Chain::new(&effects, 1.0, format, width, height, Colorimetry::BT709);
        let mut renderer = Renderer::new(1)?;
        let mut planes: Vec<(Vec<u8>, usize)> = (0..format.plane_count())
            .map(|plane| {
                let (row, rows) = format.plane_size(plane, width, height);
                let data = (0..row * rows).map(|i| hash(&[i as u64]) as u8).collect();
                (data, row)
            })
            .collect();
        let mut times = Vec::new();
        let begin = Instant::now();
        while times.len() < 5 || (begin.elapsed() < Duration::from_secs(1) && times.len() < 200) {
            let moment = Moment {
                time: times.len() as u64 * 40_000_000,
                seed: 1,
            };
            let planes = planes
                .iter_mut()
                .map(|(data, stride)| (data.as_mut_slice(), *stride))
                .collect();
            let start = Instant::now();
            let frame = RawFrame::new(format, width, height, Colorimetry::BT709, planes)?;
            chain.run(frame, &moment, &mut renderer);
            times.push(start.elapsed().as_nanos());
        }
        // The first frame touches fresh memory.
        times.remove(0);
        times.sort_unstable();
        let (median, fastest) = (times[times.len() / 2], times[0]);
        let rate = 1e9 / median as f64;
        println!("{text:<32} {median:>12} {fastest:>12} {rate:>9.1}");
    }
    Ok(())
}
