// SPDX-License-Identifier: Apache-2.0
//! Any net that makes a picture of a picture, of the same size or a larger one.

use aivideo_core::{engine::Engine, model::ModelSource};

use aivideo_cuda::picture::Picture as Picture420;

use super::{Build, Built, Definition, EnhanceError, ImageNet, Operation, Spare};
use crate::{
    device::{OnDevice, Own, Stream},
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
        between: Vec::new(),
    }))
}

/// A net as a step, run once or, to enlarge further, several times.
pub struct Net {
    pub(super) net: ImageNet,
    pub(super) name: &'static str,
    pub(super) passes: u32,
    pub(super) format: Format,
    /// On a GPU, pictures between two passes.
    pub(super) between: Vec<Own>,
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

    fn on_device(&self) -> OnDevice {
        OnDevice::Makes(super::image_net::device::KERNELS)
    }

    #[allow(unsafe_code)] // passes the caller's promise on
    unsafe fn process_on_device(
        &mut self,
        stream: &Stream,
        input: &Picture420,
        output: &Picture420,
        _cut: bool,
    ) -> Result<(), EnhanceError> {
        let (stream, format, scale) = (stream.of(self.name), self.format, self.net.scale());
        // What comes out of one pass and goes into the next.
        let mut between: Vec<Own> = std::mem::take(&mut self.between);
        let mut from = *input;
        for pass in 1..=self.passes {
            let scale = scale.pow(pass);
            let size = Format {
                width: format.width * scale,
                height: format.height * scale,
                ..format
            };
            let at = pass as usize - 1;
            let to = match pass == self.passes {
                true => *output,
                false => {
                    if between.get(at).is_none_or(|own| !own.fits(&size)) {
                        between.truncate(at);
                        between.push(Own::new(&stream, &size)?);
                    }
                    between[at].picture()
                }
            };
            // SAFETY: the promise is the same; own pictures are freed, when they are, in the stream's order.
            unsafe {
                self.net
                    .process_on_device(&stream, &from, &to, format.colour, format.siting)
            }?;
            from = to;
        }
        self.between = between;
        Ok(())
    }

    fn engine(&self) -> Option<&Engine> {
        Some(self.net.engine())
    }
}
