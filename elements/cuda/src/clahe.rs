// SPDX-License-Identifier: Apache-2.0
//! Contrast limited adaptive histogram equalisation of luma. The reference is `aivideo_enhance`'s
//! `operations::Clahe`.

use crate::{
    launch::{Args, Launch, LaunchError, Memory, in_range, tensor},
    picture::Component,
};

/// Fields along a side, and codes.
pub const FIELDS: u32 = 8;
const CODES: u32 = 256;
/// Samples of a row that a position counts.
const RUN: u32 = 16;

/// Of the histograms, the curves, and those mixed with the identity.
pub const COUNT_BYTES: u64 = 4 * (FIELDS * FIELDS * CODES) as u64;
pub const CURVE_BYTES: u64 = COUNT_BYTES;
pub const MIXED_BYTES: u64 = COUNT_BYTES / 2;

/// How curves follow histograms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curves {
    /// Codes of black and white.
    pub range: (u8, u8),
    /// A bin counts for at most this many times the mean.
    pub clip: f32,
    /// Weight of a new picture's curves.
    pub rate: f32,
    pub amount: f32,
    /// There are no curves yet.
    pub fresh: bool,
}

fn check(luma: &Component) -> Result<u64, LaunchError> {
    luma.check_eight("luma to equalise")?;
    in_range("step", luma.step, 1..=1)?;
    let least = u64::from(2 * FIELDS);
    in_range("width", luma.width, least..=u64::MAX)?;
    in_range("height", luma.height, least..=u64::MAX)?;
    luma.address()
}

/// Adds the fields' samples to the counters.
pub fn count(luma: &Component, counts: Memory) -> Result<Launch, LaunchError> {
    let at = check(luma)?;
    let counts = tensor("the histograms", counts, COUNT_BYTES, 4)?;
    // A field is at most so large.
    let runs = luma.width.div_ceil(FIELDS).div_ceil(RUN);
    let rows = luma.height.div_ceil(FIELDS).div_ceil(2);
    Ok(Args::default()
        .address(at)
        .address(counts)
        .u32s(&[luma.width, luma.height, luma.area.stride])
        .u32s(&[runs, rows, 0])
        .launch("clahe_count", [FIELDS * runs, FIELDS * rows]))
}

impl Curves {
    /// Takes the histograms of a picture of this size in.
    pub fn follow(
        &self,
        luma: &Component,
        counts: Memory,
        curves: Memory,
        mixed: Memory,
    ) -> Result<Launch, LaunchError> {
        check(luma)?;
        let (low, high) = self.range;
        in_range("code of white", high, u64::from(low) + 1..=255)?;
        let counts = tensor("the histograms", counts, COUNT_BYTES, 4)?;
        let curves = tensor("the curves", curves, CURVE_BYTES, 4)?;
        let mixed = tensor("the mixed curves", mixed, MIXED_BYTES, 2)?;
        Ok(Args::default()
            .address(counts)
            .address(curves)
            .address(mixed)
            .u32s(&[luma.width, luma.height, low.into(), high.into()])
            .f32s(&[self.clip, self.rate, self.amount])
            .u32(self.fresh.into())
            .launch("clahe_curves", [FIELDS, FIELDS]))
    }
}

/// Puts luma through the curves, in place.
pub fn apply(luma: &Component, mixed: Memory) -> Result<Launch, LaunchError> {
    let at = check(luma)?;
    let mixed = tensor("the mixed curves", mixed, MIXED_BYTES, 2)?;
    Ok(Args::default()
        .address(at)
        .address(mixed)
        .u32s(&[luma.width, luma.height, luma.area.stride, 0])
        .launch("clahe_apply", [luma.width, luma.height]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{Picture, Samples};

    #[test]
    fn bad_sizes_are_errors() {
        let memory = |bytes| Memory { address: 64, bytes };
        let luma = |w, h| Picture::planar(memory(1 << 20), (w, h), Samples::Eight).y;
        assert!(count(&luma(16, 16), memory(COUNT_BYTES)).is_ok());
        assert!(count(&luma(15, 16), memory(COUNT_BYTES)).is_err());
        assert!(count(&luma(16, 15), memory(COUNT_BYTES)).is_err());
        assert!(count(&luma(16, 16), memory(COUNT_BYTES - 1)).is_err());
        assert!(apply(&luma(16, 16), memory(MIXED_BYTES)).is_ok());
        assert!(apply(&luma(16, 16), memory(MIXED_BYTES - 1)).is_err());
        let curves = Curves {
            range: (16, 235),
            clip: 2.5,
            rate: 0.15,
            amount: 0.5,
            fresh: true,
        };
        let follow = |curves: Curves, bytes| {
            let all = memory(COUNT_BYTES);
            curves.follow(&luma(16, 16), all, memory(bytes), all)
        };
        assert!(follow(curves, CURVE_BYTES).is_ok());
        assert!(follow(curves, CURVE_BYTES - 1).is_err());
        let empty = Curves {
            range: (16, 16),
            ..curves
        };
        assert!(follow(empty, CURVE_BYTES).is_err());
    }
}
