// SPDX-License-Identifier: Apache-2.0
//! Devices that a model can run on, what each needs, and what is missing when one is refused.
//!
//! `device=auto` takes the first NVIDIA GPU. Where no GPU can be expected (no driver, or a driver
//! that sees no device) it means the CPU, and nothing is said. Where there is a GPU that cannot be
//! used (a CPU build of ONNX Runtime, a missing library, an old driver) it falls back to the CPU
//! with a warning that says why. It never chooses TensorRT, which may build engines for minutes.

#![allow(unsafe_code)] // a stream that ONNX Runtime runs on

mod elf;
mod gpu;
mod libraries;
mod probe;

use std::{fmt, fs, path::Path, str::FromStr};

use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};

use crate::{engine::options::Options, error::EngineError, runtime::Runtime, settings::Precision};

pub use gpu::{Absence, Driver, Gpu};
pub use libraries::{Provider, Unloadable, find_library, providers};
pub use probe::{Probe, probe};

/// NVIDIA's driver and the GPUs that it offers to this process.
pub fn driver() -> Result<Driver, Absence> {
    gpu::survey()
}

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
            // ONNX Runtime takes the index as a signed number.
            Some((kind, index)) => match index.parse::<u32>() {
                Ok(index) if i32::try_from(index).is_ok() => (kind, Some(index)),
                _ => return Err(refuse()),
            },
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

impl Device {
    /// The number of the GPU; `None` on the CPU, and where it is yet to be chosen.
    pub fn gpu(self) -> Option<u32> {
        match self {
            Self::Auto | Self::Cpu => None,
            Self::Cuda(index) | Self::TensorRt(index) => Some(index),
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
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fallback {
    /// Set when there is a GPU that cannot be used.
    pub warning: Option<String>,
}

/// The GPU that `device=auto` should try.
pub(crate) fn auto(runtime: &Runtime) -> Result<Device, Fallback> {
    choose(gpu::count(), || {
        missing_in_runtime(Device::Cuda(0), runtime)
    })
}

fn choose(
    gpus: Result<u32, Absence>,
    missing: impl FnOnce() -> Vec<String>,
) -> Result<Device, Fallback> {
    let reason = match gpus {
        Ok(0) | Err(Absence::NoDriver(_) | Absence::NoDevice) => {
            return Err(Fallback { warning: None });
        }
        Err(Absence::Unusable(reason)) => reason,
        Ok(_) => {
            let missing = missing();
            if missing.is_empty() {
                return Ok(Device::Cuda(0));
            }
            missing.join("; ")
        }
    };
    Err(Fallback {
        warning: Some(format!(
            "device=auto: running on the CPU although there is an NVIDIA GPU or driver: {reason}"
        )),
    })
}

/// Checks that everything that `device` needs is there; the error lists all that is missing.
pub(crate) fn require(device: Device, runtime: &Runtime) -> Result<(), EngineError> {
    let index = match device {
        Device::Auto | Device::Cpu => return Ok(()),
        Device::Cuda(index) | Device::TensorRt(index) => index,
    };
    let mut missing: Vec<String> = missing_gpu(index, gpu::count()).into_iter().collect();
    missing.extend(missing_in_runtime(device, runtime));
    if missing.is_empty() {
        return Ok(());
    }
    Err(EngineError::Device {
        device: device.to_string(),
        reason: format!(
            "{} (device=auto or device=cpu runs without)",
            missing.join("; ")
        ),
    })
}

fn missing_gpu(index: u32, gpus: Result<u32, Absence>) -> Option<String> {
    match gpus {
        Ok(count) if index < count => None,
        Ok(count) => Some(format!(
            "there is no GPU {index}: the driver has {count}, counted from 0"
        )),
        Err(absence) => Some(absence.to_string()),
    }
}

/// What this ONNX Runtime lacks for the device.
fn missing_in_runtime(device: Device, runtime: &Runtime) -> Vec<String> {
    let (name, built_in, libraries): (_, _, &[&str]) = match device {
        Device::Auto | Device::Cpu => return Vec::new(),
        Device::Cuda(_) => (
            "CUDA",
            ep::CUDA::is_available(),
            &["libonnxruntime_providers_cuda.so"],
        ),
        Device::TensorRt(_) => (
            "TensorRT",
            ep::TensorRT::is_available(),
            &[
                "libonnxruntime_providers_tensorrt.so",
                "libonnxruntime_providers_cuda.so",
            ],
        ),
    };
    let path = runtime.path().display();
    if !built_in.unwrap_or(false) {
        return vec![format!(
            "the ONNX Runtime at {path} was built without {name}: install \
             `pip install onnxruntime-gpu` and set ORT_DYLIB_PATH to its libonnxruntime.so*"
        )];
    }
    libraries
        .iter()
        .filter(|library| {
            runtime
                .folder()
                .is_some_and(|folder| !folder.join(library).exists())
        })
        .map(|library| {
            format!("{library} is not beside {path}: keep the files of `onnxruntime-gpu` together")
        })
        .collect()
}

/// The execution providers for `device`. Each fails loudly: ONNX Runtime's own default is to go on
/// with the CPU and say nothing.
///
/// With a GPU they run on its stream, and the session must end before it.
pub(crate) fn dispatch(
    device: Device,
    options: &Options,
    gpu: Option<&aivideo_cuda::device::Gpu>,
) -> Result<Vec<ExecutionProviderDispatch>, EngineError> {
    let stream = gpu.map(|gpu| gpu.stream().cast());
    let cuda = |index: u32| {
        let mut cuda = ep::CUDA::default()
            .with_device_id(index as i32)
            .with_tf32(options.precision != Precision::Fp32);
        if options.cuda_graph {
            cuda = cuda.with_cuda_graph(true);
        }
        if let Some(stream) = stream {
            // SAFETY: the caller keeps the stream until the session has ended.
            cuda = unsafe { cuda.with_compute_stream(stream) };
        }
        cuda.build().error_on_failure()
    };
    match device {
        // ONNX Runtime adds the CPU by itself. Registering it again would, with the binding's
        // defaults, switch its memory arena off and double the time of a run.
        Device::Auto | Device::Cpu => Ok(Vec::new()),
        Device::Cuda(index) => Ok(vec![cuda(index)]),
        Device::TensorRt(index) => {
            let mut tensorrt = ep::TensorRT::default().with_device_id(index as i32);
            if options.precision == Precision::Fp16 || options.precision == Precision::Int8 {
                // Layers without an 8 bit form run in 16 bit rather than 32.
                tensorrt = tensorrt.with_fp16(true);
            }
            if options.precision == Precision::Int8 {
                tensorrt = tensorrt.with_int8(true);
            }
            if let Some(stream) = stream {
                // SAFETY: the caller keeps the stream until the session has ended.
                tensorrt = unsafe { tensorrt.with_compute_stream(stream) };
            }
            if let Some(dir) = &options.engine_cache_dir {
                let dir = prepare(dir)?;
                tensorrt = tensorrt
                    .with_engine_cache(true)
                    .with_engine_cache_path(dir)
                    .with_timing_cache(true)
                    .with_timing_cache_path(dir);
            }
            // What TensorRT does not take goes to CUDA.
            Ok(vec![tensorrt.build().error_on_failure(), cuda(index)])
        }
    }
}

/// Makes the cache directory and gives its name in the form that the binding takes.
fn prepare(dir: &Path) -> Result<&str, EngineError> {
    let refuse = |reason: String| {
        EngineError::Settings(format!(
            "engine-cache-dir '{}' cannot be used: {reason}",
            dir.display()
        ))
    };
    let name = dir
        .to_str()
        .filter(|name| !name.contains('\0'))
        .ok_or_else(|| refuse("its name is not UTF-8 text".to_string()))?;
    fs::create_dir_all(dir).map_err(|err| refuse(err.to_string()))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_round_trip() {
        for (text, device) in [
            ("auto", Device::Auto),
            ("cpu", Device::Cpu),
            ("cuda", Device::Cuda(0)),
            ("cuda:2", Device::Cuda(2)),
            ("tensorrt", Device::TensorRt(0)),
            ("tensorrt:1", Device::TensorRt(1)),
        ] {
            let parsed: Device = text.parse().unwrap();
            assert_eq!(parsed, device);
            assert_eq!(parsed.to_string().parse::<Device>().unwrap(), device);
        }
        for text in [
            "",
            "gpu",
            "CPU",
            "cpu:0",
            "auto:0",
            "cuda:",
            "cuda:-1",
            "cuda:x",
            "cuda:4294967295",
            "cuda:0:1",
            "cuda :0",
        ] {
            let err = text.parse::<Device>().unwrap_err().to_string();
            assert!(err.contains("expected auto, cpu, cuda"), "{text}: {err}");
        }
    }

    #[test]
    fn auto_is_quiet_only_where_no_gpu_can_be_expected() {
        let nothing = || Vec::new();
        let quiet = Err(Fallback { warning: None });
        assert_eq!(choose(Ok(0), nothing), quiet);
        assert_eq!(choose(Err(Absence::NoDevice), nothing), quiet);
        assert_eq!(
            choose(Err(Absence::NoDriver("x".to_string())), nothing),
            quiet
        );
        assert_eq!(choose(Ok(1), nothing), Ok(Device::Cuda(0)));
        for fallback in [
            choose(Ok(1), || vec!["REASON".to_string()]),
            choose(Err(Absence::Unusable("REASON".to_string())), nothing),
        ] {
            let warning = fallback.unwrap_err().warning.unwrap();
            assert!(
                warning.contains("on the CPU") && warning.contains("REASON"),
                "{warning}"
            );
        }
    }

    #[test]
    fn a_wrong_index_is_told_from_no_gpu() {
        assert_eq!(missing_gpu(1, Ok(2)), None);
        assert!(missing_gpu(2, Ok(2)).unwrap().contains("no GPU 2"));
        assert!(
            missing_gpu(0, Err(Absence::NoDevice))
                .unwrap()
                .contains("no GPU")
        );
    }

    #[test]
    fn an_impossible_cache_directory_is_named() {
        let err = prepare(Path::new("/dev/null/cache")).unwrap_err();
        assert!(
            err.to_string()
                .contains("engine-cache-dir '/dev/null/cache'"),
            "{err}"
        );
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        assert!(prepare(&inner).is_ok() && inner.is_dir());
    }
}
