// SPDX-License-Identifier: Apache-2.0
//! Asking the machine. Nothing here says what is good or bad.

use std::path::{Path, PathBuf};

use aivideo_core::{provider, runtime};
use aivideo_cuda::compile::{CompileError, Nvrtc};
use gst::prelude::*;
use serde::Serialize;

/// Everything that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Findings {
    /// The device that was asked for, as in the elements' property.
    pub device: String,
    pub gstreamer: Result<String, String>,
    pub plugins: Vec<Plugin>,
    pub elements: Vec<Element>,
    pub driver: Driver,
    pub runtime: Runtime,
    /// Where a model of one operation ran with the device that was asked for.
    pub probe: Result<Probe, String>,
    pub libraries: Vec<Library>,
    /// Elements of GStreamer that the suite can work with.
    pub stock: Vec<Stock>,
    pub tools: Vec<Tool>,
}

/// A plugin of this project.
#[derive(Debug, Clone, Serialize)]
pub struct Plugin {
    pub name: &'static str,
    pub path: Option<PathBuf>,
    pub version: String,
    pub elements: usize,
}

/// An element of this project with a model.
#[derive(Debug, Clone, Serialize)]
pub struct Element {
    pub name: String,
    /// The model belongs to the user; there is none built in.
    pub needs_model: bool,
    /// Where its model runs once it is started, or why it does not start.
    pub started: Result<String, String>,
    /// Warnings that it posted on the way.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Driver {
    Works {
        cuda: (u32, u32),
        gpus: Vec<Gpu>,
    },
    /// Nothing of NVIDIA's is there, or no device.
    Absent {
        reason: String,
    },
    Unusable {
        reason: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gpu {
    pub index: u32,
    pub name: String,
    pub memory_bytes: u64,
    pub compute: (u32, u32),
}

#[derive(Debug, Clone, Serialize)]
pub struct Runtime {
    /// The library that was loaded, or why none was.
    pub path: Result<PathBuf, String>,
    pub build: String,
    /// What ORT_DYLIB_PATH names, where that was not usable, and the reason.
    pub ignored_variable: Option<String>,
    pub providers: Vec<Provider>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Provider {
    pub name: String,
    pub built_in: bool,
    pub file: Option<PathBuf>,
    /// Libraries that it needs and the loader does not find, with the reason.
    pub missing: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probe {
    pub device: String,
    pub warnings: Vec<String>,
}

/// A library of CUDA, cuDNN, TensorRT or GStreamer.
#[derive(Debug, Clone, Serialize)]
pub struct Library {
    pub what: &'static str,
    pub name: &'static str,
    /// Where the loader finds it, or why it does not.
    pub path: Result<PathBuf, String>,
}

/// A stock element and what it is for.
#[derive(Debug, Clone, Serialize)]
pub struct Stock {
    pub name: &'static str,
    pub role: Role,
    pub there: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    BaseEncoder,
    DecodesAv1,
    DecodesH265,
    DecodesH264,
    /// Moves pictures to and from the GPU's memory.
    GpuMemory,
}

/// A program or file beside the elements.
#[derive(Debug, Clone, Serialize)]
pub struct Tool {
    pub what: &'static str,
    pub path: Option<PathBuf>,
}

const PLUGINS: [&str; 4] = ["aivideo", "aitransport", "aifx", "aimeta"];

/// Elements whose model comes from the user.
const USERS_MODEL: [&str; 2] = ["aidetect", "aibackgroundblur"];

/// What the GPU path can use. ONNX Runtime's PyPI wheels are built for these versions.
const LIBRARIES: [(&str, &str); 7] = [
    ("CUDA runtime", "libcudart.so.13"),
    ("cuBLAS", "libcublas.so.13"),
    ("cuDNN", "libcudnn.so.9"),
    ("TensorRT", "libnvinfer.so.10"),
    ("NVRTC", "libnvrtc.so.13"),
    ("GStreamer's CUDA library", "libgstcuda-1.0.so.0"),
    // Frames in NVMM are read without it; new ones come from it.
    ("DeepStream's pools of frames", aivideo_cuda::nvds::NAME),
];

const STOCK: [(&str, Role); 19] = [
    ("svtav1enc", Role::BaseEncoder),
    ("nvav1enc", Role::BaseEncoder),
    ("av1enc", Role::BaseEncoder),
    ("x265enc", Role::BaseEncoder),
    ("nvh265enc", Role::BaseEncoder),
    ("x264enc", Role::BaseEncoder),
    ("dav1ddec", Role::DecodesAv1),
    ("av1dec", Role::DecodesAv1),
    ("avdec_av1", Role::DecodesAv1),
    ("nvav1dec", Role::DecodesAv1),
    ("avdec_h265", Role::DecodesH265),
    ("libde265dec", Role::DecodesH265),
    ("nvh265dec", Role::DecodesH265),
    ("avdec_h264", Role::DecodesH264),
    ("openh264dec", Role::DecodesH264),
    ("nvh264dec", Role::DecodesH264),
    ("cudaupload", Role::GpuMemory),
    ("cudadownload", Role::GpuMemory),
    ("cudaconvert", Role::GpuMemory),
];

pub fn find(device: &str) -> Findings {
    let gstreamer = gst::init()
        .map(|()| gst::version_string().to_string())
        .map_err(|err| err.to_string());
    let works = gstreamer.is_ok();
    Findings {
        device: device.to_string(),
        plugins: if works { plugins() } else { Vec::new() },
        driver: driver(),
        // Before the elements: they would load it in a plugin of its own.
        runtime: onnx_runtime(),
        probe: provider::probe(device)
            .map(|probe| Probe {
                device: probe.device,
                warnings: probe.warnings,
            })
            .map_err(|err| err.to_string()),
        elements: if works { elements(device) } else { Vec::new() },
        libraries: LIBRARIES
            .map(|(what, name)| Library {
                what,
                name,
                path: match name {
                    // It need not be where the loader looks.
                    "libnvrtc.so.13" => Nvrtc::find()
                        .map(|nvrtc| nvrtc.path().to_path_buf())
                        .map_err(|err| match err {
                            CompileError::NotFound(_) => {
                                "neither AIVIDEO_NVRTC nor the loader knows it".to_string()
                            }
                            other => other.to_string(),
                        }),
                    name => provider::find_library(name),
                },
            })
            .to_vec(),
        stock: STOCK
            .map(|(name, role)| Stock {
                name,
                role,
                there: works && gst::ElementFactory::find(name).is_some(),
            })
            .to_vec(),
        tools: vec![Tool {
            what: "ffmpeg with x265 and libvmaf, for the demo's figures",
            path: crate::environment::ffmpeg().ok(),
        }],
        gstreamer,
    }
}

fn plugins() -> Vec<Plugin> {
    let registry = gst::Registry::get();
    PLUGINS
        .map(|name| {
            let plugin = registry.find_plugin(name);
            Plugin {
                name,
                path: plugin.as_ref().and_then(|p| p.filename()),
                version: plugin.map_or_else(String::new, |p| p.version().to_string()),
                elements: factories(name).len(),
            }
        })
        .to_vec()
}

/// The elements that a plugin registers.
fn factories(plugin: &str) -> Vec<gst::ElementFactory> {
    gst::Registry::get()
        .features_by_plugin(plugin)
        .into_iter()
        .filter_map(|feature| feature.downcast::<gst::ElementFactory>().ok())
        .collect()
}

/// Starts every element that has a device.
fn elements(device: &str) -> Vec<Element> {
    let mut elements: Vec<Element> = PLUGINS
        .into_iter()
        .flat_map(factories)
        .filter_map(|factory| start(&factory, device))
        .collect();
    elements.sort_by(|a, b| a.name.cmp(&b.name));
    elements
}

fn start(factory: &gst::ElementFactory, device: &str) -> Option<Element> {
    let name = factory.name().to_string();
    let element = match factory.create().build() {
        Ok(element) => element,
        Err(err) => {
            return Some(Element {
                name,
                needs_model: false,
                started: Err(err.to_string()),
                warnings: Vec::new(),
            });
        }
    };
    element.find_property("device")?;
    let needs_model = USERS_MODEL.contains(&name.as_str());
    element.set_property("device", device);
    if name == "aienhance" {
        element.set_property_from_str("operations", "denoise,upscale");
    }
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    let started = element.set_state(gst::State::Paused);
    let mut warnings = Vec::new();
    let mut error = None;
    while let Some(message) = bus.pop() {
        match message.view() {
            gst::MessageView::Error(err) => {
                error.get_or_insert_with(|| err.error().to_string());
            }
            gst::MessageView::Warning(warning) => warnings.push(warning.error().to_string()),
            _ => {}
        }
    }
    let device = element
        .find_property("stats")
        .and_then(|_| element.property::<Option<gst::Structure>>("stats"))
        .and_then(|stats| where_it_runs(&stats));
    let started = match (started, error) {
        (_, Some(error)) => Err(error),
        (Err(err), None) => Err(err.to_string()),
        (Ok(_), None) => Ok(device.unwrap_or_default()),
    };
    let _ = element.set_state(gst::State::Null);
    element.set_bus(None);
    Some(Element {
        name,
        needs_model,
        started,
        warnings,
    })
}

/// The device in an element's `stats`, which may have a structure a model.
fn where_it_runs(stats: &gst::StructureRef) -> Option<String> {
    if let Ok(device) = stats.get::<String>("device") {
        return Some(match stats.get::<String>("kernels") {
            Ok(kernels) if kernels != "onnxruntime" => format!("{device}, own kernels ({kernels})"),
            _ => device,
        });
    }
    stats
        .iter()
        .filter_map(|(_, value)| value.get::<gst::Structure>().ok())
        .find_map(|inner| where_it_runs(&inner))
}

fn driver() -> Driver {
    match provider::driver() {
        Ok(driver) => Driver::Works {
            cuda: driver.cuda,
            gpus: driver
                .gpus
                .into_iter()
                .map(|gpu| Gpu {
                    index: gpu.index,
                    name: gpu.name,
                    memory_bytes: gpu.memory_bytes,
                    compute: gpu.compute,
                })
                .collect(),
        },
        Err(absence @ provider::Absence::Unusable(_)) => Driver::Unusable {
            reason: absence.to_string(),
        },
        Err(absence) => Driver::Absent {
            reason: absence.to_string(),
        },
    }
}

fn onnx_runtime() -> Runtime {
    let folder = |path: &Path| path.parent().and_then(|parent| parent.canonicalize().ok());
    match runtime::get() {
        Ok(found) => Runtime {
            path: Ok(found.path().to_path_buf()),
            build: found.build_info().to_string(),
            ignored_variable: found
                .missed()
                .iter()
                // A folder is several places; one of them may be the one that was taken.
                .find(|tried| {
                    tried.place.is_explicit() && folder(&tried.place.path) != folder(found.path())
                })
                .map(|tried| format!("{}: {}", tried.place.path.display(), tried.reason)),
            providers: provider::providers(found)
                .into_iter()
                .map(|provider| Provider {
                    name: provider.name.to_string(),
                    built_in: provider.built_in,
                    file: provider.file,
                    missing: provider
                        .missing
                        .into_iter()
                        .map(|library| (library.name, library.reason))
                        .collect(),
                })
                .collect(),
        },
        Err(err) => Runtime {
            path: Err(err.to_string()),
            build: String::new(),
            ignored_variable: None,
            providers: Vec::new(),
        },
    }
}
