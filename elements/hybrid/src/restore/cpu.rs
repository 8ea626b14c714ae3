// SPDX-License-Identifier: Apache-2.0
//! The net on a CPU in this project's kernels. Its file has no names for its layers, so they are those of the
//! graph that `models/training/restore/export.py` writes, in their order; any other graph is left alone.

use aivideo_enhance::blocks::{self, Planes, SAMPLES};
use aivideo_nets::{
    conv::{After, Conv},
    dense::SLOPE,
    isa::Isa,
    layers::{run, run_chain},
    map::Map,
    weights::{self, Array, Node},
};

use super::MULTIPLE;

/// What a net is told beside both pictures, on the scale of their samples.
const TOLD: usize = 4;
const INPUTS: usize = 2 * SAMPLES + TOLD;
/// Operators in front of the first convolution.
const HEAD: &[&str] = &[
    "SpaceToDepth",
    "Concat",
    "Cast",
    "SpaceToDepth",
    "Concat",
    "Cast",
    "Reshape",
    "Mul",
    "Shape",
    "Slice",
    "Concat",
    "Expand",
    "Concat",
    "Conv",
    "LeakyRelu",
];
/// Of a residual block.
const BLOCK: &[&str] = &["Conv", "LeakyRelu", "Add"];
/// From the last convolution on.
const TAIL: &[&str] = &["Conv", "Add", "Clip", "Cast", "Split", "DepthToSpace"];

pub(super) struct Net {
    isa: Isa,
    head: Conv,
    blocks: Vec<Conv>,
    tail: Conv,
    maps: Option<[Map; 3]>,
}

/// Whether nodes are those of a net of so many blocks.
fn is_known(nodes: &[Node], blocks: usize) -> bool {
    let middle = BLOCK.iter().cycle().take(blocks * BLOCK.len());
    let wanted = HEAD.iter().chain(middle).chain(TAIL);
    let alike = nodes
        .iter()
        .map(|n| n.operator.as_str())
        .eq(wanted.copied());
    let slopes = nodes.iter().filter(|n| n.operator == "LeakyRelu");
    alike && slopes.map(|n| n.alpha).all(|alpha| alpha == Some(SLOPE))
}

impl Net {
    pub(super) fn new(isa: Isa, file: &[u8]) -> Option<Self> {
        let (nodes, arrays) = (weights::nodes(file), weights::read(file));
        let convs: Vec<&Node> = nodes.iter().filter(|n| n.operator == "Conv").collect();
        if convs.len() < 2 || !is_known(&nodes, convs.len() - 2) {
            return None;
        }
        // The last layer's outputs, which a layer itself fills up to more, are samples and no others.
        let samples = arrays.get(convs.last()?.inputs.get(1)?)?.dims.first()?;
        let layer = |node: &&Node| {
            let [_, weights, bias] = &node.inputs[..] else {
                return None;
            };
            let (weights, bias): (&Array, &Array) = (arrays.get(weights)?, arrays.get(bias)?);
            Conv::new(isa, weights, bias, 1, 1).filter(|conv| conv.side() == 3)
        };
        let mut layers = convs.iter().map(layer).collect::<Option<Vec<_>>>()?;
        let (tail, head) = (layers.pop()?, layers.remove(0));
        let width = head.outputs();
        let square = |conv: &Conv| conv.inputs() == width && conv.outputs() == width;
        let fits = *samples == SAMPLES
            && head.inputs() == INPUTS
            && layers.iter().all(square)
            && tail.inputs() == width;
        let net = Self {
            isa,
            head,
            blocks: layers,
            tail,
            maps: None,
        };
        fits.then_some(net)
    }

    /// Writes the picture restored, from it and the one before.
    pub(super) fn run(
        &mut self,
        [now, before]: [Planes<'_>; 2],
        told: [f32; TOLD],
        y: &mut [u8],
        uv: &mut [u8],
    ) {
        let (width, height) = (now.width, now.height);
        assert!(width.is_multiple_of(MULTIPLE) && height.is_multiple_of(MULTIPLE));
        let size = (width / 2, height / 2);
        let mut maps = match self.maps.take() {
            Some(maps) if (maps[0].width, maps[0].height) == size => maps,
            _ => [INPUTS, self.head.outputs(), self.head.outputs()]
                .map(|channels| Map::windowed(size.0, size.1, channels, 1)),
        };
        let [input, one, two] = &mut maps;
        blocks::read(self.isa, &now, 0, &[], input);
        blocks::read(self.isa, &before, SAMPLES, &told.map(|v| v * 255.0), input);
        run(&self.head, input, one, After::Leaky);
        run_chain(&self.blocks, one, two, After::LeakyAdd);
        blocks::write(&self.tail, one, input, y, uv);
        self.maps = Some(maps);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Condition, Depth, Picture, Restorer, default_model};
    use super::*;
    use crate::hint::Base;
    use aivideo_core::settings::InferenceSettings;

    /// Luma and chroma with edges, slopes and noise.
    fn planes(width: usize, height: usize, number: usize) -> Vec<Vec<u8>> {
        let plane = |w: usize, h: usize| {
            let sample = |i: usize| {
                let (x, y) = (i % w + 3 * number, i / w);
                let noise = (i as u32 + 7 * number as u32).wrapping_mul(0x9e37_79b9) >> 28;
                (60 + x / 2 + 50 * ((x / 9 + y / 7) % 2) + noise as usize) as u8
            };
            (0..w * h).map(sample).collect()
        };
        let (cw, ch) = (width.div_ceil(2), height.div_ceil(2));
        vec![plane(width, height), plane(cw, ch), plane(cw, ch)]
    }

    #[test]
    fn own_kernels_make_what_onnx_runtime_makes_of_the_graph() {
        let Some(isa) = Isa::detect() else {
            println!("skipped: this processor has none of the instructions of the kernels");
            return;
        };
        let plain = InferenceSettings {
            graph_optimization: false,
            ..InferenceSettings::default()
        };
        let mut own = Restorer::load(&InferenceSettings::default()).expect("loads");
        let mut graph = Restorer::load(&plain).expect("loads");
        assert!(own.own.is_some() && graph.own.is_none());
        // Restored at a size below the source's, for which there are no filters.
        let condition = Condition::new(0.6, 0.5, Base::Av1);
        for (width, height) in [(96, 56), (37, 21)] {
            own.reset();
            graph.reset();
            for number in 0..3 {
                let restored = |restorer: &mut Restorer| {
                    let mut planes = planes(width, height, number);
                    let strides = [width, width.div_ceil(2), width.div_ceil(2)];
                    let views = planes.iter_mut().map(Vec::as_mut_slice).zip(strides);
                    let picture = Picture::new(views.collect(), Depth::Eight, width, height);
                    let mut picture = picture.expect("planes of this size");
                    restorer.run(&mut picture, condition, 1.0).expect("it runs");
                    planes.concat()
                };
                let (a, b) = (restored(&mut own), restored(&mut graph));
                assert_ne!(a, planes(width, height, number).concat());
                // Samples may round to either side, of pictures that are restored from one another, too.
                let apart = || a.iter().zip(&b).map(|(a, b)| a.abs_diff(*b));
                let count = apart().filter(|d| *d > 0).count();
                let one_in = if isa.has_tiles() { 10 } else { 500 };
                assert!(
                    apart().all(|d| d <= 1) && count * one_in <= a.len(),
                    "{count} of {}",
                    a.len()
                );
            }
        }
    }

    #[test]
    fn a_graph_with_anything_else_is_left_alone() {
        let Some(isa) = Isa::detect() else {
            return;
        };
        let file = default_model().load().expect("it is embedded").to_vec();
        assert!(Net::new(isa, &file).is_some());
        let other = |from: &[u8], to: &[u8]| {
            let mut file = file.clone();
            let at = file
                .windows(from.len())
                .position(|w| w == from)
                .expect("it is there");
            file[at..at + from.len()].copy_from_slice(to);
            Net::new(isa, &file).is_none()
        };
        assert!(other(b"LeakyRelu", b"LeakyRelv"));
        assert!(other(b"Expand", b"Expanb"));
        assert!(other(&0.1f32.to_le_bytes(), &0.2f32.to_le_bytes()));
    }
}
