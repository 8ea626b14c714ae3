// SPDX-License-Identifier: Apache-2.0
//! Box blur: the mean of the square around each pixel.

use crate::params::{Kind, Param, Values};
use crate::pass::{Build, Moment, Pass, PicturePass};
use crate::picture::{Picture, Plane};
use crate::registry::Effect;
use crate::simd::kernels;
use crate::workers::Tools;

pub const EFFECT: Effect = Effect {
    name: "box-blur",
    aliases: &["boxblur"],
    nick: "Box blur",
    blurb: "Softens the picture with the mean of the square around each pixel",
    params: &[Param {
        name: "radius",
        nick: "Radius",
        blurb: "Pixels from the middle of the square to its edge; 0 keeps the picture",
        kind: Kind::Int {
            min: 0,
            max: MAX_RADIUS as i32,
            default: 4,
        },
    }],
    build,
    deep: None,
};

/// Sums of a row of the square must fit in sixteen bits.
const MAX_RADIUS: usize = 127;

fn build(values: &Values, _build: &Build) -> Pass {
    match values.int("radius") as usize {
        0 => Pass::Nothing,
        radius => Pass::Picture(Box::new(BoxBlur { radius })),
    }
}

struct BoxBlur {
    radius: usize,
}

impl PicturePass for BoxBlur {
    fn run(&self, picture: &mut Picture, _moment: &Moment, tools: &Tools) {
        let shape = picture.shape;
        for (component, plane) in picture.planes.iter_mut().enumerate() {
            let (ws, hs) = shape.component_shift(component);
            // Rounded up, so that the smallest radius blurs chroma, too.
            let [rx, ry] = [ws, hs].map(|shift| self.radius.div_ceil(1 << shift));
            blur(plane, rx, ry, tools);
        }
    }
}

fn blur(plane: &mut Plane, rx: usize, ry: usize, tools: &Tools) {
    if plane.width == 0 || plane.height == 0 {
        return;
    }
    let copy = tools.padded(plane, rx);
    // The sum of the whole square fits in sixteen bits.
    if (2 * rx + 1) * (2 * ry + 1) <= 257 {
        tools.strips(plane, 1, |first, strip| {
            let scale = 1.0 / ((2 * rx + 1) * (2 * ry + 1)) as f32;
            let mut window = Window::default();
            let mut columns = vec![0u16; strip.width + 2 * rx];
            let (begin, reach) = (first as isize, ry as isize);
            for y in begin - reach..=begin + reach {
                kernels::accumulate_bytes(&mut columns, copy.row(y));
            }
            for y in 0..strip.height {
                let sums = window.sums16(&columns, 2 * rx + 1);
                kernels::mean16(strip.row_mut(y), sums, scale, 0.0, 1.0);
                let y = begin + y as isize;
                let (new, old) = (copy.row(y + 1 + reach), copy.row(y - reach));
                kernels::slide_bytes(&mut columns, new, old);
            }
        });
        tools.give_padded(copy);
        return;
    }
    tools.strips(plane, 1, |first, strip| {
        let (width, taps) = (strip.width, 2 * ry + 1);
        let scale = 1.0 / ((2 * rx + 1) * taps) as f32;
        let mut window = Window::default();
        // The sums of the last rows in a ring, and the sum of these.
        let mut ring = vec![0u16; taps * width];
        let mut columns = vec![0u32; width];
        let slot = |y: isize| y.rem_euclid(taps as isize) as usize * width;
        let begin = first as isize - ry as isize;
        for y in begin..(first + strip.height + ry) as isize {
            let sums = window.sums(copy.row(y), 2 * rx + 1);
            let place = &mut ring[slot(y)..][..width];
            kernels::slide(&mut columns, sums, place);
            place.copy_from_slice(sums);
            let done = y - ry as isize;
            if done >= first as isize {
                let row = strip.row_mut(done as usize - first);
                kernels::mean_row(row, &columns, scale);
            }
        }
    });
    tools.give_padded(copy);
}

/// Sums of windows of a row, made of windows of half the width: a few additions a sample,
/// whatever the width.
#[derive(Default)]
pub struct Window {
    power: Vec<u16>,
    next: Vec<u16>,
    sums: Vec<u16>,
}

impl Window {
    /// Sums of each `taps` neighbours; there are `row.len() - taps + 1` of them. At most 257
    /// bytes fit in sixteen bits.
    pub fn sums(&mut self, row: &[u8], taps: usize) -> &[u16] {
        debug_assert!((1..=257).contains(&taps) && row.len() >= taps);
        self.power.resize(row.len(), 0);
        kernels::widen16(&mut self.power, row);
        self.combine(taps)
    }

    /// The same of values whose sums fit in sixteen bits.
    pub fn sums16(&mut self, row: &[u16], taps: usize) -> &[u16] {
        self.power.clear();
        self.power.extend_from_slice(row);
        self.combine(taps)
    }

    fn combine(&mut self, taps: usize) -> &[u16] {
        let len = self.power.len();
        let count = len + 1 - taps;
        self.next.resize(len, 0);
        self.sums.resize(len, 0);
        // `power` sums 1, 2, 4, … neighbours; `sums` those that the bits of `taps` name.
        let (mut width, mut done) = (1, 0);
        loop {
            if taps & width != 0 {
                if done == 0 {
                    self.sums[..count].copy_from_slice(&self.power[..count]);
                } else {
                    kernels::accumulate16(&mut self.sums[..count], &self.power[done..]);
                }
                done += width;
            }
            if done == taps {
                return &self.sums[..count];
            }
            let left = len + 1 - 2 * width;
            kernels::add16(&mut self.next[..left], &self.power, &self.power[width..]);
            std::mem::swap(&mut self.power, &mut self.next);
            width *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::params::Value;
    use crate::picture::PixelFormat;

    #[test]
    fn windows_hold_their_sums() {
        let row: Vec<u8> = (0..300).map(|i| (i * 89 % 256) as u8).collect();
        let mut window = Window::default();
        for taps in [1, 2, 3, 5, 7, 16, 31, 100, 255, 257] {
            let expected: Vec<u16> = row
                .windows(taps)
                .map(|w| w.iter().map(|v| u16::from(*v)).sum())
                .collect();
            assert_eq!(window.sums(&row, taps), expected, "{taps}");
        }
        assert_eq!(window.sums(&[255; 257], 257), [65535]);
    }

    /// Each pixel is the rounded mean of its square, with the edges repeated.
    #[test]
    fn pixels_are_means() {
        let picture = |x: usize, y: usize| [((x * 37 + y * 91) % 256) as f32 / 255.0; 3];
        let (w, h) = (23, 14);
        for radius in [1, 4, 7, 8, 30] {
            let at = |radius| [("radius", Value::Int(radius))];
            let before = run_picture(&EFFECT, &at(0), PixelFormat::Rgb, (w, h), picture);
            let after = run_picture(&EFFECT, &at(radius), PixelFormat::Rgb, (w, h), picture);
            for y in 0..h as i32 {
                for x in 0..w as i32 {
                    let mut sum = 0.0;
                    for dy in -radius..=radius {
                        for dx in -radius..=radius {
                            let x = (x + dx).clamp(0, w as i32 - 1) as usize;
                            let y = (y + dy).clamp(0, h as i32 - 1) as usize;
                            sum += f64::from(before.code(x, y)[0]);
                        }
                    }
                    let mean = sum / f64::from((2 * radius + 1).pow(2));
                    let got = f64::from(after.code(x as usize, y as usize)[0]);
                    assert!(
                        (got - mean).abs() <= 0.501,
                        "{radius} {x},{y}: {got} {mean}"
                    );
                }
            }
        }
    }

    #[test]
    fn flat_pictures_stay_flat() {
        for format in PixelFormat::ALL {
            let color = in_format(format, [0.3, 0.6, 0.9]);
            assert_close(run_flat(&EFFECT, &[], format, color), color, 0.015, format);
        }
    }
}
