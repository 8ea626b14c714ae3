// SPDX-License-Identifier: Apache-2.0
//! The codec's loop filter. What it does is defined in `aivideo_codec::loop_filter`, which the kernels are
//! tested against.

use crate::launch::{Args, Launch, LaunchError, Memory, in_range, tensor};
use crate::picture::Planes;

/// Weights of a set, 16 bits each: twelve of each of 40 classes.
pub const SET_BYTES: u64 = 2 * 12 * 40;

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
        [bends, weights, skip]: [Memory; 3],
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
        Ok(Args::default()
            .address(self.luma.address("the picture", bytes, luma)?)
            .address(self.luma.address("the result", bytes, to)?)
            .address(tensor("the bending", bends, self.bends_bytes(), 2)?)
            .address(tensor("the weights", weights, SET_BYTES, 2)?)
            .address(tensor("the flags", skip, blocks, 1)?)
            .u32s(&[self.luma.width, self.luma.rows, limit])
            .i32(self.luma.top())
            .launch(
                self.luma.of("codec_filter_8", "codec_filter_10"),
                self.cells(),
            ))
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
        for (i, three) in [three; 3].into_iter().enumerate() {
            let mut short = three;
            short[i].bytes -= 1;
            assert!(spec.filter(8, luma, short, to).is_err());
        }
    }
}
