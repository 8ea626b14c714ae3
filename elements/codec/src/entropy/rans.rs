// SPDX-License-Identifier: Apache-2.0
//! Interleaved rANS: 32-bit states, 16-bit renormalisation, 14-bit probabilities.
//!
//! The encoder collects [`Op`]s in reading order and runs over them backwards, so the decoder runs
//! forwards. Each operation names its lane (state); both sides use the same assignment, so lanes
//! share one stream of words without any marker. A stream is the lanes' 32-bit states followed by
//! 16-bit words, all little endian. Every lane starts at [`LOWER`] in the encoder, and therefore
//! must end there in the decoder: a check that costs nothing to make.

use super::{EntropyError, Table};

/// Bits of a probability: frequencies of a table sum to `1 << PROB_BITS`.
pub const PROB_BITS: u32 = 14;
/// Lower bound of a state between operations.
pub const LOWER: u32 = 1 << 16;
const MASK: u32 = (1 << PROB_BITS) - 1;

/// One coding step: start and size of an interval of `1 << PROB_BITS`, and the lane that takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op(u32);

impl Op {
    /// `freq` must be in `1..1 << PROB_BITS`, and `start + freq` at most `1 << PROB_BITS`.
    #[inline]
    pub fn new(lane: usize, start: u16, freq: u16) -> Self {
        debug_assert!(freq >= 1 && u32::from(start) + u32::from(freq) <= 1 << PROB_BITS);
        Self((lane as u32) << 28 | u32::from(freq) << PROB_BITS | u32::from(start))
    }

    #[inline]
    fn lane(self) -> usize {
        (self.0 >> 28) as usize
    }

    #[inline]
    fn freq(self) -> u32 {
        (self.0 >> PROB_BITS) & MASK
    }

    #[inline]
    fn start(self) -> u32 {
        self.0 & MASK
    }
}

/// Appends `count` (1 to 13) equally likely bits.
#[inline]
pub fn push_bits(ops: &mut Vec<Op>, lane: usize, value: u32, count: u32) {
    debug_assert!((1..PROB_BITS).contains(&count) && value < 1 << count);
    let shift = PROB_BITS - count;
    ops.push(Op::new(lane, (value << shift) as u16, 1 << shift));
}

/// Codes the operations with `N` lanes. No operation gives an empty stream.
pub fn encode<const N: usize>(ops: &[Op]) -> Vec<u8> {
    if ops.is_empty() {
        return Vec::new();
    }
    let mut states = [LOWER; N];
    let mut words: Vec<u16> = Vec::with_capacity(ops.len() / 4 + 8);
    for op in ops.iter().rev() {
        let x = &mut states[op.lane() % N];
        let freq = op.freq();
        // freq < 2^14, so that the bound fits 32 bits.
        if *x >= freq << (32 - PROB_BITS) {
            words.push(*x as u16);
            *x >>= 16;
        }
        *x = ((*x / freq) << PROB_BITS) + (*x % freq) + op.start();
    }
    let mut out = Vec::with_capacity(4 * N + 2 * words.len());
    for state in states {
        out.extend_from_slice(&state.to_le_bytes());
    }
    for word in words.iter().rev() {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out
}

/// Reads a stream of `N` lanes. Reading past the end yields zeros and is reported by
/// [`Decoder::finish`]; the caller's loops are bounded by the picture's size, never by the stream.
#[derive(Debug)]
pub struct Decoder<'a, const N: usize> {
    states: [u32; N],
    words: &'a [u8],
    /// Bytes of the words that were read; past their end once more than there are was asked for.
    read: usize,
}

impl<'a, const N: usize> Decoder<'a, N> {
    pub fn new(data: &'a [u8]) -> Result<Self, EntropyError> {
        let mut states = [0; N];
        let (head, words) = data
            .split_at_checked(4 * N)
            .ok_or(EntropyError::Truncated)?;
        for (state, bytes) in states.iter_mut().zip(head.chunks_exact(4)) {
            *state = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            if *state < LOWER {
                return Err(EntropyError::InitialState);
            }
        }
        Ok(Self {
            states,
            words,
            read: 0,
        })
    }

    #[inline(always)]
    fn advance(&mut self, lane: usize, freq: u32, offset: u32) {
        let x = freq * (self.states[lane] >> PROB_BITS) + offset;
        // The next word is looked at in any case and taken by arithmetic: whether it is needed
        // depends on the content, which no processor can foresee.
        let word = match self.words.get(self.read..) {
            Some([low, high, ..]) => u32::from(u16::from_le_bytes([*low, *high])),
            _ => 0,
        };
        // One step is enough: x was at least LOWER, so x >> 14 was at least 4.
        let needed = u32::from(x < LOWER);
        self.states[lane] = x << (16 * needed) | word & needed.wrapping_neg();
        self.read += 2 * needed as usize;
    }

    /// Decodes one symbol (an index into the table).
    #[inline(always)]
    pub fn symbol(&mut self, lane: usize, table: &Table) -> usize {
        let slot = self.states[lane] & MASK;
        let (symbol, start, freq) = table.find(slot as u16);
        self.advance(lane, u32::from(freq), slot - u32::from(start));
        symbol
    }

    /// Decodes `count` (1 to 13) equally likely bits.
    #[inline]
    pub fn bits(&mut self, lane: usize, count: u32) -> u32 {
        let shift = PROB_BITS - count;
        let slot = self.states[lane] & MASK;
        let value = slot >> shift;
        self.advance(lane, 1 << shift, slot - (value << shift));
        value
    }

    /// True once the stream has been read past its end: the rest is not worth decoding.
    #[inline(always)]
    pub fn overrun(&self) -> bool {
        self.read > self.words.len()
    }

    /// Checks that the stream ended exactly where its encoder began.
    pub fn finish(self) -> Result<(), EntropyError> {
        if self.overrun() {
            return Err(EntropyError::Truncated);
        }
        if self.read < self.words.len() {
            return Err(EntropyError::TrailingBytes(self.words.len() - self.read));
        }
        if self.states.iter().any(|&x| x != LOWER) {
            return Err(EntropyError::FinalState);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(freqs: &[u16]) -> Table {
        Table::from_frequencies(freqs).expect("a valid table")
    }

    #[test]
    fn no_operation_is_no_byte() {
        assert!(encode::<2>(&[]).is_empty());
    }

    #[test]
    fn a_likely_symbol_costs_next_to_nothing() {
        let table = table(&[16381, 1, 1, 1]);
        let ops: Vec<Op> = (0..10_000).map(|i| table.op(i & 1, 0)).collect();
        let bytes = encode::<2>(&ops);
        assert!(bytes.len() <= 16, "{} bytes", bytes.len());
    }

    #[test]
    fn rate_is_the_entropy() {
        // A quarter each: 2 bits a symbol, and the states' 8 bytes.
        let table = table(&[4096; 4]);
        let ops: Vec<Op> = (0..8000)
            .map(|i| table.op(i & 1, (i * 7 / 3) % 4))
            .collect();
        let bytes = encode::<2>(&ops).len();
        assert!((2000..2010).contains(&bytes), "{bytes} bytes");
    }

    proptest! {
        #[test]
        fn round_trip(symbols in prop::collection::vec((0usize..6, 0usize..2, 1u32..14, any::<u32>()), 0..600),
                      weights in prop::collection::vec(1u32..5000, 6)) {
            let sum: u32 = weights.iter().sum();
            let mut freqs: Vec<u16> = weights.iter().map(|w| ((w * (16384 - 6)) / sum + 1) as u16).collect();
            let rest = 16384 - freqs.iter().map(|&f| u32::from(f)).sum::<u32>();
            freqs[0] += rest as u16;
            let table = table(&freqs);
            let mut ops = Vec::new();
            for &(symbol, lane, count, raw) in &symbols {
                ops.push(table.op(lane, symbol));
                push_bits(&mut ops, lane ^ 1, raw & ((1 << count) - 1), count);
            }
            let bytes = encode::<2>(&ops);
            if symbols.is_empty() {
                prop_assert!(bytes.is_empty());
            } else {
                let mut decoder = Decoder::<2>::new(&bytes).unwrap();
                for &(symbol, lane, count, raw) in &symbols {
                    prop_assert_eq!(decoder.symbol(lane, &table), symbol);
                    prop_assert_eq!(decoder.bits(lane ^ 1, count), raw & ((1 << count) - 1));
                }
                prop_assert_eq!(decoder.finish(), Ok(()));
                // One byte short, or one word long, is noticed.
                let mut short = Decoder::<2>::new(&bytes[..bytes.len() - 1]);
                if let Ok(d) = &mut short {
                    for &(_, lane, count, _) in &symbols {
                        d.symbol(lane, &table);
                        d.bits(lane ^ 1, count);
                    }
                    prop_assert!(short.unwrap().finish().is_err());
                }
            }
        }

        #[test]
        fn random_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let table = table(&[16000, 300, 80, 4]);
            if let Ok(mut decoder) = Decoder::<2>::new(&bytes) {
                for i in 0..2000 {
                    prop_assert!(decoder.symbol(i & 1, &table) < 4);
                }
                let _ = decoder.finish();
            }
        }
    }
}
