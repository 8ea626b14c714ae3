// SPDX-License-Identifier: Apache-2.0
//! `GstAnalyticsRelationMeta`, as elements that know nothing of this project see and write it.

use aivideo_meta::detection::Attribute;
use aivideo_meta::{ClassificationResult, Detection};
use gst_analytics::prelude::*;
use gst_analytics::{AnalyticsClassificationMtd, AnalyticsODMtd, AnalyticsRelationMeta, RelTypes};

use crate::support::{car, clip, init, tagged};
use gst::prelude::*;

fn quark(text: &str) -> glib::Quark {
    glib::Quark::from_str(text)
}

#[test]
fn what_is_attached_is_there_in_both_forms_and_read_once() {
    init();
    let mut buffer = gst::Buffer::new();
    let buffer = buffer.get_mut().unwrap();
    let mut object = car();
    object.attributes.push(Attribute {
        name: "colour".into(),
        label: "red".into(),
        confidence: Some(0.75),
    });
    clip(gst::ClockTime::ZERO).attach(buffer).unwrap();
    object.attach(buffer, (128, 96)).unwrap();
    assert_eq!(buffer.iter_meta::<AnalyticsRelationMeta>().count(), 1);
    let meta = buffer.meta::<AnalyticsRelationMeta>().unwrap();
    let classes: Vec<Vec<(glib::Quark, f32)>> = meta
        .iter::<AnalyticsClassificationMtd>()
        .map(|class| class.iterate().collect())
        .collect();
    let expected = vec![
        vec![
            (quark("camera pan left"), 0.75),
            (quark("static \"so\""), 0.125),
        ],
        vec![(quark("red"), 0.75)],
    ];
    assert_eq!(classes, expected);
    let found = meta.iter::<AnalyticsODMtd>().next().unwrap();
    assert_eq!(found.obj_type(), Some(quark("car")));
    let at = found.location().unwrap();
    assert_eq!(
        (at.x, at.y, at.w, at.h, at.loc_conf_lvl),
        (32, 24, 64, 48, 0.5)
    );
    drop(meta);
    assert_eq!(Detection::read_all(buffer), [object]);
    assert_eq!(
        ClassificationResult::read_all(buffer),
        [clip(gst::ClockTime::ZERO)]
    );
}

#[test]
fn what_others_attach_is_read_too() {
    init();
    let mut buffer = gst::Buffer::new();
    let buffer = buffer.get_mut().unwrap();
    car().attach(buffer, (128, 96)).unwrap();
    {
        let mut meta = buffer.meta_mut::<AnalyticsRelationMeta>().unwrap();
        let dog = meta
            .add_od_mtd(quark("dog"), -5, 3, 25, 30, 0.5)
            .unwrap()
            .id();
        let breed = meta.add_one_cls_mtd(0.25, quark("poodle")).unwrap().id();
        meta.set_relation(RelTypes::RELATE_TO, dog, breed).unwrap();
        meta.add_cls_mtd(&[0.125, 0.5], &[quark("rain"), quark("sun")])
            .unwrap();
    }
    let dog = Detection {
        label: "dog".into(),
        confidence: Some(0.5),
        x: 0,
        y: 3,
        width: 20,
        height: 30,
        attributes: vec![Attribute {
            name: "classification".into(),
            label: "poodle".into(),
            confidence: Some(0.25),
        }],
        ..Detection::default()
    };
    assert_eq!(Detection::read_all(buffer), [car(), dog]);
    let weather = ClassificationResult {
        labels: vec!["sun".into(), "rain".into()],
        scores: vec![0.5, 0.125],
        ..ClassificationResult::default()
    };
    assert_eq!(ClassificationResult::read_all(buffer), [weather]);
}

/// GStreamer's own overlay draws what was attached.
#[test]
fn stock_elements_understand_it() {
    init();
    if gst::ElementFactory::find("objectdetectionoverlay").is_none() {
        aivideo_skip::skip!("objectdetectionoverlay is not installed");
        return;
    }
    for (attach, drawn) in [(false, false), (true, true)] {
        let line = "videotestsrc num-buffers=1 pattern=black ! \
            video/x-raw,format=RGBA,width=128,height=96 ! identity name=tag ! \
            objectdetectionoverlay ! videoconvert ! video/x-raw,format=GRAY8 ! appsink name=sink";
        let pipeline = tagged(line, move |_, buffer| {
            if attach {
                car().attach(buffer, (128, 96)).unwrap();
            }
        });
        let sink = pipeline.by_name("sink").unwrap();
        let sink = sink.downcast::<gst_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let sample = sink
            .try_pull_sample(gst::ClockTime::from_seconds(30))
            .unwrap();
        let picture = sample.buffer().unwrap().map_readable().unwrap().to_vec();
        pipeline.set_state(gst::State::Null).unwrap();
        let bright = picture.iter().filter(|sample| **sample > 40).count();
        assert_eq!(bright > 50, drawn, "{bright} pixels");
    }
}

/// An overlay of ours draws what only the relation meta says.
#[test]
fn our_overlay_draws_objects_of_others() {
    let line = "videotestsrc num-buffers=1 pattern=black ! \
        video/x-raw,format=GRAY8,width=128,height=96 ! identity name=tag ! aioverlay ! \
        appsink name=sink";
    let pipeline = tagged(line, |_, buffer| {
        let mut meta = AnalyticsRelationMeta::add(buffer);
        meta.add_od_mtd(quark("dog"), 20, 30, 60, 50, 0.5).unwrap();
    });
    let sink = pipeline.by_name("sink").unwrap();
    let sink = sink.downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let sample = sink
        .try_pull_sample(gst::ClockTime::from_seconds(30))
        .unwrap();
    let picture = sample.buffer().unwrap().map_readable().unwrap().to_vec();
    pipeline.set_state(gst::State::Null).unwrap();
    let edge = &picture[128 * 30 + 21..128 * 30 + 79];
    assert!(edge.iter().all(|sample| *sample > 60), "{edge:?}");
}
