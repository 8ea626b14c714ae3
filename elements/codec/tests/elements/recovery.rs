// SPDX-License-Identifier: Apache-2.0
//! Loss and recovery between an encoder and a decoder: what is asked for, and what the answer is
//! worth.

use crate::common::*;
use aivideo_codec::bitstream::{AccessUnit, AccessUnitWriter, FrameType};
use gst::prelude::*;
use gst_check::Harness;

const SIZE: (usize, usize) = (192, 192);

/// An encoder, a decoder that gets everything, and one behind a bad line.
struct Line {
    info: gst_video::VideoInfo,
    encoder: Harness,
    clean: Harness,
    lossy: Harness,
    frame: usize,
}

/// What became of one frame.
struct Sent {
    frame_type: FrameType,
    bytes: usize,
    /// What the receiver shows, and whether it is the same as without loss.
    shown: Option<aivideo_core::pixels::Yuv420>,
    same: bool,
    corrupted: bool,
    requests: Vec<gst::Event>,
}

impl Line {
    fn new(properties: &str) -> Self {
        let info = info(gst_video::VideoFormat::I420, SIZE.0, SIZE.1);
        let encoder = encoder(&format!("tile-rows=1 quality=40 {properties}"), &info);
        Self {
            info,
            encoder,
            clean: parse("aicodecdec"),
            lossy: parse("aicodecdec"),
            frame: 0,
        }
    }

    /// Codes the next frame, and sends what `lose` leaves of it.
    fn send(&mut self, lose: impl Fn(gst::Buffer) -> Option<gst::Buffer>) -> Sent {
        let picture = scene(SIZE.0, SIZE.1, self.frame);
        let first = self.frame == 0;
        let input = buffer(&picture, &self.info, self.frame);
        self.frame += 1;
        self.encoder.push(input).unwrap();
        let unit = self.encoder.pull().unwrap();
        if first {
            let caps = self.encoder.sinkpad().unwrap().current_caps().unwrap();
            self.clean.set_src_caps(caps.clone());
            self.lossy.set_src_caps(caps);
        }
        let frame_type = {
            let data = unit.map_readable().unwrap();
            AccessUnit::parse(&data).unwrap().header.frame_type
        };
        self.clean.push(unit.clone()).unwrap();
        let expected = read(&self.clean.pull().unwrap(), &self.info);
        let bytes = unit.size();
        if let Some(rest) = lose(unit) {
            self.lossy.push(rest).unwrap();
        }
        let shown = self.lossy.try_pull();
        let corrupted = shown
            .as_ref()
            .is_some_and(|b| b.flags().contains(gst::BufferFlags::CORRUPTED));
        let shown = shown.map(|b| read(&b, &self.info));
        let events = std::iter::from_fn(|| self.lossy.try_pull_upstream_event());
        Sent {
            frame_type,
            bytes,
            same: shown.as_ref() == Some(&expected),
            shown,
            corrupted,
            requests: events
                .filter(|e| gst_video::ForceKeyUnitEvent::is(e))
                .collect(),
        }
    }

    fn all(&mut self, count: usize) -> Vec<Sent> {
        (0..count).map(|_| self.send(Some)).collect()
    }

    fn stat(&mut self, element: &str, name: &str) -> u64 {
        let harness = if element == "aicodecenc" {
            &mut self.encoder
        } else {
            &mut self.lossy
        };
        let element = harness.find_element(element).unwrap();
        element
            .property::<gst::Structure>("stats")
            .get(name)
            .unwrap()
    }
}

fn without_tile(unit: gst::Buffer, index: u16) -> Option<gst::Buffer> {
    let data = unit.map_readable().unwrap();
    let parsed = AccessUnit::parse(&data).unwrap();
    let mut writer = AccessUnitWriter::new(parsed.header, parsed.sequence.as_ref());
    for tile in parsed.tiles.iter().flatten().filter(|t| t.index != index) {
        writer.push_tile(tile);
    }
    let mut out = gst::Buffer::from_slice(writer.finish());
    {
        let out = out.get_mut().unwrap();
        out.set_pts(unit.pts());
        out.set_flags(unit.flags());
    }
    Some(out)
}

fn all_headers(event: &gst::Event) -> bool {
    gst_video::UpstreamForceKeyUnitEvent::parse(event)
        .unwrap()
        .all_headers
}

#[test]
fn a_recovery_frame_ends_a_loss() {
    for whole_frame in [true, false] {
        let mut line = Line::new("");
        let key = line.send(Some);
        assert_eq!(key.frame_type, FrameType::Key);
        assert!(line.all(3).iter().all(|s| s.same && s.requests.is_empty()));
        let mut lost = line.send(|unit| {
            if whole_frame {
                None
            } else {
                without_tile(unit, 1)
            }
        });
        if whole_frame {
            assert!(lost.shown.is_none());
            lost = line.send(Some);
        }
        assert!(lost.corrupted && !lost.same);
        // Asked once; the way takes two frames.
        let [request] = &lost.requests[..] else {
            panic!("{} requests", lost.requests.len())
        };
        assert!(!all_headers(request));
        for sent in line.all(2) {
            assert!(sent.corrupted && !sent.same && sent.requests.is_empty());
            assert_eq!(sent.frame_type, FrameType::Inter);
        }
        assert!(line.encoder.push_upstream_event(request.clone()));
        let answer = line.send(Some);
        assert_eq!(answer.frame_type, FrameType::Recovery);
        assert!(
            answer.same && !answer.corrupted,
            "whole frame: {whole_frame}"
        );
        println!(
            "key frame {} bytes, recovery frame {}",
            key.bytes, answer.bytes
        );
        assert!(answer.bytes < key.bytes);
        assert!(
            line.all(3)
                .iter()
                .all(|s| s.same && s.frame_type == FrameType::Inter)
        );
        assert_eq!(line.stat("aicodecenc", "recovery-frames"), 1);
        assert_eq!(line.stat("aicodecenc", "key-frames"), 1);
        assert_eq!(line.stat("aicodecdec", "recoveries"), 1);
        assert_eq!(line.stat("aicodecdec", "requests"), 1);
    }
}

#[test]
fn a_bare_request_is_answered_from_what_is_surely_there() {
    let mut line = Line::new("long-term-delay=160");
    line.all(8);
    line.send(|_| None);
    let bare = || {
        gst_video::UpstreamForceKeyUnitEvent::builder()
            .all_headers(false)
            .build()
    };
    assert!(line.encoder.push_upstream_event(bare()));
    let answer = line.send(Some);
    assert_eq!(answer.frame_type, FrameType::Recovery);
    assert!(answer.same && !answer.corrupted);
    // Too early for anything to have arrived for sure: the key frame is the best guess.
    let mut line = Line::new("long-term-delay=400");
    line.all(2);
    line.send(|_| None);
    assert!(line.encoder.push_upstream_event(bare()));
    let answer = line.send(Some);
    assert!(answer.same && answer.frame_type == FrameType::Recovery);
    // A wrong one: the key frame is damaged. Then only another will do.
    let mut line = Line::new("long-term-delay=400");
    let key = line.send(|unit| without_tile(unit, 0));
    assert!(all_headers(&key.requests[0]));
    assert!(line.encoder.push_upstream_event(bare()));
    let answer = line.send(Some);
    assert!(answer.frame_type == FrameType::Recovery && answer.corrupted);
    assert!(line.encoder.push_upstream_event(key.requests[0].clone()));
    let answer = line.send(Some);
    assert!(answer.same && answer.frame_type == FrameType::Key);
}

#[test]
fn a_damaged_answer_is_asked_for_again() {
    let mut line = Line::new("");
    line.all(4);
    line.send(|_| None);
    let request = line.send(Some).requests.pop().unwrap();
    line.encoder.push_upstream_event(request);
    let answer = line.send(|unit| without_tile(unit, 0));
    assert!(answer.corrupted && answer.frame_type == FrameType::Recovery);
    let request = answer.requests.last().expect("at once").clone();
    line.encoder.push_upstream_event(request);
    let answer = line.send(Some);
    assert!(answer.same && answer.frame_type == FrameType::Recovery);
}

#[test]
fn after_a_report_every_frame_can_be_read() {
    // The first loss costs a tile's symbols until the answer; the next only its own.
    let mut line = Line::new("inter-network=true");
    line.all(4);
    let request = line
        .send(|unit| without_tile(unit, 1))
        .requests
        .pop()
        .unwrap();
    line.all(1);
    let before = line.stat("aicodecdec", "concealed-tiles");
    assert_eq!(before, 2);
    line.encoder.push_upstream_event(request);
    line.all(2);
    line.send(|unit| without_tile(unit, 1));
    line.all(2);
    assert_eq!(line.stat("aicodecdec", "concealed-tiles"), before + 1);
}

#[test]
fn key_frames_remain_for_who_needs_them() {
    // By choice.
    let mut line = Line::new("recovery=key");
    line.all(3);
    line.send(|_| None);
    let request = line.send(Some).requests.pop().unwrap();
    line.encoder.push_upstream_event(request);
    let answer = line.send(Some);
    assert!(answer.same && answer.frame_type == FrameType::Key);

    // One who joins late has nothing to recover from, and says so.
    let mut line = Line::new("");
    line.all(1);
    line.lossy = parse("aicodecdec");
    let caps = line.encoder.sinkpad().unwrap().current_caps().unwrap();
    line.lossy.set_src_caps(caps);
    let joined = line.send(Some);
    assert!(joined.shown.is_none() && all_headers(&joined.requests[0]));
    line.encoder.push_upstream_event(joined.requests[0].clone());
    let answer = line.send(Some);
    assert!(answer.same && answer.frame_type == FrameType::Key);
}

#[test]
fn requests_are_a_choice() {
    for (choice, expected) in [("never", 0), ("needed", 0), ("damage", 1)] {
        let mut line = Line::new("");
        let decoder = line.lossy.find_element("aicodecdec").unwrap();
        decoder.set_property_from_str("request-sync-points", choice);
        line.all(2);
        line.send(|_| None);
        let requests: usize = line.all(3).iter().map(|s| s.requests.len()).sum();
        assert_eq!(requests, expected, "{choice}");
    }
    // Again after the interval: 200 ms are five frames.
    let mut line = Line::new("");
    line.all(2);
    line.send(|_| None);
    let requests: usize = line.all(11).iter().map(|s| s.requests.len()).sum();
    assert_eq!(requests, 3);
}

#[test]
fn what_is_lost_moves_on() {
    // The scene pans; the lost tile's area is better moved on than held.
    let mut line = Line::new("");
    let before = line.all(6).pop().unwrap().shown.unwrap();
    let source = scene(SIZE.0, SIZE.1, line.frame);
    let shown = line.send(|unit| without_tile(unit, 2)).shown.unwrap();
    let error = |picture: &aivideo_core::pixels::Yuv420| {
        let tile = 128 * SIZE.0..;
        let pairs = picture.y[tile.clone()].iter().zip(&source.y[tile]);
        pairs
            .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
            .sum::<f64>()
    };
    println!("held {:.0}, concealed {:.0}", error(&before), error(&shown));
    assert!(error(&shown) < 0.7 * error(&before));
}
