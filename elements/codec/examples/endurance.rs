// SPDX-License-Identifier: Apache-2.0
//! Half an hour of video through encoder, parser and decoder as fast as it goes, with the bitrate and the
//! key frames' distance changing now and then: memory must stay flat.
//!
//! ```text
//! cargo run --release -p aivideo-codec --example endurance -- [--frames N (default 54000)]
//!     [--width W] [--height H] [--model PATH] [--encoder "PROPERTIES"]
//! ```
//!
//! It prints the resident memory twenty times, and fails where it has grown by more than 3 % and 8 MiB
//! between the first fifth and the end.

use gst::prelude::*;
use std::error::Error;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Resident memory in bytes.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS in /proc/self/status: this runs on Linux only")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(1024 * kib)
}

fn main() -> Result<()> {
    let (mut frames, mut width, mut height) = (54_000u64, 320, 180);
    let (mut model, mut properties) = (None, "rate-control=cbr bitrate=300".to_owned());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().ok_or(format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--frames" => frames = value.parse()?,
            "--width" => width = value.parse()?,
            "--height" => height = value.parse()?,
            "--model" => model = Some(value),
            "--encoder" => properties = value,
            _ => return Err(format!("unknown option {arg}").into()),
        }
    }
    gst::init()?;
    aivideo_codec::register_transport(None)?;
    aivideo_codec::register_inference(None)?;
    let line = format!(
        "videotestsrc pattern=ball num-buffers={frames} ! \
         video/x-raw,format=I420,width={width},height={height},framerate=30/1 ! \
         aicodecenc name=encoder {properties} ! aicodecparse ! aicodecdec name=decoder ! \
         fakesink name=sink sync=false"
    );
    let pipeline = gst::parse::launch(&line)?
        .downcast::<gst::Pipeline>()
        .map_err(|_| "not a pipeline")?;
    let encoder = pipeline.by_name("encoder").ok_or("no encoder")?;
    if let Some(model) = model {
        encoder.set_property("model-location", &model);
        pipeline
            .by_name("decoder")
            .ok_or("no decoder")?
            .set_property("model-location", &model);
    }
    let coded = || -> u64 {
        let stats = encoder.property::<Option<gst::Structure>>("stats");
        stats.and_then(|s| s.get("coded-frames").ok()).unwrap_or(0)
    };
    pipeline.set_state(gst::State::Playing)?;
    let bus = pipeline.bus().ok_or("no bus")?;
    let (start, step) = (Instant::now(), frames.div_ceil(20).max(1));
    let (mut next, mut samples) = (step, Vec::new());
    let ended = loop {
        let message = bus.timed_pop_filtered(
            gst::ClockTime::from_mseconds(50),
            &[gst::MessageType::Eos, gst::MessageType::Error],
        );
        if let Some(message) = message {
            match message.view() {
                gst::MessageView::Error(error) => break Err(format!("{}", error.error())),
                _ => break Ok(()),
            }
        }
        let done = coded();
        if done >= next {
            let memory = resident()?;
            samples.push(memory);
            println!(
                "{done:6} frames ({:4.1} min of video) in {:5.0} s: {:.1} MiB",
                done as f64 / 1800.0,
                start.elapsed().as_secs_f64(),
                memory as f64 / 1048576.0
            );
            next = done - done % step + step;
            // What changes while playing must not leave anything behind either.
            encoder.set_property("key-int-max", 200 + 10 * (samples.len() % 5) as u32);
            encoder.set_property("bitrate", 200 + 50 * (samples.len() % 5) as u32);
        }
    };
    let total = coded();
    pipeline.set_state(gst::State::Null)?;
    ended?;
    if total != frames {
        return Err(format!("{total} of {frames} frames were coded").into());
    }
    let elapsed = start.elapsed().max(Duration::from_millis(1));
    let (Some(first), Some(last)) = (
        samples.iter().take(samples.len().div_ceil(5)).max(),
        samples.iter().rev().take(3).min(),
    ) else {
        return Err("too short to say anything".into());
    };
    let growth = *last as f64 - *first as f64;
    println!(
        "{total} frames, {:.0} a second; memory grew by {:.1} MiB from the first fifth to the end",
        total as f64 / elapsed.as_secs_f64(),
        growth / 1048576.0
    );
    if growth > 0.03 * *first as f64 && growth > 8.0 * 1048576.0 {
        return Err("memory grows".into());
    }
    Ok(())
}
