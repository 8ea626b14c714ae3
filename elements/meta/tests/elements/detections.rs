// SPDX-License-Identifier: Apache-2.0
//! Objects on frames: what is attached is read, by us and as others wrote it.

use aivideo_meta::Detection;
use aivideo_meta::detection::Attribute;
use gst_video::VideoRegionOfInterestMeta;
use proptest::prelude::*;

fn car() -> Detection {
    Detection {
        label: "car".into(),
        label_id: Some(2),
        confidence: Some(0.875),
        x: 40,
        y: 30,
        width: 80,
        height: 60,
        object_id: Some(7),
        attributes: vec![Attribute {
            name: "colour".into(),
            label: "dark red".into(),
            confidence: Some(0.5),
        }],
    }
}

#[test]
fn attached_objects_are_read_and_have_dl_streamers_fields() {
    gst::init().unwrap();
    let mut buffer = gst::Buffer::new();
    let buffer = buffer.get_mut().unwrap();
    let plain = Detection {
        label: "person".into(),
        ..Detection::default()
    };
    car().attach(buffer, (160, 120)).unwrap();
    plain.attach(buffer, (160, 120)).unwrap();
    assert_eq!(Detection::read_all(buffer), [car(), plain]);
    let meta = buffer.meta::<VideoRegionOfInterestMeta>().unwrap();
    assert_eq!(meta.roi_type(), "car");
    let detection = meta.param("detection").unwrap();
    assert_eq!(detection.get::<i32>("label_id"), Ok(2));
    assert_eq!(detection.get::<f64>("confidence"), Ok(0.875));
    assert_eq!(detection.get::<f64>("x_min"), Ok(0.25));
    assert_eq!(detection.get::<f64>("y_max"), Ok(0.75));
    let id = meta.param("object_id").unwrap();
    assert_eq!(id.get::<i32>("id"), Ok(7));
    assert_eq!(
        meta.param("colour").unwrap().get::<&str>("label"),
        Ok("dark red")
    );
}

#[test]
fn boxes_follow_the_scaler() {
    let seen = super::metas::through_with(
        "videoscale ! video/x-raw,width=320,height=240",
        |buffer, _| car().attach(buffer, (64, 48)).unwrap(),
        Detection::read_all,
    );
    for found in seen {
        assert_eq!(found.len(), 1);
        let car = &found[0];
        assert_eq!((car.x, car.y, car.width, car.height), (200, 150, 400, 300));
        // GStreamer 1.22's scaler keeps the region and leaves out its parameters.
        assert!(car.confidence.is_none() || car.confidence == Some(0.875));
    }
}

fn value() -> impl Strategy<Value = glib::SendValue> {
    use glib::value::ToSendValue;
    prop_oneof![
        any::<i32>().prop_map(|v| v.to_send_value()),
        any::<u64>().prop_map(|v| v.to_send_value()),
        any::<f32>().prop_map(|v| v.to_send_value()),
        any::<f64>().prop_map(|v| v.to_send_value()),
        any::<bool>().prop_map(|v| v.to_send_value()),
        "[a-z]{0,8}".prop_map(|v| v.to_send_value()),
    ]
}

proptest! {
    /// Whatever another element put into a region: nothing panics, the box is kept, and what has the
    /// documented type is read.
    #[test]
    fn regions_of_others_are_read_as_far_as_they_go(
        label in "[a-z]{0,6}",
        rect: (u32, u32, u32, u32),
        params in prop::collection::vec((
            prop::sample::select(vec!["detection", "object_id", "age", "x-odd"]),
            prop::collection::vec((
                prop::sample::select(vec!["label", "label_id", "confidence", "id", "x_min"]),
                value(),
            ), 0..5),
        ), 0..5),
    ) {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::new();
        let buffer = buffer.get_mut().unwrap();
        let mut meta = VideoRegionOfInterestMeta::add(buffer, &label, rect);
        for (name, fields) in &params {
            let mut param = gst::Structure::new_empty(*name);
            for (field, value) in fields {
                param.set_value(*field, value.clone());
            }
            meta.add_param(param);
        }
        let found = Detection::read_all(buffer);
        prop_assert_eq!(found.len(), 1);
        let found = &found[0];
        prop_assert_eq!((found.x, found.y, found.width, found.height), rect);
        if !label.is_empty() {
            prop_assert_eq!(&found.label, &label);
        }
        for attribute in &found.attributes {
            prop_assert!(attribute.name == "age" || attribute.name == "x-odd");
        }
    }
}
