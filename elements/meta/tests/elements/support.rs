// SPDX-License-Identifier: Apache-2.0
//! Pipelines whose frames carry results.

use std::sync::Once;

use aivideo_meta::{ClassificationResult, Detection};
use gst::prelude::*;

pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        aivideo_meta::register(None).unwrap();
    });
}

pub fn clip(time: gst::ClockTime) -> ClassificationResult {
    ClassificationResult {
        model: "m".into(),
        clip_start: time.nseconds(),
        clip_end: time.nseconds() + 640_000_000,
        labels: vec!["camera pan left".into(), "static \"so\"".into()],
        scores: vec![0.75, 0.125],
    }
}

pub fn car() -> Detection {
    Detection {
        label: "car".into(),
        label_id: Some(2),
        confidence: Some(0.5),
        x: 32,
        y: 24,
        width: 64,
        height: 48,
        object_id: Some(3),
        ..Detection::default()
    }
}

/// A pipeline whose element `tag` puts `attach` onto each frame; frames count from 0.
pub fn tagged(
    line: &str,
    attach: impl Fn(u64, &mut gst::BufferRef) + Send + Sync + 'static,
) -> gst::Pipeline {
    init();
    let pipeline = gst::parse::launch(line)
        .unwrap_or_else(|error| panic!("{error}: {line}"))
        .downcast::<gst::Pipeline>()
        .unwrap();
    let pad = pipeline.by_name("tag").unwrap().static_pad("src").unwrap();
    let count = std::sync::atomic::AtomicU64::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        attach(number, info.buffer_mut().unwrap().make_mut());
        gst::PadProbeReturn::Ok
    });
    pipeline
}

/// To the end of the stream; the error's text otherwise.
pub fn run(pipeline: &gst::Pipeline) -> Result<(), String> {
    let _ = pipeline.set_state(gst::State::Playing);
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = pipeline
        .bus()
        .unwrap()
        .timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds)
        .expect("neither end nor error within 60 s");
    pipeline.set_state(gst::State::Null).unwrap();
    match message.view() {
        gst::MessageView::Error(error) => Err(error.error().to_string()),
        _ => Ok(()),
    }
}
