// SPDX-License-Identifier: Apache-2.0
//! The search for motion of the codec's encoder. What it does is defined in `aivideo_codec::motion` (`search` for
//! the levels below full size, `parallel` for that), which the kernels are tested against.

use crate::launch::{Args, Launch, LaunchError, Memory, in_range, tensor};
use crate::picture::Planes;

/// Numbers of the table of prices.
pub const PRICES: usize = 108 + 9 * 64;
const TAPS: usize = 32;

/// A plane of luma of eight bits, in whole blocks of 64x64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Search {
    luma: Planes,
}

/// A level of the pyramid: 1 has half the size.
#[derive(Debug, Clone, Copy)]
pub struct Level {
    pub number: u32,
    pub source: Memory,
    pub reference: Memory,
    /// What the next level found; none for the smallest.
    pub parent: Option<Memory>,
    /// Price of a bit, in 16ths of a difference of 1.
    pub lambda: u32,
}

/// What is known between two steps: vectors of parts, modes and squared errors of blocks.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    pub vectors: Memory,
    pub modes: Memory,
    pub squares: Memory,
}

/// What errors cost in the end, in bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worth {
    /// What a squared error of 1 is worth.
    pub per_bit: f32,
    /// A small error costs so many times what it is worth.
    pub lasting: f32,
    /// An error above this grows by its logarithm.
    pub knee: f32,
    /// Below this a block is taken to be skipped.
    pub skip_at: f32,
    /// Above this it may be divided.
    pub divide_from: f32,
    /// What dividing it costs beyond the bits of its parts.
    pub division: f32,
}

/// What all steps at full size read.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    pub source: Memory,
    pub reference: Memory,
    /// [`PRICES`] of 32 bits.
    pub prices: Memory,
    /// Rows of blocks in a tile.
    pub tile_rows: u32,
    pub worth: Worth,
    /// Of the four fractions of luma, one after the other.
    pub taps: &'a [i16],
}

/// Blocks that settle at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    All,
    Even,
    Odd,
}

/// A step at full size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// From vectors of half size, which are what was found.
    Start,
    /// Of all blocks, or of one colour of a chessboard.
    Settle(Which),
    Refine,
    RefineParts,
    Divide,
}

impl Search {
    pub fn new(width: u32, height: u32) -> Result<Self, LaunchError> {
        let luma = Planes {
            width,
            rows: height,
            count: 1,
            deep: false,
        };
        luma.check()?;
        if !(width | height).is_multiple_of(64) {
            return Err(LaunchError::Table {
                what: "size of the picture",
                problem: "both sides must be multiples of 64",
            });
        }
        Ok(Self { luma })
    }

    /// Bytes of a plane at a level.
    pub fn plane_bytes(&self, level: u32) -> u64 {
        self.luma.bytes() >> (2 * level)
    }

    /// Bytes of a level's vectors, four for each of its 8x8 samples.
    pub fn vectors_bytes(&self, level: u32) -> u64 {
        4 * self.plane_bytes(level) / 64
    }

    /// Blocks of 16x16.
    pub fn blocks(&self) -> u64 {
        self.luma.bytes() / 256
    }

    /// Luma of ten bits, rounded to eight.
    pub fn eight(&self, from: Memory, to: Memory) -> Result<Launch, LaunchError> {
        let bytes = self.luma.bytes();
        Ok(Args::default()
            .address(tensor("luma of ten bits", from, 2 * bytes, 2)?)
            .address(tensor("luma of eight bits", to, bytes, 1)?)
            .u32s(&[self.luma.width, self.luma.rows])
            .launch("codec_eight", [self.luma.width, self.luma.rows]))
    }

    /// A level from the one that is twice as large.
    pub fn half(&self, level: u32, from: Memory, to: Memory) -> Result<Launch, LaunchError> {
        in_range("level", level, 1..=3)?;
        let [width, height] = [self.luma.width, self.luma.rows].map(|side| side >> level);
        let (larger, own) = (self.plane_bytes(level - 1), self.plane_bytes(level));
        Ok(Args::default()
            .address(tensor("the larger level", from, larger, 1)?)
            .address(tensor("the level", to, own, 1)?)
            .u32s(&[width, height])
            .launch("codec_half", [width, height]))
    }

    /// Searches a level; `to` gets whole vectors in its samples.
    pub fn coarse(&self, level: &Level, to: Memory) -> Result<Launch, LaunchError> {
        let number = level.number;
        in_range("level", number, 1..=3)?;
        let [width, height] = [self.luma.width, self.luma.rows].map(|side| side >> number);
        let plane = |what, memory| tensor(what, memory, self.plane_bytes(number), 1);
        let parent = |memory| tensor("the parents", memory, self.vectors_bytes(number + 1), 4);
        Ok(Args::default()
            .address(plane("the source", level.source)?)
            .address(plane("the reference", level.reference)?)
            .address(level.parent.map_or(Ok(0), parent)?)
            .address(tensor("the vectors", to, self.vectors_bytes(number), 4)?)
            .u32s(&[width, height, level.lambda, 0])
            .launch("codec_coarse", [width / 8, height / 8]))
    }

    /// A step at full size. `found` are vectors of parts; `to` must be other memory than `known`. Steps that
    /// refine write vectors alone.
    pub fn step(
        &self,
        step: Step,
        given: &Given<'_>,
        known: Known,
        found: Memory,
        to: Known,
    ) -> Result<Launch, LaunchError> {
        in_range("rows of a tile", given.tile_rows, 1..=1 << 16)?;
        if given.taps.len() != TAPS {
            return Err(LaunchError::Table {
                what: "taps",
                problem: "there must be 32",
            });
        }
        if known.vectors.address == to.vectors.address || found.address == to.vectors.address {
            return Err(LaunchError::Table {
                what: "the result",
                problem: "it must not be what is known or found",
            });
        }
        let (blocks, parts) = (self.blocks(), self.vectors_bytes(0));
        let found_bytes = match step {
            Step::Start => self.vectors_bytes(1),
            _ => parts,
        };
        let plane = |what, memory| tensor(what, memory, self.luma.bytes(), 1);
        let worth = &given.worth;
        let which = match step {
            Step::Settle(Which::Even) => 1,
            Step::Settle(Which::Odd) => 2,
            _ => 0,
        };
        let args = Args::default()
            .address(plane("the source", given.source)?)
            .address(plane("the reference", given.reference)?)
            .address(tensor("the vectors", known.vectors, parts, 4)?)
            .address(tensor("what was found", found, found_bytes, 4)?)
            .address(tensor("the modes", known.modes, blocks, 1)?)
            .address(tensor("the errors", known.squares, 4 * blocks, 4)?)
            .address(tensor("the new vectors", to.vectors, parts, 4)?)
            .address(tensor("the new modes", to.modes, blocks, 1)?)
            .address(tensor("the new errors", to.squares, 4 * blocks, 4)?)
            .address(tensor("the prices", given.prices, 4 * PRICES as u64, 4)?)
            .u32s(&[self.luma.width, self.luma.rows, given.tile_rows, which])
            .f32s(&[worth.per_bit, worth.lasting, worth.knee])
            .f32s(&[worth.skip_at, worth.divide_from, worth.division]);
        let args = (given.taps.iter()).fold(args, |args, tap| args.i32((*tap).into()));
        let (entry, size) = match step {
            Step::Start => ("codec_start", 16),
            Step::Settle(_) => ("codec_settle", 16),
            Step::Refine => ("codec_refine", 16),
            Step::RefineParts => ("codec_refine_parts", 8),
            Step::Divide => ("codec_divide", 16),
        };
        Ok(args.launch(entry, [self.luma.width / size, self.luma.rows / size]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_sizes_are_errors() {
        assert!(Search::new(96, 64).is_err() && Search::new(0, 64).is_err());
        let spec = Search::new(128, 64).unwrap();
        let at = |address, bytes| Memory { address, bytes };
        let memory = |bytes| at(64, bytes);
        assert_eq!(
            (spec.blocks(), spec.vectors_bytes(0), spec.vectors_bytes(3)),
            (32, 512, 8)
        );
        assert!(spec.eight(memory(16_384), memory(8192)).is_ok());
        assert!(spec.eight(memory(16_383), memory(8192)).is_err());
        assert!(spec.half(1, memory(8192), memory(2048)).is_ok());
        assert!(spec.half(1, memory(8191), memory(2048)).is_err());
        assert!(spec.half(4, memory(8192), memory(2048)).is_err());
        let level = Level {
            number: 2,
            source: memory(512),
            reference: memory(512),
            parent: Some(memory(8)),
            lambda: 16,
        };
        assert!(spec.coarse(&level, memory(32)).is_ok());
        assert!(spec.coarse(&level, memory(31)).is_err());
        let short = Level {
            parent: Some(memory(7)),
            ..level
        };
        assert!(spec.coarse(&short, memory(32)).is_err());
        let given = Given {
            source: memory(8192),
            reference: memory(8192),
            prices: memory(4 * PRICES as u64),
            tile_rows: 4,
            worth: Worth {
                per_bit: 0.1,
                lasting: 3.0,
                knee: 50.0,
                skip_at: 60.0,
                divide_from: 10.0,
                division: 5.0,
            },
            taps: &[0; TAPS],
        };
        let known = |address| Known {
            vectors: at(address, 512),
            modes: at(address, 32),
            squares: at(address, 128),
        };
        let step = |given: &Given<'_>, known, found, to| {
            spec.step(Step::Settle(Which::Even), given, known, found, to)
        };
        let (one, other, found) = (known(64), known(4096), at(8192, 512));
        assert!(step(&given, one, found, other).is_ok());
        assert!(step(&given, one, found, one).is_err());
        assert!(step(&given, one, one.vectors, other).is_ok());
        assert!(step(&given, one, other.vectors, other).is_err());
        assert!(step(&given, one, at(8192, 511), other).is_err());
        for wrong in [
            Given {
                tile_rows: 0,
                ..given
            },
            Given {
                taps: &[0; 31],
                ..given
            },
            Given {
                prices: memory(4),
                ..given
            },
            Given {
                reference: memory(8191),
                ..given
            },
        ] {
            assert!(step(&wrong, one, found, other).is_err());
        }
    }
}
