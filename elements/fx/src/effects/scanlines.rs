// SPDX-License-Identifier: Apache-2.0
//! Scan lines of an old screen.

use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, RowPass, RowScratch};
use crate::picture::Band;
use crate::registry::Effect;
use crate::simd::kernels::to_byte;
use crate::simd::lut::{IDENTITY, Lut, RowLut};

pub const EFFECT: Effect = Effect {
    name: "scanlines",
    aliases: &[],
    nick: "Scan lines",
    blurb: "Darkens rows at regular distances, as on a cathode-ray tube",
    params: &[
        Param {
            name: "spacing",
            nick: "Spacing",
            blurb: "Rows from one line to the next",
            kind: Kind::Int {
                min: 2,
                max: 256,
                default: 4,
            },
        },
        Param {
            name: "thickness",
            nick: "Thickness",
            blurb: "Rows that a line is thick; no more than the spacing counts",
            kind: Kind::Int {
                min: 1,
                max: 256,
                default: 2,
            },
        },
        Param {
            name: "strength",
            nick: "Strength",
            blurb: "How dark the lines are: 1 is black",
            kind: Kind::Float {
                min: 0.0,
                max: 1.0,
                default: 0.4,
            },
        },
    ],
    build,
    deep: None,
};

fn build(values: &Values, build: &Build) -> Pass {
    let strength = values.float("strength") as f32;
    if strength == 0.0 {
        return Pass::Nothing;
    }
    let spacing = values.int("spacing") as usize;
    let (black, _) = build.shape.brightness_range();
    let pull = |centre: f32, strength: f32| -> Lut {
        std::array::from_fn(|x| to_byte(centre + (x as f32 - centre) * (1.0 - strength)))
    };
    Pass::Rows(Box::new(Scanlines {
        spacing,
        thickness: spacing.min(values.int("thickness") as usize),
        chroma: build.shape.is_chroma(1),
        dark: RowLut::new(&[&pull(black, strength)]),
        faded: [
            RowLut::new(&[&IDENTITY]),
            RowLut::new(&[&pull(128.0, strength / 2.0)]),
            RowLut::new(&[&pull(128.0, strength)]),
        ],
    }))
}

struct Scanlines {
    spacing: usize,
    thickness: usize,
    /// The other components are U and V (else green and blue, or nothing).
    chroma: bool,
    dark: RowLut,
    /// For chroma rows of which none, half or all pixels are dark.
    faded: [RowLut; 3],
}

impl RowPass for Scanlines {
    fn run(&self, band: &mut Band, _moment: &Moment, _scratch: &mut RowScratch) {
        let (mut dark, mut rows) = (0, 0);
        for (index, row) in band.luma.iter_mut().enumerate() {
            if !row.is_empty() {
                rows += 1;
                // The first row of a picture is light: lines end a period.
                if (band.y + index) % self.spacing >= self.spacing - self.thickness {
                    dark += 1;
                    self.dark.apply(row);
                }
            }
        }
        let table = if !self.chroma {
            if dark == 0 {
                return;
            }
            &self.dark
        } else {
            &self.faded[if dark == rows { 2 } else { dark }]
        };
        for row in &mut band.chroma {
            table.apply(row);
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
    fn lines_are_where_they_should_be() {
        let params = [
            ("spacing", Value::Int(4)),
            ("thickness", Value::Int(2)),
            ("strength", Value::Float(0.5)),
        ];
        for format in PixelFormat::ALL {
            let color = in_format(format, [0.8, 0.5, 0.3]);
            let out = run_picture(&EFFECT, &params, format, (9, 11), |_, _| color);
            for y in 0..11 {
                let gain = if y % 4 >= 2 { 0.5 } else { 1.0 };
                assert_close(out.rgb(4, y), color.map(|v| v * gain), 0.02, format);
            }
        }
    }
}
