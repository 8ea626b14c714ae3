// SPDX-License-Identifier: Apache-2.0
//! `aidetect`: finds objects, follows them, and puts them on buffers as regions of interest.
//!
//! <!-- not run by the pipeline test: needs a model of yours -->
//! ```text
//! gst-launch-1.0 filesrc location=clip.mp4 ! decodebin ! videoconvert \
//!   ! aidetect model-location=yolox_nano.onnx sidecar-location=models/enhance/sidecars/yolox-nano.json \
//!   ! aioverlay ! videoconvert ! autovideosink
//! ```
//!
//! Pictures pass unchanged. Each object becomes a `GstVideoRegionOfInterestMeta` whose type is the
//! label, with a parameter `detection` (`confidence`, `label_id`, the box as fractions of the
//! picture) and, once it has been seen twice, a parameter `object_id`, as in DL Streamer; builds
//! with the feature `analytics` add `GstAnalyticsODMtd`.
//!
//! `model-location` names a model of the family YOLOX or D-FINE (none is built in), and a JSON file
//! beside it (`.json` for `.onnx`, or `sidecar-location`) says what it takes and gives;
//! docs/enhance-motion.md describes the file, and models/enhance/sidecars/ has those of YOLOX-nano
//! and of D-FINE.
//!
//! With `inference-interval=n` the model looks at every n-th picture, and objects that are followed
//! are moved on in between.
//!
//! With a model on a GPU (`device=cuda`) pictures may lie in its memory (`memory:CUDAMemory`, `memory:NVMM`) and stay
//! there; only the model's results leave it.

mod imp;

use glib::prelude::*;

glib::wrapper! {
    /// The element; see the module.
    pub struct AiDetect(ObjectSubclass<imp::AiDetect>) @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element.
pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    gst::Element::register(plugin, "aidetect", gst::Rank::NONE, AiDetect::static_type())
}
