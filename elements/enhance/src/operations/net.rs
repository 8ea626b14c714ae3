// SPDX-License-Identifier: Apache-2.0
//! Any net that makes a picture of a picture, of the same size or a larger one.

use aivideo_core::{engine::Engine, model::ModelSource};

use super::{Build, Built, Definition, EnhanceError, ImageNet, Operation, Spare};
use crate::{
    frame::{Depth, Format, Frame, Picture},
    spec::{Kind, Param, Values},
};

const NAME: &str = "net";

/// What floats of white are.
pub const RANGE: Param = Param {
    name: "range",
    blurb: "What white is as a float, for nets that take floats",
    kind: Kind::Choice {
        choices: &["1", "255"],
        default: 0,
    },
};

pub const DEFINITION: Definition = Definition {
    name: NAME,
    preset: None,
    nick: "Any net",
    blurb: "Runs a net of the user's from picture to picture, of 1 or 3 channels and any layout, in tiles where its size is fixed",
    params: &[
        Param {
            name: "model",
            blurb: "ONNX file; there is no built-in one",
            kind: Kind::Path,
        },
        RANGE,
    ],
    build,
};

fn build(values: &Values, build: &Build) -> Built {
    let path = values
        .path("model")
        .or_else(|| build.inference.model_location.clone());
    let Some(path) = path else {
        return Err(EnhanceError::Values {
            operation: NAME,
            problem: "it has no net of its own; write net:model=<path of an ONNX file>".into(),
        });
    };
    let white = values.choice("range").parse().unwrap_or(1.0);
    Ok(Box::new(Net {
        net: ImageNet::new(NAME, &ModelSource::File(path), build.inference, white)?,
        name: NAME,
        passes: 1,
        format: Format::default(),
    }))
}

/// A net as a step, run once or, to enlarge further, several times.
pub struct Net {
    pub(super) net: ImageNet,
    pub(super) name: &'static str,
    pub(super) passes: u32,
    pub(super) format: Format,
}

impl Operation for Net {
    fn name(&self) -> &'static str {
        self.name
    }

    fn output(&self, input: &Format) -> Result<Format, String> {
        if input.depth != Depth::Eight {
            return Err(super::EIGHT_BITS.into());
        }
        let scale = self.net.scale().pow(self.passes);
        Ok(Format {
            width: input.width * scale,
            height: input.height * scale,
            ..*input
        })
    }

    fn start(&mut self, input: &Format) {
        self.format = *input;
    }

    fn process(&mut self, frame: Frame, spare: &mut Spare) -> Result<Option<Frame>, EnhanceError> {
        let Picture::Eight(picture) = frame.picture else {
            return Err(super::not_eight(self.name));
        };
        let Format { colour, siting, .. } = self.format;
        let picture = (0..self.passes).try_fold(picture, |picture, _| {
            self.net.process(picture, colour, siting, spare)
        })?;
        Ok(Some(Frame {
            picture: Picture::Eight(picture),
            ..frame
        }))
    }

    fn engine(&self) -> Option<&Engine> {
        Some(self.net.engine())
    }
}
