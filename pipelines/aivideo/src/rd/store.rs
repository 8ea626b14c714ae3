// SPDX-License-Identifier: Apache-2.0
//! Finished encodes on disk. Each is a file of its own that appears whole or not at all, so a run
//! can be ended at any moment and goes on where it stood.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::codecs::Measured;
use crate::ours;

/// Counts up when what is measured, or how, changes: older cells are then measured anew.
const METHOD: u32 = 1;

/// Everything that decides the outcome of an encode, its times aside.
#[derive(Serialize)]
pub struct Identity<'a> {
    /// SHA-256 of the clip's raw frames.
    pub clip: &'a str,
    pub fps: (i32, i32),
    pub codec: String,
    /// All options with the quality left open.
    pub options: String,
    pub value: f64,
    pub threads: usize,
    /// The build of the encoder: ffmpeg's version, or hashes of our plugin and weights.
    pub build: &'a str,
    pub ffmpeg: &'a str,
}

impl Identity<'_> {
    pub fn key(&self) -> Result<String> {
        let text = format!("{METHOD} {}", serde_json::to_string(self)?);
        Ok(ours::hash(text.as_bytes())[..24].to_owned())
    }
}

/// A finished encode.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    pub key: String,
    pub clip: String,
    pub codec: String,
    pub options: String,
    pub value: f64,
    /// Beside the curve's own points: made to meet the rate of another stream.
    pub matched: bool,
    #[serde(flatten)]
    pub measured: Measured,
    /// The stream's file below `cells/`.
    pub stream: String,
    /// Seconds that the whole cell took.
    pub took: f64,
    pub machine: String,
    /// The machine's load average when it was done: above the number of processors, times on the
    /// clock say little.
    #[serde(default)]
    pub load: f64,
}

/// The output directory of a run.
pub struct Store {
    folder: PathBuf,
    /// Held as long as the run lasts.
    _lock: File,
}

impl Store {
    pub fn open(folder: &Path) -> Result<Self> {
        for part in ["cells", "raw", "stills", "work"] {
            let path = folder.join(part);
            std::fs::create_dir_all(&path)
                .with_context(|| format!("cannot make {}", path.display()))?;
        }
        let lock = File::create(folder.join(".lock"))
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        if lock.try_lock().is_err() {
            bail!("another run is writing to {}", folder.display());
        }
        let store = Self {
            folder: folder.to_path_buf(),
            _lock: lock,
        };
        // What a killed run left half-made.
        for entry in std::fs::read_dir(store.work())? {
            let _ = std::fs::remove_file(entry?.path());
        }
        for entry in std::fs::read_dir(store.raw())? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "part") {
                let _ = std::fs::remove_file(path);
            }
        }
        Ok(store)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn raw(&self) -> PathBuf {
        self.folder.join("raw")
    }

    pub fn stills(&self) -> PathBuf {
        self.folder.join("stills")
    }

    /// For files that nobody misses after the cell.
    pub fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    pub fn cells(&self) -> PathBuf {
        self.folder.join("cells")
    }

    /// The finished cell of this key. A damaged one counts as none.
    pub fn load(&self, key: &str) -> Option<Cell> {
        let text = std::fs::read(self.cells().join(format!("{key}.json"))).ok()?;
        let cell: Cell = serde_json::from_slice(&text).ok()?;
        (cell.key == key && self.cells().join(&cell.stream).is_file()).then_some(cell)
    }

    /// Keeps a cell and its stream, the stream first.
    pub fn save(&self, cell: &Cell, stream: &Path) -> Result<()> {
        std::fs::rename(stream, self.cells().join(&cell.stream))
            .with_context(|| format!("cannot keep {}", cell.stream))?;
        write(
            &self.cells().join(format!("{}.json", cell.key)),
            &serde_json::to_vec_pretty(cell)?,
        )
    }
}

/// Writes a file whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut half = path.as_os_str().to_owned();
    half.push(".half");
    let half = PathBuf::from(half);
    let attempt = || -> Result<()> {
        let mut file = File::create(&half)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&half, path)?;
        Ok(())
    };
    attempt().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn measured(kbps: f64, psnr_y: f64) -> Measured {
        Measured {
            bytes: (kbps * 125.0) as u64,
            file_bytes: (kbps * 125.0) as u64,
            kbps,
            psnr_y,
            psnr_y_mse: psnr_y - 0.1,
            psnr_u: psnr_y + 2.0,
            psnr_v: psnr_y + 2.0,
            ssim: 1.0 - 10f64.powf(-psnr_y / 25.0),
            vmaf: (psnr_y * 2.2).min(100.0),
            encode_fps: 20.0,
            decode_fps: 40.0,
            encode_cpu_ms: 80.0,
            decode_cpu_ms: 40.0,
        }
    }

    fn identity(value: f64, build: &str) -> String {
        Identity {
            clip: "c0ffee",
            fps: (25, 1),
            codec: "x265-medium".into(),
            options: "crf=N".into(),
            value,
            threads: 2,
            build,
            ffmpeg: "9",
        }
        .key()
        .unwrap()
    }

    #[test]
    fn keys_tell_settings_and_builds_apart() {
        assert_eq!(identity(28.0, "a"), identity(28.0, "a"));
        assert_ne!(identity(28.0, "a"), identity(29.0, "a"));
        assert_ne!(identity(28.0, "a"), identity(28.0, "b"));
    }

    #[test]
    fn cells_come_back_and_halves_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("out");
        let store = Store::open(&folder).unwrap();
        let again = Store::open(&folder).err().unwrap().to_string();
        assert!(again.contains("another run"), "{again}");

        let cell = Cell {
            key: "k1".into(),
            clip: "a.mp4".into(),
            codec: "x265-medium".into(),
            options: String::new(),
            value: 28.0,
            matched: false,
            measured: measured(500.0, 36.0),
            stream: "k1.hevc".into(),
            took: 1.0,
            machine: String::new(),
            load: 0.0,
        };
        let stream = store.work().join("stream");
        std::fs::write(&stream, b"abc").unwrap();
        store.save(&cell, &stream).unwrap();
        assert_eq!(store.load("k1").unwrap().measured.psnr_y, 36.0);
        assert!(store.load("k2").is_none());

        // Killed between the stream and its cell, or in the middle of a file.
        std::fs::write(store.cells().join("k3.json"), b"{\"key\": \"k3\", ").unwrap();
        assert!(store.load("k3").is_none());
        std::fs::remove_file(store.cells().join("k1.hevc")).unwrap();
        assert!(store.load("k1").is_none());
        std::fs::write(store.work().join("left"), b"x").unwrap();
        std::fs::write(store.raw().join("left.part"), b"x").unwrap();
        drop(store);
        let store = Store::open(&folder).unwrap();
        assert!(!store.work().join("left").exists() && !store.raw().join("left.part").exists());
    }
}
