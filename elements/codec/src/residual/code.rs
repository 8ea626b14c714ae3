// SPDX-License-Identifier: Apache-2.0
//! Lossless coding of a tile's levels.
//!
//! Block by block in raster order: whether it has any levels; whether those of luma are of one large square; which of the
//! others have any, and of luma's quarters whether those are of four fine squares, and which of these have any; the levels of each, from the
//! last that is not zero back to the first, in zigzag order. The syntax is written once, for
//! whatever has [`Bits`]. Every tile starts afresh; an empty stream is a tile without levels.

use super::quantizer::State;
use super::transform::{AREA, FINE, LARGE, LARGE_AREA, SIDE};
use crate::motion::range::{Bits, Context, Decoder, Encoder};
use std::ops::Range;

/// The largest level.
pub const MOST_LEVEL: i32 = (1 << 12) - 1;
/// Magnitudes from 3 on follow as Exp-Golomb numbers, whose prefix has at most so many bits.
const MAX_PREFIX: u32 = 12;
/// Powers of two that the last position lies between.
pub(super) const BUCKETS: usize = 9;

/// Places of the zigzag order of a square of so many rows, row by row.
const fn zigzag<const AREA: usize>(side: usize) -> [u8; AREA] {
    let mut order = [0; AREA];
    let (mut at, mut diagonal) = (0, 0);
    while diagonal < 2 * side - 1 {
        let mut i = 0;
        while i <= diagonal {
            let (row, column) = match diagonal % 2 {
                0 => (diagonal - i, i),
                _ => (i, diagonal - i),
            };
            if row < side && column < side {
                order[at] = (side * row + column) as u8;
                at += 1;
            }
            i += 1;
        }
        diagonal += 1;
    }
    order
}

/// The places of four squares, one after the other.
const fn fine_zigzag() -> [u8; AREA] {
    let one: [u8; FINE * FINE] = zigzag(FINE);
    let mut order = [0; AREA];
    let mut at = 0;
    while at < AREA {
        let (place, square) = (one[at % one.len()] as usize, at / one.len());
        let row = FINE * (square / 2) + place / FINE;
        let column = FINE * (square % 2) + place % FINE;
        order[at] = (SIDE * row + column) as u8;
        at += 1;
    }
    order
}

static ZIGZAG: [u8; AREA] = zigzag(SIDE);
static FINE_ZIGZAG: [u8; AREA] = fine_zigzag();
static LARGE_ZIGZAG: [u8; LARGE_AREA] = zigzag(LARGE);

/// Squares of a block: the quarters of its luma, U, V, in place of the quarters all of its luma, and in place of each quarter
/// the four fine squares that it is divided into.
pub const PARTS: usize = 11;
/// Those of luma.
pub const QUARTERS: usize = 4;
/// All of its luma.
pub const WHOLE: usize = 6;
/// The first of those of fine squares.
pub const DIVIDED: usize = 7;
/// Which of them have levels.
pub type Flags = [bool; PARTS];

/// Kinds of squares, which have contexts of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A quarter of a block's luma.
    Luma,
    Chroma,
    /// All of a block's luma.
    Large,
    /// A quarter of a block's luma, as four squares.
    Fine,
}

/// How many there are.
pub const SHAPES: usize = 4;

impl Shape {
    /// By their numbers.
    pub const ALL: [Self; SHAPES] = [Self::Luma, Self::Chroma, Self::Large, Self::Fine];

    /// Of a part of a block.
    pub fn of(part: u8) -> Self {
        match usize::from(part) {
            0..QUARTERS => Self::Luma,
            WHOLE => Self::Large,
            DIVIDED.. => Self::Fine,
            _ => Self::Chroma,
        }
    }

    /// Rows and columns.
    pub fn side(self) -> usize {
        match self {
            Self::Large => LARGE,
            Self::Luma | Self::Chroma | Self::Fine => SIDE,
        }
    }

    /// Those of what is transformed at once.
    pub fn transformed(self) -> usize {
        match self {
            Self::Fine => FINE,
            _ => self.side(),
        }
    }

    /// Its places in zigzag order, row by row.
    pub fn order(self) -> &'static [u8] {
        match self {
            Self::Large => &LARGE_ZIGZAG,
            Self::Luma | Self::Chroma => &ZIGZAG,
            Self::Fine => &FINE_ZIGZAG,
        }
    }

    /// The groups of the places of the zigzag order.
    pub(super) fn groups(self) -> &'static [u8] {
        match self {
            Self::Large => &LARGE_GROUPS,
            Self::Luma | Self::Chroma => &GROUPS,
            Self::Fine => &FINE_GROUPS,
        }
    }
}

/// Groups of places of the zigzag order, which end before these, of so many that are transformed together.
const fn groups<const AREA: usize>(together: usize, ends: [usize; PLACES - 1]) -> [u8; AREA] {
    let mut groups = [0; AREA];
    let mut at = 0;
    while at < AREA {
        while (groups[at] as usize) < ends.len() && at % together >= ends[groups[at] as usize] {
            groups[at] += 1;
        }
        at += 1;
    }
    groups
}

static GROUPS: [u8; AREA] = groups(AREA, [1, 3, 6, 15, 28]);
static FINE_GROUPS: [u8; AREA] = groups(FINE * FINE, [1, 3, 6, 10, 13]);
static LARGE_GROUPS: [u8; LARGE_AREA] = groups(LARGE_AREA, [1, 6, 15, 36, 91]);

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
    /// Row by row.
    pub levels: Box<[i16]>,
}

impl Square {
    pub fn shape(&self) -> Shape {
        Shape::of(self.part)
    }

    pub fn is_chroma(&self) -> bool {
        self.shape() == Shape::Chroma
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

/// What left and above have, as contexts know it: 0 for none, then one with few and with many levels of luma, and both with few and many.
const NEARS: usize = 5;
/// The levels of luma that left and above have: few, some or many.
pub(super) const BUSY: usize = 3;
/// Sets of contexts by state.
pub(super) const SETS: usize = 3;

/// Contexts of one kind, within [`Contexts`].
#[derive(Clone, Copy)]
struct Kind {
    first: usize,
    count: usize,
}

/// By the block's class, and what left and above have.
const BLOCK: Kind = Kind {
    first: 0,
    count: NEARS * CLASSES,
};
/// Whether luma's levels are of all of it: by how many of left and above have such.
const LUMA: Kind = BLOCK.next(3);
/// Of luma by how many of the squares before have levels; of U by whether any has; of V by whether U has.
const PART: Kind = LUMA.next(8);
/// By [`Shape`]; within those by the levels of left and above, and the number of the bucket.
const LAST: Kind = PART.next(SHAPES * BUSY * (BUCKETS - 1));
/// The first digit in a bucket; by shape.
const DIGIT: Kind = LAST.next(SHAPES * BUCKETS);
/// By shape, by state, by place, and by the levels around.
const ZERO: Kind = DIGIT.next(SHAPES * SETS * 4 * PLACES);
/// More than one, more than two: by shape, by whether the state's multiples are odd, and by the levels around.
const MORE: Kind = ZERO.next(SHAPES * 2 * 8);
const PREFIX: Kind = MORE.next(SHAPES * (MAX_PREFIX as usize + 1));
/// Whether a quarter is divided: by how many of left and above have such, and whether one before in the block is.
const FINER: Kind = PREFIX.next(6);
/// Whether a fine square has levels: by how many before it in its quarter have.
const ONE: Kind = FINER.next(4);
const COUNT: usize = ONE.first + ONE.count;

impl Kind {
    const fn next(self, count: usize) -> Self {
        Self {
            first: self.first + self.count,
            count,
        }
    }

    fn of(self, contexts: &mut Contexts, at: usize) -> &mut Context {
        debug_assert!(at < self.count);
        &mut contexts.all[self.first + at]
    }
}

/// What has been seen of a tile.
#[derive(Debug, Clone)]
pub(super) struct Contexts {
    all: [Context; COUNT],
    /// Of the block whose levels follow, below [`BUSY`].
    busy: usize,
}

/// Tables of starts of tiles all of whose blocks are skipped, as no network says anything, and of others: key frames, above all.
const PREDICTED: usize = 4;
const CODED: usize = 3;
/// Probabilities of a zero that a tile begins with, in 256ths: [`PREDICTED`] tables by quality from 0, 16, 32 and 48 on, [`CODED`] ones from
/// 0, 40 and 56 on.
const STARTS: [[u8; COUNT]; PREDICTED + CODED] = include!("starts.in");

impl Contexts {
    /// How many levels are around the block whose levels follow, below [`BUSY`].
    pub(super) fn busy(&self) -> usize {
        self.busy
    }

    /// Those that a tile of such blocks begins with, in a frame of this quality.
    fn new(classes: &[u8], quality: u8) -> Self {
        let table = match classes.iter().all(|class| *class == 0) {
            true => usize::from(quality / 16).min(PREDICTED - 1),
            // Key frames have as much more quality than others, about.
            false => PREDICTED + usize::from(quality.saturating_sub(24) / 16).min(CODED - 1),
        };
        Self {
            all: STARTS[table].map(Context::with),
            busy: 0,
        }
    }
}

/// Groups of places of the zigzag order.
pub(super) const PLACES: usize = 6;

/// What the magnitudes around a place may mean for its contexts.
pub(super) const NEAR: usize = 4;

/// By their sum.
#[inline(always)]
pub(super) fn near_of(sum: u32) -> usize {
    sum.div_ceil(2).min(NEAR as u32 - 1) as usize
}

/// The places around one that its contexts see: to the right of and below it, within what is transformed together, whose levels are known before its own.
#[inline(always)]
pub(super) fn seen_from(shape: Shape, at: usize, see: impl FnMut(usize)) {
    match shape {
        Shape::Luma | Shape::Chroma => seen_within::<SIDE, SIDE>(at, see),
        Shape::Large => seen_within::<LARGE, LARGE>(at, see),
        Shape::Fine => seen_within::<SIDE, FINE>(at, see),
    }
}

/// The same in rows of `SIDE` levels, `WITHIN` of which are transformed together.
#[inline(always)]
fn seen_within<const SIDE: usize, const WITHIN: usize>(at: usize, mut see: impl FnMut(usize)) {
    let (row, column) = (at / SIDE % WITHIN, at % SIDE % WITHIN);
    for (down, right) in SEEN {
        if row + down < WITHIN && column + right < WITHIN {
            see(at + SIDE * down + right);
        }
    }
}

/// Rows down and columns to the right.
const SEEN: [(usize, usize); 5] = [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0)];

/// The places that see one: [`seen_from`] the other way.
#[inline(always)]
pub(super) fn seen_by(shape: Shape, at: usize, see: impl FnMut(usize)) {
    match shape {
        Shape::Luma | Shape::Chroma => seen_by_within::<SIDE, SIDE>(at, see),
        Shape::Large => seen_by_within::<LARGE, LARGE>(at, see),
        Shape::Fine => seen_by_within::<SIDE, FINE>(at, see),
    }
}

#[inline(always)]
fn seen_by_within<const SIDE: usize, const WITHIN: usize>(at: usize, mut see: impl FnMut(usize)) {
    let (row, column) = (at / SIDE % WITHIN, at % SIDE % WITHIN);
    for (up, left) in SEEN {
        if row >= up && column >= left {
            see(at - SIDE * up - left);
        }
    }
}

/// A larger magnitude counts as this one for those around it.
pub(super) const MOST_NEAR: u32 = 4;

/// The set of contexts of a state.
#[inline(always)]
pub(super) fn set_of(state: State) -> usize {
    state.number().saturating_sub(1)
}

/// The contexts of a level: whether it is not zero, more than one, more than two; in a [group](Shape::groups) of places.
#[inline(always)]
fn level_contexts(shape: Shape, near: usize, group: usize, state: State) -> [(Kind, usize); 3] {
    let set = SETS * shape as usize + set_of(state);
    let odd = 2 * shape as usize + state.odd() as usize;
    let more = |more: usize| (MORE, NEAR * (2 * odd + more) + near);
    [
        (ZERO, NEAR * (PLACES * set + group) + near),
        more(0),
        more(1),
    ]
}

/// What the magnitudes 0, 1, 2, and 3 without what follows it cost, sign
/// included, and how much of it says that the level is not zero: sums of what `bit` says of a context and each value of its bit.
#[inline(always)]
pub(super) fn level_prices(
    contexts: &Contexts,
    shape: Shape,
    group: usize,
    near: usize,
    state: State,
    bit: impl Fn(Context) -> [f32; 2],
) -> ([f32; 4], f32) {
    let bit = |(kind, index): (Kind, usize)| bit(contexts.all[kind.first + index]);
    let [some, two, three] = level_contexts(shape, near, group, state).map(bit);
    let sign = 1.0;
    let (one, more) = (some[1] + sign, some[1] + two[1] + sign);
    let bits = [some[0], one + two[0], more + three[0], more + three[1]];
    (bits, some[1])
}

/// The levels of a square that has some. A reader fills them in.
pub(super) fn levels<B: Bits>(
    bits: &mut B,
    contexts: &mut Contexts,
    shape: Shape,
    levels: &mut [i16],
) -> Result<(), ResidualError> {
    let count = shape.transformed() * shape.transformed();
    if shape != Shape::Fine {
        return levels_at(bits, contexts, shape, 0..count, levels);
    }
    let mut before = 0;
    for square in 0..4 {
        let places = count * square..count * (square + 1);
        let order = &shape.order()[places.clone()];
        let some = order.iter().any(|&at| levels[usize::from(at)] != 0);
        // One of them has levels.
        let some = square == 3 && before == 0 || bits.bit(ONE.of(contexts, before), some);
        if some {
            before += 1;
            levels_at(bits, contexts, shape, places, levels)?;
        }
    }
    Ok(())
}

/// Those that are transformed together: some places of the zigzag order.
pub(super) fn levels_at<B: Bits>(
    bits: &mut B,
    contexts: &mut Contexts,
    shape: Shape,
    places: Range<usize>,
    levels: &mut [i16],
) -> Result<(), ResidualError> {
    let order = &shape.order()[places.clone()];
    let groups = &shape.groups()[places];
    let last = (0..order.len())
        .rev()
        .find(|&at| levels[usize::from(order[at])] != 0)
        .unwrap_or(0);
    let last = last_place(bits, contexts, shape, last);
    let mut state = State::default();
    for at in (0..=last).rev() {
        let to = usize::from(order[at]);
        let mut sum = 0;
        seen_from(shape, to, |at| {
            sum += u32::from(levels[at].unsigned_abs()).min(MOST_NEAR)
        });
        let group = groups[at].into();
        let [some, more @ ..] = level_contexts(shape, near_of(sum), group, state);
        let mut bit = |(kind, index): (Kind, usize), bit| bits.bit(kind.of(contexts, index), bit);
        let level = i32::from(levels[to]);
        if at != last && !bit(some, level != 0) {
            levels[to] = 0;
            state = state.next(0);
            continue;
        }
        let magnitude = level.abs();
        let mut read = 1;
        for more in more {
            if !bit(more, magnitude > read) {
                break;
            }
            read += 1;
        }
        if read == 3 {
            read += rest(bits, contexts, shape, (magnitude - 3).max(0) as u32)? as i32;
        }
        if read > MOST_LEVEL {
            return Err(ResidualError::Range);
        }
        let negative = bits.raw(u32::from(level < 0), 1) == 1;
        levels[to] = if negative { -read } else { read } as i16;
        state = state.next(read);
    }
    Ok(())
}

/// 0, 1, 2 to 3, 4 to 7, ... 32 to 63, and so on.
#[inline(always)]
pub(super) fn bucket_of(last: usize) -> usize {
    (usize::BITS - last.leading_zeros()) as usize
}

/// The place of the last level in the zigzag order.
pub(super) fn last_place<B: Bits>(
    bits: &mut B,
    contexts: &mut Contexts,
    shape: Shape,
    last: usize,
) -> usize {
    let count = shape.transformed() * shape.transformed();
    let (most, bucket) = (bucket_of(count - 1), bucket_of(last));
    let shape = shape as usize;
    let first = (BUCKETS - 1) * (BUSY * shape + contexts.busy);
    let mut read = 0;
    while read < most && bits.bit(LAST.of(contexts, first + read), bucket > read) {
        read += 1;
    }
    if read < 2 {
        return read;
    }
    let digits = read as u32 - 1;
    let first = bits.bit(
        DIGIT.of(contexts, BUCKETS * shape + read),
        last >> (digits - 1) & 1 == 1,
    );
    let others = bits.raw(last as u32 & ((1 << (digits - 1)) - 1), digits - 1);
    (2 + usize::from(first)) << (digits - 1) | others as usize
}

/// An Exp-Golomb number.
fn rest<B: Bits>(
    bits: &mut B,
    contexts: &mut Contexts,
    shape: Shape,
    value: u32,
) -> Result<u32, ResidualError> {
    let length = (value + 1).ilog2();
    let mut read = 0;
    while bits.bit(
        PREFIX.of(
            contexts,
            (MAX_PREFIX as usize + 1) * shape as usize + read as usize,
        ),
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
    /// Of the row above and then of this one.
    before: Vec<Before>,
    pub contexts: Contexts,
}

/// What is known of a block before.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    /// Whether it has levels, and whether they are of all of its luma, or of fine squares.
    some: bool,
    whole: bool,
    /// Whether any of its quarters is divided.
    divided: bool,
    /// Levels of luma that are not zero.
    levels: usize,
}

impl Walk {
    /// For a tile so many blocks wide, of these classes, in a frame of this quality.
    pub fn new(width: usize, classes: &[u8], quality: u8) -> Self {
        Self {
            width,
            before: vec![Before::default(); width],
            contexts: Contexts::new(classes, quality),
        }
    }

    /// The sum of a number of left and above.
    fn near(&self, block: usize, number: impl Fn(Before) -> usize) -> usize {
        let column = block % self.width;
        let left = match column {
            0 => 0,
            _ => number(self.before[column - 1]),
        };
        left + number(self.before[column])
    }

    /// Goes on to the next block.
    pub fn settle(&mut self, block: usize, flags: Flags) {
        self.before[block % self.width] = Before {
            some: flags.contains(&true),
            whole: flags[WHOLE],
            divided: flags[DIVIDED..].contains(&true),
            levels: 0,
        };
    }

    /// Codes the levels of one of the block's squares; [`Walk::settle`] was before.
    pub fn levels<B: Bits>(
        &mut self,
        bits: &mut B,
        block: usize,
        shape: Shape,
        levels: &mut [i16],
    ) -> Result<(), ResidualError> {
        self::levels(bits, &mut self.contexts, shape, levels)?;
        if shape != Shape::Chroma {
            let some = levels.iter().filter(|level| **level != 0).count();
            self.before[block % self.width].levels += some;
        }
        Ok(())
    }

    /// Which squares of a block have levels; [`Walk::settle`] follows.
    pub fn flags<B: Bits>(&mut self, bits: &mut B, block: usize, class: u8, flags: Flags) -> Flags {
        let mut read = [false; PARTS];
        let some = self.near(block, |before| before.some.into());
        let levels = self.near(block, |before| before.levels);
        let near = match (some, levels) {
            (0, _) => 0,
            (1, 0..=3) => 1,
            (1, _) => 2,
            (_, 0..=7) => 3,
            _ => 4,
        };
        self.contexts.busy = match levels {
            0..=2 => 0,
            3..=11 => 1,
            _ => 2,
        };
        let at = NEARS * usize::from(class) + near;
        if !bits.bit(BLOCK.of(&mut self.contexts, at), flags.contains(&true)) {
            return read;
        }
        let divided = self.near(block, |before| before.divided.into());
        let near = self.near(block, |before| before.whole.into());
        read[WHOLE] = bits.bit(LUMA.of(&mut self.contexts, near), flags[WHOLE]);
        let mut before = usize::from(read[WHOLE]);
        let first = if read[WHOLE] { QUARTERS } else { 0 };
        for part in first..WHOLE {
            let at = match part {
                0..QUARTERS => before,
                QUARTERS => QUARTERS + before.min(1),
                _ => QUARTERS + 2 + usize::from(read[QUARTERS]),
            };
            let fine = part < QUARTERS && flags[DIVIDED + part];
            // One of them has levels.
            let some = part == WHOLE - 1 && before == 0
                || bits.bit(PART.of(&mut self.contexts, at), flags[part] || fine);
            before += usize::from(some);
            read[part] = some;
            if some && part < QUARTERS {
                let at = 3 * usize::from(read[DIVIDED..].contains(&true)) + divided;
                let fine = bits.bit(FINER.of(&mut self.contexts, at), fine);
                (read[part], read[DIVIDED + part]) = (!fine, fine);
            }
        }
        read
    }
}

/// The parts of a block that have levels, in the order in which they are sent.
pub(super) fn sent(flags: Flags) -> impl Iterator<Item = u8> {
    let quarters = (0..QUARTERS).flat_map(|quarter| [quarter, DIVIDED + quarter]);
    let order = std::iter::once(WHOLE)
        .chain(quarters)
        .chain(QUARTERS..WHOLE);
    order
        .filter(move |&part| flags[part])
        .map(|part| part as u8)
}

/// The stream of a tile, whose squares are in order.
pub fn encode_tile(width: usize, classes: &[u8], quality: u8, squares: &[Square]) -> Vec<u8> {
    if squares.is_empty() {
        return Vec::new();
    }
    let mut bits = Encoder::new();
    let mut walk = Walk::new(width, classes, quality);
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
            let mut copy = square.levels.clone();
            let written = walk.levels(&mut bits, block, square.shape(), &mut copy);
            debug_assert!(written.is_ok() && copy == square.levels);
        }
    }
    bits.finish()
}

/// What [`encode_tile`] was given.
pub fn decode_tile(
    width: usize,
    classes: &[u8],
    quality: u8,
    data: &[u8],
) -> Result<Vec<Square>, ResidualError> {
    let mut squares = Vec::new();
    if data.is_empty() {
        return Ok(squares);
    }
    let mut bits = Decoder::new(data);
    let mut walk = Walk::new(width, classes, quality);
    for (block, &class) in classes.iter().enumerate() {
        let flags = walk.flags(&mut bits, block, class, [false; PARTS]);
        walk.settle(block, flags);
        for part in sent(flags) {
            let shape = Shape::of(part);
            let mut square = Square {
                block: block as u32,
                part,
                levels: vec![0; shape.side() * shape.side()].into_boxed_slice(),
            };
            walk.levels(&mut bits, block, shape, &mut square.levels)?;
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

    const QUALITY: u8 = 30;

    prop_compose! {
        fn any_tile()(
            width in 1usize..6,
            blocks in prop::collection::vec((0..CLASSES as u8, 0u16..1 << PARTS), 1..20),
            noise in prop::collection::vec((0usize..LARGE_AREA, -9i16..=9, any::<u8>()), 1..200),
        ) -> (usize, Vec<u8>, Vec<Square>) {
            let mut noise = noise.into_iter().cycle();
            let mut squares = Vec::new();
            for (block, (_, flags)) in (0..).zip(&blocks) {
                let mut some: Flags = std::array::from_fn(|part| flags >> part & 1 == 1);
                for quarter in 0..QUARTERS {
                    some[quarter] &= !some[WHOLE];
                    some[DIVIDED + quarter] &= !some[WHOLE] && !some[quarter];
                }
                for part in sent(some) {
                    let area = Shape::of(part).order().len();
                    let mut levels = vec![0; area].into_boxed_slice();
                    let (at, level, count) = noise.next().unwrap();
                    levels[at % area] = if level == 0 { MOST_LEVEL as i16 } else { level };
                    for (at, level, _) in noise.by_ref().take(usize::from(count % 20)) {
                        levels[at % area] = level;
                    }
                    if levels.iter().any(|level| *level != 0) {
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
            let data = encode_tile(width, &classes, QUALITY, &squares);
            prop_assert_eq!(data.is_empty(), squares.is_empty());
            prop_assert_eq!(decode_tile(width, &classes, QUALITY, &data).unwrap(), squares);
        }

        #[test]
        fn any_bytes_give_levels_or_an_error(width in 1usize..6, classes in prop::collection::vec(0..CLASSES as u8, 1..20), data in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(squares) = decode_tile(width, &classes, QUALITY, &data) {
                prop_assert!(squares.len() <= PARTS * classes.len());
                for square in &squares {
                    prop_assert!(square.levels.iter().all(|l| l.unsigned_abs() <= MOST_LEVEL as u16));
                    prop_assert!(square.levels.iter().any(|level| *level != 0));
                }
                // Which is what a writer would have been given.
                let again = encode_tile(width, &classes, QUALITY, &squares);
                prop_assert_eq!(decode_tile(width, &classes, QUALITY, &again).unwrap(), squares);
            }
        }
    }

    #[test]
    fn bytes_that_are_left_are_an_error() {
        let square = Square {
            block: 1,
            part: 2,
            levels: (0..64)
                .map(|i| if i % 9 == 0 { 3 - i } else { 0 })
                .collect(),
        };
        let mut data = encode_tile(2, &[4, 1, 0], QUALITY, &[square]);
        data.extend([1; 9]);
        let read = decode_tile(2, &[4, 1, 0], QUALITY, &data);
        assert!(
            matches!(read, Err(ResidualError::TrailingBytes(_))),
            "{read:?}"
        );
    }

    #[test]
    fn any_quality_has_starts() {
        let square = Square {
            block: 0,
            part: 0,
            levels: (0..64).map(|i| i % 3).collect(),
        };
        for quality in 0..=u8::MAX {
            for class in 0..CLASSES as u8 {
                let data = encode_tile(1, &[class], quality, std::slice::from_ref(&square));
                let read = decode_tile(1, &[class], quality, &data);
                assert_eq!(read.as_deref(), Ok(std::slice::from_ref(&square)));
            }
        }
        // They differ by kind of tile and by quality.
        let sent =
            |class, quality| encode_tile(1, &[class], quality, std::slice::from_ref(&square)).len();
        let sizes = [sent(0, 0), sent(0, 63), sent(1, 0), sent(1, 63)];
        assert!(sizes.iter().any(|size| *size != sizes[0]), "{sizes:?}");
    }

    #[test]
    fn the_zigzag_goes_over_all_places_by_diagonals() {
        for shape in Shape::ALL {
            let (side, order) = (shape.side(), shape.order());
            let mut seen = vec![false; side * side];
            let mut before = 0;
            let count = shape.transformed() * shape.transformed();
            for (step, &at) in order.iter().enumerate() {
                let at = usize::from(at);
                before = if step % count == 0 { 0 } else { before };
                let within = shape.transformed();
                let diagonal = at / side % within + at % side % within;
                assert!(!seen[at] && diagonal >= before);
                (seen[at], before) = (true, diagonal);
            }
            assert_eq!(order.len(), seen.len());
        }
        assert_eq!(&ZIGZAG[..6], &[0, 1, 8, 16, 9, 2]);
        assert_eq!(&LARGE_ZIGZAG[..6], &[0, 1, 16, 32, 17, 2]);
        assert_eq!(&FINE_ZIGZAG[..6], &[0, 1, 8, 16, 9, 2]);
        assert_eq!(&FINE_ZIGZAG[16..19], &[4, 5, 12]);
    }
}
