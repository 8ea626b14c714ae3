// SPDX-License-Identifier: Apache-2.0
//! How the trainer sends runs of pictures to the examples that serve it.

use std::io::{self, Read};

/// The head of a run: four numbers, little endian, or `None` at the end of the input.
pub fn header(input: &mut impl Read) -> io::Result<Option<[u32; 4]>> {
    let mut bytes = [0; 16];
    let got = input.read(&mut bytes)?;
    if got == 0 {
        return Ok(None);
    }
    input.read_exact(&mut bytes[got..])?;
    let (numbers, _) = bytes.as_chunks();
    Ok(Some([0, 1, 2, 3].map(|i| u32::from_le_bytes(numbers[i]))))
}
