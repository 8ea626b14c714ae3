// SPDX-License-Identifier: Apache-2.0
//! Gaussian smoothing of a plane, of any width.
//!
//! Narrow kernels are convolved as they are. Wide ones are convolved on a picture reduced by a
//! power of two and enlarged again bilinearly; reducing and enlarging smooth as well, which the
//! kernel makes up for, so the sum of the variances is what was asked for.

use super::large;
use crate::picture::Plane;
use crate::simd::kernels;
use crate::workers::Tools;

/// Kernels wider than this many samples work on a reduced picture.
const WIDEST: f32 = 3.0;

/// Smooths `plane` and calls `emit` with each of its rows and the smooth row, which decides what
/// becomes of the row. Standard deviations are in samples.
pub fn smooth(
    plane: &mut Plane,
    sigma: [f32; 2],
    tools: &Tools,
    emit: impl Fn(&mut [u8], &mut [f32]) + Sync,
) {
    if plane.width == 0 || plane.height == 0 {
        return;
    }
    let axes = sigma.map(Axis::new);
    if axes.iter().all(|axis| axis.factor == 1) {
        direct(plane, axes, tools, emit);
    } else {
        reduced(plane, axes, tools, emit);
    }
}

/// By how much a picture is reduced along an axis, and the centre and right half of the kernel that it is
/// convolved with then, for machines other than the CPU.
pub fn axis(sigma: f32) -> (usize, Vec<f32>) {
    let Axis { factor, weights } = Axis::new(sigma);
    (factor, weights)
}

/// What happens along one axis.
struct Axis {
    factor: usize,
    /// The centre of the symmetric kernel and its right half.
    weights: Vec<f32>,
}

impl Axis {
    fn new(sigma: f32) -> Self {
        let mut factor = 1;
        while sigma / factor as f32 >= WIDEST {
            factor *= 2;
        }
        let f = factor as f32;
        // Variances: a box of f samples, and a triangle of half width f.
        let given = if factor > 1 {
            (f * f - 1.0) / 12.0 + f * f / 6.0
        } else {
            0.0
        };
        let left = ((sigma * sigma - given).max(0.0)).sqrt() / f;
        Self {
            factor,
            weights: weights(left),
        }
    }

    fn radius(&self) -> usize {
        self.weights.len() - 1
    }
}

/// The right half of a Gaussian that adds up to one with its left half.
fn weights(sigma: f32) -> Vec<f32> {
    if sigma < 0.05 {
        return vec![1.0];
    }
    let radius = (sigma * 3.0).ceil() as i32;
    let value = |x: i32| (-0.5 * (f64::from(x) / f64::from(sigma)).powi(2)).exp();
    let sum = value(0) + 2.0 * (1..=radius).map(value).sum::<f64>();
    (0..=radius).map(|x| (value(x) / sum) as f32).collect()
}

/// Convolves along both axes. `source` fills padded rows, also those beyond the edges.
fn convolve(
    width: usize,
    rows: std::ops::Range<usize>,
    [x, y]: &[Axis; 2],
    source: impl Fn(isize, &mut [f32]),
    mut emit: impl FnMut(usize, &mut [f32]),
) {
    let (rx, ry) = (x.radius(), y.radius() as isize);
    let taps = 2 * ry as usize + 1;
    let mut padded = vec![0.0; width + 2 * rx];
    let mut sum = vec![0.0; width];
    // The last rows, smooth along x, in a ring.
    let mut ring = vec![0.0; taps * width];
    let slot = |y: isize| (y.rem_euclid(taps as isize) as usize) * width;
    let mut next = rows.start as isize - ry;
    for at in rows {
        let at = at as isize;
        while next <= at + ry {
            source(next, &mut padded);
            let target = &mut ring[slot(next)..][..width];
            kernels::convolve_row(target, &padded, &x.weights);
            next += 1;
        }
        kernels::set_scaled(&mut sum, &ring[slot(at)..][..width], y.weights[0]);
        for (k, weight) in y.weights.iter().enumerate().skip(1) {
            let (above, below) = (slot(at - k as isize), slot(at + k as isize));
            let (above, below) = (&ring[above..][..width], &ring[below..][..width]);
            kernels::add_pair(&mut sum, above, below, *weight);
        }
        emit(at as usize, &mut sum);
    }
}

fn direct(
    plane: &mut Plane,
    axes: [Axis; 2],
    tools: &Tools,
    emit: impl Fn(&mut [u8], &mut [f32]) + Sync,
) {
    let copy = tools.padded(plane, axes[0].radius());
    tools.strips(plane, 1, |first, strip| {
        let rows = first..first + strip.height;
        convolve(
            strip.width,
            rows,
            &axes,
            |y, padded| kernels::widen(padded, copy.row(y)),
            |y, soft| emit(strip.row_mut(y - first), soft),
        );
    });
    tools.give_padded(copy);
}

fn reduced(
    plane: &mut Plane,
    axes: [Axis; 2],
    tools: &Tools,
    emit: impl Fn(&mut [u8], &mut [f32]) + Sync,
) {
    let [fx, fy] = [axes[0].factor, axes[1].factor];
    let (width, height) = (plane.width.div_ceil(fx), plane.height.div_ceil(fy));
    let small = large::reduce(plane, fx, fy);
    let rx = axes[0].radius();
    // One more row and column on each side, which enlarging wants.
    let mut soft = large::Bordered::new(width, height);
    let source = |y: isize, padded: &mut [f32]| {
        let y = y.clamp(0, height as isize - 1) as usize;
        let row = &small[y * width..][..width];
        padded[rx..rx + width].copy_from_slice(row);
        padded[..rx].fill(row[0]);
        padded[rx + width..].fill(row[width - 1]);
    };
    convolve(width, 0..height, &axes, source, |y, row| {
        soft.row_mut(y).copy_from_slice(row);
    });
    soft.close();
    large::enlarge(plane, &soft, [fx, fy], tools, emit);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::Workers;

    fn plane(data: &mut [u8], width: usize) -> Plane<'_> {
        let height = data.len() / width;
        Plane {
            data,
            stride: width,
            width,
            height,
        }
    }

    #[test]
    fn kernels_add_up_to_one() {
        for sigma in [0.0, 0.3, 1.0, 2.9] {
            let half = weights(sigma);
            let sum = half[0] + 2.0 * half[1..].iter().sum::<f32>();
            assert!((sum - 1.0).abs() < 1e-6, "{sigma} {sum}");
        }
    }

    fn blurred(data: &[u8], width: usize, sigma: [f32; 2], threads: usize) -> Vec<u8> {
        let mut copy = data.to_vec();
        let tools = Tools::new(Workers::new(threads).unwrap());
        smooth(&mut plane(&mut copy, width), sigma, &tools, |row, soft| {
            kernels::round_row(row, soft);
        });
        copy
    }

    #[test]
    fn flat_planes_stay_flat() {
        for sigma in [0.4, 2.0, 3.5, 20.0, 100.0] {
            for (width, height) in [(1, 1), (1, 9), (9, 1), (33, 17)] {
                let data = vec![77u8; width * height];
                assert_eq!(blurred(&data, width, [sigma, sigma], 1), data, "{sigma}");
            }
        }
    }

    /// Whether convolved at once or reduced, a point spreads by the variance asked for.
    #[test]
    fn a_point_spreads_as_it_should() {
        let size = 129;
        for sigma in [1.0f32, 2.0, 2.9, 3.0, 4.5, 6.0, 9.0, 14.0] {
            // A square of 9 stands for the point, as reduced grids see a point's phase.
            let mut data = vec![0u8; size * size];
            for y in 60..69 {
                data[y * size + 60..y * size + 69].fill(250);
            }
            let tools = Tools::new(Workers::new(1).unwrap());
            let rows = std::sync::Mutex::new(Vec::new());
            // One thread emits rows in order.
            smooth(
                &mut plane(&mut data, size),
                [sigma; 2],
                &tools,
                |_, soft| {
                    rows.lock().unwrap().push(soft.to_vec());
                },
            );
            let rows = rows.into_inner().unwrap();
            assert_eq!(rows.len(), size);
            let (mut mass, mut moment) = (0.0, 0.0);
            for (x, value) in rows[64].iter().enumerate() {
                let d = x as f64 - 64.0;
                mass += f64::from(*value);
                moment += f64::from(*value) * d * d;
            }
            let variance = moment / mass - (81.0 - 1.0) / 12.0;
            let error = (variance.sqrt() - f64::from(sigma)).abs() / f64::from(sigma);
            // The kernel ends at three sigma, which takes a little off.
            assert!(error < 0.03, "{sigma}: {}", variance.sqrt());
        }
    }

    #[test]
    fn threads_change_nothing() {
        let data: Vec<u8> = (0..97 * 61).map(|i| (i * 31 % 251) as u8).collect();
        for sigma in [1.3, 7.0] {
            let one = blurred(&data, 97, [sigma, sigma / 2.0], 1);
            assert_ne!(one, data);
            assert_eq!(one, blurred(&data, 97, [sigma, sigma / 2.0], 3));
        }
    }
}
