// SPDX-License-Identifier: Apache-2.0
//! What the findings mean, and what cures them. A function of the findings alone.
//!
//! An error is something needed that does not work: GStreamer, the suite's plugins, ONNX Runtime, a
//! built-in model, or the device that was asked for by name. What is merely not there (a GPU, an
//! encoder where there is another) is a note. A warning is something that is there and cannot be
//! used.

use serde::Serialize;

use super::find::{Driver, Element, Findings, Library, Role, Runtime};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    Note,
    Warning,
    Error,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    pub section: &'static str,
    pub level: Level,
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

/// Verdicts of one section.
struct Section(&'static str, Vec<Verdict>);

impl Section {
    fn add(&mut self, level: Level, what: impl Into<String>, cure: Option<String>) {
        self.1.push(Verdict {
            section: self.0,
            level,
            what: what.into(),
            cure,
        });
    }

    fn ok(&mut self, what: impl Into<String>) {
        self.add(Level::Ok, what, None);
    }
}

fn cure(text: &str) -> Option<String> {
    Some(text.to_string())
}

pub fn judge(found: &Findings) -> Vec<Verdict> {
    let gpu_wanted = found.device.starts_with("cuda") || found.device.starts_with("tensorrt");
    [
        gstreamer(found),
        runtime(&found.runtime),
        gpu(found, gpu_wanted),
        providers(found, gpu_wanted),
        device(found),
        elements(found),
        hybrid(found),
        tools(found),
    ]
    .into_iter()
    .flat_map(|section| section.1)
    .collect()
}

const BUILD: &str =
    "run `make build` in the clone and `. ./env.sh` in this shell, or `make install`";

fn gstreamer(found: &Findings) -> Section {
    let mut s = Section("GStreamer and the suite's plugins", Vec::new());
    match &found.gstreamer {
        Ok(version) => s.ok(version.clone()),
        Err(reason) => s.add(
            Level::Error,
            format!("GStreamer does not start: {reason}"),
            cure("install the Debian package gstreamer1.0-plugins-base, or run `make bootstrap`"),
        ),
    }
    for plugin in &found.plugins {
        let name = plugin.name;
        match &plugin.path {
            None => s.add(
                Level::Error,
                format!("the plugin {name} is not known to GStreamer"),
                Some(format!(
                    "{BUILD}; `gst-inspect-1.0 -b` names plugins that failed to load, and GST_PLUGIN_PATH \
                     must name the folder of libgst{name}.so"
                )),
            ),
            Some(path) if plugin.elements == 0 => s.add(
                Level::Error,
                format!("{} has no elements", path.display()),
                cure(BUILD),
            ),
            // Builds add their commit to the version.
            Some(path) if !plugin.version.starts_with(env!("CARGO_PKG_VERSION")) => s.add(
                Level::Warning,
                format!(
                    "{} is of version {}, this program of {}",
                    path.display(),
                    plugin.version,
                    env!("CARGO_PKG_VERSION")
                ),
                cure("install plugins and program of one version"),
            ),
            Some(path) => s.ok(format!(
                "{name}: {} elements, {}",
                plugin.elements,
                path.display()
            )),
        }
    }
    s
}

fn runtime(found: &Runtime) -> Section {
    let mut s = Section("ONNX Runtime", Vec::new());
    if let Some(ignored) = &found.ignored_variable {
        s.add(
            Level::Error,
            format!("ORT_DYLIB_PATH names a library that cannot be used: {ignored}"),
            cure("set it to the libonnxruntime.so* of version 1.24 or later, or unset it"),
        );
    }
    match &found.path {
        Ok(path) => {
            s.ok(path.display().to_string());
            if !found.build.is_empty() {
                s.ok(found.build.clone());
            }
        }
        // The message has its own cure in its last line.
        Err(reason) => {
            let (what, own_cure) = match reason.split_once("\nCure: ") {
                Some((what, own)) => (what, Some(own.to_string())),
                None => (reason.as_str(), cure("run `make bootstrap`")),
            };
            s.add(Level::Error, what, own_cure);
        }
    }
    s
}

fn gpu(found: &Findings, wanted: bool) -> Section {
    let mut s = Section("NVIDIA driver and GPUs", Vec::new());
    let absent = if wanted { Level::Error } else { Level::Note };
    match &found.driver {
        Driver::Works { cuda, gpus } => {
            s.ok(format!("the driver runs CUDA up to {}.{}", cuda.0, cuda.1));
            if cuda.0 < 13 {
                s.add(
                    Level::Warning,
                    "ONNX Runtime's GPU wheels are built for CUDA 13, which this driver does not run",
                    cure(
                        "install a driver of release 580 or later, or an ONNX Runtime that was built for \
                         the driver's CUDA and name it by ORT_DYLIB_PATH",
                    ),
                );
            }
            for gpu in gpus {
                s.ok(format!(
                    "cuda:{}: {}, {:.1} GiB, compute capability {}.{}",
                    gpu.index,
                    gpu.name,
                    gpu.memory_bytes as f64 / f64::from(1 << 30),
                    gpu.compute.0,
                    gpu.compute.1
                ));
            }
        }
        Driver::Absent { reason } => s.add(
            absent,
            reason.clone(),
            cure(
                "nothing is needed for the CPU. For an NVIDIA GPU: Debian package nvidia-driver (or \
                 NVIDIA's own, release 580 or later) on the machine; in a container, nvidia-container-toolkit \
                 on the host and `--gpus all`",
            ),
        ),
        Driver::Unusable { reason } => s.add(
            if wanted { Level::Error } else { Level::Warning },
            reason.clone(),
            cure(
                "restart the machine if the driver was just updated; else install it again so that \
                 kernel module and libcuda.so.1 are of one version (`nvidia-smi` names both)",
            ),
        ),
    }
    s
}

/// What brings a library, by the beginning of its name.
fn brings(name: &str) -> Option<&'static str> {
    const TABLE: [(&str, &str); 12] = [
        ("libcudart.so", "PyPI wheel nvidia-cuda-runtime"),
        ("libcublasLt.so", "PyPI wheel nvidia-cublas"),
        ("libcublas.so", "PyPI wheel nvidia-cublas"),
        ("libcudnn", "PyPI wheel nvidia-cudnn-cu13"),
        ("libcufft.so", "PyPI wheel nvidia-cufft"),
        ("libcurand.so", "PyPI wheel nvidia-curand"),
        (
            "libnvrtc.so",
            "PyPI wheel nvidia-cuda-nvrtc (`make bootstrap` fetches it; AIVIDEO_NVRTC names its file)",
        ),
        ("libnvJitLink.so", "PyPI wheel nvidia-nvjitlink"),
        ("libnvinfer", "PyPI wheel tensorrt-cu13-libs (TensorRT 10)"),
        (
            "libnvonnxparser",
            "PyPI wheel tensorrt-cu13-libs (TensorRT 10)",
        ),
        ("libgstcuda", "Debian package libgstreamer-plugins-bad1.0-0"),
        (
            "libcuda.so",
            "the NVIDIA driver (in a container: `--gpus all`)",
        ),
    ];
    TABLE
        .iter()
        .find(|(prefix, _)| name.starts_with(prefix))
        .map(|(_, what)| *what)
}

const TO_LOADER: &str = "and add the folder of the .so to LD_LIBRARY_PATH";

fn providers(found: &Findings, wanted: bool) -> Section {
    let mut s = Section("GPU providers and libraries", Vec::new());
    let has_gpu = matches!(found.driver, Driver::Works { .. });
    for provider in &found.runtime.providers {
        let name = &provider.name;
        let tensorrt = name == "TensorRT";
        // `auto` never takes TensorRT.
        let named = wanted && (!tensorrt || found.device.starts_with("tensorrt"));
        let level = match (named, has_gpu && !tensorrt) {
            (true, _) => Level::Error,
            (false, true) => Level::Warning,
            (false, false) => Level::Note,
        };
        let Some(file) = &provider.file else {
            if provider.built_in {
                s.add(
                    level,
                    format!("the provider {name} is part of this ONNX Runtime, but its library is not beside it"),
                    cure("keep the files of `onnxruntime-gpu` together, or install it again"),
                );
            } else {
                s.add(
                    level,
                    format!("this ONNX Runtime was built without the provider {name}"),
                    cure(
                        "only for NVIDIA GPUs: `pip install onnxruntime-gpu`, and ORT_DYLIB_PATH set to \
                         the libonnxruntime.so* in its folder `capi`",
                    ),
                );
            }
            continue;
        };
        if provider.missing.is_empty() {
            s.ok(format!(
                "provider {name}: {}, with all that it needs",
                file.display()
            ));
            continue;
        }
        let mut what = format!(
            "the provider {name} ({}) does not load; the loader lacks:",
            file.display()
        );
        let mut cures: Vec<&str> = Vec::new();
        for (library, reason) in &provider.missing {
            what.push_str(&format!("\n{library}: {reason}"));
            let brings = brings(library).unwrap_or("the package that owns it (`apt-file search`)");
            if !cures.contains(&brings) {
                cures.push(brings);
            }
        }
        s.add(
            level,
            what,
            Some(format!("install {}; {TO_LOADER}", cures.join(", "))),
        );
    }
    for Library { what, name, path } in &found.libraries {
        match path {
            Ok(path) => s.ok(format!("{what}: {}", path.display())),
            Err(reason) => s.add(
                // ONNX Runtime's CUDA provider opens these when it needs them.
                if has_gpu
                    && ["libcudart", "libcublas", "libcudnn"]
                        .iter()
                        .any(|n| name.starts_with(n))
                {
                    Level::Warning
                } else {
                    Level::Note
                },
                format!("{what}: {name} is not found ({})", first_line(reason)),
                brings(name)
                    .filter(|_| has_gpu)
                    .map(|what| format!("{what}, {TO_LOADER}")),
            ),
        }
    }
    let there = |role| -> Vec<&str> {
        let all = found.stock.iter().filter(|e| e.role == role && e.there);
        all.map(|e| e.name).collect()
    };
    let gpu_elements = there(Role::GpuMemory);
    if gpu_elements.is_empty() {
        s.add(
            Level::Note,
            "GStreamer has no nvcodec elements for memory on the GPU (cudaupload and others)",
            Some(if has_gpu {
                "Debian package gstreamer1.0-plugins-bad; in a container, the driver capability `video` \
                 (NVIDIA_DRIVER_CAPABILITIES=all); then remove GStreamer's registry (~/.cache/gstreamer-1.0)"
                    .to_string()
            } else {
                "they appear where there is an NVIDIA GPU".to_string()
            }),
        );
    } else {
        s.ok(format!("nvcodec: {}", gpu_elements.join(", ")));
    }
    s
}

fn device(found: &Findings) -> Section {
    let mut s = Section("Where models run", Vec::new());
    let asked = &found.device;
    match &found.probe {
        Ok(probe) => {
            let why = match &found.driver {
                _ if asked != "auto" => "as asked".to_string(),
                Driver::Works { .. } if probe.device != "cpu" => "the first NVIDIA GPU".to_string(),
                Driver::Works { .. } => "see the warning".to_string(),
                Driver::Absent { .. } => "there is no NVIDIA GPU, see above".to_string(),
                Driver::Unusable { .. } => "the NVIDIA driver does not work, see above".to_string(),
            };
            s.ok(format!("device={asked} means {}: {why}", probe.device));
            for warning in &probe.warnings {
                s.add(
                    Level::Warning,
                    warning.clone(),
                    cure("see the sections above; device=cpu says nothing and runs on the CPU"),
                );
            }
        }
        Err(reason) => {
            // One cause, one error: without ONNX Runtime there is nothing to say of a device.
            if found.runtime.path.is_ok() {
                s.add(
                    Level::Error,
                    format!("device={asked}: {}", first_line(reason)),
                    cure("see the sections above"),
                );
            }
        }
    }
    s
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn elements(found: &Findings) -> Section {
    let mut s = Section("Elements with a model", Vec::new());
    for Element {
        name,
        needs_model,
        started,
        warnings,
    } in &found.elements
    {
        match started {
            Ok(device) if device.is_empty() => s.ok(format!("{name}: starts")),
            Ok(device) => s.ok(format!("{name}: runs on {device}")),
            Err(_) if found.runtime.path.is_err() => s.add(
                Level::Error,
                format!("{name} does not start without ONNX Runtime"),
                None,
            ),
            // The device's error was told above.
            Err(reason) if found.probe.as_ref().is_err_and(|told| told == reason) => s.add(
                Level::Error,
                format!("{name} does not start with device={}", found.device),
                None,
            ),
            Err(reason) if *needs_model => s.add(
                Level::Note,
                format!("{name}: {}", first_line(reason)),
                cure("it has no model of its own; give it yours by model-location"),
            ),
            Err(reason) => s.add(
                Level::Error,
                format!("{name} does not start: {}", first_line(reason)),
                cure("see the sections above; `aivideo models verify` checks the built-in models"),
            ),
        }
        for warning in warnings {
            s.add(
                Level::Warning,
                format!("{name}: {}", first_line(warning)),
                None,
            );
        }
    }
    s
}

fn hybrid(found: &Findings) -> Section {
    let mut s = Section("Standard codecs for the hybrid profile", Vec::new());
    let of = |role| -> (Vec<&str>, Vec<&str>) {
        let (there, missing): (Vec<_>, Vec<_>) = found
            .stock
            .iter()
            .filter(|e| e.role == role)
            .partition(|e| e.there);
        let names = |list: Vec<&super::find::Stock>| list.iter().map(|e| e.name).collect();
        (names(there), names(missing))
    };
    let (there, missing) = of(Role::BaseEncoder);
    if there.is_empty() {
        s.add(
            Level::Error,
            format!("aihybridenc has no encoder: none of {}", missing.join(", ")),
            cure(
                "Debian packages gstreamer1.0-plugins-bad (x265enc, av1enc) and gstreamer1.0-plugins-ugly \
                 (x264enc), or run `make bootstrap`",
            ),
        );
    } else {
        s.ok(format!(
            "encoders: {} (base=auto takes the first)",
            there.join(", ")
        ));
        if !missing.is_empty() {
            s.add(
                Level::Note,
                format!("not there: {}", missing.join(", ")),
                Some(encoder_cures(&missing)),
            );
        }
    }
    for (role, format, packages) in [
        (
            Role::DecodesAv1,
            "AV1",
            "Debian packages gstreamer1.0-plugins-bad (av1dec), gstreamer1.0-plugins-rs or \
             gst-plugin-dav1d (dav1ddec, faster)",
        ),
        (
            Role::DecodesH265,
            "H.265",
            "Debian package gstreamer1.0-libav (avdec_h265)",
        ),
        (
            Role::DecodesH264,
            "H.264",
            "Debian package gstreamer1.0-libav (avdec_h264)",
        ),
    ] {
        let (there, missing) = of(role);
        if there.is_empty() {
            s.add(
                Level::Note,
                format!(
                    "aihybriddec cannot play {format}: none of {}",
                    missing.join(", ")
                ),
                cure(packages),
            );
        } else {
            s.ok(format!("{format} decoders: {}", there.join(", ")));
        }
    }
    s
}

fn encoder_cures(missing: &[&str]) -> String {
    let has = |name: &str| missing.contains(&name);
    let mut cures = Vec::new();
    if has("svtav1enc") {
        cures.push("svtav1enc: gstreamer1.0-plugins-bad of GStreamer 1.24 or later (Debian 13)");
    }
    if has("av1enc") || has("x265enc") {
        cures.push("av1enc, x265enc: Debian package gstreamer1.0-plugins-bad");
    }
    if has("x264enc") {
        cures.push("x264enc: Debian package gstreamer1.0-plugins-ugly");
    }
    if has("nvav1enc") || has("nvh265enc") {
        cures.push("nvav1enc, nvh265enc: only with an NVIDIA GPU that encodes these formats");
    }
    cures.join("\n")
}

fn tools(found: &Findings) -> Section {
    let mut s = Section("Beside the elements", Vec::new());
    for tool in &found.tools {
        match &tool.path {
            Some(path) => s.ok(format!("{}: {}", tool.what, path.display())),
            None => s.add(
                Level::Note,
                format!("not there: {}", tool.what),
                cure("run `make bootstrap`, or name it by AIVIDEO_FFMPEG"),
            ),
        }
    }
    s
}

#[cfg(test)]
mod tests;
