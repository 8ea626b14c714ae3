// SPDX-License-Identifier: Apache-2.0
//! The built-in nets in this project's own kernels.

use aivideo_core::{
    engine::Engine, kernels::OwnKernels, model::ModelSource, settings::InferenceSettings,
};
use aivideo_nets::{layers::Layers, weights};

use super::EnhanceError;

/// What `models/training/enhance/export.py` calls the order of layers that the kernels know.
const LAYERS: &str = "1";

/// The net that `make` finds in a file that says that it has this order of layers.
pub(super) fn load<N>(
    engine: &Engine,
    model: &ModelSource,
    settings: &InferenceSettings,
    name: &'static str,
    make: impl FnOnce(Layers<'_>) -> Option<N>,
) -> Result<Option<OwnKernels<N>>, EnhanceError> {
    if engine.metadata("aienhance.layers").as_deref() != Some(LAYERS) {
        return Ok(None);
    }
    let own = OwnKernels::load(engine, model, settings, name, |isa, file| {
        let arrays = &weights::read(file);
        make(Layers { isa, arrays })
    });
    Ok(own?)
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
    use aivideo_nets::isa::Isa;

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

    /// Luma mirrored from left to right, or with rows for columns.
    fn moved(luma: &[u8], width: usize, turn: bool) -> Vec<u8> {
        let height = luma.len() / width;
        match turn {
            true => (0..luma.len())
                .map(|at| luma[at % height * width + at / height])
                .collect(),
            false => luma
                .chunks_exact(width)
                .flat_map(|row| row.iter().rev().copied())
                .collect(),
        }
    }

    #[test]
    fn an_ensemble_is_a_mean_that_has_no_side() {
        let (w, h) = (38, 26);
        let picture = picture(w, h);
        let mut ensemble =
            upscale::Upscale::new(2, &upscale::ensemble_model(), &InferenceSettings::default())
                .expect("loads");
        let mut large =
            upscale::Upscale::new(2, &upscale::large_model(), &InferenceSettings::default())
                .expect("loads");
        let apart = |a: &[u8], b: &[u8]| -> Vec<u8> {
            a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).collect()
        };
        let (mean, one) = (run(&mut ensemble, &picture).y, run(&mut large, &picture).y);
        let noticed = |apart: Vec<u8>| apart.iter().filter(|d| **d > 1).count();
        let of_one = noticed(apart(&mean, &one));
        assert!(of_one > mean.len() / 50, "it is the large net alone");
        for turn in [false, true] {
            let mut other = picture.clone();
            other.y = moved(&picture.y, w, turn);
            if turn {
                (other.width, other.height) = (h, w);
                other.u = moved(&picture.u, w / 2, turn);
                other.v = moved(&picture.v, w / 2, turn);
            }
            let want = |luma: &[u8]| moved(luma, 2 * w, turn);
            let made = run(&mut ensemble, &other).y;
            assert_eq!(noticed(apart(&made, &want(&mean))), 0, "turned: {turn}");
            // Which the large net alone does not keep.
            let made = run(&mut large, &other).y;
            assert_ne!(noticed(apart(&made, &want(&one))), 0, "turned: {turn}");
        }
    }

    /// Samples of eight bits may round to either side: a step apart at most, and few of them. A matrix unit takes
    /// features as bfloat16: more are a step apart there, and hardly any two.
    fn agree(own: &Yuv420, other: &Yuv420, what: &str) {
        let (most, one_in, one_in_by_two) = match Isa::detect() {
            Some(isa) if isa.has_tiles() => (3, 2, 100),
            _ => (1, 1000, 1000),
        };
        for (a, b) in [(&own.y, &other.y), (&own.u, &other.u), (&own.v, &other.v)] {
            assert_eq!(a.len(), b.len());
            let apart = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
            let of = |least: u8| apart().filter(|d| *d >= least).count();
            let (one, two) = (of(1), of(2));
            let all = a.len();
            assert!(apart().all(|d| d <= most), "{what}: steps apart");
            assert!(one * one_in <= all, "{what}: {one} of {all}");
            assert!(
                two * one_in_by_two <= all,
                "{what}: {two} of {all} by two steps"
            );
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
        let one_thread = InferenceSettings {
            num_threads: 1,
            ..InferenceSettings::default()
        };
        let nets = [
            (denoise::default_model(), upscale::default_model()),
            (denoise::large_model(), upscale::large_model()),
        ];
        for (denoiser, upscaler) in nets {
            for settings in [InferenceSettings::default(), one_thread.clone()] {
                let level = denoise::Level::Sigma;
                let make = |settings: &InferenceSettings| {
                    denoise::Denoise::new(level(20.0), level(9.0), &denoiser, settings)
                        .expect("loads")
                };
                let (mut own, mut graph) = (make(&settings), make(&plain));
                assert!(own.is_own() && !graph.is_own());
                let make = |settings: &InferenceSettings| {
                    upscale::Upscale::new(2, &upscaler, settings).expect("loads")
                };
                let (mut own_up, mut graph_up) = (make(&settings), make(&plain));
                assert!(own_up.is_own() && !graph_up.is_own());
                for (w, h) in sizes {
                    let picture = picture(w, h);
                    let (a, b) = (run(&mut own, &picture), run(&mut graph, &picture));
                    agree(&a, &b, &format!("denoise {w}x{h}"));
                    let (a, b) = (run(&mut own_up, &picture), run(&mut graph_up, &picture));
                    agree(&a, &b, &format!("upscale {w}x{h}"));
                }
            }
        }
    }
}
