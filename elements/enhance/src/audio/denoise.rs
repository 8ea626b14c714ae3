// SPDX-License-Identifier: Apache-2.0
//! RNNoise, through the `nnnoiseless` crate, at any rate and with any number of channels.
//!
//! RNNoise hears 10 ms of 48 kHz at a time and answers one such frame later. Other rates are
//! resampled to it and back, and so lose what lies above 24 kHz. Dry and cleaned sound are mixed
//! at 48 kHz, in step.

use std::sync::LazyLock;

use nnnoiseless::{DenoiseState, RnnModel};

use super::{AudioError, resample::Resampler};

/// The rate that RNNoise was trained at.
pub const RATE: u32 = 48_000;
/// Its frame.
pub const FRAME: usize = DenoiseState::FRAME_SIZE;

static MODEL: LazyLock<RnnModel> = LazyLock::new(RnnModel::default);

struct Channel {
    state: Box<DenoiseState<'static>>,
    /// The frame before, which the answer belongs to.
    before: Vec<f32>,
}

/// Noise reduction of interleaved samples.
pub struct Denoiser {
    rate: u32,
    channels: Vec<Channel>,
    resample: Option<(Resampler, Resampler)>,
    /// Silence at 48 kHz ahead of everything that makes the delay whole at the stream's rate.
    lead: usize,
    /// Samples of 48 kHz that wait for a full frame.
    waiting: Vec<f32>,
    cleaned: Vec<f32>,
    voice: f32,
    energy_in: f64,
    energy_out: f64,
}

impl Denoiser {
    pub fn new(rate: u32, channels: usize) -> Result<Self, AudioError> {
        let resample = match rate {
            RATE => None,
            rate => Some((
                Resampler::new(rate, RATE, channels, (rate as usize / 200).max(1))?,
                Resampler::new(RATE, rate, channels, FRAME)?,
            )),
        };
        let lead = resample
            .as_ref()
            .map_or(0, |(up, down)| lead(rate, up.delay() + down.delay()));
        let waiting = vec![0.0; lead * channels];
        let channels = (0..channels)
            .map(|_| Channel {
                state: DenoiseState::with_model(&MODEL),
                before: vec![0.0; FRAME],
            })
            .collect();
        Ok(Self {
            rate,
            channels,
            resample,
            lead,
            waiting,
            cleaned: Vec::new(),
            voice: 0.0,
            energy_in: 0.0,
            energy_out: 0.0,
        })
    }

    /// Frames of the stream's rate by which the output is late.
    pub fn delay(&self) -> usize {
        let resampling = self
            .resample
            .as_ref()
            .map_or(0.0, |(up, down)| up.delay() + down.delay());
        let seconds = (FRAME + self.lead) as f64 / f64::from(RATE) + resampling;
        (seconds * f64::from(self.rate)).round() as usize
    }

    /// Frames that may wait for a step to fill, in addition.
    pub fn granularity(&self) -> usize {
        let resampling = self
            .resample
            .as_ref()
            .map_or(0, |_| self.rate as usize / 200 + 2);
        FRAME * self.rate as usize / RATE as usize + resampling
    }

    pub fn reset(&mut self) {
        if let Some((up, down)) = &mut self.resample {
            up.reset();
            down.reset();
        }
        for channel in &mut self.channels {
            channel.state = DenoiseState::with_model(&MODEL);
            channel.before.fill(0.0);
        }
        self.waiting.clear();
        self.waiting.resize(self.lead * self.channels.len(), 0.0);
    }

    /// How sure the network is to hear speech, 0 to 1.
    pub fn voice(&self) -> f64 {
        f64::from(self.voice)
    }

    /// By how much the level fell so far, in dB.
    pub fn reduction(&self) -> Option<f64> {
        (self.energy_in > 0.0 && self.energy_out > 0.0)
            .then(|| 10.0 * (self.energy_in / self.energy_out).log10())
    }

    /// Processes frames and appends what is ready; `mix` is the share of the cleaned sound.
    pub fn process(
        &mut self,
        samples: &[f32],
        mix: f32,
        out: &mut Vec<f32>,
    ) -> Result<(), AudioError> {
        match &mut self.resample {
            None => self.waiting.extend_from_slice(samples),
            Some((up, _)) => up.process(samples, &mut self.waiting)?,
        }
        let count = self.channels.len();
        let step = FRAME * count;
        let whole = self.waiting.len() / step * step;
        let mut cleaned = std::mem::take(&mut self.cleaned);
        cleaned.clear();
        cleaned.resize(whole, 0.0);
        let (mut dry, mut wet) = (vec![0.0; FRAME], vec![0.0; FRAME]);
        for (input, output) in self
            .waiting
            .chunks_exact(step)
            .zip(cleaned.chunks_exact_mut(step))
        {
            let mut voice = 0.0_f32;
            for (at, channel) in self.channels.iter_mut().enumerate() {
                for (to, from) in dry.iter_mut().zip(input.iter().skip(at).step_by(count)) {
                    // The scale of 16-bit samples, as the network knows it.
                    *to = *from * 32768.0;
                }
                voice = voice.max(channel.state.process_frame(&mut wet, &dry));
                std::mem::swap(&mut channel.before, &mut dry);
                for (n, to) in output.iter_mut().skip(at).step_by(count).enumerate() {
                    // `dry` holds the frame before now, which `wet` belongs to.
                    let (dry, wet) = (dry[n], wet[n]);
                    self.energy_in += f64::from(dry * dry);
                    self.energy_out += f64::from(wet * wet);
                    *to = (dry + (wet - dry) * mix) / 32768.0;
                }
            }
            self.voice = voice;
        }
        self.waiting.drain(..whole);
        match &mut self.resample {
            None => out.extend_from_slice(&cleaned),
            Some((_, down)) => down.process(&cleaned, out)?,
        }
        self.cleaned = cleaned;
        Ok(())
    }
}

/// Samples of 48 kHz that make a delay a whole number of frames of the other rate; 0 where that
/// would take more than a frame, and the sound stays up to half a sample off.
fn lead(rate: u32, resampling: f64) -> usize {
    let frames =
        |lead: usize| ((FRAME + lead) as f64 / f64::from(RATE) + resampling) * f64::from(rate);
    (0..FRAME)
        .find(|lead| (frames(*lead) - frames(*lead).round()).abs() < 1e-6)
        .unwrap_or(0)
}
