// SPDX-License-Identifier: Apache-2.0
//! The built-in model through the element.

use std::path::{Path, PathBuf};

use aivideo_classify::scores::softmax;
use aivideo_core::{
    engine::{Engine, ModelSource},
    meta::ClassificationResult,
    settings::InferenceSettings,
    tensor::Tensor,
};
use gst_check::Harness;

use crate::{
    common::{Bench, init, stamped},
    scenes::{HEIGHT, NAMES, Picture, WIDTH, frames},
};

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/classify/vjepa2-motion.onnx")
}

/// What the element says of one clip of RGB frames.
fn classified(bench: &mut Bench, clip: &[Vec<u8>], first: u64) -> ClassificationResult {
    let mut results = Vec::new();
    for (i, frame) in clip.iter().enumerate() {
        let mut buffer = stamped(gst::Buffer::from_slice(frame.clone()), first + i as u64);
        if i == 0 {
            buffer
                .get_mut()
                .unwrap()
                .set_flags(gst::BufferFlags::DISCONT);
        }
        results.extend(bench.pass(buffer));
    }
    assert_eq!(results.len(), 1);
    results.remove(0)
}

fn synchronous() -> Bench {
    let mut bench = Bench::new(&[("sync", "true"), ("top-k", "20")]);
    bench.caps("RGB", WIDTH, HEIGHT);
    bench
}

/// Share of right answers over all scenes of these pictures, and the wrong ones.
fn accuracy(pictures: &[Picture]) -> (f64, Vec<String>) {
    let mut bench = synchronous();
    let (mut right, mut all, mut wrong) = (0, 0, Vec::new());
    for (k, picture) in pictures.iter().enumerate() {
        let other = &pictures[(k + 1) % pictures.len()];
        for name in NAMES {
            let clip = frames(name, picture, other);
            let result = classified(&mut bench, &clip, all * 1000);
            all += 1;
            if result.labels[0] == name {
                right += 1;
            } else {
                wrong.push(format!(
                    "picture {k}: {name} taken for {} ({:.2})",
                    result.labels[0], result.scores[0]
                ));
            }
        }
    }
    (f64::from(right) / all as f64, wrong)
}

#[test]
fn a_pan_is_called_a_pan() {
    let (picture, other) = (Picture::made(3), Picture::made(4));
    let mut bench = synchronous();
    for (k, name) in [
        "camera pan left",
        "camera pan right",
        "camera tilt up",
        "camera tilt down",
    ]
    .iter()
    .enumerate()
    {
        let result = classified(&mut bench, &frames(name, &picture, &other), k as u64 * 1000);
        assert_eq!(result.labels[0], *name, "{result:?}");
        assert_eq!(result.model, "vjepa2-motion");
        assert_eq!(result.labels.len(), 20);
        let sum: f64 = result.scores.iter().sum();
        assert!(
            (sum - 1.0).abs() < 1e-6,
            "the scores of all classes are probabilities"
        );
        assert!(result.scores.is_sorted_by(|a, b| a >= b), "best first");
    }
}

#[test]
fn made_pictures_in_motion_are_named() {
    let (share, wrong) = accuracy(&[Picture::made(11), Picture::made(12), Picture::made(13)]);
    eprintln!("{share:.3} right; {wrong:#?}");
    assert!(share >= 0.85, "{share}: {wrong:#?}");
}

#[test]
fn every_format_agrees_with_rgb() {
    let picture = Picture::made(5);
    let clip = frames("camera zoom in", &picture, &picture);
    let want = classified(&mut synchronous(), &clip, 0);
    for format in ["I420", "NV12", "BGR"] {
        init();
        let description = format!(
            "videoconvert ! video/x-raw,format={format} ! vjepa2classify sync=true top-k=20"
        );
        let mut harness = Harness::new_parse(&description);
        harness.set_src_caps(crate::common::caps("RGB", WIDTH, HEIGHT));
        let mut results = Vec::new();
        for (i, frame) in clip.iter().enumerate() {
            let out = harness
                .push_and_pull(stamped(gst::Buffer::from_slice(frame.clone()), i as u64))
                .unwrap();
            results.extend(ClassificationResult::read_all(&out));
        }
        assert_eq!(results.len(), 1, "{format}");
        for (label, score) in want.labels.iter().zip(&want.scores) {
            let index = results[0].labels.iter().position(|l| l == label).unwrap();
            let got = results[0].scores[index];
            // 4:2:0 and 8 bit rounding lose a little
            assert!(
                (got - score).abs() < 0.03,
                "{format}: {label} {got} for {score}"
            );
        }
    }
}

/// Plain preprocessing, written from its definition: triangle filter, middle, ImageNet's numbers.
fn prepared(rgb: &[u8], size: usize) -> Vec<f32> {
    let scaled_width = size * WIDTH / HEIGHT;
    let weights = |input: usize, output: usize, i: usize| -> Vec<(usize, f64)> {
        let scale = input as f64 / output as f64;
        let centre = (i as f64 + 0.5) * scale;
        let raw: Vec<(usize, f64)> = (0..input)
            .map(|x| (x, 1.0 - ((x as f64 + 0.5 - centre) / scale).abs()))
            .filter(|(_, w)| *w > 0.0)
            .collect();
        let sum: f64 = raw.iter().map(|(_, w)| w).sum();
        raw.into_iter().map(|(x, w)| (x, w / sum)).collect()
    };
    let left = ((scaled_width - size) as f64 / 2.0).round_ties_even() as usize;
    let mut out = Vec::new();
    for c in 0..3 {
        for y in 0..size {
            let rows = weights(HEIGHT, size, y);
            for x in 0..size {
                let mut sum = 0.0;
                let columns = weights(WIDTH, scaled_width, x + left);
                for (sy, wy) in &rows {
                    for (sx, wx) in &columns {
                        sum += wy * wx * f64::from(rgb[(sy * WIDTH + sx) * 3 + c]);
                    }
                }
                let (mean, std) = [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)][c];
                out.push(((sum / 255.0 - mean) / std) as f32);
            }
        }
    }
    out
}

#[test]
fn probabilities_are_those_of_the_bare_engine() {
    let (a, b) = (Picture::made(21), Picture::made(22));
    let mut bench = synchronous();
    let source = ModelSource::File(shipped());
    let engine = Engine::acquire(&source, &InferenceSettings::default()).unwrap();
    let labels: Vec<String> = engine
        .metadata("labels")
        .unwrap()
        .lines()
        .map(str::to_string)
        .collect();
    let mut largest = 0.0f64;
    for (k, name) in ["camera roll clockwise", "object upwards", "dissolve"]
        .iter()
        .enumerate()
    {
        let clip = frames(name, &a, &b);
        let result = classified(&mut bench, &clip, k as u64 * 1000);
        let video: Vec<f32> = clip
            .iter()
            .step_by(2)
            .flat_map(|f| prepared(f, 64))
            .collect();
        let tensor = Tensor::f32(vec![1, 16, 3, 64, 64], video);
        let outputs = engine.run(vec![("pixel_values_videos", tensor)]).unwrap();
        let want = softmax(outputs[0].1.as_f32().unwrap());
        for (label, score) in result.labels.iter().zip(&result.scores) {
            let class = labels.iter().position(|l| l == label).unwrap();
            largest = largest.max((score - want[class]).abs());
        }
    }
    eprintln!("largest difference of a probability: {largest:.2e}");
    assert!(largest < 1e-4, "{largest}");
}

#[test]
fn sidecar_and_metadata_of_the_shipped_model_agree() {
    let json = std::fs::read_to_string(shipped().with_extension("json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let source = ModelSource::File(shipped());
    let engine = Engine::acquire(&source, &InferenceSettings::default()).unwrap();
    let labels: Vec<&str> = json["labels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l.as_str().unwrap())
        .collect();
    assert_eq!(engine.metadata("labels").unwrap(), labels.join("\n"));
    for key in [
        "frames-per-clip",
        "size",
        "resize-short-side",
        "frame-stride",
    ] {
        assert_eq!(engine.metadata(key).unwrap(), json[key].to_string());
    }
    let manifest = std::fs::read_to_string(shipped().with_file_name("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let hash = aivideo_core::model::hex(&source.sha256().unwrap());
    assert_eq!(manifest["files"][0]["sha256"], hash);
}

/// A photo as a picture, decoded by GStreamer.
fn photo(path: &Path) -> Option<Picture> {
    init();
    let description = format!(
        "filesrc location=\"{}\" ! jpegdec ! videoconvert ! videoscale ! \
         capsfilter caps=\"video/x-raw,format=RGB,width=960,height=640,pixel-aspect-ratio=1/1\"",
        path.display()
    );
    let mut harness = Harness::new_parse(&description);
    harness.play();
    let buffer = harness.pull().ok()?;
    let rgb = buffer.map_readable().ok()?.to_vec();
    (rgb.len() == 960 * 640 * 3).then_some(Picture {
        width: 960,
        height: 640,
        rgb,
    })
}

#[test]
fn unseen_photos_in_motion_are_named() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/val/images");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        aivideo_skip::skip!(
            "no {}: the photos that the model never saw are not there",
            folder.display()
        );
        return;
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let pictures: Vec<Picture> = paths
        .iter()
        .map(|path| photo(path).unwrap_or_else(|| panic!("{} cannot be decoded", path.display())))
        .collect();
    let (share, wrong) = accuracy(&pictures);
    eprintln!("{} photos: {share:.3} right; {wrong:#?}", pictures.len());
    assert!(share >= 0.85, "{share}: {wrong:#?}");
}
