// SPDX-License-Identifier: Apache-2.0
//! Steadying a shaken camera, without GStreamer.
//!
//! * [`pyramid`]: luma in halves of halves;
//! * [`track`]: points that can be followed, followed from one picture to the next (pyramidal
//!   Lucas-Kanade);
//! * [`similarity`]: shift, rotation and scale, and the one that most points agree on (RANSAC);
//! * [`path`]: what the camera did, what it should have done, and the difference;
//! * [`warp`]: a picture moved by it.

pub mod path;
pub mod pyramid;
pub mod similarity;
pub mod track;
pub mod warp;

use aivideo_core::pixels::PlaneRef;

use pyramid::{Grey, Pyramid};
use similarity::{Agreement, Similarity};

/// Points to follow in a picture.
const POINTS: usize = 200;
/// Fewer points that agree say nothing about the camera.
const FEWEST: usize = 8;

/// Finds how the picture moved against the one before.
#[derive(Default)]
pub struct MotionFinder {
    before: Option<Pyramid>,
    spare: Option<Pyramid>,
}

/// How a picture moved, about its middle, in its own pixels.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Motion {
    pub movement: Similarity,
    /// Points followed, and those that agree.
    pub points: usize,
    pub agreeing: usize,
}

impl MotionFinder {
    /// The motion since the picture before; none for the first, and none where too little can be
    /// followed.
    pub fn next(&mut self, luma: PlaneRef<'_>) -> Motion {
        let spare = self.spare.take();
        self.find(Pyramid::new(luma, spare))
    }

    /// The same of a picture of this size whose luma is [reduced](pyramid::reduced) already.
    pub fn next_reduced(&mut self, luma: Grey, full: (usize, usize)) -> Motion {
        let spare = self.spare.take();
        self.find(Pyramid::of_reduced(luma, full, spare))
    }

    fn find(&mut self, now: Pyramid) -> Motion {
        let mut motion = Motion::default();
        if let Some(before) = &self.before
            && before.same_size(&now)
        {
            let (w, h) = now.size();
            let middle = ((w - 1) as f32 / 2.0, (h - 1) as f32 / 2.0);
            let pairs: Vec<_> = track::points(before, POINTS)
                .into_iter()
                .filter_map(|from| Some((from, track::follow(before, &now, from)?)))
                .map(|(a, b)| {
                    (
                        (a.0 - middle.0, a.1 - middle.1),
                        (b.0 - middle.0, b.1 - middle.1),
                    )
                })
                .collect();
            motion.points = pairs.len();
            if let Some(Agreement { found, agreeing }) = similarity::agree(&pairs)
                && agreeing >= FEWEST
            {
                let scale = now.reduction() as f32;
                motion.agreeing = agreeing;
                motion.movement = Similarity {
                    x: found.x * scale,
                    y: found.y * scale,
                    ..found
                };
            }
        }
        self.spare = self.before.replace(now);
        motion
    }

    /// The next picture is the first again.
    pub fn reset(&mut self) {
        self.before = None;
    }
}

#[cfg(test)]
mod tests;
