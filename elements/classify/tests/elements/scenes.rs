// SPDX-License-Identifier: Apache-2.0
//! Moving pictures with known motion, made here and not by the trainer's code.

pub const WIDTH: usize = 320;
pub const HEIGHT: usize = 180;
/// Frames of the built-in model's clip at its stride of 2: 1 + 15 * 2.
pub const LENGTH: usize = 31;

/// An RGB picture.
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub rgb: Vec<u8>,
}

fn hash(x: i64, y: i64, seed: u64) -> f64 {
    let mut h = seed
        ^ (x as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ (y as u64).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    h = (h ^ (h >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 32)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((h ^ (h >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

fn noise(x: f64, y: f64, seed: u64) -> f64 {
    let (ix, iy) = (x.floor(), y.floor());
    let smooth = |t: f64| t * t * (3.0 - 2.0 * t);
    let (fx, fy) = (smooth(x - ix), smooth(y - iy));
    let at = |dx: i64, dy: i64| hash(ix as i64 + dx, iy as i64 + dy, seed);
    let top = at(0, 0) * (1.0 - fx) + at(1, 0) * fx;
    let bottom = at(0, 1) * (1.0 - fx) + at(1, 1) * fx;
    top * (1.0 - fy) + bottom * fy
}

impl Picture {
    /// Clouds of every size and some solid things with edges, with the falling spectrum of real
    /// pictures.
    pub fn made(seed: u64) -> Self {
        let (width, height) = (960, 640);
        let mut rgb = Vec::with_capacity(width * height * 3);
        let things: Vec<[f64; 7]> = (0..14)
            .map(|i| std::array::from_fn(|k| hash(i, k as i64, seed + 77)))
            .collect();
        for y in 0..height {
            for x in 0..width {
                let (fx, fy) = (x as f64, y as f64);
                let mut colour: [f64; 3] = std::array::from_fn(|c| {
                    let mut sum = 0.0;
                    for octave in 0..6 {
                        let size = 240.0 / f64::from(1 << octave);
                        let seed =
                            seed * 31 + octave as u64 * 3 + if octave < 2 { c as u64 } else { 0 };
                        sum +=
                            (noise(fx / size, fy / size, seed) - 0.5) * 150.0 / 1.6f64.powi(octave);
                    }
                    120.0 + sum
                });
                for t in &things {
                    let dx = (fx - t[0] * 960.0) / (25.0 + 70.0 * t[2]);
                    let dy = (fy - t[1] * 640.0) / (25.0 + 70.0 * t[3]);
                    if dx * dx + dy * dy < 1.0 {
                        for c in 0..3 {
                            colour[c] = colour[c] * 0.35 + t[4 + c] * 165.0;
                        }
                    }
                }
                rgb.extend(colour.map(|v| v.clamp(0.0, 255.0) as u8));
            }
        }
        Self { width, height, rgb }
    }

    /// The colour at a place between pixels, the border repeated.
    fn at(&self, x: f64, y: f64) -> [f64; 3] {
        let x = x.clamp(0.0, self.width as f64 - 1.001);
        let y = y.clamp(0.0, self.height as f64 - 1.001);
        let (ix, iy) = (x as usize, y as usize);
        let (fx, fy) = (x - ix as f64, y - iy as f64);
        std::array::from_fn(|c| {
            let p = |dx: usize, dy: usize| {
                f64::from(self.rgb[((iy + dy) * self.width + ix + dx) * 3 + c])
            };
            (p(0, 0) * (1.0 - fx) + p(1, 0) * fx) * (1.0 - fy)
                + (p(0, 1) * (1.0 - fx) + p(1, 1) * fx) * fy
        })
    }

    /// What a camera sees that has moved by (x, y) of the view's height right and down, zoomed in
    /// by `zoom` and rolled clockwise by `roll` radians.
    fn view(&self, x: f64, y: f64, zoom: f64, roll: f64) -> Vec<f64> {
        // the view's height covers 0.45 of the picture's
        let scale = 0.45 * self.height as f64 / HEIGHT as f64 / zoom;
        let (cx, cy) = (
            self.width as f64 / 2.0 + x * 0.45 * self.height as f64,
            self.height as f64 / 2.0 + y * 0.45 * self.height as f64,
        );
        let (s, c) = roll.sin_cos();
        let mut out = Vec::with_capacity(WIDTH * HEIGHT * 3);
        for py in 0..HEIGHT {
            for px in 0..WIDTH {
                let ux = px as f64 + 0.5 - WIDTH as f64 / 2.0;
                let uy = py as f64 + 0.5 - HEIGHT as f64 / 2.0;
                let source = (
                    cx + scale * (c * ux - s * uy),
                    cy + scale * (s * ux + c * uy),
                );
                out.extend(self.at(source.0, source.1));
            }
        }
        out
    }
}

/// Covers part of a view with a round thing cut out of `thing`, its middle at (x, y) of the view's
/// height from the middle.
fn put(view: &mut [f64], thing: &Picture, x: f64, y: f64, radius: f64) {
    let h = HEIGHT as f64;
    for py in 0..HEIGHT {
        for px in 0..WIDTH {
            let dx = (px as f64 + 0.5 - WIDTH as f64 / 2.0) / h - x;
            let dy = (py as f64 + 0.5 - h / 2.0) / h - y;
            let (nx, ny) = (dx / radius, dy / radius);
            let cover = ((1.0 - nx.hypot(ny)) * radius * h / 1.5).clamp(0.0, 1.0);
            if cover > 0.0 {
                let size = thing.height as f64 * 0.2;
                let colour = thing.at(
                    thing.width as f64 / 2.0 + nx * size,
                    thing.height as f64 / 2.0 + ny * size,
                );
                let pixel = &mut view[(py * WIDTH + px) * 3..][..3];
                for (value, colour) in pixel.iter_mut().zip(colour) {
                    *value = *value * (1.0 - cover) + colour * cover;
                }
            }
        }
    }
}

/// The classes that can be made without a second picture's help, and with it.
pub const NAMES: [&str; 19] = [
    "static",
    "camera pan left",
    "camera pan right",
    "camera tilt up",
    "camera tilt down",
    "camera zoom in",
    "camera zoom out",
    "camera roll clockwise",
    "camera roll counter-clockwise",
    "camera shake",
    "object left to right",
    "object right to left",
    "object upwards",
    "object downwards",
    "object approaching",
    "object receding",
    "cut",
    "dissolve",
    "fade out",
];

/// RGB frames of a named motion over `a`; `b` is the other picture where one is needed.
pub fn frames(name: &str, a: &Picture, b: &Picture) -> Vec<Vec<u8>> {
    (0..LENGTH)
        .map(|i| {
            let t = i as f64 / (LENGTH - 1) as f64;
            let still = || a.view(0.0, 0.0, 1.0, 0.0);
            let crossing = |x: f64, y: f64, radius: f64| {
                let mut view = still();
                put(&mut view, b, x, y, radius);
                view
            };
            let way = 0.5 * t - 0.25;
            let shake = |k: f64| 0.03 * (i as f64 * k).sin();
            let view = match name {
                "static" => still(),
                "camera pan left" => a.view(-way, 0.0, 1.0, 0.0),
                "camera pan right" => a.view(way, 0.0, 1.0, 0.0),
                "camera tilt up" => a.view(0.0, -way, 1.0, 0.0),
                "camera tilt down" => a.view(0.0, way, 1.0, 0.0),
                "camera zoom in" => a.view(0.0, 0.0, 0.8 * 1.7f64.powf(t), 0.0),
                "camera zoom out" => a.view(0.0, 0.0, 0.8 * 1.7f64.powf(1.0 - t), 0.0),
                "camera roll clockwise" => a.view(0.0, 0.0, 1.0, 0.7 * t - 0.3),
                "camera roll counter-clockwise" => a.view(0.0, 0.0, 1.0, 0.3 - 0.7 * t),
                "camera shake" => a.view(shake(0.9), shake(1.3), 1.0, 0.0),
                "object left to right" => crossing(t - 0.5, 0.05, 0.17),
                "object right to left" => crossing(0.5 - t, -0.05, 0.17),
                "object upwards" => crossing(0.05, 0.5 - t, 0.17),
                "object downwards" => crossing(-0.05, t - 0.5, 0.17),
                "object approaching" => crossing(0.05, 0.02, 0.12 * 2.8f64.powf(t)),
                "object receding" => crossing(0.05, 0.02, 0.12 * 2.8f64.powf(1.0 - t)),
                "cut" => {
                    let seen = if t < 0.55 { a } else { b };
                    seen.view(0.0, 0.0, 1.0, 0.0)
                }
                "dissolve" => {
                    let weight = ((t - 0.2) / 0.6).clamp(0.0, 1.0);
                    let other = b.view(0.0, 0.0, 1.0, 0.0);
                    still()
                        .iter()
                        .zip(other)
                        .map(|(a, b)| a * (1.0 - weight) + b * weight)
                        .collect()
                }
                "fade out" => {
                    let light = (1.0 - (t - 0.2) / 0.6).clamp(0.0, 1.0);
                    still().iter().map(|value| value * light).collect()
                }
                other => panic!("no scene '{other}'"),
            };
            view.into_iter().map(|value| (value + 0.5) as u8).collect()
        })
        .collect()
}
