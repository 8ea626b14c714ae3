// SPDX-License-Identifier: Apache-2.0
//! 256-entry table look-ups over rows of bytes, in place.

use super::Level;

/// A function of one byte.
pub type Lut = [u8; 256];

/// The table that changes nothing.
pub const IDENTITY: Lut = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = i as u8;
        i += 1;
    }
    table
};

/// Tables for a row whose bytes belong to components in a repeating order (`U V U V …`,
/// `R G B A …`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowLut {
    /// The distinct tables.
    tables: Vec<Lut>,
    /// Which table each byte of the period uses.
    order: Vec<usize>,
}

impl RowLut {
    /// One table a byte of the period, which may be 1, 2, 3 or 4 bytes long.
    pub fn new(period: &[&Lut]) -> Self {
        assert!(matches!(period.len(), 1..=4), "a period of 1 to 4 bytes");
        let mut tables: Vec<Lut> = Vec::new();
        let mut order = Vec::with_capacity(period.len());
        for table in period {
            let index = tables.iter().position(|known| known == *table);
            order.push(index.unwrap_or_else(|| {
                tables.push(**table);
                tables.len() - 1
            }));
        }
        if tables.len() == 1 {
            order.truncate(1);
        }
        Self { tables, order }
    }

    /// The table of each byte of the period.
    pub fn period(&self) -> impl ExactSizeIterator<Item = &Lut> {
        self.order.iter().map(|at| &self.tables[*at])
    }

    /// True when applying it changes nothing.
    pub fn is_identity(&self) -> bool {
        self.tables.iter().all(|table| table == &IDENTITY)
    }

    pub fn apply(&self, row: &mut [u8]) {
        self.apply_at(Level::best(), row);
    }

    /// Applies the tables with the instructions of `level`, which the machine must have.
    pub fn apply_at(&self, level: Level, row: &mut [u8]) {
        if self.is_identity() {
            return;
        }
        match level {
            Level::Scalar => self.scalar(row),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => {
                assert!(is_x86_feature_detected!("avx2"));
                // SAFETY: the assertion above is what the function asks for.
                unsafe { x86::avx2(self, row) }
            }
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vbmi => {
                assert!(
                    is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vbmi")
                );
                // SAFETY: the assertion above is what the function asks for.
                unsafe { x86::avx512(self, row) }
            }
        }
    }

    /// The reference.
    fn scalar(&self, row: &mut [u8]) {
        match (self.tables.as_slice(), self.order.as_slice()) {
            ([table], _) => {
                for value in row {
                    *value = table[usize::from(*value)];
                }
            }
            (tables, order) => {
                for chunk in row.chunks_mut(order.len()) {
                    for (value, table) in chunk.iter_mut().zip(order) {
                        *value = tables[*table][usize::from(*value)];
                    }
                }
            }
        }
    }

    /// For vectors of `N` bytes: which bytes use each table, for each phase of the period. A
    /// period of 3 bytes needs 3 vectors to come round, the others divide `N`.
    #[cfg(target_arch = "x86_64")]
    fn masks<const N: usize>(&self) -> Vec<Vec<[u8; N]>> {
        let period = self.order.len();
        let phases = if period == 3 { 3 } else { 1 };
        (0..phases)
            .map(|phase| {
                (0..self.tables.len())
                    .map(|table| {
                        std::array::from_fn(|i| {
                            let at = (phase * N + i) % period;
                            if self.order[at] == table { 0xff } else { 0 }
                        })
                    })
                    .collect()
            })
            .collect()
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{IDENTITY, RowLut};
    use std::arch::x86_64::*;

    /// How far ahead of the work the row is fetched: the machine's own prefetcher stops at every
    /// page, which costs a third of the time where a picture is larger than the caches. A prefetch
    /// reads nothing, so it may point behind the row.
    const AHEAD: usize = 1024;

    /// A table in the registers of AVX-512: two `vpermi2b` look up 128 entries each by the low
    /// seven bits, and the top bit chooses between them.
    #[derive(Clone, Copy)]
    struct Table512([__m512i; 4]);

    impl Table512 {
        #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
        fn load(table: &super::Lut) -> Self {
            let quarter = |i: usize| {
                // SAFETY: 64 bytes from 64 * i lie inside the 256 of the table; loadu takes any
                // alignment.
                unsafe { _mm512_loadu_si512(table[64 * i..64 * (i + 1)].as_ptr().cast()) }
            };
            Self([quarter(0), quarter(1), quarter(2), quarter(3)])
        }

        #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
        fn look_up(&self, x: __m512i) -> __m512i {
            let [a, b, c, d] = self.0;
            let low = _mm512_permutex2var_epi8(a, x, b);
            let high = _mm512_permutex2var_epi8(c, x, d);
            _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high)
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    pub(super) fn avx512(lut: &RowLut, row: &mut [u8]) {
        if let [table] = lut.tables.as_slice() {
            let table = Table512::load(table);
            return vectors512(row, |x, _| table.look_up(x));
        }
        let mut tables = Vec::with_capacity(3);
        for (index, table) in lut.tables.iter().enumerate() {
            // Bytes that keep their value need no look-up.
            if table != &IDENTITY {
                tables.push((index, Table512::load(table)));
            }
        }
        let phases: Vec<Vec<(__mmask64, Table512)>> = lut
            .masks::<64>()
            .iter()
            .map(|masks| {
                tables
                    .iter()
                    .map(|(index, table)| {
                        let bits = masks[*index]
                            .iter()
                            .enumerate()
                            .fold(0u64, |bits, (i, m)| bits | (u64::from(*m != 0) << i));
                        (bits, *table)
                    })
                    .collect()
            })
            .collect();
        let mut phase = 0;
        vectors512(row, |x, _| {
            let out = phases[phase].iter().fold(x, |out, (mask, table)| {
                _mm512_mask_blend_epi8(*mask, out, table.look_up(x))
            });
            phase += 1;
            if phase == phases.len() {
                phase = 0;
            }
            out
        });
    }

    /// Maps a row in vectors; the last one may be partial.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn vectors512(row: &mut [u8], mut f: impl FnMut(__m512i, usize) -> __m512i) {
        let mut vectors = row.chunks_exact_mut(64);
        for (index, chunk) in vectors.by_ref().enumerate() {
            _mm_prefetch::<_MM_HINT_T0>(chunk.as_ptr().wrapping_add(AHEAD).cast());
            // SAFETY: the chunk is 64 bytes long; loadu takes any alignment.
            let x = unsafe { _mm512_loadu_si512(chunk.as_ptr().cast()) };
            let out = f(x, index);
            // SAFETY: as above, and the chunk is borrowed mutably.
            unsafe { _mm512_storeu_si512(chunk.as_mut_ptr().cast(), out) };
        }
        let tail = vectors.into_remainder();
        if !tail.is_empty() {
            let mask = u64::MAX >> (64 - tail.len());
            // SAFETY: the mask has as many bits as the tail has bytes; others are not touched.
            let x = unsafe { _mm512_maskz_loadu_epi8(mask, tail.as_ptr().cast()) };
            let out = f(x, usize::MAX);
            // SAFETY: as above, and the tail is borrowed mutably.
            unsafe { _mm512_mask_storeu_epi8(tail.as_mut_ptr().cast(), mask, out) };
        }
    }

    /// A table as 16 rows of 16 bytes, each in both halves of a register for `vpshufb`.
    struct Table256([__m256i; 16]);

    impl Table256 {
        #[target_feature(enable = "avx2")]
        fn load(table: &super::Lut) -> Self {
            let mut rows = [_mm256_setzero_si256(); 16];
            for (row, bytes) in rows.iter_mut().zip(table.chunks_exact(16)) {
                // SAFETY: the chunk is 16 bytes long; loadu takes any alignment.
                let half = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
                *row = _mm256_broadcastsi128_si256(half);
            }
            Self(rows)
        }

        /// With x's high nibble equal to the row's number, `(x ^ 16 row) +sat 0x70` is 0x70 plus
        /// the low nibble and shuffles in a byte of the row; otherwise it is 0x80 or more and
        /// shuffles in a zero. So the sixteen results need only be joined.
        #[inline]
        #[target_feature(enable = "avx2")]
        fn look_up(&self, x: __m256i) -> __m256i {
            let bias = _mm256_set1_epi8(0x70);
            let mut out = _mm256_setzero_si256();
            for (number, row) in self.0.iter().enumerate() {
                let high = _mm256_set1_epi8((number << 4) as u8 as i8);
                let index = _mm256_adds_epu8(_mm256_xor_si256(x, high), bias);
                out = _mm256_or_si256(out, _mm256_shuffle_epi8(*row, index));
            }
            out
        }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn avx2(lut: &RowLut, row: &mut [u8]) {
        if let [table] = lut.tables.as_slice() {
            let table = Table256::load(table);
            return vectors256(row, |x| table.look_up(x));
        }
        let mut tables = Vec::with_capacity(3);
        for (index, table) in lut.tables.iter().enumerate() {
            if table != &IDENTITY {
                tables.push((index, Table256::load(table)));
            }
        }
        let masks = lut.masks::<32>();
        let mut phase = 0;
        vectors256(row, |x| {
            let mut out = x;
            for (index, table) in &tables {
                // SAFETY: a mask is 32 bytes long; loadu takes any alignment.
                let mask = unsafe { _mm256_loadu_si256(masks[phase][*index].as_ptr().cast()) };
                out = _mm256_blendv_epi8(out, table.look_up(x), mask);
            }
            phase += 1;
            if phase == masks.len() {
                phase = 0;
            }
            out
        });
    }

    /// Maps a row in vectors; the last one may be partial.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn vectors256(row: &mut [u8], mut f: impl FnMut(__m256i) -> __m256i) {
        let mut vectors = row.chunks_exact_mut(32);
        for chunk in vectors.by_ref() {
            _mm_prefetch::<_MM_HINT_T0>(chunk.as_ptr().wrapping_add(AHEAD).cast());
            // SAFETY: the chunk is 32 bytes long; loadu takes any alignment.
            let x = unsafe { _mm256_loadu_si256(chunk.as_ptr().cast()) };
            let out = f(x);
            // SAFETY: as above, and the chunk is borrowed mutably.
            unsafe { _mm256_storeu_si256(chunk.as_mut_ptr().cast(), out) };
        }
        let tail = vectors.into_remainder();
        if !tail.is_empty() {
            let mut bytes = [0u8; 32];
            bytes[..tail.len()].copy_from_slice(tail);
            // SAFETY: the array is 32 bytes long; loadu takes any alignment.
            let out = f(unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) });
            // SAFETY: as above.
            unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), out) };
            tail.copy_from_slice(&bytes[..tail.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(seed: u8) -> Lut {
        std::array::from_fn(|i| (i as u8).wrapping_mul(167).rotate_left(3) ^ seed)
    }

    proptest! {
        /// Every instruction set must give the scalar's bits, whatever the length, the alignment,
        /// the period and which tables are the identity or equal.
        #[test]
        fn vectors_equal_the_scalar(
            bytes in proptest::collection::vec(any::<u8>(), 0..700),
            skip in 0usize..70,
            order in proptest::collection::vec(0usize..4, 1..=4),
        ) {
            let tables = [IDENTITY, table(1), table(77), table(200)];
            let period: Vec<&Lut> = order.iter().map(|i| &tables[*i]).collect();
            let lut = RowLut::new(&period);
            let row = &bytes[skip.min(bytes.len())..];
            let mut expected = row.to_vec();
            for (i, value) in expected.iter_mut().enumerate() {
                *value = period[i % period.len()][usize::from(*value)];
            }
            for level in Level::available() {
                let mut copy = bytes.clone();
                lut.apply_at(level, &mut copy[skip.min(bytes.len())..]);
                prop_assert_eq!(&copy[skip.min(bytes.len())..], &expected[..], "{:?}", level);
                prop_assert_eq!(
                    &copy[..skip.min(bytes.len())],
                    &bytes[..skip.min(bytes.len())],
                    "{:?} wrote before the row", level
                );
            }
        }
    }

    #[test]
    fn every_input_at_every_level() {
        let lut = RowLut::new(&[&table(9)]);
        for level in Level::available() {
            let mut row: Vec<u8> = (0..=255).collect();
            lut.apply_at(level, &mut row);
            assert_eq!(row, table(9), "{level:?}");
        }
    }
}
