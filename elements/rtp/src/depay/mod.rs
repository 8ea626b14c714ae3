// SPDX-License-Identifier: Apache-2.0
/**
 * SECTION:element-rtpaicodecdepay
 *
 * Takes the neural codec's access units out of RTP packets.
 *
 * A frame of which something was lost is given out with the tiles that arrived, flagged as
 * corrupted; the decoder conceals the others. After a loss the sender is asked for help by a
 * force-key-unit event (at most twice a second, and not where a decoder downstream asks itself), which
 * RTP sessions with feedback send to the encoder: as PLI, which a recovery frame answers, or as FIR
 * where only a key frame helps because none has come yet. See `request-keyframe`. Packets should
 * come through rtpjitterbuffer, which puts them in order.
 *
 * ## Example pipeline
 *
 * |[
 * gst-launch-1.0 udpsrc port=5004 ! application/x-rtp,media=video,clock-rate=90000,encoding-name=X-AICODEC,payload=96 ! rtpjitterbuffer ! rtpaicodecdepay ! aicodecdec ! videoconvert ! autovideosink
 * ]| Shows what comes over the network.
 */
mod imp;

glib::wrapper! {
    pub struct RtpAiCodecDepay(ObjectSubclass<imp::RtpAiCodecDepay>)
        @extends gst_rtp::RTPBaseDepayload, gst::Element, gst::Object;
}

pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    use gst::prelude::*;
    gst::Element::register(
        plugin,
        "rtpaicodecdepay",
        gst::Rank::SECONDARY,
        RtpAiCodecDepay::static_type(),
    )
}
