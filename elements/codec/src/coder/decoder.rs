// SPDX-License-Identifier: Apache-2.0
//! The decoder of one stream.
//!
//! Whatever arrives, it gives a picture or an error. A damaged or missing tile is concealed: the
//! picture before, moved as it moved last. A tile whose symbols cannot be read because its contexts
//! were lost goes on with motion and z only, until contexts start afresh. After missing frames decoding
//! goes on from the last picture. All this is reported ([`Decoded::intact`]), until a key frame or a
//! recovery frame that arrives whole puts things right.
//!
//! What a frame is, which of its tiles can be read and what it is predicted from is decided here, on the
//! host; its pictures are made where they lie: in the host's memory ([`host`]) or on a GPU
//! ([`device`]).

mod device;
mod host;

use super::encoder::Timing;
use super::layout::{Layout, Tile};
use super::recovery::later;
use super::{CodecError, DecodeNet, Depth, LossReport, Picture, PlanesMut};
use crate::bitstream::{self, AccessUnit, FrameHeader, FrameType, LONG_TERM_SLOTS, SequenceHeader};
use crate::entropy::{self, TileHistory};
use crate::loop_filter::FrameFilters;
use crate::motion::{Field, Vector, code};
use crate::residual::{self, code::Square};
use aivideo_core::engine::Engine;
use aivideo_core::model::hex;
use aivideo_cuda::picture::Frame;
use rayon::prelude::*;
use std::time::Instant;

pub use device::{Device, KERNELS};
pub use host::Host;

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
    /// CRC-32 of z, y, vectors, skip flags and levels, where asked for.
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

/// A long-term reference, whose picture lies with the others.
#[derive(Debug, Clone, Copy)]
struct Held {
    number: u16,
    /// It is what the encoder has, sample by sample (but for drift).
    intact: bool,
}

/// What depends on the sequence header.
#[derive(Debug)]
struct Stream {
    sequence: SequenceHeader,
    layout: Layout,
    /// The same for key frames, whose network may have other channels.
    key_layout: Layout,
    tiles: Vec<TileState>,
    pictures: Pictures,
    /// The last frame's motion: what is lost is taken to move on like that.
    vectors: Vec<Vector>,
    kept: [Option<Held>; LONG_TERM_SLOTS],
    last: u16,
    /// There is a picture to predict from.
    ready: bool,
    intact: bool,
}

/// The pictures of a stream and the networks' state, of either depth on the host, or on a GPU.
#[derive(Debug)]
pub enum Pictures {
    Eight(Box<Host<u8>>),
    Ten(Box<Host<u16>>),
    Device(Box<Device>),
}

/// Runs `$body` with `$pictures` bound to what is inside, wherever that lies.
macro_rules! any {
    ($value:expr, $pictures:ident => $body:expr) => {
        match $value {
            Pictures::Eight($pictures) => $body,
            Pictures::Ten($pictures) => $body,
            Pictures::Device($pictures) => $body,
        }
    };
}

/// All that makes a frame's picture from those before.
struct Coded<'a> {
    key: bool,
    quality: u8,
    z: Vec<i8>,
    y: Vec<i16>,
    field: &'a Field,
    network_quality: u8,
    /// The loop filter of a key frame's network.
    key_filters: Option<&'a FrameFilters>,
    /// The loop filter behind the residual, and the set that the frame names.
    filter: Option<(&'a FrameFilters, u8)>,
    /// Levels of the residual, by tile.
    residual: &'a [Vec<Square>],
}

/// Decodes the access units of one stream.
#[derive(Debug)]
pub struct Decoder {
    net: DecodeNet,
    on_gpu: bool,
    hash_symbols: bool,
    stream: Option<Stream>,
}

/// One tile's symbols.
struct TileSymbols {
    z: Vec<i8>,
    y: Vec<i16>,
    vectors: Vec<Vector>,
    skip: Vec<bool>,
    residual: Vec<Square>,
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
            residual: Vec::new(),
            damaged: true,
            concealed: true,
        }
    }
}

impl Decoder {
    pub fn new(net: DecodeNet, hash_symbols: bool) -> Self {
        Self {
            net,
            on_gpu: false,
            hash_symbols,
            stream: None,
        }
    }

    /// A decoder whose pictures stay in the memory of the GPU that the network runs on: only symbols go
    /// there. It starts [`KERNELS`].
    pub fn on_gpu(net: DecodeNet, hash_symbols: bool) -> Self {
        Self {
            on_gpu: true,
            ..Self::new(net, hash_symbols)
        }
    }

    pub fn net(&self) -> &DecodeNet {
        &self.net
    }

    /// The stream's description, once a key frame has come.
    pub fn sequence(&self) -> Option<&SequenceHeader> {
        self.stream.as_ref().map(|stream| &stream.sequence)
    }

    /// There is a picture that the next frame can be predicted from.
    pub fn is_ready(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.ready)
    }

    /// Waits for a key frame, as after a seek.
    pub fn restart(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.restart();
        }
    }

    /// What the encoder should know after a loss.
    pub fn report(&self) -> LossReport {
        self.stream
            .as_ref()
            .map_or_else(LossReport::default, Stream::report)
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
        self.stream = Some(Stream::new(&self.net, sequence, self.on_gpu)?);
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
        let mut decoded = stream.decode(&self.net, &unit, self.hash_symbols)?;
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
        stream.check_output(S::BITS, (out.width, out.height))?;
        match &stream.pictures {
            Pictures::Device(device) => device.download::<S>()?.crop(out),
            host => {
                if let Some(host) = S::host(host) {
                    host.picture().crop(out);
                }
            }
        }
        Ok(())
    }

    /// The last picture at its coded size, if the stream has this depth and its pictures lie on the host.
    pub fn reconstruction<S: Depth>(&self) -> Option<&Picture<S>> {
        S::host(&self.stream.as_ref()?.pictures).map(Host::picture)
    }

    /// What runs the stream's network of frames that are not key frames, where its pictures lie on that
    /// one's GPU.
    pub fn device_engine(&self) -> Option<&Engine> {
        let stream = self.stream.as_ref()?;
        match stream.pictures {
            Pictures::Device(_) => Some(self.net.engine_for(stream.sequence.bit_depth)),
            _ => None,
        }
    }

    /// Starts all that brings the last picture, at the display size, to a frame in the memory of that GPU.
    ///
    /// # Safety
    /// The frame's planes must be memory of the GPU of [`Decoder::device_engine`] and live until its stream
    /// was waited for.
    #[allow(unsafe_code)] // the caller's promise is passed on
    pub unsafe fn show(&self, frame: &Frame) -> Result<(), CodecError> {
        let stream = self.stream.as_ref().ok_or(CodecError::NeedsKey)?;
        let Pictures::Device(device) = &stream.pictures else {
            return Err(CodecError::Device(
                "the pictures lie in the host's memory".to_owned(),
            ));
        };
        stream.check_output(device.bits(), (frame.width as usize, frame.height as usize))?;
        // SAFETY: the caller's promise.
        unsafe { device.show(frame) }
    }
}

impl Stream {
    fn new(net: &DecodeNet, sequence: SequenceHeader, on_gpu: bool) -> Result<Self, CodecError> {
        let size = (usize::from(sequence.width), usize::from(sequence.height));
        let layout = net.layout(size, sequence.tile_rows_64.into());
        let key_layout = net.of(true).layout(size, sequence.tile_rows_64.into());
        let bits = sequence.bit_depth;
        let pictures = match (on_gpu, bits) {
            (true, _) => Pictures::Device(Box::new(Device::new(net, &layout, &key_layout, bits)?)),
            (false, 10) => Pictures::Ten(Box::new(Host::new(net, &layout)?)),
            (false, _) => Pictures::Eight(Box::new(Host::new(net, &layout)?)),
        };
        Ok(Self {
            tiles: layout
                .tiles
                .iter()
                .map(|tile| TileState {
                    history: TileHistory::new(&tile.shape),
                    sound: true,
                })
                .collect(),
            pictures,
            vectors: vec![Vector::ZERO; layout.parts()],
            kept: Default::default(),
            last: 0,
            ready: false,
            intact: false,
            sequence,
            layout,
            key_layout,
        })
    }

    /// Whether pictures of this depth and size can be given.
    fn check_output(&self, bits: u8, got: (usize, usize)) -> Result<(), CodecError> {
        let sequence = &self.sequence;
        if sequence.bit_depth != bits {
            return Err(CodecError::PictureDepth {
                expected: sequence.bit_depth,
                got: bits,
            });
        }
        let expected = (sequence.width.into(), sequence.height.into());
        if got != expected {
            return Err(CodecError::PictureSize { expected, got });
        }
        Ok(())
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
        let stays = self.begin(&header)?;
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
            self.decode_tiles(net, unit, stays, hash_symbols)?
        };
        self.end(&header)?;
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

    /// The place of a long-term reference.
    fn held_at(&self, number: u16) -> Option<usize> {
        let is = |kept: &Option<Held>| kept.is_some_and(|k| k.number == number);
        self.kept.iter().position(is)
    }

    /// Prepares what the frame is predicted from. True where that is not the picture before, of which tiles
    /// that are lost then stay.
    fn begin(&mut self, header: &FrameHeader) -> Result<bool, CodecError> {
        let mut stays = false;
        match header.frame_type {
            FrameType::Key => {
                stays = self.ready;
                self.kept = Default::default();
                self.intact = true;
            }
            FrameType::Recovery => {
                let kept = self.held_at(header.reference_number);
                match kept.and_then(|slot| self.kept[slot].map(|kept| (slot, kept.intact))) {
                    Some((slot, intact)) => {
                        stays = self.ready;
                        self.intact = intact;
                        any!(&mut self.pictures, pictures => pictures.recall(slot))?;
                    }
                    // It is not here: the last picture must do.
                    None => self.intact = false,
                }
            }
            FrameType::Inter | FrameType::Skip => {}
        }
        if header.is_key() || header.state_reset {
            any!(&mut self.pictures, pictures => pictures.reset_state())?;
        }
        if header.fresh_contexts() {
            for tile in &mut self.tiles {
                tile.history.reset();
                tile.sound = true;
            }
        }
        Ok(stays)
    }

    /// Keeps the frame where it says so.
    fn end(&mut self, header: &FrameHeader) -> Result<(), CodecError> {
        self.last = header.frame_number;
        self.ready = true;
        let slot = header.long_term.map(usize::from);
        if let Some(slot) = slot.filter(|slot| *slot < LONG_TERM_SLOTS) {
            any!(&mut self.pictures, pictures => pictures.keep(slot))?;
            self.kept[slot] = Some(Held {
                number: header.frame_number,
                intact: self.intact,
            });
        }
        Ok(())
    }

    fn decode_tiles(
        &mut self,
        net: &DecodeNet,
        unit: &AccessUnit<'_>,
        stays: bool,
        hash: bool,
    ) -> Result<Decoded, CodecError> {
        let start = Instant::now();
        let key = unit.header.frame_type == FrameType::Key;
        let quality = unit.header.quality;
        let layout = if key { &self.key_layout } else { &self.layout };
        let own_key = key && net.has_key();
        let all = &net.files().tables;
        let net = net.of(key);
        let tables = &net.files().tables;
        let filter = match (unit.header.filter, all.filters()) {
            (0, _) => None,
            (_, None) => {
                return Err(CodecError::Unsupported(
                    "a loop filter that its model lacks",
                ));
            }
            (number, Some(filters)) => Some((filters, number)),
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
                    sent.and_then(|sent| read_tile(tables, width, tile, sent, &unit.header, state));
                decoded.unwrap_or_else(|| {
                    state.sound = false;
                    TileSymbols::concealed(tile, before[tile.parts()].to_vec(), key)
                })
            };
        let mut tiles: Vec<TileSymbols> = layout
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

        let residual = tiles
            .iter_mut()
            .map(|tile| std::mem::take(&mut tile.residual));
        let residual: Vec<_> = residual.collect();
        let symbols = hash.then(|| super::hash_symbols(&z, &y, &field, &residual));
        let coded = Coded {
            key,
            quality,
            z,
            y,
            field: &field,
            network_quality: unit.header.network_quality(),
            key_filters: tables.filters().filter(|_| key),
            filter,
            residual: &residual,
        };
        let made = match &mut self.pictures {
            Pictures::Eight(host) => host.make(net, layout, coded, &mut timing),
            Pictures::Ten(host) => host.make(net, layout, coded, &mut timing),
            Pictures::Device(device) => device.make(layout, coded, &mut timing),
        };
        if let Err(error) = made {
            // Picture and state went with the failed call: wait for a key frame.
            self.ready = false;
            return Err(error);
        }
        if stays {
            let lost = layout.tiles.iter().zip(&tiles).filter(|(_, t)| t.damaged);
            let lost: Vec<&Tile> = lost.map(|(tile, _)| tile).collect();
            any!(&mut self.pictures, pictures => pictures.put_back(&lost))?;
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
    width: usize,
    tile: &Tile,
    sent: &bitstream::Tile<'_>,
    header: &FrameHeader,
    state: &mut TileState,
) -> Option<TileSymbols> {
    let blocks = tile.shape.blocks();
    let mut vectors = vec![Vector::ZERO; 4 * blocks];
    let mut skip = vec![false; blocks];
    if !header.is_key() {
        code::decode_tile(width, header.quality, sent.motion, &mut vectors, &mut skip).ok()?;
    }
    let z = entropy::decode_z(tables, &tile.shape, &skip, sent.z).ok()?;
    if skip.iter().all(|&skip| skip) {
        // There are no symbols, so nothing that was lost is a context of theirs, or of the next ones.
        state.history.reset();
        state.sound = true;
    }
    let y = if state.sound {
        entropy::decode_y(tables, &tile.shape, &z, &skip, sent.y, &mut state.history).ok()?
    } else {
        vec![0; tile.shape.y_len()]
    };
    // Without symbols it would add to something else, and could not be read.
    let residual = match state.sound {
        true => {
            let classes = residual::classes(blocks, &y, &skip);
            residual::code::decode_tile(width, &classes, header.quality, sent.residual).ok()?
        }
        false => Vec::new(),
    };
    Some(TileSymbols {
        residual,
        z,
        y,
        vectors,
        skip,
        damaged: false,
        concealed: !state.sound,
    })
}
