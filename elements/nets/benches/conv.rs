// SPDX-License-Identifier: Apache-2.0
//! Layers of the nets' sizes at 720p on one core, by the transform and by the plain sum.

use aivideo_nets::{
    conv::{After, Conv},
    isa::Isa,
    layers::run,
    map::Map,
    weights::Array,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Inputs, outputs, side, stride, and the size of the inputs.
const LAYERS: [[usize; 6]; 7] = [
    [16, 16, 3, 1, 640, 360],
    [32, 32, 3, 1, 320, 180],
    [64, 64, 3, 1, 160, 90],
    [16, 32, 4, 2, 640, 360],
    [32, 64, 4, 2, 320, 180],
    [16, 32, 2, 2, 640, 360],
    [32, 64, 2, 2, 320, 180],
];

fn layers(c: &mut Criterion) {
    let Some(isa) = Isa::detect() else {
        println!(
            "skipped: this processor has none of the instructions that the kernels are made of"
        );
        return;
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a thread");
    for [inputs, outputs, side, stride, width, height] in LAYERS {
        let array = |dims: Vec<usize>| Array {
            data: (0..dims.iter().product())
                .map(|i: usize| (i % 7) as f32 / 64.0 - 0.05)
                .collect(),
            dims,
        };
        let (weights, bias) = (
            array(vec![outputs, inputs, side, side]),
            array(vec![outputs]),
        );
        let pad = (side - 1) / 2;
        let conv = || Conv::new(isa, &weights, &bias, stride, pad).expect("a sound layer");
        let input = Map::windowed(width, height, inputs, 1);
        let mut out = Map::windowed(width / stride, height / stride, outputs, 1);
        let name = format!(
            "{side}x{side}/{stride}, {inputs} to {outputs}, {width}x{height}, {}",
            isa.name()
        );
        let mut group = c.benchmark_group(name);
        // Products of the plain sum, so that both have the same measure.
        let products = side * side * inputs * outputs * out.width * out.height;
        group.throughput(Throughput::Elements(products as u64));
        for (name, conv) in [("transform", conv()), ("plain", conv().plain())] {
            group.bench_function(name, |b| {
                b.iter(|| {
                    pool.install(|| run(&conv, &input, &mut out, After::Leaky));
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, layers);
criterion_main!(benches);
