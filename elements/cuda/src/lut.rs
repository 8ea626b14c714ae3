// SPDX-License-Identifier: Apache-2.0
//! Tables of colours in three dimensions. The references are `aivideo_color::table::tetrahedral` (red,
//! green and blue) and `aivideo_color::planes::apply` (luma and chroma), whose table in whole numbers
//! the launcher takes.

use crate::{
    convert::check_order,
    launch::{Area, Args, Launch, LaunchError, Memory, in_range, picture, plane, tensor},
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

/// Planes of 4:2:0; interleaved chroma is the same memory twice, the second from its second sample
/// on, with `step` 2.
#[derive(Debug, Clone, Copy)]
pub struct Planes {
    pub y: Area,
    pub u: Area,
    pub v: Area,
}

/// A table of luma and chroma over 4:2:0 pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Yuv {
    pub width: u32,
    pub height: u32,
    pub table: Table,
    /// Ten bits in two bytes rather than eight in one.
    pub deep: bool,
    /// Codes lie in the upper bits of two bytes (P010).
    pub upper: bool,
    /// Samples between those of one chroma component: 1 for planes, 2 for interleaved chroma.
    pub step: u32,
    /// Chroma lies on the left one of two columns.
    pub cosited: bool,
}

impl Yuv {
    /// `to` must not be the memory of `from`, and have its strides.
    pub fn launch(
        &self,
        entries: Memory,
        from: &Planes,
        to: &Planes,
    ) -> Result<Launch, LaunchError> {
        picture(self.width, self.height)?;
        in_range("step of chroma", self.step, 1..=2)?;
        self.table.check(if self.deep { 1023 } else { 255 })?;
        let entries = tensor("the table", entries, self.table.entry_bytes(), 2)?;
        let bytes = if self.deep { 2 } else { 1 };
        let (cw, ch) = (self.width.div_ceil(2), self.height.div_ceil(2));
        // The last sample of a component has none of the other behind it.
        let chroma_row = (u64::from(cw - 1) * u64::from(self.step) + 1) * bytes;
        let strides = |p: &Planes| [p.y.stride, p.u.stride, p.v.stride];
        if strides(from) != strides(to) || from.u.stride != from.v.stride {
            return Err(LaunchError::Table {
                what: "planes",
                problem: "both pictures, and both chroma components, must have the same strides",
            });
        }
        let mut args = Args::default();
        for planes in [from, to] {
            let row = u64::from(self.width) * bytes;
            let y = plane("luma", planes.y, row, self.height, bytes)?;
            let u = plane("U", planes.u, chroma_row, ch, bytes)?;
            let v = plane("V", planes.v, chroma_row, ch, bytes)?;
            if std::ptr::eq(planes, to) && from.y.memory.address == y {
                return Err(LaunchError::Table {
                    what: "planes",
                    problem: "a picture cannot be looked up in place",
                });
            }
            args = args.address(y).address(u).address(v);
        }
        let shift = if self.deep && self.upper { 6 } else { 0 };
        let args = args
            .u32s(&[
                self.width,
                self.height,
                from.y.stride,
                from.u.stride,
                self.step,
            ])
            .u32s(&[u32::from(self.cosited), shift, shift]);
        let entry = if self.deep {
            "lut3d_planes_10"
        } else {
            "lut3d_planes_8"
        };
        Ok(self.table.words(args, entries).launch(entry, [cw, ch]))
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
            width: 5,
            height: 3,
            table,
            deep: false,
            upper: false,
            step: 1,
            cosited: false,
        };
        let planes = |base: u64, u_bytes| Planes {
            y: area(base, 15, 5),
            u: area(base + 32, u_bytes, 3),
            v: area(base + 48, 6, 3),
        };
        assert!(
            spec.launch(memory(64), &planes(64, 6), &planes(256, 6))
                .is_ok()
        );
        assert!(
            spec.launch(memory(64), &planes(64, 5), &planes(256, 6))
                .is_err()
        );
        assert!(
            spec.launch(memory(64), &planes(64, 6), &planes(256, 5))
                .is_err()
        );
        let same = planes(64, 6);
        assert!(spec.launch(memory(64), &same, &planes(64, 6)).is_err());
        assert!(
            Yuv { step: 3, ..spec }
                .launch(memory(64), &same, &planes(256, 6))
                .is_err()
        );
    }
}
