// SPDX-License-Identifier: Apache-2.0
//! A picture's own colour table, predicted by a net from a thumbnail.

use aivideo_color::cube::Cube;
use aivideo_core::{
    engine::Engine,
    model::ModelSource,
    settings::InferenceSettings,
    tensor::{ElementType, Tensor},
};

use super::super::{
    EnhanceError,
    ports::{Port, check_ports},
};

/// Side of the thumbnail, and entries along an axis of the table.
pub const SIDE: usize = 64;
pub const SIZE: usize = 17;

/// The net that comes with the plugin.
pub fn default_model() -> ModelSource {
    ModelSource::Embedded {
        name: "enhance/look.onnx",
        bytes: include_bytes!("../../../../../models/enhance/look.onnx"),
    }
}

pub struct Look {
    pub engine: Engine,
    model: String,
}

impl Look {
    pub fn new(
        operation: &'static str,
        model: &ModelSource,
        settings: &InferenceSettings,
    ) -> Result<Self, EnhanceError> {
        let engine = Engine::acquire(model, settings)?;
        let picture = Port {
            name: "picture",
            ty: ElementType::U8,
            shape: &[Some(1), Some(3), Some(SIDE), Some(SIDE)],
        };
        let table = Port {
            name: "table",
            ty: ElementType::F32,
            shape: &[Some(3), Some(SIZE), Some(SIZE), Some(SIZE)],
        };
        check_ports(operation, model, &engine, &[picture], &[table])?;
        Ok(Self {
            engine,
            model: model.describe(),
        })
    }

    /// The table for a thumbnail of `SIDE` x `SIDE`.
    pub fn predict(
        &self,
        operation: &'static str,
        thumbnail: &[[f32; 3]],
    ) -> Result<Vec<[f32; 3]>, EnhanceError> {
        let bytes = (0..3)
            .flat_map(|c| {
                thumbnail
                    .iter()
                    .map(move |rgb| (rgb[c].clamp(0.0, 1.0) * 255.0).round() as u8)
            })
            .collect();
        let outputs = self
            .engine
            .run(vec![("picture", Tensor::u8([1, 3, SIDE, SIDE], bytes))])?;
        let wrong = |got: String| EnhanceError::Output {
            operation,
            model: self.model.clone(),
            expected: format!("table float32[3, {SIZE}, {SIZE}, {SIZE}]"),
            got,
        };
        let tensor = outputs
            .into_iter()
            .find_map(|(name, tensor)| (name == "table").then_some(tensor))
            .ok_or_else(|| wrong("nothing of that name".into()))?;
        let count = SIZE.pow(3);
        if tensor.shape != [3, SIZE, SIZE, SIZE] {
            return Err(wrong(tensor.to_string()));
        }
        let values = tensor.into_f32()?;
        if values.iter().any(|v| !v.is_finite()) {
            return Err(wrong("values that are no numbers".into()));
        }
        Ok((0..count)
            .map(|i| [values[i], values[count + i], values[2 * count + i]])
            .collect())
    }
}

/// The table that changes nothing.
pub fn identity() -> Cube {
    let steps = (SIZE - 1) as f32;
    Cube {
        title: String::new(),
        size: SIZE,
        three: true,
        min: [0.0; 3],
        max: [1.0; 3],
        entries: (0..SIZE.pow(3))
            .map(|i| [i % SIZE, i / SIZE % SIZE, i / SIZE / SIZE].map(|v| v as f32 / steps))
            .collect(),
    }
}
