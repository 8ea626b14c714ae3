// SPDX-License-Identifier: Apache-2.0
//! CRC-32 (IEEE 802.3), whole or its low half.

use super::Tile;

pub(super) fn crc32(data: &[u8]) -> u32 {
    crc32fast::hash(data)
}

/// For headers, and for tiles, whose streams have a check of their own: the entropy coder's last states.
pub(super) fn crc16(data: &[u8]) -> u16 {
    crc32(data) as u16
}

/// What follows a tile's payload. The frame's number and the tile's index are covered too, so that
/// a tile that was put into the wrong place is seen.
pub fn tile_checksum(frame_number: u16, tile: &Tile<'_>) -> u16 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame_number.to_le_bytes());
    hasher.update(&tile.index.to_le_bytes());
    for stream in tile.streams() {
        hasher.update(stream);
    }
    hasher.finalize() as u16
}
