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

use super::code::Pricer;
use super::interpolate::{LUMA, luma_block};
use super::plane::Plane;
use super::{BLOCK, Field, PART, Reference, Vector, simd};
use rayon::prelude::*;

/// How much motion is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Variant {
    /// The full search.
    #[default]
    Full,
    /// One vector a block.
    Blocks16,
    /// Vectors of zero only: what explicit motion is worth can be measured against it.
    Zero,
    /// No prediction from other frames: every frame is a key frame.
    None,
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
    /// For exact prediction.
    exact: &'a Plane,
    value: Value,
    /// Whether blocks may be divided.
    divide: bool,
}

/// Finds the motion of one stream's frames.
#[derive(Debug)]
pub struct Searcher {
    tile_rows: usize,
    variant: Variant,
    source: [Plane; 4],
    /// Half, quarter and eighth size of the reference.
    reference: [Plane; 3],
    halves: Halves,
    previous: Vec<Vector>,
}

impl Searcher {
    /// For a coded size (multiples of 64) and tiles of `tile_rows` block rows.
    pub fn new(width: usize, height: usize, tile_rows: usize, variant: Variant) -> Self {
        let level = |shift: u32| Plane::new(width >> shift, height >> shift, BORDER);
        Self {
            tile_rows,
            variant,
            source: [level(0), level(1), level(2), level(3)],
            reference: [level(1), level(2), level(3)],
            halves: Halves {
                full: level(0),
                h: level(0),
                v: level(0),
                c: level(0),
            },
            previous: vec![Vector::ZERO; width * height / (PART * PART)],
        }
    }

    /// Forgets the previous frame's vectors, as at a key frame.
    pub fn reset(&mut self) {
        self.previous.fill(Vector::ZERO);
    }

    /// Sets the decoded luma that is searched, and prepares its pyramid and half-pel planes.
    fn set_reference(&mut self, luma: &Plane) {
        let Halves { full, h, v, c } = &mut self.halves;
        for y in 0..luma.height() {
            full.row_mut(y).copy_from_slice(luma.row(y));
        }
        full.extend();
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

    /// Searches `luma` (tightly packed) in `reference`. A bit is worth a squared error of `worth`.
    pub fn search(&mut self, luma: &[u8], reference: &Reference, worth: f64) -> Field {
        let lambda = (16.0 * worth.sqrt()) as u32;
        let exact = &reference.y;
        let width = self.source[0].width() / BLOCK;
        let height = self.source[0].height() / BLOCK;
        self.set_reference(exact);
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
            .par_chunks_mut(4 * tile)
            .zip(half.par_chunks(tile))
            .zip(self.previous.par_chunks(4 * tile))
            .enumerate()
            .for_each(|(index, ((out, parent), previous))| {
                let task = TileTask {
                    source: &self.source[0],
                    first: index * self.tile_rows,
                    width,
                    parent,
                    previous,
                    exact,
                    value: Value::new(worth),
                    divide: self.variant == Variant::Full,
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

/// Sum of squared differences of an `N` x `N` block.
#[inline(always)]
fn squares<const N: usize>(a: &[u8], a_stride: usize, b: &[u8], b_stride: usize) -> u32 {
    let a = &a[..(N - 1) * a_stride + N];
    let b = &b[..(N - 1) * b_stride + N];
    let mut sums = [0i32; N];
    for i in 0..N {
        let a = &a[i * a_stride..][..N];
        let b = &b[i * b_stride..][..N];
        for j in 0..N {
            let d = i16::from(a[j]) - i16::from(b[j]);
            sums[j] += i32::from(d) * i32::from(d);
        }
    }
    sums.iter().sum::<i32>() as u32
}

/// The same against the mean of two blocks.
#[inline(always)]
fn squares_mean<const N: usize>(
    a: &[u8],
    a_stride: usize,
    b: &[u8],
    c: &[u8],
    stride: usize,
) -> u32 {
    let a = &a[..(N - 1) * a_stride + N];
    let b = &b[..(N - 1) * stride + N];
    let c = &c[..(N - 1) * stride + N];
    let mut sums = [0i32; N];
    for i in 0..N {
        let a = &a[i * a_stride..][..N];
        let b = &b[i * stride..][..N];
        let c = &c[i * stride..][..N];
        for j in 0..N {
            let mean = (u16::from(b[j]) + u16::from(c[j])).div_ceil(2);
            let d = i16::from(a[j]) - mean as i16;
            sums[j] += i32::from(d) * i32::from(d);
        }
    }
    sums.iter().sum::<i32>() as u32
}

/// What an error of the prediction costs in the end, in bits: those spent on mending it, and what is
/// left of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    per_bit: f32,
}

/// A small error stays: it costs what it is worth, and again in what is predicted from it.
const LASTING: f32 = 3.0;
/// Below this error, in bits' worth, a block will hardly be coded: its skip flag is taken to be set.
const SKIP_AT: f32 = 60.0;
/// Error from which it is tried whether four vectors are better than one.
const DIVIDE_FROM: f32 = 6.0;
/// Error, in bits' worth, from which coding a block keeps the cost from growing in proportion.
const KNEE: f32 = 50.0;

impl Value {
    pub fn new(worth: f64) -> Self {
        Self {
            per_bit: 1.0 / worth as f32,
        }
    }

    #[inline(always)]
    fn of(self, squares: u32) -> f32 {
        let error = squares as f32 * self.per_bit;
        if error < KNEE {
            LASTING * error
        } else {
            LASTING * KNEE * (1.0 + (error / KNEE).ln())
        }
    }

    /// How much the cost grows with the error, at an error.
    #[inline(always)]
    fn slope(self, squares: u32) -> f32 {
        let error = squares as f32 * self.per_bit;
        LASTING * self.per_bit * (KNEE / error.max(KNEE))
    }
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

/// Squared difference of a block and the reference moved by a quarter-pel vector.
#[inline(always)]
fn match_at<const N: usize>(
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
        squares::<N>(block, stride, a, reference_stride)
    } else {
        let b = pick(second).from(left + isize::from(fx == 3), top);
        squares_mean::<N>(block, stride, a, b, reference_stride)
    }
}

const CROSS: [(i32, i32); 4] = [(-1, 0), (1, 0), (0, -1), (0, 1)];
const CORNERS: [(i32, i32); 4] = [(-1, -1), (1, -1), (-1, 1), (1, 1)];

/// A square of `N` samples to be found in the reference.
struct Square<'a, const N: usize> {
    halves: &'a Halves,
    exact: &'a Plane,
    source: &'a Plane,
    x: usize,
    y: usize,
}

impl<const N: usize> Square<'_, N> {
    /// Whether the search's planes reach there.
    #[inline(always)]
    fn allows(&self, v: Vector) -> bool {
        let fits = |v: i16, at: usize, extent: usize| {
            let whole = i32::from(v >> 2);
            limit(whole, at, N as i32, extent, OUTSIDE) == whole
        };
        v.in_range()
            && fits(v.x, self.x, self.source.width())
            && fits(v.y, self.y, self.source.height())
    }

    #[inline(always)]
    fn squares(&self, v: Vector) -> u32 {
        let block = self.source.from(self.x as isize, self.y as isize);
        match_at::<N>(self.halves, block, self.source.stride(), self.x, self.y, v)
    }

    #[inline(always)]
    fn exact_squares(&self, v: Vector) -> u32 {
        let mut out = [0u8; 256];
        let block = self.source.from(self.x as isize, self.y as isize);
        luma_block::<N>(self.exact, self.x, self.y, v, &mut out, N);
        squares::<N>(block, self.source.stride(), &out, N)
    }

    /// Descends from `best` in whole, half, then quarter steps; gives the best vector and its cost.
    #[inline(always)]
    fn refine(
        &self,
        mut best: Vector,
        mut least: f32,
        rounds: [usize; 3],
        cost: impl Fn(Vector, u32) -> f32,
    ) -> (Vector, f32) {
        for (step, rounds) in [4, 2, 1].into_iter().zip(rounds) {
            for _ in 0..rounds {
                let centre = best;
                let mut look = |moves: [(i32, i32); 4]| {
                    for (dx, dy) in moves {
                        let v = Vector::new(
                            centre.x + (dx * step) as i16,
                            centre.y + (dy * step) as i16,
                        );
                        if self.allows(v) {
                            let price = cost(v, self.squares(v));
                            if price < least {
                                (best, least) = (v, price);
                            }
                        }
                    }
                };
                look(CROSS);
                if step < 4 {
                    look(CORNERS);
                }
                if best == centre {
                    break;
                }
            }
        }
        (best, least)
    }
}

/// Searches a tile; `out` gets one vector a part.
#[inline(always)]
pub(super) fn tile(task: &TileTask<'_>, halves: &Halves, out: &mut [Vector]) {
    let (source, value) = (task.source, task.value);
    let mut skip = vec![false; out.len() / 4];
    let rows = skip.len() / task.width;
    let mut pricer = Pricer::new(task.width, out, &mut skip);
    for row in 0..rows {
        pricer.begin_row();
        for column in 0..task.width {
            let at = row * task.width + column;
            let part = 4 * row * task.width + 2 * column;
            let (x, y) = (column * BLOCK, (task.first + row) * BLOCK);
            let square = Square::<BLOCK> {
                halves,
                exact: task.exact,
                source,
                x,
                y,
            };
            let price = pricer.block(column, row);
            let candidates = &price.candidates;
            let skips = |squares: u32| squares as f32 * value.per_bit < SKIP_AT;

            // What neighbours offer.
            let mut best = (Vector::ZERO, f32::INFINITY, 0u32);
            let mut start = (Vector::ZERO, f32::INFINITY);
            let fresh = |v: Vector, squares: u32| {
                let skip = skips(squares);
                value.of(squares)
                    + price.skip[usize::from(skip)]
                    + price.whole(skip)
                    + pricer.difference(candidates, v)
            };
            for (i, &v) in candidates.as_slice().iter().enumerate() {
                if !square.allows(v) {
                    continue;
                }
                let squares = square.exact_squares(v);
                let skip = skips(squares);
                let cost = value.of(squares) + price.skip[usize::from(skip)] + price.merge(skip, i);
                if cost < best.1 {
                    best = (v, cost, squares);
                }
                let cost = fresh(v, squares);
                if cost < start.1 {
                    start = (v, cost);
                }
            }
            let parent = task.parent[at];
            let parent = Vector::new(8 * parent.x, 8 * parent.y);
            let previous = task.previous[part];
            for v in [parent, previous] {
                if square.allows(v) {
                    let cost = fresh(v, square.squares(v));
                    if cost < start.1 {
                        start = (v, cost);
                    }
                }
            }
            let (found, _) = square.refine(start.0, start.1, [8, 2, 2], fresh);
            if candidates.index(found).is_none() && square.allows(found) {
                let squares = square.exact_squares(found);
                let cost = fresh(found, squares);
                if cost < best.1 {
                    best = (found, cost, squares);
                }
            }
            let mut vectors = [best.0; 4];

            // Four parts, where the block's error leaves something to win.
            if task.divide && best.2 as f32 * value.per_bit > DIVIDE_FROM {
                let slope = value.slope(best.2);
                let mut squares = 0;
                let skip = skips(best.2);
                let mut bits = price.skip[usize::from(skip)] + price.divided(skip);
                let mut merged = 0;
                let mut own = [Vector::ZERO; 4];
                for (i, own) in own.iter_mut().enumerate() {
                    let (px, py) = (2 * column + i % 2, 2 * row + i / 2);
                    let (candidates, prices, other) = pricer.part(px, py, merged);
                    let square = Square::<PART> {
                        halves,
                        exact: task.exact,
                        source,
                        x: x + i % 2 * PART,
                        y: y + i / 2 * PART,
                    };
                    let fresh = |v: Vector, squares: u32| {
                        slope * squares as f32 + other + pricer.difference(&candidates, v)
                    };
                    let mut start = (best.0, fresh(best.0, square.exact_squares(best.0)));
                    let mut least = (best.0, f32::INFINITY, 0, 0.0, 0);
                    for (i, &v) in candidates.as_slice().iter().enumerate() {
                        if square.allows(v) {
                            let squares = square.exact_squares(v);
                            let cost = slope * squares as f32 + prices[i];
                            if cost < least.1 {
                                least = (v, cost, squares, prices[i], 1);
                            }
                            let cost = fresh(v, squares);
                            if cost < start.1 {
                                start = (v, cost);
                            }
                        }
                    }
                    let (found, _) = square.refine(start.0, start.1, [4, 2, 2], fresh);
                    if candidates.index(found).is_none() {
                        let squares = square.exact_squares(found);
                        let cost = fresh(found, squares);
                        if cost < least.1 {
                            least = (
                                found,
                                cost,
                                squares,
                                other + pricer.difference(&candidates, found),
                                0,
                            );
                        }
                    }
                    *own = least.0;
                    squares += least.2;
                    bits += least.3;
                    merged += least.4;
                    pricer.set_part(px, py, least.0);
                }
                if own != [own[0]; 4] && value.of(squares) + bits < best.1 {
                    vectors = own;
                    best.2 = squares;
                }
            }
            pricer.settle(column, row, vectors, skips(best.2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::compensate;
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

    fn reference(width: usize, height: usize, luma: &[u8]) -> Reference {
        let mut reference = Reference::new(width, height);
        reference.load(luma, &vec![128; width * height / 2]);
        reference
    }

    fn search(width: usize, height: usize, now: &[u8], before: &[u8], worth: f64) -> Field {
        let mut searcher = Searcher::new(width, height, 8, Variant::Full);
        searcher.search(now, &reference(width, height, before), worth)
    }

    #[test]
    fn finds_a_pan() {
        let (width, height) = (320, 192);
        for (dx, dy) in [(0.0, 0.0), (3.0, -2.0), (17.25, 9.5), (-40.0, 21.75)] {
            let before = picture(width, height, 0.0, 0.0);
            let now = picture(width, height, dx, dy);
            let field = search(width, height, &now, &before, 16.0);
            let expected = Vector::new((4.0 * dx) as i16, (4.0 * dy) as i16);
            let inner = |i: &usize| (8..32).contains(&(i % 40)) && (6..18).contains(&(i / 40));
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
        let field = search(width, height, &now, &before, 40.0);
        assert!(field.vectors.iter().all(|v| v.in_range()));
        let reference = reference(width, height, &before);
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
        for variant in [Variant::Full, Variant::Blocks16] {
            let mut searcher = Searcher::new(64, 64, 8, variant);
            for worth in [0.1, 16.0, 1e6] {
                let field = searcher.search(&noise(), &reference(64, 64, &noise()), worth);
                let whole =
                    |at: usize| field.parts(at % 4, at / 4).windows(2).all(|p| p[0] == p[1]);
                assert!(variant == Variant::Full || (0..16).all(whole));
                assert!(field.vectors.iter().all(|v| v.in_range()));
            }
        }
    }

    #[test]
    fn a_high_price_keeps_still() {
        let (width, height) = (128, 128);
        let before = picture(width, height, 0.0, 0.0);
        let now = picture(width, height, 1.0, 1.0);
        let field = search(width, height, &now, &before, 1e9);
        let first = field.vectors[0];
        assert!(
            field.vectors.iter().all(|&v| v == first),
            "one vector for all"
        );
    }
}
