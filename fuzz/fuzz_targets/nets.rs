// SPDX-License-Identifier: Apache-2.0
//! An ONNX file's arrays: anything is read or left out, and layers are made of what fits.
#![no_main]

use aivideo_nets::{isa::Isa, layers::Layers, weights};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let arrays = weights::read(data);
    weights::nodes(data);
    for array in arrays.values() {
        assert_eq!(array.dims.iter().product::<usize>(), array.data.len());
    }
    let Some(isa) = Isa::detect() else { return };
    let layers = Layers { isa, arrays: &arrays };
    for name in arrays.keys().filter_map(|name| name.strip_suffix(".w")) {
        let dims = &arrays[&format!("{name}.w")].dims;
        if let [outputs, inputs, ..] = dims[..] {
            layers.conv(name, [inputs, outputs], 1, 1);
        }
        layers.chain(name, 16);
    }
});
