// SPDX-License-Identifier: Apache-2.0
//! One start of a kernel: entry, grid and arguments, with every size checked beforehand.

/// Memory of the machine that runs the kernel: a GPU's, or the host's in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    pub address: u64,
    /// Bytes from there on that belong to it.
    pub bytes: u64,
}

impl Memory {
    /// The part behind `offset` bytes; empty when there is none.
    pub fn from(self, offset: u64) -> Self {
        let offset = offset.min(self.bytes);
        Self {
            address: self.address + offset,
            bytes: self.bytes - offset,
        }
    }
}

/// A plane of a picture in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    pub memory: Memory,
    /// Bytes from a row to the next.
    pub stride: u32,
}

/// Type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    F32,
    F16,
}

impl Element {
    pub fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// The entry for this element type.
    pub(crate) fn of(self, f32: &'static str, f16: &'static str) -> &'static str {
        match self {
            Self::F32 => f32,
            Self::F16 => f16,
        }
    }
}

/// Why a kernel is not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    #[error("{what}: {value} is not in {from}..={to}")]
    Range {
        what: &'static str,
        value: u64,
        from: u64,
        to: u64,
    },
    #[error("{what} needs {needed} bytes, {got} are there")]
    Short {
        what: &'static str,
        needed: u64,
        got: u64,
    },
    #[error("{what}: a stride of {stride} is less than a row of {row} bytes")]
    Stride {
        what: &'static str,
        stride: u32,
        row: u64,
    },
    #[error("{what} must lie on a multiple of {bytes} bytes, with its stride")]
    Alignment { what: &'static str, bytes: u64 },
    #[error("{what}: {problem}")]
    Table {
        what: &'static str,
        problem: &'static str,
    },
}

/// The largest width and height of a picture.
pub const MOST: u32 = 32_768;

pub(crate) fn in_range(
    what: &'static str,
    value: impl Into<u64>,
    range: std::ops::RangeInclusive<u64>,
) -> Result<(), LaunchError> {
    let value = value.into();
    if range.contains(&value) {
        return Ok(());
    }
    Err(LaunchError::Range {
        what,
        value,
        from: *range.start(),
        to: *range.end(),
    })
}

pub(crate) fn picture(width: u32, height: u32) -> Result<(), LaunchError> {
    in_range("width", width, 1..=u64::from(MOST))?;
    in_range("height", height, 1..=u64::from(MOST))
}

/// The address of memory that holds at least `needed` bytes, aligned to elements of `align` bytes.
pub(crate) fn tensor(
    what: &'static str,
    memory: Memory,
    needed: u64,
    align: u64,
) -> Result<u64, LaunchError> {
    if memory.bytes < needed {
        return Err(LaunchError::Short {
            what,
            needed,
            got: memory.bytes,
        });
    }
    if memory.address == 0 || !memory.address.is_multiple_of(align) {
        return Err(LaunchError::Alignment { what, bytes: align });
    }
    Ok(memory.address)
}

/// The address of a plane that holds `rows` rows of `row` bytes, of samples of `align` bytes.
pub(crate) fn plane(
    what: &'static str,
    area: Area,
    row: u64,
    rows: u32,
    align: u64,
) -> Result<u64, LaunchError> {
    if u64::from(area.stride) < row {
        return Err(LaunchError::Stride {
            what,
            stride: area.stride,
            row,
        });
    }
    if !u64::from(area.stride).is_multiple_of(align) {
        return Err(LaunchError::Alignment { what, bytes: align });
    }
    let needed = u64::from(area.stride) * u64::from(rows.saturating_sub(1)) + row;
    tensor(what, area.memory, needed, align)
}

/// A kernel with its arguments, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    pub entry: &'static str,
    /// Positions to compute: width and height.
    pub grid: [u32; 2],
    /// The structure that the kernel takes, in memory order.
    pub args: Vec<u8>,
}

/// Threads of a block: width and height. A warp lies along a row, so that its memory does.
pub const BLOCK: [u32; 2] = [32, 8];

impl Launch {
    /// Blocks that cover the grid.
    pub fn blocks(&self) -> [u32; 2] {
        [
            self.grid[0].div_ceil(BLOCK[0]),
            self.grid[1].div_ceil(BLOCK[1]),
        ]
    }
}

/// Builds a kernel's structure: numbers of four bytes and addresses of eight, each aligned to its
/// size as C does.
#[derive(Debug, Default)]
pub(crate) struct Args(Vec<u8>);

impl Args {
    pub fn address(mut self, value: u64) -> Self {
        while !self.0.len().is_multiple_of(8) {
            self.0.push(0);
        }
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub fn i32(mut self, value: i32) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub fn f32(mut self, value: f32) -> Self {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub fn f32s(self, values: &[f32]) -> Self {
        values.iter().fold(self, |args, value| args.f32(*value))
    }

    /// Each aligned to its size.
    pub fn f64s(self, values: &[f64]) -> Self {
        values
            .iter()
            .fold(self, |args, value| args.address(value.to_bits()))
    }

    pub fn u32s(self, values: &[u32]) -> Self {
        values.iter().fold(self, |args, value| args.u32(*value))
    }

    /// Every structure begins with an address, so its size is a multiple of eight.
    pub fn launch(mut self, entry: &'static str, grid: [u32; 2]) -> Launch {
        while !self.0.len().is_multiple_of(8) {
            self.0.push(0);
        }
        Launch {
            entry,
            grid,
            args: self.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(address: u64, bytes: u64) -> Memory {
        Memory { address, bytes }
    }

    #[test]
    fn memory_is_checked_to_the_byte() {
        assert_eq!(tensor("t", memory(8, 100), 100, 4), Ok(8));
        assert!(matches!(
            tensor("t", memory(8, 99), 100, 4),
            Err(LaunchError::Short {
                needed: 100,
                got: 99,
                ..
            })
        ));
        assert!(matches!(
            tensor("t", memory(10, 100), 100, 4),
            Err(LaunchError::Alignment { .. })
        ));
        assert!(tensor("t", memory(0, 100), 1, 1).is_err());
        let area = |bytes, stride| Area {
            memory: memory(64, bytes),
            stride,
        };
        assert_eq!(plane("p", area(25, 10), 5, 3, 1), Ok(64));
        assert!(plane("p", area(24, 10), 5, 3, 1).is_err());
        assert!(matches!(
            plane("p", area(1000, 4), 5, 3, 1),
            Err(LaunchError::Stride { .. })
        ));
        assert!(plane("p", area(1000, 7), 6, 3, 2).is_err());
        assert_eq!(memory(8, 10).from(4), memory(12, 6));
        assert_eq!(memory(8, 10).from(40).bytes, 0);
    }

    #[test]
    fn arguments_lie_as_in_c() {
        let launch = Args::default()
            .u32(1)
            .address(2)
            .u32(3)
            .launch("x", [33, 9]);
        assert_eq!(launch.args.len(), 24);
        assert_eq!(launch.args[8], 2);
        assert_eq!(launch.args[16], 3);
        assert_eq!(launch.blocks(), [2, 2]);
    }
}
