// SPDX-License-Identifier: Apache-2.0
//! The hot loops compiled twice: for the baseline, and for AVX2 where the machine has it.
//!
//! The loops themselves are safe Rust in their own modules; only the call into a function that is
//! compiled for more than the baseline is not.
#![allow(unsafe_code)]

use super::Vector;
use super::interpolate::{self, Reference};
use super::plane::Plane;
use super::search::{self, Halves, TileTask};

macro_rules! dispatch {
    ($(#[$doc:meta])* $name:ident => $body:path, ($($arg:ident: $ty:ty),*) $(-> $ret:ty)?) => {
        $(#[$doc])*
        pub(super) fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
                fn wide($($arg: $ty),*) $(-> $ret)? {
                    $body($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("bmi1")
                    && std::arch::is_x86_feature_detected!("bmi2")
                    && std::arch::is_x86_feature_detected!("lzcnt")
                {
                    // SAFETY: the processor has just been asked for every feature of `wide`.
                    return unsafe { wide($($arg),*) };
                }
            }
            $body($($arg),*)
        }
    };
}

dispatch! {
    /// Predicts one row of blocks.
    block_row => interpolate::block_row,
    (reference: &Reference, row: usize, vectors: &[Vector], y: &mut [u8], u: &mut [u8], v: &mut [u8])
}

dispatch! {
    /// Filters some rows of the half-pel planes.
    half_rows => search::half_rows,
    (full: &Plane, first: usize, count: usize, h: &mut [u8], v: &mut [u8], c: &mut [u8])
}

dispatch! {
    /// Searches one row of blocks of a coarse level.
    coarse_row => search::coarse_row,
    (task: &search::CoarseTask<'_>, row: usize, out: &mut [Vector])
}

dispatch! {
    /// Searches one tile at full resolution.
    tile => search::tile,
    (task: &TileTask<'_>, halves: &Halves, out: &mut [Vector])
}
