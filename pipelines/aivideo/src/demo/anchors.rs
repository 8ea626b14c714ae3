// SPDX-License-Identifier: Apache-2.0
//! x265 at the Y-PSNR of our stream: the CRF is searched, the bytes are those of real files.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::Serialize;

use super::metrics::{Ffmpeg, Quality, RawClip, words};

/// One setting of x265.
pub struct Anchor {
    pub name: &'static str,
    preset: &'static str,
    /// Key frames at least once a second, as a stream that one can join needs them.
    one_second_gop: bool,
    zero_latency: bool,
}

pub const ANCHORS: &[Anchor] = &[
    Anchor {
        name: "x265 ultrafast zerolatency, 1 s GOP",
        preset: "ultrafast",
        one_second_gop: true,
        zero_latency: true,
    },
    Anchor {
        name: "x265 medium",
        preset: "medium",
        one_second_gop: false,
        zero_latency: false,
    },
];

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Point {
    pub crf: f64,
    pub bytes: u64,
    pub psnr_y: f64,
    pub seconds: f64,
}

#[derive(Debug, Serialize)]
pub struct Matched {
    pub name: &'static str,
    pub options: String,
    /// Bytes at the wanted Y-PSNR, between the two encodes next to it; none when no CRF reaches it.
    pub bytes: Option<f64>,
    /// The encode that came nearest.
    pub nearest: Point,
    pub quality: Quality,
    pub points: Vec<Point>,
    /// The nearest encode.
    #[serde(skip)]
    pub file: PathBuf,
}

/// Near enough for no further encode; what is left is interpolated.
const TOLERANCE_DB: f64 = 0.05;
const MOST_ENCODES: usize = 8;
const CRF_MAX: f64 = 51.0;

impl Anchor {
    fn parameters(&self, clip: &RawClip) -> String {
        let mut text = String::from("info=0:log-level=error");
        if self.one_second_gop {
            let gop = clip.rate().round().max(1.0);
            text.push_str(&format!(":keyint={gop}:min-keyint={gop}:scenecut=0"));
        }
        text
    }

    /// The options as a person reads them.
    pub fn options(&self, clip: &RawClip) -> String {
        let tune = if self.zero_latency {
            " -tune zerolatency"
        } else {
            ""
        };
        format!(
            "-c:v libx265 -preset {}{tune} -x265-params crf=N:{}",
            self.preset,
            self.parameters(clip)
        )
    }

    fn encode(&self, ffmpeg: &Ffmpeg, clip: &RawClip, crf: f64, target: &Path) -> Result<Point> {
        let mut args = clip.ffmpeg_input();
        args.extend(words(&format!("-c:v libx265 -preset {}", self.preset)));
        if self.zero_latency {
            args.extend(words("-tune zerolatency"));
        }
        args.extend([
            "-x265-params".into(),
            format!("crf={crf:.3}:{}", self.parameters(clip)),
            "-f".into(),
            "hevc".into(),
            target.display().to_string(),
        ]);
        let started = std::time::Instant::now();
        ffmpeg.run(&args)?;
        let seconds = started.elapsed().as_secs_f64();
        let psnr_y = ffmpeg.psnr_y(&input(target), clip)?;
        Ok(Point {
            crf,
            bytes: std::fs::metadata(target)?.len(),
            psnr_y,
            seconds,
        })
    }

    /// Finds the CRF whose Y-PSNR is `wanted`. Every encode stays in `folder`.
    pub fn match_psnr(
        &self,
        ffmpeg: &Ffmpeg,
        clip: &RawClip,
        wanted: f64,
        folder: &Path,
        mut progress: impl FnMut(&Point),
    ) -> Result<Matched> {
        let mut points: Vec<Point> = Vec::new();
        search(wanted, &mut points, |crf| {
            let point = self.encode(ffmpeg, clip, crf, &self.file(folder, crf))?;
            progress(&point);
            Ok(point)
        })?;
        let Some(nearest) = nearest(&points, wanted) else {
            bail!("{}: no encode was made", self.name)
        };
        let file = self.file(folder, nearest.crf);
        let quality = ffmpeg.quality(&input(&file), clip)?;
        Ok(Matched {
            name: self.name,
            options: self.options(clip),
            bytes: bytes_at(&points, wanted),
            nearest,
            quality,
            points,
            file,
        })
    }

    fn file(&self, folder: &Path, crf: f64) -> PathBuf {
        folder.join(format!("{}-{crf:.3}.hevc", self.preset))
    }
}

/// Options with which ffmpeg reads a raw H.265 file.
pub fn input(file: &Path) -> Vec<String> {
    vec![
        "-f".into(),
        "hevc".into(),
        "-i".into(),
        file.display().to_string(),
    ]
}

fn nearest(points: &[Point], wanted: f64) -> Option<Point> {
    points.iter().copied().min_by(|a, b| {
        (a.psnr_y - wanted)
            .abs()
            .total_cmp(&(b.psnr_y - wanted).abs())
    })
}

/// The two points on either side of the wanted quality, the worse one first.
fn bracket(points: &[Point], wanted: f64) -> Option<(Point, Point)> {
    let below = points
        .iter()
        .filter(|p| p.psnr_y <= wanted)
        .max_by(|a, b| a.psnr_y.total_cmp(&b.psnr_y));
    let above = points
        .iter()
        .filter(|p| p.psnr_y >= wanted)
        .min_by(|a, b| a.psnr_y.total_cmp(&b.psnr_y));
    Some((*below?, *above?))
}

/// Y-PSNR falls with CRF almost in a line: the next CRF is read off the two nearest points.
fn search(
    wanted: f64,
    points: &mut Vec<Point>,
    mut encode: impl FnMut(f64) -> Result<Point>,
) -> Result<()> {
    let mut crf = 28.0;
    while points.len() < MOST_ENCODES {
        if points.iter().any(|p| (p.crf - crf).abs() < 0.01) {
            break;
        }
        points.push(encode(crf)?);
        if nearest(points, wanted).is_some_and(|p| (p.psnr_y - wanted).abs() <= TOLERANCE_DB) {
            // One more on the other side lets the bytes be interpolated instead of extrapolated.
            if bracket(points, wanted).is_some() || points.len() + 1 >= MOST_ENCODES {
                break;
            }
        }
        crf = match bracket(points, wanted) {
            Some((low, high)) => {
                let span = low.psnr_y - high.psnr_y;
                let share = if span.abs() > 1e-6 {
                    (wanted - high.psnr_y) / span
                } else {
                    0.5
                };
                // Not too near either end, so that each encode narrows the bracket.
                high.crf + (low.crf - high.crf) * share.clamp(0.05, 0.95)
            }
            None => {
                let Some(from) = nearest(points, wanted) else {
                    break;
                };
                // About half a decibel a step of CRF, and a little further to get to the other side.
                let step = (from.psnr_y - wanted) / 0.5;
                (from.crf + step + step.signum() * 0.6).clamp(0.0, CRF_MAX)
            }
        };
    }
    Ok(())
}

/// Bytes at the wanted quality, between the two points beside it, in the logarithm.
fn bytes_at(points: &[Point], wanted: f64) -> Option<f64> {
    let (low, high) = bracket(points, wanted)?;
    let span = high.psnr_y - low.psnr_y;
    if span < 1e-9 {
        return Some(low.bytes as f64);
    }
    let share = (wanted - low.psnr_y) / span;
    let (a, b) = ((low.bytes as f64).ln(), (high.bytes as f64).ln());
    Some((a + (b - a) * share).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A codec of 6 dB for each doubling of the rate, with CRF and PSNR in a curve.
    fn model(crf: f64) -> Point {
        let psnr_y = 55.0 - 0.55 * crf - 0.002 * crf * crf;
        Point {
            crf,
            bytes: (1000.0 * 2f64.powf(psnr_y / 6.0)) as u64,
            psnr_y,
            seconds: 0.0,
        }
    }

    #[test]
    fn finds_the_rate_at_a_quality() {
        for wanted in [28.0, 33.3, 38.0, 44.0, 50.0] {
            let mut points = Vec::new();
            search(wanted, &mut points, |crf| Ok(model(crf))).unwrap();
            let exact = 1000.0 * 2f64.powf(wanted / 6.0);
            let found = bytes_at(&points, wanted).unwrap();
            assert!(
                (found / exact - 1.0).abs() < 0.002,
                "{wanted} dB: {found} instead of {exact}"
            );
            assert!(points.len() <= MOST_ENCODES);
        }
    }

    #[test]
    fn says_nothing_about_a_quality_out_of_reach() {
        for wanted in [10.0, 60.0] {
            let mut points = Vec::new();
            search(wanted, &mut points, |crf| Ok(model(crf))).unwrap();
            assert_eq!(bytes_at(&points, wanted), None);
            let end = nearest(&points, wanted).unwrap().crf;
            assert!(end == 0.0 || end == CRF_MAX, "stopped at {end}");
        }
    }

    /// With the real encoder: a moving pattern, matched within the tolerance.
    #[test]
    fn x265_is_matched_on_a_real_encode() {
        let ffmpeg =
            Ffmpeg::new(crate::environment::ffmpeg().expect("ffmpeg comes with `make bootstrap`"));
        let dir = tempfile::tempdir().unwrap();
        let (width, height, frames) = (160u32, 96u32, 12u64);
        let mut raw = Vec::new();
        for t in 0..frames as u32 {
            for y in 0..height {
                for x in 0..width {
                    raw.push((((x + 2 * t) * 3) ^ (y * 5 + t)) as u8 / 2 + (x / 2) as u8);
                }
            }
            raw.extend(std::iter::repeat_n(128u8, (width * height / 2) as usize));
        }
        let path = dir.path().join("pattern.i420");
        std::fs::write(&path, raw).unwrap();
        let clip = RawClip {
            path,
            width,
            height,
            fps: (25, 1),
            frames,
        };
        for anchor in ANCHORS {
            let found = anchor
                .match_psnr(&ffmpeg, &clip, 36.0, dir.path(), |_| ())
                .unwrap();
            assert!(
                (found.nearest.psnr_y - 36.0).abs() < 0.5,
                "{}: {:?}",
                anchor.name,
                found.nearest
            );
            assert!((found.quality.psnr_y - found.nearest.psnr_y).abs() < 0.01);
            let bytes = found.bytes.expect("36 dB is within reach");
            assert!(
                (bytes / found.nearest.bytes as f64 - 1.0).abs() < 0.2,
                "{found:?}"
            );
            assert!(found.quality.ssim > 0.5 && found.quality.ssim <= 1.0);
        }
        // The source against itself.
        let same = ffmpeg.quality(&clip.ffmpeg_input(), &clip).unwrap();
        assert_eq!((same.psnr_y, same.ssim), (100.0, 1.0));
    }
}
