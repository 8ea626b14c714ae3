// SPDX-License-Identifier: Apache-2.0
//! How far the codec's pictures are apart, block by block. What is computed is defined in
//! `aivideo_codec::coder::decision`, which the kernels are tested against.

use crate::launch::{Args, Launch, LaunchError, Memory, tensor};
use crate::picture::Planes;

/// Luma, and both planes of chroma one after the other.
pub type Pair = [Memory; 2];

/// Pictures in whole blocks of 16x16 samples of luma.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockErrors {
    luma: Planes,
}

impl BlockErrors {
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

    fn blocks(&self) -> [u32; 2] {
        [self.luma.width / 16, self.luma.rows / 16]
    }

    /// Bytes of a number for each block.
    pub fn bytes(&self) -> u64 {
        4 * self.blocks().map(u64::from).iter().product::<u64>()
    }

    /// Squared errors of all blocks, luma and chroma together.
    pub fn between(&self, one: Pair, other: Pair, to: Memory) -> Result<Launch, LaunchError> {
        let entry = self.luma.of("codec_errors_8", "codec_errors_10");
        self.launch(entry, one, other, to)
    }

    /// Squared deviations of all blocks' samples from their plane's mean in the block.
    pub fn spread(&self, picture: Pair, to: Memory) -> Result<Launch, LaunchError> {
        let entry = self.luma.of("codec_spread_8", "codec_spread_10");
        self.launch(entry, picture, picture, to)
    }

    fn launch(
        &self,
        entry: &'static str,
        one: Pair,
        other: Pair,
        to: Memory,
    ) -> Result<Launch, LaunchError> {
        let bytes = self.luma.bytes();
        let mut args = Args::default();
        for [y, uv] in [one, other] {
            args = args
                .address(self.luma.address("luma", bytes, y)?)
                .address(self.luma.address("chroma", bytes / 2, uv)?);
        }
        Ok(args
            .address(tensor("the errors", to, self.bytes(), 4)?)
            .u32s(&[self.luma.width, self.luma.rows])
            .u32s(&[if self.luma.deep { 4 } else { 0 }, 0])
            .launch(entry, self.blocks()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_sizes_are_errors() {
        assert!(BlockErrors::new(24, 16, false).is_err());
        let spec = BlockErrors::new(32, 16, true).unwrap();
        let memory = |bytes| Memory { address: 64, bytes };
        let (y, uv, to) = (memory(1024), memory(512), memory(8));
        assert_eq!(spec.bytes(), 8);
        assert!(spec.between([y, uv], [y, uv], to).is_ok());
        assert!(spec.spread([y, uv], to).is_ok());
        assert!(spec.between([y, uv], [memory(1023), uv], to).is_err());
        assert!(spec.between([y, memory(511)], [y, uv], to).is_err());
        assert!(spec.spread([y, uv], memory(7)).is_err());
    }
}
