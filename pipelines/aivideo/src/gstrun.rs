// SPDX-License-Identifier: Apache-2.0
//! Runs a pipeline in this process to its end and times one element of it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gst::prelude::*;

/// No buffer for so long means that the pipeline hangs.
const STALL: Duration = Duration::from_secs(90);

#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    pub frames: u64,
    /// From the first buffer that entered the element to the last that left it.
    pub seconds: f64,
}

impl Timing {
    pub fn fps(&self) -> f64 {
        if self.seconds > 0.0 {
            self.frames as f64 / self.seconds
        } else {
            0.0
        }
    }
}

#[derive(Default)]
struct Watch {
    first_in: Option<Instant>,
    last_out: Option<Instant>,
    frames: u64,
}

/// Text of an error message: the element, what it said, and the last line of its details.
pub fn error_text(error: &gst::message::Error) -> String {
    let source = error
        .src()
        .map(|s| s.name().to_string())
        .unwrap_or_else(|| "pipeline".into());
    let mut text = format!("{source}: {}", error.error());
    if let Some(detail) = error.debug().and_then(|debug| {
        // The first line is the place in the source code; what follows is for people.
        debug
            .lines()
            .skip(1)
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .last()
            .map(str::to_owned)
    }) {
        text.push_str(": ");
        text.push_str(&detail);
    }
    text
}

/// Runs `description` to EOS. Buffers leaving the element called `measured` are counted and timed;
/// `progress` is told their number now and then.
pub fn run(description: &str, measured: &str, mut progress: impl FnMut(u64)) -> Result<Timing> {
    let pipeline = gst::parse::launch(description)
        .with_context(|| format!("cannot make the pipeline: {description}"))?
        .downcast::<gst::Pipeline>()
        .map_err(|_| anyhow::anyhow!("not a pipeline: {description}"))?;
    let watch = Arc::new(Mutex::new(Watch::default()));
    let element = pipeline
        .by_name(measured)
        .with_context(|| format!("no element {measured} in: {description}"))?;

    for pad in element.sink_pads() {
        let watch = Arc::clone(&watch);
        // Payloaders push lists of packets.
        let types = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(types, move |_, _| {
            lock(&watch).first_in.get_or_insert_with(Instant::now);
            gst::PadProbeReturn::Remove
        });
    }
    // A sink is timed by what enters it.
    let outputs = element.src_pads();
    let outputs = if outputs.is_empty() {
        element.sink_pads()
    } else {
        outputs
    };
    for pad in outputs {
        let watch = Arc::clone(&watch);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            let mut watch = lock(&watch);
            watch.frames += 1;
            watch.last_out = Some(Instant::now());
            gst::PadProbeReturn::Ok
        });
    }

    let result = drive(&pipeline, &watch, &mut progress);
    let stopped = pipeline.set_state(gst::State::Null);
    result?;
    stopped.context("the pipeline did not stop")?;
    let watch = lock(&watch);
    let seconds = match (watch.first_in, watch.last_out) {
        (Some(first), Some(last)) => last.duration_since(first).as_secs_f64(),
        _ => 0.0,
    };
    Ok(Timing {
        frames: watch.frames,
        seconds,
    })
}

fn drive(
    pipeline: &gst::Pipeline,
    watch: &Mutex<Watch>,
    progress: &mut impl FnMut(u64),
) -> Result<()> {
    let bus = pipeline.bus().context("the pipeline has no bus")?;
    let started = pipeline.set_state(gst::State::Playing);
    let mut seen = (0, Instant::now());
    loop {
        let message = bus.timed_pop_filtered(
            gst::ClockTime::from_mseconds(100),
            &[gst::MessageType::Eos, gst::MessageType::Error],
        );
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Eos(_)) => return Ok(()),
            Some(gst::MessageView::Error(error)) => bail!("{}", error_text(error)),
            _ => {}
        }
        if started.is_err() {
            bail!("the pipeline did not start and no element said why");
        }
        let frames = lock(watch).frames;
        progress(frames);
        if frames != seen.0 {
            seen = (frames, Instant::now());
        } else if seen.1.elapsed() > STALL {
            bail!(
                "the pipeline hangs: no frame for {} s after {frames} frames",
                STALL.as_secs()
            );
        }
    }
}

/// A poisoned lock means that a probe panicked; the figures in it are still the last good ones.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
