// SPDX-License-Identifier: Apache-2.0
//! The one thread that runs a model: it takes requests from a bounded queue, joins them into
//! batches and answers each.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::{
    batch::{self, Batching, Inputs, Outputs},
    oneshot,
};
use crate::{error::EngineError, stats::Counters};

pub(super) type Answer = Result<Outputs, EngineError>;

/// One request.
pub(super) struct Job {
    pub inputs: Inputs,
    pub submitted: Instant,
    pub reply: oneshot::Sender<Answer>,
}

/// What the worker runs: the session, or a stand-in in tests.
pub(super) trait Model: Send + 'static {
    fn run(&mut self, inputs: Inputs) -> Answer;
    /// For messages.
    fn origin(&self) -> &str;
}

pub(super) struct Worker<M> {
    pub model: M,
    pub queue: Receiver<Job>,
    pub batching: Batching,
    pub timeout: Duration,
    pub counters: Arc<Counters>,
}

impl<M: Model> Worker<M> {
    /// Serves until the last user is gone.
    pub(super) fn serve(mut self) {
        let mut carried = None;
        loop {
            let first = match carried.take() {
                Some(job) => job,
                None => match self.queue.recv() {
                    Ok(job) => job,
                    Err(_) => return,
                },
            };
            if first.reply.is_abandoned() {
                continue; // flushed
            }
            let jobs = self.gather(first, &mut carried);
            self.answer(jobs);
        }
    }

    /// Waits for more requests that fit into the same run. The time-out counts from the first
    /// one's submission: what waited while the previous batch ran does not wait again.
    fn gather(&self, first: Job, carried: &mut Option<Job>) -> Vec<Job> {
        let limit = self.batching.limit();
        let deadline = first.submitted + self.timeout;
        let mut rows = batch::rows(&first.inputs);
        let mut jobs = vec![first];
        while rows < limit && self.batching != Batching::None {
            let left = deadline.saturating_duration_since(Instant::now());
            let job = match self.queue.recv_timeout(left) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            };
            if job.reply.is_abandoned() {
                continue;
            }
            let more = batch::rows(&job.inputs);
            if rows + more > limit || !batch::compatible(&jobs[0].inputs, &job.inputs) {
                *carried = Some(job);
                break;
            }
            rows += more;
            jobs.push(job);
        }
        jobs
    }

    fn answer(&mut self, jobs: Vec<Job>) {
        let rows: Vec<usize> = jobs.iter().map(|job| batch::rows(&job.inputs)).collect();
        let mut inputs = Vec::with_capacity(jobs.len());
        let mut replies = Vec::with_capacity(jobs.len());
        for job in jobs {
            inputs.push(job.inputs);
            replies.push((job.submitted, job.reply));
        }
        let answers = if replies.len() == 1 {
            vec![
                self.run_joined(inputs, &rows)
                    .map(|mut parts| parts.remove(0)),
            ]
        } else {
            // If the batch fails, each is run alone, so that only the guilty one gets the error.
            match self.run_joined(inputs.clone(), &rows) {
                Ok(parts) => parts.into_iter().map(Ok).collect(),
                Err(_) => inputs
                    .into_iter()
                    .zip(&rows)
                    .map(|(inputs, rows)| {
                        self.run_joined(vec![inputs], &[*rows])
                            .map(|mut parts| parts.remove(0))
                    })
                    .collect(),
            }
        };
        for ((submitted, reply), answer) in replies.into_iter().zip(answers) {
            self.counters.answered(submitted.elapsed(), answer.is_ok());
            reply.send(answer);
        }
    }

    /// Joins, runs and splits; a panic becomes an error. On success there is one part for each
    /// request.
    fn run_joined(
        &mut self,
        requests: Vec<Inputs>,
        rows: &[usize],
    ) -> Result<Vec<Outputs>, EngineError> {
        let batching = self.batching;
        let model = &mut self.model;
        let counters = &self.counters;
        // The model is only used again through `run`, which starts afresh.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let joined = batch::join(batching, requests)?;
            let start = Instant::now();
            let outputs = model.run(joined);
            counters.ran(start.elapsed());
            batch::split(batching, outputs?, rows).ok_or_else(|| EngineError::Run {
                model: model.origin().to_string(),
                reason:
                    "its outputs do not have one row for each row of the inputs; set batch-size=1"
                        .to_string(),
            })
        }));
        result.unwrap_or_else(|panic| {
            let reason = panic
                .downcast_ref::<&str>()
                .map(ToString::to_string)
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "unknown".to_string());
            Err(EngineError::Run {
                model: self.model.origin().to_string(),
                reason: format!("internal error (panic): {reason}"),
            })
        })
    }
}
