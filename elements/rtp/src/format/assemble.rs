// SPDX-License-Identifier: Apache-2.0

use super::{Fragment, PacketHeader};
use aivideo_codec::bitstream::{
    AccessUnitWriter, BitstreamError, FrameHeader, FrameType, Reader, SequenceHeader, TileLengths,
};
use std::collections::BTreeMap;

/// No access unit is longer: as in the byte stream.
const MAX_FRAME: usize = aivideo_codec::bitstream::byte_stream::MAX_PAYLOAD as usize;

/// Why a packet was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    #[error("the packet is too short")]
    Truncated,
    #[error("version {0} of the payload's format; this program knows version 1")]
    Version(u8),
    #[error("reserved bits are set")]
    Reserved,
    #[error("the packet contradicts itself or others of its frame")]
    Contradiction,
    #[error("a fragment before it is missing")]
    Gap,
    #[error("the frame has grown too large")]
    TooLarge,
    #[error("it comes after its frame was completed")]
    Late,
    #[error("the stream's description has not arrived: waiting for a key frame")]
    NoSequence,
    #[error(
        "it is of model {packet:02x?}, but the stream was announced with model {announced:02x?}: \
         sender and receiver must use the same model"
    )]
    Model { packet: [u8; 2], announced: [u8; 2] },
    #[error(transparent)]
    Bitstream(#[from] BitstreamError),
}

/// A frame with what arrived of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    pub data: Vec<u8>,
    pub header: FrameHeader,
    /// The description that is in force.
    pub sequence: SequenceHeader,
    /// All tiles are there and sound.
    pub whole: bool,
    /// The frame before it, which it is predicted from, was not given out.
    pub broken: bool,
}

impl Assembled {
    /// What is shown is not what was sent, until a key frame or a recovery frame.
    pub fn is_damaged(&self) -> bool {
        self.broken || !self.whole
    }
}

#[derive(Debug)]
struct Tile {
    lengths: TileLengths,
    data: Vec<u8>,
}

#[derive(Debug)]
struct Frame {
    timestamp: u32,
    header: FrameHeader,
    model: [u8; 2],
    tiles: BTreeMap<u8, Tile>,
    size: usize,
    /// The tile whose fragments are coming in.
    open: Option<u8>,
}

/// Puts frames together, packet by packet.
#[derive(Debug, Default)]
pub struct Assembler {
    sequence: Option<SequenceHeader>,
    frame: Option<Frame>,
    /// Timestamp and number of the frame that was given out last.
    last: Option<(u32, u16)>,
}

impl Assembler {
    /// Forgets everything but the stream's description.
    pub fn reset(&mut self) {
        self.frame = None;
        self.last = None;
    }

    /// What was announced outside of the stream.
    pub fn announce(&mut self, sequence: SequenceHeader) {
        self.sequence = Some(sequence);
    }

    /// True while packets of a frame wait for its last.
    pub fn is_pending(&self) -> bool {
        self.frame.is_some()
    }

    /// True where a packet of this timestamp belongs to another frame than the one that is pending,
    /// which must be given out first, by [`Assembler::finish`].
    pub fn begins_frame(&self, timestamp: u32, payload: &[u8]) -> bool {
        let number = match PacketHeader::parse(payload) {
            Ok((header, _)) => header.frame.frame_number,
            Err(_) => return false,
        };
        self.frame
            .as_ref()
            .is_some_and(|f| (f.timestamp, f.header.frame_number) != (timestamp, number))
    }

    /// Takes in a packet's payload. The frame is complete with the packet that has the marker bit.
    pub fn push(&mut self, timestamp: u32, payload: &[u8]) -> Result<(), PacketError> {
        let (header, body) = PacketHeader::parse(payload)?;
        if self.last == Some((timestamp, header.frame.frame_number)) {
            return Err(PacketError::Late);
        }
        let announced = header.sequence.as_ref().or(self.sequence.as_ref());
        let announced = announced.ok_or(PacketError::NoSequence)?;
        let [m1, m0, ..] = announced.model_id;
        if header.model != [m1, m0] {
            return Err(PacketError::Model {
                packet: header.model,
                announced: [m1, m0],
            });
        }
        let frame = self.frame.get_or_insert_with(|| Frame {
            timestamp,
            header: header.frame,
            model: header.model,
            tiles: BTreeMap::new(),
            size: 0,
            open: None,
        });
        if (frame.timestamp, frame.header, frame.model) != (timestamp, header.frame, header.model) {
            return Err(PacketError::Contradiction);
        }
        if header.sequence.is_some() {
            self.sequence = header.sequence;
        }
        match header.fragment {
            Fragment::Whole => frame.push_whole(body),
            Fragment::First => frame.push_first(body),
            Fragment::Middle => frame.push_next(body, false),
            Fragment::Last => frame.push_next(body, true),
        }
    }

    /// Gives out the frame that is pending.
    pub fn finish(&mut self) -> Option<Assembled> {
        let frame = self.frame.take()?;
        let header = frame.header;
        // No packet is taken in before the description is known.
        let sequence = self.sequence.clone()?;
        let mut writer = AccessUnitWriter::new(header, header.is_key().then_some(&sequence));
        let mut count = 0;
        for (index, tile) in &frame.tiles {
            let cut = tile
                .lengths
                .cut(header.frame_number, (*index).into(), &tile.data);
            if let Ok(tile) = cut {
                writer.push_tile(&tile);
                count += 1;
            }
        }
        let known = self.last.map(|(_, number)| number);
        self.last = Some((frame.timestamp, header.frame_number));
        Some(Assembled {
            data: writer.finish(),
            header,
            sequence,
            whole: count == header.tile_count,
            // A recovery frame is predicted from one that came long ago.
            broken: matches!(header.frame_type, FrameType::Inter | FrameType::Skip)
                && known != Some(header.reference_number),
        })
    }
}

impl Frame {
    /// Tiles of the packet must not be there yet, nor outside of the picture.
    fn index(&self, reader: &mut Reader<'_>) -> Result<u8, PacketError> {
        let index = reader.u8()?;
        if u16::from(index) >= self.header.tile_count {
            return Err(PacketError::Contradiction);
        }
        Ok(index)
    }

    fn grow(&mut self, count: usize) -> Result<(), PacketError> {
        self.size += count;
        if self.size > MAX_FRAME {
            return Err(PacketError::TooLarge);
        }
        Ok(())
    }

    fn push_whole(&mut self, body: &[u8]) -> Result<(), PacketError> {
        self.open = None;
        let mut reader = Reader::new(body, "packet");
        while !reader.rest().is_empty() {
            let index = self.index(&mut reader)?;
            let lengths = TileLengths::read(&mut reader)?;
            let data = reader.bytes(lengths.total())?.to_vec();
            self.grow(data.len())?;
            // The first of doublets is as good as the second.
            self.tiles.entry(index).or_insert(Tile { lengths, data });
        }
        Ok(())
    }

    fn push_first(&mut self, body: &[u8]) -> Result<(), PacketError> {
        let mut reader = Reader::new(body, "packet");
        let index = self.index(&mut reader)?;
        let lengths = TileLengths::read(&mut reader)?;
        let data = reader.rest().to_vec();
        self.open = None;
        if data.len() >= lengths.total() || self.tiles.contains_key(&index) {
            return Err(PacketError::Contradiction);
        }
        self.grow(data.len())?;
        self.tiles.insert(index, Tile { lengths, data });
        self.open = Some(index);
        Ok(())
    }

    fn push_next(&mut self, body: &[u8], last: bool) -> Result<(), PacketError> {
        let mut reader = Reader::new(body, "packet");
        let index = self.index(&mut reader)?;
        let offset = reader.varint()?;
        let data = reader.rest();
        if self.open != Some(index) {
            return Err(PacketError::Gap);
        }
        self.grow(data.len())?;
        let tile = self.tiles.get_mut(&index).ok_or(PacketError::Gap)?;
        if offset != tile.data.len() as u64 {
            self.open = None;
            return Err(PacketError::Gap);
        }
        let (total, end) = (tile.lengths.total(), tile.data.len() + data.len());
        if end > total || last != (end == total) {
            self.open = None;
            return Err(PacketError::Contradiction);
        }
        tile.data.extend_from_slice(data);
        if last {
            self.open = None;
        }
        Ok(())
    }
}
