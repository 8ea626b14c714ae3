// SPDX-License-Identifier: Apache-2.0
//! A function compiled twice: for the baseline, and for AVX2 where the machine has it. Only the call into
//! the second is unsafe; whoever names kernels written by hand in it allows that.

macro_rules! dispatch {
    ($(#[$doc:meta])* $vis:vis fn $name:ident $(<$sample:ident>)? => $plain:path, $wide:path, ($($arg:ident: $ty:ty),*) $(-> $out:ty)?) => {
        $(#[$doc])*
        $vis fn $name$(<$sample: $crate::motion::Sample>)?($($arg: $ty),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
                fn wide$(<$sample: $crate::motion::Sample>)?($($arg: $ty),*) $(-> $out)? {
                    $wide($($arg),*)
                }
                if $crate::dispatch::has_avx2() {
                    // SAFETY: the processor has just been asked for every feature of `wide`.
                    return unsafe { wide($($arg),*) };
                }
            }
            $plain($($arg),*)
        }
    };
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("bmi1")
        && std::arch::is_x86_feature_detected!("bmi2")
        && std::arch::is_x86_feature_detected!("lzcnt")
}

pub(crate) use dispatch;
