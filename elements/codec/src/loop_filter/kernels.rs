// SPDX-License-Identifier: Apache-2.0
//! What a block's samples become.

use super::classes::classes_of;
use super::sets::Set;
use super::{BLOCK, BORDER, Beside, CELL, CHROMA_BLOCK, CLASSES, PLACES, Padded, SHIFT, TAPS};
#[cfg(target_arch = "x86_64")]
use crate::dispatch::has_avx2;
use crate::motion::Sample;

/// A block of so many samples, so many of which a cell has along its sides.
#[inline(always)]
pub(super) fn filter_block<S: Sample, const BLOCK: usize, const CELL: usize>(
    padded: Padded<'_>,
    classes: &[u8],
    (column, row): (usize, usize),
    set: &Set,
    beside: &[Beside<'_, S>],
    (limit, doubt): (i16, i16),
) -> [[S; BLOCK]; BLOCK] {
    let mut out = [[S::default(); BLOCK]; BLOCK];
    let width = padded.stride - 2 * BORDER;
    let cells = width / CELL;
    let (x, y) = ((column * BLOCK) as isize, row * BLOCK);
    for (i, lines) in out.chunks_exact_mut(CELL).enumerate() {
        let classes = classes_of(classes, cells, column, y / CELL + i);
        let mut weights = [[[0i16; 2]; CHROMA_BLOCK]; TAPS];
        for (cell, class) in classes.iter().enumerate() {
            let from = &set[usize::from(*class) % CLASSES];
            for (weights, weight) in weights.iter_mut().zip(from) {
                weights[cell] = *weight;
            }
        }
        for (j, line) in lines.iter_mut().enumerate() {
            let y = (y + CELL * i + j) as isize;
            let middle = &padded.from(x, y)[..BLOCK];
            let mut sums = [0i16; BLOCK];
            for (weights, (down, right)) in weights.iter().zip(PLACES) {
                let weights = weights.as_flattened();
                let one = &padded.from(x + right, y + down)[..BLOCK];
                let other = &padded.from(x - right, y - down)[..BLOCK];
                for k in 0..BLOCK {
                    // (`clamp` would ask each time whether its limits are in order.)
                    let difference = |sample: i16| (sample - middle[k]).min(limit).max(-limit);
                    let pair = difference(one[k]) + difference(other[k]);
                    sums[k] = sums[k].wrapping_add(pair.wrapping_mul(weights[2 / CELL * k]));
                }
            }
            for beside in beside {
                let other = &beside.picture[y as usize * width + x as usize..][..BLOCK];
                for k in 0..BLOCK {
                    let weight = beside.weights[usize::from(classes[k / CELL]) % CLASSES][0];
                    let difference = other[k].value() as i16 - middle[k];
                    let limited = difference.min(limit).max(-limit);
                    sums[k] = sums[k].wrapping_add(limited.wrapping_mul(weight));
                }
            }
            for k in 0..BLOCK {
                let change = sums[k] - sums[k].min(doubt).max(-doubt) + (1 << (SHIFT - 1));
                line[k] = S::clip(i32::from(middle[k]) + i32::from(change >> SHIFT));
            }
        }
    }
    out
}

/// The samples of a block after the filter.
pub(super) fn block<S: Sample>(
    padded: Padded<'_>,
    classes: &[u8],
    place: (usize, usize),
    set: &Set,
    beside: &[Beside<'_, S>],
    (limit, doubt): (i16, i16),
) -> [[S; BLOCK]; BLOCK] {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the processor has just been asked.
        return unsafe { avx2::block(padded, classes, place, set, beside, (limit, doubt)) };
    }
    filter_block::<S, BLOCK, CELL>(padded, classes, place, set, beside, (limit, doubt))
}

/// The samples of a block of chroma after the filter.
pub(super) fn chroma_block<S: Sample>(
    padded: Padded<'_>,
    classes: &[u8],
    place: (usize, usize),
    set: &Set,
    limit: i16,
) -> [[S; CHROMA_BLOCK]; CHROMA_BLOCK] {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the processor has just been asked.
        return unsafe { avx2::chroma_block(padded, classes, place, set, limit) };
    }
    filter_block::<S, CHROMA_BLOCK, 1>(padded, classes, place, set, &[], (limit, 0))
}

/// The same by hand: of weights that a table gives for each cell, the compiler makes one store each.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::*;
    use std::arch::x86_64::*;

    const CELLS: usize = BLOCK / CELL;

    /// # Safety
    /// AVX2.
    #[target_feature(enable = "avx2")]
    pub unsafe fn block<S: Sample>(
        padded: Padded<'_>,
        classes: &[u8],
        (column, row): (usize, usize),
        set: &Set,
        beside: &[Beside<'_, S>],
        (limit, doubt): (i16, i16),
    ) -> [[S; BLOCK]; BLOCK] {
        let mut out = [[S::default(); BLOCK]; BLOCK];
        let width = padded.stride - 2 * BORDER;
        let cells = width / CELL;
        let (x, y) = ((column * BLOCK) as isize, row * BLOCK);
        let (most, least) = (_mm256_set1_epi16(limit), _mm256_set1_epi16(-limit));
        let half = _mm256_set1_epi16(1 << (SHIFT - 1));
        let (doubt, negative) = (_mm256_set1_epi16(doubt), _mm256_set1_epi16(-doubt));
        for (i, lines) in out.chunks_exact_mut(CELL).enumerate() {
            let classes = classes_of(classes, cells, column, y / CELL + i);
            let weights = weights(classes, set);
            let classes: [i32; CELLS] =
                std::array::from_fn(|cell| (usize::from(classes[cell]) % CLASSES) as i32);
            for (j, line) in lines.iter_mut().enumerate() {
                let y = (y + CELL * i + j) as isize;
                let load = |x: isize, y: isize| {
                    let samples = &padded.from(x, y)[..BLOCK];
                    // SAFETY: sixteen samples.
                    unsafe { _mm256_loadu_si256(samples.as_ptr().cast()) }
                };
                let middle = load(x, y);
                let difference = |sample: __m256i| {
                    let difference = _mm256_sub_epi16(sample, middle);
                    _mm256_max_epi16(_mm256_min_epi16(difference, most), least)
                };
                let mut sums = _mm256_setzero_si256();
                for (weights, (down, right)) in weights.iter().zip(PLACES) {
                    let one = difference(load(x + right, y + down));
                    let other = difference(load(x - right, y - down));
                    let product = _mm256_mullo_epi16(_mm256_add_epi16(one, other), *weights);
                    sums = _mm256_add_epi16(sums, product);
                }
                for beside in beside {
                    let from = &beside.picture[y as usize * width + x as usize..][..BLOCK];
                    let mut other = [0i16; BLOCK];
                    for (to, from) in other.iter_mut().zip(from) {
                        *to = from.value() as i16;
                    }
                    // SAFETY: sixteen samples, eight classes, and a table that has each of them.
                    let (other, weights) = unsafe {
                        let classes = _mm256_loadu_si256(classes.as_ptr().cast());
                        let table = beside.weights.as_ptr().cast();
                        (
                            _mm256_loadu_si256(other.as_ptr().cast()),
                            _mm256_i32gather_epi32::<4>(table, classes),
                        )
                    };
                    let product = _mm256_mullo_epi16(difference(other), weights);
                    sums = _mm256_add_epi16(sums, product);
                }
                let doubted = _mm256_max_epi16(_mm256_min_epi16(sums, doubt), negative);
                let sums = _mm256_add_epi16(_mm256_sub_epi16(sums, doubted), half);
                let sums = _mm256_srai_epi16::<{ SHIFT as i32 }>(sums);
                let mut values = [0i16; BLOCK];
                // SAFETY: sixteen samples.
                unsafe {
                    _mm256_storeu_si256(values.as_mut_ptr().cast(), _mm256_add_epi16(middle, sums))
                };
                for (to, value) in line.iter_mut().zip(values) {
                    *to = S::clip(value.into());
                }
            }
        }
        out
    }

    /// Two rows of chroma at a time, one in each half.
    ///
    /// # Safety
    /// AVX2.
    #[target_feature(enable = "avx2")]
    pub unsafe fn chroma_block<S: Sample>(
        padded: Padded<'_>,
        classes: &[u8],
        (column, row): (usize, usize),
        set: &Set,
        limit: i16,
    ) -> [[S; CELLS]; CELLS] {
        let mut out = [[S::default(); CELLS]; CELLS];
        let cells = padded.stride - 2 * BORDER;
        let (x, y) = ((column * CELLS) as isize, row * CELLS);
        let (most, least) = (_mm256_set1_epi16(limit), _mm256_set1_epi16(-limit));
        let half = _mm256_set1_epi16(1 << (SHIFT - 1));
        for (i, lines) in out.chunks_exact_mut(2).enumerate() {
            let y = y + 2 * i;
            let upper = weights(classes_of(classes, cells, column, y), set);
            let lower = weights(classes_of(classes, cells, column, y + 1), set);
            let y = y as isize;
            let load = |x: isize, y: isize| {
                let (upper, lower) = (&padded.from(x, y)[..CELLS], &padded.from(x, y + 1)[..CELLS]);
                // SAFETY: eight samples each.
                unsafe {
                    _mm256_set_m128i(
                        _mm_loadu_si128(lower.as_ptr().cast()),
                        _mm_loadu_si128(upper.as_ptr().cast()),
                    )
                }
            };
            let middle = load(x, y);
            let difference = |sample: __m256i| {
                let difference = _mm256_sub_epi16(sample, middle);
                _mm256_max_epi16(_mm256_min_epi16(difference, most), least)
            };
            let mut sums = half;
            for ((upper, lower), (down, right)) in upper.iter().zip(&lower).zip(PLACES) {
                // Each weight is there twice, and is wanted once.
                let (upper, lower) = (
                    _mm256_srai_epi32::<16>(*upper),
                    _mm256_srai_epi32::<16>(*lower),
                );
                let weights =
                    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(upper, lower));
                let one = difference(load(x + right, y + down));
                let other = difference(load(x - right, y - down));
                let product = _mm256_mullo_epi16(_mm256_add_epi16(one, other), weights);
                sums = _mm256_add_epi16(sums, product);
            }
            let sums = _mm256_srai_epi16::<{ SHIFT as i32 }>(sums);
            let mut values = [0i16; 2 * CELLS];
            // SAFETY: sixteen samples.
            unsafe {
                _mm256_storeu_si256(values.as_mut_ptr().cast(), _mm256_add_epi16(middle, sums))
            };
            for (to, value) in lines.as_flattened_mut().iter_mut().zip(values) {
                *to = S::clip(value.into());
            }
        }
        out
    }

    /// For each tap the weights of a row's samples.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn weights(classes: &[u8], set: &Set) -> [__m256i; TAPS] {
        let mut eight = [_mm256_setzero_si256(); CELLS];
        let mut four = [_mm_setzero_si128(); CELLS];
        for ((eight, four), class) in eight.iter_mut().zip(&mut four).zip(classes) {
            let from: &[[i16; CELL]; TAPS] = &set[usize::from(*class) % CLASSES];
            // SAFETY: twelve pairs of 16 bits, eight and four.
            unsafe {
                *eight = _mm256_loadu_si256(from.as_ptr().cast());
                *four = _mm_loadu_si128(from.as_ptr().add(8).cast());
            }
        }
        let mut out = [_mm256_setzero_si256(); TAPS];
        // Four taps in each half: of cells a quarter of the block apart, then exchanged by halves.
        let quads = |rows: [__m256i; 4]| {
            let [a, b, c, d] = rows;
            let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
            let (ab_high, cd_high) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
            [
                _mm256_unpacklo_epi64(ab, cd),
                _mm256_unpackhi_epi64(ab, cd),
                _mm256_unpacklo_epi64(ab_high, cd_high),
                _mm256_unpackhi_epi64(ab_high, cd_high),
            ]
        };
        let first = quads([eight[0], eight[1], eight[2], eight[3]]);
        let second = quads([eight[4], eight[5], eight[6], eight[7]]);
        for (k, (first, second)) in first.into_iter().zip(second).enumerate() {
            out[k] = _mm256_permute2x128_si256::<0x20>(first, second);
            out[k + 4] = _mm256_permute2x128_si256::<0x31>(first, second);
        }
        let rest = quads([0, 1, 2, 3].map(|k| _mm256_set_m128i(four[k + 4], four[k])));
        out[8..].copy_from_slice(&rest);
        out
    }
}
