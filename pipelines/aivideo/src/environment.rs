// SPDX-License-Identifier: Apache-2.0
//! Where the clone, ffmpeg and the clips are, and whether GStreamer sees our elements.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

const CURE: &str = "run `make build` once, then `. ./env.sh` in this shell";

/// The clone: `AIVIDEO_ROOT` (set by env.sh), or the directory this program was built in.
pub fn root() -> Result<PathBuf> {
    if let Some(root) = std::env::var_os("AIVIDEO_ROOT") {
        return Ok(PathBuf::from(root));
    }
    // target/release/aivideo, or a test below target/release/deps
    if let Ok(program) = std::env::current_exe()
        && let Some(root) = program
            .ancestors()
            .find(|dir| dir.join("scripts/bootstrap.sh").is_file())
    {
        return Ok(root.to_path_buf());
    }
    bail!("the project's directory is not known: AIVIDEO_ROOT is not set; {CURE}")
}

fn dependency(variable: &str, below_root: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .or_else(|| Some(root().ok()?.join(".deps").join(below_root)))
        .filter(|path| path.exists())
}

/// The ffmpeg that carries x265 and libvmaf.
pub fn ffmpeg() -> Result<PathBuf> {
    dependency("AIVIDEO_FFMPEG", "ffmpeg/ffmpeg").ok_or_else(|| {
        anyhow::anyhow!(
            "no ffmpeg for the anchors and the metrics (AIVIDEO_FFMPEG, .deps/ffmpeg/ffmpeg): run `make bootstrap`"
        )
    })
}

/// A clip that `make bootstrap` fetched.
pub fn clip(name: &str) -> Result<PathBuf> {
    dependency("AIVIDEO_CLIPS", "clips")
        .map(|folder| folder.join(name))
        .filter(|clip| clip.is_file())
        .ok_or_else(|| anyhow::anyhow!("{name} is missing in .deps/clips: run `make bootstrap`"))
}

/// Fails with one message that names every element GStreamer does not find, and the cure.
pub fn require_elements(names: &[&str]) -> Result<()> {
    let missing: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| gst::ElementFactory::find(name).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let path = std::env::var("GST_PLUGIN_PATH").unwrap_or_else(|_| "not set".into());
    bail!(
        "GStreamer does not find: {}. GST_PLUGIN_PATH is {path}. For elements of this project {CURE}; \
         the others come with the packages of `make bootstrap`. \
         `gst-inspect-1.0 -b` lists plugins that failed to load",
        missing.join(", ")
    )
}

/// The processor, as the kernel names it, and how many of them.
pub fn machine() -> String {
    let name = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism()
        .map(std::num::NonZero::get)
        .unwrap_or(1);
    format!("{name}, {cores} cores")
}

/// Processes that wanted to run, on average over the last minute; 0 where it is not known.
pub fn load() -> f64 {
    std::fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0)
}

/// A path relative to the working directory when it lies below it, for shorter messages.
pub fn shorten(path: &Path) -> String {
    std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok().map(Path::to_path_buf))
        .unwrap_or_else(|| path.to_path_buf())
        .display()
        .to_string()
}
