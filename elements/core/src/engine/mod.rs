// SPDX-License-Identifier: Apache-2.0
//! Engines: a model loaded once, shared by its users, run by one worker thread.
//!
//! [`Engine::acquire`] gives the engine that fits the settings, loading the model if nobody has
//! it yet; that can take minutes (TensorRT), so elements call it in `start()`. Each user's requests
//! go through a bounded queue of its own; the worker takes from the users in turns and joins
//! compatible requests into batches. When the last user (engine handle or pending request) is gone,
//! the worker ends and the model is freed.
//!
//! `Session::run` of ONNX Runtime's bindings is exclusive, and its GPU providers are not safe
//! under concurrent runs: hence one thread a model.

mod bare;
mod batch;
mod bound;
mod direct;
mod message;
mod oneshot;
pub(crate) mod options;
mod queue;
mod registry;
mod session;
mod validate;
mod worker;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use self::{
    batch::Batching,
    options::Options,
    queue::{Refused, Sender},
    registry::Signature,
    session::{LoadedModel, ModelInfo},
    worker::{Answer, Job, Work, Worker},
};
use crate::{
    model,
    settings::InferenceSettings,
    stats::{Counters, EngineStats},
};

pub use bare::Bare;
pub use bound::{Binding, DeviceTensor};

pub use crate::{
    error::EngineError,
    model::ModelSource,
    stats,
    tensor::{ElementType, Tensor, TensorData, TensorInfo},
};

/// Outputs of a model by name, in its order.
pub type Outputs = Vec<(String, Tensor)>;

/// A shared model. Clones are the same user: they share the user's turn and room in the queue.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    user: u64,
}

static USERS: AtomicU64 = AtomicU64::new(0);

/// What the users of one engine share.
struct Shared {
    info: ModelInfo,
    batching: Batching,
    counters: Arc<Counters>,
    /// `None` only while dropping: closing the queue is what ends the worker.
    queue: Option<Sender<Job>>,
    worker: Option<JoinHandle<()>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(worker) = self.worker.take() {
            // Wait for the run in progress, so that memory and device are free afterwards and no
            // thread is left inside ONNX Runtime when the process exits. Panics are contained in
            // the worker; there is nobody to tell of one that was not.
            let _ = worker.join();
        }
    }
}

impl worker::Model for LoadedModel {
    fn run(&mut self, inputs: batch::Inputs) -> Answer {
        LoadedModel::run(self, inputs)
    }

    fn run_bound(&mut self, bound: &bound::Bound) -> Answer {
        LoadedModel::run_bound(self, bound)
    }

    fn origin(&self) -> &str {
        LoadedModel::origin(self)
    }
}

impl Engine {
    /// The engine for this model and these settings: one that others use already, or a new one.
    pub fn acquire(model: &ModelSource, settings: &InferenceSettings) -> Result<Self, EngineError> {
        Self::acquire_as(model, settings, registry::Conflict::Refuse)
    }

    /// As [`Self::acquire`], for a user that changes its model: another model under the same
    /// `model-instance-id` is not a conflict but its successor. From now on the id means the new
    /// one; users of the old one keep it until they change too.
    pub fn replace(model: &ModelSource, settings: &InferenceSettings) -> Result<Self, EngineError> {
        Self::acquire_as(model, settings, registry::Conflict::ReplaceModel)
    }

    fn acquire_as(
        model: &ModelSource,
        settings: &InferenceSettings,
        conflict: registry::Conflict,
    ) -> Result<Self, EngineError> {
        let options = Options::new(settings)?;
        let bytes = model.load()?;
        let signature = Signature {
            hash: model::sha256(&bytes),
            external: model.external_folder(&bytes),
            options: options.clone(),
        };
        let hash = signature.hash;
        let id = settings.model_instance_id.as_deref();
        let shared = registry::acquire(id, signature, conflict, || {
            let (session, mut info) = session::load(model, &bytes, hash, &options)?;
            let (batching, warning) =
                Batching::plan(options.batch_size, &info.inputs, &info.outputs);
            info.warnings.extend(warning);
            Shared::start(session, info, batching, options.batch_timeout).map(Arc::new)
        })?;
        Ok(Self {
            shared,
            user: USERS.fetch_add(1, Ordering::Relaxed),
        })
    }

    pub fn inputs(&self) -> &[TensorInfo] {
        &self.shared.info.inputs
    }

    pub fn outputs(&self) -> &[TensorInfo] {
        &self.shared.info.outputs
    }

    /// An entry of the model's `metadata_props`.
    pub fn metadata(&self, key: &str) -> Option<String> {
        self.shared.info.metadata.get(key).cloned()
    }

    /// SHA-256 of the model's bytes.
    pub fn model_hash(&self) -> &[u8; 32] {
        &self.shared.info.hash
    }

    /// Where the model really runs: "cpu", "cuda:0", "tensorrt:0".
    pub fn device_in_use(&self) -> &str {
        &self.shared.info.device
    }

    /// What could not be done as asked; to be posted as an element warning.
    pub fn warnings(&self) -> &[String] {
        &self.shared.info.warnings
    }

    /// Runs the model and waits for the result. Outputs are in the model's order.
    pub fn run(&self, inputs: Vec<(&str, Tensor)>) -> Result<Outputs, EngineError> {
        self.submit(inputs)?.wait()
    }

    /// Queues a request; blocks while the user's room in the queue is full.
    pub fn submit(&self, inputs: Vec<(&str, Tensor)>) -> Result<Pending, EngineError> {
        let (job, pending) = self.job(inputs)?;
        match self.shared.queue().map(|queue| queue.send(job)) {
            Some(Ok(())) => Ok(pending),
            _ => Err(self.shared.stopped()),
        }
    }

    /// Queues a request, or gives `None` (and drops it) when the user's room in the queue is full.
    pub fn try_submit(&self, inputs: Vec<(&str, Tensor)>) -> Result<Option<Pending>, EngineError> {
        let (job, pending) = self.job(inputs)?;
        match self.shared.queue().map(|queue| queue.try_send(job)) {
            Some(Ok(())) => Ok(Some(pending)),
            Some(Err(Refused::Full)) => {
                self.shared.counters.refused();
                Ok(None)
            }
            Some(Err(Refused::Stopped)) | None => Err(self.shared.stopped()),
        }
    }

    /// Counters of all users of this engine.
    pub fn stats(&self) -> EngineStats {
        EngineStats {
            queue_depth: self.shared.queue().map_or(0, |queue| queue.len() as u64),
            device: self.shared.info.device.clone(),
            model: model::hex(&self.shared.info.hash),
            ..self.shared.counters.snapshot()
        }
    }

    /// Counts a run of this model that its user made by other means.
    pub fn record(&self, duration: Duration) {
        self.shared.counters.ran(duration);
        self.shared.counters.answered(duration, true);
    }

    /// Whether nobody else, not even a pending request, uses the loaded model: dropping this handle
    /// frees it.
    pub fn is_last(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }

    /// Whether both handles use the same loaded model.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    fn job(&self, inputs: Vec<(&str, Tensor)>) -> Result<(Job, Pending), EngineError> {
        let info = &self.shared.info;
        let inputs = validate::inputs(&info.origin, &info.inputs, self.shared.batching, inputs)?;
        let (reply, answer) = oneshot::channel();
        let job = Job {
            user: self.user,
            work: Work::Tensors(inputs),
            submitted: Instant::now(),
            reply,
        };
        let pending = Pending {
            answer,
            engine: self.clone(),
        };
        Ok((job, pending))
    }
}

impl Shared {
    fn start<M: worker::Model>(
        model: M,
        info: ModelInfo,
        batching: Batching,
        timeout: Duration,
    ) -> Result<Self, EngineError> {
        // Room, for each user, for the batch that comes next while one runs.
        let (sender, receiver) = queue::channel((2 * batching.limit()).max(4));
        let counters = Arc::new(Counters::default());
        let worker = Worker {
            model,
            queue: receiver,
            batching,
            timeout,
            counters: counters.clone(),
        };
        let handle = thread::Builder::new()
            // The kernel shows 15 characters: enough to tell the models apart.
            .name(format!("aie-{}", &model::hex(&info.hash)[..8]))
            .spawn(move || worker.serve())
            .map_err(|err| EngineError::Run {
                model: info.origin.clone(),
                reason: format!("its thread cannot be started: {err}"),
            })?;
        Ok(Self {
            info,
            batching,
            counters,
            queue: Some(sender),
            worker: Some(handle),
        })
    }

    fn queue(&self) -> Option<&Sender<Job>> {
        self.queue.as_ref()
    }

    fn stopped(&self) -> EngineError {
        EngineError::Stopped {
            model: self.info.origin.clone(),
        }
    }
}

/// A request under way. Dropping it abandons the request; if it has not begun it is skipped.
pub struct Pending {
    answer: oneshot::Receiver<Answer>,
    engine: Engine,
}

impl Pending {
    /// Waits for the result.
    pub fn wait(self) -> Result<Outputs, EngineError> {
        let Self { answer, engine } = self;
        answer
            .recv()
            .unwrap_or_else(|| Err(engine.shared.stopped()))
    }

    /// The result if it is there; it can be taken once.
    pub fn try_take(&mut self) -> Option<Result<Outputs, EngineError>> {
        self.wait_timeout(Duration::ZERO)
    }

    /// The result if it comes within `timeout`; it can be taken once.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<Result<Outputs, EngineError>> {
        self.answer
            .recv_timeout(timeout)
            .map(|answer| answer.unwrap_or_else(|| Err(self.engine.shared.stopped())))
    }
}
