// SPDX-License-Identifier: Apache-2.0
//! The one thread that runs a model: it takes requests from a bounded queue, joins them into
//! batches and answers each.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use super::{
    batch::{self, Batching, Inputs, Outputs},
    bound::Bound,
    oneshot,
    queue::{Receiver, Request},
};
use crate::{error::EngineError, stats::Counters, tensor::Tensor};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "aivideoengine",
        gst::DebugColorFlags::empty(),
        Some("Shared models of the gst-aivideo elements"),
    )
});

pub(super) type Answer = Result<Outputs, EngineError>;

/// What a request asks for.
pub(super) enum Work {
    /// A run over these tensors of the host's memory, whose answer is the outputs.
    Tensors(Inputs),
    /// A run over memory of the GPU, whose answer is the outputs that are wanted on the host.
    Bound(Arc<Bound>),
}

/// One request.
pub(super) struct Job {
    pub user: u64,
    pub work: Work,
    pub submitted: Instant,
    pub reply: oneshot::Sender<Answer>,
}

impl Request for Job {
    fn user(&self) -> u64 {
        self.user
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_abandoned()
    }
}

/// What the worker runs: the session, or a stand-in in tests.
pub(super) trait Model: Send + 'static {
    fn run(&mut self, inputs: Inputs) -> Answer;
    fn run_bound(&mut self, bound: &Bound) -> Answer;
    /// For messages.
    fn origin(&self) -> &str;
}

/// A request for a run over tensors.
struct Tensors {
    inputs: Inputs,
    submitted: Instant,
    reply: oneshot::Sender<Answer>,
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
                    Some(job) => job,
                    None => return,
                },
            };
            if first.is_abandoned() {
                continue; // flushed while it was carried over
            }
            match first.work {
                Work::Bound(bound) => {
                    let answer = self.contained(|model, counters| {
                        let start = Instant::now();
                        let answer = model.run_bound(&bound);
                        counters.ran(start.elapsed());
                        if let Ok(outputs) = &answer {
                            counters.carried(outputs.iter().map(|(_, t)| t.bytes()).sum());
                        }
                        answer
                    });
                    self.reply(first.submitted, first.reply, answer);
                }
                Work::Tensors(inputs) => {
                    let first = Tensors {
                        inputs,
                        submitted: first.submitted,
                        reply: first.reply,
                    };
                    let jobs = self.gather(first, &mut carried);
                    self.answer(jobs);
                }
            }
        }
    }

    /// Waits for more requests that fit into the same run. The time-out counts from the first
    /// one's submission: what waited while the previous batch ran does not wait again.
    fn gather(&self, first: Tensors, carried: &mut Option<Job>) -> Vec<Tensors> {
        let limit = self.batching.limit();
        let deadline = first.submitted + self.timeout;
        let mut rows = batch::rows(&first.inputs);
        let mut jobs = vec![first];
        while rows < limit && self.batching != Batching::None {
            let Some(job) = self.queue.recv_until(deadline) else {
                break;
            };
            let fits = |inputs: &Inputs| {
                rows + batch::rows(inputs) <= limit && batch::compatible(&jobs[0].inputs, inputs)
            };
            match job.work {
                Work::Tensors(inputs) if fits(&inputs) => {
                    rows += batch::rows(&inputs);
                    jobs.push(Tensors {
                        inputs,
                        submitted: job.submitted,
                        reply: job.reply,
                    });
                }
                _ => {
                    *carried = Some(job);
                    break;
                }
            }
        }
        jobs
    }

    fn answer(&mut self, jobs: Vec<Tensors>) {
        let rows: Vec<usize> = jobs.iter().map(|job| batch::rows(&job.inputs)).collect();
        let mut inputs = Vec::with_capacity(jobs.len());
        let mut replies = Vec::with_capacity(jobs.len());
        for job in jobs {
            inputs.push(job.inputs);
            replies.push((job.submitted, job.reply));
        }
        let answers = match self.run_together(&inputs, &rows) {
            Some(parts) => parts.into_iter().map(Ok).collect(),
            None => inputs
                .into_iter()
                .map(|inputs| self.run_alone(inputs))
                .collect::<Vec<_>>(),
        };
        for ((submitted, reply), answer) in replies.into_iter().zip(answers) {
            self.reply(submitted, reply, answer);
        }
    }

    fn reply(&self, submitted: Instant, reply: oneshot::Sender<Answer>, answer: Answer) {
        self.counters.answered(submitted.elapsed(), answer.is_ok());
        reply.send(answer);
    }

    /// The results of a batch of several, one part each. `None` when it must be, or has to be
    /// after a failure, run one by one: then only the guilty one gets the error.
    fn run_together(&mut self, requests: &[Inputs], rows: &[usize]) -> Option<Vec<Outputs>> {
        if requests.len() < 2 {
            return None;
        }
        let batching = self.batching;
        let outputs = self
            .run_contained(|| batch::join(batching, requests))
            .ok()?;
        let parts = batch::split(batching, outputs, rows);
        if parts.is_none() {
            gst::warning!(
                CAT,
                "{}: its outputs do not have one row for each row of the inputs; batching is off",
                self.model.origin()
            );
            self.batching = Batching::None;
        }
        parts
    }

    fn run_alone(&mut self, request: Inputs) -> Answer {
        let batching = self.batching;
        let rows = batch::rows(&request);
        let outputs = self.run_contained(|| Ok(batch::alone(batching, request)))?;
        batch::split(batching, outputs, &[rows])
            .and_then(|parts| parts.into_iter().next())
            .ok_or_else(|| EngineError::Run {
                model: self.model.origin().to_string(),
                reason: "its outputs do not have one row for each row of the inputs, so that a \
                         batch of fixed size cannot be filled up; set batch-size=1"
                    .to_string(),
            })
    }

    /// One run of the model over tensors.
    fn run_contained(
        &mut self,
        inputs: impl FnOnce() -> Result<Inputs, EngineError>,
    ) -> Result<Outputs, EngineError> {
        self.contained(|model, counters| {
            let inputs = inputs()?;
            counters.carried(inputs.iter().map(Tensor::bytes).sum());
            let start = Instant::now();
            let outputs = model.run(inputs);
            counters.ran(start.elapsed());
            if let Ok(outputs) = &outputs {
                counters.carried(outputs.iter().map(|(_, tensor)| tensor.bytes()).sum());
            }
            outputs
        })
    }

    /// Uses the model; a panic becomes an error.
    fn contained<T>(
        &mut self,
        run: impl FnOnce(&mut M, &Counters) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let model = &mut self.model;
        let counters = &self.counters;
        // The model is only used again through its runs, which start afresh.
        let result = catch_unwind(AssertUnwindSafe(|| run(model, counters)));
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::engine::queue::{self, Sender};

    /// Doubles its input; panics at 13, fails at 99, gives one row for all at 1000.
    struct Doubler {
        runs: mpsc::Sender<usize>,
    }

    impl Model for Doubler {
        fn run(&mut self, mut inputs: Inputs) -> Answer {
            let tensor = inputs.remove(0);
            let shape = tensor.shape.clone();
            let values = tensor.into_i32()?;
            let _ = self.runs.send(values.len());
            assert!(!values.contains(&13), "unlucky");
            if values.contains(&99) {
                return Err(EngineError::Run {
                    model: self.origin().to_string(),
                    reason: "99".to_string(),
                });
            }
            if values.contains(&1000) {
                // A model that reduces over axis 0.
                let sum = values.iter().sum();
                return Ok(vec![("y".to_string(), Tensor::i32([1], vec![sum]))]);
            }
            let values = values.into_iter().map(|v| v * 2).collect();
            Ok(vec![("y".to_string(), Tensor::i32(shape, values))])
        }

        fn run_bound(&mut self, _: &Bound) -> Answer {
            Err(EngineError::Run {
                model: self.origin().to_string(),
                reason: "it is on no GPU".to_string(),
            })
        }

        fn origin(&self) -> &str {
            "doubler"
        }
    }

    struct Setup {
        queue: Sender<Job>,
        runs: mpsc::Receiver<usize>,
        counters: Arc<Counters>,
        thread: std::thread::JoinHandle<()>,
    }

    /// Sends the requests, then starts the worker: what is batched does not depend on timing.
    fn start(batching: Batching, requests: &[&[i32]]) -> (Setup, Vec<oneshot::Receiver<Answer>>) {
        let (queue, receiver) = queue::channel(64);
        let (runs_sender, runs) = mpsc::channel();
        let counters = Arc::new(Counters::default());
        let answers = requests.iter().map(|values| send(&queue, values)).collect();
        let worker = Worker {
            model: Doubler { runs: runs_sender },
            queue: receiver,
            batching,
            timeout: Duration::from_millis(20),
            counters: counters.clone(),
        };
        let thread = std::thread::spawn(move || worker.serve());
        let setup = Setup {
            queue,
            runs,
            counters,
            thread,
        };
        (setup, answers)
    }

    fn send(queue: &Sender<Job>, values: &[i32]) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        queue
            .send(Job {
                user: 0,
                work: Work::Tensors(vec![Tensor::i32([values.len()], values.to_vec())]),
                submitted: Instant::now(),
                reply,
            })
            .unwrap();
        answer
    }

    fn values(answer: oneshot::Receiver<Answer>) -> Result<Vec<i32>, String> {
        let outputs = answer.recv().unwrap().map_err(|err| err.to_string())?;
        Ok(outputs[0].1.as_i32().unwrap().to_vec())
    }

    /// Ends the worker and gives the sizes of its runs.
    fn finish(setup: Setup) -> Vec<usize> {
        drop(setup.queue);
        setup.thread.join().unwrap();
        setup.runs.iter().collect()
    }

    #[test]
    fn bytes_of_tensors_are_counted_both_ways() {
        let (setup, answers) = start(Batching::Dynamic(4), &[&[1], &[2, 3]]);
        for answer in answers {
            values(answer).unwrap();
        }
        let counters = setup.counters.clone();
        finish(setup);
        assert_eq!(counters.snapshot().host_bytes, 2 * 3 * 4);
    }

    #[test]
    fn batches_fill_up_to_the_limit() {
        let (setup, answers) = start(Batching::Dynamic(4), &[&[1], &[2, 3], &[4], &[5]]);
        let answers: Vec<_> = answers.into_iter().map(values).collect();
        assert_eq!(
            answers,
            [Ok(vec![2]), Ok(vec![4, 6]), Ok(vec![8]), Ok(vec![10])]
        );
        assert_eq!(finish(setup), [4, 1]);
    }

    #[test]
    fn a_request_that_does_not_fit_opens_the_next_batch() {
        let (setup, answers) = start(Batching::Dynamic(4), &[&[1, 2, 3], &[4, 5], &[6]]);
        let answers: Vec<_> = answers.into_iter().map(values).collect();
        assert_eq!(answers, [Ok(vec![2, 4, 6]), Ok(vec![8, 10]), Ok(vec![12])]);
        assert_eq!(finish(setup), [3, 3]);
    }

    #[test]
    fn without_batching_each_runs_alone() {
        let (setup, answers) = start(Batching::None, &[&[1], &[2]]);
        for answer in answers {
            values(answer).unwrap();
        }
        assert_eq!(finish(setup), [1, 1]);
    }

    #[test]
    fn an_incomplete_batch_runs_after_the_timeout() {
        let (setup, mut answers) = start(Batching::Dynamic(8), &[&[1]]);
        assert_eq!(values(answers.remove(0)), Ok(vec![2]));
        assert_eq!(finish(setup), [1]);
    }

    #[test]
    fn a_fixed_batch_is_filled_up_and_cut() {
        let (setup, answers) = start(Batching::Fixed(4), &[&[1], &[2]]);
        let answers: Vec<_> = answers.into_iter().map(values).collect();
        assert_eq!(answers, [Ok(vec![2]), Ok(vec![4])]);
        assert_eq!(finish(setup), [4]);
    }

    #[test]
    fn only_the_guilty_request_fails() {
        for (guilty, says) in [(99, "99"), (13, "unlucky")] {
            let (setup, mut answers) = start(Batching::Dynamic(3), &[&[1], &[guilty], &[3]]);
            let after = send(&setup.queue, &[4]);
            assert_eq!(values(answers.remove(0)), Ok(vec![2]));
            let err = values(answers.remove(0)).unwrap_err();
            assert!(err.contains(says) && err.contains("doubler"), "{err}");
            assert_eq!(values(answers.remove(0)), Ok(vec![6]));
            assert_eq!(values(after), Ok(vec![8]));
            let stats = setup.counters.snapshot();
            assert_eq!((stats.frames, stats.failed), (3, 1));
            finish(setup);
        }
    }

    #[test]
    fn a_model_without_a_row_each_is_not_batched_again() {
        gst::init().unwrap();
        let requests: [&[i32]; 4] = [&[1000], &[1000], &[1000], &[1000]];
        let (setup, answers) = start(Batching::Dynamic(2), &requests);
        for answer in answers {
            assert_eq!(values(answer), Ok(vec![1000]));
        }
        assert_eq!(finish(setup), [2, 1, 1, 1, 1]);
    }

    #[test]
    fn abandoned_requests_are_skipped() {
        let (queue, receiver) = queue::channel(8);
        drop(send(&queue, &[1]));
        let kept = send(&queue, &[2]);
        drop(send(&queue, &[3]));
        drop(queue);
        let (runs_sender, runs) = mpsc::channel();
        Worker {
            model: Doubler { runs: runs_sender },
            queue: receiver,
            batching: Batching::Dynamic(8),
            timeout: Duration::from_millis(20),
            counters: Arc::default(),
        }
        .serve();
        assert_eq!(values(kept), Ok(vec![4]));
        assert_eq!(runs.iter().collect::<Vec<_>>(), [1]);
    }
}
