// SPDX-License-Identifier: Apache-2.0
//! Counting NVIDIA GPUs through the driver's library, opened at run time.
//!
//! ONNX Runtime cannot be asked: it reports its CUDA provider as available wherever it was
//! compiled in, with or without a driver.

#![allow(unsafe_code)] // the driver is a C library

use std::{
    ffi::{CStr, c_char, c_int, c_uint},
    fmt, ptr,
};

use libloading::{Library, Symbol};

const DRIVER: &str = "libcuda.so.1";
const CUDA_SUCCESS: c_int = 0;
const CUDA_ERROR_NO_DEVICE: c_int = 100;

type Init = unsafe extern "C" fn(c_uint) -> c_int;
type DeviceGetCount = unsafe extern "C" fn(*mut c_int) -> c_int;
type GetErrorString = unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int;

/// Why there is no GPU to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Absence {
    /// The driver's library cannot be opened.
    NoDriver(String),
    /// The driver sees no device (none there, or hidden by CUDA_VISIBLE_DEVICES).
    NoDevice,
    /// There is a driver that does not work.
    Unusable(String),
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDriver(reason) => write!(
                f,
                "there is no NVIDIA driver: {DRIVER} cannot be opened ({reason}); in a container, \
                 run with `--gpus all`"
            ),
            Self::NoDevice => f.write_str(
                "the NVIDIA driver sees no GPU (is CUDA_VISIBLE_DEVICES set to hide it?)",
            ),
            Self::Unusable(reason) => write!(f, "the NVIDIA driver does not work: {reason}"),
        }
    }
}

/// Number of GPUs that the driver offers to this process.
pub(super) fn count() -> Result<u32, Absence> {
    count_with(DRIVER)
}

fn count_with(driver: &str) -> Result<u32, Absence> {
    // SAFETY: opening the driver runs its initialisers, which it is made for.
    let library = unsafe { Library::new(driver) }.map_err(|err| {
        let text =
            std::error::Error::source(&err).map_or_else(|| err.to_string(), |e| e.to_string());
        Absence::NoDriver(text.trim_start_matches(&format!("{driver}: ")).to_string())
    })?;
    let result = ask(&library);
    // The driver starts threads and must not be unloaded under them; ONNX Runtime uses it too.
    std::mem::forget(library);
    result
}

fn ask(library: &Library) -> Result<u32, Absence> {
    let broken = |err: libloading::Error| Absence::Unusable(err.to_string());
    // SAFETY: these symbols of the driver's stable C API have had these signatures since CUDA 6.
    let (init, device_get_count, get_error_string): (
        Symbol<Init>,
        Symbol<DeviceGetCount>,
        Symbol<GetErrorString>,
    ) = unsafe {
        (
            library.get(b"cuInit\0").map_err(broken)?,
            library.get(b"cuDeviceGetCount\0").map_err(broken)?,
            library.get(b"cuGetErrorString\0").map_err(broken)?,
        )
    };
    let check = |code: c_int| {
        if code == CUDA_SUCCESS {
            return Ok(());
        }
        if code == CUDA_ERROR_NO_DEVICE {
            return Err(Absence::NoDevice);
        }
        let mut text: *const c_char = ptr::null();
        // SAFETY: the function sets `text` to a static string, or to null for unknown codes.
        unsafe { get_error_string(code, &mut text) };
        let text = if text.is_null() {
            String::new()
        } else {
            // SAFETY: not null, so a NUL-terminated string in the driver, which stays loaded.
            unsafe { CStr::from_ptr(text) }
                .to_string_lossy()
                .into_owned()
        };
        Err(Absence::Unusable(format!("error {code} ({text})")))
    };
    // SAFETY: the flags must be 0; calling it again is allowed.
    check(unsafe { init(0) })?;
    let mut count: c_int = 0;
    // SAFETY: the driver is initialised and `count` may be written.
    check(unsafe { device_get_count(&mut count) })?;
    Ok(u32::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_library_there_is_no_driver() {
        let Err(Absence::NoDriver(reason)) = count_with("libcuda-that-is-not-there.so.1") else {
            panic!("a library that is not there was opened");
        };
        assert!(reason.contains("No such file"), "{reason}");
    }

    #[test]
    fn another_library_is_not_a_driver() {
        // libc is there, but has no cuInit.
        assert!(matches!(count_with("libc.so.6"), Err(Absence::Unusable(_))));
    }
}
