// SPDX-License-Identifier: Apache-2.0
//! x265 at the Y-PSNR of our stream: the CRF is searched, the bytes are those of real files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::anchors::{self, Anchor, Conditions};
use crate::ffmpeg::{Ffmpeg, Quality};
use crate::rawclip::RawClip;
use crate::search::Search;

/// The anchors of the demo.
pub fn anchors() -> Result<Vec<&'static Anchor>> {
    ["x265-ultrafast-zl", "x265-medium"]
        .iter()
        .map(|id| anchors::find(id).with_context(|| format!("no anchor {id}")))
        .collect()
}

/// The demo leaves threads to the encoder.
const CONDITIONS: Conditions = Conditions {
    gop_seconds: 1.0,
    threads: None,
};

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
    /// Options with which ffmpeg reads the nearest encode.
    #[serde(skip)]
    pub input: Vec<String>,
}

/// Near enough for no further encode; what is left is interpolated.
const TOLERANCE_DB: f64 = 0.05;
const MOST_ENCODES: usize = 8;

/// Finds the CRF whose Y-PSNR is `wanted`. Every encode stays in `folder`.
pub fn match_psnr(
    anchor: &Anchor,
    ffmpeg: &Ffmpeg,
    clip: &RawClip,
    wanted: f64,
    folder: &Path,
    mut progress: impl FnMut(&Point),
) -> Result<Matched> {
    let file = |crf: f64| -> PathBuf {
        folder.join(format!("{}-{crf:.3}.{}", anchor.id, anchor.format()))
    };
    let mut points: Vec<Point> = Vec::new();
    let search = Search {
        wanted,
        start: 28.0,
        slope: anchor.slopes().1,
        limits: anchor.limits(),
        tolerance: TOLERANCE_DB,
        most: MOST_ENCODES,
        whole: anchor.whole(),
        both_sides: true,
    };
    search.run(|crf| {
        let target = file(crf);
        let took = anchor.encode(ffmpeg, clip, CONDITIONS, crf, &target)?;
        let point = Point {
            crf,
            bytes: std::fs::metadata(&target)?.len(),
            psnr_y: ffmpeg.psnr_y(&anchor.input(&target), clip)?,
            seconds: took.seconds,
        };
        progress(&point);
        points.push(point);
        Ok(point.psnr_y)
    })?;
    let Some(nearest) = nearest(&points, wanted) else {
        bail!("{}: no encode was made", anchor.name)
    };
    let input = anchor.input(&file(nearest.crf));
    let quality = ffmpeg.quality(&input, clip)?;
    Ok(Matched {
        name: anchor.name,
        options: anchor.options(clip, CONDITIONS),
        bytes: bytes_at(&points, wanted),
        nearest,
        quality,
        points,
        input,
    })
}

fn nearest(points: &[Point], wanted: f64) -> Option<Point> {
    points.iter().copied().min_by(|a, b| {
        (a.psnr_y - wanted)
            .abs()
            .total_cmp(&(b.psnr_y - wanted).abs())
    })
}

/// Bytes at the wanted quality, between the two points beside it, in the logarithm.
fn bytes_at(points: &[Point], wanted: f64) -> Option<f64> {
    let low = points
        .iter()
        .filter(|p| p.psnr_y <= wanted)
        .max_by(|a, b| a.psnr_y.total_cmp(&b.psnr_y))?;
    let high = points
        .iter()
        .filter(|p| p.psnr_y >= wanted)
        .min_by(|a, b| a.psnr_y.total_cmp(&b.psnr_y))?;
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

    #[test]
    fn bytes_are_interpolated_between_two_encodes_and_never_extrapolated() {
        // A codec of 6 dB for each doubling of the rate.
        let points: Vec<Point> = [30.0, 33.0, 37.0]
            .iter()
            .map(|&psnr_y| Point {
                crf: 60.0 - psnr_y,
                bytes: (1e6 * 2f64.powf(psnr_y / 6.0)) as u64,
                psnr_y,
                seconds: 0.0,
            })
            .collect();
        let found = bytes_at(&points, 35.0).unwrap();
        assert!((found / (1e6 * 2f64.powf(35.0 / 6.0)) - 1.0).abs() < 1e-5);
        assert_eq!(bytes_at(&points, 29.0), None);
        assert_eq!(bytes_at(&points, 38.0), None);
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
        for anchor in anchors().unwrap() {
            let found = match_psnr(anchor, &ffmpeg, &clip, 36.0, dir.path(), |_| ()).unwrap();
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
