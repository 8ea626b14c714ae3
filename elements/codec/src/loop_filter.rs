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

mod fit;

use crate::dispatch::dispatch;
#[cfg(target_arch = "x86_64")]
use crate::dispatch::has_avx2;
use crate::motion::{BLOCK, Sample};
use rayon::prelude::*;

/// Luma size of a cell.
const CELL: usize = 2;
/// Chroma samples along a side of a block.
const CHROMA_BLOCK: usize = BLOCK / CELL;
/// Levels of bending, and directions.
const LEVELS: usize = 8;
const DIRECTIONS: usize = 5;
pub const CLASSES: usize = LEVELS * DIRECTIONS;
/// Pairs of samples.
pub const TAPS: usize = 12;
/// Sets that a frame may name, as 1 to 3.
pub const SETS: usize = 3;
/// The set of a key frame's network, whose picture is filtered before the residual.
pub const KEY_FILTER: u8 = 2;
/// Weights are 128ths.
const SHIFT: u32 = 7;
/// Bending from which on the second to the last level begin: sums over a window of horizontal and vertical.
const BOUNDS: [u16; LEVELS - 1] = [18, 36, 72, 130, 216, 360, 648];
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
/// Largest limit of a difference: sums of eight and of ten bits then fit 16 bits.
const LIMIT: u16 = 8;
/// Largest sum of a class's weights' magnitudes.
const WEIGHT_LIMIT: i32 = 500;

/// Blocks by which a set is chosen.
const JUDGES: usize = 400;
/// With whole steps between them, fewer than twice as many.
pub const MOST_JUDGED: usize = 2 * JUDGES;

/// Weights of all classes, each twice, as two samples of a cell's luma lie beside each other.
type Set = [[[i16; CELL]; TAPS]; CLASSES];

/// Weights of all classes for one picture beside this one.
type BesideSet = [[i16; CELL]; CLASSES];

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
    beside: Vec<[BesideSet; SETS]>,
    /// Changes shrink by this, in the weights' units, with each set.
    doubts: [i16; SETS],
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
    fn index(number: u8) -> usize {
        usize::from(number.clamp(1, SETS as u8)) - 1
    }

    fn set(&self, number: u8) -> &Set {
        &self.sets[Self::index(number)]
    }
}

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

/// How much the picture bends in each cell of a row: horizontally, vertically and along both diagonals, summed
/// over its samples.
#[inline(always)]
fn bending(
    padded: Padded<'_>,
    width: usize,
    row: isize,
    shift: u32,
    sums: &mut [i16],
    out: &mut [Vec<u16>; 4],
) {
    let y = row * CELL as isize;
    let line = |dy: isize| &padded.from(-1, y + dy)[..width + 2];
    let [a, b, c, d] = [-1, 0, 1, 2].map(line);
    // (down, right) from a sample to one of the two that it is compared with.
    let steps: [(usize, usize); 4] = [(1, 2), (2, 1), (2, 2), (2, 0)];
    for ((down, right), out) in steps.into_iter().zip(out) {
        let rows = [[a, b, c], [b, c, d]];
        let [first, second] = rows.map(|rows| {
            let (one, other) = (rows[down], rows[2 - down]);
            (
                &rows[1][1..][..width],
                &one[right..][..width],
                &other[2 - right..][..width],
            )
        });
        let sums = &mut sums[..width];
        for x in 0..width {
            let bend = |(p, q, r): (&[i16], &[i16], &[i16])| (2 * p[x] - q[x] - r[x]).abs();
            sums[x] = bend(first) + bend(second);
        }
        for (out, pair) in out.iter_mut().zip(sums.chunks_exact(CELL)) {
            *out = ((pair[0] + pair[1]) as u16) >> shift;
        }
    }
}

/// Class of a cell by the sums over the 3x3 cells around it.
#[inline(always)]
fn class([h, v, d, e]: [u16; 4]) -> u8 {
    let level: u16 = BOUNDS.iter().map(|bound| u16::from(h + v >= *bound)).sum();
    let (h, v, d, e) = (u32::from(h), u32::from(v), u32::from(d), u32::from(e));
    let (straight, straight_least) = (h.max(v), h.min(v));
    let (oblique, oblique_least) = (d.max(e), d.min(e));
    let weak = straight <= 2 * straight_least && oblique <= 2 * oblique_least;
    let is_straight = straight * oblique_least >= oblique * straight_least;
    let direction = match (weak, is_straight) {
        (true, _) => 0,
        (false, true) => 2 - u8::from(h > v),
        (false, false) => 4 - u8::from(d > e),
    };
    level as u8 * DIRECTIONS as u8 + direction
}

#[inline(always)]
fn classify_band(
    padded: Padded<'_>,
    (width, height): (usize, usize),
    band: usize,
    shift: u32,
    classes: &mut [u8],
) {
    let columns = width / CELL;
    let rows = (height / CELL) as isize;
    let empty = || [(); 4].map(|()| vec![0u16; columns]);
    let mut sums = vec![0i16; width];
    let mut around = [empty(), empty(), empty()];
    let mut column_sums = [(); 4].map(|()| vec![0u16; columns + 2]);
    let first = (band * (BLOCK / CELL)) as isize;
    // Cells outside of the picture are as those of its edge.
    let mut fill = |row: isize, out: &mut [Vec<u16>; 4]| {
        bending(padded, width, row.clamp(0, rows - 1), shift, &mut sums, out);
    };
    fill(first - 1, &mut around[0]);
    fill(first, &mut around[1]);
    for (row, classes) in (first..).zip(classes.chunks_exact_mut(columns)) {
        fill(row + 1, &mut around[2]);
        for (i, column_sums) in column_sums.iter_mut().enumerate() {
            let [a, b, c] = [0, 1, 2].map(|k: usize| &around[k][i][..columns]);
            let inner = &mut column_sums[1..][..columns];
            for x in 0..columns {
                inner[x] = a[x] + b[x] + c[x];
            }
            column_sums[0] = column_sums[1];
            column_sums[columns + 1] = column_sums[columns];
        }
        let [h, v, d, e] = &column_sums;
        let window = |sums: &[u16], x: usize| sums[x] + sums[x + 1] + sums[x + 2];
        for (x, out) in classes.iter_mut().enumerate() {
            *out = class([window(h, x), window(v, x), window(d, x), window(e, x)]);
        }
        around.rotate_left(1);
    }
}

dispatch! {
    /// Classes of a row of blocks.
    fn classify => classify_band, classify_band,
    (padded: Padded<'_>, size: (usize, usize), band: usize, shift: u32, classes: &mut [u8])
}

/// Classes of a block's cells in a row.
fn classes_of(classes: &[u8], cells: usize, column: usize, row: usize) -> &[u8] {
    &classes[row * cells + column * CHROMA_BLOCK..][..CHROMA_BLOCK]
}

/// A block of so many samples, so many of which a cell has along its sides.
#[inline(always)]
fn filter_block<S: Sample, const BLOCK: usize, const CELL: usize>(
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
fn block<S: Sample>(
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
fn chroma_block<S: Sample>(
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

/// Filters with weights of the shape of real ones, for tests.
#[doc(hidden)]
pub mod synthetic {
    use super::*;

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A sample, or the one at the edge that is nearest.
    fn at<S: Sample>(plane: &[S], (width, height): (usize, usize), x: isize, y: isize) -> i32 {
        let x = x.clamp(0, width as isize - 1) as usize;
        let y = y.clamp(0, height as isize - 1) as usize;
        plane[y * width + x].value()
    }

    /// The class of a cell, as it is defined.
    fn defined_class<S: Sample>(
        luma: &[S],
        (width, height): (usize, usize),
        x: isize,
        y: isize,
    ) -> usize {
        let at = |x, y| at(luma, (width, height), x, y);
        let shift = S::BITS - 8;
        let cell = |x: isize, y: isize| -> [u32; 4] {
            let x = x.clamp(0, width as isize / 2 - 1);
            let y = y.clamp(0, height as isize / 2 - 1);
            [(0, 1), (1, 0), (1, 1), (1, -1)].map(|(down, right)| {
                let samples = (0..4).map(|i| {
                    let (x, y) = (2 * x + i % 2, 2 * y + i / 2);
                    (2 * at(x, y) - at(x + right, y + down) - at(x - right, y - down))
                        .unsigned_abs()
                });
                samples.sum::<u32>() >> shift
            })
        };
        let mut sums = [0; 4];
        for (dy, dx) in (0..9).map(|k| (k / 3 - 1, k % 3 - 1)) {
            let cell = cell(x + dx, y + dy);
            sums.iter_mut().zip(cell).for_each(|(sum, v)| *sum += v);
        }
        let [h, v, d, e] = sums;
        let level = BOUNDS.iter().filter(|b| h + v >= u32::from(**b)).count();
        let ratio = |a: u32, b: u32| (a.max(b), a.min(b));
        let (straight, oblique) = (ratio(h, v), ratio(d, e));
        let direction = if straight.0 <= 2 * straight.1 && oblique.0 <= 2 * oblique.1 {
            0
        } else if straight.0 * oblique.1 >= oblique.0 * straight.1 {
            if h > v { 1 } else { 2 }
        } else if d > e {
            3
        } else {
            4
        };
        level * DIRECTIONS + direction
    }

    /// A plane after the filter as it is defined, sample by sample; so many of its samples have a side of a block, and a cell.
    fn defined_plane<S: Sample>(
        (filters, number): (&Filters, u8),
        plane: &[S],
        (width, height): (usize, usize),
        (block, cell): (usize, usize),
        class: impl Fn(isize, isize) -> usize,
        skip: &[bool],
    ) -> Vec<S> {
        let at = |x, y| at(plane, (width, height), x, y);
        let mut out = plane.to_vec();
        for (i, out) in out.iter_mut().enumerate() {
            let (x, y) = (i % width, i / width);
            if skip[y / block * (width / block) + x / block] {
                continue;
            }
            let weights = filters.set(number)[class((x / cell) as isize, (y / cell) as isize)];
            let limit = i32::from(filters.limit) << (S::BITS - 8);
            let (x, y) = (x as isize, y as isize);
            let mut sum = 64;
            for (weight, (down, right)) in weights.into_iter().zip(PLACES) {
                for sign in [1, -1] {
                    let other = at(x + sign * right, y + sign * down);
                    sum += i32::from(weight[0]) * (other - at(x, y)).clamp(-limit, limit);
                }
            }
            *out = S::clip(at(x, y) + (sum >> 7));
        }
        out
    }

    fn defined<S: Sample>(
        filters: &Filters,
        number: u8,
        luma: &[S],
        size: (usize, usize),
        skip: &[bool],
    ) -> Vec<S> {
        let class = |x, y| defined_class(luma, size, x, y);
        defined_plane((filters, number), luma, size, (BLOCK, CELL), class, skip)
    }

    /// Luma, and U and V one after the other.
    fn defined_frame<S: Sample>(
        filters: &FrameFilters,
        number: u8,
        [luma, chroma]: [&[S]; 2],
        size: (usize, usize),
        [skip, skip_chroma]: [&[bool]; 2],
    ) -> [Vec<S>; 2] {
        let class = |x, y| defined_class(luma, size, x, y);
        let half = (size.0 / 2, size.1 / 2);
        let planes = chroma.chunks(half.0 * half.1).map(|plane| {
            let filters = (&filters.chroma, number);
            defined_plane(filters, plane, half, (BLOCK / 2, 1), class, skip_chroma)
        });
        let planes: Vec<_> = planes.collect();
        [
            defined(&filters.luma, number, luma, size, skip),
            planes.concat(),
        ]
    }

    fn picture<S: Sample>(seed: u32, (width, height): (usize, usize), contrast: u32) -> Vec<S> {
        let mut state = seed | 1;
        let mut noise = move || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            state >> 16
        };
        let level = 1 << (S::BITS - 8);
        let sample = |i: usize| {
            let (x, y) = ((i % width) as f32, (i / width) as f32);
            let wave = 60.0 * (x * 0.2 + y * 0.11).sin() + if x > y { 40.0 } else { 0.0 };
            S::clip(
                (120 + wave as i32 + (noise() % contrast) as i32) * level + (noise() % 4) as i32,
            )
        };
        (0..width * height).map(sample).collect()
    }

    fn check<S: Sample>(seed: u32, size: (usize, usize), contrast: u32, number: u8) {
        let filters = FrameFilters::new(&synthetic::numbers(seed)).unwrap();
        let luma = picture::<S>(seed, size, contrast);
        let chroma = picture::<S>(seed ^ 5, (size.0 / 2, size.1), contrast);
        let skips: [Vec<bool>; 2] = [5, 3].map(|every| {
            let blocks = 0..size.0 * size.1 / 256;
            let skip = blocks.map(|i| (i * 7 + seed as usize).is_multiple_of(every));
            skip.collect()
        });
        let skips = skips.each_ref().map(Vec::as_slice);
        let mut filtered = [luma.clone(), chroma.clone()];
        let [y, uv] = &mut filtered;
        LoopFilter::new(size.0, size.1).apply_to_frame(&filters, number, [y, uv], skips);
        let wanted = defined_frame(&filters, number, [&luma, &chroma], size, skips);
        assert!(filtered == wanted);
        assert!(filtered[0] != luma && filtered[1] != chroma);
    }

    #[test]
    fn the_kernels_by_hand_are_the_plain_ones() {
        let (width, height) = (128, 64);
        let filters = Filters::new(&synthetic::numbers_of_plane(9)).unwrap();
        let luma = picture::<u16>(9, (width, height), 200);
        let others = [picture::<u16>(5, (width, height), 200), luma.clone()];
        let weights: BesideSet = std::array::from_fn(|class| [class as i16 - 19; CELL]);
        let beside = others.each_ref().map(|picture| Beside {
            picture: &picture[..],
            weights: &weights,
        });
        let mut filter = LoopFilter::new(width, height);
        filter.load(&luma);
        let set = filters.set(1);
        for place in (0..32).map(|i| (i % 8, i / 8)) {
            let both = [filter_block::<u16, BLOCK, CELL>, block::<u16>].map(|f| {
                f(
                    filter.view(),
                    &filter.classes,
                    place,
                    set,
                    &beside,
                    (16, 12),
                )
            });
            assert_eq!(both[0], both[1]);
        }
        let chroma = picture::<u16>(3, (width / 2, height / 2), 200);
        let padded = pad(&mut filter.padded, &chroma, (width / 2, height / 2));
        for place in (0..32).map(|i| (i % 8, i / 8)) {
            let classes = &filter.classes;
            let plain =
                filter_block::<u16, CHROMA_BLOCK, 1>(padded, classes, place, set, &[], (16, 0));
            assert_eq!(chroma_block::<u16>(padded, classes, place, set, 16), plain);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn it_is_what_is_defined(seed in any::<u32>(), wide in 1usize..3, high in 1usize..3, contrast in 1u32..200, number in 1u8..4) {
            check::<u8>(seed, (64 * wide, 64 * high), contrast, number);
            check::<u16>(seed, (64 * wide, 64 * high), contrast, number);
        }
    }

    /// The largest weights and limit that a file may have, on pictures of black and white: nothing overflows.
    #[test]
    fn the_largest_numbers_fit_sixteen_bits() {
        fn check<S: Sample>(weights: impl Fn(usize) -> i16) {
            let numbers: Vec<u16> = std::iter::once(LIMIT)
                .chain((1..Filters::LEN).map(|i| weights(i - 1) as u16))
                .collect();
            let filters = Filters::new(&numbers).unwrap();
            let size = (64, 64);
            let most = (1 << S::BITS) - 1;
            let luma: Vec<S> = (0..64usize * 64)
                .map(|i| {
                    S::clip(if (i % 64 / 3 + i / 64 / 2).is_multiple_of(2) {
                        0
                    } else {
                        most
                    })
                })
                .collect();
            let mut filtered = luma.clone();
            let skip = [false; 16];
            LoopFilter::new(size.0, size.1).apply(&filters, 1, &mut filtered, &skip);
            assert!(filtered == defined(&filters, 1, &luma, size, &skip));
        }
        for sign in [1, -1] {
            let even = move |_| sign * (WEIGHT_LIMIT as usize / TAPS) as i16;
            let one = move |i: usize| {
                if i % TAPS == 5 {
                    sign * WEIGHT_LIMIT as i16
                } else {
                    0
                }
            };
            check::<u8>(even);
            check::<u16>(even);
            check::<u8>(one);
            check::<u16>(one);
        }
    }

    /// What the trainer computes (`models/training/codec/loop_filter.py`) is what the codec computes.
    #[test]
    fn it_is_what_weights_are_fitted_for() {
        let bytes = include_bytes!("../tests/data/loop_filter.bin");
        let size = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let (width, height) = (size(0), size(2));
        let (luma, rest) = bytes[4..].split_at(width * height);
        let (chroma, rest) = rest.split_at(width * height / 2);
        let (skip, rest) = rest.split_at(2 * (width * height / 256));
        let (numbers, expected) = rest.split_at(2 * FrameFilters::LEN);
        let pairs = numbers.chunks_exact(2);
        let numbers: Vec<u16> = pairs.map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        let skip: Vec<bool> = skip.iter().map(|s| *s != 0).collect();
        let (skip, skip_chroma) = skip.split_at(width * height / 256);
        let (mut luma, mut chroma) = (luma.to_vec(), chroma.to_vec());
        let filters = FrameFilters::new(&numbers).unwrap();
        let planes = [&mut luma[..], &mut chroma[..]];
        LoopFilter::new(width, height).apply_to_frame(&filters, 2, planes, [skip, skip_chroma]);
        assert!([luma, chroma].concat() == expected);
    }

    #[test]
    fn the_set_that_helps_most_is_chosen() {
        let size = (128, 64);
        let skip = vec![false; 32];
        // Sets: one that does nothing, one that smooths, one that does the opposite.
        let mut numbers = vec![4u16];
        for weight in [0i16, 10, -10] {
            numbers.extend([weight as u16; CLASSES * TAPS]);
        }
        let filters = FrameFilters::new(&[&numbers[..], &numbers].concat()).unwrap();
        let noise = picture::<u8>(6, (64, 64), 200);
        let source: Vec<u8> = (0..size.0 * size.1)
            .map(|i| (60 + i % size.0) as u8)
            .collect();
        let noisy = |amount: i32| -> Vec<u8> {
            let noise = picture::<u8>(5, size, 200);
            let pairs = source.iter().zip(&noise);
            pairs
                .map(|(s, n)| {
                    (i32::from(*s) + (i32::from(*n) % 3 - 1) * amount).clamp(0, 255) as u8
                })
                .collect()
        };
        let mut filter = LoopFilter::new(size.0, size.1);
        let mut choose = |luma: &mut [u8], chroma: &mut [u8]| {
            filter.choose(&filters, [luma, chroma], &source, [&skip; 2])
        };
        let (mut luma, mut chroma) = (noisy(2), noise.clone());
        assert_eq!(choose(&mut luma, &mut chroma), 2);
        let mut expected = [noisy(2), noise.clone()];
        let [y, uv] = &mut expected;
        LoopFilter::new(size.0, size.1).apply_to_frame(&filters, 2, [y, uv], [&skip; 2]);
        assert!([luma, chroma] == expected);
        let (mut luma, mut chroma) = (source.clone(), noise.clone());
        assert_eq!(choose(&mut luma, &mut chroma), 0);
        assert!(luma == source && chroma == noise);
    }

    /// Numbers of filters with two pictures beside: weights of pairs, then of the pictures.
    fn numbers_beside(pair: i16, others: [i16; 2]) -> Vec<u16> {
        let class = std::iter::repeat_n(pair, TAPS).chain(others);
        let classes = std::iter::repeat_n(class, SETS * CLASSES).flatten();
        std::iter::once(LIMIT)
            .chain(classes.map(|w| w as u16))
            .collect()
    }

    /// What pictures beside add is their limited difference times the weight.
    #[test]
    fn pictures_beside_count_by_their_weights() {
        fn check<S: Sample>() {
            let size = (64, 48);
            let luma = picture::<S>(3, size, 200);
            let others = [picture::<S>(4, size, 200), picture::<S>(5, size, 200)];
            let skip = [false; 12];
            let weights = [50, -21];
            let filters = Filters::new_beside(&numbers_beside(0, weights), 2).unwrap();
            let limit = i32::from(LIMIT) << (S::BITS - 8);
            for there in [[true, true], [true, false], [false, false]] {
                let expected: Vec<S> = (0..luma.len())
                    .map(|i| {
                        let middle = luma[i].value();
                        let parts = others.iter().zip(weights).zip(there);
                        let sum: i32 = parts
                            .filter(|(_, there)| *there)
                            .map(|((other, weight), _)| {
                                (other[i].value() - middle).clamp(-limit, limit) * i32::from(weight)
                            })
                            .sum();
                        S::clip(middle + ((sum + 64) >> SHIFT))
                    })
                    .collect();
                let beside: Vec<Option<&[S]>> = others
                    .iter()
                    .zip(there)
                    .map(|(other, there)| there.then_some(&other[..]))
                    .collect();
                let mut filter = LoopFilter::new(size.0, size.1);
                let mut filtered = luma.clone();
                filter.apply_beside(&filters, 1, &mut filtered, &beside, &skip);
                assert!(filtered == expected);
            }
        }
        check::<u8>();
        check::<u16>();
    }

    /// Half a level and more is a change of one; with a doubt it takes that much more.
    #[test]
    fn doubt_shrinks_changes_and_makes_no_small_ones() {
        let luma = [100u8; 256];
        let changed = |difference: i16, doubts: [u8; SETS]| -> i32 {
            let filters = Filters::new_beside(&numbers_beside(0, [33, 0]), 2).unwrap();
            let other = luma.map(|v| (i16::from(v) + difference) as u8);
            let mut out = luma;
            LoopFilter::new(16, 16).apply_beside(
                &filters.with_doubts(doubts),
                2,
                &mut out,
                &[Some(&other[..])],
                &[false],
            );
            i32::from(out[0]) - 100
        };
        for sign in [1, -1] {
            // 33 / 128 of a level for each level of difference.
            assert_eq!(changed(2 * sign, [0; SETS]), i32::from(sign));
            assert_eq!(changed(2 * sign, [0, 16, 0]), 0);
            assert_eq!(changed(3 * sign, [0, 16, 0]), i32::from(sign));
            assert_eq!(changed(6 * sign, [0; SETS]), 2 * i32::from(sign));
            assert_eq!(changed(6 * sign, [0, 16, 0]), i32::from(sign));
            assert_eq!(changed(6 * sign, [16, 0, 16]), 2 * i32::from(sign));
        }
    }

    #[test]
    fn weights_of_pictures_beside_count_for_the_limit_of_all() {
        assert!(Filters::new_beside(&numbers_beside(30, [70, -70]), 2).is_ok());
        assert!(Filters::new_beside(&numbers_beside(30, [70, -71]), 2).is_err());
        assert!(Filters::new_beside(&numbers_beside(30, [70, -70]), 1).is_err());
        assert_eq!(numbers_beside(0, [0, 0]).len(), Filters::len_beside(2));
    }

    #[test]
    fn bad_numbers_are_refused() {
        let good = synthetic::numbers(1);
        assert!(FrameFilters::new(&good).is_ok());
        assert!(FrameFilters::new(&good[1..]).is_err() && FrameFilters::new(&good[..9]).is_err());
        let good = synthetic::numbers_of_plane(1);
        assert!(Filters::new(&good).is_ok());
        assert!(Filters::new(&good[1..]).is_err());
        assert!(Filters::new(&[&good[..], &[0]].concat()).is_err());
        for limit in [0, 9, 65535] {
            let mut bad = good.clone();
            bad[0] = limit;
            assert!(Filters::new(&bad).is_err());
        }
        let mut bad = good;
        bad[1] = 32767;
        assert!(Filters::new(&bad).is_err());
    }
}
