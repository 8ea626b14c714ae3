// SPDX-License-Identifier: Apache-2.0
//! The codec's loop filter. What it does is defined in `aivideo_codec::loop_filter`, which the kernels are
//! tested against.

use crate::launch::{Args, Launch, LaunchError, Memory, in_range, tensor};
use crate::picture::Planes;

/// Weights of a set, 16 bits each: twelve of each of 40 classes.
pub const SET_BYTES: u64 = 2 * 12 * 40;
/// Sets to choose from.
pub const SETS: u64 = 3;

/// What a choice between the sets is made by, and what it needs.
#[derive(Debug, Clone, Copy)]
pub struct Judge {
    pub luma: Memory,
    /// What the filter should bring it nearer to.
    pub source: Memory,
    pub bends: Memory,
    /// Of all sets.
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

/// A plane of luma in whole blocks of 16x16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopFilter {
    luma: Planes,
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
        Ok(Self { luma })
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

    /// Filters all blocks but the skipped ones, which are taken over. `limit` is that of a difference, at
    /// the picture's depth; `weights` are a set's.
    pub fn filter(
        &self,
        limit: u32,
        luma: Memory,
        places: [Memory; 3],
        to: Memory,
    ) -> Result<Launch, LaunchError> {
        self.filter_by(limit, luma, places, None, to)
    }

    /// The same, but the weights are those of all sets, and the number in memory says which is meant: 1 is the
    /// first, and with 0 the picture is taken over.
    pub fn filter_chosen(
        &self,
        limit: u32,
        luma: Memory,
        places: [Memory; 3],
        number: Memory,
        to: Memory,
    ) -> Result<Launch, LaunchError> {
        self.filter_by(limit, luma, places, Some(number), to)
    }

    fn filter_by(
        &self,
        limit: u32,
        luma: Memory,
        [bends, weights, skip]: [Memory; 3],
        number: Option<Memory>,
        to: Memory,
    ) -> Result<Launch, LaunchError> {
        in_range("limit", limit, 1..=1023)?;
        if luma.address == to.address {
            return Err(LaunchError::Table {
                what: "the result",
                problem: "it must not be the picture itself",
            });
        }
        let bytes = self.luma.bytes();
        let blocks = u64::from(self.luma.width / 16) * u64::from(self.luma.rows / 16);
        let sets = number.map_or(1, |_| SETS);
        Ok(Args::default()
            .address(self.luma.address("the picture", bytes, luma)?)
            .address(self.luma.address("the result", bytes, to)?)
            .address(tensor("the bending", bends, self.bends_bytes(), 2)?)
            .address(tensor("the weights", weights, sets * SET_BYTES, 2)?)
            .address(tensor("the flags", skip, blocks, 1)?)
            .address(number.map_or(Ok(0), |n| tensor("the number", n, 4, 4))?)
            .u32s(&[self.luma.width, self.luma.rows, limit])
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
        assert!(spec.bend(luma, bends).is_ok());
        assert!(spec.bend(memory(64, 1023), bends).is_err());
        assert!(spec.bend(luma, memory(8192, 1023)).is_err());
        let (weights, skip) = (memory(64, SET_BYTES), memory(64, 2));
        let three = [bends, weights, skip];
        assert!(spec.filter(8, luma, three, to).is_ok());
        assert!(spec.filter(0, luma, three, to).is_err());
        assert!(spec.filter(8, luma, three, luma).is_err());
        assert!(spec.filter(8, memory(64, 1023), three, to).is_err());
        assert!(spec.filter(8, luma, three, memory(4096, 1023)).is_err());
        let all = memory(64, SETS * SET_BYTES);
        let number = memory(64, 4);
        let chosen =
            |weights, number| spec.filter_chosen(8, luma, [bends, weights, skip], number, to);
        assert!(chosen(all, number).is_ok());
        assert!(chosen(weights, number).is_err() && chosen(all, memory(64, 3)).is_err());
        let judge = Judge {
            luma,
            source: to,
            bends,
            weights: all,
            blocks: memory(64, 8),
            count: 2,
            errors: memory(64, Judge::errors_bytes(2)),
            sums: memory(64, Judge::SUMS_BYTES),
            number,
        };
        assert!(spec.choose(8, &judge).is_ok());
        assert!(spec.choose(0, &judge).is_err());
        assert!(spec.choose(8, &Judge { count: 3, ..judge }).is_err());
        let short = Judge {
            sums: memory(64, Judge::SUMS_BYTES - 1),
            ..judge
        };
        assert!(spec.choose(8, &short).is_err());
        for (i, three) in [three; 3].into_iter().enumerate() {
            let mut short = three;
            short[i].bytes -= 1;
            assert!(spec.filter(8, luma, short, to).is_err());
        }
    }
}
