// SPDX-License-Identifier: Apache-2.0
//! From GStreamer's video frames to what the preprocessing takes.

use gst_video::prelude::*;

use aivideo_cuda::Area;

use crate::preprocess::{Colour, Order, Pixels, Plane, device::DevicePixels};

/// How the caps say that the numbers mean colours.
pub(super) fn colour(info: &gst_video::VideoInfo) -> Colour {
    use gst_video::{VideoColorMatrix, VideoColorRange};
    let colorimetry = info.colorimetry();
    let (kr, kb) = match colorimetry.matrix() {
        VideoColorMatrix::Bt709 => (0.2126, 0.0722),
        VideoColorMatrix::Smpte240m => (0.212, 0.087),
        VideoColorMatrix::Bt2020 => (0.2627, 0.0593),
        VideoColorMatrix::Fcc => (0.30, 0.11),
        // what GStreamer itself assumes of small pictures
        _ => (0.299, 0.114),
    };
    let site = info.chroma_site();
    Colour {
        kr,
        kb,
        full_range: colorimetry.range() == VideoColorRange::Range0_255,
        cosited_x: site.contains(gst_video::VideoChromaSite::H_COSITED),
        cosited_y: site.contains(gst_video::VideoChromaSite::V_COSITED),
    }
}

/// The planes of a mapped frame; `None` for a format that the caps do not allow.
pub(super) fn pixels<'a>(
    frame: &'a gst_video::VideoFrameRef<&gst::BufferRef>,
) -> Option<Pixels<'a>> {
    let plane = |index: usize| {
        Some(Plane {
            data: frame.plane_data(index as u32).ok()?,
            stride: usize::try_from(*frame.plane_stride().get(index)?).ok()?,
        })
    };
    let packed = |order| {
        Some(Pixels::Packed {
            rgb: plane(0)?,
            order,
        })
    };
    match frame.format() {
        gst_video::VideoFormat::I420 => Some(Pixels::Planar {
            y: plane(0)?,
            u: plane(1)?,
            v: plane(2)?,
        }),
        gst_video::VideoFormat::Nv12 => Some(Pixels::SemiPlanar {
            y: plane(0)?,
            uv: plane(1)?,
        }),
        gst_video::VideoFormat::Rgb => packed(Order::Rgb),
        gst_video::VideoFormat::Bgr => packed(Order::Bgr),
        _ => None,
    }
}

/// The same of a frame in a GPU's memory.
pub(super) fn device_pixels(
    format: gst_video::VideoFormat,
    planes: &[Area],
) -> Option<DevicePixels> {
    let plane = |index: usize| planes.get(index).copied();
    let packed = |order| {
        Some(DevicePixels::Packed {
            rgb: plane(0)?,
            order,
        })
    };
    match format {
        gst_video::VideoFormat::I420 => Some(DevicePixels::Planar {
            y: plane(0)?,
            u: plane(1)?,
            v: plane(2)?,
        }),
        gst_video::VideoFormat::Nv12 => Some(DevicePixels::SemiPlanar {
            y: plane(0)?,
            uv: plane(1)?,
        }),
        gst_video::VideoFormat::Rgb => packed(Order::Rgb),
        gst_video::VideoFormat::Bgr => packed(Order::Bgr),
        _ => None,
    }
}
