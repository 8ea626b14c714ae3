// SPDX-License-Identifier: Apache-2.0
//! An encoder's pictures in the memory of the GPU that its network runs on: source, prediction, result and state
//! stay there, and so do search, skipped blocks and the choice of the loop filter. What comes down are vectors,
//! errors of blocks, symbols that are not zero and the filter's number.
//!
//! All is started on the stream of the network of frames that are not key frames; that of key frames, where they
//! have one of their own, waits for it and is waited for, as in the decoder. Picture and state are one of two, of
//! which a frame reads one and writes the other, each attempt at it anew.

#![allow(unsafe_code)] // starting kernels and copies

use super::Asked;
use crate::coder::card::{self, Made, Pair, Size, Store, state};
use crate::coder::layout::Layout;
use crate::coder::{CodecError, Depth, EncodeNet, Picture, Planes};
use crate::loop_filter::{KEY_FILTER, MOST_JUDGED, judged};
use crate::motion::code::Prices;
use crate::motion::parallel::{self, STEPS};
use crate::motion::{BLOCK, Field, Vector, interpolate};
use aivideo_core::engine::{Binding, DeviceTensor, ElementType, Engine};
use aivideo_cuda::codec::{Gather, Gathered};
use aivideo_cuda::device::{Buffer, Gpu};
use aivideo_cuda::errors::BlockErrors;
use aivideo_cuda::loop_filter::{Filtering, Judge, LoopFilter, Set};
use aivideo_cuda::picture::{Component, Frame, Samples};
use aivideo_cuda::search::{self, Given, Known, Level, Search, Step, Which};
use aivideo_cuda::{Area, Memory, motion};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The kernels that this starts.
pub const KERNELS: [&str; 28] = [
    "codec_load",
    "codec_eight",
    "codec_half",
    "codec_coarse",
    "codec_start",
    "codec_settle",
    "codec_refine",
    "codec_refine_parts",
    "codec_divide",
    "codec_predict_8",
    "codec_predict_10",
    "codec_errors_8",
    "codec_errors_10",
    "codec_spread_8",
    "codec_spread_10",
    "codec_merge_8",
    "codec_merge_10",
    "codec_bend_8",
    "codec_bend_10",
    "codec_judge_8",
    "codec_judge_10",
    "codec_tally",
    "codec_pick",
    "codec_filter_8",
    "codec_filter_10",
    "codec_count",
    "codec_sum",
    "codec_gather",
];

const _: () = assert!(search::PRICES == Prices::LEN);

/// A network with what goes into it and what comes out.
struct Network {
    engine: Engine,
    gpu: Arc<Gpu>,
    source: Pair,
    prediction: Pair,
    skip: DeviceTensor,
    quality: DeviceTensor,
    z: DeviceTensor,
    y: DeviceTensor,
    gather: Gather,
    counts: Buffer,
    sums: Buffer,
    list: Buffer,
    /// Of all the loop filter's sets, where its model has them.
    weights: Option<Buffer>,
}

impl Network {
    /// `own` is the GPU with the stream that all but the network runs on; none where it is this network's.
    fn new(
        net: &EncodeNet,
        layout: &Layout,
        size: Size,
        own: Option<&Gpu>,
    ) -> Result<Self, CodecError> {
        let engine = net.graph_of(size.bits)?;
        let gpu = card::gpu_of(engine)?;
        let main = own.unwrap_or(gpu);
        let (w64, h64) = (size.width / 64, size.height / 64);
        let (w16, h16) = (layout.blocks_wide(), layout.blocks_high());
        let channels = net.channels();
        let weights = |filters| card::upload_weights(main, filters);
        let gather = Gather {
            length: layout.y_len() as u32,
        };
        Ok(Self {
            source: Pair::new(engine, size)?,
            prediction: Pair::new(engine, size)?,
            skip: engine.device_tensor([1, 1, h16, w16], ElementType::U8)?,
            quality: engine.device_tensor([1], ElementType::I64)?,
            z: engine.device_tensor([1, channels.z, h64, w64], ElementType::I8)?,
            y: engine.device_tensor([1, channels.y, h16, w16], ElementType::I16)?,
            counts: main.zeros(gather.counts_bytes() as usize)?,
            sums: main.zeros(gather.sums_bytes() as usize)?,
            // Longer ones are not worth it: all symbols are as many bytes.
            list: main.zeros(2 * layout.y_len())?,
            weights: net.files().tables.filters().map(weights).transpose()?,
            gather,
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
                ("y", self.source.y.clone()),
                ("uv", self.source.uv.clone()),
                ("pred_y", self.prediction.y.clone()),
                ("pred_uv", self.prediction.uv.clone()),
                ("state", state.clone()),
                ("quality", self.quality.clone()),
                ("skip", self.skip.clone()),
            ],
            vec![
                ("z", self.z.clone()),
                ("sym", self.y.clone()),
                ("rec_y", luma.clone()),
                ("rec_uv", chroma.clone()),
                ("new_state", new_state.clone()),
            ],
        )?)
    }
}

/// The network of key frames, which reads no state but zeros, skips nothing and writes apart from the others.
struct KeyNetwork {
    network: Network,
    made: Made,
    run: Binding,
}

impl KeyNetwork {
    fn new(net: &EncodeNet, layout: &Layout, size: Size, own: &Gpu) -> Result<Self, CodecError> {
        let network = Network::new(net, layout, size, Some(own))?;
        network.prediction.fill_grey(&network.gpu, size)?;
        let (engine, channels) = (&network.engine, net.channels().state);
        let made = Made::new(engine, size, channels)?;
        let zeros = state(engine, size, channels)?;
        let run = network.bind(&zeros, &made.picture.y, &made.picture.uv, &made.state)?;
        Ok(Self { network, made, run })
    }
}

/// Vectors of parts, modes and errors of blocks.
struct KnownBuffers {
    vectors: Buffer,
    modes: Buffer,
    squares: Buffer,
}

impl KnownBuffers {
    fn memory(&self) -> Known {
        Known {
            vectors: self.vectors.memory(),
            modes: self.modes.memory(),
            squares: self.squares.memory(),
        }
    }
}

/// What the search for motion needs beside the pictures.
struct Motion {
    spec: Search,
    tile_rows: u32,
    /// Luma of eight bits where the pictures have ten, then half, quarter and eighth size; of the source and of
    /// the reference.
    planes: [[Option<Buffer>; 4]; 2],
    /// What levels 1 to 3 find.
    coarse: [Buffer; 3],
    known: [KnownBuffers; 2],
    found: [Buffer; 2],
    prices: Buffer,
}

impl Motion {
    fn new(gpu: &Gpu, size: Size, tile_rows: usize) -> Result<Self, CodecError> {
        let spec = Search::new(size.width as u32, size.height as u32)?;
        let buffer = |bytes: u64| gpu.zeros(bytes as usize);
        let plane = |level: u32| {
            let needed = level > 0 || size.bits > 8;
            needed.then(|| buffer(spec.plane_bytes(level))).transpose()
        };
        let planes = || Ok::<_, CodecError>([plane(0)?, plane(1)?, plane(2)?, plane(3)?]);
        let coarse = |level: u32| buffer(spec.vectors_bytes(level));
        let parts = || buffer(spec.vectors_bytes(0));
        let known = || {
            Ok::<_, CodecError>(KnownBuffers {
                vectors: parts()?,
                modes: buffer(spec.blocks())?,
                squares: buffer(4 * spec.blocks())?,
            })
        };
        let prices = Prices::first().table().iter();
        let prices: Vec<u8> = prices.flat_map(|price| price.to_ne_bytes()).collect();
        Ok(Self {
            planes: [planes()?, planes()?],
            coarse: [coarse(1)?, coarse(2)?, coarse(3)?],
            known: [known()?, known()?],
            found: [parts()?, parts()?],
            prices: gpu.upload(&prices)?,
            tile_rows: tile_rows as u32,
            spec,
        })
    }
}

/// A frame that is being made, of which nobody has waited for anything.
#[derive(Debug)]
pub struct Started {
    serial: u64,
    key: bool,
    filtered: bool,
    errors: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Collected {
    pub z: Vec<i8>,
    pub y: Vec<i16>,
    pub filter: u8,
    pub errors: Vec<u32>,
    pub serial: u64,
}

/// Pictures and state of a stream.
pub struct Device {
    store: Store,
    network: Network,
    key: Option<KeyNetwork>,
    /// From each of the store's frames to the other.
    runs: [Binding; 2],
    /// What the network gives.
    unfiltered: Pair,
    motion: Motion,
    divide: bool,
    /// Of the last frame's parts, or of the one that is prepared.
    vectors: Buffer,
    block_errors: BlockErrors,
    errors: Buffer,
    filter: LoopFilter,
    bends: Buffer,
    judged: Buffer,
    judged_errors: Buffer,
    judged_sums: Buffer,
    number: Buffer,
    /// Planes of frames that come from the host.
    staging: Option<[Buffer; 3]>,
    /// Of the last attempt.
    serial: AtomicU64,
}

impl Device {
    pub(super) fn new(
        net: &EncodeNet,
        layout: &Layout,
        key_layout: &Layout,
        bits: u8,
        tile_rows: usize,
        divide: bool,
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
        let filter = LoopFilter::new(w as u32, h as u32, bits > 8)?;
        let block_errors = BlockErrors::new(w as u32, h as u32, bits > 8)?;
        let most = MOST_JUDGED as u32;
        Ok(Self {
            store,
            motion: Motion::new(&gpu, size, tile_rows)?,
            divide,
            vectors: gpu.zeros(4 * layout.parts())?,
            errors: gpu.zeros(block_errors.bytes() as usize)?,
            block_errors,
            bends: gpu.zeros(filter.bends_bytes() as usize)?,
            filter,
            judged: gpu.zeros(4 * MOST_JUDGED)?,
            judged_errors: gpu.zeros(Judge::errors_bytes(most) as usize)?,
            judged_sums: gpu.zeros(Judge::SUMS_BYTES as usize)?,
            number: gpu.zeros(4)?,
            staging: None,
            key: key.transpose()?,
            runs,
            unfiltered,
            network,
            serial: AtomicU64::new(0),
        })
    }

    fn gpu(&self) -> &Gpu {
        self.store.gpu()
    }

    /// Takes a picture of the host over.
    pub(super) fn load<S: Depth>(&mut self, planes: Planes<'_, S>) -> Result<(), CodecError> {
        let all = [planes.y, planes.u, planes.v].map(S::bytes);
        let [y, u, v] = &all;
        let fits = |staging: &[Buffer; 3]| {
            let sizes = staging.iter().map(|b| b.memory().bytes as usize);
            sizes.eq([y, u, v].map(|bytes| bytes.len()))
        };
        if !self.staging.as_ref().is_some_and(fits) {
            let gpu = self.gpu();
            self.staging = Some([
                gpu.zeros(y.len())?,
                gpu.zeros(u.len())?,
                gpu.zeros(v.len())?,
            ]);
        }
        let Some(staging) = &self.staging else {
            return Ok(());
        };
        for (bytes, buffer) in all.iter().zip(staging) {
            self.gpu().write(bytes, buffer)?;
        }
        let samples = match S::BITS {
            10 => Samples::TenLower,
            _ => Samples::Eight,
        };
        let half = planes.width.div_ceil(2);
        let area = |buffer: &Buffer, width: usize| Area {
            memory: buffer.memory(),
            stride: width as u32 * samples.bytes(),
        };
        let [y, u, v] = staging;
        let frame = Frame {
            planes: vec![area(y, planes.width), area(u, half), area(v, half)],
            samples,
            width: planes.width as u32,
            height: planes.height as u32,
        };
        // SAFETY: the memory is this GPU's, and is freed, when it is, in the order of its stream.
        unsafe { self.load_frame(&frame) }
    }

    /// Starts what takes a frame over.
    ///
    /// # Safety
    /// The frame's planes must be memory of this GPU and live until its stream was waited for.
    pub(super) unsafe fn load_frame(&mut self, frame: &Frame) -> Result<(), CodecError> {
        let [y, uv] = self.network.source.memory();
        let chroma = self.store.size.chroma();
        let second = uv.from(chroma.bytes() / 2);
        for (number, planes, to) in [
            (0, self.store.size.luma(), y),
            (1, chroma, uv),
            (2, chroma, second),
        ] {
            let component: Component = frame.component(number).ok_or_else(|| {
                CodecError::Device(format!("a frame has {} planes", frame.planes.len()))
            })?;
            self.store.start(&component.load(planes, to)?)?;
        }
        Ok(())
    }

    /// Numbers of 32 bits, waited for.
    fn numbers(&self, buffer: &Buffer) -> Result<Vec<u32>, CodecError> {
        let bytes = self.gpu().download(buffer)?;
        let (numbers, _) = bytes.as_chunks();
        Ok(numbers.iter().map(|n| u32::from_ne_bytes(*n)).collect())
    }

    /// Deviations of the source's blocks, waited for.
    pub(super) fn variations(&self) -> Result<Vec<u32>, CodecError> {
        let source = self.network.source.memory();
        self.store
            .start(&self.block_errors.spread(source, self.errors.memory())?)?;
        self.numbers(&self.errors)
    }

    /// Predicts from grey; gives the deviations of the blocks.
    pub(super) fn start_key(&mut self) -> Result<Vec<u32>, CodecError> {
        if self.key.is_none() {
            self.network
                .prediction
                .fill_grey(self.gpu(), self.store.size)?;
        }
        self.store.reset_state()?;
        self.reset_motion()?;
        self.variations()
    }

    fn reset_motion(&self) -> Result<(), CodecError> {
        self.store.fill_zero(self.vectors.memory())
    }

    /// Finds the motion, or takes none, and predicts from it; gives the errors of the blocks.
    pub(super) fn predict(
        &mut self,
        search: bool,
        worth: f64,
    ) -> Result<(Field, Vec<u32>), CodecError> {
        let last = &self.store.last().picture;
        match search {
            true => self.search(last, worth)?,
            false => self.reset_motion()?,
        }
        let (network, vectors) = (&self.network, self.vectors.memory());
        for launch in card::predict(self.store.size, last, vectors, &network.prediction)? {
            self.store.start(&launch)?;
        }
        let (source, prediction) = (network.source.memory(), network.prediction.memory());
        let errors = self.errors.memory();
        self.store
            .start(&self.block_errors.between(source, prediction, errors)?)?;
        let errors = self.numbers(&self.errors)?;
        let mut field = Field::still(
            self.store.size.width / BLOCK,
            self.store.size.height / BLOCK,
        );
        if search {
            let bytes = self.gpu().download(&self.vectors)?;
            let (vectors, _) = bytes.as_chunks::<4>();
            for (to, [a, b, c, d]) in field.vectors.iter_mut().zip(vectors) {
                *to = Vector::new(i16::from_ne_bytes([*a, *b]), i16::from_ne_bytes([*c, *d]));
            }
        }
        Ok((field, errors))
    }

    /// Starts the search of the source in a picture; the vectors of the frame before are what is there.
    fn search(&self, reference: &Pair, worth: f64) -> Result<(), CodecError> {
        let motion = &self.motion;
        let spec = &motion.spec;
        let lumas = [&self.network.source, reference].map(|pair| pair.y.memory());
        let mut levels = [lumas; 4];
        for (which, (planes, luma)) in motion.planes.iter().zip(lumas).enumerate() {
            for (level, plane) in planes.iter().enumerate() {
                let Some(plane) = plane.as_ref().map(Buffer::memory) else {
                    continue;
                };
                let launch = match level {
                    0 => spec.eight(luma, plane)?,
                    _ => spec.half(level as u32, levels[level - 1][which], plane)?,
                };
                self.store.start(&launch)?;
                levels[level][which] = plane;
            }
        }
        let price = crate::motion::search::price(worth);
        for number in (1..=3u32).rev() {
            let [source, reference] = levels[number as usize];
            let parent = motion.coarse.get(number as usize).map(Buffer::memory);
            let level = Level {
                number,
                source,
                reference,
                parent,
                lambda: price >> number,
            };
            let to = motion.coarse[number as usize - 1].memory();
            self.store.start(&spec.coarse(&level, to)?)?;
        }
        let [source, reference] = levels[0];
        let given = Given {
            source,
            reference,
            prices: motion.prices.memory(),
            tile_rows: motion.tile_rows,
            worth: crate::motion::search::Value::new(worth).worth(),
            taps: interpolate::LUMA.as_flattened(),
        };
        let [mut known, mut other] = [&motion.known[0], &motion.known[1]].map(|k| k.memory());
        let [mut found, mut next] = [&motion.found[0], &motion.found[1]].map(Buffer::memory);
        let half = motion.coarse[0].memory();
        self.store
            .start(&spec.step(Step::Start, &given, other, half, known)?)?;
        self.store.copy(self.vectors.memory(), found)?;
        for step in STEPS {
            let kind = match step {
                parallel::Step::Settle(which) => Step::Settle(match which {
                    parallel::Which::All => Which::All,
                    parallel::Which::Even => Which::Even,
                    parallel::Which::Odd => Which::Odd,
                }),
                parallel::Step::Refine => Step::Refine,
                parallel::Step::RefineParts if self.divide => Step::RefineParts,
                parallel::Step::Divide if self.divide => Step::Divide,
                parallel::Step::RefineParts | parallel::Step::Divide => continue,
            };
            if matches!(kind, Step::Refine | Step::RefineParts) {
                let to = Known {
                    vectors: next,
                    ..other
                };
                self.store
                    .start(&spec.step(kind, &given, known, found, to)?)?;
                (found, next) = (next, found);
            } else {
                self.store
                    .start(&spec.step(kind, &given, known, found, other)?)?;
                (known, other) = (other, known);
            }
        }
        self.store.copy(known.vectors, self.vectors.memory())
    }

    /// The next frame is predicted from the one that is kept there.
    pub(super) fn recall(&mut self, slot: usize) -> Result<(), CodecError> {
        if let Some(kept) = self.store.kept(slot) {
            self.store.copy_frame(kept, self.store.last())?;
            self.reset_motion()?;
        }
        Ok(())
    }

    /// Keeps the last frame there.
    pub(super) fn keep(&mut self, slot: usize) -> Result<(), CodecError> {
        self.store.keep(slot)
    }

    /// Starts the network, the loop filter and all that comes down. An attempt before it is lost.
    pub(super) fn make(&self, asked: &Asked<'_>) -> Result<Started, CodecError> {
        let next = self.store.next();
        let key = self.key.as_ref().filter(|_| asked.key);
        let network = key.map_or(&self.network, |key| &key.network);
        let quality = i64::from(asked.network_quality).to_ne_bytes();
        let gpu = self.gpu();
        let flags: Vec<u8> = asked.field.skip.iter().map(|s| u8::from(*s)).collect();
        // The loop filter asks for them, too, and of key frames no block is skipped.
        gpu.write(&flags, self.network.skip.buffer())?;
        let made = match key {
            Some(key) => {
                let pairs = self.network.source.memory().into_iter();
                for (from, to) in pairs.zip(network.source.memory()) {
                    self.store.copy(from, to)?;
                }
                gpu.write(&quality, network.quality.buffer())?;
                network.gpu.follow(gpu)?;
                key.run.run()?;
                gpu.follow(&network.gpu)?;
                self.store
                    .copy(key.made.state.memory(), next.state.memory())?;
                &key.made.picture
            }
            None if asked.field.all_skipped() => {
                // There is nothing for it to say, and its state stays.
                let state = self.store.last().state.memory();
                self.store
                    .copy_planes(network.prediction.memory(), self.unfiltered.memory())?;
                self.store.copy(state, next.state.memory())?;
                self.store.fill_zero(network.z.memory())?;
                self.store.fill_zero(network.y.memory())?;
                &self.unfiltered
            }
            None => {
                gpu.write(&quality, network.quality.buffer())?;
                self.runs[self.store.turn()].run()?;
                &self.unfiltered
            }
        };
        let gathered = Gathered {
            counts: network.counts.memory(),
            sums: network.sums.memory(),
            list: network.list.memory(),
        };
        for launch in network.gather.launches(network.y.memory(), &gathered)? {
            self.store.start(&launch)?;
        }

        let (made, to) = (made.memory(), next.picture.memory());
        let skip = self.network.skip.memory();
        if asked.field.skip.contains(&true) {
            let [luma, chroma] = network.prediction.memory();
            let [y, uv] = made;
            let (size, block) = (self.store.size, BLOCK.ilog2());
            let merges = [
                motion::merge(size.luma(), block, [y, luma, y], skip)?,
                motion::merge(size.chroma(), block - 1, [uv, chroma, uv], skip)?,
            ];
            for launch in &merges {
                self.store.start(launch)?;
            }
        }
        let judged_filter = asked.filters.filter(|_| !asked.key);
        let filtered = judged_filter.is_some() && network.weights.is_some();
        match (asked.key_filters.or(judged_filter), &network.weights) {
            (Some(filters), Some(weights)) => {
                let mut how = Filtering {
                    limits: filters.limits(self.store.size.bits),
                    bends: self.bends.memory(),
                    weights: weights.memory(),
                    skips: [skip; 2],
                    set: Set::Number(KEY_FILTER),
                };
                self.store.start(&self.filter.bend(made[0], how.bends)?)?;
                if !asked.key {
                    let number = self.choose_filter(&how, made[0], &asked.field.skip)?;
                    how.set = Set::Chosen(number);
                }
                self.store.start(&self.filter.filter(&how, made, to)?)?;
            }
            _ => self.store.copy_planes(made, to)?,
        }
        if asked.errors {
            let (source, result) = (self.network.source.memory(), next.picture.memory());
            let errors = self.errors.memory();
            self.store
                .start(&self.block_errors.between(source, result, errors)?)?;
        }
        Ok(Started {
            serial: self.serial.fetch_add(1, Ordering::Relaxed) + 1,
            key: asked.key,
            filtered,
            errors: asked.errors,
        })
    }

    /// Starts the choice of a set for luma; gives where its number will be.
    fn choose_filter(
        &self,
        how: &Filtering,
        luma: Memory,
        skip: &[bool],
    ) -> Result<Memory, CodecError> {
        let blocks = judged(skip);
        let bytes: Vec<u8> = blocks.iter().flat_map(|b| b.to_ne_bytes()).collect();
        self.gpu().write(&bytes, &self.judged)?;
        let judge = Judge {
            luma,
            source: self.network.source.y.memory(),
            bends: how.bends,
            weights: how.weights,
            blocks: self.judged.memory(),
            count: blocks.len() as u32,
            errors: self.judged_errors.memory(),
            sums: self.judged_sums.memory(),
            number: self.number.memory(),
        };
        for launch in self.filter.choose(how.limits[0], &judge)? {
            self.store.start(&launch)?;
        }
        Ok(judge.number)
    }

    /// Waits for what was started, and brings down what the frame's coding needs.
    pub(super) fn collect(&self, started: &Started) -> Result<Collected, CodecError> {
        let key = self.key.as_ref().filter(|_| started.key);
        let network = key.map_or(&self.network, |key| &key.network);
        let gpu = self.gpu();
        let counts = gpu.download(&network.counts)?;
        let bytes = Gather::total(&counts) * aivideo_cuda::codec::GATHERED_BYTES;
        let y = if bytes > network.list.memory().bytes {
            i16_of(&gpu.download(network.y.buffer())?)
        } else {
            let list = match bytes {
                0 => Vec::new(),
                _ => gpu.download_some(&network.list, bytes)?,
            };
            let torn = || CodecError::Device("symbols do not fit their counts".to_owned());
            network.gather.spread(&counts, &list).ok_or_else(torn)?
        };
        let z = gpu.download(network.z.buffer())?;
        let filter = match started.filtered {
            true => self.numbers(&self.number)?.first().map_or(0, |n| *n as u8),
            false => 0,
        };
        let errors = match started.errors {
            true => self.numbers(&self.errors)?,
            false => Vec::new(),
        };
        Ok(Collected {
            z: z.into_iter().map(|v| v as i8).collect(),
            y,
            filter,
            errors,
            serial: started.serial,
        })
    }

    /// Makes the attempt with this number the last frame.
    pub(super) fn take(&mut self, serial: u64) -> Result<(), CodecError> {
        if serial != self.serial.load(Ordering::Relaxed) {
            return Err(CodecError::Device(
                "a frame was made anew, and is taken as it was before".to_owned(),
            ));
        }
        self.store.advance();
        Ok(())
    }

    /// Waits for the last picture, and brings it to the host.
    pub(super) fn download<S: Depth>(&self) -> Result<Picture<S>, CodecError> {
        self.store.download()
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.network.engine
    }
}

fn i16_of(bytes: &[u8]) -> Vec<i16> {
    let (numbers, _) = bytes.as_chunks();
    numbers.iter().map(|n| i16::from_ne_bytes(*n)).collect()
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
