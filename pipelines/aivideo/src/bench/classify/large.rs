// SPDX-License-Identifier: Apache-2.0
//! A ViT-L of the published configuration with random weights: through the element, through the engine
//! that elements share, by ONNX Runtime's call alone, and through transformers, in turns. Times of all, and
//! whether element and transformers say the same.

use std::path::Path;

use aivideo_core::{provider, settings::InferenceSettings};
use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::{
    Options, decoded,
    reference::{self, Reference},
    ways::{self, Answer, Way},
};
use crate::{
    bench::{
        gpu::{self, Percentiles},
        median,
    },
    progress::Steps,
};

const FRAMES: usize = 16;
/// Agreement that is promised of probabilities.
const AGREEMENT: f64 = 1e-2;

#[derive(Serialize)]
pub struct Report {
    /// Set where no GPU was used: none of the figures is one of a GPU.
    on_cpu: bool,
    device: String,
    /// Name of the card, and CUDA version of its driver.
    card: Option<String>,
    driver_cuda: Option<String>,
    model: String,
    threads: usize,
    size: (u32, u32),
    /// Clips of each side.
    clips: u32,
    sides: Vec<Side>,
    /// What could not be measured, and why.
    missing: Vec<String>,
}

#[derive(Serialize)]
struct Side {
    name: String,
    /// Milliseconds of a clip: for the element and transformers preprocessing included.
    ms: Percentiles,
    /// Of the model alone, where that is known apart.
    model_ms: Option<Percentiles>,
    /// Median of each clip.
    cpu_seconds: f64,
    clips_per_second: f64,
    /// Beside transformers, where that ran.
    compared: Option<Compared>,
}

#[derive(Serialize)]
struct Compared {
    /// Times as fast: by the wall clock, and by processor time. Of whole clips.
    speed: f64,
    speed_by_cpu: f64,
    /// Of a probability, and of its logarithm.
    largest_difference: f64,
    largest_log_difference: f64,
    same_answer: bool,
}

impl Compared {
    /// `None` for a side that does no whole clips, or where there is nothing to compare with.
    fn of(answers: &[Answer], reference: Option<&Vec<Answer>>) -> Option<Self> {
        let reference = reference?;
        let got = answers.first()?.probabilities.as_ref()?;
        let want = reference.first()?.probabilities.as_ref()?;
        let speed = |value: fn(&Answer) -> f64| {
            let of = |answers: &[Answer]| median(&answers.iter().map(value).collect::<Vec<_>>());
            of(reference) / of(answers)
        };
        let pairs = || got.iter().zip(want);
        let best = |p: &[f64]| (0..p.len()).max_by(|a, b| p[*a].total_cmp(&p[*b]));
        Some(Self {
            speed: speed(|a| a.seconds),
            speed_by_cpu: speed(|a| a.cpu_seconds),
            largest_difference: pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max),
            largest_log_difference: pairs()
                .map(|(a, b)| (a.ln() - b.ln()).abs())
                .fold(0.0, f64::max),
            same_answer: got.len() == want.len() && best(got) == best(want),
        })
    }
}

impl Side {
    fn of(name: &str, answers: &[Answer], reference: Option<&Vec<Answer>>) -> Option<Self> {
        let ms = Percentiles::of(answers.iter().map(|a| a.seconds * 1e3).collect())?;
        let alone = answers.iter().filter_map(|a| a.model_seconds);
        let cpu: Vec<f64> = answers.iter().map(|a| a.cpu_seconds).collect();
        Some(Self {
            name: name.to_string(),
            model_ms: Percentiles::of(alone.map(|s| s * 1e3).collect()),
            cpu_seconds: median(&cpu),
            clips_per_second: 1e3 / ms.p50,
            compared: Compared::of(answers, reference),
            ms,
        })
    }
}

/// Rows of RGB as GStreamer has them, padded to four bytes.
fn padded(frames: &[Vec<u8>], size: (u32, u32)) -> Vec<gst::Buffer> {
    let row = size.0 as usize * 3;
    let stride = row.next_multiple_of(4);
    frames
        .iter()
        .map(|frame| {
            let mut padded = vec![0; stride * size.1 as usize];
            for (to, from) in padded.chunks_mut(stride).zip(frame.chunks(row)) {
                to[..row].copy_from_slice(from);
            }
            gst::Buffer::from_slice(padded)
        })
        .collect()
}

/// One side and, of those after it, which transformers it is compared with.
struct Turn {
    way: Box<dyn Way>,
    reference: Option<usize>,
    answers: Vec<Answer>,
}

pub fn run(options: &Options, video: &Path, driver: Option<&provider::Driver>) -> Result<Report> {
    let threads = match options.threads {
        0 => std::thread::available_parallelism()?.get(),
        n => n as usize,
    };
    let settings = InferenceSettings {
        device: options.device.clone(),
        num_threads: options.threads,
        ..InferenceSettings::default()
    };
    let on_gpu = driver.is_some();
    let mut steps = Steps::new(3);
    let (source, files) = steps.run("the model", 0, |_| match &options.model {
        Some(model) => Ok((None, vec![(options.precisions().join(" "), model.clone())])),
        None => reference::models(options).map(|(source, files)| (Some(source), files)),
    })?;
    let work = tempfile::tempdir().context("no temporary directory")?;
    let mut missing = Vec::new();
    let (mut turns, size) = steps.run("loading every side", 0, |_| {
        let (frames, size) = decoded(video, "RGB", FRAMES)?;
        let raw = work.path().join("clip.rgb");
        std::fs::write(&raw, frames.concat())?;
        let frames = padded(&frames, size);
        let mut turns: Vec<Turn> = Vec::new();
        for (precision, path) in &files {
            let mut compare = None;
            if let (Some(python), Some(source)) = (&options.python, &source) {
                // A CPU computes 16 bits in 32.
                let half = on_gpu && precision == "fp16";
                let name = format!("transformers {}", if half { "fp16" } else { "fp32" });
                compare = turns.iter().position(|turn| turn.way.name() == name);
                if compare.is_none() {
                    let way = Reference::start(options, python, source, &raw, size, threads, half)?;
                    turns.push(Turn {
                        way: Box::new(way),
                        reference: Some(turns.len()),
                        answers: Vec::new(),
                    });
                    compare = Some(turns.len() - 1);
                }
            }
            let (ways, without) = ways::all(precision, path, &settings, &frames, size)?;
            missing.extend(without);
            turns.extend(ways.into_iter().map(|way| Turn {
                way,
                reference: compare,
                answers: Vec::new(),
            }));
        }
        Ok((turns, size))
    })?;
    let clips = options.rounds * options.runs();
    let total = u64::from(clips) * turns.len() as u64;
    steps.run("clips in turns", total, |bar| {
        // The first ones warm up memory and caches, and kernels are chosen.
        let warm = if on_gpu { 3 } else { 1 };
        for clip in 0..clips + warm {
            for turn in &mut turns {
                bar.set_message(turn.way.name().to_string());
                let answer = turn.way.clip();
                let answer = answer.with_context(|| turn.way.name().to_string())?;
                if clip >= warm {
                    turn.answers.push(answer);
                    bar.inc(1);
                }
            }
        }
        Ok(())
    })?;
    let sides = turns
        .iter()
        .filter_map(|turn| {
            let reference = turn.reference.map(|at| &turns[at].answers);
            Side::of(turn.way.name(), &turn.answers, reference)
        })
        .collect();
    let card = driver.and_then(|d| d.gpus.get(gpu::index(&options.device) as usize));
    let report = Report {
        on_cpu: !on_gpu,
        device: options.device.clone(),
        card: card.map(|gpu| gpu.name.clone()),
        driver_cuda: driver.map(|d| format!("{}.{}", d.cuda.0, d.cuda.1)),
        model: match &options.model {
            Some(model) => model.display().to_string(),
            None => "random ViT-L".to_string(),
        },
        threads,
        size,
        clips,
        sides,
        missing,
    };
    for side in &report.sides {
        if let Some(compared) = &side.compared
            && compared.largest_difference > AGREEMENT
        {
            report.print();
            bail!(
                "{}: a probability is {:.1e} from transformers', more than {AGREEMENT:.0e}",
                side.name,
                compared.largest_difference
            );
        }
    }
    Ok(report)
}

impl Report {
    pub fn print(&self) {
        println!("\n{}", self.text());
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} on {}: clips of {FRAMES} frames of {}x{} RGB, {} threads, {} clips of each side in turns\n\n",
            self.model,
            match &self.card {
                Some(card) => format!(
                    "{card} ({}), CUDA {}",
                    self.device,
                    self.driver_cuda.as_deref().unwrap_or("–")
                ),
                None => "the CPU (no figure is one of a GPU)".to_string(),
            },
            self.size.0,
            self.size.1,
            self.threads,
            self.clips
        );
        let ms = |p: Option<&Percentiles>| {
            p.map_or_else(
                || "–".to_string(),
                |p| format!("{:.2} / {:.2} / {:.2}", p.p50, p.p95, p.p99),
            )
        };
        text += "| | a clip, ms p50 / p95 / p99 | the model alone | clips/s | CPU s | speed | by CPU | \
                 prob. diff | log diff | same |\n|---|---|---|---|---|---|---|---|---|---|\n";
        for side in &self.sides {
            let compared = match &side.compared {
                Some(c) => format!(
                    "{:.2}x | {:.2}x | {:.1e} | {:.1e} | {}",
                    c.speed,
                    c.speed_by_cpu,
                    c.largest_difference,
                    c.largest_log_difference,
                    if c.same_answer { "yes" } else { "no" }
                ),
                None => "– | – | – | – | –".to_string(),
            };
            text += &format!(
                "| {} | {} | {} | {:.3} | {:.3} | {compared} |\n",
                side.name,
                ms(Some(&side.ms)),
                ms(side.model_ms.as_ref()),
                side.clips_per_second,
                side.cpu_seconds
            );
        }
        for missing in &self.missing {
            text += &format!("\nnot measured: {missing}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(seconds: f64, probabilities: Option<Vec<f64>>) -> Vec<Answer> {
        let one = |probabilities| Answer {
            seconds,
            model_seconds: None,
            cpu_seconds: seconds,
            probabilities,
        };
        vec![one(probabilities)]
    }

    #[test]
    fn sides_are_compared_with_transformers_where_both_say_what_they_see() {
        let theirs = answers(0.2, Some(vec![0.7, 0.3]));
        let ours = answers(0.1, Some(vec![0.69, 0.31]));
        let side = Side::of("a", &ours, Some(&theirs)).unwrap();
        let compared = side.compared.unwrap();
        assert!((compared.speed - 2.0).abs() < 1e-9 && compared.same_answer);
        assert!((compared.largest_difference - 0.01).abs() < 1e-9);
        assert_eq!((side.ms.p50, side.model_ms), (100.0, None));
        let bare = Side::of("b", &answers(0.1, None), Some(&theirs)).unwrap();
        assert!(bare.compared.is_none());
        assert!(Side::of("c", &ours, None).unwrap().compared.is_none());
    }

    #[test]
    fn rows_are_padded() {
        gst::init().unwrap();
        let frames = padded(&[(1..=6).collect::<Vec<u8>>()], (1, 2));
        let map = frames[0].map_readable().unwrap();
        assert_eq!(&map[..], [1, 2, 3, 0, 4, 5, 6, 0]);
    }
}
