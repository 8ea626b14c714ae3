// SPDX-License-Identifier: Apache-2.0
//! Noise that is left after a picture was cleaned by itself flickers; what stands still may be
//! averaged over time. What moves must not be: each sample is mixed with the last output only as far
//! as its surroundings have not changed more than noise would.

#![allow(unsafe_code)] // functions compiled for more than the baseline

use aivideo_core::pixels::Yuv420;
use aivideo_nets::{compile, isa::Isa};

/// Mean difference of a 3 x 3 neighbourhood, as a share of the noise level before cleaning, from
/// which a sample has moved. Cleaned pictures differ by about a quarter of the level.
const MOVED: f32 = 0.5;
/// Added to it: rounding.
const ROUNDING: f32 = 1.0;
/// Weights are of 256.
const ONE: i32 = 256;

/// The last output, and memory for rows.
#[derive(Debug, Default)]
pub struct Temporal {
    last: Option<Yuv420>,
    /// For luma, and for chroma, which may be done at the same time.
    sums: [Vec<u16>; 2],
    /// Share of luma samples mixed by at least half of the largest weight, latest picture.
    pub still: f64,
}

impl Temporal {
    /// Forgets the last picture: it is of another scene.
    pub fn reset(&mut self) {
        self.last = None;
        self.still = 0.0;
    }

    /// Mixes a cleaned picture with the last output, in place; in a pool of threads, on two of them.
    /// `strength` is the largest weight of the last output (0 to 0.9), `sigma` the noise of luma and
    /// chroma before cleaning.
    pub fn apply(&mut self, picture: &mut Yuv420, strength: f32, sigma: (f32, f32)) {
        let same = |last: &Yuv420| (last.width, last.height) == (picture.width, picture.height);
        if strength <= 0.0 {
            self.reset();
            return;
        }
        match self.last.as_mut().filter(|last| same(last)) {
            None => self.last = Some(picture.clone()),
            Some(last) => {
                let (w, cw) = (picture.width, picture.chroma_width());
                let [sums, more] = &mut self.sums;
                let [luma, chroma] = [sigma.0, sigma.1].map(|s| Weights::new(strength, s));
                let samples = picture.y.len().max(1);
                let (now, before) = (picture, last);
                let mut first = || mix(&mut now.y, &mut before.y, w, luma, sums);
                let mut second = || {
                    mix(&mut now.u, &mut before.u, cw, chroma, more);
                    mix(&mut now.v, &mut before.v, cw, chroma, more);
                };
                let still = match rayon::current_thread_index() {
                    Some(_) => rayon::join(first, second).0,
                    None => {
                        let still = first();
                        second();
                        still
                    }
                };
                self.still = still as f64 / samples as f64;
            }
        }
    }
}

/// How the weight of the last output follows from the sum of nine differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// The largest, of 256.
    pub most: i32,
    /// Sum from which a sample has moved.
    pub limit: i32,
    /// From the largest weight at half of the limit down to nothing at the limit, in 1/256 a step.
    pub slope: i32,
}

impl Weights {
    /// For a largest weight of 0 to 0.9, and noise before cleaning.
    pub fn new(strength: f32, sigma: f32) -> Self {
        let most = (strength.min(0.9) * ONE as f32) as i32;
        let limit = (9.0 * (MOVED * sigma + ROUNDING)) as i32;
        let limit = limit.clamp(2, 9 * 255);
        Self {
            most,
            limit,
            slope: (most << 8) / (limit - limit / 2).max(1),
        }
    }
}

/// Mixes a plane and keeps the result in `last` too. Answers how many samples got half of the
/// largest weight or more.
fn mix(
    plane: &mut [u8],
    last: &mut [u8],
    width: usize,
    weights: Weights,
    sums: &mut Vec<u16>,
) -> usize {
    let mut still = 0;
    match Isa::detect() {
        Some(isa) => mix_fast(isa, plane, last, width, weights, sums, &mut still),
        None => mix_body(plane, last, width, weights, sums, &mut still),
    }
    still
}

compile! {
    mix_fast(plane: &mut [u8], last: &mut [u8], width: usize, weights: Weights, sums: &mut Vec<u16>, still: &mut usize) =>
    mix_body(plane, last, width, weights, sums, still), mix_body(plane, last, width, weights, sums, still)
}

#[inline(always)]
fn difference(out: &mut [u16], plane: &[u8], last: &[u8]) {
    for ((out, a), b) in out.iter_mut().zip(plane).zip(last) {
        *out = u16::from(a.abs_diff(*b));
    }
}

#[inline(always)]
fn mix_body(
    plane: &mut [u8],
    last: &mut [u8],
    width: usize,
    Weights { most, limit, slope }: Weights,
    sums: &mut Vec<u16>,
    still: &mut usize,
) {
    if width == 0 || plane.len() < width || plane.len() != last.len() {
        return;
    }
    let height = plane.len() / width;
    // Column sums of three rows, with a margin on both sides, for the row at hand and the next:
    // rows are overwritten as they are done.
    sums.clear();
    sums.resize(3 * width + width + 2, 0);
    let (differences, columns) = sums.split_at_mut(3 * width);
    difference(&mut differences[..width], plane, last);
    difference(&mut differences[width..2 * width], plane, last);
    for y in 0..height {
        let below = (y + 1).min(height - 1) * width;
        difference(
            &mut differences[(y + 2) % 3 * width..][..width],
            &plane[below..],
            &last[below..],
        );
        let (a, rest) = differences.split_at(width);
        let (b, c) = rest.split_at(width);
        for (out, ((a, b), c)) in columns[1..=width].iter_mut().zip(a.iter().zip(b).zip(c)) {
            *out = a + b + c;
        }
        columns[0] = columns[1];
        columns[width + 1] = columns[width];
        let row = y * width..(y + 1) * width;
        let (now, before) = (&mut plane[row.clone()], &mut last[row]);
        let mut count = 0;
        let around = columns.iter().zip(&columns[1..]).zip(&columns[2..]);
        for ((now, before), ((l, m), r)) in now.iter_mut().zip(before).zip(around) {
            let sum = i32::from(*l) + i32::from(*m) + i32::from(*r);
            let weight = (((limit - sum) * slope) >> 8).clamp(0, most);
            count += i32::from(2 * weight >= most);
            let mixed = i32::from(*now) * (ONE - weight) + i32::from(*before) * weight + ONE / 2;
            let mixed = (mixed >> 8) as u8;
            (*now, *before) = (mixed, mixed);
        }
        *still += count as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{gradient, noisy};

    const W: usize = 96;
    const H: usize = 64;

    fn picture(luma: Vec<u8>) -> Yuv420 {
        let mut picture = Yuv420::new(W, H);
        picture.y = luma;
        picture
    }

    fn error(a: &[u8], b: &[u8]) -> f64 {
        let sum: f64 = a
            .iter()
            .zip(b)
            .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
            .sum();
        sum / a.len() as f64
    }

    #[test]
    fn what_stands_still_gets_cleaner() {
        let clean = gradient(W, H);
        let mut temporal = Temporal::default();
        let (mut first, mut later) = (0.0, 0.0);
        for i in 0..12 {
            // What a net leaves of noise of 20.
            let mut now = picture(noisy(&clean, 4.0, i + 1));
            temporal.apply(&mut now, 0.7, (20.0, 10.0));
            if i == 0 {
                first = error(&now.y, &clean);
            } else if i > 6 {
                later += error(&now.y, &clean) / 5.0;
            }
        }
        assert!(later < 0.35 * first, "{later} after {first}");
        assert!(temporal.still > 0.9, "{}", temporal.still);
    }

    #[test]
    fn what_moves_is_left_alone() {
        let mut temporal = Temporal::default();
        let at = |x: usize| {
            let mut luma = vec![60u8; W * H];
            for y in 20..40 {
                luma[y * W + x..y * W + x + 16].fill(190);
            }
            picture(luma)
        };
        for i in 0..8 {
            let mut now = at(10 + 5 * i);
            temporal.apply(&mut now, 0.7, (20.0, 10.0));
            assert!(now.y == at(10 + 5 * i).y, "frame {i} has a ghost");
        }
    }

    #[test]
    fn a_reset_leaves_nothing_of_the_last_scene() {
        let mut temporal = Temporal::default();
        temporal.apply(&mut picture(vec![90; W * H]), 0.9, (30.0, 15.0));
        temporal.reset();
        let scene = noisy(&vec![95; W * H], 2.0, 1);
        let mut now = picture(scene.clone());
        temporal.apply(&mut now, 0.9, (30.0, 15.0));
        assert_eq!(now.y, scene);
        // Without it there would be.
        temporal.apply(&mut picture(vec![90; W * H]), 0.9, (30.0, 15.0));
        let mut now = picture(scene.clone());
        temporal.apply(&mut now, 0.9, (30.0, 15.0));
        assert_ne!(now.y, scene);
    }

    #[test]
    fn any_size_and_none() {
        for (w, h) in [(0, 0), (1, 1), (3, 1), (1, 5), (2, 2)] {
            let mut temporal = Temporal::default();
            for _ in 0..2 {
                temporal.apply(&mut Yuv420::new(w, h), 0.5, (10.0, 10.0));
            }
            temporal.apply(&mut Yuv420::new(w + 2, h + 1), 0.5, (10.0, 10.0));
        }
    }
}
