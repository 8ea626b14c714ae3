// SPDX-License-Identifier: Apache-2.0
//! Noise reduction: one net for luma and chroma that is told how much noise there is.

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

use aivideo_cuda::picture::Picture as Picture420;

use super::{
    Build, Built, BuiltIn, Definition, EnhanceError, Measurement, NET, Operation, Spare,
    ports::{Port, check_ports, crop, expect_plane, pad_into},
};
use crate::{
    blocks::Planes,
    device::{OnDevice, Stream},
    frame::{Frame, Picture},
    noise::{self, Follower},
    spec::{Kind, Param, Values},
    temporal::Temporal,
};

const NAME: &str = "denoise";
/// The net takes luma in blocks of this side.
const MULTIPLE: usize = 8;
/// Less than this is rounding, not noise: the picture is left as it is.
const VISIBLE: f32 = 0.6;

/// Largest noise level that the net was trained for.
pub const MAX_SIGMA: f32 = 55.0;

pub const DEFINITION: Definition = Definition {
    name: NAME,
    preset: Some("noise_reduction"),
    nick: "Noise reduction",
    blurb: "Removes noise of a given or measured level from luma and chroma",
    params: &[
        Param {
            name: "strength",
            blurb: "Standard deviation of the noise of luma in 8-bit steps, or measured",
            kind: LEVEL,
        },
        Param {
            name: "chroma",
            blurb: "The same of chroma; auto: measured, or half of a given strength",
            kind: LEVEL,
        },
        Param {
            name: "temporal",
            blurb: "How much of the last picture is mixed in where nothing moves",
            kind: Kind::Number {
                min: 0.0,
                max: 0.9,
                default: 0.6,
                auto: false,
            },
        },
        NET,
        Param {
            name: "model",
            blurb: "ONNX file instead of the built-in net",
            kind: Kind::Path,
        },
    ],
    build,
};

const LEVEL: Kind = Kind::Number {
    min: 0.0,
    max: MAX_SIGMA as f64,
    default: f64::NAN,
    auto: true,
};

/// A noise level: measured on each picture, or given in 8-bit steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Level {
    Auto,
    Sigma(f32),
}

impl Level {
    /// From a parameter, where NaN is `auto`.
    fn new(value: f64) -> Self {
        if value.is_nan() {
            Self::Auto
        } else {
            Self::Sigma((value as f32).clamp(0.0, MAX_SIGMA))
        }
    }
}

fn build(values: &Values, build: &Build) -> Built {
    let nets = BuiltIn {
        operation: NAME,
        small: default_model(),
        large: large_model(),
        ensemble: None,
    };
    let (model, _loaded) = build.net(values, nets)?;
    let level = |name| Level::new(values.number(name));
    let mut step = Denoise::new(level("strength"), level("chroma"), &model, build.inference)?;
    step.mixing = values.number("temporal") as f32;
    step.chroma_follows = !values.is_given("chroma");
    Ok(Box::new(step))
}

/// The net that comes with the plugin.
pub fn default_model() -> ModelSource {
    ModelSource::Embedded {
        name: "enhance/denoise.onnx",
        bytes: include_bytes!("../../../../models/enhance/denoise.onnx"),
    }
}

/// The one that removes more noise and takes longer.
pub fn large_model() -> ModelSource {
    ModelSource::Embedded {
        name: "enhance/denoise-large.onnx",
        bytes: include_bytes!("../../../../models/enhance/denoise-large.onnx"),
    }
}

/// Removes noise of a given level, or of the level that it measures.
pub struct Denoise {
    engine: Engine,
    /// The same net without ONNX Runtime.
    own: Option<OwnKernels<cpu::Net>>,
    model: String,
    strength: Level,
    chroma: Level,
    /// With a given strength, half of that is meant for chroma unless something else is said.
    chroma_follows: bool,
    temporal: Temporal,
    /// Largest weight of the last picture.
    mixing: f32,
    luma_level: Follower,
    chroma_level: Follower,
    /// Used on the latest picture: luma, chroma.
    sigma: (f32, f32),
    bypassed: u64,
    device: device::DeviceDenoise,
}

impl Denoise {
    /// Loads the net.
    pub fn new(
        strength: Level,
        chroma: Level,
        model: &ModelSource,
        settings: &InferenceSettings,
    ) -> Result<Self, EnhanceError> {
        let engine = Engine::acquire(model, settings)?;
        let port = |name, channels: &'static [Option<usize>]| Port {
            name,
            ty: ElementType::U8,
            shape: channels,
        };
        const ONE: &[Option<usize>] = &[Some(1), Some(1), None, None];
        const TWO: &[Option<usize>] = &[Some(1), Some(2), None, None];
        let sigma = Port {
            name: "sigma",
            ty: ElementType::F32,
            shape: &[Some(2)],
        };
        check_ports(
            NAME,
            model,
            &engine,
            &[port("y", ONE), port("uv", TWO), sigma],
            &[port("y_out", ONE), port("uv_out", TWO)],
        )?;
        let own = super::cpu::load(&engine, model, settings, NAME, cpu::Net::new)?;
        Ok(Self {
            engine,
            own,
            model: model.describe(),
            strength,
            chroma,
            chroma_follows: true,
            temporal: Temporal::default(),
            mixing: 0.0,
            luma_level: Follower::default(),
            chroma_level: Follower::default(),
            sigma: (0.0, 0.0),
            bypassed: 0,
            device: device::DeviceDenoise::default(),
        })
    }

    /// Whether the net runs in this project's kernels.
    #[cfg(test)]
    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Whether luma, and whether chroma, must be measured.
    fn measures(&self) -> (bool, bool) {
        let luma = self.strength == Level::Auto;
        // With a given strength, half of it may be meant for chroma.
        let chroma = self.chroma == Level::Auto && (luma || !self.chroma_follows);
        (luma, chroma)
    }

    /// Finds the levels for a picture, whose components are measured by `estimate`.
    fn follow(&mut self, estimate: impl Fn(usize) -> Option<f32>) {
        let measured = self.measures();
        let luma = match self.strength {
            Level::Sigma(sigma) => sigma,
            Level::Auto => self.luma_level.update(estimate(0)),
        };
        let chroma = match self.chroma {
            Level::Sigma(sigma) => sigma,
            // Chroma is averaged over four samples on its way to 4:2:0.
            Level::Auto if !measured.1 => luma / 2.0,
            Level::Auto => {
                let both = match (estimate(1), estimate(2)) {
                    (Some(u), Some(v)) => Some((u + v) / 2.0),
                    (u, v) => u.or(v),
                };
                self.chroma_level.update(both)
            }
        };
        self.sigma = (luma.min(MAX_SIGMA), chroma.min(MAX_SIGMA));
    }

    /// Whether there is too little noise to do anything.
    fn is_clean(&self) -> bool {
        self.sigma.0 < VISIBLE && self.sigma.1 < VISIBLE
    }
}

impl Denoise {
    fn clean(&mut self, picture: Yuv420, spare: &mut Spare) -> Result<Yuv420, EnhanceError> {
        self.follow(|component| {
            noise::estimate(match component {
                0 => picture.y_plane(),
                1 => picture.u_plane(),
                _ => picture.v_plane(),
            })
        });
        let (luma, chroma) = self.sigma;
        if self.is_clean() {
            self.bypassed += 1;
            return Ok(picture);
        }
        let (w, h) = (picture.width, picture.height);
        let (cw, ch) = (picture.chroma_width(), picture.chroma_height());
        let (pw, ph) = (w.next_multiple_of(MULTIPLE), h.next_multiple_of(MULTIPLE));
        let (pcw, pch) = (pw / 2, ph / 2);

        let mut uv = spare.take(2 * pcw * pch);
        let (pu, pv) = uv.split_at_mut(pcw * pch);
        pad_into(&picture.u, (cw, ch), (pcw, pch), pu);
        pad_into(&picture.v, (cw, ch), (pcw, pch), pv);
        spare.give(picture.u);
        spare.give(picture.v);
        let y = if (pw, ph) == (w, h) {
            picture.y
        } else {
            let mut padded = spare.take(pw * ph);
            pad_into(&picture.y, (w, h), (pw, ph), &mut padded);
            spare.give(picture.y);
            padded
        };

        let (mut y, mut u) = match &mut self.own {
            Some(own) => {
                let (mut y_out, mut uv_out) = (spare.take(pw * ph), spare.take(2 * pcw * pch));
                own.run(&self.engine, |net| {
                    let picture = Planes {
                        width: pw,
                        height: ph,
                        y: &y,
                        uv: &uv,
                    };
                    net.run(&picture, [luma, chroma], &mut y_out, &mut uv_out);
                });
                spare.give(y);
                spare.give(uv);
                (y_out, uv_out)
            }
            None => {
                let mut outputs = self.engine.run(vec![
                    ("y", Tensor::u8([1, 1, ph, pw], y)),
                    ("uv", Tensor::u8([1, 2, pch, pcw], uv)),
                    ("sigma", Tensor::f32([2], vec![luma, chroma])),
                ])?;
                let mut plane =
                    |name, shape| expect_plane(NAME, &self.model, &mut outputs, name, shape);
                (
                    plane("y_out", [1, 1, ph, pw])?,
                    plane("uv_out", [1, 2, pch, pcw])?,
                )
            }
        };
        let mut v = spare.take(pcw * pch);
        v.copy_from_slice(&u[pcw * pch..]);
        crop(&mut y, pw, (w, h));
        crop(&mut u, pcw, (cw, ch));
        crop(&mut v, pcw, (cw, ch));
        Ok(Yuv420 {
            width: w,
            height: h,
            y,
            u,
            v,
        })
    }
}

impl Operation for Denoise {
    fn name(&self) -> &'static str {
        NAME
    }

    fn remembers(&self) -> bool {
        true
    }

    fn wants_cuts(&self) -> bool {
        true
    }

    fn process(&mut self, frame: Frame, spare: &mut Spare) -> Result<Option<Frame>, EnhanceError> {
        let Frame {
            picture: Picture::Eight(picture),
            cut,
            sightings,
        } = frame
        else {
            return Err(super::not_eight(NAME));
        };
        if cut {
            self.reset();
        }
        let bypassed = self.bypassed;
        let mut picture = self.clean(picture, spare)?;
        if self.bypassed == bypassed {
            let (temporal, mixing, sigma) = (&mut self.temporal, self.mixing, self.sigma);
            let mut mix = || temporal.apply(&mut picture, mixing, sigma);
            match &self.own {
                Some(own) => own.install(mix),
                None => mix(),
            }
        } else {
            self.temporal.reset();
        }
        Ok(Some(Frame {
            picture: Picture::Eight(picture),
            cut,
            sightings,
        }))
    }

    fn on_device(&self) -> OnDevice {
        OnDevice::Makes(device::KERNELS)
    }

    #[allow(unsafe_code)] // passes the caller's promise on
    unsafe fn process_on_device(
        &mut self,
        stream: &Stream,
        input: &Picture420,
        output: &Picture420,
        cut: bool,
    ) -> Result<(), EnhanceError> {
        if cut {
            self.reset();
        }
        let stream = stream.of(NAME);
        // SAFETY: the promise is the same.
        unsafe { self.clean_on_device(&stream, input, output) }
    }

    fn collect_from_device(&mut self, stream: &Stream) -> Result<(), EnhanceError> {
        if let Some(still) = self.device.still(&stream.of(NAME))? {
            self.temporal.still = still;
        }
        Ok(())
    }

    fn set(&mut self, parameter: &str, value: f64) {
        match parameter {
            "strength" => self.strength = Level::new(value),
            "chroma" => self.chroma = Level::new(value),
            "temporal" => self.mixing = value as f32,
            _ => {}
        }
    }

    fn reset(&mut self) {
        self.temporal.reset();
        self.device.reset();
        self.luma_level.reset();
        self.chroma_level.reset();
    }

    fn measurements(&self) -> Vec<Measurement> {
        vec![
            ("denoise-sigma", f64::from(self.sigma.0)),
            ("denoise-sigma-chroma", f64::from(self.sigma.1)),
            ("denoise-bypassed", self.bypassed as f64),
            ("denoise-still", self.temporal.still),
        ]
    }

    fn engine(&self) -> Option<&Engine> {
        Some(&self.engine)
    }
}
