// SPDX-License-Identifier: Apache-2.0
//! Gaussian blur.

use super::gaussian;
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, PicturePass};
use crate::picture::Picture;
use crate::registry::Effect;
use crate::simd::kernels;
use crate::workers::Tools;

pub const EFFECT: Effect = Effect {
    name: "blur",
    aliases: &["gaussian-blur"],
    nick: "Gaussian blur",
    blurb: "Softens the picture",
    params: &[Param {
        name: "sigma",
        nick: "Standard deviation",
        blurb: "How soft: the standard deviation of the Gaussian in pixels",
        kind: Kind::Float {
            min: 0.0,
            max: 200.0,
            default: 3.0,
        },
    }],
    build,
    deep: None,
};

/// A Gaussian narrower than this changes no byte.
const LEAST: f32 = 0.1;

fn build(values: &Values, _build: &Build) -> Pass {
    let sigma = values.float("sigma") as f32;
    if sigma < LEAST {
        return Pass::Nothing;
    }
    Pass::Picture(Box::new(Blur { sigma }))
}

struct Blur {
    sigma: f32,
}

impl PicturePass for Blur {
    fn run(&self, picture: &mut Picture, _moment: &Moment, tools: &Tools) {
        let shape = picture.shape;
        for (component, plane) in picture.planes.iter_mut().enumerate() {
            let (ws, hs) = shape.component_shift(component);
            let sigma = [ws, hs].map(|shift| self.sigma / (1 << shift) as f32);
            gaussian::smooth(plane, sigma, tools, |row, soft| {
                kernels::round_row(row, soft)
            });
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
    fn an_edge_becomes_a_ramp_in_every_format() {
        for format in PixelFormat::ALL {
            let edge = |x: usize, _| [if x < 32 { 0.0 } else { 1.0 }; 3];
            for sigma in [2.0, 5.0] {
                let params = [("sigma", Value::Float(sigma))];
                let out = run_picture(&EFFECT, &params, format, (64, 12), edge);
                let row: Vec<f32> = (0..64).map(|x| out.rgb(x, 5)[1]).collect();
                assert!(
                    row.windows(2).all(|w| w[0] <= w[1] + 0.005),
                    "{format:?} {row:?}"
                );
                assert!(row[2] < 0.01 && row[61] > 0.99, "{format:?}");
                // One sigma from the edge, the normal distribution says 84 %.
                let there = row[31 + sigma as usize].midpoint(row[32 + sigma as usize]);
                assert!((there - 0.841).abs() < 0.03, "{format:?} {sigma} {there}");
            }
        }
    }
}
