// SPDX-License-Identifier: Apache-2.0
//! What operations share that work on pictures in a GPU's memory.

use std::sync::Arc;

use aivideo_core::{
    engine::{Binding, DeviceTensor, Engine, Outputs},
    error::EngineError,
    tensor::ElementType,
};
use aivideo_cuda::{
    Launch, LaunchError, Memory,
    device::{Buffer, DeviceError, Gpu},
    picture::{Picture, Samples},
};

use crate::{
    frame::{Depth, Format},
    operations::EnhanceError,
};

/// Whether, and how, an operation works on pictures in a GPU's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnDevice {
    /// It makes another picture, by these kernels.
    Makes(&'static [&'static str]),
    /// The same, when it has seen as many more pictures as it looks ahead.
    Later(&'static [&'static str]),
    /// It looks at the picture by these kernels, and leaves it as it is.
    Looks(&'static [&'static str]),
    /// It has no form for them: why.
    No(String),
}

/// The one stream to which a chain's work goes, in the order of the calls. Models run on streams of
/// their own, which wait for this one and are waited for.
#[derive(Clone)]
pub struct Stream {
    gpu: Arc<Gpu>,
    /// Whose work it is, for messages.
    operation: &'static str,
}

impl Stream {
    pub fn new(gpu: Arc<Gpu>) -> Self {
        Self {
            gpu,
            operation: "aienhance",
        }
    }

    /// The same for an operation.
    #[must_use]
    pub fn of(&self, operation: &'static str) -> Self {
        Self {
            gpu: self.gpu.clone(),
            operation,
        }
    }

    fn failed(&self, reason: &dyn std::fmt::Display) -> EnhanceError {
        EnhanceError::Device {
            operation: self.operation,
            reason: reason.to_string(),
        }
    }

    fn done<T>(&self, result: Result<T, DeviceError>) -> Result<T, EnhanceError> {
        result.map_err(|err| self.failed(&err))
    }

    /// Starts a kernel.
    ///
    /// # Safety
    /// The memory that the launcher was given must be this GPU's and live until the stream was waited for.
    #[allow(unsafe_code)] // passes the caller's promise on
    pub unsafe fn start(&self, launch: Result<Launch, LaunchError>) -> Result<(), EnhanceError> {
        let launch = launch.map_err(|err| self.failed(&err))?;
        // SAFETY: the promise is the same.
        self.done(unsafe { self.gpu.start(&launch) })
    }

    /// Memory of zeros.
    pub fn zeros(&self, bytes: u64) -> Result<Buffer, EnhanceError> {
        self.done(self.gpu.zeros(bytes as usize))
    }

    /// Writes zeros into memory.
    pub fn clear(&self, buffer: &Buffer) -> Result<(), EnhanceError> {
        // SAFETY: the buffer is this GPU's, and freed, when it is, in the order of the stream.
        #[allow(unsafe_code)]
        self.done(unsafe { self.gpu.fill(0, buffer.memory()) })
    }

    /// Copies bytes of the host to the beginning of memory; they may be changed afterwards.
    pub fn write(&self, bytes: &[u8], to: &Buffer) -> Result<(), EnhanceError> {
        self.done(self.gpu.write(bytes, to))
    }

    /// Waits for what was started, and takes memory down.
    pub fn read(&self, buffer: &Buffer) -> Result<Vec<u8>, EnhanceError> {
        self.done(self.gpu.download(buffer))
    }

    /// The engine's stream, where it is another one.
    fn other<'a>(&self, engine: &'a Engine) -> Result<Option<&'a Arc<Gpu>>, EnhanceError> {
        let gpu = engine.gpu().ok_or_else(|| EngineError::Device {
            device: engine.device_in_use().to_string(),
            reason: "the picture lies in a GPU's memory".to_string(),
        })?;
        Ok((!Arc::ptr_eq(gpu, &self.gpu)).then_some(gpu))
    }

    /// What the engine's user starts from now on happens after what was started here.
    pub fn lead(&self, engine: &Engine) -> Result<(), EnhanceError> {
        match self.other(engine)? {
            Some(gpu) => self.done(gpu.follow(&self.gpu)),
            None => Ok(()),
        }
    }

    /// What is started here from now on happens after what the engine's user has started.
    fn follow(&self, engine: &Engine) -> Result<(), EnhanceError> {
        match self.other(engine)? {
            Some(gpu) => self.done(self.gpu.follow(gpu)),
            None => Ok(()),
        }
    }

    /// A tensor of an engine, for kernels of this stream.
    pub fn tensor(
        &self,
        engine: &Engine,
        shape: impl Into<Vec<usize>>,
        ty: ElementType,
    ) -> Result<DeviceTensor, EnhanceError> {
        let tensor = engine.device_tensor(shape, ty)?;
        self.follow(engine)?;
        Ok(tensor)
    }

    /// Runs a model between what was started before and what comes next.
    pub fn run(&self, engine: &Engine, run: &Binding) -> Result<Outputs, EnhanceError> {
        self.lead(engine)?;
        let outputs = run.run();
        // Also after an error: part of the work may be under way.
        self.follow(engine)?;
        Ok(outputs?)
    }

    /// Copies a picture to another of its size and depth.
    ///
    /// # Safety
    /// As [`Self::start`].
    #[allow(unsafe_code)] // passes the caller's promise on
    pub unsafe fn copy(&self, from: &Picture, to: &Picture) -> Result<(), EnhanceError> {
        for (from, to) in from.components().iter().zip(to.components()) {
            // SAFETY: the promise is the same.
            unsafe { self.start(from.copy(&to)) }?;
        }
        Ok(())
    }
}

/// The kernel that [`Stream::copy`] starts.
pub const COPY: &str = "picture_copy";

/// A picture in memory of a chain's own, for what happens between two steps.
pub struct Own {
    buffer: Buffer,
    size: (u32, u32),
    samples: Samples,
}

impl Own {
    pub fn new(stream: &Stream, format: &Format) -> Result<Self, EnhanceError> {
        let (size, samples) = Self::form(format);
        Ok(Self {
            buffer: stream.zeros(Picture::planar_bytes(size, samples))?,
            size,
            samples,
        })
    }

    fn form(format: &Format) -> ((u32, u32), Samples) {
        let samples = match format.depth {
            Depth::Eight => Samples::Eight,
            Depth::Ten => Samples::TenLower,
        };
        ((format.width as u32, format.height as u32), samples)
    }

    /// Whether it is for pictures of a format.
    pub fn fits(&self, format: &Format) -> bool {
        (self.size, self.samples) == Self::form(format)
    }

    pub fn picture(&self) -> Picture {
        Picture::planar(self.buffer.memory(), self.size, self.samples)
    }
}

/// Where a component's plane of a tensor of two is.
pub fn half(memory: Memory, second: bool) -> Memory {
    match second {
        true => memory.from(memory.bytes / 2),
        false => Memory {
            bytes: memory.bytes / 2,
            ..memory
        },
    }
}
