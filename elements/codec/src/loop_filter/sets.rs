// SPDX-License-Identifier: Apache-2.0
//! The weights of a model's filters.

use super::{CELL, CLASSES, SETS, TAPS};

/// Largest limit of a difference: sums of eight and of ten bits then fit 16 bits.
pub(super) const LIMIT: u16 = 8;
/// Largest sum of a class's weights' magnitudes.
pub(super) const WEIGHT_LIMIT: i32 = 500;

/// Weights of all classes, each twice, as two samples of a cell's luma lie beside each other.
pub(super) type Set = [[[i16; CELL]; TAPS]; CLASSES];

/// Weights of all classes for one picture beside this one.
pub(super) type BesideSet = [[i16; CELL]; CLASSES];

/// The filters of a model's frames: the sets of luma, and those of both chroma.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameFilters {
    pub luma: Filters,
    pub chroma: Filters,
}

impl FrameFilters {
    /// Numbers of a file: those of luma's filters, then those of chroma's.
    pub const LEN: usize = 2 * Filters::LEN;

    /// Of [`FrameFilters::LEN`] numbers, or why not.
    pub fn new(numbers: &[u16]) -> Result<Self, &'static str> {
        let (luma, chroma) = numbers
            .split_at_checked(Filters::LEN)
            .ok_or("its size is wrong")?;
        Ok(Self {
            luma: Filters::new(luma)?,
            chroma: Filters::new(chroma)?,
        })
    }

    /// The weights of all of luma's sets, then of all of chroma's, each by set, class and pair.
    pub fn weights(&self) -> impl Iterator<Item = i16> {
        self.luma.weights().chain(self.chroma.weights())
    }

    /// Up to what differences count in luma and in chroma, at a depth.
    pub fn limits(&self, bits: u8) -> [u32; 2] {
        [&self.luma, &self.chroma].map(|filters| filters.limit(bits).unsigned_abs().into())
    }
}

/// The filters of a kind of plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filters {
    /// Differences to the sample in the middle count up to this, in levels of eight bits.
    limit: i16,
    sets: Box<[Set; SETS]>,
    /// For each picture beside this one.
    pub(super) beside: Vec<[BesideSet; SETS]>,
    /// Changes shrink by this, in the weights' units, with each set.
    pub(super) doubts: [i16; SETS],
}

impl Filters {
    /// Numbers of a file: the limit, then the weights by set, class and pair.
    pub const LEN: usize = 1 + SETS * CLASSES * TAPS;

    /// The same with weights for some pictures beside: they follow those of a class's pairs.
    pub const fn len_beside(pictures: usize) -> usize {
        1 + SETS * CLASSES * (TAPS + pictures)
    }

    /// Of [`Filters::LEN`] numbers, or why not.
    pub fn new(numbers: &[u16]) -> Result<Self, &'static str> {
        Self::new_beside(numbers, 0)
    }

    /// Of [`Filters::len_beside`] numbers, or why not.
    pub fn new_beside(numbers: &[u16], pictures: usize) -> Result<Self, &'static str> {
        let (limit, weights) = match numbers {
            [limit, weights @ ..] if numbers.len() == Self::len_beside(pictures) => {
                (*limit, weights)
            }
            _ => return Err("its size is wrong"),
        };
        if !(1..=LIMIT).contains(&limit) {
            return Err("the limit of differences is not 1 to 8");
        }
        let mut sets = Box::new([[[[0; CELL]; TAPS]; CLASSES]; SETS]);
        let mut beside = vec![[[[0; CELL]; CLASSES]; SETS]; pictures];
        for (at, weights) in weights.chunks_exact(TAPS + pictures).enumerate() {
            let (set, class) = (at / CLASSES, at % CLASSES);
            let (pairs, others) = weights.split_at(TAPS);
            for (to, from) in sets[set][class].iter_mut().zip(pairs) {
                *to = [*from as i16; CELL];
            }
            for (to, from) in beside.iter_mut().zip(others) {
                to[set][class] = [*from as i16; CELL];
            }
            let sizes = weights.iter().map(|w| i32::from(*w as i16).abs());
            if sizes.sum::<i32>() > WEIGHT_LIMIT {
                return Err("the magnitudes of a class's weights sum to more than 500");
            }
        }
        Ok(Self {
            limit: limit as i16,
            sets,
            beside,
            doubts: [0; SETS],
        })
    }

    /// Differences to the sample in the middle count up to this, at a depth.
    pub fn limit(&self, bits: u8) -> i16 {
        self.limit << (bits - 8)
    }

    /// The weights of all sets, by set, class and pair.
    pub fn weights(&self) -> impl Iterator<Item = i16> {
        let weights = self.sets.iter().flatten().flatten();
        weights.map(|[weight, _]| *weight)
    }

    /// The same, but with each set every change of a sample shrinks by some 128ths of a level, and smaller ones are
    /// not made: what is a good guess on average is a loss where the picture has hardly any errors.
    pub fn with_doubts(self, doubts: [u8; SETS]) -> Self {
        let doubts = doubts.map(i16::from);
        Self { doubts, ..self }
    }

    /// A set's place by the number that a frame names, 1 to 3.
    pub(super) fn index(number: u8) -> usize {
        usize::from(number.clamp(1, SETS as u8)) - 1
    }

    pub(super) fn set(&self, number: u8) -> &Set {
        &self.sets[Self::index(number)]
    }
}

/// Filters with weights of the shape of real ones, for tests.
#[doc(hidden)]
pub mod synthetic {
    use super::Filters;

    /// The numbers of a file.
    pub fn numbers(seed: u32) -> Vec<u16> {
        [numbers_of_plane(seed), numbers_of_plane(!seed)].concat()
    }

    /// Those of one kind of plane.
    pub fn numbers_of_plane(seed: u32) -> Vec<u16> {
        let mut state = seed | 1;
        let weights = (1..Filters::LEN).map(|_| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            ((state >> 26) as i16 - 24) as u16
        });
        std::iter::once(4).chain(weights).collect()
    }
}
