// SPDX-License-Identifier: Apache-2.0
//! The restoration net on pictures of 4:2:0, eight or ten bits deep, in the host's memory or
//! ([`device`]) in the GPU's.

use aivideo_core::{
    engine::Engine,
    error::EngineError,
    kernels::OwnKernels,
    model::ModelSource,
    settings::InferenceSettings,
    tensor::{ElementType, Tensor},
};
use aivideo_cuda::picture::Frame;
use aivideo_enhance::blocks;
use thiserror::Error;

use crate::hint::{Base, Hint};
use beside::Beside;
use filters::RestoreFilters;

pub mod beside;
mod cpu;
pub mod device;
pub mod filters;

use device::Device;

/// The net takes luma in blocks of this side.
const MULTIPLE: usize = 8;
/// Quantiser over the largest, below which a stream is left alone where there are filters for it: of the picture
/// alone, and of those around it, too.
const FINE: [f32; 2] = [0.33, 0.3];

/// The net that comes with the plugin.
pub fn default_model() -> ModelSource {
    ModelSource::Embedded {
        name: "restore/restore.onnx",
        bytes: include_bytes!("../../../models/restore/restore.onnx"),
    }
}

/// What streams made for a net call it: the first bytes of its SHA-256.
pub fn model_id(hash: &[u8; 32]) -> [u8; 8] {
    std::array::from_fn(|i| hash[i])
}

#[derive(Clone, Debug, Error)]
pub enum RestoreError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(
        "{model} is no restoration net: {reason}; use one that models/training/restore made, or leave model-location empty"
    )]
    Model { model: String, reason: String },
    #[error("Restoring a picture in the GPU's memory: {0}")]
    Device(String),
}

/// What is known of a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Condition {
    /// What the net is told; zeros for what is not known.
    told: [f32; 4],
    standard: Base,
    /// Whether no picture was coded with the help of later ones.
    low_delay: Option<bool>,
}

impl Default for Condition {
    fn default() -> Self {
        Self {
            told: [0.0; 4],
            standard: Base::Unknown,
            low_delay: None,
        }
    }
}

impl Condition {
    /// Of a quantiser of 0 to 1, the part of the shown size that is coded, and the standard.
    pub fn new(quality: f64, scale: f64, standard: Base) -> Self {
        let base = match standard {
            Base::Unknown => 0.0,
            Base::Av1 => 1.0,
            Base::H265 | Base::H264 => -1.0,
        };
        let scale = -scale.clamp(0.25, 1.0).log2();
        Self {
            told: [quality.clamp(0.0, 1.0) as f32, 1.0, scale as f32, base],
            standard,
            low_delay: None,
        }
    }

    /// The same of a stream whose pictures were coded with the help of earlier ones alone, or of later ones, too.
    pub fn with_low_delay(self, low_delay: Option<bool>) -> Self {
        Self { low_delay, ..self }
    }

    /// The net has learnt to know all or nothing.
    pub fn of_hint(hint: &Hint, coded_height: usize) -> Self {
        match hint.quality {
            Some(quality) if hint.height > 0 => {
                let condition = Self::new(quality, hint.scale(coded_height), hint.base);
                condition.with_low_delay(hint.low_delay)
            }
            _ => Self::default(),
        }
    }

    /// Whether the stream is known to be coded so finely, at its full size, that there is nothing to gain: finer
    /// than what the filters were fitted on, or without them, what the built-in net makes worse, on validation
    /// clips by up to 0.28 dB. Of filters it is said how many pictures they look ahead.
    pub fn is_fine(&self, filters: Option<usize>) -> bool {
        let limit = match (filters, self.standard) {
            (Some(look_ahead), _) => FINE[look_ahead.min(1)],
            (None, Base::Av1) => 0.5,
            (None, _) => 0.4,
        };
        self.is_full_size() && self.told[0] < limit
    }

    /// Whether the stream is known to be coded at the size that it is shown at, by which standard.
    fn is_full_size(&self) -> bool {
        let [_, known, scale, _] = self.told;
        known > 0.5 && self.standard != Base::Unknown && scale < 0.05
    }
}

/// How samples lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    Eight,
    /// Two bytes, the lowest first, of which the upper ten bits count when true, else the lower.
    Ten {
        upper: bool,
    },
}

/// Where the samples of a component lie.
#[derive(Clone, Copy, Debug)]
struct Layout {
    plane: usize,
    /// Of the first sample in a row, and from a sample to the next, in bytes.
    offset: usize,
    step: usize,
    width: usize,
    height: usize,
}

/// A picture of 4:2:0 in memory: planes of luma and chroma, the latter apart or interleaved.
pub struct Picture<'a> {
    /// With the bytes from a row to the next.
    planes: Vec<(&'a mut [u8], usize)>,
    components: [Layout; 3],
    depth: Depth,
}

impl<'a> Picture<'a> {
    /// None where a plane is smaller than it must be.
    pub fn new(
        planes: Vec<(&'a mut [u8], usize)>,
        depth: Depth,
        width: usize,
        height: usize,
    ) -> Option<Self> {
        let bytes = if depth == Depth::Eight { 1 } else { 2 };
        let apart = planes.len() >= 3;
        let component = |plane, offset, step, width, height| Layout {
            plane,
            offset,
            step,
            width,
            height,
        };
        let (cw, ch) = (width.div_ceil(2), height.div_ceil(2));
        let components = [
            component(0, 0, bytes, width, height),
            match apart {
                true => component(1, 0, bytes, cw, ch),
                false => component(1, 0, 2 * bytes, cw, ch),
            },
            match apart {
                true => component(2, 0, bytes, cw, ch),
                false => component(1, bytes, 2 * bytes, cw, ch),
            },
        ];
        let fits = |layout: &Layout| {
            let Some((data, stride)) = planes.get(layout.plane) else {
                return false;
            };
            let row = layout.width.saturating_sub(1) * layout.step + layout.offset + bytes;
            let before = layout.height.saturating_sub(1).saturating_mul(*stride);
            row <= *stride && before.saturating_add(row) <= data.len()
        };
        components.iter().all(fits).then_some(Self {
            planes,
            components,
            depth,
        })
    }

    /// Eight bits of every sample, the last of a row and the last row repeated up to a size.
    fn read(&self, component: usize, (width, height): (usize, usize), out: &mut [u8]) {
        let layout = self.components[component];
        let (data, stride) = &self.planes[layout.plane];
        for (y, line) in out.chunks_exact_mut(width).take(height).enumerate() {
            let row = &data[y.min(layout.height - 1) * stride + layout.offset..];
            let n = layout.width;
            match self.depth {
                Depth::Eight if layout.step == 1 => line[..n].copy_from_slice(&row[..n]),
                Depth::Eight => {
                    for (out, sample) in line[..n].iter_mut().zip(row.iter().step_by(layout.step)) {
                        *out = *sample;
                    }
                }
                Depth::Ten { upper } => {
                    for (out, sample) in line[..n].iter_mut().zip(row.chunks(layout.step)) {
                        *out = ((ten(sample, upper) + 2) >> 2).min(255) as u8;
                    }
                }
            }
            let last = line[n - 1];
            line[n..].fill(last);
        }
    }

    /// Moves every sample by what the net changed in its eight bits, times a share of 256.
    fn change(&mut self, component: usize, width: usize, old: &[u8], new: &[u8], share: i32) {
        let (layout, depth) = (self.components[component], self.depth);
        let (data, stride) = &mut self.planes[layout.plane];
        let lines = old.chunks_exact(width).zip(new.chunks_exact(width));
        for (y, (old, new)) in lines.take(layout.height).enumerate() {
            let (old, new) = (&old[..layout.width], &new[..layout.width]);
            let row = &mut data[y * *stride + layout.offset..];
            let moved = |(old, new): (&u8, &u8)| (i32::from(*new) - i32::from(*old)) * share;
            match depth {
                Depth::Eight if layout.step == 1 && share == 256 => {
                    row[..layout.width].copy_from_slice(new);
                }
                Depth::Eight => {
                    let samples = row.iter_mut().step_by(layout.step);
                    for (sample, (old, new)) in samples.zip(old.iter().zip(new)) {
                        let value = i32::from(*old) + ((moved((old, new)) + 128) >> 8);
                        *sample = value.clamp(0, 255) as u8;
                    }
                }
                Depth::Ten { upper } => {
                    let samples = row.chunks_mut(layout.step);
                    for (sample, pair) in samples.zip(old.iter().zip(new)) {
                        let value = i32::from(ten(sample, upper)) + ((moved(pair) + 32) >> 6);
                        let value = (value.clamp(0, 1023) as u16) << if upper { 6 } else { 0 };
                        sample[..2].copy_from_slice(&value.to_le_bytes());
                    }
                }
            }
        }
    }
}

fn ten(sample: &[u8], upper: bool) -> u16 {
    let value = u16::from_le_bytes([sample[0], sample.get(1).copied().unwrap_or(0)]);
    if upper { value >> 6 } else { value & 1023 }
}

/// A net and the picture that it restored last.
pub struct Restorer {
    engine: Engine,
    /// The same net without ONNX Runtime.
    own: Option<OwnKernels<cpu::Net>>,
    model: String,
    /// Of the built-in net.
    filters: Option<RestoreFilters>,
    /// How many pictures the filters may look ahead, and the pictures.
    look_ahead: usize,
    beside: Option<Beside>,
    before: Option<Planes>,
    device: Option<Device>,
}

/// Luma and both chroma planes, padded.
struct Planes {
    width: usize,
    height: usize,
    y: Vec<u8>,
    uv: Vec<u8>,
}

impl Restorer {
    pub fn load(settings: &InferenceSettings) -> Result<Self, RestoreError> {
        let source = settings.model(default_model());
        let model = source.describe();
        let engine = Engine::acquire(&source, settings)?;
        let check = |infos: &[aivideo_core::tensor::TensorInfo], names: &[(&str, ElementType)]| {
            for (name, ty) in names {
                match infos.iter().find(|info| info.name == *name) {
                    None => return Err(format!("it has no {name:?}")),
                    Some(info) if info.ty != *ty => return Err(format!("its {name:?} is {info}")),
                    Some(_) => {}
                }
            }
            match infos.len() == names.len() {
                true => Ok(()),
                false => Err(format!(
                    "it has {} tensors where {} are due",
                    infos.len(),
                    names.len()
                )),
            }
        };
        let byte = ElementType::U8;
        let inputs = [
            ("y", byte),
            ("uv", byte),
            ("y_before", byte),
            ("uv_before", byte),
            ("condition", ElementType::F32),
        ];
        check(engine.inputs(), &inputs)
            .and_then(|()| check(engine.outputs(), &[("y_out", byte), ("uv_out", byte)]))
            .map_err(|reason| RestoreError::Model {
                model: model.clone(),
                reason,
            })?;
        let own = OwnKernels::load(&engine, &source, settings, "restore", cpu::Net::new)?;
        Ok(Self {
            own,
            filters: settings
                .model_location
                .is_none()
                .then(RestoreFilters::embedded),
            engine,
            model,
            look_ahead: 0,
            beside: None,
            before: None,
            device: None,
        })
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn model_id(&self) -> [u8; 8] {
        model_id(self.engine.model_hash())
    }

    /// Whether there are filters for what is coded at its full size.
    pub fn has_filters(&self) -> bool {
        self.filters.is_some()
    }

    /// From now on [`Self::admit`] is given every picture, so many before [`Self::run`] is.
    pub fn set_look_ahead(&mut self, pictures: usize) {
        self.look_ahead = pictures.min(beside::FARTHEST);
        self.beside = None;
    }

    /// Takes notice of a picture that is to be restored later.
    pub fn admit(&mut self, picture: &Picture) {
        let luma = picture.components[0];
        let shown = (luma.width, luma.height);
        if self.look_ahead == 0 || self.filters.is_none() || shown.0 == 0 || shown.1 == 0 {
            return;
        }
        let beside = self
            .beside
            .get_or_insert_with(|| Beside::new(shown, self.look_ahead));
        let size = beside.size();
        let mut samples = vec![0; size.0 * size.1];
        picture.read(0, size, &mut samples);
        beside.admit(samples);
    }

    /// A picture that was admitted is not restored.
    pub fn pass(&mut self) {
        self.before = None;
        if let Some(beside) = &mut self.beside {
            beside.skip();
        }
    }

    /// The next picture does not follow the one before.
    pub fn reset(&mut self) {
        self.before = None;
        self.beside = None;
        if let Some(device) = &mut self.device {
            device.reset();
        }
    }

    /// Restores a picture in place; a strength of 1 takes all that the net says, or the filters, which are for
    /// what is known to be coded at its full size.
    pub fn run(
        &mut self,
        picture: &mut Picture,
        condition: Condition,
        strength: f64,
    ) -> Result<(), RestoreError> {
        let luma = picture.components[0];
        if luma.width == 0 || luma.height == 0 {
            return Ok(());
        }
        if let Some(filters) = &mut self.filters
            && condition.is_full_size()
        {
            self.before = None;
            filters.run(picture, condition, strength, self.beside.as_mut());
            return Ok(());
        }
        if let Some(beside) = &mut self.beside {
            beside.skip();
        }
        let (width, height) = (
            luma.width.next_multiple_of(MULTIPLE),
            luma.height.next_multiple_of(MULTIPLE),
        );
        let (cw, ch) = (width / 2, height / 2);
        let mut y = vec![0; width * height];
        let mut uv = vec![0; 2 * cw * ch];
        picture.read(0, (width, height), &mut y);
        let (u, v) = uv.split_at_mut(cw * ch);
        picture.read(1, (cw, ch), u);
        picture.read(2, (cw, ch), v);

        let before = self
            .before
            .take()
            .filter(|before| (before.width, before.height) == (width, height));
        let (y_before, uv_before) = match before {
            Some(before) => (before.y, before.uv),
            None => (y.clone(), uv.clone()),
        };
        let (y_new, uv_new) = match &mut self.own {
            Some(own) => {
                let (mut y_new, mut uv_new) = (vec![0; y.len()], vec![0; uv.len()]);
                own.run(&self.engine, |net| {
                    let planes = |y, uv| blocks::Planes {
                        width,
                        height,
                        y,
                        uv,
                    };
                    let both = [planes(&y, &uv), planes(&y_before, &uv_before)];
                    net.run(both, condition.told, &mut y_new, &mut uv_new);
                });
                (y_new, uv_new)
            }
            None => self.graph((width, height), [&y, &uv], [y_before, uv_before], condition)?,
        };
        let share = share(strength) as i32;
        let plane = cw * ch;
        picture.change(0, width, &y, &y_new, share);
        picture.change(1, cw, &uv[..plane], &uv_new[..plane], share);
        picture.change(2, cw, &uv[plane..], &uv_new[plane..], share);
        self.before = Some(Planes {
            width,
            height,
            y: y_new,
            uv: uv_new,
        });
        Ok(())
    }

    /// The net in ONNX Runtime.
    fn graph(
        &self,
        (width, height): (usize, usize),
        [y, uv]: [&Vec<u8>; 2],
        [y_before, uv_before]: [Vec<u8>; 2],
        condition: Condition,
    ) -> Result<(Vec<u8>, Vec<u8>), RestoreError> {
        let luma_shape = [1, 1, height, width];
        let chroma_shape = [1, 2, height / 2, width / 2];
        let mut outputs = self.engine.run(vec![
            ("y", Tensor::u8(luma_shape, y.clone())),
            ("uv", Tensor::u8(chroma_shape, uv.clone())),
            ("y_before", Tensor::u8(luma_shape, y_before)),
            ("uv_before", Tensor::u8(chroma_shape, uv_before)),
            ("condition", Tensor::f32([4], condition.told.to_vec())),
        ])?;
        let mut take = |name: &str, shape: [usize; 4]| {
            let wrong = |reason| RestoreError::Model {
                model: self.model.clone(),
                reason,
            };
            let at = outputs.iter().position(|(known, _)| known == name);
            let (_, tensor) =
                outputs.swap_remove(at.ok_or_else(|| wrong(format!("it gave no {name:?}")))?);
            if tensor.shape != shape {
                return Err(wrong(format!(
                    "{name:?} came as {:?}, not {shape:?}",
                    tensor.shape
                )));
            }
            Ok::<_, RestoreError>(tensor.into_u8()?)
        };
        Ok((take("y_out", luma_shape)?, take("uv_out", chroma_shape)?))
    }

    /// As [`Self::run`], for a picture in the memory of the GPU that the engine runs on; starts the work
    /// and does not wait for it.
    ///
    /// # Safety
    /// The picture's planes must be memory of that GPU and live until its stream was waited for.
    #[allow(unsafe_code)] // what lives until when is the caller's matter
    pub unsafe fn run_on_device(
        &mut self,
        picture: &Frame,
        condition: Condition,
        strength: f64,
    ) -> Result<(), RestoreError> {
        let Some(gpu) = self.engine.gpu().cloned() else {
            return Err(RestoreError::Device("the net runs on no GPU".to_string()));
        };
        let device = Device::of(self.device.take(), &self.engine, picture)?;
        let device = self.device.insert(device);
        // SAFETY: the caller's promise is the same.
        unsafe { device.run(&gpu, picture, condition, share(strength)) }
    }
}

/// Of 256.
fn share(strength: f64) -> u32 {
    (strength.clamp(0.0, 1.0) * 256.0).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of 3 by 3, its luma from the bytes, the chroma gray.
    fn with_luma(luma: &mut [u8], chroma: &mut [u8], depth: Depth, f: impl FnOnce(&mut Picture)) {
        let stride = luma.len() / 3;
        let planes = vec![(luma, stride), (chroma, stride + 3)];
        f(&mut Picture::new(planes, depth, 3, 3).unwrap());
    }

    #[test]
    fn only_fine_coding_at_full_size_is_left_alone() {
        for (quality, scale, base, fine) in [
            (0.4, 1.0, Base::Av1, [true, false, false]),
            (0.32, 1.0, Base::Av1, [true, true, false]),
            (0.29, 1.0, Base::Av1, [true, true, true]),
            (0.6, 1.0, Base::Av1, [false, false, false]),
            (0.2, 0.5, Base::Av1, [false, false, false]),
            (0.39, 1.0, Base::H265, [true, false, false]),
            (0.45, 1.0, Base::H264, [false, false, false]),
            (0.1, 1.0, Base::Unknown, [false, false, false]),
        ] {
            let condition = Condition::new(quality, scale, base);
            let got = [None, Some(0), Some(2)].map(|filters| condition.is_fine(filters));
            assert_eq!(got, fine, "{quality} {scale} {base:?}");
        }
        assert!(!Condition::default().is_fine(Some(0)));
    }

    #[test]
    fn samples_are_read_in_every_layout_and_the_border_is_repeated() {
        let mut eight: Vec<u8> = (0..21).collect();
        let mut chroma: Vec<u8> = (0..20).collect();
        let mut out = [0; 32];
        with_luma(&mut eight, &mut chroma, Depth::Eight, |picture| {
            picture.read(0, (8, 4), &mut out);
            assert_eq!(out[..8], [0, 1, 2, 2, 2, 2, 2, 2]);
            assert_eq!(out[8..16], [7, 8, 9, 9, 9, 9, 9, 9]);
            assert_eq!(out[24..], out[16..24]);
            picture.read(2, (4, 2), &mut out);
            assert_eq!(out[..8], [1, 3, 3, 3, 11, 13, 13, 13]);
        });
        for upper in [false, true] {
            let mut luma: Vec<u8> = (0..9u16)
                .map(|i| (100 + 4 * i) << if upper { 6 } else { 0 })
                .flat_map(u16::to_le_bytes)
                .collect();
            with_luma(&mut luma, &mut [0; 18], Depth::Ten { upper }, |picture| {
                picture.read(0, (8, 4), &mut out);
                assert_eq!(out[..4], [25, 26, 27, 27]);
            });
        }
    }

    #[test]
    fn ten_bits_keep_what_eight_do_not_have() {
        for upper in [false, true] {
            let shift = if upper { 6 } else { 0 };
            let values = [401u16, 402, 1022, 3, 0, 1023, 512, 513, 514];
            let mut data: Vec<u8> = values
                .iter()
                .flat_map(|v| (v << shift).to_le_bytes())
                .collect();
            with_luma(&mut data, &mut [0; 18], Depth::Ten { upper }, |picture| {
                let mut old = [0; 24];
                picture.read(0, (8, 3), &mut old);
                let new = old.map(|v| v.saturating_add(2));
                picture.change(0, 8, &old, &new, 256);
            });
            let got: Vec<u16> = data.chunks(2).map(|pair| ten(pair, upper)).collect();
            assert_eq!(got[..2], [409, 410]);
            assert_eq!(got[6..], [520, 521, 522]);
            assert!(got.iter().all(|v| *v <= 1023));
        }
    }

    #[test]
    fn half_the_strength_is_half_the_change_and_the_rest_stays() {
        let (mut luma, mut chroma) = ([100u8; 9], [90u8; 12]);
        with_luma(&mut luma, &mut chroma, Depth::Eight, |picture| {
            picture.change(0, 8, &[100; 24], &[120; 24], 128);
            picture.change(2, 4, &[90; 8], &[80; 8], 256);
        });
        assert_eq!(luma, [110; 9]);
        assert_eq!(chroma[..4], [90, 80, 90, 80]);
    }

    #[test]
    fn memory_that_is_too_short_is_refused() {
        let short = |luma: usize, chroma: usize| {
            let (mut luma, mut chroma) = (vec![0; luma], vec![0; chroma]);
            let planes = vec![(luma.as_mut_slice(), 4), (chroma.as_mut_slice(), 4)];
            Picture::new(planes, Depth::Eight, 3, 3).is_none()
        };
        assert!(!short(11, 8) && short(10, 8) && short(11, 7) && short(0, 0));
    }

    #[test]
    fn hints_become_conditions() {
        let mut hint = Hint {
            model: [0; 8],
            base: Base::Av1,
            quality: Some(0.5),
            width: 1280,
            height: 720,
            noise: None,
            low_delay: None,
        };
        assert_eq!(Condition::of_hint(&hint, 360).told, [0.5, 1.0, 1.0, 1.0]);
        hint.quality = None;
        assert_eq!(Condition::of_hint(&hint, 360), Condition::default());
    }
}
