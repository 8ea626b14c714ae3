// SPDX-License-Identifier: Apache-2.0
//! vjepa2classify on frames in CUDAMemory, with stand-ins for driver, NVRTC and provider (see
//! `elements/cuda/fake`) and GStreamer's own libgstcuda.

#![allow(unsafe_code)] // libgstcuda's functions

#[allow(dead_code)] // shared with elements.rs
#[path = "elements/common.rs"]
mod common;
#[path = "../../core/tests/cudaframes/mod.rs"]
mod cudaframes;
#[path = "../../core/tests/testmodel/mod.rs"]
mod testmodel;

use aivideo_core::cuda::Place;
use aivideo_core::meta::ClassificationResult;
use aivideo_fakecuda::driver;
use common::{Bench, probe, stamped};
use cudaframes::*;
use gst::prelude::*;

#[test]
fn on_a_stand_in_for_a_gpu() {
    if library_is_here() {
        aivideo_fakecuda::run_ignored();
    }
}

/// What is found in frames of noise, by where they lie.
fn found(properties: &[(&str, &str)], caps: &gst::Caps, frames: u64) -> Vec<ClassificationResult> {
    let mut all = vec![("sync", "true"), ("top-k", "20")];
    all.extend_from_slice(properties);
    let mut bench = Bench::new(&all);
    bench.harness.set_src_caps(caps.clone());
    let pool = Place::of(caps).map(|_| own_pool(caps));
    let info = gst_video::VideoInfo::from_caps(caps).unwrap();
    (0..frames)
        .flat_map(|index| {
            let buffer = match &pool {
                Some(pool) => from_pool(pool, caps, index),
                None => {
                    let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
                    fill(buffer.get_mut().unwrap(), caps, index);
                    buffer
                }
            };
            bench.pass(stamped(buffer, index))
        })
        .collect()
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn the_same_is_found_wherever_frames_lie() {
    let (model, mut clips) = (probe(), 0);
    for format in ["NV12", "I420", "RGB", "BGR"] {
        // Odd heights of planar formats: see airestore's test.
        for (width, height) in [(97, 64), (64, 102)] {
            let (host, device) = caps(format, width, height);
            let with = ("model-location", model.path.to_str().unwrap());
            let wanted = found(&[("device", "cpu"), with], &host, 40);
            let got = found(&[("device", "cuda"), with], &device, 40);
            assert_eq!(got, wanted, "{format} {width}x{height}");
            clips += got.len();
        }
    }
    assert!(clips >= 8, "{clips} clips");
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn the_built_in_model_sees_the_same() {
    let (host, device) = caps("NV12", 160, 90);
    let wanted = found(&[("device", "cpu")], &host, 34);
    assert!(!wanted.is_empty());
    assert_eq!(found(&[("device", "cuda")], &device, 34), wanted);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn only_prepared_pictures_cross_the_bus_and_only_of_frames_that_clips_take() {
    let model = probe();
    let mut bench = Bench::with_probe(&model, &[("device", "cuda"), ("frame-stride", "2")]);
    let (_, device) = caps("NV12", 640, 360);
    bench.harness.set_src_caps(device.clone());
    let pool = own_pool(&device);
    let counters = ["to-device", "to-host", "launches", "allocations", "peer"];
    let mut taken = 0;
    for index in 0..12 {
        let buffer = stamped(from_pool(&pool, &device, index), index);
        let memory = buffer.peek_memory(0).as_ptr();
        let before = counters.map(driver);
        let out = bench.harness.push_and_pull(buffer).unwrap();
        let after = counters.map(driver);
        let [up, down, launches, allocations, peer] = std::array::from_fn(|i| after[i] - before[i]);
        assert_eq!(out.peek_memory(0).as_ptr(), memory, "the frame is the same");
        assert_eq!((up, allocations, peer), (0, 0, 0));
        // The probe takes 8 by 8 pixels of three colours.
        match launches {
            0 => assert_eq!(down, 0),
            _ => {
                assert_eq!((launches, down), (3, 3 * 8 * 8 * 4));
                taken += 1;
            }
        }
    }
    assert!((4..12).contains(&taken), "{taken} of 12");
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_of_another_context_are_read_there() {
    let model = probe();
    let with = ("model-location", model.path.to_str().unwrap());
    let (host, device) = caps("NV12", 64, 48);
    let wanted = found(&[("device", "cpu"), with], &host, 17);
    let mut bench = Bench::with_probe(
        &model,
        &[("device", "cuda"), ("sync", "true"), ("top-k", "20")],
    );
    bench.harness.set_src_caps(device.clone());
    let pool = foreign_pool(&device);
    let peer = driver("peer");
    let mut size = 0;
    let got: Vec<_> = (0..17)
        .flat_map(|index| {
            let buffer = from_pool(&pool, &device, index);
            size = buffer.size() as u64;
            bench.pass(stamped(buffer, index))
        })
        .collect();
    assert_eq!(got, wanted);
    // There, and not back: nothing was changed.
    assert_eq!((driver("peer") - peer) % size, 0);
    assert!((driver("peer") - peer) / size <= 17);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_of_deepstream_are_read_where_they_lie() {
    let model = probe();
    let with = ("model-location", model.path.to_str().unwrap());
    let (host, _) = caps("NV12", 64, 48);
    let wanted = found(&[("device", "cpu"), with], &host, 17);
    let mut bench = Bench::with_probe(
        &model,
        &[("device", "cuda"), ("sync", "true"), ("top-k", "20")],
    );
    bench.harness.set_src_caps(nvmm_caps(&host));
    let mut got = Vec::new();
    for index in 0..17 {
        let frame = Nvmm::new(&host, index);
        let buffer = stamped(frame.buffer(), index);
        // Others may hold what is only read.
        let held = buffer.clone();
        got.extend(bench.pass(buffer));
        drop(held);
    }
    assert_eq!(got, wanted);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn a_new_model_takes_over_on_the_same_frames() {
    let (first, second) = (probe(), {
        let mut bytes = common::probe_bytes();
        // A pair of metadata at the end of the message makes it another model.
        bytes.extend([0x72, 0x0d, 0x0a, 0x04]);
        bytes.extend(b"name");
        bytes.extend([0x12, 0x05]);
        bytes.extend(b"other");
        common::ModelFile::new(&bytes)
    });
    let mut bench = Bench::with_probe(&first, &[("device", "cuda"), ("sync", "true")]);
    let (_, device) = caps("NV12", 64, 48);
    bench.harness.set_src_caps(device.clone());
    let pool = own_pool(&device);
    let mut names = Vec::new();
    for index in 0..400 {
        if index == 20 {
            bench
                .element
                .set_property("model-location", second.path.to_str().unwrap());
        }
        let buffer = from_pool(&pool, &device, index);
        let results = bench.pass(stamped(buffer, index));
        names.extend(results.into_iter().map(|result| result.model));
        if names.last().is_some_and(|name| name == "other") {
            assert_eq!(bench.stat("restarts"), 0, "the clip under way goes on");
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    panic!("the new model never answered: {names:?}");
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn between_gstreamers_own_elements() {
    common::init();
    if !elements_are_here() {
        return;
    }
    let source = "videotestsrc num-buffers=20 ! \
                  video/x-raw,format=NV12,width=96,height=64,framerate=25/1";
    let peer = driver("peer");
    let got = pictures(&format!(
        "{source} ! cudaupload ! video/x-raw(memory:CUDAMemory) ! vjepa2classify device=cuda \
         sync=true ! cudadownload"
    ));
    let plain = pictures(&format!("{source} ! identity"));
    assert!(got == plain && got.len() == 20);
    assert_eq!(driver("peer"), peer, "one context");
}

#[test]
fn without_a_gpu_frames_of_one_are_not_offered_and_not_taken() {
    let element = common::element(&[("device", "cpu")]);
    element.set_state(gst::State::Paused).unwrap();
    assert_eq!(places(&element), [None]);
    element.set_state(gst::State::Null).unwrap();
}
