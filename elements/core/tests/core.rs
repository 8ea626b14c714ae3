// SPDX-License-Identifier: Apache-2.0
//! Tests against a real ONNX Runtime and real pipelines. They need the library: `make test` sets
//! `ORT_DYLIB_PATH`.

mod testmodel;

#[path = "core/engine.rs"]
mod engine;
#[path = "core/errors.rs"]
mod errors;
#[path = "core/library.rs"]
mod library;
#[path = "core/support.rs"]
mod support;
