// SPDX-License-Identifier: Apache-2.0
//! aibackgroundblur on frames in CUDAMemory and NVMM, with stand-ins for driver, NVRTC and provider (see
//! `elements/cuda/fake`) and GStreamer's own libgstcuda.

#![allow(unsafe_code)] // libgstcuda's functions

#[path = "../../core/tests/cudaframes/mod.rs"]
mod cudaframes;
#[path = "../../core/tests/testmodel/mod.rs"]
mod testmodel;

use std::sync::Once;

use aivideo_core::cuda::Place;
use aivideo_fakecuda::driver;
use cudaframes::*;
use gst::prelude::*;
use gst_check::Harness;
use testmodel::{Dim, Model, ty};

fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().expect("GStreamer");
        aivideo_fx::register_inference(None).expect("registers");
    });
}

#[test]
fn on_a_stand_in_for_a_gpu() {
    if library_is_here() {
        aivideo_fakecuda::run_ignored();
    }
}

/// Bright is foreground.
fn model(last: bool) -> tempfile::NamedTempFile {
    let side = |name, side| {
        if last {
            Dim::Fixed(side)
        } else {
            Dim::Free(name)
        }
    };
    let (h, w) = (side("h", 24), side("w", 32));
    let shape = |channels| match last {
        true => [Dim::Fixed(1), h, w, Dim::Fixed(channels)],
        false => [Dim::Fixed(1), Dim::Fixed(channels), h, w],
    };
    let bytes = Model::new()
        .input("picture", ty::F32, &shape(3))
        .output("mask", ty::F32, &shape(1))
        .constant_f32("gain", &[1], &[20.0])
        .constant_f32("offset", &[1], &[-10.0])
        .node(
            "ReduceMean",
            &["picture"],
            &["mean"],
            &[("axes", &[if last { 3 } else { 1 }]), ("keepdims", &[1])],
        )
        .node("Mul", &["mean", "gain"], &["scaled"], &[])
        .node("Add", &["scaled", "offset"], &["moved"], &[])
        .node("Sigmoid", &["moved"], &["mask"], &[])
        .finish();
    let file = tempfile::NamedTempFile::with_suffix(".onnx").unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

fn harness(device: &str, with: &str, file: &tempfile::NamedTempFile, caps: &gst::Caps) -> Harness {
    init();
    let text = format!(
        "aibackgroundblur device={device} num-threads=1 model-location={} {with}",
        file.path().display()
    );
    let mut harness = Harness::new_parse(&text);
    harness.set_src_caps(caps.clone());
    harness.play();
    harness
}

fn element(harness: &Harness) -> gst::Element {
    let bin = harness.element().unwrap();
    match bin.clone().downcast::<gst::Bin>() {
        Ok(bin) => bin.children().first().unwrap().clone(),
        Err(element) => element,
    }
}

fn blurred(
    device: &str,
    with: &str,
    file: &tempfile::NamedTempFile,
    caps: &gst::Caps,
) -> Vec<Vec<u8>> {
    let mut harness = harness(device, with, file, caps);
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
            content(harness.push_and_pull(buffer).unwrap(), caps)
        })
        .collect()
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn pictures_are_blurred_on_the_card_as_on_the_host() {
    for last in [false, true] {
        let file = model(last);
        for (format, width, height) in [("NV12", 97, 61), ("NV21", 64, 48), ("I420", 66, 34)] {
            for with in [
                "sigma=1.5",
                "sigma=4 invert=true smoothing=0",
                "sigma=30 normalization=imagenet",
            ] {
                let (host, device) = caps(format, width, height);
                let wanted = blurred("cpu", with, &file, &host);
                assert_ne!(wanted[0], wanted[1]);
                let got = blurred("cuda", with, &file, &device);
                assert!(got == wanted, "{with} {format} {width}x{height} {last}");
            }
        }
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn only_the_mask_crosses_the_bus() {
    let file = model(true);
    let (_, device) = caps("NV12", 640, 360);
    let mut harness = harness("cuda", "sigma=12", &file, &device);
    let pool = own_pool(&device);
    let counters = ["to-device", "to-host", "peer"];
    for number in 0..3 {
        let buffer = from_pool(&pool, &device, number);
        let memory = buffer.peek_memory(0).as_ptr();
        let before = counters.map(driver);
        let out = harness.push_and_pull(buffer).unwrap();
        let after = counters.map(driver);
        let [up, down, peer] = std::array::from_fn(|i| after[i] - before[i]);
        assert_eq!(out.peek_memory(0).as_ptr(), memory);
        // The model's results are the provider's own copy.
        assert_eq!((up, down, peer), (4 * 24 * 32, 0, 0), "frame {number}");
    }
    let stats = element(&harness).property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("host-bytes"), Ok(3 * 4 * 24 * 32));
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_of_deepstream_are_blurred_where_they_are() {
    let file = model(false);
    let (host, _) = caps("NV12", 98, 50);
    let wanted = blurred("cpu", "sigma=5", &file, &host);
    let mut harness = harness("cuda", "sigma=5", &file, &nvmm_caps(&host));
    for (number, wanted) in wanted.iter().enumerate() {
        let frame = Nvmm::new(&host, number as u64);
        let out = harness.push_and_pull(frame.buffer()).unwrap();
        assert!(frame.content() == *wanted, "{number}");
        drop(out);
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn formats_without_kernels_are_not_taken_on_the_card() {
    let file = model(false);
    let (_, device) = caps("RGBA", 64, 48);
    let mut harness = harness("cuda", "sigma=5", &file, &device);
    let buffer = gst::Buffer::with_size(64 * 48 * 4).unwrap();
    assert_eq!(harness.push(buffer), Err(gst::FlowError::NotNegotiated));
}

#[test]
fn without_a_gpu_frames_of_one_are_not_offered_and_not_taken() {
    let file = model(false);
    let (_, device) = caps("NV12", 64, 48);
    let mut harness = harness("cpu", "sigma=5", &file, &device);
    assert_eq!(places(&element(&harness)), [None]);
    let buffer = gst::Buffer::with_size(64 * 48 * 3 / 2).unwrap();
    assert_eq!(harness.push(buffer), Err(gst::FlowError::NotNegotiated));
}
