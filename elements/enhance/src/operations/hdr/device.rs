// SPDX-License-Identifier: Apache-2.0
//! HDR of pictures that lie in a GPU's memory: the table goes up once, and how many samples have which
//! light comes down where it is to be told.

#![allow(unsafe_code)] // starting kernels

use aivideo_color::table::ColorTable;
use aivideo_cuda::{
    device::Buffer,
    measure::{LIGHT_BYTES, light},
    picture::Picture,
};

use crate::{
    chroma::Siting,
    device::Stream,
    hdr::light::CODES,
    operations::EnhanceError,
    tables::{DeviceTable, KERNEL},
};

pub const KERNELS: &[&str] = &[KERNEL, "light"];

#[derive(Default)]
pub(super) struct DeviceHdr {
    table: Option<DeviceTable>,
    version: u64,
    counts: Option<Buffer>,
    /// The latest picture was counted.
    counted: bool,
}

impl DeviceHdr {
    pub(super) fn forget_table(&mut self) {
        self.version += 1;
    }

    /// Starts all that makes the second picture of the first.
    ///
    /// # Safety
    /// The pictures' planes must be memory of the stream's GPU and live until it was waited for.
    pub(super) unsafe fn process(
        &mut self,
        stream: &Stream,
        table: &ColorTable,
        siting: Siting,
        [input, output]: [&Picture; 2],
        measures: bool,
    ) -> Result<(), EnhanceError> {
        let table = DeviceTable::of(self.table.take(), stream, table, self.version)?;
        // SAFETY: the promise is the same, here and below.
        unsafe { table.apply(stream, input, output, siting) }?;
        self.table = Some(table);
        self.counted = false;
        if measures {
            let counts = match self.counts.take() {
                Some(counts) => counts,
                None => stream.zeros(LIGHT_BYTES)?,
            };
            stream.clear(&counts)?;
            // SAFETY: the same; the counters are freed, when they are, in the stream's order.
            unsafe { stream.start(light(output, counts.memory())) }?;
            self.counts = Some(counts);
            self.counted = true;
        }
        Ok(())
    }

    /// How many samples of the latest picture have which code, where they were counted.
    pub(super) fn counts(&mut self, stream: &Stream) -> Result<Option<[u32; CODES]>, EnhanceError> {
        let Some(counts) = self.counts.as_ref().filter(|_| self.counted) else {
            return Ok(None);
        };
        self.counted = false;
        let bytes = stream.read(counts)?;
        let mut numbers = [0; CODES];
        for (number, b) in numbers.iter_mut().zip(bytes.chunks_exact(4)) {
            *number = u32::from_ne_bytes([b[0], b[1], b[2], b[3]]);
        }
        Ok(Some(numbers))
    }
}
