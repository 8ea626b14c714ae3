// SPDX-License-Identifier: Apache-2.0
//! Memory that is used again.

use aivideo_core::pixels::Yuv420;

/// Memory of planes that are done with, for the next ones: a frame is several megabytes, and
/// fresh pages cost more than copying into them.
#[derive(Debug, Default)]
pub struct Spare {
    planes: Vec<Vec<u8>>,
}

impl Spare {
    const MAX_PLANES: usize = 8;

    /// A plane of `len` bytes of unspecified content.
    pub fn take(&mut self, len: usize) -> Vec<u8> {
        // The smallest that fits, so that a large one is there for a large plane.
        let best = (0..self.planes.len())
            .filter(|&i| self.planes[i].capacity() >= len)
            .min_by_key(|&i| self.planes[i].capacity());
        let mut plane = best.map(|i| self.planes.swap_remove(i)).unwrap_or_default();
        plane.resize(len, 0);
        plane
    }

    /// Gives a plane back.
    pub fn give(&mut self, plane: Vec<u8>) {
        if plane.capacity() == 0 {
            return;
        }
        if self.planes.len() == Self::MAX_PLANES {
            self.planes.remove(0);
        }
        self.planes.push(plane);
    }

    /// A picture of unspecified content.
    pub fn picture(&mut self, width: usize, height: usize) -> Yuv420 {
        let chroma = width.div_ceil(2) * height.div_ceil(2);
        Yuv420 {
            width,
            height,
            y: self.take(width * height),
            u: self.take(chroma),
            v: self.take(chroma),
        }
    }

    /// Gives all planes of a picture back.
    pub fn give_picture(&mut self, picture: Yuv420) {
        self.give(picture.y);
        self.give(picture.u);
        self.give(picture.v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_reuses_the_smallest_that_fits() {
        let mut spare = Spare::default();
        spare.give(Vec::with_capacity(100));
        spare.give(Vec::with_capacity(1000));
        let plane = spare.take(50);
        assert_eq!((plane.len(), plane.capacity()), (50, 100));
        assert_eq!(spare.take(500).capacity(), 1000);
        assert_eq!(spare.take(5).len(), 5);
        for _ in 0..20 {
            spare.give(vec![0; 3]);
        }
        assert!(spare.planes.len() <= Spare::MAX_PLANES);
    }
}
