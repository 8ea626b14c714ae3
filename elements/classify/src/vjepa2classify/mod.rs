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
//! the model cannot keep up, a new clip takes the place of the one that waits for it
//! (`clips-dropped` in `stats`); frames are never lost. With `sync=true`, for files, the frame that
//! completes a clip waits for its result and carries it.
//!
//! A clip is every `frame-stride`-th frame; clips start every `clip-stride` frames. With
//! `frame-stride-time` and `clip-stride-time` the same goes by timestamps, so that cameras of any
//! frame rate give the same clips:
//!
//! ```bash
//! gst-launch-1.0 -m videotestsrc num-buffers=150 ! video/x-raw,framerate=50/1 ! \
//!     vjepa2classify frame-stride-time=80000000 clip-stride-time=500000000 sync=true ! fakesink
//! ```
//!
//! Gaps, discontinuities, seeks and new caps begin a new clip. `inference-interval=n` classifies
//! every n-th clip; `smoothing` lets the results before count; a result in which no class reaches
//! `threshold` is not reported.
//!
//! A new `model-location` while playing is loaded beside the model that runs and takes over between
//! two frames; the old model answers the clips that it was given and is freed then. The element
//! posts a message `vjepa2classify-model` with `model` and `sha256`. A model that cannot be used is
//! a warning, and the old one goes on.
//!
//! With a model on a GPU (`device=cuda`) frames may lie in its memory (`memory:CUDAMemory`, `memory:NVMM`) and stay
//! there; only the small pictures that the model is given leave it.

use gst::prelude::*;

mod frame;
mod imp;
mod settings;
mod swap;

glib::wrapper! {
    /// The element.
    pub struct Vjepa2Classify(ObjectSubclass<imp::Vjepa2Classify>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Name of the structure in the element's messages.
pub const MESSAGE: &str = "vjepa2classify";

/// Name of the structure in the message that a new model has taken over.
pub const MODEL_MESSAGE: &str = "vjepa2classify-model";

pub(crate) fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    gst::Element::register(
        plugin,
        "vjepa2classify",
        gst::Rank::NONE,
        Vjepa2Classify::static_type(),
    )
}
