// SPDX-License-Identifier: Apache-2.0
//! RGB shift: red and blue out of register.

use super::convert::{ColorOp, via_rgb};
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass};
use crate::picture::Family;
use crate::registry::Effect;

pub const EFFECT: Effect = Effect {
    name: "rgb-shift",
    aliases: &[],
    nick: "RGB shift",
    blurb: "Moves red and blue apart, like a lens with colour fringes. Gray pictures stay",
    params: &[Param {
        name: "amount",
        nick: "Amount",
        blurb: "How far red goes to the right and blue to the left, as a share of the width",
        kind: Kind::Float {
            min: -0.1,
            max: 0.1,
            default: 0.008,
        },
    }],
    build,
    deep: None,
};

fn build(values: &Values, build: &Build) -> Pass {
    let pixels = (values.float("amount") * build.shape.width as f64).round() as isize;
    if pixels == 0 || build.shape.family == Family::Gray {
        return Pass::Nothing;
    }
    via_rgb(build, RgbShift { pixels })
}

struct RgbShift {
    pixels: isize,
}

impl ColorOp for RgbShift {
    fn apply(&self, [red, _, blue]: [&mut [u8]; 3], _y: usize, _moment: &Moment) {
        shift(red, self.pixels);
        shift(blue, -self.pixels);
    }
}

/// Moves a row to the right (or left) and repeats the edge.
fn shift(row: &mut [u8], by: isize) {
    let distance = by.unsigned_abs().min(row.len());
    let (Some(first), Some(last)) = (row.first().copied(), row.last().copied()) else {
        return;
    };
    let kept = row.len() - distance;
    if by > 0 {
        row.copy_within(..kept, distance);
        row[..distance].fill(first);
    } else {
        row.copy_within(distance.., 0);
        row[kept..].fill(last);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::Value;
    use crate::picture::PixelFormat;

    #[test]
    fn rows_move_and_repeat_their_edge() {
        for (by, expected) in [
            (2, [1, 1, 1, 2, 3]),
            (-1, [2, 3, 4, 5, 5]),
            (9, [1; 5]),
            (-9, [5; 5]),
        ] {
            let mut row = [1, 2, 3, 4, 5];
            shift(&mut row, by);
            assert_eq!(row, expected, "{by}");
        }
        shift(&mut [], 3);
    }

    #[test]
    fn a_white_bar_gets_coloured_sides() {
        for format in PixelFormat::ALL {
            if format.family() == Family::Gray {
                continue;
            }
            let bar = |x: usize, _| [if (20..40).contains(&x) { 1.0 } else { 0.0 }; 3];
            let params = [("amount", Value::Float(0.1))];
            let out = run_picture(&EFFECT, &params, format, (60, 6), bar);
            // Blue arrives early, red leaves late: 6 of 60 pixels.
            assert_close(out.rgb(16, 2), [0.0, 0.0, 1.0], 0.03, format);
            assert_close(out.rgb(30, 3), [1.0, 1.0, 1.0], 0.03, format);
            assert_close(out.rgb(43, 3), [1.0, 0.0, 0.0], 0.03, format);
        }
    }
}
