// SPDX-License-Identifier: Apache-2.0
//! Boxes, labels and scores drawn on pictures of any layout.
//!
//! * [`canvas`]: blending into the samples of a frame, whatever their order, depth and subsampling;
//! * [`text`]: words as masks;
//! * [`scene`]: what is drawn where.

pub mod canvas;
pub mod scene;
pub mod text;
