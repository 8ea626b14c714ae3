// SPDX-License-Identifier: Apache-2.0
//! Hierarchical, rate-aware block search.
//!
//! The source luma is matched against the previous *decoded* luma. Eighth size is searched fully,
//! quarter and half size refine what the level above found, and full size weighs the match against
//! the vector's bits: `SAD + lambda * bits`, over the candidates that the vector's coder offers, the
//! pyramid's vector and the previous frame's, then integer, half and quarter steps around the best.
//! Quarter positions are approximated by means of half-pel planes here; the prediction itself uses
//! the exact filters. Tiles are searched in parallel, and know nothing of each other, just as they
//! are coded.

use super::code::Cost;
use super::interpolate::LUMA;
use super::plane::Plane;
use super::{BLOCK, Candidates, Field, MAX_VECTOR, Vector, simd};
use rayon::prelude::*;

/// How much motion is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Variant {
    /// The full search.
    #[default]
    Search,
    /// Vectors of zero only: what explicit motion is worth can be measured against it.
    Zero,
}

/// Border of the pyramid's and the half-pel planes.
const BORDER: usize = 48;
/// A block may lie this far outside the picture.
const OUTSIDE: i32 = 32;
/// Reach of the full search at eighth size, in its own samples (64 luma pels).
const COARSE_REACH: i32 = 10;

/// Half-pel planes of the reference: horizontal, vertical, both.
#[derive(Debug)]
pub(super) struct Halves {
    full: Plane,
    h: Plane,
    v: Plane,
    c: Plane,
}

/// One level of the pyramid to be searched by 8x8 blocks of its own.
pub(super) struct CoarseTask<'a> {
    source: &'a Plane,
    reference: &'a Plane,
    /// Result of the level above, in its samples, and its width in blocks.
    parent: Option<(&'a [Vector], usize)>,
    lambda: u32,
}

/// One tile to be searched at full size.
pub(super) struct TileTask<'a> {
    source: &'a Plane,
    /// First row of blocks.
    first: usize,
    width: usize,
    /// Vectors of half size, one a block, in its samples.
    parent: &'a [Vector],
    previous: &'a [Vector],
    cost: &'a Cost,
    lambda: u32,
}

/// Finds the motion of one stream's frames.
#[derive(Debug)]
pub struct Searcher {
    tile_rows: usize,
    source: [Plane; 4],
    /// Half, quarter and eighth size of the reference.
    reference: [Plane; 3],
    halves: Halves,
    previous: Vec<Vector>,
    cost: Cost,
}

impl Searcher {
    /// For a coded size (multiples of 64) and tiles of `tile_rows` block rows.
    pub fn new(width: usize, height: usize, tile_rows: usize) -> Self {
        let level = |shift: u32| Plane::new(width >> shift, height >> shift, BORDER);
        Self {
            tile_rows,
            source: [level(0), level(1), level(2), level(3)],
            reference: [level(1), level(2), level(3)],
            halves: Halves {
                full: level(0),
                h: level(0),
                v: level(0),
                c: level(0),
            },
            previous: vec![Vector::ZERO; width * height / (BLOCK * BLOCK)],
            cost: Cost::default(),
        }
    }

    /// Forgets the previous frame's vectors, as at a key frame.
    pub fn reset(&mut self) {
        self.previous.fill(Vector::ZERO);
    }

    /// Sets the decoded luma that is searched, and prepares its pyramid and half-pel planes.
    fn set_reference(&mut self, luma: &[u8]) {
        let Halves { full, h, v, c } = &mut self.halves;
        full.load(luma);
        let [half, quarter, eighth] = &mut self.reference;
        let full = &*full;
        rayon::join(
            || {
                half.load_half(full);
                quarter.load_half(half);
                eighth.load_half(quarter);
            },
            || fill_halves(full, h, v, c),
        );
    }

    /// Searches `luma` in `reference` (both tightly packed). `lambda` is the price of a bit in
    /// sixteenths of a level of absolute difference.
    pub fn search(&mut self, luma: &[u8], reference: &[u8], lambda: u32) -> Field {
        let width = self.source[0].width() / BLOCK;
        let height = self.source[0].height() / BLOCK;
        self.set_reference(reference);
        self.source[0].load(luma);
        for level in 1..4 {
            let (fine, coarse) = self.source.split_at_mut(level);
            coarse[0].load_half(&fine[level - 1]);
        }
        let coarse = |level: usize, parent| {
            let task = CoarseTask {
                source: &self.source[level],
                reference: &self.reference[level - 1],
                parent,
                lambda: lambda >> level,
            };
            let columns = task.source.width() / 8;
            let mut out = vec![Vector::ZERO; columns * (task.source.height() / 8)];
            out.par_chunks_mut(columns)
                .enumerate()
                .for_each(|(row, out)| simd::coarse_row(&task, row, out));
            out
        };
        let eighth = coarse(3, None);
        let quarter = coarse(2, Some((&eighth[..], width / 4)));
        let half = coarse(1, Some((&quarter[..], width / 2)));

        let mut field = Field::still(width, height);
        let tile = width * self.tile_rows;
        field
            .vectors
            .par_chunks_mut(tile)
            .zip(half.par_chunks(tile))
            .zip(self.previous.par_chunks(tile))
            .enumerate()
            .for_each(|(index, ((out, parent), previous))| {
                let task = TileTask {
                    source: &self.source[0],
                    first: index * self.tile_rows,
                    width,
                    parent,
                    previous,
                    cost: &self.cost,
                    lambda,
                };
                simd::tile(&task, &self.halves, out);
            });
        self.previous.copy_from_slice(&field.vectors);
        field
    }
}

fn fill_halves(full: &Plane, h: &mut Plane, v: &mut Plane, c: &mut Plane) {
    let stride = full.stride();
    let rows = 32;
    // The outermost rows and columns, which have no neighbours to filter, are never read.
    let inner = |plane: &mut Plane| {
        let len = plane.raw_mut().len();
        (4 * stride, len - 4 * stride)
    };
    let (start, end) = inner(h);
    let h = h.raw_mut()[start..end].par_chunks_mut(rows * stride);
    let v = v.raw_mut()[start..end].par_chunks_mut(rows * stride);
    let c = c.raw_mut()[start..end].par_chunks_mut(rows * stride);
    h.zip(v).zip(c).enumerate().for_each(|(i, ((h, v), c))| {
        simd::half_rows(full, 4 + i * rows, h.len() / stride, h, v, c);
    });
}

/// Rows `first..first + count`, counted from the top of the border.
#[inline(always)]
pub(super) fn half_rows(
    full: &Plane,
    first: usize,
    count: usize,
    h: &mut [u8],
    v: &mut [u8],
    c: &mut [u8],
) {
    const TAPS: [i16; 8] = LUMA[2];
    let stride = full.stride();
    let border = full.border() as isize;
    let inner = stride - 8;
    let source = full.from(-border, first as isize - 3 - border);
    // Vertical sums of a row, from which both other planes follow.
    let mut sums = vec![0i16; stride];
    for row in 0..count {
        let rows: [&[u8]; 8] = std::array::from_fn(|t| &source[(row + t) * stride..][..stride]);
        for x in 0..stride {
            let mut sum = 0i16;
            for t in 0..8 {
                sum += i16::from(rows[t][x]) * TAPS[t];
            }
            sums[x] = sum;
        }
        let out = &mut v[row * stride..][..stride];
        for (out, &sum) in out.iter_mut().zip(&sums) {
            *out = ((sum + 32) >> 6).clamp(0, 255) as u8;
        }
        let out = &mut c[row * stride + 3..][..inner];
        let taps: [&[i16]; 8] = std::array::from_fn(|t| &sums[t..][..inner]);
        for x in 0..inner {
            let mut sum = 2048i32;
            for t in 0..8 {
                sum += i32::from(taps[t][x]) * i32::from(TAPS[t]);
            }
            out[x] = (sum >> 12).clamp(0, 255) as u8;
        }
        let out = &mut h[row * stride + 3..][..inner];
        let taps: [&[u8]; 8] = std::array::from_fn(|t| &rows[3][t..][..inner]);
        for x in 0..inner {
            let mut sum = 32i16;
            for t in 0..8 {
                sum += i16::from(taps[t][x]) * TAPS[t];
            }
            out[x] = (sum >> 6).clamp(0, 255) as u8;
        }
    }
}

/// Sum of absolute differences of an `N` x `N` block.
#[inline(always)]
fn sad<const N: usize>(a: &[u8], a_stride: usize, b: &[u8], b_stride: usize) -> u32 {
    let a = &a[..(N - 1) * a_stride + N];
    let b = &b[..(N - 1) * b_stride + N];
    let mut total = 0;
    for i in 0..N {
        let a = &a[i * a_stride..][..N];
        let b = &b[i * b_stride..][..N];
        let mut sum = 0u32;
        for j in 0..N {
            sum += u32::from(a[j].abs_diff(b[j]));
        }
        total += sum;
    }
    total
}

/// The same against the mean of two blocks.
#[inline(always)]
fn sad_mean(a: &[u8], a_stride: usize, b: &[u8], c: &[u8], stride: usize) -> u32 {
    const N: usize = BLOCK;
    let a = &a[..(N - 1) * a_stride + N];
    let b = &b[..(N - 1) * stride + N];
    let c = &c[..(N - 1) * stride + N];
    let mut total = 0;
    for i in 0..N {
        let a = &a[i * a_stride..][..N];
        let b = &b[i * stride..][..N];
        let c = &c[i * stride..][..N];
        let mut mean = [0u8; N];
        for j in 0..N {
            mean[j] = (u16::from(b[j]) + u16::from(c[j])).div_ceil(2) as u8;
        }
        let mut sum = 0u32;
        for j in 0..N {
            sum += u32::from(a[j].abs_diff(mean[j]));
        }
        total += sum;
    }
    total
}

/// Limits a position so that a block of `size` stays within the planes' border.
#[inline(always)]
fn limit(v: i32, at: usize, size: i32, extent: usize, outside: i32) -> i32 {
    let at = at as i32;
    v.clamp(-outside - at, extent as i32 + outside - size - at)
}

/// One row of 8x8 blocks of a coarse level; vectors are whole samples of the level.
#[inline(always)]
pub(super) fn coarse_row(task: &CoarseTask<'_>, row: usize, out: &mut [Vector]) {
    let (source, reference) = (task.source, task.reference);
    let (width, height) = (source.width(), source.height());
    let y = 8 * row;
    for (column, out) in out.iter_mut().enumerate() {
        let x = 8 * column;
        let block = source.from(x as isize, y as isize);
        let (stride, reference_stride) = (source.stride(), reference.stride());
        let clamp = |dx: i32, dy: i32| {
            (
                limit(dx, x, 8, width, OUTSIDE),
                limit(dy, y, 8, height, OUTSIDE),
            )
        };
        let price = |(dx, dy): (i32, i32)| {
            let at = reference.from(x as isize + dx as isize, y as isize + dy as isize);
            // Length of a vector, so that flat areas stay at rest.
            let bits = 34
                - (dx.unsigned_abs() + 1).leading_zeros()
                - (dy.unsigned_abs() + 1).leading_zeros()
                + 30;
            sad::<8>(block, stride, at, reference_stride) + ((task.lambda * 2 * bits) >> 4)
        };
        let mut best = (0, 0);
        let mut least = price(best);
        let mut consider = |candidate: (i32, i32), best: &mut (i32, i32)| {
            let candidate = clamp(candidate.0, candidate.1);
            if candidate != *best {
                let price = price(candidate);
                if price < least {
                    least = price;
                    *best = candidate;
                    return true;
                }
            }
            false
        };
        let mut reach = 2;
        match task.parent {
            None => {
                for dy in -COARSE_REACH..=COARSE_REACH {
                    for dx in -COARSE_REACH..=COARSE_REACH {
                        consider((dx, dy), &mut best);
                    }
                }
                reach = 8;
            }
            Some((parents, columns)) => {
                let rows = parents.len() / columns;
                let (px, py) = (column / 2, row / 2);
                // The parent, and those next to it on this block's side.
                let nx = if column.is_multiple_of(2) {
                    px.saturating_sub(1)
                } else {
                    (px + 1).min(columns - 1)
                };
                let ny = if row.is_multiple_of(2) {
                    py.saturating_sub(1)
                } else {
                    (py + 1).min(rows - 1)
                };
                for (px, py) in [(px, py), (nx, py), (px, ny), (nx, ny)] {
                    let parent = parents[py * columns + px];
                    consider(
                        (2 * i32::from(parent.x), 2 * i32::from(parent.y)),
                        &mut best,
                    );
                }
            }
        }
        for _ in 0..reach {
            let (cx, cy) = best;
            let mut moved = false;
            for (dx, dy) in [
                (-1, 0),
                (1, 0),
                (0, -1),
                (0, 1),
                (-1, -1),
                (1, -1),
                (-1, 1),
                (1, 1),
            ] {
                moved |= consider((cx + dx, cy + dy), &mut best);
            }
            if !moved {
                break;
            }
        }
        *out = Vector::new(best.0 as i16, best.1 as i16);
    }
}

/// Which planes give a quarter position: see [`match_at`].
const PLANES: [(u8, u8); 16] = [
    (0, 0),
    (1, 0),
    (1, 1),
    (1, 0),
    (0, 2),
    (1, 2),
    (1, 3),
    (1, 2),
    (2, 2),
    (2, 3),
    (3, 3),
    (2, 3),
    (0, 2),
    (1, 2),
    (1, 3),
    (1, 2),
];

/// Difference of a block and the reference moved by a quarter-pel vector.
#[inline(always)]
fn match_at(
    halves: &Halves,
    block: &[u8],
    stride: usize,
    x: usize,
    y: usize,
    vector: Vector,
) -> u32 {
    let (fx, fy) = (vector.x & 3, vector.y & 3);
    let left = x as isize + isize::from(vector.x >> 2);
    let top = y as isize + isize::from(vector.y >> 2);
    let pick = |plane: u8| match plane {
        0 => &halves.full,
        1 => &halves.h,
        2 => &halves.v,
        _ => &halves.c,
    };
    let reference_stride = halves.full.stride();
    let (first, second) = PLANES[(fy * 4 + fx) as usize];
    let a = pick(first).from(left, top + isize::from(fy == 3));
    if fx & 1 == 0 && fy & 1 == 0 {
        sad::<BLOCK>(block, stride, a, reference_stride)
    } else {
        let b = pick(second).from(left + isize::from(fx == 3), top);
        sad_mean(block, stride, a, b, reference_stride)
    }
}

/// Searches a tile; `out` gets one vector a block.
#[inline(always)]
pub(super) fn tile(task: &TileTask<'_>, halves: &Halves, out: &mut [Vector]) {
    let source = task.source;
    let (width, height) = (source.width(), source.height());
    let stride = source.stride();
    for row in 0..out.len() / task.width {
        for column in 0..task.width {
            let at = row * task.width + column;
            let (x, y) = (column * BLOCK, (task.first + row) * BLOCK);
            let block = source.from(x as isize, y as isize);
            let candidates = Candidates::new(out, task.width, column, row);
            let clamp = |v: (i32, i32)| {
                let limit = |v: i32, at, extent| {
                    let whole = limit(v >> 2, at, BLOCK as i32, extent, OUTSIDE);
                    let v = if whole == v >> 2 { v } else { 4 * whole };
                    v.clamp(-i32::from(MAX_VECTOR), i32::from(MAX_VECTOR)) as i16
                };
                Vector::new(limit(v.0, x, width), limit(v.1, y, height))
            };
            let price = |vector: Vector| {
                let bits = task.cost.of(&candidates, vector);
                match_at(halves, block, stride, x, y, vector) + ((task.lambda * bits) >> 8)
            };
            let mut best = clamp((candidates.median().x.into(), candidates.median().y.into()));
            let mut least = price(best);
            let mut consider = |vector: Vector, best: &mut Vector| {
                if vector != *best {
                    let price = price(vector);
                    if price < least {
                        least = price;
                        *best = vector;
                        return true;
                    }
                }
                false
            };
            let offers = candidates.as_slice()[1..].iter();
            for v in offers.chain([&task.previous[at]]) {
                consider(clamp((v.x.into(), v.y.into())), &mut best);
            }
            let parent = task.parent[at];
            consider(
                clamp((8 * i32::from(parent.x), 8 * i32::from(parent.y))),
                &mut best,
            );

            // Whole, half, then quarter steps.
            for (step, rounds) in [(4, 4), (2, 2), (1, 2)] {
                for _ in 0..rounds {
                    let (cx, cy) = (i32::from(best.x), i32::from(best.y));
                    let mut moved = false;
                    for (dx, dy) in [(-1, 0), (1, 0), (0, -1), (0, 1)] {
                        moved |= consider(clamp((cx + dx * step, cy + dy * step)), &mut best);
                    }
                    if step < 4 && !moved {
                        for (dx, dy) in [(-1, -1), (1, -1), (-1, 1), (1, 1)] {
                            moved |= consider(clamp((cx + dx * step, cy + dy * step)), &mut best);
                        }
                    }
                    if !moved {
                        break;
                    }
                }
            }
            out[at] = best;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Reference, compensate};
    use super::*;

    /// A smooth texture that has no period within the picture.
    fn texture(x: f64, y: f64) -> u8 {
        let v = 128.0
            + 50.0 * (x * 0.13 + (y * 0.05).sin() * 2.0).sin()
            + 40.0 * (y * 0.17 + (x * 0.031).cos() * 3.0).cos()
            + 20.0 * ((x + y) * 0.41).sin();
        v.clamp(0.0, 255.0) as u8
    }

    fn picture(width: usize, height: usize, dx: f64, dy: f64) -> Vec<u8> {
        let at = |i: usize| texture((i % width) as f64 + dx, (i / width) as f64 + dy);
        (0..width * height).map(at).collect()
    }

    #[test]
    fn finds_a_pan() {
        let (width, height) = (320, 192);
        for (dx, dy) in [(0.0, 0.0), (3.0, -2.0), (17.25, 9.5), (-40.0, 21.75)] {
            let before = picture(width, height, 0.0, 0.0);
            let now = picture(width, height, dx, dy);
            let field = Searcher::new(width, height, 8).search(&now, &before, 64);
            let expected = Vector::new((4.0 * dx) as i16, (4.0 * dy) as i16);
            let inner = |i: &usize| (4..16).contains(&(i % 20)) && (3..9).contains(&(i / 20));
            let all: Vec<usize> = (0..field.vectors.len()).filter(inner).collect();
            let near = |v: Vector| v.x.abs_diff(expected.x) <= 1 && v.y.abs_diff(expected.y) <= 1;
            let hits = all.iter().filter(|&&i| near(field.vectors[i])).count();
            assert!(
                hits * 10 >= all.len() * 9,
                "{dx} {dy}: {hits} of {}",
                all.len()
            );
        }
    }

    #[test]
    fn beats_no_motion_and_stays_in_range() {
        let (width, height) = (192, 128);
        let before = picture(width, height, 0.0, 0.0);
        let now = picture(width, height, -7.5, 4.25);
        let field = Searcher::new(width, height, 8).search(&now, &before, 100);
        assert!(field.vectors.iter().all(|v| v.in_range()));
        let mut reference = Reference::new(width, height);
        reference.load(&before, &vec![128; width * height / 2]);
        let mut predicted = vec![0; width * height];
        compensate(
            &reference,
            &field,
            &mut predicted,
            &mut vec![0; width * height / 2],
        );
        let error = |a: &[u8]| -> u64 {
            a.iter()
                .zip(&now)
                .map(|(a, b)| u64::from(a.abs_diff(*b)))
                .sum()
        };
        assert!(error(&predicted) * 4 < error(&before));
    }

    #[test]
    fn smallest_picture_and_random_noise() {
        let mut state = 1u32;
        let mut noise = || {
            (0..64 * 64)
                .map(|_| {
                    state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                    (state >> 24) as u8
                })
                .collect::<Vec<u8>>()
        };
        let mut searcher = Searcher::new(64, 64, 8);
        for lambda in [0, 16, 10_000] {
            let field = searcher.search(&noise(), &noise(), lambda);
            assert!(field.vectors.iter().all(|v| v.in_range()));
        }
    }

    #[test]
    fn a_high_price_keeps_still() {
        let (width, height) = (128, 128);
        let before = picture(width, height, 0.0, 0.0);
        let now = picture(width, height, 1.0, 1.0);
        let field = Searcher::new(width, height, 8).search(&now, &before, 1 << 20);
        let first = field.vectors[0];
        assert!(
            field.vectors.iter().all(|&v| v == first),
            "one vector for all"
        );
    }
}
