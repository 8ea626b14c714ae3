// SPDX-License-Identifier: Apache-2.0
//! Noise of film and tape, stored once: a row begins somewhere in it, which nobody can see, and
//! takes a sixth of the time that making noise for each pixel takes.

use std::sync::LazyLock;

use crate::pass::hash;
use crate::simd::kernels;

const LENGTH: usize = 1 << 16;

/// Of a triangular distribution, -127 to 127.
static NOISE: LazyLock<Vec<i8>> = LazyLock::new(|| {
    let byte = |hash: u64, shift: u32| (hash >> shift & 0xff) as i32;
    (0..LENGTH as u64)
        .map(|place| hash(&[place]))
        .map(|hash| ((byte(hash, 0) + byte(hash, 8) - 255) / 2) as i8)
        .collect()
});

/// Adds noise of up to `amount` steps; the seed says where in the noise the row begins.
pub fn add(row: &mut [u8], seed: u64, amount: f32) {
    let amount = (amount * (128.0 / 127.0)).round().clamp(0.0, 255.0) as i16;
    if amount == 0 {
        return;
    }
    let at = seed as usize % LENGTH;
    let (first, rest) = row.split_at_mut(row.len().min(LENGTH - at));
    kernels::add_noise(first, &NOISE[at..], amount);
    for part in rest.chunks_mut(LENGTH) {
        kernels::add_noise(part, &NOISE, amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_even_as_large_as_asked_for_and_wraps() {
        let mut row = vec![128; 3 * LENGTH + 5];
        add(&mut row, LENGTH as u64 - 3, 50.0);
        let mean = row.iter().map(|v| f64::from(*v)).sum::<f64>() / row.len() as f64;
        assert!((mean - 128.0).abs() < 0.6, "{mean}");
        assert!((170..=178).contains(row.iter().max().unwrap()));
        assert!((78..=86).contains(row.iter().min().unwrap()));
        // Short of the end by what came before it.
        assert_eq!(row[3..LENGTH], row[LENGTH + 3..2 * LENGTH]);
    }
}
