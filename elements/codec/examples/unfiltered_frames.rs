// SPDX-License-Identifier: Apache-2.0
//! What the loop filters are given, for the trainer, which fits their sets on it.
//! `models/training/codec/real_encoder.py` runs it, with the folder of a model as argument.
//!
//! Standard input has runs, one after the other: width, height (both multiples of 64), pictures and quality as little-endian
//! `u32`, then the pictures as I420. The first of a run becomes a key frame, the others are predicted. For each
//! picture standard output has a byte: 0 where it is coded as a header only; 1 or 2 where the picture behind the residual, before the filter,
//! follows as I420, and the blocks whose luma and then those whose chroma the filter leaves as it is (a byte each); with 2 what a key frame's network gives is before it.

mod coded_runs;
mod trainer;

use aivideo_codec::coder::{Attempt, EncoderSettings, Unfiltered};
use std::error::Error;
use std::io::{self, Write};

fn write(output: &mut dyn Write, attempt: &Attempt) -> io::Result<()> {
    let Some(Unfiltered {
        network,
        picture,
        untouched,
    }) = attempt.unfiltered()
    else {
        return output.write_all(&[0]);
    };
    output.write_all(&[1 + u8::from(network.is_some())])?;
    for picture in network.iter().chain([picture]) {
        output.write_all(&picture.y)?;
        output.write_all(&picture.uv)?;
    }
    let untouched = untouched.iter().flatten();
    let untouched: Vec<u8> = untouched.map(|flag| u8::from(*flag)).collect();
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
