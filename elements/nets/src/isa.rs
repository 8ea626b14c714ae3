// SPDX-License-Identifier: Apache-2.0
//! Which instructions there are, and functions compiled for each set of them.

/// Instructions that kernels are compiled for, and that this processor has: no other can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    /// AVX-512, and dense layers on the matrix unit.
    Amx,
    Avx512,
    Avx2,
}

impl Isa {
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Amx => "amx",
            Set::Avx512 => "avx512",
            Set::Avx2 => "avx2",
        }
    }

    /// All that this machine has, the best first.
    pub fn all() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx512 && crate::amx::available() {
                found.push(Self(Set::Amx));
            }
            if avx512 {
                found.push(Self(Set::Avx512));
            }
            if avx2 {
                found.push(Self(Set::Avx2));
            }
        }
        found
    }

    /// The best that this machine has.
    pub fn detect() -> Option<Self> {
        Self::all().first().copied()
    }

    /// Whether functions compiled for AVX-512 may be called.
    #[inline(always)]
    pub fn is_wide(self) -> bool {
        self.0 != Set::Avx2
    }

    /// Whether dense layers go to the matrix unit.
    #[inline(always)]
    pub fn has_tiles(self) -> bool {
        self.0 == Set::Amx
    }
}

/// A function `name(isa, …)` made of two expressions: the first compiled for AVX-512, the second for
/// AVX2 with FMA. Both may be unsafe: who calls the function makes their promises.
#[macro_export]
macro_rules! compile {
    ($name:ident($($arg:ident: $ty:ty),*) => $wide:expr, $narrow:expr) => {
        #[cfg(target_arch = "x86_64")]
        fn $name(isa: $crate::isa::Isa, $($arg: $ty),*) {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn wide($($arg: $ty),*) {
                // SAFETY: the enclosing function is only reached where these instructions exist, and
                // its caller has checked the lengths.
                #[allow(unused_unsafe, clippy::macro_metavars_in_unsafe)]
                unsafe { $wide }
            }
            #[target_feature(enable = "avx2,fma")]
            fn narrow($($arg: $ty),*) {
                // SAFETY: as above.
                #[allow(unused_unsafe, clippy::macro_metavars_in_unsafe)]
                unsafe { $narrow }
            }
            // SAFETY: an `Isa` is only made where the processor has its instructions.
            unsafe {
                if isa.is_wide() {
                    wide($($arg),*)
                } else {
                    narrow($($arg),*)
                }
            }
        }

        #[cfg(not(target_arch = "x86_64"))]
        fn $name(_isa: $crate::isa::Isa, $($arg: $ty),*) {
            $(let _ = $arg;)*
            unreachable!("no Isa is ever detected here");
        }
    };
}
