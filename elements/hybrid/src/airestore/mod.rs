// SPDX-License-Identifier: Apache-2.0
/**
 * element-airestore:
 * @short_description: takes coding artefacts out of decoded video, by filters and a net
 *
 * Restores what an AV1, H.265 or H.264 encoder lost, in place, after any decoder; without delay unless told to look ahead.
 * The net sees the picture and the one that it restored before. In streams of `aihybridenc`, which
 * `aihybriddec` plays, it knows the quantiser, the standard and the scale from the stream; in others
 * it judges by what it sees, or `quality` and `base` say.
 *
 * What was coded at its full size, by a known standard and at a known quality, goes through filters that were fitted to
 * it; the rest through the built-in net. `model-location` takes another net, which then sees all.
 *
 * With `look-ahead` frames wait for one or two after them and are filtered with their help, where they were coded at
 * their full size; that is told as latency.
 *
 * Ten bits stay ten bits: the net works on the upper eight, and what it changes is added.
 *
 * With a net on a GPU (`device=cuda`) frames may lie in its memory (`memory:CUDAMemory`, `memory:NVMM`) and stay there.
 *
 * ## Example
 *
 * |[
 * gst-launch-1.0 filesrc location=.deps/clips/bikes.mp4 ! decodebin ! videoconvert ! airestore ! videoconvert ! autovideosink
 * ]|
 */
use gst::glib;
use gst::prelude::*;

mod imp;
pub use imp::properties;

glib::wrapper! {
    pub struct AiRestore(ObjectSubclass<imp::AiRestore>)
        @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// What made the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstAiRestoreBase")]
#[repr(i32)]
pub enum Base {
    #[default]
    #[enum_value(name = "What the stream says, else unknown", nick = "auto")]
    Auto,
    #[enum_value(name = "AV1", nick = "av1")]
    Av1,
    #[enum_value(name = "H.265", nick = "h265")]
    H265,
    #[enum_value(name = "H.264", nick = "h264")]
    H264,
}

/// How the stream's pictures lean on each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstAiRestoreStructure")]
#[repr(i32)]
pub enum Structure {
    #[default]
    #[enum_value(name = "What the stream says, else unknown", nick = "auto")]
    Auto,
    #[enum_value(name = "On earlier ones alone: low delay", nick = "low-delay")]
    LowDelay,
    #[enum_value(name = "On later ones, too: reordered", nick = "reordered")]
    Reordered,
}

pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    Base::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    Structure::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    gst::Element::register(
        plugin,
        "airestore",
        gst::Rank::NONE,
        AiRestore::static_type(),
    )
}
