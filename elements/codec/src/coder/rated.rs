// SPDX-License-Identifier: Apache-2.0
//! An encoder under rate control: when frames are key frames, and at which quality each is coded.

use super::rate::{FrameKind, RateControl, Verdict};
use super::{CodecError, Depth, Encoded, Encoder, Planes};

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

    /// Frames from the next one to the key frame that is planned.
    fn next(&self) -> Option<u32> {
        (self.interval != 0).then(|| self.interval.saturating_sub(self.since))
    }
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
    let mut prepared = encoder.prepare(picture, rate.expected_quality(), forced || keys.due())?;
    if prepared.scene_cut
        && keys.scene_cuts
        && keys.since >= LEAST_SCENE
        && rate.affords_key(prepared.complexity)
    {
        encoder.turn_into_key(&mut prepared);
    }
    let quality = rate.plan(FrameKind {
        key: prepared.is_key(),
        complexity: prepared.complexity,
        key_due: keys.next(),
    });
    let mut attempt = encoder.attempt(&prepared, quality)?;
    let mut verdict = rate.judge(quality, attempt.size() + framing);
    if let Verdict::Again { quality, within } = verdict {
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
    let encoded = encoder.commit(prepared, attempt, filler);
    rate.sent(quality, encoded.data.len() + framing, filler);
    if encoded.frame_type == crate::bitstream::FrameType::Key {
        keys.since = 0;
    }
    keys.since += 1;
    Ok(encoded)
}
