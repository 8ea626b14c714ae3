// SPDX-License-Identifier: Apache-2.0
//! `aiscene` as a pipeline sees it.

use aivideo_meta::{ClassificationResult, Detection};
use gst::prelude::*;
use gst_video::VideoFormat;

use crate::support::*;

const SIZE: (usize, usize) = (128, 72);

fn scene_harness(properties: &str) -> (gst_check::Harness, gst::Bus) {
    init();
    let element = gst::parse::launch(&format!("aiscene {properties}")).expect("the element");
    let bus = bus_of(&element);
    let mut h = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
    h.play();
    (h, bus)
}

/// 60 pictures: a cut at 24, a flash at 40.
fn pictures() -> Vec<Picture> {
    let scenes = [leaves(SIZE.0, SIZE.1, 1), leaves(SIZE.0, SIZE.1, 2)];
    (0..60)
        .map(|n| {
            let mut picture = scenes[usize::from(n >= 24)].clone();
            for v in &mut picture.u {
                *v = if n < 24 { 100 } else { 150 };
            }
            if n == 40 {
                picture.y.fill(250);
            }
            picture
        })
        .collect()
}

fn buffers(format: VideoFormat) -> Vec<gst::Buffer> {
    pictures()
        .iter()
        .enumerate()
        .map(|(n, picture)| {
            let mut buffer = buffer_of(picture, format, 0);
            let b = buffer.make_mut();
            b.set_pts(gst::ClockTime::from_mseconds(40 * n as u64));
            b.set_duration(gst::ClockTime::from_mseconds(40));
            buffer
        })
        .collect()
}

fn structures(bus: &gst::Bus, name: &str) -> Vec<gst::Structure> {
    std::iter::from_fn(|| bus.pop_filtered(&[gst::MessageType::Element]))
        .filter_map(|m| m.structure().map(|s| s.to_owned()))
        .filter(|s| s.name() == name)
        .collect()
}

#[test]
fn cuts_become_messages_events_metas_and_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let (json, edl) = (folder.path().join("s.json"), folder.path().join("s.edl"));
    for format in [VideoFormat::I420, VideoFormat::Nv12] {
        let (mut h, bus) = scene_harness(&format!(
            "json-location={} edl-location={} force-key-units=true",
            json.display(),
            edl.display()
        ));
        h.set_src_caps(caps_of(format, SIZE.0, SIZE.1));
        let mut out = Vec::new();
        for (n, mut buffer) in buffers(format).into_iter().enumerate() {
            if n % 10 == 0 {
                ClassificationResult {
                    model: "m".into(),
                    labels: vec![if n < 24 { "walking" } else { "running" }.into()],
                    scores: vec![0.75],
                    ..Default::default()
                }
                .attach(buffer.make_mut())
                .expect("attached");
            }
            Detection {
                label: "dog".into(),
                width: 10,
                height: 10,
                ..Default::default()
            }
            .attach(buffer.make_mut(), (SIZE.0 as u32, SIZE.1 as u32))
            .expect("attached");
            h.push(buffer).expect("taken");
            out.extend(std::iter::from_fn(|| h.try_pull()));
            assert_eq!(out.len(), (n + 1).saturating_sub(5));
        }
        assert_eq!(h.query_latency().map(|l| l.mseconds()), Some(200));
        h.push_event(gst::event::Eos::new());
        out.extend(std::iter::from_fn(|| h.try_pull()));
        assert_eq!(out.len(), 60);
        let first: Vec<usize> = out
            .iter()
            .enumerate()
            .filter(|(_, b)| {
                b.iter_meta::<gst::Meta>().any(|m| {
                    m.try_as_custom_meta()
                        .is_some_and(|m| m.structure().name() == "AiVideoSceneMeta")
                })
            })
            .map(|(n, _)| n)
            .collect();
        assert_eq!(first, [24]);
        let events: Vec<String> = std::iter::from_fn(|| h.try_pull_event())
            .filter_map(|e| e.structure().map(|s| s.name().to_string()))
            .collect();
        assert!(events.iter().any(|e| e == "aivideo-scene"), "{events:?}");
        assert!(events.iter().any(|e| e == "GstForceKeyUnit"), "{events:?}");
        let scenes = structures(&bus, "aivideo-scene");
        assert_eq!(scenes.len(), 2);
        assert_eq!(scenes[1].get::<u64>("start"), Ok(960_000_000));
        let text = std::fs::read_to_string(&json).expect("a list");
        let list = aivideo_enhance::scene::SceneList::from_json(&text).expect("valid");
        assert_eq!(list.frame_rate, "25/1");
        assert_eq!(list.scenes.len(), 2);
        assert_eq!(list.scenes[0].labels[0].label, "walking");
        assert_eq!(list.scenes[1].labels[0].label, "running");
        assert_eq!(list.scenes[1].objects[0].score, 1.0);
        assert_eq!(list.scenes[1].end, 2_400_000_000);
        let text = std::fs::read_to_string(&edl).expect("a list");
        assert!(
            text.contains("002  AX       V     C        00:00:00:24 00:00:02:10"),
            "{text}"
        );
        std::fs::remove_file(&json).expect("removed");
    }
}

#[test]
fn a_folder_that_is_not_there_is_found_before_the_stream_runs() {
    init();
    let element = gst::parse::launch("aiscene json-location=/nowhere/at/all/s.json").expect("made");
    let bus = bus_of(&element);
    assert!(element.set_state(gst::State::Paused).is_err());
    let errors = messages(&bus, gst::MessageType::Error);
    assert!(
        errors[0].contains("there is no folder /nowhere/at/all"),
        "{errors:?}"
    );
    element.set_state(gst::State::Null).expect("stopped");
}

#[test]
fn a_stream_without_pictures_warns_and_writes_an_empty_list() {
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("s.json");
    let (mut h, bus) = scene_harness(&format!("json-location={}", json.display()));
    h.set_src_caps(caps_of(VideoFormat::I420, SIZE.0, SIZE.1));
    h.push_event(gst::event::Eos::new());
    assert!(messages(&bus, gst::MessageType::Warning)[0].contains("without a single picture"));
    let text = std::fs::read_to_string(&json).expect("a list");
    assert!(text.contains("\"scenes\": []"), "{text}");
}

#[test]
fn flushing_begins_a_new_list() {
    let (mut h, _bus) = scene_harness("");
    h.set_src_caps(caps_of(VideoFormat::I420, SIZE.0, SIZE.1));
    for buffer in buffers(VideoFormat::I420).into_iter().take(10) {
        h.push(buffer).expect("taken");
    }
    h.push_event(gst::event::FlushStart::new());
    h.push_event(gst::event::FlushStop::new(true));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    h.push_event(gst::event::Segment::new(&segment));
    while h.try_pull().is_some() {}
    for buffer in buffers(VideoFormat::I420).into_iter().skip(20).take(10) {
        h.push(buffer).expect("taken");
    }
    h.push_event(gst::event::Eos::new());
    assert_eq!(std::iter::from_fn(|| h.try_pull()).count(), 10);
    let stats = h
        .element()
        .expect("an element")
        .property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("frames"), Ok(10));
}
