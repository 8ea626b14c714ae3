// SPDX-License-Identifier: Apache-2.0
//! Objects in pictures, without GStreamer elements.
//!
//! * [`sidecar`]: the JSON file that says what a model takes and gives;
//! * [`prepare`]: a picture as the model's input;
//! * [`device`]: the same for pictures in a GPU's memory;
//! * [`decode`]: the model's output as boxes (YOLOX, D-FINE), overlapping ones suppressed;
//! * [`track`]: the same object in one picture after the other;
//! * [`Detector`]: the model with all of these around it;
//! * [`watch`]: a detector over a stream;
//! * [`region`]: objects as what buffers carry.

pub mod decode;
pub mod device;
pub mod prepare;
pub mod region;
pub mod sidecar;
pub mod track;
pub mod watch;

use aivideo_core::{
    engine::{Engine, Outputs},
    error::EngineError,
    model::ModelSource,
    pixels::Yuv420,
    settings::InferenceSettings,
    tensor::{ElementType, Tensor},
};
use thiserror::Error;

use crate::frame::Gamut;
use prepare::Fit;
use sidecar::{Family, Sidecar};

/// A box in pixels, with what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Object {
    pub x0: f32,
    pub y0: f32,
    pub x1: f32,
    pub y1: f32,
    pub score: f32,
    pub class: usize,
}

impl Object {
    pub fn area(&self) -> f32 {
        (self.x1 - self.x0).max(0.0) * (self.y1 - self.y0).max(0.0)
    }

    /// Its box in other units.
    #[must_use]
    pub fn scaled(self, x: f32, y: f32) -> Self {
        Self {
            x0: self.x0 * x,
            y0: self.y0 * y,
            x1: self.x1 * x,
            y1: self.y1 * y,
            ..self
        }
    }

    /// Intersection over union.
    pub fn overlap(&self, other: &Self) -> f32 {
        let w = self.x1.min(other.x1) - self.x0.max(other.x0);
        let h = self.y1.min(other.y1) - self.y0.max(other.y0);
        if w <= 0.0 || h <= 0.0 {
            return 0.0;
        }
        let both = w * h;
        both / (self.area() + other.area() - both)
    }
}

/// Why objects cannot be found.
#[derive(Debug, Clone, Error)]
pub enum DetectError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(
        "no model is given and none is built in; set {property} to a YOLOX or D-FINE export, with its sidecar beside it (docs/enhance-motion.md)"
    )]
    NoModel { property: &'static str },
    #[error("{path}: {problem}; docs/enhance-motion.md describes the file")]
    Sidecar { path: String, problem: String },
    #[error("{model} does not fit its description: {problem}")]
    Model { model: String, problem: String },
}

impl DetectError {
    /// The message that an element posts for this error.
    pub fn to_error_message(&self) -> gst::ErrorMessage {
        match self {
            Self::Engine(error) => error.to_error_message(),
            Self::Sidecar { .. } | Self::NoModel { .. } => {
                gst::error_msg!(gst::ResourceError::Settings, ("{self}"))
            }
            Self::Model { .. } => gst::error_msg!(gst::ResourceError::Failed, ("{self}")),
        }
    }
}

/// A detection model.
pub struct Detector {
    engine: Engine,
    model: String,
    sidecar: Sidecar,
    input: String,
    /// The second input of D-FINE, the size that boxes are wanted in.
    size_input: Option<String>,
    bytes: bool,
    fit: Fit,
    /// Made for the first picture in the GPU's memory.
    device: Option<device::DeviceInput>,
}

impl Detector {
    pub fn load(
        model: &ModelSource,
        sidecar: Sidecar,
        settings: &InferenceSettings,
    ) -> Result<Self, DetectError> {
        let engine = Engine::acquire(model, settings)?;
        let name = model.describe();
        let refuse = |problem: String| DetectError::Model {
            model: name.clone(),
            problem,
        };
        let image = engine
            .inputs()
            .iter()
            .find(|input| input.shape.len() == 4)
            .ok_or_else(|| refuse("no input has four dimensions [1,3,height,width]".into()))?;
        if image.shape[0].is_some_and(|n| n != 1 && settings.batch_size == 1)
            || image.shape[1].is_some_and(|n| n != 3)
            || !matches!(image.ty, ElementType::F32 | ElementType::U8)
        {
            return Err(refuse(format!(
                "its input {} is {image} where float32 or uint8 [1,3,height,width] is needed",
                image.name
            )));
        }
        let wanted = &sidecar.input;
        for (what, has, says) in [
            ("height", image.shape[2], wanted.height),
            ("width", image.shape[3], wanted.width),
        ] {
            if let Some(has) = has
                && has != says
            {
                return Err(refuse(format!(
                    "its input's {what} is {has}, but the sidecar says {says}"
                )));
            }
        }
        let size_input = engine
            .inputs()
            .iter()
            .find(|input| input.shape.len() == 2 && input.ty == ElementType::I64)
            .map(|input| input.name.clone());
        let known = 1 + usize::from(size_input.is_some() && sidecar.family == Family::Dfine);
        if engine.inputs().len() != known {
            let names: Vec<_> = engine.inputs().iter().map(|i| i.name.as_str()).collect();
            return Err(refuse(format!(
                "it has the inputs {}, of which not all are known for this family",
                names.join(", ")
            )));
        }
        let fit = Fit {
            width: wanted.width,
            height: wanted.height,
            letterbox: wanted.resize == sidecar::Resize::Letterbox,
            pad: wanted.pad,
            bgr: wanted.color == sidecar::Color::Bgr,
            mean: wanted.mean,
            std: wanted.std,
        };
        Ok(Self {
            input: image.name.clone(),
            bytes: image.ty == ElementType::U8,
            size_input,
            model: name,
            sidecar,
            fit,
            engine,
            device: None,
        })
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn sidecar(&self) -> &Sidecar {
        &self.sidecar
    }

    /// The name of a class.
    pub fn label(&self, class: usize) -> String {
        match self.sidecar.labels.get(class) {
            Some(label) => label.clone(),
            None => format!("class {class}"),
        }
    }

    /// Objects of at least `threshold`, best first, in pixels of the picture.
    pub fn find(
        &self,
        picture: &Yuv420,
        colour: (Gamut, bool),
        threshold: f32,
        overlap: f32,
    ) -> Result<Vec<Object>, DetectError> {
        let shape = [1, 3, self.fit.height, self.fit.width];
        let values = self.fit.prepare(picture, colour);
        let tensor = match self.bytes {
            true => Tensor::u8(
                shape,
                values
                    .iter()
                    .map(|v| v.round().clamp(0.0, 255.0) as u8)
                    .collect(),
            ),
            false => Tensor::f32(shape, values),
        };
        let mut inputs = vec![(self.input.as_str(), tensor)];
        if self.sidecar.family == Family::Dfine
            && let Some(name) = &self.size_input
        {
            // Boxes are wanted in pixels of the input; they are scaled back here, as all are.
            let size = vec![self.fit.width as i64, self.fit.height as i64];
            inputs.push((name.as_str(), Tensor::i64([1, 2], size)));
        }
        let outputs = self.engine.run(inputs)?;
        let size = (picture.width, picture.height);
        self.objects(&outputs, size, threshold, overlap)
    }

    /// What the model's results say of a picture of this size.
    fn objects(
        &self,
        outputs: &Outputs,
        size: (usize, usize),
        threshold: f32,
        overlap: f32,
    ) -> Result<Vec<Object>, DetectError> {
        let input = (self.fit.width, self.fit.height);
        let objects = match self.sidecar.family {
            Family::Yolox => decode::yolox(
                outputs,
                input,
                &self.sidecar.strides,
                self.sidecar.decoded,
                threshold,
            ),
            Family::Dfine => decode::dfine(outputs, input, threshold),
        }
        .map_err(|problem| DetectError::Model {
            model: self.model.clone(),
            problem,
        })?;
        let objects = match self.sidecar.family {
            Family::Yolox => decode::suppress(objects, overlap),
            // A set prediction: each object once already.
            Family::Dfine => objects,
        };
        Ok(self.fit.undo(objects, size))
    }
}
