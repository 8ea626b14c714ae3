// SPDX-License-Identifier: Apache-2.0
//! What encoder and decoder both compute: context, prior, means and steps, and the picture.

use super::file::{Block, File};
use super::kernels::{self, Latents};
use super::samples::{gather, scatter};
use super::{GROUP, Given, Maps, SAMPLES, STATE_SCALE};
use crate::coder::{Depth, Picture};
use aivideo_nets::{
    aligned::Aligned,
    dense::{Finish, Linear, Tap, linear},
    depthwise::depthwise,
    isa::Isa,
    map::{Map, Rows},
};
use rayon::prelude::*;
use std::cell::Cell;

thread_local! {
    /// Rows of a block, kept from one to the next.
    static SCRATCH: Cell<[Aligned<f32>; 2]> = const { Cell::new([Aligned::new(), Aligned::new()]) };
}

/// Positions of a row that a block's later layers take at a time: what they hand on stays in the
/// processor's first cache.
const STRIP: usize = 96;

/// How a layer reads a map.
#[derive(Debug, Clone, Copy)]
pub(super) enum Window {
    /// The same position.
    One,
    /// Groups of 2x2, at half the resolution.
    Two,
    /// 3x3 around every `n`-th position.
    Three(isize),
    /// Above, left, right and below: all of a 3x3 window around no anchor that is not zero.
    Cross,
}

/// What both networks have.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) isa: Isa,
    pub(super) threads: usize,
    pub(super) features: usize,
    pub(super) states: usize,
    pub(super) latents: usize,
    pub(super) hypers: usize,
    pub(super) parameters: usize,
    pub(super) front: Linear,
    pub(super) q_bias: Vec<f32>,
    pub(super) context: Vec<Block>,
    pub(super) prior_in: Linear,
    pub(super) q_prior: Vec<f32>,
    pub(super) prior: Block,
    pub(super) hyper_d: Linear,
    pub(super) hyper_e: Linear,
    pub(super) fuse_in: Linear,
    pub(super) fuse: Vec<Block>,
    pub(super) mean_step: Linear,
    pub(super) refine: [Linear; 3],
    pub(super) q_back: Vec<f32>,
    pub(super) up: Linear,
    pub(super) dec_in: Linear,
    pub(super) dec: Vec<Block>,
    pub(super) state_out: Linear,
    pub(super) recon: Vec<Block>,
    pub(super) out: Linear,
    pub(super) gate: Linear,
}

impl Shared {
    pub(super) fn new(file: File<'_>, isa: Isa, threads: usize) -> Option<Self> {
        let dims = |name: &str| file.get(name).map(|a| a.dims.clone());
        let features = *dims("pred_in.w")?.first()?;
        let states = *dims("state_in.w")?.get(1)?;
        let latents = *dims("mean.w")?.first()?;
        let hypers = *dims("hyper_d.w")?.get(1)?;
        let parameters = *dims("fuse_in.w")?.first()?;
        let shared = Self {
            isa,
            threads,
            features,
            states,
            latents,
            hypers,
            parameters,
            front: file.sum(&["pred_in", "state_in"])?,
            q_bias: file.table("q_bias", features)?,
            context: file.blocks("context")?,
            prior_in: file.linear("prior_in")?,
            q_prior: file.table("q_prior", parameters)?,
            prior: Block::new(file, "prior")?,
            hyper_d: file.linear("hyper_d")?,
            hyper_e: file.linear("hyper_e")?,
            fuse_in: file.linear("fuse_in")?,
            fuse: file.blocks("fuse")?,
            mean_step: file.pair("mean", "step")?,
            refine: [
                file.cross("check", "check_in")?,
                file.linear("check_mid")?,
                file.linear("check_out")?,
            ],
            q_back: file.table("q_back", latents)?,
            up: file.linear("up")?,
            dec_in: file.sum(&["dec_in.0", "dec_in.1"])?,
            dec: file.blocks("dec")?,
            state_out: file.linear("state_out")?,
            recon: file.blocks("recon")?,
            out: file.linear("out")?,
            gate: file.linear("gate")?,
        };
        shared.sound().then_some(shared)
    }

    /// Whether the layers' sizes fit each other.
    fn sound(&self) -> bool {
        let (c, m, y, z, p) = (
            self.features,
            self.states,
            self.latents,
            self.hypers,
            self.parameters,
        );
        let is = |l: &Linear, inputs, outputs| l.inputs == inputs && l.outputs == outputs;
        let blocks = |blocks: &[Block], c| blocks.iter().all(|b| b.a.outputs == c);
        let r = self.refine[0].outputs;
        [c, m, y, z, p]
            .iter()
            .all(|n| n.is_multiple_of(16) && *n > 0)
            && z * GROUP >= y
            && is(&self.front, SAMPLES + m, c)
            && is(&self.prior_in, 4 * c, p)
            && is(&self.hyper_d, z, 4 * z)
            && is(&self.hyper_e, z, 4 * z)
            && is(&self.fuse_in, p + z, p)
            && is(&self.mean_step, p, 2 * y)
            && is(&self.refine[0], 4 * y + p, r)
            && is(&self.refine[1], r, r)
            && is(&self.refine[2], r, y)
            && is(&self.up, y, 4 * c)
            && is(&self.dec_in, 2 * c, c)
            && is(&self.state_out, c, m)
            && is(&self.out, c, SAMPLES)
            && is(&self.gate, c, SAMPLES)
            && blocks(&self.context, c)
            && blocks(&self.dec, c)
            && blocks(&self.recon, c)
            && blocks(&self.fuse, p)
            && self.prior.a.outputs == p
    }

    /// Rows in one part of a map.
    pub(super) fn part(&self, height: usize) -> usize {
        height.div_ceil(3 * self.threads).max(2)
    }

    /// One layer over whole maps.
    pub(super) fn layer(
        &self,
        layer: &Linear,
        from: &[(&Map, Window)],
        out: &mut Map,
        finish: Finish<'_>,
    ) {
        self.layer_biased(layer, &layer.bias, from, out, finish);
    }

    fn layer_biased(
        &self,
        layer: &Linear,
        bias: &[f32],
        from: &[(&Map, Window)],
        out: &mut Map,
        finish: Finish<'_>,
    ) {
        let (width, channels) = (out.width, out.channels);
        out.split(self.part(out.height)).for_each(|mut rows| {
            let mut taps = Vec::with_capacity(10);
            for i in 0..rows.count {
                taps.clear();
                window_taps(from, (rows.first + i, 0, 1), &mut taps);
                let panels = 0..layer.outputs / 16;
                linear(
                    self.isa,
                    layer,
                    bias,
                    panels,
                    &taps,
                    width,
                    rows.row(i),
                    channels,
                    finish,
                );
            }
        });
    }

    /// A layer whose outputs are 2x2 positions of a map of twice the size.
    fn spread(&self, layer: &Linear, from: &Map, out: &mut Map, finish: Finish<'_>) {
        let (width, channels) = (from.width, out.channels);
        let part = self.part(from.height);
        out.split(2 * part).for_each(|mut rows| {
            for i in 0..rows.count {
                let tap = from.tap(((rows.first + i) / 2) as isize, 0, 1);
                let row = rows.row(i);
                for dx in 0..2 {
                    let quarter = 2 * (i % 2) + dx;
                    let panels = quarter * channels / 16..(quarter + 1) * channels / 16;
                    let out = &mut row[dx * channels..];
                    linear(
                        self.isa,
                        layer,
                        &layer.bias,
                        panels,
                        &[tap],
                        width,
                        out,
                        2 * channels,
                        finish,
                    );
                }
            }
        });
    }

    fn block(&self, block: &Block, from: &Map, out: &mut Map) {
        out.split(self.part(out.height))
            .for_each(|rows| self.block_rows(block, from, rows));
    }

    /// A block over some rows. The first layer's rows are kept while the 3x3 needs them.
    fn block_rows(&self, block: &Block, from: &Map, mut out: Rows<'_>) {
        let (width, channels, isa) = (from.width, from.channels, self.isa);
        let len = width * channels;
        let [mut kept, mut rest] = SCRATCH.take();
        let bordered = len + 2 * channels;
        kept.resize(4 * bordered);
        rest.resize(4 * STRIP * channels);
        for row in kept.chunks_exact_mut(bordered) {
            row[..channels].fill(0.0);
            row[len + channels..].fill(0.0);
        }
        let (kept_rows, zeros) = kept.split_at_mut(3 * bordered);
        zeros.fill(0.0);
        let place = |row: usize| row % 3 * bordered..(row % 3 + 1) * bordered;
        let mut held: [Option<usize>; 3] = [None; 3];
        let (deep, more) = rest.split_at_mut(STRIP * channels);
        let (middle, more) = more.split_at_mut(STRIP * channels);
        let (pairs, gated) = more.split_at_mut(STRIP * channels);
        let run = |layer: &Linear, tap: Tap<'_>, count, out: &mut [f32], finish: Finish<'_>| {
            let panels = 0..layer.outputs / 16;
            linear(
                isa,
                layer,
                &layer.bias,
                panels,
                &[tap],
                count,
                out,
                channels,
                finish,
            );
        };
        for i in 0..out.count {
            let row = out.first + i;
            for near in row.saturating_sub(1)..(row + 2).min(from.height) {
                if held[near % 3] != Some(near) {
                    let out = &mut kept_rows[place(near)][channels..channels + len];
                    let tap = from.tap(near as isize, 0, 1);
                    run(&block.a, tap, width, out, Finish::Relu);
                    held[near % 3] = Some(near);
                }
            }
            let above = match row {
                0 => &*zeros,
                _ => &kept_rows[place(row - 1)],
            };
            let below = match row + 1 == from.height {
                true => &*zeros,
                false => &kept_rows[place(row + 1)],
            };
            let rows = [above, &kept_rows[place(row)], below];
            let out = out.row(i);
            for left in (0..width).step_by(STRIP) {
                let count = STRIP.min(width - left);
                let used = count * channels;
                let rows = rows.map(|row| &row[left * channels..][..used + 2 * channels]);
                depthwise(isa, &block.d, rows, count, &mut deep[..used]);
                let x = Finish::Add(from.from(row as isize, left as isize), channels);
                run(&block.b, whole_row(deep, channels), count, middle, x);
                let tap = whole_row(middle, channels);
                run(&block.u, tap, count, pairs, Finish::Keep);
                let gated = &mut gated[..used / 2];
                kernels::product(isa, &pairs[..used], channels / 2, gated);
                let x = Finish::Add(middle, channels);
                let tap = whole_row(gated, channels / 2);
                run(&block.v, tap, count, &mut out[left * channels..], x);
            }
        }
        SCRATCH.set([kept, rest]);
    }

    /// Blocks one after the other; the result is in the first map.
    pub(super) fn blocks<'a>(
        &self,
        blocks: &[Block],
        mut at: &'a mut Map,
        mut free: &'a mut Map,
    ) -> (&'a mut Map, &'a mut Map) {
        for block in blocks {
            self.block(block, at, free);
            std::mem::swap(&mut at, &mut free);
        }
        (at, free)
    }

    /// Prediction and state to the context.
    pub(super) fn context<S: Depth>(&self, maps: &mut Maps, given: Given<'_, S>) {
        let (c, m) = (self.features, self.states);
        let bias = added(&self.front.bias, table_row(&self.q_bias, given.quality, c));
        let Maps { ctx, one, two, .. } = maps;
        let (width, plane) = (one.width, one.width * one.height);
        let part = self.part(one.height);
        one.split(part).for_each(|mut rows| {
            let mut bytes = vec![S::default(); width * SAMPLES];
            let mut samples = Aligned::<f32>::zeros(width * SAMPLES);
            let mut state = Aligned::<f32>::zeros(width * m);
            for i in 0..rows.count {
                let row = rows.first + i;
                gather(given.prediction, row, &mut bytes);
                S::to_network(self.isa, &bytes, &mut samples);
                for (channel, values) in given.state.chunks_exact(plane).enumerate() {
                    let values = &values[row * width..][..width];
                    for (x, value) in values.iter().enumerate() {
                        state[x * m + channel] = f32::from(*value) / STATE_SCALE;
                    }
                }
                let taps = [whole_row(&samples, SAMPLES), whole_row(&state, m)];
                linear(
                    self.isa,
                    &self.front,
                    &bias,
                    0..c / 16,
                    &taps,
                    width,
                    rows.row(i),
                    c,
                    Finish::Keep,
                );
            }
        });
        let (at, _) = self.blocks(&self.context, one, two);
        std::mem::swap(ctx, at);
    }

    /// Context to the temporal prior.
    pub(super) fn prior(&self, maps: &mut Maps, quality: u8) {
        let bias = added(
            &self.prior_in.bias,
            table_row(&self.q_prior, quality, self.parameters),
        );
        let [first, _] = &mut maps.f;
        self.layer_biased(
            &self.prior_in,
            &bias,
            &[(&maps.ctx, Window::Two)],
            first,
            Finish::Relu,
        );
        self.block(&self.prior, first, &mut maps.prior);
    }

    pub(super) fn load_z(&self, maps: &mut Maps, z: &[i8]) {
        let plane = maps.z.width * maps.z.height;
        let channels = self.hypers;
        let width = maps.z.width;
        let part = self.part(maps.z.height);
        maps.z.split(part).for_each(|mut rows| {
            for i in 0..rows.count {
                let at = (rows.first + i) * width;
                let row = rows.row(i);
                for (channel, plane) in z.chunks_exact(plane).enumerate() {
                    for (x, value) in plane[at..at + width].iter().enumerate() {
                        row[x * channels + channel] = f32::from(*value) * 0.125;
                    }
                }
            }
        });
    }

    /// z (an eighth of it, in `maps.z`) and the prior to means and steps.
    pub(super) fn hyper(&self, maps: &mut Maps) {
        self.spread(&self.hyper_d, &maps.z, &mut maps.half, Finish::Relu);
        self.spread(&self.hyper_e, &maps.half, &mut maps.spread, Finish::Keep);
        let [first, second] = &mut maps.f;
        let from = [(&maps.prior, Window::One), (&maps.spread, Window::One)];
        self.layer(&self.fuse_in, &from, first, Finish::Keep);
        let (at, _) = self.blocks(&self.fuse, first, second);
        self.layer(
            &self.mean_step,
            &[(at, Window::One)],
            &mut maps.latents,
            Finish::Keep,
        );
        if self.fuse.len() % 2 == 1 {
            maps.f.swap(0, 1);
        }
    }

    /// From the anchors, better means of the others: the difference.
    pub(super) fn refine(&self, maps: &mut Maps) {
        let [one, two] = &mut maps.refined;
        let from = [(&maps.anchors, Window::Cross), (&maps.f[0], Window::One)];
        self.others(&self.refine[0], &from, one, Finish::Relu);
        let from = [(&*one, Window::One)];
        self.others(&self.refine[1], &from, two, Finish::Relu);
        let from = [(&*two, Window::One)];
        self.others(&self.refine[2], &from, &mut maps.difference, Finish::Keep);
    }

    /// One layer at the positions that are no anchors; the rest of `out` stays as it is.
    fn others(&self, layer: &Linear, from: &[(&Map, Window)], out: &mut Map, finish: Finish<'_>) {
        let (width, channels) = (out.width, out.channels);
        out.split(self.part(out.height)).for_each(|mut rows| {
            let mut taps = Vec::with_capacity(5);
            for i in 0..rows.count {
                let row = rows.first + i;
                let first = 1 - row % 2;
                taps.clear();
                window_taps(from, (row, first, 2), &mut taps);
                linear(
                    self.isa,
                    layer,
                    &layer.bias,
                    0..layer.outputs / 16,
                    &taps,
                    width / 2,
                    &mut rows.row(i)[first * channels..],
                    2 * channels,
                    finish,
                );
            }
        });
    }

    pub(super) fn row_latents<'a>(&self, latents: &'a Map, row: usize) -> Latents<'a> {
        Latents {
            mean_step: latents.row(row),
            channels: self.latents,
            anchor: row.is_multiple_of(2),
        }
    }

    /// Symbols to the latents' values, in `maps.anchors`.
    pub(super) fn restore(&self, maps: &mut Maps, y: &[i16]) {
        let channels = self.latents;
        let (width, height) = (maps.symbols.width, maps.symbols.height);
        let part = self.part(height);
        maps.symbols.split(part).for_each(|mut rows| {
            for i in 0..rows.count {
                let at = (rows.first + i) * width;
                let row = rows.row(i);
                for (channel, plane) in y.chunks_exact(width * height).enumerate() {
                    for (x, value) in plane[at..at + width].iter().enumerate() {
                        row[x * channels + channel] = f32::from(*value);
                    }
                }
            }
        });
        for second in [false, true] {
            if second {
                self.refine(maps);
            }
            let Maps {
                anchors,
                latents,
                symbols,
                difference,
                ..
            } = &mut *maps;
            anchors.split(part).for_each(|mut rows| {
                for i in 0..rows.count {
                    let row = rows.first + i;
                    let refined = second.then(|| difference.row(row));
                    let latents = self.row_latents(latents, row);
                    kernels::restore(self.isa, &latents, refined, symbols.row(row), rows.row(i));
                }
            });
        }
    }

    /// Values of the latents to picture and state.
    pub(super) fn synthesis<S: Depth>(
        &self,
        maps: &mut Maps,
        given: Given<'_, S>,
    ) -> (Picture<S>, Vec<i8>) {
        let m = self.states;
        let factors = table_row(&self.q_back, given.quality, self.latents);
        let Maps {
            ctx,
            one,
            two,
            anchors,
            ..
        } = maps;
        let part = self.part(anchors.height);
        anchors.split(part).for_each(|mut rows| {
            for i in 0..rows.count {
                kernels::scale(self.isa, factors, rows.row(i));
            }
        });
        self.spread(&self.up, anchors, one, Finish::Keep);
        self.layer(
            &self.dec_in,
            &[(one, Window::One), (ctx, Window::One)],
            two,
            Finish::Keep,
        );
        let (at, free) = self.blocks(&self.dec, two, one);
        let (width, height) = (at.width, at.height);
        let part = self.part(height);
        let mut state = vec![0i8; m * width * height];
        maps.state
            .par_chunks_mut(part * width * m)
            .enumerate()
            .for_each(|(chunk, out)| {
                let mut values = Aligned::<f32>::zeros(width * m);
                for (i, out) in out.chunks_exact_mut(width * m).enumerate() {
                    let tap = at.tap((chunk * part + i) as isize, 0, 1);
                    linear(
                        self.isa,
                        &self.state_out,
                        &self.state_out.bias,
                        0..m / 16,
                        &[tap],
                        width,
                        &mut values,
                        m,
                        Finish::Keep,
                    );
                    kernels::states(self.isa, &values, STATE_SCALE, out);
                }
            });
        let (at, _) = self.blocks(&self.recon, at, free);
        let mut picture = Picture {
            width: 8 * width,
            height: 8 * height,
            y: vec![S::default(); 64 * width * height],
            uv: vec![S::default(); 32 * width * height],
        };
        let (u, v) = picture.uv.split_at_mut(16 * width * height);
        let planes = (
            picture.y.par_chunks_mut(part * 64 * width),
            u.par_chunks_mut(part * 16 * width),
            v.par_chunks_mut(part * 16 * width),
        );
        let own = &maps.state;
        rayon::join(
            || {
                planes
                    .into_par_iter()
                    .enumerate()
                    .for_each(|(chunk, (y, u, v))| {
                        self.output_rows(at, given.prediction, chunk * part, [y, u, v]);
                    });
            },
            || {
                for (channel, plane) in state.chunks_exact_mut(width * height).enumerate() {
                    for (out, position) in plane.iter_mut().zip(own.chunks_exact(m)) {
                        *out = position[channel];
                    }
                }
            },
        );
        (picture, state)
    }

    /// Features to the samples of some rows of the planes.
    fn output_rows<S: Depth>(
        &self,
        from: &Map,
        prediction: &Picture<S>,
        first: usize,
        planes: [&mut [S]; 3],
    ) {
        let width = from.width;
        let mut bytes = vec![S::default(); width * SAMPLES];
        let mut samples = Aligned::<f32>::zeros(width * SAMPLES);
        let (mut sums, mut gates) = (samples.clone(), samples.clone());
        let [y, u, v] = planes;
        let rows = y
            .chunks_exact_mut(64 * width)
            .zip(u.chunks_exact_mut(16 * width))
            .zip(v.chunks_exact_mut(16 * width));
        for (i, ((y, u), v)) in rows.enumerate() {
            let row = first + i;
            gather(prediction, row, &mut bytes);
            S::to_network(self.isa, &bytes, &mut samples);
            let tap = from.tap(row as isize, 0, 1);
            for (layer, out) in [(&self.out, &mut sums), (&self.gate, &mut gates)] {
                linear(
                    self.isa,
                    layer,
                    &layer.bias,
                    0..SAMPLES / 16,
                    &[tap],
                    width,
                    out,
                    SAMPLES,
                    Finish::Keep,
                );
            }
            S::from_network(self.isa, &sums, &gates, &samples, &mut bytes);
            scatter(&bytes, y, u, v);
        }
    }
}

/// What a layer reads for a row's `every`-th positions from `column` on; `Two` and `Three` are for whole
/// rows and have steps of their own.
fn window_taps<'a>(
    from: &[(&'a Map, Window)],
    (row, column, every): (usize, usize, usize),
    taps: &mut Vec<Tap<'a>>,
) {
    let (row, column) = (row as isize, column as isize);
    for (map, window) in from {
        match *window {
            Window::One => taps.push(map.tap(row, column, every)),
            Window::Two => {
                let places = [(0, 0), (0, 1), (1, 0), (1, 1)];
                taps.extend(places.map(|(dy, dx)| map.tap(2 * row + dy, dx, 2)));
            }
            Window::Cross => {
                let places = [(-1, 0), (0, -1), (0, 1), (1, 0)];
                taps.extend(places.map(|(dy, dx)| map.tap(row + dy, column + dx, every)));
            }
            Window::Three(every) => {
                for (dy, dx) in (0..9).map(|i| (i / 3 - 1, i % 3 - 1)) {
                    taps.push(map.tap(every * row + dy, dx, every as usize));
                }
            }
        }
    }
}

pub(super) fn whole_row(data: &[f32], channels: usize) -> Tap<'_> {
    Tap {
        data,
        step: channels,
        len: channels,
    }
}

pub(super) fn table_row(table: &[f32], quality: u8, width: usize) -> &[f32] {
    &table[usize::from(quality.min(63)) * width..][..width]
}

fn added(bias: &[f32], more: &[f32]) -> Aligned<f32> {
    let mut sum = Aligned::from(bias);
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
    sum
}
