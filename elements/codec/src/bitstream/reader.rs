// SPDX-License-Identifier: Apache-2.0

use super::BitstreamError;

/// Reads from the front of a slice; never past its end.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    /// What is being read, for messages.
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub fn new(data: &'a [u8], what: &'static str) -> Self {
        Self { data, at: 0, what }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        &self.data[self.at..]
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], BitstreamError> {
        let bytes = self
            .rest()
            .get(..count)
            .ok_or(BitstreamError::Truncated(self.what))?;
        self.at += count;
        Ok(bytes)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], BitstreamError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    pub fn u8(&mut self) -> Result<u8, BitstreamError> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u16(&mut self) -> Result<u16, BitstreamError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, BitstreamError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// What [`super::push_varint`] wrote. Longer forms of the same number are refused, so that a
    /// stream can be taken apart and put together again byte by byte.
    pub fn varint(&mut self) -> Result<u64, BitstreamError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    break;
                }
                return Ok(value);
            }
        }
        Err(BitstreamError::Number(self.what))
    }

    /// A length: bounded, and an index into memory.
    pub fn length(&mut self, max: u32) -> Result<usize, BitstreamError> {
        let value = self.varint()?;
        if value > u64::from(max) {
            return Err(BitstreamError::Value {
                what: "length",
                value,
            });
        }
        Ok(value as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::super::push_varint;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_return(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            push_varint(&mut out, value);
            let mut reader = Reader::new(&out, "test");
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.rest(), b"");
        }

        #[test]
        fn accepted_numbers_are_in_shortest_form(data in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut reader = Reader::new(&data, "test");
            if let Ok(value) = reader.varint() {
                let mut out = Vec::new();
                push_varint(&mut out, value);
                prop_assert_eq!(&out, &data[..reader.position()]);
            }
        }
    }

    #[test]
    fn long_forms_are_refused() {
        for data in [
            &[0x80, 0x00][..],
            &[0xff, 0x80, 0x00],
            &[0xff; 11],
            // 2^64.
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02],
        ] {
            let mut reader = Reader::new(data, "test");
            assert_eq!(reader.varint(), Err(BitstreamError::Number("test")));
        }
    }
}
