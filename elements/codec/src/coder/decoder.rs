// SPDX-License-Identifier: Apache-2.0
//! The decoder of one stream.
//!
//! Whatever arrives, it gives a picture or an error. A damaged or missing tile is concealed: the
//! picture before, moved as it moved last. A tile whose symbols cannot be read because its contexts
//! were lost goes on with motion and z only, until contexts start afresh. After missing frames decoding
//! goes on from the last picture. All this is reported ([`Decoded::intact`]), until a key frame or a
//! recovery frame that arrives whole puts things right.

use super::encoder::Timing;
use super::layout::{Layout, Tile};
use super::recovery::{Kept, later};
use super::{CodecError, DecodeNet, Depth, LossReport, Picture, PlanesMut};
use crate::bitstream::{self, AccessUnit, FrameHeader, FrameType, LONG_TERM_SLOTS, SequenceHeader};
use crate::entropy::{self, TileHistory};
use crate::loop_filter::LoopFilter;
use crate::motion::{Field, Reference, Vector, code, compensate};
use aivideo_core::model::hex;
use rayon::prelude::*;
use std::time::Instant;

/// With more frames missing at a time, the picture is held until a frame that needs none of them: what
/// the next are predicted from is too far from what is there.
const MAX_MISSING: u16 = 30;

/// What became of one access unit.
#[derive(Debug, Clone)]
pub struct Decoded {
    pub frame_type: FrameType,
    /// Tiles that were damaged or missing in this frame.
    pub damaged: Vec<u16>,
    /// Tiles shown without their residual: those, and the ones whose contexts are lost.
    pub concealed: usize,
    /// Frames that are missing before this one.
    pub missing: u16,
    /// The picture is the encoder's (but for drift between runtimes). It is not from a loss on to
    /// the next key or recovery frame that is whole.
    pub intact: bool,
    /// An intact long-term reference is there to recover from. Else only a key frame helps.
    pub recoverable: bool,
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

/// What depends on the sequence header, at the depth of `S`.
#[derive(Debug)]
pub struct Stream<S> {
    sequence: SequenceHeader,
    layout: Layout,
    /// The same for key frames, whose network may have other channels.
    key_layout: Layout,
    tiles: Vec<TileState>,
    reference: Reference<S>,
    prediction: Picture<S>,
    previous: Picture<S>,
    state: Vec<i8>,
    loop_filter: LoopFilter,
    /// The last frame's motion: what is lost is taken to move on like that.
    vectors: Vec<Vector>,
    kept: [Option<Kept<S>>; LONG_TERM_SLOTS],
    last: u16,
    /// There is a picture to predict from.
    ready: bool,
    intact: bool,
}

/// A stream of either depth.
#[derive(Debug)]
pub enum AnyStream {
    Eight(Box<Stream<u8>>),
    Ten(Box<Stream<u16>>),
}

/// Runs `$body` with `$stream` bound to the stream inside, whatever its depth.
macro_rules! any {
    ($value:expr, $stream:ident => $body:expr) => {
        match $value {
            AnyStream::Eight($stream) => $body,
            AnyStream::Ten($stream) => $body,
        }
    };
}

/// Decodes the access units of one stream.
#[derive(Debug)]
pub struct Decoder {
    net: DecodeNet,
    hash_symbols: bool,
    stream: Option<AnyStream>,
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
    /// The picture before, moved by `vectors`. On key frames nothing is skipped: the network sees
    /// zeros.
    fn concealed(tile: &Tile, vectors: Vec<Vector>, key: bool) -> Self {
        Self {
            z: vec![0; tile.shape.z_len()],
            y: vec![0; tile.shape.y_len()],
            skip: vec![!key; vectors.len() / 4],
            vectors,
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
        Some(any!(self.stream.as_ref()?, stream => &stream.sequence))
    }

    /// There is a picture that the next frame can be predicted from.
    pub fn is_ready(&self) -> bool {
        let ready = |stream: &AnyStream| any!(stream, stream => stream.ready);
        self.stream.as_ref().is_some_and(ready)
    }

    /// Waits for a key frame, as after a seek.
    pub fn restart(&mut self) {
        if let Some(stream) = &mut self.stream {
            any!(stream, stream => stream.restart());
        }
    }

    /// What the encoder should know after a loss.
    pub fn report(&self) -> LossReport {
        match &self.stream {
            Some(stream) => any!(stream, stream => stream.report()),
            None => LossReport::default(),
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
        if sequence.tables_id != files.tables_id {
            return Err(CodecError::TablesMismatch {
                stream: hex(&sequence.tables_id),
                own: hex(&files.tables_id),
            });
        }
        if !matches!(sequence.bit_depth, 8 | 10) {
            return Err(CodecError::Depth(sequence.bit_depth));
        }
        if sequence.chroma != bitstream::Chroma::I420 {
            return Err(CodecError::Unsupported("other chroma than 4:2:0"));
        }
        super::check_size((sequence.width.into(), sequence.height.into()))
    }

    fn configure(&mut self, sequence: SequenceHeader) -> Result<(), CodecError> {
        if self.sequence().is_some_and(|known| *known == sequence) {
            return Ok(());
        }
        self.check(&sequence)?;
        let ten = sequence.bit_depth == 10;
        self.stream = Some(match ten {
            true => AnyStream::Ten(Stream::new(&self.net, sequence)?),
            false => AnyStream::Eight(Stream::new(&self.net, sequence)?),
        });
        Ok(())
    }

    /// Decodes one access unit; the picture is then given by [`Decoder::picture`].
    pub fn decode(&mut self, data: &[u8]) -> Result<Decoded, CodecError> {
        let start = Instant::now();
        let unit = AccessUnit::parse(data)?;
        let header = unit.header;
        let key = header.frame_type == FrameType::Key;
        if key {
            match &unit.sequence {
                Some(sequence) => self.configure(sequence.clone())?,
                None if self.stream.is_none() => return Err(CodecError::NeedsKey),
                None => {}
            }
        }
        let stream = self.stream.as_mut().ok_or(CodecError::NeedsKey)?;
        let mut decoded = any!(stream, s => s.decode(&self.net, &unit, self.hash_symbols))?;
        decoded.timing.total = start.elapsed();
        Ok(decoded)
    }

    /// Copies the last picture out, at the display size and the stream's depth.
    pub fn picture<'a, S: Depth>(
        &self,
        out: impl Into<PlanesMut<'a, S>>,
    ) -> Result<(), CodecError> {
        let out = out.into();
        let stream = self.stream.as_ref().ok_or(CodecError::NeedsKey)?;
        let stream = S::stream(stream).ok_or(CodecError::PictureDepth {
            expected: any!(stream, stream => stream.sequence.bit_depth),
            got: S::BITS,
        })?;
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

    /// The last picture at its coded size, if the stream has this depth.
    pub fn reconstruction<S: Depth>(&self) -> Option<&Picture<S>> {
        S::stream(self.stream.as_ref()?).map(|stream| &stream.previous)
    }
}

impl<S: Depth> Stream<S> {
    fn new(net: &DecodeNet, sequence: SequenceHeader) -> Result<Box<Self>, CodecError> {
        net.prepare::<S>()?;
        let size = (usize::from(sequence.width), usize::from(sequence.height));
        let layout = net.layout(size, sequence.tile_rows_64.into());
        let key_layout = net.of(true).layout(size, sequence.tile_rows_64.into());
        let (width, height) = (layout.width, layout.height);
        let grey = Picture::grey(width, height);
        Ok(Box::new(Self {
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
            state: vec![0; net.state_len(&layout)],
            loop_filter: LoopFilter::new(width, height),
            vectors: vec![Vector::ZERO; layout.parts()],
            kept: Default::default(),
            last: 0,
            ready: false,
            intact: false,
            sequence,
            layout,
            key_layout,
        }))
    }

    fn restart(&mut self) {
        self.ready = false;
        self.intact = false;
        self.kept = Default::default();
    }

    fn report(&self) -> LossReport {
        LossReport {
            last: Some(self.last),
            held: Some(self.held()),
        }
    }

    fn decode(
        &mut self,
        net: &DecodeNet,
        unit: &AccessUnit<'_>,
        hash_symbols: bool,
    ) -> Result<Decoded, CodecError> {
        let header = unit.header;
        let missing = self.follow(&header)?;
        // The encoder takes something for held here that is not.
        let misled = header.frame_type == FrameType::Recovery
            && self.held_at(header.reference_number).is_none();
        // What the picture was before a key or recovery frame, for tiles that are lost in that.
        let shown = self.begin(&header);
        let decoded = if header.frame_type == FrameType::Skip {
            Decoded {
                frame_type: FrameType::Skip,
                damaged: Vec::new(),
                concealed: 0,
                missing,
                intact: self.intact,
                recoverable: false,
                symbols: hash_symbols.then_some(0),
                timing: Timing::default(),
            }
        } else {
            self.decode_tiles(net, unit, shown, hash_symbols)?
        };
        self.end(&header);
        Ok(Decoded {
            recoverable: self.kept.iter().flatten().any(|k| k.intact) && !misled,
            missing,
            ..decoded
        })
    }

    /// The newest long-term reference: rather one that is intact.
    fn held(&self) -> Option<u16> {
        let newest = |intact: bool| {
            let kept = self.kept.iter().flatten().filter(|k| k.intact == intact);
            kept.map(|k| k.number)
                .reduce(|a, b| if later(a, b) { a } else { b })
        };
        newest(true).or_else(|| newest(false))
    }

    /// Where this frame stands in the stream: the number of frames missing before it.
    fn follow(&mut self, header: &FrameHeader) -> Result<u16, CodecError> {
        let number = header.frame_number;
        if header.is_key() {
            return Ok(0);
        }
        let recovers = header.frame_type == FrameType::Recovery
            && self.held_at(header.reference_number).is_some();
        if !self.ready {
            return if recovers {
                Ok(0)
            } else {
                Err(CodecError::NeedsKey)
            };
        }
        let missing = number.wrapping_sub(self.last).wrapping_sub(1);
        if missing == 0 {
            return Ok(0);
        }
        let lost = CodecError::Lost {
            expected_after: self.last,
            got: number,
        };
        if !later(number, self.last) {
            // An old frame once more changes nothing.
            return Err(lost);
        }
        self.intact = false;
        self.tiles.iter_mut().for_each(|tile| tile.sound = false);
        if missing <= MAX_MISSING || recovers {
            return Ok(missing);
        }
        self.ready = false;
        Err(lost)
    }

    fn held_at(&self, number: u16) -> Option<&Kept<S>> {
        self.kept.iter().flatten().find(|k| k.number == number)
    }

    /// Prepares what the frame is predicted from. Where that changes, gives the picture before.
    fn begin(&mut self, header: &FrameHeader) -> Option<Picture<S>> {
        let mut shown = None;
        match header.frame_type {
            FrameType::Key => {
                shown = self.ready.then(|| self.previous.clone());
                self.kept = Default::default();
                self.intact = true;
            }
            FrameType::Recovery => {
                let reference = header.reference_number;
                match self.kept.iter().flatten().find(|k| k.number == reference) {
                    Some(kept) => {
                        shown = self.ready.then(|| self.previous.clone());
                        self.previous.clone_from(&kept.picture);
                        self.state.clone_from(&kept.state);
                        self.intact = kept.intact;
                    }
                    // It is not here: the last picture must do.
                    None => self.intact = false,
                }
            }
            FrameType::Inter | FrameType::Skip => {}
        }
        if header.is_key() || header.state_reset {
            self.state.fill(0);
        }
        if header.fresh_contexts() {
            for tile in &mut self.tiles {
                tile.history.reset();
                tile.sound = true;
            }
        }
        shown
    }

    /// Keeps the frame where it says so.
    fn end(&mut self, header: &FrameHeader) {
        self.last = header.frame_number;
        self.ready = true;
        let slot = header.long_term.map(usize::from);
        if let Some(place) = slot.and_then(|slot| self.kept.get_mut(slot)) {
            *place = Some(Kept {
                number: header.frame_number,
                picture: self.previous.clone(),
                state: self.state.clone(),
                intact: self.intact,
            });
        }
    }

    fn decode_tiles(
        &mut self,
        net: &DecodeNet,
        unit: &AccessUnit<'_>,
        shown: Option<Picture<S>>,
        hash: bool,
    ) -> Result<Decoded, CodecError> {
        let start = Instant::now();
        let key = unit.header.frame_type == FrameType::Key;
        let quality = unit.header.quality;
        let layout = if key { &self.key_layout } else { &self.layout };
        let own_key = key && net.has_key();
        let net = net.of(key);
        let tables = &net.files().tables;
        let filters = match (unit.header.filter, tables.filters()) {
            (0, _) => None,
            (_, None) => {
                return Err(CodecError::Unsupported(
                    "a loop filter that its model lacks",
                ));
            }
            (_, filters) => filters,
        };
        let width = layout.blocks_wide();
        let mut sent: Vec<Option<&bitstream::Tile<'_>>> = vec![None; layout.tiles.len()];
        for tile in unit.tiles.iter().flatten() {
            if let Some(slot) = sent.get_mut(usize::from(tile.index)) {
                *slot = Some(tile);
            }
        }
        let before = &self.vectors;
        let decode_tile =
            |tile: &Tile, sent: Option<&bitstream::Tile<'_>>, state: &mut TileState| {
                // The symbols of a network of their own say nothing about those of the frames that follow.
                let mut apart = own_key.then(|| TileState {
                    history: TileHistory::new(&tile.shape),
                    sound: true,
                });
                let state = apart.as_mut().unwrap_or(state);
                let decoded =
                    sent.and_then(|sent| read_tile(tables, quality, width, tile, sent, key, state));
                decoded.unwrap_or_else(|| {
                    state.sound = false;
                    TileSymbols::concealed(tile, before[tile.parts()].to_vec(), key)
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
            self.prediction.fill_grey();
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
        let start = Instant::now();
        if let Some(filters) = filters {
            let (luma, number) = (&mut self.previous.y, unit.header.filter);
            self.loop_filter.apply(filters, number, luma, &field.skip);
        }
        timing.filter = start.elapsed();
        if let Some(shown) = shown {
            // What is lost of a frame that is not predicted from the one before.
            let lost = layout.tiles.iter().zip(&tiles).filter(|(_, t)| t.damaged);
            for at in lost.flat_map(|(tile, _)| tile.blocks()) {
                self.previous.copy_block(&shown, at % width, at / width);
            }
        }
        self.intact &= tiles.iter().all(|t| !t.damaged && !t.concealed);
        self.vectors = field.vectors;
        let damaged = tiles.iter().enumerate().filter(|(_, t)| t.damaged);
        Ok(Decoded {
            frame_type: unit.header.frame_type,
            damaged: damaged.map(|(i, _)| i as u16).collect(),
            concealed: tiles.iter().filter(|t| t.concealed).count(),
            missing: 0,
            intact: self.intact,
            recoverable: false,
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
    let mut vectors = vec![Vector::ZERO; 4 * blocks];
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
