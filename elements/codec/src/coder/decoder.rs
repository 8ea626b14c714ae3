// SPDX-License-Identifier: Apache-2.0
//! The decoder of one stream.
//!
//! Whatever arrives, it gives a picture or an error: a damaged or missing tile is concealed (the
//! picture before, unmoved) and reported; a missing frame is an error until the next key frame.
//! A concealed tile's y contexts are lost, so the tile goes on with motion and z only, without
//! residual, until the next key frame.

use super::encoder::Timing;
use super::layout::{Layout, Tile};
use super::{CodecError, DecodeNet, Picture};
use crate::bitstream::{self, AccessUnit, FrameType, SequenceHeader};
use crate::entropy::{self, TileHistory};
use crate::motion::{Field, Reference, Vector, code, compensate};
use aivideo_core::model::hex;
use aivideo_core::pixels::Yuv420;
use rayon::prelude::*;
use std::time::Instant;

/// What became of one access unit.
#[derive(Debug, Clone)]
pub struct Decoded {
    pub frame_type: FrameType,
    /// Tiles that were damaged or missing in this frame.
    pub damaged: Vec<u16>,
    /// Tiles shown without their residual: those, and the ones that wait for a key frame.
    pub concealed: usize,
    /// CRC-32 of z, y, vectors and skip flags, where asked for.
    pub symbols: Option<u32>,
    pub timing: Timing,
}

/// One tile's decoding state.
#[derive(Debug)]
struct TileState {
    history: TileHistory,
    /// False after a loss: the contexts of y are unknown.
    sound: bool,
}

/// What depends on the sequence header.
#[derive(Debug)]
struct Stream {
    sequence: SequenceHeader,
    layout: Layout,
    tiles: Vec<TileState>,
    reference: Reference,
    prediction: Picture,
    previous: Picture,
    state: Vec<i8>,
    last: u16,
    /// Set by a key frame, cleared by a loss.
    ready: bool,
}

/// Decodes the access units of one stream.
#[derive(Debug)]
pub struct Decoder {
    net: DecodeNet,
    hash_symbols: bool,
    stream: Option<Stream>,
}

/// One tile's symbols.
struct TileSymbols {
    z: Vec<i8>,
    y: Vec<i16>,
    vectors: Vec<Vector>,
    skip: Vec<bool>,
    damaged: bool,
    concealed: bool,
}

impl TileSymbols {
    /// The picture before, unmoved. On key frames nothing is skipped: the network sees zeros.
    fn concealed(tile: &Tile, key: bool) -> Self {
        let blocks = tile.shape.blocks();
        Self {
            z: vec![0; tile.shape.z_len()],
            y: vec![0; tile.shape.y_len()],
            vectors: vec![Vector::ZERO; blocks],
            skip: vec![!key; blocks],
            damaged: true,
            concealed: true,
        }
    }
}

impl Decoder {
    pub fn new(net: DecodeNet, hash_symbols: bool) -> Self {
        Self {
            net,
            hash_symbols,
            stream: None,
        }
    }

    pub fn net(&self) -> &DecodeNet {
        &self.net
    }

    /// The stream's description, once a key frame has come.
    pub fn sequence(&self) -> Option<&SequenceHeader> {
        self.stream.as_ref().map(|s| &s.sequence)
    }

    /// Waits for a key frame, as after a seek.
    pub fn restart(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.ready = false;
        }
    }

    /// Refuses a stream that was made with another model, naming both.
    pub fn check(&self, sequence: &SequenceHeader) -> Result<(), CodecError> {
        let files = self.net.files();
        if sequence.model_id != files.model_id {
            return Err(CodecError::ModelMismatch {
                stream: hex(&sequence.model_id),
                own: hex(&files.model_id),
            });
        }
        if sequence.tables_id != files.tables.id() {
            return Err(CodecError::TablesMismatch {
                stream: hex(&sequence.tables_id),
                own: hex(&files.tables.id()),
            });
        }
        if sequence.bit_depth != 8 {
            return Err(CodecError::Unsupported("more than 8 bits a sample"));
        }
        if sequence.chroma != bitstream::Chroma::I420 {
            return Err(CodecError::Unsupported("other chroma than 4:2:0"));
        }
        super::check_size((sequence.width.into(), sequence.height.into()))
    }

    fn configure(&mut self, sequence: SequenceHeader) -> Result<(), CodecError> {
        if self.stream.as_ref().is_some_and(|s| s.sequence == sequence) {
            return Ok(());
        }
        self.check(&sequence)?;
        let size = (usize::from(sequence.width), usize::from(sequence.height));
        let layout = self.net.layout(size, sequence.tile_rows_64.into());
        let (width, height) = (layout.width, layout.height);
        let grey = Picture::grey(width, height);
        self.stream = Some(Stream {
            tiles: layout
                .tiles
                .iter()
                .map(|tile| TileState {
                    history: TileHistory::new(&tile.shape),
                    sound: true,
                })
                .collect(),
            reference: Reference::new(width, height),
            prediction: grey.clone(),
            previous: grey,
            state: vec![0; self.net.state_len(&layout)],
            last: 0,
            ready: false,
            sequence,
            layout,
        });
        Ok(())
    }

    /// Decodes one access unit; the picture is then given by [`Decoder::picture`].
    pub fn decode(&mut self, data: &[u8]) -> Result<Decoded, CodecError> {
        let start = Instant::now();
        let unit = AccessUnit::parse(data)?;
        let header = unit.header;
        let key = header.frame_type == FrameType::Key;
        if header.frame_type == FrameType::Recovery {
            return Err(CodecError::Unsupported(
                "prediction from a long-term reference",
            ));
        }
        if key {
            match &unit.sequence {
                Some(sequence) => self.configure(sequence.clone())?,
                None if self.stream.is_none() => return Err(CodecError::NeedsKey),
                None => {}
            }
        }
        let stream = self.stream.as_mut().ok_or(CodecError::NeedsKey)?;
        if !key {
            if !stream.ready {
                return Err(CodecError::NeedsKey);
            }
            let follows = header.frame_number == stream.last.wrapping_add(1);
            if !follows || header.reference_number != stream.last {
                stream.ready = false;
                return Err(CodecError::Lost {
                    expected_after: stream.last,
                    got: header.frame_number,
                });
            }
        }
        let decoded = if header.frame_type == FrameType::Skip {
            Decoded {
                frame_type: FrameType::Skip,
                damaged: Vec::new(),
                concealed: 0,
                symbols: self.hash_symbols.then_some(0),
                timing: Timing::default(),
            }
        } else {
            stream.decode_tiles(&self.net, &unit, self.hash_symbols)?
        };
        stream.last = header.frame_number;
        stream.ready = true;
        Ok(Decoded {
            timing: Timing {
                total: start.elapsed(),
                ..decoded.timing
            },
            ..decoded
        })
    }

    /// Copies the last picture out, at the display size.
    pub fn picture(&self, out: &mut Yuv420) -> Result<(), CodecError> {
        let stream = self.stream.as_ref().ok_or(CodecError::NeedsKey)?;
        let expected = (
            usize::from(stream.sequence.width),
            usize::from(stream.sequence.height),
        );
        let got = (out.width, out.height);
        if got != expected {
            return Err(CodecError::PictureSize { expected, got });
        }
        stream.previous.crop(out);
        Ok(())
    }

    /// The last picture at its coded size.
    pub fn reconstruction(&self) -> Option<&Picture> {
        self.stream.as_ref().map(|s| &s.previous)
    }
}

impl Stream {
    fn decode_tiles(
        &mut self,
        net: &DecodeNet,
        unit: &AccessUnit<'_>,
        hash: bool,
    ) -> Result<Decoded, CodecError> {
        let start = Instant::now();
        let key = unit.header.frame_type == FrameType::Key;
        let quality = unit.header.quality;
        let layout = &self.layout;
        let tables = &net.files().tables;
        let width = layout.blocks_wide();
        let mut sent: Vec<Option<&bitstream::Tile<'_>>> = vec![None; layout.tiles.len()];
        for tile in unit.tiles.iter().flatten() {
            if let Some(slot) = sent.get_mut(usize::from(tile.index)) {
                *slot = Some(tile);
            }
        }
        let decode_tile =
            |tile: &Tile, sent: Option<&bitstream::Tile<'_>>, state: &mut TileState| {
                if key {
                    state.history.reset();
                    state.sound = true;
                }
                let decoded =
                    sent.and_then(|sent| read_tile(tables, quality, width, tile, sent, key, state));
                decoded.unwrap_or_else(|| {
                    state.sound = false;
                    TileSymbols::concealed(tile, key)
                })
            };
        let tiles: Vec<TileSymbols> = layout
            .tiles
            .par_iter()
            .zip(&mut self.tiles)
            .zip(&sent)
            .map(|((tile, state), sent)| decode_tile(tile, *sent, state))
            .collect();
        let mut z = vec![0; layout.z_len()];
        let mut y = vec![0; layout.y_len()];
        let mut field = Field {
            width,
            ..Field::default()
        };
        for (tile, symbols) in layout.tiles.iter().zip(&tiles) {
            layout.paste_z(tile, &symbols.z, &mut z);
            layout.paste_y(tile, &symbols.y, &mut y);
            field.vectors.extend_from_slice(&symbols.vectors);
            field.skip.extend_from_slice(&symbols.skip);
        }
        let mut timing = Timing {
            entropy: start.elapsed(),
            ..Timing::default()
        };

        let start = Instant::now();
        if key {
            self.prediction.y.fill(128);
            self.prediction.uv.fill(128);
            self.state.fill(0);
        } else {
            self.previous.to_reference(&mut self.reference);
            let prediction = &mut self.prediction;
            compensate(
                &self.reference,
                &field,
                &mut prediction.y,
                &mut prediction.uv,
            );
        }
        timing.motion = start.elapsed();

        let symbols = hash.then(|| super::hash_symbols(&z, &y, &field));
        let start = Instant::now();
        let state = std::mem::take(&mut self.state);
        let reconstruction = match net.run(layout, z, y, &self.prediction, state, quality) {
            Ok(reconstruction) => reconstruction,
            Err(error) => {
                // The state went with the failed call: wait for a key frame.
                self.state = vec![0; net.state_len(layout)];
                self.ready = false;
                return Err(error);
            }
        };
        timing.network = start.elapsed();
        self.state = reconstruction.state;
        self.previous = reconstruction.picture;
        super::restore_skips(&mut self.previous, &self.prediction, &field);
        let damaged = tiles.iter().enumerate().filter(|(_, t)| t.damaged);
        Ok(Decoded {
            frame_type: unit.header.frame_type,
            damaged: damaged.map(|(i, _)| i as u16).collect(),
            concealed: tiles.iter().filter(|t| t.concealed).count(),
            symbols,
            timing,
        })
    }
}

/// Decodes a tile's parts; `None` where any of them is damaged.
fn read_tile(
    tables: &entropy::Tables,
    quality: u8,
    width: usize,
    tile: &Tile,
    sent: &bitstream::Tile<'_>,
    key: bool,
    state: &mut TileState,
) -> Option<TileSymbols> {
    let blocks = tile.shape.blocks();
    let mut vectors = vec![Vector::ZERO; blocks];
    let mut skip = vec![false; blocks];
    if !key {
        code::decode_tile(width, sent.motion, &mut vectors, &mut skip).ok()?;
    }
    let z = entropy::decode_z(tables, quality, &tile.shape, &skip, sent.z).ok()?;
    let y = if state.sound {
        entropy::decode_y(tables, &tile.shape, &z, &skip, sent.y, &mut state.history).ok()?
    } else {
        vec![0; tile.shape.y_len()]
    };
    Some(TileSymbols {
        z,
        y,
        vectors,
        skip,
        damaged: false,
        concealed: !state.sound,
    })
}
