// SPDX-License-Identifier: Apache-2.0
//! Upscaling on Set5 and Set14, noise reduction on BSD68, and the speed of both.

use anyhow::Result;

use super::stills::{self, Plane};
use super::{Bench, Figures, Gate, Table};
use crate::rawclip::RawClip;

/// The built-in nets.
const UPSCALERS: [&str; 3] = ["small", "large", "ensemble"];
const DENOISERS: [&str; 2] = ["small", "large"];
/// What is wanted of each upscaler on Set5, in dB: of the one for CPUs, and of those for GPUs.
const SET5: [f64; UPSCALERS.len()] = [36.5, 37.4, 37.4];
/// Frames for what takes long.
const BRIEF: u64 = 6;
const FOOTAGE: &str = "val/video/flutter__videos__bee.mp4";

fn skipped(bench: &Bench, set: &str) -> Table {
    Table {
        title: set.to_owned(),
        conditions: format!(
            "SKIPPED: {} is not there (--data names the folder with benchmark/)",
            bench.data.join("benchmark").join(set).display()
        ),
        columns: Vec::new(),
        rows: Vec::new(),
    }
}

fn gate(what: &str, value: f64, wanted: f64, unit: &str) -> Gate {
    Gate {
        what: what.to_owned(),
        value: format!("{value:.2} {unit}"),
        wanted: format!("at least {wanted} {unit}"),
        met: value >= wanted,
    }
}

/// Filters of ffmpeg that enlarge, for a size.
fn scalers(w: usize, h: usize) -> [(&'static str, String); 4] {
    [
        (
            "swscale bicubic",
            format!("scale={w}:{h}:flags=bicubic+accurate_rnd"),
        ),
        (
            "swscale lanczos",
            format!("scale={w}:{h}:flags=lanczos+accurate_rnd"),
        ),
        (
            "zscale bicubic",
            format!("zscale=w={w}:h={h}:filter=bicubic"),
        ),
        (
            "zscale lanczos",
            format!("zscale=w={w}:h={h}:filter=lanczos"),
        ),
    ]
}

/// Columns of an operation's nets.
fn ours(operation: &str, nets: &[&str]) -> Vec<String> {
    let name = |net: &&str| format!("{operation}:net={net}");
    nets.iter().map(name).collect()
}

/// Rows of an operation's nets, and their frames a second.
fn speeds(clip: &RawClip, operation: &str, nets: &[&str]) -> Result<(Vec<Vec<String>>, Vec<f64>)> {
    let (mut rows, mut speeds) = (Vec::new(), Vec::new());
    for name in ours(operation, nets) {
        let speed = stills::speed_of_ours(clip, &name)?;
        rows.push(stills::speed_row(&format!("aienhance {name}"), speed));
        speeds.push(speed.0);
    }
    Ok((rows, speeds))
}

pub fn upscale(bench: &Bench) -> Result<Figures> {
    let mut figures = Figures::default();
    let mut rows = Vec::new();
    for set in ["Set5", "Set14"] {
        let Some(files) = stills::set(bench, set)? else {
            figures.tables.push(skipped(bench, set));
            continue;
        };
        let mut results: Vec<Vec<f64>> = vec![Vec::new(); UPSCALERS.len() + 4];
        for file in &files {
            let large = stills::read(bench, file)?.even();
            let truth = large.luma();
            let small = large.half().luma();
            let clip = stills::clip(bench, "still.i420", &[&small])?;
            for (result, net) in results.iter_mut().zip(UPSCALERS) {
                let out = stills::ours(bench, &clip, &format!("upscale:net={net}"), 2)?;
                result.push(stills::psnr(&out[0], &truth, 2));
            }
            let peers = scalers(2 * small.width, 2 * small.height);
            for (result, (_, filter)) in results[UPSCALERS.len()..].iter_mut().zip(peers) {
                // zscale takes no odd size whose chroma is halved.
                let filter = format!("format=yuv444p,{filter}");
                let out = stills::theirs(bench, &clip, &filter, 2)?;
                result.push(stills::psnr(&out[0], &truth, 2));
            }
        }
        let means: Vec<f64> = results.iter().map(|r| stills::mean(r)).collect();
        let mut row = vec![format!("{set}, {} pictures", files.len())];
        row.extend(means.iter().map(|v| format!("{v:.2}")));
        rows.push(row);
        if set == "Set5" {
            for (net, (mean, wanted)) in UPSCALERS.iter().zip(means.iter().zip(SET5)) {
                let what = format!("upscale x2, Set5, PSNR-Y, {net} net");
                figures.gates.push(gate(&what, *mean, wanted, "dB"));
            }
        }
    }
    if !rows.is_empty() {
        let names = scalers(0, 0).map(|(name, _)| name.to_owned());
        figures.tables.push(Table {
            title: "Upscaling, twice the size, PSNR-Y in dB".into(),
            conditions: "RGB shrunk by antialiased bicubic and rounded, BT.601 luma of 8 bits at both ends, border of 2 left out; every peer in the same run".into(),
            columns: ["set".to_owned()].into_iter().chain(ours("upscale", &UPSCALERS)).chain(names).collect(),
            rows,
        });
    }
    let clip = stills::footage(bench, FOOTAGE, (640, 360), 120)?;
    let [quick @ .., ensemble] = UPSCALERS;
    let (mut rows, mut of_nets) = speeds(&clip, "upscale", &quick)?;
    // A frame of it takes seconds on a CPU.
    let brief = stills::footage(bench, FOOTAGE, (640, 360), BRIEF)?;
    let (row, speed) = speeds(&brief, "upscale", &[ensemble])?;
    rows.extend(row);
    of_nets.extend(speed);
    for (name, filter) in scalers(1280, 720) {
        rows.push(stills::speed_row(
            name,
            stills::speed_of_theirs(bench, &clip, &filter, 2)?,
        ));
    }
    figures.tables.push(Table {
        title: "Upscaling, 640x360 to 1280x720".into(),
        conditions: format!(
            "{} frames of {FOOTAGE}, I420; {BRIEF} for the ensemble",
            clip.frames
        ),
        columns: stills::speed_columns(),
        rows,
    });
    let what = "upscale 360p to 720p, small net";
    figures.gates.push(gate(what, of_nets[0], 60.0, "frames/s"));
    Ok(figures)
}

/// nlmeans and hqdn3d take a strength that is no noise level: the best of a few counts.
const PEERS: &[(&str, &[&str])] = &[
    ("nlmeans", &["nlmeans=s=6", "nlmeans=s=10", "nlmeans=s=14"]),
    (
        "hqdn3d",
        &["hqdn3d=8:8:0:0", "hqdn3d=14:14:0:0", "hqdn3d=24:24:0:0"],
    ),
];

pub fn denoise(bench: &Bench) -> Result<Figures> {
    let mut figures = Figures::default();
    match stills::set(bench, "BSD68")? {
        None => figures.tables.push(skipped(bench, "BSD68")),
        Some(files) => {
            let clean = files
                .iter()
                .map(|file| Ok(stills::read(bench, file)?.grey()))
                .collect::<Result<Vec<Plane>>>()?;
            let mut rows = Vec::new();
            for sigma in [15.0, 25.0, 50.0] {
                let row = bsd(bench, &clean, sigma)?;
                if sigma == 25.0 {
                    for (net, value) in DENOISERS.iter().zip(&row[1..]) {
                        let what = format!("denoise, BSD68, sigma 25, 8 bit, {net} net");
                        figures.gates.push(gate(&what, *value, 28.6, "dB"));
                    }
                }
                let mut cells = vec![format!("sigma {sigma}")];
                cells.extend(row.iter().map(|v| format!("{v:.2}")));
                rows.push(cells);
            }
            figures.tables.push(Table {
                title: "Noise reduction on BSD68, PSNR in dB".into(),
                conditions: format!("{} grey pictures, Gaussian noise rounded and clipped to 8 bits, each picture alone (temporal=0); peers at the best of three strengths, in the same run", clean.len()),
                columns: ["noise".to_owned(), "noisy".to_owned()]
                    .into_iter()
                    .chain(ours("denoise", &DENOISERS))
                    .chain(["nlmeans".to_owned(), "hqdn3d".to_owned()])
                    .collect(),
                rows,
            });
        }
    }
    let clip = stills::footage(bench, FOOTAGE, (1280, 720), 60)?;
    let (mut rows, speeds) = speeds(&clip, "denoise:strength=20", &DENOISERS)?;
    for (name, filter) in [("nlmeans", "nlmeans=s=10"), ("hqdn3d", "hqdn3d")] {
        rows.push(stills::speed_row(
            name,
            stills::speed_of_theirs(bench, &clip, filter, 2)?,
        ));
    }
    figures.tables.push(Table {
        title: "Noise reduction, 1280x720".into(),
        conditions: format!("{} frames of {FOOTAGE}, I420", clip.frames),
        columns: stills::speed_columns(),
        rows,
    });
    for (net, speed) in DENOISERS.iter().zip(speeds) {
        let what = format!("denoise 720p, {net} net");
        figures.gates.push(gate(&what, speed, 25.0, "frames/s"));
    }
    Ok(figures)
}

/// Noisy, our nets, and the peers.
fn bsd(bench: &Bench, clean: &[Plane], sigma: f64) -> Result<Vec<f64>> {
    let mut sums = vec![Vec::new(); 1 + DENOISERS.len()];
    let mut peers: Vec<Vec<Vec<f64>>> = PEERS
        .iter()
        .map(|(_, filters)| vec![Vec::new(); filters.len()])
        .collect();
    let mut sizes: Vec<(usize, usize)> = clean.iter().map(|p| (p.width, p.height)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for size in sizes {
        let group: Vec<(usize, &Plane)> = clean
            .iter()
            .enumerate()
            .filter(|(_, p)| (p.width, p.height) == size)
            .collect();
        let noisy: Vec<Plane> = group
            .iter()
            .map(|(i, p)| stills::noisy(p, sigma, *i as u64 + 1))
            .collect();
        let clip = stills::clip(bench, "bsd.i420", &noisy.iter().collect::<Vec<_>>())?;
        for ((_, clean), noisy) in group.iter().zip(&noisy) {
            sums[0].push(stills::psnr(noisy, clean, 0));
        }
        for (sum, net) in sums[1..].iter_mut().zip(DENOISERS) {
            let operations = format!("denoise:strength={sigma}:chroma=0:temporal=0:net={net}");
            let out = stills::ours(bench, &clip, &operations, 1)?;
            for ((_, clean), out) in group.iter().zip(&out) {
                sum.push(stills::psnr(out, clean, 0));
            }
        }
        for ((_, filters), results) in PEERS.iter().zip(&mut peers) {
            for (filter, result) in filters.iter().zip(results) {
                let out = stills::theirs(bench, &clip, filter, 1)?;
                for ((_, clean), out) in group.iter().zip(&out) {
                    result.push(stills::psnr(out, clean, 0));
                }
            }
        }
    }
    let mut row: Vec<f64> = sums.iter().map(|v| stills::mean(v)).collect();
    for results in peers {
        let best = results.iter().map(|r| stills::mean(r)).fold(0.0, f64::max);
        row.push(best);
    }
    Ok(row)
}
