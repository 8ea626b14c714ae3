// SPDX-License-Identifier: Apache-2.0
//! DeepStream's library of buffer pools (`libnvdsbufferpool.so`), opened at run time: so a plugin that can
//! give frames in NVMM loads where it is missing, and says why it does not.

#![allow(unsafe_code)] // a C library

use std::path::{Path, PathBuf};

use libloading::Library;

use crate::gstcuda::Object;

/// As GStreamer's own nvcodec looks for it; its name has no version.
pub const NAME: &str = "libnvdsbufferpool.so";

/// Why there are no pools of frames in NVMM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NvdsError {
    #[error(
        "DeepStream's library {} cannot be opened ({reason}); DeepStream has it in its folder lib",
        path.display()
    )]
    NotFound { path: PathBuf, reason: String },
    #[error("{} has no function {function}", path.display())]
    Unusable {
        path: PathBuf,
        function: &'static str,
    },
}

/// The library's function.
#[derive(Debug, Clone, Copy)]
pub struct Nvds {
    /// A new `GstBufferPool`, or null.
    pub buffer_pool_new: unsafe extern "C" fn() -> Object,
}

impl Nvds {
    pub fn open(path: &Path) -> Result<Self, NvdsError> {
        // SAFETY: the library's initialisers only register types.
        let library = unsafe { Library::new(path) }.map_err(|err| {
            let reason =
                std::error::Error::source(&err).map_or_else(|| err.to_string(), |e| e.to_string());
            NvdsError::NotFound {
                path: path.to_path_buf(),
                reason,
            }
        })?;
        let function = "gst_nvds_buffer_pool_new";
        // SAFETY: the function has had the field's signature since DeepStream 4.
        let buffer_pool_new =
            *unsafe { library.get(function.as_bytes()) }.map_err(|_| NvdsError::Unusable {
                path: path.to_path_buf(),
                function,
            })?;
        // Its types are registered with GObject for the life of the process.
        std::mem::forget(library);
        Ok(Self { buffer_pool_new })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let err = Nvds::open(Path::new("libnvds-that-is-not-there.so")).unwrap_err();
        assert!(err.to_string().contains("DeepStream"), "{err}");
        let err = Nvds::open(Path::new("libc.so.6")).unwrap_err();
        assert!(matches!(err, NvdsError::Unusable { .. }), "{err}");
    }
}
