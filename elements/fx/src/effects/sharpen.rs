// SPDX-License-Identifier: Apache-2.0
//! Sharpen: an unsharp mask on brightness.

use super::gaussian;
use super::relief::{brightness_plane, copy_brightness};
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, PicturePass};
use crate::picture::{Family, Picture, Plane};
use crate::registry::Effect;
use crate::simd::kernels;
use crate::workers::Tools;

pub const EFFECT: Effect = Effect {
    name: "sharpen",
    aliases: &["unsharp"],
    nick: "Sharpen",
    blurb: "Strengthens detail: adds the difference from a blurred copy, in brightness alone",
    params: &[
        Param {
            name: "amount",
            nick: "Amount",
            blurb: "How many times the difference is added",
            kind: Kind::Float {
                min: 0.0,
                max: 10.0,
                default: 1.0,
            },
        },
        Param {
            name: "sigma",
            nick: "Standard deviation",
            blurb: "Size of the detail: the standard deviation of the blur in pixels",
            kind: Kind::Float {
                min: 0.3,
                max: 50.0,
                default: 1.2,
            },
        },
    ],
    build,
    deep: None,
};

fn build(values: &Values, _build: &Build) -> Pass {
    let amount = values.float("amount") as f32;
    if amount == 0.0 {
        return Pass::Nothing;
    }
    Pass::Picture(Box::new(Sharpen {
        amount,
        sigma: values.float("sigma") as f32,
    }))
}

struct Sharpen {
    amount: f32,
    sigma: f32,
}

impl PicturePass for Sharpen {
    fn run(&self, picture: &mut Picture, _moment: &Moment, tools: &Tools) {
        let sigma = [self.sigma; 2];
        if picture.shape.family != Family::Rgb {
            gaussian::smooth(&mut picture.planes[0], sigma, tools, |row, soft| {
                kernels::unsharp(row, soft, self.amount);
            });
            return;
        }
        // The same difference for red, green and blue keeps the hue: it is found on brightness,
        // and taken from 128 so that it fits a byte plane.
        let (width, height) = (picture.shape.width, picture.shape.height);
        let mut memory = tools.take(width * height);
        copy_brightness(picture, &mut memory, tools);
        let mut detail = Plane {
            data: &mut memory[..width * height],
            stride: width,
            width,
            height,
        };
        gaussian::smooth(&mut detail, sigma, tools, |row, soft| {
            kernels::detail(row, soft, self.amount);
        });
        {
            let detail = brightness_plane(&memory, width);
            for plane in &mut picture.planes {
                tools.strips(plane, 1, |first, strip| {
                    for (y, row) in strip.rows_mut().enumerate() {
                        kernels::add_detail(row, detail(first + y));
                    }
                });
            }
        }
        tools.give(memory);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::Value;
    use crate::picture::PixelFormat;

    #[test]
    fn edges_overshoot_and_flat_parts_stay() {
        for format in PixelFormat::ALL {
            let edge = |x: usize, _| [if x < 16 { 0.3 } else { 0.6 }; 3];
            let out = run_picture(
                &EFFECT,
                &[("amount", Value::Float(1.0))],
                format,
                (32, 8),
                edge,
            );
            let at = |x| out.rgb(x, 4)[1];
            assert!(
                at(15) < 0.22 && at(16) > 0.68,
                "{format:?} {} {}",
                at(15),
                at(16)
            );
            assert!(
                (at(4) - 0.3).abs() < 0.01 && (at(28) - 0.6).abs() < 0.01,
                "{format:?}"
            );
        }
    }

    #[test]
    fn hue_stays() {
        for format in [PixelFormat::Rgb, PixelFormat::Bgrx, PixelFormat::Y444] {
            let edge = |x: usize, _| {
                if x < 16 {
                    [0.4, 0.3, 0.3]
                } else {
                    [0.6, 0.5, 0.5]
                }
            };
            let out = run_picture(&EFFECT, &[], format, (32, 8), edge);
            for x in 0..32 {
                let [r, g, b] = out.rgb(x, 3);
                assert!(
                    (r - g - 0.1).abs() < 0.02 && (g - b).abs() < 0.02,
                    "{format:?} {x}"
                );
            }
        }
    }
}
