// SPDX-License-Identifier: Apache-2.0
//! The filter in the coding loop: takes coding errors out of a picture before it is
//! shown and predicted from. Integers only, the same on every machine.
//!
//! Each 2x2 *cell* of luma has a class, by how much luma bends there and in which direction; a class has
//! twelve weights, each for a pair of samples that lie opposite each other, and twelve others for the sample of either chroma
//! that lies in the cell. Weights are fitted by the
//! trainer on coded footage and shipped with the entropy tables: three sets, of which a frame names one, or
//! none. Blocks of whose luma, or chroma, nothing is coded are left as they are there: they were filtered
//! when they were coded. All samples that the filter reads are those before it.
//!
//! Outside of the loop a filter may also look at pictures *beside* this one, those before and after it laid
//! onto it by their motion: a class then has one more weight for each, of its difference to this picture.

#![allow(unsafe_code)]

mod classes;
mod fit;
mod kernels;
mod sets;
#[cfg(test)]
mod tests;

pub use sets::{Filters, FrameFilters, synthetic};

use crate::motion::{BLOCK, Sample};
use classes::{DIRECTIONS, LEVELS, classify};
use kernels::{block, chroma_block};
use rayon::prelude::*;
use sets::BesideSet;

/// Luma size of a cell.
const CELL: usize = 2;
/// Chroma samples along a side of a block.
const CHROMA_BLOCK: usize = BLOCK / CELL;
/// How a cell may bend.
pub const CLASSES: usize = LEVELS * DIRECTIONS;
/// Pairs of samples.
pub const TAPS: usize = 12;
/// Sets that a frame may name, as 1 to 3.
pub const SETS: usize = 3;
/// The set of a key frame's network, whose picture is filtered before the residual.
pub const KEY_FILTER: u8 = 2;
/// Weights are 128ths.
const SHIFT: u32 = 7;
/// Where one sample of each pair lies, (down, right); the other lies opposite.
const PLACES: [(isize, isize); TAPS] = [
    (0, 1),
    (0, 2),
    (0, 3),
    (1, -2),
    (1, -1),
    (1, 0),
    (1, 1),
    (1, 2),
    (2, -1),
    (2, 0),
    (2, 1),
    (3, 0),
];
/// Samples that are repeated around the picture.
const BORDER: usize = 4;
/// Blocks by which a set is chosen.
const JUDGES: usize = 400;
/// With whole steps between them, fewer than twice as many.
pub const MOST_JUDGED: usize = 2 * JUDGES;

/// The blocks by which a set is chosen: at most [`MOST_JUDGED`] of those that are coded.
pub fn judged(skip: &[bool]) -> Vec<u32> {
    let coded: Vec<u32> = (0u32..)
        .zip(skip)
        .filter(|(_, s)| !**s)
        .map(|(at, _)| at)
        .collect();
    let step = (coded.len() / JUDGES).max(1);
    coded.into_iter().step_by(step).collect()
}

/// A picture laid onto the one that is filtered, and its weights.
#[derive(Debug, Clone, Copy)]
struct Beside<'a, S> {
    picture: &'a [S],
    weights: &'a BesideSet,
}

/// Filters pictures of one size.
#[derive(Debug)]
pub struct LoopFilter {
    width: usize,
    height: usize,
    /// The plane before the filter, with a border.
    padded: Vec<i16>,
    /// One a cell.
    classes: Vec<u8>,
}

/// Takes a plane over with a border; gives its view.
fn pad<'a, S: Sample>(
    padded: &'a mut [i16],
    plane: &[S],
    (width, height): (usize, usize),
) -> Padded<'a> {
    let stride = width + 2 * BORDER;
    let samples = &mut padded[..stride * (height + 2 * BORDER)];
    samples
        .par_chunks_mut(stride)
        .enumerate()
        .for_each(|(y, row)| {
            let y = y.saturating_sub(BORDER).min(height - 1);
            let from = &plane[y * width..][..width];
            for (to, from) in row[BORDER..].iter_mut().zip(from) {
                *to = from.value() as i16;
            }
            row[..BORDER].fill(from[0].value() as i16);
            row[BORDER + width..].fill(from[width - 1].value() as i16);
        });
    Padded { samples, stride }
}

/// Rows of a padded plane.
#[derive(Debug, Clone, Copy)]
struct Padded<'a> {
    samples: &'a [i16],
    stride: usize,
}

impl Padded<'_> {
    /// Samples of a row from `x` on; both may lie in the border.
    #[inline(always)]
    fn from(&self, x: isize, y: isize) -> &[i16] {
        let border = BORDER as isize;
        &self.samples[((y + border) * self.stride as isize + x + border) as usize..]
    }
}

impl LoopFilter {
    /// For a size in whole blocks.
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            padded: vec![0; (width + 2 * BORDER) * (height + 2 * BORDER)],
            classes: vec![0; width / CELL * (height / CELL)],
        }
    }

    /// Part of the picture that was filtered last that bends least.
    pub fn flat_share(&self) -> f32 {
        let flat = self
            .classes
            .iter()
            .filter(|class| usize::from(**class) < DIRECTIONS);
        flat.count() as f32 / self.classes.len().max(1) as f32
    }

    fn view(&self) -> Padded<'_> {
        Padded {
            samples: &self.padded,
            stride: self.width + 2 * BORDER,
        }
    }

    /// Takes a luma plane and finds its classes.
    fn load<S: Sample>(&mut self, luma: &[S]) {
        let (width, height) = (self.width, self.height);
        let padded = pad(&mut self.padded, luma, (width, height));
        let shift = u32::from(S::BITS - 8);
        self.classes
            .par_chunks_mut(width / CELL * (BLOCK / CELL))
            .enumerate()
            .for_each(|(band, classes)| classify(padded, (width, height), band, shift, classes));
    }

    /// Filters luma, and U and V that follow each other, but for the blocks that each skips, with a set.
    pub fn apply_to_frame<S: Sample>(
        &mut self,
        filters: &FrameFilters,
        number: u8,
        [luma, chroma]: [&mut [S]; 2],
        [skip, skip_chroma]: [&[bool]; 2],
    ) {
        self.apply(&filters.luma, number, luma, skip);
        self.write_chroma(&filters.chroma, number, chroma, skip_chroma);
    }

    /// Filters a luma plane, but for its skipped blocks, with a set.
    pub fn apply<S: Sample>(
        &mut self,
        filters: &Filters,
        number: u8,
        luma: &mut [S],
        skip: &[bool],
    ) {
        self.apply_beside(filters, number, luma, &[], skip);
    }

    /// The same with pictures beside this one, laid onto it, for which the filters have weights. One that is
    /// missing counts as equal to this one.
    pub fn apply_beside<S: Sample>(
        &mut self,
        filters: &Filters,
        number: u8,
        luma: &mut [S],
        beside: &[Option<&[S]>],
        skip: &[bool],
    ) {
        self.load(luma);
        let index = Filters::index(number);
        let beside: Vec<Beside<'_, S>> = beside
            .iter()
            .zip(&filters.beside)
            .filter_map(|(picture, sets)| {
                let picture = (*picture)?;
                assert_eq!(picture.len(), luma.len());
                let weights = &sets[index];
                Some(Beside { picture, weights })
            })
            .collect();
        self.write(filters, number, luma, &beside, skip);
    }

    fn write<S: Sample>(
        &self,
        filters: &Filters,
        number: u8,
        luma: &mut [S],
        beside: &[Beside<'_, S>],
        skip: &[bool],
    ) {
        let width = self.width;
        let set = filters.set(number);
        let limit = filters.limit(S::BITS);
        let doubt = filters.doubts[Filters::index(number)] << (S::BITS - 8);
        luma.par_chunks_mut(BLOCK * width)
            .zip(skip.par_chunks(width / BLOCK))
            .enumerate()
            .for_each(|(row, (luma, skip))| {
                for (column, _) in skip.iter().enumerate().filter(|(_, skip)| !**skip) {
                    let filtered = block::<S>(
                        self.view(),
                        &self.classes,
                        (column, row),
                        set,
                        beside,
                        (limit, doubt),
                    );
                    let lines = luma.chunks_exact_mut(width);
                    for (line, filtered) in lines.zip(&filtered) {
                        line[column * BLOCK..][..BLOCK].copy_from_slice(filtered);
                    }
                }
            });
    }

    /// Filters U and V, which follow each other, by the classes of the luma that was filtered last.
    fn write_chroma<S: Sample>(
        &mut self,
        filters: &Filters,
        number: u8,
        chroma: &mut [S],
        skip: &[bool],
    ) {
        let (width, height) = (self.width / CELL, self.height / CELL);
        let (set, limit) = (filters.set(number), filters.limit(S::BITS));
        for plane in chroma.chunks_exact_mut(width * height) {
            let padded = pad(&mut self.padded, plane, (width, height));
            let classes = &self.classes;
            plane
                .par_chunks_mut(CHROMA_BLOCK * width)
                .zip(skip.par_chunks(width / CHROMA_BLOCK))
                .enumerate()
                .for_each(|(row, (plane, skip))| {
                    for (column, _) in skip.iter().enumerate().filter(|(_, skip)| !**skip) {
                        let filtered =
                            chroma_block::<S>(padded, classes, (column, row), set, limit);
                        for (line, filtered) in plane.chunks_exact_mut(width).zip(&filtered) {
                            line[column * CHROMA_BLOCK..][..CHROMA_BLOCK].copy_from_slice(filtered);
                        }
                    }
                });
        }
    }

    /// Filters luma, and U and V that follow each other, with the set that brings luma nearest to its source, judged by some of
    /// its blocks; gives the set's number, or 0 where none helps and nothing was changed.
    pub fn choose<S: Sample>(
        &mut self,
        filters: &FrameFilters,
        [luma, chroma]: [&mut [S]; 2],
        source: &[S],
        [skip, skip_chroma]: [&[bool]; 2],
    ) -> u8 {
        let number = self.choose_luma(&filters.luma, luma, source, skip);
        if number != 0 {
            self.write_chroma(&filters.chroma, number, chroma, skip_chroma);
        }
        number
    }

    fn choose_luma<S: Sample>(
        &mut self,
        filters: &Filters,
        luma: &mut [S],
        source: &[S],
        skip: &[bool],
    ) -> u8 {
        self.load(luma);
        let width = self.width;
        let columns = width / BLOCK;
        let limit = filters.limit(S::BITS);
        let errors = judged(skip)
            .par_iter()
            .map(|&at| {
                let at = at as usize;
                let (column, row) = (at % columns, at / columns);
                let error = |picture: &dyn Fn(usize) -> [S; BLOCK]| -> u64 {
                    let lines = (0..BLOCK).map(|i| {
                        let line = &source[(row * BLOCK + i) * width + column * BLOCK..][..BLOCK];
                        let pairs = line.iter().zip(picture(i));
                        pairs
                            .map(|(a, b)| (a.value() - b.value()).pow(2) as u64)
                            .sum::<u64>()
                    });
                    lines.sum()
                };
                let mut errors = [0; SETS + 1];
                errors[0] = error(&|i| {
                    let line = &luma[(row * BLOCK + i) * width + column * BLOCK..];
                    let mut out = [S::default(); BLOCK];
                    out.copy_from_slice(&line[..BLOCK]);
                    out
                });
                for (number, sum) in (1..).zip(&mut errors[1..]) {
                    let set = filters.set(number);
                    let filtered = block::<S>(
                        self.view(),
                        &self.classes,
                        (column, row),
                        set,
                        &[],
                        (limit, 0),
                    );
                    *sum = error(&|i| filtered[i]);
                }
                errors
            })
            .reduce(
                || [0; SETS + 1],
                |mut a, b| {
                    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
                    a
                },
            );
        let best = (0..=SETS as u8).min_by_key(|&number| errors[usize::from(number)]);
        let number = best.unwrap_or_default();
        if number != 0 {
            self.write(filters, number, luma, &[], skip);
        }
        number
    }
}
