// SPDX-License-Identifier: Apache-2.0
//! Points that can be followed, and where they went (pyramidal Lucas-Kanade).

use super::pyramid::{Grey, Pyramid};

/// Side of the window around a point that is compared.
const SIDE: usize = 15;
const HALF: f32 = (SIDE / 2) as f32;
/// Blocks that corners are looked for in, and fields of blocks that give one point each.
const BLOCK: usize = 8;
/// Iterations a level, and the step below which one stops.
const ITERATIONS: usize = 10;
const STILL: f32 = 0.01;
/// The smaller eigenvalue of a window's gradients, a pixel, below which it says too little.
const FLAT: f32 = 4.0;
/// Mean difference of the windows beyond which the point is lost.
const LOST: f32 = 18.0;

/// Up to about `count` points of the finest level, spread over the picture.
pub fn points(pyramid: &Pyramid, count: usize) -> Vec<(f32, f32)> {
    let grey = &pyramid.levels[0];
    let (columns, rows) = (grey.width / BLOCK, grey.height / BLOCK);
    if columns < 3 || rows < 3 {
        return Vec::new();
    }
    // As many fields as points are wanted, of the picture's shape.
    let field = ((columns * rows) as f32 / count.max(1) as f32)
        .sqrt()
        .max(1.0);
    let (across, down) = (
        (columns as f32 / field).ceil() as usize,
        (rows as f32 / field).ceil() as usize,
    );
    let mut best = vec![(FLAT, None); across * down];
    let mut tensors = vec![[0_i32; 3]; columns];
    for row in 1..rows - 1 {
        tensors.fill([0; 3]);
        for y in row * BLOCK..(row + 1) * BLOCK {
            let (above, here, below) = (grey.row(y - 1), grey.row(y), grey.row(y + 1));
            for (column, tensor) in tensors.iter_mut().enumerate().take(columns - 1).skip(1) {
                let x = column * BLOCK;
                let (left, right) = (&here[x - 1..][..BLOCK], &here[x + 1..][..BLOCK]);
                let (up, down) = (&above[x..][..BLOCK], &below[x..][..BLOCK]);
                for k in 0..BLOCK {
                    let dx = i32::from(right[k]) - i32::from(left[k]);
                    let dy = i32::from(down[k]) - i32::from(up[k]);
                    tensor[0] += dx * dx;
                    tensor[1] += dx * dy;
                    tensor[2] += dy * dy;
                }
            }
        }
        let place = ((row as f32 / field) as usize).min(down - 1) * across;
        for (column, tensor) in tensors.iter().enumerate().take(columns - 1).skip(1) {
            // Differences are over two pixels.
            let scale = 1.0 / (4.0 * (BLOCK * BLOCK) as f32);
            let score = smaller_eigenvalue(tensor.map(|t| t as f32 * scale));
            let slot = &mut best[place + ((column as f32 / field) as usize).min(across - 1)];
            if score > slot.0 {
                let middle = |block: usize| (block * BLOCK) as f32 + (BLOCK as f32 - 1.0) / 2.0;
                *slot = (score, Some((middle(column), middle(row))));
            }
        }
    }
    best.into_iter().filter_map(|(_, point)| point).collect()
}

fn smaller_eigenvalue([a, b, c]: [f32; 3]) -> f32 {
    let half = (a + c) / 2.0;
    half - (((a - c) / 2.0).powi(2) + b * b).sqrt()
}

/// Where a point of one picture is in the next; `None` when it is lost.
pub fn follow(before: &Pyramid, now: &Pyramid, (x, y): (f32, f32)) -> Option<(f32, f32)> {
    let levels = before.levels.len().min(now.levels.len());
    let mut shift = (0.0_f32, 0.0_f32);
    for level in (0..levels).rev() {
        let scale = (1 << level) as f32;
        // Centres of pixels: a pixel of a coarse level lies between those it was made from.
        let at = ((x + 0.5) / scale - 0.5, (y + 0.5) / scale - 0.5);
        match refine(&before.levels[level], &now.levels[level], at, shift) {
            Some(found) => shift = found,
            // A coarse level may show nothing at all; the finest must.
            None if level > 0 => {}
            None => return None,
        }
        if level > 0 {
            shift = (shift.0 * 2.0, shift.1 * 2.0);
        }
    }
    let to = (x + shift.0, y + shift.1);
    let finest = &now.levels[0];
    let inside = to.0 >= 0.0
        && to.1 >= 0.0
        && to.0 <= (finest.width - 1) as f32
        && to.1 <= (finest.height - 1) as f32;
    inside.then_some(to)
}

fn refine(before: &Grey, now: &Grey, at: (f32, f32), start: (f32, f32)) -> Option<(f32, f32)> {
    const WIDE: usize = SIDE + 2;
    let mut wide = [0.0_f32; WIDE * WIDE];
    before.patch(at.0 - HALF - 1.0, at.1 - HALF - 1.0, WIDE, &mut wide);
    let mut template = [0.0_f32; SIDE * SIDE];
    let mut slope_x = [0.0_f32; SIDE * SIDE];
    let mut slope_y = [0.0_f32; SIDE * SIDE];
    for row in 0..SIDE {
        for column in 0..SIDE {
            let middle = (row + 1) * WIDE + column + 1;
            let to = row * SIDE + column;
            template[to] = wide[middle];
            slope_x[to] = (wide[middle + 1] - wide[middle - 1]) / 2.0;
            slope_y[to] = (wide[middle + WIDE] - wide[middle - WIDE]) / 2.0;
        }
    }
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let (xx, xy, yy) = (
        dot(&slope_x, &slope_x),
        dot(&slope_x, &slope_y),
        dot(&slope_y, &slope_y),
    );
    let area = (SIDE * SIDE) as f32;
    if smaller_eigenvalue([xx / area, xy / area, yy / area]) < FLAT / 4.0 {
        return None;
    }
    let determinant = xx * yy - xy * xy;
    let mut shift = start;
    let mut window = [0.0_f32; SIDE * SIDE];
    for _ in 0..ITERATIONS {
        now.patch(
            at.0 + shift.0 - HALF,
            at.1 + shift.1 - HALF,
            SIDE,
            &mut window,
        );
        for (w, t) in window.iter_mut().zip(&template) {
            *w = t - *w;
        }
        // The mean goes: light changes are no motion.
        let mean = window.iter().sum::<f32>() / area;
        for w in &mut window {
            *w -= mean;
        }
        let (ex, ey) = (dot(&window, &slope_x), dot(&window, &slope_y));
        let step = (
            (yy * ex - xy * ey) / determinant,
            (xx * ey - xy * ex) / determinant,
        );
        shift = (shift.0 + step.0, shift.1 + step.1);
        if !shift.0.is_finite() || !shift.1.is_finite() {
            return None;
        }
        if step.0.abs() < STILL && step.1.abs() < STILL {
            break;
        }
    }
    let difference = window.iter().map(|w| w.abs()).sum::<f32>() / area;
    let far = (shift.0 - start.0).abs().max((shift.1 - start.1).abs()) > SIDE as f32;
    (difference < LOST && !far).then_some(shift)
}
