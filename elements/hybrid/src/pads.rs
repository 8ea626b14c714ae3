// SPDX-License-Identifier: Apache-2.0
//! Templates of the encoder's and the decoder's pads: raw video on one side, a stream on the other.

fn raw() -> gst::Caps {
    gst_video::VideoCapsBuilder::new().build()
}

fn coded() -> gst::Caps {
    ["video/x-av1", "video/x-h265", "video/x-h264"]
        .into_iter()
        .map(gst::Structure::new_empty)
        .collect()
}

/// Sink and source pad of an element that makes streams of raw video.
pub fn encoder() -> Vec<gst::PadTemplate> {
    pair(&raw(), &coded())
}

/// Sink and source pad of an element that makes raw video of streams.
pub fn decoder() -> Vec<gst::PadTemplate> {
    pair(&coded(), &raw())
}

fn pair(sink: &gst::Caps, src: &gst::Caps) -> Vec<gst::PadTemplate> {
    [
        ("sink", gst::PadDirection::Sink, sink),
        ("src", gst::PadDirection::Src, src),
    ]
    .into_iter()
    .filter_map(|(name, direction, caps)| {
        gst::PadTemplate::new(name, direction, gst::PadPresence::Always, caps).ok()
    })
    .collect()
}
