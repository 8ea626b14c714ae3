// SPDX-License-Identifier: Apache-2.0
//! The inner loops, and the only unsafe code of this crate.
//!
//! [`lut`] holds hand-written table look-ups (AVX-512 VBMI, AVX2), which a compiler does not find.
//! [`kernels`] are plain loops, compiled a second time for AVX2 and chosen at run time. Neither
//! uses fused multiply-add, so every variant gives the same bits.
#![allow(unsafe_code)]

pub mod kernels;
pub mod lut;

/// Lets a test run everything on its thread as on a machine without vector instructions.
#[cfg(test)]
pub mod baseline {
    use std::cell::Cell;

    thread_local! {
        static FORCED: Cell<bool> = const { Cell::new(false) };
    }

    pub fn forced() -> bool {
        FORCED.get()
    }

    pub fn force<T>(f: impl FnOnce() -> T) -> T {
        FORCED.set(true);
        let result = f();
        FORCED.set(false);
        result
    }
}

#[cfg(not(test))]
mod baseline {
    pub const fn forced() -> bool {
        false
    }
}

/// The instruction sets that look-ups are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512Vbmi,
}

impl Level {
    /// What this machine has, the slowest first.
    pub fn available() -> Vec<Level> {
        #[allow(unused_mut)]
        let mut levels = vec![Level::Scalar];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                levels.push(Level::Avx2);
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vbmi")
            {
                levels.push(Level::Avx512Vbmi);
            }
        }
        levels
    }

    /// The fastest of this machine.
    pub fn best() -> Level {
        if baseline::forced() {
            return Level::Scalar;
        }
        static BEST: std::sync::OnceLock<Level> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| *Self::available().last().unwrap_or(&Level::Scalar))
    }
}
