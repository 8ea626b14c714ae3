// SPDX-License-Identifier: Apache-2.0
//! Bokeh: out of focus as behind a wide lens, where lights become discs.

use super::large;
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, PicturePass};
use crate::picture::{Picture, Plane};
use crate::registry::Effect;
use crate::simd::kernels;
use crate::workers::Tools;

pub const EFFECT: Effect = Effect {
    name: "bokeh",
    aliases: &["lens-blur"],
    nick: "Bokeh",
    blurb: "Puts the picture out of focus as a wide lens does: lights become discs",
    params: &[
        Param {
            name: "radius",
            nick: "Radius",
            blurb: "Radius of the discs in pixels; 0 keeps the picture",
            kind: Kind::Float {
                min: 0.0,
                max: 100.0,
                default: 8.0,
            },
        },
        Param {
            name: "highlights",
            nick: "Highlights",
            blurb: "How much lights outshine their surroundings: 0 is an even blur",
            kind: Kind::Float {
                min: 0.0,
                max: 1.0,
                default: 0.5,
            },
        },
    ],
    build,
    deep: None,
};

/// Larger radii in samples work on a reduced picture.
const WIDEST: f32 = 6.0;
/// Columns that are worked on at once.
const COLUMNS: usize = 256;
/// How many times as much as black white counts with all of the highlights.
const BRIGHTEST: f32 = 60.0;

fn build(values: &Values, _build: &Build) -> Pass {
    let radius = values.float("radius") as f32;
    if radius < 0.5 {
        return Pass::Nothing;
    }
    Pass::Picture(Box::new(Bokeh {
        radius,
        gain: values.float("highlights") as f32 * BRIGHTEST,
    }))
}

struct Bokeh {
    radius: f32,
    gain: f32,
}

/// What happens along one axis.
#[derive(Clone, Copy)]
struct Axis {
    factor: usize,
    /// In reduced samples.
    radius: f32,
}

impl Axis {
    fn new(radius: f32) -> Self {
        let mut factor = 1;
        while radius / factor as f32 > WIDEST {
            factor *= 2;
        }
        Self {
            factor,
            radius: radius / factor as f32,
        }
    }
}

impl PicturePass for Bokeh {
    fn run(&self, picture: &mut Picture, _moment: &Moment, tools: &Tools) {
        let shape = picture.shape;
        let (black, range) = shape.brightness_range();
        // Weights follow brightness, before any plane changes. RGB components follow themselves.
        let small: Vec<_> = (0..picture.planes.len())
            .map(|component| {
                let (ws, hs) = shape.component_shift(component);
                let [x, y] = [ws, hs].map(|shift| Axis::new(self.radius / (1 << shift) as f32));
                let values = large::reduce(&picture.planes[component], x.factor, y.factor);
                let mut weights = match shape.is_chroma(component) {
                    true => large::reduce(&picture.planes[0], x.factor << ws, y.factor << hs),
                    false => values.clone(),
                };
                kernels::highlight(&mut weights, black, 1.0 / range, self.gain);
                (x, y, values, weights)
            })
            .collect();
        for (plane, (x, y, mut values, weights)) in picture.planes.iter_mut().zip(small) {
            kernels::multiply(&mut values, &weights);
            spread(plane, x, y, &values, &weights, tools);
        }
    }
}

/// Sums `values` and `weights` over discs and paints their ratio.
fn spread(plane: &mut Plane, x: Axis, y: Axis, values: &[f32], weights: &[f32], tools: &Tools) {
    let (width, height) = (
        plane.width.div_ceil(x.factor),
        plane.height.div_ceil(y.factor),
    );
    let mut soft = large::Bordered::new(width, height);
    let reach = y.radius as isize;
    // Half the disc's width at each distance from its middle.
    let halves: Vec<usize> = (0..=reach)
        .map(|dy| {
            let share = dy as f32 / (y.radius + 0.5);
            ((1.0 - share * share).max(0.0).sqrt() * (x.radius + 0.5)) as usize
        })
        .collect();
    let widest = halves[0];
    let taps = 2 * reach as usize + 1;
    let mut padded = vec![0.0; COLUMNS + 2 * widest];
    let mut runs = vec![vec![0.0; COLUMNS]; widest + 1];
    // Sums of discs that are not complete yet: values and weights, in rings. They and the runs of
    // some columns stay in the fastest cache.
    let mut rings = [vec![0.0; taps * COLUMNS], vec![0.0; taps * COLUMNS]];
    let slot = |y: isize| y.rem_euclid(taps as isize) as usize * COLUMNS;
    for left in (0..width).step_by(COLUMNS) {
        let columns = COLUMNS.min(width - left);
        for row in -reach..height as isize + reach {
            let from = row.clamp(0, height as isize - 1) as usize * width;
            for (ring, source) in rings.iter_mut().zip([values, weights]) {
                let source = &source[from..][..width];
                // The columns and `widest` more on either side, or the edge.
                let begin = widest.saturating_sub(left);
                let first = (left + begin) - widest;
                let count = (columns + 2 * widest - begin).min(width - first);
                padded[..begin].fill(source[0]);
                padded[begin..begin + count].copy_from_slice(&source[first..first + count]);
                padded[begin + count..].fill(source[width - 1]);
                runs[0][..columns].copy_from_slice(&padded[widest..widest + columns]);
                for half in 1..=widest {
                    let (shorter, longer) = runs.split_at_mut(half);
                    let target = &mut longer[0][..columns];
                    let (one, other) = (&padded[widest - half..], &padded[widest + half..]);
                    kernels::add3(target, &shorter[half - 1], one, other);
                }
                // This row's part begins the disc that ends `reach` rows below.
                ring[slot(row + reach)..][..columns].fill(0.0);
                for dy in -reach..=reach {
                    let run = &runs[halves[dy.unsigned_abs()]];
                    kernels::add_row(&mut ring[slot(row + dy)..][..columns], run);
                }
            }
            let done = row - reach;
            if (0..height as isize).contains(&done) {
                let [sums, shares] = &rings;
                let target = &mut soft.row_mut(done as usize)[left..left + columns];
                kernels::divide(target, &sums[slot(done)..], &shares[slot(done)..]);
            }
        }
    }
    soft.close();
    large::enlarge(plane, &soft, [x.factor, y.factor], tools, |row, soft| {
        kernels::round_row(row, soft);
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::Value;
    use crate::picture::PixelFormat;

    #[test]
    fn flat_pictures_stay_flat() {
        for format in PixelFormat::ALL {
            for radius in [1.0, 8.0, 60.0] {
                let params = [("radius", Value::Float(radius))];
                let color = in_format(format, [0.3, 0.6, 0.9]);
                assert_close(
                    run_flat(&EFFECT, &params, format, color),
                    color,
                    0.015,
                    format,
                );
            }
        }
    }

    /// A light becomes a disc: even inside, dark outside, as wide as asked for.
    #[test]
    fn a_light_becomes_a_disc() {
        for (radius, point) in [(5.0, 1), (20.0, 4)] {
            let params = [
                ("radius", Value::Float(radius)),
                ("highlights", Value::Float(0.0)),
            ];
            let picture = |x: usize, y: usize| {
                let inside = (64..64 + point).contains(&x) && (64..64 + point).contains(&y);
                [if inside { 1.0 } else { 0.0 }; 3]
            };
            let out = run_picture(&EFFECT, &params, PixelFormat::Rgb, (128, 128), picture);
            let middle = out.code(64, 64)[0];
            let r = radius as usize;
            if point == 1 {
                assert!((1.0..6.0).contains(&middle), "{middle}");
            }
            assert_eq!(out.code(64 + r / 2, 64)[0], middle, "{radius}");
            assert_eq!(out.code(64, 64 - r / 2)[0], middle, "{radius}");
            assert_eq!(out.code(64 + r + r / 2 + 4, 64)[0], 0.0, "{radius}");
            assert_eq!(
                out.code(64 + r - 1, 64 + r - 1)[0],
                0.0,
                "{radius} is no square"
            );
        }
    }

    #[test]
    fn highlights_make_lights_brighter() {
        let at = |highlights: f64, format| {
            let params = [("highlights", Value::Float(highlights))];
            let picture = |x: usize, y: usize| {
                [if (30..34).contains(&x) && (20..24).contains(&y) {
                    1.0
                } else {
                    0.2
                }; 3]
            };
            run_picture(&EFFECT, &params, format, (64, 48), picture).rgb(32, 22)[1]
        };
        for format in PixelFormat::ALL {
            let (even, bright) = (at(0.0, format), at(1.0, format));
            assert!(bright > even + 0.2, "{format:?} {even} {bright}");
        }
    }
}
