// SPDX-License-Identifier: Apache-2.0
//! Which frames make clips, and where their results come out.

use gst::prelude::*;

use crate::common::{Bench, MS, STEP, grey, probe, probed};

/// Brightness that tells which frame it is.
fn level(index: u64) -> u8 {
    (40 + index * 3) as u8
}

fn close(a: f64, b: u8) -> bool {
    (a - f64::from(b)).abs() < 0.2
}

#[test]
fn sync_results_ride_on_their_own_last_frame() {
    let model = probe();
    let mut bench = Bench::with_probe(
        &model,
        &[
            ("sync", "true"),
            ("frame-stride", "2"),
            ("clip-stride", "5"),
        ],
    );
    bench.caps("RGB", 16, 16);
    let mut starts = Vec::new();
    for i in 0..48 {
        for result in bench.pass(grey(level(i), i)) {
            let start = i - 30;
            assert_eq!(
                (result.clip_start, result.clip_end),
                (start * STEP, (i + 1) * STEP)
            );
            let (first, last) = probed(&result);
            assert!(
                close(first, level(start)) && close(last, level(i)),
                "{first} {last}"
            );
            assert_eq!(result.model, "probe");
            starts.push(start);
        }
    }
    assert_eq!(starts, [0, 5, 10, 15]);
    let posted: Vec<u64> = bench.posted().iter().map(|r| r.clip_start / STEP).collect();
    assert_eq!(posted, starts, "messages say the same");
    assert_eq!(
        (
            bench.stat("clips"),
            bench.stat("results"),
            bench.stat("clips-dropped")
        ),
        (4, 4, 0)
    );
}

#[test]
fn async_results_ride_on_the_next_frame() {
    let model = probe();
    let mut bench = Bench::with_probe(&model, &[]);
    bench.caps("RGB", 16, 16);
    for i in 0..16 {
        assert!(bench.pass(grey(level(i), i)).is_empty());
    }
    bench.wait_answers(1);
    let carried = bench.pass(grey(level(16), 16));
    let [result] = &carried[..] else {
        panic!("{carried:?}");
    };
    assert_eq!((result.clip_start, result.clip_end), (0, 16 * STEP));
    assert!(close(probed(result).1, level(15)));
    assert_eq!(bench.posted(), carried);
    assert!(bench.pass(grey(0, 17)).is_empty(), "each result comes once");
}

#[test]
fn end_of_stream_waits_for_the_pending_result() {
    let model = probe();
    let mut bench = Bench::with_probe(&model, &[]);
    bench.caps("RGB", 16, 16);
    for i in 0..16 {
        bench.pass(grey(level(i), i));
    }
    assert!(bench.harness.push_event(gst::event::Eos::new()));
    let posted = bench.posted();
    assert_eq!(posted.len(), 1);
    assert_eq!(posted[0].clip_end, 16 * STEP);
    let mut last = None;
    while let Some(event) = bench.harness.try_pull_event() {
        last = Some(event.type_());
    }
    assert_eq!(last, Some(gst::EventType::Eos));
}

#[test]
fn an_incomplete_clip_gives_no_result() {
    let model = probe();
    let mut bench = Bench::with_probe(&model, &[]);
    bench.caps("RGB", 16, 16);
    for i in 0..15 {
        bench.pass(grey(level(i), i));
    }
    assert!(bench.harness.push_event(gst::event::Eos::new()));
    assert!(bench.posted().is_empty());
}

/// Pushes ten frames, then `interrupt`, then enough frames for one clip: only that clip counts.
fn begins_anew(interrupt: impl FnOnce(&mut Bench), first: u64, mark: bool) {
    let model = probe();
    let mut bench = Bench::with_probe(&model, &[("sync", "true")]);
    bench.caps("RGB", 16, 16);
    for i in 0..10 {
        assert!(bench.pass(grey(200, i)).is_empty());
    }
    interrupt(&mut bench);
    let mut results = Vec::new();
    for i in first..first + 16 {
        let mut frame = grey(100, i);
        if mark && i == first {
            frame
                .get_mut()
                .unwrap()
                .set_flags(gst::BufferFlags::DISCONT);
        }
        results.extend(bench.pass(frame));
    }
    assert_eq!(results.len(), 1);
    assert_eq!(results[0].clip_start, first * STEP);
    let (a, b) = probed(&results[0]);
    assert!(
        close(a, 100) && close(b, 100),
        "no frame of before: {a} {b}"
    );
    assert_eq!(bench.stat("restarts"), 1);
}

#[test]
fn a_flush_begins_anew() {
    begins_anew(
        |bench| {
            let harness = &mut bench.harness;
            assert!(harness.push_event(gst::event::FlushStart::new()));
            assert!(harness.push_event(gst::event::FlushStop::new(true)));
            let segment = gst::FormattedSegment::<gst::ClockTime>::new();
            assert!(harness.push_event(gst::event::Segment::new(&segment)));
        },
        10,
        false,
    );
}

#[test]
fn a_flush_forgets_pending_results() {
    let model = probe();
    let mut bench = Bench::with_probe(&model, &[]);
    bench.caps("RGB", 16, 16);
    for i in 0..16 {
        bench.pass(grey(200, i));
    }
    bench.wait_answers(1);
    assert!(bench.harness.push_event(gst::event::FlushStart::new()));
    assert!(bench.harness.push_event(gst::event::FlushStop::new(true)));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    assert!(bench.harness.push_event(gst::event::Segment::new(&segment)));
    assert!(bench.pass(grey(100, 16)).is_empty());
    assert!(bench.harness.push_event(gst::event::Eos::new()));
    assert!(bench.posted().is_empty());
}

#[test]
fn a_marked_discontinuity_begins_anew() {
    begins_anew(|_| {}, 10, true);
}

#[test]
fn a_hole_in_time_begins_anew() {
    begins_anew(|_| {}, 60, false);
}

#[test]
fn a_gap_event_begins_anew() {
    begins_anew(
        |bench| {
            let gap = gst::event::Gap::builder(gst::ClockTime::from_nseconds(10 * STEP))
                .duration(gst::ClockTime::from_nseconds(100 * MS))
                .build();
            assert!(bench.harness.push_event(gap));
        },
        10,
        false,
    );
}

#[test]
fn new_caps_begin_anew() {
    let model = probe();
    let mut bench = Bench::with_probe(&model, &[("sync", "true")]);
    bench.caps("RGB", 16, 16);
    for i in 0..10 {
        bench.pass(grey(200, i));
    }
    bench.caps("RGB", 32, 8);
    let mut results = Vec::new();
    for i in 10..26 {
        let frame = gst::Buffer::from_slice(vec![100u8; 32 * 8 * 3]);
        results.extend(bench.pass(crate::common::stamped(frame, i)));
    }
    assert_eq!(results.len(), 1);
    assert_eq!(results[0].clip_start, 10 * STEP);
    assert!(close(probed(&results[0]).0, 100));
}

#[test]
fn top_k_and_threshold_select() {
    let model = probe();
    let mut bench = Bench::with_probe(
        &model,
        &[("sync", "true"), ("clip-stride", "1"), ("top-k", "1")],
    );
    bench.caps("RGB", 16, 16);
    let mut last = Vec::new();
    for i in 0..16 {
        last = bench.pass(grey(level(i), i));
    }
    assert_eq!(last[0].labels, ["last"], "the brightest frame is the last");
    bench
        .element
        .set_property("threshold", last[0].scores[0] + 0.05);
    assert!(bench.pass(grey(level(15), 16)).is_empty());
    bench.element.set_property("threshold", 0.0);
    bench.element.set_property("top-k", 3u32);
    assert_eq!(bench.pass(grey(level(15), 17))[0].labels.len(), 3);
}

#[test]
fn a_busy_model_costs_clips_not_frames() {
    // A clip a frame, pushed far faster than any model of 16 frames answers.
    let mut bench = Bench::new(&[
        ("clip-stride", "1"),
        ("frame-stride", "1"),
        ("num-threads", "1"),
    ]);
    bench.caps("RGB", 16, 16);
    for i in 0..300 {
        bench.pass(grey((i * 37 % 256) as u8, i));
    }
    assert!(bench.harness.push_event(gst::event::Eos::new()));
    let (clips, dropped) = (bench.stat("clips"), bench.stat("clips-dropped"));
    assert_eq!(clips, 285);
    assert!(dropped > 0, "none of {clips} clips left out");
    assert_eq!(bench.posted().len() as u64, clips - dropped);
}

#[test]
fn quality_of_service_never_skips_frames() {
    let model = probe();
    let mut bench = Bench::with_probe(&model, &[("sync", "true"), ("qos", "true")]);
    bench.caps("RGB", 16, 16);
    let mut results = 0;
    for i in 0..32 {
        // Downstream says it is a minute late.
        let late = gst::event::Qos::builder(gst::QOSType::Underflow, 2.0, 60_000_000_000)
            .timestamp(gst::ClockTime::from_nseconds(i * STEP))
            .build();
        bench.harness.push_upstream_event(late);
        results += bench.pass(grey(9, i)).len();
    }
    assert_eq!(results, 2);
}

/// Pushes grey frames at these times (ms), the level telling the time; the clips that came out, as
/// their first and last level.
fn clips_at(properties: &[(&str, &str)], times: &[u64]) -> Vec<(u64, u64)> {
    let model = probe();
    let mut all = vec![("sync", "true")];
    all.extend_from_slice(properties);
    let mut bench = Bench::with_probe(&model, &all);
    bench.caps("RGB", 16, 16);
    let mut clips = Vec::new();
    for time in times {
        let mut frame = gst::Buffer::from_slice(vec![(time / 20) as u8; 16 * 16 * 3]);
        let inner = frame.get_mut().unwrap();
        inner.set_pts(gst::ClockTime::from_mseconds(*time));
        for result in bench.pass(frame) {
            let (first, last) = probed(&result);
            clips.push((first.round() as u64 * 20, last.round() as u64 * 20));
        }
    }
    clips
}

#[test]
fn clips_by_time_do_not_depend_on_the_frame_rate() {
    let strides = [
        ("frame-stride-time", "100000000"),
        ("clip-stride-time", "1000000000"),
    ];
    for step in [20, 50, 100] {
        let times: Vec<u64> = (0..4000 / step).map(|i| i * step).collect();
        assert_eq!(
            clips_at(&strides, &times),
            [(0, 1500), (1000, 2500), (2000, 3500)],
            "a frame each {step} ms"
        );
    }
    // A camera that gives 4 frames a second: the nearest of them, several times.
    let times: Vec<u64> = (0..20).map(|i| i * 250).collect();
    let clips = clips_at(&strides, &times);
    assert!(clips.len() >= 3, "{clips:?}");
    for (k, (first, last)) in clips.iter().enumerate() {
        let start = k as u64 * 1000;
        assert!(
            first.abs_diff(start) <= 140 && last.abs_diff(start + 1500) <= 140,
            "{clips:?}"
        );
    }
}

#[test]
fn inference_interval_leaves_clips_out() {
    let times: Vec<u64> = (0..100).map(|i| i * 40).collect();
    let every = clips_at(&[("clip-stride", "16")], &times);
    let third = clips_at(
        &[("clip-stride", "16"), ("inference-interval", "3")],
        &times,
    );
    assert_eq!(every.len(), 6);
    assert_eq!(third, [every[0], every[3]]);
}

#[test]
fn by_time_a_stream_without_a_rate_needs_both_strides() {
    for (properties, works) in [
        (&[("clip-stride-time", "1000000000")][..], false),
        (
            &[
                ("clip-stride-time", "1000000000"),
                ("frame-stride-time", "40000000"),
            ],
            true,
        ),
    ] {
        let model = probe();
        let mut bench = Bench::with_probe(&model, properties);
        let mut caps = crate::common::caps("RGB", 16, 16);
        caps.get_mut()
            .unwrap()
            .set("framerate", gst::Fraction::new(0, 1));
        bench.harness.set_src_caps(caps);
        assert_eq!(bench.harness.push(grey(1, 0)).is_ok(), works);
        let error = bench.bus.pop_filtered(&[gst::MessageType::Error]);
        assert_eq!(error.is_none(), works);
        if let Some(gst::MessageView::Error(error)) = error.as_ref().map(|error| error.view()) {
            let text = error.error().message().to_string();
            assert!(text.contains("frame-stride-time"), "{text}");
        }
    }
}

#[test]
fn smoothing_lets_the_clips_before_count_until_a_discontinuity() {
    let model = probe();
    let mut bench = Bench::with_probe(
        &model,
        &[
            ("sync", "true"),
            ("clip-stride", "16"),
            ("smoothing", "0.5"),
        ],
    );
    bench.caps("RGB", 16, 16);
    // Probability of "nothing" by brightness, without and with the past.
    let nothing = |level: f64| 1.0 / (1.0 + 2.0 * (8.0 * level / 255.0).exp());
    let mut seen = Vec::new();
    for i in 0..48u64 {
        let mut frame = grey(if i < 16 { 20 } else { 200 }, i);
        if i == 32 {
            frame
                .get_mut()
                .unwrap()
                .set_flags(gst::BufferFlags::DISCONT);
        }
        for result in bench.pass(frame) {
            let index = result.labels.iter().position(|l| l == "nothing").unwrap();
            seen.push(result.scores[index]);
        }
    }
    let want = [
        nothing(20.0),
        (nothing(20.0) + nothing(200.0)) / 2.0,
        nothing(200.0),
    ];
    assert_eq!(seen.len(), 3);
    for (seen, want) in seen.iter().zip(want) {
        assert!((seen - want).abs() < 1e-3, "{seen} for {want}");
    }
}

#[test]
fn a_busy_model_gets_the_newest_clip() {
    let mut bench = Bench::new(&[
        ("clip-stride", "1"),
        ("frame-stride", "1"),
        ("num-threads", "1"),
    ]);
    bench.caps("RGB", 16, 16);
    let last = 120u64;
    for i in 0..last {
        bench.pass(grey((i * 37 % 256) as u8, i));
    }
    assert!(bench.harness.push_event(gst::event::Eos::new()));
    let posted = bench.posted();
    assert!(bench.stat("clips-dropped") > 0, "the model was not busy");
    assert_eq!(
        posted.last().unwrap().clip_end,
        last * STEP,
        "what waits for the model is the newest clip, not the oldest"
    );
}
