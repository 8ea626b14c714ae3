// SPDX-License-Identifier: Apache-2.0
//! Floats in registers: sixteen of AVX-512 or of two of AVX2, or eight of one of AVX2.
#![allow(unsafe_code)] // intrinsics

use crate::dense::SLOPE;
use std::arch::x86_64::*;

/// Floats in registers.
///
/// # Safety
/// The processor must have the instructions, and pointers must be good for as many floats.
pub trait Lanes: Copy {
    const COUNT: usize;
    /// 32 registers of 16 floats rather than 16 of 8.
    const WIDE: bool;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// Has the cache line of a place brought near; any place will do.
    #[inline(always)]
    fn prefetch(at: *const f32) {
        // SAFETY: a hint, which reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    unsafe fn splat(value: f32) -> Self;
    unsafe fn fma(self, weight: Self, sum: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn relu(self) -> Self;
    /// Negative numbers times [`SLOPE`](crate::dense::SLOPE).
    unsafe fn leaky(self) -> Self;
}

impl Lanes for __m512 {
    const COUNT: usize = 16;
    const WIDE: bool = true;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as the trait asks.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as the trait asks.
        unsafe { _mm512_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: as the trait asks.
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn fma(self, weight: Self, sum: Self) -> Self {
        // SAFETY: as the trait asks.
        unsafe { _mm512_fmadd_ps(self, weight, sum) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as the trait asks.
        unsafe { _mm512_add_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: as the trait asks.
        unsafe { _mm512_sub_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // SAFETY: as the trait asks.
        unsafe { _mm512_max_ps(self, _mm512_setzero_ps()) }
    }
    #[inline(always)]
    unsafe fn leaky(self) -> Self {
        // SAFETY: as the trait asks.
        unsafe { _mm512_max_ps(self, _mm512_mul_ps(self, _mm512_set1_ps(SLOPE))) }
    }
}

#[derive(Clone, Copy)]
pub struct Pair(__m256, __m256);

impl Lanes for Pair {
    const COUNT: usize = 16;
    const WIDE: bool = false;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as the trait asks.
        unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as the trait asks.
        unsafe {
            _mm256_storeu_ps(to, self.0);
            _mm256_storeu_ps(to.add(8), self.1);
        }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: as the trait asks.
        unsafe {
            let v = _mm256_set1_ps(value);
            Self(v, v)
        }
    }
    #[inline(always)]
    unsafe fn fma(self, weight: Self, sum: Self) -> Self {
        // SAFETY: as the trait asks.
        unsafe {
            Self(
                _mm256_fmadd_ps(self.0, weight.0, sum.0),
                _mm256_fmadd_ps(self.1, weight.1, sum.1),
            )
        }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as the trait asks.
        unsafe {
            Self(
                _mm256_add_ps(self.0, other.0),
                _mm256_add_ps(self.1, other.1),
            )
        }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: as the trait asks.
        unsafe {
            Self(
                _mm256_sub_ps(self.0, other.0),
                _mm256_sub_ps(self.1, other.1),
            )
        }
    }
    #[inline(always)]
    unsafe fn leaky(self) -> Self {
        // SAFETY: as the trait asks.
        unsafe {
            let slope = _mm256_set1_ps(SLOPE);
            Self(
                _mm256_max_ps(self.0, _mm256_mul_ps(self.0, slope)),
                _mm256_max_ps(self.1, _mm256_mul_ps(self.1, slope)),
            )
        }
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // SAFETY: as the trait asks.
        unsafe {
            let zero = _mm256_setzero_ps();
            Self(_mm256_max_ps(self.0, zero), _mm256_max_ps(self.1, zero))
        }
    }
}

impl Lanes for __m256 {
    const COUNT: usize = 8;
    const WIDE: bool = false;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as the trait asks.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as the trait asks.
        unsafe { _mm256_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: as the trait asks.
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn fma(self, weight: Self, sum: Self) -> Self {
        // SAFETY: as the trait asks.
        unsafe { _mm256_fmadd_ps(self, weight, sum) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as the trait asks.
        unsafe { _mm256_add_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: as the trait asks.
        unsafe { _mm256_sub_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // SAFETY: as the trait asks.
        unsafe { _mm256_max_ps(self, _mm256_setzero_ps()) }
    }
    #[inline(always)]
    unsafe fn leaky(self) -> Self {
        // SAFETY: as the trait asks.
        unsafe { _mm256_max_ps(self, _mm256_mul_ps(self, _mm256_set1_ps(SLOPE))) }
    }
}
