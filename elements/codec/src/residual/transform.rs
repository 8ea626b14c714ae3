// SPDX-License-Identifier: Apache-2.0
//! Cosine transforms of 4x4, 8x8 and 16x16 samples. Back from levels they are exact integers, so that encoder and decoder add the
//! same; there, and only there, they are in floats.
#![allow(unsafe_code)] // calls of functions compiled for more than the baseline

use crate::dispatch::dispatch;
use std::sync::LazyLock;

/// Rows and columns of a square, of a large one, and of a fine one, of which four are in a square's place.
pub const SIDE: usize = 8;
pub const LARGE: usize = 16;
pub const FINE: usize = 4;
/// Numbers of a square, and of a large one.
pub const AREA: usize = SIDE * SIDE;
pub const LARGE_AREA: usize = LARGE * LARGE;

/// The left halves of the rows of HEVC's transform of 16: 64 times the root of sixteen of the cosine transform's, rounded. Right halves
/// mirror them; those of odd rows are negative.
const HALVES: [[i32; SIDE]; LARGE] = [
    [64, 64, 64, 64, 64, 64, 64, 64],
    [90, 87, 80, 70, 57, 43, 25, 9],
    [89, 75, 50, 18, -18, -50, -75, -89],
    [87, 57, 9, -43, -80, -90, -70, -25],
    [83, 36, -36, -83, -83, -36, 36, 83],
    [80, 9, -70, -87, -25, 57, 90, 43],
    [75, -18, -89, -50, 50, 89, 18, -75],
    [70, -43, -87, 9, 90, 25, -80, -57],
    [64, -64, -64, 64, 64, -64, -64, 64],
    [57, -80, -25, 90, -9, -87, 43, 70],
    [50, -89, 18, 75, -75, -18, 89, -50],
    [43, -90, 57, 25, -87, 70, 9, -80],
    [36, -83, 83, -36, -36, 83, -83, 36],
    [25, -70, 90, -80, 43, 9, -57, 87],
    [18, -50, 75, -89, 89, -75, 50, -18],
    [9, -25, 43, -57, 70, -80, 87, -90],
];

/// The transform of 16.
const LARGE_MATRIX: [[i32; LARGE]; LARGE] = {
    let mut matrix = [[0; LARGE]; LARGE];
    let mut k = 0;
    while k < LARGE {
        let mut x = 0;
        while x < SIDE {
            let value = HALVES[k][x];
            matrix[k][x] = value;
            matrix[k][LARGE - 1 - x] = if k % 2 == 0 { value } else { -value };
            x += 1;
        }
        k += 1;
    }
    matrix
};

/// The transform of 8, which is in that of 16: 64 times the root of eight of the cosine transform's.
const MATRIX: [[i32; SIDE]; SIDE] = {
    let mut matrix = [[0; SIDE]; SIDE];
    let mut k = 0;
    while k < SIDE {
        matrix[k] = HALVES[2 * k];
        k += 1;
    }
    matrix
};

/// The transform of 4, which is in that of 8.
const FINE_MATRIX: [[i32; FINE]; FINE] = {
    let mut matrix = [[0; FINE]; FINE];
    let mut k = 0;
    while k < FINE {
        let mut x = 0;
        while x < FINE {
            matrix[k][x] = MATRIX[2 * k][x];
            x += 1;
        }
        k += 1;
    }
    matrix
};

/// Coefficients stay within ± this, so that no sum leaves 32 bits.
const MOST: i32 = 1 << 17;

/// From coefficients in eighths, row by row, to differences of samples.
pub fn inverse(coefficients: &[i32; AREA]) -> [i32; AREA] {
    back(&MATRIX, coefficients, 11)
}

/// The same of a large square.
pub fn inverse_large(coefficients: &[i32; LARGE_AREA]) -> [i32; LARGE_AREA] {
    back(&LARGE_MATRIX, coefficients, 12)
}

/// The same of four fine squares.
pub fn inverse_fine(coefficients: &[i32; AREA]) -> [i32; AREA] {
    quartered(coefficients, |square| back(&FINE_MATRIX, square, 10))
}

/// Does something to each of four squares.
#[inline(always)]
fn quartered<T: Copy + Default>(
    values: &[T; AREA],
    each: impl Fn(&[T; FINE * FINE]) -> [T; FINE * FINE],
) -> [T; AREA] {
    let mut out = [T::default(); AREA];
    for square in 0..4 {
        let first = FINE * SIDE * (square / 2) + FINE * (square % 2);
        let mut some = [T::default(); FINE * FINE];
        for (row, some) in some.chunks_exact_mut(FINE).enumerate() {
            some.copy_from_slice(&values[first + SIDE * row..][..FINE]);
        }
        for (row, some) in each(&some).chunks_exact(FINE).enumerate() {
            out[first + SIDE * row..][..FINE].copy_from_slice(some);
        }
    }
    out
}

#[inline(always)]
fn back<const N: usize, const AREA: usize>(
    matrix: &[[i32; N]; N],
    coefficients: &[i32; AREA],
    shift: u32,
) -> [i32; AREA] {
    let mut half = [0; AREA];
    let rows = coefficients.chunks_exact(N).zip(half.chunks_exact_mut(N));
    for (row, half) in rows {
        let mut sums = [64; N];
        for (value, basis) in row.iter().zip(matrix) {
            let value = (*value).clamp(-MOST, MOST);
            if value != 0 {
                for (sum, basis) in sums.iter_mut().zip(basis) {
                    *sum += value * basis;
                }
            }
        }
        for (half, sum) in half.iter_mut().zip(sums) {
            *half = sum >> 7;
        }
    }
    let mut out = [1 << (shift - 1); AREA];
    for (basis, from) in matrix.iter().zip(half.chunks_exact(N)) {
        if from.iter().all(|&v| v == 0) {
            continue;
        }
        for (out, &basis) in out.chunks_exact_mut(N).zip(basis) {
            for (out, from) in out.iter_mut().zip(from) {
                *out += from * basis;
            }
        }
    }
    out.map(|sum| sum >> shift)
}

/// A transform with rows of length one, the matrix of [`back`] but for its rounding, and the same transposed.
struct Forward<const N: usize>([[[f32; N]; N]; 2]);

impl<const N: usize> Forward<N> {
    fn new(matrix: &[[i32; N]; N]) -> Self {
        let matrix = matrix.map(|row| row.map(|v| v as f32 / (64.0 * (N as f32).sqrt())));
        let transposed = std::array::from_fn(|x| std::array::from_fn(|k| matrix[k][x]));
        Self([matrix, transposed])
    }
}

static FORWARD: LazyLock<Forward<SIDE>> = LazyLock::new(|| Forward::new(&MATRIX));
static FORWARD_FINE: LazyLock<Forward<FINE>> = LazyLock::new(|| Forward::new(&FINE_MATRIX));
static FORWARD_LARGE: LazyLock<Forward<LARGE>> = LazyLock::new(|| Forward::new(&LARGE_MATRIX));

dispatch! {
    /// Differences of samples to coefficients.
    pub fn forward => forward_body, forward_body, (differences: &[f32; AREA]) -> [f32; AREA]
}

dispatch! {
    /// The same of a large square.
    pub fn forward_large => forward_large_body, forward_large_body, (differences: &[f32; LARGE_AREA]) -> [f32; LARGE_AREA]
}

dispatch! {
    /// The same of four fine squares.
    pub fn forward_fine => forward_fine_body, forward_fine_body, (differences: &[f32; AREA]) -> [f32; AREA]
}

#[inline(always)]
fn forward_fine_body(differences: &[f32; AREA]) -> [f32; AREA] {
    let mut out = [0.0; AREA];
    let Forward([matrix, _]) = &*FORWARD_FINE;
    // Rows of both squares at once.
    let mut half = [0.0f32; AREA];
    for square in 0..2 {
        for (k, basis) in matrix.iter().enumerate() {
            let to = SIDE * (FINE * square + k);
            for (y, &basis) in basis.iter().enumerate() {
                let from = SIDE * (FINE * square + y);
                for x in 0..SIDE {
                    half[to + x] += differences[from + x] * basis;
                }
            }
        }
    }
    for (out, half) in out.chunks_exact_mut(FINE).zip(half.chunks_exact(FINE)) {
        for (out, basis) in out.iter_mut().zip(matrix) {
            for (half, basis) in half.iter().zip(basis) {
                *out += half * basis;
            }
        }
    }
    out
}

#[inline(always)]
fn forward_body(differences: &[f32; AREA]) -> [f32; AREA] {
    there(&FORWARD, differences)
}

#[inline(always)]
fn forward_large_body(differences: &[f32; LARGE_AREA]) -> [f32; LARGE_AREA] {
    there(&FORWARD_LARGE, differences)
}

#[inline(always)]
fn there<const N: usize, const AREA: usize>(
    Forward([matrix, across]): &Forward<N>,
    differences: &[f32; AREA],
) -> [f32; AREA] {
    let mut half = [0.0; AREA];
    for (half, basis) in half.chunks_exact_mut(N).zip(matrix) {
        for (from, &basis) in differences.chunks_exact(N).zip(basis) {
            for (half, from) in half.iter_mut().zip(from) {
                *half += from * basis;
            }
        }
    }
    let mut out = [0.0; AREA];
    for (out, half) in out.chunks_exact_mut(N).zip(half.chunks_exact(N)) {
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
            let coefficients = forward(&differences).map(|c| (8.0 * c).round() as i32);
            let back = inverse(&coefficients);
            for (back, value) in back.iter().zip(values) {
                // The matrix is rounded: its rows are not quite of one length, nor at right angles.
                prop_assert!((back - value).abs() <= 2, "{back} for {value}");
            }
        }

        #[test]
        fn large_ones_there_and_back(values in prop::collection::vec(-255i32..=255, LARGE_AREA)) {
            let differences: [f32; LARGE_AREA] = std::array::from_fn(|i| values[i] as f32);
            let coefficients = forward_large(&differences).map(|c| (8.0 * c).round() as i32);
            let back = inverse_large(&coefficients);
            for (back, value) in back.iter().zip(values) {
                prop_assert!((back - value).abs() <= 4, "{back} for {value}");
            }
        }

        #[test]
        fn fine_ones_there_and_back(values in prop::collection::vec(-255i32..=255, AREA)) {
            let differences: [f32; AREA] = std::array::from_fn(|i| values[i] as f32);
            let coefficients = forward_fine(&differences).map(|c| (8.0 * c).round() as i32);
            let back = inverse_fine(&coefficients);
            for (back, value) in back.iter().zip(values) {
                prop_assert!((back - value).abs() <= 2, "{back} for {value}");
            }
        }

        #[test]
        fn no_coefficients_overflow(values in prop::collection::vec(any::<i32>(), LARGE_AREA)) {
            inverse(&std::array::from_fn(|i| values[i]));
            inverse_large(&std::array::from_fn(|i| values[i]));
            inverse_fine(&std::array::from_fn(|i| values[i]));
        }
    }

    #[test]
    fn the_mean_is_the_first() {
        let mut coefficients = [0; AREA];
        coefficients[0] = 8 * 8 * 5;
        assert_eq!(inverse(&coefficients), [5; AREA]);
        let mut coefficients = [0; AREA];
        coefficients[FINE] = 8 * 4 * 5;
        let right_above = |i: usize| i % SIDE >= FINE && i < FINE * SIDE;
        let wanted = std::array::from_fn(|i| if right_above(i) { 5 } else { 0 });
        assert_eq!(inverse_fine(&coefficients), wanted);
        let mut coefficients = [0; LARGE_AREA];
        coefficients[0] = 8 * 16 * 5;
        assert_eq!(inverse_large(&coefficients), [5; LARGE_AREA]);
        for most in [MOST, -MOST] {
            assert_eq!(inverse(&[most; AREA]).len(), AREA);
            assert_eq!(inverse_fine(&[most; AREA]).len(), AREA);
            assert_eq!(inverse_large(&[most; LARGE_AREA]).len(), LARGE_AREA);
        }
    }
}
