// SPDX-License-Identifier: Apache-2.0
//! The file beside a detection model that says what it takes and gives.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::DetectError;

/// Larger inputs and more classes are taken for a mistake.
const MAX_SIDE: usize = 4096;
const MAX_LABELS: usize = 10_000;

/// How the output is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// One output [1, cells, 5 + classes]: box, objectness, classes.
    Yolox,
    /// `labels`, `boxes`, `scores`, or `logits` and `pred_boxes`.
    Dfine,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Color {
    #[default]
    #[serde(rename = "RGB")]
    Rgb,
    #[serde(rename = "BGR")]
    Bgr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// Scaled evenly into the upper left corner, the rest filled.
    #[default]
    Letterbox,
    /// Scaled to the whole input, whatever that does to the shape.
    Stretch,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    pub width: usize,
    pub height: usize,
    #[serde(default)]
    pub color: Color,
    /// (value - mean) / std, values 0 to 255, in the model's order of colours.
    #[serde(default)]
    pub mean: [f32; 3],
    #[serde(default = "ones")]
    pub std: [f32; 3],
    #[serde(default)]
    pub resize: Resize,
    #[serde(default = "grey")]
    pub pad: f32,
}

fn ones() -> [f32; 3] {
    [1.0; 3]
}

fn grey() -> f32 {
    114.0
}

fn strides() -> Vec<usize> {
    vec![8, 16, 32]
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sidecar {
    pub family: Family,
    /// YOLOX: boxes are in pixels and scores are probabilities already.
    #[serde(default)]
    pub decoded: bool,
    #[serde(default = "strides")]
    pub strides: Vec<usize>,
    pub input: Input,
    #[serde(default = "threshold")]
    pub threshold: f32,
    #[serde(default = "overlap")]
    pub nms_threshold: f32,
    #[serde(default)]
    pub labels: Vec<String>,
}

fn threshold() -> f32 {
    0.3
}

fn overlap() -> f32 {
    0.45
}

impl Sidecar {
    /// Reads the text of a sidecar; `path` is for messages.
    pub fn parse(text: &str, path: &str) -> Result<Self, DetectError> {
        let refuse = |problem: String| DetectError::Sidecar {
            path: path.to_owned(),
            problem,
        };
        let sidecar: Self =
            serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        let input = &sidecar.input;
        for (what, side) in [("width", input.width), ("height", input.height)] {
            if !(1..=MAX_SIDE).contains(&side) {
                return Err(refuse(format!(
                    "input {what} {side} is not in 1 to {MAX_SIDE}"
                )));
            }
        }
        if input.std.iter().any(|v| *v == 0.0 || !v.is_finite())
            || input.mean.iter().any(|v| !v.is_finite())
        {
            return Err(refuse("mean and std must be numbers, and std not 0".into()));
        }
        for (what, value) in [
            ("threshold", sidecar.threshold),
            ("nms_threshold", sidecar.nms_threshold),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(refuse(format!("{what} {value} is not in 0 to 1")));
            }
        }
        if sidecar.strides.is_empty() || sidecar.strides.iter().any(|s| !(1..=MAX_SIDE).contains(s))
        {
            return Err(refuse("strides must be whole numbers above 0".into()));
        }
        if sidecar.labels.len() > MAX_LABELS {
            return Err(refuse(format!("more than {MAX_LABELS} labels")));
        }
        Ok(sidecar)
    }

    pub fn read(path: &Path) -> Result<Self, DetectError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| DetectError::Sidecar {
            path: shown.clone(),
            problem: format!("cannot read what the model takes and gives: {error}"),
        })?;
        Self::parse(&text, &shown)
    }

    /// Where the sidecar of a model is looked for: beside it, with `.json` for `.onnx`.
    pub fn beside(model: &Path) -> PathBuf {
        model.with_extension("json")
    }

    /// One label a line, in place of the sidecar's.
    pub fn read_labels(&mut self, path: &Path) -> Result<(), DetectError> {
        let refuse = |problem: String| DetectError::Sidecar {
            path: path.display().to_string(),
            problem,
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| refuse(format!("cannot read the labels: {error}")))?;
        let labels: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        if labels.len() > MAX_LABELS {
            return Err(refuse(format!("more than {MAX_LABELS} labels")));
        }
        self.labels = labels;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_left_out_has_a_default() {
        let sidecar = Sidecar::parse(
            r#"{"family": "yolox", "input": {"width": 416, "height": 416, "color": "BGR"}}"#,
            "m.json",
        )
        .unwrap();
        assert_eq!(sidecar.strides, [8, 16, 32]);
        assert_eq!(sidecar.input.std, [1.0; 3]);
        assert_eq!(sidecar.input.color, Color::Bgr);
        assert!(!sidecar.decoded);
    }

    #[test]
    fn mistakes_are_named_with_the_file() {
        for (text, needle) in [
            ("", "EOF"),
            (r#"{"input": {"width": 1, "height": 1}}"#, "family"),
            (
                r#"{"family": "ssd", "input": {"width": 1, "height": 1}}"#,
                "ssd",
            ),
            (
                r#"{"family": "yolox", "input": {"width": 0, "height": 1}}"#,
                "width 0",
            ),
            (
                r#"{"family": "yolox", "input": {"width": 1, "height": 1, "std": [1, 0, 1]}}"#,
                "std",
            ),
            (
                r#"{"family": "yolox", "threshold": 2, "input": {"width": 1, "height": 1}}"#,
                "threshold 2",
            ),
            (
                r#"{"family": "yolox", "strides": [], "input": {"width": 1, "height": 1}}"#,
                "strides",
            ),
            (
                r#"{"family": "yolox", "treshold": 0.2, "input": {"width": 1, "height": 1}}"#,
                "treshold",
            ),
        ] {
            let message = Sidecar::parse(text, "m.json").unwrap_err().to_string();
            assert!(
                message.contains(needle) && message.starts_with("m.json"),
                "{message}"
            );
        }
    }

    #[test]
    fn the_sidecars_in_the_repository_are_valid() {
        for text in [
            include_str!("../../../../models/enhance/sidecars/yolox-nano.json"),
            include_str!("../../../../models/enhance/sidecars/d-fine.json"),
        ] {
            let sidecar = Sidecar::parse(text, "m.json").unwrap();
            assert_eq!(sidecar.labels.len(), 80);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = Sidecar::parse(&text, "m.json");
        }
    }
}
