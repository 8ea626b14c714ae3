// SPDX-License-Identifier: Apache-2.0
//! # aioverlay
//!
//! Draws what models found onto the frames: boxes with label and score of detectors (regions of
//! interest, and `GstAnalyticsRelationMeta` when built with the feature `analytics`), and a panel
//! with the most probable classes of `vjepa2classify`.
//!
//! ```bash
//! gst-launch-1.0 videotestsrc num-buffers=100 ! video/x-raw,width=640,height=360 ! \
//!     vjepa2classify sync=true ! aioverlay ! videoconvert ! autovideosink
//! ```
//!
//! A clip's classes ride on one frame; they stay in the picture until the model says the next, at
//! most for `hold-time`. Boxes are drawn on the frames that carry them. Letters and lines grow with
//! the picture unless `font-size` and `line-width` are given. The built-in font has Latin, Greek
//! and Cyrillic letters; `font-file` takes another. Frames with nothing to draw pass untouched.

use gst::prelude::*;

mod imp;

/// Where the panel with the classes stands.
#[derive(Debug, Eq, PartialEq, Clone, Copy, Default, glib::Enum)]
#[enum_type(name = "GstAiOverlayPosition")]
#[repr(u32)]
pub enum Position {
    #[default]
    #[enum_value(name = "Top left", nick = "top-left")]
    TopLeft,
    #[enum_value(name = "Top right", nick = "top-right")]
    TopRight,
    #[enum_value(name = "Bottom left", nick = "bottom-left")]
    BottomLeft,
    #[enum_value(name = "Bottom right", nick = "bottom-right")]
    BottomRight,
}

glib::wrapper! {
    /// The element.
    pub struct AiOverlay(ObjectSubclass<imp::AiOverlay>)
        @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

pub(crate) fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    Position::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    gst::Element::register(
        plugin,
        "aioverlay",
        gst::Rank::NONE,
        AiOverlay::static_type(),
    )
}
