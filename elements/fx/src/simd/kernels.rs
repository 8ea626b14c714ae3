// SPDX-License-Identifier: Apache-2.0
//! Plain loops over rows, compiled for the baseline and again for AVX2 and AVX-512.
//!
//! Arithmetic in `f32` uses separate multiplications and additions only, so that all variants
//! give the same bits. On ARM the baseline has NEON already.

use aivideo_color::kernel;

/// Rounds a value of 0 to 255 to the nearest byte (ties to even), after clamping: adding 1.5 · 2²³
/// leaves the integer in the low bits.
#[inline(always)]
pub fn to_byte(value: f32) -> u8 {
    (value.clamp(0.0, 255.0) + 12_582_912.0).to_bits() as u8
}

kernel! {
    /// `a b a b …` into two rows.
    pub fn split2(row: &[u8], a: &mut [u8], b: &mut [u8]) {
        let n = a.len().min(b.len()).min(row.len() / 2);
        let (a, b, row) = (&mut a[..n], &mut b[..n], &row[..2 * n]);
        for (i, pair) in row.chunks_exact(2).enumerate() {
            a[i] = pair[0];
            b[i] = pair[1];
        }
    }
}

kernel! {
    pub fn join2(row: &mut [u8], a: &[u8], b: &[u8]) {
        let n = a.len().min(b.len()).min(row.len() / 2);
        let (a, b, row) = (&a[..n], &b[..n], &mut row[..2 * n]);
        for (i, pair) in row.chunks_exact_mut(2).enumerate() {
            pair[0] = a[i];
            pair[1] = b[i];
        }
    }
}

kernel! {
    /// Pixels of three bytes into the components at offsets `o`.
    pub fn split3(row: &[u8], o: [usize; 3], a: &mut [u8], b: &mut [u8], c: &mut [u8]) {
        let n = a.len().min(row.len() / 3);
        let (a, b, c, row) = (&mut a[..n], &mut b[..n], &mut c[..n], &row[..3 * n]);
        // Offsets are 0, 1, 2 or 2, 1, 0; constants in the loop let it vectorise.
        let (a, c) = if o[0] == 0 { (a, c) } else { (c, a) };
        for (i, pixel) in row.chunks_exact(3).enumerate() {
            a[i] = pixel[0];
            b[i] = pixel[1];
            c[i] = pixel[2];
        }
    }
}

kernel! {
    pub fn join3(row: &mut [u8], o: [usize; 3], a: &[u8], b: &[u8], c: &[u8]) {
        let n = a.len().min(row.len() / 3);
        let (a, b, c, row) = (&a[..n], &b[..n], &c[..n], &mut row[..3 * n]);
        let (a, c) = if o[0] == 0 { (a, c) } else { (c, a) };
        for (i, pixel) in row.chunks_exact_mut(3).enumerate() {
            pixel[0] = a[i];
            pixel[1] = b[i];
            pixel[2] = c[i];
        }
    }
}

kernel! {
    /// Pixels of four bytes into the components at offsets `o`.
    pub fn split4(row: &[u8], o: [usize; 3], a: &mut [u8], b: &mut [u8], c: &mut [u8]) {
        let n = a.len().min(row.len() / 4);
        let (a, b, c, row) = (&mut a[..n], &mut b[..n], &mut c[..n], &row[..4 * n]);
        let shift = o.map(|offset| 8 * (offset as u32 & 3));
        for (i, pixel) in row.chunks_exact(4).enumerate() {
            let pixel = u32::from_le_bytes([pixel[0], pixel[1], pixel[2], pixel[3]]);
            a[i] = (pixel >> shift[0]) as u8;
            b[i] = (pixel >> shift[1]) as u8;
            c[i] = (pixel >> shift[2]) as u8;
        }
    }
}

kernel! {
    /// The fourth byte of each pixel stays.
    pub fn join4(row: &mut [u8], o: [usize; 3], a: &[u8], b: &[u8], c: &[u8]) {
        let n = a.len().min(row.len() / 4);
        let (a, b, c, row) = (&a[..n], &b[..n], &c[..n], &mut row[..4 * n]);
        let shift = o.map(|offset| 8 * (offset as u32 & 3));
        let keep = !shift.iter().fold(0u32, |mask, s| mask | (0xff << s));
        for (i, pixel) in row.chunks_exact_mut(4).enumerate() {
            let old = u32::from_le_bytes([pixel[0], pixel[1], pixel[2], pixel[3]]);
            let new = (old & keep)
                | (u32::from(a[i]) << shift[0])
                | (u32::from(b[i]) << shift[1])
                | (u32::from(c[i]) << shift[2]);
            pixel.copy_from_slice(&new.to_le_bytes());
        }
    }
}

kernel! {
    /// `row = (old · (256 − amount) + row · amount + 128) / 256`, amount 0 to 256.
    pub fn blend(row: &mut [u8], old: &[u8], amount: u32) {
        let n = row.len().min(old.len());
        let (row, old) = (&mut row[..n], &old[..n]);
        let amount = amount.min(256) as u16;
        // 255 · 256 + 128 fits in sixteen bits.
        for (new, old) in row.iter_mut().zip(old) {
            let sum = u16::from(*old) * (256 - amount) + u16::from(*new) * amount + 128;
            *new = (sum >> 8) as u8;
        }
    }
}

kernel! {
    /// `row = centre + (row − centre) · gain` with a gain of 32768 for 1.
    pub fn scale(row: &mut [u8], gain: &[u16], centre: u8) {
        let n = row.len().min(gain.len());
        let (row, gain) = (&mut row[..n], &gain[..n]);
        for (value, gain) in row.iter_mut().zip(gain) {
            let difference = i32::from(*value) - i32::from(centre);
            let scaled = (difference * i32::from(*gain) + 16384) >> 15;
            *value = (i32::from(centre) + scaled).clamp(0, 255) as u8;
        }
    }
}

kernel! {
    /// `row = row + (sharp − row) · gain` with a gain of 32768 for 1.
    pub fn merge(row: &mut [u8], sharp: &[u8], gain: &[u16]) {
        let n = row.len().min(sharp.len()).min(gain.len());
        let (row, sharp, gain) = (&mut row[..n], &sharp[..n], &gain[..n]);
        for i in 0..n {
            let difference = i32::from(sharp[i]) - i32::from(row[i]);
            let scaled = (difference * i32::from(gain[i]) + 16384) >> 15;
            row[i] = (i32::from(row[i]) + scaled).clamp(0, 255) as u8;
        }
    }
}

kernel! {
    /// Halves a row by averaging pairs; the last byte of an odd row stays as it is.
    pub fn halve(row: &[u8], target: &mut [u8]) {
        let pairs = row.len() / 2;
        for (to, pair) in target[..pairs].iter_mut().zip(row.chunks_exact(2)) {
            *to = ((u16::from(pair[0]) + u16::from(pair[1]) + 1) >> 1) as u8;
        }
        if row.len() % 2 == 1 {
            target[pairs] = row[2 * pairs];
        }
    }
}

kernel! {
    /// The mean of two rows, into the first.
    pub fn average(row: &mut [u8], other: &[u8]) {
        let n = row.len().min(other.len());
        for (a, b) in row[..n].iter_mut().zip(&other[..n]) {
            *a = ((u16::from(*a) + u16::from(*b) + 1) >> 1) as u8;
        }
    }
}

kernel! {
    /// Doubles a row by repeating each byte; the last one once where the target is odd.
    pub fn double(row: &[u8], target: &mut [u8]) {
        let mut pairs = target.chunks_exact_mut(2);
        for (pair, value) in pairs.by_ref().zip(row) {
            pair.copy_from_slice(&[*value, *value]);
        }
        let done = row.len().saturating_sub(1);
        if let ([last], Some(value)) = (pairs.into_remainder(), row.get(done)) {
            *last = *value;
        }
    }
}

kernel! {
    /// Weighted sum of three rows; the weights add up to 65536.
    pub fn weigh(target: &mut [u8], rows: [&[u8]; 3], weights: [u32; 3]) {
        let n = target.len();
        let [a, b, c] = rows.map(|row| &row[..n]);
        for i in 0..n {
            let sum = u32::from(a[i]) * weights[0]
                + u32::from(b[i]) * weights[1]
                + u32::from(c[i]) * weights[2];
            target[i] = ((sum + 32768) >> 16) as u8;
        }
    }
}

/// An affine map of three components in fixed point: weights of 8192 for 1, offsets of 16 for 1.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    pub weights: [[i16; 3]; 3],
    pub offsets: [i16; 3],
}

impl Matrix {
    /// From weights (of less than 4) and offsets in code values.
    pub fn new(rows: [[f32; 4]; 3]) -> Self {
        Self {
            weights: rows.map(|row| [0, 1, 2].map(|i| (row[i] * 8192.0).round() as i16)),
            // Each product is rounded down by half a unit in the mean, and the sum, too.
            offsets: rows.map(|row| (row[3] * 16.0 + 1.5 + 8.0).round() as i16),
        }
    }
}

kernel! {
    /// Applies a matrix to three rows in place, with rounding and clamping.
    pub fn matrix(a: &mut [u8], b: &mut [u8], c: &mut [u8], m: &Matrix) {
        let n = a.len();
        let (a, b, c) = (&mut a[..n], &mut b[..n], &mut c[..n]);
        let Matrix { weights: w, offsets: o } = *m;
        for i in 0..n {
            let [x, y, z] = [a[i], b[i], c[i]].map(|v| i16::from(v) << 7);
            // The high half of a product is one vector instruction.
            let high = |x: i16, w: i16| ((i32::from(x) * i32::from(w)) >> 16) as i16;
            let row = |w: [i16; 3], o: i16| {
                let sum = high(x, w[0]) + high(y, w[1]) + high(z, w[2]) + o;
                (sum >> 4).clamp(0, 255) as u8
            };
            (a[i], b[i], c[i]) = (row(w[0], o[0]), row(w[1], o[1]), row(w[2], o[2]));
        }
    }
}

kernel! {
    /// Adds the bytes of a row to sums of sixteen bits, of at most 257 rows.
    pub fn accumulate_bytes(sums: &mut [u16], row: &[u8]) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum = sum.wrapping_add(u16::from(*value));
        }
    }
}

kernel! {
    /// Moves a window on: `sums += new − old`.
    pub fn slide_bytes(sums: &mut [u16], new: &[u8], old: &[u8]) {
        let n = sums.len();
        let (new, old) = (&new[..n], &old[..n]);
        for i in 0..n {
            sums[i] = sums[i].wrapping_add(u16::from(new[i])).wrapping_sub(u16::from(old[i]));
        }
    }
}

kernel! {
    /// Adds the bytes of a row to sums.
    pub fn accumulate(sums: &mut [u32], row: &[u8]) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += u32::from(*value);
        }
    }
}

kernel! {
    /// Convolves a padded row with a symmetric kernel, whose centre is `weights[0]`; `row` is
    /// `target` with `weights.len() - 1` more samples on either side.
    pub fn convolve_row(target: &mut [f32], row: &[f32], weights: &[f32]) {
        let n = target.len();
        let radius = weights.len() - 1;
        let centre = &row[radius..][..n];
        for i in 0..n {
            target[i] = centre[i] * weights[0];
        }
        for (k, weight) in weights.iter().enumerate().skip(1) {
            let left = &row[radius - k..][..n];
            let right = &row[radius + k..][..n];
            for i in 0..n {
                target[i] += (left[i] + right[i]) * *weight;
            }
        }
    }
}

kernel! {
    /// Bytes as numbers.
    pub fn widen(target: &mut [f32], row: &[u8]) {
        for (to, from) in target.iter_mut().zip(row) {
            *to = f32::from(*from);
        }
    }
}

kernel! {
    /// `target = a + (b − a) · part`.
    pub fn interpolate(target: &mut [f32], a: &[f32], b: &[f32], part: f32) {
        let n = target.len();
        let (a, b) = (&a[..n], &b[..n]);
        for i in 0..n {
            target[i] = a[i] + (b[i] - a[i]) * part;
        }
    }
}

kernel! {
    /// Between each two samples of `row`, `factor` evenly spaced ones; the first is half a step
    /// after the first sample. A factor of 1 gives the samples but the first and the last.
    pub fn enlarge(target: &mut [f32], row: &[f32], factor: usize) {
        #[inline(always)]
        fn blocks(target: &mut [f32], row: &[f32], factor: usize) {
            let step = 1.0 / factor as f32;
            for (block, pair) in target.chunks_exact_mut(factor).zip(row.windows(2)) {
                let slope = (pair[1] - pair[0]) * step;
                for (i, value) in block.iter_mut().enumerate() {
                    *value = pair[0] + slope * (i as i32 as f32 + 0.5);
                }
            }
        }
        // A constant makes a loop that vectorises.
        match factor {
            1 => {
                let n = target.len().min(row.len() - 1);
                target[..n].copy_from_slice(&row[1..=n]);
            }
            2 => blocks(target, row, 2),
            4 => blocks(target, row, 4),
            factor => blocks(target, row, factor),
        }
    }
}

kernel! {
    /// Adds pairs of neighbours: the first half of `row` becomes their sums.
    pub fn fold(row: &mut [u32]) {
        for i in 0..row.len() / 2 {
            row[i] = row[2 * i] + row[2 * i + 1];
        }
    }
}

kernel! {
    /// `sum += (a + b) · weight`.
    pub fn add_pair(sum: &mut [f32], a: &[f32], b: &[f32], weight: f32) {
        let n = sum.len();
        let (a, b) = (&a[..n], &b[..n]);
        for i in 0..n {
            sum[i] += (a[i] + b[i]) * weight;
        }
    }
}

kernel! {
    /// `sum = a · weight`.
    pub fn set_scaled(sum: &mut [f32], a: &[f32], weight: f32) {
        let n = sum.len();
        let a = &a[..n];
        for i in 0..n {
            sum[i] = a[i] * weight;
        }
    }
}

kernel! {
    pub fn round_row(target: &mut [u8], row: &[f32]) {
        let n = target.len();
        let row = &row[..n];
        for i in 0..n {
            target[i] = to_byte(row[i]);
        }
    }
}

kernel! {
    /// `target = target + amount · (target − soft)`.
    pub fn unsharp(target: &mut [u8], soft: &[f32], amount: f32) {
        let n = target.len();
        let soft = &soft[..n];
        for i in 0..n {
            let value = f32::from(target[i]);
            target[i] = to_byte(value + amount * (value - soft[i]));
        }
    }
}

kernel! {
    /// What [`unsharp`] would add, halved and moved to 128 so that a byte holds it.
    pub fn detail(row: &mut [u8], soft: &[f32], amount: f32) {
        let n = row.len();
        let soft = &soft[..n];
        for i in 0..n {
            let value = f32::from(row[i]);
            row[i] = to_byte(128.0 + 0.5 * amount * (value - soft[i]));
        }
    }
}

kernel! {
    /// Adds what [`detail`] made.
    pub fn add_detail(target: &mut [u8], detail: &[u8]) {
        let n = target.len();
        let detail = &detail[..n];
        for i in 0..n {
            let sum = i16::from(target[i]) + 2 * (i16::from(detail[i]) - 128);
            target[i] = sum.clamp(0, 255) as u8;
        }
    }
}

kernel! {
    /// Sobel gradient magnitude of three padded rows (one byte more on either side), scaled:
    /// `target = offset + gain · |∇|`.
    pub fn sobel(target: &mut [u8], rows: [&[u8]; 3], gain: f32, offset: f32) {
        let n = target.len();
        let [a, b, c] = rows.map(|row| &row[..n + 2]);
        for i in 0..n {
            let at = |row: &[u8], k: usize| i16::from(row[i + k]);
            let gx = at(a, 2) - at(a, 0) + 2 * (at(b, 2) - at(b, 0)) + at(c, 2) - at(c, 0);
            let gy = at(c, 0) - at(a, 0) + 2 * (at(c, 1) - at(a, 1)) + at(c, 2) - at(a, 2);
            // The longer side alone, or 29/32 of it and 61/128 of the shorter one: within 1.3 %
            // of the root, which costs several times as much. Sides are 1020 at most.
            let (x, y) = (gx.unsigned_abs(), gy.unsigned_abs());
            let (long, short) = (x.max(y), x.min(y));
            let length = long.max(((long * 29) >> 5) + ((short * 61) >> 7));
            target[i] = to_byte(f32::from(length) * gain + offset);
        }
    }
}

kernel! {
    /// Light from the top left on three padded rows: `target = centre + gain · slope`.
    pub fn relief(target: &mut [u8], rows: [&[u8]; 3], gain: f32, centre: f32) {
        let n = target.len();
        let [a, b, c] = rows.map(|row| &row[..n + 2]);
        for i in 0..n {
            let at = |row: &[u8], k: usize| i32::from(row[i + k]);
            let slope = 2 * (at(c, 2) - at(a, 0)) + at(b, 2) - at(b, 0) + at(c, 1) - at(a, 1);
            target[i] = to_byte(slope as f32 * gain + centre);
        }
    }
}

kernel! {
    /// The vignette's gain along a row (32768 for 1): 1 inside `inner`, falling smoothly to
    /// `1 − amount` at `inner + 1 / slope`; distances are squared and x is centred.
    pub fn falloff(
        gain: &mut [u16],
        first_x: f32,
        step_x: f32,
        y_squared: f32,
        inner: f32,
        slope: f32,
        amount: f32,
    ) {
        for (i, gain) in gain.iter_mut().enumerate() {
            let x = first_x + step_x * (i as i32 as f32);
            let t = ((x * x + y_squared - inner) * slope).clamp(0.0, 1.0);
            let smooth = t * t * (3.0 - 2.0 * t);
            let value = (1.0 - amount * smooth) * 32768.0;
            // 32768 needs seventeen bits of the mantissa, so the trick of `to_byte` holds.
            *gain = (value + 12_582_912.0).to_bits() as u16;
        }
    }
}

kernel! {
    /// Adds small numbers to bytes, clamping.
    pub fn add_bias(row: &mut [u8], bias: &[i16]) {
        let n = row.len().min(bias.len());
        let (row, bias) = (&mut row[..n], &bias[..n]);
        for i in 0..n {
            row[i] = (i16::from(row[i]) + bias[i]).clamp(0, 255) as u8;
        }
    }
}

kernel! {
    /// A halftone screen: white where brightness is above the wave `across · down`, with edges as
    /// sharp as `hardness`.
    pub fn screen(
        row: &mut [u8],
        across: &[f32],
        down: f32,
        hardness: f32,
        black: f32,
        range: f32,
    ) {
        let n = row.len().min(across.len());
        let (row, across) = (&mut row[..n], &across[..n]);
        // Beyond the wave's ends by half an edge, so that black and white stay pure.
        let (scale, reach) = (1.0 / range, 0.5 + 0.5 / hardness);
        for i in 0..n {
            let share = ((f32::from(row[i]) - black) * scale).clamp(0.0, 1.0);
            let wave = across[i] * down * reach;
            let value = ((share - 0.5) * 2.0 * reach - wave) * hardness * 0.5 + 0.5;
            row[i] = to_byte(black + range * value.clamp(0.0, 1.0));
        }
    }
}

kernel! {
    /// Adds noise times `amount` (0 to 255), which has 128 for 1.
    pub fn add_noise(row: &mut [u8], noise: &[i8], amount: i16) {
        for (value, noise) in row.iter_mut().zip(noise) {
            let noise = (i16::from(*noise) * amount + 64) >> 7;
            *value = (i16::from(*value) + noise).clamp(0, 255) as u8;
        }
    }
}

kernel! {
    /// Gains ([`scale`]) that leave as much light as ink does not cover.
    pub fn cover(gain: &mut [u16], ink: &[u8]) {
        let n = gain.len().min(ink.len());
        let (gain, ink) = (&mut gain[..n], &ink[..n]);
        for i in 0..n {
            gain[i] = ((255 - u32::from(ink[i])) * 32768 / 255) as u16;
        }
    }
}

kernel! {
    /// The larger of two rows, into the first.
    pub fn maximum(row: &mut [u8], other: &[u8]) {
        for (a, b) in row.iter_mut().zip(other) {
            *a = (*a).max(*b);
        }
    }
}

kernel! {
    /// Adds bytes that are centred on 128.
    pub fn add_offset(row: &mut [u8], offset: &[u8]) {
        for (value, offset) in row.iter_mut().zip(offset) {
            *value = (i16::from(*value) + i16::from(*offset) - 128).clamp(0, 255) as u8;
        }
    }
}

kernel! {
    /// `row = light + (row − gray) · gain` with a gain of 32768 for 1: keeps the colour difference
    /// and changes the brightness.
    pub fn recolor(row: &mut [u8], gray: &[u8], light: &[u8], gain: &[u16]) {
        let n = row.len();
        let (gray, light, gain) = (&gray[..n], &light[..n], &gain[..n]);
        for i in 0..n {
            let difference = i32::from(row[i]) - i32::from(gray[i]);
            let scaled = (difference * i32::from(gain[i]) + 16384) >> 15;
            row[i] = (i32::from(light[i]) + scaled).clamp(0, 255) as u8;
        }
    }
}

kernel! {
    /// Bytes as sixteen bits.
    pub fn widen16(target: &mut [u16], row: &[u8]) {
        for (to, from) in target.iter_mut().zip(row) {
            *to = u16::from(*from);
        }
    }
}

kernel! {
    /// `target = a + b`.
    pub fn add16(target: &mut [u16], a: &[u16], b: &[u16]) {
        let n = target.len();
        let (a, b) = (&a[..n], &b[..n]);
        for i in 0..n {
            target[i] = a[i].wrapping_add(b[i]);
        }
    }
}

kernel! {
    /// `sums += row`.
    pub fn accumulate16(sums: &mut [u16], row: &[u16]) {
        let n = sums.len();
        let row = &row[..n];
        for i in 0..n {
            sums[i] = sums[i].wrapping_add(row[i]);
        }
    }
}

kernel! {
    /// Moves a window on: `sums += new − old`.
    pub fn slide(sums: &mut [u32], new: &[u16], old: &[u16]) {
        let n = sums.len();
        let (new, old) = (&new[..n], &old[..n]);
        for i in 0..n {
            sums[i] = sums[i].wrapping_add(u32::from(new[i])).wrapping_sub(u32::from(old[i]));
        }
    }
}

kernel! {
    /// Sums of less than 2²⁴ as rounded means.
    pub fn mean_row(target: &mut [u8], sums: &[u32], scale: f32) {
        let n = target.len();
        let sums = &sums[..n];
        for i in 0..n {
            target[i] = to_byte(sums[i] as i32 as f32 * scale);
        }
    }
}

kernel! {
    /// Sums of sixteen bits as bytes: `centre + (sum · scale − centre) · gain`.
    pub fn mean16(target: &mut [u8], sums: &[u16], scale: f32, centre: f32, gain: f32) {
        let n = target.len();
        let sums = &sums[..n];
        for i in 0..n {
            let mean = f32::from(sums[i]) * scale;
            target[i] = to_byte(centre + (mean - centre) * gain);
        }
    }
}

kernel! {
    /// `target = a + b + c`.
    pub fn add3(target: &mut [f32], a: &[f32], b: &[f32], c: &[f32]) {
        let n = target.len();
        let (a, b, c) = (&a[..n], &b[..n], &c[..n]);
        for i in 0..n {
            target[i] = a[i] + (b[i] + c[i]);
        }
    }
}

kernel! {
    /// `sum += row`.
    pub fn add_row(sum: &mut [f32], row: &[f32]) {
        let n = sum.len();
        let row = &row[..n];
        for i in 0..n {
            sum[i] += row[i];
        }
    }
}

kernel! {
    pub fn divide(target: &mut [f32], a: &[f32], b: &[f32]) {
        let n = target.len();
        let (a, b) = (&a[..n], &b[..n]);
        for i in 0..n {
            target[i] = a[i] / b[i];
        }
    }
}

kernel! {
    pub fn multiply(row: &mut [f32], by: &[f32]) {
        let n = row.len();
        let by = &by[..n];
        for i in 0..n {
            row[i] *= by[i];
        }
    }
}

kernel! {
    /// Brightness becomes a weight of 1 for black and `1 + gain` for white.
    pub fn highlight(row: &mut [f32], black: f32, scale: f32, gain: f32) {
        for value in row {
            let t = ((*value - black) * scale).clamp(0.0, 1.0);
            let square = t * t;
            *value = 1.0 + gain * (square * square * square);
        }
    }
}

kernel! {
    /// Memory of 256 for 1 follows a row and becomes it; `keep` of 65536 of it stay.
    pub fn follow(row: &mut [u8], memory: &mut [u16], keep: u32) {
        let n = row.len().min(memory.len());
        let (row, memory) = (&mut row[..n], &mut memory[..n]);
        let take = 65536 - keep.min(65536);
        for i in 0..n {
            let new = u32::from(row[i]) << 8;
            // Less than 2³²: 65280 · 65536 is its largest value.
            let sum = (u32::from(memory[i]) * keep + new * take) >> 16;
            memory[i] = sum as u16;
            row[i] = ((sum + 128) >> 8).min(255) as u8;
        }
    }
}

kernel! {
    /// Doubles a row by repeating each value; the last one once where the target is odd.
    pub fn double16(row: &[u16], target: &mut [u16]) {
        let mut pairs = target.chunks_exact_mut(2);
        for (pair, value) in pairs.by_ref().zip(row) {
            pair.copy_from_slice(&[*value, *value]);
        }
        if let ([last], Some(value)) = (pairs.into_remainder(), row.last()) {
            *last = *value;
        }
    }
}

/// How much of a colour is kept ([`scale`]) at a distance from the key.
#[inline(always)]
fn kept(du: f32, dv: f32, least: f32, scale: f32) -> u16 {
    let distance = (du * du + dv * dv).sqrt();
    let share = ((distance - least) * scale).clamp(0.0, 1.0);
    (share * 32768.0 + 12_582_912.0).to_bits() as u16
}

kernel! {
    /// How much is kept of pixels with these U and V.
    pub fn key_yuv(keep: &mut [u16], u: &[u8], v: &[u8], key: [f32; 2], least: f32, scale: f32) {
        let n = keep.len();
        let (u, v) = (&u[..n], &v[..n]);
        for i in 0..n {
            keep[i] = kept(f32::from(u[i]) - key[0], f32::from(v[i]) - key[1], least, scale);
        }
    }
}

kernel! {
    /// The same of red, green and blue; `to` makes U and V of them.
    pub fn key_rgb(
        keep: &mut [u16],
        rgb: [&[u8]; 3],
        to: &[[f32; 4]; 2],
        key: [f32; 2],
        least: f32,
        scale: f32,
    ) {
        let n = keep.len();
        let [r, g, b] = rgb.map(|row| &row[..n]);
        for i in 0..n {
            let (r, g, b) = (f32::from(r[i]), f32::from(g[i]), f32::from(b[i]));
            let at = |row: &[f32; 4]| r * row[0] + g * row[1] + b * row[2] + row[3];
            keep[i] = kept(at(&to[0]) - key[0], at(&to[1]) - key[1], least, scale);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_nearest_and_clamps() {
        for i in 0..=255u32 {
            assert_eq!(u32::from(to_byte(i as f32)), i);
            assert_eq!(u32::from(to_byte(i as f32 + 0.49)), i);
            assert_eq!(u32::from(to_byte(i as f32 - 0.49)), i);
        }
        assert_eq!(to_byte(-3.0), 0);
        assert_eq!(to_byte(1e9), 255);
    }

    #[test]
    fn blending_keeps_both_ends_exactly() {
        let all: Vec<u8> = (0..=255).collect();
        let old: Vec<u8> = all.iter().rev().copied().collect();
        let mut row = all.clone();
        blend(&mut row, &old, 256);
        assert_eq!(row, all);
        blend(&mut row, &old, 0);
        assert_eq!(row, old);
        let mut row = vec![100; 70];
        blend(&mut row, &[201; 70], 128);
        assert_eq!(row, vec![151; 70]);
    }

    #[test]
    fn full_gain_changes_nothing_and_none_goes_to_the_centre() {
        let all: Vec<u8> = (0..=255).collect();
        for centre in [0, 16, 128] {
            let mut row = all.clone();
            scale(&mut row, &[32768; 256], centre);
            assert_eq!(row, all);
            scale(&mut row, &[0; 256], centre);
            assert_eq!(row, vec![centre; 256]);
        }
    }

    #[test]
    fn flat_rows_have_no_edges_and_steps_have() {
        let flat = [90u8; 12];
        let mut out = [1u8; 10];
        sobel(&mut out, [&flat; 3], 1.0, 16.0);
        assert_eq!(out, [16; 10]);
        relief(&mut out, [&flat; 3], 1.0, 126.0);
        assert_eq!(out, [126; 10]);
        let step = [0, 0, 0, 0, 0, 0, 40, 40, 40, 40, 40, 40];
        sobel(&mut out, [&step; 3], 0.25, 0.0);
        assert_eq!(out, [0, 0, 0, 0, 40, 40, 0, 0, 0, 0]);
    }
}
