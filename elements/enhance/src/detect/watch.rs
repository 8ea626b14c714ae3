// SPDX-License-Identifier: Apache-2.0
//! A detector over a stream: looks at every n-th picture and follows objects in between.

use aivideo_core::pixels::Yuv420;

use super::{
    DetectError, Detector,
    track::{Tracked, Tracker},
};
use crate::frame::Gamut;

/// Pictures that an object may be out of sight before its number is given up, where nothing is said.
pub const MAX_AGE: u32 = 30;

/// What may change from picture to picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Least confidence; nothing: the sidecar's.
    pub threshold: Option<f32>,
    /// Overlap beyond which the less sure of two boxes is dropped; nothing: the sidecar's.
    pub overlap: Option<f32>,
    /// The model looks at every so many-th picture, at least 1.
    pub interval: u32,
    pub tracking: bool,
}

pub struct Watch {
    detector: Detector,
    tracker: Tracker,
    /// Pictures since the start or a jump.
    since: u64,
    /// Pictures that the model looked at.
    looked: u64,
}

impl Watch {
    pub fn new(detector: Detector, max_age: u32) -> Self {
        Self {
            detector,
            tracker: Tracker::new(max_age),
            since: 0,
            looked: 0,
        }
    }

    pub fn detector(&self) -> &Detector {
        &self.detector
    }

    pub fn looked(&self) -> u64 {
        self.looked
    }

    /// The stream jumps: nothing is followed on, and the model looks at the next picture.
    pub fn reset(&mut self) {
        self.tracker.reset();
        self.since = 0;
    }

    /// Whether the model looks at the next picture. Asked once for each.
    pub fn is_due(&mut self, rules: &Rules) -> bool {
        let due = self.since.is_multiple_of(u64::from(rules.interval.max(1)));
        self.since += 1;
        due
    }

    /// What the model sees, in pixels of the picture.
    pub fn look(
        &mut self,
        picture: &Yuv420,
        colour: (Gamut, bool),
        rules: &Rules,
    ) -> Result<Vec<Tracked>, DetectError> {
        self.look_by(rules, |detector, threshold, overlap| {
            detector.find(picture, colour, threshold, overlap)
        })
    }

    /// The same where `find` looks: it is given the detector, the least confidence, and the overlap
    /// beyond which boxes are dropped.
    pub fn look_by(
        &mut self,
        rules: &Rules,
        find: impl FnOnce(&mut Detector, f32, f32) -> Result<Vec<super::Object>, DetectError>,
    ) -> Result<Vec<Tracked>, DetectError> {
        let sidecar = self.detector.sidecar();
        let threshold = rules.threshold.unwrap_or(sidecar.threshold);
        let overlap = rules.overlap.unwrap_or(sidecar.nms_threshold);
        let found = find(&mut self.detector, threshold, overlap)?;
        self.looked += 1;
        Ok(match rules.tracking {
            true => self.tracker.update(&found),
            false => found
                .into_iter()
                .map(|object| Tracked { object, id: None })
                .collect(),
        })
    }

    /// Where followed objects should be in a picture that the model does not look at.
    pub fn skip(&mut self, rules: &Rules) -> Vec<Tracked> {
        match rules.tracking {
            true => self.tracker.predict(),
            false => Vec::new(),
        }
    }
}
