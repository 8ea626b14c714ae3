// SPDX-License-Identifier: Apache-2.0
use crate::common::*;
use gst::prelude::*;
use gst_video::VideoFormat::{I420, Nv12};

#[test]
fn downstream_decides_the_form() {
    let info = info(I420, 64, 64);
    let form = |wanted: Option<&str>| {
        let mut harness = parse("aicodecenc");
        if let Some(caps) = wanted {
            harness.set_sink_caps_str(caps);
        }
        harness.set_src_caps(info.to_caps().unwrap());
        harness.push(buffer(&scene(64, 64, 0), &info, 0)).unwrap();
        harness.pull().unwrap();
        let caps = harness.sinkpad().unwrap().current_caps().unwrap();
        let s = caps.structure(0).unwrap();
        assert_eq!(s.name(), "video/x-aicodec");
        assert_eq!(s.get::<&str>("alignment"), Ok("au"));
        assert_eq!(
            (s.get::<i32>("width"), s.get::<i32>("height")),
            (Ok(64), Ok(64))
        );
        s.get::<String>("stream-format").unwrap()
    };
    assert_eq!(form(None), "byte-stream");
    assert_eq!(form(Some("video/x-aicodec, stream-format=frame")), "frame");
    assert_eq!(
        form(Some("video/x-aicodec, stream-format=byte-stream")),
        "byte-stream"
    );
}

#[test]
fn colours_and_aspect_are_kept() {
    for (colorimetry, par) in [
        ("bt709", (4, 3)),
        ("bt601", (1, 1)),
        ("bt2020", (12, 11)),
        ("1:4:0:0", (1, 1)),
    ] {
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", 64)
            .field("height", 48)
            .field("framerate", gst::Fraction::new(30000, 1001))
            .field("pixel-aspect-ratio", gst::Fraction::new(par.0, par.1))
            .field("colorimetry", colorimetry)
            .build();
        let input = gst_video::VideoInfo::from_caps(&caps).unwrap();
        let mut harness = parse("aicodecenc ! aicodecdec");
        harness.set_src_caps(caps);
        harness.push(buffer(&scene(64, 48, 0), &input, 0)).unwrap();
        harness.pull().unwrap();
        let caps = harness.sinkpad().unwrap().current_caps().unwrap();
        let output = gst_video::VideoInfo::from_caps(&caps).unwrap();
        assert_eq!(output.colorimetry(), input.colorimetry(), "{colorimetry}");
        assert_eq!(output.par(), input.par());
        assert_eq!(output.fps(), input.fps());
    }
}

#[test]
fn eos_brings_every_frame() {
    let info = info(Nv12, 64, 64);
    let mut harness = parse("aicodecenc ! aicodecdec");
    harness.set_src_caps(info.to_caps().unwrap());
    for i in 0..5 {
        harness.push(buffer(&scene(64, 64, i), &info, i)).unwrap();
    }
    assert!(harness.push_event(gst::event::Eos::new()));
    assert_eq!(harness.buffers_received(), 5);
    while let Some(event) = harness.try_pull_event() {
        if event.type_() == gst::EventType::Eos {
            return;
        }
    }
    panic!("no EOS came out");
}

#[test]
fn a_flush_begins_anew() {
    let info = info(I420, 64, 64);
    let mut harness = encoder("", &info);
    let mut keys = Vec::new();
    for i in 0..6 {
        if i == 3 {
            assert!(harness.push_event(gst::event::FlushStart::new()));
            assert!(harness.push_event(gst::event::FlushStop::new(true)));
            let segment = gst::FormattedSegment::<gst::ClockTime>::new();
            assert!(harness.push_event(gst::event::Segment::new(&segment)));
        }
        harness.push(buffer(&scene(64, 64, i), &info, i)).unwrap();
        keys.push(is_key(&harness.pull().unwrap()));
    }
    assert_eq!(keys, [true, false, false, true, false, false]);

    // The decoder drops what it had, and goes on with a key frame.
    let (caps, units) = access_units("key-int-max=3", 64, 64, 6);
    let mut harness = decoder(&caps);
    harness.push(units[0].clone()).unwrap();
    harness.push(units[1].clone()).unwrap();
    assert!(harness.push_event(gst::event::FlushStart::new()));
    assert!(harness.push_event(gst::event::FlushStop::new(true)));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    assert!(harness.push_event(gst::event::Segment::new(&segment)));
    harness.push(units[2].clone()).unwrap();
    assert_eq!(harness.buffers_received(), 2);
    harness.push(units[3].clone()).unwrap();
    harness.push(units[4].clone()).unwrap();
    assert_eq!(harness.buffers_received(), 4);
}

#[test]
fn caps_may_change_mid_stream() {
    let mut harness = parse("aicodecenc ! aicodecdec");
    for (i, (format, width, height)) in [
        (I420, 64, 64),
        (I420, 200, 100),
        (Nv12, 200, 100),
        (Nv12, 33, 77),
    ]
    .into_iter()
    .enumerate()
    {
        let info = info(format, width, height);
        harness.set_src_caps(info.to_caps().unwrap());
        for j in 0..2 {
            let picture = scene(width, height, j);
            harness.push(buffer(&picture, &info, 2 * i + j)).unwrap();
            let out = harness.pull().unwrap();
            let caps = harness.sinkpad().unwrap().current_caps().unwrap();
            let out_info = gst_video::VideoInfo::from_caps(&caps).unwrap();
            assert_eq!(
                (out_info.width() as usize, out_info.height() as usize),
                (width, height)
            );
            assert!(psnr(&picture, &read(&out, &out_info)) > 20.0);
        }
    }
}

#[test]
fn key_frames_on_schedule_and_on_request() {
    let info = info(I420, 64, 64);
    let mut harness = encoder("key-int-max=4", &info);
    let mut keys = Vec::new();
    for i in 0..8 {
        if i == 2 {
            let event = gst_video::UpstreamForceKeyUnitEvent::builder()
                .all_headers(true)
                .build();
            assert!(harness.push_upstream_event(event));
        }
        harness.push(buffer(&scene(64, 64, i), &info, i)).unwrap();
        keys.push(is_key(&harness.pull().unwrap()));
    }
    assert_eq!(keys, [true, false, true, false, false, false, true, false]);
    let element = harness.find_element("aicodecenc").unwrap();
    let stats = element.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("key-frames"), Ok(3));
    assert_eq!(stats.get::<u64>("coded-frames"), Ok(8));
}

#[test]
fn quality_changes_while_playing() {
    let info = info(I420, 192, 128);
    let mut harness = encoder("quality=63", &info);
    let element = harness.find_element("aicodecenc").unwrap();
    let mut sizes = Vec::new();
    for i in 0..8 {
        if i == 4 {
            element.set_property("quality", 0u32);
        }
        harness.push(buffer(&scene(192, 128, i), &info, i)).unwrap();
        sizes.push(harness.pull().unwrap().size());
    }
    assert!(
        sizes[1..4].iter().min().unwrap() > &(2 * sizes[4..].iter().max().unwrap()),
        "{sizes:?}"
    );
}

#[test]
fn no_latency_is_claimed() {
    let info = info(I420, 64, 64);
    let mut harness = encoder("", &info);
    harness.push(buffer(&scene(64, 64, 0), &info, 0)).unwrap();
    harness.pull().unwrap();
    let mut query = gst::query::Latency::new();
    assert!(harness.query_latency().is_none_or(|l| l.is_zero()) || query.result().1.is_zero());
    query.set(false, gst::ClockTime::ZERO, gst::ClockTime::NONE);
}

#[test]
fn tiny_and_huge_pictures_are_not_negotiated() {
    init();
    let enc = gst::ElementFactory::make("aicodecenc").build().unwrap();
    let template = enc.pad_template("sink").unwrap().caps().clone();
    for (width, height, ok) in [
        (16, 16, true),
        (8192, 4320, true),
        (15, 16, false),
        (64, 8193, false),
        (0, 0, false),
    ] {
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", width)
            .field("height", height)
            .build();
        assert_eq!(template.can_intersect(&caps), ok, "{width}x{height}");
    }
}

#[test]
fn rate_and_colours_may_change_mid_stream() {
    let (width, height) = (80, 48);
    let mut harness = parse("aicodecenc ! aicodecdec");
    let mut time = gst::ClockTime::ZERO;
    let steps = [
        ((25, 1), "bt601"),
        ((50, 1), "bt601"),
        ((50, 1), "bt709"),
        ((0, 1), "bt2020"),
        ((24000, 1001), "1:4:0:0"),
    ];
    for (step, ((n, d), colorimetry)) in steps.into_iter().enumerate() {
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", width as i32)
            .field("height", height as i32)
            .field("framerate", gst::Fraction::new(n, d))
            .field("colorimetry", colorimetry)
            .build();
        let input = gst_video::VideoInfo::from_caps(&caps).unwrap();
        harness.set_src_caps(caps);
        for j in 0..3 {
            let picture = scene(width, height, 3 * step + j);
            let mut frame = buffer(&picture, &input, 0);
            let duration = gst::ClockTime::from_mseconds(if n == 0 { 7 } else { 20 });
            {
                let frame = frame.get_mut().unwrap();
                frame.set_pts(time);
                frame.set_duration(duration);
            }
            harness.push(frame).unwrap();
            let out = harness.pull().unwrap();
            assert_eq!((out.pts(), out.duration()), (Some(time), Some(duration)));
            time += duration;
            let caps = harness.sinkpad().unwrap().current_caps().unwrap();
            let output = gst_video::VideoInfo::from_caps(&caps).unwrap();
            assert_eq!(output.fps(), input.fps(), "step {step}");
            assert_eq!(output.colorimetry(), input.colorimetry(), "step {step}");
            assert!(psnr(&picture, &read(&out, &output)) > 20.0);
        }
    }
    // Each change begins a new sequence.
    let element = harness.find_element("aicodecenc").unwrap();
    let stats = element.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("key-frames"), Ok(steps.len() as u64));
}

#[test]
fn formats_that_cannot_be_coded_are_refused_by_the_caps() {
    init();
    let enc = gst::ElementFactory::make("aicodecenc").build().unwrap();
    let template = enc.pad_template("sink").unwrap().caps().clone();
    for format in ["I420_12LE", "I420_10BE", "I422_10LE", "Y42B", "Y444"] {
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", format)
            .field("width", 64)
            .field("height", 64)
            .build();
        assert!(!template.can_intersect(&caps), "{format}");
    }
}
