// SPDX-License-Identifier: Apache-2.0
//! `aivideo compare`: encodes of one clip side by side, made now or given as files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::codecs::{self, Bench, Codec, Measured};
use crate::ffmpeg::{Ffmpeg, Took};
use crate::html::{self, escape};
use crate::rawclip::RawClip;
use crate::rd::clips::{self, Clip, Found, Shape};
use crate::rd::{parse_size, stills, store};
use crate::search::Search;
use crate::{environment, hybrid, interrupt, ours, psnr};

#[derive(Args)]
#[command(after_help = "\
Examples:
  aivideo compare --reference clip.mp4 aicodec:quality=30 x265-medium:crf=28
  aivideo compare --reference clip.mp4 aicodec:quality=30 x265-medium svtav1-p5   (at the first one's rate)
  aivideo compare --reference clip.mp4 --match psnr aicodec:quality=30 x265-medium
  aivideo compare --reference clip.mp4 one.aic two.mp4")]
pub struct Options {
    /// Encodes: CODEC:quality=N, CODEC:crf=N, CODEC alone (see --match), or a coded file
    #[arg(required = true, num_args = 2..)]
    encodes: Vec<String>,
    /// The clip that all of them are compared with
    #[arg(long)]
    reference: PathBuf,
    /// Directory for report.html, results.json and the streams
    #[arg(long, default_value = "compare-out")]
    out: PathBuf,
    /// What an encode without a quality of its own shares with the first one
    #[arg(long = "match", value_enum, default_value_t = Match::Bitrate)]
    matching: Match,
    /// At most so many frames from the start; 0 takes all
    #[arg(long, default_value_t = 0)]
    frames: u64,
    /// Scale the reference down to at most this area; "own" leaves it
    #[arg(long, default_value = "own")]
    size: String,
    /// Frames to show (default: at a quarter, a half and three quarters)
    #[arg(long, value_delimiter = ',')]
    at: Vec<u64>,
    /// Seconds from one key frame to the next, ours and of the anchors with a fixed interval
    #[arg(long, default_value_t = 1.0)]
    gop_seconds: f64,
    /// Threads, and processors, of every encoder and decoder
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    /// Weights of the codec instead of the built-in ones, as aicodecenc's model-location takes them
    #[arg(long)]
    codec_model: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Match {
    /// Its bits a second
    Bitrate,
    /// Its Y-PSNR
    Psnr,
}

/// What one argument asks for.
enum Wanted {
    Encode(Codec, Option<f64>),
    File(PathBuf),
}

/// One column of the comparison.
#[derive(Serialize)]
struct Entry {
    /// A, B, C ...
    letter: char,
    title: String,
    /// How it was made, or what was noticed about the file.
    note: String,
    #[serde(flatten)]
    measured: Measured,
    stream: PathBuf,
    #[serde(skip)]
    decoded: RawClip,
    #[serde(skip)]
    made_here: bool,
}

pub fn run(options: &Options) -> Result<()> {
    codecs::pin(options.threads as usize)?;
    gst::init().context("GStreamer does not start")?;
    let wanted = options
        .encodes
        .iter()
        .map(|text| wanted(text))
        .collect::<Result<Vec<_>>>()?;
    if wanted.len() > 26 {
        bail!("at most 26 encodes");
    }
    let ffmpeg = Ffmpeg::new(environment::ffmpeg()?);
    let bench = Bench {
        ffmpeg,
        gop_seconds: options.gop_seconds,
        threads: options.threads as usize,
        model: options.codec_model.clone(),
    };
    check(&wanted, &bench)?;
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("cannot make {}", options.out.display()))?;
    let work = tempfile::Builder::new()
        .prefix(".work-")
        .tempdir_in(&options.out)?;
    interrupt::watch()?;

    eprintln!("reading {}", options.reference.display());
    let reference = clips::prepare(
        &Found {
            name: options.reference.display().to_string(),
            path: options.reference.clone(),
        },
        Shape {
            frames: Some(options.frames).filter(|n| *n > 0),
            area: parse_size(&options.size)?,
        },
        &bench.ffmpeg,
        work.path(),
    )
    .with_context(|| format!("the reference {}", options.reference.display()))?;

    let mut entries: Vec<Entry> = Vec::new();
    for (i, one) in wanted.iter().enumerate() {
        if interrupt::requested() {
            bail!("interrupted");
        }
        let letter = char::from(b'A' + i as u8);
        eprintln!("{letter}: {}", options.encodes[i]);
        let entry = match one {
            Wanted::Encode(codec, value) => encoded(
                letter,
                codec,
                *value,
                entries.first().map(|first| (options.matching, first)),
                &reference.raw,
                &bench,
                &options.out,
                work.path(),
            ),
            Wanted::File(file) => given(letter, file, &reference.raw, &bench, work.path()),
        };
        entries.push(entry.with_context(|| format!("{letter}, {}", options.encodes[i]))?);
    }
    report(options, &reference, &entries, &bench.ffmpeg, work.path())
}

fn wanted(text: &str) -> Result<Wanted> {
    let path = Path::new(text);
    if path.is_file() {
        return Ok(Wanted::File(path.to_path_buf()));
    }
    match Codec::parse(text) {
        Ok((codec, value)) => Ok(Wanted::Encode(codec, value)),
        // A name with a dot or a slash was meant as a file.
        Err(_) if text.contains(['/', '.']) && !text.contains('=') => {
            bail!("no such file: {text}")
        }
        Err(error) => Err(error),
    }
}

fn check(wanted: &[Wanted], bench: &Bench) -> Result<()> {
    let has = bench.ffmpeg.encoders()?;
    for one in wanted {
        match one {
            Wanted::Encode(Codec::Anchor(anchor) | Codec::Restored(anchor, _), _)
                if !has.iter().any(|name| name == anchor.encoder()) =>
            {
                bail!(
                    "this ffmpeg ({}) has no {}: take the one that `make bootstrap` fetches",
                    bench.ffmpeg.program().display(),
                    anchor.encoder()
                )
            }
            Wanted::Encode(Codec::Ours(properties), _) => {
                environment::require_elements(ours::NEEDED)?;
                ours::check_properties(properties)?;
            }
            Wanted::Encode(Codec::Hybrid(_) | Codec::Restored(..), _) => {
                environment::require_elements(hybrid::NEEDED)?;
            }
            Wanted::File(file) if is_aic(file) => {
                environment::require_elements(&["aicodecparse", "aicodecdec"])?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_aic(file: &Path) -> bool {
    file.extension().is_some_and(|e| e == "aic")
}

/// Makes an encode; without a quality of its own it meets the first entry's rate or PSNR.
#[allow(clippy::too_many_arguments)] // each is used once, and none belongs to another
fn encoded(
    letter: char,
    codec: &Codec,
    value: Option<f64>,
    first: Option<(Match, &Entry)>,
    clip: &RawClip,
    bench: &Bench,
    out: &Path,
    work: &Path,
) -> Result<Entry> {
    let stream =
        out.join(codec.file_name(&format!("{letter}-{}", codec.id().replace([':', '='], "-"))));
    let decoded = work.join(format!("{letter}.i420"));
    let (value, how) = match (value, first) {
        (Some(value), _) => (value, String::new()),
        (None, None) => {
            let ladder = codec.ladder(3);
            (ladder[1], " (the middle of its range)".into())
        }
        (None, Some((matching, first))) => {
            let found = matched(codec, matching, first, clip, bench, &stream, &decoded)?;
            let what = match matching {
                Match::Bitrate => "rate",
                Match::Psnr => "Y-PSNR",
            };
            (
                found,
                format!(" (found for the {what} of {})", first.letter),
            )
        }
    };
    let measured = bench.measure(codec, clip, value, &stream, &decoded)?;
    Ok(Entry {
        letter,
        title: format!("{}, {} {value}", codec.name(), codec.parameter()),
        note: format!("{}{how}", codec.options(bench, clip)),
        measured,
        stream,
        decoded: RawClip {
            path: decoded,
            ..clip.clone()
        },
        made_here: true,
    })
}

/// The quality at which `codec` has the rate or the Y-PSNR of `first`.
fn matched(
    codec: &Codec,
    matching: Match,
    first: &Entry,
    clip: &RawClip,
    bench: &Bench,
    stream: &Path,
    decoded: &Path,
) -> Result<f64> {
    let (rate_slope, psnr_slope) = codec.slopes();
    let (wanted, slope, tolerance) = match matching {
        Match::Bitrate => (first.measured.kbps.ln(), rate_slope, 0.01),
        Match::Psnr => (first.measured.psnr_y, psnr_slope, 0.05),
    };
    let search = Search {
        wanted,
        start: codec.ladder(3)[1],
        slope,
        limits: codec.limits(),
        tolerance,
        most: 7,
        whole: codec.whole(),
        both_sides: false,
    };
    let points = search.run(|value| {
        if interrupt::requested() {
            bail!("interrupted");
        }
        bench.encode(codec, clip, value, stream)?;
        let (_, bytes) = bench.decode(codec, clip, value, stream, decoded)?;
        let value_found = match matching {
            Match::Bitrate => (bytes as f64 * 8.0 / 1000.0 * clip.rate() / clip.frames as f64).ln(),
            Match::Psnr => {
                let decoded = RawClip {
                    path: decoded.to_path_buf(),
                    ..clip.clone()
                };
                psnr::measure(&decoded, clip)?.y_frames
            }
        };
        eprintln!(
            "   {} {value:.2}: {}",
            codec.parameter(),
            match matching {
                Match::Bitrate => format!("{:.1} kbit/s", value_found.exp()),
                Match::Psnr => format!("{value_found:.2} dB"),
            }
        );
        Ok(value_found)
    })?;
    let (value, _) = crate::search::nearest(&points, wanted).context("no encode was made")?;
    Ok((value * 1000.0).round() / 1000.0)
}

/// A coded file, decoded and brought to the reference's size.
fn given(letter: char, file: &Path, clip: &RawClip, bench: &Bench, work: &Path) -> Result<Entry> {
    let mut notes = Vec::new();
    let own = work.join(format!("{letter}-own.i420"));
    let (found, bytes, took) = if is_aic(file) {
        let settings = ours::Settings {
            model: bench.model.clone(),
            ..Default::default()
        };
        let (timing, size) = ours::decode_file(file, &settings, &own)?;
        let mut found = RawClip {
            path: own,
            width: size.0,
            height: size.1,
            ..clip.clone()
        };
        found.frames = found.count()?;
        let took = Took {
            seconds: timing.seconds,
            cpu_seconds: timing.cpu_seconds,
        };
        (found, timing.bytes_in, took)
    } else {
        let (found, took) = clips::raw_of_file(file, &bench.ffmpeg, &own)?;
        // The coded pictures alone, without container and sound.
        let payload = work.join("payload");
        let copy: Vec<String> = [
            "-i",
            &file.display().to_string(),
            "-map",
            "0:v:0",
            "-c",
            "copy",
        ]
        .into_iter()
        .chain(["-f", "data", &payload.display().to_string()])
        .map(str::to_owned)
        .collect();
        bench.ffmpeg.run(&copy)?;
        let bytes = std::fs::metadata(&payload)?.len();
        std::fs::remove_file(&payload)?;
        (found, bytes, took)
    };
    let frames = found.frames;
    if frames < clip.frames {
        bail!(
            "it has {frames} frames, the reference {}: compare with --frames {frames}",
            clip.frames
        );
    }
    let mut decoded = found;
    if frames > clip.frames {
        notes.push(format!("its first {} of {frames} frames", clip.frames));
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(&decoded.path)?;
        file.set_len(clip.frames * decoded.frame_bytes())?;
        decoded.frames = clip.frames;
    }
    if (decoded.width, decoded.height) != (clip.width, clip.height) {
        notes.push(format!(
            "scaled from {}x{} to the reference's size (bicubic)",
            decoded.width, decoded.height
        ));
        let target = work.join(format!("{letter}.i420"));
        let mut args = decoded.ffmpeg_input();
        args.extend([
            "-vf".into(),
            format!("scale={}:{}:flags=bicubic", clip.width, clip.height),
            "-pix_fmt".into(),
            "yuv420p".into(),
            "-f".into(),
            "rawvideo".into(),
            target.display().to_string(),
        ]);
        bench.ffmpeg.run(&args)?;
        std::fs::remove_file(&decoded.path)?;
        decoded = RawClip {
            path: target,
            ..clip.clone()
        };
    }
    let took = Took {
        // judge() divides by the reference's frames.
        seconds: took.seconds * clip.frames as f64 / frames as f64,
        cpu_seconds: took.cpu_seconds * clip.frames as f64 / frames as f64,
    };
    let mut measured = bench.judge(clip, &decoded.path, bytes, file, None, took)?;
    // The rate is that of the whole file.
    measured.kbps = bytes as f64 * 8.0 / 1000.0 * clip.rate() / frames as f64;
    Ok(Entry {
        letter,
        title: file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        note: notes.join("; "),
        measured,
        stream: file.to_path_buf(),
        decoded: RawClip {
            path: decoded.path,
            ..clip.clone()
        },
        made_here: false,
    })
}

/// In words: how an entry stands against the first.
fn verdict(first: &Entry, other: &Entry) -> String {
    let (a, b) = (&first.measured, &other.measured);
    format!(
        "{} against {}: {:+.1} % bits, {:+.2} dB Y-PSNR, {:+.4} SSIM, {:+.1} VMAF.",
        other.letter,
        first.letter,
        (b.kbps / a.kbps - 1.0) * 100.0,
        b.psnr_y - a.psnr_y,
        b.ssim - a.ssim,
        b.vmaf - a.vmaf
    )
}

fn report(
    options: &Options,
    reference: &Clip,
    entries: &[Entry],
    ffmpeg: &Ffmpeg,
    work: &Path,
) -> Result<()> {
    let clip = &reference.raw;
    let mut frames = options.at.clone();
    if frames.is_empty() {
        frames = [1, 2, 3].map(|i| clip.frames * i / 4).to_vec();
        frames.dedup();
    }
    if let Some(wrong) = frames.iter().find(|n| **n >= clip.frames) {
        bail!("--at {wrong}: frames are 0 to {}", clip.frames - 1);
    }
    let Some((first, others)) = entries.split_first() else {
        bail!("nothing to compare");
    };
    let mut h = html::head("gst-aivideo: comparison");
    writeln!(
        h,
        "<h1>Side by side</h1>\n<p>{}, {} frames of {}&times;{} at {:.2} frames/s.</p>\n<ul>",
        escape(&reference.name),
        clip.frames,
        clip.width,
        clip.height,
        clip.rate()
    )?;
    for other in others {
        writeln!(h, "<li>{}</li>", verdict(first, other))?;
    }
    h.push_str(
        "</ul>\n<div class=\"wide\"><table><tr><th></th><th class=\"left\">encode</th><th>kbit/s</th><th>bytes</th><th>Y-PSNR</th><th>U</th><th>V</th>\
         <th>SSIM</th><th>VMAF</th><th>encode fps</th><th>decode fps</th></tr>\n",
    );
    println!(
        "\n{:<2} {:<38} {:>9} {:>8} {:>8} {:>7} {:>7} {:>7}",
        "", "encode", "kbit/s", "Y-PSNR", "SSIM", "VMAF", "enc fps", "dec fps"
    );
    for entry in entries {
        let m = &entry.measured;
        let speed = if entry.made_here {
            format!("{:.1}", m.encode_fps)
        } else {
            "–".into()
        };
        writeln!(
            h,
            "<tr><td>{}</td><td class=\"left\">{}<br><small><code>{}</code></small></td><td>{:.1}</td><td>{}</td><td>{:.2}</td><td>{:.2}</td><td>{:.2}</td><td>{:.4}</td><td>{:.2}</td><td>{speed}</td><td>{:.1}</td></tr>",
            entry.letter,
            escape(&entry.title),
            escape(&entry.note),
            m.kbps,
            m.bytes,
            m.psnr_y,
            m.psnr_u,
            m.psnr_v,
            m.ssim,
            m.vmaf,
            m.decode_fps
        )?;
        println!(
            "{:<2} {:<38} {:>9.1} {:>8.2} {:>8.4} {:>7.2} {speed:>7} {:>7.1}",
            entry.letter, entry.title, m.kbps, m.psnr_y, m.ssim, m.vmaf, m.decode_fps
        );
    }
    for other in others {
        println!("{}", verdict(first, other));
    }
    h.push_str(
        "</table></div>\n<p class=\"note\">kbit/s and bytes are those of the coded pictures, without a container. Y-PSNR is the mean of the \
         frames' PSNRs; SSIM and VMAF are ffmpeg's filters. Speeds are times on the clock, with whatever else the machine did. \
         Rate, quality and pictures belong together: none decides alone.</p>\n",
    );
    for frame in frames {
        let area = stills::busiest(clip, frame)?;
        writeln!(
            h,
            "<h2>Frame {frame}</h2>\n<p class=\"note\">Below each frame its busiest part, enlarged.</p>\n<div class=\"stills\">"
        )?;
        let source = [("source".to_owned(), clip)];
        let coded = entries
            .iter()
            .map(|entry| (format!("{}: {}", entry.letter, entry.title), &entry.decoded));
        for (title, raw) in source.into_iter().chain(coded) {
            let (whole, detail) = (work.join("whole.jpg"), work.join("detail.png"));
            stills::cut(ffmpeg, raw, frame, area, &whole, &detail)?;
            writeln!(
                h,
                "<figure><img loading=\"lazy\" alt=\"{0}\" src=\"{1}\"><img loading=\"lazy\" class=\"detail\" alt=\"detail, {0}\" src=\"{2}\"><figcaption>{0}</figcaption></figure>",
                escape(&title),
                html::data_uri("image/jpeg", &std::fs::read(&whole)?),
                html::data_uri("image/png", &std::fs::read(&detail)?)
            )?;
        }
        h.push_str("</div>\n");
    }
    h.push_str("</body></html>\n");
    let target = options.out.join("report.html");
    store::write(&target, h.as_bytes())?;
    store::write(
        &options.out.join("results.json"),
        &serde_json::to_vec_pretty(&serde_json::json!({
            "reference": options.reference,
            "frames": clip.frames,
            "width": clip.width,
            "height": clip.height,
            "fps": clip.rate(),
            "machine": environment::machine(),
            "encodes": entries,
        }))?,
    )?;
    println!("\nreport {}", target.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_files_or_codecs() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.mp4");
        std::fs::write(&file, b"").unwrap();
        assert!(matches!(
            wanted(file.to_str().unwrap()).unwrap(),
            Wanted::File(_)
        ));
        assert!(matches!(
            wanted("x265-medium:crf=28.5").unwrap(),
            Wanted::Encode(_, Some(28.5))
        ));
        let error = |text| format!("{:#}", wanted(text).err().unwrap());
        assert!(error("gone.mp4").contains("no such file: gone.mp4"));
        assert!(error("x266").contains("no codec"));
    }
}
