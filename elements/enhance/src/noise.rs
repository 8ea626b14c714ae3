// SPDX-License-Identifier: Apache-2.0
//! How much noise a plane carries, measured.
//!
//! A second-difference filter in both directions cancels everything that is locally a plane and
//! answers white noise of deviation s with 6 s (Immerkær, "Fast noise variance estimation", 1996).
//! Texture answers it too, so the answer is taken block by block and the quietest tenth counts.
//! Blocks that touch black or white are left out, as clipping hides noise there (unless the noise is
//! so strong that hardly a block is left), and so are blocks with a line of no response: edges of
//! letter boxes, and drawings.

use aivideo_core::pixels::PlaneRef;

/// Side of a block.
const BLOCK: usize = 16;
/// No more blocks than this are looked at, whatever the size of the picture.
const MAX_BLOCKS: usize = 600;
/// Black or white samples that a block may have: none, or, where that leaves too few blocks, some.
const CLIPPED: [u8; 2] = [0, 16];
/// Fewer blocks than this are no measurement.
const MIN_BLOCKS: usize = 12;
/// The share of quietest blocks that is passed over before one is believed.
const QUANTILE: f32 = 0.1;
/// The tenth quantile of pure noise lies this much under its mean (measured, see the tests).
const QUANTILE_GAIN: f32 = 1.115;
/// Mean of |x| of a Gaussian of deviation 1, times the filter's gain of 6.
const MEAN_GAIN: f32 = 0.797_885 * 6.0;
/// Variance of rounding to whole numbers.
const ROUNDING: f32 = 1.0 / 12.0;

/// What a block says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Of the filter's answers, each without its sign.
    pub sum: u32,
    /// Samples that are black or white.
    pub clipped: u32,
    /// A line has no response at all.
    pub flat: bool,
}

/// Which blocks of a plane are looked at: every so many-th, along the rows of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// In a row of them.
    pub across: usize,
    pub every: usize,
    /// How many are looked at.
    pub count: usize,
}

impl Blocks {
    /// Of a plane; `None` where it has too few to say anything.
    pub fn of(width: usize, height: usize) -> Option<Self> {
        let (across, down) = (width / BLOCK, height / BLOCK);
        if across * down < MIN_BLOCKS {
            return None;
        }
        // A step prime to `across` wanders over columns.
        let mut every = (across * down).div_ceil(MAX_BLOCKS);
        while every > 1 && across.is_multiple_of(every) {
            every += 1;
        }
        Some(Self {
            across,
            every,
            count: (across * down).div_ceil(every),
        })
    }
}

/// Standard deviation of the noise in 8-bit steps; `None` when nothing can be said (too small,
/// flat, or clipped everywhere).
pub fn estimate(plane: PlaneRef<'_>) -> Option<f32> {
    let blocks = Blocks::of(plane.width, plane.height)?;
    CLIPPED
        .into_iter()
        .find_map(|clipped| quiet(answers(&plane, blocks, clipped)))
}

/// The same of what all [`Blocks`] of a plane say.
pub fn estimate_of(answers: &[Answer]) -> Option<f32> {
    CLIPPED.into_iter().find_map(|clipped| {
        let answers = answers.iter().copied();
        quiet(answers.filter(move |answer| answer.clipped <= u32::from(clipped)))
    })
}

/// What blocks with at most `clipped` black or white samples say.
pub fn answers<'a>(
    plane: &'a PlaneRef<'_>,
    Blocks {
        across,
        every,
        count,
    }: Blocks,
    clipped: u8,
) -> impl Iterator<Item = Answer> + 'a {
    (0..count).filter_map(move |i| {
        let block_at = i * every;
        block(
            plane,
            block_at % across * BLOCK,
            block_at / across * BLOCK,
            clipped,
        )
    })
}

/// The quietest tenth of blocks.
fn quiet(answers: impl Iterator<Item = Answer>) -> Option<f32> {
    let count = ((BLOCK - 2) * (BLOCK - 2)) as f32;
    let mut found: Vec<f32> = answers
        .filter(|answer| !answer.flat)
        .map(|answer| answer.sum as f32 / count / MEAN_GAIN)
        .collect();
    if found.len() < MIN_BLOCKS {
        return None;
    }
    let at = (found.len() as f32 * QUANTILE) as usize;
    let (_, quiet, _) = found.select_nth_unstable_by(at, f32::total_cmp);
    let sigma = *quiet * QUANTILE_GAIN;
    Some((sigma * sigma - ROUNDING).max(0.0).sqrt())
}

/// What one block says, or `None` when more samples than `clipped` are black or white.
fn block(plane: &PlaneRef<'_>, x: usize, y: usize, clipped: u8) -> Option<Answer> {
    let mut rows = [[0u8; BLOCK]; BLOCK];
    for (r, row) in rows.iter_mut().enumerate() {
        row.copy_from_slice(&plane.row(y + r)[x..x + BLOCK]);
    }
    let mut ends = [0u8; BLOCK];
    for row in &rows {
        ends = std::array::from_fn(|i| ends[i] + u8::from(row[i] == u8::MIN || row[i] == u8::MAX));
    }
    let ends = ends.iter().map(|n| u32::from(*n)).sum();
    if ends > u32::from(clipped) {
        return None;
    }
    // Whole arrays at a time, as vector units like it. The two last columns have no answer.
    let mut columns = [0i16; BLOCK];
    let (mut sum, mut has_flat_line) = (0i32, false);
    for three in rows.windows(3) {
        let second = |a: u8, b: u8, c: u8| i16::from(a) - 2 * i16::from(b) + i16::from(c);
        let mut v = [0i16; BLOCK + 2];
        for i in 0..BLOCK {
            v[i] = second(three[0][i], three[1][i], three[2][i]);
        }
        let mut answers: [i16; BLOCK] =
            std::array::from_fn(|i| (v[i] - 2 * v[i + 1] + v[i + 2]).abs());
        answers[BLOCK - 2..].fill(0);
        columns = std::array::from_fn(|i| columns[i] + answers[i]);
        let line: i16 = answers.iter().sum(); // 14 answers of at most 2040: fits
        has_flat_line |= line == 0;
        sum += i32::from(line);
    }
    Some(Answer {
        sum: sum as u32,
        clipped: ends,
        flat: has_flat_line || columns[..BLOCK - 2].contains(&0),
    })
}

/// An estimate that follows the picture slowly, so that strength does not flicker.
#[derive(Debug, Default, Clone, Copy)]
pub struct Follower {
    value: Option<f32>,
}

impl Follower {
    /// Weight of a new measurement.
    const RATE: f32 = 0.2;

    /// Takes a measurement in and answers the smoothed level (0 before the first one).
    pub fn update(&mut self, measured: Option<f32>) -> f32 {
        self.value = match (self.value, measured) {
            (Some(old), Some(new)) => Some(old + Self::RATE * (new - old)),
            (old, new) => new.or(old),
        };
        self.value.unwrap_or(0.0)
    }

    /// Forgets what was seen.
    pub fn reset(&mut self) {
        self.value = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, gradient, noisy};

    #[test]
    fn pure_noise_is_measured_within_five_percent() {
        for sigma in [2.0f32, 5.0, 10.0, 20.0, 30.0] {
            for (w, h) in [(640, 360), (1280, 720), (333, 251)] {
                let plane = noisy(&vec![128; w * h], sigma, 7);
                let got = estimate(PlaneRef::packed(&plane, w, h)).expect("measurable");
                assert!(
                    (got / sigma - 1.0).abs() < 0.05,
                    "sigma {sigma} at {w}x{h}: {got}"
                );
            }
        }
    }

    #[test]
    fn slopes_are_not_noise() {
        let (w, h) = (640, 360);
        let plane = gradient(w, h);
        let clean = estimate(PlaneRef::packed(&plane, w, h)).unwrap_or(0.0);
        assert!(clean < 0.6, "{clean}");
        let plane = noisy(&plane, 8.0, 3);
        let got = estimate(PlaneRef::packed(&plane, w, h)).expect("measurable");
        assert!((got - 8.0).abs() < 0.6, "{got}");
    }

    #[test]
    fn flat_clipped_and_tiny_planes_say_nothing() {
        assert_eq!(estimate(PlaneRef::packed(&[77; 64 * 64], 64, 64)), None);
        assert_eq!(estimate(PlaneRef::packed(&[255; 64 * 64], 64, 64)), None);
        assert_eq!(estimate(PlaneRef::packed(&[1, 2, 3, 4], 2, 2)), None);
        assert_eq!(estimate(PlaneRef::packed(&[], 0, 0)), None);
    }

    #[test]
    fn letter_boxes_do_not_hide_noise() {
        let (w, h) = (640, 360);
        let mut plane = noisy(&vec![120; w * h], 12.0, 5);
        plane[..w * 100].fill(16);
        plane[w * 260..].fill(16);
        let got = estimate(PlaneRef::packed(&plane, w, h)).expect("measurable");
        assert!((got - 12.0).abs() < 1.0, "{got}");
    }

    #[test]
    fn strong_noise_is_seen_though_it_clips_everywhere() {
        let (w, h) = (640, 360);
        let plane = noisy(&gradient(w, h), 50.0, 5);
        let got = estimate(PlaneRef::packed(&plane, w, h)).expect("measurable");
        assert!((got - 50.0).abs() < 6.0, "{got}");
    }

    #[test]
    fn strides_do_not_matter() {
        let (w, h, stride) = (320, 240, 352);
        let plane = noisy(&vec![100; w * h], 9.0, 1);
        let mut padded = vec![0; stride * h];
        let mut random = Random::new(9);
        padded.fill_with(|| random.next_u32() as u8);
        for y in 0..h {
            padded[y * stride..][..w].copy_from_slice(&plane[y * w..][..w]);
        }
        let strided = PlaneRef {
            data: &padded,
            stride,
            width: w,
            height: h,
        };
        assert_eq!(estimate(strided), estimate(PlaneRef::packed(&plane, w, h)));
    }

    #[test]
    fn follower_starts_at_once_then_moves_slowly() {
        let mut f = Follower::default();
        assert_eq!(f.update(None), 0.0);
        assert_eq!(f.update(Some(10.0)), 10.0);
        assert_eq!(f.update(Some(20.0)), 12.0);
        assert_eq!(f.update(None), 12.0);
        f.reset();
        assert_eq!(f.update(Some(3.0)), 3.0);
    }
}
