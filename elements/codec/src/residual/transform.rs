// SPDX-License-Identifier: Apache-2.0
//! The 8x8 cosine transform. Back from levels it is exact integers, so that encoder and decoder add the same;
//! there, and only there, it is in floats.
#![allow(unsafe_code)] // calls of functions compiled for more than the baseline

use crate::dispatch::dispatch;
use std::sync::LazyLock;

/// Rows and columns of a block.
pub const SIDE: usize = 8;
/// Numbers of a block.
pub const AREA: usize = SIDE * SIDE;

/// The cosine transform's rows, times 64 times the root of eight, as HEVC rounds them.
const MATRIX: [[i32; SIDE]; SIDE] = [
    [64, 64, 64, 64, 64, 64, 64, 64],
    [89, 75, 50, 18, -18, -50, -75, -89],
    [83, 36, -36, -83, -83, -36, 36, 83],
    [75, -18, -89, -50, 50, 89, 18, -75],
    [64, -64, -64, 64, 64, -64, -64, 64],
    [50, -89, 18, 75, -75, -18, 89, -50],
    [36, -83, 83, -36, -36, 83, -83, 36],
    [18, -50, 75, -89, 89, -75, 50, -18],
];

/// Coefficients stay within ± this, so that no sum leaves 32 bits.
const MOST: i32 = 1 << 16;

/// From coefficients in quarters, row by row, to differences of samples.
pub fn inverse(coefficients: &[i32; AREA]) -> [i32; AREA] {
    let mut half = [0; AREA];
    for row in 0..SIDE {
        let mut sums = [64; SIDE];
        for (k, basis) in MATRIX.iter().enumerate() {
            let value = coefficients[SIDE * row + k].clamp(-MOST, MOST);
            if value != 0 {
                for (sum, basis) in sums.iter_mut().zip(basis) {
                    *sum += value * basis;
                }
            }
        }
        for (half, sum) in half[SIDE * row..][..SIDE].iter_mut().zip(sums) {
            *half = sum >> 7;
        }
    }
    let mut out = [512; AREA];
    for (k, basis) in MATRIX.iter().enumerate() {
        let from = &half[SIDE * k..][..SIDE];
        for (row, &basis) in basis.iter().enumerate() {
            for (out, from) in out[SIDE * row..][..SIDE].iter_mut().zip(from) {
                *out += from * basis;
            }
        }
    }
    out.map(|sum| sum >> 10)
}

/// The transform with rows of length one, the matrix that [`inverse`] has but for its rounding, and the same transposed.
static FORWARD: LazyLock<[[[f32; SIDE]; SIDE]; 2]> = LazyLock::new(|| {
    let matrix = MATRIX.map(|row| row.map(|v| v as f32 / (64.0 * 8f32.sqrt())));
    let transposed = std::array::from_fn(|x| std::array::from_fn(|k| matrix[k][x]));
    [matrix, transposed]
});

dispatch! {
    /// Differences of samples to coefficients.
    pub fn forward => forward_body, forward_body, (differences: &[f32; AREA]) -> [f32; AREA]
}

#[inline(always)]
fn forward_body(differences: &[f32; AREA]) -> [f32; AREA] {
    let [matrix, across] = &*FORWARD;
    let mut half = [0.0; AREA];
    for (k, basis) in matrix.iter().enumerate() {
        let half = &mut half[SIDE * k..][..SIDE];
        for (row, &basis) in basis.iter().enumerate() {
            for (half, from) in half.iter_mut().zip(&differences[SIDE * row..][..SIDE]) {
                *half += from * basis;
            }
        }
    }
    let mut out = [0.0; AREA];
    for (out, half) in out.chunks_exact_mut(SIDE).zip(half.chunks_exact(SIDE)) {
        for (basis, half) in across.iter().zip(half) {
            for (out, basis) in out.iter_mut().zip(basis) {
                *out += half * basis;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn there_and_back(values in prop::collection::vec(-255i32..=255, AREA)) {
            let differences: [f32; AREA] = std::array::from_fn(|i| values[i] as f32);
            let coefficients = forward(&differences).map(|c| (4.0 * c).round() as i32);
            let back = inverse(&coefficients);
            for (back, value) in back.iter().zip(values) {
                // The matrix is rounded: its rows are not quite of one length, nor at right angles.
                prop_assert!((back - value).abs() <= 2, "{back} for {value}");
            }
        }

        #[test]
        fn no_coefficients_overflow(values in prop::collection::vec(any::<i32>(), AREA)) {
            inverse(&std::array::from_fn(|i| values[i]));
        }
    }

    #[test]
    fn the_mean_is_the_first() {
        let mut coefficients = [0; AREA];
        coefficients[0] = 4 * 8 * 5;
        assert_eq!(inverse(&coefficients), [5; AREA]);
        assert_eq!(inverse(&[MOST; AREA]).len(), AREA);
    }
}
