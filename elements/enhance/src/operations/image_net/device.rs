// SPDX-License-Identifier: Apache-2.0
//! Nets of other people's over pictures that lie in a GPU's memory. Nothing crosses the bus.

#![allow(unsafe_code)] // starting kernels

use aivideo_core::engine::{Binding, DeviceTensor};
use aivideo_cuda::{
    device::Buffer,
    image::{self, Channels, Paste},
    picture::{Component, Picture},
};

use super::{ImageNet, Layout, steps};
use crate::{
    chroma::{Siting, places},
    device::Stream,
    frame::{Colour, Depth},
    operations::EnhanceError,
    tables::spans,
};
use aivideo_core::tensor::ElementType;

pub const KERNELS: &[&str] = &[
    "image_cut_f32",
    "image_cut_u8",
    "image_paste_f32",
    "image_paste_u8",
    "image_luma",
    "image_colours",
    "image_enlarge",
    "upscale_chroma",
    "picture_copy",
];

/// What pictures of one size need.
struct Sized {
    size: (u32, u32),
    siting: Siting,
    tile: (u32, u32),
    input: DeviceTensor,
    output: DeviceTensor,
    run: Binding,
    /// The result's channels, put together of its tiles.
    planes: Buffer,
    /// What rows and columns of chroma are made of, where it is enlarged by another factor than two.
    taps: Option<[Buffer; 2]>,
}

/// One for each size that comes: those of several passes take turns.
#[derive(Default)]
pub(super) struct DeviceNet {
    sized: Vec<Sized>,
}

/// Sizes that are kept; a net enlarges at most three times in a row.
const KEPT: usize = 3;

impl ImageNet {
    fn channels(&self) -> Channels {
        Channels {
            count: self.channels as u32,
            last: self.layout == Layout::ChannelsLast,
            bytes: self.ty == ElementType::U8,
            white: self.white,
        }
    }

    fn sized(
        &self,
        stream: &Stream,
        from: &Picture,
        to: &Picture,
        siting: Siting,
    ) -> Result<Sized, EnhanceError> {
        let size = from.size();
        let (tile_w, tile_h) = self.tile((size.0 as usize, size.1 as usize));
        let (c, s) = (self.channels, self.scale);
        let tensor = |w: usize, h: usize| {
            let shape = match self.layout {
                Layout::ChannelsFirst => [1, c, h, w],
                Layout::ChannelsLast => [1, h, w, c],
            };
            stream.tensor(&self.engine, shape, self.ty)
        };
        let (input, output) = (tensor(tile_w, tile_h)?, tensor(tile_w * s, tile_h * s)?);
        let name = |ports: &[aivideo_core::tensor::TensorInfo]| ports[0].name.clone();
        let (from_name, to_name) = (name(self.engine.inputs()), name(self.engine.outputs()));
        let run = self.engine.bind(
            vec![(from_name.as_str(), input.clone())],
            vec![(to_name.as_str(), output.clone())],
        )?;
        let planes = stream.zeros(image::plane_bytes(c as u32, to.size()))?;
        let taps = match c == 1 && s > 2 {
            true => {
                let side = |of: &Component| (of.width as usize, of.height as usize);
                let [rows, columns] = places(side(&from.u), side(&to.u), s, siting);
                Some([
                    self.upload(stream, &rows, from.u.height)?,
                    self.upload(stream, &columns, from.u.width)?,
                ])
            }
            false => None,
        };
        Ok(Sized {
            size,
            siting,
            tile: (tile_w as u32, tile_h as u32),
            input,
            output,
            run,
            planes,
            taps,
        })
    }

    fn upload(
        &self,
        stream: &Stream,
        taps: &[image::Taps],
        length: u32,
    ) -> Result<Buffer, EnhanceError> {
        let bytes = image::tap_bytes(taps, length).map_err(|err| EnhanceError::Device {
            operation: self.operation,
            reason: err.to_string(),
        })?;
        let buffer = stream.zeros(bytes.len() as u64)?;
        stream.write(&bytes, &buffer)?;
        Ok(buffer)
    }

    /// As [`Self::process`], for pictures in a GPU's memory.
    ///
    /// # Safety
    /// The pictures' planes must be memory of the stream's GPU and live until it was waited for.
    pub(in crate::operations) unsafe fn process_on_device(
        &mut self,
        stream: &Stream,
        from: &Picture,
        to: &Picture,
        colour: Colour,
        siting: Siting,
    ) -> Result<(), EnhanceError> {
        let same = |own: &Sized| (own.size, own.siting) == (from.size(), siting);
        let own = match self.device.sized.iter().position(same) {
            Some(at) => self.device.sized.remove(at),
            None => self.sized(stream, from, to, siting)?,
        };
        // SAFETY: the promise is the same.
        unsafe { self.start(stream, &own, from, to, colour) }?;
        self.device.sized.truncate(KEPT - 1);
        self.device.sized.insert(0, own);
        Ok(())
    }

    /// # Safety
    /// As [`Self::process_on_device`].
    unsafe fn start(
        &self,
        stream: &Stream,
        own: &Sized,
        from: &Picture,
        to: &Picture,
        colour: Colour,
    ) -> Result<(), EnhanceError> {
        let (w, h) = own.size;
        let (tile_w, tile_h) = own.tile;
        let s = self.scale as u32;
        let channels = self.channels();
        let [black, span, grey, chroma] = spans(colour, Depth::Eight);
        let (kr, kb) = colour.gamut.weights();
        let codes = image::Colour {
            black,
            span,
            grey,
            chroma,
            kr,
            kb,
        };
        // SAFETY: the caller's promise, for all that is started here; what is the net's own is freed,
        // when it is, in the order of the stream.
        let start = |launch| unsafe { stream.start(launch) };
        let planes = own.planes.memory();
        for (y, rows) in steps(h as usize, tile_h as usize) {
            for (x, columns) in steps(w as usize, tile_w as usize) {
                let (x, y) = (x as u32, y as u32);
                let (left, top) = (columns.start as u32, rows.start as u32);
                let input = own.input.memory();
                start(image::cut(from, &codes, (x, y), own.tile, channels, input))?;
                stream.run(&self.engine, &own.run)?;
                let paste = Paste {
                    from: (tile_w * s, tile_h * s),
                    at: ((left - x) * s, (top - y) * s),
                    size: (columns.len() as u32 * s, rows.len() as u32 * s),
                    to: (left * s, top * s),
                    planes: to.size(),
                };
                start(paste.launch(channels, own.output.memory(), planes))?;
            }
        }
        if self.channels != 1 {
            return start(image::colours(planes, &codes, to));
        }
        start(image::luma(planes, &to.y))?;
        for (from, to) in [(&from.u, &to.u), (&from.v, &to.v)] {
            start(match (self.scale, &own.taps) {
                (1, _) => from.copy(to),
                (_, Some([rows, columns])) => {
                    image::enlarge(from, to, rows.memory(), columns.memory())
                }
                _ => {
                    let [even, odd] = own.siting.taps().map(|taps| taps.map(i32::from));
                    aivideo_cuda::upscale::double(from, to, even, odd)
                }
            })?;
        }
        Ok(())
    }
}
