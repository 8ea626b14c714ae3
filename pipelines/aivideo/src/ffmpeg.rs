// SPDX-License-Identifier: Apache-2.0
//! ffmpeg: one call, what it measured between two clips, and what it says about itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::rawclip::RawClip;

/// Quality of a clip against its source.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quality {
    pub psnr_y: f64,
    pub psnr: f64,
    pub ssim: f64,
    pub vmaf: f64,
}

/// What a finished call of ffmpeg took, as it counts itself (`-benchmark`).
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Took {
    /// Time on the clock.
    pub seconds: f64,
    /// Processor time of all its threads.
    pub cpu_seconds: f64,
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

    /// The program itself, for a caller that reads its output.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs ffmpeg and returns what it took.
    pub fn timed(&self, args: &[String]) -> Result<Took> {
        let mut all = words("-benchmark");
        all.extend_from_slice(args);
        took(&self.run(&all)?).context("ffmpeg printed no times")
    }

    /// The first line of `ffmpeg -version`: which build this is.
    pub fn version(&self) -> Result<String> {
        let text = self.says("-version")?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    /// Names of the encoders in this build.
    pub fn encoders(&self) -> Result<Vec<String>> {
        Ok(self
            .says("-encoders")?
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned))
            .collect())
    }

    fn says(&self, option: &str) -> Result<String> {
        let output = Command::new(&self.program)
            .args(["-hide_banner", option])
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        if !output.status.success() {
            bail!("{} {option} failed", self.program.display());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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

/// Reads `bench: utime=0.185s stime=0.111s rtime=0.310s`.
fn took(text: &str) -> Option<Took> {
    let line = text.lines().rfind(|line| line.contains("rtime="))?;
    let value = |key: &str| {
        let rest = &line[line.find(key)? + key.len()..];
        rest.split('s').next()?.parse::<f64>().ok()
    };
    Some(Took {
        seconds: value("rtime=")?,
        cpu_seconds: value("utime=")? + value("stime=")?,
    })
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
        let times =
            took("bench: utime=0.185s stime=0.111s rtime=0.310s\nbench: maxrss=1KiB\n").unwrap();
        assert!((times.cpu_seconds - 0.296).abs() < 1e-9 && times.seconds == 0.31);
        assert!(took("nothing").is_none());
    }
}
