// SPDX-License-Identifier: Apache-2.0
//! The inner loops, and the only unsafe code of this crate.
//!
//! [`lut`] holds hand-written table look-ups (AVX-512 VBMI, AVX2), which a compiler does not find.
//! [`kernels`] are plain loops, compiled again for AVX2 and AVX-512 and chosen at run time. Neither
//! uses fused multiply-add, so every variant gives the same bits.
#![allow(unsafe_code)]

pub mod kernels;
pub mod lut;

/// Lets a test run everything on its thread as on a machine with fewer instructions.
#[cfg(test)]
pub mod forced {
    use super::Level;
    use std::cell::Cell;

    thread_local! {
        static LEVEL: Cell<Option<Level>> = const { Cell::new(None) };
    }

    pub fn level() -> Option<Level> {
        LEVEL.get()
    }

    pub fn with<T>(level: Level, f: impl FnOnce() -> T) -> T {
        LEVEL.set(Some(level));
        let result = f();
        LEVEL.set(None);
        result
    }
}

#[cfg(not(test))]
mod forced {
    pub const fn level() -> Option<super::Level> {
        None
    }
}

/// The instruction sets that inner loops are made for.
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
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vbmi")
            {
                levels.push(Level::Avx512Vbmi);
            }
        }
        levels
    }

    /// The fastest of this machine.
    pub fn best() -> Level {
        if let Some(level) = forced::level() {
            return level;
        }
        static BEST: std::sync::OnceLock<Level> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| *Self::available().last().unwrap_or(&Level::Scalar))
    }
}
