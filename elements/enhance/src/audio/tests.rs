// SPDX-License-Identifier: Apache-2.0

use std::f64::consts::TAU;

use proptest::prelude::*;

use super::*;

/// Repeatable noise, uniform in -1 to 1.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((state >> 40) as f32 / (1_u64 << 23) as f32) - 1.0
    }
}

fn run(chain: &mut Chain, sound: &[f32], part: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for part in sound.chunks(part * chain.channels()) {
        chain.push(part, &mut out).unwrap();
    }
    chain.drain(&mut out).unwrap();
    out
}

fn only_denoise(mix: f32) -> Config {
    Config {
        denoise: mix,
        normalize: false,
        ..Config::default()
    }
}

fn snr(clean: &[f32], got: &[f32]) -> f64 {
    let (mut signal, mut error) = (0.0, 0.0);
    for (a, b) in clean.iter().zip(got) {
        signal += f64::from(a * a);
        error += f64::from((a - b) * (a - b));
    }
    10.0 * (signal / error).log10()
}

#[test]
fn as_many_samples_come_out_as_went_in_and_in_step() {
    for rate in [8_000, 16_000, 22_050, 44_100, 48_000, 96_000, 47_999] {
        // The dry sound goes through the same resamplers and delays as the cleaned one.
        let mut chain = Chain::new(rate, 1, only_denoise(1e-6)).unwrap();
        let tone: Vec<f32> = (0..rate / 2)
            .map(|n| (f64::from(n) / f64::from(rate) * 700.0 * TAU).sin() as f32 * 0.4)
            .collect();
        let out = run(&mut chain, &tone, 313);
        assert_eq!(out.len(), tone.len(), "{rate}");
        let edge = rate as usize / 50;
        let quality = snr(
            &tone[edge..tone.len() - edge],
            &out[edge..tone.len() - edge],
        );
        assert!(quality > 35.0, "{rate}: {quality} dB");
    }
}

#[test]
fn the_output_is_never_later_than_the_latency_says() {
    for (rate, config) in [
        (44_100, Config::default()),
        (48_000, Config::default()),
        (16_000, only_denoise(1.0)),
        (
            96_000,
            Config {
                look_ahead: 0.0,
                ..Config::default()
            },
        ),
    ] {
        let mut chain = Chain::new(rate, 2, config).unwrap();
        let mut sample = noise(3);
        let (mut pushed, mut out) = (0, Vec::new());
        for part in [1, 17, 480, 1000, 3, 4096, 20_000, 441, 1, 1, 30_000] {
            let sound: Vec<f32> = (0..part * 2).map(|_| sample() * 0.1).collect();
            chain.push(&sound, &mut out).unwrap();
            pushed += part;
            assert!(pushed - out.len() / 2 <= chain.latency(), "{rate} {part}");
        }
        chain.drain(&mut out).unwrap();
        assert_eq!(out.len(), pushed * 2);
    }
}

#[test]
fn how_sound_is_cut_changes_nothing() {
    let mut sample = noise(9);
    let sound: Vec<f32> = (0..44_100 * 2).map(|_| sample() * 0.2).collect();
    let whole = run(
        &mut Chain::new(44_100, 2, Config::default()).unwrap(),
        &sound,
        44_100,
    );
    let parts = run(
        &mut Chain::new(44_100, 2, Config::default()).unwrap(),
        &sound,
        77,
    );
    assert_eq!(whole, parts);
}

/// A voice-like sound: a pulse train with formants, on and off as words are.
fn buzz(rate: u32, seconds: f64) -> Vec<f32> {
    (0..(f64::from(rate) * seconds) as u32)
        .map(|n| {
            let t = f64::from(n) / f64::from(rate);
            let word = (0.5 - 0.5 * (t * 2.5 * TAU).cos()).powi(2);
            let pitch = 120.0 + 15.0 * (t * 3.0).sin();
            let voice: f64 = (1..30)
                .map(|k| {
                    let f = pitch * f64::from(k);
                    let formant = |centre: f64, width: f64| (-((f - centre) / width).powi(2)).exp();
                    let level = formant(600.0, 150.0)
                        + 0.5 * formant(1200.0, 250.0)
                        + 0.3 * formant(2500.0, 400.0);
                    level * (t * f * TAU).sin()
                })
                .sum();
            (voice * word * 0.15) as f32
        })
        .collect()
}

#[test]
fn noise_is_reduced() {
    let mut sample = noise(1);
    let hiss: Vec<f32> = (0..96_000).map(|_| sample() * 0.05).collect();
    let mut chain = Chain::new(48_000, 1, only_denoise(1.0)).unwrap();
    let out = run(&mut chain, &hiss, 480);
    let level = |s: &[f32]| s.iter().map(|v| f64::from(v * v)).sum::<f64>();
    let fell = 10.0 * (level(&hiss[48_000..]) / level(&out[48_000..])).log10();
    assert!(fell > 11.0, "{fell} dB");
    assert!(chain.report().noise_reduction.unwrap() > 5.0);
    // Half of it stays with half the mix.
    let out = run(
        &mut Chain::new(48_000, 1, only_denoise(0.5)).unwrap(),
        &hiss,
        480,
    );
    let half = 10.0 * (level(&hiss[48_000..]) / level(&out[48_000..])).log10();
    assert!((4.0..7.0).contains(&half), "{half} dB");
}

#[test]
fn loudness_meets_the_target_and_peaks_the_ceiling() {
    for (rate, level, target) in [
        (48_000, 0.02, -23.0),
        (44_100, 1.0, -16.0),
        (96_000, 0.3, -30.0),
        (8_000, 0.1, -20.0),
    ] {
        let config = Config {
            denoise: 0.0,
            target_loudness: target,
            max_gain: 40.0,
            ..Config::default()
        };
        let sound: Vec<f32> = buzz(rate, 12.0)
            .iter()
            .flat_map(|s| [*s * level, *s * level])
            .collect();
        let mut chain = Chain::new(rate, 2, config).unwrap();
        run(&mut chain, &sound, 1024);
        let report = chain.report();
        let loudness = report.output_loudness.unwrap();
        assert!(
            (loudness - target).abs() < 0.5,
            "{rate}: {loudness} LUFS of {target}"
        );
        assert!(report.output_true_peak.unwrap() <= -1.0, "{report:?}");
    }
}

#[test]
fn hot_sound_stays_below_the_ceiling_at_any_rate() {
    for rate in [8_000, 44_100, 48_000, 96_000, 192_000] {
        let mut sample = noise(u64::from(rate));
        let sound: Vec<f32> = (0..rate * 2)
            .map(|n| {
                if (n / 2000) % 3 == 0 {
                    sample() * 3.0
                } else {
                    sample() * 0.2
                }
            })
            .collect();
        let config = Config {
            denoise: 0.0,
            target_loudness: -8.0,
            max_true_peak: -2.0,
            ..Config::default()
        };
        let mut chain = Chain::new(rate, 1, config).unwrap();
        run(&mut chain, &sound, 960);
        let peak = chain.report().output_true_peak.unwrap();
        assert!(peak <= -2.0, "{rate}: {peak} dBTP");
        assert!(peak > -6.0, "{rate}: {peak} dBTP");
    }
}

#[test]
fn silence_stays_silence_and_measures_nothing() {
    let mut chain = Chain::new(48_000, 2, Config::default()).unwrap();
    let out = run(&mut chain, &vec![0.0; 96_000], 1000);
    assert!(out.iter().all(|s| *s == 0.0));
    let report = chain.report();
    assert_eq!(report.input_loudness, None);
    assert_eq!(report.output_true_peak, None);
    assert_eq!(report.gain, Some(0.0));
}

#[test]
fn values_that_are_no_numbers_do_not_stay() {
    let mut chain = Chain::new(48_000, 1, Config::default()).unwrap();
    let mut sound = buzz(48_000, 1.0);
    sound[100] = f32::NAN;
    sound[101] = f32::INFINITY;
    let out = run(&mut chain, &sound, 480);
    assert!(out.iter().all(|s| s.is_finite()));
}

#[test]
fn what_cannot_be_processed_is_refused() {
    for (rate, channels) in [(7_999, 1), (192_001, 2), (48_000, 0), (48_000, 65)] {
        let error = Chain::new(rate, channels, Config::default()).err().unwrap();
        assert!(error.to_string().contains("audioresample"), "{error}");
    }
    let mut chain = Chain::new(48_000, 2, Config::default()).unwrap();
    assert!(chain.push(&[0.0; 3], &mut Vec::new()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_rate_channels_and_cuts_keep_the_count(
        rate in 8_000_u32..100_000,
        channels in 1_u32..7,
        parts in proptest::collection::vec(0_usize..3000, 1..8),
        denoise in prop_oneof![Just(0.0_f32), Just(0.7)],
        normalize: bool,
    ) {
        let config = Config { denoise, normalize, look_ahead: 0.02, ..Config::default() };
        let mut chain = Chain::new(rate, channels, config).unwrap();
        let mut out = Vec::new();
        let mut sample = noise(5);
        let mut count = 0;
        for part in parts {
            let sound: Vec<f32> = (0..part * channels as usize).map(|_| sample()).collect();
            chain.push(&sound, &mut out).unwrap();
            count += sound.len();
            prop_assert!(count - out.len() <= chain.latency() * channels as usize);
        }
        chain.drain(&mut out).unwrap();
        prop_assert_eq!(out.len(), count);
    }
}
