// SPDX-License-Identifier: Apache-2.0
//! The exact entropy coder: integers in, integers out, and no float anywhere.
//!
//! A tile has two streams. `z` (the hyper-latents) is coded with static tables chosen by channel and by a context
//! of what is already coded. `y` (the latents) is coded with static tables chosen by a scale index, which
//! is a part of `z` itself, moved by a number of the channel's own, and by a context of already coded neighbours. Both sides therefore pick
//! the same table on every device: nothing depends on how a network's floats were rounded.
//!
//! - [`tables`]: the tables' file, parsed with hostile input in mind;
//! - [`rans`]: the interleaved range asymmetric numeral system;
//! - [`symbols`]: order, contexts and escapes of the two streams.

pub mod rans;
pub mod symbols;
pub mod tables;

pub use symbols::{
    TileHistory, TileShape, coded_symbols, decode_y, decode_z, encode_y, encode_y_counting,
    encode_z,
};
pub use tables::{Table, Tables, TablesError};

/// Why a stream could not be decoded. It never says that memory ran out: the sizes come from the
/// sequence header, not from the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntropyError {
    #[error("the stream ends before its last symbol")]
    Truncated,
    #[error("the stream has {0} byte(s) after its last symbol")]
    TrailingBytes(usize),
    #[error("the coder's final state is wrong: the stream was damaged or made with other tables")]
    FinalState,
    #[error("an initial state below the coder's lower bound")]
    InitialState,
    #[error("an escaped value outside the symbol's range")]
    EscapeRange,
}
