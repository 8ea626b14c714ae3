// SPDX-License-Identifier: Apache-2.0
//! What a quality means to the encoder's choices. None of this concerns the decoder.

use crate::motion::BLOCK;

/// Best quality.
pub const MAX_QUALITY: u8 = 63;
/// The trainer's weight of the squared error against a bit, at quality 0 and at 63.
const LAMBDA: (f64, f64) = (0.0012, 0.12);
/// A block is skipped when its squared error is below this many bits' worth.
pub const SKIP_BITS: f64 = 64.0;

/// Squared error (sum over a block) that one bit should save at this quality.
pub fn error_per_bit(quality: u8) -> f64 {
    let q = f64::from(quality.min(MAX_QUALITY)) / f64::from(MAX_QUALITY);
    1.0 / (LAMBDA.0 * (LAMBDA.1 / LAMBDA.0).powf(q))
}

/// The search's price of a bit: sixteenths of a level of absolute difference.
pub fn search_lambda(quality: u8) -> u32 {
    (16.0 * error_per_bit(quality).sqrt()) as u32
}

/// Squared error of a block below which its prediction will do, when coding it costs `bits`.
pub fn skip_threshold(quality: u8, bits: f64) -> u32 {
    (bits * error_per_bit(quality)) as u32
}

/// Marks the blocks whose prediction is good enough. Chroma must be as good, its error counting
/// like luma's.
pub fn choose_skips(
    source: &super::Picture,
    prediction: &super::Picture,
    threshold: u32,
    skip: &mut [bool],
) {
    use rayon::prelude::*;
    let width = source.width;
    let columns = width / BLOCK;
    skip.par_chunks_mut(columns)
        .enumerate()
        .for_each(|(row, skip)| {
            for (column, skip) in skip.iter_mut().enumerate() {
                let at = row * BLOCK * width + column * BLOCK;
                let luma = squared_error::<BLOCK>(&source.y, &prediction.y, at, width);
                if luma >= threshold {
                    *skip = false;
                    continue;
                }
                let half = width / 2;
                let at = row * BLOCK / 2 * half + column * BLOCK / 2;
                let plane = source.uv.len() / 2;
                let u = squared_error::<{ BLOCK / 2 }>(&source.uv, &prediction.uv, at, half);
                let v =
                    squared_error::<{ BLOCK / 2 }>(&source.uv, &prediction.uv, plane + at, half);
                *skip = luma + u + v < threshold;
            }
        });
}

#[inline(always)]
fn squared_error<const N: usize>(a: &[u8], b: &[u8], at: usize, stride: usize) -> u32 {
    let mut sum = 0u32;
    for i in 0..N {
        let a = &a[at + i * stride..][..N];
        let b = &b[at + i * stride..][..N];
        for j in 0..N {
            let d = i32::from(a[j]) - i32::from(b[j]);
            sum += (d * d) as u32;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::Picture;
    use super::*;

    #[test]
    fn better_quality_skips_less() {
        assert!((0..63).all(|q| skip_threshold(q, 9.0) > skip_threshold(q + 1, 9.0)));
        assert!(search_lambda(0) > search_lambda(63));
    }

    #[test]
    fn equal_blocks_are_skipped_and_others_are_not() {
        let a = Picture::grey(64, 64);
        let mut b = a.clone();
        b.y[0] = 255;
        b.uv[8] = 0;
        let mut skip = vec![false; 16];
        choose_skips(&a, &b, 100, &mut skip);
        assert!(!skip[0] && !skip[1] && skip[2..].iter().all(|&s| s));
    }
}
