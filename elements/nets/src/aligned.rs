// SPDX-License-Identifier: Apache-2.0
//! Memory that starts on a cache line, so that no register's worth of numbers lies across two. The
//! allocator's own alignment of 16 bytes makes the dense layers take twice as long.
#![allow(unsafe_code)] // a cache line seen as numbers

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Numbers without padding, of which every pattern of bits is one.
pub trait Number: Copy + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! numbers {
    ($($ty:ty),*) => {
        $(
            impl sealed::Sealed for $ty {}
            impl Number for $ty {}
        )*
    };
}

numbers!(f32, u16, u8);

/// A vector of numbers.
#[derive(Clone)]
pub struct Aligned<T> {
    lines: Vec<Line>,
    len: usize,
    of: PhantomData<T>,
}

impl<T> Aligned<T> {
    pub const fn new() -> Self {
        Self {
            lines: Vec::new(),
            len: 0,
            of: PhantomData,
        }
    }
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Number> Aligned<T> {
    pub fn zeros(len: usize) -> Self {
        let mut new = Self::new();
        new.resize(len);
        new
    }

    /// What was not there before is zero, or what was there before it was cut off.
    pub fn resize(&mut self, len: usize) {
        let lines = (len * size_of::<T>()).div_ceil(size_of::<Line>());
        if lines > self.lines.len() {
            self.lines.resize(lines, Line([0; 64]));
        }
        self.len = len;
    }
}

impl<T: Number> Deref for Aligned<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: the lines hold at least `len` numbers, all their bytes are set, and any are a number.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T: Number> DerefMut for Aligned<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl<T: Number> From<&[T]> for Aligned<T> {
    fn from(numbers: &[T]) -> Self {
        let mut new = Self::zeros(numbers.len());
        new.copy_from_slice(numbers);
        new
    }
}

impl<T: Number + fmt::Debug> fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_line_and_keeps_its_numbers() {
        let mut numbers = Aligned::<f32>::from(&[1.0f32, 2.0, 3.0][..]);
        numbers.resize(100);
        assert_eq!(numbers.as_ptr() as usize % 64, 0);
        assert_eq!(numbers[..4], [1.0, 2.0, 3.0, 0.0]);
        assert_eq!(numbers.len(), 100);
        numbers.resize(2);
        assert_eq!(numbers[..], [1.0, 2.0]);
        assert_eq!(Aligned::<u16>::new().len(), 0);
        assert!(Aligned::<u8>::zeros(65).iter().all(|&v| v == 0));
    }
}
