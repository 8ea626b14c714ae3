// SPDX-License-Identifier: Apache-2.0
//! Sizes and meanings of components.

use super::{Colorimetry, Family, PixelFormat};

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
