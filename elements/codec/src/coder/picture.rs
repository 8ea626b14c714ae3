// SPDX-License-Identifier: Apache-2.0
//! Pictures of the coded size.

use crate::motion::Reference;
use aivideo_core::pixels::{PlaneRef, Yuv420};

/// Planes as the networks take them: luma, then U and V one after the other, tightly packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub y: Vec<u8>,
    pub uv: Vec<u8>,
}

impl Picture {
    /// Mid grey: what a key frame is predicted from.
    pub fn grey(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            y: vec![128; width * height],
            uv: vec![128; width * height / 2],
        }
    }

    /// Takes a picture of the display size over, repeating its right and lower edge.
    pub fn load(&mut self, source: &Yuv420) {
        let (width, height) = (self.width, self.height);
        fill(&mut self.y, width, height, source.y_plane());
        let (u, v) = self.uv.split_at_mut(width * height / 4);
        fill(u, width / 2, height / 2, source.u_plane());
        fill(v, width / 2, height / 2, source.v_plane());
    }

    /// Copies the display part out.
    pub fn crop(&self, out: &mut Yuv420) {
        let (cw, ch) = (out.chroma_width(), out.chroma_height());
        let (u, v) = self.uv.split_at(self.width * self.height / 4);
        cut(&mut out.y, out.width, out.height, &self.y, self.width);
        cut(&mut out.u, cw, ch, u, self.width / 2);
        cut(&mut out.v, cw, ch, v, self.width / 2);
    }

    /// Copies a 16x16 block (and its chroma) out of another picture.
    pub fn copy_block(&mut self, other: &Self, x: usize, y: usize) {
        let copy = |out: &mut [u8], source: &[u8], stride: usize, at: usize, size: usize| {
            for i in 0..size {
                let at = at + i * stride;
                out[at..at + size].copy_from_slice(&source[at..at + size]);
            }
        };
        let width = self.width;
        copy(&mut self.y, &other.y, width, 16 * y * width + 16 * x, 16);
        let (half, at) = (width / 2, 8 * y * (width / 2) + 8 * x);
        let plane = width * self.height / 4;
        copy(&mut self.uv, &other.uv, half, at, 8);
        copy(&mut self.uv, &other.uv, half, plane + at, 8);
    }

    /// Makes this picture the reference of the next one.
    pub fn to_reference(&self, reference: &mut Reference) {
        reference.load(&self.y, &self.uv);
    }
}

fn fill(out: &mut [u8], width: usize, height: usize, source: PlaneRef<'_>) {
    for y in 0..height {
        if y < source.height {
            let row = source.row(y);
            let out = &mut out[y * width..][..width];
            out[..row.len()].copy_from_slice(row);
            out[row.len()..].fill(row[row.len() - 1]);
        } else {
            out.copy_within((y - 1) * width..y * width, y * width);
        }
    }
}

fn cut(out: &mut [u8], width: usize, height: usize, source: &[u8], stride: usize) {
    for (out, row) in out
        .chunks_exact_mut(width)
        .zip(source.chunks_exact(stride))
        .take(height)
    {
        out.copy_from_slice(&row[..width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sizes_come_back_and_edges_repeat() {
        let mut source = Yuv420::new(17, 33);
        for (i, v) in source
            .y
            .iter_mut()
            .chain(&mut source.u)
            .chain(&mut source.v)
            .enumerate()
        {
            *v = (i * 7) as u8;
        }
        let mut picture = Picture::grey(64, 64);
        picture.load(&source);
        assert_eq!(picture.y[16], picture.y[63]);
        assert_eq!(picture.y[32 * 64..33 * 64], picture.y[63 * 64..]);
        let mut back = Yuv420::new(17, 33);
        picture.crop(&mut back);
        assert_eq!(back, source);
    }

    #[test]
    fn blocks_are_copied_in_all_planes() {
        let mut a = Picture::grey(64, 64);
        let mut b = Picture::grey(64, 64);
        b.y.fill(1);
        b.uv.fill(2);
        a.copy_block(&b, 3, 2);
        assert_eq!(a.y.iter().filter(|&&v| v == 1).count(), 256);
        assert_eq!(a.uv.iter().filter(|&&v| v == 2).count(), 128);
        assert_eq!(
            (
                a.y[32 * 64 + 48],
                a.uv[16 * 32 + 24],
                a.uv[1024 + 16 * 32 + 24]
            ),
            (1, 2, 2)
        );
    }
}
