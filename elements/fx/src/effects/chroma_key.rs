// SPDX-License-Identifier: Apache-2.0
//! Chroma key: takes a colour away, as of a green screen.

use super::convert;
use crate::params::{Choice, Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, RowPass, RowScratch};
use crate::picture::{Band, Family, Shape};
use crate::registry::Effect;
use crate::simd::kernels;

pub const EFFECT: Effect = Effect {
    name: "chroma-key",
    aliases: &["chromakey", "green-screen"],
    nick: "Chroma key",
    blurb: "Takes a colour away, as of a green screen: makes it transparent or paints it over. \
            Gray pictures stay",
    params: &[
        Param {
            name: "color",
            nick: "Colour",
            blurb: "The colour that goes",
            kind: Kind::Color { default: 0x00ff00 },
        },
        Param {
            name: "similarity",
            nick: "Similarity",
            blurb: "Colours no further away than this go altogether; gray is about 0.5 away from \
                    pure green",
            kind: Kind::Float {
                min: 0.0,
                max: 1.0,
                default: 0.25,
            },
        },
        Param {
            name: "blend",
            nick: "Blend",
            blurb: "Colours further away by up to this go in part",
            kind: Kind::Float {
                min: 0.0,
                max: 1.0,
                default: 0.1,
            },
        },
        Param {
            name: "to",
            nick: "Replacement",
            blurb: "What takes the colour's place",
            kind: Kind::Choice {
                choices: &[
                    Choice {
                        name: "alpha",
                        blurb: "transparency; formats without alpha are painted over",
                    },
                    Choice {
                        name: "color",
                        blurb: "the background colour",
                    },
                ],
                default: 0,
            },
        },
        Param {
            name: "background",
            nick: "Background",
            blurb: "The colour that is painted instead",
            kind: Kind::Color { default: 0x000000 },
        },
    ],
    build,
    deep: None,
};

fn build(values: &Values, build: &Build) -> Pass {
    let shape = build.shape;
    if shape.family == Family::Gray {
        return Pass::Nothing;
    }
    let to_alpha = values.choice("to") == 0;
    if to_alpha && !build.alpha {
        build.note(
            "this format has no alpha, so the colour is painted over; put `videoconvert ! \
             video/x-raw,format=RGBA` before the element, or write to=color",
        );
    }
    let color = shape.color;
    let code = |name: &str| match shape.family {
        Family::Rgb => values.color(name).map(|v| v * 255.0),
        _ => color.encode(values.color(name)),
    };
    let key = color.encode(values.color("color"));
    // Chroma of RGB pixels, from the matrix that encodes them.
    let rows = convert::affine(|rgb| color.encode(rgb.map(|v| v / 255.0)));
    let range = 1.0 / color.chroma_range();
    Pass::Rows(Box::new(ChromaKey {
        shape,
        to_alpha: to_alpha && build.alpha,
        key: [key[1], key[2]],
        rows: [rows[1], rows[2]],
        scale: range / (values.float("blend") as f32).max(1.0 / 512.0),
        least: values.float("similarity") as f32 / range,
        background: code("background").map(kernels::to_byte),
    }))
}

struct ChromaKey {
    shape: Shape,
    to_alpha: bool,
    /// Code values of U and V.
    key: [f32; 2],
    /// From red, green and blue to U and V.
    rows: [[f32; 4]; 2],
    /// Distances in code values: the end of what goes, and how steeply the rest comes back.
    least: f32,
    scale: f32,
    background: [u8; 3],
}

impl RowPass for ChromaKey {
    fn wants_alpha(&self) -> bool {
        self.to_alpha
    }

    fn run(&self, band: &mut Band, _moment: &Moment, scratch: &mut RowScratch) {
        let keep = &mut scratch.gain_chroma;
        keep.resize(band.chroma[0].len(), 0);
        let [u, v] = &mut band.chroma;
        let (key, least, scale) = (self.key, self.least, self.scale);
        if self.shape.family == Family::Rgb {
            kernels::key_rgb(keep, [&*band.luma[0], u, v], &self.rows, key, least, scale);
            if self.to_alpha {
                kernels::scale(band.alpha, keep, 0);
                return;
            }
            for (row, to) in [&mut *band.luma[0], u, v].into_iter().zip(self.background) {
                kernels::scale(row, keep, to);
            }
            return;
        }
        kernels::key_yuv(keep, u, v, key, least, scale);
        kernels::scale(u, keep, self.background[1]);
        kernels::scale(v, keep, self.background[2]);
        let wide = &mut scratch.gain;
        let keep = if self.shape.ws == 1 {
            wide.resize(band.luma[0].len(), 0);
            kernels::double16(keep, wide);
            wide
        } else {
            keep
        };
        for row in &mut band.luma {
            kernels::scale(row, keep, self.background[0]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::chain::{Chain, Renderer, registry_defaults, resolve};
    use crate::params::Value;
    use crate::parse::parse;
    use crate::picture::{Colorimetry, PixelFormat, RawFrame};

    #[test]
    fn the_key_goes_and_the_rest_stays() {
        let params = [
            ("to", Value::Choice(1)),
            ("background", Value::Color(0x2040c0)),
        ];
        let background = [0x20, 0x40, 0xc0].map(|v: u8| f32::from(v) / 255.0);
        for format in PixelFormat::ALL {
            if format.family() == Family::Gray {
                continue;
            }
            for (color, expected) in [
                ([0.0, 1.0, 0.0], background),
                ([0.1, 0.85, 0.15], background),
                ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
                ([0.9, 0.6, 0.5], [0.9, 0.6, 0.5]),
                ([0.1, 0.2, 0.9], [0.1, 0.2, 0.9]),
            ] {
                let out = run_flat(&EFFECT, &params, format, color);
                assert_close(out, expected, 0.02, format);
            }
        }
    }

    #[test]
    fn alpha_is_written_where_there_is_one() {
        for (format, at) in [
            (PixelFormat::Rgba, 3),
            (PixelFormat::Argb, 0),
            (PixelFormat::Bgra, 3),
            (PixelFormat::Abgr, 0),
        ] {
            let effects = resolve(&parse("chroma-key").unwrap(), &registry_defaults());
            let color = Colorimetry::BT709;
            let chain = Chain::new(&effects, 1.0, format, 2, 1, color);
            assert_eq!(chain.notes(), [""; 0]);
            // A green pixel and a gray one; green is third in ABGR and ARGB, else second.
            let mut data = vec![0u8, 0, 0, 0, 90, 90, 90, 90];
            data[at] = 200;
            data[if format == PixelFormat::Abgr || format == PixelFormat::Argb {
                2
            } else {
                1
            }] = 255;
            let before = data.clone();
            let planes = vec![(data.as_mut_slice(), 8)];
            let frame = RawFrame::new(format, 2, 1, color, planes).unwrap();
            chain.run(frame, &Moment::default(), &mut Renderer::new(1).unwrap());
            let mut expected = before;
            expected[at] = 0;
            assert_eq!(data, expected, "{format:?}");
        }
        let effects = resolve(&parse("chroma-key").unwrap(), &registry_defaults());
        let chain = Chain::new(&effects, 1.0, PixelFormat::Nv12, 2, 2, Colorimetry::BT709);
        assert!(chain.notes()[0].contains("no alpha"), "{:?}", chain.notes());
    }

    #[test]
    fn edges_blend() {
        let params = |blend| {
            [
                ("to", Value::Choice(1)),
                ("similarity", Value::Float(0.1)),
                ("blend", Value::Float(blend)),
            ]
        };
        let half = run_flat(&EFFECT, &params(0.4), PixelFormat::Y444, [0.2, 0.7, 0.2]);
        assert!((0.05..0.6).contains(&half[1]), "{half:?}");
    }
}
