// SPDX-License-Identifier: Apache-2.0
//! `aimetaconvert`: what leaves it, in each form, against the documented schema.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{car, clip, run, tagged};
use gst::prelude::*;

const SOURCE: &str = "videotestsrc num-buffers=6 ! video/x-raw,width=128,height=96,framerate=25/1 ! identity name=tag";

/// A clip on every third frame, a car on every second.
fn results(number: u64, buffer: &mut gst::BufferRef) {
    if number.is_multiple_of(3) {
        clip(buffer.pts().unwrap()).attach(buffer).unwrap();
    }
    if number.is_multiple_of(2) {
        car().attach(buffer, (128, 96)).unwrap();
    }
}

fn lines(elements: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let line = format!(
        "{SOURCE} ! {elements} ! filesink location={}",
        path.display()
    );
    run(&tagged(&line, results)).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Checks a value against the parts of JSON Schema that our schema uses, and refuses a schema that
/// uses more.
fn conforms(value: &Value, schema: &Value, root: &Value, at: &str) -> Result<(), String> {
    let schema = match schema.get("$ref").and_then(Value::as_str) {
        Some(name) => root.pointer(name.strip_prefix('#').unwrap()).unwrap(),
        None => schema,
    };
    for (keyword, rule) in schema.as_object().unwrap() {
        let good = match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" | "examples" => true,
            "type" => {
                let kinds = rule.as_array().cloned().unwrap_or(vec![rule.clone()]);
                kinds.iter().any(|kind| match kind.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "number" => value.is_number(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "null" => value.is_null(),
                    other => panic!("type {other}"),
                })
            }
            "required" => {
                let names = rule.as_array().unwrap().iter();
                names
                    .into_iter()
                    .all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    if let Some(inner) = value.get(name) {
                        conforms(inner, rule, root, &format!("{at}/{name}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema["properties"].as_object().unwrap();
                rule.as_bool() != Some(false)
                    || value
                        .as_object()
                        .is_none_or(|o| o.keys().all(|name| known.contains_key(name)))
            }
            "items" => {
                for (number, inner) in value.as_array().into_iter().flatten().enumerate() {
                    conforms(inner, rule, root, &format!("{at}/{number}"))?;
                }
                true
            }
            "minItems" => value
                .as_array()
                .is_none_or(|all| all.len() as u64 >= rule.as_u64().unwrap()),
            "minimum" => value
                .as_f64()
                .is_none_or(|number| number >= rule.as_f64().unwrap()),
            other => panic!("this test does not know the keyword {other}"),
        };
        if !good {
            return Err(format!("{at}: {keyword} {rule} is not met by {value}"));
        }
    }
    Ok(())
}

pub fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metadata.schema.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn assert_schema(line: &Value) {
    let schema = schema();
    conforms(line, &schema, &schema, "").unwrap();
}

#[test]
fn lines_are_as_documented() {
    let lines = lines(r#"aimetaconvert source=gate tags="{\"site\":4}""#);
    let times: Vec<u64> = lines
        .iter()
        .map(|line| line["timestamp"].as_u64().unwrap())
        .collect();
    // Frames 1 and 5 carry nothing.
    assert_eq!(times, [0, 80_000_000, 120_000_000, 160_000_000]);
    for line in &lines {
        assert_schema(line);
        assert_eq!(line["source"], "gate");
        assert_eq!(line["tags"], json!({"site": 4}));
        assert_eq!(line["resolution"], json!({"width": 128, "height": 96}));
    }
    assert_eq!(
        lines[0]["objects"],
        json!([{
            "detection": {
                "bounding_box": {"x_min": 0.25, "x_max": 0.75, "y_min": 0.25, "y_max": 0.75},
                "confidence": 0.5, "label": "car", "label_id": 2,
            },
            "id": 3, "roi_type": "car", "x": 32, "y": 24, "w": 64, "h": 48,
        }])
    );
    assert_eq!(
        lines[0]["classifications"],
        json!([{
            "model": "m", "clip_start": 0, "clip_end": 640_000_000,
            "predictions": [
                {"label": "camera pan left", "confidence": 0.75},
                {"label": "static \"so\"", "confidence": 0.125},
            ],
        }])
    );
    assert!(lines[1].get("classifications").is_none());
    assert!(lines[2].get("objects").is_none());
}

#[test]
fn the_schema_refuses_what_is_not_documented() {
    let schema = schema();
    let wrong = [
        json!([]),
        json!({"timestamp": -1}),
        json!({"timestamp": "0"}),
        json!({"surprise": 1}),
        json!({"classifications": [{"model": "m"}]}),
        json!({"objects": [{"x": 0.5}]}),
    ];
    for wrong in wrong {
        assert!(conforms(&wrong, &schema, &schema, "").is_err(), "{wrong}");
    }
}

#[test]
fn empty_results_have_lines_when_asked_for() {
    let lines = lines("aimetaconvert add-empty-results=true");
    assert_eq!(lines.len(), 6);
    assert_schema(&lines[1]);
    let names: Vec<_> = lines[1].as_object().unwrap().keys().collect();
    assert_eq!(names, ["resolution", "timestamp"]);
}

#[test]
fn the_next_element_decides_about_the_form() {
    // Video where video is wanted, with the lines on the frames.
    let line = format!(
        "{SOURCE} ! aimetaconvert ! videoconvert ! video/x-raw,format=RGB ! appsink name=sink"
    );
    let pipeline = tagged(&line, results);
    let sink = pipeline
        .by_name("sink")
        .unwrap()
        .downcast::<gst_app::AppSink>()
        .unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut read = Vec::new();
    while let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_seconds(30)) {
        let caps = sample.caps().unwrap().structure(0).unwrap().to_owned();
        assert_eq!(caps.name(), "video/x-raw");
        read.push(aivideo_meta::json::read_all(sample.buffer().unwrap()).len());
    }
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(read, [1, 0, 1, 1, 1, 0]);

    // Text beside the video in a file, as subtitles are.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.mkv");
    let line = format!(
        "{SOURCE} ! aimetaconvert ! text/x-raw,format=utf8 ! matroskamux ! filesink location={}",
        path.display()
    );
    run(&tagged(&line, results)).unwrap();
    let file = std::fs::read(&path).unwrap();
    let found = file
        .windows(15)
        .filter(|w| *w == b"camera pan left")
        .count();
    assert_eq!(found, 2);
}

#[test]
fn lines_are_posted_when_asked_for() {
    let line = format!("{SOURCE} ! aimetaconvert post-messages=true ! fakesink");
    let pipeline = tagged(&line, results);
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let kinds = [gst::MessageType::Element, gst::MessageType::Eos];
    let mut posted = 0;
    while let Some(message) = bus.timed_pop_filtered(gst::ClockTime::from_seconds(30), &kinds) {
        let gst::MessageView::Element(element) = message.view() else {
            break;
        };
        let structure = element.structure().unwrap();
        assert_eq!(structure.name(), "aimetaconvert");
        assert_schema(&serde_json::from_str(structure.get("json").unwrap()).unwrap());
        posted += 1;
    }
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(posted, 4);
}

#[test]
fn tags_that_are_no_object_are_refused() {
    for (tags, said) in [("[1]", "not an object"), ("{a}", "not JSON")] {
        let line = format!("{SOURCE} ! aimetaconvert name=convert ! fakesink");
        let pipeline = tagged(&line, results);
        pipeline
            .by_name("convert")
            .unwrap()
            .set_property("tags", tags);
        let error = run(&pipeline).unwrap_err();
        assert!(error.contains(said) && error.contains(tags), "{error}");
    }
}

proptest::proptest! {
    #[test]
    fn any_tags_are_read_or_refused(text in "\\PC{0,30}") {
        let _ = aivideo_meta::json::parse_tags(&text);
    }

    /// Labels and figures of any kind give a line that is JSON, in one line, and as documented.
    #[test]
    fn any_result_is_a_line(
        label in "\\PC{0,20}", score: f64, start: u64, end: u64,
        rect: (u32, u32, u32, u32), id: Option<i32>, size in proptest::option::of((0u32.., 0u32..)),
    ) {
        crate::support::init();
        let mut buffer = gst::Buffer::new();
        let buffer = buffer.get_mut().unwrap();
        let mut result = clip(gst::ClockTime::ZERO);
        (result.clip_start, result.clip_end) = (start, end);
        result.labels[0] = label.clone();
        result.scores[0] = score;
        result.attach(buffer).unwrap();
        let mut object = car();
        // GStreamer's text is without NUL.
        object.label = label.replace('\0', "");
        (object.x, object.y, object.width, object.height) = rect;
        (object.object_id, object.confidence) = (id, Some(score));
        object.attach(buffer, size.unwrap_or((1, 1))).unwrap();
        let context = aivideo_meta::json::Context { resolution: size, ..Default::default() };
        let line = aivideo_meta::json::frame(buffer, &context, false).unwrap().to_string();
        proptest::prop_assert!(!line.contains('\n'));
        assert_schema(&serde_json::from_str(&line).unwrap());
    }
}
