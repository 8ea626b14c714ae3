// SPDX-License-Identifier: Apache-2.0
//! Rows of the network's layers in SIMD: AVX-512, or AVX2 with FMA.
//!
//! Activations are rows of positions, the channels of a position beside each other. A linear layer
//! is a sum over *taps*: the same row of another tensor, a neighbour in a 3x3 or 2x2 window, the
//! second half of a concatenation. So every dense layer is one kernel. The order of additions depends
//! on the layer alone, never on threads or the picture's size.
#![allow(unsafe_code)] // intrinsics, and calls of functions compiled for more than the baseline

use super::aligned::Aligned;
use std::ops::Range;

/// Sixteen floats on their own cache line.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub struct Sixteen(pub [f32; 16]);

/// Instructions that the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512, and dense layers on the matrix unit.
    Amx,
    Avx512,
    Avx2,
}

impl Isa {
    pub fn name(self) -> &'static str {
        match self {
            Self::Amx => "amx",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
        }
    }

    /// The best that this machine has.
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                return Some(match super::amx::available() {
                    true => Self::Amx,
                    false => Self::Avx512,
                });
            }
            if avx2 {
                return Some(Self::Avx2);
            }
        }
        None
    }
}

/// One source of a linear layer: at position `i`, `len` floats from `i * step` on.
#[derive(Debug, Clone, Copy)]
pub struct Tap<'a> {
    pub data: &'a [f32],
    pub step: usize,
    pub len: usize,
}

/// A dense layer with its weights as the kernel reads them: for each 16 outputs, the 16 weights of the
/// first input, of the second, and so on over all taps.
#[derive(Debug, Clone)]
pub struct Linear {
    pub inputs: usize,
    pub outputs: usize,
    panels: Vec<Sixteen>,
    /// The same for the matrix unit, where there is one.
    #[cfg(target_arch = "x86_64")]
    packed: Option<super::amx::Packed>,
    pub bias: Aligned<f32>,
}

impl Linear {
    /// `weights` is `[outputs][inputs]`; outputs are a multiple of 16.
    pub fn new(inputs: usize, weights: &[f32], bias: &[f32]) -> Self {
        Self::with_precision(inputs, weights, bias, false)
    }

    /// `coarse`: its results decide symbols but nothing that a decoder computes as well, so bfloat16
    /// will do where that is faster.
    pub fn with_precision(inputs: usize, weights: &[f32], bias: &[f32], coarse: bool) -> Self {
        let outputs = bias.len();
        assert!(outputs.is_multiple_of(16) && weights.len() == inputs * outputs);
        let mut panels = vec![Sixteen::default(); inputs * outputs / 16];
        for (output, row) in weights.chunks_exact(inputs).enumerate() {
            for (input, weight) in row.iter().enumerate() {
                panels[output / 16 * inputs + input].0[output % 16] = *weight;
            }
        }
        Self {
            inputs,
            outputs,
            panels,
            #[cfg(target_arch = "x86_64")]
            packed: super::amx::available().then(|| super::amx::pack(inputs, weights, coarse)),
            bias: bias.into(),
        }
    }
}

/// What becomes of a sum.
#[derive(Debug, Clone, Copy)]
pub enum Finish<'a> {
    Keep,
    Relu,
    /// Adds the same place of another row, `step` floats from position to position.
    Add(&'a [f32], usize),
}

const KEEP: u8 = 0;
const RELU: u8 = 1;
const ADD: u8 = 2;

#[cfg(target_arch = "x86_64")]
mod lanes {
    use std::arch::x86_64::*;

    /// Sixteen floats in registers.
    ///
    /// # Safety
    /// The processor must have the instructions, and pointers must be good for sixteen floats.
    pub trait Lanes: Copy {
        /// 32 registers of 16 floats rather than 16 of 8.
        const WIDE: bool;
        unsafe fn load(from: *const f32) -> Self;
        unsafe fn store(self, to: *mut f32);
        unsafe fn splat(value: f32) -> Self;
        unsafe fn fma(self, weight: Self, sum: Self) -> Self;
        unsafe fn add(self, other: Self) -> Self;
        unsafe fn relu(self) -> Self;
    }

    impl Lanes for __m512 {
        const WIDE: bool = true;
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as the trait asks.
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as the trait asks.
            unsafe { _mm512_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: as the trait asks.
            unsafe { _mm512_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn fma(self, weight: Self, sum: Self) -> Self {
            // SAFETY: as the trait asks.
            unsafe { _mm512_fmadd_ps(self, weight, sum) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: as the trait asks.
            unsafe { _mm512_add_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn relu(self) -> Self {
            // SAFETY: as the trait asks.
            unsafe { _mm512_max_ps(self, _mm512_setzero_ps()) }
        }
    }

    #[derive(Clone, Copy)]
    pub struct Pair(__m256, __m256);

    impl Lanes for Pair {
        const WIDE: bool = false;
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as the trait asks.
            unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as the trait asks.
            unsafe {
                _mm256_storeu_ps(to, self.0);
                _mm256_storeu_ps(to.add(8), self.1);
            }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: as the trait asks.
            unsafe {
                let v = _mm256_set1_ps(value);
                Self(v, v)
            }
        }
        #[inline(always)]
        unsafe fn fma(self, weight: Self, sum: Self) -> Self {
            // SAFETY: as the trait asks.
            unsafe {
                Self(
                    _mm256_fmadd_ps(self.0, weight.0, sum.0),
                    _mm256_fmadd_ps(self.1, weight.1, sum.1),
                )
            }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: as the trait asks.
            unsafe {
                Self(
                    _mm256_add_ps(self.0, other.0),
                    _mm256_add_ps(self.1, other.1),
                )
            }
        }
        #[inline(always)]
        unsafe fn relu(self) -> Self {
            // SAFETY: as the trait asks.
            unsafe {
                let zero = _mm256_setzero_ps();
                Self(_mm256_max_ps(self.0, zero), _mm256_max_ps(self.1, zero))
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
use lanes::Lanes;

/// Where a row's results go.
#[derive(Clone, Copy)]
struct Target {
    out: *mut f32,
    step: usize,
    add: *const f32,
    add_step: usize,
}

/// `POSITIONS` positions from `at` on, `16 * PANELS` outputs.
///
/// # Safety
/// As for [`row`]; `weights` and `bias` point at the first of the panels, which are `stride` floats
/// apart, and `target.out` and `target.add` at the first of the outputs.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn tile<V: Lanes, const POSITIONS: usize, const PANELS: usize, const FINISH: u8>(
    taps: &[Tap<'_>],
    at: usize,
    weights: *const f32,
    stride: usize,
    bias: *const f32,
    target: Target,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(0.0); PANELS]; POSITIONS];
        for row in &mut sums {
            for (panel, sum) in row.iter_mut().enumerate() {
                *sum = V::load(bias.add(16 * panel));
            }
        }
        let mut weights = weights;
        for tap in taps {
            let from = tap.data.as_ptr().add(at * tap.step);
            for k in 0..tap.len {
                let mut w = [V::splat(0.0); PANELS];
                for (panel, w) in w.iter_mut().enumerate() {
                    *w = V::load(weights.add(panel * stride));
                }
                weights = weights.add(16);
                for (position, row) in sums.iter_mut().enumerate() {
                    let value = V::splat(*from.add(position * tap.step + k));
                    for (sum, w) in row.iter_mut().zip(w) {
                        *sum = value.fma(w, *sum);
                    }
                }
            }
        }
        for (position, row) in sums.iter().enumerate() {
            for (panel, sum) in row.iter().enumerate() {
                let sum = match FINISH {
                    RELU => sum.relu(),
                    ADD => {
                        let add = target.add.add((at + position) * target.add_step);
                        sum.add(V::load(add.add(16 * panel)))
                    }
                    _ => *sum,
                };
                let out = target.out.add((at + position) * target.step);
                sum.store(out.add(16 * panel));
            }
        }
    }
}

/// All positions of a row.
///
/// # Safety
/// The processor has the instructions of `V`. Each tap has `(count - 1) * step + len` floats; the
/// targets the same with the outputs of `panels`; the taps' lengths sum up to `layer.inputs`; `panels`
/// are of the layer, and `bias` has `16 * panels.end` floats.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn row<V: Lanes, const FINISH: u8>(
    layer: &Linear,
    bias: &[f32],
    panels: Range<usize>,
    taps: &[Tap<'_>],
    count: usize,
    target: Target,
) {
    let stride = 16 * layer.inputs;
    // SAFETY: pointers stay inside of what the caller promised.
    unsafe {
        let weights = layer.panels.as_ptr().cast::<f32>();
        let place = |panel: usize| {
            let offset = 16 * (panel - panels.start);
            (
                weights.add(panel * stride),
                bias.as_ptr().add(16 * panel),
                Target {
                    out: target.out.add(offset),
                    add: target.add.wrapping_add(offset),
                    ..target
                },
            )
        };
        let mut at = 0;
        if V::WIDE {
            while at + 8 <= count {
                let mut panel = panels.start;
                while panel < panels.end {
                    let (w, b, t) = place(panel);
                    let left = panels.end - panel;
                    if left == 3 || left >= 5 {
                        tile::<V, 8, 3, FINISH>(taps, at, w, stride, b, t);
                        panel += 3;
                    } else if left >= 2 {
                        tile::<V, 8, 2, FINISH>(taps, at, w, stride, b, t);
                        panel += 2;
                    } else {
                        tile::<V, 8, 1, FINISH>(taps, at, w, stride, b, t);
                        panel += 1;
                    }
                }
                at += 8;
            }
        }
        while at + 4 <= count {
            for panel in panels.clone() {
                let (w, b, t) = place(panel);
                tile::<V, 4, 1, FINISH>(taps, at, w, stride, b, t);
            }
            at += 4;
        }
        while at < count {
            for panel in panels.clone() {
                let (w, b, t) = place(panel);
                tile::<V, 1, 1, FINISH>(taps, at, w, stride, b, t);
            }
            at += 1;
        }
    }
}

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

macro_rules! compile {
    ($name:ident($($arg:ident: $ty:ty),*) => $wide:expr, $narrow:expr) => {
        #[cfg(target_arch = "x86_64")]
        fn $name(isa: Isa, $($arg: $ty),*) {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn wide($($arg: $ty),*) {
                // SAFETY: the enclosing function is only reached where these instructions exist, and
                // its caller has checked the lengths.
                #[allow(unused_unsafe)]
                unsafe { $wide }
            }
            #[target_feature(enable = "avx2,fma")]
            fn narrow($($arg: $ty),*) {
                // SAFETY: as above.
                #[allow(unused_unsafe)]
                unsafe { $narrow }
            }
            // SAFETY: an `Isa` is only made where the processor has its instructions.
            unsafe {
                match isa {
                    Isa::Amx | Isa::Avx512 => wide($($arg),*),
                    Isa::Avx2 => narrow($($arg),*),
                }
            }
        }

        #[cfg(not(target_arch = "x86_64"))]
        fn $name(_isa: Isa, $($arg: $ty),*) {
            $(let _ = $arg;)*
            unreachable!("no Isa is ever detected here");
        }
    };
}

/// What [`linear`] has checked.
struct Checked<'a, 'b> {
    layer: &'a Linear,
    bias: &'a [f32],
    panels: Range<usize>,
    taps: &'a [Tap<'b>],
    count: usize,
    target: Target,
    /// Whether the matrix unit is to be used.
    tiles: bool,
}

compile! {
    linear_keep(c: Checked<'_, '_>) =>
    any_row::<std::arch::x86_64::__m512, KEEP>(c),
    any_row::<lanes::Pair, KEEP>(c)
}

compile! {
    linear_relu(c: Checked<'_, '_>) =>
    any_row::<std::arch::x86_64::__m512, RELU>(c),
    any_row::<lanes::Pair, RELU>(c)
}

compile! {
    linear_add(c: Checked<'_, '_>) =>
    any_row::<std::arch::x86_64::__m512, ADD>(c),
    any_row::<lanes::Pair, ADD>(c)
}

/// Activation and the way to the target for sums of the matrix unit: at which position, how many
/// of them, from which panel on, how many. A function of its own: beside the unit's assembly it would
/// have no registers left.
///
/// # Safety
/// As for [`row`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn finish_tiles<const FINISH: u8>(
    c: &Checked<'_, '_>,
    [at, positions, panel, panels]: [usize; 4],
    sums: &[f32; super::amx::SUMS],
) {
    use super::amx::TILE;
    use std::arch::x86_64::__m512;
    let (step, add_step) = (c.target.step, c.target.add_step);
    let offset = TILE * (panel - c.panels.start);
    let out = c.target.out.wrapping_add(at * step + offset);
    let add = c.target.add.wrapping_add(at * add_step + offset);
    for i in 0..panels {
        for position in 0..positions {
            let from = (position / TILE * 2 + i) * TILE + position % TILE;
            // SAFETY: the caller's promise; there are 32 positions of two panels.
            unsafe {
                let mut sum = __m512::load(sums.as_ptr().add(from * TILE));
                if FINISH == RELU {
                    sum = sum.relu();
                }
                if FINISH == ADD {
                    sum = sum.add(__m512::load(add.add(position * add_step + i * TILE)));
                }
                sum.store(out.add(position * step + i * TILE));
            }
        }
    }
}

/// The same on the matrix unit.
///
/// # Safety
/// As for [`row`], and the unit is there.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn row_tiles<const FINISH: u8>(c: Checked<'_, '_>, packed: &super::amx::Packed) {
    use super::amx::{POSITIONS, Room, TILE};
    let mut room = Room::take(c.layer.inputs, packed.products);
    // Sums are read one step after they were written: the unit's stores are slow to arrive.
    let mut waiting: Option<[usize; 4]> = None;
    let mut turn = 0;
    let bias = c.bias.as_ptr();
    for at in (0..c.count).step_by(POSITIONS) {
        let positions = (c.count - at).min(POSITIONS);
        // SAFETY: the caller's promise.
        unsafe { room.load(c.taps, at, positions) };
        let mut panel = c.panels.start;
        while panel < c.panels.end {
            let panels = (c.panels.end - panel).min(2);
            let both = panel..panel + panels;
            if FINISH == KEEP && positions == POSITIONS && panels == 2 {
                let offset = at * c.target.step + TILE * (panel - c.panels.start);
                // SAFETY: the caller's promise.
                unsafe {
                    let out = (c.target.out.add(offset), c.target.step);
                    room.multiply_into(packed, bias, both, out);
                }
                panel += panels;
                continue;
            }
            // SAFETY: the caller's promise.
            unsafe { room.multiply(packed, bias, both, turn) };
            turn += 1;
            if let Some(before) = waiting.replace([at, positions, panel, panels]) {
                // SAFETY: the caller's promise.
                unsafe { finish_tiles::<FINISH>(&c, before, room.sums(turn)) };
            }
            panel += panels;
        }
    }
    if let Some(last) = waiting {
        // SAFETY: the caller's promise.
        unsafe { finish_tiles::<FINISH>(&c, last, room.sums(turn + 1)) };
    }
    room.give_back();
}

/// A row, on the unit that fits.
///
/// # Safety
/// As for [`row`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn any_row<V: Lanes, const FINISH: u8>(c: Checked<'_, '_>) {
    // SAFETY: the caller's promise; only an `Isa::Amx` sets `tiles`.
    unsafe {
        match &c.layer.packed {
            Some(packed) if V::WIDE && c.tiles => row_tiles::<FINISH>(c, packed),
            _ => row::<V, FINISH>(c.layer, c.bias, c.panels, c.taps, c.count, c.target),
        }
    }
}

compile! {
    depthwise_checked(layer: &Depthwise, rows: [&[f32]; 3], count: usize, out: &mut [f32]) =>
    depthwise_row::<std::arch::x86_64::__m512>(layer, rows, count, out),
    depthwise_row::<lanes::Pair>(layer, rows, count, out)
}

/// Outputs `16 * panels` of a dense layer at `count` positions, `step` floats apart in `out`.
#[allow(clippy::too_many_arguments)]
pub fn linear(
    isa: Isa,
    layer: &Linear,
    bias: &[f32],
    panels: Range<usize>,
    taps: &[Tap<'_>],
    count: usize,
    out: &mut [f32],
    step: usize,
    finish: Finish<'_>,
) {
    if count == 0 || panels.is_empty() {
        return;
    }
    let outputs = 16 * panels.len();
    let fits = |len: usize, step: usize, width: usize| (count - 1) * step + width <= len;
    assert!(16 * panels.end <= layer.outputs && bias.len() >= 16 * panels.end);
    assert_eq!(taps.iter().map(|t| t.len).sum::<usize>(), layer.inputs);
    assert!(taps.iter().all(|t| fits(t.data.len(), t.step, t.len)));
    assert!(fits(out.len(), step, outputs) && step >= outputs);
    let (add, add_step) = match finish {
        Finish::Add(add, add_step) => {
            assert!(fits(add.len(), add_step, outputs));
            (add.as_ptr(), add_step)
        }
        _ => (std::ptr::null(), 0),
    };
    let checked = Checked {
        layer,
        bias,
        panels,
        taps,
        count,
        target: Target {
            out: out.as_mut_ptr(),
            step,
            add,
            add_step,
        },
        tiles: isa == Isa::Amx,
    };
    match finish {
        Finish::Keep => linear_keep(isa, checked),
        Finish::Relu => linear_relu(isa, checked),
        Finish::Add(..) => linear_add(isa, checked),
    }
}

/// A depthwise 3x3 layer over three rows, each with one position more at both ends.
pub fn depthwise(isa: Isa, layer: &Depthwise, rows: [&[f32]; 3], count: usize, out: &mut [f32]) {
    let channels = layer.channels();
    assert!(rows.iter().all(|r| r.len() >= (count + 2) * channels));
    assert!(out.len() >= count * channels);
    depthwise_checked(isa, layer, rows, count, out);
}

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
