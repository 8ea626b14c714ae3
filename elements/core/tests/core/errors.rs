// SPDX-License-Identifier: Apache-2.0
//! Bad models and devices: one clear error each.

use std::fs;

use aivideo_core::{
    engine::{Engine, EngineError, ModelSource, Tensor},
    settings::InferenceSettings,
};

use crate::{
    support::{acquire, assert_says, cpu, named, refused},
    testmodel::{self, Dim, Model, ty},
};

#[test]
fn a_missing_file_is_not_found() {
    let source = ModelSource::File("/nonexistent/model.onnx".into());
    let Err(err) = Engine::acquire(&source, &cpu(|_| {})) else {
        panic!("a missing file was loaded");
    };
    assert_says(
        &err.to_string(),
        &["/nonexistent/model.onnx", "model-location"],
    );
    let message = err.to_error_message();
    assert!(format!("{message:?}").contains("/nonexistent/model.onnx"));
}

#[test]
fn corrupt_files_are_refused_with_their_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.onnx");
    let good = testmodel::picture(4);
    let noise: Vec<u8> = (0..5000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for content in [
        &good[..good.len() / 2],
        &good[..20],
        &noise,
        b"hello, this is text",
        &[0],
    ] {
        fs::write(&path, content).unwrap();
        let Err(err) = Engine::acquire(&ModelSource::File(path.clone()), &cpu(|_| {})) else {
            panic!("{} bytes of garbage were loaded", content.len());
        };
        assert!(matches!(err, EngineError::ModelInvalid { .. }), "{err}");
        assert_says(
            &err.to_string(),
            &["broken.onnx", "not a usable ONNX model"],
        );
    }
    // Nothing of the failures stays: the same path works once it is right.
    fs::write(&path, &good).unwrap();
    Engine::acquire(&ModelSource::File(path), &cpu(|_| {})).unwrap();
}

#[test]
fn unsupported_types_are_named() {
    let dims = [Dim::Fixed(1)];
    let model = Model::new()
        .input("x", ty::F64, &dims)
        .output("y", ty::F64, &dims)
        .node("Identity", &["x"], &["y"], &[])
        .finish();
    assert_says(
        &refused(model, &cpu(|_| {})),
        &["input 'x'", "supported are tensors of float32"],
    );
}

#[test]
fn an_unknown_operator_is_named() {
    let dims = [Dim::Fixed(1)];
    let model = Model::new()
        .input("x", ty::F32, &dims)
        .output("y", ty::F32, &dims)
        .node("Frobnicate", &["x"], &["y"], &[])
        .finish();
    assert_says(&refused(model, &cpu(|_| {})), &["Frobnicate"]);
}

#[test]
fn a_wrong_request_is_refused_before_it_is_queued() {
    let engine = acquire(testmodel::add(1.0, Dim::Free("n")), &named("wrong")).unwrap();
    for (name, tensor, says) in [
        (
            "x",
            Tensor::u8([1, 2], vec![0; 2]),
            ["float32[?,2]", "uint8[1, 2]"],
        ),
        (
            "x",
            Tensor::f32([1, 3], vec![0.0; 3]),
            ["float32[?,2]", "float32[1, 3]"],
        ),
        ("x", Tensor::f32([0, 2], vec![]), ["empty", "float32[0, 2]"]),
        ("z", Tensor::f32([1, 2], vec![0.0; 2]), ["'z'", "inputs x"]),
    ] {
        let err = engine.run(vec![(name, tensor)]).unwrap_err();
        assert!(matches!(err, EngineError::Input { .. }));
        assert_says(&err.to_string(), &says);
    }
    assert!(engine.run(Vec::new()).is_err());
    assert_eq!(engine.stats().batches, 0);
}

#[test]
fn an_unknown_device_is_a_settings_error() {
    let text = refused(
        testmodel::add(1.0, Dim::Free("n")),
        &cpu(|s| s.device = "gpu".to_string()),
    );
    assert_says(&text, &["'gpu'", "cuda", "tensorrt"]);
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_that_says_what_is_missing() {
    for device in ["cuda", "cuda:7", "tensorrt"] {
        let settings = InferenceSettings {
            device: device.to_string(),
            ..InferenceSettings::default()
        };
        match acquire(testmodel::add(1.0, Dim::Free("n")), &settings) {
            // On a machine with that GPU: it must really be the one in use.
            Ok(engine) => assert!(engine.device_in_use().starts_with(device)),
            Err(err) => {
                assert!(matches!(err, EngineError::Device { .. }), "{err}");
                let text = err.to_string();
                assert_says(&text, &[device, "device=cpu"]);
                assert!(
                    [
                        "libcuda.so.1",
                        "no GPU",
                        "sees no GPU",
                        "built without",
                        "providers"
                    ]
                    .iter()
                    .any(|cause| text.contains(cause)),
                    "{text}"
                );
            }
        }
    }
}

#[test]
fn auto_always_runs_and_tells_where() {
    let settings = InferenceSettings {
        device: "auto".to_string(),
        ..InferenceSettings::default()
    };
    let engine = acquire(testmodel::add(1.0, Dim::Free("n")), &settings).unwrap();
    let device = engine.device_in_use().to_string();
    assert!(device == "cpu" || device == "cuda:0", "{device}");
    let driver = std::path::Path::new("/proc/driver/nvidia").exists();
    if !driver {
        assert_eq!(device, "cpu");
        assert!(engine.warnings().is_empty(), "{:?}", engine.warnings());
    }
    engine
        .run(vec![("x", Tensor::f32([1, 2], vec![1.0, 2.0]))])
        .unwrap();
}

#[test]
fn a_probe_tells_where_a_model_ran() {
    use aivideo_core::provider::probe;
    let found = probe("cpu").unwrap();
    assert_eq!((found.device.as_str(), found.warnings.len()), ("cpu", 0));
    assert_says(&probe("gpu").unwrap_err().to_string(), &["'gpu'"]);
    match probe("cuda") {
        Ok(found) => assert_eq!(found.device, "cuda:0"),
        Err(err) => assert_says(&err.to_string(), &["cuda:0", "device=cpu"]),
    }
}

#[test]
fn a_bare_session_runs_and_refuses_as_an_engine_does() {
    use crate::support::{embedded, pair};
    use aivideo_core::engine::Bare;
    let source = embedded(testmodel::add(1.0, Dim::Free("batch")));
    let mut bare = Bare::new(&source, &cpu(|_| {}), pair(1.0, 2.0)).unwrap();
    bare.run().unwrap();
    let wrong = vec![("nothing", Tensor::f32([1, 2], vec![0.0; 2]))];
    let mut bare = Bare::new(&source, &cpu(|_| {}), wrong).unwrap();
    assert_says(&bare.run().unwrap_err().to_string(), &["nothing"]);
    let gpu = cpu(|settings| settings.device = "cuda:63".to_string());
    let Err(err) = Bare::new(&source, &gpu, pair(1.0, 2.0)) else {
        panic!("GPU 63 was found");
    };
    assert_says(&err.to_string(), &["cuda:63"]);
}
