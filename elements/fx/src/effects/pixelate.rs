// SPDX-License-Identifier: Apache-2.0
//! Pixelate: squares of one colour.

use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, PicturePass};
use crate::picture::{Picture, Plane};
use crate::registry::Effect;
use crate::simd::kernels;
use crate::workers::Tools;

pub const EFFECT: Effect = Effect {
    name: "pixelate",
    aliases: &["mosaic"],
    nick: "Pixelate",
    blurb: "Fills squares with their mean colour",
    params: &[Param {
        name: "size",
        nick: "Size",
        blurb: "Width and height of the squares in pixels; 1 keeps the picture",
        kind: Kind::Int {
            min: 1,
            max: 512,
            default: 16,
        },
    }],
    build,
    deep: None,
};

fn build(values: &Values, _build: &Build) -> Pass {
    match values.int("size") {
        1 => Pass::Nothing,
        size => Pass::Picture(Box::new(Pixelate {
            size: size as usize,
        })),
    }
}

struct Pixelate {
    size: usize,
}

impl PicturePass for Pixelate {
    fn run(&self, picture: &mut Picture, _moment: &Moment, tools: &Tools) {
        let shape = picture.shape;
        for (component, plane) in picture.planes.iter_mut().enumerate() {
            let (ws, hs) = shape.component_shift(component);
            let columns = edges(0, plane.width, self.size, ws);
            // Rows after which a square of every column ends: of odd squares in subsampled
            // planes that is every second time.
            let step = if self.size.is_multiple_of(1 << hs) {
                self.size >> hs
            } else {
                self.size
            };
            tools.strips(plane, step, |first, strip| {
                let rows = edges(first, first + strip.height, self.size, hs);
                let mut sums = vec![0; strip.width];
                let mut small = vec![0; strip.width];
                for pair in rows.windows(2) {
                    fill(
                        strip,
                        pair[0] - first..pair[1] - first,
                        &columns,
                        &mut sums,
                        &mut small,
                    );
                }
            });
        }
    }
}

/// Where squares begin between two samples of a component, and the end. Squares are `size` pixels
/// wide, samples are `1 << shift`, and a sample belongs to the square of its first pixel.
fn edges(from: usize, to: usize, size: usize, shift: u32) -> Vec<usize> {
    let mut edges = vec![from];
    let mut square = (from << shift) / size + 1;
    loop {
        let next = (square * size).div_ceil(1 << shift);
        if next >= to {
            edges.push(to);
            return edges;
        }
        edges.push(next);
        square += 1;
    }
}

/// Averages the squares of some rows.
fn fill(
    plane: &mut Plane,
    rows: std::ops::Range<usize>,
    columns: &[usize],
    sums: &mut [u32],
    small: &mut [u16],
) {
    // Sixteen bits are faster, and enough for as many rows.
    if rows.len() <= 257 {
        small.fill(0);
        for y in rows.clone() {
            kernels::accumulate_bytes(small, plane.row(y));
        }
        for (sum, small) in sums.iter_mut().zip(&*small) {
            *sum = u32::from(*small);
        }
    } else {
        sums.fill(0);
        for y in rows.clone() {
            kernels::accumulate(sums, plane.row(y));
        }
    }
    let top = plane.row_mut(rows.start);
    for pair in columns.windows(2) {
        let count = (rows.len() * (pair[1] - pair[0])) as u32;
        let sum: u32 = sums[pair[0]..pair[1]].iter().sum();
        top[pair[0]..pair[1]].fill(((sum + count / 2) / count) as u8);
    }
    let (stride, width) = (plane.stride, plane.width);
    let start = rows.start * stride;
    for y in rows.skip(1) {
        plane.data.copy_within(start..start + width, y * stride);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::Value;
    use crate::picture::PixelFormat;

    #[test]
    fn edges_of_odd_squares_in_subsampled_planes() {
        assert_eq!(edges(0, 10, 4, 0), [0, 4, 8, 10]);
        assert_eq!(edges(4, 8, 4, 0), [4, 8]);
        // Squares of 3 pixels, samples of 2: the pixels 0 2 | 4 | 6 8 | 10 …
        assert_eq!(edges(0, 6, 3, 1), [0, 2, 3, 5, 6]);
        assert_eq!(edges(0, 1, 512, 1), [0, 1]);
    }

    #[test]
    fn squares_hold_their_mean() {
        for format in PixelFormat::ALL {
            for size in [2, 3, 8, 200] {
                let picture = |x: usize, y: usize| [((x * 3 + y * 5) % 64) as f32 / 64.0; 3];
                let (w, h) = (37, 21);
                let params = |size| [("size", Value::Int(size))];
                let before = run_picture(&EFFECT, &params(1), format, (w, h), picture);
                let out = run_picture(&EFFECT, &params(size as i32), format, (w, h), picture);
                for (left, top) in [(0, 0), (w / size * size, h / size * size)] {
                    let xs = left..(left + size).min(w);
                    let ys = top..(top + size).min(h);
                    if xs.is_empty() || ys.is_empty() {
                        continue;
                    }
                    let mut sum = 0.0;
                    for y in ys.clone() {
                        for x in xs.clone() {
                            sum += before.code(x, y)[0];
                            assert_eq!(out.code(x, y)[0], out.code(left, top)[0]);
                        }
                    }
                    let mean = sum / (xs.len() * ys.len()) as f32;
                    assert!(
                        (out.code(left, top)[0] - mean).abs() <= 0.5,
                        "{format:?} {size}"
                    );
                }
            }
        }
    }
}
