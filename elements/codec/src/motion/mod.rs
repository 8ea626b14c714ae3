// SPDX-License-Identifier: Apache-2.0
//! Explicit block motion: search, coding and compensation.
//!
//! A picture is cut into 16x16 luma blocks, each the size of one latent position. Every block has a
//! quarter-pel vector into the previous decoded picture, whose edges are repeated outwards, and a
//! flag that says whether the prediction is the result (skip). Prediction is integer arithmetic
//! only, so it is the same on every device for the same previous picture.
//!
//! - [`sample`]: samples of eight and of ten bits;
//! - [`plane`]: planes with repeated edges;
//! - [`interpolate`]: the definition of the interpolation and the fast version of it;
//! - [`search`]: hierarchical rate-aware search (encoder), and [`parallel`]: the same for GPUs;
//! - [`code`]: lossless coding of flags and vectors by adaptive integer contexts ([`range`]).

pub mod code;
mod coding;
pub mod interpolate;
pub mod overlap;
pub mod parallel;
pub mod plane;
pub mod range;
pub mod sample;
pub mod search;
mod simd;

pub use interpolate::{Reference, compensate, compensate_luma};
pub use sample::Sample;
pub use search::{Searcher, Variant};

/// Luma size of a block.
pub const BLOCK: usize = 16;
/// Luma size of a part: a block is divided into four where one vector is not enough.
pub const PART: usize = 8;
/// Largest component of a vector, in quarter pels.
pub const MAX_VECTOR: i16 = 511;

/// A motion vector in quarter luma pels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Vector {
    pub x: i16,
    pub y: i16,
}

impl Vector {
    pub const ZERO: Self = Self { x: 0, y: 0 };

    pub const fn new(x: i16, y: i16) -> Self {
        Self { x, y }
    }

    /// Both components within [`MAX_VECTOR`].
    pub fn in_range(self) -> bool {
        self.x.unsigned_abs() <= MAX_VECTOR as u16 && self.y.unsigned_abs() <= MAX_VECTOR as u16
    }
}

/// Vectors and skip flags of a picture (or of a tile).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Field {
    /// Blocks in a row.
    pub width: usize,
    /// One a part, row by row: twice as many in a row as blocks, and four times as many in all.
    pub vectors: Vec<Vector>,
    /// One a block, row by row.
    pub skip: Vec<bool>,
}

impl Field {
    /// No motion, nothing skipped.
    pub fn still(width: usize, height: usize) -> Self {
        Self {
            width,
            vectors: vec![Vector::ZERO; 4 * width * height],
            skip: vec![false; width * height],
        }
    }

    /// Whether every block is copied from its prediction: then a network has nothing to say.
    pub fn all_skipped(&self) -> bool {
        self.skip.iter().all(|&skip| skip)
    }

    /// Blocks in a column.
    pub fn height(&self) -> usize {
        self.skip.len() / self.width.max(1)
    }

    /// The vectors of a block's four parts.
    pub fn parts(&self, x: usize, row: usize) -> [Vector; 4] {
        parts(&self.vectors, 2 * self.width, 2 * x, 2 * row)
    }
}

/// Four parts, `width` of which are in a row.
#[inline(always)]
fn parts(vectors: &[Vector], width: usize, x: usize, y: usize) -> [Vector; 4] {
    let at = y * width + x;
    let below = at + width;
    [
        vectors[at],
        vectors[at + 1],
        vectors[below],
        vectors[below + 1],
    ]
}

/// The vectors that a block or part may take over from its neighbours, best guess first, without
/// repeats.
#[derive(Debug, Clone, Copy)]
pub struct Candidates {
    list: [Vector; 5],
    len: usize,
    /// How much the neighbours differ, see [`Candidates::unrest`].
    unrest: u8,
}

impl Candidates {
    /// For the square of `size` parts at part `(x, y)`. `vectors` is the tile's, `width` parts in a
    /// row, known for all blocks before this one, and for the parts before this one in its block.
    #[inline]
    pub fn new(vectors: &[Vector], width: usize, x: usize, y: usize, size: usize) -> Self {
        Self::of(|x, y| vectors[y * width + x], width, x, y, size)
    }

    /// The same, where vectors lie elsewhere.
    #[inline(always)]
    fn of(
        at: impl Fn(usize, usize) -> Vector,
        width: usize,
        x: usize,
        y: usize,
        size: usize,
    ) -> Self {
        let left = (x > 0).then(|| at(x - 1, y + size - 1));
        let (above, corner) = if y > 0 {
            let beyond = x + size;
            // What is right above the last part of a block comes after it.
            let known = beyond < width && (size > 1 || x.is_multiple_of(2) || y.is_multiple_of(2));
            let corner = if known {
                Some(at(beyond, y - 1))
            } else {
                (x > 0).then(|| at(x - 1, y - 1))
            };
            (Some(at(x + size - 1, y - 1)), corner)
        } else {
            (None, None)
        };
        let middle = match (left, above, corner) {
            (Some(l), Some(a), Some(c)) => {
                Vector::new(median(l.x, a.x, c.x), median(l.y, a.y, c.y))
            }
            (l, a, _) => l.or(a).unwrap_or_default(),
        };
        let spread =
            |v: Option<Vector>| v.map_or(0, |v| v.x.abs_diff(middle.x).max(v.y.abs_diff(middle.y)));
        let mut candidates = Self {
            list: [middle; 5],
            len: 1,
            unrest: match spread(left).max(spread(above)).max(spread(corner)) {
                0 => 0,
                1..=4 => 1,
                _ => 2,
            },
        };
        for vector in [left, above, corner, Some(Vector::ZERO)]
            .into_iter()
            .flatten()
        {
            candidates.push(vector);
        }
        candidates
    }

    fn push(&mut self, vector: Vector) {
        if !self.as_slice().contains(&vector) {
            self.list[self.len] = vector;
            self.len += 1;
        }
    }

    /// Where a vector is in the list.
    pub fn index(&self, vector: Vector) -> Option<usize> {
        self.as_slice().iter().position(|v| *v == vector)
    }

    pub fn as_slice(&self) -> &[Vector] {
        &self.list[..self.len]
    }

    /// The median of the neighbours, which new vectors are coded against.
    pub fn median(&self) -> Vector {
        self.list[0]
    }

    /// How far neighbours are from the median: 0 not at all, 1 up to a pel, 2 more.
    pub fn unrest(&self) -> usize {
        self.unrest.into()
    }
}

fn median(a: i16, b: i16, c: i16) -> i16 {
    a.max(b).min(a.min(b).max(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_three() {
        for (a, b, c, m) in [
            (1, 2, 3, 2),
            (3, 1, 2, 2),
            (2, 3, 1, 2),
            (5, 5, 1, 5),
            (-1, 7, 0, 0),
        ] {
            assert_eq!(median(a, b, c), m);
        }
    }

    #[test]
    fn candidates_have_no_repeats() {
        let vectors = [
            Vector::new(4, 0),
            Vector::new(4, 0),
            Vector::new(8, 8),
            Vector::new(99, 0),
        ];
        let c = Candidates::new(&vectors, 2, 1, 1, 1);
        assert_eq!(c.median(), Vector::new(4, 0));
        for (i, v) in c.as_slice().iter().enumerate() {
            assert!(!c.as_slice()[..i].contains(v));
        }
        assert_eq!(
            Candidates::new(&vectors, 2, 0, 0, 2).as_slice(),
            [Vector::ZERO]
        );
    }
}
