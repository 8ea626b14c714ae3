// SPDX-License-Identifier: Apache-2.0
//! White balance after "shades of grey" (Finlayson and Trezzi 2004): a high power mean of each
//! channel is taken for grey, which lies between grey world (mean) and white patch (maximum).

/// Power of the mean.
const POWER: i32 = 6;
/// Pixels outside of this brightness say nothing: noise below, clipped channels above.
const DARK: f32 = 0.04;
const BRIGHT: f32 = 0.97;
/// A colour this far from grey is a thing's own.
const SATURATED: f32 = 0.65;
/// Share of pixels that must be left.
const ENOUGH: f32 = 0.1;
/// Largest gain of a channel against green.
const MOST: f32 = 1.6;

/// Gains of linear red, green and blue that make the light grey; they keep BT.709 luminance of grey.
/// `None` when too few pixels say anything.
pub fn gains(thumbnail: &[[f32; 3]]) -> Option<[f32; 3]> {
    let mut sums = [0.0f64; 3];
    let mut count = 0usize;
    for rgb in thumbnail {
        let most = rgb.iter().copied().fold(0.0, f32::max);
        let least = rgb.iter().copied().fold(1.0, f32::min);
        if !(DARK..=BRIGHT).contains(&most) || most - least > SATURATED * most {
            continue;
        }
        for (sum, v) in sums.iter_mut().zip(rgb) {
            *sum += f64::from(v.max(0.0).powf(2.2)).powi(POWER);
        }
        count += 1;
    }
    if (count as f32) < ENOUGH * thumbnail.len() as f32 || count == 0 {
        return None;
    }
    let level = sums.map(|sum| (sum / count as f64).powf(1.0 / f64::from(POWER)).max(1e-6) as f32);
    let limit = |gain: f32| gain.clamp(1.0 / MOST, MOST);
    let (red, blue) = (limit(level[1] / level[0]), limit(level[1] / level[2]));
    let grey = 0.2126 * red + 0.7152 + 0.0722 * blue;
    Some([red / grey, 1.0 / grey, blue / grey])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    fn scene(cast: [f32; 3]) -> Vec<[f32; 3]> {
        let mut random = Random::new(3);
        (0..4096)
            .map(|_| {
                let light = 0.05 + 0.75 * (random.next_u32() % 1000) as f32 / 1000.0;
                std::array::from_fn(|c| {
                    let own = 0.85 + 0.15 * (random.next_u32() % 1000) as f32 / 1000.0;
                    (light * own * cast[c]).powf(1.0 / 2.2).min(1.0)
                })
            })
            .collect()
    }

    #[test]
    fn a_cast_is_found_and_grey_light_is_left() {
        let gain = gains(&scene([1.0; 3])).expect("measurable");
        assert!(gain.iter().all(|g| (g - 1.0).abs() < 0.03), "{gain:?}");
        let gain = gains(&scene([1.2, 1.0, 0.7])).expect("measurable");
        assert!((gain[1] / gain[0] - 1.2).abs() < 0.06, "{gain:?}");
        assert!((gain[1] / gain[2] - 0.7).abs() < 0.06, "{gain:?}");
        let luminance = 0.2126 * gain[0] + 0.7152 * gain[1] + 0.0722 * gain[2];
        assert!((luminance - 1.0).abs() < 1e-5);
    }

    #[test]
    fn saturated_clipped_and_dark_pictures_say_nothing() {
        assert_eq!(gains(&[[0.9, 0.1, 0.1]; 100]), None);
        assert_eq!(gains(&[[1.0; 3]; 100]), None);
        assert_eq!(gains(&[[0.01; 3]; 100]), None);
        assert_eq!(gains(&[]), None);
    }

    #[test]
    fn gains_are_bounded() {
        let gain = gains(&[[0.3, 0.6, 0.25]; 100]).expect("measurable");
        assert!(gain[0] / gain[1] <= MOST + 1e-4 && gain[2] / gain[1] <= MOST + 1e-4);
    }
}
