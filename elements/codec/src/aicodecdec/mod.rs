// SPDX-License-Identifier: Apache-2.0
/**
 * SECTION:element-aicodecdec
 *
 * Decodes what `aicodecenc` made.
 *
 * The stream names its model and its entropy tables by their hashes; a decoder with others refuses
 * it and says so. A damaged or missing tile is concealed by the picture before it, moved as it moved
 * last; after lost frames decoding goes on from the last picture. Such pictures are marked as
 * corrupted, and the sender is asked for help (force-key-unit, see `request-sync-points`): without all
 * headers where it may answer by a recovery frame from a long-term reference, with them where only a
 * key frame helps. `min-force-key-unit-interval` is the time after which it is asked again.
 *
 * `model-location` is a folder with `s-encode.onnx`, `s-decode.onnx` and `s-tables.bin`, or the path
 * of one of the two networks with the other files beside it; the decoder loads `s-decode.onnx` only.
 *
 * With `device=cuda` pictures are made and stay in the GPU's memory, and frames may lie there, too
 * (`memory:CUDAMemory`, `memory:NVMM`); only symbols, vectors and flags go there. While the GPU is at work on such a frame, the
 * next one's symbols are decoded; no latency is added, since a thread of its own sends each frame when it is made.
 *
 * ## Example pipeline
 *
 * |[
 * gst-launch-1.0 videotestsrc num-buffers=60 ! video/x-raw,width=320,height=240 ! aicodecenc ! aicodecparse ! aicodecdec ! videoconvert ! autovideosink
 * ]|
 */
mod imp;
mod sender;

use gst::prelude::*;

/// When the sender is asked for a frame that ends the effects of a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstAiCodecRequest")]
#[repr(i32)]
pub enum Request {
    /// As soon as a picture is not what the encoder has.
    #[default]
    #[enum_value(name = "Damage: as soon as a picture is damaged", nick = "damage")]
    Damage,
    /// Where nothing can be shown without one.
    #[enum_value(name = "Needed: where nothing can be shown without", nick = "needed")]
    Needed,
    #[enum_value(name = "Never", nick = "never")]
    Never,
}

glib::wrapper! {
    pub struct AiCodecDec(ObjectSubclass<imp::AiCodecDec>)
        @extends gst_video::VideoDecoder, gst::Element, gst::Object;
}

pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    Request::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    gst::Element::register(
        plugin,
        "aicodecdec",
        gst::Rank::PRIMARY,
        AiCodecDec::static_type(),
    )
}
