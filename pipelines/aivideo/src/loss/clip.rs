// SPDX-License-Identifier: Apache-2.0
//! A clip as frames in memory.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow, bail};
use gst::prelude::*;
use gst_video::prelude::*;

use super::lines::lock;
use crate::gstrun;

/// Luma of a clip's frames.
pub(super) struct Clip {
    pub(super) name: String,
    pub(super) info: gst_video::VideoInfo,
    pub(super) buffers: Vec<gst::Buffer>,
    pub(super) luma: Vec<Vec<u8>>,
    pub(super) frame: gst::ClockTime,
}

pub(super) fn luma(buffer: &gst::BufferRef, info: &gst_video::VideoInfo) -> Result<Vec<u8>> {
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info)
        .context("a picture that cannot be read")?;
    let stride = usize::try_from(frame.plane_stride()[0]).context("a stride below 0")?;
    let data = frame.plane_data(0).context("a picture without luma")?;
    let (width, height) = (info.width() as usize, info.height() as usize);
    Ok(data
        .chunks(stride)
        .take(height)
        .flat_map(|row| &row[..width])
        .copied()
        .collect())
}

/// Reads a clip's first frames, scaled down where it is wider than `width`.
pub(super) fn read(path: &Path, frames: usize, width: u32) -> Result<Clip> {
    let file = path.display().to_string();
    if !path.is_file() {
        bail!("cannot read the clip {file}: it is not a file");
    }
    let quoted = file.replace('\\', "\\\\").replace('"', "\\\"");
    let line = format!(
        "filesrc location=\"{quoted}\" ! decodebin ! videoconvert ! videoscale \
         ! capsfilter name=size ! fakesink name=end sync=false"
    );
    let pipeline = gst::parse::launch(&line)?
        .downcast::<gst::Pipeline>()
        .map_err(|_| anyhow!("not a pipeline"))?;
    let size = pipeline.by_name("size").context("no filter")?;
    let wanted = gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field(
            "width",
            gst::IntRange::new(16, width.max(16) as i32 / 2 * 2),
        )
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .build();
    size.set_property("caps", &wanted);
    let kept: Arc<Mutex<Vec<gst::Buffer>>> = Arc::default();
    let pad = pipeline
        .by_name("end")
        .and_then(|e| e.static_pad("sink"))
        .context("no sink")?;
    let into = Arc::clone(&kept);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let mut kept = lock(&into);
        if let Some(buffer) = info.buffer()
            && kept.len() < frames
        {
            kept.push(buffer.clone());
        }
        gst::PadProbeReturn::Ok
    });
    let bus = pipeline.bus().context("no bus")?;
    // A failure to start is told by a message.
    let _ = pipeline.set_state(gst::State::Playing);
    let result = loop {
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = bus.timed_pop_filtered(gst::ClockTime::from_mseconds(50), &kinds);
        match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(error)) => {
                break Err(anyhow!("{file}: {}", gstrun::error_text(error)));
            }
            Some(_) => break Ok(()),
            None if lock(&kept).len() >= frames => break Ok(()),
            None => {}
        }
    };
    let caps = pad.current_caps();
    let _ = pipeline.set_state(gst::State::Null);
    result?;
    let caps = caps.context("no picture")?;
    let info = gst_video::VideoInfo::from_caps(&caps)?;
    let fps = info.fps();
    let (n, d) = match (u64::try_from(fps.numer()), u64::try_from(fps.denom())) {
        (Ok(n), Ok(d)) if n > 0 && d > 0 => (n, d),
        _ => (25, 1),
    };
    let buffers = std::mem::take(&mut *lock(&kept));
    if buffers.is_empty() {
        bail!("{file} has no picture");
    }
    let luma = buffers
        .iter()
        .map(|b| luma(b, &info))
        .collect::<Result<_>>()?;
    Ok(Clip {
        name: path
            .file_stem()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or(file),
        info: gst_video::VideoInfo::builder(info.format(), info.width(), info.height())
            .fps(gst::Fraction::new(n as i32, d as i32))
            .colorimetry(&info.colorimetry())
            .build()?,
        frame: gst::ClockTime::from_nseconds(1_000_000_000 * d / n),
        buffers,
        luma,
    })
}

pub(super) fn defaults() -> Result<Vec<PathBuf>> {
    let folder = std::env::var_os("AIVIDEO_CLIPS")
        .map(PathBuf::from)
        .context("no clip: name one by --video, or set AIVIDEO_CLIPS (`. ./env.sh`)")?;
    let mut clips: Vec<PathBuf> = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let kind = path.extension().and_then(|e| e.to_str());
            matches!(kind, Some("mp4" | "mkv" | "webm" | "mov"))
        })
        .collect();
    clips.sort();
    clips.truncate(2);
    if clips.is_empty() {
        bail!("no clip in {}: name one by --video", folder.display());
    }
    Ok(clips)
}
