// SPDX-License-Identifier: Apache-2.0
//! NVIDIA's driver and GPUs, asked through the driver's library, opened at run time.
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

/// Attributes of a device: the two numbers of its compute capability.
const COMPUTE_MAJOR: c_int = 75;
const COMPUTE_MINOR: c_int = 76;

type Init = unsafe extern "C" fn(c_uint) -> c_int;
type DeviceGetCount = unsafe extern "C" fn(*mut c_int) -> c_int;
type DeviceGet = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
type DeviceGetName = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
type DeviceTotalMem = unsafe extern "C" fn(*mut usize, c_int) -> c_int;
type DeviceGetAttribute = unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int;
type DriverGetVersion = unsafe extern "C" fn(*mut c_int) -> c_int;
type GetErrorString = unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int;

/// Why there is no GPU to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
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

/// A GPU that the driver offers to this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// The n of `device=cuda:n`.
    pub index: u32,
    pub name: String,
    pub memory_bytes: u64,
    /// Compute capability: 9.0 is (9, 0).
    pub compute: (u32, u32),
}

/// A driver that works, and what it drives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// Highest version of CUDA that it runs: 13.0 is (13, 0).
    pub cuda: (u32, u32),
    /// At least one.
    pub gpus: Vec<Gpu>,
}

/// Number of GPUs that the driver offers to this process.
pub(super) fn count() -> Result<u32, Absence> {
    with(DRIVER, ask)
}

/// The driver and its GPUs.
pub(super) fn survey() -> Result<Driver, Absence> {
    with(DRIVER, describe)
}

fn with<T>(
    driver: &str,
    question: impl FnOnce(&Library) -> Result<T, Absence>,
) -> Result<T, Absence> {
    // SAFETY: opening the driver runs its initialisers, which it is made for.
    let library = unsafe { Library::new(driver) }.map_err(|err| {
        let text =
            std::error::Error::source(&err).map_or_else(|| err.to_string(), |e| e.to_string());
        Absence::NoDriver(text.trim_start_matches(&format!("{driver}: ")).to_string())
    })?;
    let result = question(&library);
    // The driver starts threads and must not be unloaded under them; ONNX Runtime uses it too.
    std::mem::forget(library);
    result
}

fn broken(err: libloading::Error) -> Absence {
    Absence::Unusable(err.to_string())
}

/// Turns the driver's error codes into reasons.
struct Check<'a>(Symbol<'a, GetErrorString>);

impl<'a> Check<'a> {
    fn new(library: &'a Library) -> Result<Self, Absence> {
        // SAFETY: this symbol of the driver's stable C API has had this signature since CUDA 6.
        unsafe { library.get(b"cuGetErrorString\0") }
            .map(Self)
            .map_err(broken)
    }

    fn code(&self, code: c_int) -> Result<(), Absence> {
        if code == CUDA_SUCCESS {
            return Ok(());
        }
        if code == CUDA_ERROR_NO_DEVICE {
            return Err(Absence::NoDevice);
        }
        let mut text: *const c_char = ptr::null();
        // SAFETY: the function sets `text` to a static string, or to null for unknown codes.
        unsafe { (self.0)(code, &mut text) };
        let text = if text.is_null() {
            String::new()
        } else {
            // SAFETY: not null, so a NUL-terminated string in the driver, which stays loaded.
            unsafe { CStr::from_ptr(text) }
                .to_string_lossy()
                .into_owned()
        };
        Err(Absence::Unusable(format!("error {code} ({text})")))
    }
}

fn ask(library: &Library) -> Result<u32, Absence> {
    let check = Check::new(library)?;
    // SAFETY: these symbols of the driver's stable C API have had these signatures since CUDA 6.
    let (init, device_get_count): (Symbol<Init>, Symbol<DeviceGetCount>) = unsafe {
        (
            library.get(b"cuInit\0").map_err(broken)?,
            library.get(b"cuDeviceGetCount\0").map_err(broken)?,
        )
    };
    // SAFETY: the flags must be 0; calling it again is allowed.
    check.code(unsafe { init(0) })?;
    let mut count: c_int = 0;
    // SAFETY: the driver is initialised and `count` may be written.
    check.code(unsafe { device_get_count(&mut count) })?;
    Ok(u32::try_from(count).unwrap_or(0))
}

fn describe(library: &Library) -> Result<Driver, Absence> {
    let count = ask(library)?;
    if count == 0 {
        return Err(Absence::NoDevice);
    }
    let check = Check::new(library)?;
    // SAFETY: this symbol of the driver's stable C API, as those below, has had this signature since
    // CUDA 6.
    let version: Symbol<DriverGetVersion> =
        unsafe { library.get(b"cuDriverGetVersion\0") }.map_err(broken)?;
    // SAFETY: as above.
    let get: Symbol<DeviceGet> = unsafe { library.get(b"cuDeviceGet\0") }.map_err(broken)?;
    // SAFETY: as above.
    let name: Symbol<DeviceGetName> =
        unsafe { library.get(b"cuDeviceGetName\0") }.map_err(broken)?;
    // SAFETY: as above.
    let memory: Symbol<DeviceTotalMem> =
        unsafe { library.get(b"cuDeviceTotalMem_v2\0") }.map_err(broken)?;
    // SAFETY: as above.
    let attribute: Symbol<DeviceGetAttribute> =
        unsafe { library.get(b"cuDeviceGetAttribute\0") }.map_err(broken)?;
    let mut cuda: c_int = 0;
    // SAFETY: the driver is initialised and `cuda` may be written.
    check.code(unsafe { version(&mut cuda) })?;
    let number = |value: c_int| u32::try_from(value).unwrap_or(0);
    let gpus = (0..count)
        .map(|index| {
            let mut device: c_int = 0;
            // SAFETY: `device` may be written; an index out of range is an error code.
            check.code(unsafe { get(&mut device, index as c_int) })?;
            let mut text = [0 as c_char; 256];
            // SAFETY: at most as many bytes as `text` has are written, the last of them 0.
            check.code(unsafe { name(text.as_mut_ptr(), text.len() as c_int, device) })?;
            // SAFETY: on success the driver has ended the text with 0 within the array.
            let text = unsafe { CStr::from_ptr(text.as_ptr()) };
            let mut bytes = 0;
            // SAFETY: `bytes` may be written and `device` is the driver's.
            check.code(unsafe { memory(&mut bytes, device) })?;
            let (mut major, mut minor) = (0, 0);
            // SAFETY: as above; both attributes exist on every device.
            check.code(unsafe { attribute(&mut major, COMPUTE_MAJOR, device) })?;
            // SAFETY: as above.
            check.code(unsafe { attribute(&mut minor, COMPUTE_MINOR, device) })?;
            Ok(Gpu {
                index,
                name: text.to_string_lossy().into_owned(),
                memory_bytes: bytes as u64,
                compute: (number(major), number(minor)),
            })
        })
        .collect::<Result<_, Absence>>()?;
    let cuda = number(cuda);
    Ok(Driver {
        cuda: (cuda / 1000, cuda % 1000 / 10),
        gpus,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_library_there_is_no_driver() {
        let Err(Absence::NoDriver(reason)) = with("libcuda-that-is-not-there.so.1", ask) else {
            panic!("a library that is not there was opened");
        };
        assert!(reason.contains("No such file"), "{reason}");
    }

    #[test]
    fn another_library_is_not_a_driver() {
        // libc is there, but has no cuInit.
        assert!(matches!(
            with("libc.so.6", describe),
            Err(Absence::Unusable(_))
        ));
        assert!(matches!(with("libc.so.6", ask), Err(Absence::Unusable(_))));
    }
}
