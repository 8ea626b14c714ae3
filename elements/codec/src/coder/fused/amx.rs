// SPDX-License-Identifier: Apache-2.0
//! Dense layers on the matrix unit of recent Intel servers (AMX), through bfloat16 pairs.
//!
//! A bfloat16 has 8 significant bits. Each float is split into two of them, `hi + lo`, which keeps 16;
//! weights have 11 (fp16) and are split without loss. `hi*hi + lo*hi + hi*lo` is then as good as the
//! fp32 product to one part in 2^15, and three bfloat16 products on this unit take a fifth of the time
//! of one fp32 product. Stable Rust has no intrinsics for it, hence the assembly.
#![allow(unsafe_code)]

use super::kernels::Tap;
use std::arch::asm;
use std::cell::Cell;
use std::sync::LazyLock;

/// Positions and outputs of one tile.
pub const TILE: usize = 16;
/// Inputs of one tile.
const DEPTH: usize = 32;
/// Numbers in a tile of weights.
const NUMBERS: usize = TILE * DEPTH;

/// One tile's weights, high and low halves: for each two inputs, two weights of each of 16 outputs.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct Weights([[u16; NUMBERS]; 2]);

#[inline(always)]
fn split(value: f32) -> [u16; 2] {
    let bits = value.to_bits();
    let rest = value - f32::from_bits(bits & 0xffff_0000);
    [
        (bits >> 16) as u16,
        ((rest.to_bits() + 0x8000) >> 16) as u16,
    ]
}

/// `[outputs][inputs]` weights as tiles, all depths of 16 outputs one after the other.
pub fn pack(inputs: usize, weights: &[f32]) -> Vec<Weights> {
    let depths = inputs.div_ceil(DEPTH);
    let outputs = weights.len() / inputs;
    let mut tiles = vec![Weights([[0; NUMBERS]; 2]); depths * outputs / TILE];
    for (output, row) in weights.chunks_exact(inputs).enumerate() {
        for (input, weight) in row.iter().enumerate() {
            let tile = &mut tiles[output / TILE * depths + input / DEPTH];
            let at = input % DEPTH / 2 * DEPTH + output % TILE * 2 + input % 2;
            for (half, value) in tile.0.iter_mut().zip(split(*weight)) {
                half[at] = value;
            }
        }
    }
    tiles
}

/// Whether the processor has the unit and the kernel lets this process use it.
pub fn available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
        use std::arch::x86_64::{__cpuid, __cpuid_count};
        let leaves = __cpuid(0).eax;
        let features = __cpuid_count(7, 0).edx;
        let has = |bit: u32| features >> bit & 1 == 1;
        if leaves < 7 || !has(22) || !has(24) {
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
    static INPUTS: Cell<Vec<u16>> = const { Cell::new(Vec::new()) };
}

/// Sums of 32 positions and 32 outputs: tiles of the first 16 positions, then of the others.
#[repr(C, align(64))]
pub struct Sums(pub [[[f32; TILE]; TILE]; 4]);

impl Sums {
    pub const fn new() -> Self {
        Self([[[0.0; TILE]; TILE]; 4])
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

/// Inputs of some positions, split: high halves of all, then low halves.
///
/// # Safety
/// The processor has AVX-512 BW.
#[inline(always)]
unsafe fn load(taps: &[Tap<'_>], at: usize, count: usize, depth: usize, out: &mut [u16]) {
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
                    split32(from.add(k), high.add(k), low.add(k));
                    k += 32;
                }
                while k < tap.len {
                    let [h, l] = split(*from.add(k));
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

/// Sums of two tiles of weights, which may be the same.
#[inline(always)]
fn multiply(inputs: [&[u16]; 2], depth: usize, weights: [&[Weights]; 2], sums: &mut Sums) {
    let depths = depth / DEPTH;
    assert!(weights.iter().all(|w| w.len() == depths));
    assert!(depths > 0 && inputs.iter().all(|i| i.len() == 2 * TILE * depth));
    let tile = TILE * depth;
    // SAFETY: `available` was true (there is packed weight), this thread's tiles are shaped, and the
    // loop reads `depths` tiles of 16 rows from each of the pointers, which is what was just checked.
    unsafe {
        let [high, low] = inputs.map(|half| half.as_ptr());
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{h0} + {stride}]",
            "tileloadd tmm6, [{w0} + {line}]",
            "tileloadd tmm7, [{w1} + {line}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{h1} + {stride}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm4, [{l0} + {stride}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{l1} + {stride}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm4, [{h0} + {stride}]",
            "tileloadd tmm6, [{w0} + {line} + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{w1} + {line} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{h1} + {stride}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {h0}, 64",
            "add {h1}, 64",
            "add {l0}, 64",
            "add {l1}, 64",
            "add {w0}, 2048",
            "add {w1}, 2048",
            "dec {depths}",
            "jnz 2b",
            "tilestored [{out} + {line}], tmm0",
            "tilestored [{out} + {line} + 1024], tmm1",
            "tilestored [{out} + {line} + 2048], tmm2",
            "tilestored [{out} + {line} + 3072], tmm3",
            h0 = inout(reg) high => _,
            h1 = inout(reg) high.add(tile) => _,
            l0 = inout(reg) low => _,
            l1 = inout(reg) low.add(tile) => _,
            w0 = inout(reg) weights[0].as_ptr() => _,
            w1 = inout(reg) weights[1].as_ptr() => _,
            depths = inout(reg) depths => _,
            stride = in(reg) 2 * depth,
            line = in(reg) 64usize,
            out = in(reg) sums,
            options(nostack),
        );
    }
}

/// Split inputs of some positions, on a thread whose tiles are shaped.
pub struct Room {
    inputs: Vec<u16>,
    /// Inputs, with what fills the last tile.
    depth: usize,
    /// Positions that there is room for: a multiple of 32.
    pub positions: usize,
}

impl Room {
    pub fn take(inputs: usize, positions: usize) -> Self {
        if !SHAPED.replace(true) {
            // SAFETY: `available` was true, and the operand is a shape of the first palette.
            unsafe { asm!("ldtilecfg [{}]", in(reg) &SHAPE, options(nostack, readonly)) };
        }
        let depth = inputs.next_multiple_of(DEPTH);
        // What is split is best read again from the first cache.
        let most = (8192 / depth).next_multiple_of(2 * TILE);
        let positions = positions.next_multiple_of(2 * TILE).min(most.max(2 * TILE));
        let mut inputs = INPUTS.take();
        inputs.resize(2 * positions * depth, 0);
        Self {
            inputs,
            depth,
            positions,
        }
    }

    /// Splits the inputs of up to [`Self::positions`].
    ///
    /// # Safety
    /// The processor has AVX-512 BW.
    #[inline(always)]
    pub unsafe fn load(&mut self, taps: &[Tap<'_>], at: usize, count: usize) {
        // SAFETY: the caller's promise.
        unsafe { load(taps, at, count, self.depth, &mut self.inputs) };
    }

    /// The sums of 32 positions for one or two panels of outputs.
    #[inline(always)]
    pub fn multiply(
        &self,
        tiles: &[Weights],
        first: usize,
        panels: std::ops::Range<usize>,
        sums: &mut Sums,
    ) {
        let depths = self.depth / DEPTH;
        let of = |panel: usize| &tiles[panel * depths..][..depths];
        let weights = [of(panels.start), of(panels.end - 1)];
        let halves = self.inputs.split_at(self.positions * self.depth);
        let part = first * self.depth..(first + 2 * TILE) * self.depth;
        let inputs = [&halves.0[part.clone()], &halves.1[part]];
        multiply(inputs, self.depth, weights, sums);
    }

    /// Keeps the memory for the next layer.
    pub fn give_back(self) {
        INPUTS.set(self.inputs);
    }
}
