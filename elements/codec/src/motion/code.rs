// SPDX-License-Identifier: Apache-2.0
//! Lossless coding of a tile's skip flags and vectors.
//!
//! Block by block in raster order: the skip flag; whether the vector is one of the candidates
//! ([`Candidates`]), and which; else its difference to the median. Every tile starts afresh, so it
//! can be decoded alone. All contexts are integers computed from decoded integers. An empty stream
//! is a tile at rest: zero vectors, everything skipped.

use super::range::{Context, Decoder, Encoder};
use super::{Candidates, MAX_VECTOR, Vector};

/// Unary part of a difference; what exceeds it follows as an Exp-Golomb number.
const UNARY: u32 = 6;
/// Differences have at most 1022 as magnitude: the Exp-Golomb prefix stays below this.
const MAX_PREFIX: u32 = 10;

/// Why a tile's motion could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MotionError {
    #[error("a motion vector outside the allowed range")]
    Range,
    #[error("{0} byte(s) after the last motion vector")]
    TrailingBytes(usize),
}

#[derive(Debug)]
struct Contexts {
    skip: [Context; 3],
    /// By how many of the neighbours (left, above) took a candidate, and by the skip flag.
    merge: [[Context; 3]; 2],
    index: [Context; 4],
    zero: [Context; 2],
    unary: [[Context; UNARY as usize]; 2],
    prefix: [[Context; MAX_PREFIX as usize + 1]; 2],
}

impl Default for Contexts {
    fn default() -> Self {
        Self {
            skip: [Context::with(200), Context::with(128), Context::with(56)],
            merge: [
                [Context::with(110), Context::with(80), Context::with(50)],
                [Context::with(60), Context::with(30), Context::with(12)],
            ],
            index: [Context::with(140); 4],
            zero: [Context::with(150); 2],
            unary: [[Context::with(100); UNARY as usize]; 2],
            prefix: [[Context::default(); MAX_PREFIX as usize + 1]; 2],
        }
    }
}

/// What neighbours look like; shared by both directions so that they cannot differ.
struct Neighbours<'a> {
    width: usize,
    skip: &'a [bool],
    merged: &'a [bool],
}

impl Neighbours<'_> {
    fn count(flags: &[bool], width: usize, x: usize, row: usize) -> usize {
        let at = row * width + x;
        usize::from(x > 0 && flags[at - 1]) + usize::from(row > 0 && flags[at - width])
    }

    fn skipped(&self, x: usize, row: usize) -> usize {
        Self::count(self.skip, self.width, x, row)
    }

    fn merged(&self, x: usize, row: usize) -> usize {
        Self::count(self.merged, self.width, x, row)
    }
}

/// Codes one tile: `vectors` and `skip` are the tile's, `width` blocks in a row.
pub fn encode_tile(width: usize, vectors: &[Vector], skip: &[bool]) -> Vec<u8> {
    assert_eq!(vectors.len(), skip.len());
    assert!(width > 0 && vectors.len().is_multiple_of(width));
    if skip.iter().all(|&s| s) && vectors.iter().all(|&v| v == Vector::ZERO) {
        return Vec::new();
    }
    let mut encoder = Encoder::new();
    let mut contexts = Contexts::default();
    let mut merged = vec![false; vectors.len()];
    for row in 0..vectors.len() / width {
        for x in 0..width {
            let at = row * width + x;
            let near = Neighbours {
                width,
                skip,
                merged: &merged,
            };
            encoder.bit(&mut contexts.skip[near.skipped(x, row)], skip[at]);
            let merge = &mut contexts.merge[usize::from(skip[at])][near.merged(x, row)];
            let candidates = Candidates::new(vectors, width, x, row);
            let list = candidates.as_slice();
            if let Some(index) = list.iter().position(|&v| v == vectors[at]) {
                merged[at] = true;
                encoder.bit(merge, true);
                for i in 0..(list.len() - 1).min(index + 1) {
                    encoder.bit(&mut contexts.index[i], i < index);
                }
            } else {
                encoder.bit(merge, false);
                let median = candidates.median();
                encode_difference(&mut encoder, &mut contexts, 0, vectors[at].x - median.x);
                encode_difference(&mut encoder, &mut contexts, 1, vectors[at].y - median.y);
            }
        }
    }
    let mut bytes = encoder.finish();
    if bytes.is_empty() {
        // Not to be taken for a tile at rest; the decoder reads zeros past the end anyway.
        bytes.push(0);
    }
    bytes
}

/// Decodes what [`encode_tile`] made into the tile's `vectors` and `skip`.
pub fn decode_tile(
    width: usize,
    data: &[u8],
    vectors: &mut [Vector],
    skip: &mut [bool],
) -> Result<(), MotionError> {
    assert_eq!(vectors.len(), skip.len());
    assert!(width > 0 && vectors.len().is_multiple_of(width));
    if data.is_empty() {
        vectors.fill(Vector::ZERO);
        skip.fill(true);
        return Ok(());
    }
    let mut decoder = Decoder::new(data);
    let mut contexts = Contexts::default();
    let mut merged = vec![false; vectors.len()];
    for row in 0..vectors.len() / width {
        for x in 0..width {
            let at = row * width + x;
            let near = Neighbours {
                width,
                skip,
                merged: &merged,
            };
            let merge_context = near.merged(x, row);
            let skipped = decoder.bit(&mut contexts.skip[near.skipped(x, row)]);
            let candidates = Candidates::new(vectors, width, x, row);
            let list = candidates.as_slice();
            let vector = if decoder.bit(&mut contexts.merge[usize::from(skipped)][merge_context]) {
                merged[at] = true;
                let mut index = 0;
                while index + 1 < list.len() && decoder.bit(&mut contexts.index[index]) {
                    index += 1;
                }
                list[index]
            } else {
                let median = candidates.median();
                let x = i32::from(median.x) + decode_difference(&mut decoder, &mut contexts, 0)?;
                let y = i32::from(median.y) + decode_difference(&mut decoder, &mut contexts, 1)?;
                let limit = i32::from(MAX_VECTOR);
                if x.abs() > limit || y.abs() > limit {
                    return Err(MotionError::Range);
                }
                Vector::new(x as i16, y as i16)
            };
            skip[at] = skipped;
            vectors[at] = vector;
        }
    }
    match decoder.unread() {
        0 => Ok(()),
        n => Err(MotionError::TrailingBytes(n)),
    }
}

fn encode_difference(encoder: &mut Encoder, contexts: &mut Contexts, component: usize, value: i16) {
    let size = u32::from(value.unsigned_abs());
    encoder.bit(&mut contexts.zero[component], size != 0);
    if size == 0 {
        return;
    }
    let excess = size - 1;
    for i in 0..UNARY.min(excess + 1) {
        encoder.bit(&mut contexts.unary[component][i as usize], i < excess);
    }
    if excess >= UNARY {
        let code = excess - UNARY + 1;
        let extra = code.ilog2();
        for i in 0..=extra.min(MAX_PREFIX) {
            encoder.bit(&mut contexts.prefix[component][i as usize], i < extra);
        }
        encoder.raw(code & ((1 << extra) - 1), extra);
    }
    encoder.raw(u32::from(value < 0), 1);
}

fn decode_difference(
    decoder: &mut Decoder<'_>,
    contexts: &mut Contexts,
    component: usize,
) -> Result<i32, MotionError> {
    if !decoder.bit(&mut contexts.zero[component]) {
        return Ok(0);
    }
    let mut excess = 0;
    while excess < UNARY && decoder.bit(&mut contexts.unary[component][excess as usize]) {
        excess += 1;
    }
    if excess == UNARY {
        let mut extra = 0;
        while decoder.bit(&mut contexts.prefix[component][extra as usize]) {
            extra += 1;
            if extra > MAX_PREFIX {
                return Err(MotionError::Range);
            }
        }
        excess += (1 << extra | decoder.raw(extra)) - 1;
    }
    let size = excess as i32 + 1;
    Ok(if decoder.raw(1) == 1 { -size } else { size })
}

/// Bits that a vector costs, roughly: what the search weighs against the match.
#[derive(Debug)]
pub struct Cost {
    /// By magnitude of a difference.
    difference: Vec<u32>,
}

impl Default for Cost {
    fn default() -> Self {
        // Sixteenths of a bit.
        let difference = (0..=2 * u32::from(MAX_VECTOR.unsigned_abs()))
            .map(|size| match size {
                0 => 10,
                1..=UNARY => 16 + 16 + 13 * size,
                _ => 16 + 16 + 13 * UNARY + 32 * (size - UNARY).ilog2() + 16,
            })
            .collect();
        Self { difference }
    }
}

impl Cost {
    /// Sixteenths of a bit for this vector, given its candidates.
    #[inline]
    pub fn of(&self, candidates: &Candidates, vector: Vector) -> u32 {
        let list = candidates.as_slice();
        if let Some(index) = list.iter().position(|&v| v == vector) {
            return 8 + 14 * index as u32;
        }
        let median = candidates.median();
        let last = self.difference.len() - 1;
        let dx = usize::from(vector.x.abs_diff(median.x)).min(last);
        let dy = usize::from(vector.y.abs_diff(median.y)).min(last);
        24 + self.difference[dx] + self.difference[dy]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vector() -> impl Strategy<Value = Vector> {
        prop_oneof![
            3 => Just(Vector::ZERO),
            3 => (-3i16..4, -3i16..4).prop_map(|(x, y)| Vector::new(x, y)),
            1 => (-511i16..512, -511i16..512).prop_map(|(x, y)| Vector::new(x, y)),
            1 => Just(Vector::new(-511, 511)),
        ]
    }

    proptest! {
        #[test]
        fn round_trip(width in 1usize..9, blocks in prop::collection::vec((vector(), any::<bool>()), 1..120)) {
            let blocks = &blocks[..blocks.len() / width * width];
            let vectors: Vec<_> = blocks.iter().map(|b| b.0).collect();
            let skip: Vec<_> = blocks.iter().map(|b| b.1).collect();
            let bytes = encode_tile(width, &vectors, &skip);
            let mut got_vectors = vec![Vector::new(99, 99); vectors.len()];
            let mut got_skip = vec![true; skip.len()];
            decode_tile(width, &bytes, &mut got_vectors, &mut got_skip).unwrap();
            prop_assert_eq!(got_vectors, vectors);
            prop_assert_eq!(got_skip, skip);
        }

        #[test]
        fn any_bytes_are_safe(width in 1usize..9, height in 0usize..9, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut vectors = vec![Vector::ZERO; width * height];
            let mut skip = vec![false; width * height];
            let _ = decode_tile(width, &bytes, &mut vectors, &mut skip);
            prop_assert!(vectors.iter().all(|v| v.in_range()));
        }
    }

    #[test]
    fn a_still_tile_is_tiny() {
        assert!(encode_tile(80, &[Vector::ZERO; 640], &[true; 640]).is_empty());
        let skipped = encode_tile(80, &[Vector::new(4, 0); 640], &[true; 640]);
        assert!(skipped.len() <= 20, "{}", skipped.len());
        let plain = encode_tile(1, &[Vector::ZERO], &[false]);
        assert!(!plain.is_empty());
        let moving = encode_tile(80, &[Vector::new(13, -7); 640], &[false; 640]);
        assert!(moving.len() <= 24, "{}", moving.len());
    }
}
