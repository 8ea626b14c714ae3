// SPDX-License-Identifier: Apache-2.0
//! fxfilter in harnesses and pipelines.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};

use aivideo_fx::effects::posterize;
use gst::prelude::*;
use gst_base::prelude::*;
use gst_controller::prelude::*;

fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        let presets = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/fx/presets");
        gst::init().expect("GStreamer");
        gst::Preset::set_app_dir(presets).expect("a folder for presets");
        aivideo_fx::register(None).expect("fxfilter registers");
    });
}

const FORMATS: [&str; 19] = [
    "I420", "YV12", "NV12", "NV21", "Y42B", "Y444", "YUY2", "UYVY", "RGB", "BGR", "RGBx", "BGRx",
    "xRGB", "xBGR", "RGBA", "BGRA", "ARGB", "ABGR", "GRAY8",
];

fn caps(format: &str, width: i32, height: i32) -> gst::Caps {
    init();
    gst::Caps::builder("video/x-raw")
        .field("format", format)
        .field("width", width)
        .field("height", height)
        .field("framerate", gst::Fraction::new(25, 1))
        .build()
}

fn info(format: &str, width: i32, height: i32) -> gst_video::VideoInfo {
    gst_video::VideoInfo::from_caps(&caps(format, width, height)).expect("caps of raw video")
}

/// A buffer of bytes that depend on their place, with a time stamp.
fn buffer(info: &gst_video::VideoInfo, index: u64) -> gst::Buffer {
    let bytes: Vec<u8> = (0..info.size())
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u8)
        .collect();
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    stamp(&mut buffer, index);
    buffer
}

fn stamp(buffer: &mut gst::Buffer, index: u64) {
    let buffer = buffer.get_mut().expect("the only reference");
    buffer.set_pts(gst::ClockTime::from_mseconds(40 * index));
    buffer.set_duration(gst::ClockTime::from_mseconds(40));
}

fn bytes(buffer: &gst::Buffer) -> Vec<u8> {
    buffer.map_readable().expect("readable").to_vec()
}

fn harness(properties: &str, caps: &gst::Caps) -> gst_check::Harness {
    init();
    let mut harness = gst_check::Harness::new_parse(&format!("fxfilter name=fx {properties}"));
    harness.set_src_caps(caps.clone());
    harness.play();
    harness
}

/// The element inside of a harness made by [`harness`].
fn element(harness: &gst_check::Harness) -> gst::Element {
    let element = harness.element().expect("an element");
    match element.clone().downcast::<gst::Bin>() {
        Ok(bin) => bin.by_name("fx").expect("fxfilter"),
        Err(element) => element,
    }
}

/// Pixel data by rows, without padding, as GStreamer maps it.
fn rows(buffer: &gst::Buffer, info: &gst_video::VideoInfo) -> Vec<Vec<u8>> {
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).expect("a frame");
    use gst_video::prelude::*;
    let mut rows = Vec::new();
    for plane in 0..frame.n_planes() {
        let stride = frame.plane_stride()[plane as usize] as usize;
        let data = frame.plane_data(plane).expect("a plane");
        let format = info.format_info();
        let component = (0..format.n_components())
            .find(|c| format.plane()[*c as usize] == plane)
            .expect("a component") as u8;
        let width = format.scale_width(component, info.width()) as usize
            * format.pixel_stride()[usize::from(component)] as usize;
        let height = format.scale_height(component, info.height()) as usize;
        for y in 0..height {
            let end = (y * stride + width).min(data.len());
            rows.push(data[y * stride..end].to_vec());
        }
    }
    rows
}

#[test]
fn every_format_and_odd_sizes_are_posterised() {
    let table = posterize::lut(8);
    for format in FORMATS {
        for (width, height) in [(1, 1), (3, 5), (33, 17), (64, 48)] {
            let info = info(format, width, height);
            let space = if info.is_rgb() { "rgb" } else { "yuv" };
            let text = format!("effects=posterize:num-levels=8:space={space}");
            let mut harness = harness(&text, &caps(format, width, height));
            let input = buffer(&info, 0);
            let before = rows(&input, &info);
            let output = harness.push_and_pull(input).expect("a buffer");
            assert_eq!(output.pts(), Some(gst::ClockTime::ZERO));
            let after = rows(&output, &info);
            let alpha = match format {
                "RGBA" | "BGRA" | "RGBx" | "BGRx" => Some(3),
                "ARGB" | "ABGR" | "xRGB" | "xBGR" => Some(0),
                _ => None,
            };
            for (old, new) in before.iter().zip(&after) {
                for (x, (old, new)) in old.iter().zip(new).enumerate() {
                    let expected = if Some(x % 4) == alpha {
                        *old
                    } else {
                        table[usize::from(*old)]
                    };
                    assert_eq!(*new, expected, "{format} {width}x{height} byte {x}");
                }
            }
        }
    }
}

/// Every effect in one chain on every format and odd size, through the element.
#[test]
fn every_effect_runs_in_the_element() {
    let all: Vec<_> = aivideo_fx::registry::EFFECTS
        .iter()
        .map(|e| e.name)
        .collect();
    let text = format!("effects={} mix=0.9", all.join(","));
    for format in FORMATS {
        for (width, height) in [(1, 1), (35, 19)] {
            let info = info(format, width, height);
            let mut harness = harness(&text, &caps(format, width, height));
            for index in 0..3 {
                harness
                    .push_and_pull(buffer(&info, index))
                    .expect("a buffer");
            }
        }
    }
}

/// Frames whose strides and offsets only a VideoMeta tells.
#[test]
fn padded_strides_are_honoured_and_padding_stays() {
    init();
    for format in FORMATS {
        let (width, height) = (35u32, 9u32);
        let info = info(format, width as i32, height as i32);
        let space = if info.is_rgb() { "rgb" } else { "yuv" };
        let text = format!("effects=invert,posterize:space={space},vignette");
        let plain = harness(&text, &caps(format, width as i32, height as i32))
            .push_and_pull(buffer(&info, 0))
            .expect("a buffer");

        // The same picture with 24 more bytes a row and a gap before each plane.
        let source = buffer(&info, 0);
        let planes = info.n_planes() as usize;
        let (mut offsets, mut strides, mut size) = (vec![0; planes], vec![0; planes], 0);
        for plane in 0..planes {
            let rows = if plane == 0 {
                height
            } else {
                info.format_info().scale_height(plane as u8, height)
            };
            offsets[plane] = size + 13;
            strides[plane] = info.stride()[plane] + 24;
            size = offsets[plane] + strides[plane] as usize * rows as usize;
        }
        let mut padded = gst::Buffer::from_mut_slice(vec![0x5a; size]);
        {
            let padded = padded.get_mut().expect("the only reference");
            gst_video::VideoMeta::add_full(
                padded,
                gst_video::VideoFrameFlags::empty(),
                info.format(),
                width,
                height,
                &offsets,
                &strides,
            )
            .expect("a meta");
            use gst_video::prelude::*;
            let from = gst_video::VideoFrameRef::from_buffer_ref_readable(&source, &info).unwrap();
            let mut to = gst_video::VideoFrameRef::from_buffer_ref_writable(padded, &info).unwrap();
            assert_eq!(to.plane_stride(), strides.as_slice());
            from.copy(&mut to).expect("a copy");
        }
        stamp(&mut padded, 0);
        // A second reference makes the element copy, with the meta.
        for shared in [false, true] {
            let mut harness = harness(&text, &caps(format, width as i32, height as i32));
            let input = padded.copy_deep().expect("a copy");
            let held = shared.then(|| input.clone());
            let output = harness.push_and_pull(input).expect("a buffer");
            assert_eq!(
                rows(&output, &info),
                rows(&plain, &info),
                "{format} shared {shared}"
            );
            let data = bytes(&output);
            assert!(
                data[..13].iter().all(|b| *b == 0x5a),
                "{format}: before the first plane"
            );
            let row_end = offsets[0] + info.stride()[0] as usize;
            assert!(
                data[row_end..row_end + 24].iter().all(|b| *b == 0x5a),
                "{format}: padding"
            );
            if let Some(held) = held {
                assert_eq!(
                    bytes(&held),
                    bytes(&padded),
                    "{format}: the held buffer changed"
                );
            }
        }
    }
}

#[test]
fn nothing_to_do_is_passthrough() {
    let info = info("I420", 32, 32);
    for properties in [
        "",
        "effects=\"\"",
        "effects=[]",
        "effects=blur mix=0",
        "effects=pixelate:size=1",
    ] {
        let mut harness = harness(properties, &caps("I420", 32, 32));
        let input = buffer(&info, 0);
        let pointer = input.as_ptr();
        let held = input.clone();
        let output = harness.push_and_pull(input).expect("a buffer");
        assert_eq!(output.as_ptr(), pointer, "{properties}: the same buffer");
        assert_eq!(bytes(&output), bytes(&held));
        let element = element(&harness)
            .downcast::<gst_base::BaseTransform>()
            .unwrap();
        assert!(element.is_passthrough(), "{properties}");
    }
}

#[test]
fn end_of_stream_and_flush_pass() {
    let info = info("NV12", 32, 32);
    let mut harness = harness("effects=posterize,blur", &caps("NV12", 32, 32));
    let first = harness.push_and_pull(buffer(&info, 0)).expect("a buffer");
    assert!(harness.push_event(gst::event::FlushStart::new()));
    assert!(harness.push_event(gst::event::FlushStop::new(true)));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    assert!(harness.push_event(gst::event::Segment::new(&segment)));
    let again = harness
        .push_and_pull(buffer(&info, 0))
        .expect("a buffer after the flush");
    assert_eq!(bytes(&first), bytes(&again));
    assert!(harness.push_event(gst::event::Eos::new()));
    let eos = std::iter::from_fn(|| harness.try_pull_event())
        .any(|event| event.type_() == gst::EventType::Eos);
    assert!(eos, "EOS comes out");
    assert_eq!(harness.push(buffer(&info, 1)), Err(gst::FlowError::Eos));
}

#[test]
fn caps_may_change() {
    let mut harness = harness(
        "effects=posterize:num-levels=4,vignette",
        &caps("I420", 32, 32),
    );
    let small = info("I420", 32, 32);
    harness.push_and_pull(buffer(&small, 0)).expect("a buffer");
    for (format, width, height) in [("NV12", 67, 31), ("RGBA", 16, 200), ("GRAY8", 5, 3)] {
        harness.set_src_caps(caps(format, width, height));
        let info = info(format, width, height);
        let output = harness.push_and_pull(buffer(&info, 1)).expect("a buffer");
        assert_eq!(output.size(), info.size());
        assert_ne!(bytes(&output), bytes(&buffer(&info, 1)), "{format}");
        // A fresh element gives the same.
        let fresh = self::harness(
            "effects=posterize:num-levels=4,vignette",
            &caps(format, width, height),
        )
        .push_and_pull(buffer(&info, 1))
        .expect("a buffer");
        assert_eq!(bytes(&output), bytes(&fresh), "{format}");
    }
}

#[test]
fn properties_change_at_the_next_frame() {
    let info = info("GRAY8", 64, 16);
    let input = bytes(&buffer(&info, 0));
    let expect = |n: i32| -> Vec<u8> {
        input
            .iter()
            .map(|v| posterize::lut(n)[usize::from(*v)])
            .collect()
    };
    let mut harness = harness("effects=posterize", &caps("GRAY8", 64, 16));
    let element = element(&harness);
    let mut next = || bytes(&harness.push_and_pull(buffer(&info, 0)).expect("a buffer"));
    assert_eq!(next(), expect(25), "the default");
    element.set_property("posterize-num-levels", 3);
    assert_eq!(next(), expect(3));
    // What the chain says is fixed.
    element.set_property("effects", "posterize:num-levels=6");
    assert_eq!(next(), expect(6));
    element.set_property("posterize-num-levels", 9);
    assert_eq!(next(), expect(6));
    element.set_property("mix", 0.0);
    assert_eq!(next(), input);
    element.set_property("mix", 1.0);
    element.set_property("n-threads", 3u32);
    assert_eq!(next(), expect(6));
    element.set_property("effects", None::<String>);
    assert_eq!(next(), input);
    element.set_property("effects", "[{\"effect\":\"posterize\",\"num-levels\":2}]");
    assert_eq!(next(), expect(2));
    assert_eq!(
        element.property::<String>("effects"),
        "[{\"effect\":\"posterize\",\"num-levels\":2}]"
    );
}

#[test]
fn enumerations_and_colours_are_properties() {
    init();
    let element = gst::ElementFactory::make("fxfilter")
        .build()
        .expect("fxfilter");
    element.set_property_from_str("posterize-space", "rgb");
    element.set_property_from_str("thermal-map", "viridis");
    element.set_property("duotone-dark", 0x102030u32);
    assert_eq!(
        element.property::<aivideo_fx::fxfilter::Space>("posterize-space"),
        aivideo_fx::fxfilter::Space::Rgb
    );
    assert_eq!(
        element.property::<aivideo_fx::fxfilter::ColorMap>("thermal-map"),
        aivideo_fx::fxfilter::ColorMap::Viridis
    );
    assert_eq!(element.property::<u32>("duotone-dark"), 0x102030);
}

/// Every property has its default, and those of effects can be controlled and set while playing.
#[test]
fn properties_are_declared_properly() {
    init();
    let element = gst::ElementFactory::make("fxfilter")
        .build()
        .expect("fxfilter");
    let mut own = 0;
    for spec in element.list_properties() {
        if spec.owner_type() != element.type_() {
            continue;
        }
        own += 1;
        let value = element.property_value(spec.name());
        let default = spec.default_value();
        assert_eq!(
            format!("{value:?}"),
            format!("{default:?}"),
            "{}",
            spec.name()
        );
        assert!(spec.blurb().is_some_and(|b| b.len() > 8), "{}", spec.name());
        let flags = spec.flags();
        let playing = flags.contains(gst::PARAM_FLAG_MUTABLE_PLAYING);
        // Where frames lie is settled before they come.
        assert_eq!(playing, spec.name() != "device", "{}", spec.name());
        let controllable = flags.contains(gst::PARAM_FLAG_CONTROLLABLE);
        // Texts have no place in a controller.
        let not = ["effects", "n-threads", "lut-file", "device"].contains(&spec.name());
        assert_eq!(controllable, !not, "{}", spec.name());
    }
    assert!(own > 20, "{own}");
}

#[test]
fn a_controller_moves_a_parameter() {
    let info = info("GRAY8", 16, 16);
    let mut harness = harness("effects=threshold", &caps("GRAY8", 16, 16));
    let element = element(&harness);
    // From 0 to 1 over 100 frames: frame k has the threshold k / 100.
    ramp(&element, "threshold", 100);
    let input = bytes(&buffer(&info, 0));
    for k in [0u64, 20, 50, 80, 100] {
        let output = harness.push_and_pull(buffer(&info, k)).expect("a buffer");
        let t: f64 = element.property("threshold");
        assert!((t - k as f64 / 100.0).abs() < 1e-6, "{k}: {t}");
        let expected: Vec<u8> = input
            .iter()
            .map(|v| if f64::from(*v) > t * 255.0 { 255 } else { 0 })
            .collect();
        assert_eq!(bytes(&output), expected, "frame {k}");
    }
}

/// Binds a property to a straight line through time, over its whole range.
fn ramp(element: &gst::Element, property: &str, frames: u64) {
    let source = gst_controller::InterpolationControlSource::new();
    source.set_mode(gst_controller::InterpolationMode::Linear);
    assert!(source.set(gst::ClockTime::ZERO, 0.0));
    assert!(source.set(gst::ClockTime::from_mseconds(40 * frames), 1.0));
    let binding = gst_controller::DirectControlBinding::new(element, property, &source);
    element.add_control_binding(&binding).expect("a binding");
}

/// Writes a table that swaps red and green, and gives its path.
fn cube(folder: &std::path::Path) -> String {
    let path = folder.join("a table.cube");
    let corners = (0..8).map(|i| format!("{} {} {}\n", i >> 1 & 1, i & 1, i >> 2));
    let text = format!("LUT_3D_SIZE 2\n{}", corners.collect::<String>());
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_string()
}

#[test]
fn tables_come_from_files() {
    init();
    let folder = tempfile::tempdir().expect("a folder");
    let path = cube(folder.path());
    let info = info("RGB", 2, 1);
    let mut harness = harness("effects=lut", &caps("RGB", 2, 1));
    let element = element(&harness);
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    let mut push = || {
        let mut bytes = vec![0; info.size()];
        bytes[..6].copy_from_slice(&[10, 20, 30, 40, 50, 60]);
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        stamp(&mut buffer, 0);
        self::bytes(&harness.push_and_pull(buffer).expect("a buffer"))[..6].to_vec()
    };
    let warning = || {
        let message = bus.timed_pop_filtered(
            gst::ClockTime::from_seconds(5),
            &[gst::MessageType::Warning],
        );
        match message.expect("a warning").view() {
            gst::MessageView::Warning(warning) => warning.error().message().to_string(),
            _ => unreachable!(),
        }
    };
    assert_eq!(push(), [10, 20, 30, 40, 50, 60]);
    assert!(warning().contains("no file is given"));
    element.set_property("lut-file", &path);
    assert_eq!(push(), [20, 10, 30, 50, 40, 60]);
    // Bad files while playing: a warning with the line, and the old one stays.
    let bad = folder.path().join("bad.cube");
    std::fs::write(&bad, "LUT_3D_SIZE 2\n0 0 0\n0 0\n").expect("written");
    element.set_property("lut-file", bad.to_str().expect("UTF-8"));
    let text = warning();
    assert!(
        text.contains("bad.cube, line 3: 3 numbers are due"),
        "{text}"
    );
    element.set_property("effects", format!("lut:file={}", bad.display()));
    let text = warning();
    assert!(text.contains("bad.cube, line 3"), "{text}");
    assert_eq!(push(), [20, 10, 30, 50, 40, 60]);
    assert_eq!(element.property::<String>("lut-file"), path);
    // As text, between quotation marks, as the path has a blank.
    element.set_property("effects", format!("lut:file=\"{path}\":amount=0"));
    assert_eq!(push(), [10, 20, 30, 40, 50, 60]);
    element.set_bus(None);

    let text = start_error("lut:file=/no/such.cube");
    assert!(text.contains("cannot read /no/such.cube"), "{text}");
}

#[test]
fn a_missing_file_in_a_property_stops_the_start() {
    init();
    let element = gst::ElementFactory::make("fxfilter")
        .property("lut-file", "/no/such.cube")
        .build()
        .expect("fxfilter");
    assert!(element.set_state(gst::State::Paused).is_err());
    element.set_state(gst::State::Null).expect("back to NULL");
    element.set_property("lut-file", "");
    element.set_state(gst::State::Ready).expect("READY");
    element.set_state(gst::State::Null).expect("NULL");
}

/// What a motion trail remembers ends with a flush.
#[test]
fn trails_end_with_a_flush() {
    let info = info("GRAY8", 8, 8);
    let mut harness = harness("effects=trails:persistence=0.5", &caps("GRAY8", 8, 8));
    let frame = |value: u8| {
        let mut buffer = gst::Buffer::from_mut_slice(vec![value; info.size()]);
        stamp(&mut buffer, 0);
        buffer
    };
    let mut show = |value| bytes(&harness.push_and_pull(frame(value)).expect("a buffer"))[0];
    assert_eq!([show(200), show(0)], [200, 100]);
    harness.push_event(gst::event::FlushStart::new());
    harness.push_event(gst::event::FlushStop::new(true));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    harness.push_event(gst::event::Segment::new(&segment));
    let output = harness.push_and_pull(frame(10)).expect("a buffer");
    assert_eq!(bytes(&output)[0], 10);
}

fn start_error(effects: &str) -> String {
    init();
    let pipeline = gst::Pipeline::new();
    let source = gst::ElementFactory::make("videotestsrc")
        .build()
        .expect("videotestsrc");
    let filter = gst::ElementFactory::make("fxfilter")
        .property("effects", effects)
        .build()
        .expect("fxfilter");
    let sink = gst::ElementFactory::make("fakesink")
        .build()
        .expect("fakesink");
    pipeline.add_many([&source, &filter, &sink]).expect("added");
    gst::Element::link_many([&source, &filter, &sink]).expect("linked");
    assert!(
        pipeline.set_state(gst::State::Paused).is_err(),
        "{effects} starts"
    );
    let bus = pipeline.bus().expect("a bus");
    let message = bus
        .timed_pop_filtered(gst::ClockTime::from_seconds(5), &[gst::MessageType::Error])
        .expect("an error message");
    pipeline.set_state(gst::State::Null).expect("stopped");
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!()
    };
    error.error().message().to_string()
}

#[test]
fn unreadable_chains_stop_the_start() {
    let text = start_error("sparkle");
    assert!(
        text.contains("unknown effect \"sparkle\"") && text.contains("posterize"),
        "{text}"
    );
    let text = start_error("posterize:num-levels=1");
    assert!(text.contains("a whole number from 2 to 256"), "{text}");
    let text = start_error("posterize:levels=8");
    assert!(
        text.contains("its parameters are num-levels, space"),
        "{text}"
    );
    let text = start_error("[{\"effect\":\"blur\",\"sigma\":\"x\"}]");
    assert!(text.contains("is not a number"), "{text}");
}

/// After a failed start, a chain that can be read lets the same element start.
#[test]
fn a_mended_chain_starts() {
    init();
    let element = gst::ElementFactory::make("fxfilter")
        .property("effects", "nonsense")
        .build()
        .expect("fxfilter");
    assert!(element.set_state(gst::State::Paused).is_err());
    element.set_state(gst::State::Null).expect("back to NULL");
    element.set_property("effects", "invert");
    let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
    harness.play();
    harness.set_src_caps(caps("GRAY8", 8, 8));
    let info = info("GRAY8", 8, 8);
    let output = harness.push_and_pull(buffer(&info, 0)).expect("a buffer");
    assert_ne!(bytes(&output), bytes(&buffer(&info, 0)));
}

#[test]
fn an_unreadable_chain_while_playing_warns_and_keeps_the_old_one() {
    let info = info("GRAY8", 16, 16);
    let mut harness = harness("effects=posterize:num-levels=3", &caps("GRAY8", 16, 16));
    let element = element(&harness);
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    let before = bytes(&harness.push_and_pull(buffer(&info, 0)).expect("a buffer"));
    element.set_property("effects", "posterize:num-levels=1");
    let message = bus
        .timed_pop_filtered(
            gst::ClockTime::from_seconds(5),
            &[gst::MessageType::Warning],
        )
        .expect("a warning");
    let gst::MessageView::Warning(warning) = message.view() else {
        unreachable!()
    };
    let text = warning.error().message().to_string();
    assert!(text.contains("from 2 to 256"), "{text}");
    assert_eq!(
        element.property::<String>("effects"),
        "posterize:num-levels=3"
    );
    let after = bytes(&harness.push_and_pull(buffer(&info, 1)).expect("a buffer"));
    assert_eq!(before, after);
    element.set_bus(None);
}

/// Ten bits through the element: the definition with 1023 for 255, in place, any stride.
#[test]
fn ten_bits_are_posterised() {
    for format in ["P010_10LE", "I420_10LE"] {
        for (width, height) in [(1, 1), (3, 5), (33, 17), (64, 48)] {
            let info = info(format, width, height);
            let shift = if format == "P010_10LE" { 6 } else { 0 };
            let mut input = gst::Buffer::from_mut_slice(vec![0u8; info.size()]);
            {
                let mut map = input
                    .get_mut()
                    .expect("the only reference")
                    .map_writable()
                    .unwrap();
                for (i, pair) in map.chunks_exact_mut(2).enumerate() {
                    let value = ((i * 389 % 1024) as u16) << shift;
                    pair.copy_from_slice(&value.to_le_bytes());
                }
            }
            stamp(&mut input, 0);
            let before = rows(&input, &info);
            let mut harness = harness(
                "effects=posterize:num-levels=9,invert,invert n-threads=2",
                &caps(format, width, height),
            );
            let output = harness.push_and_pull(input).expect("a buffer");
            let step = 1023.0 / 8.0;
            for (old, new) in before.iter().zip(rows(&output, &info)) {
                for (old, new) in old.chunks_exact(2).zip(new.chunks_exact(2)) {
                    let [old, new] = [old, new].map(|p| u16::from_le_bytes([p[0], p[1]]) >> shift);
                    let mut expected = ((f64::from(old) / step).round_ties_even() * step) as u16;
                    // Inverting twice keeps all but what leaves the range.
                    let sums = [64 * 2 + 876, 1024];
                    let twice = sums.map(|sum: u16| {
                        let once = sum.saturating_sub(expected).min(1023);
                        sum.saturating_sub(once).min(1023)
                    });
                    if !twice.contains(&new) {
                        expected = twice[0];
                        assert_eq!(new, expected, "{format} {width}x{height} {old}");
                    }
                }
            }
        }
    }
}

#[test]
fn ten_bits_and_neighbours_do_not_go_together() {
    init();
    // A converter before the element learns that eight bits are needed.
    let pipeline = gst::parse::launch(
        "videotestsrc num-buffers=2 ! video/x-raw,format=P010_10LE,width=32,height=32 ! \
         videoconvert ! fxfilter name=fx effects=blur ! fakesink",
    )
    .expect("a pipeline");
    pipeline.set_state(gst::State::Playing).expect("playing");
    let bus = pipeline.bus().expect("a bus");
    let message = bus
        .timed_pop_filtered(
            gst::ClockTime::from_seconds(10),
            &[gst::MessageType::Error, gst::MessageType::Eos],
        )
        .expect("the end");
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    pipeline.set_state(gst::State::Null).expect("stopped");
    // Without one, an error says what to do.
    let pipeline = gst::parse::launch(
        "videotestsrc num-buffers=2 ! video/x-raw,format=P010_10LE,width=32,height=32 ! \
         identity ! fxfilter effects=posterize name=fx ! fakesink",
    )
    .expect("a pipeline");
    let fx = pipeline
        .clone()
        .downcast::<gst::Bin>()
        .unwrap()
        .by_name("fx")
        .unwrap();
    pipeline.set_state(gst::State::Paused).expect("prerolls");
    let (state, _, _) = pipeline.state(gst::ClockTime::from_seconds(10));
    state.expect("PAUSED");
    let bus = pipeline.bus().expect("a bus");
    fx.set_property("effects", "sepia,blur");
    let message = bus
        .timed_pop_filtered(
            gst::ClockTime::from_seconds(5),
            &[gst::MessageType::Warning],
        )
        .expect("a warning");
    let gst::MessageView::Warning(warning) = message.view() else {
        unreachable!()
    };
    let text = warning.error().message().to_string();
    assert!(
        text.contains("blur takes pictures of eight bits only"),
        "{text}"
    );
    assert_eq!(fx.property::<String>("effects"), "posterize");
    pipeline.set_state(gst::State::Null).expect("stopped");
}

#[test]
fn presets_are_shipped() {
    init();
    let element = gst::ElementFactory::make("fxfilter")
        .build()
        .expect("fxfilter");
    let preset = element
        .clone()
        .dynamic_cast::<gst::Preset>()
        .expect("presets");
    let names = preset.preset_names();
    assert!(names.len() >= 10, "{names:?}");
    for name in &names {
        element.set_property("effects", "");
        preset.load_preset(name).expect("a preset");
        let chain = element.property::<String>("effects");
        let items = aivideo_fx::parse::parse(&chain).expect("a chain");
        assert!(!items.is_empty(), "{name}");
        assert!(preset.meta(name, "comment").is_some(), "{name}");
    }
}

/// The same seed and times give the same frames, another seed others.
#[test]
fn runs_repeat() {
    let info = info("I420", 160, 120);
    let run = |seed: u32| -> Vec<Vec<u8>> {
        let text = format!("effects=glitch:amount=1 seed={seed}");
        let mut harness = harness(&text, &caps("I420", 160, 120));
        (0..12)
            .map(|i| bytes(&harness.push_and_pull(buffer(&info, i)).expect("a buffer")))
            .collect()
    };
    let first = run(7);
    assert_eq!(first, run(7));
    assert_ne!(first, run(8));
}

/// Frames without time stamps still move on.
#[test]
fn frames_without_time_stamps_are_counted() {
    let info = info("I420", 160, 120);
    let mut harness = harness("effects=glitch:amount=1", &caps("I420", 160, 120));
    let frames: Vec<_> = (0..12)
        .map(|_| {
            let mut buffer = buffer(&info, 0);
            buffer.get_mut().expect("the only reference").set_pts(None);
            bytes(&harness.push_and_pull(buffer).expect("a buffer"))
        })
        .collect();
    assert!(
        frames.iter().any(|frame| *frame != frames[0]),
        "they change over half a second"
    );
}

/// The caps' range decides what black is.
#[test]
fn full_and_limited_range_are_told_apart() {
    for (colorimetry, black, white) in [("bt709", 16, 235), ("1:3:5:1", 0, 255)] {
        let mut caps = caps("Y444", 8, 8);
        caps.get_mut()
            .expect("the only reference")
            .set("colorimetry", colorimetry);
        let info = gst_video::VideoInfo::from_caps(&caps).expect("raw video");
        let mut harness = harness("effects=invert", &caps);
        let mut input = vec![128u8; info.size()];
        input[..64].fill(black);
        let mut input = gst::Buffer::from_mut_slice(input);
        stamp(&mut input, 0);
        let output = bytes(&harness.push_and_pull(input).expect("a buffer"));
        assert!(
            output[..64].iter().all(|v| *v == white),
            "{colorimetry}: {}",
            output[0]
        );
        assert!(output[64..].iter().all(|v| *v == 128), "{colorimetry}");
    }
}

/// Random chains and properties while frames flow: no error, no dead end. `FX_SWITCHES=100000`
/// makes it a soak test.
#[test]
fn effects_switched_at_random_while_playing() {
    init();
    let pipeline = gst::parse::launch(
        "videotestsrc ! video/x-raw,format=NV12,width=66,height=50 ! \
         fxfilter name=fx ! fakesink",
    )
    .expect("a pipeline");
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    let fx = pipeline.by_name("fx").expect("fxfilter");
    // Without these two effects warn that they have nothing to do.
    let folder = tempfile::tempdir().expect("a folder");
    fx.set_property("lut-file", cube(folder.path()));
    fx.set_property_from_str("chroma-key-to", "color");
    let frames = Arc::new(AtomicUsize::new(0));
    let counter = frames.clone();
    let pad = fx.static_pad("src").expect("a pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing).expect("playing");
    let bus = pipeline.bus().expect("a bus");
    let names: Vec<_> = aivideo_fx::registry::EFFECTS
        .iter()
        .map(|e| e.name)
        .collect();
    let mut state = 12345u64;
    let mut random = |n: usize| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize % n
    };
    let enough = std::env::var("FX_SWITCHES").map_or(400, |n| n.parse().expect("a number"));
    let mut chains = 0;
    // Until enough of both went by, however the machine shares its cores.
    while chains < enough || frames.load(Ordering::Relaxed) < enough {
        let chain: Vec<_> = (0..random(4)).map(|_| names[random(names.len())]).collect();
        fx.set_property("effects", chain.join(","));
        fx.set_property("mix", random(101) as f64 / 100.0);
        fx.set_property("pixelate-size", 1 + random(64) as i32);
        fx.set_property("n-threads", random(3) as u32);
        chains += 1;
        let types = [
            gst::MessageType::Error,
            gst::MessageType::Warning,
            gst::MessageType::Eos,
        ];
        let message = bus.timed_pop_filtered(gst::ClockTime::from_mseconds(1), &types);
        if let Some(message) = message {
            panic!("{:?}", message.view());
        }
    }
    pipeline.set_state(gst::State::Null).expect("stopped");
}
