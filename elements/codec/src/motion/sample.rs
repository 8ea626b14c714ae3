// SPDX-License-Identifier: Apache-2.0
//! A sample of a picture: eight bits in a byte, or ten in two.
//!
//! Prediction is written once over this trait and compiled for each depth. What differs is where
//! values end and how wide a filter's sums are: with eight bits they fit 16 bits, with ten they do not.

use std::fmt::Debug;

/// A picture's sample of a fixed depth.
pub trait Sample: Copy + Default + PartialEq + Eq + Debug + Send + Sync + 'static {
    const BITS: u8;
    /// Mid grey.
    const GREY: Self;
    /// Holds the sums of one filter, whose taps' magnitudes sum to at most 112.
    type Sum: Copy + Default + Into<i32>;

    fn value(self) -> i32;

    /// Brings a number into the range of samples.
    fn clip(value: i32) -> Self;

    /// `sum + sample * tap`.
    fn add(sum: Self::Sum, sample: Self, tap: i16) -> Self::Sum;

    /// Ends a filter of one direction: `(sum + 32) >> 6`, clipped.
    fn finish(sum: Self::Sum) -> Self;

    /// The second direction: each row's sums times its tap, added to 2048. There is an even number of taps.
    #[inline(always)]
    fn down<const N: usize>(rows: &[[Self::Sum; N]], taps: &[i16]) -> [i32; N] {
        let mut sums = [2048; N];
        for (row, &tap) in rows.iter().zip(taps) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += value.into() * i32::from(tap);
            }
        }
        sums
    }
}

impl Sample for u8 {
    const BITS: u8 = 8;
    const GREY: Self = 128;
    type Sum = i16;

    #[inline(always)]
    fn value(self) -> i32 {
        self.into()
    }

    #[inline(always)]
    fn clip(value: i32) -> Self {
        value.clamp(0, 255) as u8
    }

    #[inline(always)]
    fn add(sum: i16, sample: Self, tap: i16) -> i16 {
        sum + i16::from(sample) * tap
    }

    #[inline(always)]
    fn finish(sum: i16) -> Self {
        ((sum + 32) >> 6).clamp(0, 255) as u8
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn down<const N: usize>(rows: &[[i16; N]], taps: &[i16]) -> [i32; N] {
        super::simd::down(rows, taps)
    }
}

/// Ten bits, in the lower bits of sixteen.
impl Sample for u16 {
    const BITS: u8 = 10;
    const GREY: Self = 512;
    type Sum = i32;

    #[inline(always)]
    fn value(self) -> i32 {
        self.into()
    }

    #[inline(always)]
    fn clip(value: i32) -> Self {
        value.clamp(0, 1023) as u16
    }

    #[inline(always)]
    fn add(sum: i32, sample: Self, tap: i16) -> i32 {
        sum + i32::from(sample) * i32::from(tap)
    }

    #[inline(always)]
    fn finish(sum: i32) -> Self {
        Self::clip((sum + 32) >> 6)
    }
}
