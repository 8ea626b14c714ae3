// SPDX-License-Identifier: Apache-2.0
//! `aivideo bench`: frames a second of each element at 720p, alone in a pipeline, and what the
//! elements cost above the bare ONNX Runtime call.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::demo::{clip, elements, lines};
use crate::progress::Steps;
use crate::rawclip::RawClip;
use crate::{environment, gstrun};

mod classify;
mod gpu;

#[derive(Subcommand)]
enum Part {
    /// The classifier beside transformers on a true-size model, and many cameras at once
    Classify(classify::Options),
    /// Effects at 4K on one core, beside those of ffmpeg, frei0r and GStreamer
    Fx(crate::fx::bench::Options),
    /// Elements, their models and the kernels on an NVIDIA GPU, at 4K and 1080p
    Gpu(gpu::Options),
    /// What each enhancement is worth on real media, beside its peers
    Enhance(crate::enhance::Options),
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// Clip to take frames from (default: bigbuckbunny.mp4, 1280x720)
    #[arg(long)]
    video: Option<PathBuf>,
    /// Frames in one measurement; the classifier needs 31 for one clip
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(64..=10_000))]
    frames: u64,
    /// Rounds; every element runs once in each, and medians are reported
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Only measurements whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Leave out the comparison with the bare ONNX Runtime call (it runs examples with cargo)
    #[arg(long)]
    no_overhead: bool,
    /// Write the figures to this JSON file too
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One measurement: a name and the pipeline whose element `measured` is timed.
struct Case {
    name: String,
    pipeline: String,
}

#[derive(Serialize)]
struct Figure {
    name: String,
    median_fps: f64,
    fps: Vec<f64>,
}

#[derive(Serialize)]
struct Report {
    clip: String,
    size: String,
    frames: u64,
    rounds: u32,
    machine: String,
    gstreamer: String,
    elements: Vec<Figure>,
    /// What the crates' overhead examples printed.
    overhead: Vec<Overhead>,
}

#[derive(Serialize)]
struct Overhead {
    command: String,
    output: String,
}

/// Examples that time an element or the engine against a session without either.
const OVERHEAD: &[(&str, &str)] = &[
    ("aivideo-core", "engine_overhead"),
    ("aivideo-enhance", "enhance_overhead"),
    ("aivideo-classify", "classify_overhead"),
    ("aivideo-codec", "codec_overhead"),
];

const NEEDED: &[&str] = &[
    "aicodecenc",
    "aicodecdec",
    "aicodecparse",
    "rtpaicodecpay",
    "rtpaicodecdepay",
    "vjepa2classify",
    "aienhance",
    "fxfilter",
    "rawvideoparse",
];

pub fn run(options: &Options) -> Result<()> {
    match &options.part {
        Some(Part::Classify(options)) => return classify::run(options),
        Some(Part::Fx(options)) => return crate::fx::bench::run(options),
        Some(Part::Gpu(options)) => return gpu::run(options),
        Some(Part::Enhance(options)) => return crate::enhance::run(options),
        None => {}
    }
    gst::init().context("GStreamer does not start")?;
    let video = match &options.video {
        Some(video) => video.clone(),
        None => environment::clip("bigbuckbunny.mp4")?,
    };
    let found = clip::probe(&video)?;
    environment::require_elements(NEEDED)?;

    let work = tempfile::tempdir().context("no temporary directory")?;
    let mut steps = Steps::new(if options.no_overhead { 2 } else { 3 });
    let (source, stream) = steps.run("preparing raw and coded frames", options.frames, |bar| {
        let whole = work.path().join("whole.i420");
        let mut source = clip::read(&video, &found, found.even_size(), &whole, bar)?;
        shorten(&mut source, options.frames)?;
        let stream = work.path().join("bench.aic");
        let decoded = work.path().join("decoded.i420");
        elements::encode_and_decode(&source, 32, None, &stream, &decoded, bar)?;
        std::fs::remove_file(&decoded)?;
        Ok((source, stream))
    })?;

    let mut cases = cases(&source, &stream);
    if let Some(only) = &options.only {
        cases.retain(|case| case.name.contains(only));
    }
    if cases.is_empty() {
        bail!("no measurement has such a name");
    }
    let total = cases.len() as u64 * u64::from(options.rounds);
    let figures = steps.run("each element alone", total, |bar| {
        let mut fps = vec![Vec::new(); cases.len()];
        for _ in 0..options.rounds {
            // One round after the other, so that other load on the machine hits every element.
            for (case, fps) in cases.iter().zip(&mut fps) {
                bar.set_message(case.name.clone());
                let timing = gstrun::run(&case.pipeline, "measured", |_| ())
                    .with_context(|| case.name.clone())?;
                if timing.frames == 0 {
                    bail!("{}: no frame came out", case.name);
                }
                fps.push(timing.fps());
                bar.inc(1);
            }
        }
        Ok(cases
            .iter()
            .zip(fps)
            .map(|(case, fps)| Figure {
                name: case.name.clone(),
                median_fps: median(&fps),
                fps,
            })
            .collect::<Vec<_>>())
    })?;

    let overhead = if options.no_overhead {
        Vec::new()
    } else {
        steps.run("against the bare ONNX Runtime call", 0, |bar| {
            OVERHEAD
                .iter()
                .map(|(package, name)| {
                    bar.set_message(*package);
                    example(package, name)
                })
                .collect::<Result<Vec<_>>>()
        })?
    };

    let report = Report {
        clip: video.display().to_string(),
        size: format!("{}x{}", source.width, source.height),
        frames: source.frames,
        rounds: options.rounds,
        machine: environment::machine(),
        gstreamer: gst::version_string().to_string(),
        elements: figures,
        overhead,
    };
    print(&report);
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Keeps the first `frames` frames of a raw file.
fn shorten(clip: &mut RawClip, frames: u64) -> Result<()> {
    if clip.frames > frames {
        let file = std::fs::OpenOptions::new().write(true).open(&clip.path)?;
        file.set_len(frames * clip.frame_bytes())?;
        clip.frames = frames;
    }
    Ok(())
}

fn cases(source: &RawClip, stream: &Path) -> Vec<Case> {
    let raw = source.gst_source();
    let coded = format!("filesrc location=\"{}\" ! aicodecparse", stream.display());
    let case = |name: &str, pipeline: String| Case {
        name: name.to_owned(),
        pipeline,
    };
    let mut cases = vec![
        case(
            "aicodecenc quality=32",
            format!("{raw} ! aicodecenc name=measured quality=32 ! fakesink"),
        ),
        case(
            elements::RTP,
            format!("{coded} ! rtpaicodecpay ! rtpaicodecdepay name=measured ! fakesink"),
        ),
        case(
            "aicodecdec",
            format!("{coded} ! aicodecdec name=measured ! fakesink"),
        ),
        // sync=true makes the element wait for each result, so that the model's time is counted.
        case(
            "vjepa2classify sync=true",
            format!("{raw} ! vjepa2classify name=measured sync=true ! fakesink"),
        ),
    ];
    // A given strength: with `auto` a clean clip passes without the net.
    for operations in [
        "denoise:strength=15",
        "upscale",
        "denoise:strength=15,upscale",
    ] {
        cases.push(case(
            &format!("aienhance operations={operations}"),
            format!("{raw} ! aienhance name=measured operations=\"{operations}\" ! fakesink"),
        ));
    }
    cases.push(case(
        &format!("fxfilter effects={}", lines::EFFECTS),
        format!(
            "{raw} ! fxfilter name=measured effects={} ! fakesink",
            lines::EFFECTS
        ),
    ));
    // Reading the file and passing it on bounds everything above.
    cases.push(case(
        "identity",
        format!("{raw} ! identity name=measured ! fakesink"),
    ));
    cases
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    }
}

fn example(package: &str, name: &str) -> Result<Overhead> {
    let args = [
        "run",
        "--release",
        "--quiet",
        "--package",
        package,
        "--example",
        name,
    ];
    let command = format!("cargo {}", args.join(" "));
    let output = Command::new("cargo")
        .args(args)
        .current_dir(environment::root()?)
        .output()
        .with_context(|| format!("cannot start {command}"))?;
    if !output.status.success() {
        bail!(
            "{command} failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(Overhead {
        command,
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
    })
}

fn print(report: &Report) {
    println!();
    println!(
        "{} at {}, {} frames, median of {} rounds; {}; {}",
        report.clip, report.size, report.frames, report.rounds, report.machine, report.gstreamer
    );
    println!();
    println!(
        "{:<44} {:>9} {:>9} {:>9}",
        "element, alone", "fps", "lowest", "highest"
    );
    for figure in &report.elements {
        let lowest = figure.fps.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = figure.fps.iter().copied().fold(0.0, f64::max);
        println!(
            "{:<44} {:>9.1} {lowest:>9.1} {highest:>9.1}",
            figure.name, figure.median_fps
        );
    }
    for overhead in &report.overhead {
        println!("\n$ {}\n{}", overhead.command, overhead.output.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_and_even_counts() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn a_raw_file_is_cut_at_a_frame() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.i420");
        std::fs::write(&path, vec![0; 24 * 3]).unwrap();
        let mut clip = RawClip {
            path,
            width: 4,
            height: 4,
            fps: (25, 1),
            frames: 3,
        };
        shorten(&mut clip, 2).unwrap();
        assert_eq!((clip.frames, clip.count().unwrap()), (2, 2));
        shorten(&mut clip, 9).unwrap();
        assert_eq!(clip.frames, 2);
    }
}
