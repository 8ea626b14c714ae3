// SPDX-License-Identifier: Apache-2.0
//! How long the networks take alone, in the fused kernels and in ONNX Runtime, alternating:
//! `cargo run --release -p aivideo-codec --example network_speed -- [--key] [width height [rounds [threads [model]]]]`
//! (1280 720, 20 rounds, all threads, the built-in model; `--key`: the networks of key frames).

use aivideo_codec::coder::{DecodeNet, EncodeNet, ModelFiles, Picture};
use aivideo_core::settings::InferenceSettings;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Milliseconds that all threads of this process have run; load beside it does not count.
fn busy() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let of = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    tasks.flatten().filter_map(of).sum::<f64>() / 1e6
}

fn main() -> Result<(), Box<dyn Error>> {
    gst::init()?;
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let key = words.first().is_some_and(|word| word == "--key");
    if key {
        words.remove(0);
    }
    let model = words.get(4).cloned();
    let args: Vec<usize> = words
        .iter()
        .take(4)
        .map(|a| a.parse())
        .collect::<Result<_, _>>()?;
    let arg = |i: usize, default| args.get(i).copied().unwrap_or(default);
    let (size, rounds) = ((arg(0, 1280), arg(1, 720)), arg(2, 20));
    let settings = InferenceSettings {
        device: "cpu".to_owned(),
        num_threads: arg(3, 0) as u32,
        ..InferenceSettings::default()
    };
    let files = ModelFiles::find(model.as_deref().map(Path::new))?;
    let mut encoders = [(); 2].map(|()| EncodeNet::acquire(&files, &settings));
    let mut decoders = [(); 2].map(|()| DecodeNet::acquire(&files, &settings));
    if let Ok(net) = &mut encoders[1] {
        net.set_fused(false);
    }
    if let Ok(net) = &mut decoders[1] {
        net.set_fused(false);
    }
    let mut times = [const { (Vec::new(), Vec::new()) }; 4];
    for round in 0..rounds + 2 {
        for (i, (encoder, decoder)) in encoders.iter().zip(&decoders).enumerate() {
            let (Ok(encoder), Ok(decoder)) = (encoder, decoder) else {
                return Err("the model cannot be loaded".into());
            };
            let (encoder, decoder) = (encoder.of(key), decoder.of(key));
            let layout = encoder.layout(size, 2);
            let mut source = Picture::grey(layout.width, layout.height);
            for (i, v) in source.y.iter_mut().enumerate() {
                *v = ((i * (i / layout.width + round)) >> 4) as u8 / 4 + 60;
            }
            let prediction = Picture::grey(layout.width, layout.height);
            let state = vec![0; encoder.state_len(&layout)];
            let skip = vec![false; layout.blocks()];
            let clocks = || (Instant::now(), busy());
            let start = clocks();
            let coded = encoder.run(&layout, &source, &prediction, state.clone(), 32, &skip)?;
            let middle = clocks();
            decoder.run(&layout, coded.z, coded.y, &prediction, state, 32)?;
            let end = clocks();
            if round >= 2 {
                for (at, (from, to)) in [(i, (start, middle)), (2 + i, (middle, end))] {
                    times[at].0.push(1e3 * (to.0 - from.0).as_secs_f64());
                    times[at].1.push(to.1 - from.1);
                }
            }
        }
    }
    let names = [
        "encode, fused",
        "encode, ONNX Runtime",
        "decode, fused",
        "decode, ONNX Runtime",
    ];
    for (name, (wall, cpu)) in names.iter().zip(times) {
        let least = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
        let (least_wall, least_cpu) = (least(&wall), least(&cpu));
        let (wall, cpu) = (median(wall), median(cpu));
        println!(
            "{name:<22} {wall:7.2} ms (least {least_wall:.2}), {cpu:.2} ms of CPU time (least {least_cpu:.2})"
        );
    }
    if let Ok(net) = &encoders[0] {
        println!(
            "fused kernels: {}",
            if net.is_fused() {
                "in use"
            } else {
                "not available"
            }
        );
    }
    Ok(())
}
