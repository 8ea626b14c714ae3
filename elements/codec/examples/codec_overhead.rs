// SPDX-License-Identifier: Apache-2.0
//! What the elements cost above the bare calls of the engine, at 720p:
//! `cargo run --release -p aivideo-codec --example codec_overhead [-- folder-of-the-model]`.
//!
//! Frames go through the element and, in turn, the same inputs through the engine alone, so that
//! both see the same machine. Motion and entropy coding are work of the codec, not overhead, and
//! are shown apart; everything else beyond the bare call is overhead: copies, skip blocks, bitstream,
//! GStreamer.

use aivideo_codec::coder::{DecodeNet, EncodeNet, ModelFiles};
use aivideo_core::pixels::Yuv420;
use aivideo_core::settings::InferenceSettings;
use aivideo_core::tensor::Tensor;
use gst::prelude::*;
use gst_check::Harness;
use std::error::Error;
use std::time::Instant;

const WIDTH: usize = 1280;
const HEIGHT: usize = 720;
const CODED: usize = 768;
const FRAMES: usize = 40;

/// A textured pan with noise: nothing is skipped for free.
fn scene(frame: usize) -> Yuv420 {
    let mut picture = Yuv420::new(WIDTH, HEIGHT);
    let mut state = frame as u32 + 1;
    for (i, v) in picture.y.iter_mut().enumerate() {
        let (x, y) = ((i % WIDTH + 2 * frame) as f32, (i / WIDTH + frame) as f32);
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        *v = (120.0 + 50.0 * (x * 0.05).sin() + 40.0 * (y * 0.07 + x * 0.01).cos()) as u8
            + (state >> 29) as u8;
    }
    picture
}

fn buffer(picture: &Yuv420, info: &gst_video::VideoInfo) -> Result<gst::Buffer, Box<dyn Error>> {
    let mut buffer = gst::Buffer::with_size(info.size())?;
    let inner = buffer.get_mut().ok_or("a new buffer is ours")?;
    let mut mapped = gst_video::VideoFrameRef::from_buffer_ref_writable(inner, info)?;
    picture.write_frame(&mut mapped)?;
    drop(mapped);
    Ok(buffer)
}

fn shape(channels: usize, divisor: usize) -> [usize; 4] {
    [1, channels, CODED / divisor, WIDTH / divisor]
}

fn zeros<T: Clone + Default>(shape: [usize; 4]) -> Vec<T> {
    vec![T::default(); shape.iter().product()]
}

/// Median of milliseconds.
fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn report(
    harness: &mut Harness,
    name: &str,
    element: Vec<f64>,
    bare: Vec<f64>,
) -> Result<(), Box<dyn Error>> {
    let stats = harness
        .find_element(name)
        .ok_or("the element")?
        .property::<gst::Structure>("stats");
    let frames = FRAMES as f64 * 1e3;
    let field = |field: &str| stats.get::<u64>(field).map(|v| v as f64 / frames);
    let (motion, entropy) = (field("motion-us")?, field("entropy-us")?);
    let (element, bare) = (median(element), median(bare));
    let overhead = element - motion - entropy - bare;
    println!(
        "{name}: element {element:.2} ms a frame ({:.1} fps); bare network {bare:.2} ms; motion {motion:.2} ms; entropy {entropy:.2} ms; rest {overhead:.2} ms = {:.1} % of the bare call",
        1e3 / element,
        100.0 * overhead / bare
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    gst::init()?;
    aivideo_codec::register_inference(None)?;
    let location = std::env::args().nth(1);
    let property = location
        .as_ref()
        .map_or(String::new(), |l| format!("model-location=\"{l}\""));
    let files = ModelFiles::find(location.as_ref().map(std::path::Path::new))?;
    let settings = InferenceSettings::default();
    let encode = EncodeNet::acquire(&files, &settings)?;
    let decode = DecodeNet::acquire(&files, &settings)?;
    let channels = encode.channels();

    let info =
        gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, WIDTH as u32, HEIGHT as u32)
            .fps(gst::Fraction::new(30, 1))
            .build()?;
    let mut harness = Harness::new_parse(&format!("aicodecenc {property}"));
    harness.set_sink_caps_str("video/x-aicodec, stream-format=frame");
    harness.set_src_caps(info.to_caps()?);
    let common = || {
        vec![
            ("pred_y", Tensor::u8(shape(1, 1), zeros(shape(1, 1)))),
            ("pred_uv", Tensor::u8(shape(2, 2), zeros(shape(2, 2)))),
            (
                "state",
                Tensor::i8(shape(channels.state, 8), zeros(shape(channels.state, 8))),
            ),
            ("quality", Tensor::i64([1], vec![32])),
        ]
    };
    let mut source = zeros::<u8>(shape(1, 1));
    let (mut element, mut bare, mut units) = (Vec::new(), Vec::new(), Vec::new());
    for frame in 0..FRAMES {
        let picture = scene(frame);
        let input = buffer(&picture, &info)?;
        let start = Instant::now();
        harness.push(input)?;
        units.push(harness.pull()?);
        element.push(1e3 * start.elapsed().as_secs_f64());
        source[..picture.y.len()].copy_from_slice(&picture.y);
        let mut inputs = common();
        inputs.push(("y", Tensor::u8(shape(1, 1), source.clone())));
        inputs.push(("uv", Tensor::u8(shape(2, 2), vec![128; WIDTH * CODED / 2])));
        inputs.push(("skip", Tensor::u8(shape(1, 16), zeros(shape(1, 16)))));
        let start = Instant::now();
        encode.engine().run(inputs)?;
        bare.push(1e3 * start.elapsed().as_secs_f64());
    }
    report(&mut harness, "aicodecenc", element, bare)?;

    let caps = harness
        .sinkpad()
        .and_then(|p| p.current_caps())
        .ok_or("caps")?;
    let mut harness = Harness::new_parse(&format!("aicodecdec {property}"));
    harness.set_src_caps(caps);
    let (mut element, mut bare) = (Vec::new(), Vec::new());
    for unit in units {
        let start = Instant::now();
        harness.push(unit)?;
        harness.pull()?;
        element.push(1e3 * start.elapsed().as_secs_f64());
        let mut inputs = common();
        inputs.push((
            "z",
            Tensor::i8(shape(channels.z, 64), zeros(shape(channels.z, 64))),
        ));
        inputs.push((
            "sym",
            Tensor::i16(shape(channels.y, 16), zeros(shape(channels.y, 16))),
        ));
        let start = Instant::now();
        decode.engine().run(inputs)?;
        bare.push(1e3 * start.elapsed().as_secs_f64());
    }
    report(&mut harness, "aicodecdec", element, bare)
}
