// SPDX-License-Identifier: Apache-2.0
//! `aiscene`: finds where scenes begin, and lists them.
//!
//! ```text
//! gst-launch-1.0 -m filesrc location=.deps/clips/bikes.mp4 ! decodebin ! videoconvert ! aiscene json-location=scenes.json edl-location=scenes.edl ! fakesink
//! ```
//!
//! Pictures pass unchanged, `look-ahead` pictures late (reported as latency): a cut is told from a
//! flash by what comes behind it. At the first picture of each scene but the first
//!
//! * an element message `aivideo-scene-cut` with `index`, `stream-time`, `running-time`, `strength`
//!   is posted,
//! * a custom event `aivideo-scene` with `index` and `strength` goes downstream in front of the
//!   picture, and the picture carries a `GstCustomMeta` `AiVideoSceneMeta` with the same fields,
//! * with `force-key-units=true` encoders are asked for a key frame.
//!
//! When a scene ends, an element message `aivideo-scene` tells what was found: `index`, `start`,
//! `end`, `representative` (stream times; the picture that stands for the scene), `start-frame`,
//! `end-frame`, `strength`, `labels` with `label-scores` (of `vjepa2classify` in front of it) and
//! `objects` with `object-counts` (of a detector in front of it; the mean number in a picture). At
//! the end of the stream the list is written to `json-location`, and as a CMX 3600 edit decision
//! list to `edl-location`; with both unset nothing is written.
//!
//! `aivideo autoedit` cuts a clip to the scenes that are chosen from such a list.

mod imp;

use glib::prelude::*;

/// Name of the meta on the first picture of a scene.
pub const SCENE_META: &str = "AiVideoSceneMeta";
/// Name of the event in front of it, and of the message when a scene has ended.
pub const SCENE: &str = "aivideo-scene";
/// Name of the message when a scene begins.
pub const SCENE_CUT: &str = "aivideo-scene-cut";

glib::wrapper! {
    /// The element; see the module.
    pub struct AiScene(ObjectSubclass<imp::AiScene>) @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element.
pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    gst::Element::register(plugin, "aiscene", gst::Rank::NONE, AiScene::static_type())
}
