// SPDX-License-Identifier: Apache-2.0
//! Pictures as the effects see them, whatever the memory layout.
//!
//! A [`RawFrame`] is the caller's memory: planes of bytes with strides, in one of the
//! [`PixelFormat`]s. Effects never look at it. They see either a [`Band`] (one chroma row and the
//! luma rows that share it, each component a contiguous row) or a [`Picture`] (three whole
//! component planes). Planar formats are borrowed for this, the others are unpacked and packed
//! again around the effect.

mod bands;
mod color;
mod format;
mod frame;
mod planes;
mod rows;
mod shape;

#[cfg(test)]
mod tests;

pub use bands::{Band, BandScratch};
pub use color::Colorimetry;
pub use format::{Family, PixelFormat};
pub use frame::{FrameError, RawFrame, RawPlane};
pub use planes::{Picture, PictureScratch, Plane};
pub use shape::Shape;
pub(crate) use shape::div_up;

/// The first `len` bytes of a buffer that grows when needed.
pub(crate) fn fit(buffer: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    &mut buffer[..len]
}
