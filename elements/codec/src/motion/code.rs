// SPDX-License-Identifier: Apache-2.0
//! Lossless coding of a tile's skip flags and vectors.
//!
//! First whether all blocks are skipped; else each has a flag. Block by block in raster order: that flag; whether the vector is one of the candidates
//! ([`Candidates`]), and which; else whether the block is divided into four parts with vectors of
//! their own; a vector that is no candidate is its difference to the median. Every tile starts
//! afresh, so it can be decoded alone. All contexts are integers computed from decoded integers. An
//! empty stream is a tile at rest: zero vectors, everything skipped.
//!
//! The syntax is written once, for whatever has [`Bits`]: encoder, decoder, and the count of bits
//! that the search weighs.

use super::range::{Adapt, Bits, Context, Decoder, Encoder};
use super::{Candidates, MAX_VECTOR, Vector, parts};

/// Unary part of a difference; what exceeds it follows as an Exp-Golomb number.
const UNARY: u32 = 6;
/// Of 256: that not all blocks are skipped. Most often there is no network in a predicted frame.
const ALL_SKIPPED: u8 = 26;
/// Differences have at most 1022 as magnitude: the Exp-Golomb prefix stays below this.
const MAX_PREFIX: u32 = 10;

/// Why a tile's motion could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MotionError {
    #[error("a motion vector outside the allowed range")]
    Range,
    #[error("{0} byte(s) after the last motion vector")]
    TrailingBytes(usize),
}

/// How one component of a difference is coded.
#[derive(Debug, Clone)]
struct Component {
    /// By the neighbours' unrest.
    zero: [Context; 3],
    unary: [[Context; UNARY as usize]; 3],
    prefix: [Context; MAX_PREFIX as usize + 1],
}

/// A choice between candidates and a difference.
#[derive(Debug, Clone)]
struct Choice {
    /// By how many of the neighbours (left, above) took a candidate, and by their unrest.
    merge: [[Context; 3]; 3],
    /// The first by unrest, the others alike.
    first: [Context; 3],
    index: [Context; 3],
}

#[derive(Debug, Clone)]
struct Contexts {
    /// By how many of left and above are skipped, and whether above-right is.
    skip: [[Context; 2]; 3],
    /// Of blocks, by skip flag.
    block: [Choice; 2],
    /// Of parts.
    part: Choice,
    /// By how many of the neighbours are divided.
    divided: [Context; 3],
    difference: [Component; 2],
}

impl Default for Contexts {
    fn default() -> Self {
        let choice = |merge: [[u8; 3]; 3], first: [u8; 3], index: [u8; 3]| Choice {
            merge: merge.map(|row| row.map(Context::with)),
            first: first.map(Context::with),
            index: index.map(Context::with),
        };
        let component = |zero: [u8; 3], unary: [[u8; 6]; 3], prefix: [u8; 11]| Component {
            zero: zero.map(Context::with),
            unary: unary.map(|row| row.map(Context::with)),
            prefix: prefix.map(Context::with),
        };
        // Measured on training clips at four qualities: what the first bits of a tile are like.
        Self {
            skip: [[111, 166], [19, 52], [32, 10]].map(|row| row.map(Context::with)),
            block: [
                choice(
                    [[180, 176, 223], [86, 117, 181], [47, 78, 116]],
                    [216, 152, 131],
                    [180, 178, 174],
                ),
                choice(
                    [[92, 123, 156], [35, 65, 79], [18, 30, 34]],
                    [192, 152, 147],
                    [167, 167, 149],
                ),
            ],
            part: choice(
                [[103, 68, 78], [113, 75, 72], [157, 80, 74]],
                [181, 130, 122],
                [168, 175, 159],
            ),
            divided: [188, 103, 63].map(Context::with),
            difference: [
                component(
                    [60, 75, 71],
                    [
                        [81, 71, 62, 51, 48, 31],
                        [118, 107, 81, 85, 58, 56],
                        [55, 48, 42, 53, 36, 33],
                    ],
                    [62, 58, 84, 118, 140, 135, 111, 160, 239, 242, 128],
                ),
                component(
                    [129, 113, 93],
                    [
                        [76, 69, 50, 40, 30, 31],
                        [97, 92, 68, 71, 58, 55],
                        [30, 34, 30, 37, 25, 28],
                    ],
                    [48, 40, 62, 97, 139, 161, 141, 154, 240, 246, 128],
                ),
            ],
        }
    }
}

/// Probabilities of a zero that a tile all of whose blocks are skipped begins with, in 256ths, by quality from 0, 16, 32 and 48 on; in the order of
/// [`Contexts::of_skipped`].
const STARTS: [[u8; 97]; 4] = include!("starts.in");

impl Contexts {
    /// Those that a tile begins with.
    fn new(all_skipped: bool, quality: u8) -> Self {
        let mut contexts = Self::default();
        if all_skipped {
            let starts = STARTS[usize::from(quality / 16).min(STARTS.len() - 1)];
            for (context, start) in contexts.of_skipped().zip(starts) {
                *context = Context::with(start);
            }
        }
        contexts
    }

    /// All that are used where all blocks are skipped.
    fn of_skipped(&mut self) -> impl Iterator<Item = &mut Context> {
        let [_, block] = &mut self.block;
        let choices = [block, &mut self.part].into_iter();
        let choices = choices.flat_map(|choice| {
            let merge = choice.merge.iter_mut().flatten();
            merge.chain(&mut choice.first).chain(&mut choice.index)
        });
        let differences = self.difference.iter_mut().flat_map(|component| {
            let unary = component.unary.iter_mut().flatten();
            let zero = component.zero.iter_mut();
            zero.chain(unary).chain(&mut component.prefix)
        });
        choices.chain(&mut self.divided).chain(differences)
    }
}

/// How a block was coded, for its neighbours' contexts.
#[derive(Debug, Clone, Copy, Default)]
struct Mode {
    merged: bool,
    divided: bool,
}

/// What of a tile is known so far.
struct Tile<'a> {
    /// Blocks in a row.
    width: usize,
    vectors: &'a mut [Vector],
    skip: &'a mut [bool],
    /// Whether each block says if it is skipped.
    flags: bool,
    modes: Vec<Mode>,
}

impl<'a> Tile<'a> {
    fn new(width: usize, vectors: &'a mut [Vector], skip: &'a mut [bool]) -> Self {
        assert_eq!(vectors.len(), 4 * skip.len());
        assert!(width > 0 && skip.len().is_multiple_of(width));
        Self {
            width,
            modes: vec![Mode::default(); skip.len()],
            vectors,
            skip,
            flags: true,
        }
    }

    /// Codes the whole tile.
    fn blocks(&mut self, bits: &mut impl Bits, quality: u8) -> Result<(), MotionError> {
        let all = self.skip.iter().all(|&skip| skip);
        let all = bits.bit(&mut Context::with(ALL_SKIPPED), all);
        if all {
            self.skip.fill(true);
        }
        self.flags = !all;
        let contexts = &mut Contexts::new(all, quality);
        for row in 0..self.rows() {
            for x in 0..self.width {
                self.block(bits, contexts, x, row)?;
            }
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        self.skip.len() / self.width
    }

    /// How many of left and above are so.
    fn count(&self, x: usize, row: usize, is: impl Fn(usize) -> bool) -> usize {
        let at = row * self.width + x;
        usize::from(x > 0 && is(at - 1)) + usize::from(row > 0 && is(at - self.width))
    }

    fn skip_context(&self, x: usize, row: usize) -> (usize, usize) {
        let near = self.count(x, row, |at| self.skip[at]);
        let beyond =
            row > 0 && x + 1 < self.width && self.skip[row * self.width + x + 1 - self.width];
        (near, usize::from(beyond))
    }

    /// Codes one block. What is in the tile for it is what a writer writes, and is replaced by what a
    /// reader reads.
    fn block(
        &mut self,
        bits: &mut impl Bits,
        contexts: &mut Contexts,
        x: usize,
        row: usize,
    ) -> Result<(), MotionError> {
        let at = row * self.width + x;
        if self.flags {
            let (near, beyond) = self.skip_context(x, row);
            self.skip[at] = bits.bit(&mut contexts.skip[near][beyond], self.skip[at]);
        }
        let skip = self.skip[at];
        let merged = self.count(x, row, |at| self.modes[at].merged);
        let divided = self.count(x, row, |at| self.modes[at].divided);
        let (width, px, py) = (2 * self.width, 2 * x, 2 * row);
        let want = parts(self.vectors, width, px, py);
        let whole = want.iter().all(|v| *v == want[0]);
        let candidates = Candidates::new(self.vectors, width, px, py, 2);
        let choice = &mut contexts.block[usize::from(skip)];
        let index = if whole {
            candidates.index(want[0])
        } else {
            None
        };
        if bits.bit(
            &mut choice.merge[merged][candidates.unrest()],
            index.is_some(),
        ) {
            let vector = choice.index(bits, &candidates, index);
            self.modes[at] = Mode {
                merged: true,
                divided: false,
            };
            self.fill(px, py, 2, vector);
            return Ok(());
        }
        let divide = bits.bit(&mut contexts.divided[divided], !whole);
        self.modes[at] = Mode {
            merged: false,
            divided: divide,
        };
        if !divide {
            let vector = difference(bits, &mut contexts.difference, &candidates, want[0])?;
            self.fill(px, py, 2, vector);
            return Ok(());
        }
        let mut merged = 0;
        for (i, want) in want.into_iter().enumerate() {
            let (px, py) = (px + i % 2, py + i / 2);
            let candidates = Candidates::new(self.vectors, width, px, py, 1);
            let index = candidates.index(want);
            let choice = &mut contexts.part;
            let vector = if bits.bit(
                &mut choice.merge[merged.min(2)][candidates.unrest()],
                index.is_some(),
            ) {
                merged += 1;
                choice.index(bits, &candidates, index)
            } else {
                difference(bits, &mut contexts.difference, &candidates, want)?
            };
            self.fill(px, py, 1, vector);
        }
        Ok(())
    }

    fn fill(&mut self, x: usize, y: usize, size: usize, vector: Vector) {
        for y in y..y + size {
            self.vectors[y * 2 * self.width + x..][..size].fill(vector);
        }
    }
}

impl Choice {
    /// Which candidate: truncated unary.
    fn index(
        &mut self,
        bits: &mut impl Bits,
        candidates: &Candidates,
        want: Option<usize>,
    ) -> Vector {
        let list = candidates.as_slice();
        let want = want.unwrap_or(0);
        let mut index = 0;
        while index + 1 < list.len() {
            let context = match index {
                0 => &mut self.first[candidates.unrest()],
                i => &mut self.index[i - 1],
            };
            if !bits.bit(context, index < want) {
                break;
            }
            index += 1;
        }
        list[index]
    }
}

/// A vector as its difference to the median.
fn difference(
    bits: &mut impl Bits,
    contexts: &mut [Component; 2],
    candidates: &Candidates,
    want: Vector,
) -> Result<Vector, MotionError> {
    let (median, unrest) = (candidates.median(), candidates.unrest());
    let [across, down] = contexts;
    let dx = i32::from(want.x) - i32::from(median.x);
    let dx = across.code(bits, unrest, false, dx)?;
    let dy = i32::from(want.y) - i32::from(median.y);
    // The median itself is a candidate, so not both are zero.
    let dy = down.code(bits, unrest, dx == 0, dy)?;
    let (x, y) = (i32::from(median.x) + dx, i32::from(median.y) + dy);
    let limit = i32::from(MAX_VECTOR);
    if x.abs() > limit || y.abs() > limit {
        return Err(MotionError::Range);
    }
    Ok(Vector::new(x as i16, y as i16))
}

impl Component {
    fn code(
        &mut self,
        bits: &mut impl Bits,
        unrest: usize,
        not_zero: bool,
        want: i32,
    ) -> Result<i32, MotionError> {
        if !not_zero && !bits.bit(&mut self.zero[unrest], want != 0) {
            return Ok(0);
        }
        let wanted = want.unsigned_abs().saturating_sub(1);
        let mut excess = 0;
        let unary = &mut self.unary[unrest];
        while excess < UNARY && bits.bit(&mut unary[excess as usize], excess < wanted) {
            excess += 1;
        }
        if excess == UNARY {
            let code = wanted.saturating_sub(UNARY) + 1;
            let width = code.ilog2();
            let mut extra = 0;
            while bits.bit(&mut self.prefix[extra as usize], extra < width) {
                extra += 1;
                if extra > MAX_PREFIX {
                    return Err(MotionError::Range);
                }
            }
            let rest = bits.raw(code & ((1 << extra) - 1), extra);
            excess += (1 << extra | rest) - 1;
        }
        let size = excess as i32 + 1;
        let negative = bits.raw(u32::from(want < 0), 1) == 1;
        Ok(if negative { -size } else { size })
    }
}

/// Codes one tile of a frame of some quality: `vectors` and `skip` are the tile's, `width` blocks in a row.
pub fn encode_tile(width: usize, quality: u8, vectors: &[Vector], skip: &[bool]) -> Vec<u8> {
    if skip.iter().all(|&s| s) && vectors.iter().all(|&v| v == Vector::ZERO) {
        return Vec::new();
    }
    let (mut vectors, mut skip) = (vectors.to_vec(), skip.to_vec());
    let mut tile = Tile::new(width, &mut vectors, &mut skip);
    let mut encoder = Encoder::new();
    tile.blocks(&mut encoder, quality)
        .expect("vectors in range");
    let mut bytes = encoder.finish();
    if bytes.is_empty() {
        // Not to be taken for a tile at rest; the decoder reads zeros past the end anyway.
        bytes.push(0);
    }
    bytes
}

/// Decodes one tile into the tile's `vectors` and `skip`.
pub fn decode_tile(
    width: usize,
    quality: u8,
    data: &[u8],
    vectors: &mut [Vector],
    skip: &mut [bool],
) -> Result<(), MotionError> {
    vectors.fill(Vector::ZERO);
    skip.fill(true);
    let mut tile = Tile::new(width, vectors, skip);
    if data.is_empty() {
        return Ok(());
    }
    let mut decoder = Decoder::new(data);
    tile.blocks(&mut decoder, quality)?;
    match decoder.unread() {
        0 => Ok(()),
        n => Err(MotionError::TrailingBytes(n)),
    }
}

/// Magnitudes of differences whose price is tabulated; beyond, it grows by the Exp-Golomb rest.
const TABULATED: usize = 64;

/// What a tile's next block costs in bits, under contexts that adapt as coding adapts them.
pub(super) struct Pricer<'a> {
    tile: Tile<'a>,
    contexts: Contexts,
    /// By unrest: across, down where across is zero or is not; magnitudes, sign included.
    differences: [[[f32; TABULATED]; 3]; 3],
    log: &'static [f32; 256],
}

/// What choices cost in bits under the contexts that a tile begins with, as one table of
/// numbers: what GPUs take. The order is that of the functions below.
#[derive(Debug)]
pub struct Prices {
    table: [f32; Self::LEN],
}

impl Prices {
    const MERGE: usize = 12;
    const DIVIDED: usize = Self::MERGE + 36;
    const FIRST: usize = Self::DIVIDED + 6;
    const INDEX: usize = Self::FIRST + 12;
    const PART_MERGE: usize = Self::INDEX + 12;
    const PART_FIRST: usize = Self::PART_MERGE + 18;
    const PART_INDEX: usize = Self::PART_FIRST + 6;
    const DIFFERENCE: usize = Self::PART_INDEX + 6;
    /// Numbers of the table.
    pub const LEN: usize = Self::DIFFERENCE + 9 * TABULATED;

    /// Those that a tile begins with.
    pub fn first() -> &'static Self {
        static FIRST: std::sync::LazyLock<Prices> = std::sync::LazyLock::new(|| {
            let (mut vectors, mut skip) = ([Vector::ZERO; 4], [false]);
            let mut pricer = Pricer::new(1, &mut vectors, &mut skip);
            pricer.begin_row();
            Prices::of(&pricer)
        });
        &FIRST
    }

    fn of(pricer: &Pricer<'_>) -> Self {
        let contexts = &pricer.contexts;
        let both = |context: &Context| price(pricer.log, context);
        let mut all: Vec<f32> = Vec::with_capacity(Self::LEN);
        all.extend(contexts.skip.iter().flatten().flat_map(both));
        for choice in &contexts.block {
            all.extend(choice.merge.iter().flatten().flat_map(both));
        }
        all.extend(contexts.divided.iter().flat_map(both));
        for choice in &contexts.block {
            all.extend(choice.first.iter().flat_map(both));
        }
        for choice in &contexts.block {
            all.extend(choice.index.iter().flat_map(both));
        }
        all.extend(contexts.part.merge.iter().flatten().flat_map(both));
        all.extend(contexts.part.first.iter().flat_map(both));
        all.extend(contexts.part.index.iter().flat_map(both));
        all.extend(pricer.differences.iter().flatten().flatten());
        let mut table = [0.0; Self::LEN];
        table.copy_from_slice(&all);
        Self { table }
    }

    pub fn table(&self) -> &[f32] {
        &self.table
    }

    /// A block's skip flag, by how many of left and above are skipped, and whether the one right above is.
    pub(super) fn skip(&self, near: usize, beyond: usize, flag: bool) -> f32 {
        self.table[4 * near + 2 * beyond + usize::from(flag)]
    }

    /// Whether a block takes a candidate.
    pub(super) fn merge(&self, skip: bool, merged: usize, unrest: usize, flag: bool) -> f32 {
        let at = 18 * usize::from(skip) + 6 * merged + 2 * unrest;
        self.table[Self::MERGE + at + usize::from(flag)]
    }

    pub(super) fn divided(&self, divided: usize, flag: bool) -> f32 {
        self.table[Self::DIVIDED + 2 * divided + usize::from(flag)]
    }

    /// The candidate of this number for a whole block, but for the skip flag.
    pub(super) fn candidate(
        &self,
        skip: bool,
        merged: usize,
        candidates: &Candidates,
        number: usize,
    ) -> f32 {
        let base = self.merge(skip, merged, candidates.unrest(), true);
        let own = 6 * usize::from(skip);
        self.number(
            [Self::FIRST + own, Self::INDEX + own],
            candidates,
            number,
            base,
        )
    }

    pub(super) fn part_merge(&self, merged: usize, unrest: usize, flag: bool) -> f32 {
        let at = 6 * merged.min(2) + 2 * unrest + usize::from(flag);
        self.table[Self::PART_MERGE + at]
    }

    /// The candidate of this number for a part.
    pub(super) fn part_candidate(
        &self,
        merged: usize,
        candidates: &Candidates,
        number: usize,
    ) -> f32 {
        let base = self.part_merge(merged, candidates.unrest(), true);
        self.number(
            [Self::PART_FIRST, Self::PART_INDEX],
            candidates,
            number,
            base,
        )
    }

    /// The price of a candidate's number, added to `base`.
    fn number(
        &self,
        [first, index]: [usize; 2],
        candidates: &Candidates,
        number: usize,
        base: f32,
    ) -> f32 {
        let mut so_far = base;
        for at in 0..candidates.as_slice().len() - 1 {
            let place = match at {
                0 => first + 2 * candidates.unrest(),
                _ => index + 2 * (at - 1),
            };
            if at == number {
                return so_far + self.table[place];
            }
            so_far += self.table[place + 1];
        }
        so_far
    }

    /// A vector's difference to the median.
    pub(super) fn difference(&self, candidates: &Candidates, vector: Vector) -> f32 {
        let median = candidates.median();
        let dx = usize::from(vector.x.abs_diff(median.x));
        let dy = usize::from(vector.y.abs_diff(median.y));
        let look = |which: usize, size: usize| {
            let row = Self::DIFFERENCE + (3 * candidates.unrest() + which) * TABULATED;
            match size < TABULATED {
                true => self.table[row + size],
                false => {
                    self.table[row + TABULATED - 1] + 2.0 * (size / TABULATED).ilog2() as f32 + 2.0
                }
            }
        };
        look(0, dx) + look(if dx == 0 { 2 } else { 1 }, dy)
    }
}

/// The prices of one block's choices, by skip flag where that matters.
pub(super) struct BlockPrice {
    pub candidates: Candidates,
    /// A skip flag of 0 and of 1.
    pub skip: [f32; 2],
    merge: [[f32; 5]; 2],
    whole: [f32; 2],
    divided: [f32; 2],
}

impl BlockPrice {
    /// The candidate of this number for the whole block.
    #[inline]
    pub fn merge(&self, skip: bool, index: usize) -> f32 {
        self.merge[usize::from(skip)][index]
    }

    /// One new vector, but for its difference.
    #[inline]
    pub fn whole(&self, skip: bool) -> f32 {
        self.whole[usize::from(skip)]
    }

    /// Dividing the block, but for its parts.
    #[inline]
    pub fn divided(&self, skip: bool) -> f32 {
        self.divided[usize::from(skip)]
    }
}

/// Price of a zero and of a one.
fn price(log: &[f32; 256], context: &Context) -> [f32; 2] {
    let zero = context.probability() as usize;
    [log[zero >> 4], log[(4096 - zero) >> 4]]
}

/// Price of the candidate numbers of a list.
fn indices(log: &[f32; 256], choice: &Choice, candidates: &Candidates, base: f32) -> [f32; 5] {
    let mut prices = [base; 5];
    let mut so_far = base;
    let contexts = [&choice.first[candidates.unrest()]]
        .into_iter()
        .chain(&choice.index);
    for (i, context) in contexts.enumerate().take(candidates.as_slice().len() - 1) {
        let [stop, more] = price(log, context);
        prices[i] = so_far + stop;
        so_far += more;
        prices[i + 1] = so_far;
    }
    prices
}

impl<'a> Pricer<'a> {
    /// `vectors` and `skip` are the tile's, and get what is decided.
    pub fn new(width: usize, vectors: &'a mut [Vector], skip: &'a mut [bool]) -> Self {
        static LOG: std::sync::LazyLock<[f32; 256]> = std::sync::LazyLock::new(|| {
            std::array::from_fn(|i| -((i as f32 + 0.5) / 256.0).log2())
        });
        Self {
            tile: Tile::new(width, vectors, skip),
            contexts: Contexts::default(),
            differences: [[[0.0; TABULATED]; 3]; 3],
            log: &LOG,
        }
    }

    /// Brings the prices of differences up to date.
    pub fn begin_row(&mut self) {
        let log = self.log;
        for (unrest, table) in self.differences.iter_mut().enumerate() {
            for (which, table) in table.iter_mut().enumerate() {
                let component = &self.contexts.difference[usize::from(which > 0)];
                let [none, some] = match which {
                    2 => [0.0; 2],
                    _ => price(log, &component.zero[unrest]),
                };
                table[0] = none;
                let mut so_far = some + 1.0;
                for (excess, entry) in table[1..].iter_mut().enumerate() {
                    if excess < UNARY as usize {
                        let [stop, more] = price(log, &component.unary[unrest][excess]);
                        *entry = so_far + stop;
                        so_far += more;
                    } else {
                        let code = excess - UNARY as usize + 1;
                        *entry = so_far + 2.0 * code.ilog2() as f32 + 1.0;
                    }
                }
            }
        }
    }

    pub fn block(&self, x: usize, row: usize) -> BlockPrice {
        let (tile, log) = (&self.tile, self.log);
        let (near, beyond) = tile.skip_context(x, row);
        let merged = tile.count(x, row, |at| tile.modes[at].merged);
        let divided = tile.count(x, row, |at| tile.modes[at].divided);
        let candidates = Candidates::new(tile.vectors, 2 * tile.width, 2 * x, 2 * row, 2);
        let [whole, divided] = price(log, &self.contexts.divided[divided]);
        let choices = &self.contexts.block;
        let merge =
            [0, 1].map(|skip| price(log, &choices[skip].merge[merged][candidates.unrest()]));
        BlockPrice {
            skip: price(log, &self.contexts.skip[near][beyond]),
            merge: [0, 1].map(|skip| indices(log, &choices[skip], &candidates, merge[skip][1])),
            whole: merge.map(|m| m[0] + whole),
            divided: merge.map(|m| m[0] + divided),
            candidates,
        }
    }

    /// Candidates of a part, once those before it in its block are set, and the prices of each and of
    /// something else.
    pub fn part(&self, x: usize, y: usize, merged: usize) -> (Candidates, [f32; 5], f32) {
        let candidates = Candidates::new(self.tile.vectors, 2 * self.tile.width, x, y, 1);
        let choice = &self.contexts.part;
        let [other, merge] = price(self.log, &choice.merge[merged.min(2)][candidates.unrest()]);
        let prices = indices(self.log, choice, &candidates, merge);
        (candidates, prices, other)
    }

    /// A vector's difference to the median.
    #[inline]
    pub fn difference(&self, candidates: &Candidates, vector: Vector) -> f32 {
        let median = candidates.median();
        let dx = usize::from(vector.x.abs_diff(median.x));
        let dy = usize::from(vector.y.abs_diff(median.y));
        let tables = &self.differences[candidates.unrest()];
        let look = |table: &[f32; TABULATED], size: usize| match table.get(size) {
            Some(price) => *price,
            None => table[TABULATED - 1] + 2.0 * (size / TABULATED).ilog2() as f32 + 2.0,
        };
        look(&tables[0], dx) + look(&tables[if dx == 0 { 2 } else { 1 }], dy)
    }

    /// Sets a part's vector for the candidates of the next.
    pub fn set_part(&mut self, x: usize, y: usize, vector: Vector) {
        self.tile.fill(x, y, 1, vector);
    }

    /// Settles a block.
    pub fn settle(&mut self, x: usize, row: usize, vectors: [Vector; 4], skip: bool) {
        for (i, vector) in vectors.into_iter().enumerate() {
            self.tile.fill(2 * x + i % 2, 2 * row + i / 2, 1, vector);
        }
        self.tile.skip[row * self.tile.width + x] = skip;
        self.tile
            .block(&mut Adapt, &mut self.contexts, x, row)
            .expect("vectors in range");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vector() -> impl Strategy<Value = Vector> {
        prop_oneof![
            3 => Just(Vector::ZERO),
            3 => (-3i16..4, -3i16..4).prop_map(|(x, y)| Vector::new(x, y)),
            1 => (-511i16..512, -511i16..512).prop_map(|(x, y)| Vector::new(x, y)),
            1 => Just(Vector::new(-511, 511)),
        ]
    }

    fn block() -> impl Strategy<Value = ([Vector; 4], bool)> {
        let whole = vector().prop_map(|v| [v; 4]);
        let divided = [vector(), vector(), vector(), vector()];
        (prop_oneof![3 => whole, 1 => divided], any::<bool>())
    }

    /// Vectors and skip flags of a tile of these blocks.
    fn tile(width: usize, blocks: &[([Vector; 4], bool)]) -> (Vec<Vector>, Vec<bool>) {
        let mut vectors = vec![Vector::ZERO; 4 * blocks.len()];
        for (at, (block, _)) in blocks.iter().enumerate() {
            for (i, v) in block.iter().enumerate() {
                let (x, y) = (2 * (at % width) + i % 2, 2 * (at / width) + i / 2);
                vectors[y * 2 * width + x] = *v;
            }
        }
        (vectors, blocks.iter().map(|b| b.1).collect())
    }

    proptest! {
        #[test]
        fn round_trip(width in 1usize..9, quality: u8, all: bool, blocks in prop::collection::vec(block(), 1..120)) {
            let blocks = &blocks[..blocks.len() / width * width];
            let (vectors, mut skip) = tile(width, blocks);
            skip.iter_mut().for_each(|skip| *skip |= all);
            let bytes = encode_tile(width, quality, &vectors, &skip);
            let mut got_vectors = vec![Vector::new(99, 99); vectors.len()];
            let mut got_skip = vec![true; skip.len()];
            decode_tile(width, quality, &bytes, &mut got_vectors, &mut got_skip).unwrap();
            prop_assert_eq!(got_vectors, vectors);
            prop_assert_eq!(got_skip, skip);
        }

        #[test]
        fn any_bytes_are_safe(width in 1usize..9, height in 0usize..9, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut vectors = vec![Vector::ZERO; 4 * width * height];
            let mut skip = vec![false; width * height];
            let _ = decode_tile(width, 20, &bytes, &mut vectors, &mut skip);
            prop_assert!(vectors.iter().all(|v| v.in_range()));
        }
    }

    #[test]
    fn a_still_tile_is_tiny() {
        let vectors = |v| vec![v; 4 * 640];
        assert!(encode_tile(80, 20, &vectors(Vector::ZERO), &[true; 640]).is_empty());
        let skipped = encode_tile(80, 20, &vectors(Vector::new(4, 0)), &[true; 640]);
        assert!(skipped.len() <= 20, "{}", skipped.len());
        // One flag for all of them.
        let mut mixed = [true; 640];
        mixed[639] = false;
        let mixed = encode_tile(80, 20, &vectors(Vector::new(4, 0)), &mixed);
        assert!(skipped.len() < mixed.len());
        let plain = encode_tile(1, 20, &[Vector::ZERO; 4], &[false]);
        assert!(!plain.is_empty());
        let moving = encode_tile(80, 20, &vectors(Vector::new(13, -7)), &[false; 640]);
        assert!(moving.len() <= 24, "{}", moving.len());
    }
}
