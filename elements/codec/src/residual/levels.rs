// SPDX-License-Identifier: Apache-2.0
//! The levels of a square that take most off the squared error for what their bits are worth.

use super::code::{Contexts, MOST_LEVEL, MOST_NEAR, Shape, levels, seen_by};
use super::prices::{Price, Prices};
use super::quantizer::{STATES, State, halves};
use super::transform::{AREA, LARGE, LARGE_AREA, SIDE};
use std::ops::Range;

/// Of a step; smaller coefficients are zeros where levels are estimated.
const LEAST: f32 = 0.5;
/// Of a step: one with which levels that do not depend on each other are about as good.
const ESTIMATED: f32 = 0.85;
/// Bits of the flags of a divided quarter, about.
const DIVIDED_FLAGS: f32 = 4.0;
/// Half steps beyond a coefficient; nothing further away is looked at.
const FAR: f32 = 1.5;
fn price(contexts: &mut Contexts, shape: Shape, chosen: &mut [i16]) -> f32 {
    let mut bits = Price(0.0);
    // Only readers find levels out of range.
    let _ = levels(&mut bits, contexts, shape, chosen);
    bits.0
}

/// Levels of a square, by how much they lessen the squared error but for the rounding of samples, and what is left of that when they are
/// paid.
pub(super) struct Found {
    pub gain: f32,
    pub net: f32,
    pub levels: Box<[i16]>,
}

/// What levels are chosen by.
pub(super) struct Chooser<'a> {
    pub contexts: &'a mut Contexts,
    /// The shape's.
    pub prices: &'a mut Prices,
    pub shape: Shape,
    pub step: f32,
    /// Squared error that a bit is worth.
    pub worth: f32,
    pub scratch: &'a mut Scratch,
}

/// By place of what is transformed together.
pub(super) struct Scratch {
    /// In bits: what a coefficient costs as it is chosen less what it costs as a zero, whose error alone counts; and less
    /// than that where it is the last, which says itself that it is not zero.
    costs: [[f32; 2]; LARGE_AREA],
    /// The best ways to each state: the state before, and the magnitude of the level.
    ways: [[(u8, i16); STATES]; LARGE_AREA],
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            costs: [[0.0; 2]; LARGE_AREA],
            ways: [[(0, 0); STATES]; LARGE_AREA],
        }
    }
}

/// A way through the levels of what is transformed together to a state, from the last place on.
#[derive(Clone, Copy)]
struct Way<const KEPT: usize> {
    /// Infinite where there is none.
    cost: f32,
    /// What is around the places of the next two diagonals and of this one, by magnitudes, the large ones as [`MOST_NEAR`]: nothing
    /// further away sees them, and ways are copied at each place.
    near: [u8; KEPT],
}

/// Where what is around a place (row by row) is kept of three diagonals.
const fn kept<const AREA: usize>(side: usize) -> [u8; AREA] {
    let mut kept = [0; AREA];
    let mut at = 0;
    while at < AREA {
        let (row, column) = (at / side, at % side);
        kept[at] = ((row + column) % 3 * side + row) as u8;
        at += 1;
    }
    kept
}

static KEPT: [u8; AREA] = kept(SIDE);
static KEPT_LARGE: [u8; LARGE_AREA] = kept(LARGE);

/// The state before the first level of a way.
const NO_STATE: u8 = STATES as u8;

impl Chooser<'_> {
    /// Whether the levels of a square may be worth their bits, at a fraction of what it takes to choose them: each is the magnitude next to its
    /// coefficient or one less or none, as if all multiples of a step were there for it, whichever costs least, its own bits and error counted, and
    /// not what it does to the contexts of those that follow. The place behind which all are left out is the best one.
    fn may_pay(&mut self, coefficients: &[f32]) -> bool {
        let step = ESTIMATED * self.step;
        let least = LEAST * step;
        if coefficients.iter().all(|value| value.abs() < least) {
            return false;
        }
        let together = self.shape.transformed() * self.shape.transformed();
        let mut sum = 0.0;
        for first in (0..coefficients.len()).step_by(together) {
            sum += match coefficients.len() {
                LARGE_AREA => {
                    self.estimate_one::<LARGE_AREA>(coefficients, first..first + together, step)
                }
                _ => self.estimate_one::<AREA>(coefficients, first..first + together, step),
            };
        }
        if self.shape == Shape::Fine {
            sum += DIVIDED_FLAGS;
        }
        sum < 0.0
    }

    /// In bits, the error counted in those, less than nothing where levels are worth it. `places` are some of the zigzag order.
    fn estimate_one<const AREA: usize>(
        &mut self,
        coefficients: &[f32],
        places: Range<usize>,
        step: f32,
    ) -> f32 {
        let unit = step * step / self.worth;
        let steps = 1.0 / step;
        let (order, groups) = (
            &self.shape.order()[places.clone()],
            &self.shape.groups()[places],
        );
        let (state, shape) = (State::default(), self.shape);
        // What is around each place, and where there are levels.
        let (mut near, mut chosen) = ([0u8; AREA], [false; AREA]);
        let costs = &mut self.scratch.costs;
        let mut end = 0;
        for (at, &to) in order.iter().enumerate().rev() {
            let to = usize::from(to);
            let size = coefficients[to].abs() * steps;
            if size < LEAST {
                if end > 0 {
                    let level = self
                        .prices
                        .level(self.contexts, state, groups[at], near[to]);
                    costs[at] = [level.bits[0]; 2];
                }
                continue;
            }
            let nearest = (size + 0.5) as i32;
            let level = self
                .prices
                .level(self.contexts, state, groups[at], near[to]);
            let error = |magnitude: i32| {
                let left = size - magnitude as f32;
                unit * left * left
            };
            let mut best = (level.bits[0] + error(0), 0);
            for magnitude in (nearest - 1).max(1)..=nearest {
                let cost = error(magnitude) + level.of(magnitude);
                if cost < best.0 {
                    best = (cost, magnitude);
                }
            }
            if best.1 == 0 && end == 0 {
                continue;
            }
            end = end.max(at + 1);
            let own = best.0 - error(0);
            costs[at] = [own, own - level.some];
            if best.1 > 0 {
                chosen[at] = true;
                let magnitude = best.1.min(MOST_NEAR as i32) as u8;
                seen_by(shape, to, |at| near[at] += magnitude);
            }
        }
        let (mut least, mut before) = (0.0f32, 0.0);
        for (at, (chosen, costs)) in chosen
            .into_iter()
            .zip(&self.scratch.costs)
            .enumerate()
            .take(end)
        {
            if chosen {
                least = least.min(before + costs[1] + self.prices.end(self.contexts, at));
            }
            before += costs[0];
        }
        least
    }

    /// Levels that are worth their bits.
    pub fn choose(&mut self, coefficients: &[f32]) -> Option<Found> {
        if !self.may_pay(coefficients) {
            return None;
        }
        let mut levels = vec![0i16; coefficients.len()].into_boxed_slice();
        let together = self.shape.transformed() * self.shape.transformed();
        for first in (0..levels.len()).step_by(together) {
            let places = first..first + together;
            match coefficients.len() {
                LARGE_AREA => self.find_way::<{ 3 * LARGE }, LARGE_AREA>(
                    coefficients,
                    places,
                    &KEPT_LARGE,
                    &mut levels,
                ),
                _ => self.find_way::<{ 3 * SIDE }, AREA>(coefficients, places, &KEPT, &mut levels),
            }
        }
        if levels.iter().all(|level| *level == 0) {
            return None;
        }
        let halves = halves(self.shape, &levels);
        let gains = coefficients.iter().zip(&halves).map(|(value, halves)| {
            let left = value - f32::from(*halves) * self.step / 2.0;
            value * value - left * left
        });
        let gain: f32 = gains.sum();
        let net = gain - self.worth * price(self.contexts, self.shape, &mut levels);
        (net > 0.0).then_some(Found { gain, net, levels })
    }

    /// Chooses the levels of what is transformed together, some places of the zigzag order: the cheapest way through the
    /// [states](State), from the last place on (Viterbi's algorithm), the bits and error of all levels counted, under contexts that stand still.
    fn find_way<const KEPT: usize, const AREA: usize>(
        &mut self,
        coefficients: &[f32],
        places: Range<usize>,
        kept: &[u8; AREA],
        chosen: &mut [i16],
    ) {
        let unit = self.step * self.step / self.worth / 4.0;
        let halves = 2.0 / self.step;
        let (order, groups) = (
            &self.shape.order()[places.clone()],
            &self.shape.groups()[places],
        );
        let shape = self.shape;
        let none = Way {
            cost: f32::INFINITY,
            near: [0; KEPT],
        };
        let (mut ways, mut before) = ([none; STATES], [none; STATES]);
        let mut start = None;
        for (at, &to) in order.iter().enumerate().rev() {
            let to = usize::from(to);
            let size = coefficients[to].abs() * halves;
            // A way begins with an even multiple, which is not zero.
            let begins = size >= 1.0;
            if start.is_none() && !begins {
                continue;
            }
            let start = *start.get_or_insert(at);
            std::mem::swap(&mut ways, &mut before);
            let mut best = [(f32::INFINITY, (NO_STATE, 0i16)); STATES];
            let mut offer = |state: State, cost: f32, from: u8, magnitude: i32| {
                let best = &mut best[state.next(magnitude).number()];
                if cost < best.0 {
                    *best = (cost, (from, magnitude as i16));
                }
            };
            let error = |state: State, magnitude: i32| {
                let left = size - state.halves(magnitude) as f32;
                unit * (left * left - size * size)
            };
            // Those whose multiples are on both sides of the coefficient.
            let next_to = |state: State| {
                let low = ((size + state.odd() as f32) / 2.0) as i32;
                [low, low + 1].map(|magnitude| magnitude.min(MOST_LEVEL))
            };
            if at < start {
                for state in State::all() {
                    let way = &before[state.number()];
                    if way.cost == f32::INFINITY {
                        continue;
                    }
                    let near = way.near[usize::from(kept[to])];
                    let level = self.prices.level(self.contexts, state, groups[at], near);
                    let from = state.number() as u8;
                    offer(state, way.cost + level.bits[0], from, 0);
                    for magnitude in next_to(state) {
                        // A multiple far beyond a coefficient is never the best.
                        if magnitude > 0 && state.halves(magnitude) as f32 <= size + FAR {
                            let cost = way.cost + error(state, magnitude) + level.of(magnitude);
                            offer(state, cost, from, magnitude);
                        }
                    }
                }
            }
            if begins {
                let state = State::default();
                let end = self.prices.end(self.contexts, at);
                let level = self.prices.level(self.contexts, state, groups[at], 0);
                let last = end - level.some;
                for magnitude in next_to(state).into_iter().filter(|m| *m > 0) {
                    let cost = last + error(state, magnitude) + level.of(magnitude);
                    offer(state, cost, NO_STATE, magnitude);
                }
            }
            for ((way, best), found) in ways.iter_mut().zip(best).zip(&mut self.scratch.ways[at]) {
                let (cost, (from, magnitude)) = best;
                way.cost = cost;
                *found = (from, magnitude);
                if cost < f32::INFINITY {
                    match before.get(usize::from(from)) {
                        Some(before) => way.near = before.near,
                        None => way.near = [0; KEPT],
                    }
                    // Another diagonal takes its place.
                    way.near[usize::from(kept[to])] = 0;
                    if magnitude > 0 {
                        let magnitude = magnitude.min(MOST_NEAR as i16) as u8;
                        seen_by(shape, to, |at| way.near[usize::from(kept[at])] += magnitude);
                    }
                }
            }
        }
        let last = (0..STATES).min_by(|a, b| ways[*a].cost.total_cmp(&ways[*b].cost));
        let mut state = match last {
            Some(state) if ways[state].cost < 0.0 => state as u8,
            _ => return,
        };
        for (&to, ways) in order.iter().zip(&self.scratch.ways) {
            let Some(&(from, magnitude)) = ways.get(usize::from(state)) else {
                break;
            };
            let to = usize::from(to);
            chosen[to] = if coefficients[to] < 0.0 {
                -magnitude
            } else {
                magnitude
            };
            state = from;
        }
    }
}
