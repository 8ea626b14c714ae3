// SPDX-License-Identifier: Apache-2.0
//! The classes of cells: how much luma bends there, and in which direction.

use super::{BLOCK, CELL, CHROMA_BLOCK, Padded};
use crate::dispatch::dispatch;

/// Levels of bending, and directions.
pub(super) const LEVELS: usize = 8;
pub(super) const DIRECTIONS: usize = 5;
/// Bending from which on the second to the last level begin: sums over a window of horizontal and vertical.
pub(super) const BOUNDS: [u16; LEVELS - 1] = [18, 36, 72, 130, 216, 360, 648];

/// How much the picture bends in each cell of a row: horizontally, vertically and along both diagonals, summed
/// over its samples.
#[inline(always)]
fn bending(
    padded: Padded<'_>,
    width: usize,
    row: isize,
    shift: u32,
    sums: &mut [i16],
    out: &mut [Vec<u16>; 4],
) {
    let y = row * CELL as isize;
    let line = |dy: isize| &padded.from(-1, y + dy)[..width + 2];
    let [a, b, c, d] = [-1, 0, 1, 2].map(line);
    // (down, right) from a sample to one of the two that it is compared with.
    let steps: [(usize, usize); 4] = [(1, 2), (2, 1), (2, 2), (2, 0)];
    for ((down, right), out) in steps.into_iter().zip(out) {
        let rows = [[a, b, c], [b, c, d]];
        let [first, second] = rows.map(|rows| {
            let (one, other) = (rows[down], rows[2 - down]);
            (
                &rows[1][1..][..width],
                &one[right..][..width],
                &other[2 - right..][..width],
            )
        });
        let sums = &mut sums[..width];
        for x in 0..width {
            let bend = |(p, q, r): (&[i16], &[i16], &[i16])| (2 * p[x] - q[x] - r[x]).abs();
            sums[x] = bend(first) + bend(second);
        }
        for (out, pair) in out.iter_mut().zip(sums.chunks_exact(CELL)) {
            *out = ((pair[0] + pair[1]) as u16) >> shift;
        }
    }
}

/// Class of a cell by the sums over the 3x3 cells around it.
#[inline(always)]
fn class([h, v, d, e]: [u16; 4]) -> u8 {
    let level: u16 = BOUNDS.iter().map(|bound| u16::from(h + v >= *bound)).sum();
    let (h, v, d, e) = (u32::from(h), u32::from(v), u32::from(d), u32::from(e));
    let (straight, straight_least) = (h.max(v), h.min(v));
    let (oblique, oblique_least) = (d.max(e), d.min(e));
    let weak = straight <= 2 * straight_least && oblique <= 2 * oblique_least;
    let is_straight = straight * oblique_least >= oblique * straight_least;
    let direction = match (weak, is_straight) {
        (true, _) => 0,
        (false, true) => 2 - u8::from(h > v),
        (false, false) => 4 - u8::from(d > e),
    };
    level as u8 * DIRECTIONS as u8 + direction
}

#[inline(always)]
fn classify_band(
    padded: Padded<'_>,
    (width, height): (usize, usize),
    band: usize,
    shift: u32,
    classes: &mut [u8],
) {
    let columns = width / CELL;
    let rows = (height / CELL) as isize;
    let empty = || [(); 4].map(|()| vec![0u16; columns]);
    let mut sums = vec![0i16; width];
    let mut around = [empty(), empty(), empty()];
    let mut column_sums = [(); 4].map(|()| vec![0u16; columns + 2]);
    let first = (band * (BLOCK / CELL)) as isize;
    // Cells outside of the picture are as those of its edge.
    let mut fill = |row: isize, out: &mut [Vec<u16>; 4]| {
        bending(padded, width, row.clamp(0, rows - 1), shift, &mut sums, out);
    };
    fill(first - 1, &mut around[0]);
    fill(first, &mut around[1]);
    for (row, classes) in (first..).zip(classes.chunks_exact_mut(columns)) {
        fill(row + 1, &mut around[2]);
        for (i, column_sums) in column_sums.iter_mut().enumerate() {
            let [a, b, c] = [0, 1, 2].map(|k: usize| &around[k][i][..columns]);
            let inner = &mut column_sums[1..][..columns];
            for x in 0..columns {
                inner[x] = a[x] + b[x] + c[x];
            }
            column_sums[0] = column_sums[1];
            column_sums[columns + 1] = column_sums[columns];
        }
        let [h, v, d, e] = &column_sums;
        let window = |sums: &[u16], x: usize| sums[x] + sums[x + 1] + sums[x + 2];
        for (x, out) in classes.iter_mut().enumerate() {
            *out = class([window(h, x), window(v, x), window(d, x), window(e, x)]);
        }
        around.rotate_left(1);
    }
}

dispatch! {
    /// Classes of a row of blocks.
    pub(super) fn classify => classify_band, classify_band,
    (padded: Padded<'_>, size: (usize, usize), band: usize, shift: u32, classes: &mut [u8])
}

/// Classes of a block's cells in a row.
pub(super) fn classes_of(classes: &[u8], cells: usize, column: usize, row: usize) -> &[u8] {
    &classes[row * cells + column * CHROMA_BLOCK..][..CHROMA_BLOCK]
}
