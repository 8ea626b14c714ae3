// SPDX-License-Identifier: Apache-2.0
//! Rows of interleaved pixels to rows of components and back.

use crate::simd::kernels;

pub(super) fn unpack(
    row: &[u8],
    bytes: usize,
    o: [usize; 3],
    a: &mut [u8],
    b: &mut [u8],
    c: &mut [u8],
) {
    if bytes == 3 {
        kernels::split3(row, o, a, b, c);
    } else {
        kernels::split4(row, o, a, b, c);
    }
}

pub(super) fn pack(row: &mut [u8], bytes: usize, o: [usize; 3], a: &[u8], b: &[u8], c: &[u8]) {
    if bytes == 3 {
        kernels::join3(row, o, a, b, c);
    } else {
        kernels::join4(row, o, a, b, c);
    }
}

pub(super) fn unpack422(
    row: &[u8],
    [y, u, v]: [usize; 3],
    ys: &mut [u8],
    us: &mut [u8],
    vs: &mut [u8],
) {
    for (quad, pair) in row.chunks_exact(4).zip(ys.chunks_mut(2)) {
        for (i, value) in pair.iter_mut().enumerate() {
            *value = quad[y + 2 * i];
        }
    }
    for ((quad, us), vs) in row.chunks_exact(4).zip(us).zip(vs) {
        *us = quad[u];
        *vs = quad[v];
    }
}

pub(super) fn pack422(row: &mut [u8], [y, u, v]: [usize; 3], ys: &[u8], us: &[u8], vs: &[u8]) {
    for (((quad, pair), us), vs) in row.chunks_exact_mut(4).zip(ys.chunks(2)).zip(us).zip(vs) {
        for (i, value) in pair.iter().enumerate() {
            quad[y + 2 * i] = *value;
        }
        quad[u] = *us;
        quad[v] = *vs;
    }
}

pub(super) fn take_alpha(row: &[u8], at: usize, alpha: &mut [u8]) {
    for (to, pixel) in alpha.iter_mut().zip(row.chunks_exact(4)) {
        *to = pixel[at];
    }
}

pub(super) fn put_alpha(row: &mut [u8], at: usize, alpha: &[u8]) {
    for (from, pixel) in alpha.iter().zip(row.chunks_exact_mut(4)) {
        pixel[at] = *from;
    }
}
