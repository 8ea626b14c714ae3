// SPDX-License-Identifier: Apache-2.0
//! Frames in a GPU's memory, GStreamer's (`memory:CUDAMemory`) and DeepStream's (`memory:NVMM`), for
//! elements that work there.
//!
//! Who owns what:
//! * ONNX Runtime uses a GPU's primary context, so this process's frames should lie there, too. A
//!   [`Card`] retains it, once for each GPU, and offers it to the elements around: it answers their
//!   queries for a context, so that those of nvcodec use it and make none of their own.
//! * Where another context was there before, its frames are copied at the border, on the GPU: into
//!   memory of ours and, when they were changed, back. The driver says whose memory it is.
//!
//! Who waits for whom: an element's work on a frame, from the first kernel over the model's run to the
//! last kernel, goes to the one stream of its engine, in the order of the calls. GStreamer's memory has
//! no way (in 1.22) to pass a stream on, so [`DeviceFrame::finish`] waits before the frame leaves the
//! element: once a frame, and nowhere else. An element that has other things to do meanwhile leaves the
//! wait to another thread ([`DeviceFrame::leave`]).

#![allow(unsafe_code)] // GStreamer's CUDA library is C without a binding

use std::{
    collections::BTreeMap,
    ffi::{CStr, c_uint},
    marker::PhantomData,
    sync::{Arc, LazyLock, Mutex, OnceLock},
};

use aivideo_cuda::{
    Area, Memory,
    device::{Buffer, DeviceError, Gpu, Mark, Owner},
    gstcuda::{GstCuda, GstCudaError, MAP_CUDA, Object},
    picture::{Component, Frame, Picture, Samples},
};
use glib::translate::from_glib_full;
use gst::prelude::*;

#[cfg(feature = "onnx")]
use crate::engine::Engine;
use crate::{element::lock, nvmm};

mod offer;

pub use offer::Offer;

/// Whose frames in a GPU's memory, as a feature of the caps says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `memory:CUDAMemory`.
    Cuda,
    /// `memory:NVMM`.
    Nvmm,
}

impl Place {
    pub const ALL: [Self; 2] = [Self::Cuda, Self::Nvmm];

    pub fn feature(self) -> &'static str {
        match self {
            Self::Cuda => "memory:CUDAMemory",
            Self::Nvmm => "memory:NVMM",
        }
    }

    fn of_features(features: &gst::CapsFeaturesRef) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|place| features.contains(place.feature()))
    }

    /// Where frames of these caps lie; `None` is the host.
    pub fn of(caps: &gst::CapsRef) -> Option<Self> {
        Self::of_features(caps.features(0)?)
    }
}

const CONTEXT_TYPE: &str = "gst.cuda.context";
const POOL_TYPE: &str = "GstCudaBufferPool";

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "aivideocuda",
        gst::DebugColorFlags::empty(),
        Some("Frames of the gst-aivideo elements in a GPU's memory"),
    )
});

/// Why frames in a GPU's memory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CudaError {
    #[error(transparent)]
    Gpu(#[from] DeviceError),
    #[error(transparent)]
    Library(#[from] GstCudaError),
    #[error("GStreamer's CUDA library takes no context of GPU {0}")]
    Context(u32),
    #[error("there is no pool of frames in CUDAMemory for {0}")]
    Pool(String),
    #[error("there is no pool of frames in NVMM for {0}: {1}")]
    NvmmPool(String, String),
    #[error(
        "the caps say memory:CUDAMemory, but the frame's memory is {0}: an element before this one \
         breaks its promise"
    )]
    Memory(String),
    #[error("the frame in NVMM cannot be used: {0}")]
    Nvmm(String),
    #[error("the frame in the GPU's memory cannot be mapped")]
    Map,
    #[error("the planes of the frame do not lie in its memory as its caps say")]
    Layout,
    #[error("the GPU did not do its work on a frame: {0}")]
    Work(String),
}

/// A GPU's primary context as GStreamer has it, for all elements of the process.
pub struct Card {
    library: GstCuda,
    /// `GstCudaContext`.
    context: gst::Object,
    /// Retains the primary context for the life of the process.
    _gpu: Gpu,
}

impl Card {
    /// The context of GPU number `index`, made by the first who asks. A failure is not remembered.
    pub fn of(index: u32) -> Result<&'static Self, CudaError> {
        static CARDS: Mutex<BTreeMap<u32, &'static Card>> = Mutex::new(BTreeMap::new());
        let mut cards = lock(&CARDS);
        if let Some(card) = cards.get(&index) {
            return Ok(card);
        }
        let library = GstCuda::load()?;
        let gpu = Gpu::open(index as usize)?;
        // SAFETY: the context is the GPU's and retained by `_gpu` as long as the object lives.
        let context = unsafe { (library.context_new_wrapped)(gpu.context(), gpu.device()) };
        if context.is_null() {
            return Err(CudaError::Context(index));
        }
        // It lives as long as the process: memory made in it may live as long.
        let card: &'static Self = Box::leak(Box::new(Self {
            library,
            // SAFETY: the function gives a reference to a GstObject, which is ours now.
            context: unsafe { from_glib_full(context.cast::<gst::ffi::GstObject>()) },
            _gpu: gpu,
        }));
        cards.insert(index, card);
        Ok(card)
    }

    fn context(&self) -> Object {
        self.context.as_ptr().cast()
    }

    /// Tells the bins around an element of the context, so that elements that are yet to look for one
    /// find it.
    pub fn publish(&self, element: &impl IsA<gst::Element>) {
        // SAFETY: the function takes the context and gives a new GstContext.
        let context: gst::Context = unsafe {
            from_glib_full(
                (self.library.new_gst_context)(self.context()).cast::<gst::ffi::GstContext>(),
            )
        };
        let element = element.upcast_ref();
        let message = gst::message::HaveContext::builder(context).src(element);
        // An element that is in no bin yet has nobody to tell.
        let _ = element.post_message(message.build());
    }

    /// A pool of frames, configured and not active, and the size of one.
    pub fn pool(&self, caps: &gst::Caps) -> Result<(gst::BufferPool, u32), CudaError> {
        let failed = || CudaError::Pool(caps.to_string());
        let info = gst_video::VideoInfo::from_caps(caps).map_err(|_| failed())?;
        let size = u32::try_from(info.size()).map_err(|_| failed())?;
        // SAFETY: the function takes the context, which it references, and gives a new pool.
        let pool: gst::BufferPool = unsafe {
            let pool = (self.library.buffer_pool_new)(self.context());
            if pool.is_null() {
                return Err(failed());
            }
            from_glib_full(pool.cast::<gst::ffi::GstBufferPool>())
        };
        let mut config = pool.config();
        config.set_params(Some(caps), size, 0, 0);
        config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
        pool.set_config(config).map_err(|_| failed())?;
        // The pool's rows are longer than those of the caps.
        let size = pool.config().params().map_or(size, |(_, size, _, _)| size);
        Ok((pool, size))
    }

    fn is_cuda(&self, memory: &gst::MemoryRef) -> bool {
        // SAFETY: the function only looks at the memory's allocator.
        unsafe { (self.library.is_cuda_memory)(memory.as_ptr().cast_mut().cast()) != 0 }
    }
}

/// Caps of raw video in the host's memory, and the same in these places.
pub fn with_places(caps: &gst::Caps, places: &[Place]) -> gst::Caps {
    let mut all = caps.clone();
    let all_mut = all.make_mut();
    for place in places {
        for structure in caps.iter() {
            let features = gst::CapsFeatures::new([place.feature()]);
            all_mut.append_structure_full(structure.to_owned(), Some(features));
        }
    }
    all
}

/// An element's frames in the memory of the GPU that its engine runs on.
pub struct Frames {
    /// For GStreamer's frames, where its library is.
    card: Option<&'static Card>,
    gpu: Arc<Gpu>,
    index: u32,
    nvmm: bool,
    /// Whether new ones can be had in NVMM.
    nvmm_pools: bool,
    /// A copy of a frame of another context.
    border: Option<Arc<Buffer>>,
}

/// What an element does with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    /// Reads and writes.
    Change,
    /// Writes all of a frame that was taken out of a pool.
    Fill,
}

impl Frames {
    /// For an engine on a GPU; `None` for one on the CPU. `kernels` are those that the element will
    /// start: they are compiled now. Others are told of the GPU's context. What cannot be used although
    /// the model runs on a GPU is in the log, and the element takes the other frames alone.
    #[cfg(feature = "onnx")]
    pub fn of_element(
        element: &impl IsA<gst::Element>,
        engine: &Engine,
        kernels: &[&'static str],
    ) -> Option<Self> {
        Self::of_gpu(element, engine.gpu()?.clone(), engine.gpu_index()?, kernels)
    }

    /// The same for work that goes to this stream of GPU number `index`.
    pub fn of_gpu(
        element: &impl IsA<gst::Element>,
        gpu: Arc<Gpu>,
        index: u32,
        kernels: &[&'static str],
    ) -> Option<Self> {
        if let Err(err) = gpu.prepare(kernels) {
            gst::warning!(
                CAT,
                obj = element,
                "Frames in the GPU's memory are not taken, only those in the host's: {err}"
            );
            return None;
        }
        let card = Card::of(index);
        match &card {
            Ok(card) => card.publish(element),
            Err(err) => {
                gst::warning!(
                    CAT,
                    obj = element,
                    "Frames in CUDAMemory are not taken: {err}"
                );
            }
        }
        Some(Self {
            card: card.ok(),
            gpu,
            index,
            nvmm: true,
            nvmm_pools: false,
            border: None,
        })
    }

    /// The same for an element whose results are other frames than those that come: in NVMM only where
    /// DeepStream's pools are.
    #[must_use]
    pub fn with_results(self) -> Self {
        let library = nvmm::library();
        if let Err(err) = &library {
            gst::info!(CAT, "No new frames in NVMM: {err}");
        }
        Self {
            nvmm: library.is_ok(),
            nvmm_pools: library.is_ok(),
            ..self
        }
    }

    /// The number of the GPU.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The same, to map a second frame at the same time.
    pub fn another(&self) -> Self {
        Self {
            card: self.card,
            gpu: self.gpu.clone(),
            index: self.index,
            nvmm: self.nvmm,
            nvmm_pools: self.nvmm_pools,
            border: None,
        }
    }

    /// The same for another engine on the same GPU.
    #[cfg(feature = "onnx")]
    pub fn for_engine(&self, engine: &Engine) -> Option<Self> {
        Some(Self {
            gpu: engine.gpu()?.clone(),
            ..self.another()
        })
    }

    pub fn card(&self) -> Option<&'static Card> {
        self.card
    }

    /// Whether such frames can be had.
    pub fn takes(&self, place: Place) -> bool {
        match place {
            Place::Cuda => self.card.is_some(),
            Place::Nvmm => self.nvmm,
        }
    }

    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Maps a frame for work on the GPU's stream.
    pub fn map<'a>(
        &mut self,
        buffer: &'a mut gst::BufferRef,
        info: &gst_video::VideoInfo,
        place: Place,
        access: Access,
    ) -> Result<DeviceFrame<'a>, CudaError> {
        match buffer.n_memory() {
            1 => {}
            n => return Err(CudaError::Memory(format!("{n} blocks"))),
        }
        let flags = match place {
            Place::Cuda => self.ready(buffer.peek_memory(0), access)?,
            Place::Nvmm => {
                if access == Access::Fill {
                    nvmm::fill(buffer).map_err(CudaError::Nvmm)?;
                }
                // The description can be copied by whoever maps it for writing; the frame is not.
                let memory = buffer.peek_memory(0);
                // SAFETY: the memory is alive; the function only reads its counts.
                let own = unsafe {
                    gst::ffi::gst_mini_object_is_writable(memory.as_ptr().cast_mut().cast()) != 0
                };
                if access != Access::Read && !own {
                    return Err(CudaError::Nvmm(
                        "others hold it, so it cannot be changed; put nvvideoconvert before this \
                         element"
                            .to_string(),
                    ));
                }
                gst::ffi::GST_MAP_READ
            }
        };
        let mut map = std::mem::MaybeUninit::uninit();
        // SAFETY: the buffer is borrowed as long as the mapping lives.
        let mapped =
            unsafe { gst::ffi::gst_buffer_map(buffer.as_mut_ptr(), map.as_mut_ptr(), flags) };
        if mapped == glib::ffi::GFALSE {
            return Err(CudaError::Map);
        }
        let mut frame = DeviceFrame {
            gpu: self.gpu.clone(),
            memory: Memory {
                address: 0,
                bytes: 0,
            },
            // SAFETY: it was filled, since mapping succeeded.
            map: unsafe { map.assume_init() },
            border: None,
            access,
            planes: Vec::new(),
            waited: false,
            buffer,
            _thread: PhantomData,
        };
        let planes = match place {
            Place::Cuda => {
                frame.memory = Memory {
                    address: frame.map.data as u64,
                    bytes: frame.map.size as u64,
                };
                planes(frame.memory, frame.buffer, info).ok_or(CudaError::Layout)?
            }
            Place::Nvmm => {
                // SAFETY: the caps say NVMM, and the mapping is what was made above.
                let read = unsafe { nvmm::read(frame.map.data, frame.map.size, info) };
                let (memory, planes) = read.map_err(CudaError::Nvmm)?;
                frame.memory = memory;
                planes
            }
        };
        let owner = self.gpu.owner_of(frame.memory)?;
        frame.planes = planes;
        if owner != self.gpu.owner() {
            let border = self.border(frame.memory.bytes)?;
            let copy = Memory {
                bytes: frame.memory.bytes,
                ..border.memory()
            };
            // SAFETY: the frame is mapped, and the copy held, until the stream was waited for.
            unsafe {
                self.gpu
                    .copy((frame.memory, owner), (copy, self.gpu.owner()))
            }?;
            // The planes lie in the copy as they do in the frame.
            for plane in &mut frame.planes {
                let offset = plane.memory.address - frame.memory.address;
                plane.memory = copy.from(offset);
            }
            frame.border = Some((border, owner));
        }
        Ok(frame)
    }

    /// Checks that memory is GStreamer's, waits for what wrote it, and says how to map it: its data is
    /// an address of the GPU then.
    fn ready(&self, memory: &gst::MemoryRef, access: Access) -> Result<c_uint, CudaError> {
        let card = self
            .card
            .filter(|card| card.is_cuda(memory))
            .ok_or_else(|| CudaError::Memory(kind(memory)))?;
        if let Some(sync) = card.library.memory_sync {
            // SAFETY: the memory is the library's, checked above.
            unsafe { sync(memory.as_ptr().cast_mut().cast()) };
        }
        Ok(MAP_CUDA
            | match access {
                Access::Read => gst::ffi::GST_MAP_READ,
                Access::Change | Access::Fill => gst::ffi::GST_MAP_READ | gst::ffi::GST_MAP_WRITE,
            })
    }

    fn border(&mut self, bytes: u64) -> Result<Arc<Buffer>, CudaError> {
        if let Some(border) = &self.border
            && border.memory().bytes >= bytes
        {
            return Ok(border.clone());
        }
        gst::info!(
            CAT,
            "Frames are of another CUDA context and are copied on the GPU, {bytes} bytes each"
        );
        let border = Arc::new(self.gpu.zeros(bytes as usize)?);
        self.border = Some(border.clone());
        Ok(border)
    }
}

/// What an allocator calls its memory.
fn kind(memory: &gst::MemoryRef) -> String {
    let Some(allocator) = memory.allocator() else {
        return "of no allocator".to_string();
    };
    // SAFETY: the name is a static text that ends with NUL, or null.
    unsafe {
        let name = (*allocator.as_ptr()).mem_type;
        match name.is_null() {
            true => "without a name".to_string(),
            false => CStr::from_ptr(name).to_string_lossy().into_owned(),
        }
    }
}

/// Where the planes lie: as the frame's own description says, else as its caps do.
fn planes(base: Memory, buffer: &gst::BufferRef, info: &gst_video::VideoInfo) -> Option<Vec<Area>> {
    let meta = buffer.meta::<gst_video::VideoMeta>();
    let (offsets, strides) = match &meta {
        Some(meta) => (meta.offset(), meta.stride()),
        None => (info.offset(), info.stride()),
    };
    let planes: Vec<Area> = offsets
        .iter()
        .zip(strides)
        .map(|(offset, stride)| {
            Some(Area {
                memory: base.from(*offset as u64),
                stride: u32::try_from(*stride).ok()?,
            })
        })
        .collect::<Option<_>>()?;
    (planes.len() == info.n_planes() as usize).then_some(planes)
}

/// A frame in the GPU's memory, mapped for work on the stream of [`Frames::gpu`].
pub struct DeviceFrame<'a> {
    gpu: Arc<Gpu>,
    map: gst::ffi::GstMapInfo,
    /// Of the frame itself.
    memory: Memory,
    /// The copy that is worked on, and whose memory the frame is.
    border: Option<(Arc<Buffer>, Owner)>,
    access: Access,
    planes: Vec<Area>,
    waited: bool,
    buffer: &'a mut gst::BufferRef,
    /// Mappings belong to the thread that made them.
    _thread: PhantomData<*mut ()>,
}

impl DeviceFrame<'_> {
    /// Where the planes lie, for what is started before this is finished or dropped.
    pub fn planes(&self) -> &[Area] {
        &self.planes
    }

    /// The same with the format that it was mapped with; `None` for one that is not 4:2:0 of eight or ten
    /// bits.
    pub fn picture(&self, info: &gst_video::VideoInfo) -> Option<Frame> {
        use gst_video::VideoFormat as Format;
        let samples = match info.format() {
            Format::I420 | Format::Nv12 => Samples::Eight,
            Format::I42010le => Samples::TenLower,
            Format::P01010le => Samples::TenUpper,
            _ => return None,
        };
        Some(Frame {
            planes: self.planes.clone(),
            samples,
            width: info.width(),
            height: info.height(),
        })
    }

    /// Its components, whatever their order; `None` for a format that is not 4:2:0 of eight or ten bits.
    pub fn yuv(&self, info: &gst_video::VideoInfo) -> Option<Picture> {
        use gst_video::VideoFormat as Format;
        let samples = match info.format() {
            Format::I420 | Format::Yv12 | Format::Nv12 | Format::Nv21 => Samples::Eight,
            Format::I42010le => Samples::TenLower,
            Format::P01010le => Samples::TenUpper,
            _ => return None,
        };
        let format = info.format_info();
        let component = |number: usize| {
            let chroma = u32::from(number > 0);
            Some(Component {
                area: *self.planes.get(format.plane()[number] as usize)?,
                width: (info.width() + chroma) >> chroma,
                height: (info.height() + chroma) >> chroma,
                samples,
                step: u32::try_from(format.pixel_stride()[number]).ok()? / samples.bytes(),
                // Bytes in formats of eight bits, samples in P010.
                first: u32::from(format.poffset()[number] > 0),
            })
        };
        Some(Picture {
            y: component(0)?,
            u: component(1)?,
            v: component(2)?,
        })
    }

    /// Waits until what was started for the frame is done; then others may have it.
    pub fn finish(self) -> Result<(), CudaError> {
        Self::finish_all([self])
    }

    /// Ends the mapping without waiting for what was started for the frame.
    ///
    /// # Safety
    /// The frame's memory must be held, and used by nobody else, until [`Work::wait`] has returned or the work
    /// was dropped.
    pub unsafe fn leave(mut self) -> Result<Work, CudaError> {
        self.give_back()?;
        let mark = self.gpu.mark()?;
        self.waited = true;
        Ok(Work {
            mark,
            outcome: OnceLock::new(),
        })
    }

    /// Starts the copy back to memory of another context.
    fn give_back(&self) -> Result<(), CudaError> {
        if let Some((border, owner)) = &self.border
            && self.access != Access::Read
        {
            let from = Memory {
                bytes: self.memory.bytes,
                ..border.memory()
            };
            // SAFETY: the frame is mapped or held by who promised it, until this was waited for. The copy
            // is freed, when it is, in the order of the stream.
            unsafe {
                self.gpu
                    .copy((from, self.gpu.owner()), (self.memory, *owner))
            }?;
        }
        Ok(())
    }

    /// Waits for several frames of one stream at once.
    pub fn finish_all<const N: usize>(mut frames: [Self; N]) -> Result<(), CudaError> {
        for frame in &frames {
            frame.give_back()?;
        }
        if let Some(frame) = frames.first() {
            frame.gpu.synchronize()?;
        }
        for frame in &mut frames {
            frame.waited = true;
        }
        Ok(())
    }
}

/// What a GPU still has to do for a frame.
pub struct Work {
    mark: Mark,
    outcome: OnceLock<Option<String>>,
}

impl Work {
    /// Waits for it. Of several threads that do, one asks the driver, once.
    pub fn wait(&self) -> Result<(), CudaError> {
        let outcome = self
            .outcome
            .get_or_init(|| self.mark.wait().err().map(|err| err.to_string()));
        match outcome {
            None => Ok(()),
            Some(error) => Err(CudaError::Work(error.clone())),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // Whoever has waited knows.
        if self.outcome.get().is_none()
            && let Err(err) = self.wait()
        {
            gst::error!(CAT, "Waiting for the GPU: {err}");
        }
    }
}

impl Drop for DeviceFrame<'_> {
    fn drop(&mut self) {
        // After an error the GPU may still work on it.
        if !self.waited
            && let Err(err) = self.gpu.synchronize()
        {
            gst::error!(CAT, "Waiting for the GPU: {err}");
        }
        // SAFETY: it was mapped with this information, and only once.
        unsafe { gst::ffi::gst_buffer_unmap(self.buffer.as_mut_ptr(), &mut self.map) };
    }
}
