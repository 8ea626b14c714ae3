// SPDX-License-Identifier: Apache-2.0
//! PyTorch on the weights that the ONNX files were made of: models/training/bench_torch.py.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Options, Percentiles};
use crate::environment;

#[derive(Deserialize)]
struct Answer {
    /// Of each run; absent where the script does not know the model.
    milliseconds: Option<Vec<f64>>,
}

/// `None` for a model that has no weights outside of its ONNX file.
pub fn measure(
    python: &Path,
    model: &str,
    (width, height): (u32, u32),
    options: &Options,
    half: bool,
) -> Result<Option<Percentiles>> {
    let device = match options.device.split_once(':') {
        _ if options.device == "cpu" => "cpu".to_string(),
        Some((_, index)) => format!("cuda:{index}"),
        None => "cuda:0".to_string(),
    };
    let mut command = Command::new(python);
    command
        .arg("bench_torch.py")
        .args(["--model", model, "--device", &device])
        .args([
            "--width",
            &width.to_string(),
            "--height",
            &height.to_string(),
        ])
        .args(["--runs", &(options.rounds * options.runs).to_string()])
        .current_dir(environment::root()?.join("models/training"));
    if half {
        command.arg("--half");
    }
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", python.display()))?;
    if !output.status.success() {
        bail!(
            "{model} in PyTorch failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let answer: Answer =
        serde_json::from_slice(&output.stdout).context("bench_torch.py's answer")?;
    Ok(answer.milliseconds.and_then(Percentiles::of))
}
