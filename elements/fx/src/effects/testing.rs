// SPDX-License-Identifier: Apache-2.0
//! Running one effect on made-up pictures, in colours whatever the format.

use crate::chain::{Chain, Renderer};
use crate::params::{Value, Values};
use crate::pass::Moment;
use crate::picture::{Colorimetry, Family, Picture, PictureScratch, PixelFormat, RawFrame, Shape};
use crate::registry::{self, Effect};

const COLOR: Colorimetry = Colorimetry::BT601;

/// The components of a picture after an effect.
pub struct Rendered {
    shape: Shape,
    planes: Vec<Vec<u8>>,
}

impl Rendered {
    /// Code values of a pixel; gray has one.
    pub fn code(&self, x: usize, y: usize) -> [f32; 3] {
        std::array::from_fn(|component| {
            let (ws, hs) = self.shape.component_shift(component);
            let (width, _) = self.shape.component_size(component);
            match self.planes.get(component) {
                Some(plane) => f32::from(plane[(y >> hs) * width + (x >> ws)]),
                None => 128.0,
            }
        })
    }

    /// Red, green and blue of a pixel, 0 to 1.
    pub fn rgb(&self, x: usize, y: usize) -> [f32; 3] {
        let code = self.code(x, y);
        match self.shape.family {
            Family::Rgb => code.map(|v| v / 255.0),
            _ => COLOR.decode(code),
        }
    }
}

/// Memory for a picture of a format, padded a little, filled from a function of the pixel.
fn paint(
    format: PixelFormat,
    (width, height): (usize, usize),
    f: impl Fn(usize, usize) -> [f32; 3],
) -> Vec<(Vec<u8>, usize)> {
    let mut memory: Vec<(Vec<u8>, usize)> = (0..format.plane_count())
        .map(|plane| {
            let (row, rows) = format.plane_size(plane, width, height);
            (vec![0xa5; (row + 5) * rows], row + 5)
        })
        .collect();
    frame(format, (width, height), &mut memory).with_picture(
        &mut PictureScratch::default(),
        |picture: &mut Picture| {
            let shape = picture.shape;
            for (component, plane) in picture.planes.iter_mut().enumerate() {
                let (ws, hs) = shape.component_shift(component);
                for (y, row) in plane.rows_mut().enumerate() {
                    for (x, value) in row.iter_mut().enumerate() {
                        let (mut sum, mut count) = (0.0, 0.0);
                        for y in (y << hs)..(((y + 1) << hs).min(height)) {
                            for x in (x << ws)..(((x + 1) << ws).min(width)) {
                                let code = match shape.family {
                                    Family::Rgb => f(x, y).map(|v| v * 255.0),
                                    _ => COLOR.encode(f(x, y)),
                                };
                                sum += code[component];
                                count += 1.0;
                            }
                        }
                        *value = (sum / count + 0.5f32).clamp(0.0, 255.0) as u8;
                    }
                }
            }
        },
    );
    memory
}

fn frame(
    format: PixelFormat,
    (width, height): (usize, usize),
    memory: &mut [(Vec<u8>, usize)],
) -> RawFrame<'_> {
    let planes = memory
        .iter_mut()
        .map(|(d, s)| (d.as_mut_slice(), *s))
        .collect();
    RawFrame::new(format, width, height, COLOR, planes).expect("a frame")
}

fn chain(
    effect: &Effect,
    params: &[(&str, Value)],
    format: PixelFormat,
    (width, height): (usize, usize),
) -> Chain {
    let index = registry::find(effect.name).expect("a registered effect");
    let mut values = Values::defaults(effect.params);
    for (name, value) in params {
        let at = effect.params.iter().position(|p| p.name == *name);
        values.set(at.expect("a parameter"), value.clone());
    }
    Chain::new(&[(index, values)], 1.0, format, width, height, COLOR)
}

/// Runs an effect on a picture given by a function of the pixel.
pub fn run_picture(
    effect: &Effect,
    params: &[(&str, Value)],
    format: PixelFormat,
    size: (usize, usize),
    f: impl Fn(usize, usize) -> [f32; 3],
) -> Rendered {
    let mut memory = paint(format, size, f);
    let chain = chain(effect, params, format, size);
    let mut renderer = Renderer::new(1).expect("no threads are asked for");
    chain.run(
        frame(format, size, &mut memory),
        &Moment::default(),
        &mut renderer,
    );
    let mut planes = Vec::new();
    let mut raw = frame(format, size, &mut memory);
    let shape = raw.shape;
    raw.with_picture(&mut PictureScratch::default(), |picture| {
        for plane in &picture.planes {
            planes.push(plane.rows().flatten().copied().collect());
        }
    });
    // Padding is not the effect's.
    for (plane, (data, stride)) in memory.iter().enumerate() {
        let (row, rows) = format.plane_size(plane, size.0, size.1);
        for y in 0..rows {
            assert!(
                data[y * stride + row..(y + 1) * stride]
                    .iter()
                    .all(|b| *b == 0xa5)
            );
        }
    }
    Rendered { shape, planes }
}

/// Runs an effect on a picture of one colour, which must stay one colour, and returns it.
pub fn run_flat(
    effect: &Effect,
    params: &[(&str, Value)],
    format: PixelFormat,
    rgb: [f32; 3],
) -> [f32; 3] {
    let out = run_picture(effect, params, format, (19, 7), |_, _| rgb);
    for (x, y) in [(0, 0), (18, 6), (9, 3), (18, 0), (0, 6)] {
        assert_eq!(out.code(x, y), out.code(5, 4), "{format:?} {x},{y}");
    }
    out.rgb(5, 4)
}

/// The first component's bytes of a flat picture after an effect.
pub fn run_bytes(
    effect: &Effect,
    params: &[(&str, Value)],
    format: PixelFormat,
    rgb: [f32; 3],
) -> Vec<u8> {
    run_picture(effect, params, format, (19, 7), |_, _| rgb)
        .planes
        .swap_remove(0)
}

/// What a colour is in a format: gray has its brightness alone.
pub fn in_format(format: PixelFormat, rgb: [f32; 3]) -> [f32; 3] {
    match format.family() {
        Family::Gray => {
            let rgb = rgb.map(|v| v.clamp(0.0, 1.0));
            [COLOR.kr * rgb[0] + COLOR.kg() * rgb[1] + COLOR.kb * rgb[2]; 3]
        }
        _ => rgb,
    }
}

#[track_caller]
pub fn assert_close(got: [f32; 3], expected: [f32; 3], tolerance: f32, format: PixelFormat) {
    let close = got
        .iter()
        .zip(expected)
        .all(|(a, b)| (a - b).abs() <= tolerance);
    assert!(
        close,
        "{format:?}: got {got:?}, expected {expected:?} ± {tolerance}"
    );
}
