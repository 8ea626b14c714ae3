// SPDX-License-Identifier: Apache-2.0
//! What the loop filter behind the residual is given, for the trainer, which fits the filter's sets on it.
//! `models/training/codec/real_encoder.py` runs it, with the folder of a model as argument.
//!
//! Standard input has runs, one after the other: width, height (both multiples of 64), pictures and quality as little-endian
//! `u32`, then the pictures as I420. The first of a run becomes a key frame, the others are predicted. For each
//! picture standard output has a byte, 1 where the luma before the filter follows, and the blocks that the filter leaves as they
//! are (a byte each); 0 where it is coded as a header only.

mod trainer;

use aivideo_codec::bitstream::SequenceHeader;
use aivideo_codec::coder::{
    Attempt, EncodeNet, Encoder, EncoderSettings, KeyFrames, ModelFiles, RateControl, RateSettings,
    Unfiltered, rated::Control,
};
use aivideo_core::pixels::Yuv420;
use aivideo_core::settings::InferenceSettings;
use std::error::Error;
use std::io::{self, Read, Write};
use std::path::Path;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// More than this is no picture but a mistake in the stream.
const LARGEST: u32 = 4096;

fn write(output: &mut impl Write, attempt: &Attempt) -> io::Result<()> {
    let Some(Unfiltered { luma, untouched }) = attempt.unfiltered() else {
        return output.write_all(&[0]);
    };
    output.write_all(&[1])?;
    output.write_all(luma)?;
    let untouched: Vec<u8> = untouched.iter().map(|flag| u8::from(*flag)).collect();
    output.write_all(&untouched)
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let model = args.next().ok_or("usage: unfiltered_frames MODEL-FOLDER")?;
    let inference = InferenceSettings {
        device: "cpu".to_owned(),
        ..InferenceSettings::default()
    };
    let net = EncodeNet::acquire(&ModelFiles::find(Some(Path::new(&model)))?, &inference)?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some([width, height, count, quality]) = trainer::header(&mut input)? {
        let fits = |side: u32| (64..=LARGEST).contains(&side) && side.is_multiple_of(64);
        if !fits(width) || !fits(height) {
            return Err(format!("{width}x{height} is no size").into());
        }
        let mut picture = Yuv420::new(width as usize, height as usize);
        let sequence = SequenceHeader::new(width as u16, height as u16, (25, 1));
        let settings = EncoderSettings {
            keep_unfiltered: true,
            ..EncoderSettings::default()
        };
        let mut encoder = Encoder::new(net.clone(), sequence, settings)?;
        let asked = RateSettings {
            quality: quality.min(63) as u8,
            ..RateSettings::default()
        };
        let mut rate = RateControl::new(asked, (width * height) as usize, 25.0);
        let mut keys = KeyFrames::new(0, false);
        for _ in 0..count {
            for plane in [&mut picture.y, &mut picture.u, &mut picture.v] {
                input.read_exact(plane)?;
            }
            let mut control = Control {
                rate: &mut rate,
                keys: &mut keys,
            };
            let (prepared, quality) = control.prepare(&mut encoder, false, |encoder, q, key| {
                encoder.prepare(&picture, q, key)
            })?;
            let attempt = encoder.attempt(&prepared, quality)?;
            write(&mut output, &attempt)?;
            let size = encoder.commit(prepared, attempt, 0)?.data.len();
            rate.sent(quality, size, 0);
        }
        output.flush()?;
    }
    Ok(())
}
