// SPDX-License-Identifier: Apache-2.0
//! Codes the trainer's runs of pictures, for the examples that tell it what became of them.

use crate::trainer;
use aivideo_codec::bitstream::SequenceHeader;
use aivideo_codec::coder::{
    Attempt, EncodeNet, Encoder, EncoderSettings, KeyFrames, ModelFiles, RateControl, RateSettings,
    rated::Control,
};
use aivideo_core::pixels::Yuv420;
use aivideo_core::settings::InferenceSettings;
use std::error::Error;
use std::io::{self, Read, Write};
use std::path::Path;

/// More than this is no picture but a mistake in the stream.
const LARGEST: u32 = 4096;

/// Reads runs from standard input and writes what `write` says of each of their frames to standard output. Tiles are so many
/// times 64 rows high where that is given.
pub fn serve(
    model: &str,
    tile_rows_64: Option<u8>,
    settings: EncoderSettings,
    write: impl Fn(&mut dyn Write, &Attempt) -> io::Result<()>,
) -> Result<(), Box<dyn Error>> {
    let inference = InferenceSettings {
        device: "cpu".to_owned(),
        ..InferenceSettings::default()
    };
    let net = EncodeNet::acquire(&ModelFiles::find(Some(Path::new(model)))?, &inference)?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some([width, height, count, quality]) = trainer::header(&mut input)? {
        let fits = |side: u32| (64..=LARGEST).contains(&side) && side.is_multiple_of(64);
        if !fits(width) || !fits(height) || tile_rows_64 == Some(0) {
            return Err(format!("{width}x{height} in tiles of {tile_rows_64:?} is no size").into());
        }
        let mut picture = Yuv420::new(width as usize, height as usize);
        let mut sequence = SequenceHeader::new(width as u16, height as u16, (25, 1));
        sequence.tile_rows_64 = tile_rows_64.unwrap_or(sequence.tile_rows_64);
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
