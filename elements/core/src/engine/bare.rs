// SPDX-License-Identifier: Apache-2.0
//! ONNX Runtime's call and nothing else, for measurements: what an engine costs is its time less this
//! one's.

use std::borrow::Cow;

use ort::{
    memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType},
    session::{IoBinding, Session, SessionInputValue},
    value::DynTensor,
};

use super::{message::said, options::Options, session};
use crate::{
    error::EngineError,
    model::ModelSource,
    provider::{self, Device},
    runtime,
    settings::InferenceSettings,
    tensor::Tensor,
};

/// A session of its own with the options that an engine gives its, and inputs that stay the same.
pub struct Bare {
    /// Dropped before its session.
    binding: Option<IoBinding>,
    session: Session,
    origin: String,
    inputs: Vec<(String, DynTensor)>,
}

impl Bare {
    /// Loads the model on the device of the settings; `auto` means the CPU here, since a measurement
    /// must say where it is made.
    pub fn new(
        source: &ModelSource,
        settings: &InferenceSettings,
        inputs: Vec<(&str, Tensor)>,
    ) -> Result<Self, EngineError> {
        let options = Options::new(settings)?;
        let device = match options.device {
            Device::Auto => Device::Cpu,
            device => device,
        };
        provider::require(device, runtime::get()?)?;
        let session = session::commit(source, &source.load()?, &options, device, None)?;
        let origin = source.describe();
        let inputs = inputs
            .into_iter()
            .map(|(name, tensor)| Ok((name.to_string(), session::to_value(tensor)?)))
            .collect::<ort::Result<_>>()
            .map_err(|err| failed(&origin, &err))?;
        Ok(Self {
            binding: None,
            session,
            origin,
            inputs,
        })
    }

    /// Has the inputs copied to where the provider wants them, once and now: on a GPU the runs that follow
    /// bring nothing there but results back.
    pub fn bind(&mut self) -> Result<(), EngineError> {
        let bind = || -> ort::Result<IoBinding> {
            let mut binding = self.session.create_binding()?;
            for (name, value) in &self.inputs {
                binding.bind_input(name.as_str(), value)?;
            }
            let host = MemoryInfo::new(
                AllocationDevice::CPU,
                0,
                AllocatorType::Device,
                MemoryType::CPUOutput,
            )?;
            for output in self.session.outputs() {
                binding.bind_output_to_device(output.name(), &host)?;
            }
            binding.synchronize_inputs()?;
            Ok(binding)
        };
        let binding = bind().map_err(|err| failed(&self.origin, &err))?;
        self.binding = Some(binding);
        Ok(())
    }

    /// One run. Its results stay in ONNX Runtime's memory, on the host, and are freed.
    pub fn run(&mut self) -> Result<(), EngineError> {
        if let Some(binding) = &self.binding {
            return self
                .session
                .run_binding(binding)
                .map(|_| ())
                .map_err(|err| failed(&self.origin, &err));
        }
        let inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = self
            .inputs
            .iter()
            .map(|(name, value)| (Cow::from(name.as_str()), SessionInputValue::from(value)))
            .collect();
        self.session
            .run(inputs)
            .map(|_| ())
            .map_err(|err| failed(&self.origin, &err))
    }
}

fn failed(origin: &str, err: &ort::Error) -> EngineError {
    EngineError::Run {
        model: origin.to_string(),
        reason: said(err.message()),
    }
}
