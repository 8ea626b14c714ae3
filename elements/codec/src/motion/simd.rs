// SPDX-License-Identifier: Apache-2.0
//! The hot loops compiled twice: for the baseline, and for AVX2 where the machine has it.
//!
//! The loops themselves are safe Rust in their own modules. Only the call into a function that is
//! compiled for more than the baseline is not, and the [`Kernels`] written by hand: differences of
//! blocks, where nearly all of the search's time goes. Tests hold both versions to the same sums.
#![allow(unsafe_code)]

use super::Vector;
use super::coding::{Coding, cosine};
use super::interpolate::{self, Reference};
use super::overlap::{self, Rows};
use super::plane::Plane;
use super::search::{self, Halves, TileTask};
use crate::dispatch::dispatch;
#[cfg(all(test, target_arch = "x86_64"))]
use crate::dispatch::has_avx2;

/// Differences of blocks. The first block has its own stride, the others share one.
pub(super) trait Kernels {
    /// Sum of absolute differences of 8x8 samples.
    fn difference8(a: &[u8], a_stride: usize, b: &[u8], b_stride: usize) -> u32;
    /// Sum of squared differences of `N` x `N` samples (8 or 16).
    fn squares<const N: usize>(a: &[u8], a_stride: usize, b: &[u8], b_stride: usize) -> u32;
    /// The same against the mean of two blocks, halves rounded up.
    fn squares_mean<const N: usize>(
        a: &[u8],
        a_stride: usize,
        b: &[u8],
        c: &[u8],
        stride: usize,
    ) -> u32;
    /// What coding the difference costs.
    fn coding<const N: usize>(
        a: &[u8],
        a_stride: usize,
        b: &[u8],
        b_stride: usize,
        coding: &Coding,
    ) -> f32;
}

/// For any machine; the definition.
pub(super) struct Plain;

impl Kernels for Plain {
    #[inline(always)]
    fn difference8(a: &[u8], a_stride: usize, b: &[u8], b_stride: usize) -> u32 {
        let rows = (0..8).map(|i| (&a[i * a_stride..][..8], &b[i * b_stride..][..8]));
        let samples = rows.flat_map(|(a, b)| a.iter().zip(b));
        samples.map(|(a, b)| u32::from(a.abs_diff(*b))).sum()
    }

    #[inline(always)]
    fn squares<const N: usize>(a: &[u8], a_stride: usize, b: &[u8], b_stride: usize) -> u32 {
        let mut sums = [0i32; N];
        for i in 0..N {
            let a = &a[i * a_stride..][..N];
            let b = &b[i * b_stride..][..N];
            for j in 0..N {
                let d = i32::from(a[j]) - i32::from(b[j]);
                sums[j] += d * d;
            }
        }
        sums.iter().sum::<i32>() as u32
    }

    #[inline(always)]
    fn squares_mean<const N: usize>(
        a: &[u8],
        a_stride: usize,
        b: &[u8],
        c: &[u8],
        stride: usize,
    ) -> u32 {
        let mut sums = [0i32; N];
        for i in 0..N {
            let a = &a[i * a_stride..][..N];
            let b = &b[i * stride..][..N];
            let c = &c[i * stride..][..N];
            for j in 0..N {
                let mean = (u16::from(b[j]) + u16::from(c[j])).div_ceil(2);
                let d = i32::from(a[j]) - i32::from(mean);
                sums[j] += d * d;
            }
        }
        sums.iter().sum::<i32>() as u32
    }

    #[inline(always)]
    fn coding<const N: usize>(
        a: &[u8],
        a_stride: usize,
        b: &[u8],
        b_stride: usize,
        coding: &Coding,
    ) -> f32 {
        // In the order in which the kernel by hand adds up: the sums of floats are the same.
        let mut sums = [0.0f32; 8];
        for top in (0..N).step_by(8) {
            let mut blocks = [[[0i16; 8]; 8]; 2];
            for (column, block) in blocks[..N / 8].iter_mut().enumerate() {
                for (i, out) in block.iter_mut().enumerate() {
                    let a = &a[(top + i) * a_stride + 8 * column..][..8];
                    let b = &b[(top + i) * b_stride + 8 * column..][..8];
                    for j in 0..8 {
                        out[j] = i16::from(a[j]) - i16::from(b[j]);
                    }
                }
                cosine(block);
                let rows = *block;
                for (i, out) in block.iter_mut().enumerate() {
                    for (out, row) in out.iter_mut().zip(rows) {
                        *out = row[i];
                    }
                }
                cosine(block);
            }
            for row in 0..8 {
                for block in &blocks[..N / 8] {
                    for (column, sum) in sums.iter_mut().enumerate() {
                        *sum += coding.of(row, column, block[row][column]);
                    }
                }
            }
        }
        sums.iter().sum()
    }
}

/// For AVX2. To be named only in functions that are called where the processor has it.
#[cfg(target_arch = "x86_64")]
struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Kernels for Avx2 {
    #[inline(always)]
    fn difference8(a: &[u8], a_stride: usize, b: &[u8], b_stride: usize) -> u32 {
        let (a, b) = (rows::<8>(a, a_stride), rows::<8>(b, b_stride));
        // SAFETY: see the type; both slices hold 8 rows of 8 samples.
        unsafe { avx2::difference8(a.as_ptr(), a_stride, b.as_ptr(), b_stride) }
    }

    #[inline(always)]
    fn squares<const N: usize>(a: &[u8], a_stride: usize, b: &[u8], b_stride: usize) -> u32 {
        let (a, b) = (rows::<N>(a, a_stride), rows::<N>(b, b_stride));
        // SAFETY: see the type; both slices hold N rows of N samples.
        unsafe { avx2::squares::<N, false>(a.as_ptr(), a_stride, b.as_ptr(), b.as_ptr(), b_stride) }
    }

    #[inline(always)]
    fn squares_mean<const N: usize>(
        a: &[u8],
        a_stride: usize,
        b: &[u8],
        c: &[u8],
        stride: usize,
    ) -> u32 {
        let (a, b, c) = (
            rows::<N>(a, a_stride),
            rows::<N>(b, stride),
            rows::<N>(c, stride),
        );
        // SAFETY: see the type; all slices hold N rows of N samples.
        unsafe { avx2::squares::<N, true>(a.as_ptr(), a_stride, b.as_ptr(), c.as_ptr(), stride) }
    }

    #[inline(always)]
    fn coding<const N: usize>(
        a: &[u8],
        a_stride: usize,
        b: &[u8],
        b_stride: usize,
        coding: &Coding,
    ) -> f32 {
        let (a, b) = (rows::<N>(a, a_stride), rows::<N>(b, b_stride));
        // SAFETY: see the type; both slices hold N rows of N samples.
        unsafe { avx2::coding::<N>(a.as_ptr(), a_stride, b.as_ptr(), b_stride, coding) }
    }
}

/// Exactly the samples from the first to the last of an `N` x `N` block.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn rows<const N: usize>(samples: &[u8], stride: usize) -> &[u8] {
    &samples[..(N - 1) * stride + N]
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::super::coding::{HALF_ROOT, LESS, MORE, ROTATION};
    use super::Coding;
    use std::arch::x86_64::*;

    /// # Safety
    /// AVX2; 8 rows of 8 samples behind each pointer.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub unsafe fn difference8(a: *const u8, a_stride: usize, b: *const u8, b_stride: usize) -> u32 {
        let mut sum = _mm_setzero_si128();
        for i in (0..8).step_by(2) {
            // SAFETY: rows i and i + 1, as the caller promises.
            let (a, b) = unsafe {
                (
                    two_rows(a.add(i * a_stride), a_stride),
                    two_rows(b.add(i * b_stride), b_stride),
                )
            };
            sum = _mm_add_epi64(sum, _mm_sad_epu8(a, b));
        }
        (_mm_extract_epi64::<0>(sum) + _mm_extract_epi64::<1>(sum)) as u32
    }

    /// # Safety
    /// AVX2; two rows of 8 samples behind the pointer.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn two_rows(at: *const u8, stride: usize) -> __m128i {
        // SAFETY: as the caller promises.
        unsafe {
            let first = _mm_loadl_epi64(at.cast());
            let second = _mm_loadl_epi64(at.add(stride).cast());
            _mm_unpacklo_epi64(first, second)
        }
    }

    /// # Safety
    /// AVX2; `N` rows of `N` samples behind each pointer, `N` being 8 or 16.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub unsafe fn squares<const N: usize, const MEAN: bool>(
        a: *const u8,
        a_stride: usize,
        b: *const u8,
        c: *const u8,
        stride: usize,
    ) -> u32 {
        const { assert!(N == 8 || N == 16) };
        let mut sums = _mm256_setzero_si256();
        let step = if N == 8 { 2 } else { 1 };
        for i in (0..N).step_by(step) {
            // SAFETY: 16 samples of the rows from i on, as the caller promises.
            let (a, b, c) = unsafe {
                (
                    sixteen::<N>(a.add(i * a_stride), a_stride),
                    sixteen::<N>(b.add(i * stride), stride),
                    sixteen::<N>(c.add(i * stride), stride),
                )
            };
            let b = if MEAN { _mm_avg_epu8(b, c) } else { b };
            let difference = _mm256_sub_epi16(_mm256_cvtepu8_epi16(a), _mm256_cvtepu8_epi16(b));
            sums = _mm256_add_epi32(sums, _mm256_madd_epi16(difference, difference));
        }
        let sums = _mm_add_epi32(
            _mm256_castsi256_si128(sums),
            _mm256_extracti128_si256::<1>(sums),
        );
        let sums = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b01_00_11_10>(sums));
        let sums = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b10_11_00_01>(sums));
        _mm_cvtsi128_si32(sums) as u32
    }

    /// # Safety
    /// AVX2; `N` rows of `N` samples behind each pointer, `N` being 8 or 16.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub unsafe fn coding<const N: usize>(
        a: *const u8,
        a_stride: usize,
        b: *const u8,
        b_stride: usize,
        coding: &Coding,
    ) -> f32 {
        const { assert!(N == 8 || N == 16) };
        let coded = _mm256_set1_ps(Coding::CODED);
        let per_coded = _mm256_set1_ps(1.0 / Coding::CODED);
        let doubled = _mm256_set1_ps(Coding::DOUBLED);
        let (mantissa, bias) = (
            _mm256_set1_ps(1.0 / (1 << 23) as f32),
            _mm256_set1_ps(127.0),
        );
        let mut sums = _mm256_setzero_ps();
        for top in (0..N).step_by(8) {
            // Two blocks side by side, one in each half; of a single one the other half is zeros.
            let mut rows = [_mm256_setzero_si256(); 8];
            for (i, row) in rows.iter_mut().enumerate() {
                // SAFETY: N samples of a row, as the caller promises.
                let (a, b) = unsafe {
                    (
                        row_of::<N>(a.add((top + i) * a_stride)),
                        row_of::<N>(b.add((top + i) * b_stride)),
                    )
                };
                *row = _mm256_sub_epi16(_mm256_cvtepu8_epi16(a), _mm256_cvtepu8_epi16(b));
            }
            cosine(&mut rows);
            transpose(&mut rows);
            cosine(&mut rows);
            for (row, scales) in rows.into_iter().zip(&coding.scales) {
                // SAFETY: eight numbers.
                let scales = unsafe { _mm256_loadu_ps(scales.as_ptr()) };
                let halves = [
                    _mm256_castsi256_si128(row),
                    _mm256_extracti128_si256::<1>(row),
                ];
                for half in &halves[..N / 8] {
                    let coefficient = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(*half));
                    let square = _mm256_mul_ps(coefficient, coefficient);
                    let left = _mm256_mul_ps(square, scales);
                    let share = _mm256_castps_si256(_mm256_mul_ps(left, per_coded));
                    let bits = _mm256_mul_ps(_mm256_cvtepi32_ps(share), mantissa);
                    let octaves = _mm256_sub_ps(bits, bias);
                    let cost = _mm256_add_ps(coded, _mm256_mul_ps(doubled, octaves));
                    let large = _mm256_cmp_ps::<_CMP_GT_OQ>(left, coded);
                    sums = _mm256_add_ps(sums, _mm256_blendv_ps(left, cost, large));
                }
            }
        }
        let mut lanes = [0.0f32; 8];
        // SAFETY: eight numbers.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sums) };
        lanes.iter().sum()
    }

    /// # Safety
    /// AVX2; `N` samples behind the pointer.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn row_of<const N: usize>(at: *const u8) -> __m128i {
        // SAFETY: as the caller promises.
        unsafe {
            match N {
                8 => _mm_loadl_epi64(at.cast()),
                _ => _mm_loadu_si128(at.cast()),
            }
        }
    }

    /// See [`super::super::coding::cosine`]; of two blocks of 8x8, each in its half.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn cosine(d: &mut [__m256i; 8]) {
        let add = |a, b| _mm256_add_epi16(a, b);
        let sub = |a, b| _mm256_sub_epi16(a, b);
        let times = |a, factor| _mm256_mulhrs_epi16(a, _mm256_set1_epi16(factor));
        let sums = [
            add(d[0], d[7]),
            add(d[1], d[6]),
            add(d[2], d[5]),
            add(d[3], d[4]),
        ];
        let [d7, d6, d5, d4] = [
            sub(d[0], d[7]),
            sub(d[1], d[6]),
            sub(d[2], d[5]),
            sub(d[3], d[4]),
        ];
        let (outer, outer_less) = (add(sums[0], sums[3]), sub(sums[0], sums[3]));
        let (inner, inner_less) = (add(sums[1], sums[2]), sub(sums[1], sums[2]));
        let turned = times(add(inner_less, outer_less), HALF_ROOT);
        d[0] = add(outer, inner);
        d[4] = sub(outer, inner);
        d[2] = add(outer_less, turned);
        d[6] = sub(outer_less, turned);
        let (low, middle, high) = (add(d4, d5), add(d5, d6), add(d6, d7));
        let rotated = times(sub(low, high), ROTATION);
        let less = add(times(low, LESS), rotated);
        let more = add(add(high, times(high, MORE)), rotated);
        let middle = times(middle, HALF_ROOT);
        let (plus, minus) = (add(d7, middle), sub(d7, middle));
        d[5] = add(minus, less);
        d[3] = sub(minus, less);
        d[1] = add(plus, more);
        d[7] = sub(plus, more);
    }

    /// Exchanges rows and columns of two blocks of 8x8, each in its half.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn transpose(rows: &mut [__m256i; 8]) {
        let [a, b, c, d, e, f, g, h] = *rows;
        let (ab, ab_high) = (_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b));
        let (cd, cd_high) = (_mm256_unpacklo_epi16(c, d), _mm256_unpackhi_epi16(c, d));
        let (ef, ef_high) = (_mm256_unpacklo_epi16(e, f), _mm256_unpackhi_epi16(e, f));
        let (gh, gh_high) = (_mm256_unpacklo_epi16(g, h), _mm256_unpackhi_epi16(g, h));
        let upper = [
            _mm256_unpacklo_epi32(ab, cd),
            _mm256_unpackhi_epi32(ab, cd),
            _mm256_unpacklo_epi32(ab_high, cd_high),
            _mm256_unpackhi_epi32(ab_high, cd_high),
        ];
        let lower = [
            _mm256_unpacklo_epi32(ef, gh),
            _mm256_unpackhi_epi32(ef, gh),
            _mm256_unpacklo_epi32(ef_high, gh_high),
            _mm256_unpackhi_epi32(ef_high, gh_high),
        ];
        for (i, (upper, lower)) in upper.into_iter().zip(lower).enumerate() {
            rows[2 * i] = _mm256_unpacklo_epi64(upper, lower);
            rows[2 * i + 1] = _mm256_unpackhi_epi64(upper, lower);
        }
    }

    /// # Safety
    /// AVX2; a row of 16 or two of 8 samples behind the pointer.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn sixteen<const N: usize>(at: *const u8, stride: usize) -> __m128i {
        // SAFETY: as the caller promises.
        unsafe {
            if N == 8 {
                two_rows(at, stride)
            } else {
                _mm_loadu_si128(at.cast())
            }
        }
    }
}

/// See [`super::Sample::down`]. Two rows at a time, with instructions that every x86-64 has: left to
/// itself the compiler adds up columns, one number after the other.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn down<const N: usize>(rows: &[[i16; N]], taps: &[i16]) -> [i32; N] {
    use std::arch::x86_64::*;
    const { assert!(N == 4 || N.is_multiple_of(8)) };
    let mut out = [0i32; N];
    for column in (0..N).step_by(8) {
        // SAFETY: 8 numbers of a row from a multiple of 8 on, or all 4 of it; SSE2 is always there.
        unsafe {
            let load = |row: &[i16; N]| {
                let at = row.as_ptr().add(column).cast::<__m128i>();
                if N == 4 {
                    _mm_loadl_epi64(at)
                } else {
                    _mm_loadu_si128(at)
                }
            };
            let half = _mm_set1_epi32(2048);
            let (mut low, mut high) = (half, half);
            for (rows, taps) in rows.chunks_exact(2).zip(taps.chunks_exact(2)) {
                let taps = i32::from(taps[0]) & 0xffff | i32::from(taps[1]) << 16;
                let taps = _mm_set1_epi32(taps);
                let (a, b) = (load(&rows[0]), load(&rows[1]));
                low = _mm_add_epi32(low, _mm_madd_epi16(_mm_unpacklo_epi16(a, b), taps));
                high = _mm_add_epi32(high, _mm_madd_epi16(_mm_unpackhi_epi16(a, b), taps));
            }
            let to = out.as_mut_ptr().add(column).cast::<__m128i>();
            _mm_storeu_si128(to, low);
            if N > 4 {
                _mm_storeu_si128(to.add(1), high);
            }
        }
    }
    out
}

dispatch! {
    /// Predicts one row of blocks.
    pub(super) fn block_row<S> => interpolate::block_row, interpolate::block_row,
    (reference: &Reference<S>, row: usize, vectors: &[Vector], y: &mut [S], u: &mut [S], v: &mut [S])
}

dispatch! {
    /// Leans one row of blocks towards its neighbours.
    pub(super) fn lean_row<S> => overlap::lean_row, overlap::lean_row,
    (reference: &Reference<S>, row: usize, rows: Rows<'_>, y: &mut [S], u: &mut [S], v: &mut [S])
}

dispatch! {
    /// Predicts the luma of one row of blocks.
    pub(super) fn luma_row<S> => interpolate::luma_row, interpolate::luma_row,
    (luma: &Plane<S>, row: usize, vectors: &[Vector], y: &mut [S])
}

dispatch! {
    /// Halves a plane.
    pub(super) fn load_half => Plane::load_half, Plane::load_half,
    (plane: &mut Plane, other: &Plane)
}

dispatch! {
    /// Filters some rows of the half-pel planes.
    pub(super) fn half_rows => search::half_rows, search::half_rows,
    (full: &Plane, first: usize, count: usize, h: &mut [u8], v: &mut [u8], c: &mut [u8])
}

dispatch! {
    /// Searches one row of blocks of a coarse level.
    pub(super) fn coarse_row => search::coarse_row::<Plain>, search::coarse_row::<Avx2>,
    (task: &search::CoarseTask<'_>, row: usize, out: &mut [Vector])
}

dispatch! {
    /// Searches one tile at full resolution.
    pub(super) fn tile => search::tile::<Plain>, search::tile::<Avx2>,
    (task: &TileTask<'_>, halves: &Halves, out: &mut [Vector])
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_kernels_agree(seed in any::<u64>(), extreme in any::<bool>(), strides in (16usize..40, 16usize..40)) {
            prop_assume!(has_avx2());
            let mut state = seed | 1;
            let mut block = |stride: usize| -> Vec<u8> {
                let mut next = || {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    if extreme { if state & 256 == 0 { 0 } else { 255 } } else { state as u8 }
                };
                (0..15 * stride + 16).map(|_| next()).collect()
            };
            let (a, b, c) = (block(strides.0), block(strides.1), block(strides.1));
            let (s, t) = strides;
            prop_assert_eq!(Plain::difference8(&a, s, &b, t), Avx2::difference8(&a, s, &b, t));
            prop_assert_eq!(Plain::squares::<16>(&a, s, &b, t), Avx2::squares::<16>(&a, s, &b, t));
            prop_assert_eq!(Plain::squares::<8>(&a, s, &b, t), Avx2::squares::<8>(&a, s, &b, t));
            let coding = Coding::of_worth(0.64 * (seed % 100) as f32);
            prop_assert_eq!(
                Plain::coding::<16>(&a, s, &b, t, &coding),
                Avx2::coding::<16>(&a, s, &b, t, &coding)
            );
            prop_assert_eq!(
                Plain::coding::<8>(&a, s, &b, t, &coding),
                Avx2::coding::<8>(&a, s, &b, t, &coding)
            );
            prop_assert_eq!(
                Plain::squares_mean::<16>(&a, s, &b, &c, t),
                Avx2::squares_mean::<16>(&a, s, &b, &c, t)
            );
            prop_assert_eq!(
                Plain::squares_mean::<8>(&a, s, &b, &c, t),
                Avx2::squares_mean::<8>(&a, s, &b, &c, t)
            );
        }
    }
}
