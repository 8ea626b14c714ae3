// SPDX-License-Identifier: Apache-2.0
//! Each element alone in a pipeline, and all of them in a chain.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use gst::prelude::*;
use indicatif::ProgressBar;
use serde::Serialize;

use super::{Card, Options, Percentiles, frames::Frames, nvml::Nvml, watched};
use crate::{bench::median, gstrun};

pub const NEEDED: &[&str] = &[
    "aicodecenc",
    "aicodecdec",
    "aicodecparse",
    "vjepa2classify",
    "aienhance",
    "airestore",
    "fxfilter",
    "appsrc",
];

#[derive(Serialize)]
pub struct Figure {
    pub name: String,
    /// Where its models ran: one, or one each.
    pub devices: Vec<String>,
    /// Median of the rounds.
    pub fps: f64,
    pub fps_of_rounds: Vec<f64>,
    /// From a frame's entry to its exit; `None` where frames cannot be told apart.
    pub latency_ms: Option<Percentiles>,
    /// Bytes of tensors in host memory that the models took and gave, a frame. On a GPU they cross
    /// the bus; a frame in GPU memory would leave them at 0.
    pub host_tensor_bytes_per_frame: f64,
    pub card: Option<Card>,
}

/// A pipeline behind its source; `first` and `last` are measured.
struct Case {
    name: &'static str,
    source: Source,
    elements: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Source {
    /// Pictures of the size.
    Whole,
    /// Pictures of half the sides, which upscaling brings to the size.
    Half,
    /// A stream that the codec made of them.
    Coded,
}

fn cases(device: &str) -> Vec<Case> {
    let alone = |name: &'static str, source, element: &str| Case {
        name,
        source,
        elements: format!("{element} name=first"),
    };
    let encoder = format!("aicodecenc quality=32 device={device}");
    let decoder = format!("aicodecdec device={device}");
    // sync=true makes the element wait for each result, so that the model's time is counted.
    let classifier = format!("vjepa2classify sync=true device={device}");
    // A rehearsal on a CPU is of what a GPU does: nets in ONNX Runtime, with tensors that can be counted.
    let device = &match device {
        "cpu" => "cpu graph-optimization=false".to_string(),
        _ => device.to_string(),
    };
    let denoise = format!("aienhance operations=denoise:strength=15 device={device}");
    let effects = "fxfilter effects=posterize:num-levels=25".to_string();
    let mut cases = vec![
        alone("aicodecenc", Source::Whole, &encoder),
        alone("aicodecdec", Source::Coded, &decoder),
        alone("vjepa2classify", Source::Whole, &classifier),
        alone("aienhance denoise", Source::Whole, &denoise),
        alone(
            "aienhance upscale to this size",
            Source::Half,
            &format!("aienhance operations=upscale device={device}"),
        ),
        alone(
            "airestore",
            Source::Whole,
            &format!("airestore device={device}"),
        ),
        alone("fxfilter posterize (CPU)", Source::Whole, &effects),
    ];
    // Queues, so that the elements work at the same time.
    cases.push(Case {
        name: "the chain: encode, decode, classify, denoise, posterize",
        source: Source::Whole,
        elements: format!(
            "{encoder} name=first ! queue ! {decoder} ! queue ! {classifier} ! queue ! {denoise} ! \
             queue ! {effects} name=last"
        ),
    });
    cases
}

/// What probes and messages collect during a run.
#[derive(Default)]
struct Seen {
    entered: HashMap<gst::ClockTime, Instant>,
    milliseconds: Vec<f64>,
    devices: Vec<String>,
    host_bytes: u64,
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Devices and bytes in an element's `stats`, which may hold a structure a model.
fn add_stats(stats: &gst::StructureRef, seen: &mut Seen) {
    if let Ok(device) = stats.get::<String>("device") {
        let kernels = stats.get::<String>("kernels");
        let own = kernels.ok().filter(|k| k != "onnxruntime");
        let device = match own {
            Some(kernels) => format!("{device}, own kernels ({kernels})"),
            None => device,
        };
        if !seen.devices.contains(&device) {
            seen.devices.push(device);
        }
        seen.host_bytes += stats.get::<u64>("host-bytes").unwrap_or(0);
    }
    for (_, value) in stats.iter() {
        if let Ok(inner) = value.get::<gst::Structure>() {
            add_stats(&inner, seen);
        }
    }
}

/// Watches frames from entry to exit, and reads the elements' `stats` at the end of the stream, when
/// their models are still loaded.
fn watch(pipeline: &gst::Pipeline, last: &str, seen: &Arc<Mutex<Seen>>) -> Result<()> {
    let entry = pipeline
        .by_name("first")
        .and_then(|e| e.static_pad("sink"))
        .context("no way in")?;
    let inside = seen.clone();
    entry.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(pts) = info.buffer().and_then(|b| b.pts()) {
            lock(&inside).entered.insert(pts, Instant::now());
        }
        gst::PadProbeReturn::Ok
    });
    let exit = pipeline
        .by_name(last)
        .and_then(|e| e.static_pad("src"))
        .context("no way out")?;
    let inside = seen.clone();
    let elements: Vec<gst::glib::WeakRef<gst::Element>> = pipeline
        .iterate_elements()
        .into_iter()
        .flatten()
        .filter(|e| e.find_property("device").is_some() && e.find_property("stats").is_some())
        .map(|e| e.downgrade())
        .collect();
    let types = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    exit.add_probe(types, move |_, info| {
        if let Some(pts) = info.buffer().and_then(|b| b.pts()) {
            let mut seen = lock(&inside);
            if let Some(entered) = seen.entered.remove(&pts) {
                seen.milliseconds
                    .push(entered.elapsed().as_secs_f64() * 1e3);
            }
        }
        if info
            .event()
            .is_some_and(|e| e.type_() == gst::EventType::Eos)
        {
            let mut seen = lock(&inside);
            for element in elements.iter().filter_map(|e| e.upgrade()) {
                if let Some(stats) = element.property::<Option<gst::Structure>>("stats") {
                    add_stats(&stats, &mut seen);
                }
            }
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

/// A stream of `count` frames, coded by the element itself.
fn encode(frames: &Frames, count: u64, device: &str, path: &Path) -> Result<()> {
    let description = format!(
        "appsrc name=frames ! aicodecenc name=first quality=32 device={device} ! \
         filesink name=out location=\"{}\"",
        path.display()
    );
    let timing = gstrun::run_between(
        &description,
        ("first", "first"),
        |pipeline| frames.feed(pipeline, count),
        |_| (),
    )?;
    if timing.frames != count {
        bail!("{} of {count} frames were coded", timing.frames);
    }
    Ok(())
}

pub fn measure(
    options: &Options,
    video: &Path,
    (width, height): (u32, u32),
    nvml: Option<&Arc<Nvml>>,
    bar: &ProgressBar,
) -> Result<Vec<Figure>> {
    let mut cases = cases(&options.device);
    cases.retain(|case| options.wants_name(case.name));
    let needs = |source| cases.iter().any(|case| case.source == source);
    let whole = Frames::read(video, (width, height), "I420")?;
    let half = if needs(Source::Half) {
        Some(Frames::read(video, (width / 2, height / 2), "I420")?)
    } else {
        None
    };
    let count = u64::from(options.frames);
    let work = tempfile::tempdir().context("no temporary directory")?;
    let stream = work.path().join("stream.aic");
    if needs(Source::Coded) {
        bar.set_message("coding");
        encode(&whole, count, &options.device, &stream)?;
    }
    cases
        .iter()
        .map(|case| {
            let last = if case.elements.contains("name=last") {
                "last"
            } else {
                "first"
            };
            let source = match case.source {
                Source::Coded => {
                    format!("filesrc location=\"{}\" ! aicodecparse", stream.display())
                }
                _ => "appsrc name=frames".to_string(),
            };
            let description = format!("{source} ! {} ! fakesink sync=false", case.elements);
            let seen = Arc::new(Mutex::new(Seen::default()));
            let (mut fps, mut frames_out) = (Vec::new(), 0);
            let (_, card) = watched(nvml, || {
                for _ in 0..options.rounds {
                    bar.set_message(case.name);
                    let timing = gstrun::run_between(
                        &description,
                        ("first", last),
                        |pipeline| {
                            watch(pipeline, last, &seen)?;
                            match (case.source, &half) {
                                (Source::Coded, _) => Ok(()),
                                (Source::Half, Some(half)) => half.feed(pipeline, count),
                                _ => whole.feed(pipeline, count),
                            }
                        },
                        |_| (),
                    )
                    .with_context(|| case.name)?;
                    if timing.frames != count {
                        bail!(
                            "{}: {} of {count} frames came out",
                            case.name,
                            timing.frames
                        );
                    }
                    frames_out += timing.frames;
                    fps.push(timing.fps());
                }
                Ok(())
            })?;
            let seen = std::mem::take(&mut *lock(&seen));
            Ok(Figure {
                name: case.name.to_string(),
                devices: seen.devices,
                fps: median(&fps),
                fps_of_rounds: fps,
                latency_ms: Percentiles::of(seen.milliseconds),
                host_tensor_bytes_per_frame: seen.host_bytes as f64 / frames_out.max(1) as f64,
                card,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_bytes_of_all_models_are_added_up() {
        gst::init().unwrap();
        let model = |device: &str, bytes: u64| {
            gst::Structure::builder("aivideo-stats")
                .field("device", device)
                .field("host-bytes", bytes)
                .build()
        };
        let mut seen = Seen::default();
        add_stats(&model("cuda:0", 100), &mut seen);
        let nested = gst::Structure::builder("aivideo-stats")
            .field("frames", 3u64)
            .field("denoise", model("cpu", 20))
            .field("upscale", model("cuda:0", 3))
            .build();
        add_stats(&nested, &mut seen);
        let own = gst::Structure::builder("aivideo-stats")
            .field("device", "cpu")
            .field("kernels", "amx")
            .build();
        add_stats(&own, &mut seen);
        assert_eq!(seen.devices, ["cuda:0", "cpu", "cpu, own kernels (amx)"]);
        assert_eq!(seen.host_bytes, 123);
    }

    #[test]
    fn every_case_names_what_is_measured_and_the_device() {
        for case in cases("cuda:1") {
            assert!(case.elements.contains("name=first"), "{}", case.name);
            let is_fx = case.name.starts_with("fxfilter");
            assert_eq!(
                case.elements.contains("device=cuda:1"),
                !is_fx,
                "{}",
                case.name
            );
        }
    }
}
