// SPDX-License-Identifier: Apache-2.0
//! Pictures in memory that a pipeline is fed with, so that neither a decoder nor a disk is measured.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, Result, bail};
use gst::prelude::*;

use crate::gstrun;

/// Different pictures; they are played there and back, so that motion stays continuous.
const COUNT: usize = 12;
/// Of the pipelines.
pub const FPS: u64 = 30;

pub struct Frames {
    buffers: Vec<gst::Buffer>,
    caps: gst::Caps,
}

/// The picture of frame `n`, there and back over `count` pictures.
fn place(n: u64, count: u64) -> u64 {
    let period = (2 * (count - 1)).max(1);
    let at = n % period;
    at.min(period - at)
}

impl Frames {
    /// The first pictures of the clip, scaled.
    pub fn read(video: &Path, (width, height): (u32, u32), format: &str) -> Result<Self> {
        let work = tempfile::tempdir().context("no temporary directory")?;
        let raw = work.path().join("frames");
        let caps = format!(
            "video/x-raw,format={format},width={width},height={height},pixel-aspect-ratio=1/1"
        );
        gstrun::run_to_file(
            &format!(
                "filesrc location=\"{}\" ! decodebin ! videoconvert ! videoscale ! {caps} ! \
                 identity name=measured eos-after={} ! fakesink name=frames sync=false",
                std::path::absolute(video)?.display(),
                COUNT + 1
            ),
            "measured",
            &raw,
            |_| (),
        )?;
        let bytes = std::fs::read(&raw)?;
        // Tightly packed, and so are GStreamer's own rows at widths of a multiple of eight.
        let frame = width as usize * height as usize * 3 / 2;
        let buffers: Vec<gst::Buffer> = bytes
            .chunks_exact(frame)
            .take(COUNT)
            .map(|frame| gst::Buffer::from_slice(frame.to_vec()))
            .collect();
        if buffers.len() < 2 {
            bail!("{} has fewer than two pictures", video.display());
        }
        Ok(Self {
            buffers,
            caps: format!("{caps},framerate={FPS}/1")
                .parse()
                .context("caps of the pictures")?,
        })
    }

    /// Feeds the `appsrc name=frames` of a pipeline with `count` frames.
    pub fn feed(&self, pipeline: &gst::Pipeline, count: u64) -> Result<()> {
        let source = pipeline
            .by_name("frames")
            .and_then(|element| element.downcast::<gst_app::AppSrc>().ok())
            .context("no appsrc called frames")?;
        source.set_caps(Some(&self.caps));
        source.set_format(gst::Format::Time);
        source.set_max_buffers(2);
        source.set_max_bytes(0);
        let buffers = self.buffers.clone();
        let next = AtomicU64::new(0);
        source.set_callbacks(
            gst_app::AppSrcCallbacks::builder()
                .need_data(move |source, _| {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        let _ = source.end_of_stream(); // a pipeline that stops needs none
                        return;
                    }
                    // The pictures' memory is shared, only the time is new.
                    let mut buffer = buffers[place(n, buffers.len() as u64) as usize].copy();
                    if let Some(buffer) = buffer.get_mut() {
                        buffer.set_pts(gst::ClockTime::SECOND.mul_div_floor(n, FPS));
                        buffer.set_duration(gst::ClockTime::SECOND.mul_div_floor(1, FPS));
                    }
                    let _ = source.push_buffer(buffer); // refused while the pipeline stops
                })
                .build(),
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn pictures_are_played_there_and_back() {
        let order: Vec<u64> = (0..9).map(|n| place(n, 4)).collect();
        assert_eq!(order, [0, 1, 2, 3, 2, 1, 0, 1, 2]);
        assert_eq!(place(5, 1), 0);
    }
}
