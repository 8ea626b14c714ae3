// SPDX-License-Identifier: Apache-2.0
//! aihybridenc and aihybriddec with the encoders and decoders of the system.

use std::sync::{Arc, Mutex};

use gst::prelude::*;

use crate::{alone, available};

const BASES: [(&str, &[&str]); 3] = [
    ("av1", &["av1enc", "av1parse", "av1dec"]),
    ("h265", &["x265enc", "h265parse"]),
    ("h264", &["x264enc", "h264parse"]),
];

/// Runs to the end. Gives the sizes of the frames that reach the sink called `out`.
pub fn run(text: &str) -> Result<Vec<(i32, i32)>, String> {
    let pipeline = gst::parse::launch(text).map_err(|error| error.to_string())?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let sizes = Arc::new(Mutex::new(Vec::new()));
    if let Some(sink) = pipeline.by_name("out") {
        let sizes = sizes.clone();
        let pad = sink.static_pad("sink").unwrap();
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, _| {
            let caps = pad.current_caps().unwrap();
            let size = |name| caps.structure(0).unwrap().get::<i32>(name).unwrap_or(0);
            sizes.lock().unwrap().push((size("width"), size("height")));
            gst::PadProbeReturn::Ok
        });
    }
    let bus = pipeline.bus().unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let _ = pipeline.set_state(gst::State::Playing);
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds);
    let result = match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        Some(gst::MessageView::Error(error)) => {
            Err(format!("{} {:?}", error.error(), error.debug()))
        }
        _ => Err("it did not end".into()),
    };
    pipeline.set_state(gst::State::Null).unwrap();
    result.map(|()| sizes.lock().unwrap().clone())
}

fn source(frames: u32, format: &str, width: u32, height: u32) -> String {
    format!(
        "videotestsrc num-buffers={frames} pattern=ball \
         ! video/x-raw,format={format},width={width},height={height},framerate=25/1"
    )
}

#[test]
fn streams_come_back_at_their_size() {
    crate::init();
    let _alone = alone();
    for (base, needed) in BASES {
        if !available(needed) {
            continue;
        }
        for (latency, scale, width, height) in [
            ("low-delay", "1", 144, 96),
            ("balanced", "1/2", 178, 134),
            ("low-delay", "3/4", 146, 99),
        ] {
            let text = format!(
                "{} ! aihybridenc base={base} latency={latency} scale={scale} key-int-max=8 \
                 ! aihybriddec ! fakesink name=out",
                source(12, "I420", width, height)
            );
            let sizes = run(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(sizes, [(width as i32, height as i32); 12], "{text}");
        }
    }
}

/// The next frame goes in only when the one before has come out: nobody holds any back.
#[test]
fn low_delay_holds_no_frame_back() {
    crate::init();
    let _alone = alone();
    for (base, needed) in BASES {
        if !available(needed) {
            continue;
        }
        let text = format!(
            "appsrc name=in is-live=true format=time \
             caps=video/x-raw,format=I420,width=160,height=96,framerate=25/1 \
             ! aihybridenc base={base} latency=low-delay scale=1/2 \
             ! aihybriddec ! appsink name=out sync=false"
        );
        let pipeline = gst::parse::launch(&text).expect("a pipeline");
        let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
        let source = pipeline.by_name("in").expect("a source");
        let sink = pipeline.by_name("out").expect("a sink");
        pipeline.set_state(gst::State::Playing).expect("it starts");
        for n in 0..12u64 {
            let picture: Vec<u8> = (0..160 * 96 * 3 / 2)
                .map(|at| (at as u64 * 7 + n * 13) as u8)
                .collect();
            let mut buffer = gst::Buffer::from_mut_slice(picture);
            {
                let buffer = buffer.get_mut().expect("our own");
                buffer.set_pts(n * 40 * gst::ClockTime::MSECOND);
                buffer.set_duration(40 * gst::ClockTime::MSECOND);
            }
            let flow = source.emit_by_name::<gst::FlowReturn>("push-buffer", &[&buffer]);
            assert_eq!(flow, gst::FlowReturn::Ok, "{base}: frame {n}");
            let wait = gst::ClockTime::from_seconds(20).nseconds();
            let sample = sink.emit_by_name::<Option<gst::Sample>>("try-pull-sample", &[&wait]);
            let sample = sample.unwrap_or_else(|| panic!("{base}: frame {n} is held back"));
            let pts = sample.buffer().and_then(|buffer| buffer.pts());
            assert!(pts.is_some(), "{base}: frame {n} has no time");
        }
        pipeline.set_state(gst::State::Null).expect("it stops");
    }
}

#[test]
fn standard_tools_take_the_stream() {
    crate::init();
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    for (base, needed) in BASES {
        let parser = format!("{base}parse");
        let decoder = match base {
            "av1" => "av1dec",
            "h265" => "avdec_h265",
            _ => "avdec_h264",
        };
        if !available(needed) || !available(&[decoder, "mp4mux", "qtdemux"]) {
            continue;
        }
        let file = folder.path().join(format!("{base}.mp4"));
        let encode = format!(
            "{} ! aihybridenc base={base} latency=low-delay scale=1/2 ! {parser} ! mp4mux \
             ! filesink location={}",
            source(12, "NV12", 256, 192),
            file.display()
        );
        run(&encode).unwrap_or_else(|error| panic!("{encode}: {error}"));
        // A plain decoder shows the small pictures, ours the large ones.
        let plain = format!(
            "filesrc location={} ! qtdemux ! {parser} ! {decoder} ! fakesink name=out",
            file.display()
        );
        assert_eq!(run(&plain).unwrap(), [(128, 96); 12], "{plain}");
        let ours = format!(
            "filesrc location={} ! qtdemux ! aihybriddec ! fakesink name=out",
            file.display()
        );
        assert_eq!(run(&ours).unwrap(), [(256, 192); 12], "{ours}");
    }
}

#[test]
fn it_goes_over_rtp_and_mpeg_ts() {
    crate::init();
    if !available(&[
        "x265enc",
        "rtph265pay",
        "rtph265depay",
        "mpegtsmux",
        "tsdemux",
    ]) {
        return;
    }
    for transport in [
        "h265parse ! rtph265pay config-interval=-1 ! rtph265depay",
        "h265parse ! mpegtsmux ! tsdemux",
    ] {
        let text = format!(
            "{} ! aihybridenc base=h265 latency=low-delay scale=2/3 key-int-max=5 ! {transport} \
             ! aihybriddec ! fakesink name=out",
            source(15, "I420", 192, 96)
        );
        let sizes = run(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(sizes.last(), Some(&(192, 96)), "{text}");
        assert!(sizes.len() >= 14, "{text}: {}", sizes.len());
    }
}

#[test]
fn ten_bits_stay() {
    crate::init();
    let _alone = alone();
    if !available(&["av1enc", "av1dec"]) {
        return;
    }
    let text = format!(
        "{} ! aihybridenc base=av1 latency=low-delay ! aihybriddec \
         ! video/x-raw,format=I420_10LE ! fakesink name=out",
        source(6, "I420_10LE", 128, 96)
    );
    assert_eq!(run(&text).unwrap(), [(128, 96); 6]);
}

/// The size changes at a cut, and again where the caps do.
#[test]
fn sizes_may_change_in_the_stream() {
    crate::init();
    if !available(&["x264enc", "h264parse", "concat"]) {
        return;
    }
    let text = format!(
        "concat name=c ! aihybridenc base=h264 latency=low-delay scale=auto quality=40 ! aihybriddec \
         ! fakesink name=out {} ! c. {} ! c. videotestsrc num-buffers=6 pattern=snow \
         ! video/x-raw,format=I420,width=192,height=128,framerate=25/1 ! c.",
        "videotestsrc num-buffers=6 pattern=solid-color foreground-color=0xff808080 ! video/x-raw,format=I420,width=192,height=128,framerate=25/1",
        "videotestsrc num-buffers=6 pattern=smpte ! video/x-raw,format=I420,width=256,height=144,framerate=25/1",
    );
    let sizes = run(&text).unwrap();
    assert_eq!(sizes[..6], [(192, 128); 6]);
    assert_eq!(sizes[6..12], [(256, 144); 6]);
    assert_eq!(sizes[12..], [(192, 128); 6]);
}

#[test]
fn files_can_be_searched() {
    crate::init();
    if !available(&["x264enc", "h264parse", "matroskamux", "matroskademux"]) {
        return;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let encode = format!(
        "{} ! aihybridenc base=h264 latency=low-delay scale=1/2 key-int-max=10 ! h264parse \
         ! matroskamux ! filesink location={}",
        source(50, "I420", 192, 128),
        file.path().display()
    );
    run(&encode).unwrap();
    let text = format!(
        "filesrc location={} ! matroskademux ! aihybriddec ! fakesink name=out sync=false",
        file.path().display()
    );
    let pipeline = gst::parse::launch(&text)
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    pipeline.set_state(gst::State::Paused).unwrap();
    pipeline.state(gst::ClockTime::from_seconds(30)).0.unwrap();
    let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
    pipeline
        .seek_simple(flags, gst::ClockTime::from_mseconds(1200))
        .unwrap();
    pipeline.state(gst::ClockTime::from_seconds(30)).0.unwrap();
    let sink = pipeline.by_name("out").unwrap();
    let sample = sink.property::<Option<gst::Sample>>("last-sample").unwrap();
    let caps = sample.caps().unwrap().structure(0).unwrap().to_owned();
    assert_eq!((caps.get("width"), caps.get("height")), (Ok(192), Ok(128)));
    let pts = sample.buffer().unwrap().pts().unwrap();
    let from = gst::ClockTime::from_mseconds(1160);
    assert!(pts >= from, "{pts}");
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn without_hints_the_stream_is_shown_as_it_is_coded() {
    crate::init();
    if !available(&["x264enc"]) {
        return;
    }
    let text = format!(
        "{} ! aihybridenc base=h264 latency=low-delay scale=1/2 hints=false ! aihybriddec \
         ! fakesink name=out",
        source(4, "I420", 256, 192)
    );
    assert_eq!(run(&text).unwrap(), [(128, 96); 4]);
}

#[test]
fn bitrate_is_what_was_asked_for_and_may_change() {
    crate::init();
    if !available(&["x264enc"]) {
        return;
    }
    let text = "videotestsrc num-buffers=200 pattern=snow \
        ! video/x-raw,format=I420,width=160,height=96,framerate=25/1 \
        ! aihybridenc name=e base=h264 latency=low-delay bitrate=800 ! fakesink name=out";
    let pipeline = gst::parse::launch(text)
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let (seen, encoder) = (sizes.clone(), pipeline.by_name("e").unwrap());
    let pad = pipeline.by_name("out").unwrap().static_pad("sink").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
        let mut seen = seen.lock().unwrap();
        seen.push(probe.buffer().map_or(0, |buffer| buffer.size()));
        if seen.len() == 100 {
            encoder.set_property("bitrate", 200u32);
        }
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = pipeline
        .bus()
        .unwrap()
        .timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds);
    assert!(matches!(message.unwrap().view(), gst::MessageView::Eos(_)));
    assert_eq!(
        pipeline.by_name("e").unwrap().property::<String>("encoder"),
        "x264enc"
    );
    pipeline.set_state(gst::State::Null).unwrap();
    let sizes = sizes.lock().unwrap();
    let kbit = |from: usize, to: usize| {
        let bytes: usize = sizes[from..to].iter().sum();
        bytes as f64 * 8.0 * 25.0 / 1000.0 / (to - from) as f64
    };
    let (high, low) = (kbit(25, 100), kbit(125, 200));
    assert!((600.0..1000.0).contains(&high), "{high}");
    assert!((120.0..300.0).contains(&low), "{low}");
}

#[test]
fn what_is_missing_is_named() {
    crate::init();
    if gst::ElementFactory::find("x264enc").is_some() {
        // Nothing to see where everything is there; the list of candidates has its unit test.
        let encoder = gst::ElementFactory::make("aihybridenc")
            .property_from_str("base", "h264")
            .build()
            .unwrap();
        encoder.set_state(gst::State::Ready).unwrap();
        encoder.set_state(gst::State::Null).unwrap();
        // And again: nothing was left inside.
        encoder.set_state(gst::State::Ready).unwrap();
        encoder.set_state(gst::State::Null).unwrap();
        assert_eq!(encoder.downcast::<gst::Bin>().unwrap().children().len(), 0);
    }
    // Raw video is no stream that the decoder takes.
    let error = run("videotestsrc num-buffers=2 ! aihybriddec ! fakesink name=out").unwrap_err();
    assert!(error.contains("could not link"), "{error}");
}
