// SPDX-License-Identifier: Apache-2.0
//! fxfilter on frames in CUDAMemory and NVMM, with stand-ins for driver and NVRTC (see `elements/cuda/fake`)
//! and GStreamer's own libgstcuda.

#![allow(unsafe_code)] // libgstcuda's functions

#[path = "../../core/tests/cudaframes/mod.rs"]
mod cudaframes;

use std::sync::Once;

use aivideo_core::cuda::Place;
use aivideo_fakecuda::driver;
use cudaframes::*;
use gst::prelude::*;
use gst_check::Harness;

fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().expect("GStreamer");
        aivideo_fx::register(None).expect("registers");
    });
}

#[test]
fn on_a_stand_in_for_a_gpu() {
    if library_is_here() {
        aivideo_fakecuda::run_ignored();
    }
}

fn harness(effects: &str, mix: f64, caps: &gst::Caps) -> Harness {
    init();
    let element = gst::ElementFactory::make("fxfilter")
        .property("effects", effects)
        .property("mix", mix)
        .build()
        .unwrap();
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    harness.set_src_caps(caps.clone());
    harness
}

/// What comes out for frames of noise.
fn changed(effects: &str, mix: f64, caps: &gst::Caps) -> Vec<Vec<u8>> {
    let mut harness = harness(effects, mix, caps);
    let pool = Place::of(caps).map(|_| own_pool(caps));
    let info = gst_video::VideoInfo::from_caps(caps).unwrap();
    (0..2)
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

fn cube(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("twist.cube");
    let mut text = String::from("LUT_3D_SIZE 3\n");
    for i in 0..27 {
        let [r, g, b] = [i % 3, i / 3 % 3, i / 9].map(|v| v as f32 / 2.0);
        text += &format!("{} {} {}\n", 0.9 * g + 0.05, r * 0.8 + 0.1, 1.0 - b);
    }
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn tables_change_frames_on_the_card_as_on_the_host() {
    for format in [
        "NV12",
        "I420",
        "P010_10LE",
        "I420_10LE",
        "RGBA",
        "BGRx",
        "Y444",
    ] {
        for (width, height) in [(97, 22), (64, 36)] {
            for (effects, mix) in [
                ("posterize:num-levels=9", 1.0),
                ("invert,threshold:threshold=0.3", 0.4),
                ("invert", 1.0),
            ] {
                // Posterising by luma is more than a table for red, green and blue.
                let effects = match format {
                    "RGBA" | "BGRx" if effects.contains("levels") => {
                        "posterize:num-levels=9:space=rgb"
                    }
                    "RGBA" | "BGRx" if effects.contains("threshold") => {
                        "invert,threshold:threshold=0.3:space=rgb"
                    }
                    _ => effects,
                };
                let (host, device) = caps(format, width, height);
                let wanted = changed(effects, mix, &host);
                assert_ne!(wanted[0], wanted[1]);
                let got = changed(effects, mix, &device);
                assert!(got == wanted, "{effects} {mix} {format} {width}x{height}");
            }
        }
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn colour_tables_grade_packed_pixels_on_the_card_as_on_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let file = cube(&folder);
    for format in ["RGBA", "BGRA", "BGRx"] {
        for effects in [
            format!("lut:file=\"{file}\""),
            format!(
                "invert,lut:file=\"{file}\":amount=0.6,posterize:space=rgb,lut:file=\"{file}\""
            ),
        ] {
            let (host, device) = caps(format, 37, 22);
            let got = changed(&effects, 1.0, &device);
            assert!(got == changed(&effects, 1.0, &host), "{effects} {format}");
        }
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_stay_where_they_are_and_nothing_crosses_the_bus() {
    let (_, device) = caps("NV12", 64, 48);
    let mut harness = harness("posterize", 1.0, &device);
    let pool = own_pool(&device);
    let counters = ["to-device", "to-host", "peer", "launches", "waits"];
    for number in 0..3 {
        let buffer = from_pool(&pool, &device, number);
        let memory = buffer.peek_memory(0).as_ptr();
        let before = counters.map(driver);
        let out = harness.push_and_pull(buffer).unwrap();
        let after = counters.map(driver);
        let moved: [u64; 5] = std::array::from_fn(|i| after[i] - before[i]);
        assert_eq!(out.peek_memory(0).as_ptr(), memory);
        // The tables go up with the first.
        let up = if number == 0 { 2 * 256 } else { 0 };
        assert_eq!(moved, [up, 0, 0, 2, 1], "frame {number}");
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn effects_change_while_frames_lie_on_the_card() {
    let (host, device) = caps("NV12", 64, 48);
    let mut harness = harness("posterize", 1.0, &device);
    let element = harness.element().unwrap();
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    let pool = own_pool(&device);
    let mut push = |number: u64| {
        let out = harness.push_and_pull(from_pool(&pool, &device, number));
        content(out.unwrap(), &device)
    };
    let wanted = |effects: &str, number: u64| changed_one(effects, &host, number);
    assert!(push(1) == wanted("posterize", 1));
    element.set_property("effects", "invert");
    assert!(push(2) == wanted("invert", 2));
    // Nothing to do: frames pass.
    element.set_property("effects", "");
    assert!(push(3) == wanted("", 3));
    element.set_property("effects", "posterize:num-levels=3");
    assert!(push(4) == wanted("posterize:num-levels=3", 4));
    // What needs more than a pixel is refused.
    element.set_property("effects", "blur");
    assert!(push(5) == wanted("posterize:num-levels=3", 5));
    let message = bus.pop_filtered(&[gst::MessageType::Warning]).unwrap();
    let gst::MessageView::Warning(warning) = message.view() else {
        unreachable!("only warnings were asked for");
    };
    let text = warning.error().to_string();
    assert!(text.contains("does not work in a GPU's memory"), "{text}");
    let effects = element.property::<String>("effects");
    assert_eq!(effects, "posterize:num-levels=3");
}

fn changed_one(effects: &str, caps: &gst::Caps, number: u64) -> Vec<u8> {
    let mut harness = harness(effects, 1.0, caps);
    let info = gst_video::VideoInfo::from_caps(caps).unwrap();
    let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
    fill(buffer.get_mut().unwrap(), caps, number);
    content(harness.push_and_pull(buffer).unwrap(), caps)
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn only_chains_of_tables_are_given_frames_of_a_gpu() {
    let (_, device) = caps("NV12", 64, 48);
    let folder = tempfile::tempdir().unwrap();
    for effects in [
        "blur".to_string(),
        "posterize,vignette".to_string(),
        format!("lut:file=\"{}\"", cube(&folder)),
    ] {
        let mut harness = harness(&effects, 1.0, &device);
        let buffer = gst::Buffer::with_size(64 * 48 * 3 / 2).unwrap();
        let pushed = harness.push(buffer);
        assert_eq!(pushed, Err(gst::FlowError::NotNegotiated), "{effects}");
    }
    let harness = harness("blur", 1.0, &device);
    assert_eq!(places(&harness.element().unwrap()), [None]);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn a_device_that_is_not_meant_is_not_used() {
    let (_, device) = caps("NV12", 64, 48);
    for (name, taken) in [
        ("auto", true),
        ("cuda", true),
        ("cpu", false),
        ("cuda:7", false),
    ] {
        init();
        let element = gst::ElementFactory::make("fxfilter")
            .property("effects", "invert")
            .property("device", name)
            .build()
            .unwrap();
        let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
        harness.set_src_caps(device.clone());
        let offers = places(&element).contains(&Some(Place::Cuda));
        assert_eq!(offers, taken, "{name}");
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_of_deepstream_are_changed_where_they_are() {
    for format in ["NV12", "RGBA"] {
        let (host, _) = caps(format, 98, 50);
        let mut harness = harness("invert", 1.0, &nvmm_caps(&host));
        for number in 0..2 {
            let frame = Nvmm::new(&host, number);
            let out = harness.push_and_pull(frame.buffer()).unwrap();
            assert!(
                frame.content() == changed_one("invert", &host, number),
                "{format}"
            );
            drop(out);
        }
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn frames_of_another_context_are_changed_there() {
    let (host, device) = caps("NV12", 64, 48);
    let mut harness = harness("invert", 1.0, &device);
    let pool = foreign_pool(&device);
    let buffer = from_pool(&pool, &device, 1);
    let size = buffer.size() as u64;
    let peer = driver("peer");
    let out = harness.push_and_pull(buffer).unwrap();
    assert_eq!(driver("peer") - peer, 2 * size);
    assert!(content(out, &device) == changed_one("invert", &host, 1));
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn between_gstreamers_own_elements_frames_share_one_context() {
    init();
    if !elements_are_here() {
        return;
    }
    let source = "videotestsrc num-buffers=3 pattern=ball ! \
                  video/x-raw,format=NV12,width=48,height=32,framerate=25/1";
    let wanted = pictures(&format!("{source} ! fxfilter effects=invert"));
    let peer = driver("peer");
    let got = pictures(&format!(
        "{source} ! cudaupload ! video/x-raw(memory:CUDAMemory) ! \
         fxfilter device=cuda effects=invert ! cudadownload"
    ));
    assert!(got == wanted && got.len() == 3);
    assert_eq!(driver("peer"), peer, "one context");
}

#[test]
fn without_a_gpu_frames_of_one_are_not_offered_and_not_taken() {
    let (_, device) = caps("NV12", 64, 48);
    let mut harness = harness("invert", 1.0, &device);
    assert_eq!(places(&harness.element().unwrap()), [None]);
    let buffer = gst::Buffer::with_size(64 * 48 * 3 / 2).unwrap();
    assert_eq!(harness.push(buffer), Err(gst::FlowError::NotNegotiated));
}
