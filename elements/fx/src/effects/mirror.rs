// SPDX-License-Identifier: Apache-2.0
//! Mirror: one half of the picture and its reflection.

use crate::params::{Choice, Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, PicturePass};
use crate::picture::{Picture, Plane};
use crate::registry::Effect;
use crate::workers::Tools;

pub const EFFECT: Effect = Effect {
    name: "mirror",
    aliases: &[],
    nick: "Mirror",
    blurb: "Shows one half of the picture and its reflection in place of the other",
    params: &[Param {
        name: "half",
        nick: "Half",
        blurb: "The half that stays",
        kind: Kind::Choice {
            choices: &[
                Choice {
                    name: "left",
                    blurb: "the left half, reflected to the right",
                },
                Choice {
                    name: "right",
                    blurb: "the right half, reflected to the left",
                },
                Choice {
                    name: "top",
                    blurb: "the top half, reflected downwards",
                },
                Choice {
                    name: "bottom",
                    blurb: "the bottom half, reflected upwards",
                },
            ],
            default: 0,
        },
    }],
    build,
    deep: None,
};

#[derive(Clone, Copy)]
enum Half {
    Left,
    Right,
    Top,
    Bottom,
}

fn build(values: &Values, _build: &Build) -> Pass {
    let half = [Half::Left, Half::Right, Half::Top, Half::Bottom][values.choice("half")];
    Pass::Picture(Box::new(Mirror { half }))
}

struct Mirror {
    half: Half,
}

impl PicturePass for Mirror {
    fn run(&self, picture: &mut Picture, _moment: &Moment, tools: &Tools) {
        for plane in &mut picture.planes {
            match self.half {
                Half::Left | Half::Right => tools.strips(plane, 1, |_, strip| {
                    for row in strip.rows_mut() {
                        reflect(row, matches!(self.half, Half::Left));
                    }
                }),
                Half::Top => turn_over(plane, true),
                Half::Bottom => turn_over(plane, false),
            }
        }
    }
}

fn reflect(row: &mut [u8], left: bool) {
    let middle = row.len() / 2;
    // The middle of an odd row stays.
    let (head, tail) = row.split_at_mut(middle);
    let odd = tail.len() - head.len();
    let tail = &mut tail[odd..];
    if left {
        for (to, from) in tail.iter_mut().rev().zip(head) {
            *to = *from;
        }
    } else {
        for (to, from) in head.iter_mut().rev().zip(tail) {
            *to = *from;
        }
    }
}

fn turn_over(plane: &mut Plane, top: bool) {
    for y in 0..plane.height / 2 {
        let other = plane.height - 1 - y;
        let (from, to) = if top { (y, other) } else { (other, y) };
        let start = from * plane.stride;
        let end = start + plane.width;
        plane.data.copy_within(start..end, to * plane.stride);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::Value;
    use crate::picture::PixelFormat;

    #[test]
    fn halves_reflect() {
        for format in PixelFormat::ALL {
            for (w, h) in [(32, 16), (31, 15)] {
                let picture = |x: usize, y: usize| [(x * 5 + y * 3) as f32 / 255.0; 3];
                for (index, (dx, dy)) in
                    [(true, false), (true, false), (false, true), (false, true)]
                        .into_iter()
                        .enumerate()
                {
                    let params = [("half", Value::Choice(index))];
                    let out = run_picture(&EFFECT, &params, format, (w, h), picture);
                    let brightness = |x: usize, y: usize| out.code(x, y)[0];
                    for (x, y) in [(0, 0), (3, 5), (7, 2)] {
                        let (mx, my) = (
                            if dx { w - 1 - x } else { x },
                            if dy { h - 1 - y } else { y },
                        );
                        assert_eq!(brightness(x, y), brightness(mx, my), "{format:?} {index}");
                    }
                    // The half that stays is the picture's.
                    let kept = [(2, 3), (w - 3, 3), (2, 3), (2, h - 4)][index];
                    let expected = in_format(format, picture(kept.0, kept.1));
                    assert_close(out.rgb(kept.0, kept.1), expected, 0.02, format);
                }
            }
        }
    }
}
