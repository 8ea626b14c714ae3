// SPDX-License-Identifier: Apache-2.0
//! airestore with frames that wait for those after them.

use gst::prelude::*;
use gst_check::Harness;

const SIZE: (usize, usize) = (75, 41);

fn harness(look_ahead: u32, format: &str) -> Harness {
    crate::init();
    let element = gst::ElementFactory::make("airestore")
        .property("look-ahead", look_ahead)
        .property("quality", 0.6)
        .property_from_str("base", "h265")
        .build()
        .unwrap();
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    harness.set_src_caps_str(&caps(format, SIZE));
    harness
}

fn caps(format: &str, (width, height): (usize, usize)) -> String {
    format!("video/x-raw,format={format},width={width},height={height},framerate=25/1")
}

fn info(format: &str) -> gst_video::VideoInfo {
    crate::init();
    let caps = caps(format, SIZE).parse::<gst::Caps>().unwrap();
    gst_video::VideoInfo::from_caps(&caps).unwrap()
}

fn clean(x: usize, y: usize) -> i32 {
    60 + x as i32 + 20 * ((x / 9 + y / 7) % 2) as i32
}

/// A picture at rest with coding noise that is another one in each frame.
fn frame(info: &gst_video::VideoInfo, number: usize) -> gst::Buffer {
    let deep = info.format_info().depth()[0] > 8;
    let mut data = vec![100u8; info.size()];
    for (y, row) in data
        .chunks_mut(info.stride()[0] as usize)
        .take(SIZE.1)
        .enumerate()
    {
        for x in 0..SIZE.0 {
            let hash = ((number * 7919 + y * 131 + x) as u32).wrapping_mul(2_654_435_761) >> 13;
            let value = clean(x, y) + (hash % 5) as i32 - 2;
            match deep {
                true => row[2 * x..][..2].copy_from_slice(&((4 * value) as u16).to_le_bytes()),
                false => row[x] = value as u8,
            }
        }
    }
    let mut buffer = gst::Buffer::from_mut_slice(data);
    let pts = gst::ClockTime::from_mseconds(40 * number as u64);
    buffer.get_mut().unwrap().set_pts(pts);
    buffer
}

/// Squared error of a frame's luma, in levels of eight bits.
fn error(info: &gst_video::VideoInfo, buffer: &gst::Buffer) -> f64 {
    let map = buffer.map_readable().unwrap();
    let deep = info.format_info().depth()[0] > 8;
    let mut sum = 0.0;
    for (y, row) in map
        .chunks(info.stride()[0] as usize)
        .take(SIZE.1)
        .enumerate()
    {
        for x in 0..SIZE.0 {
            let value = match deep {
                true => f64::from(u16::from_le_bytes([row[2 * x], row[2 * x + 1]])) / 4.0,
                false => f64::from(row[x]),
            };
            sum += (value - f64::from(clean(x, y))).powi(2);
        }
    }
    sum / (SIZE.0 * SIZE.1) as f64
}

fn pts(buffer: &gst::Buffer) -> u64 {
    buffer.pts().unwrap().mseconds()
}

#[test]
fn frames_come_in_order_and_those_after_them_count() {
    for format in ["I420", "NV12", "I420_10LE"] {
        let info = info(format);
        let mut errors = Vec::new();
        for look_ahead in 0..=2 {
            let mut harness = harness(look_ahead, format);
            for number in 0..6 {
                harness.push(frame(&info, number)).unwrap();
                let there = (number + 1).saturating_sub(look_ahead as usize);
                assert_eq!(harness.buffers_received() as usize, there, "{format}");
            }
            assert!(harness.push_event(gst::event::Eos::new()));
            let out: Vec<gst::Buffer> = (0..6).map(|_| harness.pull().unwrap()).collect();
            assert!(out.iter().map(pts).eq((0..6).map(|n| 40 * n)));
            let chroma = info.offset()[1];
            for frame in &out {
                let map = frame.map_readable().unwrap();
                assert!(map[chroma..].iter().all(|v| *v == 100), "{format}");
            }
            errors.push(error(&info, &out[3]));
        }
        let before = error(&info, &frame(&info, 3));
        assert!(
            errors.iter().all(|e| *e < 0.7 * before),
            "{format}: {errors:?}, {before}"
        );
        // The sets differ, and so does what they make of this noise, which is no encoder's.
        assert!(
            errors[0] != errors[1] && errors[1] != errors[2],
            "{format}: {errors:?}"
        );
    }
}

#[test]
fn the_wait_is_told() {
    for (look_ahead, expected) in [(0, 0), (1, 40), (2, 80)] {
        let mut harness = harness(look_ahead, "I420");
        harness.push(frame(&info("I420"), 0)).unwrap();
        let latency = harness.query_latency().unwrap();
        assert_eq!(latency.mseconds(), expected);
    }
}

/// What follows the frames does not overtake them, and what is flushed does not come.
#[test]
fn other_caps_other_segments_and_flushes() {
    let info = info("I420");
    let mut harness = harness(2, "I420");
    (0..4).for_each(|n| {
        harness.push(frame(&info, n)).unwrap();
    });
    assert_eq!(harness.buffers_received(), 2);
    harness.set_src_caps_str(&caps("I420", (32, 32)));
    assert_eq!(harness.buffers_received(), 4);
    for _ in 0..4 {
        assert_eq!(harness.pull().unwrap().size(), info.size());
    }
    let small = || gst::Buffer::from_mut_slice(vec![80; 32 * 32 * 3 / 2]);
    harness.push(small()).unwrap();
    harness.push_event(gst::event::FlushStart::new());
    harness.push_event(gst::event::FlushStop::new(true));
    harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<
        gst::ClockTime,
    >::new()));
    for _ in 0..3 {
        harness.push(small()).unwrap();
    }
    assert_eq!(harness.buffers_received(), 5);
    assert!(
        harness
            .pull()
            .unwrap()
            .map_readable()
            .unwrap()
            .iter()
            .all(|v| *v == 80)
    );
    harness.push_event(gst::event::Eos::new());
    assert_eq!(harness.buffers_received(), 7);
}

/// Frames that a decoder goes on predicting from are not written to, and what passes passes in its turn.
#[test]
fn shared_frames_stay_and_strength_none_passes() {
    let info = info("I420");
    let mut harness = harness(1, "I420");
    let frames: Vec<gst::Buffer> = (0..4).map(|n| frame(&info, n)).collect();
    for (n, shared) in frames.iter().enumerate() {
        if n == 2 {
            harness.element().unwrap().set_property("strength", 0.0);
        }
        harness.push(shared.clone()).unwrap();
    }
    harness.push_event(gst::event::Eos::new());
    for (n, shared) in frames.iter().enumerate() {
        let before = frame(&info, n);
        assert!(shared.map_readable().unwrap()[..] == before.map_readable().unwrap()[..]);
        let out = harness.pull().unwrap();
        let same = out.map_readable().unwrap()[..] == before.map_readable().unwrap()[..];
        assert_eq!(same, n > 0, "frame {n}");
    }
    let stats = harness
        .element()
        .unwrap()
        .property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("frames-restored"), Ok(1));
    assert_eq!(stats.get::<u64>("frames-passed"), Ok(3));
}
