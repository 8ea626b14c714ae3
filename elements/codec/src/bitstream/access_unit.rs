// SPDX-License-Identifier: Apache-2.0
//! One coded frame: a header with a directory of its tiles, then the tiles.

use super::checksum::{crc16, tile_checksum};
use super::{BitstreamError, Reader, SequenceHeader, TileError, TileFault, VERSION, push_varint};

/// Most tiles of a frame: rows of 64 in the highest picture.
pub const MAX_TILES: u16 = super::MAX_SIZE / 64;
/// Best quality.
pub const MAX_QUALITY: u8 = 63;
/// Most that the network of a key frame is told, unless its header says that there is no such limit.
pub const KEY_NETWORK_QUALITY: u8 = 24;

/// First byte of every access unit: a mark, and the version.
pub(super) const MARK: u8 = 0xa0 | VERSION;
/// No part of a tile may be longer: more than its samples would take uncompressed.
const MAX_PART: u32 = 1 << 28;
const WHAT: &str = "access unit's header";

/// Place of the filter in the quality's byte.
const FILTER_SHIFT: u32 = 6;
const LONG_TERM: u8 = 1 << 2;
const STATE_RESET: u8 = 1 << 3;
const SEQUENCE: u8 = 1 << 4;
const FILLER: u8 = 1 << 7;
const CONTEXT_RESET: u8 = 1 << 5;
const LONG_TERM_SLOT: u8 = 1 << 6;
/// In the byte of tiles, which has their number less one: not all of them are here.
const SOME_MISSING: u8 = 1 << 7;
/// Places for long-term references.
pub const LONG_TERM_SLOTS: usize = 2;

/// What a frame is predicted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameType {
    /// Nothing: decoding can start here.
    Key = 0,
    /// The frame before.
    Inter = 1,
    /// It repeats the frame before and has no tiles.
    Skip = 2,
    /// The long-term reference `reference_number`, after a loss.
    Recovery = 3,
}

impl FrameType {
    fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Key,
            1 => Self::Inter,
            2 => Self::Skip,
            _ => Self::Recovery,
        }
    }

    /// The number of the frame that such a frame refers to; none where only the header says it.
    pub fn reference(self, frame_number: u16) -> Option<u16> {
        match self {
            Self::Key => Some(frame_number),
            Self::Inter | Self::Skip => Some(frame_number.wrapping_sub(1)),
            Self::Recovery => None,
        }
    }
}

/// The frame's own fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    pub frame_type: FrameType,
    pub frame_number: u16,
    /// What [`FrameType::reference`] says, where it says one.
    pub reference_number: u16,
    /// This frame is to be kept as a long-term reference, in this place (below
    /// [`LONG_TERM_SLOTS`]).
    pub long_term: Option<u8>,
    /// The learned state and the entropy coder's history start afresh.
    pub state_reset: bool,
    /// The entropy coder's history starts afresh: the tiles can be read whatever was lost before. In a key frame, where it does anyway: the network's quality
    /// is the frame's.
    pub context_reset: bool,
    /// 0 (worst) to [`MAX_QUALITY`].
    pub quality: u8,
    /// The set of the [loop filter](crate::loop_filter), 1 to 3; 0: the frame is not filtered.
    pub filter: u8,
    /// Tiles that the encoder made of this frame, whether or not they arrived.
    pub tile_count: u16,
}

impl FrameHeader {
    /// The flags' byte, without the bit for a sequence header.
    pub fn flags(&self) -> u8 {
        let mut flags = self.frame_type as u8;
        if let Some(slot) = self.long_term {
            flags |= LONG_TERM;
            if slot != 0 {
                flags |= LONG_TERM_SLOT;
            }
        }
        if self.state_reset {
            flags |= STATE_RESET;
        }
        if self.context_reset {
            flags |= CONTEXT_RESET;
        }
        flags
    }

    /// Quality and filter in a byte.
    pub fn quality_byte(&self) -> u8 {
        self.quality | self.filter << FILTER_SHIFT
    }

    /// The opposite of [`FrameHeader::flags`] and [`FrameHeader::quality_byte`], with all that must hold checked.
    pub fn from_fields(
        flags: u8,
        quality_byte: u8,
        frame_number: u16,
        reference_number: u16,
        tile_count: u16,
    ) -> Result<Self, BitstreamError> {
        let value = |what, value: u16| BitstreamError::Value {
            what,
            value: value.into(),
        };
        let known = 3 | LONG_TERM | LONG_TERM_SLOT | STATE_RESET | CONTEXT_RESET;
        if flags & !known != 0 || flags & (LONG_TERM | LONG_TERM_SLOT) == LONG_TERM_SLOT {
            return Err(value("byte of flags", flags.into()));
        }
        let frame_type = FrameType::from_bits(flags);
        let (quality, filter) = (quality_byte & MAX_QUALITY, quality_byte >> FILTER_SHIFT);
        if frame_type == FrameType::Skip && filter != 0 {
            return Err(value("filter of a skip frame", filter.into()));
        }
        let tiles_fit = match frame_type {
            FrameType::Skip => tile_count == 0,
            _ => (1..=MAX_TILES).contains(&tile_count),
        };
        if !tiles_fit {
            return Err(value("number of tiles", tile_count));
        }
        Ok(Self {
            frame_type,
            frame_number,
            reference_number,
            long_term: (flags & LONG_TERM != 0).then_some(u8::from(flags & LONG_TERM_SLOT != 0)),
            state_reset: flags & STATE_RESET != 0,
            context_reset: flags & CONTEXT_RESET != 0,
            quality,
            filter,
            tile_count,
        })
    }

    pub fn is_key(&self) -> bool {
        self.frame_type == FrameType::Key
    }

    /// What the network is told of the quality. In key frames it says a coarse picture, and the residual the rest, which takes fewer bits than what
    /// the network would need for it; unless there is none.
    pub fn network_quality(&self) -> u8 {
        match self.is_key() && !self.context_reset {
            true => self.quality.min(KEY_NETWORK_QUALITY),
            false => self.quality,
        }
    }

    /// True where the tiles' symbols do not depend on frames before.
    pub fn fresh_contexts(&self) -> bool {
        let restart = matches!(self.frame_type, FrameType::Key | FrameType::Recovery);
        restart || self.state_reset || self.context_reset
    }
}

/// One tile's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile<'a> {
    pub index: u16,
    pub motion: &'a [u8],
    pub z: &'a [u8],
    pub y: &'a [u8],
    pub residual: &'a [u8],
}

impl<'a> Tile<'a> {
    /// With motion, z, y and residual.
    pub fn new(index: u16, [motion, z, y, residual]: [&'a [u8]; 4]) -> Self {
        Self {
            index,
            motion,
            z,
            y,
            residual,
        }
    }

    /// In the order in which they are sent.
    pub fn streams(&self) -> [&'a [u8]; 4] {
        [self.motion, self.z, self.y, self.residual]
    }

    /// True where all streams are empty; such a tile has no checksum.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the streams.
    pub fn len(&self) -> usize {
        self.streams().map(<[u8]>::len).iter().sum()
    }

    /// Appends the lengths of the streams; those of z and y, and that of the residual, only where there are any, as the first says.
    pub fn write_lengths(&self, out: &mut Vec<u8>) {
        let [motion, z, y, residual] = self.streams().map(|stream| stream.len() as u64);
        let network = z + y > 0;
        push_varint(
            out,
            4 * motion + 2 * u64::from(network) + u64::from(residual > 0),
        );
        if network {
            push_varint(out, z);
            push_varint(out, y);
        }
        if residual > 0 {
            push_varint(out, residual);
        }
    }

    /// Appends the streams and their checksum.
    pub fn write_payload(&self, frame_number: u16, out: &mut Vec<u8>) {
        if self.is_empty() {
            return;
        }
        for stream in self.streams() {
            out.extend_from_slice(stream);
        }
        out.extend(tile_checksum(frame_number, self).to_le_bytes());
    }
}

/// Where a tile's streams are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileLengths {
    motion: usize,
    z: usize,
    y: usize,
    residual: usize,
}

impl TileLengths {
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, BitstreamError> {
        let empty = |what| BitstreamError::Value { what, value: 0 };
        let first = reader.length(4 * MAX_PART + 3)?;
        let (mut z, mut y, mut residual) = (0, 0, 0);
        if first & 2 != 0 {
            (z, y) = (reader.length(MAX_PART)?, reader.length(MAX_PART)?);
            if z + y == 0 {
                return Err(empty("length of z and y"));
            }
        }
        if first & 1 != 0 {
            residual = reader.length(MAX_PART)?;
            if residual == 0 {
                return Err(empty("length of a residual"));
            }
        }
        Ok(Self {
            motion: first / 4,
            z,
            y,
            residual,
        })
    }

    /// Bytes of the streams and their checksum.
    pub fn total(&self) -> usize {
        match self.motion + self.z + self.y + self.residual {
            0 => 0,
            streams => streams + 2,
        }
    }

    /// Cuts the streams out of `payload`, which must be [`TileLengths::total`] long.
    pub fn cut<'a>(
        &self,
        frame_number: u16,
        index: u16,
        payload: &'a [u8],
    ) -> Result<Tile<'a>, TileError> {
        let error = |fault| TileError { index, fault };
        if payload.len() != self.total() {
            return Err(error(TileFault::Truncated));
        }
        let (motion, rest) = payload.split_at(self.motion);
        let (z, rest) = rest.split_at(self.z);
        let (y, rest) = rest.split_at(self.y);
        let (residual, sum) = rest.split_at(self.residual);
        let tile = Tile::new(index, [motion, z, y, residual]);
        if !sum.is_empty() && tile_checksum(frame_number, &tile).to_le_bytes() != sum {
            return Err(error(TileFault::Checksum));
        }
        Ok(tile)
    }
}

/// All of an access unit but its tiles. Reading it costs little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnitHead {
    pub header: FrameHeader,
    pub sequence: Option<SequenceHeader>,
    directory: Vec<(u16, TileLengths)>,
    /// Bytes without meaning may follow the tiles.
    filler: bool,
    size: usize,
}

impl AccessUnitHead {
    /// Reads the head at the front of `data`. It is protected by a checksum of its own: what is
    /// returned is what was written.
    pub fn parse(data: &[u8]) -> Result<Self, BitstreamError> {
        let mut reader = Reader::new(data, WHAT);
        let mark = reader.u8()?;
        if mark & 0xf0 != MARK & 0xf0 {
            return Err(BitstreamError::Mark(WHAT));
        }
        if mark != MARK {
            return Err(BitstreamError::Version(mark & 0x0f));
        }
        let flags = reader.u8()?;
        let quality = reader.u8()?;
        let frame_number = reader.u16()?;
        let frame_type = FrameType::from_bits(flags);
        let reference_number = match frame_type.reference(frame_number) {
            Some(number) => number,
            None => reader.u16()?,
        };
        let (mut tile_count, mut present, mut gaps) = (0, 0, false);
        if frame_type != FrameType::Skip {
            let tiles = reader.u8()?;
            tile_count = u16::from(tiles & !SOME_MISSING) + 1;
            gaps = tiles & SOME_MISSING != 0;
            present = match gaps {
                true => reader.u8()?.into(),
                false => tile_count,
            };
        }
        let sequence = match flags & SEQUENCE {
            0 => None,
            _ => {
                let (sequence, size) = SequenceHeader::parse(reader.rest())?;
                reader.bytes(size)?;
                Some(sequence)
            }
        };
        let mut directory = Vec::with_capacity(present.into());
        let mut next = 0u16;
        for _ in 0..present {
            let gap = if gaps { reader.u8()? } else { 0 };
            let index = next.saturating_add(gap.into());
            if index >= tile_count {
                return Err(BitstreamError::Value {
                    what: "tile's index",
                    value: index.into(),
                });
            }
            directory.push((index, TileLengths::read(&mut reader)?));
            next = index + 1;
        }
        let sum = crc16(&data[..reader.position()]);
        if reader.u16()? != sum {
            return Err(BitstreamError::Checksum(WHAT));
        }
        let filler = flags & FILLER != 0;
        let flags = flags & !(SEQUENCE | FILLER);
        let header =
            FrameHeader::from_fields(flags, quality, frame_number, reference_number, tile_count)?;
        if sequence.is_some() && !header.is_key() {
            return Err(BitstreamError::Value {
                what: "frame type beside a sequence header",
                value: header.frame_type as u64,
            });
        }
        Ok(Self {
            header,
            sequence,
            directory,
            filler,
            size: reader.position(),
        })
    }

    /// Bytes of the whole access unit, without filler.
    pub fn total_size(&self) -> usize {
        let tiles = self.directory.iter().map(|(_, lengths)| lengths.total());
        tiles.fold(self.size, usize::saturating_add)
    }
}

/// One coded frame, taken apart.
#[derive(Debug, Clone)]
pub struct AccessUnit<'a> {
    pub header: FrameHeader,
    pub sequence: Option<SequenceHeader>,
    /// All tiles of the frame in their order, `header.tile_count` of them.
    pub tiles: Vec<Result<Tile<'a>, TileError>>,
}

impl<'a> AccessUnit<'a> {
    /// Strict with the headers, tolerant with the tiles: each is good or bad by itself.
    pub fn parse(data: &'a [u8]) -> Result<Self, BitstreamError> {
        let head = AccessUnitHead::parse(data)?;
        let number = head.header.frame_number;
        let missing = |index| {
            Err(TileError {
                index,
                fault: TileFault::Missing,
            })
        };
        let mut tiles: Vec<_> = (0..head.header.tile_count).map(missing).collect();
        let mut rest = &data[head.size..];
        for &(index, lengths) in &head.directory {
            let payload;
            (payload, rest) = rest.split_at(lengths.total().min(rest.len()));
            tiles[usize::from(index)] = lengths.cut(number, index, payload);
        }
        if !rest.is_empty() && !head.filler {
            return Err(BitstreamError::TrailingBytes(rest.len()));
        }
        Ok(Self {
            header: head.header,
            sequence: head.sequence,
            tiles,
        })
    }

    /// True where every tile is there and sound.
    pub fn is_whole(&self) -> bool {
        self.tiles.iter().all(Result::is_ok)
    }
}

/// Puts an access unit together.
#[derive(Debug)]
pub struct AccessUnitWriter {
    header: FrameHeader,
    sequence: Option<SequenceHeader>,
    /// Of each tile: how many before it are left out, and its lengths.
    directory: Vec<(u8, Vec<u8>)>,
    next: u16,
    payload: Vec<u8>,
}

impl AccessUnitWriter {
    /// A key frame should have its sequence header, other frames must not.
    pub fn new(header: FrameHeader, sequence: Option<&SequenceHeader>) -> Self {
        debug_assert!(sequence.is_none() || header.is_key());
        debug_assert!(
            header.tile_count <= MAX_TILES && header.quality <= MAX_QUALITY && header.filter <= 3
        );
        let reference = header.frame_type.reference(header.frame_number);
        debug_assert!(reference.is_none_or(|number| number == header.reference_number));
        Self {
            header,
            sequence: sequence.cloned(),
            directory: Vec::new(),
            next: 0,
            payload: Vec::new(),
        }
    }

    /// Appends a tile. One that was lost is left out.
    ///
    /// # Panics
    /// Where indices do not grow or are not below `tile_count`: the caller's own mistake, which
    /// would give a stream that no one can read.
    pub fn push_tile(&mut self, tile: &Tile<'_>) {
        let index = tile.index;
        assert!(
            index >= self.next && index < self.header.tile_count,
            "tile {index} out of order: {} to {} can follow",
            self.next,
            self.header.tile_count
        );
        let mut lengths = Vec::with_capacity(8);
        tile.write_lengths(&mut lengths);
        self.directory.push(((index - self.next) as u8, lengths));
        tile.write_payload(self.header.frame_number, &mut self.payload);
        self.next = index + 1;
    }

    /// All but the tiles.
    fn head(&self, filled: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + SequenceHeader::LARGEST + 8 * self.directory.len());
        let mut flags = self.header.flags();
        if self.sequence.is_some() {
            flags |= SEQUENCE;
        }
        if filled {
            flags |= FILLER;
        }
        out.extend([MARK, flags, self.header.quality_byte()]);
        out.extend(self.header.frame_number.to_le_bytes());
        if self.header.frame_type == FrameType::Recovery {
            out.extend(self.header.reference_number.to_le_bytes());
        }
        let gaps = self.directory.len() < usize::from(self.header.tile_count);
        if self.header.frame_type != FrameType::Skip {
            let tiles = (self.header.tile_count - 1) as u8;
            match gaps {
                true => out.extend([tiles | SOME_MISSING, self.directory.len() as u8]),
                false => out.push(tiles),
            }
        }
        if let Some(sequence) = &self.sequence {
            out.extend(sequence.write());
        }
        for (gap, lengths) in &self.directory {
            if gaps {
                out.push(*gap);
            }
            out.extend(lengths);
        }
        out.extend(crc16(&out).to_le_bytes());
        out
    }

    /// Bytes of what [`AccessUnitWriter::finish`] gives.
    pub fn size(&self) -> usize {
        self.head(false).len() + self.payload.len()
    }

    pub fn finish(self) -> Vec<u8> {
        self.finish_filled(0)
    }

    /// Appends so many bytes of filler, which readers pass over.
    pub fn finish_filled(self, filler: usize) -> Vec<u8> {
        let mut out = self.head(filler > 0);
        out.reserve(self.payload.len() + filler);
        out.extend(self.payload);
        out.resize(out.len() + filler, 0);
        out
    }
}

#[cfg(test)]
mod tests;
