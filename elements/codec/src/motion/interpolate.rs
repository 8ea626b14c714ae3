// SPDX-License-Identifier: Apache-2.0
//! Motion compensation with HEVC's interpolation filters.
//!
//! Luma has eight taps at quarter positions, chroma (4:2:0) four taps at eighth positions. Filters
//! are separable: horizontal first, its sums kept whole, then vertical. Two passes end with
//! `(v + 2048) >> 12`, a single one with `(v + 32) >> 6`, and the result is limited to the samples'
//! range. [`reference`] is that definition, written plainly; the blocks' version is held equal to it by
//! tests. What lies near other vectors then [leans](super::overlap) towards them.

use super::overlap::Rows;
use super::plane::Plane;
use super::{BLOCK, Field, PART, Sample, Vector, parts, simd};
use rayon::prelude::*;

/// Border of the luma reference: 128 pels of motion and the taps. Chroma has half of it.
pub const BORDER: usize = 144;

/// Taps of luma's quarter positions.
pub const LUMA: [[i16; 8]; 4] = [
    [0, 0, 0, 64, 0, 0, 0, 0],
    [-1, 4, -10, 58, 17, -5, 1, 0],
    [-1, 4, -11, 40, 40, -11, 4, -1],
    [0, 1, -5, 17, 58, -10, 4, -1],
];

/// Taps of chroma's eighth positions.
pub const CHROMA: [[i16; 4]; 8] = [
    [0, 64, 0, 0],
    [-2, 58, 10, -2],
    [-4, 54, 16, -2],
    [-6, 46, 28, -4],
    [-4, 36, 36, -4],
    [-4, 28, 46, -6],
    [-2, 16, 54, -4],
    [-2, 10, 58, -2],
];

/// A decoded picture as the reference for prediction.
#[derive(Debug, Clone)]
pub struct Reference<S = u8> {
    pub y: Plane<S>,
    pub u: Plane<S>,
    pub v: Plane<S>,
}

impl<S: Sample> Reference<S> {
    /// For a coded size (multiples of 64).
    pub fn new(width: usize, height: usize) -> Self {
        let chroma = Plane::new(width / 2, height / 2, BORDER / 2);
        Self {
            y: Plane::new(width, height, BORDER),
            u: chroma.clone(),
            v: chroma,
        }
    }

    /// Takes a picture over: `uv` is the U plane followed by the V plane.
    pub fn load(&mut self, y: &[S], uv: &[S]) {
        let (u, v) = uv.split_at(uv.len() / 2);
        let chroma = (&mut self.u, &mut self.v);
        rayon::join(
            || self.y.load(y),
            || {
                chroma.0.load(u);
                chroma.1.load(v);
            },
        );
    }
}

/// Predicts a whole picture: `y` and `uv` (U, then V) are written block row by block row.
pub fn compensate<S: Sample>(reference: &Reference<S>, field: &Field, y: &mut [S], uv: &mut [S]) {
    let (width, height) = (reference.y.width(), reference.y.height());
    assert_eq!(y.len(), width * height);
    assert_eq!(uv.len(), width * height / 2);
    assert_eq!(field.width * BLOCK, width);
    assert_eq!(field.vectors.len() * PART * PART, width * height);
    assert!(field.vectors.iter().all(|v| v.in_range()));
    let (u, v) = uv.split_at_mut(width * height / 4);
    let luma = y.par_chunks_mut(width * BLOCK);
    let chroma_rows = width / 2 * BLOCK / 2;
    let chroma = u
        .par_chunks_mut(chroma_rows)
        .zip(v.par_chunks_mut(chroma_rows));
    luma.zip(chroma).enumerate().for_each(|(row, (y, (u, v)))| {
        let rows = Rows::of(&field.vectors, 2 * field.width, row);
        simd::block_row(reference, row, rows.own, y, u, v);
        simd::lean_row(reference, row, rows, y, u, v);
    });
}

/// Predicts the luma of a whole picture, each part by its own vector alone.
pub fn compensate_luma<S: Sample>(reference: &Plane<S>, field: &Field, y: &mut [S]) {
    let (width, height) = (reference.width(), reference.height());
    assert_eq!(y.len(), width * height);
    assert_eq!(field.width * BLOCK, width);
    assert_eq!(field.vectors.len() * PART * PART, width * height);
    assert!(field.vectors.iter().all(|v| v.in_range()));
    y.par_chunks_mut(width * BLOCK)
        .zip(field.vectors.par_chunks(4 * field.width))
        .enumerate()
        .for_each(|(row, (y, vectors))| simd::luma_row(reference, row, vectors, y));
}

/// The luma of one row of blocks, to be compiled for several instruction sets. `vectors` are those of two rows
/// of parts.
#[inline(always)]
pub(super) fn luma_row<S: Sample>(luma: &Plane<S>, row: usize, vectors: &[Vector], y: &mut [S]) {
    let width = vectors.len() / 2;
    let stride = width * PART;
    for x in 0..width / 2 {
        let [vector, rest @ ..] = parts(vectors, width, 2 * x, 0);
        let (left, top) = (x * BLOCK, row * BLOCK);
        if rest == [vector; 3] {
            luma_block::<BLOCK, S>(luma, left, top, vector, &mut y[left..], stride);
            continue;
        }
        for (i, vector) in [vector, rest[0], rest[1], rest[2]].into_iter().enumerate() {
            let (right, down) = (i % 2 * PART, i / 2 * PART);
            let out = &mut y[down * stride + left + right..];
            luma_block::<PART, S>(luma, left + right, top + down, vector, out, stride);
        }
    }
}

/// One row of blocks, to be compiled for several instruction sets. `vectors` are those of two rows of
/// parts.
#[inline(always)]
pub(super) fn block_row<S: Sample>(
    reference: &Reference<S>,
    row: usize,
    vectors: &[Vector],
    y: &mut [S],
    u: &mut [S],
    v: &mut [S],
) {
    let width = vectors.len() / 2;
    let stride = width * PART;
    let Reference {
        y: luma,
        u: blue,
        v: red,
    } = reference;
    luma_row(luma, row, vectors, y);
    for x in 0..width / 2 {
        let [vector, rest @ ..] = parts(vectors, width, 2 * x, 0);
        let (half, half_top) = (x * BLOCK / 2, row * BLOCK / 2);
        if rest == [vector; 3] {
            const N: usize = BLOCK / 2;
            chroma_block::<N, S>(blue, half, half_top, vector, &mut u[half..], stride / 2);
            chroma_block::<N, S>(red, half, half_top, vector, &mut v[half..], stride / 2);
            continue;
        }
        for (i, vector) in [vector, rest[0], rest[1], rest[2]].into_iter().enumerate() {
            const N: usize = PART / 2;
            let (right, down) = (i % 2 * PART, i / 2 * PART);
            let (left, top) = (half + right / 2, half_top + down / 2);
            let at = down / 2 * (stride / 2) + left;
            chroma_block::<N, S>(blue, left, top, vector, &mut u[at..], stride / 2);
            chroma_block::<N, S>(red, left, top, vector, &mut v[at..], stride / 2);
        }
    }
}

/// Predicts one luma block into `out`.
#[inline(always)]
pub(super) fn luma_block<const N: usize, S: Sample>(
    plane: &Plane<S>,
    x: usize,
    y: usize,
    vector: Vector,
    out: &mut [S],
    stride: usize,
) {
    block::<N, N, 8, S>(plane, (x, y), vector, &LUMA, out, stride);
}

#[inline(always)]
fn chroma_block<const N: usize, S: Sample>(
    plane: &Plane<S>,
    x: usize,
    y: usize,
    vector: Vector,
    out: &mut [S],
    stride: usize,
) {
    block::<N, N, 4, S>(plane, (x, y), vector, &CHROMA, out, stride);
}

/// Predicts `H` rows of `N` samples (4, or a multiple of 8) at `(x, y)` by the filters of a plane, one for each fraction of a sample.
#[inline(always)]
pub(super) fn block<const N: usize, const H: usize, const T: usize, S: Sample>(
    plane: &Plane<S>,
    (x, y): (usize, usize),
    vector: Vector,
    filters: &[[i16; T]],
    out: &mut [S],
    stride: usize,
) {
    let bits = filters.len().ilog2();
    let left = x as isize + isize::from(vector.x >> bits);
    let top = y as isize + isize::from(vector.y >> bits);
    let phase = |part: i16| part as usize & (filters.len() - 1);
    let phase = (phase(vector.x), phase(vector.y));
    let filters = (&filters[phase.0], &filters[phase.1]);
    filter_block::<N, H, T, S>(plane, (left, top), phase, filters, out, stride);
}

/// `H` rows of `N` samples through `T` taps. A row's sums fit 16 bits with eight-bit samples: the taps'
/// magnitudes sum to at most 112, so no partial sum leaves -6120..=22440.
#[inline(always)]
fn filter_block<const N: usize, const H: usize, const T: usize, S: Sample>(
    plane: &Plane<S>,
    (left, top): (isize, isize),
    phase: (usize, usize),
    filters: (&[i16; T], &[i16; T]),
    out: &mut [S],
    stride: usize,
) {
    let before = (T / 2 - 1) as isize;
    let source_stride = plane.stride();
    match phase {
        (0, 0) => {
            let source = plane.from(left, top);
            for i in 0..H {
                out[i * stride..][..N].copy_from_slice(&source[i * source_stride..][..N]);
            }
        }
        (_, 0) => {
            let source = plane.from(left - before, top);
            for i in 0..H {
                let sums = horizontal::<N, T, S>(&source[i * source_stride..], filters.0);
                let out: &mut [S; N] = first_mut(&mut out[i * stride..]);
                for j in 0..N {
                    out[j] = S::finish(sums[j]);
                }
            }
        }
        (0, _) => {
            let source = plane.from(left, top - before);
            for i in 0..H {
                let mut sums = [S::Sum::default(); N];
                for (t, &tap) in filters.1.iter().enumerate() {
                    let row: &[S; N] = first(&source[(i + t) * source_stride..]);
                    for j in 0..N {
                        sums[j] = S::add(sums[j], row[j], tap);
                    }
                }
                let out: &mut [S; N] = first_mut(&mut out[i * stride..]);
                for j in 0..N {
                    out[j] = S::finish(sums[j]);
                }
            }
        }
        _ => {
            let source = plane.from(left - before, top - before);
            // H + T - 1 rows at most: 23.
            let mut rows = [[S::Sum::default(); N]; 24];
            for (i, row) in rows.iter_mut().enumerate().take(H + T - 1) {
                *row = horizontal::<N, T, S>(&source[i * source_stride..], filters.0);
            }
            for i in 0..H {
                let sums = S::down(&rows[i..i + T], filters.1);
                let out: &mut [S; N] = first_mut(&mut out[i * stride..]);
                for j in 0..N {
                    out[j] = S::clip(sums[j] >> 12);
                }
            }
        }
    }
}

#[inline(always)]
fn horizontal<const N: usize, const T: usize, S: Sample>(
    source: &[S],
    filter: &[i16; T],
) -> [S::Sum; N] {
    let source = &source[..N + T - 1];
    let mut sums = [S::Sum::default(); N];
    for (t, &tap) in filter.iter().enumerate() {
        let shifted: &[S; N] = first(&source[t..]);
        for j in 0..N {
            sums[j] = S::add(sums[j], shifted[j], tap);
        }
    }
    sums
}

#[inline(always)]
fn first<S, const N: usize>(slice: &[S]) -> &[S; N] {
    slice.first_chunk().expect("the border is wide enough")
}

#[inline(always)]
fn first_mut<S, const N: usize>(slice: &mut [S]) -> &mut [S; N] {
    slice.first_chunk_mut().expect("a block inside the picture")
}

/// The definition, sample by sample; slow, and what the fast version is tested against.
pub mod reference {
    use super::{CHROMA, LUMA, Sample, Vector};

    /// Predicted luma sample at `(x, y)` of a picture of `width` columns.
    pub fn luma<S: Sample>(samples: &[S], width: usize, x: usize, y: usize, vector: Vector) -> S {
        let (dx, dy) = (i32::from(vector.x), i32::from(vector.y));
        let filters = (&LUMA[(dx & 3) as usize][..], &LUMA[(dy & 3) as usize][..]);
        sample(
            samples,
            width,
            x as i32 + (dx >> 2),
            y as i32 + (dy >> 2),
            dx & 3,
            dy & 3,
            filters,
        )
    }

    /// Predicted chroma sample; `width` is that of the chroma plane, the vector is luma's.
    pub fn chroma<S: Sample>(samples: &[S], width: usize, x: usize, y: usize, vector: Vector) -> S {
        let (dx, dy) = (i32::from(vector.x), i32::from(vector.y));
        let filters = (
            &CHROMA[(dx & 7) as usize][..],
            &CHROMA[(dy & 7) as usize][..],
        );
        sample(
            samples,
            width,
            x as i32 + (dx >> 3),
            y as i32 + (dy >> 3),
            dx & 7,
            dy & 7,
            filters,
        )
    }

    fn sample<S: Sample>(
        samples: &[S],
        width: usize,
        x: i32,
        y: i32,
        phase_x: i32,
        phase_y: i32,
        filters: (&[i16], &[i16]),
    ) -> S {
        let height = samples.len() / width;
        let at = |x: i32, y: i32| {
            let x = x.clamp(0, width as i32 - 1) as usize;
            let y = y.clamp(0, height as i32 - 1) as usize;
            samples[y * width + x].value()
        };
        let before = filters.0.len() as i32 / 2 - 1;
        let across = |y: i32| -> i32 {
            let taps = filters.0.iter().enumerate();
            taps.map(|(t, &tap)| i32::from(tap) * at(x - before + t as i32, y))
                .sum()
        };
        let value = match (phase_x, phase_y) {
            (0, 0) => at(x, y),
            (_, 0) => (across(y) + 32) >> 6,
            (0, _) => {
                let taps = filters.1.iter().enumerate();
                let sum: i32 = taps
                    .map(|(t, &tap)| i32::from(tap) * at(x, y - before + t as i32))
                    .sum();
                (sum + 32) >> 6
            }
            _ => {
                let taps = filters.1.iter().enumerate();
                let sum: i32 = taps
                    .map(|(t, &tap)| i32::from(tap) * across(y - before + t as i32))
                    .sum();
                (sum + 2048) >> 12
            }
        };
        S::clip(value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::overlap;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn filters_sum_to_64() {
        assert!(LUMA.iter().all(|f| f.iter().sum::<i16>() == 64));
        assert!(CHROMA.iter().all(|f| f.iter().sum::<i16>() == 64));
    }

    /// Compares the fast version with the definition, sample by sample.
    fn check<S: Sample>(
        seed: u64,
        extreme: bool,
        vectors: &[(i16, i16)],
    ) -> Result<(), TestCaseError> {
        let (width, height) = (128, 64);
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let range = (1 << S::BITS) - 1;
            S::clip(match (extreme, state & 256) {
                (false, _) => state as i32 & range,
                (true, 0) => 0,
                (true, _) => range,
            })
        };
        let y: Vec<S> = (0..width * height).map(|_| next()).collect();
        let uv: Vec<S> = (0..width * height / 2).map(|_| next()).collect();
        let mut field = Field::still(width / 16, height / 16);
        for (i, (v, &(x, y))) in field.vectors.iter_mut().zip(vectors).enumerate() {
            // All phases and all edges: some vectors short, some at the limits.
            *v = match i % 4 {
                0 => Vector::new(x % 16, y % 16),
                1 => Vector::new(
                    if x < 0 { -511 } else { 511 },
                    if y < 0 { -511 } else { 511 },
                ),
                2 => Vector::new((x & !3).max(-508), y),
                _ => Vector::new(x, y),
            };
        }
        // Every other block has one vector for all.
        for block in (0..field.skip.len()).step_by(2) {
            let at = block / field.width * 4 * field.width + block % field.width * 2;
            let below = at + 2 * field.width;
            let vector = field.vectors[at];
            field.vectors[at + 1] = vector;
            field.vectors[below..below + 2].fill(vector);
        }
        let mut reference_picture = Reference::new(width, height);
        reference_picture.load(&y, &uv);
        let mut got_y = vec![S::default(); y.len()];
        let mut got_uv = vec![S::default(); uv.len()];
        compensate(&reference_picture, &field, &mut got_y, &mut got_uv);
        let mut alone = got_y.clone();
        compensate_luma(&reference_picture.y, &field, &mut alone);
        for py in 0..height {
            for px in 0..width {
                let v = field.vectors[py / 8 * 2 * field.width + px / 8];
                prop_assert_eq!(
                    alone[py * width + px],
                    reference::luma(&y, width, px, py, v)
                );
                prop_assert_eq!(
                    got_y[py * width + px],
                    overlap::reference::luma(&y, width, px, py, &field)
                );
            }
        }
        let (half, size) = (width / 2, width * height / 4);
        for plane in 0..2 {
            let source = &uv[plane * size..][..size];
            let got = &got_uv[plane * size..][..size];
            for py in 0..height / 2 {
                for px in 0..half {
                    prop_assert_eq!(
                        got[py * half + px],
                        overlap::reference::chroma(source, half, px, py, &field)
                    );
                }
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn equals_the_definition(seed in any::<u64>(), extreme in any::<bool>(),
            vectors in prop::collection::vec((-511i16..512, -511i16..512), 128)) {
            check::<u8>(seed, extreme, &vectors)?;
            check::<u16>(seed, extreme, &vectors)?;
        }
    }

    #[test]
    fn ten_bits_keep_what_eight_would_round() {
        // A ramp of one step of ten bits a column: half a pel is half a step, rounded up.
        let (width, height) = (64, 64);
        let y: Vec<u16> = (0..width * height)
            .map(|i| 400 + (i % width) as u16)
            .collect();
        assert_eq!(reference::luma(&y, width, 20, 9, Vector::new(4, 0)), 421);
        assert_eq!(reference::luma(&y, width, 20, 9, Vector::new(2, 2)), 421);
        assert_eq!(reference::luma(&y, width, 20, 9, Vector::new(1, 0)), 420);
        let bright = vec![1023u16; width * height];
        assert_eq!(
            reference::luma(&bright, width, 20, 9, Vector::new(1, 3)),
            1023
        );
    }
}
