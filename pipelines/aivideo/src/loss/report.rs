// SPDX-License-Identifier: Apache-2.0
//! Tables of runs.

use super::Options;
use super::simulation::{Channel, Run};
use anyhow::{Context, Result};

pub(super) fn csv(runs: &[Run]) -> Result<String> {
    let mut out = String::new();
    for run in runs {
        let value = serde_json::to_value(run)?;
        let fields = value.as_object().context("a run is an object")?;
        if out.is_empty() {
            let names: Vec<&str> = fields.keys().map(String::as_str).collect();
            out = names.join(",") + "\n";
        }
        let values: Vec<String> = fields
            .values()
            .map(|v| match v.as_str() {
                Some(text) => format!("\"{}\"", text.replace('"', "\"\"")),
                None => v.to_string(),
            })
            .collect();
        out += &(values.join(",") + "\n");
    }
    Ok(out)
}

pub(super) fn print(runs: &[Run], paths: &[Channel], absent: &[(&str, String)], options: &Options) {
    println!();
    println!(
        "means over the clips; jitter buffer {} ms, requests take {} ms, bursts of {} packets, seed {}",
        options.latency, options.rtt, options.burst, options.seed
    );
    println!(
        "{:<8} {:>5} {:<20} {:>7} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6} {:>6}",
        "loss",
        "%",
        "codec",
        "kbit/s",
        "Y-PSNR",
        "as sent",
        "frozen s",
        "longest",
        "damaged %",
        "recov. s",
        "max s",
        "keys",
        "recov."
    );
    let mut names: Vec<&str> = Vec::new();
    for run in runs {
        if !names.contains(&run.codec) {
            names.push(run.codec);
        }
    }
    for path in paths {
        for name in &names {
            let of: Vec<&Run> = runs
                .iter()
                .filter(|r| r.codec == *name && r.kind == path.kind && r.loss == path.loss)
                .collect();
            if of.is_empty() {
                continue;
            }
            let mean =
                |f: &dyn Fn(&Run) -> f64| of.iter().map(|r| f(r)).sum::<f64>() / of.len() as f64;
            let max = |f: &dyn Fn(&Run) -> f64| of.iter().map(|r| f(r)).fold(0.0, f64::max);
            println!(
                "{:<8} {:>5} {:<20} {:>7.0} {:>8.2} {:>8.2} {:>9.2} {:>9.2} {:>9.1} {:>9.2} {:>9.2} {:>6.1} {:>6.1}",
                path.kind.name(),
                path.loss,
                name,
                mean(&|r| r.kbits),
                mean(&|r| r.psnr_y),
                mean(&|r| r.psnr_y_sent),
                mean(&|r| r.frozen),
                max(&|r| r.longest_freeze),
                mean(&|r| r.damaged),
                mean(&|r| r.recovery_mean),
                max(&|r| r.recovery_max),
                mean(&|r| r.key_frames as f64),
                mean(&|r| r.recovery_frames as f64),
            );
        }
    }
    for (name, elements) in absent {
        println!(
            "{:<14} {name:<20} not measured: GStreamer has no {elements}",
            ""
        );
    }
    let recovered: Vec<&Run> = runs.iter().filter(|r| r.recovery_frames > 0).collect();
    if !recovered.is_empty() {
        let count: u64 = recovered.iter().map(|r| r.recovery_frames).sum();
        let bytes: f64 = recovered
            .iter()
            .map(|r| r.recovery_frame_bytes * r.recovery_frames as f64)
            .sum();
        let keys: f64 = recovered.iter().map(|r| r.key_frame_bytes).sum();
        println!(
            "recovery frames: {count}, {:.0} bytes each; key frames of the same runs: {:.0} bytes",
            bytes / count as f64,
            keys / recovered.len() as f64
        );
    }
}
