// SPDX-License-Identifier: Apache-2.0
//! Layers of a file by name, and running chains of them.
#![allow(unsafe_code)] // functions compiled for more than the baseline

use crate::compile;
use crate::conv::{After, Conv, ROWS};
use crate::isa::Isa;
use crate::map::{Map, Rows};
use crate::weights::Array;
use rayon::prelude::*;
use std::collections::HashMap;

/// A file's arrays, to make layers of.
#[derive(Clone, Copy)]
pub struct Layers<'a> {
    pub isa: Isa,
    pub arrays: &'a HashMap<String, Array>,
}

impl Layers<'_> {
    /// The layer of `name.w` and, where there is one, `name.b`; `None` where the file has none of these
    /// numbers of inputs and outputs.
    pub fn conv(
        self,
        name: &str,
        [inputs, outputs]: [usize; 2],
        stride: usize,
        pad: usize,
    ) -> Option<Conv> {
        let weights = self.arrays.get(&format!("{name}.w"))?;
        let none = Array {
            dims: vec![outputs],
            data: vec![0.0; outputs],
        };
        let bias = self.arrays.get(&format!("{name}.b")).unwrap_or(&none);
        let fits = weights.dims.get(..2) == Some(&[outputs, inputs]);
        Conv::new(self.isa, weights, bias, stride, pad).filter(|_| fits)
    }

    /// The layers `name.0`, `name.1` and so on, 3x3 and of so many channels; maybe none.
    pub fn chain(self, name: &str, channels: usize) -> Option<Vec<Conv>> {
        let names = (0..).map(|number| format!("{name}.{number}"));
        names
            .take_while(|name| self.arrays.contains_key(&format!("{name}.w")))
            .map(|name| {
                self.conv(&name, [channels; 2], 1, 1)
                    .filter(|conv| conv.side() == 3)
            })
            .collect()
    }

    /// A layer that halves the size, of windows of 2x2 or 4x4 around each four positions.
    pub fn halving(self, name: &str, channels: [usize; 2]) -> Option<Conv> {
        match self.arrays.get(&format!("{name}.w"))?.dims[..] {
            [_, _, side @ (2 | 4), _] => self.conv(name, channels, 2, side / 2 - 1),
            _ => None,
        }
    }

    /// Outputs of a layer.
    pub fn outputs(self, name: &str) -> Option<usize> {
        self.arrays.get(&format!("{name}.w"))?.dims.first().copied()
    }
}

/// Threads for a network; 0: as many as there are processors.
pub fn threads(name: &'static str, count: usize) -> Option<rayon::ThreadPool> {
    let count = match count {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    };
    rayon::ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(move |i| format!("{name}-{i}"))
        .build()
        .ok()
}

/// A layer's whole result, made by the threads of the pool that this is called in.
pub fn run(layer: &Conv, input: &Map, output: &mut Map, after: After) {
    output
        .split(layer.tile())
        .for_each(|mut rows| layer.run(input, &mut rows, after));
}

/// Layers one after the other, back and forth between two maps; the result is in the first.
pub fn run_chain(layers: &[Conv], map: &mut Map, other: &mut Map, after: After) {
    for layer in layers {
        run(layer, map, other, after);
        std::mem::swap(map, other);
    }
}

/// Adds a layer's result, of a map of half the size, to both columns and both rows of each position.
pub fn add_twice(layer: &Conv, half: &Map, map: &mut Map) {
    let channels = map.channels;
    assert!(channels == layer.outputs() && half.width * 2 == map.width);
    map.split(ROWS).for_each(|mut rows: Rows<'_>| {
        let mut made = vec![0.0; half.width * channels];
        for i in 0..rows.count {
            let row = rows.first + i;
            if row.is_multiple_of(2) || i == 0 {
                layer.row(half, row / 2, &mut made, After::Keep);
            }
            add_pairs(layer.isa(), &made, channels, rows.row(i));
        }
    });
}

#[inline(always)]
fn add_pairs_body(made: &[f32], channels: usize, out: &mut [f32]) {
    let positions = out.chunks_exact_mut(2 * channels);
    for (pair, made) in positions.zip(made.chunks_exact(channels)) {
        let (left, right) = pair.split_at_mut(channels);
        for ((left, right), made) in left.iter_mut().zip(right).zip(made) {
            *left += made;
            *right += made;
        }
    }
}

compile! {
    add_pairs(made: &[f32], channels: usize, out: &mut [f32]) =>
    add_pairs_body(made, channels, out), add_pairs_body(made, channels, out)
}
