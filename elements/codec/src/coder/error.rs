// SPDX-License-Identifier: Apache-2.0
//! What goes wrong in coding, with its cure.

use crate::bitstream::BitstreamError;
use crate::entropy::TablesError;
use aivideo_core::error::EngineError;
use aivideo_cuda::LaunchError;
use aivideo_cuda::device::DeviceError;

/// An error of the encoder or the decoder.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{origin}: {error}")]
    Tables { origin: String, error: TablesError },
    #[error(
        "{origin} cannot be read: {error}; `model-location` is a folder with s-encode.onnx, s-decode.onnx and s-tables.bin, or the path of one of the two networks with the others beside it"
    )]
    ModelFile {
        origin: String,
        error: std::io::Error,
    },
    #[error("{origin} is not a network of this codec: {reason}")]
    ModelShape { origin: String, reason: String },
    #[error(
        "the stream was made with model {stream} but this decoder has model {own}: give both sides the same model (`model-location`)"
    )]
    ModelMismatch { stream: String, own: String },
    #[error(
        "the stream was made with entropy tables {stream} but this decoder has {own}: give both sides the same model (`model-location`)"
    )]
    TablesMismatch { stream: String, own: String },
    #[error("{0}x{1} cannot be coded: sizes from 16x16 to 8192x8192 can")]
    Size(usize, usize),
    #[error("a picture of {got:?} for a stream of {expected:?}")]
    PictureSize {
        expected: (usize, usize),
        got: (usize, usize),
    },
    #[error(
        "video of {bits} bits needs a network of its own where ONNX Runtime runs it: {error} (export.py writes it beside the one of 8 bits)"
    )]
    DepthModel { bits: u8, error: EngineError },
    #[error("the stream's samples have {0} bits: 8 and 10 can be decoded")]
    Depth(u8),
    #[error("a picture of {got} bits for a stream of {expected}")]
    PictureDepth { expected: u8, got: u8 },
    #[error("pictures in a GPU's memory: {0}")]
    Device(String),
    #[error("the stream asks for {0}, which this decoder does not know")]
    Unsupported(&'static str),
    #[error("malformed access unit: {0}")]
    Bitstream(#[from] BitstreamError),
    #[error(
        "frame {got} follows frame {expected_after}: something was lost; decoding goes on at the next key or recovery frame"
    )]
    Lost { expected_after: u16, got: u16 },
    #[error("no key frame yet")]
    NeedsKey,
}

impl From<LaunchError> for CodecError {
    fn from(error: LaunchError) -> Self {
        Self::Device(error.to_string())
    }
}

impl From<DeviceError> for CodecError {
    fn from(error: DeviceError) -> Self {
        Self::Device(error.to_string())
    }
}

impl CodecError {
    /// True where the next key frame puts things right.
    pub fn cured_by_key(&self) -> bool {
        matches!(
            self,
            Self::Bitstream(_) | Self::Lost { .. } | Self::NeedsKey
        )
    }
}
