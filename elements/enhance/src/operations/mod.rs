// SPDX-License-Identifier: Apache-2.0
//! The operations. Each is a module that knows pictures and nets, and no GStreamer element.
//!
//! A new one is a module with a [`Definition`] (name, parameters, how it is built) and a type that
//! implements [`Operation`]; [`OPERATIONS`] lists the definitions, and everything else (text,
//! properties of the element, documentation of both, latency, caps) follows from them.

mod built_in;
pub mod color;
mod cpu;
mod denoise;
mod detect;
mod hdr;
pub mod image_net;
mod net;
mod ports;
mod spare;
mod stabilize;
mod upscale;

use aivideo_core::{
    engine::Engine, error::EngineError, model::ModelSource, settings::InferenceSettings,
};
use aivideo_cuda::picture::Picture;
use thiserror::Error;

use crate::{
    detect::DetectError,
    device::{OnDevice, Stream},
    frame::{Depth, Format, Frame, Sighting},
    spec::{Param, Values},
};

use built_in::{BuiltIn, NET};
pub use color::Color;
pub use denoise::Denoise;
pub use detect::Detect;
pub use hdr::Hdr;
pub use image_net::ImageNet;
pub use spare::Spare;
pub use stabilize::Stabilize;
pub use upscale::Upscale;

/// Every operation that exists, by name.
pub const OPERATIONS: &[&Definition] = &[
    &denoise::DEFINITION,
    &stabilize::DEFINITION,
    &color::DEFINITION,
    &upscale::DEFINITION,
    &net::DEFINITION,
    &hdr::DEFINITION,
    &detect::DEFINITION,
];

/// Names that people look for here and that are other elements.
pub const ELSEWHERE: &[(&str, &str)] = &[
    (
        "scene_analysis",
        "scenes are found by the element aiscene; write \"aiscene\" in front of aienhance",
    ),
    (
        "audio_enhancement",
        "sound is enhanced by the element aiaudioenhance; put it into the branch with the sound",
    ),
];

/// A new step of a chain, or why there is none.
pub type Built = Result<Box<dyn Operation>, EnhanceError>;

/// What an operation is called, takes, and is made by.
pub struct Definition {
    pub name: &'static str,
    /// The same operation under the name that services use.
    pub preset: Option<&'static str>,
    pub nick: &'static str,
    pub blurb: &'static str,
    pub params: &'static [Param],
    pub build: fn(&Values, &Build) -> Built,
}

/// What an operation is built with besides its own values.
pub struct Build<'a> {
    /// Of the element, with the operation's own instance id.
    pub inference: &'a InferenceSettings,
}

impl Build<'_> {
    /// The net to load: the operation's `model`, else the element's `model-location`, else the
    /// built-in one.
    pub fn model(&self, values: &Values, built_in: ModelSource) -> ModelSource {
        match values.path("model") {
            Some(path) => ModelSource::File(path),
            None => self.inference.model(built_in),
        }
    }
}

/// Why a chain could not be built or a picture not be processed.
#[derive(Debug, Clone, Error)]
pub enum EnhanceError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Detect(#[from] DetectError),
    #[error("{model} does not fit \"{operation}\": {reason}; {cure}")]
    Model {
        operation: &'static str,
        model: String,
        reason: String,
        cure: &'static str,
    },
    #[error(
        "{model} returned {got} for \"{operation}\" where {expected} was due; use a net made for this operation, or the built-in one"
    )]
    Output {
        operation: &'static str,
        model: String,
        expected: String,
        got: String,
    },
    #[error(
        "model-location replaces the net of a single operation, but there are {count}: write model=<path> behind the operation that is meant"
    )]
    AmbiguousModel { count: usize },
    /// Values that are fine one by one and not together, or a file that is no table.
    #[error("{operation}: {problem}")]
    Values {
        operation: &'static str,
        problem: String,
    },
    #[error("\"{operation}\" on the GPU: {reason}")]
    Device {
        operation: &'static str,
        reason: String,
    },
    /// The step cannot do what it is for with these pictures.
    #[error("\"{operation}\" cannot take these pictures: {reason}")]
    Format {
        operation: &'static str,
        reason: String,
    },
}

impl EnhanceError {
    /// The message that an element posts for this error.
    pub fn to_error_message(&self) -> gst::ErrorMessage {
        match self {
            Self::Engine(error) => error.to_error_message(),
            Self::Detect(error) => error.to_error_message(),
            Self::Model { .. } | Self::Output { .. } | Self::Device { .. } => {
                gst::error_msg!(gst::ResourceError::Failed, ("{self}"))
            }
            Self::AmbiguousModel { .. } | Self::Values { .. } => {
                gst::error_msg!(gst::ResourceError::Settings, ("{self}"))
            }
            Self::Format { .. } => gst::error_msg!(gst::StreamError::Format, ("{self}")),
        }
    }
}

/// What an operation has measured, by name.
pub type Measurement = (&'static str, f64);

/// One step of a chain.
///
/// Frames come in order and go out in order, one for one. A step that looks ahead answers `None`
/// until it has seen enough, then one for each that comes, and gives the rest when it is
/// [drained](Operation::drain).
pub trait Operation: Send {
    /// The name, as in the `operations` text.
    fn name(&self) -> &'static str;

    /// What it makes of pictures of a format, or why it cannot.
    fn output(&self, input: &Format) -> Result<Format, String> {
        match input.depth {
            Depth::Eight => Ok(*input),
            Depth::Ten => Err(EIGHT_BITS.into()),
        }
    }

    /// How many frames later a frame comes out than it goes in.
    fn look_ahead(&self) -> usize {
        0
    }

    /// Whether it remembers anything from one frame to the next: such a step sees every frame.
    fn remembers(&self) -> bool {
        self.look_ahead() > 0
    }

    /// Whether [`Frame::cut`] matters to it.
    fn wants_cuts(&self) -> bool {
        false
    }

    /// A stream of this format begins, and everything about another one is forgotten.
    fn start(&mut self, _input: &Format) {
        self.reset();
    }

    /// Takes a frame, and gives the next one that is done. `spare` holds planes that may be reused.
    fn process(&mut self, frame: Frame, spare: &mut Spare) -> Result<Option<Frame>, EnhanceError>;

    /// The next of the frames that are held back, when no more come for now. Called until it is
    /// `None`; frames may come again afterwards.
    fn drain(&mut self, _spare: &mut Spare) -> Result<Option<Frame>, EnhanceError> {
        Ok(None)
    }

    /// Forgets everything about earlier pictures, held ones too: the stream jumps here.
    fn reset(&mut self) {}

    /// A parameter that is a number has changed; NaN is `auto`.
    fn set(&mut self, _parameter: &str, _value: f64) {}

    /// What was measured on the latest picture. Nothing is ever made up.
    fn measurements(&self) -> Vec<Measurement> {
        Vec::new()
    }

    /// Fields that the caps behind it carry, such as light levels. They may change with a frame.
    fn caps_fields(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Whether it has yet to see frames before its [`caps_fields`](Operation::caps_fields) are
    /// complete. Caps wait for the first frame that comes out then.
    fn caps_pending(&self) -> bool {
        false
    }

    /// Its form for pictures in a GPU's memory.
    fn on_device(&self) -> OnDevice {
        OnDevice::No(NOT_ON_DEVICE.into())
    }

    /// As [`process`](Self::process), of one that [makes](OnDevice::Makes) pictures, from one in a GPU's
    /// memory to another there of the size of its [`output`](Self::output). Starts the work on the stream
    /// and does not wait for it, but where it must know of it. `cut` is [`Frame::cut`]. What it holds back
    /// it does not keep: the frames are the chain's.
    ///
    /// # Safety
    /// The pictures' planes must be memory of that GPU and live until the stream was waited for.
    #[allow(unsafe_code)] // what lives until when is the caller's matter
    unsafe fn process_on_device(
        &mut self,
        _stream: &Stream,
        _input: &Picture,
        _output: &Picture,
        _cut: bool,
    ) -> Result<(), EnhanceError> {
        Err(EnhanceError::Format {
            operation: self.name(),
            reason: NOT_ON_DEVICE.into(),
        })
    }

    /// The same of one that makes pictures [later](OnDevice::Later): sees one that it will make when it has seen as many
    /// more as it looks ahead, or at once. The chain keeps the pictures.
    ///
    /// # Safety
    /// The same.
    #[allow(unsafe_code)] // what lives until when is the caller's matter
    unsafe fn foresee_on_device(
        &mut self,
        _stream: &Stream,
        _input: &Picture,
        _cut: bool,
    ) -> Result<(), EnhanceError> {
        Ok(())
    }

    /// The same of one that [looks](OnDevice::Looks) at pictures: what it has found.
    ///
    /// # Safety
    /// The same.
    #[allow(unsafe_code)] // what lives until when is the caller's matter
    unsafe fn look_on_device(
        &mut self,
        _stream: &Stream,
        _input: &Picture,
        _cut: bool,
    ) -> Result<Vec<Sighting>, EnhanceError> {
        Err(EnhanceError::Format {
            operation: self.name(),
            reason: NOT_ON_DEVICE.into(),
        })
    }

    /// The stream was waited for: takes down what was measured on the latest picture.
    fn collect_from_device(&mut self, _stream: &Stream) -> Result<(), EnhanceError> {
        Ok(())
    }

    /// A frame in a GPU's memory leaves the chain.
    fn leaves_device(&mut self) {}

    /// The engine that it runs, if it has one.
    fn engine(&self) -> Option<&Engine> {
        None
    }
}

const EIGHT_BITS: &str = "it works on 8 bits (I420 or NV12); put it in front of what makes 10 bits, or \
                          convert with videoconvert or hdr:to=sdr first";

const NOT_ON_DEVICE: &str = "it has no form for frames in a GPU's memory";

/// For a frame of ten bits that formats ought to have kept away.
fn not_eight(operation: &'static str) -> EnhanceError {
    EnhanceError::Format {
        operation,
        reason: EIGHT_BITS.into(),
    }
}
