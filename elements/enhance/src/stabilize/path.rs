// SPDX-License-Identifier: Apache-2.0
//! What the camera did, what it should have done, and the difference.
//!
//! Motions are added up to a path. The wanted path is, at each picture, the line that fits the
//! path around it best (least squares, weights of a Gaussian, as far ahead as pictures are known).
//! A line, because a mean lags behind a pan where less is known of the future than of the past.

use std::collections::VecDeque;

use super::similarity::Similarity;

/// The Gaussian is cut off after so many deviations.
const REACH: f32 = 3.0;

#[derive(Debug, Clone, Copy)]
struct Point {
    at: [f64; 4],
    scene: u64,
}

/// A path that grows at its end and is smoothed `look_ahead` pictures before it.
#[derive(Debug, Clone)]
pub struct Path {
    look_ahead: usize,
    points: VecDeque<Point>,
    /// Number of the first point that is kept, and of the next that is wanted.
    first: u64,
    next: u64,
    scene: u64,
}

impl Path {
    pub fn new(look_ahead: usize) -> Self {
        Self {
            look_ahead,
            points: VecDeque::new(),
            first: 0,
            next: 0,
            scene: 0,
        }
    }

    pub fn reset(&mut self) {
        *self = Self::new(self.look_ahead);
    }

    /// Adds a picture that moved so against the one before; the first of a scene moved not at all.
    pub fn push(&mut self, motion: Similarity, cut: bool) {
        if cut {
            self.scene += 1;
        }
        let motion = if cut { Similarity::IDENTITY } else { motion };
        let mut at = self.points.back().map_or([0.0; 4], |last| last.at);
        for (sum, step) in at.iter_mut().zip(motion.values()) {
            *sum += f64::from(step);
        }
        self.points.push_back(Point {
            at,
            scene: self.scene,
        });
    }

    /// Whether the next correction sees as far ahead as it should.
    pub fn is_ready(&self) -> bool {
        self.first + self.points.len() as u64 > self.next + self.look_ahead as u64
    }

    /// By how much the next picture is to be moved, smoothed over a deviation of so many pictures.
    pub fn correction(&mut self, deviation: f32) -> Option<Similarity> {
        let here = (self.next - self.first) as usize;
        let point = *self.points.get(here)?;
        let reach = ((deviation * REACH).ceil() as usize).max(1);
        let from = here.saturating_sub(reach);
        let to = (here + reach.min(self.look_ahead)).min(self.points.len() - 1);
        let (mut w0, mut w1, mut w2) = (0.0_f64, 0.0, 0.0);
        let (mut s0, mut s1) = ([0.0_f64; 4], [0.0_f64; 4]);
        for at in from..=to {
            let other = &self.points[at];
            if other.scene != point.scene {
                continue;
            }
            let t = at as f64 - here as f64;
            let w = (-0.5 * (t / f64::from(deviation.max(0.1))).powi(2)).exp();
            w0 += w;
            w1 += w * t;
            w2 += w * t * t;
            for k in 0..4 {
                s0[k] += w * other.at[k];
                s1[k] += w * t * other.at[k];
            }
        }
        let determinant = w0 * w2 - w1 * w1;
        let wanted = |k: usize| {
            if determinant > 1e-9 * w0 * w0 {
                (w2 * s0[k] - w1 * s1[k]) / determinant
            } else {
                s0[k] / w0
            }
        };
        let correction = std::array::from_fn(|k| (wanted(k) - point.at[k]) as f32);
        self.next += 1;
        // What no later correction can reach is forgotten; deviations may grow up to a second.
        let keep = reach.max(200) as u64;
        while self.next - self.first > keep {
            self.points.pop_front();
            self.first += 1;
        }
        Some(Similarity::from_values(correction))
    }
}

/// The largest part of a correction that shows nothing from outside the picture when it is
/// enlarged by `zoom`.
pub fn fit_inside(correction: Similarity, zoom: f32, (width, height): (f32, f32)) -> Similarity {
    let (half_w, half_h) = ((width - 1.0) / 2.0, (height - 1.0) / 2.0);
    let fits = |part: f32| {
        let moved = correction.times(part);
        let (c, s) = moved.linear();
        let power = c * c + s * s;
        [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)]
            .into_iter()
            .all(|(x, y)| {
                let (x, y) = (x * half_w / zoom - moved.x, y * half_h / zoom - moved.y);
                let (x, y) = ((c * x + s * y) / power, (c * y - s * x) / power);
                x.abs() <= half_w + 0.01 && y.abs() <= half_h + 0.01
            })
    };
    if fits(1.0) {
        return correction;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..14 {
        let middle = (low + high) / 2.0;
        if fits(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    correction.times(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shift(x: f32) -> Similarity {
        Similarity {
            x,
            ..Similarity::IDENTITY
        }
    }

    fn corrections(motions: &[f32], look_ahead: usize, deviation: f32) -> Vec<f32> {
        let mut path = Path::new(look_ahead);
        let mut out = Vec::new();
        for motion in motions {
            path.push(shift(*motion), false);
            if path.is_ready() {
                out.push(path.correction(deviation).unwrap().x);
            }
        }
        while let Some(correction) = path.correction(deviation) {
            out.push(correction.x);
        }
        out
    }

    #[test]
    fn each_picture_gets_one_correction_whatever_the_look_ahead() {
        for look_ahead in [0, 1, 7, 30] {
            assert_eq!(corrections(&[1.0; 20], look_ahead, 5.0).len(), 20);
        }
    }

    #[test]
    fn a_steady_pan_is_left_alone_and_shaking_goes() {
        let pan = vec![3.0; 100];
        assert!(corrections(&pan, 5, 10.0).iter().all(|x| x.abs() < 1e-3));
        // Two to and fro on the pan: the path is off by one, alternately.
        let shaken: Vec<f32> = (0..100)
            .map(|n| 3.0 + if n % 2 == 0 { 2.0 } else { -2.0 })
            .collect();
        let out = corrections(&shaken, 10, 10.0);
        for (n, x) in out.iter().enumerate().skip(40).take(30) {
            let expected = if n % 2 == 0 { -1.0 } else { 1.0 };
            assert!((x - expected).abs() < 0.1, "{n} {x}");
        }
    }

    #[test]
    fn nothing_is_smoothed_across_a_cut() {
        let mut path = Path::new(10);
        for n in 0..40 {
            path.push(shift(if n < 20 { 5.0 } else { -5.0 }), n == 20);
        }
        for n in 0..40 {
            let x = path.correction(6.0).unwrap().x;
            assert!(x.abs() < 1e-3, "{n}: {x}");
        }
    }

    #[test]
    fn corrections_stay_inside_the_picture() {
        let size = (640.0, 360.0);
        let large = shift(100.0);
        let fitted = fit_inside(large, 1.1, size);
        // Enlarging by 1.1 leaves 29 pixels at each side.
        assert!((fitted.x - 29.0).abs() < 0.3, "{fitted:?}");
        assert_eq!(fit_inside(shift(5.0), 1.1, size), shift(5.0));
        assert!(fit_inside(large, 1.0, size).x.abs() < 0.02);
    }
}
