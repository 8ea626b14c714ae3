// SPDX-License-Identifier: Apache-2.0
//! What encoder and decoder share where pictures lie in the memory of the GPU that their networks run on.

#![allow(unsafe_code)] // starting kernels, copies and filling memory of the GPU

use super::depth::Depth;
use super::{CodecError, Picture};
use crate::bitstream::LONG_TERM_SLOTS;
use crate::loop_filter::{CLASSES, FrameFilters, SETS, TAPS};
use crate::motion::{PART, Sample, interpolate, overlap};
use aivideo_core::engine::{DeviceTensor, ElementType, Engine};
use aivideo_cuda::device::{Buffer, Gpu};
use aivideo_cuda::loop_filter::{self, SET_BYTES};
use aivideo_cuda::motion::Interpolation;
use aivideo_cuda::picture::Planes;
use aivideo_cuda::{Launch, Memory};
use std::sync::Arc;

const _: () = assert!(SET_BYTES == (2 * CLASSES * TAPS) as u64 && loop_filter::SETS == SETS as u64);

/// Sizes of a stream's pictures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub width: usize,
    pub height: usize,
    pub bits: u8,
}

impl Size {
    pub fn element(self) -> ElementType {
        match self.bits {
            10 => u16::ELEMENT,
            _ => u8::ELEMENT,
        }
    }

    pub fn luma(self) -> Planes {
        Planes {
            width: self.width as u32,
            rows: self.height as u32,
            count: 1,
            deep: self.bits > 8,
        }
    }

    /// Both of chroma.
    pub fn chroma(self) -> Planes {
        Planes {
            width: self.width as u32 / 2,
            rows: self.height as u32 / 2,
            count: 2,
            deep: self.bits > 8,
        }
    }

    /// Mid grey in 16 bits: two samples of eight, or one of ten.
    fn grey(self) -> u16 {
        match self.bits {
            10 => u16::GREY,
            _ => u16::from_ne_bytes([u8::GREY; 2]),
        }
    }
}

/// Luma, and both planes of chroma.
#[derive(Clone)]
pub(super) struct Pair {
    pub y: DeviceTensor,
    pub uv: DeviceTensor,
}

impl Pair {
    pub fn new(engine: &Engine, size: Size) -> Result<Self, CodecError> {
        let (w, h) = (size.width, size.height);
        Ok(Self {
            y: engine.device_tensor([1, 1, h, w], size.element())?,
            uv: engine.device_tensor([1, 2, h / 2, w / 2], size.element())?,
        })
    }

    pub fn fill_grey(&self, gpu: &Gpu, size: Size) -> Result<(), CodecError> {
        for tensor in [&self.y, &self.uv] {
            // SAFETY: the memory is this GPU's, and is freed, when it is, in the order of its stream.
            unsafe { gpu.fill(size.grey(), tensor.memory()) }?;
        }
        Ok(())
    }

    pub fn memory(&self) -> [Memory; 2] {
        [self.y.memory(), self.uv.memory()]
    }
}

/// A picture, and the state behind it.
#[derive(Clone)]
pub(super) struct Made {
    pub picture: Pair,
    pub state: DeviceTensor,
}

impl Made {
    pub fn new(engine: &Engine, size: Size, channels: usize) -> Result<Self, CodecError> {
        Ok(Self {
            picture: Pair::new(engine, size)?,
            state: state(engine, size, channels)?,
        })
    }

    pub fn tensors(&self) -> [&DeviceTensor; 3] {
        [&self.picture.y, &self.picture.uv, &self.state]
    }
}

/// Where the pictures and states of a stream are: of two, a frame reads one and writes the other; others are kept. All
/// that happens to them is started on one stream, that of the network of frames that are not key frames.
pub(super) struct Store {
    pub size: Size,
    engine: Engine,
    gpu: Arc<Gpu>,
    frames: [Made; 2],
    /// Which of them is the last frame.
    last: usize,
    kept: [Option<Made>; LONG_TERM_SLOTS],
}

impl Store {
    /// On the GPU of this engine.
    pub fn new(engine: &Engine, size: Size, channels: usize) -> Result<Self, CodecError> {
        let made = || Made::new(engine, size, channels);
        Ok(Self {
            size,
            gpu: gpu_of(engine)?.clone(),
            frames: [made()?, made()?],
            last: 0,
            kept: Default::default(),
            engine: engine.clone(),
        })
    }

    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    pub fn start(&self, launch: &Launch) -> Result<(), CodecError> {
        // SAFETY: launchers are given this stream's memory, which is freed, when it is, in the order of the
        // stream, that of the key frames' network, which the owner's `drop` waits for, and a frame's, which lives
        // until it was waited for.
        unsafe { self.gpu.start(launch) }?;
        Ok(())
    }

    pub fn copy(&self, from: Memory, to: Memory) -> Result<(), CodecError> {
        let own = |memory| (memory, self.gpu.owner());
        // SAFETY: as in `start`.
        unsafe { self.gpu.copy(own(from), own(to)) }?;
        Ok(())
    }

    /// Luma and chroma.
    pub fn copy_planes(&self, from: [Memory; 2], to: [Memory; 2]) -> Result<(), CodecError> {
        let mut planes = from.into_iter().zip(to);
        planes.try_for_each(|(from, to)| self.copy(from, to))
    }

    pub fn fill_zero(&self, memory: Memory) -> Result<(), CodecError> {
        // SAFETY: as in `start`.
        unsafe { self.gpu.fill(0, memory) }?;
        Ok(())
    }

    pub fn copy_frame(&self, from: &Made, to: &Made) -> Result<(), CodecError> {
        for (from, to) in from.tensors().into_iter().zip(to.tensors()) {
            self.copy(from.memory(), to.memory())?;
        }
        Ok(())
    }

    /// Both frames; the number of the last is [`Store::turn`].
    pub fn frames(&self) -> &[Made; 2] {
        &self.frames
    }

    pub fn turn(&self) -> usize {
        self.last
    }

    pub fn last(&self) -> &Made {
        &self.frames[self.last]
    }

    /// The one that the next frame is written to: the frame before the last.
    pub fn next(&self) -> &Made {
        &self.frames[1 - self.last]
    }

    /// The next frame has been started.
    pub fn advance(&mut self) {
        self.last = 1 - self.last;
    }

    pub fn reset_state(&self) -> Result<(), CodecError> {
        self.fill_zero(self.last().state.memory())
    }

    /// What is kept there.
    pub fn kept(&self, slot: usize) -> Option<&Made> {
        self.kept[slot].as_ref()
    }

    /// Keeps the last frame there.
    pub fn keep(&mut self, slot: usize) -> Result<(), CodecError> {
        let kept = match self.kept[slot].take() {
            Some(kept) => kept,
            None => Made::new(&self.engine, self.size, self.last().state.shape()[1])?,
        };
        self.copy_frame(self.last(), &kept)?;
        self.kept[slot] = Some(kept);
        Ok(())
    }

    /// Waits for the last picture, and brings it to the host.
    pub fn download<S: Depth>(&self) -> Result<Picture<S>, CodecError> {
        let samples = |tensor: &DeviceTensor| -> Result<Vec<S>, CodecError> {
            Ok(S::of_bytes(self.gpu.download(tensor.buffer())?))
        };
        let last = &self.last().picture;
        Ok(Picture {
            width: self.size.width,
            height: self.size.height,
            y: samples(&last.y)?,
            uv: samples(&last.uv)?,
        })
    }
}

pub(super) fn state(
    engine: &Engine,
    size: Size,
    channels: usize,
) -> Result<DeviceTensor, CodecError> {
    let shape = [1, channels, size.height / 8, size.width / 8];
    Ok(engine.device_tensor(shape, ElementType::I8)?)
}

/// The GPU that a network runs on.
pub(super) fn gpu_of(engine: &Engine) -> Result<&Arc<Gpu>, CodecError> {
    engine.gpu().ok_or_else(|| {
        CodecError::Device("the network runs on the CPU: device=cuda is needed".to_owned())
    })
}

/// The weights of all of the loop filter's sets.
pub(super) fn upload_weights(gpu: &Gpu, filters: &FrameFilters) -> Result<Buffer, CodecError> {
    let bytes: Vec<u8> = filters.weights().flat_map(i16::to_ne_bytes).collect();
    Ok(gpu.upload(&bytes)?)
}

/// Predicts luma and chroma from another picture by the vectors of its parts.
pub(super) fn predict(
    size: Size,
    from: &Pair,
    vectors: Memory,
    to: &Pair,
) -> Result<[Launch; 2], CodecError> {
    let luma = Interpolation {
        taps: interpolate::LUMA.as_flattened(),
        bits: 2,
        part: PART.ilog2(),
        lean: &overlap::LUMA,
    };
    let chroma = Interpolation {
        taps: interpolate::CHROMA.as_flattened(),
        bits: 3,
        part: (PART / 2).ilog2(),
        lean: &overlap::CHROMA,
    };
    Ok([
        luma.predict(size.luma(), from.y.memory(), vectors, to.y.memory())?,
        chroma.predict(size.chroma(), from.uv.memory(), vectors, to.uv.memory())?,
    ])
}
