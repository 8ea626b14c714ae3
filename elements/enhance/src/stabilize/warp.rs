// SPDX-License-Identifier: Apache-2.0
//! A plane moved by a similarity, with Catmull-Rom samples. Beyond the border the border is
//! repeated.

use aivideo_core::pixels::PlaneRef;
use aivideo_cuda::steady::Warp;

use super::similarity::Similarity;

/// Steps between two samples, and bits of a weight.
pub const PHASES: usize = 64;
const BITS: i32 = 7;

/// Weights of four neighbours at each step.
pub static WEIGHTS: std::sync::LazyLock<[[i16; 4]; PHASES]> = std::sync::LazyLock::new(|| {
    std::array::from_fn(|phase| {
        let t = phase as f64 / PHASES as f64;
        let exact = [
            ((-0.5 * t + 1.0) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1.0,
            ((-1.5 * t + 2.0) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        ];
        let one = 1 << BITS;
        let mut weights = exact.map(|w| (w * f64::from(one)).round() as i16);
        // Rounding must not change the mean.
        let rest = one as i16 - weights.iter().sum::<i16>();
        weights[if t < 0.5 { 1 } else { 2 }] += rest;
        weights
    })
});

/// What is seen of a picture: where each pixel of the output comes from, about the middle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    c: f32,
    s: f32,
    x: f32,
    y: f32,
}

impl View {
    /// The content moved by `correction`, then enlarged by `zoom`.
    pub fn new(correction: Similarity, zoom: f32) -> Self {
        let (c, s) = correction.linear();
        let power = c * c + s * s;
        // The inverse: p = L^-1 (q / zoom - t).
        let (c, s) = (c / power, -s / power);
        Self {
            c: c / zoom,
            s: s / zoom,
            x: -(c * correction.x - s * correction.y),
            y: -(s * correction.x + c * correction.y),
        }
    }

    /// What moves a component of this scale on a GPU.
    pub fn on_device(&self, scale: f32) -> Warp<'static> {
        Warp {
            c: self.c,
            s: self.s,
            x: self.x * scale,
            y: self.y * scale,
            weights: &WEIGHTS,
        }
    }

    /// Fills `out`, of the plane's size. `scale` is that of the plane: 1 for luma, 0.5 for chroma.
    pub fn render(&self, plane: PlaneRef<'_>, scale: f32, out: &mut [u8]) {
        let (w, h) = (plane.width, plane.height);
        let (mx, my) = ((w - 1) as f32 / 2.0, (h - 1) as f32 / 2.0);
        // 16 fractional bits; pictures are at most 16384 wide and views little larger.
        let fixed = |v: f32| (f64::from(v) * 65536.0).round() as i64;
        let (step_x, step_y) = (fixed(self.c), fixed(self.s));
        let half = 1_i64 << (15 - PHASES.ilog2());
        for (row, out) in out.chunks_exact_mut(w).enumerate() {
            let (qx, qy) = (-mx, row as f32 - my);
            let mut x = fixed(self.c * qx - self.s * qy + self.x * scale + mx) + half;
            let mut y = fixed(self.s * qx + self.c * qy + self.y * scale + my) + half;
            for out in out.iter_mut() {
                let (xi, yi) = (x >> 16, y >> 16);
                let phase = |v: i64| (v as usize & 0xffff) >> (16 - PHASES.ilog2());
                let (wx, wy) = (&WEIGHTS[phase(x)], &WEIGHTS[phase(y)]);
                let inside = xi >= 1 && yi >= 1 && xi + 2 < w as i64 && yi + 2 < h as i64;
                let mut sum = 0_i32;
                if inside {
                    let start = (yi as usize - 1) * plane.stride + xi as usize - 1;
                    for (k, weight) in wy.iter().enumerate() {
                        let r = &plane.data[start + k * plane.stride..][..4];
                        let part: i32 = (0..4).map(|n| i32::from(r[n]) * i32::from(wx[n])).sum();
                        sum += part * i32::from(*weight);
                    }
                } else {
                    for (k, weight) in wy.iter().enumerate() {
                        let r = (yi - 1 + k as i64).clamp(0, h as i64 - 1) as usize;
                        let r = plane.row(r);
                        let part: i32 = (0..4)
                            .map(|n| {
                                let c = (xi - 1 + n as i64).clamp(0, w as i64 - 1) as usize;
                                i32::from(r[c]) * i32::from(wx[n])
                            })
                            .sum();
                        sum += part * i32::from(*weight);
                    }
                }
                *out = ((sum + (1 << (2 * BITS - 1))) >> (2 * BITS)).clamp(0, 255) as u8;
                x += step_x;
                y += step_y;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(w: usize, h: usize) -> Vec<u8> {
        (0..w * h)
            .map(|i| {
                (128.0
                    + 60.0 * ((i % w) as f32 * 0.21).sin()
                    + 50.0 * ((i / w) as f32 * 0.17).cos()) as u8
            })
            .collect()
    }

    #[test]
    fn no_motion_is_bit_for_bit() {
        let source = plane(61, 40);
        let mut out = vec![0; source.len()];
        View::new(Similarity::IDENTITY, 1.0).render(
            PlaneRef::packed(&source, 61, 40),
            1.0,
            &mut out,
        );
        assert_eq!(out, source);
    }

    #[test]
    fn whole_shifts_move_samples_and_repeat_the_border() {
        let source = plane(61, 40);
        let mut out = vec![0; source.len()];
        let moved = Similarity {
            x: 3.0,
            y: -2.0,
            ..Similarity::IDENTITY
        };
        View::new(moved, 1.0).render(PlaneRef::packed(&source, 61, 40), 1.0, &mut out);
        for y in 0..40 {
            for x in 0..61 {
                let (fx, fy) = (x.max(3) - 3, (y + 2).min(39));
                assert_eq!(out[y * 61 + x], source[fy * 61 + fx], "{x} {y}");
            }
        }
    }

    #[test]
    fn rotation_and_zoom_go_where_the_similarity_says() {
        let (w, h) = (200, 120);
        let source = plane(w, h);
        let moved = Similarity {
            x: 2.3,
            y: 1.6,
            angle: 0.05,
            log_scale: 0.02,
        };
        let mut out = vec![0; source.len()];
        View::new(moved, 1.1).render(PlaneRef::packed(&source, w, h), 1.0, &mut out);
        let value = |x: f32, y: f32| 128.0 + 60.0 * (x * 0.21).sin() + 50.0 * (y * 0.17).cos();
        let mut worst = 0.0_f32;
        for (px, py) in [(60.0, 40.0), (100.0, 60.0), (140.5, 80.25), (120.0, 30.0)] {
            let (mx, my) = (99.5, 59.5);
            let (qx, qy) = moved.apply((px - mx, py - my));
            let (qx, qy) = (qx * 1.1 + mx, qy * 1.1 + my);
            let got = f32::from(out[qy.round() as usize * w + qx.round() as usize]);
            // Within half a pixel of the exact place.
            worst = worst.max((got - value(px, py)).abs());
        }
        assert!(worst < 12.0, "{worst}");
    }
}
