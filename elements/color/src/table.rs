// SPDX-License-Identifier: Apache-2.0
//! Colours looked up in a table of three dimensions, interpolated in tetrahedra.
//!
//! The walk goes from the cell's first corner to its last along the axes, the longest part first;
//! the four corners on the way are weighed. Everything is in whole numbers, so every variant gives
//! the same bits.
#![allow(unsafe_code)] // SSE2, which every x86-64 has, where a compiler finds slower code

use crate::kernel;

/// Pixels that are placed before they are looked up.
pub(crate) const BLOCK: usize = 64;

/// A table of colours. The components may be anything that has codes: red, green and blue, or luma
/// and chroma.
#[derive(Clone)]
pub struct ColorTable {
    size: i32,
    /// From codes to places in the table: 4096 for a step, after a shift by eight.
    scale: [i32; 3],
    offset: [i32; 3],
    /// The three components of a colour as codes with [`Self::fraction`] bits behind the point; the
    /// fourth is not used.
    entries: Vec<[i16; 4]>,
    fraction: u32,
    /// Largest code that comes out.
    top: i32,
}

/// Largest code of eight and of ten bits.
pub const TOP_8: u16 = 255;
pub const TOP_10: u16 = 1023;

impl ColorTable {
    /// A table from bytes to bytes. Entries are colours of 0 to 1, red changing fastest; `size` of
    /// them along each axis, which are 2 to 129.
    pub fn new(
        size: usize,
        min: [f32; 3],
        max: [f32; 3],
        entries: impl Iterator<Item = [f32; 3]>,
    ) -> Self {
        Self::between(size, (TOP_8, TOP_8), min, max, entries)
    }

    /// The same between codes whose largest are `top`, of what goes in and what comes out; 255 or
    /// 1023.
    pub fn between(
        size: usize,
        (top_in, top_out): (u16, u16),
        min: [f32; 3],
        max: [f32; 3],
        entries: impl Iterator<Item = [f32; 3]>,
    ) -> Self {
        assert!((2..=129).contains(&size));
        // With 15 bits and a sign, a code may lie one range below and one above what it can show,
        // which keeps interpolation true at the border.
        let fraction: u32 = if top_out > TOP_8 { 4 } else { 6 };
        let one = f32::from(top_out) * (1 << fraction) as f32;
        let steps = (size - 1) as f64 * 4096.0 * 256.0;
        let span: [f64; 3] = std::array::from_fn(|c| f64::from(max[c]) - f64::from(min[c]));
        // A scale that would overflow reaches the table's end with the first code anyway.
        let fit = |v: f64| v.clamp(-4e6, 4e6) as i32;
        let top = f64::from(top_in);
        let entries: Vec<[i16; 4]> = entries
            .map(|colour| {
                let [a, b, c] = colour.map(|v| (v.clamp(-1.0, 2.0) * one).round() as i16);
                [a, b, c, 0]
            })
            .collect();
        assert_eq!(entries.len(), size.pow(3));
        Self {
            size: size as i32,
            scale: span.map(|span| fit((steps / top / span).round())),
            offset: std::array::from_fn(|c| {
                // 128 rounds the shift.
                (-f64::from(min[c]) / span[c] * steps).clamp(-1e9, 1e9) as i32 + 128
            }),
            entries,
            fraction,
            top: i32::from(top_out),
        }
    }
}

/// A table's numbers, for other machines than the CPU.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// Entries along an axis.
    pub size: i32,
    /// From codes to places in the table: 4096 for a step, after a shift by eight.
    pub scale: [i32; 3],
    pub offset: [i32; 3],
    /// Colours as codes with [`Self::fraction`] bits behind the point; the fourth number is not used.
    pub entries: &'a [[i16; 4]],
    pub fraction: u32,
    /// Largest code that comes out.
    pub top: i32,
}

impl ColorTable {
    /// The numbers that the kernels work with.
    pub fn parts(&self) -> Parts<'_> {
        Parts {
            size: self.size,
            scale: self.scale,
            offset: self.offset,
            entries: &self.entries,
            fraction: self.fraction,
            top: self.top,
        }
    }
}

/// Codes of eight or ten bits.
pub trait Code: Copy + Default {
    const TOP: u16;
    fn code(self) -> i32;
    /// Of a value that is in range.
    fn of(value: i32) -> Self;
}

impl Code for u8 {
    const TOP: u16 = TOP_8;
    #[inline(always)]
    fn code(self) -> i32 {
        i32::from(self)
    }
    #[inline(always)]
    fn of(value: i32) -> Self {
        value as u8
    }
}

impl Code for u16 {
    const TOP: u16 = TOP_10;
    #[inline(always)]
    fn code(self) -> i32 {
        i32::from(self)
    }
    #[inline(always)]
    fn of(value: i32) -> Self {
        value as u16
    }
}

/// Where the pixels of a block lie in the table: entries, and weights in pairs of 16 bits.
struct Walk {
    corners: [[i32; BLOCK]; 4],
    weights: [[i32; BLOCK]; 2],
}

#[inline(always)]
fn walk<C: Code>(a: &[C], b: &[C], c: &[C], table: &ColorTable, walk: &mut Walk) {
    let size = table.size;
    let (last, cells) = ((size - 1) << 12, size - 2);
    let step = [1, size, size * size];
    let end = step[0] + step[1] + step[2];
    let place = |v: i32, axis: usize| {
        let at = v
            .wrapping_mul(table.scale[axis])
            .wrapping_add(table.offset[axis])
            >> 8;
        let at = at.clamp(0, last);
        let cell = (at >> 12).min(cells);
        (cell, at - (cell << 12))
    };
    let count = a.len().min(BLOCK);
    let (a, b, c) = (&a[..count], &b[..count], &c[..count]);
    for i in 0..count {
        let (ca, fa) = place(a[i].code(), 0);
        let (cb, fb) = place(b[i].code(), 1);
        let (cc, fc) = place(c[i].code(), 2);
        let first = ca + cb * step[1] + cc * step[2];
        let most = fa.max(fb).max(fc);
        let least = fa.min(fb).min(fc);
        let middle = fa + fb + fc - most - least;
        let longest = if fa == most {
            step[0]
        } else if fb == most {
            step[1]
        } else {
            step[2]
        };
        let shortest = if fc == least {
            step[2]
        } else if fb == least {
            step[1]
        } else {
            step[0]
        };
        walk.corners[0][i] = first;
        walk.corners[1][i] = first + longest;
        walk.corners[2][i] = first + end - shortest;
        walk.corners[3][i] = first + end;
        walk.weights[0][i] = (4096 - most) | (most - middle) << 16;
        walk.weights[1][i] = (middle - least) | least << 16;
    }
}

/// The weighted sums of a block's pixels, one after the other.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn weigh(table: &ColorTable, walk: &Walk, sums: &mut [[i32; 4]]) {
    use std::arch::x86_64::*;
    for (i, sum) in sums.iter_mut().enumerate().take(BLOCK) {
        // SAFETY: SSE2 is part of x86-64. The loads read the eight bytes of an entry, and the store writes the
        // sixteen of `sum`; neither needs alignment. Places along an axis are limited to the cells 0 to `size - 2`,
        // whatever the codes, so that no corner lies beyond entry `size.pow(3) - 1`, the last (a test goes there).
        // To check each of the four takes a tenth of the time and more (docs/decisions.md).
        unsafe {
            let load = |k: usize| {
                let at = walk.corners[k][i] as usize;
                debug_assert!(at < table.entries.len());
                let entry = table.entries.get_unchecked(at);
                _mm_loadl_epi64(entry.as_ptr().cast())
            };
            let pair = |k: usize| {
                let both = _mm_unpacklo_epi16(load(2 * k), load(2 * k + 1));
                _mm_madd_epi16(both, _mm_set1_epi32(walk.weights[k][i]))
            };
            let total = _mm_add_epi32(pair(0), pair(1));
            _mm_storeu_si128(sum.as_mut_ptr().cast(), total);
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn weigh(table: &ColorTable, walk: &Walk, sums: &mut [[i32; 4]]) {
    for (i, sum) in sums.iter_mut().enumerate().take(BLOCK) {
        *sum = [0; 4];
        for k in 0..4 {
            let entry = &table.entries[walk.corners[k][i] as usize];
            let weight = walk.weights[k / 2][i] >> (16 * (k % 2)) & 0xffff;
            for c in 0..4 {
                sum[c] += i32::from(entry[c]) * weight;
            }
        }
    }
}

/// Looks rows up block by block. `put` takes a component's place in the row, and its codes.
#[inline(always)]
fn look_up<I: Code, O: Code>(
    [a, b, c]: [&[I]; 3],
    table: &ColorTable,
    mut put: impl FnMut(usize, &[[i32; 4]], Scale),
    _out: std::marker::PhantomData<O>,
) {
    let mut places = Walk {
        corners: [[0; BLOCK]; 4],
        weights: [[0; BLOCK]; 2],
    };
    let mut sums = [[0i32; 4]; BLOCK];
    let scale = Scale {
        shift: 12 + table.fraction,
        top: table.top.min(i32::from(O::TOP)),
    };
    let n = a.len().min(b.len()).min(c.len());
    for start in (0..n).step_by(BLOCK) {
        let range = start..(start + BLOCK).min(n);
        let count = range.len();
        walk(
            &a[range.clone()],
            &b[range.clone()],
            &c[range],
            table,
            &mut places,
        );
        weigh(table, &places, &mut sums[..count]);
        put(start, &sums[..count], scale);
    }
}

/// From weighted sums to codes.
#[derive(Clone, Copy)]
struct Scale {
    shift: u32,
    top: i32,
}

impl Scale {
    #[inline(always)]
    fn code(self, sum: i32) -> i32 {
        ((sum + (1 << (self.shift - 1))) >> self.shift).clamp(0, self.top)
    }
}

#[inline(always)]
fn first<I: Code, O: Code>(rows: [&[I]; 3], out: &mut [O], table: &ColorTable) {
    look_up(
        rows,
        table,
        |start, sums, scale| {
            for (out, sum) in out[start..].iter_mut().zip(sums) {
                *out = O::of(scale.code(sum[0]));
            }
        },
        std::marker::PhantomData::<O>,
    );
}

#[inline(always)]
fn others<I: Code, O: Code>(
    rows: [&[I]; 3],
    second: &mut [O],
    third: &mut [O],
    table: &ColorTable,
) {
    look_up(
        rows,
        table,
        |start, sums, scale| {
            let out = second[start..].iter_mut().zip(&mut third[start..]);
            for ((second, third), sum) in out.zip(sums) {
                *second = O::of(scale.code(sum[1]));
                *third = O::of(scale.code(sum[2]));
            }
        },
        std::marker::PhantomData::<O>,
    );
}

kernel! {
    /// Replaces red, green and blue by what the table says.
    pub fn tetrahedral(red: &mut [u8], green: &mut [u8], blue: &mut [u8], table: &ColorTable) {
        let mut places = Walk { corners: [[0; BLOCK]; 4], weights: [[0; BLOCK]; 2] };
        let mut sums = [[0i32; 4]; BLOCK];
        let scale = Scale { shift: 12 + table.fraction, top: table.top.min(255) };
        let n = red.len().min(green.len()).min(blue.len());
        for start in (0..n).step_by(BLOCK) {
            let stop = (start + BLOCK).min(n);
            let (r, g, b) =
                (&mut red[start..stop], &mut green[start..stop], &mut blue[start..stop]);
            walk(r, g, b, table, &mut places);
            let sums = &mut sums[..r.len()];
            weigh(table, &places, sums);
            for (((r, g), b), sum) in r.iter_mut().zip(g).zip(b).zip(&*sums) {
                *r = scale.code(sum[0]) as u8;
                *g = scale.code(sum[1]) as u8;
                *b = scale.code(sum[2]) as u8;
            }
        }
    }
}

macro_rules! planes {
    ($first:ident, $others:ident, $in:ty, $out:ty) => {
        kernel! {
            /// The table's first component for rows of three.
            pub(crate) fn $first(rows: [&[$in]; 3], out: &mut [$out], table: &ColorTable) {
                first(rows, out, table)
            }
        }
        kernel! {
            /// The table's second and third component for rows of three.
            pub(crate) fn $others(
                rows: [&[$in]; 3],
                second: &mut [$out],
                third: &mut [$out],
                table: &ColorTable
            ) {
                others(rows, second, third, table)
            }
        }
    };
}
planes!(first_8_8, others_8_8, u8, u8);
planes!(first_8_10, others_8_10, u8, u16);
planes!(first_10_8, others_10_8, u16, u8);
planes!(first_10_10, others_10_10, u16, u16);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// [`weigh`] takes it for granted.
        #[test]
        fn corners_lie_in_the_table(
            size in 2usize..=129,
            min in prop::array::uniform3(-2.0f32..2.0),
            span in prop::array::uniform3(1e-6f32..4.0),
            codes in prop::collection::vec(any::<[u16; 3]>(), 1..BLOCK),
        ) {
            let max = std::array::from_fn(|c| min[c] + span[c]);
            let grey = std::iter::repeat_n([0.5; 3], size.pow(3));
            let table = ColorTable::between(size, (TOP_10, TOP_8), min, max, grey);
            let row = |c: usize| codes.iter().map(|code| code[c]).collect::<Vec<u16>>();
            let mut places = Walk { corners: [[0; BLOCK]; 4], weights: [[0; BLOCK]; 2] };
            walk(&row(0), &row(1), &row(2), &table, &mut places);
            for corner in places.corners.iter().flatten() {
                prop_assert!((0..size.pow(3) as i32).contains(corner), "{corner} of {size}");
            }
        }
    }
}
