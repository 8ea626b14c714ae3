// SPDX-License-Identifier: Apache-2.0
//! Neon: outlines that glow in the picture's colours.

use super::relief::copy_brightness;
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, PicturePass};
use crate::picture::{Family, Picture, Plane};
use crate::registry::Effect;
use crate::simd::kernels;
use crate::simd::lut::RowLut;
use crate::workers::Tools;

pub const EFFECT: Effect = Effect {
    name: "neon",
    aliases: &[],
    nick: "Neon",
    blurb: "Draws outlines on black that glow in the picture's colours",
    params: &[
        Param {
            name: "gain",
            nick: "Gain",
            blurb: "How bright outlines are",
            kind: Kind::Float {
                min: 0.0,
                max: 10.0,
                default: 3.0,
            },
        },
        Param {
            name: "saturation",
            nick: "Saturation",
            blurb: "How colourful the brightest outlines are: 1 is as colourful as the picture",
            kind: Kind::Float {
                min: 0.0,
                max: 2.0,
                default: 1.8,
            },
        },
    ],
    build,
    deep: None,
};

fn build(values: &Values, build: &Build) -> Pass {
    let (black, range) = build.shape.brightness_range();
    let saturation = values.float("saturation") as f32;
    let luma = std::array::from_fn(|x| kernels::to_byte(black + range * x as f32 / 255.0));
    Pass::Picture(Box::new(Neon {
        gain: values.float("gain") as f32 / 4.0 * (255.0 / range),
        luma: RowLut::new(&[&luma]),
        strength: std::array::from_fn(|x| {
            (saturation * x as f32 / 255.0 * 32768.0)
                .round()
                .min(65535.0) as u16
        }),
    }))
}

struct Neon {
    gain: f32,
    /// From the strength of an outline to code values.
    luma: RowLut,
    /// From the strength of an outline to the gain of colour differences.
    strength: [u16; 256],
}

impl Neon {
    fn gains<'g>(&self, gain: &'g mut Vec<u16>, outline: &[u8]) -> &'g [u16] {
        gain.clear();
        gain.extend(outline.iter().map(|x| self.strength[usize::from(*x)]));
        gain
    }
}

impl PicturePass for Neon {
    fn run(&self, picture: &mut Picture, _moment: &Moment, tools: &Tools) {
        let shape = picture.shape;
        let (width, height) = (shape.width, shape.height);
        let size = width * height;
        let mut brightness = tools.take(size);
        if shape.family == Family::Rgb {
            copy_brightness(picture, &mut brightness, tools);
        } else {
            picture.planes[0].copy_to(&mut brightness[..size]);
        }
        let padded = tools.padded(&plane(&mut brightness, width, height), 1);
        let mut outlines = tools.take(size);
        tools.strips(
            &mut plane(&mut outlines, width, height),
            1,
            |first, strip| {
                for (y, row) in strip.rows_mut().enumerate() {
                    let y = (first + y) as isize;
                    let around = [padded.row(y - 1), padded.row(y), padded.row(y + 1)];
                    kernels::sobel(row, around, self.gain, 0.0);
                }
            },
        );
        let outline = |y: usize| &outlines[y * width..][..width];
        for (component, plane) in picture.planes.iter_mut().enumerate() {
            let (ws, hs) = shape.component_shift(component);
            tools.strips(plane, 1, |first, strip| {
                let mut gain = Vec::new();
                let (mut wide, mut narrow) = (vec![0; width], vec![0; strip.width]);
                for (y, row) in strip.rows_mut().enumerate() {
                    let y = first + y;
                    if shape.is_chroma(component) {
                        // The mean of the pixels that share the sample.
                        let top = y << hs;
                        wide.copy_from_slice(outline(top));
                        if hs == 1 && top + 1 < height {
                            kernels::average(&mut wide, outline(top + 1));
                        }
                        let outline = if ws == 1 {
                            kernels::halve(&wide, &mut narrow);
                            &narrow
                        } else {
                            &wide
                        };
                        kernels::scale(row, self.gains(&mut gain, outline), 128);
                    } else if shape.family == Family::Rgb {
                        let gray = &brightness[y * width..][..width];
                        let gain = self.gains(&mut gain, outline(y));
                        kernels::recolor(row, gray, outline(y), gain);
                    } else {
                        row.copy_from_slice(outline(y));
                        self.luma.apply(row);
                    }
                }
            });
        }
        tools.give(outlines);
        tools.give(brightness);
        tools.give_padded(padded);
    }
}

fn plane(memory: &mut [u8], width: usize, height: usize) -> Plane<'_> {
    Plane {
        data: &mut memory[..width * height],
        stride: width,
        width,
        height,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::Value;
    use crate::picture::PixelFormat;

    #[test]
    fn outlines_have_the_colour_and_areas_are_black() {
        for format in PixelFormat::ALL {
            let params = [
                ("gain", Value::Float(1.0)),
                ("saturation", Value::Float(1.0)),
            ];
            let red = |x: usize, _| if x < 32 { [0.1; 3] } else { [0.9, 0.3, 0.3] };
            let out = run_picture(&EFFECT, &params, format, (64, 8), red);
            assert_close(out.rgb(10, 4), [0.0; 3], 0.02, format);
            assert_close(out.rgb(50, 4), [0.0; 3], 0.02, format);
            let [r, g, b] = out.rgb(32, 4);
            if format.family() == Family::Gray {
                assert!(r > 0.3, "{format:?} {r}");
            } else {
                assert!(
                    r > g + 0.1 && (g - b).abs() < 0.02,
                    "{format:?} {r} {g} {b}"
                );
            }
        }
    }
}
