// SPDX-License-Identifier: Apache-2.0
//! Speed of each element of the main job, alone in a pipeline, on the demo's own frames.

use std::path::Path;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use serde::Serialize;

use super::lines::{EFFECTS, OPERATIONS};
use crate::rawclip::RawClip;
use crate::{gstrun, ours};

/// Payloader and depayloader, back to back.
pub const RTP: &str = "rtpaicodecpay + rtpaicodecdepay";

#[derive(Debug, Serialize)]
pub struct Speed {
    pub element: &'static str,
    pub size: String,
    pub frames: u64,
    pub fps: f64,
}

/// Files that the measurements leave for the metrics.
pub struct Files<'a> {
    pub stream: &'a Path,
    pub decoded: &'a RawClip,
    pub enhanced: &'a Path,
}

/// Encodes `clip` into `stream` and decodes it into `decoded`: real bytes, and the two speeds.
pub fn encode_and_decode(
    clip: &RawClip,
    quality: u32,
    model: Option<&Path>,
    stream: &Path,
    decoded: &Path,
    bar: &ProgressBar,
) -> Result<(Speed, Speed)> {
    let size = format!("{}x{}", clip.width, clip.height);
    let settings = ours::Settings {
        model: model.map(Path::to_path_buf),
        properties: vec![format!("quality={quality}")],
        threads: None,
    };
    bar.set_message(format!("aicodecenc quality={quality}"));
    let encoding = ours::encode(clip, &settings, stream, |n| bar.set_position(n))?;
    bar.set_message("aicodecdec");
    let decoding = ours::decode(stream, &settings, decoded, |n| {
        bar.set_position(clip.frames + n);
    })?;
    Ok((
        Speed {
            element: "aicodecenc",
            size: size.clone(),
            frames: encoding.frames,
            fps: encoding.fps(),
        },
        Speed {
            element: "aicodecdec",
            size,
            frames: decoding.frames,
            fps: decoding.fps(),
        },
    ))
}

/// The elements around the codec. Returns their speeds and the size of the enhanced pictures.
pub fn others(files: &Files, bar: &ProgressBar) -> Result<(Vec<Speed>, RawClip)> {
    let decoded = files.decoded;
    let source = decoded.gst_source();
    let size = format!("{}x{}", decoded.width, decoded.height);
    let mut speeds = Vec::new();
    let mut measure = |element: &'static str, size: &str, pipeline: String| -> Result<()> {
        bar.set_message(element);
        let timing =
            gstrun::run(&pipeline, "measured", |_| ()).with_context(|| element.to_owned())?;
        bar.inc(1);
        speeds.push(Speed {
            element,
            size: size.to_owned(),
            frames: timing.frames,
            fps: timing.fps(),
        });
        Ok(())
    };
    let stream = files.stream.display();
    measure(
        RTP,
        &size,
        format!(
            "filesrc location=\"{stream}\" ! aicodecparse ! rtpaicodecpay ! rtpaicodecdepay name=measured ! fakesink"
        ),
    )?;
    // sync=true makes the element wait for each result, so that the model's time is counted.
    measure(
        "vjepa2classify",
        &size,
        format!("{source} ! vjepa2classify name=measured sync=true ! fakesink"),
    )?;
    measure(
        "aienhance",
        &size,
        format!(
            "{source} ! aienhance name=measured operations={OPERATIONS} ! video/x-raw,format=I420 ! filesink location=\"{}\"",
            files.enhanced.display()
        ),
    )?;
    let enhanced = RawClip {
        path: files.enhanced.to_path_buf(),
        width: decoded.width * 2,
        height: decoded.height * 2,
        ..decoded.clone()
    };
    let size = format!("{}x{}", enhanced.width, enhanced.height);
    measure(
        "fxfilter",
        &size,
        format!(
            "{} ! fxfilter name=measured effects={EFFECTS} ! fakesink",
            enhanced.gst_source()
        ),
    )?;
    Ok((speeds, enhanced))
}
