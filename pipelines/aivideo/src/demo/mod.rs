// SPDX-License-Identifier: Apache-2.0
//! `aivideo demo`: the main job on a real clip, measured against x265 in the same run.

pub mod clip;
pub mod elements;
pub mod lines;
mod matched;
mod report;
mod stream;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::environment;
use crate::ffmpeg::Ffmpeg;
use crate::progress::Steps;
use crate::rawclip::RawClip;
use lines::Link;
use report::{OurPoint, Results, Still, Transport};

pub const DEFAULT_FRAMES: u64 = 250;
pub const DEFAULT_QUALITY: u32 = 32;
pub const DEFAULT_PORT: u16 = 5004;

/// Every element the two lines name, so that one message tells all that is missing.
const NEEDED: &[&str] = &[
    "aicodecenc",
    "aicodecdec",
    "aicodecparse",
    "rtpaicodecpay",
    "rtpaicodecdepay",
    "vjepa2classify",
    "aienhance",
    "fxfilter",
    "decodebin",
    "videoconvert",
    "videoscale",
    "rawvideoparse",
    "udpsink",
    "udpsrc",
    "rtpjitterbuffer",
    "x264enc",
    "h264parse",
    "mp4mux",
    "qtdemux",
];

#[derive(Args)]
pub struct Options {
    /// The clip to send (default: bikes.mp4, which `make bootstrap` fetches)
    #[arg(long)]
    video: Option<PathBuf>,
    /// Directory for demo.mp4, report.html and results.json
    #[arg(long, default_value = "demo-out")]
    out: PathBuf,
    /// Use at most so many frames; a longer clip is cut
    #[arg(long, default_value_t = DEFAULT_FRAMES, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    frames: u64,
    /// Quality of aicodecenc, 0 (smallest) to 63 (best)
    #[arg(long, default_value_t = DEFAULT_QUALITY, value_parser = clap::value_parser!(u32).range(0..=63))]
    quality: u32,
    /// UDP port on loopback; another one is taken when this one is in use
    #[arg(long, default_value_t = DEFAULT_PORT)]
    port: u16,
    /// Weights of the codec instead of the built-in ones, as aicodecenc's model-location takes them
    #[arg(long)]
    codec_model: Option<PathBuf>,
    /// Keep the clip's own size instead of scaling it down to the area of 640x360
    #[arg(long)]
    full_size: bool,
}

pub fn run(options: &Options) -> Result<()> {
    gst::init().context("GStreamer does not start")?;
    // In the order in which a person can cure them, and before anything is written.
    let video = match &options.video {
        Some(video) => video.clone(),
        None => environment::clip("bikes.mp4")?,
    };
    let found = clip::probe(&video)?;
    environment::require_elements(NEEDED)?;
    let ffmpeg = Ffmpeg::new(environment::ffmpeg()?);

    let output = Output::make(&options.out)?;
    let results = measure(options, &video, &found, &ffmpeg, &output)?;
    table::print(&results);
    output.keep();
    println!("\nclip   {}", options.out.join("demo.mp4").display());
    println!("report {}", options.out.join("report.html").display());
    Ok(())
}

/// The output directory. Unless `keep` is called, what the demo put there goes again.
struct Output {
    dir: PathBuf,
    created: bool,
    work: Option<tempfile::TempDir>,
    kept: std::cell::Cell<bool>,
}

impl Output {
    fn make(dir: &Path) -> Result<Self> {
        let created = !dir.exists();
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let work = tempfile::Builder::new()
            .prefix(".work-")
            .tempdir_in(dir)
            .with_context(|| format!("cannot write to {}", dir.display()))?;
        Ok(Self {
            dir: dir.to_path_buf(),
            created,
            work: Some(work),
            kept: false.into(),
        })
    }

    fn work(&self) -> Result<&Path> {
        self.work
            .as_ref()
            .map(tempfile::TempDir::path)
            .context("the working directory is gone")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn keep(&self) {
        self.kept.set(true);
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        drop(self.work.take());
        if !self.kept.get() {
            // An earlier run's report stays; what this run began is incomplete.
            for name in ["demo.mp4", "clip.mkv"] {
                let _ = std::fs::remove_file(self.file(name));
            }
            if self.created {
                let _ = std::fs::remove_dir(&self.dir);
            }
        }
    }
}

fn measure(
    options: &Options,
    video: &Path,
    found: &clip::Found,
    ffmpeg: &Ffmpeg,
    output: &Output,
) -> Result<Results> {
    let work = output.work()?;
    let mut steps = Steps::new(6);
    let (width, height) = if options.full_size {
        found.even_size()
    } else {
        found.demo_size()
    };

    // The sender sends a file to its end, so a long clip is cut first.
    let cut = output.file("clip.mkv");
    let long = found.frames.is_none_or(|frames| frames > options.frames);
    let sent = if long { cut.as_path() } else { video };
    let source = steps.run("reading the clip", options.frames, |bar| {
        if long {
            clip::cut(video, options.frames, ffmpeg, &cut)?;
        }
        clip::read(sent, found, (width, height), &work.join("source.i420"), bar)
    })?;

    let link = Link {
        video: sent,
        width,
        height,
        quality: options.quality,
        port: stream::free_port(options.port)?,
        output: &output.file("demo.mp4"),
        model: options.codec_model.as_deref(),
    };
    eprintln!(
        "\nreceiver:\n{}\n\nsender:\n{}\n",
        lines::receiver_text(&link),
        lines::sender_text(&link)
    );
    let streamed = steps.run("the main job over UDP", 0, |bar| stream::run(&link, bar))?;
    let received = clip::count_mp4(link.output)?;
    if received == 0 {
        bail!("no frame came through: {} is empty", link.output.display());
    }

    let qualities = qualities(options.quality);
    let (ours, decoded, speeds) = steps.run(
        "the codec alone, real files",
        source.frames * 2 * qualities.len() as u64,
        |bar| codec_points(&source, &qualities, &link, ffmpeg, work, bar),
    )?;

    let (mut speeds, enhanced) = steps.run("each element alone", 4, |bar| {
        let stream = work.join(format!("q{}.aic", options.quality));
        let enhanced = work.join("enhanced.i420");
        let files = elements::Files {
            stream: &stream,
            decoded: &decoded,
            enhanced: &enhanced,
        };
        let (others, enhanced) = elements::others(&files, bar)?;
        let mut speeds = speeds;
        speeds.extend(others);
        Ok((speeds, enhanced))
    })?;
    speeds.sort_by_key(|speed| table::ORDER.iter().position(|name| *name == speed.element));
    let enhanced_frames = enhanced.count()?;
    if streamed.classifications.is_empty() {
        // Too short for one clip: frames that only passed say nothing about the model's speed.
        speeds.retain(|speed| speed.element != "vjepa2classify");
    }

    let main = ours
        .iter()
        .find(|point| point.quality == options.quality)
        .context("no main point")?;
    let wanted = main.measured.psnr_y;
    let anchors = steps.run("x265 at the same Y-PSNR", 0, |bar| {
        matched::anchors()?
            .into_iter()
            .map(|anchor| {
                bar.set_message(anchor.name);
                matched::match_psnr(anchor, ffmpeg, &source, wanted, work, |p| {
                    bar.set_message(format!(
                        "{} crf {:.1}: {:.2} dB",
                        anchor.name, p.crf, p.psnr_y
                    ));
                })
                .with_context(|| anchor.name)
            })
            .collect::<Result<Vec<_>>>()
    })?;

    let transport = Transport {
        frames_sent: source.frames,
        frames_received: received,
        kernel_drops: streamed.kernel_drops,
        seconds: streamed.seconds,
        warnings: streamed.warnings,
    };
    let results = Results {
        video: video.display().to_string(),
        found: format!(
            "{}x{}, {:.3} frames a second",
            found.width,
            found.height,
            source.rate()
        ),
        width,
        height,
        frames: source.frames,
        fps: source.rate(),
        quality: options.quality,
        enhanced_frames,
        ours,
        anchors,
        speeds,
        transport,
        top: table::top_classes(&streamed.classifications, 5),
        clips: streamed.classifications.len(),
        receiver: lines::receiver_text(&link),
        sender: lines::sender_text(&link),
        machine: environment::machine(),
        gstreamer: gst::version_string().to_string(),
    };
    steps.run("the report", 0, |_| {
        let frame = source.frames / 2;
        let stills = stills(
            &source,
            &decoded,
            &results.anchors[0].input,
            link.output,
            frame,
            ffmpeg,
            work,
        )?;
        report::write(&results, frame, &stills, &output.file("report.html"))?;
        let json = serde_json::to_string_pretty(&results)?;
        std::fs::write(output.file("results.json"), json).context("cannot write results.json")
    })?;
    Ok(results)
}

/// Three points of the curve: the one asked for and one on each side.
fn qualities(main: u32) -> Vec<u32> {
    let mut all = vec![main.saturating_sub(16), main, (main + 16).min(63)];
    all.dedup();
    all
}

fn codec_points(
    source: &RawClip,
    qualities: &[u32],
    link: &Link,
    ffmpeg: &Ffmpeg,
    work: &Path,
    bar: &indicatif::ProgressBar,
) -> Result<(Vec<OurPoint>, RawClip, Vec<elements::Speed>)> {
    let mut points = Vec::new();
    let mut kept = None;
    for &quality in qualities {
        let stream = work.join(format!("q{quality}.aic"));
        let decoded = RawClip {
            path: work.join(format!("q{quality}.i420")),
            ..source.clone()
        };
        bar.reset();
        let (encoding, decoding) =
            elements::encode_and_decode(source, quality, link.model, &stream, &decoded.path, bar)?;
        let frames = decoded.count()?;
        if frames != source.frames {
            bail!(
                "quality {quality}: {} frames were encoded but {frames} decoded",
                source.frames
            );
        }
        let bytes = std::fs::metadata(&stream)?.len();
        bar.set_message("PSNR, SSIM, VMAF");
        let measured = ffmpeg.quality(&decoded.ffmpeg_input(), source)?;
        points.push(OurPoint {
            quality,
            bytes,
            measured,
        });
        if quality == link.quality {
            kept = Some((decoded, vec![encoding, decoding]));
        } else {
            std::fs::remove_file(&decoded.path)?;
        }
    }
    let (decoded, speeds) = kept.context("the main quality was not measured")?;
    Ok((points, decoded, speeds))
}

fn stills(
    source: &RawClip,
    decoded: &RawClip,
    anchor: &[String],
    end: &Path,
    frame: u64,
    ffmpeg: &Ffmpeg,
    work: &Path,
) -> Result<Vec<Still>> {
    let mp4 = vec!["-i".to_owned(), end.display().to_string()];
    let wanted = [
        ("source", source.ffmpeg_input(), "source.png"),
        ("aicodec, decoded", decoded.ffmpeg_input(), "decoded.png"),
        (
            "x265 ultrafast at the same Y-PSNR",
            anchor.to_vec(),
            "anchor.png",
        ),
        ("at the end of the pipeline", mp4, "end.jpg"),
    ];
    wanted
        .into_iter()
        .map(|(caption, input, name)| {
            let file = work.join(name);
            ffmpeg.still(&input, frame, &file)?;
            let kind = if name.ends_with("png") {
                "image/png"
            } else {
                "image/jpeg"
            };
            Ok(Still {
                caption,
                kind,
                bytes: std::fs::read(&file)?,
            })
        })
        .collect()
}

/// A fraction above zero out of caps.
fn fraction(structure: &gst::StructureRef, field: &str) -> Option<(i32, i32)> {
    let value = structure.get::<gst::Fraction>(field).ok()?;
    (value.numer() > 0).then(|| (value.numer(), value.denom()))
}
