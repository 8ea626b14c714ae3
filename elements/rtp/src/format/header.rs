// SPDX-License-Identifier: Apache-2.0

use super::PacketError;
use aivideo_codec::bitstream::{FrameHeader, SequenceHeader};

const VERSION: u8 = 1;
const VERSION_SHIFT: u8 = 6;
const FRAGMENT_SHIFT: u8 = 4;
const SEQUENCE: u8 = 1 << 3;
const RESERVED: u8 = 0x07;

/// What of its tiles a packet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fragment {
    /// Any number of whole tiles.
    Whole = 0,
    /// The beginning of one tile.
    First = 1,
    Middle = 2,
    Last = 3,
}

impl Fragment {
    fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Whole,
            1 => Self::First,
            2 => Self::Middle,
            _ => Self::Last,
        }
    }
}

/// What every packet begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketHeader {
    pub fragment: Fragment,
    pub frame: FrameHeader,
    /// The model's first two bytes: tells a stream of another model before anything is decoded.
    pub model: [u8; 2],
    pub sequence: Option<SequenceHeader>,
}

impl PacketHeader {
    /// Bytes without the sequence header.
    pub const SIZE: usize = 10;

    /// Bytes of this header.
    pub fn size(&self) -> usize {
        Self::SIZE + self.sequence.as_ref().map_or(0, SequenceHeader::size)
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        let sequence = if self.sequence.is_some() { SEQUENCE } else { 0 };
        let frame = &self.frame;
        out.extend([
            VERSION << VERSION_SHIFT | (self.fragment as u8) << FRAGMENT_SHIFT | sequence,
            frame.flags(),
            frame.quality_byte(),
            // Bounded by the frame header's own rules.
            frame.tile_count as u8,
        ]);
        out.extend(frame.frame_number.to_be_bytes());
        out.extend(frame.reference_number.to_be_bytes());
        out.extend(self.model);
        if let Some(sequence) = &self.sequence {
            out.extend(sequence.write());
        }
    }

    /// Reads a header; also returns what follows.
    pub fn parse(payload: &[u8]) -> Result<(Self, &[u8]), PacketError> {
        let (header, mut rest) = payload
            .split_first_chunk::<{ Self::SIZE }>()
            .ok_or(PacketError::Truncated)?;
        let [first, flags, quality, tiles, n1, n0, r1, r0, m1, m0] = *header;
        if first >> VERSION_SHIFT != VERSION {
            return Err(PacketError::Version(first >> VERSION_SHIFT));
        }
        if first & RESERVED != 0 {
            return Err(PacketError::Reserved);
        }
        let (number, reference) = (u16::from_be_bytes([n1, n0]), u16::from_be_bytes([r1, r0]));
        let frame = FrameHeader::from_fields(flags, quality, number, reference, tiles.into())?;
        let model = [m1, m0];
        let mut sequence = None;
        if first & SEQUENCE != 0 {
            let (parsed, size) = SequenceHeader::parse(rest)?;
            if !frame.is_key() || parsed.model_id[..2] != model {
                return Err(PacketError::Contradiction);
            }
            rest = &rest[size..];
            sequence = Some(parsed);
        }
        let header = Self {
            fragment: Fragment::from_bits(first >> FRAGMENT_SHIFT),
            frame,
            model,
            sequence,
        };
        Ok((header, rest))
    }
}
