// SPDX-License-Identifier: Apache-2.0
//! `aiaudioenhance`: removes noise from speech, and brings sound to a target loudness.
//!
//! Noise is removed by RNNoise (a recurrent network made for speech: it takes music for noise, so
//! set `denoise` below 1, or to 0, for music). Loudness follows EBU R128 while the stream runs,
//! and a look-ahead limiter keeps true peaks below `max-true-peak`.
//!
//! ```text
//! gst-launch-1.0 audiotestsrc wave=pink-noise num-buffers=100 ! aiaudioenhance target-loudness=-16 ! audioconvert ! autoaudiosink
//! ```
//!
//! Sound of any number of channels up to 64, at 8 to 192 kHz, as 16- or 32-bit integers or
//! floats. As many samples come out as went in, each with the time stamp of the sample that it was
//! made from; so pictures and sound stay in step. What the look-ahead costs is reported as latency:
//! `look-ahead`, and 5 to 25 ms for the limiter and RNNoise. Gaps and jumps in time stamps empty
//! the element first, and are passed on. All properties may change while the stream plays.
//!
//! `stats` tells what was measured: `input-loudness`, `output-loudness` (LUFS, integrated),
//! `input-loudness-range` (LU), `input-true-peak`, `output-true-peak` (dBTP), `gain`,
//! `limiter-reduction`, `noise-reduction` (dB), `voice-probability`, `frames-in`, `frames-out`.
//! A field is absent where nothing was measured.

mod imp;
mod samples;

use glib::prelude::*;

glib::wrapper! {
    /// The element; see the module.
    pub struct AiAudioEnhance(ObjectSubclass<imp::AiAudioEnhance>) @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element.
pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    gst::Element::register(
        plugin,
        "aiaudioenhance",
        gst::Rank::NONE,
        AiAudioEnhance::static_type(),
    )
}
