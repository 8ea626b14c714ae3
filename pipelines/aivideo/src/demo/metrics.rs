// SPDX-License-Identifier: Apache-2.0
//! Raw clips, and what ffmpeg measures between two of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Serialize;

/// A raw I420 file: frames of `width` by `height` one after the other.
#[derive(Clone, Debug)]
pub struct RawClip {
    pub path: PathBuf,
    pub width: u32,
    pub height: u32,
    pub fps: (i32, i32),
    pub frames: u64,
}

impl RawClip {
    pub fn frame_bytes(&self) -> u64 {
        let (w, h) = (u64::from(self.width), u64::from(self.height));
        w * h + 2 * w.div_ceil(2) * h.div_ceil(2)
    }

    /// The frames that the file holds now; an incomplete last frame is an error.
    pub fn count(&self) -> Result<u64> {
        let bytes = std::fs::metadata(&self.path)
            .with_context(|| format!("cannot read {}", self.path.display()))?
            .len();
        if bytes % self.frame_bytes() != 0 {
            bail!(
                "{} does not hold whole frames of {}x{}",
                self.path.display(),
                self.width,
                self.height
            );
        }
        Ok(bytes / self.frame_bytes())
    }

    pub fn rate(&self) -> f64 {
        f64::from(self.fps.0) / f64::from(self.fps.1)
    }

    /// Options with which ffmpeg reads this file.
    pub fn ffmpeg_input(&self) -> Vec<String> {
        vec![
            "-f".into(),
            "rawvideo".into(),
            "-pix_fmt".into(),
            "yuv420p".into(),
            "-s".into(),
            format!("{}x{}", self.width, self.height),
            "-r".into(),
            format!("{}/{}", self.fps.0, self.fps.1),
            "-i".into(),
            self.path.display().to_string(),
        ]
    }

    /// The pipeline elements that read this file.
    pub fn gst_source(&self) -> String {
        format!(
            "filesrc location=\"{}\" blocksize={} ! rawvideoparse format=i420 width={} height={} framerate={}/{}",
            self.path.display(),
            self.frame_bytes(),
            self.width,
            self.height,
            self.fps.0,
            self.fps.1
        )
    }
}

/// Quality of a clip against its source.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quality {
    pub psnr_y: f64,
    pub psnr: f64,
    pub ssim: f64,
    pub vmaf: f64,
}

/// ffmpeg, with what it printed when it fails.
pub struct Ffmpeg {
    program: PathBuf,
}

impl Ffmpeg {
    pub fn new(program: PathBuf) -> Self {
        Self { program }
    }

    /// Runs ffmpeg and returns what it wrote to standard error.
    pub fn run(&self, args: &[String]) -> Result<String> {
        let output = Command::new(&self.program)
            .args(["-hide_banner", "-nostdin", "-y"])
            .args(args)
            .stdout(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            let tail: Vec<&str> = text.lines().rev().take(8).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            bail!(
                "ffmpeg {} failed ({}):\n{}",
                args.join(" "),
                output.status,
                tail.join("\n")
            );
        }
        Ok(text)
    }

    /// Y-PSNR of `coded` (any input options of ffmpeg) against `source`.
    pub fn psnr_y(&self, coded: &[String], source: &RawClip) -> Result<f64> {
        let mut args = coded.to_vec();
        args.extend(source.ffmpeg_input());
        args.extend(words(
            "-lavfi [0:v]settb=1/25,setpts=N[a];[1:v]settb=1/25,setpts=N[b];[a][b]psnr -f null -",
        ));
        let text = self.run(&args)?;
        number(&text, "PSNR y:").context("ffmpeg printed no PSNR")
    }

    /// PSNR, SSIM and VMAF of `coded` against `source`.
    pub fn quality(&self, coded: &[String], source: &RawClip) -> Result<Quality> {
        let mut args = coded.to_vec();
        args.extend(source.ffmpeg_input());
        args.extend(words(
            "-lavfi [0:v]settb=1/25,setpts=N,split=3[a][b][c];[1:v]settb=1/25,setpts=N,split=3[d][e][f];\
             [a][d]psnr[p];[b][e]ssim[s];[c][f]libvmaf=n_threads=2[v] \
             -map [p] -f null - -map [s] -f null - -map [v] -f null -",
        ));
        let text = self.run(&args)?;
        let psnr = text
            .lines()
            .find(|line| line.contains("PSNR y:"))
            .context("ffmpeg printed no PSNR")?;
        let ssim = text
            .lines()
            .find(|line| line.contains("SSIM Y:"))
            .context("ffmpeg printed no SSIM")?;
        Ok(Quality {
            psnr_y: number(psnr, "y:").context("no Y-PSNR")?,
            psnr: number(psnr, "average:").context("no average PSNR")?,
            ssim: number(ssim, "All:").context("no SSIM")?,
            vmaf: number(&text, "VMAF score:").context("ffmpeg printed no VMAF")?,
        })
    }

    /// One frame of `input` as a PNG or JPEG file, by the target's extension.
    pub fn still(&self, input: &[String], frame: u64, target: &Path) -> Result<()> {
        let mut args = input.to_vec();
        args.extend([
            "-vf".into(),
            format!("select=eq(n\\,{frame})"),
            "-frames:v".into(),
            "1".into(),
            "-q:v".into(),
            "2".into(),
            target.display().to_string(),
        ]);
        self.run(&args)?;
        if !target.is_file() {
            bail!("frame {frame} does not exist in {}", input.join(" "));
        }
        Ok(())
    }
}

pub fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The number after the last occurrence of `key`; `inf` (two equal clips) reads as 100.
fn number(text: &str, key: &str) -> Option<f64> {
    let rest = text[text.rfind(key)? + key.len()..].trim_start();
    let word = rest.split(|c: char| c.is_whitespace() || c == '(').next()?;
    if word == "inf" {
        Some(100.0)
    } else {
        word.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "[Parsed_psnr_4 @ 0x1] PSNR y:38.123 u:42.5 v:43.1 average:39.01 min:36 max:41\n\
        [Parsed_ssim_5 @ 0x2] SSIM Y:0.961 (14.1) U:0.97 (15) V:0.97 (15) All:0.9654 (14.6)\n\
        [Parsed_libvmaf_6 @ 0x3] VMAF score: 91.25\n";

    #[test]
    fn reads_what_the_filters_print() {
        assert_eq!(number(SAID, "PSNR y:"), Some(38.123));
        assert_eq!(number(SAID, "All:"), Some(0.9654));
        assert_eq!(number(SAID, "VMAF score:"), Some(91.25));
        assert_eq!(number("PSNR y:inf u:inf", "PSNR y:"), Some(100.0));
        assert_eq!(number(SAID, "XPSNR"), None);
    }

    #[test]
    fn counts_frames_of_odd_sizes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.i420");
        let clip = RawClip {
            path: path.clone(),
            width: 5,
            height: 3,
            fps: (25, 1),
            frames: 0,
        };
        assert_eq!(clip.frame_bytes(), 15 + 2 * 3 * 2);
        std::fs::write(&path, vec![0; 54]).unwrap();
        assert_eq!(clip.count().unwrap(), 2);
        std::fs::write(&path, vec![0; 55]).unwrap();
        assert!(clip.count().is_err());
    }
}
