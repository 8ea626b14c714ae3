// SPDX-License-Identifier: Apache-2.0
/**
 * SECTION:element-aicodecdec
 *
 * Decodes what `aicodecenc` made.
 *
 * The stream names its model and its entropy tables by their hashes; a decoder with others refuses
 * it and says so. A damaged or missing tile is concealed by the picture before it, and the sender
 * is asked for a key frame (force-key-unit), as it is after a lost frame.
 *
 * `model-location` is a folder with `s-encode.onnx`, `s-decode.onnx` and `s-tables.bin`, or the path
 * of one of the two networks with the other files beside it; the decoder loads `s-decode.onnx` only.
 *
 * ## Example pipeline
 *
 * |[
 * gst-launch-1.0 videotestsrc num-buffers=60 ! video/x-raw,width=320,height=240 ! aicodecenc ! aicodecparse ! aicodecdec ! videoconvert ! autovideosink
 * ]|
 */
mod imp;

use glib::prelude::*;

glib::wrapper! {
    pub struct AiCodecDec(ObjectSubclass<imp::AiCodecDec>)
        @extends gst_video::VideoDecoder, gst::Element, gst::Object;
}

pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    gst::Element::register(
        plugin,
        "aicodecdec",
        gst::Rank::PRIMARY,
        AiCodecDec::static_type(),
    )
}
