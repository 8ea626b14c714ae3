// SPDX-License-Identifier: Apache-2.0
//! The card's memory and load, from NVIDIA's management library, opened at run time.

#![allow(unsafe_code)] // a C library

use std::ffi::{c_int, c_uint, c_void};

use libloading::Library;

const NAME: &str = "libnvidia-ml.so.1";

#[repr(C)]
#[derive(Default)]
struct Memory {
    total: u64,
    free: u64,
    used: u64,
}

#[repr(C)]
#[derive(Default)]
struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

type Init = unsafe extern "C" fn() -> c_int;
type ByIndex = unsafe extern "C" fn(c_uint, *mut *mut c_void) -> c_int;
type GetMemory = unsafe extern "C" fn(*mut c_void, *mut Memory) -> c_int;
type GetUtilization = unsafe extern "C" fn(*mut c_void, *mut Utilization) -> c_int;

/// One card. The library allows calls from every thread.
pub struct Nvml {
    /// The library's name for the card.
    device: usize,
    memory: GetMemory,
    utilization: GetUtilization,
    _library: Library,
}

impl Nvml {
    /// `index` counts all cards of the machine, also those that CUDA_VISIBLE_DEVICES hides.
    pub fn open(index: u32) -> Result<Self, String> {
        Self::open_as(NAME, index)
    }

    fn open_as(name: &str, index: u32) -> Result<Self, String> {
        // SAFETY: opening the driver's library runs its initialisers, which it is made for.
        let library = unsafe { Library::new(name) }.map_err(|err| format!("{name}: {err}"))?;
        macro_rules! symbol {
            ($ty:ty, $name:literal) => {
                // SAFETY: NVML's C API has had these functions with these signatures since version 5.
                *unsafe { library.get::<$ty>(concat!($name, "\0").as_bytes()) }
                    .map_err(|err| err.to_string())?
            };
        }
        let init: Init = symbol!(Init, "nvmlInit_v2");
        let by_index: ByIndex = symbol!(ByIndex, "nvmlDeviceGetHandleByIndex_v2");
        let memory: GetMemory = symbol!(GetMemory, "nvmlDeviceGetMemoryInfo");
        let utilization: GetUtilization = symbol!(GetUtilization, "nvmlDeviceGetUtilizationRates");
        // SAFETY: it may be called any number of times.
        let code = unsafe { init() };
        if code != 0 {
            return Err(format!("nvmlInit fails with error {code}"));
        }
        let mut device = std::ptr::null_mut();
        // SAFETY: the library is initialised and `device` may be written.
        let code = unsafe { by_index(index, &mut device) };
        if code != 0 {
            return Err(format!("NVML has no card {index} (error {code})"));
        }
        Ok(Self {
            device: device as usize,
            memory,
            utilization,
            _library: library,
        })
    }

    /// Bytes in use, by all programs.
    pub fn memory_used(&self) -> Option<u64> {
        let mut memory = Memory::default();
        // SAFETY: the card's name is the library's own, and `memory` may be written.
        let code = unsafe { (self.memory)(self.device as *mut c_void, &mut memory) };
        (code == 0).then_some(memory.used)
    }

    /// Share of the last sampling period in which a kernel ran, of 0 to 1.
    pub fn busy(&self) -> Option<f64> {
        let mut rates = Utilization::default();
        // SAFETY: as above.
        let code = unsafe { (self.utilization)(self.device as *mut c_void, &mut rates) };
        (code == 0).then(|| f64::from(rates.gpu) / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let Err(reason) = Nvml::open_as("libnothing-ml.so.1", 0) else {
            panic!("a library that is not there was opened");
        };
        assert!(reason.contains("libnothing-ml.so.1"), "{reason}");
        assert!(Nvml::open_as("libc.so.6", 0).is_err());
    }
}
