// SPDX-License-Identifier: Apache-2.0
//! What `aienhance` costs beside its net in ONNX Runtime, measured in one run; on a CPU with AVX2 it is less,
//! because the element runs the net in its own kernels:
//!
//! ```text
//! cargo run --release -p aivideo-enhance --example enhance_overhead [rounds]
//! ```
//!
//! Each round runs, one after the other, a bare ONNX Runtime session on ready-made tensors, the
//! shared engine on the same ones, and the element on a frame. Medians are printed. The bare
//! session has the engine's options (no spinning of idle threads). Processor time counts all threads of
//! the process; other load on the machine changes it far less than the wall clock.

use std::{env, error::Error, fs, time::Instant};

use aivideo_core::{
    engine::Engine, model::ModelSource, runtime, settings::InferenceSettings, tensor::Tensor,
};
use gst_video::VideoFormat;
use ort::{session::Session, value::TensorRef};

struct Case {
    name: &'static str,
    operations: &'static str,
    model: &'static [u8],
    width: usize,
    height: usize,
}

const UPSCALE: &[u8] = include_bytes!("../../../models/enhance/upscale-x2.onnx");
const DENOISE: &[u8] = include_bytes!("../../../models/enhance/denoise.onnx");

const CASES: &[Case] = &[
    Case {
        name: "denoise, 1280x720",
        operations: "denoise",
        model: DENOISE,
        width: 1280,
        height: 720,
    },
    Case {
        name: "upscale, 1280x720 to 2560x1440",
        operations: "upscale",
        model: UPSCALE,
        width: 1280,
        height: 720,
    },
    Case {
        name: "upscale, 640x360 to 1280x720",
        operations: "upscale",
        model: UPSCALE,
        width: 640,
        height: 360,
    },
];

/// A texture with noise, so that the estimate of `denoise` finds work.
fn sample(i: usize, width: usize) -> u8 {
    let (x, y) = (i % width, i / width);
    let noise = (i as u32)
        .wrapping_mul(0x9E37_79B9)
        .rotate_left(13)
        .wrapping_mul(0x85EB_CA6B)
        >> 27;
    (60 + (x / 7 + y / 5) % 90 + noise as usize) as u8
}

/// Wall clock and the processor time of all threads of this process, in milliseconds.
#[derive(Clone, Copy)]
struct Clock {
    wall: Instant,
    work: f64,
}

impl Clock {
    fn now() -> Result<Self, Box<dyn Error>> {
        let mut work = 0.0;
        for task in fs::read_dir("/proc/self/task")? {
            // A thread that ends between the listing and the reading has nothing to add.
            if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
                let nanoseconds = text.split_whitespace().next().unwrap_or_default();
                work += nanoseconds.parse::<u64>()? as f64 / 1e6;
            }
        }
        let wall = Instant::now();
        Ok(Self { wall, work })
    }
}

/// Times of one way to run the net.
#[derive(Default)]
struct Times {
    wall: Vec<f64>,
    work: Vec<f64>,
}

impl Times {
    fn add(&mut self, from: Clock, to: Clock) {
        self.wall.push((to.wall - from.wall).as_secs_f64() * 1e3);
        self.work.push(to.work - from.work);
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn measure(case: &Case, rounds: usize) -> Result<(), Box<dyn Error>> {
    let (w, h) = (case.width, case.height);
    let (pw, ph) = (w.next_multiple_of(8), h.next_multiple_of(8));
    let is_denoise = case.operations == "denoise";
    let y: Vec<u8> = (0..pw * ph).map(|i| sample(i, pw)).collect();
    let uv: Vec<u8> = (0..pw * ph / 2).map(|i| sample(i, pw / 2)).collect();
    let sigma = vec![8.0f32, 4.0];

    let loaded = runtime::get()?;
    let mut session = Session::builder(loaded.environment())?
        .with_intra_op_spinning(false)?
        .commit_from_memory(case.model)?;
    let source = ModelSource::Embedded {
        name: case.name,
        bytes: case.model,
    };
    let engine = Engine::acquire(&source, &InferenceSettings::default())?;

    let element = gst::ElementFactory::make("aienhance")
        .property("operations", case.operations)
        .build()?;
    let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
    harness.play();
    let info = gst_video::VideoInfo::builder(VideoFormat::I420, w as u32, h as u32).build()?;
    harness.set_src_caps(info.to_caps()?);
    let frame: Vec<u8> = y.iter().chain(&uv).copied().collect();

    let (mut bare, mut shared, mut whole) = (Times::default(), Times::default(), Times::default());
    for round in 0..rounds + 3 {
        let t0 = Clock::now()?;
        if is_denoise {
            session.run(ort::inputs![
                "y" => TensorRef::from_array_view(([1usize, 1, ph, pw], &y[..]))?,
                "uv" => TensorRef::from_array_view(([1usize, 2, ph / 2, pw / 2], &uv[..]))?,
                "sigma" => TensorRef::from_array_view(([2usize], &sigma[..]))?,
            ])?;
        } else {
            session.run(
                ort::inputs!["x" => TensorRef::from_array_view(([1usize, 1, ph, pw], &y[..]))?],
            )?;
        }
        let t1 = Clock::now()?;

        let inputs = if is_denoise {
            vec![
                ("y", Tensor::u8([1, 1, ph, pw], y.clone())),
                ("uv", Tensor::u8([1, 2, ph / 2, pw / 2], uv.clone())),
                ("sigma", Tensor::f32([2], sigma.clone())),
            ]
        } else {
            vec![("x", Tensor::u8([1, 1, ph, pw], y.clone()))]
        };
        let t2 = Clock::now()?;
        engine.run(inputs)?;
        let t3 = Clock::now()?;

        let mut buffer = gst::Buffer::with_size(info.size())?;
        if let Some(buffer) = buffer.get_mut() {
            buffer
                .copy_from_slice(0, &frame)
                .map_err(|n| format!("only {n} bytes copied"))?;
        }
        let t4 = Clock::now()?;
        let out = harness.push_and_pull(buffer)?;
        let t5 = Clock::now()?;
        drop(out);
        // The first rounds warm caches and memory up.
        if round >= 3 {
            bare.add(t0, t1);
            shared.add(t2, t3);
            whole.add(t4, t5);
        }
    }
    let mut line = |what, pick: fn(&mut Times) -> &mut Vec<f64>| {
        let [bare, shared, whole] =
            [&mut bare, &mut shared, &mut whole].map(|times| median(pick(times)));
        println!(
            "{:30} {what:9} bare {bare:7.2}, engine {shared:7.2} ({:+.1} %), element {whole:7.2} ({:+.1} % of bare, {:+.1} % of engine)",
            case.name,
            (shared / bare - 1.0) * 100.0,
            (whole / bare - 1.0) * 100.0,
            (whole / shared - 1.0) * 100.0,
        );
        whole
    };
    let whole = line("wall", |times| &mut times.wall);
    line("processor", |times| &mut times.work);
    println!("{:30} {:.1} frames/s", "", 1e3 / whole);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    gst::init()?;
    aivideo_enhance::register(None)?;
    let rounds = match env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 40,
    };
    println!("medians of {rounds} rounds, in milliseconds a frame");
    for case in CASES {
        measure(case, rounds)?;
    }
    Ok(())
}
