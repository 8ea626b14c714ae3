// SPDX-License-Identifier: Apache-2.0
//! Frames a second of the elements at 720p and where their time goes:
//! `cargo run --release -p aivideo-codec --example codec_overhead [-- [--ten] [folder-of-the-model]]`,
//! in eight bits, or with `--ten` in ten.
//!
//! One stream through `aicodecenc`, then what it made through `aicodecdec`, everything counted: copies,
//! bitstream, GStreamer. What is not motion, network or entropy coding is the elements' overhead. CPU
//! time is that of all threads, so it is comparable where other programs run beside it.

use aivideo_core::deep::Yuv420Deep;
use aivideo_core::pixels::Yuv420;
use gst::prelude::*;
use gst_check::Harness;
use std::error::Error;
use std::time::Instant;

const WIDTH: usize = 1280;
const HEIGHT: usize = 720;
const FRAMES: usize = 60;

/// Luma of a textured pan with noise, where nothing is skipped for free: the pan, and 32 bits of noise.
fn scene(frame: usize) -> impl Iterator<Item = (f32, u32)> {
    let mut state = frame as u32 + 1;
    (0..WIDTH * HEIGHT).map(move |i| {
        let (x, y) = ((i % WIDTH + 2 * frame) as f32, (i / WIDTH + frame) as f32);
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        let pan = 120.0 + 50.0 * (x * 0.05).sin() + 40.0 * (y * 0.07 + x * 0.01).cos();
        (pan, state)
    })
}

fn buffer(frame: usize, info: &gst_video::VideoInfo) -> Result<gst::Buffer, Box<dyn Error>> {
    let mut buffer = gst::Buffer::with_size(info.size())?;
    let inner = buffer.get_mut().ok_or("a new buffer is ours")?;
    let mut mapped = gst_video::VideoFrameRef::from_buffer_ref_writable(inner, info)?;
    if info.comp_depth(0) == 8 {
        let mut picture = Yuv420::new(WIDTH, HEIGHT);
        for (v, (pan, noise)) in picture.y.iter_mut().zip(scene(frame)) {
            *v = pan as u8 + (noise >> 29) as u8;
        }
        picture.write_frame(&mut mapped)?;
    } else {
        let mut picture = Yuv420Deep::new(WIDTH, HEIGHT);
        for (v, (pan, noise)) in picture.y.iter_mut().zip(scene(frame)) {
            *v = (4.0 * pan) as u16 + (noise >> 27) as u16;
        }
        picture.write_frame(&mut mapped)?;
    }
    drop(mapped);
    Ok(buffer)
}

/// Milliseconds that all threads of this process have run.
fn busy() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let of = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    tasks.flatten().filter_map(of).sum::<f64>() / 1e6
}

/// Median of milliseconds.
fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Wall and CPU milliseconds of each frame.
#[derive(Default)]
struct Times {
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

impl Times {
    fn measure<T>(&mut self, run: impl FnOnce() -> T) -> T {
        let (start, before) = (Instant::now(), busy());
        let result = run();
        self.wall.push(1e3 * start.elapsed().as_secs_f64());
        self.cpu.push(busy() - before);
        result
    }
}

fn report(harness: &mut Harness, name: &str, times: Times) -> Result<(), Box<dyn Error>> {
    let stats = harness
        .find_element(name)
        .ok_or("the element")?
        .property::<gst::Structure>("stats");
    let frames = times.wall.len() as f64 * 1e3;
    let field = |field: &str| stats.get::<u64>(field).map(|v| v as f64 / frames);
    let (motion, network) = (field("motion-us")?, field("network-us")?);
    let (filter, entropy) = (field("filter-us")?, field("entropy-us")?);
    let all = times.wall.iter().sum::<f64>() / times.wall.len() as f64;
    let rest = all - motion - network - filter - entropy;
    let (wall, cpu) = (median(times.wall), median(times.cpu));
    println!(
        "{name}: {wall:.2} ms a frame ({:.1} frames/s), {cpu:.2} ms of CPU time; of {all:.2} ms on average: network {network:.2}, motion {motion:.2}, loop filter {filter:.2}, entropy {entropy:.2}, rest {rest:.2} = {:.1} % of the network",
        1e3 / wall,
        100.0 * rest / network
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    gst::init()?;
    aivideo_codec::register_inference(None)?;
    let (mut format, mut property) = (gst_video::VideoFormat::I420, String::new());
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "--ten" => format = gst_video::VideoFormat::I42010le,
            location => property = format!("model-location=\"{location}\""),
        }
    }
    let info = gst_video::VideoInfo::builder(format, WIDTH as u32, HEIGHT as u32)
        .fps(gst::Fraction::new(30, 1))
        .build()?;
    let mut harness = Harness::new_parse(&format!("aicodecenc {property}"));
    harness.set_sink_caps_str("video/x-aicodec, stream-format=frame");
    harness.set_src_caps(info.to_caps()?);
    let (mut times, mut units) = (Times::default(), Vec::new());
    for frame in 0..FRAMES {
        let input = buffer(frame, &info)?;
        units.push(times.measure(|| {
            harness.push(input)?;
            harness.pull().map_err(Box::<dyn Error>::from)
        })?);
    }
    report(&mut harness, "aicodecenc", times)?;

    let caps = harness
        .sinkpad()
        .and_then(|p| p.current_caps())
        .ok_or("caps")?;
    let mut harness = Harness::new_parse(&format!("aicodecdec {property}"));
    harness.set_src_caps(caps);
    let mut times = Times::default();
    for unit in units {
        times.measure(|| {
            harness.push(unit)?;
            harness.pull().map_err(Box::<dyn Error>::from)
        })?;
    }
    report(&mut harness, "aicodecdec", times)
}
