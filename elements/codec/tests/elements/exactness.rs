// SPDX-License-Identifier: Apache-2.0
//! The decoder's symbols are the encoder's, whatever the runtime's settings. The long run, over
//! whole clips, is the example `exactness`.

use crate::common::*;
use aivideo_codec::coder::{
    DecodeNet, Decoder, Depth, EncodeNet, Encoder, EncoderSettings, ModelFiles, Planes,
};
use aivideo_core::settings::InferenceSettings;

fn settings(num_threads: u32, graph_optimization: bool) -> InferenceSettings {
    InferenceSettings {
        device: "cpu".to_owned(),
        num_threads,
        graph_optimization,
        ..InferenceSettings::default()
    }
}

#[test]
fn symbols_are_identical_under_every_setting() {
    check::<u8, _>(24, scene);
}

#[test]
fn symbols_of_ten_bits_are_identical_under_every_setting() {
    check::<u16, _>(16, scene_deep);
}

fn check<S: Depth, P>(frames: usize, scene: impl Fn(usize, usize, usize) -> P)
where
    for<'a> &'a P: Into<Planes<'a, S>>,
{
    init();
    let (width, height) = (232, 180);
    let files = ModelFiles::find(Some(&model())).unwrap();
    let sequence = sequence(width, height);
    let choices = EncoderSettings {
        hash_symbols: true,
        // What differs in floats is then predicted from in floats again.
        inter_network: true,
        ..EncoderSettings::default()
    };
    // Threads, graph optimisation, fused kernels.
    let variants = [
        (1, true, true),
        (2, true, true),
        (1, true, false),
        (2, true, false),
        (1, false, false),
        (2, false, false),
    ];
    for sender in [(2, true, true), (1, false, false)] {
        let net = EncodeNet::acquire(&files, &settings(sender.0, sender.1)).unwrap();
        let mut encoder = Encoder::<S>::new(net, sequence.clone(), choices).unwrap();
        let mut decoders: Vec<Decoder> = variants
            .iter()
            .map(|&(threads, optimise, fused)| {
                let mut net = DecodeNet::acquire(&files, &settings(threads, optimise)).unwrap();
                net.set_fused(fused);
                Decoder::new(net, true)
            })
            .collect();
        let mut drift = [(0, 0); 6];
        for i in 0..frames {
            let quality = (i * 11 % 64) as u8;
            let picture = scene(width, height, i);
            let coded = encoder.encode(&picture, quality, i == 11).unwrap();
            for (decoder, drift) in decoders.iter_mut().zip(&mut drift) {
                let decoded = decoder.decode(&coded.data).unwrap();
                assert!(
                    coded.symbols.is_some() && decoded.symbols == coded.symbols,
                    "frame {i}"
                );
                assert!(decoded.damaged.is_empty() && decoded.concealed == 0);
                let own = decoder.reconstruction::<S>().unwrap();
                for (a, b) in own.y.iter().zip(&encoder.reconstruction().unwrap().y) {
                    let difference = a.value().abs_diff(b.value());
                    drift.0 = drift.0.max(difference);
                    drift.1 += u64::from(difference).pow(2);
                }
            }
        }
        let samples = (encoder.reconstruction().unwrap().y.len() * frames) as f64;
        for ((largest, sum), variant) in drift.into_iter().zip(variants) {
            let peak = f64::from((1 << S::BITS) - 1);
            let psnr = 10.0 * (peak * peak * samples / (sum as f64).max(1e-3)).log10();
            let bits = S::BITS;
            println!(
                "{bits} bits, {sender:?} to {variant:?}: drift of {largest} levels at most, {psnr:.1} dB"
            );
            assert!(
                psnr > 42.0,
                "{sender:?} to {variant:?} drifts: {psnr:.1} dB"
            );
        }
    }
}
