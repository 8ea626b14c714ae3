// SPDX-License-Identifier: Apache-2.0
//! What an engine costs above the bare ONNX Runtime call, at 720p:
//!
//! ```sh
//! cargo run --release -p aivideo-core --example engine_overhead
//! ```
//!
//! Both sides get the same pictures in memory of their own, make a tensor of it and run the same
//! model with the same session options. The engine ends with the result in a vector of bytes, the
//! bare call with the result in ONNX Runtime's memory, not copied: the comparison favours the bare
//! call. Rounds alternate, so that other load on the machine hits both; the overhead is the median
//! of the rounds' ratios.

#[path = "../tests/testmodel/mod.rs"]
mod testmodel;

use std::time::Instant;

use aivideo_core::{
    engine::{Engine, ModelSource, Tensor},
    runtime,
    settings::InferenceSettings,
};
use ort::session::{Session, builder::GraphOptimizationLevel};

type Error = Box<dyn std::error::Error>;

const WIDTH: usize = 1280;
const HEIGHT: usize = 720;
const ROUNDS: usize = 60;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare(channels: usize, threads: u32) -> Result<(), Error> {
    let bytes: &'static [u8] = testmodel::picture(channels).leak();
    let settings = InferenceSettings {
        device: "cpu".to_string(),
        num_threads: threads,
        ..InferenceSettings::default()
    };
    let source = ModelSource::Embedded {
        name: "overhead",
        bytes,
    };
    let engine = Engine::acquire(&source, &settings)?;
    let environment = runtime::get()?.environment();
    let mut bare = Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads as usize)?
        .with_intra_op_spinning(false)?
        .commit_from_memory(bytes)?;

    let shape = [1, 3, HEIGHT, WIDTH];
    let picture = |round: usize| -> Vec<u8> {
        (0..3 * WIDTH * HEIGHT)
            .map(|i| ((i + round) * 7 % 256) as u8)
            .collect()
    };
    let mut with_engine = Vec::new();
    let mut without = Vec::new();
    for round in 0..ROUNDS + 5 {
        let (a, b) = (picture(round), picture(round));
        let run_engine = || -> Result<(f64, Vec<u8>), Error> {
            let input = a.clone();
            let start = Instant::now();
            let outputs = engine.run(vec![("x", Tensor::u8(shape, input))])?;
            let (_, tensor) = outputs.into_iter().next().ok_or("no output")?;
            let result = tensor.into_u8()?;
            Ok((start.elapsed().as_secs_f64() * 1e3, result))
        };
        let mut run_bare = || -> Result<(f64, Vec<u8>), Error> {
            let input = b.clone();
            let start = Instant::now();
            let tensor = ort::value::Tensor::from_array((shape, input))?;
            let outputs = bare.run(ort::inputs!["x" => tensor])?;
            let (_, data) = outputs["y"].try_extract_tensor::<u8>()?;
            let elapsed = start.elapsed().as_secs_f64() * 1e3;
            Ok((elapsed, data.to_vec()))
        };
        // Whoever comes second finds warm caches; take turns.
        let (mine, theirs) = if round % 2 == 0 {
            let mine = run_engine()?;
            (mine, run_bare()?)
        } else {
            let theirs = run_bare()?;
            (run_engine()?, theirs)
        };
        if mine.1 != theirs.1 {
            return Err("the two results differ".into());
        }
        if round >= 5 {
            with_engine.push(mine.0);
            without.push(theirs.0);
        }
    }
    let ratios = with_engine.iter().zip(&without).map(|(a, b)| a / b);
    let ratio = median(ratios.collect());
    let (mine, theirs) = (median(with_engine), median(without));
    println!(
        "{threads} threads, {channels:>2} channels: bare {theirs:8.3} ms, engine {mine:8.3} ms, overhead {:+.2} %",
        (ratio - 1.0) * 100.0
    );
    Ok(())
}

fn main() -> std::process::ExitCode {
    match measure() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("{err}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), Error> {
    gst::init()?;
    println!(
        "u8 [1,3,{HEIGHT},{WIDTH}], two 3x3 convolutions, {ROUNDS} alternating rounds, {}",
        runtime::get()?.path().display()
    );
    for (channels, threads) in [(1, 1), (8, 1), (32, 1), (8, 2)] {
        compare(channels, threads)?;
    }
    Ok(())
}
