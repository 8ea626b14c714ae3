// SPDX-License-Identifier: Apache-2.0
//! Which instructions the machine has, and loops compiled once for each set of them.

/// Lets a test run everything on its thread as on a machine with fewer instructions.
#[cfg(any(test, feature = "forced-level"))]
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

#[cfg(not(any(test, feature = "forced-level")))]
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

/// Defines a function three times: as written, with AVX2 and with AVX-512, for the machine that
/// has it.
#[macro_export]
macro_rules! kernel {
    ($(#[$attr:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$attr])*
        $vis fn $name($($arg: $ty),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body($($arg: $ty),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) {
                    body($($arg),*)
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) {
                    body($($arg),*)
                }
                match $crate::level::Level::best() {
                    // SAFETY: the level says that the machine has what the function asks for.
                    $crate::level::Level::Avx512Vbmi => unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::level::Level::Avx2 => unsafe { avx2($($arg),*) },
                    $crate::level::Level::Scalar => body($($arg),*),
                }
                return;
            }
            #[cfg(not(target_arch = "x86_64"))]
            body($($arg),*)
        }
    };
}
