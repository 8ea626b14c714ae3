// SPDX-License-Identifier: Apache-2.0
//! The inference properties that every element with a model has, written once.
//!
//! An element's `properties()` chains [`InferenceSettings::properties`] with its own; its
//! `set_property`/`property` ask [`InferenceSettings`] first. `stats` is declared here and answered
//! by the element, from [`crate::engine::Engine::stats`].

use std::path::PathBuf;

use glib::prelude::*;
use gst::prelude::*;

use crate::model::ModelSource;

pub use crate::provider::Device;

/// The most frames that one run of a model may take.
pub const MAX_BATCH: u32 = 256;
/// The most threads that may be asked for.
pub const MAX_THREADS: u32 = 1024;
/// The longest wait for a batch to fill, in microseconds.
pub const MAX_BATCH_TIMEOUT_US: u64 = 10_000_000;

/// Arithmetic that the device is asked to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstAiVideoPrecision")]
pub enum Precision {
    /// As the model was exported; on NVIDIA GPUs with TF32 where that is faster.
    #[default]
    #[enum_value(name = "As the model was exported", nick = "auto")]
    Auto = 0,
    /// Full 32 bit floating point.
    #[enum_value(name = "32 bit floating point", nick = "fp32")]
    Fp32 = 1,
    /// 16 bit floating point (TensorRT).
    #[enum_value(name = "16 bit floating point (TensorRT)", nick = "fp16")]
    Fp16 = 2,
    /// 8 bit integer (TensorRT, with a quantised model).
    #[enum_value(name = "8 bit integer (TensorRT)", nick = "int8")]
    Int8 = 3,
}

impl Precision {
    /// The nick of the value, as in a pipeline description.
    pub fn nick(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

/// Values of the inference properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InferenceSettings {
    pub model_location: Option<PathBuf>,
    pub device: String,
    pub precision: Precision,
    pub engine_cache_dir: Option<PathBuf>,
    pub model_instance_id: Option<String>,
    pub batch_size: u32,
    /// Microseconds.
    pub batch_timeout: u64,
    /// 0 means all.
    pub num_threads: u32,
    pub graph_optimization: bool,
    pub cuda_graph: bool,
}

impl Default for InferenceSettings {
    fn default() -> Self {
        Self {
            model_location: None,
            device: "auto".to_string(),
            precision: Precision::Auto,
            engine_cache_dir: None,
            model_instance_id: None,
            batch_size: 1,
            batch_timeout: 10_000,
            num_threads: 0,
            graph_optimization: true,
            cuda_graph: false,
        }
    }
}

/// A parameter specification belongs to one class: each needs its own.
fn specifications() -> Vec<glib::ParamSpec> {
    let default = InferenceSettings::default();
    vec![
        glib::ParamSpecString::builder("model-location")
            .nick("Model location")
            .blurb("ONNX model file to use instead of the built-in model")
            .mutable_ready()
            .build(),
        glib::ParamSpecString::builder("device")
            .nick("Device")
            .blurb(
                "Where the model runs: auto, cpu, cuda[:n] or tensorrt[:n]. auto takes the first \
                 NVIDIA GPU where there is one that works, else the CPU",
            )
            .default_value(Some(default.device.as_str()))
            .mutable_ready()
            .build(),
        glib::ParamSpecEnum::builder_with_default("precision", default.precision)
            .nick("Precision")
            .blurb("Arithmetic of the model; fp16 and int8 need device=tensorrt")
            .mutable_ready()
            .build(),
        glib::ParamSpecString::builder("engine-cache-dir")
            .nick("Engine cache directory")
            .blurb(
                "Where TensorRT keeps the engines that it built and its timings \
                 (default: gst-aivideo/tensorrt in the user's cache directory)",
            )
            .mutable_ready()
            .build(),
        glib::ParamSpecString::builder("model-instance-id")
            .nick("Model instance id")
            .blurb(
                "Elements with the same id share one loaded model and must agree on its settings; \
                 elements with different ids never share. Without an id, elements with equal \
                 settings share",
            )
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt::builder("batch-size")
            .nick("Batch size")
            .blurb("The most frames, of all elements that share the model, in one run of it")
            .minimum(1)
            .maximum(MAX_BATCH)
            .default_value(default.batch_size)
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt64::builder("batch-timeout")
            .nick("Batch time-out")
            .blurb("How long a frame waits for a batch to fill, in microseconds")
            .maximum(MAX_BATCH_TIMEOUT_US)
            .default_value(default.batch_timeout)
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt::builder("num-threads")
            .nick("Number of threads")
            .blurb("CPU threads for one run of the model (0 = as many as there are CPUs)")
            .maximum(MAX_THREADS)
            .default_value(default.num_threads)
            .mutable_ready()
            .build(),
        glib::ParamSpecBoolean::builder("graph-optimization")
            .nick("Graph optimization")
            .blurb("Let ONNX Runtime optimise the model when it is loaded")
            .default_value(default.graph_optimization)
            .mutable_ready()
            .build(),
        glib::ParamSpecBoolean::builder("cuda-graph")
            .nick("CUDA graph")
            .blurb(
                "Record the model's work on frames in the GPU's memory once and have the GPU repeat it; \
                 needs device=cuda and a model that CUDA runs whole",
            )
            .default_value(default.cuda_graph)
            .mutable_ready()
            .build(),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb("What the model did: frames, batches, latency percentiles, queue, device, model")
            .read_only()
            .build(),
    ]
}

/// An empty string means the same as no string in a pipeline description.
fn string(value: &glib::Value) -> Option<Option<String>> {
    let text: Option<String> = value.get().ok()?;
    Some(text.filter(|text| !text.is_empty()))
}

impl InferenceSettings {
    /// The properties, to be appended to the element's own.
    pub fn properties() -> Vec<glib::ParamSpec> {
        // The enumeration is part of the plugin's API, so that its documentation is generated.
        Precision::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
        specifications()
    }

    /// The number of the GPU that `device` names; `None` for `cpu`, `auto` and what is none.
    pub fn gpu(&self) -> Option<u32> {
        self.device.parse::<Device>().ok()?.gpu()
    }

    /// Sets the property; `false` if it is not one of these or has another type.
    pub fn set_property(&mut self, name: &str, value: &glib::Value) -> bool {
        self.try_set(name, value).is_some()
    }

    fn try_set(&mut self, name: &str, value: &glib::Value) -> Option<()> {
        match name {
            "model-location" => self.model_location = string(value)?.map(PathBuf::from),
            "device" => {
                self.device = string(value)?.unwrap_or_else(|| Self::default().device);
            }
            "precision" => self.precision = value.get().ok()?,
            "engine-cache-dir" => self.engine_cache_dir = string(value)?.map(PathBuf::from),
            "model-instance-id" => self.model_instance_id = string(value)?,
            "batch-size" => self.batch_size = value.get().ok()?,
            "batch-timeout" => self.batch_timeout = value.get().ok()?,
            "num-threads" => self.num_threads = value.get().ok()?,
            "graph-optimization" => self.graph_optimization = value.get().ok()?,
            "cuda-graph" => self.cuda_graph = value.get().ok()?,
            _ => return None,
        }
        Some(())
    }

    /// The value of a property; `None` if it is not one of these. `stats` is the element's.
    pub fn property(&self, name: &str) -> Option<glib::Value> {
        let path = |path: &Option<PathBuf>| {
            path.as_ref()
                .map(|path| path.to_string_lossy().into_owned())
                .to_value()
        };
        Some(match name {
            "model-location" => path(&self.model_location),
            "device" => self.device.to_value(),
            "precision" => self.precision.to_value(),
            "engine-cache-dir" => path(&self.engine_cache_dir),
            "model-instance-id" => self.model_instance_id.to_value(),
            "batch-size" => self.batch_size.to_value(),
            "batch-timeout" => self.batch_timeout.to_value(),
            "num-threads" => self.num_threads.to_value(),
            "graph-optimization" => self.graph_optimization.to_value(),
            "cuda-graph" => self.cuda_graph.to_value(),
            _ => return None,
        })
    }

    /// The model to load: `model-location`, or the element's default.
    pub fn model(&self, default: ModelSource) -> ModelSource {
        match &self.model_location {
            Some(path) => ModelSource::File(path.clone()),
            None => default,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_but_stats_is_stored_and_starts_at_its_default() {
        gst::init().unwrap();
        let settings = InferenceSettings::default();
        for pspec in InferenceSettings::properties() {
            let name = pspec.name();
            if name == "stats" {
                assert_eq!(settings.property(name).map(|_| ()), None);
                assert_eq!(pspec.flags(), glib::ParamFlags::READABLE);
                continue;
            }
            let value = settings.property(name).unwrap();
            assert_eq!(value.type_(), pspec.value_type(), "{name}");
            let default = pspec.default_value();
            let show = |value: &glib::Value| value.serialize().map(|text| text.to_string()).ok();
            assert_eq!(show(&value), show(default), "{name}");
            assert!(settings.clone().set_property(name, &value), "{name}");
            assert!(
                pspec.blurb().is_some_and(|blurb| blurb.len() > 20),
                "{name}"
            );
            assert!(
                pspec.flags().contains(gst::PARAM_FLAG_MUTABLE_READY),
                "{name}"
            );
        }
    }

    #[test]
    fn values_are_set_and_read_back() {
        gst::init().unwrap();
        let mut settings = InferenceSettings::default();
        assert!(settings.set_property("model-location", &"/m.onnx".to_value()));
        assert!(settings.set_property("device", &"cuda:1".to_value()));
        assert!(settings.set_property("precision", &Precision::Fp16.to_value()));
        assert!(settings.set_property("engine-cache-dir", &"/c".to_value()));
        assert!(settings.set_property("model-instance-id", &"a".to_value()));
        assert!(settings.set_property("batch-size", &8u32.to_value()));
        assert!(settings.set_property("batch-timeout", &5u64.to_value()));
        assert!(settings.set_property("num-threads", &3u32.to_value()));
        assert!(settings.set_property("graph-optimization", &false.to_value()));
        assert!(settings.set_property("cuda-graph", &true.to_value()));
        assert_eq!(
            settings,
            InferenceSettings {
                model_location: Some("/m.onnx".into()),
                device: "cuda:1".to_string(),
                precision: Precision::Fp16,
                engine_cache_dir: Some("/c".into()),
                model_instance_id: Some("a".to_string()),
                batch_size: 8,
                batch_timeout: 5,
                num_threads: 3,
                graph_optimization: false,
                cuda_graph: true,
            }
        );
        let mut copy = InferenceSettings::default();
        for pspec in InferenceSettings::properties() {
            if let Some(value) = settings.property(pspec.name()) {
                assert!(copy.set_property(pspec.name(), &value));
            }
        }
        assert_eq!(copy, settings);
    }

    #[test]
    fn empty_strings_unset() {
        let mut settings = InferenceSettings {
            model_location: Some("/m.onnx".into()),
            device: "cpu".to_string(),
            ..InferenceSettings::default()
        };
        assert!(settings.set_property("model-location", &"".to_value()));
        assert!(settings.set_property("device", &None::<String>.to_value()));
        assert_eq!(settings, InferenceSettings::default());
    }

    #[test]
    fn foreign_names_and_types_are_left_alone() {
        let mut settings = InferenceSettings::default();
        assert!(!settings.set_property("quality", &1u32.to_value()));
        assert!(!settings.set_property("batch-size", &"four".to_value()));
        assert!(settings.property("quality").is_none());
        assert_eq!(settings, InferenceSettings::default());
    }

    #[test]
    fn model_location_replaces_the_default() {
        let default = ModelSource::Embedded {
            name: "d",
            bytes: b"d",
        };
        let mut settings = InferenceSettings::default();
        assert_eq!(settings.model(default.clone()), default);
        settings.model_location = Some("/m.onnx".into());
        assert_eq!(settings.model(default), ModelSource::File("/m.onnx".into()));
    }
}
