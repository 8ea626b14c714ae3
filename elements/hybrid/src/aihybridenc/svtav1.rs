// SPDX-License-Identifier: Apache-2.0
//! `svtav1enc`: how it is told what we want, and what has to be done around it.
//!
//! Read and run with GStreamer 1.26 on SVT-AV1 2.3 (Debian 13): in low delay it waits for a second
//! packet of the frame that it has just encoded, for ever; it announces 1.25 s of latency whatever
//! it is set to, 30 s without a frame rate; it divides by zero below one frame a second; it takes no
//! new bitrate while it runs; at a flush it waits for packets that never come.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use aivideo_core::element::lock;
use gst::prelude::*;

use super::Latency;
use super::base::{Goals, set};
use crate::hint;

pub const FACTORY: &str = "svtav1enc";

/// The smallest side that it takes.
const LEAST_SIDE: u32 = 64;

/// The side that it can code: even, and not below its least.
pub fn fit(side: u32) -> u32 {
    (side & !1).max(LEAST_SIDE)
}

/// Frames that it holds back at most: 0, 17 and 74 were seen, and a few for its own threads.
fn held(latency: Latency) -> u64 {
    match latency {
        Latency::LowDelay => 0,
        Latency::Balanced => 20,
        Latency::File => 80,
    }
}

pub fn configure(element: &gst::Element, goals: &Goals) {
    let (preset, parameters) = match goals.latency {
        Latency::LowDelay => ("8", "pred-struct=1:scm=0"),
        Latency::Balanced => ("8", "lookahead=0:hierarchical-levels=3"),
        Latency::File => ("5", ""),
    };
    set(element, "preset", preset);
    set(element, "parameters-string", parameters);
    // The frames between two key frames, without one of them.
    let between = goals.key_int_max.saturating_sub(1);
    set(element, "intra-period-length", &between.to_string());
    if goals.bitrate > 0 {
        set_bitrate(element, goals.latency, goals.bitrate);
    } else {
        // It takes a level of 0 as none.
        let level = goals.crf(hint::Base::Av1).max(1.0);
        set(element, "crf", &level.to_string());
    }
}

fn set_bitrate(element: &gst::Element, latency: Latency, kbit: u32) {
    let kbit = kbit.min(100_000).to_string();
    set(element, "target-bitrate", &kbit);
    // Both alike make the rate constant, which low delay needs; else it must be left open.
    if latency == Latency::LowDelay {
        set(element, "max-bitrate", &kbit);
    }
}

/// The settings of those that run in this process.
static RUNNING: Mutex<Vec<(Latency, bool)>> = Mutex::new(Vec::new());

/// Room for one encoder. SVT-AV1 keeps tables for the whole process: two encoders of different
/// presets hang or crash, as two `svtav1enc preset=8` and `preset=5` in one pipeline do; alike
/// they work side by side.
pub struct Place((Latency, bool));

impl Place {
    /// None while others run with other settings.
    pub fn take(goals: &Goals) -> Option<Self> {
        let own = (goals.latency, goals.bitrate > 0);
        let mut running = lock(&RUNNING);
        running.iter().all(|other| *other == own).then(|| {
            running.push(own);
            Self(own)
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut running = lock(&RUNNING);
        if let Some(at) = running.iter().position(|other| *other == self.0) {
            running.remove(at);
        }
    }
}

/// A bitrate that is asked for while it runs.
#[derive(Clone, Default)]
pub struct Bitrate(Arc<AtomicU32>);

impl Bitrate {
    pub fn ask(&self, kbit: u32) {
        self.0.store(kbit, Ordering::Release);
    }
}

/// Puts itself around the encoder; `before` is the pad that feeds it.
pub fn attend(before: &gst::Pad, element: &gst::Element, goals: &Goals, bitrate: &Bitrate) {
    let latency = goals.latency;
    let (Some(sink), Some(src)) = (element.static_pad("sink"), element.static_pad("src")) else {
        return;
    };
    mend_events(before, element, &sink, &src);
    answer_latency(&sink, &src, latency);

    let draining = Arc::new(AtomicBool::new(false));
    if goals.bitrate > 0 {
        let (element, sink, draining) = (element.downgrade(), sink, draining.clone());
        let (asked, running) = (bitrate.clone(), goals.bitrate);
        asked.ask(running);
        let running_now = Mutex::new(running);
        before.add_probe(gst::PadProbeType::BUFFER, move |pad, _| {
            let wanted = asked.0.load(Ordering::Acquire);
            let mut running = lock(&running_now);
            if wanted != *running
                && wanted > 0
                && let Some(element) = element.upgrade()
            {
                *running = wanted;
                restart(pad, &element, &sink, &draining, || {
                    set_bitrate(&element, latency, wanted);
                });
            }
            gst::PadProbeReturn::Ok
        });
    }
    src.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, probe| {
        let eos = probe
            .event()
            .is_some_and(|e| e.type_() == gst::EventType::Eos);
        match eos && draining.load(Ordering::Acquire) {
            true => gst::PadProbeReturn::Drop,
            false => gst::PadProbeReturn::Ok,
        }
    });
    if latency == Latency::LowDelay {
        // It asks for packets as long as pushing one is "ok". Any other success ends the loop, and
        // is made "ok" again in front of it.
        hand_on(&src, gst::FlowSuccess::CustomSuccess2);
        hand_on(before, gst::FlowSuccess::Ok);
    }
}

/// Caps get a frame rate, and a flush is a new start.
fn mend_events(before: &gst::Pad, element: &gst::Element, sink: &gst::Pad, src: &gst::Pad) {
    let (element, sink, src) = (element.downgrade(), sink.downgrade(), src.downgrade());
    let mask = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::EVENT_FLUSH;
    before.add_probe(mask, move |pad, probe| {
        let Some(gst::PadProbeData::Event(event)) = &mut probe.data else {
            return gst::PadProbeReturn::Ok;
        };
        if event.type_() == gst::EventType::FlushStop {
            let parts = (element.upgrade(), sink.upgrade(), src.upgrade());
            let (Some(element), Some(sink), Some(src)) = parts else {
                return gst::PadProbeReturn::Ok;
            };
            let stop = event.clone();
            let stopped = element.set_state(gst::State::Null).is_ok();
            start(pad, &element, &sink, stopped, || {
                src.push_event(stop);
            });
            return gst::PadProbeReturn::Drop;
        }
        if let Some(other) = with_frame_rate(event) {
            *event = other;
        }
        gst::PadProbeReturn::Ok
    });
}

/// Pushes buffers on and gives another success for theirs.
fn hand_on(pad: &gst::Pad, success: gst::FlowSuccess) {
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, probe| {
        let Some(gst::PadProbeData::Buffer(buffer)) = probe.data.take() else {
            return gst::PadProbeReturn::Ok;
        };
        let peer = pad.peer().ok_or(gst::FlowError::NotLinked);
        probe.flow_res = peer.and_then(|peer| peer.chain(buffer)).map(|_| success);
        gst::PadProbeReturn::Handled
    });
}

/// Says what it really holds back.
fn answer_latency(sink: &gst::Pad, src: &gst::Pad, latency: Latency) {
    let sink = sink.downgrade();
    let mask = gst::PadProbeType::QUERY_UPSTREAM | gst::PadProbeType::PUSH;
    src.add_probe(mask, move |_, probe| {
        let Some(sink) = sink.upgrade() else {
            return gst::PadProbeReturn::Ok;
        };
        let Some(gst::PadProbeData::Query(query)) = &mut probe.data else {
            return gst::PadProbeReturn::Ok;
        };
        let gst::QueryViewMut::Latency(answer) = query.view_mut() else {
            return gst::PadProbeReturn::Ok;
        };
        if !sink.peer_query(answer) {
            return gst::PadProbeReturn::Drop;
        }
        let info = sink
            .current_caps()
            .and_then(|caps| gst_video::VideoInfo::from_caps(&caps).ok());
        let fps = info.map_or(gst::Fraction::new(0, 1), |info| info.fps());
        let (numer, denom) = (fps.numer().max(0) as u64, fps.denom().max(1) as u64);
        let (numer, denom) = if numer == 0 { (25, 1) } else { (numer, denom) };
        let own = gst::ClockTime::from_nseconds(
            (held(latency) * denom * gst::ClockTime::SECOND.nseconds()) / numer,
        );
        let (live, least, most) = answer.result();
        answer.set(live, least + own, most.map(|most| most + own));
        gst::PadProbeReturn::Handled
    });
}

/// Caps with a frame rate that it can count with, where the ones in the event have none. Frames
/// keep their times.
fn with_frame_rate(event: &gst::Event) -> Option<gst::Event> {
    let gst::EventView::Caps(caps) = event.view() else {
        return None;
    };
    let fps = caps
        .caps()
        .structure(0)?
        .get::<gst::Fraction>("framerate")
        .ok()?;
    let rate = match fps.numer() {
        // What x264enc takes then.
        0 => gst::Fraction::new(25, 1),
        numer if numer < fps.denom() => gst::Fraction::new(1, 1),
        _ => return None,
    };
    let mut caps = caps.caps_owned();
    caps.make_mut().set("framerate", rate);
    Some(
        gst::event::Caps::builder(&caps)
            .seqnum(event.seqnum())
            .build(),
    )
}

/// Lets out what it holds and starts it again, with a key frame, after `change`.
fn restart(
    before: &gst::Pad,
    element: &gst::Element,
    sink: &gst::Pad,
    draining: &AtomicBool,
    change: impl FnOnce(),
) {
    draining.store(true, Ordering::Release);
    sink.send_event(gst::event::Eos::new());
    draining.store(false, Ordering::Release);
    let stopped = element.set_state(gst::State::Null).is_ok();
    change();
    start(before, element, sink, stopped, || ());
}

/// Starts the encoder after it was stopped, and tells it of the stream again, after `first`.
fn start(
    before: &gst::Pad,
    element: &gst::Element,
    sink: &gst::Pad,
    stopped: bool,
    first: impl FnOnce(),
) {
    let started = stopped && element.sync_state_with_parent().is_ok();
    first();
    if !started {
        // Its error is on the bus; the next buffer ends the stream.
        return;
    }
    before.sticky_events_foreach(|event| {
        if event.type_() != gst::EventType::Eos {
            sink.send_event(with_frame_rate(event).unwrap_or_else(|| event.clone()));
        }
        std::ops::ControlFlow::Continue(gst::EventForeachAction::Keep)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_even_and_large_enough() {
        assert_eq!(
            [1, 63, 64, 65, 99, 1080].map(fit),
            [64, 64, 64, 64, 98, 1080]
        );
    }

    #[test]
    fn others_have_no_place_beside_one_that_runs() {
        let goals = |latency, bitrate| Goals {
            latency,
            bitrate,
            quality: 45.0,
            key_int_max: 250,
        };
        let first = Place::take(&goals(Latency::File, 0));
        let second = Place::take(&goals(Latency::File, 0));
        assert!(first.is_some() && second.is_some());
        assert!(Place::take(&goals(Latency::LowDelay, 0)).is_none());
        assert!(Place::take(&goals(Latency::File, 500)).is_none());
        drop(first);
        assert!(Place::take(&goals(Latency::LowDelay, 0)).is_none());
        drop(second);
        assert!(Place::take(&goals(Latency::LowDelay, 0)).is_some());
    }

    #[test]
    fn frame_rates_are_ones_to_count_with() {
        gst::init().expect("GStreamer");
        let rate = |numer, denom| {
            let caps = gst::Caps::builder("video/x-raw")
                .field("framerate", gst::Fraction::new(numer, denom))
                .build();
            let event = with_frame_rate(&gst::event::Caps::new(&caps))?;
            let gst::EventView::Caps(caps) = event.view() else {
                return None;
            };
            caps.caps()
                .structure(0)?
                .get::<gst::Fraction>("framerate")
                .ok()
        };
        assert_eq!(rate(0, 1), Some(gst::Fraction::new(25, 1)));
        assert_eq!(rate(1, 2), Some(gst::Fraction::new(1, 1)));
        assert_eq!(rate(30000, 1001), None);
    }
}
