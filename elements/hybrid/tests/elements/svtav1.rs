// SPDX-License-Identifier: Apache-2.0
//! aihybridenc with svtav1enc, which GStreamer has from 1.24 on.

use gst::prelude::*;

use crate::streams::run;
use crate::{alone, available};

const LATENCIES: [&str; 3] = ["low-delay", "balanced", "file"];

fn there() -> bool {
    crate::init();
    available(&["svtav1enc", "av1parse", "av1dec"])
}

fn encoder(text: &str) -> String {
    format!("aihybridenc base=av1 {text}")
}

/// Sizes and key frames of the stream, in order; the hook sees the number of each frame that goes in.
fn coded(
    text: &str,
    hook: impl Fn(usize, &gst::Element) + Send + Sync + 'static,
) -> Vec<(usize, bool)> {
    let pipeline = gst::parse::launch(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let encoder = pipeline.by_name("e").unwrap();
    let input = encoder.static_pad("sink").unwrap();
    let (count, weak) = (std::sync::atomic::AtomicUsize::new(0), encoder.downgrade());
    input.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        hook(n, &weak.upgrade().unwrap());
        gst::PadProbeReturn::Ok
    });
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let into = seen.clone();
    let output = encoder.static_pad("src").unwrap();
    output.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
        let buffer = probe.buffer().unwrap();
        let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        into.lock().unwrap().push((buffer.size(), key));
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let wait = gst::ClockTime::from_seconds(60);
    let message = pipeline.bus().unwrap().timed_pop_filtered(wait, &kinds);
    match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => {}
        Some(gst::MessageView::Error(error)) => {
            panic!("{text}: {} {:?}", error.error(), error.debug())
        }
        _ => panic!("{text}: it did not end"),
    }
    pipeline.set_state(gst::State::Null).unwrap();
    std::mem::take(&mut *seen.lock().unwrap())
}

fn keys(frames: &[(usize, bool)]) -> Vec<usize> {
    (0..frames.len()).filter(|n| frames[*n].1).collect()
}

#[test]
fn every_latency_codes_all_frames_of_any_size_and_rate() {
    if !there() {
        return;
    }
    let _alone = alone();
    for latency in LATENCIES {
        for (width, height, rate, more) in [
            (145, 99, "25/1", ""),
            (50, 40, "25/1", "quality=100"),
            (128, 96, "1/2", "bitrate=200"),
            (128, 96, "0/1", ""),
            (128, 96, "30000/1001", "quality=0 scale=1/2"),
        ] {
            let text = format!(
                "videotestsrc num-buffers=40 pattern=ball \
                 ! video/x-raw,format=NV12,width={width},height={height},framerate=25/1 \
                 ! capssetter caps=video/x-raw,framerate={rate} \
                 ! {} ! aihybriddec ! fakesink name=out sync=false",
                encoder(&format!("latency={latency} {more}"))
            );
            let sizes = run(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(sizes, [(width, height); 40], "{text}");
        }
    }
}

#[test]
fn key_frames_come_in_time_and_when_they_are_asked_for() {
    if !there() {
        return;
    }
    let _alone = alone();
    let source = "videotestsrc num-buffers=40 pattern=ball \
        ! video/x-raw,format=I420,width=128,height=96,framerate=25/1";
    for latency in LATENCIES {
        let text = encoder(&format!("name=e latency={latency} key-int-max=16"));
        let frames = coded(&format!("{source} ! {text} ! fakesink"), |_, _| ());
        assert_eq!(keys(&frames), [0, 16, 32], "{latency}");
    }
    for (latency, rate) in [
        ("low-delay", ""),
        ("low-delay", "bitrate=300"),
        ("balanced", ""),
    ] {
        let text = encoder(&format!("name=e latency={latency} {rate}"));
        let frames = coded(&format!("{source} ! {text} ! fakesink"), |n, encoder| {
            if n == 20 {
                let structure = gst::Structure::builder("GstForceKeyUnit")
                    .field("all-headers", true)
                    .build();
                let pad = encoder.static_pad("src").unwrap();
                assert!(pad.send_event(gst::event::CustomUpstream::new(structure)));
            }
        });
        let keys = keys(&frames);
        // The base class of encoders asks for it with the next frame.
        assert!(
            keys.iter().any(|n| (20..=21).contains(n)),
            "{text}: {keys:?}"
        );
        assert_eq!(frames.len(), 40, "{text}");
    }
}

#[test]
fn bitrate_changes_while_it_runs_and_no_frame_is_lost() {
    if !there() {
        return;
    }
    let _alone = alone();
    for latency in LATENCIES {
        let text = format!(
            "videotestsrc num-buffers=200 pattern=snow \
             ! video/x-raw,format=I420,width=160,height=96,framerate=25/1 ! {} ! fakesink",
            encoder(&format!("name=e latency={latency} bitrate=900"))
        );
        let frames = coded(&text, |n, encoder| {
            if n == 100 {
                encoder.set_property("bitrate", 300u32);
            }
        });
        assert_eq!(frames.len(), 200, "{latency}");
        assert!(
            keys(&frames).iter().any(|n| (99..=101).contains(n)),
            "{latency}: a new start"
        );
        let kbit = |from: usize, to: usize| {
            let bytes: usize = frames[from..to].iter().map(|frame| frame.0).sum();
            bytes as f64 * 8.0 * 25.0 / 1000.0 / (to - from) as f64
        };
        let (high, low) = (kbit(25, 100), kbit(125, 200));
        assert!((450.0..1300.0).contains(&high), "{latency}: {high}");
        // Noise is hard to bring down; a variable rate may take longer for it.
        let most = if latency == "low-delay" {
            400.0
        } else {
            0.85 * high
        };
        assert!(
            (180.0..most).contains(&low),
            "{latency}: {high}, then {low}"
        );
    }
}

#[test]
fn it_announces_what_it_holds_back() {
    if !there() {
        return;
    }
    let _alone = alone();
    for (latency, most) in [("low-delay", 0), ("balanced", 1000), ("file", 3200)] {
        let text = format!(
            "videotestsrc is-live=true pattern=ball \
             ! video/x-raw,format=I420,width=128,height=96,framerate=25/1 ! {} ! fakesink",
            encoder(&format!("name=e latency={latency}"))
        );
        let pipeline = gst::parse::launch(&text)
            .unwrap()
            .downcast::<gst::Pipeline>()
            .unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let encoder = pipeline.by_name("e").unwrap();
        let ask = |pad: &gst::Pad| {
            let mut query = gst::query::Latency::new();
            let (live, least, _) = pad.query(&mut query).then(|| query.result())?;
            live.then(|| least.mseconds())
        };
        let source = encoder.static_pad("sink").unwrap().peer().unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
        let before = loop {
            let caps = source.current_caps();
            if let (Some(_), Some(before)) = (caps, ask(&source)) {
                break before;
            }
            assert!(
                std::time::Instant::now() < until,
                "{latency}: nothing flows"
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        let behind = ask(&encoder.static_pad("src").unwrap()).expect("live");
        let own = behind - before;
        assert!(own <= most && (most == 0 || own > 0), "{latency}: {own} ms");
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

/// As long as what goes in is announced, no frame is late.
#[test]
fn it_holds_back_no_more_than_it_announces() {
    if !there() {
        return;
    }
    let _alone = alone();
    for (latency, announced) in [("low-delay", 0), ("balanced", 20), ("file", 80)] {
        let text = format!(
            "videotestsrc num-buffers=120 pattern=ball \
             ! video/x-raw,format=I420,width=128,height=96,framerate=25/1 ! {} ! fakesink sync=false",
            encoder(&format!("name=e latency={latency}"))
        );
        let pipeline = gst::parse::launch(&text)
            .unwrap()
            .downcast::<gst::Pipeline>()
            .unwrap();
        let encoder = pipeline.by_name("e").unwrap();
        let counts = [0, 1].map(|_| std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0)));
        let held = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        for (name, count) in ["sink", "src"].into_iter().zip(&counts) {
            let (count, other, held) = (count.clone(), counts[0].clone(), held.clone());
            encoder.static_pad(name).unwrap().add_probe(
                gst::PadProbeType::BUFFER,
                move |pad, _| {
                    let n = 1 + count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    if pad.direction() == gst::PadDirection::Src {
                        let gone = other.load(std::sync::atomic::Ordering::SeqCst);
                        held.lock().unwrap().push(gone - n);
                    } else {
                        // A camera gives the encoder time.
                        std::thread::sleep(std::time::Duration::from_millis(8));
                    }
                    gst::PadProbeReturn::Ok
                },
            );
        }
        pipeline.set_state(gst::State::Playing).unwrap();
        let wait = gst::ClockTime::from_seconds(60);
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = pipeline
            .bus()
            .unwrap()
            .timed_pop_filtered(wait, &kinds)
            .unwrap();
        assert!(
            matches!(message.view(), gst::MessageView::Eos(_)),
            "{latency}"
        );
        pipeline.set_state(gst::State::Null).unwrap();
        let held = held.lock().unwrap();
        assert_eq!(held.len(), 120, "{latency}");
        let most = held.iter().copied().max().unwrap();
        eprintln!("{latency}: holds {most} frames");
        assert!(most <= announced, "{latency}: holds {most} frames");
    }
}

/// A seek throws away what is inside, and the stream goes on.
#[test]
fn a_seek_does_not_stop_it() {
    if !there() {
        return;
    }
    let _alone = alone();
    for latency in LATENCIES {
        let text = format!(
            "videotestsrc num-buffers=150 pattern=ball \
             ! video/x-raw,format=I420,width=128,height=96,framerate=25/1 ! {} ! fakesink name=out",
            encoder(&format!("name=e latency={latency}"))
        );
        let pipeline = gst::parse::launch(&text)
            .unwrap()
            .downcast::<gst::Pipeline>()
            .unwrap();
        pipeline.set_state(gst::State::Paused).unwrap();
        pipeline.state(gst::ClockTime::from_seconds(30)).0.unwrap();
        let (done, wait) = std::sync::mpsc::channel();
        let weak = pipeline.downgrade();
        std::thread::spawn(move || {
            let pipeline = weak.upgrade().unwrap();
            let sought = pipeline.seek_simple(gst::SeekFlags::FLUSH, gst::ClockTime::SECOND);
            let _ = done.send(sought.is_ok());
        });
        let limit = std::time::Duration::from_secs(20);
        assert_eq!(wait.recv_timeout(limit), Ok(true), "{latency}: the seek");
        pipeline.set_state(gst::State::Playing).unwrap();
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let wait = gst::ClockTime::from_seconds(30);
        let message = pipeline.bus().unwrap().timed_pop_filtered(wait, &kinds);
        let message = message.unwrap_or_else(|| panic!("{latency}: it did not end"));
        assert!(
            matches!(message.view(), gst::MessageView::Eos(_)),
            "{latency}: {message:?}"
        );
        pipeline.set_state(gst::State::Null).unwrap();
    }
}
