// SPDX-License-Identifier: Apache-2.0
/**
 * element-aihybriddec:
 * @short_description: decodes and restores a standard AV1, H.265 or H.264 stream
 *
 * A bin: the parser and the decoder of the system with the highest rank, scaling to the size that
 * the encoder was given, and airestore. It reads the hints that `aihybridenc` puts into streams;
 * streams without them are restored by what is seen.
 *
 * ## Example
 *
 * |[
 * gst-launch-1.0 filesrc location=hybrid.mp4 ! qtdemux ! aihybriddec ! videoconvert ! autovideosink
 * ]|
 */
use gst::glib;
use gst::prelude::*;

mod imp;

glib::wrapper! {
    pub struct AiHybridDec(ObjectSubclass<imp::AiHybridDec>)
        @extends gst::Bin, gst::Element, gst::Object,
        @implements gst::ChildProxy;
}

pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    gst::Element::register(
        plugin,
        "aihybriddec",
        gst::Rank::NONE,
        AiHybridDec::static_type(),
    )
}
