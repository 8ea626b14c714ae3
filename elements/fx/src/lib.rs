// SPDX-License-Identifier: Apache-2.0
//! `fxfilter`: video effects.
//!
//! All but [`fxfilter`] knows no GStreamer:
//! * [`registry`]: the effects, with their typed parameters;
//! * [`parse`]: chains of effects as text;
//! * [`cube`]: tables of colours, from files;
//! * [`chain`]: chains prepared for a kind of picture, and run;
//! * [`card`]: chains of tables on frames in a GPU's memory;
//! * [`deep`]: pictures of ten bits, for effects on single pixels;
//! * [`effects`]: a module an effect;
//! * [`picture`]: pictures in every memory layout;
//! * [`simd`]: the inner loops, and the only unsafe code.

pub mod card;
pub mod chain;
pub use aivideo_color::cube;
pub mod deep;
pub mod effects;
pub mod params;
pub mod parse;
pub mod pass;
pub mod picture;
pub mod registry;
pub mod simd;
pub mod workers;

pub mod fxfilter;

#[cfg(feature = "inference")]
pub mod background;

/// Registers the element that needs no ONNX Runtime.
pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    fxfilter::register(plugin)
}

/// Registers the element that runs a model.
#[cfg(feature = "inference")]
pub fn register_inference(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    background::register(plugin)
}
