// SPDX-License-Identifier: Apache-2.0
//! Threshold: nothing or everything, by component.

use super::convert::{SPACE, componentwise};
use crate::deep::{self, Point};
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Pass};
use crate::picture::Colorimetry;
use crate::registry::Effect;
use crate::simd::lut::Lut;

pub const EFFECT: Effect = Effect {
    name: "threshold",
    aliases: &[],
    nick: "Threshold",
    blurb: "Sets every component to 255 where it is above the threshold, else to 0",
    params: &[
        Param {
            name: "threshold",
            nick: "Threshold",
            blurb: "Share of 255 that a component must exceed",
            kind: Kind::Float {
                min: 0.0,
                max: 1.0,
                default: 0.5,
            },
        },
        SPACE,
    ],
    build,
    deep: Some(deep),
};

/// `x > t · 255 ? 255 : 0`, in double precision.
pub fn lut(threshold: f64) -> Lut {
    let limit = threshold * 255.0;
    std::array::from_fn(|x| if x as f64 > limit { 255 } else { 0 })
}

fn build(values: &Values, build: &Build) -> Pass {
    componentwise(
        values.choice("space"),
        build,
        &lut(values.float("threshold")),
    )
}

fn deep(values: &Values, _color: &Colorimetry) -> Option<Point> {
    if values.choice("space") != 0 {
        let limit = values.float("threshold") as f32;
        return Some(Point::Color(Box::new(move |rgb| {
            rgb.map(|x| f32::from(u8::from(x > limit)))
        })));
    }
    let max = f64::from(deep::MAX);
    let least = values.float("threshold") * max;
    let table = deep::table(|x| if f64::from(x) > least { max } else { 0.0 });
    Some(Point::Tables([table.clone(), table.clone(), table]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables of the definition, computed by NumPy (tests/golden/make.py): the number of zeros,
    /// as everything after them is 255.
    #[test]
    fn every_input_matches_the_definition() {
        let golden = include_str!("../../tests/golden/threshold.txt");
        let mut seen = 0;
        for line in golden.lines().filter(|line| !line.starts_with('#')) {
            let (t, table) = line.split_once(": ").expect("t: values");
            let table: Vec<u8> = table.split(' ').map(|v| v.parse().unwrap()).collect();
            assert_eq!(table.len(), 256);
            assert_eq!(lut(t.parse().unwrap()).as_slice(), table, "t = {t}");
            seen += 1;
        }
        assert!(seen >= 20, "{seen} thresholds");
    }

    #[test]
    fn tables_are_monotonic() {
        for i in 0..=1000 {
            let table = lut(f64::from(i) / 1000.0);
            assert!(table.windows(2).all(|w| w[0] <= w[1]));
        }
        assert_eq!(lut(1.0), [0; 256]);
        assert_eq!(lut(0.0)[..2], [0, 255]);
    }
}
