// SPDX-License-Identifier: Apache-2.0
//! What the element costs beyond the bare engine: `cargo run --release -p aivideo-classify
//! --example classify_overhead [CLIPS]`, 720p NV12, in one run, medians.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use aivideo_classify::preprocess::{Colour, Pixels, Plane, Preprocessing, Preprocessor};
use aivideo_core::{
    engine::{Engine, ModelSource},
    meta::ClassificationResult,
    settings::InferenceSettings,
    tensor::Tensor,
};
use gst_check::Harness;

const WIDTH: usize = 1280;
const HEIGHT: usize = 720;
const FRAMES: usize = 16;

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn frame(index: usize) -> Vec<u8> {
    (0..WIDTH * HEIGHT * 3 / 2)
        .map(|i| ((i * 7 + index * 991) ^ (i >> 8)) as u8)
        .collect()
}

fn harness(properties: &str) -> Harness {
    let mut harness = Harness::new_parse(&format!("vjepa2classify {properties}"));
    harness.set_src_caps(
        gst::Caps::builder("video/x-raw")
            .field("format", "NV12")
            .field("width", WIDTH as i32)
            .field("height", HEIGHT as i32)
            .field("framerate", gst::Fraction::new(25, 1))
            .field("colorimetry", "bt709")
            .build(),
    );
    harness
}

/// Time in the element of each frame.
fn push(
    harness: &mut Harness,
    frames: &[gst::Buffer],
    count: usize,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut times = Vec::with_capacity(count);
    for i in 0..count {
        let mut buffer = frames[i % frames.len()].copy();
        buffer
            .make_mut()
            .set_pts(gst::ClockTime::from_mseconds(i as u64 * 40));
        let began = Instant::now();
        harness.push(buffer)?;
        times.push(began.elapsed());
        harness.pull()?;
    }
    Ok(times)
}

fn main() -> Result<(), Box<dyn Error>> {
    gst::init()?;
    aivideo_classify::register(None)?;
    let clips: usize = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 40,
    };
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../models/classify/vjepa2-motion.onnx");
    let engine = Engine::acquire(&ModelSource::File(path), &InferenceSettings::default())?;
    let pictures: Vec<Vec<u8>> = (0..FRAMES).map(frame).collect();
    let buffers: Vec<gst::Buffer> = pictures
        .iter()
        .map(|picture| gst::Buffer::from_slice(picture.clone()))
        .collect();
    let spec = Preprocessing {
        size: 64,
        resize_short_side: 64,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };
    let mut preprocessor = Preprocessor::new(&spec, WIDTH, HEIGHT, Colour::BT709)?;
    let mut sync = harness("sync=true frame-stride=1");
    push(&mut sync, &buffers, FRAMES)?; // warm up

    // Taken in turns, so that other work on the machine falls on all alike.
    let (mut bare, mut prepare, mut element) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..clips {
        let began = Instant::now();
        let mut values = Vec::new();
        for picture in &pictures {
            let (y, uv) = picture.split_at(WIDTH * HEIGHT);
            values.extend(preprocessor.run(Pixels::SemiPlanar {
                y: Plane {
                    data: y,
                    stride: WIDTH,
                },
                uv: Plane {
                    data: uv,
                    stride: WIDTH,
                },
            })?);
        }
        prepare.push(began.elapsed());
        let tensor = Tensor::f32(vec![1, FRAMES, 3, 64, 64], values);
        let began = Instant::now();
        engine.run(vec![("pixel_values_videos", tensor)])?;
        bare.push(began.elapsed());
        let began = Instant::now();
        let mut carried = 0;
        for (i, buffer) in buffers.iter().enumerate() {
            let mut buffer = buffer.copy();
            buffer
                .make_mut()
                .set_pts(gst::ClockTime::from_mseconds(i as u64 * 40));
            if i == 0 {
                buffer.make_mut().set_flags(gst::BufferFlags::DISCONT);
            }
            let out = sync.push_and_pull(buffer)?;
            carried += ClassificationResult::read_all(&out).len();
        }
        element.push(began.elapsed());
        assert_eq!(carried, 1, "one result a clip");
    }
    println!(
        "one clip of {FRAMES} frames, {WIDTH}x{HEIGHT} NV12, on {}, median (fastest) of {clips}:",
        engine.device_in_use()
    );
    let line = |name: &str, times: &mut [Duration]| {
        let (middle, least) = (ms(median(times)), ms(times[0]));
        println!("  {name:<26} {middle:8.3} ms ({least:.3} ms)");
        (middle, least)
    };
    let bare = line("bare engine call", &mut bare);
    let prepare = line("preprocessing, 16 frames", &mut prepare);
    let element = line("element, sync=true", &mut element);
    let share = |element: f64, bare: f64, prepare: f64| (element / (bare + prepare) - 1.0) * 100.0;
    println!(
        "  the element beyond engine and preprocessing: {:.1} % ({:.1} %)",
        share(element.0, bare.0, prepare.0),
        share(element.1, bare.1, prepare.1)
    );

    let mut live = harness("");
    let mut times = push(&mut live, &buffers, clips * 32)?;
    let (half, most) = (median(&mut times), percentile(&mut times, 99));
    println!(
        "time of a frame in the element, sync=false, default strides: median {:.3} ms, p99 {:.3} ms",
        ms(half),
        ms(most)
    );
    Ok(())
}
