// SPDX-License-Identifier: Apache-2.0
//! `aivideo fx soak`: effects, parameters and formats that change at random while frames flow.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aivideo_fx::params::{Kind, Param};
use aivideo_fx::registry::{self, EFFECTS, Effect};
use anyhow::{Context, Result, bail};
use clap::Args;
use gst::prelude::*;

use crate::{environment, gstrun};

#[derive(Args)]
pub struct Options {
    /// Frames; two hours at 25 a second by default
    #[arg(long, default_value_t = 180_000, value_parser = clap::value_parser!(u64).range(100..))]
    frames: u64,
    /// Width and height
    #[arg(long, default_value = "160x90")]
    size: String,
    /// Frames between changes
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// Seed of what changes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Megabytes that the process may grow by after a fifth of the frames
    #[arg(long, default_value_t = 16.0)]
    growth: f64,
}

const FORMATS: [&str; 13] = [
    "I420", "NV12", "NV21", "Y42B", "Y444", "YUY2", "RGB", "BGR", "RGBx", "BGRx", "RGBA", "BGRA",
    "GRAY8",
];

/// GStreamer's list of tracers to run.
const TRACERS: &str = "GST_TRACERS";

/// A frame takes longer than this only when the pipeline hangs.
const STALL: Duration = Duration::from_secs(60);

pub fn run(options: &Options) -> Result<()> {
    // The tracer that knows what lives is there from the start of GStreamer or not at all.
    if std::env::var_os(TRACERS).is_none() {
        let program = std::env::current_exe().context("this program cannot be found")?;
        let error = Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(TRACERS, "leaks")
            .exec();
        return Err(error).context("this program cannot be run under GStreamer's leaks tracer");
    }
    gst::init().context("GStreamer does not start")?;
    environment::require_elements(&["fxfilter"])?;
    let (width, height) = options
        .size
        .split_once('x')
        .and_then(|(w, h)| Some((w.parse::<i32>().ok()?, h.parse::<i32>().ok()?)))
        .filter(|(w, h)| (1..=8192).contains(w) && (1..=8192).contains(h))
        .with_context(|| format!("the size is WIDTHxHEIGHT, not \"{}\"", options.size))?;
    let work = tempfile::tempdir().context("no temporary directory")?;
    let table = work.path().join("swap.cube");
    let entries = (0..8).map(|i| format!("{} {} {}\n", i >> 1 & 1, i & 1, i >> 2));
    std::fs::write(
        &table,
        format!("LUT_3D_SIZE 2\n{}", entries.collect::<String>()),
    )?;

    let pipeline = gst::parse::launch(&format!(
        "videotestsrc num-buffers={} pattern=ball ! capsfilter name=caps ! fxfilter name=fx ! \
         fakesink name=end",
        options.frames
    ))?
    .downcast::<gst::Pipeline>()
    .map_err(|_| anyhow::anyhow!("not a pipeline"))?;
    let element = |name: &str| pipeline.by_name(name).context(name.to_string());
    let (caps, fx) = (element("caps")?, element("fx")?);
    fx.set_property_from_str("chroma-key-to", "color");
    fx.set_property("lut-file", table.to_str().context("a path of text")?);
    set_format(&caps, FORMATS[0], width, height);

    let frames = Arc::new(AtomicU64::new(0));
    let used = Arc::new(Mutex::new(vec![0u64; EFFECTS.len()]));
    let pad = fx.static_pad("sink").context("no pad")?;
    let (counter, uses, every) = (frames.clone(), used.clone(), options.every);
    let (weak, weak_caps) = (fx.downgrade(), caps.downgrade());
    let random = Mutex::new(Random(options.seed));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let count = counter.fetch_add(1, Ordering::Relaxed);
        if count % every == 0
            && let (Some(fx), Some(caps)) = (weak.upgrade(), weak_caps.upgrade())
        {
            let mut uses = uses.lock().unwrap_or_else(|e| e.into_inner());
            let mut random = random.lock().unwrap_or_else(|e| e.into_inner());
            change(&fx, &mut random, &mut uses);
            if random.below(20) == 0 {
                let format = FORMATS[random.below(FORMATS.len())];
                let odd = random.below(2) as i32;
                set_format(&caps, format, (width - odd).max(1), (height - odd).max(1));
            }
        }
        gst::PadProbeReturn::Ok
    });

    let start = Instant::now();
    pipeline.set_state(gst::State::Playing)?;
    let result = watch(&pipeline, &frames, options);
    pipeline.set_state(gst::State::Null)?;
    let grown = result?;
    drop((pipeline, caps, fx, pad));
    let alive = alive()?;
    let used = used.lock().unwrap_or_else(|e| e.into_inner());
    let least = used.iter().min().copied().unwrap_or(0);
    println!(
        "{} frames of {width}x{height} in {:.0} s, effects switched every {} frames: no error; \
         each of {} effects was switched on at least {least} times; memory grew by {grown:.1} MB \
         after the first fifth; {} alive at the end",
        frames.load(Ordering::Relaxed),
        start.elapsed().as_secs_f64(),
        options.every,
        EFFECTS.len(),
        match &alive {
            Some(alive) => format!("{} objects or buffers", alive.len()),
            None => "objects not counted (no leaks tracer in GST_TRACERS)".to_owned(),
        },
    );
    if let Some([first, ..]) = alive.as_deref() {
        bail!("something is still alive, such as {first}");
    }
    if frames.load(Ordering::Relaxed) < options.frames {
        bail!("only {} frames came", frames.load(Ordering::Relaxed));
    }
    if grown > options.growth {
        bail!("memory grew by more than {} MB", options.growth);
    }
    Ok(())
}

fn set_format(caps: &gst::Element, format: &str, width: i32, height: i32) {
    let new = gst::Caps::builder("video/x-raw")
        .field("format", format)
        .field("width", width)
        .field("height", height)
        .field("framerate", gst::Fraction::new(25, 1))
        .build();
    caps.set_property("caps", new);
}

/// Waits for the end and gives the growth of the process in MB.
fn watch(pipeline: &gst::Pipeline, frames: &AtomicU64, options: &Options) -> Result<f64> {
    let bus = pipeline.bus().context("the pipeline has no bus")?;
    let types = [
        gst::MessageType::Error,
        gst::MessageType::Warning,
        gst::MessageType::Eos,
    ];
    let (mut settled, mut last, mut since) = (None, 0, Instant::now());
    loop {
        let message = bus.timed_pop_filtered(gst::ClockTime::from_mseconds(200), &types);
        if let Some(message) = message {
            match message.view() {
                gst::MessageView::Error(error) => bail!("{}", gstrun::error_text(error)),
                gst::MessageView::Warning(warning) => bail!("a warning: {}", warning.error()),
                _ => {
                    let begin: f64 = settled.unwrap_or(resident()?);
                    return Ok(resident()? - begin);
                }
            }
        }
        let now = frames.load(Ordering::Relaxed);
        if settled.is_none() && now >= options.frames / 5 {
            settled = Some(resident()?);
        }
        if now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() > STALL {
            bail!("no frame for {} s after {now}", STALL.as_secs());
        }
    }
}

/// What of GStreamer still lives, if the leaks tracer watches. Called once, at the end: the tracer
/// gives away references that it does not have.
fn alive() -> Result<Option<Vec<String>>> {
    const LEAKED: &str = "leaked-on-purpose";
    let tracers = gst::active_tracers();
    let Some(leaks) = tracers
        .iter()
        .find(|tracer| tracer.type_().name() == "GstLeaksTracer")
    else {
        return Ok(None);
    };
    // Streaming threads that end let go of their tasks a little after the pipeline does.
    gst::Task::cleanup_all();
    // A tracer that does not see this would see no other leak either.
    std::mem::forget(
        gst::Pad::builder(gst::PadDirection::Src)
            .name(LEAKED)
            .build(),
    );
    let live: gst::Structure = leaks.emit_by_name("get-live-objects", &[]);
    let list = live
        .get::<gst::List>("live-objects-list")
        .context("an odd answer of the leaks tracer")?;
    let mut alive: Vec<String> = list.iter().map(|object| format!("{object:?}")).collect();
    let before = alive.len();
    alive.retain(|object| !object.contains(LEAKED));
    if alive.len() + 1 != before {
        bail!("GStreamer's leaks tracer does not see what is leaked");
    }
    Ok(Some(alive))
}

/// Resident memory of this process in MB.
fn resident() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/statm").context("no /proc/self/statm")?;
    let pages: f64 = text
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .context("an odd /proc/self/statm")?;
    Ok(pages * rustix::param::page_size() as f64 / 1e6)
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = aivideo_fx::pass::hash(&[self.0]);
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 16) as usize % n.max(1)
    }

    fn unit(&mut self) -> f64 {
        aivideo_fx::pass::unit(self.next())
    }
}

/// A new chain, in either form, and a property that moves.
fn change(fx: &gst::Element, random: &mut Random, used: &mut [u64]) {
    let picks: Vec<usize> = (0..random.below(4))
        .map(|_| random.below(EFFECTS.len()))
        .collect();
    for pick in &picks {
        used[*pick] += 1;
    }
    let json = random.below(2) == 0;
    let items: Vec<String> = picks
        .iter()
        .map(|pick| {
            let effect = EFFECTS[*pick];
            let given: Vec<_> = effect
                .params
                .iter()
                .filter(|_| random.below(2) == 0)
                .collect();
            let values: Vec<_> = given
                .into_iter()
                .filter_map(|param| Some((param.name, value(effect, param, random)?)))
                .collect();
            if json {
                let pairs = values.iter().map(|(n, v)| format!(",\"{n}\":\"{v}\""));
                format!(
                    "{{\"effect\":\"{}\"{}}}",
                    effect.name,
                    pairs.collect::<String>()
                )
            } else {
                let pairs = values.iter().map(|(n, v)| format!(":{n}={v}"));
                format!("{}{}", effect.name, pairs.collect::<String>())
            }
        })
        .collect();
    let chain = match json {
        true => format!("[{}]", items.join(",")),
        false => items.join(","),
    };
    fx.set_property("effects", chain);
    fx.set_property("mix", random.below(5) as f64 / 4.0);
    fx.set_property("seed", random.next() as u32);
    fx.set_property("n-threads", 1 + random.below(2) as u32);
    let effect = EFFECTS[random.below(EFFECTS.len())];
    if !effect.params.is_empty() {
        let param = &effect.params[random.below(effect.params.len())];
        if let Some(value) = value(effect, param, random) {
            let name = registry::property_name(effect, param);
            fx.set_property_from_str(&name, &value.replace('#', "0x"));
        }
    }
}

/// A value as text; none where it would only make the effect warn.
fn value(effect: &Effect, param: &Param, random: &mut Random) -> Option<String> {
    let at = random.unit();
    if (effect.name, param.name) == ("chroma-key", "to") {
        return Some("color".into());
    }
    Some(match param.kind {
        Kind::Int { min, max, .. } => (min + (f64::from(max - min) * at) as i32).to_string(),
        Kind::Float { min, max, .. } => (min + (max - min) * at).to_string(),
        Kind::Bool { .. } => (at < 0.5).to_string(),
        Kind::Choice { choices, .. } => choices[random.below(choices.len())].name.into(),
        Kind::Color { .. } => format!("#{:06x}", random.below(1 << 24)),
        Kind::File => return None,
    })
}
