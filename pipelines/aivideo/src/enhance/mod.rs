// SPDX-License-Identifier: Apache-2.0
//! `aivideo bench enhance`: what each enhancement is worth on real media, beside its peers in the
//! same run. Each part is a module that returns tables and gates.

mod light;
mod pictures;
mod shake;
mod sound;
mod stills;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::environment;
use crate::ffmpeg::Ffmpeg;

#[derive(Args)]
pub struct Options {
    /// Folder with train/, val/ and benchmark/ (default: ../shared/data beside the clone)
    #[arg(long)]
    data: Option<PathBuf>,
    /// Only parts whose name contains this: upscale, denoise, color, hdr, stabilize, sound
    #[arg(long)]
    only: Option<String>,
    /// Keep the media that were made, in this folder
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Write the figures to this JSON file too
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What a part has to work with.
pub struct Bench {
    pub data: PathBuf,
    /// For the media that it makes.
    pub folder: PathBuf,
    pub ffmpeg: Ffmpeg,
}

impl Bench {
    /// A file below the data folder.
    pub fn media(&self, path: &str) -> Result<PathBuf> {
        let file = self.data.join(path);
        if !file.is_file() {
            bail!(
                "{} is missing; --data names the folder with it",
                file.display()
            );
        }
        Ok(file)
    }
}

/// Figures with their conditions.
#[derive(Debug, Serialize)]
pub struct Table {
    pub title: String,
    pub conditions: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// A figure that must reach something.
#[derive(Debug, Serialize)]
pub struct Gate {
    pub what: String,
    pub value: String,
    pub wanted: String,
    pub met: bool,
}

#[derive(Debug, Default, Serialize)]
pub struct Figures {
    pub tables: Vec<Table>,
    pub gates: Vec<Gate>,
}

type Part = (&'static str, fn(&Bench) -> Result<Figures>);

const PARTS: &[Part] = &[
    ("upscale", pictures::upscale),
    ("denoise", pictures::denoise),
    ("color", light::color),
    ("hdr", light::hdr),
    ("stabilize", shake::run),
    ("sound", sound::run),
];

#[derive(Serialize)]
struct Report {
    machine: String,
    load: f64,
    gstreamer: String,
    ffmpeg: String,
    parts: Vec<(String, Figures)>,
}

pub fn run(options: &Options) -> Result<()> {
    gst::init()?;
    let data = match &options.data {
        Some(data) => data.clone(),
        None => environment::root()?.join("../shared/data"),
    };
    if !data.is_dir() {
        bail!(
            "no data in {}: --data names the folder with val/ and benchmark/",
            data.display()
        );
    }
    let wanted = |name: &str| {
        options
            .only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    };
    if !PARTS.iter().any(|(name, _)| wanted(name)) {
        let names: Vec<_> = PARTS.iter().map(|(name, _)| *name).collect();
        bail!("no part has such a name; there are: {}", names.join(", "));
    }
    let temporary = tempfile::tempdir()?;
    let folder = options
        .keep
        .clone()
        .unwrap_or_else(|| temporary.path().to_path_buf());
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let bench = Bench {
        data,
        folder,
        ffmpeg: Ffmpeg::new(environment::ffmpeg()?),
    };
    let mut report = Report {
        machine: environment::machine(),
        load: environment::load(),
        gstreamer: gst::version_string().to_string(),
        ffmpeg: bench.ffmpeg.version()?,
        parts: Vec::new(),
    };
    println!(
        "{}; {}; {}",
        report.machine, report.gstreamer, report.ffmpeg
    );
    for (name, part) in PARTS.iter().filter(|(name, _)| wanted(name)) {
        let figures = part(&bench).with_context(|| format!("part {name}"))?;
        print(&figures);
        report.parts.push(((*name).to_owned(), figures));
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn print(figures: &Figures) {
    for table in &figures.tables {
        println!("\n{}\n{}\n", table.title, table.conditions);
        if table.columns.is_empty() {
            continue;
        }
        println!("| {} |", table.columns.join(" | "));
        println!("|{}", "---|".repeat(table.columns.len()));
        for row in &table.rows {
            println!("| {} |", row.join(" | "));
        }
    }
    if !figures.gates.is_empty() {
        println!();
    }
    for gate in &figures.gates {
        let met = if gate.met { "met" } else { "MISSED" };
        println!(
            "gate: {}: {} (wanted {}): {met}",
            gate.what, gate.value, gate.wanted
        );
    }
}

/// The name of a file without its folder.
pub fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
