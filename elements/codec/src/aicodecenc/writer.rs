// SPDX-License-Identifier: Apache-2.0
//! Frames on their way out while the next is made on a GPU: one thread codes their integers, another one sends
//! what is coded, so that no frame waits for the next to come.
//!
//! Coding waits for nobody, so the element may wait for it. Sending takes the base class's lock on the stream,
//! which the element's streaming thread holds while it is at work: that one sends what is coded itself, in
//! order, instead of waiting. What a frame teaches is taken in by the streaming thread alone, at a fixed place, so
//! that a stream does not depend on who was faster.

use crate::coder::rate::FrameKind;
use crate::coder::{Encoded, Lesson, Unwritten};
use aivideo_core::element::lock;
use std::collections::VecDeque;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// What the rate control learns of a frame.
#[derive(Debug, Clone, Copy)]
pub struct Note {
    pub kind: Option<FrameKind>,
    pub quality: i8,
}

/// A frame that is coded, by the base class's number.
pub struct Coded {
    pub number: u32,
    pub encoded: Encoded,
}

/// What is to be learnt of one.
pub struct Learnt {
    pub lesson: Option<Lesson>,
    pub note: Note,
    pub bytes: usize,
}

struct Job {
    number: u32,
    unwritten: Unwritten,
    note: Note,
}

#[derive(Default)]
struct Queues {
    /// Frames that were given and are not coded yet.
    given: usize,
    coded: VecDeque<Coded>,
    learnt: VecDeque<Learnt>,
    /// No more will come, or a thread has ended.
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queues: Mutex<Queues>,
    changed: Condvar,
}

impl Shared {
    /// Tells whoever waits of a change.
    fn change(&self, change: impl FnOnce(&mut Queues)) {
        change(&mut lock(&self.queues));
        self.changed.notify_all();
    }

    /// Waits for something to become true; false where it will not.
    fn wait(&self, until: impl Fn(&Queues) -> bool) -> bool {
        let mut queues = lock(&self.queues);
        while !until(&queues) {
            if queues.closed {
                return false;
            }
            queues = (self.changed.wait(queues)).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}

/// Closes the queues when its thread ends, however it does.
struct Closes(Arc<Shared>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.change(|queues| queues.closed = true);
    }
}

/// The two threads and what they share.
pub struct Writer {
    jobs: Option<Sender<Job>>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Writer {
    /// `send` is called, on a thread of its own, when there is something to send, and takes it by
    /// [`Writer::first`] and [`Writer::take`].
    pub fn new(send: impl Fn(&Sent) + Send + 'static) -> std::io::Result<Self> {
        let (jobs, received) = mpsc::channel::<Job>();
        let shared = Arc::new(Shared::default());
        let mut writer = Self {
            jobs: Some(jobs),
            shared: shared.clone(),
            threads: Vec::new(),
        };
        let closes = Closes(shared.clone());
        let coding = std::thread::Builder::new().name("aicodecenc:code".to_owned());
        writer.threads.push(coding.spawn(move || {
            for job in received {
                let (encoded, lesson) = job.unwritten.write();
                closes.0.change(|queues| {
                    queues.given -= 1;
                    queues.learnt.push_back(Learnt {
                        lesson,
                        note: job.note,
                        bytes: encoded.data.len(),
                    });
                    queues.coded.push_back(Coded {
                        number: job.number,
                        encoded,
                    });
                });
            }
        })?);
        let sent = Sent(shared);
        let sending = std::thread::Builder::new().name("aicodecenc:send".to_owned());
        writer.threads.push(sending.spawn(move || {
            while sent.0.wait(|queues| !queues.coded.is_empty()) {
                send(&sent);
            }
        })?);
        Ok(writer)
    }

    /// Gives a frame to be coded. False where nobody codes any more.
    pub fn give(&self, number: u32, unwritten: Unwritten, note: Note) -> bool {
        lock(&self.shared.queues).given += 1;
        let job = Job {
            number,
            unwritten,
            note,
        };
        self.jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok())
    }

    /// Waits until all that was given is coded. False where it will not be.
    pub fn wait(&self) -> bool {
        self.shared.wait(|queues| queues.given == 0)
    }

    /// What is coded and not sent.
    pub fn sent(&self) -> Sent {
        Sent(self.shared.clone())
    }

    /// What there is to learn, in order.
    pub fn learnt(&self) -> Vec<Learnt> {
        lock(&self.shared.queues).learnt.drain(..).collect()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Ends the coding thread when it has coded all, and that the other.
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // It has said what went wrong.
            let _ = thread.join();
        }
    }
}

/// Frames that are coded and not sent.
#[derive(Clone)]
pub struct Sent(Arc<Shared>);

impl Sent {
    /// The number of the next to be sent.
    pub fn first(&self) -> Option<u32> {
        lock(&self.0.queues).coded.front().map(|coded| coded.number)
    }

    /// The next to be sent, if it has this number.
    pub fn take(&self, number: u32) -> Option<Coded> {
        let mut queues = lock(&self.0.queues);
        match queues.coded.front() {
            Some(coded) if coded.number == number => queues.coded.pop_front(),
            _ => None,
        }
    }

    /// Forgets them all.
    pub fn clear(&self) {
        lock(&self.0.queues).coded.clear();
    }
}
