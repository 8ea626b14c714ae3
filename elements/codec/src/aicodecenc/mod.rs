// SPDX-License-Identifier: Apache-2.0
/**
 * SECTION:element-aicodecenc
 *
 * Compresses video with a small neural network and exact integer entropy coding.
 *
 * Each frame gives one access unit at once: no frame is held back. The first frame is a key frame,
 * as is every `key-int-max`-th, and one is made on request (force-key-unit events with all headers,
 * as of RTCP FIR). `quality` may change at any time.
 *
 * A request without all headers (as of RTCP PLI) tells of a loss. It is answered by a recovery frame,
 * predicted from a long-term reference: far smaller than a key frame. See `recovery`.
 *
 * Pictures of ten bits (I420_10LE, P010_10LE) are coded in ten bits; colours, mastering display and
 * content light level go into the stream.
 *
 * Downstream decides the form: `stream-format=frame` for the parser, the decoder and the RTP
 * payloader, `byte-stream` (a file that plays by itself) for everything else.
 *
 * With `device=cuda` or `tensorrt` pictures stay in the GPU's memory, and frames in `memory:CUDAMemory` and
 * `memory:NVMM` are taken, too. With a constant quality or a variable bitrate without a maximum, one frame's integers
 * are then coded while the GPU makes the next; a frame leaves when they are, whether another one comes or not.
 *
 * `model-location` is a folder with `s-encode.onnx`, `s-decode.onnx` and `s-tables.bin`, or the path
 * of one of the two networks with the other files beside it.
 *
 * ## Example pipeline
 *
 * |[
 * gst-launch-1.0 videotestsrc num-buffers=60 ! video/x-raw,width=320,height=240 ! aicodecenc quality=40 ! filesink location=test.aic
 * ]| Writes a file that `playbin` plays.
 * |[
 * gst-launch-1.0 videotestsrc num-buffers=60 ! video/x-raw,width=320,height=240 ! aicodecenc rate-control=cbr bitrate=300 ! filesink location=test.aic
 * ]| The same at 300 kbit/s.
 * |[
 * gst-launch-1.0 videotestsrc num-buffers=60 ! video/x-raw,format=P010_10LE,colorimetry=bt2100-pq,width=320,height=240 ! aicodecenc ! filesink location=test.aic
 * ]| Ten bits of high dynamic range.
 */
mod coding;
mod imp;
mod writer;

/// How the motion between frames is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstAiCodecMotion")]
#[repr(i32)]
pub enum Motion {
    /// Quarter-pel vectors for blocks of 16x16 and, where it pays, 8x8.
    #[default]
    #[enum_value(name = "Full: vectors for blocks of 16x16 and 8x8", nick = "full")]
    Full,
    /// One vector for each block of 16x16.
    #[enum_value(name = "Blocks16: vectors for blocks of 16x16 only", nick = "blocks16")]
    Blocks16,
    /// No vectors; every block is predicted from its own place.
    #[enum_value(name = "Zero: predict every block from its own place", nick = "zero")]
    Zero,
    /// Nothing is predicted from other frames: all are key frames.
    #[enum_value(name = "None: every frame is a key frame", nick = "none")]
    None,
}

/// What is sent when a receiver asks for help after a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstAiCodecRecovery")]
#[repr(i32)]
pub enum Recovery {
    /// A frame predicted from a long-term reference that the receiver holds, else a key frame.
    #[default]
    #[enum_value(
        name = "Auto: from a long-term reference where one is held, else a key frame",
        nick = "auto"
    )]
    Auto,
    /// A key frame. No long-term references are kept.
    #[enum_value(name = "Key: always a key frame", nick = "key")]
    Key,
}

/// What the encoder holds constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstAiCodecRateControl")]
#[repr(i32)]
pub enum RateControlMode {
    /// The quality.
    #[default]
    #[enum_value(name = "Constant quality, at most max-bitrate", nick = "cq")]
    Cq,
    /// The bitrate of each second.
    #[enum_value(name = "Constant bitrate", nick = "cbr")]
    Cbr,
    /// The bitrate of the long run.
    #[enum_value(
        name = "Variable bitrate: bitrate in the long run, at most max-bitrate",
        nick = "vbr"
    )]
    Vbr,
}

glib::wrapper! {
    pub struct AiCodecEnc(ObjectSubclass<imp::AiCodecEnc>)
        @extends gst_video::VideoEncoder, gst::Element, gst::Object,
        @implements gst::Preset;
}

pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    use gst::prelude::*;
    RateControlMode::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    Motion::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    Recovery::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    gst::Element::register(
        plugin,
        "aicodecenc",
        gst::Rank::NONE,
        AiCodecEnc::static_type(),
    )
}
