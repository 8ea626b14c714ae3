// SPDX-License-Identifier: Apache-2.0
//! The memory layouts that the filter takes.

use super::div_up;

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
pub(super) enum Packing {
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

    pub(super) fn packing(self) -> Packing {
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

    /// Where red, green and blue lie among the four bytes of a pixel, in formats that have such.
    pub fn colors_of_four(self) -> Option<[u32; 3]> {
        match self.packing() {
            Packing::Packed(4, places) => Some(places.map(|place| place as u32)),
            _ => None,
        }
    }

    /// Where a pixel's alpha lies among its bytes.
    pub fn alpha(self) -> Option<usize> {
        match self {
            Self::Rgba | Self::Bgra => Some(3),
            Self::Argb | Self::Abgr => Some(0),
            _ => None,
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
