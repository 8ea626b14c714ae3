// SPDX-License-Identifier: Apache-2.0
//! Chroma planes at twice the size, by Catmull-Rom (cubic, a = -1/2) in whole numbers.
//!
//! The eye forgives chroma much, so it needs no net; but it must stay where it was. When luma is
//! doubled, sample positions move: vertically chroma lies between two luma rows and the two phases
//! are -1/4 and +1/4; horizontally it lies on a luma column in MPEG-2 and later streams, where the
//! phases are -1/8 and +3/8.

/// Four taps of weight 128 in all, for the samples at -1, 0, +1, +2. With these and samples less
/// 128, sums stay inside 16 bits, where vector units do twice the work.
pub type Taps = [i16; 4];

/// Position 1/4, 3/4, 3/8 and 7/8 between two samples.
const QUARTER: Taps = [-9, 111, 29, -3];
const THREE_QUARTERS: Taps = [-3, 29, 111, -9];
const THREE_EIGHTHS: Taps = [-9, 93, 50, -6];
const SEVEN_EIGHTHS: Taps = [-1, 12, 123, -6];

/// Where chroma samples lie between luma columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Siting {
    /// On the left one of two columns (MPEG-2, H.264, H.265, AV1 by default).
    #[default]
    Left,
    /// In the middle (JPEG, MPEG-1).
    Centre,
}

impl Siting {
    /// For even and odd target columns.
    pub fn taps(self) -> [Taps; 2] {
        match self {
            Self::Left => [SEVEN_EIGHTHS, THREE_EIGHTHS],
            Self::Centre => [THREE_QUARTERS, QUARTER],
        }
    }
}

/// Doubles `source` (`width` x `height`) into `target` (`out_width` x `out_height`, each at most
/// twice and at least twice less one). `line` is scratch memory that is kept between calls.
pub fn double(
    source: &[u8],
    (width, height): (usize, usize),
    target: &mut [u8],
    (out_width, out_height): (usize, usize),
    siting: Siting,
    line: &mut Vec<i16>,
) {
    if out_width == 0 || out_height == 0 || width == 0 || height == 0 {
        return;
    }
    // Two samples of margin on both sides take the edge away from the inner loop.
    line.resize(width + 4, 0);
    let row = |y: isize| {
        let y = y.clamp(0, height as isize - 1) as usize;
        &source[y * width..][..width]
    };
    for (out_y, out) in target
        .chunks_exact_mut(out_width)
        .take(out_height)
        .enumerate()
    {
        let y = (out_y / 2) as isize;
        let (base, taps) = if out_y % 2 == 0 {
            (y - 1, THREE_QUARTERS)
        } else {
            (y, QUARTER)
        };
        let rows = [row(base - 1), row(base), row(base + 1), row(base + 2)];
        vertical(rows, taps, &mut line[2..2 + width]);
        let (first, last) = (line[2], line[width + 1]);
        line[..2].fill(first);
        line[width + 2..].fill(last);
        horizontal(line, siting.taps(), out);
    }
}

/// Enlarges `source` a whole number of times. Twice is [`double`]; others are for nets of other
/// people's and plain.
pub fn enlarge(
    source: &[u8],
    from: (usize, usize),
    target: &mut [u8],
    to: (usize, usize),
    factor: usize,
    siting: Siting,
) {
    if source.is_empty() || target.is_empty() {
        return;
    }
    match factor {
        1 => {
            for (out, v) in target.iter_mut().zip(source) {
                *out = *v;
            }
        }
        2 => double(source, from, target, to, siting, &mut Vec::new()),
        _ => {
            let [rows, columns] = places(from, to, factor, siting);
            for (out, rows) in target.chunks_exact_mut(to.0).zip(&rows) {
                for (out, columns) in out.iter_mut().zip(&columns) {
                    let mut sum = 0.0;
                    for (y, weight) in rows {
                        for (x, share) in columns {
                            sum += weight * share * f32::from(source[y * from.0 + x]);
                        }
                    }
                    *out = sum.round().clamp(0.0, 255.0) as u8;
                }
            }
        }
    }
}

/// Four source samples and their weights.
pub type Around = [(usize, f32); 4];

/// What each row, and each column, of a plane enlarged a whole number of times is made of.
pub fn places(
    from: (usize, usize),
    to: (usize, usize),
    factor: usize,
    siting: Siting,
) -> [Vec<Around>; 2] {
    let s = factor as f32;
    // Of a target sample, in source samples: luma is between them, or on the left one.
    let centred = |i: usize| ((2 * i + 1) as f32 / s - 1.0) / 2.0;
    let left = |i: usize| ((2 * i) as f32 + 0.5) / s / 2.0 - 0.25;
    let rows = (0..to.1).map(|y| taps(centred(y), from.1)).collect();
    let columns = (0..to.0)
        .map(|x| {
            let at = match siting {
                Siting::Left => left(x),
                Siting::Centre => centred(x),
            };
            taps(at, from.0)
        })
        .collect();
    [rows, columns]
}

/// The four source samples around a place, and their Catmull-Rom weights.
fn taps(at: f32, length: usize) -> Around {
    let base = at.floor();
    std::array::from_fn(|k| {
        let place = base + k as f32 - 1.0;
        let d = (at - place).abs();
        let weight = if d < 1.0 {
            (1.5 * d - 2.5) * d * d + 1.0
        } else if d < 2.0 {
            ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
        } else {
            0.0
        };
        (place.clamp(0.0, length as f32 - 1.0) as usize, weight)
    })
}

/// Weighs four samples, given and answered less 128.
#[inline(always)]
fn weigh(a: i16, b: i16, c: i16, d: i16, taps: Taps) -> i16 {
    ((a * taps[0] + b * taps[1] + c * taps[2] + d * taps[3] + 64) >> 7).clamp(-128, 127)
}

/// Weighs four rows; the answer is less 128.
fn vertical([a, b, c, d]: [&[u8]; 4], taps: Taps, out: &mut [i16]) {
    let centre = |v: &u8| i16::from(*v) - 128;
    for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *out = weigh(centre(a), centre(b), centre(c), centre(d), taps);
    }
}

/// From a row (less 128) with margins of two, the even and odd samples of the doubled row.
fn horizontal(line: &[i16], [even, odd]: [Taps; 2], out: &mut [u8]) {
    let half = out.len() / 2;
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|k| &line[k..]);
    let mut pairs = out.chunks_exact_mut(2);
    for (((((pair, a), b), c), d), e) in pairs.by_ref().zip(a).zip(b).zip(c).zip(d).zip(e) {
        pair[0] = (weigh(*a, *b, *c, *d, even) + 128) as u8;
        pair[1] = (weigh(*b, *c, *d, *e, odd) + 128) as u8;
    }
    if let [last] = pairs.into_remainder() {
        let sum = weigh(
            line[half],
            line[half + 1],
            line[half + 2],
            line[half + 3],
            even,
        );
        *last = (sum + 128) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    fn doubled(source: &[u8], w: usize, h: usize, siting: Siting) -> Vec<u8> {
        let mut out = vec![0; w * h * 4];
        let mut line = Vec::new();
        double(source, (w, h), &mut out, (w * 2, h * 2), siting, &mut line);
        out
    }

    /// The same in floating point, from the definition.
    fn reference(source: &[u8], w: usize, h: usize, siting: Siting, x: usize, y: usize) -> f64 {
        let cubic = |d: f64| {
            let d = d.abs();
            if d < 1.0 {
                1.5 * d.powi(3) - 2.5 * d.powi(2) + 1.0
            } else if d < 2.0 {
                -0.5 * d.powi(3) + 2.5 * d.powi(2) - 4.0 * d + 2.0
            } else {
                0.0
            }
        };
        let at_y = y as f64 / 2.0 - 0.25;
        let at_x = x as f64 / 2.0 - if siting == Siting::Left { 0.125 } else { 0.25 };
        let mut sum = 0.0;
        for i in at_x.floor() as isize - 1..=at_x.floor() as isize + 2 {
            let column = i.clamp(0, w as isize - 1) as usize;
            let mut vertical = 0.0;
            for j in at_y.floor() as isize - 1..=at_y.floor() as isize + 2 {
                let row = j.clamp(0, h as isize - 1) as usize;
                vertical += f64::from(source[row * w + column]) * cubic(at_y - j as f64);
            }
            // Bytes are kept between the passes.
            sum += vertical.clamp(0.0, 255.0) * cubic(at_x - i as f64);
        }
        sum.clamp(0.0, 255.0)
    }

    #[test]
    fn every_tap_set_sums_to_one() {
        for taps in [QUARTER, THREE_QUARTERS, THREE_EIGHTHS, SEVEN_EIGHTHS] {
            assert_eq!(taps.iter().sum::<i16>(), 128);
        }
    }

    #[test]
    fn agrees_with_the_definition() {
        let mut random = Random::new(4);
        for (w, h) in [(1, 1), (1, 5), (2, 3), (7, 4), (40, 23)] {
            let source: Vec<u8> = (0..w * h).map(|_| random.next_u32() as u8).collect();
            for siting in [Siting::Left, Siting::Centre] {
                let out = doubled(&source, w, h, siting);
                let mut total = 0.0;
                for y in 0..h * 2 {
                    for x in 0..w * 2 {
                        let want = reference(&source, w, h, siting, x, y);
                        let got = f64::from(out[y * w * 2 + x]);
                        total += (got - want).abs();
                        // Two roundings, and taps of seven bits on full-swing noise: the worst there is.
                        assert!(
                            (got - want).abs() <= 3.0,
                            "{w}x{h} {siting:?} ({x},{y}): {got} for {want}"
                        );
                    }
                }
                assert!(
                    total / out.len() as f64 <= 1.5,
                    "{w}x{h} {siting:?}: {total}"
                );
            }
        }
    }

    #[test]
    fn flat_stays_flat_at_both_ends() {
        for value in [0, 1, 128, 254, 255] {
            assert!(
                doubled(&[value; 35], 7, 5, Siting::Left)
                    .iter()
                    .all(|&v| v == value)
            );
        }
    }

    #[test]
    fn odd_targets_are_the_even_ones_cut_short() {
        let mut random = Random::new(8);
        let source: Vec<u8> = (0..9 * 6).map(|_| random.next_u32() as u8).collect();
        let whole = doubled(&source, 9, 6, Siting::Left);
        let mut cut = vec![0; 17 * 11];
        double(
            &source,
            (9, 6),
            &mut cut,
            (17, 11),
            Siting::Left,
            &mut Vec::new(),
        );
        for y in 0..11 {
            assert_eq!(cut[y * 17..][..17], whole[y * 18..][..17]);
        }
    }

    #[test]
    fn nothing_of_nothing() {
        double(&[], (0, 0), &mut [], (0, 0), Siting::Left, &mut Vec::new());
    }

    #[test]
    fn any_factor_agrees_with_doubling_and_keeps_ramps() {
        let ramp: Vec<u8> = (0..12 * 5).map(|i| (20 + i % 12 * 9) as u8).collect();
        for factor in [1, 2, 3, 4] {
            let to = (12 * factor, 5 * factor);
            let mut out = vec![0; to.0 * to.1];
            enlarge(&ramp, (12, 5), &mut out, to, factor, Siting::Centre);
            // Away from the borders a ramp stays a ramp.
            let inner = out.iter().enumerate().take(9 * factor).skip(3 * factor);
            for (x, &got) in inner {
                let wanted = 20.0 + 9.0 * (((x as f32) + 0.5) / factor as f32 - 0.5);
                assert!(
                    (f32::from(got) - wanted).abs() <= 1.6,
                    "{factor} {x}: {got}"
                );
            }
        }
    }
}
