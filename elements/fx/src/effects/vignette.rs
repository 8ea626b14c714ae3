// SPDX-License-Identifier: Apache-2.0
//! Vignette: corners fade to black.

use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, RowPass, RowScratch};
use crate::picture::{Band, Shape};
use crate::registry::Effect;
use crate::simd::kernels;

pub const EFFECT: Effect = Effect {
    name: "vignette",
    aliases: &[],
    nick: "Vignette",
    blurb: "Darkens the picture towards its corners",
    params: &[
        Param {
            name: "amount",
            nick: "Amount",
            blurb: "How dark it gets: 1 is black",
            kind: Kind::Float {
                min: 0.0,
                max: 1.0,
                default: 0.6,
            },
        },
        Param {
            name: "radius",
            nick: "Radius",
            blurb: "Where it begins, as a share of the way from the centre to a corner",
            kind: Kind::Float {
                min: 0.0,
                max: 1.0,
                default: 0.35,
            },
        },
        Param {
            name: "softness",
            nick: "Softness",
            blurb: "How far from there it is darkest, as a share of the same way",
            kind: Kind::Float {
                min: 0.01,
                max: 1.0,
                default: 0.65,
            },
        },
    ],
    build,
    deep: None,
};

fn build(values: &Values, build: &Build) -> Pass {
    let amount = values.float("amount") as f32;
    if amount == 0.0 {
        return Pass::Nothing;
    }
    let inner = values.float("radius") as f32;
    let outer = inner + values.float("softness") as f32;
    let (width, height) = (build.shape.width as f32, build.shape.height as f32);
    Pass::Rows(Box::new(Vignette {
        shape: build.shape,
        black: build.shape.brightness_range().0 as u8,
        amount,
        inner: inner * inner,
        slope: 1.0 / (outer * outer - inner * inner),
        scale: 2.0 / width.hypot(height),
    }))
}

struct Vignette {
    shape: Shape,
    black: u8,
    amount: f32,
    /// Squared distance at which darkening begins, in half diagonals.
    inner: f32,
    slope: f32,
    /// Half diagonals in a pixel.
    scale: f32,
}

impl Vignette {
    /// Gains of `samples` samples of a row, each `1 << ws` pixels wide; the row's centre is at
    /// `y` pixels.
    fn gains<'s>(&self, gain: &'s mut Vec<u16>, samples: usize, ws: u32, y: f32) -> &'s [u16] {
        gain.resize(samples, 0);
        let step = (1 << ws) as f32;
        let first = (step / 2.0 - self.shape.width as f32 / 2.0) * self.scale;
        let y = (y - self.shape.height as f32 / 2.0) * self.scale;
        kernels::falloff(
            gain,
            first,
            step * self.scale,
            y * y,
            self.inner,
            self.slope,
            self.amount,
        );
        gain
    }
}

impl RowPass for Vignette {
    fn run(&self, band: &mut Band, _moment: &Moment, scratch: &mut RowScratch) {
        let y = band.y as f32;
        let rows = if band.luma[1].is_empty() { 1.0 } else { 2.0 };
        if self.shape.is_chroma(1) {
            let samples = band.chroma[0].len();
            let gain = &mut scratch.gain_chroma;
            let gain = self.gains(gain, samples, self.shape.ws, y + rows / 2.0);
            for row in &mut band.chroma {
                kernels::scale(row, gain, 128);
            }
        }
        for (index, row) in band.luma.iter_mut().enumerate() {
            if !row.is_empty() {
                let middle = y + index as f32 + 0.5;
                let gain = self.gains(&mut scratch.gain, row.len(), 0, middle);
                kernels::scale(row, gain, self.black);
                if !self.shape.is_chroma(1) {
                    // Green and blue, or nothing.
                    for row in &mut band.chroma {
                        kernels::scale(row, gain, self.black);
                    }
                }
            }
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
    fn the_centre_stays_and_the_corners_go() {
        let params = [("amount", Value::Float(1.0))];
        for format in PixelFormat::ALL {
            let color = in_format(format, [0.8, 0.5, 0.3]);
            let out = run_picture(&EFFECT, &params, format, (64, 48), |_, _| color);
            assert_close(out.rgb(32, 24), color, 0.02, format);
            for (x, y) in [(0, 0), (63, 0), (0, 47), (63, 47)] {
                assert_close(out.rgb(x, y), [0.0; 3], 0.05, format);
            }
            // Half way it is between.
            let between = out.rgb(8, 6)[0];
            assert!(between > 0.05 && between < 0.6, "{format:?} {between}");
        }
    }

    #[test]
    fn it_is_symmetric() {
        let out = run_picture(&EFFECT, &[], PixelFormat::Gray8, (33, 17), |_, _| [0.9; 3]);
        for y in 0..17 {
            for x in 0..33 {
                assert_eq!(out.rgb(x, y), out.rgb(32 - x, y));
                assert_eq!(out.rgb(x, y), out.rgb(x, 16 - y));
            }
        }
    }
}
