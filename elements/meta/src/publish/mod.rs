// SPDX-License-Identifier: Apache-2.0
//! Lines to where they are wanted, without ever making the giver wait.
//!
//! A [`Publisher`] owns one thread and a bounded queue. When the receiver is slow or gone, the
//! oldest lines fall out of the queue and are counted: of live results the newest matter.

mod file;
mod kafka;
mod mqtt;
pub mod queue;
pub mod target;
pub mod tls;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use queue::Queue;
pub use target::{Target, TargetError};

/// What happened on the publisher's thread, for people.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The receiver is not there, or refused something. Reported once until it is back.
    Lost(String),
    /// It is there, after [`Event::Lost`].
    Back,
}

type Listener = Box<dyn Fn(Event) + Send + Sync>;

/// Figures of one publisher.
#[derive(Default)]
pub struct Counters {
    /// Lines that the receiver has (MQTT with mqtt-qos=0: that were sent).
    pub published: AtomicU64,
    /// Lines that fell out of the queue, were too long, or were not delivered before the end.
    pub dropped: AtomicU64,
    /// Connections after the first.
    pub reconnects: AtomicU64,
    pub connected: AtomicBool,
}

impl Counters {
    fn published(&self, lines: usize) {
        self.published.fetch_add(lines as u64, Ordering::Relaxed);
    }

    fn dropped(&self, lines: usize) {
        self.dropped.fetch_add(lines as u64, Ordering::Relaxed);
    }
}

/// What a way to publish has of its publisher.
struct Link {
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    listener: Listener,
    lost: AtomicBool,
    was_connected: AtomicBool,
}

impl Link {
    fn connected(&self) {
        self.counters.connected.store(true, Ordering::Relaxed);
        if self.was_connected.swap(true, Ordering::Relaxed) {
            self.counters.reconnects.fetch_add(1, Ordering::Relaxed);
        }
        if self.lost.swap(false, Ordering::Relaxed) {
            (self.listener)(Event::Back);
        }
    }

    fn lost(&self, reason: String) {
        self.counters.connected.store(false, Ordering::Relaxed);
        if !self.lost.swap(true, Ordering::Relaxed) {
            (self.listener)(Event::Lost(reason));
        }
    }
}

/// Waits between attempts to connect: 0.25 s, doubled up to 8 s.
struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(8);

    fn new() -> Self {
        Self(Self::FIRST)
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Self::LONGEST);
    }
}

pub struct Publisher {
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    thread: Option<std::thread::JoinHandle<()>>,
    finished: std::sync::mpsc::Receiver<()>,
    stop: Arc<tokio::sync::Notify>,
}

impl Publisher {
    /// Opens files now; connects to brokers in the background, again and again.
    pub fn start(
        target: Target,
        queue_size: usize,
        listener: Listener,
    ) -> Result<Self, TargetError> {
        let queue = Arc::new(Queue::new(queue_size));
        let counters = Arc::new(Counters::default());
        let stop = Arc::new(tokio::sync::Notify::new());
        let link = Link {
            queue: queue.clone(),
            counters: counters.clone(),
            listener,
            lost: AtomicBool::new(false),
            was_connected: AtomicBool::new(false),
        };
        let file = match &target {
            Target::File { path, append } => Some(file::open(path, *append)?),
            _ => None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|err| TargetError::Thread(err.to_string()))?;
        let (finish, finished) = std::sync::mpsc::channel();
        let stopped = stop.clone();
        let run = move || {
            let work = async {
                match target {
                    Target::File { .. } => match file {
                        Some(file) => file::run(&link, file).await,
                        None => unreachable!("it was opened above"),
                    },
                    Target::Stdout => file::run(&link, std::io::stdout()).await,
                    Target::Mqtt(settings) => mqtt::run(&link, settings).await,
                    Target::Kafka(settings) => kafka::run(&link, settings).await,
                }
            };
            runtime.block_on(async {
                tokio::select! {
                    () = work => {}
                    () = stopped.notified() => {}
                }
            });
            // Not: waits for nothing that is still under way.
            runtime.shutdown_background();
            let _ = finish.send(());
        };
        let thread = std::thread::Builder::new()
            .name("aimetapublish".into())
            .spawn(run)
            .map_err(|err| TargetError::Thread(err.to_string()))?;
        Ok(Self {
            queue,
            counters,
            thread: Some(thread),
            finished,
            stop,
        })
    }

    /// Never waits.
    pub fn publish(&self, line: String) {
        self.counters.dropped(self.queue.push(line));
    }

    /// Waits until every line is delivered, or for so long; says whether they were.
    pub fn drain(&self, limit: Duration) -> bool {
        self.queue.wait_delivered(limit)
    }

    /// Delivers what it can within the limit and ends the thread. What is left counts as dropped.
    pub fn finish(&mut self, limit: Duration) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.drain(limit);
        self.queue.close();
        // A broker gets a moment to hear the goodbye.
        if self
            .finished
            .recv_timeout(Duration::from_millis(500))
            .is_err()
        {
            self.stop.notify_one();
            let _ = self.finished.recv_timeout(Duration::from_millis(500));
        }
        self.counters.dropped(self.queue.abandon());
        self.counters.connected.store(false, Ordering::Relaxed);
        if thread.is_finished() {
            let _ = thread.join();
        }
        // Else it hangs in a write to a dead terminal or disk, and ends with that.
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Lines that wait, and those under way.
    pub fn queued(&self) -> usize {
        self.queue.undelivered()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.finish(Duration::ZERO);
    }
}
