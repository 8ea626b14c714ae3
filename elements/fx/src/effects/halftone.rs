// SPDX-License-Identifier: Apache-2.0
//! Halftone: the dots of newspapers.

use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, RowPass, RowScratch};
use crate::picture::{Band, Family, Shape, fit};
use crate::registry::Effect;
use crate::simd::kernels;

pub const EFFECT: Effect = Effect {
    name: "halftone",
    aliases: &[],
    nick: "Halftone",
    blurb: "Prints brightness as black dots on a screen turned by 45°. Follow it with duotone for \
            coloured ink",
    params: &[
        Param {
            name: "size",
            nick: "Size",
            blurb: "Distance of dots in pixels",
            kind: Kind::Float {
                min: 2.0,
                max: 200.0,
                default: 8.0,
            },
        },
        Param {
            name: "hardness",
            nick: "Hardness",
            blurb: "How sharp the dots' edges are",
            kind: Kind::Float {
                min: 1.0,
                max: 50.0,
                default: 5.0,
            },
        },
    ],
    build,
    deep: None,
};

fn build(values: &Values, build: &Build) -> Pass {
    // cos x · cos y is the sum of two waves at right angles, 45° off the axes; dots of one kind are
    // 2π / √2 apart.
    let step = std::f64::consts::TAU / (values.float("size") * std::f64::consts::SQRT_2);
    let wave = |i: usize| ((i as f64 + 0.5) * step).cos() as f32;
    let color = build.shape.color;
    let red = (color.kr * 65536.0).round() as u32;
    let blue = (color.kb * 65536.0).round() as u32;
    Pass::Rows(Box::new(Halftone {
        shape: build.shape,
        across: (0..build.shape.width).map(wave).collect(),
        step,
        hardness: values.float("hardness") as f32,
        weights: [red, 65536 - red - blue, blue],
    }))
}

struct Halftone {
    shape: Shape,
    /// The wave along a row.
    across: Vec<f32>,
    /// Angle of a pixel.
    step: f64,
    hardness: f32,
    weights: [u32; 3],
}

impl RowPass for Halftone {
    fn run(&self, band: &mut Band, _moment: &Moment, scratch: &mut RowScratch) {
        let (black, range) = self.shape.brightness_range();
        let screen = |row: &mut [u8], y: usize| {
            let down = ((y as f64 + 0.5) * self.step).cos() as f32;
            kernels::screen(row, &self.across, down, self.hardness, black, range);
        };
        if self.shape.family == Family::Rgb {
            let [red, _] = &mut band.luma;
            let [green, blue] = &mut band.chroma;
            let gray = fit(&mut scratch.bytes[0], red.len());
            kernels::weigh(gray, [red, green, blue], self.weights);
            screen(gray, band.y);
            for row in [red, green, blue] {
                row.copy_from_slice(gray);
            }
            return;
        }
        for (index, row) in band.luma.iter_mut().enumerate() {
            if !row.is_empty() {
                screen(row, band.y + index);
            }
        }
        for row in &mut band.chroma {
            row.fill(128);
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
    fn darker_gray_takes_more_ink() {
        for format in PixelFormat::ALL {
            let params = [
                ("size", Value::Float(8.0)),
                ("hardness", Value::Float(20.0)),
            ];
            let ink = |gray: f32| -> f32 {
                let out = run_picture(&EFFECT, &params, format, (64, 64), |_, _| [gray; 3]);
                let sum: f32 = (0..64 * 64).map(|i| out.rgb(i % 64, i / 64)[0]).sum();
                1.0 - sum / 4096.0
            };
            let [black, dark, middle, light, white] = [0.0, 0.25, 0.5, 0.75, 1.0].map(ink);
            assert!(black > 0.97 && white < 0.03, "{format:?} {black} {white}");
            assert!(dark > middle + 0.1 && middle > light + 0.1, "{format:?}");
            assert!((middle - 0.5).abs() < 0.05, "{format:?} {middle}");
        }
    }

    #[test]
    fn the_result_has_no_colour() {
        for format in PixelFormat::ALL {
            let out = run_picture(&EFFECT, &[], format, (32, 32), |_, _| [0.8, 0.4, 0.1]);
            for (x, y) in [(3, 4), (9, 17), (30, 2)] {
                let [r, g, b] = out.rgb(x, y);
                assert!((r - g).abs() < 0.01 && (g - b).abs() < 0.01, "{format:?}");
            }
        }
    }
}
