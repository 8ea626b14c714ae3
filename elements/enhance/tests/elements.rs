// SPDX-License-Identifier: Apache-2.0
//! `aienhance` as a pipeline sees it.

mod audio;
mod color;
mod hdr;
mod motion;
mod nets;
mod objects;
mod scenes;
mod support;

use gst::prelude::*;
use gst_video::VideoFormat;
use support::*;

#[test]
fn upscale_doubles_the_size_and_keeps_the_rest() {
    for format in [VideoFormat::I420, VideoFormat::Nv12] {
        let mut h = harness("upscale:factor=2");
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", format.to_str())
            .field("width", 96)
            .field("height", 64)
            .field("framerate", gst::Fraction::new(30000, 1001))
            .field("pixel-aspect-ratio", gst::Fraction::new(8, 9))
            .field("colorimetry", "bt709")
            .field("chroma-site", "mpeg2")
            .build();
        h.set_src_caps(caps);
        let picture = leaves(96, 64, 1);
        let mut buffer = buffer_of(&picture, format, 0);
        {
            let buffer = buffer.make_mut();
            buffer.set_pts(gst::ClockTime::from_mseconds(70));
            buffer.set_duration(gst::ClockTime::from_mseconds(33));
        }
        let out = h.push_and_pull(buffer).expect("a frame");
        assert_eq!(out.pts(), Some(gst::ClockTime::from_mseconds(70)));
        assert_eq!(out.duration(), Some(gst::ClockTime::from_mseconds(33)));
        let caps = out_caps(&mut h);
        let s = caps.structure(0).expect("one structure");
        assert_eq!(s.get::<i32>("width"), Ok(192));
        assert_eq!(s.get::<i32>("height"), Ok(128));
        assert_eq!(s.get::<&str>("format"), Ok(format.to_str().as_str()));
        assert_eq!(s.get("framerate"), Ok(gst::Fraction::new(30000, 1001)));
        assert_eq!(s.get("pixel-aspect-ratio"), Ok(gst::Fraction::new(8, 9)));
        assert_eq!(s.get::<&str>("colorimetry"), Ok("bt709"));
        assert_eq!(s.get::<&str>("chroma-site"), Ok("mpeg2"));
    }
}

#[test]
fn downstream_size_travels_upstream() {
    let mut h = harness("upscale");
    h.set_sink_caps_str("video/x-raw, format=I420, width=192, height=[ 2, 300 ]");
    let caps = sink_pad(&h).query_caps(None);
    let s = caps.structure(0).expect("one structure");
    assert_eq!(s.get::<i32>("width"), Ok(96));
    assert_eq!(
        s.get::<gst::IntRange<i32>>("height")
            .map(|r| (r.min(), r.max())),
        Ok((1, 150))
    );
}

#[test]
fn a_size_that_is_no_multiple_is_not_negotiated() {
    let mut h = harness("upscale");
    h.set_sink_caps_str("video/x-raw, format=I420, width=191, height=64");
    h.set_src_caps(caps_of(VideoFormat::I420, 96, 32));
    let pushed = h.push(buffer_of(&leaves(96, 32, 1), VideoFormat::I420, 0));
    assert_eq!(pushed, Err(gst::FlowError::NotNegotiated));
}

#[test]
fn odd_sizes_and_padded_strides_give_the_same_picture_in_either_format() {
    for operations in [
        "upscale:factor=2",
        "denoise:strength=15",
        "denoise:strength=15,upscale",
        "upscale:factor=4",
    ] {
        for (w, h) in [(1, 1), (2, 1), (3, 5), (37, 23), (64, 48), (65, 41)] {
            let picture = leaves(w, h, 3);
            let plain = run_one(operations, VideoFormat::I420, &picture, 0);
            let scale = if operations.contains("factor=4") {
                4
            } else if operations.contains("upscale") {
                2
            } else {
                1
            };
            assert_eq!(
                (plain.width, plain.height),
                (w * scale, h * scale),
                "{operations}"
            );
            for (format, padding) in [
                (VideoFormat::I420, 24),
                (VideoFormat::Nv12, 0),
                (VideoFormat::Nv12, 40),
            ] {
                let other = run_one(operations, format, &picture, padding);
                assert!(
                    plain == other,
                    "{operations} {w}x{h} {format:?} padding {padding}"
                );
            }
        }
    }
}

#[test]
fn no_operations_pass_the_very_buffer() {
    let mut h = harness("");
    h.set_src_caps(caps_of(VideoFormat::Nv12, 32, 16));
    let buffer = buffer_of(&leaves(32, 16, 2), VideoFormat::Nv12, 0);
    let pointer = buffer.as_ptr();
    let out = h.push_and_pull(buffer).expect("a frame");
    assert_eq!(out.as_ptr(), pointer);
}

#[test]
fn eos_and_flush() {
    let mut h = harness("denoise,upscale");
    h.set_src_caps(caps_of(VideoFormat::I420, 48, 32));
    let frame = || buffer_of(&leaves(48, 32, 2), VideoFormat::I420, 0);
    h.push_and_pull(frame()).expect("a frame");
    assert!(h.push_event(gst::event::FlushStart::new()));
    assert_eq!(h.push(frame()), Err(gst::FlowError::Flushing));
    assert!(h.push_event(gst::event::FlushStop::new(true)));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    assert!(h.push_event(gst::event::Segment::new(&segment)));
    h.push_and_pull(frame()).expect("a frame after the flush");
    assert!(h.push_event(gst::event::Eos::new()));
    let mut seen = Vec::new();
    while let Some(event) = h.try_pull_event() {
        seen.push(event.type_());
    }
    assert_eq!(seen.last(), Some(&gst::EventType::Eos));
    assert!(seen.contains(&gst::EventType::FlushStop));
    assert_eq!(h.push(frame()), Err(gst::FlowError::Eos));
}

#[test]
fn caps_may_change_in_the_stream() {
    let mut h = harness("denoise:strength=10,upscale");
    for (format, width, height) in [
        (VideoFormat::I420, 48, 32),
        (VideoFormat::I420, 31, 57),
        (VideoFormat::Nv12, 80, 16),
    ] {
        h.set_src_caps(caps_of(format, width, height));
        let out = h
            .push_and_pull(buffer_of(&leaves(width, height, 2), format, 0))
            .expect("a frame");
        let picture = picture_of(&out, &out_caps(&mut h));
        assert_eq!((picture.width, picture.height), (width * 2, height * 2));
    }
}

#[test]
fn operations_change_while_playing() {
    let mut h = harness("denoise:strength=10");
    let element = h.element().expect("an element");
    h.set_src_caps(caps_of(VideoFormat::I420, 48, 32));
    let frame = || buffer_of(&leaves(48, 32, 2), VideoFormat::I420, 0);
    for (operations, scale) in [
        ("denoise:strength=10", 1),
        ("upscale", 2),
        ("", 1),
        ("upscale:factor=4", 4),
        ("denoise:strength=20,upscale:factor=4", 4),
        ("denoise", 1),
        ("", 1),
        ("denoise", 1),
    ] {
        element.set_property("operations", operations);
        let out = h.push_and_pull(frame()).expect("a frame");
        let picture = picture_of(&out, &out_caps(&mut h));
        assert_eq!(picture.width, 48 * scale, "{operations}");
        if !operations.is_empty() {
            let alone = run_one(operations, VideoFormat::I420, &leaves(48, 32, 2), 0);
            assert!(picture == alone, "{operations}");
        }
    }
}

#[test]
fn a_bad_change_while_playing_is_a_warning_and_the_old_chain_stays() {
    let mut h = harness("upscale");
    let element = h.element().expect("an element");
    let bus = bus_of(&element);
    h.set_sink_caps_str("video/x-raw, width=96, height=64");
    h.set_src_caps(caps_of(VideoFormat::I420, 48, 32));
    let frame = || buffer_of(&leaves(48, 32, 2), VideoFormat::I420, 0);
    h.push_and_pull(frame()).expect("a frame");
    for (operations, says) in [
        ("sharpen", "unknown operation \"sharpen\""),
        ("upscale:factor=3", "2 or 4"),
        ("upscale:model=/nonexistent/a.onnx", "/nonexistent/a.onnx"),
        ("upscale:factor=4", "downstream does not accept"),
        ("denoise", "downstream does not accept"),
    ] {
        element.set_property("operations", operations);
        let out = h.push_and_pull(frame()).expect("a frame");
        assert_eq!(picture_of(&out, &out_caps(&mut h)).width, 96);
        let warnings = messages(&bus, gst::MessageType::Warning);
        assert_eq!(warnings.len(), 1, "{operations}: {warnings:?}");
        assert!(warnings[0].contains(says), "{operations}: {warnings:?}");
        assert!(warnings[0].contains("the old operations stay"));
        assert_eq!(element.property::<String>("operations"), "upscale");
    }
    assert_eq!(
        messages(&bus, gst::MessageType::Error),
        Vec::<String>::new()
    );
}

#[test]
fn each_net_makes_a_picture_of_its_own() {
    init();
    let made = ["small", "large", "ensemble"].map(|net| {
        let mut h = harness(&format!("upscale:net={net}"));
        h.set_src_caps(caps_of(VideoFormat::I420, 48, 32));
        let frame = buffer_of(&leaves(48, 32, 2), VideoFormat::I420, 0);
        let out = h.push_and_pull(frame).expect("a frame");
        let picture = picture_of(&out, &out_caps(&mut h));
        assert_eq!(picture.width, 96);
        picture.y
    });
    assert!(made[0] != made[1] && made[1] != made[2] && made[0] != made[2]);
}

#[test]
fn bad_operations_stop_the_start_with_one_error_and_can_be_put_right() {
    init();
    for (operations, says) in [
        (
            "sharpen",
            "unknown operation \"sharpen\": known are denoise",
        ),
        ("upscale:factor=9", "upscale:factor: it takes 2 or 4"),
        ("denoise:strength=loud", "auto or 0 to 55"),
        ("upscale,upscale", "given twice"),
        ("denoise:level=3", "has no parameter \"level\""),
        ("denoise:net=huge", "auto, small or large"),
        (
            "upscale:net=large:model=/nonexistent/a.onnx",
            "leave one of the two out",
        ),
    ] {
        let element = gst::ElementFactory::make("aienhance")
            .property("operations", operations)
            .build()
            .expect("the element");
        let bus = bus_of(&element);
        assert!(
            element.set_state(gst::State::Paused).is_err(),
            "{operations}"
        );
        let errors = messages(&bus, gst::MessageType::Error);
        assert_eq!(errors.len(), 1, "{operations}: {errors:?}");
        assert!(errors[0].contains(says), "{operations}: {errors:?}");
        element.set_state(gst::State::Null).expect("back to NULL");
        element.set_property("operations", "upscale");
        element.set_state(gst::State::Paused).expect("put right");
        element.set_state(gst::State::Null).expect("back to NULL");
    }
}

#[test]
fn a_model_that_cannot_be_used_is_one_error_that_names_it() {
    init();
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path.display().to_string()
    };
    let good = include_bytes!("../../../models/enhance/denoise.onnx");
    let corrupt = write("corrupt.onnx", &good[..good.len() / 2]);
    let noise = write("random.onnx", &[0x5A; 5000]);
    let empty = write("empty.onnx", b"");
    let other = write("other.onnx", good);
    let missing = folder.path().join("missing.onnx").display().to_string();
    for (path, operations, says) in [
        (&missing, "upscale", "does not exist"),
        (&corrupt, "denoise", "corrupt.onnx"),
        (&noise, "upscale", "random.onnx"),
        (&empty, "upscale", "empty"),
        (&other, "upscale", "does not fit \"upscale\""),
    ] {
        for named_by_property in [false, true] {
            let element = gst::ElementFactory::make("aienhance")
                .build()
                .expect("the element");
            if named_by_property {
                element.set_property("operations", operations);
                element.set_property("model-location", path);
            } else {
                element.set_property("operations", format!("{operations}:model=\"{path}\""));
            }
            let bus = bus_of(&element);
            assert!(element.set_state(gst::State::Paused).is_err(), "{path}");
            let errors = messages(&bus, gst::MessageType::Error);
            assert_eq!(errors.len(), 1, "{path}: {errors:?}");
            assert!(errors[0].contains(says), "{path}: {errors:?}");
            element.set_state(gst::State::Null).expect("back to NULL");
        }
    }
    // The right file by either way works.
    let element = gst::ElementFactory::make("aienhance")
        .property("operations", "denoise")
        .property("model-location", &other)
        .build()
        .expect("the element");
    element.set_state(gst::State::Paused).expect("a good model");
    element.set_state(gst::State::Null).expect("back to NULL");
}

#[test]
fn model_location_needs_a_single_operation() {
    init();
    let element = gst::ElementFactory::make("aienhance")
        .property("operations", "denoise,upscale")
        .property("model-location", "/nonexistent/a.onnx")
        .build()
        .expect("the element");
    let bus = bus_of(&element);
    assert!(element.set_state(gst::State::Paused).is_err());
    let errors = messages(&bus, gst::MessageType::Error);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("write model=<path> behind the operation"),
        "{errors:?}"
    );
    element.set_state(gst::State::Null).expect("back to NULL");
}

#[test]
fn one_instance_id_serves_a_chain_and_two_elements() {
    init();
    let make = || {
        gst::ElementFactory::make("aienhance")
            .property("operations", "denoise,upscale")
            .property("model-instance-id", "shared")
            .build()
            .expect("the element")
    };
    let (a, b) = (make(), make());
    a.set_state(gst::State::Paused).expect("the first");
    b.set_state(gst::State::Paused).expect("the second");
    a.set_state(gst::State::Null).expect("back to NULL");
    b.set_state(gst::State::Null).expect("back to NULL");
}

#[test]
fn the_large_nets_get_nearer_to_the_truth() {
    for (clean, name) in pictures() {
        let noisy = add_noise(&clean, 25.0, 5);
        let small = shrink(&clean);
        for (operation, given) in [
            ("denoise:strength=25:temporal=0", &noisy),
            ("upscale:factor=2", &small),
        ] {
            init();
            let element = gst::ElementFactory::make("aienhance")
                .property("device", "cpu")
                .property("operations", operation)
                .build()
                .expect("the element");
            let mut h = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
            h.play();
            h.set_src_caps(caps_of(VideoFormat::I420, given.width, given.height));
            let mut after = |net: &str| {
                // Another net is another chain, which takes over while frames pass.
                element.set_property("operations", format!("{operation}:net={net}"));
                let out = h
                    .push_and_pull(buffer_of(given, VideoFormat::I420, 0))
                    .expect("a frame");
                let out = picture_of(&out, &out_caps(&mut h));
                psnr_inside(&out.y, &clean.y, clean.width, 4)
            };
            let [auto, small, large] = ["auto", "small", "large"].map(&mut after);
            println!("{name}, {operation}: small {small:.2} dB, large {large:.2} dB");
            assert_eq!(auto, small, "{name}: on a CPU auto is the small one");
            // The small denoiser has seen more of what is composed of shapes; the large one knows footage better.
            let made = name == "leaves" && operation.starts_with("denoise");
            assert!(
                made || large - small > 0.05,
                "{name}, {operation}: {small} and {large}"
            );
        }
    }
}

#[test]
fn denoise_raises_psnr_by_decibels_and_measures_the_noise() {
    for (clean, name) in pictures() {
        for sigma in [10.0f32, 25.0] {
            let noisy = add_noise(&clean, sigma, 11);
            let before = psnr(&noisy.y, &clean.y);
            for operations in ["denoise".to_string(), format!("denoise:strength={sigma}")] {
                let mut h = harness(&operations);
                h.set_src_caps(caps_of(VideoFormat::I420, clean.width, clean.height));
                let out = h
                    .push_and_pull(buffer_of(&noisy, VideoFormat::I420, 0))
                    .expect("a frame");
                let out = picture_of(&out, &out_caps(&mut h));
                let after = psnr(&out.y, &clean.y);
                let chroma = |p: &Picture| (psnr(&p.u, &clean.u) + psnr(&p.v, &clean.v)) / 2.0;
                let stats = h
                    .element()
                    .expect("an element")
                    .property::<gst::Structure>("stats");
                let used = stats.get::<f64>("denoise-sigma").expect("a measurement");
                println!(
                    "{name} sigma {sigma} {operations}: {before:.2} -> {after:.2} dB, chroma {:.2} -> {:.2} dB, sigma {used:.1}",
                    chroma(&noisy),
                    chroma(&out)
                );
                assert!(
                    after > before + if sigma > 20.0 { 4.0 } else { 2.0 },
                    "{name} {operations}: {before} -> {after}"
                );
                assert!(
                    (used / f64::from(sigma) - 1.0).abs() < 0.35,
                    "{name}: {used} for {sigma}"
                );
                // The made picture is all saturated edges, real chroma is not: there it must gain.
                let least = if name == "cars" { 1.5 } else { -1.0 };
                assert!(
                    chroma(&out) > chroma(&noisy) + least,
                    "{name} {operations}: chroma {} -> {}",
                    chroma(&noisy),
                    chroma(&out)
                );
                assert_eq!(stats.get::<u64>("frames"), Ok(1));
                assert!(stats.get::<gst::Structure>("denoise").is_ok());
            }
        }
    }
}

#[test]
fn a_clean_drawing_is_left_as_it_is() {
    let mut picture = leaves(64, 64, 1);
    picture.y.fill(90);
    picture.u.fill(128);
    picture.v.fill(128);
    let out = run_one("denoise", VideoFormat::I420, &picture, 0);
    assert!(out == picture);
}

#[test]
fn upscale_beats_bicubic() {
    for (large, name) in pictures() {
        let small = shrink(&large);
        let out = run_one("upscale", VideoFormat::I420, &small, 0);
        let cubic = bicubic(&small.y, small.width, small.height);
        let (ours, cubic) = (
            psnr_inside(&out.y, &large.y, large.width, 4),
            psnr_inside(&cubic, &large.y, large.width, 4),
        );
        println!("{name}: bicubic {cubic:.2} dB, net {ours:.2} dB");
        assert!(ours > cubic + 0.3, "{name}: {ours} against {cubic}");
        // Chroma must be in place: a shift by one sample would cost far more than this.
        assert!(
            psnr(&out.u, &large.u) > 25.0,
            "{name}: chroma {}",
            psnr(&out.u, &large.u)
        );
    }
}

#[test]
fn an_estimate_is_forgotten_at_a_discontinuity() {
    let clean = leaves(320, 240, 5);
    let (loud, quiet) = (add_noise(&clean, 30.0, 1), add_noise(&clean, 5.0, 2));
    let mut h = harness("denoise");
    h.set_src_caps(caps_of(VideoFormat::I420, 320, 240));
    let sigma = |h: &gst_check::Harness| {
        let stats = h
            .element()
            .expect("an element")
            .property::<gst::Structure>("stats");
        stats.get::<f64>("denoise-sigma").expect("a measurement")
    };
    h.push_and_pull(buffer_of(&loud, VideoFormat::I420, 0))
        .expect("a frame");
    let first = sigma(&h);
    h.push_and_pull(buffer_of(&quiet, VideoFormat::I420, 0))
        .expect("a frame");
    let followed = sigma(&h);
    assert!(followed > first * 0.7, "{followed} after {first}");
    let mut jump = buffer_of(&quiet, VideoFormat::I420, 0);
    jump.make_mut().set_flags(gst::BufferFlags::DISCONT);
    h.push_and_pull(jump).expect("a frame");
    assert!(sigma(&h) < first * 0.4, "{} after a jump", sigma(&h));
}

#[test]
fn the_documented_line_runs() {
    init();
    let docs = include_str!("../src/aienhance/mod.rs");
    let line = docs
        .lines()
        .find_map(|line| line.strip_prefix("//! gst-launch-1.0 "))
        .expect("a line to try");
    let line = line.replace("autovideosink", "fakesink name=end signal-handoffs=true");
    let pipeline = gst::parse::launch(&line).expect("a pipeline");
    let bus = pipeline.bus().expect("a bus");
    pipeline.set_state(gst::State::Playing).expect("playing");
    let message = bus.timed_pop_filtered(
        gst::ClockTime::from_seconds(120),
        &[gst::MessageType::Eos, gst::MessageType::Error],
    );
    let bin = pipeline.downcast_ref::<gst::Bin>().expect("a bin");
    let end = bin.by_name("end").and_then(|sink| sink.static_pad("sink"));
    let caps = end.and_then(|pad| pad.current_caps()).expect("negotiated");
    pipeline.set_state(gst::State::Null).expect("stopped");
    let message = message.expect("an end within two minutes");
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    let s = caps.structure(0).expect("one structure");
    assert_eq!((s.get("width"), s.get("height")), (Ok(1280), Ok(720)));
}

#[test]
fn presets_are_shipped() {
    init();
    let element = gst::ElementFactory::make("aienhance")
        .build()
        .expect("the element");
    let preset = element
        .clone()
        .dynamic_cast::<gst::Preset>()
        .expect("presets");
    let names = preset.preset_names();
    assert!(names.iter().any(|name| name == "upscaling"), "{names:?}");
    for name in &names {
        element.set_property("operations", "");
        preset.load_preset(name).expect("a preset");
        let operations = element.property::<String>("operations");
        let chain = aivideo_enhance::spec::parse(&operations).expect("operations");
        // The name is an operation itself.
        let own = aivideo_enhance::spec::parse(name).expect("an operation");
        assert_eq!(chain[0].name(), own[0].name(), "{name}");
        assert!(preset.meta(name, "comment").is_some(), "{name}");
    }
}

#[test]
fn other_elements_jobs_are_refused_with_their_names() {
    init();
    for (operations, says) in [
        ("scene_analysis", "aiscene"),
        ("denoise,audio_enhancement", "aiaudioenhance"),
        ("upscale,denoise", "write denoise in front"),
    ] {
        let element = gst::ElementFactory::make("aienhance")
            .property("operations", operations)
            .build()
            .expect("the element");
        let bus = bus_of(&element);
        assert!(element.set_state(gst::State::Paused).is_err());
        let errors = messages(&bus, gst::MessageType::Error);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains(says), "{errors:?}");
        element.set_state(gst::State::Null).expect("back to NULL");
    }
}

#[test]
fn a_number_changes_from_frame_to_frame_and_the_text_wins() {
    let picture = add_noise(&leaves(64, 48, 2), 15.0, 3);
    for (operations, moves) in [("denoise", true), ("denoise:strength=15", false)] {
        let mut h = harness(operations);
        let element = h.element().expect("an element");
        h.set_src_caps(caps_of(VideoFormat::I420, 64, 48));
        let mut sigmas = Vec::new();
        for strength in [15.0, 30.0, 0.0] {
            element.set_property("denoise-strength", strength);
            h.push_and_pull(buffer_of(&picture, VideoFormat::I420, 0))
                .expect("a frame");
            let stats = element.property::<gst::Structure>("stats");
            sigmas.push(stats.get::<f64>("denoise-sigma").expect("a measurement"));
        }
        let wanted = if moves { [15.0, 30.0, 0.0] } else { [15.0; 3] };
        assert_eq!(sigmas, wanted, "{operations}");
    }
}

#[test]
fn cuts_leave_no_ghosts_and_still_pictures_get_cleaner() {
    let (one, two) = (leaves(160, 96, 5), leaves(160, 96, 9));
    let frames: Vec<_> = (0..12u64)
        .map(|i| add_noise(if i < 6 { &one } else { &two }, 20.0, 100 + i))
        .collect();
    let run = |operations: &str| -> Vec<Picture> {
        let mut h = harness(operations);
        h.set_src_caps(caps_of(VideoFormat::I420, 160, 96));
        frames
            .iter()
            .map(|frame| {
                let out = h
                    .push_and_pull(buffer_of(frame, VideoFormat::I420, 0))
                    .expect("a frame");
                picture_of(&out, &out_caps(&mut h))
            })
            .collect()
    };
    let alone = run("denoise:strength=20:temporal=0");
    let mixed = run("denoise:strength=20:temporal=0.7");
    // The first frame of either scene owes nothing to another one.
    assert!(mixed[0] == alone[0]);
    assert!(mixed[6] == alone[6], "the first scene shows in the second");
    for (at, clean) in [(5, &one), (11, &two)] {
        let (alone, mixed) = (psnr(&alone[at].y, &clean.y), psnr(&mixed[at].y, &clean.y));
        println!("frame {at}: {alone:.2} dB alone, {mixed:.2} dB with the frames before");
        assert!(mixed > alone + 0.3, "frame {at}: {alone} {mixed}");
    }
}
