// SPDX-License-Identifier: Apache-2.0
//! Raw I420 clips: what the encoders read, the decoders write and the metrics compare.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// A raw I420 file: frames of `width` by `height` one after the other.
#[derive(Clone, Debug)]
pub struct RawClip {
    pub path: PathBuf,
    pub width: u32,
    pub height: u32,
    pub fps: (i32, i32),
    pub frames: u64,
}

impl RawClip {
    pub fn frame_bytes(&self) -> u64 {
        let (w, h) = (u64::from(self.width), u64::from(self.height));
        w * h + 2 * w.div_ceil(2) * h.div_ceil(2)
    }

    /// The frames that the file holds now; an incomplete last frame is an error.
    pub fn count(&self) -> Result<u64> {
        let bytes = std::fs::metadata(&self.path)
            .with_context(|| format!("cannot read {}", self.path.display()))?
            .len();
        if bytes % self.frame_bytes() != 0 {
            bail!(
                "{} does not hold whole frames of {}x{}",
                self.path.display(),
                self.width,
                self.height
            );
        }
        Ok(bytes / self.frame_bytes())
    }

    pub fn rate(&self) -> f64 {
        f64::from(self.fps.0) / f64::from(self.fps.1)
    }

    /// Options with which ffmpeg reads this file.
    pub fn ffmpeg_input(&self) -> Vec<String> {
        vec![
            "-f".into(),
            "rawvideo".into(),
            "-pix_fmt".into(),
            "yuv420p".into(),
            "-s".into(),
            format!("{}x{}", self.width, self.height),
            "-r".into(),
            format!("{}/{}", self.fps.0, self.fps.1),
            "-i".into(),
            self.path.display().to_string(),
        ]
    }

    /// The pipeline elements that read this file.
    pub fn gst_source(&self) -> String {
        // GStreamer takes rows for padded to four bytes unless it is told otherwise.
        let layout = if self.width.is_multiple_of(8) {
            String::new()
        } else {
            let (w, h) = (self.width, self.height);
            let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
            format!(
                " plane-strides=\"<(int){w},(int){cw},(int){cw}>\" plane-offsets=\"<(int)0,(int){},(int){}>\" frame-size={}",
                w * h,
                w * h + cw * ch,
                self.frame_bytes()
            )
        };
        format!(
            "filesrc location=\"{}\" blocksize={} ! rawvideoparse format=i420 width={} height={} framerate={}/{}{layout}",
            self.path.display(),
            self.frame_bytes(),
            self.width,
            self.height,
            self.fps.0,
            self.fps.1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_frames_of_odd_sizes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.i420");
        let clip = RawClip {
            path: path.clone(),
            width: 5,
            height: 3,
            fps: (25, 1),
            frames: 0,
        };
        assert_eq!(clip.frame_bytes(), 15 + 2 * 3 * 2);
        std::fs::write(&path, vec![0; 54]).unwrap();
        assert_eq!(clip.count().unwrap(), 2);
        std::fs::write(&path, vec![0; 55]).unwrap();
        assert!(clip.count().is_err());
    }

    /// Rows of 190 and 95 bytes: read, passed through GStreamer and written back without a change.
    #[test]
    fn raw_frames_of_any_width_pass_through_gstreamer() {
        gst::init().unwrap();
        let dir = tempfile::tempdir().unwrap();
        for (width, height) in [(190, 80), (66, 50), (64, 48)] {
            let clip = RawClip {
                path: dir.path().join("in.i420"),
                width,
                height,
                fps: (25, 1),
                frames: 3,
            };
            let bytes: Vec<u8> = (0..3 * clip.frame_bytes())
                .map(|i| (i * 31 % 251) as u8)
                .collect();
            std::fs::write(&clip.path, &bytes).unwrap();
            let out = dir.path().join("out.i420");
            let timing = crate::gstrun::run_to_file(
                &format!(
                    "{} ! identity name=measured ! fakesink name=frames",
                    clip.gst_source()
                ),
                "measured",
                &out,
                |_| (),
            )
            .unwrap();
            assert_eq!((timing.frames, timing.size), (3, Some((width, height))));
            assert!(std::fs::read(&out).unwrap() == bytes, "{width}x{height}");
        }
    }
}
