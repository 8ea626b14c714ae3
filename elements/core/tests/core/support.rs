// SPDX-License-Identifier: Apache-2.0
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
