// SPDX-License-Identifier: Apache-2.0
//! GStreamer's CUDA library (`libgstcuda`, of gst-plugins-bad), opened at run time: so a plugin that can
//! use its memory loads where it is missing, and says why it does not use it.
//!
//! Only the functions that are the same from GStreamer 1.22 on are looked up; the allocator's changed
//! its arguments, a pool's did not.

#![allow(unsafe_code)] // a C library

use std::{
    ffi::{c_int, c_uint, c_void},
    path::{Path, PathBuf},
};

use libloading::Library;

const NAME: &str = "libgstcuda-1.0.so.0";

/// Added to the flags of `gst_buffer_map`, it gives the device's address instead of a copy on the host
/// (`GST_MAP_FLAG_LAST << 1`).
pub const MAP_CUDA: c_uint = 1 << 17;

/// Why memory of GStreamer's on the GPU cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GstCudaError {
    #[error(
        "GStreamer's CUDA library {} cannot be opened ({reason}); the Debian package \
         libgstreamer-plugins-bad1.0-0 has it",
        path.display()
    )]
    NotFound { path: PathBuf, reason: String },
    #[error("{} has no function {function}: it is older than GStreamer 1.22, or another library", path.display())]
    Unusable {
        path: PathBuf,
        function: &'static str,
    },
    #[error("GStreamer's CUDA library finds no CUDA driver")]
    NoDriver,
}

/// `GstCudaContext *`, `GstBufferPool *` and so on: GStreamer's objects, opaque here.
pub type Object = *mut c_void;

/// The library's functions. Objects are GStreamer's, with its rules of ownership.
#[derive(Debug)]
pub struct GstCuda {
    /// Context of an existing `CUcontext` and device number.
    pub context_new_wrapped: unsafe extern "C" fn(Object, c_int) -> Object,
    /// The `CUcontext` of a context.
    pub context_get_handle: unsafe extern "C" fn(Object) -> Object,
    /// The `GstContext` by which elements tell each other of a context.
    pub new_gst_context: unsafe extern "C" fn(Object) -> Object,
    /// For a query of contexts: element, query, context.
    pub handle_context_query: unsafe extern "C" fn(Object, Object, Object) -> c_int,
    pub buffer_pool_new: unsafe extern "C" fn(Object) -> Object,
    /// Whether a `GstMemory` is one of the library's.
    pub is_cuda_memory: unsafe extern "C" fn(Object) -> c_int,
    /// Waits until what wrote a `GstCudaMemory` has ended. From GStreamer 1.24 on, whose elements may
    /// pass memory on before; those of 1.22 wait themselves.
    pub memory_sync: Option<unsafe extern "C" fn(Object)>,
    load_library: unsafe extern "C" fn() -> c_int,
    memory_init: unsafe extern "C" fn(),
}

impl GstCuda {
    /// Opens the library and lets it open the driver. GStreamer must be initialised.
    pub fn load() -> Result<Self, GstCudaError> {
        let library = Self::open(Path::new(NAME))?;
        // SAFETY: the function has no arguments, may be called any number of times, and only opens the
        // driver's library.
        if unsafe { (library.load_library)() } == 0 {
            return Err(GstCudaError::NoDriver);
        }
        // SAFETY: the same; it registers the allocator that pools look for.
        unsafe { (library.memory_init)() };
        Ok(library)
    }

    /// The functions alone; no driver is needed.
    pub fn open(path: &Path) -> Result<Self, GstCudaError> {
        // SAFETY: the library's initialisers only register types.
        let library = unsafe { Library::new(path) }.map_err(|err| {
            let reason =
                std::error::Error::source(&err).map_or_else(|| err.to_string(), |e| e.to_string());
            GstCudaError::NotFound {
                path: path.to_path_buf(),
                reason,
            }
        })?;
        macro_rules! symbol {
            ($name:literal) => {
                // SAFETY: the function has had the field's signature since GStreamer 1.22.
                *unsafe { library.get(concat!($name, "\0").as_bytes()) }.map_err(|_| {
                    GstCudaError::Unusable {
                        path: path.to_path_buf(),
                        function: $name,
                    }
                })?
            };
        }
        let functions = Self {
            context_new_wrapped: symbol!("gst_cuda_context_new_wrapped"),
            context_get_handle: symbol!("gst_cuda_context_get_handle"),
            new_gst_context: symbol!("gst_context_new_cuda_context"),
            handle_context_query: symbol!("gst_cuda_handle_context_query"),
            buffer_pool_new: symbol!("gst_cuda_buffer_pool_new"),
            is_cuda_memory: symbol!("gst_is_cuda_memory"),
            // SAFETY: the function has had the field's signature since it is there.
            memory_sync: unsafe { library.get(b"gst_cuda_memory_sync\0") }
                .ok()
                .map(|function| *function),
            load_library: symbol!("gst_cuda_load_library"),
            memory_init: symbol!("gst_cuda_memory_init_once"),
        };
        // Its types are registered with GObject for the life of the process.
        std::mem::forget(library);
        Ok(functions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let err = GstCuda::open(Path::new("libgstcuda-that-is-not-there.so.0")).unwrap_err();
        assert!(
            err.to_string().contains("libgstreamer-plugins-bad1.0-0"),
            "{err}"
        );
        let err = GstCuda::open(Path::new("libc.so.6")).unwrap_err();
        assert!(matches!(err, GstCudaError::Unusable { .. }), "{err}");
    }

    #[test]
    fn a_library_without_a_driver_is_told_from_none() {
        match GstCuda::open(Path::new(NAME)) {
            Err(GstCudaError::NotFound { .. }) => {
                aivideo_skip::skip!("{NAME} is not installed");
            }
            Err(other) => panic!("{other}"),
            // SAFETY: null is no memory, which the function allows.
            Ok(library) => assert_eq!(unsafe { (library.is_cuda_memory)(std::ptr::null_mut()) }, 0),
        }
    }
}
