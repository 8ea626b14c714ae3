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
mod levels;
mod prices;
pub mod quantizer;
pub mod transform;

use crate::motion::{BLOCK, Sample};
use code::{DIVIDED, QUARTERS, Shape, Square, WHOLE};
use transform::SIDE;

/// How far apart the multiples of a [state](quantizer::State) are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Of a sample's step.
    quarters: i32,
}

/// By quality: 1.95 times the root of the squared error that a bit is worth there, in quarters of a sample's step of eight bits.
const STEPS: [u8; 64] = [
    225, 217, 209, 202, 195, 187, 181, 174, 168, 163, 156, 151, 146, 140, 135, 130, 126, 121, 117,
    112, 108, 104, 101, 98, 94, 90, 87, 85, 81, 78, 75, 73, 70, 68, 65, 62, 60, 59, 56, 55, 52, 51,
    48, 47, 46, 43, 42, 40, 39, 38, 36, 35, 34, 33, 31, 30, 29, 29, 27, 26, 25, 25, 23, 22,
];

impl Scale {
    /// For a quality, at most 63, and a depth.
    pub fn new(quality: u8, bits: u8) -> Self {
        let step = STEPS[usize::from(quality).min(STEPS.len() - 1)];
        Self {
            quarters: i32::from(step) << (bits - 8),
        }
    }

    /// Half a step, in eighths of a sample's. Chroma's errors count a quarter of luma's, so its steps are twice as large.
    pub fn half(self, chroma: bool) -> i32 {
        self.quarters << u8::from(chroma)
    }

    fn step(self, chroma: bool) -> f32 {
        self.half(chroma) as f32 / 4.0
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

/// What of a square at a place of a plane, so many samples wide, is transformed at once, in half steps and with its place: the square itself, or those
/// of its four fine ones that have levels.
pub fn transformed(square: &Square, place: usize, width: usize) -> Vec<(usize, Box<[i16]>)> {
    let halves = quantizer::halves(square.shape(), &square.levels);
    if square.shape() != Shape::Fine {
        return vec![(place, halves)];
    }
    let (side, fine) = (square.shape().side(), square.shape().transformed());
    let corners = (0..halves.len()).filter(|at| at % fine == 0 && (at / side).is_multiple_of(fine));
    let all = corners.map(|corner| {
        let row = |row: usize| &halves[corner + side * row..][..fine];
        let halves: Box<[i16]> = (0..fine).flat_map(row).copied().collect();
        (place + corner / side * width + corner % side, halves)
    });
    all.filter(|(_, halves)| halves.iter().any(|half| *half != 0))
        .collect()
}

/// What a square's levels stand for, row by row.
pub fn differences(square: &Square, scale: Scale) -> Box<[i32]> {
    let shape = square.shape();
    let half = scale.half(shape == Shape::Chroma);
    let halves = quantizer::halves(shape, &square.levels);
    let coefficient = |at: usize| i32::from(halves[at]) * half;
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
