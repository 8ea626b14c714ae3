// SPDX-License-Identifier: Apache-2.0
//! What an effect becomes once its parameters and the picture's shape are known.
//!
//! Effects come in three kinds, from cheap to dear: tables for each component, which whole chains
//! of fold into one; rows, which share one walk over the picture; and whole pictures.

use std::cell::RefCell;

use aivideo_color::table::ColorTable;

use crate::effects::box_blur::Window;
use crate::picture::{Band, Picture, PixelFormat, Shape};
use crate::simd::lut::Lut;
use crate::workers::Tools;

/// What an effect is built for.
#[derive(Clone, Debug)]
pub struct Build {
    pub shape: Shape,
    /// Differs between the places of a chain, so that two random effects differ.
    pub salt: u64,
    /// True where pixels have an alpha component.
    pub alpha: bool,
    /// What people should know: see [`Build::note`].
    pub notes: RefCell<Vec<String>>,
}

impl Build {
    pub fn new(format: PixelFormat, shape: Shape, salt: u64) -> Self {
        Self {
            shape,
            salt,
            alpha: format.alpha().is_some(),
            notes: RefCell::default(),
        }
    }

    /// Tells people that the effect cannot do what they asked for, and what would help.
    pub fn note(&self, text: &str) {
        self.notes.borrow_mut().push(text.to_string());
    }
}

/// When a frame is shown, and the seed of its randomness. The same moment gives the same picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Stream time in nanoseconds; a frame count where a stream has no time.
    pub time: u64,
    pub seed: u64,
}

impl Moment {
    /// Number of the step that time is in, with `rate` steps a second.
    pub fn step(&self, rate: f64) -> u64 {
        (self.time as f64 * 1e-9 * rate) as u64
    }
}

/// An effect, ready to run.
pub enum Pass {
    /// The picture stays as it is.
    Nothing,
    /// A function of each component alone, the same everywhere.
    Luts(Box<[Lut; 3]>),
    Rows(Box<dyn RowPass>),
    Picture(Box<dyn PicturePass>),
}

/// An effect that needs no more than a band.
pub trait RowPass: Send + Sync {
    fn run(&self, band: &mut Band, moment: &Moment, scratch: &mut RowScratch);

    /// True when bands come with their alpha.
    fn wants_alpha(&self) -> bool {
        false
    }

    /// True when bands must come one after the other from the top.
    fn is_sequential(&self) -> bool {
        false
    }

    /// Where it is nothing but a table for the picture's own components: that.
    fn color_table(&self) -> Option<&ColorTable> {
        None
    }
}

/// An effect that needs the picture around a pixel.
pub trait PicturePass: Send + Sync {
    fn run(&self, picture: &mut Picture, moment: &Moment, tools: &Tools);
}

/// Row buffers for [`RowPass`], one set a thread, kept between frames.
#[derive(Default)]
pub struct RowScratch {
    pub bytes: [Vec<u8>; 6],
    pub window: Window,
    pub gain: Vec<u16>,
    pub gain_chroma: Vec<u16>,
}

/// Mixes numbers into one that looks random (the finaliser of SplitMix64).
pub fn hash(values: &[u64]) -> u64 {
    values.iter().fold(0x9e37_79b9_7f4a_7c15, |state, value| {
        let mut z = (state ^ value).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// A hash as a number of 0 to 1, 1 excluded.
pub fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_even_and_repeat() {
        let mean = (0..4096).map(|i| unit(hash(&[7, i]))).sum::<f64>() / 4096.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        assert_eq!(hash(&[1, 2]), hash(&[1, 2]));
        assert_ne!(hash(&[1, 2]), hash(&[2, 1]));
    }

    #[test]
    fn steps_follow_time() {
        let at = |time| Moment { time, seed: 0 }.step(8.0);
        assert_eq!([at(0), at(124_999_999), at(125_000_001)], [0, 0, 1]);
    }
}
