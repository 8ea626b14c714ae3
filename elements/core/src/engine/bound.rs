// SPDX-License-Identifier: Apache-2.0
//! Tensors that stay in the GPU's memory, and runs of a model over them.
//!
//! An engine on a GPU has one stream there, on which its model runs; what its users start on
//! [`Engine::gpu`] goes to the same one. So a kernel that fills an input, the run and a kernel that reads
//! an output happen in the order of the calls, and nobody waits until somebody needs a result on the
//! host.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use aivideo_cuda::{
    Memory,
    device::{Buffer, Gpu},
};

use super::{
    Engine, Outputs, oneshot,
    worker::{Job, Work},
};
use crate::{
    error::EngineError,
    provider::Device,
    tensor::{ElementType, TensorInfo, shape_len},
};

/// A tensor in the memory of an engine's GPU. Clones are the same memory.
#[derive(Clone)]
pub struct DeviceTensor {
    shape: Vec<usize>,
    ty: ElementType,
    buffer: Arc<Buffer>,
    gpu: Arc<Gpu>,
}

impl DeviceTensor {
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn element_type(&self) -> ElementType {
        self.ty
    }

    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Where it is; not to be used beyond this tensor's life.
    pub fn memory(&self) -> Memory {
        self.buffer.memory()
    }
}

impl std::fmt::Display for DeviceTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{:?}", self.ty, self.shape)
    }
}

/// All inputs and outputs of a model, in its order, at addresses that stay.
pub(super) struct Bound {
    pub inputs: Vec<DeviceTensor>,
    /// `None` where the results are wanted on the host.
    pub outputs: Option<Vec<DeviceTensor>>,
    /// Tells this set of addresses from all others: a CUDA graph is recorded for each.
    pub id: u64,
}

static BINDINGS: AtomicU64 = AtomicU64::new(1);

/// A model with all its inputs and outputs bound to memory of the GPU.
pub struct Binding {
    engine: Engine,
    bound: Arc<Bound>,
}

impl Binding {
    /// Runs the model over what the inputs hold then, and returns when the GPU knows of it: what is
    /// started on the engine's GPU afterwards finds the outputs written. Where only inputs are bound,
    /// it waits and returns the outputs.
    pub fn run(&self) -> Result<Outputs, EngineError> {
        let (reply, answer) = oneshot::channel();
        let job = Job {
            user: self.engine.user,
            work: Work::Bound(self.bound.clone()),
            submitted: Instant::now(),
            reply,
        };
        let shared = &self.engine.shared;
        let sent = shared.queue().map(|queue| queue.send(job));
        if !matches!(sent, Some(Ok(()))) {
            return Err(shared.stopped());
        }
        answer.recv().unwrap_or_else(|| Err(shared.stopped()))
    }
}

impl Engine {
    /// The GPU that the model runs on, and the stream; `None` on the CPU.
    pub fn gpu(&self) -> Option<&Arc<Gpu>> {
        self.shared.info.gpu.as_ref()
    }

    /// The number of that GPU.
    pub fn gpu_index(&self) -> Option<u32> {
        let device: Device = self.device_in_use().parse().ok()?;
        device.gpu()
    }

    fn need_gpu(&self) -> Result<&Arc<Gpu>, EngineError> {
        self.gpu().ok_or_else(|| EngineError::Device {
            device: self.device_in_use().to_string(),
            reason: "tensors in a GPU's memory need a model that runs on one: device=cuda"
                .to_string(),
        })
    }

    /// A tensor of zeros in the GPU's memory.
    pub fn device_tensor(
        &self,
        shape: impl Into<Vec<usize>>,
        ty: ElementType,
    ) -> Result<DeviceTensor, EngineError> {
        let (gpu, shape) = (self.need_gpu()?, shape.into());
        let refused = |reason: String| EngineError::Device {
            device: self.device_in_use().to_string(),
            reason: format!("no memory for a tensor {ty}{shape:?}: {reason}"),
        };
        let bytes = shape_len(&shape)
            .and_then(|len| len.checked_mul(ty.size()))
            .filter(|bytes| *bytes > 0)
            .ok_or_else(|| refused("it is empty or too large".to_string()))?;
        let buffer = gpu.zeros(bytes).map_err(|err| refused(err.to_string()))?;
        Ok(DeviceTensor {
            shape,
            ty,
            buffer: Arc::new(buffer),
            gpu: gpu.clone(),
        })
    }

    /// Binds all inputs and outputs of the model. Such runs are not joined into batches.
    pub fn bind(
        &self,
        inputs: Vec<(&str, DeviceTensor)>,
        outputs: Vec<(&str, DeviceTensor)>,
    ) -> Result<Binding, EngineError> {
        let outputs = self.order(self.outputs(), outputs)?;
        self.bound(inputs, Some(outputs))
    }

    /// Binds all inputs; each run waits for its results and brings them to the host.
    pub fn bind_inputs(&self, inputs: Vec<(&str, DeviceTensor)>) -> Result<Binding, EngineError> {
        self.bound(inputs, None)
    }

    fn bound(
        &self,
        inputs: Vec<(&str, DeviceTensor)>,
        outputs: Option<Vec<DeviceTensor>>,
    ) -> Result<Binding, EngineError> {
        Ok(Binding {
            bound: Arc::new(Bound {
                inputs: self.order(self.inputs(), inputs)?,
                outputs,
                id: BINDINGS.fetch_add(1, Ordering::Relaxed),
            }),
            engine: self.clone(),
        })
    }

    /// Named tensors in the model's order, or what is wrong with which.
    fn order(
        &self,
        infos: &[TensorInfo],
        mut named: Vec<(&str, DeviceTensor)>,
    ) -> Result<Vec<DeviceTensor>, EngineError> {
        let gpu = self.need_gpu()?;
        let error = |name: &str, expected: String, got: String| EngineError::Input {
            model: self.shared.info.origin.clone(),
            name: name.to_string(),
            expected,
            got,
        };
        let ordered = infos
            .iter()
            .map(|info| {
                let at = named.iter().position(|(name, _)| *name == info.name);
                let Some(at) = at else {
                    return Err(error(&info.name, info.to_string(), "nothing".into()));
                };
                let (name, tensor) = named.swap_remove(at);
                if !fits(info, &tensor) {
                    return Err(error(name, info.to_string(), tensor.to_string()));
                }
                if !Arc::ptr_eq(&tensor.gpu, gpu) {
                    let (want, got) = ("memory of this engine", "memory of another");
                    return Err(error(name, want.into(), got.into()));
                }
                Ok(tensor)
            })
            .collect::<Result<Vec<_>, _>>()?;
        match named.first() {
            Some((name, _)) => {
                let names: Vec<&str> = infos.iter().map(|info| info.name.as_str()).collect();
                let expected = format!("one each of {}", names.join(", "));
                Err(error(name, expected, "another".to_string()))
            }
            None => Ok(ordered),
        }
    }
}

fn fits(info: &TensorInfo, tensor: &DeviceTensor) -> bool {
    tensor.ty == info.ty
        && tensor.shape.len() == info.shape.len()
        && tensor
            .shape
            .iter()
            .zip(&info.shape)
            .all(|(got, wanted)| wanted.is_none_or(|wanted| *got == wanted))
}
