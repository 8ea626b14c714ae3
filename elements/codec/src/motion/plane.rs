// SPDX-License-Identifier: Apache-2.0
//! A plane whose edges are repeated outwards, so that no vector can point outside of memory.

use super::Sample;

/// Samples with a border on every side.
#[derive(Debug, Clone)]
pub struct Plane<S = u8> {
    data: Vec<S>,
    stride: usize,
    border: usize,
    width: usize,
    height: usize,
}

impl<S: Sample> Plane<S> {
    pub fn new(width: usize, height: usize, border: usize) -> Self {
        let stride = width + 2 * border;
        Self {
            data: vec![S::default(); stride * (height + 2 * border)],
            stride,
            border,
            width,
            height,
        }
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn height(&self) -> usize {
        self.height
    }

    pub fn stride(&self) -> usize {
        self.stride
    }

    pub fn border(&self) -> usize {
        self.border
    }

    /// Samples from `(x, y)` on, in memory order; the coordinates may lie in the border.
    #[inline(always)]
    pub fn from(&self, x: isize, y: isize) -> &[S] {
        let border = self.border as isize;
        let at = (y + border) * self.stride as isize + x + border;
        &self.data[at as usize..]
    }

    /// A row without its border.
    #[inline]
    pub fn row(&self, y: usize) -> &[S] {
        &self.data[(y + self.border) * self.stride + self.border..][..self.width]
    }

    #[inline]
    pub fn row_mut(&mut self, y: usize) -> &mut [S] {
        &mut self.data[(y + self.border) * self.stride + self.border..][..self.width]
    }

    /// All samples, borders included.
    pub fn raw_mut(&mut self) -> &mut [S] {
        &mut self.data
    }

    /// Takes tightly packed samples over and repeats their edges.
    pub fn load(&mut self, samples: &[S]) {
        for (y, row) in samples
            .chunks_exact(self.width)
            .take(self.height)
            .enumerate()
        {
            self.row_mut(y).copy_from_slice(row);
        }
        self.extend();
    }

    /// Repeats the edges into the border.
    pub fn extend(&mut self) {
        let (border, stride, width) = (self.border, self.stride, self.width);
        for row in self
            .data
            .chunks_exact_mut(stride)
            .skip(border)
            .take(self.height)
        {
            let (first, last) = (row[border], row[border + width - 1]);
            row[..border].fill(first);
            row[border + width..].fill(last);
        }
        let top = border * stride;
        let bottom = (border + self.height - 1) * stride;
        for y in 0..border {
            self.data.copy_within(top..top + stride, y * stride);
            let below = (border + self.height + y) * stride;
            self.data.copy_within(bottom..bottom + stride, below);
        }
    }
}

impl Plane {
    /// Fills this plane with the other one at half the size (means of 2x2).
    #[inline(always)]
    pub fn load_half(&mut self, other: &Plane) {
        for y in 0..self.height {
            let (above, below) = (other.row(2 * y), other.row(2 * y + 1));
            let pairs = above.chunks_exact(2).zip(below.chunks_exact(2));
            for (out, (a, b)) in self.row_mut(y).iter_mut().zip(pairs) {
                let sum = u16::from(a[0]) + u16::from(a[1]) + u16::from(b[0]) + u16::from(b[1]);
                *out = ((sum + 2) >> 2) as u8;
            }
        }
        self.extend();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_repeated() {
        let mut plane = Plane::<u8>::new(3, 2, 4);
        plane.load(&[1, 2, 3, 4, 5, 6]);
        for y in -4..6isize {
            for x in -4..7isize {
                let expected = [1, 2, 3, 4, 5, 6][(y.clamp(0, 1) * 3 + x.clamp(0, 2)) as usize];
                assert_eq!(plane.from(x, y)[0], expected, "{x} {y}");
            }
        }
    }

    #[test]
    fn halves_are_means() {
        let mut plane = Plane::new(4, 2, 2);
        plane.load(&[0, 2, 10, 10, 4, 6, 10, 11]);
        let mut half = Plane::new(2, 1, 2);
        half.load_half(&plane);
        assert_eq!(half.row(0), [3, 10]);
    }
}
