// SPDX-License-Identifier: Apache-2.0
/**
 * element-aihybridenc:
 * @short_description: a standard AV1, H.265 or H.264 stream that a learned decoder makes better
 *
 * A bin around an encoder of the system. What comes out is a standard stream: every player, muxer,
 * payloader and RTSP client takes it. `aihybriddec` shows it better: it knows from hints inside the
 * stream, which others skip, how it was coded and at what size it is to be shown.
 *
 * `base=auto` takes the first that is there of svtav1enc, nvav1enc, av1enc, x265enc, nvh265enc and
 * x264enc; at constant quality av1enc comes last, because it has no level for it.
 *
 * ## Example
 *
 * |[
 * gst-launch-1.0 -e filesrc location=.deps/clips/bikes.mp4 ! decodebin ! videoconvert ! aihybridenc base=h265 bitrate=300 ! h265parse ! mp4mux ! filesink location=hybrid.mp4
 * ]|
 */
use gst::glib;
use gst::prelude::*;

pub mod base;
mod imp;
pub mod scale;
mod svtav1;

glib::wrapper! {
    pub struct AiHybridEnc(ObjectSubclass<imp::AiHybridEnc>)
        @extends gst::Bin, gst::Element, gst::Object,
        @implements gst::ChildProxy;
}

/// The standard of the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstAiHybridEncBase")]
#[repr(i32)]
pub enum Base {
    #[default]
    #[enum_value(
        name = "The first of AV1, H.265 and H.264 that has an encoder here",
        nick = "auto"
    )]
    Auto,
    #[enum_value(name = "AV1: svtav1enc, nvav1enc or av1enc", nick = "av1")]
    Av1,
    #[enum_value(name = "H.265: x265enc or nvh265enc", nick = "h265")]
    H265,
    #[enum_value(name = "H.264: x264enc", nick = "h264")]
    H264,
}

/// What matters more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstAiHybridEncLatency")]
#[repr(i32)]
pub enum Latency {
    #[enum_value(name = "No frame waits for a later one", nick = "low-delay")]
    LowDelay,
    #[default]
    #[enum_value(
        name = "Less than a second of delay, at the speed of a camera",
        nick = "balanced"
    )]
    Balanced,
    #[enum_value(name = "As few bits as possible", nick = "file")]
    File,
}

/// The size that is coded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstAiHybridEncScale")]
#[repr(i32)]
pub enum Scale {
    #[enum_value(
        name = "By the detail of each scene and the quality or rate",
        nick = "auto"
    )]
    Auto,
    #[default]
    #[enum_value(name = "Full size", nick = "1")]
    Full,
    #[enum_value(name = "3/4 of width and height", nick = "3/4")]
    ThreeQuarters,
    #[enum_value(name = "2/3 of width and height", nick = "2/3")]
    TwoThirds,
    #[enum_value(name = "Half of width and height", nick = "1/2")]
    Half,
}

impl Scale {
    /// Numerator and denominator; full size where it is to be found out.
    pub fn ratio(self) -> (u32, u32) {
        match self {
            Self::Auto | Self::Full => (1, 1),
            Self::ThreeQuarters => (3, 4),
            Self::TwoThirds => (2, 3),
            Self::Half => (1, 2),
        }
    }

    /// The coded length of a side: even, as encoders want it, and not below what they take.
    pub fn of(self, side: u32) -> u32 {
        let (up, down) = self.ratio();
        match up == down {
            true => side,
            false => ((side * up + down) / (2 * down) * 2).max(64).min(side),
        }
    }
}

pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    for ty in [
        Base::static_type(),
        Latency::static_type(),
        Scale::static_type(),
    ] {
        ty.mark_as_plugin_api(gst::PluginAPIFlags::empty());
    }
    gst::Element::register(
        plugin,
        "aihybridenc",
        gst::Rank::NONE,
        AiHybridEnc::static_type(),
    )
}
