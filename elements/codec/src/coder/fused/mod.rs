// SPDX-License-Identifier: Apache-2.0
//! The networks on a CPU, layer by layer in this project's own kernels.
//!
//! ONNX Runtime writes every layer's result to memory and reads it back; at 720p that takes as long as
//! the arithmetic. Here a block of five layers goes over the picture row by row and its rows stay in
//! the cache. The weights come out of the same ONNX file, by the names that
//! `models/training/codec/export.py` gives them. A file that lacks one, or a processor without AVX2,
//! is no error: ONNX Runtime then runs the graph.
//!
//! Encoder and decoder share [`Shared`], so on one machine their pictures are bit-identical, whatever
//! the number of threads. Against ONNX Runtime they differ in the last bits of floats, as its own
//! settings do among each other; symbols do not depend on that (`docs/codec.md`).

pub mod kernels;

use super::layout::Layout;
use super::{Depth, Picture};
use aivideo_nets::{
    aligned::Aligned,
    dense::{Finish, Linear, Tap, linear},
    depthwise::{Depthwise, depthwise},
    isa::Isa,
    layers,
    map::{Map, Rows},
    weights::{self, Array},
};
use kernels::{Latents, NEVER, Quantiser};
use rayon::prelude::*;
use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;

/// Constants of `models/training/codec/model.py`.
const SAMPLES: usize = 96;
pub(super) const PIXEL_SCALE: f32 = 1.0 / 32.0;
const STATE_SCALE: f32 = 16.0;
/// The dead zone of networks whose file has no table of it.
const DEAD: f32 = 0.5 - 0.27;
const LADDER: f32 = 0.6;
const Z_MAX: f32 = 31.0;
/// Channels that share a scale index.
const GROUP: usize = 4;
/// Scale indices, 0 included.
const INDICES: usize = 32;

/// The file's arrays, to make layers of.
#[derive(Clone, Copy)]
struct File<'a> {
    arrays: &'a HashMap<String, Array>,
    /// See [`Linear::with_precision`].
    coarse: bool,
}

impl<'a> File<'a> {
    fn get(&self, name: &str) -> Option<&'a Array> {
        self.arrays.get(name)
    }

    /// `[outputs][taps * inputs]` and the bias.
    fn layer(&self, name: &str) -> Option<(usize, Vec<f32>, Vec<f32>)> {
        let weights = self.get(&format!("{name}.w"))?;
        let bias = self.get(&format!("{name}.b"))?;
        let [outputs, inputs, kh, kw] = weights.dims[..] else {
            return None;
        };
        let taps = kh * kw;
        if bias.data.len() != outputs || !outputs.is_multiple_of(16) || inputs * taps == 0 {
            return None;
        }
        let mut rows = Vec::with_capacity(weights.data.len());
        for row in weights.data.chunks_exact(inputs * taps) {
            for tap in 0..taps {
                rows.extend((0..inputs).map(|i| row[i * taps + tap]));
            }
        }
        Some((inputs * taps, rows, bias.data.clone()))
    }

    fn linear(&self, name: &str) -> Option<Linear> {
        self.sum(&[name])
    }

    /// One layer for the sum of several.
    fn sum(&self, names: &[&str]) -> Option<Linear> {
        let parts = names
            .iter()
            .map(|name| self.layer(name))
            .collect::<Option<Vec<_>>>()?;
        self.merged(&parts)
    }

    /// The 3x3 layer `name` without its corners and its centre, added to another layer.
    fn cross(&self, name: &str, other: &str) -> Option<Linear> {
        let (inputs, weights, bias) = self.layer(name)?;
        if !inputs.is_multiple_of(9) {
            return None;
        }
        let mut rows = Vec::new();
        for row in weights.chunks_exact(inputs) {
            for tap in row.chunks_exact(inputs / 9).skip(1).step_by(2) {
                rows.extend_from_slice(tap);
            }
        }
        self.merged(&[(inputs / 9 * 4, rows, bias), self.layer(other)?])
    }

    fn merged(&self, parts: &[(usize, Vec<f32>, Vec<f32>)]) -> Option<Linear> {
        let outputs = parts[0].2.len();
        if parts.iter().any(|p| p.2.len() != outputs) {
            return None;
        }
        let mut weights = Vec::new();
        for output in 0..outputs {
            for (inputs, rows, _) in parts {
                weights.extend_from_slice(&rows[output * inputs..][..*inputs]);
            }
        }
        let bias: Vec<f32> = (0..outputs)
            .map(|o| parts.iter().map(|p| p.2[o]).sum())
            .collect();
        let inputs = parts.iter().map(|p| p.0).sum();
        Some(Linear::with_precision(inputs, &weights, &bias, self.coarse))
    }

    /// One layer with the outputs of two.
    fn pair(&self, first: &str, second: &str) -> Option<Linear> {
        let (inputs, mut weights, mut bias) = self.layer(first)?;
        let (other, more, rest) = self.layer(second)?;
        if other != inputs {
            return None;
        }
        weights.extend(more);
        bias.extend(rest);
        Some(Linear::with_precision(inputs, &weights, &bias, self.coarse))
    }

    fn blocks(&self, name: &str) -> Option<Vec<Block>> {
        let mut blocks = Vec::new();
        while self.get(&format!("{name}.{}.a.w", blocks.len())).is_some() {
            blocks.push(Block::new(*self, &format!("{name}.{}", blocks.len()))?);
        }
        (!blocks.is_empty()).then_some(blocks)
    }

    /// A row of a table by quality, for each of the 64.
    fn table(&self, name: &str, width: usize) -> Option<Vec<f32>> {
        let array = self.get(&format!("{name}.t"))?;
        (array.dims == [64, width]).then(|| array.data.clone())
    }
}

/// 1x1, ReLU, depthwise 3x3, 1x1, add; 1x1 to two halves, gate, 1x1, add.
#[derive(Debug)]
struct Block {
    a: Linear,
    d: Depthwise,
    b: Linear,
    u: Linear,
    v: Linear,
}

impl Block {
    fn new(file: File<'_>, name: &str) -> Option<Self> {
        let part = |part: &str| format!("{name}.{part}");
        let d = file.get(&part("d.w"))?;
        let bias = file.get(&part("d.b"))?;
        let block = Self {
            a: file.linear(&part("a"))?,
            d: (d.data.len() == 9 * bias.data.len() && bias.data.len().is_multiple_of(16))
                .then(|| Depthwise::new(&d.data, &bias.data))?,
            b: file.linear(&part("b"))?,
            u: file.pair(&part("p"), &part("g"))?,
            v: file.linear(&part("v"))?,
        };
        let c = block.a.outputs;
        let square = |l: &Linear| l.inputs == c && l.outputs == c;
        let fits = square(&block.a) && square(&block.b) && square(&block.u);
        (fits && block.d.channels() == c && block.v.inputs == c / 2 && block.v.outputs == c)
            .then_some(block)
    }
}

thread_local! {
    /// Rows of a block, kept from one to the next.
    static SCRATCH: Cell<[Aligned<f32>; 2]> = const { Cell::new([Aligned::new(), Aligned::new()]) };
}

/// Positions of a row that a block's later layers take at a time: what they hand on stays in the
/// processor's first cache.
const STRIP: usize = 96;

/// How a layer reads a map.
#[derive(Debug, Clone, Copy)]
enum Window {
    /// The same position.
    One,
    /// Groups of 2x2, at half the resolution.
    Two,
    /// 3x3 around every `n`-th position.
    Three(isize),
    /// Above, left, right and below: all of a 3x3 window around no anchor that is not zero.
    Cross,
}

/// What both networks have.
#[derive(Debug)]
struct Shared {
    isa: Isa,
    threads: usize,
    features: usize,
    states: usize,
    latents: usize,
    hypers: usize,
    parameters: usize,
    front: Linear,
    q_bias: Vec<f32>,
    context: Vec<Block>,
    prior_in: Linear,
    q_prior: Vec<f32>,
    prior: Block,
    hyper_d: Linear,
    hyper_e: Linear,
    fuse_in: Linear,
    fuse: Vec<Block>,
    mean_step: Linear,
    refine: [Linear; 3],
    q_back: Vec<f32>,
    up: Linear,
    dec_in: Linear,
    dec: Vec<Block>,
    state_out: Linear,
    recon: Vec<Block>,
    out: Linear,
    gate: Linear,
}

/// What only the encoder has.
#[derive(Debug)]
struct Analysis {
    embed: Linear,
    enc_in: Linear,
    enc: Vec<Block>,
    down: Linear,
    q_scale: Vec<f32>,
    prior_mean: Linear,
    hyper_a: Linear,
    hyper_b: Linear,
    hyper_c: Linear,
    level_gain: Vec<f32>,
    /// By scale index: see [`Quantiser::dead`].
    dead: Vec<f32>,
}

/// Maps of one picture size, kept from frame to frame.
#[derive(Debug, Default)]
struct Maps {
    size: (usize, usize),
    /// At 1/8: context, and two to go back and forth between.
    ctx: Map,
    one: Map,
    two: Map,
    /// At 1/16.
    prior: Map,
    f: [Map; 2],
    latents: Map,
    y: Map,
    residual: Map,
    dead: Map,
    symbols: Map,
    anchors: Map,
    refined: [Map; 2],
    difference: Map,
    spread: Map,
    /// At 1/32 and 1/64.
    half: Map,
    z: Map,
    hyper: [Map; 2],
    hyper_raw: Map,
    state: Vec<i8>,
}

/// One of the two networks.
#[derive(Debug)]
pub struct Network {
    shared: Shared,
    analysis: Option<Analysis>,
    pool: rayon::ThreadPool,
    maps: Mutex<Option<Box<Maps>>>,
}

/// Symbols and what is reconstructed from them.
#[derive(Debug)]
pub struct Coded<S> {
    pub z: Vec<i8>,
    pub y: Vec<i16>,
    pub picture: Picture<S>,
    pub state: Vec<i8>,
}

/// What both networks are given.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a, S> {
    pub layout: &'a Layout,
    pub prediction: &'a Picture<S>,
    pub state: &'a [i8],
    pub quality: u8,
}

impl Network {
    /// The network of an ONNX file, if it is one of those and this processor has the instructions.
    /// `threads` 0 means all.
    pub fn load(model: &[u8], encode: bool, threads: usize) -> Option<Self> {
        let arrays = weights::read(model);
        let file = File {
            arrays: &arrays,
            coarse: false,
        };
        let pool = layers::threads("aicodec", threads)?;
        let threads = pool.current_num_threads();
        let shared = Shared::new(file, Isa::detect()?, threads)?;
        let analysis = match encode {
            true => {
                let file = File {
                    coarse: true,
                    ..file
                };
                Some(Analysis::new(file, &shared)?)
            }
            false => None,
        };
        Some(Self {
            shared,
            analysis,
            pool,
            maps: Mutex::new(None),
        })
    }

    /// The instructions that it runs with.
    pub fn isa(&self) -> Isa {
        self.shared.isa
    }

    /// Whether the network has these tensors.
    pub fn fits(&self, channels: super::net::Channels) -> bool {
        let s = &self.shared;
        (s.latents, s.hypers, s.states) == (channels.y, channels.z, channels.state)
    }

    fn maps(&self, width: usize, height: usize) -> Box<Maps> {
        let kept = self.maps.lock().ok().and_then(|mut maps| maps.take());
        match kept {
            Some(maps) if maps.size == (width, height) => maps,
            _ => Box::new(Maps::new(
                &self.shared,
                self.analysis.is_some(),
                width,
                height,
            )),
        }
    }

    fn keep(&self, maps: Box<Maps>) {
        if let Ok(mut kept) = self.maps.lock() {
            *kept = Some(maps);
        }
    }

    /// Picture to symbols and reconstruction; `None` for a network that is no encoder's.
    pub fn encode<S: Depth>(
        &self,
        given: Given<'_, S>,
        source: &Picture<S>,
        skip: &[bool],
    ) -> Option<Coded<S>> {
        let analysis = self.analysis.as_ref()?;
        let mut maps = self.maps(given.layout.width, given.layout.height);
        let result = self.pool.install(|| {
            let s = &self.shared;
            s.context(&mut maps, given);
            analysis.run(s, &mut maps, given, source);
            s.prior(&mut maps, given.quality);
            let z = analysis.hyper(s, &mut maps, skip);
            s.hyper(&mut maps);
            let y = analysis.symbols(s, &mut maps, skip);
            let (picture, state) = s.synthesis(&mut maps, given);
            Coded {
                z,
                y,
                picture,
                state,
            }
        });
        self.keep(maps);
        Some(result)
    }

    /// Symbols to reconstruction.
    pub fn decode<S: Depth>(&self, given: Given<'_, S>, z: Vec<i8>, y: Vec<i16>) -> Coded<S> {
        let mut maps = self.maps(given.layout.width, given.layout.height);
        let result = self.pool.install(|| {
            let s = &self.shared;
            s.context(&mut maps, given);
            s.prior(&mut maps, given.quality);
            s.load_z(&mut maps, &z);
            s.hyper(&mut maps);
            s.restore(&mut maps, &y);
            let (picture, state) = s.synthesis(&mut maps, given);
            Coded {
                z,
                y,
                picture,
                state,
            }
        });
        self.keep(maps);
        result
    }
}

impl Maps {
    fn new(s: &Shared, encode: bool, width: usize, height: usize) -> Self {
        let map = |divisor: usize, channels: usize, border: usize| {
            Map::new(width / divisor, height / divisor, channels, border)
        };
        let own = |divisor: usize, channels: usize| match encode {
            true => map(divisor, channels, 0),
            false => Map::default(),
        };
        let (c, p, y, z) = (s.features, s.parameters, s.latents, s.hypers);
        let r = s.refine[0].outputs;
        Self {
            size: (width, height),
            ctx: map(8, c, 1),
            one: map(8, c, 1),
            two: map(8, c, 1),
            prior: map(16, p, 0),
            f: [map(16, p, 0), map(16, p, 0)],
            latents: map(16, 2 * y, 0),
            y: own(16, y),
            residual: own(16, 2 * y),
            dead: own(16, y),
            symbols: map(16, y, 0),
            anchors: map(16, y, 1),
            refined: [map(16, r, 0), map(16, r, 0)],
            difference: map(16, y, 0),
            spread: map(16, z, 0),
            half: map(32, z, 0),
            z: map(64, z, 0),
            hyper: [own(16, z), own(32, z)],
            hyper_raw: own(64, z),
            state: vec![0; s.states * width * height / 64],
        }
    }
}

impl Shared {
    fn new(file: File<'_>, isa: Isa, threads: usize) -> Option<Self> {
        let dims = |name: &str| file.get(name).map(|a| a.dims.clone());
        let features = *dims("pred_in.w")?.first()?;
        let states = *dims("state_in.w")?.get(1)?;
        let latents = *dims("mean.w")?.first()?;
        let hypers = *dims("hyper_d.w")?.get(1)?;
        let parameters = *dims("fuse_in.w")?.first()?;
        let shared = Self {
            isa,
            threads,
            features,
            states,
            latents,
            hypers,
            parameters,
            front: file.sum(&["pred_in", "state_in"])?,
            q_bias: file.table("q_bias", features)?,
            context: file.blocks("context")?,
            prior_in: file.linear("prior_in")?,
            q_prior: file.table("q_prior", parameters)?,
            prior: Block::new(file, "prior")?,
            hyper_d: file.linear("hyper_d")?,
            hyper_e: file.linear("hyper_e")?,
            fuse_in: file.linear("fuse_in")?,
            fuse: file.blocks("fuse")?,
            mean_step: file.pair("mean", "step")?,
            refine: [
                file.cross("check", "check_in")?,
                file.linear("check_mid")?,
                file.linear("check_out")?,
            ],
            q_back: file.table("q_back", latents)?,
            up: file.linear("up")?,
            dec_in: file.sum(&["dec_in.0", "dec_in.1"])?,
            dec: file.blocks("dec")?,
            state_out: file.linear("state_out")?,
            recon: file.blocks("recon")?,
            out: file.linear("out")?,
            gate: file.linear("gate")?,
        };
        shared.sound().then_some(shared)
    }

    /// Whether the layers' sizes fit each other.
    fn sound(&self) -> bool {
        let (c, m, y, z, p) = (
            self.features,
            self.states,
            self.latents,
            self.hypers,
            self.parameters,
        );
        let is = |l: &Linear, inputs, outputs| l.inputs == inputs && l.outputs == outputs;
        let blocks = |blocks: &[Block], c| blocks.iter().all(|b| b.a.outputs == c);
        let r = self.refine[0].outputs;
        [c, m, y, z, p]
            .iter()
            .all(|n| n.is_multiple_of(16) && *n > 0)
            && z * GROUP >= y
            && is(&self.front, SAMPLES + m, c)
            && is(&self.prior_in, 4 * c, p)
            && is(&self.hyper_d, z, 4 * z)
            && is(&self.hyper_e, z, 4 * z)
            && is(&self.fuse_in, p + z, p)
            && is(&self.mean_step, p, 2 * y)
            && is(&self.refine[0], 4 * y + p, r)
            && is(&self.refine[1], r, r)
            && is(&self.refine[2], r, y)
            && is(&self.up, y, 4 * c)
            && is(&self.dec_in, 2 * c, c)
            && is(&self.state_out, c, m)
            && is(&self.out, c, SAMPLES)
            && is(&self.gate, c, SAMPLES)
            && blocks(&self.context, c)
            && blocks(&self.dec, c)
            && blocks(&self.recon, c)
            && blocks(&self.fuse, p)
            && self.prior.a.outputs == p
    }

    /// Rows in one part of a map.
    fn part(&self, height: usize) -> usize {
        height.div_ceil(3 * self.threads).max(2)
    }

    /// One layer over whole maps.
    fn layer(&self, layer: &Linear, from: &[(&Map, Window)], out: &mut Map, finish: Finish<'_>) {
        self.layer_biased(layer, &layer.bias, from, out, finish);
    }

    fn layer_biased(
        &self,
        layer: &Linear,
        bias: &[f32],
        from: &[(&Map, Window)],
        out: &mut Map,
        finish: Finish<'_>,
    ) {
        let (width, channels) = (out.width, out.channels);
        out.split(self.part(out.height)).for_each(|mut rows| {
            let mut taps = Vec::with_capacity(10);
            for i in 0..rows.count {
                taps.clear();
                window_taps(from, (rows.first + i, 0, 1), &mut taps);
                let panels = 0..layer.outputs / 16;
                linear(
                    self.isa,
                    layer,
                    bias,
                    panels,
                    &taps,
                    width,
                    rows.row(i),
                    channels,
                    finish,
                );
            }
        });
    }

    /// A layer whose outputs are 2x2 positions of a map of twice the size.
    fn spread(&self, layer: &Linear, from: &Map, out: &mut Map, finish: Finish<'_>) {
        let (width, channels) = (from.width, out.channels);
        let part = self.part(from.height);
        out.split(2 * part).for_each(|mut rows| {
            for i in 0..rows.count {
                let tap = from.tap(((rows.first + i) / 2) as isize, 0, 1);
                let row = rows.row(i);
                for dx in 0..2 {
                    let quarter = 2 * (i % 2) + dx;
                    let panels = quarter * channels / 16..(quarter + 1) * channels / 16;
                    let out = &mut row[dx * channels..];
                    linear(
                        self.isa,
                        layer,
                        &layer.bias,
                        panels,
                        &[tap],
                        width,
                        out,
                        2 * channels,
                        finish,
                    );
                }
            }
        });
    }

    fn block(&self, block: &Block, from: &Map, out: &mut Map) {
        out.split(self.part(out.height))
            .for_each(|rows| self.block_rows(block, from, rows));
    }

    /// A block over some rows. The first layer's rows are kept while the 3x3 needs them.
    fn block_rows(&self, block: &Block, from: &Map, mut out: Rows<'_>) {
        let (width, channels, isa) = (from.width, from.channels, self.isa);
        let len = width * channels;
        let [mut kept, mut rest] = SCRATCH.take();
        let bordered = len + 2 * channels;
        kept.resize(4 * bordered);
        rest.resize(4 * STRIP * channels);
        for row in kept.chunks_exact_mut(bordered) {
            row[..channels].fill(0.0);
            row[len + channels..].fill(0.0);
        }
        let (kept_rows, zeros) = kept.split_at_mut(3 * bordered);
        zeros.fill(0.0);
        let place = |row: usize| row % 3 * bordered..(row % 3 + 1) * bordered;
        let mut held: [Option<usize>; 3] = [None; 3];
        let (deep, more) = rest.split_at_mut(STRIP * channels);
        let (middle, more) = more.split_at_mut(STRIP * channels);
        let (pairs, gated) = more.split_at_mut(STRIP * channels);
        let run = |layer: &Linear, tap: Tap<'_>, count, out: &mut [f32], finish: Finish<'_>| {
            let panels = 0..layer.outputs / 16;
            linear(
                isa,
                layer,
                &layer.bias,
                panels,
                &[tap],
                count,
                out,
                channels,
                finish,
            );
        };
        for i in 0..out.count {
            let row = out.first + i;
            for near in row.saturating_sub(1)..(row + 2).min(from.height) {
                if held[near % 3] != Some(near) {
                    let out = &mut kept_rows[place(near)][channels..channels + len];
                    let tap = from.tap(near as isize, 0, 1);
                    run(&block.a, tap, width, out, Finish::Relu);
                    held[near % 3] = Some(near);
                }
            }
            let above = match row {
                0 => &*zeros,
                _ => &kept_rows[place(row - 1)],
            };
            let below = match row + 1 == from.height {
                true => &*zeros,
                false => &kept_rows[place(row + 1)],
            };
            let rows = [above, &kept_rows[place(row)], below];
            let out = out.row(i);
            for left in (0..width).step_by(STRIP) {
                let count = STRIP.min(width - left);
                let used = count * channels;
                let rows = rows.map(|row| &row[left * channels..][..used + 2 * channels]);
                depthwise(isa, &block.d, rows, count, &mut deep[..used]);
                let x = Finish::Add(from.from(row as isize, left as isize), channels);
                run(&block.b, whole_row(deep, channels), count, middle, x);
                let tap = whole_row(middle, channels);
                run(&block.u, tap, count, pairs, Finish::Keep);
                let gated = &mut gated[..used / 2];
                kernels::product(isa, &pairs[..used], channels / 2, gated);
                let x = Finish::Add(middle, channels);
                let tap = whole_row(gated, channels / 2);
                run(&block.v, tap, count, &mut out[left * channels..], x);
            }
        }
        SCRATCH.set([kept, rest]);
    }

    /// Blocks one after the other; the result is in the first map.
    fn blocks<'a>(
        &self,
        blocks: &[Block],
        mut at: &'a mut Map,
        mut free: &'a mut Map,
    ) -> (&'a mut Map, &'a mut Map) {
        for block in blocks {
            self.block(block, at, free);
            std::mem::swap(&mut at, &mut free);
        }
        (at, free)
    }

    /// Prediction and state to the context.
    fn context<S: Depth>(&self, maps: &mut Maps, given: Given<'_, S>) {
        let (c, m) = (self.features, self.states);
        let bias = added(&self.front.bias, table_row(&self.q_bias, given.quality, c));
        let Maps { ctx, one, two, .. } = maps;
        let (width, plane) = (one.width, one.width * one.height);
        let part = self.part(one.height);
        one.split(part).for_each(|mut rows| {
            let mut bytes = vec![S::default(); width * SAMPLES];
            let mut samples = Aligned::<f32>::zeros(width * SAMPLES);
            let mut state = Aligned::<f32>::zeros(width * m);
            for i in 0..rows.count {
                let row = rows.first + i;
                gather(given.prediction, row, &mut bytes);
                S::to_network(self.isa, &bytes, &mut samples);
                for (channel, values) in given.state.chunks_exact(plane).enumerate() {
                    let values = &values[row * width..][..width];
                    for (x, value) in values.iter().enumerate() {
                        state[x * m + channel] = f32::from(*value) / STATE_SCALE;
                    }
                }
                let taps = [whole_row(&samples, SAMPLES), whole_row(&state, m)];
                linear(
                    self.isa,
                    &self.front,
                    &bias,
                    0..c / 16,
                    &taps,
                    width,
                    rows.row(i),
                    c,
                    Finish::Keep,
                );
            }
        });
        let (at, _) = self.blocks(&self.context, one, two);
        std::mem::swap(ctx, at);
    }

    /// Context to the temporal prior.
    fn prior(&self, maps: &mut Maps, quality: u8) {
        let bias = added(
            &self.prior_in.bias,
            table_row(&self.q_prior, quality, self.parameters),
        );
        let [first, _] = &mut maps.f;
        self.layer_biased(
            &self.prior_in,
            &bias,
            &[(&maps.ctx, Window::Two)],
            first,
            Finish::Relu,
        );
        self.block(&self.prior, first, &mut maps.prior);
    }

    fn load_z(&self, maps: &mut Maps, z: &[i8]) {
        let plane = maps.z.width * maps.z.height;
        let channels = self.hypers;
        let width = maps.z.width;
        let part = self.part(maps.z.height);
        maps.z.split(part).for_each(|mut rows| {
            for i in 0..rows.count {
                let at = (rows.first + i) * width;
                let row = rows.row(i);
                for (channel, plane) in z.chunks_exact(plane).enumerate() {
                    for (x, value) in plane[at..at + width].iter().enumerate() {
                        row[x * channels + channel] = f32::from(*value) * 0.125;
                    }
                }
            }
        });
    }

    /// z (an eighth of it, in `maps.z`) and the prior to means and steps.
    fn hyper(&self, maps: &mut Maps) {
        self.spread(&self.hyper_d, &maps.z, &mut maps.half, Finish::Relu);
        self.spread(&self.hyper_e, &maps.half, &mut maps.spread, Finish::Keep);
        let [first, second] = &mut maps.f;
        let from = [(&maps.prior, Window::One), (&maps.spread, Window::One)];
        self.layer(&self.fuse_in, &from, first, Finish::Keep);
        let (at, _) = self.blocks(&self.fuse, first, second);
        self.layer(
            &self.mean_step,
            &[(at, Window::One)],
            &mut maps.latents,
            Finish::Keep,
        );
        if self.fuse.len() % 2 == 1 {
            maps.f.swap(0, 1);
        }
    }

    /// From the anchors, better means of the others: the difference.
    fn refine(&self, maps: &mut Maps) {
        let [one, two] = &mut maps.refined;
        let from = [(&maps.anchors, Window::Cross), (&maps.f[0], Window::One)];
        self.others(&self.refine[0], &from, one, Finish::Relu);
        let from = [(&*one, Window::One)];
        self.others(&self.refine[1], &from, two, Finish::Relu);
        let from = [(&*two, Window::One)];
        self.others(&self.refine[2], &from, &mut maps.difference, Finish::Keep);
    }

    /// One layer at the positions that are no anchors; the rest of `out` stays as it is.
    fn others(&self, layer: &Linear, from: &[(&Map, Window)], out: &mut Map, finish: Finish<'_>) {
        let (width, channels) = (out.width, out.channels);
        out.split(self.part(out.height)).for_each(|mut rows| {
            let mut taps = Vec::with_capacity(5);
            for i in 0..rows.count {
                let row = rows.first + i;
                let first = 1 - row % 2;
                taps.clear();
                window_taps(from, (row, first, 2), &mut taps);
                linear(
                    self.isa,
                    layer,
                    &layer.bias,
                    0..layer.outputs / 16,
                    &taps,
                    width / 2,
                    &mut rows.row(i)[first * channels..],
                    2 * channels,
                    finish,
                );
            }
        });
    }

    fn row_latents<'a>(&self, latents: &'a Map, row: usize) -> Latents<'a> {
        Latents {
            mean_step: latents.row(row),
            channels: self.latents,
            anchor: row.is_multiple_of(2),
        }
    }

    /// Symbols to the latents' values, in `maps.anchors`.
    fn restore(&self, maps: &mut Maps, y: &[i16]) {
        let channels = self.latents;
        let (width, height) = (maps.symbols.width, maps.symbols.height);
        let part = self.part(height);
        maps.symbols.split(part).for_each(|mut rows| {
            for i in 0..rows.count {
                let at = (rows.first + i) * width;
                let row = rows.row(i);
                for (channel, plane) in y.chunks_exact(width * height).enumerate() {
                    for (x, value) in plane[at..at + width].iter().enumerate() {
                        row[x * channels + channel] = f32::from(*value);
                    }
                }
            }
        });
        for second in [false, true] {
            if second {
                self.refine(maps);
            }
            let Maps {
                anchors,
                latents,
                symbols,
                difference,
                ..
            } = &mut *maps;
            anchors.split(part).for_each(|mut rows| {
                for i in 0..rows.count {
                    let row = rows.first + i;
                    let refined = second.then(|| difference.row(row));
                    let latents = self.row_latents(latents, row);
                    kernels::restore(self.isa, &latents, refined, symbols.row(row), rows.row(i));
                }
            });
        }
    }

    /// Values of the latents to picture and state.
    fn synthesis<S: Depth>(&self, maps: &mut Maps, given: Given<'_, S>) -> (Picture<S>, Vec<i8>) {
        let m = self.states;
        let factors = table_row(&self.q_back, given.quality, self.latents);
        let Maps {
            ctx,
            one,
            two,
            anchors,
            ..
        } = maps;
        let part = self.part(anchors.height);
        anchors.split(part).for_each(|mut rows| {
            for i in 0..rows.count {
                kernels::scale(self.isa, factors, rows.row(i));
            }
        });
        self.spread(&self.up, anchors, one, Finish::Keep);
        self.layer(
            &self.dec_in,
            &[(one, Window::One), (ctx, Window::One)],
            two,
            Finish::Keep,
        );
        let (at, free) = self.blocks(&self.dec, two, one);
        let (width, height) = (at.width, at.height);
        let part = self.part(height);
        let mut state = vec![0i8; m * width * height];
        maps.state
            .par_chunks_mut(part * width * m)
            .enumerate()
            .for_each(|(chunk, out)| {
                let mut values = Aligned::<f32>::zeros(width * m);
                for (i, out) in out.chunks_exact_mut(width * m).enumerate() {
                    let tap = at.tap((chunk * part + i) as isize, 0, 1);
                    linear(
                        self.isa,
                        &self.state_out,
                        &self.state_out.bias,
                        0..m / 16,
                        &[tap],
                        width,
                        &mut values,
                        m,
                        Finish::Keep,
                    );
                    kernels::states(self.isa, &values, STATE_SCALE, out);
                }
            });
        let (at, _) = self.blocks(&self.recon, at, free);
        let mut picture = Picture {
            width: 8 * width,
            height: 8 * height,
            y: vec![S::default(); 64 * width * height],
            uv: vec![S::default(); 32 * width * height],
        };
        let (u, v) = picture.uv.split_at_mut(16 * width * height);
        let planes = (
            picture.y.par_chunks_mut(part * 64 * width),
            u.par_chunks_mut(part * 16 * width),
            v.par_chunks_mut(part * 16 * width),
        );
        let own = &maps.state;
        rayon::join(
            || {
                planes
                    .into_par_iter()
                    .enumerate()
                    .for_each(|(chunk, (y, u, v))| {
                        self.output_rows(at, given.prediction, chunk * part, [y, u, v]);
                    });
            },
            || {
                for (channel, plane) in state.chunks_exact_mut(width * height).enumerate() {
                    for (out, position) in plane.iter_mut().zip(own.chunks_exact(m)) {
                        *out = position[channel];
                    }
                }
            },
        );
        (picture, state)
    }

    /// Features to the samples of some rows of the planes.
    fn output_rows<S: Depth>(
        &self,
        from: &Map,
        prediction: &Picture<S>,
        first: usize,
        planes: [&mut [S]; 3],
    ) {
        let width = from.width;
        let mut bytes = vec![S::default(); width * SAMPLES];
        let mut samples = Aligned::<f32>::zeros(width * SAMPLES);
        let (mut sums, mut gates) = (samples.clone(), samples.clone());
        let [y, u, v] = planes;
        let rows = y
            .chunks_exact_mut(64 * width)
            .zip(u.chunks_exact_mut(16 * width))
            .zip(v.chunks_exact_mut(16 * width));
        for (i, ((y, u), v)) in rows.enumerate() {
            let row = first + i;
            gather(prediction, row, &mut bytes);
            S::to_network(self.isa, &bytes, &mut samples);
            let tap = from.tap(row as isize, 0, 1);
            for (layer, out) in [(&self.out, &mut sums), (&self.gate, &mut gates)] {
                linear(
                    self.isa,
                    layer,
                    &layer.bias,
                    0..SAMPLES / 16,
                    &[tap],
                    width,
                    out,
                    SAMPLES,
                    Finish::Keep,
                );
            }
            S::from_network(self.isa, &sums, &gates, &samples, &mut bytes);
            scatter(&bytes, y, u, v);
        }
    }
}

impl Analysis {
    fn new(file: File<'_>, shared: &Shared) -> Option<Self> {
        let (c, y, z, p) = (
            shared.features,
            shared.latents,
            shared.hypers,
            shared.parameters,
        );
        let analysis = Self {
            embed: file.linear("embed")?,
            enc_in: file.sum(&["enc_in.0", "enc_in.1"])?,
            enc: file.blocks("enc")?,
            down: file.linear("down")?,
            q_scale: file.table("q_scale", y)?,
            prior_mean: file.linear("prior_mean")?,
            hyper_a: file.linear("hyper_a")?,
            hyper_b: file.linear("hyper_b")?,
            hyper_c: file.linear("hyper_c")?,
            level_gain: file.get("level_gain")?.data.clone(),
            dead: match file.get("dead.t") {
                Some(table) => table.data.clone(),
                None => vec![DEAD; INDICES],
            },
        };
        let is = |l: &Linear, inputs, outputs| l.inputs == inputs && l.outputs == outputs;
        let sound = is(&analysis.embed, SAMPLES, c)
            && is(&analysis.enc_in, 2 * c, c)
            && is(&analysis.down, 9 * c, y)
            && is(&analysis.prior_mean, p, y)
            && is(&analysis.hyper_a, 2 * y, z)
            && is(&analysis.hyper_b, 4 * z, z)
            && is(&analysis.hyper_c, 4 * z, z)
            && analysis.enc.iter().all(|b| b.a.outputs == c)
            && analysis.level_gain.len() == y / GROUP
            && analysis.dead.len() == INDICES
            && analysis.dead.iter().all(|dead| *dead >= 0.0);
        sound.then_some(analysis)
    }

    /// Picture to the latents.
    fn run<S: Depth>(&self, s: &Shared, maps: &mut Maps, given: Given<'_, S>, source: &Picture<S>) {
        let c = s.features;
        let Maps {
            ctx, one, two, y, ..
        } = maps;
        let width = one.width;
        let part = s.part(one.height);
        one.split(part).for_each(|mut rows| {
            let mut bytes = vec![S::default(); width * SAMPLES];
            let mut samples = Aligned::<f32>::zeros(width * SAMPLES);
            let mut before = samples.clone();
            let mut embedded = Aligned::<f32>::zeros(width * c);
            for i in 0..rows.count {
                let row = rows.first + i;
                gather(source, row, &mut bytes);
                S::to_network(s.isa, &bytes, &mut samples);
                gather(given.prediction, row, &mut bytes);
                S::to_network(s.isa, &bytes, &mut before);
                for (sample, before) in samples.iter_mut().zip(before.iter()) {
                    *sample -= before;
                }
                let panels = 0..c / 16;
                linear(
                    s.isa,
                    &self.embed,
                    &self.embed.bias,
                    panels.clone(),
                    &[whole_row(&samples, SAMPLES)],
                    width,
                    &mut embedded,
                    c,
                    Finish::Keep,
                );
                let taps = [whole_row(&embedded, c), ctx.tap(row as isize, 0, 1)];
                linear(
                    s.isa,
                    &self.enc_in,
                    &self.enc_in.bias,
                    panels,
                    &taps,
                    width,
                    rows.row(i),
                    c,
                    Finish::Keep,
                );
            }
        });
        let (at, _) = s.blocks(&self.enc, one, two);
        let factors = table_row(&self.q_scale, given.quality, s.latents);
        s.layer(&self.down, &[(at, Window::Three(2))], y, Finish::Keep);
        y.split(s.part(y.height)).for_each(|mut rows| {
            for i in 0..rows.count {
                kernels::scale(s.isa, factors, rows.row(i));
            }
        });
    }

    /// The hyper-encoder: z, as integers and in `maps.z`.
    fn hyper(&self, s: &Shared, maps: &mut Maps, skip: &[bool]) -> Vec<i8> {
        let channels = s.latents;
        let Maps {
            prior,
            difference,
            residual,
            y,
            ..
        } = &mut *maps;
        s.layer(
            &self.prior_mean,
            &[(prior, Window::One)],
            difference,
            Finish::Keep,
        );
        let (width, height) = (y.width, y.height);
        let (w64, h64) = (width / 4, height / 4);
        let mut levels = vec![0.0f32; h64 * w64 * channels];
        (residual.split(4), levels.par_chunks_mut(w64 * channels))
            .into_par_iter()
            .for_each(|(mut rows, levels)| {
                for i in 0..rows.count {
                    let row = rows.first + i;
                    let (y, mean) = (y.row(row), difference.row(row));
                    kernels::residual(s.isa, y, mean, channels, rows.row(i), levels);
                }
            });
        let [a, b] = &mut maps.hyper;
        s.layer(
            &self.hyper_a,
            &[(&maps.residual, Window::One)],
            a,
            Finish::Relu,
        );
        s.layer(&self.hyper_b, &[(a, Window::Two)], b, Finish::Relu);
        s.layer(
            &self.hyper_c,
            &[(b, Window::Two)],
            &mut maps.hyper_raw,
            Finish::Keep,
        );

        let mut z = vec![0i8; s.hypers * w64 * h64];
        let raw = &maps.hyper_raw;
        let plane = w64 * h64;
        for row in 0..h64 {
            for x in 0..w64 {
                let at = row * w64 + x;
                let any = |dy: usize| {
                    let from = (4 * row + dy) * width + 4 * x;
                    skip[from..from + 4].contains(&false)
                };
                let live = (0..4).any(any);
                let raw = &raw.row(row)[x * s.hypers..][..s.hypers];
                for (channel, raw) in raw.iter().enumerate() {
                    let own = levels[at * channels..][..channels]
                        .chunks_exact(GROUP)
                        .nth(channel);
                    let value = match own {
                        Some(level) => {
                            let level: f32 = level.iter().sum();
                            let index = (level + 0.3).ln() / (LADDER * std::f32::consts::LN_2);
                            raw.mul_add(4.0, (index + 1.0) * self.level_gain[channel])
                                .max(0.0)
                        }
                        None => *raw,
                    };
                    if live {
                        let value = value.clamp(-Z_MAX, Z_MAX).round_ties_even();
                        z[channel * plane + at] = value as i8;
                    }
                }
            }
        }
        s.load_z(maps, &z);
        self.set_dead_zones(s, maps, &z, skip);
        z
    }

    /// The dead zone of each symbol.
    fn set_dead_zones(&self, s: &Shared, maps: &mut Maps, z: &[i8], skip: &[bool]) {
        let plane = maps.z.width * maps.z.height;
        let (width, w64, channels) = (maps.dead.width, maps.z.width, s.latents);
        let part = s.part(maps.dead.height);
        maps.dead.split(part).for_each(|mut rows| {
            for i in 0..rows.count {
                let row = rows.first + i;
                for (x, dead) in rows.row(i).chunks_exact_mut(channels).enumerate() {
                    if skip[row * width + x] {
                        dead.fill(NEVER);
                        continue;
                    }
                    let at = row / 4 * w64 + x / 4;
                    for (group, dead) in dead.chunks_exact_mut(GROUP).enumerate() {
                        dead.fill(match usize::from(z[group * plane + at].unsigned_abs()) {
                            0 => NEVER,
                            index => self.dead[index.min(INDICES - 1)],
                        });
                    }
                }
            }
        });
    }

    /// The symbols; their values are in `maps.anchors`.
    fn symbols(&self, s: &Shared, maps: &mut Maps, skip: &[bool]) -> Vec<i16> {
        let channels = s.latents;
        let (width, height) = (maps.y.width, maps.y.height);
        assert_eq!(skip.len(), width * height);
        let part = s.part(height);
        for second in [false, true] {
            if second {
                s.refine(maps);
            }
            let Maps {
                anchors,
                latents,
                symbols,
                difference,
                dead,
                y,
                ..
            } = &mut *maps;
            (anchors.split(part), symbols.split(part))
                .into_par_iter()
                .for_each(|(mut rows, mut out)| {
                    for i in 0..rows.count {
                        let row = rows.first + i;
                        let quantiser = Quantiser {
                            dead: dead.row(row),
                            refined: second.then(|| difference.row(row)),
                        };
                        let latents = s.row_latents(latents, row);
                        kernels::symbols(
                            s.isa,
                            &latents,
                            &quantiser,
                            y.row(row),
                            out.row(i),
                            rows.row(i),
                        );
                    }
                });
        }
        let mut y = vec![0i16; channels * width * height];
        let symbols = &maps.symbols;
        y.par_chunks_mut(width * height)
            .enumerate()
            .for_each(|(channel, plane)| {
                for (row, out) in plane.chunks_exact_mut(width).enumerate() {
                    for (out, values) in out.iter_mut().zip(symbols.row(row).chunks_exact(channels))
                    {
                        *out = values[channel] as i16;
                    }
                }
            });
        y
    }
}

/// What a layer reads for a row's `every`-th positions from `column` on; `Two` and `Three` are for whole
/// rows and have steps of their own.
fn window_taps<'a>(
    from: &[(&'a Map, Window)],
    (row, column, every): (usize, usize, usize),
    taps: &mut Vec<Tap<'a>>,
) {
    let (row, column) = (row as isize, column as isize);
    for (map, window) in from {
        match *window {
            Window::One => taps.push(map.tap(row, column, every)),
            Window::Two => {
                let places = [(0, 0), (0, 1), (1, 0), (1, 1)];
                taps.extend(places.map(|(dy, dx)| map.tap(2 * row + dy, dx, 2)));
            }
            Window::Cross => {
                let places = [(-1, 0), (0, -1), (0, 1), (1, 0)];
                taps.extend(places.map(|(dy, dx)| map.tap(row + dy, column + dx, every)));
            }
            Window::Three(every) => {
                for (dy, dx) in (0..9).map(|i| (i / 3 - 1, i % 3 - 1)) {
                    taps.push(map.tap(every * row + dy, dx, every as usize));
                }
            }
        }
    }
}

fn whole_row(data: &[f32], channels: usize) -> Tap<'_> {
    Tap {
        data,
        step: channels,
        len: channels,
    }
}

fn table_row(table: &[f32], quality: u8, width: usize) -> &[f32] {
    &table[usize::from(quality.min(63)) * width..][..width]
}

fn added(bias: &[f32], more: &[f32]) -> Aligned<f32> {
    let mut sum = Aligned::from(bias);
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
    sum
}

/// Places of a position's samples: luma lines of 8, then chroma by line, column, plane.
const LUMA: Range<usize> = 0..64;

/// One row of 8x8 pixels as positions of 96 samples.
fn gather<S: Depth>(picture: &Picture<S>, row: usize, out: &mut [S]) {
    let (width, half) = (picture.width, picture.width / 2);
    for dy in 0..8 {
        let line = &picture.y[(8 * row + dy) * width..][..width];
        for (out, eight) in out.chunks_exact_mut(SAMPLES).zip(line.chunks_exact(8)) {
            out[8 * dy..8 * dy + 8].copy_from_slice(eight);
        }
    }
    let (u, v) = picture.uv.split_at(half * picture.height / 2);
    for dy in 0..4 {
        let at = (4 * row + dy) * half;
        let lines = u[at..at + half]
            .chunks_exact(4)
            .zip(v[at..at + half].chunks_exact(4));
        for (out, (u, v)) in out.chunks_exact_mut(SAMPLES).zip(lines) {
            let out = &mut out[LUMA.end + 8 * dy..][..8];
            for ((out, u), v) in out.chunks_exact_mut(2).zip(u).zip(v) {
                out[0] = *u;
                out[1] = *v;
            }
        }
    }
}

/// The inverse, into lines of three planes.
fn scatter<S: Depth>(bytes: &[S], y: &mut [S], u: &mut [S], v: &mut [S]) {
    let width = y.len() / 8;
    for (dy, line) in y.chunks_exact_mut(width).enumerate() {
        for (eight, from) in line.chunks_exact_mut(8).zip(bytes.chunks_exact(SAMPLES)) {
            eight.copy_from_slice(&from[8 * dy..8 * dy + 8]);
        }
    }
    let lines = u
        .chunks_exact_mut(width / 2)
        .zip(v.chunks_exact_mut(width / 2));
    for (dy, (u, v)) in lines.enumerate() {
        let fours = u.chunks_exact_mut(4).zip(v.chunks_exact_mut(4));
        for ((u, v), from) in fours.zip(bytes.chunks_exact(SAMPLES)) {
            let from = &from[LUMA.end + 8 * dy..][..8];
            for ((u, v), pair) in u.iter_mut().zip(v).zip(from.chunks_exact(2)) {
                *u = pair[0];
                *v = pair[1];
            }
        }
    }
}
