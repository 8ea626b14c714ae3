// SPDX-License-Identifier: Apache-2.0
//! The codec's prediction of a picture from the one before, and what is taken over from it.
//!
//! Taps and weights are the caller's: they are written once, in `aivideo_codec::motion`, whose definition the
//! kernel is tested against.

use crate::launch::{Args, Launch, LaunchError, Memory, in_range, tensor};
use crate::picture::Planes;

/// Fractions of a sample, each with its taps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interpolation<'a> {
    /// Of all fractions, one after the other.
    pub taps: &'a [i16],
    /// Bits of a vector's number that are its fraction.
    pub bits: u32,
    /// A part, which has a vector, is this power of two samples wide and high.
    pub part: u32,
    /// 64ths of a neighbouring part's prediction by the distance to its edge; none further away.
    pub lean: &'a [i16],
}

const TAPS: usize = 32;
/// Distances that a neighbour may count at.
const REACH: usize = 4;

impl Interpolation<'_> {
    /// Predicts planes from others of their size.
    pub fn predict(
        &self,
        planes: Planes,
        from: Memory,
        vectors: Memory,
        to: Memory,
    ) -> Result<Launch, LaunchError> {
        planes.check()?;
        in_range("bits", self.bits, 1..=4)?;
        if self.taps.len() != TAPS {
            return Err(LaunchError::Table {
                what: "taps",
                problem: "there must be 32",
            });
        }
        in_range("part", self.part, 1..=3)?;
        if self.lean.len() > REACH {
            return Err(LaunchError::Table {
                what: "weights of neighbours",
                problem: "there must be at most four",
            });
        }
        let parts = squares("parts", planes, self.part)?;
        let bytes = planes.bytes();
        let args = Args::default()
            .address(planes.address("the picture before", bytes, from)?)
            .address(planes.address("the prediction", bytes, to)?)
            .address(tensor("the vectors", vectors, 4 * parts, 4)?)
            .u32s(&[planes.width, planes.rows, planes.count])
            .u32s(&[self.part, self.bits, TAPS as u32 >> self.bits])
            .i32(planes.top());
        let args = self
            .taps
            .iter()
            .fold(args, |args, tap| args.i32((*tap).into()));
        let lean = (0..REACH).map(|i| self.lean.get(i).copied().unwrap_or(0));
        let args = lean.fold(args, |args, weight| args.i32(weight.into()));
        let entry = planes.of("codec_predict_8", "codec_predict_10");
        Ok(args.launch(entry, planes.grid()))
    }
}

/// Takes the prediction's samples for blocks that are skipped, and those of `made` for the others. `to` may
/// be `made`. A block is this power of two samples wide and high.
pub fn merge(
    planes: Planes,
    block: u32,
    [made, prediction, to]: [Memory; 3],
    skip: Memory,
) -> Result<Launch, LaunchError> {
    planes.check()?;
    let blocks = squares("blocks", planes, block)?;
    let bytes = planes.bytes();
    Ok(Args::default()
        .address(planes.address("what was made", bytes, made)?)
        .address(planes.address("the prediction", bytes, prediction)?)
        .address(planes.address("the result", bytes, to)?)
        .address(tensor("the flags", skip, blocks, 1)?)
        .u32s(&[planes.width, planes.rows, planes.count, block])
        .launch(planes.of("codec_merge_8", "codec_merge_10"), planes.grid()))
}

/// Squares of a plane, which must be whole.
fn squares(what: &'static str, planes: Planes, log: u32) -> Result<u64, LaunchError> {
    in_range(what, log, 1..=6)?;
    if !(planes.width | planes.rows).is_multiple_of(1 << log) {
        return Err(LaunchError::Table {
            what,
            problem: "planes must be whole ones wide and high",
        });
    }
    Ok(u64::from(planes.width >> log) * u64::from(planes.rows >> log))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_sizes_are_errors() {
        let planes = Planes {
            width: 32,
            rows: 16,
            count: 2,
            deep: true,
        };
        let memory = |bytes| Memory { address: 64, bytes };
        let taps = [0; TAPS];
        let spec = Interpolation {
            taps: &taps,
            bits: 3,
            part: 2,
            lean: &[12, 2],
        };
        let (all, parts) = (memory(2048), memory(4 * 32));
        assert!(spec.predict(planes, all, parts, all).is_ok());
        assert!(spec.predict(planes, memory(2047), parts, all).is_err());
        assert!(spec.predict(planes, all, memory(127), all).is_err());
        assert!(spec.predict(planes, all, parts, memory(2047)).is_err());
        for wrong in [
            Interpolation {
                taps: &taps[1..],
                ..spec
            },
            Interpolation { bits: 0, ..spec },
            Interpolation { bits: 5, ..spec },
            Interpolation { part: 0, ..spec },
            Interpolation { part: 4, ..spec },
            Interpolation {
                lean: &taps[..5],
                ..spec
            },
        ] {
            assert!(wrong.predict(planes, all, parts, all).is_err(), "{wrong:?}");
        }
        let huge = Planes {
            width: 1 << 20,
            ..planes
        };
        assert!(
            spec.predict(huge, memory(1 << 40), memory(1 << 40), memory(1 << 40))
                .is_err()
        );
        let skip = memory(8);
        assert!(merge(planes, 3, [all; 3], skip).is_ok());
        assert!(merge(planes, 3, [all; 3], memory(7)).is_err());
        assert!(merge(planes, 5, [all; 3], skip).is_err());
        for short in 0..3 {
            let mut three = [all; 3];
            three[short] = memory(2047);
            assert!(merge(planes, 3, three, skip).is_err());
        }
    }
}
