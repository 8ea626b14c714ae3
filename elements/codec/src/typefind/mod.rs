// SPDX-License-Identifier: Apache-2.0
//! Recognises `.aic` files by the mark and the checksum of their first unit.

use crate::bitstream::byte_stream::{MAX_HEADER, UnitHeader};
use crate::bitstream::caps::{NAME, StreamFormat};
use gst::{TypeFind, TypeFindProbability};

/// The shortest unit that can be told: its header and the mark of an access unit.
const SHORTEST: u32 = 8;

fn find(typefind: &mut TypeFind) {
    // Less can be had of files that are shorter than the longest header.
    let probability = (SHORTEST..=MAX_HEADER as u32 + 1)
        .rev()
        .find_map(|size| typefind.peek(0, size).map(recognise))
        .flatten();
    if let Some(probability) = probability {
        typefind.suggest(probability, &caps());
    }
}

/// How sure it is that a file which begins so is one of ours.
fn recognise(data: &[u8]) -> Option<TypeFindProbability> {
    let (_, size) = UnitHeader::parse(data).ok()?;
    // A unit of a later version is ours too, whatever is in it.
    Some(match data.get(size) {
        Some(0xa0..=0xaf) => TypeFindProbability::Maximum,
        _ => TypeFindProbability::Likely,
    })
}

fn caps() -> gst::Caps {
    gst::Caps::builder(NAME)
        .field("stream-format", StreamFormat::ByteStream.name())
        .build()
}

pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    TypeFind::register(
        plugin,
        "aicodec",
        gst::Rank::PRIMARY,
        Some("aic"),
        Some(&caps()),
        find,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitstream::byte_stream::write_unit;

    #[test]
    fn units_are_recognised() {
        let unit = write_unit(&[0xa1, 0, 0], true, Some(1), None);
        assert_eq!(recognise(&unit), Some(TypeFindProbability::Maximum));
        let unit = write_unit(b"something new", true, Some(1), None);
        assert_eq!(recognise(&unit), Some(TypeFindProbability::Likely));
    }

    #[test]
    fn other_data_are_not() {
        let unit = write_unit(&[0xa1, 0, 0], true, Some(1), None);
        assert_eq!(recognise(&unit[1..]), None);
        assert_eq!(recognise(&unit[..6]), None);
        assert_eq!(recognise(b"\xa1ICa plain text that begins so"), None);
    }
}
