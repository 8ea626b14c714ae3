// SPDX-License-Identifier: Apache-2.0
//! Every kernel on a GPU against its reference, bit by bit: the cases of emulated.rs. Without a GPU it
//! says so and passes; what starts kernels and copies is then tested with a stand-in.

#![allow(unsafe_code)] // starting kernels and copies

#[path = "kernels/cases.rs"]
mod cases;
#[path = "kernels/machine.rs"]
mod machine;

use std::collections::HashMap;

use aivideo_cuda::{
    Launch, Memory,
    device::{Buffer, DeviceError, Gpu},
    source::SOURCES,
};
use aivideo_fakecuda::driver;
use machine::Machine;

struct Device {
    gpu: Gpu,
    buffers: HashMap<u64, Buffer>,
}

impl Device {
    fn keep(&mut self, buffer: Buffer) -> Memory {
        let memory = buffer.memory();
        self.buffers.insert(memory.address, buffer);
        memory
    }
}

impl Machine for Device {
    fn upload(&mut self, bytes: &[u8]) -> Memory {
        let buffer = self.gpu.upload(bytes).unwrap();
        self.keep(buffer)
    }

    fn zeros(&mut self, bytes: usize) -> Memory {
        let buffer = self.gpu.zeros(bytes).unwrap();
        self.keep(buffer)
    }

    fn run(&mut self, launch: &Launch) {
        // SAFETY: the memory is of `buffers`, which live as long as the GPU.
        unsafe { self.gpu.start(launch) }.unwrap();
    }

    fn download(&mut self, memory: Memory) -> Vec<u8> {
        self.gpu.download(&self.buffers[&memory.address]).unwrap()
    }
}

fn compare(open: impl Fn() -> Gpu) {
    for (name, case) in cases::ALL {
        let mut device = Device {
            gpu: open(),
            buffers: HashMap::new(),
        };
        case(&mut device);
        eprintln!("GPU: {name}: equal");
    }
}

#[test]
fn every_kernel_gives_its_references_bits() {
    let opened = Gpu::open(0).and_then(|gpu| {
        gpu.prepare(SOURCES[0].entries)?;
        Ok(gpu)
    });
    let gpu = match opened {
        Ok(gpu) => gpu,
        Err(DeviceError::Compile(err)) => {
            aivideo_skip::skip!("there is a GPU, but no compiler for its kernels: {err}");
            return;
        }
        Err(err) => {
            aivideo_skip::skip!("no GPU: {err}");
            return;
        }
    };
    eprintln!("running on {}", gpu.name().unwrap());
    compare(|| Gpu::open(0).unwrap());
}

/// The same and more with a stand-in for the driver, on which nothing happens before somebody waits
/// for it: see `fake`.
#[test]
fn on_a_stand_in_for_a_gpu() {
    aivideo_fakecuda::run_ignored();
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn every_kernel_is_launched_as_it_must_be() {
    compare(|| Gpu::open(0).unwrap());
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn what_is_started_is_done_in_order_and_when_waited_for() {
    let gpu = Gpu::open(0).unwrap();
    let (a, b) = (gpu.upload(&[1; 64]).unwrap(), gpu.zeros(64).unwrap());
    let own = |buffer: &Buffer| (buffer.memory(), gpu.owner());
    let waits = driver("waits");
    // SAFETY: both are this GPU's and live to the end.
    unsafe { gpu.copy(own(&a), own(&b)) }.unwrap();
    gpu.write(&[2; 64], &a).unwrap();
    assert_eq!(driver("waits"), waits);
    assert_eq!(gpu.download(&b).unwrap(), [1; 64]);
    assert_eq!(gpu.download(&a).unwrap(), [2; 64]);
    let small = gpu.zeros(63).unwrap();
    // SAFETY: as above.
    let refused = unsafe { gpu.copy(own(&a), own(&small)) }.unwrap_err();
    assert!(refused.to_string().contains("64 bytes"), "{refused}");
    assert!(gpu.write(&[0; 64], &small).is_err());
}

#[test]
#[ignore = "run by on_a_stand_in_for_a_gpu"]
fn memory_of_another_context_is_told_apart_and_copied() {
    type Create = unsafe extern "C" fn(*mut usize, u32, i32) -> i32;
    type Alloc = unsafe extern "C" fn(*mut u64, usize) -> i32;
    let gpu = Gpu::open(0).unwrap();
    let (mut context, mut address) = (0, 0);
    // SAFETY: the driver's functions with their signatures; the library is loaded already.
    unsafe {
        let library = libloading::Library::new("libcuda.so.1").unwrap();
        let create = library.get::<Create>(b"cuCtxCreate_v2\0").unwrap();
        assert_eq!(create(&mut context, 0, 0), 0);
        let alloc = library.get::<Alloc>(b"cuMemAlloc_v2\0").unwrap();
        assert_eq!(alloc(&mut address, 64), 0);
    }
    let foreign = Memory { address, bytes: 64 };
    let owner = gpu.owner_of(foreign).unwrap();
    assert_ne!(owner, gpu.owner());
    let (a, b) = (gpu.upload(&[9; 64]).unwrap(), gpu.zeros(64).unwrap());
    assert_eq!(gpu.owner_of(a.memory()).unwrap(), gpu.owner());
    let own = |buffer: &Buffer| (buffer.memory(), gpu.owner());
    let peer = driver("peer");
    // SAFETY: the memory is of its owners and lives to the end.
    unsafe {
        gpu.copy(own(&a), (foreign, owner)).unwrap();
        gpu.copy((foreign, owner), own(&b)).unwrap();
    }
    assert_eq!(gpu.download(&b).unwrap(), [9; 64]);
    assert_eq!(driver("peer"), peer + 128);
    let nowhere = Memory {
        address: 64,
        bytes: 1,
    };
    assert!(gpu.owner_of(nowhere).is_err());
}
