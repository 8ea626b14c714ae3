// SPDX-License-Identifier: Apache-2.0
/**
 * SECTION:element-aicodecparse
 *
 * Splits the neural codec's streams into access units, and packs them as downstream wants them.
 *
 * It takes the byte stream of `.aic` files in pieces of any size, and single access units as they
 * come from aicodecenc and rtpaicodecdepay. It gives `stream-format=frame` to elements that ask for
 * it (the decoder, the payloader), and a byte stream, which is a playable file, to everything else.
 *
 * After garbage it goes on with the next unit. A unit whose headers are damaged is left out, one
 * with damaged tiles is passed on with the corrupted flag. What a truncated file has whole is used.
 * Files can be searched: all key frames are indexed when the first frame is read.
 *
 * ## Example pipelines
 *
 * |[
 * gst-launch-1.0 filesrc location=test.aic ! aicodecparse ! aicodecdec ! videoconvert ! autovideosink
 * ]| Plays a file; `gst-launch-1.0 playbin uri=file://$PWD/test.aic` finds these elements by itself.
 *
 * |[
 * gst-launch-1.0 -e udpsrc port=5004 ! application/x-rtp,media=video,clock-rate=90000,encoding-name=X-AICODEC,payload=96 ! rtpjitterbuffer ! rtpaicodecdepay ! aicodecparse ! filesink location=received.aic
 * ]| Writes what comes over the network into a file that plays by itself.
 */
mod imp;
mod index;
mod unit;

glib::wrapper! {
    pub struct AiCodecParse(ObjectSubclass<imp::AiCodecParse>)
        @extends gst_base::BaseParse, gst::Element, gst::Object;
}

pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    use gst::prelude::*;
    gst::Element::register(
        plugin,
        "aicodecparse",
        gst::Rank::PRIMARY + 1,
        AiCodecParse::static_type(),
    )
}
