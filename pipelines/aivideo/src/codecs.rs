// SPDX-License-Identifier: Apache-2.0
//! One encode of one codec: the stream, the decoded clip, quality, bytes and times. Ours and
//! ffmpeg's encoders have the same face here.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::anchors::{self, ANCHORS, Anchor, Conditions, gop_frames};
use crate::ffmpeg::{Ffmpeg, Took};
use crate::gstrun::Timing;
use crate::hybrid::{self, Hybrid};
use crate::rawclip::RawClip;
use crate::{ours, psnr};

/// What `--codecs` calls our codec.
pub const OURS: &str = "aicodec";

#[derive(Clone, Debug)]
pub enum Codec {
    /// Ours, with properties of aicodecenc beside the quality.
    Ours(Vec<String>),
    Anchor(&'static Anchor),
    /// A standard stream of ours, restored or not.
    Hybrid(Hybrid),
    /// A standard stream of another's encoder, restored with properties of aihybriddec.
    Restored(&'static Anchor, Vec<String>),
}

/// Behind an anchor's name: its stream is decoded and restored by our elements.
const RESTORED: &str = "+restore";

/// The conditions that all encodes of a run share.
pub struct Bench {
    pub ffmpeg: Ffmpeg,
    pub gop_seconds: f64,
    pub threads: usize,
    pub model: Option<PathBuf>,
}

/// Everything measured in one encode.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// The stream without a container: access units of ours, the raw stream of the others.
    pub bytes: u64,
    /// The file on disk; ours has unit headers.
    pub file_bytes: u64,
    pub kbps: f64,
    pub psnr_y: f64,
    pub psnr_y_mse: f64,
    pub psnr_u: f64,
    pub psnr_v: f64,
    pub ssim: f64,
    pub vmaf: f64,
    pub encode_fps: f64,
    pub decode_fps: f64,
    pub encode_cpu_ms: f64,
    pub decode_cpu_ms: f64,
}

impl Codec {
    /// Reads `aicodec:motion=zero:quality=30` or `x265-medium:crf=28`; gives the quality apart.
    pub fn parse(spec: &str) -> Result<(Self, Option<f64>)> {
        let mut parts = spec.split(':');
        let id = parts.next().unwrap_or_default();
        let codec = if id == OURS {
            Self::Ours(Vec::new())
        } else if let Some(hybrid) = Hybrid::parse(id) {
            Self::Hybrid(hybrid)
        } else if let Some(anchor) = id.strip_suffix(RESTORED).and_then(anchors::find) {
            Self::Restored(anchor, Vec::new())
        } else if let Some(anchor) = anchors::find(id) {
            Self::Anchor(anchor)
        } else {
            let known: Vec<&str> = ANCHORS.iter().map(|anchor| anchor.id).collect();
            bail!(
                "no codec {id:?}; there are {OURS}, {}, {}, and {RESTORED} behind one of the latter",
                known.join(", "),
                hybrid::ids().join(", ")
            );
        };
        let mut value = None;
        let mut properties = Vec::new();
        for part in parts {
            match part.split_once('=') {
                Some((key, number)) if key == codec.parameter() => {
                    let (low, high) = codec.limits();
                    value = Some(
                        number
                            .parse::<f64>()
                            .ok()
                            .filter(|v| (low..=high).contains(v))
                            .with_context(|| {
                                format!("{spec}: {key} is a number from {low} to {high}")
                            })?,
                    );
                }
                Some(_) if id == OURS || matches!(codec, Self::Hybrid(_) | Self::Restored(..)) => {
                    properties.push(part.to_owned());
                }
                _ => bail!(
                    "{spec}: {part:?} is nothing that {id} takes; it takes {}=NUMBER",
                    codec.parameter()
                ),
            }
        }
        Ok(match codec {
            Self::Ours(_) => (Self::Ours(properties), value),
            Self::Hybrid(mut hybrid) => {
                properties.iter().for_each(|property| hybrid.add(property));
                (Self::Hybrid(hybrid), value)
            }
            Self::Restored(anchor, _) => (Self::Restored(anchor, properties), value),
            other => (other, value),
        })
    }

    pub fn id(&self) -> String {
        match self {
            Self::Ours(properties) if properties.is_empty() => OURS.into(),
            Self::Ours(properties) => format!("{OURS}:{}", properties.join(":")),
            Self::Anchor(anchor) => anchor.id.into(),
            Self::Hybrid(hybrid) => hybrid.id(),
            Self::Restored(anchor, properties) => {
                let properties = properties.iter().map(|property| format!(":{property}"));
                format!("{}{RESTORED}{}", anchor.id, properties.collect::<String>())
            }
        }
    }

    pub fn name(&self) -> String {
        match self {
            Self::Ours(properties) if properties.is_empty() => OURS.into(),
            Self::Ours(properties) => format!("{OURS}, {}", properties.join(", ")),
            Self::Anchor(anchor) => anchor.name.into(),
            Self::Hybrid(hybrid) => hybrid.name(),
            Self::Restored(anchor, properties) => {
                let properties = properties.iter().map(|property| format!(", {property}"));
                format!(
                    "{}, restored{}",
                    anchor.name,
                    properties.collect::<String>()
                )
            }
        }
    }

    /// Whether it is what the others are compared with.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Ours(_) | Self::Restored(..) => true,
            Self::Hybrid(hybrid) => hybrid.restored,
            Self::Anchor(_) => false,
        }
    }

    /// Whether elements of ours take part.
    pub fn needs_elements(&self) -> bool {
        !matches!(self, Self::Anchor(_))
    }

    /// The encoder of ffmpeg that it takes.
    pub fn encoder(&self) -> Option<&'static Anchor> {
        match self {
            Self::Anchor(anchor) | Self::Restored(anchor, _) => Some(anchor),
            Self::Ours(_) | Self::Hybrid(_) => None,
        }
    }

    /// What the codec calls its quality.
    pub fn parameter(&self) -> &'static str {
        match self {
            Self::Ours(_) | Self::Hybrid(_) => "quality",
            Self::Anchor(anchor) | Self::Restored(anchor, _) => anchor.parameter(),
        }
    }

    pub fn whole(&self) -> bool {
        match self {
            Self::Ours(_) | Self::Hybrid(_) => true,
            Self::Anchor(anchor) | Self::Restored(anchor, _) => anchor.whole(),
        }
    }

    pub fn limits(&self) -> (f64, f64) {
        match self {
            Self::Ours(_) => (0.0, 63.0),
            Self::Hybrid(_) => (0.0, 100.0),
            Self::Anchor(anchor) | Self::Restored(anchor, _) => anchor.limits(),
        }
    }

    /// Change of the logarithm of the rate, and of the PSNR, for one step of the parameter.
    pub fn slopes(&self) -> (f64, f64) {
        match self {
            Self::Ours(_) => (0.035, 0.12),
            Self::Hybrid(_) => (0.045, 0.2),
            Self::Anchor(anchor) | Self::Restored(anchor, _) => anchor.slopes(),
        }
    }

    /// The parameters of a curve of `points` points.
    pub fn ladder(&self, points: usize) -> Vec<f64> {
        let (from, to) = match self {
            Self::Ours(_) => (2.0, 62.0),
            Self::Hybrid(_) => (8.0, 68.0),
            Self::Anchor(anchor) | Self::Restored(anchor, _) => anchor.ladder(),
        };
        (0..points)
            .map(|i| {
                let share = i as f64 / (points.max(2) - 1) as f64;
                (from + (to - from) * share).round()
            })
            .collect()
    }

    /// About how many million pixels a second are encoded, and decoded, on two cores.
    pub fn speeds(&self) -> (f64, f64) {
        match self {
            Self::Ours(_) => (7.0, 11.0),
            Self::Hybrid(_) => (2.0, 20.0),
            Self::Anchor(anchor) => (anchor.speed, 60.0),
            Self::Restored(anchor, _) => (anchor.speed, 20.0),
        }
    }

    fn extension(&self) -> &'static str {
        match self {
            Self::Ours(_) => "aic",
            Self::Hybrid(_) => "mkv",
            Self::Anchor(anchor) | Self::Restored(anchor, _) => anchor.format(),
        }
    }

    /// The name of a stream of this codec.
    pub fn file_name(&self, stem: &str) -> String {
        format!("{stem}.{}", self.extension())
    }

    fn settings(&self, bench: &Bench, clip: &RawClip, value: Option<f64>) -> ours::Settings {
        let mut properties = Vec::new();
        if let Self::Ours(own) = self {
            if !own.iter().any(|p| p.starts_with("key-int-max=")) {
                properties.push(format!(
                    "key-int-max={}",
                    gop_frames(clip, bench.gop_seconds)
                ));
            }
            properties.extend(own.iter().cloned());
        }
        properties.push(match value {
            Some(value) => format!("quality={value:.0}"),
            None => "quality=N".into(),
        });
        ours::Settings {
            model: bench.model.clone(),
            properties,
            threads: Some(bench.threads),
        }
    }

    /// The encoder's settings as a person reads them, with N for the quality.
    pub fn options(&self, bench: &Bench, clip: &RawClip) -> String {
        match self {
            Self::Ours(_) => self.settings(bench, clip, None).text(),
            Self::Hybrid(hybrid) => hybrid.text(gop_frames(clip, bench.gop_seconds), "N"),
            Self::Anchor(anchor) => anchor.options(clip, bench.conditions()),
            Self::Restored(anchor, properties) => {
                let options = anchor.options(clip, bench.conditions());
                format!("{options}, decoded by aihybriddec {}", properties.join(" "))
            }
        }
    }
}

fn took(timing: &Timing) -> Took {
    Took {
        seconds: timing.seconds,
        cpu_seconds: timing.cpu_seconds,
    }
}

impl Bench {
    fn conditions(&self) -> Conditions {
        Conditions {
            gop_seconds: self.gop_seconds,
            threads: Some(self.threads),
        }
    }

    pub fn encode(&self, codec: &Codec, clip: &RawClip, value: f64, stream: &Path) -> Result<Took> {
        match codec {
            Codec::Ours(_) => {
                let settings = codec.settings(self, clip, Some(value));
                let timing = ours::encode(clip, &settings, stream, |_| ())?;
                Ok(took(&timing))
            }
            Codec::Hybrid(hybrid) => {
                let gop = gop_frames(clip, self.gop_seconds);
                Ok(took(&hybrid.encode(clip, gop, value, stream)?))
            }
            Codec::Anchor(anchor) | Codec::Restored(anchor, _) => anchor
                .encode(&self.ffmpeg, clip, self.conditions(), value, stream)
                .with_context(|| format!("encoding with {}", anchor.encoder())),
        }
    }

    /// Decodes into `raw`. Gives the times and the bytes of the stream without any file's framing.
    pub fn decode(
        &self,
        codec: &Codec,
        clip: &RawClip,
        value: f64,
        stream: &Path,
        raw: &Path,
    ) -> Result<(Took, u64)> {
        match codec {
            Codec::Ours(_) => {
                let settings = codec.settings(self, clip, None);
                let timing = ours::decode(stream, &settings, raw, |_| ())?;
                Ok((took(&timing), timing.bytes_in))
            }
            Codec::Hybrid(hybrid) => {
                let timing = hybrid.decode(stream, self.threads, raw)?;
                Ok((took(&timing), timing.bytes_in))
            }
            Codec::Restored(anchor, properties) => {
                let timing = hybrid::restore(anchor, value, properties, stream, self.threads, raw)?;
                Ok((took(&timing), std::fs::metadata(stream)?.len()))
            }
            Codec::Anchor(anchor) => {
                let deep = anchor.encoder() == "libvvenc";
                let took = self
                    .decode_file(&anchor.input(stream), deep, raw)
                    .context("decoding")?;
                Ok((took, std::fs::metadata(stream)?.len()))
            }
        }
    }

    /// Decodes whatever ffmpeg can read into 8-bit I420. `deep` says that it has 10 bits.
    pub fn decode_file(&self, input: &[String], deep: bool, raw: &Path) -> Result<Took> {
        let mut args = vec!["-threads".to_owned(), self.threads.to_string()];
        args.extend_from_slice(input);
        args.extend(["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt"].map(str::to_owned));
        let target = if deep {
            args.push("yuv420p10le".into());
            raw.with_extension("deep")
        } else {
            args.push("yuv420p".into());
            raw.to_path_buf()
        };
        args.push(target.display().to_string());
        let took = self.ffmpeg.timed(&args)?;
        if deep {
            // ffmpeg would dither here, which costs quality that the codec did deliver.
            let narrow: Vec<u8> = std::fs::read(&target)?
                .chunks_exact(2)
                .map(|s| ((u16::from_le_bytes([s[0], s[1]]) + 2) >> 2).min(255) as u8)
                .collect();
            std::fs::write(raw, narrow)?;
            std::fs::remove_file(&target)?;
        }
        Ok(took)
    }

    /// One point of a curve. `stream` stays; the decoded frames are at `decoded` until the caller
    /// removes them.
    pub fn measure(
        &self,
        codec: &Codec,
        clip: &RawClip,
        value: f64,
        stream: &Path,
        decoded: &Path,
    ) -> Result<Measured> {
        let encoding = self.encode(codec, clip, value, stream)?;
        let (decoding, bytes) = self.decode(codec, clip, value, stream, decoded)?;
        self.judge(clip, decoded, bytes, stream, Some(encoding), decoding)
    }

    /// Compares decoded frames with their source.
    pub fn judge(
        &self,
        clip: &RawClip,
        decoded: &Path,
        bytes: u64,
        stream: &Path,
        encoding: Option<Took>,
        decoding: Took,
    ) -> Result<Measured> {
        let decoded = RawClip {
            path: decoded.to_path_buf(),
            ..clip.clone()
        };
        let psnr = psnr::measure(&decoded, clip)?;
        let quality = self.ffmpeg.quality(&decoded.ffmpeg_input(), clip)?;
        let frames = clip.frames as f64;
        let fps = |took: Took| {
            if took.seconds > 0.0 {
                frames / took.seconds
            } else {
                0.0
            }
        };
        let encoding = encoding.unwrap_or_default();
        Ok(Measured {
            bytes,
            file_bytes: std::fs::metadata(stream)?.len(),
            kbps: bytes as f64 * 8.0 / 1000.0 * clip.rate() / frames,
            psnr_y: psnr.y_frames,
            psnr_y_mse: psnr.y,
            psnr_u: psnr.u,
            psnr_v: psnr.v,
            ssim: quality.ssim,
            vmaf: quality.vmaf,
            encode_fps: fps(encoding),
            decode_fps: fps(decoding),
            encode_cpu_ms: encoding.cpu_seconds * 1000.0 / frames,
            decode_cpu_ms: decoding.cpu_seconds * 1000.0 / frames,
        })
    }
}

/// Makes this program and everything it starts use `count` processors, so that all codecs have the
/// same. Must come before any other thread is started.
pub fn pin(count: usize) -> Result<()> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None).context("which processors may be used?")?;
    let mut set = CpuSet::new();
    let mut taken = 0;
    for cpu in 0..CpuSet::MAX_CPU {
        if allowed.is_set(cpu) && taken < count {
            set.set(cpu);
            taken += 1;
        }
    }
    if taken < count {
        eprintln!("note: {count} threads were asked for, this machine gives {taken} processors");
    }
    sched_setaffinity(None, &set).context("cannot choose the processors")
}

/// The files that make a decoder, and their size: what a receiver needs beside the program.
pub fn decoder_size(model: Option<&Path>, models: Option<&Path>) -> Option<u64> {
    let location = model
        .map(Path::to_path_buf)
        .or_else(|| Some(models?.join("codec")))?;
    let files = ours::model_files(&location).ok()?;
    files
        .iter()
        .filter(|file| !file.to_string_lossy().ends_with("encode.onnx"))
        .map(|file| std::fs::metadata(file).ok().map(|m| m.len()))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_are_read_and_mistakes_named() {
        let (codec, value) = Codec::parse("aicodec:motion=zero:quality=30").unwrap();
        assert_eq!(
            (codec.id().as_str(), value),
            ("aicodec:motion=zero", Some(30.0))
        );
        let (codec, value) = Codec::parse("x265-medium:crf=28.5").unwrap();
        assert_eq!((codec.id().as_str(), value), ("x265-medium", Some(28.5)));
        assert_eq!(Codec::parse("vvenc-faster").unwrap().1, None);
        for (spec, words) in [
            ("x266", "no codec \"x266\"; there are aicodec, x264"),
            ("x265-medium:qp=3", "takes crf=NUMBER"),
            ("x265-medium:crf=99", "from 1 to 51"),
            ("aicodec:quality=high", "from 0 to 63"),
            ("aicodec:zero", "takes quality=NUMBER"),
            ("hybrid-slow", "hybrid-low-delay, hybrid-low-delay-plain"),
            ("svtav1-p5+restore:crf=99", "from 2 to 63"),
        ] {
            let error = format!("{:#}", Codec::parse(spec).unwrap_err());
            assert!(error.contains(words), "{spec}: {error}");
        }
    }

    #[test]
    fn ladders_reach_from_end_to_end() {
        for spec in [
            "aicodec",
            "x265-medium",
            "svtav1-p5",
            "vvenc-medium",
            "hybrid-file",
        ] {
            let codec = Codec::parse(spec).unwrap().0;
            for count in [4, 5, 8] {
                let ladder = codec.ladder(count);
                assert_eq!(ladder.len(), count);
                assert!(ladder.is_sorted_by(|a, b| a < b), "{ladder:?}");
                let (low, high) = codec.limits();
                assert!(ladder[0] >= low && ladder[count - 1] <= high);
            }
        }
    }
}
