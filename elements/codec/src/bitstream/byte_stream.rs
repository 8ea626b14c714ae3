// SPDX-License-Identifier: Apache-2.0
//! Access units one after the other, as in an `.aic` file or a pipe.
//!
//! Every unit has a header with a mark and a checksum, so that a reader finds its way back after
//! garbage. A file begins with a key frame's unit; any concatenation of files is a file.

use super::checksum::crc16;
use super::{BitstreamError, Reader, push_varint};

/// First bytes of every unit.
pub const MAGIC: [u8; 3] = [0xa1, b'I', b'C'];
/// No unit is longer.
pub const MAX_PAYLOAD: u32 = 1 << 26;
/// Most bytes of a unit's header.
pub const MAX_HEADER: usize = 3 + 1 + 4 + 10 + 10 + 2;
const WHAT: &str = "unit's header";

const TYPE: u8 = 0x0f;
const ACCESS_UNIT: u8 = 1;
const KEY: u8 = 1 << 4;
const PTS: u8 = 1 << 5;
const DURATION: u8 = 1 << 6;
const RESERVED: u8 = 1 << 7;

/// What is in a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitType {
    AccessUnit,
    /// Something of a later version; to be passed over.
    Other(u8),
}

/// The header of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitHeader {
    pub unit_type: UnitType,
    /// Decoding can start here.
    pub key: bool,
    /// Bytes of what follows the header.
    pub payload: usize,
    /// Nanoseconds.
    pub pts: Option<u64>,
    pub duration: Option<u64>,
}

impl UnitHeader {
    /// Reads a header from the front of `data`; also returns its size.
    pub fn parse(data: &[u8]) -> Result<(Self, usize), BitstreamError> {
        let mut reader = Reader::new(data, WHAT);
        if data.iter().zip(&MAGIC).any(|(a, b)| a != b) {
            return Err(BitstreamError::Mark(WHAT));
        }
        reader.bytes(MAGIC.len())?;
        let flags = reader.u8()?;
        if flags & RESERVED != 0 {
            return Err(BitstreamError::Value {
                what: "byte of flags",
                value: flags.into(),
            });
        }
        let payload = reader.length(MAX_PAYLOAD)?;
        let pts = (flags & PTS != 0).then(|| reader.varint()).transpose()?;
        let duration = (flags & DURATION != 0)
            .then(|| reader.varint())
            .transpose()?;
        let sum = crc16(&data[..reader.position()]);
        if reader.u16()? != sum {
            return Err(BitstreamError::Checksum(WHAT));
        }
        let header = Self {
            unit_type: match flags & TYPE {
                ACCESS_UNIT => UnitType::AccessUnit,
                other => UnitType::Other(other),
            },
            key: flags & KEY != 0,
            payload,
            pts,
            duration,
        };
        Ok((header, reader.position()))
    }

    fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend(MAGIC);
        let mut flags = match self.unit_type {
            UnitType::AccessUnit => ACCESS_UNIT,
            UnitType::Other(other) => other & TYPE,
        };
        for (flag, set) in [
            (KEY, self.key),
            (PTS, self.pts.is_some()),
            (DURATION, self.duration.is_some()),
        ] {
            if set {
                flags |= flag;
            }
        }
        out.push(flags);
        push_varint(out, self.payload as u64);
        for time in [self.pts, self.duration].into_iter().flatten() {
            push_varint(out, time);
        }
        let sum = crc16(&out[start..]);
        out.extend(sum.to_le_bytes());
    }
}

/// Frames one access unit. Times are in nanoseconds.
///
/// # Panics
/// Where the access unit is longer than [`MAX_PAYLOAD`], which no picture needs.
pub fn write_unit(
    access_unit: &[u8],
    key: bool,
    pts: Option<u64>,
    duration: Option<u64>,
) -> Vec<u8> {
    assert!(access_unit.len() <= MAX_PAYLOAD as usize);
    let mut out = Vec::with_capacity(MAX_HEADER + access_unit.len());
    let header = UnitHeader {
        unit_type: UnitType::AccessUnit,
        key,
        payload: access_unit.len(),
        pts,
        duration,
    };
    header.write(&mut out);
    out.extend_from_slice(access_unit);
    out
}

/// What is found at the front of a stream that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// A unit begins after `skip` bytes of garbage: its header has `size` bytes.
    Unit {
        skip: usize,
        header: UnitHeader,
        size: usize,
    },
    /// These bytes are garbage; at what follows, more data are needed to tell.
    More { skip: usize },
}

/// Looks for the next unit. Every byte is looked at a bounded number of times.
pub fn scan(data: &[u8]) -> Scan {
    let mut at = 0;
    while let Some(found) = data[at..].iter().position(|b| *b == MAGIC[0]) {
        at += found;
        match UnitHeader::parse(&data[at..]) {
            Ok((header, size)) => {
                return Scan::Unit {
                    skip: at,
                    header,
                    size,
                };
            }
            Err(BitstreamError::Truncated(_)) => return Scan::More { skip: at },
            Err(_) => at += 1,
        }
    }
    Scan::More { skip: data.len() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    type Unit = (Vec<u8>, bool, Option<u64>, Option<u64>);

    fn any_units() -> impl Strategy<Value = Vec<Unit>> {
        vec(
            (
                vec(any::<u8>(), 0..300),
                any::<bool>(),
                any::<Option<u64>>(),
                any::<Option<u64>>(),
            ),
            0..5,
        )
    }

    /// All whole units of `data`, reading what has come so far in pieces of `chunk`.
    fn read_all(data: &[u8], chunk: usize) -> (Vec<Unit>, usize) {
        let (mut units, mut garbage, mut at, mut end) = (Vec::new(), 0, 0, 0);
        loop {
            match scan(&data[at..end]) {
                Scan::Unit { skip, header, size } if at + skip + size + header.payload <= end => {
                    garbage += skip;
                    at += skip + size;
                    let payload = data[at..at + header.payload].to_vec();
                    at += header.payload;
                    units.push((payload, header.key, header.pts, header.duration));
                    continue;
                }
                Scan::Unit { skip, .. } | Scan::More { skip } => {
                    garbage += skip;
                    at += skip;
                }
            }
            if end == data.len() {
                return (units, garbage);
            }
            end = (end + chunk).min(data.len());
        }
    }

    proptest! {
        #[test]
        fn units_return_in_any_pieces(units in any_units(), chunk in 1usize..400) {
            let data: Vec<u8> = units.iter().flat_map(|(p, k, t, d)| write_unit(p, *k, *t, *d)).collect();
            prop_assert_eq!(read_all(&data, chunk), (units, 0));
        }

        #[test]
        fn garbage_is_passed_over(units in any_units(), garbage in vec(vec(prop_oneof![Just(0xa1u8), Just(b'I'), any::<u8>()], 1..60), 6)) {
            let mut data = garbage[0].clone();
            for ((p, k, t, d), garbage) in units.iter().zip(&garbage[1..]) {
                data.extend(write_unit(p, *k, *t, *d));
                data.extend(garbage);
            }
            prop_assert_eq!(read_all(&data, 7).0, units);
        }

        #[test]
        fn random_bytes_do_no_harm(data in vec(prop_oneof![Just(0xa1u8), Just(b'I'), Just(b'C'), any::<u8>()], 0..300)) {
            if let Scan::Unit { skip, header, size } = scan(&data) {
                let mut again = Vec::new();
                header.write(&mut again);
                prop_assert_eq!(&again, &data[skip..skip + size]);
            }
        }
    }

    /// The stream's format is a promise: files that were written must stay readable.
    #[test]
    fn the_bytes_are_these() {
        let mut golden = vec![0xa1, b'I', b'C', 0x71, 3, 0xc0, 0x84, 0x3d, 0x90, 0x4e];
        golden.extend(crc16(&golden).to_le_bytes());
        golden.extend(b"abc");
        assert_eq!(
            write_unit(b"abc", true, Some(1_000_000), Some(10_000)),
            golden
        );
        assert_eq!(
            write_unit(b"", false, None, None)[..5],
            [0xa1, b'I', b'C', 1, 0]
        );
    }

    #[test]
    fn the_longest_header_fits() {
        let header = UnitHeader {
            unit_type: UnitType::AccessUnit,
            key: true,
            payload: MAX_PAYLOAD as usize,
            pts: Some(u64::MAX),
            duration: Some(u64::MAX),
        };
        let mut out = Vec::new();
        header.write(&mut out);
        assert_eq!(out.len(), MAX_HEADER);
        assert_eq!(UnitHeader::parse(&out), Ok((header, MAX_HEADER)));
    }
}
