// SPDX-License-Identifier: Apache-2.0
//! Noise reduction of pictures that lie in a GPU's memory. What blocks say of noise comes down, as the
//! net must be told how much there is; two numbers go up.

#![allow(unsafe_code)] // starting kernels

use aivideo_core::{
    engine::{Binding, DeviceTensor, Engine},
    tensor::ElementType,
};
use aivideo_cuda::{
    Memory,
    denoise::{Mix, Planes, STILL_BYTES},
    device::Buffer,
    measure,
    picture::{Picture, Samples},
    restore::Padded,
};

use super::{Denoise, MULTIPLE};
use crate::{
    device::{Stream, half},
    noise::{Answer, Blocks, estimate_of},
    operations::EnhanceError,
    temporal::Weights,
};

pub const KERNELS: &[&str] = &["noise", "restore_read", "temporal", "picture_copy"];

/// What pictures of one size need.
struct Sized {
    size: (u32, u32),
    padded: (u32, u32),
    y: DeviceTensor,
    uv: DeviceTensor,
    y_out: DeviceTensor,
    uv_out: DeviceTensor,
    sigma: DeviceTensor,
    run: Binding,
    /// The last output and the one that is made, which take turns.
    kept: [Buffer; 2],
    still: Buffer,
    /// Of all three components, one after the other.
    answers: Buffer,
    blocks: [Option<Blocks>; 3],
}

impl Sized {
    fn new(stream: &Stream, engine: &Engine, picture: &Picture) -> Result<Self, EnhanceError> {
        let (w, h) = picture.size();
        let [pw, ph] = [w, h].map(|side| side.next_multiple_of(MULTIPLE as u32));
        let tensor = |channels: usize, w: u32, h: u32| {
            let shape = [1, channels, h as usize, w as usize];
            stream.tensor(engine, shape, ElementType::U8)
        };
        let (y, uv) = (tensor(1, pw, ph)?, tensor(2, pw / 2, ph / 2)?);
        let (y_out, uv_out) = (tensor(1, pw, ph)?, tensor(2, pw / 2, ph / 2)?);
        let sigma = stream.tensor(engine, [2], ElementType::F32)?;
        let run = engine.bind(
            vec![
                ("y", y.clone()),
                ("uv", uv.clone()),
                ("sigma", sigma.clone()),
            ],
            vec![("y_out", y_out.clone()), ("uv_out", uv_out.clone())],
        )?;
        let blocks = picture
            .components()
            .map(|c| Blocks::of(c.width as usize, c.height as usize));
        let answers: usize = blocks.iter().flatten().map(|b| 8 * b.count).sum();
        let kept = Picture::planar_bytes((w, h), Samples::Eight);
        Ok(Self {
            size: (w, h),
            padded: (pw, ph),
            y,
            uv,
            y_out,
            uv_out,
            sigma,
            run,
            kept: [stream.zeros(kept)?, stream.zeros(kept)?],
            still: stream.zeros(STILL_BYTES)?,
            // A picture too small to be measured needs none, but memory of no bytes cannot be had.
            answers: stream.zeros(answers.max(8) as u64)?,
            blocks,
        })
    }

    /// Of a component, in a tensor of luma or of both of chroma.
    fn plane(y: &DeviceTensor, uv: &DeviceTensor, number: usize) -> Memory {
        match number {
            0 => y.memory(),
            _ => half(uv.memory(), number == 2),
        }
    }

    /// What the blocks of the components that are to be measured say.
    ///
    /// # Safety
    /// As [`Denoise::clean_on_device`].
    unsafe fn measure(
        &self,
        stream: &Stream,
        picture: &Picture,
        (luma, chroma): (bool, bool),
    ) -> Result<[Vec<Answer>; 3], EnhanceError> {
        let mut answers: [Vec<Answer>; 3] = Default::default();
        let wanted = [luma, chroma, chroma];
        let mut offset = 0;
        let mut places = [const { None }; 3];
        for (number, component) in picture.components().iter().enumerate() {
            let Some(blocks) = self.blocks[number].filter(|_| wanted[number]) else {
                continue;
            };
            let spec = measure::Noise {
                every: blocks.every as u32,
                count: blocks.count as u32,
            };
            let out = self.answers.memory().from(offset);
            // SAFETY: the caller's promise; the answers are freed, when they are, in the stream's order.
            unsafe { stream.start(spec.launch(component, out)) }?;
            places[number] = Some(offset as usize..(offset + spec.bytes()) as usize);
            offset += spec.bytes();
        }
        if offset == 0 {
            return Ok(answers);
        }
        let bytes = stream.read(&self.answers)?;
        for (answers, place) in answers.iter_mut().zip(places) {
            let Some(pairs) = place.and_then(|place| bytes.get(place)) else {
                continue;
            };
            answers.extend(pairs.chunks_exact(8).map(|b| {
                let number =
                    |at: usize| u32::from_ne_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
                Answer {
                    sum: number(0),
                    clipped: number(4) & 0xffff,
                    flat: number(4) >> 16 != 0,
                }
            }));
        }
        Ok(answers)
    }
}

#[derive(Default)]
pub(super) struct DeviceDenoise {
    sized: Option<Sized>,
    /// Which of those that are kept is the last output; `None` when there is none.
    before: Option<usize>,
    /// The latest picture was mixed with one before.
    mixed: bool,
}

impl DeviceDenoise {
    pub(super) fn reset(&mut self) {
        self.before = None;
    }

    /// The share of luma at rest in the latest picture, where it was mixed with one before.
    pub(super) fn still(&mut self, stream: &Stream) -> Result<Option<f64>, EnhanceError> {
        let Some(sized) = self.sized.as_ref().filter(|_| self.mixed) else {
            return Ok(None);
        };
        self.mixed = false;
        let count: u64 = stream
            .read(&sized.still)?
            .chunks_exact(4)
            .map(|b| u64::from(u32::from_ne_bytes([b[0], b[1], b[2], b[3]])))
            .sum();
        let (w, h) = sized.size;
        Ok(Some(count as f64 / (f64::from(w) * f64::from(h))))
    }
}

impl Denoise {
    /// Starts all that makes a clean picture of another.
    ///
    /// # Safety
    /// The pictures' planes must be memory of the stream's GPU and live until it was waited for.
    pub(super) unsafe fn clean_on_device(
        &mut self,
        stream: &Stream,
        input: &Picture,
        output: &Picture,
    ) -> Result<(), EnhanceError> {
        let sized = match self.device.sized.take() {
            Some(sized) if sized.size == input.size() => sized,
            _ => {
                self.device.before = None;
                Sized::new(stream, &self.engine, input)?
            }
        };
        // SAFETY: the promise is the same, here and below.
        let answers = unsafe { sized.measure(stream, input, self.measures()) }?;
        self.follow(|component| estimate_of(&answers[component]));
        self.device.mixed = false;
        if self.is_clean() {
            self.bypassed += 1;
            self.temporal.reset();
            self.device.reset();
            self.device.sized = Some(sized);
            // SAFETY: the same.
            return unsafe { stream.copy(input, output) };
        }
        for (number, component) in input.components().into_iter().enumerate() {
            let chroma = u32::from(number > 0);
            let padded = Padded {
                component,
                width: sized.padded.0 >> chroma,
                height: sized.padded.1 >> chroma,
            };
            let plane = Sized::plane(&sized.y, &sized.uv, number);
            // SAFETY: the same.
            unsafe { stream.start(padded.read(plane)) }?;
        }
        let levels = [self.sigma.0, self.sigma.1].map(f32::to_ne_bytes).concat();
        stream.write(&levels, sized.sigma.buffer())?;
        stream.run(&self.engine, &sized.run)?;
        // Should anything fail from here on, the next picture follows none.
        let before = self.device.before.take().filter(|_| self.mixing > 0.0);
        let to = before.map_or(0, |before| 1 - before);
        let kept = |which: usize| {
            Picture::planar(sized.kept[which].memory(), sized.size, Samples::Eight).components()
        };
        if before.is_some() {
            stream.clear(&sized.still)?;
        }
        // Counted for luma alone.
        let mut counted = true;
        for (number, component) in output.components().iter().enumerate() {
            let sigma = if number == 0 {
                self.sigma.0
            } else {
                self.sigma.1
            };
            let weights = Weights::new(self.mixing, sigma);
            let mix = Mix {
                most: weights.most as u32,
                limit: weights.limit as u32,
                slope: weights.slope as u32,
            };
            let planes = Planes {
                now: Sized::plane(&sized.y_out, &sized.uv_out, number),
                now_width: sized.padded.0 >> u32::from(number > 0),
                before: before.map(|before| kept(before)[number].area.memory),
                after: kept(to)[number].area.memory,
                still: counted.then(|| sized.still.memory()),
            };
            counted = false;
            // SAFETY: the same.
            unsafe { stream.start(mix.launch(&planes, component)) }?;
        }
        if self.mixing > 0.0 {
            self.device.before = Some(to);
            self.device.mixed = before.is_some();
        } else {
            self.temporal.reset();
        }
        self.device.sized = Some(sized);
        Ok(())
    }
}
