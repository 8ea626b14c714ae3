// SPDX-License-Identifier: Apache-2.0
//! The inner loops, and the only unsafe code of this crate.
//!
//! [`lut`] holds hand-written table look-ups (AVX-512 VBMI, AVX2), which a compiler does not find.
//! [`kernels`] are plain loops, compiled again for AVX2 and AVX-512 and chosen at run time. Neither
//! uses fused multiply-add, so every variant gives the same bits.
#![allow(unsafe_code)]

pub mod kernels;
pub mod lut;

pub use aivideo_color::level::Level;
#[cfg(test)]
pub use aivideo_color::level::forced;
