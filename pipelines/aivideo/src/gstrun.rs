// SPDX-License-Identifier: Apache-2.0
//! Runs a pipeline in this process to its end and times one element of it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gst::prelude::*;
use gst_video::prelude::*;

/// No buffer for so long means that the pipeline hangs.
const STALL: Duration = Duration::from_secs(90);

#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    pub frames: u64,
    /// From the first buffer that entered the element to the last that left it.
    pub seconds: f64,
    /// Processor time of all threads of this process between the same two moments.
    pub cpu_seconds: f64,
    /// Bytes in the buffers that entered the element.
    pub bytes_in: u64,
    /// Size of the pictures that left it, where they are raw.
    pub size: Option<(u32, u32)>,
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
    cpu: (f64, f64),
    bytes_in: u64,
    frames: u64,
}

/// Processor time of this process until now.
pub fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
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

/// Writes the frames that reach a sink as raw planes without any padding. GStreamer's own rows are
/// padded to four bytes, which no other program expects in a raw file.
struct FrameWriter {
    file: BufWriter<File>,
    error: Option<anyhow::Error>,
}

impl FrameWriter {
    fn add(&mut self, pad: &gst::Pad, buffer: &gst::BufferRef) -> Result<()> {
        let caps = pad.current_caps().context("frames without caps")?;
        let info = gst_video::VideoInfo::from_caps(&caps)?;
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info)?;
        for plane in 0..frame.n_planes() {
            let data = frame.plane_data(plane)?;
            let stride = usize::try_from(frame.plane_stride()[plane as usize])?;
            // Components of one plane lie between each other.
            let width = frame.comp_width(plane) as usize * frame.comp_pstride(plane) as usize;
            for row in data.chunks(stride).take(frame.comp_height(plane) as usize) {
                let row = row.get(..width).context("a frame that is too small")?;
                self.file.write_all(row)?;
            }
        }
        Ok(())
    }
}

/// Runs `description`, and writes the frames that reach its sink called `frames` to `raw`.
pub fn run_to_file(
    description: &str,
    measured: &str,
    raw: &Path,
    progress: impl FnMut(u64),
) -> Result<Timing> {
    let file = File::create(raw).with_context(|| format!("cannot write {}", raw.display()))?;
    let writer = Arc::new(Mutex::new(FrameWriter {
        file: BufWriter::with_capacity(1 << 20, file),
        error: None,
    }));
    let inside = Arc::clone(&writer);
    let timing = run_prepared(
        description,
        measured,
        move |pipeline| {
            let pad = pipeline
                .by_name("frames")
                .and_then(|sink| sink.static_pad("sink"))
                .context("no sink called frames")?;
            pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
                let mut writer = lock(&inside);
                if writer.error.is_none()
                    && let Some(buffer) = info.buffer()
                    && let Err(error) = writer.add(pad, buffer)
                {
                    writer.error = Some(error);
                }
                gst::PadProbeReturn::Ok
            });
            Ok(())
        },
        progress,
    )?;
    let mut writer = lock(&writer);
    if let Some(error) = writer.error.take() {
        return Err(error.context(format!("writing {}", raw.display())));
    }
    writer.file.flush()?;
    Ok(timing)
}

/// Runs `description` to EOS. Buffers leaving the element called `measured` are counted and timed;
/// `progress` is told their number now and then.
pub fn run(description: &str, measured: &str, progress: impl FnMut(u64)) -> Result<Timing> {
    run_prepared(description, measured, |_| Ok(()), progress)
}

fn run_prepared(
    description: &str,
    measured: &str,
    prepare: impl FnOnce(&gst::Pipeline) -> Result<()>,
    progress: impl FnMut(u64),
) -> Result<Timing> {
    run_between(description, (measured, measured), prepare, progress)
}

/// As [`run`], from the buffers that enter the first element to those that leave the second; `prepare`
/// sees the pipeline before it starts.
pub fn run_between(
    description: &str,
    (measured, last): (&str, &str),
    prepare: impl FnOnce(&gst::Pipeline) -> Result<()>,
    mut progress: impl FnMut(u64),
) -> Result<Timing> {
    let pipeline = gst::parse::launch(description)
        .with_context(|| format!("cannot make the pipeline: {description}"))?
        .downcast::<gst::Pipeline>()
        .map_err(|_| anyhow::anyhow!("not a pipeline: {description}"))?;
    let watch = Arc::new(Mutex::new(Watch::default()));
    let find = |name: &str| {
        pipeline
            .by_name(name)
            .with_context(|| format!("no element {name} in: {description}"))
    };
    let (first, element) = (find(measured)?, find(last)?);

    for pad in first.sink_pads() {
        let watch = Arc::clone(&watch);
        // Payloaders push lists of packets.
        let types = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(types, move |_, info| {
            let mut watch = lock(&watch);
            if watch.first_in.is_none() {
                watch.first_in = Some(Instant::now());
                watch.cpu.0 = cpu_seconds();
            }
            if let Some(buffer) = info.buffer() {
                watch.bytes_in += buffer.size() as u64;
            }
            gst::PadProbeReturn::Ok
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
            watch.cpu.1 = cpu_seconds();
            gst::PadProbeReturn::Ok
        });
    }

    prepare(&pipeline)?;
    let result = drive(&pipeline, &watch, &mut progress);
    let size = element
        .static_pad("src")
        .and_then(|pad| pad.current_caps())
        .and_then(|caps| gst_video::VideoInfo::from_caps(&caps).ok())
        .map(|info| (info.width(), info.height()));
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
        cpu_seconds: (watch.cpu.1 - watch.cpu.0).max(0.0),
        bytes_in: watch.bytes_in,
        size,
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
        if crate::interrupt::requested() {
            bail!("interrupted");
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
