// SPDX-License-Identifier: Apache-2.0
//! VHS: a worn home video tape.

use super::box_blur::Window;
use super::convert::{decoding, encoding};
use super::grain;
use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, RowPass, RowScratch, hash, unit};
use crate::picture::{Band, Family, Shape, fit};
use crate::registry::Effect;
use crate::simd::kernels::{self, Matrix};

pub const EFFECT: Effect = Effect {
    name: "vhs",
    aliases: &[],
    nick: "VHS",
    blurb: "A worn video tape: colours bleed, lines jitter, noise and tracking errors. Time and \
            the seed decide, so a run repeats",
    params: &[
        Param {
            name: "bleed",
            nick: "Colour bleeding",
            blurb: "How far colours run to the right, and how soft details get",
            kind: Kind::Float {
                min: 0.0,
                max: 1.0,
                default: 0.5,
            },
        },
        Param {
            name: "noise",
            nick: "Noise",
            blurb: "How noisy brightness and colours are",
            kind: Kind::Float {
                min: 0.0,
                max: 1.0,
                default: 0.35,
            },
        },
        Param {
            name: "jitter",
            nick: "Jitter",
            blurb: "How far lines stray sideways",
            kind: Kind::Float {
                min: 0.0,
                max: 1.0,
                default: 0.4,
            },
        },
        Param {
            name: "tracking",
            nick: "Tracking errors",
            blurb: "How strong the noisy stripe is that wanders down the picture",
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

/// Fields a second, which lines stray with.
const RATE: f64 = 25.0;
/// Widest window of colours in samples.
const WIDEST: usize = 257;

fn build(values: &Values, build: &Build) -> Pass {
    let shape = build.shape;
    Pass::Rows(Box::new(Vhs {
        shape,
        salt: build.salt,
        bleed: values.float("bleed"),
        noise: values.float("noise") as f32,
        jitter: values.float("jitter"),
        tracking: values.float("tracking"),
        to: encoding(&shape.color),
        back: decoding(&shape.color),
    }))
}

struct Vhs {
    shape: Shape,
    salt: u64,
    bleed: f64,
    noise: f32,
    jitter: f64,
    tracking: f64,
    /// Of RGB pictures: to Y, U, V and back.
    to: Matrix,
    back: Matrix,
}

/// What happens to a line.
struct Line {
    /// To the right, in pixels.
    shift: f64,
    /// 0 to 1 inside of the stripe.
    stripe: f64,
    step: u64,
}

impl Vhs {
    fn random(&self, moment: &Moment, step: u64, kind: u64, place: u64) -> f64 {
        unit(hash(&[moment.seed, self.salt, step, kind, place]))
    }

    fn line(&self, y: usize, moment: &Moment) -> Line {
        let step = moment.step(RATE);
        let (width, height) = (self.shape.width as f64, self.shape.height as f64);
        let random = |kind, place| self.random(moment, step, kind, place) - 0.5;
        // Slow waves between random points every sixteen lines, and a little for each line.
        let (knot, part) = (y / 16, (y % 16) as f64 / 16.0);
        let [a, b] = [knot, knot + 1].map(|k| random(1, k as u64));
        let wave = a + (b - a) * part * part * (3.0 - 2.0 * part);
        let mut shift = self.jitter * width * (0.015 * wave + 0.002 * random(2, y as u64));
        // Where the heads switch, at the bottom, lines lose their hold.
        let bottom = 1.0 - (height - y as f64) / (0.025 * height).max(1.0);
        if bottom > 0.0 {
            shift += self.jitter * width * (0.1 * bottom * bottom + 0.02 * random(3, y as u64));
        }
        // The stripe goes through the picture in some seven seconds.
        let start = self.random(moment, 0, 4, 0);
        let place = (moment.time as f64 * 1e-9 / 7.0 + start).fract() * 1.3 - 0.15;
        let distance = (y as f64 / height - place).abs() / 0.05;
        let stripe = self.tracking * (1.0 - distance).max(0.0).sqrt();
        shift += stripe * width * (0.012 + 0.03 * random(5, y as u64));
        Line {
            shift,
            stripe,
            step,
        }
    }

    fn luma(
        &self,
        row: &mut [u8],
        y: usize,
        line: &Line,
        moment: &Moment,
        padded: &mut Vec<u8>,
        window: &mut Window,
    ) {
        if row.is_empty() {
            return;
        }
        let (black, range) = self.shape.color.luma_range();
        let taps = 1 + 2 * ((self.bleed * row.len() as f64 / 640.0).round() as usize).min(64);
        let shift = line.shift.round() as isize;
        smear(row, shift, taps, [0.0, 1.0], padded, window);
        let noise = self.noise * 0.16 + 0.5 * line.stripe as f32;
        if noise > 0.0 {
            let seed = hash(&[moment.seed, self.salt, line.step, 6, y as u64]);
            grain::add(row, seed, noise * range);
        }
        // Drop-outs: short white lines, mostly in the stripe.
        let white = (black + range) as u8;
        for place in 0..6 {
            let random = |kind| self.random(moment, line.step, kind, (y * 8 + place) as u64);
            let chance = 0.3 * line.stripe + 0.0015 * f64::from(self.noise);
            if random(7) < chance {
                let start = (random(8) * row.len() as f64) as usize;
                let length = (random(9) * 0.05 * row.len() as f64) as usize + 1;
                let end = (start + length).min(row.len());
                row[start..end].fill(white);
            }
        }
    }

    fn chroma(
        &self,
        rows: [&mut [u8]; 2],
        ws: u32,
        line: &Line,
        moment: &Moment,
        y: usize,
        (padded, window): (&mut Vec<u8>, &mut Window),
    ) {
        let width = rows[0].len();
        let taps = 1 + 2 * ((self.bleed * width as f64 / 28.0) as usize).min(WIDEST / 2);
        // Colours come late by half of what they are smeared.
        let late = taps as f64 / 3.0;
        let shift = (line.shift / f64::from(1 << ws) + late).round() as isize;
        for (index, row) in rows.into_iter().enumerate() {
            if row.is_empty() {
                continue;
            }
            let noise = self.noise * 0.5 + line.stripe as f32;
            if noise > 0.0 {
                // Before smearing, which makes streaks of it.
                let kind = 10 + index as u64;
                let seed = hash(&[moment.seed, self.salt, line.step, kind, y as u64]);
                grain::add(row, seed, noise * 128.0);
            }
            smear(row, shift, taps, [128.0, 0.85], padded, window);
        }
    }
}

impl RowPass for Vhs {
    fn run(&self, band: &mut Band, moment: &Moment, scratch: &mut RowScratch) {
        let RowScratch { bytes, window, .. } = scratch;
        let padded = &mut bytes[0];
        let [first, second] = &mut band.luma;
        let [u, v] = &mut band.chroma;
        let line = self.line(band.y, moment);
        let rgb = self.shape.family == Family::Rgb;
        if rgb {
            kernels::matrix(first, u, v, &self.to);
        }
        self.chroma(
            [u, v],
            self.shape.ws,
            &line,
            moment,
            band.y,
            (padded, window),
        );
        self.luma(first, band.y, &line, moment, padded, window);
        if rgb {
            kernels::matrix(first, u, v, &self.back);
        }
        if !second.is_empty() {
            let line = self.line(band.y + 1, moment);
            self.luma(second, band.y + 1, &line, moment, padded, window);
        }
    }
}

/// Softens a row with a window of `taps` while moving it; samples beyond the edges are the
/// outermost ones.
fn smear(
    row: &mut [u8],
    shift: isize,
    taps: usize,
    [centre, gain]: [f32; 2],
    padded: &mut Vec<u8>,
    window: &mut Window,
) {
    let (width, last) = (row.len(), row.len() as isize - 1);
    // The sample at `left - shift` of the row is the window's first.
    let left = -(taps as isize / 2) - shift;
    let padded = fit(padded, width + taps - 1);
    let begin = (-left).clamp(0, padded.len() as isize) as usize;
    padded[..begin].fill(row[0]);
    let from = left.clamp(0, last) as usize;
    let count = (width - from).min(padded.len() - begin);
    padded[begin..begin + count].copy_from_slice(&row[from..from + count]);
    padded[begin + count..].fill(row[last as usize]);
    let sums = window.sums(padded, taps);
    kernels::mean16(row, sums, 1.0 / taps as f32, centre, gain);
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::Value;
    use crate::picture::PixelFormat;

    fn params(bleed: f64, noise: f64, jitter: f64, tracking: f64) -> [(&'static str, Value); 4] {
        [
            ("bleed", Value::Float(bleed)),
            ("noise", Value::Float(noise)),
            ("jitter", Value::Float(jitter)),
            ("tracking", Value::Float(tracking)),
        ]
    }

    /// A new tape keeps brightness and all but 15 % of colourfulness.
    #[test]
    fn a_new_tape_is_a_little_pale() {
        for format in PixelFormat::ALL {
            let color = in_format(format, [0.6, 0.4, 0.5]);
            let out = run_flat(&EFFECT, &params(0.5, 0.0, 0.0, 0.0), format, color);
            let gray = in_format(PixelFormat::Gray8, color)[0];
            let expected = color.map(|v| gray + 0.85 * (v - gray));
            assert_close(out, expected, 0.015, format);
        }
    }

    #[test]
    fn colours_run_to_the_right() {
        let picture = |x: usize, _| if x < 90 { [0.8, 0.2, 0.2] } else { [0.378; 3] };
        for format in [PixelFormat::I420, PixelFormat::Rgb, PixelFormat::Y444] {
            let out = run_picture(
                &EFFECT,
                &params(1.0, 0.0, 0.0, 0.0),
                format,
                (180, 8),
                picture,
            );
            let red = |x: usize| out.rgb(x, 4)[0] - out.rgb(x, 4)[2];
            assert!(red(93) > 0.2, "{format:?} {}", red(93));
            assert!(red(70) > 0.4 && red(130).abs() < 0.03, "{format:?}");
        }
    }

    #[test]
    fn lines_stray_and_noise_is_even() {
        let picture = |x: usize, _| [if x < 200 { 0.2 } else { 0.8 }; 3];
        let out = run_picture(
            &EFFECT,
            &params(0.0, 0.0, 1.0, 0.0),
            PixelFormat::Gray8,
            (400, 100),
            picture,
        );
        let edges: Vec<usize> = (0..90)
            .map(|y| (0..400).position(|x| out.rgb(x, y)[0] > 0.5).unwrap())
            .collect();
        assert!(edges.iter().min() != edges.iter().max(), "{edges:?}");
        let out = run_picture(
            &EFFECT,
            &params(0.0, 1.0, 0.0, 0.0),
            PixelFormat::Gray8,
            (200, 100),
            |_, _| [0.5; 3],
        );
        let mean = (0..20_000)
            .map(|i| out.rgb(i % 200, i / 200)[0])
            .sum::<f32>()
            / 20_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }
}
