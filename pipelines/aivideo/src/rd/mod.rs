// SPDX-License-Identifier: Apache-2.0
//! `aivideo rd`: rate and distortion of our codec and of others over folders of real clips.

pub mod bd;
pub mod class;
pub mod clips;
mod plan;
mod report;
pub mod stills;
pub mod store;
mod summary;
mod table;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::codecs::{self, Bench, Codec};
use crate::ffmpeg::Ffmpeg;
use crate::{environment, hybrid, interrupt, ours};
use class::Class;
use clips::{Clip, Shape};
use plan::{Estimate, Preset, Progress};
use store::{Cell, Identity, Store};

#[derive(Args)]
pub struct Options {
    /// Clips, or folders that are searched for clips
    files: Vec<PathBuf>,
    /// A folder that is searched for clips (may be repeated)
    #[arg(long)]
    data: Vec<PathBuf>,
    /// Directory for report.html, results.json, points.csv, bd.csv and everything that is kept
    #[arg(long, default_value = "rd-out")]
    out: PathBuf,
    /// How much is measured; the options below change single parts of it
    #[arg(long, value_enum, default_value_t = Preset::Standard)]
    preset: Preset,
    /// Codecs, with commas between them; aicodec takes properties: aicodec:motion=zero
    #[arg(long, value_delimiter = ',')]
    codecs: Vec<String>,
    /// At most so many frames of each clip, from its start; 0 takes all
    #[arg(long)]
    frames: Option<u64>,
    /// Clips are scaled down to at most this area and keep their shape; "own" leaves them
    #[arg(long)]
    size: Option<String>,
    /// Points of each curve
    #[arg(long, value_parser = clap::value_parser!(u32).range(3..=16))]
    points: Option<u32>,
    /// Classes of the clips: JSON {"clip.mp4": "static"} or lines "clip.mp4,static"
    #[arg(long)]
    classes: Option<PathBuf>,
    /// Seconds from one key frame to the next, ours and of the anchors with a fixed interval
    #[arg(long, default_value_t = 1.0)]
    gop_seconds: f64,
    /// Threads, and processors, of every encoder and decoder
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    /// Weights of the codec instead of the built-in ones, as aicodecenc's model-location takes them
    #[arg(long)]
    codec_model: Option<PathBuf>,
    /// Leave out the side-by-side frames (and the encodes that meet our rate for them)
    #[arg(long)]
    no_frames: bool,
    /// Only say what would be done and about how long it takes
    #[arg(long)]
    dry_run: bool,
    /// Print every codec that --codecs takes, and what each preset does
    #[arg(long)]
    list: bool,
}

/// Something that went wrong with one clip; the rest went on.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    pub clip: String,
    /// Which encode, empty for the clip itself.
    pub what: String,
    pub error: String,
}

/// Everything that decides what is measured.
pub struct Plan {
    pub bench: Bench,
    pub codecs: Vec<Codec>,
    pub points: usize,
    pub shape: Shape,
    pub preset: Preset,
    /// Build of our codec.
    pub build: String,
    /// Build of ffmpeg.
    pub ffmpeg: String,
    pub machine: String,
    pub model_bytes: Option<u64>,
}

/// A finished or interrupted run.
pub struct Run {
    pub plan: Plan,
    pub clips: Vec<Clip>,
    pub cells: Vec<Cell>,
    pub failures: Vec<Failure>,
    /// Encodes that are still to be made.
    pub missing: usize,
}

pub fn run(options: &Options) -> Result<()> {
    if options.list {
        plan::list();
        return Ok(());
    }
    // First of all, while there is one thread only.
    codecs::pin(options.threads as usize)?;
    gst::init().context("GStreamer does not start")?;
    let mut inputs = options.data.clone();
    inputs.extend(options.files.iter().cloned());
    if inputs.is_empty() {
        bail!("no clips: name files or folders, or --data DIR");
    }
    let found = clips::find(&inputs)?;
    let classes = options
        .classes
        .as_deref()
        .map(class::read)
        .transpose()?
        .unwrap_or_default();
    let plan = plan(options)?;
    let store = Store::open(&options.out)?;
    interrupt::watch()?;

    let mut run = Run {
        plan,
        clips: Vec::new(),
        cells: Vec::new(),
        failures: Vec::new(),
        missing: 0,
    };
    read_clips(&mut run, &found, &classes, &store)?;
    let estimate = Estimate::new(&run, &store)?;
    println!("{estimate}");
    if options.dry_run {
        for clip in &run.clips {
            println!(
                "  {}: {}x{}, {:.2} frames/s, {} frames, {}",
                clip.name,
                clip.raw.width,
                clip.raw.height,
                clip.raw.rate(),
                clip.raw.frames,
                clip.class.title()
            );
        }
        return finish(&run, false);
    }
    let mut progress = Progress::new(&estimate);
    encode_all(&mut run, &store, &mut progress)?;
    let frames = if options.no_frames || interrupt::requested() {
        Vec::new()
    } else {
        stills::make(&mut run, &store, &mut progress)?
    };
    progress.finish();
    report::write(&run, &frames, &store)?;
    table::print(&run);
    println!("\nreport {}", options.out.join("report.html").display());
    finish(&run, true)
}

/// Says what went wrong; an error when anything did.
fn finish(run: &Run, measured: bool) -> Result<()> {
    for failure in &run.failures {
        let space = if failure.what.is_empty() { "" } else { " " };
        eprintln!(
            "failed: {}{space}{}: {}",
            failure.clip, failure.what, failure.error
        );
    }
    if measured && run.missing > 0 {
        bail!(
            "ended early: {} encodes are missing; the same command goes on from here",
            run.missing
        );
    }
    if !run.failures.is_empty() {
        bail!(
            "{} of the clips or encodes failed, see above; the rest is in the report",
            run.failures.len()
        );
    }
    Ok(())
}

fn plan(options: &Options) -> Result<Plan> {
    let preset = options.preset;
    let specs: Vec<String> = if options.codecs.is_empty() {
        preset.codecs().iter().map(|s| (*s).to_owned()).collect()
    } else {
        options.codecs.clone()
    };
    let mut codecs: Vec<Codec> = Vec::new();
    for spec in &specs {
        let (codec, value) = Codec::parse(spec.trim())?;
        if value.is_some() {
            bail!(
                "{spec}: the bench chooses the qualities; leave {} out",
                codec.parameter()
            );
        }
        if codecs.iter().all(|other| other.id() != codec.id()) {
            codecs.push(codec);
        }
    }
    if !(0.05..=1000.0).contains(&options.gop_seconds) {
        bail!("--gop-seconds {}: from 0.05 to 1000", options.gop_seconds);
    }
    let ffmpeg = Ffmpeg::new(environment::ffmpeg()?);
    let has = ffmpeg.encoders()?;
    for codec in &codecs {
        if let Some(anchor) = codec.encoder()
            && !has.iter().any(|name| name == anchor.encoder())
        {
            bail!(
                "this ffmpeg ({}) has no {}: take the one that `make bootstrap` fetches, or leave {} out of --codecs",
                ffmpeg.program().display(),
                anchor.encoder(),
                anchor.id
            );
        }
        match codec {
            Codec::Ours(properties) => {
                environment::require_elements(ours::NEEDED)?;
                ours::check_properties(properties)?;
            }
            Codec::Hybrid(_) | Codec::Restored(..) => {
                environment::require_elements(hybrid::NEEDED)?;
            }
            Codec::Anchor(_) => {}
        }
    }
    let with_ours = codecs.iter().any(Codec::needs_elements);
    let model = options.codec_model.as_deref();
    let models = environment::root().ok().map(|root| root.join("models"));
    let frames = options.frames.or(preset.frames()).filter(|n| *n > 0);
    if frames.is_some_and(|n| n < clips::LEAST_FRAMES) {
        bail!("--frames: at least {} (0 takes all)", clips::LEAST_FRAMES);
    }
    Ok(Plan {
        points: options.points.map_or(preset.points(), |n| n as usize),
        shape: Shape {
            frames,
            area: match options.size.as_deref() {
                None => preset.area(),
                Some(text) => parse_size(text)?,
            },
        },
        preset,
        build: if with_ours {
            ours::identity(model)?
        } else {
            String::new()
        },
        ffmpeg: ffmpeg.version()?,
        machine: environment::machine(),
        model_bytes: codecs::decoder_size(model, models.as_deref()).filter(|_| with_ours),
        codecs,
        bench: Bench {
            ffmpeg,
            gop_seconds: options.gop_seconds,
            threads: options.threads as usize,
            model: options.codec_model.clone(),
        },
    })
}

/// Reads `640x360` or `own`.
pub fn parse_size(text: &str) -> Result<Option<u64>> {
    if text == "own" {
        return Ok(None);
    }
    text.split_once('x')
        .and_then(|(w, h)| Some((w.parse::<u64>().ok()?, h.parse::<u64>().ok()?)))
        .filter(|(w, h)| (64..=16384).contains(w) && (64..=16384).contains(h))
        .map(|(w, h)| Some(w * h))
        .with_context(|| format!("--size {text:?}: WIDTHxHEIGHT from 64x64 on, or own"))
}

fn read_clips(
    run: &mut Run,
    found: &[clips::Found],
    classes: &std::collections::BTreeMap<String, Class>,
    store: &Store,
) -> Result<()> {
    let bar = plan::bar(
        found.len() as u64,
        "reading clips [{bar:30}] {pos}/{len} {msg}",
    );
    for file in found {
        if interrupt::requested() {
            bail!("interrupted while reading the clips; nothing is lost");
        }
        bar.set_message(file.name.clone());
        match clips::prepare(file, run.plan.shape, &run.plan.bench.ffmpeg, &store.raw()) {
            Ok(mut clip) => {
                let stem = clip
                    .source
                    .file_name()
                    .map(|n| n.to_string_lossy().into_owned());
                if let Some(class) = stem.and_then(|name| classes.get(&name)) {
                    clip.class = *class;
                }
                run.clips.push(clip);
            }
            Err(error) => run.failures.push(Failure {
                clip: file.name.clone(),
                what: String::new(),
                error: format!("{error:#}"),
            }),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let unused: Vec<&String> = classes
        .keys()
        .filter(|name| found.iter().all(|f| !f.path.ends_with(name)))
        .collect();
    if !unused.is_empty() {
        eprintln!("note: no clip is called {unused:?}, which the classes name");
    }
    if run.clips.is_empty() {
        finish(run, false)?;
        bail!("no clip can be used");
    }
    Ok(())
}

/// One encode, out of the store or made now. None when the run is to end.
fn cell(
    run: &mut Run,
    clip: &Clip,
    codec: &Codec,
    value: f64,
    matched: bool,
    store: &Store,
    progress: &mut Progress,
) -> Result<Option<Cell>> {
    let value = (value * 100.0).round() / 100.0;
    let key = key(&run.plan, clip, codec, value)?;
    if let Some(mut cell) = store.load(&key) {
        // The same pixels may have another name in this run.
        cell.clip.clone_from(&clip.name);
        cell.matched = matched;
        progress.skipped(clip, codec);
        return Ok(Some(cell));
    }
    if interrupt::requested() {
        run.missing += 1;
        return Ok(None);
    }
    progress.begin(clip, codec, value);
    let stream = store.work().join("stream");
    let decoded = store.work().join("decoded.i420");
    let started = Instant::now();
    let measured = run
        .plan
        .bench
        .measure(codec, &clip.raw, value, &stream, &decoded);
    let _ = std::fs::remove_file(&decoded);
    let measured = match measured {
        Ok(measured) => measured,
        // Ctrl-C reaches ffmpeg too, and ends the encode.
        Err(_) if interrupt::requested() => {
            run.missing += 1;
            return Ok(None);
        }
        Err(error) => {
            progress.failed(clip, codec);
            run.failures.push(Failure {
                clip: clip.name.clone(),
                what: format!("{} {}={value}", codec.id(), codec.parameter()),
                error: format!("{error:#}"),
            });
            return Ok(None);
        }
    };
    let cell = Cell {
        clip: clip.name.clone(),
        codec: codec.id(),
        options: codec.options(&run.plan.bench, &clip.raw),
        value,
        matched,
        measured,
        stream: codec.file_name(&key),
        key,
        took: started.elapsed().as_secs_f64(),
        machine: run.plan.machine.clone(),
        load: environment::load(),
    };
    store.save(&cell, &stream)?;
    progress.done(clip, codec, &cell);
    Ok(Some(cell))
}

fn key(plan: &Plan, clip: &Clip, codec: &Codec, value: f64) -> Result<String> {
    Identity {
        clip: &clip.hash,
        fps: clip.raw.fps,
        codec: codec.id(),
        options: codec.options(&plan.bench, &clip.raw),
        value,
        threads: plan.bench.threads,
        build: if codec.needs_elements() {
            &plan.build
        } else {
            ""
        },
        ffmpeg: &plan.ffmpeg,
    }
    .key()
}

/// All curves: codec by codec, so that an early end leaves whole comparisons behind.
fn encode_all(run: &mut Run, store: &Store, progress: &mut Progress) -> Result<()> {
    let clips = run.clips.clone();
    let codecs = run.plan.codecs.clone();
    for codec in &codecs {
        for clip in &clips {
            let mut values = codec.ladder(run.plan.points);
            for value in values.clone() {
                if let Some(cell) = cell(run, clip, codec, value, false, store, progress)? {
                    run.cells.push(cell);
                }
            }
            // Where the anchor's curve ends before ours it is made longer, by two points at most.
            for _ in 0..2 {
                let Some(value) = extension(run, clip, codec, &values) else {
                    break;
                };
                values.push(value);
                progress.more(clip, codec);
                match cell(run, clip, codec, value, false, store, progress)? {
                    Some(cell) => run.cells.push(cell),
                    None => break,
                }
            }
        }
    }
    Ok(())
}

/// The next parameter that brings an anchor's Y-PSNR closer to the ends of ours.
fn extension(run: &Run, clip: &Clip, codec: &Codec, values: &[f64]) -> Option<f64> {
    let subjects = summary::subjects(&run.plan.codecs);
    if subjects.iter().any(|subject| subject.id() == codec.id()) || codec.needs_elements() {
        return None;
    }
    let range = |codec: &Codec| {
        summary::curve(&run.cells, &clip.name, &codec.id(), summary::Metric::PsnrY).range()
    };
    let (ours, theirs) = (range(subjects.first()?)?, range(codec)?);
    // In all anchors a smaller parameter is a better picture.
    let best = values.iter().copied().reduce(f64::min)?;
    let worst = values.iter().copied().reduce(f64::max)?;
    let (low, high) = codec.limits();
    let step = (worst - best) / (values.len().max(2) - 1) as f64;
    if theirs.1 < ours.1 - 0.2 && best - step >= low {
        Some((best - step).round())
    } else if theirs.0 > ours.0 + 0.2 && worst < high {
        Some((worst + step).min(high).round())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse_size("640x360").unwrap(), Some(230_400));
        assert_eq!(parse_size("own").unwrap(), None);
        for bad in ["640", "0x0", "640x", "ax b"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
