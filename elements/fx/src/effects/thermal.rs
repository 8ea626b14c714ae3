// SPDX-License-Identifier: Apache-2.0
//! Colour maps: brightness as heat.

use super::tint::{through, tint};
use crate::deep::{self, Point};
use crate::params::{Choice, Kind, Param, Values};
use crate::pass::{Build, Pass};
use crate::picture::Colorimetry;
use crate::registry::Effect;

pub const EFFECT: Effect = Effect {
    name: "thermal",
    aliases: &["colormap"],
    nick: "Thermal",
    blurb: "Paints brightness with a colour map, as a thermal camera does",
    params: &[
        Param {
            name: "map",
            nick: "Colour map",
            blurb: "The colours from dark to light",
            kind: Kind::Choice {
                choices: &[
                    Choice {
                        name: "ironbow",
                        blurb: "black, violet, red, orange, yellow, white",
                    },
                    Choice {
                        name: "inferno",
                        blurb: "black, violet, orange, pale yellow; evenly perceived",
                    },
                    Choice {
                        name: "viridis",
                        blurb: "violet, teal, green, yellow; evenly perceived",
                    },
                    Choice {
                        name: "turbo",
                        blurb: "the rainbow from blue to red",
                    },
                    Choice {
                        name: "night",
                        blurb: "the green of image intensifiers",
                    },
                ],
                default: 0,
            },
        },
        Param {
            name: "amount",
            nick: "Amount",
            blurb: "How much of the map: 0 keeps the picture's own colours",
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

/// Evenly spaced colours of each map, in the order of the choices.
const MAPS: [&[u32]; 5] = [
    &[
        0x000014, 0x1b0061, 0x4b0090, 0x7d0099, 0xa80a8f, 0xc92a6a, 0xe04c2f, 0xef6c0a, 0xf98d00,
        0xfeae08, 0xffcb1f, 0xffe34f, 0xfff38f, 0xfffbd0, 0xffffff,
    ],
    &[
        0x000004, 0x0b0724, 0x210c4a, 0x3d0965, 0x57106e, 0x71196e, 0x8a226a, 0xa32c61, 0xbc3754,
        0xd04545, 0xe35933, 0xf1711f, 0xf98c0a, 0xfcaa0f, 0xf9c932, 0xf2e865, 0xfcffa4,
    ],
    &[
        0x440154, 0x48186a, 0x472d7b, 0x424086, 0x3b528b, 0x33638d, 0x2c728e, 0x26828e, 0x21918c,
        0x1f9f88, 0x27ad81, 0x3dbc74, 0x5cc863, 0x81d34d, 0xaadc32, 0xd5e21a, 0xfde725,
    ],
    &[
        0x30123b, 0x4040a2, 0x466be3, 0x4294ff, 0x28bceb, 0x18ddc2, 0x32f298, 0x6dfe62, 0xa4fc3c,
        0xcbed34, 0xecd13a, 0xfdae35, 0xfb8122, 0xec530f, 0xd23105, 0xac1701, 0x7a0403,
    ],
    &[
        0x000800, 0x003008, 0x006414, 0x18a028, 0x50dc50, 0xa0ff8c, 0xe8ffd8,
    ],
];

fn build(values: &Values, build: &Build) -> Pass {
    let map = MAPS[values.choice("map")];
    tint(build, values.float("amount"), |brightness| {
        through(map, brightness)
    })
}

fn deep(values: &Values, color: &Colorimetry) -> Option<Point> {
    let map = MAPS[values.choice("map")];
    Some(deep::tint(color, values.float("amount"), |at| {
        through(map, at)
    }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::{Value, rgb};
    use crate::picture::PixelFormat;

    #[test]
    fn every_map_has_its_ends_in_every_format() {
        let Kind::Choice { choices, .. } = EFFECT.params[0].kind else {
            unreachable!()
        };
        assert_eq!(choices.len(), MAPS.len());
        for (index, map) in MAPS.iter().enumerate() {
            for format in PixelFormat::ALL {
                let params = [("map", Value::Choice(index))];
                for (gray, color) in [(0.0, map[0]), (1.0, map[map.len() - 1])] {
                    let out = run_flat(&EFFECT, &params, format, [gray; 3]);
                    assert_close(out, in_format(format, rgb(color)), 0.02, format);
                }
            }
        }
    }

    /// A map whose brightness turns back would show two temperatures as one. (The rainbow does by
    /// its nature.)
    #[test]
    fn brightness_grows_along_the_maps() {
        for (index, map) in MAPS.iter().enumerate().filter(|(index, _)| *index != 3) {
            let brightness = |color: &u32| {
                let [r, g, b] = rgb(*color);
                0.2126 * r + 0.7152 * g + 0.0722 * b
            };
            for pair in map.windows(2) {
                assert!(
                    brightness(&pair[0]) < brightness(&pair[1]),
                    "map {index} {pair:06x?}"
                );
            }
        }
    }
}
