// SPDX-License-Identifier: Apache-2.0
//! Colour of pictures that lie in a GPU's memory: a thumbnail comes down, and the table goes up when it
//! was made anew. Histograms and curves of local contrast stay there.

#![allow(unsafe_code)] // starting kernels

use aivideo_cuda::{
    clahe::{self, Curves},
    device::Buffer,
    measure::Sums,
    picture::Picture,
};

use super::{
    Color, SAMPLES, SIDE,
    clahe::{CLIP, RATE, applies},
    thumbnail_of,
};
use crate::{
    device::Stream,
    operations::EnhanceError,
    tables::{DeviceTable, KERNEL},
};

pub const KERNELS: &[&str] = &[
    "picture_sums",
    KERNEL,
    "clahe_count",
    "clahe_curves",
    "clahe_apply",
];

/// Samples of all fields.
const fn sums(samples: usize) -> Sums {
    Sums {
        side: SIDE as u32,
        parts: samples as u32,
        first: 0,
        every: 1,
        count: samples as u32,
    }
}

/// What local contrast keeps.
struct Contrast {
    counts: Buffer,
    curves: Buffer,
    mixed: Buffer,
}

#[derive(Default)]
pub(super) struct DeviceColor {
    /// Of luma and both of chroma.
    thumbnail: Option<Buffer>,
    table: Option<DeviceTable>,
    contrast: Option<Contrast>,
    /// The curves are of the scene.
    begun: bool,
}

impl DeviceColor {
    pub(super) fn reset(&mut self) {
        self.begun = false;
    }
}

/// Sums of the samples of all fields, taken down.
///
/// # Safety
/// As [`Color::colour_on_device`].
unsafe fn measure(
    stream: &Stream,
    buffer: &Buffer,
    picture: &Picture,
) -> Result<Vec<u32>, EnhanceError> {
    for (number, component) in picture.components().iter().enumerate() {
        let spec = sums(if number == 0 { SAMPLES } else { SAMPLES / 2 });
        let out = buffer.memory().from(number as u64 * spec.bytes());
        // SAFETY: the caller's promise; the sums are freed, when they are, in the stream's order.
        unsafe { stream.start(spec.launch(component, out)) }?;
    }
    let bytes = stream.read(buffer)?;
    let numbers = bytes.chunks_exact(2);
    Ok(numbers
        .map(|b| u32::from(u16::from_ne_bytes([b[0], b[1]])))
        .collect())
}

impl Color {
    /// Starts all that makes a picture of another.
    ///
    /// # Safety
    /// The pictures' planes must be memory of the stream's GPU and live until it was waited for.
    pub(super) unsafe fn colour_on_device(
        &mut self,
        stream: &Stream,
        input: &Picture,
        output: &Picture,
    ) -> Result<(), EnhanceError> {
        let buffer = match self.device.thumbnail.take() {
            Some(buffer) => buffer,
            None => stream.zeros(3 * sums(SAMPLES).bytes())?,
        };
        let colour = self.format.colour;
        self.follow(|| {
            // SAFETY: the promise is the same, here and below.
            let sums = unsafe { measure(stream, &buffer, input) }?;
            let field = |i: usize| [0, 1, 2].map(|c| sums[c * SIDE * SIDE + i]);
            Ok(thumbnail_of(colour, field))
        })?;
        self.device.thumbnail = Some(buffer);
        self.remake();
        match &self.table {
            Some(made) => {
                let kept = self.device.table.take();
                let table = DeviceTable::of(kept, stream, &made.table, made.version)?;
                // SAFETY: the same.
                unsafe { table.apply(stream, input, output, self.format.siting) }?;
                self.device.table = Some(table);
            }
            // SAFETY: the same.
            None => unsafe { stream.copy(input, output) }?,
        }
        // SAFETY: the same.
        unsafe { self.contrast_on_device(stream, output) }
    }

    /// # Safety
    /// As [`Self::colour_on_device`].
    unsafe fn contrast_on_device(
        &mut self,
        stream: &Stream,
        picture: &Picture,
    ) -> Result<(), EnhanceError> {
        let (w, h) = picture.size();
        let amount = self.amounts.contrast;
        if !applies(w as usize, h as usize, amount) {
            return Ok(());
        }
        let own = match self.device.contrast.take() {
            Some(own) => own,
            None => Contrast {
                counts: stream.zeros(clahe::COUNT_BYTES)?,
                curves: stream.zeros(clahe::CURVE_BYTES)?,
                mixed: stream.zeros(clahe::MIXED_BYTES)?,
            },
        };
        let spec = Curves {
            range: self.range(),
            clip: CLIP,
            rate: RATE,
            amount,
            fresh: !self.device.begun,
        };
        // Should anything fail from here on, curves begin anew.
        self.device.begun = false;
        let [counts, curves, mixed] = [&own.counts, &own.curves, &own.mixed].map(Buffer::memory);
        stream.clear(&own.counts)?;
        for launch in [
            clahe::count(&picture.y, counts),
            spec.follow(&picture.y, counts, curves, mixed),
            clahe::apply(&picture.y, mixed),
        ] {
            // SAFETY: the caller's promise; what is kept is freed, when it is, in the stream's order.
            unsafe { stream.start(launch) }?;
        }
        self.device.begun = true;
        self.device.contrast = Some(own);
        Ok(())
    }
}
