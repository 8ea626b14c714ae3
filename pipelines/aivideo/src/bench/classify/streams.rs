// SPDX-License-Identifier: Apache-2.0
//! Live cameras, each in its own thread at 25 frames a second, that share the built-in model: how
//! long a frame is in the element, beside one that does nothing, and how many clips get a result.

use std::{
    path::Path,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use aivideo_core::meta::ClassificationResult;
use anyhow::{Context, Result};
use gst::prelude::*;
use serde::Serialize;

use super::{Options, caps, decoded, percentile};
use crate::{gstrun, progress::Steps};

const INTERVAL: Duration = Duration::from_millis(40);
/// Different pictures that go round.
const PICTURES: usize = 50;

#[derive(Serialize)]
pub struct Report {
    streams: u32,
    size: (u32, u32),
    seconds: u32,
    batch_size: u32,
    classify: Run,
    identity: Run,
}

#[derive(Serialize)]
struct Run {
    frames: usize,
    /// What the element adds to the latency query, ms.
    latency_query_ms: f64,
    /// Time of a frame in the element, ms.
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Frames that left later than the next one was due.
    over_interval: usize,
    clips: u64,
    dropped: u64,
    results: u64,
    /// From a clip's last frame to the frame that carries its result, median, ms.
    result_after_ms: f64,
    /// Share of all processors that was in use by this process.
    cpu_share: f64,
}

struct Stream {
    times: Vec<f64>,
    delays: Vec<f64>,
    latency: Option<gst::ClockTime>,
    clips: u64,
    dropped: u64,
    results: u64,
}

fn stream(
    element: &str,
    number: u32,
    options: &Options,
    size: (u32, u32),
    pictures: &[gst::Buffer],
    start: &Barrier,
) -> Result<Stream> {
    let element = if element == "identity" {
        gst::ElementFactory::make("identity").build()?
    } else {
        gst::ElementFactory::make(element)
            .property("model-instance-id", "bench")
            .property("device", &options.device)
            .property("num-threads", 1u32)
            .property("batch-size", options.batch_size)
            .build()?
    };
    let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
    harness.play();
    harness.set_src_caps(caps("NV12", size, None));
    harness.set_upstream_latency(gst::ClockTime::ZERO);
    let frames = u64::from(options.seconds) * 25;
    let mut out = Stream {
        times: Vec::with_capacity(frames as usize),
        delays: Vec::new(),
        latency: harness.query_latency(),
        clips: 0,
        dropped: 0,
        results: 0,
    };
    start.wait();
    // Cameras are not in step.
    let began = Instant::now() + INTERVAL * number / options.streams;
    for i in 0..frames {
        let due = began + INTERVAL * i as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut buffer = pictures[(i as usize + number as usize * 7) % pictures.len()].copy();
        let inner = buffer.make_mut();
        let pts = gst::ClockTime::from_mseconds(i * 40);
        inner.set_pts(pts);
        inner.set_duration(gst::ClockTime::from_mseconds(40));
        let entered = Instant::now();
        harness.push(buffer)?;
        out.times.push(entered.elapsed().as_secs_f64() * 1e3);
        let buffer = harness.pull()?;
        for result in ClassificationResult::read_all(&buffer) {
            out.results += 1;
            // The clip's end is where its last frame's successor begins.
            let delay = (pts.nseconds() + 40_000_000).saturating_sub(result.clip_end);
            out.delays.push(delay as f64 / 1e6);
        }
    }
    if element.has_property("stats") {
        let stats: gst::Structure = element.property("stats");
        out.clips = stats.get("clips").unwrap_or(0);
        out.dropped = stats.get("clips-dropped").unwrap_or(0);
    }
    Ok(out)
}

fn measure(
    element: &'static str,
    options: &Options,
    size: (u32, u32),
    pictures: &[gst::Buffer],
) -> Result<Run> {
    let start = Arc::new(Barrier::new(options.streams as usize + 1));
    let (streams, seconds, cpu) = thread::scope(|scope| {
        let threads: Vec<_> = (0..options.streams)
            .map(|number| {
                let start = &start;
                scope.spawn(move || stream(element, number, options, size, pictures, start))
            })
            .collect();
        start.wait();
        let (began, cpu) = (Instant::now(), gstrun::cpu_seconds());
        let streams: Vec<Result<Stream>> = threads
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(stream) => stream,
                Err(_) => Err(anyhow::anyhow!("a stream's thread panicked")),
            })
            .collect();
        (
            streams,
            began.elapsed().as_secs_f64(),
            gstrun::cpu_seconds() - cpu,
        )
    });
    let streams = streams.into_iter().collect::<Result<Vec<_>>>()?;
    let sorted = |values: fn(&Stream) -> &Vec<f64>| {
        let mut all: Vec<f64> = streams.iter().flat_map(values).copied().collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let (times, delays) = (sorted(|s| &s.times), sorted(|s| &s.delays));
    let latency = streams.iter().filter_map(|s| s.latency).max();
    let sum = |value: fn(&Stream) -> u64| streams.iter().map(value).sum();
    Ok(Run {
        frames: times.len(),
        latency_query_ms: latency.map_or(0.0, |latency| latency.nseconds() as f64 / 1e6),
        p50_ms: percentile(&times, 50),
        p99_ms: percentile(&times, 99),
        max_ms: percentile(&times, 100),
        over_interval: times.iter().filter(|ms| **ms > 40.0).count(),
        clips: sum(|s| s.clips),
        dropped: sum(|s| s.dropped),
        results: sum(|s| s.results),
        result_after_ms: percentile(&delays, 50),
        cpu_share: cpu / seconds / thread::available_parallelism()?.get() as f64,
    })
}

pub fn run(options: &Options, video: &Path) -> Result<Report> {
    let mut steps = Steps::new(2);
    let (pictures, size) = steps.run("pictures", 0, |_| {
        let (frames, size) = decoded(video, "NV12", PICTURES)?;
        let width = size.0 as usize;
        if !width.is_multiple_of(4) || !size.1.is_multiple_of(2) {
            anyhow::bail!(
                "the clip's size must be a multiple of 4 x 2, not {}x{}",
                size.0,
                size.1
            );
        }
        let buffers: Vec<gst::Buffer> = frames.into_iter().map(gst::Buffer::from_slice).collect();
        Ok((buffers, size))
    })?;
    let (identity, classify) = steps
        .run("live streams", 0, |bar| {
            bar.set_message("identity");
            let identity = measure("identity", options, size, &pictures)?;
            bar.set_message("vjepa2classify");
            let classify = measure("vjepa2classify", options, size, &pictures)?;
            Ok((identity, classify))
        })
        .context("live streams")?;
    Ok(Report {
        streams: options.streams,
        size,
        seconds: options.seconds,
        batch_size: options.batch_size,
        classify,
        identity,
    })
}

impl Report {
    pub fn print(&self) {
        println!(
            "\n{} live streams of {}x{} NV12 at 25 frames a second, {} s, built-in model, batch-size={}:",
            self.streams, self.size.0, self.size.1, self.seconds, self.batch_size
        );
        println!(
            "{:<16} {:>8} {:>9} {:>9} {:>9} {:>9} {:>8} {:>7}",
            "", "frames", "latency", "p50 ms", "p99 ms", "max ms", "> 40 ms", "CPU"
        );
        for (name, run) in [
            ("identity", &self.identity),
            ("vjepa2classify", &self.classify),
        ] {
            println!(
                "{name:<16} {:>8} {:>6.0} ms {:>9.3} {:>9.3} {:>9.3} {:>8} {:>6.1}%",
                run.frames,
                run.latency_query_ms,
                run.p50_ms,
                run.p99_ms,
                run.max_ms,
                run.over_interval,
                run.cpu_share * 100.0
            );
        }
        let run = &self.classify;
        println!(
            "clips {}, left out {}, results on frames {}; a result comes {:.0} ms after its clip (median)",
            run.clips, run.dropped, run.results, run.result_after_ms
        );
    }
}
