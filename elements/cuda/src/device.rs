// SPDX-License-Identifier: Apache-2.0
//! A GPU: memory, copies and launches, through `cudarc` with the driver's library opened at run time.

#![allow(unsafe_code)] // a kernel's start and its memory are beyond the compiler's checks

use std::{
    collections::HashMap,
    ffi::c_void,
    sync::{Arc, Mutex},
};

use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DevicePtr, DriverError, result,
};
use cudarc::nvrtc::Ptx;

use crate::{
    compile::{CompileError, Nvrtc, Target},
    launch::{BLOCK, Launch, Memory},
    source,
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

/// A GPU's primary context (ONNX Runtime's, too), one stream, and the kernels, each compiled when it is
/// first used.
pub struct Gpu {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    nvrtc: Nvrtc,
    /// Compute capability: 9.0 is 90.
    compute: u32,
    modules: Mutex<HashMap<&'static str, Arc<CudaModule>>>,
}

impl Gpu {
    /// Opens GPU number `index`.
    pub fn open(index: usize) -> Result<Self, DeviceError> {
        // cudarc panics where the driver's library is missing.
        // SAFETY: opening the driver runs its initialisers, which it is made for.
        let driver = unsafe { libloading::Library::new("libcuda.so.1") }.map_err(|err| {
            let reason =
                std::error::Error::source(&err).map_or_else(|| err.to_string(), |e| e.to_string());
            DeviceError::NoDriver(reason)
        })?;
        // The driver starts threads and must not be unloaded under them.
        std::mem::forget(driver);
        let context = CudaContext::new(index)?;
        let (major, minor) = context.compute_capability()?;
        let stream = context.new_stream()?;
        Ok(Self {
            compute: u32::try_from(10 * major + minor).unwrap_or(0),
            nvrtc: Nvrtc::find()?,
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

    /// Waits for all that was started, and copies.
    pub fn download(&self, buffer: &Buffer) -> Result<Vec<u8>, DeviceError> {
        Ok(self.stream.clone_dtoh(&buffer.slice)?)
    }

    /// Waits for all that was started.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        Ok(self.stream.synchronize()?)
    }

    fn function(&self, entry: &'static str) -> Result<CudaFunction, DeviceError> {
        let file = source::of(entry).ok_or(DeviceError::NoKernel(entry))?;
        let mut modules = self.modules.lock().unwrap_or_else(|e| e.into_inner());
        let module = match modules.get(file.name) {
            Some(module) => module.clone(),
            None => {
                let code = self.nvrtc.compile(file, Target::Cubin(self.compute))?;
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
