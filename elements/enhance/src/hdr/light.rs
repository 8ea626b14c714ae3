// SPDX-License-Identifier: Apache-2.0
//! How bright PQ pictures are: the content light levels of CTA-861.3.
//!
//! Of every pixel the largest of red, green and blue counts. MaxCLL is the brightest of all pixels,
//! MaxFALL the highest mean of a frame. Every second row is looked at, with the chroma of each
//! pixel's own 2 x 2.

use super::pq_to_light;
use crate::deep::Yuv420Deep;

/// The brightest pixel of a picture, and its mean, in cd/m².
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Levels {
    pub brightest: f64,
    pub mean: f64,
}

/// Codes of a PQ value, narrow range.
pub const CODES: usize = 1024;

pub struct Meter {
    /// Light of each code of a channel.
    light: Vec<f32>,
    row: Vec<u16>,
}

impl Default for Meter {
    fn default() -> Self {
        let light = (0..CODES)
            .map(|code| pq_to_light(((code as f64 - 64.0) / 876.0).clamp(0.0, 1.0)) as f32)
            .collect();
        Self {
            light,
            row: Vec::new(),
        }
    }
}

impl Meter {
    /// Measures a PQ picture of BT.2020, narrow range.
    pub fn measure(&mut self, picture: &Yuv420Deep) -> Levels {
        let counts = self.count(picture);
        self.levels(&counts)
    }

    /// How many samples have each code of the brightest channel; every second row is looked at.
    pub fn count(&mut self, picture: &Yuv420Deep) -> [u32; CODES] {
        let (w, cw) = (picture.width, picture.chroma_width());
        let mut counts = [0u32; CODES];
        if w == 0 || picture.height == 0 {
            return counts;
        }
        self.row.resize(w, 0);
        for (at, y_row) in picture.y.chunks_exact(w).enumerate().step_by(2) {
            let chroma = at / 2 * cw..(at / 2 + 1) * cw;
            let (u, v) = (&picture.u[chroma.clone()], &picture.v[chroma]);
            for (pair, (y, (u, v))) in self
                .row
                .chunks_mut(2)
                .zip(y_row.chunks(2).zip(u.iter().zip(v)))
            {
                // Codes of a channel above luma's, in 16 bits behind the point: 876 / 896 of the
                // colour difference.
                let (u, v) = (i32::from(*u) - 512, i32::from(*v) - 512);
                let red = 94_482 * v;
                let green = -10_543 * u - 36_608 * v;
                let blue = 120_547 * u;
                let above = red.max(green).max(blue) >> 16;
                for (out, y) in pair.iter_mut().zip(y) {
                    *out = (i32::from(*y) + above).clamp(0, CODES as i32 - 1) as u16;
                }
            }
            for code in &self.row {
                counts[usize::from(*code) % CODES] += 1;
            }
        }
        counts
    }

    /// What the counts say.
    pub fn levels(&self, counts: &[u32; CODES]) -> Levels {
        let total: u64 = counts.iter().map(|n| u64::from(*n)).sum();
        if total == 0 {
            return Levels::default();
        }
        let brightest = counts.iter().rposition(|n| *n > 0).unwrap_or(0);
        let sum: f64 = counts
            .iter()
            .zip(&self.light)
            .map(|(n, light)| f64::from(*n) * f64::from(*light))
            .sum();
        Levels {
            brightest: f64::from(self.light[brightest]),
            mean: sum / total as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hdr::light_to_pq;

    fn code(light: f64) -> u16 {
        (64.0 + 876.0 * light_to_pq(light)).round() as u16
    }

    #[test]
    fn grey_and_one_bright_pixel() {
        let mut picture = Yuv420Deep::new(40, 20);
        picture.y.fill(code(100.0));
        let levels = Meter::default().measure(&picture);
        assert!((levels.brightest - 100.0).abs() < 1.0, "{levels:?}");
        assert!((levels.mean - 100.0).abs() < 1.0, "{levels:?}");
        picture.y[2 * 40 + 7] = code(900.0);
        let levels = Meter::default().measure(&picture);
        assert!((levels.brightest - 900.0).abs() < 9.0, "{levels:?}");
        assert!((levels.mean - 102.0).abs() < 1.0, "{levels:?}");
    }

    #[test]
    fn the_largest_channel_counts() {
        // Pure red of 500 cd/m².
        let red = light_to_pq(500.0);
        let y = 0.2627 * red;
        let (u, v) = ((0.0 - y) / 1.8814, (red - y) / 1.4746);
        let mut picture = Yuv420Deep::new(4, 4);
        picture.y.fill((64.0 + 876.0 * y).round() as u16);
        picture.u.fill((512.0 + 896.0 * u).round() as u16);
        picture.v.fill((512.0 + 896.0 * v).round() as u16);
        let levels = Meter::default().measure(&picture);
        assert!((levels.brightest - 500.0).abs() < 10.0, "{levels:?}");
        assert_eq!(
            Meter::default().measure(&Yuv420Deep::default()),
            Levels::default()
        );
    }
}
