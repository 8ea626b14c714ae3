// SPDX-License-Identifier: Apache-2.0
//! The requests that wait for a model: each user has room of its own, and who was served longest
//! ago is next. A camera that asks often keeps neither another one's request out nor it waiting.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Instant,
};

/// A request in the queue.
pub(super) trait Request {
    fn user(&self) -> u64;
    /// Nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool;
}

struct Inner<T> {
    /// In the order they came.
    waiting: VecDeque<T>,
    /// When each user was last served, as a count of turns.
    served: HashMap<u64, u64>,
    turns: u64,
    senders: usize,
    receiving: bool,
}

struct Shared<T> {
    inner: Mutex<Inner<T>>,
    /// Requests that one user may have waiting.
    room: usize,
    came: Condvar,
    went: Condvar,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // No panic can happen between two writes that belong together.
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }
}

pub(super) struct Sender<T>(Arc<Shared<T>>);
pub(super) struct Receiver<T>(Arc<Shared<T>>);

/// Why a request was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The user has as many requests waiting as it may.
    Full,
    /// The worker is gone.
    Stopped,
}

/// Users are forgotten beyond this many, so that those that come and go do not add up.
const MOST_USERS: usize = 1024;

pub(super) fn channel<T: Request>(room: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        inner: Mutex::new(Inner {
            waiting: VecDeque::new(),
            served: HashMap::new(),
            turns: 0,
            senders: 1,
            receiving: true,
        }),
        room: room.max(1),
        came: Condvar::new(),
        went: Condvar::new(),
    });
    (Sender(shared.clone()), Receiver(shared))
}

impl<T: Request> Inner<T> {
    fn has_room(&mut self, user: u64, room: usize) -> bool {
        let count = |inner: &Self| {
            inner
                .waiting
                .iter()
                .filter(|job| job.user() == user)
                .count()
        };
        if count(self) < room {
            return true;
        }
        self.waiting.retain(|job| !job.is_abandoned());
        count(self) < room
    }

    /// The oldest request of the user that was served longest ago.
    fn next(&mut self) -> Option<T> {
        self.waiting.retain(|job| !job.is_abandoned());
        let turn = |job: &T| self.served.get(&job.user()).copied().unwrap_or(0);
        // The first of equals: the one that came first.
        let (index, _) = self
            .waiting
            .iter()
            .enumerate()
            .min_by_key(|(_, job)| turn(job))?;
        let job = self.waiting.remove(index)?;
        if self.served.len() >= MOST_USERS {
            self.served.clear();
        }
        self.turns += 1;
        self.served.insert(job.user(), self.turns);
        Some(job)
    }
}

impl<T: Request> Sender<T> {
    /// Waits while the user has no room.
    pub(super) fn send(&self, job: T) -> Result<(), Refused> {
        let mut inner = self.0.lock();
        loop {
            if !inner.receiving {
                return Err(Refused::Stopped);
            }
            if inner.has_room(job.user(), self.0.room) {
                break;
            }
            inner = self.0.went.wait(inner).unwrap_or_else(|e| e.into_inner());
        }
        inner.waiting.push_back(job);
        self.0.came.notify_one();
        Ok(())
    }

    pub(super) fn try_send(&self, job: T) -> Result<(), Refused> {
        let mut inner = self.0.lock();
        if !inner.receiving {
            return Err(Refused::Stopped);
        }
        if !inner.has_room(job.user(), self.0.room) {
            return Err(Refused::Full);
        }
        inner.waiting.push_back(job);
        self.0.came.notify_one();
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().waiting.len()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().senders -= 1;
        self.0.came.notify_all();
    }
}

impl<T: Request> Receiver<T> {
    /// The next request; `None` when no sender is left and nothing waits.
    pub(super) fn recv(&self) -> Option<T> {
        let mut inner = self.0.lock();
        loop {
            if let Some(job) = inner.next() {
                drop(inner);
                self.0.went.notify_all();
                return Some(job);
            }
            if inner.senders == 0 {
                return None;
            }
            inner = self.0.came.wait(inner).unwrap_or_else(|e| e.into_inner());
        }
    }

    /// The next request if one comes before `deadline`.
    pub(super) fn recv_until(&self, deadline: Instant) -> Option<T> {
        let mut inner = self.0.lock();
        loop {
            if let Some(job) = inner.next() {
                drop(inner);
                self.0.went.notify_all();
                return Some(job);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || inner.senders == 0 {
                return None;
            }
            (inner, _) = self
                .0
                .came
                .wait_timeout(inner, left)
                .unwrap_or_else(|e| e.into_inner());
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.receiving = false;
        // Their users learn that there will be no answer.
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        drop(waiting);
        self.0.went.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
        time::Duration,
    };

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    struct Job(u64, u64, Arc<AtomicBool>);

    impl Request for Job {
        fn user(&self) -> u64 {
            self.0
        }

        fn is_abandoned(&self) -> bool {
            self.2.load(Ordering::SeqCst)
        }
    }

    fn job(user: u64, number: u64) -> Job {
        Job(user, number, Arc::default())
    }

    fn order(receiver: &Receiver<Job>, count: usize) -> Vec<(u64, u64)> {
        (0..count)
            .map(|_| receiver.recv().map(|job| (job.0, job.1)).unwrap())
            .collect()
    }

    #[test]
    fn users_take_turns_and_each_keeps_its_order() {
        let (sender, receiver) = channel(3);
        for (user, number) in [(1, 0), (1, 1), (1, 2), (2, 0), (3, 0), (2, 1)] {
            sender.send(job(user, number)).unwrap();
        }
        assert_eq!(
            order(&receiver, 6),
            [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (1, 2)]
        );
    }

    #[test]
    fn a_full_user_keeps_no_other_out() {
        let (sender, receiver) = channel(2);
        sender.try_send(job(1, 0)).unwrap();
        sender.try_send(job(1, 1)).unwrap();
        assert_eq!(sender.try_send(job(1, 2)), Err(Refused::Full));
        sender.try_send(job(2, 0)).unwrap();
        assert_eq!(sender.len(), 3);
        assert_eq!(order(&receiver, 3), [(1, 0), (2, 0), (1, 1)]);
    }

    #[test]
    fn abandoned_requests_make_room_and_are_not_served() {
        let (sender, receiver) = channel(1);
        let stale = job(1, 0);
        sender.try_send(stale.clone()).unwrap();
        stale.2.store(true, Ordering::SeqCst);
        sender.try_send(job(1, 1)).unwrap();
        assert_eq!(order(&receiver, 1), [(1, 1)]);
        assert!(receiver.recv_until(Instant::now()).is_none());
    }

    #[test]
    fn a_waiting_sender_goes_on_when_there_is_room_and_when_the_worker_ends() {
        let (sender, receiver) = channel(1);
        sender.send(job(1, 0)).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| sender.send(job(1, 1)));
            thread::sleep(Duration::from_millis(10));
            assert_eq!(order(&receiver, 1), [(1, 0)]);
            waiting.join().unwrap().unwrap();
            let waiting = scope.spawn(|| sender.send(job(1, 2)));
            thread::sleep(Duration::from_millis(10));
            drop(receiver);
            assert_eq!(waiting.join().unwrap(), Err(Refused::Stopped));
        });
        assert_eq!(sender.try_send(job(2, 0)), Err(Refused::Stopped));
    }

    #[test]
    fn what_waits_is_served_after_the_last_sender_is_gone() {
        let (sender, receiver) = channel(4);
        sender.send(job(1, 0)).unwrap();
        drop(sender);
        assert_eq!(order(&receiver, 1), [(1, 0)]);
        assert!(receiver.recv().is_none());
    }

    proptest! {
        /// Whatever comes in whatever order: nobody waits while another is served twice.
        #[test]
        fn nobody_is_overtaken_twice(users in prop::collection::vec(0u64..5, 1..40)) {
            let (sender, receiver) = channel(40);
            for (number, user) in users.iter().enumerate() {
                sender.send(job(*user, number as u64)).unwrap();
            }
            let served = order(&receiver, users.len());
            for (at, (user, number)) in served.iter().enumerate() {
                let own = served[..at].iter().filter(|(u, _)| u == user).count();
                prop_assert!(served[..at].iter().all(|(u, n)| u != user || n < number));
                for other in 0..5 {
                    let theirs = served[..at].iter().filter(|(u, _)| *u == other).count();
                    prop_assert!(theirs <= own + 1, "{other} before {user} in {served:?}");
                }
            }
        }
    }
}
