// SPDX-License-Identifier: Apache-2.0
//! Pictures in a few numbers, which the host takes down: thumbnails, noise, light. What they mean is said
//! on the host; the references are `aivideo_enhance`'s own.

use crate::{
    launch::{Args, Launch, LaunchError, Memory, in_range, tensor},
    picture::{Component, Picture, Samples},
};

/// A thumbnail: sums of a few samples of each of `side` x `side` fields of a component of eight bits. A
/// field has `parts` places along a side, of which `count` are taken, every so many-th from `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    pub side: u32,
    pub parts: u32,
    pub first: u32,
    pub every: u32,
    pub count: u32,
}

impl Sums {
    /// Of the sums, each of 16 bits.
    pub fn bytes(&self) -> u64 {
        2 * u64::from(self.side) * u64::from(self.side)
    }

    pub fn launch(&self, of: &Component, out: Memory) -> Result<Launch, LaunchError> {
        let at = of.address()?;
        of.check_eight("a component for a thumbnail")?;
        in_range("side of the thumbnail", self.side, 1..=1024)?;
        in_range("places of a field", self.parts, 1..=64)?;
        in_range("samples of a field", self.count, 1..=16)?;
        let last = u64::from(self.first) + u64::from(self.every) * u64::from(self.count - 1);
        in_range("last place of a field", last, 0..=u64::from(self.parts - 1))?;
        let out = tensor("the thumbnail", out, self.bytes(), 2)?;
        Ok(Args::default()
            .address(at)
            .address(out)
            .u32s(&[of.width, of.height])
            .u32s(&of.steps())
            .u32s(&[self.side, self.parts, self.first, self.every, self.count, 0])
            .launch("picture_sums", [self.side, self.side]))
    }

    /// What [`Self::launch`] gives, on the CPU, of memory that begins where the area does.
    ///
    /// # Panics
    /// When there is too little of it.
    pub fn reference(&self, of: &Component, memory: &[u8]) -> Vec<u16> {
        let all = self.side * self.parts;
        let places = |field: u32, length: u32| -> Vec<u32> {
            (0..self.count)
                .map(|k| (field * self.parts + self.first + k * self.every) * length / all)
                .collect()
        };
        let mut sums = Vec::new();
        for y in 0..self.side {
            for x in 0..self.side {
                let mut sum = 0;
                for row in places(y, of.height) {
                    for column in places(x, of.width) {
                        sum += of.get(memory, column, row) as u16;
                    }
                }
                sums.push(sum);
            }
        }
        sums
    }
}

/// Side of the blocks in which noise is measured.
pub const NOISE_BLOCK: u32 = 16;

/// What blocks say of noise: for each the sum of a filter's answers and, in the lower 16 bits of a second
/// number, how many samples are black or white; the bit above is set where a line has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noise {
    /// Only every so many-th block is looked at.
    pub every: u32,
    /// How many are.
    pub count: u32,
}

impl Noise {
    pub fn bytes(&self) -> u64 {
        8 * u64::from(self.count)
    }

    pub fn launch(&self, of: &Component, out: Memory) -> Result<Launch, LaunchError> {
        let at = of.address()?;
        of.check_eight("a component to measure")?;
        let (across, down) = (of.width / NOISE_BLOCK, of.height / NOISE_BLOCK);
        let blocks = u64::from(across) * u64::from(down);
        in_range("blocks to measure", self.count, 1..=blocks)?;
        let last = u64::from(self.count - 1) * u64::from(self.every);
        in_range("last block to measure", last, 0..=blocks - 1)?;
        let out = tensor("the measurements", out, self.bytes(), 4)?;
        Ok(Args::default()
            .address(at)
            .address(out)
            .u32s(&of.steps())
            .u32s(&[across, self.every, self.count, 0])
            .launch("noise", [self.count, 1]))
    }
}

/// How many samples have each code of a picture's brightest channel; for PQ of narrow range.
pub const LIGHT_BYTES: u64 = 4 * 1024;

/// Adds to the counters of [`LIGHT_BYTES`].
pub fn light(of: &Picture, counts: Memory) -> Result<Launch, LaunchError> {
    let at = of.addresses()?;
    if of.samples() == Samples::Eight {
        return Err(LaunchError::Table {
            what: "a picture whose light is measured",
            problem: "it has eight bits",
        });
    }
    let counts = tensor("the counters", counts, LIGHT_BYTES, 4)?;
    let (width, height) = of.size();
    Ok(at
        .into_iter()
        .fold(Args::default(), Args::address)
        .address(counts)
        .u32s(&[width, height])
        .u32s(&of.strides())
        .u32s(&[of.samples().code(), 0])
        .launch("light", [width.div_ceil(2), height.div_ceil(2)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(bytes: u64) -> Memory {
        Memory { address: 64, bytes }
    }

    #[test]
    fn bad_sizes_are_errors() {
        let small = Picture::planar(memory(1 << 20), (64, 32), Samples::Eight);
        let sums = Sums {
            side: 32,
            parts: 4,
            first: 1,
            every: 2,
            count: 2,
        };
        assert!(sums.launch(&small.y, memory(2048)).is_ok());
        assert!(sums.launch(&small.y, memory(2047)).is_err());
        let beyond = Sums { first: 2, ..sums };
        assert!(beyond.launch(&small.y, memory(2048)).is_err());
        let none = Sums { count: 0, ..sums };
        assert!(none.launch(&small.y, memory(2048)).is_err());

        let noise = Noise { every: 1, count: 8 };
        assert!(noise.launch(&small.y, memory(64)).is_ok());
        assert!(noise.launch(&small.y, memory(63)).is_err());
        assert!(noise.launch(&small.u, memory(64)).is_err());
        let wide = Noise { every: 2, ..noise };
        assert!(wide.launch(&small.y, memory(64)).is_err());

        assert!(light(&small, memory(4096)).is_err());
        let deep = Picture::planar(memory(1 << 20), (64, 32), Samples::TenLower);
        assert!(light(&deep, memory(4096)).is_ok());
        assert!(light(&deep, memory(4095)).is_err());
        assert!(sums.launch(&deep.y, memory(2048)).is_err());
        assert!(noise.launch(&deep.y, memory(64)).is_err());
    }
}
