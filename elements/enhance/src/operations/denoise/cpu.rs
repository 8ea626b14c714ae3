// SPDX-License-Identifier: Apache-2.0
//! The net on a CPU in this project's kernels: the layers of `models/training/enhance/nets.py`, as
//! `export.py` names them.
#![allow(unsafe_code)] // functions compiled for more than the baseline

use aivideo_nets::{
    compile,
    conv::{After, Conv, TILE},
    isa::Isa,
    layers::{Layers, add_twice, run, run_chain},
    map::{Map, Rows},
};
use rayon::prelude::*;
use std::cell::Cell;

use super::MULTIPLE;

/// Inputs of a position: luma's 2x2 samples, both of chroma, the level of the noise of luma and chroma.
const INPUTS: usize = 8;
/// Of those, samples.
const SAMPLES: usize = 6;
/// Outputs of the last layer with those that fill it up.
const OUTPUTS: usize = 16;

thread_local! {
    /// Rows of the last layer.
    static LAST: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// The layers, at 1/2, 1/4 and 1/8 of the size.
pub(super) struct Net {
    isa: Isa,
    features: [usize; 3],
    head: Conv,
    d1: Vec<Conv>,
    to2: Conv,
    d2: Vec<Conv>,
    to3: Conv,
    d3: Vec<Conv>,
    from3: Conv,
    u2: Vec<Conv>,
    from2: Conv,
    u1: Vec<Conv>,
    tail: Conv,
    maps: Option<Maps>,
}

/// Maps of one size, two of each resolution to go back and forth between.
struct Maps {
    input: Map,
    at2: [Map; 2],
    at4: [Map; 2],
    at8: [Map; 2],
}

impl Maps {
    fn new(width: usize, height: usize, features: [usize; 3]) -> Self {
        let two = |divisor, channels| {
            [(); 2].map(|()| Map::windowed(width / divisor, height / divisor, channels, 1))
        };
        Self {
            input: Map::new(width / 2, height / 2, INPUTS, 1),
            at2: two(2, features[0]),
            at4: two(4, features[1]),
            at8: two(8, features[2]),
        }
    }

    fn are_of(&self, width: usize, height: usize) -> bool {
        (self.input.width, self.input.height) == (width / 2, height / 2)
    }
}

/// A picture of luma and both planes of chroma, one after the other, in blocks of [`MULTIPLE`].
pub(super) struct Planes<'a> {
    pub width: usize,
    pub height: usize,
    pub y: &'a [u8],
    pub uv: &'a [u8],
}

impl Net {
    pub(super) fn new(layers: Layers<'_>) -> Option<Self> {
        let [a, b, c] = ["head", "to2", "to3"].map(|name| layers.outputs(name));
        let [a, b, c] = [a?, b?, c?];
        if [a, b, c].iter().any(|n| !n.is_multiple_of(16)) {
            return None;
        }
        let net = Self {
            isa: layers.isa,
            features: [a, b, c],
            head: layers.conv("head", [INPUTS, a], 1, 1)?,
            d1: layers.chain("d1", a)?,
            to2: layers.conv("to2", [a, b], 2, 1)?,
            d2: layers.chain("d2", b)?,
            to3: layers.conv("to3", [b, c], 2, 1)?,
            d3: layers.chain("d3", c)?,
            from3: layers.conv("from3", [c, b], 1, 0)?,
            u2: layers.chain("u2", b)?,
            from2: layers.conv("from2", [b, a], 1, 0)?,
            u1: layers.chain("u1", a)?,
            tail: layers.conv("tail", [a, SAMPLES], 1, 1)?,
            maps: None,
        };
        let sides = [
            (&net.head, 3),
            (&net.to2, 4),
            (&net.to3, 4),
            (&net.from3, 1),
            (&net.from2, 1),
            (&net.tail, 3),
        ];
        sides
            .iter()
            .all(|(layer, side)| layer.side() == *side)
            .then_some(net)
    }

    /// Writes a picture without noise of these levels, in 8-bit steps, to planes of the same size.
    pub(super) fn run(
        &mut self,
        picture: &Planes<'_>,
        sigma: [f32; 2],
        y_out: &mut [u8],
        uv_out: &mut [u8],
    ) {
        let (width, height) = (picture.width, picture.height);
        assert!(width.is_multiple_of(MULTIPLE) && height.is_multiple_of(MULTIPLE));
        assert!(picture.y.len() == width * height && y_out.len() == width * height);
        assert!(picture.uv.len() == width * height / 2 && uv_out.len() == width * height / 2);
        let mut maps = match self.maps.take() {
            Some(maps) if maps.are_of(width, height) => maps,
            _ => Maps::new(width, height, self.features),
        };
        let Maps {
            input,
            at2: [s1, t1],
            at4: [s2, t2],
            at8: [s3, t3],
        } = &mut maps;
        self.read(picture, sigma, input);
        run(&self.head, input, s1, After::Leaky);
        run_chain(&self.d1, s1, t1, After::Leaky);
        run(&self.to2, s1, s2, After::Leaky);
        run_chain(&self.d2, s2, t2, After::Leaky);
        run(&self.to3, s2, s3, After::Leaky);
        run_chain(&self.d3, s3, t3, After::Leaky);
        add_twice(&self.from3, s3, s2);
        run_chain(&self.u2, s2, t2, After::Leaky);
        add_twice(&self.from2, s2, s1);
        run_chain(&self.u1, s1, t1, After::Leaky);
        self.write(s1, input, y_out, uv_out);
        self.maps = Some(maps);
    }

    fn read(&self, picture: &Planes<'_>, sigma: [f32; 2], input: &mut Map) {
        let (w, cw) = (picture.width, picture.width / 2);
        let (u, v) = picture.uv.split_at(picture.uv.len() / 2);
        input.split(TILE).for_each(|mut rows: Rows<'_>| {
            for i in 0..rows.count {
                let row = rows.first + i;
                let luma = [0, 1].map(|second| &picture.y[(2 * row + second) * w..][..w]);
                let chroma = [u, v].map(|plane| &plane[row * cw..][..cw]);
                positions(self.isa, luma, chroma, sigma, rows.row(i));
            }
        });
    }

    /// The last layer, whose sums are what is added to the picture, with a half to round it.
    fn write(&self, map: &Map, input: &Map, y_out: &mut [u8], uv_out: &mut [u8]) {
        let (cw, ch) = (map.width, map.height);
        let (u, v) = uv_out.split_at_mut(cw * ch);
        let parts = y_out
            .par_chunks_mut(TILE * 4 * cw)
            .with_max_len(1)
            .zip(u.par_chunks_mut(TILE * cw).zip(v.par_chunks_mut(TILE * cw)));
        parts.enumerate().for_each(|(part, (y, (u, v)))| {
            let (first, count) = (part * TILE, u.len() / cw);
            let step = cw * OUTPUTS;
            let mut sums = LAST.take();
            sums.resize(TILE * step, 0.0);
            self.tail
                .rows(map, [first, count, cw], &mut sums, step, After::Keep);
            let lines = sums
                .chunks_exact(step)
                .zip(y.chunks_exact_mut(4 * cw))
                .zip(u.chunks_exact_mut(cw).zip(v.chunks_exact_mut(cw)));
            for (i, ((sums, y), (u, v))) in lines.enumerate() {
                samples(self.isa, input.row(first + i), sums, y, u, v);
            }
            LAST.set(sums);
        });
    }
}

#[inline(always)]
fn positions_body(luma: [&[u8]; 2], chroma: [&[u8]; 2], sigma: [f32; 2], out: &mut [f32]) {
    let [upper, lower] = luma;
    let [u, v] = chroma;
    let luma = upper.chunks_exact(2).zip(lower.chunks_exact(2));
    let given = luma.zip(u.iter().zip(v));
    for (out, ((upper, lower), (u, v))) in out.chunks_exact_mut(INPUTS).zip(given) {
        let bytes = [upper[0], upper[1], lower[0], lower[1], *u, *v, 0, 0];
        for (out, byte) in out.iter_mut().zip(bytes) {
            *out = f32::from(byte);
        }
        out[SAMPLES..].copy_from_slice(&sigma);
    }
}

compile! {
    positions(luma: [&[u8]; 2], chroma: [&[u8]; 2], sigma: [f32; 2], out: &mut [f32]) =>
    positions_body(luma, chroma, sigma, out), positions_body(luma, chroma, sigma, out)
}

#[inline(always)]
#[allow(clippy::manual_clamp)] // max and min, unlike clamp, leave no NaN
fn samples_body(input: &[f32], sums: &[f32], y: &mut [u8], u: &mut [u8], v: &mut [u8]) {
    let (upper, lower) = y.split_at_mut(y.len() / 2);
    let luma = upper.chunks_exact_mut(2).zip(lower.chunks_exact_mut(2));
    let given = input.chunks_exact(INPUTS).zip(sums.chunks_exact(OUTPUTS));
    let wanted = luma.zip(u.iter_mut().zip(v));
    for ((input, sums), ((upper, lower), (u, v))) in given.zip(wanted) {
        let mut bytes = [0u8; INPUTS];
        for ((byte, input), sum) in bytes.iter_mut().zip(input).zip(sums) {
            let value = (input + sum).max(0.0).min(255.0);
            // SAFETY: a number from 0 to 255, whatever the sum was.
            *byte = unsafe { value.to_int_unchecked::<i32>() } as u8;
        }
        upper.copy_from_slice(&bytes[..2]);
        lower.copy_from_slice(&bytes[2..4]);
        [*u, *v] = [bytes[4], bytes[5]];
    }
}

compile! {
    samples(input: &[f32], sums: &[f32], y: &mut [u8], u: &mut [u8], v: &mut [u8]) =>
    samples_body(input, sums, y, u, v), samples_body(input, sums, y, u, v)
}
