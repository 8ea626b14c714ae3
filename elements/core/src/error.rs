// SPDX-License-Identifier: Apache-2.0
//! What can go wrong between an element and its model, and how GStreamer is told.

use std::path::PathBuf;

use thiserror::Error;

use crate::{runtime::RuntimeError, tensor::ElementType};

/// An error of the inference engine. It is `Clone` because one failing batch is reported to every
/// user whose frame was in it.
#[derive(Debug, Clone, Error)]
pub enum EngineError {
    #[error(transparent)]
    Runtime(#[from] RuntimeError),

    #[error("model file '{}' does not exist: check `model-location`", path.display())]
    ModelNotFound { path: PathBuf },

    #[error("model file '{}' cannot be read: {reason}", path.display())]
    ModelUnreadable { path: PathBuf, reason: String },

    #[error("{origin} is not a usable ONNX model: {reason}")]
    ModelInvalid { origin: String, reason: String },

    #[error("device '{device}' cannot be used: {reason}")]
    Device { device: String, reason: String },

    #[error("{0}")]
    Settings(String),

    #[error(
        "model-instance-id '{id}' is already in use with another {what}: {existing} there, {requested} here; give the elements the same settings or different ids"
    )]
    Conflict {
        id: String,
        what: &'static str,
        existing: String,
        requested: String,
    },

    #[error("{model}: input '{name}': expected {expected}, got {got}")]
    Input {
        model: String,
        name: String,
        expected: String,
        got: String,
    },

    #[error("tensor holds {got} elements, not {expected}")]
    TensorType {
        expected: ElementType,
        got: ElementType,
    },

    #[error("{model} has no output named '{name}'; it has {available}")]
    Output {
        model: String,
        name: String,
        available: String,
    },

    #[error("{model}: inference failed: {reason}")]
    Run { model: String, reason: String },

    #[error("{model}: the worker thread of this model has stopped")]
    Stopped { model: String },
}

impl EngineError {
    /// The message that an element posts for this error: the text that applications show, not only
    /// the part for debugging.
    pub fn to_error_message(&self) -> gst::ErrorMessage {
        match self {
            Self::Runtime(_) => gst::error_msg!(gst::LibraryError::Init, ("{self}")),
            Self::ModelNotFound { .. } => {
                gst::error_msg!(gst::ResourceError::NotFound, ("{self}"))
            }
            Self::ModelUnreadable { .. } => {
                gst::error_msg!(gst::ResourceError::OpenRead, ("{self}"))
            }
            Self::ModelInvalid { .. } => gst::error_msg!(gst::ResourceError::Failed, ("{self}")),
            Self::Device { .. } => gst::error_msg!(gst::ResourceError::OpenRead, ("{self}")),
            Self::Settings(_) | Self::Conflict { .. } => {
                gst::error_msg!(gst::ResourceError::Settings, ("{self}"))
            }
            Self::Input { .. } | Self::TensorType { .. } | Self::Output { .. } => {
                gst::error_msg!(gst::StreamError::WrongType, ("{self}"))
            }
            Self::Run { .. } | Self::Stopped { .. } => {
                gst::error_msg!(gst::StreamError::Failed, ("{self}"))
            }
        }
    }
}
