// SPDX-License-Identifier: Apache-2.0
//! What models found in a video, as metas on its buffers. Needs no ONNX Runtime.
//!
//! * [`classification`]: what happens in a clip, as a `GstCustomMeta`;
//! * [`detection`]: objects with their boxes, as `GstVideoRegionOfInterestMeta`.
//!
//! With the feature `analytics` (GStreamer 1.24) both are also written as, and read from,
//! `GstAnalyticsRelationMeta`, which stock elements understand. Callers need not know.

#[cfg(feature = "analytics")]
mod analytics;
pub mod classification;
pub mod detection;

pub use classification::ClassificationResult;
pub use detection::Detection;
