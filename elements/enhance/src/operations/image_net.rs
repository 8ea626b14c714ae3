// SPDX-License-Identifier: Apache-2.0
//! Nets of other people's that make a picture of a picture: one or three channels, channels first or
//! last, bytes or floats, any size or a fixed one, which is worked through in overlapping tiles.

pub(super) mod device;
pub mod planes;

use aivideo_core::{
    engine::Engine,
    model::ModelSource,
    pixels::Yuv420,
    settings::InferenceSettings,
    tensor::{ElementType, Tensor, TensorInfo},
};

use super::{EnhanceError, Spare};
use crate::{
    chroma::{self, Siting},
    frame::Colour,
};
use planes::{Planes, byte, from_rgb};

/// Sides that pictures are filled up to, for nets that halve and double inside.
const MULTIPLE: usize = 8;
/// Larger pictures go through nets of free size in tiles of this side, so that memory is bounded.
const TILE: usize = 512;
const WHOLE: usize = 1920 * 1088;
/// Samples of a tile's border that another tile answers for.
const MARGIN: usize = 16;
const LARGEST_SCALE: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    ChannelsFirst,
    ChannelsLast,
}

/// A net whose input and output have been understood and tried.
pub struct ImageNet {
    engine: Engine,
    operation: &'static str,
    model: String,
    layout: Layout,
    channels: usize,
    ty: ElementType,
    /// Width and height, where the file fixes them.
    fixed: Option<(usize, usize)>,
    scale: usize,
    /// What white is as a float.
    white: f32,
    device: device::DeviceNet,
}

impl ImageNet {
    /// Loads a net and tries it once. `white` is what floats of the brightest samples are.
    pub fn new(
        operation: &'static str,
        model: &ModelSource,
        settings: &InferenceSettings,
        white: f32,
    ) -> Result<Self, EnhanceError> {
        let engine = Engine::acquire(model, settings)?;
        let refuse = |reason: String| EnhanceError::Model {
            operation,
            model: model.describe(),
            reason,
            cure: "give a net with one picture in and one out, of 1 or 3 channels",
        };
        let (input, output) = match (engine.inputs(), engine.outputs()) {
            ([input], [output]) => (input.clone(), output.clone()),
            (inputs, outputs) => {
                let list = |ports: &[TensorInfo]| {
                    let all: Vec<_> = ports.iter().map(|p| format!("{} {p}", p.name)).collect();
                    all.join(", ")
                };
                return Err(refuse(format!(
                    "its input is {} and its output {}",
                    list(inputs),
                    list(outputs)
                )));
            }
        };
        let wrong = |what: &str| refuse(format!("its input is {} {input}, {what}", input.name));
        let &[batch, a, b, c] = input.shape.as_slice() else {
            return Err(wrong("which has not four dimensions"));
        };
        if batch.is_some_and(|n| n != 1) {
            return Err(wrong("which takes several pictures at once"));
        }
        let picture = |n: Option<usize>| matches!(n, Some(1 | 3));
        let (layout, channels, height, width) = match (picture(a), picture(c)) {
            (true, _) => (Layout::ChannelsFirst, a, b, c),
            (_, true) => (Layout::ChannelsLast, c, a, b),
            _ => return Err(wrong("which has not 1 or 3 channels")),
        };
        let ty = match (input.ty, output.ty) {
            (ElementType::U8, ElementType::U8) => ElementType::U8,
            (ElementType::F32, ElementType::F32) => ElementType::F32,
            _ => {
                return Err(refuse(format!(
                    "it takes {} and gives {}; bytes or 32-bit floats at both ends are handled",
                    input.ty, output.ty
                )));
            }
        };
        let fixed = match (width, height) {
            (Some(w), Some(h)) if w > 0 && h > 0 => Some((w, h)),
            (None, None) => None,
            _ => return Err(wrong("of which one side is fixed and the other is not")),
        };
        let mut net = Self {
            engine,
            operation,
            model: model.describe(),
            layout,
            channels: channels.unwrap_or(1),
            ty,
            fixed,
            scale: 1,
            white,
            device: device::DeviceNet::default(),
        };
        net.scale = net.try_once().map_err(|error| match error {
            EnhanceError::Output { got, expected, .. } => {
                refuse(format!("it returned {got} where {expected} was due"))
            }
            other => other,
        })?;
        Ok(net)
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// How often width and height come out.
    pub fn scale(&self) -> usize {
        self.scale
    }

    /// Runs a grey picture, and finds how much larger it comes out.
    fn try_once(&self) -> Result<usize, EnhanceError> {
        let (width, height) = self.fixed.unwrap_or((64, 64));
        let grey = Planes {
            width,
            height,
            data: vec![vec![0.5; width * height]; self.channels],
        };
        let (shape, _) = self.run(&grey)?;
        let (channels, h, w) = self.sides(&shape);
        let scale = h / height;
        let fits = channels == self.channels
            && (1..=LARGEST_SCALE).contains(&scale)
            && (w, h) == (scale * width, scale * height);
        if fits {
            Ok(scale)
        } else {
            Err(self.wrong_output(
                &shape,
                format!(
                    "a picture of {} channels and 1 to {LARGEST_SCALE} times {width}x{height}",
                    self.channels
                ),
            ))
        }
    }

    fn wrong_output(&self, shape: &[usize], expected: String) -> EnhanceError {
        EnhanceError::Output {
            operation: self.operation,
            model: self.model.clone(),
            expected,
            got: format!("{}{shape:?}", self.ty),
        }
    }

    /// Channels, height and width of a shape.
    fn sides(&self, shape: &[usize]) -> (usize, usize, usize) {
        match (shape, self.layout) {
            (&[_, c, h, w], Layout::ChannelsFirst) | (&[_, h, w, c], Layout::ChannelsLast) => {
                (c, h, w)
            }
            _ => (0, 0, 0),
        }
    }

    /// One run: what comes out, as values of 0 to 1 in the net's own order.
    fn run(&self, planes: &Planes) -> Result<(Vec<usize>, Vec<f32>), EnhanceError> {
        let (w, h, c) = (planes.width, planes.height, self.channels);
        let values: Vec<f32> = match self.layout {
            Layout::ChannelsFirst => planes.data.concat(),
            Layout::ChannelsLast => (0..w * h)
                .flat_map(|i| planes.data.iter().map(move |plane| plane[i]))
                .collect(),
        };
        let shape = match self.layout {
            Layout::ChannelsFirst => [1, c, h, w],
            Layout::ChannelsLast => [1, h, w, c],
        };
        let tensor = match self.ty {
            ElementType::U8 => {
                let bytes = values
                    .iter()
                    .map(|v| (v * 255.0).round().clamp(0.0, 255.0) as u8)
                    .collect();
                Tensor::u8(shape, bytes)
            }
            _ => {
                let white = self.white;
                Tensor::f32(shape, values.iter().map(|v| v * white).collect())
            }
        };
        let name = self.engine.inputs()[0].name.clone();
        let mut outputs = self.engine.run(vec![(name.as_str(), tensor)])?;
        let Some((_, tensor)) = outputs.pop() else {
            return Err(self.wrong_output(&[], "a picture".into()));
        };
        let shape = tensor.shape.clone();
        let values = match self.ty {
            ElementType::U8 => tensor
                .into_u8()?
                .into_iter()
                .map(|v| f32::from(v) / 255.0)
                .collect(),
            _ => {
                let scale = 1.0 / self.white;
                tensor.into_f32()?.into_iter().map(|v| v * scale).collect()
            }
        };
        Ok((shape, values))
    }

    /// The sides of tiles for a picture.
    fn tile(&self, (w, h): (usize, usize)) -> (usize, usize) {
        let up = |side: usize| side.next_multiple_of(MULTIPLE);
        match self.fixed {
            Some(sides) => sides,
            None if w * h <= WHOLE => (up(w), up(h)),
            None => (TILE, TILE),
        }
    }

    /// A whole picture, in tiles where it must be.
    fn enlarge(&self, picture: &Planes) -> Result<Planes, EnhanceError> {
        let (w, h, s) = (picture.width, picture.height, self.scale);
        let (tile_w, tile_h) = self.tile((w, h));
        let mut out = Planes {
            width: w * s,
            height: h * s,
            data: vec![vec![0.0; w * s * h * s]; self.channels],
        };
        for (y, rows) in steps(h, tile_h) {
            for (x, columns) in steps(w, tile_w) {
                let tile = picture.tile((x, y), (tile_w, tile_h));
                let (shape, values) = self.run(&tile)?;
                let wanted = (self.channels, tile_h * s, tile_w * s);
                if self.sides(&shape) != wanted || values.len() != wanted.0 * wanted.1 * wanted.2 {
                    return Err(self.wrong_output(
                        &shape,
                        format!("{} channels of {}x{}", wanted.0, wanted.2, wanted.1),
                    ));
                }
                let plane = wanted.1 * wanted.2;
                let at = |c: usize, y: usize, x: usize| match self.layout {
                    Layout::ChannelsFirst => values[c * plane + y * wanted.2 + x],
                    Layout::ChannelsLast => values[(y * wanted.2 + x) * self.channels + c],
                };
                for (c, target) in out.data.iter_mut().enumerate() {
                    for row in rows.start * s..rows.end * s {
                        let line = &mut target[row * w * s..(row + 1) * w * s];
                        let line = &mut line[columns.start * s..columns.end * s];
                        for (column, out) in (columns.start * s..).zip(line) {
                            *out = at(c, row - y * s, column - x * s);
                        }
                    }
                }
            }
        }
        Ok(out)
    }

    /// A picture at `scale` times the size.
    pub fn process(
        &self,
        picture: Yuv420,
        colour: Colour,
        siting: Siting,
        spare: &mut Spare,
    ) -> Result<Yuv420, EnhanceError> {
        let (w, h, s) = (picture.width, picture.height, self.scale);
        let mut out = spare.picture(w * s, h * s);
        if self.channels == 1 {
            let luma = self.enlarge(&Planes::of(&picture, colour, 1))?;
            for (out, v) in out.y.iter_mut().zip(&luma.data[0]) {
                *out = byte(*v);
            }
            let from = (picture.chroma_width(), picture.chroma_height());
            let to = (out.chroma_width(), out.chroma_height());
            chroma::enlarge(&picture.u, from, &mut out.u, to, s, siting);
            chroma::enlarge(&picture.v, from, &mut out.v, to, s, siting);
        } else {
            let rgb = self.enlarge(&Planes::of(&picture, colour, 3))?;
            from_rgb(&rgb, colour, &mut out);
        }
        spare.give_picture(picture);
        Ok(out)
    }
}

/// Where tiles of `tile` samples begin on a side of `side`, and which samples each answers for.
fn steps(side: usize, tile: usize) -> Vec<(usize, std::ops::Range<usize>)> {
    if side <= tile {
        return vec![(0, 0..side)];
    }
    let margin = MARGIN.min(tile / 4);
    let step = tile - 2 * margin;
    let mut out = Vec::new();
    let mut done = 0;
    while done < side {
        let start = done.saturating_sub(margin).min(side - tile);
        let end = if start + tile >= side {
            side
        } else {
            start + tile - margin
        };
        out.push((start, done..end));
        done = end;
    }
    debug_assert!(step > 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_answer_for_every_sample_once_and_have_margins() {
        for (side, tile) in [
            (1, 64),
            (64, 64),
            (65, 64),
            (100, 64),
            (1000, 64),
            (513, 512),
            (33, 8),
        ] {
            let mut next = 0;
            for (start, range) in steps(side, tile) {
                assert_eq!(range.start, next);
                assert!(range.end > range.start);
                assert!(range.start >= start && range.end <= start + tile);
                let margin = MARGIN.min(tile / 4);
                assert!(range.start == 0 || range.start - start >= margin.min(range.start));
                assert!(range.end == side || start + tile - range.end >= margin);
                next = range.end;
            }
            assert_eq!(next, side, "{side} {tile}");
        }
    }
}
