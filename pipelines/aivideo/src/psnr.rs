// SPDX-License-Identifier: Apache-2.0
//! PSNR between two raw clips, in the two ways in which the field averages it.

use std::fs::File;
use std::io::{BufReader, Read};

use anyhow::{Context, Result, bail};

use crate::rawclip::RawClip;

/// A frame without any error counts as this many decibels, as in x264.
const BEST: f64 = 100.0;

#[derive(Clone, Copy, Debug)]
pub struct Psnr {
    /// Mean of the frames' luma PSNRs: what JVET's common test conditions report.
    pub y_frames: f64,
    /// PSNR of the luma error averaged over all frames: what ffmpeg's filter reports.
    pub y: f64,
    pub u: f64,
    pub v: f64,
}

fn decibels(error: f64) -> f64 {
    if error <= 0.0 {
        BEST
    } else {
        (10.0 * (255.0 * 255.0 / error).log10()).min(BEST)
    }
}

fn squared(a: &[u8], b: &[u8]) -> u64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2))
        .sum()
}

/// Compares frame by frame. Both clips must have the same size and number of frames.
pub fn measure(decoded: &RawClip, source: &RawClip) -> Result<Psnr> {
    let frames = source.count()?;
    let got = decoded.count()?;
    if (decoded.width, decoded.height) != (source.width, source.height) {
        bail!("the decoded pictures have another size than the source");
    }
    if got != frames || frames == 0 {
        bail!("{frames} frames went in but {got} came out");
    }
    let open = |clip: &RawClip| -> Result<BufReader<File>> {
        let file = File::open(&clip.path)
            .with_context(|| format!("cannot read {}", clip.path.display()))?;
        Ok(BufReader::with_capacity(1 << 20, file))
    };
    let (mut a, mut b) = (open(decoded)?, open(source)?);
    let size = usize::try_from(source.frame_bytes())?;
    let luma = source.width as usize * source.height as usize;
    let chroma = (size - luma) / 2;
    let (mut one, mut two) = (vec![0; size], vec![0; size]);
    let mut sums = [0u64; 3];
    let mut y_frames = 0.0;
    for _ in 0..frames {
        a.read_exact(&mut one)?;
        b.read_exact(&mut two)?;
        let y = squared(&one[..luma], &two[..luma]);
        y_frames += decibels(y as f64 / luma as f64);
        sums[0] += y;
        for (plane, sum) in sums[1..].iter_mut().enumerate() {
            let range = luma + plane * chroma..luma + (plane + 1) * chroma;
            *sum += squared(&one[range.clone()], &two[range]);
        }
    }
    let count = frames as f64;
    Ok(Psnr {
        y_frames: y_frames / count,
        y: decibels(sums[0] as f64 / (count * luma as f64)),
        u: decibels(sums[1] as f64 / (count * chroma as f64)),
        v: decibels(sums[2] as f64 / (count * chroma as f64)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn write(path: &Path, add: impl Fn(usize, usize) -> u8) -> RawClip {
        let clip = RawClip {
            path: path.to_path_buf(),
            width: 64,
            height: 48,
            fps: (25, 1),
            frames: 3,
        };
        let size = clip.frame_bytes() as usize;
        let bytes: Vec<u8> = (0..3)
            .flat_map(|t| (0..size).map(move |i| (t, i)))
            .map(|(t, i)| ((i * 7 + t * 31) % 199) as u8 + add(t, i))
            .collect();
        std::fs::write(path, bytes).unwrap();
        clip
    }

    #[test]
    fn both_averages_are_what_their_definitions_say() {
        let dir = tempfile::tempdir().unwrap();
        let source = write(&dir.path().join("a"), |_, _| 0);
        // Errors of 1, 2 and 4 in the three frames.
        let decoded = write(&dir.path().join("b"), |t, _| 1 << t);
        let found = measure(&decoded, &source).unwrap();
        let frames = (0..3)
            .map(|t| 10.0 * (65025.0 / 4f64.powi(t)).log10())
            .sum::<f64>()
            / 3.0;
        assert!((found.y_frames - frames).abs() < 1e-9);
        let mean = 10.0 * (65025.0f64 / 7.0).log10();
        for value in [found.y, found.u, found.v] {
            assert!((value - mean).abs() < 1e-9);
        }
        assert_eq!(measure(&source, &source).unwrap().y_frames, 100.0);
        std::fs::write(&decoded.path, vec![0; decoded.frame_bytes() as usize]).unwrap();
        let error = measure(&decoded, &source).unwrap_err().to_string();
        assert!(error.contains("3 frames went in but 1 came out"), "{error}");
    }

    #[test]
    fn the_mean_over_the_error_is_ffmpegs() {
        let Ok(program) = crate::environment::ffmpeg() else {
            aivideo_skip::skip!("no ffmpeg to compare with");
            return;
        };
        let ffmpeg = crate::ffmpeg::Ffmpeg::new(program);
        let dir = tempfile::tempdir().unwrap();
        let source = write(&dir.path().join("a"), |_, _| 0);
        let decoded = write(&dir.path().join("b"), |t, i| ((i / 3 + t) % (3 + t)) as u8);
        let ours = measure(&decoded, &source).unwrap();
        let theirs = ffmpeg.psnr_y(&decoded.ffmpeg_input(), &source).unwrap();
        assert!((ours.y - theirs).abs() < 1e-4, "{ours:?} against {theirs}");
    }
}
