// SPDX-License-Identifier: Apache-2.0
//! Order, contexts and escapes of a tile's two symbol streams.
//!
//! z: channel by channel, row by row; one lane; the table is chosen by channel and by the magnitudes
//! around: left and above in the same channel, and at the same position in the two channels before.
//! Where all 16 blocks of a position are skipped, its z means nothing to the symbols. If there are
//! such positions, the stream begins with one bit; 1 says that they are not coded, and are zero.
//!
//! y: channels in groups of four (the four that share a scale index), then row by row, position by
//! position, then the four channels of the group on lanes 0, 1, 0, 1. The order keeps four
//! independent context chains in flight. Nothing is coded where the index is 0 or the block is
//! skipped. The table is chosen by the scale index, moved by the channel's own offset, and by a context of two parts:
//! a sum of neighbouring magnitudes in the same channel, `2|W| + 2|N| + |NW| + |NE| + |WW| + |NN| + 2|P|`, P being the
//! symbol at the same place in the frame before; and the activity of the block, the sum of its magnitudes in the four groups coded before this one.
//!
//! An escape is the last symbol of a table, followed by equally likely bits: the sign, then
//! `|v| - max - 1` as an Exp-Golomb number of at most 16 prefix bits.
//!
//! A stream without symbols is empty, and so is a z stream of zeros only.

use super::rans::{self, Decoder, Op, push_bits};
use super::tables::{GROUP, Z_CONTEXT_COUNT};
use super::{EntropyError, Table, Tables};

/// Largest scale index.
const MAX_INDEX: u32 = 31;
/// Magnitudes are kept up to this: a sum above 16 is the last context anyway.
const MAGNITUDE_CAP: u32 = 17;
/// Longest Exp-Golomb prefix.
const MAX_PREFIX: u32 = 16;

/// Context of a sum of magnitudes, at most 10 times the cap.
const CONTEXT: [u8; 256] = {
    let mut table = [5u8; 256];
    let mut m = 0;
    while m <= 16 {
        table[m] = match m {
            0 => 0,
            1..=2 => 1,
            3..=4 => 2,
            5..=8 => 3,
            _ => 4,
        };
        m += 1;
    }
    table
};

/// Groups whose magnitudes make a block's activity.
const RECENT: usize = 4;
/// The largest sum of a group that is kept: so much is the last level anyway.
const RECENT_CAP: u8 = 63;

/// Level of an activity.
const LEVEL: [u8; 256] = {
    let mut table = [4u8; 256];
    let mut sum = 0;
    while sum < 16 {
        table[sum] = match sum {
            0 => 0,
            1..=2 => 1,
            3..=6 => 2,
            _ => 3,
        };
        sum += 1;
    }
    table
};

/// Of a block: the sums of magnitudes of its last [`RECENT`] groups, each in the place of its number
/// modulo [`RECENT`].
type Activity = [u8; RECENT];

/// The level of a block's activity.
#[inline(always)]
fn level(activity: Activity) -> usize {
    // Four times the cap fits a byte.
    usize::from(LEVEL[usize::from(sum_of(activity))])
}

/// What a group's magnitudes add to the activity.
#[inline(always)]
fn recent(magnitudes: [u8; GROUP]) -> u8 {
    sum_of(magnitudes).min(RECENT_CAP)
}

/// The sum of four bytes, which must fit a byte.
#[inline(always)]
fn sum_of(bytes: [u8; 4]) -> u8 {
    (u32::from_le_bytes(bytes).wrapping_mul(0x0101_0101) >> 24) as u8
}

/// Extent of a tile in latent positions (1/16) and hyper-latent positions (1/64).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileShape {
    pub channels: usize,
    pub z_channels: usize,
    /// Width and height at 1/64; at 1/16 both are four times as many.
    pub width64: usize,
    pub height64: usize,
}

impl TileShape {
    pub fn width16(&self) -> usize {
        4 * self.width64
    }

    pub fn height16(&self) -> usize {
        4 * self.height64
    }

    /// Blocks (latent positions) of the tile.
    pub fn blocks(&self) -> usize {
        self.width16() * self.height16()
    }

    /// y symbols of the tile.
    pub fn y_len(&self) -> usize {
        self.channels * self.blocks()
    }

    /// z symbols of the tile.
    pub fn z_len(&self) -> usize {
        self.z_channels * self.width64 * self.height64
    }
}

/// Magnitudes of a tile's last coded y, capped, with a border of zeros: two rows above, two positions on the left,
/// one on the right.
///
/// Coding a frame replaces them in place: above and left of the current position they belong to the
/// current frame, elsewhere to the one before.
#[derive(Debug, Clone)]
pub struct TileHistory {
    magnitudes: Vec<[u8; GROUP]>,
    stride: usize,
    rows: usize,
}

impl TileHistory {
    /// All zero, as at a key frame.
    pub fn new(shape: &TileShape) -> Self {
        let stride = LEFT + shape.width16() + 1;
        let rows = ABOVE + shape.height16();
        Self {
            magnitudes: vec![[0; GROUP]; shape.channels.div_ceil(GROUP) * rows * stride],
            stride,
            rows,
        }
    }

    /// Forgets the frame before.
    pub fn reset(&mut self) {
        self.magnitudes.fill([0; GROUP]);
    }

    fn group(&mut self, group: usize) -> &mut [[u8; GROUP]] {
        let size = self.stride * self.rows;
        &mut self.magnitudes[group * size..][..size]
    }
}

/// Widths of a history's border above and on the left.
const ABOVE: usize = 2;
const LEFT: usize = 2;

/// A row of a group's magnitudes and the two above it, with their borders.
struct Rows<'a> {
    two_above: &'a [[u8; GROUP]],
    above: &'a [[u8; GROUP]],
    current: &'a mut [[u8; GROUP]],
}

impl<'a> Rows<'a> {
    #[inline(always)]
    fn new(history: &'a mut [[u8; GROUP]], row: usize, stride: usize) -> Self {
        let (before, after) = history.split_at_mut((row + ABOVE) * stride);
        let (two_above, above) = before[row * stride..].split_at(stride);
        Self {
            two_above,
            above,
            current: &mut after[..stride],
        }
    }

    /// Contexts of the four channels at a position of the row.
    #[inline(always)]
    fn contexts(&self, x: usize) -> [usize; GROUP] {
        let four = |at: &[u8; GROUP]| u32::from_le_bytes(*at);
        let at = x + LEFT;
        let (nw, n, ne) = (
            four(&self.above[at - 1]),
            four(&self.above[at]),
            four(&self.above[at + 1]),
        );
        let (ww, w, p) = (
            four(&self.current[at - 2]),
            four(&self.current[at - 1]),
            four(&self.current[at]),
        );
        let nn = four(&self.two_above[at]);
        // All four at once: ten times the cap fits a byte, so nothing carries over.
        let sums = 2 * (w + n + p) + nw + ne + ww + nn;
        sums.to_le_bytes()
            .map(|m| usize::from(CONTEXT[usize::from(m)]))
    }

    #[inline(always)]
    fn set(&mut self, x: usize, magnitudes: [u8; GROUP]) {
        self.current[x + LEFT] = magnitudes;
    }
}

#[inline(always)]
fn scale_index(z: i8) -> usize {
    u32::from(z.unsigned_abs()).min(MAX_INDEX) as usize
}

#[inline(always)]
fn magnitude(v: i32) -> u8 {
    v.unsigned_abs().min(MAGNITUDE_CAP) as u8
}

/// Appends a value: a table's symbol, or an escape and its bits.
#[inline(always)]
fn push_value(ops: &mut Vec<Op>, lane: usize, table: &Table, value: i32, max: i32) {
    if (-max..=max).contains(&value) {
        ops.push(table.op(lane, (value + max) as usize));
    } else {
        push_escape(ops, lane, table, value, max);
    }
}

#[cold]
fn push_escape(ops: &mut Vec<Op>, lane: usize, table: &Table, value: i32, max: i32) {
    ops.push(table.op(lane, (2 * max + 1) as usize));
    push_bits(ops, lane, u32::from(value < 0), 1);
    let excess = value.unsigned_abs() - max as u32 - 1;
    // Exp-Golomb: as many zeros as there are bits after the leading one of excess + 1.
    let code = excess + 1;
    let extra = code.ilog2();
    debug_assert!(extra <= MAX_PREFIX);
    for _ in 0..extra {
        push_bits(ops, lane, 0, 1);
    }
    push_bits(ops, lane, 1, 1);
    for bit in (0..extra).rev() {
        push_bits(ops, lane, (code >> bit) & 1, 1);
    }
}

#[cold]
fn read_escape<const N: usize>(
    decoder: &mut Decoder<'_, N>,
    lane: usize,
    max: i32,
    lowest: i32,
    highest: i32,
) -> Result<i32, EntropyError> {
    let negative = decoder.bits(lane, 1) == 1;
    let mut extra = 0;
    while decoder.bits(lane, 1) == 0 {
        extra += 1;
        if extra > MAX_PREFIX {
            return Err(EntropyError::EscapeRange);
        }
    }
    let mut code = 1u32;
    for _ in 0..extra {
        code = code << 1 | decoder.bits(lane, 1);
    }
    let size = (code - 1) as i32 + max + 1;
    let value = if negative { -size } else { size };
    if (lowest..=highest).contains(&value) {
        Ok(value)
    } else {
        Err(EntropyError::EscapeRange)
    }
}

/// For each position of z, whether any of its blocks is not skipped.
fn live_positions(shape: &TileShape, skip: &[bool]) -> Vec<bool> {
    assert_eq!(skip.len(), shape.blocks());
    let mut live = vec![false; shape.width64 * shape.height64];
    for (row, skip) in skip.chunks_exact(shape.width16()).enumerate() {
        let live = &mut live[row / 4 * shape.width64..][..shape.width64];
        for (live, skip) in live.iter_mut().zip(skip.chunks_exact(4)) {
            *live |= skip.contains(&false);
        }
    }
    live
}

/// Context of z at a position of a channel, from what is coded before it.
#[inline(always)]
fn z_context(shape: &TileShape, z: &[i8], channel: usize, at: usize) -> usize {
    let size = shape.width64 * shape.height64;
    let magnitude = |channel: usize, at: usize| u32::from(z[channel * size + at].unsigned_abs());
    let back = |by: usize| match channel >= by {
        true => magnitude(channel - by, at),
        false => 0,
    };
    let before = back(1) + back(2);
    let left = (!at.is_multiple_of(shape.width64)).then(|| magnitude(channel, at - 1));
    let above = (at >= shape.width64).then(|| magnitude(channel, at - shape.width64));
    let context = match (left, above) {
        (Some(left), Some(above)) => (left + above + 2 * before + 1) / 3,
        (Some(one), None) | (None, Some(one)) => (2 * one + 2 * before + 1) / 3,
        (None, None) => before,
    };
    (context as usize).min(Z_CONTEXT_COUNT - 1)
}

/// Codes a tile's z (`z_channels` planes of `height64 * width64`); `skip` has one flag a block.
pub fn encode_z(tables: &Tables, shape: &TileShape, skip: &[bool], z: &[i8]) -> Vec<u8> {
    assert_eq!(z.len(), shape.z_len());
    if z.iter().all(|&v| v == 0) {
        return Vec::new();
    }
    let mut live = live_positions(shape, skip);
    let planes = || z.chunks_exact(shape.width64 * shape.height64);
    let mut ops = Vec::with_capacity(z.len() + 1);
    if live.contains(&false) {
        let zero = planes().all(|plane| plane.iter().zip(&live).all(|(&z, &live)| live || z == 0));
        push_bits(&mut ops, 0, u32::from(zero), 1);
        if !zero {
            live.fill(true);
        }
    }
    for (channel, plane) in planes().enumerate() {
        let candidates = tables.z_tables(channel);
        for (at, &v) in plane.iter().enumerate().filter(|(at, _)| live[*at]) {
            let table = &candidates[z_context(shape, z, channel, at)];
            push_value(&mut ops, 0, table, i32::from(v), tables.z_max());
        }
    }
    rans::encode::<1>(&ops)
}

/// Decodes what [`encode_z`] made.
pub fn decode_z(
    tables: &Tables,
    shape: &TileShape,
    skip: &[bool],
    data: &[u8],
) -> Result<Vec<i8>, EntropyError> {
    let mut z = vec![0i8; shape.z_len()];
    if data.is_empty() {
        return Ok(z);
    }
    let max = tables.z_max();
    let mut decoder = Decoder::<1>::new(data)?;
    let mut live = live_positions(shape, skip);
    if live.contains(&false) && decoder.bits(0, 1) == 0 {
        live.fill(true);
    }
    let size = shape.width64 * shape.height64;
    for channel in 0..shape.z_channels {
        let candidates = tables.z_tables(channel);
        for at in (0..size).filter(|at| live[*at]) {
            let table = &candidates[z_context(shape, &z, channel, at)];
            let symbol = decoder.symbol(0, table) as i32;
            z[channel * size + at] = if symbol <= 2 * max {
                (symbol - max) as i8
            } else {
                let (lowest, highest) = (i32::from(i8::MIN), i32::from(i8::MAX));
                read_escape(&mut decoder, 0, max, lowest, highest)? as i8
            };
        }
    }
    decoder.finish()?;
    Ok(z)
}

/// Codes a tile's y (`channels` planes of `height16 * width16`). `z` is the tile's, `skip` has one
/// flag a position. Symbols where nothing is coded must be zero.
pub fn encode_y(
    tables: &Tables,
    shape: &TileShape,
    z: &[i8],
    skip: &[bool],
    y: &[i16],
    history: &mut TileHistory,
) -> Vec<u8> {
    encode_y_counting(tables, shape, z, skip, y, history, &mut vec![0; skip.len()])
}

/// The same, adding to `costs` what each block costs, in 256ths of a bit (an escape's own bits are
/// not counted).
pub fn encode_y_counting(
    tables: &Tables,
    shape: &TileShape,
    z: &[i8],
    skip: &[bool],
    y: &[i16],
    history: &mut TileHistory,
    costs: &mut [u32],
) -> Vec<u8> {
    assert_eq!(costs.len(), shape.blocks());
    let max = tables.y_max();
    let mut ops = Vec::with_capacity(y.len() / 4);
    walk_y(
        tables,
        shape,
        z,
        skip,
        y,
        history,
        |block, c, table, value| {
            push_value(&mut ops, c & 1, table, value, max);
            costs[block] += table.cost(((value + max) as u32).min(2 * max as u32 + 1) as usize);
        },
    );
    rans::encode::<2>(&ops)
}

/// Goes over a tile's y in coding order: block, channel of its group, table, value.
#[inline(always)]
fn walk_y<'a>(
    tables: &'a Tables,
    shape: &TileShape,
    z: &[i8],
    skip: &[bool],
    y: &[i16],
    history: &mut TileHistory,
    mut code: impl FnMut(usize, usize, &'a Table, i32),
) {
    check_y(shape, z, skip, y.len());
    let (width, height) = (shape.width16(), shape.height16());
    let blocks = shape.blocks();
    let mut activity: Vec<Activity> = vec![[0; RECENT]; blocks];
    for group in 0..shape.channels / GROUP {
        let indices =
            &z[group * shape.width64 * shape.height64..][..shape.width64 * shape.height64];
        let planes = &y[group * GROUP * blocks..][..GROUP * blocks];
        let stride = history.stride;
        let history = history.group(group);
        for row in 0..height {
            let mut rows = Rows::new(history, row, stride);
            for x in 0..width {
                let index = scale_index(indices[(row / 4) * shape.width64 + x / 4]);
                let block = row * width + x;
                if index == 0 || skip[block] {
                    debug_assert!((0..GROUP).all(|c| planes[c * blocks + block] == 0));
                    rows.set(x, [0; GROUP]);
                    activity[block][group % RECENT] = 0;
                    continue;
                }
                let candidates = tables.y_tables_of(group, index);
                let level = level(activity[block]);
                let contexts = rows.contexts(x);
                let values: [i32; GROUP] =
                    std::array::from_fn(|c| i32::from(planes[c * blocks + block]));
                for c in 0..GROUP {
                    code(block, c, candidates.get(c, level, contexts[c]), values[c]);
                }
                let magnitudes = values.map(magnitude);
                rows.set(x, magnitudes);
                activity[block][group % RECENT] = recent(magnitudes);
            }
        }
    }
}

/// The tables and symbols that a tile's y is coded with, in order, escapes' own bits left out: for
/// measurements.
#[doc(hidden)]
pub fn coded_symbols<'a>(
    tables: &'a Tables,
    shape: &TileShape,
    z: &[i8],
    skip: &[bool],
    y: &[i16],
    history: &mut TileHistory,
) -> Vec<(&'a Table, usize)> {
    let mut coded = Vec::new();
    let max = tables.y_max();
    walk_y(tables, shape, z, skip, y, history, |_, _, table, value| {
        let symbol = if (-max..=max).contains(&value) {
            value + max
        } else {
            2 * max + 1
        };
        coded.push((table, symbol as usize));
    });
    coded
}

/// Decodes what [`encode_y`] made. After an error the history is of no use: reset it.
pub fn decode_y(
    tables: &Tables,
    shape: &TileShape,
    z: &[i8],
    skip: &[bool],
    data: &[u8],
    history: &mut TileHistory,
) -> Result<Vec<i16>, EntropyError> {
    let mut y = vec![0i16; shape.y_len()];
    check_y(shape, z, skip, y.len());
    if data.is_empty() {
        // Right if nothing was to be coded; otherwise the stream is cut.
        let groups = (shape.channels / GROUP) * shape.width64 * shape.height64;
        if skip.iter().any(|&s| !s) && z[..groups].iter().any(|&v| v != 0) {
            let coded = (0..shape.blocks()).any(|block| {
                let (row, x) = (block / shape.width16(), block % shape.width16());
                let at = (row / 4) * shape.width64 + x / 4;
                let planes = z[..groups].chunks_exact(shape.width64 * shape.height64);
                !skip[block] && planes.into_iter().any(|plane| plane[at] != 0)
            });
            if coded {
                return Err(EntropyError::Truncated);
            }
        }
        history.reset();
        return Ok(y);
    }
    let (width, height) = (shape.width16(), shape.height16());
    let blocks = shape.blocks();
    let max = tables.y_max();
    let mut activity: Vec<Activity> = vec![[0; RECENT]; blocks];
    let mut decoder = Decoder::<2>::new(data)?;
    for group in 0..shape.channels / GROUP {
        let indices =
            &z[group * shape.width64 * shape.height64..][..shape.width64 * shape.height64];
        let planes = &mut y[group * GROUP * blocks..][..GROUP * blocks];
        let (p0, rest) = planes.split_at_mut(blocks);
        let (p1, rest) = rest.split_at_mut(blocks);
        let (p2, p3) = rest.split_at_mut(blocks);
        let stride = history.stride;
        let history = history.group(group);
        for row in 0..height {
            if decoder.overrun() {
                return Err(EntropyError::Truncated);
            }
            let indices = &indices[row / 4 * shape.width64..][..shape.width64];
            let mut rows = Rows::new(history, row, stride);
            let line = row * width..(row + 1) * width;
            let skip = &skip[line.clone()];
            let activity = &mut activity[line.clone()];
            let mut planes = [&mut *p0, &mut *p1, &mut *p2, &mut *p3].map(|p| &mut p[line.clone()]);
            for (x64, &index) in indices.iter().enumerate() {
                let index = scale_index(index);
                let candidates = tables.y_tables_of(group, index);
                for x in 4 * x64..4 * x64 + 4 {
                    if index == 0 || skip[x] {
                        rows.set(x, [0; GROUP]);
                        activity[x][group % RECENT] = 0;
                        continue;
                    }
                    let level = level(activity[x]);
                    let contexts = rows.contexts(x);
                    let mut values = [0i32; GROUP];
                    for c in 0..GROUP {
                        let symbol =
                            decoder.symbol(c & 1, candidates.get(c, level, contexts[c])) as i32;
                        values[c] = if symbol <= 2 * max {
                            symbol - max
                        } else {
                            let (lowest, highest) = (i32::from(i16::MIN), i32::from(i16::MAX));
                            read_escape(&mut decoder, c & 1, max, lowest, highest)?
                        };
                    }
                    let magnitudes = values.map(magnitude);
                    rows.set(x, magnitudes);
                    activity[x][group % RECENT] = recent(magnitudes);
                    for (plane, value) in planes.iter_mut().zip(values) {
                        plane[x] = value as i16;
                    }
                }
            }
        }
    }
    decoder.finish()?;
    Ok(y)
}

fn check_y(shape: &TileShape, z: &[i8], skip: &[bool], y_len: usize) {
    assert_eq!(y_len, shape.y_len());
    assert_eq!(z.len(), shape.z_len());
    assert_eq!(skip.len(), shape.blocks());
    assert_eq!(shape.channels % GROUP, 0);
    assert!(shape.z_channels * GROUP >= shape.channels);
}

#[cfg(test)]
mod tests {
    use super::super::tables::synthetic;
    use super::*;
    use proptest::prelude::*;

    fn tables() -> Tables {
        Tables::parse(&synthetic::file(32, 20, 12)).unwrap()
    }

    const SHAPE: TileShape = TileShape {
        channels: 48,
        z_channels: 32,
        width64: 3,
        height64: 2,
    };

    /// A small deterministic generator, so that large inputs need no large proptest values.
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> u32 {
            self.0 = self
                .0
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (self.0 >> 33) as u32
        }

        fn skewed(&mut self, spread: u32) -> i32 {
            let value = (self.next() % (1 + self.next() % (1 + spread))) as i32;
            if self.next() & 1 == 0 { value } else { -value }
        }
    }

    fn frame(noise: &mut Noise, spread: u32, skips: u32) -> (Vec<i8>, Vec<bool>, Vec<i16>) {
        let z: Vec<i8> = (0..SHAPE.z_len())
            .map(|_| noise.skewed(spread).clamp(-128, 127) as i8)
            .collect();
        let skip: Vec<bool> = (0..SHAPE.blocks())
            .map(|_| noise.next() % 100 < skips)
            .collect();
        let mut y = vec![0i16; SHAPE.y_len()];
        for (i, v) in y.iter_mut().enumerate() {
            let (channel, block) = (i / SHAPE.blocks(), i % SHAPE.blocks());
            let (row, x) = (block / SHAPE.width16(), block % SHAPE.width16());
            let index = z[((channel / 4) * SHAPE.height64 + row / 4) * SHAPE.width64 + x / 4];
            if index != 0 && !skip[block] {
                *v = match noise.next() % 1000 {
                    0 => i16::MIN,
                    1 => i16::MAX,
                    _ => noise.skewed(spread.min(4000)) as i16,
                };
            }
        }
        (z, skip, y)
    }

    proptest! {
        #[test]
        fn frames_round_trip(seed in any::<u64>(), spread in 0u32..300, skips in 0u32..101) {
            let tables = tables();
            let mut noise = Noise(seed);
            let mut sent = TileHistory::new(&SHAPE);
            let mut got = TileHistory::new(&SHAPE);
            for _ in 0..3 {
                let (z, skip, y) = frame(&mut noise, spread, skips);
                let z_bytes = encode_z(&tables, &SHAPE, &skip, &z);
                let y_bytes = encode_y(&tables, &SHAPE, &z, &skip, &y, &mut sent);
                prop_assert_eq!(&decode_z(&tables, &SHAPE, &skip, &z_bytes).unwrap(), &z);
                prop_assert_eq!(&decode_y(&tables, &SHAPE, &z, &skip, &y_bytes, &mut got).unwrap(), &y);
                prop_assert_eq!(&sent.magnitudes, &got.magnitudes);
            }
        }

        #[test]
        fn random_bytes_are_safe(seed in any::<u64>(), bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let tables = tables();
            let (z, skip, _) = frame(&mut Noise(seed), 40, 10);
            let _ = decode_z(&tables, &SHAPE, &skip, &bytes);
            let _ = decode_y(&tables, &SHAPE, &z, &skip, &bytes, &mut TileHistory::new(&SHAPE));
        }

        #[test]
        fn truncation_is_noticed(seed in any::<u64>(), cut in 1usize..100) {
            let tables = tables();
            let (z, skip, y) = frame(&mut Noise(seed), 30, 10);
            let bytes = encode_y(&tables, &SHAPE, &z, &skip, &y, &mut TileHistory::new(&SHAPE));
            let kept = bytes.len().saturating_sub(cut);
            let result = decode_y(&tables, &SHAPE, &z, &skip, &bytes[..kept], &mut TileHistory::new(&SHAPE));
            prop_assert!(bytes.is_empty() || result.is_err());
        }
    }

    #[test]
    fn z_of_skipped_positions_is_free() {
        let tables = tables();
        let (mut z, _, _) = frame(&mut Noise(5), 20, 0);
        // All blocks of the first two rows of positions but one are skipped.
        let mut skip = vec![true; SHAPE.blocks()];
        skip[0] = false;
        let whole = encode_z(&tables, &SHAPE, &skip, &z);
        assert_eq!(decode_z(&tables, &SHAPE, &skip, &whole).as_ref(), Ok(&z));
        for plane in z.chunks_exact_mut(SHAPE.width64 * SHAPE.height64) {
            plane[1..].fill(0);
        }
        let few = encode_z(&tables, &SHAPE, &skip, &z);
        assert_eq!(decode_z(&tables, &SHAPE, &skip, &few).as_ref(), Ok(&z));
        assert!(
            few.len() * 4 < whole.len(),
            "{} and {}",
            few.len(),
            whole.len()
        );
    }

    #[test]
    fn silence_is_free() {
        let tables = tables();
        let z = vec![0i8; SHAPE.z_len()];
        let y = vec![0i16; SHAPE.y_len()];
        let skip = vec![false; SHAPE.blocks()];
        assert!(encode_z(&tables, &SHAPE, &skip, &z).is_empty());
        assert!(
            encode_y(
                &tables,
                &SHAPE,
                &z,
                &skip,
                &y,
                &mut TileHistory::new(&SHAPE)
            )
            .is_empty()
        );
    }

    #[test]
    fn levels_follow_the_activity() {
        let expected = |sum: usize| match sum {
            0 => 0,
            1..=2 => 1,
            3..=6 => 2,
            7..=15 => 3,
            _ => 4,
        };
        for (sum, &level) in LEVEL.iter().enumerate() {
            assert_eq!(level, expected(sum), "{sum}");
        }
        let mut activity = [0; RECENT];
        for (group, expected) in [(0, 1), (1, 2), (2, 2), (3, 3), (4, 3), (5, 3)] {
            activity[group % RECENT] = recent([1, 0, 1, 0]);
            assert_eq!(level(activity), expected);
        }
        activity[6 % RECENT] = recent([MAGNITUDE_CAP as u8; GROUP]);
        assert_eq!(level(activity), 4);
        assert_eq!(level([RECENT_CAP; RECENT]), 4);
        assert_eq!(level([recent([0; GROUP]); RECENT]), 0);
    }

    #[test]
    fn contexts_of_four_channels_are_those_of_each() {
        let mut noise = Noise(3);
        let (width, stride) = (3, LEFT + 3 + 1);
        for _ in 0..1000 {
            let mut any = || (noise.next() % (MAGNITUDE_CAP + 1)) as u8;
            let mut history: Vec<[u8; GROUP]> = (0..4 * stride)
                .map(|_| std::array::from_fn(|_| any()))
                .collect();
            let at = history.clone();
            let rows = Rows::new(&mut history, 1, stride);
            for x in 0..width {
                let expected: [usize; GROUP] = std::array::from_fn(|c| {
                    let [nn, nw, n, ne, ww, w, p] =
                        [(1, 2), (2, 1), (2, 2), (2, 3), (3, 0), (3, 1), (3, 2)]
                            .map(|(row, i)| usize::from(at[row * stride + x + i][c]));
                    usize::from(CONTEXT[2 * (w + n + p) + nw + ne + ww + nn])
                });
                assert_eq!(rows.contexts(x), expected);
            }
        }
    }

    #[test]
    fn contexts_of_z() {
        let shape = TileShape {
            channels: 12,
            z_channels: 3,
            width64: 2,
            height64: 2,
        };
        let z = [3, -5, 7, 0, 1, 2, -4, 9, 0, 6, 30, -128];
        // Neighbours left and above, twice the one there is, or none; the channels before count twice.
        for (channel, at, expected) in [
            (0, 0, 0),
            (0, 1, (2 * 3 + 1) / 3),
            (0, 2, (2 * 3 + 1) / 3),
            (0, 3, (7 + 5 + 1) / 3),
            (1, 0, 3),
            (1, 3, (4 + 2 + 1) / 3),
            (2, 1, (2 * (2 + 5) + 1) / 3),
            (2, 3, 15),
        ] {
            assert_eq!(
                z_context(&shape, &z, channel, at),
                expected,
                "{channel}, {at}"
            );
        }
    }

    #[test]
    fn contexts_follow_the_sum() {
        let expected = |m: usize| match m {
            0 => 0,
            1..=2 => 1,
            3..=4 => 2,
            5..=8 => 3,
            9..=16 => 4,
            _ => 5,
        };
        for (m, &context) in CONTEXT.iter().enumerate() {
            assert_eq!(context, expected(m), "{m}");
        }
    }
}
