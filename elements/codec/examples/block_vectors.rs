// SPDX-License-Identifier: Apache-2.0
//! The encoder's search, for the trainer: vectors of runs of luma pictures, each searched in the one
//! before it. `models/training/codec/data.py` runs it.
//!
//! Standard input has runs, one after the other: width, height, pictures and quality as little-endian
//! `u32`, then the pictures, a byte a sample. For each run standard output has the vectors of all
//! pictures but the first: x and y of each 8x8 part, row by row, as little-endian `i16` in quarter pels.

mod trainer;

use aivideo_codec::coder::decision;
use aivideo_codec::motion::{PART, Reference, Searcher, Variant};
use std::io::{self, Read, Write};

const TILE_ROWS: usize = 8;
/// More than this is no picture but a mistake in the stream.
const LARGEST: u32 = 8192;

/// A picture extended to `size` by repeating its right and lower edge.
fn extended(picture: &[u8], (width, height): (usize, usize), size: (usize, usize)) -> Vec<u8> {
    let mut out = Vec::with_capacity(size.0 * size.1);
    for y in 0..size.1 {
        let row = &picture[y.min(height - 1) * width..][..width];
        out.extend_from_slice(row);
        out.resize((y + 1) * size.0, row[width - 1]);
    }
    out
}

fn main() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some([width, height, count, quality]) = trainer::header(&mut input)? {
        if !(16..=LARGEST).contains(&width) || !(16..=LARGEST).contains(&height) {
            return Err(io::Error::other(format!("{width}x{height} is no size")));
        }
        let (width, height) = (width as usize, height as usize);
        let size = (width.next_multiple_of(64), height.next_multiple_of(64));
        let mut searcher = Searcher::new(size.0, size.1, TILE_ROWS, Variant::Full);
        let mut reference = Reference::new(size.0, size.1);
        let grey = vec![128; size.0 * size.1 / 2];
        let mut picture = vec![0; width * height];
        let mut before: Option<Vec<u8>> = None;
        // Whoever sends pictures need not read before the last of them is sent.
        let mut vectors = Vec::new();
        for _ in 0..count {
            input.read_exact(&mut picture)?;
            let luma = extended(&picture, (width, height), size);
            if let Some(before) = &before {
                reference.load(before, &grey);
                let worth = decision::error_per_bit(quality.min(63));
                let field = searcher.search(&luma, &reference, worth);
                for row in field
                    .vectors
                    .chunks_exact(size.0 / PART)
                    .take(height / PART)
                {
                    for vector in &row[..width / PART] {
                        vectors.extend(vector.x.to_le_bytes());
                        vectors.extend(vector.y.to_le_bytes());
                    }
                }
            }
            before = Some(luma);
        }
        output.write_all(&vectors)?;
        output.flush()?;
    }
    Ok(())
}
