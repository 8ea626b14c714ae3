// SPDX-License-Identifier: Apache-2.0
//! Where the key frames of a file are, and how long it lasts. Only headers are read.

use crate::bitstream::byte_stream::{MAX_HEADER, Scan, UnitHeader, UnitType, scan};

/// How much is read at once where the way has been lost, and first at the end of a file.
const PIECE: usize = 64 * 1024;
/// How far from the end the last unit is looked for.
const TAIL: usize = 8 << 20;

/// A key frame's place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFrame {
    pub pts: u64,
    pub offset: u64,
}

/// What is known of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// In the order of the file.
    pub keys: Vec<KeyFrame>,
    /// Where the last frame ends, in nanoseconds.
    pub end: Option<u64>,
    /// All of the file was seen.
    pub complete: bool,
}

impl Index {
    /// Goes from header to header through the `size` bytes that `read(offset, length)` gives.
    /// Where `go_on` gets impatient, the index remains incomplete, and only the end is looked at.
    pub fn build<B: AsRef<[u8]>>(
        size: u64,
        read: impl Fn(u64, usize) -> Option<B>,
        mut go_on: impl FnMut() -> bool,
    ) -> Self {
        let mut index = Self::default();
        let mut at = 0;
        while at < size {
            if !go_on() {
                index.end = last_end(size, &read).or(index.end);
                return index;
            }
            let data = read(at, MAX_HEADER);
            let header = data.and_then(|data| UnitHeader::parse(data.as_ref()).ok());
            let (header, header_size) = match header {
                Some(found) => found,
                None => {
                    let Some(data) = read(at, PIECE) else { break };
                    let data = data.as_ref();
                    match scan(data) {
                        Scan::Unit { skip, header, size } => {
                            at += skip as u64;
                            (header, size)
                        }
                        // Nothing more can come where the piece was not filled.
                        Scan::More { skip } if skip == 0 || data.len() < PIECE => break,
                        Scan::More { skip } => {
                            at += skip as u64;
                            continue;
                        }
                    }
                }
            };
            let next = at + (header_size + header.payload) as u64;
            if next > size {
                // Cut off: it will not be played.
                break;
            }
            if header.unit_type == UnitType::AccessUnit {
                index.add(&header, at);
            }
            at = next;
        }
        index.complete = true;
        index
    }

    fn add(&mut self, header: &UnitHeader, offset: u64) {
        let Some(pts) = header.pts else { return };
        if header.key {
            self.keys.push(KeyFrame { pts, offset });
        }
        let end = pts.saturating_add(header.duration.unwrap_or(0));
        self.end = self.end.max(Some(end));
    }

    /// The last key frame that is not after `pts`.
    pub fn before(&self, pts: u64) -> Option<KeyFrame> {
        self.keys
            .iter()
            .filter(|k| k.pts <= pts)
            .max_by_key(|k| k.pts)
            .copied()
    }
}

/// The end of the last whole frame, found without reading what is before.
fn last_end<B: AsRef<[u8]>>(size: u64, read: &impl Fn(u64, usize) -> Option<B>) -> Option<u64> {
    let mut length = PIECE;
    while length <= TAIL {
        let start = size.saturating_sub(length as u64);
        let data = read(start, (size - start) as usize)?;
        let mut rest = data.as_ref();
        let mut end = None;
        while let Scan::Unit { skip, header, size } = scan(rest) {
            let Some(next) = rest.get(skip + size + header.payload..) else {
                // A unit that is cut off, or a header that is none.
                rest = &rest[skip + 1..];
                continue;
            };
            if let Some(pts) = header.pts {
                end = end.max(Some(pts.saturating_add(header.duration.unwrap_or(0))));
            }
            rest = next;
        }
        if end.is_some() || start == 0 {
            return end;
        }
        length *= 4;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitstream::byte_stream::write_unit;
    use proptest::prelude::*;

    fn reader(data: &[u8]) -> impl Fn(u64, usize) -> Option<Vec<u8>> {
        |offset, length| {
            let rest = data
                .get(offset as usize..)
                .filter(|rest| !rest.is_empty())?;
            Some(rest[..length.min(rest.len())].to_vec())
        }
    }

    fn file(frames: u64, size: usize) -> (Vec<u8>, Vec<KeyFrame>) {
        let (mut data, mut keys) = (Vec::new(), Vec::new());
        for i in 0..frames {
            let key = i % 10 == 0;
            if key {
                keys.push(KeyFrame {
                    pts: i * 40,
                    offset: data.len() as u64,
                });
            }
            data.extend(write_unit(&vec![0; size], key, Some(i * 40), Some(40)));
        }
        (data, keys)
    }

    #[test]
    fn key_frames_and_the_end_are_found() {
        let (data, keys) = file(95, 1000);
        let index = Index::build(data.len() as u64, reader(&data), || true);
        assert_eq!(index.keys, keys);
        assert_eq!(index.end, Some(95 * 40));
        assert!(index.complete);
        assert_eq!(index.before(0), Some(keys[0]));
        assert_eq!(index.before(799), Some(keys[1]));
        assert_eq!(index.before(800), Some(keys[2]));
        assert_eq!(index.before(u64::MAX), keys.last().copied());
    }

    #[test]
    fn an_impatient_reader_still_gets_the_end() {
        for size in [1, 1000, 300_000] {
            let (data, _) = file(95, size);
            let mut steps = 3;
            let go_on = || {
                steps -= 1;
                steps > 0
            };
            let index = Index::build(data.len() as u64, reader(&data), go_on);
            assert_eq!(index.end, Some(95 * 40));
            assert!(!index.complete);
        }
    }

    #[test]
    fn garbage_and_cut_units_are_left_out() {
        let (data, keys) = file(30, 1000);
        let mut torn = vec![0xa1; 100_000];
        let before = torn.len() as u64;
        torn.extend(&data[..data.len() - 1]);
        let index = Index::build(torn.len() as u64, reader(&torn), || true);
        let moved: Vec<_> = keys
            .iter()
            .map(|k| KeyFrame {
                offset: k.offset + before,
                ..*k
            })
            .collect();
        assert_eq!(index.keys, moved);
        assert_eq!(index.end, Some(29 * 40));
    }

    proptest! {
        #[test]
        fn random_files_end(data in proptest::collection::vec(prop_oneof![Just(0xa1u8), Just(b'I'), any::<u8>()], 0..300)) {
            let index = Index::build(data.len() as u64, reader(&data), || true);
            prop_assert!(index.complete);
            let mut once = 2;
            Index::build(data.len() as u64, reader(&data), || { once -= 1; once > 0 });
        }
    }
}
