// SPDX-License-Identifier: Apache-2.0
//! Constant bitrate, measured: every clip of a folder (looped to twelve seconds, and all of them one
//! after the other) at several rates; how far the mean, the worst ten seconds and the worst second are
//! from the rate, and the quality, beside x264 and x265 at constant bitrate on the same pictures.
//!
//! ```text
//! cargo run --release -p aivideo-codec --example ratecontrol -- [options] [folder or clip...]
//!   --bits X,X     bits a pixel that make the rates (default 0.06,0.12)
//!   --seconds N    length of each run (default 12)      --height N   clips are scaled to it (default 288)
//!   --key N        key-int-max (default 250)            --model PATH as `model-location`
//!   --ffmpeg PATH  (default $AIVIDEO_FFMPEG, else ffmpeg)
//!   --no-anchors   without x264 and x265                --trace      a line a frame
//! ```
//!
//! It fails where a second is off by more than 15 % or ten seconds by more than 5 %.

use aivideo_codec::bitstream::{FrameType, SequenceHeader};
use aivideo_codec::coder::rate::worst_deviation;
use aivideo_codec::coder::{
    EncodeNet, Encoder, EncoderSettings, KeyFrames, ModelFiles, RateControl, RateMode,
    RateSettings, rated,
};
use aivideo_core::pixels::Yuv420;
use aivideo_core::settings::InferenceSettings;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Options {
    bits: Vec<f64>,
    seconds: f64,
    height: usize,
    key: u32,
    model: Option<PathBuf>,
    ffmpeg: PathBuf,
    anchors: bool,
    trace: bool,
    clips: Vec<PathBuf>,
}

fn options() -> Result<Options> {
    let mut o = Options {
        bits: vec![0.06, 0.12],
        seconds: 12.0,
        height: 288,
        key: 250,
        model: None,
        ffmpeg: std::env::var_os("AIVIDEO_FFMPEG").map_or("ffmpeg".into(), PathBuf::from),
        anchors: true,
        trace: false,
        clips: Vec::new(),
    };
    let mut given = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--bits" => {
                o.bits = value()?
                    .split(',')
                    .map(str::parse)
                    .collect::<std::result::Result<_, _>>()?;
            }
            "--seconds" => o.seconds = value()?.parse()?,
            "--height" => o.height = value()?.parse()?,
            "--key" => o.key = value()?.parse()?,
            "--model" => o.model = Some(value()?.into()),
            "--ffmpeg" => o.ffmpeg = value()?.into(),
            "--no-anchors" => o.anchors = false,
            "--trace" => o.trace = true,
            _ => given.push(PathBuf::from(arg)),
        }
    }
    if given.is_empty() {
        given.push("../shared/data/val/video".into());
    }
    for path in given {
        if path.is_dir() {
            let mut files: Vec<_> = std::fs::read_dir(&path)?
                .map(|entry| Ok(entry?.path()))
                .collect::<Result<_>>()?;
            files.sort();
            o.clips.extend(files);
        } else {
            o.clips.push(path);
        }
    }
    Ok(o)
}

/// Frames in memory.
struct Clip {
    name: String,
    rate: f64,
    pictures: Vec<Yuv420>,
}

fn run_ffmpeg(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .output()
        .map_err(|e| format!("{command:?} cannot be run: {e}; name it with --ffmpeg"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} failed: {text}").into());
    }
    Ok(output.stdout)
}

/// Reads a Y4M stream of 8-bit 4:2:0.
fn parse_y4m(data: &[u8]) -> Result<(f64, Vec<Yuv420>)> {
    let end = data
        .iter()
        .position(|&b| b == b'\n')
        .ok_or("not a Y4M stream")?;
    let head = std::str::from_utf8(&data[..end])?;
    let field = |key: char| head.split(' ').skip(1).find_map(|f| f.strip_prefix(key));
    let size =
        |key| -> Result<usize> { Ok(field(key).ok_or("a Y4M stream without a size")?.parse()?) };
    let (width, height) = (size('W')?, size('H')?);
    let (n, d) = field('F')
        .and_then(|f| f.split_once(':'))
        .ok_or("a Y4M stream without a rate")?;
    let rate = n.parse::<f64>()? / d.parse::<f64>()?;
    let mut pictures = Vec::new();
    let mut rest = &data[end + 1..];
    while let Some(line) = rest.iter().position(|&b| b == b'\n') {
        rest = &rest[line + 1..];
        let mut picture = Yuv420::new(width, height);
        for plane in [&mut picture.y, &mut picture.u, &mut picture.v] {
            let len = plane.len();
            plane.copy_from_slice(rest.get(..len).ok_or("a cut Y4M stream")?);
            rest = &rest[len..];
        }
        pictures.push(picture);
    }
    Ok((rate, pictures))
}

fn load(options: &Options, path: &Path, filter: &str, frames: usize) -> Result<Clip> {
    let mut command = Command::new(&options.ffmpeg);
    command
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-vf", filter, "-pix_fmt", "yuv420p"]);
    command.args([
        "-frames:v",
        &frames.to_string(),
        "-strict",
        "-1",
        "-f",
        "yuv4mpegpipe",
        "-",
    ]);
    let (rate, pictures) = parse_y4m(&run_ffmpeg(&mut command)?)?;
    if pictures.is_empty() {
        return Err(format!("{}: no picture", path.display()).into());
    }
    Ok(Clip {
        name: path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        rate,
        pictures,
    })
}

/// What one encoder made of a clip.
struct Outcome {
    encoder: &'static str,
    bytes: Vec<usize>,
    psnr: f64,
    note: String,
}

fn squared_error(a: &[u8], b: &[u8]) -> u64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2))
        .sum()
}

/// Mean over the frames of the luma's PSNR.
fn mean_psnr(errors: &[u64], samples: usize) -> f64 {
    let psnr = |error: u64| 10.0 * (65025.0 * samples as f64 / (error as f64).max(0.5)).log10();
    errors.iter().map(|&e| psnr(e)).sum::<f64>() / errors.len() as f64
}

fn ours(
    options: &Options,
    net: &EncodeNet,
    clip: &Clip,
    frames: usize,
    bitrate: f64,
) -> Result<Outcome> {
    let (width, height) = (clip.pictures[0].width, clip.pictures[0].height);
    let sequence = SequenceHeader::new(
        width.try_into()?,
        height.try_into()?,
        ((clip.rate * 1000.0).round() as u32, 1000),
    );
    let mut encoder = Encoder::new(net.clone(), sequence, EncoderSettings::default())?;
    let settings = RateSettings {
        mode: RateMode::ConstantBitrate,
        bitrate,
        ..RateSettings::default()
    };
    let pixels = width.next_multiple_of(64) * height.next_multiple_of(64);
    let mut rate = RateControl::new(settings, pixels, clip.rate);
    let mut keys = KeyFrames::new(options.key, true);
    let (mut bytes, mut errors, mut shown) = (Vec::new(), Vec::new(), Yuv420::new(width, height));
    let (mut qualities, mut key_frames) = (0.0, 0);
    for i in 0..frames {
        let picture = &clip.pictures[i % clip.pictures.len()];
        let before = rate.repeated;
        let coded = rated::encode(&mut encoder, &mut rate, &mut keys, picture, false, 0)?;
        encoder.reconstruction()?.crop(&mut shown);
        errors.push(squared_error(&picture.y, &shown.y));
        bytes.push(coded.data.len());
        qualities += f64::from(coded.quality);
        key_frames += usize::from(coded.frame_type == FrameType::Key);
        if options.trace {
            let n = bytes.len().min(clip.rate.round() as usize);
            let second = bytes[bytes.len() - n..].iter().sum::<usize>() as f64 * 8.0 / bitrate;
            eprintln!(
                "{i} {:?} q{} {:.2} shares{}, second {second:.3}, {:.2} dB, {} skipped",
                coded.frame_type,
                coded.quality,
                coded.data.len() as f64 * 8.0 * clip.rate / bitrate,
                if rate.repeated > before {
                    " (again)"
                } else {
                    ""
                },
                mean_psnr(&errors[i..], picture.y.len()),
                coded.skipped_blocks,
            );
        }
    }
    let total: usize = bytes.iter().sum();
    Ok(Outcome {
        encoder: "aicodecenc",
        psnr: mean_psnr(&errors, width * height),
        note: format!(
            "quality {:.0}, {key_frames} key, {} of {frames} coded again, filler {:.1} %",
            qualities / frames as f64,
            rate.repeated,
            100.0 * rate.filler_bytes as f64 / total as f64
        ),
        bytes,
    })
}

/// x264 and x265 as one would set them for constant bitrate, with the same buffer of a second.
fn anchor(
    options: &Options,
    name: &'static str,
    source: &Path,
    clip: &Clip,
    frames: usize,
    bitrate: f64,
) -> Result<Outcome> {
    let k = format!("{}k", (bitrate / 1000.0).round());
    let coded = source.with_extension("mkv");
    let mut command = Command::new(&options.ffmpeg);
    command.args(["-v", "error", "-y", "-i"]).arg(source);
    command.args([
        "-b:v",
        &k,
        "-maxrate",
        &k,
        "-bufsize",
        &k,
        "-tune",
        "zerolatency",
    ]);
    let key = options.key.max(1);
    match name {
        "x264" => command.args([
            "-c:v",
            "libx264",
            "-x264-params",
            &format!("nal-hrd=cbr:force-cfr=1:keyint={key}"),
        ]),
        _ => command.args([
            "-c:v",
            "libx265",
            "-x265-params",
            &format!("strict-cbr=1:keyint={key}:log-level=error"),
        ]),
    };
    run_ffmpeg(command.arg(&coded))?;
    // One line a packet: stream, dts, pts, duration, size, sum.
    let mut list = Command::new(&options.ffmpeg);
    list.args(["-v", "error", "-i"])
        .arg(&coded)
        .args(["-c", "copy", "-f", "framecrc", "-"]);
    let text = String::from_utf8(run_ffmpeg(&mut list)?)?;
    let bytes: Vec<usize> = text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.split(',').nth(4)?.trim().parse().ok())
        .collect();
    let mut decode = Command::new(&options.ffmpeg);
    decode.args(["-v", "error", "-i"]).arg(&coded);
    decode.args([
        "-pix_fmt",
        "yuv420p",
        "-strict",
        "-1",
        "-f",
        "yuv4mpegpipe",
        "-",
    ]);
    let (_, shown) = parse_y4m(&run_ffmpeg(&mut decode)?)?;
    if shown.len() != frames || bytes.len() != frames {
        return Err(format!(
            "{name} gave {} packets and {} pictures of {frames}",
            bytes.len(),
            shown.len()
        )
        .into());
    }
    let errors: Vec<u64> = (0..frames)
        .map(|i| squared_error(&clip.pictures[i % clip.pictures.len()].y, &shown[i].y))
        .collect();
    Ok(Outcome {
        encoder: name,
        psnr: mean_psnr(&errors, shown[0].y.len()),
        bytes,
        note: String::new(),
    })
}

fn write_y4m(path: &Path, clip: &Clip, frames: usize) -> Result<()> {
    use std::io::Write;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let (width, height) = (clip.pictures[0].width, clip.pictures[0].height);
    let rate = (clip.rate * 1000.0).round();
    writeln!(
        file,
        "YUV4MPEG2 W{width} H{height} F{rate}:1000 Ip A1:1 C420"
    )?;
    for i in 0..frames {
        let picture = &clip.pictures[i % clip.pictures.len()];
        file.write_all(b"FRAME\n")?;
        for plane in [&picture.y, &picture.u, &picture.v] {
            file.write_all(plane)?;
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let options = options()?;
    let files = ModelFiles::find(options.model.as_deref())?;
    let inference = InferenceSettings {
        device: "cpu".to_owned(),
        ..InferenceSettings::default()
    };
    let net = EncodeNet::acquire(&files, &inference)?;
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("clip.y4m");
    let mut clips: Vec<Box<dyn Fn() -> Result<Clip>>> = Vec::new();
    let options = &options;
    for path in &options.clips {
        let filter = format!("scale=-2:{}:flags=area", options.height);
        clips.push(Box::new(move || {
            load(options, path, &filter, (options.seconds * 60.0) as usize)
        }));
    }
    if options.clips.len() > 1 {
        clips.push(Box::new(move || {
            // At most two seconds of each, so that there are many cuts, at one size and rate.
            let filter = format!(
                "scale={0}:{1}:flags=area,fps=25",
                options.height * 16 / 9 / 16 * 16,
                options.height
            );
            let mut all = Clip {
                name: "all in a row".to_owned(),
                rate: 25.0,
                pictures: Vec::new(),
            };
            for path in &options.clips {
                all.pictures
                    .extend(load(options, path, &filter, 50)?.pictures);
            }
            Ok(all)
        }));
    }
    println!(
        "| clip | kbit/s | encoder | mean | worst 10 s | worst 1 s | Y-PSNR | |\n|---|---|---|---|---|---|---|---|"
    );
    let (mut failures, mut worst) = (Vec::new(), (0f64, 0f64));
    for clip in &clips {
        let clip = clip()?;
        let picture = &clip.pictures[0];
        let frames = (clip.rate * options.seconds)
            .ceil()
            .max(if clip.name == "all in a row" {
                clip.pictures.len() as f64
            } else {
                0.0
            }) as usize;
        let name: String = clip.name.chars().take(24).collect();
        if options.anchors {
            write_y4m(&source, &clip, frames)?;
        }
        for bits in &options.bits {
            let bitrate = (bits * (picture.width * picture.height) as f64 * clip.rate / 1000.0)
                .round()
                * 1000.0;
            let mut outcomes = vec![ours(options, &net, &clip, frames, bitrate)?];
            if options.anchors {
                for name in ["x264", "x265"] {
                    outcomes.push(anchor(options, name, &source, &clip, frames, bitrate)?);
                }
            }
            for outcome in outcomes {
                let second = (clip.rate.round() as usize).max(1);
                let deviation = |frames| {
                    worst_deviation(&outcome.bytes, frames, clip.rate, bitrate).unwrap_or(0.0)
                };
                let (one, ten) = (
                    deviation(second),
                    deviation((10.0 * clip.rate).round() as usize),
                );
                let mean = deviation(outcome.bytes.len());
                println!(
                    "| {name} | {:.0} | {} | {:+.1} % | {:+.1} % | {:+.1} % | {:.2} dB | {} |",
                    bitrate / 1000.0,
                    outcome.encoder,
                    100.0 * mean,
                    100.0 * ten,
                    100.0 * one,
                    outcome.psnr,
                    outcome.note
                );
                if outcome.encoder == "aicodecenc" {
                    worst = (worst.0.max(one.abs()), worst.1.max(ten.abs()));
                    if one.abs() > 0.15 || ten.abs() > 0.05 {
                        failures.push(format!("{name} at {:.0} kbit/s", bitrate / 1000.0));
                    }
                }
            }
        }
    }
    println!(
        "aicodecenc: worst second {:.1} %, worst ten seconds {:.1} %",
        100.0 * worst.0,
        100.0 * worst.1
    );
    if !failures.is_empty() {
        return Err(format!(
            "outside of 15 % in a second or 5 % in ten: {}",
            failures.join(", ")
        )
        .into());
    }
    Ok(())
}
