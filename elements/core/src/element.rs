// SPDX-License-Identifier: Apache-2.0
//! What elements write alike.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a panic of another thread leaves plain values behind, which can be used.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Templates of a sink and a source pad that are always there and take the same caps.
pub fn same_pads(caps: &gst::Caps) -> Vec<gst::PadTemplate> {
    [
        ("sink", gst::PadDirection::Sink),
        ("src", gst::PadDirection::Src),
    ]
    .into_iter()
    .filter_map(|(name, direction)| {
        gst::PadTemplate::new(name, direction, gst::PadPresence::Always, caps).ok()
    })
    .collect()
}
