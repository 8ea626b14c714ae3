// SPDX-License-Identifier: Apache-2.0
//! Pictures as rows of chroma with the luma rows that share them.

use super::fit;
use super::format::Packing;
use super::frame::RawFrame;
use super::rows::{pack, pack422, put_alpha, take_alpha, unpack, unpack422};
use crate::simd::kernels;

impl RawFrame<'_> {
    /// Calls `f` with every band from top to bottom. Alpha is there only where it is asked for.
    pub fn for_bands(
        &mut self,
        scratch: &mut BandScratch,
        with_alpha: bool,
        mut f: impl FnMut(&mut Band),
    ) {
        let shape = self.shape;
        let (width, cw) = (shape.width, shape.chroma_width());
        if width == 0 || self.rows == 0 {
            return;
        }
        let BandScratch { a, b, c, alpha } = scratch;
        let alpha_at = self.format.alpha().filter(|_| with_alpha);
        let first = self.first_row;
        let packing = self.format.packing();
        match (packing, self.planes.as_mut_slice()) {
            (Packing::Gray, [plane]) => {
                let rows = plane.data.chunks_mut(plane.stride).take(plane.rows);
                for (y, row) in rows.enumerate() {
                    f(&mut Band {
                        y: first + y,
                        luma: [&mut row[..width], &mut []],
                        chroma: [&mut [], &mut []],
                        alpha: &mut [],
                    });
                }
            }
            (Packing::Planar(u, _), [luma, one, two]) => {
                let (us, vs) = if u == 1 { (one, two) } else { (two, one) };
                let step = 1 << shape.hs;
                let (stride, rows) = (luma.stride, luma.rows);
                let bands = luma.data[..]
                    .chunks_mut(stride * step)
                    .take(rows.div_ceil(step))
                    .zip(us.data.chunks_mut(us.stride))
                    .zip(vs.data.chunks_mut(vs.stride));
                for (index, ((lines, us), vs)) in bands.enumerate() {
                    let left = rows - index * step;
                    f(&mut Band {
                        y: first + index * step,
                        luma: luma_rows(lines, stride, width, step.min(left)),
                        chroma: [&mut us[..cw], &mut vs[..cw]],
                        alpha: &mut [],
                    });
                }
            }
            (Packing::Semi(swapped), [luma, both]) => {
                let (us, vs) = (fit(a, cw), fit(b, cw));
                let (stride, rows) = (luma.stride, luma.rows);
                let bands = luma
                    .data
                    .chunks_mut(stride * 2)
                    .take(rows.div_ceil(2))
                    .zip(both.data.chunks_mut(both.stride));
                for (index, (lines, both)) in bands.enumerate() {
                    let both = &mut both[..cw * 2];
                    let (first_half, second_half) = if swapped {
                        (&mut *vs, &mut *us)
                    } else {
                        (&mut *us, &mut *vs)
                    };
                    kernels::split2(both, first_half, second_half);
                    let left = rows - index * 2;
                    f(&mut Band {
                        y: first + index * 2,
                        luma: luma_rows(lines, stride, width, left.min(2)),
                        chroma: [us, vs],
                        alpha: &mut [],
                    });
                    if swapped {
                        kernels::join2(both, vs, us);
                    } else {
                        kernels::join2(both, us, vs);
                    }
                }
            }
            (Packing::Packed422(offsets), [plane]) => {
                let (ys, us, vs) = (fit(a, width), fit(b, cw), fit(c, cw));
                let rows = plane.data.chunks_mut(plane.stride).take(plane.rows);
                for (y, row) in rows.enumerate() {
                    let row = &mut row[..cw * 4];
                    unpack422(row, offsets, ys, us, vs);
                    f(&mut Band {
                        y: first + y,
                        luma: [&mut *ys, &mut []],
                        chroma: [us, vs],
                        alpha: &mut [],
                    });
                    pack422(row, offsets, ys, us, vs);
                }
            }
            (Packing::Packed(bytes, offsets), [plane]) => {
                let (rs, gs, bs) = (fit(a, width), fit(b, width), fit(c, width));
                let alpha = fit(alpha, if alpha_at.is_some() { width } else { 0 });
                let rows = plane.data.chunks_mut(plane.stride).take(plane.rows);
                for (y, row) in rows.enumerate() {
                    let row = &mut row[..width * bytes];
                    unpack(row, bytes, offsets, rs, gs, bs);
                    if let Some(at) = alpha_at {
                        take_alpha(row, at, alpha);
                    }
                    f(&mut Band {
                        y: first + y,
                        luma: [&mut *rs, &mut []],
                        chroma: [gs, bs],
                        alpha: &mut *alpha,
                    });
                    pack(row, bytes, offsets, rs, gs, bs);
                    if let Some(at) = alpha_at {
                        put_alpha(row, at, alpha);
                    }
                }
            }
            // `new` made as many planes as the format has.
            (packing, planes) => unreachable!("{packing:?} with {} planes", planes.len()),
        }
    }
}

fn luma_rows(lines: &mut [u8], stride: usize, width: usize, rows: usize) -> [&mut [u8]; 2] {
    if rows < 2 {
        return [&mut lines[..width], &mut []];
    }
    let (first, second) = lines.split_at_mut(stride);
    [&mut first[..width], &mut second[..width]]
}

/// Row buffers of [`RawFrame::for_bands`], kept between frames.
#[derive(Default)]
pub struct BandScratch {
    a: Vec<u8>,
    b: Vec<u8>,
    c: Vec<u8>,
    alpha: Vec<u8>,
}

/// The rows that share a row of chroma, as contiguous components: Y, U and V, or R, G and B (red
/// in `luma[0]`, green and blue in `chroma`). Gray pictures have no chroma. The second luma row is
/// empty unless chroma is subsampled vertically, and at the bottom of pictures of odd height.
pub struct Band<'a> {
    /// Number of the first luma row in the picture.
    pub y: usize,
    pub luma: [&'a mut [u8]; 2],
    pub chroma: [&'a mut [u8]; 2],
    /// Of formats that have it, for passes that want it; else empty.
    pub alpha: &'a mut [u8],
}
