// SPDX-License-Identifier: Apache-2.0
/**
 * SECTION:element-rtpaicodecpay
 *
 * Puts the neural codec's access units into RTP packets, as `docs/rtp.md` specifies.
 *
 * Every packet names its frame, so whatever arrives can be used. A tile that is cut has its packets
 * for itself: a lost packet costs that tile only. `aggregate-mode` decides whether small tiles share
 * a packet. The stream's description is in the caps (`config`, base64) and so in SDP, and in the
 * key frames.
 *
 * ## Example pipeline
 *
 * |[
 * gst-launch-1.0 videotestsrc is-live=true num-buffers=60 ! video/x-raw,width=320,height=240 ! aicodecenc ! rtpaicodecpay ! udpsink host=127.0.0.1 port=5004
 * ]| Sends two seconds of video.
 */
mod imp;

use crate::format::Aggregation;

/// Which tiles may share a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstRtpAiCodecPayAggregate")]
#[repr(i32)]
pub enum Aggregate {
    /// A lost packet costs at most one tile.
    #[enum_value(name = "None: every tile has its own packets", nick = "none")]
    None,
    /// Few packets for still pictures; loss is contained where there is much to lose.
    #[default]
    #[enum_value(
        name = "Frame: a frame that fits into one packet is sent in one",
        nick = "frame"
    )]
    Frame,
    /// Fewest packets.
    #[enum_value(
        name = "Tiles: whole tiles share packets while they fit",
        nick = "tiles"
    )]
    Tiles,
}

impl From<Aggregate> for Aggregation {
    fn from(mode: Aggregate) -> Self {
        match mode {
            Aggregate::None => Self::None,
            Aggregate::Frame => Self::Frame,
            Aggregate::Tiles => Self::Tiles,
        }
    }
}

glib::wrapper! {
    pub struct RtpAiCodecPay(ObjectSubclass<imp::RtpAiCodecPay>)
        @extends gst_rtp::RTPBasePayload, gst::Element, gst::Object;
}

pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    use gst::prelude::*;
    Aggregate::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    gst::Element::register(
        plugin,
        "rtpaicodecpay",
        gst::Rank::SECONDARY,
        RtpAiCodecPay::static_type(),
    )
}
