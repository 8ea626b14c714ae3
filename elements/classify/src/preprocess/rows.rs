// SPDX-License-Identifier: Apache-2.0
//! The two inner loops of scaling. All of the time that preprocessing takes is spent here, so the
//! same code is compiled for wider registers too and chosen when the CPU has them.

#![allow(unsafe_code)] // calling the variants for AVX2, after asking the CPU

/// Rows summed at once.
const ROWS: usize = 4;

/// `sums[x] = Σ weights[r] * data[r * stride + x]`.
pub(super) fn weighted_sum(data: &[u8], stride: usize, weights: &[f32], sums: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2, all that the function needs beyond an ordinary one.
        unsafe { weighted_sum_avx2(data, stride, weights, sums) };
        return;
    }
    plain(data, stride, weights, sums);
}

/// Weights are summed this many at a time; rows of them are a multiple of it long.
pub(super) const STEP: usize = 8;

/// `out[i] = Σ weights[i * width + k] * line[first[i] + k]`, `width` a multiple of [`STEP`].
pub(super) fn dot_products(
    line: &[f32],
    first: &[usize],
    weights: &[f32],
    width: usize,
    out: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has AVX2, all that the function needs beyond an ordinary one.
        unsafe { dot_products_avx2(line, first, weights, width, out) };
        return;
    }
    plain_dot(line, first, weights, width, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dot_products_avx2(
    line: &[f32],
    first: &[usize],
    weights: &[f32],
    width: usize,
    out: &mut [f32],
) {
    plain_dot(line, first, weights, width, out);
}

#[inline(always)]
fn plain_dot(line: &[f32], first: &[usize], weights: &[f32], width: usize, out: &mut [f32]) {
    for ((first, weights), out) in first.iter().zip(weights.chunks_exact(width)).zip(out) {
        // Independent sums: one would wait for each addition before the next.
        let mut sums = [0.0f32; STEP];
        for (values, weights) in line[*first..]
            .chunks_exact(STEP)
            .zip(weights.chunks_exact(STEP))
        {
            for ((sum, value), weight) in sums.iter_mut().zip(values).zip(weights) {
                *sum += value * weight;
            }
        }
        *out = sums.iter().sum();
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn weighted_sum_avx2(data: &[u8], stride: usize, weights: &[f32], sums: &mut [f32]) {
    plain(data, stride, weights, sums);
}

#[inline(always)]
fn plain(data: &[u8], stride: usize, weights: &[f32], sums: &mut [f32]) {
    let width = sums.len();
    let row = |r: usize| &data[r * stride..r * stride + width];
    sums.fill(0.0);
    // Several rows at once, each read from start to end: memory likes that, and the sums are
    // fetched and stored less often.
    let blocks = weights.chunks_exact(ROWS);
    let rest = blocks.remainder();
    for (block, w) in blocks.enumerate() {
        let r = block * ROWS;
        let (a, b, c, d) = (row(r), row(r + 1), row(r + 2), row(r + 3));
        for ((((sum, a), b), c), d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *sum += f32::from(*a) * w[0]
                + f32::from(*b) * w[1]
                + f32::from(*c) * w[2]
                + f32::from(*d) * w[3];
        }
    }
    for (r, weight) in (weights.len() - rest.len()..).zip(rest) {
        for (sum, value) in sums.iter_mut().zip(row(r)) {
            *sum += f32::from(*value) * weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_products_are_those_of_the_definition() {
        let line: Vec<f32> = (0..200).map(|i| (i * 37 % 101) as f32).collect();
        let weights: Vec<f32> = (0..3 * 24).map(|i| (i % 7) as f32 - 2.0).collect();
        let first = [0, 50, 176];
        let (mut a, mut b) = ([0.0; 3], [1.0; 3]);
        dot_products(&line, &first, &weights, 24, &mut a);
        plain_dot(&line, &first, &weights, 24, &mut b);
        assert_eq!(a, b);
        for (i, from) in first.iter().enumerate() {
            let sum: f32 = (0..24).map(|k| line[from + k] * weights[i * 24 + k]).sum();
            assert_eq!(a[i], sum, "whole numbers add up exactly in any order");
        }
    }

    #[test]
    fn both_variants_give_the_same_bits() {
        let data: Vec<u8> = (0..7000u32).map(|i| ((i * i) >> 3) as u8).collect();
        let weights: Vec<f32> = (0..9).map(|i| 0.03 + i as f32 * 0.017).collect();
        for width in [1, 31, 32, 33, 64, 500] {
            let (mut a, mut b) = (vec![0.0; width], vec![1.0; width]);
            weighted_sum(&data, 700, &weights, &mut a);
            plain(&data, 700, &weights, &mut b);
            assert_eq!(a, b, "width {width}");
            for x in [0, width - 1] {
                let sum: f32 = (0..9)
                    .map(|r| f32::from(data[r * 700 + x]) * weights[r])
                    .sum();
                assert!((a[x] - sum).abs() < 1e-3);
            }
        }
    }
}
