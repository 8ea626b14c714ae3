// SPDX-License-Identifier: Apache-2.0
//! What a classifier needs to know about its model, from three places: the shapes in the ONNX
//! file, its metadata, and a sidecar `NAME.json` beside `NAME.onnx`, which overrides the metadata.
//! Where there is no sidecar, transformers' `config.json` and `video_preprocessor_config.json` in
//! the same folder are one.
//!
//! | metadata and sidecar key | example | without it |
//! |---|---|---|
//! | `labels` | lines (metadata), list (sidecar) | "class 0", "class 1" … |
//! | `frames-per-clip` | 16 | the shape's |
//! | `size` | 64 | the shape's |
//! | `resize-short-side` | 64 | `size` |
//! | `mean`, `std` | 0.485,0.456,0.406 | ImageNet's |
//! | `frame-stride` | 2 | 4 |
//! | `name` | vjepa2-motion | the file's name |

mod transformers;

use std::{
    fs,
    path::{Path, PathBuf},
};

use aivideo_core::{
    engine::{Engine, ModelSource},
    tensor::{ElementType, TensorInfo},
};
use serde_json::Value;
use thiserror::Error;

use crate::preprocess::Preprocessing;

/// Of the published evaluation of V-JEPA 2's classifiers.
const DEFAULT_FRAME_STRIDE: usize = 4;
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];
/// More than any model of this kind takes: a wrong number must not exhaust the memory.
const MAX_SIDE: usize = 4096;
const MAX_FRAMES: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModelError {
    #[error(
        "{model} is not a video classifier: expected one input float32[B,T,3,S,S] (clips of T, usually 16, RGB frames of S x S), it has {got}. Give `model-location` a file made by models/training/vjepa2/export.py"
    )]
    Input { model: String, got: String },
    #[error(
        "{model} is not a video classifier: expected an output float32[B,N] of N classes, it has {got}"
    )]
    Output { model: String, got: String },
    #[error("{model}: its metadata '{key}' is '{value}': {expected}")]
    Metadata {
        model: String,
        key: &'static str,
        value: String,
        expected: String,
    },
    #[error("'{}' beside the model cannot be used: {reason}", path.display())]
    Sidecar { path: PathBuf, reason: String },
    #[error("labels-file '{}' cannot be read: {reason}", path.display())]
    LabelsUnreadable { path: PathBuf, reason: String },
    #[error(
        "{origin} names {got} classes, the model has {expected}: one label a line is needed for each class"
    )]
    LabelCount {
        origin: String,
        got: usize,
        expected: usize,
    },
}

impl ModelError {
    /// The message that the element posts for this error.
    pub fn to_error_message(&self) -> gst::ErrorMessage {
        match self {
            Self::Input { .. } | Self::Output { .. } | Self::Metadata { .. } => {
                gst::error_msg!(gst::StreamError::WrongType, ("{self}"))
            }
            Self::Sidecar { .. } | Self::LabelsUnreadable { .. } => {
                gst::error_msg!(gst::ResourceError::OpenRead, ("{self}"))
            }
            Self::LabelCount { .. } => gst::error_msg!(gst::ResourceError::Settings, ("{self}")),
        }
    }
}

/// A model that has been found to be a video classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassifierModel {
    /// For results: the name in the metadata, else the file's.
    pub name: String,
    pub input: String,
    pub output: String,
    pub frames: usize,
    pub frame_stride: usize,
    pub preprocessing: Preprocessing,
    pub labels: Vec<String>,
}

/// The parts of a model file.
pub struct Description<'a> {
    /// How messages name the model.
    pub origin: String,
    /// The file's name without its extension.
    pub stem: String,
    pub inputs: &'a [TensorInfo],
    pub outputs: &'a [TensorInfo],
    pub metadata: &'a dyn Fn(&str) -> Option<String>,
    pub sidecar: Option<(PathBuf, String)>,
}

impl ClassifierModel {
    /// Reads the description of a loaded model.
    pub fn of_engine(
        engine: &Engine,
        source: &ModelSource,
        labels_file: Option<&Path>,
    ) -> Result<Self, ModelError> {
        let stem = match source {
            ModelSource::Embedded { name, .. } => name.to_string(),
            ModelSource::File(path) => path
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
                .unwrap_or_default(),
        };
        Self::new(
            &Description {
                origin: source.describe(),
                stem,
                inputs: engine.inputs(),
                outputs: engine.outputs(),
                metadata: &|key| engine.metadata(key),
                sidecar: sidecar(source)?,
            },
            labels_file,
        )
    }

    pub fn new(about: &Description<'_>, labels_file: Option<&Path>) -> Result<Self, ModelError> {
        let entries = Entries::new(about)?;
        let wrong_input = || ModelError::Input {
            model: about.origin.clone(),
            got: list(about.inputs),
        };
        let [input] = about.inputs else {
            return Err(wrong_input());
        };
        let [_, frames, Some(3), rows, columns] = input.shape[..] else {
            return Err(wrong_input());
        };
        if input.ty != ElementType::F32 {
            return Err(wrong_input());
        }
        let frames = entries.size("frames-per-clip", frames, MAX_FRAMES)?;
        let side = entries.size("size", rows, MAX_SIDE)?;
        let (Some(frames), Some(side)) = (frames, side) else {
            return Err(wrong_input());
        };
        if columns.is_some_and(|columns| columns != side) {
            return Err(wrong_input());
        }

        let output = about
            .outputs
            .iter()
            .find(|output| output.name == "logits")
            .or(about.outputs.first())
            .filter(|output| output.shape.len() == 2 && output.ty == ElementType::F32)
            .ok_or_else(|| ModelError::Output {
                model: about.origin.clone(),
                got: list(about.outputs),
            })?;
        let classes = output.shape[1];
        let labels = match labels_file {
            Some(path) => Some((
                format!("labels-file '{}'", path.display()),
                read_labels(path)?,
            )),
            None => entries
                .labels()?
                .map(|labels| (format!("the metadata of {}", about.origin), labels)),
        };
        let labels = match (labels, classes) {
            (Some((origin, labels)), Some(classes)) if labels.len() != classes => {
                return Err(ModelError::LabelCount {
                    origin,
                    got: labels.len(),
                    expected: classes,
                });
            }
            (Some((_, labels)), _) => labels,
            (None, Some(classes)) => (0..classes).map(|i| format!("class {i}")).collect(),
            (None, None) => {
                return Err(ModelError::Output {
                    model: about.origin.clone(),
                    got: list(about.outputs),
                });
            }
        };

        let resize_short_side = entries
            .number("resize-short-side", side, MAX_SIDE)?
            .unwrap_or(side);
        Ok(Self {
            name: entries.text("name").unwrap_or_else(|| about.stem.clone()),
            input: input.name.clone(),
            output: output.name.clone(),
            frames,
            frame_stride: entries
                .number("frame-stride", 1, MAX_FRAMES)?
                .unwrap_or(DEFAULT_FRAME_STRIDE),
            preprocessing: Preprocessing {
                size: side,
                resize_short_side,
                mean: entries.colour("mean", -10.0)?.unwrap_or(IMAGENET_MEAN),
                std: entries.colour("std", 1e-6)?.unwrap_or(IMAGENET_STD),
            },
            labels,
        })
    }
}

fn list(tensors: &[TensorInfo]) -> String {
    if tensors.is_empty() {
        return "none".to_string();
    }
    let each: Vec<String> = tensors
        .iter()
        .map(|tensor| format!("'{}' {tensor}", tensor.name))
        .collect();
    each.join(", ")
}

/// The JSON file beside the model, if there is one.
fn sidecar(source: &ModelSource) -> Result<Option<(PathBuf, String)>, ModelError> {
    let ModelSource::File(model) = source else {
        return Ok(None);
    };
    let path = model.with_extension("json");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
            let folder = model.parent().unwrap_or(Path::new("."));
            transformers::sidecar(folder)
        }
        Err(err) => Err(ModelError::Sidecar {
            path,
            reason: err.to_string(),
        }),
    }
}

/// One label a line; empty lines at the end do not count.
fn read_labels(path: &Path) -> Result<Vec<String>, ModelError> {
    let text = fs::read_to_string(path).map_err(|err| ModelError::LabelsUnreadable {
        path: path.to_path_buf(),
        reason: err.to_string(),
    })?;
    Ok(lines(&text))
}

fn lines(text: &str) -> Vec<String> {
    text.trim_end()
        .lines()
        .map(|line| line.trim().to_string())
        .collect()
}

/// Sidecar first, then metadata.
struct Entries<'a> {
    about: &'a Description<'a>,
    sidecar: Option<serde_json::Map<String, Value>>,
}

impl<'a> Entries<'a> {
    fn new(about: &'a Description<'a>) -> Result<Self, ModelError> {
        let sidecar = match &about.sidecar {
            None => None,
            Some((path, text)) => match serde_json::from_str(text) {
                Ok(Value::Object(map)) => Some(map),
                other => {
                    return Err(ModelError::Sidecar {
                        path: path.clone(),
                        reason: match other {
                            Err(err) => format!("it is not JSON: {err}"),
                            Ok(_) => "it is not a JSON object".to_string(),
                        },
                    });
                }
            },
        };
        Ok(Self { about, sidecar })
    }

    /// The entry as text: lists become comma-separated.
    fn text(&self, key: &str) -> Option<String> {
        match self.sidecar.as_ref().and_then(|map| map.get(key)) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Array(items)) => {
                let items: Vec<String> = items.iter().map(Value::to_string).collect();
                Some(items.join(","))
            }
            Some(value) => Some(value.to_string()),
            None => (self.about.metadata)(key),
        }
    }

    fn bad(&self, key: &'static str, value: String, expected: String) -> ModelError {
        ModelError::Metadata {
            model: self.about.origin.clone(),
            key,
            value,
            expected,
        }
    }

    fn number(
        &self,
        key: &'static str,
        least: usize,
        most: usize,
    ) -> Result<Option<usize>, ModelError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        match text.trim().parse::<usize>() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(self.bad(
                key,
                text,
                format!("a whole number from {least} to {most} is needed"),
            )),
        }
    }

    /// A dimension that the shape may fix; an entry that contradicts the shape is an error.
    fn size(
        &self,
        key: &'static str,
        shape: Option<usize>,
        most: usize,
    ) -> Result<Option<usize>, ModelError> {
        let entry = self.number(key, 1, most)?;
        match (shape, entry) {
            (Some(shape), Some(entry)) if shape != entry => Err(self.bad(
                key,
                entry.to_string(),
                format!("the model's input says {shape}"),
            )),
            (Some(shape), _) => Ok((1..=most).contains(&shape).then_some(shape)),
            (None, entry) => Ok(entry),
        }
    }

    fn colour(&self, key: &'static str, least: f32) -> Result<Option<[f32; 3]>, ModelError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        let numbers: Option<Vec<f32>> = text
            .split(',')
            .map(|part| part.trim().parse().ok())
            .collect();
        match numbers.as_deref() {
            Some(&[r, g, b]) if [r, g, b].iter().all(|n| n.is_finite() && *n >= least) => {
                Ok(Some([r, g, b]))
            }
            _ => Err(self.bad(
                key,
                text,
                format!("three numbers of at least {least} are needed"),
            )),
        }
    }

    fn labels(&self) -> Result<Option<Vec<String>>, ModelError> {
        match self.sidecar.as_ref().and_then(|map| map.get("labels")) {
            Some(Value::Array(items)) => {
                let labels: Option<Vec<String>> = items
                    .iter()
                    .map(|item| item.as_str().map(str::to_string))
                    .collect();
                labels.map(Some).ok_or_else(|| {
                    self.bad(
                        "labels",
                        Value::Array(items.clone()).to_string(),
                        "a list of strings is needed".to_string(),
                    )
                })
            }
            Some(other) => Err(self.bad(
                "labels",
                other.to_string(),
                "a list of strings is needed".to_string(),
            )),
            None => Ok((self.about.metadata)("labels").map(|text| lines(&text))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn tensor(name: &str, shape: &[Option<usize>]) -> TensorInfo {
        TensorInfo {
            name: name.to_string(),
            shape: shape.to_vec(),
            ty: ElementType::F32,
        }
    }

    fn video() -> Vec<TensorInfo> {
        vec![tensor(
            "pixel_values_videos",
            &[None, Some(16), Some(3), Some(64), Some(64)],
        )]
    }

    fn describe(
        inputs: Vec<TensorInfo>,
        metadata: &'static [(&str, &str)],
        sidecar: Option<&str>,
        labels_file: Option<&Path>,
    ) -> Result<ClassifierModel, ModelError> {
        let outputs = [tensor("logits", &[None, Some(3)])];
        let find = |key: &str| {
            metadata
                .iter()
                .find(|(k, _)| *k == key)
                .map(|(_, v)| v.to_string())
        };
        ClassifierModel::new(
            &Description {
                origin: "model file 'm.onnx'".to_string(),
                stem: "m".to_string(),
                inputs: &inputs,
                outputs: &outputs,
                metadata: &find,
                sidecar: sidecar.map(|text| ("m.json".into(), text.to_string())),
            },
            labels_file,
        )
    }

    #[test]
    fn a_bare_model_gets_the_familys_defaults() {
        let model = describe(video(), &[], None, None).unwrap();
        assert_eq!((model.frames, model.frame_stride), (16, 4));
        assert_eq!(model.preprocessing.size, 64);
        assert_eq!(model.preprocessing.resize_short_side, 64);
        assert_eq!(model.preprocessing.mean, IMAGENET_MEAN);
        assert_eq!(model.labels, ["class 0", "class 1", "class 2"]);
        assert_eq!(
            (model.name.as_str(), model.output.as_str()),
            ("m", "logits")
        );
    }

    #[test]
    fn metadata_is_read_and_the_sidecar_overrides_it() {
        static META: &[(&str, &str)] = &[
            ("labels", "a\nb\nc\n"),
            ("resize-short-side", "73"),
            ("mean", "0.5, 0.5,0.25"),
            ("frame-stride", "2"),
            ("name", "motion"),
        ];
        let model = describe(video(), META, None, None).unwrap();
        assert_eq!(model.labels, ["a", "b", "c"]);
        assert_eq!(model.preprocessing.resize_short_side, 73);
        assert_eq!(model.preprocessing.mean, [0.5, 0.5, 0.25]);
        assert_eq!((model.frame_stride, model.name.as_str()), (2, "motion"));
        let sidecar = r#"{"labels": ["x", "y", "z"], "frame-stride": 3, "std": [1, 2, 0.5]}"#;
        let model = describe(video(), META, Some(sidecar), None).unwrap();
        assert_eq!(model.labels, ["x", "y", "z"]);
        assert_eq!(model.frame_stride, 3);
        assert_eq!(model.preprocessing.std, [1.0, 2.0, 0.5]);
    }

    #[test]
    fn labels_file_overrides_and_must_fit() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"one\ntwo\nthree\n\n").unwrap();
        let model = describe(video(), &[("labels", "a\nb\nc")], None, Some(file.path())).unwrap();
        assert_eq!(model.labels, ["one", "two", "three"]);
        file.write_all(b"four\n").unwrap();
        let err = describe(video(), &[], None, Some(file.path())).unwrap_err();
        assert!(
            matches!(
                err,
                ModelError::LabelCount {
                    got: 5,
                    expected: 3,
                    ..
                }
            ),
            "{err}"
        );
        let err = describe(video(), &[], None, Some(Path::new("/nonexistent/l"))).unwrap_err();
        assert!(err.to_string().contains("/nonexistent/l"));
    }

    #[test]
    fn wrong_models_are_refused_with_their_shapes() {
        let image = vec![tensor("x", &[Some(1), Some(3), Some(224), Some(224)])];
        let err = describe(image, &[], None, None).unwrap_err().to_string();
        assert!(
            err.contains("[B,T,3,S,S]") && err.contains("float32[1,3,224,224]"),
            "{err}"
        );
        let oblong = vec![tensor("x", &[None, Some(16), Some(3), Some(64), Some(48)])];
        assert!(describe(oblong, &[], None, None).is_err());
        let open = vec![tensor("x", &[None, None, Some(3), None, None])];
        assert!(describe(open.clone(), &[], None, None).is_err());
        let model = describe(
            open,
            &[("frames-per-clip", "8"), ("size", "32")],
            None,
            None,
        )
        .unwrap();
        assert_eq!((model.frames, model.preprocessing.size), (8, 32));
        let mut half = video();
        half[0].ty = ElementType::F16;
        assert!(describe(half, &[], None, None).is_err());
    }

    #[test]
    fn senseless_entries_are_errors() {
        for metadata in [
            &[("frames-per-clip", "8")] as &'static [_],
            &[("resize-short-side", "63")],
            &[("mean", "1,2")],
            &[("std", "0,1,1")],
            &[("frame-stride", "-1")],
            &[("size", "1e9")],
        ] {
            let err = describe(video(), metadata, None, None).unwrap_err();
            assert!(matches!(err, ModelError::Metadata { .. }), "{err}");
        }
        for sidecar in ["", "[]", r#"{"labels": [1]}"#, r#"{"labels": "a"}"#] {
            assert!(
                describe(video(), &[], Some(sidecar), None).is_err(),
                "{sidecar}"
            );
        }
    }
}
