// SPDX-License-Identifier: Apache-2.0
//! What weights are fitted from: for each class the sums of products of all that the filter adds up, and of
//! the error that it is to take away. Weights that solve these normal equations leave the least squares.

use super::{CELL, CLASSES, LoopFilter, PLACES, TAPS};

impl LoopFilter {
    /// How many numbers [`Self::products`] gives with some pictures beside.
    pub const fn products_len(beside: usize) -> usize {
        let side = TAPS + beside + 1;
        CLASSES * side * side
    }

    /// For each class a square matrix: the pairs, the pictures beside this one, and last the source's
    /// difference to this picture. Only the upper left of `shown` counts, in whole cells.
    pub fn products(
        &mut self,
        luma: &[u8],
        source: &[u8],
        beside: &[Option<&[u8]>],
        limit: i16,
        shown: (usize, usize),
    ) -> Vec<f64> {
        let (width, height) = (self.width, self.height);
        assert_eq!(luma.len(), width * height);
        assert_eq!(source.len(), luma.len());
        self.load(luma);
        let side = TAPS + beside.len() + 1;
        let mut sums = vec![0i64; Self::products_len(beside.len())];
        let mut row = vec![0i32; side];
        let view = self.view();
        for y in 0..shown.1.min(height) / CELL * CELL {
            for x in 0..shown.0.min(width) / CELL * CELL {
                let at = y * width + x;
                let middle = i16::from(luma[at]);
                let limited = |v: i16| i32::from((v - middle).clamp(-limit, limit));
                let (sx, sy) = (x as isize, y as isize);
                for (value, (down, right)) in row.iter_mut().zip(PLACES) {
                    let one = view.from(sx + right, sy + down)[0];
                    let other = view.from(sx - right, sy - down)[0];
                    *value = limited(one) + limited(other);
                }
                for (value, picture) in row[TAPS..].iter_mut().zip(beside) {
                    *value = picture.map_or(0, |p| limited(i16::from(p[at])));
                }
                row[side - 1] = i32::from(source[at]) - i32::from(middle);
                let class = usize::from(self.classes[y / CELL * (width / CELL) + x / CELL]);
                let sums = &mut sums[class * side * side..][..side * side];
                for (i, a) in row.iter().enumerate() {
                    for (sum, b) in sums[i * side..][i..side].iter_mut().zip(&row[i..]) {
                        *sum += i64::from(a * b);
                    }
                }
            }
        }
        for square in sums.chunks_exact_mut(side * side) {
            for i in 0..side {
                for j in 0..i {
                    square[i * side + j] = square[j * side + i];
                }
            }
        }
        sums.into_iter().map(|sum| sum as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_one_sample_after_the_other() {
        let (width, height) = (64, 32);
        let luma: Vec<u8> = (0..width * height)
            .map(|i| (i * i / 7 % 200) as u8)
            .collect();
        let source: Vec<u8> = luma.iter().map(|v| v + 3).collect();
        let other: Vec<u8> = luma.iter().map(|v| v + 2).collect();
        let beside = [Some(&other[..]), None];
        let products =
            LoopFilter::new(width, height).products(&luma, &source, &beside, 4, (50, 21));
        assert_eq!(products.len(), LoopFilter::products_len(2));
        let side = TAPS + 3;
        let sum = |i: usize, j: usize| -> f64 {
            (0..CLASSES)
                .map(|c| products[(c * side + i) * side + j])
                .sum()
        };
        let samples = 50.0 * 20.0;
        assert_eq!(sum(side - 1, side - 1), 9.0 * samples);
        assert_eq!(sum(TAPS, TAPS), 4.0 * samples);
        assert_eq!(sum(TAPS, side - 1), 6.0 * samples);
        assert_eq!(sum(side - 1, TAPS), 6.0 * samples);
        assert_eq!(sum(TAPS + 1, TAPS + 1), 0.0);
    }
}
