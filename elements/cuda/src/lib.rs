// SPDX-License-Identifier: Apache-2.0
//! CUDA kernels for frames and tensors that stay on the GPU. Links neither GStreamer nor ONNX Runtime.
//!
//! * [`source`]: the kernels' text, one file each in `kernels/`, and their entries;
//! * [`launch`]: one start of a kernel: entry, grid, arguments. Launchers check every size and stride
//!   against the memory they are given, so a kernel never reads or writes beyond it;
//! * a module a family, with launcher and reference: [`convert`] (NV12, P010, RGBA and planes of red,
//!   green and blue), [`classify`] (crop, resize, normalise), [`codec`] (shuffles and rounding), [`lut`]
//!   (tables of three dimensions), [`point`] (tables of one);
//! * a module for an element where its numbers are its own: [`restore`], [`detect`],
//!   [`upscale`], [`denoise`], [`clahe`], [`image`], [`blur`]; the codec's decoder has [`motion`] and [`loop_filter`];
//! * [`measure`]: what can be said of a picture in a few numbers: thumbnails, noise, light;
//! * [`picture`]: pictures of 4:2:0 as frames have them, and from planes to them;
//! * [`search`] and [`errors`]: what the codec's encoder has beside the decoder's;
//! * [`compile`]: NVRTC, opened at run time; it compiles where there is no GPU, too;
//! * [`device`]: a GPU: memory, copies, launches;
//! * [`gstcuda`]: GStreamer's library for memory on the GPU, opened at run time;
//! * [`nvds`]: DeepStream's library of pools of frames there, likewise.
//!
//! The kernels' arithmetic is that of the CPU, operation by operation, so results are equal, not close.

pub mod blur;
pub mod clahe;
pub mod classify;
pub mod codec;
pub mod compile;
pub mod convert;
pub mod denoise;
pub mod detect;
pub mod device;
pub mod errors;
pub mod gstcuda;
pub mod image;
pub mod launch;
pub mod loop_filter;
pub mod lut;
pub mod measure;
pub mod motion;
pub mod nvds;
pub mod picture;
pub mod point;
pub mod restore;
pub mod search;
pub mod source;
pub mod steady;
pub mod upscale;

pub use launch::{Area, Element, Launch, LaunchError, Memory};
