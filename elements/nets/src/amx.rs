// SPDX-License-Identifier: Apache-2.0
//! Dense layers on the matrix unit of recent Intel servers (AMX), through bfloat16 pairs.
//!
//! A bfloat16 has 8 significant bits. Each float is split into two of them, `hi + lo`, which keeps 16;
//! weights that are bfloat16 themselves, as the exporter rounds them, need no second half:
//! `hi*w + lo*w` is as good as the fp32 product to one part in 2^15. Others (fp16 has 11 bits) are split
//! without loss and take a third product. Layers of the encoder alone, whose results are only rounded
//! to symbols, do with one. Stable Rust has no intrinsics for the unit, hence the assembly.
#![allow(unsafe_code)]

pub mod windows;

use crate::aligned::Aligned;
use crate::dense::Tap;
use std::arch::asm;
use std::cell::Cell;
use std::sync::LazyLock;

/// Positions and outputs of one tile.
pub const TILE: usize = 16;
/// Inputs of one tile.
const DEPTH: usize = 32;
/// Numbers in a tile of weights.
const NUMBERS: usize = TILE * DEPTH;
/// Positions of a multiplication.
pub const POSITIONS: usize = 2 * TILE;
/// Numbers that a multiplication gives.
pub const SUMS: usize = 4 * TILE * TILE;

/// One tile's weights, high and low halves: for each two inputs, two weights of each of 16 outputs.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct Weights([[u16; NUMBERS]; 2]);

/// How inputs and weights are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Products {
    /// Inputs rounded to bfloat16, the weights' upper halves.
    One,
    /// Split inputs, weights whose lower halves are all zero.
    Two,
    /// Split inputs, split weights.
    Three,
}

/// A dense layer's weights for this unit.
#[derive(Debug, Clone)]
pub struct Packed {
    tiles: Vec<Weights>,
    pub products: Products,
}

#[inline(always)]
fn split(value: f32) -> [u16; 2] {
    let bits = value.to_bits();
    let rest = value - f32::from_bits(bits & 0xffff_0000);
    [
        (bits >> 16) as u16,
        (rest.to_bits().wrapping_add(0x8000) >> 16) as u16,
    ]
}

/// The nearest bfloat16.
#[inline(always)]
fn nearest(value: f32) -> u16 {
    (value.to_bits().wrapping_add(0x8000) >> 16) as u16
}

/// `[outputs][inputs]` weights as tiles, all depths of 16 outputs one after the other. A `coarse` layer
/// gets one product.
pub fn pack(inputs: usize, weights: &[f32], coarse: bool) -> Packed {
    let depths = inputs.div_ceil(DEPTH);
    let outputs = weights.len() / inputs;
    let mut tiles = vec![Weights([[0; NUMBERS]; 2]); depths * outputs / TILE];
    for (output, row) in weights.chunks_exact(inputs).enumerate() {
        for (input, weight) in row.iter().enumerate() {
            let tile = &mut tiles[output / TILE * depths + input / DEPTH];
            let at = input % DEPTH / 2 * DEPTH + output % TILE * 2 + input % 2;
            let halves = if coarse {
                [nearest(*weight), 0]
            } else {
                split(*weight)
            };
            for (half, value) in tile.0.iter_mut().zip(halves) {
                half[at] = value;
            }
        }
    }
    // A zero may be a negative one.
    let whole = tiles.iter().all(|t| t.0[1].iter().all(|v| v & 0x7fff == 0));
    let products = match (coarse, whole) {
        (true, _) => Products::One,
        (_, true) => Products::Two,
        _ => Products::Three,
    };
    Packed { tiles, products }
}

/// Whether the processor has the unit and the kernel lets this process use it.
pub fn available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
        use std::arch::x86_64::{__cpuid, __cpuid_count};
        let leaves = __cpuid(0).eax;
        let features = __cpuid_count(7, 0).edx;
        let has = |bit: u32| features >> bit & 1 == 1;
        // Bfloat16 in the unit, the unit, and in vectors.
        if leaves < 7 || !has(22) || !has(24) || !is_x86_feature_detected!("avx512bf16") {
            return false;
        }
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const XTILEDATA: libc::c_long = 18;
        // SAFETY: a system call without pointers, which fails where it is not known.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0 }
    });
    *AVAILABLE
}

/// All eight tiles: 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Shape {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    columns: [u16; 16],
    rows: [u8; 16],
}

const SHAPE: Shape = {
    let mut shape = Shape {
        palette: 1,
        start: 0,
        reserved: [0; 14],
        columns: [0; 16],
        rows: [0; 16],
    };
    let mut tile = 0;
    while tile < 8 {
        shape.columns[tile] = 64;
        shape.rows[tile] = 16;
        tile += 1;
    }
    shape
};

thread_local! {
    static SHAPED: Cell<bool> = const { Cell::new(false) };
    /// What [`Room`] is made of.
    static MEMORY: Cell<(Aligned<u16>, Aligned<f32>)> = const { Cell::new((Aligned::new(), Aligned::new())) };
}

/// Makes this thread's tiles what the kernels take them for. [`available`] was true.
fn shape() {
    if !SHAPED.replace(true) {
        // SAFETY: the processor has the unit, and the operand is a shape of the first palette.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &SHAPE, options(nostack, readonly)) };
    }
}

/// Splits 32 floats.
///
/// # Safety
/// The processor has AVX-512 BW; the pointers are good for 32 numbers.
#[inline(always)]
unsafe fn split32(from: *const f32, high: *mut u16, low: *mut u16) {
    use std::arch::x86_64::*;
    // SAFETY: the caller's promise.
    unsafe {
        let upper = _mm512_set1_epi32(0xffff_0000u32 as i32);
        let half = _mm512_set1_epi32(0x8000);
        let [a, b] = [from, from.add(16)].map(|p| _mm512_loadu_si512(p.cast()));
        let rest = |v: __m512i| {
            let kept = _mm512_castsi512_ps(_mm512_and_si512(v, upper));
            let rest = _mm512_sub_ps(_mm512_castsi512_ps(v), kept);
            _mm512_add_epi32(_mm512_castps_si512(rest), half)
        };
        // The upper 16 bits of both, in order.
        let odd = _mm512_set_epi16(
            63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27, 25, 23, 21,
            19, 17, 15, 13, 11, 9, 7, 5, 3, 1,
        );
        let uppers = |a, b| _mm512_permutex2var_epi16(a, odd, b);
        _mm512_storeu_si512(high.cast(), uppers(a, b));
        _mm512_storeu_si512(low.cast(), uppers(rest(a), rest(b)));
    }
}

/// Rounds 32 floats to the nearest bfloat16, ties to even.
///
/// # Safety
/// The processor has AVX-512 with bfloat16, as all have that have this unit; the pointers are good for 32 numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn round32(from: *const f32, to: *mut u16) {
    use std::arch::x86_64::*;
    // SAFETY: the caller's promise.
    unsafe {
        let [a, b] = [from, from.add(16)].map(|p| _mm512_loadu_ps(p));
        let both = _mm512_cvtne2ps_pbh(b, a);
        to.cast::<__m512bh>().write_unaligned(both);
    }
}

/// Inputs of some positions, split: high halves of all, then low halves. A layer of one product has
/// them rounded in place of the high halves.
///
/// # Safety
/// The processor has AVX-512 BW.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn load<const ROUND: bool>(
    taps: &[Tap<'_>],
    at: usize,
    count: usize,
    depth: usize,
    out: &mut [u16],
) {
    let middle = out.len() / 2;
    let (high, low) = out.split_at_mut(middle);
    let used: usize = taps.iter().map(|t| t.len).sum();
    assert!(used <= depth && high.len() >= count * depth && low.len() >= count * depth);
    let mut first = 0;
    for tap in taps {
        assert!((at + count - 1) * tap.step + tap.len <= tap.data.len());
        for position in 0..count {
            let place = position * depth + first;
            // SAFETY: both ends were checked above.
            unsafe {
                let from = tap.data.as_ptr().add((at + position) * tap.step);
                let high = high.as_mut_ptr().add(place);
                let low = low.as_mut_ptr().add(place);
                let mut k = 0;
                while k + 32 <= tap.len {
                    if ROUND {
                        round32(from.add(k), high.add(k));
                    } else {
                        split32(from.add(k), high.add(k), low.add(k));
                    }
                    k += 32;
                }
                while k < tap.len {
                    let [h, l] = if ROUND {
                        [nearest(*from.add(k)), 0]
                    } else {
                        split(*from.add(k))
                    };
                    *high.add(k) = h;
                    *low.add(k) = l;
                    k += 1;
                }
            }
        }
        first += tap.len;
    }
    if used < depth {
        for half in [high, low] {
            for position in half.chunks_exact_mut(depth).take(count) {
                position[used..].fill(0);
            }
        }
    }
}

/// Where the four sums of a multiplication start and where they go: see [`multiply`].
#[repr(C)]
struct Places {
    /// The biases of each panel's 16 outputs.
    bias: [*const f32; 2],
    /// First 16 positions of both panels, then the others.
    out: [*mut f32; 4],
    /// Bytes from position to position.
    step: usize,
}

/// One multiplication; the lines between are the products of a depth.
macro_rules! products {
    ($inputs:ident, $tile:ident, $stride:expr, $weights:ident, $depths:ident, $places:ident; $($line:literal)*) => {{
        let [high, low] = $inputs.map(|half| half.as_ptr());
        asm!(
            "xor {line:e}, {line:e}", // a stride of 0: the same biases for every position
            "mov {other}, [{places}]",
            "tileloadd tmm0, [{other} + {line}]",
            "tileloadd tmm2, [{other} + {line}]",
            "mov {other}, [{places} + 8]",
            "tileloadd tmm1, [{other} + {line}]",
            "tileloadd tmm3, [{other} + {line}]",
            "mov {line:e}, 64",
            "2:",
            $($line,)*
            "add {h0}, 64",
            "add {h1}, 64",
            "add {l0}, 64",
            "add {l1}, 64",
            "add {w0}, 2048",
            "add {w1}, 2048",
            "dec {depths}",
            "jnz 2b",
            "mov {line}, [{places} + 48]",
            "mov {other}, [{places} + 16]",
            "tilestored [{other} + {line}], tmm0",
            "mov {other}, [{places} + 24]",
            "tilestored [{other} + {line}], tmm1",
            "mov {other}, [{places} + 32]",
            "tilestored [{other} + {line}], tmm2",
            "mov {other}, [{places} + 40]",
            "tilestored [{other} + {line}], tmm3",
            h0 = inout(reg) high => _,
            h1 = inout(reg) high.add($tile) => _,
            l0 = inout(reg) low => _,
            l1 = inout(reg) low.add($tile) => _,
            w0 = inout(reg) $weights[0].as_ptr() => _,
            w1 = inout(reg) $weights[1].as_ptr() => _,
            depths = inout(reg) $depths => _,
            stride = in(reg) $stride,
            places = in(reg) $places,
            line = out(reg) _,
            other = out(reg) _,
            options(nostack),
        );
    }};
}

/// Sums of 32 positions and two tiles of weights, which may be the same.
///
/// # Safety
/// The pointers of `places` are good for 16 biases and for the rows of 16 floats that they name.
#[inline(always)]
unsafe fn multiply(
    inputs: [&[u16]; 2],
    depth: usize,
    weights: [&[Weights]; 2],
    products: Products,
    places: &Places,
) {
    let depths = depth / DEPTH;
    assert!(weights.iter().all(|w| w.len() == depths));
    assert!(depths > 0 && inputs.iter().all(|i| i.len() == 2 * TILE * depth));
    let (tile, stride) = (TILE * depth, 2 * depth);
    // SAFETY: `available` was true (there is packed weight), this thread's tiles are shaped, and the
    // loop reads `depths` tiles of 16 rows from each of the pointers, which is what was just checked.
    // The rest is the caller's promise.
    unsafe {
        match products {
            Products::One => products!(
                inputs, tile, stride, weights, depths, places;
                "tileloadd tmm4, [{h0} + {stride}]"
                "tileloadd tmm6, [{w0} + {line}]"
                "tdpbf16ps tmm0, tmm4, tmm6"
                "tileloadd tmm7, [{w1} + {line}]"
                "tdpbf16ps tmm1, tmm4, tmm7"
                "tileloadd tmm5, [{h1} + {stride}]"
                "tdpbf16ps tmm2, tmm5, tmm6"
                "tdpbf16ps tmm3, tmm5, tmm7"
            ),
            Products::Two => products!(
                inputs, tile, stride, weights, depths, places;
                "tileloadd tmm4, [{h0} + {stride}]"
                "tileloadd tmm6, [{w0} + {line}]"
                "tdpbf16ps tmm0, tmm4, tmm6"
                "tileloadd tmm7, [{w1} + {line}]"
                "tdpbf16ps tmm1, tmm4, tmm7"
                "tileloadd tmm5, [{h1} + {stride}]"
                "tdpbf16ps tmm2, tmm5, tmm6"
                "tdpbf16ps tmm3, tmm5, tmm7"
                "tileloadd tmm4, [{l0} + {stride}]"
                "tdpbf16ps tmm0, tmm4, tmm6"
                "tdpbf16ps tmm1, tmm4, tmm7"
                "tileloadd tmm5, [{l1} + {stride}]"
                "tdpbf16ps tmm2, tmm5, tmm6"
                "tdpbf16ps tmm3, tmm5, tmm7"
            ),
            Products::Three => products!(
                inputs, tile, stride, weights, depths, places;
                "tileloadd tmm4, [{h0} + {stride}]"
                "tileloadd tmm6, [{w0} + {line}]"
                "tileloadd tmm7, [{w1} + {line}]"
                "tdpbf16ps tmm0, tmm4, tmm6"
                "tdpbf16ps tmm1, tmm4, tmm7"
                "tileloadd tmm5, [{h1} + {stride}]"
                "tdpbf16ps tmm2, tmm5, tmm6"
                "tdpbf16ps tmm3, tmm5, tmm7"
                "tileloadd tmm4, [{l0} + {stride}]"
                "tdpbf16ps tmm0, tmm4, tmm6"
                "tdpbf16ps tmm1, tmm4, tmm7"
                "tileloadd tmm5, [{l1} + {stride}]"
                "tdpbf16ps tmm2, tmm5, tmm6"
                "tdpbf16ps tmm3, tmm5, tmm7"
                "tileloadd tmm4, [{h0} + {stride}]"
                "tileloadd tmm6, [{w0} + {line} + 1024]"
                "tdpbf16ps tmm0, tmm4, tmm6"
                "tileloadd tmm7, [{w1} + {line} + 1024]"
                "tdpbf16ps tmm1, tmm4, tmm7"
                "tileloadd tmm5, [{h1} + {stride}]"
                "tdpbf16ps tmm2, tmm5, tmm6"
                "tdpbf16ps tmm3, tmm5, tmm7"
            ),
        }
    }
}

/// Split inputs of some positions and two multiplications' sums, on a thread whose tiles are shaped.
pub struct Room {
    inputs: Aligned<u16>,
    /// Each of 32 positions and 32 outputs: two tiles of the first 16 positions, then of the others.
    sums: Aligned<f32>,
    /// Inputs, with what fills the last tile.
    depth: usize,
    products: Products,
}

impl Room {
    pub fn take(inputs: usize, products: Products) -> Self {
        shape();
        let depth = inputs.next_multiple_of(DEPTH);
        let (mut inputs, mut sums) = MEMORY.take();
        inputs.resize(2 * POSITIONS * depth);
        sums.resize(2 * SUMS);
        Self {
            inputs,
            sums,
            depth,
            products,
        }
    }

    /// Splits the inputs of up to [`POSITIONS`].
    ///
    /// # Safety
    /// The processor has AVX-512 BW.
    #[inline(always)]
    pub unsafe fn load(&mut self, taps: &[Tap<'_>], at: usize, count: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.products {
                Products::One => load::<true>(taps, at, count, self.depth, &mut self.inputs),
                _ => load::<false>(taps, at, count, self.depth, &mut self.inputs),
            }
        }
    }

    /// The sums of one of the last two calls of [`Self::multiply`]: tiles of 16 positions of the first
    /// panel, of the second, then of the other positions.
    #[inline(always)]
    pub fn sums(&self, turn: usize) -> &[f32; SUMS] {
        self.sums[turn % 2 * SUMS..]
            .first_chunk()
            .expect("sums of two")
    }

    /// The sums of what was loaded, for one or two panels of outputs: see [`Self::sums`].
    ///
    /// # Safety
    /// `bias` is good for 16 floats of each panel.
    #[inline(always)]
    pub unsafe fn multiply(
        &mut self,
        weights: &Packed,
        bias: *const f32,
        panels: std::ops::Range<usize>,
        turn: usize,
    ) {
        let out = self.sums[turn % 2 * SUMS..][..SUMS].as_mut_ptr();
        let places = Places {
            bias: self.biases(bias, &panels),
            out: std::array::from_fn(|i| out.wrapping_add(i * TILE * TILE)),
            step: 4 * TILE,
        };
        // SAFETY: four tiles of 16 rows in `self.sums`; the caller's promise.
        unsafe { self.multiply_to(weights, panels, &places) };
    }

    /// The same for two panels, straight to where they are wanted: `step` floats from position to
    /// position, the second panel beside the first.
    ///
    /// # Safety
    /// As for [`Self::multiply`], and `out` is good for 32 positions of 32 floats.
    #[inline(always)]
    pub unsafe fn multiply_into(
        &self,
        weights: &Packed,
        bias: *const f32,
        panels: std::ops::Range<usize>,
        (out, step): (*mut f32, usize),
    ) {
        debug_assert_eq!(panels.len(), 2);
        let later = out.wrapping_add(TILE * step);
        let places = Places {
            bias: self.biases(bias, &panels),
            out: [out, out.wrapping_add(TILE), later, later.wrapping_add(TILE)],
            step: 4 * step,
        };
        // SAFETY: the caller's promise.
        unsafe { self.multiply_to(weights, panels, &places) };
    }

    #[inline(always)]
    fn biases(&self, bias: *const f32, panels: &std::ops::Range<usize>) -> [*const f32; 2] {
        [panels.start, panels.end - 1].map(|panel| bias.wrapping_add(TILE * panel))
    }

    /// # Safety
    /// As for the function [`multiply`].
    #[inline(always)]
    unsafe fn multiply_to(
        &self,
        weights: &Packed,
        panels: std::ops::Range<usize>,
        places: &Places,
    ) {
        let depths = self.depth / DEPTH;
        let of = |panel: usize| &weights.tiles[panel * depths..][..depths];
        let (high, low) = self.inputs.split_at(POSITIONS * self.depth);
        let both = [of(panels.start), of(panels.end - 1)];
        // SAFETY: the caller's promise.
        unsafe { multiply([high, low], self.depth, both, self.products, places) };
    }

    /// Keeps the memory for the next layer.
    pub fn give_back(self) {
        MEMORY.set((self.inputs, self.sums));
    }
}
