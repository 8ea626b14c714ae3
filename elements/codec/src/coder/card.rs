// SPDX-License-Identifier: Apache-2.0
//! What encoder and decoder share where pictures lie in the memory of the GPU that their networks run on.

#![allow(unsafe_code)] // filling memory of the GPU

use super::CodecError;
use super::depth::Depth;
use crate::loop_filter::{CLASSES, Filters, SETS, TAPS};
use crate::motion::{PART, Sample, interpolate};
use aivideo_core::engine::{DeviceTensor, ElementType, Engine};
use aivideo_cuda::device::{Buffer, Gpu};
use aivideo_cuda::loop_filter::{self, SET_BYTES};
use aivideo_cuda::motion::Interpolation;
use aivideo_cuda::picture::Planes;
use aivideo_cuda::{Launch, Memory};

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

pub(super) fn state(
    engine: &Engine,
    size: Size,
    channels: usize,
) -> Result<DeviceTensor, CodecError> {
    let shape = [1, channels, size.height / 8, size.width / 8];
    Ok(engine.device_tensor(shape, ElementType::I8)?)
}

/// The GPU that a network runs on.
pub(super) fn gpu_of(engine: &Engine) -> Result<&std::sync::Arc<Gpu>, CodecError> {
    engine.gpu().ok_or_else(|| {
        CodecError::Device("the network runs on the CPU: device=cuda is needed".to_owned())
    })
}

/// The weights of all of the loop filter's sets.
pub(super) fn upload_weights(gpu: &Gpu, filters: &Filters) -> Result<Buffer, CodecError> {
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
    };
    let chroma = Interpolation {
        taps: interpolate::CHROMA.as_flattened(),
        bits: 3,
        part: (PART / 2).ilog2(),
    };
    Ok([
        luma.predict(size.luma(), from.y.memory(), vectors, to.y.memory())?,
        chroma.predict(size.chroma(), from.uv.memory(), vectors, to.uv.memory())?,
    ])
}
