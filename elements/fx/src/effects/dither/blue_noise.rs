// SPDX-License-Identifier: Apache-2.0
//! A blue-noise threshold pattern, by Ulichney's void and cluster.

/// Width and height of the pattern.
pub const SIDE: usize = 64;

/// Each value sixteen times. Written by the test below.
pub static PATTERN: &[u8; SIDE * SIDE] = include_bytes!("blue_noise_64.bin");

#[cfg(test)]
mod tests {
    use super::*;

    /// Ones of a pattern, and at each cell how crowded it is by those around.
    struct Crowd {
        ones: Vec<bool>,
        energy: Vec<u64>,
        /// What a one adds at each distance.
        weights: Vec<u64>,
    }

    impl Crowd {
        fn new() -> Self {
            let distance = |i: usize| i.min(SIDE - i) as f64;
            let weights = (0..SIDE * SIDE)
                .map(|i| {
                    let (x, y) = (distance(i % SIDE), distance(i / SIDE));
                    // Whole numbers, so that every machine makes the same pattern.
                    ((-(x * x + y * y) / (2.0 * 1.9 * 1.9)).exp() * 1e6).round() as u64
                })
                .collect();
            Self {
                ones: vec![false; SIDE * SIDE],
                energy: vec![0; SIDE * SIDE],
                weights,
            }
        }

        fn flip(&mut self, at: usize) {
            self.ones[at] = !self.ones[at];
            let (ax, ay) = (at % SIDE, at / SIDE);
            for (i, energy) in self.energy.iter_mut().enumerate() {
                let (x, y) = ((i % SIDE + SIDE - ax) % SIDE, (i / SIDE + SIDE - ay) % SIDE);
                let weight = self.weights[y * SIDE + x];
                *energy = match self.ones[at] {
                    true => *energy + weight,
                    false => *energy - weight,
                };
            }
        }

        fn tightest_cluster(&self) -> usize {
            let ones = (0..SIDE * SIDE).filter(|i| self.ones[*i]);
            ones.max_by_key(|i| (self.energy[*i], *i)).unwrap()
        }

        fn largest_void(&self) -> usize {
            let zeros = (0..SIDE * SIDE).filter(|i| !self.ones[*i]);
            zeros.min_by_key(|i| (self.energy[*i], *i)).unwrap()
        }
    }

    fn make() -> Vec<u8> {
        let mut crowd = Crowd::new();
        let first = SIDE * SIDE / 10;
        let mut n = 0;
        while crowd.ones.iter().filter(|one| **one).count() < first {
            let at = crate::pass::hash(&[n]) as usize % (SIDE * SIDE);
            if !crowd.ones[at] {
                crowd.flip(at);
            }
            n += 1;
        }
        loop {
            let cluster = crowd.tightest_cluster();
            crowd.flip(cluster);
            let void = crowd.largest_void();
            crowd.flip(void);
            if void == cluster {
                break;
            }
        }
        let mut ranks = vec![0; SIDE * SIDE];
        let even = (crowd.ones.clone(), crowd.energy.clone());
        for rank in (0..first).rev() {
            let at = crowd.tightest_cluster();
            crowd.flip(at);
            ranks[at] = rank;
        }
        (crowd.ones, crowd.energy) = even;
        for rank in first..SIDE * SIDE {
            let at = crowd.largest_void();
            crowd.flip(at);
            ranks[at] = rank;
        }
        ranks.iter().map(|rank| (rank / 16) as u8).collect()
    }

    /// `UPDATE_PATTERN=1` writes the file.
    #[test]
    fn the_pattern_is_void_and_cluster() {
        let made = make();
        if std::env::var_os("UPDATE_PATTERN").is_some() {
            let path = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/src/effects/dither/blue_noise_64.bin"
            );
            std::fs::write(path, &made).unwrap();
            return;
        }
        assert!(made == PATTERN.as_slice());
    }

    #[test]
    fn every_threshold_is_there_as_often() {
        for value in 0..=255 {
            assert_eq!(PATTERN.iter().filter(|v| **v == value).count(), 16);
        }
        // Neighbours differ much more than in white noise, where the mean is 85.
        let differences: u32 = (0..SIDE * SIDE)
            .map(|i| u32::from(PATTERN[i].abs_diff(PATTERN[(i + 1) % (SIDE * SIDE)])))
            .sum();
        let mean = differences / (SIDE * SIDE) as u32;
        assert!(mean > 95, "{mean}");
    }
}
