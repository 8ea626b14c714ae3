// SPDX-License-Identifier: Apache-2.0
//! The restoration net on pictures that lie in the GPU's memory: nothing crosses the bus but sixteen
//! bytes of condition when it changes.
//!
//! The picture that was restored before is one of two pairs of planes on the GPU; each run reads one
//! and writes the other, so that nothing is copied from frame to frame.

#![allow(unsafe_code)] // starting kernels and copies

use aivideo_core::{
    engine::{Binding, DeviceTensor, Engine},
    tensor::ElementType,
};
use aivideo_cuda::{
    LaunchError, Memory,
    device::{DeviceError, Gpu},
    picture::Frame,
    restore::Padded,
};

use super::{Condition, MULTIPLE, RestoreError};

/// The kernels that this starts.
pub const KERNELS: [&str; 2] = ["restore_read", "restore_change"];

/// Luma, or one of chroma, with its plane. `size` is that of the net's luma.
fn padded(picture: &Frame, number: usize, size: (u32, u32)) -> Result<Padded, RestoreError> {
    let component = picture.component(number).ok_or_else(|| {
        RestoreError::Device(format!("the picture has {} planes", picture.planes.len()))
    })?;
    let chroma = u32::from(number > 0);
    Ok(Padded {
        component,
        width: size.0 >> chroma,
        height: size.1 >> chroma,
    })
}

/// Luma and both planes of chroma, padded.
#[derive(Clone)]
struct Planes {
    y: DeviceTensor,
    uv: DeviceTensor,
}

impl Planes {
    fn new(engine: &Engine, (width, height): (u32, u32)) -> Result<Self, RestoreError> {
        let (w, h) = (width as usize, height as usize);
        Ok(Self {
            y: engine.device_tensor([1, 1, h, w], ElementType::U8)?,
            uv: engine.device_tensor([1, 2, h / 2, w / 2], ElementType::U8)?,
        })
    }

    /// Of a component.
    fn memory(&self, number: usize) -> Memory {
        let uv = self.uv.memory();
        match number {
            0 => self.y.memory(),
            1 => Memory {
                bytes: uv.bytes / 2,
                ..uv
            },
            _ => uv.from(uv.bytes / 2),
        }
    }
}

/// What pictures of one size need on the GPU.
pub(super) struct Device {
    size: (u32, u32),
    now: Planes,
    /// The net's before and after, and the other way round.
    state: [Planes; 2],
    runs: [Binding; 2],
    condition: DeviceTensor,
    told: Option<Condition>,
    /// Which of the state is the picture before; `None` when there is none.
    before: Option<usize>,
}

impl Device {
    fn new(engine: &Engine, size: (u32, u32)) -> Result<Self, RestoreError> {
        let now = Planes::new(engine, size)?;
        let state = [Planes::new(engine, size)?, Planes::new(engine, size)?];
        let condition = engine.device_tensor([4], ElementType::F32)?;
        let bind = |before: usize| {
            let (from, to) = (&state[before], &state[1 - before]);
            engine.bind(
                vec![
                    ("y", now.y.clone()),
                    ("uv", now.uv.clone()),
                    ("y_before", from.y.clone()),
                    ("uv_before", from.uv.clone()),
                    ("condition", condition.clone()),
                ],
                vec![("y_out", to.y.clone()), ("uv_out", to.uv.clone())],
            )
        };
        let runs = [bind(0)?, bind(1)?];
        Ok(Self {
            size,
            now,
            state,
            runs,
            condition,
            told: None,
            before: None,
        })
    }

    /// For pictures of this size: `kept` when it is for them.
    pub(super) fn of(
        kept: Option<Self>,
        engine: &Engine,
        picture: &Frame,
    ) -> Result<Self, RestoreError> {
        let padded = |side: u32| side.next_multiple_of(MULTIPLE as u32);
        let size = (padded(picture.width), padded(picture.height));
        match kept {
            Some(kept) if kept.size == size => Ok(kept),
            _ => Self::new(engine, size),
        }
    }

    pub(super) fn reset(&mut self) {
        self.before = None;
    }

    /// Starts all that restores a picture in place.
    ///
    /// # Safety
    /// The picture's planes must be memory of this GPU and live until its stream was waited for.
    pub(super) unsafe fn run(
        &mut self,
        gpu: &Gpu,
        picture: &Frame,
        condition: Condition,
        share: u32,
    ) -> Result<(), RestoreError> {
        for number in 0..3 {
            let launch = padded(picture, number, self.size)?.read(self.now.memory(number))?;
            // SAFETY: the picture's planes are the caller's promise; those of the net are freed, when
            // they are, in the order of the stream.
            unsafe { gpu.start(&launch) }?;
        }
        // Should anything fail from here on, the next picture follows none.
        let before = match self.before.take() {
            Some(before) => before,
            None => {
                for (from, to) in [
                    (&self.now.y, &self.state[0].y),
                    (&self.now.uv, &self.state[0].uv),
                ] {
                    let own = |tensor: &DeviceTensor| (tensor.memory(), gpu.owner());
                    // SAFETY: both are this GPU's, and freed in the order of the stream.
                    unsafe { gpu.copy(own(from), own(to)) }?;
                }
                0
            }
        };
        if self.told != Some(condition) {
            let bytes: Vec<u8> = condition
                .told
                .iter()
                .flat_map(|v| v.to_ne_bytes())
                .collect();
            gpu.write(&bytes, self.condition.buffer())?;
            self.told = Some(condition);
        }
        self.runs[before].run()?;
        let after = &self.state[1 - before];
        for number in 0..3 {
            let (old, new) = (self.now.memory(number), after.memory(number));
            let launch = padded(picture, number, self.size)?.change(old, new, share)?;
            // SAFETY: as above.
            unsafe { gpu.start(&launch) }?;
        }
        self.before = Some(1 - before);
        Ok(())
    }
}

impl From<LaunchError> for RestoreError {
    fn from(err: LaunchError) -> Self {
        Self::Device(err.to_string())
    }
}

impl From<DeviceError> for RestoreError {
    fn from(err: DeviceError) -> Self {
        Self::Device(err.to_string())
    }
}
