// SPDX-License-Identifier: Apache-2.0
//! Pictures of `aioverlay` to look at: boxes and classes in several sizes and formats, as PNG.
//!
//! ```sh
//! cargo run --release -p aivideo-meta --example overlay_gallery -- FOLDER
//! ```

use aivideo_meta::{ClassificationResult, Detection, detection::Attribute};
use gst::prelude::*;

fn found(width: u32, height: u32) -> (Vec<Detection>, ClassificationResult) {
    let object = |label: &str, score, x: f64, y: f64, w: f64, h: f64| Detection {
        label: label.into(),
        confidence: Some(score),
        x: (x * f64::from(width)) as u32,
        y: (y * f64::from(height)) as u32,
        width: (w * f64::from(width)) as u32,
        height: (h * f64::from(height)) as u32,
        ..Detection::default()
    };
    let mut person = object("person", 0.91, 0.55, 0.3, 0.12, 0.5);
    person.object_id = Some(7);
    person.attributes.push(Attribute {
        name: "coat".into(),
        label: "red coat".into(),
        confidence: Some(0.73),
    });
    let objects = vec![
        object("car", 0.87, 0.3, 0.55, 0.22, 0.3),
        person,
        object("traffic light", 0.64, 0.8, 0.0, 0.05, 0.2),
        object("bicycle", 0.42, 0.88, 0.7, 0.2, 0.25),
    ];
    let clip = ClassificationResult {
        model: "m".into(),
        labels: vec![
            "camera pan left".into(),
            "Überholmanöver — обгон".into(),
            "static".into(),
        ],
        scores: vec![0.78, 0.15, 0.04],
        ..ClassificationResult::default()
    };
    (objects, clip)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("usage: overlay_gallery FOLDER")?;
    gst::init()?;
    aivideo_meta::register(None)?;
    for (width, height, format, style) in [
        (320, 240, "I420", ""),
        (640, 360, "NV12", "position=top-right"),
        (1280, 720, "RGB", "position=bottom-left max-classes=2"),
        (1920, 1080, "YUY2", "position=bottom-right opacity=1"),
        (3840, 2160, "P010_10LE", ""),
        (360, 640, "BGRx", "show-scores=false"),
        (160, 90, "GRAY8", ""),
    ] {
        let line = format!(
            "videotestsrc num-buffers=1 pattern=spokes ! \
             video/x-raw,format={format},width={width},height={height} ! \
             aioverlay name=overlay {style} ! videoconvert ! video/x-raw,format=RGB ! pngenc ! \
             filesink location={folder}/{width}x{height}-{format}.png"
        );
        let pipeline = gst::parse::launch(&line)?
            .downcast::<gst::Pipeline>()
            .map_err(|_| "not a pipeline")?;
        let overlay = pipeline.by_name("overlay").ok_or("no overlay")?;
        let pad = overlay.static_pad("sink").ok_or("no pad")?;
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer_mut() {
                let buffer = buffer.make_mut();
                let (objects, clip) = found(width, height);
                for object in objects {
                    if let Err(error) = object.attach(buffer, (width, height)) {
                        eprintln!("{error}");
                    }
                }
                if let Err(error) = clip.attach(buffer) {
                    eprintln!("{error}");
                }
            }
            gst::PadProbeReturn::Ok
        });
        pipeline.set_state(gst::State::Playing)?;
        let bus = pipeline.bus().ok_or("no bus")?;
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds);
        pipeline.set_state(gst::State::Null)?;
        println!(
            "{width}x{height} {format}: {:?}",
            message.map(|m| m.type_())
        );
    }
    Ok(())
}
