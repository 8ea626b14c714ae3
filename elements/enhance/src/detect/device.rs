// SPDX-License-Identifier: Apache-2.0
//! Objects in pictures that lie in a GPU's memory: a kernel makes the model's input there, and only the
//! model's results cross the bus.

#![allow(unsafe_code)] // starting a kernel

use aivideo_core::{
    engine::{Binding, DeviceTensor},
    error::EngineError,
    tensor::ElementType,
};
use aivideo_cuda::{detect::Detect, picture::Picture};

use super::{DetectError, Detector, Object, sidecar::Family};
use crate::frame::Gamut;

/// The kernels that this may start.
pub const KERNELS: [&str; 2] = ["detect_f32", "detect_u8"];

/// The model's input on the GPU.
pub(super) struct DeviceInput {
    image: DeviceTensor,
    run: Binding,
}

impl DeviceInput {
    fn new(detector: &Detector) -> Result<Self, DetectError> {
        let engine = &detector.engine;
        let ty = match detector.bytes {
            true => ElementType::U8,
            false => ElementType::F32,
        };
        let fit = &detector.fit;
        let image = engine.device_tensor([1, 3, fit.height, fit.width], ty)?;
        let mut inputs = vec![(detector.input.as_str(), image.clone())];
        if let Some(name) = detector.wanted_size() {
            let size = engine.device_tensor([1, 2], ElementType::I64)?;
            let values = [fit.width as i64, fit.height as i64];
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_ne_bytes()).collect();
            let gpu = engine.gpu().ok_or_else(|| detector.no_gpu())?;
            gpu.write(&bytes, size.buffer())
                .map_err(|err| detector.failed(&err))?;
            inputs.push((name, size));
        }
        Ok(Self {
            run: engine.bind_inputs(inputs)?,
            image,
        })
    }
}

impl Detector {
    fn failed(&self, reason: &dyn std::fmt::Display) -> DetectError {
        DetectError::Engine(EngineError::Run {
            model: self.model.clone(),
            reason: reason.to_string(),
        })
    }

    fn no_gpu(&self) -> DetectError {
        self.failed(&"it runs on no GPU")
    }

    /// The name of D-FINE's second input.
    fn wanted_size(&self) -> Option<&str> {
        let name = self.size_input.as_deref();
        name.filter(|_| self.sidecar.family == Family::Dfine)
    }

    /// As [`Self::find`], for a picture in the memory of the GPU that the engine runs on.
    ///
    /// # Safety
    /// The planes must be memory of that GPU and live until its stream was waited for.
    pub unsafe fn find_on_device(
        &mut self,
        picture: &Picture,
        (gamut, full_range): (Gamut, bool),
        threshold: f32,
        overlap: f32,
    ) -> Result<Vec<Object>, DetectError> {
        let gpu = self.engine.gpu().cloned().ok_or_else(|| self.no_gpu())?;
        if self.device.is_none() {
            self.device = Some(DeviceInput::new(self)?);
        }
        let Some(device) = &self.device else {
            return Err(self.no_gpu());
        };
        let (width, height) = picture.size();
        let size = (width as usize, height as usize);
        let (inner_width, inner_height) = self.fit.inner(size);
        let (kr, kb) = gamut.weights();
        let spec = Detect {
            out_width: self.fit.width as u32,
            out_height: self.fit.height as u32,
            inner_width: inner_width as u32,
            inner_height: inner_height as u32,
            kr: kr as f32,
            kb: kb as f32,
            full_range,
            bgr: self.fit.bgr,
            pad: self.fit.pad,
            mean: self.fit.mean,
            std: self.fit.std,
            bytes: self.bytes,
        };
        let launch = spec
            .launch(picture, device.image.memory())
            .map_err(|err| self.failed(&err))?;
        // SAFETY: the planes are the caller's promise; the input is freed, when it is, in the order of
        // the stream.
        unsafe { gpu.start(&launch) }.map_err(|err| self.failed(&err))?;
        let outputs = device.run.run()?;
        self.objects(&outputs, size, threshold, overlap)
    }
}
