// SPDX-License-Identifier: Apache-2.0
//! Which frames make a clip. Knows neither GStreamer nor pixels.
//!
//! Clip `k` starts at frame `k * clip_stride` and takes every `frame_stride`-th frame from there.
//! Overlapping clips share their frames, and a frame that no clip takes is never prepared.

use std::{collections::VecDeque, sync::Arc};

/// The rhythm of the clips, in frames of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// Frames in a clip, at least 1.
    pub frames: usize,
    /// Distance between the frames of a clip, at least 1.
    pub frame_stride: usize,
    /// Distance between the starts of clips, at least 1.
    pub clip_stride: usize,
}

impl Rhythm {
    /// Frames from a clip's first to its last, less one.
    fn reach(&self) -> u64 {
        (self.frames as u64 - 1) * self.frame_stride as u64
    }
}

/// When a frame is shown, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub start: Option<u64>,
    pub end: Option<u64>,
}

/// A complete clip, oldest frame first.
#[derive(Debug, Clone)]
pub struct Clip<T> {
    pub frames: Vec<Arc<T>>,
    pub start: Option<u64>,
    pub end: Option<u64>,
}

/// Collects frames into clips. `T` is a prepared frame.
#[derive(Debug)]
pub struct Assembler<T> {
    rhythm: Rhythm,
    /// Number of the next frame since the last restart.
    next: u64,
    kept: VecDeque<(u64, Span, Arc<T>)>,
}

impl<T> Assembler<T> {
    /// Zeros in `rhythm` count as ones.
    pub fn new(rhythm: Rhythm) -> Self {
        let rhythm = Rhythm {
            frames: rhythm.frames.max(1),
            frame_stride: rhythm.frame_stride.max(1),
            clip_stride: rhythm.clip_stride.max(1),
        };
        Self {
            rhythm,
            next: 0,
            kept: VecDeque::new(),
        }
    }

    /// Whether the next frame belongs to any clip, and so must be prepared.
    pub fn wants_next(&self) -> bool {
        let Rhythm {
            frames,
            frame_stride,
            clip_stride,
        } = self.rhythm;
        (0..frames as u64)
            .map_while(|j| self.next.checked_sub(j * frame_stride as u64))
            .any(|start| start.is_multiple_of(clip_stride as u64))
    }

    /// Whether the next frame would complete a clip.
    pub fn completes_next(&self) -> bool {
        self.next
            .checked_sub(self.rhythm.reach())
            .is_some_and(|start| start.is_multiple_of(self.rhythm.clip_stride as u64))
    }

    /// Counts the next frame, which is not wanted.
    pub fn skip(&mut self) {
        self.next += 1;
    }

    /// Takes the next frame; returns the clip that it completes, if any.
    pub fn push(&mut self, span: Span, frame: Arc<T>) -> Option<Clip<T>> {
        let completes = self.completes_next();
        let index = self.next;
        self.next += 1;
        self.kept.push_back((index, span, frame));
        let reach = self.rhythm.reach();
        let clip = if completes {
            let start = index - reach;
            let stride = self.rhythm.frame_stride as u64;
            let members: Vec<_> = self
                .kept
                .iter()
                .filter(|(i, ..)| *i >= start && (i - start).is_multiple_of(stride))
                .collect();
            // A wanted frame that the caller skipped leaves a hole: then there is no clip.
            (members.len() == self.rhythm.frames).then(|| Clip {
                start: members.first().and_then(|(_, span, _)| span.start),
                end: members
                    .last()
                    .and_then(|(_, span, _)| span.end.or(span.start)),
                frames: members
                    .into_iter()
                    .map(|(.., frame)| Arc::clone(frame))
                    .collect(),
            })
        } else {
            None
        };
        // The oldest frame that a later clip can take is `reach` before the next one.
        while let Some((i, ..)) = self.kept.front() {
            if i + reach < self.next {
                self.kept.pop_front();
            } else {
                break;
            }
        }
        clip
    }

    /// Forgets everything: the next frame is the first of a first clip.
    pub fn restart(&mut self) {
        self.next = 0;
        self.kept.clear();
    }

    /// Frames held for clips to come.
    pub fn held(&self) -> usize {
        self.kept.len()
    }
}

/// Tells a hole in time from the ordinary unevenness of timestamps.
#[derive(Debug, Default)]
pub struct Continuity {
    last: Option<u64>,
    step: Option<u64>,
}

/// Within this long a late frame is jitter or a dropped frame, whatever the frame rate.
const SLACK_NS: u64 = 500_000_000;

impl Continuity {
    /// Whether a frame with this timestamp and duration follows the one before. Frames without a
    /// timestamp always do.
    pub fn follows(&mut self, pts: Option<u64>, duration: Option<u64>) -> bool {
        let Some(pts) = pts else {
            return true;
        };
        let follows = match self.last {
            None => true,
            Some(last) => {
                let step = self.step.or(duration).unwrap_or(0);
                pts >= last && pts - last <= step.saturating_mul(4).max(SLACK_NS)
            }
        };
        self.step = duration;
        self.last = Some(pts);
        follows
    }

    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(i: u64) -> Span {
        Span {
            start: Some(i * 40),
            end: Some(i * 40 + 40),
        }
    }

    fn run(rhythm: Rhythm, count: u64) -> Vec<Vec<u64>> {
        let mut assembler = Assembler::new(rhythm);
        let mut clips = Vec::new();
        for i in 0..count {
            if !assembler.wants_next() {
                assert!(!assembler.completes_next());
                assembler.skip();
                continue;
            }
            if let Some(clip) = assembler.push(span(i), Arc::new(i)) {
                let members: Vec<u64> = clip.frames.iter().map(|f| **f).collect();
                assert_eq!(clip.start, Some(members[0] * 40));
                assert_eq!(clip.end, Some(members[members.len() - 1] * 40 + 40));
                clips.push(members);
            }
        }
        clips
    }

    #[test]
    fn plain_clips_follow_each_other() {
        let rhythm = Rhythm {
            frames: 4,
            frame_stride: 2,
            clip_stride: 8,
        };
        assert_eq!(run(rhythm, 18), vec![vec![0, 2, 4, 6], vec![8, 10, 12, 14]]);
    }

    #[test]
    fn overlapping_clips_share_frames() {
        let rhythm = Rhythm {
            frames: 3,
            frame_stride: 2,
            clip_stride: 2,
        };
        assert_eq!(
            run(rhythm, 9),
            vec![vec![0, 2, 4], vec![2, 4, 6], vec![4, 6, 8]]
        );
        let mut assembler = Assembler::new(rhythm);
        let shared = Arc::new(0);
        for i in 0..9 {
            if assembler.wants_next() {
                assembler.push(span(i), Arc::clone(&shared));
            } else {
                assembler.skip();
            }
        }
        assert!(assembler.held() <= 2);
    }

    #[test]
    fn restart_never_mixes_before_and_after() {
        let mut assembler = Assembler::new(Rhythm {
            frames: 3,
            frame_stride: 1,
            clip_stride: 1,
        });
        assembler.push(span(0), Arc::new(0));
        assembler.push(span(1), Arc::new(1));
        assembler.restart();
        assert!(assembler.push(span(2), Arc::new(2)).is_none());
        assert!(assembler.push(span(3), Arc::new(3)).is_none());
        let clip = assembler.push(span(4), Arc::new(4)).unwrap();
        assert_eq!(
            clip.frames.iter().map(|f| **f).collect::<Vec<_>>(),
            [2, 3, 4]
        );
    }

    #[test]
    fn a_skipped_frame_spoils_its_clip_only() {
        let mut assembler = Assembler::new(Rhythm {
            frames: 2,
            frame_stride: 1,
            clip_stride: 2,
        });
        assembler.push(span(0), Arc::new(0));
        assembler.skip();
        assert!(assembler.push(span(2), Arc::new(2)).is_none());
        assert!(assembler.push(span(3), Arc::new(3)).is_some());
    }

    #[test]
    fn holes_in_time_are_told_from_jitter() {
        let mut time = Continuity::default();
        let ms = 1_000_000;
        assert!(time.follows(Some(5_000 * ms), Some(40 * ms)));
        assert!(time.follows(Some(5_043 * ms), Some(40 * ms)));
        assert!(
            time.follows(Some(5_160 * ms), Some(40 * ms)),
            "dropped frames"
        );
        assert!(time.follows(None, None));
        assert!(!time.follows(Some(6_000 * ms), Some(40 * ms)), "a hole");
        assert!(time.follows(Some(6_040 * ms), Some(40 * ms)));
        assert!(!time.follows(Some(40 * ms), Some(40 * ms)), "backwards");
        // one frame a second is a rate, not a hole
        time.reset();
        assert!(time.follows(Some(0), Some(1_000 * ms)));
        assert!(time.follows(Some(1_000 * ms), Some(1_000 * ms)));
    }

    proptest! {
        /// Whatever the rhythm: exactly the clips of the definition, and bounded memory.
        #[test]
        fn clips_are_those_of_the_definition(
            frames in 1usize..9, frame_stride in 1usize..6, clip_stride in 1usize..40, count in 0u64..150,
        ) {
            let rhythm = Rhythm { frames, frame_stride, clip_stride };
            let reach = (frames as u64 - 1) * frame_stride as u64;
            let expected: Vec<Vec<u64>> = (0..)
                .map(|k| k * clip_stride as u64)
                .take_while(|start| start + reach < count)
                .map(|start| (0..frames as u64).map(|j| start + j * frame_stride as u64).collect())
                .collect();
            prop_assert_eq!(run(rhythm, count), expected);
        }
    }
}
