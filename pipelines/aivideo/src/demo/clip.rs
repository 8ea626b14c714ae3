// SPDX-License-Identifier: Apache-2.0
//! The user's clip: can it be read, how large is it, and its first frames as a raw file.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use gst::prelude::*;
use indicatif::ProgressBar;

use crate::ffmpeg::{Ffmpeg, words};
use crate::gstrun;
use crate::rawclip::RawClip;

/// Larger clips are scaled down to this area, so that the demo ends in minutes on two cores.
const DEMO_AREA: f64 = 640.0 * 360.0;
/// Smallest side that the anchors accept after scaling.
const MIN_SIDE: u32 = 32;

pub struct Found {
    pub width: u32,
    pub height: u32,
    pub fps: (i32, i32),
    /// Frames by the length that the file claims; none when it claims none.
    pub frames: Option<u64>,
}

impl Found {
    /// The clip's size with an even height, which 4:2:0 files of H.264 and H.265 need, and a width
    /// at which GStreamer pads no row of a raw file.
    pub fn even_size(&self) -> (u32, u32) {
        (
            down(f64::from(self.width), 8),
            down(f64::from(self.height), 2),
        )
    }

    /// The size in the demo: the clip's own, or the same shape at the largest area allowed.
    pub fn demo_size(&self) -> (u32, u32) {
        let (w, h) = (f64::from(self.width), f64::from(self.height));
        let scale = (DEMO_AREA / (w * h)).sqrt().min(1.0);
        (down(w * scale, 8), down(h * scale, 2))
    }
}

fn down(side: f64, step: u32) -> u32 {
    // Down, but not because a product of square roots fell short of a whole number.
    ((side / f64::from(step) + 1e-6).floor() as u32 * step).max(MIN_SIDE)
}

fn quoted(path: &Path) -> String {
    path.display()
        .to_string()
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
}

/// Opens the clip and reads the size of its first picture. Every failure names the path.
pub fn probe(video: &Path) -> Result<Found> {
    let file = std::fs::File::open(video)
        .with_context(|| format!("cannot read the clip {}", video.display()))?;
    if !file.metadata().is_ok_and(|m| m.is_file()) {
        bail!("cannot read the clip {}: it is not a file", video.display());
    }
    drop(file);
    let pipeline = gst::parse::launch(&format!(
        "filesrc location=\"{}\" ! decodebin ! videoconvert ! fakesink name=end",
        quoted(video)
    ))?
    .downcast::<gst::Pipeline>()
    .map_err(|_| anyhow!("not a pipeline"))?;
    let found = preroll(&pipeline);
    // Only the first result matters: the pipeline is thrown away.
    let _ = pipeline.set_state(gst::State::Null);
    found.with_context(|| format!("cannot read {} as a video", video.display()))
}

fn preroll(pipeline: &gst::Pipeline) -> Result<Found> {
    let bus = pipeline.bus().context("the pipeline has no bus")?;
    let end = pipeline.by_name("end").context("no sink")?;
    // A failure to start is told by an error message, which says more.
    let _ = pipeline.set_state(gst::State::Paused);
    let types = [
        gst::MessageType::Error,
        gst::MessageType::AsyncDone,
        gst::MessageType::Eos,
    ];
    let message = bus
        .timed_pop_filtered(gst::ClockTime::from_seconds(30), &types)
        .context("no picture was decoded within 30 s")?;
    match message.view() {
        gst::MessageView::Error(error) => bail!("{}", gstrun::error_text(error)),
        gst::MessageView::Eos(_) => bail!("it holds no picture"),
        _ => {}
    }
    let caps = end
        .static_pad("sink")
        .and_then(|pad| pad.current_caps())
        .context("it holds no picture")?;
    let structure = caps.structure(0).context("it holds no picture")?;
    let side = |name: &str| {
        structure
            .get::<i32>(name)
            .ok()
            .and_then(|side| u32::try_from(side).ok())
    };
    let (width, height) = (
        side("width").context("no width")?,
        side("height").context("no height")?,
    );
    let (n, d) = super::fraction(structure, "pixel-aspect-ratio").unwrap_or((1, 1));
    // Pixels become square: the shape on the screen is kept.
    let width = (f64::from(width) * f64::from(n) / f64::from(d)).round() as u32;
    let fps = super::fraction(structure, "framerate").unwrap_or((25, 1));
    let frames = pipeline
        .query_duration::<gst::ClockTime>()
        .map(|length| (length.seconds_f64() * f64::from(fps.0) / f64::from(fps.1)).round() as u64);
    Ok(Found {
        width,
        height,
        fps,
        frames,
    })
}

/// Puts the first `frames` frames into `target`, losslessly coded: copying coded frames would keep
/// whatever a raw stream or a GIF lacks for a container.
/// (`identity eos-after=` cannot end a stream exactly: a decoder with threads still pushes some.)
pub fn cut(video: &Path, frames: u64, ffmpeg: &Ffmpeg, target: &Path) -> Result<()> {
    let path = |path: &Path| path.display().to_string();
    let mut args = vec!["-i".to_owned(), path(video)];
    args.extend(words(&format!(
        "-map 0:v:0 -c:v ffv1 -fps_mode passthrough -frames:v {frames} -f matroska"
    )));
    args.push(path(target));
    ffmpeg
        .run(&args)
        .with_context(|| format!("cutting {}", video.display()))?;
    Ok(())
}

/// The clip's frames at `size` as raw I420, through the elements that the sender uses.
pub fn read(
    video: &Path,
    found: &Found,
    size: (u32, u32),
    target: &Path,
    bar: &ProgressBar,
) -> Result<RawClip> {
    let (width, height) = size;
    let timing = gstrun::run(
        &format!(
            "filesrc location=\"{}\" ! decodebin ! videoconvert ! videoscale \
             ! video/x-raw,format=I420,width={width},height={height},pixel-aspect-ratio=1/1 \
             ! filesink name=measured location=\"{}\"",
            quoted(video),
            quoted(target)
        ),
        "measured",
        |n| bar.set_position(n),
    )
    .with_context(|| format!("reading {}", video.display()))?;
    let mut clip = RawClip {
        path: target.to_path_buf(),
        width,
        height,
        fps: found.fps,
        frames: timing.frames,
    };
    clip.frames = clip.count()?;
    if clip.frames == 0 {
        bail!("{} holds no frame", video.display());
    }
    Ok(clip)
}

/// Pictures in an MP4 with H.264.
pub fn count_mp4(file: &Path) -> Result<u64> {
    let timing = gstrun::run(
        &format!(
            "filesrc location=\"{}\" ! qtdemux ! h264parse name=measured ! fakesink",
            quoted(file)
        ),
        "measured",
        |_| (),
    )
    .with_context(|| format!("reading back {}", file.display()))?;
    Ok(timing.frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_their_shape_and_are_even() {
        let size = |width, height| {
            Found {
                width,
                height,
                fps: (25, 1),
                frames: None,
            }
            .demo_size()
        };
        assert_eq!(size(640, 272), (640, 272));
        assert_eq!(size(1280, 720), (640, 360));
        assert_eq!(size(1080, 1920), (360, 640));
        assert_eq!(size(641, 271), (640, 270));
        assert_eq!(size(554, 414), (552, 414));
        assert_eq!(size(16, 16), (32, 32));
    }

    #[test]
    fn unreadable_clips_are_named() {
        gst::init().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("no such clip.mp4");
        let error = format!("{:#}", probe(&missing).err().unwrap());
        assert!(
            error.contains("no such clip.mp4") && error.contains("No such file"),
            "{error}"
        );

        let noise = dir.path().join("noise.mp4");
        std::fs::write(&noise, b"this is not a video at all, only a line of text\n").unwrap();
        let error = format!("{:#}", probe(&noise).err().unwrap());
        assert!(error.contains("noise.mp4"), "{error}");

        assert!(format!("{:#}", probe(dir.path()).err().unwrap()).contains("not a file"));
    }
}
