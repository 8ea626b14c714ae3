// SPDX-License-Identifier: Apache-2.0
//! Which squares of a picture's blocks an encoder sends: those whose levels take more off the squared error than their bits are worth.

use super::code::{DIVIDED, Flags, PARTS, QUARTERS, Shape, Square, WHOLE, Walk};
use super::levels::{Chooser, Found, Scratch};
use super::prices::{Price, Prices};
use super::transform::{AREA, LARGE, LARGE_AREA, SIDE, forward, forward_fine, forward_large};
use super::{Area, Scale};
use crate::motion::range::Adapt;
use crate::motion::{BLOCK, Sample};

/// What a squared error of chroma counts for; the [`Scale`] says the same.
const CHROMA: f32 = 0.25;
/// Of a square; nothing cheaper than this is looked at.
const LEAST_BITS: f32 = 6.0;

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
    quality: u8,
    worth: f32,
) -> Vec<Square> {
    let mut squares = Vec::new();
    let scale = Scale::new(quality, S::BITS);
    let mut walk = Walk::new(area.width / BLOCK, classes, quality);
    let mut scratch = Box::<Scratch>::default();
    let mut prices = Shape::ALL.map(|shape| Box::new(Prices::new(shape)));
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
                prices: &mut prices[shape as usize],
                shape,
                step: scale.step(chroma),
                worth,
                scratch: &mut scratch,
            };
            let enough = |error: f32| error >= worth * LEAST_BITS;
            found[usize::from(part)] = match shape {
                Shape::Large => {
                    let (differences, error) =
                        compare::<LARGE, LARGE_AREA, S>(source, made, stride);
                    let some = enough(error).then(|| forward_large(&differences));
                    some.and_then(|coefficients| chooser.choose(&coefficients))
                }
                Shape::Luma | Shape::Chroma | Shape::Fine => {
                    let (differences, error) = compare::<SIDE, AREA, S>(source, made, stride);
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
            let Some(Found {
                gain,
                net: own,
                levels,
            }) = found[usize::from(part)].take()
            else {
                continue;
            };
            let square = Square {
                block: block as u32,
                part,
                levels,
            };
            let (at, _) = super::place(area.width, square.block, part);
            let exact = area.gain(&source[plane_of(part)][at..], &square, scale);
            if exact <= 0 {
                // Rounding samples took what little it was.
                net -= weight_of(part) * own;
                flags[usize::from(part)] = false;
                continue;
            }
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
            let _ = walk.levels(&mut Adapt, block, shape, &mut square.levels);
            prices[shape as usize].forget();
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
        let squares = tile(source, &mut area(&mut result), &classes, quality, worth);
        let data = encode_tile(WIDTH / BLOCK, &classes, quality, &squares);
        for square in &decode_tile(WIDTH / BLOCK, &classes, quality, &data).expect("own stream") {
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
