// SPDX-License-Identifier: Apache-2.0
//! What a quality means to the encoder's choices. None of this concerns the decoder.

use super::Picture;
use crate::motion::{BLOCK, Sample};
use rayon::prelude::*;

/// Best quality.
pub const MAX_QUALITY: u8 = 63;
/// The trainer's weight of the squared error against a bit, at quality 0 and at 63.
const LAMBDA: (f64, f64) = (0.0012, 0.12);
/// What coding a block is first taken to cost, in bits, until frames have been measured.
pub const SKIP_BITS: f64 = 64.0;
/// Inter frames whose bits are scarce may be coded below quality 0: as at 0, but with fewer blocks.
pub const MIN_QUALITY: i8 = -32;
/// Key frames get this much more quality: all that follows is predicted from them.
pub const KEY_BOOST: u8 = 24;

/// Added to the quality of inter frames, one after the other: what every fourth keeps, the others are
/// predicted from.
pub const CYCLE: [i8; 4] = [-6, -3, -6, 9];

/// Squared error (sum over a block) that one bit should save at this quality.
///
/// Below 0 the network works as at 0, but a bit must save more.
pub fn error_per_bit(quality: impl Into<f64>) -> f64 {
    let q = quality.into().min(f64::from(MAX_QUALITY)) / f64::from(MAX_QUALITY);
    1.0 / (LAMBDA.0 * (LAMBDA.1 / LAMBDA.0).powf(q))
}

/// An improvement by the residual counts so many times in frames that are predicted, and in key frames, as what follows
/// keeps it.
const RESIDUAL: [f64; 2] = [3.0, 4.7];

/// Squared error that a bit of the residual should save.
pub fn residual_worth(quality: i8, key: bool) -> f64 {
    error_per_bit(quality) / RESIDUAL[usize::from(key)]
}

/// A sum of squares in those of eight bits: what it means for the choices does not depend on the depth.
#[inline(always)]
fn in_eight_bits<S: Sample>(squares: u32) -> u32 {
    match 2 * (S::BITS - 8) {
        0 => squares,
        shift => (squares + (1 << (shift - 1))) >> shift,
    }
}

/// Squared errors of all blocks, luma and chroma together.
pub fn block_errors<S: Sample>(source: &Picture<S>, other: &Picture<S>) -> Vec<u32> {
    let width = source.width;
    let columns = width / BLOCK;
    let mut errors = vec![0; columns * (source.height / BLOCK)];
    let block = |row: usize, column: usize| {
        let half = width / 2;
        let plane = source.uv.len() / 2;
        let luma = row * BLOCK * width + column * BLOCK;
        let chroma = row * BLOCK / 2 * half + column * BLOCK / 2;
        let at = |at| squared_error::<{ BLOCK / 2 }, S>(&source.uv, &other.uv, at, half);
        let luma = squared_error::<BLOCK, S>(&source.y, &other.y, luma, width);
        in_eight_bits::<S>(luma + at(chroma) + at(plane + chroma))
    };
    errors
        .par_chunks_mut(columns)
        .enumerate()
        .for_each(|(row, errors)| {
            for (column, error) in errors.iter_mut().enumerate() {
                *error = block(row, column);
            }
        });
    errors
}

/// Squared deviations of all blocks' samples from their plane's mean in the block: what a block costs
/// that nothing predicts.
pub fn block_variations<S: Sample>(source: &Picture<S>) -> Vec<u32> {
    let width = source.width;
    let columns = width / BLOCK;
    let mut variations = vec![0; columns * (source.height / BLOCK)];
    let block = |row: usize, column: usize| {
        let half = width / 2;
        let plane = source.uv.len() / 2;
        let luma = row * BLOCK * width + column * BLOCK;
        let chroma = row * BLOCK / 2 * half + column * BLOCK / 2;
        let at = |at| deviation::<{ BLOCK / 2 }, S>(&source.uv, at, half);
        let luma = deviation::<BLOCK, S>(&source.y, luma, width);
        in_eight_bits::<S>(luma + at(chroma) + at(plane + chroma))
    };
    variations
        .par_chunks_mut(columns)
        .enumerate()
        .for_each(|(row, variations)| {
            for (column, variation) in variations.iter_mut().enumerate() {
                *variation = block(row, column);
            }
        });
    variations
}

/// Mean over the blocks of the root of the squared error: what a frame costs grows with it.
pub fn complexity(errors: &[u32]) -> f64 {
    let sum: f64 = errors.iter().map(|&e| f64::from(e).sqrt()).sum();
    sum / errors.len().max(1) as f64
}

/// A new scene is this much harder to predict than what came before...
pub const CUT_AGAINST_USUAL: f64 = 2.0;
/// ... and about as hard as if every block were predicted by its own mean.
pub const CUT_AGAINST_MEAN: f64 = 0.7;

/// Skips, beyond what is skipped already, all blocks but those that coding brings most a bit: they
/// may take `share` of what all took. `costs` are of an earlier attempt.
pub fn keep_worthiest(errors: &[u32], costs: &[u32], share: f64, skip: &mut [bool]) {
    let total: f64 = costs.iter().map(|&c| f64::from(c)).sum();
    let mut order: Vec<usize> = (0..skip.len()).filter(|&at| !skip[at]).collect();
    let worth = |at: usize| f64::from(errors[at]) / f64::from(costs[at].max(256));
    order.sort_by(|&a, &b| worth(b).total_cmp(&worth(a)));
    let mut left = share * total;
    for at in order {
        left -= f64::from(costs[at]);
        skip[at] = left < 0.0;
    }
}

/// Classes of prediction error, half an octave each.
const CLASSES: usize = 28;
/// Blocks that a class's own measurements must outweigh.
const PRIOR_WEIGHT: f64 = 6.0;
/// What a class remembers from frame to frame: the scene changes, and what is skipped is not measured.
const MEMORY: f64 = 0.9;
/// How much of an improvement the following frames keep.
pub const LASTING: f64 = 0.8;

/// Learns while coding what the network makes of blocks, by how well they were predicted, and
/// decides by that which are better left as predicted. Errors count in bits' worth.
#[derive(Debug, Clone)]
pub struct SkipModel {
    classes: [Class; CLASSES],
    first_bits: f64,
    lasting: f64,
}

/// Sums over a class's coded blocks.
#[derive(Debug, Clone, Copy, Default)]
struct Class {
    blocks: f64,
    predicted: f64,
    coded: f64,
    bits: f64,
}

impl SkipModel {
    /// `first_bits`: what a block costs before anything is known.
    pub fn new(first_bits: f64, lasting: f64) -> Self {
        Self {
            classes: [Class::default(); CLASSES],
            first_bits,
            lasting,
        }
    }

    fn class(error: f64) -> usize {
        ((2.0 * error.max(1.0).log2()) as usize).min(CLASSES - 1)
    }

    /// For each class the error below which its blocks are skipped.
    fn thresholds(&self) -> [f64; CLASSES] {
        let mut thresholds = [0.0; CLASSES];
        // What is known of the class above stands in for what is not yet known of this one.
        let (mut kept, mut bits) = (0.0, self.first_bits);
        for (class, threshold) in self.classes.iter().zip(&mut thresholds).rev() {
            let weight = class.blocks + PRIOR_WEIGHT;
            let own = if class.predicted > 0.0 {
                class.coded / class.predicted
            } else {
                0.0
            };
            kept = (class.blocks * own + PRIOR_WEIGHT * kept) / weight;
            bits = (class.bits + PRIOR_WEIGHT * bits) / weight;
            let gain = (1.0 - kept) * (1.0 + self.lasting);
            *threshold = if gain > 0.01 {
                bits / gain
            } else {
                f64::INFINITY
            };
        }
        thresholds
    }

    /// Marks the blocks to be skipped, given their prediction's errors.
    pub fn choose(&self, errors: &[u32], quality: i8, skip: &mut [bool]) {
        let worth = error_per_bit(quality);
        let thresholds = self.thresholds();
        for (skip, &error) in skip.iter_mut().zip(errors) {
            let error = f64::from(error) / worth;
            *skip = error < thresholds[Self::class(error)];
        }
    }

    /// Learns from a coded frame: for each block the errors of its prediction and of its
    /// reconstruction, and its cost in 256ths of a bit.
    pub fn learn(
        &mut self,
        predicted: &[u32],
        coded: &[u32],
        costs: &[u32],
        skip: &[bool],
        quality: i8,
    ) {
        let worth = error_per_bit(quality);
        for class in &mut self.classes {
            class.blocks *= MEMORY;
            class.predicted *= MEMORY;
            class.coded *= MEMORY;
            class.bits *= MEMORY;
        }
        for (at, _) in skip.iter().enumerate().filter(|(_, skip)| !**skip) {
            let error = f64::from(predicted[at]) / worth;
            let class = &mut self.classes[Self::class(error)];
            class.blocks += 1.0;
            class.predicted += error;
            class.coded += f64::from(coded[at]) / worth;
            class.bits += f64::from(costs[at]) / 256.0;
        }
    }
}

/// Squared error of a block, 30 levels a sample of luma, that no picture has which was coded as it should.
const APART: u64 = 256 * 30 * 30;

/// Whether the network has come apart over a frame, given the errors of its blocks' predictions and of what was made of
/// them: it can where predictions are bad everywhere, frame after frame, and what it keeps then spoils all that follow. A
/// frame that is only hard is no worse than its prediction.
pub fn came_apart(predicted: &[u32], result: &[u32]) -> bool {
    let sum = |errors: &[u32]| errors.iter().map(|error| u64::from(*error)).sum::<u64>();
    let most = APART * result.len() as u64;
    let (predicted, result) = (sum(predicted), sum(result));
    result > most && result > 2 * predicted
}

/// At most 256 * 1023 * 1023 with ten bits, and twice half of that of chroma: within 32 bits.
#[inline(always)]
fn squared_error<const N: usize, S: Sample>(a: &[S], b: &[S], at: usize, stride: usize) -> u32 {
    let mut sum = 0u32;
    for i in 0..N {
        let a = &a[at + i * stride..][..N];
        let b = &b[at + i * stride..][..N];
        for j in 0..N {
            let d = a[j].value() - b[j].value();
            sum += (d * d) as u32;
        }
    }
    sum
}

#[inline(always)]
fn deviation<const N: usize, S: Sample>(samples: &[S], at: usize, stride: usize) -> u32 {
    let (mut sum, mut squares) = (0u32, 0u32);
    for i in 0..N {
        for &v in &samples[at + i * stride..][..N] {
            let v = v.value() as u32;
            sum += v;
            squares += v * v;
        }
    }
    // The sum of 256 samples squared needs more than 32 bits, the quotient does not.
    squares - (u64::from(sum) * u64::from(sum) / (N * N) as u64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_better_picture_makes_bits_cheap() {
        assert!((-20..63i8).all(|q| error_per_bit(q) > error_per_bit(q + 1)));
    }

    #[test]
    fn errors_are_those_of_the_blocks() {
        let a = Picture::<u8>::grey(64, 64);
        let mut b = a.clone();
        b.y[0] = 138;
        b.uv[8] = 125;
        let mut expected = vec![0; 16];
        (expected[0], expected[1]) = (100, 9);
        assert_eq!(block_errors(&a, &b), expected);
    }

    #[test]
    fn ten_bits_count_as_eight() {
        let (eight, ten) = (Picture::<u8>::grey(64, 64), Picture::<u16>::grey(64, 64));
        let (mut a, mut b) = (eight.clone(), ten.clone());
        for (i, (a, b)) in a.y.iter_mut().zip(&mut b.y).enumerate() {
            *a = (i * 7 % 256) as u8;
            *b = 4 * u16::from(*a);
        }
        assert_eq!(block_errors(&eight, &a), block_errors(&ten, &b));
        let (eight, ten) = (block_variations(&a), block_variations(&b));
        // The mean's part is rounded once, not before it is divided.
        assert!(eight.iter().zip(&ten).all(|(a, b)| a.abs_diff(*b) <= 1));
        // The largest error there is.
        let (mut black, mut white) = (Picture::<u16>::grey(64, 64), Picture::grey(64, 64));
        black.y.fill(0);
        black.uv.fill(0);
        white.y.fill(1023);
        white.uv.fill(1023);
        assert_eq!(block_errors(&black, &white), vec![24 * 1023 * 1023; 16]);
        assert_eq!(block_variations(&white), vec![0; 16]);
    }

    #[test]
    fn a_hard_frame_has_not_come_apart() {
        let limit = APART as u32;
        assert!(!came_apart(&[], &[]));
        // No worse than its prediction; worse, and sound; one block of many.
        assert!(!came_apart(&[9 * limit; 4], &[9 * limit; 4]));
        assert!(!came_apart(&[0; 4], &[limit; 4]));
        assert!(!came_apart(&[0; 4], &[3 * limit, 0, 0, 0]));
        assert!(came_apart(&[limit; 4], &[2 * limit + 1; 4]));
        assert!(came_apart(&[0; 4], &[5 * limit, 0, 0, 0]));
    }

    #[test]
    fn only_the_worthiest_blocks_are_kept() {
        let (errors, costs) = ([900, 100, 500, 800], [2560, 2560, 2560, 2560]);
        let mut skip = [false, false, false, true];
        keep_worthiest(&errors, &costs, 0.55, &mut skip);
        assert_eq!(skip, [false, true, false, true]);
        keep_worthiest(&errors, &costs, 0.0, &mut skip);
        assert_eq!(skip, [true; 4]);
    }

    #[test]
    fn variations_are_about_the_mean() {
        let mut picture = Picture::<u8>::grey(64, 64);
        picture.y.fill(200);
        assert_eq!(block_variations(&picture), vec![0; 16]);
        for (i, v) in picture.y.iter_mut().enumerate() {
            *v = 100 + (i % 2) as u8 * 4;
        }
        assert_eq!(block_variations(&picture), vec![256 * 4; 16]);
        assert_eq!(complexity(&block_variations(&picture)), 32.0);
    }

    #[test]
    fn skipping_follows_what_coding_brings() {
        let worth = error_per_bit(20i8);
        let error = |bits: f64| (bits * worth) as u32;
        let chosen = |model: &SkipModel, bits: f64| {
            let mut skip = [false];
            model.choose(&[error(bits)], 20, &mut skip);
            skip[0]
        };
        let mut model = SkipModel::new(64.0, LASTING);
        assert!(chosen(&model, 30.0) && !chosen(&model, 90.0));
        // Coding costs much and hardly helps: skip more.
        for _ in 0..20 {
            model.learn(
                &[error(90.0); 50],
                &[error(80.0); 50],
                &[60 * 256; 50],
                &[false; 50],
                20,
            );
        }
        assert!(chosen(&model, 90.0));
        // Coding is cheap and helps: skip less, also where nothing was measured.
        let mut model = SkipModel::new(64.0, LASTING);
        for _ in 0..20 {
            model.learn(
                &[error(90.0); 50],
                &[error(9.0); 50],
                &[9 * 256; 50],
                &[false; 50],
                20,
            );
        }
        assert!(!chosen(&model, 90.0) && !chosen(&model, 40.0) && chosen(&model, 5.0));
    }
}
