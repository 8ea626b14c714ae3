// SPDX-License-Identifier: Apache-2.0
//! Sepia: the brown of old prints.

use super::tint::tint;
use crate::deep::{self, Point};
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Pass};
use crate::picture::Colorimetry;
use crate::registry::Effect;

pub const EFFECT: Effect = Effect {
    name: "sepia",
    aliases: &[],
    nick: "Sepia",
    blurb: "Tones the picture brown like an old print",
    params: &[Param {
        name: "amount",
        nick: "Amount",
        blurb: "How brown: 0 keeps the colours, 1 leaves none",
        kind: Kind::Float {
            min: 0.0,
            max: 1.0,
            default: 1.0,
        },
    }],
    build,
    deep: Some(deep),
};

/// Row sums of the well-known sepia matrix, whose rows are one brightness scaled three ways.
const TONE: [f32; 3] = [1.351, 1.203, 0.937];

fn build(values: &Values, build: &Build) -> Pass {
    tint(build, values.float("amount"), |brightness| {
        TONE.map(|tone| brightness * tone)
    })
}

fn deep(values: &Values, color: &Colorimetry) -> Option<Point> {
    let tone = |brightness: f32| TONE.map(|tone| brightness * tone);
    Some(deep::tint(color, values.float("amount"), tone))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::Value;
    use crate::picture::{Family, PixelFormat};

    #[test]
    fn gray_turns_brown_in_every_format() {
        for format in PixelFormat::ALL {
            let out = run_flat(&EFFECT, &[], format, [0.5; 3]);
            let expected = in_format(format, TONE.map(|t| 0.5 * t));
            assert_close(out, expected, 0.015, format);
            let black = run_flat(&EFFECT, &[], format, [0.0; 3]);
            assert_close(black, [0.0; 3], 0.01, format);
        }
    }

    #[test]
    fn half_the_amount_is_half_way() {
        for format in PixelFormat::ALL {
            if format.family() == Family::Gray {
                continue;
            }
            let out = run_flat(&EFFECT, &[("amount", Value::Float(0.5))], format, [0.4; 3]);
            let expected = TONE.map(|t| 0.4 * (1.0 + t) / 2.0);
            assert_close(out, expected, 0.02, format);
        }
    }
}
