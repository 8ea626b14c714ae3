// SPDX-License-Identifier: Apache-2.0
//! A GPU: memory, copies and launches, through `cudarc` with the driver's library opened at run time.

#![allow(unsafe_code)] // a kernel's start and its memory are beyond the compiler's checks

use std::{
    collections::HashMap,
    ffi::c_void,
    sync::{Arc, LazyLock, Mutex, OnceLock},
};

use cudarc::driver::{
    CudaContext, CudaEvent, CudaFunction, CudaModule, CudaSlice, CudaStream, DevicePtr,
    DriverError, result, sys,
};
use cudarc::nvrtc::Ptx;

use crate::{
    compile::{CompileError, Nvrtc, Target},
    launch::{BLOCK, Launch, Memory},
    source::{self, Source},
};

/// Why a GPU does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("there is no NVIDIA driver: libcuda.so.1 cannot be opened ({0})")]
    NoDriver(String),
    #[error("the CUDA driver says: {0}")]
    Driver(String),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("there is no kernel {0}")]
    NoKernel(&'static str),
    #[error("{from} bytes do not fit into {to} bytes")]
    Short { from: u64, to: u64 },
}

impl From<DriverError> for DeviceError {
    fn from(err: DriverError) -> Self {
        Self::Driver(err.to_string())
    }
}

/// Memory of the GPU; freed when dropped.
pub struct Buffer {
    slice: CudaSlice<u8>,
    memory: Memory,
}

impl Buffer {
    /// Where it is, for launchers. It must not be used once this is dropped.
    pub fn memory(&self) -> Memory {
        self.memory
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // The slice is freed in the context that is current, which on another element's thread is none or another's.
        // Where it cannot be made current, freeing fails in the same way, and cudarc keeps that for its next call.
        let _ = self.slice.context().bind_to_thread();
    }
}

/// A context of the driver: what memory belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(usize);

/// A place in what was started on a GPU's stream, which any thread can wait for.
pub struct Mark(CudaEvent);

impl Mark {
    /// Waits for what was started before it.
    pub fn wait(&self) -> Result<(), DeviceError> {
        Ok(self.0.synchronize()?)
    }
}

/// A GPU's primary context (ONNX Runtime's, too), one stream, and the kernels, each compiled when the process
/// first uses it.
///
/// All that is started goes to the one stream, from whatever thread, and happens in the order of the
/// calls; nothing here waits unless it says so.
pub struct Gpu {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    /// Looked for when the first kernel is needed: models run without it.
    nvrtc: OnceLock<Nvrtc>,
    /// Compute capability: 9.0 is 90.
    compute: u32,
    modules: Mutex<HashMap<&'static str, Arc<CudaModule>>>,
}

/// Opens the driver's library for the life of the process: cudarc panics where it is missing.
fn open_driver() -> Result<(), DeviceError> {
    // SAFETY: opening the driver runs its initialisers, which it is made for.
    let driver = unsafe { libloading::Library::new("libcuda.so.1") }.map_err(|err| {
        let reason =
            std::error::Error::source(&err).map_or_else(|| err.to_string(), |e| e.to_string());
        DeviceError::NoDriver(reason)
    })?;
    // The driver starts threads and must not be unloaded under them.
    std::mem::forget(driver);
    Ok(())
}

/// Number of GPUs that the driver offers to this process. Nothing is set up on them.
pub fn count() -> Result<u32, DeviceError> {
    open_driver()?;
    result::init()?;
    Ok(u32::try_from(result::device::get_count()?).unwrap_or(0))
}

impl Gpu {
    /// Opens GPU number `index`.
    pub fn open(index: usize) -> Result<Self, DeviceError> {
        open_driver()?;
        let context = CudaContext::new(index)?;
        // SAFETY: events order the streams of one context among each other; all memory of this one is
        // used on its single stream.
        unsafe { context.disable_event_tracking() };
        let (major, minor) = context.compute_capability()?;
        let stream = context.new_stream()?;
        Ok(Self {
            compute: u32::try_from(10 * major + minor).unwrap_or(0),
            nvrtc: OnceLock::new(),
            context,
            stream,
            modules: Mutex::default(),
        })
    }

    pub fn name(&self) -> Result<String, DeviceError> {
        Ok(self.context.name()?)
    }

    /// Bytes that are free, and all.
    pub fn memory_info(&self) -> Result<(usize, usize), DeviceError> {
        Ok(self.context.mem_get_info()?)
    }

    fn wrap(&self, slice: CudaSlice<u8>) -> Buffer {
        let bytes = slice.len() as u64;
        let (address, _) = slice.device_ptr(&self.stream);
        Buffer {
            memory: Memory { address, bytes },
            slice,
        }
    }

    pub fn zeros(&self, bytes: usize) -> Result<Buffer, DeviceError> {
        let slice = self.stream.alloc_zeros::<u8>(bytes)?;
        Ok(self.wrap(slice))
    }

    pub fn upload(&self, bytes: &[u8]) -> Result<Buffer, DeviceError> {
        let slice = self.stream.clone_htod(bytes)?;
        Ok(self.wrap(slice))
    }

    /// The primary context as other libraries take it (`CUcontext`). It stays this one's.
    pub fn context(&self) -> *mut c_void {
        self.context.cu_ctx().cast()
    }

    /// The driver's number of this GPU (`CUdevice`).
    pub fn device(&self) -> i32 {
        self.context.cu_device()
    }

    /// The stream as other libraries take it (`CUstream`). It stays this one's.
    pub fn stream(&self) -> *mut c_void {
        self.stream.cu_stream().cast()
    }

    /// Who memory of this GPU's own belongs to.
    pub fn owner(&self) -> Owner {
        Owner(self.context.cu_ctx() as usize)
    }

    /// Who memory belongs to, after the driver. Memory that the driver ties to no context can be used
    /// in each, so it counts as this GPU's own.
    pub fn owner_of(&self, memory: Memory) -> Result<Owner, DeviceError> {
        self.context.bind_to_thread()?;
        let mut context: sys::CUcontext = std::ptr::null_mut();
        // SAFETY: the attribute is one pointer, which may be written; an address that is not the
        // driver's is an error code.
        unsafe {
            sys::cuPointerGetAttribute(
                (&raw mut context).cast(),
                sys::CUpointer_attribute::CU_POINTER_ATTRIBUTE_CONTEXT,
                memory.address,
            )
        }
        .result()?;
        Ok(match context.is_null() {
            true => self.owner(),
            false => Owner(context as usize),
        })
    }

    /// Copies all of `from` to the beginning of `to`, of any owners and even of two GPUs.
    ///
    /// # Safety
    /// Both must be memory of their owners and live until the copy has ended.
    pub unsafe fn copy(
        &self,
        from: (Memory, Owner),
        to: (Memory, Owner),
    ) -> Result<(), DeviceError> {
        let ((from, from_owner), (to, to_owner)) = (from, to);
        if from.bytes > to.bytes {
            return Err(DeviceError::Short {
                from: from.bytes,
                to: to.bytes,
            });
        }
        self.context.bind_to_thread()?;
        let (bytes, stream) = (from.bytes as usize, self.stream.cu_stream());
        // SAFETY: both are large enough, checked above; that they live is the caller's promise.
        unsafe {
            if from_owner == to_owner && from_owner == self.owner() {
                result::memcpy_dtod_async(to.address, from.address, bytes, stream)?;
            } else {
                result::memcpy_peer_async(
                    to_owner.0 as sys::CUcontext,
                    to.address,
                    from_owner.0 as sys::CUcontext,
                    from.address,
                    bytes,
                    stream,
                )?;
            }
        }
        Ok(())
    }

    /// Copies bytes of the host to the beginning of a buffer. They may be changed afterwards: the
    /// driver has taken them, whenever the copy happens.
    pub fn write(&self, bytes: &[u8], to: &Buffer) -> Result<(), DeviceError> {
        let (from, room) = (bytes.len() as u64, to.memory.bytes);
        if from > room {
            return Err(DeviceError::Short { from, to: room });
        }
        self.context.bind_to_thread()?;
        // SAFETY: the buffer is large enough and, being borrowed, alive; when it is dropped, it is
        // freed after what its stream was told before. Host memory that is not page-locked is copied
        // aside before the call returns.
        unsafe {
            result::memcpy_htod_async(to.memory.address, bytes, self.stream.cu_stream())?;
        }
        Ok(())
    }

    /// Fills memory with a number of 16 bits.
    ///
    /// # Safety
    /// It must be this GPU's and live until this has been done.
    pub unsafe fn fill(&self, number: u16, to: Memory) -> Result<(), DeviceError> {
        self.context.bind_to_thread()?;
        // SAFETY: as many numbers as there is room for; the rest is the caller's promise.
        unsafe {
            sys::cuMemsetD16Async(
                to.address,
                number,
                (to.bytes / 2) as usize,
                self.stream.cu_stream(),
            )
        }
        .result()?;
        Ok(())
    }

    /// What is started here from now on happens after what was started on `other` until now: another
    /// stream of the same GPU.
    pub fn follow(&self, other: &Self) -> Result<(), DeviceError> {
        Ok(self.stream.join(&other.stream)?)
    }

    /// Waits for all that was started, and copies.
    pub fn download(&self, buffer: &Buffer) -> Result<Vec<u8>, DeviceError> {
        Ok(self.stream.clone_dtoh(&buffer.slice)?)
    }

    /// The same with the first `bytes` alone.
    pub fn download_some(&self, buffer: &Buffer, bytes: u64) -> Result<Vec<u8>, DeviceError> {
        let room = buffer.memory.bytes;
        if bytes > room {
            return Err(DeviceError::Short {
                from: bytes,
                to: room,
            });
        }
        Ok(self
            .stream
            .clone_dtoh(&buffer.slice.slice(..bytes as usize))?)
    }

    /// Waits for all that was started.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        Ok(self.stream.synchronize()?)
    }

    /// Marks what was started until now, to wait for that alone.
    pub fn mark(&self) -> Result<Mark, DeviceError> {
        // Whoever waits sleeps: others need the processor.
        let flags = sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC;
        Ok(Mark(self.stream.record_event(Some(flags))?))
    }

    fn nvrtc(&self) -> Result<&Nvrtc, DeviceError> {
        if let Some(nvrtc) = self.nvrtc.get() {
            return Ok(nvrtc);
        }
        let nvrtc = Nvrtc::find()?;
        Ok(self.nvrtc.get_or_init(|| nvrtc))
    }

    /// Compiles the kernels of these entries now, so that the first picture does not wait for it, and a
    /// compiler that is missing is known before.
    pub fn prepare(&self, entries: &[&'static str]) -> Result<(), DeviceError> {
        for entry in entries {
            self.function(entry)?;
        }
        Ok(())
    }

    /// A file's machine code, compiled by the first in the process who wants it for such a GPU.
    fn code(&self, file: &'static Source) -> Result<Vec<u8>, DeviceError> {
        type Codes = HashMap<(&'static str, u32), Vec<u8>>;
        static CODES: LazyLock<Mutex<Codes>> = LazyLock::new(Mutex::default);
        let mut codes = CODES.lock().unwrap_or_else(|e| e.into_inner());
        let key = (file.name, self.compute);
        if let Some(code) = codes.get(&key) {
            return Ok(code.clone());
        }
        let code = self.nvrtc()?.compile(file, Target::Cubin(self.compute))?;
        codes.insert(key, code.clone());
        Ok(code)
    }

    fn function(&self, entry: &'static str) -> Result<CudaFunction, DeviceError> {
        let file = source::of(entry).ok_or(DeviceError::NoKernel(entry))?;
        let mut modules = self.modules.lock().unwrap_or_else(|e| e.into_inner());
        let module = match modules.get(file.name) {
            Some(module) => module.clone(),
            None => {
                let code = self.code(file)?;
                let module = self.context.load_module(Ptx::from_binary(code))?;
                modules.insert(file.name, module.clone());
                module
            }
        };
        Ok(module.load_function(entry)?)
    }

    /// Starts a kernel on this GPU's stream and does not wait for it.
    ///
    /// # Safety
    /// The memory that the launcher was given must be this GPU's and live until the kernel has ended.
    pub unsafe fn start(&self, launch: &Launch) -> Result<(), DeviceError> {
        let function = self.function(launch.entry)?;
        self.context.bind_to_thread()?;
        let [x, y] = launch.blocks();
        // The structure must lie on multiples of eight bytes.
        let words: Vec<u64> = launch
            .args
            .chunks_exact(8)
            .map(|b| u64::from_ne_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
            .collect();
        let mut params = [words.as_ptr().cast_mut().cast::<c_void>()];
        // SAFETY: the one parameter is the structure of the kernel's size (tests/nvrtc.rs compares);
        // the driver copies it. Its addresses are the caller's promise.
        unsafe {
            result::launch_kernel(
                function.cu_function(),
                (x, y, 1),
                (BLOCK[0], BLOCK[1], 1),
                0,
                self.stream.cu_stream(),
                &mut params,
            )
        }?;
        Ok(())
    }
}
