// SPDX-License-Identifier: Apache-2.0
//! Tables of colours in three dimensions. The references are `aivideo_color::table::tetrahedral` (red,
//! green and blue) and `aivideo_color::planes::apply` (luma and chroma), whose table in whole numbers
//! the launcher takes.

use crate::{
    convert::check_order,
    launch::{Area, Args, Launch, LaunchError, Memory, in_range, picture, plane, tensor},
    picture::{Picture, Samples},
};

/// A table as `aivideo_color::table::ColorTable` holds it, without its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Entries along an axis, 2 to 129.
    pub size: u32,
    /// From codes to places: 4096 a step after a shift by eight.
    pub scale: [i32; 3],
    pub offset: [i32; 3],
    /// Bits behind the point in the entries, 4 or 6.
    pub fraction: u32,
    /// The largest code that comes out.
    pub top: u32,
}

impl Table {
    /// Bytes of the entries: four numbers of 16 bits a colour.
    pub fn entry_bytes(&self) -> u64 {
        8 * u64::from(self.size).pow(3)
    }

    fn check(&self, most: u32) -> Result<(), LaunchError> {
        in_range("size of the table", self.size, 2..=129)?;
        in_range("fraction of the table", self.fraction, 1..=8)?;
        in_range("largest code", self.top, 1..=u64::from(most))
    }

    fn words(&self, args: Args, entries: u64) -> Args {
        let args = args.address(entries).u32(self.size);
        let numbers = self.scale.into_iter().chain(self.offset);
        numbers
            .fold(args, Args::i32)
            .u32(12 + self.fraction)
            .u32(self.top)
            .u32(0)
    }

    /// Looks packed pixels of four bytes up, in place; `order` is the place of red, green and blue.
    pub fn packed(
        &self,
        entries: Memory,
        (width, height): (u32, u32),
        order: [u32; 3],
        pixels: Area,
    ) -> Result<Launch, LaunchError> {
        picture(width, height)?;
        check_order(order)?;
        self.check(255)?;
        let entries = tensor("the table", entries, self.entry_bytes(), 2)?;
        let at = plane("the picture", pixels, u64::from(width) * 4, height, 1)?;
        let args = Args::default()
            .address(at)
            .u32s(&[width, height, pixels.stride])
            .u32s(&order)
            .u32(0);
        Ok(self
            .words(args, entries)
            .launch("lut3d_rgba", [width, height]))
    }
}

/// A table of luma and chroma over 4:2:0 pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Yuv {
    pub table: Table,
    /// Chroma lies on the left one of two columns.
    pub cosited: bool,
}

impl Yuv {
    /// From one picture to another of its size, which lies elsewhere and may have another depth: the one
    /// that the table was made for.
    pub fn launch(
        &self,
        entries: Memory,
        from: &Picture,
        to: &Picture,
    ) -> Result<Launch, LaunchError> {
        let deep = to.samples() != Samples::Eight;
        self.table.check(if deep { 1023 } else { 255 })?;
        let entries = tensor("the table", entries, self.table.entry_bytes(), 2)?;
        let (from_at, to_at) = (from.addresses()?, to.addresses()?);
        let problem = match () {
            () if from.size() != to.size() => "both pictures must have the same size",
            () if from_at == to_at => "a picture cannot be looked up in place",
            () => "",
        };
        if !problem.is_empty() {
            return Err(LaunchError::Table {
                what: "planes",
                problem,
            });
        }
        let (width, height) = from.size();
        let addresses = from_at.into_iter().chain(to_at);
        let args = addresses
            .fold(Args::default(), Args::address)
            .u32s(&[width, height])
            .u32s(&from.strides())
            .u32s(&to.strides())
            .u32s(&[from.samples().code(), to.samples().code()])
            .u32s(&[u32::from(self.cosited), 0]);
        let chroma = [width.div_ceil(2), height.div_ceil(2)];
        Ok(self
            .table
            .words(args, entries)
            .launch("lut3d_planes", chroma))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_sizes_are_errors() {
        let memory = |bytes| Memory { address: 64, bytes };
        let area = |address, bytes, stride| Area {
            memory: Memory { address, bytes },
            stride,
        };
        let table = Table {
            size: 2,
            scale: [1; 3],
            offset: [0; 3],
            fraction: 6,
            top: 255,
        };
        let packed = |table: Table, entries, pixels| {
            table.packed(memory(entries), (3, 2), [0, 1, 2], area(64, pixels, 12))
        };
        assert!(packed(table, 64, 24).is_ok());
        assert!(packed(table, 63, 24).is_err() && packed(table, 64, 23).is_err());
        assert!(packed(Table { size: 1, ..table }, 64, 24).is_err());
        assert!(packed(Table { size: 130, ..table }, 1 << 30, 24).is_err());
        assert!(packed(Table { top: 1023, ..table }, 64, 24).is_err());
        let spec = Yuv {
            table,
            cosited: false,
        };
        let planar =
            |address, bytes| Picture::planar(Memory { address, bytes }, (5, 3), Samples::Eight);
        let launch = |from: &Picture, to: &Picture| spec.launch(memory(64), from, to);
        assert!(launch(&planar(64, 27), &planar(256, 27)).is_ok());
        assert!(launch(&planar(64, 26), &planar(256, 27)).is_err());
        assert!(launch(&planar(64, 27), &planar(256, 26)).is_err());
        assert!(launch(&planar(64, 27), &planar(64, 27)).is_err());
        let mut odd = planar(256, 27);
        odd.v.step = 2;
        assert!(launch(&planar(64, 27), &odd).is_err());
        let large = Picture::planar(memory(1 << 20), (6, 3), Samples::Eight);
        assert!(launch(&planar(1 << 21, 27), &large).is_err());
        // A table for eight bits may not be looked up for ten less than its largest code.
        let deep = Yuv {
            table: Table { top: 1023, ..table },
            ..spec
        };
        assert!(
            deep.launch(memory(64), &planar(64, 27), &planar(256, 27))
                .is_err()
        );
    }
}
