// SPDX-License-Identifier: Apache-2.0
//! The HTML report: one file that needs nothing else, with the figures of this run only.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::anchors::Matched;
use super::elements::Speed;
use super::metrics::Quality;

#[derive(Serialize)]
pub struct OurPoint {
    pub quality: u32,
    pub bytes: u64,
    pub measured: Quality,
}

#[derive(Serialize)]
pub struct Transport {
    pub frames_sent: u64,
    pub frames_received: u64,
    pub kernel_drops: u64,
    pub seconds: f64,
    pub warnings: Vec<String>,
}

/// Everything that was measured. This is also results.json.
#[derive(Serialize)]
pub struct Results {
    pub video: String,
    pub found: String,
    pub width: u32,
    pub height: u32,
    pub frames: u64,
    pub fps: f64,
    pub quality: u32,
    pub enhanced_frames: u64,
    pub ours: Vec<OurPoint>,
    pub anchors: Vec<Matched>,
    pub speeds: Vec<Speed>,
    pub transport: Transport,
    pub top: Vec<(String, f64)>,
    pub clips: usize,
    pub receiver: String,
    pub sender: String,
    pub machine: String,
    pub gstreamer: String,
}

impl Results {
    /// The point at the quality asked for. `measure` fails before a report without one.
    pub fn main(&self) -> &OurPoint {
        self.ours
            .iter()
            .find(|point| point.quality == self.quality)
            .unwrap_or(&self.ours[0])
    }

    fn kbits(&self, bytes: f64) -> f64 {
        bytes * 8.0 / 1000.0 / (self.frames as f64 / self.fps)
    }
}

pub struct Still {
    pub caption: &'static str,
    pub kind: &'static str,
    pub bytes: Vec<u8>,
}

/// `-35 %`: how `ours` compares with `theirs`.
pub fn percent(ours: f64, theirs: f64) -> String {
    format!("{:+.0} %", (ours / theirs - 1.0) * 100.0)
}

/// The processor, as the kernel names it, and how many of them.
pub fn machine() -> String {
    let name = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism()
        .map(std::num::NonZero::get)
        .unwrap_or(1);
    format!("{name}, {cores} cores")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// In words: how our stream compares, whichever way it falls.
fn verdict(results: &Results) -> Vec<String> {
    let ours = results.main();
    results
        .anchors
        .iter()
        .map(|anchor| match anchor.bytes {
            Some(bytes) => {
                let (at, ratio) = (ours.measured.psnr_y, ours.bytes as f64 / bytes);
                if ratio < 1.0 {
                    let fewer = (1.0 - ratio) * 100.0;
                    format!("At {at:.2} dB Y-PSNR this codec needs {fewer:.0} % fewer bytes than {}.", anchor.name)
                } else {
                    format!("At {at:.2} dB Y-PSNR this codec loses to {}: it needs {ratio:.2} times the bytes.", anchor.name)
                }
            }
            None => format!(
                "{} has no CRF with {:.2} dB Y-PSNR on this clip, so no ratio is given.",
                anchor.name, ours.measured.psnr_y
            ),
        })
        .collect()
}

pub fn write(results: &Results, frame: u64, stills: &[Still], target: &Path) -> Result<()> {
    let html = page(results, frame, stills)?;
    std::fs::write(target, html).with_context(|| format!("cannot write {}", target.display()))
}

fn page(r: &Results, frame: u64, stills: &[Still]) -> Result<String> {
    let mut h = String::from(HEAD);
    write!(
        h,
        "<h1>gst-aivideo demo</h1>\n<p>{} ({}), its first {} frames at {}&times;{}. {}; GStreamer: {}.</p>\n",
        escape(&r.video),
        escape(&r.found),
        r.frames,
        r.width,
        r.height,
        escape(&r.machine),
        escape(&r.gstreamer)
    )?;

    h.push_str("<h2>Bytes at the same Y-PSNR</h2>\n<ul>\n");
    for line in verdict(r) {
        writeln!(h, "<li>{}</li>", escape(&line))?;
    }
    h.push_str(
        "</ul>\n<table><tr><th>encoder</th><th>bytes</th><th>kbit/s</th><th>ours against it</th>\
         <th>PSNR-Y</th><th>PSNR</th><th>SSIM</th><th>VMAF</th></tr>\n",
    );
    for point in &r.ours {
        let class = if point.quality == r.quality {
            " class=\"main\""
        } else {
            ""
        };
        let name = format!("aicodec, quality {}", point.quality);
        row(
            &mut h,
            class,
            &name,
            Some(point.bytes as f64),
            "",
            r,
            &point.measured,
        )?;
    }
    for anchor in &r.anchors {
        let against = anchor
            .bytes
            .map(|b| percent(r.main().bytes as f64, b))
            .unwrap_or_default();
        let name = format!("{} (nearest: crf {:.2})", anchor.name, anchor.nearest.crf);
        row(
            &mut h,
            "",
            &name,
            anchor.bytes,
            &against,
            r,
            &anchor.quality,
        )?;
    }
    h.push_str("</table>\n");
    h.push_str(
        "<p class=\"note\">Bytes are sizes of real files: our .aic with its framing, raw H.265 without the encoder's \
         information message. The rows of x265 give the bytes at our Y-PSNR, interpolated between the two encodes \
         next to it; their quality columns are those of the nearest encode. PSNR is over the mean error of all \
         frames (ffmpeg's psnr filter), SSIM and VMAF by ffmpeg's filters. x265 runs with its default psychovisual \
         settings, which cost it PSNR. One clip is an example, not a benchmark.</p>\n",
    );
    chart(&mut h, r)?;

    h.push_str("<h2>Frames</h2>\n<div class=\"stills\">\n");
    for still in stills {
        writeln!(
            h,
            "<figure><img alt=\"{0}\" src=\"data:{1};base64,{2}\"><figcaption>{0}, frame {frame}</figcaption></figure>",
            escape(still.caption),
            still.kind,
            glib::base64_encode(&still.bytes)
        )?;
    }
    h.push_str("</div>\n<h2>Speed of each element, alone</h2>\n<table><tr><th>element</th><th>input</th><th>frames</th><th>frames a second</th></tr>\n");
    for speed in &r.speeds {
        writeln!(
            h,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.1}</td></tr>",
            escape(speed.element),
            speed.size,
            speed.frames,
            speed.fps
        )?;
    }
    h.push_str("</table>\n<p class=\"note\">Each element alone in a pipeline that reads raw frames (or the coded file) from disk, after its model is loaded.</p>\n");

    writeln!(
        h,
        "<h2>What the classifier saw</h2>\n<table><tr><th>class</th><th>mean score over {} clips</th></tr>",
        r.clips
    )?;
    for (label, score) in &r.top {
        writeln!(h, "<tr><td>{}</td><td>{score:.3}</td></tr>", escape(label))?;
    }
    h.push_str("</table>\n");

    let t = &r.transport;
    write!(
        h,
        "<h2>Over UDP</h2>\n<p>{} frames sent, {} in the MP4, {} datagrams dropped by the kernel; {:.1} s from the \
         start of the receiver to the finished MP4.</p>\n",
        t.frames_sent, t.frames_received, t.kernel_drops, t.seconds
    )?;
    for warning in &t.warnings {
        writeln!(h, "<p class=\"note\">{}</p>", escape(warning))?;
    }
    writeln!(
        h,
        "<pre>{}</pre>\n<pre>{}</pre>",
        escape(&r.receiver),
        escape(&r.sender)
    )?;
    h.push_str("<h2>Settings of x265</h2>\n<ul>\n");
    for anchor in &r.anchors {
        let tried: Vec<String> = anchor
            .points
            .iter()
            .map(|p| format!("crf {:.2}: {} bytes, {:.2} dB", p.crf, p.bytes, p.psnr_y))
            .collect();
        writeln!(
            h,
            "<li>{}: <code>{}</code><br>{}</li>",
            escape(anchor.name),
            escape(&anchor.options),
            tried.join("; ")
        )?;
    }
    h.push_str("</ul>\n</body></html>\n");
    Ok(h)
}

fn row(
    h: &mut String,
    class: &str,
    name: &str,
    bytes: Option<f64>,
    against: &str,
    r: &Results,
    q: &Quality,
) -> Result<()> {
    let (size, rate) = match bytes {
        Some(bytes) => (format!("{bytes:.0}"), format!("{:.1}", r.kbits(bytes))),
        None => ("out of reach".into(), String::new()),
    };
    writeln!(
        h,
        "<tr{class}><td>{}</td><td>{size}</td><td>{rate}</td><td>{against}</td><td>{:.2}</td><td>{:.2}</td><td>{:.4}</td><td>{:.2}</td></tr>",
        escape(name),
        q.psnr_y,
        q.psnr,
        q.ssim,
        q.vmaf
    )?;
    Ok(())
}

/// Colours that remain apart for most colour-blind readers.
const COLOURS: &[&str] = &["#0072b2", "#d55e00", "#009e73"];

/// Y-PSNR over the logarithm of the rate.
fn chart(h: &mut String, r: &Results) -> Result<()> {
    let mut curves: Vec<(String, Vec<(f64, f64)>)> = vec![(
        "aicodec".into(),
        r.ours
            .iter()
            .map(|p| (r.kbits(p.bytes as f64), p.measured.psnr_y))
            .collect(),
    )];
    for anchor in &r.anchors {
        curves.push((
            anchor.name.into(),
            anchor
                .points
                .iter()
                .map(|p| (r.kbits(p.bytes as f64), p.psnr_y))
                .collect(),
        ));
    }
    for (_, points) in &mut curves {
        points.retain(|(rate, db)| *rate > 0.0 && db.is_finite());
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    let all = || curves.iter().flat_map(|(_, points)| points.iter().copied());
    let ends = |values: Vec<f64>, margin: f64| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (low - margin, high + margin)
    };
    let (x0, x1) = ends(all().map(|(rate, _)| rate.log2()).collect(), 0.15);
    let (y0, y1) = ends(all().map(|(_, db)| db).collect(), 0.5);
    let x = |rate: f64| 60.0 + (rate.log2() - x0) / (x1 - x0) * 560.0;
    let y = |db: f64| 300.0 - (db - y0) / (y1 - y0) * 270.0;

    h.push_str("<svg viewBox=\"0 0 640 360\" role=\"img\" aria-label=\"Y-PSNR over bit rate\">\n");
    for db in (y0.ceil() as i64)..=(y1.floor() as i64) {
        if (y1 - y0) < 12.0 || db % 2 == 0 {
            writeln!(
                h,
                "<line x1=\"60\" x2=\"620\" y1=\"{0:.1}\" y2=\"{0:.1}\" stroke=\"#ddd\"/><text x=\"54\" y=\"{1:.1}\" text-anchor=\"end\">{db}</text>",
                y(db as f64),
                y(db as f64) + 4.0
            )?;
        }
    }
    for power in (x0.ceil() as i32)..=(x1.floor() as i32) {
        let rate = 2f64.powi(power);
        writeln!(
            h,
            "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"30\" y2=\"300\" stroke=\"#ddd\"/><text x=\"{0:.1}\" y=\"318\" text-anchor=\"middle\">{rate}</text>",
            x(rate)
        )?;
    }
    h.push_str("<text x=\"340\" y=\"338\" text-anchor=\"middle\">kbit/s</text><text x=\"8\" y=\"22\">Y-PSNR, dB</text>\n");
    for (i, (name, points)) in curves.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let path: Vec<String> = points
            .iter()
            .map(|(rate, db)| format!("{:.1},{:.1}", x(*rate), y(*db)))
            .collect();
        writeln!(
            h,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        )?;
        for (rate, db) in points {
            writeln!(
                h,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{colour}\"/>",
                x(*rate),
                y(*db)
            )?;
        }
        writeln!(
            h,
            "<text x=\"{}\" y=\"355\" fill=\"{colour}\">&#9679; {}</text>",
            [60, 180, 460][i % 3],
            escape(name)
        )?;
    }
    h.push_str("</svg>\n");
    Ok(())
}

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>gst-aivideo demo</title>\n<style>\
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse}th,td{border:1px solid #ccc;padding:.3em .7em;text-align:right}\
td:first-child,th:first-child{text-align:left}tr.main{background:#eaf3fa;font-weight:600}\
svg{max-width:760px;width:100%;font:12px system-ui,sans-serif;display:block;margin-top:1em}\
.note{color:#555;font-size:13px;max-width:52em}pre{background:#f5f5f5;padding:.8em;overflow-x:auto;font-size:13px}\
.stills{display:grid;grid-template-columns:repeat(auto-fit,minmax(460px,1fr));gap:1em}\
figure{margin:0}img{width:100%;height:auto}figcaption{color:#555;font-size:13px}\
</style></head><body>\n";

#[cfg(test)]
mod tests {
    use super::super::anchors::Point;
    use super::*;

    fn results(theirs: Option<f64>) -> Results {
        let q = Quality {
            psnr_y: 36.0,
            psnr: 37.0,
            ssim: 0.95,
            vmaf: 88.0,
        };
        let point = Point {
            crf: 28.0,
            bytes: 1000,
            psnr_y: 36.0,
            seconds: 1.0,
        };
        Results {
            video: "<clip> & co.mp4".into(),
            found: "640x272".into(),
            width: 640,
            height: 272,
            frames: 50,
            fps: 25.0,
            quality: 32,
            enhanced_frames: 50,
            ours: vec![OurPoint {
                quality: 32,
                bytes: 1500,
                measured: q,
            }],
            anchors: vec![Matched {
                name: "x265 medium",
                options: "-c:v libx265".into(),
                bytes: theirs,
                nearest: point,
                quality: q,
                points: vec![point],
                file: Default::default(),
            }],
            speeds: vec![],
            transport: Transport {
                frames_sent: 50,
                frames_received: 50,
                kernel_drops: 0,
                seconds: 3.0,
                warnings: vec![],
            },
            top: vec![("pan <left>".into(), 0.5)],
            clips: 3,
            receiver: String::new(),
            sender: String::new(),
            machine: String::new(),
            gstreamer: String::new(),
        }
    }

    #[test]
    fn losses_are_called_losses() {
        assert!(
            verdict(&results(Some(1000.0)))[0]
                .contains("loses to x265 medium: it needs 1.50 times")
        );
        assert!(verdict(&results(Some(3000.0)))[0].contains("50 % fewer"));
        assert!(verdict(&results(None))[0].contains("no ratio"));
        assert_eq!(percent(1500.0, 1000.0), "+50 %");
    }

    #[test]
    fn text_from_outside_is_escaped() {
        let html = page(&results(Some(1000.0)), 3, &[]).unwrap();
        assert!(html.contains("&lt;clip&gt; &amp; co.mp4") && html.contains("pan &lt;left&gt;"));
        assert!(!html.contains("<clip>"));
        assert!(
            !html.contains("NaN"),
            "the chart must survive a single point"
        );
    }
}
