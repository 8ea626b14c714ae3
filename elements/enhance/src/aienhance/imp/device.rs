// SPDX-License-Identifier: Apache-2.0
//! Frames in a GPU's memory: what maps them, and how they go through the chain.

use std::sync::Arc;

use aivideo_core::{
    cuda::{self, Access, Frames, Offer, Place},
    element::lock,
    engine::Engine,
};
use aivideo_cuda::device::Gpu;
use gst::subclass::prelude::*;
use gst_base::subclass::{
    base_transform::{InputBuffer, PrepareOutputBufferSuccess},
    prelude::*,
};

use super::{AiEnhance, CAT, Done, Outline, State};
use crate::{
    chain::{Chain, On},
    device::Stream,
};

/// Frames in a GPU's memory, as they are negotiated.
pub struct OnCard {
    place: Place,
    /// What maps those that come and those that go.
    coming: Frames,
    going: Frames,
    stream: Stream,
}

/// Why a chain cannot take the place of another while frames of these caps flow, where they lie in a GPU's memory.
pub fn refuses(caps: &gst::Caps, frames: Result<&Frames, &String>) -> Option<String> {
    let place = Place::of(caps)?;
    match frames {
        Err(reason) => Some(format!(
            "frames lie in a GPU's memory, which it does not take: {reason}; put cudadownload before \
             aienhance"
        )),
        Ok(frames) if !frames.takes(place) => Some(
            "frames lie in NVMM, where they become others of another size or depth only with DeepStream's \
             library of pools; put nvvideoconvert before aienhance"
                .to_string(),
        ),
        Ok(_) => None,
    }
}

impl Outline {
    pub fn offer(&self) -> Offer {
        Offer::started(
            self.frames.as_ref().map(Frames::index),
            self.frames.as_ref(),
        )
    }
}

impl AiEnhance {
    /// What maps frames in a GPU's memory for a chain, or why it does not take them.
    pub fn frames(&self, chain: &Chain) -> Result<Frames, String> {
        let form = chain.device_form()?;
        let obj = self.obj();
        let frames = match form.on {
            On::Engine(engine) => Frames::of_element(&*obj, engine, &form.kernels),
            On::Gpu(index) => {
                let gpu = Gpu::open(index as usize).map_err(|error| error.to_string())?;
                Frames::of_gpu(&*obj, Arc::new(gpu), index, &form.kernels)
            }
        };
        let frames = frames.ok_or("their kernels cannot be had, see the log of aivideocuda")?;
        Ok(match chain.works_in_place() {
            true => frames,
            false => frames.with_results(),
        })
    }

    /// What this answers about frames in a GPU's memory.
    pub fn offer(&self) -> Offer {
        let outline = lock(&self.outline);
        if outline.shape.is_some() {
            return outline.offer();
        }
        drop(outline);
        Offer::before_start(lock(&self.settings).inference.gpu())
    }

    /// Says that a chain takes frames of the host's memory alone: of interest where frames could lie elsewhere.
    pub fn explain_host_only(&self, chain: &Chain, reason: &str) {
        let on_gpu = |engine: &Engine| engine.gpu().is_some();
        match chain.engines().iter().any(|(_, engine)| on_gpu(engine)) {
            true => gst::warning!(
                CAT,
                imp = self,
                "frames in a GPU's memory are not taken: {reason}"
            ),
            false => gst::info!(
                CAT,
                imp = self,
                "frames in a GPU's memory are not taken: {reason}"
            ),
        }
    }

    /// For frames of these caps, unless they lie in the host's memory.
    pub fn on_card(&self, caps: &gst::Caps) -> Result<Option<OnCard>, gst::LoggableError> {
        let Some(place) = Place::of(caps) else {
            return Ok(None);
        };
        let outline = lock(&self.outline);
        let frames = outline.frames.as_ref().filter(|frames| frames.takes(place));
        let frames = frames.ok_or_else(|| {
            gst::loggable_error!(
                CAT,
                "Frames in a GPU's memory need operations that work there, their models too \
                 (device=cuda), and those in CUDAMemory GStreamer's CUDA library; the log says \
                 what is missing; put cudadownload or nvvideoconvert before this element"
            )
        })?;
        Ok(Some(OnCard {
            place,
            coming: frames.another(),
            going: frames.another(),
            stream: Stream::new(frames.gpu().clone()),
        }))
    }

    /// A buffer for a frame that comes out, with the time stamps and metas of another.
    fn buffer_like(&self, source: &gst::Buffer) -> Result<gst::Buffer, gst::FlowError> {
        let prepared = BaseTransformImplExt::parent_prepare_output_buffer(
            self,
            InputBuffer::Readable(source),
        )?;
        match prepared {
            PrepareOutputBufferSuccess::Buffer(out) => Ok(out),
            _ => Err(gst::FlowError::Error),
        }
    }

    /// A frame in a GPU's memory into another there, or, in NVMM where the chain allows it, changed where it is. What
    /// may leave the chain then is done.
    pub fn enhance_on_device(&self, source: gst::Buffer) -> Result<(), gst::FlowError> {
        let (gives, like) = match lock(&self.state).as_ref() {
            Some(state) if state.device.is_some() => (
                state.chain.gives_on_device() && !state.in_place(),
                // What comes out is an earlier frame, where steps are behind.
                state.sources.front().cloned(),
            ),
            _ => return Err(gst::FlowError::NotNegotiated),
        };
        let out = match gives {
            true => Some(self.buffer_like(like.as_ref().unwrap_or(&source))?),
            false => None,
        };
        drop(like);
        self.on_chain(|state| state.process_on_device(source, out))
    }

    /// Makes what steps keep in a GPU's memory: nothing more comes for now.
    pub fn drain_on_device(&self) -> Result<(), gst::FlowError> {
        loop {
            let like = match lock(&self.state).as_ref() {
                Some(state) if state.device.is_some() => state.sources.front().cloned(),
                _ => None,
            };
            let Some(like) = like else {
                return Ok(());
            };
            let out = self.buffer_like(&like)?;
            self.on_chain(|state| state.give_on_device(out))?;
        }
    }

    fn on_chain(
        &self,
        work: impl FnOnce(&mut State) -> Result<(), gst::ErrorMessage>,
    ) -> Result<(), gst::FlowError> {
        let outcome = {
            let mut guard = lock(&self.state);
            let state = guard.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
            let outcome = work(state);
            if outcome.is_err() {
                state.chain.reset();
                state.sources.clear();
            }
            lock(&self.report).measurements = state.chain.measurements();
            outcome
        };
        outcome.map_err(|message| {
            self.post_error_message(message);
            gst::FlowError::Error
        })
    }
}

fn wrong(reason: impl std::fmt::Display) -> gst::ErrorMessage {
    gst::error_msg!(gst::StreamError::Format, ("a frame: {reason}"))
}

fn picture(
    info: &gst_video::VideoInfo,
    frame: &cuda::DeviceFrame,
) -> Result<aivideo_cuda::picture::Picture, gst::ErrorMessage> {
    frame
        .yuv(info)
        .ok_or_else(|| wrong("its planes are not those of its format"))
}

/// Time stamps and metas of a frame, without its memory, which others may need.
fn without_memory(frame: &gst::Buffer) -> Result<gst::Buffer, gst::ErrorMessage> {
    let mut copy = gst::Buffer::new();
    let flags =
        gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::META;
    frame
        .copy_into(copy.make_mut(), flags, ..)
        .map_err(|_| wrong("its time stamps cannot be copied"))?;
    Ok(copy)
}

impl State {
    /// Whether frames are changed where they are.
    fn in_place(&self) -> bool {
        let place = self.device.as_ref().map(|card| card.place);
        place == Some(Place::Nvmm) && self.chain.works_in_place()
    }

    /// Has a frame in a GPU's memory go through the chain, waits for what comes out, if anything, in `out`, and lets
    /// those go that need not wait for others. Without `out` a frame is changed where it is.
    #[allow(unsafe_code)] // the GPU uses the frames' memory
    fn process_on_device(
        &mut self,
        mut source: gst::Buffer,
        mut out: Option<gst::Buffer>,
    ) -> Result<(), gst::ErrorMessage> {
        let behind = self.chain.behind_on_device() > 0;
        let access = match self.in_place() {
            true => Access::Change,
            false => Access::Read,
        };
        let (Some((in_info, out_info)), Some(card)) = (&self.infos, &mut self.device) else {
            return Err(wrong("it came before its format was known"));
        };
        let found = {
            let from = card
                .coming
                .map(source.make_mut(), in_info, card.place, access)
                .map_err(wrong)?;
            let to = match &mut out {
                Some(out) => Some(
                    card.going
                        .map(out.make_mut(), out_info, card.place, Access::Fill)
                        .map_err(wrong)?,
                ),
                None => None,
            };
            let input = picture(in_info, &from)?;
            let output = match &to {
                Some(to) => Some(picture(out_info, to)?),
                None => None,
            };
            // SAFETY: both frames are mapped until the GPU was waited for, below or by dropping them.
            let found = unsafe {
                self.chain
                    .process_on_device(&card.stream, &input, output.as_ref())
            }
            .map_err(|error| error.to_error_message())?;
            match to {
                Some(to) => cuda::DeviceFrame::finish_all([from, to]),
                None => from.finish(),
            }
            .map_err(wrong)?;
            found
        };
        self.chain
            .collect_from_device(&card.stream)
            .map_err(|error| error.to_error_message())?;
        if behind {
            self.sources.push_back(without_memory(&source)?);
            if out.is_some() {
                self.sources.pop_front();
            }
        }
        let made = out.unwrap_or(source);
        self.held.extend(found.map(|found| (made, found)));
        self.release(false);
        Ok(())
    }

    /// The next frame that steps keep.
    #[allow(unsafe_code)] // the GPU uses the frame's memory
    fn give_on_device(&mut self, mut out: gst::Buffer) -> Result<(), gst::ErrorMessage> {
        self.sources.pop_front();
        let (Some((_, info)), Some(card)) = (&self.infos, &mut self.device) else {
            return Err(wrong("it came before its format was known"));
        };
        let found = {
            let to = card
                .going
                .map(out.make_mut(), info, card.place, Access::Fill)
                .map_err(wrong)?;
            let output = picture(info, &to)?;
            // SAFETY: the frame is mapped until the GPU was waited for, below or by dropping it.
            let found = unsafe { self.chain.drain_on_device(&card.stream, &output) }
                .map_err(|error| error.to_error_message())?;
            to.finish().map_err(wrong)?;
            found
        };
        self.chain
            .collect_from_device(&card.stream)
            .map_err(|error| error.to_error_message())?;
        self.held.extend(found.map(|found| (out, found)));
        Ok(())
    }

    /// Frames that may leave the chain are done; with `drain`, all.
    pub fn release(&mut self, drain: bool) {
        while !self.held.is_empty() && self.chain.leave_device(drain) {
            if let Some((buffer, found)) = self.held.pop_front() {
                self.done.push_back((buffer, Done::Made(found)));
            }
        }
    }
}
