// SPDX-License-Identifier: Apache-2.0
//! Enhancement of video: the element [`aienhance`], and the operations it chains.
//! Enhancement of sound: [`aiaudioenhance`]; scenes: [`aiscene`]. Neither needs ONNX Runtime.
//!
//! * [`audio`]: noise reduction, loudness, true peaks;
//! * [`spec`]: the `operations` text;
//! * [`operations`]: one module an operation;
//! * [`chain`]: operations one after the other;
//! * [`frame`], [`deep`]: what passes through a chain; [`blocks`]: how nets at half the size see it;
//! * [`cuts`]: is a picture the first of a scene?
//! * [`tables`]: colours replaced by table; [`hdr`]: light, and between its ranges;
//! * [`detect`]: objects, and the same object over time;
//! * [`scene`]: where scenes begin, and lists of them;
//! * [`stabilize`]: what a shaken camera did, and how to undo it;
//! * [`noise`]: how much noise a picture carries; [`temporal`]: what stands still is averaged;
//! * [`chroma`]: chroma at twice the size.

pub mod aiaudioenhance;
pub mod aidetect;
pub mod aienhance;
pub mod aiscene;
pub mod audio;
pub mod blocks;
pub mod chain;
pub mod chroma;
pub mod cuts;
pub use aivideo_core::deep;
pub mod detect;
pub mod device;
pub mod frame;
pub mod hdr;
pub mod noise;
pub mod operations;
pub mod scene;
pub mod spec;
pub mod stabilize;
pub mod tables;
pub mod temporal;

#[cfg(test)]
mod testing;

/// Registers every element of this crate.
pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    aienhance::register(plugin)?;
    aiaudioenhance::register(plugin)?;
    aiscene::register(plugin)?;
    aidetect::register(plugin)
}
