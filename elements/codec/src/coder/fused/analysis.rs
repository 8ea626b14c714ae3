// SPDX-License-Identifier: Apache-2.0
//! What only the encoder computes: latents, the hyper-latents and the symbols.

use super::file::{Block, File};
use super::kernels::{self, NEVER, Quantiser};
use super::samples::gather;
use super::shared::{Shared, Window, table_row, whole_row};
use super::{GROUP, Given, Maps, SAMPLES};
use crate::coder::{Depth, Picture};
use aivideo_nets::{
    aligned::Aligned,
    dense::{Finish, Linear, linear},
};
use rayon::prelude::*;

/// The dead zone of networks whose file has no table of it.
const DEAD: f32 = 0.5 - 0.27;
const LADDER: f32 = 0.6;
const Z_MAX: f32 = 31.0;
/// Scale indices, 0 included.
const INDICES: usize = 32;

/// What only the encoder has.
#[derive(Debug)]
pub(super) struct Analysis {
    embed: Linear,
    enc_in: Linear,
    enc: Vec<Block>,
    down: Linear,
    q_scale: Vec<f32>,
    prior_mean: Linear,
    hyper_a: Linear,
    hyper_b: Linear,
    hyper_c: Linear,
    level_gain: Vec<f32>,
    /// By scale index: see [`Quantiser::dead`].
    dead: Vec<f32>,
}

impl Analysis {
    pub(super) fn new(file: File<'_>, shared: &Shared) -> Option<Self> {
        let (c, y, z, p) = (
            shared.features,
            shared.latents,
            shared.hypers,
            shared.parameters,
        );
        let analysis = Self {
            embed: file.linear("embed")?,
            enc_in: file.sum(&["enc_in.0", "enc_in.1"])?,
            enc: file.blocks("enc")?,
            down: file.linear("down")?,
            q_scale: file.table("q_scale", y)?,
            prior_mean: file.linear("prior_mean")?,
            hyper_a: file.linear("hyper_a")?,
            hyper_b: file.linear("hyper_b")?,
            hyper_c: file.linear("hyper_c")?,
            level_gain: file.get("level_gain")?.data.clone(),
            dead: match file.get("dead.t") {
                Some(table) => table.data.clone(),
                None => vec![DEAD; INDICES],
            },
        };
        let is = |l: &Linear, inputs, outputs| l.inputs == inputs && l.outputs == outputs;
        let sound = is(&analysis.embed, SAMPLES, c)
            && is(&analysis.enc_in, 2 * c, c)
            && is(&analysis.down, 9 * c, y)
            && is(&analysis.prior_mean, p, y)
            && is(&analysis.hyper_a, 2 * y, z)
            && is(&analysis.hyper_b, 4 * z, z)
            && is(&analysis.hyper_c, 4 * z, z)
            && analysis.enc.iter().all(|b| b.a.outputs == c)
            && analysis.level_gain.len() == y / GROUP
            && analysis.dead.len() == INDICES
            && analysis.dead.iter().all(|dead| *dead >= 0.0);
        sound.then_some(analysis)
    }

    /// Picture to the latents.
    pub(super) fn run<S: Depth>(
        &self,
        s: &Shared,
        maps: &mut Maps,
        given: Given<'_, S>,
        source: &Picture<S>,
    ) {
        let c = s.features;
        let Maps {
            ctx, one, two, y, ..
        } = maps;
        let width = one.width;
        let part = s.part(one.height);
        one.split(part).for_each(|mut rows| {
            let mut bytes = vec![S::default(); width * SAMPLES];
            let mut samples = Aligned::<f32>::zeros(width * SAMPLES);
            let mut before = samples.clone();
            let mut embedded = Aligned::<f32>::zeros(width * c);
            for i in 0..rows.count {
                let row = rows.first + i;
                gather(source, row, &mut bytes);
                S::to_network(s.isa, &bytes, &mut samples);
                gather(given.prediction, row, &mut bytes);
                S::to_network(s.isa, &bytes, &mut before);
                for (sample, before) in samples.iter_mut().zip(before.iter()) {
                    *sample -= before;
                }
                let panels = 0..c / 16;
                linear(
                    s.isa,
                    &self.embed,
                    &self.embed.bias,
                    panels.clone(),
                    &[whole_row(&samples, SAMPLES)],
                    width,
                    &mut embedded,
                    c,
                    Finish::Keep,
                );
                let taps = [whole_row(&embedded, c), ctx.tap(row as isize, 0, 1)];
                linear(
                    s.isa,
                    &self.enc_in,
                    &self.enc_in.bias,
                    panels,
                    &taps,
                    width,
                    rows.row(i),
                    c,
                    Finish::Keep,
                );
            }
        });
        let (at, _) = s.blocks(&self.enc, one, two);
        let factors = table_row(&self.q_scale, given.quality, s.latents);
        s.layer(&self.down, &[(at, Window::Three(2))], y, Finish::Keep);
        y.split(s.part(y.height)).for_each(|mut rows| {
            for i in 0..rows.count {
                kernels::scale(s.isa, factors, rows.row(i));
            }
        });
    }

    /// The hyper-encoder: z, as integers and in `maps.z`.
    pub(super) fn hyper(&self, s: &Shared, maps: &mut Maps, skip: &[bool]) -> Vec<i8> {
        let channels = s.latents;
        let Maps {
            prior,
            difference,
            residual,
            y,
            ..
        } = &mut *maps;
        s.layer(
            &self.prior_mean,
            &[(prior, Window::One)],
            difference,
            Finish::Keep,
        );
        let (width, height) = (y.width, y.height);
        let (w64, h64) = (width / 4, height / 4);
        let mut levels = vec![0.0f32; h64 * w64 * channels];
        (residual.split(4), levels.par_chunks_mut(w64 * channels))
            .into_par_iter()
            .for_each(|(mut rows, levels)| {
                for i in 0..rows.count {
                    let row = rows.first + i;
                    let (y, mean) = (y.row(row), difference.row(row));
                    kernels::residual(s.isa, y, mean, channels, rows.row(i), levels);
                }
            });
        let [a, b] = &mut maps.hyper;
        s.layer(
            &self.hyper_a,
            &[(&maps.residual, Window::One)],
            a,
            Finish::Relu,
        );
        s.layer(&self.hyper_b, &[(a, Window::Two)], b, Finish::Relu);
        s.layer(
            &self.hyper_c,
            &[(b, Window::Two)],
            &mut maps.hyper_raw,
            Finish::Keep,
        );

        let mut z = vec![0i8; s.hypers * w64 * h64];
        let raw = &maps.hyper_raw;
        let plane = w64 * h64;
        for row in 0..h64 {
            for x in 0..w64 {
                let at = row * w64 + x;
                let any = |dy: usize| {
                    let from = (4 * row + dy) * width + 4 * x;
                    skip[from..from + 4].contains(&false)
                };
                let live = (0..4).any(any);
                let raw = &raw.row(row)[x * s.hypers..][..s.hypers];
                for (channel, raw) in raw.iter().enumerate() {
                    let own = levels[at * channels..][..channels]
                        .chunks_exact(GROUP)
                        .nth(channel);
                    let value = match own {
                        Some(level) => {
                            let level: f32 = level.iter().sum();
                            let index = (level + 0.3).ln() / (LADDER * std::f32::consts::LN_2);
                            raw.mul_add(4.0, (index + 1.0) * self.level_gain[channel])
                                .max(0.0)
                        }
                        None => *raw,
                    };
                    if live {
                        let value = value.clamp(-Z_MAX, Z_MAX).round_ties_even();
                        z[channel * plane + at] = value as i8;
                    }
                }
            }
        }
        s.load_z(maps, &z);
        self.set_dead_zones(s, maps, &z, skip);
        z
    }

    /// The dead zone of each symbol.
    fn set_dead_zones(&self, s: &Shared, maps: &mut Maps, z: &[i8], skip: &[bool]) {
        let plane = maps.z.width * maps.z.height;
        let (width, w64, channels) = (maps.dead.width, maps.z.width, s.latents);
        let part = s.part(maps.dead.height);
        maps.dead.split(part).for_each(|mut rows| {
            for i in 0..rows.count {
                let row = rows.first + i;
                for (x, dead) in rows.row(i).chunks_exact_mut(channels).enumerate() {
                    if skip[row * width + x] {
                        dead.fill(NEVER);
                        continue;
                    }
                    let at = row / 4 * w64 + x / 4;
                    for (group, dead) in dead.chunks_exact_mut(GROUP).enumerate() {
                        dead.fill(match usize::from(z[group * plane + at].unsigned_abs()) {
                            0 => NEVER,
                            index => self.dead[index.min(INDICES - 1)],
                        });
                    }
                }
            }
        });
    }

    /// The symbols; their values are in `maps.anchors`.
    pub(super) fn symbols(&self, s: &Shared, maps: &mut Maps, skip: &[bool]) -> Vec<i16> {
        let channels = s.latents;
        let (width, height) = (maps.y.width, maps.y.height);
        assert_eq!(skip.len(), width * height);
        let part = s.part(height);
        for second in [false, true] {
            if second {
                s.refine(maps);
            }
            let Maps {
                anchors,
                latents,
                symbols,
                difference,
                dead,
                y,
                ..
            } = &mut *maps;
            (anchors.split(part), symbols.split(part))
                .into_par_iter()
                .for_each(|(mut rows, mut out)| {
                    for i in 0..rows.count {
                        let row = rows.first + i;
                        let quantiser = Quantiser {
                            dead: dead.row(row),
                            refined: second.then(|| difference.row(row)),
                        };
                        let latents = s.row_latents(latents, row);
                        kernels::symbols(
                            s.isa,
                            &latents,
                            &quantiser,
                            y.row(row),
                            out.row(i),
                            rows.row(i),
                        );
                    }
                });
        }
        let mut y = vec![0i16; channels * width * height];
        let symbols = &maps.symbols;
        y.par_chunks_mut(width * height)
            .enumerate()
            .for_each(|(channel, plane)| {
                for (row, out) in plane.chunks_exact_mut(width).enumerate() {
                    for (out, values) in out.iter_mut().zip(symbols.row(row).chunks_exact(channels))
                    {
                        *out = values[channel] as i16;
                    }
                }
            });
        y
    }
}
