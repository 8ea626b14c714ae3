// SPDX-License-Identifier: Apache-2.0
//! A stream of interleaved samples at another rate.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Async, FixedAsync, Resampler as _, SincInterpolationParameters, WindowFunction};

use super::AudioError;

/// Length of the windowed sinc, in samples of the lower rate.
const TAPS: usize = 128;

/// Resamples in chunks of a fixed size at its input.
pub struct Resampler {
    inner: Async<f32>,
    channels: usize,
    chunk: usize,
    waiting: Vec<f32>,
    scratch: Vec<f32>,
    from: u32,
    to: u32,
}

impl Resampler {
    pub fn new(from: u32, to: u32, channels: usize, chunk: usize) -> Result<Self, AudioError> {
        let parameters = SincInterpolationParameters::new(TAPS, WindowFunction::BlackmanHarris2);
        let inner = Async::new_sinc(
            f64::from(to) / f64::from(from),
            1.0,
            &parameters,
            chunk,
            channels,
            FixedAsync::Input,
        )
        .map_err(|error| AudioError::Resample {
            from,
            to,
            reason: error.to_string(),
        })?;
        let room = inner.output_frames_max() * channels;
        Ok(Self {
            inner,
            channels,
            chunk,
            waiting: Vec::new(),
            scratch: vec![0.0; room],
            from,
            to,
        })
    }

    /// Seconds by which the output is late: half the filter, less the one output sample that the
    /// resampler steps ahead before its first (its own `output_delay` is in whole samples and
    /// leaves that out; the test measures it).
    pub fn delay(&self) -> f64 {
        (TAPS / 2) as f64 / f64::from(self.from) - 1.0 / f64::from(self.to)
    }

    pub fn reset(&mut self) {
        self.inner.reset();
        self.waiting.clear();
    }

    /// Takes any number of frames and appends what they make.
    pub fn process(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), AudioError> {
        self.waiting.extend_from_slice(samples);
        let step = self.chunk * self.channels;
        let mut done = 0;
        while self.waiting.len() - done >= step {
            let frames = self.step(done, out)?;
            debug_assert_eq!(frames, self.chunk);
            done += step;
        }
        self.waiting.drain(..done);
        Ok(())
    }

    fn step(&mut self, at: usize, out: &mut Vec<f32>) -> Result<usize, AudioError> {
        let failed = |reason: String| AudioError::Resample {
            from: self.from,
            to: self.to,
            reason,
        };
        let room = self.scratch.len() / self.channels;
        let input = &self.waiting[at..at + self.chunk * self.channels];
        let input = InterleavedSlice::new(input, self.channels, self.chunk)
            .map_err(|error| failed(error.to_string()))?;
        let mut output = InterleavedSlice::new_mut(&mut self.scratch, self.channels, room)
            .map_err(|error| failed(error.to_string()))?;
        let (read, written) = self
            .inner
            .process_into_buffer(&input, &mut output, None)
            .map_err(|error| failed(error.to_string()))?;
        out.extend_from_slice(&self.scratch[..written * self.channels]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sine comes out as the same sine, late by what `delay` says, whatever the rates.
    #[test]
    fn a_sine_stays_a_sine_and_the_delay_is_told() {
        for (from, to) in [
            (44_100, 48_000),
            (48_000, 44_100),
            (8_000, 48_000),
            (96_000, 48_000),
            (11_025, 48_000),
        ] {
            let mut resampler = Resampler::new(from, to, 2, from as usize / 100).unwrap();
            let tone =
                |n: f64, rate: u32| (n / f64::from(rate) * 1000.0 * std::f64::consts::TAU).sin();
            let mut input = Vec::new();
            for n in 0..from / 2 {
                let value = tone(f64::from(n), from) as f32;
                input.extend([value, -value]);
            }
            let mut out = Vec::new();
            for part in input.chunks(777 * 2) {
                resampler.process(part, &mut out).unwrap();
            }
            let delay = resampler.delay() * f64::from(to);
            let (mut error, mut power) = (0.0, 0.0);
            for n in 2000..out.len() / 2 - 10 {
                let expected = tone(n as f64 - delay, to);
                error += (expected - f64::from(out[2 * n])).powi(2);
                power += expected.powi(2);
                assert_eq!(out[2 * n], -out[2 * n + 1]);
            }
            // A quarter of a sample of error in the delay would be 30 dB at 48 kHz.
            let snr = 10.0 * (power / error).log10();
            assert!(snr > 40.0, "{from} -> {to}: {snr} dB");
        }
    }
}
