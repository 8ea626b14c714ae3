// SPDX-License-Identifier: Apache-2.0
//! Encoder and decoder of one stream: pictures in, access units out, and back. No GStreamer element
//! code here.
//!
//! - [`model`]: the three files of a model (two networks, the entropy tables) and where they are;
//! - [`net`]: the two networks behind typed calls;
//! - [`fused`]: the same networks on a CPU, in kernels of our own;
//! - [`picture`]: pictures of the coded size (multiples of 64);
//! - [`depth`]: what differs between samples of eight and of ten bits;
//! - [`layout`]: tiles and their cut out of whole planes;
//! - [`decision`]: what a quality means to the search and to the skip decision;
//! - `refine`: the residual of whole pictures;
//! - [`recovery`]: long-term references, for after a loss;
//! - [`rate`]: which quality a frame gets; [`rated`]: an encoder under it;
//! - [`encoder`], [`decoder`], whose pictures lie on the host or on a GPU.

mod card;
pub mod decision;
pub mod decoder;
pub mod depth;
mod embedded;
pub mod encoder;
pub mod error;
pub mod fused;
pub mod layout;
pub mod model;
pub mod net;
pub mod picture;
pub mod rate;
pub mod rated;
pub mod recovery;
mod refine;

pub use decoder::{Decoded, Decoder};
pub use depth::Depth;
pub use encoder::{
    Attempt, Begun, Encoded, Encoder, EncoderSettings, Lesson, Prepared, Symbols, Unfiltered,
    Unwritten,
};
pub use error::CodecError;
pub use model::{ModelFiles, Side};
pub use net::{DecodeNet, EncodeNet};
pub use picture::{Picture, Planes, PlanesMut};
pub use rate::{RateControl, RateMode, RateSettings};
pub use rated::KeyFrames;
pub use recovery::{LossReport, RecoverySettings};

use crate::bitstream::{MAX_SIZE, MIN_SIZE};
use crate::motion::{Field, Sample};
use crate::residual::code::Square;

/// Sizes that can be coded.
fn check_size((width, height): (usize, usize)) -> Result<(), CodecError> {
    let sizes = usize::from(MIN_SIZE)..=usize::from(MAX_SIZE);
    if sizes.contains(&width) && sizes.contains(&height) {
        Ok(())
    } else {
        Err(CodecError::Size(width, height))
    }
}

/// One number for all that was entropy-coded in a frame.
fn hash_symbols(z: &[i8], y: &[i16], field: &Field, residual: &[Vec<Square>]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    let bytes: Vec<u8> = z.iter().map(|v| *v as u8).collect();
    hash.update(&bytes);
    let bytes: Vec<u8> = y.iter().flat_map(|v| v.to_le_bytes()).collect();
    hash.update(&bytes);
    for vector in &field.vectors {
        hash.update(&vector.x.to_le_bytes());
        hash.update(&vector.y.to_le_bytes());
    }
    let bytes: Vec<u8> = field.skip.iter().map(|s| u8::from(*s)).collect();
    hash.update(&bytes);
    for square in residual.iter().flatten() {
        hash.update(&square.block.to_le_bytes());
        hash.update(&[square.part]);
        let bytes: Vec<u8> = square.levels.iter().flat_map(|v| v.to_le_bytes()).collect();
        hash.update(&bytes);
    }
    hash.finalize()
}

/// Puts the prediction back where blocks are skipped; gives their number.
fn restore_skips<S: Sample>(
    picture: &mut Picture<S>,
    prediction: &Picture<S>,
    field: &Field,
) -> usize {
    let mut count = 0;
    for (at, _) in field.skip.iter().enumerate().filter(|(_, s)| **s) {
        picture.copy_block(prediction, at % field.width, at / field.width);
        count += 1;
    }
    count
}
