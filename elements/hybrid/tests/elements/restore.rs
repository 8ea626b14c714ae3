// SPDX-License-Identifier: Apache-2.0
//! airestore with small nets whose output says what went in.

use gst::prelude::*;
use gst_check::Harness;

use crate::testmodel::{Dim, Model, ty};

const LUMA: [Dim; 4] = [Dim::Fixed(1), Dim::Fixed(1), Dim::Free("h"), Dim::Free("w")];
const CHROMA: [Dim; 4] = [
    Dim::Fixed(1),
    Dim::Fixed(2),
    Dim::Free("ch"),
    Dim::Free("cw"),
];

/// A net of the right inputs that gives two of them back.
fn model(luma: &str, chroma: &str) -> tempfile::NamedTempFile {
    let bytes = Model::new()
        .input("y", ty::U8, &LUMA)
        .input("uv", ty::U8, &CHROMA)
        .input("y_before", ty::U8, &LUMA)
        .input("uv_before", ty::U8, &CHROMA)
        .input("condition", ty::F32, &[Dim::Fixed(4)])
        .output("y_out", ty::U8, &LUMA)
        .output("uv_out", ty::U8, &CHROMA)
        .node("Identity", &[luma], &["y_out"], &[])
        .node("Identity", &[chroma], &["uv_out"], &[])
        .finish();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

fn harness(model: &std::path::Path, properties: &str, caps: &str) -> Harness {
    crate::init();
    let mut builder =
        gst::ElementFactory::make("airestore").property("model-location", model.to_str().unwrap());
    for (name, value) in properties.split(' ').filter_map(|p| p.split_once('=')) {
        builder = builder.property_from_str(name, value);
    }
    let element = builder.build().unwrap();
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    harness.set_src_caps_str(caps);
    harness
}

/// A flat frame of 8 bits, and the one that comes out.
fn push(harness: &mut Harness, value: u8, size: usize, discont: bool) -> Vec<u8> {
    let mut buffer = gst::Buffer::from_mut_slice(vec![value; size]);
    if discont {
        buffer
            .get_mut()
            .unwrap()
            .set_flags(gst::BufferFlags::DISCONT);
    }
    harness.push(buffer).unwrap();
    harness.pull().unwrap().map_readable().unwrap().to_vec()
}

const I420: &str = "video/x-raw,format=I420,width=16,height=16,framerate=25/1";

#[test]
fn the_net_gets_the_restored_picture_before() {
    let model = model("y_before", "uv_before");
    let mut harness = harness(model.path(), "", I420);
    // What comes out of the first stays for ever with this net, until the stream jumps.
    assert_eq!(push(&mut harness, 10, 384, false), [10; 384]);
    assert_eq!(push(&mut harness, 20, 384, false), [10; 384]);
    assert_eq!(push(&mut harness, 30, 384, true), [30; 384]);
    harness.push_event(gst::event::FlushStart::new());
    harness.push_event(gst::event::FlushStop::new(true));
    harness.set_src_caps_str(I420);
    harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<
        gst::ClockTime,
    >::new()));
    assert_eq!(push(&mut harness, 40, 384, false), [40; 384]);
    // Another size is another stream.
    harness.set_src_caps_str("video/x-raw,format=I420,width=8,height=16,framerate=25/1");
    assert_eq!(push(&mut harness, 50, 192, false), [50; 192]);
}

#[test]
fn strength_mixes_and_none_passes() {
    let model = model("y_before", "uv_before");
    let mut harness = harness(model.path(), "strength=0.5", I420);
    assert_eq!(push(&mut harness, 100, 384, false), [100; 384]);
    assert_eq!(push(&mut harness, 120, 384, false), [110; 384]);
    let element = harness.element().unwrap();
    element.set_property("strength", 0.0);
    assert_eq!(push(&mut harness, 77, 384, false), [77; 384]);
    let stats = element.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("frames-restored"), Ok(2));
    assert_eq!(stats.get::<u64>("frames-passed"), Ok(1));
}

#[test]
fn formats_odd_sizes_and_ten_bits_come_through() {
    crate::init();
    // Chroma is taken from before: the second frame has the first one's, and its own luma.
    let model = model("y", "uv_before");
    for format in ["I420", "NV12", "I420_10LE", "P010_10LE"] {
        let caps = format!("video/x-raw,format={format},width=13,height=7,framerate=25/1");
        let info = gst_video::VideoInfo::from_caps(&caps.parse::<gst::Caps>().unwrap()).unwrap();
        let mut harness = harness(model.path(), "", &caps);
        let frame = |luma: u16, chroma: u16| {
            let shift = if format == "P010_10LE" { 6 } else { 0 };
            let mut data = vec![0u8; info.size()];
            let deep = format.contains("10");
            let start = info.offset()[1];
            for (at, bytes) in data.chunks_mut(if deep { 2 } else { 1 }).enumerate() {
                let value = if at * if deep { 2 } else { 1 } < start {
                    luma
                } else {
                    chroma
                };
                match deep {
                    true => bytes.copy_from_slice(&((value * 4 + 1) << shift).to_le_bytes()),
                    false => bytes[0] = value as u8,
                }
            }
            data
        };
        harness
            .push(gst::Buffer::from_mut_slice(frame(50, 90)))
            .unwrap();
        harness.pull().unwrap();
        harness
            .push(gst::Buffer::from_mut_slice(frame(60, 120)))
            .unwrap();
        let out = harness.pull().unwrap();
        let out = gst_video::VideoFrame::from_buffer_readable(out, &info).unwrap();
        let expected = frame(60, 90);
        for (plane, rows) in [(0, 7), (1, 4)] {
            let stride = info.stride()[plane] as usize;
            let width = match (plane, format) {
                (0, "I420" | "NV12") => 13,
                (0, _) => 26,
                (_, "I420") => 7,
                (_, "NV12" | "I420_10LE") => 14,
                _ => 28,
            };
            let start = info.offset()[plane];
            for y in 0..rows {
                let got = &out.plane_data(plane as u32).unwrap()[y * stride..][..width];
                assert_eq!(
                    got,
                    &expected[start + y * stride..][..width],
                    "{format} {plane} {y}"
                );
            }
        }
    }
}

#[test]
fn a_stream_for_another_net_passes_and_says_so_once() {
    let model = model("y_before", "uv_before");
    let mut harness = harness(model.path(), "", I420);
    let bus = gst::Bus::new();
    harness.element().unwrap().set_bus(Some(&bus));
    push(&mut harness, 10, 384, false);
    let hint = |net: &str, quality: f64| {
        gst::event::CustomDownstreamSticky::new(
            gst::Structure::builder("aivideo-hybrid-hint")
                .field("model", net)
                .field("base", "av1")
                .field("quality", quality)
                .field("width", 16u32)
                .field("height", 16u32)
                .field("coded-height", 16i32)
                .field("noise", -1.0)
                .build(),
        )
    };
    for quality in [0.5, 0.6] {
        harness.push_event(hint("0123456789abcdef", quality));
        assert_eq!(push(&mut harness, 20, 384, false), [20; 384]);
    }
    let warnings: Vec<_> =
        std::iter::from_fn(|| bus.pop_filtered(&[gst::MessageType::Warning])).collect();
    assert_eq!(warnings.len(), 1);
    let gst::MessageView::Warning(warning) = warnings[0].view() else {
        unreachable!("only warnings were asked for");
    };
    let text = warning.error().to_string();
    assert!(text.contains("0123456789abcdef"), "{text}");
    // Nonsense in an event is no hint.
    harness.push_event(hint("né", 0.5));
    assert_eq!(push(&mut harness, 30, 384, false), [30; 384]);
}

#[test]
fn other_nets_and_missing_files_are_refused_with_the_reason() {
    crate::init();
    let wrong = Model::new()
        .input("x", ty::F32, &[Dim::Fixed(1)])
        .output("z", ty::F32, &[Dim::Fixed(1)])
        .node("Identity", &["x"], &["z"], &[])
        .finish();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), wrong).unwrap();
    for (path, words) in [
        (
            file.path().to_path_buf(),
            "is no restoration net: it has no \"y\"",
        ),
        ("/no/such/net.onnx".into(), "/no/such/net.onnx"),
    ] {
        let element = gst::ElementFactory::make("airestore")
            .property("model-location", path.to_str())
            .build()
            .unwrap();
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        assert!(element.set_state(gst::State::Paused).is_err());
        let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
        let gst::MessageView::Error(error) = message.view() else {
            unreachable!("only errors were asked for");
        };
        let text = error.error().to_string();
        assert!(text.contains(words), "{text}");
        element.set_state(gst::State::Null).unwrap();
    }
}
