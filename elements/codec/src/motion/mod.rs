// SPDX-License-Identifier: Apache-2.0
//! Explicit block motion: search, coding and compensation.
//!
//! A picture is cut into 16x16 luma blocks, each the size of one latent position. Every block has a
//! quarter-pel vector into the previous decoded picture, whose edges are repeated outwards, and a
//! flag that says whether the prediction is the result (skip). Prediction is integer arithmetic
//! only, so it is the same on every device for the same previous picture.
//!
//! - [`plane`]: planes with repeated edges;
//! - [`interpolate`]: the definition of the interpolation and the fast version of it;
//! - [`search`]: hierarchical rate-aware search (encoder);
//! - [`code`]: lossless coding of flags and vectors by adaptive integer contexts ([`range`]).

pub mod code;
pub mod interpolate;
pub mod plane;
pub mod range;
pub mod search;
mod simd;

pub use interpolate::{Reference, compensate};
pub use search::{Searcher, Variant};

/// Luma size of a block.
pub const BLOCK: usize = 16;
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

/// Vectors and skip flags of a picture (or of a tile), row by row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Field {
    /// Blocks in a row.
    pub width: usize,
    pub vectors: Vec<Vector>,
    pub skip: Vec<bool>,
}

impl Field {
    /// No motion, nothing skipped.
    pub fn still(width: usize, height: usize) -> Self {
        Self {
            width,
            vectors: vec![Vector::ZERO; width * height],
            skip: vec![false; width * height],
        }
    }

    pub fn height(&self) -> usize {
        self.vectors.len() / self.width.max(1)
    }
}

/// The vectors a block may take over from its neighbours, best guess first, without repeats.
#[derive(Debug, Clone, Copy)]
pub struct Candidates {
    list: [Vector; 5],
    len: usize,
}

impl Candidates {
    /// Neighbours inside the tile only: `vectors` is the tile's, filled up to block `(x, row)`.
    pub fn new(vectors: &[Vector], width: usize, x: usize, row: usize) -> Self {
        let at = row * width + x;
        let left = if x > 0 { Some(vectors[at - 1]) } else { None };
        let (above, corner) = if row > 0 {
            let above = at - width;
            let corner = if x + 1 < width {
                Some(vectors[above + 1])
            } else if x > 0 {
                Some(vectors[above - 1])
            } else {
                None
            };
            (Some(vectors[above]), corner)
        } else {
            (None, None)
        };
        let median = match (left, above, corner) {
            (Some(l), Some(a), Some(c)) => {
                Vector::new(median(l.x, a.x, c.x), median(l.y, a.y, c.y))
            }
            (l, a, _) => l.or(a).unwrap_or_default(),
        };
        let mut candidates = Self {
            list: [median; 5],
            len: 1,
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

    pub fn as_slice(&self) -> &[Vector] {
        &self.list[..self.len]
    }

    /// The median of the neighbours, which new vectors are coded against.
    pub fn median(&self) -> Vector {
        self.list[0]
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
            Vector::new(4, 0),
        ];
        let c = Candidates::new(&vectors, 2, 1, 1);
        assert_eq!(c.median(), Vector::new(8, 8).min_with(Vector::new(4, 0)));
        for (i, v) in c.as_slice().iter().enumerate() {
            assert!(!c.as_slice()[..i].contains(v));
        }
        assert_eq!(
            Candidates::new(&vectors, 2, 0, 0).as_slice(),
            [Vector::ZERO]
        );
    }

    impl Vector {
        fn min_with(self, other: Self) -> Self {
            Self::new(self.x.min(other.x), self.y.min(other.y))
        }
    }
}
