// SPDX-License-Identifier: Apache-2.0
//! `aivideo bench classify`: vjepa2classify beside transformers on the same processor or GPU, and many
//! cameras at once with the built-in model.

mod large;
mod reference;
mod streams;
mod ways;

use std::path::PathBuf;

use aivideo_core::cuda::Place;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::gpu;
use crate::{environment, gstrun};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A true-size ViT-L: element, engine and ONNX Runtime's bare call, in turns with transformers
    Large,
    /// Live cameras with the built-in model
    Streams,
}

#[derive(Args)]
pub struct Options {
    /// Only this part
    #[arg(long)]
    only: Option<Part>,
    /// Where: cpu, cuda, cuda:<n>, tensorrt, tensorrt:<n>
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Python with torch, torchvision, transformers, onnx: measures transformers (PyTorch) too, on the same
    /// device. The random ViT-L is made with it, or with python3
    #[arg(long)]
    python: Option<PathBuf>,
    /// Folder of the random ViT-L and its exports, made there when they are missing (3.3 GB)
    #[arg(long, default_value_os_t = std::env::temp_dir().join("aivideo-vitl"))]
    models: PathBuf,
    /// An exported model to measure instead, without transformers
    #[arg(long, conflicts_with = "python")]
    model: Option<PathBuf>,
    /// Precisions of the exported model: fp32, fp16, int8 (default: fp32,int8 on the CPU, fp16 on a GPU)
    #[arg(long, value_delimiter = ',', value_parser = ["fp32", "fp16", "int8"])]
    precision: Vec<String>,
    /// Attention in the exported model: ONNX Runtime's operator, or standard ONNX, which TensorRT needs (default:
    /// fused, but plain in fp16)
    #[arg(long, value_parser = ["fused", "plain"])]
    attention: Option<String>,
    /// Rounds; medians and percentiles are over the clips of all
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Clips of each side in a round (default: 1 on the CPU, 50 on a GPU)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: Option<u32>,
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

impl Options {
    fn precisions(&self) -> Vec<String> {
        let names: &[&str] = match (self.precision.is_empty(), self.device == "cpu") {
            (false, _) => return self.precision.clone(),
            (true, true) => &["fp32", "int8"],
            (true, false) => &["fp16"],
        };
        // A model that is given has one, which is not known.
        match self.model {
            Some(_) => vec!["given model".to_string()],
            None => names.iter().map(ToString::to_string).collect(),
        }
    }

    fn runs(&self) -> u32 {
        self.runs
            .unwrap_or(if self.device == "cpu" { 1 } else { 50 })
    }
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
    let driver = gpu::ready(
        &options.device,
        "Without --device, `aivideo bench classify` measures on the CPU",
    )?;
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
        .then(|| large::run(options, &video, driver.as_ref()))
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

fn caps(format: &str, size: (u32, u32), place: Option<Place>) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .features(place.map(Place::feature))
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
