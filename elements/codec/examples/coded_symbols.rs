// SPDX-License-Identifier: Apache-2.0
//! What the encoder makes of runs of pictures, for the trainer, whose tables are counted from it.
//! `models/training/codec/real_encoder.py` runs it, with the folder of a model and the height of a tile in units of 64 rows as arguments.
//!
//! Standard input has runs, one after the other: width, height (both multiples of 64), pictures and quality as little-endian
//! `u32`, then the pictures as I420. The first of a run becomes a key frame, the others are predicted. For each
//! picture standard output has a byte, 0 where nothing but a header is coded, 1 for a key frame, 2 for another; unless
//! it is 0, skip flags by block (a byte each), z and y (`i16`, little endian) follow, planes by channel.

mod trainer;

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

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// More than this is no picture but a mistake in the stream.
const LARGEST: u32 = 4096;

fn sequence((width, height): (u16, u16), tile_rows_64: u8) -> SequenceHeader {
    SequenceHeader {
        tile_rows_64,
        ..SequenceHeader::new(width, height, (25, 1))
    }
}

fn write_symbols(output: &mut impl Write, attempt: &Attempt) -> io::Result<()> {
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

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (model, rows) = (args.next(), args.next());
    let (model, rows) = (model.zip(rows)).ok_or("usage: coded_symbols MODEL-FOLDER TILE-ROWS")?;
    let rows: u8 = rows.parse()?;
    let inference = InferenceSettings {
        device: "cpu".to_owned(),
        ..InferenceSettings::default()
    };
    let net = EncodeNet::acquire(&ModelFiles::find(Some(Path::new(&model)))?, &inference)?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some([width, height, count, quality]) = trainer::header(&mut input)? {
        let fits = |side: u32| (64..=LARGEST).contains(&side) && side.is_multiple_of(64);
        if !fits(width) || !fits(height) || rows == 0 {
            return Err(format!("{width}x{height} in tiles of {rows} is no size").into());
        }
        let size = (width as u16, height as u16);
        let mut picture = Yuv420::new(width as usize, height as usize);
        let settings = EncoderSettings {
            inter_network: true,
            ..EncoderSettings::default()
        };
        let mut encoder = Encoder::new(net.clone(), sequence(size, rows), settings)?;
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
            write_symbols(&mut output, &attempt)?;
            let size = encoder.commit(prepared, attempt, 0)?.data.len();
            rate.sent(quality, size, 0);
        }
        output.flush()?;
    }
    Ok(())
}
