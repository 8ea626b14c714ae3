// SPDX-License-Identifier: Apache-2.0
//! User data in H.264 and H.265 streams of start codes (ITU-T H.264 and H.265, annexes B and D):
//! SEI messages of type 5, "user data unregistered".

/// Which of the two syntaxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    H264,
    H265,
}

const USER_DATA_UNREGISTERED: usize = 5;

impl Syntax {
    fn nal_type(self, nal: &[u8]) -> Option<u8> {
        let first = *nal.first()?;
        Some(match self {
            Self::H264 => first & 0x1f,
            Self::H265 => first >> 1 & 0x3f,
        })
    }

    fn is_picture(self, kind: u8) -> bool {
        match self {
            Self::H264 => (1..=5).contains(&kind),
            Self::H265 => kind < 32,
        }
    }

    /// The header of an SEI unit in front of a picture.
    fn sei_header(self) -> &'static [u8] {
        match self {
            Self::H264 => &[0x06],
            Self::H265 => &[39 << 1, 1],
        }
    }
}

/// Where units begin and end, without their start codes.
fn units(stream: &[u8]) -> Vec<std::ops::Range<usize>> {
    let starts: Vec<usize> = (0..stream.len().saturating_sub(2))
        .filter(|i| stream[*i..*i + 3] == [0, 0, 1])
        .map(|i| i + 3)
        .collect();
    starts
        .iter()
        .enumerate()
        .map(|(index, start)| {
            let end = starts.get(index + 1).map_or(stream.len(), |next| next - 3);
            *start..end.max(*start)
        })
        .collect()
}

/// Bytes of a unit's payload so that no start code is among them.
fn escape(payload: &[u8], out: &mut Vec<u8>) {
    let mut zeros = 0;
    for byte in payload {
        if zeros == 2 && *byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        out.push(*byte);
    }
}

fn unescape(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len());
    let mut zeros = 0;
    for byte in payload {
        if zeros == 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        out.push(*byte);
    }
    out
}

/// A number as SEI messages have it: bytes of 255, and the rest.
fn number(bytes: &mut &[u8]) -> Option<usize> {
    let mut sum = 0usize;
    loop {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        sum += usize::from(*first);
        if *first != 255 {
            return Some(sum);
        }
    }
}

/// The stream of an access unit with the user data in front of its first picture. None where there
/// is no picture.
pub fn insert(stream: &[u8], syntax: Syntax, data: &[u8]) -> Option<Vec<u8>> {
    let picture = units(stream).into_iter().find(|unit| {
        syntax
            .nal_type(&stream[unit.clone()])
            .is_some_and(|k| syntax.is_picture(k))
    })?;
    // The start code may have a fourth byte.
    let mut at = picture.start - 3;
    if at > 0 && stream[at - 1] == 0 {
        at -= 1;
    }
    let mut payload = vec![USER_DATA_UNREGISTERED as u8];
    let mut length = data.len();
    while length >= 255 {
        payload.push(255);
        length -= 255;
    }
    payload.push(length as u8);
    payload.extend(data);
    payload.push(0x80);
    let mut out = Vec::with_capacity(stream.len() + payload.len() + 16);
    out.extend(&stream[..at]);
    out.extend([0, 0, 0, 1]);
    out.extend(syntax.sei_header());
    escape(&payload, &mut out);
    out.extend(&stream[at..]);
    Some(out)
}

/// All user data of an access unit.
pub fn find(stream: &[u8], syntax: Syntax) -> Vec<Vec<u8>> {
    let header = syntax.sei_header();
    let kind = syntax.nal_type(header);
    let mut found = Vec::new();
    for unit in units(stream) {
        let unit = &stream[unit];
        if syntax.nal_type(unit) != kind || unit.len() < header.len() {
            continue;
        }
        let payload = unescape(&unit[header.len()..]);
        let mut rest = payload.as_slice();
        // What follows the last message begins with a one and zeros.
        while rest.len() > 2 {
            let (Some(kind), Some(length)) = (number(&mut rest), number(&mut rest)) else {
                break;
            };
            if length > rest.len() {
                break;
            }
            let (data, behind) = rest.split_at(length);
            if kind == USER_DATA_UNREGISTERED {
                found.push(data.to_vec());
            }
            rest = behind;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Parameter sets, another SEI, and a picture.
    fn access_unit(syntax: Syntax) -> Vec<u8> {
        let units: [&[u8]; 4] = match syntax {
            Syntax::H264 => [
                &[0x67, 1, 2],
                &[0x68, 3],
                &[0x06, 1, 1, 9, 0x80],
                &[0x65, 0x88, 7],
            ],
            Syntax::H265 => [
                &[0x40, 1, 7],
                &[0x42, 1, 8],
                &[0x4e, 1, 1, 1, 9, 0x80],
                &[0x26, 1, 0xaf],
            ],
        };
        units
            .iter()
            .flat_map(|unit| [&[0, 0, 0, 1], *unit].concat())
            .collect()
    }

    proptest! {
        #[test]
        fn what_is_inserted_is_found_and_the_rest_stays(
            data in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..600),
        ) {
            for syntax in [Syntax::H264, Syntax::H265] {
                let before = access_unit(syntax);
                let after = insert(&before, syntax, &data).unwrap();
                prop_assert_eq!(find(&after, syntax), vec![data.clone()]);
                // The picture comes last, as it was; nothing was lost.
                let old: Vec<&[u8]> = units(&before).into_iter().map(|u| &before[u]).collect();
                let new: Vec<&[u8]> = units(&after).into_iter().map(|u| &after[u]).collect();
                prop_assert_eq!(new.len(), old.len() + 1);
                prop_assert_eq!(new.last(), old.last());
                prop_assert_eq!(after.windows(3).filter(|w| *w == [0, 0, 1]).count(), 5);
            }
        }

        #[test]
        fn no_stream_is_too_strange(stream in proptest::collection::vec(prop_oneof![Just(0u8), Just(1u8), Just(6u8), Just(255u8), any::<u8>()], 0..200)) {
            for syntax in [Syntax::H264, Syntax::H265] {
                let _ = find(&stream, syntax);
                let _ = insert(&stream, syntax, b"data");
            }
        }
    }
}
