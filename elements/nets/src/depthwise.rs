// SPDX-License-Identifier: Apache-2.0
//! Rows of depthwise 3x3 layers in SIMD.
#![allow(unsafe_code)] // calls of functions compiled for more than the baseline

use crate::compile;
use crate::dense::Sixteen;
use crate::isa::Isa;
#[cfg(target_arch = "x86_64")]
use crate::lanes::{Lanes, Pair};

/// A depthwise 3x3 layer: for each 16 channels, nine weights.
#[derive(Debug, Clone)]
pub struct Depthwise {
    weights: Vec<[Sixteen; 9]>,
    bias: Vec<Sixteen>,
}

impl Depthwise {
    /// `weights` is `[channels][9]`.
    pub fn new(weights: &[f32], bias: &[f32]) -> Self {
        assert!(bias.len().is_multiple_of(16) && weights.len() == 9 * bias.len());
        let groups = bias.len() / 16;
        let mut out = Self {
            weights: vec![[Sixteen::default(); 9]; groups],
            bias: vec![Sixteen::default(); groups],
        };
        for (channel, (nine, bias)) in weights.chunks_exact(9).zip(bias).enumerate() {
            for (tap, weight) in nine.iter().enumerate() {
                out.weights[channel / 16][tap].0[channel % 16] = *weight;
            }
            out.bias[channel / 16].0[channel % 16] = *bias;
        }
        out
    }

    pub fn channels(&self) -> usize {
        16 * self.bias.len()
    }
}

/// # Safety
/// The processor has the instructions of `V`; `rows` have `count + 2` positions and `out` `count`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn depthwise_row<V: Lanes>(
    layer: &Depthwise,
    rows: [&[f32]; 3],
    count: usize,
    out: &mut [f32],
) {
    let channels = layer.channels();
    for (group, (weights, bias)) in layer.weights.iter().zip(&layer.bias).enumerate() {
        // SAFETY: offsets are below the lengths that the caller promised.
        unsafe {
            let mut w = [V::splat(0.0); 9];
            for (w, weights) in w.iter_mut().zip(weights) {
                *w = V::load(weights.0.as_ptr());
            }
            let bias = V::load(bias.0.as_ptr());
            let from = rows.map(|row| row.as_ptr().add(16 * group));
            let out = out.as_mut_ptr().add(16 * group);
            for at in 0..count {
                let mut sum = bias;
                for (tap, w) in w.iter().enumerate() {
                    let place = from[tap / 3].add((at + tap % 3) * channels);
                    sum = V::load(place).fma(*w, sum);
                }
                sum.store(out.add(at * channels));
            }
        }
    }
}

compile! {
    depthwise_checked(layer: &Depthwise, rows: [&[f32]; 3], count: usize, out: &mut [f32]) =>
    depthwise_row::<std::arch::x86_64::__m512>(layer, rows, count, out),
    depthwise_row::<Pair>(layer, rows, count, out)
}

/// A depthwise 3x3 layer over three rows, each with one position more at both ends.
pub fn depthwise(isa: Isa, layer: &Depthwise, rows: [&[f32]; 3], count: usize, out: &mut [f32]) {
    let channels = layer.channels();
    assert!(rows.iter().all(|r| r.len() >= (count + 2) * channels));
    assert!(out.len() >= count * channels);
    depthwise_checked(isa, layer, rows, count, out);
}
