// SPDX-License-Identifier: Apache-2.0
//! Upscaling pictures that lie in a GPU's memory into others there. Nothing crosses the bus.

#![allow(unsafe_code)] // starting kernels

use aivideo_core::{
    engine::{Binding, DeviceTensor, Engine},
    tensor::ElementType,
};
use aivideo_cuda::{
    picture::{Picture, Samples},
    upscale::{Crop, Pad, double},
};

use super::{MARGIN, MULTIPLE};
use crate::{
    chroma::Siting,
    device::{Own, Stream},
    frame::Format,
    operations::EnhanceError,
};

pub const KERNELS: &[&str] = &["upscale_pad", "upscale_crop", "upscale_chroma"];

/// One doubling of pictures of one size.
struct Pass {
    size: (u32, u32),
    padded: (u32, u32),
    x: DeviceTensor,
    y: DeviceTensor,
    run: Binding,
    /// Where the result goes when it is not the last.
    between: Option<Own>,
}

impl Pass {
    fn new(
        stream: &Stream,
        engine: &Engine,
        (w, h): (u32, u32),
        last: bool,
    ) -> Result<Self, EnhanceError> {
        let margin = 2 * MARGIN as u32;
        let [pw, ph] = [w, h].map(|side| (side + margin).next_multiple_of(MULTIPLE as u32));
        let tensor =
            |w: u32, h: u32| stream.tensor(engine, [1, 1, h as usize, w as usize], ElementType::U8);
        let (x, y) = (tensor(pw, ph)?, tensor(2 * pw, 2 * ph)?);
        let run = engine.bind(vec![("x", x.clone())], vec![("y", y.clone())])?;
        let format = Format {
            width: 2 * w as usize,
            height: 2 * h as usize,
            ..Format::default()
        };
        Ok(Self {
            size: (w, h),
            padded: (pw, ph),
            x,
            y,
            run,
            between: match last {
                true => None,
                false => Some(Own::new(stream, &format)?),
            },
        })
    }
}

/// The net's passes over pictures of one size.
#[derive(Default)]
pub(super) struct DeviceUpscale {
    passes: Vec<Pass>,
}

impl DeviceUpscale {
    /// Starts all that makes `output` of `input`.
    ///
    /// # Safety
    /// The pictures' planes must be memory of the stream's GPU and live until it was waited for.
    pub(super) unsafe fn process(
        &mut self,
        stream: &Stream,
        engine: &Engine,
        passes: u32,
        siting: Siting,
        input: &Picture,
        output: &Picture,
    ) -> Result<(), EnhanceError> {
        let stream = stream.of(super::NAME);
        let size = input.size();
        if self.passes.first().is_none_or(|pass| pass.size != size) {
            self.passes = (0..passes)
                .map(|n| Pass::new(&stream, engine, (size.0 << n, size.1 << n), n + 1 == passes))
                .collect::<Result<_, _>>()?;
        }
        let mut from = *input;
        for pass in &self.passes {
            let to = pass.between.as_ref().map_or(*output, Own::picture);
            // SAFETY: the pictures are the caller's or the passes'; what is the passes' is freed, when
            // it is, in the order of the stream.
            unsafe { pass.start(&stream, engine, siting, &from, &to) }?;
            from = to;
        }
        Ok(())
    }
}

impl Pass {
    /// Starts one pass.
    ///
    /// # Safety
    /// As [`DeviceUpscale::process`].
    unsafe fn start(
        &self,
        stream: &Stream,
        engine: &Engine,
        siting: Siting,
        from: &Picture,
        to: &Picture,
    ) -> Result<(), EnhanceError> {
        let (w, h) = self.size;
        let (pw, ph) = self.padded;
        debug_assert!(from.samples() == Samples::Eight);
        let pad = Pad {
            width: w,
            height: h,
            margin: MARGIN as u32,
            out_width: pw,
            out_height: ph,
        };
        // SAFETY: the caller's promise.
        unsafe { stream.start(pad.launch(from.y.area, self.x.memory())) }?;
        stream.run(engine, &self.run)?;
        let crop = Crop {
            in_width: 2 * pw,
            in_height: 2 * ph,
            margin: 2 * MARGIN as u32,
            width: 2 * w,
            height: 2 * h,
        };
        // SAFETY: the same.
        unsafe { stream.start(crop.launch(self.y.memory(), to.y.area)) }?;
        let [even, odd] = siting.taps().map(|taps| taps.map(i32::from));
        for (from, to) in [(&from.u, &to.u), (&from.v, &to.v)] {
            // SAFETY: the same.
            unsafe { stream.start(double(from, to, even, odd)) }?;
        }
        Ok(())
    }
}
