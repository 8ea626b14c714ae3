// SPDX-License-Identifier: Apache-2.0
//! Whether a device really runs a model: asked by running one of a single operation.

use crate::{
    engine::{Engine, EngineError, ModelSource, Tensor, TensorData},
    settings::InferenceSettings,
};

/// An ONNX file (opset 13): `y = x * x` of four numbers.
const SQUARE: &[u8] = b"\x08\x08\x12\x00:9\n\x0e\n\x01x\n\x01x\x12\x01y\"\x03Mul\x12\x05probe\
    Z\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x04\
    b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x04B\x04\n\x00\x10\r";

/// What became of `device` on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Where the model ran: "cpu", "cuda:0", "tensorrt:0".
    pub device: String,
    /// What could not be done as asked, as an element would post it.
    pub warnings: Vec<String>,
}

/// Runs a tiny model on `device` (a value of the property of that name), by the code that elements
/// run theirs with: the error is the one that they would post.
pub fn probe(device: &str) -> Result<Probe, EngineError> {
    let settings = InferenceSettings {
        device: device.to_string(),
        num_threads: 1,
        ..InferenceSettings::default()
    };
    let source = ModelSource::Embedded {
        name: "probe",
        bytes: SQUARE,
    };
    let engine = Engine::acquire(&source, &settings)?;
    let input = Tensor {
        shape: vec![4],
        data: TensorData::F32(vec![0.0, 1.0, -2.0, 3.0]),
    };
    let outputs = engine.run(vec![("x", input)])?;
    match outputs.first().map(|(_, tensor)| &tensor.data) {
        Some(TensorData::F32(y)) if y == &[0.0, 1.0, 4.0, 9.0] => Ok(Probe {
            device: engine.device_in_use().to_string(),
            warnings: engine.warnings().to_vec(),
        }),
        other => Err(EngineError::Run {
            model: source.describe(),
            reason: format!("0, 1, -2, 3 squared came out as {other:?}"),
        }),
    }
}
