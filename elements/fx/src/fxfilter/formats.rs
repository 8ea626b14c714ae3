// SPDX-License-Identifier: Apache-2.0
//! GStreamer's formats and colorimetry as the effects know them.

use crate::picture::{Colorimetry, Family, PixelFormat};

/// GStreamer's formats and ours.
pub const FORMATS: [(gst_video::VideoFormat, PixelFormat); 19] = [
    (gst_video::VideoFormat::I420, PixelFormat::I420),
    (gst_video::VideoFormat::Nv12, PixelFormat::Nv12),
    (gst_video::VideoFormat::Nv21, PixelFormat::Nv21),
    (gst_video::VideoFormat::Yv12, PixelFormat::Yv12),
    (gst_video::VideoFormat::Y42b, PixelFormat::Y42b),
    (gst_video::VideoFormat::Y444, PixelFormat::Y444),
    (gst_video::VideoFormat::Yuy2, PixelFormat::Yuy2),
    (gst_video::VideoFormat::Uyvy, PixelFormat::Uyvy),
    (gst_video::VideoFormat::Rgbx, PixelFormat::Rgbx),
    (gst_video::VideoFormat::Bgrx, PixelFormat::Bgrx),
    (gst_video::VideoFormat::Xrgb, PixelFormat::Xrgb),
    (gst_video::VideoFormat::Xbgr, PixelFormat::Xbgr),
    (gst_video::VideoFormat::Rgba, PixelFormat::Rgba),
    (gst_video::VideoFormat::Bgra, PixelFormat::Bgra),
    (gst_video::VideoFormat::Argb, PixelFormat::Argb),
    (gst_video::VideoFormat::Abgr, PixelFormat::Abgr),
    (gst_video::VideoFormat::Rgb, PixelFormat::Rgb),
    (gst_video::VideoFormat::Bgr, PixelFormat::Bgr),
    (gst_video::VideoFormat::Gray8, PixelFormat::Gray8),
];

/// The colorimetry of caps. RGB pictures get the one that their YUV sister would most likely have.
pub fn colorimetry(info: &gst_video::VideoInfo, family: Family) -> Colorimetry {
    use gst_video::{VideoColorMatrix, VideoColorRange};
    let likely = Colorimetry::for_height(info.height() as usize);
    if family == Family::Rgb {
        return likely;
    }
    let (kr, kb) = match info.colorimetry().matrix() {
        VideoColorMatrix::Bt601 => (0.299, 0.114),
        VideoColorMatrix::Bt709 => (0.2126, 0.0722),
        VideoColorMatrix::Fcc => (0.30, 0.11),
        VideoColorMatrix::Smpte240m => (0.212, 0.087),
        VideoColorMatrix::Bt2020 => (0.2627, 0.0593),
        _ => (likely.kr, likely.kb),
    };
    Colorimetry {
        kr,
        kb,
        limited: info.colorimetry().range() != VideoColorRange::Range0_255,
    }
}
