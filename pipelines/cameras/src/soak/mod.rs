// SPDX-License-Identifier: Apache-2.0
//! `aivideo-cameras soak`: streams whose cameras drop and return, for minutes or days.
//!
//! Each camera is a process of its own, so that it can vanish as cameras do: killed in the middle of
//! a packet, or frozen with the connection open. This process only receives and classifies, so
//! what grows here is ours.

mod camera;
mod stream;
mod usage;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use gst::prelude::*;

use camera::Camera;
use stream::Stream;
use usage::Usage;

#[derive(Args)]
pub struct Options {
    /// Minutes
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Streams
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    streams: u32,
    /// Width and height
    #[arg(long, default_value = "320x180")]
    size: String,
    /// Frames a second
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
    fps: u32,
    /// What the cameras see (default: a test picture)
    #[arg(long)]
    clip: Option<PathBuf>,
    /// Seconds between drops
    #[arg(long, default_value_t = 6.0)]
    every: f64,
    /// Seconds until a camera returns
    #[arg(long, default_value_t = 8.0)]
    away: f64,
    /// Elements between decoder and sink
    #[arg(
        long,
        default_value = "vjepa2classify name=classify model-instance-id=soak ! aioverlay ! aimetaconvert ! video/x-raw ! aimetapublish name=publish method=file file-path=/dev/null"
    )]
    elements: String,
    /// Megabytes that the process may grow by after a third of the time
    #[arg(long, default_value_t = 16.0)]
    growth: f64,
    /// Seconds in which a stream must flow again when its camera is back
    #[arg(long, default_value_t = 30.0)]
    patience: f64,
}

pub fn run(options: &Options) -> Result<()> {
    if !(0.5..=100_000.0).contains(&options.minutes) {
        bail!("--minutes is from 0.5 to 100000");
    }
    crate::serve::size(&options.size)?;
    // The tracer counts what is alive; it is set before GStreamer starts.
    if std::env::var_os("GST_TRACERS").is_none() {
        let program = std::env::current_exe().context("this program's own path")?;
        let error = Command::new(program)
            .args(std::env::args_os().skip(1))
            .env("GST_TRACERS", "leaks")
            .exec();
        bail!("cannot start again with the leaks tracer: {error}");
    }
    gst::init().context("GStreamer does not start")?;
    for name in ["rtspsrc", "rtph264depay", "h264parse", "avdec_h264"] {
        if gst::ElementFactory::find(name).is_none() {
            bail!("the element {name} is missing: run `make bootstrap`, then `. ./env.sh`");
        }
    }
    let folder = tempfile::tempdir().context("no temporary directory")?;
    let pictures = match &options.clip {
        Some(clip) => Some(camera::prepare(clip, folder.path(), options)?),
        None => None,
    };
    let mut cameras = (0..options.streams)
        .map(|number| Camera::start(number, pictures.as_deref(), options))
        .collect::<Result<Vec<_>>>()?;
    let mut streams = Vec::new();
    let before = Usage::now()?;
    for camera in &cameras {
        streams.push(Stream::start(camera.url(), &options.elements)?);
    }
    let result = soak(options, &mut cameras, &streams);
    // Also after a failure: a stream that does not stop is one more thing to know.
    let mut stuck = Vec::new();
    for (number, stream) in streams.into_iter().enumerate() {
        if !stream.stop(Duration::from_secs(20)) {
            stuck.push(number);
        }
    }
    drop(cameras);
    let left = alive();
    let end = Usage::now()?;
    let mut faults = result?;
    if !stuck.is_empty() {
        faults.push(format!("the streams {stuck:?} did not stop within 20 s"));
    }
    println!(
        "before the streams: {} threads, {} files; after them: {:.1} MB, {} threads, {} files, {} GStreamer objects",
        before.threads,
        before.files,
        end.megabytes,
        end.threads,
        end.files,
        left.len()
    );
    // Decoders and the inference library keep pools of threads.
    if end.files > before.files + 8 || end.threads > before.threads + 16 {
        faults.push("threads or files are left after the end".into());
    }
    for object in left.iter().take(10) {
        println!("  {object}");
    }
    if !left.is_empty() {
        faults.push(format!("{} objects are alive after the end", left.len()));
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("; "));
    }
    println!("nothing stuck, nothing leaked");
    Ok(())
}

/// Descriptions of what the leaks tracer still sees.
fn alive() -> Vec<String> {
    let mut found = Vec::new();
    for tracer in gst::active_tracers() {
        if tracer.type_().name() != "GstLeaksTracer" {
            continue;
        }
        let objects = tracer.emit_by_name::<Option<gst::Structure>>("get-live-objects", &[]);
        let Some(objects) = objects else { continue };
        if let Ok(list) = objects.get::<gst::List>("live-objects-list") {
            for entry in list.iter() {
                let Ok(structure) = entry.get::<gst::Structure>() else {
                    continue;
                };
                let text: String = structure.to_string().chars().take(200).collect();
                // What plugins register stays for the life of the process.
                if !text.contains("Factory)") {
                    found.push(text);
                }
                std::mem::forget(structure);
            }
            std::mem::forget(list);
        }
        // The tracer gives objects without a reference for us: giving them back would free them
        // under their owners. The process is about to end.
        std::mem::forget(objects);
    }
    found
}

/// Runs the time; gives what was wrong.
fn soak(options: &Options, cameras: &mut [Camera], streams: &[Stream]) -> Result<Vec<String>> {
    let total = Duration::from_secs_f64(options.minutes * 60.0);
    // Long enough before the end for every camera to be back and to flow.
    let calm = total.saturating_sub(Duration::from_secs_f64(options.away + options.patience));
    let begin = Instant::now();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = |n: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 33) as usize % n
    };
    let (mut next_drop, mut next_sample) = (Duration::from_secs(10), Duration::ZERO);
    let mut usage: Vec<(f64, Usage)> = Vec::new();
    let mut faults = Vec::new();
    println!(
        "{} streams of {} at {} frames/s for {} minutes; a camera drops every {} s for {} s",
        streams.len(),
        options.size,
        options.fps,
        options.minutes,
        options.every,
        options.away
    );
    while begin.elapsed() < total {
        std::thread::sleep(Duration::from_millis(100));
        let now = begin.elapsed();
        for camera in cameras.iter_mut() {
            camera.return_when_due()?;
        }
        if now >= next_drop && now < calm {
            next_drop = now + Duration::from_secs_f64(options.every);
            let up: Vec<usize> = (0..cameras.len()).filter(|i| cameras[*i].is_up()).collect();
            if up.len() * 2 > cameras.len() {
                let away = Duration::from_secs_f64(options.away);
                cameras[up[below(up.len())]].drop_for(away, below(3) == 0)?;
            }
        }
        if now >= next_sample {
            next_sample = now + Duration::from_secs(2);
            usage.push((now.as_secs_f64() / total.as_secs_f64(), Usage::now()?));
        }
        for (number, (camera, stream)) in cameras.iter().zip(streams).enumerate() {
            let up = camera.up_since().map(|since| since.elapsed().as_secs_f64());
            let idle = stream.since_last_frame().as_secs_f64();
            if up.is_some_and(|up| up > options.patience) && idle > options.patience {
                faults.push(format!(
                    "stream {number} is stuck: no frame for {idle:.0} s, its camera up"
                ));
                return Ok(faults);
            }
        }
    }
    report(options, cameras, streams, &usage, &mut faults);
    Ok(faults)
}

fn report(
    options: &Options,
    cameras: &[Camera],
    streams: &[Stream],
    usage: &[(f64, Usage)],
    faults: &mut Vec<String>,
) {
    println!(
        "| stream | drops | freezes | connections | frames | clips | dropped clips | results | published | longest gap |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut drops = 0;
    for (number, (camera, stream)) in cameras.iter().zip(streams).enumerate() {
        let figures = stream.figures();
        drops += camera.drops() + camera.freezes();
        println!(
            "| {number} | {} | {} | {} | {} | {} | {} | {} | {} | {:.1} s |",
            camera.drops(),
            camera.freezes(),
            figures.connections,
            figures.frames,
            figures.clips,
            figures.clips_dropped,
            figures.results,
            figures.published,
            figures.longest_gap.as_secs_f64(),
        );
        if figures.frames == 0
            || (options.elements.contains("vjepa2classify") && figures.results == 0)
        {
            faults.push(format!("stream {number} gave no results"));
        }
        for fault in figures.faults {
            faults.push(format!("stream {number}: {fault}"));
        }
    }
    if drops == 0 {
        faults.push("no camera dropped: the time is too short".into());
    }
    // The first third is for caches and memory pools; streams that are down have fewer threads, so
    // the largest figures are compared.
    let most = |from: f64, to: f64| {
        let part = usage.iter().filter(|(at, _)| (from..to).contains(at));
        part.map(|(_, usage)| *usage)
            .reduce(Usage::most)
            .unwrap_or_default()
    };
    let (early, late) = (most(0.33, 0.66), most(0.66, 1.1));
    println!("| most in the | memory | threads | files |\n|---|---|---|---|");
    for (name, usage) in [("second third", early), ("last third", late)] {
        println!(
            "| {name} | {:.1} MB | {} | {} |",
            usage.megabytes, usage.threads, usage.files
        );
    }
    if late.megabytes > early.megabytes + options.growth {
        faults.push(format!("memory grew by more than {} MB", options.growth));
    }
    if late.threads > early.threads + 4 {
        faults.push(format!(
            "threads grew from {} to {}",
            early.threads, late.threads
        ));
    }
    if late.files > early.files + 4 {
        faults.push(format!(
            "open files grew from {} to {}",
            early.files, late.files
        ));
    }
}
