// SPDX-License-Identifier: Apache-2.0
//! Which levels an encoder sends: those that take more off the squared error than their bits are worth.

use super::code::{
    Contexts, DIVIDED, Flags, PARTS, QUARTERS, Shape, Square, WHOLE, Walk, last_place, levels,
    magnitudes, zero,
};
use super::transform::{LARGE_AREA, forward, forward_fine, forward_large};
use super::{Area, Scale};
use crate::motion::range::{Adapt, Bits, Context};
use crate::motion::{BLOCK, Sample};
use std::ops::Range;
use std::sync::LazyLock;

/// What a squared error of chroma counts for; the [`Scale`] says the same.
const CHROMA: f32 = 0.25;
/// Of a step; smaller coefficients are zeros.
const LEAST: f32 = 0.5;
/// Of a square; nothing cheaper than this is looked at.
const LEAST_BITS: f32 = 6.0;

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

fn price(contexts: &mut Contexts, shape: Shape, chosen: &mut [i16]) -> f32 {
    let mut bits = Price(0.0);
    // Only readers find levels out of range.
    let _ = levels(&mut bits, contexts, shape, chosen);
    bits.0
}

/// What both values of a bit cost.
fn both(context: Context) -> [f32; 2] {
    let zero = context.probability() as usize / 16;
    [BITS[zero], BITS[256 - zero]]
}

/// Levels of a square, by how much they lessen the squared error but for the rounding of samples, and what is left of that when they are
/// paid.
struct Found {
    gain: f32,
    net: f32,
    levels: Box<[i16]>,
}

/// What levels are chosen by.
struct Chooser<'a> {
    contexts: &'a mut Contexts,
    shape: Shape,
    step: f32,
    /// Squared error that a bit is worth.
    worth: f32,
    costs: &'a mut Costs,
}

/// By place, in bits: what a coefficient costs as it is chosen less what it costs as a zero, whose error alone counts; and less
/// than that where it is the last, which says itself that it is not zero.
type Costs = [[f32; 2]; LARGE_AREA];

impl Chooser<'_> {
    /// Chooses the levels of what is transformed together, some places of the zigzag order: for each coefficient, from the last on, the
    /// magnitude next to it or one less or none, whichever costs least, its own bits and error counted, and not what it does to the contexts of
    /// those that follow; then the end behind which all are left out.
    fn round(&mut self, coefficients: &[f32], places: Range<usize>, chosen: &mut [i16]) {
        let unit = self.step * self.step / self.worth;
        let steps = 1.0 / self.step;
        let order = &self.shape.order()[places.clone()];
        let mut end = 0;
        for (at, &to) in order.iter().enumerate().rev() {
            let to = usize::from(to);
            let size = coefficients[to].abs() * steps;
            if size < LEAST {
                if end > 0 {
                    let bits = zero(self.contexts, self.shape, chosen, places.start + at, both);
                    self.costs[at] = [bits; 2];
                }
                continue;
            }
            let nearest = (size + 0.5) as i32;
            let (bits, some) =
                magnitudes(self.contexts, self.shape, chosen, places.start + at, both);
            let error = |magnitude: i32| {
                let left = size - magnitude as f32;
                unit * left * left
            };
            let mut best = (bits[0] + error(0), 0);
            for magnitude in (nearest - 1).max(1)..=nearest {
                // An Exp-Golomb number.
                let more = match magnitude {
                    0..=3 => 0.0,
                    _ => 2.0 * ((magnitude - 2) as f32).log2(),
                };
                let cost = error(magnitude) + bits[magnitude.min(3) as usize] + more;
                if cost < best.0 {
                    best = (cost, magnitude);
                }
            }
            if best.1 == 0 && end == 0 {
                continue;
            }
            end = end.max(at + 1);
            let own = best.0 - error(0);
            self.costs[at] = [own, own - some];
            let level = best.1.min(super::code::MOST_LEVEL) as i16;
            chosen[to] = if coefficients[to] < 0.0 {
                -level
            } else {
                level
            };
        }
        let (mut least, mut best, mut before) = (0.0, 0, 0.0);
        for (at, &to) in order.iter().enumerate().take(end) {
            if chosen[usize::from(to)] != 0 {
                let cost = before + self.costs[at][1] + last_bits(self.contexts, self.shape, at);
                if cost < least {
                    (least, best) = (cost, at + 1);
                }
            }
            before += self.costs[at][0];
        }
        for &to in &order[best..end.max(best)] {
            chosen[usize::from(to)] = 0;
        }
    }

    /// Levels that are worth their bits.
    fn choose(&mut self, coefficients: &[f32]) -> Option<Found> {
        let least = LEAST * self.step;
        if coefficients.iter().all(|value| value.abs() < least) {
            return None;
        }
        let mut levels = vec![0i16; coefficients.len()].into_boxed_slice();
        let count = self.shape.transformed() * self.shape.transformed();
        for first in (0..levels.len()).step_by(count) {
            self.round(coefficients, first..first + count, &mut levels);
        }
        if levels.iter().all(|level| *level == 0) {
            return None;
        }
        let gains = coefficients.iter().zip(&levels).map(|(value, level)| {
            let left = value - f32::from(*level) * self.step;
            value * value - left * left
        });
        let gain: f32 = gains.sum();
        let net = gain - self.worth * price(self.contexts, self.shape, &mut levels);
        (net > 0.0).then_some(Found { gain, net, levels })
    }
}

/// What the place of the last level costs.
fn last_bits(contexts: &mut Contexts, shape: Shape, last: usize) -> f32 {
    let mut bits = Price(0.0);
    last_place(&mut bits, contexts, shape, last);
    bits.0
}

/// Differences of a square's samples, and their squares' sum.
#[inline(always)]
fn compare<const SIDE: usize, const AREA: usize, S: Sample>(
    source: &[S],
    made: &[S],
    stride: usize,
) -> ([f32; AREA], f32) {
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

/// The choices for a block's squares.
type Choices = [Option<Found>; PARTS];

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
    let mut costs: Costs = [[0.0; 2]; LARGE_AREA];
    for (block, &class) in classes.iter().enumerate() {
        let mut found: Choices = Default::default();
        for part in 0..PARTS as u8 {
            let shape = Shape::of(part);
            let chroma = shape == Shape::Chroma;
            let plane = plane_of(part);
            let worth = worth / weight_of(part);
            let (at, stride) = super::place(area.width, block as u32, part);
            let (source, made) = (&source[plane][at..], &area.plane(part)[at..]);
            let mut chooser = Chooser {
                contexts: &mut walk.contexts,
                shape,
                step: scale.step(chroma),
                worth,
                costs: &mut costs,
            };
            let enough = |error: f32| error >= worth * LEAST_BITS;
            found[usize::from(part)] = match shape {
                Shape::Large => {
                    let (differences, error) = compare::<16, 256, S>(source, made, stride);
                    let some = enough(error).then(|| forward_large(&differences));
                    some.and_then(|coefficients| chooser.choose(&coefficients))
                }
                Shape::Luma | Shape::Chroma | Shape::Fine => {
                    let (differences, error) = compare::<8, 64, S>(source, made, stride);
                    let some = enough(error).then(|| match shape {
                        Shape::Fine => forward_fine(&differences),
                        _ => forward(&differences),
                    });
                    some.and_then(|coefficients| chooser.choose(&coefficients))
                }
            };
        }
        keep_better(&mut found, worth);
        let (mut flags, mut net) = best_flags(&mut walk, block, class, &found, worth);
        let mut chosen = Vec::new();
        for part in super::code::sent(flags) {
            let Some(Found { gain, levels, .. }) = found[usize::from(part)].take() else {
                continue;
            };
            let square = Square {
                block: block as u32,
                part,
                levels,
            };
            let (at, _) = super::place(area.width, square.block, part);
            let exact = area.gain(&source[plane_of(part)][at..], &square, scale);
            net += weight_of(part) * (exact as f32 - gain);
            chosen.push(square);
        }
        if net <= 0.0 {
            (flags, chosen) = ([false; PARTS], Vec::new());
        }
        walk.flags(&mut Adapt, block, class, flags);
        walk.settle(block, flags);
        for mut square in chosen {
            let shape = square.shape();
            let _ = levels(&mut Adapt, &mut walk.contexts, shape, &mut square.levels);
            area.add(&square, scale);
            squares.push(square);
        }
    }
    squares
}

/// Luma, U or V.
fn plane_of(part: u8) -> usize {
    match usize::from(part) {
        0..QUARTERS | WHOLE | DIVIDED.. => 0,
        part => part - QUARTERS + 1,
    }
}

/// What an error of a part counts.
fn weight_of(part: u8) -> f32 {
    match Shape::of(part) {
        Shape::Chroma => CHROMA,
        Shape::Luma | Shape::Large | Shape::Fine => 1.0,
    }
}

/// What dividing a quarter costs, in bits.
const DIVISION: f32 = 1.0;

/// Of each quarter's two ways leaves the better one.
fn keep_better(found: &mut Choices, worth: f32) {
    for quarter in 0..QUARTERS {
        let net = |found: &Option<Found>| found.as_ref().map_or(0.0, |found| found.net);
        let (one, fine) = (net(&found[quarter]), net(&found[DIVIDED + quarter]));
        let worse = match fine > one + worth * DIVISION {
            true => quarter,
            false => DIVIDED + quarter,
        };
        found[worse] = None;
    }
}

/// Which squares of a block are sent, and what they gain when all is paid: all that were found, luma's quarters or all of it at once, or none.
fn best_flags(
    walk: &mut Walk,
    block: usize,
    class: u8,
    found: &Choices,
    worth: f32,
) -> (Flags, f32) {
    let mut best = ([false; PARTS], 0.0f32);
    let mut tried = None;
    for whole in [false, true] {
        let flags: Flags = std::array::from_fn(|part| {
            let fits = match part {
                0..QUARTERS | DIVIDED.. => !whole,
                WHOLE => whole,
                _ => true,
            };
            fits && found[part].is_some()
        });
        if !flags.contains(&true) || tried == Some(flags) {
            continue;
        }
        tried = Some(flags);
        let nets = found.iter().enumerate().filter(|(part, _)| flags[*part]);
        let net: f32 = nets
            .map(|(part, found)| {
                weight_of(part as u8) * found.as_ref().map_or(0.0, |found| found.net)
            })
            .sum();
        let net = net - worth * flags_price(walk, block, class, flags);
        if net > best.1 {
            best = (flags, net);
        }
    }
    best
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
