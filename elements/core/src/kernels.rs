// SPDX-License-Identifier: Apache-2.0
//! When this project's own nets run in its own kernels (`aivideo-nets`) rather than in ONNX Runtime.

use crate::{engine::Engine, error::EngineError, model::ModelSource, settings::InferenceSettings};
use aivideo_nets::{isa::Isa, layers};
use std::time::Instant;

/// Whether the net of an engine may run elsewhere: on a CPU, unless somebody asks for the graph as it is.
pub fn are_wanted(engine: &Engine, settings: &InferenceSettings) -> bool {
    engine.device_in_use() == "cpu" && settings.graph_optimization
}

/// A net in own kernels and the threads that run it.
pub struct OwnKernels<N> {
    net: N,
    threads: rayon::ThreadPool,
}

impl<N> OwnKernels<N> {
    /// The net that `make` finds in the bytes of the model's file. `None` is no error: ONNX Runtime then runs
    /// the graph as it runs others'. It does on a GPU, on processors without the instructions, for files in
    /// which `make` does not find what it knows, and where somebody asks for the graph as it is.
    pub fn load(
        engine: &Engine,
        model: &ModelSource,
        settings: &InferenceSettings,
        name: &'static str,
        make: impl FnOnce(Isa, &[u8]) -> Option<N>,
    ) -> Result<Option<Self>, EngineError> {
        let isa = Isa::detect().filter(|_| are_wanted(engine, settings));
        let Some(isa) = isa else { return Ok(None) };
        let Some(net) = make(isa, &model.load()?) else {
            return Ok(None);
        };
        let threads = layers::threads(name, settings.num_threads as usize);
        Ok(threads.map(|threads| Self { net, threads }))
    }

    /// Does something else on the net's threads.
    pub fn install<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        self.threads.install(f)
    }

    /// Runs the net on its threads; the engine counts that.
    pub fn run<R: Send>(&mut self, engine: &Engine, f: impl FnOnce(&mut N) -> R + Send) -> R
    where
        N: Send,
    {
        let start = Instant::now();
        let net = &mut self.net;
        let result = self.threads.install(|| f(net));
        engine.record(start.elapsed());
        result
    }
}
