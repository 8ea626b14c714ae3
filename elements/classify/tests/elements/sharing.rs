// SPDX-License-Identifier: Apache-2.0
//! Several elements, one model.

use std::sync::atomic::Ordering;

use gst::prelude::*;

use crate::common::{Bench, element, grey, probe, probed};

#[test]
fn elements_with_one_instance_id_share_an_engine() {
    let model = probe();
    let id = [("sync", "true"), ("model-instance-id", "shared-by-two")];
    let mut benches = [
        Bench::with_probe(&model, &id),
        Bench::with_probe(&model, &id),
    ];
    for (k, bench) in benches.iter_mut().enumerate() {
        bench.caps("RGB", 16, 16);
        let level = 50 + 100 * k as u8;
        let mut results = Vec::new();
        for i in 0..16 {
            results.extend(bench.pass(grey(level, i)));
        }
        assert_eq!(results.len(), 1);
        assert!(
            (probed(&results[0]).0 - f64::from(level)).abs() < 0.2,
            "each gets its own result"
        );
    }
    for bench in &benches {
        assert_eq!(bench.stat("frames"), 2, "one engine counts for both");
        assert_eq!(bench.stat("clips"), 1, "the element counts its own");
    }
}

#[test]
fn streams_in_parallel_get_their_own_results() {
    let model = probe();
    let path = model.path.clone();
    let threads: Vec<_> = (0..4u8)
        .map(|k| {
            let path = path.clone();
            std::thread::spawn(move || {
                let mut bench = Bench::new(&[
                    ("model-location", path.to_str().unwrap()),
                    ("sync", "true"),
                    ("clip-stride", "4"),
                    ("model-instance-id", "four-streams"),
                    ("batch-size", "4"),
                    ("batch-timeout", "2000"),
                ]);
                bench.caps("RGB", 16, 16);
                let level = 30 + 50 * k;
                let mut count = 0;
                for i in 0..80 {
                    for result in bench.pass(grey(level, i)) {
                        let (first, last) = probed(&result);
                        assert!((first - f64::from(level)).abs() < 0.3, "{first}");
                        assert!((last - f64::from(level)).abs() < 0.3, "{last}");
                        count += 1;
                    }
                }
                count
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 17);
    }
}

#[test]
fn conflicting_settings_under_one_id_are_refused() {
    let model = probe();
    let location = model.path.to_str().unwrap();
    let first = element(&[
        ("model-location", location),
        ("model-instance-id", "in-conflict"),
        ("batch-size", "1"),
    ]);
    first.set_state(gst::State::Paused).unwrap();
    let second = element(&[
        ("model-location", location),
        ("model-instance-id", "in-conflict"),
        ("batch-size", "2"),
    ]);
    let bus = gst::Bus::new();
    second.set_bus(Some(&bus));
    assert!(second.set_state(gst::State::Paused).is_err());
    let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!();
    };
    let text = format!(
        "{} {}",
        error.error().message(),
        error.debug().unwrap_or_default()
    );
    for element in [first, second] {
        element.set_state(gst::State::Null).unwrap();
    }
    assert!(text.contains("in-conflict"), "{text}");
}

/// Sixteen cameras with a model that cannot serve them all: each gets its share, and what a frame
/// of one waits does not depend on the others.
#[test]
fn every_stream_gets_its_share_of_a_busy_model() {
    const STREAMS: usize = 16;
    const EACH: usize = 6;
    let total = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let barrier = std::sync::Arc::new(std::sync::Barrier::new(STREAMS));
    let threads: Vec<_> = (0..STREAMS)
        .map(|k| {
            let (barrier, total) = (barrier.clone(), total.clone());
            std::thread::spawn(move || {
                let mut bench = Bench::new(&[
                    ("clip-stride", "1"),
                    ("frame-stride", "1"),
                    ("model-instance-id", "sixteen-cameras"),
                    ("batch-size", "4"),
                ]);
                bench.caps("RGB", 16, 16);
                let mut results = 0;
                barrier.wait();
                let began = std::time::Instant::now();
                let mut i = 0;
                while total.load(Ordering::SeqCst) < STREAMS * EACH {
                    assert!(began.elapsed().as_secs() < 60, "the streams are stuck");
                    // The first camera is ten times as fast as the others.
                    let pause = if k == 0 { 1 } else { 10 };
                    std::thread::sleep(std::time::Duration::from_millis(pause));
                    let carried = bench.pass(grey((i % 200) as u8, i)).len();
                    total.fetch_add(carried, Ordering::SeqCst);
                    results += carried;
                    i += 1;
                }
                (results, bench.stat("clips-dropped"))
            })
        })
        .collect();
    let all: Vec<(usize, u64)> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    let mut results: Vec<usize> = all.iter().map(|(results, _)| *results).collect();
    eprintln!("results of each stream: {results:?}");
    results.sort_unstable();
    assert!(
        all.iter().any(|(_, dropped)| *dropped > 0),
        "the model was not busy"
    );
    // By order of arrival the fast camera would have 38 of the 96; what the others leave it may have.
    assert!(
        results[0] * 2 >= EACH && results[STREAMS - 1] <= EACH * 3,
        "one stream lives at the expense of others: {results:?}"
    );
}
