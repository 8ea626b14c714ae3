// SPDX-License-Identifier: Apache-2.0
//! Feature maps: rows of positions, with a border of zeros where a 3x3 window needs one.

use crate::aligned::Aligned;
use crate::dense::Tap;
use rayon::prelude::*;

/// A feature map.
#[derive(Debug, Default)]
pub struct Map {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    border: usize,
    /// Floats from row to row.
    stride: usize,
    data: Aligned<f32>,
}

/// Some rows of a map, to be written.
pub struct Rows<'a> {
    pub first: usize,
    pub count: usize,
    width: usize,
    channels: usize,
    border: usize,
    stride: usize,
    data: &'a mut [f32],
}

impl Map {
    pub fn new(width: usize, height: usize, channels: usize, border: usize) -> Self {
        Self::with_stride(width + 2 * border, width, height, channels, border)
    }

    /// A map whose rows go on with zeros as far as tiles of [`Conv`](crate::conv::Conv) reach.
    pub fn windowed(width: usize, height: usize, channels: usize, border: usize) -> Self {
        let reach = crate::transform::reach(width) + 2 * border;
        Self::with_stride(reach, width, height, channels, border)
    }

    fn with_stride(
        positions: usize,
        width: usize,
        height: usize,
        channels: usize,
        border: usize,
    ) -> Self {
        let stride = positions * channels;
        Self {
            width,
            height,
            channels,
            border,
            stride,
            data: Aligned::zeros(stride * (height + 2 * border)),
        }
    }

    /// From a position on; -1 is in the border.
    pub fn from(&self, row: isize, column: isize) -> &[f32] {
        let border = self.border as isize;
        let (row, column) = ((row + border) as usize, (column + border) as usize);
        &self.data[row * self.stride + column * self.channels..]
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

    /// Parts of `count` rows, to be filled in parallel, each by whoever is free: cores are not equally fast when
    /// they are shared with others.
    pub fn split(&mut self, count: usize) -> impl IndexedParallelIterator<Item = Rows<'_>> {
        let (stride, border) = (self.stride, self.border);
        let (width, channels, height) = (self.width, self.channels, self.height);
        let data = &mut self.data[border * stride..(border + height) * stride];
        data.par_chunks_mut(count * stride)
            .with_max_len(1)
            .enumerate()
            .map(move |(i, data)| Rows {
                first: i * count,
                count: data.len() / stride,
                width,
                channels,
                border,
                stride,
                data,
            })
    }
}

impl Rows<'_> {
    pub fn width(&self) -> usize {
        self.width
    }

    /// The `i`-th of these rows, without its border.
    pub fn row(&mut self, i: usize) -> &mut [f32] {
        let from = i * self.stride + self.border * self.channels;
        &mut self.data[from..from + self.width * self.channels]
    }

    /// From the first position of the first row on, and the floats from row to row.
    pub fn inside(&mut self) -> (&mut [f32], usize) {
        (&mut self.data[self.border * self.channels..], self.stride)
    }
}
