// SPDX-License-Identifier: Apache-2.0
//! Overlapped motion compensation: near the edges of a part the prediction leans towards what the neighbour's vector
//! predicts there, so that where vectors jump the picture does not.
//!
//! A sample has one neighbouring part above or below its own, whichever is nearer, and one to the left or right. With
//! the prediction `p` by its own vector, and `v` and `h` by those of the two, it becomes
//! `(64p + a(v - p) + b(h - p) + 32) >> 6`, where `a` and `b` follow from the distance to the edge. There is nothing
//! to lean to outside of the picture. [`reference`] is that definition, written plainly.

use super::interpolate::{self, Reference, block};
use super::plane::Plane;
use super::{PART, Sample, Vector};

/// 64ths of the neighbour in luma, by the distance to its edge.
pub const LUMA: [i16; 3] = [16, 8, 4];

/// The same in chroma.
pub const CHROMA: [i16; 2] = [12, 2];

/// Vectors of the two rows of parts that a row of blocks has, and of the rows around.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub own: &'a [Vector],
    pub above: Option<&'a [Vector]>,
    pub below: Option<&'a [Vector]>,
}

impl<'a> Rows<'a> {
    /// Of the row of blocks `row` of a picture that has `width` parts in a row.
    pub fn of(vectors: &'a [Vector], width: usize, row: usize) -> Self {
        let at = |part: usize| vectors.get(part * width..(part + 1) * width);
        Self {
            own: &vectors[2 * row * width..][..2 * width],
            above: (row > 0).then(|| &vectors[(2 * row - 1) * width..][..width]),
            below: at(2 * row + 2),
        }
    }
}

/// Vectors of the parts around one: above, below, left, right; its own where there is none.
type Around = [Vector; 4];

/// Leans one row of blocks towards its neighbours, to be compiled for several instruction sets.
#[inline(always)]
pub(super) fn lean_row<S: Sample>(
    reference: &Reference<S>,
    row: usize,
    rows: Rows<'_>,
    y: &mut [S],
    u: &mut [S],
    v: &mut [S],
) {
    let width = rows.own.len() / 2;
    let stride = width * PART;
    let (upper, lower) = rows.own.split_at(width);
    let both = [
        (rows.above, upper, Some(lower)),
        (Some(upper), lower, rows.below),
    ];
    for (part, (above, own, below)) in both.into_iter().enumerate() {
        let top = (2 * row + part) * PART;
        for (x, &vector) in own.iter().enumerate() {
            let around = [
                above.map_or(vector, |row| row[x]),
                below.map_or(vector, |row| row[x]),
                own[x.saturating_sub(1)],
                own[(x + 1).min(width - 1)],
            ];
            if around == [vector; 4] {
                continue;
            }
            let left = x * PART;
            let at = part * PART * stride + left;
            lean::<PART, 3, 4, 8, S>(
                &reference.y,
                (left, top),
                vector,
                around,
                (&interpolate::LUMA, &LUMA),
                &mut y[at..],
                stride,
            );
            let at = part * PART / 2 * (stride / 2) + left / 2;
            for (plane, out) in [(&reference.u, &mut *u), (&reference.v, &mut *v)] {
                lean::<4, 2, 4, 4, S>(
                    plane,
                    (left / 2, top / 2),
                    vector,
                    around,
                    (&interpolate::CHROMA, &CHROMA),
                    &mut out[at..],
                    stride / 2,
                );
            }
        }
    }
}

/// One part of `N` x `N` samples, `REACH` of which lean from each edge. `WIDE`: columns that are predicted beside a
/// vertical edge, as many as the filters take at least.
#[inline(always)]
fn lean<const N: usize, const REACH: usize, const WIDE: usize, const T: usize, S: Sample>(
    plane: &Plane<S>,
    (x, y): (usize, usize),
    own: Vector,
    [above, below, left, right]: Around,
    (taps, weights): (&[[i16; T]], &[i16; REACH]),
    out: &mut [S],
    stride: usize,
) {
    let mut sums = [[32i32; N]; N];
    let mut other = [S::default(); 64];
    for (vector, first, mirrored) in [(above, 0, false), (below, N - REACH, true)] {
        if vector == own {
            continue;
        }
        block::<N, REACH, T, S>(plane, (x, y + first), vector, taps, &mut other, N);
        for i in 0..REACH {
            let weight = i32::from(weights[if mirrored { REACH - 1 - i } else { i }]);
            let out = &out[(first + i) * stride..][..N];
            let (other, sums) = (&other[i * N..][..N], &mut sums[first + i]);
            for j in 0..N {
                sums[j] += weight * (other[j].value() - out[j].value());
            }
        }
    }
    for (vector, first, mirrored) in [(left, 0, false), (right, N - WIDE, true)] {
        if vector == own {
            continue;
        }
        block::<WIDE, N, T, S>(plane, (x + first, y), vector, taps, &mut other, WIDE);
        let mut columns = [0; WIDE];
        for (i, &weight) in weights.iter().enumerate() {
            columns[if mirrored { WIDE - 1 - i } else { i }] = i32::from(weight);
        }
        for i in 0..N {
            let out = &out[i * stride + first..][..WIDE];
            let (other, sums) = (&other[i * WIDE..][..WIDE], &mut sums[i][first..][..WIDE]);
            for j in 0..WIDE {
                sums[j] += columns[j] * (other[j].value() - out[j].value());
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        for (out, sum) in out[i * stride..][..N].iter_mut().zip(sums) {
            *out = S::clip(out.value() + (sum >> 6));
        }
    }
}

/// The definition, sample by sample; slow, and what the fast version is tested against.
pub mod reference {
    use super::{CHROMA, LUMA};
    use crate::motion::interpolate::reference;
    use crate::motion::{Field, PART, Sample, Vector};

    /// Predicted luma sample at `(x, y)` of a picture of `width` columns.
    pub fn luma<S: Sample>(samples: &[S], width: usize, x: usize, y: usize, field: &Field) -> S {
        let by = |vector| reference::luma(samples, width, x, y, vector).value();
        lean(field, PART, &LUMA, (x, y), by)
    }

    /// Predicted chroma sample; `width` is that of the chroma plane.
    pub fn chroma<S: Sample>(samples: &[S], width: usize, x: usize, y: usize, field: &Field) -> S {
        let by = |vector| reference::chroma(samples, width, x, y, vector).value();
        lean(field, PART / 2, &CHROMA, (x, y), by)
    }

    fn lean<S: Sample>(
        field: &Field,
        size: usize,
        weights: &[i16],
        (x, y): (usize, usize),
        by: impl Fn(Vector) -> i32,
    ) -> S {
        let (columns, rows) = (2 * field.width, 2 * field.height());
        let at = |column: usize, row: usize| by(field.vectors[row * columns + column]);
        let (column, row) = (x / size, y / size);
        let own = at(column, row);
        // The nearer neighbour of each direction, and what it counts.
        let near = |part: usize, parts: usize, offset: usize| {
            let upper = offset < size / 2;
            let distance = if upper { offset } else { size - 1 - offset };
            let weight = weights.get(distance).map_or(0, |w| i32::from(*w));
            match upper {
                true => part.checked_sub(1).map(|part| (part, weight)),
                false => (part + 1 < parts).then_some((part + 1, weight)),
            }
        };
        let mut sum = 64 * own + 32;
        if let Some((row, weight)) = near(row, rows, y % size) {
            sum += weight * (at(column, row) - own);
        }
        if let Some((column, weight)) = near(column, columns, x % size) {
            sum += weight * (at(column, row) - own);
        }
        S::clip(sum >> 6)
    }
}
