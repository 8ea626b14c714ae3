// SPDX-License-Identifier: Apache-2.0
//! The figures on the terminal.

use std::collections::BTreeMap;

use aivideo_core::meta::ClassificationResult;

use super::report::{Results, percent};

/// Elements in the order of the pipeline.
pub const ORDER: &[&str] = &[
    "aicodecenc",
    super::elements::RTP,
    "aicodecdec",
    "vjepa2classify",
    "aienhance",
    "fxfilter",
];

/// Mean score of each label over all clips, best first. A label that a clip does not list in its
/// own best ones counts as zero there.
pub fn top_classes(results: &[ClassificationResult], count: usize) -> Vec<(String, f64)> {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for result in results {
        for (label, score) in result.labels.iter().zip(&result.scores) {
            *sums.entry(label).or_default() += score / results.len() as f64;
        }
    }
    let mut all: Vec<(String, f64)> = sums
        .into_iter()
        .map(|(label, score)| (label.to_owned(), score))
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(count);
    all
}

pub fn print(results: &Results) {
    let main = results.main();
    println!();
    println!(
        "{}, {} frames of {}x{} at {:.3} fps",
        results.video, results.frames, results.width, results.height, results.fps
    );
    println!();
    println!(
        "{:<38} {:>9} {:>7} {:>8} {:>8} {:>8} {:>7}",
        "bytes at the same Y-PSNR", "bytes", "ours", "PSNR-Y", "PSNR", "SSIM", "VMAF"
    );
    let row = |name: &str, bytes: &str, against: &str, q: &crate::ffmpeg::Quality| {
        println!(
            "{name:<38} {bytes:>9} {against:>7} {:>8.2} {:>8.2} {:>8.4} {:>7.2}",
            q.psnr_y, q.psnr, q.ssim, q.vmaf
        );
    };
    row(
        &format!("aicodec, quality {}", results.quality),
        &main.bytes.to_string(),
        "",
        &main.measured,
    );
    for anchor in &results.anchors {
        match anchor.bytes {
            Some(bytes) => {
                row(
                    anchor.name,
                    &format!("{bytes:.0}"),
                    &percent(main.bytes as f64, bytes),
                    &anchor.quality,
                );
            }
            None => row(
                &format!("{} (crf {:.1})", anchor.name, anchor.nearest.crf),
                "out of reach",
                "",
                &anchor.quality,
            ),
        }
    }
    println!(
        "ours: our bytes against that encoder's. PSNR, SSIM and VMAF of x265 are those of the encode nearest in Y-PSNR."
    );
    println!();
    println!("{:<34} {:>10} {:>9}", "element, alone", "size", "fps");
    for speed in &results.speeds {
        println!(
            "{:<34} {:>10} {:>9.1}",
            speed.element, speed.size, speed.fps
        );
    }
    println!();
    println!(
        "top classes over {} clips of the received stream (mean score)",
        results.clips
    );
    for (label, score) in &results.top {
        println!("  {score:.3}  {label}");
    }
    let t = &results.transport;
    println!();
    println!(
        "over UDP: {} frames sent, {} in the MP4, {} datagrams dropped by the kernel, {:.1} s",
        t.frames_sent, t.frames_received, t.kernel_drops, t.seconds
    );
    for warning in &t.warnings {
        println!("  {warning}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_averaged_over_clips() {
        let clip = |pairs: &[(&str, f64)]| ClassificationResult {
            labels: pairs.iter().map(|p| p.0.to_owned()).collect(),
            scores: pairs.iter().map(|p| p.1).collect(),
            ..Default::default()
        };
        let top = top_classes(
            &[clip(&[("pan", 0.8), ("zoom", 0.2)]), clip(&[("zoom", 0.9)])],
            1,
        );
        assert_eq!(top.len(), 1);
        assert_eq!(top[0].0, "zoom");
        assert!((top[0].1 - 0.55).abs() < 1e-9);
        assert!(top_classes(&[], 5).is_empty());
    }
}
