// SPDX-License-Identifier: Apache-2.0
//! What levels cost, in bits.
//!
//! Contexts stand still while the levels of a block are chosen, and where nothing is sent they do so for many
//! blocks: what each magnitude costs is looked up once for all of them.

use super::code::{
    BUCKETS, BUSY, Contexts, NEAR, PLACES, SETS, Shape, bucket_of, last_place, level_prices,
    near_of, set_of,
};
use super::quantizer::State;
use crate::motion::range::{Bits, Context};
use std::sync::LazyLock;

/// Counts bits, and leaves contexts as they are.
pub(super) struct Price(pub f32);

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

/// What both values of a bit cost, by its context.
fn both() -> impl Fn(Context) -> [f32; 2] + Copy {
    // Asked for once, not for each bit.
    let bits: &[f32; 257] = &BITS;
    move |context| {
        let zero = context.probability() as usize / 16;
        [bits[zero], bits[256 - zero]]
    }
}

/// Of the magnitudes 0, 1, 2, and 3 without what follows it, and how much of it says that a level is not zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Magnitudes {
    pub bits: [f32; 4],
    pub some: f32,
}

impl Magnitudes {
    #[inline(always)]
    pub fn of(&self, magnitude: i32) -> f32 {
        match magnitude {
            0..=3 => self.bits[magnitude as usize],
            // What follows is an Exp-Golomb number.
            _ => self.bits[3] + 2.0 * ((magnitude - 2) as f32).log2(),
        }
    }
}

/// How many numbers of a last place cost the same but for the digits that are equally likely.
const ENDS: usize = 2 * BUCKETS;

/// Of one [`Shape`]. What is not known yet is not a number.
pub(super) struct Prices {
    shape: Shape,
    by_level: [[[Magnitudes; NEAR]; PLACES]; SETS],
    /// Of the last place, by how much is around, and by bucket and the digit after the first.
    by_end: [[f32; ENDS]; BUSY],
}

impl Prices {
    const UNKNOWN: Magnitudes = Magnitudes {
        bits: [f32::NAN; 4],
        some: f32::NAN,
    };

    pub fn new(shape: Shape) -> Self {
        Self {
            shape,
            by_level: [[[Self::UNKNOWN; NEAR]; PLACES]; SETS],
            by_end: [[f32::NAN; ENDS]; BUSY],
        }
    }

    /// The shape's contexts have changed.
    pub fn forget(&mut self) {
        *self = Self::new(self.shape);
    }

    /// Of a level in a group of places, around which the magnitudes sum up to so much.
    #[inline(always)]
    pub fn level(&mut self, contexts: &Contexts, state: State, group: u8, sum: u8) -> &Magnitudes {
        let near = near_of(sum.into());
        let known = &mut self.by_level[set_of(state)][usize::from(group)][near];
        if known.some.is_nan() {
            let (bits, some) =
                level_prices(contexts, self.shape, group.into(), near, state, both());
            *known = Magnitudes { bits, some };
        }
        known
    }

    /// Of the place of the last level.
    #[inline(always)]
    pub fn end(&mut self, contexts: &mut Contexts, last: usize) -> f32 {
        let bucket = bucket_of(last);
        let end = match bucket {
            0 | 1 => 2 * bucket,
            _ => 2 * bucket + (last >> (bucket - 2) & 1),
        };
        let known = &mut self.by_end[contexts.busy()][end];
        if known.is_nan() {
            let mut bits = Price(0.0);
            last_place(&mut bits, contexts, self.shape, last);
            *known = bits.0;
        }
        *known
    }
}

#[cfg(test)]
mod tests {
    use super::super::code::{MOST_NEAR, Walk, levels_at, seen_from};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tables_say_what_the_syntax_says(
            quality in 0u8..64,
            shape in prop::sample::select(&Shape::ALL),
            found in prop::collection::vec((0usize..256, -3i16..=3), 1..30),
        ) {
            let mut contexts = Walk::new(1, &[0], quality).contexts;
            let (side, together) = (shape.side(), shape.transformed() * shape.transformed());
            let first = side * side - together;
            let order = &shape.order()[first..];
            let mut square = vec![0i16; side * side];
            for (at, level) in found {
                square[usize::from(order[at % together])] = level;
            }
            let last = (0..together).rev().find(|at| square[usize::from(order[*at])] != 0);
            prop_assume!(last.is_some());
            let last = last.unwrap_or_default();
            let mut exact = Price(0.0);
            let _ = levels_at(&mut exact, &mut contexts, shape, first..side * side, &mut square);
            let mut prices = Prices::new(shape);
            // What is known is the same the second time.
            for _ in 0..2 {
                let mut sum = prices.end(&mut contexts, last);
                let mut state = State::default();
                for at in (0..=last).rev() {
                    let to = usize::from(order[at]);
                    let mut around = 0;
                    seen_from(shape, to, |at| around += u32::from(square[at].unsigned_abs()).min(MOST_NEAR));
                    let magnitude = i32::from(square[to].unsigned_abs());
                    let level = prices.level(&contexts, state, shape.groups()[first + at], around as u8);
                    sum += level.of(magnitude) - if at == last { level.some } else { 0.0 };
                    state = state.next(magnitude);
                }
                // What follows a magnitude of three is coded by a context of its own.
                let threes = square.iter().filter(|level| level.abs() == 3).count();
                prop_assert!(sum <= exact.0 + 0.01, "{sum}, not {}", exact.0);
                prop_assert!(exact.0 - sum < 8.0 * threes as f32 + 0.01, "{sum}, not {}", exact.0);
            }
        }
    }
}
