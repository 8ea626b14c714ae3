// SPDX-License-Identifier: Apache-2.0
//! DeepStream's frames (`memory:NVMM`): a buffer's memory is a description, an `NvBufSurface`, of
//! frames in the GPU's memory. Nothing of DeepStream's is linked or opened: the description is read.

#![allow(unsafe_code)] // a C structure behind a mapping

use aivideo_cuda::{Area, Memory};

const PLANES: usize = 4;

/// `NvBufSurfacePlaneParams`, up to what is read.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct PlaneParams {
    pub num_planes: u32,
    pub width: [u32; PLANES],
    pub height: [u32; PLANES],
    pub pitch: [u32; PLANES],
    pub offset: [u32; PLANES],
    pub psize: [u32; PLANES],
}

/// `NvBufSurfaceParams`, up to what is read. It goes on, so only the first of a list can be read.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Params {
    pub width: u32,
    pub height: u32,
    pub pitch: u32,
    pub color_format: i32,
    pub layout: i32,
    pub buffer_desc: u64,
    pub data_size: u32,
    /// An address of the GPU.
    pub data: usize,
    pub planes: PlaneParams,
}

/// `NvBufSurface`, up to what is read.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Surface {
    pub gpu_id: u32,
    pub batch_size: u32,
    pub num_filled: u32,
    pub is_contiguous: bool,
    pub mem_type: i32,
    pub list: *const Params,
}

/// Rows one after the other (`NVBUF_LAYOUT_PITCH`).
const PITCH: i32 = 0;
/// Memory types that a dGPU's kernels can use: the default, pinned, device, unified.
const USABLE: std::ops::RangeInclusive<i32> = 0..=3;

/// Where the one frame of a mapped buffer lies, and its planes.
///
/// # Safety
/// `data` must be the mapping of a buffer whose caps say `memory:NVMM`, with this many bytes.
pub unsafe fn read(
    data: *const u8,
    bytes: usize,
    info: &gst_video::VideoInfo,
) -> Result<(Memory, Vec<Area>), String> {
    if data.is_null() || bytes < size_of::<Surface>() {
        return Err(format!("{bytes} bytes hold no NvBufSurface"));
    }
    // SAFETY: there are enough bytes, and the structure begins there by what the caps say.
    let surface = unsafe { data.cast::<Surface>().read_unaligned() };
    if surface.num_filled != 1 {
        return Err(format!(
            "it is a batch of {} pictures; put nvstreamdemux, or nvstreammux batch-size=1, before \
             this element",
            surface.num_filled
        ));
    }
    if !USABLE.contains(&surface.mem_type) {
        return Err(format!(
            "its memory is of type {}, which CUDA cannot use by address (Jetson's, or the host's); \
             let nvvideoconvert make nvbuf-memory-type=nvbuf-mem-cuda-device of it",
            surface.mem_type
        ));
    }
    if surface.list.is_null() {
        return Err("it lists no picture".to_string());
    }
    // SAFETY: the list has at least one entry, which is filled.
    let params = unsafe { surface.list.read_unaligned() };
    if params.layout != PITCH {
        return Err(format!(
            "its layout is {}, not rows one after the other; let nvvideoconvert convert it",
            params.layout
        ));
    }
    if (params.width, params.height) != (info.width(), info.height()) {
        return Err(format!(
            "it is {}x{} where the caps say {}x{}",
            params.width,
            params.height,
            info.width(),
            info.height()
        ));
    }
    let planes = params.planes;
    if planes.num_planes != info.n_planes() || params.data == 0 {
        return Err(format!(
            "it has {} planes where the caps say {}",
            planes.num_planes,
            info.n_planes()
        ));
    }
    let memory = Memory {
        address: params.data as u64,
        bytes: params.data_size.into(),
    };
    let areas = planes
        .offset
        .iter()
        .zip(planes.pitch)
        .take(planes.num_planes as usize)
        .map(|(offset, stride)| Area {
            memory: memory.from((*offset).into()),
            stride,
        })
        .collect();
    Ok((memory, areas))
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn fields_lie_where_nvbufsurface_h_has_them() {
        assert_eq!(offset_of!(Surface, mem_type), 16);
        assert_eq!(offset_of!(Surface, list), 24);
        assert_eq!(offset_of!(Params, buffer_desc), 24);
        assert_eq!(offset_of!(Params, data_size), 32);
        assert_eq!(offset_of!(Params, data), 40);
        assert_eq!(offset_of!(Params, planes), 48);
        assert_eq!(offset_of!(PlaneParams, pitch), 36);
        assert_eq!(offset_of!(PlaneParams, offset), 52);
    }
}
