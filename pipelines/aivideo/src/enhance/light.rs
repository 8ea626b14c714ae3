// SPDX-License-Identifier: Apache-2.0
//! Colour tables at 4K on one core, spoiled pictures put right, and the way to HDR and back.

use std::time::Instant;

use aivideo_color::{
    cube::Cube,
    planes::{Planes, PlanesMut, apply},
    table::ColorTable,
};
use anyhow::{Context, Result};

use super::stills::{self, Plane};
use super::{Bench, Figures, Gate, Table};
use crate::ffmpeg::words;
use crate::rawclip::RawClip;

const FOOTAGE: &str = "val/video/flutter__videos__bee.mp4";
const SIZE: usize = 33;

/// A warm look, as an editor would hand it over.
fn graded() -> Cube {
    let steps = (SIZE - 1) as f32;
    Cube {
        title: "bench".into(),
        size: SIZE,
        three: true,
        min: [0.0; 3],
        max: [1.0; 3],
        entries: (0..SIZE.pow(3))
            .map(|i| {
                let [r, g, b] =
                    [i % SIZE, i / SIZE % SIZE, i / SIZE / SIZE].map(|v| v as f32 / steps);
                let luma = 0.3 * r + 0.6 * g + 0.1 * b;
                [r.powf(0.9), 0.9 * g + 0.1 * luma, 0.8 * b + 0.1 * luma]
            })
            .collect(),
    }
}

pub fn color(bench: &Bench) -> Result<Figures> {
    let mut figures = Figures::default();
    let clip = stills::footage(bench, FOOTAGE, (3840, 2160), 6)?;
    let bytes = std::fs::read(&clip.path)?;
    let (w, h) = (clip.width as usize, clip.height as usize);
    let chroma = w * h / 4;
    let frame = bytes.get(..w * h + 2 * chroma).context("a frame of 4K")?;
    let (y, rest) = frame.split_at(w * h);
    let (u, v) = rest.split_at(chroma);
    let cube = graded();
    let table = ColorTable::new(SIZE, cube.min, cube.max, cube.entries.iter().copied());
    let mut out = (vec![0u8; w * h], vec![0u8; chroma], vec![0u8; chroma]);
    let mut times: Vec<f64> = (0..15)
        .map(|_| {
            let begun = Instant::now();
            let planes = Planes {
                width: w,
                height: h,
                y,
                u,
                v,
            };
            let mut to = PlanesMut {
                y: &mut out.0,
                u: &mut out.1,
                v: &mut out.2,
            };
            apply(&table, &planes, &mut to, true);
            begun.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let (median, best) = (times[times.len() / 2], times[0]);
    let file = bench.folder.join("bench.cube");
    std::fs::write(&file, cube.print())?;
    let lut3d = format!("lut3d=file={}:interp=tetrahedral", file.display());
    let mut rows = vec![
        stills::speed_row(
            "table of 33³, 4:2:0, one thread, median",
            (1.0 / median, 1e3 * median),
        ),
        stills::speed_row("the same, fastest of 15", (1.0 / best, 1e3 * best)),
    ];
    rows.push(stills::speed_row(
        "ffmpeg lut3d, one thread, with its conversions",
        stills::speed_of_theirs(bench, &clip, &lut3d, 1)?,
    ));
    figures.tables.push(Table {
        title: "Colour table of 33x33x33, tetrahedral, 3840x2160".into(),
        conditions: format!("a frame of {FOOTAGE}, one core"),
        columns: stills::speed_columns(),
        rows,
    });
    figures.gates.push(Gate {
        what: "4K through a 33³ table on one core".into(),
        value: format!("{:.1} frames/s (fastest {:.1})", 1.0 / median, 1.0 / best),
        wanted: "at least 24 frames/s".into(),
        met: median <= 1.0 / 24.0,
    });
    restore(bench, &mut figures)?;
    Ok(figures)
}

/// Ways in which pictures are spoiled, as filters of ffmpeg.
const SPOILS: &[(&str, &str)] = &[
    ("dark and dull", "eq=gamma=0.6:saturation=0.6"),
    (
        "flat and hazy",
        "eq=contrast=0.6:brightness=0.08:saturation=0.8",
    ),
    ("warm cast", "colorchannelmixer=rr=1.15:bb=0.75"),
    ("as they were", "null"),
];
/// What ffmpeg offers without a word on what is wrong.
const PEERS: &[(&str, &str)] = &[
    ("normalize", "normalize=smoothing=0"),
    (
        "greyedge, normalize",
        "greyedge=difford=1:minknorm=5:sigma=2,normalize=smoothing=0:independence=0",
    ),
];

fn restore(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let folder = bench.data.join("val/images");
    let mut files: Vec<_> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.filter_map(|e| Some(e.ok()?.path())).collect(),
        Err(_) => return Ok(()),
    };
    files.sort();
    let size = (640u32, 360u32);
    let still = |file: &std::path::Path, filter: &str, name: &str| -> Result<RawClip> {
        let path = bench.folder.join(name);
        let mut args = words("-v error -i");
        args.push(file.display().to_string());
        let scale = format!("scale={}:{}:flags=area,{filter}", size.0, size.1);
        args.extend(["-vf".to_owned(), scale]);
        args.extend(words("-frames:v 1 -f rawvideo -pix_fmt yuv420p"));
        args.push(path.display().to_string());
        bench.ffmpeg.run(&args)?;
        Ok(RawClip {
            path,
            width: size.0,
            height: size.1,
            fps: (25, 1),
            frames: 1,
        })
    };
    let mut rows = Vec::new();
    let mut sums = [0.0f64; 2];
    for (name, spoil) in SPOILS {
        let mut results: Vec<Vec<f64>> = vec![Vec::new(); 2 + PEERS.len()];
        for file in &files {
            let good = still(file, "null", "good.i420")?;
            let good = stills::theirs(bench, &good, "null", 1)?;
            let bad = still(file, spoil, "bad.i420")?;
            let spoiled = stills::theirs(bench, &bad, "null", 1)?;
            let nearness = |picture: &Plane| stills::psnr(picture, &good[0], 0).min(60.0);
            results[0].push(nearness(&spoiled[0]));
            let out = stills::ours(bench, &bad, "color", 1)?;
            results[1].push(nearness(&out[0]));
            for (result, (_, filter)) in results[2..].iter_mut().zip(PEERS) {
                let out = stills::theirs(bench, &bad, filter, 1)?;
                result.push(nearness(&out[0]));
            }
        }
        let means: Vec<f64> = results.iter().map(|r| stills::mean(r)).collect();
        if *spoil != "null" {
            sums[0] += means[0] / (SPOILS.len() - 1) as f64;
            sums[1] += means[1] / (SPOILS.len() - 1) as f64;
        }
        let mut row = vec![(*name).to_owned()];
        row.extend(means.iter().map(|v| format!("{v:.2}")));
        rows.push(row);
    }
    figures.tables.push(Table {
        title: "Colour enhancement of spoiled pictures, luma PSNR against the good ones in dB"
            .into(),
        conditions: format!(
            "{} photos of val/images at {}x{}, spoiled by ffmpeg; 60 dB stands for equal",
            files.len(),
            size.0,
            size.1
        ),
        columns: ["spoiled", "before", "aienhance color"]
            .into_iter()
            .chain(PEERS.iter().map(|(name, _)| *name))
            .map(str::to_owned)
            .collect(),
        rows,
    });
    figures.gates.push(Gate {
        what: "spoiled pictures come nearer to the good ones".into(),
        value: format!("{:.2} dB after, {:.2} dB before", sums[1], sums[0]),
        wanted: "more after".into(),
        met: sums[1] > sums[0],
    });
    Ok(())
}

pub fn hdr(bench: &Bench) -> Result<Figures> {
    let mut figures = Figures::default();
    let clip = stills::footage(bench, FOOTAGE, (1280, 720), 24)?;
    let source = stills::theirs(bench, &clip, "null", 1)?;
    let compare = |out: &[Plane]| {
        let all: Vec<f64> = out
            .iter()
            .zip(&source)
            .map(|(a, b)| stills::psnr(a, b, 0))
            .collect();
        stills::mean(&all)
    };
    let tagged = RawClip { ..clip.clone() };
    let mut rows = Vec::new();
    let mut exact = 0.0f64;
    for to in ["pq", "hlg"] {
        for method in ["a", "c"] {
            let out = bench.folder.join("hdr.i420");
            crate::gstrun::run_to_file(
                &format!(
                    "{} ! capssetter caps=video/x-raw,colorimetry=bt709 ! aienhance operations=\"hdr:to={to}:method={method}\" ! aienhance name=measured operations=\"hdr:to=sdr:method={method}\" ! video/x-raw,format=I420 ! fakesink name=frames",
                    tagged.gst_source()
                ),
                "measured",
                &out,
                |_| (),
            )?;
            let back = stills::theirs(
                bench,
                &RawClip {
                    path: out,
                    ..clip.clone()
                },
                "null",
                1,
            )?;
            let psnr = compare(&back);
            if method == "c" {
                exact = if exact == 0.0 { psnr } else { exact.min(psnr) };
            }
            rows.push(vec![
                format!("aienhance {to}, BT.2446 method {method}"),
                format!("{psnr:.2}"),
            ]);
        }
    }
    // zimg has no inverse tone mapping: SDR keeps its light inside of PQ.
    let there = "zscale=matrixin=709:transferin=709:primariesin=709:rangein=limited:transfer=smpte2084:primaries=2020:matrix=2020_ncl:npl=100,format=yuv420p10le";
    let back = "zscale=transfer=709:primaries=709:matrix=709:npl=100,format=yuv420p";
    let out = stills::theirs(bench, &clip, &format!("{there},{back}"), 1)?;
    rows.push(vec![
        "zscale, PQ, light kept".into(),
        format!("{:.2}", compare(&out)),
    ]);
    figures.tables.push(Table {
        title: "SDR to HDR (10 bits) and back, luma PSNR in dB".into(),
        conditions: format!("{} frames of {FOOTAGE} at 1280x720", clip.frames),
        columns: ["way", "PSNR"].map(str::to_owned).to_vec(),
        rows,
    });
    figures.gates.push(Gate {
        what: "round trip by method c".into(),
        value: format!("{exact:.2} dB"),
        wanted: "at least 40 dB".into(),
        met: exact >= 40.0,
    });
    let ours = stills::speed_of_ours(&clip, "hdr:to=pq")?;
    let theirs = stills::speed_of_theirs(bench, &clip, there, 2)?;
    figures.tables.push(Table {
        title: "SDR to HDR10, 1280x720".into(),
        conditions: format!("{} frames; ours measures light levels too", clip.frames),
        columns: stills::speed_columns(),
        rows: vec![
            stills::speed_row("aienhance hdr:to=pq (one thread)", ours),
            stills::speed_row("zscale, light kept", theirs),
        ],
    });
    Ok(figures)
}
