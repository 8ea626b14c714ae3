// SPDX-License-Identifier: Apache-2.0
use super::super::sequence::tests::{any_sequence, example};
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Frame {
    header: FrameHeader,
    sequence: Option<SequenceHeader>,
    /// What arrived.
    tiles: Vec<(u16, [Vec<u8>; 4])>,
}

fn tile(index: u16, streams: &[Vec<u8>; 4]) -> Tile<'_> {
    Tile::new(index, streams.each_ref().map(Vec::as_slice))
}

impl Frame {
    fn write(&self) -> Vec<u8> {
        let mut writer = AccessUnitWriter::new(self.header, self.sequence.as_ref());
        for (index, streams) in &self.tiles {
            writer.push_tile(&tile(*index, streams));
        }
        writer.finish()
    }
}

prop_compose! {
    fn any_frame()(
        kind in 0u8..4,
        numbers: (u16, u16),
        flags in (proptest::option::of(0u8..2), any::<bool>(), any::<bool>()),
        quality in 0..=MAX_QUALITY,
        filter in 0u8..4,
        sequence in proptest::option::of(any_sequence()),
        tiles in vec(proptest::option::weighted(0.8, [vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..200), vec(any::<u8>(), 0..9)]), 1..12),
    ) -> Frame {
        let frame_type = FrameType::from_bits(kind);
        let tiles = if frame_type == FrameType::Skip { Vec::new() } else { tiles };
        Frame {
            header: FrameHeader {
                frame_type,
                frame_number: numbers.0,
                reference_number: frame_type.reference(numbers.0).unwrap_or(numbers.1),
                long_term: flags.0,
                state_reset: flags.1,
                context_reset: flags.2,
                quality,
                filter: if frame_type == FrameType::Skip { 0 } else { filter },
                tile_count: tiles.len() as u16,
            },
            sequence: sequence.filter(|_| frame_type == FrameType::Key),
            tiles: tiles
                .into_iter()
                .enumerate()
                .filter_map(|(i, t)| Some((i as u16, t?)))
                .collect(),
        }
    }
}

proptest! {
    #[test]
    fn frames_return(frame in any_frame()) {
        let data = frame.write();
        prop_assert_eq!(AccessUnitHead::parse(&data).unwrap().total_size(), data.len());
        let unit = AccessUnit::parse(&data).unwrap();
        prop_assert_eq!(unit.header, frame.header);
        prop_assert_eq!(&unit.sequence, &frame.sequence);
        prop_assert_eq!(unit.tiles.len(), usize::from(frame.header.tile_count));
        let whole: Vec<_> = unit.tiles.iter().flatten().collect();
        prop_assert_eq!(whole.len(), frame.tiles.len());
        for (sent, (index, streams)) in whole.into_iter().zip(&frame.tiles) {
            prop_assert_eq!(*sent, tile(*index, streams));
        }
        for error in unit.tiles.iter().filter_map(|t| t.as_ref().err()) {
            prop_assert_eq!(error.fault, TileFault::Missing);
        }
    }

    #[test]
    fn a_changed_bit_costs_the_head_or_one_tile(frame in any_frame(), bit: prop::sample::Index) {
        let mut data = frame.write();
        let head = AccessUnitHead::parse(&data).unwrap().size;
        let bit = bit.index(data.len() * 8);
        data[bit / 8] ^= 1 << (bit % 8);
        match AccessUnit::parse(&data) {
            Err(_) => prop_assert!(bit / 8 < head),
            Ok(unit) => {
                prop_assert!(bit / 8 >= head);
                let damaged = unit.tiles.iter().filter(|t| matches!(t, Err(e) if e.fault == TileFault::Checksum));
                prop_assert_eq!(damaged.count(), 1);
            }
        }
    }

    #[test]
    fn a_truncated_unit_keeps_its_first_tiles(frame in any_frame(), cut: prop::sample::Index) {
        let data = frame.write();
        let head = AccessUnitHead::parse(&data).unwrap().size;
        let length = cut.index(data.len());
        match AccessUnit::parse(&data[..length]) {
            Err(error) => {
                prop_assert!(length < head, "{error}");
                prop_assert!(matches!(error, BitstreamError::Truncated(_)), "{error}");
            }
            Ok(unit) => {
                let whole = AccessUnit::parse(&data).unwrap();
                for (tile, whole) in unit.tiles.iter().zip(&whole.tiles) {
                    prop_assert!(tile == whole || matches!(tile, Err(e) if e.fault == TileFault::Truncated));
                }
            }
        }
    }

    #[test]
    fn random_bytes_do_no_harm(mut data in vec(any::<u8>(), 0..300), mark: bool, sum: prop::sample::Index) {
        if mark && !data.is_empty() {
            data[0] = MARK;
        }
        let _ = AccessUnit::parse(&data);
        // The same with a right checksum at some place, so that the checks behind it are reached.
        if data.len() > 9 {
            let at = 6 + sum.index(data.len() - 7);
            let crc = crc16(&data[..at]).to_le_bytes();
            data[at..at + 2].copy_from_slice(&crc);
            if let Ok(unit) = AccessUnit::parse(&data) {
                prop_assert!(unit.tiles.len() <= usize::from(MAX_TILES));
            }
        }
    }
}

fn header(frame_type: FrameType, tile_count: u16) -> FrameHeader {
    FrameHeader {
        frame_type,
        frame_number: 0x1234,
        reference_number: frame_type.reference(0x1234).unwrap_or(0x1200),
        long_term: None,
        state_reset: false,
        context_reset: false,
        quality: 33,
        filter: 0,
        tile_count,
    }
}

/// The stream's format is a promise: files that were written must stay readable.
#[test]
fn the_bytes_are_these() {
    let mut writer = AccessUnitWriter::new(header(FrameType::Inter, 4), None);
    writer.push_tile(&Tile::new(0, [b"m", b"zz", b"", b""]));
    writer.push_tile(&Tile::new(3, [b"", b"", b"", b""]));
    let crc16 = |data: &[u8]| (crc32fast::hash(data) as u16).to_le_bytes();
    let mut golden = vec![
        0xa8, 1, 33, 0x34, 0x12, 0x83, 2, // header: 4 tiles of which 2 are here
        0, 6, 2, 0, // tile 0: four times the length of motion, and z and y follow
        2, 0, // tile 3: two are left out; empty
    ];
    golden.extend(crc16(&golden));
    golden.extend(*b"mzz");
    golden.extend(crc16(b"\x34\x12\0\0mzz"));
    assert_eq!(writer.finish(), golden);

    // All tiles are here: one byte for their number, and no places.
    let mut writer = AccessUnitWriter::new(header(FrameType::Inter, 2), None);
    writer.push_tile(&Tile::new(0, [b"m", b"zz", b"", b""]));
    writer.push_tile(&Tile::new(1, [b"", b"", b"y", b"rrr"]));
    // The first length says which others there are.
    let mut golden = vec![0xa8, 1, 33, 0x34, 0x12, 1, 6, 2, 0, 3, 0, 1, 3];
    golden.extend(crc16(&golden));
    golden.extend(*b"mzz");
    golden.extend(crc16(b"\x34\x12\0\0mzz"));
    golden.extend(*b"yrrr");
    golden.extend(crc16(b"\x34\x12\x01\0yrrr"));
    assert_eq!(writer.finish(), golden);

    let recovery = FrameHeader {
        reference_number: 0x1201,
        ..header(FrameType::Recovery, 1)
    };
    let recovery = AccessUnitWriter::new(recovery, None).finish();
    assert_eq!(
        recovery[..9],
        [0xa8, 3, 33, 0x34, 0x12, 0x01, 0x12, 0x80, 0]
    );

    let key = AccessUnitWriter::new(header(FrameType::Key, 1), Some(&example())).finish();
    assert_eq!(key[..7], [0xa8, 0x10, 33, 0x34, 0x12, 0x80, 0]);
    assert_eq!(key[7..7 + SequenceHeader::SIZE], example().write());
}

#[test]
fn the_flags_are_these() {
    let recovery = FrameHeader {
        long_term: Some(1),
        context_reset: true,
        ..header(FrameType::Recovery, 1)
    };
    assert_eq!(recovery.flags(), 0b0110_0111);
    let key = FrameHeader {
        long_term: Some(0),
        state_reset: true,
        ..header(FrameType::Key, 1)
    };
    assert_eq!(key.flags(), 0b0000_1100);
    // A place without a mark, the bit of the sequence header, and one without a meaning.
    for flags in [0b0100_0001, 0b0001_0000, 0b1000_0001] {
        assert!(FrameHeader::from_fields(flags, 0, 0, 0, 1).is_err());
    }
}

#[test]
fn a_key_frames_network_has_a_limit_that_can_be_lifted() {
    let with = |frame_type, quality, context_reset| {
        let header = FrameHeader {
            quality,
            context_reset,
            ..header(frame_type, 1)
        };
        header.network_quality()
    };
    assert_eq!(with(FrameType::Key, 23, false), 23);
    assert_eq!(with(FrameType::Key, 63, false), 24);
    assert_eq!(with(FrameType::Key, 63, true), 63);
    assert_eq!(with(FrameType::Inter, 63, false), 63);
    assert_eq!(with(FrameType::Recovery, 63, true), 63);
}

#[test]
fn a_skipped_frame_is_seven_bytes() {
    let data = AccessUnitWriter::new(header(FrameType::Skip, 0), None).finish();
    assert_eq!(data.len(), 7);
    assert!(AccessUnit::parse(&data).unwrap().is_whole());
}

#[test]
fn streams_that_are_announced_are_there() {
    for (lengths, missing) in [(&[1, 0][..], "residual"), (&[2, 0, 0], "z and y")] {
        let mut data = vec![0xa8, 1, 33, 0, 0, 0];
        data.extend(lengths);
        data.extend(crc16(&data).to_le_bytes());
        let read = AccessUnit::parse(&data);
        assert!(matches!(read, Err(BitstreamError::Value { what, .. }) if what.contains(missing)));
    }
}

#[test]
fn lengths_cannot_ask_for_memory() {
    // A directory that promises gigabytes: nothing is allocated, all tiles are cut off.
    let mut data = vec![0xa8, 1, 33, 0, 0, 127];
    for _ in 0..128 {
        for part in [4 * MAX_PART + 3, MAX_PART, MAX_PART, MAX_PART] {
            push_varint(&mut data, part.into());
        }
    }
    data.extend(crc16(&data).to_le_bytes());
    let unit = AccessUnit::parse(&data).unwrap();
    assert!(
        unit.tiles
            .iter()
            .all(|t| matches!(t, Err(e) if e.fault == TileFault::Truncated))
    );
    // One more, and the length itself is refused.
    let mut data = vec![0xa8, 1, 33, 0, 0, 0];
    push_varint(&mut data, 4 * u64::from(MAX_PART) + 4);
    data.extend([0, 0, 0, 0, 0, 0]);
    assert!(matches!(
        AccessUnit::parse(&data),
        Err(BitstreamError::Value { .. })
    ));
}

#[test]
#[should_panic(expected = "out of order")]
fn the_writer_refuses_tiles_out_of_order() {
    let mut writer = AccessUnitWriter::new(header(FrameType::Inter, 4), None);
    writer.push_tile(&Tile::new(1, [b"", b"", b"", b""]));
    writer.push_tile(&Tile::new(1, [b"", b"", b"", b""]));
}

#[test]
fn filler_is_passed_over() {
    let header = FrameHeader {
        frame_type: FrameType::Inter,
        frame_number: 8,
        reference_number: 7,
        long_term: None,
        state_reset: false,
        context_reset: false,
        quality: 9,
        filter: 0,
        tile_count: 1,
    };
    let write = |filler| {
        let mut writer = AccessUnitWriter::new(header, None);
        writer.push_tile(&Tile::new(0, [b"m", b"zz", b"yyy", b""]));
        let size = writer.size();
        let data = writer.finish_filled(filler);
        assert_eq!(data.len(), size + filler);
        data
    };
    let (plain, filled) = (write(0), write(100));
    let (a, b) = (
        AccessUnit::parse(&plain).unwrap(),
        AccessUnit::parse(&filled).unwrap(),
    );
    assert_eq!((a.header, a.tiles), (b.header, b.tiles.clone()));
    assert!(b.is_whole());
    assert_eq!(
        AccessUnitHead::parse(&filled).unwrap().total_size(),
        plain.len()
    );
    // Without the mark they are an error, as before.
    let mut longer = plain;
    longer.push(0);
    assert_eq!(
        AccessUnit::parse(&longer).unwrap_err(),
        BitstreamError::TrailingBytes(1)
    );
}
