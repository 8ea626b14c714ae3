// SPDX-License-Identifier: Apache-2.0
//! Running a session with the results written straight into vectors of ours.
//!
//! The binding's own ways either leave results in memory of ONNX Runtime, from where they would
//! have to be copied, or (`IoBinding`) deadlock with borrowed memory in this version.

#![allow(unsafe_code)] // one call of the C API

use std::{
    ffi::{CString, NulError, c_char},
    ptr,
};

use ort::{
    AsPointer,
    session::Session,
    value::{DynTensor, DynValueTypeMarker, TensorRefMut, ValueRefMut},
};

use crate::tensor::{TensorData, TensorInfo, for_each_type};

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
    inputs: &[DynTensor],
    outputs: &mut [(Vec<usize>, TensorData)],
) -> ort::Result<()> {
    if inputs.len() != names.inputs.len() || outputs.len() != names.outputs.len() {
        return Err(ort::Error::new("wrong number of inputs or outputs"));
    }
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
    let c_names = |names: &[CString]| -> Vec<*const c_char> {
        names.iter().map(|name| name.as_ptr()).collect()
    };
    let input_names = c_names(&names.inputs);
    let output_names = c_names(&names.outputs);
    let input_values: Vec<*const ort::sys::OrtValue> =
        inputs.iter().map(|input| input.ptr()).collect();
    let mut output_values: Vec<*mut ort::sys::OrtValue> = targets
        .iter()
        .map(|target| target.ptr().cast_mut())
        .collect();
    // SAFETY: the session is borrowed exclusively, so no other run is in progress. All arrays have
    // the lengths given, and what they point to (names, input tensors, output tensors over
    // `outputs`) lives beyond the call. No run options: null is allowed. ONNX Runtime checks the
    // types and shapes of preset outputs before it writes to them, and does not replace them.
    unsafe {
        let status = (ort::api().Run)(
            session.ptr_mut(),
            ptr::null(),
            input_names.as_ptr(),
            input_values.as_ptr(),
            input_values.len(),
            output_names.as_ptr(),
            output_names.len(),
            output_values.as_mut_ptr(),
        );
        ort::Error::result_from_status(status)
    }
}
