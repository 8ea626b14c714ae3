// SPDX-License-Identifier: Apache-2.0
//! Running a session with the results written straight into memory of ours, the host's or a GPU's.
//!
//! The binding's own ways either leave results in memory of ONNX Runtime, from where they would
//! have to be copied, or (`IoBinding`) deadlock with borrowed memory in this version.

#![allow(unsafe_code)] // one call of the C API

use std::ffi::{CString, NulError, c_char, c_void};

use ort::{
    AsPointer,
    memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType},
    session::{RunOptions, Session},
    value::{DynTensor, DynValueTypeMarker, Shape, TensorRefMut, ValueRefMut},
};

use super::bound::DeviceTensor;
use crate::tensor::{ElementType, TensorData, TensorInfo, for_each_type};

/// Names of inputs and outputs as C has them.
pub(super) struct Names {
    inputs: Vec<CString>,
    outputs: Vec<CString>,
}

impl Names {
    pub(super) fn new(inputs: &[TensorInfo], outputs: &[TensorInfo]) -> Result<Self, NulError> {
        let names = |infos: &[TensorInfo]| {
            infos
                .iter()
                .map(|info| CString::new(info.name.as_str()))
                .collect::<Result<_, _>>()
        };
        Ok(Self {
            inputs: names(inputs)?,
            outputs: names(outputs)?,
        })
    }
}

/// Runs the session; every output goes into the vector given for it, whose length must be that of
/// its shape. Inputs and outputs are all of the model's, in its order; an error from ONNX Runtime
/// includes outputs that turn out to have another shape.
pub(super) fn run(
    session: &mut Session,
    names: &Names,
    options: &RunOptions,
    inputs: &[DynTensor],
    outputs: &mut [(Vec<usize>, TensorData)],
) -> ort::Result<()> {
    let targets: Vec<ValueRefMut<'_, DynValueTypeMarker>> = outputs
        .iter_mut()
        .map(|(shape, data)| {
            for_each_type!(data, data => {
                // The shape is checked against the length here.
                TensorRefMut::from_array_view_mut((shape.clone(), data.as_mut_slice()))
                    .map(|target| target.into_dyn())
            })
        })
        .collect::<ort::Result<_>>()?;
    let inputs: Vec<_> = inputs.iter().map(|input| input.ptr()).collect();
    // SAFETY: the values are the tensors of `inputs` and those over `outputs`, which live beyond the
    // call and are not used otherwise meanwhile.
    unsafe { call(session, names, options, &inputs, &targets) }
}

/// Runs the session over memory of its GPU.
///
/// The binding's `IoBinding` deadlocks with borrowed memory in this version; the C API's `Run` takes
/// tensors wherever they lie, and writes preset outputs there.
pub(super) fn run_bound(
    session: &mut Session,
    names: &Names,
    options: &RunOptions,
    gpu: i32,
    inputs: &[DeviceTensor],
    outputs: &[DeviceTensor],
) -> ort::Result<()> {
    let (inputs, outputs) = (values(gpu, inputs)?, values(gpu, outputs)?);
    let inputs: Vec<_> = inputs.iter().map(|input| input.ptr()).collect();
    // SAFETY: the values are over memory that the tensors own. When they are dropped
    // while the GPU still works, their memory is freed in the order of the session's stream, after it.
    unsafe { call(session, names, options, &inputs, &outputs) }
}

/// Tensors over memory of the GPU.
pub(super) fn values(
    gpu: i32,
    tensors: &[DeviceTensor],
) -> ort::Result<Vec<ValueRefMut<'_, DynValueTypeMarker>>> {
    tensors.iter().map(|tensor| value(gpu, tensor)).collect()
}

fn value<'a>(
    gpu: i32,
    tensor: &'a DeviceTensor,
) -> ort::Result<ValueRefMut<'a, DynValueTypeMarker>> {
    let info = MemoryInfo::new(
        AllocationDevice::CUDA,
        gpu,
        AllocatorType::Device,
        MemoryType::Default,
    )?;
    let data = tensor.memory().address as *mut c_void;
    let shape: Shape = tensor.shape().iter().map(|dim| *dim as i64).collect();
    macro_rules! over {
        ($ty:ty) => {
            // SAFETY: the buffer lies on that GPU, has the size of the shape, and outlives the value.
            unsafe { TensorRefMut::<'a, $ty>::from_raw(info, data, shape) }
                .map(|tensor| tensor.into_dyn())
        };
    }
    match tensor.element_type() {
        ElementType::F32 => over!(f32),
        ElementType::F16 => over!(half::f16),
        ElementType::U8 => over!(u8),
        ElementType::U16 => over!(u16),
        ElementType::I8 => over!(i8),
        ElementType::I16 => over!(i16),
        ElementType::I32 => over!(i32),
        ElementType::I64 => over!(i64),
    }
}

/// The C API's call.
///
/// # Safety
/// What the values are over must be theirs until the run has ended.
unsafe fn call(
    session: &mut Session,
    names: &Names,
    options: &RunOptions,
    inputs: &[*const ort::sys::OrtValue],
    outputs: &[ValueRefMut<'_, DynValueTypeMarker>],
) -> ort::Result<()> {
    if inputs.len() != names.inputs.len() || outputs.len() != names.outputs.len() {
        return Err(ort::Error::new("wrong number of inputs or outputs"));
    }
    let c_names = |names: &[CString]| -> Vec<*const c_char> {
        names.iter().map(|name| name.as_ptr()).collect()
    };
    let input_names = c_names(&names.inputs);
    let output_names = c_names(&names.outputs);
    let mut output_values: Vec<*mut ort::sys::OrtValue> = outputs
        .iter()
        .map(|target| target.ptr().cast_mut())
        .collect();
    // SAFETY: the session is borrowed exclusively, so no other run is in progress. All arrays have
    // the lengths given, and what they point to (names, options, tensors) lives beyond the call. ONNX
    // Runtime checks the types and shapes of preset outputs before it writes to them, and does not
    // replace them.
    unsafe {
        let status = (ort::api().Run)(
            session.ptr_mut(),
            options.ptr(),
            input_names.as_ptr(),
            inputs.as_ptr(),
            inputs.len(),
            output_names.as_ptr(),
            output_names.len(),
            output_values.as_mut_ptr(),
        );
        ort::Error::result_from_status(status)
    }
}
