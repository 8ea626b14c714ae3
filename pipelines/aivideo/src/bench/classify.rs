// SPDX-License-Identifier: Apache-2.0
//! `aivideo bench classify`: vjepa2classify beside transformers on the same processor, and many
//! cameras at once with the built-in model.

mod large;
mod streams;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{environment, gstrun};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A true-size ViT-L, in turns with transformers
    Large,
    /// Live cameras with the built-in model
    Streams,
}

#[derive(Args)]
pub struct Options {
    /// Only this part
    #[arg(long)]
    only: Option<Part>,
    /// Python with torch, torchvision, transformers, onnx
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Folder of the random ViT-L and its exports, made there when they are missing (3.3 GB)
    #[arg(long, default_value_os_t = std::env::temp_dir().join("aivideo-vitl"))]
    models: PathBuf,
    /// Precisions of the exported model
    #[arg(long, value_delimiter = ',', default_values = ["fp32", "int8"])]
    precision: Vec<String>,
    /// Rounds; each side classifies one clip in each, and medians are reported
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Processor threads of either side (0 = all)
    #[arg(long, default_value_t = 0)]
    threads: u32,
    /// Clip to take frames from (default: bigbuckbunny.mp4, 1280x720)
    #[arg(long)]
    video: Option<PathBuf>,
    /// Cameras
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    streams: u32,
    /// Seconds of live streams
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(4..=3600))]
    seconds: u32,
    /// The most clips in one run of the built-in model
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    batch_size: u32,
    /// Write the figures to this JSON file too
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    clip: String,
    machine: String,
    /// Before and after: other work on the machine.
    load: (f64, f64),
    gstreamer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    large: Option<large::Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    streams: Option<streams::Report>,
}

pub fn run(options: &Options) -> Result<()> {
    gst::init().context("GStreamer does not start")?;
    environment::require_elements(&["vjepa2classify"])?;
    let video = match &options.video {
        Some(video) => video.clone(),
        None => environment::clip("bigbuckbunny.mp4")?,
    };
    let wanted = |part| options.only.is_none_or(|only| only == part);
    let before = environment::load();
    let streams = wanted(Part::Streams)
        .then(|| streams::run(options, &video))
        .transpose()?;
    let large = wanted(Part::Large)
        .then(|| large::run(options, &video))
        .transpose()?;
    let report = Report {
        clip: video.display().to_string(),
        machine: environment::machine(),
        load: (before, environment::load()),
        gstreamer: gst::version_string().to_string(),
        large,
        streams,
    };
    println!(
        "\n{}; load {:.1} before, {:.1} after; {}",
        report.machine, report.load.0, report.load.1, report.gstreamer
    );
    if let Some(streams) = &report.streams {
        streams.print();
    }
    if let Some(large) = &report.large {
        large.print();
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Frames without padding between rows, and their size.
type Frames = (Vec<Vec<u8>>, (u32, u32));

/// The first frames of the clip as GStreamer decodes it.
fn decoded(video: &std::path::Path, format: &str, count: usize) -> Result<Frames> {
    let work = tempfile::tempdir().context("no temporary directory")?;
    let raw = work.path().join("frames");
    let timing = gstrun::run_to_file(
        &format!(
            "filesrc location=\"{}\" ! decodebin ! videoconvert ! video/x-raw,format={format} ! \
             identity name=measured eos-after={count} ! fakesink name=frames sync=false",
            std::path::absolute(video)?.display()
        ),
        "measured",
        &raw,
        |_| (),
    )?;
    let size = timing.size.context("the clip has no raw pictures")?;
    let bytes = std::fs::read(&raw)?;
    let frames: Vec<Vec<u8>> = bytes
        .chunks_exact(size.0 as usize * size.1 as usize * if format == "RGB" { 6 } else { 3 } / 2)
        .map(<[u8]>::to_vec)
        .take(count)
        .collect();
    if frames.len() < count {
        bail!(
            "{} has {} frames, {count} are needed",
            video.display(),
            frames.len()
        );
    }
    Ok((frames, size))
}

fn caps(format: &str, size: (u32, u32)) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", format)
        .field("width", size.0 as i32)
        .field("height", size.1 as i32)
        .field("framerate", gst::Fraction::new(25, 1))
        .build()
}

pub(super) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_nearest_rank() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&values, 50), 100.0);
        assert_eq!(percentile(&values, 99), 198.0);
        assert_eq!(percentile(&values, 100), 200.0);
        assert_eq!(percentile(&[], 50), 0.0);
    }
}
