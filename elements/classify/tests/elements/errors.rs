// SPDX-License-Identifier: Apache-2.0
//! Bad models: one clear error, and an element that works again with a good one.

use gst::prelude::*;

use crate::{
    common::{ModelFile, element, probe, probe_bytes},
    testmodel,
};

/// The error that starting the element gives, and all its text.
struct Refusal {
    error: glib::Error,
    text: String,
}

fn refused(properties: &[(&str, &str)]) -> Refusal {
    let element = element(properties);
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    assert!(element.set_state(gst::State::Paused).is_err());
    let mut errors = Vec::new();
    while let Some(message) = bus.pop_filtered(&[gst::MessageType::Error]) {
        if let gst::MessageView::Error(error) = message.view() {
            errors.push(Refusal {
                text: format!(
                    "{} {}",
                    error.error().message(),
                    error.debug().unwrap_or_default()
                ),
                error: error.error(),
            });
        }
    }
    assert_eq!(errors.len(), 1, "one error");
    let good = probe();
    element.set_property("model-location", good.path.to_str().unwrap());
    element.set_property("labels-file", None::<String>);
    assert!(
        element.set_state(gst::State::Paused).is_ok(),
        "works with a good model"
    );
    element.set_state(gst::State::Null).unwrap();
    errors.remove(0)
}

fn refused_model(bytes: &[u8]) -> Refusal {
    let file = ModelFile::new(bytes);
    refused(&[("model-location", file.path.to_str().unwrap())])
}

#[test]
fn missing_model() {
    let refusal = refused(&[("model-location", "/nonexistent/classifier.onnx")]);
    assert!(refusal.error.matches(gst::ResourceError::NotFound));
    assert!(
        refusal.text.contains("/nonexistent/classifier.onnx"),
        "{}",
        refusal.text
    );
}

#[test]
fn corrupt_model() {
    let text = refused_model(b"this is no model at all, whatever its name may say").text;
    assert!(text.contains("probe.onnx"), "{text}");
    let mut cut = probe_bytes();
    cut.truncate(cut.len() / 2);
    assert!(refused_model(&cut).text.contains("probe.onnx"));
}

#[test]
fn model_of_the_wrong_shape() {
    let Refusal { error, text } = refused_model(&testmodel::picture(4));
    assert!(error.matches(gst::StreamError::WrongType));
    assert!(
        text.contains("[B,T,3,S,S]") && text.contains("16") && text.contains("uint8[1,3,?,?]"),
        "{text}"
    );
}

#[test]
fn labels_that_do_not_fit() {
    let model = probe();
    let location = model.path.to_str().unwrap();
    let text = refused(&[
        ("model-location", location),
        ("labels-file", "/nonexistent/labels.txt"),
    ])
    .text;
    assert!(text.contains("/nonexistent/labels.txt"), "{text}");
    let labels = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(labels.path(), "only\ntwo\n").unwrap();
    let text = refused(&[
        ("model-location", location),
        ("labels-file", labels.path().to_str().unwrap()),
    ])
    .text;
    assert!(text.contains("names 2 classes, the model has 3"), "{text}");
}

#[test]
fn labels_file_is_used() {
    let model = probe();
    let labels = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(labels.path(), "uno\ndos\ntres\n").unwrap();
    let mut bench = crate::common::Bench::with_probe(
        &model,
        &[
            ("sync", "true"),
            ("labels-file", labels.path().to_str().unwrap()),
        ],
    );
    bench.caps("RGB", 16, 16);
    let mut results = Vec::new();
    for i in 0..16 {
        results.extend(bench.pass(crate::common::grey(90, i)));
    }
    let mut labels = results[0].labels.clone();
    labels.sort();
    assert_eq!(labels, ["dos", "tres", "uno"]);
}
