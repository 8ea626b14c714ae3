// SPDX-License-Identifier: Apache-2.0
//! Posterise: fewer levels, hence bands.

use super::convert::{SPACE, componentwise};
use crate::deep::{self, Point};
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Pass};
use crate::picture::Colorimetry;
use crate::registry::Effect;
use crate::simd::lut::Lut;

pub const EFFECT: Effect = Effect {
    name: "posterize",
    aliases: &["posterise"],
    nick: "Posterise",
    blurb: "Rounds every component to a few evenly spaced levels",
    params: &[
        Param {
            name: "num-levels",
            nick: "Number of levels",
            blurb: "Levels that are left of the 256",
            kind: Kind::Int {
                min: 2,
                max: 256,
                default: 25,
            },
        },
        SPACE,
    ],
    build,
    deep: Some(deep),
};

/// `step = 255 / (n − 1); y = clamp(round_half_even(x / step) · step)`, truncated.
///
/// In double precision, as NumPy evaluates it: at 32 of the 255 values of n a product such as
/// `25 · 10.2` comes out a hair under the whole number that it is on paper, and truncates to one
/// less. At n above 128 (steps under 2) truncation can move a level nearer to its lower
/// neighbour, so posterising twice is posterising once only up to 128.
pub fn lut(levels: i32) -> Lut {
    let step = 255.0 / f64::from(levels.max(2) - 1);
    std::array::from_fn(|x| {
        let y = (x as f64 / step).round_ties_even() * step;
        y.clamp(0.0, 255.0) as u8
    })
}

fn build(values: &Values, build: &Build) -> Pass {
    componentwise(
        values.choice("space"),
        build,
        &lut(values.int("num-levels")),
    )
}

fn deep(values: &Values, _color: &Colorimetry) -> Option<Point> {
    if values.choice("space") != 0 {
        let steps = (values.int("num-levels") - 1) as f32;
        return Some(Point::Color(Box::new(move |rgb| {
            rgb.map(|x| (x * steps).round_ties_even() / steps)
        })));
    }
    let max = f64::from(deep::MAX);
    let step = max / f64::from(values.int("num-levels") - 1);
    let table = deep::table(|x| (f64::from(x) / step).round_ties_even() * step);
    Some(Point::Tables([table.clone(), table.clone(), table]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables of the definition, computed by NumPy (tests/golden/make.py).
    #[test]
    fn every_input_matches_the_definition() {
        let golden = include_str!("../../tests/golden/posterize.txt");
        let mut seen = 0;
        for line in golden.lines().filter(|line| !line.starts_with('#')) {
            let (n, table) = line.split_once(": ").expect("n: values");
            let table: Vec<u8> = table.split(' ').map(|v| v.parse().unwrap()).collect();
            assert_eq!(table.len(), 256);
            assert_eq!(lut(n.parse().unwrap()).as_slice(), table, "n = {n}");
            seen += 1;
        }
        assert_eq!(seen, 255, "one line for each n from 2 to 256");
    }

    #[test]
    fn tables_are_monotonic_and_idempotent() {
        for n in 2..=256 {
            let table = lut(n);
            assert!(table.windows(2).all(|w| w[0] <= w[1]), "n = {n}");
            if n <= 128 {
                let twice = table.map(|v| table[usize::from(v)]);
                assert_eq!(twice, table, "n = {n}");
            }
        }
        assert_eq!(lut(256), crate::simd::lut::IDENTITY);
    }

    #[test]
    fn there_are_as_many_levels_as_asked_for() {
        for n in [2, 3, 8, 25, 64] {
            let mut levels = lut(n).to_vec();
            levels.dedup();
            assert_eq!(levels.len(), n as usize);
        }
    }
}
