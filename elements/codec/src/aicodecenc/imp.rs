// SPDX-License-Identifier: Apache-2.0
use super::coding::{Coding, Input, Way, Wish};
use super::writer::{Coded, Sent, Writer};
use super::{Motion, RateControlMode, Recovery};
use crate::bitstream::caps::{StreamFormat, sequence_header_to_caps};
use crate::bitstream::{FrameType, byte_stream};
use crate::coder::decision::SKIP_BITS;
use crate::coder::encoder::KERNELS;
use crate::coder::rated::Control;
use crate::coder::{
    CodecError, EncodeNet, Encoded, EncoderSettings, KeyFrames, LossReport, ModelFiles,
    RateControl, RateMode, RateSettings, RecoverySettings,
};
use crate::element::{all_formats, formats, loss_report, post, sequence_from_info};
use crate::motion::Variant;
use aivideo_core::cuda::{self, Frames, Offer, Place};
use aivideo_core::element::lock;
use aivideo_core::settings::InferenceSettings;
use glib::prelude::*;
use gst::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::subclass::prelude::*;
use std::sync::{LazyLock, Mutex};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "aicodecenc",
        gst::DebugColorFlags::empty(),
        Some("Neural video encoder"),
    )
});

const DEFAULT_QUALITY: u32 = 32;
const DEFAULT_KEY_INT_MAX: u32 = 250;
const DEFAULT_BITRATE: u32 = 2048;
const DEFAULT_VBV_BUFFER: u32 = 1000;
/// By the picture's size, see [`tile_rows`].
const DEFAULT_TILE_ROWS: u32 = 0;
/// Most units of 64 rows in a tile where nobody asks for a height.
const HIGHEST_TILE: u32 = 6;
/// About what a unit of the byte stream has before a frame, in bytes.
const UNIT_HEADER: usize = 17;
/// In milliseconds: the default latency of rtpjitterbuffer, a long way and back, and some more.
const DEFAULT_LONG_TERM_DELAY: u32 = 500;

#[derive(Debug, Clone)]
struct Settings {
    inference: InferenceSettings,
    rate_control: RateControlMode,
    quality: u32,
    bitrate: u32,
    max_bitrate: u32,
    vbv_buffer: u32,
    filler: bool,
    drop_frames: bool,
    key_int_max: u32,
    scene_cut: bool,
    tile_rows: u32,
    motion: Motion,
    skip_blocks: bool,
    residual: bool,
    inter_network: bool,
    recovery: Recovery,
    long_term_delay: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            inference: InferenceSettings::default(),
            rate_control: RateControlMode::default(),
            quality: DEFAULT_QUALITY,
            bitrate: DEFAULT_BITRATE,
            max_bitrate: 0,
            vbv_buffer: DEFAULT_VBV_BUFFER,
            filler: true,
            drop_frames: false,
            key_int_max: DEFAULT_KEY_INT_MAX,
            scene_cut: true,
            tile_rows: DEFAULT_TILE_ROWS,
            motion: Motion::default(),
            skip_blocks: true,
            residual: true,
            inter_network: false,
            recovery: Recovery::default(),
            long_term_delay: DEFAULT_LONG_TERM_DELAY,
        }
    }
}

impl Settings {
    fn rate(&self) -> RateSettings {
        let bits = |kilobits: u32| 1000.0 * f64::from(kilobits);
        RateSettings {
            mode: match self.rate_control {
                RateControlMode::Cq => RateMode::ConstantQuality,
                RateControlMode::Cbr => RateMode::ConstantBitrate,
                RateControlMode::Vbr => RateMode::VariableBitrate,
            },
            quality: self.quality as u8,
            bitrate: bits(self.bitrate),
            max_bitrate: bits(self.max_bitrate),
            buffer: f64::from(self.vbv_buffer) / 1000.0,
            filler: self.filler,
            drop_frames: self.drop_frames,
            ..RateSettings::default()
        }
    }

    /// What of it cannot work together, in words.
    fn contradictions(&self, fps: f64) -> Vec<String> {
        let mut found = Vec::new();
        let mode = self.rate_control;
        if mode == RateControlMode::Vbr && self.max_bitrate != 0 && self.max_bitrate < self.bitrate
        {
            found.push(format!(
                "max-bitrate={} is below bitrate={}: the stream stays below the former",
                self.max_bitrate, self.bitrate
            ));
        }
        if mode == RateControlMode::Cbr && self.max_bitrate != 0 {
            found.push(
                "max-bitrate has no effect with rate-control=cbr, which keeps to bitrate; it is for cq and vbr"
                    .to_owned(),
            );
        }
        if mode != RateControlMode::Cbr && self.drop_frames {
            found.push("drop-frames has no effect without rate-control=cbr".to_owned());
        }
        let limited = mode == RateControlMode::Cbr || self.max_bitrate != 0;
        if limited && f64::from(self.vbv_buffer) * fps < 2000.0 {
            found.push(format!(
                "vbv-buffer={} ms is shorter than two frames; two frames are taken",
                self.vbv_buffer
            ));
        }
        found
    }
}

/// What lives from start to stop, apart from the state, which is locked while a frame is coded.
struct Loaded {
    net: EncodeNet,
    /// Where the network runs on a GPU and pictures stay there.
    frames: Option<Frames>,
}

struct State {
    coding: Coding,
    way: Way,
    bits: u8,
    rate: RateControl,
    keys: KeyFrames,
    info: gst_video::VideoInfo,
    format: StreamFormat,
    fps: f64,
}

/// Sums over all frames.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    frames: u64,
    key_frames: u64,
    skip_frames: u64,
    recovery_frames: u64,
    bytes: u64,
    parts: [u64; 3],
    blocks_skipped: u64,
    repeated_frames: u64,
    filler_bytes: u64,
    quality: u8,
    /// Bits of a sample.
    depth: u8,
    motion_us: u64,
    network_us: u64,
    filter_us: u64,
    entropy_us: u64,
    total_us: u64,
}

impl Totals {
    fn add(&mut self, encoded: &Encoded) {
        self.frames += 1;
        self.key_frames += u64::from(encoded.frame_type == FrameType::Key);
        self.skip_frames += u64::from(encoded.frame_type == FrameType::Skip);
        self.recovery_frames += u64::from(encoded.frame_type == FrameType::Recovery);
        self.bytes += encoded.data.len() as u64;
        for (sum, part) in self.parts.iter_mut().zip(encoded.parts) {
            *sum += part as u64;
        }
        self.quality = encoded.quality;
        self.blocks_skipped += encoded.skipped_blocks as u64;
        let micros = |d: std::time::Duration| d.as_micros() as u64;
        self.motion_us += micros(encoded.timing.motion);
        self.network_us += micros(encoded.timing.network);
        self.filter_us += micros(encoded.timing.filter);
        self.entropy_us += micros(encoded.timing.entropy);
        self.total_us += micros(encoded.timing.total);
    }

    fn fields(&self) -> Vec<(&'static str, glib::SendValue)> {
        vec![
            ("coded-frames", self.frames.to_send_value()),
            ("key-frames", self.key_frames.to_send_value()),
            ("skip-frames", self.skip_frames.to_send_value()),
            ("recovery-frames", self.recovery_frames.to_send_value()),
            ("bytes", self.bytes.to_send_value()),
            ("motion-bytes", self.parts[0].to_send_value()),
            ("z-bytes", self.parts[1].to_send_value()),
            ("y-bytes", self.parts[2].to_send_value()),
            ("skipped-blocks", self.blocks_skipped.to_send_value()),
            ("quality", u32::from(self.quality).to_send_value()),
            ("bit-depth", u32::from(self.depth).to_send_value()),
            ("recoded-frames", self.repeated_frames.to_send_value()),
            ("filler-bytes", self.filler_bytes.to_send_value()),
            ("motion-us", self.motion_us.to_send_value()),
            ("network-us", self.network_us.to_send_value()),
            ("filter-us", self.filter_us.to_send_value()),
            ("entropy-us", self.entropy_us.to_send_value()),
            ("total-us", self.total_us.to_send_value()),
        ]
    }
}

#[derive(Default)]
pub struct AiCodecEnc {
    settings: Mutex<Settings>,
    loaded: Mutex<Option<Loaded>>,
    state: Mutex<Option<State>>,
    /// Where pictures are made on a GPU.
    writer: Mutex<Option<Writer>>,
    /// What sending a frame on another thread came to, where that was no success.
    flow: Mutex<Option<gst::FlowError>>,
    totals: Mutex<Totals>,
    /// A receiver's report, for the next frame.
    report: Mutex<Option<LossReport>>,
}

#[glib::object_subclass]
impl ObjectSubclass for AiCodecEnc {
    const NAME: &'static str = "GstAiCodecEnc";
    type Type = super::AiCodecEnc;
    type ParentType = gst_video::VideoEncoder;
}

impl ObjectImpl for AiCodecEnc {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let own = [
                glib::ParamSpecEnum::builder::<RateControlMode>("rate-control")
                    .nick("Rate control")
                    .blurb("What is held constant: the quality, the bitrate of each second, or that of the long run")
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("quality")
                    .nick("Quality")
                    .blurb("Quality for rate-control=cq, from 0 (smallest) to 63 (best). Single frames vary around it")
                    .maximum(63)
                    .default_value(DEFAULT_QUALITY)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("bitrate")
                    .nick("Bitrate")
                    .blurb("Bitrate in kbit/s, for rate-control=cbr and vbr")
                    .minimum(1)
                    .maximum(2_048_000)
                    .default_value(DEFAULT_BITRATE)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("max-bitrate")
                    .nick("Maximum bitrate")
                    .blurb("Bitrate in kbit/s that rate-control=cq and vbr do not exceed over vbv-buffer (0 = no limit)")
                    .maximum(2_048_000)
                    .default_value(0)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("vbv-buffer")
                    .nick("VBV buffer")
                    .blurb("Buffer of the decoder's side in milliseconds of bitrate (cbr) or max-bitrate (cq, vbr): bounds single frames")
                    .minimum(1)
                    .maximum(10_000)
                    .default_value(DEFAULT_VBV_BUFFER)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecBoolean::builder("filler")
                    .nick("Filler data")
                    .blurb("With rate-control=cbr, append filler where the best quality needs less than the bitrate; decoders skip it, RTP leaves it out")
                    .default_value(true)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecBoolean::builder("drop-frames")
                    .nick("Drop frames")
                    .blurb("With rate-control=cbr, repeat the picture before where a frame does not fit into the bitrate")
                    .default_value(false)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecBoolean::builder("scene-cut")
                    .nick("Scene cuts")
                    .blurb("Make a key frame where a new scene begins (with rate-control=cbr, where it fits)")
                    .default_value(true)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("key-int-max")
                    .nick("Maximum key frame interval")
                    .blurb("Most frames from one key frame to the next (0 = only the first frame and on request)")
                    .default_value(DEFAULT_KEY_INT_MAX)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("tile-rows")
                    .nick("Tile rows")
                    .blurb("Height of a tile in units of 64 luma rows (0 = by the picture's size: one tile up to 384 rows, else an even number of at most that height). Tiles are coded in parallel and a damaged one spoils no other, so lossy networks want 1 or 2; fewer, higher tiles cost fewer bits")
                    .maximum(255)
                    .default_value(DEFAULT_TILE_ROWS)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecEnum::builder::<Motion>("motion")
                    .nick("Motion")
                    .blurb("How the motion between frames is looked for")
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoolean::builder("skip-blocks")
                    .nick("Skip blocks")
                    .blurb("Take blocks over from their prediction where it is good enough")
                    .default_value(true)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoolean::builder("residual")
                    .nick("Residual")
                    .blurb("Send what the network and the prediction leave of a picture where that is worth its bits; not on a GPU")
                    .default_value(true)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoolean::builder("inter-network")
                    .nick("Inter network")
                    .blurb("Code predicted frames by the network, too, and not key frames alone: slower, and more bits; it is what a GPU and residual=false do")
                    .default_value(false)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecEnum::builder::<Recovery>("recovery")
                    .nick("Recovery")
                    .blurb("What is sent when a receiver asks for help after a loss (a force-key-unit event without all headers, as of RTCP PLI)")
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("long-term-delay")
                    .nick("Long-term delay")
                    .blurb("Milliseconds after which a long-term reference counts as received when no loss was reported. It must be longer than the receiver's jitter buffer and the way back together")
                    .default_value(DEFAULT_LONG_TERM_DELAY)
                    .maximum(60_000)
                    .mutable_ready()
                    .build(),
            ];
            own.into_iter()
                .chain(InferenceSettings::properties())
                .collect()
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let mut settings = lock(&self.settings);
        // The types were checked by GObject against the specifications above.
        match pspec.name() {
            "quality" => settings.quality = value.get().expect("checked upstream"),
            "rate-control" => settings.rate_control = value.get().expect("checked upstream"),
            "bitrate" => settings.bitrate = value.get().expect("checked upstream"),
            "max-bitrate" => settings.max_bitrate = value.get().expect("checked upstream"),
            "vbv-buffer" => settings.vbv_buffer = value.get().expect("checked upstream"),
            "filler" => settings.filler = value.get().expect("checked upstream"),
            "drop-frames" => settings.drop_frames = value.get().expect("checked upstream"),
            "scene-cut" => settings.scene_cut = value.get().expect("checked upstream"),
            "key-int-max" => settings.key_int_max = value.get().expect("checked upstream"),
            "tile-rows" => settings.tile_rows = value.get().expect("checked upstream"),
            "motion" => settings.motion = value.get().expect("checked upstream"),
            "skip-blocks" => settings.skip_blocks = value.get().expect("checked upstream"),
            "residual" => settings.residual = value.get().expect("checked upstream"),
            "inter-network" => {
                settings.inter_network = value.get().expect("checked upstream");
            }
            "recovery" => settings.recovery = value.get().expect("checked upstream"),
            "long-term-delay" => {
                settings.long_term_delay = value.get().expect("checked upstream");
            }
            name => {
                settings.inference.set_property(name, value);
            }
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" {
            return self.stats().to_value();
        }
        let settings = lock(&self.settings);
        match pspec.name() {
            "quality" => settings.quality.to_value(),
            "rate-control" => settings.rate_control.to_value(),
            "bitrate" => settings.bitrate.to_value(),
            "max-bitrate" => settings.max_bitrate.to_value(),
            "vbv-buffer" => settings.vbv_buffer.to_value(),
            "filler" => settings.filler.to_value(),
            "drop-frames" => settings.drop_frames.to_value(),
            "scene-cut" => settings.scene_cut.to_value(),
            "key-int-max" => settings.key_int_max.to_value(),
            "tile-rows" => settings.tile_rows.to_value(),
            "motion" => settings.motion.to_value(),
            "skip-blocks" => settings.skip_blocks.to_value(),
            "residual" => settings.residual.to_value(),
            "inter-network" => settings.inter_network.to_value(),
            "recovery" => settings.recovery.to_value(),
            "long-term-delay" => settings.long_term_delay.to_value(),
            name => settings
                .inference
                .property(name)
                .unwrap_or_else(|| pspec.default_value().clone()),
        }
    }
}

impl GstObjectImpl for AiCodecEnc {}

impl ElementImpl for AiCodecEnc {
    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        // Before the base class starts, which would add a second, vaguer error to ours.
        if transition == gst::StateChange::ReadyToPaused {
            self.load().map_err(|error| {
                self.post_error_message(error);
                gst::StateChangeError
            })?;
        }
        self.parent_change_state(transition)
    }

    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Neural video encoder",
                "Codec/Encoder/Video",
                "Compresses video with a neural network and exact integer entropy coding",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let raw = gst_video::VideoCapsBuilder::new()
                .format_list(all_formats())
                .width_range(16..=8192)
                .height_range(16..=8192)
                .build();
            let raw = cuda::with_places(&raw, &Place::ALL);
            // Byte stream first: what takes anything, as a file does, gets what plays by itself.
            let mut coded = gst::Caps::new_empty();
            for format in ["byte-stream", "frame"] {
                coded
                    .get_mut()
                    .expect("sole owner")
                    .append(crate::element::coded_caps(format));
            }
            use gst::{PadDirection, PadPresence, PadTemplate};
            vec![
                PadTemplate::new("sink", PadDirection::Sink, PadPresence::Always, &raw)
                    .expect("a valid template"),
                PadTemplate::new("src", PadDirection::Src, PadPresence::Always, &coded)
                    .expect("a valid template"),
            ]
        });
        &TEMPLATES
    }
}

/// Height of a tile in units of 64 rows: what was asked for, or one tile for small pictures and an even number of
/// them, for two processors, for others.
fn tile_rows(wanted: u32, height: u32) -> u8 {
    let rows = height.div_ceil(64).max(1);
    let tiles = match rows.div_ceil(HIGHEST_TILE) {
        1 => 1,
        more => more.next_multiple_of(2),
    };
    match wanted {
        0 => rows.div_ceil(tiles) as u8,
        wanted => wanted.min(255) as u8,
    }
}

impl AiCodecEnc {
    fn stats(&self) -> Option<gst::Structure> {
        let totals = *lock(&self.totals);
        let (engine, kernels) = {
            let loaded = lock(&self.loaded);
            let net = &loaded.as_ref()?.net;
            (net.engine_for(totals.depth).clone(), net.kernels())
        };
        let mut fields = totals.fields();
        fields.push(("kernels", kernels.to_send_value()));
        Some(engine.stats().to_structure(&fields))
    }

    /// The form that downstream wants: the first it allows.
    fn choose_format(&self) -> Result<StreamFormat, gst::LoggableError> {
        let allowed = self.obj().src_pad().allowed_caps();
        let Some(allowed) = allowed else {
            return Ok(StreamFormat::ByteStream);
        };
        let first = allowed
            .structure(0)
            .ok_or_else(|| gst::loggable_error!(CAT, "Downstream takes no form of this stream"))?;
        // Fixation takes the first of a list.
        let mut first = gst::Caps::from(first.to_owned());
        first.fixate();
        let format = first
            .structure(0)
            .and_then(|s| s.get::<&str>("stream-format").ok());
        match format {
            Some("frame") => Ok(StreamFormat::Frame),
            _ => Ok(StreamFormat::ByteStream),
        }
    }

    /// Codes a frame, or gives it to the writer, which sends it.
    fn encode(
        &self,
        frame: &gst_video::VideoCodecFrame<'_>,
    ) -> Result<Option<Encoded>, gst::FlowError> {
        let settings = lock(&self.settings).clone();
        let (beside, warnings) = {
            let mut guard = lock(&self.state);
            let state = guard.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
            if let Some(report) = lock(&self.report).take() {
                gst::debug!(CAT, imp = self, "{report:?}");
                state.coding.report_loss(report);
            }
            let rate = settings.rate();
            let changed = rate != *state.rate.settings();
            state.rate.set(rate);
            state.keys.interval = settings.key_int_max;
            state.keys.scene_cuts = settings.scene_cut;
            let warnings = match changed {
                true => settings.contradictions(state.fps),
                false => Vec::new(),
            };
            let has_writer = lock(&self.writer).is_some();
            (has_writer && state.rate.waits_for_nothing(), warnings)
        };
        self.warn(&warnings);
        let result = if beside {
            self.encode_beside(frame).map(|()| None)
        } else {
            // Those that were written beside others go first, and contexts run from frame to frame.
            self.finish_and_learn()?;
            self.encode_now(frame).map(Some)
        };
        result.map_err(|stop| self.tell(stop))
    }

    /// Posts an error.
    fn tell(&self, stop: Stop) -> gst::FlowError {
        match stop {
            Stop::Flow(error) => error,
            Stop::Error(message) => {
                self.post_error_message(message);
                gst::FlowError::Error
            }
        }
    }

    /// Codes a frame to its end.
    fn encode_now(&self, frame: &gst_video::VideoCodecFrame<'_>) -> Result<Encoded, Stop> {
        let mut guard = lock(&self.state);
        let state = guard.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        let mut buffer = input_of(frame)?;
        let (coding, input, mut wish) = state.parts(&mut buffer, frame);
        let encoded = coding.encode(input, &mut wish)?;
        self.count(state, &encoded);
        Ok(encoded)
    }

    /// Makes a frame on the GPU while the one before is written, and gives it to the writer.
    fn encode_beside(&self, frame: &gst_video::VideoCodecFrame<'_>) -> Result<(), Stop> {
        let (started, note) = {
            let mut guard = lock(&self.state);
            let state = guard.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
            let mut buffer = input_of(frame)?;
            let (coding, input, mut wish) = state.parts(&mut buffer, frame);
            coding.begin(input, &mut wish)?
        };
        // The frame before, while the GPU is at work.
        self.finish_written()?;
        self.learn();
        let mut guard = lock(&self.state);
        let state = guard.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        let unwritten = state.coding.end(started)?;
        drop(guard);
        let given = lock(&self.writer).as_ref().is_some_and(|writer| {
            let number = frame.system_frame_number();
            writer.give(number, unwritten, note)
        });
        match given {
            true => Ok(()),
            false => Err(Self::writer_is_gone()),
        }
    }

    fn writer_is_gone() -> Stop {
        Stop::Error(gst::error_msg!(
            gst::LibraryError::Failed,
            ("the thread that codes frames has ended: restart the pipeline"),
            ["its last words are on stderr"]
        ))
    }

    /// Waits until all frames that were given to the writer are coded, and sends them.
    fn finish_written(&self) -> Result<(), Stop> {
        let (sent, coded) = match lock(&self.writer).as_ref() {
            Some(writer) => (writer.sent(), writer.wait()),
            None => return Ok(()),
        };
        self.send_written(&sent);
        match lock(&self.flow).take() {
            Some(error) => Err(error.into()),
            None if coded => Ok(()),
            None => Err(Self::writer_is_gone()),
        }
    }

    /// The same, with what they taught; errors are posted.
    fn finish_and_learn(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        let finished = self.finish_written();
        self.learn();
        match finished {
            Ok(()) => Ok(gst::FlowSuccess::Ok),
            Err(stop) => Err(self.tell(stop)),
        }
    }

    /// Sends what is written. Whichever thread comes here has the lock of the stream while it takes a frame and
    /// sends it, so frames leave in order.
    fn send_written(&self, sent: &Sent) {
        let obj = self.obj();
        while let Some(number) = sent.first() {
            // Its lock is the stream's, and is held until it is dropped.
            let held = obj.frame(number as i32);
            let coded = sent.take(number);
            if let (Some(_), Some(coded), Some(frame)) = (&held, coded, obj.frame(number as i32))
                && let Err(error) = self.send(frame, coded)
            {
                *lock(&self.flow) = Some(error);
            }
        }
    }

    fn send(
        &self,
        frame: gst_video::VideoCodecFrame<'_>,
        coded: Coded,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        if let Some(state) = lock(&self.state).as_ref() {
            self.count(state, &coded.encoded);
        }
        self.send_encoded(frame, coded.encoded)
    }

    /// Takes in what frames taught that were written beside others.
    fn learn(&self) {
        let learnt = match lock(&self.writer).as_ref() {
            Some(writer) => writer.learnt(),
            None => return,
        };
        if let Some(state) = lock(&self.state).as_mut() {
            let framing = state.framing();
            for learnt in learnt {
                if let Some(lesson) = learnt.lesson {
                    state.coding.learn(lesson);
                }
                if let Some(kind) = learnt.note.kind {
                    let quality = learnt.note.quality;
                    state.rate.took(kind, quality, learnt.bytes + framing);
                }
            }
        }
    }

    fn count(&self, state: &State, encoded: &Encoded) {
        let mut totals = lock(&self.totals);
        totals.add(encoded);
        totals.repeated_frames = state.rate.repeated;
        totals.filler_bytes = state.rate.filler_bytes;
        totals.depth = state.bits;
    }

    fn send_encoded(
        &self,
        mut frame: gst_video::VideoCodecFrame<'_>,
        encoded: Encoded,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let key = encoded.frame_type == FrameType::Key;
        gst::log!(
            CAT,
            imp = self,
            "frame {}: {:?}, {} bytes, of motion, z and y {:?}, {:?}",
            frame.system_frame_number(),
            encoded.frame_type,
            encoded.data.len(),
            encoded.parts,
            encoded.timing
        );
        let format = lock(&self.state).as_ref().map(|state| state.format);
        let data = match format.ok_or(gst::FlowError::NotNegotiated)? {
            StreamFormat::Frame => encoded.data,
            StreamFormat::ByteStream => byte_stream::write_unit(
                &encoded.data,
                key,
                frame.pts().map(gst::ClockTime::nseconds),
                frame.duration().map(gst::ClockTime::nseconds),
            ),
        };
        if key {
            frame.set_flags(gst_video::VideoCodecFrameFlags::SYNC_POINT);
        }
        frame.set_output_buffer(gst::Buffer::from_mut_slice(data));
        self.obj().finish_frame(frame)
    }
}

/// Why a frame was not coded.
enum Stop {
    Flow(gst::FlowError),
    Error(gst::ErrorMessage),
}

impl From<gst::FlowError> for Stop {
    fn from(error: gst::FlowError) -> Self {
        Self::Flow(error)
    }
}

impl From<gst::ErrorMessage> for Stop {
    fn from(message: gst::ErrorMessage) -> Self {
        Self::Error(message)
    }
}

fn input_of(frame: &gst_video::VideoCodecFrame<'_>) -> Result<gst::Buffer, gst::ErrorMessage> {
    frame
        .input_buffer_owned()
        .ok_or_else(|| gst::error_msg!(gst::StreamError::Failed, ("a frame without a buffer")))
}

impl State {
    fn framing(&self) -> usize {
        match self.format {
            StreamFormat::Frame => 0,
            StreamFormat::ByteStream => UNIT_HEADER,
        }
    }

    /// All that a frame's coding takes.
    fn parts<'a>(
        &'a mut self,
        buffer: &'a mut gst::Buffer,
        frame: &gst_video::VideoCodecFrame<'_>,
    ) -> (&'a mut Coding, Input<'a>, Wish<'a>) {
        let framing = self.framing();
        let input = Input {
            buffer,
            info: &self.info,
            way: &mut self.way,
        };
        let wish = Wish {
            control: Control {
                rate: &mut self.rate,
                keys: &mut self.keys,
            },
            forced: frame
                .flags()
                .contains(gst_video::VideoCodecFrameFlags::FORCE_KEYFRAME),
            framing,
        };
        (&mut self.coding, input, wish)
    }
}

impl AiCodecEnc {
    fn warn(&self, warnings: &[String]) {
        for warning in warnings {
            gst::element_imp_warning!(self, gst::ResourceError::Settings, ("{warning}"));
        }
    }

    /// Loads the model and makes it ready.
    fn load(&self) -> Result<(), gst::ErrorMessage> {
        let inference = lock(&self.settings).inference.clone();
        let message = |e: CodecError| crate::element::message(&e);
        let files = ModelFiles::find(inference.model_location.as_deref()).map_err(message)?;
        let net = EncodeNet::acquire(&files, &inference).map_err(message)?;
        for warning in net.engine().warnings() {
            gst::element_imp_warning!(self, gst::ResourceError::Settings, ("{warning}"));
        }
        gst::info!(
            CAT,
            imp = self,
            "{net:?} on {}, kernels: {}",
            net.engine().device_in_use(),
            net.kernels()
        );
        let frames = Frames::of_element(&*self.obj(), net.engine(), &KERNELS);
        *lock(&self.writer) = match frames {
            Some(_) => Some(self.start_writer()?),
            None => None,
        };
        *lock(&self.loaded) = Some(Loaded { net, frames });
        *lock(&self.flow) = None;
        *lock(&self.totals) = Totals::default();
        *lock(&self.report) = None;
        Ok(())
    }
}

impl AiCodecEnc {
    fn start_writer(&self) -> Result<Writer, gst::ErrorMessage> {
        let element = self.obj().downgrade();
        let writer = Writer::new(move |sent| match element.upgrade() {
            Some(element) => element.imp().send_written(sent),
            None => sent.clear(),
        });
        writer.map_err(|error| {
            gst::error_msg!(
                gst::ResourceError::Failed,
                ("no thread could be started to code frames: {error}")
            )
        })
    }

    /// What this answers about frames in a GPU's memory.
    fn offer(&self) -> Offer {
        if let Some(loaded) = lock(&self.loaded).as_ref() {
            return Offer::started(loaded.net.engine().gpu_index(), loaded.frames.as_ref());
        }
        Offer::before_start(lock(&self.settings).inference.gpu())
    }

    /// Where frames of these caps come from.
    fn way(&self, caps: Option<&gst::CapsRef>, coding: &Coding) -> Result<Way, gst::LoggableError> {
        let Some(place) = caps.and_then(Place::of) else {
            return Ok(Way::Host);
        };
        let frames = || {
            let engine = coding.device_engine()?;
            let loaded = lock(&self.loaded);
            let frames = loaded.as_ref()?.frames.as_ref()?;
            frames.takes(place).then(|| frames.for_engine(&engine))?
        };
        let frames = frames().ok_or_else(|| {
            gst::loggable_error!(
                CAT,
                "frames in a GPU's memory need the network there: use device=cuda (GST_DEBUG=aivideocuda:3 \
                 says what is missing for it), or put `cudadownload` before this element"
            )
        })?;
        Ok(Way::Device(frames, place))
    }
}

/// Of a stream without a rate, 30 frames a second are assumed.
fn frame_rate(fps: gst::Fraction) -> f64 {
    if fps.numer() > 0 && fps.denom() > 0 {
        f64::from(fps.numer()) / f64::from(fps.denom())
    } else {
        30.0
    }
}

/// The first number of frames that takes longer.
fn delay_in_frames(milliseconds: u32, fps: f64) -> u32 {
    (f64::from(milliseconds) * fps / 1000.0).floor() as u32 + 1
}

impl VideoEncoderImpl for AiCodecEnc {
    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        let writer = lock(&self.writer).take();
        // It waits for its threads, and the last user of a model for that one's: outside of the locks.
        drop(writer);
        let state = lock(&self.state).take();
        let loaded = lock(&self.loaded).take();
        drop((state, loaded));
        Ok(())
    }

    fn caps(&self, filter: Option<&gst::Caps>) -> gst::Caps {
        // Sources that offer both depths list ten bits first, as the better ones, and would give
        // them to everyone who asks for nothing: eight come first here.
        let all = self.parent_caps(filter);
        let of = |bits: u8| {
            let formats = gst_video::VideoCapsBuilder::new()
                .format_list(formats(bits))
                .build();
            let formats = cuda::with_places(&formats, &Place::ALL);
            all.intersect_with_mode(&formats, gst::CapsIntersectMode::First)
        };
        let mut sorted = of(8);
        sorted.merge(of(10));
        self.offer().possible(&sorted)
    }

    fn sink_query(&self, query: &mut gst::QueryRef) -> bool {
        self.offer().answer(&*self.obj(), query) || self.parent_sink_query(query)
    }

    fn src_query(&self, query: &mut gst::QueryRef) -> bool {
        self.offer().answer(&*self.obj(), query) || self.parent_src_query(query)
    }

    fn set_format(
        &self,
        input: &gst_video::VideoCodecState<'static, gst_video::video_codec_state::Readable>,
    ) -> Result<(), gst::LoggableError> {
        // Frames of the format before go first. What went wrong was posted; a downstream that takes none says so again.
        if let Err(error) = self.finish_and_learn() {
            gst::debug!(
                CAT,
                imp = self,
                "frames before the new format are not taken: {error:?}"
            );
        }
        let settings = lock(&self.settings).clone();
        let (net, on_gpu) = lock(&self.loaded)
            .as_ref()
            .map(|loaded| (loaded.net.clone(), loaded.frames.is_some()))
            .ok_or_else(|| gst::loggable_error!(CAT, "Not started"))?;
        let info = input.info().clone();
        let rows = tile_rows(settings.tile_rows, info.height());
        let sequence = sequence_from_info(&info, input.caps(), rows)
            .map_err(|e| gst::loggable_error!(CAT, "{e}"))?;
        let fps = frame_rate(info.fps());
        let choices = EncoderSettings {
            motion: match settings.motion {
                Motion::Full => Variant::Full,
                Motion::Blocks16 => Variant::Blocks16,
                Motion::Zero => Variant::Zero,
                Motion::None => Variant::None,
            },
            recovery: RecoverySettings {
                long_term: settings.recovery == Recovery::Auto,
                delay: delay_in_frames(settings.long_term_delay, fps),
            },
            skip_bits: if settings.skip_blocks { SKIP_BITS } else { 0.0 },
            residual: settings.residual,
            inter_network: settings.inter_network,
            ..EncoderSettings::default()
        };
        let coding = Coding::new(net, sequence, choices, on_gpu).map_err(|e| {
            post(self, &e);
            gst::loggable_error!(CAT, "{e}")
        })?;
        let way = self.way(input.caps(), &coding)?;
        let format = self.choose_format()?;
        let sequence = coding.sequence();
        let pixels = coding.coded_pixels();
        // A rate that is under way goes on over a change of the picture's size.
        let before = lock(&self.state).take().map(|state| state.rate);
        let rate = match before {
            Some(mut rate) => {
                rate.set_picture(pixels, fps);
                rate
            }
            None => {
                self.warn(&settings.contradictions(fps));
                RateControl::new(settings.rate(), pixels, fps)
            }
        };
        *lock(&self.state) = Some(State {
            rate,
            keys: KeyFrames::new(settings.key_int_max, settings.scene_cut),
            fps,
            bits: sequence.bit_depth,
            coding,
            way,
            info,
            format,
        });
        let caps = sequence_header_to_caps(&sequence, format);
        gst::debug!(CAT, imp = self, "coding to {caps}");
        let obj = self.obj();
        let output = obj
            .set_output_state(caps, Some(input))
            .map_err(|_| gst::loggable_error!(CAT, "Cannot set the output's state"))?;
        // One frame in, one frame out.
        obj.set_latency(gst::ClockTime::ZERO, gst::ClockTime::ZERO);
        obj.negotiate(output)
            .map_err(|_| gst::loggable_error!(CAT, "Downstream refuses the caps"))
    }

    fn handle_frame(
        &self,
        frame: gst_video::VideoCodecFrame,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        match self.encode(&frame)? {
            Some(encoded) => self.send_encoded(frame, encoded),
            None => Ok(gst::FlowSuccess::Ok),
        }
    }

    fn src_event(&self, event: gst::Event) -> bool {
        let long_term = lock(&self.settings).recovery == Recovery::Auto;
        match loss_report(&event).filter(|_| long_term) {
            Some(report) => {
                // Several before the next frame are one: the depayloader's says less than the decoder's.
                let mut pending = lock(&self.report);
                if pending.is_none_or(|p| p.last.is_none() || report.last.is_some()) {
                    *pending = Some(report);
                }
                true
            }
            // The base class has the next frame made a key frame.
            None => self.parent_src_event(event),
        }
    }

    fn flush(&self) -> bool {
        if let Some(writer) = lock(&self.writer).as_ref() {
            writer.wait();
            writer.sent().clear();
        }
        self.learn();
        *lock(&self.flow) = None;
        if let Some(state) = lock(&self.state).as_mut() {
            // What follows a flush may be anything: begin with a key frame.
            state.coding.restart();
        }
        true
    }

    fn finish(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        // The last one may be on its way.
        self.finish_and_learn()
    }

    fn propose_allocation(
        &self,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        let place = query.get_owned().0.and_then(|caps| Place::of(&caps));
        if place.is_some() {
            return self.offer().propose(query, Ok(()));
        }
        query.add_allocation_meta::<gst_video::VideoMeta>(None);
        self.parent_propose_allocation(query)
    }
}

#[cfg(test)]
mod tests {
    use super::tile_rows;

    #[test]
    fn tiles_are_as_high_as_the_picture_wants() {
        for (height, rows) in [
            (16, 1),
            (360, 6),
            (384, 6),
            (480, 4),
            (720, 6),
            (1080, 5),
            (2160, 6),
        ] {
            assert_eq!(tile_rows(0, height), rows, "{height}");
        }
        assert_eq!(tile_rows(2, 1080), 2);
    }
}
