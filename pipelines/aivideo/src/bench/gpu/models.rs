// SPDX-License-Identifier: Apache-2.0
//! Each model through its engine, beside ONNX Runtime's bare call on the same tensors, in turns; and
//! beside PyTorch on the same weights where there is a Python that has it.

use std::{path::PathBuf, time::Instant};

use aivideo_core::{
    engine::{Bare, Engine, ModelSource, Tensor},
    settings::InferenceSettings,
};
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use serde::Serialize;

use super::{Options, Percentiles, torch};
use crate::environment;

#[derive(Serialize)]
pub struct Figure {
    pub name: String,
    /// Where the engine ran it.
    pub device: String,
    /// Bytes of its inputs.
    pub input_bytes: u64,
    /// Milliseconds of a run: through the engine, as elements do it.
    pub engine_ms: Option<Percentiles>,
    /// ONNX Runtime alone.
    pub bare_ms: Option<Percentiles>,
    /// Median over median, less 1.
    pub overhead: Option<f64>,
    /// PyTorch on the same weights, tensors on its device already, synchronised.
    pub torch_ms: Option<Percentiles>,
    pub torch_fp16_ms: Option<Percentiles>,
}

/// A shipped model and its inputs for pictures of a size.
pub struct Model {
    pub name: &'static str,
    file: &'static str,
    inputs: fn(usize, usize) -> Vec<(&'static str, Tensor)>,
}

/// Bytes without any pattern that a kernel could be quick about.
fn bytes(shape: [usize; 4]) -> Tensor {
    let mut state = 0x9e37_79b9u32;
    let data = (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    Tensor::u8(shape, data)
}

fn signed(shape: [usize; 4]) -> Tensor {
    let data = (0..shape.iter().product::<usize>())
        .map(|i| ((i * 31 % 7) as i8) - 3)
        .collect();
    Tensor::i8(shape, data)
}

/// What both of the codec's networks take.
fn prediction(w: usize, h: usize) -> Vec<(&'static str, Tensor)> {
    vec![
        ("pred_y", bytes([1, 1, h, w])),
        ("pred_uv", bytes([1, 2, h / 2, w / 2])),
        ("state", signed([1, 32, h / 8, w / 8])),
        ("quality", Tensor::i64([1], vec![32])),
    ]
}

fn coded_size(w: usize, h: usize) -> (usize, usize) {
    (w.next_multiple_of(64), h.next_multiple_of(64))
}

pub const MODELS: [Model; 8] = [
    Model {
        name: "codec encode",
        file: "codec/s-encode.onnx",
        inputs: |w, h| {
            let (w, h) = coded_size(w, h);
            let mut inputs = prediction(w, h);
            inputs.push(("y", bytes([1, 1, h, w])));
            inputs.push(("uv", bytes([1, 2, h / 2, w / 2])));
            inputs.push((
                "skip",
                Tensor::u8([1, 1, h / 16, w / 16], vec![0; w * h / 256]),
            ));
            inputs
        },
    },
    Model {
        name: "codec decode",
        file: "codec/s-decode.onnx",
        inputs: |w, h| {
            let (w, h) = coded_size(w, h);
            let mut inputs = prediction(w, h);
            inputs.push(("z", signed([1, 32, h / 64, w / 64])));
            let symbols = (0..w * h / 2).map(|i| (i % 5) as i16 - 2).collect();
            inputs.push(("sym", Tensor::i16([1, 128, h / 16, w / 16], symbols)));
            inputs
        },
    },
    Model {
        name: "classifier (a clip, any size)",
        file: "classify/vjepa2-motion.onnx",
        inputs: |_, _| {
            let data = (0..16 * 3 * 64 * 64)
                .map(|i| (i % 255) as f32 / 127.0 - 1.0)
                .collect();
            vec![("pixel_values_videos", Tensor::f32([1, 16, 3, 64, 64], data))]
        },
    },
    Model {
        name: "denoise",
        file: "enhance/denoise.onnx",
        inputs: noisy,
    },
    Model {
        name: "denoise, large",
        file: "enhance/denoise-large.onnx",
        inputs: noisy,
    },
    Model {
        name: "upscale to this size",
        file: "enhance/upscale-x2.onnx",
        inputs: |w, h| vec![("x", bytes([1, 1, h / 2, w / 2]))],
    },
    Model {
        name: "upscale to this size, large",
        file: "enhance/upscale-x2-large.onnx",
        inputs: |w, h| vec![("x", bytes([1, 1, h / 2, w / 2]))],
    },
    Model {
        name: "restore",
        file: "restore/restore.onnx",
        inputs: |w, h| {
            let (w, h) = (w.next_multiple_of(8), h.next_multiple_of(8));
            vec![
                ("y", bytes([1, 1, h, w])),
                ("uv", bytes([1, 2, h / 2, w / 2])),
                ("y_before", bytes([1, 1, h, w])),
                ("uv_before", bytes([1, 2, h / 2, w / 2])),
                ("condition", Tensor::f32([4], vec![0.5, 1.0, 0.0, 1.0])),
            ]
        },
    },
];

fn noisy(w: usize, h: usize) -> Vec<(&'static str, Tensor)> {
    let (w, h) = (w.next_multiple_of(8), h.next_multiple_of(8));
    vec![
        ("y", bytes([1, 1, h, w])),
        ("uv", bytes([1, 2, h / 2, w / 2])),
        ("sigma", Tensor::f32([2], vec![15.0, 15.0])),
    ]
}

impl Model {
    fn source(&self) -> Result<ModelSource> {
        let path: PathBuf = environment::root()?.join("models").join(self.file);
        Ok(ModelSource::File(path))
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

pub fn measure(options: &Options, size: (u32, u32), bar: &ProgressBar) -> Result<Vec<Figure>> {
    let settings = InferenceSettings {
        device: options.device.clone(),
        ..InferenceSettings::default()
    };
    let (w, h) = (size.0 as usize, size.1 as usize);
    MODELS
        .iter()
        .filter(|model| options.wants_name(model.name))
        .map(|model| {
            bar.set_message(model.name);
            let inputs = || (model.inputs)(w, h);
            let one = || -> Result<Figure> {
                let source = model.source()?;
                let engine = Engine::acquire(&source, &settings)?;
                let mut bare = Bare::new(&source, &settings, inputs())?;
                let given = inputs();
                let input_bytes = given.iter().map(|(_, tensor)| tensor.bytes()).sum();
                let (mut through, mut alone) = (Vec::new(), Vec::new());
                for round in 0..=options.rounds {
                    let (mut a, mut b) = (Vec::new(), Vec::new());
                    // The first round only warms up: kernels are chosen and memory is taken.
                    for _ in 0..if round == 0 { 3 } else { options.runs } {
                        // The copies are made outside of the time: elements own their frames.
                        let mine = given.clone();
                        let start = Instant::now();
                        engine.run(mine)?;
                        a.push(milliseconds(start));
                        let start = Instant::now();
                        bare.run()?;
                        b.push(milliseconds(start));
                    }
                    if round > 0 {
                        through.append(&mut a);
                        alone.append(&mut b);
                    }
                }
                let (engine_ms, bare_ms) = (Percentiles::of(through), Percentiles::of(alone));
                let overhead = match (&engine_ms, &bare_ms) {
                    (Some(engine), Some(bare)) if bare.p50 > 0.0 => {
                        Some(engine.p50 / bare.p50 - 1.0)
                    }
                    _ => None,
                };
                let torch = |half| match &options.python {
                    Some(python) => torch::measure(python, model.name, size, options, half),
                    None => Ok(None),
                };
                Ok(Figure {
                    name: model.name.to_string(),
                    device: engine.device_in_use().to_string(),
                    input_bytes,
                    engine_ms,
                    bare_ms,
                    overhead,
                    torch_ms: torch(false)?,
                    torch_fp16_ms: if options.device == "cpu" {
                        None
                    } else {
                        torch(true)?
                    },
                })
            };
            one().with_context(|| model.name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_those_of_the_shipped_models() {
        let settings = InferenceSettings {
            device: "cpu".into(),
            num_threads: 1,
            ..InferenceSettings::default()
        };
        for model in &MODELS {
            // A size that is no multiple of 64 or 8.
            let inputs = (model.inputs)(132, 68);
            let mut bare = Bare::new(&model.source().unwrap(), &settings, inputs).unwrap();
            bare.run()
                .unwrap_or_else(|err| panic!("{}: {err}", model.name));
        }
    }
}
