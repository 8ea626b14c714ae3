// SPDX-License-Identifier: Apache-2.0
//! A ViT-L of the published configuration with random weights, through the element and through
//! transformers, in turns: speed of both, and whether they say the same.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use aivideo_core::meta::ClassificationResult;
use anyhow::{Context, Result, bail};
use gst::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Options, caps, decoded};
use crate::{bench::median, environment, gstrun, progress::Steps};

const FRAMES: usize = 16;
/// Agreement that is promised of probabilities.
const AGREEMENT: f64 = 1e-2;

#[derive(Serialize)]
pub struct Report {
    threads: usize,
    size: (u32, u32),
    transformers: Side,
    elements: Vec<Side>,
}

#[derive(Serialize)]
struct Side {
    name: String,
    /// Of each clip.
    seconds: Vec<f64>,
    cpu_seconds: Vec<f64>,
    /// Median clips a second, by the wall clock.
    clips_per_second: f64,
    /// Times as fast as transformers: by the wall clock, and by processor time.
    speed: f64,
    speed_by_cpu: f64,
    /// From transformers: of a probability, and of its logarithm.
    largest_difference: f64,
    largest_log_difference: f64,
    same_answer: bool,
}

#[derive(Deserialize)]
struct Answer {
    seconds: f64,
    cpu_seconds: f64,
    probabilities: Vec<f64>,
}

/// A script of models/training/vjepa2, to be run in that folder.
fn script(python: &Path, name: &str) -> Result<Command> {
    let folder = environment::root()?.join("models/training/vjepa2");
    let mut command = Command::new(python);
    command.arg(name).current_dir(folder);
    command.env("HF_HUB_OFFLINE", "1");
    Ok(command)
}

fn run_script(mut command: Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}: set --python"))?;
    if !output.status.success() {
        bail!(
            "{command:?} failed (it needs torch, torchvision, transformers, onnx: pip install them, \
             and set --python):\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// The random model's folder and its exported files, made if they are missing.
fn models(options: &Options) -> Result<(PathBuf, Vec<(String, PathBuf)>)> {
    let absolute = std::path::absolute(&options.models)?;
    let source = absolute.join("vitl");
    if !source.join("config.json").is_file() {
        let mut command = script(&options.python, "random_model.py")?;
        command.arg(&source);
        run_script(command)?;
    }
    let mut files = Vec::new();
    for precision in &options.precision {
        let path = absolute.join(format!("vitl-{precision}.onnx"));
        // The sidecar is written last.
        if !path.with_extension("json").is_file() {
            let mut command = script(&options.python, "export.py")?;
            command.arg(&source).arg("--out").arg(&absolute);
            command.args(["--precision", precision]);
            run_script(command)?;
        }
        files.push((precision.clone(), path));
    }
    Ok((source, files))
}

/// transformers in a process of its own, which stays.
struct Reference {
    process: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Reference {
    fn start(mut command: Command) -> Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {command:?}: set --python"))?;
        let input = process.stdin.take();
        let lines = BufReader::new(process.stdout.take().context("no output")?).lines();
        let mut this = Self {
            process,
            input,
            lines,
        };
        match this.lines.next() {
            Some(Ok(line)) if line == "ready" => Ok(this),
            _ => bail!("{command:?} does not start; run it by hand to see why"),
        }
    }

    fn classify(&mut self) -> Result<Answer> {
        let input = self.input.as_mut().context("no input")?;
        writeln!(input, "clip")?;
        let line = self
            .lines
            .next()
            .context("transformers ended without an answer")??;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // The end of its input is the end of the process.
        self.input = None;
        let _ = self.process.wait();
    }
}

/// The element with one of the models, in a pipeline of its own.
struct Ours {
    name: String,
    harness: gst_check::Harness,
    clips: u64,
}

impl Ours {
    fn start(name: &str, model: &Path, options: &Options, size: (u32, u32)) -> Result<Self> {
        let element = gst::ElementFactory::make("vjepa2classify")
            .property("model-location", model.to_string_lossy().as_ref())
            .property("device", "cpu")
            .property("sync", true)
            .property("frame-stride", 1u32)
            .property("top-k", 1000u32)
            .property("num-threads", options.threads)
            .build()?;
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        element.set_state(gst::State::Paused).map_err(|_| {
            let said =
                bus.pop_filtered(&[gst::MessageType::Error])
                    .and_then(|message| match message.view() {
                        gst::MessageView::Error(error) => Some(gstrun::error_text(error)),
                        _ => None,
                    });
            anyhow::anyhow!(
                "{}",
                said.unwrap_or_else(|| "vjepa2classify does not start".into())
            )
        })?;
        let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
        harness.play();
        harness.set_src_caps(caps("RGB", size));
        Ok(Self {
            name: name.to_string(),
            harness,
            clips: 0,
        })
    }

    /// One clip; the probabilities by class.
    fn classify(&mut self, frames: &[gst::Buffer]) -> Result<Answer> {
        let cpu = gstrun::cpu_seconds();
        let began = Instant::now();
        let mut found = Vec::new();
        for (i, frame) in frames.iter().enumerate() {
            let mut buffer = frame.copy();
            let inner = buffer.make_mut();
            inner.set_pts(gst::ClockTime::from_mseconds(
                self.clips * 10_000 + i as u64 * 40,
            ));
            if i == 0 {
                inner.set_flags(gst::BufferFlags::DISCONT);
            }
            let out = self.harness.push_and_pull(buffer)?;
            found.extend(ClassificationResult::read_all(&out));
        }
        let (seconds, cpu_seconds) = (began.elapsed().as_secs_f64(), gstrun::cpu_seconds() - cpu);
        self.clips += 1;
        let result = found.first().context("no result came with the clip")?;
        let mut probabilities = vec![0.0; result.labels.len()];
        for (label, score) in result.labels.iter().zip(&result.scores) {
            // transformers' names of classes without a name
            let class: usize = label
                .strip_prefix("LABEL_")
                .and_then(|number| number.parse().ok())
                .with_context(|| format!("'{label}' is no label of the random model"))?;
            *probabilities.get_mut(class).context("too large a class")? = *score;
        }
        Ok(Answer {
            seconds,
            cpu_seconds,
            probabilities,
        })
    }
}

fn side(name: &str, answers: &[Answer], reference: &[Answer]) -> Side {
    let of = |answers: &[Answer], value: fn(&Answer) -> f64| -> Vec<f64> {
        answers.iter().map(value).collect()
    };
    let seconds = of(answers, |a| a.seconds);
    let cpu_seconds = of(answers, |a| a.cpu_seconds);
    let (got, want) = (&answers[0].probabilities, &reference[0].probabilities);
    let pairs = || got.iter().zip(want);
    let best = |p: &[f64]| (0..p.len()).max_by(|a, b| p[*a].total_cmp(&p[*b]));
    Side {
        name: name.to_string(),
        clips_per_second: 1.0 / median(&seconds),
        speed: median(&of(reference, |a| a.seconds)) / median(&seconds),
        speed_by_cpu: median(&of(reference, |a| a.cpu_seconds)) / median(&cpu_seconds),
        largest_difference: pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max),
        largest_log_difference: pairs()
            .map(|(a, b)| (a.ln() - b.ln()).abs())
            .fold(0.0, f64::max),
        same_answer: got.len() == want.len() && best(got) == best(want),
        seconds,
        cpu_seconds,
    }
}

pub fn run(options: &Options, video: &Path) -> Result<Report> {
    let threads = match options.threads {
        0 => std::thread::available_parallelism()?.get(),
        n => n as usize,
    };
    let mut steps = Steps::new(3);
    let (source, files) = steps.run("the random ViT-L and its exports", 0, |_| models(options))?;
    let work = tempfile::tempdir().context("no temporary directory")?;
    let (mut reference, mut ours, frames, size) = steps.run("loading both sides", 0, |_| {
        let (frames, size) = decoded(video, "RGB", FRAMES)?;
        let raw = work.path().join("clip.rgb");
        std::fs::write(&raw, frames.concat())?;
        let mut command = script(&options.python, "reference.py")?;
        command.arg(&source).arg(&raw);
        command.args([size.0.to_string(), size.1.to_string()]);
        command.args(["--threads", &threads.to_string()]);
        let reference = Reference::start(command)?;
        let ours: Vec<Ours> = files
            .iter()
            .map(|(name, path)| Ours::start(name, path, options, size))
            .collect::<Result<_>>()?;
        // Rows of RGB are padded to four bytes.
        let stride = (size.0 as usize * 3).next_multiple_of(4);
        let frames: Vec<gst::Buffer> = frames
            .iter()
            .map(|frame| {
                let mut padded = vec![0; stride * size.1 as usize];
                for (to, from) in padded
                    .chunks_mut(stride)
                    .zip(frame.chunks(size.0 as usize * 3))
                {
                    to[..from.len()].copy_from_slice(from);
                }
                gst::Buffer::from_slice(padded)
            })
            .collect();
        Ok((reference, ours, frames, size))
    })?;
    let total = u64::from(options.rounds) * (1 + ours.len() as u64);
    let (theirs, answers) = steps.run("clips in turns", total, |bar| {
        let mut theirs = Vec::new();
        let mut answers: Vec<Vec<Answer>> = ours.iter().map(|_| Vec::new()).collect();
        // The first of each side warms up memory and caches.
        for round in 0..=options.rounds {
            bar.set_message("transformers");
            let answer = reference.classify()?;
            if round > 0 {
                theirs.push(answer);
                bar.inc(1);
            }
            for (ours, answers) in ours.iter_mut().zip(&mut answers) {
                bar.set_message(ours.name.clone());
                let answer = ours.classify(&frames)?;
                if round > 0 {
                    answers.push(answer);
                    bar.inc(1);
                }
            }
        }
        Ok((theirs, answers))
    })?;
    let report = Report {
        threads,
        size,
        transformers: side("transformers fp32", &theirs, &theirs),
        elements: ours
            .iter()
            .zip(&answers)
            .map(|(ours, answers)| side(&format!("vjepa2classify {}", ours.name), answers, &theirs))
            .collect(),
    };
    for element in &report.elements {
        if element.largest_difference > AGREEMENT {
            report.print();
            bail!(
                "{}: a probability is {:.1e} from transformers', more than {AGREEMENT:.0e}",
                element.name,
                element.largest_difference
            );
        }
    }
    Ok(report)
}

impl Report {
    pub fn print(&self) {
        println!(
            "\nRandom ViT-L, clips of {FRAMES} frames of {}x{} RGB, preprocessing included, {} threads, \
             medians of {} clips in turns:",
            self.size.0,
            self.size.1,
            self.threads,
            self.transformers.seconds.len()
        );
        println!(
            "{:<24} {:>8} {:>9} {:>7} {:>9} {:>11} {:>11} {:>6}",
            "", "clips/s", "CPU s", "speed", "by CPU", "prob. diff", "log diff", "same"
        );
        for side in std::iter::once(&self.transformers).chain(&self.elements) {
            println!(
                "{:<24} {:>8.4} {:>9.2} {:>6.2}x {:>8.2}x {:>11.1e} {:>11.1e} {:>6}",
                side.name,
                side.clips_per_second,
                median(&side.cpu_seconds),
                side.speed,
                side.speed_by_cpu,
                side.largest_difference,
                side.largest_log_difference,
                if side.same_answer { "yes" } else { "no" }
            );
        }
    }
}
