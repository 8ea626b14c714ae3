// SPDX-License-Identifier: Apache-2.0
//! `aidetect` as a pipeline sees it, with YOLOX-nano where the data folder has it.

use std::path::{Path, PathBuf};

use aivideo_meta::Detection;
use gst::prelude::*;

use crate::support::*;

/// A file of the data folder beside the clone; says that the test is skipped when it is missing.
fn data(path: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = root.join("../shared/data").join(path);
    if file.is_file() {
        return Some(file);
    }
    aivideo_skip::skip!("{} is not there", file.display());
    None
}

fn sidecar(name: &str) -> String {
    format!(
        "{}/../../models/enhance/sidecars/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}

fn detector(properties: &str) -> (gst::Element, gst::Bus) {
    init();
    let element = gst::parse::launch(&format!("aidetect {properties}")).expect("the element");
    let bus = bus_of(&element);
    (element, bus)
}

/// What the reference (ONNX Runtime and OpenCV in Python, models/training/enhance/detect_data.py)
/// finds on the first picture: label, score, corners.
const REFERENCE: [(&str, f64, [f64; 4]); 8] = [
    ("car", 0.52, [168.12, 198.8, 275.46, 238.8]),
    ("car", 0.49, [76.4, 76.95, 161.85, 177.36]),
    ("car", 0.47, [206.89, 49.27, 295.81, 147.32]),
    ("car", 0.45, [94.85, 108.63, 203.74, 219.65]),
    ("car", 0.43, [36.01, 41.34, 107.58, 136.93]),
    ("truck", 0.42, [0.5, 44.47, 112.99, 135.94]),
    ("truck", 0.41, [95.69, 105.38, 199.09, 216.91]),
    ("truck", 0.36, [206.15, 49.96, 295.36, 147.22]),
];

#[test]
fn yolox_nano_finds_what_the_reference_finds_and_objects_keep_their_numbers() {
    let (Some(model), Some(clip)) = (
        data("models/yolox_nano.onnx"),
        data("test/video/libvpl__cars_320x240.nv12"),
    ) else {
        return;
    };
    let (element, _bus) = detector(&format!(
        "model-location={} sidecar-location={} device=cpu num-threads=1",
        model.display(),
        sidecar("yolox-nano.json")
    ));
    let mut h = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
    h.play();
    h.set_src_caps_str(
        "video/x-raw,format=NV12,width=320,height=240,framerate=30/1,colorimetry=bt601",
    );
    let bytes = std::fs::read(clip).expect("the clip");
    let mut numbers = Vec::new();
    for (n, frame) in bytes.chunks_exact(320 * 240 * 3 / 2).take(4).enumerate() {
        let out = h
            .push_and_pull(gst::Buffer::from_mut_slice(frame.to_vec()))
            .expect("a frame");
        let found = Detection::read_all(&out);
        if n == 0 {
            for (label, score, corners) in REFERENCE {
                let near = found.iter().any(|d| {
                    let own = [d.x, d.y, d.x + d.width, d.y + d.height];
                    let off = own
                        .iter()
                        .zip(corners)
                        .map(|(a, b)| (f64::from(*a) - b).abs())
                        .fold(0.0, f64::max);
                    d.label == label
                        && off < 4.0
                        && d.confidence.is_some_and(|c| (c - score).abs() < 0.05)
                });
                assert!(near, "no {label} {score} at {corners:?} in {found:#?}");
            }
        }
        numbers.push(found.iter().filter_map(|d| d.object_id).collect::<Vec<_>>());
    }
    assert!(numbers[0].is_empty());
    let kept = numbers[1]
        .iter()
        .filter(|id| numbers[3].contains(id))
        .count();
    assert!(kept >= 3, "{numbers:?}");
    let stats = element.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("frames-analyzed"), Ok(4));
}

#[test]
fn the_operation_finds_what_the_element_finds_and_boxes_grow_with_the_picture() {
    let (Some(model), Some(clip)) = (
        data("models/yolox_nano.onnx"),
        data("test/video/libvpl__cars_320x240.nv12"),
    ) else {
        return;
    };
    let (element, _bus) = {
        init();
        let text = format!(
            "aienhance device=cpu num-threads=1 operations=\"object_detection:model={}:sidecar={},upscale\"",
            model.display(),
            sidecar("yolox-nano.json")
        );
        let element = gst::parse::launch(&text).expect("the element");
        let bus = bus_of(&element);
        (element, bus)
    };
    let mut h = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
    h.play();
    h.set_src_caps_str(
        "video/x-raw,format=NV12,width=320,height=240,framerate=30/1,colorimetry=bt601",
    );
    let bytes = std::fs::read(clip).expect("the clip");
    let frame = bytes[..320 * 240 * 3 / 2].to_vec();
    let out = h
        .push_and_pull(gst::Buffer::from_mut_slice(frame))
        .expect("a frame");
    let found = Detection::read_all(&out);
    for (label, score, corners) in REFERENCE {
        let near = found.iter().any(|d| {
            let own = [d.x, d.y, d.x + d.width, d.y + d.height];
            let off = own
                .iter()
                .zip(corners)
                .map(|(a, b)| (f64::from(*a) - 2.0 * b).abs())
                .fold(0.0, f64::max);
            d.label == label && off < 8.0 && d.confidence.is_some_and(|c| (c - score).abs() < 0.05)
        });
        assert!(
            near,
            "no {label} {score} at twice {corners:?} in {found:#?}"
        );
    }
    let stats = element.property::<gst::Structure>("stats");
    let count = stats.get::<f64>("detect-objects").expect("a count");
    assert_eq!(count, found.len() as f64);
}

#[test]
fn the_operation_without_a_model_says_so() {
    init();
    let element = gst::parse::launch("aienhance operations=object_detection").expect("the element");
    let bus = bus_of(&element);
    assert!(element.set_state(gst::State::Paused).is_err());
    let errors = messages(&bus, gst::MessageType::Error);
    assert!(
        errors.iter().any(|e| e.contains("detect:model")),
        "{errors:?}"
    );
}

#[test]
fn missing_and_wrong_models_are_refused_with_the_cure() {
    let folder = tempfile::tempdir().expect("a folder");
    let lonely = folder.path().join("lonely.onnx");
    std::fs::write(&lonely, b"no model").expect("written");
    let upscaler = format!(
        "{}/../../models/enhance/upscale-x2.onnx",
        env!("CARGO_MANIFEST_DIR")
    );
    for (properties, needle) in [
        (String::new(), "none is built in"),
        (
            format!("model-location={}", lonely.display()),
            "lonely.json",
        ),
        (
            format!(
                "model-location={} sidecar-location={}",
                lonely.display(),
                sidecar("d-fine.json")
            ),
            "lonely.onnx",
        ),
        // One channel, where three are needed.
        (
            format!(
                "model-location={upscaler} sidecar-location={}",
                sidecar("yolox-nano.json")
            ),
            "[1,3,height,width]",
        ),
    ] {
        let (element, bus) = detector(&properties);
        assert!(
            element.set_state(gst::State::Paused).is_err(),
            "{properties}"
        );
        let errors = messages(&bus, gst::MessageType::Error);
        assert!(
            errors.iter().any(|e| e.contains(needle)),
            "{needle}: {errors:?}"
        );
        element.set_state(gst::State::Null).expect("stopped");
    }
}
