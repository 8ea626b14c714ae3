// SPDX-License-Identifier: Apache-2.0
//! What ten bits are worth: the same pictures coded in eight and in ten bits, at the same qualities.
//!
//! A clip of eight bits at half its size has ten: sums of 2x2 samples are 0 to 1020, and nothing of
//! them is made up. The eight-bit coder gets their rounded means; both results are compared with the
//! sums, in ten bits.
//!
//! ```text
//! cargo run --release -p aivideo-codec --example ten_bits -- [--frames N] [--model PATH] clip.y4m...
//! ```

use aivideo_codec::bitstream::SequenceHeader;
use aivideo_codec::coder::{
    Depth, EncodeNet, Encoder, EncoderSettings, KeyFrames, ModelFiles, Planes, RateControl,
    RateMode, RateSettings, rated,
};
use aivideo_core::deep::Yuv420Deep;
use aivideo_core::pixels::Yuv420;
use aivideo_core::settings::InferenceSettings;
use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

const QUALITIES: [u8; 5] = [10, 25, 40, 55, 63];

/// The frames of an 8-bit 4:2:0 Y4M file at half their size, as sums of 2x2 samples.
fn halved(path: &Path, frames: usize) -> Result<Vec<Yuv420Deep>, Box<dyn Error>> {
    let mut file = BufReader::new(std::fs::File::open(path)?);
    let mut line = String::new();
    file.read_line(&mut line)?;
    let field = |key: char| {
        let mut fields = line.split_whitespace().skip(1);
        fields.find_map(|f| f.strip_prefix(key))
    };
    let eight = field('C').is_none_or(|c| c.starts_with("420") && !c.contains("p1"));
    let size = |key: char| field(key).and_then(|v| v.parse::<usize>().ok());
    let (Some(width), Some(height), true) = (size('W'), size('H'), eight) else {
        return Err(format!("{}: not an 8-bit 4:2:0 Y4M file", path.display()).into());
    };
    let mut all = Vec::new();
    let mut source = Yuv420::new(width, height);
    while all.len() < frames {
        line.clear();
        if file.read_line(&mut line)? == 0 {
            break;
        }
        for plane in [&mut source.y, &mut source.u, &mut source.v] {
            file.read_exact(plane)?;
        }
        let mut out = Yuv420Deep::new(width / 4 * 2, height / 4 * 2);
        let (w, half) = (out.width, out.chroma_width());
        let planes = [
            (&mut out.y, &source.y, w, width),
            (&mut out.u, &source.u, half, source.chroma_width()),
            (&mut out.v, &source.v, half, source.chroma_width()),
        ];
        for (to, from, width, stride) in planes {
            for (i, to) in to.iter_mut().enumerate() {
                let at = 2 * (i / width) * stride + 2 * (i % width);
                let four = [at, at + 1, at + stride, at + stride + 1];
                *to = four.iter().map(|&at| u16::from(from[at])).sum();
            }
        }
        all.push(out);
    }
    Ok(all)
}

fn rounded(picture: &Yuv420Deep) -> Yuv420 {
    let mut out = Yuv420::new(picture.width, picture.height);
    let planes = [
        (&mut out.y, &picture.y),
        (&mut out.u, &picture.u),
        (&mut out.v, &picture.v),
    ];
    for (to, from) in planes {
        for (to, from) in to.iter_mut().zip(from) {
            *to = ((from + 2) >> 2).min(255) as u8;
        }
    }
    out
}

/// Sum of squared luma errors against the picture of ten bits; `shift` makes samples ten bits.
fn squares<S: Depth>(source: &Yuv420Deep, luma: &[S], stride: usize) -> u64 {
    let shift = 10 - S::BITS;
    let rows = source
        .y
        .chunks_exact(source.width)
        .zip(luma.chunks_exact(stride));
    let errors = rows.flat_map(|(source, own)| source.iter().zip(own));
    errors
        .map(|(a, b)| u64::from((i32::from(*a) - (b.value() << shift)).unsigned_abs()).pow(2))
        .sum()
}

fn psnr(squares: u64, samples: usize) -> f64 {
    10.0 * (1023.0 * 1023.0 * samples as f64 / squares.max(1) as f64).log10()
}

/// Codes the pictures; gives bytes and squared errors.
fn code<S: Depth, P>(
    net: &EncodeNet,
    quality: u8,
    sources: &[Yuv420Deep],
    pictures: &[P],
) -> Result<(usize, u64), Box<dyn Error>>
where
    for<'a> &'a P: Into<Planes<'a, S>>,
{
    let (width, height) = (sources[0].width, sources[0].height);
    let sequence = SequenceHeader {
        bit_depth: S::BITS,
        ..SequenceHeader::new(width as u16, height as u16, (25, 1))
    };
    let mut encoder = Encoder::<S>::new(net.clone(), sequence, EncoderSettings::default())?;
    let settings = RateSettings {
        mode: RateMode::ConstantQuality,
        quality,
        ..RateSettings::default()
    };
    let mut rate = RateControl::new(settings, encoder.coded_pixels(), 25.0);
    let mut keys = KeyFrames::new(250, true);
    let (mut bytes, mut errors) = (0, 0);
    for (source, picture) in sources.iter().zip(pictures) {
        let coded = rated::encode(&mut encoder, &mut rate, &mut keys, picture, false, 0)?;
        bytes += coded.data.len();
        let result = encoder.reconstruction()?;
        errors += squares(source, &result.y, result.width);
    }
    Ok((bytes, errors))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut frames, mut model, mut clips) = (50, None, Vec::<PathBuf>::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--frames" => frames = value()?.parse()?,
            "--model" => model = Some(PathBuf::from(value()?)),
            _ => clips.push(arg.into()),
        }
    }
    if clips.is_empty() {
        return Err("no clip given: name 8-bit 4:2:0 Y4M files".into());
    }
    gst::init()?;
    let files = ModelFiles::find(model.as_deref())?;
    let net = EncodeNet::acquire(&files, &InferenceSettings::default())?;
    println!(
        "| clip | quality | 8 bits: bits a pixel, Y-PSNR | 10 bits: bits a pixel, Y-PSNR | bits | dB |"
    );
    println!("|---|---|---|---|---|---|");
    for path in clips {
        let ten = halved(&path, frames)?;
        if ten.is_empty() {
            return Err(format!("{}: no frames", path.display()).into());
        }
        let eight: Vec<Yuv420> = ten.iter().map(rounded).collect();
        let (width, height) = (ten[0].width, ten[0].height);
        let samples = width * height * ten.len();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let lost: u64 = (ten.iter().zip(&eight))
            .map(|(ten, eight)| squares(ten, &eight.y, width))
            .sum();
        let limit = psnr(lost, samples);
        println!(
            "| {name}, {width}x{height}, {} frames | not coded | {limit:.2} dB | | | |",
            ten.len()
        );
        for quality in QUALITIES {
            let (bytes8, errors8) = code::<u8, _>(&net, quality, &ten, &eight)?;
            let (bytes10, errors10) = code::<u16, _>(&net, quality, &ten, &ten)?;
            let (a, b) = (psnr(errors8, samples), psnr(errors10, samples));
            let rate = |bytes: usize| 8.0 * bytes as f64 / samples as f64;
            println!(
                "| | {quality} | {:.4}, {a:.2} dB | {:.4}, {b:.2} dB | {:+.1} % | {:+.2} |",
                rate(bytes8),
                rate(bytes10),
                100.0 * (bytes10 as f64 / bytes8 as f64 - 1.0),
                b - a
            );
        }
    }
    Ok(())
}
