// SPDX-License-Identifier: Apache-2.0
//! Which GPU an element without a model works on, where frames lie in one's memory.

use std::{str::FromStr, sync::Arc};

use aivideo_core::cuda::Frames;
use aivideo_cuda::{
    compile::Nvrtc,
    device::{Gpu, count},
};
use gst::glib;

use crate::card::KERNELS;

/// The property `device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The first GPU, where there is one and frames lie there.
    #[default]
    Auto,
    Cpu,
    Cuda(u32),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = match text.split_once(':') {
            None => match text {
                "auto" => return Ok(Self::Auto),
                "cpu" => return Ok(Self::Cpu),
                "cuda" => Some(0),
                _ => None,
            },
            Some(("cuda", number)) => number.parse().ok(),
            Some(_) => None,
        };
        number.map(Self::Cuda).ok_or_else(|| {
            format!("device=\"{text}\" is none of auto, cpu, cuda and cuda:<number>")
        })
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl Device {
    /// The GPU that frames may lie on, or why there is none. Nothing is set up there, so that a machine
    /// with a GPU does no more than one without where no frames lie in its memory.
    pub fn index(self) -> Result<u32, String> {
        let index = match self {
            Self::Cpu => return Err("device=cpu".to_string()),
            Self::Auto => 0,
            Self::Cuda(index) => index,
        };
        let gpus = count().map_err(|err| err.to_string())?;
        if index >= gpus {
            return Err(format!("there are {gpus} GPUs, and none of number {index}"));
        }
        Nvrtc::find().map_err(|err| err.to_string())?;
        Ok(index)
    }
}

/// What maps frames of a GPU, which is set up now; `None` where the log says why not.
pub fn frames(
    element: &impl glib::object::IsA<gst::Element>,
    index: u32,
) -> Result<Frames, String> {
    let gpu = Gpu::open(index as usize).map_err(|err| err.to_string())?;
    Frames::of_gpu(element, Arc::new(gpu), index, &KERNELS)
        .ok_or_else(|| "its kernels cannot be compiled, see the log of aivideocuda".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_written() {
        for text in ["auto", "cpu", "cuda", "cuda:3"] {
            assert_eq!(text.parse::<Device>().unwrap().to_string(), text);
        }
        assert_eq!("cuda:0".parse(), Ok(Device::Cuda(0)));
        for text in ["", "gpu", "cuda:", "cuda:x", "cpu:1"] {
            let error = text.parse::<Device>().unwrap_err();
            assert!(error.contains("none of auto, cpu"), "{error}");
        }
    }
}
