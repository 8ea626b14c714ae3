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

mod analysis;
mod file;
pub mod kernels;
mod samples;
mod shared;

use super::layout::Layout;
use super::{Depth, Picture};
use aivideo_nets::{isa::Isa, layers, map::Map, weights};
use analysis::Analysis;
use file::File;
use shared::Shared;
use std::sync::Mutex;

/// Constants of `models/training/codec/model.py`.
const SAMPLES: usize = 96;
pub(super) const PIXEL_SCALE: f32 = 1.0 / 32.0;
const STATE_SCALE: f32 = 16.0;
/// Channels that share a scale index.
const GROUP: usize = 4;
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
