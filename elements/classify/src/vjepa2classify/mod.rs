// SPDX-License-Identifier: Apache-2.0
//! # vjepa2classify
//!
//! Names what happens in a video with a model of the V-JEPA 2 family: clips of (usually 16)
//! frames go in, class probabilities come out. The built-in model names camera and object motion
//! ("camera pan left", "object approaching", "cut" …); `model-location` takes any ONNX file with
//! an input `[B,T,3,S,S]`.
//!
//! ```bash
//! gst-launch-1.0 -m videotestsrc num-buffers=150 ! video/x-raw,width=640,height=360 ! \
//!     vjepa2classify top-k=3 sync=true ! fakesink
//! ```
//!
//! Frames pass through untouched and without waiting. A clip's result rides on the next frame that
//! passes, as a custom meta `AiVideoClassificationMeta`, and is posted as an element message
//! `vjepa2classify`; both have the fields `model`, `clip-start`, `clip-end` (timestamps of the
//! clip's first frame and of the end of its last, in ns), `labels` and `scores`, best first. When
//! the model cannot keep up, clips are left out (`clips-dropped` in `stats`), never frames. With
//! `sync=true`, for files, the frame that completes a clip waits for its result and carries it.
//!
//! A clip is every `frame-stride`-th frame; clips start every `clip-stride` frames. Gaps,
//! discontinuities, seeks and new caps begin a new clip. A result in which no class reaches
//! `threshold` is not reported.

use gst::prelude::*;

mod frame;
mod imp;

glib::wrapper! {
    /// The element.
    pub struct Vjepa2Classify(ObjectSubclass<imp::Vjepa2Classify>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Name of the structure in the element's messages.
pub const MESSAGE: &str = "vjepa2classify";

pub(crate) fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    gst::Element::register(
        plugin,
        "vjepa2classify",
        gst::Rank::NONE,
        Vjepa2Classify::static_type(),
    )
}
