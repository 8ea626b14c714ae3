// SPDX-License-Identifier: Apache-2.0
//! User data in AV1 streams: metadata OBUs of ITU-T T.35 (AV1 specification, sections 5.3, 5.8 and
//! 6.7).
//!
//! The private types of metadata that the specification leaves to users would be the obvious place,
//! but the parser of GStreamer 1.22 throws frames with unknown types away.

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const METADATA: u8 = 5;
/// The type of metadata, a country code that announces an extension, and one that no country has.
/// What follows begins with a UUID, so that nobody mistakes it.
const HEAD: [u8; 3] = [4, 0xff, 0xff];

/// A unit of a temporal unit: its type, where it begins, and where its payload lies.
struct Unit {
    kind: u8,
    start: usize,
    payload: std::ops::Range<usize>,
}

/// A number in groups of seven bits, the lowest first, and its length.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, i + 1));
        }
    }
    None
}

fn put_leb128(mut value: usize, out: &mut Vec<u8>) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// The units up to the first that makes no sense.
fn units(stream: &[u8]) -> Vec<Unit> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(header) = stream.get(at) {
        let kind = header >> 3 & 15;
        let mut payload = at + 1 + usize::from(header & 4 != 0);
        let end = if header & 2 == 0 {
            // Without a size it reaches to the end.
            stream.len()
        } else {
            let Some((size, length)) = stream.get(payload..).and_then(leb128) else {
                break;
            };
            payload += length;
            payload.saturating_add(size)
        };
        if header & 0x80 != 0 || payload > end || end > stream.len() {
            break;
        }
        found.push(Unit {
            kind,
            start: at,
            payload: payload..end,
        });
        at = end;
    }
    found
}

/// The temporal unit with the user data in front of its first frame. None where there is none.
pub fn insert(stream: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let frame = units(stream)
        .into_iter()
        .find(|unit| ![SEQUENCE_HEADER, TEMPORAL_DELIMITER, METADATA].contains(&unit.kind))?;
    let mut out = Vec::with_capacity(stream.len() + data.len() + 8);
    out.extend(&stream[..frame.start]);
    out.push(METADATA << 3 | 2);
    put_leb128(HEAD.len() + data.len() + 1, &mut out);
    out.extend(HEAD);
    out.extend(data);
    out.push(0x80);
    out.extend(&stream[frame.start..]);
    Some(out)
}

/// All user data of a temporal unit.
pub fn find(stream: &[u8]) -> Vec<Vec<u8>> {
    units(stream)
        .into_iter()
        .filter(|unit| unit.kind == METADATA)
        .filter_map(|unit| {
            let payload = stream[unit.payload].strip_prefix(&HEAD)?;
            // Trailing bits: a one, and zeros.
            let last = payload.iter().rposition(|byte| *byte != 0)?;
            (payload[last] == 0x80).then(|| payload[..last].to_vec())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A delimiter, a sequence header, and a frame.
    fn temporal_unit() -> Vec<u8> {
        let mut out = vec![0x12, 0x00, 0x0a, 0x03, 1, 2, 3, 0x32];
        put_leb128(300, &mut out);
        out.extend((0..300).map(|i| i as u8));
        out
    }

    proptest! {
        #[test]
        fn what_is_inserted_is_found_and_the_rest_stays(data in proptest::collection::vec(any::<u8>(), 0..600)) {
            let before = temporal_unit();
            let after = insert(&before, &data).unwrap();
            prop_assert_eq!(find(&after), vec![data]);
            let kinds: Vec<u8> = units(&after).iter().map(|unit| unit.kind).collect();
            prop_assert_eq!(kinds, vec![2, 1, 5, 6]);
            prop_assert!(after.ends_with(&before[7..]));
        }

        #[test]
        fn no_stream_is_too_strange(stream in any::<Vec<u8>>()) {
            let _ = find(&stream);
            let _ = insert(&stream, b"data");
        }
    }

    #[test]
    fn sizes_that_overflow_are_refused() {
        let mut stream = vec![0x32];
        stream.extend([0xff; 7]);
        stream.push(0x7f);
        assert!(find(&stream).is_empty() && insert(&stream, b"x").is_none());
    }
}
