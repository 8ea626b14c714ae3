// SPDX-License-Identifier: Apache-2.0
//! Devices that a model can run on.

use std::{fmt, str::FromStr};

use ort::ep::ExecutionProviderDispatch;

use crate::{engine::options::Options, error::EngineError, runtime::Runtime};

/// A parsed `device` property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Device {
    /// The first NVIDIA GPU if there is one that works, else the CPU.
    Auto,
    Cpu,
    Cuda(u32),
    TensorRt(u32),
}

impl FromStr for Device {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        let refuse = || {
            EngineError::Settings(format!(
                "device '{text}' is not known: expected auto, cpu, cuda, cuda:<n>, tensorrt or tensorrt:<n>"
            ))
        };
        let (kind, index) = match text.split_once(':') {
            Some((kind, index)) => (kind, Some(index.parse().map_err(|_| refuse())?)),
            None => (text, None),
        };
        match (kind, index) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("cuda", index) => Ok(Self::Cuda(index.unwrap_or(0))),
            ("tensorrt", index) => Ok(Self::TensorRt(index.unwrap_or(0))),
            _ => Err(refuse()),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::TensorRt(index) => write!(f, "tensorrt:{index}"),
        }
    }
}

/// Why `device=auto` means the CPU.
pub(crate) struct Fallback {
    /// Set when a GPU could be expected to work but does not.
    pub warning: Option<String>,
}

/// The GPU that `device=auto` should try.
pub(crate) fn auto(_runtime: &Runtime) -> Result<Device, Fallback> {
    Err(Fallback { warning: None })
}

/// Checks that everything that `device` needs is there.
pub(crate) fn require(device: Device, _runtime: &Runtime) -> Result<(), EngineError> {
    match device {
        Device::Auto | Device::Cpu => Ok(()),
        device => Err(EngineError::Device {
            device: device.to_string(),
            reason: "not supported yet".to_string(),
        }),
    }
}

/// The execution providers for `device`. Each fails loudly: ONNX Runtime's own default is to go on
/// with the CPU and say nothing.
pub(crate) fn dispatch(
    device: Device,
    _options: &Options,
) -> Result<Vec<ExecutionProviderDispatch>, EngineError> {
    match device {
        // ONNX Runtime adds the CPU by itself. Registering it again would, with the binding's
        // defaults, switch its memory arena off and double the time of a run.
        Device::Cpu => Ok(Vec::new()),
        device => Err(EngineError::Device {
            device: device.to_string(),
            reason: "not supported yet".to_string(),
        }),
    }
}
