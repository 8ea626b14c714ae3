// SPDX-License-Identifier: Apache-2.0
//! The HTML report: one file that needs nothing else, with the figures of this run only.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::elements::Speed;
use super::matched::Matched;
use crate::ffmpeg::Quality;
use crate::html::{self, escape};

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
    let mut h = html::head("gst-aivideo demo");
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
    h.push_str(&chart(r));

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

/// Y-PSNR over the logarithm of the rate.
fn chart(r: &Results) -> String {
    let mut curves = vec![html::Curve {
        name: "aicodec".into(),
        points: r
            .ours
            .iter()
            .map(|p| (r.kbits(p.bytes as f64), p.measured.psnr_y))
            .collect(),
    }];
    curves.extend(r.anchors.iter().map(|anchor| {
        html::Curve {
            name: anchor.name.into(),
            points: anchor
                .points
                .iter()
                .map(|p| (r.kbits(p.bytes as f64), p.psnr_y))
                .collect(),
        }
    }));
    html::chart("Y-PSNR, dB", &curves) + &html::legend(&curves)
}

#[cfg(test)]
mod tests {
    use super::super::matched::Point;
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
                input: Default::default(),
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
