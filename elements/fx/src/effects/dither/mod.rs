// SPDX-License-Identifier: Apache-2.0
//! Dither: few levels, and a pattern that stands for those between.

mod blue_noise;
mod diffusion;

use super::convert::{ColorOp, via_rgb};
use crate::params::{Choice, Kind, Param, Values};
use crate::pass::{Build, Moment, Pass};
use crate::registry::Effect;
use crate::simd::kernels;
use crate::simd::lut::RowLut;

pub const EFFECT: Effect = Effect {
    name: "dither",
    aliases: &["bayer"],
    nick: "Dither",
    blurb: "Leaves few levels of red, green and blue, and mixes them so that the eye sees those \
            between",
    params: &[
        Param {
            name: "method",
            nick: "Method",
            blurb: "How levels are mixed",
            kind: Kind::Choice {
                choices: &[
                    Choice {
                        name: "bayer",
                        blurb: "an 8 × 8 Bayer pattern",
                    },
                    Choice {
                        name: "blue-noise",
                        blurb: "a 64 × 64 pattern without structure that the eye could find",
                    },
                    Choice {
                        name: "floyd-steinberg",
                        blurb: "errors go on to the pixels around; finest, and the slowest, as \
                                rows wait for each other",
                    },
                ],
                default: 0,
            },
        },
        Param {
            name: "num-levels",
            nick: "Number of levels",
            blurb: "Levels that are left of each component's 256",
            kind: Kind::Int {
                min: 2,
                max: 64,
                default: 3,
            },
        },
        Param {
            name: "size",
            nick: "Size",
            blurb: "Width and height in pixels of a point of the pattern; not of floyd-steinberg",
            kind: Kind::Int {
                min: 1,
                max: 16,
                default: 1,
            },
        },
    ],
    build,
    deep: None,
};

fn build(values: &Values, build: &Build) -> Pass {
    let levels = values.int("num-levels");
    let size = values.int("size") as usize;
    let step = 255.0 / f64::from(levels - 1);
    let table = std::array::from_fn(|x| ((x as f64 / step).round() * step).round() as u8);
    let side = match values.choice("method") {
        2 => return via_rgb(build, diffusion::Diffusion::new(table)),
        1 => blue_noise::SIDE,
        _ => 8,
    };
    // Of 0 to 1, the middle of the cell.
    let place = |x: usize, y: usize| match side {
        8 => (f64::from(bayer(x, y)) + 0.5) / 64.0,
        _ => (f64::from(blue_noise::PATTERN[y * side + x % side]) + 0.5) / 256.0,
    };
    // The pattern's rows, as long as the picture is wide, so that adding one is a plain loop.
    let rows = (0..side)
        .map(|y| {
            (0..build.shape.width)
                .map(|x| ((place(x / size, y) - 0.5) * step).round() as i16)
                .collect()
        })
        .collect();
    via_rgb(
        build,
        Dither {
            rows,
            size,
            table: RowLut::new(&[&table]),
        },
    )
}

/// The 8 × 8 Bayer matrix: bits of x ^ y and y, reversed and interleaved.
fn bayer(x: usize, y: usize) -> u8 {
    (0..3).fold(0, |value, bit| {
        let (x, y) = ((x >> bit) & 1, (y >> bit) & 1);
        value << 2 | ((x ^ y) << 1 | y) as u8
    })
}

struct Dither {
    rows: Vec<Vec<i16>>,
    size: usize,
    table: RowLut,
}

impl ColorOp for Dither {
    fn apply(&self, rows: [&mut [u8]; 3], y: usize, _moment: &Moment) {
        let bias = &self.rows[y / self.size % self.rows.len()];
        for row in rows {
            kernels::add_bias(row, bias);
            self.table.apply(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::Value;
    use crate::picture::PixelFormat;

    #[test]
    fn the_pattern_holds_every_value_once() {
        let mut seen = [false; 64];
        for y in 0..8 {
            for x in 0..8 {
                assert!(!std::mem::replace(
                    &mut seen[usize::from(bayer(x, y))],
                    true
                ));
            }
        }
        assert_eq!(
            [bayer(0, 0), bayer(1, 0), bayer(0, 1), bayer(1, 1)],
            [0, 32, 48, 16]
        );
    }

    #[test]
    fn levels_are_few_and_the_mean_stays() {
        for format in [
            PixelFormat::Rgb,
            PixelFormat::Bgra,
            PixelFormat::Y444,
            PixelFormat::Gray8,
        ] {
            for (gray, method) in [0.1f32, 0.37, 0.5, 0.83]
                .into_iter()
                .flat_map(|gray| [0, 1, 2].map(|method| (gray, method)))
            {
                let params = [
                    ("num-levels", Value::Int(2)),
                    ("method", Value::Choice(method)),
                ];
                let out = run_picture(&EFFECT, &params, format, (64, 64), |_, _| [gray; 3]);
                let mut sum = 0.0;
                for y in 0..64 {
                    for x in 0..64 {
                        let value = out.rgb(x, y)[1];
                        assert!(!(0.01..0.99).contains(&value), "{format:?} {value}");
                        sum += value;
                    }
                }
                let mean = sum / 4096.0;
                assert!(
                    (mean - gray).abs() < 0.02,
                    "{format:?} {gray} {method}: {mean}"
                );
            }
        }
    }
}
