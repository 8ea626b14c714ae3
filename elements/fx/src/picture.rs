// SPDX-License-Identifier: Apache-2.0
//! Pictures as the effects see them, whatever the memory layout.
//!
//! A [`RawFrame`] is the caller's memory: planes of bytes with strides, in one of the
//! [`PixelFormat`]s. Effects never look at it. They see either a [`Band`] (one chroma row and the
//! luma rows that share it, each component a contiguous row) or a [`Picture`] (three whole
//! component planes). Planar formats are borrowed for this, the others are unpacked and packed
//! again around the effect.

use crate::simd::kernels;

/// What the three components of a picture mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Luminance only: the second and third component are empty.
    Gray,
    /// Y, U, V.
    Yuv,
    /// R, G, B.
    Rgb,
}

/// The memory layouts that the filter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelFormat {
    I420,
    Yv12,
    Nv12,
    Nv21,
    Y42b,
    Y444,
    Yuy2,
    Uyvy,
    Rgb,
    Bgr,
    Rgbx,
    Bgrx,
    Xrgb,
    Xbgr,
    Rgba,
    Bgra,
    Argb,
    Abgr,
    Gray8,
}

/// How components lie in the planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Gray,
    /// One component a plane; the planes that hold the second and third one.
    Planar(usize, usize),
    /// Interleaved chroma; true when V comes first.
    Semi(bool),
    /// Two pixels in four bytes; the offsets of Y, U and V.
    Packed422([usize; 3]),
    /// Bytes a pixel and the offsets of the three components.
    Packed(usize, [usize; 3]),
}

impl PixelFormat {
    pub const ALL: [PixelFormat; 19] = [
        Self::I420,
        Self::Nv12,
        Self::Nv21,
        Self::Yv12,
        Self::Y42b,
        Self::Y444,
        Self::Yuy2,
        Self::Uyvy,
        Self::Rgbx,
        Self::Bgrx,
        Self::Xrgb,
        Self::Xbgr,
        Self::Rgba,
        Self::Bgra,
        Self::Argb,
        Self::Abgr,
        Self::Rgb,
        Self::Bgr,
        Self::Gray8,
    ];

    fn packing(self) -> Packing {
        match self {
            Self::I420 | Self::Y42b | Self::Y444 => Packing::Planar(1, 2),
            Self::Yv12 => Packing::Planar(2, 1),
            Self::Nv12 => Packing::Semi(false),
            Self::Nv21 => Packing::Semi(true),
            Self::Yuy2 => Packing::Packed422([0, 1, 3]),
            Self::Uyvy => Packing::Packed422([1, 0, 2]),
            Self::Rgb => Packing::Packed(3, [0, 1, 2]),
            Self::Bgr => Packing::Packed(3, [2, 1, 0]),
            Self::Rgbx | Self::Rgba => Packing::Packed(4, [0, 1, 2]),
            Self::Bgrx | Self::Bgra => Packing::Packed(4, [2, 1, 0]),
            Self::Xrgb | Self::Argb => Packing::Packed(4, [1, 2, 3]),
            Self::Xbgr | Self::Abgr => Packing::Packed(4, [3, 2, 1]),
            Self::Gray8 => Packing::Gray,
        }
    }

    pub fn family(self) -> Family {
        match self.packing() {
            Packing::Gray => Family::Gray,
            Packing::Packed(..) => Family::Rgb,
            _ => Family::Yuv,
        }
    }

    /// Binary logarithms of the horizontal and vertical chroma subsampling.
    pub fn subsampling(self) -> (u32, u32) {
        match self {
            Self::I420 | Self::Yv12 | Self::Nv12 | Self::Nv21 => (1, 1),
            Self::Y42b | Self::Yuy2 | Self::Uyvy => (1, 0),
            _ => (0, 0),
        }
    }

    pub fn plane_count(self) -> usize {
        match self.packing() {
            Packing::Planar(..) => 3,
            Packing::Semi(_) => 2,
            _ => 1,
        }
    }

    /// Which component each byte of a plane belongs to, as a repeating pattern. Bytes that belong
    /// to none (alpha, padding) are `None`.
    pub fn pattern(self, plane: usize) -> Vec<Option<usize>> {
        match self.packing() {
            Packing::Gray => vec![Some(0)],
            Packing::Planar(u, v) => {
                if plane == u {
                    vec![Some(1)]
                } else if plane == v {
                    vec![Some(2)]
                } else {
                    vec![Some(0)]
                }
            }
            Packing::Semi(_) if plane == 0 => vec![Some(0)],
            Packing::Semi(false) => vec![Some(1), Some(2)],
            Packing::Semi(true) => vec![Some(2), Some(1)],
            Packing::Packed422([y, u, v]) => {
                let mut pattern = vec![None; 4];
                pattern[y] = Some(0);
                pattern[y + 2] = Some(0);
                pattern[u] = Some(1);
                pattern[v] = Some(2);
                pattern
            }
            Packing::Packed(bytes, offsets) => {
                let mut pattern = vec![None; bytes];
                for (component, offset) in offsets.into_iter().enumerate() {
                    pattern[offset] = Some(component);
                }
                pattern
            }
        }
    }

    /// Bytes a row and rows of a plane of a picture of this size.
    pub fn plane_size(self, plane: usize, width: usize, height: usize) -> (usize, usize) {
        let (ws, hs) = self.subsampling();
        let (cw, ch) = (div_up(width, ws), div_up(height, hs));
        match self.packing() {
            Packing::Packed(bytes, _) => (width * bytes, height),
            Packing::Packed422(_) => (cw * 4, height),
            Packing::Gray => (width, height),
            _ if plane == 0 => (width, height),
            Packing::Semi(_) => (cw * 2, ch),
            Packing::Planar(..) => (cw, ch),
        }
    }
}

/// How Y, U and V relate to red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Colorimetry {
    /// Weights of red and blue in the luminance.
    pub kr: f32,
    pub kb: f32,
    /// Black is 16 and white 235 (else 0 and 255).
    pub limited: bool,
}

impl Colorimetry {
    pub const BT601: Self = Self {
        kr: 0.299,
        kb: 0.114,
        limited: true,
    };
    pub const BT709: Self = Self {
        kr: 0.2126,
        kb: 0.0722,
        limited: true,
    };

    /// What a picture of this height most likely is, when nobody says.
    pub fn for_height(height: usize) -> Self {
        if height > 576 {
            Self::BT709
        } else {
            Self::BT601
        }
    }

    pub fn kg(&self) -> f32 {
        1.0 - self.kr - self.kb
    }

    /// Code value of black, and the distance from black to white.
    pub fn luma_range(&self) -> (f32, f32) {
        if self.limited {
            (16.0, 219.0)
        } else {
            (0.0, 255.0)
        }
    }

    /// Code values between the extremes of a chroma component.
    pub fn chroma_range(&self) -> f32 {
        if self.limited { 224.0 } else { 255.0 }
    }

    /// From R, G, B of 0 to 1 to code values, not rounded.
    pub fn encode(&self, [r, g, b]: [f32; 3]) -> [f32; 3] {
        let (black, range) = self.luma_range();
        let y = self.kr * r + self.kg() * g + self.kb * b;
        let u = (b - y) / (2.0 * (1.0 - self.kb));
        let v = (r - y) / (2.0 * (1.0 - self.kr));
        let c = self.chroma_range();
        [black + range * y, 128.0 + c * u, 128.0 + c * v]
    }

    /// From code values to R, G, B of 0 to 1, not clamped.
    pub fn decode(&self, [y, u, v]: [f32; 3]) -> [f32; 3] {
        let (black, range) = self.luma_range();
        let c = self.chroma_range();
        let (y, u, v) = ((y - black) / range, (u - 128.0) / c, (v - 128.0) / c);
        let r = y + 2.0 * (1.0 - self.kr) * v;
        let b = y + 2.0 * (1.0 - self.kb) * u;
        let g = (y - self.kr * r - self.kb * b) / self.kg();
        [r, g, b]
    }
}

/// Everything about a picture but its pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    pub family: Family,
    pub width: usize,
    pub height: usize,
    /// Binary logarithms of the chroma subsampling.
    pub ws: u32,
    pub hs: u32,
    /// Of RGB pictures: the luminance weights that colour effects use.
    pub color: Colorimetry,
}

impl Shape {
    pub fn new(format: PixelFormat, width: usize, height: usize, color: Colorimetry) -> Self {
        let (ws, hs) = format.subsampling();
        Self {
            family: format.family(),
            width,
            height,
            ws,
            hs,
            color,
        }
    }

    pub fn components(&self) -> usize {
        if self.family == Family::Gray { 1 } else { 3 }
    }

    /// Width and height of a component's plane.
    pub fn component_size(&self, component: usize) -> (usize, usize) {
        match (component, self.family) {
            (0, _) | (_, Family::Rgb) => (self.width, self.height),
            (_, Family::Gray) => (0, 0),
            (_, Family::Yuv) => (div_up(self.width, self.ws), div_up(self.height, self.hs)),
        }
    }

    /// Binary logarithms of a component's subsampling.
    pub fn component_shift(&self, component: usize) -> (u32, u32) {
        if component == 0 {
            (0, 0)
        } else {
            (self.ws, self.hs)
        }
    }

    /// True for U and V, which are centred on 128.
    pub fn is_chroma(&self, component: usize) -> bool {
        self.family == Family::Yuv && component > 0
    }

    /// Code value of black and distance to white of a component that carries brightness.
    pub fn brightness_range(&self) -> (f32, f32) {
        match self.family {
            Family::Rgb => (0.0, 255.0),
            _ => self.color.luma_range(),
        }
    }

    pub fn chroma_width(&self) -> usize {
        self.component_size(1).0
    }
}

pub(crate) fn div_up(value: usize, shift: u32) -> usize {
    (value + (1 << shift) - 1) >> shift
}

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
    first_row: usize,
    rows: usize,
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

    /// Calls `f` with every band from top to bottom.
    pub fn for_bands(&mut self, scratch: &mut BandScratch, mut f: impl FnMut(&mut Band)) {
        let shape = self.shape;
        let (width, cw) = (shape.width, shape.chroma_width());
        if width == 0 || self.rows == 0 {
            return;
        }
        let BandScratch { a, b, c } = scratch;
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
                    });
                    pack422(row, offsets, ys, us, vs);
                }
            }
            (Packing::Packed(bytes, offsets), [plane]) => {
                let (rs, gs, bs) = (fit(a, width), fit(b, width), fit(c, width));
                let rows = plane.data.chunks_mut(plane.stride).take(plane.rows);
                for (y, row) in rows.enumerate() {
                    let row = &mut row[..width * bytes];
                    unpack(row, bytes, offsets, rs, gs, bs);
                    f(&mut Band {
                        y: first + y,
                        luma: [&mut *rs, &mut []],
                        chroma: [gs, bs],
                    });
                    pack(row, bytes, offsets, rs, gs, bs);
                }
            }
            // `new` made as many planes as the format has.
            (packing, planes) => unreachable!("{packing:?} with {} planes", planes.len()),
        }
    }

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

fn luma_rows(lines: &mut [u8], stride: usize, width: usize, rows: usize) -> [&mut [u8]; 2] {
    if rows < 2 {
        return [&mut lines[..width], &mut []];
    }
    let (first, second) = lines.split_at_mut(stride);
    [&mut first[..width], &mut second[..width]]
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

/// The first `len` bytes of a buffer that grows when needed.
pub(crate) fn fit(buffer: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    &mut buffer[..len]
}

fn unpack(row: &[u8], bytes: usize, o: [usize; 3], a: &mut [u8], b: &mut [u8], c: &mut [u8]) {
    if bytes == 3 {
        kernels::split3(row, o, a, b, c);
    } else {
        kernels::split4(row, o, a, b, c);
    }
}

fn pack(row: &mut [u8], bytes: usize, o: [usize; 3], a: &[u8], b: &[u8], c: &[u8]) {
    if bytes == 3 {
        kernels::join3(row, o, a, b, c);
    } else {
        kernels::join4(row, o, a, b, c);
    }
}

fn unpack422(row: &[u8], [y, u, v]: [usize; 3], ys: &mut [u8], us: &mut [u8], vs: &mut [u8]) {
    for (quad, pair) in row.chunks_exact(4).zip(ys.chunks_mut(2)) {
        for (i, value) in pair.iter_mut().enumerate() {
            *value = quad[y + 2 * i];
        }
    }
    for ((quad, us), vs) in row.chunks_exact(4).zip(us).zip(vs) {
        *us = quad[u];
        *vs = quad[v];
    }
}

fn pack422(row: &mut [u8], [y, u, v]: [usize; 3], ys: &[u8], us: &[u8], vs: &[u8]) {
    for (((quad, pair), us), vs) in row.chunks_exact_mut(4).zip(ys.chunks(2)).zip(us).zip(vs) {
        for (i, value) in pair.iter().enumerate() {
            quad[y + 2 * i] = *value;
        }
        quad[u] = *us;
        quad[v] = *vs;
    }
}

/// Row buffers of [`RawFrame::for_bands`], kept between frames.
#[derive(Default)]
pub struct BandScratch {
    a: Vec<u8>,
    b: Vec<u8>,
    c: Vec<u8>,
}

/// Plane buffers of [`RawFrame::with_picture`], kept between frames.
#[derive(Default)]
pub struct PictureScratch {
    a: Vec<u8>,
    b: Vec<u8>,
    c: Vec<u8>,
}

/// The rows that share a row of chroma, as contiguous components: Y, U and V, or R, G and B (red
/// in `luma[0]`, green and blue in `chroma`). Gray pictures have no chroma. The second luma row is
/// empty unless chroma is subsampled vertically, and at the bottom of pictures of odd height.
pub struct Band<'a> {
    /// Number of the first luma row in the picture.
    pub y: usize,
    pub luma: [&'a mut [u8]; 2],
    pub chroma: [&'a mut [u8]; 2],
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

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(format: PixelFormat, w: usize, h: usize, padding: usize) -> Vec<(Vec<u8>, usize)> {
        (0..format.plane_count())
            .map(|plane| {
                let (row, rows) = format.plane_size(plane, w, h);
                let stride = row + padding;
                let data = (0..stride * rows)
                    .map(|i| (i * 7 + plane * 31) as u8)
                    .collect();
                (data, stride)
            })
            .collect()
    }

    fn frame(
        format: PixelFormat,
        w: usize,
        h: usize,
        planes: &mut [(Vec<u8>, usize)],
    ) -> RawFrame<'_> {
        let planes = planes
            .iter_mut()
            .map(|(d, s)| (d.as_mut_slice(), *s))
            .collect();
        RawFrame::new(format, w, h, Colorimetry::BT601, planes).unwrap()
    }

    /// A band and a picture must show the same components, and touching nothing must change
    /// nothing: so unpacking and packing are inverses.
    #[test]
    fn bands_and_pictures_agree_and_leave_memory_alone() {
        for format in PixelFormat::ALL {
            for (w, h) in [(1, 1), (2, 3), (17, 9), (34, 5), (64, 4)] {
                for padding in [0, 5] {
                    let mut planes = memory(format, w, h, padding);
                    let before = planes.clone();
                    let mut whole: Vec<Vec<u8>> = Vec::new();
                    frame(format, w, h, &mut planes).with_picture(
                        &mut PictureScratch::default(),
                        |picture| {
                            for plane in &picture.planes {
                                whole.push(plane.rows().flatten().copied().collect());
                            }
                        },
                    );
                    let mut bands = vec![Vec::new(); whole.len()];
                    for mut part in frame(format, w, h, &mut planes).split(3) {
                        part.for_bands(&mut BandScratch::default(), |band| {
                            bands[0].extend_from_slice(band.luma[0]);
                            bands[0].extend_from_slice(band.luma[1]);
                            if bands.len() > 1 {
                                bands[1].extend_from_slice(band.chroma[0]);
                                bands[2].extend_from_slice(band.chroma[1]);
                            }
                        });
                    }
                    assert_eq!(whole, bands, "{format:?} {w}x{h}");
                    assert_eq!(planes, before, "{format:?} {w}x{h}");
                }
            }
        }
    }

    /// The pattern and the unpacking must name the same bytes.
    #[test]
    fn patterns_match_the_components() {
        for format in PixelFormat::ALL {
            let (w, h) = (6, 4);
            let mut planes = memory(format, w, h, 3);
            let mut expected = vec![Vec::new(); 3];
            for (index, (data, stride)) in planes.iter().enumerate() {
                let (row, rows) = format.plane_size(index, w, h);
                let pattern = format.pattern(index);
                for y in 0..rows {
                    for (x, value) in data[y * stride..][..row].iter().enumerate() {
                        if let Some(component) = pattern[x % pattern.len()] {
                            expected[component].push(*value);
                        }
                    }
                }
            }
            frame(format, w, h, &mut planes).with_picture(
                &mut PictureScratch::default(),
                |picture| {
                    for (component, plane) in picture.planes.iter().enumerate() {
                        let got: Vec<u8> = plane.rows().flatten().copied().collect();
                        assert_eq!(got, expected[component], "{format:?} {component}");
                    }
                },
            );
        }
    }

    #[test]
    fn memory_that_is_too_small_is_refused() {
        let mut y = vec![0; 16];
        let color = Colorimetry::BT601;
        let error = RawFrame::new(PixelFormat::Gray8, 4, 4, color, vec![(&mut y, 3)]).err();
        assert_eq!(
            error,
            Some(FrameError::Stride {
                plane: 0,
                stride: 3,
                row: 4
            })
        );
        let error = RawFrame::new(PixelFormat::Gray8, 4, 4, color, vec![(&mut y, 5)]).err();
        assert_eq!(
            error,
            Some(FrameError::Short {
                plane: 0,
                len: 16,
                needed: 19
            })
        );
        let error = RawFrame::new(PixelFormat::Nv12, 4, 4, color, vec![(&mut y, 4)]).err();
        assert_eq!(error, Some(FrameError::PlaneCount(PixelFormat::Nv12, 2, 1)));
    }

    #[test]
    fn colour_conversion_is_invertible_and_knows_black_and_white() {
        for color in [
            Colorimetry::BT601,
            Colorimetry::BT709,
            Colorimetry {
                limited: false,
                ..Colorimetry::BT709
            },
        ] {
            let (black, range) = color.luma_range();
            for (rgb, y) in [([0.0; 3], black), ([1.0; 3], black + range)] {
                let code = color.encode(rgb);
                assert!((code[0] - y).abs() < 1e-3);
                assert!((code[1] - 128.0).abs() < 1e-3 && (code[2] - 128.0).abs() < 1e-3);
            }
            let rgb = [0.2, 0.7, 0.4];
            let back = color.decode(color.encode(rgb));
            for (a, b) in rgb.iter().zip(back) {
                assert!((a - b).abs() < 1e-5);
            }
        }
        // Pure red in BT.601 limited range, from the recommendation: 81, 90, 240.
        let red = Colorimetry::BT601.encode([1.0, 0.0, 0.0]).map(f32::round);
        assert_eq!(red, [81.0, 90.0, 240.0]);
    }
}
