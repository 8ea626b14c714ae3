// SPDX-License-Identifier: Apache-2.0
//! An encoder under rate control: when frames are key frames, and at which quality each is coded.

use super::rate::{FrameKind, RateControl, Verdict};
use super::{Begun, CodecError, Depth, Encoded, Encoder, Planes, Prepared};

/// When key frames are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFrames {
    /// Most frames from one to the next; 0: only the first and on request.
    pub interval: u32,
    /// One where a new scene begins.
    pub scene_cuts: bool,
    /// Frames since the last one.
    since: u32,
}

/// Fewest frames from a key frame to one at a scene cut: flashes are no scenes.
const LEAST_SCENE: u32 = 8;

impl KeyFrames {
    pub fn new(interval: u32, scene_cuts: bool) -> Self {
        Self {
            interval,
            scene_cuts,
            since: 0,
        }
    }

    fn due(&self) -> bool {
        self.interval != 0 && self.since >= self.interval
    }

    /// A frame was made.
    fn follow(&mut self, key: bool) {
        if key {
            self.since = 0;
        }
        self.since += 1;
    }

    /// Frames from the next one to the key frame that is planned.
    fn next(&self) -> Option<u32> {
        (self.interval != 0).then(|| self.interval.saturating_sub(self.since))
    }
}

/// What decides about a stream's frames.
#[derive(Debug)]
pub struct Control<'a> {
    pub rate: &'a mut RateControl,
    pub keys: &'a mut KeyFrames,
}

/// Codes one picture; `forced` asks for a key frame. `framing` is what is put around each frame, in
/// bytes, before it is sent.
pub fn encode<'a, S: Depth>(
    encoder: &mut Encoder<S>,
    rate: &mut RateControl,
    keys: &mut KeyFrames,
    picture: impl Into<Planes<'a, S>>,
    forced: bool,
    framing: usize,
) -> Result<Encoded, CodecError> {
    let mut control = Control { rate, keys };
    let (prepared, quality) = control.prepare(encoder, forced, |encoder, quality, key| {
        encoder.prepare(picture, quality, key)
    })?;
    control.encode(encoder, prepared, quality, framing)
}

impl Control<'_> {
    /// Prepares a frame, by what is given, as the one that it should be, and plans its quality.
    pub fn prepare<S: Depth>(
        &mut self,
        encoder: &mut Encoder<S>,
        forced: bool,
        prepare: impl FnOnce(&mut Encoder<S>, u8, bool) -> Result<Prepared, CodecError>,
    ) -> Result<(Prepared, i8), CodecError> {
        let (rate, keys) = (&mut *self.rate, &*self.keys);
        let mut prepared = prepare(encoder, rate.expected_quality(), forced || keys.due())?;
        if prepared.scene_cut
            && keys.scene_cuts
            && keys.since >= LEAST_SCENE
            && rate.affords_key(prepared.complexity)
        {
            encoder.turn_into_key(&mut prepared)?;
        }
        let quality = rate.plan(FrameKind {
            key: prepared.is_key(),
            complexity: prepared.complexity,
            key_due: keys.next(),
        });
        Ok((prepared, quality))
    }

    /// Codes a prepared frame, again where it does not fit.
    pub fn encode<S: Depth>(
        &mut self,
        encoder: &mut Encoder<S>,
        prepared: Prepared,
        quality: i8,
        framing: usize,
    ) -> Result<Encoded, CodecError> {
        let rate = &mut *self.rate;
        let mut attempt = encoder.attempt(&prepared, quality)?;
        let mut verdict = rate.judge(quality, attempt.size() + framing);
        while let Verdict::Again { quality, within } = verdict {
            attempt = encoder.attempt_again(&prepared, attempt, quality, within)?;
            verdict = rate.judge(quality, attempt.size() + framing);
        }
        if verdict == Verdict::Drop
            && let Some(repeat) = encoder.repeat_picture(&prepared)
        {
            attempt = repeat;
        }
        let filler = rate.filler(attempt.size() + framing);
        let quality = attempt.quality();
        let encoded = encoder.commit(prepared, attempt, filler)?;
        rate.sent(quality, encoded.data.len() + framing, filler);
        self.keys
            .follow(encoded.frame_type == crate::bitstream::FrameType::Key);
        Ok(encoded)
    }

    /// Starts a prepared frame that goes whatever it takes, which is for [`RateControl::took`] to know. For a rate
    /// that [waits for nothing](RateControl::waits_for_nothing).
    pub fn begin<S: Depth>(
        &mut self,
        encoder: &mut Encoder<S>,
        prepared: Prepared,
        quality: i8,
    ) -> Result<(Begun<S>, Option<FrameKind>), CodecError> {
        let key = prepared.is_key();
        let begun = encoder.begin(prepared, quality)?;
        self.keys.follow(key);
        Ok((begun, self.rate.goes(quality)))
    }
}
