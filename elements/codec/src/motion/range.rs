// SPDX-License-Identifier: Apache-2.0
//! An adaptive binary range coder with carry propagation.
//!
//! Used for the little side information there is (flags and vectors), where adapting matters more
//! than speed. Probabilities are 12 bits out of the mean of a fast and a slow 16-bit estimate. The
//! decoder reads zeros past the end, so the encoder drops trailing zeros; decoding is therefore
//! total: any bytes decode to something, in time bounded by the caller's loops.

const TOP: u32 = 1 << 24;
const PROB_BITS: u32 = 12;
const FAST: u8 = 5;
const SLOW: u8 = 7;
/// How a context adapts to its first bits; from then on by [`FAST`] and [`SLOW`].
const RATES: [u8; 46] = {
    let mut rates = [6; 46];
    let mut i = 0;
    while i < 26 {
        rates[i] = if i < 2 { 4 } else { 5 };
        i += 1;
    }
    rates
};

/// Probability of a zero, learnt: quickly from the first bits, then by a fast and a slow mean.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    fast: u16,
    slow: u16,
    /// Bits seen, up to a limit.
    seen: u8,
}

impl Default for Context {
    fn default() -> Self {
        Self::with(128)
    }
}

impl Context {
    /// Starts with a guess: `zero` of 256 that the bit is 0.
    pub const fn with(zero: u8) -> Self {
        let p = (zero as u16) << 8 | 0x80;
        Self {
            fast: p,
            slow: p,
            seen: 0,
        }
    }

    #[inline]
    pub(crate) fn probability(self) -> u32 {
        // Both estimates stay inside 1..65535, so the result stays inside 1..4095.
        let mean = (u32::from(self.fast) + u32::from(self.slow)) >> 1;
        (mean >> (16 - PROB_BITS)).clamp(4, (1 << PROB_BITS) - 4)
    }

    #[inline]
    pub(crate) fn update(&mut self, bit: bool) {
        let rate = match RATES.get(usize::from(self.seen)) {
            Some(&rate) => {
                self.seen += 1;
                rate
            }
            None => SLOW,
        };
        let fast = rate.min(FAST);
        if bit {
            self.fast -= self.fast >> fast;
            self.slow -= self.slow >> rate;
        } else {
            self.fast += (u16::MAX - self.fast) >> fast;
            self.slow += (u16::MAX - self.slow) >> rate;
        }
    }
}

/// Writes bits.
#[derive(Debug)]
pub struct Encoder {
    low: u64,
    range: u32,
    cache: u8,
    pending: usize,
    out: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            low: 0,
            range: u32::MAX,
            cache: 0,
            pending: 1,
            out: Vec::new(),
        }
    }
}

impl Encoder {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn bit(&mut self, context: &mut Context, bit: bool) {
        let bound = (self.range >> PROB_BITS) * context.probability();
        if bit {
            self.low += u64::from(bound);
            self.range -= bound;
        } else {
            self.range = bound;
        }
        context.update(bit);
        self.normalise();
    }

    /// `count` equally likely bits, highest first.
    pub fn raw(&mut self, value: u32, count: u32) {
        for i in (0..count).rev() {
            self.range >>= 1;
            if (value >> i) & 1 == 1 {
                self.low += u64::from(self.range);
            }
            self.normalise();
        }
    }

    fn normalise(&mut self) {
        while self.range < TOP {
            self.range <<= 8;
            self.shift();
        }
    }

    fn shift(&mut self) {
        if self.low < 0xff00_0000 || self.low > u64::from(u32::MAX) {
            let carry = (self.low >> 32) as u8;
            self.out.push(self.cache.wrapping_add(carry));
            for _ in 1..self.pending {
                self.out.push(0xff_u8.wrapping_add(carry));
            }
            self.pending = 0;
            self.cache = (self.low >> 24) as u8;
        }
        self.pending += 1;
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    /// Ends the stream with as few bytes as tell it apart.
    pub fn finish(mut self) -> Vec<u8> {
        let high = self.low + u64::from(self.range) - 1;
        for zeros in (0..=32).rev() {
            let value = high & !((1u64 << zeros) - 1);
            if value >= self.low {
                self.low = value;
                break;
            }
        }
        for _ in 0..5 {
            self.shift();
        }
        while self.out.last() == Some(&0) {
            self.out.pop();
        }
        // The first byte is always 0 (the code is below 1): it is not worth sending.
        self.out.drain(..self.out.len().min(1));
        self.out
    }
}

/// Reads bits.
#[derive(Debug)]
pub struct Decoder<'a> {
    code: u32,
    range: u32,
    data: std::slice::Iter<'a, u8>,
}

impl<'a> Decoder<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        let mut decoder = Self {
            code: 0,
            range: u32::MAX,
            data: data.iter(),
        };
        for _ in 0..4 {
            decoder.code = decoder.code << 8 | decoder.byte();
        }
        decoder
    }

    fn byte(&mut self) -> u32 {
        self.data.next().copied().unwrap_or(0).into()
    }

    pub fn bit(&mut self, context: &mut Context) -> bool {
        let bound = (self.range >> PROB_BITS) * context.probability();
        let bit = self.code >= bound;
        if bit {
            self.code -= bound;
            self.range -= bound;
        } else {
            self.range = bound;
        }
        context.update(bit);
        self.normalise();
        bit
    }

    pub fn raw(&mut self, count: u32) -> u32 {
        let mut value = 0;
        for _ in 0..count {
            self.range >>= 1;
            let bit = self.code >= self.range;
            if bit {
                self.code -= self.range;
            }
            value = value << 1 | u32::from(bit);
            self.normalise();
        }
        value
    }

    fn normalise(&mut self) {
        while self.range < TOP {
            self.range <<= 8;
            self.code = self.code << 8 | self.byte();
        }
    }

    /// Bytes not yet read: a sound stream leaves none.
    pub fn unread(&self) -> usize {
        self.data.len()
    }
}

/// Codes bits. A writer gives back what it is told; a reader ignores that and gives what it reads.
pub trait Bits {
    fn bit(&mut self, context: &mut Context, bit: bool) -> bool;
    fn raw(&mut self, value: u32, count: u32) -> u32;
}

impl Bits for Encoder {
    fn bit(&mut self, context: &mut Context, bit: bool) -> bool {
        Encoder::bit(self, context, bit);
        bit
    }

    fn raw(&mut self, value: u32, count: u32) -> u32 {
        Encoder::raw(self, value, count);
        value
    }
}

impl Bits for Decoder<'_> {
    fn bit(&mut self, context: &mut Context, _: bool) -> bool {
        Decoder::bit(self, context)
    }

    fn raw(&mut self, _: u32, count: u32) -> u32 {
        Decoder::raw(self, count)
    }
}

/// Adapts the contexts as coding would, and writes nothing.
pub struct Adapt;

impl Bits for Adapt {
    fn bit(&mut self, context: &mut Context, bit: bool) -> bool {
        context.update(bit);
        bit
    }

    fn raw(&mut self, value: u32, _: u32) -> u32 {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(bits in prop::collection::vec((any::<bool>(), 0usize..3, 0u32..9, any::<u32>()), 0..3000), bias in 0u32..20) {
            let mut encoder = Encoder::new();
            let mut contexts = [Context::default(); 3];
            let biased: Vec<_> = bits.iter().map(|&(b, c, n, v)| (b && v % (bias + 1) == 0, c, n, v)).collect();
            for &(bit, context, count, value) in &biased {
                encoder.bit(&mut contexts[context], bit);
                encoder.raw(value & ((1 << count) - 1), count);
            }
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            let mut contexts = [Context::default(); 3];
            for &(bit, context, count, value) in &biased {
                prop_assert_eq!(decoder.bit(&mut contexts[context]), bit);
                prop_assert_eq!(decoder.raw(count), value & ((1 << count) - 1));
            }
            prop_assert_eq!(decoder.unread(), 0);
        }

        #[test]
        fn runs_of_carries(ones in 0usize..200, tail in prop::collection::vec(any::<bool>(), 0..40)) {
            let mut encoder = Encoder::new();
            let mut context = Context::default();
            for bit in std::iter::repeat_n(true, ones).chain(tail.iter().copied()) {
                encoder.bit(&mut context, bit);
                encoder.raw(u32::from(bit) * 255, 8);
            }
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            let mut context = Context::default();
            for bit in std::iter::repeat_n(true, ones).chain(tail.iter().copied()) {
                prop_assert_eq!(decoder.bit(&mut context), bit);
                prop_assert_eq!(decoder.raw(8), u32::from(bit) * 255);
            }
        }

        #[test]
        fn any_bytes_decode(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut decoder = Decoder::new(&bytes);
            let mut context = Context::default();
            for _ in 0..500 {
                decoder.bit(&mut context);
                prop_assert!(decoder.raw(3) < 8);
            }
        }
    }

    #[test]
    fn a_settled_context_is_cheap() {
        let mut encoder = Encoder::new();
        let mut context = Context::default();
        for _ in 0..10_000 {
            encoder.bit(&mut context, false);
        }
        let bytes = encoder.finish().len();
        assert!(bytes < 16, "{bytes}");
    }
}
