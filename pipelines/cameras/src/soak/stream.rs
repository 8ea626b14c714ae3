// SPDX-License-Identifier: Apache-2.0
//! One stream: a pipeline that is made anew whenever its camera is lost, as an application does it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gst::prelude::*;

/// Between attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);
/// A camera that sends nothing for so long is lost: neither rtspsrc nor the network says so when it
/// hangs between its answer to PLAY and the first packet.
const SILENCE: Duration = Duration::from_secs(6);
/// A pipeline that needs longer to stop hangs.
const STOP: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub connections: u64,
    pub frames: u64,
    pub clips: u64,
    pub clips_dropped: u64,
    pub results: u64,
    pub published: u64,
    pub longest_gap: Duration,
    pub faults: Vec<String>,
}

struct Shared {
    stop: AtomicBool,
    frames: AtomicU64,
    begin: Instant,
    /// Milliseconds since the beginning.
    last_frame: AtomicU64,
    figures: Mutex<Figures>,
    /// Figures of the pipeline that runs.
    current: Mutex<Option<gst::glib::WeakRef<gst::Pipeline>>>,
}

impl Shared {
    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn frame(&self) {
        let now = self.begin.elapsed().as_millis() as u64;
        let last = self.last_frame.swap(now, Ordering::Relaxed);
        self.frames.fetch_add(1, Ordering::Relaxed);
        let gap = Duration::from_millis(now.saturating_sub(last));
        if gap > Duration::from_secs(1) {
            let mut figures = self.figures();
            figures.longest_gap = figures.longest_gap.max(gap);
        }
    }
}

pub struct Stream {
    shared: Arc<Shared>,
    ended: mpsc::Receiver<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Stream {
    pub fn start(url: &str, elements: &str) -> Result<Self> {
        let line = format!(
            "rtspsrc location={url} protocols=tcp latency=100 tcp-timeout=5000000 ! rtph264depay ! h264parse ! avdec_h264 max-threads=1 ! \
             videoconvert ! {elements} ! fakesink name=end sync=false"
        );
        // Said at once rather than again and again.
        drop(pipeline(&line)?);
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            frames: AtomicU64::new(0),
            begin: Instant::now(),
            last_frame: AtomicU64::new(0),
            figures: Mutex::default(),
            current: Mutex::default(),
        });
        let (end, ended) = mpsc::channel();
        let inside = shared.clone();
        let thread = std::thread::Builder::new()
            .name("stream".into())
            .spawn(move || {
                while !inside.stop.load(Ordering::Relaxed) {
                    if let Err(error) = once(&line, &inside) {
                        inside.figures().faults.push(format!("{error:#}"));
                        break;
                    }
                    let pause = Instant::now();
                    while pause.elapsed() < PAUSE && !inside.stop.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
                let _ = end.send(());
            })?;
        Ok(Self {
            shared,
            ended,
            thread,
        })
    }

    pub fn since_last_frame(&self) -> Duration {
        let last = Duration::from_millis(self.shared.last_frame.load(Ordering::Relaxed));
        self.shared.begin.elapsed().saturating_sub(last)
    }

    pub fn figures(&self) -> Figures {
        let mut figures = self.shared.figures().clone();
        figures.frames = self.shared.frames.load(Ordering::Relaxed);
        let current = self
            .shared
            .current
            .lock()
            .unwrap_or_else(|e| e.into_inner());
        if let Some(pipeline) = current.as_ref().and_then(|weak| weak.upgrade()) {
            add_stats(&pipeline, &mut figures);
        }
        figures
    }

    /// Whether it ends in time.
    pub fn stop(self, limit: Duration) -> bool {
        self.shared.stop.store(true, Ordering::Relaxed);
        let ended = self.ended.recv_timeout(limit).is_ok();
        if ended {
            let _ = self.thread.join();
        }
        ended
    }
}

fn pipeline(line: &str) -> Result<gst::Pipeline> {
    gst::parse::launch(line)
        .with_context(|| format!("cannot make the pipeline: {line}"))?
        .downcast::<gst::Pipeline>()
        .map_err(|_| anyhow::anyhow!("not a pipeline: {line}"))
}

fn add_stats(pipeline: &gst::Pipeline, figures: &mut Figures) {
    let stats = |name: &str| {
        let element = pipeline.by_name(name)?;
        Some(element.property::<gst::Structure>("stats"))
    };
    let get = |stats: &gst::Structure, name: &str| stats.get::<u64>(name).unwrap_or(0);
    if let Some(stats) = stats("classify") {
        figures.clips += get(&stats, "clips");
        figures.clips_dropped += get(&stats, "clips-dropped");
        figures.results += get(&stats, "results");
    }
    if let Some(stats) = stats("publish") {
        figures.published += get(&stats, "published");
    }
}

/// From one connection to its loss.
fn once(line: &str, shared: &Arc<Shared>) -> Result<()> {
    let pipeline = pipeline(line)?;
    let before = shared.frames.load(Ordering::Relaxed);
    let pad = pipeline
        .by_name("end")
        .and_then(|sink| sink.static_pad("sink"))
        .context("no sink")?;
    let counter = shared.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        counter.frame();
        gst::PadProbeReturn::Ok
    });
    drop(pad);
    *shared.current.lock().unwrap_or_else(|e| e.into_inner()) = Some(pipeline.downgrade());
    let bus = pipeline.bus().context("no bus")?;
    let _ = pipeline.set_state(gst::State::Playing);
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let (mut seen, mut since) = (before, Instant::now());
    while !shared.stop.load(Ordering::Relaxed) && since.elapsed() < SILENCE {
        let step = gst::ClockTime::from_mseconds(200);
        if bus.timed_pop_filtered(step, &kinds).is_some() {
            break;
        }
        let frames = shared.frames.load(Ordering::Relaxed);
        if frames != seen {
            (seen, since) = (frames, Instant::now());
        }
    }
    {
        let mut figures = shared.figures();
        add_stats(&pipeline, &mut figures);
        *shared.current.lock().unwrap_or_else(|e| e.into_inner()) = None;
        if shared.frames.load(Ordering::Relaxed) > before {
            figures.connections += 1;
        }
    }
    let begin = Instant::now();
    pipeline
        .set_state(gst::State::Null)
        .context("the pipeline does not stop")?;
    bus.set_flushing(true);
    if begin.elapsed() > STOP {
        anyhow::bail!(
            "the pipeline took {:.0} s to stop",
            begin.elapsed().as_secs_f64()
        );
    }
    Ok(())
}
