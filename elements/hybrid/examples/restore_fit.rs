// SPDX-License-Identifier: Apache-2.0
//! What the trainer of the restoration filters (`models/training/restore/filters.py`) needs of the program that
//! they are for: the numbers that weights are fitted from, and what fitted weights gain.
//!
//!     restore_fit products WIDTH HEIGHT FRAMES DISTANCE EVERY LIMIT
//!     restore_fit gains WIDTH HEIGHT FRAMES DISTANCE EVERY FILTERS BASE QUALITY KIND
//!
//! stdin has the luma of all coded frames, then of all clean ones. One frame in EVERY is looked at, from the
//! second on. KIND is unknown, low-delay or reordered. `products` writes one block of float64 for each of them, `gains` a line: luma PSNR before, after.

use std::io::{Read, Write};

use aivideo_codec::loop_filter::LoopFilter;
use aivideo_hybrid::hint::Base;
use aivideo_hybrid::restore::beside::Beside;
use aivideo_hybrid::restore::filters::RestoreFilters;
use aivideo_hybrid::restore::{Condition, Depth, Picture};

type Failure = Box<dyn std::error::Error>;

const USAGE: &str = "see the head of restore_fit.rs for its arguments";

/// A luma plane filled up to a size.
fn filled(luma: &[u8], (width, height): (usize, usize), size: (usize, usize)) -> Vec<u8> {
    let rows = (0..size.1).map(|y| &luma[y.min(height - 1) * width..][..width]);
    rows.flat_map(|row| {
        let last = row[width - 1];
        row.iter()
            .copied()
            .chain(std::iter::repeat_n(last, size.0 - width))
    })
    .collect()
}

fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let squares = a
        .iter()
        .zip(b)
        .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2));
    let mean = squares.sum::<u64>() as f64 / a.len() as f64;
    10.0 * (65025.0 / mean.max(1e-3)).log10()
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize| -> Result<usize, Failure> { Ok(arguments.get(at).ok_or(USAGE)?.parse()?) };
    let shown = (number(1)?, number(2)?);
    let (frames, distance, every) = (number(3)?, number(4)?, number(5)?.max(1));
    let bytes = shown.0 * shown.1;
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input)?;
    if bytes == 0 || input.len() != 2 * frames * bytes {
        return Err(format!("stdin has {} bytes; {USAGE}", input.len()).into());
    }
    let (coded, clean) = input.split_at(frames * bytes);
    let luma = |of: &[u8], frame: usize| of[frame * bytes..][..bytes].to_vec();
    let chosen = |frame: usize| frame % every == 1 % every;

    let mut beside = (distance > 0).then(|| Beside::new(shown, distance));
    let size = match &beside {
        Some(beside) => beside.size(),
        None => (shown.0.next_multiple_of(16), shown.1.next_multiple_of(16)),
    };
    let mut out = std::io::stdout().lock();
    let mut admitted = 0;
    let mut follow = |beside: &mut Option<Beside>, frame: usize| {
        let Some(beside) = beside else { return };
        while admitted <= (frame + distance).min(frames - 1) {
            beside.admit(filled(&coded[admitted * bytes..][..bytes], shown, size));
            admitted += 1;
        }
    };
    match arguments[0].as_str() {
        "products" => {
            let limit = number(6)? as i16;
            let mut filter = LoopFilter::new(size.0, size.1);
            for frame in 0..frames {
                follow(&mut beside, frame);
                if !chosen(frame) {
                    beside.iter_mut().for_each(Beside::skip);
                    continue;
                }
                let coded = filled(&luma(coded, frame), shown, size);
                let clean = filled(&luma(clean, frame), shown, size);
                let others = beside.as_mut().map(Beside::take).unwrap_or_default();
                for value in filter.products(&coded, &clean, &others, limit, shown) {
                    out.write_all(&value.to_le_bytes())?;
                }
            }
        }
        "gains" => {
            let path = arguments.get(6).ok_or(USAGE)?;
            let mut filters = RestoreFilters::parse(&std::fs::read(path)?)?;
            let base = Base::from_name(arguments.get(7).ok_or(USAGE)?);
            let quality = arguments.get(8).ok_or(USAGE)?.parse()?;
            let low_delay = match arguments.get(9).map(String::as_str) {
                Some("low-delay") => Some(true),
                Some("reordered") => Some(false),
                _ => None,
            };
            let condition = Condition::new(quality, 1.0, base).with_low_delay(low_delay);
            let chroma = shown.0.div_ceil(2) * shown.1.div_ceil(2);
            let mut uv = vec![128; 2 * chroma];
            for frame in 0..frames {
                follow(&mut beside, frame);
                if !chosen(frame) {
                    beside.iter_mut().for_each(Beside::skip);
                    continue;
                }
                let mut restored = luma(coded, frame);
                let before = psnr(&restored, &luma(clean, frame));
                let (u, v) = uv.split_at_mut(chroma);
                let half = shown.0.div_ceil(2);
                let planes = vec![(&mut restored[..], shown.0), (u, half), (v, half)];
                let mut picture = Picture::new(planes, Depth::Eight, shown.0, shown.1)
                    .ok_or("the planes do not fit")?;
                filters.run(&mut picture, condition, 1.0, beside.as_mut());
                drop(picture);
                writeln!(out, "{before} {}", psnr(&restored, &luma(clean, frame)))?;
            }
        }
        other => return Err(format!("no {other:?}; {USAGE}").into()),
    }
    Ok(())
}
