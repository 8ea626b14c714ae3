// SPDX-License-Identifier: Apache-2.0
//! Which size to code: smaller where little detail would be lost, less than the quantiser takes.

use super::Scale;

/// The mean squared error that coding at this quality leaves, about: 33.5 dB at 0, 50 dB at 100, as
/// SVT-AV1 leaves on clips with much motion or noise. Resting ones come out up to 9 dB better.
pub fn coding_error(quality: f64) -> f64 {
    error_of(33.5 + 0.17 * quality)
}

/// The same for a rate, in bits a pixel of full size: twice the bits are about 3 dB. What rests gets
/// that much out of them; other scenes get less, and are left at their size too readily.
pub fn coding_error_of_rate(bits_per_pixel: f64) -> f64 {
    let decibel = 44.0 + 3.0 * (bits_per_pixel.max(1e-5) / 0.01).log2();
    error_of(decibel.clamp(22.0, 50.0))
}

fn error_of(decibel: f64) -> f64 {
    255.0 * 255.0 * 10f64.powf(-decibel / 10.0)
}

/// The mean squared error of luma that is shrunk to half and brought back: what has no place in
/// half the size.
fn lost_at_half(luma: &[u8], stride: usize, width: usize, height: usize) -> f64 {
    let (mut sum, mut count) = (0.0, 0u64);
    for y in (0..height.saturating_sub(1)).step_by(2) {
        let (one, two) = (
            &luma[y * stride..][..width],
            &luma[(y + 1) * stride..][..width],
        );
        for (a, b) in one.chunks_exact(2).zip(two.chunks_exact(2)) {
            let block = [a[0], a[1], b[0], b[1]].map(f64::from);
            let mean = block.iter().sum::<f64>() / 4.0;
            sum += block.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>();
            count += 4;
        }
    }
    if count == 0 { 0.0 } else { sum / count as f64 }
}

/// The size for a scene that begins with this luma: smaller only where next to nothing is lost
/// beside what coding loses. Measured (docs/hybrid.md): where half the size loses as much as coding
/// did, every smaller size still cost 0.2 dB at equal bits, and where it loses four times that, 1 to 4 dB.
pub fn choose(luma: &[u8], stride: usize, width: usize, height: usize, error: f64) -> Scale {
    let half = lost_at_half(luma, stride, width, height);
    [
        (Scale::Half, 16.0),
        (Scale::TwoThirds, 8.0),
        (Scale::ThreeQuarters, 4.0),
    ]
    .into_iter()
    .find(|(_, times)| half * times < error)
    .map_or(Scale::Full, |(scale, _)| scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_scenes_shrink_and_fine_ones_do_not() {
        let picture = |f: fn(usize, usize) -> u8| -> Vec<u8> {
            (0..64 * 48).map(|i| f(i % 64, i / 64)).collect()
        };
        let flat = picture(|x, y| ((x + y) / 8) as u8);
        let fine = picture(|x, y| if (x ^ y) & 1 == 0 { 20 } else { 220 });
        let error = coding_error(45.0);
        assert_eq!(choose(&flat, 64, 64, 48, error), Scale::Half);
        assert_eq!(choose(&fine, 64, 64, 48, error), Scale::Full);
        // Better quality never takes a smaller size.
        let middle = picture(|x, y| (128.0 + 2.0 * ((x * 3 + y) as f64).sin()) as u8);
        let sizes: Vec<u32> = (0..=10)
            .map(|q| choose(&middle, 64, 64, 48, coding_error(f64::from(q) * 10.0)).of(960))
            .collect();
        assert!(sizes.is_sorted(), "{sizes:?}");
        assert!(sizes[0] < sizes[10], "{sizes:?}");
        assert_eq!(choose(&[], 0, 0, 0, error), Scale::Half);
    }

    #[test]
    fn sizes_are_even_and_never_larger() {
        for scale in [
            Scale::Full,
            Scale::ThreeQuarters,
            Scale::TwoThirds,
            Scale::Half,
        ] {
            for side in [16u32, 63, 64, 100, 506, 1079, 1080, 3840] {
                let coded = scale.of(side);
                assert!(
                    coded <= side && coded >= side.min(64),
                    "{scale:?} {side} {coded}"
                );
                assert!(scale == Scale::Full || coded % 2 == 0 || coded == side);
            }
        }
    }
}
