// SPDX-License-Identifier: Apache-2.0

use std::sync::{LazyLock, Mutex};

use aivideo_core::element::{lock, same_pads};
use glib::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::{
    prelude::*,
    subclass::{base_transform::GenerateOutputSuccess, prelude::*},
};

use super::samples::{self, FORMATS};
use crate::audio::{Chain, Config, MAX_CHANNELS, RATES, Report};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "aiaudioenhance",
        gst::DebugColorFlags::empty(),
        Some("Noise reduction and loudness"),
    )
});

/// Time stamps that are off by more than this start anew; less is the jitter of live sources.
const TOLERANCE: gst::ClockTime = gst::ClockTime::from_mseconds(40);

#[derive(Debug, Clone, Copy)]
struct Settings {
    denoise: f64,
    normalize: bool,
    target_loudness: f64,
    max_true_peak: f64,
    max_gain: f64,
    window: gst::ClockTime,
    look_ahead: gst::ClockTime,
}

impl Default for Settings {
    fn default() -> Self {
        let config = Config::default();
        Self {
            denoise: f64::from(config.denoise),
            normalize: config.normalize,
            target_loudness: config.target_loudness,
            max_true_peak: config.max_true_peak,
            max_gain: config.max_gain,
            window: gst::ClockTime::from_seconds_f64(config.window),
            look_ahead: gst::ClockTime::from_seconds_f64(config.look_ahead),
        }
    }
}

impl Settings {
    fn config(&self) -> Config {
        Config {
            denoise: self.denoise as f32,
            normalize: self.normalize,
            target_loudness: self.target_loudness,
            max_true_peak: self.max_true_peak,
            max_gain: self.max_gain,
            window: self.window.seconds_f64(),
            look_ahead: self.look_ahead.seconds_f64(),
        }
    }
}

struct State {
    info: gst_audio::AudioInfo,
    chain: Chain,
    /// Time stamp of the first sample since the last jump.
    base: Option<gst::ClockTime>,
    /// Frames since then that went in and came out.
    frames_in: u64,
    frames_out: u64,
    discont: bool,
}

impl State {
    fn time_of(&self, frames: u64) -> Option<gst::ClockTime> {
        let offset = frames.mul_div_round(*gst::ClockTime::SECOND, self.info.rate().into())?;
        Some(self.base? + gst::ClockTime::from_nseconds(offset))
    }

    fn latency(&self) -> gst::ClockTime {
        let nanos = (self.chain.latency() as u64)
            .mul_div_ceil(*gst::ClockTime::SECOND, self.info.rate().into());
        gst::ClockTime::from_nseconds(nanos.unwrap_or(0))
    }

    /// Puts samples that left the chain into a buffer.
    fn wrap(&mut self, sound: &[f32]) -> Option<gst::Buffer> {
        let frames = (sound.len() / self.chain.channels()) as u64;
        if frames == 0 {
            return None;
        }
        let pts = self.time_of(self.frames_out);
        self.frames_out += frames;
        let end = self.time_of(self.frames_out);
        let mut buffer = gst::Buffer::from_mut_slice(samples::write(self.info.format(), sound));
        {
            let buffer = buffer.make_mut();
            buffer.set_pts(pts);
            buffer.set_duration(pts.zip(end).map(|(pts, end)| end - pts));
            if std::mem::take(&mut self.discont) {
                buffer.set_flags(gst::BufferFlags::DISCONT);
            }
        }
        Some(buffer)
    }
}

#[derive(Default)]
pub struct AiAudioEnhance {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
    /// What was measured by the chain before the caps changed or the element stopped.
    last: Mutex<Report>,
    /// Latency as reported last, and whether any sample came since the start.
    latency: Mutex<gst::ClockTime>,
    heard: Mutex<bool>,
}

impl AiAudioEnhance {
    /// What is still inside, as a buffer.
    fn drained(&self) -> Result<Option<gst::Buffer>, gst::ErrorMessage> {
        let mut guard = lock(&self.state);
        let Some(state) = guard.as_mut() else {
            return Ok(None);
        };
        let mut sound = Vec::new();
        state
            .chain
            .drain(&mut sound)
            .map_err(|error| gst::error_msg!(gst::StreamError::Failed, ("{error}")))?;
        let buffer = state.wrap(&sound);
        state.base = None;
        state.frames_in = 0;
        state.frames_out = 0;
        Ok(buffer)
    }

    /// Pushes what is still inside, with no lock held.
    fn drain(&self) -> Result<(), gst::FlowError> {
        match self.drained() {
            Ok(Some(buffer)) => {
                gst::debug!(CAT, imp = self, "drained {buffer:?}");
                self.obj().src_pad().push(buffer).map(|_| ())
            }
            Ok(None) => Ok(()),
            Err(message) => {
                self.post_error_message(message);
                Err(gst::FlowError::Error)
            }
        }
    }

    /// Tells the pipeline when the latency is another one.
    fn announce_latency(&self) {
        let now = lock(&self.state)
            .as_ref()
            .map_or(gst::ClockTime::ZERO, State::latency);
        if std::mem::replace(&mut *lock(&self.latency), now) != now {
            gst::debug!(CAT, imp = self, "latency is {now}");
            let obj = self.obj();
            let _ = obj.post_message(gst::message::Latency::builder().src(&*obj).build());
        }
    }

    /// Takes changed properties over; where stages come or go, the old ones are emptied first.
    fn follow_settings(&self) -> Result<(), gst::FlowError> {
        let config = lock(&self.settings).config();
        let rebuild = {
            let mut guard = lock(&self.state);
            let Some(state) = guard.as_mut() else {
                return Err(gst::FlowError::NotNegotiated);
            };
            let same = state.chain.config().same_stages(&config);
            state.chain.adjust(config);
            !same
        };
        if rebuild {
            let resume = {
                let guard = lock(&self.state);
                guard
                    .as_ref()
                    .and_then(|state| state.time_of(state.frames_in))
            };
            self.drain()?;
            if let Some(state) = lock(&self.state).as_mut() {
                state.base = resume;
                if let Err(error) = state.chain.rebuild(config) {
                    gst::element_imp_error!(self, gst::StreamError::Failed, ("{error}"));
                    return Err(gst::FlowError::Error);
                }
            }
            self.announce_latency();
        }
        Ok(())
    }

    fn take(&self, buffer: &gst::Buffer) -> Result<Option<gst::Buffer>, gst::FlowError> {
        let pts = buffer.pts();
        let (empty, jump) = {
            let guard = lock(&self.state);
            let state = guard.as_ref().ok_or(gst::FlowError::NotNegotiated)?;
            let expected = state.time_of(state.frames_in);
            let off = pts
                .zip(expected)
                .map(|(pts, expected)| pts.absdiff(expected));
            let flagged = buffer.flags().contains(gst::BufferFlags::DISCONT);
            let limit = if flagged {
                gst::ClockTime::MSECOND
            } else {
                TOLERANCE
            };
            (state.frames_in == 0, off.is_some_and(|off| off > limit))
        };
        if jump {
            gst::debug!(CAT, imp = self, "time stamps jump to {pts:?}");
            self.drain()?;
        }
        let mut guard = lock(&self.state);
        let state = guard.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        if jump || (empty && state.base.is_none()) {
            state.base = pts;
            state.discont = true;
        }
        let map = buffer.map_readable().map_err(|_| {
            gst::element_imp_error!(self, gst::ResourceError::Read, ("cannot map a buffer"));
            gst::FlowError::Error
        })?;
        let frame = state.info.bpf() as usize;
        if !map.len().is_multiple_of(frame) {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                (
                    "a buffer of {} bytes is no whole number of frames of {frame} bytes",
                    map.len()
                )
            );
            return Err(gst::FlowError::Error);
        }
        let mut sound = Vec::with_capacity(map.len() / frame * state.chain.channels());
        samples::read(state.info.format(), &map, &mut sound);
        if !sound.is_empty() {
            *lock(&self.heard) = true;
        }
        state.frames_in += (sound.len() / state.chain.channels()) as u64;
        let mut out = Vec::with_capacity(sound.len());
        if let Err(error) = state.chain.push(&sound, &mut out) {
            gst::element_imp_error!(self, gst::StreamError::Failed, ("{error}"));
            return Err(gst::FlowError::Error);
        }
        Ok(state.wrap(&out))
    }

    fn stats(&self) -> gst::Structure {
        let report = match lock(&self.state).as_ref() {
            Some(state) => state.chain.report(),
            None => *lock(&self.last),
        };
        let mut stats = gst::Structure::builder("aivideo-stats")
            .field("frames-in", report.frames_in)
            .field("frames-out", report.frames_out);
        for (name, value) in [
            ("input-loudness", report.input_loudness),
            ("output-loudness", report.output_loudness),
            ("input-loudness-range", report.input_range),
            ("input-true-peak", report.input_true_peak),
            ("output-true-peak", report.output_true_peak),
            ("gain", report.gain),
            ("limiter-reduction", report.limiter_reduction),
            ("noise-reduction", report.noise_reduction),
            ("voice-probability", report.voice),
        ] {
            if let Some(value) = value {
                stats = stats.field(name, value);
            }
        }
        stats.build()
    }
}

#[glib::object_subclass]
impl ObjectSubclass for AiAudioEnhance {
    const NAME: &'static str = "GstAiAudioEnhance";
    type Type = super::AiAudioEnhance;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for AiAudioEnhance {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let default = Settings::default();
            let double = |name, nick, blurb, low, high, value| {
                glib::ParamSpecDouble::builder(name)
                    .nick(nick)
                    .blurb(blurb)
                    .minimum(low)
                    .maximum(high)
                    .default_value(value)
                    .controllable()
                    .mutable_playing()
                    .build()
            };
            let time = |name,
                        nick,
                        blurb,
                        low: gst::ClockTime,
                        high: gst::ClockTime,
                        value: gst::ClockTime| {
                glib::ParamSpecUInt64::builder(name)
                    .nick(nick)
                    .blurb(blurb)
                    .minimum(low.nseconds())
                    .maximum(high.nseconds())
                    .default_value(value.nseconds())
                    .mutable_playing()
                    .build()
            };
            vec![
                double(
                    "denoise",
                    "Noise reduction",
                    "Share of the sound cleaned by RNNoise, the rest stays as it was; 0 leaves RNNoise out. Made for speech: it takes music for noise",
                    0.0,
                    1.0,
                    default.denoise,
                ),
                glib::ParamSpecBoolean::builder("normalize")
                    .nick("Normalize loudness")
                    .blurb("Bring the loudness to target-loudness, and limit true peaks to max-true-peak")
                    .default_value(default.normalize)
                    .mutable_playing()
                    .build(),
                double(
                    "target-loudness",
                    "Target loudness",
                    "Integrated loudness to reach, in LUFS (EBU R128)",
                    -70.0,
                    -5.0,
                    default.target_loudness,
                ),
                double(
                    "max-true-peak",
                    "Maximum true peak",
                    "The limiter's ceiling, in dBTP",
                    -20.0,
                    0.0,
                    default.max_true_peak,
                ),
                double(
                    "max-gain",
                    "Maximum gain",
                    "The most that quiet sound is amplified, in dB",
                    0.0,
                    60.0,
                    default.max_gain,
                ),
                time(
                    "window",
                    "Window",
                    "How much of the sound so far decides about the gain, in nanoseconds: short evens speakers out, long keeps dynamics",
                    gst::ClockTime::from_mseconds(400),
                    gst::ClockTime::from_seconds(600),
                    default.window,
                ),
                time(
                    "look-ahead",
                    "Look-ahead",
                    "How far the gain sees ahead, in nanoseconds; adds as much latency",
                    gst::ClockTime::ZERO,
                    gst::ClockTime::from_seconds(5),
                    default.look_ahead,
                ),
                glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                    .nick("Statistics")
                    .blurb("What was measured: loudness, true peaks, gain, noise reduction")
                    .read_only()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let mut settings = lock(&self.settings);
        let time = || value.get().map(gst::ClockTime::from_nseconds).ok();
        match pspec.name() {
            "denoise" => settings.denoise = value.get().unwrap_or(settings.denoise),
            "normalize" => settings.normalize = value.get().unwrap_or(settings.normalize),
            "target-loudness" => {
                settings.target_loudness = value.get().unwrap_or(settings.target_loudness);
            }
            "max-true-peak" => {
                settings.max_true_peak = value.get().unwrap_or(settings.max_true_peak);
            }
            "max-gain" => settings.max_gain = value.get().unwrap_or(settings.max_gain),
            "window" => settings.window = time().unwrap_or(settings.window),
            "look-ahead" => settings.look_ahead = time().unwrap_or(settings.look_ahead),
            name => gst::error!(CAT, imp = self, "{name} cannot be set"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" {
            return self.stats().to_value();
        }
        let settings = lock(&self.settings);
        match pspec.name() {
            "denoise" => settings.denoise.to_value(),
            "normalize" => settings.normalize.to_value(),
            "target-loudness" => settings.target_loudness.to_value(),
            "max-true-peak" => settings.max_true_peak.to_value(),
            "max-gain" => settings.max_gain.to_value(),
            "window" => settings.window.nseconds().to_value(),
            "look-ahead" => settings.look_ahead.nseconds().to_value(),
            _ => pspec.default_value().clone(),
        }
    }
}

impl GstObjectImpl for AiAudioEnhance {}

impl ElementImpl for AiAudioEnhance {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Sound enhancement",
                "Filter/Effect/Audio",
                "Removes noise from speech (RNNoise), brings sound to a loudness (EBU R128), limits true peaks",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst_audio::AudioCapsBuilder::new_interleaved()
                .format_list(FORMATS)
                .rate_range(RATES.0 as i32..=RATES.1 as i32)
                .channels_range(1..=MAX_CHANNELS as i32)
                .build();
            same_pads(&caps)
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for AiAudioEnhance {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.heard) = false;
        *lock(&self.last) = Report::default();
        *lock(&self.latency) = gst::ClockTime::ZERO;
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        // What was measured can still be read.
        if let Some(state) = lock(&self.state).take() {
            *lock(&self.last) = state.chain.report();
        }
        Ok(())
    }

    fn unit_size(&self, caps: &gst::Caps) -> Option<usize> {
        let info = gst_audio::AudioInfo::from_caps(caps).ok()?;
        Some(info.bpf() as usize)
    }

    fn set_caps(&self, incaps: &gst::Caps, _outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let info = gst_audio::AudioInfo::from_caps(incaps)
            .map_err(|_| gst::loggable_error!(CAT, "{incaps} is no sound"))?;
        let config = lock(&self.settings).config();
        let chain = Chain::new(info.rate(), info.channels(), config)
            .map_err(|error| gst::loggable_error!(CAT, "{error}"))?;
        *lock(&self.state) = Some(State {
            info,
            chain,
            base: None,
            frames_in: 0,
            frames_out: 0,
            discont: true,
        });
        self.announce_latency();
        Ok(())
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        if direction == gst::PadDirection::Src
            && let gst::QueryViewMut::Latency(latency) = query.view_mut()
        {
            let mut upstream = gst::query::Latency::new();
            if !self.obj().sink_pad().peer_query(&mut upstream) {
                return false;
            }
            let own = lock(&self.state)
                .as_ref()
                .map_or(gst::ClockTime::ZERO, State::latency);
            let (live, min, max) = upstream.result();
            latency.set(live, min + own, max.map(|max| max + own));
            return true;
        }
        BaseTransformImplExt::parent_query(self, direction, query)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::FlushStop(_) => {
                if let Some(state) = lock(&self.state).as_mut() {
                    if let Err(error) = state.chain.reset() {
                        gst::error!(CAT, imp = self, "{error}");
                    }
                    state.base = None;
                    state.frames_in = 0;
                    state.frames_out = 0;
                    state.discont = true;
                }
            }
            gst::EventView::Caps(_)
            | gst::EventView::Segment(_)
            | gst::EventView::Gap(_)
            | gst::EventView::Eos(_) => {
                // What these say holds for samples behind them only.
                if let Err(error) = self.drain() {
                    gst::debug!(CAT, imp = self, "drained in vain: {error:?}");
                }
            }
            _ => {}
        }
        if let gst::EventView::Eos(_) = event.view()
            && !*lock(&self.heard)
        {
            gst::element_imp_error!(
                self,
                gst::StreamError::Failed,
                ("the stream ended without a single sample: the file's audio track is empty or was not decoded; leave aiaudioenhance out, or check what its demuxer and decoder say")
            );
        }
        self.parent_sink_event(event)
    }

    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        let Some(buffer) = self.take_queued_buffer() else {
            return Ok(GenerateOutputSuccess::NoOutput);
        };
        let obj = self.obj();
        aivideo_core::control::follow(*CAT, &*obj, &buffer);
        self.follow_settings()?;
        Ok(match self.take(&buffer)? {
            Some(buffer) => GenerateOutputSuccess::Buffer(buffer),
            None => GenerateOutputSuccess::NoOutput,
        })
    }
}
