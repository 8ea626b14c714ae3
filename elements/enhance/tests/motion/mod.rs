// SPDX-License-Identifier: Apache-2.0
//! Stabilisation as a pipeline sees it.

use gst::prelude::*;
use gst_video::VideoFormat;

use crate::support::*;

const SIZE: (usize, usize) = (256, 160);

/// Leaves seen by a camera that jumps to and fro.
fn shaken(count: usize) -> Vec<Picture> {
    let (w, h) = SIZE;
    let scene = leaves(w + 16, h + 16, 3);
    (0..count)
        .map(|n| {
            let (dx, dy) = if n % 2 == 0 { (2, 6) } else { (10, 4) };
            let mut picture = Picture::new(w, h);
            for y in 0..h {
                let row = &scene.y[(y + dy) * scene.width + dx..][..w];
                picture.y[y * w..(y + 1) * w].copy_from_slice(row);
            }
            picture.u.fill(120);
            picture.v.fill(130);
            picture
        })
        .collect()
}

fn buffer(n: usize, picture: &Picture) -> gst::Buffer {
    let mut buffer = buffer_of(picture, VideoFormat::I420, 0);
    let b = buffer.make_mut();
    b.set_pts(gst::ClockTime::from_mseconds(40 * n as u64));
    b.set_duration(gst::ClockTime::from_mseconds(40));
    if n == 0 {
        // As sources flag their first buffer.
        b.set_flags(gst::BufferFlags::DISCONT);
    }
    buffer
}

/// Mean difference of the middles of two pictures.
fn difference(a: &Picture, b: &Picture) -> f64 {
    let (w, h) = SIZE;
    let mut sum = 0.0;
    for y in 20..h - 20 {
        for x in 30..w - 30 {
            sum += f64::from(a.y[y * w + x].abs_diff(b.y[y * w + x]));
        }
    }
    sum / ((w - 60) * (h - 40)) as f64
}

#[test]
fn frames_are_steadied_and_keep_their_time_stamps() {
    for look_ahead in [0, 4] {
        let mut h = harness(&format!("stabilize:look-ahead={look_ahead}:border=edge"));
        h.set_src_caps(caps_of(VideoFormat::I420, SIZE.0, SIZE.1));
        let pictures = shaken(16);
        let mut out = Vec::new();
        for (n, picture) in pictures.iter().enumerate() {
            h.push(buffer(n, picture)).expect("taken");
            while let Some(buffer) = h.try_pull() {
                out.push(buffer);
            }
            assert_eq!(
                out.len(),
                (n + 1).saturating_sub(look_ahead),
                "{look_ahead}"
            );
        }
        let latency = h.query_latency().expect("a latency");
        assert_eq!(latency.mseconds(), 40 * look_ahead as u64);
        h.push_event(gst::event::Eos::new());
        while let Some(buffer) = h.try_pull() {
            out.push(buffer);
        }
        assert_eq!(out.len(), 16);
        let caps = out_caps(&mut h);
        let steadied: Vec<Picture> = out.iter().map(|b| picture_of(b, &caps)).collect();
        for (n, buffer) in out.iter().enumerate() {
            assert_eq!(
                buffer.pts(),
                Some(gst::ClockTime::from_mseconds(40 * n as u64))
            );
        }
        let (mut before, mut after) = (0.0, 0.0);
        for n in 6..15 {
            before += difference(&pictures[n], &pictures[n + 1]);
            after += difference(&steadied[n], &steadied[n + 1]);
        }
        let part = if look_ahead == 0 { 0.8 } else { 0.5 };
        assert!(after < part * before, "{look_ahead}: {before} to {after}");
    }
}

#[test]
fn what_it_measured_is_in_stats() {
    let mut h = harness("stabilization:look-ahead=0");
    h.set_src_caps(caps_of(VideoFormat::Nv12, SIZE.0, SIZE.1));
    for picture in shaken(6) {
        h.push(buffer_of(&picture, VideoFormat::Nv12, 8))
            .expect("taken");
    }
    let stats = h
        .element()
        .expect("an element")
        .property::<gst::Structure>("stats");
    assert!(
        stats.get::<f64>("stabilize-agreeing").expect("a figure") >= 8.0,
        "{stats}"
    );
    assert!(
        stats
            .get::<f64>("stabilize-offset-x")
            .expect("a figure")
            .abs()
            > 1.0,
        "{stats}"
    );
}
