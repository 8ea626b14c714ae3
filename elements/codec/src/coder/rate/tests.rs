// SPDX-License-Identifier: Apache-2.0
use super::*;

const PIXELS: usize = 640 * 384;
const RATE: f64 = 30.0;

/// A source and a codec that the control does not know.
struct Simulated {
    noise: u64,
    /// ln of bits a pixel of key and inter frames at quality 0 and complexity 1, and their slopes.
    key: (f64, f64),
    inter: (f64, f64),
    /// Spread of ln bits from frame to frame.
    spread: f64,
    /// Mean frames in a scene; 0: one scene.
    scene: u32,
    complexity: f64,
    texture: f64,
    /// Codes only the blocks that fit where it is asked to.
    fits: bool,
}

impl Simulated {
    fn next(&mut self) -> f64 {
        self.noise = self
            .noise
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.noise >> 33) as f64 / f64::from(1u32 << 31)
    }

    fn new(seed: u64, scene: u32) -> Self {
        let mut new = Self {
            noise: seed,
            key: (0.0, 0.0),
            inter: (0.0, 0.0),
            spread: 0.15,
            scene,
            complexity: 20.0,
            texture: 150.0,
            fits: true,
        };
        new.key = (-5.2 + 0.6 * new.next(), 0.015 + 0.015 * new.next());
        new.inter = (-9.3 + 1.5 * new.next(), 0.045 + 0.04 * new.next());
        new.spread = 0.25 * new.next();
        new
    }

    /// Begins another scene now and then.
    fn advance(&mut self) -> bool {
        self.complexity *= 1.0 + 0.06 * (self.next() - 0.5);
        self.complexity = self.complexity.clamp(5.0, 80.0);
        let cut = self.scene != 0 && self.next() * f64::from(self.scene) < 1.0;
        if cut {
            self.complexity = 8.0 + 50.0 * self.next();
            self.texture = 60.0 + 200.0 * self.next();
        }
        cut
    }

    fn bytes(&mut self, frame: FrameKind, quality: i8, deviation: f64) -> usize {
        let (level, slope) = if frame.key { self.key } else { self.inter };
        let power = if frame.key { 0.7 } else { 1.1 };
        let bits = (level + slope * f64::from(quality)).exp()
            * frame.complexity.powf(power)
            * PIXELS as f64
            * deviation;
        (bits / 8.0) as usize + 40
    }

    fn deviation(&mut self) -> f64 {
        (self.spread * 2.0 * (self.next() + self.next() - 1.0)).exp()
    }
}

struct Outcome {
    bytes: Vec<usize>,
    qualities: Vec<i8>,
    control: RateControl,
}

fn run(source: &mut Simulated, settings: RateSettings, frames: usize, interval: u32) -> Outcome {
    let mut control = RateControl::new(settings, PIXELS, RATE);
    run_on(source, &mut control, frames, interval)
}

fn run_on(
    source: &mut Simulated,
    control: &mut RateControl,
    frames: usize,
    interval: u32,
) -> Outcome {
    let (mut bytes, mut qualities) = (Vec::new(), Vec::new());
    let mut since = interval;
    for i in 0..frames {
        let cut = source.advance();
        let complexity = if cut {
            source.texture
        } else {
            source.complexity
        };
        let key = i == 0
            || interval != 0 && since >= interval
            || cut && since > 8 && control.affords_key(source.texture);
        let frame = FrameKind {
            key,
            complexity: if key { source.texture } else { complexity },
            key_due: (interval != 0).then(|| interval.saturating_sub(since)),
        };
        if key {
            since = 0;
        }
        since += 1;
        let mut quality = control.plan(frame);
        let deviation = source.deviation();
        let mut size = source.bytes(frame, quality, deviation);
        let mut verdict = control.judge(quality, size);
        while let Verdict::Again {
            quality: other,
            within,
        } = verdict
        {
            // A key frame of the same quality is the same but for what is cut.
            let again = match key && other == quality {
                true => 1.0,
                false => 1.0 + 0.04 * (source.next() - 0.5),
            };
            quality = other;
            size = source.bytes(frame, quality, deviation * again);
            if let Some(within) = within.filter(|_| source.fits) {
                size = size.min((within as f64 * again) as usize);
            }
            verdict = control.judge(quality, size);
        }
        if verdict == Verdict::Drop {
            size = 13;
        }
        let filler = control.filler(size);
        control.sent(quality, size + filler, filler);
        bytes.push(size + filler);
        qualities.push(quality);
    }
    Outcome {
        bytes,
        qualities,
        control: control.clone(),
    }
}

fn constant(bitrate: f64) -> RateSettings {
    RateSettings {
        mode: RateMode::ConstantBitrate,
        bitrate,
        ..RateSettings::default()
    }
}

fn check(bytes: &[usize], bitrate: f64) {
    let second = worst_deviation(bytes, 30, RATE, bitrate).unwrap();
    let ten = worst_deviation(bytes, 300, RATE, bitrate).unwrap();
    assert!(second.abs() <= 0.15, "a second: {:.1} %", 100.0 * second);
    assert!(ten.abs() <= 0.05, "ten seconds: {:.1} %", 100.0 * ten);
}

#[test]
fn constant_bitrate_holds_from_an_unknown_start() {
    for (seed, scene) in (0..60).flat_map(|seed| [0, 60, 150].map(|scene| (seed, scene))) {
        let mut source = Simulated::new(seed, scene);
        // 0.12 bits a pixel and frame: a key frame of the worst quality fits.
        let bitrate = 0.12 * PIXELS as f64 * RATE;
        let outcome = run(&mut source, constant(bitrate), 900, 250);
        check(&outcome.bytes, bitrate);
        let repeated = outcome.control.repeated;
        assert!(repeated < 45, "{repeated} of 900 frames were coded twice");
    }
}

#[test]
fn constant_bitrate_holds_with_a_key_frame_each_second() {
    for (seed, bits) in (0..60).flat_map(|seed| [0.06, 0.08, 0.12, 0.16].map(|bits| (seed, bits))) {
        let mut source = Simulated::new(seed, 0);
        let bitrate = bits * PIXELS as f64 * RATE;
        check(&run(&mut source, constant(bitrate), 900, 30).bytes, bitrate);
    }
}

/// A cut that is coded as no key frame, which a lower quality makes hardly smaller.
#[test]
fn a_frame_that_is_too_large_twice_is_made_to_fit() {
    let bitrate = 400_000.0;
    let mut source = Simulated::new(5, 0);
    let mut outcome = run(&mut source, constant(bitrate), 100, 0);
    let control = &mut outcome.control;
    let quality = control.plan(FrameKind {
        key: false,
        complexity: source.texture,
        key_due: None,
    });
    let share = (bitrate / 8.0 / RATE) as usize;
    let Verdict::Again { quality, .. } = control.judge(quality, 14 * share) else {
        panic!("14 shares are too much");
    };
    let second = control.judge(quality, 12 * share);
    let Verdict::Again { quality, within } = second else {
        panic!("12 shares are too much: {second:?}");
    };
    let within = within.expect("blocks are left out where the quality does not do it");
    let second: usize = outcome.bytes[outcome.bytes.len() - 29..].iter().sum();
    assert!((second + within) as f64 <= 1.15 * bitrate / 8.0);
    assert_eq!(control.judge(quality, within), Verdict::Take);
    control.sent(quality, within, 0);
}

#[test]
fn a_still_scene_is_filled_up() {
    let mut source = Simulated::new(3, 0);
    source.inter.0 = -16.0;
    let bitrate = 0.2 * PIXELS as f64 * RATE;
    let outcome = run(&mut source, constant(bitrate), 900, 250);
    check(&outcome.bytes, bitrate);
    assert!(outcome.control.filler_bytes > 0);
    let mut source = Simulated::new(3, 0);
    source.inter.0 = -16.0;
    let settings = RateSettings {
        filler: false,
        ..constant(bitrate)
    };
    let outcome = run(&mut source, settings, 900, 250);
    assert_eq!(outcome.control.filler_bytes, 0);
    assert!(worst_deviation(&outcome.bytes, 300, RATE, bitrate).unwrap() < -0.1);
}

#[test]
fn quality_is_even_in_an_even_scene() {
    let mut source = Simulated::new(5, 0);
    source.spread = 0.1;
    let bitrate = 0.12 * PIXELS as f64 * RATE;
    let outcome = run(&mut source, constant(bitrate), 600, 0);
    let later = &outcome.qualities[100..];
    let steps: u32 = later
        // Frames at the same place in the cycle of qualities.
        .windows(5)
        .map(|w| u32::from(w[0].abs_diff(w[4])))
        .sum();
    assert!(
        f64::from(steps) / later.len() as f64 <= 2.0,
        "{steps} steps in {} frames",
        later.len()
    );
}

#[test]
fn bitrate_changes_while_playing() {
    let mut source = Simulated::new(11, 150);
    let bitrate = 0.12 * PIXELS as f64 * RATE;
    let mut control = RateControl::new(constant(bitrate), PIXELS, RATE);
    for factor in [1.0, 2.0, 0.8] {
        control.set(constant(factor * bitrate));
        let outcome = run_on(&mut source, &mut control, 400, 1000);
        control = outcome.control;
        // What was begun at the other rate needs a second to leave the windows.
        check(&outcome.bytes[30..], factor * bitrate);
    }
}

#[test]
fn variable_bitrate_is_right_in_the_long_run() {
    for seed in 0..8 {
        let mut source = Simulated::new(seed, 200);
        let bitrate = 0.1 * PIXELS as f64 * RATE;
        let settings = RateSettings {
            mode: RateMode::VariableBitrate,
            bitrate,
            max_bitrate: 1.5 * bitrate,
            ..RateSettings::default()
        };
        let outcome = run(&mut source, settings, 3000, 250);
        let mean = 8.0 * outcome.bytes.iter().sum::<usize>() as f64 * RATE / 3000.0 / bitrate;
        assert!((0.9..1.1).contains(&mean), "seed {seed}: {mean}");
        // The bucket of a second at the maximum: no ten seconds can exceed it by more than that.
        let ten = outcome
            .bytes
            .windows(300)
            .map(|w| 8.0 * w.iter().sum::<usize>() as f64 / 10.0 / bitrate)
            .fold(0.0, f64::max);
        assert!(ten < 1.5 * 1.1, "seed {seed}: {ten}");
        assert_eq!(outcome.control.repeated, 0);
    }
}

#[test]
fn constant_quality_is_constant() {
    let settings = RateSettings {
        quality: 20,
        ..RateSettings::default()
    };
    let outcome = run(&mut Simulated::new(2, 50), settings, 300, 100);
    let mut since = 0;
    for (i, &quality) in outcome.qualities.iter().enumerate() {
        let boosted = 20 + settings.key_boost as i8;
        let cycled = 20 + settings.cycle[since % 4];
        since = if quality == boosted && quality != cycled {
            0
        } else {
            since + 1
        };
        assert!(quality == cycled || since == 0, "frame {i}: {quality}");
    }
    assert_eq!(
        (outcome.control.repeated, outcome.control.filler_bytes),
        (0, 0)
    );
}

#[test]
fn a_maximum_bounds_constant_quality() {
    let mut source = Simulated::new(9, 100);
    let maximum = 0.3 * PIXELS as f64 * RATE;
    let settings = RateSettings {
        quality: 60,
        max_bitrate: maximum,
        ..RateSettings::default()
    };
    let outcome = run(&mut source, settings, 1200, 0);
    let ten = worst_deviation(&outcome.bytes, 300, RATE, maximum).unwrap();
    assert!(ten < 0.12, "{ten}");
}

#[test]
fn frames_are_dropped_only_when_allowed() {
    let bitrate = 0.02 * PIXELS as f64 * RATE;
    let outcome = |drop_frames| {
        let mut source = Simulated::new(21, 40);
        source.inter.0 = -7.0;
        source.fits = false;
        let settings = RateSettings {
            drop_frames,
            ..constant(bitrate)
        };
        run(&mut source, settings, 300, 0)
    };
    assert!(outcome(true).bytes.contains(&13));
    assert!(!outcome(false).bytes.contains(&13));
}

#[test]
fn any_frame_rate_and_setting_is_survived() {
    for rate in [0.0, f64::NAN, 0.3, 1.0, 23.976, 240.0, 1e9] {
        for bitrate in [1000.0, 1e9] {
            let mut control = RateControl::new(constant(bitrate), PIXELS, rate);
            for i in 0..100 {
                let frame = FrameKind {
                    key: i % 30 == 0,
                    complexity: f64::from(i),
                    key_due: Some(30 - i % 30),
                };
                let quality = control.plan(frame);
                assert!(quality <= 63);
                control.judge(quality, 1000);
                let filler = control.filler(1000);
                assert!(8.0 * filler as f64 <= 2.0 * bitrate.max(1.0) * 10.0);
                control.sent(quality, 1000 + filler, filler);
            }
        }
    }
}

#[test]
fn a_key_frame_that_is_too_large_at_the_worst_quality_is_cut_once() {
    let mut control = RateControl::new(constant(1e6), PIXELS, RATE);
    let key = FrameKind {
        key: true,
        complexity: 150.0,
        key_due: None,
    };
    control.plan(key);
    let second = 1_000_000 / 8;
    let Verdict::Again { quality, within } = control.judge(0, 3 * second) else {
        panic!("three seconds in a frame");
    };
    assert_eq!(quality, 0);
    assert!(
        within.is_some_and(|bytes| bytes > 0 && bytes < 2 * second),
        "{within:?}"
    );
    assert_eq!(control.judge(0, 2 * second), Verdict::Take);
}
