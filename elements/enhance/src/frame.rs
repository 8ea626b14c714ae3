// SPDX-License-Identifier: Apache-2.0
//! What passes through a chain: pictures of eight or ten bits, and what their numbers mean.

use aivideo_core::pixels::Yuv420;

use crate::{chroma::Siting, deep::Yuv420Deep, detect::track::Tracked};

/// Bits of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Depth {
    #[default]
    Eight,
    Ten,
}

impl Depth {
    pub fn bits(self) -> u32 {
        match self {
            Self::Eight => 8,
            Self::Ten => 10,
        }
    }
}

/// From R'G'B' to Y'CbCr, and the primaries that go with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gamut {
    Bt601,
    #[default]
    Bt709,
    Bt2020,
}

impl Gamut {
    /// Weights of red and blue in luma.
    pub fn weights(self) -> (f64, f64) {
        match self {
            Self::Bt601 => (0.299, 0.114),
            Self::Bt709 => (0.2126, 0.0722),
            Self::Bt2020 => (0.2627, 0.0593),
        }
    }
}

/// What a code value means in light.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transfer {
    /// BT.709 and its kin, shown by BT.1886.
    #[default]
    Sdr,
    /// SMPTE ST 2084.
    Pq,
    /// ARIB STD-B67.
    Hlg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Colour {
    pub gamut: Gamut,
    pub transfer: Transfer,
    pub full_range: bool,
}

/// The form of the pictures between two steps of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Format {
    pub width: usize,
    pub height: usize,
    pub depth: Depth,
    pub colour: Colour,
    pub siting: Siting,
}

/// Planes of either depth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Picture {
    Eight(Yuv420),
    Ten(Yuv420Deep),
}

impl Picture {
    pub fn depth(&self) -> Depth {
        match self {
            Self::Eight(_) => Depth::Eight,
            Self::Ten(_) => Depth::Ten,
        }
    }

    pub fn size(&self) -> (usize, usize) {
        match self {
            Self::Eight(p) => (p.width, p.height),
            Self::Ten(p) => (p.width, p.height),
        }
    }
}

/// An object in a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    pub label: String,
    /// Its box in parts of the picture, 0 to 1: a step may enlarge the picture afterwards.
    pub tracked: Tracked,
}

/// A picture on its way through a chain.
#[derive(Debug, Clone)]
pub struct Frame {
    pub picture: Picture,
    /// The first of a scene, as far as the chain's detector can tell. Set only in chains with an
    /// operation that [wants to know](crate::operations::Operation::wants_cuts).
    pub cut: bool,
    /// Objects that a step has found.
    pub sightings: Vec<Sighting>,
}

impl Frame {
    pub fn new(picture: Picture) -> Self {
        Self {
            picture,
            cut: false,
            sightings: Vec::new(),
        }
    }
}
