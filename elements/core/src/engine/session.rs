// SPDX-License-Identifier: Apache-2.0
//! One ONNX Runtime session: made from a model and options, described, and run.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use aivideo_cuda::device::Gpu;
use ort::{
    session::{
        RunOptions, Session, SessionInputValue,
        builder::{GraphOptimizationLevel, SessionBuilder},
    },
    value::{DynTensor, DynValue, Outlet, TensorElementType, ValueType},
};

use super::{
    batch::{Inputs, Outputs},
    bound::Bound,
    direct::{self, Names},
    message::said,
    options::Options,
};
use crate::{
    error::EngineError,
    model::ModelSource,
    provider::{self, Device},
    runtime,
    tensor::{ElementType, Tensor, TensorData, TensorInfo, for_each_type},
};

/// What is known of a model once it is loaded.
#[derive(Clone)]
pub(super) struct ModelInfo {
    /// For messages.
    pub origin: String,
    pub hash: [u8; 32],
    pub inputs: Vec<TensorInfo>,
    pub outputs: Vec<TensorInfo>,
    pub metadata: HashMap<String, String>,
    pub device: String,
    /// With the stream that the model runs on; `None` on the CPU.
    pub gpu: Option<Arc<Gpu>>,
    pub warnings: Vec<String>,
}

/// A session and what is needed to run it.
pub(super) struct LoadedModel {
    // Fields are dropped in this order: the session ends before the stream that it runs on.
    session: Session,
    gpu: Option<(Arc<Gpu>, i32)>,
    /// Of runs over tensors of the host.
    host_run: RunOptions,
    cuda_graph: bool,
    origin: String,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    names: Names,
    shapes: Option<ShapeMemory>,
}

/// Shapes of all inputs or all outputs.
type Shapes = Vec<Vec<usize>>;

/// Output shapes by input shapes, as the last runs had them: so that results can be written where
/// they are wanted. Video has few shapes; when there are many, all are forgotten.
#[derive(Default)]
struct ShapeMemory(HashMap<Shapes, Shapes>);

impl ShapeMemory {
    const MOST: usize = 32;

    fn recall(&self, inputs: &Shapes) -> Option<&Shapes> {
        self.0.get(inputs)
    }

    fn learn(&mut self, inputs: Shapes, outputs: Shapes) {
        if self.0.len() >= Self::MOST {
            self.0.clear();
        }
        // Empty outputs have no memory to preset.
        if outputs.iter().all(|shape| !shape.contains(&0)) {
            self.0.insert(inputs, outputs);
        }
    }
}

/// Loads the model on the device that the options ask for.
pub(super) fn load(
    source: &ModelSource,
    bytes: &[u8],
    hash: [u8; 32],
    options: &Options,
) -> Result<(LoadedModel, ModelInfo), EngineError> {
    let runtime = runtime::get()?;
    let mut warnings = Vec::new();
    let load = |device: Device| -> Result<(Session, Option<Arc<Gpu>>), EngineError> {
        let gpu = open(device)?;
        let session = commit(source, bytes, options, device, gpu.as_deref())?;
        Ok((session, gpu))
    };
    let ((session, gpu), device) = match options.device {
        Device::Auto => match provider::auto(runtime) {
            Ok(gpu) => match load(gpu) {
                Ok(loaded) => (loaded, gpu),
                Err(EngineError::Device { reason, .. }) => {
                    warnings.push(format!(
                        "device=auto: {gpu} was tried but cannot be used, running on the CPU: {reason}"
                    ));
                    (load(Device::Cpu)?, Device::Cpu)
                }
                Err(other) => return Err(other),
            },
            Err(fallback) => {
                warnings.extend(fallback.warning);
                (load(Device::Cpu)?, Device::Cpu)
            }
        },
        device => {
            provider::require(device, runtime)?;
            (load(device)?, device)
        }
    };
    let origin = source.describe();
    let inputs = describe(&origin, "input", session.inputs())?;
    let outputs = describe(&origin, "output", session.outputs())?;
    let names = Names::new(&inputs, &outputs).map_err(|err| EngineError::ModelInvalid {
        origin: origin.clone(),
        reason: err.to_string(),
    })?;
    let metadata = metadata(&session).map_err(|err| invalid(&origin, &err))?;
    let info = ModelInfo {
        origin: origin.clone(),
        hash,
        inputs: inputs.clone(),
        outputs: outputs.clone(),
        metadata,
        device: device.to_string(),
        gpu: gpu.clone(),
        warnings,
    };
    let mut host_run = RunOptions::new().map_err(|err| invalid(&origin, &err))?;
    if options.cuda_graph {
        // Tensors of the host lie elsewhere each time: a recorded graph would read the old ones.
        host_run
            .set(GRAPH, "-1")
            .map_err(|err| invalid(&origin, &err))?;
    }
    let model = LoadedModel {
        session,
        // Parsing has checked that the number fits.
        gpu: gpu.zip(device.gpu().and_then(|index| i32::try_from(index).ok())),
        host_run,
        cuda_graph: options.cuda_graph,
        origin,
        names,
        inputs,
        outputs,
        shapes: Some(ShapeMemory::default()),
    };
    Ok((model, info))
}

/// The run option that names the CUDA graph to record or to replay; -1 is none.
const GRAPH: &str = "gpu_graph_id";

/// The GPU of a device, with a stream of the model's own.
fn open(device: Device) -> Result<Option<Arc<Gpu>>, EngineError> {
    let Some(index) = device.gpu() else {
        return Ok(None);
    };
    Gpu::open(index as usize)
        .map(|gpu| Some(Arc::new(gpu)))
        .map_err(|err| EngineError::Device {
            device: device.to_string(),
            reason: err.to_string(),
        })
}

fn invalid(origin: &str, err: &ort::Error) -> EngineError {
    EngineError::ModelInvalid {
        origin: origin.to_string(),
        reason: format!(
            "ONNX Runtime says: {}; is it a complete ONNX file?",
            said(err.message())
        ),
    }
}

pub(super) fn commit(
    source: &ModelSource,
    bytes: &[u8],
    options: &Options,
    device: Device,
    gpu: Option<&Gpu>,
) -> Result<Session, EngineError> {
    let settings = |err: ort::Error| {
        EngineError::Settings(format!(
            "ONNX Runtime refuses a setting: {}",
            said(err.message())
        ))
    };
    let builder = configure(source, options).map_err(settings)?;
    let providers = provider::dispatch(device, options, gpu)?;
    let mut builder =
        builder
            .with_execution_providers(providers)
            .map_err(|err| EngineError::Device {
                device: device.to_string(),
                reason: said(err.message()),
            })?;
    builder.commit_from_memory(bytes).map_err(|err| {
        use ort::ErrorCode as Code;
        let device_at_fault = device != Device::Cpu
            && matches!(
                err.code(),
                Code::ExecutionProviderFailure
                    | Code::RuntimeException
                    | Code::EngineError
                    | Code::GenericFailure
            );
        if device_at_fault {
            return EngineError::Device {
                device: device.to_string(),
                reason: format!("{}: {}", source.describe(), said(err.message())),
            };
        }
        invalid(&source.describe(), &err)
    })
}

fn configure(source: &ModelSource, options: &Options) -> ort::Result<SessionBuilder> {
    let runtime = runtime::get().map_err(ort::Error::wrap)?;
    let level = if options.graph_optimization {
        GraphOptimizationLevel::All
    } else {
        GraphOptimizationLevel::Disable
    };
    let mut builder = Session::builder(runtime.environment())?
        .with_optimization_level(level)?
        .with_intra_threads(options.threads())?
        // Idle threads that spin take the CPU from the pipeline's other elements.
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?;
    if let Some(folder) = source.folder() {
        // The model is given as bytes (those that were hashed), so say where external data lies.
        builder = builder.with_config_entry(
            "session.model_external_initializers_file_folder_path",
            folder.to_string_lossy(),
        )?;
    }
    Ok(builder)
}

fn element_type(ty: TensorElementType) -> Option<ElementType> {
    Some(match ty {
        TensorElementType::Float32 => ElementType::F32,
        TensorElementType::Float16 => ElementType::F16,
        TensorElementType::Uint8 => ElementType::U8,
        TensorElementType::Uint16 => ElementType::U16,
        TensorElementType::Int8 => ElementType::I8,
        TensorElementType::Int16 => ElementType::I16,
        TensorElementType::Int32 => ElementType::I32,
        TensorElementType::Int64 => ElementType::I64,
        _ => return None,
    })
}

fn describe(origin: &str, kind: &str, outlets: &[Outlet]) -> Result<Vec<TensorInfo>, EngineError> {
    outlets
        .iter()
        .map(|outlet| {
            let unsupported = || EngineError::ModelInvalid {
                origin: origin.to_string(),
                reason: format!(
                    "its {kind} '{}' is {}; supported are tensors of float32, float16, uint8, uint16, int8, int16, int32 and int64",
                    outlet.name(),
                    outlet.dtype()
                ),
            };
            let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
                return Err(unsupported());
            };
            Ok(TensorInfo {
                name: outlet.name().to_string(),
                shape: shape.iter().map(|dim| usize::try_from(*dim).ok()).collect(),
                ty: element_type(*ty).ok_or_else(unsupported)?,
            })
        })
        .collect()
}

fn metadata(session: &Session) -> ort::Result<HashMap<String, String>> {
    let metadata = session.metadata()?;
    Ok(metadata
        .custom_keys()?
        .into_iter()
        .filter_map(|key| {
            let value = metadata.custom(&key)?;
            Some((key, value))
        })
        .collect())
}

impl LoadedModel {
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// Runs the model once. Inputs are in the model's order and were validated.
    pub(super) fn run(&mut self, inputs: Inputs) -> Result<Outputs, EngineError> {
        self.run_values(inputs).map_err(|err| EngineError::Run {
            model: self.origin.clone(),
            reason: said(err.message()),
        })
    }

    /// Has the GPU run the model over its own memory. Does not wait for it, unless results are wanted
    /// on the host.
    pub(super) fn run_bound(&mut self, bound: &Bound) -> Result<Outputs, EngineError> {
        let origin = self.origin.clone();
        let failed = |reason: String| EngineError::Run {
            model: origin,
            reason,
        };
        let Some((_, index)) = &self.gpu else {
            return Err(failed("it is on no GPU".to_string()));
        };
        let index = *index;
        let mut run = || {
            let Some(outputs) = &bound.outputs else {
                let inputs = direct::values(index, &bound.inputs)?;
                return self.run_free(inputs.into_iter().map(SessionInputValue::from).collect());
            };
            let mut options = RunOptions::new()?;
            options.disable_device_sync()?;
            if self.cuda_graph {
                options.set(GRAPH, bound.id.to_string())?;
            }
            let inputs = &bound.inputs;
            direct::run_bound(
                &mut self.session,
                &self.names,
                &options,
                index,
                inputs,
                outputs,
            )?;
            Ok(Outputs::new())
        };
        run().map_err(|err: ort::Error| failed(said(err.message())))
    }

    fn run_values(&mut self, inputs: Inputs) -> ort::Result<Outputs> {
        let shapes: Shapes = inputs.iter().map(|tensor| tensor.shape.clone()).collect();
        let values: Vec<DynTensor> = inputs
            .into_iter()
            .map(to_value)
            .collect::<ort::Result<_>>()?;
        let known = self
            .shapes
            .as_ref()
            .and_then(|memory| memory.recall(&shapes));
        let Some(known) = known.cloned() else {
            let outputs = self.run_free(values.iter().map(SessionInputValue::from).collect())?;
            self.learn(shapes, &outputs);
            return Ok(outputs);
        };
        match self.run_preset(&values, known) {
            Ok(outputs) => Ok(outputs),
            Err(_) => {
                // Either the run fails in any way, or the shapes of the outputs depend on the
                // content of the inputs and cannot be foreseen.
                let outputs =
                    self.run_free(values.iter().map(SessionInputValue::from).collect())?;
                self.shapes = None;
                Ok(outputs)
            }
        }
    }

    fn learn(&mut self, inputs: Shapes, outputs: &Outputs) {
        if let Some(memory) = &mut self.shapes {
            let outputs = outputs.iter().map(|(_, t)| t.shape.clone()).collect();
            memory.learn(inputs, outputs);
        }
    }

    /// Runs with outputs of these shapes, written in place.
    fn run_preset(&mut self, values: &[DynTensor], shapes: Shapes) -> ort::Result<Outputs> {
        let mut targets: Vec<(Vec<usize>, TensorData)> = shapes
            .into_iter()
            .zip(&self.outputs)
            .map(|(shape, info)| {
                let len = shape.iter().product();
                (shape, TensorData::zeros(info.ty, len))
            })
            .collect();
        direct::run(
            &mut self.session,
            &self.names,
            &self.host_run,
            values,
            &mut targets,
        )?;
        Ok(targets
            .into_iter()
            .zip(&self.outputs)
            .map(|((shape, data), info)| (info.name.clone(), Tensor { shape, data }))
            .collect())
    }

    /// Runs with outputs of whatever shape, copied.
    fn run_free(&mut self, values: Vec<SessionInputValue<'_>>) -> ort::Result<Outputs> {
        let inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = values
            .into_iter()
            .zip(&self.inputs)
            .map(|(value, info)| (Cow::from(info.name.as_str()), value))
            .collect();
        self.session
            .run_with_options(inputs, &self.host_run)?
            .into_iter()
            .zip(&self.outputs)
            .map(|((name, value), info)| Ok((name.to_string(), from_value(&value, info.ty)?)))
            .collect()
    }
}

/// Hands the tensor's memory to ONNX Runtime without copying it.
pub(super) fn to_value(tensor: Tensor) -> ort::Result<DynTensor> {
    let Tensor { shape, data } = tensor;
    for_each_type!(data, data => {
        ort::value::Tensor::from_array((shape, data)).map(|tensor| tensor.upcast())
    })
}

fn from_value(value: &DynValue, ty: ElementType) -> ort::Result<Tensor> {
    macro_rules! copy {
        ($variant:ident, $ty:ty) => {{
            let (shape, data) = value.try_extract_tensor::<$ty>()?;
            Ok(Tensor {
                shape: shape.iter().map(|dim| *dim as usize).collect(),
                data: TensorData::$variant(data.to_vec()),
            })
        }};
    }
    match ty {
        ElementType::F32 => copy!(F32, f32),
        ElementType::F16 => copy!(F16, half::f16),
        ElementType::U8 => copy!(U8, u8),
        ElementType::U16 => copy!(U16, u16),
        ElementType::I8 => copy!(I8, i8),
        ElementType::I16 => copy!(I16, i16),
        ElementType::I32 => copy!(I32, i32),
        ElementType::I64 => copy!(I64, i64),
    }
}
