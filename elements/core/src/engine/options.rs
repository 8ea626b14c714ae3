// SPDX-License-Identifier: Apache-2.0
//! The settings that make two engines the same or different.

use std::{num::NonZero, path::PathBuf, time::Duration};

use crate::{
    error::EngineError,
    provider::Device,
    settings::{InferenceSettings, MAX_BATCH, MAX_BATCH_TIMEOUT_US, MAX_THREADS, Precision},
};

/// Checked settings of one engine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Options {
    pub device: Device,
    pub precision: Precision,
    /// Only where it matters (TensorRT), so that it does not keep others from sharing.
    pub engine_cache_dir: Option<PathBuf>,
    pub batch_size: usize,
    pub batch_timeout: Duration,
    /// 0 means all.
    pub num_threads: usize,
    pub graph_optimization: bool,
    pub cuda_graph: bool,
}

impl Options {
    pub(crate) fn new(settings: &InferenceSettings) -> Result<Self, EngineError> {
        let range = |name: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(EngineError::Settings(format!(
                    "{name}={value} is out of range: {least} to {most}"
                )))
            }
        };
        range(
            "batch-size",
            settings.batch_size.into(),
            1,
            MAX_BATCH.into(),
        )?;
        range(
            "batch-timeout",
            settings.batch_timeout,
            0,
            MAX_BATCH_TIMEOUT_US,
        )?;
        range(
            "num-threads",
            settings.num_threads.into(),
            0,
            MAX_THREADS.into(),
        )?;
        let device: Device = settings.device.parse()?;
        let tensorrt = matches!(device, Device::TensorRt(_));
        if matches!(settings.precision, Precision::Fp16 | Precision::Int8) && !tensorrt {
            // The other providers compute what the file says; pretending would be worse.
            let nick = settings.precision.nick();
            return Err(EngineError::Settings(format!(
                "precision={nick} cannot be honoured with device={device}: only tensorrt converts \
                 a model. Use device=tensorrt, or precision=auto with a model exported in {nick}"
            )));
        }
        if settings.cuda_graph && !matches!(device, Device::Cuda(_)) {
            return Err(EngineError::Settings(format!(
                "cuda-graph=true cannot be honoured with device={device}: use device=cuda"
            )));
        }
        Ok(Self {
            device,
            precision: settings.precision,
            engine_cache_dir: tensorrt.then(|| cache_dir(settings)),
            batch_size: settings.batch_size as usize,
            batch_timeout: Duration::from_micros(settings.batch_timeout),
            num_threads: settings.num_threads as usize,
            graph_optimization: settings.graph_optimization,
            cuda_graph: settings.cuda_graph,
        })
    }

    /// The number of threads to ask ONNX Runtime for. Never its own "all" (0): that pins each
    /// thread to a core, and two sessions then fight for the same ones.
    pub(crate) fn threads(&self) -> usize {
        match self.num_threads {
            0 => std::thread::available_parallelism().map_or(1, NonZero::get),
            n => n,
        }
    }

    /// The first difference: its name, this value, the other's.
    pub(crate) fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        fn differ<T: PartialEq>(
            what: &'static str,
            a: &T,
            b: &T,
            show: impl Fn(&T) -> String,
        ) -> Option<(&'static str, String, String)> {
            (a != b).then(|| (what, show(a), show(b)))
        }
        let dir = |dir: &Option<PathBuf>| {
            dir.as_ref()
                .map_or_else(|| "none".to_string(), |dir| dir.display().to_string())
        };
        let micros = |timeout: &Duration| timeout.as_micros().to_string();
        differ("device", &self.device, &other.device, Device::to_string)
            .or_else(|| {
                differ("precision", &self.precision, &other.precision, |p| {
                    p.nick().to_string()
                })
            })
            .or_else(|| {
                differ(
                    "engine-cache-dir",
                    &self.engine_cache_dir,
                    &other.engine_cache_dir,
                    dir,
                )
            })
            .or_else(|| {
                differ(
                    "batch-size",
                    &self.batch_size,
                    &other.batch_size,
                    usize::to_string,
                )
            })
            .or_else(|| {
                differ(
                    "batch-timeout",
                    &self.batch_timeout,
                    &other.batch_timeout,
                    micros,
                )
            })
            .or_else(|| {
                differ(
                    "num-threads",
                    &self.num_threads,
                    &other.num_threads,
                    usize::to_string,
                )
            })
            .or_else(|| {
                differ(
                    "graph-optimization",
                    &self.graph_optimization,
                    &other.graph_optimization,
                    bool::to_string,
                )
            })
            .or_else(|| {
                differ(
                    "cuda-graph",
                    &self.cuda_graph,
                    &other.cuda_graph,
                    bool::to_string,
                )
            })
    }
}

fn cache_dir(settings: &InferenceSettings) -> PathBuf {
    settings
        .engine_cache_dir
        .clone()
        .unwrap_or_else(|| glib::user_cache_dir().join("gst-aivideo").join("tensorrt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl Fn(&mut InferenceSettings)) -> Result<Options, EngineError> {
        let mut settings = InferenceSettings::default();
        change(&mut settings);
        Options::new(&settings)
    }

    #[test]
    fn reduced_precision_needs_tensorrt() {
        for (device, precision) in [
            ("cpu", Precision::Fp16),
            ("auto", Precision::Int8),
            ("cuda:1", Precision::Fp16),
        ] {
            let err = with(|s| {
                s.device = device.to_string();
                s.precision = precision;
            })
            .unwrap_err()
            .to_string();
            assert!(
                err.contains(precision.nick()) && err.contains("device=tensorrt"),
                "{err}"
            );
        }
        assert!(
            with(|s| {
                s.device = "tensorrt".to_string();
                s.precision = Precision::Fp16;
            })
            .is_ok()
        );
    }

    #[test]
    fn out_of_range_values_are_named() {
        for (change, says) in [
            (
                (|s: &mut InferenceSettings| s.batch_size = 0) as fn(&mut InferenceSettings),
                "batch-size=0",
            ),
            (|s| s.batch_size = 257, "batch-size=257"),
            (|s| s.num_threads = 9999, "num-threads=9999"),
            (|s| s.batch_timeout = u64::MAX, "batch-timeout"),
            (|s| s.device = "gpu".to_string(), "'gpu'"),
            (|s| s.device = "cuda:x".to_string(), "'cuda:x'"),
            (|s| s.device = "cpu:1".to_string(), "'cpu:1'"),
        ] {
            let err = with(change).unwrap_err().to_string();
            assert!(err.contains(says), "'{says}' is not in '{err}'");
        }
    }

    #[test]
    fn differences_are_named() {
        let base = with(|_| {}).unwrap();
        assert_eq!(base.difference(&base.clone()), None);
        let other = with(|s| s.num_threads = 3).unwrap();
        assert_eq!(
            base.difference(&other),
            Some(("num-threads", "0".to_string(), "3".to_string()))
        );
        // Without TensorRT the cache directory plays no part.
        let cached = with(|s| s.engine_cache_dir = Some("/x".into())).unwrap();
        assert_eq!(base, cached);
    }
}
