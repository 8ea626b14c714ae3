// SPDX-License-Identifier: Apache-2.0
//! Lossless coding of a tile's levels.
//!
//! Block by block in raster order: whether it has any levels; which of its squares have; the levels
//! of each, from the last that is not zero back to the first, in zigzag order. The syntax is written once, for
//! whatever has [`Bits`]. Every tile starts afresh; an empty stream is a tile without levels.

use super::transform::{AREA, SIDE};
use crate::motion::range::{Bits, Context, Decoder, Encoder};

/// The largest level.
pub const MOST_LEVEL: i32 = (1 << 12) - 1;
/// Magnitudes from 3 on follow as Exp-Golomb numbers, whose prefix has at most so many bits.
const MAX_PREFIX: u32 = 12;
/// Powers of two that the last position lies between.
const BUCKETS: usize = 7;

/// Places of the zigzag order, row by row.
pub const ZIGZAG: [u8; AREA] = {
    let mut order = [0; AREA];
    let (mut at, mut diagonal) = (0, 0);
    while diagonal < 2 * SIDE - 1 {
        let mut i = 0;
        while i <= diagonal {
            let (row, column) = match diagonal % 2 {
                0 => (diagonal - i, i),
                _ => (i, diagonal - i),
            };
            if row < SIDE && column < SIDE {
                order[at] = (SIDE * row + column) as u8;
                at += 1;
            }
            i += 1;
        }
        diagonal += 1;
    }
    order
};

/// Squares of a block: the quarters of its luma, then U and V.
pub const PARTS: usize = 6;
/// Those of luma.
pub const QUARTERS: usize = 4;
/// Which of them have levels.
pub type Flags = [bool; PARTS];

/// Levels of a square, row by row.
pub type Levels = [i16; AREA];

/// Why a tile's levels could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResidualError {
    #[error("a level outside of the allowed range")]
    Range,
    #[error("{0} byte(s) after the last level")]
    TrailingBytes(usize),
}

/// A square with levels: its block in the tile, and which of the block's it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Square {
    pub block: u32,
    /// Below [`PARTS`].
    pub part: u8,
    pub levels: Levels,
}

impl Square {
    pub fn is_chroma(&self) -> bool {
        usize::from(self.part) >= QUARTERS
    }
}

/// Classes of blocks by how much of them the network's symbols say: skipped ones, those without any symbol, ...
pub const CLASSES: usize = 5;

/// The class of a block, of which the symbols' magnitudes sum up to this; `None` where it is skipped.
pub fn class(activity: Option<u32>) -> u8 {
    match activity {
        None => 0,
        Some(0) => 1,
        Some(1..=3) => 2,
        Some(4..=11) => 3,
        Some(_) => 4,
    }
}

/// Contexts of one kind, within [`Contexts`].
#[derive(Clone, Copy)]
struct Kind {
    first: usize,
    count: usize,
}

/// By the block's class, and how many of left and above have levels.
const BLOCK: Kind = Kind {
    first: 0,
    count: 3 * CLASSES,
};
/// Of luma by how many of the squares before have levels; of U by whether any has; of V by whether U has.
const PART: Kind = BLOCK.next(8);
/// Of luma and then of chroma; within those by the number of the bucket.
const LAST: Kind = PART.next(2 * (BUCKETS - 1));
/// The first digit in a bucket; of luma and of chroma.
const DIGIT: Kind = LAST.next(2 * BUCKETS);
/// By place, and by the levels around; of luma and of chroma.
const ZERO: Kind = DIGIT.next(2 * 4 * PLACES);
/// More than one, more than two: by the levels around; of luma and of chroma.
const MORE: Kind = ZERO.next(2 * 8);
const PREFIX: Kind = MORE.next(2 * (MAX_PREFIX as usize + 1));
const COUNT: usize = PREFIX.first + PREFIX.count;

impl Kind {
    const fn next(self, count: usize) -> Self {
        Self {
            first: self.first + self.count,
            count,
        }
    }

    fn of(self, contexts: &mut Contexts, at: usize) -> &mut Context {
        debug_assert!(at < self.count);
        &mut contexts.0[self.first + at]
    }
}

/// What has been seen of a tile.
#[derive(Debug, Clone)]
pub(super) struct Contexts([Context; COUNT]);

/// Probabilities of a zero that a tile begins with, in 256ths.
const STARTS: [u8; COUNT] = [
    246, 149, 65, 232, 146, 23, 213, 146, 58, 206, 143, 89, 148, 63, 17, 96, 105, 98, 50, 109, 222,
    241, 138, 75, 16, 35, 35, 49, 66, 89, 20, 41, 49, 99, 150, 128, 128, 163, 149, 150, 135, 93,
    128, 128, 134, 142, 163, 161, 179, 180, 153, 147, 126, 200, 165, 150, 121, 210, 171, 148, 114,
    220, 177, 150, 115, 228, 180, 155, 121, 215, 154, 129, 95, 208, 200, 177, 160, 222, 191, 177,
    146, 217, 158, 137, 96, 221, 150, 119, 80, 224, 151, 118, 82, 221, 157, 133, 81, 236, 228, 204,
    159, 236, 224, 208, 172, 247, 225, 195, 143, 239, 225, 196, 157, 178, 213, 239, 251, 192, 128,
    128, 128, 128, 128, 128, 128, 128, 179, 220, 253, 128, 128, 128, 128, 128, 128, 128, 128, 128,
    128,
];

impl Default for Contexts {
    fn default() -> Self {
        Self(STARTS.map(Context::with))
    }
}

/// Groups of places of the zigzag order.
const PLACES: usize = 6;

fn place(at: usize) -> usize {
    match at {
        0 => 0,
        1..=2 => 1,
        3..=5 => 2,
        6..=14 => 3,
        15..=27 => 4,
        _ => 5,
    }
}

/// Magnitudes of the levels to the right of and below a place, whose levels are known before its own.
fn around(levels: &Levels, at: usize) -> usize {
    let (row, column) = (at / SIDE, at % SIDE);
    let mut sum = 0;
    let mut add = |down: usize, right: usize| {
        if row + down < SIDE && column + right < SIDE {
            sum += levels[at + SIDE * down + right].unsigned_abs().min(4);
        }
    };
    add(0, 1);
    add(1, 0);
    add(1, 1);
    add(0, 2);
    add(2, 0);
    usize::from(sum.div_ceil(2).min(3))
}

/// The levels of a square that has some. A reader fills them in.
pub(super) fn levels<B: Bits>(
    bits: &mut B,
    contexts: &mut Contexts,
    chroma: bool,
    levels: &mut Levels,
) -> Result<(), ResidualError> {
    let last = (0..AREA)
        .rev()
        .find(|&at| levels[usize::from(ZIGZAG[at])] != 0)
        .unwrap_or(0);
    let half = usize::from(chroma);
    let last = last_place(bits, contexts, half, last);
    for at in (0..=last).rev() {
        let to = usize::from(ZIGZAG[at]);
        let near = around(levels, to);
        let level = i32::from(levels[to]);
        let some = at == last
            || bits.bit(
                ZERO.of(contexts, 4 * (PLACES * half + place(at)) + near),
                level != 0,
            );
        if !some {
            levels[to] = 0;
            continue;
        }
        let magnitude = level.abs();
        let mut read = 1;
        for more in 0..2 {
            if !bits.bit(
                MORE.of(contexts, 4 * (2 * half + more) + near),
                magnitude > read,
            ) {
                break;
            }
            read += 1;
        }
        if read == 3 {
            read += rest(bits, contexts, half, (magnitude - 3).max(0) as u32)? as i32;
        }
        if read > MOST_LEVEL {
            return Err(ResidualError::Range);
        }
        let negative = bits.raw(u32::from(level < 0), 1) == 1;
        levels[to] = if negative { -read } else { read } as i16;
    }
    Ok(())
}

fn last_place<B: Bits>(bits: &mut B, contexts: &mut Contexts, half: usize, last: usize) -> usize {
    // 0, 1, 2 to 3, 4 to 7, ... 32 to 63.
    let bucket = (usize::BITS - last.leading_zeros()) as usize;
    let mut read = 0;
    while read < BUCKETS - 1
        && bits.bit(
            LAST.of(contexts, (BUCKETS - 1) * half + read),
            bucket > read,
        )
    {
        read += 1;
    }
    if read < 2 {
        return read;
    }
    let digits = read as u32 - 1;
    let first = bits.bit(
        DIGIT.of(contexts, BUCKETS * half + read),
        last >> (digits - 1) & 1 == 1,
    );
    let others = bits.raw(last as u32 & ((1 << (digits - 1)) - 1), digits - 1);
    (2 + usize::from(first)) << (digits - 1) | others as usize
}

/// An Exp-Golomb number.
fn rest<B: Bits>(
    bits: &mut B,
    contexts: &mut Contexts,
    half: usize,
    value: u32,
) -> Result<u32, ResidualError> {
    let length = (value + 1).ilog2();
    let mut read = 0;
    while bits.bit(
        PREFIX.of(contexts, (MAX_PREFIX as usize + 1) * half + read as usize),
        read < length,
    ) {
        read += 1;
        if read > MAX_PREFIX {
            return Err(ResidualError::Range);
        }
    }
    let digits = bits.raw((value + 1) & ((1 << read) - 1), read);
    Ok((1 << read | digits) - 1)
}

/// Goes over the blocks of a tile.
pub(super) struct Walk {
    width: usize,
    /// Whether blocks have levels, of the row above and then of this one.
    some: Vec<bool>,
    pub contexts: Contexts,
}

impl Walk {
    /// For a tile so many blocks wide.
    pub fn new(width: usize) -> Self {
        Self {
            width,
            some: vec![false; width],
            contexts: Contexts::default(),
        }
    }

    /// The context of a block's first flag.
    fn near(&self, block: usize) -> usize {
        let column = block % self.width;
        let left = column > 0 && self.some[column - 1];
        usize::from(left) + usize::from(self.some[column])
    }

    /// Goes on to the next block.
    pub fn settle(&mut self, block: usize, flags: Flags) {
        self.some[block % self.width] = flags.contains(&true);
    }

    /// Which squares of a block have levels; [`Walk::settle`] follows.
    pub fn flags<B: Bits>(&mut self, bits: &mut B, block: usize, class: u8, flags: Flags) -> Flags {
        let at = 3 * usize::from(class) + self.near(block);
        let some = bits.bit(BLOCK.of(&mut self.contexts, at), flags.contains(&true));
        let mut read = [false; PARTS];
        if some {
            let mut before = 0;
            for part in 0..PARTS {
                let at = match part {
                    0..QUARTERS => before,
                    QUARTERS => QUARTERS + before.min(1),
                    _ => QUARTERS + 2 + usize::from(read[QUARTERS]),
                };
                // One of them has levels.
                read[part] = part == PARTS - 1 && before == 0
                    || bits.bit(PART.of(&mut self.contexts, at), flags[part]);
                before += usize::from(read[part]);
            }
        }
        read
    }
}

/// The stream of a tile, whose squares are in order.
pub fn encode_tile(width: usize, classes: &[u8], squares: &[Square]) -> Vec<u8> {
    if squares.is_empty() {
        return Vec::new();
    }
    let mut bits = Encoder::new();
    let mut walk = Walk::new(width);
    let mut left = squares;
    for (block, &class) in classes.iter().enumerate() {
        let here = left
            .iter()
            .take_while(|square| square.block as usize == block)
            .count();
        let (here, others) = left.split_at(here);
        left = others;
        let mut flags = [false; PARTS];
        for square in here {
            flags[usize::from(square.part)] = true;
        }
        walk.flags(&mut bits, block, class, flags);
        walk.settle(block, flags);
        for square in here {
            let (mut copy, chroma) = (square.levels, square.is_chroma());
            let written = levels(&mut bits, &mut walk.contexts, chroma, &mut copy);
            debug_assert!(written.is_ok() && copy == square.levels);
        }
    }
    bits.finish()
}

/// What [`encode_tile`] was given.
pub fn decode_tile(
    width: usize,
    classes: &[u8],
    data: &[u8],
) -> Result<Vec<Square>, ResidualError> {
    let mut squares = Vec::new();
    if data.is_empty() {
        return Ok(squares);
    }
    let mut bits = Decoder::new(data);
    let mut walk = Walk::new(width);
    for (block, &class) in classes.iter().enumerate() {
        let flags = walk.flags(&mut bits, block, class, [false; PARTS]);
        walk.settle(block, flags);
        for (part, _) in flags.iter().enumerate().filter(|(_, some)| **some) {
            let mut square = Square {
                block: block as u32,
                part: part as u8,
                levels: [0; AREA],
            };
            let chroma = square.is_chroma();
            levels(&mut bits, &mut walk.contexts, chroma, &mut square.levels)?;
            squares.push(square);
        }
    }
    match bits.unread() {
        0 => Ok(squares),
        unread => Err(ResidualError::TrailingBytes(unread)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn any_tile()(
            width in 1usize..6,
            blocks in prop::collection::vec((0..CLASSES as u8, 0u8..64), 1..20),
            noise in prop::collection::vec((0usize..AREA, -9i16..=9, any::<u8>()), 1..200),
        ) -> (usize, Vec<u8>, Vec<Square>) {
            let mut noise = noise.into_iter().cycle();
            let mut squares = Vec::new();
            for (block, (_, flags)) in (0..).zip(&blocks) {
                for part in (0..PARTS as u8).filter(|part| flags >> part & 1 == 1) {
                    let mut levels = [0; AREA];
                    let (at, level, count) = noise.next().unwrap();
                    levels[at] = if level == 0 { MOST_LEVEL as i16 } else { level };
                    for (at, level, _) in noise.by_ref().take(usize::from(count % 20)) {
                        levels[at] = level;
                    }
                    if levels != [0; AREA] {
                        squares.push(Square { block, part, levels });
                    }
                }
            }
            (width, blocks.into_iter().map(|(class, _)| class).collect(), squares)
        }
    }

    proptest! {
        #[test]
        fn levels_return((width, classes, squares) in any_tile()) {
            let data = encode_tile(width, &classes, &squares);
            prop_assert_eq!(data.is_empty(), squares.is_empty());
            prop_assert_eq!(decode_tile(width, &classes, &data).unwrap(), squares);
        }

        #[test]
        fn any_bytes_give_levels_or_an_error(width in 1usize..6, classes in prop::collection::vec(0..CLASSES as u8, 1..20), data in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(squares) = decode_tile(width, &classes, &data) {
                prop_assert!(squares.len() <= PARTS * classes.len());
                for square in &squares {
                    prop_assert!(square.levels.iter().all(|l| l.unsigned_abs() <= MOST_LEVEL as u16));
                    prop_assert!(square.levels != [0; AREA]);
                }
                // Which is what a writer would have been given.
                let again = encode_tile(width, &classes, &squares);
                prop_assert_eq!(decode_tile(width, &classes, &again).unwrap(), squares);
            }
        }
    }

    #[test]
    fn bytes_that_are_left_are_an_error() {
        let square = Square {
            block: 1,
            part: 2,
            levels: std::array::from_fn(|i| if i % 9 == 0 { 3 - i as i16 } else { 0 }),
        };
        let mut data = encode_tile(2, &[4, 1, 0], &[square]);
        data.extend([1; 9]);
        let read = decode_tile(2, &[4, 1, 0], &data);
        assert!(
            matches!(read, Err(ResidualError::TrailingBytes(_))),
            "{read:?}"
        );
    }

    #[test]
    fn the_zigzag_goes_over_all_places_by_diagonals() {
        let mut seen = [false; AREA];
        let mut before = 0;
        for at in ZIGZAG.map(usize::from) {
            let diagonal = at / SIDE + at % SIDE;
            assert!(!seen[at] && diagonal >= before);
            (seen[at], before) = (true, diagonal);
        }
        assert_eq!(&ZIGZAG[..6], &[0, 1, 8, 16, 9, 2]);
    }
}
