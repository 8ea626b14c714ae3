// SPDX-License-Identifier: Apache-2.0
//! Pictures of 4:2:0 and eight bits in a GPU's memory.

use aivideo_cuda::{Area, detect::Planes};

/// A picture: where its planes lie, and its size.
#[derive(Debug, Clone, Copy)]
pub struct DevicePicture {
    pub planes: Planes,
    pub width: usize,
    pub height: usize,
}

impl DevicePicture {
    /// A mapped frame, whatever the order of its components; `None` where it has too few planes.
    pub fn new(info: &gst_video::VideoInfo, planes: &[Area]) -> Option<Self> {
        let format = info.format_info();
        let plane = |component: usize| planes.get(format.plane()[component] as usize).copied();
        Some(Self {
            planes: Planes {
                y: plane(0)?,
                u: plane(1)?,
                v: plane(2)?,
                step: u32::try_from(format.pixel_stride()[1]).ok()?,
                first: [format.poffset()[1], format.poffset()[2]],
            },
            width: info.width() as usize,
            height: info.height() as usize,
        })
    }
}
