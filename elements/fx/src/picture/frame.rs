// SPDX-License-Identifier: Apache-2.0
//! The caller's memory, whole or in slices.

use super::{Colorimetry, PixelFormat, Shape, div_up};

/// Why memory cannot be read as a picture.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FrameError {
    #[error("a {0:?} picture has {1} planes, {2} were given")]
    PlaneCount(PixelFormat, usize, usize),
    #[error("plane {plane} has a stride of {stride} bytes, less than its {row} bytes a row")]
    Stride {
        plane: usize,
        stride: usize,
        row: usize,
    },
    #[error("plane {plane} has {len} bytes, {needed} are needed")]
    Short {
        plane: usize,
        len: usize,
        needed: usize,
    },
}

/// One plane of the caller's memory.
pub struct RawPlane<'a> {
    pub data: &'a mut [u8],
    pub stride: usize,
    pub row_bytes: usize,
    pub rows: usize,
}

/// A picture in the caller's memory, or a horizontal slice of one.
pub struct RawFrame<'a> {
    pub format: PixelFormat,
    pub shape: Shape,
    pub planes: Vec<RawPlane<'a>>,
    /// Row of the whole picture at which this slice begins, and the slice's rows.
    pub(super) first_row: usize,
    pub(super) rows: usize,
}

impl<'a> RawFrame<'a> {
    /// Takes planes and their strides, in GStreamer's order.
    pub fn new(
        format: PixelFormat,
        width: usize,
        height: usize,
        color: Colorimetry,
        planes: Vec<(&'a mut [u8], usize)>,
    ) -> Result<Self, FrameError> {
        if planes.len() != format.plane_count() {
            return Err(FrameError::PlaneCount(
                format,
                format.plane_count(),
                planes.len(),
            ));
        }
        let mut raw = Vec::with_capacity(planes.len());
        for (plane, (data, stride)) in planes.into_iter().enumerate() {
            let (row, rows) = format.plane_size(plane, width, height);
            if stride < row {
                return Err(FrameError::Stride { plane, stride, row });
            }
            let needed = match rows {
                0 => 0,
                rows => stride.saturating_mul(rows - 1).saturating_add(row),
            };
            if data.len() < needed {
                return Err(FrameError::Short {
                    plane,
                    len: data.len(),
                    needed,
                });
            }
            raw.push(RawPlane {
                data,
                stride,
                row_bytes: row,
                rows,
            });
        }
        Ok(Self {
            format,
            shape: Shape::new(format, width, height, color),
            planes: raw,
            first_row: 0,
            rows: height,
        })
    }

    /// The same memory for a shorter time.
    pub fn reborrow(&mut self) -> RawFrame<'_> {
        let planes = self.planes.iter_mut().map(|plane| RawPlane {
            data: &mut *plane.data,
            ..*plane
        });
        RawFrame {
            format: self.format,
            shape: self.shape,
            planes: planes.collect(),
            first_row: self.first_row,
            rows: self.rows,
        }
    }

    /// Cuts the picture into at most `parts` slices of whole bands.
    pub fn split(self, parts: usize) -> Vec<RawFrame<'a>> {
        let hs = self.shape.hs;
        let bands = div_up(self.rows, hs);
        let per_part = bands.div_ceil(parts.max(1)).max(1);
        if per_part >= bands {
            return vec![self];
        }
        let mut rest = self;
        let mut slices = Vec::with_capacity(parts);
        while rest.rows > per_part << hs {
            let rows = per_part << hs;
            let (top, bottom) = rest.split_at(rows);
            slices.push(top);
            rest = bottom;
        }
        slices.push(rest);
        slices
    }

    /// `rows` must be a whole number of bands and less than the slice has.
    fn split_at(self, rows: usize) -> (RawFrame<'a>, RawFrame<'a>) {
        let (mut top, mut bottom) = (Vec::new(), Vec::new());
        for (index, plane) in self.planes.into_iter().enumerate() {
            let cut = if index == 0 {
                rows
            } else {
                rows >> self.shape.hs
            };
            let (head, tail) = plane.data.split_at_mut(cut * plane.stride);
            top.push(RawPlane {
                data: head,
                rows: cut,
                ..plane
            });
            bottom.push(RawPlane {
                data: tail,
                stride: plane.stride,
                row_bytes: plane.row_bytes,
                rows: plane.rows - cut,
            });
        }
        (
            RawFrame {
                format: self.format,
                shape: self.shape,
                planes: top,
                first_row: self.first_row,
                rows,
            },
            RawFrame {
                format: self.format,
                shape: self.shape,
                planes: bottom,
                first_row: self.first_row + rows,
                rows: self.rows - rows,
            },
        )
    }

    /// Calls `f` with every row of plane `plane`.
    pub fn for_rows(&mut self, plane: usize, mut f: impl FnMut(&mut [u8])) {
        let plane = &mut self.planes[plane];
        if plane.stride == plane.row_bytes && plane.rows > 0 {
            // One long row: fewer calls and tails.
            f(&mut plane.data[..plane.row_bytes * plane.rows]);
            return;
        }
        let row_bytes = plane.row_bytes;
        for row in plane.data.chunks_mut(plane.stride.max(1)).take(plane.rows) {
            f(&mut row[..row_bytes]);
        }
    }
}
