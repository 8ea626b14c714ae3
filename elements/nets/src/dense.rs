// SPDX-License-Identifier: Apache-2.0
//! Rows of dense layers in SIMD: AVX-512, or AVX2 with FMA.
//!
//! Activations are rows of positions, the channels of a position beside each other. A linear layer
//! is a sum over *taps*: the same row of another tensor, a neighbour in a 3x3 or 2x2 window, the
//! second half of a concatenation. So every dense layer is one kernel. The order of additions depends
//! on the layer alone, never on threads or the picture's size.
#![allow(unsafe_code)] // intrinsics, and calls of functions compiled for more than the baseline

use crate::aligned::Aligned;
use crate::compile;
use crate::isa::Isa;
#[cfg(target_arch = "x86_64")]
use crate::lanes::{Lanes, Pair};
use std::ops::Range;

/// Sixteen floats on their own cache line.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub struct Sixteen(pub [f32; 16]);

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
    packed: Option<crate::amx::Packed>,
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
            packed: crate::amx::available().then(|| crate::amx::pack(inputs, weights, coarse)),
            bias: bias.into(),
        }
    }
}

/// What becomes of a sum.
#[derive(Debug, Clone, Copy)]
pub enum Finish<'a> {
    Keep,
    Relu,
    /// Negative sums times [`SLOPE`].
    Leaky,
    /// Adds the same place of another row, `step` floats from position to position.
    Add(&'a [f32], usize),
}

const KEEP: u8 = 0;
const RELU: u8 = 1;
const ADD: u8 = 2;
const LEAKY: u8 = 3;

/// Of the leaky rectifier, in all networks that have one.
pub const SLOPE: f32 = 0.1;

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
                    LEAKY => sum.leaky(),
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
    any_row::<Pair, KEEP>(c)
}

compile! {
    linear_relu(c: Checked<'_, '_>) =>
    any_row::<std::arch::x86_64::__m512, RELU>(c),
    any_row::<Pair, RELU>(c)
}

compile! {
    linear_leaky(c: Checked<'_, '_>) =>
    any_row::<std::arch::x86_64::__m512, LEAKY>(c),
    any_row::<Pair, LEAKY>(c)
}

compile! {
    linear_add(c: Checked<'_, '_>) =>
    any_row::<std::arch::x86_64::__m512, ADD>(c),
    any_row::<Pair, ADD>(c)
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
    sums: &[f32; crate::amx::SUMS],
) {
    use crate::amx::TILE;
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
                if FINISH == LEAKY {
                    sum = sum.leaky();
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
unsafe fn row_tiles<const FINISH: u8>(c: Checked<'_, '_>, packed: &crate::amx::Packed) {
    use crate::amx::{POSITIONS, Room, TILE};
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
    // SAFETY: the caller's promise; only an `Isa` with the unit sets `tiles`.
    unsafe {
        match &c.layer.packed {
            Some(packed) if V::WIDE && c.tiles => row_tiles::<FINISH>(c, packed),
            _ => row::<V, FINISH>(c.layer, c.bias, c.panels, c.taps, c.count, c.target),
        }
    }
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
        tiles: isa.has_tiles(),
    };
    match finish {
        Finish::Keep => linear_keep(isa, checked),
        Finish::Relu => linear_relu(isa, checked),
        Finish::Leaky => linear_leaky(isa, checked),
        Finish::Add(..) => linear_add(isa, checked),
    }
}
