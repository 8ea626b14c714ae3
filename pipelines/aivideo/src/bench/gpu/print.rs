// SPDX-License-Identifier: Apache-2.0
//! The report as tables in Markdown, for people and for docs/gpu.md.

use super::{Percentiles, Report};

fn ms(value: Option<&Percentiles>) -> String {
    value.map_or_else(
        || "–".to_string(),
        |p| format!("{:.2} / {:.2} / {:.2}", p.p50, p.p95, p.p99),
    )
}

fn megabytes(bytes: f64) -> String {
    format!("{:.2}", bytes / 1e6)
}

pub fn print(report: &Report) {
    println!("\n{}", text(report));
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |s: String| {
        text.push_str(&s);
        text.push('\n');
    };
    if report.rehearsal_on_cpu {
        line("**REHEARSAL ON THE CPU: none of these figures is one of a GPU.**\n".to_string());
    }
    line(format!(
        "{} ({}), CUDA {}; {}; load {:.1} before, {:.1} after; {}; {} frames and {} runs, {} rounds; {}",
        report.card.as_deref().unwrap_or("no GPU"),
        report.device,
        report.driver_cuda.as_deref().unwrap_or("–"),
        report.machine,
        report.load.0,
        report.load.1,
        report.gstreamer,
        report.frames,
        report.runs,
        report.rounds,
        report.onnxruntime,
    ));
    for size in &report.sizes {
        let head = |what: &str| format!("\n{what} at {}x{}\n", size.width, size.height);
        if !size.elements.is_empty() {
            line(head("Elements"));
            line("| element | ran on | frames/s | ms p50 / p95 / p99 | tensors in host memory, MB a frame | GPU memory, MB | GPU busy |".to_string());
            line("|---|---|---|---|---|---|---|".to_string());
            for e in &size.elements {
                let devices = if e.devices.is_empty() {
                    "cpu, no model".to_string()
                } else {
                    e.devices.join("; ")
                };
                let (memory, busy) = e.card.as_ref().map_or_else(
                    || ("–".to_string(), "–".to_string()),
                    |c| {
                        (
                            megabytes(c.memory_bytes as f64),
                            format!("{:.0} %", c.busy * 100.0),
                        )
                    },
                );
                line(format!(
                    "| {} | {devices} | {:.1} | {} | {} | {memory} | {busy} |",
                    e.name,
                    e.fps,
                    ms(e.latency_ms.as_ref()),
                    megabytes(e.host_tensor_bytes_per_frame),
                ));
            }
        }
        if !size.models.is_empty() {
            line(head("Models"));
            line("| model | ran on | through the engine, ms p50 / p95 / p99 | bare call | engine above it | PyTorch | PyTorch, 16 bit |".to_string());
            line("|---|---|---|---|---|---|---|".to_string());
            for m in &size.models {
                line(format!(
                    "| {} | {} | {} | {} | {} | {} | {} |",
                    m.name,
                    m.device,
                    ms(m.engine_ms.as_ref()),
                    ms(m.bare_ms.as_ref()),
                    m.overhead
                        .map_or_else(|| "–".to_string(), |o| format!("{:+.1} %", o * 100.0)),
                    ms(m.torch_ms.as_ref()),
                    ms(m.torch_fp16_ms.as_ref()),
                ));
            }
        }
        if !size.kernels.is_empty() {
            line(head("Kernels"));
            line("| kernel | ran | ms p50 / p95 / p99 | GB/s | equals its reference |".to_string());
            line("|---|---|---|---|---|".to_string());
            for k in &size.kernels {
                line(format!(
                    "| {} | {} | {} | {:.1} | {} |",
                    k.name,
                    k.ran,
                    ms(k.ms.as_ref()),
                    k.gigabytes_per_second,
                    match k.equals_reference {
                        Some(true) => "yes",
                        Some(false) => "NO",
                        None => "–",
                    }
                ));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::gpu::{Size, SizeReport, kernels};

    #[test]
    fn a_rehearsal_is_called_one() {
        let mut report = Report {
            rehearsal_on_cpu: true,
            device: "cpu".into(),
            card: None,
            driver_cuda: None,
            machine: "m".into(),
            load: (0.0, 0.0),
            gstreamer: "g".into(),
            onnxruntime: "o".into(),
            clip: "c".into(),
            frames: 32,
            rounds: 1,
            runs: 3,
            time: 0,
            sizes: vec![SizeReport {
                size: Size::P360,
                width: 640,
                height: 360,
                elements: Vec::new(),
                models: Vec::new(),
                kernels: vec![kernels::Figure {
                    name: "k".into(),
                    ran: "reference on the CPU",
                    ms: None,
                    gigabytes_per_second: 1.0,
                    equals_reference: None,
                }],
            }],
        };
        assert!(text(&report).starts_with("**REHEARSAL ON THE CPU"));
        assert!(text(&report).contains("| k | reference on the CPU | – | 1.0 | – |"));
        report.rehearsal_on_cpu = false;
        assert!(!text(&report).contains("REHEARSAL"));
    }
}
