// SPDX-License-Identifier: Apache-2.0
//! Layers of a model file by name.

use aivideo_nets::{dense::Linear, depthwise::Depthwise, weights::Array};
use std::collections::HashMap;

/// The file's arrays, to make layers of.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) arrays: &'a HashMap<String, Array>,
    /// See [`Linear::with_precision`].
    pub(super) coarse: bool,
}

impl<'a> File<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&'a Array> {
        self.arrays.get(name)
    }

    /// `[outputs][taps * inputs]` and the bias.
    pub(super) fn layer(&self, name: &str) -> Option<(usize, Vec<f32>, Vec<f32>)> {
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

    pub(super) fn linear(&self, name: &str) -> Option<Linear> {
        self.sum(&[name])
    }

    /// One layer for the sum of several.
    pub(super) fn sum(&self, names: &[&str]) -> Option<Linear> {
        let parts = names
            .iter()
            .map(|name| self.layer(name))
            .collect::<Option<Vec<_>>>()?;
        self.merged(&parts)
    }

    /// The 3x3 layer `name` without its corners and its centre, added to another layer.
    pub(super) fn cross(&self, name: &str, other: &str) -> Option<Linear> {
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

    pub(super) fn merged(&self, parts: &[(usize, Vec<f32>, Vec<f32>)]) -> Option<Linear> {
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
    pub(super) fn pair(&self, first: &str, second: &str) -> Option<Linear> {
        let (inputs, mut weights, mut bias) = self.layer(first)?;
        let (other, more, rest) = self.layer(second)?;
        if other != inputs {
            return None;
        }
        weights.extend(more);
        bias.extend(rest);
        Some(Linear::with_precision(inputs, &weights, &bias, self.coarse))
    }

    pub(super) fn blocks(&self, name: &str) -> Option<Vec<Block>> {
        let mut blocks = Vec::new();
        while self.get(&format!("{name}.{}.a.w", blocks.len())).is_some() {
            blocks.push(Block::new(*self, &format!("{name}.{}", blocks.len()))?);
        }
        (!blocks.is_empty()).then_some(blocks)
    }

    /// A row of a table by quality, for each of the 64.
    pub(super) fn table(&self, name: &str, width: usize) -> Option<Vec<f32>> {
        let array = self.get(&format!("{name}.t"))?;
        (array.dims == [64, width]).then(|| array.data.clone())
    }
}

/// 1x1, ReLU, depthwise 3x3, 1x1, add; 1x1 to two halves, gate, 1x1, add.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) a: Linear,
    pub(super) d: Depthwise,
    pub(super) b: Linear,
    pub(super) u: Linear,
    pub(super) v: Linear,
}

impl Block {
    pub(super) fn new(file: File<'_>, name: &str) -> Option<Self> {
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
