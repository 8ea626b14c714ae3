// SPDX-License-Identifier: Apache-2.0
//! Upscaling pictures that lie in a GPU's memory into others there. Nothing crosses the bus.

#![allow(unsafe_code)] // starting kernels

use aivideo_core::{
    engine::{Binding, DeviceTensor, Engine},
    error::EngineError,
    tensor::ElementType,
};
use aivideo_cuda::{
    Area, Launch, LaunchError,
    detect::Planes,
    device::Gpu,
    upscale::{Chroma, Crop, Pad},
};

use super::{MARGIN, MULTIPLE};
use crate::{chroma::Siting, device::DevicePicture, operations::EnhanceError};

pub const KERNELS: &[&str] = &["upscale_pad", "upscale_crop", "upscale_chroma"];

/// One doubling of pictures of one size.
struct Pass {
    size: (usize, usize),
    padded: (usize, usize),
    x: DeviceTensor,
    y: DeviceTensor,
    run: Binding,
    /// Where the result goes when it is not the last: luma and two planes of chroma.
    between: Option<[DeviceTensor; 3]>,
}

impl Pass {
    fn new(engine: &Engine, (w, h): (usize, usize), last: bool) -> Result<Self, EngineError> {
        let [pw, ph] = [w, h].map(|side| (side + 2 * MARGIN).next_multiple_of(MULTIPLE));
        let x = engine.device_tensor([1, 1, ph, pw], ElementType::U8)?;
        let y = engine.device_tensor([1, 1, 2 * ph, 2 * pw], ElementType::U8)?;
        let run = engine.bind(vec![("x", x.clone())], vec![("y", y.clone())])?;
        let plane = |w: usize, h: usize| engine.device_tensor([h, w], ElementType::U8);
        let between = match last {
            true => None,
            false => Some([plane(2 * w, 2 * h)?, plane(w, h)?, plane(w, h)?]),
        };
        Ok(Self {
            size: (w, h),
            padded: (pw, ph),
            x,
            y,
            run,
            between,
        })
    }

    /// The picture in between, if this is not the last pass.
    fn result(&self) -> Option<DevicePicture> {
        let area = |tensor: &DeviceTensor| Area {
            memory: tensor.memory(),
            stride: tensor.shape()[1] as u32,
        };
        let [y, u, v] = self.between.as_ref()?;
        Some(DevicePicture {
            planes: Planes {
                y: area(y),
                u: area(u),
                v: area(v),
                step: 1,
                first: [0, 0],
            },
            width: 2 * self.size.0,
            height: 2 * self.size.1,
        })
    }
}

/// The net's passes over pictures of one size.
#[derive(Default)]
pub(super) struct DeviceUpscale {
    passes: Vec<Pass>,
}

/// Luma and chroma of a picture as launchers take them.
fn chroma(picture: &DevicePicture, which: usize) -> Chroma {
    let planes = &picture.planes;
    Chroma {
        area: if which == 0 { planes.u } else { planes.v },
        width: picture.width.div_ceil(2) as u32,
        height: picture.height.div_ceil(2) as u32,
        step: planes.step,
        first: planes.first[which],
    }
}

impl DeviceUpscale {
    /// Starts all that makes `output` of `input`.
    ///
    /// # Safety
    /// The pictures' planes must be memory of the engine's GPU and live until its stream was waited for.
    pub(super) unsafe fn process(
        &mut self,
        engine: &Engine,
        passes: u32,
        siting: Siting,
        input: &DevicePicture,
        output: &DevicePicture,
    ) -> Result<(), EnhanceError> {
        let failed = |reason: String| EngineError::Run {
            model: "upscale".to_string(),
            reason,
        };
        let gpu = engine
            .gpu()
            .ok_or_else(|| failed("it runs on no GPU".into()))?;
        let size = (input.width, input.height);
        if self.passes.first().is_none_or(|pass| pass.size != size) {
            self.passes = (0..passes)
                .map(|n| Pass::new(engine, (size.0 << n, size.1 << n), n + 1 == passes))
                .collect::<Result<_, _>>()?;
        }
        let mut from = *input;
        for pass in &self.passes {
            let to = pass.result().unwrap_or(*output);
            // SAFETY: the pictures are the caller's or the passes'; what is the passes' is freed, when
            // it is, in the order of the stream.
            unsafe { double(gpu, pass, siting, &from, &to) }?;
            from = to;
        }
        Ok(())
    }
}

/// Starts one pass.
///
/// # Safety
/// As [`DeviceUpscale::process`].
unsafe fn double(
    gpu: &Gpu,
    pass: &Pass,
    siting: Siting,
    from: &DevicePicture,
    to: &DevicePicture,
) -> Result<(), EnhanceError> {
    let failed = |reason: String| EngineError::Run {
        model: "upscale".to_string(),
        reason,
    };
    let start = |launch: Result<Launch, LaunchError>| {
        let launch = launch.map_err(|err| failed(err.to_string()))?;
        // SAFETY: the caller's promise.
        unsafe { gpu.start(&launch) }.map_err(|err| failed(err.to_string()))
    };
    let (w, h) = pass.size;
    let (pw, ph) = pass.padded;
    let pad = Pad {
        width: w as u32,
        height: h as u32,
        margin: MARGIN as u32,
        out_width: pw as u32,
        out_height: ph as u32,
    };
    start(pad.launch(from.planes.y, pass.x.memory()))?;
    pass.run.run()?;
    let crop = Crop {
        in_width: 2 * pw as u32,
        in_height: 2 * ph as u32,
        margin: 2 * MARGIN as u32,
        width: 2 * w as u32,
        height: 2 * h as u32,
    };
    start(crop.launch(pass.y.memory(), to.planes.y))?;
    let [even, odd] = siting.taps().map(|taps| taps.map(i32::from));
    for which in 0..2 {
        start(chroma(from, which).double(&chroma(to, which), even, odd))?;
    }
    Ok(())
}
