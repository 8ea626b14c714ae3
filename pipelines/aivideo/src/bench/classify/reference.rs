// SPDX-License-Identifier: Apache-2.0
//! The scripts of models/training/vjepa2: the random model, its exports, and transformers itself.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{
    Options,
    ways::{Answer, Way},
};
use crate::{bench::gpu, environment};

/// A script, to be run in its folder.
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
             and set --python; or name an exported model with --model):\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// The random model's folder and its exported files, made if they are missing.
pub fn models(options: &Options) -> Result<(PathBuf, Vec<(String, PathBuf)>)> {
    let python = options.python.as_deref().unwrap_or(Path::new("python3"));
    let absolute = std::path::absolute(&options.models)?;
    let source = absolute.join("vitl");
    if !source.join("config.json").is_file() {
        let mut command = script(python, "random_model.py")?;
        command.arg(&source);
        run_script(command)?;
    }
    let name = match &options.attention {
        Some(attention) => format!("vitl-{attention}"),
        None => "vitl".to_string(),
    };
    let mut files = Vec::new();
    for precision in options.precisions() {
        let path = absolute.join(format!("{name}-{precision}.onnx"));
        // The sidecar is written last.
        if !path.with_extension("json").is_file() {
            let mut command = script(python, "export.py")?;
            command.arg(&source).arg("--out").arg(&absolute);
            command.args(["--name", &name, "--precision", &precision]);
            if let Some(attention) = &options.attention {
                command.args(["--attention", attention]);
            }
            run_script(command)?;
        }
        files.push((precision, path));
    }
    Ok((source, files))
}

/// transformers in a process of its own, which stays.
pub struct Reference {
    name: String,
    process: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

#[derive(Deserialize)]
struct Line {
    seconds: f64,
    preprocessing: f64,
    cpu_seconds: f64,
    probabilities: Vec<f64>,
}

impl Reference {
    /// Over a clip of raw RGB frames of this size.
    pub fn start(
        options: &Options,
        python: &Path,
        source: &Path,
        clip: &Path,
        size: (u32, u32),
        threads: usize,
        half: bool,
    ) -> Result<Self> {
        let mut command = script(python, "reference.py")?;
        command.arg(source).arg(clip);
        command.args([size.0.to_string(), size.1.to_string()]);
        match options.device.as_str() {
            "cpu" => command.args(["--threads", &threads.to_string()]),
            device => command.args(["--device", &format!("cuda:{}", gpu::index(device))]),
        };
        if half {
            command.arg("--half");
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {command:?}: set --python"))?;
        let input = process.stdin.take();
        let lines = BufReader::new(process.stdout.take().context("no output")?).lines();
        let mut this = Self {
            name: format!("transformers {}", if half { "fp16" } else { "fp32" }),
            process,
            input,
            lines,
        };
        match this.lines.next() {
            Some(Ok(line)) if line == "ready" => Ok(this),
            _ => bail!("{command:?} does not start; run it by hand to see why"),
        }
    }
}

impl Way for Reference {
    fn name(&self) -> &str {
        &self.name
    }

    fn clip(&mut self) -> Result<Answer> {
        let input = self.input.as_mut().context("no input")?;
        writeln!(input, "clip")?;
        let line = self
            .lines
            .next()
            .context("transformers ended without an answer")??;
        let line: Line = serde_json::from_str(&line)?;
        Ok(Answer {
            seconds: line.seconds,
            model_seconds: Some(line.seconds - line.preprocessing),
            cpu_seconds: line.cpu_seconds,
            probabilities: Some(line.probabilities),
        })
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // The end of its input is the end of the process.
        self.input = None;
        let _ = self.process.wait();
    }
}
