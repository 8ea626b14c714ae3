// SPDX-License-Identifier: Apache-2.0
//! Verdicts and cures for machines that are made up.

use super::*;
use crate::doctor::find::{Gpu, Plugin, Probe, Provider, Stock, Tool};

/// A machine without a GPU where everything works.
fn machine() -> Findings {
    let stock = |name, role| Stock {
        name,
        role,
        there: true,
    };
    Findings {
        device: "auto".into(),
        gstreamer: Ok("GStreamer 1.22.0".into()),
        plugins: vec![Plugin {
            name: "aivideo",
            path: Some("/p/libgstaivideo.so".into()),
            version: env!("CARGO_PKG_VERSION").into(),
            elements: 12,
        }],
        elements: vec![
            Element {
                name: "aicodecenc".into(),
                needs_model: false,
                started: Ok("cpu".into()),
                warnings: Vec::new(),
            },
            Element {
                name: "aidetect".into(),
                needs_model: true,
                started: Err("set model-location".into()),
                warnings: Vec::new(),
            },
        ],
        driver: Driver::Absent {
            reason: "there is no NVIDIA driver".into(),
        },
        runtime: Runtime {
            path: Ok("/o/libonnxruntime.so".into()),
            build: "1.31.1".into(),
            ignored_variable: None,
            providers: vec![provider("CUDA", false), provider("TensorRT", false)],
        },
        probe: Ok(Probe {
            device: "cpu".into(),
            warnings: Vec::new(),
        }),
        libraries: vec![Library {
            what: "cuDNN",
            name: "libcudnn.so.9",
            path: Err("No such file".into()),
        }],
        stock: vec![
            stock("x265enc", Role::BaseEncoder),
            stock("av1dec", Role::DecodesAv1),
            stock("avdec_h265", Role::DecodesH265),
            stock("avdec_h264", Role::DecodesH264),
        ],
        tools: vec![Tool {
            what: "ffmpeg",
            path: Some("/f/ffmpeg".into()),
        }],
    }
}

fn provider(name: &str, built_in: bool) -> Provider {
    Provider {
        name: name.into(),
        built_in,
        file: built_in.then(|| format!("/o/{name}.so").into()),
        missing: Vec::new(),
    }
}

fn with_gpu(mut found: Findings) -> Findings {
    found.driver = Driver::Works {
        cuda: (13, 0),
        gpus: vec![Gpu {
            index: 0,
            name: "H200".into(),
            memory_bytes: 1 << 37,
            compute: (9, 0),
        }],
    };
    found
}

fn worst(verdicts: &[Verdict]) -> Level {
    verdicts.iter().map(|v| v.level).max().unwrap()
}

/// The verdict whose text has `part`; its level and cure must be these.
#[track_caller]
fn expect(verdicts: &[Verdict], part: &str, level: Level, cure: &[&str]) {
    let found: Vec<_> = verdicts.iter().filter(|v| v.what.contains(part)).collect();
    assert!(
        found.iter().any(|v| v.level == level
            && cure
                .iter()
                .all(|c| v.cure.as_deref().unwrap_or_default().contains(c))),
        "'{part}' at {level:?} with {cure:?}: {found:#?}"
    );
}

#[test]
fn a_machine_without_a_gpu_is_healthy() {
    let verdicts = judge(&machine());
    assert_eq!(worst(&verdicts), Level::Note, "{verdicts:#?}");
    expect(&verdicts, "no NVIDIA driver", Level::Note, &["--gpus all"]);
    expect(
        &verdicts,
        "without the provider CUDA",
        Level::Note,
        &["onnxruntime-gpu", "ORT_DYLIB_PATH"],
    );
    expect(
        &verdicts,
        "device=auto means cpu: there is no NVIDIA GPU",
        Level::Ok,
        &[],
    );
    expect(&verdicts, "aidetect", Level::Note, &["model-location"]);
}

#[test]
fn what_a_named_device_needs_is_needed() {
    let mut found = machine();
    found.device = "cuda".into();
    found.probe = Err("device 'cuda:0' cannot be used: no driver".into());
    let verdicts = judge(&found);
    expect(
        &verdicts,
        "no NVIDIA driver",
        Level::Error,
        &["nvidia-driver"],
    );
    expect(
        &verdicts,
        "without the provider CUDA",
        Level::Error,
        &["onnxruntime-gpu"],
    );
    expect(&verdicts, "without the provider TensorRT", Level::Note, &[]);
    expect(&verdicts, "device=cuda:", Level::Error, &[]);
    found.device = "tensorrt:0".into();
    expect(
        &judge(&found),
        "without the provider TensorRT",
        Level::Error,
        &[],
    );
}

#[test]
fn a_gpu_that_cannot_be_used_is_a_warning() {
    let mut found = with_gpu(machine());
    found.probe = Ok(Probe {
        device: "cpu".into(),
        warnings: vec!["device=auto: running on the CPU although".into()],
    });
    let verdicts = judge(&found);
    assert_eq!(worst(&verdicts), Level::Warning);
    expect(
        &verdicts,
        "without the provider CUDA",
        Level::Warning,
        &["onnxruntime-gpu"],
    );
    expect(
        &verdicts,
        "running on the CPU although",
        Level::Warning,
        &["device=cpu"],
    );
    expect(
        &verdicts,
        "libcudnn.so.9 is not found",
        Level::Warning,
        &["nvidia-cudnn-cu13", "LD_LIBRARY_PATH"],
    );
    expect(
        &verdicts,
        "nvcodec",
        Level::Note,
        &["NVIDIA_DRIVER_CAPABILITIES"],
    );
    found.driver = Driver::Unusable {
        reason: "error 803".into(),
    };
    expect(&judge(&found), "error 803", Level::Warning, &["nvidia-smi"]);
    found.driver = Driver::Works {
        cuda: (12, 4),
        gpus: Vec::new(),
    };
    expect(&judge(&found), "CUDA 13", Level::Warning, &["580"]);
}

#[test]
fn each_missing_library_of_a_provider_has_its_wheel() {
    let mut found = with_gpu(machine());
    let mut cuda = provider("CUDA", true);
    cuda.missing = [
        "libcublasLt.so.13",
        "libcublas.so.13",
        "libcurand.so.10",
        "libcufft.so.12",
        "libcudart.so.13",
        "libcudnn.so.9",
        "libodd.so.1",
    ]
    .map(|name| (name.to_string(), "No such file".to_string()))
    .to_vec();
    found.runtime.providers = vec![cuda, provider("TensorRT", true)];
    let verdicts = judge(&found);
    expect(
        &verdicts,
        "libcudnn.so.9: No such file",
        Level::Warning,
        &[
            "nvidia-cublas",
            "nvidia-curand",
            "nvidia-cufft",
            "nvidia-cuda-runtime",
            "nvidia-cudnn-cu13",
            "apt-file",
            "LD_LIBRARY_PATH",
        ],
    );
    let cure = verdicts.iter().find(|v| v.what.contains("libodd")).unwrap();
    let cure = cure.cure.as_deref().unwrap();
    assert_eq!(cure.matches("nvidia-cublas").count(), 1, "{cure}");
    expect(
        &verdicts,
        "provider TensorRT: /o/TensorRT.so",
        Level::Ok,
        &[],
    );
    found.device = "cuda:0".into();
    assert_eq!(worst(&judge(&found)), Level::Error);
}

#[test]
fn without_onnx_runtime_the_cure_is_its_own() {
    let mut found = machine();
    found.runtime.path = Err("ONNX Runtime was not found. Tried:\n  /x: no\nCure: do this".into());
    found.probe = Err("the same".into());
    found.elements[0].started = Err("the same".into());
    let verdicts = judge(&found);
    expect(&verdicts, "/x: no", Level::Error, &["do this"]);
    expect(&verdicts, "aicodecenc does not start", Level::Error, &[]);
    assert!(!verdicts.iter().any(|v| v.what.contains("Cure")));
}

#[test]
fn a_variable_that_is_passed_over_is_an_error() {
    let mut found = machine();
    found.runtime.ignored_variable = Some("/nonsense.so: No such file".into());
    expect(
        &judge(&found),
        "ORT_DYLIB_PATH names",
        Level::Error,
        &["unset"],
    );
}

#[test]
fn plugins_and_models_are_needed() {
    let mut found = machine();
    found.plugins[0].path = None;
    found.probe = Err("no GPU".into());
    found.elements[0].started = Err("no GPU".into());
    expect(
        &judge(&found),
        "aicodecenc does not start with device=auto",
        Level::Error,
        &[],
    );
    found.elements[0].started = Err("embedded model is corrupt\nmore".into());
    let verdicts = judge(&found);
    expect(
        &verdicts,
        "plugin aivideo",
        Level::Error,
        &["GST_PLUGIN_PATH", "make build"],
    );
    expect(
        &verdicts,
        "embedded model is corrupt",
        Level::Error,
        &["models verify"],
    );
    let mut found = machine();
    found.plugins[0].version = "9.9.9".into();
    expect(&judge(&found), "9.9.9", Level::Warning, &["one version"]);
    found.plugins[0].elements = 0;
    expect(&judge(&found), "has no elements", Level::Error, &[]);
    found.gstreamer = Err("no libgstreamer".into());
    expect(
        &judge(&found),
        "does not start",
        Level::Error,
        &["gstreamer1.0-plugins-base"],
    );
}

#[test]
fn one_encoder_is_enough_and_none_is_not() {
    let mut found = machine();
    found.stock.push(Stock {
        name: "svtav1enc",
        role: Role::BaseEncoder,
        there: false,
    });
    let verdicts = judge(&found);
    expect(&verdicts, "encoders: x265enc", Level::Ok, &[]);
    expect(
        &verdicts,
        "not there: svtav1enc",
        Level::Note,
        &["Debian 13"],
    );
    for element in &mut found.stock {
        element.there = false;
    }
    let verdicts = judge(&found);
    expect(
        &verdicts,
        "aihybridenc has no encoder",
        Level::Error,
        &["gstreamer1.0-plugins-ugly"],
    );
    expect(
        &verdicts,
        "cannot play H.265",
        Level::Note,
        &["gstreamer1.0-libav"],
    );
}
