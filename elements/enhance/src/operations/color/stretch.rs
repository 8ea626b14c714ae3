// SPDX-License-Identifier: Apache-2.0
//! Black and white of a flat picture. Where nothing is dark in any of red, green and blue, a veil of light lies over it: haze, a flare, a lifted
//! black ("dark channel", He, Sun and Tang 2009). Light of it is `A (1 - t)`, and what is behind has `t` of its own left.

/// Of fields of a thumbnail, sorted by their least or most channel: black and white are there.
const DARKEST: f32 = 0.003;
const BRIGHTEST: f32 = 0.999;
/// A black as high as the first says nothing, from the second on it is a veil;
const VEIL: [f32; 2] = [0.08, 0.18];
/// from the third on it may be a bright thing that fills the picture, snow or paper, which it is for sure from the fourth on.
const BRIGHT: [f32; 2] = [0.4, 0.5];
/// From black to white: less than the first is a wall, a fade or nothing.
const SPREAD: [f32; 2] = [0.15, 0.3];
/// The veil's grey, `A`: whites are not drawn up further than to what it would have left of white. Chosen on training photos under veils of 0.65 to
/// 0.95.
const GREY: f32 = 0.7;

/// What black and white of a thumbnail have become: 0 and 1 where no veil is seen.
pub fn levels(thumbnail: &[[f32; 3]]) -> [f32; 2] {
    if thumbnail.is_empty() {
        return [0.0, 1.0];
    }
    let at = |share: f32, channel: fn(f32, f32) -> f32| {
        let mut values: Vec<f32> = thumbnail
            .iter()
            .map(|[r, g, b]| channel(channel(*r, *g), *b))
            .collect();
        let place = (share * (values.len() - 1) as f32).round() as usize;
        *values.select_nth_unstable_by(place, f32::total_cmp).1
    };
    let black = at(DARKEST, f32::min);
    let most = at(BRIGHTEST, f32::max);
    let beyond = |v: f32, [from, to]: [f32; 2]| ((v - from) / (to - from)).clamp(0.0, 1.0);
    let evidence =
        beyond(black, VEIL) * (1.0 - beyond(black, BRIGHT)) * beyond(most - black, SPREAD);
    let white = most.max(1.0 - black * (1.0 / GREY - 1.0));
    [evidence * black, 1.0 + evidence * (white - 1.0)]
}

/// A colour with some of the levels taken out.
pub fn stretched(colour: [f32; 3], [black, white]: [f32; 2], amount: f32) -> [f32; 3] {
    let black = amount * black;
    let span = (1.0 + amount * (white - 1.0) - black).max(0.1);
    colour.map(|v| ((v - black) / span).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    fn scene() -> Vec<[f32; 3]> {
        let mut random = Random::new(5);
        let mut value = || (random.next_u32() % 1001) as f32 / 1000.0;
        (0..4096).map(|_| [value(), value(), value()]).collect()
    }

    #[test]
    fn a_veil_is_taken_away() {
        for (grey, left) in [(0.7f32, 0.6f32), (0.9, 0.6), (0.75, 0.5)] {
            let good = scene();
            let veiled = |v: f32| left * v + grey * (1.0 - left);
            let flat: Vec<[f32; 3]> = good.iter().map(|c| c.map(veiled)).collect();
            let levels = levels(&flat);
            for (good, flat) in good.iter().zip(&flat) {
                for (good, v) in good.iter().zip(stretched(*flat, levels, 1.0)) {
                    assert!((good - v).abs() < 0.06, "{good} {v} {levels:?}");
                }
            }
        }
    }

    #[test]
    fn pictures_with_black_in_them_stay() {
        assert_eq!(levels(&scene()), [0.0, 1.0]);
        // A night: its white is not drawn up.
        let night: Vec<[f32; 3]> = scene().iter().map(|c| c.map(|v| 0.3 * v)).collect();
        assert_eq!(levels(&night), [0.0, 1.0]);
        assert_eq!(levels(&[]), [0.0, 1.0]);
    }

    #[test]
    fn walls_snow_and_fades_are_no_veils() {
        for grey in [0.0, 0.1, 0.3, 0.5, 0.9, 1.0] {
            assert_eq!(levels(&[[grey; 3]; 4096]), [0.0, 1.0], "a wall of {grey}");
        }
        let bright = |c: &[f32; 3]| c.map(|v| 0.5 + 0.5 * v);
        assert_eq!(
            levels(&scene().iter().map(bright).collect::<Vec<_>>()),
            [0.0, 1.0]
        );
        let faded = |c: &[f32; 3]| c.map(|v| 0.3 + 0.14 * v);
        assert_eq!(
            levels(&scene().iter().map(faded).collect::<Vec<_>>()),
            [0.0, 1.0]
        );
    }

    #[test]
    fn any_levels_give_colours() {
        for levels in [[0.0, 1.0], [0.45, 0.45], [0.2, 0.8]] {
            for grey in [0.0, 0.3, 1.0] {
                let out = stretched([grey; 3], levels, 1.0);
                assert!(out.iter().all(|v| (0.0..=1.0).contains(v)), "{out:?}");
            }
        }
        assert_eq!(stretched([0.3, 0.5, 0.9], [0.2, 0.8], 0.0), [0.3, 0.5, 0.9]);
    }
}
