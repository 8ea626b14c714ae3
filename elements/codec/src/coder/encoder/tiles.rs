// SPDX-License-Identifier: Apache-2.0
//! The entropy coding of frames: integers to access units, frame by frame. It needs no pictures, so it may run
//! beside what makes those of the next frame.

use super::{Encoded, Timing};
use crate::bitstream::{self, AccessUnitWriter, FrameHeader, FrameType, SequenceHeader};
use crate::coder::EncodeNet;
use crate::coder::layout::{Layout, Tile};
use crate::entropy::{self, TileHistory};
use crate::motion::{Field, code};
use crate::residual::{self, code::Square};
use rayon::prelude::*;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A frame's integers.
#[derive(Debug)]
pub struct Symbols {
    pub z: Vec<i8>,
    pub y: Vec<i16>,
    /// Levels of the residual, by tile; empty where the encoder sends none.
    pub residual: Vec<Vec<Square>>,
}

impl Symbols {
    pub(super) fn lacks_residual(&self) -> bool {
        self.residual.iter().all(Vec::is_empty)
    }
}

/// What a tile's coding gives.
#[derive(Debug)]
pub(super) struct Parts {
    motion: Vec<u8>,
    z: Vec<u8>,
    y: Vec<u8>,
    residual: Vec<u8>,
    /// Of each block, in 256ths of a bit.
    costs: Vec<u32>,
}

/// A frame in the form that is sent.
#[derive(Debug)]
pub(super) struct Written {
    pub writer: AccessUnitWriter,
    pub parts: Vec<Parts>,
    /// Contexts of the frame that follows.
    pub histories: Vec<TileHistory>,
}

impl Written {
    /// Of all blocks, in 256ths of a bit.
    pub fn costs(&self) -> Vec<u32> {
        (self.parts.iter())
            .flat_map(|part| part.costs.iter().copied())
            .collect()
    }

    /// Bytes of motion, z, y and residual.
    pub fn sizes(&self) -> [usize; 4] {
        let mut sums = [0; 4];
        for part in &self.parts {
            let sizes = [&part.motion, &part.z, &part.y, &part.residual].map(Vec::len);
            for (sum, size) in sums.iter_mut().zip(sizes) {
                *sum += size;
            }
        }
        sums
    }
}

/// Contexts and tables of one stream.
#[derive(Debug)]
pub(super) struct Tiles {
    net: EncodeNet,
    pub sequence: SequenceHeader,
    pub layout: Layout,
    /// The same for key frames, whose network may have other channels.
    pub key_layout: Layout,
    histories: Mutex<Vec<TileHistory>>,
}

impl Tiles {
    pub fn new(net: EncodeNet, sequence: SequenceHeader) -> Self {
        let size = (usize::from(sequence.width), usize::from(sequence.height));
        let layout = net.layout(size, sequence.tile_rows_64.into());
        Self {
            key_layout: net.of(true).layout(size, sequence.tile_rows_64.into()),
            histories: Mutex::new(Self::fresh(&layout)),
            layout,
            net,
            sequence,
        }
    }

    fn fresh(layout: &Layout) -> Vec<TileHistory> {
        let tiles = layout.tiles.iter();
        tiles.map(|tile| TileHistory::new(&tile.shape)).collect()
    }

    pub fn layout_of(&self, key: bool) -> &Layout {
        if key { &self.key_layout } else { &self.layout }
    }

    fn histories(&self) -> MutexGuard<'_, Vec<TileHistory>> {
        // They are replaced as a whole.
        (self.histories.lock()).unwrap_or_else(PoisonError::into_inner)
    }

    /// Codes a frame; what follows from it is for [`Tiles::go_on`].
    pub fn write(&self, header: &FrameHeader, field: &Field, symbols: &Symbols) -> Written {
        let key = header.is_key();
        let layout = self.layout_of(key);
        let mut histories = self.histories().clone();
        if header.fresh_contexts() {
            histories.iter_mut().for_each(TileHistory::reset);
        }
        // The symbols of a network of their own say nothing about those of the frames that follow.
        let mut apart = match key && self.net.has_key() {
            true => Self::fresh(layout),
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
            .enumerate()
            .map(|(index, (tile, history))| {
                let levels = symbols.residual.get(index).map_or(&[][..], Vec::as_slice);
                self.write_tile(header, field, symbols, levels, tile, history)
            })
            .collect();
        let mut writer = AccessUnitWriter::new(*header, key.then_some(&self.sequence));
        for (index, part) in parts.iter().enumerate() {
            let streams = [&part.motion, &part.z, &part.y, &part.residual];
            let tile = bitstream::Tile::new(index as u16, streams.map(Vec::as_slice));
            writer.push_tile(&tile);
        }
        Written {
            writer,
            parts,
            histories,
        }
    }

    fn write_tile(
        &self,
        header: &FrameHeader,
        field: &Field,
        symbols: &Symbols,
        levels: &[Square],
        tile: &Tile,
        history: &mut TileHistory,
    ) -> Parts {
        let key = header.is_key();
        let layout = self.layout_of(key);
        let tables = &self.net.of(key).files().tables;
        let z = layout.cut_z(tile, &symbols.z);
        let y = layout.cut_y(tile, &symbols.y);
        let vectors = &field.vectors[tile.parts()];
        let skip = &field.skip[tile.blocks()];
        let mut costs = vec![0; skip.len()];
        Parts {
            motion: if key {
                Vec::new()
            } else {
                code::encode_tile(layout.blocks_wide(), header.quality, vectors, skip)
            },
            z: entropy::encode_z(tables, &tile.shape, skip, &z),
            y: entropy::encode_y_counting(tables, &tile.shape, &z, skip, &y, history, &mut costs),
            residual: match levels {
                [] => Vec::new(),
                levels => {
                    let classes = residual::classes(skip.len(), &y, skip);
                    let width = layout.blocks_wide();
                    residual::code::encode_tile(width, &classes, header.quality, levels)
                }
            },
            costs,
        }
    }

    /// The frame with these contexts behind it was sent.
    pub fn go_on(&self, histories: Vec<TileHistory>) {
        *self.histories() = histories;
    }

    /// A frame without tiles was sent.
    pub fn go_on_without(&self, header: &FrameHeader) {
        if header.fresh_contexts() {
            self.histories().iter_mut().for_each(TileHistory::reset);
        }
    }
}

/// What a coded frame teaches about the next one's choices.
#[derive(Debug)]
pub struct Lesson {
    /// Errors of the prediction and of the result.
    pub(super) predicted: Vec<u32>,
    pub(super) result: Vec<u32>,
    pub(super) costs: Vec<u32>,
    pub(super) skip: Vec<bool>,
    pub(super) quality: i8,
}

/// A frame whose picture is made, to be written. Frames must be written in their order.
#[derive(Debug)]
pub struct Unwritten {
    pub(super) tiles: Arc<Tiles>,
    pub(super) header: FrameHeader,
    pub(super) field: Field,
    /// None where the frame is a header only.
    pub(super) symbols: Option<Symbols>,
    /// What was asked for; may be below 0.
    pub(super) wanted: i8,
    pub(super) predicted: Vec<u32>,
    /// Empty where nothing is to be learnt.
    pub(super) result: Vec<u32>,
    pub(super) hash_symbols: bool,
    pub(super) timing: Timing,
    pub(super) start: Instant,
}

impl Unwritten {
    pub fn is_key(&self) -> bool {
        self.header.is_key()
    }

    /// The quality that was asked for.
    pub fn quality(&self) -> i8 {
        self.wanted
    }

    /// Codes it: what is sent, and what [`super::Encoder::learn`] takes.
    pub fn write(mut self) -> (Encoded, Option<Lesson>) {
        let start = Instant::now();
        let Some(symbols) = self.symbols.take() else {
            self.tiles.go_on_without(&self.header);
            let header = FrameHeader {
                frame_type: FrameType::Skip,
                tile_count: 0,
                ..self.header
            };
            let encoded = Encoded {
                data: AccessUnitWriter::new(header, None).finish_filled(0),
                frame_type: FrameType::Skip,
                quality: header.quality,
                parts: [0; 4],
                skipped_blocks: self.tiles.layout.blocks(),
                symbols: self.hash_symbols.then_some(0),
                timing: self.timing,
            };
            return (encoded, None);
        };
        let written = self.tiles.write(&self.header, &self.field, &symbols);
        let hash = |symbols: &Symbols| {
            let Symbols { z, y, residual } = symbols;
            crate::coder::hash_symbols(z, y, &self.field, residual)
        };
        let mut encoded = Encoded {
            frame_type: self.header.frame_type,
            quality: self.header.quality,
            parts: written.sizes(),
            skipped_blocks: self.field.skip.iter().filter(|skip| **skip).count(),
            symbols: self.hash_symbols.then(|| hash(&symbols)),
            data: Vec::new(),
            timing: self.timing,
        };
        let lesson = (!self.result.is_empty()).then(|| Lesson {
            costs: written.costs(),
            predicted: std::mem::take(&mut self.predicted),
            result: std::mem::take(&mut self.result),
            skip: std::mem::take(&mut self.field.skip),
            quality: self.wanted,
        });
        encoded.data = written.writer.finish_filled(0);
        self.tiles.go_on(written.histories);
        encoded.timing.entropy = start.elapsed();
        encoded.timing.total = self.start.elapsed();
        (encoded, lesson)
    }
}
