// SPDX-License-Identifier: Apache-2.0
//! Sound: noise reduction and loudness, on interleaved `f32` samples.
//!
//! * [`resample`]: from any rate to any other, as a stream;
//! * [`denoise`]: RNNoise at any rate;
//! * [`loudness`]: the gain that brings a programme to a target loudness (EBU R128);
//! * [`limiter`]: no true peak above a ceiling;
//! * [`Chain`]: all of them, sample for sample in step with the input.

pub mod denoise;
pub mod limiter;
pub mod loudness;
pub mod resample;

use ebur128::EbuR128;
use thiserror::Error;

use denoise::Denoiser;
use limiter::Limiter;
use loudness::Leveller;

/// Lowest and highest sample rate.
pub const RATES: (u32, u32) = (8_000, 192_000);
/// The most channels.
pub const MAX_CHANNELS: u32 = 64;

/// Why sound cannot be processed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum AudioError {
    #[error(
        "sound of {rate} samples a second and {channels} channels is not taken: 1 to {MAX_CHANNELS} channels at {} to {} samples a second (put audioresample and audioconvert in front)",
        RATES.0, RATES.1
    )]
    Format { rate: u32, channels: u32 },
    #[error("the resampler refuses {from} to {to} samples a second: {reason}")]
    Resample { from: u32, to: u32, reason: String },
    #[error("{samples} samples are no whole number of frames of {channels} channels")]
    Frames { samples: usize, channels: usize },
    #[error("loudness cannot be measured: {0}")]
    Meter(String),
}

impl From<ebur128::Error> for AudioError {
    fn from(error: ebur128::Error) -> Self {
        Self::Meter(error.to_string())
    }
}

/// What is done. All values may change between two calls; [`Config::same_stages`] tells whether
/// the chain must be built anew for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Share of the cleaned sound, 0 to 1. At 0 the stage is left out.
    pub denoise: f32,
    /// Brings the loudness to `target_loudness` and limits peaks.
    pub normalize: bool,
    /// LUFS.
    pub target_loudness: f64,
    /// dBTP.
    pub max_true_peak: f64,
    /// The most amplification, in dB.
    pub max_gain: f64,
    /// Seconds of sound that decide about the gain.
    pub window: f64,
    /// Seconds by which the gain sees ahead.
    pub look_ahead: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            denoise: 1.0,
            normalize: true,
            target_loudness: -23.0,
            max_true_peak: -1.0,
            max_gain: 20.0,
            window: 10.0,
            look_ahead: 0.4,
        }
    }
}

impl Config {
    /// Whether both need the same stages with the same delays.
    pub fn same_stages(&self, other: &Self) -> bool {
        (self.denoise > 0.0) == (other.denoise > 0.0)
            && self.normalize == other.normalize
            && (!self.normalize
                || (self.look_ahead == other.look_ahead && self.window == other.window))
    }
}

/// What was measured so far; levels are `None` where there was nothing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Report {
    /// Frames (samples of every channel) taken and given.
    pub frames_in: u64,
    pub frames_out: u64,
    /// Integrated loudness, LUFS, before and behind everything.
    pub input_loudness: Option<f64>,
    pub output_loudness: Option<f64>,
    /// Loudness range of the input, LU.
    pub input_range: Option<f64>,
    /// True peaks, dBTP.
    pub input_true_peak: Option<f64>,
    pub output_true_peak: Option<f64>,
    /// The gain in use, dB.
    pub gain: Option<f64>,
    /// What the limiter takes away now, dB.
    pub limiter_reduction: Option<f64>,
    /// By how much noise reduction lowered the level so far, dB.
    pub noise_reduction: Option<f64>,
    /// How sure RNNoise is to hear speech in its latest frame, 0 to 1.
    pub voice: Option<f64>,
}

/// Noise reduction, gain and limiter. What goes in comes out `latency` frames later at most, and
/// the n-th frame out belongs to the n-th frame in: delays of the stages are cut off at the start.
pub struct Chain {
    rate: u32,
    channels: usize,
    config: Config,
    denoiser: Option<Denoiser>,
    level: Option<(Leveller, Limiter)>,
    before: EbuR128,
    behind: EbuR128,
    /// Samples of the stages' delays that are still to be dropped.
    skip: usize,
    frames_in: u64,
    frames_out: u64,
}

impl Chain {
    pub fn new(rate: u32, channels: u32, config: Config) -> Result<Self, AudioError> {
        if !(RATES.0..=RATES.1).contains(&rate) || !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(AudioError::Format { rate, channels });
        }
        let mut chain = Self {
            rate,
            channels: channels as usize,
            config,
            denoiser: None,
            level: None,
            before: loudness::meter(rate, channels)?,
            behind: loudness::meter(rate, channels)?,
            skip: 0,
            frames_in: 0,
            frames_out: 0,
        };
        chain.build()?;
        Ok(chain)
    }

    fn build(&mut self) -> Result<(), AudioError> {
        let (rate, channels) = (self.rate, self.channels);
        self.denoiser = match self.config.denoise > 0.0 {
            true => Some(Denoiser::new(rate, channels)?),
            false => None,
        };
        self.level = match self.config.normalize {
            true => Some((
                Leveller::new(rate, channels, &self.config)?,
                Limiter::new(rate, channels),
            )),
            false => None,
        };
        self.skip = self.delay() * channels;
        Ok(())
    }

    /// Frames by which the stages delay the sound.
    fn delay(&self) -> usize {
        self.denoiser.as_ref().map_or(0, Denoiser::delay)
            + self
                .level
                .as_ref()
                .map_or(0, |(leveller, limiter)| leveller.delay() + limiter.delay())
    }

    /// The most frames by which the output is behind the input.
    pub fn latency(&self) -> usize {
        self.delay() + self.denoiser.as_ref().map_or(0, Denoiser::granularity)
    }

    pub fn rate(&self) -> u32 {
        self.rate
    }

    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Takes values over that need no other stages; what does, waits for [`Self::rebuild`].
    pub fn adjust(&mut self, config: Config) {
        if self.config.same_stages(&config) {
            self.config = config;
        }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Other stages, after [`Self::drain`]. What was measured stays.
    pub fn rebuild(&mut self, config: Config) -> Result<(), AudioError> {
        self.config = config;
        self.build()
    }

    /// The stream jumps: what is inside is dropped. What was measured stays.
    pub fn reset(&mut self) -> Result<(), AudioError> {
        if let Some(denoiser) = &mut self.denoiser {
            denoiser.reset();
        }
        if let Some((leveller, limiter)) = &mut self.level {
            leveller.reset();
            limiter.reset();
        }
        self.skip = self.delay() * self.channels;
        self.frames_out = self.frames_in;
        Ok(())
    }

    /// Processes whole frames and appends what is ready to `out`.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), AudioError> {
        if !samples.len().is_multiple_of(self.channels) {
            return Err(AudioError::Frames {
                samples: samples.len(),
                channels: self.channels,
            });
        }
        // Not-a-number would stay in every filter for ever.
        let clean: Vec<f32>;
        let samples = match samples.iter().all(|s| s.is_finite()) {
            true => samples,
            false => {
                clean = samples
                    .iter()
                    .map(|s| if s.is_finite() { *s } else { 0.0 })
                    .collect();
                &clean
            }
        };
        self.before.add_frames_f32(samples)?;
        self.frames_in += (samples.len() / self.channels) as u64;
        let start = out.len();
        self.run(samples, out)?;
        self.behind.add_frames_f32(&out[start..])?;
        self.frames_out += ((out.len() - start) / self.channels) as u64;
        Ok(())
    }

    /// Gives everything that is still inside; then the chain is as new, but for what it measured.
    pub fn drain(&mut self, out: &mut Vec<f32>) -> Result<(), AudioError> {
        let start = out.len();
        let missing = (self.frames_in - self.frames_out) as usize * self.channels;
        let silence = vec![0.0; (self.rate as usize / 50).max(1) * self.channels];
        // Silence pushes it out; each turn of it brings something, the latency being finite.
        let turns = (missing + self.latency() * self.channels) / silence.len() + 8;
        for _ in 0..turns {
            if out.len() - start >= missing {
                break;
            }
            self.run(&silence, out)?;
        }
        out.truncate(start + missing);
        self.behind.add_frames_f32(&out[start..])?;
        self.reset()
    }

    fn run(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), AudioError> {
        let start = out.len();
        match &mut self.denoiser {
            Some(denoiser) => denoiser.process(samples, self.config.denoise, out)?,
            None => out.extend_from_slice(samples),
        }
        if let Some((leveller, limiter)) = &mut self.level {
            leveller.process(&mut out[start..], &self.config)?;
            limiter.process(&mut out[start..], self.config.max_true_peak);
        }
        let skip = self.skip.min(out.len() - start);
        out.drain(start..start + skip);
        self.skip -= skip;
        Ok(())
    }

    pub fn report(&self) -> Report {
        let finite = |level: f64| level.is_finite().then_some(level);
        let peak = |meter: &EbuR128| {
            (0..meter.channels())
                .filter_map(|channel| meter.true_peak(channel).ok())
                .reduce(f64::max)
                .and_then(|peak| finite(20.0 * peak.log10()))
        };
        let integrated = |meter: &EbuR128| meter.loudness_global().ok().and_then(finite);
        Report {
            frames_in: self.frames_in,
            frames_out: self.frames_out,
            input_loudness: integrated(&self.before),
            output_loudness: integrated(&self.behind),
            input_range: self.before.loudness_range().ok().and_then(finite),
            input_true_peak: peak(&self.before),
            output_true_peak: peak(&self.behind),
            gain: self.level.as_ref().map(|(leveller, _)| leveller.gain()),
            limiter_reduction: self.level.as_ref().map(|(_, limiter)| limiter.reduction()),
            noise_reduction: self.denoiser.as_ref().and_then(Denoiser::reduction),
            voice: self.denoiser.as_ref().map(Denoiser::voice),
        }
    }
}

#[cfg(test)]
mod tests;
