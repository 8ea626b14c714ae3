// SPDX-License-Identifier: Apache-2.0
//! What the encoder makes of runs of pictures, for the trainer, whose tables are counted from it.
//! `models/training/codec/real_encoder.py` runs it, with the folder of a model and the height of a tile in units of 64 rows as arguments.
//!
//! Standard input has runs, one after the other: width, height (both multiples of 64), pictures and quality as little-endian
//! `u32`, then the pictures as I420. The first of a run becomes a key frame, the others are predicted. For each
//! picture standard output has a byte, 0 where nothing but a header is coded, 1 for a key frame, 2 for another; unless
//! it is 0, skip flags by block (a byte each), z and y (`i16`, little endian) follow, planes by channel.

mod coded_runs;
mod trainer;

use aivideo_codec::coder::{Attempt, EncoderSettings};
use std::error::Error;
use std::io::{self, Write};

fn write_symbols(output: &mut dyn Write, attempt: &Attempt) -> io::Result<()> {
    let Some((symbols, field)) = attempt.symbols() else {
        return output.write_all(&[0]);
    };
    output.write_all(&[if attempt.is_key() { 1 } else { 2 }])?;
    let skip: Vec<u8> = field.skip.iter().map(|skip| u8::from(*skip)).collect();
    let z: Vec<u8> = symbols.z.iter().map(|z| z.cast_unsigned()).collect();
    let y: Vec<u8> = symbols.y.iter().flat_map(|y| y.to_le_bytes()).collect();
    for part in [skip, z, y] {
        output.write_all(&part)?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (model, rows) = (args.next(), args.next());
    let (model, rows) = (model.zip(rows)).ok_or("usage: coded_symbols MODEL-FOLDER TILE-ROWS")?;
    let settings = EncoderSettings {
        inter_network: true,
        ..EncoderSettings::default()
    };
    coded_runs::serve(&model, Some(rows.parse()?), settings, write_symbols)
}
