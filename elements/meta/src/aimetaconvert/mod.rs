// SPDX-License-Identifier: Apache-2.0
//! # aimetaconvert
//!
//! Turns what models found on frames into JSON, one line a frame. It reads the classifier's
//! `AiVideoClassificationMeta`, regions of interest of any detector and, when built with the feature
//! `analytics`, `GstAnalyticsRelationMeta`. `docs/metadata.md` documents the lines.
//!
//! What comes out is what the next element wants. As lines of a file:
//!
//! ```bash
//! gst-launch-1.0 videotestsrc num-buffers=100 ! video/x-raw,width=320,height=240 ! \
//!     vjepa2classify sync=true ! aimetaconvert source=test ! filesink location=results.jsonl
//! ```
//!
//! As text that a muxer stores beside the video (`text/x-raw`), or, where the next element wants
//! video, on the frames themselves as the meta `AiVideoJsonMeta`, for `aimetapublish` and
//! applications:
//!
//! ```bash
//! gst-launch-1.0 videotestsrc num-buffers=100 ! video/x-raw,width=320,height=240 ! \
//!     vjepa2classify sync=true ! aimetaconvert ! video/x-raw ! aimetapublish ! fakesink
//! ```
//!
//! Frames on which nothing was found give no line, unless `add-empty-results=true`.

use gst::prelude::*;

mod imp;

glib::wrapper! {
    /// The element.
    pub struct AiMetaConvert(ObjectSubclass<imp::AiMetaConvert>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Name of the structure in the element's messages.
pub const MESSAGE: &str = "aimetaconvert";

pub(crate) fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    gst::Element::register(
        plugin,
        "aimetaconvert",
        gst::Rank::NONE,
        AiMetaConvert::static_type(),
    )
}
