// SPDX-License-Identifier: Apache-2.0
//! The encoder of one stream.

use super::decision::{self, SkipModel};
use super::layout::{Layout, Tile};
use super::{CodecError, EncodeNet, Picture};
use crate::bitstream::{AccessUnitWriter, FrameHeader, FrameType, SequenceHeader};
use crate::entropy::{self, TileHistory};
use crate::motion::{Field, Reference, Searcher, Variant, code, compensate};
use aivideo_core::pixels::Yuv420;
use rayon::prelude::*;
use std::time::{Duration, Instant};

/// Choices of the encoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EncoderSettings {
    pub motion: Variant,
    /// What coding a block is first taken to cost: a block whose squared error is worth fewer bits is
    /// skipped, until the first frames have shown what coding brings. 0 never skips.
    pub skip_bits: f64,
    /// Added to the quality of key frames.
    pub key_boost: u8,
    /// Computes [`Encoded::symbols`], to be compared with the decoder's.
    pub hash_symbols: bool,
}

impl Default for EncoderSettings {
    fn default() -> Self {
        Self {
            motion: Variant::default(),
            skip_bits: decision::SKIP_BITS,
            key_boost: decision::KEY_BOOST,
            hash_symbols: false,
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
    /// Bytes of motion, z and y.
    pub parts: [usize; 3],
    pub skipped_blocks: usize,
    /// CRC-32 of z, y, vectors and skip flags, where asked for.
    pub symbols: Option<u32>,
    pub timing: Timing,
}

/// Codes the frames of one stream.
#[derive(Debug)]
pub struct Encoder {
    net: EncodeNet,
    settings: EncoderSettings,
    sequence: SequenceHeader,
    layout: Layout,
    searcher: Searcher,
    skip_model: SkipModel,
    /// Errors of the current frame's prediction; empty where nothing may be skipped.
    predicted_errors: Vec<u32>,
    reference: Reference,
    histories: Vec<TileHistory>,
    source: Picture,
    prediction: Picture,
    previous: Picture,
    state: Vec<i8>,
    /// Number of the next frame, and whether there is a frame to predict from.
    frame_number: u16,
    started: bool,
}

/// What a tile's coding gives.
struct Parts {
    motion: Vec<u8>,
    z: Vec<u8>,
    y: Vec<u8>,
    /// Of each block, in 256ths of a bit.
    costs: Vec<u32>,
}

impl Encoder {
    /// `sequence` describes the stream; its model and tables are set from the network's.
    pub fn new(
        net: EncodeNet,
        mut sequence: SequenceHeader,
        settings: EncoderSettings,
    ) -> Result<Self, CodecError> {
        let size = (usize::from(sequence.width), usize::from(sequence.height));
        super::check_size(size)?;
        sequence.model_id = net.files().model_id;
        sequence.tables_id = net.files().tables.id();
        let layout = net.layout(size, sequence.tile_rows_64.into());
        let (width, height) = (layout.width, layout.height);
        let grey = Picture::grey(width, height);
        Ok(Self {
            settings,
            skip_model: SkipModel::new(settings.skip_bits),
            predicted_errors: Vec::new(),
            searcher: Searcher::new(width, height, 4 * usize::from(sequence.tile_rows_64)),
            reference: Reference::new(width, height),
            histories: layout
                .tiles
                .iter()
                .map(|t| TileHistory::new(&t.shape))
                .collect(),
            source: grey.clone(),
            prediction: grey.clone(),
            previous: grey,
            state: vec![0; net.state_len(&layout)],
            frame_number: 0,
            started: false,
            net,
            sequence,
            layout,
        })
    }

    pub fn sequence(&self) -> &SequenceHeader {
        &self.sequence
    }

    /// The picture that the decoder has after the last frame.
    pub fn reconstruction(&self) -> &Picture {
        &self.previous
    }

    /// The next frame will be a key frame.
    pub fn restart(&mut self) {
        self.started = false;
    }

    /// Codes one picture. `quality` is 0 (worst) to 63 (best).
    pub fn encode(
        &mut self,
        picture: &Yuv420,
        quality: u8,
        key: bool,
    ) -> Result<Encoded, CodecError> {
        let start = Instant::now();
        let expected = (
            usize::from(self.sequence.width),
            usize::from(self.sequence.height),
        );
        let got = (picture.width, picture.height);
        if got != expected {
            return Err(CodecError::PictureSize { expected, got });
        }
        let key = key || !self.started;
        let boost = if key { self.settings.key_boost } else { 0 };
        let quality = quality.saturating_add(boost).min(decision::MAX_QUALITY);
        self.source.load(picture);
        let mut timing = Timing::default();
        let field = if key {
            self.prediction.y.fill(128);
            self.prediction.uv.fill(128);
            self.state.fill(0);
            self.histories.iter_mut().for_each(TileHistory::reset);
            self.searcher.reset();
            Field::still(self.layout.blocks_wide(), self.layout.blocks_high())
        } else {
            self.predict(quality)
        };
        timing.motion = start.elapsed();

        let still =
            field.skip.iter().all(|&s| s) && field.vectors.iter().all(|v| *v == Default::default());
        let encoded = if !key && still {
            // The picture before, once more: the reference and the state stay as they are.
            let header = self.header(FrameType::Skip, quality, 0);
            Encoded {
                data: AccessUnitWriter::new(header, None).finish(),
                frame_type: FrameType::Skip,
                parts: [0; 3],
                skipped_blocks: field.skip.len(),
                symbols: self.settings.hash_symbols.then_some(0),
                timing,
            }
        } else {
            self.encode_tiles(&field, quality, key, timing)?
        };
        self.frame_number = self.frame_number.wrapping_add(1);
        self.started = true;
        Ok(Encoded {
            timing: Timing {
                total: start.elapsed(),
                ..encoded.timing
            },
            ..encoded
        })
    }

    /// Finds the motion, predicts from it, and decides which blocks need no more.
    fn predict(&mut self, quality: u8) -> Field {
        let lambda = decision::search_lambda(quality);
        let mut field = match self.settings.motion {
            Variant::Search => self
                .searcher
                .search(&self.source.y, &self.previous.y, lambda),
            Variant::Zero => Field::still(self.layout.blocks_wide(), self.layout.blocks_high()),
        };
        self.previous.to_reference(&mut self.reference);
        compensate(
            &self.reference,
            &field,
            &mut self.prediction.y,
            &mut self.prediction.uv,
        );
        if self.settings.skip_bits > 0.0 {
            self.predicted_errors = decision::block_errors(&self.source, &self.prediction);
            self.skip_model
                .choose(&self.predicted_errors, quality, &mut field.skip);
        }
        field
    }

    fn header(&self, frame_type: FrameType, quality: u8, tiles: u16) -> FrameHeader {
        let key = frame_type == FrameType::Key;
        FrameHeader {
            frame_type,
            frame_number: self.frame_number,
            reference_number: if key {
                self.frame_number
            } else {
                self.frame_number.wrapping_sub(1)
            },
            long_term: false,
            state_reset: key,
            quality,
            tile_count: tiles,
        }
    }

    fn encode_tiles(
        &mut self,
        field: &Field,
        quality: u8,
        key: bool,
        mut timing: Timing,
    ) -> Result<Encoded, CodecError> {
        let start = Instant::now();
        let state = std::mem::take(&mut self.state);
        let (source, prediction) = (&self.source, &self.prediction);
        let analysis = self.net.run(
            &self.layout,
            source,
            prediction,
            state,
            quality,
            &field.skip,
        );
        let analysis = match analysis {
            Ok(analysis) => analysis,
            Err(error) => {
                // The state went with the failed call: only a key frame can follow.
                self.state = vec![0; self.net.state_len(&self.layout)];
                self.started = false;
                return Err(error);
            }
        };
        timing.network = start.elapsed();

        let start = Instant::now();
        let layout = &self.layout;
        let tables = &self.net.files().tables;
        let width = layout.blocks_wide();
        let code_tile = |tile: &Tile, history: &mut TileHistory| {
            let blocks = tile.blocks();
            let z = layout.cut_z(tile, &analysis.z);
            let y = layout.cut_y(tile, &analysis.y);
            let (vectors, skip) = (&field.vectors[blocks.clone()], &field.skip[blocks]);
            let mut costs = vec![0; skip.len()];
            Parts {
                motion: if key {
                    Vec::new()
                } else {
                    code::encode_tile(width, vectors, skip)
                },
                z: entropy::encode_z(tables, quality, &tile.shape, skip, &z),
                y: entropy::encode_y_counting(
                    tables,
                    &tile.shape,
                    &z,
                    skip,
                    &y,
                    history,
                    &mut costs,
                ),
                costs,
            }
        };
        let parts: Vec<Parts> = layout
            .tiles
            .par_iter()
            .zip(&mut self.histories)
            .map(|(tile, history)| code_tile(tile, history))
            .collect();
        timing.entropy = start.elapsed();

        let frame_type = if key {
            FrameType::Key
        } else {
            FrameType::Inter
        };
        let header = self.header(frame_type, quality, parts.len() as u16);
        let mut writer = AccessUnitWriter::new(header, key.then_some(&self.sequence));
        let mut sizes = [0; 3];
        for (index, part) in parts.iter().enumerate() {
            writer.push_tile(index as u16, &part.motion, &part.z, &part.y);
            for (size, part) in sizes.iter_mut().zip([&part.motion, &part.z, &part.y]) {
                *size += part.len();
            }
        }
        let symbols = self
            .settings
            .hash_symbols
            .then(|| super::hash_symbols(&analysis.z, &analysis.y, field));

        if !key && self.settings.skip_bits > 0.0 {
            let start = Instant::now();
            let coded = decision::block_errors(&self.source, &analysis.reconstruction.picture);
            let costs: Vec<u32> = parts.iter().flat_map(|p| p.costs.iter().copied()).collect();
            let predicted = &self.predicted_errors;
            self.skip_model
                .learn(predicted, &coded, &costs, &field.skip, quality);
            timing.motion += start.elapsed();
        }
        self.state = analysis.reconstruction.state;
        self.previous = analysis.reconstruction.picture;
        let skipped_blocks = super::restore_skips(&mut self.previous, &self.prediction, field);
        Ok(Encoded {
            data: writer.finish(),
            frame_type,
            parts: sizes,
            skipped_blocks,
            symbols,
            timing,
        })
    }
}
