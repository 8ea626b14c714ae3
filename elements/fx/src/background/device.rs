// SPDX-License-Identifier: Apache-2.0
//! Blurring pictures that lie in a GPU's memory, where they are. The mask comes down, as it follows those
//! before it on the host, and goes up again.

#![allow(unsafe_code)] // starting kernels

use aivideo_core::{
    engine::{Binding, DeviceTensor, EngineError},
    tensor::ElementType,
};
use aivideo_cuda::{
    LaunchError,
    blur::{self, Axis, Blur},
    device::{Buffer, DeviceError, Gpu},
    picture::Picture,
};

use super::mask::{Mask, MaskError, Segmenter};
use crate::{effects::gaussian, picture::Colorimetry};

/// The kernels that this starts.
pub const KERNELS: [&str; 5] = [
    "blur_sum",
    "blur_mean",
    "blur_convolve",
    "blur_merge",
    "blur_input",
];

/// The model's input on the GPU.
pub(super) struct Input {
    image: DeviceTensor,
    run: Binding,
}

impl Segmenter {
    fn failed(&self, reason: &dyn std::fmt::Display) -> MaskError {
        MaskError::Engine(EngineError::Run {
            model: self.input.clone(),
            reason: reason.to_string(),
        })
    }

    /// As [`Self::run`], for a picture in the memory of the GPU that the engine runs on; waits for the mask.
    ///
    /// # Safety
    /// The planes must be memory of that GPU and live until its stream was waited for.
    pub unsafe fn run_on_device(
        &mut self,
        picture: &Picture,
        color: &Colorimetry,
    ) -> Result<Mask, MaskError> {
        let gpu = self.engine.gpu().cloned();
        let gpu = gpu.ok_or_else(|| self.failed(&"it runs on no GPU"))?;
        let own = match self.device.take() {
            Some(own) => own,
            None => {
                let shape = match self.last {
                    true => [1, self.height, self.width, 3],
                    false => [1, 3, self.height, self.width],
                };
                let image = self.engine.device_tensor(shape, ElementType::F32)?;
                let inputs = vec![(self.input.as_str(), image.clone())];
                Input {
                    run: self.engine.bind_inputs(inputs)?,
                    image,
                }
            }
        };
        let (black, range) = color.luma_range();
        let (mean, scale) = self.normalization.mean_and_scale();
        let spec = blur::Input {
            width: self.width as u32,
            height: self.height as u32,
            last: self.last,
            black,
            range,
            chroma: color.chroma_range(),
            kr: color.kr,
            kb: color.kb,
            mean,
            scale,
        };
        let launch = spec
            .launch(picture, own.image.memory())
            .map_err(|err| self.failed(&err))?;
        // SAFETY: the planes are the caller's promise; the input is freed, when it is, in the order of the
        // stream.
        unsafe { gpu.start(&launch) }.map_err(|err| self.failed(&err))?;
        let outputs = own.run.run()?;
        self.device = Some(own);
        self.mask_of(outputs)
    }
}

/// Why a picture cannot be blurred there.
#[derive(Debug, thiserror::Error)]
pub enum BlurError {
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Memory for pictures of one size.
struct Sized {
    size: (u32, u32),
    planes: [Buffer; 3],
}

/// What blurs, from picture to picture.
#[derive(Default)]
pub struct DeviceBlur {
    sized: Option<Sized>,
    mask: Option<Buffer>,
}

impl DeviceBlur {
    /// Starts all that blurs a picture where the mask is 0; where it is 1 when `invert` is set.
    ///
    /// # Safety
    /// The picture's planes must be memory of this GPU and live until its stream was waited for.
    pub unsafe fn start(
        &mut self,
        gpu: &Gpu,
        picture: &Picture,
        mask: &Mask,
        sigma: f32,
        invert: bool,
    ) -> Result<(), BlurError> {
        let bytes: Vec<u8> = mask.values.iter().flat_map(|v| v.to_ne_bytes()).collect();
        let buffer = match self.mask.take() {
            Some(buffer) if buffer.memory().bytes == bytes.len() as u64 => buffer,
            _ => gpu.zeros(bytes.len())?,
        };
        gpu.write(&bytes, &buffer)?;
        let (width, height) = picture.size();
        let sized = match self.sized.take() {
            Some(sized) if sized.size == (width, height) => sized,
            _ => {
                let plane = || gpu.zeros(blur::plane_bytes(width, height) as usize);
                Sized {
                    size: (width, height),
                    planes: [plane()?, plane()?, plane()?],
                }
            }
        };
        let place = blur::Mask {
            memory: buffer.memory(),
            width: mask.width as u32,
            height: mask.height as u32,
        };
        let [a, b, c] = &sized.planes;
        let planes = [a, b, c].map(Buffer::memory);
        for (number, component) in picture.components().iter().enumerate() {
            let axis = || {
                let (factor, weights) = gaussian::axis(sigma / (1 << u32::from(number > 0)) as f32);
                Axis {
                    factor: factor as u32,
                    weights,
                }
            };
            let spec = Blur {
                x: axis(),
                y: axis(),
                invert,
            };
            for launch in spec.launches(component, &place, planes)? {
                // SAFETY: the planes are the caller's promise; what is kept is freed, when it is, in the
                // order of the stream.
                unsafe { gpu.start(&launch) }?;
            }
        }
        self.sized = Some(sized);
        self.mask = Some(buffer);
        Ok(())
    }
}
