// SPDX-License-Identifier: Apache-2.0
//! Duotone: dark parts in one colour, light parts in another.

use super::tint::tint;
use crate::deep::{self, Point};
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Pass};
use crate::picture::Colorimetry;
use crate::registry::Effect;

pub const EFFECT: Effect = Effect {
    name: "duotone",
    aliases: &[],
    nick: "Duotone",
    blurb: "Paints the picture with two colours, one for dark and one for light",
    params: &[
        Param {
            name: "dark",
            nick: "Dark colour",
            blurb: "Colour of black",
            kind: Kind::Color { default: 0x1b1464 },
        },
        Param {
            name: "light",
            nick: "Light colour",
            blurb: "Colour of white",
            kind: Kind::Color { default: 0xffd166 },
        },
        Param {
            name: "amount",
            nick: "Amount",
            blurb: "How much of the two colours: 0 keeps the picture's own",
            kind: Kind::Float {
                min: 0.0,
                max: 1.0,
                default: 1.0,
            },
        },
    ],
    build,
    deep: Some(deep),
};

fn build(values: &Values, build: &Build) -> Pass {
    let (dark, light) = (values.color("dark"), values.color("light"));
    tint(build, values.float("amount"), |brightness| {
        std::array::from_fn(|i| dark[i] + (light[i] - dark[i]) * brightness)
    })
}

fn deep(values: &Values, color: &Colorimetry) -> Option<Point> {
    let (dark, light) = (values.color("dark"), values.color("light"));
    let between =
        |brightness: f32| std::array::from_fn(|i| dark[i] + (light[i] - dark[i]) * brightness);
    Some(deep::tint(color, values.float("amount"), between))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::Value;
    use crate::picture::PixelFormat;

    #[test]
    fn black_and_white_get_the_two_colours() {
        let params = [
            ("dark", Value::Color(0x003366)),
            ("light", Value::Color(0xffcc99)),
        ];
        for format in PixelFormat::ALL {
            for (gray, color) in [(0.0, [0.0, 0.2, 0.4]), (1.0, [1.0, 0.8, 0.6])] {
                let out = run_flat(&EFFECT, &params, format, [gray; 3]);
                assert_close(out, in_format(format, color), 0.015, format);
            }
        }
    }
}
