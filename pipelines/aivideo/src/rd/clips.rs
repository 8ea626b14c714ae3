// SPDX-License-Identifier: Apache-2.0
//! The clips of a run: found in folders, decoded once, kept as raw files under `raw/`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::class::{Class, Measure, Meter};
use super::store;
use crate::ffmpeg::{Ffmpeg, Took};
use crate::ours;
use crate::rawclip::RawClip;

/// Files in folders that are taken for clips. Files named on the command line may have any name.
const EXTENSIONS: &[&str] = &[
    "mp4", "mkv", "mov", "avi", "webm", "mpg", "mpeg", "m4v", "ts", "y4m", "264", "h264", "265",
    "h265", "hevc", "obu", "ivf", "mjpeg", "gif",
];
/// Fewer frames say nothing about a video codec.
pub const LEAST_FRAMES: u64 = 8;
/// Smallest side that every encoder accepts.
const LEAST_SIDE: u32 = 64;

/// A clip that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Short and unique in the run.
    pub name: String,
    pub path: PathBuf,
}

/// A clip with its raw frames.
#[derive(Clone, Debug)]
pub struct Clip {
    pub name: String,
    pub source: PathBuf,
    pub raw: RawClip,
    /// SHA-256 of the raw frames.
    pub hash: String,
    pub measure: Measure,
    pub class: Class,
}

/// What is stored beside a raw file.
#[derive(Serialize, Deserialize)]
struct Note {
    width: u32,
    height: u32,
    fps: (i32, i32),
    frames: u64,
    hash: String,
    measure: Measure,
}

impl Note {
    fn clip(&self, path: &Path) -> RawClip {
        RawClip {
            path: path.to_path_buf(),
            width: self.width,
            height: self.height,
            fps: self.fps,
            frames: self.frames,
        }
    }
}

/// All clips in the given files and folders, in order of their paths.
pub fn find(inputs: &[PathBuf]) -> Result<Vec<Found>> {
    let mut paths = Vec::new();
    for input in inputs {
        if input.is_dir() {
            let before = paths.len();
            walk(input, &mut paths)?;
            if paths.len() == before {
                bail!(
                    "no clip in {} (looked for {})",
                    input.display(),
                    EXTENSIONS.join(", ")
                );
            }
        } else if input.exists() {
            paths.push(input.clone());
        } else {
            bail!("no such file or folder: {}", input.display());
        }
    }
    paths.sort();
    paths.dedup();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    Ok(paths
        .into_iter()
        .map(|path| {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            let count = names.entry(name.clone()).or_default();
            *count += 1;
            let name = if *count > 1 {
                format!("{name} ({count})")
            } else {
                name
            };
            Found { name, path }
        })
        .collect())
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read the folder {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, paths)?;
        } else if path
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| EXTENSIONS.contains(&e.to_ascii_lowercase().as_str()))
        {
            paths.push(path);
        }
    }
    Ok(())
}

/// How clips are cut and scaled.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Shape {
    /// At most so many frames from the start.
    pub frames: Option<u64>,
    /// At most so many pixels; larger clips are scaled down and keep their shape.
    pub area: Option<u64>,
}

/// The filter that gives square pixels, even sides and at most the wanted area.
fn filter(area: Option<u64>) -> String {
    let scale = match area {
        Some(area) => format!("min(1,sqrt({area}/(iw*max(sar,0.01)*ih)))"),
        None => "1".into(),
    };
    // Down, but not because a product of square roots fell short of a whole number.
    let side = |length: &str| format!("max({LEAST_SIDE},trunc({length}*{scale}/2+0.001)*2)");
    format!(
        "scale=w='{}':h='{}':flags=area+accurate_rnd,setsar=1",
        side("iw*if(sar,sar,1)"),
        side("ih")
    )
}

/// Decodes the clip into `folder`, unless an earlier run has.
pub fn prepare(found: &Found, shape: Shape, ffmpeg: &Ffmpeg, folder: &Path) -> Result<Clip> {
    let source = ours::file_hash(&found.path)?;
    let key = &ours::hash(
        format!(
            "2 {source} {:?} {} {}",
            shape.frames,
            filter(shape.area),
            ffmpeg.version()?
        )
        .as_bytes(),
    )[..24];
    let (raw, note) = (
        folder.join(format!("{key}.i420")),
        folder.join(format!("{key}.json")),
    );
    let known: Option<Note> = std::fs::read(&note)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    let clip = |note: &Note| Clip {
        name: found.name.clone(),
        source: found.path.clone(),
        raw: note.clip(&raw),
        hash: note.hash.clone(),
        measure: note.measure,
        class: note.measure.class(),
    };
    if let Some(known) = &known
        && clip(known).raw.count().is_ok_and(|n| n == known.frames)
    {
        return Ok(clip(known));
    }
    let half = folder.join(format!("{key}.part"));
    let result = decode(&found.path, shape, ffmpeg, &half);
    let made = match result {
        Ok(made) => made,
        Err(error) => {
            let _ = std::fs::remove_file(&half);
            return Err(error);
        }
    };
    if made.frames < LEAST_FRAMES {
        let _ = std::fs::remove_file(&half);
        bail!(
            "too short: {} frames, at least {LEAST_FRAMES} are needed",
            made.frames
        );
    }
    std::fs::rename(&half, &raw)?;
    store::write(&note, &serde_json::to_vec_pretty(&made)?)?;
    Ok(clip(&made))
}

fn decode(path: &Path, shape: Shape, ffmpeg: &Ffmpeg, target: &Path) -> Result<Note> {
    let mut errors = tempfile::tempfile()?;
    let mut command = Command::new(ffmpeg.program());
    command
        .args(["-hide_banner", "-nostdin", "-v", "error", "-i"])
        .arg(path)
        .args(["-map", "0:v:0", "-fps_mode", "passthrough"]);
    if let Some(frames) = shape.frames {
        command.args(["-frames:v", &frames.to_string()]);
    }
    let mut child = command
        .args(["-vf", &filter(shape.area), "-pix_fmt", "yuv420p"])
        .args(["-f", "yuv4mpegpipe", "-"])
        .stdout(Stdio::piped())
        .stderr(errors.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot start {}", ffmpeg.program().display()))?;
    let pipe = child.stdout.take().context("no output of ffmpeg")?;
    let read = read_y4m(BufReader::with_capacity(1 << 20, pipe), target);
    let status = child.wait()?;
    let mut text = String::new();
    use std::io::Seek;
    errors.rewind()?;
    errors.read_to_string(&mut text)?;
    let said = text.lines().last().unwrap_or("ffmpeg gave no reason");
    if !status.success() {
        bail!("ffmpeg cannot read it as a video: {said}");
    }
    read.with_context(|| format!("ffmpeg gave no pictures ({said})"))
}

/// All frames of any file that ffmpeg reads, at their own size, with the time of decoding.
pub fn raw_of_file(file: &Path, ffmpeg: &Ffmpeg, target: &Path) -> Result<(RawClip, Took)> {
    let shape = Shape {
        frames: None,
        area: None,
    };
    let started = std::time::Instant::now();
    let note = decode(file, shape, ffmpeg, target)?;
    let took = Took {
        seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: 0.0,
    };
    Ok((note.clip(target), took))
}

/// Turns `YUV4MPEG2` into raw frames.
fn read_y4m(mut input: impl BufRead, target: &Path) -> Result<Note> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    let head = String::from_utf8_lossy(&line).into_owned();
    let Some(fields) = head.strip_prefix("YUV4MPEG2 ") else {
        bail!("no YUV4MPEG2 stream");
    };
    let field = |key: char| fields.split_whitespace().find_map(|f| f.strip_prefix(key));
    let side = |key| {
        field(key)
            .and_then(|text| text.parse::<u32>().ok())
            .context("no size")
    };
    let rate = field('F').and_then(|text| {
        let (n, d) = text.split_once(':')?;
        Some((n.parse::<i32>().ok()?, d.parse::<i32>().ok()?))
    });
    let mut clip = RawClip {
        path: target.to_path_buf(),
        width: side('W')?,
        height: side('H')?,
        fps: rate.filter(|(n, d)| *n > 0 && *d > 0).unwrap_or((25, 1)),
        frames: 0,
    };
    let size = usize::try_from(clip.frame_bytes())?;
    let luma = clip.width as usize * clip.height as usize;
    let mut frame = vec![0; size];
    let mut hash = Sha256::new();
    let mut meter = Meter::new(clip.width as usize, clip.height as usize);
    let mut output = BufWriter::new(
        File::create(target).with_context(|| format!("cannot write {}", target.display()))?,
    );
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if !line.starts_with(b"FRAME") {
            bail!("a damaged YUV4MPEG2 stream");
        }
        input.read_exact(&mut frame)?;
        hash.update(&frame);
        meter.add(&frame[..luma]);
        output.write_all(&frame)?;
        clip.frames += 1;
    }
    output.flush()?;
    Ok(Note {
        width: clip.width,
        height: clip.height,
        fps: clip.fps,
        frames: clip.frames,
        hash: hash.finalize().iter().map(|b| format!("{b:02x}")).collect(),
        measure: meter.finish(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_searched_and_names_stay_apart() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "b.mp4",
            "deep/a.MKV",
            "deep/b.mp4",
            "notes.txt",
            "deep/x.jpg",
        ] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        let found = find(&[dir.path().to_path_buf()]).unwrap();
        let names: Vec<&str> = found.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["b.mp4", "a.MKV", "b.mp4 (2)"]);
        let empty = tempfile::tempdir().unwrap();
        let error = find(&[empty.path().to_path_buf()]).unwrap_err().to_string();
        assert!(error.contains("no clip in"), "{error}");
        let error = find(&[dir.path().join("gone")]).unwrap_err().to_string();
        assert!(error.contains("no such file or folder"), "{error}");
    }

    #[test]
    fn y4m_becomes_raw_frames() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.i420");
        let mut stream = b"YUV4MPEG2 W64 H64 F30000:1001 Ip A1:1 C420jpeg\n".to_vec();
        for t in 0..3u8 {
            stream.extend(b"FRAME\n");
            stream.extend(vec![t * 40 + 80; 64 * 64 * 3 / 2]);
        }
        let note = read_y4m(&stream[..], &target).unwrap();
        assert_eq!((note.width, note.height, note.frames), (64, 64, 3));
        assert_eq!(note.fps, (30000, 1001));
        let bytes = std::fs::read(&target).unwrap();
        assert_eq!(bytes.len(), 3 * 6144);
        assert_eq!(note.hash, ours::hash(&bytes));
        assert!((note.measure.luma - 120.0).abs() < 1e-9);
        assert!(read_y4m(&stream[..stream.len() - 1], &target).is_err());
        assert!(read_y4m(&b"RIFF"[..], &target).is_err());
    }
}
