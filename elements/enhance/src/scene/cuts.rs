// SPDX-License-Identifier: Apache-2.0
//! Which pictures are the first of a scene.
//!
//! A cut changes a picture much more than its neighbours in time change (the adaptive part: a pan
//! or a crowd changes every picture), and it changes how levels are spread (the histogram: a jump
//! of the camera does not). A flash does both, twice: behind it the picture from before comes back.
//! So a change is no cut when a picture soon after it resembles the one before it, or one shortly
//! before it resembles the one behind it. All of this needs a few pictures of the future.

use std::collections::VecDeque;

use super::thumbnail::Thumbnail;

/// What counts as a cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sensitivity {
    /// How many times more than its neighbours a picture must have changed.
    pub ratio: f32,
    /// How much at least, in steps of 255.
    pub change: f32,
    /// How much the spread of levels must have changed, 0 to 1.
    pub spread: f32,
    /// Pictures of the shortest scene.
    pub shortest: u64,
}

impl Default for Sensitivity {
    fn default() -> Self {
        Self {
            ratio: 3.0,
            change: 6.0,
            spread: 0.08,
            shortest: 15,
        }
    }
}

/// Without a smaller one, this share of a change between pictures is not worth naming.
const NOISE: f32 = 0.8;
/// Pictures resemble each other when they differ by so much less than the change did.
const ALIKE: f32 = 0.4;

/// The first picture of a scene.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// Counted from the first picture.
    pub frame: u64,
    /// How many times more than its neighbours it changed.
    pub strength: f32,
}

/// What is decided about a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    pub frame: u64,
    pub cut: Option<Cut>,
}

/// Takes pictures in order and decides about each `look_ahead` pictures later.
#[derive(Debug, Clone)]
pub struct CutFinder {
    look_ahead: usize,
    /// Pictures around the one that is decided about, and how much each changed.
    pictures: VecDeque<(Thumbnail, f32)>,
    /// Place of the next picture to decide about, in `pictures`, and its number.
    place: usize,
    frame: u64,
    last_cut: u64,
    flashes: u64,
}

impl CutFinder {
    pub fn new(look_ahead: usize) -> Self {
        Self {
            look_ahead,
            pictures: VecDeque::new(),
            place: 0,
            frame: 0,
            last_cut: 0,
            flashes: 0,
        }
    }

    /// Changes that were taken for flashes.
    pub fn flashes(&self) -> u64 {
        self.flashes
    }

    /// Takes the next picture; decides about an earlier one when enough are known.
    pub fn push(&mut self, picture: Thumbnail, sensitivity: &Sensitivity) -> Option<Decision> {
        let change = self
            .pictures
            .back()
            .map_or(0.0, |(last, _)| picture.difference(last));
        self.pictures.push_back((picture, change));
        (self.pictures.len() - self.place > self.look_ahead)
            .then(|| self.decide(sensitivity))
            .flatten()
    }

    /// Decides about the next of the pictures that are left, when no more come.
    pub fn drain(&mut self, sensitivity: &Sensitivity) -> Option<Decision> {
        self.decide(sensitivity)
    }

    fn decide(&mut self, sensitivity: &Sensitivity) -> Option<Decision> {
        if self.place >= self.pictures.len() {
            return None;
        }
        let frame = self.frame;
        let cut = self
            .judge(sensitivity)
            .map(|strength| Cut { frame, strength });
        if cut.is_some() {
            self.last_cut = frame;
        }
        self.frame += 1;
        self.place += 1;
        // As much past as future is looked at, and one more to compare with.
        while self.place > self.look_ahead.max(2) + 1 {
            self.pictures.pop_front();
            self.place -= 1;
        }
        Some(Decision { frame, cut })
    }

    fn judge(&mut self, sensitivity: &Sensitivity) -> Option<f32> {
        let at = self.place;
        if at == 0 || self.frame < self.last_cut + sensitivity.shortest {
            return None;
        }
        let (here, change) = &self.pictures[at];
        let (before, _) = &self.pictures[at - 1];
        if *change < sensitivity.change {
            return None;
        }
        let reach = self.look_ahead.max(2);
        let around = at.saturating_sub(reach)..(at + reach + 1).min(self.pictures.len());
        // The first picture of all has no change of its own.
        let mut neighbours: Vec<f32> = around
            .clone()
            .filter(|n| *n != at && (*n > 0 || self.frame > at as u64))
            .map(|n| self.pictures[n].1)
            .collect();
        // Both edges of a flash close by are not usual.
        if neighbours.len() >= 6 {
            neighbours.sort_by(f32::total_cmp);
            neighbours.truncate(neighbours.len() - 2);
        }
        let usual = if neighbours.is_empty() {
            0.0
        } else {
            neighbours.iter().sum::<f32>() / neighbours.len() as f32
        };
        let strength = change / usual.max(NOISE);
        if strength < sensitivity.ratio || here.spread(before) < sensitivity.spread {
            return None;
        }
        let alike = |a: &Thumbnail, b: &Thumbnail| a.difference(b) < ALIKE * change;
        let comes_back = (at + 1..around.end).any(|n| alike(&self.pictures[n].0, before));
        let came_back = (around.start..at - 1).any(|n| alike(&self.pictures[n].0, here));
        if comes_back || came_back {
            self.flashes += 1;
            return None;
        }
        Some(strength)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        scene::thumbnail::Component,
        testing::{Random, noisy},
    };

    const SIZE: (usize, usize) = (96, 54);

    /// A picture of a scene, moved on by `shift`.
    fn picture(scene: u64, shift: usize, brighter: i32) -> Thumbnail {
        let (w, h) = SIZE;
        let mut random = Random::new(scene);
        let base = 40 + (random.next_u32() % 120) as i32;
        let blocks: Vec<i32> = (0..300)
            .map(|_| base + (random.next_u32() % 70) as i32)
            .collect();
        let plane: Vec<u8> = (0..w * h)
            .map(|n| {
                let value = blocks[(n / w / 9 * 17 + (n % w + shift) / 12) % blocks.len()];
                (value + brighter).clamp(0, 255) as u8
            })
            .collect();
        let plane = noisy(&plane, 3.0, scene * 1000 + shift as u64);
        Thumbnail::new(&[Component {
            data: &plane,
            width: w,
            height: h,
            step: 1,
            stride: w,
        }])
    }

    fn found(pictures: impl Iterator<Item = Thumbnail>, look_ahead: usize) -> Vec<u64> {
        let mut finder = CutFinder::new(look_ahead);
        let sensitivity = Sensitivity::default();
        let mut decisions = Vec::new();
        for picture in pictures {
            decisions.extend(finder.push(picture, &sensitivity));
        }
        while let Some(decision) = finder.drain(&sensitivity) {
            decisions.push(decision);
        }
        for (n, decision) in decisions.iter().enumerate() {
            assert_eq!(decision.frame, n as u64);
        }
        decisions
            .iter()
            .filter_map(|d| Some(d.cut?.frame))
            .collect()
    }

    #[test]
    fn cuts_between_moving_scenes_are_found() {
        for look_ahead in [0, 2, 5] {
            let pictures = (0..100).map(|n| picture(n / 25 + 1, n as usize * 2, 0));
            assert_eq!(found(pictures, look_ahead), [25, 50, 75], "{look_ahead}");
        }
    }

    #[test]
    fn flashes_are_no_cuts() {
        let flash = |n: u64| match n % 30 {
            17..=19 => 130,
            _ => 0,
        };
        let pictures = (0..90).map(|n| picture(3, n as usize, flash(n)));
        assert_eq!(found(pictures, 5), [0_u64; 0]);
    }

    #[test]
    fn a_cut_right_behind_a_flash_is_still_one() {
        let pictures = (0..80).map(|n| {
            picture(
                if n < 44 { 1 } else { 2 },
                n as usize,
                if (40..42).contains(&n) { 120 } else { 0 },
            )
        });
        assert_eq!(found(pictures, 5), [44]);
    }

    #[test]
    fn fast_motion_is_no_cut() {
        let pictures = (0..80).map(|n| picture(5, n as usize * 12, 0));
        assert_eq!(found(pictures, 5), [0_u64; 0]);
    }

    #[test]
    fn scenes_have_a_shortest_length() {
        let pictures = (0..60).map(|n| picture(n / 6 + 1, 0, 0));
        let cuts = found(pictures, 3);
        assert!(!cuts.is_empty());
        assert!(
            cuts.windows(2).all(|pair| pair[1] - pair[0] >= 15),
            "{cuts:?}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn every_picture_is_decided_about_once(
            levels in proptest::collection::vec(0_u64..5, 0..60),
            look_ahead in 0_usize..8,
        ) {
            let count = levels.len() as u64;
            let cuts = found(levels.into_iter().map(|n| picture(n + 1, 0, 0)), look_ahead);
            prop_assert!(cuts.iter().all(|cut| *cut > 0 && *cut < count));
        }
    }
}
