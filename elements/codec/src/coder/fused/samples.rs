// SPDX-License-Identifier: Apache-2.0
//! Pictures as positions of 8x8 pixels, and back.

use super::SAMPLES;
use crate::coder::{Depth, Picture};
use std::ops::Range;

/// Places of a position's samples: luma lines of 8, then chroma by line, column, plane.
pub(super) const LUMA: Range<usize> = 0..64;

/// One row of 8x8 pixels as positions of 96 samples.
pub(super) fn gather<S: Depth>(picture: &Picture<S>, row: usize, out: &mut [S]) {
    let (width, half) = (picture.width, picture.width / 2);
    for dy in 0..8 {
        let line = &picture.y[(8 * row + dy) * width..][..width];
        for (out, eight) in out.chunks_exact_mut(SAMPLES).zip(line.chunks_exact(8)) {
            out[8 * dy..8 * dy + 8].copy_from_slice(eight);
        }
    }
    let (u, v) = picture.uv.split_at(half * picture.height / 2);
    for dy in 0..4 {
        let at = (4 * row + dy) * half;
        let lines = u[at..at + half]
            .chunks_exact(4)
            .zip(v[at..at + half].chunks_exact(4));
        for (out, (u, v)) in out.chunks_exact_mut(SAMPLES).zip(lines) {
            let out = &mut out[LUMA.end + 8 * dy..][..8];
            for ((out, u), v) in out.chunks_exact_mut(2).zip(u).zip(v) {
                out[0] = *u;
                out[1] = *v;
            }
        }
    }
}

/// The inverse, into lines of three planes.
pub(super) fn scatter<S: Depth>(bytes: &[S], y: &mut [S], u: &mut [S], v: &mut [S]) {
    let width = y.len() / 8;
    for (dy, line) in y.chunks_exact_mut(width).enumerate() {
        for (eight, from) in line.chunks_exact_mut(8).zip(bytes.chunks_exact(SAMPLES)) {
            eight.copy_from_slice(&from[8 * dy..8 * dy + 8]);
        }
    }
    let lines = u
        .chunks_exact_mut(width / 2)
        .zip(v.chunks_exact_mut(width / 2));
    for (dy, (u, v)) in lines.enumerate() {
        let fours = u.chunks_exact_mut(4).zip(v.chunks_exact_mut(4));
        for ((u, v), from) in fours.zip(bytes.chunks_exact(SAMPLES)) {
            let from = &from[LUMA.end + 8 * dy..][..8];
            for ((u, v), pair) in u.iter_mut().zip(v).zip(from.chunks_exact(2)) {
                *u = pair[0];
                *v = pair[1];
            }
        }
    }
}
