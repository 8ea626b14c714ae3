// SPDX-License-Identifier: Apache-2.0
//! Large neighbourhoods: work on a picture reduced by a power of two, and enlarge the result.

use crate::picture::Plane;
use crate::simd::kernels;
use crate::workers::Tools;

/// A reduced picture with a border of one sample, which enlarging wants.
pub struct Bordered {
    data: Vec<f32>,
    width: usize,
    height: usize,
}

impl Bordered {
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            data: vec![0.0; (width + 2) * (height + 2)],
            width,
            height,
        }
    }

    pub fn row_mut(&mut self, y: usize) -> &mut [f32] {
        let stride = self.width + 2;
        &mut self.data[(y + 1) * stride + 1..][..self.width]
    }

    /// Fills the border with what is next to it.
    pub fn close(&mut self) {
        let (stride, last) = (self.width + 2, self.height);
        for row in self.data.chunks_exact_mut(stride) {
            row[0] = row[1];
            row[stride - 1] = row[stride - 2];
        }
        self.data.copy_within(stride..2 * stride, 0);
        self.data
            .copy_within(last * stride..(last + 1) * stride, (last + 1) * stride);
    }
}

/// Calls `emit` with each row of `plane` and of the enlarged picture.
pub fn enlarge(
    plane: &mut Plane,
    soft: &Bordered,
    [fx, fy]: [usize; 2],
    tools: &Tools,
    emit: impl Fn(&mut [u8], &mut [f32]) + Sync,
) {
    let (width, stride) = (soft.width, soft.width + 2);
    let soft = &soft.data;
    tools.strips(plane, 1, |first, strip| {
        let mut between = vec![0.0; stride];
        let mut wide = vec![0.0; (width + 1) * fx];
        for y in 0..strip.height {
            // Centres of the small picture's rows are fy apart, the first at (fy − 1) / 2.
            let at = first + y + fy / 2;
            let part = ((at % fy) as f32 + if fy > 1 { 0.5 } else { 1.0 }) / fy as f32;
            let rows = &soft[at / fy * stride..];
            let (above, below) = (&rows[..stride], &rows[stride..2 * stride]);
            kernels::interpolate(&mut between, above, below, part);
            kernels::enlarge(&mut wide, &between, fx);
            let start = if fx > 1 { fx / 2 } else { 0 };
            let smooth = &mut wide[start..start + strip.width];
            emit(strip.row_mut(y), smooth);
        }
    });
}

/// Means of blocks of a plane, whose edges are repeated to fill the last ones. Factors are powers
/// of two.
pub fn reduce(plane: &Plane, fx: usize, fy: usize) -> Vec<f32> {
    let width = plane.width.div_ceil(fx);
    let mut small = Vec::with_capacity(width * plane.height.div_ceil(fy));
    let mut sums = vec![0u32; width * fx];
    let scale = 1.0 / (fx * fy) as f32;
    for top in (0..plane.height).step_by(fy) {
        sums.fill(0);
        for y in top..top + fy {
            kernels::accumulate(&mut sums, plane.row(y.min(plane.height - 1)));
        }
        let last = sums[plane.width - 1];
        sums[plane.width..].fill(last);
        let mut wide = sums.len();
        while wide > width {
            kernels::fold(&mut sums[..wide]);
            wide /= 2;
        }
        small.extend(sums[..width].iter().map(|sum| *sum as f32 * scale));
    }
    small
}
