// SPDX-License-Identifier: Apache-2.0
//! A look-ahead limiter for true peaks: no value of the waveform between the samples exceeds the
//! ceiling either.
//!
//! Each sample's neighbourhood is interpolated four times over, as BS.1770 measures. The gain that
//! the highest value needs is held over the look-ahead and smoothed by an average of the same
//! length, so that it arrives in time without a corner; it comes back exponentially.

use std::collections::VecDeque;
use std::f64::consts::PI;

/// Taps of an interpolator over all its points. With four points a sample below 96 kHz and two from
/// there on, these are the filters of the meters of BS.1770: what a meter finds behind the limiter
/// is what the limiter saw.
const ALL_TAPS: usize = 48;
/// Time in which the gain arrives.
const ATTACK: f64 = 0.005;
/// Time constant with which it comes back.
const RELEASE: f64 = 0.1;
/// The ceiling is kept by this much, for the curve between interpolated points.
const MARGIN_DB: f64 = 0.2;

pub struct Limiter {
    channels: usize,
    taps: usize,
    filters: Vec<Vec<f32>>,
    attack: usize,
    release: f32,
    /// Samples that are still inside, interleaved, oldest first.
    delayed: VecDeque<f32>,
    /// The last frames, channel by channel, for the taps.
    history: Vec<Vec<f32>>,
    /// Sliding minimum: position and gain, gains rising.
    lowest: VecDeque<(u64, f32)>,
    held: f32,
    /// The last `attack` held gains and their sum.
    average: VecDeque<f32>,
    sum: f64,
    position: u64,
    gain: f32,
}

impl Limiter {
    pub fn new(rate: u32, channels: usize) -> Self {
        let attack = ((f64::from(rate) * ATTACK) as usize).max(4);
        let points = if rate < 96_000 { 4 } else { 2 };
        let taps = ALL_TAPS / points;
        let filters = (1..points)
            .map(|point| interpolator(taps, point as f64 / points as f64))
            .collect();
        let mut limiter = Self {
            channels,
            taps,
            filters,
            attack,
            release: (1.0 - (-1.0 / (f64::from(rate) * RELEASE)).exp()) as f32,
            delayed: VecDeque::new(),
            history: vec![vec![0.0; taps]; channels],
            lowest: VecDeque::new(),
            held: 1.0,
            average: VecDeque::new(),
            sum: 0.0,
            position: 0,
            gain: 1.0,
        };
        limiter.reset();
        limiter
    }

    /// Frames by which the output is late.
    pub fn delay(&self) -> usize {
        self.attack + self.taps
    }

    pub fn reset(&mut self) {
        self.delayed.clear();
        self.delayed.resize(self.delay() * self.channels, 0.0);
        for history in &mut self.history {
            history.fill(0.0);
        }
        self.lowest.clear();
        self.held = 1.0;
        self.average.clear();
        self.average.resize(self.attack, 1.0);
        self.sum = self.attack as f64;
        self.position = 0;
        self.gain = 1.0;
    }

    /// What is taken away now, in dB.
    pub fn reduction(&self) -> f64 {
        -20.0 * f64::from(self.gain).log10()
    }

    /// Replaces frames by those of [`Self::delay`] before, limited to `ceiling` dBTP.
    pub fn process(&mut self, samples: &mut [f32], ceiling: f64) {
        let ceiling = 10_f64.powf((ceiling - MARGIN_DB) / 20.0) as f32;
        for frame in samples.chunks_exact_mut(self.channels) {
            let mut peak = 0.0_f32;
            for (history, sample) in self.history.iter_mut().zip(frame.iter()) {
                history.copy_within(1.., 0);
                history[self.taps - 1] = *sample;
                peak = peak.max(history[self.taps / 2].abs());
                for filter in &self.filters {
                    let value: f32 = history.iter().zip(filter).map(|(s, t)| s * t).sum();
                    peak = peak.max(value.abs());
                }
            }
            let needed = if peak > ceiling { ceiling / peak } else { 1.0 };
            // The lowest of the last attack + taps gains: the sample that leaves now is among
            // them with all that its taps reach.
            while self.lowest.back().is_some_and(|(_, gain)| *gain >= needed) {
                self.lowest.pop_back();
            }
            self.lowest.push_back((self.position, needed));
            let span = (self.attack + self.taps) as u64;
            while self
                .lowest
                .front()
                .is_some_and(|(at, _)| at + span < self.position)
            {
                self.lowest.pop_front();
            }
            self.position += 1;
            let lowest = self.lowest.front().map_or(1.0, |(_, gain)| *gain);
            self.held = lowest.min(self.held + (1.0 - self.held) * self.release);
            self.average.push_back(self.held);
            self.sum += f64::from(self.held);
            if let Some(old) = self.average.pop_front() {
                self.sum -= f64::from(old);
            }
            // Rounding of the running sum must not lift the gain.
            self.gain = ((self.sum / self.attack as f64) as f32).min(1.0);
            self.delayed.extend(frame.iter());
            for (to, from) in frame.iter_mut().zip(self.delayed.drain(..self.channels)) {
                *to = from * self.gain;
            }
        }
    }
}

/// A windowed sinc that gives the value `fraction` behind the tap in the middle.
fn interpolator(taps: usize, fraction: f64) -> Vec<f32> {
    let half = (taps / 2) as f64;
    (0..taps)
        .map(|n| {
            let x = n as f64 - half - fraction;
            let window = 0.5 + 0.5 * (PI * x / half).cos();
            match x.abs() < half {
                true => ((PI * x).sin() / (PI * x) * window) as f32,
                false => 0.0,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_sound_passes_bit_for_bit() {
        let mut limiter = Limiter::new(48_000, 2);
        let input: Vec<f32> = (0..9600)
            .map(|n| ((n * 7919) % 1000) as f32 / 4000.0)
            .collect();
        let mut sound = input.clone();
        limiter.process(&mut sound, -1.0);
        let delay = limiter.delay() * 2;
        assert_eq!(sound[delay..], input[..input.len() - delay]);
        assert!(sound[..delay].iter().all(|s| *s == 0.0));
    }

    #[test]
    fn a_peak_between_samples_is_found() {
        // A sine at a quarter of the rate, sampled 45 degrees off its tops: samples reach 0.71.
        let mut limiter = Limiter::new(48_000, 1);
        let mut sound: Vec<f32> = (0..4800)
            .map(|n| (f64::from(n) * PI / 2.0 + PI / 4.0).sin() as f32)
            .collect();
        limiter.process(&mut sound, 20.0 * 0.9_f64.log10());
        let highest = sound[2000..].iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        assert!(highest < 0.9 * 0.7072, "{highest}");
        assert!(highest > 0.85 * 0.7072, "{highest}");
        assert!(limiter.reduction() > 0.8);
    }

    #[test]
    fn what_is_limited_comes_back() {
        let mut limiter = Limiter::new(8_000, 1);
        let mut sound = vec![0.1; 16_000];
        sound[4000] = 4.0;
        limiter.process(&mut sound, 0.0);
        let late = limiter.delay();
        assert!(sound[4000 + late].abs() < 1.0);
        assert!(sound[4000 + late - 1] < 0.05, "no attack ahead of the peak");
        assert!((sound[15_000] - 0.1).abs() < 1e-3);
    }
}
