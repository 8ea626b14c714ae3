// SPDX-License-Identifier: Apache-2.0
//! The tables' file: static frequencies, fitted by the trainer and shipped as integers.
//!
//! Little endian: `AICT`, `u16` version (4), probability bits (14), z channels, z context count,
//! z maximum, y index count, y context count, y maximum; then for each z table (channel major, context
//! minor) and each y table (index major, then activity level, context minor) `2 * max + 2` frequencies: the symbols
//! `-max..=max` and the escape. Every frequency is at least 1 and a table's sum is `1 << 14`. Then, for four times
//! as many channels of y as z has, what is added to the scale index: signed bytes.
//! Version 6 goes on with the numbers of the [loop filter](crate::loop_filter), luma's and then chroma's, weights as two's complement.
//! The SHA-256 of the whole file is the tables' hash, which streams carry.

use super::rans::{Op, PROB_BITS};
use crate::loop_filter::FrameFilters;
use sha2::{Digest, Sha256};

const MAGIC: &[u8; 4] = b"AICT";
/// Without filters and with them.
const VERSIONS: [u16; 2] = [4, 6];
const HEADER: usize = 4 + 8 * 2;
/// Slots of the coarse look-up: the decoder starts its search here.
const COARSE: usize = 512;
const COARSE_SHIFT: u32 = PROB_BITS - 9;
/// Largest `max`: a symbol's index then fits a byte.
const MAX_LIMIT: u16 = 127;
/// Scale indices that are coded (1 to 31; index 0 means a zero that is not coded).
pub const Y_INDEX_COUNT: usize = 31;
/// Contexts of z.
pub const Z_CONTEXT_COUNT: usize = 16;
/// Contexts of y by its neighbours.
pub const Y_NEIGHBOUR_COUNT: usize = 6;
/// Levels of activity in what was coded of the block before.
pub const Y_LEVEL_COUNT: usize = 5;
/// All contexts of y: level major, neighbours minor.
pub const Y_CONTEXT_COUNT: usize = Y_LEVEL_COUNT * Y_NEIGHBOUR_COUNT;
/// Channels of y that share one scale index.
pub const GROUP: usize = 4;
/// Largest number that a channel adds to its scale index, or takes from it.
const LARGEST_OFFSET: i8 = 30;

/// Why a tables file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TablesError {
    #[error("not an entropy tables file: it does not begin with \"AICT\"")]
    Magic,
    #[error("entropy tables of version {0}; this build reads versions 4 and 6")]
    Version(u16),
    #[error("entropy tables: {field} is {value}, expected {expected}")]
    Field {
        field: &'static str,
        value: u16,
        expected: &'static str,
    },
    #[error("entropy tables of {actual} bytes, but their header asks for {expected}")]
    Size { actual: usize, expected: usize },
    #[error("entropy table {table}: {reason}")]
    Frequencies { table: usize, reason: &'static str },
    #[error(
        "entropy tables: channel {channel} moves its scale index by {offset}, but by 30 at most is possible"
    )]
    Offset { channel: usize, offset: i8 },
    #[error("loop filters in the entropy tables: {0}")]
    Filters(&'static str),
}

/// One static distribution, arranged for fast search.
#[derive(Clone)]
pub struct Table {
    /// For each of the coarse slots, the symbol at its first position.
    coarse: [u8; COARSE],
    /// Start of each symbol's interval, and from bit 16 on its end. After the last symbol there are
    /// empty intervals at the end of the range.
    bounds: [u32; 256],
    /// Costs in 256ths of a bit; apart, as the decoder does not need them.
    costs: Box<[u16; 256]>,
    symbols: u16,
}

impl Table {
    /// Builds a table, or says why the frequencies are not one.
    pub fn from_frequencies(freqs: &[u16]) -> Result<Self, &'static str> {
        if freqs.len() < 2 || freqs.len() > 256 {
            return Err("2 to 256 symbols are possible");
        }
        if freqs.contains(&0) {
            return Err("a frequency is 0");
        }
        let sum: u32 = freqs.iter().map(|&f| u32::from(f)).sum();
        if sum != 1 << PROB_BITS {
            return Err("the frequencies do not sum to 16384");
        }
        let mut bounds = [1 << PROB_BITS | 1 << (PROB_BITS + 16); 256];
        let mut start = 0u32;
        for (slot, &freq) in bounds.iter_mut().zip(freqs) {
            let end = start + u32::from(freq);
            *slot = start | end << 16;
            start = end;
        }
        let mut costs = Box::new([0; 256]);
        for (cost, &freq) in costs.iter_mut().zip(freqs) {
            *cost = (256.0 * (PROB_BITS as f32 - f32::from(freq).log2())) as u16;
        }
        let mut coarse = [0u8; COARSE];
        let mut symbol = 0usize;
        for (slot, entry) in coarse.iter_mut().enumerate() {
            let first = (slot as u32) << COARSE_SHIFT;
            while bounds[symbol] >> 16 <= first {
                symbol += 1;
            }
            *entry = symbol as u8;
        }
        Ok(Self {
            coarse,
            bounds,
            costs,
            symbols: freqs.len() as u16,
        })
    }

    /// Number of symbols, escape included.
    pub fn len(&self) -> usize {
        usize::from(self.symbols)
    }

    /// A table has two symbols at least.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The frequencies, escape last.
    pub fn frequencies(&self) -> Vec<u16> {
        let all = self.bounds[..self.len()].iter();
        all.map(|b| ((b >> 16) - (b & 0xffff)) as u16).collect()
    }

    /// Symbol, start and frequency of a slot below `1 << PROB_BITS`.
    #[inline(always)]
    pub(super) fn find(&self, slot: u16) -> (usize, u16, u16) {
        let mut symbol = self.coarse[usize::from(slot >> COARSE_SHIFT) & (COARSE - 1)];
        let mut bounds = self.bounds[usize::from(symbol)];
        // Ends: no slot is beyond the end of the last symbol.
        while bounds >> 16 <= u32::from(slot) {
            symbol = symbol.wrapping_add(1);
            bounds = self.bounds[usize::from(symbol)];
        }
        let start = bounds as u16;
        (
            usize::from(symbol),
            start,
            ((bounds >> 16) as u16).wrapping_sub(start),
        )
    }

    /// The coding step for a symbol.
    #[inline(always)]
    pub fn op(&self, lane: usize, symbol: usize) -> Op {
        let bounds = self.bounds[symbol & 255];
        let start = bounds as u16;
        Op::new(lane, start, ((bounds >> 16) as u16).wrapping_sub(start))
    }

    /// Cost of a symbol in 256ths of a bit: for the encoder's choices only.
    #[inline(always)]
    pub fn cost(&self, symbol: usize) -> u32 {
        self.costs[symbol & 255].into()
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({} symbols)", self.symbols)
    }
}

/// All tables of a model.
#[derive(Debug)]
pub struct Tables {
    z: Vec<Table>,
    y: Vec<Table>,
    /// What the channels of each group add to its scale index.
    offsets: Vec<[i8; GROUP]>,
    z_channels: usize,
    z_max: i32,
    y_max: i32,
    filters: Option<FrameFilters>,
    hash: [u8; 32],
}

impl Tables {
    /// Parses a tables file. Its size is fixed by its header and checked before anything is kept.
    pub fn parse(data: &[u8]) -> Result<Self, TablesError> {
        let (magic, rest) = data.split_at_checked(4).ok_or(TablesError::Magic)?;
        if magic != MAGIC {
            return Err(TablesError::Magic);
        }
        let (header, body) = rest.split_at_checked(HEADER - 4).ok_or(TablesError::Size {
            actual: data.len(),
            expected: HEADER,
        })?;
        let mut fields = header
            .chunks_exact(2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]));
        let mut next = || fields.next().unwrap_or_default();
        let (version, prob_bits) = (next(), next());
        let (z_channels, z_context_count, z_max) = (next(), next(), next());
        let (y_index_count, y_context_count, y_max) = (next(), next(), next());
        if !VERSIONS.contains(&version) {
            return Err(TablesError::Version(version));
        }
        let check = |ok: bool, field, value, expected| {
            if ok {
                Ok(())
            } else {
                Err(TablesError::Field {
                    field,
                    value,
                    expected,
                })
            }
        };
        check(prob_bits == 14, "probability bits", prob_bits, "14")?;
        check(
            (1..=256).contains(&z_channels),
            "z channels",
            z_channels,
            "1 to 256",
        )?;
        let z_contexts_ok = usize::from(z_context_count) == Z_CONTEXT_COUNT;
        check(z_contexts_ok, "z context count", z_context_count, "16")?;
        let maximum = 1..=MAX_LIMIT;
        check(maximum.contains(&z_max), "z maximum", z_max, "1 to 127")?;
        check(maximum.contains(&y_max), "y maximum", y_max, "1 to 127")?;
        let y_indices_ok = usize::from(y_index_count) == Y_INDEX_COUNT;
        check(y_indices_ok, "y index count", y_index_count, "31")?;
        let y_contexts_ok = usize::from(y_context_count) == Y_CONTEXT_COUNT;
        check(y_contexts_ok, "y context count", y_context_count, "30")?;

        let z_tables = Z_CONTEXT_COUNT * usize::from(z_channels);
        let y_tables = Y_INDEX_COUNT * Y_CONTEXT_COUNT;
        let z_symbols = 2 * usize::from(z_max) + 2;
        let y_symbols = 2 * usize::from(y_max) + 2;
        let tables = 2 * (z_tables * z_symbols + y_tables * y_symbols);
        let filtered = version == VERSIONS[1];
        let offsets = GROUP * usize::from(z_channels);
        let filters = if filtered { 2 * FrameFilters::LEN } else { 0 };
        let expected = HEADER + tables + offsets + filters;
        if data.len() != expected {
            return Err(TablesError::Size {
                actual: data.len(),
                expected,
            });
        }
        let (body, rest) = body.split_at(tables);
        let (offsets, filters) = rest.split_at(offsets);
        let offsets: Vec<i8> = offsets.iter().map(|b| *b as i8).collect();
        if let Some((channel, &offset)) = (offsets.iter().enumerate())
            .find(|(_, o)| o.unsigned_abs() > LARGEST_OFFSET.unsigned_abs())
        {
            return Err(TablesError::Offset { channel, offset });
        }
        let (z_body, y_body) = body.split_at(2 * z_tables * z_symbols);
        let numbers: Vec<u16> = filters
            .chunks_exact(2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))
            .collect();
        let read = |bytes: &[u8], symbols: usize, first: usize| {
            bytes
                .chunks_exact(2 * symbols)
                .enumerate()
                .map(|(i, chunk)| {
                    let freqs: Vec<u16> = chunk
                        .chunks_exact(2)
                        .map(|b| u16::from_le_bytes([b[0], b[1]]))
                        .collect();
                    Table::from_frequencies(&freqs).map_err(|reason| TablesError::Frequencies {
                        table: first + i,
                        reason,
                    })
                })
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            z: read(z_body, z_symbols, 0)?,
            y: read(y_body, y_symbols, z_tables)?,
            offsets: offsets.as_chunks().0.to_vec(),
            z_channels: usize::from(z_channels),
            z_max: i32::from(z_max),
            y_max: i32::from(y_max),
            filters: match filtered {
                true => Some(FrameFilters::new(&numbers).map_err(TablesError::Filters)?),
                false => None,
            },
            hash: Sha256::digest(data).into(),
        })
    }

    /// SHA-256 of the file.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// What streams carry: the first 8 bytes of the hash.
    pub fn id(&self) -> [u8; 8] {
        let mut id = [0; 8];
        id.copy_from_slice(&self.hash[..8]);
        id
    }

    /// The loop filters, where the file has them.
    pub fn filters(&self) -> Option<&FrameFilters> {
        self.filters.as_ref()
    }

    pub fn z_channels(&self) -> usize {
        self.z_channels
    }

    pub fn z_max(&self) -> i32 {
        self.z_max
    }

    pub fn y_max(&self) -> i32 {
        self.y_max
    }

    /// The z tables of a channel, one a context.
    pub fn z_tables(&self, channel: usize) -> &[Table] {
        &self.z[channel * Z_CONTEXT_COUNT..][..Z_CONTEXT_COUNT]
    }

    /// For the four channels of a group whose scale index (1 to 31) is coded, where their y tables begin.
    #[inline(always)]
    pub fn y_tables_of(&self, group: usize, index: usize) -> YTables<'_> {
        let firsts = self.offsets[group].map(|offset| {
            let index = (index as isize + isize::from(offset)).clamp(1, Y_INDEX_COUNT as isize);
            (index as usize - 1) * Y_CONTEXT_COUNT
        });
        YTables {
            tables: &self.y,
            firsts,
        }
    }
}

/// The y tables of four channels that share a scale index.
#[derive(Debug, Clone, Copy)]
pub struct YTables<'a> {
    tables: &'a [Table],
    firsts: [usize; GROUP],
}

impl<'a> YTables<'a> {
    /// That of one of the four channels, for a level of activity and a context of the neighbours.
    #[inline(always)]
    pub fn get(&self, channel: usize, level: usize, context: usize) -> &'a Table {
        &self.tables[self.firsts[channel] + level * Y_NEIGHBOUR_COUNT + context]
    }
}

/// Tables with the shape of a real file and made-up, Laplace-like contents, for tests and benches.
#[doc(hidden)]
pub mod synthetic {
    /// The bytes of a tables file.
    pub fn file(z_channels: u16, z_max: u16, y_max: u16) -> Vec<u8> {
        let mut out = b"AICT".to_vec();
        for v in [4, 14, z_channels, 16, z_max, 31, 30, y_max] {
            out.extend_from_slice(&u16::to_le_bytes(v));
        }
        let mut push = |max: u16, spread: f64| {
            let weights: Vec<f64> = (-i32::from(max)..=i32::from(max) + 1)
                .map(|v| (-f64::from(v.abs()) / spread).exp())
                .collect();
            let sum: f64 = weights.iter().sum();
            let free = 16384.0 - weights.len() as f64;
            let mut freqs: Vec<u16> = weights
                .iter()
                .map(|w| 1 + (w / sum * free) as u16)
                .collect();
            let missing = 16384 - freqs.iter().map(|&f| u32::from(f)).sum::<u32>();
            freqs[usize::from(max)] += missing as u16;
            for f in freqs {
                out.extend_from_slice(&f.to_le_bytes());
            }
        };
        for table in 0..16 * z_channels {
            push(z_max, 0.5 + f64::from(table % 5));
        }
        for index in 1..=31u16 {
            for context in 0..30u16 {
                push(
                    y_max,
                    0.1 * f64::from(index) * (0.5 + 0.3 * f64::from(context)),
                );
            }
        }
        out.extend((0..4 * z_channels).map(|channel| (channel % 7) as u8 ^ 255));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_a_file() {
        let file = synthetic::file(32, 20, 40);
        let tables = Tables::parse(&file).unwrap();
        assert_eq!(tables.z_channels(), 32);
        assert_eq!(tables.z_tables(31).len(), 16);
        assert_eq!(tables.z_tables(31)[15].len(), 42);
        assert_eq!(tables.y_tables_of(31, 31).get(3, 4, 5).len(), 82);
        assert_eq!(tables.hash()[..8], tables.id());
        for index in 1..=31 {
            let four = tables.y_tables_of(0, index);
            for table in (0..120).map(|i| four.get(i % 4, i / 4 % 5, i / 20)) {
                for slot in 0..1u16 << 14 {
                    let (symbol, start, freq) = table.find(slot);
                    assert!(symbol < table.len() && start <= slot && slot < start + freq);
                }
            }
        }
    }

    #[test]
    fn refuses_what_is_wrong() {
        let file = synthetic::file(32, 20, 40);
        assert_eq!(Tables::parse(b"").unwrap_err(), TablesError::Magic);
        assert_eq!(Tables::parse(b"ONNXxxxx").unwrap_err(), TablesError::Magic);
        assert!(matches!(
            Tables::parse(&file[..10]),
            Err(TablesError::Size { .. })
        ));
        assert!(matches!(
            Tables::parse(&file[..file.len() - 2]),
            Err(TablesError::Size { .. })
        ));
        let mut version = file.clone();
        version[4] = 9;
        assert_eq!(
            Tables::parse(&version).unwrap_err(),
            TablesError::Version(9)
        );
        for (at, value) in [
            (6, 12u16),
            (8, 0),
            (10, 8),
            (12, 0),
            (14, 30),
            (16, 7),
            (18, 128),
        ] {
            let mut bad = file.clone();
            bad[at..at + 2].copy_from_slice(&value.to_le_bytes());
            assert!(
                matches!(Tables::parse(&bad), Err(TablesError::Field { .. })),
                "{at}"
            );
        }
        let mut sum = file.clone();
        sum[HEADER] ^= 1;
        assert!(matches!(
            Tables::parse(&sum),
            Err(TablesError::Frequencies { table: 0, .. })
        ));
    }

    #[test]
    fn offsets_move_the_index_within_its_range() {
        let mut file = synthetic::file(32, 20, 40);
        let end = file.len();
        file[end - 4..].copy_from_slice(&[0, 2, (-3i8) as u8, 30]);
        let tables = Tables::parse(&file).unwrap();
        let first = |index: usize| &tables.y[(index - 1) * Y_CONTEXT_COUNT];
        for (index, expected) in [
            (1, [1, 3, 1, 31]),
            (12, [12, 14, 9, 31]),
            (31, [31, 31, 28, 31]),
        ] {
            let four = tables.y_tables_of(31, index);
            for (channel, expected) in expected.into_iter().enumerate() {
                assert!(std::ptr::eq(four.get(channel, 0, 0), first(expected)));
            }
        }
        file[end - 1] = 31;
        let error = Tables::parse(&file).unwrap_err();
        assert_eq!(
            error.to_string(),
            "entropy tables: channel 127 moves its scale index by 31, but by 30 at most is possible"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(mut bytes in prop::collection::vec(any::<u8>(), 0..600), magic in any::<bool>()) {
            if magic && bytes.len() >= 4 {
                bytes[..4].copy_from_slice(b"AICT");
            }
            let _ = Tables::parse(&bytes);
        }

        #[test]
        fn damage_is_refused_or_harmless(at in 0usize..20_000, value in any::<u8>()) {
            let mut file = synthetic::file(32, 20, 40);
            let at = at % file.len();
            file[at] = value;
            let _ = Tables::parse(&file);
        }
    }
}
