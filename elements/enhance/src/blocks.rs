// SPDX-License-Identifier: Apache-2.0
//! Pictures of 4:2:0 as nets at half the size see them: a position is a block of 2x2 samples of luma and one of
//! each chroma.
#![allow(unsafe_code)] // functions compiled for more than the baseline

use aivideo_nets::{
    compile,
    conv::{After, Conv, ROWS},
    isa::Isa,
    map::{Map, Rows},
};
use rayon::prelude::*;
use std::cell::Cell;

/// Samples of a position.
pub const SAMPLES: usize = 6;
/// Outputs of the last layer with those that fill it up.
const OUTPUTS: usize = 16;

thread_local! {
    /// Rows of the last layer.
    static LAST: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Planes of luma and of both chroma, one after the other, whose sides are even.
#[derive(Clone, Copy)]
pub struct Planes<'a> {
    pub width: usize,
    pub height: usize,
    pub y: &'a [u8],
    pub uv: &'a [u8],
}

impl Planes<'_> {
    fn check(&self) {
        assert!(self.width.is_multiple_of(2) && self.height.is_multiple_of(2));
        assert!(self.y.len() == self.width * self.height && 2 * self.uv.len() == self.y.len());
    }
}

/// Writes samples as floats of 0 to 255 from channel `first` of a map of 8 or 16 channels on, and `rest` behind
/// them.
pub fn read(isa: Isa, picture: &Planes<'_>, first: usize, rest: &[f32], map: &mut Map) {
    picture.check();
    let (w, cw) = (picture.width, picture.width / 2);
    assert!((map.width, 2 * map.height) == (cw, picture.height));
    assert!(first + SAMPLES + rest.len() <= map.channels);
    let eight = match map.channels {
        8 => true,
        16 => false,
        channels => panic!("{channels} channels are neither 8 nor 16"),
    };
    let (u, v) = picture.uv.split_at(picture.uv.len() / 2);
    map.split(ROWS).for_each(|mut rows: Rows<'_>| {
        for i in 0..rows.count {
            let row = rows.first + i;
            let luma = [0, 1].map(|second| &picture.y[(2 * row + second) * w..][..w]);
            let chroma = [u, v].map(|plane| &plane[row * cw..][..cw]);
            match eight {
                true => positions8(isa, luma, chroma, rest, first, rows.row(i)),
                false => positions16(isa, luma, chroma, rest, first, rows.row(i)),
            }
        }
    });
}

/// Runs the last layer and adds its sums, in which there is a half to round them, to the samples that
/// [`read`] wrote to `input` from its first channel on.
pub fn write(tail: &Conv, map: &Map, input: &Map, y: &mut [u8], uv: &mut [u8]) {
    let (cw, ch) = (map.width, map.height);
    assert!(tail.outputs() == OUTPUTS && (input.width, input.height) == (cw, ch));
    assert!(y.len() == 4 * cw * ch && uv.len() == 2 * cw * ch);
    let (u, v) = uv.split_at_mut(cw * ch);
    let tile = tail.tile();
    let chroma = u.par_chunks_mut(tile * cw).zip(v.par_chunks_mut(tile * cw));
    let parts = y.par_chunks_mut(tile * 4 * cw).with_max_len(1).zip(chroma);
    parts.enumerate().for_each(|(part, (y, (u, v)))| {
        let (first, count) = (part * tile, u.len() / cw);
        let step = cw * OUTPUTS;
        let mut sums = LAST.take();
        sums.resize(tile * step, 0.0);
        tail.rows(map, [first, count, cw], &mut sums, step, After::Keep);
        let lines = sums
            .chunks_exact(step)
            .zip(y.chunks_exact_mut(4 * cw))
            .zip(u.chunks_exact_mut(cw).zip(v.chunks_exact_mut(cw)));
        for (i, ((sums, y), (u, v))) in lines.enumerate() {
            let (row, isa) = (input.row(first + i), tail.isa());
            match input.channels {
                8 => samples8(isa, row, sums, y, u, v),
                _ => samples16(isa, row, sums, y, u, v),
            }
        }
        LAST.set(sums);
    });
}

#[inline(always)]
fn positions<const CHANNELS: usize>(
    luma: [&[u8]; 2],
    chroma: [&[u8]; 2],
    rest: &[f32],
    first: usize,
    out: &mut [f32],
) {
    let [upper, lower] = luma;
    let [u, v] = chroma;
    let luma = upper.chunks_exact(2).zip(lower.chunks_exact(2));
    let given = luma.zip(u.iter().zip(v));
    for (out, ((upper, lower), (u, v))) in out.chunks_exact_mut(CHANNELS).zip(given) {
        let bytes = [upper[0], upper[1], lower[0], lower[1], *u, *v];
        let (samples, others) = out[first..].split_at_mut(SAMPLES);
        for (out, byte) in samples.iter_mut().zip(bytes) {
            *out = f32::from(byte);
        }
        others[..rest.len()].copy_from_slice(rest);
    }
}

compile! {
    positions8(luma: [&[u8]; 2], chroma: [&[u8]; 2], rest: &[f32], first: usize, out: &mut [f32]) =>
    positions::<8>(luma, chroma, rest, first, out), positions::<8>(luma, chroma, rest, first, out)
}

compile! {
    positions16(luma: [&[u8]; 2], chroma: [&[u8]; 2], rest: &[f32], first: usize, out: &mut [f32]) =>
    positions::<16>(luma, chroma, rest, first, out), positions::<16>(luma, chroma, rest, first, out)
}

#[inline(always)]
#[allow(clippy::manual_clamp)] // max and min, unlike clamp, leave no NaN
fn samples<const CHANNELS: usize>(
    input: &[f32],
    sums: &[f32],
    y: &mut [u8],
    u: &mut [u8],
    v: &mut [u8],
) {
    let (upper, lower) = y.split_at_mut(y.len() / 2);
    let luma = upper.chunks_exact_mut(2).zip(lower.chunks_exact_mut(2));
    let given = input.chunks_exact(CHANNELS).zip(sums.chunks_exact(OUTPUTS));
    let wanted = luma.zip(u.iter_mut().zip(v));
    for ((input, sums), ((upper, lower), (u, v))) in given.zip(wanted) {
        let mut bytes = [0u8; 8];
        for ((byte, input), sum) in bytes.iter_mut().zip(input).zip(sums) {
            let value = (input + sum).max(0.0).min(255.0);
            // SAFETY: a number from 0 to 255, whatever the sum was.
            *byte = unsafe { value.to_int_unchecked::<i32>() } as u8;
        }
        upper.copy_from_slice(&bytes[..2]);
        lower.copy_from_slice(&bytes[2..4]);
        [*u, *v] = [bytes[4], bytes[5]];
    }
}

compile! {
    samples8(input: &[f32], sums: &[f32], y: &mut [u8], u: &mut [u8], v: &mut [u8]) =>
    samples::<8>(input, sums, y, u, v), samples::<8>(input, sums, y, u, v)
}

compile! {
    samples16(input: &[f32], sums: &[f32], y: &mut [u8], u: &mut [u8], v: &mut [u8]) =>
    samples::<16>(input, sums, y, u, v), samples::<16>(input, sums, y, u, v)
}
