// SPDX-License-Identifier: Apache-2.0
//! Pictures before and after one, laid onto it by their motion. Coding errors differ from picture to picture
//! where the scene does not, so that what the others show tells some of them apart.

use aivideo_codec::motion::{PART, Reference, Searcher, Variant, compensate_luma};
use std::collections::VecDeque;

/// The search takes luma in blocks of this side.
const MULTIPLE: usize = 64;
/// Squared error that a bit of a vector is worth: motion is to be true rather than a good match of the noise.
const WORTH: f64 = 60.0;
/// Rows of blocks that are searched by one thread.
const ROWS: usize = 4;
/// Where a part of another picture differs by more levels on average, it shows something else.
const ALIEN: u32 = 16;
/// Most pictures on either side.
pub const FARTHEST: usize = 2;

/// How many pictures filters have weights for that look at so many on either side.
pub const fn pictures(distance: usize) -> usize {
    4 * distance
}

/// The lumas of a stream around the picture that is restored.
pub struct Beside {
    size: (usize, usize),
    distance: usize,
    lumas: VecDeque<Vec<u8>>,
    /// How many of them come before the picture that is next.
    past: usize,
    searchers: Vec<Searcher>,
    reference: Reference,
    /// What was laid onto the picture, the nearest first, before before after, each followed by its smooth copy.
    laid: Vec<Option<Vec<u8>>>,
}

impl Beside {
    /// For luma of a size, and 1 to [`FARTHEST`] pictures on either side.
    pub fn new(shown: (usize, usize), distance: usize) -> Self {
        let distance = distance.clamp(1, FARTHEST);
        let size = (
            shown.0.next_multiple_of(MULTIPLE),
            shown.1.next_multiple_of(MULTIPLE),
        );
        let searcher = |_| Searcher::new(size.0, size.1, ROWS, Variant::Full);
        Self {
            size,
            distance,
            lumas: VecDeque::new(),
            past: 0,
            searchers: (0..2 * distance).map(searcher).collect(),
            reference: Reference::new(size.0, size.1),
            laid: Vec::new(),
        }
    }

    /// That pictures must be filled up to.
    pub fn size(&self) -> (usize, usize) {
        self.size
    }

    pub fn distance(&self) -> usize {
        self.distance
    }

    /// Takes the luma of the stream's next picture.
    pub fn admit(&mut self, luma: Vec<u8>) {
        debug_assert_eq!(luma.len(), self.size.0 * self.size.1);
        self.lumas.push_back(luma);
    }

    /// What lies beside the next picture, which is over with it: the one before, its smooth copy, the one after and its, and
    /// so on outwards.
    pub fn take(&mut self) -> Vec<Option<&[u8]>> {
        if self.past >= self.lumas.len() {
            return Vec::new();
        }
        let at = self.past;
        self.laid.clear();
        for step in 1..=self.distance {
            for (side, from) in [(0, at.checked_sub(step)), (1, at.checked_add(step))] {
                let index = 2 * (step - 1) + side;
                let laid = from
                    .filter(|from| *from < self.lumas.len())
                    .map(|from| self.lay(index, at, from));
                let smooth = laid.as_ref().map(|laid| smooth(laid, self.size.0));
                self.laid.push(laid);
                self.laid.push(smooth);
            }
        }
        self.advance();
        self.laid.iter().map(Option::as_deref).collect()
    }

    /// Passes over the next picture.
    pub fn skip(&mut self) {
        if self.past < self.lumas.len() {
            self.advance();
        }
    }

    fn advance(&mut self) {
        self.past += 1;
        if self.past > self.distance {
            self.lumas.pop_front();
            self.past -= 1;
        }
    }

    /// What comes does not follow what came.
    pub fn reset(&mut self) {
        self.lumas.clear();
        self.past = 0;
        self.searchers.iter_mut().for_each(Searcher::reset);
    }

    fn lay(&mut self, index: usize, at: usize, from: usize) -> Vec<u8> {
        let luma = &self.lumas[at];
        self.reference.y.load(&self.lumas[from]);
        let field = self.searchers[index].search(luma, &self.reference, WORTH);
        let mut laid = vec![0; luma.len()];
        compensate_luma(&self.reference.y, &field, &mut laid);
        keep_kin(luma, &mut laid, self.size.0);
        laid
    }
}

/// Each sample with its eight neighbours, weighted 4, 2 and 1: of whole samples of motion, what the finest detail
/// of another picture says is least to be trusted.
fn smooth(luma: &[u8], width: usize) -> Vec<u8> {
    let height = luma.len() / width;
    let mut sums = vec![0u16; width];
    let mut out = vec![0; luma.len()];
    for (y, out) in out.chunks_exact_mut(width).enumerate() {
        let row = |y: usize| &luma[y.min(height - 1) * width..][..width];
        let (above, here, below) = (row(y.saturating_sub(1)), row(y), row(y + 1));
        for x in 0..width {
            sums[x] = u16::from(above[x]) + 2 * u16::from(here[x]) + u16::from(below[x]);
        }
        for x in 1..width - 1 {
            out[x] = ((sums[x - 1] + 2 * sums[x] + sums[x + 1] + 8) >> 4) as u8;
        }
        out[0] = ((3 * sums[0] + sums[1] + 8) >> 4) as u8;
        out[width - 1] = ((3 * sums[width - 1] + sums[width - 2] + 8) >> 4) as u8;
    }
    out
}

/// Puts the picture itself where another one shows something else.
fn keep_kin(luma: &[u8], laid: &mut [u8], width: usize) {
    let most = ALIEN * (PART * PART) as u32;
    let bands = laid.chunks_exact_mut(PART * width);
    for (laid, luma) in bands.zip(luma.chunks_exact(PART * width)) {
        for x in (0..width).step_by(PART) {
            let rows = (0..PART).map(|y| y * width + x);
            let differences = rows.clone().map(|at| {
                let pairs = laid[at..][..PART].iter().zip(&luma[at..][..PART]);
                pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>()
            });
            if differences.sum::<u32>() > most {
                rows.for_each(|at| laid[at..][..PART].copy_from_slice(&luma[at..][..PART]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A texture that moves by `shift`.
    fn moved(shift: usize) -> Vec<u8> {
        let wave = |v: usize, length: f64| (v as f64 / length).sin();
        let value = |x: usize, y: usize| {
            110.0 + 40.0 * wave(x, 5.0) + 30.0 * wave(y, 7.0) + 20.0 * wave(x + 2 * y, 11.0)
        };
        (0..64 * 64)
            .map(|i| value(i % 64 + shift, i / 64) as u8)
            .collect()
    }

    #[test]
    fn neighbours_come_in_order_and_lie_on_the_picture() {
        let mut beside = Beside::new((60, 64), 1);
        assert_eq!(beside.size(), (64, 64));
        assert!(beside.take().is_empty());
        beside.admit(moved(0));
        beside.admit(moved(3));
        {
            let luma = moved(0);
            let around = beside.take();
            assert_eq!(around.len(), pictures(1));
            assert!(around[0].is_none());
            // But for what came in from outside.
            let after = around[2].unwrap();
            let inside = |i: &usize| (8..56).contains(&(i % 64));
            let wrong = |i: &usize| inside(i) && after[*i].abs_diff(luma[*i]) > 2;
            let count = (0..64 * 64).filter(wrong).count();
            assert!(count < 200, "{count}");
        }
        beside.admit(moved(6));
        for expected in [3, 6] {
            let around = beside.take();
            assert!(around[0].is_some());
            assert_eq!(around[2].is_some(), expected == 3);
        }
        assert!(beside.take().is_empty());
        beside.reset();
        assert!(beside.take().is_empty());
    }

    #[test]
    fn another_scene_is_left_out() {
        let mut beside = Beside::new((64, 64), 1);
        beside.admit(vec![50; 64 * 64]);
        beside.admit(vec![200; 64 * 64]);
        assert!(beside.take()[2].unwrap() == [50; 64 * 64]);
    }
}
