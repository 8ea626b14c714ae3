// SPDX-License-Identifier: Apache-2.0

#[cfg(feature = "inference")]
mod aicodecdec;
#[cfg(feature = "inference")]
mod aicodecenc;
pub mod bitstream;
#[cfg(feature = "inference")]
pub mod coder;
mod dispatch;
#[cfg(feature = "inference")]
mod element;
pub mod entropy;
pub mod loop_filter;
pub mod motion;
mod parse;
pub mod residual;
mod typefind;

/// Registers the parser and the typefinder, which need no ONNX Runtime.
pub fn register_transport(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    typefind::register(plugin)?;
    parse::register(plugin)
}

/// Registers the encoder and the decoder.
#[cfg(feature = "inference")]
pub fn register_inference(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    aicodecenc::register(plugin)?;
    aicodecdec::register(plugin)
}
