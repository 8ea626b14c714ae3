// SPDX-License-Identifier: Apache-2.0
//! Still pictures for the benchmarks: read, shrunk, spoiled with noise, sent through our elements
//! and through ffmpeg's filters, and compared.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Bench;
use crate::ffmpeg::words;
use crate::gstrun;
use crate::rawclip::RawClip;

/// A plane of bytes.
#[derive(Clone)]
pub struct Plane {
    pub width: usize,
    pub height: usize,
    pub data: Vec<u8>,
}

/// Red, green and blue, interleaved.
pub struct Rgb {
    pub width: usize,
    pub height: usize,
    pub data: Vec<u8>,
}

/// Pictures of a benchmark set, or `None` where it is not there.
pub fn set(bench: &Bench, name: &str) -> Result<Option<Vec<PathBuf>>> {
    let folder = bench.data.join("benchmark").join(name);
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "png"))
        .collect();
    files.sort();
    Ok((!files.is_empty()).then_some(files))
}

/// Reads a PNG.
pub fn read(bench: &Bench, path: &Path) -> Result<Rgb> {
    let head = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let side = |at: usize| -> Option<usize> {
        let bytes = head.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(bytes)).ok()
    };
    let (Some(width), Some(height)) = (side(16), side(20)) else {
        bail!("{} is no PNG", path.display());
    };
    let raw = bench.folder.join("still.rgb");
    let mut args = words("-v error -i");
    args.push(path.display().to_string());
    args.extend(words("-f rawvideo -pix_fmt rgb24"));
    args.push(raw.display().to_string());
    bench.ffmpeg.run(&args)?;
    let data = std::fs::read(&raw)?;
    if data.len() != 3 * width * height {
        bail!("{} is not {width}x{height} after all", path.display());
    }
    Ok(Rgb {
        width,
        height,
        data,
    })
}

impl Rgb {
    /// Without an odd last row and column.
    pub fn even(self) -> Self {
        let (width, height) = (self.width / 2 * 2, self.height / 2 * 2);
        let data = self
            .data
            .chunks_exact(3 * self.width)
            .take(height)
            .flat_map(|row| row[..3 * width].to_vec())
            .collect();
        Self {
            width,
            height,
            data,
        }
    }

    /// BT.601 studio luma, rounded: what papers compare.
    pub fn luma(&self) -> Plane {
        let value = |rgb: &[u8]| {
            let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(f64::from);
            (16.0 + (65.481 * r + 128.553 * g + 24.966 * b) / 255.0).round() as u8
        };
        self.plane(value)
    }

    /// Full-range grey.
    pub fn grey(&self) -> Plane {
        let value = |rgb: &[u8]| {
            let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(f64::from);
            (0.299 * r + 0.587 * g + 0.114 * b).round() as u8
        };
        self.plane(value)
    }

    fn plane(&self, value: impl Fn(&[u8]) -> u8) -> Plane {
        Plane {
            width: self.width,
            height: self.height,
            data: self.data.chunks_exact(3).map(value).collect(),
        }
    }

    /// Half the size by antialiased bicubic (a = -1/2), rounded: the field's usual degradation.
    pub fn half(&self) -> Self {
        let (w, h) = (self.width, self.height);
        let cubic = |d: f64| {
            let d = d.abs();
            if d < 1.0 {
                (1.5 * d - 2.5) * d * d + 1.0
            } else {
                ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
            }
        };
        let taps: Vec<f64> = (0..8).map(|i| cubic((f64::from(i) - 3.5) / 2.0)).collect();
        let sum: f64 = taps.iter().sum();
        let taps: Vec<f64> = taps.iter().map(|t| t / sum).collect();
        // Reflected at the borders without repeating the last sample.
        let reflect = |at: isize, n: usize| -> usize {
            let last = n as isize - 1;
            let at = at.abs();
            (if at > last { 2 * last - at } else { at }).clamp(0, last) as usize
        };
        let (hw, hh) = (w / 2, h / 2);
        let mut wide = vec![0.0; 3 * hw * h];
        for y in 0..h {
            for x in 0..hw {
                for c in 0..3 {
                    wide[(y * hw + x) * 3 + c] = (0..8)
                        .map(|k| {
                            let at = reflect(2 * x as isize + k as isize - 3, w);
                            taps[k] * f64::from(self.data[(y * w + at) * 3 + c])
                        })
                        .sum();
                }
            }
        }
        let mut data = vec![0; 3 * hw * hh];
        for y in 0..hh {
            for i in 0..3 * hw {
                let sum: f64 = (0..8)
                    .map(|k| {
                        taps[k] * wide[reflect(2 * y as isize + k as isize - 3, h) * 3 * hw + i]
                    })
                    .sum();
                data[y * 3 * hw + i] = (sum + 0.5).clamp(0.0, 255.0) as u8;
            }
        }
        Self {
            width: hw,
            height: hh,
            data,
        }
    }
}

/// PSNR without a border.
pub fn psnr(a: &Plane, b: &Plane, border: usize) -> f64 {
    let (w, h) = (a.width.min(b.width), a.height.min(b.height));
    let (mut sum, mut count) = (0.0, 0);
    for y in border..h.saturating_sub(border) {
        for x in border..w.saturating_sub(border) {
            let d = f64::from(a.data[y * a.width + x]) - f64::from(b.data[y * b.width + x]);
            sum += d * d;
            count += 1;
        }
    }
    10.0 * (255.0f64.powi(2) * f64::from(count) / sum.max(1e-9)).log10()
}

/// Gaussian noise, rounded and clipped as a camera would; the same for the same seed.
pub fn noisy(plane: &Plane, sigma: f64, seed: u64) -> Plane {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    let data = plane
        .data
        .iter()
        .map(|v| {
            let normal = (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
            (f64::from(*v) + sigma * normal).round().clamp(0.0, 255.0) as u8
        })
        .collect();
    Plane {
        data,
        ..plane.clone()
    }
}

/// Planes of one size as a grey I420 clip.
pub fn clip(bench: &Bench, name: &str, planes: &[&Plane]) -> Result<RawClip> {
    let first = planes.first().context("no pictures")?;
    let (w, h) = (first.width, first.height);
    let path = bench.folder.join(name);
    let mut bytes = Vec::new();
    for plane in planes {
        bytes.extend_from_slice(&plane.data);
        bytes.resize(bytes.len() + 2 * w.div_ceil(2) * h.div_ceil(2), 128);
    }
    std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(RawClip {
        path,
        width: u32::try_from(w)?,
        height: u32::try_from(h)?,
        fps: (25, 1),
        frames: planes.len() as u64,
    })
}

/// The luma planes of a raw I420 file.
fn lumas(path: &Path, width: usize, height: usize) -> Result<Vec<Plane>> {
    let bytes = std::fs::read(path)?;
    let frame = width * height + 2 * width.div_ceil(2) * height.div_ceil(2);
    if bytes.is_empty() || !bytes.len().is_multiple_of(frame) {
        bail!("{} has no whole frames of {width}x{height}", path.display());
    }
    Ok(bytes
        .chunks_exact(frame)
        .map(|frame| Plane {
            width,
            height,
            data: frame[..width * height].to_vec(),
        })
        .collect())
}

/// What `aienhance` makes of a clip; `scale` times the size.
pub fn ours(bench: &Bench, clip: &RawClip, operations: &str, scale: usize) -> Result<Vec<Plane>> {
    let out = bench.folder.join("ours.i420");
    gstrun::run_to_file(
        &format!(
            "{} ! aienhance name=measured operations=\"{operations}\" ! video/x-raw,format=I420 ! fakesink name=frames",
            clip.gst_source()
        ),
        "measured",
        &out,
        |_| (),
    )?;
    lumas(
        &out,
        clip.width as usize * scale,
        clip.height as usize * scale,
    )
}

/// What a filter of ffmpeg makes of a clip.
pub fn theirs(bench: &Bench, clip: &RawClip, filter: &str, scale: usize) -> Result<Vec<Plane>> {
    let out = bench.folder.join("theirs.i420");
    let mut args = words("-v error");
    args.extend(clip.ffmpeg_input());
    args.extend(["-vf".to_owned(), filter.to_owned()]);
    args.extend(words("-f rawvideo -pix_fmt yuv420p"));
    args.push(out.display().to_string());
    bench.ffmpeg.run(&args)?;
    lumas(
        &out,
        clip.width as usize * scale,
        clip.height as usize * scale,
    )
}

/// A few frames of a clip of the data folder as raw I420 of a size.
pub fn footage(
    bench: &Bench,
    file: &str,
    (width, height): (u32, u32),
    frames: u64,
) -> Result<RawClip> {
    let path = bench.folder.join(format!("footage-{width}x{height}.i420"));
    let mut args = words("-v error -stream_loop 3 -i");
    args.push(bench.media(file)?.display().to_string());
    args.extend(words(&format!(
        "-vf scale={width}:{height}:flags=lanczos,setsar=1 -frames:v {frames} -f rawvideo -pix_fmt yuv420p"
    )));
    args.push(path.display().to_string());
    bench.ffmpeg.run(&args)?;
    Ok(RawClip {
        path,
        width,
        height,
        fps: (25, 1),
        frames,
    })
}

/// Frames a second of an element, and processor milliseconds a frame.
pub fn speed_of_ours(clip: &RawClip, operations: &str) -> Result<(f64, f64)> {
    let timing = gstrun::run(
        &format!(
            "{} ! queue ! aienhance name=measured operations=\"{operations}\" ! fakesink",
            clip.gst_source()
        ),
        "measured",
        |_| (),
    )?;
    Ok((
        timing.fps(),
        1e3 * timing.cpu_seconds / timing.frames.max(1) as f64,
    ))
}

/// The same of a filter of ffmpeg, less what reading the clip takes.
pub fn speed_of_theirs(
    bench: &Bench,
    clip: &RawClip,
    filter: &str,
    threads: u32,
) -> Result<(f64, f64)> {
    let run = |filter: &str| {
        let mut args = words(&format!("-v info -filter_threads {threads}"));
        args.extend(clip.ffmpeg_input());
        args.extend(["-vf".to_owned(), filter.to_owned()]);
        args.extend(words("-f null -"));
        bench.ffmpeg.timed(&args)
    };
    let (plain, with) = (run("null")?, run(filter)?);
    let seconds = (with.seconds - plain.seconds).max(1e-4);
    let processor = (with.cpu_seconds - plain.cpu_seconds).max(1e-5);
    Ok((
        clip.frames as f64 / seconds,
        1e3 * processor / clip.frames as f64,
    ))
}

/// A row of a table of speeds.
pub fn speed_row(name: &str, (fps, processor): (f64, f64)) -> Vec<String> {
    vec![
        name.to_owned(),
        format!("{fps:.1}"),
        format!("{processor:.1}"),
    ]
}

pub fn speed_columns() -> Vec<String> {
    ["what", "frames/s", "processor ms a frame"]
        .map(str::to_owned)
        .to_vec()
}

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
