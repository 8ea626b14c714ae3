// SPDX-License-Identifier: Apache-2.0
//! `aiaudioenhance` as a pipeline sees it.

use gst::prelude::*;

use crate::support::init;

const RATE: u64 = 48_000;

fn harness(properties: &str, caps: &str) -> gst_check::Harness {
    init();
    let element = gst::parse::launch(&format!("aiaudioenhance {properties}")).expect("the element");
    let mut h = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
    h.play();
    h.set_src_caps_str(caps);
    h
}

fn stereo() -> &'static str {
    "audio/x-raw, format=S16LE, layout=interleaved, rate=48000, channels=2"
}

/// `frames` of a tone from frame `start` of the stream.
fn tone(start: u64, frames: u64) -> gst::Buffer {
    let bytes: Vec<u8> = (start..start + frames)
        .flat_map(|n| {
            let value = ((n as f64 * 0.05).sin() * 8000.0) as i16;
            [value.to_le_bytes(), value.to_le_bytes()].concat()
        })
        .collect();
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    let time = |n: u64| gst::ClockTime::from_nseconds(n * 1_000_000_000 / RATE);
    let b = buffer.make_mut();
    b.set_pts(time(start));
    b.set_duration(time(start + frames) - time(start));
    buffer
}

fn pull_all(h: &mut gst_check::Harness) -> Vec<gst::Buffer> {
    std::iter::from_fn(|| h.try_pull()).collect()
}

fn frames(buffers: &[gst::Buffer]) -> u64 {
    buffers.iter().map(|b| b.size() as u64 / 4).sum()
}

/// Each buffer starts where the one before ended.
fn assert_seamless(buffers: &[gst::Buffer]) {
    for pair in buffers.windows(2) {
        let end = pair[0].pts().zip(pair[0].duration()).map(|(p, d)| p + d);
        let off = end.zip(pair[1].pts()).map(|(a, b)| a.absdiff(b));
        assert!(off <= Some(gst::ClockTime::from_nseconds(2)), "{pair:?}");
    }
}

#[test]
fn all_samples_come_out_with_their_time_stamps() {
    let mut h = harness("", stereo());
    let mut pushed = 0;
    for part in [1024, 333, 4800, 48_000, 1, 9600] {
        h.push(tone(pushed, part)).expect("taken");
        pushed += part;
    }
    h.push_event(gst::event::Eos::new());
    let out = pull_all(&mut h);
    assert_eq!(frames(&out), pushed);
    assert_eq!(out[0].pts(), Some(gst::ClockTime::ZERO));
    assert!(out[0].flags().contains(gst::BufferFlags::DISCONT));
    assert_seamless(&out);
}

#[test]
fn latency_is_reported_and_covers_what_is_held_back() {
    let mut h = harness("look-ahead=300000000", stereo());
    h.set_upstream_latency(gst::ClockTime::from_mseconds(10));
    let mut pushed = 0;
    let mut out = Vec::new();
    let latency = h.query_latency().expect("a latency");
    // 300 ms of look-ahead, 5 of the limiter, 20 of RNNoise.
    let own = latency - gst::ClockTime::from_mseconds(10);
    assert!((300..340).contains(&own.mseconds()), "{own}");
    for _ in 0..100 {
        h.push(tone(pushed, 480)).expect("taken");
        pushed += 480;
        out.extend(pull_all(&mut h));
        let held = (pushed - frames(&out)) * 1000 / RATE;
        assert!(held <= own.mseconds() + 1, "{held} ms held back");
    }
    assert!(frames(&out) > 0);
}

#[test]
fn a_jump_in_time_empties_the_element_and_is_passed_on() {
    let mut h = harness("", stereo());
    h.push(tone(0, 9600)).expect("taken");
    let far = tone(480_000, 9600);
    h.push(far).expect("taken");
    h.push_event(gst::event::Eos::new());
    let out = pull_all(&mut h);
    assert_eq!(frames(&out), 19_200);
    let second: Vec<_> = out
        .iter()
        .filter(|b| b.pts() >= Some(gst::ClockTime::from_seconds(9)))
        .collect();
    assert_eq!(second[0].pts(), Some(gst::ClockTime::from_seconds(10)));
    assert!(second[0].flags().contains(gst::BufferFlags::DISCONT));
    let first: u64 = out
        .iter()
        .filter(|b| b.pts() < Some(gst::ClockTime::from_seconds(9)))
        .map(|b| b.size() as u64 / 4)
        .sum();
    assert_eq!(first, 9600);
}

#[test]
fn small_jitter_of_time_stamps_is_no_jump() {
    let mut h = harness("", stereo());
    for n in 0..20_u64 {
        let mut buffer = tone(n * 480, 480);
        let jitter = gst::ClockTime::from_mseconds(n % 3 * 4);
        let pts = buffer.pts().map(|pts| pts + jitter);
        buffer.make_mut().set_pts(pts);
        h.push(buffer).expect("taken");
    }
    h.push_event(gst::event::Eos::new());
    let out = pull_all(&mut h);
    assert_eq!(frames(&out), 9600);
    assert_seamless(&out);
}

#[test]
fn gap_events_come_behind_the_sound_before_them() {
    let mut h = harness("", stereo());
    h.push(tone(0, 4800)).expect("taken");
    let gap = gst::event::Gap::builder(gst::ClockTime::from_mseconds(100))
        .duration(gst::ClockTime::from_mseconds(50))
        .build();
    assert!(h.push_event(gap));
    assert_eq!(frames(&pull_all(&mut h)), 4800);
}

#[test]
fn flushing_drops_what_is_inside() {
    let mut h = harness("", stereo());
    h.push(tone(0, 4800)).expect("taken");
    h.push_event(gst::event::FlushStart::new());
    h.push_event(gst::event::FlushStop::new(true));
    h.push_event(gst::event::Segment::new(&gst::FormattedSegment::<
        gst::ClockTime,
    >::new()));
    h.push(tone(96_000, 4800)).expect("taken");
    h.push_event(gst::event::Eos::new());
    let out = pull_all(&mut h);
    assert_eq!(frames(&out), 4800);
    assert_eq!(out[0].pts(), Some(gst::ClockTime::from_seconds(2)));
}

#[test]
fn stages_come_and_go_while_playing() {
    let mut h = harness("", stereo());
    let element = h.element().expect("an element");
    let mut pushed = 0;
    for (denoise, normalize) in [
        (0.0, true),
        (1.0, true),
        (1.0, false),
        (0.0, false),
        (0.5, true),
    ] {
        element.set_property("denoise", denoise);
        element.set_property("normalize", normalize);
        for _ in 0..10 {
            h.push(tone(pushed, 1000)).expect("taken");
            pushed += 1000;
        }
    }
    h.push_event(gst::event::Eos::new());
    let out = pull_all(&mut h);
    assert_eq!(frames(&out), pushed);
    assert_seamless(&out);
}

#[test]
fn caps_change_in_the_stream() {
    let mut h = harness("", stereo());
    h.push(tone(0, 4800)).expect("taken");
    h.set_src_caps_str("audio/x-raw, format=F32LE, layout=interleaved, rate=44100, channels=1");
    let mut mono = gst::Buffer::from_mut_slice(vec![0_u8; 4 * 4410]);
    mono.make_mut().set_pts(gst::ClockTime::from_mseconds(100));
    h.push(mono).expect("taken");
    h.push_event(gst::event::Eos::new());
    let out = pull_all(&mut h);
    let bytes: usize = out.iter().map(|b| b.size()).sum();
    assert_eq!(bytes, 4800 * 4 + 4410 * 4);
}

#[test]
fn stats_say_what_was_measured_also_after_the_end() {
    let mut h = harness("target-loudness=-20 denoise=0", stereo());
    let element = h.element().expect("an element");
    let stats = element.property::<gst::Structure>("stats");
    assert!(!stats.has_field("input-loudness"));
    for n in 0..100 {
        h.push(tone(n * 4800, 4800)).expect("taken");
    }
    h.push_event(gst::event::Eos::new());
    let check = || {
        let stats = element.property::<gst::Structure>("stats");
        let loudness = stats.get::<f64>("output-loudness").expect("a loudness");
        assert!((loudness + 20.0).abs() < 0.5, "{loudness}");
        assert_eq!(stats.get::<u64>("frames-in"), Ok(480_000));
        assert_eq!(stats.get::<u64>("frames-out"), Ok(480_000));
    };
    check();
    element.set_state(gst::State::Null).expect("stopped");
    check();
}

#[test]
fn a_stream_without_samples_is_an_error_that_says_so() {
    let mut h = harness("", stereo());
    let bus = gst::Bus::new();
    h.element().expect("an element").set_bus(Some(&bus));
    h.push_event(gst::event::Eos::new());
    let message = bus
        .pop_filtered(&[gst::MessageType::Error])
        .expect("an error");
    let gst::MessageView::Error(error) = message.view() else {
        panic!("an error");
    };
    assert!(
        error
            .error()
            .to_string()
            .contains("without a single sample")
    );
}

#[test]
fn half_a_frame_is_an_error() {
    let mut h = harness("", stereo());
    let bus = gst::Bus::new();
    h.element().expect("an element").set_bus(Some(&bus));
    assert!(h.push(gst::Buffer::from_mut_slice(vec![0_u8; 7])).is_err());
    assert!(bus.pop_filtered(&[gst::MessageType::Error]).is_some());
}

#[test]
fn odd_rates_are_refused_in_negotiation() {
    init();
    let element = gst::ElementFactory::make("aiaudioenhance")
        .build()
        .expect("made");
    let caps = element.static_pad("sink").expect("a pad").query_caps(None);
    for odd in [
        "audio/x-raw, format=S16LE, layout=interleaved, rate=4000, channels=1",
        "audio/x-raw, format=S16LE, layout=non-interleaved, rate=48000, channels=1",
        "audio/x-raw, format=U8, layout=interleaved, rate=48000, channels=1",
    ] {
        let odd: gst::Caps = odd.parse().expect("caps");
        assert!(!caps.can_intersect(&odd), "{odd}");
    }
}
