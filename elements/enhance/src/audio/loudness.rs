// SPDX-License-Identifier: Apache-2.0
//! The gain that brings a programme to a target loudness while it runs.
//!
//! Every 100 ms the loudness of the last 400 ms is measured (EBU R128, momentary). Blocks of the
//! window that pass the gates of BS.1770 (absolute at -70 LUFS, relative at -10 LU) give the
//! programme's loudness, and their distance from the target the gain. Silence passes no gate and
//! so moves nothing. What the output measures as a whole corrects the rest.

use std::collections::VecDeque;

use ebur128::{EbuR128, Mode};

use super::{AudioError, Config};

/// Blocks a second.
const BLOCKS: u32 = 10;
/// Below this, in LUFS, there is nothing to measure.
const ABSOLUTE_GATE: f64 = -70.0;
/// dB a second by which the gain rises and falls.
const RISE: f64 = 6.0;
const FALL: f64 = 20.0;
/// A moment may be this much louder than the target, in LU, before the gain gives way to it: a
/// voice that starts after a quiet lead-in need not wait for the window to know it.
const HEADROOM: f64 = 5.0;
/// The most that the output's own loudness corrects, in dB, and how strongly.
const CORRECTION: f64 = 2.0;
const CORRECTION_STRENGTH: f64 = 3.0;
/// Seconds of output before its loudness corrects anything.
const SETTLED: u64 = 3;

/// Measures integrated loudness, range and true peak for as long as a stream lasts, in bounded
/// memory.
pub fn meter(rate: u32, channels: u32) -> Result<EbuR128, AudioError> {
    let mode = Mode::I | Mode::LRA | Mode::TRUE_PEAK | Mode::HISTOGRAM;
    Ok(EbuR128::new(channels, rate, mode)?)
}

fn energy(loudness: f64) -> f64 {
    10_f64.powf((loudness + 0.691) / 10.0)
}

fn loudness(energy: f64) -> f64 {
    10.0 * energy.log10() - 0.691
}

/// Loudness of blocks behind both gates; `None` when none passes.
pub fn gated(blocks: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    let mean = |floor: f64| {
        let (sum, count) = blocks
            .clone()
            .filter(|block| *block > floor)
            .fold((0.0, 0_u32), |(sum, count), block| (sum + block, count + 1));
        (count > 0).then(|| sum / f64::from(count))
    };
    let absolute = energy(ABSOLUTE_GATE);
    let relative = mean(absolute)? / 10.0;
    mean(relative.max(absolute)).map(loudness)
}

pub struct Leveller {
    rate: u32,
    channels: usize,
    momentary: EbuR128,
    output: EbuR128,
    blocks: VecDeque<f64>,
    window: usize,
    /// Frames since the last block, and of one.
    in_block: usize,
    block: usize,
    /// Frames measured since the start or a reset.
    measured: u64,
    delayed: VecDeque<f32>,
    look_ahead: usize,
    /// dB: in use now, and where the ramp goes.
    gain: f64,
    step: f64,
    /// Nothing was loud enough to decide about the gain yet.
    fresh: bool,
}

impl Leveller {
    pub fn new(rate: u32, channels: usize, config: &Config) -> Result<Self, AudioError> {
        let look_ahead = (config.look_ahead * f64::from(rate)).round() as usize;
        let mut leveller = Self {
            rate,
            channels,
            momentary: EbuR128::new(channels as u32, rate, Mode::M)?,
            output: EbuR128::new(channels as u32, rate, Mode::I | Mode::HISTOGRAM)?,
            blocks: VecDeque::new(),
            window: ((config.window * f64::from(BLOCKS)) as usize).max(4),
            in_block: 0,
            block: (rate / BLOCKS) as usize,
            measured: 0,
            delayed: VecDeque::new(),
            look_ahead,
            gain: 0.0,
            step: 0.0,
            fresh: true,
        };
        leveller.reset();
        Ok(leveller)
    }

    pub fn delay(&self) -> usize {
        self.look_ahead
    }

    /// The gain in use, in dB.
    pub fn gain(&self) -> f64 {
        self.gain
    }

    /// The stream jumps. The gain and what it came from stay: it is the same programme.
    pub fn reset(&mut self) {
        self.delayed.clear();
        self.delayed.resize(self.look_ahead * self.channels, 0.0);
        self.in_block = 0;
        self.measured = 0;
        self.momentary.reset();
    }

    /// Replaces frames by those of [`Self::delay`] before, with the gain applied.
    pub fn process(&mut self, samples: &mut [f32], config: &Config) -> Result<(), AudioError> {
        let mut rest = samples;
        while !rest.is_empty() {
            let frames = (self.block - self.in_block).min(rest.len() / self.channels);
            let (now, later) = rest.split_at_mut(frames * self.channels);
            self.momentary.add_frames_f32(now)?;
            for frame in now.chunks_exact_mut(self.channels) {
                let gain = 10_f64.powf(self.gain / 20.0) as f32;
                self.gain += self.step;
                self.delayed.extend(frame.iter());
                for (to, from) in frame.iter_mut().zip(self.delayed.drain(..self.channels)) {
                    *to = from * gain;
                }
            }
            self.output.add_frames_f32(now)?;
            self.in_block += frames;
            self.measured += frames as u64;
            if self.in_block == self.block {
                self.in_block = 0;
                self.decide(config)?;
            }
            rest = later;
        }
        Ok(())
    }

    /// After each block: where the gain goes in the next 100 ms.
    fn decide(&mut self, config: &Config) -> Result<(), AudioError> {
        self.step = 0.0;
        let heard = self.measured.min(u64::from(self.rate) * 2 / 5) as f64;
        // The meter's first 400 ms are filled up with silence.
        let filled = heard / (f64::from(self.rate) * 0.4);
        let block = energy(self.momentary.loudness_momentary()?) / filled;
        self.blocks
            .push_back(if block.is_finite() { block } else { 0.0 });
        if self.blocks.len() > self.window {
            self.blocks.pop_front();
        }
        if block <= energy(ABSOLUTE_GATE) {
            return Ok(());
        }
        let Some(programme) = gated(self.blocks.iter().copied()) else {
            return Ok(());
        };
        let mut wanted = config.target_loudness - programme;
        let whole = self.output.loudness_global()?;
        if !self.fresh && self.measured > SETTLED * u64::from(self.rate) && whole.is_finite() {
            let error = (config.target_loudness - whole) * CORRECTION_STRENGTH;
            wanted += error.clamp(-CORRECTION, CORRECTION);
        }
        let wanted = wanted
            .min(config.target_loudness + HEADROOM - loudness(block))
            .clamp(-60.0, config.max_gain);
        if self.fresh || self.measured <= self.look_ahead as u64 {
            // Nothing but silence was heard with another gain.
            self.gain = wanted;
            self.fresh = false;
        } else {
            let blocks = f64::from(BLOCKS);
            let change = (wanted - self.gain).clamp(-FALL / blocks, RISE / blocks);
            self.step = change / self.block as f64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_leave_silence_and_pauses_out() {
        let programme = energy(-23.0);
        let blocks = [programme; 8]
            .into_iter()
            .chain([energy(-40.0); 8])
            .chain([0.0; 40]);
        let all = gated(blocks).unwrap();
        assert!((all + 23.0).abs() < 1e-6, "{all}");
        assert_eq!(gated([0.0, energy(-75.0)].into_iter()), None);
        assert_eq!(gated(std::iter::empty()), None);
    }
}
