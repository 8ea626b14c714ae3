// SPDX-License-Identifier: Apache-2.0
//! What is at the front of the input.

use crate::bitstream::byte_stream::{MAX_PAYLOAD, Scan, UnitHeader, UnitType, scan};
use crate::bitstream::{AccessUnit, BitstreamError, FrameHeader, SequenceHeader};
use std::ops::Range;

/// An access unit in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub payload: Range<usize>,
    pub header: FrameHeader,
    pub sequence: Option<SequenceHeader>,
    /// All tiles are there and sound.
    pub whole: bool,
    /// As the byte stream says.
    pub pts: Option<u64>,
    pub duration: Option<u64>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Frame(Found),
    /// Pass over so many bytes, because of this.
    Skip(usize, Reason),
    /// Nothing can be told from less than so many bytes.
    Need(usize),
}

/// Why bytes are passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("garbage")]
    Garbage,
    #[error("a unit of the unknown type {0}")]
    UnknownType(u8),
    #[error("a damaged access unit: {0}")]
    Damaged(BitstreamError),
}

fn found(data: &[u8], payload: Range<usize>) -> Result<Found, BitstreamError> {
    let unit = AccessUnit::parse(&data[payload.clone()])?;
    Ok(Found {
        payload,
        header: unit.header,
        whole: unit.is_whole(),
        sequence: unit.sequence,
        pts: None,
        duration: None,
    })
}

/// `data` is one access unit.
pub fn frame(data: &[u8]) -> Step {
    if data.len() > MAX_PAYLOAD as usize {
        // No unit of a byte stream could hold it, and no picture needs it.
        let error = BitstreamError::Value {
            what: "access unit's length",
            value: data.len() as u64,
        };
        return Step::Skip(data.len(), Reason::Damaged(error));
    }
    match found(data, 0..data.len()) {
        Ok(found) => Step::Frame(found),
        Err(error) => Step::Skip(data.len(), Reason::Damaged(error)),
    }
}

/// `data` is the front of a byte stream.
pub fn byte_stream(data: &[u8]) -> Step {
    let (header, size) = match scan(data) {
        Scan::Unit {
            skip: 0,
            header,
            size,
        } => (header, size),
        Scan::More { skip: 0 } => return Step::Need(data.len() + 1),
        Scan::Unit { skip, .. } | Scan::More { skip } => {
            return Step::Skip(skip, Reason::Garbage);
        }
    };
    let total = size + header.payload;
    if let UnitType::Other(other) = header.unit_type {
        return Step::Skip(total, Reason::UnknownType(other));
    }
    if data.len() < total {
        return Step::Need(total);
    }
    let (range, parsed) = access_unit(data, size..total);
    match parsed {
        Ok(parsed) => Step::Frame(Found {
            payload: range,
            pts: header.pts,
            duration: header.duration,
            ..parsed
        }),
        Err(error) => Step::Skip(range.end, Reason::Damaged(error)),
    }
}

/// Parses the access unit at `range`. Where bytes were lost, the unit ends where the next begins.
fn access_unit(data: &[u8], range: Range<usize>) -> (Range<usize>, Result<Found, BitstreamError>) {
    let parsed = found(data, range.clone());
    if parsed.as_ref().is_ok_and(|found| found.whole) {
        return (range, parsed);
    }
    let Some(next) = next_unit(&data[range.clone()]) else {
        return (range, parsed);
    };
    let cut = range.start..range.start + next;
    let parsed = found(data, cut.clone());
    (cut, parsed)
}

/// Where in a damaged unit's payload the next unit begins, if it does. A unit whose beginning only
/// may be here counts too: its header's checksum is enough.
fn next_unit(payload: &[u8]) -> Option<usize> {
    match scan(payload) {
        Scan::Unit { skip, header, .. } => {
            let UnitHeader { unit_type, .. } = header;
            (unit_type == UnitType::AccessUnit).then_some(skip)
        }
        Scan::More { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitstream::byte_stream::write_unit;
    use crate::bitstream::{AccessUnitWriter, FrameType, Tile};
    use proptest::prelude::*;

    fn inter(number: u16) -> Vec<u8> {
        let header = FrameHeader {
            frame_type: FrameType::Inter,
            frame_number: number,
            reference_number: number.wrapping_sub(1),
            long_term: None,
            state_reset: false,
            context_reset: false,
            quality: 1,
            filter: 0,
            tile_count: 2,
        };
        let mut writer = AccessUnitWriter::new(header, None);
        writer.push_tile(&Tile::new(0, [&[1; 30], &[2; 20], &[3; 50], b""]));
        writer.push_tile(&Tile::new(1, [&[4; 30], &[5; 20], &[6; 50], b""]));
        writer.finish()
    }

    #[test]
    fn lost_bytes_cost_one_frame() {
        let first = write_unit(&inter(1), false, Some(1), None);
        let second = write_unit(&inter(2), false, Some(2), None);
        // 40 bytes of the first unit's second tile are gone.
        let mut data = first[..first.len() - 60].to_vec();
        data.extend(&first[first.len() - 20..]);
        let start = data.len();
        data.extend(&second);
        let Step::Frame(found) = byte_stream(&data) else {
            panic!("the first tile is sound");
        };
        assert!(!found.whole);
        assert_eq!(found.payload.end, start);
        let Step::Frame(found) = byte_stream(&data[start..]) else {
            panic!("the second unit is sound");
        };
        assert!(found.whole);
        assert_eq!((found.header.frame_number, found.pts), (2, Some(2)));
    }

    #[test]
    fn a_damaged_head_costs_one_frame() {
        let mut data = write_unit(&inter(1), false, None, None);
        let start = data.len();
        let head = start - inter(1).len();
        data[head + 3] ^= 1;
        data.extend(write_unit(&inter(2), false, None, None));
        let error = BitstreamError::Checksum("access unit's header");
        assert_eq!(
            byte_stream(&data),
            Step::Skip(start, Reason::Damaged(error))
        );
    }

    proptest! {
        #[test]
        fn any_input_moves_on(data in proptest::collection::vec(prop_oneof![Just(0xa1u8), Just(b'I'), any::<u8>()], 0..200)) {
            match byte_stream(&data) {
                Step::Frame(found) => prop_assert!(found.payload.end <= data.len()),
                Step::Skip(count, _) => prop_assert!(count > 0),
                Step::Need(count) => prop_assert!(count > data.len()),
            }
        }
    }
}
