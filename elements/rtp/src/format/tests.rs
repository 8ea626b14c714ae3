// SPDX-License-Identifier: Apache-2.0
use super::*;
use aivideo_codec::bitstream::{
    AccessUnit, AccessUnitWriter, FrameHeader, FrameType, SequenceHeader, Tile,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

fn sequence() -> SequenceHeader {
    SequenceHeader {
        model_id: *b"modelone",
        tables_id: *b"tableone",
        tile_rows_64: 1,
        ..SequenceHeader::new(640, 480, (30, 1))
    }
}

fn frame(number: u16, key: bool, tiles: &[Vec<u8>]) -> Vec<u8> {
    let header = FrameHeader {
        frame_type: if key {
            FrameType::Key
        } else {
            FrameType::Inter
        },
        frame_number: number,
        reference_number: if key { number } else { number.wrapping_sub(1) },
        long_term: None,
        state_reset: key,
        context_reset: false,
        quality: 20,
        filter: 0,
        tile_count: tiles.len() as u16,
    };
    let mut writer = AccessUnitWriter::new(header, key.then_some(&sequence()));
    for (index, tile) in tiles.iter().enumerate() {
        let (motion, rest) = tile.split_at(tile.len() / 4);
        let (z, y) = rest.split_at(rest.len() / 3);
        writer.push_tile(&Tile::new(index as u16, [motion, z, y, b""]));
    }
    writer.finish()
}

fn cut(data: &[u8], max: usize, aggregation: Aggregation) -> Vec<Vec<u8>> {
    packetize(
        &AccessUnit::parse(data).unwrap(),
        &sequence(),
        max,
        aggregation,
    )
}

fn any_aggregation() -> impl Strategy<Value = Aggregation> {
    prop_oneof![
        Just(Aggregation::None),
        Just(Aggregation::Frame),
        Just(Aggregation::Tiles)
    ]
}

fn any_tiles() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(
        prop_oneof![Just(Vec::new()), vec(any::<u8>(), 0..3000)],
        1..8,
    )
}

/// The tile that a packet with one tile is about.
fn tile_of(packet: &[u8]) -> u8 {
    PacketHeader::parse(packet).unwrap().1[0]
}

proptest! {
    #[test]
    fn frames_return(tiles in any_tiles(), key: bool, max in MIN_PAYLOAD..2000, aggregation in any_aggregation()) {
        let data = frame(7, key, &tiles);
        let packets = cut(&data, max, aggregation);
        let mut assembler = Assembler::default();
        assembler.announce(sequence());
        for packet in &packets {
            prop_assert!(packet.len() <= max);
            prop_assert!(!assembler.begins_frame(1, packet));
            assembler.push(1, packet).unwrap();
        }
        let frame = assembler.finish().unwrap();
        prop_assert!(frame.whole);
        prop_assert_eq!(frame.data, data);
        prop_assert!(!assembler.is_pending());
    }

    #[test]
    fn a_lost_packet_costs_one_tile(tiles in any_tiles(), key: bool, max in MIN_PAYLOAD..2000, lost: Index) {
        let data = frame(7, key, &tiles);
        let packets = cut(&data, max, Aggregation::None);
        prop_assume!(packets.len() > 1);
        let lost = lost.index(packets.len());
        let mut assembler = Assembler::default();
        assembler.announce(sequence());
        for (i, packet) in packets.iter().enumerate() {
            if i != lost {
                // What follows a lost fragment is refused, and only that.
                let gap = tile_of(packet) == tile_of(&packets[lost]);
                prop_assert!(assembler.push(1, packet).is_ok() || gap);
            }
        }
        let frame = assembler.finish().unwrap();
        prop_assert!(!frame.whole);
        let (got, sent) = (AccessUnit::parse(&frame.data).unwrap(), AccessUnit::parse(&data).unwrap());
        prop_assert_eq!(got.header, sent.header);
        prop_assert_eq!(&got.sequence, &sent.sequence);
        for (got, sent) in got.tiles.iter().zip(&sent.tiles) {
            let lost = sent.unwrap().index == u16::from(tile_of(&packets[lost]));
            let right = if lost { got.is_err() } else { got == sent };
            prop_assert!(right);
        }
    }

    #[test]
    fn any_packets_in_any_order_do_no_harm(
        tiles in any_tiles(),
        max in MIN_PAYLOAD..600,
        order in vec((any::<Index>(), any::<Index>(), any::<u8>(), any::<bool>(), 0u32..2), 1..40),
    ) {
        let packets = cut(&frame(7, true, &tiles), max, Aggregation::Tiles);
        let mut assembler = Assembler::default();
        for (packet, at, change, cut, timestamp) in order {
            let mut packet = packet.get(&packets).clone();
            let at = at.index(packet.len());
            packet[at] ^= change;
            if cut {
                packet.truncate(at);
            }
            if assembler.begins_frame(timestamp, &packet) {
                let frame = assembler.finish().unwrap();
                prop_assert!(AccessUnit::parse(&frame.data).unwrap().is_whole() == frame.whole);
            }
            let _ = assembler.push(timestamp, &packet);
        }
        if let Some(frame) = assembler.finish() {
            prop_assert!(AccessUnit::parse(&frame.data).unwrap().is_whole() == frame.whole);
        }
    }

    #[test]
    fn random_packets_do_no_harm(packets in vec(vec(any::<u8>(), 0..80), 1..20), valid: bool) {
        let mut assembler = Assembler::default();
        assembler.announce(sequence());
        for mut packet in packets {
            if valid && packet.len() >= PacketHeader::SIZE {
                packet[0] = 0x40 | packet[0] & 0x30;
                packet[1] &= 1;
                packet[2] &= 63;
                packet[8..10].copy_from_slice(b"mo");
            }
            if assembler.begins_frame(0, &packet) {
                assembler.finish();
            }
            let _ = assembler.push(0, &packet);
        }
        assembler.finish();
    }
}

#[test]
fn a_small_frame_is_one_packet() {
    let data = frame(1, false, &[vec![1; 50], Vec::new(), vec![2; 50]]);
    assert_eq!(cut(&data, 1400, Aggregation::Frame).len(), 1);
    assert_eq!(cut(&data, 1400, Aggregation::None).len(), 3);
    let skip = FrameHeader {
        frame_type: FrameType::Skip,
        tile_count: 0,
        ..AccessUnit::parse(&data).unwrap().header
    };
    let data = AccessUnitWriter::new(skip, None).finish();
    let packets = cut(&data, 1400, Aggregation::None);
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0].len(), PacketHeader::SIZE);
}

#[test]
fn tiles_share_packets_where_allowed() {
    let data = frame(1, false, &vec![vec![1; 400]; 6]);
    assert_eq!(cut(&data, 1400, Aggregation::Frame).len(), 6);
    assert_eq!(cut(&data, 1400, Aggregation::Tiles).len(), 2);
}

/// Receivers of other versions rely on these bytes.
#[test]
fn the_bytes_are_these() {
    let data = frame(0x1234, false, &[b"mzzyyyyy".to_vec()]);
    let packets = cut(&data, 1400, Aggregation::Frame);
    let golden = [
        0x40, 1, 20, 1, 0x12, 0x34, 0x12, 0x33, b'm', b'o', // header
        0, 10, 2, 4, // tile and lengths, that of motion four times, and 2: z and y follow
    ];
    assert_eq!(packets[0][..14], golden);
    assert_eq!(packets[0][14..22], *b"mzzyyyyy");
    assert_eq!(packets[0].len(), 24);

    let packets = cut(
        &frame(0x1234, true, &[vec![7; 400]]),
        200,
        Aggregation::Frame,
    );
    assert_eq!(packets.len(), 3);
    assert_eq!(packets[0][..2], [0x58, 8]);
    assert_eq!(packets[0][10..60], sequence().write());
    // 134 bytes of the tile were in the first fragment.
    assert_eq!(packets[0].len(), 200);
    assert_eq!(packets[1][..2], [0x60, 8]);
    assert_eq!(packets[1][10..13], [0, 0x86, 0x01]);
    assert_eq!(packets[2][..2], [0x70, 8]);
}

#[test]
fn another_model_is_refused() {
    let data = frame(1, false, &[vec![1; 50]]);
    let mut other = sequence();
    other.model_id = *b"anothers";
    let mut assembler = Assembler::default();
    assembler.announce(other);
    let packet = &cut(&data, 1400, Aggregation::Frame)[0];
    let error = assembler.push(1, packet).unwrap_err();
    assert!(matches!(error, PacketError::Model { .. }));
    assert!(error.to_string().contains("same model"), "{error}");
}

#[test]
fn broken_references_are_seen() {
    let mut assembler = Assembler::default();
    let mut give = |timestamp, data: &[u8]| {
        for packet in cut(data, 1400, Aggregation::None) {
            assembler.push(timestamp, &packet)?;
        }
        Ok(assembler.finish().unwrap().is_damaged())
    };
    let tiles = [vec![1; 50], vec![2; 50]];
    assert_eq!(
        give(0, &frame(5, false, &tiles)),
        Err(PacketError::NoSequence)
    );
    assert_eq!(give(1, &frame(6, true, &tiles)), Ok(false));
    assert_eq!(give(2, &frame(7, false, &tiles)), Ok(false));
    // Frame 8 is lost.
    assert_eq!(give(3, &frame(9, false, &tiles)), Ok(true));
    assert_eq!(give(4, &frame(10, false, &tiles)), Ok(false));
    // A packet of a frame that is done.
    assert_eq!(give(4, &frame(10, false, &tiles)), Err(PacketError::Late));
}
