// SPDX-License-Identifier: Apache-2.0
//! aicodecdec with frames on the stand-in, which leave it on a thread of their own: what comes, and in which
//! order, is what the host's path gives, which sends each frame before it takes the next unit.

use super::*;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What left a decoder.
type Seen = Arc<Mutex<Vec<(String, Option<(gst::Buffer, gst::Caps)>)>>>;

fn note_what_leaves(harness: &Harness) -> Seen {
    let seen = Seen::default();
    let noted = seen.clone();
    let pad = harness.element().unwrap().static_pad("src").unwrap();
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |pad, probe| {
        let entry = match &probe.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let corrupted = buffer.flags().contains(gst::BufferFlags::CORRUPTED);
                let what = format!("frame {:?}, corrupted: {corrupted}", buffer.pts());
                (what, Some((buffer.clone(), pad.current_caps().unwrap())))
            }
            Some(gst::PadProbeData::Event(event)) => {
                let width = match event.view() {
                    gst::EventView::Caps(caps) => caps
                        .caps()
                        .structure(0)
                        .and_then(|s| s.get::<i32>("width").ok()),
                    _ => None,
                };
                (format!("{:?} {width:?}", event.type_()), None)
            }
            _ => return gst::PadProbeReturn::Ok,
        };
        noted.lock().unwrap().push(entry);
        gst::PadProbeReturn::Ok
    });
    seen
}

/// What there is to be done with a decoder.
enum Do {
    Unit(gst::Buffer),
    Caps(gst::Caps),
    Event(gst::Event),
    Flush,
}

fn flush(harness: &mut Harness) {
    harness.push_event(gst::event::FlushStart::new());
    harness.push_event(gst::event::FlushStop::new(true));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    harness.push_event(gst::event::Segment::new(&segment));
}

/// All that came of it, as text and as pictures, and how many events went to the sender.
fn outcome(properties: &str, place: Option<Place>, coded: &gst::Caps, all: &[Do]) -> Outcome {
    let mut harness = decoder_to(properties, &of_format("NV12", place), coded);
    let seen = note_what_leaves(&harness);
    for one in all {
        match one {
            Do::Unit(unit) => drop(harness.push(unit.clone()).unwrap()),
            Do::Caps(caps) => harness.set_src_caps(caps.clone()),
            Do::Event(event) => assert!(harness.push_event(event.clone())),
            Do::Flush => {
                // What is on its way may be lost by that, so none is.
                harness.push_event(gst::event::Gap::new(gst::ClockTime::ZERO, None));
                flush(&mut harness);
            }
        }
    }
    harness.push_event(gst::event::Eos::new());
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let (texts, frames): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
    let pictures = frames.into_iter().flatten();
    Outcome {
        texts,
        pictures: pictures
            .map(|(buffer, caps)| content(buffer, &caps))
            .collect(),
        asked: harness.upstream_events_received(),
    }
}

struct Outcome {
    texts: Vec<String>,
    pictures: Vec<Vec<u8>>,
    asked: u32,
}

/// Does it on the host and on the stand-in as fast as it can, and compares all that comes.
fn compare_all(coded: &gst::Caps, all: &[Do], what: &str) -> usize {
    let wanted = outcome(HOST, None, coded, all);
    let got = outcome(GPU, Some(Place::Cuda), coded, all);
    assert_eq!(got.texts, wanted.texts, "{what}");
    assert_eq!(got.asked, wanted.asked, "{what}: events to the sender");
    assert!(got.pictures == wanted.pictures, "{what}: other pictures");
    got.pictures.len()
}

fn units_of(units: &[gst::Buffer]) -> impl Iterator<Item = Do> {
    units.iter().cloned().map(Do::Unit)
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn what_leaves_is_that_of_the_host_in_its_order() {
    init();
    let (first, first_units) = coded(false, 128, 96, 7);
    let (second, second_units) = coded(false, 72, 50, 4);
    let gap = || gst::event::Gap::new(gst::ClockTime::SECOND, None);
    let all: Vec<Do> = units_of(&first_units[..3])
        .chain([Do::Event(gap())])
        .chain(units_of(&first_units[3..]))
        .chain([Do::Caps(second)])
        .chain(units_of(&second_units))
        .chain([Do::Flush])
        // Nothing before the key frame.
        .chain(units_of(&second_units[1..2]))
        .chain(units_of(&second_units))
        .collect();
    assert_eq!(compare_all(&first, &all, "all of it"), 15);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn losses_are_told_and_shown_as_on_the_host() {
    init();
    let (caps, units) = coded(false, 128, 420, 7);
    let damaged = |unit: &gst::Buffer| {
        let bytes = without_tile(&unit.map_readable().unwrap(), 0);
        let mut out = gst::Buffer::from_mut_slice(bytes);
        unit.copy_into(out.get_mut().unwrap(), gst::BUFFER_COPY_METADATA, 0..0)
            .unwrap();
        out
    };
    let mut lost: Vec<_> = units.clone();
    lost.remove(1);
    let all: Vec<Do> = units_of(&lost).collect();
    compare_all(&caps, &all, "a frame is missing");
    for at in [0, 1, 4] {
        let mut units = units.clone();
        units[at] = damaged(&units[at]);
        let all: Vec<Do> = units_of(&units).collect();
        compare_all(&caps, &all, &format!("a tile of {at} is missing"));
    }
    let mut broken = units.clone();
    broken[2] = gst::Buffer::from_slice([1, 2, 3]);
    let all: Vec<Do> = units_of(&broken).collect();
    compare_all(&caps, &all, "a unit is none");
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn a_flush_leaves_nothing_behind() {
    init();
    let (caps, units) = coded(false, 72, 50, 3);
    let mut host = decoder_to(HOST, &of_format("NV12", None), &caps);
    host.push(units[0].clone()).unwrap();
    let wanted = content(
        host.pull().unwrap(),
        &host.sinkpad().unwrap().current_caps().unwrap(),
    );
    let mut harness = decoder_to(GPU, &of_format("NV12", Some(Place::Cuda)), &caps);
    for round in 0..20 {
        for unit in &units[..1 + round % 3] {
            harness.push(unit.clone()).unwrap();
        }
        // Some may be on its way, and may come or not.
        flush(&mut harness);
        while harness.try_pull().is_some() {}
        harness.push(units[1].clone()).unwrap();
        harness.push(units[0].clone()).unwrap();
        harness.push_event(gst::event::Gap::new(gst::ClockTime::ZERO, None));
        let caps = harness.sinkpad().unwrap().current_caps().unwrap();
        assert!(content(harness.try_pull().unwrap(), &caps) == wanted);
        assert!(harness.try_pull().is_none());
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn one_wait_a_frame_however_fast_units_come() {
    init();
    let (caps, units) = coded(false, 128, 96, 12);
    let mut harness = decoder_to("device=cuda", &of_format("NV12", Some(Place::Cuda)), &caps);
    harness.push(units[0].clone()).unwrap();
    harness.pull().unwrap();
    let before = ["waits", "to-host"].map(driver);
    for unit in &units[1..] {
        harness.push(unit.clone()).unwrap();
    }
    harness.push_event(gst::event::Eos::new());
    let after = ["waits", "to-host"].map(driver);
    assert_eq!([after[0] - before[0], after[1] - before[1]], [11, 0]);
    assert_eq!(harness.buffers_in_queue(), 11);
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn what_downstream_says_stops_the_source() {
    init();
    let (caps, units) = coded(false, 72, 50, 3);
    let mut harness = decoder_to(GPU, &of_format("NV12", Some(Place::Cuda)), &caps);
    harness.push(units[0].clone()).unwrap();
    harness.pull().unwrap();
    let pad = harness.sinkpad().unwrap();
    pad.set_active(false).unwrap();
    // The thread that sends it is told, and tells when the next comes.
    harness.push(units[1].clone()).unwrap();
    let told = harness.push(units[2].clone());
    assert_eq!(told, Err(gst::FlowError::Flushing));
}

/// The proof of the overlap: the GPU is held at work on a frame, and the unit behind it is decoded all the same.
#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn symbols_are_decoded_while_the_gpu_is_at_work_on_the_frame_before() {
    init();
    let (caps, units) = coded(false, 128, 96, 4);
    let mut host = decoder_to(HOST, &of_format("NV12", None), &caps);
    let mut harness = decoder_to(GPU, &of_format("NV12", Some(Place::Cuda)), &caps);
    harness.push(units[0].clone()).unwrap();
    let first = harness.pull().unwrap();
    let element = harness.find_element("aicodecdec").unwrap();
    let decoded = move || {
        let stats = element.property::<gst::Structure>("stats");
        stats.get::<u64>("decoded-frames").unwrap()
    };

    let (waits, launches) = (driver("waits"), driver("launches"));
    aivideo_fakecuda::hold(true);
    // The element has its next unit while the GPU is at work.
    harness.push(units[1].clone()).unwrap();
    assert_eq!(decoded(), 2);
    let started = driver("launches");
    assert!(started > launches, "nothing was started");
    let watched = std::thread::spawn(move || {
        let end = Instant::now() + Duration::from_secs(20);
        while decoded() < 3 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        let seen = (decoded(), driver("waits"), driver("launches"));
        aivideo_fakecuda::hold(false);
        seen
    });
    harness.push(units[2].clone()).unwrap();
    let (decoded, waited, later) = watched.join().unwrap();
    assert_eq!(decoded, 3, "the symbols waited for the frame before");
    assert_eq!(waited, waits, "somebody got on");
    assert!(later > started, "its picture was not begun");
    let caps = harness.sinkpad().unwrap().current_caps().unwrap();
    let frames = [first, harness.pull().unwrap(), harness.pull().unwrap()];
    for (unit, frame) in units.iter().zip(frames) {
        host.push(unit.clone()).unwrap();
        let host_caps = host.sinkpad().unwrap().current_caps().unwrap();
        let wanted = content(host.pull().unwrap(), &host_caps);
        assert!(content(frame, &caps) == wanted);
    }
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn a_stop_may_come_while_a_frame_is_on_its_way() {
    init();
    let (caps, units) = coded(false, 72, 50, 3);
    let mut left = Vec::new();
    for round in 0..12 {
        let mut harness = decoder_to(GPU, &of_format("NV12", Some(Place::Cuda)), &caps);
        for unit in &units[..1 + round % 3] {
            harness.push(unit.clone()).unwrap();
        }
        let element = harness.element().unwrap();
        element.set_state(gst::State::Null).unwrap();
        drop((element, harness));
        left.push(driver("blocks"));
    }
    assert!(
        left[1..].iter().all(|blocks| *blocks <= left[0]),
        "{left:?}"
    );
}
