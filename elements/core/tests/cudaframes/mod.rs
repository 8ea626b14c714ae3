// SPDX-License-Identifier: Apache-2.0
//! Frames in CUDAMemory for tests with the stand-ins of `elements/cuda/fake`. Included by path.

#![allow(dead_code)] // each test uses its part

use std::sync::{Arc, Mutex};

use aivideo_core::{
    cuda::{Card, Place},
    nvmm::{Params, PlaneParams, Surface},
};
use aivideo_cuda::device::{Buffer, Gpu};
use gst::prelude::*;
use gst_video::prelude::*;

/// What elements call a context when they ask for one.
pub const CONTEXT: &str = "gst.cuda.context";

/// Whether GStreamer's CUDA library is installed; says SKIP where it is not.
pub fn library_is_here() -> bool {
    // SAFETY: the library's initialisers only register types.
    match unsafe { libloading::Library::new("libgstcuda-1.0.so.0") } {
        Ok(_) => true,
        Err(err) => {
            aivideo_skip::skip!("{err} (Debian package libgstreamer-plugins-bad1.0-0)");
            false
        }
    }
}

/// Whether GStreamer's cudaupload and cudadownload are there; says SKIP where they are not.
pub fn elements_are_here() -> bool {
    let here = gst::ElementFactory::find("cudaupload").is_some();
    if !here {
        aivideo_skip::skip!("GStreamer's plugin nvcodec is not installed");
    }
    here
}

/// Caps in the host's memory, and in the GPU's.
pub fn caps(format: &str, width: i32, height: i32) -> (gst::Caps, gst::Caps) {
    gst::init().expect("GStreamer");
    let host = gst_video::VideoCapsBuilder::new()
        .format(gst_video::VideoFormat::from_string(format))
        .width(width)
        .height(height)
        .framerate(gst::Fraction::new(25, 1))
        .build();
    let device = gst_video::VideoCapsBuilder::new()
        .features([Place::Cuda.feature()])
        .format(gst_video::VideoFormat::from_string(format))
        .width(width)
        .height(height)
        .framerate(gst::Fraction::new(25, 1))
        .build();
    (host, device)
}

/// Bytes that look random, the same for each number.
pub fn noise(number: u64) -> impl FnMut() -> u8 {
    let mut state = 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(number + 1);
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as u8
    }
}

/// The visible bytes of each plane's rows, read or written through the host's mapping.
pub fn rows(
    frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    mut row: impl FnMut(&mut [u8]),
) {
    let info = frame.info().clone();
    for plane in 0..frame.n_planes() {
        let finfo = info.format_info();
        let (mut bytes, mut height) = (0, 0);
        for component in 0..finfo.n_components() as usize {
            if finfo.plane()[component] == plane {
                let width = (info.width() + (1 << finfo.w_sub()[component]) - 1)
                    >> finfo.w_sub()[component];
                height = (info.height() + (1 << finfo.h_sub()[component]) - 1)
                    >> finfo.h_sub()[component];
                bytes = width as usize * finfo.pixel_stride()[component] as usize;
            }
        }
        let stride = frame.plane_stride()[plane as usize] as usize;
        let data = frame.plane_data_mut(plane).unwrap();
        for line in data.chunks_mut(stride).take(height as usize) {
            row(&mut line[..bytes]);
        }
    }
}

pub fn fill(buffer: &mut gst::BufferRef, caps: &gst::Caps, number: u64) {
    let info = gst_video::VideoInfo::from_caps(caps).unwrap();
    let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, &info).unwrap();
    let mut next = noise(number);
    rows(&mut frame, |row| {
        row.iter_mut().for_each(|byte| *byte = next())
    });
}

pub fn content(buffer: gst::Buffer, caps: &gst::Caps) -> Vec<u8> {
    let info = gst_video::VideoInfo::from_caps(caps).unwrap();
    let mut buffer = buffer;
    let mut all = Vec::new();
    let buffer = buffer.make_mut();
    let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, &info).unwrap();
    rows(&mut frame, |row| all.extend_from_slice(row));
    all
}

/// Brings what the host wrote onto the GPU, as the elements before would have.
pub fn settle(buffer: &mut gst::BufferRef) {
    let mut map = std::mem::MaybeUninit::uninit();
    // SAFETY: mapped and unmapped at once; the address is not used.
    unsafe {
        let flags = gst::ffi::GST_MAP_READ | aivideo_cuda::gstcuda::MAP_CUDA;
        assert_ne!(
            gst::ffi::gst_buffer_map(buffer.as_mut_ptr(), map.as_mut_ptr(), flags),
            0
        );
        gst::ffi::gst_buffer_unmap(buffer.as_mut_ptr(), map.as_mut_ptr());
    }
}

/// A frame of the pool with the noise of a number.
pub fn from_pool(pool: &gst::BufferPool, caps: &gst::Caps, number: u64) -> gst::Buffer {
    let mut buffer = pool.acquire_buffer(None).unwrap();
    let writable = buffer.get_mut().unwrap();
    fill(writable, caps, number);
    settle(writable);
    buffer
}

pub fn own_pool(caps: &gst::Caps) -> gst::BufferPool {
    let (pool, _) = Card::of(0).unwrap().pool(caps).unwrap();
    pool.set_active(true).unwrap();
    pool
}

/// With a jump before it, or none.
pub fn flagged(mut buffer: gst::Buffer, jump: bool) -> gst::Buffer {
    if jump {
        buffer.make_mut().set_flags(gst::BufferFlags::DISCONT);
    }
    buffer
}

/// A pool of frames in a context of its own, as nvcodec's elements make it when nobody offers one.
pub fn foreign_pool(caps: &gst::Caps) -> gst::BufferPool {
    type New = unsafe extern "C" fn(u32) -> *mut std::ffi::c_void;
    type Pool = unsafe extern "C" fn(*mut std::ffi::c_void) -> *mut gst::ffi::GstBufferPool;
    Card::of(0).unwrap();
    // SAFETY: libgstcuda's functions with their signatures; the pool holds the context.
    let pool: gst::BufferPool = unsafe {
        let library = libloading::Library::new("libgstcuda-1.0.so.0").unwrap();
        let new = library.get::<New>(b"gst_cuda_context_new\0").unwrap();
        let pool = library.get::<Pool>(b"gst_cuda_buffer_pool_new\0").unwrap();
        let context = new(0);
        assert!(!context.is_null());
        let pool = glib::translate::from_glib_full(pool(context));
        std::mem::forget(library);
        pool
    };
    let info = gst_video::VideoInfo::from_caps(caps).unwrap();
    let mut config = pool.config();
    config.set_params(Some(caps), info.size() as u32, 0, 0);
    pool.set_config(config).unwrap();
    pool.set_active(true).unwrap();
    pool
}

/// What the caps of an element's input say of memory.
pub fn places(element: &gst::Element) -> Vec<Option<Place>> {
    let caps = element.static_pad("sink").unwrap().query_caps(None);
    (0..caps.size())
        .map(|i| {
            let structure = caps.structure(i).unwrap().to_owned();
            let features = caps.features(i).unwrap().to_owned();
            let one = gst::Caps::builder_full()
                .structure_with_features(structure, features)
                .build();
            Place::of(&one)
        })
        .collect()
}

/// Pictures of a pipeline, which must end by itself.
pub fn pictures(description: &str) -> Vec<Vec<u8>> {
    let pipeline = gst::parse::launch(&format!(
        "{description} ! video/x-raw ! fakesink name=sink sync=false signal-handoffs=true"
    ))
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let got: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let sink = pipeline.by_name("sink").unwrap();
    sink.connect("handoff", false, {
        let got = got.clone();
        move |values| {
            let pad = values[2].get::<gst::Pad>().unwrap();
            let caps = pad.current_caps().unwrap();
            let buffer = values[1].get::<gst::Buffer>().unwrap();
            got.lock().unwrap().push(content(buffer, &caps));
            None
        }
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let end = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &end);
    pipeline.set_state(gst::State::Null).unwrap();
    match message.as_deref().map(gst::MessageRef::view) {
        Some(gst::MessageView::Eos(_)) => {}
        other => panic!("{description}: {other:?}"),
    }
    std::mem::take(&mut *got.lock().unwrap())
}

/// A frame of DeepStream's with the noise of a number, as its decoder makes it. It is part of the GPU's
/// memory as long as the value lives.
pub struct Nvmm {
    pub surface: Surface,
    pub params: Box<Params>,
    pub info: gst_video::VideoInfo,
    gpu: Gpu,
    memory: Buffer,
}

impl Nvmm {
    pub fn new(caps: &gst::Caps, number: u64) -> Self {
        let info = gst_video::VideoInfo::from_caps(caps).unwrap();
        let gpu = Gpu::open(0).unwrap();
        // Its rows are longer than those of the caps, and its planes lie apart.
        let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
        fill(buffer.get_mut().unwrap(), caps, number);
        let packed = buffer.map_readable().unwrap();
        let mut planes = PlaneParams {
            num_planes: info.n_planes(),
            ..PlaneParams::default()
        };
        let mut bytes = Vec::new();
        for plane in 0..info.n_planes() as usize {
            let stride = info.stride()[plane] as usize;
            let end = info.offset().get(plane + 1).copied().unwrap_or(info.size());
            planes.offset[plane] = bytes.len() as u32;
            planes.pitch[plane] = stride as u32 + 32;
            for row in packed[info.offset()[plane]..end].chunks(stride) {
                bytes.extend_from_slice(row);
                bytes.resize(bytes.len() + stride + 32 - row.len(), 0xee);
            }
            bytes.resize(bytes.len() + 256, 0xee);
        }
        drop(packed);
        let memory = gpu.upload(&bytes).unwrap();
        gpu.synchronize().unwrap();
        let params = Box::new(Params {
            width: info.width(),
            height: info.height(),
            data_size: bytes.len() as u32,
            data: memory.memory().address as usize,
            planes,
            ..Params::default()
        });
        let surface = Surface {
            gpu_id: 0,
            batch_size: 1,
            num_filled: 1,
            is_contiguous: true,
            mem_type: 2,
            list: &raw const *params,
        };
        Self {
            surface,
            params,
            info,
            gpu,
            memory,
        }
    }

    pub fn buffer(&self) -> gst::Buffer {
        // SAFETY: the structure is plain numbers; what lies between them is not read.
        let bytes = unsafe {
            std::slice::from_raw_parts((&raw const self.surface).cast::<u8>(), size_of::<Surface>())
        };
        gst::Buffer::from_mut_slice(bytes.to_vec())
    }

    /// The visible bytes, as [`content`] gives them.
    pub fn content(&self) -> Vec<u8> {
        let bytes = self.gpu.download(&self.memory).unwrap();
        let mut buffer = gst::Buffer::with_size(self.info.size()).unwrap();
        {
            let mut packed = buffer.get_mut().unwrap().map_writable().unwrap();
            for plane in 0..self.info.n_planes() as usize {
                let stride = self.info.stride()[plane] as usize;
                let (from, pitch) = (
                    self.params.planes.offset[plane] as usize,
                    self.params.planes.pitch[plane] as usize,
                );
                let end = self.info.offset().get(plane + 1).copied();
                let end = end.unwrap_or(self.info.size());
                for (y, row) in packed[self.info.offset()[plane]..end]
                    .chunks_mut(stride)
                    .enumerate()
                {
                    let at = from + y * pitch;
                    row.copy_from_slice(&bytes[at..at + row.len()]);
                }
            }
        }
        content(buffer, &self.info.to_caps().unwrap())
    }
}

/// What a buffer in NVMM holds, as [`content`] gives it.
pub fn nvmm_content(buffer: &gst::Buffer, caps: &gst::Caps) -> Vec<u8> {
    let info = gst_video::VideoInfo::from_caps(caps).unwrap();
    let gpu = Gpu::open(0).unwrap();
    let map = buffer.map_readable().unwrap();
    // SAFETY: the caps say NVMM, and this is the buffer's mapping.
    let read = unsafe { aivideo_core::nvmm::read(map.as_ptr(), map.len(), &info) };
    let (memory, planes) = read.unwrap();
    let copy = gpu.zeros(memory.bytes as usize).unwrap();
    let owner = gpu.owner_of(memory).unwrap();
    // SAFETY: the frame is held until the copy was waited for, by bringing it here.
    unsafe { gpu.copy((memory, owner), (copy.memory(), gpu.owner())) }.unwrap();
    let bytes = gpu.download(&copy).unwrap();
    let mut packed = gst::Buffer::with_size(info.size()).unwrap();
    {
        let mut frame =
            gst_video::VideoFrameRef::from_buffer_ref_writable(packed.get_mut().unwrap(), &info)
                .unwrap();
        for (plane, area) in planes.iter().enumerate() {
            let stride = frame.plane_stride()[plane] as usize;
            let from = (area.memory.address - memory.address) as usize;
            let rows = frame.plane_data_mut(plane as u32).unwrap();
            for (y, row) in rows.chunks_mut(stride).enumerate() {
                let at = from + y * area.stride as usize;
                let end = (at + row.len()).min(bytes.len());
                row[..end - at].copy_from_slice(&bytes[at..end]);
            }
        }
    }
    content(packed, &info.to_caps().unwrap())
}

/// True in a process of its own that has the stand-ins but this one; elsewhere it runs this test there, with this much of
/// GStreamer's log, which must then say all of `said`.
pub fn is_without(stand_in: &str, test: &str, log: &str, said: &[&str]) -> bool {
    const WITHOUT: &str = "AIVIDEO_TEST_WITHOUT";
    if std::env::var_os(WITHOUT).is_some() {
        return true;
    }
    let search = std::env::var("LD_LIBRARY_PATH").unwrap();
    let stand_ins = std::path::Path::new(search.split(':').next().unwrap());
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(stand_ins).unwrap() {
        let (name, path) = file.map(|file| (file.file_name(), file.path())).unwrap();
        if name != stand_in {
            std::os::unix::fs::symlink(path, folder.path().join(name)).unwrap();
        }
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", test])
        .env("LD_LIBRARY_PATH", folder.path())
        .env("AIVIDEO_NVRTC", folder.path().join("libnvrtc.so.13"))
        .env("GST_DEBUG", log)
        .env(WITHOUT, stand_in)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    for part in said {
        assert!(errors.contains(part), "no \"{part}\" in {errors}");
    }
    false
}

/// Caps in NVMM.
pub fn nvmm_caps(host: &gst::Caps) -> gst::Caps {
    let mut caps = host.clone();
    let features = gst::CapsFeatures::new([Place::Nvmm.feature()]);
    caps.make_mut().set_features(0, Some(features));
    caps
}
