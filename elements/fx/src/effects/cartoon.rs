// SPDX-License-Identifier: Apache-2.0
//! Cartoon: flat areas of colour inside of dark outlines.

use super::gaussian;
use super::relief::copy_brightness;
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, PicturePass};
use crate::picture::{Family, Picture};
use crate::registry::Effect;
use crate::simd::kernels;
use crate::simd::lut::RowLut;
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
    deep: None,
};

fn build(values: &Values, build: &Build) -> Pass {
    let (black, range) = build.shape.brightness_range();
    // A shade stands in the middle of what it replaces, so that pictures keep their brightness.
    let levels = values.int("num-levels") as f32;
    let shade = |x: usize| {
        let share = ((x as f32 - black) / range).clamp(0.0, 1.0);
        let level = ((share * levels).floor().min(levels - 1.0) + 0.5) / levels;
        black + range * level
    };
    let offset = std::array::from_fn(|x| kernels::to_byte(128.0 + shade(x) - x as f32));
    Pass::Picture(Box::new(Cartoon {
        sigma: values.float("smoothness") as f32,
        outline: values.float("outline") as f32 / 4.0 * (255.0 / range),
        black: black as u8,
        offset: RowLut::new(&[&offset]),
    }))
}

struct Cartoon {
    sigma: f32,
    /// Gain of the gradient.
    outline: f32,
    black: u8,
    /// From brightness to what its shade differs by, plus 128.
    offset: RowLut,
}

/// Outlines weaker than this of 255 are texture and not drawn.
const TEXTURE: f32 = -25.0;

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
        // Outlines are where any component changes, so that colours of one brightness part too.
        let smooth: Vec<_> = picture
            .planes
            .iter()
            .map(|plane| tools.padded(plane, 1))
            .collect();
        let (width, height) = (shape.width, shape.height);
        let mut memory = tools.take(width * height);
        if shape.family == Family::Rgb {
            copy_brightness(picture, &mut memory, tools);
        } else {
            picture.planes[0].copy_to(&mut memory[..width * height]);
        }
        let painted = if shape.family == Family::Rgb { 3 } else { 1 };
        for plane in &mut picture.planes[..painted] {
            tools.strips(plane, 1, |first, strip| {
                let (mut ink, mut one) = (vec![0u8; width], vec![0u8; width]);
                let mut narrow = vec![0u8; shape.chroma_width()];
                let mut gain = vec![0u16; width];
                for (y, row) in strip.rows_mut().enumerate() {
                    let y = first + y;
                    ink.fill(0);
                    for (component, smooth) in smooth.iter().enumerate() {
                        let (ws, hs) = shape.component_shift(component);
                        let at = (y >> hs) as isize;
                        let around = [smooth.row(at - 1), smooth.row(at), smooth.row(at + 1)];
                        if ws == 0 {
                            kernels::sobel(&mut one, around, self.outline, TEXTURE);
                        } else {
                            kernels::sobel(&mut narrow, around, self.outline, TEXTURE);
                            kernels::double(&narrow, &mut one);
                        }
                        kernels::maximum(&mut ink, &one);
                    }
                    kernels::cover(&mut gain, &ink);
                    one.copy_from_slice(&memory[y * width..][..width]);
                    self.offset.apply(&mut one);
                    kernels::add_offset(row, &one);
                    kernels::scale(row, &gain, self.black);
                }
            });
        }
        tools.give(memory);
        for padded in smooth {
            tools.give_padded(padded);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::Value;
    use crate::picture::PixelFormat;

    /// Red and green of one brightness must be parted by a line, too.
    #[test]
    fn colours_of_one_brightness_are_outlined() {
        for format in PixelFormat::ALL {
            if format.family() == Family::Gray {
                continue;
            }
            let picture = |x: usize, _| {
                if x < 30 {
                    [0.9, 0.2, 0.3]
                } else {
                    [0.2, 0.56, 0.3]
                }
            };
            let out = run_picture(&EFFECT, &[], format, (60, 20), picture);
            let darkest = (26..34).map(|x| out.code(x, 10)[0]).fold(255.0, f32::min);
            let around = out.code(10, 10)[0].min(out.code(50, 10)[0]);
            assert!(darkest < 0.7 * around, "{format:?} {darkest} {around}");
        }
    }

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
            // The second of four shades, and the last.
            for (x, shade) in [(5, 0.375), (12, 0.375), (45, 0.875), (55, 0.875)] {
                assert_close(out.rgb(x, 10), [shade; 3], 0.02, format);
            }
            let darkest = (26..34).map(|x| out.rgb(x, 10)[0]).fold(1.0, f32::min);
            assert!(darkest < 0.12, "{format:?} {darkest}");
        }
    }
}
