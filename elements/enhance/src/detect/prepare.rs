// SPDX-License-Identifier: Apache-2.0
//! A picture as a detection model's input: scaled bilinearly (as the models' own code does,
//! without a filter in front), converted to R'G'B', and normalised.

use aivideo_core::pixels::{PlaneRef, Yuv420};

use super::Object;
use crate::frame::Gamut;

/// How a picture is fitted into the input.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    pub width: usize,
    pub height: usize,
    pub letterbox: bool,
    pub pad: f32,
    pub bgr: bool,
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// Rows of a plane at another size: for each target sample two sources and the share of the second.
fn taps(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let scale = from as f32 / to as f32;
    (0..to)
        .map(|n| {
            let at = ((n as f32 + 0.5) * scale - 0.5).clamp(0.0, (from - 1) as f32);
            let low = at as usize;
            (low, (low + 1).min(from - 1), at - low as f32)
        })
        .collect()
}

fn scale(plane: PlaneRef<'_>, width: usize, height: usize) -> Vec<f32> {
    let (columns, rows) = (taps(plane.width, width), taps(plane.height, height));
    let mut out = Vec::with_capacity(width * height);
    for (y0, y1, fy) in rows {
        let (above, below) = (plane.row(y0), plane.row(y1));
        out.extend(columns.iter().map(|(x0, x1, fx)| {
            let top = f32::from(above[*x0]) * (1.0 - fx) + f32::from(above[*x1]) * fx;
            let low = f32::from(below[*x0]) * (1.0 - fx) + f32::from(below[*x1]) * fx;
            top * (1.0 - fy) + low * fy
        }));
    }
    out
}

impl Fit {
    /// Size of the picture inside the input.
    pub fn inner(&self, (width, height): (usize, usize)) -> (usize, usize) {
        if !self.letterbox {
            return (self.width, self.height);
        }
        let scale = (self.width as f32 / width as f32).min(self.height as f32 / height as f32);
        let side = |from: usize, most: usize| ((from as f32 * scale) as usize).clamp(1, most);
        (side(width, self.width), side(height, self.height))
    }

    /// Planar values of the model's three colours.
    pub fn prepare(&self, picture: &Yuv420, (gamut, full_range): (Gamut, bool)) -> Vec<f32> {
        let area = self.width * self.height;
        let mut out = Vec::with_capacity(3 * area);
        for (mean, std) in self.mean.iter().zip(&self.std) {
            out.resize(out.len() + area, (self.pad - mean) / std);
        }
        if picture.width == 0 || picture.height == 0 {
            return out;
        }
        let (w, h) = self.inner((picture.width, picture.height));
        let y = scale(picture.y_plane(), w, h);
        let u = scale(picture.u_plane(), w, h);
        let v = scale(picture.v_plane(), w, h);
        let (kr, kb) = gamut.weights();
        let (kr, kb) = (kr as f32, kb as f32);
        let kg = 1.0 - kr - kb;
        let (black, luma, chroma) = match full_range {
            true => (0.0, 1.0, 1.0),
            false => (16.0, 255.0 / 219.0, 255.0 / 224.0),
        };
        let (first, third) = if self.bgr { (2, 0) } else { (0, 2) };
        for row in 0..h {
            for column in 0..w {
                let n = row * w + column;
                let light = (y[n] - black) * luma;
                let (cb, cr) = ((u[n] - 128.0) * chroma, (v[n] - 128.0) * chroma);
                let red = light + 2.0 * (1.0 - kr) * cr;
                let blue = light + 2.0 * (1.0 - kb) * cb;
                let green = (light - kr * red - kb * blue) / kg;
                let to = row * self.width + column;
                for (place, value) in [(first, red), (1, green), (third, blue)] {
                    let value = value.clamp(0.0, 255.0);
                    out[place * area + to] = (value - self.mean[place]) / self.std[place];
                }
            }
        }
        out
    }

    /// Boxes of the input in pixels of the picture, cut off at its border; empty ones are dropped.
    pub fn undo(&self, objects: Vec<Object>, size: (usize, usize)) -> Vec<Object> {
        let (w, h) = self.inner(size);
        let (sx, sy) = (size.0 as f32 / w as f32, size.1 as f32 / h as f32);
        objects
            .into_iter()
            .map(|o| Object {
                x0: (o.x0 * sx).clamp(0.0, size.0 as f32),
                x1: (o.x1 * sx).clamp(0.0, size.0 as f32),
                y0: (o.y0 * sy).clamp(0.0, size.1 as f32),
                y1: (o.y1 * sy).clamp(0.0, size.1 as f32),
                ..o
            })
            .filter(|o| o.x1 - o.x0 >= 1.0 && o.y1 - o.y0 >= 1.0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(letterbox: bool) -> Fit {
        Fit {
            width: 64,
            height: 64,
            letterbox,
            pad: 114.0,
            bgr: false,
            mean: [0.0; 3],
            std: [1.0; 3],
        }
    }

    fn grey(w: usize, h: usize) -> Yuv420 {
        let mut picture = Yuv420::new(w, h);
        picture.y.fill(126);
        picture.u.fill(128);
        picture.v.fill(128);
        picture
    }

    #[test]
    fn a_wide_picture_fills_the_upper_part() {
        let values = fit(true).prepare(&grey(128, 64), (Gamut::Bt709, false));
        let expected = (126.0 - 16.0) * 255.0 / 219.0;
        assert!((values[31 * 64 + 63] - expected).abs() < 0.01);
        assert_eq!(values[32 * 64], 114.0);
        assert_eq!(values.len(), 3 * 64 * 64);
    }

    #[test]
    fn colours_come_in_the_models_order() {
        let mut picture = grey(8, 8);
        // BT.601 studio red.
        picture.y.fill(81);
        picture.u.fill(90);
        picture.v.fill(240);
        let mut fit = fit(false);
        let rgb = fit.prepare(&picture, (Gamut::Bt601, false));
        let at = |values: &[f32], n: usize| values[n * 64 * 64];
        assert!(at(&rgb, 0) > 253.0 && at(&rgb, 1) < 2.0 && at(&rgb, 2) < 2.0);
        fit.bgr = true;
        let bgr = fit.prepare(&picture, (Gamut::Bt601, false));
        assert!(at(&bgr, 2) > 253.0 && at(&bgr, 0) < 2.0);
    }

    #[test]
    fn boxes_come_back_to_the_picture() {
        let object = Object {
            x0: 16.0,
            y0: 8.0,
            x1: 80.0,
            y1: 16.0,
            score: 0.5,
            class: 0,
        };
        let back = fit(true).undo(vec![object], (128, 64));
        assert_eq!(
            (back[0].x0, back[0].y0, back[0].x1, back[0].y1),
            (32.0, 16.0, 128.0, 32.0)
        );
        let outside = Object {
            x0: 70.0,
            x1: 90.0,
            ..object
        };
        assert!(fit(true).undo(vec![outside], (128, 64)).is_empty());
    }
}
