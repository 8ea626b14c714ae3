// SPDX-License-Identifier: Apache-2.0
//! The encoder of one stream.

use super::decision::{self, SkipModel};
use super::layout::{Layout, Tile};
use super::net::Analysis;
use super::recovery::{Answer, Kept, LongTerm};
use super::{CodecError, Depth, EncodeNet, LossReport, Picture, Planes, RecoverySettings};
use crate::bitstream::{AccessUnitWriter, FrameHeader, FrameType, SequenceHeader};
use crate::entropy::{self, TileHistory};
use crate::loop_filter::LoopFilter;
use crate::motion::{Field, Reference, Searcher, Variant, code, compensate};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

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
    /// Bytes of motion, z and y.
    pub parts: [usize; 3],
    pub skipped_blocks: usize,
    /// CRC-32 of z, y, vectors and skip flags, where asked for.
    pub symbols: Option<u32>,
    pub timing: Timing,
}

/// Codes the frames of one stream, whose samples have the depth of `S`.
#[derive(Debug)]
pub struct Encoder<S: Depth = u8> {
    net: EncodeNet,
    settings: EncoderSettings,
    sequence: SequenceHeader,
    layout: Layout,
    /// The same for key frames, whose network may have other channels.
    key_layout: Layout,
    searcher: Searcher,
    skip_model: SkipModel,
    /// Squared errors of the current frame's prediction, by block; a key frame's deviations.
    predicted_errors: Vec<u32>,
    field: Field,
    /// Smoothed complexity of inter frames.
    usual_complexity: Option<f64>,
    reference: Reference<S>,
    search_view: S::SearchView,
    histories: Vec<TileHistory>,
    source: Picture<S>,
    prediction: Picture<S>,
    previous: Picture<S>,
    state: Vec<i8>,
    /// Behind a lock as attempts do not change the encoder.
    loop_filter: Mutex<LoopFilter>,
    long_term: LongTerm<S>,
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
    /// None where the frame is a header only.
    coded: Option<CodedTiles<S>>,
    writer: AccessUnitWriter,
    timing: Timing,
}

#[derive(Debug)]
struct CodedTiles<S> {
    analysis: Analysis<S>,
    parts: Vec<Parts>,
    histories: Vec<TileHistory>,
}

impl<S> Attempt<S> {
    /// Bytes of the access unit.
    pub fn size(&self) -> usize {
        self.writer.size()
    }

    /// What was asked for.
    pub fn quality(&self) -> i8 {
        self.wanted
    }

    pub fn is_key(&self) -> bool {
        self.frame_type == FrameType::Key
    }
}

/// What a tile's coding gives.
#[derive(Debug)]
struct Parts {
    motion: Vec<u8>,
    z: Vec<u8>,
    y: Vec<u8>,
    /// Of each block, in 256ths of a bit.
    costs: Vec<u32>,
}

impl<S: Depth> Encoder<S> {
    /// `sequence` describes the stream; its tier, model, tables and depth are set from the network's and
    /// the encoder's.
    pub fn new(
        net: EncodeNet,
        mut sequence: SequenceHeader,
        settings: EncoderSettings,
    ) -> Result<Self, CodecError> {
        let size = (usize::from(sequence.width), usize::from(sequence.height));
        super::check_size(size)?;
        net.prepare::<S>()?;
        sequence.bit_depth = S::BITS;
        sequence.tier = net.tier();
        sequence.model_id = net.files().model_id;
        sequence.tables_id = net.files().tables_id;
        let layout = net.layout(size, sequence.tile_rows_64.into());
        let key_layout = net.of(true).layout(size, sequence.tile_rows_64.into());
        let (width, height) = (layout.width, layout.height);
        let grey = Picture::grey(width, height);
        Ok(Self {
            settings,
            skip_model: SkipModel::new(settings.skip_bits, settings.lasting),
            predicted_errors: Vec::new(),
            field: Field::default(),
            searcher: Searcher::new(
                width,
                height,
                4 * usize::from(sequence.tile_rows_64),
                settings.motion,
            ),
            usual_complexity: None,
            reference: Reference::new(width, height),
            search_view: S::search_view(width, height),
            histories: layout
                .tiles
                .iter()
                .map(|t| TileHistory::new(&t.shape))
                .collect(),
            source: grey.clone(),
            prediction: grey.clone(),
            previous: grey,
            state: vec![0; net.state_len(&layout)],
            loop_filter: Mutex::new(LoopFilter::new(width, height)),
            long_term: LongTerm::new(settings.recovery),
            frame_number: 0,
            started: false,
            net,
            sequence,
            layout,
            key_layout,
        })
    }

    pub fn sequence(&self) -> &SequenceHeader {
        &self.sequence
    }

    /// Pixels of a frame as it is coded.
    pub fn coded_pixels(&self) -> usize {
        self.layout.width * self.layout.height
    }

    /// The picture that the decoder has after the last frame.
    pub fn reconstruction(&self) -> &Picture<S> {
        &self.previous
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
        Ok(self.commit(prepared, attempt, 0))
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
        let expected = (
            usize::from(self.sequence.width),
            usize::from(self.sequence.height),
        );
        let got = (picture.width, picture.height);
        if got != expected {
            return Err(CodecError::PictureSize { expected, got });
        }
        let answer = self
            .long_term
            .answer(key || !self.started || self.settings.motion == Variant::None);
        self.source.load(picture);
        let mut scene_cut = false;
        if answer == Answer::Key {
            self.start_key();
        } else {
            if answer != Answer::None {
                // Until it is committed: what comes after a failed attempt cannot go back.
                self.started = false;
            }
            self.use_long_term(answer);
            self.predict(quality);
            let complexity = decision::complexity(&self.predicted_errors);
            let usual = *self.usual_complexity.get_or_insert(complexity);
            scene_cut = answer == Answer::None
                && complexity > decision::CUT_AGAINST_USUAL * usual
                && complexity
                    > decision::CUT_AGAINST_MEAN
                        * decision::complexity(&decision::block_variations(&self.source));
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
    pub fn turn_into_key(&mut self, prepared: &mut Prepared) {
        let answer = self.long_term.answer(true);
        self.start_key();
        prepared.header = self.header(answer);
        prepared.answer = answer;
        prepared.complexity = decision::complexity(&self.predicted_errors);
        prepared.timing.motion = prepared.start.elapsed();
    }

    fn start_key(&mut self) {
        // Until it is committed: what comes after a failed attempt cannot go back.
        self.started = false;
        self.prediction.fill_grey();
        self.state.fill(0);
        self.searcher.reset();
        self.field = Field::still(self.layout.blocks_wide(), self.layout.blocks_high());
        self.predicted_errors = decision::block_variations(&self.source);
    }

    /// Finds the motion and predicts from it.
    fn predict(&mut self, quality: u8) {
        self.previous.to_reference(&mut self.reference);
        self.field = match self.settings.motion {
            Variant::Full | Variant::Blocks16 => {
                let worth = decision::error_per_bit(quality);
                let (source, previous) = (&self.source.y, &self.previous.y);
                let view = &mut self.search_view;
                let (luma, reference) = S::seen(view, source, previous, &self.reference);
                self.searcher.search(luma, reference, worth)
            }
            Variant::Zero | Variant::None => {
                Field::still(self.layout.blocks_wide(), self.layout.blocks_high())
            }
        };
        compensate(
            &self.reference,
            &self.field,
            &mut self.prediction.y,
            &mut self.prediction.uv,
        );
        self.predicted_errors = decision::block_errors(&self.source, &self.prediction);
    }

    /// Goes back to a long-term reference.
    fn use_long_term(&mut self, answer: Answer) {
        let Answer::Recover(slot) = answer else {
            return;
        };
        if let Some(kept) = self.long_term.get(slot) {
            self.previous.clone_from(&kept.picture);
            self.state.clone_from(&kept.state);
            self.searcher.reset();
        }
    }

    fn header(&self, answer: Answer) -> FrameHeader {
        let before = self.frame_number.wrapping_sub(1);
        let (frame_type, reference_number) = match answer {
            Answer::Key => (FrameType::Key, self.frame_number),
            Answer::None => (FrameType::Inter, before),
            Answer::Recover(slot) => {
                let kept = self.long_term.get(slot);
                (FrameType::Recovery, kept.map_or(before, |k| k.number))
            }
        };
        FrameHeader {
            frame_type,
            frame_number: self.frame_number,
            reference_number,
            long_term: self.long_term.mark(answer),
            state_reset: answer == Answer::Key,
            context_reset: answer == Answer::None && self.long_term.cautious(),
            quality: 0,
            filter: 0,
            tile_count: self.layout.tiles.len() as u16,
        }
    }

    /// Codes the prepared frame at a quality. Nothing of the stream changes by it.
    pub fn attempt(&self, prepared: &Prepared, quality: i8) -> Result<Attempt<S>, CodecError> {
        self.code(prepared, quality, self.choose_field(prepared, quality))
    }

    /// Codes the prepared frame again, at another quality, and where that will not make it small
    /// enough, only so many of its blocks as `within` bytes may hold. The rest stays as predicted.
    pub fn attempt_again(
        &self,
        prepared: &Prepared,
        first: Attempt<S>,
        quality: i8,
        within: Option<usize>,
    ) -> Result<Attempt<S>, CodecError> {
        let mut field = self.choose_field(prepared, quality);
        if let (Some(within), Some(coded)) = (within, &first.coded) {
            let costs: Vec<u32> = (coded.parts.iter())
                .flat_map(|p| p.costs.iter().copied())
                .collect();
            let share = 0.8 * within as f64 / first.size().max(1) as f64;
            decision::keep_worthiest(&self.predicted_errors, &costs, share, &mut field.skip);
        }
        let mut attempt = self.code(prepared, quality, field)?;
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
            coded: None,
            writer: self.empty_frame(prepared, 0),
            timing: Timing::default(),
        })
    }

    fn empty_frame(&self, prepared: &Prepared, quality: u8) -> AccessUnitWriter {
        let header = FrameHeader {
            frame_type: FrameType::Skip,
            tile_count: 0,
            quality,
            ..prepared.header
        };
        AccessUnitWriter::new(header, None)
    }

    /// Vectors and the blocks that are skipped at a quality.
    fn choose_field(&self, prepared: &Prepared, quality: i8) -> Field {
        let mut field = self.field.clone();
        if !prepared.is_key() && self.settings.skip_bits > 0.0 {
            self.skip_model
                .choose(&self.predicted_errors, quality, &mut field.skip);
        }
        field
    }

    fn code(
        &self,
        prepared: &Prepared,
        wanted: i8,
        field: Field,
    ) -> Result<Attempt<S>, CodecError> {
        let quality = wanted.clamp(0, decision::MAX_QUALITY as i8) as u8;
        let mut timing = Timing::default();
        let header = FrameHeader {
            quality,
            ..prepared.header
        };
        let still =
            field.skip.iter().all(|&s| s) && field.vectors.iter().all(|v| *v == Default::default());
        if header.frame_type == FrameType::Inter && still {
            // The picture before, once more: the reference and the state stay as they are.
            return Ok(Attempt {
                wanted,
                quality,
                frame_type: FrameType::Skip,
                field,
                coded: None,
                writer: self.empty_frame(prepared, quality),
                timing,
            });
        }
        let start = Instant::now();
        let key = prepared.is_key();
        let layout = if key { &self.key_layout } else { &self.layout };
        let mut analysis = self.net.of(key).run(
            layout,
            &self.source,
            &self.prediction,
            self.state.clone(),
            quality,
            &field.skip,
        )?;
        timing.network = start.elapsed();

        let start = Instant::now();
        let picture = &mut analysis.reconstruction.picture;
        super::restore_skips(picture, &self.prediction, &field);
        let filters = self.net.of(key).files().tables.filters();
        let filter = match filters.filter(|_| self.settings.loop_filter) {
            Some(filters) => {
                // What a poisoned one holds is written anew by each call.
                let mut filter = self
                    .loop_filter
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                filter.choose(filters, &mut picture.y, &self.source.y, &field.skip)
            }
            None => 0,
        };
        let header = FrameHeader { filter, ..header };
        timing.filter = start.elapsed();

        let start = Instant::now();
        let mut histories = self.histories.clone();
        if header.fresh_contexts() {
            histories.iter_mut().for_each(TileHistory::reset);
        }
        // The symbols of a network of their own say nothing about those of the frames that follow.
        let mut apart: Vec<_> = match key && self.net.has_key() {
            true => layout
                .tiles
                .iter()
                .map(|t| TileHistory::new(&t.shape))
                .collect(),
            false => Vec::new(),
        };
        let used = match apart.is_empty() {
            true => &mut histories,
            false => &mut apart,
        };
        let parts: Vec<Parts> = layout
            .tiles
            .par_iter()
            .zip(used)
            .map(|(tile, history)| self.code_tile(&header, &field, &analysis, tile, history))
            .collect();
        let sequence = prepared.is_key().then_some(&self.sequence);
        let mut writer = AccessUnitWriter::new(header, sequence);
        for (index, part) in parts.iter().enumerate() {
            writer.push_tile(index as u16, &part.motion, &part.z, &part.y);
        }
        timing.entropy = start.elapsed();
        Ok(Attempt {
            wanted,
            quality,
            frame_type: header.frame_type,
            field,
            coded: Some(CodedTiles {
                analysis,
                parts,
                histories,
            }),
            writer,
            timing,
        })
    }

    fn code_tile(
        &self,
        header: &FrameHeader,
        field: &Field,
        analysis: &Analysis<S>,
        tile: &Tile,
        history: &mut TileHistory,
    ) -> Parts {
        let key = header.is_key();
        let layout = if key { &self.key_layout } else { &self.layout };
        let tables = &self.net.of(key).files().tables;
        let blocks = tile.blocks();
        let z = layout.cut_z(tile, &analysis.z);
        let y = layout.cut_y(tile, &analysis.y);
        let vectors = &field.vectors[tile.parts()];
        let skip = &field.skip[blocks];
        let mut costs = vec![0; skip.len()];
        Parts {
            motion: if key {
                Vec::new()
            } else {
                code::encode_tile(layout.blocks_wide(), vectors, skip)
            },
            z: entropy::encode_z(tables, &tile.shape, skip, &z),
            y: entropy::encode_y_counting(tables, &tile.shape, &z, skip, &y, history, &mut costs),
            costs,
        }
    }

    /// Makes an attempt at the prepared frame the stream's next frame, with so many bytes of filler.
    pub fn commit(&mut self, prepared: Prepared, attempt: Attempt<S>, filler: usize) -> Encoded {
        let mut timing = prepared.timing;
        timing.network += attempt.timing.network;
        timing.filter += attempt.timing.filter;
        timing.entropy += attempt.timing.entropy;
        let field = attempt.field;
        let mut encoded = Encoded {
            data: attempt.writer.finish_filled(filler),
            frame_type: attempt.frame_type,
            quality: attempt.quality,
            parts: [0; 3],
            skipped_blocks: self.layout.blocks(),
            symbols: self.settings.hash_symbols.then_some(0),
            timing,
        };
        if let Some(coded) = attempt.coded {
            let CodedTiles {
                analysis,
                parts,
                histories,
            } = coded;
            if self.settings.hash_symbols {
                encoded.symbols = Some(super::hash_symbols(&analysis.z, &analysis.y, &field));
            }
            for part in &parts {
                let sizes = [&part.motion, &part.z, &part.y].map(Vec::len);
                for (sum, size) in encoded.parts.iter_mut().zip(sizes) {
                    *sum += size;
                }
            }
            let start = Instant::now();
            if !prepared.is_key() && self.settings.skip_bits > 0.0 {
                let result = &analysis.reconstruction.picture;
                let result = decision::block_errors(&self.source, result);
                let costs: Vec<u32> = parts.iter().flat_map(|p| p.costs.iter().copied()).collect();
                self.skip_model.learn(
                    &self.predicted_errors,
                    &result,
                    &costs,
                    &field.skip,
                    attempt.wanted,
                );
            }
            self.histories = histories;
            self.state = analysis.reconstruction.state;
            self.previous = analysis.reconstruction.picture;
            encoded.skipped_blocks = field.skip.iter().filter(|skip| **skip).count();
            encoded.timing.motion += start.elapsed();
        } else if prepared.header.fresh_contexts() {
            self.histories.iter_mut().for_each(TileHistory::reset);
        }
        let kept = prepared.header.long_term.map(|slot| {
            let kept = Kept {
                number: self.frame_number,
                picture: self.previous.clone(),
                state: self.state.clone(),
                intact: true,
            };
            (slot, kept)
        });
        self.long_term
            .coded(prepared.answer, self.frame_number, kept);
        self.frame_number = self.frame_number.wrapping_add(1);
        self.started = true;
        encoded.timing.total = prepared.start.elapsed();
        encoded
    }
}
