// SPDX-License-Identifier: Apache-2.0
//! Luma at falling resolutions.

use aivideo_core::pixels::PlaneRef;

/// The finest level is at most so wide: motion is found to parts of a pixel there, and more pixels
/// cost time and find no more.
const WIDEST: usize = 720;
/// Levels, as long as the smaller side has this many pixels.
const LEVELS: usize = 4;
const SMALLEST: usize = 24;

/// A grey picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grey {
    pub width: usize,
    pub height: usize,
    pub data: Vec<u8>,
}

impl Grey {
    pub fn row(&self, y: usize) -> &[u8] {
        &self.data[y * self.width..][..self.width]
    }

    /// Bilinear samples of `side` x `side` pixels whose first lies at (x, y). Beyond the border
    /// the border is repeated.
    pub fn patch(&self, x: f32, y: f32, side: usize, out: &mut [f32]) {
        let (xi, yi) = (x.floor(), y.floor());
        let (fx, fy) = (x - xi, y - yi);
        let (xi, yi) = (xi as isize, yi as isize);
        let weights = [
            (1.0 - fx) * (1.0 - fy),
            fx * (1.0 - fy),
            (1.0 - fx) * fy,
            fx * fy,
        ];
        let inside = xi >= 0
            && yi >= 0
            && xi as usize + side < self.width
            && yi as usize + side < self.height;
        if inside {
            let (xi, yi) = (xi as usize, yi as usize);
            for (n, out) in out.chunks_exact_mut(side).take(side).enumerate() {
                let above = &self.row(yi + n)[xi..=xi + side];
                let below = &self.row(yi + n + 1)[xi..=xi + side];
                for (k, out) in out.iter_mut().enumerate() {
                    *out = weights[0] * f32::from(above[k])
                        + weights[1] * f32::from(above[k + 1])
                        + weights[2] * f32::from(below[k])
                        + weights[3] * f32::from(below[k + 1]);
                }
            }
            return;
        }
        let at = |x: isize, y: isize| {
            let x = x.clamp(0, self.width as isize - 1) as usize;
            let y = y.clamp(0, self.height as isize - 1) as usize;
            f32::from(self.data[y * self.width + x])
        };
        for (n, out) in out.chunks_exact_mut(side).take(side).enumerate() {
            for (k, out) in out.iter_mut().enumerate() {
                let (x, y) = (xi + k as isize, yi + n as isize);
                *out = weights[0] * at(x, y)
                    + weights[1] * at(x + 1, y)
                    + weights[2] * at(x, y + 1)
                    + weights[3] * at(x + 1, y + 1);
            }
        }
    }
}

/// The finest level first, each half of the one before.
#[derive(Debug, Clone, Default)]
pub struct Pyramid {
    pub levels: Vec<Grey>,
    reduction: usize,
    full: (usize, usize),
}

impl Pyramid {
    /// Builds the levels; the memory of `old` is used again.
    pub fn new(luma: PlaneRef<'_>, old: Option<Self>) -> Self {
        let mut memory = old.map(|old| old.levels).unwrap_or_default();
        let mut finest = memory.pop().unwrap_or_default();
        reduce(luma, reduction(luma.width), &mut finest);
        Self::of_finest(finest, (luma.width, luma.height), memory)
    }

    /// The same of the finest level, which [`reduced`] describes, of a picture of this size.
    pub fn of_reduced(finest: Grey, full: (usize, usize), old: Option<Self>) -> Self {
        let memory = old.map(|old| old.levels).unwrap_or_default();
        Self::of_finest(finest, full, memory)
    }

    fn of_finest(finest: Grey, full: (usize, usize), mut memory: Vec<Grey>) -> Self {
        let mut take = || memory.pop().unwrap_or_default();
        let mut levels = vec![finest];
        while levels.len() < LEVELS {
            let last = &levels[levels.len() - 1];
            if last.width.min(last.height) / 2 < SMALLEST {
                break;
            }
            let mut next = take();
            let plane = PlaneRef::packed(&last.data, last.width, last.height);
            reduce(plane, 2, &mut next);
            levels.push(next);
        }
        Self {
            levels,
            reduction: reduction(full.0),
            full,
        }
    }

    /// Size of the finest level.
    pub fn size(&self) -> (usize, usize) {
        (self.levels[0].width, self.levels[0].height)
    }

    /// How much smaller the finest level is than the picture.
    pub fn reduction(&self) -> usize {
        self.reduction
    }

    pub fn same_size(&self, other: &Self) -> bool {
        self.full == other.full
    }
}

/// How much smaller the finest level is than a picture of this width.
fn reduction(width: usize) -> usize {
    let mut reduction = 1;
    while width / reduction > WIDEST {
        reduction *= 2;
    }
    reduction
}

/// For a picture of this size: the side of the blocks whose means are the finest level, and its size.
pub fn reduced((width, height): (usize, usize)) -> (usize, (usize, usize)) {
    let by = reduction(width);
    let size = ((width / by).max(1), (height / by).max(1));
    // Of a picture that is lower than a block, samples are taken as they are.
    (if height < by { 1 } else { by }, size)
}

/// Means of blocks of `by` x `by` samples; what is left over at the right and below is dropped.
fn reduce(plane: PlaneRef<'_>, by: usize, out: &mut Grey) {
    let (width, height) = ((plane.width / by).max(1), (plane.height / by).max(1));
    out.width = width;
    out.height = height;
    out.data.resize(width * height, 0);
    if by == 1 || plane.width < by || plane.height < by {
        for (y, row) in out.data.chunks_exact_mut(width).enumerate() {
            row.copy_from_slice(&plane.row(y)[..width]);
        }
        return;
    }
    let area = (by * by) as u32;
    let mut sums = vec![0_u32; width];
    for (y, row) in out.data.chunks_exact_mut(width).enumerate() {
        if by == 2 {
            let (above, below) = (plane.row(2 * y), plane.row(2 * y + 1));
            let (above, _) = above.as_chunks::<2>();
            let (below, _) = below.as_chunks::<2>();
            for ((out, a), b) in row.iter_mut().zip(above).zip(below) {
                let sum = u16::from(a[0]) + u16::from(a[1]) + u16::from(b[0]) + u16::from(b[1]);
                *out = ((sum + 2) / 4) as u8;
            }
            continue;
        }
        sums.fill(0);
        for k in 0..by {
            for (sum, block) in sums.iter_mut().zip(plane.row(by * y + k).chunks_exact(by)) {
                *sum += block.iter().map(|v| u32::from(*v)).sum::<u32>();
            }
        }
        for (out, sum) in row.iter_mut().zip(&sums) {
            *out = ((sum + area / 2) / area) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_halve_and_keep_the_mean() {
        let (w, h) = (1300, 722);
        let plane: Vec<u8> = (0..w * h).map(|i| (i % w % 2 * 200) as u8).collect();
        let pyramid = Pyramid::new(PlaneRef::packed(&plane, w, h), None);
        assert_eq!(pyramid.reduction(), 2);
        assert_eq!(pyramid.size(), (650, 361));
        assert!(
            pyramid
                .levels
                .iter()
                .all(|l| l.data.iter().all(|v| *v == 100))
        );
        assert_eq!(pyramid.levels.len(), 4);
        assert_eq!(pyramid.levels[3].width, 650 / 8);
    }

    #[test]
    fn pictures_of_one_pixel_are_fine() {
        let pyramid = Pyramid::new(PlaneRef::packed(&[7], 1, 1), None);
        assert_eq!(pyramid.size(), (1, 1));
        let mut patch = [0.0; 9];
        pyramid.levels[0].patch(-1.5, -1.2, 3, &mut patch);
        assert!(patch.iter().all(|v| (*v - 7.0).abs() < 1e-4));
    }

    #[test]
    fn patches_inside_and_at_the_border_agree() {
        let grey = Grey {
            width: 40,
            height: 40,
            data: (0..1600).map(|i| (i * 7 % 251) as u8).collect(),
        };
        let (mut all, mut one) = (vec![0.0; 25 * 25], [0.0; 1]);
        grey.patch(3.3, 4.7, 25, &mut all);
        for (n, value) in all.iter().enumerate() {
            grey.patch(3.3 + (n % 25) as f32, 4.7 + (n / 25) as f32, 1, &mut one);
            assert!((value - one[0]).abs() < 0.02);
        }
    }
}
