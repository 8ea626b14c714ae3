// SPDX-License-Identifier: Apache-2.0
//! Parts shared by the gst-aivideo elements.
//!
//! * [`pixels`]: pictures whatever their strides and chroma layout. Needs nothing else;
//! * [`deep`]: the same of ten bits;
//! * [`control`]: properties that follow controllers;
//! * [`element`]: what elements write alike.
//!
//! With the feature `cuda`:
//! * [`cuda`]: frames that stay in a GPU's memory, [`nvmm`]: those of DeepStream.
//!
//! With the feature `onnx` (on by default), which has that one inside:
//! * [`runtime`]: finding and loading ONNX Runtime, once a process;
//! * [`model`]: model files, embedded or on disk;
//! * [`tensor`]: tensors that own their memory;
//! * [`settings`]: the one group of inference properties;
//! * [`provider`]: CPU, CUDA and TensorRT, and what is missing when they are refused;
//! * [`engine`]: one model loaded once, shared by its users, run by one worker thread;
//! * [`kernels`]: nets of this project that do without ONNX Runtime on a CPU;
//! * [`stats`]: what an engine did, as a `GstStructure`;
//! * [`meta`]: the classification result that rides on buffers;
//! * [`error`]: what went wrong, as a GStreamer error message.

pub mod control;
pub mod deep;
pub mod element;
pub mod pixels;

#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(feature = "onnx")]
pub mod engine;
#[cfg(feature = "onnx")]
pub mod error;
#[cfg(feature = "onnx")]
pub mod kernels;
#[cfg(feature = "onnx")]
pub use aivideo_meta::classification as meta;
#[cfg(feature = "onnx")]
pub mod model;
#[cfg(feature = "cuda")]
pub mod nvmm;
#[cfg(feature = "onnx")]
pub mod provider;
#[cfg(feature = "onnx")]
pub mod runtime;
#[cfg(feature = "onnx")]
pub mod settings;
#[cfg(feature = "onnx")]
pub mod stats;
#[cfg(feature = "onnx")]
pub mod tensor;
