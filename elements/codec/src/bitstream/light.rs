// SPDX-License-Identifier: Apache-2.0

use super::{BitstreamError, Reader};
use gst_video::{
    VideoContentLightLevel, VideoMasteringDisplayInfo, VideoMasteringDisplayInfoCoordinate,
};

/// The display on which a video of high dynamic range was made, in the units of HEVC's message and of
/// GStreamer's caps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mastering {
    /// x and y of red, green, blue and white, in 0.00002.
    pub chromaticities: [u16; 8],
    /// Largest and least luminance, in 0.0001 cd/m².
    pub luminance: [u32; 2],
}

/// Light of a video of high dynamic range, where it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Light {
    pub mastering: Option<Mastering>,
    /// Of the brightest sample, and of the brightest picture's mean, in cd/m².
    pub content: Option<[u16; 2]>,
}

const MASTERING: u8 = 1;
const CONTENT: u8 = 2;

impl Light {
    /// Most bytes that it takes.
    pub const LARGEST: usize = 28;

    /// Which parts are there, as the sequence header says it.
    pub(super) fn flags(&self) -> u8 {
        let mastering = self.mastering.map_or(0, |_| MASTERING);
        mastering | self.content.map_or(0, |_| CONTENT)
    }

    /// Bytes of the parts that are there.
    pub(super) fn size(flags: u8) -> usize {
        let mastering = if flags & MASTERING != 0 { 24 } else { 0 };
        mastering + if flags & CONTENT != 0 { 4 } else { 0 }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Some(Mastering {
            chromaticities,
            luminance,
        }) = self.mastering
        {
            out.extend(chromaticities.iter().flat_map(|v| v.to_le_bytes()));
            out.extend(luminance.iter().flat_map(|v| v.to_le_bytes()));
        }
        if let Some(content) = self.content {
            out.extend(content.iter().flat_map(|v| v.to_le_bytes()));
        }
    }

    pub(super) fn read(flags: u8, reader: &mut Reader<'_>) -> Result<Self, BitstreamError> {
        if flags & !(MASTERING | CONTENT) != 0 {
            return Err(BitstreamError::Value {
                what: "flags of light",
                value: flags.into(),
            });
        }
        let mut light = Self::default();
        if flags & MASTERING != 0 {
            let mut chromaticities = [0; 8];
            for value in &mut chromaticities {
                *value = reader.u16()?;
            }
            light.mastering = Some(Mastering {
                chromaticities,
                luminance: [reader.u32()?, reader.u32()?],
            });
        }
        if flags & CONTENT != 0 {
            light.content = Some([reader.u16()?, reader.u16()?]);
        }
        Ok(light)
    }

    /// What caps of raw or coded video say.
    pub fn from_caps(caps: &gst::CapsRef) -> Self {
        let mastering = VideoMasteringDisplayInfo::from_caps(caps).ok();
        let content = VideoContentLightLevel::from_caps(caps).ok();
        Self {
            mastering: mastering.map(|info| {
                let [red, green, blue] = info.display_primaries();
                let white = info.white_point();
                Mastering {
                    chromaticities: [
                        red.x, red.y, green.x, green.y, blue.x, blue.y, white.x, white.y,
                    ],
                    luminance: [
                        info.max_display_mastering_luminance(),
                        info.min_display_mastering_luminance(),
                    ],
                }
            }),
            content: content.map(|level| {
                [
                    level.max_content_light_level(),
                    level.max_frame_average_light_level(),
                ]
            }),
        }
    }

    /// Says it in caps.
    pub fn add_to_caps(&self, caps: &mut gst::CapsRef) {
        if let Some(Mastering {
            chromaticities: [rx, ry, gx, gy, bx, by, wx, wy],
            luminance: [largest, least],
        }) = self.mastering
        {
            let at = |x, y| VideoMasteringDisplayInfoCoordinate { x, y };
            let primaries = [at(rx, ry), at(gx, gy), at(bx, by)];
            VideoMasteringDisplayInfo::new(primaries, at(wx, wy), largest, least).add_to_caps(caps);
        }
        if let Some([brightest, average]) = self.content {
            VideoContentLightLevel::new(brightest, average).add_to_caps(caps);
        }
    }
}
