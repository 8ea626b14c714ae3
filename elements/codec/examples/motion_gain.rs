// SPDX-License-Identifier: Apache-2.0
//! What motion is worth, clip by clip: the same clips coded with the full search, with that of GPUs, with 16x16 blocks
//! only, with zero vectors and without any prediction, at several qualities. Prints bits of vectors,
//! all bits and Y-PSNR of each, and the BD-rate of each variant against the full search.
//!
//! ```text
//! cargo run --release -p aivideo-codec --example motion_gain -- [options] clip...
//!   --qualities 4,20,36   --frames 48   --width 640 (larger clips are scaled down)
//!   --model PATH          --variants full,parallel,blocks16,zero,none
//! ```

use aivideo_codec::bitstream::SequenceHeader;
use aivideo_codec::coder::{EncodeNet, Encoder, EncoderSettings, ModelFiles, decision};
use aivideo_codec::motion::Variant;
use aivideo_core::pixels::Yuv420;
use aivideo_core::settings::InferenceSettings;
use gst::prelude::*;
use std::error::Error;
use std::path::{Path, PathBuf};

const VARIANTS: [(&str, Variant); 5] = [
    ("full", Variant::Full),
    ("parallel", Variant::Parallel),
    ("blocks16", Variant::Blocks16),
    ("zero", Variant::Zero),
    ("none", Variant::None),
];

/// Decodes at most `frames` frames of any file, not wider than `width`.
fn decode(path: &Path, frames: usize, width: usize) -> Result<Vec<Yuv420>, Box<dyn Error>> {
    let location = path.to_str().ok_or("a path that is not UTF-8")?;
    let pipeline = gst::parse::launch(
        "filesrc name=in ! decodebin ! videoconvert ! videoscale method=lanczos name=scale ! capsfilter name=caps ! fakesink name=out signal-handoffs=true sync=false",
    )?
    .downcast::<gst::Pipeline>()
    .map_err(|_| "not a pipeline")?;
    let element = |name| pipeline.by_name(name).ok_or("an element is missing");
    element("in")?.set_property("location", location);
    let scale = element("scale")?.static_pad("sink").ok_or("no pad")?;
    let filter = element("caps")?;
    filter.set_property(
        "caps",
        gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .build(),
    );
    // The size is known when caps come: even numbers, no wider than asked for.
    scale.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &info.data
            && let gst::EventView::Caps(caps) = event.view()
            && let Ok(video) = gst_video::VideoInfo::from_caps(caps.caps())
            && video.width() as usize > width
        {
            let height = video.height() as usize * width / video.width() as usize;
            let caps = gst::Caps::builder("video/x-raw")
                .field("format", "I420")
                .field("width", width as i32)
                .field("height", height.next_multiple_of(2) as i32)
                .build();
            filter.set_property("caps", caps);
        }
        gst::PadProbeReturn::Ok
    });
    let (send, receive) = std::sync::mpsc::sync_channel(2);
    element("out")?.connect("handoff", false, move |values| {
        let buffer = values[1].get::<gst::Buffer>().ok()?;
        let caps = values[2].get::<gst::Pad>().ok()?.current_caps()?;
        let info = gst_video::VideoInfo::from_caps(&caps).ok()?;
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(&buffer, &info).ok()?;
        let mut picture = Yuv420::new(info.width() as usize, info.height() as usize);
        picture.read_frame(&frame).ok()?;
        // The receiver is gone once it has enough.
        let _ = send.send(picture);
        None
    });
    pipeline.set_state(gst::State::Playing)?;
    let mut pictures: Vec<Yuv420> = Vec::new();
    let patience = std::time::Duration::from_secs(5);
    while pictures.len() < frames
        && let Ok(picture) = receive.recv_timeout(patience)
    {
        pictures.push(picture);
        let bus = pipeline.bus().ok_or("no bus")?;
        if bus.have_pending() && bus.pop_filtered(&[gst::MessageType::Eos]).is_some() {
            pictures.extend(receive.try_iter());
            break;
        }
    }
    drop(receive);
    pipeline.set_state(gst::State::Null)?;
    pictures.truncate(frames);
    if pictures.is_empty() {
        return Err(format!("{location}: no pictures").into());
    }
    Ok(pictures)
}

/// One encode.
#[derive(Debug, Clone, Copy, Default)]
struct Point {
    motion: usize,
    bytes: usize,
    psnr: f64,
    /// Squared error and bits in the encoder's own balance, a pixel.
    cost: f64,
    motion_ms: f64,
    skipped: f64,
}

fn encode(
    net: &EncodeNet,
    pictures: &[Yuv420],
    quality: u8,
    motion: Variant,
) -> Result<Point, Box<dyn Error>> {
    let (width, height) = (pictures[0].width, pictures[0].height);
    let sequence = SequenceHeader::new(width.try_into()?, height.try_into()?, (30, 1));
    let settings = EncoderSettings {
        motion,
        ..EncoderSettings::default()
    };
    let mut encoder = Encoder::new(net.clone(), sequence, settings)?;
    let mut point = Point::default();
    let mut shown = pictures[0].clone();
    let mut error = 0.0;
    let samples = (width * height * pictures.len()) as f64;
    for picture in pictures {
        let coded = encoder.encode(picture, quality, false)?;
        point.bytes += coded.data.len();
        point.motion += coded.parts[0];
        point.motion_ms += coded.timing.motion.as_secs_f64() * 1e3 / pictures.len() as f64;
        let blocks = (encoder.coded_pixels() * pictures.len()) as f64 / 256.0;
        point.skipped += coded.skipped_blocks as f64 / blocks;
        encoder.reconstruction()?.crop(&mut shown);
        let squares = picture.y.iter().zip(&shown.y);
        error += squares
            .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2))
            .sum::<u64>() as f64;
    }
    point.psnr = 10.0 * (255.0 * 255.0 * samples / error.max(1e-9)).log10();
    point.cost = (error + 8.0 * point.bytes as f64 * decision::error_per_bit(quality)) / samples;
    Ok(point)
}

/// Mean of the other's logarithm of bytes less one's, over the PSNR that both have (piecewise linear).
fn bd_rate(one: &[Point], other: &[Point]) -> Option<f64> {
    let at = |points: &[Point], psnr: f64| {
        let pair = points
            .windows(2)
            .find(|p| p[0].psnr <= psnr && psnr <= p[1].psnr)?;
        let share = (psnr - pair[0].psnr) / (pair[1].psnr - pair[0].psnr).max(1e-9);
        let log = |p: &Point| (p.bytes as f64).ln();
        Some(log(&pair[0]) * (1.0 - share) + log(&pair[1]) * share)
    };
    let low = one.first()?.psnr.max(other.first()?.psnr);
    let high = one.last()?.psnr.min(other.last()?.psnr);
    if high <= low {
        return None;
    }
    let steps = 200;
    let mut sum = 0.0;
    for i in 0..steps {
        let psnr = low + (high - low) * (f64::from(i) + 0.5) / f64::from(steps);
        sum += at(other, psnr)? - at(one, psnr)?;
    }
    Some(100.0 * ((sum / f64::from(steps)).exp() - 1.0))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut qualities, mut frames, mut width) = (vec![4u8, 20, 36], 48, 640);
    let (mut model, mut names, mut clips) = (None::<PathBuf>, None::<String>, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--qualities" => {
                let list = value()?;
                qualities = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--frames" => frames = value()?.parse()?,
            "--width" => width = value()?.parse()?,
            "--model" => model = Some(value()?.into()),
            "--variants" => names = Some(value()?),
            _ => clips.push(PathBuf::from(arg)),
        }
    }
    if clips.is_empty() {
        return Err("no clip given".into());
    }
    gst::init()?;
    let files = ModelFiles::find(model.as_deref())?;
    let net = EncodeNet::acquire(&files, &InferenceSettings::default())?;
    let variants: Vec<_> = VARIANTS
        .iter()
        .filter(|(name, _)| {
            names
                .as_ref()
                .is_none_or(|n| n.split(',').any(|n| n == *name))
        })
        .collect();
    let mut changes = vec![Vec::new(); variants.len()];
    let mut sums = vec![vec![Point::default(); qualities.len()]; variants.len()];
    for clip in &clips {
        let pictures = decode(clip, frames, width)?;
        println!(
            "{}: {}x{}, {} frames",
            clip.file_stem().unwrap_or_default().display(),
            pictures[0].width,
            pictures[0].height,
            pictures.len()
        );
        let mut all: Vec<Vec<Point>> = Vec::new();
        for (at, (name, variant)) in variants.iter().enumerate() {
            let mut points = Vec::new();
            for (i, &quality) in qualities.iter().enumerate() {
                let point = encode(&net, &pictures, quality, *variant)?;
                println!(
                    "  {name:<9} quality {quality:>2}: motion {:>7} of {:>8} bytes, {:.3} dB, cost {:>7.3}, {:>3.0} % skipped, {:.2} ms",
                    point.motion,
                    point.bytes,
                    point.psnr,
                    point.cost,
                    100.0 * point.skipped,
                    point.motion_ms
                );
                let sum = &mut sums[at][i];
                sum.motion += point.motion;
                sum.bytes += point.bytes;
                sum.psnr += point.psnr / clips.len() as f64;
                sum.cost += point.cost / clips.len() as f64;
                points.push(point);
            }
            all.push(points);
        }
        for (at, points) in all.iter().enumerate().skip(1) {
            if let Some(change) = bd_rate(&all[0], points) {
                println!("  {:<9} {change:+.1} % bits at equal PSNR", variants[at].0);
                changes[at].push(change);
            }
        }
    }
    for (at, (name, _)) in variants.iter().enumerate() {
        for (sum, quality) in sums[at].iter().zip(&qualities) {
            println!(
                "all {name:<9} quality {quality:>2}: motion {:>7} of {:>8} bytes, {:.3} dB, cost {:>7.3}",
                sum.motion, sum.bytes, sum.psnr, sum.cost
            );
        }
        if !changes[at].is_empty() {
            let mean = changes[at].iter().sum::<f64>() / changes[at].len() as f64;
            println!(
                "all {name:<9} {mean:+.1} % bits at equal PSNR, mean of {} clips",
                changes[at].len()
            );
        }
    }
    Ok(())
}
