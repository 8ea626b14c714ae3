// SPDX-License-Identifier: Apache-2.0
//! The neural codec's stream in RTP packets.
//!
//! [`format`] is the payload's format, free of GStreamer; `docs/rtp.md` specifies it.

mod depay;
pub mod format;
mod pay;

pub use pay::Aggregate;

/// The name in SDP's `rtpmap`.
pub const ENCODING_NAME: &str = "X-AICODEC";
/// Ticks a second.
pub const CLOCK_RATE: i32 = 90_000;

/// Registers every element of this crate.
pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    pay::register(plugin)?;
    depay::register(plugin)
}
