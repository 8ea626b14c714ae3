// SPDX-License-Identifier: Apache-2.0
//! Pictures as channel planes of floats, and back.

use aivideo_core::pixels::Yuv420;

use crate::{
    frame::{Colour, Depth},
    tables,
};

/// Channel planes with values of 0 to 1.
pub struct Planes {
    pub width: usize,
    pub height: usize,
    pub data: Vec<Vec<f32>>,
}

impl Planes {
    /// The channels of a picture: luma, or red, green and blue.
    pub fn of(picture: &Yuv420, colour: Colour, channels: usize) -> Self {
        if channels != 1 {
            return to_rgb(picture, colour);
        }
        Self {
            width: picture.width,
            height: picture.height,
            data: vec![picture.y.iter().map(|v| f32::from(*v) / 255.0).collect()],
        }
    }

    /// A tile of it; what lies outside repeats the edge.
    pub fn tile(&self, at: (usize, usize), size: (usize, usize)) -> Self {
        let all = (self.width, self.height);
        Self {
            width: size.0,
            height: size.1,
            data: self
                .data
                .iter()
                .map(|plane| cut(plane, all, at, size))
                .collect(),
        }
    }
}

pub fn byte(value: f32) -> u8 {
    (value * 255.0).round().clamp(0.0, 255.0) as u8
}

/// A tile of a plane; what lies outside of the plane repeats its edge.
fn cut(
    plane: &[f32],
    (width, height): (usize, usize),
    (x, y): (usize, usize),
    (tile_width, tile_height): (usize, usize),
) -> Vec<f32> {
    let mut out = Vec::with_capacity(tile_width * tile_height);
    for row in y..y + tile_height {
        let line = &plane[row.min(height - 1) * width..][..width];
        let inside = (x + tile_width).min(width);
        out.extend_from_slice(&line[x.min(width - 1)..inside]);
        out.resize(
            out.len() + tile_width - (inside - x.min(width - 1)),
            line[width - 1],
        );
    }
    out
}

fn to_rgb(picture: &Yuv420, colour: Colour) -> Planes {
    let (w, h, cw) = (picture.width, picture.height, picture.chroma_width());
    let mut data: [_; 3] = std::array::from_fn(|_| Vec::with_capacity(w * h));
    for y in 0..h {
        for x in 0..w {
            let chroma = y / 2 * cw + x / 2;
            let yuv = [picture.y[y * w + x], picture.u[chroma], picture.v[chroma]];
            let rgb = tables::to_rgb(colour, Depth::Eight, yuv.map(|v| f64::from(v) / 255.0));
            for (plane, v) in data.iter_mut().zip(rgb) {
                plane.push(v.clamp(0.0, 1.0) as f32);
            }
        }
    }
    Planes {
        width: w,
        height: h,
        data: data.into(),
    }
}

pub fn from_rgb(rgb: &Planes, colour: Colour, out: &mut Yuv420) {
    let (w, h, cw) = (out.width, out.height, out.chroma_width());
    let mut sums = vec![[0.0f64; 3]; out.u.len()];
    for y in 0..h {
        for x in 0..w {
            let at = y * w + x;
            let value = [0, 1, 2].map(|c| f64::from(rgb.data[c][at].clamp(0.0, 1.0)));
            let [luma, u, v] = tables::to_yuv(colour, Depth::Eight, value);
            out.y[at] = byte(luma as f32);
            let sum = &mut sums[y / 2 * cw + x / 2];
            *sum = [sum[0] + u, sum[1] + v, sum[2] + 1.0];
        }
    }
    for ((u, v), sum) in out.u.iter_mut().zip(&mut out.v).zip(&sums) {
        *u = byte((sum[0] / sum[2]) as f32);
        *v = byte((sum[1] / sum[2]) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_repeat_the_edge() {
        let plane: Vec<f32> = (0..6).map(|v| v as f32).collect();
        let tile = cut(&plane, (3, 2), (1, 1), (4, 2));
        assert_eq!(tile, [4.0, 5.0, 5.0, 5.0, 4.0, 5.0, 5.0, 5.0]);
    }

    #[test]
    fn colours_survive_the_way_through_red_green_and_blue() {
        let mut picture = Yuv420::new(5, 3);
        picture.y.fill(120);
        picture.u.fill(100);
        picture.v.fill(150);
        let mut out = Yuv420::new(5, 3);
        from_rgb(
            &to_rgb(&picture, Colour::default()),
            Colour::default(),
            &mut out,
        );
        assert!(out == picture);
    }
}
