// SPDX-License-Identifier: Apache-2.0
//! The fused kernels compute what ONNX Runtime computes.

use aivideo_codec::coder::{DecodeNet, Depth, EncodeNet, ModelFiles, Picture};
use aivideo_core::settings::InferenceSettings;

fn settings(threads: u32) -> InferenceSettings {
    InferenceSettings {
        device: "cpu".to_owned(),
        num_threads: threads,
        ..InferenceSettings::default()
    }
}

fn picture<S: Depth>(width: usize, height: usize, shift: usize) -> Picture<S> {
    let mut picture = Picture::grey(width, height);
    let level = (1 << (S::BITS - 8)) as f32;
    let mut noise = 1u32;
    for (i, v) in picture.y.iter_mut().enumerate() {
        let (x, y) = ((i % width + shift) as f32, (i / width) as f32);
        noise = noise.wrapping_mul(1664525).wrapping_add(1013904223);
        let texture = 50.0 * (x * 0.11).sin() + 40.0 * (y * 0.07 + x * 0.02).cos();
        *v = S::clip(((120.0 + texture + (noise >> 28) as f32) * level) as i32);
    }
    for (i, v) in picture.uv.iter_mut().enumerate() {
        *v = S::clip(((128.0 + 30.0 * ((i + shift) as f32 * 0.01).sin()) * level) as i32);
    }
    picture
}

fn largest<S: Depth>(a: &[S], b: &[S]) -> u32 {
    let differences = a.iter().zip(b);
    let differences = differences.map(|(a, b)| a.value().abs_diff(b.value()));
    differences.max().unwrap()
}

fn squares<S: Depth>(a: &[S], b: &[S]) -> f64 {
    let of = |(a, b): (&S, &S)| f64::from(a.value() - b.value()).powi(2);
    a.iter().zip(b).map(of).sum()
}

#[test]
fn fused_kernels_agree_with_the_runtime() {
    check::<u8>(false);
}

#[test]
fn fused_kernels_agree_with_the_runtime_in_ten_bits() {
    check::<u16>(false);
}

#[test]
fn fused_kernels_of_key_frames_agree_with_the_runtime() {
    check::<u8>(true);
    check::<u16>(true);
}

/// The network of key frames is given what the first frame of the others' run has: nothing to predict from.
fn check<S: Depth>(key: bool) {
    gst::init().unwrap();
    let files = ModelFiles::find(None).unwrap();
    let mut plain = EncodeNet::acquire(&files, &settings(2)).unwrap();
    #[cfg(target_arch = "x86_64")]
    let possible = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    let possible = false;
    // Shipped weights whose layers the kernels do not find would run at half the speed, unseen.
    assert_eq!(plain.is_fused(), possible, "{}", plain.kernels());
    if !possible {
        aivideo_skip::skip!("this processor has no AVX2, the graph is all there is");
        return;
    }
    plain.set_fused(false);
    assert_eq!(plain.kernels(), "onnxruntime");
    let fused = EncodeNet::acquire(&files, &settings(1)).unwrap();
    assert!(fused.has_key());
    let (plain, fused) = (plain.of(key), fused.of(key));
    let layout = fused.layout((320, 192), 2);
    let (mut prediction, mut state) = (Picture::grey(320, 192), vec![0; fused.state_len(&layout)]);
    let mut skip = vec![false; layout.blocks()];
    for frame in 0..if key { 1 } else { 3 } {
        let source = picture::<S>(320, 192, 3 * frame);
        let run = |net: &EncodeNet| {
            net.run(&layout, &source, &prediction, state.clone(), 40, &skip)
                .unwrap()
        };
        let (a, b) = (run(plain), run(fused));
        let differ = a.y.iter().zip(&b.y).filter(|(a, b)| a != b).count();
        let differ_z = a.z.iter().zip(&b.z).filter(|(a, b)| a != b).count();
        // The matrix unit has the encoder's own layers in bfloat16: other symbols, as good ones.
        let coarse = fused.kernels() == "amx";
        let of_thousand = if coarse { 20 } else { 1 };
        assert!(
            differ * 1000 < of_thousand * a.y.len(),
            "{differ} of {} symbols differ",
            a.y.len()
        );
        assert!(
            differ_z * 1000 < (3 * of_thousand * a.z.len()).max(3000),
            "{differ_z} of {} differ",
            a.z.len()
        );
        let [left, done] =
            [&a, &b].map(|coded| squares(&source.y, &coded.reconstruction.picture.y));
        assert!(
            (done / left - 1.0).abs() < 0.01,
            "squared error {done}, by the runtime {left}"
        );
        assert!(b.y.iter().filter(|v| **v != 0).count() > 100);

        // The decoders are given the same symbols.
        let mut decoded = Vec::new();
        for (threads, own) in [(1, true), (3, true), (2, false)] {
            let mut net = DecodeNet::acquire(&files, &settings(threads)).unwrap();
            net.set_fused(own);
            let (z, y) = (b.z.clone(), b.y.clone());
            decoded.push(
                net.of(key)
                    .run(&layout, z, y, &prediction, state.clone(), 40)
                    .unwrap(),
            );
        }
        assert_eq!(decoded[0].picture, b.reconstruction.picture);
        assert_eq!(decoded[0].state, b.reconstruction.state);
        assert_eq!(decoded[1].picture, b.reconstruction.picture);
        assert_eq!(decoded[1].state, b.reconstruction.state);
        let runtime = &decoded[2];
        assert!(largest(&runtime.picture.y, &b.reconstruction.picture.y) <= 1);
        assert!(largest(&runtime.picture.uv, &b.reconstruction.picture.uv) <= 1);
        let states = runtime.state.iter().zip(&b.reconstruction.state);
        assert!(states.clone().all(|(a, b)| a.abs_diff(*b) <= 1));
        assert!(states.filter(|(a, b)| a != b).count() * 1000 < runtime.state.len());

        prediction = b.reconstruction.picture;
        state = b.reconstruction.state;
        skip.iter_mut().step_by(3).for_each(|s| *s = true);
        skip[..layout.blocks() / 4].fill(true);
    }
}
