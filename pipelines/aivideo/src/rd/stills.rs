// SPDX-License-Identifier: Apache-2.0
//! One frame of each clip, ours beside others at the same rate.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result};

use super::clips::Clip;
use super::plan::Progress;
use super::store::{Cell, Store};
use super::{Failure, Run, cell, summary};
use crate::codecs::{Bench, Codec};
use crate::ffmpeg::Ffmpeg;
use crate::interrupt;
use crate::rawclip::RawClip;

/// Anchors whose frames are shown, the first three that were measured.
const SHOWN: &[&str] = &[
    "x265-ultrafast-zl",
    "x265-medium",
    "svtav1-p8-ld",
    "x265-medium-zl",
    "vvenc-faster",
    "x264-medium",
];
/// Rates that differ by no more count as the same.
const SAME_RATE: f64 = 0.04;

/// Pictures of one codec.
pub struct Still {
    pub title: String,
    /// The encode shown; none for the source.
    pub cell: Option<Cell>,
    /// The whole frame as JPEG, and a part of it as PNG.
    pub whole: Vec<u8>,
    pub detail: Vec<u8>,
}

/// The pictures of one clip.
pub struct Row {
    pub clip: String,
    pub frame: u64,
    pub stills: Vec<Still>,
}

/// Where the detail is cut out: x, y, width, height.
pub type Area = (u32, u32, u32, u32);

/// Makes the pictures, with further encodes where no point of a curve has our rate.
pub fn make(run: &mut Run, store: &Store, progress: &mut Progress) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for clip in run.clips.clone() {
        if interrupt::requested() {
            break;
        }
        match row(run, &clip, store, progress) {
            Ok(Some(row)) => rows.push(row),
            Ok(None) => {}
            Err(_) if interrupt::requested() => break,
            Err(error) => run.failures.push(Failure {
                clip: clip.name.clone(),
                what: "side-by-side frames".into(),
                error: format!("{error:#}"),
            }),
        }
    }
    Ok(rows)
}

fn row(run: &mut Run, clip: &Clip, store: &Store, progress: &mut Progress) -> Result<Option<Row>> {
    let codecs = run.plan.codecs.clone();
    let Some(subject) = summary::subjects(&codecs).first().copied() else {
        return Ok(None);
    };
    let mut points: Vec<Cell> = of(run, clip, subject);
    points.sort_by(|a, b| a.measured.kbps.total_cmp(&b.measured.kbps));
    let Some(ours) = points.get((points.len().max(1) - 1) / 2).cloned() else {
        return Ok(None);
    };
    let mut shown: Vec<(Codec, Cell)> = vec![(subject.clone(), ours.clone())];
    let anchors: Vec<&Codec> = SHOWN
        .iter()
        .filter_map(|id| codecs.iter().find(|codec| codec.id() == *id))
        .filter(|codec| codec.id() != subject.id())
        .take(3)
        .collect();
    for codec in anchors {
        if let Some(cell) = at_rate(run, clip, codec, ours.measured.kbps, store, progress)? {
            shown.push((codec.clone(), cell));
        }
    }
    let frame = clip.raw.frames / 2;
    let area = busiest(&clip.raw, frame)?;
    let source = format!("{}-source", &clip.hash[..24]);
    let mut stills = vec![pictures(
        &run.plan.bench,
        "source".into(),
        None,
        &clip.raw,
        frame,
        area,
        store,
        &source,
        |_| Ok(clip.raw.clone()),
    )?];
    for (codec, cell) in shown {
        let (key, value) = (cell.key.clone(), cell.value);
        let stream = store.cells().join(&cell.stream);
        stills.push(pictures(
            &run.plan.bench,
            codec.name(),
            Some(cell),
            &clip.raw,
            frame,
            area,
            store,
            &key,
            |target| {
                run.plan
                    .bench
                    .decode(&codec, &clip.raw, value, &stream, target)
                    .map(|_| RawClip {
                        path: target.to_path_buf(),
                        ..clip.raw.clone()
                    })
            },
        )?);
    }
    Ok(Some(Row {
        clip: clip.name.clone(),
        frame,
        stills,
    }))
}

fn of(run: &Run, clip: &Clip, codec: &Codec) -> Vec<Cell> {
    run.cells
        .iter()
        .filter(|cell| cell.clip == clip.name && cell.codec == codec.id())
        .cloned()
        .collect()
}

/// The encode of `codec` whose rate is `kbps`: one of its points when it is near enough, else one
/// more, at the parameter that lies between the neighbours.
fn at_rate(
    run: &mut Run,
    clip: &Clip,
    codec: &Codec,
    kbps: f64,
    store: &Store,
    progress: &mut Progress,
) -> Result<Option<Cell>> {
    let mut best = nearest(&of(run, clip, codec), kbps);
    // Two attempts: a parameter and the rate are nearly, not quite, a line in the logarithm.
    for _ in 0..2 {
        let Some(near) = &best else {
            return Ok(None);
        };
        if (near.measured.kbps / kbps - 1.0).abs() <= SAME_RATE {
            break;
        }
        let points = of(run, clip, codec);
        let value = between(&points, kbps, codec);
        if points.iter().any(|cell| (cell.value - value).abs() < 0.05) {
            break;
        }
        progress.more(clip, codec);
        let Some(cell) = cell(run, clip, codec, value, true, store, progress)? else {
            break;
        };
        run.cells.push(cell);
        best = nearest(&of(run, clip, codec), kbps);
    }
    Ok(best)
}

fn nearest(cells: &[Cell], kbps: f64) -> Option<Cell> {
    let off = |cell: &Cell| (cell.measured.kbps / kbps).ln().abs();
    cells
        .iter()
        .min_by(|a, b| off(a).total_cmp(&off(b)))
        .cloned()
}

/// The parameter for a rate, between (or beyond) the two points next to it.
fn between(cells: &[Cell], kbps: f64, codec: &Codec) -> f64 {
    let mut points: Vec<(f64, f64)> = cells
        .iter()
        .map(|cell| (cell.measured.kbps.ln(), cell.value))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wanted = kbps.ln();
    let value = if points.len() < 2 {
        points.first().map_or(0.0, |p| p.1)
    } else {
        let above = points
            .iter()
            .position(|p| p.0 >= wanted)
            .unwrap_or(points.len() - 1)
            .max(1);
        let (a, b) = (points[above - 1], points[above]);
        a.1 + (b.1 - a.1) * (wanted - a.0) / (b.0 - a.0).max(1e-9)
    };
    let (low, high) = codec.limits();
    let value = value.clamp(low, high);
    if codec.whole() {
        value.round()
    } else {
        (value * 10.0).round() / 10.0
    }
}

/// The quarter of the width and height with the most contrast in the source.
pub fn busiest(clip: &RawClip, frame: u64) -> Result<Area> {
    let mut file = std::fs::File::open(&clip.path)?;
    file.seek(SeekFrom::Start(frame * clip.frame_bytes()))?;
    let (w, h) = (clip.width as usize, clip.height as usize);
    let mut luma = vec![0u8; w * h];
    file.read_exact(&mut luma)?;
    let (dw, dh) = (((w / 4).max(32) & !1).min(w), ((h / 4).max(32) & !1).min(h));
    let mut best = (0u64, (0, 0));
    for top in (0..=h - dh).step_by((dh / 4).max(2) & !1) {
        for left in (0..=w - dw).step_by((dw / 4).max(2) & !1) {
            let mut sum = 0u64;
            for row in top..top + dh {
                let line = &luma[row * w + left..row * w + left + dw];
                sum += line
                    .windows(2)
                    .map(|p| u64::from(p[0].abs_diff(p[1])))
                    .sum::<u64>();
            }
            if sum > best.0 {
                best = (sum, (left, top));
            }
        }
    }
    let (x, y) = best.1;
    Ok((x as u32, y as u32, dw as u32, dh as u32))
}

/// The pictures of one decoded clip; decoding is needed only when they are not kept already.
#[allow(clippy::too_many_arguments)] // one call each for source and codec, with nothing to bundle
fn pictures(
    bench: &Bench,
    title: String,
    cell: Option<Cell>,
    clip: &RawClip,
    frame: u64,
    area: Area,
    store: &Store,
    key: &str,
    decode: impl FnOnce(&Path) -> Result<RawClip>,
) -> Result<Still> {
    let stem = format!("{key}-{frame}");
    let whole = store.stills().join(format!("{stem}.jpg"));
    let detail = store
        .stills()
        .join(format!("{stem}-{}x{}.png", area.0, area.1));
    if !whole.is_file() || !detail.is_file() {
        let target = store.work().join("still.i420");
        let raw = decode(&target).with_context(|| title.clone())?;
        debug_assert_eq!((raw.width, raw.height), (clip.width, clip.height));
        cut(&bench.ffmpeg, &raw, frame, area, &whole, &detail)?;
        let _ = std::fs::remove_file(&target);
    }
    Ok(Still {
        title,
        cell,
        whole: std::fs::read(&whole)?,
        detail: std::fs::read(&detail)?,
    })
}

/// Writes one frame as JPEG and a part of it as PNG.
pub fn cut(
    ffmpeg: &Ffmpeg,
    raw: &RawClip,
    frame: u64,
    area: Area,
    whole: &Path,
    detail: &Path,
) -> Result<()> {
    let (x, y, w, h) = area;
    let write = |filter: String, target: &Path| -> Result<()> {
        let name = target.file_name().context("a file name")?;
        let half = target.with_file_name(format!("half-{}", name.to_string_lossy()));
        let mut args = raw.ffmpeg_input();
        args.extend([
            "-vf".to_owned(),
            filter,
            "-frames:v".into(),
            "1".into(),
            "-q:v".into(),
            "2".into(),
            half.display().to_string(),
        ]);
        ffmpeg.run(&args)?;
        std::fs::rename(&half, target).with_context(|| format!("frame {frame} does not exist"))
    };
    write(format!("select=eq(n\\,{frame})"), whole)?;
    write(
        format!("select=eq(n\\,{frame}),crop={w}:{h}:{x}:{y}"),
        detail,
    )
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::measured;
    use super::*;

    fn cell(value: f64, kbps: f64) -> Cell {
        Cell {
            key: String::new(),
            clip: String::new(),
            codec: String::new(),
            options: String::new(),
            value,
            matched: false,
            measured: measured(kbps, 36.0),
            stream: String::new(),
            took: 0.0,
            machine: String::new(),
            load: 0.0,
        }
    }

    #[test]
    fn the_parameter_for_a_rate_lies_between_its_neighbours() {
        let codec = Codec::parse("x265-medium").unwrap().0;
        let cells = [cell(18.0, 1600.0), cell(26.0, 400.0), cell(34.0, 100.0)];
        assert_eq!(between(&cells, 800.0, &codec), 22.0);
        assert_eq!(between(&cells, 100.0, &codec), 34.0);
        assert_eq!(between(&cells, 50.0, &codec), 38.0);
        assert_eq!(nearest(&cells, 500.0).unwrap().value, 26.0);
        let whole = Codec::parse("svtav1-p5").unwrap().0;
        assert_eq!(between(&cells, 750.0, &whole).fract(), 0.0);
    }

    #[test]
    fn the_detail_is_where_the_picture_is_busy() {
        let dir = tempfile::tempdir().unwrap();
        let clip = RawClip {
            path: dir.path().join("a"),
            width: 256,
            height: 256,
            fps: (25, 1),
            frames: 1,
        };
        let mut raw = vec![128u8; clip.frame_bytes() as usize];
        for y in 192..256 {
            for x in 128..192 {
                raw[y * 256 + x] = if (x + y) % 2 == 0 { 0 } else { 255 };
            }
        }
        std::fs::write(&clip.path, raw).unwrap();
        assert_eq!(busiest(&clip, 0).unwrap(), (128, 192, 64, 64));
    }
}
