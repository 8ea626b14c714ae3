// SPDX-License-Identifier: Apache-2.0
//! Colour grading by `.cube` tables.

use super::convert::{ColorOp, via_rgb};
use crate::cube::Cube;
use crate::deep::Point;
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass};
use crate::picture::{Colorimetry, Family};
use crate::registry::Effect;
use crate::simd::kernels;
use crate::simd::lut::{Lut, RowLut};
use aivideo_color::table::{ColorTable, tetrahedral};

pub const EFFECT: Effect = Effect {
    name: "lut",
    aliases: &["lut3d", "cube"],
    nick: "Colour table",
    blurb: "Grades colours by a .cube table of one or three dimensions, the latter interpolated \
            in tetrahedra",
    params: &[
        Param {
            name: "file",
            nick: "File",
            blurb: "The table",
            kind: Kind::File,
        },
        Param {
            name: "amount",
            nick: "Amount",
            blurb: "How much of the table: 0 keeps the picture's own colours",
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

fn deep(values: &Values, _color: &Colorimetry) -> Option<Point> {
    let amount = values.float("amount") as f32;
    let Some(cube) = values.table("file").filter(|_| amount > 0.0).cloned() else {
        return Some(Point::Nothing);
    };
    Some(Point::Color(Box::new(move |rgb| {
        let graded = cube.sample(rgb);
        std::array::from_fn(|c| rgb[c] + (graded[c] - rgb[c]) * amount)
    })))
}

fn build(values: &Values, build: &Build) -> Pass {
    let amount = values.float("amount") as f32;
    let Some(cube) = values.table("file") else {
        build.note("no file is given, so it does nothing; write lut:file=path.cube");
        return Pass::Nothing;
    };
    if amount == 0.0 {
        return Pass::Nothing;
    }
    if cube.three {
        return via_rgb(build, InTetrahedra(table(cube, amount)));
    }
    let luts = curves(cube, amount);
    match build.shape.family {
        Family::Rgb => Pass::Luts(Box::new(luts)),
        _ => via_rgb(build, Curves(luts.map(|lut| RowLut::new(&[&lut])))),
    }
}

/// The three curves of a table of one dimension.
fn curves(cube: &Cube, amount: f32) -> [Lut; 3] {
    std::array::from_fn(|c| {
        std::array::from_fn(|x| {
            let value = x as f32 / 255.0;
            let at = (value - cube.min[c]) / (cube.max[c] - cube.min[c]);
            let at = at.clamp(0.0, 1.0) * (cube.size - 1) as f32;
            let low = (at as usize).min(cube.size - 2);
            let [a, b] = [low, low + 1].map(|i| cube.entries[i][c]);
            let graded = a + (b - a) * (at - low as f32);
            kernels::to_byte((value + (graded - value) * amount) * 255.0)
        })
    })
}

/// A table of three dimensions, in fixed point. Mixing with the picture's own colours is mixing
/// with a linear table, which interpolation keeps exactly.
fn table(cube: &Cube, amount: f32) -> ColorTable {
    let steps = (cube.size - 1) as f32;
    let entries = cube.entries.iter().enumerate().map(|(index, entry)| {
        let at = [
            index % cube.size,
            index / cube.size % cube.size,
            index / cube.size / cube.size,
        ];
        std::array::from_fn(|c| {
            let own = cube.min[c] + (cube.max[c] - cube.min[c]) * at[c] as f32 / steps;
            own + (entry[c] - own) * amount
        })
    });
    ColorTable::new(cube.size, cube.min, cube.max, entries)
}

struct Curves([RowLut; 3]);

impl ColorOp for Curves {
    fn apply(&self, rows: [&mut [u8]; 3], _y: usize, _moment: &Moment) {
        for (row, curve) in rows.into_iter().zip(&self.0) {
            curve.apply(row);
        }
    }
}

struct InTetrahedra(ColorTable);

impl ColorOp for InTetrahedra {
    fn apply(&self, [red, green, blue]: [&mut [u8]; 3], _y: usize, _moment: &Moment) {
        tetrahedral(red, green, blue, &self.0);
    }

    fn color_table(&self) -> Option<&ColorTable> {
        Some(&self.0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::{File, Value};
    use crate::picture::PixelFormat;
    use std::sync::Arc;

    fn value(cube: Cube) -> Value {
        Value::File(File {
            path: "test.cube".into(),
            table: Some(Arc::new(cube)),
        })
    }

    pub(crate) fn made(size: usize, three: bool, f: impl Fn([f32; 3]) -> [f32; 3]) -> Cube {
        let steps = (size - 1) as f32;
        let count = if three { size.pow(3) } else { size };
        let entries = (0..count).map(|i| match three {
            true => f([
                (i % size) as f32 / steps,
                (i / size % size) as f32 / steps,
                (i / size / size) as f32 / steps,
            ]),
            false => f([i as f32 / steps; 3]),
        });
        Cube {
            title: String::new(),
            size,
            three,
            min: [0.0; 3],
            max: [1.0; 3],
            entries: entries.collect(),
        }
    }

    #[test]
    fn tables_that_change_nothing_change_nothing() {
        for size in [2, 3, 17, 33, 65] {
            let table = table(&made(size, true, |rgb| rgb), 1.0);
            for (g, b) in [(0, 255), (17, 3), (200, 201)] {
                let mut rows: [Vec<u8>; 3] = [(0..=255).collect(), vec![g; 256], vec![b; 256]];
                let before = rows.clone();
                let [red, green, blue] = &mut rows;
                tetrahedral(red, green, blue, &table);
                assert_eq!(rows, before, "{size}");
            }
        }
        for size in [2, 100, 256] {
            assert_eq!(
                curves(&made(size, false, |rgb| rgb), 1.0)[0],
                crate::simd::lut::IDENTITY
            );
        }
    }

    /// Against the textbook's six tetrahedra in double precision.
    #[test]
    fn interpolation_is_tetrahedral() {
        let size = 5;
        let cube = made(size, true, |[r, g, b]| {
            [
                (r * g + 0.3 * b).min(1.0),
                (1.0 - r) * b,
                (g * g * 0.9 + 0.1 * r).max(0.0),
            ]
        });
        let table = table(&cube, 1.0);
        let at = |i: [usize; 3]| cube.entries[i[0] + size * (i[1] + size * i[2])];
        for n in 0..4000u32 {
            let rgb = [n * 7919 % 256, n * 104_729 % 256, n * 1_299_709 % 256];
            let place = rgb.map(|v| f64::from(v) / 255.0 * (size - 1) as f64);
            let low = place.map(|p| (p as usize).min(size - 2));
            let part: [f64; 3] = std::array::from_fn(|c| place[c] - low[c] as f64);
            let mut order = [0, 1, 2];
            order.sort_by(|a, b| part[*b].total_cmp(&part[*a]));
            let mut corner = low;
            let mut expected = at(corner).map(|v| f64::from(v) * (1.0 - part[order[0]]));
            for (k, axis) in order.into_iter().enumerate() {
                corner[axis] += 1;
                let weight = part[axis] - order.get(k + 1).map_or(0.0, |next| part[*next]);
                for (sum, v) in expected.iter_mut().zip(at(corner)) {
                    *sum += f64::from(v) * weight;
                }
            }
            let sampled = cube.sample(rgb.map(|v| v as f32 / 255.0));
            for (sampled, expected) in sampled.into_iter().zip(expected) {
                assert!((f64::from(sampled) - expected).abs() < 1e-5);
            }
            let [mut r, mut g, mut b] = rgb.map(|v| vec![v as u8]);
            tetrahedral(&mut r, &mut g, &mut b, &table);
            for (got, expected) in [r[0], g[0], b[0]].into_iter().zip(expected) {
                let error = (f64::from(got) - expected * 255.0).abs();
                assert!(error < 0.55, "{rgb:?}: {got} {}", expected * 255.0);
            }
        }
    }

    #[test]
    fn colours_are_graded_in_every_format() {
        let swap = |[r, g, b]: [f32; 3]| [g, r, 1.0 - b];
        for format in PixelFormat::ALL {
            let color = in_format(format, [0.7, 0.3, 0.2]);
            let expected = in_format(format, swap(color));
            let params = [("file", value(made(9, true, swap)))];
            assert_close(
                run_flat(&EFFECT, &params, format, color),
                expected,
                0.02,
                format,
            );
            // A curve that brightens, and half of it.
            let root = |rgb: [f32; 3]| rgb.map(f32::sqrt);
            for amount in [1.0f32, 0.5] {
                let expected: [f32; 3] =
                    std::array::from_fn(|c| color[c] + (root(color)[c] - color[c]) * amount);
                let params = [
                    ("file", value(made(256, false, root))),
                    ("amount", Value::Float(f64::from(amount))),
                ];
                let out = run_flat(&EFFECT, &params, format, color);
                assert_close(out, expected, 0.02, format);
            }
        }
    }

    #[test]
    fn domains_are_honoured() {
        let mut cube = made(2, true, |rgb| rgb);
        cube.min = [0.5; 3];
        let params = [("file", value(cube))];
        for (gray, expected) in [(0.3f32, 0.0f32), (0.75, 0.5), (1.0, 1.0)] {
            let out = run_flat(&EFFECT, &params, PixelFormat::Rgb, [gray; 3]);
            assert_close(out, [expected; 3], 0.01, PixelFormat::Rgb);
        }
    }
}
