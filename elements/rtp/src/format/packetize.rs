// SPDX-License-Identifier: Apache-2.0

use super::{Fragment, PacketHeader};
use aivideo_codec::bitstream::{AccessUnit, SequenceHeader, Tile, push_varint};

/// Bytes of a tile's index and its lengths, at most.
const MAX_TILE_HEADER: usize = 1 + 4 * 5;
/// The smallest payload that always holds a header and some data.
pub const MIN_PAYLOAD: usize = PacketHeader::SIZE + SequenceHeader::LARGEST + MAX_TILE_HEADER + 1;

/// Which tiles may share a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aggregation {
    /// None: a lost packet costs at most one tile.
    None,
    /// All, where the whole frame fits into one packet; else none.
    #[default]
    Frame,
    /// All that are not cut, while they fit.
    Tiles,
}

/// Cuts an access unit into payloads of at most `max` bytes. Damaged tiles are left out.
///
/// # Panics
/// Where `max` is less than [`MIN_PAYLOAD`].
pub fn packetize(
    unit: &AccessUnit<'_>,
    sequence: &SequenceHeader,
    max: usize,
    aggregation: Aggregation,
) -> Vec<Vec<u8>> {
    assert!(max >= MIN_PAYLOAD);
    let [m1, m0, ..] = sequence.model_id;
    let mut packetizer = Packetizer {
        whole: PacketHeader {
            fragment: Fragment::Whole,
            frame: unit.header,
            model: [m1, m0],
            sequence: unit.header.is_key().then(|| sequence.clone()),
        },
        max,
        packets: Vec::new(),
        open: false,
    };
    let tiles = || unit.tiles.iter().flatten();
    let share = match aggregation {
        Aggregation::None => false,
        Aggregation::Tiles => true,
        Aggregation::Frame => {
            let tiles = tiles().map(|tile| whole_size(tile)).sum::<usize>();
            packetizer.whole.size() + tiles <= max
        }
    };
    for tile in tiles() {
        packetizer.push(tile);
        packetizer.open &= share;
    }
    if packetizer.packets.is_empty() {
        // A frame without tiles is a frame too.
        packetizer.start(Fragment::Whole);
    }
    packetizer.packets
}

/// Bytes that a whole tile takes in a packet.
fn whole_size(tile: &Tile<'_>) -> usize {
    let mut lengths = Vec::with_capacity(MAX_TILE_HEADER);
    tile.write_lengths(&mut lengths);
    let checksum = if tile.is_empty() { 0 } else { 4 };
    1 + lengths.len() + tile.len() + checksum
}

struct Packetizer {
    /// The header of packets that begin with a tile's beginning.
    whole: PacketHeader,
    max: usize,
    packets: Vec<Vec<u8>>,
    /// More whole tiles may be put into the last packet.
    open: bool,
}

impl Packetizer {
    fn start(&mut self, fragment: Fragment) -> &mut Vec<u8> {
        let begins = matches!(fragment, Fragment::Whole | Fragment::First);
        let header = PacketHeader {
            fragment,
            sequence: self.whole.sequence.clone().filter(|_| begins),
            ..self.whole.clone()
        };
        let mut packet = Vec::with_capacity(self.max);
        header.write(&mut packet);
        self.packets.push(packet);
        self.packets.last_mut().expect("just pushed")
    }

    fn push(&mut self, tile: &Tile<'_>) {
        let size = whole_size(tile);
        let max = self.max;
        // Bounded by the number of tiles in a frame header.
        let index = tile.index as u8;
        let mut lengths = Vec::with_capacity(MAX_TILE_HEADER);
        tile.write_lengths(&mut lengths);
        let number = self.whole.frame.frame_number;
        if self.whole.size() + size <= max {
            let fits = |packet: &&mut Vec<u8>| packet.len() + size <= max;
            let packet = match self.packets.last_mut().filter(|_| self.open).filter(fits) {
                Some(packet) => packet,
                None => self.start(Fragment::Whole),
            };
            packet.push(index);
            packet.extend(lengths);
            tile.write_payload(number, packet);
            self.open = true;
            return;
        }
        let mut data = Vec::with_capacity(tile.len() + 4);
        tile.write_payload(number, &mut data);
        let packet = self.start(Fragment::First);
        packet.push(index);
        packet.extend(lengths);
        // A whole tile did not fit, so there is a second fragment.
        let mut at = (max - packet.len()).min(data.len() - 1);
        packet.extend_from_slice(&data[..at]);
        while at < data.len() {
            let mut offset = vec![index];
            push_varint(&mut offset, at as u64);
            let room = max - PacketHeader::SIZE - offset.len();
            let end = data.len().min(at + room);
            let last = end == data.len();
            let packet = self.start(if last {
                Fragment::Last
            } else {
                Fragment::Middle
            });
            packet.extend(offset);
            packet.extend_from_slice(&data[at..end]);
            at = end;
        }
        self.open = false;
    }
}
