// SPDX-License-Identifier: Apache-2.0
//! Kaleidoscope: a slice of the picture, reflected around the centre.

use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, PicturePass};
use crate::picture::Picture;
use crate::registry::Effect;
use crate::workers::Tools;

pub const EFFECT: Effect = Effect {
    name: "kaleidoscope",
    aliases: &[],
    nick: "Kaleidoscope",
    blurb: "Repeats a slice around the centre, each time reflected",
    params: &[
        Param {
            name: "segments",
            nick: "Segments",
            blurb: "Slices of the circle; every second one is a reflection",
            kind: Kind::Int {
                min: 2,
                max: 64,
                default: 12,
            },
        },
        Param {
            name: "angle",
            nick: "Angle",
            blurb: "Direction of the slice that is shown, in degrees clockwise from the right",
            kind: Kind::Float {
                min: 0.0,
                max: 360.0,
                default: 0.0,
            },
        },
    ],
    build,
    deep: None,
};

fn build(values: &Values, build: &Build) -> Pass {
    let shape = build.shape;
    let segment = std::f32::consts::TAU / values.int("segments") as f32;
    let angle = (values.float("angle") as f32).to_radians();
    let (width, height) = (shape.width as f32, shape.height as f32);
    // Where each sample comes from. Components of one size share a map.
    let map = |component: usize| -> Vec<u32> {
        let (columns, rows) = shape.component_size(component);
        let (ws, hs) = shape.component_shift(component);
        let (step_x, step_y) = ((1 << ws) as f32, (1 << hs) as f32);
        let mut map = Vec::with_capacity(columns * rows);
        for y in 0..rows {
            let dy = (y as f32 + 0.5) * step_y - height / 2.0;
            for x in 0..columns {
                let dx = (x as f32 + 0.5) * step_x - width / 2.0;
                let radius = dx.hypot(dy);
                // Distance from the nearest edge of a pair of slices, then turned.
                let place = dy.atan2(dx).rem_euclid(2.0 * segment);
                let folded = place.min(2.0 * segment - place) + angle;
                let fetch = |at: f32, size: f32, step: f32, samples: usize| {
                    // Beyond the edge the picture is reflected.
                    let at = (at + size / 2.0).rem_euclid(2.0 * size);
                    let at = at.min(2.0 * size - at);
                    ((at / step) as usize).min(samples - 1)
                };
                let from_x = fetch(radius * folded.cos(), width, step_x, columns);
                let from_y = fetch(radius * folded.sin(), height, step_y, rows);
                map.push((from_y * columns + from_x) as u32);
            }
        }
        map
    };
    let maps = if shape.component_size(1) == shape.component_size(0) || shape.components() == 1 {
        vec![map(0)]
    } else {
        vec![map(0), map(1)]
    };
    Pass::Picture(Box::new(Kaleidoscope { maps }))
}

struct Kaleidoscope {
    /// For the first component, and for the others where they are smaller: the index of the
    /// sample that each one shows.
    maps: Vec<Vec<u32>>,
}

impl PicturePass for Kaleidoscope {
    fn run(&self, picture: &mut Picture, _moment: &Moment, tools: &Tools) {
        for (component, plane) in picture.planes.iter_mut().enumerate() {
            let map = &self.maps[component.min(self.maps.len() - 1)];
            let width = plane.width;
            let size = width * plane.height;
            let mut copy = tools.take(size);
            plane.copy_to(&mut copy[..size]);
            tools.strips(plane, 1, |first, strip| {
                for (y, row) in strip.rows_mut().enumerate() {
                    let map = &map[(first + y) * width..][..width];
                    for (value, from) in row.iter_mut().zip(map) {
                        *value = copy[*from as usize];
                    }
                }
            });
            tools.give(copy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::Value;
    use crate::picture::PixelFormat;

    /// Four slices: the quarter to the right and below stays, and both axes are mirrors.
    #[test]
    fn four_slices_mirror_both_ways() {
        let params = [("segments", Value::Int(4))];
        let picture = |x: usize, y: usize| [(x * 3 + y * 2) as f32 / 255.0; 3];
        for format in PixelFormat::ALL {
            let out = run_picture(&EFFECT, &params, format, (48, 32), picture);
            for (x, y) in [(30, 20), (40, 18), (26, 30), (47, 17)] {
                let expected = in_format(format, picture(x, y));
                assert_close(out.rgb(x, y), expected, 0.03, format);
                let here = out.code(x, y)[0];
                for (mx, my) in [(47 - x, y), (x, 31 - y), (47 - x, 31 - y)] {
                    let there = out.code(mx, my)[0];
                    assert!(
                        (here - there).abs() <= 6.0,
                        "{format:?} {x},{y}: {here} {there}"
                    );
                }
            }
        }
    }

    #[test]
    fn flat_pictures_stay_flat() {
        for format in PixelFormat::ALL {
            let color = in_format(format, [0.3, 0.6, 0.9]);
            assert_close(run_flat(&EFFECT, &[], format, color), color, 0.015, format);
        }
    }
}
