// SPDX-License-Identifier: Apache-2.0
use std::{env, process::Command};

use aivideo_core::{
    engine::{Engine, EngineError, ModelSource, Tensor},
    settings::InferenceSettings,
};

/// A model made in the test.
pub fn embedded(bytes: Vec<u8>) -> ModelSource {
    ModelSource::Embedded {
        name: "test",
        bytes: bytes.leak(),
    }
}

/// Default settings on the CPU, changed.
pub fn cpu(change: impl FnOnce(&mut InferenceSettings)) -> InferenceSettings {
    let mut settings = InferenceSettings {
        device: "cpu".to_string(),
        num_threads: 1,
        ..InferenceSettings::default()
    };
    change(&mut settings);
    settings
}

/// Like [`cpu`], with an id, so that parallel tests do not share.
pub fn named(id: &str) -> InferenceSettings {
    cpu(|settings| settings.model_instance_id = Some(id.to_string()))
}

pub fn acquire(bytes: Vec<u8>, settings: &InferenceSettings) -> Result<Engine, EngineError> {
    Engine::acquire(&embedded(bytes), settings)
}

/// The error of an acquisition that must fail.
pub fn refused(bytes: Vec<u8>, settings: &InferenceSettings) -> String {
    match acquire(bytes, settings) {
        Ok(_) => panic!("the model was accepted"),
        Err(err) => err.to_string(),
    }
}

/// A `[1, 2]` request for `testmodel::add`.
pub fn pair(a: f32, b: f32) -> Vec<(&'static str, Tensor)> {
    vec![("x", Tensor::f32([1, 2], vec![a, b]))]
}

/// The elements of a single float output.
pub fn floats(outputs: Vec<(String, Tensor)>) -> Vec<f32> {
    assert_eq!(outputs.len(), 1);
    outputs.into_iter().next().unwrap().1.into_f32().unwrap()
}

pub fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "'{part}' is not in:\n{text}");
    }
}

const CHILD: &str = "AIVIDEO_CORE_TEST_CHILD";

/// Whether this process is one that [`child`] started.
pub fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

/// Runs the (ignored) test `name` of this program alone in a process of its own.
pub fn child(name: &str, change: impl FnOnce(&mut Command)) {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture", "--include-ignored"])
        .env(CHILD, "1");
    change(&mut command);
    let output = command.output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}
