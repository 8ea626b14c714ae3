// SPDX-License-Identifier: Apache-2.0
//! Emboss: a relief lit from the top left.

use super::relief::from_brightness;
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, PicturePass};
use crate::picture::Picture;
use crate::registry::Effect;
use crate::simd::kernels;
use crate::workers::Tools;

pub const EFFECT: Effect = Effect {
    name: "emboss",
    aliases: &[],
    nick: "Emboss",
    blurb: "Shows brightness as a gray relief lit from the top left",
    params: &[Param {
        name: "strength",
        nick: "Strength",
        blurb: "How deep the relief is",
        kind: Kind::Float {
            min: 0.0,
            max: 10.0,
            default: 1.0,
        },
    }],
    build,
    deep: None,
};

fn build(values: &Values, build: &Build) -> Pass {
    let (black, range) = build.shape.brightness_range();
    Pass::Picture(Box::new(Emboss {
        gain: values.float("strength") as f32 / 4.0,
        centre: black + range / 2.0,
    }))
}

struct Emboss {
    gain: f32,
    centre: f32,
}

impl PicturePass for Emboss {
    fn run(&self, picture: &mut Picture, _moment: &Moment, tools: &Tools) {
        from_brightness(picture, tools, |row, around| {
            kernels::relief(row, around, self.gain, self.centre);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::picture::PixelFormat;

    #[test]
    fn sides_to_the_light_are_light() {
        for format in PixelFormat::ALL {
            // A bright block: its left side faces the light, its right side does not.
            let block = |x: usize, _| [if (10..20).contains(&x) { 0.7 } else { 0.3 }; 3];
            let out = run_picture(&EFFECT, &[], format, (30, 9), block);
            assert_close(out.rgb(3, 4), [0.5; 3], 0.02, format);
            assert_close(out.rgb(15, 4), [0.5; 3], 0.02, format);
            let (left, right) = (out.rgb(10, 4)[0], out.rgb(20, 4)[0]);
            assert!(left > 0.7 && right < 0.3, "{format:?} {left} {right}");
        }
    }
}
