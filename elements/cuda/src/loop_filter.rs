// SPDX-License-Identifier: Apache-2.0
//! The codec's loop filter. What it does is defined in `aivideo_codec::loop_filter`, which the kernels are
//! tested against.

use crate::launch::{Args, Launch, LaunchError, Memory, in_range, tensor};
use crate::picture::Planes;

/// Weights of a set, 16 bits each: twelve of each of 40 classes.
pub const SET_BYTES: u64 = 2 * 12 * 40;
/// Sets to choose from.
pub const SETS: u64 = 3;
/// Those of luma, then those of chroma.
pub const WEIGHTS_BYTES: u64 = 2 * SETS * SET_BYTES;

/// Which set is filtered with.
#[derive(Debug, Clone, Copy)]
pub enum Set {
    /// 1 is the first.
    Number(u8),
    /// The number in memory, 32 bits; with 0 the picture is taken over.
    Chosen(Memory),
}

/// How a picture is filtered.
#[derive(Debug, Clone, Copy)]
pub struct Filtering {
    /// Largest differences that count, of luma and of chroma, at the picture's depth.
    pub limits: [u32; 2],
    /// What [`LoopFilter::bend`] gave of its luma.
    pub bends: Memory,
    /// Of all sets: [`WEIGHTS_BYTES`].
    pub weights: Memory,
    /// Of each block, not 0 where its luma, and where its chroma, is taken over as it is.
    pub skips: [Memory; 2],
    pub set: Set,
}

/// What a choice between the sets is made by, and what it needs.
#[derive(Debug, Clone, Copy)]
pub struct Judge {
    pub luma: Memory,
    /// What the filter should bring it nearer to.
    pub source: Memory,
    pub bends: Memory,
    /// Of all sets of luma.
    pub weights: Memory,
    /// The numbers of the blocks that it is judged by, 32 bits each, and how many they are.
    pub blocks: Memory,
    pub count: u32,
    /// See [`Judge::errors_bytes`] and [`Judge::SUMS_BYTES`].
    pub errors: Memory,
    pub sums: Memory,
    /// Gets the number of the set, 32 bits; 0 where none helps.
    pub number: Memory,
}

impl Judge {
    pub const SUMS_BYTES: u64 = 8 * 4 * 64;

    /// Memory for the errors of so many blocks.
    pub fn errors_bytes(count: u32) -> u64 {
        4 * 4 * 8 * u64::from(count)
    }
}

/// Pictures in whole blocks of 16x16 samples of luma.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopFilter {
    luma: Planes,
    /// U and V, which follow each other.
    chroma: Planes,
}

impl LoopFilter {
    pub fn new(width: u32, height: u32, deep: bool) -> Result<Self, LaunchError> {
        let luma = Planes {
            width,
            rows: height,
            count: 1,
            deep,
        };
        luma.check()?;
        if !(width | height).is_multiple_of(16) {
            return Err(LaunchError::Table {
                what: "size of the picture",
                problem: "both sides must be multiples of 16",
            });
        }
        let chroma = Planes {
            width: width / 2,
            rows: height / 2,
            count: 2,
            deep,
        };
        Ok(Self { luma, chroma })
    }

    /// Bytes that the bending of all cells takes.
    pub fn bends_bytes(&self) -> u64 {
        8 * u64::from(self.luma.width / 2) * u64::from(self.luma.rows / 2)
    }

    fn cells(&self) -> [u32; 2] {
        [self.luma.width / 2, self.luma.rows / 2]
    }

    /// How much the picture bends in each of its cells.
    pub fn bend(&self, luma: Memory, bends: Memory) -> Result<Launch, LaunchError> {
        let bytes = self.luma.bytes();
        Ok(Args::default()
            .address(self.luma.address("the picture", bytes, luma)?)
            .address(tensor("the bending", bends, self.bends_bytes(), 2)?)
            .u32s(&[self.luma.width, self.luma.rows])
            .u32s(&[if self.luma.deep { 2 } else { 0 }, 0])
            .launch(self.luma.of("codec_bend_8", "codec_bend_10"), self.cells()))
    }

    /// Filters luma and chroma.
    pub fn filter(
        &self,
        how: &Filtering,
        [luma, chroma]: [Memory; 2],
        [to, chroma_to]: [Memory; 2],
    ) -> Result<Launch, LaunchError> {
        for limit in how.limits {
            in_range("limit", limit, 1..=1023)?;
        }
        if luma.address == to.address || chroma.address == chroma_to.address {
            return Err(LaunchError::Table {
                what: "the result",
                problem: "it must not be the picture itself",
            });
        }
        let (number, set) = match how.set {
            Set::Number(set) => (0, u32::from(set)),
            Set::Chosen(number) => (tensor("the number", number, 4, 4)?, 1),
        };
        in_range("set", set, 1..=SETS)?;
        let (bytes, chroma_bytes) = (self.luma.bytes(), self.chroma.bytes());
        let blocks = u64::from(self.luma.width / 16) * u64::from(self.luma.rows / 16);
        let limits = how.limits.map(|limit| limit as i32);
        Ok(Args::default()
            .address(self.luma.address("the picture", bytes, luma)?)
            .address(self.chroma.address("the chroma", chroma_bytes, chroma)?)
            .address(self.luma.address("the result", bytes, to)?)
            .address(
                self.chroma
                    .address("the result's chroma", chroma_bytes, chroma_to)?,
            )
            .address(tensor("the bending", how.bends, self.bends_bytes(), 2)?)
            .address(tensor("the weights", how.weights, WEIGHTS_BYTES, 2)?)
            .address(tensor("the flags", how.skips[0], blocks, 1)?)
            .address(tensor("the flags of chroma", how.skips[1], blocks, 1)?)
            .address(number)
            .u32s(&[self.luma.width, self.luma.rows, set])
            .i32(limits[0])
            .i32(limits[1])
            .i32(self.luma.top())
            .launch(
                self.luma.of("codec_filter_8", "codec_filter_10"),
                self.cells(),
            ))
    }
}

impl LoopFilter {
    /// Chooses the set that brings the picture nearest to its source, judged by some blocks: three launches one
    /// after the other, behind [`LoopFilter::bend`].
    pub fn choose(&self, limit: u32, judge: &Judge) -> Result<[Launch; 3], LaunchError> {
        in_range("limit", limit, 1..=1023)?;
        in_range("blocks", judge.count, 0..=1 << 20)?;
        let (bytes, count) = (self.luma.bytes(), u64::from(judge.count));
        let args = || -> Result<Args, LaunchError> {
            Ok(Args::default()
                .address(self.luma.address("the picture", bytes, judge.luma)?)
                .address(self.luma.address("the source", bytes, judge.source)?)
                .address(tensor("the bending", judge.bends, self.bends_bytes(), 2)?)
                .address(tensor("the weights", judge.weights, SETS * SET_BYTES, 2)?)
                .address(tensor("the blocks", judge.blocks, 4 * count, 4)?)
                .address(tensor(
                    "the errors",
                    judge.errors,
                    Judge::errors_bytes(judge.count),
                    4,
                )?)
                .address(tensor("the sums", judge.sums, Judge::SUMS_BYTES, 8)?)
                .address(tensor("the number", judge.number, 4, 4)?)
                .u32s(&[self.luma.width, self.luma.rows, judge.count, limit])
                .i32(self.luma.top())
                .u32(0))
        };
        let entry = self.luma.of("codec_judge_8", "codec_judge_10");
        Ok([
            // A grid has a position at least.
            args()?.launch(entry, [8, judge.count.max(1)]),
            args()?.launch("codec_tally", [4, 64]),
            args()?.launch("codec_pick", [1, 1]),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_sizes_are_errors() {
        assert!(LoopFilter::new(8, 16, false).is_err());
        assert!(LoopFilter::new(0, 16, false).is_err());
        assert!(LoopFilter::new(1 << 20, 16, false).is_err());
        let spec = LoopFilter::new(32, 16, true).unwrap();
        let memory = |address, bytes| Memory { address, bytes };
        let (luma, to, bends) = (memory(64, 1024), memory(4096, 1024), memory(8192, 1024));
        let (chroma, chroma_to) = (memory(64, 512), memory(4096, 512));
        assert!(spec.bend(luma, bends).is_ok());
        assert!(spec.bend(memory(64, 1023), bends).is_err());
        assert!(spec.bend(luma, memory(8192, 1023)).is_err());
        let how = Filtering {
            limits: [8, 8],
            bends,
            weights: memory(64, WEIGHTS_BYTES),
            skips: [memory(64, 2); 2],
            set: Set::Number(1),
        };
        let filter = |how: Filtering, from, to| spec.filter(&how, from, to);
        let (from, result) = ([luma, chroma], [to, chroma_to]);
        assert!(filter(how, from, result).is_ok());
        for limits in [[0, 8], [8, 0], [8, 1024]] {
            assert!(filter(Filtering { limits, ..how }, from, result).is_err());
        }
        for set in [Set::Number(0), Set::Number(4), Set::Chosen(memory(64, 3))] {
            assert!(filter(Filtering { set, ..how }, from, result).is_err());
        }
        let set = Set::Chosen(memory(64, 4));
        assert!(filter(Filtering { set, ..how }, from, result).is_ok());
        assert!(filter(how, from, [luma, chroma_to]).is_err());
        assert!(filter(how, from, [to, chroma]).is_err());
        let short = |memory: Memory| Memory {
            bytes: memory.bytes - 1,
            ..memory
        };
        assert!(filter(how, [short(luma), chroma], result).is_err());
        assert!(filter(how, [luma, short(chroma)], result).is_err());
        assert!(filter(how, from, [short(to), chroma_to]).is_err());
        assert!(filter(how, from, [to, short(chroma_to)]).is_err());
        let shorten: [fn(&mut Filtering) -> &mut Memory; 4] = [
            |how| &mut how.bends,
            |how| &mut how.weights,
            |how| &mut how.skips[0],
            |how| &mut how.skips[1],
        ];
        for part in shorten {
            let mut how = how;
            let memory = part(&mut how);
            *memory = short(*memory);
            assert!(filter(how, from, result).is_err());
        }
        let judge = Judge {
            luma,
            source: to,
            bends,
            weights: memory(64, SETS * SET_BYTES),
            blocks: memory(64, 8),
            count: 2,
            errors: memory(64, Judge::errors_bytes(2)),
            sums: memory(64, Judge::SUMS_BYTES),
            number: memory(64, 4),
        };
        assert!(spec.choose(8, &judge).is_ok());
        assert!(spec.choose(0, &judge).is_err());
        assert!(spec.choose(8, &Judge { count: 3, ..judge }).is_err());
        let short = Judge {
            sums: memory(64, Judge::SUMS_BYTES - 1),
            ..judge
        };
        assert!(spec.choose(8, &short).is_err());
    }
}
