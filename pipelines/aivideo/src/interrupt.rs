// SPDX-License-Identifier: Apache-2.0
//! Ctrl-C for long runs: the first ends the run in an orderly way, the second at once.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Whether the user has asked the run to end.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Takes SIGINT and SIGTERM over. Without this call they end the program as ever.
pub fn watch() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot watch for signals")?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if REQUESTED.swap(true, Ordering::Relaxed) {
                std::process::exit(128 + signal);
            }
            eprintln!(
                "\nending: what is finished is kept, the same command goes on from here (once more: end at once)"
            );
        }
    });
    Ok(())
}
