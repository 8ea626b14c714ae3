// SPDX-License-Identifier: Apache-2.0
//! The hybrid profile: a standard AV1, H.265 or H.264 stream, restored by a net where our decoder
//! is at the other end.
//!
//! * [`hint`]: what the encoder tells the restorer;
//! * [`sei`], [`obu`]: how that travels in the standard streams;
//! * [`restore`]: the net on pictures;
//! * [`airestore`], [`aihybridenc`], [`aihybriddec`]: the elements.

use gst::glib;

pub mod aihybriddec;
pub mod aihybridenc;
pub mod airestore;
mod carriage;
pub mod hint;
pub mod obu;
mod pads;
pub mod restore;
pub mod sei;

pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    airestore::register(plugin)?;
    aihybridenc::register(plugin)?;
    aihybriddec::register(plugin)
}
