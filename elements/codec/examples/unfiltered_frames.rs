// SPDX-License-Identifier: Apache-2.0
//! What the loop filter behind the residual is given, for the trainer, which fits the filter's sets on it.
//! `models/training/codec/real_encoder.py` runs it, with the folder of a model as argument.
//!
//! Standard input has runs, one after the other: width, height (both multiples of 64), pictures and quality as little-endian
//! `u32`, then the pictures as I420. The first of a run becomes a key frame, the others are predicted. For each
//! picture standard output has a byte, 1 where the luma before the filter follows, and the blocks that the filter leaves as they
//! are (a byte each); 0 where it is coded as a header only.

mod coded_runs;
mod trainer;

use aivideo_codec::coder::{Attempt, EncoderSettings, Unfiltered};
use std::error::Error;
use std::io::{self, Write};

fn write(output: &mut dyn Write, attempt: &Attempt) -> io::Result<()> {
    let Some(Unfiltered { luma, untouched }) = attempt.unfiltered() else {
        return output.write_all(&[0]);
    };
    output.write_all(&[1])?;
    output.write_all(luma)?;
    let untouched: Vec<u8> = untouched.iter().map(|flag| u8::from(*flag)).collect();
    output.write_all(&untouched)
}

fn main() -> Result<(), Box<dyn Error>> {
    let model = std::env::args().nth(1);
    let model = model.ok_or("usage: unfiltered_frames MODEL-FOLDER")?;
    let settings = EncoderSettings {
        keep_unfiltered: true,
        ..EncoderSettings::default()
    };
    coded_runs::serve(&model, None, settings, write)
}
