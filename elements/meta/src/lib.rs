// SPDX-License-Identifier: Apache-2.0
//! What models found in a video, as metas on its buffers. Needs no ONNX Runtime.
//!
//! * [`classification`]: what happens in a clip, as a `GstCustomMeta`;
//! * [`detection`]: objects with their boxes, as `GstVideoRegionOfInterestMeta`.
//!
//! With the feature `elements` (on by default), what is made of them:
//! * [`json`]: a frame's results as a line of JSON, and the element `aimetaconvert`;
//! * [`publish`]: lines to files, MQTT and Kafka, and the element `aimetapublish`;
//! * [`overlay`]: results drawn on frames, and the element `aioverlay`.
//!
//! With the feature `analytics` (GStreamer 1.24) both are also written as, and read from,
//! `GstAnalyticsRelationMeta`, which stock elements understand. Callers need not know.

#[cfg(feature = "elements")]
mod aimetaconvert;
#[cfg(feature = "elements")]
mod aimetapublish;
#[cfg(feature = "elements")]
mod aioverlay;
#[cfg(feature = "analytics")]
mod analytics;
pub mod classification;
pub mod detection;
#[cfg(feature = "elements")]
pub mod json;
#[cfg(feature = "elements")]
pub mod overlay;
#[cfg(feature = "elements")]
pub mod publish;

pub use classification::ClassificationResult;
pub use detection::Detection;

/// Registers the elements.
#[cfg(feature = "elements")]
pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    aimetaconvert::register(plugin)?;
    aimetapublish::register(plugin)?;
    aioverlay::register(plugin)
}
