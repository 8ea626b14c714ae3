// SPDX-License-Identifier: Apache-2.0
//! One ONNX Runtime session: made from a model and options, described, and run.

use std::{borrow::Cow, collections::HashMap};

use ort::{
    session::{
        Session, SessionInputValue,
        builder::{GraphOptimizationLevel, SessionBuilder},
    },
    value::{DynTensor, DynValue, Outlet, TensorElementType, ValueType},
};

use super::{
    batch::{Inputs, Outputs},
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
#[derive(Debug, Clone)]
pub(super) struct ModelInfo {
    /// For messages.
    pub origin: String,
    pub hash: [u8; 32],
    pub inputs: Vec<TensorInfo>,
    pub outputs: Vec<TensorInfo>,
    pub metadata: HashMap<String, String>,
    pub device: String,
    pub warnings: Vec<String>,
}

/// A session and what is needed to run it.
pub(super) struct LoadedModel {
    session: Session,
    origin: String,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
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
    let (session, device) = match options.device {
        Device::Auto => match provider::auto(runtime) {
            Ok(gpu) => match commit(source, bytes, options, gpu) {
                Ok(session) => (session, gpu),
                Err(EngineError::Device { reason, .. }) => {
                    warnings.push(format!(
                        "device=auto: {gpu} was tried but cannot be used, running on the CPU: {reason}"
                    ));
                    (commit(source, bytes, options, Device::Cpu)?, Device::Cpu)
                }
                Err(other) => return Err(other),
            },
            Err(fallback) => {
                warnings.extend(fallback.warning);
                (commit(source, bytes, options, Device::Cpu)?, Device::Cpu)
            }
        },
        device => {
            provider::require(device, runtime)?;
            (commit(source, bytes, options, device)?, device)
        }
    };
    let origin = source.describe();
    let inputs = describe(&origin, "input", session.inputs())?;
    let outputs = describe(&origin, "output", session.outputs())?;
    let metadata = metadata(&session).map_err(|err| invalid(&origin, &err))?;
    let info = ModelInfo {
        origin: origin.clone(),
        hash,
        inputs: inputs.clone(),
        outputs: outputs.clone(),
        metadata,
        device: device.to_string(),
        warnings,
    };
    let model = LoadedModel {
        session,
        origin,
        inputs,
        outputs,
    };
    Ok((model, info))
}

fn invalid(origin: &str, err: &ort::Error) -> EngineError {
    EngineError::ModelInvalid {
        origin: origin.to_string(),
        reason: format!(
            "ONNX Runtime says: {}; is it a complete ONNX file?",
            err.message()
        ),
    }
}

fn commit(
    source: &ModelSource,
    bytes: &[u8],
    options: &Options,
    device: Device,
) -> Result<Session, EngineError> {
    let settings = |err: ort::Error| {
        EngineError::Settings(format!("ONNX Runtime refuses a setting: {}", err.message()))
    };
    let builder = configure(source, options).map_err(settings)?;
    let providers = provider::dispatch(device, options)?;
    let mut builder =
        builder
            .with_execution_providers(providers)
            .map_err(|err| EngineError::Device {
                device: device.to_string(),
                reason: err.message().to_string(),
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
                reason: format!("{}: {}", source.describe(), err.message()),
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
                    "its {kind} '{}' is {}; supported are tensors of float32, float16, uint8, int8, int16, int32 and int64",
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

    fn failed(&self, err: &ort::Error) -> EngineError {
        EngineError::Run {
            model: self.origin.clone(),
            reason: err.message().to_string(),
        }
    }

    /// Runs the model once. Inputs are in the model's order and were validated.
    pub(super) fn run(&mut self, inputs: Inputs) -> Result<Outputs, EngineError> {
        let mut values = Vec::with_capacity(inputs.len());
        for (tensor, info) in inputs.into_iter().zip(&self.inputs) {
            let value = to_value(tensor).map_err(|err| self.failed(&err))?;
            values.push((Cow::from(info.name.clone()), SessionInputValue::from(value)));
        }
        let origin = &self.origin;
        let failed = |err: ort::Error| EngineError::Run {
            model: origin.clone(),
            reason: err.message().to_string(),
        };
        let outputs = self.session.run(values).map_err(failed)?;
        outputs
            .into_iter()
            .zip(&self.outputs)
            .map(|((name, value), info)| {
                let tensor = from_value(&value, info.ty).map_err(failed)?;
                Ok((name.to_string(), tensor))
            })
            .collect()
    }
}

/// Hands the tensor's memory to ONNX Runtime without copying it.
fn to_value(tensor: Tensor) -> ort::Result<DynTensor> {
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
        ElementType::I8 => copy!(I8, i8),
        ElementType::I16 => copy!(I16, i16),
        ElementType::I32 => copy!(I32, i32),
        ElementType::I64 => copy!(I64, i64),
    }
}
