// SPDX-License-Identifier: Apache-2.0
//! Feature maps: rows of positions, with a border of zeros where a 3x3 window needs one.

use super::aligned::Aligned;
use super::kernels::Tap;
use rayon::prelude::*;

/// A feature map.
#[derive(Debug, Default)]
pub struct Map {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    border: usize,
    data: Aligned<f32>,
}

/// Some rows of a map, to be written.
pub struct Rows<'a> {
    pub first: usize,
    pub count: usize,
    width: usize,
    channels: usize,
    border: usize,
    data: &'a mut [f32],
}

impl Map {
    pub fn new(width: usize, height: usize, channels: usize, border: usize) -> Self {
        let len = (width + 2 * border) * (height + 2 * border) * channels;
        Self {
            width,
            height,
            channels,
            border,
            data: Aligned::zeros(len),
        }
    }

    fn stride(&self) -> usize {
        (self.width + 2 * self.border) * self.channels
    }

    /// From a position on; -1 is in the border.
    pub fn from(&self, row: isize, column: isize) -> &[f32] {
        let border = self.border as isize;
        let (row, column) = ((row + border) as usize, (column + border) as usize);
        &self.data[row * self.stride() + column * self.channels..]
    }

    /// A row without its border.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.from(row as isize, 0)[..self.width * self.channels]
    }

    /// A tap of all channels, every `every` positions.
    pub fn tap(&self, row: isize, column: isize, every: usize) -> Tap<'_> {
        Tap {
            data: self.from(row, column),
            step: every * self.channels,
            len: self.channels,
        }
    }

    /// Parts of `count` rows, to be filled in parallel.
    pub fn split(&mut self, count: usize) -> impl IndexedParallelIterator<Item = Rows<'_>> {
        let (stride, border) = (self.stride(), self.border);
        let (width, channels, height) = (self.width, self.channels, self.height);
        let data = &mut self.data[border * stride..(border + height) * stride];
        data.par_chunks_mut(count * stride)
            .enumerate()
            .map(move |(i, data)| Rows {
                first: i * count,
                count: data.len() / stride,
                width,
                channels,
                border,
                data,
            })
    }
}

impl Rows<'_> {
    /// The `i`-th of these rows, without its border.
    pub fn row(&mut self, i: usize) -> &mut [f32] {
        let stride = (self.width + 2 * self.border) * self.channels;
        let from = i * stride + self.border * self.channels;
        &mut self.data[from..from + self.width * self.channels]
    }
}
