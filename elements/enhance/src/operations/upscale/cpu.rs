// SPDX-License-Identifier: Apache-2.0
//! The net on a CPU in this project's kernels: the layers of `models/training/enhance/nets.py`, as
//! `export.py` names them.
#![allow(unsafe_code)] // functions compiled for more than the baseline

use aivideo_nets::{
    compile,
    conv::{After, Conv, ROWS},
    isa::Isa,
    layers::{Layers, run, run_chain},
    map::{Map, Rows},
};
use rayon::prelude::*;
use std::cell::Cell;

use super::MULTIPLE;

/// Outputs of the last layer, with those that fill it up: the samples that a position becomes.
const OUTPUTS: usize = 16;

thread_local! {
    /// Rows of the last layer and of what it is added to.
    static LAST: Cell<[Vec<f32>; 2]> = const { Cell::new([Vec::new(), Vec::new()]) };
}

pub(super) struct Net {
    isa: Isa,
    /// Rows and columns of samples that are a position: 1 or 2.
    fold: usize,
    head: Conv,
    body: Vec<Conv>,
    tail: Conv,
    /// What is there without a net: an interpolation.
    base: Conv,
    maps: Option<Maps>,
}

/// Maps of one size.
struct Maps {
    input: Map,
    one: Map,
    two: Map,
}

impl Net {
    pub(super) fn new(layers: Layers<'_>) -> Option<Self> {
        let features = layers.outputs("head")?;
        let samples = layers.outputs("tail")?;
        let fold = match samples {
            4 => 1,
            16 => 2,
            _ => return None,
        };
        let net = Self {
            isa: layers.isa,
            fold,
            head: layers.conv("head", [1, features], fold, 2)?,
            body: layers.chain("body", features)?,
            tail: layers.conv("tail", [features, samples], 1, 1)?,
            // Its weights sum to one: rounded they would change the brightness.
            base: layers.conv("base", [1, samples], fold, 2)?.plain(),
            maps: None,
        };
        let sides = [net.head.side(), net.tail.side(), net.base.side()];
        (sides == [4 + fold, 3, 4 + fold] && features.is_multiple_of(16)).then_some(net)
    }

    /// Writes luma of twice the width and height.
    pub(super) fn run(&mut self, luma: &[u8], [width, height]: [usize; 2], out: &mut [u8]) {
        assert!(width.is_multiple_of(MULTIPLE) && height.is_multiple_of(MULTIPLE));
        assert!(luma.len() == width * height && out.len() == 4 * luma.len());
        let (w, h) = (width / self.fold, height / self.fold);
        let mut maps = match self.maps.take() {
            Some(maps) if (maps.input.width, maps.input.height) == (width, height) => maps,
            _ => Maps {
                input: Map::new(width, height, 1, 2),
                one: Map::windowed(w, h, self.head.outputs(), 1),
                two: Map::windowed(w, h, self.head.outputs(), 1),
            },
        };
        let Maps { input, one, two } = &mut maps;
        input.split(ROWS).for_each(|mut rows: Rows<'_>| {
            for i in 0..rows.count {
                let from = &luma[(rows.first + i) * width..];
                for (out, byte) in rows.row(i).iter_mut().zip(from) {
                    *out = f32::from(*byte);
                }
            }
        });
        run(&self.head, input, one, After::Leaky);
        run_chain(&self.body, one, two, After::Leaky);
        self.write(one, input, out);
        self.maps = Some(maps);
    }

    /// The last layer, with a half to round it, and the interpolation.
    fn write(&self, map: &Map, input: &Map, out: &mut [u8]) {
        let step = map.width * OUTPUTS;
        // Of the picture, for a row of positions.
        let bytes = map.width * 4 * self.fold * self.fold;
        let tile = self.tail.tile();
        let parts = out.par_chunks_mut(tile * bytes).with_max_len(1);
        parts.enumerate().for_each(|(part, out)| {
            let (first, count) = (part * tile, out.len() / bytes);
            let [mut sums, mut base] = LAST.take();
            sums.resize(tile * step, 0.0);
            base.resize(step, 0.0);
            let size = [first, count, map.width];
            self.tail.rows(map, size, &mut sums, step, After::Keep);
            let lines = sums.chunks_exact(step).zip(out.chunks_exact_mut(bytes));
            for (i, (sums, out)) in lines.enumerate() {
                self.base.row(input, first + i, &mut base, After::Keep);
                match self.fold {
                    1 => two(self.isa, sums, &base, out),
                    _ => four(self.isa, sums, &base, out),
                }
            }
            LAST.set([sums, base]);
        });
    }
}

/// Samples of positions that are `SIDE` rows and columns of the picture.
#[inline(always)]
#[allow(clippy::manual_clamp)] // max and min, unlike clamp, leave no NaN
fn samples<const SIDE: usize>(sums: &[f32], base: &[f32], out: &mut [u8]) {
    let width = out.len() / SIDE;
    let given = sums.chunks_exact(OUTPUTS).zip(base.chunks_exact(OUTPUTS));
    for (position, (sums, base)) in given.enumerate() {
        let mut bytes = [0u8; OUTPUTS];
        for ((byte, sum), base) in bytes.iter_mut().zip(sums).zip(base) {
            let value = (sum + base).max(0.0).min(255.0);
            // SAFETY: a number from 0 to 255, whatever the sum was.
            *byte = unsafe { value.to_int_unchecked::<i32>() } as u8;
        }
        for (row, bytes) in out.chunks_exact_mut(width).zip(bytes.chunks_exact(SIDE)) {
            row[SIDE * position..][..SIDE].copy_from_slice(bytes);
        }
    }
}

compile! {
    two(sums: &[f32], base: &[f32], out: &mut [u8]) =>
    samples::<2>(sums, base, out), samples::<2>(sums, base, out)
}

compile! {
    four(sums: &[f32], base: &[f32], out: &mut [u8]) =>
    samples::<4>(sums, base, out), samples::<4>(sums, base, out)
}
