// SPDX-License-Identifier: Apache-2.0
//! Hierarchical, rate-aware block search.
//!
//! The source luma is matched against the previous *decoded* luma. Eighth size is searched fully,
//! quarter and half size refine what the level above found, and full size weighs what the squared error will cost against
//! the vector's bits, over the candidates that the vector's coder offers, the
//! pyramid's vector and the previous frame's, then integer, half and quarter steps around the best.
//! Quarter positions are approximated by means of half-pel planes here; the prediction itself uses
//! the exact filters. What is chosen at last is judged by the transform of exact predictions. Tiles are searched in parallel, and know nothing of each other, just as they
//! are coded.

use super::code::{BlockPrice, Pricer, Prices};
use super::coding::Coding;
use super::interpolate::{LUMA, luma_block};
use super::parallel::Steps;
use super::plane::Plane;
use super::simd::{self, Kernels};
use super::{BLOCK, Candidates, Field, MAX_VECTOR, PART, Reference, Vector};
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
    /// What a GPU does, see [`super::parallel`]; here to be measured and tested against.
    Parallel,
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

    /// Sets the luma that is searched for and the decoded one that it is searched in, and prepares
    /// their pyramids and the half-pel planes.
    fn set_pictures(&mut self, luma: &[u8], decoded: &Plane) {
        let halves = self.variant != Variant::Parallel;
        let Halves { full, h, v, c } = &mut self.halves;
        let [half, quarter, eighth] = &mut self.reference;
        let source = &mut self.source;
        rayon::join(
            || {
                for y in 0..decoded.height() {
                    full.row_mut(y).copy_from_slice(decoded.row(y));
                }
                full.extend();
                let full = &*full;
                rayon::join(
                    || {
                        simd::load_half(half, full);
                        simd::load_half(quarter, half);
                        simd::load_half(eighth, quarter);
                    },
                    || {
                        if halves {
                            fill_halves(full, h, v, c);
                        }
                    },
                )
            },
            || {
                source[0].load(luma);
                for level in 1..4 {
                    let (fine, coarse) = source.split_at_mut(level);
                    simd::load_half(&mut coarse[0], &fine[level - 1]);
                }
            },
        );
    }

    /// Searches `luma` (tightly packed) in `reference`. A bit is worth a squared error of `worth`.
    pub fn search(&mut self, luma: &[u8], reference: &Reference, worth: f64) -> Field {
        let lambda = price(worth);
        let exact = &reference.y;
        let width = self.source[0].width() / BLOCK;
        let height = self.source[0].height() / BLOCK;
        self.set_pictures(luma, exact);
        let half = self.coarse(lambda, 1);
        if self.variant == Variant::Parallel {
            let steps = self.steps(reference, worth);
            self.previous = steps.search(&half, &self.previous, true);
            return Field {
                width,
                vectors: self.previous.clone(),
                skip: vec![false; width * height],
            };
        }

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

    /// Vectors of the last frame, one a part.
    pub fn last(&self) -> &[Vector] {
        &self.previous
    }

    /// What the last search found at a level of the pyramid (3 is the smallest): whole vectors in its samples.
    pub fn level(&self, level: usize, worth: f64) -> Vec<Vector> {
        self.coarse(price(worth), level)
    }

    /// The steps at full size for the last search's pictures.
    pub fn steps<'a>(&'a self, reference: &'a Reference, worth: f64) -> Steps<'a> {
        Steps {
            source: &self.source[0],
            exact: &reference.y,
            tile_rows: self.tile_rows,
            value: Value::new(worth),
            prices: Prices::first(),
        }
    }

    /// The levels below full size, down to this one.
    fn coarse(&self, lambda: u32, last: usize) -> Vec<Vector> {
        let coarse = |level: usize, parent: Option<(&[Vector], usize)>| {
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
        let mut found = coarse(3, None);
        for level in (last..3).rev() {
            let columns = self.source[level + 1].width() / 8;
            found = coarse(level, Some((&found[..], columns)));
        }
        found
    }
}

/// What a bit costs at full size, in 16ths of a difference of 1, where it is worth so much of a squared error.
pub fn price(worth: f64) -> u32 {
    (16.0 * worth.sqrt()) as u32
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

/// What an error of the prediction costs in the end, in bits: those spent on mending it, and what is
/// left of it.
#[derive(Debug, Clone, Copy)]
pub struct Value {
    per_bit: f32,
}

/// A small error stays: it costs what it is worth, and again in what is predicted from it.
const LASTING: f32 = 3.0;
/// Below this error, in bits' worth, a block will hardly be coded: its skip flag is taken to be set.
const SKIP_AT: f32 = 60.0;
/// Error from which it is tried whether four vectors are better than one.
pub(super) const DIVIDE_FROM: f32 = 10.0;
/// What four vectors cost beyond their own bits: those of the neighbours and of the next frames become dearer.
pub(super) const DIVISION: f32 = 5.0;
/// A difference to the median takes no fewer bits than this, hardly ever.
const LEAST_DIFFERENCE: f32 = 3.0;
/// Error, in bits' worth, from which coding a block keeps the cost from growing in proportion.
const KNEE: f32 = 50.0;

impl Value {
    pub fn new(worth: f64) -> Self {
        Self {
            per_bit: 1.0 / worth as f32,
        }
    }

    /// The same for the search on a GPU.
    #[cfg(feature = "inference")]
    pub fn worth(self) -> aivideo_cuda::search::Worth {
        aivideo_cuda::search::Worth {
            per_bit: self.per_bit,
            lasting: LASTING,
            knee: KNEE,
            skip_at: SKIP_AT,
            divide_from: DIVIDE_FROM,
            division: DIVISION,
        }
    }

    /// What a squared difference of 1 is worth.
    pub(super) fn per_bit(self) -> f32 {
        self.per_bit
    }

    /// In bits' worth.
    #[inline(always)]
    pub(super) fn error(self, squares: u32) -> f32 {
        squares as f32 * self.per_bit
    }

    /// Whether the block is likely to be skipped.
    #[inline(always)]
    pub(super) fn skips(self, squares: u32) -> bool {
        self.error(squares) < SKIP_AT
    }

    #[inline(always)]
    pub(super) fn of(self, squares: u32) -> f32 {
        let error = self.error(squares);
        if error < KNEE {
            LASTING * error
        } else {
            LASTING * KNEE * (1.0 + ln(error / KNEE))
        }
    }

    /// Whether an error, which may be that of an approximate position, is so much larger than that of the best so far that its transform need not be
    /// looked at.
    #[inline(always)]
    fn is_far_behind(self, squares: u32, best: &Best) -> bool {
        best.cost < f32::INFINITY && self.error(squares) > 1.1 * self.error(best.squares) + 6.0
    }

    /// How much the cost grows with the error, at an error.
    #[inline(always)]
    pub(super) fn slope(self, squares: u32) -> f32 {
        let error = self.error(squares);
        LASTING * self.per_bit * (KNEE / error.max(KNEE))
    }
}
/// The natural logarithm of a number above 1, to 1 %.
#[inline(always)]
fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    let exponent = (bits >> 23) as f32 - 127.0;
    let rest = f32::from_bits(bits & 0x007f_ffff | 0x3f80_0000) - 1.0;
    std::f32::consts::LN_2 * (exponent + rest + 0.344 * rest * (1.0 - rest))
}

/// Limits a position so that a block of `size` stays within the planes' border.
#[inline(always)]
fn limit(v: i32, at: usize, size: i32, extent: usize) -> i32 {
    let at = at as i32;
    v.clamp(-OUTSIDE - at, extent as i32 + OUTSIDE - size - at)
}

/// An 8x8 block of a coarse level, and the best match so far.
struct Coarse<'a> {
    source: &'a [u8],
    stride: usize,
    reference: &'a Plane,
    at: (usize, usize),
    lambda: u32,
    best: (i32, i32),
    least: u32,
}

impl Coarse<'_> {
    /// Looks at a place; says whether it is better.
    #[inline(always)]
    fn consider<K: Kernels>(&mut self, (dx, dy): (i32, i32)) -> bool {
        let (x, y) = self.at;
        let dx = limit(dx, x, 8, self.reference.width());
        let dy = limit(dy, y, 8, self.reference.height());
        let at = self
            .reference
            .from(x as isize + dx as isize, y as isize + dy as isize);
        // Length of a vector, so that flat areas stay at rest.
        let length = 64 - dx.unsigned_abs().leading_zeros() - dy.unsigned_abs().leading_zeros();
        let difference = K::difference8(self.source, self.stride, at, self.reference.stride());
        let price = difference + ((self.lambda * 2 * length) >> 4);
        let better = price < self.least;
        if better {
            (self.least, self.best) = (price, (dx, dy));
        }
        better
    }
}

/// One row of 8x8 blocks of a coarse level; vectors are whole samples of the level.
#[inline(always)]
pub(super) fn coarse_row<K: Kernels>(task: &CoarseTask<'_>, row: usize, out: &mut [Vector]) {
    const AROUND: [(i32, i32); 8] = [
        (-1, 0),
        (1, 0),
        (0, -1),
        (0, 1),
        (-1, -1),
        (1, -1),
        (-1, 1),
        (1, 1),
    ];
    let source = task.source;
    let y = 8 * row;
    for (column, out) in out.iter_mut().enumerate() {
        let x = 8 * column;
        let mut block = Coarse {
            source: source.from(x as isize, y as isize),
            stride: source.stride(),
            reference: task.reference,
            at: (x, y),
            lambda: task.lambda,
            best: (0, 0),
            least: u32::MAX,
        };
        block.consider::<K>((0, 0));
        let mut reach = 2;
        match task.parent {
            None => {
                for dy in -COARSE_REACH..=COARSE_REACH {
                    for dx in -COARSE_REACH..=COARSE_REACH {
                        block.consider::<K>((dx, dy));
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
                let mut last = (0, 0);
                for (px, py) in [(px, py), (nx, py), (px, ny), (nx, ny)] {
                    let parent = parents[py * columns + px];
                    let twice = (2 * i32::from(parent.x), 2 * i32::from(parent.y));
                    if twice != last {
                        block.consider::<K>(twice);
                    }
                    last = twice;
                }
            }
        }
        for _ in 0..reach {
            let centre = block.best;
            for (dx, dy) in AROUND {
                block.consider::<K>((centre.0 + dx, centre.1 + dy));
            }
            if block.best == centre {
                break;
            }
        }
        *out = Vector::new(block.best.0 as i16, block.best.1 as i16);
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

/// A square of `N` samples to be found in the reference.
struct Square<'a, const N: usize> {
    halves: &'a Halves,
    exact: &'a Plane,
    block: &'a [u8],
    stride: usize,
    x: usize,
    y: usize,
    /// Least and largest vector that the search's planes hold.
    least: Vector,
    largest: Vector,
}

impl<'a, const N: usize> Square<'a, N> {
    #[inline(always)]
    fn new(task: &TileTask<'a>, halves: &'a Halves, x: usize, y: usize) -> Self {
        let longest = i32::from(MAX_VECTOR);
        let (width, height) = (task.source.width() as i32, task.source.height() as i32);
        let (least_x, least_y) = (-OUTSIDE - x as i32, -OUTSIDE - y as i32);
        let room = OUTSIDE - N as i32;
        let least = |v: i32| (4 * v).max(-longest) as i16;
        let largest = |v: i32| (4 * v + 3).min(longest) as i16;
        Self {
            halves,
            exact: task.exact,
            block: task.source.from(x as isize, y as isize),
            stride: task.source.stride(),
            x,
            y,
            least: Vector::new(least(least_x), least(least_y)),
            largest: Vector::new(
                largest(width + room - x as i32),
                largest(height + room - y as i32),
            ),
        }
    }

    /// Whether the search's planes reach there.
    #[inline(always)]
    fn allows(&self, v: Vector) -> bool {
        (self.least.x..=self.largest.x).contains(&v.x)
            && (self.least.y..=self.largest.y).contains(&v.y)
    }

    /// Two places of the search's planes, whose mean is the reference moved by a vector.
    #[inline(always)]
    fn planes(&self, v: Vector) -> (&'a [u8], &'a [u8]) {
        let (fx, fy) = (v.x & 3, v.y & 3);
        let left = self.x as isize + isize::from(v.x >> 2);
        let top = self.y as isize + isize::from(v.y >> 2);
        let Halves { full, h, v, c } = self.halves;
        let planes = [full, h, v, c];
        let (first, second) = PLANES[(fy * 4 + fx) as usize];
        let a = planes[usize::from(first)].from(left, top + isize::from(fy == 3));
        if (fx | fy) & 1 == 0 {
            return (a, a);
        }
        let b = planes[usize::from(second)].from(left + isize::from(fx == 3), top);
        (a, b)
    }

    /// Squared difference to the reference moved by a vector. Exact where both components are even.
    #[inline(always)]
    fn squares<K: Kernels>(&self, v: Vector) -> u32 {
        let (a, b) = self.planes(v);
        let stride = self.halves.full.stride();
        if (v.x | v.y) & 1 == 0 {
            K::squares::<N>(self.block, self.stride, a, stride)
        } else {
            K::squares_mean::<N>(self.block, self.stride, a, b, stride)
        }
    }

    /// Squared difference and what coding it costs, against the prediction itself.
    #[inline(always)]
    fn exact<K: Kernels>(&self, v: Vector, coding: &Coding) -> (u32, f32) {
        let mut out = [0u8; BLOCK * BLOCK];
        let (made, stride) = if (v.x | v.y) & 1 == 0 {
            (self.planes(v).0, self.halves.full.stride())
        } else {
            luma_block::<N, u8>(self.exact, self.x, self.y, v, &mut out, N);
            (&out[..], N)
        };
        (
            K::squares::<N>(self.block, self.stride, made, stride),
            K::coding::<N>(self.block, self.stride, made, stride, coding),
        )
    }

    /// Descends from `start` in whole, half, then quarter steps; gives the best vector. A `settled` start
    /// is one that a neighbour found: if nothing next to it is better, that is all.
    #[inline(always)]
    fn refine<K: Kernels>(
        &self,
        start: (Vector, f32),
        settled: bool,
        rounds: [usize; 3],
        cost: &impl Cost,
    ) -> Vector {
        const AROUND: [(i16, i16); 8] = [
            (-1, 0),
            (1, 0),
            (0, -1),
            (0, 1),
            (-1, -1),
            (1, -1),
            (-1, 1),
            (1, 1),
        ];
        let (mut best, mut least) = start;
        let stages: &[(i16, usize, usize)] = &[
            (1, 4, 1),
            (4, 4, rounds[0]),
            (2, 8, rounds[1]),
            (1, 8, rounds[2]),
        ];
        let stages = if settled { stages } else { &stages[1..] };
        for (stage, &(step, count, rounds)) in stages.iter().enumerate() {
            if settled && stage == 1 && best == start.0 {
                break;
            }
            let moves = &AROUND[..count];
            let mut before = None;
            for _ in 0..rounds {
                let centre = best;
                for (dx, dy) in moves {
                    let v = Vector::new(centre.x + dx * step, centre.y + dy * step);
                    let seen = |c: Vector| {
                        let (x, y) = (v.x.abs_diff(c.x), v.y.abs_diff(c.y));
                        if count == 4 {
                            x + y == 0
                        } else {
                            x.max(y) <= step as u16
                        }
                    };
                    if self.allows(v) && !before.is_some_and(seen) {
                        let price = cost.of(v, self.squares::<K>(v));
                        if price < least {
                            (best, least) = (v, price);
                        }
                    }
                }
                if best == centre {
                    break;
                }
                before = Some(centre);
            }
        }
        best
    }
}

/// What a new vector costs that leaves so large an error.
trait Cost {
    fn of(&self, vector: Vector, squares: u32) -> f32;
}

/// For a whole block.
struct BlockCost<'a, 'b> {
    value: Value,
    price: &'a BlockPrice,
    pricer: &'a Pricer<'b>,
}

impl BlockCost<'_, '_> {
    /// Bits of a candidate's vector.
    #[inline(always)]
    fn merge(&self, index: usize, squares: u32) -> f32 {
        let skip = self.value.skips(squares);
        self.price.skip[usize::from(skip)] + self.price.merge(skip, index)
    }

    /// Bits of a new vector.
    #[inline(always)]
    fn fresh(&self, vector: Vector, squares: u32) -> f32 {
        let skip = self.value.skips(squares);
        self.price.skip[usize::from(skip)]
            + self.price.whole(skip)
            + self.pricer.difference(&self.price.candidates, vector)
    }
}

impl Cost for BlockCost<'_, '_> {
    #[inline(always)]
    fn of(&self, vector: Vector, squares: u32) -> f32 {
        self.value.of(squares) + self.fresh(vector, squares)
    }
}

/// For a part, at the slope of its block's cost.
struct PartCost<'a, 'b> {
    slope: f32,
    other: f32,
    candidates: &'a Candidates,
    pricer: &'a Pricer<'b>,
}

impl PartCost<'_, '_> {
    /// Bits of a new vector.
    #[inline(always)]
    fn fresh(&self, vector: Vector) -> f32 {
        self.other + self.pricer.difference(self.candidates, vector)
    }
}

impl Cost for PartCost<'_, '_> {
    #[inline(always)]
    fn of(&self, vector: Vector, squares: u32) -> f32 {
        self.slope * squares as f32 + self.fresh(vector)
    }
}

/// A choice for a block or a part.
#[derive(Clone, Copy)]
struct Best {
    vector: Vector,
    cost: f32,
    squares: u32,
}

impl Best {
    const NONE: Self = Self {
        vector: Vector::ZERO,
        cost: f32::INFINITY,
        squares: 0,
    };

    /// Takes another where that costs less; says whether it does.
    #[inline(always)]
    fn consider(&mut self, vector: Vector, squares: u32, cost: f32) -> bool {
        let better = cost < self.cost;
        if better {
            *self = Self {
                vector,
                cost,
                squares,
            };
        }
        better
    }
}

/// Searches a tile; `out` gets one vector a part.
#[inline(always)]
pub(super) fn tile<K: Kernels>(task: &TileTask<'_>, halves: &Halves, out: &mut [Vector]) {
    let mut skip = vec![false; out.len() / 4];
    let rows = skip.len() / task.width;
    let mut pricer = Pricer::new(task.width, out, &mut skip);
    for row in 0..rows {
        pricer.begin_row();
        for column in 0..task.width {
            let price = pricer.block(column, row);
            let best = block::<K>(task, halves, &pricer, &price, column, row);
            let mut vectors = [best.vector; 4];
            let mut squares = best.squares;
            if task.divide
                && task.value.error(squares) > DIVIDE_FROM
                && let Some(divided) =
                    parts::<K>(task, halves, &mut pricer, &price, best, column, row)
            {
                (vectors, squares) = divided;
            }
            pricer.settle(column, row, vectors, task.value.skips(squares));
        }
    }
}

/// Finds one vector for a block.
#[inline(always)]
fn block<K: Kernels>(
    task: &TileTask<'_>,
    halves: &Halves,
    pricer: &Pricer<'_>,
    price: &BlockPrice,
    column: usize,
    row: usize,
) -> Best {
    let value = task.value;
    let (x, y) = (column * BLOCK, (task.first + row) * BLOCK);
    let square = Square::<BLOCK>::new(task, halves, x, y);
    let cost = BlockCost {
        value,
        price,
        pricer,
    };
    let mut best = Best::NONE;
    let coding = Coding::new(value);
    let mut start = (Vector::ZERO, f32::INFINITY);
    for (i, &vector) in price.candidates.as_slice().iter().enumerate() {
        if !square.allows(vector) {
            continue;
        }
        let squares = square.squares::<K>(vector);
        let fresh = cost.of(vector, squares);
        if fresh < start.1 {
            start = (vector, fresh);
        }
        let bits = cost.merge(i, squares);
        if bits >= best.cost || value.is_far_behind(squares, &best) {
            continue;
        }
        let (squares, coded) = square.exact::<K>(vector, &coding);
        best.consider(vector, squares, coded + cost.merge(i, squares));
    }
    // No new vector can be better than one without any error.
    if best.cost < price.skip[1] + price.whole(true) + LEAST_DIFFERENCE {
        return best;
    }
    let parent = task.parent[row * task.width + column];
    let parent = Vector::new(8 * parent.x, 8 * parent.y);
    let previous = task.previous[4 * row * task.width + 2 * column];
    for vector in [parent, previous] {
        if square.allows(vector) && price.candidates.index(vector).is_none() {
            let fresh = cost.of(vector, square.squares::<K>(vector));
            if fresh < start.1 {
                start = (vector, fresh);
            }
        }
    }
    let vector = square.refine::<K>(start, start.0 == best.vector, [8, 1, 1], &cost);
    if price.candidates.index(vector).is_none() {
        let (squares, coded) = square.exact::<K>(vector, &coding);
        best.consider(vector, squares, coded + cost.fresh(vector, squares));
    }
    best
}

/// Finds a vector for each part of a block, where that is better than `best`; gives them and the error
/// that they leave.
#[inline(always)]
fn parts<K: Kernels>(
    task: &TileTask<'_>,
    halves: &Halves,
    pricer: &mut Pricer<'_>,
    price: &BlockPrice,
    best: Best,
    column: usize,
    row: usize,
) -> Option<([Vector; 4], u32)> {
    let value = task.value;
    let (x, y) = (column * BLOCK, (task.first + row) * BLOCK);
    let skip = value.skips(best.squares);
    let (slope, coding) = (value.slope(best.squares), Coding::new(value));
    let bits = price.skip[usize::from(skip)] + price.divided(skip) + DIVISION;
    let (mut all, mut cost_of_all, mut merged) = (0, bits, 0);
    let mut vectors = [Vector::ZERO; 4];
    for (i, chosen) in vectors.iter_mut().enumerate() {
        let (px, py) = (2 * column + i % 2, 2 * row + i / 2);
        let (candidates, prices, other) = pricer.part(px, py, merged);
        let (x, y) = (x + i % 2 * PART, y + i / 2 * PART);
        let square = Square::<PART>::new(task, halves, x, y);
        let cost = PartCost {
            slope,
            other,
            candidates: &candidates,
            pricer,
        };
        let mut start = (best.vector, f32::INFINITY);
        let (mut least, mut is_merged) = (Best::NONE, false);
        for (i, &vector) in candidates.as_slice().iter().enumerate() {
            if !square.allows(vector) {
                continue;
            }
            let squares = square.squares::<K>(vector);
            let fresh = cost.of(vector, squares);
            if fresh < start.1 {
                start = (vector, fresh);
            }
            if prices[i] >= least.cost || value.is_far_behind(squares, &least) {
                continue;
            }
            let (squares, coded) = square.exact::<K>(vector, &coding);
            is_merged |= least.consider(vector, squares, coded + prices[i]);
        }
        if candidates.index(best.vector).is_none() {
            let fresh = cost.of(best.vector, square.squares::<K>(best.vector));
            if fresh < start.1 {
                start = (best.vector, fresh);
            }
        }
        if least.cost > other + LEAST_DIFFERENCE {
            let vector = square.refine::<K>(start, false, [4, 2, 2], &cost);
            if candidates.index(vector).is_none() {
                let (squares, coded) = square.exact::<K>(vector, &coding);
                is_merged &= !least.consider(vector, squares, coded + cost.fresh(vector));
            }
        }
        *chosen = least.vector;
        all += least.squares;
        cost_of_all += least.cost;
        merged += usize::from(is_merged);
        if cost_of_all >= best.cost {
            return None;
        }
        pricer.set_part(px, py, *chosen);
    }
    (vectors != [vectors[0]; 4]).then_some((vectors, all))
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
    fn the_parallel_search_finds_a_pan_too() {
        let (width, height) = (320, 192);
        let before = picture(width, height, 0.0, 0.0);
        let now = picture(width, height, 17.25, 9.5);
        let mut searcher = Searcher::new(width, height, 8, Variant::Parallel);
        let field = searcher.search(&now, &reference(width, height, &before), 16.0);
        let inner = |i: &usize| (8..32).contains(&(i % 40)) && (6..18).contains(&(i / 40));
        let found = |i: &usize| field.vectors[*i] == Vector::new(69, 38);
        let all = (0..field.vectors.len()).filter(inner).count();
        let hits = (0..field.vectors.len()).filter(inner).filter(found).count();
        assert!(hits * 10 >= all * 9, "{hits} of {all}");
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
        for variant in [Variant::Full, Variant::Parallel, Variant::Blocks16] {
            let mut searcher = Searcher::new(64, 64, 8, variant);
            for worth in [0.1, 16.0, 1e6] {
                let field = searcher.search(&noise(), &reference(64, 64, &noise()), worth);
                let whole =
                    |at: usize| field.parts(at % 4, at / 4).windows(2).all(|p| p[0] == p[1]);
                assert!(variant != Variant::Blocks16 || (0..16).all(whole));
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
