// SPDX-License-Identifier: Apache-2.0
//! Which levels an encoder sends: those that take more off the squared error than their bits are worth.

use super::code::{Contexts, Flags, Levels, PARTS, QUARTERS, Square, Walk, ZIGZAG, levels};
use super::transform::{AREA, SIDE, forward};
use super::{Area, Scale};
use crate::motion::range::{Adapt, Bits, Context};
use crate::motion::{BLOCK, Sample};
use std::sync::LazyLock;

/// What a squared error of chroma counts for; the [`Scale`] says the same.
const CHROMA: f32 = 0.25;
/// Of a square; nothing cheaper than this is looked at.
const LEAST_BITS: f32 = 6.0;
/// From which part of a step on a number is rounded up, to 1 and to more.
const ROUND_UP: [f32; 2] = [0.68, 0.6];
/// Ends of a square's levels that are tried.
const TRIES: usize = 4;

/// Counts bits, and leaves contexts as they are.
struct Price(f32);

/// Bits of a zero, by its probability in 256ths.
static BITS: LazyLock<[f32; 257]> =
    LazyLock::new(|| std::array::from_fn(|p| -((p as f32).clamp(0.25, 255.75) / 256.0).log2()));

impl Bits for Price {
    fn bit(&mut self, context: &mut Context, bit: bool) -> bool {
        let zero = context.probability() as usize / 16;
        self.0 += BITS[if bit { 256 - zero } else { zero }];
        bit
    }

    fn raw(&mut self, value: u32, count: u32) -> u32 {
        self.0 += count as f32;
        value
    }
}

fn price(contexts: &mut Contexts, chroma: bool, chosen: &mut Levels) -> f32 {
    let mut bits = Price(0.0);
    // Only readers find levels out of range.
    let _ = levels(&mut bits, contexts, chroma, chosen);
    bits.0
}

/// Levels worth their bits, at `worth` of squared error a bit: their gain less their price.
fn worthwhile(
    coefficients: &[f32; AREA],
    step: f32,
    worth: f32,
    chroma: bool,
    contexts: &mut Contexts,
) -> Option<(f32, Levels)> {
    let mut chosen: Levels = [0; AREA];
    let mut any = false;
    for (level, &value) in chosen.iter_mut().zip(coefficients) {
        let size = value.abs() / step;
        let whole = size.floor();
        let up = ROUND_UP[usize::from(whole > 0.0)];
        let rounded = whole + f32::from(u8::from(size - whole > up));
        *level = (rounded as i16).min(super::code::MOST_LEVEL as i16);
        any |= *level != 0;
        if value < 0.0 {
            *level = -*level;
        }
    }
    if !any {
        return None;
    }
    let gain_at = |at: usize, level: i16| {
        let (value, made) = (coefficients[at], f32::from(level) * step);
        value * value - (value - made) * (value - made)
    };
    let mut gain: f32 = (0..AREA).map(|at| gain_at(at, chosen[at])).sum();
    let mut best: Option<(f32, Levels)> = None;
    let mut ends = ZIGZAG.iter().rev().map(|&at| usize::from(at));
    for _ in 0..TRIES {
        let net = gain - worth * price(contexts, chroma, &mut chosen);
        if net > best.map_or(0.0, |(net, _)| net) {
            best = Some((net, chosen));
        }
        let Some(end) = ends.find(|&at| chosen[at] != 0) else {
            break;
        };
        if chosen[end].abs() > 2 {
            break;
        }
        gain -= gain_at(end, chosen[end]);
        chosen[end] = 0;
        if chosen == [0; AREA] {
            break;
        }
    }
    best
}

/// Differences of a square's samples, and their squares' sum.
#[inline(always)]
fn compare<S: Sample>(source: &[S], made: &[S], stride: usize) -> ([f32; AREA], f32) {
    let (mut differences, mut error) = ([0.0; AREA], 0);
    let rows = source.chunks(stride).zip(made.chunks(stride));
    for (out, (source, made)) in differences.chunks_exact_mut(SIDE).zip(rows) {
        for ((out, source), made) in out.iter_mut().zip(&source[..SIDE]).zip(&made[..SIDE]) {
            let difference = source.value() - made.value();
            error += difference * difference;
            *out = difference as f32;
        }
    }
    (differences, error as f32)
}

/// Chooses the levels of a tile, and adds what they stand for. `source` is the tile's luma, U and V; `worth` is the squared
/// error that a bit is worth, in that of the samples.
pub fn tile<S: Sample>(
    source: [&[S]; 3],
    area: &mut Area<'_, S>,
    classes: &[u8],
    scale: Scale,
    worth: f32,
) -> Vec<Square> {
    let mut squares = Vec::new();
    let mut walk = Walk::new(area.width / BLOCK);
    for (block, &class) in classes.iter().enumerate() {
        let mut flags = [false; PARTS];
        let mut net = 0.0;
        let first = squares.len();
        for part in 0..PARTS as u8 {
            let chroma = usize::from(part) >= QUARTERS;
            let source = source[(usize::from(part) + 1).saturating_sub(QUARTERS)];
            let weight = if chroma { CHROMA } else { 1.0 };
            let worth = worth / weight;
            let (at, stride) = super::place(area.width, block as u32, part);
            let made = &area.plane(part)[at..];
            let (differences, error) = compare(&source[at..], made, stride);
            if error < worth * LEAST_BITS {
                continue;
            }
            let coefficients = forward(&differences);
            let contexts = &mut walk.contexts;
            let found = worthwhile(&coefficients, scale.step(chroma), worth, chroma, contexts);
            if let Some((more, levels)) = found {
                flags[usize::from(part)] = true;
                net += weight * more;
                squares.push(Square {
                    block: block as u32,
                    part,
                    levels,
                });
            }
        }
        if flags.contains(&true) && net < worth * flags_price(&mut walk, block, class, flags) {
            flags = [false; PARTS];
            squares.truncate(first);
        }
        walk.flags(&mut Adapt, block, class, flags);
        walk.settle(block, flags);
        for square in &mut squares[first..] {
            let (contexts, chroma) = (&mut walk.contexts, square.is_chroma());
            let _ = levels(&mut Adapt, contexts, chroma, &mut square.levels);
            area.add(square, scale);
        }
    }
    squares
}

/// What a block's flags cost more than none.
fn flags_price(walk: &mut Walk, block: usize, class: u8, flags: Flags) -> f32 {
    let mut bits = |flags| {
        let mut bits = Price(0.0);
        walk.flags(&mut bits, block, class, flags);
        bits.0
    };
    bits(flags) - bits([false; PARTS])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::residual::code::{CLASSES, decode_tile, encode_tile};
    use proptest::prelude::*;

    const WIDTH: usize = 48;

    /// Squared error and bits of a tile of 48x32 samples, whose source is the made picture and some detail.
    fn check<S: Sample>(seed: u32, detail: i32, quality: u8, worth: f32) -> [f32; 3] {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i32
        };
        let mut plane = |len: usize, width: usize| -> [Vec<S>; 2] {
            let made: Vec<S> = (0..len)
                .map(|_| S::clip(S::GREY.value() + next() % 40))
                .collect();
            let source = made.iter().enumerate().map(|(i, s)| {
                let wave = ((i % width) as f32 * 0.7).sin() * detail as f32;
                S::clip(s.value() + wave as i32 + next() % (1 + detail))
            });
            let source = source.collect();
            [made, source]
        };
        let sizes = [
            (WIDTH * 32, WIDTH),
            (WIDTH * 8, WIDTH / 2),
            (WIDTH * 8, WIDTH / 2),
        ];
        let planes = sizes.map(|(len, width)| plane(len, width));
        let classes: Vec<u8> = (0..6).map(|_| next() as u8 % CLASSES as u8).collect();
        let scale = Scale::new(quality, S::BITS);
        let source = planes.each_ref().map(|[_, source]| source.as_slice());
        let mut result = planes.each_ref().map(|[made, _]| made.clone());
        let mut again = result.clone();
        let squares = tile(source, &mut area(&mut result), &classes, scale, worth);
        let data = encode_tile(WIDTH / BLOCK, &classes, &squares);
        for square in &decode_tile(WIDTH / BLOCK, &classes, &data).expect("own stream") {
            area(&mut again).add(square, scale);
        }
        assert!(again == result, "a decoder adds something else");
        let error = |made: [&[S]; 3]| -> f32 {
            let squares = (source.concat().into_iter().zip(made.concat()))
                .map(|(a, b)| (a.value() - b.value()).pow(2));
            squares.sum::<i32>() as f32
        };
        let before = planes.each_ref().map(|[made, _]| made.as_slice());
        let after = result.each_ref().map(Vec::as_slice);
        [error(before), error(after), 8.0 * data.len() as f32]
    }

    fn area<S>(planes: &mut [Vec<S>; 3]) -> Area<'_, S> {
        let [y, u, v] = planes;
        Area {
            width: WIDTH,
            y,
            u,
            v,
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_is_worth_its_bits(seed: u32, detail in 0i32..60, quality in 0u8..64) {
            let worth = 8.0;
            let eight = check::<u8>(seed, detail, quality, worth);
            let ten = check::<u16>(seed, detail, quality, 16.0 * worth);
            for ([before, after, bits], worth) in [(eight, worth), (ten, 16.0 * worth)] {
                prop_assert!(after <= before && (bits == 0.0) == (before == after), "{before} {after} {bits}");
                // Contexts adapt while prices stand still, and a stream ends with a few bits more.
                let paid = 0.9 * worth * (bits - 64.0);
                prop_assert!(before - after >= paid, "{before} {after} {bits}");
            }
        }
    }

    #[test]
    fn detail_is_sent_where_bits_are_cheap() {
        let [before, after, bits] = check::<u8>(5, 20, 60, 4.0);
        assert!(
            after < 0.2 * before && bits > 100.0,
            "{before} {after} {bits}"
        );
        let [before, after, bits] = check::<u8>(5, 20, 0, 1e6);
        assert!(after == before && bits == 0.0);
    }
}
