// SPDX-License-Identifier: Apache-2.0
//! Parts of the path as bins that are fed and read by hand.

use super::codecs::Codec;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gst::prelude::*;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A pad of ours that feeds a bin, with the requests that come back.
pub(super) struct Feeder {
    pub(super) pad: gst::Pad,
    pub(super) requests: Arc<Mutex<Vec<gst::Event>>>,
}

impl Feeder {
    pub(super) fn new(name: &str, target: &gst::Pad) -> Result<Self> {
        let requests: Arc<Mutex<Vec<gst::Event>>> = Arc::default();
        let into = Arc::clone(&requests);
        let pad = gst::Pad::builder(gst::PadDirection::Src)
            .name(name)
            .event_function(move |_, _, event| {
                if gst_video::ForceKeyUnitEvent::is(&event) {
                    lock(&into).push(event);
                }
                true
            })
            .build();
        pad.set_active(true)?;
        pad.link(target)?;
        Ok(Self { pad, requests })
    }

    pub(super) fn begin(&self, caps: &gst::Caps) {
        self.pad.push_event(gst::event::StreamStart::new("loss"));
        self.pad.push_event(gst::event::Caps::new(caps));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.pad.push_event(gst::event::Segment::new(&segment));
    }
}

/// A pad of ours that collects what comes out of a bin.
pub(super) struct Collector {
    pub(super) pad: gst::Pad,
    pub(super) buffers: Arc<Mutex<Vec<gst::Buffer>>>,
}

impl Collector {
    pub(super) fn new(name: &str, source: &gst::Pad) -> Result<Self> {
        let buffers: Arc<Mutex<Vec<gst::Buffer>>> = Arc::default();
        let (one, many) = (Arc::clone(&buffers), Arc::clone(&buffers));
        let pad = gst::Pad::builder(gst::PadDirection::Sink)
            .name(name)
            .chain_function(move |_, _, buffer| {
                lock(&one).push(buffer);
                Ok(gst::FlowSuccess::Ok)
            })
            .chain_list_function(move |_, _, list| {
                lock(&many).extend(list.iter_owned());
                Ok(gst::FlowSuccess::Ok)
            })
            .event_function(|_, _, _| true)
            .build();
        pad.set_active(true)?;
        source.link(&pad)?;
        Ok(Self { pad, buffers })
    }

    pub(super) fn take(&self) -> Vec<gst::Buffer> {
        std::mem::take(&mut lock(&self.buffers))
    }
}

/// A line of elements between a feeder and a collector.
pub(super) struct Line {
    pub(super) bin: gst::Bin,
    pub(super) input: Feeder,
    pub(super) output: Collector,
}

impl Line {
    pub(super) fn new(description: &str) -> Result<Self> {
        let bin = gst::parse::bin_from_description(description, true)
            .with_context(|| format!("cannot make {description}"))?;
        let pad = |name| bin.static_pad(name).context("a line without ends");
        let input = Feeder::new("feeder", &pad("sink")?)?;
        let output = Collector::new("collector", &pad("src")?)?;
        bin.set_state(gst::State::Playing)
            .with_context(|| format!("cannot start {description}"))?;
        Ok(Self { bin, input, output })
    }

    pub(super) fn push(&self, buffer: gst::Buffer) -> Result<()> {
        match self.input.pad.push(buffer) {
            Ok(_) => Ok(()),
            Err(error) => bail!("{}: {error}", self.bin.name()),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.bin.set_state(gst::State::Null);
    }
}

/// rtpjitterbuffer with a clock that is set by hand, and a receiver behind it.
pub(super) struct Receiver {
    pub(super) clock: gst_check::TestClock,
    pub(super) buffer: gst::Element,
    pub(super) input: Feeder,
    /// What comes out of rtpjitterbuffer, before and after the receiver has dealt with it.
    pub(super) entered: Arc<AtomicU64>,
    pub(super) left: Arc<AtomicU64>,
    /// A packet was given up.
    pub(super) lost: Arc<AtomicBool>,
    /// A key frame has arrived.
    pub(super) key: Arc<AtomicBool>,
    pub(super) line: Arc<Line>,
    _between: gst::Pad,
}

impl Receiver {
    pub(super) fn new(codec: &Codec, latency: u32) -> Result<Self> {
        let line = Arc::new(Line::new(&receiver_line(codec))?);
        let clock = gst_check::TestClock::with_start_time(gst::ClockTime::ZERO);
        let buffer = gst::ElementFactory::make("rtpjitterbuffer")
            .property("latency", latency)
            .property("do-lost", true)
            .build()?;
        buffer.set_clock(Some(&clock))?;
        buffer.set_base_time(gst::ClockTime::ZERO);
        let static_pad = |name| buffer.static_pad(name).context("no pad");
        let input = Feeder::new("packets", &static_pad("sink")?)?;
        let (entered, left) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (lost, key) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let between = {
            let (e1, l1, to1) = (entered.clone(), left.clone(), line.clone());
            let (e2, l2, to2) = (entered.clone(), left.clone(), line.clone());
            let gone = lost.clone();
            gst::Pad::builder(gst::PadDirection::Sink)
                .name("between")
                .chain_function(move |_, _, buffer| {
                    e1.fetch_add(1, Ordering::SeqCst);
                    let result = to1.input.pad.push(buffer);
                    l1.fetch_add(1, Ordering::SeqCst);
                    result
                })
                .event_function(move |_, _, event| {
                    e2.fetch_add(1, Ordering::SeqCst);
                    if event
                        .structure()
                        .is_some_and(|s| s.name() == "GstRTPPacketLost")
                    {
                        gone.store(true, Ordering::SeqCst);
                    }
                    let result = to2.input.pad.push_event(event);
                    l2.fetch_add(1, Ordering::SeqCst);
                    result
                })
                .build()
        };
        between.set_active(true)?;
        static_pad("src")?.link(&between)?;
        let decoder = line.bin.by_name("decoder").context("no decoder")?;
        let seen = key.clone();
        let pad = decoder.static_pad("sink").context("no pad")?;
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer()
                && !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
            {
                seen.store(true, Ordering::SeqCst);
            }
            gst::PadProbeReturn::Ok
        });
        buffer.set_state(gst::State::Playing)?;
        Ok(Self {
            clock,
            buffer,
            input,
            entered,
            left,
            lost,
            key,
            line,
            _between: between,
        })
    }

    /// Waits until nothing moves any more.
    pub(super) fn settle(&self) {
        let count = || {
            (
                self.entered.load(Ordering::SeqCst),
                self.left.load(Ordering::SeqCst),
            )
        };
        let mut last = (count(), Instant::now());
        loop {
            std::thread::sleep(Duration::from_micros(300));
            let now = count();
            if now != last.0 || now.0 != now.1 {
                last = (now, Instant::now());
            } else if last.1.elapsed() > Duration::from_millis(4) {
                return;
            }
        }
    }

    /// Lets time pass, timer by timer.
    pub(super) fn advance(&self, to: gst::ClockTime) {
        loop {
            self.settle();
            match self.clock.next_entry_time() {
                Some(next) if next <= to => {
                    if next > self.clock.time() {
                        self.clock.set_time(next);
                    }
                    self.clock.process_next_clock_id();
                }
                _ => break,
            }
        }
        self.clock.set_time(to);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // The buffer's thread may wait for the clock.
        let _ = self.buffer.set_state(gst::State::Null);
    }
}

pub(super) fn receiver_line(codec: &Codec) -> String {
    format!(
        "{} ! videoconvert ! capsfilter caps=video/x-raw,format=I420",
        codec.receive
    )
}
