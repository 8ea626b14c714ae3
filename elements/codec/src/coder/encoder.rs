// SPDX-License-Identifier: Apache-2.0
//! The encoder of one stream.
//!
//! What a frame becomes, which of its blocks are skipped and what quality it has is decided here, on the host; its
//! picture is made where pictures lie: in the host's memory ([`host`]) or on a GPU ([`device`]). Its integers are
//! written by [`tiles`], which may happen later, beside the next frame's making: [`Encoder::begin`].

mod device;
mod host;
mod tiles;

use super::decision::{self, SkipModel};
use super::layout::Layout;
use super::net::Reconstruction;
use super::recovery::{Answer, LongTerm};
use super::{CodecError, Depth, EncodeNet, LossReport, Picture, Planes, RecoverySettings};
use crate::bitstream::{AccessUnitWriter, FrameHeader, FrameType, SequenceHeader};
use crate::loop_filter::FrameFilters;
use crate::motion::{Field, Variant};
use aivideo_core::engine::Engine;
use aivideo_cuda::picture::Frame;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tiles::{Tiles, Written};

pub use device::{Device, KERNELS};
pub use host::Host;
pub use tiles::{Lesson, Symbols, Unwritten};

/// Choices of the encoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EncoderSettings {
    pub motion: Variant,
    /// What coding a block is first taken to cost: a block whose squared error is worth fewer bits is
    /// skipped, until the first frames have shown what coding brings. 0 never skips.
    pub skip_bits: f64,
    /// How much of an improvement the following frames keep.
    pub lasting: f64,
    /// Added to the quality of key frames.
    pub key_boost: u8,
    /// Filters frames where that brings them nearer to their source.
    pub loop_filter: bool,
    /// Sends what the network, or the prediction, left of the picture's errors where that is worth its bits; an encoder on a GPU does not.
    pub residual: bool,
    /// The network codes blocks of predicted frames, too, and not key frames alone. Without a residual it must.
    pub inter_network: bool,
    /// Keeps [`Attempt::unfiltered`], which filters are fitted on.
    pub keep_unfiltered: bool,
    /// Computes [`Encoded::symbols`], to be compared with the decoder's.
    pub hash_symbols: bool,
    pub recovery: RecoverySettings,
}

impl Default for EncoderSettings {
    fn default() -> Self {
        Self {
            motion: Variant::default(),
            skip_bits: decision::SKIP_BITS,
            lasting: decision::LASTING,
            key_boost: decision::KEY_BOOST,
            loop_filter: true,
            residual: true,
            inter_network: false,
            keep_unfiltered: false,
            hash_symbols: false,
            recovery: RecoverySettings::default(),
        }
    }
}

/// Where the time of one frame went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    /// Search, prediction and skip decision.
    pub motion: Duration,
    /// The call of the engine.
    pub network: Duration,
    /// The loop filter.
    pub filter: Duration,
    /// Coding or decoding of all tiles.
    pub entropy: Duration,
    /// All of it.
    pub total: Duration,
}

/// One coded frame.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The access unit.
    pub data: Vec<u8>,
    pub frame_type: FrameType,
    /// What it was coded with: for a key frame more than was asked for.
    pub quality: u8,
    /// Bytes of motion, z, y and residual.
    pub parts: [usize; 4],
    pub skipped_blocks: usize,
    /// CRC-32 of z, y, vectors, skip flags and levels, where asked for.
    pub symbols: Option<u32>,
    pub timing: Timing,
}

/// The pictures of a stream and the network's state.
#[derive(Debug)]
pub enum Pictures<S: Depth> {
    Host(Box<Host<S>>),
    Device(Box<Device>),
}

/// What is asked of the network, the filter and the measuring of their result.
struct Asked<'a> {
    net: &'a EncodeNet,
    layout: &'a Layout,
    key: bool,
    quality: u8,
    network_quality: u8,
    field: &'a Field,
    /// For what a key frame's network gives.
    key_filters: Option<&'a FrameFilters>,
    /// For the frame with its residual.
    filters: Option<&'a FrameFilters>,
    /// Whether what the filter is given is wanted.
    keep_unfiltered: bool,
    /// Whether the errors of the result's blocks are wanted.
    errors: bool,
    /// The squared error that a bit of the residual is worth; none where there is none.
    residual: Option<f64>,
}

/// A picture that may become the next one.
#[derive(Debug)]
enum Picked<S> {
    Host(Box<Reconstruction<S>>),
    /// The number of the attempt.
    Device(u64),
}

/// What the network and the filter gave.
#[derive(Debug)]
struct Made<S> {
    symbols: Symbols,
    filter: u8,
    errors: Vec<u32>,
    result: Picked<S>,
    unfiltered: Option<Box<Unfiltered<S>>>,
}

/// What the loop filters are given.
#[derive(Debug, Clone)]
pub struct Unfiltered<S = u8> {
    /// Of a key frame what its network gives, where that is filtered.
    pub network: Option<Picture<S>>,
    /// Behind the residual.
    pub picture: Picture<S>,
    /// The blocks whose luma the filter behind the residual leaves as it is, and those whose chroma.
    pub untouched: [Vec<bool>; 2],
}

/// Codes the frames of one stream, whose samples have the depth of `S`.
#[derive(Debug)]
pub struct Encoder<S: Depth = u8> {
    net: EncodeNet,
    settings: EncoderSettings,
    tiles: Arc<Tiles>,
    skip_model: SkipModel,
    /// The network made worse of a frame than its prediction was: the next frame starts afresh.
    came_apart: bool,
    /// Squared errors of the current frame's prediction, by block; a key frame's deviations.
    predicted_errors: Vec<u32>,
    field: Field,
    /// Smoothed complexity of inter frames.
    usual_complexity: Option<f64>,
    pictures: Pictures<S>,
    long_term: LongTerm,
    /// Number of the next frame, and whether there is a frame to predict from.
    frame_number: u16,
    started: bool,
}

/// A frame whose motion is known, to be coded.
#[derive(Debug)]
pub struct Prepared {
    /// But for the quality.
    header: FrameHeader,
    answer: Answer,
    /// Mean over the blocks of the root of the squared error that the prediction leaves.
    pub complexity: f64,
    /// Most of the picture is no better predicted than by its own mean: a new scene.
    pub scene_cut: bool,
    start: Instant,
    timing: Timing,
}

impl Prepared {
    pub fn is_key(&self) -> bool {
        self.header.is_key()
    }
}

/// One coding of a prepared frame, which [`Encoder::commit`] makes the stream's next frame.
#[derive(Debug)]
pub struct Attempt<S = u8> {
    /// May be below 0.
    wanted: i8,
    quality: u8,
    frame_type: FrameType,
    field: Field,
    /// So many times its usual worth a bit of the residual had to have.
    thrift: f64,
    coded: Coded<S>,
    timing: Timing,
}

#[derive(Debug)]
enum Coded<S> {
    /// The frame is a header only.
    Empty(Box<AccessUnitWriter>),
    Tiles {
        written: Box<Written>,
        made: Made<S>,
    },
}

/// The quality that the network knows: it works as at 0 below that.
fn in_range(wanted: i8) -> u8 {
    wanted.clamp(0, decision::MAX_QUALITY as i8) as u8
}

/// A frame whose making was started; [`Encoder::end`] follows, before anything else is asked of the encoder.
#[derive(Debug)]
pub struct Begun<S> {
    unwritten: Unwritten,
    made: Option<Making<S>>,
    still: bool,
    answer: Answer,
    number: u16,
}

/// What is on its way.
#[derive(Debug)]
enum Making<S> {
    Host(Made<S>),
    Device(device::Started),
}

impl<S> Attempt<S> {
    /// Bytes of the access unit.
    pub fn size(&self) -> usize {
        match &self.coded {
            Coded::Empty(writer) => writer.size(),
            Coded::Tiles { written, .. } => written.writer.size(),
        }
    }

    /// What was asked for.
    pub fn quality(&self) -> i8 {
        self.wanted
    }

    pub fn is_key(&self) -> bool {
        self.frame_type == FrameType::Key
    }

    /// What its tiles say: z, y, and which blocks are skipped. `None` where it is a header only.
    pub fn symbols(&self) -> Option<(&Symbols, &Field)> {
        match &self.coded {
            Coded::Empty(_) => None,
            Coded::Tiles { made, .. } => Some((&made.symbols, &self.field)),
        }
    }

    /// What its loop filters were given, where that was to be kept; frames on a GPU have none.
    pub fn unfiltered(&self) -> Option<&Unfiltered<S>> {
        match &self.coded {
            Coded::Empty(_) => None,
            Coded::Tiles { made, .. } => made.unfiltered.as_deref(),
        }
    }
}

impl<S: Depth> Encoder<S> {
    /// `sequence` describes the stream; its tier, model, tables and depth are set from the network's and
    /// the encoder's.
    pub fn new(
        net: EncodeNet,
        sequence: SequenceHeader,
        settings: EncoderSettings,
    ) -> Result<Self, CodecError> {
        Self::with(net, sequence, settings, false)
    }

    /// An encoder whose pictures stay in the memory of the GPU that the network runs on. It starts
    /// [`KERNELS`].
    pub fn on_gpu(
        net: EncodeNet,
        sequence: SequenceHeader,
        settings: EncoderSettings,
    ) -> Result<Self, CodecError> {
        Self::with(net, sequence, settings, true)
    }

    fn with(
        net: EncodeNet,
        mut sequence: SequenceHeader,
        settings: EncoderSettings,
        on_gpu: bool,
    ) -> Result<Self, CodecError> {
        super::check_size((sequence.width.into(), sequence.height.into()))?;
        sequence.bit_depth = S::BITS;
        sequence.tier = net.tier();
        sequence.model_id = net.files().model_id;
        sequence.tables_id = net.files().tables_id;
        let rows = 4 * usize::from(sequence.tile_rows_64);
        let tiles = Tiles::new(net.clone(), sequence);
        let (layout, key_layout) = (&tiles.layout, &tiles.key_layout);
        let pictures = match on_gpu {
            true => {
                let divide = settings.motion != Variant::Blocks16;
                let device = Device::new(&net, layout, key_layout, S::BITS, rows, divide)?;
                Pictures::Device(Box::new(device))
            }
            false => Pictures::Host(Box::new(Host::new(&net, layout, rows, settings.motion)?)),
        };
        Ok(Self {
            settings,
            skip_model: SkipModel::new(settings.skip_bits, settings.lasting),
            came_apart: false,
            predicted_errors: Vec::new(),
            field: Field::default(),
            usual_complexity: None,
            pictures,
            long_term: LongTerm::new(settings.recovery),
            frame_number: 0,
            started: false,
            net,
            tiles: Arc::new(tiles),
        })
    }

    pub fn sequence(&self) -> &SequenceHeader {
        &self.tiles.sequence
    }

    /// Pixels of a frame as it is coded.
    pub fn coded_pixels(&self) -> usize {
        self.tiles.layout.width * self.tiles.layout.height
    }

    /// The picture that the decoder has after the last frame; from a GPU it is brought down.
    pub fn reconstruction(&self) -> Result<Cow<'_, Picture<S>>, CodecError> {
        Ok(match &self.pictures {
            Pictures::Host(host) => Cow::Borrowed(host.picture()),
            Pictures::Device(device) => Cow::Owned(device.download()?),
        })
    }

    /// What runs the network of frames that are not key frames, where pictures lie on that one's GPU.
    pub fn device_engine(&self) -> Option<&Engine> {
        match &self.pictures {
            Pictures::Host(_) => None,
            Pictures::Device(device) => Some(device.engine()),
        }
    }

    /// The next frame will be a key frame.
    pub fn restart(&mut self) {
        self.started = false;
    }

    /// The receiver lost something. The next frame is one that helps it: a recovery frame where it
    /// holds a long-term reference, else a key frame.
    pub fn report_loss(&mut self, report: LossReport) {
        self.long_term.report(report);
    }

    /// Codes one picture. `quality` is 0 (worst) to 63 (best).
    pub fn encode<'a>(
        &mut self,
        picture: impl Into<Planes<'a, S>>,
        quality: u8,
        key: bool,
    ) -> Result<Encoded, CodecError> {
        let prepared = self.prepare(picture, quality, key)?;
        let quality = self.frame_quality(&prepared, quality);
        let attempt = self.attempt(&prepared, quality)?;
        self.commit(prepared, attempt, 0)
    }

    /// What a frame's quality is where the stream's is `quality`: key frames get more.
    pub fn frame_quality(&self, prepared: &Prepared, quality: u8) -> i8 {
        // Where nothing is predicted from a key frame, it is worth no more than others.
        let boost = if prepared.is_key() && self.settings.motion != Variant::None {
            self.settings.key_boost
        } else {
            0
        };
        quality.saturating_add(boost).min(decision::MAX_QUALITY) as i8
    }

    /// Takes a picture, finds its motion and predicts it. `quality` is about what it will be coded
    /// with: the price of vectors follows from it. [`Encoder::attempt`] and [`Encoder::commit`] follow.
    pub fn prepare<'a>(
        &mut self,
        picture: impl Into<Planes<'a, S>>,
        quality: u8,
        key: bool,
    ) -> Result<Prepared, CodecError> {
        let start = Instant::now();
        let picture = picture.into();
        self.check_picture((picture.width, picture.height))?;
        match &mut self.pictures {
            Pictures::Host(host) => host.load(picture),
            Pictures::Device(device) => device.load(picture)?,
        }
        self.prepare_loaded(quality, key, start)
    }

    /// The same with a frame in the memory of the GPU of [`Encoder::device_engine`]. When this returns, also with
    /// an error, the frame may be in use until the stream of that GPU was waited for.
    ///
    /// # Safety
    /// The frame's planes must be memory of that GPU and live until its stream was waited for.
    #[allow(unsafe_code)] // the caller's promise is passed on
    pub unsafe fn prepare_frame(
        &mut self,
        frame: &Frame,
        quality: u8,
        key: bool,
    ) -> Result<Prepared, CodecError> {
        let start = Instant::now();
        self.check_picture((frame.width as usize, frame.height as usize))?;
        match &mut self.pictures {
            Pictures::Host(_) => {
                return Err(CodecError::Device(
                    "the encoder's pictures lie in the host's memory".to_owned(),
                ));
            }
            // SAFETY: the caller's promise.
            Pictures::Device(device) => unsafe { device.load_frame(frame) }?,
        }
        self.prepare_loaded(quality, key, start)
    }

    fn check_picture(&self, got: (usize, usize)) -> Result<(), CodecError> {
        let sequence = self.sequence();
        let expected = (sequence.width.into(), sequence.height.into());
        match got == expected {
            true => Ok(()),
            false => Err(CodecError::PictureSize { expected, got }),
        }
    }

    fn prepare_loaded(
        &mut self,
        quality: u8,
        key: bool,
        start: Instant,
    ) -> Result<Prepared, CodecError> {
        let key = key || std::mem::take(&mut self.came_apart);
        let answer = self
            .long_term
            .answer(key || !self.started || self.settings.motion == Variant::None);
        let mut scene_cut = false;
        if answer == Answer::Key {
            self.start_key()?;
        } else {
            if answer != Answer::None {
                // Until it is committed: what comes after a failed attempt cannot go back.
                self.started = false;
            }
            self.use_long_term(answer)?;
            self.predict(quality)?;
            let complexity = decision::complexity(&self.predicted_errors);
            let usual = *self.usual_complexity.get_or_insert(complexity);
            scene_cut = answer == Answer::None
                && complexity > decision::CUT_AGAINST_USUAL * usual
                && complexity
                    > decision::CUT_AGAINST_MEAN * decision::complexity(&self.variations()?);
            if !scene_cut {
                self.usual_complexity = Some(usual + 0.1 * (complexity - usual));
            }
        }
        Ok(Prepared {
            header: self.header(answer),
            answer,
            complexity: decision::complexity(&self.predicted_errors),
            scene_cut,
            start,
            timing: Timing {
                motion: start.elapsed(),
                ..Timing::default()
            },
        })
    }

    /// Makes a prepared frame a key frame.
    pub fn turn_into_key(&mut self, prepared: &mut Prepared) -> Result<(), CodecError> {
        let answer = self.long_term.answer(true);
        self.start_key()?;
        prepared.header = self.header(answer);
        prepared.answer = answer;
        prepared.complexity = decision::complexity(&self.predicted_errors);
        prepared.timing.motion = prepared.start.elapsed();
        Ok(())
    }

    fn start_key(&mut self) -> Result<(), CodecError> {
        // Until it is committed: what comes after a failed attempt cannot go back.
        self.started = false;
        let layout = &self.tiles.layout;
        self.field = Field::still(layout.blocks_wide(), layout.blocks_high());
        self.predicted_errors = match &mut self.pictures {
            Pictures::Host(host) => host.start_key(),
            Pictures::Device(device) => device.start_key()?,
        };
        Ok(())
    }

    fn variations(&self) -> Result<Vec<u32>, CodecError> {
        match &self.pictures {
            Pictures::Host(host) => Ok(host.variations()),
            Pictures::Device(device) => device.variations(),
        }
    }

    /// Finds the motion and predicts from it.
    fn predict(&mut self, quality: u8) -> Result<(), CodecError> {
        let search = !matches!(self.settings.motion, Variant::Zero | Variant::None);
        let worth = decision::error_per_bit(quality);
        (self.field, self.predicted_errors) = match &mut self.pictures {
            Pictures::Host(host) => host.predict(search, worth),
            Pictures::Device(device) => device.predict(search, worth)?,
        };
        Ok(())
    }

    /// Goes back to a long-term reference.
    fn use_long_term(&mut self, answer: Answer) -> Result<(), CodecError> {
        let Answer::Recover(slot) = answer else {
            return Ok(());
        };
        match &mut self.pictures {
            Pictures::Host(host) => host.recall(slot),
            Pictures::Device(device) => device.recall(slot)?,
        }
        Ok(())
    }

    fn header(&self, answer: Answer) -> FrameHeader {
        let before = self.frame_number.wrapping_sub(1);
        let (frame_type, reference_number) = match answer {
            Answer::Key => (FrameType::Key, self.frame_number),
            Answer::None => (FrameType::Inter, before),
            Answer::Recover(slot) => {
                let kept = self.long_term.number(slot);
                (FrameType::Recovery, kept.unwrap_or(before))
            }
        };
        FrameHeader {
            frame_type,
            frame_number: self.frame_number,
            reference_number,
            long_term: self.long_term.mark(answer),
            state_reset: answer == Answer::Key,
            context_reset: match answer {
                // Where there is no residual, its network must say all.
                Answer::Key => !self.sends_residual(),
                Answer::None => self.long_term.cautious(),
                Answer::Recover(_) => false,
            },
            quality: 0,
            filter: 0,
            tile_count: self.tiles.layout.tiles.len() as u16,
        }
    }

    /// Codes the prepared frame at a quality. Nothing of the stream changes by it.
    pub fn attempt(&self, prepared: &Prepared, quality: i8) -> Result<Attempt<S>, CodecError> {
        self.code(prepared, quality, self.choose_field(prepared, quality), 1.0)
    }

    /// Codes the prepared frame again, at another quality, and where that will not make it small
    /// enough, only so much as `within` bytes may hold: of the network only the blocks that it brings most, of the residual only what is worth
    /// far more bits. The rest stays as predicted.
    pub fn attempt_again(
        &self,
        prepared: &Prepared,
        first: Attempt<S>,
        quality: i8,
        within: Option<usize>,
    ) -> Result<Attempt<S>, CodecError> {
        let mut field = self.choose_field(prepared, quality);
        let mut thrift = first.thrift;
        if let (Some(within), Coded::Tiles { written, .. }) = (within, &first.coded) {
            let share = within as f64 / first.size().max(1) as f64;
            // Bits shrink about as the root of what one must be worth.
            let thriftier = |share: f64| (1.2 / share.max(1e-3)).max(1.0).powi(3);
            if prepared.is_key() {
                // All but the residual stays as it is.
                let [.., residual] = written.sizes().map(|size| size as f64);
                if residual == 0.0 && quality == first.wanted {
                    return Ok(first);
                }
                let left = within as f64 - (first.size() as f64 - residual);
                thrift *= match left > 0.0 {
                    true => thriftier(left / residual.max(1.0)),
                    false => f64::INFINITY,
                };
            } else if field.all_skipped() {
                thrift *= thriftier(share);
            } else {
                let costs = written.costs();
                let share = 0.8 * share;
                decision::keep_worthiest(&self.predicted_errors, &costs, share, &mut field.skip);
                thrift = f64::INFINITY;
            }
        }
        let mut attempt = self.code(prepared, quality, field, thrift)?;
        attempt.timing.network += first.timing.network;
        attempt.timing.filter += first.timing.filter;
        attempt.timing.entropy += first.timing.entropy;
        Ok(attempt)
    }

    /// The picture before, once more, instead of the prepared one; key and recovery frames cannot.
    pub fn repeat_picture(&self, prepared: &Prepared) -> Option<Attempt<S>> {
        (prepared.header.frame_type == FrameType::Inter).then(|| Attempt {
            wanted: 0,
            quality: 0,
            frame_type: FrameType::Skip,
            field: Field::default(),
            thrift: 1.0,
            coded: self.empty_frame(prepared, 0),
            timing: Timing::default(),
        })
    }

    fn empty_frame(&self, prepared: &Prepared, quality: u8) -> Coded<S> {
        let header = FrameHeader {
            frame_type: FrameType::Skip,
            tile_count: 0,
            quality,
            ..prepared.header
        };
        Coded::Empty(Box::new(AccessUnitWriter::new(header, None)))
    }

    /// Vectors and the blocks that are skipped at a quality.
    fn choose_field(&self, prepared: &Prepared, quality: i8) -> Field {
        let mut field = self.field.clone();
        if prepared.is_key() {
            return field;
        }
        if !self.inter_network() {
            field.skip.fill(true);
        } else if self.settings.skip_bits > 0.0 {
            self.skip_model
                .choose(&self.predicted_errors, quality, &mut field.skip);
        }
        field
    }

    fn sends_residual(&self) -> bool {
        self.settings.residual && matches!(self.pictures, Pictures::Host(_))
    }

    /// Whether the network codes blocks of predicted frames: also where nothing else does, or none is to be skipped.
    fn inter_network(&self) -> bool {
        let EncoderSettings {
            inter_network,
            skip_bits,
            ..
        } = self.settings;
        inter_network || !self.sends_residual() || skip_bits <= 0.0
    }

    /// The picture before, once more, where no residual is sent: reference and state stay as they are.
    fn is_still(header: &FrameHeader, field: &Field) -> bool {
        header.frame_type == FrameType::Inter
            && field.all_skipped()
            && field.vectors.iter().all(|v| *v == Default::default())
    }

    /// What the network and the filter are to do for a frame.
    fn asked<'a>(&'a self, header: &FrameHeader, wanted: i8, field: &'a Field) -> Asked<'a> {
        let key = header.is_key();
        let net = self.net.of(key);
        let filters = |net: &'a EncodeNet| {
            let filters = net.files().tables.filters();
            filters.filter(|_| self.settings.loop_filter)
        };
        Asked {
            net,
            layout: self.tiles.layout_of(key),
            key,
            quality: header.quality,
            network_quality: header.network_quality(),
            field,
            key_filters: net.files().tables.filters().filter(|_| key),
            filters: filters(self.net.of(false)),
            keep_unfiltered: self.settings.keep_unfiltered,
            errors: !key && !field.all_skipped(),
            residual: (self.sends_residual()).then(|| decision::residual_worth(wanted, key)),
        }
    }

    fn make(&self, asked: &Asked<'_>, timing: &mut Timing) -> Result<Making<S>, CodecError> {
        let start = Instant::now();
        Ok(match &self.pictures {
            Pictures::Host(host) => {
                let made = host.make(asked)?;
                [timing.network, timing.filter] = made.took;
                Making::Host(Made {
                    symbols: Symbols {
                        z: made.z,
                        y: made.y,
                        residual: made.residual,
                    },
                    filter: made.filter,
                    errors: made.errors,
                    result: Picked::Host(Box::new(made.result)),
                    unfiltered: made.unfiltered,
                })
            }
            Pictures::Device(device) => {
                let started = device.make(asked)?;
                timing.network = start.elapsed();
                Making::Device(started)
            }
        })
    }

    /// Waits for it.
    fn made(&self, making: Making<S>, timing: &mut Timing) -> Result<Made<S>, CodecError> {
        let start = Instant::now();
        let made = match (making, &self.pictures) {
            (Making::Host(made), _) => made,
            (Making::Device(started), Pictures::Device(device)) => {
                let made = device.collect(&started)?;
                Made {
                    symbols: Symbols {
                        z: made.z,
                        y: made.y,
                        residual: Vec::new(),
                    },
                    filter: made.filter,
                    errors: made.errors,
                    result: Picked::Device(made.serial),
                    unfiltered: None,
                }
            }
            (Making::Device(_), Pictures::Host(_)) => return Err(Self::elsewhere()),
        };
        timing.network += start.elapsed();
        Ok(made)
    }

    fn elsewhere() -> CodecError {
        CodecError::Device("a frame was made by another encoder".to_owned())
    }

    fn code(
        &self,
        prepared: &Prepared,
        wanted: i8,
        field: Field,
        thrift: f64,
    ) -> Result<Attempt<S>, CodecError> {
        let quality = in_range(wanted);
        let mut timing = Timing::default();
        let header = FrameHeader {
            quality,
            ..prepared.header
        };
        let mut asked = self.asked(&header, wanted, &field);
        asked.residual =
            (asked.residual.map(|worth| thrift * worth)).filter(|worth| worth.is_finite());
        let still = Self::is_still(&header, &field);
        let made = match still && asked.residual.is_none() {
            true => None,
            false => Some(self.made(self.make(&asked, &mut timing)?, &mut timing)?),
        };
        let Some(made) = made.filter(|made| !(still && made.symbols.lacks_residual())) else {
            return Ok(Attempt {
                wanted,
                quality,
                frame_type: FrameType::Skip,
                field,
                thrift,
                coded: self.empty_frame(prepared, quality),
                timing,
            });
        };
        let header = FrameHeader {
            filter: made.filter,
            ..header
        };
        let start = Instant::now();
        let written = Box::new(self.tiles.write(&header, &field, &made.symbols));
        timing.entropy = start.elapsed();
        Ok(Attempt {
            wanted,
            quality,
            frame_type: header.frame_type,
            field,
            thrift,
            coded: Coded::Tiles { written, made },
            timing,
        })
    }

    /// Makes an attempt at the prepared frame the stream's next frame, with so many bytes of filler.
    pub fn commit(
        &mut self,
        prepared: Prepared,
        attempt: Attempt<S>,
        filler: usize,
    ) -> Result<Encoded, CodecError> {
        let mut timing = prepared.timing;
        timing.network += attempt.timing.network;
        timing.filter += attempt.timing.filter;
        timing.entropy += attempt.timing.entropy;
        let field = attempt.field;
        let mut encoded = Encoded {
            data: Vec::new(),
            frame_type: attempt.frame_type,
            quality: attempt.quality,
            parts: [0; 4],
            skipped_blocks: self.tiles.layout.blocks(),
            symbols: self.settings.hash_symbols.then_some(0),
            timing,
        };
        match attempt.coded {
            Coded::Empty(writer) => {
                encoded.data = writer.finish_filled(filler);
                self.tiles.go_on_without(&prepared.header);
            }
            Coded::Tiles { written, made } => {
                self.take(made.result)?;
                if self.settings.hash_symbols {
                    let Symbols { z, y, residual } = &made.symbols;
                    encoded.symbols = Some(super::hash_symbols(z, y, &field, residual));
                }
                encoded.parts = written.sizes();
                encoded.skipped_blocks = field.skip.iter().filter(|skip| **skip).count();
                if !made.errors.is_empty() {
                    let lesson = Lesson {
                        predicted: std::mem::take(&mut self.predicted_errors),
                        result: made.errors,
                        costs: written.costs(),
                        skip: field.skip,
                        quality: attempt.wanted,
                    };
                    self.learn(lesson);
                }
                encoded.data = written.writer.finish_filled(filler);
                self.tiles.go_on(written.histories);
            }
        }
        self.settle(&prepared.header, prepared.answer)?;
        encoded.timing.total = prepared.start.elapsed();
        Ok(encoded)
    }

    /// Makes a picture the last one.
    fn take(&mut self, result: Picked<S>) -> Result<(), CodecError> {
        match (&mut self.pictures, result) {
            (Pictures::Host(host), Picked::Host(result)) => host.take(*result),
            (Pictures::Device(device), Picked::Device(serial)) => device.take(serial)?,
            _ => return Err(Self::elsewhere()),
        }
        Ok(())
    }

    /// Ends a frame, whose picture is the last one now.
    fn settle(&mut self, header: &FrameHeader, answer: Answer) -> Result<(), CodecError> {
        if let Some(slot) = header.long_term.map(usize::from) {
            match &mut self.pictures {
                Pictures::Host(host) => host.keep(slot),
                Pictures::Device(device) => device.keep(slot)?,
            }
        }
        (self.long_term).coded(answer, self.frame_number, header.long_term);
        self.frame_number = self.frame_number.wrapping_add(1);
        self.started = true;
        Ok(())
    }

    /// Takes in what a frame that was written later teaches: [`Unwritten::write`] gives it.
    pub fn learn(&mut self, lesson: Lesson) {
        self.came_apart |= decision::came_apart(&lesson.predicted, &lesson.result);
        self.skip_model.learn(
            &lesson.predicted,
            &lesson.result,
            &lesson.costs,
            &lesson.skip,
            lesson.quality,
        );
    }

    /// Starts the making of the prepared frame, which will be sent whatever its size. On a GPU this waits for
    /// nothing.
    pub fn begin(&mut self, prepared: Prepared, quality: i8) -> Result<Begun<S>, CodecError> {
        let field = self.choose_field(&prepared, quality);
        let header = FrameHeader {
            quality: in_range(quality),
            ..prepared.header
        };
        let mut timing = prepared.timing;
        let still = Self::is_still(&header, &field);
        let asked = self.asked(&header, quality, &field);
        let made = match still && asked.residual.is_none() {
            true => None,
            false => Some(self.make(&asked, &mut timing)?),
        };
        Ok(Begun {
            made,
            still,
            answer: prepared.answer,
            number: self.frame_number,
            unwritten: Unwritten {
                tiles: self.tiles.clone(),
                header,
                field,
                symbols: None,
                wanted: quality,
                predicted: std::mem::take(&mut self.predicted_errors),
                result: Vec::new(),
                hash_symbols: self.settings.hash_symbols,
                timing,
                start: prepared.start,
            },
        })
    }

    /// Waits for its picture, makes it the last one, and gives what is left to be written.
    pub fn end(&mut self, begun: Begun<S>) -> Result<Unwritten, CodecError> {
        let Begun {
            mut unwritten,
            made,
            still,
            answer,
            number,
        } = begun;
        if number != self.frame_number {
            return Err(Self::elsewhere());
        }
        if let Some(making) = made {
            let made = self.made(making, &mut unwritten.timing)?;
            if !(still && made.symbols.lacks_residual()) {
                unwritten.header.filter = made.filter;
                unwritten.symbols = Some(made.symbols);
                unwritten.result = made.errors;
                self.take(made.result)?;
            }
        }
        self.settle(&unwritten.header, answer)?;
        Ok(unwritten)
    }
}
