// SPDX-License-Identifier: Apache-2.0
//! Pictures as whole component planes.

use super::format::Packing;
use super::frame::{RawFrame, RawPlane};
use super::rows::{pack, pack422, unpack, unpack422};
use super::{Shape, fit};
use crate::simd::kernels;

impl RawFrame<'_> {
    /// Calls `f` with the whole picture as component planes. `spare` keeps memory between frames.
    pub fn with_picture(&mut self, spare: &mut PictureScratch, f: impl FnOnce(&mut Picture)) {
        let shape = self.shape;
        let (cw, ch) = shape.component_size(1);
        let (width, height) = (shape.width, shape.height);
        if width == 0 || height == 0 {
            return;
        }
        let PictureScratch { a, b, c } = spare;
        let packing = self.format.packing();
        match (packing, self.planes.as_mut_slice()) {
            (Packing::Gray, [plane]) => f(&mut Picture {
                shape,
                planes: vec![borrow(plane, width, height)],
            }),
            (Packing::Planar(u, _), [luma, one, two]) => {
                let (us, vs) = if u == 1 { (one, two) } else { (two, one) };
                f(&mut Picture {
                    shape,
                    planes: vec![
                        borrow(luma, width, height),
                        borrow(us, cw, ch),
                        borrow(vs, cw, ch),
                    ],
                });
            }
            (Packing::Semi(swapped), [luma, both]) => {
                let (us, vs) = (fit(a, cw * ch), fit(b, cw * ch));
                let rows = both.data.chunks_mut(both.stride);
                for ((row, u), v) in rows.zip(us.chunks_mut(cw)).zip(vs.chunks_mut(cw)) {
                    let (u, v) = if swapped { (v, u) } else { (u, v) };
                    kernels::split2(&row[..cw * 2], u, v);
                }
                f(&mut Picture {
                    shape,
                    planes: vec![
                        borrow(luma, width, height),
                        tight(us, cw, ch),
                        tight(vs, cw, ch),
                    ],
                });
                let rows = both.data.chunks_mut(both.stride);
                for ((row, u), v) in rows.zip(us.chunks_mut(cw)).zip(vs.chunks_mut(cw)) {
                    let (u, v) = if swapped { (v, u) } else { (u, v) };
                    kernels::join2(&mut row[..cw * 2], u, v);
                }
            }
            (Packing::Packed422(offsets), [plane]) => {
                let (ys, us, vs) = (fit(a, width * height), fit(b, cw * ch), fit(c, cw * ch));
                let rows = plane.data.chunks_mut(plane.stride).take(height);
                for (((row, y), u), v) in rows
                    .zip(ys.chunks_mut(width))
                    .zip(us.chunks_mut(cw))
                    .zip(vs.chunks_mut(cw))
                {
                    unpack422(&row[..cw * 4], offsets, y, u, v);
                }
                f(&mut Picture {
                    shape,
                    planes: vec![
                        tight(ys, width, height),
                        tight(us, cw, ch),
                        tight(vs, cw, ch),
                    ],
                });
                let rows = plane.data.chunks_mut(plane.stride).take(height);
                for (((row, y), u), v) in rows
                    .zip(ys.chunks(width))
                    .zip(us.chunks(cw))
                    .zip(vs.chunks(cw))
                {
                    pack422(&mut row[..cw * 4], offsets, y, u, v);
                }
            }
            (Packing::Packed(bytes, offsets), [plane]) => {
                let size = width * height;
                let (rs, gs, bs) = (fit(a, size), fit(b, size), fit(c, size));
                let rows = plane.data.chunks_mut(plane.stride).take(height);
                for (((row, r), g), b) in rows
                    .zip(rs.chunks_mut(width))
                    .zip(gs.chunks_mut(width))
                    .zip(bs.chunks_mut(width))
                {
                    unpack(&row[..width * bytes], bytes, offsets, r, g, b);
                }
                f(&mut Picture {
                    shape,
                    planes: vec![
                        tight(rs, width, height),
                        tight(gs, width, height),
                        tight(bs, width, height),
                    ],
                });
                let rows = plane.data.chunks_mut(plane.stride).take(height);
                for (((row, r), g), b) in rows
                    .zip(rs.chunks(width))
                    .zip(gs.chunks(width))
                    .zip(bs.chunks(width))
                {
                    pack(&mut row[..width * bytes], bytes, offsets, r, g, b);
                }
            }
            (packing, planes) => unreachable!("{packing:?} with {} planes", planes.len()),
        }
    }
}

fn borrow<'b>(plane: &'b mut RawPlane, width: usize, height: usize) -> Plane<'b> {
    Plane {
        data: plane.data,
        stride: plane.stride,
        width,
        height,
    }
}

fn tight(data: &mut [u8], width: usize, height: usize) -> Plane<'_> {
    Plane {
        data,
        stride: width,
        width,
        height,
    }
}

/// Plane buffers of [`RawFrame::with_picture`], kept between frames.
#[derive(Default)]
pub struct PictureScratch {
    a: Vec<u8>,
    b: Vec<u8>,
    c: Vec<u8>,
}

/// One component of a picture.
pub struct Plane<'a> {
    pub data: &'a mut [u8],
    pub stride: usize,
    pub width: usize,
    pub height: usize,
}

impl Plane<'_> {
    pub fn row(&self, y: usize) -> &[u8] {
        &self.data[y * self.stride..][..self.width]
    }

    pub fn row_mut(&mut self, y: usize) -> &mut [u8] {
        &mut self.data[y * self.stride..][..self.width]
    }

    /// Rows from top to bottom.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let width = self.width;
        self.data
            .chunks_mut(self.stride.max(1))
            .take(self.height)
            .map(move |row| &mut row[..width])
    }

    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        let width = self.width;
        self.data
            .chunks(self.stride.max(1))
            .take(self.height)
            .map(move |row| &row[..width])
    }

    /// Copies the plane, without padding.
    pub fn copy_to(&self, target: &mut [u8]) {
        for (to, from) in target.chunks_mut(self.width.max(1)).zip(self.rows()) {
            to.copy_from_slice(from);
        }
    }
}

/// A whole picture: one plane of a gray one, otherwise three.
pub struct Picture<'a> {
    pub shape: Shape,
    pub planes: Vec<Plane<'a>>,
}
