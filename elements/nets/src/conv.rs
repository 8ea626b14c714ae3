// SPDX-License-Identifier: Apache-2.0
//! Convolutions over maps, some rows at a time.
//!
//! 3x3 layers of stride 1, and 4x4 ones of stride 2, go by Winograd's transforms (Lavin and Gray, "Fast
//! Algorithms for Convolutional Neural Networks", 2015; [`transform`](crate::transform)): tiles of inputs are
//! transformed, each of a tile's numbers is a dense layer of its own, and what comes out is transformed to outputs.
//! For each pair of channels that is 64 multiplications for 6x6 outputs where the sum over nine taps has 324, and
//! 100 for 4x4 where that over sixteen has 256. Results differ in the last bits of floats. Where dense layers go to a matrix
//! unit, the plain sum is faster, and more exact than bfloat16 pairs of transformed numbers would be.

use crate::aligned::Aligned;
use crate::dense::{Finish, Linear, Tap, linear};
use crate::isa::Isa;
use crate::map::{Map, Rows};
use crate::transform::{Four, MOST_OUT, Scheme, Target, Three, gather, spread};
use crate::weights::Array;
use std::cell::Cell;
use std::marker::PhantomData;

/// Rows that are worked on at a time where no tiles ask for another number.
pub const ROWS: usize = 4;
/// Floats of transformed inputs and outputs that are worked on at a time: they stay in the second cache.
const CACHED: usize = 96 * 1024;
/// What kernels take at once.
pub(crate) const LANES: usize = 16;

/// What becomes of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Keep,
    /// The leaky rectifier.
    Leaky,
    /// The same, and the layer's input added: a residual block.
    LeakyAdd,
}

/// A layer of windows of `side * side`, every `stride` positions, `pad` of them outside of the map at its
/// upper left.
#[derive(Debug)]
pub struct Conv {
    isa: Isa,
    inputs: usize,
    /// With those added that make a multiple of 16.
    outputs: usize,
    side: usize,
    stride: usize,
    pad: usize,
    direct: Linear,
    fast: Option<Fast>,
    #[cfg(target_arch = "x86_64")]
    tiles: Option<crate::amx::windows::Windows>,
}

/// A layer's weights, transformed.
#[derive(Debug)]
enum Fast {
    Three(Winograd<Three>),
    Four(Winograd<Four>),
}

#[derive(Debug)]
struct Winograd<S> {
    numbers: Vec<Linear>,
    bias: Aligned<f32>,
    scheme: PhantomData<S>,
}

thread_local! {
    /// Transformed inputs and outputs, kept from one call to the next.
    static SCRATCH: Cell<[Aligned<f32>; 2]> = const { Cell::new([Aligned::new(), Aligned::new()]) };
}

impl Conv {
    /// `weights` is `[outputs][inputs][side][side]`; `None` where the two do not fit each other.
    pub fn new(isa: Isa, weights: &Array, bias: &Array, stride: usize, pad: usize) -> Option<Self> {
        let [outputs, inputs, side, width] = weights.dims[..] else {
            return None;
        };
        let sound = outputs > 0 && inputs > 0 && side > 0 && stride > 0 && side == width;
        if !sound
            || bias.data.len() != outputs
            || weights.data.len() != outputs * inputs * side * side
        {
            return None;
        }
        let padded = outputs.next_multiple_of(LANES);
        let mut biases = vec![0.0; padded];
        biases[..outputs].copy_from_slice(&bias.data);
        let taps = side * side;
        let mut rows = vec![0.0; padded * taps * inputs];
        for (row, from) in rows
            .chunks_exact_mut(taps * inputs)
            .zip(weights.data.chunks_exact(inputs * taps))
        {
            for (tap, row) in row.chunks_exact_mut(inputs).enumerate() {
                for (input, weight) in row.iter_mut().enumerate() {
                    *weight = from[input * taps + tap];
                }
            }
        }
        let fast = match (side, stride, pad) {
            _ if isa.has_tiles() || !inputs.is_multiple_of(LANES) => None,
            (3, 1, 1) => Some(Fast::Three(Winograd::new(inputs, &weights.data, &biases))),
            (4, 2, 1) => Some(Fast::Four(Winograd::new(inputs, &weights.data, &biases))),
            _ => None,
        };
        Some(Self {
            isa,
            inputs,
            outputs: padded,
            side,
            stride,
            pad,
            fast,
            #[cfg(target_arch = "x86_64")]
            tiles: isa.has_tiles().then(|| {
                crate::amx::windows::Windows::new(&rows, [inputs, padded, side], stride, pad)
            }),
            direct: Linear::new(taps * inputs, &rows, &biases),
        })
    }

    /// The same layer by the plain sum, in dense layers: as exact as floats on a matrix unit, too.
    pub fn plain(self) -> Self {
        Self {
            fast: None,
            #[cfg(target_arch = "x86_64")]
            tiles: None,
            ..self
        }
    }

    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Rows of the result that are made at a time.
    pub fn tile(&self) -> usize {
        #[cfg(target_arch = "x86_64")]
        if self.tiles.is_some() {
            return crate::amx::windows::Windows::ROWS;
        }
        match &self.fast {
            Some(Fast::Three(_)) => Three::OUT,
            Some(Fast::Four(_)) => Four::OUT,
            None => ROWS,
        }
    }

    pub fn side(&self) -> usize {
        self.side
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// A multiple of 16; those beyond the file's are what a bias of 0 gives.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Up to [`Self::tile`] rows of the result.
    pub fn run(&self, input: &Map, rows: &mut Rows<'_>, after: After) {
        let (first, count, width) = (rows.first, rows.count, rows.width());
        let (out, stride) = rows.inside();
        self.rows(input, [first, count, width], out, stride, after);
    }

    /// The same to anywhere: `count` rows from `first` on, which is a multiple of [`Self::tile`], of
    /// `width` positions, `step` floats from row to row.
    pub fn rows(
        &self,
        input: &Map,
        [first, count, width]: [usize; 3],
        out: &mut [f32],
        step: usize,
        after: After,
    ) {
        assert!(count <= self.tile() && first.is_multiple_of(self.tile()));
        assert!(self.inputs == input.channels);
        assert!(after != After::LeakyAdd || self.inputs == self.outputs);
        if count == 0 || width == 0 {
            return;
        }
        let size = [first, count, width];
        assert!(
            (count - 1) * step + width * self.outputs <= out.len() && step >= width * self.outputs
        );
        #[cfg(target_arch = "x86_64")]
        if let Some(tiles) = &self.tiles {
            tiles.rows(input, size, out, &self.direct.bias, step, after);
            return;
        }
        match &self.fast {
            Some(Fast::Three(fast)) => fast.rows(self.isa, input, size, out, step, after),
            Some(Fast::Four(fast)) => fast.rows(self.isa, input, size, out, step, after),
            None => {
                for (i, out) in out.chunks_mut(step).take(count).enumerate() {
                    self.row(input, first + i, &mut out[..width * self.outputs], after);
                }
            }
        }
    }

    /// A row, by the plain sum.
    pub fn row(&self, input: &Map, row: usize, out: &mut [f32], after: After) {
        let count = out.len() / self.outputs;
        #[cfg(target_arch = "x86_64")]
        if let Some(tiles) = &self.tiles
            && count > 0
        {
            let step = out.len();
            tiles.rows(input, [row, 1, count], out, &self.direct.bias, step, after);
            return;
        }
        let above = (row * self.stride) as isize - self.pad as isize;
        let taps: Vec<Tap<'_>> = (0..self.side as isize)
            .map(|y| Tap {
                data: input.from(above + y, -(self.pad as isize)),
                step: self.stride * self.inputs,
                len: self.side * self.inputs,
            })
            .collect();
        let finish = match after {
            After::Keep => Finish::Keep,
            After::Leaky | After::LeakyAdd => Finish::Leaky,
        };
        let panels = 0..self.outputs / LANES;
        linear(
            self.isa,
            &self.direct,
            &self.direct.bias,
            panels,
            &taps,
            count,
            out,
            self.outputs,
            finish,
        );
        if after == After::LeakyAdd {
            for (out, input) in out.iter_mut().zip(input.row(row)) {
                *out += input;
            }
        }
    }
}

impl<S: Scheme> Winograd<S> {
    /// `weights` is `[outputs][inputs][side][side]`; outputs beyond those of the weights are the bias's.
    fn new(inputs: usize, weights: &[f32], bias: &[f32]) -> Self {
        let (outputs, side) = (bias.len(), S::SIDE);
        let width = S::PHASES * inputs;
        let mut numbers = vec![vec![0.0; outputs * width]; side * side];
        for (place, kernel) in weights.chunks_exact(S::TAPS * S::TAPS).enumerate() {
            let (output, input) = (place / inputs, place % inputs);
            for (at, number) in numbers.iter_mut().enumerate() {
                for phase in 0..S::PHASES {
                    let value = S::kernel(kernel, phase, at / side, at % side);
                    number[output * width + phase * inputs + input] = value as f32;
                }
            }
        }
        let zeros = vec![0.0; outputs];
        let layer = |weights: &Vec<f32>| Linear::new(width, weights, &zeros);
        Self {
            numbers: numbers.iter().map(layer).collect(),
            bias: bias.into(),
            scheme: PhantomData,
        }
    }

    fn rows(
        &self,
        isa: Isa,
        input: &Map,
        [first, count, width]: [usize; 3],
        out: &mut [f32],
        step: usize,
        after: After,
    ) {
        let (inputs, outputs) = (input.channels, self.bias.len());
        let (wide, numbers) = (S::PHASES * inputs, self.numbers.len());
        let tiles = width.div_ceil(S::OUT);
        let parts = tiles.div_ceil((CACHED / (numbers * (wide + outputs))).max(8));
        let chunk = tiles.div_ceil(parts).next_multiple_of(8);
        // A cache line more, so that a tile's numbers do not all fall into the same set of the cache.
        let (given, made) = (chunk * wide + LANES, chunk * outputs + LANES);
        let [mut one, mut two] = SCRATCH.take();
        one.resize(numbers * given);
        two.resize(numbers * made);
        for at in (0..tiles).step_by(chunk) {
            let tiles = chunk.min(tiles - at);
            for phase in 0..S::PHASES {
                let to = &mut one[phase * inputs..];
                gather::<S>(
                    isa,
                    input,
                    [first, at * S::OUT, phase],
                    tiles,
                    to,
                    [given, wide],
                );
            }
            let between = one.chunks_exact(given).zip(two.chunks_exact_mut(made));
            for (layer, (from, to)) in self.numbers.iter().zip(between) {
                let taps = [Tap {
                    data: from,
                    step: wide,
                    len: wide,
                }];
                let panels = 0..outputs / LANES;
                linear(
                    isa,
                    layer,
                    &layer.bias,
                    panels,
                    &taps,
                    tiles,
                    to,
                    outputs,
                    Finish::Keep,
                );
            }
            let column = S::OUT * at;
            let mut add: [&[f32]; MOST_OUT] = [&[]; MOST_OUT];
            if after == After::LeakyAdd {
                for (i, add) in add.iter_mut().enumerate().take(count) {
                    *add = &input.row(first + i)[column * inputs..];
                }
            }
            let target = Target {
                out: &mut out[column * outputs..],
                step,
                size: [count, (width - column).min(S::OUT * tiles)],
                after,
                add,
            };
            spread::<S>(isa, &two, made, &self.bias, target);
        }
        SCRATCH.set([one, two]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rayon::prelude::*;

    /// Numbers that repeat themselves after a long time.
    fn noise(seed: u32) -> impl FnMut() -> f32 {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
        move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        }
    }

    fn map(
        width: usize,
        height: usize,
        channels: usize,
        border: usize,
        next: &mut impl FnMut() -> f32,
    ) -> Map {
        let mut map = Map::windowed(width, height, channels, border);
        map.split(1).for_each(|_| ()); // no rows are lost
        for mut rows in map.split(height).collect::<Vec<_>>() {
            for i in 0..rows.count {
                rows.row(i).fill_with(&mut *next);
            }
        }
        map
    }

    fn layer(
        isa: Isa,
        outputs: usize,
        inputs: usize,
        side: usize,
        stride: usize,
        pad: usize,
    ) -> (Conv, Array, Array) {
        let mut next = noise((outputs + 100 * inputs + side) as u32);
        let scale = 1.0 / ((inputs * side * side) as f32).sqrt();
        let weights = Array {
            dims: vec![outputs, inputs, side, side],
            data: (0..outputs * inputs * side * side)
                .map(|_| next() * scale)
                .collect(),
        };
        let bias = Array {
            dims: vec![outputs],
            data: (0..outputs).map(|_| next()).collect(),
        };
        let conv = Conv::new(isa, &weights, &bias, stride, pad).expect("a sound layer");
        (conv, weights, bias)
    }

    /// What a layer takes a number for: a matrix unit rounds it.
    fn seen(conv: &Conv, value: f32) -> f64 {
        match conv.isa.has_tiles() {
            true => half::bf16::from_f32(value).to_f64(),
            false => f64::from(value),
        }
    }

    /// By the definition, in doubles.
    fn expected(
        input: &Map,
        (conv, weights, bias): &(Conv, Array, Array),
        row: usize,
        column: usize,
        output: usize,
        after: After,
    ) -> f64 {
        let (side, inputs) = (conv.side as isize, conv.inputs);
        let mut sum = f64::from(bias.data[output]);
        for y in 0..side {
            for x in 0..side {
                let at = |position: usize, n: isize| {
                    (position * conv.stride) as isize + n - conv.pad as isize
                };
                let (r, c) = (at(row, y), at(column, x));
                if r < 0 || c < 0 || r >= input.height as isize || c >= input.width as isize {
                    continue;
                }
                for i in 0..inputs {
                    let weight = weights.data
                        [((output * inputs + i) as isize * side * side + y * side + x) as usize];
                    sum += seen(conv, weight) * seen(conv, input.from(r, c)[i]);
                }
            }
        }
        match after {
            After::Keep => sum,
            After::Leaky => sum.max(sum * 0.1),
            After::LeakyAdd => {
                sum.max(sum * 0.1) + f64::from(input.from(row as isize, column as isize)[output])
            }
        }
    }

    fn check(width: usize, height: usize, conv: (Conv, Array, Array), after: After, border: usize) {
        let mut next = noise(7);
        let input = map(width, height, conv.0.inputs, border, &mut next);
        let mut out = Map::windowed(
            width / conv.0.stride,
            height / conv.0.stride,
            conv.0.outputs(),
            1,
        );
        out.split(conv.0.tile())
            .for_each(|mut rows| conv.0.run(&input, &mut rows, after));
        let mut worst = 0.0f64;
        for row in 0..out.height {
            for (column, position) in out.row(row).chunks_exact(conv.0.outputs()).enumerate() {
                for (output, value) in position.iter().enumerate().take(conv.1.dims[0]) {
                    let wanted = expected(&input, &conv, row, column, output, after);
                    worst = worst.max((f64::from(*value) - wanted).abs());
                }
            }
        }
        // Pairs of bfloat16 are good to one part in 2^15.
        let most = if conv.0.isa.has_tiles() { 2e-4 } else { 2e-5 };
        assert!(worst < most, "{width}x{height} {after:?}: off by {worst}");
        // The border is left as it is.
        assert!(out.from(-1, -1)[..out.width].iter().all(|v| *v == 0.0));
        let end = out.from(out.height as isize - 1, out.width as isize);
        assert!(end[..out.channels].iter().all(|v| *v == 0.0));
    }

    #[test]
    fn layers_are_what_their_definition_says() {
        for isa in Isa::all() {
            for (width, height) in [(4, 4), (1, 1), (9, 6), (40, 13), (163, 5)] {
                check(width, height, layer(isa, 16, 32, 3, 1, 1), After::Leaky, 1);
                check(
                    width,
                    height,
                    layer(isa, 32, 32, 3, 1, 1),
                    After::LeakyAdd,
                    1,
                );
                check(width, height, layer(isa, 6, 16, 3, 1, 1), After::Keep, 1);
                check(width, height, layer(isa, 16, 8, 3, 1, 1), After::Leaky, 1);
                check(width, height, layer(isa, 64, 64, 3, 1, 1), After::Leaky, 1);
                check(width, height, layer(isa, 16, 16, 1, 1, 0), After::Keep, 1);
            }
            for (width, height) in [(2, 2), (22, 6), (64, 18)] {
                check(width, height, layer(isa, 32, 16, 4, 2, 1), After::Leaky, 1);
                check(width, height, layer(isa, 32, 1, 6, 2, 2), After::Leaky, 2);
                check(width, height, layer(isa, 32, 16, 2, 2, 0), After::Leaky, 1);
            }
        }
    }

    #[test]
    fn both_ways_agree() {
        for isa in Isa::all() {
            let (conv, ..) = layer(isa, 32, 32, 3, 1, 1);
            let input = map(37, 4, 32, 1, &mut noise(3));
            let made = |conv: &Conv| {
                let mut out = vec![0.0; 4 * 37 * 32];
                conv.rows(&input, [0, 4, 37], &mut out, 37 * 32, After::LeakyAdd);
                out
            };
            let first = made(&conv);
            let second = made(&conv.plain());
            let apart = first
                .iter()
                .zip(&second)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            // A matrix unit rounds features.
            let most = if isa.has_tiles() { 1e-2 } else { 2e-5 };
            assert!(apart < most, "{}: {apart}", isa.name());
        }
    }

    proptest! {
        #[test]
        fn arrays_that_do_not_fit_make_no_layer(dims in prop::collection::vec(0usize..5, 0..6), len in 0usize..100, biases in 0usize..5) {
            let Some(isa) = Isa::detect() else { return Ok(()); };
            let fits = dims.len() == 4 && dims.iter().product::<usize>() == len && len > 0
                && dims[2] == dims[3] && biases == dims[0];
            let weights = Array { dims, data: vec![0.0; len] };
            let bias = Array { dims: vec![biases], data: vec![0.0; biases] };
            prop_assert_eq!(Conv::new(isa, &weights, &bias, 1, 1).is_some(), fits);
        }
    }
}
