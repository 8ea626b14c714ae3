// SPDX-License-Identifier: Apache-2.0
//! Upscaling: luma by a net, chroma by Catmull-Rom.

mod cpu;
mod device;

use aivideo_core::{
    engine::Engine,
    kernels::OwnKernels,
    model::ModelSource,
    pixels::Yuv420,
    settings::InferenceSettings,
    tensor::{ElementType, Tensor},
};

use aivideo_cuda::picture::Picture as DevicePicture;

use super::{
    Build, Built, BuiltIn, Definition, EnhanceError, ImageNet, NET, Operation, Spare,
    net::{Net, RANGE},
    ports::{Port, check_ports, crop_around, expect_plane, pad_around},
};
use crate::{
    chroma::{self, Siting},
    device::{OnDevice, Stream},
    frame::{Depth, Format, Frame, Picture},
    spec::{Kind, Param, Values},
};

const NAME: &str = "upscale";
/// The net takes luma in blocks of this side.
const MULTIPLE: usize = 2;
/// Its convolutions take what is outside for black, and draw lines along the edges: 28 dB there
/// instead of 44. Two repeated samples around keep them outside, more gain nothing.
const MARGIN: usize = 2;

pub const DEFINITION: Definition = Definition {
    name: NAME,
    preset: Some("upscaling"),
    nick: "Upscaling",
    blurb: "Enlarges: luma by a net, chroma by Catmull-Rom",
    params: &[
        Param {
            name: "factor",
            blurb: "Times the width and height",
            kind: Kind::Choice {
                choices: &["2", "4"],
                default: 0,
            },
        },
        Param {
            name: NET.name,
            blurb: "Which of the built-in nets: auto is the large one on a GPU and the small one, which is faster, on a CPU; ensemble is the mean of what the large one makes of the picture turned and mirrored in all eight ways, which is eight times its work",
            kind: Kind::Choice {
                choices: &["auto", "small", "large", "ensemble"],
                default: 0,
            },
        },
        Param {
            name: "model",
            blurb: "ONNX file instead of the built-in net",
            kind: Kind::Path,
        },
        RANGE,
    ],
    build,
};

fn build(values: &Values, build: &Build) -> Built {
    let factor: u32 = values.choice("factor").parse().unwrap_or(2);
    let nets = BuiltIn {
        operation: NAME,
        small: default_model(),
        large: large_model(),
        ensemble: Some(ensemble_model()),
    };
    let (model, _loaded) = build.net(values, nets)?;
    let own = match &model {
        ModelSource::File(_) => Upscale::new(factor, &model, build.inference),
        _ => return Ok(Box::new(Upscale::new(factor, &model, build.inference)?)),
    };
    match own {
        Ok(own) => Ok(Box::new(own)),
        // Not one of ours: any other net that enlarges.
        Err(EnhanceError::Model { .. }) => {
            let white = values.choice("range").parse().unwrap_or(1.0);
            let net = ImageNet::new(NAME, &model, build.inference, white)?;
            let scale = net.scale() as u32;
            let wanted = if values.is_given("factor") {
                factor
            } else {
                scale
            };
            let passes = (1..=3).find(|n| scale.pow(*n) == wanted);
            match passes {
                Some(passes) if scale > 1 => Ok(Box::new(Net {
                    net,
                    name: NAME,
                    passes,
                    format: Format::default(),
                    between: Vec::new(),
                })),
                _ => Err(EnhanceError::Model {
                    operation: NAME,
                    model: model.describe(),
                    reason: format!("it enlarges {scale} times"),
                    cure: if scale == 1 {
                        "nets that keep the size run as net:model=<path>"
                    } else {
                        "leave factor= out, or give a net for the factor"
                    },
                }),
            }
        }
        Err(error) => Err(error),
    }
}

/// The net that comes with the plugin.
pub fn default_model() -> ModelSource {
    ModelSource::Embedded {
        name: "enhance/upscale-x2.onnx",
        bytes: include_bytes!("../../../../models/enhance/upscale-x2.onnx"),
    }
}

/// The one that gets nearer to the truth and takes longer.
pub fn large_model() -> ModelSource {
    ModelSource::Embedded {
        name: "enhance/upscale-x2-large.onnx",
        bytes: include_bytes!("../../../../models/enhance/upscale-x2-large.onnx"),
    }
}

/// The mean of what that one makes of a picture turned and mirrored in all eight ways: nearer still, and slower.
pub fn ensemble_model() -> ModelSource {
    ModelSource::Embedded {
        name: "enhance/upscale-x2-ensemble.onnx",
        bytes: include_bytes!("../../../../models/enhance/upscale-x2-ensemble.onnx"),
    }
}

/// Twice or four times the size; four is two passes of the same net.
pub struct Upscale {
    engine: Engine,
    /// The same net without ONNX Runtime.
    own: Option<OwnKernels<cpu::Net>>,
    model: String,
    passes: u32,
    siting: Siting,
    line: Vec<i16>,
    device: device::DeviceUpscale,
}

impl Upscale {
    /// Loads the net. `factor` is a power of two.
    pub fn new(
        factor: u32,
        model: &ModelSource,
        settings: &InferenceSettings,
    ) -> Result<Self, EnhanceError> {
        let engine = Engine::acquire(model, settings)?;
        let port = |name| Port {
            name,
            ty: ElementType::U8,
            shape: &[Some(1), Some(1), None, None],
        };
        check_ports(NAME, model, &engine, &[port("x")], &[port("y")])?;
        let own = super::cpu::load(&engine, model, settings, NAME, cpu::Net::new)?;
        Ok(Self {
            engine,
            own,
            model: model.describe(),
            passes: factor.trailing_zeros(),
            siting: Siting::default(),
            line: Vec::new(),
            device: device::DeviceUpscale::default(),
        })
    }

    /// Whether the net runs in this project's kernels.
    #[cfg(test)]
    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    fn twice(&mut self, picture: Yuv420, spare: &mut Spare) -> Result<Yuv420, EnhanceError> {
        let (w, h) = (picture.width, picture.height);
        let (cw, ch) = (picture.chroma_width(), picture.chroma_height());
        let [pw, ph] = [w, h].map(|side| (side + 2 * MARGIN).next_multiple_of(MULTIPLE));
        let mut luma = spare.take(pw * ph);
        pad_around(&picture.y, (w, h), MARGIN, pw, &mut luma);
        spare.give(picture.y);
        let mut u = spare.take(w * h);
        let mut v = spare.take(w * h);
        let (siting, line) = (self.siting, &mut self.line);
        let mut chroma = || {
            for (source, target) in [(&picture.u, &mut u), (&picture.v, &mut v)] {
                chroma::double(source, (cw, ch), target, (w, h), siting, line);
            }
        };
        // Chroma is done while the net is at work.
        let mut y = match &mut self.own {
            Some(own) => {
                let mut y = spare.take(4 * pw * ph);
                own.run(&self.engine, |net| {
                    rayon::join(|| net.run(&luma, [pw, ph], &mut y), chroma)
                });
                spare.give(luma);
                y
            }
            None => {
                let luma = Tensor::u8([1, 1, ph, pw], luma);
                let pending = self.engine.submit(vec![("x", luma)])?;
                chroma();
                let mut outputs = pending.wait()?;
                let shape = [1, 1, ph * 2, pw * 2];
                expect_plane(NAME, &self.model, &mut outputs, "y", shape)?
            }
        };
        spare.give(picture.u);
        spare.give(picture.v);
        crop_around(&mut y, pw * 2, MARGIN * 2, (w * 2, h * 2));
        Ok(Yuv420 {
            width: w * 2,
            height: h * 2,
            y,
            u,
            v,
        })
    }
}

impl Operation for Upscale {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output(&self, input: &Format) -> Result<Format, String> {
        if input.depth != Depth::Eight {
            return Err(super::EIGHT_BITS.into());
        }
        Ok(Format {
            width: input.width << self.passes,
            height: input.height << self.passes,
            ..*input
        })
    }

    fn start(&mut self, input: &Format) {
        self.siting = input.siting;
    }

    fn process(&mut self, frame: Frame, spare: &mut Spare) -> Result<Option<Frame>, EnhanceError> {
        let Picture::Eight(picture) = frame.picture else {
            return Err(super::not_eight(NAME));
        };
        let picture =
            (0..self.passes).try_fold(picture, |picture, _| self.twice(picture, spare))?;
        Ok(Some(Frame {
            picture: Picture::Eight(picture),
            ..frame
        }))
    }

    fn on_device(&self) -> OnDevice {
        OnDevice::Makes(device::KERNELS)
    }

    #[allow(unsafe_code)] // passes the caller's promise on
    unsafe fn process_on_device(
        &mut self,
        stream: &Stream,
        input: &DevicePicture,
        output: &DevicePicture,
        _cut: bool,
    ) -> Result<(), EnhanceError> {
        let (engine, passes, siting) = (&self.engine, self.passes, self.siting);
        // SAFETY: the promise is the same.
        unsafe {
            self.device
                .process(stream, engine, passes, siting, input, output)
        }
    }

    fn engine(&self) -> Option<&Engine> {
        Some(&self.engine)
    }
}
