// SPDX-License-Identifier: Apache-2.0
//! The hybrid profile through its elements, and standard streams of ffmpeg's encoders through the
//! restoring decoder.

use std::path::Path;

use anyhow::{Context, Result};

use crate::anchors::Anchor;
use crate::gstrun::{self, Timing};
use crate::rawclip::RawClip;

/// The elements that this module needs.
pub const NEEDED: &[&str] = &[
    "aihybridenc",
    "aihybriddec",
    "airestore",
    "matroskamux",
    "matroskademux",
];

/// Streams of aihybridenc, restored or as a plain decoder shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hybrid {
    latency: &'static str,
    pub restored: bool,
    /// More properties of the encoder, `base=h265` and the like; `look-ahead` is the decoder's.
    properties: Vec<String>,
}

fn is_of_decoder(property: &str) -> bool {
    property.starts_with("look-ahead=")
}

const LATENCIES: [&str; 3] = ["low-delay", "balanced", "file"];

/// What `--codecs` takes, beside properties behind colons.
pub fn ids() -> Vec<String> {
    LATENCIES
        .iter()
        .flat_map(|latency| ["", "-plain"].map(|end| format!("hybrid-{latency}{end}")))
        .collect()
}

impl Hybrid {
    /// Of a name such as `hybrid-file-plain`.
    pub fn parse(id: &str) -> Option<Self> {
        let id = id.strip_prefix("hybrid-")?;
        let (name, restored) = match id.strip_suffix("-plain") {
            Some(name) => (name, false),
            None => (id, true),
        };
        let latency = LATENCIES.into_iter().find(|latency| *latency == name)?;
        Some(Self {
            latency,
            restored,
            properties: Vec::new(),
        })
    }

    pub fn add(&mut self, property: &str) {
        self.properties.push(property.to_owned());
    }

    pub fn id(&self) -> String {
        let end = if self.restored { "" } else { "-plain" };
        let mut id = format!("hybrid-{}{end}", self.latency);
        for property in &self.properties {
            id.push(':');
            id.push_str(property);
        }
        id
    }

    pub fn name(&self) -> String {
        let mut name = format!("hybrid, {}", self.latency);
        if !self.restored {
            name.push_str(", as any player shows it");
        }
        for property in &self.properties {
            name.push_str(", ");
            name.push_str(property);
        }
        name
    }

    /// The encoder as a person writes it.
    pub fn text(&self, gop: u64, quality: &str) -> String {
        let own = self.properties.iter().filter(|p| !is_of_decoder(p));
        let own: Vec<&str> = own.map(String::as_str).collect();
        format!(
            "aihybridenc latency={} key-int-max={gop} quality={quality} {}",
            self.latency,
            own.join(" ")
        )
    }

    pub fn encode(&self, clip: &RawClip, gop: u64, quality: f64, stream: &Path) -> Result<Timing> {
        let text = self.text(gop, &format!("{quality:.0}"));
        gstrun::run(
            &format!(
                "{} ! {text} name=measured ! matroskamux ! filesink location=\"{}\"",
                clip.gst_source(),
                stream.display()
            ),
            "measured",
            |_| (),
        )
        .context("encoding")
    }

    /// The bytes of the result are those of the stream without its file.
    pub fn decode(&self, stream: &Path, threads: usize, raw: &Path) -> Result<Timing> {
        let strength = if self.restored { 1 } else { 0 };
        let own = self.properties.iter().filter(|p| is_of_decoder(p));
        let own: Vec<&str> = own.map(String::as_str).collect();
        decode(
            &format!("filesrc location=\"{}\" ! matroskademux", stream.display()),
            &format!(
                "strength={strength} num-threads={threads} {}",
                own.join(" ")
            ),
            raw,
        )
    }
}

/// Decodes and restores a raw stream that ffmpeg's encoder made at this value of its quality, with more properties
/// of the decoder.
pub fn restore(
    anchor: &Anchor,
    value: f64,
    properties: &[String],
    stream: &Path,
    threads: usize,
    raw: &Path,
) -> Result<Timing> {
    let (caps, base) = match anchor.format() {
        "obu" => ("video/x-av1,stream-format=obu-stream", "av1"),
        "hevc" => ("video/x-h265,stream-format=byte-stream", "h265"),
        "h264" => ("video/x-h264,stream-format=byte-stream", "h264"),
        other => anyhow::bail!("airestore knows nothing of {other} streams"),
    };
    let structure = match anchor.is_low_delay() {
        true => "low-delay",
        false => "reordered",
    };
    let quality = value / if base == "av1" { 63.0 } else { 51.0 };
    decode(
        &format!("filesrc location=\"{}\" ! {caps}", stream.display()),
        &format!(
            "quality={quality:.4} base={base} structure={structure} num-threads={threads} {}",
            properties.join(" ")
        ),
        raw,
    )
}

fn decode(source: &str, properties: &str, raw: &Path) -> Result<Timing> {
    gstrun::run_to_file(
        &format!(
            "{source} ! aihybriddec name=measured {properties} ! videoconvert \
             ! video/x-raw,format=I420 ! fakesink name=frames"
        ),
        "measured",
        raw,
        |_| (),
    )
    .context("decoding")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for id in ids() {
            assert_eq!(Hybrid::parse(&id).unwrap().id(), id);
        }
        assert!(Hybrid::parse("hybrid-slow").is_none());
        let mut hybrid = Hybrid::parse("hybrid-file-plain").unwrap();
        assert!(!hybrid.restored);
        hybrid.add("base=h265");
        assert_eq!(hybrid.id(), "hybrid-file-plain:base=h265");
        assert!(
            hybrid
                .text(30, "N")
                .contains("latency=file key-int-max=30 quality=N base=h265")
        );
        hybrid.add("look-ahead=1");
        assert!(!hybrid.text(30, "N").contains("look-ahead"));
    }
}
