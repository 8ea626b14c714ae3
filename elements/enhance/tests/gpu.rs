// SPDX-License-Identifier: Apache-2.0
//! aidetect and aienhance on frames in CUDAMemory, with stand-ins for driver, NVRTC and provider (see
//! `elements/cuda/fake`) and GStreamer's own libgstcuda.

#![allow(unsafe_code)] // libgstcuda's functions

mod chains;
#[path = "../../core/tests/cudaframes/mod.rs"]
mod cudaframes;
#[path = "../../core/tests/testmodel/mod.rs"]
mod testmodel;

use std::sync::Once;

use aivideo_core::cuda::Place;
use aivideo_fakecuda::driver;
use aivideo_meta::Detection;
use cudaframes::*;
use gst::prelude::*;
use gst_check::Harness;
use testmodel::{Dim, Model, ty};

fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().expect("GStreamer");
        aivideo_enhance::register(None).expect("registers");
    });
}

#[test]
fn on_a_stand_in_for_a_gpu() {
    if library_is_here() {
        aivideo_fakecuda::run_ignored();
    }
}

const SIDE: i64 = 24;
const VALUES: i64 = 3 * SIDE * SIDE;

/// A detector in D-FINE's manner whose scores are its input, number by number.
pub fn model(element: i64, with_size: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let image = [
        Dim::Fixed(1),
        Dim::Fixed(3),
        Dim::Fixed(SIDE),
        Dim::Fixed(SIDE),
    ];
    let boxes: Vec<f32> = (0..VALUES)
        .flat_map(|i| {
            let (x, y) = ((i % 12) as f32, (i / 12 % 12) as f32);
            [x, y, x + 8.0, y + 8.0]
        })
        .collect();
    let labels: Vec<i64> = (0..VALUES).map(|i| i % 3).collect();
    let mut model = Model::new().input("images", element, &image);
    if with_size {
        model = model.input(
            "orig_target_sizes",
            ty::I64,
            &[Dim::Fixed(1), Dim::Fixed(2)],
        );
    }
    model = model
        .output("labels", ty::I64, &[Dim::Fixed(1), Dim::Fixed(VALUES)])
        .output(
            "boxes",
            ty::F32,
            &[Dim::Fixed(1), Dim::Fixed(VALUES), Dim::Fixed(4)],
        )
        .output("scores", ty::F32, &[Dim::Fixed(1), Dim::Fixed(VALUES)])
        .constant_f32("all-boxes", &[1, VALUES, 4], &boxes)
        .constant_f32(
            "scale",
            &[],
            &[if element == ty::U8 { 1.0 / 255.0 } else { 1.0 }],
        )
        .constant_i64("all-labels", &[1, VALUES], &labels)
        .node("Identity", &["all-labels"], &["labels"], &[])
        .node("Identity", &["all-boxes"], &["boxes"], &[])
        .node("Cast", &["images"], &["floats"], &[("to", &[ty::F32])])
        .node("Mul", &["floats", "scale"], &["scaled"], &[])
        .node("Flatten", &["scaled"], &["scores"], &[("axis", &[1])]);
    if with_size {
        // An input must be used; the size is added to nothing.
        model = model.node("Identity", &["orig_target_sizes"], &["unused"], &[]);
    }
    let path = folder.path().join("all.onnx");
    std::fs::write(&path, model.finish()).unwrap();
    let std = if element == ty::U8 { 1 } else { 255 };
    std::fs::write(
        path.with_extension("json"),
        format!(
            "{{\"family\":\"dfine\",\"input\":{{\"width\":{SIDE},\"height\":{SIDE},\"color\":\"BGR\",\
             \"std\":[{std},{std},{std}]}},\"threshold\":0.8,\"labels\":[\"a\",\"b\",\"c\"]}}"
        ),
    )
    .unwrap();
    folder
}

/// What is found in frames of noise: label, confidence, box.
type Found = Vec<(String, Option<f64>, [f64; 4])>;

fn harness(device: &str, model: &tempfile::TempDir, caps: &gst::Caps) -> Harness {
    init();
    let element = gst::ElementFactory::make("aidetect")
        .property("device", device)
        .property("tracking", false)
        .property("model-location", model.path().join("all.onnx").to_str())
        .build()
        .unwrap();
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    harness.set_src_caps(caps.clone());
    harness
}

fn read(buffer: &gst::Buffer) -> Found {
    let corners = |d: &Detection| [d.x, d.y, d.width, d.height].map(f64::from);
    Detection::read_all(buffer)
        .iter()
        .map(|d| (d.label.clone(), d.confidence, corners(d)))
        .collect()
}

fn found(device: &str, model: &tempfile::TempDir, caps: &gst::Caps) -> Vec<Found> {
    let mut harness = harness(device, model, caps);
    let pool = Place::of(caps).map(|_| own_pool(caps));
    let info = gst_video::VideoInfo::from_caps(caps).unwrap();
    (0..3)
        .map(|number| {
            let buffer = match &pool {
                Some(pool) => from_pool(pool, caps, number),
                None => {
                    let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
                    fill(buffer.get_mut().unwrap(), caps, number);
                    buffer
                }
            };
            read(&harness.push_and_pull(buffer).unwrap())
        })
        .collect()
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn the_same_objects_are_found_wherever_frames_lie() {
    for (element, with_size) in [(ty::F32, false), (ty::U8, false), (ty::F32, true)] {
        let model = model(element, with_size);
        for format in ["NV12", "NV21", "I420", "YV12"] {
            let (host, device) = caps(format, 49, 36);
            let wanted = found("cpu", &model, &host);
            assert!(wanted.iter().all(|found| found.len() > 10), "{wanted:?}");
            assert_ne!(wanted[0], wanted[1]);
            let got = found("cuda", &model, &device);
            assert!(got == wanted, "{format}, element type {element}");
        }
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_are_not_touched_and_stay_on_the_card() {
    let model = model(ty::F32, false);
    let (_, device) = caps("NV12", 640, 360);
    let mut harness = harness("cuda", &model, &device);
    harness
        .element()
        .unwrap()
        .set_property("inference-interval", 2u32);
    let pool = own_pool(&device);
    let counters = ["to-device", "to-host", "peer", "allocations", "launches"];
    for number in 0..4 {
        let buffer = from_pool(&pool, &device, number);
        let memory = buffer.peek_memory(0).as_ptr();
        let before = counters.map(driver);
        let out = harness.push_and_pull(buffer).unwrap();
        let after = counters.map(driver);
        let [up, down, peer, allocations, launches] = std::array::from_fn(|i| after[i] - before[i]);
        assert_eq!(out.peek_memory(0).as_ptr(), memory);
        assert_eq!((up, down, peer), (0, 0, 0), "frame {number}");
        assert!(number == 0 || allocations == 0);
        assert_eq!(launches, 1 - number % 2, "every second picture");
        let mut next = noise(number);
        let content = content(out, &device);
        assert!(content.iter().all(|byte| *byte == next()));
    }
    // The model's results, and nothing else, came to the host.
    let stats = harness
        .element()
        .unwrap()
        .property::<gst::Structure>("stats");
    let results = VALUES as u64 * (8 + 16 + 4);
    assert_eq!(stats.get::<u64>("host-bytes"), Ok(2 * results));
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_of_another_context_are_read_there() {
    let model = model(ty::F32, false);
    let (host, device) = caps("NV12", 64, 48);
    let wanted = found("cpu", &model, &host);
    let mut harness = harness("cuda", &model, &device);
    let pool = foreign_pool(&device);
    for (number, wanted) in wanted.iter().enumerate() {
        let buffer = from_pool(&pool, &device, number as u64);
        let size = buffer.size() as u64;
        let peer = driver("peer");
        let out = harness.push_and_pull(buffer).unwrap();
        assert_eq!(&read(&out), wanted);
        assert_eq!(driver("peer") - peer, size);
    }
}

/// The operations so that a host runs the nets that a card runs by default.
pub fn on(device: &str, operations: &str) -> String {
    let large = |operation: &str| {
        let (name, rest) = operation.split_once(':').unwrap_or((operation, ""));
        let chosen = ["denoise", "upscale"].contains(&name) && !rest.starts_with("model=");
        match chosen && device == "cpu" {
            true => format!("{operation}:net=large"),
            false => operation.to_owned(),
        }
    };
    let operations: Vec<String> = operations.split(',').map(large).collect();
    operations.join(",")
}

pub fn enhancer(device: &str, operations: &str, caps: &gst::Caps) -> Harness {
    init();
    let element = gst::ElementFactory::make("aienhance")
        .property("device", device)
        .property("num-threads", 1u32)
        // As it is, the graph runs in ONNX Runtime on the host, too.
        .property("graph-optimization", false)
        .property("operations", on(device, operations))
        .build()
        .unwrap();
    // Said here, because a harness aborts the process when its element does not start.
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    if element.set_state(gst::State::Paused).is_err() {
        let message = bus.pop_filtered(&[gst::MessageType::Error]);
        match message.as_deref().map(gst::MessageRef::view) {
            Some(gst::MessageView::Error(error)) => panic!("{operations}: {}", error.error()),
            _ => panic!("{operations}: no reason"),
        }
    }
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    harness.set_src_caps(caps.clone());
    harness
}

/// What comes out for frames of noise.
fn enhanced(device: &str, operations: &str, caps: &gst::Caps, frames: u64) -> Vec<Vec<u8>> {
    let mut harness = enhancer(device, operations, caps);
    let pool = Place::of(caps).map(|_| own_pool(caps));
    let info = gst_video::VideoInfo::from_caps(caps).unwrap();
    (0..frames)
        .map(|number| {
            let buffer = match &pool {
                Some(pool) => from_pool(pool, caps, number),
                None => {
                    let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
                    fill(buffer.get_mut().unwrap(), caps, number);
                    buffer
                }
            };
            let out = harness.push_and_pull(buffer).unwrap();
            let caps = harness.sinkpad().unwrap().current_caps().unwrap();
            content(out, &caps)
        })
        .collect()
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn pictures_are_enlarged_on_the_card_as_on_the_host() {
    for (format, width, height) in [("NV12", 33, 17), ("NV12", 24, 16), ("I420", 21, 18)] {
        for operations in ["upscale", "upscale:factor=4"] {
            let (host, device) = caps(format, width, height);
            let wanted = enhanced("cpu", operations, &host, 2);
            let got = enhanced("cuda", operations, &device, 2);
            assert_ne!(wanted[0], wanted[1]);
            assert!(got == wanted, "{operations} {format} {width}x{height}");
        }
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn nothing_of_an_enlarged_picture_crosses_the_bus() {
    let (_, device) = caps("NV12", 64, 48);
    let mut harness = enhancer("cuda", "upscale", &device);
    let pool = own_pool(&device);
    let counters = ["to-device", "to-host", "peer", "launches", "waits"];
    for number in 0..3 {
        let buffer = from_pool(&pool, &device, number);
        let before = counters.map(driver);
        let out = harness.push_and_pull(buffer).unwrap();
        let after = counters.map(driver);
        let moved: [u64; 5] = std::array::from_fn(|i| after[i] - before[i]);
        assert_eq!(moved[..4], [0, 0, 0, 4], "frame {number}");
        // The pool's first frame is made, which libgstcuda waits for.
        assert!(number == 0 || moved[4] == 1, "frame {number}: {moved:?}");
        drop(out);
    }
    let caps = harness.sinkpad().unwrap().current_caps().unwrap();
    assert_eq!(Place::of(&caps), Some(Place::Cuda));
    let stats = harness
        .element()
        .unwrap()
        .property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("frames"), Ok(3));
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn pictures_of_another_context_are_enlarged_into_ours() {
    let (host, device) = caps("NV12", 24, 16);
    let wanted = enhanced("cpu", "upscale", &host, 2);
    let mut harness = enhancer("cuda", "upscale", &device);
    let pool = foreign_pool(&device);
    for (number, wanted) in wanted.iter().enumerate() {
        let buffer = from_pool(&pool, &device, number as u64);
        let size = buffer.size() as u64;
        let peer = driver("peer");
        let out = harness.push_and_pull(buffer).unwrap();
        assert_eq!(driver("peer") - peer, size);
        let caps = harness.sinkpad().unwrap().current_caps().unwrap();
        assert!(content(out, &caps) == *wanted, "{number}");
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn enlarged_between_gstreamers_own_elements() {
    init();
    if !elements_are_here() {
        return;
    }
    let source = "videotestsrc num-buffers=3 pattern=ball ! \
                  video/x-raw,format=NV12,width=48,height=32,framerate=25/1";
    let wanted = pictures(&format!(
        "{source} ! aienhance device=cpu graph-optimization=false operations=upscale:net=large"
    ));
    let peer = driver("peer");
    let got = pictures(&format!(
        "{source} ! cudaupload ! video/x-raw(memory:CUDAMemory) ! \
         aienhance device=cuda graph-optimization=false operations=upscale ! cudadownload"
    ));
    assert!(got == wanted && got.len() == 3);
    assert_eq!(driver("peer"), peer, "one context");
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn chains_that_name_no_gpu_are_refused_with_the_reason() {
    let (_, device) = caps("NV12", 64, 48);
    let mut harness = enhancer("auto", "stabilize", &device);
    assert_eq!(places(&harness.element().unwrap()), [None]);
    let buffer = gst::Buffer::with_size(64 * 48 * 3 / 2).unwrap();
    assert_eq!(harness.push(buffer), Err(gst::FlowError::NotNegotiated));
    // Nor does a chain take their place while frames lie there.
    let mut harness = enhancer("auto", "denoise", &device);
    let pool = own_pool(&device);
    harness.push_and_pull(from_pool(&pool, &device, 1)).unwrap();
    let bus = gst::Bus::new();
    let element = harness.element().unwrap();
    element.set_bus(Some(&bus));
    element.set_property("operations", "stabilize");
    harness.push_and_pull(from_pool(&pool, &device, 2)).unwrap();
    let message = bus.pop_filtered(&[gst::MessageType::Warning]).unwrap();
    let gst::MessageView::Warning(warning) = message.view() else {
        unreachable!("only warnings were asked for");
    };
    let text = warning.error().to_string();
    for part in ["set device=cuda", "put cudadownload before aienhance"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(element.property::<String>("operations"), "denoise");
}

#[test]
fn without_a_gpu_frames_of_one_are_not_offered_and_not_taken() {
    let model = model(ty::F32, false);
    let (_, device) = caps("NV12", 64, 48);
    let mut harness = harness("cpu", &model, &device);
    assert_eq!(places(&harness.element().unwrap()), [None]);
    let buffer = || gst::Buffer::with_size(64 * 48 * 3 / 2).unwrap();
    assert_eq!(harness.push(buffer()), Err(gst::FlowError::NotNegotiated));
    let mut harness = enhancer("cpu", "upscale", &device);
    assert_eq!(places(&harness.element().unwrap()), [None]);
    assert_eq!(harness.push(buffer()), Err(gst::FlowError::NotNegotiated));
}
