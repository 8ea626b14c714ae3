// SPDX-License-Identifier: Apache-2.0
//! What coding a difference costs, by the cosine transform of its 8x8 samples.
//!
//! The transform is that of Arai, Agui and Nakajima (1988) in 16-bit integers, whose coefficients come scaled by
//! what their place says; the squares' weights take that back.

use super::search::Value;

/// What coding a difference costs, in bits: a coefficient left as it is costs in proportion to its square, and one
/// that is coded by the number of its bits.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
pub(super) struct Coding {
    /// For the square of each coefficient as the transform scales it.
    pub scales: [[f32; 8]; 8],
}

impl Coding {
    /// An error is worth this many times itself: it lasts.
    const LASTING: f32 = 4.0;
    /// What a coefficient has that it is just worth coding, and what one of twice the square costs more.
    pub const CODED: f32 = 5.0;
    pub const DOUBLED: f32 = 2.0;

    pub fn new(value: Value) -> Self {
        Self::of_worth(Self::LASTING * value.per_bit())
    }

    /// `worth`: of a squared difference of 1, in bits.
    pub fn of_worth(worth: f32) -> Self {
        // The transform makes a coefficient the square root of 8 times this as large, in either direction.
        let gains: [f32; 8] = std::array::from_fn(|k| {
            let angle = k as f32 * std::f32::consts::PI / 16.0;
            if k == 0 {
                1.0
            } else {
                angle.cos() * std::f32::consts::SQRT_2
            }
        });
        let scale = |i: usize, j: usize| worth / (64.0 * (gains[i] * gains[j]).powi(2));
        Self {
            scales: std::array::from_fn(|i| std::array::from_fn(|j| scale(i, j))),
        }
    }

    /// Of a coefficient, in its row and column.
    #[inline(always)]
    pub fn of(&self, row: usize, column: usize, coefficient: i16) -> f32 {
        let coefficient = f32::from(coefficient);
        let left = coefficient * coefficient * self.scales[row][column];
        if left > Self::CODED {
            // The logarithm, by a straight line between powers of two.
            let bits = (left * (1.0 / Self::CODED)).to_bits() as i32 as f32;
            let octaves = bits * (1.0 / (1 << 23) as f32) - 127.0;
            Self::CODED + Self::DOUBLED * octaves
        } else {
            left
        }
    }
}

/// Factors of the transform, in 32768ths.
pub(super) const HALF_ROOT: i16 = 23170;
pub(super) const ROTATION: i16 = 12540;
pub(super) const LESS: i16 = 17734;
/// And 1.
pub(super) const MORE: i16 = 10045;

/// Transforms eight columns. Differences of bytes stay within 16 bits in both directions.
#[inline(always)]
pub(super) fn cosine(rows: &mut [[i16; 8]; 8]) {
    for k in 0..8 {
        let mut column: [i16; 8] = std::array::from_fn(|i| rows[i][k]);
        eight(&mut column);
        for (row, value) in rows.iter_mut().zip(column) {
            row[k] = value;
        }
    }
}

/// As `pmulhrsw` multiplies.
fn times(a: i16, factor: i16) -> i16 {
    ((i32::from(a) * i32::from(factor) + (1 << 14)) >> 15) as i16
}

fn eight(d: &mut [i16; 8]) {
    let sums: [i16; 4] = std::array::from_fn(|i| d[i] + d[7 - i]);
    let [d7, d6, d5, d4] = std::array::from_fn(|i| d[i] - d[7 - i]);
    let (outer, outer_less) = (sums[0] + sums[3], sums[0] - sums[3]);
    let (inner, inner_less) = (sums[1] + sums[2], sums[1] - sums[2]);
    let turned = times(inner_less + outer_less, HALF_ROOT);
    d[0] = outer + inner;
    d[4] = outer - inner;
    d[2] = outer_less + turned;
    d[6] = outer_less - turned;
    let (low, middle, high) = (d4 + d5, d5 + d6, d6 + d7);
    let rotated = times(low - high, ROTATION);
    let less = times(low, LESS) + rotated;
    let more = high + times(high, MORE) + rotated;
    let middle = times(middle, HALF_ROOT);
    let (plus, minus) = (d7 + middle, d7 - middle);
    d[5] = minus + less;
    d[3] = minus - less;
    d[1] = plus + more;
    d[7] = plus - more;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By the definition, in double precision.
    fn exact(samples: &[[i16; 8]; 8]) -> [[f64; 8]; 8] {
        let wave = |k: usize, x: usize| {
            let norm = if k == 0 { 0.125f64.sqrt() } else { 0.5 };
            norm * ((2 * x + 1) as f64 * k as f64 * std::f64::consts::PI / 16.0).cos()
        };
        std::array::from_fn(|i| {
            std::array::from_fn(|j| {
                let at = |y: usize, x: usize| f64::from(samples[y][x]) * wave(i, y) * wave(j, x);
                (0..64).map(|n| at(n / 8, n % 8)).sum()
            })
        })
    }

    fn transposed(rows: [[i16; 8]; 8]) -> [[i16; 8]; 8] {
        std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]))
    }

    proptest! {
        #[test]
        fn scaled_coefficients_are_those_of_the_definition(
            samples in prop::array::uniform8(prop::array::uniform8(-255i16..=255)),
            extreme in any::<bool>(),
        ) {
            let samples = if extreme {
                samples.map(|row| row.map(|v| if v < 0 { -255 } else { 255 }))
            } else {
                samples
            };
            let wanted = exact(&samples);
            let mut rows = samples;
            cosine(&mut rows);
            let mut rows = transposed(rows);
            cosine(&mut rows);
            let rows = transposed(rows);
            let coding = Coding::of_worth(1.0);
            for i in 0..8 {
                for j in 0..8 {
                    let unit = f64::from(coding.scales[i][j]).sqrt();
                    let got = f64::from(rows[i][j]) * unit;
                    // Each direction rounds five products, and the second adds up what the first has rounded.
                    prop_assert!((got - wanted[i][j]).abs() < 12.0 * unit, "({i}, {j}): {got}, not {}", wanted[i][j]);
                }
            }
        }
    }

    #[test]
    fn a_large_coefficient_costs_by_its_bits() {
        let coding = Coding::of_worth(1.0);
        let cost = |levels: f32| coding.of(0, 0, (8.0 * levels) as i16);
        assert_eq!(cost(2.0), 4.0);
        // Four times the square is two octaves.
        assert!((cost(80.0) - cost(40.0) - 2.0 * Coding::DOUBLED).abs() < 0.1);
    }
}
