// SPDX-License-Identifier: Apache-2.0
//! Enhancement of video by trained nets: the element [`aienhance`], and the operations it chains.
//!
//! * [`spec`]: the `operations` text;
//! * [`operations`]: one module an operation, and the chain;
//! * [`noise`]: how much noise a picture carries;
//! * [`chroma`]: chroma at twice the size.

pub mod aienhance;
pub mod chroma;
pub mod noise;
pub mod operations;
pub mod spec;

#[cfg(test)]
mod testing;

/// Registers every element of this crate.
pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    aienhance::register(plugin)
}
