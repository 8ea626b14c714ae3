// SPDX-License-Identifier: Apache-2.0
//! DeepStream's frames (`memory:NVMM`): a buffer's memory is a description, an `NvBufSurface`, of
//! frames in the GPU's memory. Nothing of DeepStream's is linked: the description is read, and pools of new
//! frames are those of a library of DeepStream's that is opened at run time.

#![allow(unsafe_code)] // a C structure behind a mapping, and a C library

use std::path::Path;

use aivideo_cuda::{
    Area, Memory,
    nvds::{self, Nvds, NvdsError},
};
use glib::translate::from_glib_full;
use gst::prelude::*;

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

/// Bytes of an `NvBufSurface`, which is what a buffer in NVMM holds.
const BYTES: u32 = 64;
/// Of the GPU (`NVBUF_MEM_CUDA_DEVICE`).
const DEVICE: u32 = 2;
/// Rows one after the other (`NVBUF_LAYOUT_PITCH`).
const PITCH: i32 = 0;
/// Memory types that a dGPU's kernels can use: the default, pinned, device, unified.
const USABLE: std::ops::RangeInclusive<i32> = 0..=3;

/// Whether new frames can be had: the library, or why it is not here. A failure is not remembered.
pub fn library() -> Result<Nvds, NvdsError> {
    Nvds::open(Path::new(nvds::NAME))
}

/// A pool of new frames on GPU number `index`, configured and not active, and the size of a buffer. Nobody has filled
/// what comes out of it: see [`fill`].
pub fn pool(caps: &gst::Caps, index: u32) -> Result<(gst::BufferPool, u32), String> {
    let library = library().map_err(|err| err.to_string())?;
    // SAFETY: the function has no arguments and gives a reference to a new pool, which is ours.
    let pool: gst::BufferPool = unsafe {
        let pool = (library.buffer_pool_new)();
        if pool.is_null() {
            return Err("DeepStream gives no pool".to_string());
        }
        from_glib_full(pool.cast::<gst::ffi::GstBufferPool>())
    };
    let mut config = pool.config();
    config.set_params(Some(caps), BYTES, 0, 0);
    config.set("memtype", DEVICE);
    config.set("gpu-id", index);
    config.set("batch-size", 1u32);
    pool.set_config(config)
        .map_err(|_| "DeepStream's pool refuses them".to_string())?;
    Ok((pool, BYTES))
}

/// Says in the description of a new frame that it holds a picture, as whoever fills it must.
pub fn fill(buffer: &mut gst::BufferRef) -> Result<(), String> {
    let mut map = buffer
        .map_writable()
        .map_err(|_| "its description cannot be written".to_string())?;
    let field = std::mem::offset_of!(Surface, num_filled);
    match map.get_mut(field..field + 4) {
        Some(bytes) => bytes.copy_from_slice(&1u32.to_ne_bytes()),
        None => return Err(format!("{} bytes hold no NvBufSurface", map.len())),
    }
    Ok(())
}

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
