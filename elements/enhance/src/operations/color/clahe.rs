// SPDX-License-Identifier: Apache-2.0
//! Contrast limited adaptive histogram equalisation of luma (Zuiderveld 1994), steady over time.
//!
//! Each of 8 x 8 fields has a curve from its own clipped histogram; a pixel's is interpolated from
//! the four around it. Curves follow the picture slowly, so that contrast does not pump.

/// Fields along a side.
pub const FIELDS: usize = 8;
const CODES: usize = 256;
/// A histogram bin counts for at most this many times the mean: the curve's largest slope.
pub const CLIP: f32 = 2.5;
/// Weight of a new picture's curves.
pub const RATE: f32 = 0.15;

#[derive(Default)]
pub struct Clahe {
    /// Curves of all fields, as shares of the range.
    curves: Vec<f32>,
    /// The same mixed with the identity, in 1/128 codes.
    mixed: Vec<i16>,
    rows: Vec<i16>,
    /// Which field and how far, for each column.
    columns: Vec<(u16, i16)>,
}

impl Clahe {
    pub fn reset(&mut self) {
        self.curves.clear();
    }

    /// Raises contrast in place: 0 nothing, 1 the full curves. `range` are the codes of black and
    /// white.
    pub fn apply(&mut self, luma: &mut [u8], width: usize, amount: f32, range: (u8, u8)) {
        if !applies(width, luma.len() / width.max(1), amount) {
            return;
        }
        let height = luma.len() / width;
        self.follow(luma, width, height, range);
        self.mix(amount, range);
        self.place(width);
        self.rows.resize(FIELDS * CODES, 0);
        for (y, row) in luma.chunks_exact_mut(width).enumerate() {
            let (above, part) = place(y, height);
            let below = (above + 1).min(FIELDS - 1);
            let fields = |row: usize| &self.mixed[row * FIELDS * CODES..][..FIELDS * CODES];
            for ((out, a), b) in self.rows.iter_mut().zip(fields(above)).zip(fields(below)) {
                *out = (a + ((i32::from(b - a) * i32::from(part)) >> 7) as i16).max(0);
            }
            for (v, (field, part)) in row.iter_mut().zip(&self.columns) {
                let at = usize::from(*field) * CODES + usize::from(*v);
                let a = i32::from(self.rows[at]);
                let b = i32::from(
                    self.rows[(at + CODES).min(FIELDS * CODES - 1 - (CODES - 1 - usize::from(*v)))],
                );
                *v = ((a * 128 + (b - a) * i32::from(*part) + (1 << 13)) >> 14).clamp(0, 255) as u8;
            }
        }
    }

    /// Takes the picture's histograms in.
    fn follow(&mut self, luma: &[u8], width: usize, height: usize, (black, white): (u8, u8)) {
        let fresh = self.curves.len() != FIELDS * FIELDS * CODES;
        self.curves.resize(FIELDS * FIELDS * CODES, 0.0);
        let (low, high) = (usize::from(black), usize::from(white));
        for field in 0..FIELDS * FIELDS {
            let (fx, fy) = (field % FIELDS, field / FIELDS);
            let columns = fx * width / FIELDS..(fx + 1) * width / FIELDS;
            let mut counts = [0u32; CODES];
            let mut total = 0u32;
            // Every second row is plenty.
            for y in (fy * height / FIELDS..(fy + 1) * height / FIELDS).step_by(2) {
                let row = &luma[y * width..][columns.clone()];
                for v in row {
                    counts[usize::from(*v)] += 1;
                }
                total += row.len() as u32;
            }
            let limit = CLIP * total as f32 / (high - low + 1) as f32;
            let cut: f32 = counts.iter().map(|n| (*n as f32 - limit).max(0.0)).sum();
            let everyone = cut / (high - low + 1) as f32;
            let all = total.max(1) as f32;
            let mut sum = 0.0;
            let curve = &mut self.curves[field * CODES..][..CODES];
            for (code, (out, n)) in curve.iter_mut().zip(counts).enumerate() {
                let inside = (low..=high).contains(&code);
                let share = ((n as f32).min(limit) + if inside { everyone } else { 0.0 }) / all;
                let value = (sum + share / 2.0).min(1.0);
                sum += share;
                *out = if fresh {
                    value
                } else {
                    *out + RATE * (value - *out)
                };
            }
        }
    }

    fn mix(&mut self, amount: f32, (black, white): (u8, u8)) {
        let (low, span) = (f32::from(black), f32::from(white) - f32::from(black));
        self.mixed.clear();
        self.mixed
            .extend(self.curves.iter().enumerate().map(|(i, share)| {
                let code = (i % CODES) as f32;
                // Codes outside of the range stay what they are.
                let wanted = if code < low || code > low + span {
                    code
                } else {
                    low + span * share
                };
                ((code + amount * (wanted - code)) * 128.0) as i16
            }));
    }

    fn place(&mut self, width: usize) {
        if self.columns.len() != width {
            self.columns = (0..width)
                .map(|x| {
                    let (field, part) = place(x, width);
                    (field as u16, part)
                })
                .collect();
        }
    }
}

/// Whether a picture is large enough, and anything wanted.
pub fn applies(width: usize, height: usize, amount: f32) -> bool {
    width.min(height) >= 2 * FIELDS && amount > 0.0
}

/// The field whose centre lies before a sample, and how far towards the next, in 1/128.
fn place(at: usize, length: usize) -> (usize, i16) {
    let at = (at as f32 + 0.5) * FIELDS as f32 / length as f32 - 0.5;
    let at = at.clamp(0.0, (FIELDS - 1) as f32);
    let field = at as usize;
    (field, ((at - field as f32) * 128.0) as i16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{gradient, noisy};

    /// Mean difference of neighbours: local contrast.
    fn texture(plane: &[u8]) -> f32 {
        let sum: u32 = plane
            .windows(2)
            .map(|p| u32::from(p[0].abs_diff(p[1])))
            .sum();
        sum as f32 / plane.len() as f32
    }

    #[test]
    fn dull_textures_gain_contrast_and_order_is_kept() {
        let (w, h) = (160, 96);
        let base: Vec<u8> = gradient(w, h).iter().map(|v| 60 + v / 3).collect();
        let plane = noisy(&base, 4.0, 5);
        let mut out = plane.clone();
        Clahe::default().apply(&mut out, w, 1.0, (16, 235));
        let (before, full) = (texture(&plane), texture(&out));
        assert!(full > 1.4 * before, "{before} {full}");
        let mut some = plane.clone();
        Clahe::default().apply(&mut some, w, 0.3, (16, 235));
        assert!(texture(&some) > before && texture(&some) < full);
        // Brighter stays brighter, but for what a neighbour's weights move.
        for y in 0..h {
            for x in 1..w {
                let (a, b) = (y * w + x - 1, y * w + x);
                assert!(plane[b] < plane[a] + 2 || out[b] >= out[a], "{x} {y}");
            }
        }
    }

    #[test]
    fn black_bars_and_small_pictures_stay() {
        let (w, h) = (160, 96);
        let mut plane = gradient(w, h);
        plane[..w * 20].fill(7);
        let mut out = plane.clone();
        Clahe::default().apply(&mut out, w, 1.0, (16, 235));
        assert!(out[..w * 20].iter().all(|v| *v == 7));
        let mut tiny = vec![9; 12];
        Clahe::default().apply(&mut tiny, 4, 1.0, (16, 235));
        assert_eq!(tiny, [9; 12]);
    }

    #[test]
    fn curves_move_slowly_until_a_reset() {
        let (w, h) = (160, 96);
        let dark: Vec<u8> = gradient(w, h).iter().map(|v| 20 + v / 8).collect();
        let bright: Vec<u8> = dark.iter().map(|v| v + 150).collect();
        let mut clahe = Clahe::default();
        clahe.apply(&mut dark.clone(), w, 1.0, (16, 235));
        let mut followed = bright.clone();
        clahe.apply(&mut followed, w, 1.0, (16, 235));
        clahe.reset();
        let mut fresh = bright.clone();
        clahe.apply(&mut fresh, w, 1.0, (16, 235));
        let mut alone = bright.clone();
        Clahe::default().apply(&mut alone, w, 1.0, (16, 235));
        assert_eq!(fresh, alone);
        assert_ne!(followed, alone);
    }
}
