// SPDX-License-Identifier: Apache-2.0
//! Glitch: slices of the picture jump sideways and lose their colours' register.

use super::convert::{ColorOp, via_rgb};
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, RowPass, RowScratch, hash, unit};
use crate::picture::{Band, Family, Shape};
use crate::registry::Effect;

pub const EFFECT: Effect = Effect {
    name: "glitch",
    aliases: &[],
    nick: "Glitch",
    blurb: "Tears the picture into slices that jump sideways, anew several times a second. \
            Time and the seed decide where, so a run repeats",
    params: &[
        Param {
            name: "amount",
            nick: "Amount",
            blurb: "How many slices jump and how far",
            kind: Kind::Float {
                min: 0.0,
                max: 1.0,
                default: 0.5,
            },
        },
        Param {
            name: "rate",
            nick: "Rate",
            blurb: "Times a second that slices change; 0 never",
            kind: Kind::Float {
                min: 0.0,
                max: 60.0,
                default: 8.0,
            },
        },
    ],
    build,
    deep: None,
};

fn build(values: &Values, build: &Build) -> Pass {
    let amount = values.float("amount");
    if amount == 0.0 {
        return Pass::Nothing;
    }
    let slices = Slices {
        shape: build.shape,
        salt: build.salt,
        amount,
        rate: values.float("rate"),
    };
    let apart = match via_rgb(build, Apart(slices)) {
        Pass::Rows(pass) => pass,
        _ => unreachable!("an effect on rows of red, green and blue is one on rows"),
    };
    Pass::Rows(Box::new(Glitch { slices, apart }))
}

/// Moves slices. Where colours part too, red, green and blue are needed, which costs more.
struct Glitch {
    slices: Slices,
    apart: Box<dyn RowPass>,
}

impl RowPass for Glitch {
    fn run(&self, band: &mut Band, moment: &Moment, scratch: &mut RowScratch) {
        let Jump { all, apart } = self.slices.jump(band.y, moment);
        if apart != 0 && self.slices.shape.family != Family::Gray {
            self.apart.run(band, moment, scratch);
            return;
        }
        for row in &mut band.luma {
            turn(row, all);
        }
        for row in &mut band.chroma {
            turn(row, all >> self.slices.shape.ws);
        }
    }
}

struct Apart(Slices);

impl ColorOp for Apart {
    fn apply(&self, [red, green, blue]: [&mut [u8]; 3], y: usize, moment: &Moment) {
        let Jump { all, apart } = self.0.jump(y, moment);
        turn(red, all + apart);
        turn(green, all);
        turn(blue, all - apart);
    }
}

#[derive(Clone, Copy)]
struct Slices {
    shape: Shape,
    salt: u64,
    amount: f64,
    rate: f64,
}

/// How far the components of a row jump, in pixels to the right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Jump {
    all: isize,
    /// Further for red, the other way for blue.
    apart: isize,
}

impl Slices {
    /// Rows are taken in pairs, as chroma often has one row for two.
    fn jump(&self, y: usize, moment: &Moment) -> Jump {
        let step = moment.step(self.rate);
        let random =
            |kind: u64, place: u64| unit(hash(&[moment.seed, self.salt, step, kind, place]));
        let (width, pair) = (self.shape.width as f64, y / 2);
        let slice = |parts: usize| (pair * 2 / (self.shape.height / parts).max(2)) as u64;
        let mut jump = 0.0;
        let mut apart = 0.0;
        // Now and then the whole picture is out of register.
        if random(0, 0) < 0.4 * self.amount {
            apart += (random(1, 0) - 0.5) * 0.03 * width;
        }
        // Broad slices jump far, and their colours part.
        let broad = slice(14);
        if random(2, broad) < 0.35 * self.amount {
            jump += (random(3, broad) - 0.5) * 0.3 * self.amount * width;
            apart += (random(4, broad) - 0.5) * 0.06 * width;
        }
        // Thin ones jitter.
        let thin = slice(70);
        if random(5, thin) < 0.25 * self.amount {
            jump += (random(6, thin) - 0.5) * 0.08 * width;
        }
        // Whole samples of subsampled chroma.
        let even = |v: f64| (v / 2.0).round() as isize * 2;
        Jump {
            all: even(jump),
            apart: even(apart),
        }
    }
}

/// Moves a row to the right; what leaves comes in again.
fn turn(row: &mut [u8], by: isize) {
    if !row.is_empty() {
        let by = by.rem_euclid(row.len() as isize) as usize;
        row.rotate_right(by);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::Value;
    use crate::picture::{Colorimetry, PixelFormat};

    fn slices(amount: f64) -> Slices {
        Slices {
            shape: Shape::new(PixelFormat::I420, 640, 360, Colorimetry::BT601),
            salt: 3,
            amount,
            rate: 8.0,
        }
    }

    fn jumps(slices: &Slices, moment: Moment) -> Vec<Jump> {
        (0..360).map(|y| slices.jump(y, &moment)).collect()
    }

    #[test]
    fn time_and_seed_decide() {
        let slices = slices(0.7);
        let at = |time, seed| jumps(&slices, Moment { time, seed });
        assert_eq!(at(10, 1), at(90_000_000, 1), "the same step");
        assert_ne!(at(10, 1), at(130_000_000, 1), "the next step");
        assert_ne!(at(10, 1), at(10, 2), "another seed");
    }

    #[test]
    fn more_amount_moves_more() {
        let moved = |amount| -> isize {
            let slices = slices(amount);
            (0..50)
                .flat_map(|i| {
                    jumps(
                        &slices,
                        Moment {
                            time: i * 130_000_000,
                            seed: 5,
                        },
                    )
                })
                .map(|jump| jump.all.abs())
                .sum()
        };
        let (little, some, much) = (moved(0.1), moved(0.5), moved(1.0));
        assert!(
            0 < little && little < some && some < much,
            "{little} {some} {much}"
        );
    }

    /// Slices only move pixels: no value may appear or vanish. (Where colours part, luma is made
    /// anew from red, green and blue.)
    #[test]
    fn every_row_keeps_its_values() {
        for format in PixelFormat::ALL {
            let picture = |x: usize, y: usize| [((x * 7 + y * 13) % 101) as f32 / 101.0; 3];
            let params = [("amount", Value::Float(1.0))];
            let size = (120, 80);
            let before = run_picture(
                &EFFECT,
                &[("amount", Value::Float(0.0))],
                format,
                size,
                picture,
            );
            let after = run_picture(&EFFECT, &params, format, size, picture);
            let sorted = |p: &Rendered, y: usize| {
                let mut row: Vec<u32> =
                    (0..120).map(|x| (p.code(x, y)[0] * 256.0) as u32).collect();
                row.sort_unstable();
                row
            };
            for y in 0..80 {
                if format.family() == Family::Yuv {
                    break;
                }
                assert_eq!(sorted(&before, y), sorted(&after, y), "{format:?} row {y}");
            }
            let moved = (0..80).any(|y| (0..120).any(|x| before.code(x, y) != after.code(x, y)));
            assert!(moved, "{format:?}");
        }
    }
}
