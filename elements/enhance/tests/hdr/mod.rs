// SPDX-License-Identifier: Apache-2.0
//! HDR through the element: caps, light levels, latency, and a file that other programs read.

use std::process::Command;

use gst::prelude::*;
use gst_video::VideoFormat;

use crate::support::*;

fn grey(luma: u8) -> Picture {
    let mut picture = Picture::new(64, 48);
    picture.y.fill(luma);
    picture.u.fill(128);
    picture.v.fill(128);
    picture
}

fn stamped(picture: &Picture, at: u64) -> gst::Buffer {
    let mut buffer = buffer_of(picture, VideoFormat::Nv12, 0);
    let time = buffer.make_mut();
    time.set_pts(gst::ClockTime::from_mseconds(40 * at));
    time.set_duration(gst::ClockTime::from_mseconds(40));
    buffer
}

#[test]
fn sdr_becomes_hdr10_with_measured_levels_after_the_window() {
    let mut h = harness("hdr:to=pq:window=4");
    h.set_src_caps(caps_of(VideoFormat::Nv12, 64, 48));
    let mut query = gst::query::Latency::new();
    let element = h.element().expect("an element");
    let mut out = Vec::new();
    for i in 0..10 {
        let luma = if i == 3 { 200 } else { 90 };
        h.push(stamped(&grey(luma), i)).expect("taken");
        out.extend(std::iter::from_fn(|| h.try_pull()));
        assert_eq!(out.len() as u64, (i + 1).saturating_sub(4), "frame {i}");
    }
    // Upstream of a harness has no latency of its own: what is left is the window's.
    if element.static_pad("src").expect("a pad").query(&mut query) {
        assert_eq!(query.result().1, gst::ClockTime::from_mseconds(160));
    }
    assert!(h.push_event(gst::event::Eos::new()));
    out.extend(std::iter::from_fn(|| h.try_pull()));
    let times: Vec<_> = out
        .iter()
        .filter_map(|b| b.pts())
        .map(|t| t.mseconds() / 40)
        .collect();
    assert_eq!(times, (0..10).collect::<Vec<_>>());

    let caps = out_caps(&mut h);
    let s = caps.structure(0).expect("one structure");
    assert!(["I420_10LE", "P010_10LE"].contains(&s.get("format").expect("a format")));
    assert_eq!(s.get::<&str>("colorimetry"), Ok("bt2100-pq"));
    assert!(s.get::<&str>("mastering-display-info").is_ok());
    let level = s
        .get::<&str>("content-light-level")
        .expect("measured")
        .to_owned();
    let (cll, fall) = level.split_once(':').expect("two numbers");
    let stats = element.property::<gst::Structure>("stats");
    let measured = stats.get::<f64>("hdr-max-cll").expect("measured");
    assert!(
        (cll.parse::<f64>().expect("a number") - measured).abs() <= 1.0,
        "{level} {measured}"
    );
    assert_eq!(cll, fall, "a grey frame is its own mean");
    let info = gst_video::VideoInfo::from_caps(&caps).expect("video");
    assert_eq!(
        info.colorimetry().transfer(),
        gst_video::VideoTransferFunction::Smpte2084
    );
}

#[test]
fn hdr_comes_back_as_sdr() {
    let up = gst::parse::launch(
        "videotestsrc num-buffers=3 pattern=gradient ! video/x-raw,format=I420,width=96,height=64,colorimetry=bt709 ! tee name=t \
         t. ! queue ! aienhance operations=hdr:to=pq:method=c:window=1 ! video/x-raw,format=P010_10LE ! aienhance operations=hdr:to=sdr:method=c ! video/x-raw,format=I420 ! appsink name=there sync=false \
         t. ! queue ! appsink name=here sync=false",
    );
    init();
    let pipeline = match up {
        Ok(pipeline) => pipeline,
        Err(error) => panic!("{error}"),
    };
    let bin = pipeline.downcast_ref::<gst::Bin>().expect("a bin");
    pipeline.set_state(gst::State::Playing).expect("playing");
    let pull = |name: &str| -> Option<gst::Sample> {
        let sink = bin.by_name(name).expect("a sink");
        sink.emit_by_name(
            "try-pull-sample",
            &[&gst::ClockTime::from_seconds(20).nseconds()],
        )
    };
    for i in 0..3 {
        let (here, there) = (
            pull("here").expect("a frame"),
            pull("there").expect("a frame"),
        );
        let picture = |sample: &gst::Sample| {
            picture_of(
                &sample.buffer_owned().expect("a buffer"),
                &sample.caps_owned().expect("caps"),
            )
        };
        let psnr = psnr(&picture(&here).y, &picture(&there).y);
        assert!(psnr > 45.0, "frame {i}: {psnr}");
    }
    pipeline.set_state(gst::State::Null).expect("stopped");
}

#[test]
fn eight_bits_behind_hdr_are_one_clear_error() {
    init();
    for (line, says) in [
        (
            "videotestsrc num-buffers=2 ! video/x-raw,format=I420,width=64,height=48 ! aienhance operations=hdr:to=pq ! video/x-raw,format=I420 ! fakesink",
            "downstream takes only",
        ),
        (
            "videotestsrc num-buffers=2 ! video/x-raw,format=I420,width=64,height=48 ! aienhance operations=hdr:to=sdr ! fakesink",
            "the operations take",
        ),
        (
            "videotestsrc num-buffers=2 ! video/x-raw,format=I420_10LE,width=64,height=48,colorimetry=bt709 ! aienhance operations=hdr:to=sdr ! fakesink",
            "SDR already",
        ),
        (
            "videotestsrc num-buffers=2 ! video/x-raw,format=I420_10LE,width=64,height=48,colorimetry=bt2100-pq ! aienhance operations=hdr:to=pq ! fakesink",
            "PQ already",
        ),
        (
            "videotestsrc num-buffers=2 ! video/x-raw,format=I420,width=64,height=48 ! aienhance operations=hdr,upscale ! fakesink",
            "\"upscale\" cannot take these pictures: it works on 8 bits",
        ),
        (
            "videotestsrc num-buffers=2 ! video/x-raw,format=I420,width=64,height=48 ! aienhance operations=hdr:max-cll=300:max-fall=400 ! fakesink",
            "max-fall=400 is more than max-cll=300",
        ),
    ] {
        let pipeline = gst::parse::launch(line).expect("a pipeline");
        let bus = pipeline.bus().expect("a bus");
        let _ = pipeline.set_state(gst::State::Playing);
        let mut warnings = Vec::new();
        let message = loop {
            let message = bus.timed_pop_filtered(
                gst::ClockTime::from_seconds(20),
                &[
                    gst::MessageType::Error,
                    gst::MessageType::Eos,
                    gst::MessageType::Warning,
                ],
            );
            match message.as_ref().map(|m| m.view()) {
                Some(gst::MessageView::Warning(warning)) => {
                    let debug = warning.debug().unwrap_or_default();
                    warnings.push(format!("{} {debug}", warning.error()));
                }
                _ => break message,
            }
        };
        pipeline.set_state(gst::State::Null).expect("stopped");
        let message = message.expect("an end");
        let gst::MessageView::Error(error) = message.view() else {
            panic!("{line}: no error");
        };
        // Where negotiation found nothing, the source's error is general and a warning explains it.
        let mut text = format!("{} {}", error.error(), error.debug().unwrap_or_default());
        for warning in warnings {
            text.push_str(&warning);
        }
        assert!(text.contains(says), "{line}: {text}");
    }
}

/// SDR to HDR10 through x265enc; ffmpeg must read back what was measured.
#[test]
fn x265_carries_the_metadata() {
    init();
    if gst::ElementFactory::find("x265enc").is_none()
        || gst::ElementFactory::find("h265parse").is_none()
    {
        aivideo_skip::skip!("no x265enc or h265parse here");
        return;
    }
    let Some(ffmpeg) = std::env::var_os("AIVIDEO_FFMPEG") else {
        aivideo_skip::skip!("AIVIDEO_FFMPEG is not set (. ./env.sh sets it)");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hdr10.h265");
    let line = format!(
        "videotestsrc num-buffers=20 pattern=ball ! video/x-raw,format=I420,width=128,height=96,framerate=25/1,colorimetry=bt709 \
         ! aienhance operations=hdr:to=pq name=hdr ! x265enc speed-preset=ultrafast ! h265parse ! filesink location=\"{}\"",
        path.display()
    );
    let pipeline = gst::parse::launch(&line).expect("a pipeline");
    let bus = pipeline.bus().expect("a bus");
    pipeline.set_state(gst::State::Playing).expect("playing");
    let message = bus.timed_pop_filtered(
        gst::ClockTime::from_seconds(60),
        &[gst::MessageType::Error, gst::MessageType::Eos],
    );
    let hdr = pipeline
        .downcast_ref::<gst::Bin>()
        .and_then(|bin| bin.by_name("hdr"))
        .expect("hdr");
    let stats = hdr.property::<gst::Structure>("stats");
    pipeline.set_state(gst::State::Null).expect("stopped");
    assert_eq!(message.map(|m| m.type_()), Some(gst::MessageType::Eos));

    let output = Command::new(&ffmpeg)
        .args(["-hide_banner", "-i"])
        .arg(&path)
        .args(["-vf", "showinfo", "-frames:v", "1", "-f", "null", "-"])
        .output()
        .expect("ffmpeg runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("yuv420p10le"), "{text}");
    assert!(text.contains("bt2020nc/bt2020/smpte2084"), "{text}");
    let cll = stats.get::<f64>("hdr-max-cll").expect("measured");
    let said = text
        .split("MaxCLL=")
        .nth(1)
        .and_then(|t| t.split(|c: char| !c.is_ascii_digit()).next())
        .and_then(|t| t.parse::<f64>().ok());
    let Some(said) = said else {
        panic!("no content light level: {text}");
    };
    assert!(
        (said - cll).abs() <= 1.0,
        "{said} in the file, {cll} measured"
    );
    assert!(text.contains("Mastering display metadata"), "{text}");
}
