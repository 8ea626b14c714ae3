// SPDX-License-Identifier: Apache-2.0
//! What an engine did: counters and latency percentiles.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Percentiles are taken over this many last requests.
const WINDOW: usize = 1024;

/// A snapshot of an engine's counters. An engine shared by several elements counts for all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EngineStats {
    /// Requests answered with a result.
    pub frames: u64,
    /// Runs of the model.
    pub batches: u64,
    /// Requests answered with an error.
    pub failed: u64,
    /// Requests refused because the queue was full (`try_submit`).
    pub dropped: u64,
    /// Requests waiting now.
    pub queue_depth: u64,
    /// From submission to answer, in microseconds, over the last 1024 requests.
    pub latency_p50_us: u64,
    pub latency_p95_us: u64,
    pub latency_p99_us: u64,
    /// Median time of one run of the model, in microseconds, over the last 1024 runs.
    pub run_p50_us: u64,
    /// Bytes of tensors in host memory that runs took and gave. On a GPU they cross the bus.
    pub host_bytes: u64,
    /// "cpu", "cuda:0" …
    pub device: String,
    /// SHA-256 of the model, hexadecimal.
    pub model: String,
}

impl EngineStats {
    /// The `stats` property: these counters and the element's own fields.
    pub fn to_structure(&self, extra: &[(&str, glib::SendValue)]) -> gst::Structure {
        let mut structure = gst::Structure::builder("aivideo-stats")
            .field("frames", self.frames)
            .field("batches", self.batches)
            .field("failed", self.failed)
            .field("dropped", self.dropped)
            .field("queue-depth", self.queue_depth)
            .field("latency-p50-us", self.latency_p50_us)
            .field("latency-p95-us", self.latency_p95_us)
            .field("latency-p99-us", self.latency_p99_us)
            .field("run-p50-us", self.run_p50_us)
            .field("host-bytes", self.host_bytes)
            .field("device", &self.device)
            .field("model", &self.model)
            .build();
        for (name, value) in extra {
            structure.set_value(*name, value.clone());
        }
        structure
    }
}

/// The last [`WINDOW`] durations.
#[derive(Default)]
struct Window {
    samples: Vec<u32>,
    next: usize,
}

impl Window {
    fn add(&mut self, duration: Duration) {
        let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        if self.samples.len() < WINDOW {
            self.samples.push(micros);
        } else {
            self.samples[self.next] = micros;
        }
        self.next = (self.next + 1) % WINDOW;
    }

    /// Nearest-rank percentiles; zeros before the first sample.
    fn percentiles<const N: usize>(&self, percents: [u32; N]) -> [u64; N] {
        let mut sorted = self.samples.clone();
        sorted.sort_unstable();
        percents.map(|percent| {
            let rank = (sorted.len() * percent as usize).div_ceil(100);
            sorted
                .get(rank.saturating_sub(1))
                .map_or(0, |micros| u64::from(*micros))
        })
    }
}

/// Counters that the worker and the users of an engine add to.
#[derive(Default)]
pub(crate) struct Counters {
    frames: AtomicU64,
    batches: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    host_bytes: AtomicU64,
    windows: Mutex<(Window, Window)>,
}

impl Counters {
    /// One run of the model took `duration`.
    pub(crate) fn ran(&self, duration: Duration) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.windows().1.add(duration);
    }

    /// A request was answered after `latency`.
    pub(crate) fn answered(&self, latency: Duration, ok: bool) {
        if !ok {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.windows().0.add(latency);
    }

    /// A run took or gave tensors of so many bytes in host memory.
    pub(crate) fn carried(&self, bytes: u64) {
        self.host_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> EngineStats {
        let (latency, run) = {
            let windows = self.windows();
            (
                windows.0.percentiles([50, 95, 99]),
                windows.1.percentiles([50]),
            )
        };
        EngineStats {
            frames: self.frames.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            latency_p50_us: latency[0],
            latency_p95_us: latency[1],
            latency_p99_us: latency[2],
            run_p50_us: run[0],
            host_bytes: self.host_bytes.load(Ordering::Relaxed),
            ..EngineStats::default()
        }
    }

    fn windows(&self) -> std::sync::MutexGuard<'_, (Window, Window)> {
        // Numbers stay usable after a panic elsewhere.
        self.windows.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use gst::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_nearest_rank_over_the_last_window() {
        let mut window = Window::default();
        assert_eq!(window.percentiles([50, 99]), [0, 0]);
        for i in 0..(WINDOW as u64 + 100) {
            window.add(Duration::from_micros(i));
        }
        // 100..=1123 remain.
        assert_eq!(window.percentiles([50, 100]), [100 + 511, 1123]);
        let mut two = Window::default();
        two.add(Duration::from_micros(10));
        two.add(Duration::from_micros(20));
        assert_eq!(two.percentiles([50, 51, 99]), [10, 20, 20]);
    }

    #[test]
    fn structure_has_the_elements_own_fields_too() {
        gst::init().unwrap();
        let stats = EngineStats {
            frames: 3,
            device: "cpu".to_string(),
            ..EngineStats::default()
        };
        let structure = stats.to_structure(&[("keyframes", 2u64.to_send_value())]);
        assert_eq!(structure.get::<u64>("frames"), Ok(3));
        assert_eq!(structure.get::<u64>("keyframes"), Ok(2));
        assert_eq!(structure.get::<&str>("device"), Ok("cpu"));
    }
}
