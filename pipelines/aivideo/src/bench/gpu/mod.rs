// SPDX-License-Identifier: Apache-2.0
//! `aivideo bench gpu`: what a GPU makes of the suite. Each element alone and all in a chain; each
//! model through its engine, beside the bare ONNX Runtime call on the same tensors and beside PyTorch
//! on the same weights; each kernel. `--device cpu` runs the same code on the CPU, to test the bench
//! itself, and says so in every place where a figure could be taken for a GPU's.

mod codec;
mod elements;
mod enhance;
mod frames;
mod kernels;
mod models;
mod nvml;
mod print;
mod torch;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use aivideo_core::{provider, runtime};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{environment, progress::Steps};

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// 3840x2160
    #[value(name = "2160p", alias = "4k")]
    P2160,
    /// 1920x1080
    #[value(name = "1080p")]
    P1080,
    /// 640x360, for rehearsals
    #[value(name = "360p")]
    P360,
}

impl Size {
    fn pixels(self) -> (u32, u32) {
        match self {
            Self::P2160 => (3840, 2160),
            Self::P1080 => (1920, 1080),
            Self::P360 => (640, 360),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Elements,
    Models,
    Kernels,
}

#[derive(Args)]
pub struct Options {
    /// Where: cuda, cuda:<n>, tensorrt, tensorrt:<n>; or cpu, to rehearse without a GPU
    #[arg(long, default_value = "cuda")]
    device: String,
    /// Sizes of the pictures
    #[arg(long, value_delimiter = ',', default_values = ["2160p", "1080p"])]
    sizes: Vec<Size>,
    /// Frames through each element in a round; the classifier needs 31 for one clip
    #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u32).range(32..=100_000))]
    frames: u32,
    /// Rounds; everything is measured once in each, and medians are reported
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Runs of each model and kernel in a round
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(3..=10_000))]
    runs: u32,
    /// Only these parts
    #[arg(long, value_delimiter = ',')]
    part: Vec<Part>,
    /// Only measurements whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Python with torch: measures PyTorch on the same weights too
    #[arg(long)]
    python: Option<PathBuf>,
    /// Clip to take pictures from (default: bigbuckbunny.mp4)
    #[arg(long)]
    video: Option<PathBuf>,
    /// Write the figures to this JSON file too
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.part.is_empty() || self.part.contains(&part)
    }

    fn wants_name(&self, name: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    }
}

#[derive(Serialize)]
struct Report {
    /// Set where no GPU was used: none of the figures is one of a GPU.
    rehearsal_on_cpu: bool,
    device: String,
    /// Name of the card, and CUDA version of its driver.
    card: Option<String>,
    driver_cuda: Option<String>,
    machine: String,
    /// Before and after: other work on the machine.
    load: (f64, f64),
    gstreamer: String,
    onnxruntime: String,
    clip: String,
    frames: u32,
    rounds: u32,
    runs: u32,
    /// Seconds since 1970.
    time: u64,
    sizes: Vec<SizeReport>,
}

#[derive(Serialize)]
struct SizeReport {
    size: Size,
    width: u32,
    height: u32,
    elements: Vec<elements::Figure>,
    models: Vec<models::Figure>,
    kernels: Vec<kernels::Figure>,
}

/// Milliseconds over all rounds, nearest rank.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

impl Percentiles {
    /// `None` without samples.
    pub(super) fn of(mut milliseconds: Vec<f64>) -> Option<Self> {
        if milliseconds.is_empty() {
            return None;
        }
        milliseconds.sort_by(f64::total_cmp);
        let rank = |percent| super::classify::percentile(&milliseconds, percent);
        Some(Self {
            p50: rank(50),
            p95: rank(95),
            p99: rank(99),
        })
    }
}

/// What the card did meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Card {
    /// Most memory in use above what was in use before, in bytes.
    pub memory_bytes: u64,
    /// Mean share of the time in which a kernel ran, of 0 to 1.
    pub busy: f64,
}

/// Runs `work` and watches the card, where there is one.
fn watched<T>(
    nvml: Option<&Arc<nvml::Nvml>>,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Option<Card>)> {
    let Some(nvml) = nvml else {
        return Ok((work()?, None));
    };
    let before = nvml.memory_used();
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (nvml, stop) = (nvml.clone(), stop.clone());
        thread::spawn(move || {
            let (mut memory, mut busy) = (0, Vec::new());
            while !stop.load(Ordering::Relaxed) {
                memory = nvml.memory_used().unwrap_or(0).max(memory);
                busy.extend(nvml.busy());
                thread::sleep(Duration::from_millis(50));
            }
            (memory, busy)
        })
    };
    let result = work();
    stop.store(true, Ordering::Relaxed);
    let (memory, busy) = watcher.join().unwrap_or_default();
    let card = before.map(|before| Card {
        memory_bytes: memory.saturating_sub(before),
        busy: busy.iter().sum::<f64>() / busy.len().max(1) as f64,
    });
    Ok((result?, card))
}

/// The index in a device's name: 1 of "cuda:1".
pub(super) fn index(device: &str) -> u32 {
    device
        .split_once(':')
        .and_then(|(_, index)| index.parse().ok())
        .unwrap_or(0)
}

/// Whether a device is of ONNX Runtime's CUDA provider.
pub(super) fn is_cuda(device: &str) -> bool {
    device.starts_with("cuda")
}

/// The driver, where `device` is a GPU and can be used; `None` where it is the CPU. `instead` says what can be
/// done without one.
pub(super) fn ready(device: &str, instead: &str) -> Result<Option<provider::Driver>> {
    if device == "cpu" {
        return Ok(None);
    }
    if !is_cuda(device) && !device.starts_with("tensorrt") {
        bail!(
            "device '{device}' is not known here: cuda, cuda:<n>, tensorrt or tensorrt:<n>, or cpu to rehearse"
        );
    }
    let driver =
        provider::driver().map_err(|absence| anyhow::anyhow!("no GPU: {absence}. {instead}"))?;
    provider::probe(device).map_err(|err| {
        anyhow::anyhow!(
            "no GPU that can be used: {err}. `aivideo doctor --device {device}` says more"
        )
    })?;
    Ok(Some(driver))
}

pub fn run(options: &Options) -> Result<()> {
    let rehearsal = options.device == "cpu";
    let driver = ready(
        &options.device,
        "`aivideo bench gpu --device cpu` rehearses the bench on the CPU",
    )?;
    gst::init().context("GStreamer does not start")?;
    environment::require_elements(elements::NEEDED)?;
    let onnxruntime = runtime::get()?.build_info().to_string();
    let video = match &options.video {
        Some(video) => video.clone(),
        None => environment::clip("bigbuckbunny.mp4")?,
    };
    let card = driver;
    let nvml = match (&card, nvml::Nvml::open(index(&options.device))) {
        (None, _) => None,
        (Some(_), Ok(nvml)) => Some(Arc::new(nvml)),
        (Some(_), Err(reason)) => {
            eprintln!("the card's memory and load are not measured: {reason}");
            None
        }
    };
    if rehearsal {
        eprintln!("REHEARSAL ON THE CPU: no figure below is one of a GPU");
    }
    let load = environment::load();
    let parts = [Part::Elements, Part::Models, Part::Kernels];
    let count = parts.into_iter().filter(|p| options.wants(*p)).count();
    let mut steps = Steps::new(options.sizes.len() * count);
    let mut sizes = Vec::new();
    for size in &options.sizes {
        let (width, height) = size.pixels();
        let mut report = SizeReport {
            size: *size,
            width,
            height,
            elements: Vec::new(),
            models: Vec::new(),
            kernels: Vec::new(),
        };
        if options.wants(Part::Elements) {
            report.elements = steps.run(&format!("elements at {width}x{height}"), 0, |bar| {
                elements::measure(options, &video, (width, height), nvml.as_ref(), bar)
            })?;
        }
        if options.wants(Part::Models) {
            report.models = steps.run(&format!("models at {width}x{height}"), 0, |bar| {
                models::measure(options, (width, height), bar)
            })?;
        }
        if options.wants(Part::Kernels) {
            report.kernels = steps.run(&format!("kernels at {width}x{height}"), 0, |bar| {
                kernels::measure(options, (width, height), bar)
            })?;
        }
        sizes.push(report);
    }
    let gpu = card
        .as_ref()
        .and_then(|d| d.gpus.get(index(&options.device) as usize));
    let report = Report {
        rehearsal_on_cpu: rehearsal,
        device: options.device.clone(),
        card: gpu.map(|gpu| gpu.name.clone()),
        driver_cuda: card.map(|d| format!("{}.{}", d.cuda.0, d.cuda.1)),
        machine: environment::machine(),
        load: (load, environment::load()),
        gstreamer: gst::version_string().to_string(),
        onnxruntime,
        clip: video.display().to_string(),
        frames: options.frames,
        rounds: options.rounds,
        runs: options.runs,
        time: std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_secs()),
        sizes,
    };
    print::print(&report);
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_an_index() {
        assert_eq!(
            (index("cuda"), index("cuda:3"), index("tensorrt:1")),
            (0, 3, 1)
        );
    }

    #[test]
    fn percentiles_of_nothing_are_none() {
        assert_eq!(Percentiles::of(Vec::new()), None);
        let some = Percentiles::of((1..=100).rev().map(f64::from).collect()).unwrap();
        assert_eq!((some.p50, some.p95, some.p99), (50.0, 95.0, 99.0));
    }

    #[test]
    fn without_a_card_nothing_is_watched() {
        let (result, card) = watched(None, || Ok(7)).unwrap();
        assert_eq!((result, card), (7, None));
    }
}
