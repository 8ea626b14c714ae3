// SPDX-License-Identifier: Apache-2.0
//! A function compiled three times: for the baseline, and where the machine has them for AVX2 and for AVX-512's
//! instructions on registers of 256 bits and more, of which there are twice as many. Only the calls into the latter
//! are unsafe; whoever names kernels written by hand in them allows that.

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
                #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,avx512f,avx512bw,avx512dq,avx512vl")]
                fn wider$(<$sample: $crate::motion::Sample>)?($($arg: $ty),*) $(-> $out)? {
                    $wide($($arg),*)
                }
                if $crate::dispatch::has_avx512() {
                    // SAFETY: the processor has just been asked for every feature of `wider`.
                    return unsafe { wider($($arg),*) };
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

#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx512() -> bool {
    has_avx2()
        && std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512dq")
        && std::arch::is_x86_feature_detected!("avx512vl")
}

pub(crate) use dispatch;
