// SPDX-License-Identifier: Apache-2.0
//! `vjepa2classify`: names what happens in a video, from short clips of its frames.
//!
//! * [`clip`]: which frames make a clip;
//! * [`preprocess`]: from a frame's planes to the model's input;
//! * [`model`]: what a model file says about itself;
//! * [`scores`]: from a model's output to labels;
//! * the element itself.

pub mod clip;
pub mod model;
pub mod preprocess;
pub mod scores;
mod vjepa2classify;

pub use vjepa2classify::{MESSAGE, MODEL_MESSAGE, Vjepa2Classify};

/// Registers every element of this crate.
pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    vjepa2classify::register(plugin)
}
