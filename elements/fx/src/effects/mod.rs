// SPDX-License-Identifier: Apache-2.0
//! The effects, a module each, and what several of them share.

pub mod blur;
pub mod bokeh;
pub mod box_blur;
pub mod cartoon;
pub mod chroma_key;
pub mod dither;
pub mod duotone;
pub mod edge;
pub mod emboss;
pub mod glitch;
pub mod halftone;
pub mod invert;
pub mod kaleidoscope;
pub mod lut;
pub mod mirror;
pub mod neon;
pub mod old_film;
pub mod pixelate;
pub mod posterize;
pub mod rgb_shift;
pub mod scanlines;
pub mod sepia;
pub mod sharpen;
pub mod thermal;
pub mod threshold;
pub mod trails;
pub mod vhs;
pub mod vignette;

mod convert;
pub mod gaussian;
mod grain;
mod large;
mod relief;
mod tint;

#[cfg(test)]
mod testing;
