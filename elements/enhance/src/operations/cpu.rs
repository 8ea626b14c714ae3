// SPDX-License-Identifier: Apache-2.0
//! When this project's own nets run in its own kernels (`aivideo-nets`) rather than in ONNX Runtime.

use aivideo_core::{engine::Engine, model::ModelSource, settings::InferenceSettings};
use aivideo_nets::{
    isa::Isa,
    layers::{Layers, threads},
    weights,
};
use rayon::ThreadPool;
use std::time::Instant;

use super::EnhanceError;

/// What `models/training/enhance/export.py` calls the order of layers that the kernels know.
const LAYERS: &str = "1";

/// A net in own kernels and the threads that run it.
pub(super) struct OwnKernels<N> {
    net: N,
    threads: ThreadPool,
}

impl<N> OwnKernels<N> {
    /// The net that `make` finds in the model's file. `None` is no error: ONNX Runtime then runs the graph
    /// as it runs others'. It does on a GPU, for files that are not of this kind, on processors without the
    /// instructions, and where somebody asks for the graph as it is.
    pub(super) fn load(
        engine: &Engine,
        model: &ModelSource,
        settings: &InferenceSettings,
        name: &'static str,
        make: impl FnOnce(Layers<'_>) -> Option<N>,
    ) -> Result<Option<Self>, EnhanceError> {
        let plain = engine.device_in_use() == "cpu" && settings.graph_optimization;
        if !plain || engine.metadata("aienhance.layers").as_deref() != Some(LAYERS) {
            return Ok(None);
        }
        let Some(isa) = Isa::detect() else {
            return Ok(None);
        };
        let arrays = weights::read(&model.load()?);
        let Some(net) = make(Layers {
            isa,
            arrays: &arrays,
        }) else {
            return Ok(None);
        };
        let threads = threads(name, settings.num_threads as usize);
        Ok(threads.map(|threads| Self { net, threads }))
    }

    /// Runs the net on its threads; the engine counts that.
    pub(super) fn run<R: Send>(&mut self, engine: &Engine, f: impl FnOnce(&mut N) -> R + Send) -> R
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

#[cfg(test)]
mod tests {
    use super::super::{Operation, Spare, denoise, upscale};
    use super::*;
    use crate::{
        frame::{Frame, Picture},
        testing::{gradient, noisy},
    };
    use aivideo_core::pixels::Yuv420;

    /// A picture with edges, slopes and noise.
    fn picture(width: usize, height: usize) -> Yuv420 {
        let mut picture = Yuv420::new(width, height);
        let plane = |w: usize, h: usize, seed: u64| {
            let mut plane = gradient(w, h);
            for (i, v) in plane.iter_mut().enumerate() {
                if (i % w / 9 + i / w / 7).is_multiple_of(2) {
                    *v = v.saturating_add(40);
                }
            }
            noisy(&plane, 12.0, seed)
        };
        let (cw, ch) = (picture.chroma_width(), picture.chroma_height());
        picture.y = plane(width, height, 1);
        picture.u = plane(cw, ch, 2);
        picture.v = plane(cw, ch, 3);
        picture
    }

    fn run(step: &mut dyn Operation, picture: &Yuv420) -> Yuv420 {
        let frame = Frame {
            picture: Picture::Eight(picture.clone()),
            cut: false,
            sightings: Vec::new(),
        };
        let frame = step.process(frame, &mut Spare::default());
        match frame.expect("it runs").expect("a frame").picture {
            Picture::Eight(picture) => picture,
            Picture::Ten(_) => panic!("eight bits were given"),
        }
    }

    /// Samples of eight bits may round to either side: a step apart at most, and few of them.
    fn agree(own: &Yuv420, other: &Yuv420, what: &str) {
        for (a, b) in [(&own.y, &other.y), (&own.u, &other.u), (&own.v, &other.v)] {
            assert_eq!(a.len(), b.len());
            let apart = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
            let count = apart().filter(|d| *d > 0).count();
            assert!(apart().all(|d| d <= 1), "{what}: steps apart");
            assert!(count * 1000 <= a.len(), "{what}: {count} of {}", a.len());
        }
    }

    #[test]
    fn own_kernels_make_what_onnx_runtime_makes_of_the_graph() {
        if Isa::detect().is_none() {
            println!("skipped: this processor has none of the instructions of the kernels");
            return;
        }
        let plain = InferenceSettings {
            graph_optimization: false,
            ..InferenceSettings::default()
        };
        // Both sizes of a chain's life, too: maps are made anew.
        let sizes = [(64, 40), (333, 251), (2, 2), (64, 40)];
        for settings in [
            InferenceSettings::default(),
            InferenceSettings {
                num_threads: 1,
                ..InferenceSettings::default()
            },
        ] {
            let make = |settings: &InferenceSettings| {
                let level = denoise::Level::Sigma(20.0);
                let model = denoise::default_model();
                denoise::Denoise::new(level, denoise::Level::Sigma(9.0), &model, settings)
                    .expect("loads")
            };
            let (mut own, mut graph) = (make(&settings), make(&plain));
            assert!(own.is_own() && !graph.is_own());
            let model = upscale::default_model();
            let make = |settings: &InferenceSettings| {
                upscale::Upscale::new(2, &model, settings).expect("loads")
            };
            let (mut own_up, mut graph_up) = (make(&settings), make(&plain));
            assert!(own_up.is_own() && !graph_up.is_own());
            for (w, h) in sizes {
                let picture = picture(w, h);
                agree(
                    &run(&mut own, &picture),
                    &run(&mut graph, &picture),
                    &format!("denoise {w}x{h}"),
                );
                agree(
                    &run(&mut own_up, &picture),
                    &run(&mut graph_up, &picture),
                    &format!("upscale {w}x{h}"),
                );
            }
        }
    }
}
