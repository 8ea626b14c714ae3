// SPDX-License-Identifier: Apache-2.0
//! What a case needs of whatever runs kernels.

use aivideo_cuda::{Launch, Memory};

pub trait Machine {
    fn upload(&mut self, bytes: &[u8]) -> Memory;
    fn zeros(&mut self, bytes: usize) -> Memory;
    fn run(&mut self, launch: &Launch);
    /// Waits for what runs, and gives the whole buffer that begins there.
    fn download(&mut self, memory: Memory) -> Vec<u8>;
}
