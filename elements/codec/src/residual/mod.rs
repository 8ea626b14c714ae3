// SPDX-License-Identifier: Apache-2.0
//! What the network, or the prediction, left of a picture's errors, where that is worth its bits: levels of cosine transforms,
//! added to the picture. A block of 16x16 samples has four squares of luma, each of which may be four fine ones, or a large one, and one
//! square of either chroma.
//!
//! The network's latents are fewer than a block's samples, so what they cannot say, texture and sharp detail at
//! high rates, would be lost whatever the quality. A transform can say all of it, and what one frame was given
//! the following ones are predicted from.

pub mod choose;
pub mod code;
pub mod transform;

use crate::motion::{BLOCK, Sample};
use code::{DIVIDED, QUARTERS, Shape, Square, WHOLE};
use std::borrow::Cow;
use transform::SIDE;

/// What a level of one stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Of a step of samples.
    quarters: i32,
}

/// By quality: 1.5 times the root of the squared error that a bit is worth there, in quarters of a step of eight bits.
const STEPS: [u8; 64] = [
    173, 167, 161, 155, 150, 144, 139, 134, 129, 125, 120, 116, 112, 108, 104, 100, 97, 93, 90, 86,
    83, 80, 78, 75, 72, 69, 67, 65, 62, 60, 58, 56, 54, 52, 50, 48, 46, 45, 43, 42, 40, 39, 37, 36,
    35, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 22, 21, 20, 19, 19, 18, 17,
];

impl Scale {
    /// For a quality, at most 63, and a depth.
    pub fn new(quality: u8, bits: u8) -> Self {
        let step = STEPS[usize::from(quality).min(STEPS.len() - 1)];
        Self {
            quarters: i32::from(step) << (bits - 8),
        }
    }

    /// Of a step of samples. Chroma's errors count a quarter of luma's, so its steps are twice as large.
    pub fn quarters(self, chroma: bool) -> i32 {
        self.quarters << u8::from(chroma)
    }

    fn step(self, chroma: bool) -> f32 {
        self.quarters(chroma) as f32 / 4.0
    }
}

/// Luma, U and V of whole rows of blocks.
#[derive(Debug)]
pub struct Area<'a, S> {
    /// Samples of luma in a row.
    pub width: usize,
    pub y: &'a mut [S],
    pub u: &'a mut [S],
    pub v: &'a mut [S],
}

/// The first sample of a block's square in its plane, and the samples in a row there, where luma is so many samples wide.
pub fn place(width: usize, block: u32, part: u8) -> (usize, usize) {
    let (across, part) = (width / BLOCK, usize::from(part));
    let (row, column) = (block as usize / across, block as usize % across);
    let (down, right) = match part {
        0..QUARTERS => (SIDE * (part / 2), SIDE * (part % 2)),
        DIVIDED.. => (SIDE * ((part - DIVIDED) / 2), SIDE * ((part - DIVIDED) % 2)),
        WHOLE => (0, 0),
        _ => return (SIDE * row * (width / 2) + SIDE * column, width / 2),
    };
    let at = (BLOCK * row + down) * width + BLOCK * column + right;
    (at, width)
}

/// What of a square at a place of a plane, so many samples wide, is transformed at once, with its place: the square itself, or those of its four
/// fine ones that have levels.
pub fn transformed(square: &Square, place: usize, width: usize) -> Vec<(usize, Cow<'_, [i16]>)> {
    if square.shape() != Shape::Fine {
        return vec![(place, Cow::Borrowed(&square.levels[..]))];
    }
    let (side, fine) = (square.shape().side(), square.shape().transformed());
    let corners =
        (0..square.levels.len()).filter(|at| at % fine == 0 && (at / side).is_multiple_of(fine));
    let all = corners.map(|corner| {
        let row = |row: usize| &square.levels[corner + side * row..][..fine];
        let levels: Vec<i16> = (0..fine).flat_map(row).copied().collect();
        let place = place + corner / side * width + corner % side;
        (place, Cow::<[i16]>::Owned(levels))
    });
    all.filter(|(_, levels)| levels.iter().any(|level| *level != 0))
        .collect()
}

/// What a square's levels stand for, row by row.
pub fn differences(square: &Square, scale: Scale) -> Box<[i32]> {
    let shape = square.shape();
    let step = scale.quarters(shape == Shape::Chroma);
    let coefficient = |at: usize| i32::from(square.levels[at]) * step;
    match shape {
        Shape::Large => Box::new(transform::inverse_large(&std::array::from_fn(coefficient))),
        Shape::Luma | Shape::Chroma => {
            Box::new(transform::inverse(&std::array::from_fn(coefficient)))
        }
        Shape::Fine => Box::new(transform::inverse_fine(&std::array::from_fn(coefficient))),
    }
}

impl<S: Sample> Area<'_, S> {
    fn plane(&mut self, part: u8) -> &mut [S] {
        match usize::from(part) {
            0..QUARTERS | WHOLE | DIVIDED.. => self.y,
            QUARTERS => self.u,
            _ => self.v,
        }
    }

    /// By how much a square's levels lessen the squared error. `source` begins at the square.
    pub fn gain(&mut self, source: &[S], square: &Square, scale: Scale) -> i64 {
        let differences = differences(square, scale);
        let side = square.shape().side();
        let (at, stride) = place(self.width, square.block, square.part);
        let made = &self.plane(square.part)[at..];
        let mut gain = 0i64;
        for (row, differences) in differences.chunks_exact(side).enumerate() {
            let at = row * stride;
            let samples = source[at..][..side].iter().zip(&made[at..][..side]);
            for ((source, made), difference) in samples.zip(differences) {
                let before = source.value() - made.value();
                let after = source.value() - S::clip(made.value() + difference).value();
                gain += i64::from(before * before - after * after);
            }
        }
        gain
    }

    /// Adds what a square's levels stand for.
    pub fn add(&mut self, square: &Square, scale: Scale) {
        let differences = differences(square, scale);
        let side = square.shape().side();
        let (at, stride) = place(self.width, square.block, square.part);
        let plane = self.plane(square.part);
        for (row, differences) in differences.chunks_exact(side).enumerate() {
            let row = &mut plane[at + row * stride..][..side];
            for (sample, difference) in row.iter_mut().zip(differences) {
                *sample = S::clip(sample.value() + difference);
            }
        }
    }
}

/// The classes of so many blocks, from their symbols and whether they are skipped.
pub fn classes(count: usize, y: &[i16], skip: &[bool]) -> Vec<u8> {
    let mut sums = vec![0u32; count];
    for channel in y.chunks_exact(count) {
        for (sum, symbol) in sums.iter_mut().zip(channel) {
            *sum += u32::from(symbol.unsigned_abs());
        }
    }
    let blocks = sums.iter().zip(skip);
    blocks
        .map(|(&sum, &skip)| code::class((!skip).then_some(sum)))
        .collect()
}
