// SPDX-License-Identifier: Apache-2.0
//! Pictures of the coded size.

use crate::motion::{Reference, Sample};
use aivideo_core::deep::Yuv420Deep;
use aivideo_core::pixels::Yuv420;

/// The planes of a picture of the display size, tightly packed.
#[derive(Debug, Clone, Copy)]
pub struct Planes<'a, S = u8> {
    pub width: usize,
    pub height: usize,
    pub y: &'a [S],
    pub u: &'a [S],
    pub v: &'a [S],
}

/// The same to be written.
#[derive(Debug)]
pub struct PlanesMut<'a, S = u8> {
    pub width: usize,
    pub height: usize,
    pub y: &'a mut [S],
    pub u: &'a mut [S],
    pub v: &'a mut [S],
}

macro_rules! planes {
    ($sample:ty, $picture:ty) => {
        impl<'a> From<&'a $picture> for Planes<'a, $sample> {
            fn from(picture: &'a $picture) -> Self {
                Self {
                    width: picture.width,
                    height: picture.height,
                    y: &picture.y,
                    u: &picture.u,
                    v: &picture.v,
                }
            }
        }

        impl<'a> From<&'a mut $picture> for PlanesMut<'a, $sample> {
            fn from(picture: &'a mut $picture) -> Self {
                Self {
                    width: picture.width,
                    height: picture.height,
                    y: &mut picture.y,
                    u: &mut picture.u,
                    v: &mut picture.v,
                }
            }
        }
    };
}

planes!(u8, Yuv420);
planes!(u16, Yuv420Deep);

/// Planes as the networks take them: luma, then U and V one after the other, tightly packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture<S = u8> {
    pub width: usize,
    pub height: usize,
    pub y: Vec<S>,
    pub uv: Vec<S>,
}

impl<S: Sample> Picture<S> {
    /// Mid grey: what a key frame is predicted from.
    pub fn grey(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            y: vec![S::GREY; width * height],
            uv: vec![S::GREY; width * height / 2],
        }
    }

    /// Luma, and chroma.
    pub fn planes_mut(&mut self) -> [&mut [S]; 2] {
        [&mut self.y, &mut self.uv]
    }

    /// Makes all of it mid grey.
    pub fn fill_grey(&mut self) {
        self.y.fill(S::GREY);
        self.uv.fill(S::GREY);
    }

    /// Takes a picture of the display size over, repeating its right and lower edge.
    pub fn load<'a>(&mut self, source: impl Into<Planes<'a, S>>) {
        let source = source.into();
        let (width, height) = (self.width, self.height);
        let half = source.width.div_ceil(2);
        fill(&mut self.y, width, height, source.y, source.width);
        let (u, v) = self.uv.split_at_mut(width * height / 4);
        fill(u, width / 2, height / 2, source.u, half);
        fill(v, width / 2, height / 2, source.v, half);
    }

    /// Copies the display part out.
    pub fn crop<'a>(&self, out: impl Into<PlanesMut<'a, S>>) {
        let out = out.into();
        let (cw, ch) = (out.width.div_ceil(2), out.height.div_ceil(2));
        let (u, v) = self.uv.split_at(self.width * self.height / 4);
        cut(out.y, out.width, out.height, &self.y, self.width);
        cut(out.u, cw, ch, u, self.width / 2);
        cut(out.v, cw, ch, v, self.width / 2);
    }

    /// Copies a 16x16 block (and its chroma) out of another picture.
    pub fn copy_block(&mut self, other: &Self, x: usize, y: usize) {
        let copy = |out: &mut [S], source: &[S], stride: usize, at: usize, size: usize| {
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
    pub fn to_reference(&self, reference: &mut Reference<S>) {
        reference.load(&self.y, &self.uv);
    }
}

fn fill<S: Sample>(out: &mut [S], width: usize, height: usize, source: &[S], stride: usize) {
    let mut rows = source.chunks_exact(stride);
    for y in 0..height {
        match rows.next() {
            Some(row) => {
                let out = &mut out[y * width..][..width];
                out[..row.len()].copy_from_slice(row);
                out[row.len()..].fill(row[row.len() - 1]);
            }
            None => out.copy_within((y - 1) * width..y * width, y * width),
        }
    }
}

fn cut<S: Sample>(out: &mut [S], width: usize, height: usize, source: &[S], stride: usize) {
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
        let mut a = Picture::<u8>::grey(64, 64);
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
