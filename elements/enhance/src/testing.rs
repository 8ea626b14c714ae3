// SPDX-License-Identifier: Apache-2.0
//! Pictures for unit tests: the same at every run.

/// A small generator (xorshift), so that tests need no dependency for it.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next_u32(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    fn uniform(&mut self) -> f32 {
        (self.next_u32() as f32 + 1.0) / (u32::MAX as f32 + 2.0)
    }

    /// Box and Muller's Gaussian of deviation 1.
    pub fn gaussian(&mut self) -> f32 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f32::consts::TAU * self.uniform()).cos()
    }
}

/// `plane` with Gaussian noise, rounded and clipped as a camera would.
pub fn noisy(plane: &[u8], sigma: f32, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    plane
        .iter()
        .map(|&v| {
            (f32::from(v) + sigma * random.gaussian())
                .round()
                .clamp(0.0, 255.0) as u8
        })
        .collect()
}

/// A plane that rises smoothly to the right and downwards.
pub fn gradient(width: usize, height: usize) -> Vec<u8> {
    (0..width * height)
        .map(|i| (30 + (i % width) * 120 / width + (i / width) * 80 / height) as u8)
        .collect()
}
