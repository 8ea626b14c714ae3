// SPDX-License-Identifier: Apache-2.0
//! A frame on its way out of a GPU: a thread waits for it and sends it, so that it waits for no other to come,
//! while the element decodes the next one's symbols.
//!
//! Sending takes the base class's lock on the stream, which the element's streaming thread holds while it is at
//! work: that one sends the frame itself, before it begins another, instead of waiting.

use super::imp::CAT;
use aivideo_core::cuda::Work;
use aivideo_core::element::lock;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A frame that was started, by the base class's number.
struct Begun {
    number: u32,
    work: Arc<Work>,
}

#[derive(Default)]
struct Slot {
    begun: Option<Begun>,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
}

/// The frame that is on its way, if any.
#[derive(Clone, Default)]
pub struct Outbox(Arc<Shared>);

impl Outbox {
    pub fn first(&self) -> Option<(u32, Arc<Work>)> {
        let slot = lock(&self.0.slot);
        let begun = slot.begun.as_ref()?;
        Some((begun.number, begun.work.clone()))
    }

    /// Takes the frame out, if it is still this one. Numbers may come again after a flush.
    pub fn take(&self, work: &Arc<Work>) -> bool {
        let begun = &mut lock(&self.0.slot).begun;
        begun.take_if(|b| Arc::ptr_eq(&b.work, work)).is_some()
    }

    /// Forgets the frame, once the GPU has no more to do with it.
    pub fn clear(&self) {
        let begun = lock(&self.0.slot).begun.take();
        if let Some(begun) = begun
            && let Err(error) = begun.work.wait()
        {
            gst::debug!(CAT, "frame {} of no use: {error}", begun.number);
        }
    }

    /// Waits for a frame; false where none will come.
    fn wait(&self) -> bool {
        let mut slot = lock(&self.0.slot);
        while slot.begun.is_none() {
            if slot.closed {
                return false;
            }
            slot = (self.0.changed.wait(slot)).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}

/// The thread and what it shares.
pub struct Sender {
    outbox: Outbox,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    /// `send` is called, on a thread of its own, when there is a frame, and takes it by [`Outbox::first`] and
    /// [`Outbox::take`].
    pub fn new(send: impl Fn(&Outbox) + Send + 'static) -> std::io::Result<Self> {
        let outbox = Outbox::default();
        let own = outbox.clone();
        let thread = std::thread::Builder::new().name("aicodecdec:send".to_owned());
        let thread = thread.spawn(move || {
            while own.wait() {
                send(&own);
            }
        })?;
        Ok(Self {
            outbox,
            thread: Some(thread),
        })
    }

    /// Gives a frame to be sent; the one before must have been taken.
    pub fn give(&self, number: u32, work: Work) {
        let work = Arc::new(work);
        lock(&self.outbox.0.slot).begun = Some(Begun { number, work });
        self.outbox.0.changed.notify_all();
    }

    pub fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // Ends the thread when it has sent what there is.
        lock(&self.outbox.0.slot).closed = true;
        self.outbox.0.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It has said what went wrong.
            let _ = thread.join();
        }
        self.outbox.clear();
    }
}
