// SPDX-License-Identifier: Apache-2.0
//! Every kernel on a GPU against its reference, bit by bit: the cases of emulated.rs. Without a GPU it
//! says so and passes.

#[path = "kernels/cases.rs"]
mod cases;
#[path = "kernels/machine.rs"]
mod machine;

use std::collections::HashMap;

use aivideo_cuda::{
    Launch, Memory,
    device::{Buffer, DeviceError, Gpu},
};
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

#[allow(unsafe_code)] // starting kernels
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

#[test]
fn every_kernel_gives_its_references_bits() {
    let gpu = match Gpu::open(0) {
        Ok(gpu) => gpu,
        Err(DeviceError::Compile(err)) => {
            eprintln!("SKIP: there is a GPU, but no compiler for its kernels: {err}");
            return;
        }
        Err(err) => {
            eprintln!("SKIP: no GPU: {err}");
            return;
        }
    };
    eprintln!("running on {}", gpu.name().unwrap());
    for (name, case) in cases::ALL {
        let gpu = Gpu::open(0).unwrap();
        let mut device = Device {
            gpu,
            buffers: HashMap::new(),
        };
        case(&mut device);
        eprintln!("GPU: {name}: equal");
    }
}
