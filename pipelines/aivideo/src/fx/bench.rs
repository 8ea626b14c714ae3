// SPDX-License-Identifier: Apache-2.0
//! `aivideo bench fx`: what each effect costs at 4K on one core, beside its peers in ffmpeg,
//! frei0r (which ffmpeg loads) and GStreamer.
//!
//! Every case is a process of its own, pinned to one core with all of its threads. Frames come
//! from a file, in the format that the peer works in, so that no conversion is counted against
//! it; a process that does the same without the effect is subtracted. What counts is processor
//! time, so that other work on the machine does not; and of it the programs' own, as the kernel's
//! is for reading the file and for handing out pages, which differs more between two runs than
//! the cheapest effects cost.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::environment;
use crate::progress::Steps;

#[derive(Args)]
pub struct Options {
    /// Width and height
    #[arg(long, default_value = "3840x2160")]
    size: String,
    /// Rounds; every case runs once in each, and medians are reported
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Processor seconds that one case may take in a round, about
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Only effects whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// The format of our frames
    #[arg(long, default_value = "NV12", value_parser = ["NV12", "I420"])]
    format: String,
    /// Write the figures to this JSON file too
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Who runs an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// A filter of ffmpeg and the pixel format it works in.
    Ffmpeg(&'static str, &'static str),
    /// A frei0r plugin with its parameters.
    Frei0r(&'static str, &'static str),
    /// An element of GStreamer and the format it works in.
    Gst(&'static str, &'static str),
}

/// One of our chains and what others offer for the same.
struct Case {
    chain: &'static str,
    /// A function of each pixel alone, which should run at 240 frames a second.
    point: bool,
    peers: &'static [Peer],
}

const fn case(chain: &'static str, peers: &'static [Peer]) -> Case {
    Case {
        chain,
        point: false,
        peers,
    }
}

const fn point(chain: &'static str, peers: &'static [Peer]) -> Case {
    Case {
        chain,
        point: true,
        peers,
    }
}

use Peer::{Ffmpeg, Frei0r, Gst};

const CASES: &[Case] = &[
    point(
        "posterize:num-levels=8",
        &[
            Ffmpeg(
                "lutyuv=y='round(val/36.43)*36.43':u='round(val/36.43)*36.43':v='round(val/36.43)*36.43'",
                "yuv420p",
            ),
            Frei0r("posterize", "0.03"),
        ],
    ),
    point(
        "threshold",
        &[
            Ffmpeg(
                "lutyuv=y='255*gt(val,127)':u='255*gt(val,127)':v='255*gt(val,127)'",
                "yuv420p",
            ),
            Frei0r("threshold0r", "0.5"),
        ],
    ),
    point(
        "invert",
        &[
            Ffmpeg("negate", "yuv420p"),
            Frei0r("invert0r", ""),
            Gst("coloreffects preset=xray", "RGBA"),
        ],
    ),
    point(
        "sepia",
        &[
            Ffmpeg(
                "colorchannelmixer=.393:.769:.189:0:.349:.686:.168:0:.272:.534:.131",
                "gbrp",
            ),
            Gst("coloreffects preset=sepia", "AYUV"),
        ],
    ),
    point(
        "duotone",
        &[Ffmpeg("colorize=hue=40", "yuv420p"), Frei0r("tint0r", "")],
    ),
    point(
        "thermal",
        &[
            Ffmpeg("pseudocolor=preset=inferno", "yuv420p"),
            Gst("coloreffects preset=heat", "AYUV"),
        ],
    ),
    case(
        "lut:file=\"CUBE\"",
        &[Ffmpeg("lut3d=file=CUBE:interp=tetrahedral", "gbrp")],
    ),
    case(
        "chroma-key:to=color",
        &[
            Ffmpeg("chromakey=color=green:similarity=0.2:blend=0.1", "yuva420p"),
            Frei0r("bluescreen0r", ""),
            Gst("alpha method=green", "AYUV"),
        ],
    ),
    case(
        "vignette",
        &[Ffmpeg("vignette", "yuv420p"), Frei0r("vignette", "")],
    ),
    point("scanlines", &[Frei0r("scanline0r", "")]),
    case(
        "rgb-shift",
        &[
            Ffmpeg("rgbashift=rh=30:bh=-30", "gbrp"),
            Frei0r("rgbsplit0r", ""),
        ],
    ),
    case("glitch", &[Frei0r("glitch0r", "")]),
    case(
        "vhs",
        &[Ffmpeg(
            "avgblur=3,chromashift=cbh=9:crh=9,noise=alls=20:allf=t",
            "yuv420p",
        )],
    ),
    case(
        "pixelate",
        &[Ffmpeg("pixelize=16:16", "yuv420p"), Frei0r("pixeliz0r", "")],
    ),
    case(
        "blur",
        &[
            Ffmpeg("gblur=sigma=3", "yuv420p"),
            Frei0r("IIRblur", "0.1"),
            Gst("gaussianblur sigma=3", "AYUV"),
        ],
    ),
    case(
        "box-blur",
        &[
            Ffmpeg("boxblur=4:1", "yuv420p"),
            Ffmpeg("avgblur=4", "yuv420p"),
            Frei0r("squareblur", "0.01"),
        ],
    ),
    case("bokeh", &[Frei0r("softglow", "")]),
    case(
        "sharpen",
        &[
            Ffmpeg("unsharp=5:5:1:5:5:0", "yuv420p"),
            Frei0r("sharpness", ""),
            Gst("gaussianblur sigma=-1.2", "AYUV"),
        ],
    ),
    case(
        "edge",
        &[
            Ffmpeg("sobel", "yuv420p"),
            Ffmpeg("edgedetect", "gray"),
            Frei0r("sobel", ""),
            Gst("edgetv", "BGRx"),
        ],
    ),
    case(
        "emboss",
        &[
            Ffmpeg(
                "convolution=-2 -1 0 -1 1 1 0 1 2:0m=-2 -1 0 -1 1 1 0 1 2",
                "yuv420p",
            ),
            Frei0r("emboss", ""),
        ],
    ),
    case("neon", &[Frei0r("edgeglow", "")]),
    case("cartoon", &[Frei0r("cartoon", "")]),
    case("dither", &[Frei0r("dither", "")]),
    case("dither:method=blue-noise", &[Frei0r("dither", "")]),
    case(
        "dither:method=floyd-steinberg",
        &[Ffmpeg("scale=sws_dither=ed,format=rgb8", "bgra")],
    ),
    case("halftone", &[Frei0r("colorhalftone", "")]),
    case(
        "old-film",
        &[
            Ffmpeg("noise=alls=20:allf=t,hue=s=0", "yuv420p"),
            Gst("agingtv", "BGRx"),
        ],
    ),
    case("mirror", &[Gst("mirror", "AYUV"), Frei0r("flippo", "y")]),
    case("kaleidoscope", &[Gst("kaleidoscope", "AYUV")]),
    case(
        "trails",
        &[
            Ffmpeg("lagfun=decay=0.8", "yuv420p"),
            Ffmpeg("tmix=frames=5", "yuv420p"),
            Gst("streaktv", "BGRx"),
            Frei0r("lightgraffiti", ""),
        ],
    ),
];

#[derive(Serialize)]
struct Figure {
    chain: String,
    point: bool,
    /// Processor milliseconds a frame.
    ms: f64,
    fps: f64,
    peers: Vec<PeerFigure>,
    /// The fastest peer's time over ours.
    ratio: Option<f64>,
}

#[derive(Serialize)]
struct PeerFigure {
    name: String,
    ms: f64,
}

#[derive(Serialize)]
struct Report {
    size: String,
    format: String,
    rounds: u32,
    machine: String,
    gstreamer: String,
    ffmpeg: String,
    left_out: Vec<String>,
    effects: Vec<Figure>,
}

struct Bench {
    width: usize,
    height: usize,
    work: tempfile::TempDir,
    ffmpeg: PathBuf,
    cube: PathBuf,
    seconds: f64,
    /// Milliseconds a frame without an effect, by framework and format.
    bare: Vec<((bool, String), f64)>,
}

pub fn run(options: &Options) -> Result<()> {
    gst::init().context("GStreamer does not start")?;
    environment::require_elements(&["fxfilter", "multifilesrc"])?;
    let (width, height) = options
        .size
        .split_once('x')
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)))
        .filter(|(w, h): &(usize, usize)| (16..=8192).contains(w) && (16..=8192).contains(h))
        .with_context(|| format!("the size is WIDTHxHEIGHT, not \"{}\"", options.size))?;
    pin()?;
    let work = tempfile::tempdir().context("no temporary directory")?;
    let cube = work.path().join("bench.cube");
    std::fs::write(&cube, super::gallery::teal_and_orange())?;
    let mut bench = Bench {
        width,
        height,
        ffmpeg: environment::ffmpeg()?,
        cube,
        work,
        seconds: options.seconds,
        bare: Vec::new(),
    };
    let mut left_out = Vec::new();
    let cases: Vec<(&Case, Vec<Peer>)> = CASES
        .iter()
        .filter(|case| options.only.as_ref().is_none_or(|o| case.chain.contains(o)))
        .map(|case| {
            let (here, missing): (Vec<Peer>, Vec<Peer>) =
                case.peers.iter().partition(|peer| is_here(peer));
            left_out.extend(missing.iter().map(name));
            (case, here)
        })
        .collect();
    if cases.is_empty() {
        bail!("no effect has such a name");
    }
    left_out.sort();
    left_out.dedup();

    let total: usize = cases.iter().map(|(_, peers)| peers.len() + 1).sum();
    let mut steps = Steps::new(1);
    let mut times: Vec<Vec<Vec<f64>>> = cases
        .iter()
        .map(|(_, peers)| vec![Vec::new(); peers.len() + 1])
        .collect();
    steps.run(
        "effects and their peers",
        total as u64 * u64::from(options.rounds),
        |bar| {
            for _ in 0..options.rounds {
                // One round after the other, so that what else the machine does hits all alike.
                bench.bare.clear();
                for ((case, peers), times) in cases.iter().zip(&mut times) {
                    times[0].push(bench.ours(case.chain, &options.format, bar)?);
                    for (peer, times) in peers.iter().zip(&mut times[1..]) {
                        times.push(bench.peer(peer, bar)?);
                    }
                }
            }
            Ok(())
        },
    )?;

    let effects = cases
        .iter()
        .zip(&times)
        .map(|((case, peers), times)| {
            let ms = median(&times[0]);
            let peers: Vec<PeerFigure> = peers
                .iter()
                .zip(&times[1..])
                .map(|(peer, times)| PeerFigure {
                    name: name(peer),
                    ms: median(times),
                })
                .collect();
            let fastest = peers.iter().map(|p| p.ms).reduce(f64::min);
            Figure {
                chain: case.chain.into(),
                point: case.point,
                ms,
                fps: 1000.0 / ms,
                ratio: fastest.map(|peer| peer / ms),
                peers,
            }
        })
        .collect();
    let report = Report {
        size: options.size.clone(),
        format: options.format.clone(),
        rounds: options.rounds,
        machine: environment::machine(),
        gstreamer: gst::version_string().to_string(),
        ffmpeg: bench.ffmpeg_version(),
        left_out,
        effects,
    };
    print(&report);
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// This process and its children run on one core, the last of those allowed.
fn pin() -> Result<()> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None).context("the allowed cores are not known")?;
    let mut one = CpuSet::new();
    if let Some(core) = (0..CpuSet::MAX_CPU)
        .rev()
        .find(|core| allowed.is_set(*core))
    {
        one.set(core);
        sched_setaffinity(None, &one).context("cannot stay on one core")?;
    }
    Ok(())
}

fn frei0r_folder() -> Option<PathBuf> {
    let paths = std::env::var("FREI0R_PATH").unwrap_or_default();
    paths
        .split(':')
        .filter(|path| !path.is_empty())
        .chain([
            "/usr/lib/frei0r-1",
            "/usr/local/lib/frei0r-1",
            "/usr/lib64/frei0r-1",
        ])
        .map(PathBuf::from)
        .find(|path| path.is_dir())
}

fn is_here(peer: &Peer) -> bool {
    match peer {
        Ffmpeg(..) => true,
        Frei0r(plugin, _) => {
            frei0r_folder().is_some_and(|folder| folder.join(format!("{plugin}.so")).is_file())
        }
        Gst(element, _) => {
            let factory = element.split(' ').next().unwrap_or_default();
            gst::ElementFactory::find(factory).is_some()
        }
    }
}

fn name(peer: &Peer) -> String {
    let word = |text: &str| {
        text.split(['=', ' '])
            .next()
            .unwrap_or_default()
            .to_string()
    };
    match peer {
        Ffmpeg(filter, _) => {
            let names: Vec<_> = filter
                .split(',')
                .filter(|part| part.starts_with(|c: char| c.is_ascii_alphabetic()))
                .map(word)
                .collect();
            // Commas inside of expressions are no filters.
            match filter.starts_with("lut") {
                true => format!("ffmpeg {}", names[0]),
                false => format!("ffmpeg {}", names.join(",")),
            }
        }
        Frei0r(plugin, _) => format!("frei0r {plugin}"),
        Gst(element, _) => format!("GStreamer {element}"),
    }
}

impl Bench {
    fn ours(&mut self, chain: &str, format: &str, bar: &ProgressBar) -> Result<f64> {
        bar.set_message(chain.to_string());
        let chain = chain.replace("CUBE", &self.cube.to_string_lossy());
        // The folder's name needs no quotation marks, and the tool would escape them.
        let element = format!("fxfilter effects={}", chain.replace('"', ""));
        let time = self.measure(true, format, &element)?;
        bar.inc(1);
        Ok(time)
    }

    fn peer(&mut self, peer: &Peer, bar: &ProgressBar) -> Result<f64> {
        bar.set_message(name(peer));
        let time = match peer {
            Ffmpeg(filter, format) => {
                let filter = filter.replace("CUBE", &self.cube.to_string_lossy());
                self.measure(false, format, &filter)
            }
            Frei0r(plugin, "") => self.measure(false, "rgba", &format!("frei0r={plugin}")),
            Frei0r(plugin, parameters) => {
                self.measure(false, "rgba", &format!("frei0r={plugin}:{parameters}"))
            }
            Gst(element, format) => self.measure(true, format, element),
        };
        bar.inc(1);
        time.with_context(|| name(peer))
    }

    /// Milliseconds that an effect takes, less those of a pipeline without it.
    fn measure(&mut self, gst: bool, format: &str, effect: &str) -> Result<f64> {
        let key = (gst, format.to_string());
        let bare = match self.bare.iter().find(|(known, _)| *known == key) {
            Some((_, time)) => *time,
            None => {
                let nothing = if gst { "identity" } else { "null" };
                let time = self.slope(gst, format, nothing)?;
                self.bare.push((key, time));
                time
            }
        };
        // Less than this cannot be told from nothing.
        Ok((self.slope(gst, format, effect)? - bare).max(0.05))
    }

    /// Milliseconds a frame, from runs of few and of many frames.
    fn slope(&self, gst: bool, format: &str, effect: &str) -> Result<f64> {
        let few = 3;
        let first = self.time(gst, format, effect, few)?;
        let some = self.time(gst, format, effect, 2 * few)?;
        let frame = ((some - first) / few as f64).max(0.001);
        let many = ((self.seconds / frame) as u64).clamp(2 * few, 600);
        let last = self.time(gst, format, effect, few + many)?;
        Ok((last - first) / many as f64 * 1000.0)
    }

    /// Processor seconds of a run.
    fn time(&self, gst: bool, format: &str, effect: &str, frames: u64) -> Result<f64> {
        let file = self.frame(gst, format)?;
        let (width, height) = (self.width, self.height);
        let mut command;
        if gst {
            command = Command::new("gst-launch-1.0");
            let pipeline = format!(
                "multifilesrc location={} loop=true num-buffers={frames} \
                 caps=video/x-raw,format=(string){format},width={width},height={height},framerate=(fraction)30/1 \
                 ! {effect} ! fakesink",
                file.display()
            );
            command.arg("-q").args(pipeline.split_whitespace());
        } else {
            command = Command::new(&self.ffmpeg);
            command
                .args([
                    "-v",
                    "error",
                    "-nostdin",
                    "-threads",
                    "1",
                    "-filter_threads",
                    "1",
                ])
                .args(["-f", "rawvideo", "-pixel_format", format, "-video_size"])
                .arg(format!("{width}x{height}"))
                .args(["-stream_loop", "-1", "-i"])
                .arg(file)
                .args(["-vf", effect, "-frames:v", &frames.to_string()])
                .args(["-f", "null", "-"]);
            if let Some(folder) = frei0r_folder() {
                command.env("FREI0R_PATH", folder);
            }
        }
        let before = children_seconds()?;
        let output = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {command:?}"))?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr).trim().to_string();
            bail!("{command:?} failed: {error}");
        }
        Ok(children_seconds()? - before)
    }

    /// A file with a frame of smooth noise in a format.
    fn frame(&self, gst: bool, format: &str) -> Result<PathBuf> {
        let of_ffmpeg = match format {
            "NV12" => "nv12",
            "I420" => "yuv420p",
            // The bytes' order differs, their cost does not.
            "AYUV" => "vuya",
            "RGBA" => "rgba",
            "BGRx" => "bgra",
            other => other,
        };
        let kind = if gst { "gst" } else { "ffmpeg" };
        let path = self.work.path().join(format!("{kind}-{format}.raw"));
        if !path.is_file() {
            let source = format!(
                "testsrc2=size={}x{},noise=alls=25,format={of_ffmpeg}",
                self.width, self.height
            );
            let status = Command::new(&self.ffmpeg)
                .args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", &source])
                .args(["-frames:v", "1", "-f", "rawvideo"])
                .arg(&path)
                .status()
                .context("cannot start ffmpeg")?;
            if !status.success() {
                bail!("cannot make a frame in {format}");
            }
        }
        Ok(path)
    }

    fn ffmpeg_version(&self) -> String {
        let output = Command::new(&self.ffmpeg).arg("-version").output();
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        let text = text.unwrap_or_default();
        let words: Vec<_> = text.split_whitespace().take(3).collect();
        words.join(" ")
    }
}

/// Processor time that the children which have ended spent themselves.
fn children_seconds() -> Result<f64> {
    let text =
        std::fs::read_to_string(Path::new("/proc/self/stat")).context("no /proc/self/stat")?;
    // The second field is a name that may hold blanks.
    let fields = text.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = fields
        .split_whitespace()
        .nth(13)
        .and_then(|word| word.parse().ok())
        .context("an odd /proc/self/stat")?;
    Ok(ticks / rustix::param::clock_ticks_per_second() as f64)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn print(report: &Report) {
    println!();
    println!(
        "{} {}, one core, processor time, median of {} rounds; {}; {}; {}",
        report.size, report.format, report.rounds, report.machine, report.gstreamer, report.ffmpeg
    );
    println!();
    println!(
        "{:<32} {:>9} {:>9} {:>8}  peers, ms a frame",
        "chain", "ms/frame", "fps", "ratio"
    );
    for figure in &report.effects {
        let peers: Vec<_> = figure
            .peers
            .iter()
            .map(|peer| format!("{} {:.2}", peer.name, peer.ms))
            .collect();
        let ratio = figure
            .ratio
            .map_or("-".into(), |ratio| format!("{ratio:.1}x"));
        println!(
            "{:<32} {:>9.2} {:>9.1} {ratio:>8}  {}",
            figure.chain.split(":file").next().unwrap_or_default(),
            figure.ms,
            figure.fps,
            peers.join("; ")
        );
    }
    if !report.left_out.is_empty() {
        println!("\nnot installed: {}", report.left_out.join(", "));
    }
    println!();
    let gate = |name: &str, met: bool, what: String| {
        println!("{} {name}: {what}", if met { "met   " } else { "missed" });
    };
    for figure in &report.effects {
        if figure.chain.starts_with("posterize")
            && let Some(ratio) = figure.ratio
        {
            let what = format!("{ratio:.1} times the fastest peer");
            gate(
                "posterise at least twice the fastest peer",
                ratio >= 2.0,
                what,
            );
        }
    }
    let list = |figures: Vec<String>| match figures.is_empty() {
        true => "all".into(),
        false => format!("not {}", figures.join(", ")),
    };
    let slower: Vec<_> = report
        .effects
        .iter()
        .filter(|f| f.ratio.is_some_and(|ratio| ratio < 1.0))
        .map(|f| f.chain.clone())
        .collect();
    gate(
        "every effect at least as fast as its fastest peer",
        slower.is_empty(),
        list(slower),
    );
    let slower: Vec<_> = report
        .effects
        .iter()
        .filter(|f| f.point && f.fps < 240.0)
        .map(|f| f.chain.clone())
        .collect();
    gate(
        "point effects at 240 frames a second",
        slower.is_empty(),
        list(slower),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_effect_is_measured() {
        for effect in aivideo_fx::registry::EFFECTS {
            let known = CASES
                .iter()
                .any(|case| case.chain.split(':').next() == Some(effect.name));
            assert!(known, "{}", effect.name);
        }
        for case in CASES {
            let chain = case.chain.replace("CUBE", "a.cube");
            aivideo_fx::parse::parse(&chain).expect(case.chain);
        }
    }

    #[test]
    fn peers_have_short_names() {
        assert_eq!(name(&CASES[0].peers[0]), "ffmpeg lutyuv");
        assert_eq!(
            name(&Ffmpeg("avgblur=3,noise=alls=20", "gray")),
            "ffmpeg avgblur,noise"
        );
    }
}
