// SPDX-License-Identifier: Apache-2.0
//! The syntax of the coded stream, as `docs/bitstream.md` specifies it.
//!
//! - [`SequenceHeader`]: what a decoder must know before the first frame; also `codec_data`;
//! - [`AccessUnit`]: one coded frame, cut into tiles that are each protected by a checksum;
//! - [`byte_stream`]: units of a file or a pipe, with time stamps and resynchronisation;
//! - [`caps`]: how all this is told to GStreamer.
//!
//! Everything here reads what strangers wrote: errors are returned, nothing panics, and no
//! allocation is larger than the input that asks for it.

mod access_unit;
pub mod byte_stream;
pub mod caps;
mod checksum;
mod color;
mod error;
mod light;
mod reader;
mod sequence;

pub use access_unit::{
    AccessUnit, AccessUnitHead, AccessUnitWriter, FrameHeader, FrameType, LONG_TERM_SLOTS,
    MAX_QUALITY, MAX_TILES, Tile, TileLengths,
};
pub use checksum::tile_checksum;
pub use color::Color;
pub use error::{BitstreamError, TileError, TileFault};
pub use light::{Light, Mastering};
pub use reader::Reader;
pub use sequence::{Chroma, MAX_SIZE, MIN_SIZE, SequenceHeader, Tier, VERSION};

/// Appends `value` with seven bits in a byte, the lowest first; the top bit says that more follow.
pub fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
