// SPDX-License-Identifier: Apache-2.0
//! The elements in pipelines: standard encoders and decoders of the system, and a restoration net.

#[path = "elements/look_ahead.rs"]
mod look_ahead;
#[path = "elements/restore.rs"]
mod restore;
#[path = "elements/streams.rs"]
mod streams;
#[path = "elements/svtav1.rs"]
mod svtav1;
#[path = "../../core/tests/testmodel/mod.rs"]
mod testmodel;

fn init() {
    static INIT: std::sync::Once = std::sync::Once::new();
    INIT.call_once(|| {
        gst::init().expect("GStreamer");
        aivideo_hybrid::register(None).expect("registers");
    });
}

/// For tests that encode AV1: SVT-AV1 bears no two encoders of different settings in a process.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let guard = ALONE.lock();
    guard.unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn available(names: &[&str]) -> bool {
    let missing: Vec<&&str> = names
        .iter()
        .filter(|name| gst::ElementFactory::find(name).is_none())
        .collect();
    if !missing.is_empty() {
        eprintln!("skipped: {missing:?} are not installed");
    }
    missing.is_empty()
}
