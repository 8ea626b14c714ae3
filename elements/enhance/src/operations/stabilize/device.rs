// SPDX-License-Identifier: Apache-2.0
//! Stabilisation of pictures that lie in a GPU's memory. Motion is found on the host, in luma that the card has reduced;
//! pictures are moved on the card.

#![allow(unsafe_code)] // starting kernels

use aivideo_cuda::{device::Buffer, picture::Picture, steady::Reduce};

use crate::{
    device::Stream,
    operations::EnhanceError,
    stabilize::{
        pyramid::{Grey, reduced},
        warp::View,
    },
};

pub const KERNELS: &[&str] = &["steady_reduce", "steady_warp"];

/// Memory for the reduced luma of pictures of one size.
#[derive(Default)]
pub(super) struct DeviceStabilize {
    luma: Option<(Reduce, Buffer)>,
}

impl DeviceStabilize {
    /// The luma in which motion is found, brought to the host, and the picture's size. Waits for the stream.
    ///
    /// # Safety
    /// The picture's planes must be memory of the stream's GPU and live until it was waited for.
    pub(super) unsafe fn reduced(
        &mut self,
        stream: &Stream,
        picture: &Picture,
    ) -> Result<(Grey, (usize, usize)), EnhanceError> {
        let size = (picture.y.width as usize, picture.y.height as usize);
        let (by, (width, height)) = reduced(size);
        let spec = Reduce {
            by: by as u32,
            width: width as u32,
            height: height as u32,
        };
        let memory = match self.luma.take() {
            Some((old, memory)) if old == spec => memory,
            _ => stream.zeros(spec.bytes())?,
        };
        // SAFETY: the caller's promise; the memory is freed, when it is, in the stream's order.
        unsafe { stream.start(spec.launch(&picture.y, memory.memory())) }?;
        let data = stream.read(&memory)?;
        self.luma = Some((spec, memory));
        let grey = Grey {
            width,
            height,
            data,
        };
        Ok((grey, size))
    }
}

/// Starts what fills `output` with what the view shows of `input`.
///
/// # Safety
/// The pictures' planes must be memory of the stream's GPU and live until it was waited for.
pub(super) unsafe fn render(
    stream: &Stream,
    view: &View,
    input: &Picture,
    output: &Picture,
) -> Result<(), EnhanceError> {
    let components = input.components().into_iter().zip(output.components());
    for (number, (from, to)) in components.enumerate() {
        let warp = view.on_device(if number == 0 { 1.0 } else { 0.5 });
        // SAFETY: the caller's promise is passed on.
        unsafe { stream.start(warp.launch(&from, &to)) }?;
    }
    Ok(())
}
