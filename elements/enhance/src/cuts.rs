// SPDX-License-Identifier: Apache-2.0
//! Is this picture the first of a scene? For operations that remember: they must not carry the
//! last scene into the next one.
//!
//! A quick test on a thumbnail: its luma histogram and its pixels must both have changed a lot, and
//! much more than they changed lately. A flash changes both for a frame or two; taking it for a cut
//! costs an operation its memory and nothing else. (Scene analysis, which must not report flashes,
//! looks both ways.)

use aivideo_core::pixels::PlaneRef;

/// Side of the thumbnail.
pub const SIDE: usize = 32;
/// Which of the quarters of a field its samples begin, along a side.
pub const QUARTERS: usize = 4;
pub const PLACES: [usize; 2] = [1, 3];
const BINS: usize = 16;

/// Share of samples that must have changed their histogram bin, and mean difference of samples.
const MOVED: f32 = 0.20;
const DIFFERENT: f32 = 10.0;
/// How much more than the usual change.
const ABOVE: f32 = 3.0;

#[derive(Debug, Clone, Default)]
pub struct CutDetector {
    last: Vec<u8>,
    histogram: [i32; BINS],
    /// Usual mean difference from one picture to the next.
    usual: f32,
}

impl CutDetector {
    /// Takes the next picture's luma, and says whether a scene begins with it. The very first one
    /// does not count: nothing is remembered then.
    pub fn is_cut(&mut self, luma: PlaneRef<'_>) -> bool {
        if luma.width == 0 || luma.height == 0 {
            return false;
        }
        self.is_cut_of(thumbnail(luma))
    }

    /// The same of sums of [`PLACES`] squared samples of each of [`SIDE`] x [`SIDE`] fields.
    pub fn is_cut_of_sums(&mut self, sums: &[u16]) -> bool {
        let samples = (PLACES.len() * PLACES.len()) as u16;
        self.is_cut_of(sums.iter().map(|sum| (sum / samples) as u8).collect())
    }

    fn is_cut_of(&mut self, small: Vec<u8>) -> bool {
        let mut histogram = [0i32; BINS];
        for v in &small {
            histogram[usize::from(*v) * BINS / 256] += 1;
        }
        let cut = if self.last.len() == small.len() {
            let difference = small
                .iter()
                .zip(&self.last)
                .map(|(a, b)| f32::from(a.abs_diff(*b)))
                .sum::<f32>()
                / small.len() as f32;
            let moved = histogram
                .iter()
                .zip(&self.histogram)
                .map(|(a, b)| (a - b).abs())
                .sum::<i32>() as f32
                / (2 * small.len()) as f32;
            let cut = difference > DIFFERENT.max(ABOVE * self.usual)
                && (moved > MOVED || difference > 3.0 * DIFFERENT);
            // A cut says nothing about what is usual.
            if !cut {
                self.usual += 0.15 * (difference - self.usual);
            }
            cut
        } else {
            self.usual = 0.0;
            false
        };
        self.last = small;
        self.histogram = histogram;
        cut
    }

    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Means of a few samples of each of `SIDE` x `SIDE` fields.
fn thumbnail(luma: PlaneRef<'_>) -> Vec<u8> {
    let mut small = Vec::with_capacity(SIDE * SIDE);
    for y in 0..SIDE {
        let place = |field: usize, q: usize, length: usize| {
            (QUARTERS * field + q) * length / (QUARTERS * SIDE)
        };
        let rows = PLACES.map(|q| place(y, q, luma.height));
        for x in 0..SIDE {
            let columns = PLACES.map(|q| place(x, q, luma.width));
            let sum: u32 = rows
                .iter()
                .flat_map(|row| columns.iter().map(|x| u32::from(luma.row(*row)[*x])))
                .sum();
            small.push((sum / 4) as u8);
        }
    }
    small
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, noisy};

    fn scene(seed: u64, shift: usize) -> Vec<u8> {
        let (w, h) = (160, 90);
        let mut random = Random::new(seed);
        let blocks: Vec<u8> = (0..400).map(|_| random.next_u32() as u8).collect();
        (0..w * h)
            .map(|i| blocks[(i / w / 6 * 20 + (i % w + shift) / 9) % blocks.len()])
            .collect()
    }

    #[test]
    fn cuts_are_seen_and_motion_and_noise_are_not() {
        let mut cuts = CutDetector::default();
        let mut seen = Vec::new();
        for i in 0..40u64 {
            let plane = noisy(&scene(i / 10 + 1, i as usize), 8.0, i);
            if cuts.is_cut(PlaneRef::packed(&plane, 160, 90)) {
                seen.push(i);
            }
        }
        assert_eq!(seen, [10, 20, 30]);
    }

    #[test]
    fn a_fade_is_no_cut_and_nothing_is_no_picture() {
        let mut cuts = CutDetector::default();
        let plane = scene(3, 0);
        for i in 0..30 {
            let faded: Vec<u8> = plane
                .iter()
                .map(|v| (u32::from(*v) * i / 30) as u8)
                .collect();
            assert!(!cuts.is_cut(PlaneRef::packed(&faded, 160, 90)), "{i}");
        }
        assert!(!cuts.is_cut(PlaneRef::packed(&[], 0, 0)));
    }
}
