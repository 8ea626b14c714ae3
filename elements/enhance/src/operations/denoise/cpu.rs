// SPDX-License-Identifier: Apache-2.0
//! The net on a CPU in this project's kernels: the layers of `models/training/enhance/nets.py`, as
//! `export.py` names them.

use aivideo_nets::{
    conv::{After, Conv},
    isa::Isa,
    layers::{Layers, add_twice, run, run_chain},
    map::Map,
};

use super::MULTIPLE;
use crate::blocks::{self, Planes, SAMPLES};

/// Inputs of a position: samples, the level of the noise of luma and of chroma.
const INPUTS: usize = SAMPLES + 2;

/// The layers, at 1/2, 1/4 and 1/8 of the size.
pub(super) struct Net {
    isa: Isa,
    features: [usize; 3],
    head: Conv,
    d1: Vec<Conv>,
    to2: Conv,
    d2: Vec<Conv>,
    to3: Conv,
    d3: Vec<Conv>,
    from3: Conv,
    u2: Vec<Conv>,
    from2: Conv,
    u1: Vec<Conv>,
    tail: Conv,
    maps: Option<Maps>,
}

/// Maps of one size, two of each resolution to go back and forth between.
struct Maps {
    input: Map,
    at2: [Map; 2],
    at4: [Map; 2],
    at8: [Map; 2],
}

impl Maps {
    fn new(width: usize, height: usize, features: [usize; 3]) -> Self {
        let two = |divisor, channels| {
            [(); 2].map(|()| Map::windowed(width / divisor, height / divisor, channels, 1))
        };
        Self {
            input: Map::new(width / 2, height / 2, INPUTS, 1),
            at2: two(2, features[0]),
            at4: two(4, features[1]),
            at8: two(8, features[2]),
        }
    }

    fn are_of(&self, width: usize, height: usize) -> bool {
        (self.input.width, self.input.height) == (width / 2, height / 2)
    }
}

impl Net {
    pub(super) fn new(layers: Layers<'_>) -> Option<Self> {
        let [a, b, c] = ["head", "to2", "to3"].map(|name| layers.outputs(name));
        let [a, b, c] = [a?, b?, c?];
        if [a, b, c].iter().any(|n| !n.is_multiple_of(16)) {
            return None;
        }
        let net = Self {
            isa: layers.isa,
            features: [a, b, c],
            head: layers.conv("head", [INPUTS, a], 1, 1)?,
            d1: layers.chain("d1", a)?,
            to2: layers.halving("to2", [a, b])?,
            d2: layers.chain("d2", b)?,
            to3: layers.halving("to3", [b, c])?,
            d3: layers.chain("d3", c)?,
            from3: layers.conv("from3", [c, b], 1, 0)?,
            u2: layers.chain("u2", b)?,
            from2: layers.conv("from2", [b, a], 1, 0)?,
            u1: layers.chain("u1", a)?,
            tail: layers.conv("tail", [a, SAMPLES], 1, 1)?,
            maps: None,
        };
        let sides = [
            (&net.head, 3),
            (&net.from3, 1),
            (&net.from2, 1),
            (&net.tail, 3),
        ];
        sides
            .iter()
            .all(|(layer, side)| layer.side() == *side)
            .then_some(net)
    }

    /// Writes a picture without noise of these levels, in 8-bit steps, to planes of the same size.
    pub(super) fn run(
        &mut self,
        picture: &Planes<'_>,
        sigma: [f32; 2],
        y_out: &mut [u8],
        uv_out: &mut [u8],
    ) {
        let (width, height) = (picture.width, picture.height);
        assert!(width.is_multiple_of(MULTIPLE) && height.is_multiple_of(MULTIPLE));
        let mut maps = match self.maps.take() {
            Some(maps) if maps.are_of(width, height) => maps,
            _ => Maps::new(width, height, self.features),
        };
        let Maps {
            input,
            at2: [s1, t1],
            at4: [s2, t2],
            at8: [s3, t3],
        } = &mut maps;
        blocks::read(self.isa, picture, 0, &sigma, input);
        run(&self.head, input, s1, After::Leaky);
        run_chain(&self.d1, s1, t1, After::Leaky);
        run(&self.to2, s1, s2, After::Leaky);
        run_chain(&self.d2, s2, t2, After::Leaky);
        run(&self.to3, s2, s3, After::Leaky);
        run_chain(&self.d3, s3, t3, After::Leaky);
        add_twice(&self.from3, s3, s2);
        run_chain(&self.u2, s2, t2, After::Leaky);
        add_twice(&self.from2, s2, s1);
        run_chain(&self.u1, s1, t1, After::Leaky);
        blocks::write(&self.tail, s1, input, y_out, uv_out);
        self.maps = Some(maps);
    }
}
