// SPDX-License-Identifier: Apache-2.0
//! A new model while the element plays.

use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::{
    common::{Bench, ModelFile, STEP, grey, probe, probe_bytes, probed},
    testmodel,
};

/// The probe again under another name, so that it is another model.
fn other_probe() -> ModelFile {
    let mut bytes = probe_bytes();
    // Any change that keeps the model valid: the producer's entry at the end of a message is a
    // metadata pair (field 14: key, value).
    bytes.extend([0x72, 0x0d, 0x0a, 0x04]);
    bytes.extend(b"name");
    bytes.extend([0x12, 0x05]);
    bytes.extend(b"other");
    ModelFile::new(&bytes)
}

fn change(bench: &Bench, model: &ModelFile) {
    bench
        .element
        .set_property("model-location", model.path.to_str().unwrap());
}

/// Waits until the new model is loaded, passing frames meanwhile; the next frame's number.
fn pass_until_swapped(bench: &mut Bench, mut next: u64, swaps: u64) -> u64 {
    let began = Instant::now();
    while bench.stat("model-swaps") < swaps {
        assert!(began.elapsed() < Duration::from_secs(60), "no swap");
        bench.pass(grey(100, next));
        next += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    next
}

/// Name and hash of the message that a model took over.
fn took_over(bench: &Bench) -> Option<(String, String)> {
    while let Some(message) = bench.bus.pop() {
        match message.view() {
            gst::MessageView::Element(message) => {
                let structure = message.structure().unwrap();
                if structure.name() == aivideo_classify::MODEL_MESSAGE {
                    return Some((
                        structure.get("model").unwrap(),
                        structure.get("sha256").unwrap(),
                    ));
                }
            }
            gst::MessageView::Error(error) => panic!("{error:?}"),
            _ => {}
        }
    }
    None
}

#[test]
fn the_model_changes_between_two_frames_and_no_frame_and_no_clip_is_lost() {
    let (first, second) = (probe(), other_probe());
    let mut bench = Bench::with_probe(&first, &[("sync", "true"), ("clip-stride", "1")]);
    bench.caps("RGB", 16, 16);
    let before: gst::Structure = bench.element.property("stats");
    let mut names = Vec::new();
    let mut next = 0;
    let began = Instant::now();
    // `pass` checks that each frame comes out as it goes in.
    while bench.stat("model-swaps") == 0 || names.len() < 40 {
        assert!(began.elapsed() < Duration::from_secs(60), "no swap");
        for result in bench.pass(grey((40 + next % 100) as u8, next)) {
            assert_eq!(result.clip_end, (next + 1) * STEP);
            let (a, b) = probed(&result);
            let level = |i: u64| (40 + i % 100) as f64;
            assert!((a - level(next - 15)).abs() < 0.3 && (b - level(next)).abs() < 0.3);
            names.push(result.model);
        }
        if next == 20 {
            change(&bench, &second);
        }
        next += 1;
    }
    assert_eq!(
        names.len() as u64,
        next - 15,
        "a result for every frame from the 16th on"
    );
    let at = names.iter().position(|name| name == "other").unwrap();
    assert!(names[..at].iter().all(|name| name == "probe"));
    assert!(names[at..].iter().all(|name| name == "other"));
    assert!(at > 0);
    assert_eq!(
        bench.stat("restarts"),
        0,
        "the new model takes the same frames"
    );
    let after: gst::Structure = bench.element.property("stats");
    let hash = |s: &gst::Structure| s.get::<String>("model").unwrap();
    assert_ne!(hash(&before), hash(&after));
    assert_eq!(took_over(&bench), Some(("other".to_string(), hash(&after))));
}

/// Worker threads of the model with this hash.
fn workers(hash: &str) -> usize {
    let name = format!("aie-{}", &hash[..8]);
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|comm| comm.trim() == name)
        .count()
}

#[test]
fn the_old_model_is_freed() {
    // Models of their own: other tests use the probe.
    let models: Vec<ModelFile> = (0..4u8)
        .map(|i| {
            let mut bytes = probe_bytes();
            bytes.extend([0x72, 0x0a, 0x0a, 0x04]);
            bytes.extend(b"name");
            bytes.extend([0x12, 0x02, b'f', b'0' + i]);
            ModelFile::new(&bytes)
        })
        .collect();
    let mut bench = Bench::with_probe(&models[0], &[]);
    bench.caps("RGB", 16, 16);
    let mut hashes = Vec::new();
    let mut next = 0;
    for (swaps, model) in models.iter().enumerate().skip(1) {
        let stats: gst::Structure = bench.element.property("stats");
        hashes.push(stats.get::<String>("model").unwrap());
        wait_for_workers(&hashes[swaps - 1..], 1);
        change(&bench, model);
        next = pass_until_swapped(&mut bench, next, swaps as u64);
    }
    wait_for_workers(&hashes, 0);
}

/// Threads start, and name themselves, in their own time.
fn wait_for_workers(hashes: &[String], count: usize) {
    let began = Instant::now();
    while hashes.iter().map(|hash| workers(hash)).sum::<usize>() != count {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "not {count} models of these are loaded"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_model_that_takes_other_clips_begins_anew() {
    let model = probe();
    let mut bench = Bench::with_probe(&model, &[("sync", "true")]);
    bench.caps("RGB", 16, 16);
    for i in 0..10 {
        bench.pass(grey(100, i));
    }
    // Back to the built-in one: 16 frames of 64 pixels, every second.
    bench.element.set_property("model-location", None::<String>);
    let next = pass_until_swapped(&mut bench, 10, 1);
    // The swap came with the frame before: that was the first of the new clip.
    let mut results = Vec::new();
    for i in next..next + 30 {
        results.extend(bench.pass(grey(100, i)));
    }
    assert_eq!(results.len(), 1);
    assert_eq!(results[0].model, "vjepa2-motion");
    assert_eq!(results[0].clip_start, (next - 1) * STEP);
    // Unless the swap came just between two clips of the old model.
    let begun = !(next - 1).is_multiple_of(16);
    assert_eq!(bench.stat("restarts") >= 1, begun);
}

#[test]
fn a_model_that_cannot_be_used_changes_nothing() {
    let model = probe();
    let mut bench = Bench::with_probe(&model, &[("sync", "true")]);
    bench.caps("RGB", 16, 16);
    bench.pass(grey(9, 0));
    let wrong = ModelFile::new(&testmodel::add(1.0, testmodel::Dim::Free("n")));
    for (location, says) in [
        ("/nonexistent/model.onnx", "/nonexistent/model.onnx"),
        (wrong.path.to_str().unwrap(), "not a video classifier"),
    ] {
        bench.element.set_property("model-location", location);
        let warning = bench
            .bus
            .timed_pop_filtered(
                gst::ClockTime::from_seconds(20),
                &[gst::MessageType::Warning],
            )
            .expect("a warning");
        let gst::MessageView::Warning(warning) = warning.view() else {
            unreachable!();
        };
        let text = warning.error().message().to_string();
        assert!(text.contains(says) && text.contains("goes on"), "{text}");
    }
    let mut results = Vec::new();
    for i in 1..16 {
        results.extend(bench.pass(grey(9, i)));
    }
    assert_eq!(results.len(), 1, "the clip under way is complete");
    assert_eq!(results[0].model, "probe");
    assert_eq!(bench.stat("model-swaps"), 0);
}

#[test]
fn the_last_of_many_changes_wins_and_stopping_meanwhile_is_clean() {
    let (first, second) = (probe(), other_probe());
    let mut bench = Bench::with_probe(&first, &[]);
    bench.caps("RGB", 16, 16);
    bench.pass(grey(9, 0));
    for _ in 0..10 {
        change(&bench, &second);
        change(&bench, &first);
    }
    change(&bench, &second);
    // Others may have been loaded in time to take over for a moment; what stays is the last.
    let (began, mut next, mut newest) = (Instant::now(), 1, (None, Instant::now()));
    while newest.0.as_deref() != Some("other") || newest.1.elapsed() < Duration::from_millis(300) {
        assert!(began.elapsed() < Duration::from_secs(60), "{newest:?}");
        bench.pass(grey(9, next));
        next += 1;
        while let Some((model, _)) = took_over(&bench) {
            newest = (Some(model), Instant::now());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    change(&bench, &first);
    bench.element.set_state(gst::State::Null).unwrap();
    assert_eq!(
        bench.element.property::<String>("model-location"),
        first.path.to_str().unwrap()
    );
}

#[test]
fn elements_that_share_an_id_change_one_after_the_other() {
    let (first, second) = (probe(), other_probe());
    let id = [("model-instance-id", "swapped-by-two"), ("sync", "true")];
    let mut benches = [
        Bench::with_probe(&first, &id),
        Bench::with_probe(&first, &id),
    ];
    for bench in &mut benches {
        bench.caps("RGB", 16, 16);
        bench.pass(grey(9, 0));
    }
    let hash = |bench: &Bench| {
        let stats: gst::Structure = bench.element.property("stats");
        stats.get::<String>("model").unwrap()
    };
    change(&benches[0], &second);
    pass_until_swapped(&mut benches[0], 1, 1);
    assert_ne!(
        hash(&benches[0]),
        hash(&benches[1]),
        "the other one goes on"
    );
    benches[1].pass(grey(9, 1));
    change(&benches[1], &second);
    pass_until_swapped(&mut benches[1], 2, 1);
    assert_eq!(hash(&benches[0]), hash(&benches[1]));
}
