// SPDX-License-Identifier: Apache-2.0
//! What a run will do, how long that takes, and how far it is.

use std::fmt;
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use super::clips::Clip;
use super::store::{Cell, Store};
use super::{Run, key};
use crate::anchors::ANCHORS;
use crate::codecs::{Codec, OURS};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// 48 frames at 640x360, 4 points, the fast anchors: minutes
    Quick,
    /// 96 frames at 640x360, 5 points, all but the slowest anchor: about an hour
    Standard,
    /// All frames at their own size, 6 points, every anchor: many hours
    Full,
}

const QUICK: &[&str] = &[
    OURS,
    "x264-medium",
    "x265-ultrafast-zl",
    "x265-medium-zl",
    "x265-medium",
    "svtav1-p8-ld",
];
const STANDARD: &[&str] = &[
    OURS,
    "x264-ultrafast-zl",
    "x264-medium",
    "x265-ultrafast-zl",
    "x265-medium-zl",
    "x265-medium",
    "x265-veryslow",
    "svtav1-p8-ld",
    "svtav1-p5",
    "vvenc-faster",
];
/// Ours with one key frame as well, which is what the anchors without a fixed interval have.
const LONG_GOP: &str = "aicodec:key-int-max=250";

impl Preset {
    pub fn codecs(self) -> Vec<&'static str> {
        match self {
            Self::Quick => QUICK.to_vec(),
            Self::Standard => STANDARD.to_vec(),
            Self::Full => [OURS, LONG_GOP]
                .into_iter()
                .chain(ANCHORS.iter().map(|anchor| anchor.id))
                .collect(),
        }
    }

    pub fn frames(self) -> Option<u64> {
        match self {
            Self::Quick => Some(48),
            Self::Standard => Some(96),
            Self::Full => None,
        }
    }

    pub fn area(self) -> Option<u64> {
        match self {
            Self::Quick | Self::Standard => Some(640 * 360),
            Self::Full => None,
        }
    }

    pub fn points(self) -> usize {
        match self {
            Self::Quick => 4,
            Self::Standard => 5,
            Self::Full => 6,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Standard => "standard",
            Self::Full => "full",
        }
    }
}

/// Prints codecs and presets.
pub fn list() {
    println!("codecs");
    println!("  {OURS:<20} this project's codec; properties follow: aicodec:motion=zero");
    for anchor in ANCHORS {
        println!("  {:<20} {}", anchor.id, anchor.name);
    }
    println!(
        "  {:<20} one of the former, decoded and restored by aihybriddec; its properties follow: NAME+restore:look-ahead=2",
        "NAME+restore"
    );
    for id in crate::hybrid::ids() {
        println!("  {id:<20} the hybrid profile; properties follow: {id}:base=h265");
    }
    println!("\npresets");
    for preset in Preset::value_variants() {
        let frames = preset
            .frames()
            .map_or("all frames".into(), |n| format!("{n} frames"));
        let size = if preset.area().is_some() {
            "at most 640x360"
        } else {
            "own size"
        };
        println!(
            "  {:<10} {frames}, {size}, {} points: {}",
            preset.name(),
            preset.points(),
            preset.codecs().join(",")
        );
    }
}

/// Million pixels a second that PSNR, SSIM and VMAF take together, on two cores.
const METRICS_SPEED: f64 = 14.0;
/// Seconds that starting the programs of one encode takes.
const OVERHEAD: f64 = 0.5;

/// Seconds that one encode takes on two idle cores, with decoding and metrics; roughly.
fn seconds(clip: &Clip, codec: &Codec) -> f64 {
    let pixels = f64::from(clip.raw.width) * f64::from(clip.raw.height) * clip.raw.frames as f64;
    let (encode, decode) = codec.speeds();
    pixels / 1e6 * (1.0 / encode + 1.0 / decode + 1.0 / METRICS_SPEED) + OVERHEAD
}

/// What a run is about to do.
pub struct Estimate {
    pub cells: usize,
    pub finished: usize,
    pub seconds: f64,
    lines: Vec<(String, usize, f64)>,
    head: String,
}

impl Estimate {
    pub fn new(run: &Run, store: &Store) -> Result<Self> {
        let plan = &run.plan;
        let mut estimate = Self {
            cells: 0,
            finished: 0,
            seconds: 0.0,
            lines: Vec::new(),
            head: format!(
                "{} clips, {} codecs, {} points each, preset {}",
                run.clips.len(),
                plan.codecs.len(),
                plan.points,
                plan.preset.name()
            ),
        };
        for codec in &plan.codecs {
            let (mut count, mut time) = (0, 0.0);
            for clip in &run.clips {
                for value in codec.ladder(plan.points) {
                    estimate.cells += 1;
                    if store.load(&key(plan, clip, codec, value)?).is_some() {
                        estimate.finished += 1;
                    } else {
                        count += 1;
                        time += seconds(clip, codec);
                    }
                }
            }
            estimate.seconds += time;
            estimate.lines.push((codec.name(), count, time));
        }
        Ok(estimate)
    }
}

fn duration(seconds: f64) -> String {
    if seconds < 90.0 {
        format!("{seconds:.0} s")
    } else if seconds < 5400.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.head)?;
        for (name, count, time) in &self.lines {
            writeln!(
                f,
                "  {name:<38} {count:>4} encodes  about {}",
                duration(*time)
            )?;
        }
        write!(
            f,
            "{} of {} encodes are finished; the rest takes about {} on two idle cores, longer on busy ones",
            self.finished,
            self.cells,
            duration(self.seconds)
        )
    }
}

/// A bar with the time passed, or nothing where there is no terminal.
pub fn bar(length: u64, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    // The templates are constants; a wrong one shows as the default style, nothing worse.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The bar over all encodes; without a terminal one line for each.
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
    done: usize,
    total: usize,
    /// Estimated seconds of what is left, and of what was done in this run.
    left: f64,
    past: f64,
    /// Seconds that it really took.
    took: f64,
}

impl Progress {
    pub fn new(estimate: &Estimate) -> Self {
        Self {
            bar: bar(
                estimate.cells as u64,
                "[{bar:30}] {pos}/{len} encodes, {elapsed} {msg}",
            ),
            terminal: std::io::stderr().is_terminal(),
            done: 0,
            total: estimate.cells,
            left: estimate.seconds,
            past: 0.0,
            took: 0.0,
        }
    }

    /// What is left by the pace of this run.
    fn remaining(&self) -> String {
        let pace = if self.past > 2.0 {
            self.took / self.past
        } else {
            1.0
        };
        duration(self.left.max(0.0) * pace)
    }

    pub fn begin(&mut self, clip: &Clip, codec: &Codec, value: f64) {
        self.bar.set_message(format!(
            "about {} left: {} {} {value}, {}",
            self.remaining(),
            codec.id(),
            codec.parameter(),
            clip.name
        ));
    }

    /// A further encode that was not foreseen.
    pub fn more(&mut self, clip: &Clip, codec: &Codec) {
        self.total += 1;
        self.left += seconds(clip, codec);
        self.bar.set_length(self.total as u64);
    }

    fn step(&mut self) {
        self.done += 1;
        self.bar.inc(1);
    }

    /// An encode that was finished in an earlier run: the estimate does not hold it.
    pub fn skipped(&mut self, _clip: &Clip, _codec: &Codec) {
        self.step();
    }

    pub fn failed(&mut self, clip: &Clip, codec: &Codec) {
        self.left -= seconds(clip, codec);
        self.step();
    }

    pub fn done(&mut self, clip: &Clip, codec: &Codec, cell: &Cell) {
        let expected = seconds(clip, codec);
        self.left -= expected;
        self.past += expected;
        self.took += cell.took;
        self.step();
        if !self.terminal {
            let m = &cell.measured;
            eprintln!(
                "[{}/{}] {} {} {}: {:.1} kbit/s, Y-PSNR {:.2}, SSIM {:.4}, VMAF {:.1} ({:.1} s; about {} left)",
                self.done,
                self.total,
                clip.name,
                codec.id(),
                cell.value,
                m.kbps,
                m.psnr_y,
                m.ssim,
                m.vmaf,
                cell.took,
                self.remaining()
            );
        }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
