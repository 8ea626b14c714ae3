// SPDX-License-Identifier: Apache-2.0
//! A decoder's pictures in the memory of the GPU that its network runs on: symbols, vectors and flags go
//! there, and nothing comes back but what is asked for.
//!
//! All is started on the stream of the network of frames that are not key frames. Where key frames have a
//! network of their own, that one's stream waits for this one and this one for it: their number is small.
//! Picture and state are one of two, of which a frame reads one and writes the other.

#![allow(unsafe_code)] // starting kernels and copies

use super::Coded;
use crate::coder::card::{self, Made, Pair, Size, Store, state};
use crate::coder::encoder::Timing;
use crate::coder::layout::{Layout, Tile};
use crate::coder::refine;
use crate::coder::{CodecError, DecodeNet, Depth, Picture};
use crate::loop_filter::{FrameFilters, KEY_FILTER};
use crate::motion::{BLOCK, Field};
use crate::residual::Scale;
use crate::residual::code::{SHAPES, Shape};
use aivideo_core::engine::{Binding, DeviceTensor, ElementType, Engine};
use aivideo_cuda::Memory;
use aivideo_cuda::codec;
use aivideo_cuda::device::{Buffer, Gpu};
use aivideo_cuda::loop_filter::{Filtering, LoopFilter, Set};
use aivideo_cuda::motion;
use aivideo_cuda::picture::{Frame, Planes};
use std::sync::Arc;
use std::time::Instant;

/// The kernels that this starts.
pub const KERNELS: [&str; 16] = [
    "codec_scatter",
    "codec_predict_8",
    "codec_predict_10",
    "codec_merge_8",
    "codec_merge_10",
    "codec_add_8",
    "codec_add_10",
    "codec_add_large_8",
    "codec_add_large_10",
    "codec_add_fine_8",
    "codec_add_fine_10",
    "codec_bend_8",
    "codec_bend_10",
    "codec_filter_8",
    "codec_filter_10",
    "codec_show",
];

/// A network with what goes into it.
struct Network {
    engine: Engine,
    gpu: Arc<Gpu>,
    z: DeviceTensor,
    y: DeviceTensor,
    /// Symbols with their places.
    list: Buffer,
    quality: DeviceTensor,
    prediction: Pair,
    /// Of all the loop filter's sets, where its model has them.
    weights: Option<Buffer>,
}

impl Network {
    /// `own` is the GPU with the stream that the loop filter runs on; none where it is this network's.
    fn new(
        net: &DecodeNet,
        layout: &Layout,
        size: Size,
        own: Option<&Gpu>,
    ) -> Result<Self, CodecError> {
        let engine = net.graph_of(size.bits)?;
        let gpu = card::gpu_of(engine)?;
        gpu.prepare(&KERNELS[..1])?;
        let (w64, h64) = (size.width / 64, size.height / 64);
        let (w16, h16) = (layout.blocks_wide(), layout.blocks_high());
        let channels = net.channels();
        let weights = |filters| card::upload_weights(own.unwrap_or(gpu), filters);
        // Longer ones are not worth it.
        let list = gpu.zeros(2 * layout.y_len())?;
        let weights = net.files().tables.filters().map(weights).transpose()?;
        Ok(Self {
            z: engine.device_tensor([1, channels.z, h64, w64], ElementType::I8)?,
            y: engine.device_tensor([1, channels.y, h16, w16], ElementType::I16)?,
            quality: engine.device_tensor([1], ElementType::I64)?,
            prediction: Pair::new(engine, size)?,
            list,
            weights,
            gpu: gpu.clone(),
            engine: engine.clone(),
        })
    }

    /// A run that reads this state and writes there.
    fn bind(
        &self,
        state: &DeviceTensor,
        luma: &DeviceTensor,
        chroma: &DeviceTensor,
        new_state: &DeviceTensor,
    ) -> Result<Binding, CodecError> {
        Ok(self.engine.bind(
            vec![
                ("pred_y", self.prediction.y.clone()),
                ("pred_uv", self.prediction.uv.clone()),
                ("state", state.clone()),
                ("quality", self.quality.clone()),
                ("z", self.z.clone()),
                ("sym", self.y.clone()),
            ],
            vec![
                ("rec_y", luma.clone()),
                ("rec_uv", chroma.clone()),
                ("new_state", new_state.clone()),
            ],
        )?)
    }

    /// Brings a frame's symbols there: as a list of those that are not zero, where that is shorter.
    fn write(&self, coded: &Coded<'_>) -> Result<(), CodecError> {
        let z: Vec<u8> = coded.z.iter().map(|v| *v as u8).collect();
        self.gpu.write(&z, self.z.buffer())?;
        let quality = i64::from(coded.network_quality).to_ne_bytes();
        self.gpu.write(&quality, self.quality.buffer())?;
        let list = codec::entries(&coded.y);
        let count = list.len() as u64 / codec::ENTRY_BYTES;
        if list.len() as u64 > self.list.memory().bytes {
            let all: Vec<u8> = coded.y.iter().flat_map(|v| v.to_ne_bytes()).collect();
            self.gpu.write(&all, self.y.buffer())?;
            return Ok(());
        }
        // SAFETY: the memory is this GPU's, and is freed, when it is, in the order of its stream.
        unsafe { self.gpu.fill(0, self.y.memory()) }?;
        if count > 0 {
            self.gpu.write(&list, &self.list)?;
            let (list, length) = (self.list.memory(), coded.y.len() as u32);
            let launch = codec::scatter(count as u32, list, length, self.y.memory())?;
            // SAFETY: as above.
            unsafe { self.gpu.start(&launch) }?;
        }
        Ok(())
    }
}

/// The network of key frames, which reads no state but zeros and writes apart from the others.
struct KeyNetwork {
    network: Network,
    made: Made,
    run: Binding,
}

impl KeyNetwork {
    fn new(net: &DecodeNet, layout: &Layout, size: Size, own: &Gpu) -> Result<Self, CodecError> {
        let network = Network::new(net, layout, size, Some(own))?;
        network.prediction.fill_grey(&network.gpu, size)?;
        let (engine, channels) = (&network.engine, net.channels().state);
        let made = Made::new(engine, size, channels)?;
        let zeros = state(engine, size, channels)?;
        let run = network.bind(&zeros, &made.picture.y, &made.picture.uv, &made.state)?;
        Ok(Self { network, made, run })
    }
}

/// Pictures and state of a stream.
pub struct Device {
    store: Store,
    network: Network,
    key: Option<KeyNetwork>,
    /// From each of the store's frames to the other.
    runs: [Binding; 2],
    /// The picture before the loop filter.
    unfiltered: Pair,
    vectors: Buffer,
    skip: Buffer,
    /// The blocks whose luma, and whose chroma, the loop filter leaves as it is.
    untouched: [Buffer; 2],
    filter: LoopFilter,
    bends: Buffer,
    /// Of the residual by shape, for as many as a picture has.
    squares: [[Buffer; 2]; SHAPES],
    /// The next frame is predicted from the one that is kept there.
    recalled: Option<usize>,
}

impl Device {
    pub(super) fn new(
        net: &DecodeNet,
        layout: &Layout,
        key_layout: &Layout,
        bits: u8,
    ) -> Result<Self, CodecError> {
        let size = Size {
            width: layout.width,
            height: layout.height,
            bits,
        };
        let network = Network::new(net, layout, size, None)?;
        let gpu = network.gpu.clone();
        gpu.prepare(&KERNELS)?;
        let key = net
            .has_key()
            .then(|| KeyNetwork::new(net.of(true), key_layout, size, &gpu));
        let engine = &network.engine;
        let store = Store::new(engine, size, net.channels().state)?;
        let (w, h) = (size.width, size.height);
        let unfiltered = Pair::new(engine, size)?;
        let bind = |from: usize| {
            let (from, to) = (&store.frames()[from], &store.frames()[1 - from]);
            network.bind(&from.state, &unfiltered.y, &unfiltered.uv, &to.state)
        };
        let runs = [bind(0)?, bind(1)?];
        let squares = |parts, shape: Shape| -> Result<_, CodecError> {
            let all = parts * layout.blocks();
            let levels = all * shape.transformed() * shape.transformed();
            Ok([
                gpu.zeros(all * codec::SQUARE_BYTES as usize)?,
                gpu.zeros(levels * codec::LEVEL_BYTES as usize)?,
            ])
        };
        let filter = LoopFilter::new(w as u32, h as u32, bits > 8)?;
        Ok(Self {
            store,
            vectors: gpu.zeros(4 * layout.parts())?,
            skip: gpu.zeros(layout.blocks())?,
            untouched: [gpu.zeros(layout.blocks())?, gpu.zeros(layout.blocks())?],
            bends: gpu.zeros(filter.bends_bytes() as usize)?,
            squares: [
                squares(4, Shape::Luma)?,
                squares(2, Shape::Chroma)?,
                squares(1, Shape::Large)?,
                squares(16, Shape::Fine)?,
            ],
            filter,
            key: key.transpose()?,
            runs,
            unfiltered,
            network,
            recalled: None,
        })
    }

    pub(super) fn bits(&self) -> u8 {
        self.store.size.bits
    }

    fn gpu(&self) -> &Gpu {
        self.store.gpu()
    }

    pub(super) fn reset_state(&mut self) -> Result<(), CodecError> {
        self.store.reset_state()
    }

    /// The next frame is predicted from the one that is kept there.
    pub(super) fn recall(&mut self, slot: usize) -> Result<(), CodecError> {
        if let Some(kept) = self.store.kept(slot) {
            // The picture stays where it is: that of the last frame may still be shown.
            let state = self.store.last().state.memory();
            self.store.copy(kept.state.memory(), state)?;
            self.recalled = Some(slot);
        }
        Ok(())
    }

    /// Keeps the last frame there.
    pub(super) fn keep(&mut self, slot: usize) -> Result<(), CodecError> {
        self.store.keep(slot)
    }

    /// Starts all that makes the picture of a frame.
    pub(super) fn make(
        &mut self,
        layout: &Layout,
        coded: Coded<'_>,
        timing: &mut Timing,
    ) -> Result<(), CodecError> {
        let next = self.store.next();
        let start = Instant::now();
        let recalled = self.recalled.take();
        let key = self.key.as_ref().filter(|_| coded.key);
        let network = key.map_or(&self.network, |key| &key.network);
        let skips = coded.field.skip.contains(&true);
        if skips || coded.key_filters.is_some() {
            self.write_flags(&coded.field.skip, &self.skip)?;
        }
        match (coded.key, key) {
            // Its prediction is grey always.
            (true, Some(key)) => key.network.gpu.follow(self.gpu())?,
            (true, None) => network.prediction.fill_grey(self.gpu(), self.store.size)?,
            (false, _) => {
                let kept = recalled.and_then(|slot| self.store.kept(slot));
                let from = kept.unwrap_or(self.store.last());
                self.predict(&from.picture, coded.field)?;
            }
        }
        timing.motion = start.elapsed();

        let start = Instant::now();
        let unfiltered = self.unfiltered.memory();
        let predicted = network.prediction.memory();
        let made = if coded.field.all_skipped() {
            self.store.copy_planes(predicted, unfiltered)?;
            let state = self.store.last().state.memory();
            self.store.copy(state, next.state.memory())?;
            unfiltered
        } else {
            network.write(&coded)?;
            match key {
                Some(key) => {
                    key.run.run()?;
                    self.gpu().follow(&key.network.gpu)?;
                    self.store
                        .copy(key.made.state.memory(), next.state.memory())?;
                    key.made.picture.memory()
                }
                None => {
                    self.runs[self.store.turn()].run()?;
                    unfiltered
                }
            }
        };
        timing.network = start.elapsed();

        let start = Instant::now();
        if skips && !coded.field.all_skipped() {
            let planes = [self.store.size.luma(), self.store.size.chroma()];
            let places = planes.into_iter().zip(made.into_iter().zip(predicted));
            for ((planes, (made, predicted)), block) in places.zip([BLOCK, BLOCK / 2]) {
                self.merge(planes, block, [made, predicted, made])?;
            }
        }
        let to = next.picture.memory();
        match coded.key_filters {
            Some(filters) => {
                // It does not write what it reads.
                let skips = [self.skip.memory(); 2];
                self.filter(network, (filters, KEY_FILTER), skips, [made, to])?;
                self.store.copy_planes(to, unfiltered)?;
            }
            None if made[0].address != unfiltered[0].address => {
                self.store.copy_planes(made, unfiltered)?
            }
            None => {}
        }
        self.add(layout, &coded, unfiltered)?;
        match coded.filter {
            Some(filter) => {
                let skip = &coded.field.skip;
                let untouched = refine::untouched(layout, coded.key, skip, coded.residual);
                for (flags, to) in untouched.iter().zip(&self.untouched) {
                    self.write_flags(flags, to)?;
                }
                let skips = self.untouched.each_ref().map(Buffer::memory);
                self.filter(&self.network, filter, skips, [unfiltered, to])?;
            }
            None => self.store.copy_planes(unfiltered, to)?,
        }
        timing.filter = start.elapsed();
        self.store.advance();
        Ok(())
    }

    /// Adds the residual.
    fn add(
        &self,
        layout: &Layout,
        coded: &Coded<'_>,
        [luma, chroma]: [Memory; 2],
    ) -> Result<(), CodecError> {
        let scale = Scale::new(coded.quality, self.bits());
        let (of_luma, of_chroma) = (self.store.size.luma(), self.store.size.chroma());
        let squares = refine::squares(layout, coded.residual);
        for ((shape, squares), lists) in Shape::ALL.into_iter().zip(squares).zip(&self.squares) {
            if squares.is_empty() {
                continue;
            }
            for (bytes, list) in squares.bytes().iter().zip(lists) {
                self.gpu().write(bytes, list)?;
            }
            let from = lists.each_ref().map(Buffer::memory);
            let is_chroma = shape == Shape::Chroma;
            let (planes, to) = match is_chroma {
                true => (of_chroma, chroma),
                false => (of_luma, luma),
            };
            let (side, half) = (shape.transformed() as u32, scale.half(is_chroma));
            let launch = codec::add(side, squares.counts(), from, half, planes, to)?;
            self.store.start(&launch)?;
        }
        Ok(())
    }

    fn predict(&self, from: &Pair, field: &Field) -> Result<(), CodecError> {
        let vectors = field.vectors.iter().flat_map(|v| [v.x, v.y]);
        let bytes: Vec<u8> = vectors.flat_map(i16::to_ne_bytes).collect();
        self.gpu().write(&bytes, &self.vectors)?;
        let to = &self.network.prediction;
        for launch in card::predict(self.store.size, from, self.vectors.memory(), to)? {
            self.store.start(&launch)?;
        }
        Ok(())
    }

    fn merge(&self, planes: Planes, block: usize, places: [Memory; 3]) -> Result<(), CodecError> {
        let skip = self.skip.memory();
        self.store
            .start(&motion::merge(planes, block.ilog2(), places, skip)?)
    }

    fn write_flags(&self, flags: &[bool], to: &Buffer) -> Result<(), CodecError> {
        let flags: Vec<u8> = flags.iter().map(|flag| u8::from(*flag)).collect();
        Ok(self.gpu().write(&flags, to)?)
    }

    /// Filters but for some blocks, with a set of a network's tables.
    fn filter(
        &self,
        network: &Network,
        (filters, number): (&FrameFilters, u8),
        skips: [Memory; 2],
        [from, to]: [[Memory; 2]; 2],
    ) -> Result<(), CodecError> {
        // Both come from the same tables.
        let weights =
            network
                .weights
                .as_ref()
                .map(Buffer::memory)
                .ok_or(CodecError::Unsupported(
                    "a loop filter that its model lacks",
                ))?;
        let how = Filtering {
            limits: filters.limits(self.store.size.bits),
            bends: self.bends.memory(),
            weights,
            skips,
            set: Set::Number(number),
        };
        self.store.start(&self.filter.bend(from[0], how.bends)?)?;
        self.store.start(&self.filter.filter(&how, from, to)?)
    }

    /// Shows in these tiles what was shown before.
    pub(super) fn put_back(&mut self, tiles: &[&Tile]) -> Result<(), CodecError> {
        let (before, now) = (self.store.next(), self.store.last());
        let half = before.picture.uv.memory().bytes / 2;
        for tile in tiles {
            // Whole rows of each plane.
            for (from, to, plane) in [
                (&before.picture.y, &now.picture.y, 0),
                (&before.picture.uv, &now.picture.uv, 0),
                (&before.picture.uv, &now.picture.uv, half),
            ] {
                let chroma = from.shape()[1] > 1;
                let row = from.shape()[3] * from.element_type().size();
                let rows = |rows64: usize| (row * rows64 * if chroma { 32 } else { 64 }) as u64;
                let offset = plane + rows(tile.first64);
                let from = Memory {
                    bytes: rows(tile.shape.height64),
                    ..from.memory().from(offset)
                };
                self.store.copy(from, to.memory().from(offset))?;
            }
        }
        Ok(())
    }

    /// Starts what brings the last picture to a frame.
    ///
    /// # Safety
    /// The frame's planes must be memory of this GPU and live until its stream was waited for.
    pub(super) unsafe fn show(&self, frame: &Frame) -> Result<(), CodecError> {
        let last = &self.store.last().picture;
        let chroma = self.store.size.chroma();
        let second = last.uv.memory().from(chroma.bytes() / 2);
        for (number, planes, from) in [
            (0, self.store.size.luma(), last.y.memory()),
            (1, chroma, last.uv.memory()),
            (2, chroma, second),
        ] {
            let component = frame.component(number).ok_or_else(|| {
                CodecError::Device(format!("a frame has {} planes", frame.planes.len()))
            })?;
            // SAFETY: the frame's planes are the caller's promise, the others as in `start`.
            unsafe { self.gpu().start(&component.show(planes, from)?) }?;
        }
        Ok(())
    }

    /// Waits for the last picture, and brings it to the host.
    pub(super) fn download<S: Depth>(&self) -> Result<Picture<S>, CodecError> {
        self.store.download()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // Memory of the key frames' network is freed in the order of its own stream, and may be in use on
        // the other. After an error there is nobody to tell of another one.
        if self.key.is_some() {
            let _ = self.gpu().synchronize();
        }
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("size", &self.store.size)
            .finish_non_exhaustive()
    }
}
