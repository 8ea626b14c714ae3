// SPDX-License-Identifier: Apache-2.0
//! Layers of windows on the matrix unit. A row of a window lies in one piece in the map, so positions' inputs
//! need not be copied next to each other: the rows that some rows of the result are made of are rounded to bfloat16
//! once, and tiles are read from there, at any number of values from position to position.
//!
//! Features and weights rounded to 8 significant bits cost these nets less than 0.01 dB (docs/decisions.md).

use super::{DEPTH, Packed, TILE, Weights, available, pack, round32, shape};
use crate::aligned::Aligned;
use crate::conv::After;
use crate::dense::SLOPE;
use crate::map::Map;
use std::arch::asm;
use std::arch::x86_64::*;
use std::cell::Cell;

/// Tiles of positions of a multiplication.
const SEGMENTS: usize = 4;
/// Positions of a multiplication.
const POSITIONS: usize = SEGMENTS * TILE;
/// Their sums, of 16 outputs.
const SUMS: usize = POSITIONS * TILE;

thread_local! {
    /// Rounded rows, and sums.
    static MEMORY: Cell<(Aligned<u16>, Aligned<f32>)> = const { Cell::new((Aligned::new(), Aligned::new())) };
}

/// Weights of a layer of windows.
#[derive(Debug)]
pub struct Windows {
    inputs: usize,
    outputs: usize,
    side: usize,
    stride: usize,
    pad: usize,
    /// Tiles that a row of a window takes.
    chunks: usize,
    /// Of each 16 outputs: a row's tiles, the next row's, and so on.
    packed: Packed,
}

/// A row of a window and its weights.
#[repr(C)]
#[derive(Clone, Copy)]
struct Line {
    inputs: *const u16,
    weights: *const u16,
}

/// What the loops read.
#[repr(C)]
struct Call {
    /// Bytes from a tile's positions to those of the next.
    segment: usize,
    chunks: usize,
    sums: *mut f32,
}

/// Sums of [`POSITIONS`] and 16 outputs over some lines.
///
/// # Safety
/// This thread's tiles are shaped; each line's inputs are good for [`POSITIONS`] of `stride` bytes and `32 * chunks` numbers from the last on, its weights
/// for `chunks` tiles of [`Weights`], the sums for [`SUMS`] numbers and the bias for 16.
#[inline(always)]
unsafe fn multiply(lines: &[Line], bias: *const f32, stride: usize, call: &Call) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "xor {line:e}, {line:e}", // a stride of 0: the same biases for every position
            "tileloadd tmm0, [{n} + {line}]",
            "tileloadd tmm1, [{n} + {line}]",
            "tileloadd tmm2, [{n} + {line}]",
            "tileloadd tmm3, [{n} + {line}]",
            "mov {line:e}, 64",
            "2:",
            "mov {n}, [{call}]",
            "mov {h0}, [{lines}]",
            "lea {h1}, [{h0} + {n}]",
            "lea {h2}, [{h1} + {n}]",
            "lea {h3}, [{h2} + {n}]",
            "mov {w}, [{lines} + 8]",
            "mov {n}, [{call} + 8]",
            "3:",
            "tileloadd tmm6, [{w} + {line}]",
            "tileloadd tmm4, [{h0} + {stride}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{h1} + {stride}]",
            "tdpbf16ps tmm1, tmm5, tmm6",
            "tileloadd tmm7, [{h2} + {stride}]",
            "tdpbf16ps tmm2, tmm7, tmm6",
            "tileloadd tmm4, [{h3} + {stride}]",
            "tdpbf16ps tmm3, tmm4, tmm6",
            "add {h0}, 64",
            "add {h1}, 64",
            "add {h2}, 64",
            "add {h3}, 64",
            "add {w}, 2048",
            "dec {n}",
            "jnz 3b",
            "add {lines}, 16",
            "dec {count}",
            "jnz 2b",
            "mov {n}, [{call} + 16]",
            "tilestored [{n} + {line}], tmm0",
            "tilestored [{n} + {line} + 1024], tmm1",
            "tilestored [{n} + {line} + 2048], tmm2",
            "tilestored [{n} + {line} + 3072], tmm3",
            lines = inout(reg) lines.as_ptr() => _,
            count = inout(reg) lines.len() => _,
            n = inout(reg) bias => _,
            h0 = out(reg) _,
            h1 = out(reg) _,
            h2 = out(reg) _,
            h3 = out(reg) _,
            w = out(reg) _,
            line = out(reg) _,
            stride = in(reg) stride,
            call = in(reg) call,
            options(nostack),
        );
    }
}

impl Windows {
    /// Rows of the result that are made at a time: those of the map that two parts need are rounded for both.
    pub const ROWS: usize = 4;

    /// `weights` is `[outputs][side][side][inputs]`, outputs a multiple of 16.
    pub fn new(
        weights: &[f32],
        [inputs, outputs, side]: [usize; 3],
        stride: usize,
        pad: usize,
    ) -> Self {
        let len = side * inputs;
        let chunks = len.div_ceil(DEPTH);
        let mut rows = vec![0.0; outputs * side * chunks * DEPTH];
        let given = weights.chunks_exact(len);
        for (row, given) in rows.chunks_exact_mut(chunks * DEPTH).zip(given) {
            row[..len].copy_from_slice(given);
        }
        Self {
            inputs,
            outputs,
            side,
            stride,
            pad,
            chunks,
            packed: pack(side * chunks * DEPTH, &rows, true),
        }
    }

    /// `count` rows from `first` on, of `width` positions, `step` floats from row to row.
    pub fn rows(
        &self,
        input: &Map,
        size: [usize; 3],
        out: &mut [f32],
        bias: &[f32],
        step: usize,
        after: After,
    ) {
        assert!(available());
        // SAFETY: the unit is there, and processors that have it have AVX-512.
        unsafe { self.rows_there(input, size, out, bias, step, after) };
    }

    /// # Safety
    /// [`available`] was true, and the processor has AVX-512.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    unsafe fn rows_there(
        &self,
        input: &Map,
        [first, count, width]: [usize; 3],
        out: &mut [f32],
        bias: &[f32],
        step: usize,
        after: After,
    ) {
        assert!(bias.len() == self.outputs && input.channels == self.inputs);
        assert!(count > 0 && width > 0 && (count - 1) * step + width * self.outputs <= out.len());
        shape();
        let groups = width.div_ceil(POSITIONS);
        let between = self.stride * self.inputs;
        // To the end of what the last position of the last group reads.
        let len =
            ((groups * POSITIONS - 1) * between + self.chunks * DEPTH).next_multiple_of(DEPTH);
        let lines = (count - 1) * self.stride + self.side;
        let (mut rounded, mut sums) = MEMORY.take();
        rounded.resize(lines * len);
        sums.resize(SUMS);
        let above = (first * self.stride) as isize - self.pad as isize;
        let used = ((width - 1) * self.stride + self.side) * self.inputs;
        for (i, rounded) in rounded.chunks_exact_mut(len).enumerate().take(lines) {
            let given = input.from(above + i as isize, -(self.pad as isize));
            // SAFETY: the caller's promise.
            unsafe { round(&given[..used], rounded) };
        }
        let mut given = Vec::with_capacity(self.side);
        let call = Call {
            segment: 2 * TILE * between,
            chunks: self.chunks,
            sums: sums.as_mut_ptr(),
        };
        let of_panel = self.side * self.chunks;
        for row in 0..count {
            for group in 0..groups {
                let at = group * POSITIONS;
                for (panel, tiles) in self.packed.tiles.chunks_exact(of_panel).enumerate() {
                    given.clear();
                    given.extend((0..self.side).map(|y| {
                        let line = (row * self.stride + y) * len + at * between;
                        Line {
                            inputs: rounded[line..].as_ptr(),
                            weights: tiles[y * self.chunks].0[0].as_ptr(),
                        }
                    }));
                    // SAFETY: the tiles of this thread have just been shaped. The last line of the last group reads up to `len`, which is
                    // what `rounded` has for each; there are `chunks` tiles for each line, 16 biases and room for the sums.
                    unsafe {
                        multiply(
                            &given,
                            bias[panel * TILE..][..TILE].as_ptr(),
                            2 * between,
                            &call,
                        )
                    };
                    let positions = POSITIONS.min(width - at);
                    let place = row * step + at * self.outputs + panel * TILE;
                    let add = match after {
                        After::LeakyAdd => {
                            &input.row(first + row)[at * self.inputs + panel * TILE..]
                        }
                        _ => &[],
                    };
                    // SAFETY: the caller's promise.
                    unsafe {
                        finish(
                            &sums[..positions * TILE],
                            &mut out[place..],
                            self.outputs,
                            after,
                            add,
                        );
                    }
                }
            }
        }
        MEMORY.set((rounded, sums));
    }
}

/// Rounds a row; what is left of the result becomes zero.
///
/// # Safety
/// The processor has AVX-512 with bfloat16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn round(given: &[f32], out: &mut [u16]) {
    let (whole, rest) = given.as_chunks::<DEPTH>();
    let mut last = [0.0; DEPTH];
    last[..rest.len()].copy_from_slice(rest);
    let last = (!rest.is_empty()).then_some(&last);
    let mut given = whole.iter().chain(last);
    for out in out.chunks_exact_mut(DEPTH) {
        match given.next() {
            // SAFETY: 32 numbers each; the caller's promise.
            Some(given) => unsafe { round32(given.as_ptr(), out.as_mut_ptr()) },
            None => out.fill(0),
        }
    }
}

/// Writes sums of 16 outputs to where they are wanted, `step` floats from position to position.
///
/// # Safety
/// The processor has AVX-512.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn finish(sums: &[f32], out: &mut [f32], step: usize, after: After, add: &[f32]) {
    let slope = _mm512_set1_ps(SLOPE);
    let positions = sums.chunks_exact(TILE).zip(out.chunks_mut(step));
    for (position, (sums, out)) in positions.enumerate() {
        let out = &mut out[..TILE];
        // SAFETY: 16 floats each.
        unsafe {
            let mut value = _mm512_loadu_ps(sums.as_ptr());
            if after != After::Keep {
                value = _mm512_max_ps(value, _mm512_mul_ps(value, slope));
            }
            if after == After::LeakyAdd {
                let add = &add[position * step..][..TILE];
                value = _mm512_add_ps(value, _mm512_loadu_ps(add.as_ptr()));
            }
            _mm512_storeu_ps(out.as_mut_ptr(), value);
        }
    }
}

/// What the loop goes on by from tile to tile.
const _: () = assert!(size_of::<Weights>() == 2048);
