// SPDX-License-Identifier: Apache-2.0

/// Why headers could not be read. A damaged tile is a [`TileError`] instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BitstreamError {
    #[error("the data ends inside of the {0}")]
    Truncated(&'static str),
    #[error("this is not a {0}: it does not begin with its mark")]
    Mark(&'static str),
    #[error("the checksum of the {0} is wrong: it was damaged")]
    Checksum(&'static str),
    #[error("version {0} of the stream's syntax; this program knows version {known}", known = super::VERSION)]
    Version(u8),
    #[error("the {what} is {value}, which is not allowed")]
    Value { what: &'static str, value: u64 },
    #[error("a number in the {0} is not written in its shortest form")]
    Number(&'static str),
    #[error("{0} byte(s) after the last tile")]
    TrailingBytes(usize),
}

/// A tile that cannot be used. The others can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("tile {index} {fault}")]
pub struct TileError {
    pub index: u16,
    pub fault: TileFault,
}

/// What happened to a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TileFault {
    #[error("is missing")]
    Missing,
    #[error("is cut off")]
    Truncated,
    #[error("is damaged")]
    Checksum,
}
