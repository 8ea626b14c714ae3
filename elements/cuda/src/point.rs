// SPDX-License-Identifier: Apache-2.0
//! Effects on single samples: a table for each component of a row.

use crate::launch::{Area, Args, Launch, LaunchError, MOST, Memory, in_range, plane, tensor};

/// Rows of samples whose components repeat, and how wide their codes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Samples of a row.
    pub width: u32,
    pub height: u32,
    /// Samples until the first component comes again, each with a table: 1 to 4.
    pub period: u32,
    /// Ten bits in two bytes rather than eight in one.
    pub deep: bool,
    /// Codes lie in the upper bits of two bytes (P010).
    pub upper: bool,
}

impl Point {
    fn shift(&self) -> u32 {
        if self.deep && self.upper { 6 } else { 0 }
    }

    /// Bytes of the tables, one after the other: 256 bytes each, or 1024 numbers of 16 bits.
    pub fn table_bytes(&self) -> u64 {
        u64::from(self.period) * if self.deep { 2048 } else { 256 }
    }

    pub fn launch(&self, tables: Memory, samples: Area) -> Result<Launch, LaunchError> {
        // Packed pixels have four samples a pixel.
        in_range("width", self.width, 1..=4 * u64::from(MOST))?;
        in_range("height", self.height, 1..=u64::from(MOST))?;
        in_range("period", self.period, 1..=4)?;
        let bytes = if self.deep { 2 } else { 1 };
        let row = u64::from(self.width) * bytes;
        let at = plane("the samples", samples, row, self.height, bytes)?;
        let tables = tensor("the tables", tables, self.table_bytes(), bytes)?;
        Ok(Args::default()
            .address(at)
            .address(tables)
            .u32s(&[self.width, self.height, samples.stride, self.period])
            .u32s(&[self.shift(), 0])
            .launch(
                if self.deep { "point_10" } else { "point_8" },
                [self.width, self.height],
            ))
    }

    /// What [`Self::launch`] does, on the CPU.
    ///
    /// # Panics
    /// When the tables or the samples are too short; [`Self::launch`] checks.
    pub fn reference(&self, tables: &[u8], samples: &mut [u8], stride: usize) {
        let (width, period) = (self.width as usize, self.period as usize);
        for row in samples.chunks_mut(stride).take(self.height as usize) {
            for x in 0..width {
                if self.deep {
                    let code =
                        u16::from_le_bytes([row[2 * x], row[2 * x + 1]]) >> self.shift() & 1023;
                    let at = 2 * (x % period * 1024 + usize::from(code));
                    let value = u16::from_ne_bytes([tables[at], tables[at + 1]]) << self.shift();
                    row[2 * x..2 * x + 2].copy_from_slice(&value.to_le_bytes());
                } else {
                    row[x] = tables[x % period * 256 + usize::from(row[x])];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_sizes_are_errors() {
        let memory = |bytes| Memory { address: 64, bytes };
        let area = |bytes, stride| Area {
            memory: memory(bytes),
            stride,
        };
        let spec = Point {
            width: 6,
            height: 2,
            period: 2,
            deep: true,
            upper: true,
        };
        assert!(spec.launch(memory(4096), area(24, 12)).is_ok());
        assert!(spec.launch(memory(4095), area(24, 12)).is_err());
        assert!(spec.launch(memory(4096), area(23, 12)).is_err());
        assert!(spec.launch(memory(4096), area(99, 11)).is_err());
        for wrong in [
            Point { width: 0, ..spec },
            Point { period: 0, ..spec },
            Point { period: 5, ..spec },
            Point {
                width: 1 << 20,
                ..spec
            },
        ] {
            assert!(
                wrong
                    .launch(memory(1 << 30), area(1 << 40, 1 << 31))
                    .is_err(),
                "{wrong:?}"
            );
        }
    }
}
