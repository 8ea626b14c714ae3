// SPDX-License-Identifier: Apache-2.0
//! Old film: grain, flicker and scratches on black and white stock.

use super::grain;
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, RowPass, RowScratch, hash, unit};
use crate::picture::{Band, Family, Shape, fit};
use crate::registry::Effect;
use crate::simd::kernels;
use crate::simd::lut::{Lut, RowLut};

pub const EFFECT: Effect = Effect {
    name: "old-film",
    aliases: &[],
    nick: "Old film",
    blurb: "Black and white with grain, flicker and scratches. Follow it with sepia and vignette \
            for an older one. Time and the seed decide, so a run repeats",
    params: &[
        Param {
            name: "grain",
            nick: "Grain",
            blurb: "How coarse brightness gets",
            kind: Kind::Float {
                min: 0.0,
                max: 1.0,
                default: 0.3,
            },
        },
        Param {
            name: "flicker",
            nick: "Flicker",
            blurb: "How much brightness changes from frame to frame",
            kind: Kind::Float {
                min: 0.0,
                max: 1.0,
                default: 0.4,
            },
        },
        Param {
            name: "scratches",
            nick: "Scratches",
            blurb: "How many scratches run down the picture",
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

/// Frames a second of the film.
const RATE: f64 = 18.0;
/// Scratches that can be seen at once.
const SCRATCHES: u64 = 8;

fn build(values: &Values, build: &Build) -> Pass {
    let color = build.shape.color;
    let red = (color.kr * 65536.0).round() as u32;
    let blue = (color.kb * 65536.0).round() as u32;
    Pass::Rows(Box::new(OldFilm {
        shape: build.shape,
        salt: build.salt,
        grain: values.float("grain") as f32,
        flicker: values.float("flicker") as f32,
        scratches: values.float("scratches"),
        weights: [red, 65536 - red - blue, blue],
    }))
}

struct OldFilm {
    shape: Shape,
    salt: u64,
    grain: f32,
    flicker: f32,
    scratches: f64,
    weights: [u32; 3],
}

impl OldFilm {
    fn random(&self, moment: &Moment, kind: u64, place: u64, step: u64) -> f64 {
        unit(hash(&[moment.seed, self.salt, kind, place, step]))
    }

    fn expose(&self, row: &mut [u8], y: usize, moment: &Moment) {
        let step = moment.step(RATE);
        let (black, range) = self.shape.brightness_range();
        let gain = 1.0 + self.flicker * 0.3 * (self.random(moment, 0, 0, step) as f32 - 0.5);
        let exposed: Lut =
            std::array::from_fn(|x| kernels::to_byte((x as f32 - black) * gain + black));
        RowLut::new(&[&exposed]).apply(row);
        let seed = hash(&[moment.seed, self.salt, step, y as u64]);
        grain::add(row, seed, self.grain * 0.3 * range * gain);
        for scratch in 0..SCRATCHES {
            // A scratch stays about half a second, and wanders a little.
            let life = moment.step(2.0 + self.random(moment, 1, scratch, 0));
            if self.random(moment, 2, scratch, life) >= 0.5 * self.scratches {
                continue;
            }
            let wander = self.random(moment, 4, scratch, step) * 0.003;
            let at = self.random(moment, 3, scratch, life) + wander;
            let at = (at * row.len() as f64) as usize;
            let light = self.random(moment, 5, scratch, life) < 0.6;
            let target = if light { black + range } else { black };
            // As thick as on a picture of 720 rows.
            let width = (self.shape.height / 720).max(1);
            for value in row.iter_mut().skip(at).take(width) {
                *value = kernels::to_byte(f32::from(*value) * 0.45 + target * 0.55);
            }
        }
    }
}

impl RowPass for OldFilm {
    fn run(&self, band: &mut Band, moment: &Moment, scratch: &mut RowScratch) {
        if self.shape.family == Family::Rgb {
            let [red, _] = &mut band.luma;
            let [green, blue] = &mut band.chroma;
            let gray = fit(&mut scratch.bytes[0], red.len());
            kernels::weigh(gray, [red, green, blue], self.weights);
            self.expose(gray, band.y, moment);
            for row in [red, green, blue] {
                row.copy_from_slice(gray);
            }
            return;
        }
        for (index, row) in band.luma.iter_mut().enumerate() {
            if !row.is_empty() {
                self.expose(row, band.y + index, moment);
            }
        }
        for row in &mut band.chroma {
            row.fill(128);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::Value;
    use crate::picture::PixelFormat;

    fn params(grain: f64, flicker: f64, scratches: f64) -> [(&'static str, Value); 3] {
        [
            ("grain", Value::Float(grain)),
            ("flicker", Value::Float(flicker)),
            ("scratches", Value::Float(scratches)),
        ]
    }

    #[test]
    fn grain_has_the_mean_of_the_picture_and_no_colour() {
        for format in PixelFormat::ALL {
            let params = params(0.5, 0.0, 0.0);
            let out = run_picture(&EFFECT, &params, format, (96, 96), |_, _| [0.5; 3]);
            let (mut sum, mut squares) = (0.0, 0.0);
            for i in 0..96 * 96 {
                let [r, g, b] = out.rgb(i % 96, i / 96);
                assert!((r - g).abs() < 0.01 && (g - b).abs() < 0.01, "{format:?}");
                sum += r - 0.5;
                squares += (r - 0.5) * (r - 0.5);
            }
            let n = 96.0 * 96.0;
            assert!((sum / n).abs() < 0.01, "{format:?} {}", sum / n);
            let deviation = (squares / n).sqrt();
            assert!(
                deviation > 0.02 && deviation < 0.12,
                "{format:?} {deviation}"
            );
        }
    }

    #[test]
    fn without_defects_it_is_black_and_white_film() {
        for format in PixelFormat::ALL {
            let out = run_flat(&EFFECT, &params(0.0, 0.0, 0.0), format, [0.2, 0.6, 0.4]);
            let gray = in_format(PixelFormat::Gray8, [0.2, 0.6, 0.4]);
            assert_close(out, gray, 0.015, format);
        }
    }

    #[test]
    fn scratches_run_down_the_whole_picture() {
        let params = params(0.0, 0.0, 1.0);
        let out = run_picture(&EFFECT, &params, PixelFormat::Gray8, (400, 30), |_, _| {
            [0.5; 3]
        });
        let scratched = |y: usize| -> Vec<usize> {
            (0..400)
                .filter(|x| (out.rgb(*x, y)[0] - 0.5).abs() > 0.1)
                .collect()
        };
        assert!(!scratched(0).is_empty());
        assert_eq!(scratched(0), scratched(29));
    }
}
