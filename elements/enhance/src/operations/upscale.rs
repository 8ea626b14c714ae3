// SPDX-License-Identifier: Apache-2.0
//! Upscaling: luma by a net, chroma by Catmull-Rom.

use aivideo_core::{
    engine::Engine,
    model::ModelSource,
    pixels::Yuv420,
    settings::InferenceSettings,
    tensor::{ElementType, Tensor},
};

use super::{EnhanceError, Operation, Port, Spare, check_ports, crop, expect_plane, pad_into};
use crate::chroma::{self, Siting};

const NAME: &str = "upscale";
/// The net takes luma in blocks of this side.
const MULTIPLE: usize = 2;

/// The net that comes with the plugin.
pub fn default_model() -> ModelSource {
    ModelSource::Embedded {
        name: "enhance/upscale-x2.onnx",
        bytes: include_bytes!("../../../../models/enhance/upscale-x2.onnx"),
    }
}

/// Twice or four times the size; four is two passes of the same net.
pub struct Upscale {
    engine: Engine,
    model: String,
    passes: u32,
    siting: Siting,
    line: Vec<i16>,
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
        Ok(Self {
            engine,
            model: model.describe(),
            passes: factor.trailing_zeros(),
            siting: Siting::default(),
            line: Vec::new(),
        })
    }

    fn twice(&mut self, picture: Yuv420, spare: &mut Spare) -> Result<Yuv420, EnhanceError> {
        let (w, h) = (picture.width, picture.height);
        let (cw, ch) = (picture.chroma_width(), picture.chroma_height());
        let (pw, ph) = (w.next_multiple_of(MULTIPLE), h.next_multiple_of(MULTIPLE));
        let luma = if (pw, ph) == (w, h) {
            picture.y
        } else {
            let mut padded = spare.take(pw * ph);
            pad_into(&picture.y, (w, h), (pw, ph), &mut padded);
            spare.give(picture.y);
            padded
        };
        let pending = self
            .engine
            .submit(vec![("x", Tensor::u8([1, 1, ph, pw], luma))])?;

        // Chroma is done here while the net is at work there.
        let mut u = spare.take(w * h);
        let mut v = spare.take(w * h);
        for (source, target) in [(&picture.u, &mut u), (&picture.v, &mut v)] {
            chroma::double(
                source,
                (cw, ch),
                target,
                (w, h),
                self.siting,
                &mut self.line,
            );
        }
        spare.give(picture.u);
        spare.give(picture.v);

        let mut outputs = pending.wait()?;
        let shape = [1, 1, ph * 2, pw * 2];
        let mut y = expect_plane(NAME, &self.model, &mut outputs, "y", shape)?;
        crop(&mut y, pw * 2, (w * 2, h * 2));
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

    fn scale(&self) -> usize {
        1 << self.passes
    }

    fn process(&mut self, picture: Yuv420, spare: &mut Spare) -> Result<Yuv420, EnhanceError> {
        (0..self.passes).try_fold(picture, |picture, _| self.twice(picture, spare))
    }

    fn set_siting(&mut self, siting: Siting) {
        self.siting = siting;
    }

    fn engine(&self) -> &Engine {
        &self.engine
    }
}
