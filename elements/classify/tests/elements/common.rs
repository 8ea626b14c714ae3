// SPDX-License-Identifier: Apache-2.0
//! Frames, models and a harness for the tests.

use std::{path::PathBuf, sync::Once};

use aivideo_core::meta::ClassificationResult;
use gst::prelude::*;
use gst_check::Harness;

use crate::testmodel::{Dim, Model, ty};

pub const MS: u64 = 1_000_000;
/// Time between frames: 25 a second.
pub const STEP: u64 = 40 * MS;

pub fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().unwrap();
        aivideo_classify::register(None).unwrap();
    });
}

/// A model file that lives as long as the value.
pub struct ModelFile {
    _folder: tempfile::TempDir,
    pub path: PathBuf,
}

impl ModelFile {
    pub fn new(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("probe.onnx");
        std::fs::write(&path, bytes).unwrap();
        Self {
            _folder: folder,
            path,
        }
    }
}

/// How strongly the probe model's logits follow brightness.
const GAIN: f64 = 8.0;
const FRAMES: i64 = 16;
const SIDE: i64 = 8;

/// A classifier whose probabilities tell the brightness of a clip's first and last frame.
pub fn probe_bytes() -> Vec<u8> {
    let per_frame = (3 * SIDE * SIDE) as usize;
    let mut weights = vec![0.0f32; per_frame * FRAMES as usize * 3];
    for i in 0..per_frame {
        weights[i * 3] = GAIN as f32 / per_frame as f32;
        let last = (FRAMES as usize - 1) * per_frame + i;
        weights[last * 3 + 1] = GAIN as f32 / per_frame as f32;
    }
    let shape = [
        Dim::Free("batch"),
        Dim::Fixed(FRAMES),
        Dim::Fixed(3),
        Dim::Fixed(SIDE),
        Dim::Fixed(SIDE),
    ];
    Model::new()
        .input("pixel_values_videos", ty::F32, &shape)
        .output("logits", ty::F32, &[Dim::Free("batch"), Dim::Fixed(3)])
        .constant_f32("w", &[per_frame as i64 * FRAMES, 3], &weights)
        .node(
            "Flatten",
            &["pixel_values_videos"],
            &["flat"],
            &[("axis", &[1])],
        )
        .node("MatMul", &["flat", "w"], &["logits"], &[])
        .metadata("labels", "first\nlast\nnothing")
        .metadata("mean", "0,0,0")
        .metadata("std", "1,1,1")
        .metadata("frame-stride", "1")
        .finish()
}

pub fn probe() -> ModelFile {
    ModelFile::new(&probe_bytes())
}

/// Brightness (0..255) of the first and the last frame of the clip that a probe saw.
pub fn probed(result: &ClassificationResult) -> (f64, f64) {
    let score = |label: &str| {
        let index = result.labels.iter().position(|l| l == label).unwrap();
        result.scores[index]
    };
    let level = |label| (score(label) / score("nothing")).ln() / GAIN * 255.0;
    (level("first"), level("last"))
}

/// An element in a harness, with a bus to read its messages from.
pub struct Bench {
    pub harness: Harness,
    pub element: gst::Element,
    pub bus: gst::Bus,
}

pub fn element(properties: &[(&str, &str)]) -> gst::Element {
    init();
    let element = gst::ElementFactory::make("vjepa2classify").build().unwrap();
    for (name, value) in properties {
        element.set_property_from_str(name, value);
    }
    element
}

impl Bench {
    pub fn new(properties: &[(&str, &str)]) -> Self {
        let element = element(properties);
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
        harness.play();
        Self {
            harness,
            element,
            bus,
        }
    }

    pub fn with_probe(model: &ModelFile, properties: &[(&str, &str)]) -> Self {
        let mut all = vec![("model-location", model.path.to_str().unwrap())];
        all.extend_from_slice(properties);
        Self::new(&all)
    }

    pub fn caps(&mut self, format: &str, width: usize, height: usize) {
        self.harness.set_src_caps(caps(format, width, height));
    }

    /// Pushes a frame and pulls it; what it carries.
    pub fn pass(&mut self, frame: gst::Buffer) -> Vec<ClassificationResult> {
        let pts = frame.pts();
        let out = self.harness.push_and_pull(frame).unwrap();
        assert_eq!(out.pts(), pts, "frames pass in order, none is held back");
        ClassificationResult::read_all(&out)
    }

    /// The results in the element's messages so far.
    pub fn posted(&self) -> Vec<ClassificationResult> {
        let mut results = Vec::new();
        while let Some(message) = self.bus.pop() {
            match message.view() {
                gst::MessageView::Element(message) => {
                    let structure = message.structure().unwrap();
                    assert_eq!(structure.name(), aivideo_classify::MESSAGE);
                    results.push(ClassificationResult::from_structure(structure).unwrap());
                }
                gst::MessageView::Error(error) => panic!("{error:?}"),
                _ => {}
            }
        }
        results
    }

    pub fn stat(&self, name: &str) -> u64 {
        let stats: gst::Structure = self.element.property("stats");
        stats.get(name).unwrap()
    }

    /// Waits until the engine has answered `count` requests.
    pub fn wait_answers(&self, count: u64) {
        let began = std::time::Instant::now();
        while self.stat("frames") < count {
            assert!(began.elapsed().as_secs() < 30, "no answer");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

pub fn caps(format: &str, width: usize, height: usize) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", format)
        .field("width", width as i32)
        .field("height", height as i32)
        .field("framerate", gst::Fraction::new(25, 1))
        .field(
            "colorimetry",
            if format.starts_with(['R', 'B']) {
                "sRGB"
            } else {
                "1:4:0:0"
            },
        )
        .build()
}

pub fn stamped(mut buffer: gst::Buffer, index: u64) -> gst::Buffer {
    let inner = buffer.get_mut().unwrap();
    inner.set_pts(gst::ClockTime::from_nseconds(index * STEP));
    inner.set_duration(gst::ClockTime::from_nseconds(STEP));
    buffer
}

/// An RGB frame of one grey.
pub fn grey(level: u8, index: u64) -> gst::Buffer {
    stamped(gst::Buffer::from_slice(vec![level; 16 * 16 * 3]), index)
}
