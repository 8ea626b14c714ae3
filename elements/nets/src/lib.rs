// SPDX-License-Identifier: Apache-2.0
//! Convolutional networks on a CPU, layer by layer in kernels of our own.
//!
//! ONNX Runtime runs whatever comes; these are for nets that this project trains, whose layers are few
//! and of known kinds. Two things make them faster: rows stay in the processor's caches from layer to
//! layer, and 3x3 layers cost a quarter of their multiplications ([`conv`]). Weights come out of the
//! same ONNX files, by name ([`weights`]). Nothing here knows pictures or GStreamer.
//!
//! * [`isa`]: which instructions there are;
//! * [`dense`], [`depthwise`], [`conv`]: layers, row by row;
//! * [`map`]: feature maps; [`aligned`]: the memory that they are in;
//! * [`weights`]: arrays of an ONNX file; [`layers`]: layers of those, and threads that run them.

pub mod aligned;
#[cfg(target_arch = "x86_64")]
mod amx;
pub mod conv;
pub mod dense;
pub mod depthwise;
pub mod isa;
#[cfg(target_arch = "x86_64")]
mod lanes;
pub mod layers;
pub mod map;
mod transform;
pub mod weights;
