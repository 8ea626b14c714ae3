// SPDX-License-Identifier: Apache-2.0
//! The segmentation model: pictures to its input, its output to a mask, the mask to a blur.

use aivideo_core::engine::{Engine, EngineError, ModelSource, Outputs};
use aivideo_core::settings::InferenceSettings;
use aivideo_core::tensor::{ElementType, Tensor, TensorInfo};

use super::Normalization;
use crate::effects::gaussian;
use crate::picture::{Family, Picture, Plane, Shape};
use crate::simd::kernels;
use crate::workers::Tools;

/// Sides that a model leaves open.
const SIDE: usize = 256;
/// Larger inputs are taken for a mistake.
const MAX_SIDE: usize = 4096;

/// Why a model cannot be used, or did not do what it should.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MaskError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(
        "no model is given and none is built in; set model-location to a segmentation model \
         (docs/effects.md says what it must take and give)"
    )]
    NoModel,
    #[error(
        "{model} does not fit: {reason}; a model is due whose one input is float32 [1,3,h,w] or \
         [1,h,w,3] and whose first output is a float32 mask [1,1,h,w], [1,h,w,1], [1,h,w], or \
         [1,2,h,w] (docs/effects.md)"
    )]
    Model { model: String, reason: String },
}

/// A model that tells foreground from background.
pub struct Segmenter {
    pub(super) engine: Engine,
    model: String,
    pub(super) input: String,
    pub(super) width: usize,
    pub(super) height: usize,
    /// Channels come last.
    pub(super) last: bool,
    pub(super) normalization: Normalization,
    /// Made for the first picture in a GPU's memory.
    pub(super) device: Option<super::device::Input>,
}

/// How much of each place is foreground, 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    pub width: usize,
    pub height: usize,
    pub values: Vec<f32>,
}

impl Segmenter {
    pub fn load(
        settings: &InferenceSettings,
        normalization: Normalization,
    ) -> Result<Self, MaskError> {
        let Some(path) = &settings.model_location else {
            return Err(MaskError::NoModel);
        };
        let source = ModelSource::File(path.clone());
        let model = source.describe();
        let engine = Engine::acquire(&source, settings)?;
        let wrong = |reason: String| MaskError::Model {
            model: model.clone(),
            reason,
        };
        let [input] = engine.inputs() else {
            return Err(wrong(format!("it has {} inputs", engine.inputs().len())));
        };
        let (height, width, last) = input_size(input).map_err(&wrong)?;
        match engine.outputs().first() {
            Some(output) if output.ty == ElementType::F32 => {}
            Some(output) => return Err(wrong(format!("its output is {output}"))),
            None => return Err(wrong("it has no output".into())),
        }
        Ok(Self {
            input: input.name.clone(),
            width,
            height,
            last,
            normalization,
            model,
            engine,
            device: None,
        })
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn run(&self, picture: &Picture) -> Result<Mask, MaskError> {
        let data = self.sample(picture);
        let shape = match self.last {
            true => [1, self.height, self.width, 3],
            false => [1, 3, self.height, self.width],
        };
        let outputs = self
            .engine
            .run(vec![(self.input.as_str(), Tensor::f32(shape, data))])?;
        self.mask_of(outputs)
    }

    /// What the model's results say.
    pub(super) fn mask_of(&self, outputs: Outputs) -> Result<Mask, MaskError> {
        let wrong = |reason: String| MaskError::Model {
            model: self.model.clone(),
            reason,
        };
        let (_, output) = outputs
            .into_iter()
            .next()
            .ok_or_else(|| wrong("it gave nothing".into()))?;
        let shape = output.shape.clone();
        mask(&shape, output.into_f32()?).map_err(wrong)
    }

    /// The model's input: each value the mean of four points of the picture.
    fn sample(&self, picture: &Picture) -> Vec<f32> {
        let shape = picture.shape;
        let (w, h) = (self.width, self.height);
        let mut data = vec![0.0; 3 * w * h];
        let (mean, scale) = self.normalization.mean_and_scale();
        let places = |from: usize, to: usize| -> Vec<[usize; 2]> {
            (0..to)
                .map(|i| [1, 3].map(|quarter| ((4 * i + quarter) * from / (4 * to)).min(from - 1)))
                .collect()
        };
        let (columns, rows) = (places(shape.width, w), places(shape.height, h));
        for (y, rows) in rows.iter().enumerate() {
            for (x, columns) in columns.iter().enumerate() {
                let mut code = [0.0; 3];
                for (row, column) in rows.iter().flat_map(|r| columns.map(|c| (r, c))) {
                    for (component, sum) in code.iter_mut().enumerate() {
                        let (ws, hs) = shape.component_shift(component);
                        *sum += 0.25
                            * match picture.planes.get(component) {
                                Some(plane) => f32::from(plane.row(row >> hs)[column >> ws]),
                                None => 128.0,
                            };
                    }
                }
                for (c, value) in rgb(&shape, code).into_iter().enumerate() {
                    let at = match self.last {
                        true => (y * w + x) * 3 + c,
                        false => (c * h + y) * w + x,
                    };
                    data[at] = (value.clamp(0.0, 1.0) - mean[c]) * scale[c];
                }
            }
        }
        data
    }
}

fn rgb(shape: &Shape, code: [f32; 3]) -> [f32; 3] {
    match shape.family {
        Family::Rgb => code.map(|v| v / 255.0),
        _ => shape.color.decode(code),
    }
}

/// Height, width and whether channels come last.
fn input_size(input: &TensorInfo) -> Result<(usize, usize, bool), String> {
    let wrong = || Err(format!("its input is {input}"));
    if input.ty != ElementType::F32 || input.shape.first().copied().flatten().unwrap_or(1) != 1 {
        return wrong();
    }
    let (height, width, last) = match input.shape[..] {
        [_, Some(3), height, width] => (height, width, false),
        [_, height, width, Some(3)] => (height, width, true),
        _ => return wrong(),
    };
    let sides = [height, width].map(|side| side.unwrap_or(SIDE));
    if sides.iter().any(|side| !(1..=MAX_SIDE).contains(side)) {
        return wrong();
    }
    Ok((sides[0], sides[1], last))
}

/// A model's output as a mask.
fn mask(shape: &[usize], values: Vec<f32>) -> Result<Mask, String> {
    let (height, width, two) = match *shape {
        [1, 1, height, width] | [1, height, width, 1] | [1, height, width] => (height, width, None),
        // The step to the next channel, and to the next place.
        [1, 2, height, width] => (height, width, Some((height * width, 1))),
        [1, height, width, 2] => (height, width, Some((1, 2))),
        _ => return Err(format!("its output has the shape {shape:?}")),
    };
    let count = height * width;
    if count == 0 || values.len() != count * if two.is_some() { 2 } else { 1 } {
        return Err(format!("its output has the shape {shape:?}"));
    }
    let values: Vec<f32> = match two {
        None => values,
        Some((channel, place)) => (0..count)
            .map(|i| {
                let (back, front) = (values[i * place], values[i * place + channel]);
                1.0 / (1.0 + (back - front).exp())
            })
            .collect(),
    };
    if values.iter().any(|v| v.is_nan()) {
        return Err("its output is not a number".into());
    }
    Ok(Mask {
        width,
        height,
        values: values.into_iter().map(|v| v.clamp(0.0, 1.0)).collect(),
    })
}

impl Mask {
    /// Moves towards this mask from the one before, of which `share` stays.
    pub fn follow(&mut self, before: &Mask, share: f32) {
        if (before.width, before.height) == (self.width, self.height) {
            for (new, old) in self.values.iter_mut().zip(&before.values) {
                *new += (old - *new) * share;
            }
        }
    }

    /// Gains (32768 for 1) of a row of `width` samples, interpolated.
    fn row(&self, y: f32, width: usize, gain: &mut [u16]) {
        let place = |at: f32, size: usize| {
            let at = (at * size as f32 - 0.5).clamp(0.0, (size - 1) as f32);
            let low = (at as usize).min(size.saturating_sub(2));
            (low, (low + 1).min(size - 1), at - low as f32)
        };
        let (top, bottom, down) = place(y, self.height);
        let [top, bottom] = [top, bottom].map(|y| &self.values[y * self.width..][..self.width]);
        for (x, gain) in gain.iter_mut().enumerate() {
            let (left, right, across) = place((x as f32 + 0.5) / width as f32, self.width);
            let line = |row: &[f32]| row[left] + (row[right] - row[left]) * across;
            let value = line(top) + (line(bottom) - line(top)) * down;
            *gain = (value * 32768.0).round() as u16;
        }
    }

    /// Blurs the picture where the mask is 0; where it is 1 when `invert` is set.
    pub fn blur(&self, picture: &mut Picture, sigma: f32, invert: bool, tools: &Tools) {
        let shape = picture.shape;
        for (component, plane) in picture.planes.iter_mut().enumerate() {
            let (ws, hs) = shape.component_shift(component);
            let sigma = [ws, hs].map(|shift| sigma / (1 << shift) as f32);
            let (width, height) = (plane.width, plane.height);
            let mut sharp = tools.take(width * height);
            plane.copy_to(&mut sharp[..width * height]);
            gaussian::smooth(plane, sigma, tools, |row, soft| {
                kernels::round_row(row, soft)
            });
            tools.strips(plane, 1, |first, strip: &mut Plane| {
                let mut gain = vec![0; width];
                for (y, row) in strip.rows_mut().enumerate() {
                    let y = first + y;
                    self.row((y as f32 + 0.5) / height as f32, width, &mut gain);
                    if invert {
                        gain.iter_mut().for_each(|gain| *gain = 32768 - *gain);
                    }
                    kernels::merge(row, &sharp[y * width..][..width], &gain);
                }
            });
            tools.give(sharp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_of_every_shape_are_masks() {
        let values = vec![0.0, 0.25, 0.5, 2.0, -1.0, 1.0];
        let expected = [0.0, 0.25, 0.5, 1.0, 0.0, 1.0];
        for shape in [&[1, 1, 2, 3][..], &[1, 2, 3, 1], &[1, 2, 3]] {
            let mask = mask(shape, values.clone()).unwrap();
            assert_eq!((mask.width, mask.height), (3, 2));
            assert_eq!(mask.values, expected);
        }
        let first = mask(&[1, 2, 1, 2], vec![0.0, 9.0, 0.0, -9.0]).unwrap();
        let second = mask(&[1, 1, 2, 2], vec![0.0, 0.0, 9.0, -9.0]);
        assert_eq!(first.values[0], 0.5);
        assert!(first.values[1] < 0.001);
        assert_eq!(second.unwrap().values.len(), 4, "one channel of two by two");
        assert!(mask(&[1, 3, 2, 4], vec![0.0; 24]).is_err());
        assert!(mask(&[1, 1, 1, 1], vec![f32::NAN]).is_err());
    }

    #[test]
    fn masks_follow_and_are_interpolated() {
        let old = Mask {
            width: 2,
            height: 1,
            values: vec![0.0, 1.0],
        };
        let mut new = Mask {
            values: vec![1.0, 1.0],
            ..old.clone()
        };
        new.follow(&old, 0.25);
        assert_eq!(new.values, [0.75, 1.0]);
        let mut gain = [0; 4];
        old.row(0.5, 4, &mut gain);
        assert_eq!(gain, [0, 8192, 24576, 32768]);
    }
}
