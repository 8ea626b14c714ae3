// SPDX-License-Identifier: Apache-2.0
//! Floyd and Steinberg's error diffusion, in whole numbers, each row against the one before.

use std::sync::Mutex;

use super::super::convert::ColorOp;
use crate::pass::Moment;
use crate::simd::lut::Lut;

/// The largest value with its errors, in sixteenths.
const TOP: i32 = 255 * 16;

/// Where the error of a value goes. They are looked up, not computed, since each pixel waits for
/// the error of the one before: a load is shorter than rounding and multiplying.
#[derive(Clone, Copy, Default)]
struct Shares {
    ahead: i16,
    behind: i16,
    below: i16,
    corner: i16,
}

pub struct Diffusion {
    table: Lut,
    /// By value in sixteenths.
    shares: Box<[Shares; 4096]>,
    /// Errors that the next row gets, 16 for 1, by pixel with one more on either side.
    errors: Mutex<Vec<[i32; 3]>>,
}

impl Diffusion {
    pub fn new(table: Lut) -> Self {
        let mut shares = Box::new([Shares::default(); 4096]);
        for (value, shares) in (0..=TOP).zip(shares.iter_mut()) {
            let error = value - i32::from(table[nearest(value)]) * 16;
            // 7, 3 and 5 sixteenths; the rest is one.
            let (ahead, behind, below) = ((error * 7) >> 4, (error * 3) >> 4, (error * 5) >> 4);
            *shares = Shares {
                ahead: ahead as i16,
                behind: behind as i16,
                below: below as i16,
                corner: (error - ahead - behind - below) as i16,
            };
        }
        Self {
            table,
            shares,
            errors: Mutex::default(),
        }
    }
}

/// Of a value in sixteenths, 0 to [`TOP`].
fn nearest(value: i32) -> usize {
    ((value + 8) >> 4).min(255) as usize
}

impl ColorOp for Diffusion {
    fn apply(&self, [red, green, blue]: [&mut [u8]; 3], y: usize, _moment: &Moment) {
        let mut errors = self.errors.lock().unwrap_or_else(|e| e.into_inner());
        let width = red.len();
        if y == 0 || errors.len() != width + 2 {
            errors.clear();
            errors.resize(width + 2, [0; 3]);
        }
        let (green, blue) = (&mut green[..width], &mut blue[..width]);
        let errors = &mut errors[..width + 2];
        let back = y % 2 == 1;
        // Going on to the pixel ahead; below it, gathered until its place is free.
        let mut ahead = [0i32; 3];
        let mut below = [0i32; 3];
        let mut corner = [0i32; 3];
        for i in 0..width {
            let x = if back { width - 1 - i } else { i };
            let old = [red[x], green[x], blue[x]];
            let mut new = [0; 3];
            let waiting = errors[x + 1];
            let mut behind = [0; 3];
            for c in 0..3 {
                // One addition after the pixel before, as the others can be made ahead of it.
                let here = i32::from(old[c]) * 16 + waiting[c];
                let value = (here + ahead[c]).clamp(0, TOP);
                let shares = self.shares[(value & 4095) as usize];
                new[c] = self.table[nearest(value)];
                ahead[c] = i32::from(shares.ahead);
                behind[c] = below[c] + i32::from(shares.behind);
                below[c] = corner[c] + i32::from(shares.below);
                corner[c] = i32::from(shares.corner);
            }
            // Below the pixel behind nothing more is added.
            let place = if back { x + 2 } else { x };
            errors[place] = behind;
            (red[x], green[x], blue[x]) = (new[0], new[1], new[2]);
        }
        let place = if back { 1 } else { width };
        errors[place] = below;
    }

    fn is_sequential(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same in floating point, from the textbook, differs by rounding alone: on gray of one
    /// half both make as many white pixels.
    #[test]
    fn errors_are_neither_lost_nor_made() {
        let table: Lut = std::array::from_fn(|x| if x < 128 { 0 } else { 255 });
        let diffusion = Diffusion::new(table);
        for gray in [13u8, 64, 100, 127, 200] {
            let mut white = 0;
            for y in 0..64 {
                let mut rows = [vec![gray; 80], vec![gray; 80], vec![0; 80]];
                let [r, g, b] = &mut rows;
                diffusion.apply([r, g, b], y, &Moment::default());
                assert_eq!(rows[0], rows[1]);
                assert!(rows[2].iter().all(|v| *v == 0));
                white += rows[0].iter().filter(|v| **v == 255).count();
            }
            let mean = white as f64 / (64.0 * 80.0) * 255.0;
            assert!((mean - f64::from(gray)).abs() < 3.0, "{gray}: {mean}");
        }
    }
}
