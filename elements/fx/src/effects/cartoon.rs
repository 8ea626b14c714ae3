// SPDX-License-Identifier: Apache-2.0
//! Cartoon: flat areas of colour inside of dark outlines.

use super::gaussian;
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, PicturePass};
use crate::picture::{Family, Picture};
use crate::registry::Effect;
use crate::simd::kernels;
use crate::simd::lut::{Lut, RowLut};
use crate::workers::Tools;

pub const EFFECT: Effect = Effect {
    name: "cartoon",
    aliases: &[],
    nick: "Cartoon",
    blurb: "Flattens areas to a few shades and draws dark outlines around them",
    params: &[
        Param {
            name: "num-levels",
            nick: "Number of levels",
            blurb: "Shades of brightness",
            kind: Kind::Int {
                min: 2,
                max: 64,
                default: 8,
            },
        },
        Param {
            name: "smoothness",
            nick: "Smoothness",
            blurb: "Detail that is smoothed away first: a standard deviation in pixels",
            kind: Kind::Float {
                min: 0.0,
                max: 20.0,
                default: 1.6,
            },
        },
        Param {
            name: "outline",
            nick: "Outline",
            blurb: "How strong outlines are",
            kind: Kind::Float {
                min: 0.0,
                max: 10.0,
                default: 4.0,
            },
        },
    ],
    build,
};

fn build(values: &Values, build: &Build) -> Pass {
    let (black, range) = build.shape.brightness_range();
    // Shades in the middle of their steps, so that neither black nor white takes over.
    let levels = values.int("num-levels") as f32;
    let table: Lut = std::array::from_fn(|x| {
        let share = ((x as f32 - black) / range).clamp(0.0, 1.0);
        let level = (share * levels).floor().min(levels - 1.0) / (levels - 1.0);
        kernels::to_byte(black + range * level)
    });
    Pass::Picture(Box::new(Cartoon {
        sigma: values.float("smoothness") as f32,
        outline: values.float("outline") as f32 / 4.0 * (255.0 / range),
        black: black as u8,
        table: RowLut::new(&[&table]),
    }))
}

struct Cartoon {
    sigma: f32,
    /// Gain of the gradient.
    outline: f32,
    black: u8,
    table: RowLut,
}

/// Outlines weaker than this of 255 are texture and not drawn.
const TEXTURE: f32 = -40.0;

impl PicturePass for Cartoon {
    fn run(&self, picture: &mut Picture, _moment: &Moment, tools: &Tools) {
        let shape = picture.shape;
        if self.sigma >= 0.1 {
            for (component, plane) in picture.planes.iter_mut().enumerate() {
                let (ws, hs) = shape.component_shift(component);
                let sigma = [ws, hs].map(|shift| self.sigma / (1 << shift) as f32);
                gaussian::smooth(plane, sigma, tools, |row, soft| {
                    kernels::round_row(row, soft)
                });
            }
        }
        // Outlines follow brightness; green is near enough to it in RGB.
        let guide = if shape.family == Family::Rgb { 1 } else { 0 };
        let smooth = tools.padded(&picture.planes[guide], 1);
        let painted = if shape.family == Family::Rgb { 3 } else { 1 };
        for plane in &mut picture.planes[..painted] {
            tools.strips(plane, 1, |first, strip| {
                let mut ink = vec![0u8; strip.width];
                let mut gain = vec![0u16; strip.width];
                for (y, row) in strip.rows_mut().enumerate() {
                    let y = (first + y) as isize;
                    let around = [smooth.row(y - 1), smooth.row(y), smooth.row(y + 1)];
                    kernels::sobel(&mut ink, around, self.outline, TEXTURE);
                    kernels::cover(&mut gain, &ink);
                    self.table.apply(row);
                    kernels::scale(row, &gain, self.black);
                }
            });
        }
        tools.give_padded(smooth);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::Value;
    use crate::picture::PixelFormat;

    #[test]
    fn areas_are_flat_and_outlined() {
        for format in PixelFormat::ALL {
            let params = [
                ("num-levels", Value::Int(4)),
                ("smoothness", Value::Float(1.0)),
            ];
            let picture = |x: usize, y: usize| {
                let texture = ((x * 7 + y * 3) % 5) as f32 * 0.006;
                [if x < 30 { 0.35 } else { 0.85 } + texture; 3]
            };
            let out = run_picture(&EFFECT, &params, format, (60, 20), picture);
            // 0.35 is the second of four shades, 0.85 the last.
            for (x, shade) in [(5, 1.0 / 3.0), (12, 1.0 / 3.0), (45, 1.0), (55, 1.0)] {
                assert_close(out.rgb(x, 10), [shade; 3], 0.02, format);
            }
            let darkest = (26..34).map(|x| out.rgb(x, 10)[0]).fold(1.0, f32::min);
            assert!(darkest < 0.12, "{format:?} {darkest}");
        }
    }
}
