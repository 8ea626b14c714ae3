// SPDX-License-Identifier: Apache-2.0
//! A bounded queue whose giver never waits and whose taker says when a line is delivered.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

#[derive(Default)]
struct State {
    lines: VecDeque<String>,
    /// Taken and neither delivered nor given back.
    under_way: usize,
    closed: bool,
}

pub struct Queue {
    state: Mutex<State>,
    size: usize,
    /// A line came, or the end.
    filled: Notify,
    delivered: Condvar,
}

impl Queue {
    pub fn new(size: usize) -> Self {
        Self {
            state: Mutex::default(),
            size: size.max(1),
            filled: Notify::new(),
            delivered: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Adds a line; says how many old ones fell out for it.
    pub fn push(&self, line: String) -> usize {
        let mut state = self.state();
        if state.closed {
            return 1;
        }
        state.lines.push_back(line);
        let mut dropped = 0;
        while state.lines.len() > self.size {
            state.lines.pop_front();
            dropped += 1;
        }
        drop(state);
        self.filled.notify_one();
        dropped
    }

    /// The oldest lines, at most so many; none at the end. For one taker.
    pub async fn take(&self, most: usize) -> Vec<String> {
        loop {
            {
                let mut state = self.state();
                let count = state.lines.len().min(most);
                if count > 0 {
                    state.under_way += count;
                    return state.lines.drain(..count).collect();
                }
                if state.closed {
                    return Vec::new();
                }
            }
            self.filled.notified().await;
        }
    }

    /// Lines that were taken have arrived, or are given up.
    pub fn done(&self, count: usize) {
        let mut state = self.state();
        state.under_way = state.under_way.saturating_sub(count);
        if state.under_way == 0 && state.lines.is_empty() {
            self.delivered.notify_all();
        }
    }

    /// Lines that were taken have to be taken again, in this order. Says how many fell out, because
    /// newer ones fill the queue.
    pub fn give_back(&self, lines: Vec<String>) -> usize {
        let mut state = self.state();
        state.under_way = state.under_way.saturating_sub(lines.len());
        let room = self.size.saturating_sub(state.lines.len());
        let dropped = lines.len().saturating_sub(room);
        for line in lines.into_iter().skip(dropped).rev() {
            state.lines.push_front(line);
        }
        drop(state);
        self.filled.notify_one();
        dropped
    }

    pub fn undelivered(&self) -> usize {
        let state = self.state();
        state.lines.len() + state.under_way
    }

    pub fn wait_delivered(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut state = self.state();
        while state.under_way > 0 || !state.lines.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            (state, _) = self
                .delivered
                .wait_timeout(state, left)
                .unwrap_or_else(|e| e.into_inner());
        }
        true
    }

    /// Forgets everything; says how many lines that were.
    pub fn abandon(&self) -> usize {
        let mut state = self.state();
        let count = state.lines.len() + state.under_way;
        state.lines.clear();
        state.under_way = 0;
        count
    }

    /// No more lines come.
    pub fn close(&self) {
        self.state().closed = true;
        self.filled.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Push,
        Take(usize),
        Done,
        GiveBack,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Push),
            1 => (1usize..5).prop_map(Step::Take),
            1 => Just(Step::Done),
            1 => Just(Step::GiveBack),
        ]
    }

    proptest! {
        /// Lines leave in their order, each once; every one is delivered, waiting, under way or
        /// counted as dropped; the queue never holds more than its size.
        #[test]
        fn nothing_is_lost_unseen(size in 1usize..6, steps in prop::collection::vec(step(), 0..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let queue = Queue::new(size);
            let (mut pushed, mut dropped, mut delivered) = (0, 0, Vec::new());
            let mut taken: Vec<String> = Vec::new();
            for step in steps {
                match step {
                    Step::Push => {
                        dropped += queue.push(pushed.to_string());
                        pushed += 1;
                    }
                    Step::Take(most) if queue.undelivered() > taken.len() => {
                        taken.extend(runtime.block_on(queue.take(most)));
                    }
                    Step::Take(_) => {}
                    Step::Done => {
                        queue.done(taken.len());
                        delivered.append(&mut taken);
                    }
                    Step::GiveBack => dropped += queue.give_back(std::mem::take(&mut taken)),
                }
                prop_assert!(queue.undelivered() - taken.len() <= size);
                prop_assert_eq!(queue.undelivered() + delivered.len() + dropped, pushed);
            }
            let numbers: Vec<usize> = delivered.iter().map(|line| line.parse().unwrap()).collect();
            prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }

    #[test]
    fn waiting_ends_with_the_last_delivery_or_the_limit() {
        let queue = Queue::new(3);
        assert!(queue.wait_delivered(Duration::ZERO));
        queue.push("a".into());
        assert!(!queue.wait_delivered(Duration::from_millis(1)));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        assert_eq!(runtime.block_on(queue.take(9)), ["a"]);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.wait_delivered(Duration::from_secs(20)));
            queue.done(1);
            assert!(waiting.join().unwrap());
        });
        queue.close();
        assert_eq!(queue.push("b".into()), 1);
        assert!(runtime.block_on(queue.take(9)).is_empty());
    }
}
