// SPDX-License-Identifier: Apache-2.0
//! The classification meta on its way through real elements.

use std::sync::{Arc, Mutex};

use aivideo_meta::classification::{self as meta, ClassificationResult};
use gst::prelude::*;

fn result(model: &str) -> ClassificationResult {
    ClassificationResult {
        model: model.to_string(),
        clip_start: 40_000_000,
        clip_end: 680_000_000,
        labels: vec!["pan left".to_string(), "a \"quoted\", label".to_string()],
        scores: vec![0.75, 0.125],
    }
}

#[test]
fn registering_again_is_harmless() {
    gst::init().unwrap();
    meta::register();
    meta::register();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(meta::register);
        }
    });
}

#[test]
fn attach_read_and_message_agree() {
    gst::init().unwrap();
    let mut buffer = gst::Buffer::new();
    assert_eq!(ClassificationResult::read(&buffer), None);
    let buffer = buffer.get_mut().unwrap();
    result("a").attach(buffer).unwrap();
    result("b").attach(buffer).unwrap();
    assert_eq!(ClassificationResult::read(buffer), Some(result("a")));
    assert_eq!(
        ClassificationResult::read_all(buffer),
        [result("a"), result("b")]
    );
    let message = result("a").to_message_structure();
    assert_eq!(message.name(), meta::CLASSIFICATION_MESSAGE);
    assert_eq!(
        ClassificationResult::from_structure(&message),
        Some(result("a"))
    );
    // What applications without this library see.
    assert_eq!(message.get::<u64>("clip-start"), Ok(40_000_000));
    assert_eq!(
        message.get::<gst::Array>("labels").unwrap()[0].get::<&str>(),
        Ok("pan left")
    );
    let text = message.to_string();
    let parsed: gst::Structure = text.parse().unwrap();
    assert_eq!(
        ClassificationResult::from_structure(&parsed),
        Some(result("a"))
    );
}

#[test]
fn copies_keep_it_and_parts_do_not() {
    gst::init().unwrap();
    let mut buffer = gst::Buffer::with_size(64).unwrap();
    result("a").attach(buffer.get_mut().unwrap()).unwrap();
    assert_eq!(
        ClassificationResult::read(&buffer.copy_deep().unwrap()),
        Some(result("a"))
    );
    let mut writable = buffer.clone();
    writable.make_mut().set_pts(gst::ClockTime::SECOND);
    assert_eq!(ClassificationResult::read(&writable), Some(result("a")));
}

#[test]
fn a_malformed_structure_is_none() {
    gst::init().unwrap();
    let mut structure = result("a").to_message_structure();
    structure.set("scores", "high");
    assert_eq!(ClassificationResult::from_structure(&structure), None);
    structure.remove_field("scores");
    assert_eq!(ClassificationResult::from_structure(&structure), None);
}

/// Attaches something to each of five frames of 64x48, lets them through the elements, and reads
/// it from what arrives at the sink.
pub fn through_with<T: Send + 'static>(
    elements: &str,
    attach: impl Fn(&mut gst::BufferRef, gst::ClockTime) + Send + Sync + 'static,
    read: impl Fn(&gst::BufferRef) -> T + Send + Sync + 'static,
) -> Vec<T> {
    gst::init().unwrap();
    let description = format!(
        "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=64,height=48 \
         ! identity name=tag ! {elements} ! fakesink name=sink"
    );
    let pipeline = gst::parse::launch(&description)
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    let pad = |element: &str, pad: &str| {
        let element = pipeline.by_name(element).unwrap();
        element.static_pad(pad).unwrap()
    };
    pad("tag", "src").add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let buffer = info.buffer_mut().unwrap().make_mut();
        let time = buffer.pts().unwrap();
        attach(buffer, time);
        gst::PadProbeReturn::Ok
    });
    let seen = Arc::new(Mutex::new(Vec::new()));
    let results = seen.clone();
    pad("sink", "sink").add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        results.lock().unwrap().push(read(info.buffer().unwrap()));
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    let message = pipeline
        .bus()
        .unwrap()
        .timed_pop_filtered(
            gst::ClockTime::from_seconds(30),
            &[gst::MessageType::Eos, gst::MessageType::Error],
        )
        .expect("neither end nor error within 30 s");
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    std::mem::take(&mut *seen.lock().unwrap())
}

fn through(elements: &str) -> Vec<Option<ClassificationResult>> {
    through_with(
        elements,
        |buffer, time| {
            let mut result = result("m");
            result.clip_start = time.nseconds();
            result.attach(buffer).unwrap();
        },
        ClassificationResult::read,
    )
}

#[test]
fn it_survives_conversion_scaling_and_queues() {
    for elements in [
        "queue",
        "videoconvert ! video/x-raw,format=RGB",
        "videoscale ! video/x-raw,width=128,height=96",
        "videoconvert ! video/x-raw,format=NV12 ! queue ! videoflip method=clockwise",
        "tee ! queue ! videoconvert ! video/x-raw,format=BGRx ! identity single-segment=true",
    ] {
        let seen = through(elements);
        assert_eq!(seen.len(), 5, "{elements}");
        for (frame, got) in seen.into_iter().enumerate() {
            let got = got.unwrap_or_else(|| panic!("frame {frame} lost it in {elements}"));
            // Each frame has its own, not a neighbour's.
            assert_eq!(got.clip_start / 33_000_000, frame as u64, "{elements}");
            assert_eq!(got.labels, result("m").labels);
            assert_eq!(got.scores, result("m").scores);
        }
    }
}
