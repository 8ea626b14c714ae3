// SPDX-License-Identifier: Apache-2.0
//! Dependent quantization, as in H.266 (section 8.7.3 of its text): which multiples of half a step a level may stand for follows
//! from the levels before it, so that a way through a square's levels may come nearer to its coefficients than each
//! level on its own. In two of the four states these are the even multiples, in the others the odd ones and zero; whether a
//! level is odd says which state is next.

use super::code::Shape;

/// How many states there are. What is transformed together starts in the first.
pub const STATES: usize = 4;

/// A state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State(u8);

impl State {
    /// By number.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..STATES as u8).map(Self)
    }

    pub fn number(self) -> usize {
        self.0.into()
    }

    /// 1 where odd multiples stand for levels, else 0.
    pub fn odd(self) -> i32 {
        (self.0 >> 1).into()
    }

    /// The one behind a level of this magnitude.
    pub fn next(self, magnitude: i32) -> Self {
        const NEXT: [[u8; 2]; STATES] = [[0, 2], [2, 0], [1, 3], [3, 1]];
        Self(NEXT[self.number()][(magnitude & 1) as usize])
    }

    /// What a level stands for, in half steps.
    pub fn halves(self, level: i32) -> i32 {
        2 * level - level.signum() * self.odd()
    }
}

/// What the levels of a square stand for, in half steps.
pub fn halves(shape: Shape, levels: &[i16]) -> Box<[i16]> {
    let mut out = vec![0i16; levels.len()].into_boxed_slice();
    let together = shape.transformed() * shape.transformed();
    for places in shape.order().chunks_exact(together) {
        let mut state = State::default();
        for &place in places.iter().rev() {
            let level = i32::from(levels[usize::from(place)]);
            out[usize::from(place)] = state.halves(level) as i16;
            state = state.next(level.abs());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_before_decide_what_a_level_stands_for() {
        // In the order of coding, from the last place of the zigzag order on: an odd one leads to the third state, where levels stand for odd
        // multiples, and an even one there to the second.
        let order = Shape::Luma.order();
        let mut levels = vec![0i16; order.len()];
        let sent = [1i16, -2, 3, 1, -1, 0, 0, 2];
        for (place, level) in order[..sent.len()].iter().rev().zip(sent) {
            levels[usize::from(*place)] = level;
        }
        let made = halves(Shape::Luma, &levels);
        let made: Vec<i16> = (order[..sent.len()].iter().rev())
            .map(|place| made[usize::from(*place)])
            .collect();
        // States 0, 2, 1, 0, 2, 3, 3, 3.
        assert_eq!(made, [2, -3, 6, 2, -1, 0, 0, 3]);
    }

    #[test]
    fn squares_that_are_transformed_apart_begin_anew() {
        let mut levels = vec![0i16; 64];
        (levels[0], levels[4]) = (1, 1);
        let made = halves(Shape::Fine, &levels);
        assert_eq!((made[0], made[4]), (2, 2));
        // Together the one before would have led to an odd multiple.
        let place = usize::from(Shape::Luma.order()[1]);
        levels = vec![0; 64];
        (levels[0], levels[place]) = (1, 1);
        let made = halves(Shape::Luma, &levels);
        assert_eq!((made[place], made[0]), (2, 1));
    }

    #[test]
    fn the_largest_level_fits() {
        let level = super::super::code::MOST_LEVEL;
        for state in State::all() {
            assert!(i16::try_from(state.halves(level)).is_ok());
            assert!(state.halves(-level) == -state.halves(level));
        }
    }
}
