// SPDX-License-Identifier: Apache-2.0
//! `aivideo loss`: real clips over a simulated lossy RTP path, ours beside H.264 and H.265.
//!
//! Encoder, payloader, a seeded dropper, rtpjitterbuffer, depayloader and decoder are the real
//! elements, and requests travel back. Only time is not: a clock that is set by hand makes a run
//! the same on a slow machine and on a fast one. A second receiver without loss tells what the
//! picture would have been.

mod clip;
mod codecs;
mod dropper;
mod judge;
mod lines;
mod report;
mod simulation;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::progress::Steps;
use dropper::Kind;
use simulation::{Channel, calibrate, simulate};

const MTU: u32 = 1200;

#[derive(clap::Args)]
pub struct Options {
    /// A clip; may be given more than once [default: the first two of AIVIDEO_CLIPS]
    #[arg(long, value_name = "FILE")]
    video: Vec<PathBuf>,
    /// Frames of each clip
    #[arg(long, default_value_t = 250)]
    frames: usize,
    /// Wider clips are scaled down to this width
    #[arg(long, default_value_t = 640)]
    width: u32,
    /// Bit rate without loss, in kbit/s
    #[arg(long, default_value_t = 600)]
    bitrate: u32,
    /// Percentages of packets lost
    #[arg(long, value_delimiter = ',', default_values_t = [1.0, 5.0, 10.0, 20.0])]
    loss: Vec<f64>,
    /// Packets that are lost together on average, in the bursty runs
    #[arg(long, default_value_t = 4.0)]
    burst: f64,
    /// Latency of rtpjitterbuffer, in milliseconds
    #[arg(long, default_value_t = 100)]
    latency: u32,
    /// Milliseconds from a request to its arrival at the sender, the way of the packets included
    #[arg(long, default_value_t = 100)]
    rtt: u64,
    /// Seed of the dropper
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Requests arrive with all their fields, as over a channel of the application's own; else with
    /// what RTCP carries
    #[arg(long)]
    full_reports: bool,
    /// Only codecs whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Writes every run as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes every run as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

pub fn run(options: &Options) -> Result<()> {
    gst::init()?;
    if let Some(bad) = options.loss.iter().find(|l| !(0.0..=90.0).contains(*l)) {
        bail!("--loss {bad}: percentages from 0 to 90 can be lost");
    }
    let clips = match options.video.is_empty() {
        true => clip::defaults()?,
        false => options.video.clone(),
    };
    let mut absent = Vec::new();
    let mut present = Vec::new();
    for codec in codecs::all() {
        if options
            .only
            .as_ref()
            .is_some_and(|o| !codec.name.contains(o.as_str()))
        {
            continue;
        }
        let missing: Vec<&str> = codec
            .needs
            .iter()
            .copied()
            .filter(|name| gst::ElementFactory::find(name).is_none())
            .collect();
        match missing.is_empty() {
            true => present.push(codec),
            false => absent.push((codec.name, missing.join(", "))),
        }
    }
    let mut paths = vec![Channel {
        kind: Kind::None,
        loss: 0.0,
    }];
    for kind in [Kind::Random, Kind::Bursty] {
        paths.extend(options.loss.iter().map(|&loss| Channel { kind, loss }));
    }
    let mut steps = Steps::new(clips.len() * present.len());
    let mut runs = Vec::new();
    for path in &clips {
        let clip = clip::read(path, options.frames, options.width)?;
        let mut knobs: Vec<(&str, u32)> = Vec::new();
        for codec in &present {
            let label = format!("{}: {}", clip.name, codec.name);
            let more = steps.run(&label, paths.len() as u64 + 1, |bar| {
                // Variants of one codec are coded alike.
                let known = knobs.iter().find(|(encoder, _)| *encoder == codec.needs[0]);
                let knob = match known {
                    Some((_, knob)) => *knob,
                    None => calibrate(codec, &clip, options)?,
                };
                knobs.push((codec.needs[0], knob));
                bar.inc(1);
                paths
                    .iter()
                    .map(|path| {
                        let run = simulate(codec, knob, &clip, path, options);
                        bar.inc(1);
                        run
                    })
                    .collect::<Result<Vec<_>>>()
            })?;
            runs.extend(more);
        }
    }
    report::print(&runs, &paths, &absent, options);
    if let Some(path) = &options.json {
        let absent: Vec<_> = absent
            .iter()
            .map(|(name, elements)| serde_json::json!({"codec": name, "missing": elements}))
            .collect();
        let all = serde_json::json!({
            "frames": options.frames, "latency_ms": options.latency, "rtt_ms": options.rtt,
            "burst": options.burst, "seed": options.seed, "full_reports": options.full_reports,
            "mtu": MTU, "runs": runs, "absent": absent,
        });
        std::fs::write(path, serde_json::to_vec_pretty(&all)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &options.csv {
        std::fs::write(path, report::csv(&runs)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
