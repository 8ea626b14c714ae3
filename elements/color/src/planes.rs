// SPDX-License-Identifier: Apache-2.0
//! Tables of luma and chroma over 4:2:0 planes: no way through red, green and blue.
//!
//! A table whose axes are Y', Cb and Cr holds the matrices, curves and everything else between a
//! picture and what becomes of it, so a pixel costs one look-up. Luma is looked up with the chroma
//! of its place, chroma with the mean luma of its four pixels.

use crate::table::{self, Code, ColorTable};

/// Planes of a 4:2:0 picture, tightly packed; chroma sides are half, rounded up.
pub struct Planes<'a, C> {
    pub width: usize,
    pub height: usize,
    pub y: &'a [C],
    pub u: &'a [C],
    pub v: &'a [C],
}

/// The same to write to.
pub struct PlanesMut<'a, C> {
    pub y: &'a mut [C],
    pub u: &'a mut [C],
    pub v: &'a mut [C],
}

/// The kernels between two depths.
pub trait Through<O: Code>: Code {
    fn first(rows: [&[Self]; 3], out: &mut [O], table: &ColorTable);
    fn others(rows: [&[Self]; 3], second: &mut [O], third: &mut [O], table: &ColorTable);
}

macro_rules! through {
    ($in:ty, $out:ty, $first:ident, $others:ident) => {
        impl Through<$out> for $in {
            fn first(rows: [&[Self]; 3], out: &mut [$out], table: &ColorTable) {
                table::$first(rows, out, table);
            }
            fn others(rows: [&[Self]; 3], b: &mut [$out], c: &mut [$out], table: &ColorTable) {
                table::$others(rows, b, c, table);
            }
        }
    };
}
through!(u8, u8, first_8_8, others_8_8);
through!(u8, u16, first_8_10, others_8_10);
through!(u16, u8, first_10_8, others_10_8);
through!(u16, u16, first_10_10, others_10_10);

/// Puts a picture through a table whose axes and colours are luma, Cb and Cr. `cosited`: chroma
/// lies on the left one of two columns, not between them. Planes that are too short are left
/// unfinished.
pub fn apply<I: Through<O>, O: Code>(
    table: &ColorTable,
    from: &Planes<'_, I>,
    to: &mut PlanesMut<'_, O>,
    cosited: bool,
) {
    let (w, h) = (from.width, from.height);
    if w == 0 || h == 0 {
        return;
    }
    let cw = w.div_ceil(2);
    let (mut u_row, mut v_row) = (vec![I::default(); 2 * cw], vec![I::default(); 2 * cw]);
    let mut mean = vec![I::default(); cw];
    let chroma_in = from.u.chunks_exact(cw).zip(from.v.chunks_exact(cw));
    let chroma_out = to.u.chunks_exact_mut(cw).zip(to.v.chunks_exact_mut(cw));
    let luma = from.y.chunks(2 * w).zip(to.y.chunks_mut(2 * w));
    for (((y_in, y_out), (u, v)), (u_out, v_out)) in luma.zip(chroma_in).zip(chroma_out) {
        widen(u, &mut u_row, cosited);
        widen(v, &mut v_row, cosited);
        for (y, out) in y_in.chunks_exact(w).zip(y_out.chunks_exact_mut(w)) {
            I::first([y, &u_row[..w], &v_row[..w]], out, table);
        }
        let (above, below) = y_in.split_at(w.min(y_in.len()));
        average(
            above,
            if below.len() == w { below } else { above },
            &mut mean,
        );
        I::others([&mean, u, v], u_out, v_out, table);
    }
}

/// Chroma at luma's columns.
#[inline(always)]
fn widen<C: Code>(row: &[C], out: &mut [C], cosited: bool) {
    let next = row[1..].iter().chain(row.last());
    for ((pair, here), next) in out.chunks_exact_mut(2).zip(row).zip(next) {
        pair[0] = *here;
        pair[1] = if cosited {
            C::of((here.code() + next.code() + 1) >> 1)
        } else {
            *here
        };
    }
}

/// Means of 2 x 2.
#[inline(always)]
fn average<C: Code>(above: &[C], below: &[C], out: &mut [C]) {
    let pairs = above.chunks(2).zip(below.chunks(2));
    for (out, (a, b)) in out.iter_mut().zip(pairs) {
        let sum = |pair: &[C]| pair[0].code() + pair[pair.len() - 1].code();
        *out = C::of((sum(a) + sum(b) + 2) >> 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::{Level, forced};

    /// Codes spread over the whole range.
    fn codes<C: Code>(n: usize, seed: usize) -> Vec<C> {
        (0..n)
            .map(|i| C::of(((i * 7919 + seed * 104_729) % (usize::from(C::TOP) + 1)) as i32))
            .collect()
    }

    fn entries(size: usize, f: impl Fn([f32; 3]) -> [f32; 3]) -> impl Iterator<Item = [f32; 3]> {
        let steps = (size - 1) as f32;
        (0..size.pow(3))
            .map(move |i| f([i % size, i / size % size, i / size / size].map(|v| v as f32 / steps)))
    }

    fn run<I: Through<O>, O: Code>(
        table: &ColorTable,
        (w, h): (usize, usize),
        cosited: bool,
    ) -> ([Vec<I>; 3], [Vec<O>; 3]) {
        let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
        let from = [
            codes::<I>(w * h, 1),
            codes::<I>(cw * ch, 2),
            codes::<I>(cw * ch, 3),
        ];
        let mut to = [
            vec![O::default(); w * h],
            vec![O::default(); cw * ch],
            vec![O::default(); cw * ch],
        ];
        let [y, u, v] = &mut to;
        let planes = Planes {
            width: w,
            height: h,
            y: &from[0],
            u: &from[1],
            v: &from[2],
        };
        apply(table, &planes, &mut PlanesMut { y, u, v }, cosited);
        (from, to)
    }

    #[test]
    fn a_linear_table_keeps_every_code_at_any_depth_and_size() {
        for size in [2, 17, 33, 65] {
            for dims in [(1, 1), (2, 2), (5, 3), (64, 4), (131, 7)] {
                for cosited in [false, true] {
                    let plain = |tops| {
                        ColorTable::between(size, tops, [0.0; 3], [1.0; 3], entries(size, |c| c))
                    };
                    let (from, to) = run::<u8, u8>(&plain((255, 255)), dims, cosited);
                    assert_eq!(from, to);
                    let (from, to) = run::<u16, u16>(&plain((1023, 1023)), dims, cosited);
                    assert_eq!(from, to);
                    let (from, to) = run::<u8, u16>(&plain((255, 1023)), dims, cosited);
                    for (from, to) in from.iter().flatten().zip(to.iter().flatten()) {
                        let wanted = f64::from(*from) * 1023.0 / 255.0;
                        assert!((f64::from(*to) - wanted).abs() <= 0.6, "{from}: {to}");
                    }
                    let (from, to) = run::<u16, u8>(&plain((1023, 255)), dims, cosited);
                    for (from, to) in from.iter().flatten().zip(to.iter().flatten()) {
                        let wanted = f64::from(*from) * 255.0 / 1023.0;
                        assert!((f64::from(*to) - wanted).abs() <= 0.6, "{from}: {to}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_level_gives_the_same_codes() {
        let twist = |[a, b, c]: [f32; 3]| [a * b, 1.0 - c, (a + b + c) / 3.0];
        let table = ColorTable::between(33, (255, 1023), [0.0; 3], [1.0; 3], entries(33, twist));
        let wanted = forced::with(Level::Scalar, || run::<u8, u16>(&table, (131, 9), true).1);
        for level in Level::available() {
            let got = forced::with(level, || run::<u8, u16>(&table, (131, 9), true).1);
            assert!(got == wanted, "{level:?}");
        }
    }

    #[test]
    fn chroma_lies_where_it_did() {
        // Luma that comes out is the chroma that goes in, at each luma column.
        let table = ColorTable::new(2, [0.0; 3], [1.0; 3], entries(2, |[_, u, v]| [u, u, v]));
        let (from, to) = run::<u8, u8>(&table, (8, 2), false);
        for (i, y) in to[0].iter().enumerate() {
            assert_eq!(*y, from[1][i % 8 / 2]);
        }
        let (from, to) = run::<u8, u8>(&table, (8, 2), true);
        for i in 0..3 {
            assert_eq!(to[0][2 * i], from[1][i]);
            let between = (u32::from(from[1][i]) + u32::from(from[1][i + 1])).div_ceil(2);
            assert_eq!(u32::from(to[0][2 * i + 1]), between);
        }
    }
}
