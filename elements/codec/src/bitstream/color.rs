// SPDX-License-Identifier: Apache-2.0

use gst_video::{
    VideoColorMatrix, VideoColorPrimaries, VideoColorRange, VideoColorimetry, VideoTransferFunction,
};

/// Colours of a stream: code points of ISO/IEC 23091-2, where 2 means unknown, and a range of
/// 0 (unknown), 1 (full) or 2 (limited).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color {
    pub range: u8,
    pub matrix: u8,
    pub transfer: u8,
    pub primaries: u8,
}

impl Default for Color {
    /// Unknown.
    fn default() -> Self {
        Self {
            range: 0,
            matrix: 2,
            transfer: 2,
            primaries: 2,
        }
    }
}

impl Color {
    pub fn from_colorimetry(color: &VideoColorimetry) -> Self {
        // All code points are below 256.
        let code = |iso: u32| u8::try_from(iso).unwrap_or(2);
        Self {
            range: match color.range() {
                VideoColorRange::Range0_255 => 1,
                VideoColorRange::Range16_235 => 2,
                _ => 0,
            },
            matrix: code(color.matrix().to_iso()),
            transfer: code(color.transfer().to_iso()),
            primaries: code(color.primaries().to_iso()),
        }
    }

    pub fn to_colorimetry(self) -> VideoColorimetry {
        VideoColorimetry::new(
            match self.range {
                1 => VideoColorRange::Range0_255,
                2 => VideoColorRange::Range16_235,
                _ => VideoColorRange::Unknown,
            },
            VideoColorMatrix::from_iso(self.matrix.into()),
            VideoTransferFunction::from_iso(self.transfer.into()),
            VideoColorPrimaries::from_iso(self.primaries.into()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_survive() {
        gst::init().unwrap();
        for name in [
            "bt709",
            "bt601",
            "bt2020",
            "smpte240m",
            "2:4:7:1",
            "1:4:0:0",
        ] {
            let color: VideoColorimetry = name.parse().unwrap();
            assert_eq!(
                Color::from_colorimetry(&color).to_colorimetry(),
                color,
                "{name}"
            );
        }
    }

    #[test]
    fn every_code_is_taken() {
        gst::init().unwrap();
        for code in 0..=255 {
            let color = Color {
                range: code,
                matrix: code,
                transfer: code,
                primaries: code,
            };
            let again = Color::from_colorimetry(&color.to_colorimetry());
            // What GStreamer does not know becomes unknown, and stays so.
            assert_eq!(Color::from_colorimetry(&again.to_colorimetry()), again);
        }
    }
}
