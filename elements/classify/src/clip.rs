// SPDX-License-Identifier: Apache-2.0
//! Which frames make a clip. Knows neither GStreamer nor pixels.
//!
//! Clip `k` starts at moment `k * clip_stride` and wants the picture at every `frame_stride` from
//! there. A moment is the number of a frame, or a time since the first one. By time, a frame is the
//! picture of the moments that are nearer to it than to its neighbours, so the same clips come out
//! of 10, 25 or 60 frames a second: slow streams give a frame to several moments, fast ones leave
//! frames out. Overlapping clips share their frames, and a frame that no clip takes is never prepared.

use std::{collections::VecDeque, sync::Arc};

/// The rhythm of the clips, in frames of the stream or in nanoseconds of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// Frames in a clip, at least 1.
    pub frames: usize,
    /// Distance between the frames of a clip, at least 1.
    pub frame_stride: u64,
    /// Distance between the starts of clips, at least 1.
    pub clip_stride: u64,
    /// Whether the distances are nanoseconds.
    pub by_time: bool,
}

impl Rhythm {
    /// From a clip's first moment to its last.
    fn reach(&self) -> i128 {
        (self.frames as i128 - 1) * i128::from(self.frame_stride)
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

/// A frame and the moments that it is the picture of: after `from`, up to `to`.
#[derive(Debug)]
struct Kept<T> {
    from: i128,
    to: i128,
    span: Span,
    frame: Arc<T>,
}

/// Collects frames into clips. `T` is a prepared frame.
#[derive(Debug)]
pub struct Assembler<T> {
    rhythm: Rhythm,
    /// The last moment whose picture is known; -1 after a restart.
    past: i128,
    /// By time: when the first frame since the last restart is shown, and how long frames last.
    base: Option<u64>,
    step: u64,
    last: u64,
    kept: VecDeque<Kept<T>>,
}

impl<T> Assembler<T> {
    /// Zeros in `rhythm` count as ones.
    pub fn new(rhythm: Rhythm) -> Self {
        let rhythm = Rhythm {
            frames: rhythm.frames.max(1),
            frame_stride: rhythm.frame_stride.max(1),
            clip_stride: rhythm.clip_stride.max(1),
            by_time: rhythm.by_time,
        };
        Self {
            rhythm,
            past: -1,
            base: None,
            step: 0,
            last: 0,
            kept: VecDeque::new(),
        }
    }

    pub fn rhythm(&self) -> Rhythm {
        self.rhythm
    }

    /// Takes the next frame: `prepare` is called if any clip wants it. Returns the clip that it
    /// completes, the latest if it completes several.
    pub fn push<E>(
        &mut self,
        span: Span,
        prepare: impl FnOnce() -> Result<Arc<T>, E>,
    ) -> Result<Option<Clip<T>>, E> {
        let before = self.past;
        self.reach_out(span);
        let from = self.past;
        let to = self.moments(span).max(from);
        self.past = to;
        if to > from && self.is_wanted(from, to) {
            let frame = prepare()?;
            self.kept.push_back(Kept {
                from,
                to,
                span,
                frame,
            });
        }
        let reach = self.rhythm.reach();
        let stride = i128::from(self.rhythm.clip_stride);
        // The latest clip that ends by now, if it did not end before.
        let latest = (to - reach).div_euclid(stride);
        let clip = (latest >= 0 && latest * stride + reach > before)
            .then(|| self.clip(latest * stride))
            .flatten();
        // The first moment that a clip to come can want: that of the next clip to end.
        let needed = (latest + 1).max(0) * stride;
        while self.kept.front().is_some_and(|kept| kept.to < needed) {
            self.kept.pop_front();
        }
        Ok(clip)
    }

    /// By time: how far the frame before reaches is certain only now. Where the stream is slower
    /// than it said, or did not say, it stands for moments up to half way to this one.
    fn reach_out(&mut self, next: Span) {
        let (Some(base), Some(start)) = (self.base, next.start) else {
            return;
        };
        if !self.rhythm.by_time || start <= self.last {
            return;
        }
        let middle = i128::from(self.last) + i128::from(start - self.last) / 2 - i128::from(base);
        let past = self.past;
        if let Some(kept) = self.kept.back_mut().filter(|kept| kept.to == past)
            && middle > past
        {
            kept.to = middle;
            self.past = middle;
        }
    }

    /// The last moment that the frame is the picture of.
    fn moments(&mut self, span: Span) -> i128 {
        if !self.rhythm.by_time {
            return self.past + 1;
        }
        let start = span
            .start
            .unwrap_or_else(|| self.last.saturating_add(self.step));
        let duration = span.start.zip(span.end).map(|(a, b)| b.saturating_sub(a));
        if let Some(step) = duration.filter(|step| *step > 0) {
            self.step = step;
        } else if self.base.is_some() && start > self.last {
            self.step = start - self.last;
        }
        self.last = start;
        let base = *self.base.get_or_insert(start);
        i128::from(start) - i128::from(base) + i128::from(self.step / 2)
    }

    /// Whether a clip wants a moment after `from` and up to `to`.
    fn is_wanted(&self, from: i128, to: i128) -> bool {
        let stride = i128::from(self.rhythm.clip_stride);
        (0..self.rhythm.frames as i128)
            .map(|j| j * i128::from(self.rhythm.frame_stride))
            .take_while(|offset| *offset <= to)
            .any(|offset| {
                let latest = (to - offset).div_euclid(stride);
                latest >= 0 && latest * stride + offset > from
            })
    }

    /// The clip that starts at this moment; `None` when a frame of it could not be prepared.
    fn clip(&self, start: i128) -> Option<Clip<T>> {
        let mut members = Vec::with_capacity(self.rhythm.frames);
        let mut at = 0;
        for j in 0..self.rhythm.frames as i128 {
            let moment = start + j * i128::from(self.rhythm.frame_stride);
            while self.kept.get(at)?.to < moment {
                at += 1;
            }
            let kept = &self.kept[at];
            if kept.from >= moment {
                return None;
            }
            members.push(kept);
        }
        let last = members.last()?.span;
        Some(Clip {
            start: members.first()?.span.start,
            end: last.end.or(last.start),
            frames: members.iter().map(|kept| Arc::clone(&kept.frame)).collect(),
        })
    }

    /// Forgets everything: the next frame is the first of a first clip.
    pub fn restart(&mut self) {
        self.past = -1;
        self.base = None;
        self.kept.clear();
    }

    /// Whether no clip is under way.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
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

    const MS: u64 = 1_000_000;

    fn span(i: u64) -> Span {
        Span {
            start: Some(i * 40),
            end: Some(i * 40 + 40),
        }
    }

    fn by_frames(frames: usize, frame_stride: u64, clip_stride: u64) -> Rhythm {
        Rhythm {
            frames,
            frame_stride,
            clip_stride,
            by_time: false,
        }
    }

    fn by_time(frames: usize, frame_stride: u64, clip_stride: u64) -> Rhythm {
        Rhythm {
            by_time: true,
            ..by_frames(frames, frame_stride, clip_stride)
        }
    }

    fn ready<T>(frame: T) -> impl FnOnce() -> Result<Arc<T>, ()> {
        move || Ok(Arc::new(frame))
    }

    fn members<T: Copy>(clip: &Clip<T>) -> Vec<T> {
        clip.frames.iter().map(|frame| **frame).collect()
    }

    fn run(rhythm: Rhythm, count: u64) -> Vec<Vec<u64>> {
        let mut assembler = Assembler::new(rhythm);
        let mut clips = Vec::new();
        for i in 0..count {
            if let Some(clip) = assembler.push(span(i), ready(i)).unwrap() {
                let members = members(&clip);
                assert_eq!(clip.start, Some(members[0] * 40));
                assert_eq!(clip.end, Some(members[members.len() - 1] * 40 + 40));
                clips.push(members);
            }
        }
        clips
    }

    /// Clips of a stream whose frames come at these times, as those times.
    fn timed(rhythm: Rhythm, times: &[u64]) -> Vec<Vec<u64>> {
        let mut assembler = Assembler::new(rhythm);
        times
            .iter()
            .filter_map(|time| {
                let span = Span {
                    start: Some(*time),
                    end: None,
                };
                assembler.push(span, ready(*time)).unwrap()
            })
            .map(|clip| members(&clip))
            .collect()
    }

    #[test]
    fn plain_clips_follow_each_other() {
        assert_eq!(
            run(by_frames(4, 2, 8), 18),
            vec![vec![0, 2, 4, 6], vec![8, 10, 12, 14]]
        );
    }

    #[test]
    fn overlapping_clips_share_frames_and_the_others_are_not_prepared() {
        let rhythm = by_frames(3, 2, 2);
        assert_eq!(
            run(rhythm, 9),
            vec![vec![0, 2, 4], vec![2, 4, 6], vec![4, 6, 8]]
        );
        let mut assembler = Assembler::new(rhythm);
        let mut prepared = Vec::new();
        for i in 0..9 {
            let prepare = || {
                prepared.push(i);
                Ok::<_, ()>(Arc::new(i))
            };
            assembler.push(span(i), prepare).unwrap();
        }
        assert_eq!(prepared, [0, 2, 4, 6, 8], "each once");
        assert!(assembler.held() <= 2);
    }

    #[test]
    fn by_time_the_rate_of_the_stream_plays_no_part() {
        let rhythm = by_time(4, 100 * MS, 200 * MS);
        // 50, 25, 20 and 10 frames a second all have a frame at every tenth of a second or near.
        for rate in [50, 25, 20, 10] {
            let times: Vec<u64> = (0..rate).map(|i| i * 1000 * MS / rate).collect();
            let clips = timed(rhythm, &times);
            assert_eq!(clips.len(), 4, "{rate} a second: {clips:?}");
            for (k, clip) in clips.iter().enumerate() {
                for (j, time) in clip.iter().enumerate() {
                    let wanted = (k as u64 * 200 + j as u64 * 100) * MS;
                    assert!(
                        time.abs_diff(wanted) <= 20 * MS,
                        "{rate}: {time} for {wanted}"
                    );
                }
            }
        }
    }

    #[test]
    fn by_time_a_slow_stream_repeats_and_an_uneven_one_takes_the_nearest() {
        let rhythm = by_time(4, 40 * MS, 160 * MS);
        let clips = timed(rhythm, &[0, 100 * MS, 200 * MS, 300 * MS]);
        assert_eq!(
            clips[0],
            [0, 0, 100 * MS, 100 * MS],
            "moments 0, 40, 80 and 120"
        );
        // a jittering camera around 25 frames a second, one frame lost
        let times = [0, 43, 79, 118, 200, 243, 281, 322].map(|t| t * MS);
        assert_eq!(timed(rhythm, &times)[0], [0, 43, 79, 118].map(|t| t * MS));
    }

    #[test]
    fn by_time_frames_without_a_time_follow_at_the_same_rate() {
        let mut assembler = Assembler::new(by_time(2, 80 * MS, 80 * MS));
        let mut clips = Vec::new();
        for i in 0..8u64 {
            let first = Span {
                start: (i == 0).then_some(7),
                end: (i == 0).then_some(7 + 40 * MS),
            };
            clips.extend(assembler.push(first, ready(i)).unwrap());
        }
        let all: Vec<_> = clips.iter().map(members).collect();
        assert_eq!(all, [[0, 2], [2, 4], [4, 6]]);
    }

    #[test]
    fn restart_never_mixes_before_and_after() {
        for rhythm in [by_frames(3, 1, 1), by_time(3, 40, 40)] {
            let mut assembler = Assembler::new(rhythm);
            assembler.push(span(0), ready(0)).unwrap();
            assembler.push(span(1), ready(1)).unwrap();
            assembler.restart();
            assert!(assembler.is_empty());
            assert!(assembler.push(span(2), ready(2)).unwrap().is_none());
            assert!(assembler.push(span(3), ready(3)).unwrap().is_none());
            let clip = assembler.push(span(4), ready(4)).unwrap().unwrap();
            assert_eq!(members(&clip), [2, 3, 4]);
        }
    }

    #[test]
    fn a_frame_that_cannot_be_prepared_spoils_its_clip_only() {
        let mut assembler = Assembler::new(by_frames(2, 1, 2));
        assembler.push(span(0), ready(0)).unwrap();
        assert!(assembler.push(span(1), || Err(())).is_err());
        assert!(assembler.push(span(2), ready(2)).unwrap().is_none());
        let clip = assembler.push(span(3), ready(3)).unwrap().unwrap();
        assert_eq!(members(&clip), [2, 3]);
        let mut assembler = Assembler::new(by_frames(2, 1, 2));
        assert!(assembler.push(span(0), || Err(())).is_err());
        assert!(
            assembler.push(span(1), ready(1)).unwrap().is_none(),
            "half a clip"
        );
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
            frames in 1usize..9, frame_stride in 1u64..6, clip_stride in 1u64..40, count in 0u64..150,
        ) {
            let rhythm = by_frames(frames, frame_stride, clip_stride);
            let reach = (frames as u64 - 1) * frame_stride;
            let expected: Vec<Vec<u64>> = (0..)
                .map(|k| k * clip_stride)
                .take_while(|start| start + reach < count)
                .map(|start| (0..frames as u64).map(|j| start + j * frame_stride).collect())
                .collect();
            prop_assert_eq!(run(rhythm, count), expected);
        }

        /// Whatever the times, in whatever order: no panic, whole clips, frames in order, few held.
        #[test]
        fn clips_by_time_are_whole(
            frames in 1usize..9, frame_stride in 0u64..60, clip_stride in 0u64..200,
            times in prop::collection::vec(prop::option::of(0u64..2000), 0..100),
        ) {
            let rhythm = by_time(frames, frame_stride, clip_stride);
            let mut assembler = Assembler::new(rhythm);
            for (i, time) in times.iter().enumerate() {
                let span = Span { start: *time, end: time.map(|t| t + 20) };
                if let Some(clip) = assembler.push(span, ready(i)).unwrap() {
                    prop_assert_eq!(clip.frames.len(), frames);
                    prop_assert!(members(&clip).is_sorted());
                }
                prop_assert!(assembler.held() as u64 <= frames as u64 * frame_stride.max(1) + clip_stride.max(1) + 1);
            }
        }

        /// At an even rate every moment gets the nearest frame.
        #[test]
        fn by_time_the_nearest_frame_is_taken(
            step in 1u64..200, frame_stride in 1u64..300, clip_stride in 1u64..2000, offset in 0u64..1_000_000,
        ) {
            let times: Vec<u64> = (0..60).map(|i| offset + i * step).collect();
            for clip in timed(by_time(3, frame_stride, clip_stride), &times) {
                let nearest = |k: u64| (0u64..).zip(&clip).all(|(j, time)| {
                    (time - offset).abs_diff(k * clip_stride + j * frame_stride) <= step / 2 + 1
                });
                prop_assert!((0..=clip[0] / clip_stride + 1).any(nearest), "{:?}", clip);
            }
        }
    }
}
