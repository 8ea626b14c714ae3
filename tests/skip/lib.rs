// SPDX-License-Identifier: Apache-2.0
//! Says that a test was skipped, and why. The harness keeps what `eprintln!` writes in a test that passes to itself; this
//! it does not.

use std::io::Write;

/// Writes `SKIP: ` and the reason, which is given as to `format!`.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => { $crate::say(&::std::format!($($reason)+)) };
}

#[doc(hidden)]
pub fn say(reason: &str) {
    // One write, so that lines of tests that run at the same time stay whole. Nobody is helped by a failure of it.
    let _ = std::io::stderr().write_all(format!("SKIP: {reason}\n").as_bytes());
}
