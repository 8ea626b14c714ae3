// SPDX-License-Identifier: Apache-2.0
//! The search at full size for machines that do thousands of blocks at once: what a GPU does, and its
//! definition ([`Steps`], one function a kernel).
//!
//! [`super::search`] settles one block after the other, prices it by contexts that adapt from block to block,
//! and knows what its neighbours took. Here all blocks take a step at once, and know what their neighbours had
//! before it. Prices are those that a tile begins with ([`Prices`]), in the contexts of the step before.
//! Steps that settle follow one another, each block choosing between the candidates that its neighbours give it,
//! what it had and what it found itself. Between them vectors are refined, with the real interpolation at all positions.
//! The levels below full size are those of the other search, whose blocks were independent already.

use super::code::Prices;
use super::interpolate::luma_block;
use super::plane::Plane;
use super::search::{DIVIDE_FROM, DIVISION, Value};
use super::{BLOCK, Candidates, MAX_VECTOR, PART, Vector, parts};
use rayon::prelude::*;

/// Of [`Modes`]: the block is likely to be skipped, its vector was a candidate, it has several.
pub const SKIPPED: u8 = 1;
pub const MERGED: u8 = 2;
pub const DIVIDED: u8 = 4;

/// Rounds of whole, half and quarter steps, for blocks and for their parts.
pub const BLOCK_ROUNDS: [u32; 3] = [8, 2, 2];
pub const PART_ROUNDS: [u32; 3] = [4, 2, 2];

/// Which blocks choose: all, or those of one colour of a chessboard, whose neighbours at the left and above stay as
/// they are meanwhile. If all did, vectors would wander from block to block without coming together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    All,
    Even,
    Odd,
}

impl Which {
    fn has(self, x: usize, row: usize) -> bool {
        match self {
            Self::All => true,
            Self::Even => (x + row).is_multiple_of(2),
            Self::Odd => !(x + row).is_multiple_of(2),
        }
    }
}

const EVEN: Step = Step::Settle(Which::Even);
const ODD: Step = Step::Settle(Which::Odd);

/// A step of the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Chooses; the first time, the frame before also has a say.
    Settle(Which),
    /// Looks around each block's vector.
    Refine,
    /// Looks around each block's vector for each of its parts.
    RefineParts,
    /// Divides blocks where that is better.
    Divide,
}

/// What follows the levels below.
pub const STEPS: [Step; 19] = [
    Step::Settle(Which::All),
    Step::Refine,
    EVEN,
    ODD,
    EVEN,
    ODD,
    Step::Refine,
    EVEN,
    ODD,
    EVEN,
    ODD,
    EVEN,
    ODD,
    EVEN,
    ODD,
    EVEN,
    ODD,
    Step::RefineParts,
    Step::Divide,
];

/// Both pictures and the prices. Vectors are one a part, those of a whole block at its first.
#[derive(Debug)]
pub struct Steps<'a> {
    pub source: &'a Plane,
    pub exact: &'a Plane,
    /// Rows of blocks in a tile.
    pub tile_rows: usize,
    pub value: Value,
    pub prices: &'a Prices,
}

/// What is known between two steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// One a part.
    pub vectors: Vec<Vector>,
    /// One a block.
    pub modes: Vec<u8>,
    /// Squared errors of blocks, once they were settled.
    pub squares: Vec<u32>,
}

/// A square of the source.
#[derive(Clone, Copy)]
struct Square {
    x: usize,
    y: usize,
    size: usize,
}

impl Steps<'_> {
    /// Blocks in a row.
    fn width(&self) -> usize {
        self.source.width() / BLOCK
    }

    /// All steps from the vectors of half size on, one a block, in its samples.
    pub fn search(&self, half: &[Vector], before: &[Vector], divide: bool) -> Vec<Vector> {
        let width = self.width();
        let mut known = Known {
            vectors: vec![Vector::ZERO; 4 * half.len()],
            modes: vec![0; half.len()],
            squares: vec![0; half.len()],
        };
        for (at, vector) in half.iter().enumerate() {
            fill(&mut known.vectors, width, at, [start(*vector); 4]);
        }
        let mut found = before.to_vec();
        for step in STEPS {
            match step {
                Step::Settle(which) => known = self.settle(&known, &found, which),
                Step::Refine => found = self.refine(&known),
                Step::RefineParts if divide => found = self.refine_parts(&known),
                Step::Divide if divide => known = self.divide(&known, &found),
                Step::RefineParts | Step::Divide => {}
            }
        }
        known.vectors
    }

    /// Squared error of the prediction by a vector.
    fn squares(&self, square: Square, vector: Vector) -> u32 {
        match square.size {
            BLOCK => self.squares_of::<BLOCK>(square, vector),
            _ => self.squares_of::<PART>(square, vector),
        }
    }

    fn squares_of<const N: usize>(&self, square: Square, vector: Vector) -> u32 {
        let mut out = [0u8; BLOCK * BLOCK];
        luma_block::<N, u8>(self.exact, square.x, square.y, vector, &mut out, N);
        let stride = self.source.stride();
        let from = self.source.from(square.x as isize, square.y as isize);
        let mut sum = 0;
        for (predicted, row) in out.chunks_exact(N).take(N).zip(from.chunks(stride)) {
            for (a, b) in predicted.iter().zip(&row[..N]) {
                sum += u32::from(a.abs_diff(*b)).pow(2);
            }
        }
        sum
    }

    /// Candidates of a square of `size` parts at part (x, y), of the tile that it is in; those of the block
    /// itself are `own`.
    fn candidates(
        &self,
        vectors: &[Vector],
        (x, y): (usize, usize),
        size: usize,
        own: [Vector; 4],
    ) -> Candidates {
        let width = 2 * self.width();
        let top = y / (2 * self.tile_rows) * (2 * self.tile_rows);
        let at = |cx: usize, cy: usize| match (cx / 2, (cy + top) / 2) == (x / 2, y / 2) {
            true => own[(cy + top) % 2 * 2 + cx % 2],
            false => vectors[(cy + top) * width + cx],
        };
        Candidates::of(at, width, x, y - top, size)
    }

    /// How many of left and above are so, and whether the one right above is.
    fn near(&self, modes: &[u8], x: usize, row: usize, mode: u8) -> (usize, usize) {
        let width = self.width();
        let is = |at: usize| usize::from(modes[at] & mode != 0);
        let (at, above) = (row * width + x, !row.is_multiple_of(self.tile_rows));
        let mut count = 0;
        if x > 0 {
            count += is(at - 1);
        }
        if above {
            count += is(at - width);
        }
        let beyond = if above && x + 1 < width {
            is(at + 1 - width)
        } else {
            0
        };
        (count, beyond)
    }

    /// Contexts of a block: of its skip flag (two), of merging, of dividing.
    fn contexts(&self, modes: &[u8], x: usize, row: usize) -> [usize; 4] {
        let (near, beyond) = self.near(modes, x, row, SKIPPED);
        let (merged, _) = self.near(modes, x, row, MERGED);
        let (divided, _) = self.near(modes, x, row, DIVIDED);
        [near, beyond, merged, divided]
    }

    /// What a new vector for a whole block costs that leaves so large an error.
    fn fresh(&self, contexts: [usize; 4], candidates: &Candidates, v: Vector, squares: u32) -> f32 {
        let [near, beyond, merged, divided] = contexts;
        let skip = self.value.skips(squares);
        let flag = self.prices.skip(near, beyond, skip);
        let whole = self.prices.merge(skip, merged, candidates.unrest(), false)
            + self.prices.divided(divided, false);
        self.value.of(squares) + flag + whole + self.prices.difference(candidates, v)
    }

    /// Each block takes the best of its neighbours' vectors, its own and the one that was found for it.
    pub fn settle(&self, known: &Known, found: &[Vector], which: Which) -> Known {
        let width = self.width();
        let mut out = known.clone();
        out.vectors
            .par_chunks_mut(4 * width)
            .zip(out.modes.par_chunks_mut(width))
            .zip(out.squares.par_chunks_mut(width))
            .enumerate()
            .for_each(|(row, ((vectors, modes), squares))| {
                for x in (0..width).filter(|x| which.has(*x, row)) {
                    let (vector, mode, error) = self.settle_block(known, found, x, row);
                    (modes[x], squares[x]) = (mode, error);
                    fill(vectors, width, x, [vector; 4]);
                }
            });
        out
    }

    fn settle_block(
        &self,
        known: &Known,
        found: &[Vector],
        x: usize,
        row: usize,
    ) -> (Vector, u8, u32) {
        let width = self.width();
        let square = Square {
            x: x * BLOCK,
            y: row * BLOCK,
            size: BLOCK,
        };
        let first = 4 * width * row + 2 * x;
        let own = parts(&known.vectors, 2 * width, 2 * x, 2 * row);
        let candidates = self.candidates(&known.vectors, (2 * x, 2 * row), 2, own);
        let contexts = self.contexts(&known.modes, x, row);
        let [near, beyond, merged, _] = contexts;
        let mut best = (Vector::ZERO, 0, 0);
        let mut least = f32::INFINITY;
        for (i, &vector) in candidates.as_slice().iter().enumerate() {
            let squares = self.squares(square, vector);
            let skip = self.value.skips(squares);
            let cost = self.value.of(squares)
                + self.prices.skip(near, beyond, skip)
                + self.prices.candidate(skip, merged, &candidates, i);
            if cost < least {
                least = cost;
                best = (vector, MERGED | mode(skip), squares);
            }
        }
        for vector in [own[0], found[first]] {
            if candidates.index(vector).is_some() {
                continue;
            }
            let squares = self.squares(square, vector);
            let cost = self.fresh(contexts, &candidates, vector, squares);
            if cost < least {
                least = cost;
                best = (vector, mode(self.value.skips(squares)), squares);
            }
        }
        best
    }

    /// Looks around the vector of each block for one that is worth its own bits.
    pub fn refine(&self, known: &Known) -> Vec<Vector> {
        let width = self.width();
        let mut out = vec![Vector::ZERO; known.vectors.len()];
        out.par_chunks_mut(4 * width)
            .enumerate()
            .for_each(|(row, out)| {
                for x in 0..width {
                    let own = parts(&known.vectors, 2 * width, 2 * x, 2 * row);
                    let candidates = self.candidates(&known.vectors, (2 * x, 2 * row), 2, own);
                    let contexts = self.contexts(&known.modes, x, row);
                    let square = Square {
                        x: x * BLOCK,
                        y: row * BLOCK,
                        size: BLOCK,
                    };
                    let vector = descend(own[0], BLOCK_ROUNDS, |v| {
                        self.fresh(contexts, &candidates, v, self.squares(square, v))
                    });
                    fill(out, width, x, [vector; 4]);
                }
            });
        out
    }

    /// The same for each part of the blocks that may be divided.
    pub fn refine_parts(&self, known: &Known) -> Vec<Vector> {
        let width = self.width();
        let mut out = known.vectors.clone();
        out.par_chunks_mut(2 * width)
            .enumerate()
            .for_each(|(y, out)| {
                for (x, out) in out.iter_mut().enumerate() {
                    let squares = known.squares[y / 2 * width + x / 2];
                    if self.value.error(squares) <= DIVIDE_FROM {
                        continue;
                    }
                    let slope = self.value.slope(squares);
                    let candidates = self.candidates(&known.vectors, (x, y), 1, [*out; 4]);
                    let square = Square {
                        x: x * PART,
                        y: y * PART,
                        size: PART,
                    };
                    *out = descend(*out, PART_ROUNDS, |v| {
                        slope * self.squares(square, v) as f32
                            + self.prices.difference(&candidates, v)
                    });
                }
            });
        out
    }

    /// Gives the parts of a block vectors of their own where that is better.
    pub fn divide(&self, known: &Known, found: &[Vector]) -> Known {
        let width = self.width();
        let mut out = known.clone();
        out.vectors
            .par_chunks_mut(4 * width)
            .zip(out.modes.par_chunks_mut(width))
            .zip(out.squares.par_chunks_mut(width))
            .enumerate()
            .for_each(|(row, ((vectors, modes), squares))| {
                for x in 0..width {
                    if let Some((divided, all)) = self.divide_block(known, found, x, row) {
                        fill(vectors, width, x, divided);
                        modes[x] = DIVIDED | mode(self.value.skips(all));
                        squares[x] = all;
                    }
                }
            });
        out
    }

    fn divide_block(
        &self,
        known: &Known,
        found: &[Vector],
        x: usize,
        row: usize,
    ) -> Option<([Vector; 4], u32)> {
        let width = self.width();
        let at = row * width + x;
        let squares = known.squares[at];
        if self.value.error(squares) <= DIVIDE_FROM {
            return None;
        }
        let whole = known.vectors[4 * width * row + 2 * x];
        let mut own = [whole; 4];
        let candidates = self.candidates(&known.vectors, (2 * x, 2 * row), 2, own);
        let contexts = self.contexts(&known.modes, x, row);
        let [near, beyond, merged, divided] = contexts;
        let skip = self.value.skips(squares);
        let flag = self.prices.skip(near, beyond, skip);
        // What the block costs as it is.
        let limit = match candidates.index(whole) {
            Some(i) => {
                self.value.of(squares) + flag + self.prices.candidate(skip, merged, &candidates, i)
            }
            None => self.fresh(contexts, &candidates, whole, squares),
        };
        let slope = self.value.slope(squares);
        let mut bits = flag
            + self.prices.merge(skip, merged, candidates.unrest(), false)
            + self.prices.divided(divided, true)
            + DIVISION;
        let (mut all, mut taken) = (0, 0);
        for i in 0..4 {
            let (px, py) = (2 * x + i % 2, 2 * row + i / 2);
            let square = Square {
                x: px * PART,
                y: py * PART,
                size: PART,
            };
            let candidates = self.candidates(&known.vectors, (px, py), 1, own);
            let mut best = (Vector::ZERO, 0, 0.0, 0);
            let mut least = f32::INFINITY;
            for (k, &vector) in candidates.as_slice().iter().enumerate() {
                let squares = self.squares(square, vector);
                let price = self.prices.part_candidate(taken, &candidates, k);
                let cost = slope * squares as f32 + price;
                if cost < least {
                    least = cost;
                    best = (vector, squares, price, 1);
                }
            }
            let vector = found[2 * width * py + px];
            if candidates.index(vector).is_none() {
                let squares = self.squares(square, vector);
                let price = self.prices.part_merge(taken, candidates.unrest(), false)
                    + self.prices.difference(&candidates, vector);
                if slope * squares as f32 + price < least {
                    best = (vector, squares, price, 0);
                }
            }
            own[i] = best.0;
            all += best.1;
            bits += best.2;
            taken += best.3;
        }
        let better = self.value.of(all) + bits < limit;
        (better && own != [own[0]; 4]).then_some((own, all))
    }
}

/// A vector of half size in quarter pels, within what can be coded.
pub fn start(half: Vector) -> Vector {
    const MOST: i16 = MAX_VECTOR / 4 * 4;
    let limit = |v: i16| (8 * v).clamp(-MOST, MOST);
    Vector::new(limit(half.x), limit(half.y))
}

fn mode(skip: bool) -> u8 {
    if skip { SKIPPED } else { 0 }
}

/// Sets the vectors of a block's parts.
fn fill(vectors: &mut [Vector], width: usize, block: usize, of: [Vector; 4]) {
    let at = 4 * width * (block / width) + 2 * (block % width);
    for (i, vector) in of.into_iter().enumerate() {
        vectors[at + i / 2 * 2 * width + i % 2] = vector;
    }
}

/// Descends in whole, half, then quarter steps.
fn descend(start: Vector, rounds: [u32; 3], cost: impl Fn(Vector) -> f32) -> Vector {
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
    let (mut best, mut least) = (start, cost(start));
    for (stage, rounds) in rounds.into_iter().enumerate() {
        let step = 4i16 >> stage;
        let moves = if stage == 0 { 4 } else { 8 };
        for _ in 0..rounds {
            let centre = best;
            for (dx, dy) in &AROUND[..moves] {
                let v = Vector::new(centre.x + dx * step, centre.y + dy * step);
                if v.x.unsigned_abs().max(v.y.unsigned_abs()) > MAX_VECTOR as u16 {
                    continue;
                }
                let price = cost(v);
                if price < least {
                    (best, least) = (v, price);
                }
            }
            if best == centre {
                break;
            }
        }
    }
    best
}
