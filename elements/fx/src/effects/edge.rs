// SPDX-License-Identifier: Apache-2.0
//! Edges: outlines, light on dark or dark on light.

use super::relief::from_brightness;
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, PicturePass};
use crate::picture::Picture;
use crate::registry::Effect;
use crate::simd::kernels;
use crate::simd::lut::RowLut;
use crate::workers::Tools;

pub const EFFECT: Effect = Effect {
    name: "edge",
    aliases: &["edges"],
    nick: "Edges",
    blurb: "Draws outlines: the magnitude of brightness's gradient (Sobel, within 1.3 %)",
    params: &[
        Param {
            name: "gain",
            nick: "Gain",
            blurb: "How bright outlines are",
            kind: Kind::Float {
                min: 0.0,
                max: 10.0,
                default: 2.0,
            },
        },
        Param {
            name: "invert",
            nick: "Invert",
            blurb: "Draw dark lines on white, as with a pencil",
            kind: Kind::Bool { default: false },
        },
    ],
    build,
    deep: None,
};

fn build(values: &Values, build: &Build) -> Pass {
    let (black, range) = build.shape.brightness_range();
    let invert = values.bool("invert");
    let table = std::array::from_fn(|x| {
        let strength = if invert { 255 - x } else { x } as f32 / 255.0;
        kernels::to_byte(black + range * strength)
    });
    Pass::Picture(Box::new(Edge {
        // The operator sums to four times the slope of two samples.
        gain: values.float("gain") as f32 / 4.0 * (255.0 / range),
        table: RowLut::new(&[&table]),
    }))
}

struct Edge {
    gain: f32,
    /// From strength to code values.
    table: RowLut,
}

impl PicturePass for Edge {
    fn run(&self, picture: &mut Picture, _moment: &Moment, tools: &Tools) {
        from_brightness(picture, tools, |row, around| {
            kernels::sobel(row, around, self.gain, 0.0);
            self.table.apply(row);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::Value;
    use crate::picture::PixelFormat;

    #[test]
    fn lines_are_drawn_where_brightness_changes() {
        for format in PixelFormat::ALL {
            let edge = |x: usize, _| [if x < 16 { 0.2 } else { 0.5 }; 3];
            let params = [("gain", Value::Float(1.0))];
            let out = run_picture(&EFFECT, &params, format, (32, 9), edge);
            for (x, value) in [
                (4, 0.0),
                (14, 0.0),
                (15, 0.3),
                (16, 0.3),
                (17, 0.0),
                (31, 0.0),
            ] {
                assert_close(out.rgb(x, 0), [value; 3], 0.02, format);
                assert_close(out.rgb(x, 8), [value; 3], 0.02, format);
            }
            let params = [("gain", Value::Float(10.0)), ("invert", Value::Bool(true))];
            let out = run_picture(&EFFECT, &params, format, (32, 9), edge);
            assert_close(out.rgb(4, 4), [1.0; 3], 0.02, format);
            assert_close(out.rgb(15, 4), [0.0; 3], 0.02, format);
        }
    }
}
