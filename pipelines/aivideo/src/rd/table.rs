// SPDX-License-Identifier: Apache-2.0
//! The figures on the terminal.

use super::Run;
use super::class::Class;
use super::summary::{self, Metric, percent};

pub fn print(run: &Run) {
    let comparisons = summary::compare(&run.clips, &run.plan.codecs, &run.cells);
    let lines = summary::lines(&comparisons);
    if lines.is_empty() {
        println!("\nnothing to compare");
        return;
    }
    println!("\nbits against each anchor, median of the clips (below zero: fewer bits)");
    println!(
        "{:<14} {:<24} {:<20} {:>5} {:>12} {:>13} {:>11} {:>11}",
        "class",
        "codec",
        "anchor",
        "clips",
        "equal Y-PSNR",
        "0.95 x Y-PSNR",
        "equal SSIM",
        "equal VMAF"
    );
    for class in std::iter::once(None).chain(Class::ALL.map(Some)) {
        for line in lines
            .iter()
            .filter(|line| line.class == class && line.metric == Metric::PsnrY)
        {
            let value = |metric| {
                let found = lines.iter().find(|l| {
                    l.class == class
                        && l.metric == metric
                        && l.ours == line.ours
                        && l.anchor == line.anchor
                });
                percent(found.and_then(|l| l.median))
            };
            println!(
                "{:<14} {:<24} {:<20} {:>5} {:>12} {:>13} {:>11} {:>11}",
                class.map_or("all", Class::title),
                line.ours,
                line.anchor,
                line.clips - line.refused,
                value(Metric::PsnrY),
                value(Metric::PsnrYCut),
                value(Metric::Ssim),
                value(Metric::Vmaf)
            );
        }
    }
}
