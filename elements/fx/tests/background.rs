// SPDX-License-Identifier: Apache-2.0
//! aibackgroundblur with a real, tiny model: bright is foreground.

#[path = "../../core/tests/testmodel/mod.rs"]
mod testmodel;

use gst::prelude::*;
use std::path::Path;
use testmodel::{Dim, Model, ty};

fn init() {
    static INIT: std::sync::Once = std::sync::Once::new();
    INIT.call_once(|| {
        gst::init().expect("GStreamer");
        aivideo_fx::register_inference(None).expect("registers");
    });
}

/// The mean of the channels, stretched: foreground above one half.
fn model(last: bool) -> Vec<u8> {
    let (input, output, axis) = match last {
        true => (
            [Dim::Fixed(1), Dim::Fixed(24), Dim::Fixed(32), Dim::Fixed(3)],
            [Dim::Fixed(1), Dim::Fixed(24), Dim::Fixed(32), Dim::Fixed(1)],
            3,
        ),
        false => (
            [Dim::Fixed(1), Dim::Fixed(3), Dim::Free("h"), Dim::Free("w")],
            [Dim::Fixed(1), Dim::Fixed(1), Dim::Free("h"), Dim::Free("w")],
            1,
        ),
    };
    Model::new()
        .input("picture", ty::F32, &input)
        .output("mask", ty::F32, &output)
        .constant_f32("gain", &[1], &[20.0])
        .constant_f32("offset", &[1], &[-10.0])
        .node(
            "ReduceMean",
            &["picture"],
            &["mean"],
            &[("axes", &[axis]), ("keepdims", &[1])],
        )
        .node("Mul", &["mean", "gain"], &["scaled"], &[])
        .node("Add", &["scaled", "offset"], &["moved"], &[])
        .node("Sigmoid", &["moved"], &["mask"], &[])
        .finish()
}

const SIZE: (i32, i32) = (96, 64);

/// Stripes: dark ones on the left, bright ones on the right.
fn stripe(x: usize) -> u8 {
    let base = if x < 48 { 60 } else { 200 };
    base + if (x / 2).is_multiple_of(2) { 0 } else { 30 }
}

fn harness(path: &Path, properties: &str, format: &str) -> gst_check::Harness {
    init();
    let text = format!(
        "aibackgroundblur name=blur model-location=\"{}\" {properties}",
        path.display()
    );
    let mut harness = gst_check::Harness::new_parse(&text);
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", format)
        .field("width", SIZE.0)
        .field("height", SIZE.1)
        .field("framerate", gst::Fraction::new(25, 1))
        .build();
    harness.set_src_caps(caps);
    harness.play();
    harness
}

fn gray() -> gst::Buffer {
    let row: Vec<u8> = (0..SIZE.0 as usize).map(stripe).collect();
    let mut buffer = gst::Buffer::from_mut_slice(row.repeat(SIZE.1 as usize));
    buffer
        .get_mut()
        .expect("the only reference")
        .set_pts(gst::ClockTime::ZERO);
    buffer
}

fn contrast(row: &[u8]) -> u8 {
    row.iter().max().unwrap_or(&0) - row.iter().min().unwrap_or(&0)
}

#[test]
fn background_is_blurred_and_foreground_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    for last in [false, true] {
        let path = folder.path().join("mask.onnx");
        std::fs::write(&path, model(last)).expect("written");
        for invert in [false, true] {
            let properties = format!("sigma=6 smoothing=0 invert={invert} num-threads=1");
            let mut harness = harness(&path, &properties, "GRAY8");
            let output = harness.push_and_pull(gray()).expect("a buffer");
            let data = output.map_readable().expect("readable");
            let row = &data[32 * 96..33 * 96];
            let (left, right) = (contrast(&row[6..36]), contrast(&row[60..90]));
            let (soft, sharp) = if invert { (right, left) } else { (left, right) };
            assert!(soft < 8, "{last} {invert}: {soft}");
            assert!(sharp > 25, "{last} {invert}: {sharp}");
        }
    }
}

#[test]
fn every_format_runs_and_nothing_to_do_is_passthrough() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mask.onnx");
    std::fs::write(&path, model(false)).expect("written");
    for format in ["I420", "NV12", "RGBA", "YUY2", "BGR"] {
        let mut harness = harness(&path, "num-threads=1", format);
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", format)
            .field("width", SIZE.0)
            .field("height", SIZE.1)
            .build();
        let info = gst_video::VideoInfo::from_caps(&caps).expect("raw video");
        let bytes: Vec<u8> = (0..info.size()).map(|i| (i * 37 % 200) as u8).collect();
        for sigma in [12.0, 0.0] {
            let element = harness.element().expect("an element");
            let blur = match element.clone().downcast::<gst::Bin>() {
                Ok(bin) => bin.by_name("blur").expect("the element"),
                Err(element) => element,
            };
            blur.set_property("sigma", sigma);
            let mut buffer = gst::Buffer::from_mut_slice(bytes.clone());
            let reference = buffer.get_mut().expect("the only reference");
            reference.set_pts(gst::ClockTime::ZERO);
            let output = harness.push_and_pull(buffer).expect("a buffer");
            let data = output.map_readable().expect("readable");
            assert_eq!(data.as_slice() == bytes, sigma == 0.0, "{format} {sigma}");
        }
    }
}

#[test]
fn models_that_do_not_fit_are_refused() {
    init();
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = folder.path().join("wrong.onnx");
    std::fs::write(&wrong, testmodel::add(1.0, Dim::Free("n"))).expect("written");
    for (path, part) in [
        ("", "set model-location"),
        ("/no/such.onnx", "/no/such.onnx"),
        (wrong.to_str().expect("UTF-8"), "does not fit"),
    ] {
        let element = gst::ElementFactory::make("aibackgroundblur")
            .build()
            .expect("the element");
        if !path.is_empty() {
            element.set_property("model-location", path);
        }
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        assert!(element.set_state(gst::State::Paused).is_err(), "{path}");
        let message = bus
            .timed_pop_filtered(gst::ClockTime::from_seconds(5), &[gst::MessageType::Error])
            .expect("an error");
        let gst::MessageView::Error(error) = message.view() else {
            unreachable!()
        };
        let text = error.error().message().to_string();
        assert!(text.contains(part), "{text}");
        element.set_bus(None);
        element.set_state(gst::State::Null).expect("NULL");
    }
}
