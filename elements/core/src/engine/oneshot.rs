// SPDX-License-Identifier: Apache-2.0
//! A channel for one answer. Unlike the standard ones it tells the sender that nobody waits any
//! more, so that the worker can skip work whose user has flushed.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

enum State<T> {
    Waiting,
    Sent(T),
    /// The answer was taken, or the sender went away without one.
    Closed,
}

struct Slot<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Each state is written in one assignment, so a panic leaves none half done.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

pub(super) struct Sender<T>(Arc<Slot<T>>);
pub(super) struct Receiver<T>(Arc<Slot<T>>);

pub(super) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Arc::new(Slot {
        state: Mutex::new(State::Waiting),
        changed: Condvar::new(),
    });
    (Sender(slot.clone()), Receiver(slot))
}

impl<T> Sender<T> {
    pub(super) fn send(self, value: T) {
        *self.0.lock() = State::Sent(value);
        self.0.changed.notify_one();
    }

    /// Whether the receiver was dropped.
    pub(super) fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if matches!(*state, State::Waiting) {
            *state = State::Closed;
            self.0.changed.notify_one();
        }
    }
}

impl<T> Receiver<T> {
    /// Blocks; `None` when the sender went away without an answer.
    pub(super) fn recv(self) -> Option<T> {
        let mut state = self.0.lock();
        while matches!(*state, State::Waiting) {
            state = self
                .0
                .changed
                .wait(state)
                .unwrap_or_else(|e| e.into_inner());
        }
        match std::mem::replace(&mut *state, State::Closed) {
            State::Sent(value) => Some(value),
            _ => None,
        }
    }

    /// Waits at most `timeout`. `None` when there is no answer yet; `Some(None)` when there will
    /// be none, or it was taken before.
    pub(super) fn recv_timeout(&mut self, timeout: Duration) -> Option<Option<T>> {
        let deadline = Instant::now() + timeout;
        let mut state = self.0.lock();
        while matches!(*state, State::Waiting) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self
                .0
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(|e| e.into_inner())
                .0;
        }
        Some(match std::mem::replace(&mut *state, State::Closed) {
            State::Sent(value) => Some(value),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_arrive_across_threads() {
        let (tx, rx) = channel();
        let thread = std::thread::spawn(move || rx.recv());
        tx.send(7);
        assert_eq!(thread.join().unwrap(), Some(7));
    }

    #[test]
    fn a_dropped_sender_ends_the_wait() {
        let (tx, rx) = channel::<i32>();
        drop(tx);
        assert_eq!(rx.recv(), None);
    }

    #[test]
    fn polling_takes_the_answer_once() {
        let (tx, mut rx) = channel();
        assert_eq!(rx.recv_timeout(Duration::ZERO), None);
        tx.send(1);
        assert_eq!(rx.recv_timeout(Duration::ZERO), Some(Some(1)));
        assert_eq!(rx.recv_timeout(Duration::ZERO), Some(None));
    }

    #[test]
    fn the_sender_sees_that_nobody_waits() {
        let (tx, rx) = channel::<i32>();
        assert!(!tx.is_abandoned());
        drop(rx);
        assert!(tx.is_abandoned());
    }
}
