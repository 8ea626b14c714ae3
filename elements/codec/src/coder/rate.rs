// SPDX-License-Identifier: Apache-2.0
//! Rate control: which quality the next frame gets.
//!
//! Nothing here knows pictures or GStreamer. A frame is a number (how complex it is), an attempt at
//! coding it another (its bytes), and the answers are a quality, whether to try once more, and how
//! much filler to append. Bits are counted in seconds of the wanted rate, so that a live change of
//! the rate scales all that was planned with it.
//!
//! Bits a pixel are taken to be `a * complexity^g * exp(b * quality)`; `a` and `b` are learnt while
//! coding, for key frames and inter frames apart.
//!
//! *Constant bitrate* looks at every window of one second that the next frame will be in: it plans
//! the steady rate with which none of them leaves its limits, while a slow correction keeps the long
//! run on target. A key frame gets what the second before and the second after leave for it.
//! *Variable bitrate* moves slowly, so that quality stays even, and is right in the long run.
//! *Constant quality* does what it is told. A maximum (leaky bucket) bounds the latter two.

use std::collections::VecDeque;

/// Best quality.
const MAX_QUALITY: f64 = super::decision::MAX_QUALITY as f64;
/// Of inter frames.
const MIN_QUALITY: f64 = super::decision::MIN_QUALITY as f64;

/// What the encoder holds constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RateMode {
    #[default]
    ConstantQuality,
    ConstantBitrate,
    VariableBitrate,
}

/// What is asked for. All of it may change between frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateSettings {
    pub mode: RateMode,
    /// 0 (worst) to 63 (best), for constant quality.
    pub quality: u8,
    /// Bits a second.
    pub bitrate: f64,
    /// Bits a second that constant quality and variable bitrate do not exceed; 0: no limit.
    pub max_bitrate: f64,
    /// Seconds of the (maximum) rate that a decoder's buffer holds.
    pub buffer: f64,
    /// Constant bitrate appends filler where the picture needs fewer bits than are to be sent.
    pub filler: bool,
    /// Constant bitrate repeats the picture before where a frame does not fit.
    pub drop_frames: bool,
    /// Added to the quality of key frames: all that follows is predicted from them.
    pub key_boost: u8,
    /// Added to the quality of inter frames, one after the other.
    pub cycle: [i8; 4],
}

impl Default for RateSettings {
    fn default() -> Self {
        Self {
            mode: RateMode::default(),
            quality: 32,
            bitrate: 2_048_000.0,
            max_bitrate: 0.0,
            buffer: 1.0,
            filler: true,
            drop_frames: false,
            key_boost: super::decision::KEY_BOOST,
            cycle: super::decision::CYCLE,
        }
    }
}

/// A frame to be coded.
#[derive(Debug, Clone, Copy)]
pub struct FrameKind {
    pub key: bool,
    /// Mean over the blocks of the root of the squared error that the prediction leaves.
    pub complexity: f64,
    /// Frames to the next key frame that is planned.
    pub key_due: Option<u32>,
}

/// What to do with an attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Send it.
    Take,
    /// Code it again at this quality. Where that will not do, code only the blocks that fit
    /// into so many bytes.
    Again { quality: i8, within: Option<usize> },
    /// Repeat the picture before.
    Drop,
}

/// Windows of one second are planned to be within these parts of the rate...
const PLAN: (f64, f64) = (0.91, 1.08);
/// ... and a frame that would take one out of these is coded again, or gets filler.
const HARD: (f64, f64) = (0.87, 1.13);
/// Ten seconds get filler below this.
const LONG_LOW: f64 = 0.96;
const LONG: usize = 10;
/// Seconds from the first frame on that are held to it already.
const LONG_FROM: usize = 3;
/// A frame needs at least this part of its share: what is planned must leave it.
const LEAST_SHARE: f64 = 0.3;
/// One that leaves less than this to each of those after it is coded again.
const FAIR_SHARE: f64 = 0.75;
/// How often a frame is coded at most, and what the last time aims at, as a part of what may be.
const MOST_ATTEMPTS: u32 = 3;
const FITS: f64 = 0.9;
/// From this quality on there is nothing better to do with bits than to send filler.
const SATURATED: f64 = 61.0;
/// Seconds in which the long run is put right, and how far that may pull.
const CORRECTION: (f64, f64) = (2.5, 0.12);

/// Learns bits a pixel from quality and complexity.
#[derive(Debug, Clone)]
struct Model {
    /// ln a; the first measurement replaces it.
    level: f64,
    known: bool,
    /// Exponent of the complexity.
    power: f64,
    prior_slope: f64,
    /// Decaying sums over measurements: weight, quality, its square, ln bits, product.
    sums: [f64; 5],
}

/// Of a measurement's weight, what is left after the next.
const MEMORY: f64 = 0.95;
/// How much variation of quality outweighs what the slope was first taken to be.
const PRIOR_VARIATION: f64 = 40.0;

impl Model {
    fn new(level: f64, slope: f64, power: f64) -> Self {
        Self {
            level,
            known: false,
            power,
            prior_slope: slope,
            sums: [0.0; 5],
        }
    }

    fn slope(&self) -> f64 {
        let [weight, q, qq, y, qy] = self.sums;
        let (mut variation, mut covariation) =
            (PRIOR_VARIATION, PRIOR_VARIATION * self.prior_slope);
        if weight > 0.0 {
            variation += (qq - q * q / weight).max(0.0);
            covariation += qy - q * y / weight;
        }
        (covariation / variation).clamp(0.4 * self.prior_slope, 2.5 * self.prior_slope)
    }

    fn complexity(&self, complexity: f64) -> f64 {
        self.power * complexity.max(0.5).ln()
    }

    /// Bits a pixel at a quality.
    fn bits(&self, quality: f64, complexity: f64) -> f64 {
        (self.level + self.slope() * quality + self.complexity(complexity)).exp()
    }

    /// Quality that takes so many bits a pixel; may lie outside the scale.
    fn quality(&self, bits: f64, complexity: f64) -> f64 {
        (bits.max(1e-9).ln() - self.level - self.complexity(complexity)) / self.slope()
    }

    /// Learns from a frame that took `bits` a pixel.
    fn learn(&mut self, quality: f64, complexity: f64, bits: f64) {
        let y = bits.max(1e-9).ln() - self.complexity(complexity);
        let new = [1.0, quality, quality * quality, y, quality * y];
        for (sum, new) in self.sums.iter_mut().zip(new) {
            *sum = MEMORY * *sum + new;
        }
        let level = y - self.slope() * quality;
        let weight = if self.known { 0.5 } else { 1.0 };
        self.level += weight * (level - self.level);
        self.known = true;
    }
}

/// What a frame may take, in seconds of the rate.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Above it, a window leaves its limits.
    most: f64,
    /// Above it, those that follow will have to be much worse.
    fair: f64,
    /// Below it, a window leaves its limits.
    least: f64,
    /// The same, where those that follow are as small.
    even: f64,
}

impl Limits {
    const NONE: Self = Self {
        most: f64::INFINITY,
        fair: f64::INFINITY,
        least: 0.0,
        even: 0.0,
    };
}

/// What was decided for the frame that is being coded.
#[derive(Debug, Clone, Copy)]
struct Planned {
    frame: FrameKind,
    /// In seconds of the rate: what it should take.
    target: f64,
    limits: Limits,
    attempts: u32,
    /// Of the last attempt.
    quality: i8,
}

impl Planned {
    fn new(frame: FrameKind, target: f64, limits: Limits) -> Self {
        Self {
            frame,
            target,
            limits,
            attempts: 0,
            quality: 0,
        }
    }
}

/// The rate control of one stream.
#[derive(Debug, Clone)]
pub struct RateControl {
    settings: RateSettings,
    pixels: f64,
    rate: f64,
    /// Frames in a second.
    window: usize,
    /// Frames, newest last, in seconds of the rate: at most ten seconds.
    history: VecDeque<f64>,
    /// Seconds of the rate sent too much.
    balance: f64,
    /// Fill of the buffer, in seconds of its rate.
    bucket: f64,
    /// Inter frames' quality.
    running: Option<f64>,
    /// Smoothed logarithm of inter frames' complexity.
    usual: Option<f64>,
    /// Complexity of the last key frame.
    texture: f64,
    key: Model,
    inter: Model,
    planned: Option<Planned>,
    /// Inter frames since the last key frame.
    since_key: usize,
    /// Before it was rounded.
    variable: f64,
    /// Frames coded more than once, and bytes of filler.
    pub repeated: u64,
    pub filler_bytes: u64,
}

impl RateControl {
    /// For pictures of so many (coded) pixels, so many a second.
    pub fn new(settings: RateSettings, pixels: usize, rate: f64) -> Self {
        let mut control = Self {
            settings,
            pixels: pixels.max(1) as f64,
            rate: 0.0,
            window: 1,
            history: VecDeque::new(),
            balance: 0.0,
            bucket: 0.0,
            running: None,
            usual: None,
            texture: 1.0,
            key: Model::new(-4.9, 0.02, 0.7),
            inter: Model::new(-9.0, 0.06, 1.0),
            planned: None,
            since_key: 0,
            variable: 0.0,
            repeated: 0,
            filler_bytes: 0,
        };
        control.set_frame_rate(rate);
        control
    }

    pub fn settings(&self) -> &RateSettings {
        &self.settings
    }

    /// Takes new settings over, from the next frame on.
    pub fn set(&mut self, settings: RateSettings) {
        if settings.mode != self.settings.mode {
            // What the other mode sent is no debt of this one.
            self.history.clear();
            self.balance = 0.0;
            self.bucket = 0.0;
        }
        self.settings = settings;
    }

    /// Takes over another size and rate; what was learnt, a pixel, stays.
    pub fn set_picture(&mut self, pixels: usize, rate: f64) {
        self.pixels = pixels.max(1) as f64;
        self.set_frame_rate(rate);
    }

    /// Frames a second.
    pub fn set_frame_rate(&mut self, rate: f64) {
        let rate = if rate.is_finite() && rate > 0.0 {
            rate.clamp(0.1, 1000.0)
        } else {
            30.0
        };
        if rate != self.rate {
            self.rate = rate;
            self.window = (rate.round() as usize).max(1);
            self.history.clear();
        }
    }

    /// True where the long run is put right by a bitrate.
    fn constant(&self) -> bool {
        self.settings.mode == RateMode::ConstantBitrate
    }

    /// Seconds of the rate that bits a pixel are.
    fn seconds(&self, bits: f64) -> f64 {
        bits * self.pixels / self.settings.bitrate.max(1.0)
    }

    fn bits_a_pixel(&self, seconds: f64) -> f64 {
        seconds * self.settings.bitrate.max(1.0) / self.pixels
    }

    fn model(&self, key: bool) -> &Model {
        if key { &self.key } else { &self.inter }
    }

    /// For each window of a second that the next frame will be in, what is in it already: the first
    /// ends with that frame, the last begins with it.
    fn windows(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.window];
        let mut sum = 0.0;
        for (i, share) in self.history.iter().rev().take(self.window - 1).enumerate() {
            sum += share;
            sums[self.window - 2 - i] = sum;
        }
        // With fewer frames than a second has, the missing ones count nothing.
        let missing = (self.window - 1).saturating_sub(self.history.len());
        sums[..missing].fill(sum);
        sums
    }

    /// The quality for a frame, at most 63; below 0 where bits are so scarce that even 0 takes too many.
    pub fn plan(&mut self, frame: FrameKind) -> i8 {
        let quality = match self.settings.mode {
            RateMode::ConstantQuality => {
                let offset = if frame.key {
                    f64::from(self.settings.key_boost)
                } else {
                    self.offset()
                };
                self.planned = Some(Planned::new(frame, 0.0, Limits::NONE));
                f64::from(self.settings.quality) + offset
            }
            RateMode::ConstantBitrate if frame.key => self.plan_key(frame),
            RateMode::ConstantBitrate => self.plan_inter(frame),
            RateMode::VariableBitrate => self.plan_variable(frame),
        };
        let quality = if self.constant() {
            quality
        } else {
            self.below_maximum(quality, frame)
        };
        quality
            .round()
            .clamp(Self::least_quality(frame.key), MAX_QUALITY) as i8
    }

    fn least_quality(key: bool) -> f64 {
        if key { 0.0 } else { MIN_QUALITY }
    }

    /// About the quality that the next inter frame will have.
    pub fn expected_quality(&self) -> u8 {
        match self.settings.mode {
            RateMode::ConstantQuality => self.settings.quality,
            _ => self
                .running
                .map_or(32, |q| q.round().clamp(0.0, MAX_QUALITY) as u8),
        }
    }

    /// False where a key frame nobody asked for would leave the rate's limits even at the worst
    /// quality: it is then better to go on with inter frames.
    pub fn affords_key(&self, complexity: f64) -> bool {
        if !self.constant() {
            return true;
        }
        let frame = FrameKind {
            key: true,
            complexity,
            key_due: None,
        };
        let limits = self.limits(&self.windows(), &frame);
        self.seconds(self.key.bits(0.0, complexity)) < 0.7 * limits.most
    }

    fn nominal(&self) -> f64 {
        1.0 / self.rate
    }

    /// Of the next inter frame's quality.
    fn offset(&self) -> f64 {
        f64::from(self.settings.cycle[self.since_key % 4])
    }

    /// Two frames at least.
    fn buffer(&self) -> f64 {
        self.settings.buffer.max(2.1 * self.nominal())
    }

    /// What the buffer still takes.
    fn room(&self) -> f64 {
        (0.95 * self.buffer() - self.bucket).max(0.0)
    }

    /// What the next frame may take.
    fn limits(&self, windows: &[f64], frame: &FrameKind) -> Limits {
        let key = frame.key;
        let nominal = self.nominal();
        // A key frame to come will take this much at least.
        let least_key = match frame.key_due {
            Some(_) if !key && self.key.known => self.seconds(self.key.bits(0.0, self.texture)),
            _ => 0.0,
        };
        let due = frame.key_due.unwrap_or(u32::MAX) as usize;
        let room = |k: usize| HARD.1 - if k >= due { least_key } else { 0.0 };
        // What a frame leaves to those after it, at `share` of the rate each.
        let leaving = |share: f64| {
            windows
                .iter()
                .enumerate()
                .map(|(k, sum)| room(k) - sum - k as f64 * nominal * share)
                .fold(self.room(), f64::min)
                .max(0.0)
        };
        // After a key frame others follow at the rate that the windows without it will need.
        let (most, fair) = if key {
            let most = leaving(HARD.0 + 0.02);
            (most, most)
        } else {
            let most = leaving(LEAST_SHARE);
            (most, leaving(FAIR_SHARE).max(1.3 * nominal).min(most))
        };
        let (mut least, mut even) = (0.0f64, 0.0f64);
        if self.history.len() + 1 >= self.window {
            least = HARD.0 - windows[0];
            if windows[0] < LONG_LOW * (1.0 - nominal) {
                // It goes on too low for ten seconds.
                even = (LONG_LOW + 0.01) * nominal;
            }
        }
        // Windows that are whole only with frames to come need their share of this one.
        let unknown = (self.window - 1).saturating_sub(self.history.len());
        for (k, sum) in windows.iter().enumerate().skip(unknown) {
            even = even.max((HARD.0 - sum) / (k + 1) as f64);
        }
        // Ten seconds, and what may become the beginning of ten: one frame alone could not make up for all of it.
        let frames = (self.history.len() + 1).min(LONG * self.window);
        if frames >= LONG_FROM * self.window {
            let newest = self.history.iter().rev().take(frames - 1).sum::<f64>();
            let seconds = frames as f64 / self.window as f64;
            least = least.max((LONG_LOW - 0.005) * seconds - newest);
        }
        Limits {
            most,
            fair,
            least: least.clamp(0.0, most),
            even: even.max(least).clamp(0.0, most),
        }
    }

    /// How much less than its share is to be sent, for the long run.
    fn pull(&self) -> f64 {
        (self.balance / CORRECTION.0).clamp(-CORRECTION.1, CORRECTION.1)
    }

    fn plan_key(&mut self, frame: FrameKind) -> f64 {
        let windows = self.windows();
        let limits = self.limits(&windows, &frame);
        let follow = self.nominal() * PLAN.0;
        // With a key frame in each second there are no windows without one to make up for it.
        let most = PLAN.1 - self.pull().max(0.0);
        let fits = windows
            .iter()
            .enumerate()
            .map(|(k, sum)| most - sum - k as f64 * follow)
            .fold(0.9 * self.room(), f64::min)
            .max(self.nominal());
        let model = &self.key;
        let wanted = self
            .running
            .map_or(MAX_QUALITY, |q| q + f64::from(self.settings.key_boost));
        let quality = wanted
            .min(model.quality(self.bits_a_pixel(0.92 * fits), frame.complexity))
            .clamp(0.0, MAX_QUALITY);
        let target = self
            .seconds(model.bits(quality, frame.complexity))
            .min(fits);
        self.planned = Some(Planned::new(frame, target, limits));
        quality
    }

    /// The steady rate, in seconds a frame, with which no window leaves its limits, and the limits
    /// of that rate.
    fn steady(&self, windows: &[f64], frame: FrameKind) -> (f64, f64, f64) {
        let nominal = self.nominal();
        let pull = self.pull();
        let (mut low, mut high) = (0.0f64, f64::INFINITY);
        for (k, sum) in windows.iter().enumerate() {
            let frames = (k + 1) as f64;
            high = high.min((PLAN.1 - sum) / frames);
            if self.history.len() + k + 1 >= self.window {
                low = low.max((PLAN.0 - sum) / frames);
            }
        }
        let mut wanted = nominal * (1.0 - pull);
        if let Some(due) = frame.key_due.map(|due| due as usize)
            && due < self.window
            && self.key.known
        {
            // Room for the key frame to come, which is likely to be as complex as the last.
            let quality = self.running.unwrap_or(0.0) + f64::from(self.settings.key_boost);
            let key = self.seconds(self.key.bits(quality.max(0.0), self.texture));
            let rest = (PLAN.1 - key).clamp(HARD.0 + 0.015, PLAN.0 + 0.03);
            wanted = wanted.min(nominal * rest);
            low = low.min(wanted);
            let least = self.seconds(self.key.bits(0.0, self.texture));
            for (k, sum) in windows.iter().enumerate().skip(due.max(1)) {
                let fits = (HARD.1 - 0.02 - least - sum) / k as f64;
                high = high.min(fits.max(0.6 * nominal));
            }
            low = low.min(high);
        }
        let rate = wanted.min(high).max(low);
        if low > high {
            // Where both cannot be, neither is quite.
            let middle = 0.5 * (low + high);
            (middle, middle, middle)
        } else {
            (rate, low, high)
        }
    }

    fn plan_inter(&mut self, frame: FrameKind) -> f64 {
        let windows = self.windows();
        let limits = self.limits(&windows, &frame);
        let (steady, low, high) = self.steady(&windows, frame);
        let target = steady
            .min(0.9 * self.room())
            .max(LEAST_SHARE * self.nominal());
        self.planned = Some(Planned::new(frame, target, limits));
        // A frame's place in the cycle changes its share, and the quality that follows from it.
        let offset = self.offset();
        let slope = self.inter.slope();
        let shares = self.settings.cycle.map(|o| (slope * f64::from(o)).exp());
        let weight = 4.0 * (slope * offset).exp() / shares.iter().sum::<f64>();
        let bits = self.bits_a_pixel((weight * target).min(0.9 * limits.most));
        let exact = self
            .inter
            .quality(bits, frame.complexity)
            .clamp(MIN_QUALITY, MAX_QUALITY);
        match self.running {
            // Small corrections wait for the next frames: an even quality is a better one.
            Some(running) if (exact - offset - running).abs() < 8.0 => {
                let quality = 0.5 * (running + offset + exact);
                let bits = self.seconds(self.inter.bits(quality, frame.complexity)) / weight;
                if bits < low || bits > high.min(0.9 * limits.most) {
                    exact
                } else {
                    quality
                }
            }
            _ => exact,
        }
    }

    fn plan_variable(&mut self, frame: FrameKind) -> f64 {
        self.planned = Some(Planned::new(frame, self.nominal(), Limits::NONE));
        // By what is usual, not by this frame: quality stays even, the rate follows the scene.
        let usual = self.usual.map_or(frame.complexity, f64::exp);
        let pull = (self.balance / 10.0).clamp(-0.5, 0.5);
        let bits = self.bits_a_pixel(self.nominal() * (1.0 - pull));
        let exact = if frame.key && self.running.is_none() {
            // Nothing is known yet: what a key frame takes, spread over a second and a half.
            self.key.quality(bits * 0.3 * self.rate, frame.complexity)
                - f64::from(self.settings.key_boost)
        } else {
            self.inter.quality(bits, usual)
        }
        .clamp(MIN_QUALITY, MAX_QUALITY);
        let quality = match self.running {
            Some(running) if self.inter.known => running + (exact - running).clamp(-1.0, 0.5),
            _ => exact,
        };
        self.variable = quality;
        quality
            + if frame.key {
                f64::from(self.settings.key_boost)
            } else {
                self.offset()
            }
    }

    /// Lowers a quality so far that the frame fits into the bucket of the maximum rate.
    fn below_maximum(&self, quality: f64, frame: FrameKind) -> f64 {
        if self.settings.max_bitrate <= 0.0 {
            return quality;
        }
        let (buffer, room) = (self.buffer(), self.room());
        // From half full on, a frame gets less and less above its share.
        let share = if frame.key {
            0.8 * room
        } else {
            (room * room / buffer).max(0.5 * self.nominal().min(room))
        };
        let bits = share * self.settings.max_bitrate / self.pixels;
        let model = self.model(frame.key);
        let mut limit = model.quality(bits, frame.complexity);
        if !frame.key && self.bucket > 0.7 * buffer {
            limit = limit.min(model.quality(
                0.85 * self.nominal() * self.settings.max_bitrate / self.pixels,
                frame.complexity,
            ));
        }
        quality.min(limit)
    }

    /// Judges an attempt of so many bytes.
    pub fn judge(&mut self, quality: i8, bytes: usize) -> Verdict {
        let seconds = 8.0 * bytes as f64 / self.settings.bitrate.max(1.0);
        let Some(planned) = &mut self.planned else {
            return Verdict::Take;
        };
        planned.attempts += 1;
        planned.quality = quality;
        let planned = *planned;
        let limits = planned.limits;
        let key = planned.frame.key;
        // One that was cut says nothing about what its quality takes.
        let cut = key && quality == 0 && planned.attempts > 1;
        if !cut {
            self.learn(planned.frame, quality, bytes);
        }
        if !self.constant() {
            return Verdict::Take;
        }
        let too_much =
            seconds > limits.most || (!key && seconds > 2.5 * planned.target.max(self.nominal()));
        let too_large = !key && seconds > limits.most;
        if planned.attempts > 1 && too_large && planned.attempts < MOST_ATTEMPTS {
            // The quality alone did not do it: another scene that was not worth a key frame, say.
            let goal = FITS * limits.most;
            let wanted = self.exact(key, quality, seconds, goal).floor();
            return Verdict::Again {
                quality: wanted.clamp(Self::least_quality(key), MAX_QUALITY) as i8,
                within: Some((goal * self.settings.bitrate / 8.0) as usize),
            };
        }
        if planned.attempts > 1 {
            return if self.settings.drop_frames && too_large {
                Verdict::Drop
            } else {
                Verdict::Take
            };
        }
        // A first frame far below what it may take would spoil the start.
        let first = key && self.running.is_none();
        let too_little = first && seconds < 0.6 * planned.target;
        let exact = |goal: f64| self.exact(key, quality, seconds, goal);
        if too_much {
            let goal = (0.85 * limits.fair).min(planned.target.max(0.5 * limits.fair));
            let wanted = exact(goal);
            let at_least = quality == 0 && key;
            self.repeated += 1;
            let lacking = at_least || !key && wanted < -0.5;
            let goal = if at_least { limits.most } else { goal };
            let within = lacking.then_some((goal * self.settings.bitrate / 8.0) as usize);
            let quality = wanted.floor().clamp(Self::least_quality(key), MAX_QUALITY) as i8;
            return Verdict::Again { quality, within };
        }
        if too_little && f64::from(quality) < MAX_QUALITY {
            let goal = planned.target;
            let wanted = exact(goal).min(f64::from(quality) + 12.0).round();
            let wanted = wanted.clamp(0.0, MAX_QUALITY) as i8;
            if wanted > quality {
                self.repeated += 1;
                return Verdict::Again {
                    quality: wanted,
                    within: None,
                };
            }
        }
        Verdict::Take
    }

    /// The quality that would have taken `goal` where this one took so many seconds.
    fn exact(&self, key: bool, quality: i8, seconds: f64, goal: f64) -> f64 {
        let slope = self.model(key).slope();
        f64::from(quality) + (goal / seconds.max(1e-9)).ln() / slope
    }

    /// True where the next frame can be planned before this one's bits are known, and no frame is coded twice:
    /// constant quality and variable bitrate without a maximum.
    pub fn waits_for_nothing(&self) -> bool {
        !self.constant() && self.settings.max_bitrate <= 0.0
    }

    /// The planned frame will be sent, whatever it takes, which [`RateControl::took`] learns later.
    pub fn goes(&mut self, quality: i8) -> Option<FrameKind> {
        let planned = self.planned.take()?;
        self.settle(planned.frame, quality);
        Some(planned.frame)
    }

    /// What a frame took that went.
    pub fn took(&mut self, frame: FrameKind, quality: i8, bytes: usize) {
        self.learn(frame, quality, bytes);
        self.spend(8.0 * bytes as f64);
    }

    fn learn(&mut self, frame: FrameKind, quality: i8, bytes: usize) {
        let bits = 8.0 * bytes as f64 / self.pixels;
        // A repeated picture says nothing about coding one.
        if bytes > 32 {
            let model = match frame.key {
                true => &mut self.key,
                false => &mut self.inter,
            };
            model.learn(quality.into(), frame.complexity, bits);
        }
    }

    /// Bytes of filler that a frame of so many bytes needs.
    pub fn filler(&self, bytes: usize) -> usize {
        let Some(planned) = self.planned else {
            return 0;
        };
        if !self.constant() || !self.settings.filler {
            return 0;
        }
        let seconds = 8.0 * bytes as f64 / self.settings.bitrate.max(1.0);
        let below = if planned.frame.key {
            0.0
        } else {
            self.offset().min(0.0)
        };
        let least = if f64::from(planned.quality) - below >= SATURATED {
            planned.limits.even
        } else {
            planned.limits.least
        };
        let missing = (least - seconds) * self.settings.bitrate / 8.0;
        missing.ceil().max(0.0) as usize
    }

    /// The frame is sent, with so many bytes, `filler` of them filler.
    pub fn sent(&mut self, quality: i8, bytes: usize, filler: usize) {
        let Some(planned) = self.planned.take() else {
            return;
        };
        self.filler_bytes += filler as u64;
        self.spend(8.0 * bytes as f64);
        self.settle(planned.frame, quality);
    }

    fn spend(&mut self, bits: f64) {
        let seconds = bits / self.settings.bitrate.max(1.0);
        self.history.push_back(seconds);
        while self.history.len() > LONG * self.window {
            self.history.pop_front();
        }
        self.balance += seconds - self.nominal();
        // What no quality could send, or keep from being sent, is not made up for.
        let most = if self.constant() { 0.25 } else { 5.0 };
        self.balance = self.balance.clamp(-most, most);
        let rate = if self.constant() {
            self.settings.bitrate
        } else {
            self.settings.max_bitrate
        };
        if rate > 0.0 {
            self.bucket = (self.bucket + bits / rate - self.nominal()).max(0.0);
        }
    }

    /// What the next frames' quality follows from.
    fn settle(&mut self, frame: FrameKind, quality: i8) {
        if frame.key {
            self.texture = frame.complexity;
            self.since_key = 0;
        } else {
            let offset = self.offset();
            self.since_key += 1;
            self.running = Some(match self.settings.mode {
                RateMode::VariableBitrate => self.variable,
                // At the ends of the scale there is no cycle to be seen.
                _ => (f64::from(quality) - offset).clamp(MIN_QUALITY, MAX_QUALITY),
            });
            let new = frame.complexity.max(0.5).ln();
            let old = self.usual.unwrap_or(new);
            self.usual = Some(old + (new - old) / (self.rate + 1.0));
        }
    }
}

/// Largest deviation from the rate, as a part of it, in any window of so many frames; none where the
/// stream is shorter.
pub fn worst_deviation(bytes: &[usize], frames: usize, rate: f64, bitrate: f64) -> Option<f64> {
    let wanted = bitrate * frames as f64 / rate;
    bytes
        .windows(frames.max(1))
        .map(|window| 8.0 * window.iter().sum::<usize>() as f64 / wanted - 1.0)
        .max_by(|a, b| a.abs().total_cmp(&b.abs()))
}

#[cfg(test)]
mod tests;
