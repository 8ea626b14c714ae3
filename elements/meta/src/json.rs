// SPDX-License-Identifier: Apache-2.0
//! What was found on a frame, as one JSON object. `docs/metadata.schema.json` describes it; objects
//! have the names and places that DL Streamer's users know.

use serde_json::{Map, Value, json};

use crate::{ClassificationResult, Detection, classification};

/// Name of the meta that carries a frame's JSON in its string field [`JSON_FIELD`].
pub const JSON_META: &str = "AiVideoJsonMeta";
pub const JSON_FIELD: &str = "json";

/// What a line says besides the results.
#[derive(Debug, Clone, Default)]
pub struct Context<'a> {
    pub source: Option<&'a str>,
    pub tags: Option<&'a Map<String, Value>>,
    pub resolution: Option<(u32, u32)>,
    pub segment: Option<&'a gst::FormattedSegment<gst::ClockTime>>,
}

impl Context<'_> {
    /// A buffer's time as a position in the stream.
    fn time(&self, pts: Option<gst::ClockTime>) -> Option<u64> {
        let pts = pts?;
        let time = match self.segment {
            Some(segment) => segment.to_stream_time(pts)?,
            None => pts,
        };
        Some(time.nseconds())
    }
}

/// The line of a frame; `None` when nothing was found on it and `empty` ones are not wanted.
pub fn frame(buffer: &gst::BufferRef, context: &Context, empty: bool) -> Option<Value> {
    let classifications = ClassificationResult::read_all(buffer);
    let objects = Detection::read_all(buffer);
    if classifications.is_empty() && objects.is_empty() && !empty {
        return None;
    }
    let mut line = Map::new();
    if let Some(time) = context.time(buffer.pts()) {
        line.insert("timestamp".into(), time.into());
    }
    if let Some(source) = context.source {
        line.insert("source".into(), source.into());
    }
    if let Some((width, height)) = context.resolution {
        line.insert(
            "resolution".into(),
            json!({"width": width, "height": height}),
        );
    }
    if let Some(tags) = context.tags.filter(|tags| !tags.is_empty()) {
        line.insert("tags".into(), Value::Object(tags.clone()));
    }
    if !objects.is_empty() {
        let objects = objects.iter().map(|object| of_object(object, context));
        line.insert("objects".into(), objects.collect());
    }
    if !classifications.is_empty() {
        let all = classifications.iter().map(|c| of_clip(c, context));
        line.insert("classifications".into(), all.collect());
    }
    Some(Value::Object(line))
}

fn of_object(object: &Detection, context: &Context) -> Value {
    let mut detection = Map::new();
    if let Some((width, height)) = context.resolution {
        let part = |at: u32, of: u32| f64::from(at) / f64::from(of.max(1));
        detection.insert(
            "bounding_box".into(),
            json!({
                "x_min": part(object.x, width),
                "x_max": part(object.x.saturating_add(object.width), width),
                "y_min": part(object.y, height),
                "y_max": part(object.y.saturating_add(object.height), height),
            }),
        );
    }
    if let Some(confidence) = object.confidence {
        detection.insert("confidence".into(), confidence.into());
    }
    detection.insert("label".into(), object.label.clone().into());
    if let Some(id) = object.label_id {
        detection.insert("label_id".into(), id.into());
    }
    let mut json = Map::new();
    json.insert("detection".into(), Value::Object(detection));
    if let Some(id) = object.object_id {
        json.insert("id".into(), id.into());
    }
    json.insert("roi_type".into(), object.label.clone().into());
    for (name, value) in [
        ("x", object.x),
        ("y", object.y),
        ("w", object.width),
        ("h", object.height),
    ] {
        json.insert(name.into(), value.into());
    }
    if !object.attributes.is_empty() {
        let all = object.attributes.iter().map(|attribute| {
            json!({
                "name": attribute.name,
                "label": attribute.label,
                "confidence": attribute.confidence,
            })
        });
        json.insert("attributes".into(), all.collect());
    }
    Value::Object(json)
}

fn of_clip(result: &ClassificationResult, context: &Context) -> Value {
    let time = |ns: u64| {
        context.time((ns != classification::NO_TIME).then_some(gst::ClockTime::from_nseconds(ns)))
    };
    let predictions: Vec<Value> = result
        .labels
        .iter()
        .zip(&result.scores)
        .map(|(label, score)| json!({"label": label, "confidence": score}))
        .collect();
    json!({
        "model": result.model,
        "clip_start": time(result.clip_start),
        "clip_end": time(result.clip_end),
        "predictions": predictions,
    })
}

/// Puts a line onto its frame.
pub fn attach(buffer: &mut gst::BufferRef, line: &str) -> Result<(), glib::BoolError> {
    classification::register_custom(JSON_META);
    let mut meta = gst::meta::CustomMeta::add(buffer, JSON_META)?;
    meta.mut_structure().set(JSON_FIELD, line);
    Ok(())
}

/// The lines that a frame carries.
pub fn read_all(buffer: &gst::BufferRef) -> Vec<String> {
    buffer
        .iter_meta::<gst::Meta>()
        .filter_map(|meta| {
            let structure = meta.try_as_custom_meta()?.structure();
            (structure.name() == JSON_META)
                .then(|| structure.get(JSON_FIELD).ok())
                .flatten()
        })
        .collect()
}

/// Width and height of video caps, whatever their memory.
pub fn resolution(caps: &gst::CapsRef) -> Option<(u32, u32)> {
    let structure = caps.structure(0)?;
    let side = |name: &str| u32::try_from(structure.get::<i32>(name).ok()?).ok();
    Some((side("width")?, side("height")?))
}

/// Caps of JSON as a stream: one object and a line feed a buffer.
pub fn lines_caps() -> gst::Caps {
    gst::Caps::builder("application/x-json").build()
}

/// Caps of JSON as timed text, which muxers store beside the video.
pub fn text_caps() -> gst::Caps {
    gst::Caps::builder("text/x-raw")
        .field("format", "utf8")
        .build()
}

/// Video in any memory.
pub fn video_caps() -> gst::Caps {
    let any = gst::CapsFeatures::new_any();
    gst::Caps::builder_full()
        .structure_with_features(gst::Structure::new_empty("video/x-raw"), any)
        .build()
}

/// Reads the property `tags`.
pub fn parse_tags(text: &str) -> Result<Map<String, Value>, String> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(tags)) => Ok(tags),
        Ok(_) => Err("not an object: write {\"name\": value, ...}".into()),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}
