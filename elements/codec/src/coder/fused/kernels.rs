// SPDX-License-Identifier: Apache-2.0
//! What the networks do with rows beside their layers, in SIMD.
#![allow(unsafe_code)] // calls of functions compiled for more than the baseline

use aivideo_nets::{compile, isa::Isa};

/// 2^x for -126 to 126, to about the last bit but one.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    let x = x.clamp(-126.0, 126.0);
    let shifted = x + MAGIC;
    let f = x - (shifted - MAGIC);
    let p = 1.540_353e-4f32;
    let p = p.mul_add(f, 1.333_355_8e-3);
    let p = p.mul_add(f, 9.618_129e-3);
    let p = p.mul_add(f, 5.550_411e-2);
    let p = p.mul_add(f, 2.402_265e-1);
    let p = p.mul_add(f, std::f32::consts::LN_2);
    let p = p.mul_add(f, 1.0);
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// `v` without its dead zone, rounded: `sign(v) * floor(|v| + 0.5 - dead)`.
#[inline(always)]
pub fn quantise(v: f32, dead: f32) -> f32 {
    (v - v.clamp(-dead, dead)).round_ties_even()
}

#[inline(always)]
fn product_body(pairs: &[f32], half: usize, out: &mut [f32]) {
    for (out, pair) in out.chunks_exact_mut(half).zip(pairs.chunks_exact(2 * half)) {
        let (p, g) = pair.split_at(half);
        for ((out, p), g) in out.iter_mut().zip(p).zip(g) {
            *out = p * g.max(0.0);
        }
    }
}

compile! {
    product_compiled(pairs: &[f32], half: usize, out: &mut [f32]) =>
    product_body(pairs, half, out), product_body(pairs, half, out)
}

/// First half of each position times the positive part of the second half.
pub fn product(isa: Isa, pairs: &[f32], half: usize, out: &mut [f32]) {
    product_compiled(isa, pairs, half, out);
}

#[inline(always)]
#[allow(clippy::manual_clamp)] // max and min, unlike clamp, leave no NaN
fn blend_body(sums: &[f32], gates: &[f32], prediction: &[f32], scale: f32, out: &mut [u8]) {
    for (((out, sum), gate), prediction) in out.iter_mut().zip(sums).zip(gates).zip(prediction) {
        let open = 1.0 / (1.0 + exp2(-gate * std::f32::consts::LOG2_E));
        let value = (open.mul_add(*prediction, *sum) * scale).round_ties_even() + 128.0;
        // SAFETY: a number from 0 to 255, whatever the sums were.
        *out = unsafe { value.max(0.0).min(255.0).to_int_unchecked::<i32>() } as u8;
    }
}

compile! {
    blend_compiled(sums: &[f32], gates: &[f32], prediction: &[f32], scale: f32, out: &mut [u8]) =>
    blend_body(sums, gates, prediction, scale, out), blend_body(sums, gates, prediction, scale, out)
}

/// Samples: `sum + sigmoid(gate) * prediction`, scaled and about mid grey.
pub fn blend(
    isa: Isa,
    sums: &[f32],
    gates: &[f32],
    prediction: &[f32],
    scale: f32,
    out: &mut [u8],
) {
    blend_compiled(isa, sums, gates, prediction, scale, out);
}

/// Inputs of one row of [`restore`] and [`symbols`].
pub struct Latents<'a> {
    /// Means and log2 of steps: `2 * channels` a position.
    pub mean_step: &'a [f32],
    pub channels: usize,
    /// Whether position 0 is an anchor.
    pub anchor: bool,
}

impl<'a> Latents<'a> {
    #[inline(always)]
    fn positions(&self) -> impl Iterator<Item = (bool, &'a [f32], &'a [f32])> + use<'a> {
        let (channels, anchor) = (self.channels, self.anchor);
        self.mean_step
            .chunks_exact(2 * channels)
            .enumerate()
            .map(move |(x, both)| {
                let (mean, step) = both.split_at(channels);
                (anchor == (x % 2 == 0), mean, step)
            })
    }
}

#[inline(always)]
fn restore_body(latents: &Latents<'_>, refined: Option<&[f32]>, symbols: &[f32], out: &mut [f32]) {
    let n = latents.channels;
    let second = refined.is_some();
    let refined = refined.unwrap_or(symbols).chunks_exact(n);
    let rows = symbols.chunks_exact(n).zip(out.chunks_exact_mut(n));
    for (((anchor, mean, step), (symbols, out)), refined) in
        latents.positions().zip(rows).zip(refined)
    {
        if anchor == second {
            if !second {
                out.fill(0.0);
            }
            continue;
        }
        for ((((symbol, out), mean), step), refined) in
            symbols.iter().zip(out).zip(mean).zip(step).zip(refined)
        {
            let mean = if second { mean + refined } else { *mean };
            *out = symbol.mul_add(exp2(step.clamp(-1.0, 1.0)), mean);
        }
    }
}

compile! {
    restore_compiled(latents: &Latents<'_>, refined: Option<&[f32]>, symbols: &[f32], out: &mut [f32]) =>
    restore_body(latents, refined, symbols, out), restore_body(latents, refined, symbols, out)
}

/// Decoder: values of the anchors and zero elsewhere; with refined means, values of the others.
pub fn restore(
    isa: Isa,
    latents: &Latents<'_>,
    refined: Option<&[f32]>,
    symbols: &[f32],
    out: &mut [f32],
) {
    restore_compiled(isa, latents, refined, symbols, out);
}

#[inline(always)]
fn scale_body(factors: &[f32], values: &mut [f32]) {
    for values in values.chunks_exact_mut(factors.len()) {
        for (value, factor) in values.iter_mut().zip(factors) {
            *value *= factor;
        }
    }
}

compile! {
    scale_compiled(factors: &[f32], values: &mut [f32]) =>
    scale_body(factors, values), scale_body(factors, values)
}

/// Multiplies each channel by its factor.
pub fn scale(isa: Isa, factors: &[f32], values: &mut [f32]) {
    scale_compiled(isa, factors, values);
}

/// A dead zone that nothing leaves.
pub const NEVER: f32 = f32::MAX;

/// What the quantiser may use.
pub struct Quantiser<'a> {
    /// What a symbol loses before it is rounded; [`NEVER`] where none may be coded.
    pub dead: &'a [f32],
    /// Refined means' difference; `None` in the first pass, over the anchors.
    pub refined: Option<&'a [f32]>,
}

#[inline(always)]
fn symbols_body(
    latents: &Latents<'_>,
    quantiser: &Quantiser<'_>,
    y: &[f32],
    symbols: &mut [f32],
    anchors: &mut [f32],
) {
    let n = latents.channels;
    let second = quantiser.refined.is_some();
    let zeros = quantiser.refined.unwrap_or(quantiser.dead);
    let rows = y
        .chunks_exact(n)
        .zip(symbols.chunks_exact_mut(n))
        .zip(anchors.chunks_exact_mut(n));
    let given = quantiser.dead.chunks_exact(n).zip(zeros.chunks_exact(n));
    for (((anchor, mean, step), ((y, symbols), out)), (dead, refined)) in
        latents.positions().zip(rows).zip(given)
    {
        if anchor == second {
            if !second {
                out.fill(0.0);
                symbols.fill(0.0);
            }
            continue;
        }
        let values = y.iter().zip(mean).zip(step).zip(dead).zip(refined);
        for (((((y, mean), step), dead), refined), (symbol, out)) in
            values.zip(symbols.iter_mut().zip(out))
        {
            let step = exp2(step.clamp(-1.0, 1.0));
            let mean = if second { mean + refined } else { *mean };
            let value = quantise((y - mean) / step, *dead);
            *symbol = value.clamp(-32000.0, 32000.0);
            *out = value.mul_add(step, mean);
        }
    }
}

compile! {
    symbols_compiled(latents: &Latents<'_>, quantiser: &Quantiser<'_>, y: &[f32], symbols: &mut [f32], anchors: &mut [f32]) =>
    symbols_body(latents, quantiser, y, symbols, anchors), symbols_body(latents, quantiser, y, symbols, anchors)
}

/// Encoder: symbols, and the values that [`restore`] makes of them: of the anchors (first pass) or of
/// the others (second pass).
pub fn symbols(
    isa: Isa,
    latents: &Latents<'_>,
    quantiser: &Quantiser<'_>,
    y: &[f32],
    symbols: &mut [f32],
    anchors: &mut [f32],
) {
    symbols_compiled(isa, latents, quantiser, y, symbols, anchors);
}

#[inline(always)]
fn residual_body(y: &[f32], mean: &[f32], channels: usize, out: &mut [f32], levels: &mut [f32]) {
    let given = y.chunks_exact(channels).zip(mean.chunks_exact(channels));
    for (out, (y, mean)) in out.chunks_exact_mut(2 * channels).zip(given) {
        let (first, second) = out.split_at_mut(channels);
        for (((a, b), y), mean) in first.iter_mut().zip(second).zip(y).zip(mean) {
            *a = y.clamp(-24.0, 24.0) * 0.25;
            *b = (y - mean).abs().min(24.0) * 0.25;
        }
    }
    let given = y
        .chunks_exact(4 * channels)
        .zip(mean.chunks_exact(4 * channels));
    for (levels, (y, mean)) in levels.chunks_exact_mut(channels).zip(given) {
        let four = y.chunks_exact(channels).zip(mean.chunks_exact(channels));
        for (y, mean) in four {
            for ((level, y), mean) in levels.iter_mut().zip(y).zip(mean) {
                *level += quantise(y - mean, 0.5 - 0.27).abs();
            }
        }
    }
}

compile! {
    residual_compiled(y: &[f32], mean: &[f32], channels: usize, out: &mut [f32], levels: &mut [f32]) =>
    residual_body(y, mean, channels, out, levels), residual_body(y, mean, channels, out, levels)
}

/// Inputs of the hyper-encoder: latents and how far they are from the prior's mean; and added to
/// `levels`, by groups of four positions, what their symbols would be.
pub fn residual(
    isa: Isa,
    y: &[f32],
    mean: &[f32],
    channels: usize,
    out: &mut [f32],
    levels: &mut [f32],
) {
    residual_compiled(isa, y, mean, channels, out, levels);
}

#[inline(always)]
#[allow(clippy::manual_clamp)] // max and min, unlike clamp, leave no NaN
fn states_body(values: &[f32], scale: f32, out: &mut [i8]) {
    for (out, value) in out.iter_mut().zip(values) {
        let value = (value * scale).max(-127.0).min(127.0).round_ties_even();
        // SAFETY: a number from -127 to 127, whatever the value was.
        *out = unsafe { value.to_int_unchecked::<i32>() } as i8;
    }
}

compile! {
    states_compiled(values: &[f32], scale: f32, out: &mut [i8]) =>
    states_body(values, scale, out), states_body(values, scale, out)
}

/// Rounds the state.
pub fn states(isa: Isa, values: &[f32], scale: f32, out: &mut [i8]) {
    states_compiled(isa, values, scale, out);
}

#[inline(always)]
fn samples_body(bytes: &[u8], scale: f32, out: &mut [f32]) {
    for (out, byte) in out.iter_mut().zip(bytes) {
        *out = (f32::from(*byte) - 128.0) * scale;
    }
}

compile! {
    samples_compiled(bytes: &[u8], scale: f32, out: &mut [f32]) =>
    samples_body(bytes, scale, out), samples_body(bytes, scale, out)
}

/// Bytes to network units about mid grey.
pub fn samples(isa: Isa, bytes: &[u8], scale: f32, out: &mut [f32]) {
    samples_compiled(isa, bytes, scale, out);
}

#[inline(always)]
fn samples10_body(values: &[u16], scale: f32, out: &mut [f32]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = (f32::from(*value) - 512.0) * scale;
    }
}

compile! {
    samples10_compiled(values: &[u16], scale: f32, out: &mut [f32]) =>
    samples10_body(values, scale, out), samples10_body(values, scale, out)
}

/// The same of ten bits.
pub fn samples10(isa: Isa, values: &[u16], scale: f32, out: &mut [f32]) {
    samples10_compiled(isa, values, scale, out);
}

#[inline(always)]
#[allow(clippy::manual_clamp)] // max and min, unlike clamp, leave no NaN
fn blend10_body(sums: &[f32], gates: &[f32], prediction: &[f32], scale: f32, out: &mut [u16]) {
    for (((out, sum), gate), prediction) in out.iter_mut().zip(sums).zip(gates).zip(prediction) {
        let open = 1.0 / (1.0 + exp2(-gate * std::f32::consts::LOG2_E));
        let value = (open.mul_add(*prediction, *sum) * scale).round_ties_even() + 512.0;
        // SAFETY: a number from 0 to 1023, whatever the sums were.
        *out = unsafe { value.max(0.0).min(1023.0).to_int_unchecked::<i32>() } as u16;
    }
}

compile! {
    blend10_compiled(sums: &[f32], gates: &[f32], prediction: &[f32], scale: f32, out: &mut [u16]) =>
    blend10_body(sums, gates, prediction, scale, out), blend10_body(sums, gates, prediction, scale, out)
}

/// [`blend`] to samples of ten bits.
pub fn blend10(
    isa: Isa,
    sums: &[f32],
    gates: &[f32],
    prediction: &[f32],
    scale: f32,
    out: &mut [u16],
) {
    blend10_compiled(isa, sums, gates, prediction, scale, out);
}
