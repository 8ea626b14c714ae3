// SPDX-License-Identifier: Apache-2.0
//! The payload of RTP packets: cutting access units into packets, and putting them together again.
//!
//! Every packet begins with the frame's header, so that what arrives can be used whatever was lost.
//! A tile never shares a packet with others where it is cut into fragments.

mod assemble;
mod header;
mod packetize;

pub use assemble::{Assembled, Assembler, PacketError};
pub use header::{Fragment, PacketHeader};
pub use packetize::{Aggregation, MIN_PAYLOAD, packetize};

#[cfg(test)]
mod tests;
