// SPDX-License-Identifier: Apache-2.0
//! `aivideo loss`: real clips over a simulated lossy RTP path, ours beside H.264 and H.265.
//!
//! Encoder, payloader, a seeded dropper, rtpjitterbuffer, depayloader and decoder are the real
//! elements, and requests travel back. Only time is not: a clock that is set by hand makes a run
//! the same on a slow machine and on a fast one. A second receiver without loss tells what the
//! picture would have been.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use gst::prelude::*;
use gst_video::prelude::*;
use serde::Serialize;

use crate::gstrun;
use crate::progress::Steps;

/// Time without an answer after which a receiver asks again: as aicodecdec does by itself.
const BETWEEN_REQUESTS: gst::ClockTime = gst::ClockTime::from_mseconds(200);
/// A picture is damaged where it differs more than this from the one without loss (dB, luma).
const SAME: f64 = 50.0;
const MTU: u32 = 1200;

#[derive(clap::Args)]
pub struct Options {
    /// A clip; may be given more than once [default: the first two of AIVIDEO_CLIPS]
    #[arg(long, value_name = "FILE")]
    video: Vec<PathBuf>,
    /// Frames of each clip
    #[arg(long, default_value_t = 250)]
    frames: usize,
    /// Wider clips are scaled down to this width
    #[arg(long, default_value_t = 640)]
    width: u32,
    /// Bit rate without loss, in kbit/s
    #[arg(long, default_value_t = 600)]
    bitrate: u32,
    /// Percentages of packets lost
    #[arg(long, value_delimiter = ',', default_values_t = [1.0, 5.0, 10.0, 20.0])]
    loss: Vec<f64>,
    /// Packets that are lost together on average, in the bursty runs
    #[arg(long, default_value_t = 4.0)]
    burst: f64,
    /// Latency of rtpjitterbuffer, in milliseconds
    #[arg(long, default_value_t = 100)]
    latency: u32,
    /// Milliseconds from a request to its arrival at the sender, the way of the packets included
    #[arg(long, default_value_t = 100)]
    rtt: u64,
    /// Seed of the dropper
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Requests arrive with all their fields, as over a channel of the application's own; else with
    /// what RTCP carries
    #[arg(long)]
    full_reports: bool,
    /// Only codecs whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Writes every run as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes every run as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    None,
    Random,
    Bursty,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Random => "random",
            Self::Bursty => "bursty",
        }
    }
}

/// One codec of the comparison.
struct Codec {
    name: &'static str,
    /// Elements that it needs beside those of GStreamer's base.
    needs: &'static [&'static str],
    /// From pictures to packets, for a rate in kbit/s.
    send: fn(u32) -> String,
    /// From packets to pictures.
    receive: &'static str,
    encoding: &'static str,
    /// The receiver's elements ask by themselves.
    asks: bool,
}

fn ours(rate: u32) -> String {
    format!(
        "aicodecenc name=encoder rate-control=cbr bitrate={rate} key-int-max=250 tile-rows=1 \
         ! rtpaicodecpay mtu={MTU} aggregate-mode=tiles"
    )
}

fn ours_keys(rate: u32) -> String {
    ours(rate).replacen("aicodecenc", "aicodecenc recovery=key", 1)
}

fn x264(knob: u32) -> String {
    format!(
        "x264enc name=encoder tune=zerolatency speed-preset=veryfast bitrate={knob} \
         vbv-buf-capacity=1000 key-int-max=250 threads=1 sliced-threads=false \
         option-string=slice-max-size={} min-force-key-unit-interval={} \
         ! rtph264pay mtu={MTU} config-interval=-1 aggregate-mode=zero-latency",
        MTU - 60,
        BETWEEN_REQUESTS.nseconds()
    )
}

fn x265(knob: u32) -> String {
    format!(
        "x265enc name=encoder tune=zerolatency speed-preset=ultrafast bitrate={knob} key-int-max=250 \
         option-string=\"frame-threads=1:pools=2:slices=3:log-level=none\" \
         min-force-key-unit-interval={} ! rtph265pay mtu={MTU} config-interval=-1 \
         aggregate-mode=zero-latency",
        BETWEEN_REQUESTS.nseconds()
    )
}

fn codecs() -> Vec<Codec> {
    let own = |name, send| Codec {
        name,
        needs: &[
            "aicodecenc",
            "aicodecdec",
            "rtpaicodecpay",
            "rtpaicodecdepay",
        ],
        send,
        receive: "rtpaicodecdepay ! aicodecdec name=decoder",
        encoding: "X-AICODEC",
        asks: true,
    };
    let h264 = |name, receive| Codec {
        name,
        needs: &["x264enc", "avdec_h264", "rtph264pay", "rtph264depay"],
        send: x264,
        receive,
        encoding: "H264",
        asks: false,
    };
    let h265 = Codec {
        name: "x265",
        needs: &["x265enc", "avdec_h265", "rtph265pay", "rtph265depay"],
        send: x265,
        receive: "rtph265depay ! h265parse ! avdec_h265 name=decoder max-threads=1",
        encoding: "H265",
        asks: false,
    };
    vec![
        own("aicodec", ours as fn(u32) -> String),
        own("aicodec, key frames", ours_keys),
        h264(
            "x264",
            "rtph264depay ! h264parse ! avdec_h264 name=decoder max-threads=1",
        ),
        h264(
            "x264, held",
            "rtph264depay wait-for-keyframe=true ! h264parse ! avdec_h264 name=decoder max-threads=1",
        ),
        h265,
    ]
}

/// Seeded numbers from 0 to 1 (SplitMix64): the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Decides which packets are lost: each by itself, or in the two states of Gilbert's model.
struct Dropper {
    random: Random,
    kind: Kind,
    /// Part of the packets that is lost.
    rate: f64,
    /// Mean length of a burst.
    burst: f64,
    bad: bool,
}

impl Dropper {
    fn new(seed: u64, kind: Kind, rate: f64, burst: f64) -> Self {
        Self {
            random: Random(seed),
            kind,
            rate,
            burst: burst.max(1.0),
            bad: false,
        }
    }

    fn drops(&mut self) -> bool {
        let x = self.random.next();
        match self.kind {
            Kind::None => false,
            Kind::Random => x < self.rate,
            Kind::Bursty => {
                self.bad = if self.bad {
                    x >= 1.0 / self.burst
                } else {
                    x < self.rate / (1.0 - self.rate).max(1e-9) / self.burst
                };
                self.bad
            }
        }
    }
}

/// Luma of a clip's frames.
struct Clip {
    name: String,
    info: gst_video::VideoInfo,
    buffers: Vec<gst::Buffer>,
    luma: Vec<Vec<u8>>,
    frame: gst::ClockTime,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn luma(buffer: &gst::BufferRef, info: &gst_video::VideoInfo) -> Result<Vec<u8>> {
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info)
        .context("a picture that cannot be read")?;
    let stride = usize::try_from(frame.plane_stride()[0]).context("a stride below 0")?;
    let data = frame.plane_data(0).context("a picture without luma")?;
    let (width, height) = (info.width() as usize, info.height() as usize);
    Ok(data
        .chunks(stride)
        .take(height)
        .flat_map(|row| &row[..width])
        .copied()
        .collect())
}

/// Reads a clip's first frames, scaled down where it is wider than `width`.
fn read(path: &Path, frames: usize, width: u32) -> Result<Clip> {
    let file = path.display().to_string();
    if !path.is_file() {
        bail!("cannot read the clip {file}: it is not a file");
    }
    let quoted = file.replace('\\', "\\\\").replace('"', "\\\"");
    let line = format!(
        "filesrc location=\"{quoted}\" ! decodebin ! videoconvert ! videoscale \
         ! capsfilter name=size ! fakesink name=end sync=false"
    );
    let pipeline = gst::parse::launch(&line)?
        .downcast::<gst::Pipeline>()
        .map_err(|_| anyhow!("not a pipeline"))?;
    let size = pipeline.by_name("size").context("no filter")?;
    let wanted = gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field(
            "width",
            gst::IntRange::new(16, width.max(16) as i32 / 2 * 2),
        )
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .build();
    size.set_property("caps", &wanted);
    let kept: Arc<Mutex<Vec<gst::Buffer>>> = Arc::default();
    let pad = pipeline
        .by_name("end")
        .and_then(|e| e.static_pad("sink"))
        .context("no sink")?;
    let into = Arc::clone(&kept);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let mut kept = lock(&into);
        if let Some(buffer) = info.buffer()
            && kept.len() < frames
        {
            kept.push(buffer.clone());
        }
        gst::PadProbeReturn::Ok
    });
    let bus = pipeline.bus().context("no bus")?;
    // A failure to start is told by a message.
    let _ = pipeline.set_state(gst::State::Playing);
    let result = loop {
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = bus.timed_pop_filtered(gst::ClockTime::from_mseconds(50), &kinds);
        match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(error)) => {
                break Err(anyhow!("{file}: {}", gstrun::error_text(error)));
            }
            Some(_) => break Ok(()),
            None if lock(&kept).len() >= frames => break Ok(()),
            None => {}
        }
    };
    let caps = pad.current_caps();
    let _ = pipeline.set_state(gst::State::Null);
    result?;
    let caps = caps.context("no picture")?;
    let info = gst_video::VideoInfo::from_caps(&caps)?;
    let fps = info.fps();
    let (n, d) = match (u64::try_from(fps.numer()), u64::try_from(fps.denom())) {
        (Ok(n), Ok(d)) if n > 0 && d > 0 => (n, d),
        _ => (25, 1),
    };
    let buffers = std::mem::take(&mut *lock(&kept));
    if buffers.is_empty() {
        bail!("{file} has no picture");
    }
    let luma = buffers
        .iter()
        .map(|b| luma(b, &info))
        .collect::<Result<_>>()?;
    Ok(Clip {
        name: path
            .file_stem()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or(file),
        info: gst_video::VideoInfo::builder(info.format(), info.width(), info.height())
            .fps(gst::Fraction::new(n as i32, d as i32))
            .colorimetry(&info.colorimetry())
            .build()?,
        frame: gst::ClockTime::from_nseconds(1_000_000_000 * d / n),
        buffers,
        luma,
    })
}

/// A pad of ours that feeds a bin, with the requests that come back.
struct Feeder {
    pad: gst::Pad,
    requests: Arc<Mutex<Vec<gst::Event>>>,
}

impl Feeder {
    fn new(name: &str, target: &gst::Pad) -> Result<Self> {
        let requests: Arc<Mutex<Vec<gst::Event>>> = Arc::default();
        let into = Arc::clone(&requests);
        let pad = gst::Pad::builder(gst::PadDirection::Src)
            .name(name)
            .event_function(move |_, _, event| {
                if gst_video::ForceKeyUnitEvent::is(&event) {
                    lock(&into).push(event);
                }
                true
            })
            .build();
        pad.set_active(true)?;
        pad.link(target)?;
        Ok(Self { pad, requests })
    }

    fn begin(&self, caps: &gst::Caps) {
        self.pad.push_event(gst::event::StreamStart::new("loss"));
        self.pad.push_event(gst::event::Caps::new(caps));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.pad.push_event(gst::event::Segment::new(&segment));
    }
}

/// A pad of ours that collects what comes out of a bin.
struct Collector {
    pad: gst::Pad,
    buffers: Arc<Mutex<Vec<gst::Buffer>>>,
}

impl Collector {
    fn new(name: &str, source: &gst::Pad) -> Result<Self> {
        let buffers: Arc<Mutex<Vec<gst::Buffer>>> = Arc::default();
        let (one, many) = (Arc::clone(&buffers), Arc::clone(&buffers));
        let pad = gst::Pad::builder(gst::PadDirection::Sink)
            .name(name)
            .chain_function(move |_, _, buffer| {
                lock(&one).push(buffer);
                Ok(gst::FlowSuccess::Ok)
            })
            .chain_list_function(move |_, _, list| {
                lock(&many).extend(list.iter_owned());
                Ok(gst::FlowSuccess::Ok)
            })
            .event_function(|_, _, _| true)
            .build();
        pad.set_active(true)?;
        source.link(&pad)?;
        Ok(Self { pad, buffers })
    }

    fn take(&self) -> Vec<gst::Buffer> {
        std::mem::take(&mut lock(&self.buffers))
    }
}

/// A line of elements between a feeder and a collector.
struct Line {
    bin: gst::Bin,
    input: Feeder,
    output: Collector,
}

impl Line {
    fn new(description: &str) -> Result<Self> {
        let bin = gst::parse::bin_from_description(description, true)
            .with_context(|| format!("cannot make {description}"))?;
        let pad = |name| bin.static_pad(name).context("a line without ends");
        let input = Feeder::new("feeder", &pad("sink")?)?;
        let output = Collector::new("collector", &pad("src")?)?;
        bin.set_state(gst::State::Playing)
            .with_context(|| format!("cannot start {description}"))?;
        Ok(Self { bin, input, output })
    }

    fn push(&self, buffer: gst::Buffer) -> Result<()> {
        match self.input.pad.push(buffer) {
            Ok(_) => Ok(()),
            Err(error) => bail!("{}: {error}", self.bin.name()),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.bin.set_state(gst::State::Null);
    }
}

/// rtpjitterbuffer with a clock that is set by hand, and a receiver behind it.
struct Receiver {
    clock: gst_check::TestClock,
    buffer: gst::Element,
    input: Feeder,
    /// What comes out of rtpjitterbuffer, before and after the receiver has dealt with it.
    entered: Arc<AtomicU64>,
    left: Arc<AtomicU64>,
    /// A packet was given up.
    lost: Arc<AtomicBool>,
    /// A key frame has arrived.
    key: Arc<AtomicBool>,
    line: Arc<Line>,
    _between: gst::Pad,
}

impl Receiver {
    fn new(codec: &Codec, latency: u32) -> Result<Self> {
        let line = Arc::new(Line::new(&receiver_line(codec))?);
        let clock = gst_check::TestClock::with_start_time(gst::ClockTime::ZERO);
        let buffer = gst::ElementFactory::make("rtpjitterbuffer")
            .property("latency", latency)
            .property("do-lost", true)
            .build()?;
        buffer.set_clock(Some(&clock))?;
        buffer.set_base_time(gst::ClockTime::ZERO);
        let static_pad = |name| buffer.static_pad(name).context("no pad");
        let input = Feeder::new("packets", &static_pad("sink")?)?;
        let (entered, left) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (lost, key) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let between = {
            let (e1, l1, to1) = (entered.clone(), left.clone(), line.clone());
            let (e2, l2, to2) = (entered.clone(), left.clone(), line.clone());
            let gone = lost.clone();
            gst::Pad::builder(gst::PadDirection::Sink)
                .name("between")
                .chain_function(move |_, _, buffer| {
                    e1.fetch_add(1, Ordering::SeqCst);
                    let result = to1.input.pad.push(buffer);
                    l1.fetch_add(1, Ordering::SeqCst);
                    result
                })
                .event_function(move |_, _, event| {
                    e2.fetch_add(1, Ordering::SeqCst);
                    if event
                        .structure()
                        .is_some_and(|s| s.name() == "GstRTPPacketLost")
                    {
                        gone.store(true, Ordering::SeqCst);
                    }
                    let result = to2.input.pad.push_event(event);
                    l2.fetch_add(1, Ordering::SeqCst);
                    result
                })
                .build()
        };
        between.set_active(true)?;
        static_pad("src")?.link(&between)?;
        let decoder = line.bin.by_name("decoder").context("no decoder")?;
        let seen = key.clone();
        let pad = decoder.static_pad("sink").context("no pad")?;
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer()
                && !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
            {
                seen.store(true, Ordering::SeqCst);
            }
            gst::PadProbeReturn::Ok
        });
        buffer.set_state(gst::State::Playing)?;
        Ok(Self {
            clock,
            buffer,
            input,
            entered,
            left,
            lost,
            key,
            line,
            _between: between,
        })
    }

    /// Waits until nothing moves any more.
    fn settle(&self) {
        let count = || {
            (
                self.entered.load(Ordering::SeqCst),
                self.left.load(Ordering::SeqCst),
            )
        };
        let mut last = (count(), Instant::now());
        loop {
            std::thread::sleep(Duration::from_micros(300));
            let now = count();
            if now != last.0 || now.0 != now.1 {
                last = (now, Instant::now());
            } else if last.1.elapsed() > Duration::from_millis(4) {
                return;
            }
        }
    }

    /// Lets time pass, timer by timer.
    fn advance(&self, to: gst::ClockTime) {
        loop {
            self.settle();
            match self.clock.next_entry_time() {
                Some(next) if next <= to => {
                    if next > self.clock.time() {
                        self.clock.set_time(next);
                    }
                    self.clock.process_next_clock_id();
                }
                _ => break,
            }
        }
        self.clock.set_time(to);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // The buffer's thread may wait for the clock.
        let _ = self.buffer.set_state(gst::State::Null);
    }
}

fn receiver_line(codec: &Codec) -> String {
    format!(
        "{} ! videoconvert ! capsfilter caps=video/x-raw,format=I420",
        codec.receive
    )
}

/// The figures of one run.
#[derive(Clone, Debug, Serialize)]
struct Run {
    clip: String,
    codec: &'static str,
    kind: Kind,
    /// Percent asked for, and lost in fact.
    loss: f64,
    lost: f64,
    kbits: f64,
    packets: u64,
    /// Mean of the frames' Y-PSNR, of what is shown.
    psnr_y: f64,
    /// The same without any loss, at the same time.
    psnr_y_sent: f64,
    /// Seconds in which no new picture was shown, in all and at a time.
    frozen: f64,
    longest_freeze: f64,
    /// Part of the time in which the picture was not as sent, in percent.
    damaged: f64,
    /// Seconds from a loss in the picture until it is as sent.
    recovery_mean: f64,
    recovery_max: f64,
    episodes: u64,
    requests: u64,
    key_frames: u64,
    recovery_frames: u64,
    recovery_frame_bytes: f64,
    key_frame_bytes: f64,
    seconds: f64,
}

struct Channel {
    kind: Kind,
    loss: f64,
}

fn mse(a: &[u8], b: &[u8]) -> f64 {
    let sum: u64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2))
        .sum();
    sum as f64 / a.len() as f64
}

fn psnr(mse: f64) -> f64 {
    (10.0 * (255.0 * 255.0 / mse.max(1e-9)).log10()).min(100.0)
}

fn index(buffer: &gst::Buffer, clip: &Clip) -> Option<usize> {
    let pts = buffer.pts()?.nseconds();
    let frame = clip.frame.nseconds();
    usize::try_from((pts + frame / 2) / frame).ok()
}

/// A request as RTCP would bring it.
fn bare(event: &gst::Event) -> gst::Event {
    let request = gst_video::UpstreamForceKeyUnitEvent::parse(event);
    gst_video::UpstreamForceKeyUnitEvent::builder()
        .all_headers(request.is_ok_and(|r| r.all_headers))
        .build()
}

/// What passes an encoder's source pad: key and recovery frames, and their bytes.
#[derive(Default)]
struct Counted {
    keys: u64,
    key_bytes: u64,
    recoveries: u64,
    recovery_bytes: u64,
}

fn count_frames(sender: &Line) -> Result<Arc<Mutex<Counted>>> {
    let counted: Arc<Mutex<Counted>> = Arc::default();
    let encoder = sender.bin.by_name("encoder").context("no encoder")?;
    let ours = encoder.factory().is_some_and(|f| f.name() == "aicodecenc");
    let into = Arc::clone(&counted);
    let pad = encoder.static_pad("src").context("no pad")?;
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer() {
            let size = buffer.size() as u64;
            let mut counted = lock(&into);
            // The second byte of an access unit has its type (docs/bitstream.md).
            let mut head = [0; 2];
            let kind = (ours && buffer.copy_to_slice(0, &mut head).is_ok()).then_some(head[1] & 3);
            if !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
                counted.keys += 1;
                counted.key_bytes += size;
            } else if kind == Some(3) {
                counted.recoveries += 1;
                counted.recovery_bytes += size;
            }
        }
        gst::PadProbeReturn::Ok
    });
    Ok(counted)
}

fn simulate(
    codec: &Codec,
    knob: u32,
    clip: &Clip,
    path: &Channel,
    options: &Options,
) -> Result<Run> {
    let started = Instant::now();
    let sender = Line::new(&(codec.send)(knob))?;
    let counted = count_frames(&sender)?;
    let clean = Line::new(&receiver_line(codec))?;
    let lossy = match path.kind {
        Kind::None => None,
        _ => Some(Receiver::new(codec, options.latency)?),
    };
    let rate = path.loss / 100.0;
    let mut dropper = Dropper::new(options.seed, path.kind, rate, options.burst);
    let mut feedback = Random(options.seed ^ 0xfeed);
    let caps = gst::Caps::builder("application/x-rtp")
        .field("media", "video")
        .field("clock-rate", 90_000)
        .field("encoding-name", codec.encoding)
        .field("payload", 96)
        .build();
    sender.input.begin(&clip.info.to_caps()?);
    clean.input.begin(&caps);
    if let Some(lossy) = &lossy {
        lossy.input.begin(&caps);
    }
    let count = clip.buffers.len();
    let mut sent: Vec<Option<Vec<u8>>> = vec![None; count];
    let mut shown: Vec<Option<Vec<u8>>> = vec![None; count];
    let (mut bytes, mut packets, mut lost, mut requests) = (0u64, 0u64, 0u64, 0u64);
    // Requests on their way, and when they arrive.
    let mut under_way: Vec<(gst::ClockTime, gst::Event)> = Vec::new();
    let (mut waiting, mut asked): (bool, Option<gst::ClockTime>) = (false, None);
    let tail = (u64::from(options.latency) * 1_000_000).div_ceil(clip.frame.nseconds()) + 2;
    for i in 0..count + tail as usize {
        let now = clip.frame * i as u64;
        let (due, rest) = under_way.into_iter().partition(|(at, _)| *at <= now);
        under_way = rest;
        for (_, event) in due {
            sender.output.pad.push_event(event);
        }
        if let Some(buffer) = clip.buffers.get(i) {
            let mut buffer = buffer.clone();
            let inner = buffer.make_mut();
            inner.set_pts(now);
            inner.set_dts(gst::ClockTime::NONE);
            inner.set_duration(clip.frame);
            sender.push(buffer)?;
        } else if i == count {
            // What an encoder holds back.
            sender.input.pad.push_event(gst::event::Eos::new());
        }
        for mut packet in sender.output.take() {
            packets += 1;
            bytes += packet.size() as u64;
            let inner = packet.make_mut();
            inner.set_pts(now);
            inner.set_dts(now);
            clean.push(packet.clone())?;
            if dropper.drops() {
                lost += 1;
            } else if let Some(lossy) = &lossy {
                let _ = lossy.input.pad.push(packet);
            }
        }
        collect(&clean.output, clip, &mut sent)?;
        let Some(lossy) = &lossy else { continue };
        lossy.advance(now + clip.frame - gst::ClockTime::from_nseconds(1));
        collect(&lossy.line.output, clip, &mut shown)?;
        if !codec.asks {
            // The receiving application asks, as it would for any codec.
            waiting &= !lossy.key.swap(false, Ordering::SeqCst);
            waiting |= lossy.lost.swap(false, Ordering::SeqCst);
            if waiting && asked.is_none_or(|at| now >= at + BETWEEN_REQUESTS) {
                asked = Some(now);
                let event = gst_video::UpstreamForceKeyUnitEvent::builder()
                    .all_headers(true)
                    .build();
                lock(&lossy.line.input.requests).push(event);
            }
        }
        for event in lock(&lossy.line.input.requests).drain(..) {
            requests += 1;
            // What carries requests loses packets as well.
            if feedback.next() >= rate {
                let event = if options.full_reports {
                    event
                } else {
                    bare(&event)
                };
                let way = gst::ClockTime::from_mseconds(options.rtt);
                under_way.push((now + clip.frame + way, event));
            }
        }
    }
    clean.input.pad.push_event(gst::event::Eos::new());
    collect(&clean.output, clip, &mut sent)?;
    if let Some(lossy) = &lossy {
        lossy.input.pad.push_event(gst::event::Eos::new());
        lossy.settle();
        collect(&lossy.line.output, clip, &mut shown)?;
    }
    if path.kind == Kind::None {
        shown.clone_from(&sent);
    }
    let counted = lock(&counted);
    let second = clip.frame.seconds_f64();
    let judged = judge(clip, &sent, &shown);
    let mean = |sum: u64, count: u64| sum as f64 / count.max(1) as f64;
    Ok(Run {
        clip: clip.name.clone(),
        codec: codec.name,
        kind: path.kind,
        loss: path.loss,
        lost: 100.0 * mean(lost, packets),
        kbits: 8.0 * bytes as f64 / (count as f64 * second) / 1000.0,
        packets,
        psnr_y: judged.psnr,
        psnr_y_sent: judged.psnr_sent,
        frozen: judged.frozen as f64 * second,
        longest_freeze: judged.longest_freeze as f64 * second,
        damaged: 100.0 * judged.episodes.iter().sum::<usize>() as f64 / count as f64,
        recovery_mean: second
            * mean(
                judged.episodes.iter().map(|e| *e as u64).sum(),
                judged.episodes.len() as u64,
            ),
        recovery_max: second * judged.episodes.iter().copied().max().unwrap_or(0) as f64,
        episodes: judged.episodes.len() as u64,
        requests,
        key_frames: counted.keys,
        recovery_frames: counted.recoveries,
        recovery_frame_bytes: mean(counted.recovery_bytes, counted.recoveries),
        key_frame_bytes: mean(counted.key_bytes, counted.keys),
        seconds: started.elapsed().as_secs_f64(),
    })
}

fn collect(from: &Collector, clip: &Clip, into: &mut [Option<Vec<u8>>]) -> Result<()> {
    for buffer in from.take() {
        if let Some(place) = index(&buffer, clip).and_then(|i| into.get_mut(i)) {
            *place = Some(luma(&buffer, &clip.info)?);
        }
    }
    Ok(())
}

/// What is seen of a run.
#[derive(Debug, Default, PartialEq)]
struct Judged {
    psnr: f64,
    psnr_sent: f64,
    frozen: usize,
    longest_freeze: usize,
    /// Lengths, in frames, of the times in which the picture was not as sent.
    episodes: Vec<usize>,
}

fn judge(clip: &Clip, sent: &[Option<Vec<u8>>], shown: &[Option<Vec<u8>>]) -> Judged {
    let grey = vec![128; clip.luma[0].len()];
    let (mut last_sent, mut last_shown) = (&grey, &grey);
    let mut judged = Judged::default();
    let (mut freeze, mut episode) = (0, 0);
    for (i, source) in clip.luma.iter().enumerate() {
        last_sent = sent[i].as_ref().unwrap_or(last_sent);
        match &shown[i] {
            Some(picture) => {
                last_shown = picture;
                freeze = 0;
            }
            None => {
                judged.frozen += 1;
                freeze += 1;
            }
        }
        judged.longest_freeze = judged.longest_freeze.max(freeze);
        judged.psnr += psnr(mse(source, last_shown));
        judged.psnr_sent += psnr(mse(source, last_sent));
        if psnr(mse(last_sent, last_shown)) < SAME {
            episode += 1;
        } else if episode > 0 {
            judged.episodes.push(episode);
            episode = 0;
        }
    }
    // The end cuts the last one short.
    judged.episodes.extend((episode > 0).then_some(episode));
    let count = clip.luma.len() as f64;
    judged.psnr /= count;
    judged.psnr_sent /= count;
    judged
}

/// The knob that gives about the wanted bit rate without loss.
fn calibrate(codec: &Codec, clip: &Clip, options: &Options) -> Result<u32> {
    let measure = |knob: u32| -> Result<f64> {
        let sender = Line::new(&(codec.send)(knob))?;
        sender.input.begin(&clip.info.to_caps()?);
        let mut bytes = 0;
        for (i, buffer) in clip.buffers.iter().enumerate() {
            let mut buffer = buffer.clone();
            let inner = buffer.make_mut();
            inner.set_pts(clip.frame * i as u64);
            inner.set_duration(clip.frame);
            sender.push(buffer)?;
            bytes += sender.output.take().iter().map(|p| p.size()).sum::<usize>();
        }
        let seconds = clip.frame.seconds_f64() * clip.buffers.len() as f64;
        Ok(8.0 * bytes as f64 / seconds / 1000.0)
    };
    let target = f64::from(options.bitrate);
    let mut knob = target;
    for _ in 0..3 {
        let got = measure(knob as u32)?;
        if (got / target - 1.0).abs() < 0.02 {
            break;
        }
        knob = (knob * target / got).clamp(target / 4.0, target * 4.0);
    }
    Ok(knob as u32)
}

fn default_clips() -> Result<Vec<PathBuf>> {
    let folder = std::env::var_os("AIVIDEO_CLIPS")
        .map(PathBuf::from)
        .context("no clip: name one by --video, or set AIVIDEO_CLIPS (`. ./env.sh`)")?;
    let mut clips: Vec<PathBuf> = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let kind = path.extension().and_then(|e| e.to_str());
            matches!(kind, Some("mp4" | "mkv" | "webm" | "mov"))
        })
        .collect();
    clips.sort();
    clips.truncate(2);
    if clips.is_empty() {
        bail!("no clip in {}: name one by --video", folder.display());
    }
    Ok(clips)
}

pub fn run(options: &Options) -> Result<()> {
    gst::init()?;
    if let Some(bad) = options.loss.iter().find(|l| !(0.0..=90.0).contains(*l)) {
        bail!("--loss {bad}: percentages from 0 to 90 can be lost");
    }
    let clips = match options.video.is_empty() {
        true => default_clips()?,
        false => options.video.clone(),
    };
    let mut absent = Vec::new();
    let mut present = Vec::new();
    for codec in codecs() {
        if options
            .only
            .as_ref()
            .is_some_and(|o| !codec.name.contains(o.as_str()))
        {
            continue;
        }
        let missing: Vec<&str> = codec
            .needs
            .iter()
            .copied()
            .filter(|name| gst::ElementFactory::find(name).is_none())
            .collect();
        match missing.is_empty() {
            true => present.push(codec),
            false => absent.push((codec.name, missing.join(", "))),
        }
    }
    let mut paths = vec![Channel {
        kind: Kind::None,
        loss: 0.0,
    }];
    for kind in [Kind::Random, Kind::Bursty] {
        paths.extend(options.loss.iter().map(|&loss| Channel { kind, loss }));
    }
    let mut steps = Steps::new(clips.len() * present.len());
    let mut runs = Vec::new();
    for path in &clips {
        let clip = read(path, options.frames, options.width)?;
        let mut knobs: Vec<(&str, u32)> = Vec::new();
        for codec in &present {
            let label = format!("{}: {}", clip.name, codec.name);
            let more = steps.run(&label, paths.len() as u64 + 1, |bar| {
                // Variants of one codec are coded alike.
                let known = knobs.iter().find(|(encoder, _)| *encoder == codec.needs[0]);
                let knob = match known {
                    Some((_, knob)) => *knob,
                    None => calibrate(codec, &clip, options)?,
                };
                knobs.push((codec.needs[0], knob));
                bar.inc(1);
                paths
                    .iter()
                    .map(|path| {
                        let run = simulate(codec, knob, &clip, path, options);
                        bar.inc(1);
                        run
                    })
                    .collect::<Result<Vec<_>>>()
            })?;
            runs.extend(more);
        }
    }
    print(&runs, &paths, &absent, options);
    if let Some(path) = &options.json {
        let absent: Vec<_> = absent
            .iter()
            .map(|(name, elements)| serde_json::json!({"codec": name, "missing": elements}))
            .collect();
        let all = serde_json::json!({
            "frames": options.frames, "latency_ms": options.latency, "rtt_ms": options.rtt,
            "burst": options.burst, "seed": options.seed, "full_reports": options.full_reports,
            "mtu": MTU, "runs": runs, "absent": absent,
        });
        std::fs::write(path, serde_json::to_vec_pretty(&all)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &options.csv {
        std::fs::write(path, csv(&runs)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn csv(runs: &[Run]) -> Result<String> {
    let mut out = String::new();
    for run in runs {
        let value = serde_json::to_value(run)?;
        let fields = value.as_object().context("a run is an object")?;
        if out.is_empty() {
            let names: Vec<&str> = fields.keys().map(String::as_str).collect();
            out = names.join(",") + "\n";
        }
        let values: Vec<String> = fields
            .values()
            .map(|v| match v.as_str() {
                Some(text) => format!("\"{}\"", text.replace('"', "\"\"")),
                None => v.to_string(),
            })
            .collect();
        out += &(values.join(",") + "\n");
    }
    Ok(out)
}

fn print(runs: &[Run], paths: &[Channel], absent: &[(&str, String)], options: &Options) {
    println!();
    println!(
        "means over the clips; jitter buffer {} ms, requests take {} ms, bursts of {} packets, seed {}",
        options.latency, options.rtt, options.burst, options.seed
    );
    println!(
        "{:<8} {:>5} {:<20} {:>7} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6} {:>6}",
        "loss",
        "%",
        "codec",
        "kbit/s",
        "Y-PSNR",
        "as sent",
        "frozen s",
        "longest",
        "damaged %",
        "recov. s",
        "max s",
        "keys",
        "recov."
    );
    let mut names: Vec<&str> = Vec::new();
    for run in runs {
        if !names.contains(&run.codec) {
            names.push(run.codec);
        }
    }
    for path in paths {
        for name in &names {
            let of: Vec<&Run> = runs
                .iter()
                .filter(|r| r.codec == *name && r.kind == path.kind && r.loss == path.loss)
                .collect();
            if of.is_empty() {
                continue;
            }
            let mean =
                |f: &dyn Fn(&Run) -> f64| of.iter().map(|r| f(r)).sum::<f64>() / of.len() as f64;
            let max = |f: &dyn Fn(&Run) -> f64| of.iter().map(|r| f(r)).fold(0.0, f64::max);
            println!(
                "{:<8} {:>5} {:<20} {:>7.0} {:>8.2} {:>8.2} {:>9.2} {:>9.2} {:>9.1} {:>9.2} {:>9.2} {:>6.1} {:>6.1}",
                path.kind.name(),
                path.loss,
                name,
                mean(&|r| r.kbits),
                mean(&|r| r.psnr_y),
                mean(&|r| r.psnr_y_sent),
                mean(&|r| r.frozen),
                max(&|r| r.longest_freeze),
                mean(&|r| r.damaged),
                mean(&|r| r.recovery_mean),
                max(&|r| r.recovery_max),
                mean(&|r| r.key_frames as f64),
                mean(&|r| r.recovery_frames as f64),
            );
        }
    }
    for (name, elements) in absent {
        println!(
            "{:<14} {name:<20} not measured: GStreamer has no {elements}",
            ""
        );
    }
    let recovered: Vec<&Run> = runs.iter().filter(|r| r.recovery_frames > 0).collect();
    if !recovered.is_empty() {
        let count: u64 = recovered.iter().map(|r| r.recovery_frames).sum();
        let bytes: f64 = recovered
            .iter()
            .map(|r| r.recovery_frame_bytes * r.recovery_frames as f64)
            .sum();
        let keys: f64 = recovered.iter().map(|r| r.key_frame_bytes).sum();
        println!(
            "recovery frames: {count}, {:.0} bytes each; key frames of the same runs: {:.0} bytes",
            bytes / count as f64,
            keys / recovered.len() as f64
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dropper_keeps_its_rate_and_its_bursts() {
        for kind in [Kind::Random, Kind::Bursty] {
            for rate in [0.01, 0.2] {
                let mut dropper = Dropper::new(7, kind, rate, 4.0);
                let lost: Vec<bool> = (0..200_000).map(|_| dropper.drops()).collect();
                let share = lost.iter().filter(|l| **l).count() as f64 / lost.len() as f64;
                assert!(
                    (share / rate - 1.0).abs() < 0.15,
                    "{kind:?} {rate}: {share}"
                );
                let bursts = lost.windows(2).filter(|w| !w[0] && w[1]).count();
                let length = share * lost.len() as f64 / bursts as f64;
                let expected = if kind == Kind::Bursty {
                    4.0
                } else {
                    1.0 / (1.0 - rate)
                };
                assert!((length / expected - 1.0).abs() < 0.1, "{kind:?}: {length}");
            }
        }
        let drops = |seed| {
            let mut dropper = Dropper::new(seed, Kind::Random, 0.5, 1.0);
            (0..64).map(|_| dropper.drops()).collect::<Vec<_>>()
        };
        assert!(drops(1) == drops(1) && drops(1) != drops(2));
    }

    #[test]
    fn freezes_and_episodes_are_counted() {
        gst::init().unwrap();
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 16, 16)
            .build()
            .unwrap();
        let luma: Vec<Vec<u8>> = (0..6).map(|i| vec![100 + 10 * i; 256]).collect();
        let clip = Clip {
            name: String::new(),
            info,
            buffers: Vec::new(),
            luma: luma.clone(),
            frame: gst::ClockTime::from_mseconds(40),
        };
        let sent: Vec<_> = luma.iter().cloned().map(Some).collect();
        let all = judge(&clip, &sent, &sent);
        assert_eq!((all.psnr, all.frozen, all.episodes.len()), (100.0, 0, 0));
        let mut shown = sent.clone();
        shown[1] = None;
        shown[2] = None;
        shown[4] = Some(vec![0; 256]);
        let judged = judge(&clip, &sent, &shown);
        assert_eq!((judged.frozen, judged.longest_freeze), (2, 2));
        assert_eq!(judged.episodes, [2, 1]);
        assert!(judged.psnr < judged.psnr_sent);
    }
}
