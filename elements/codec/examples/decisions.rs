// SPDX-License-Identifier: Apache-2.0
//! What the encoder's choices are worth: codes Y4M clips at several qualities with each variant, and
//! prints the bits saved at equal luma PSNR (BD-rate) against the first variant; with `--chroma`, at an equal mean of the planes'
//! PSNR in which luma counts six times.
//!
//! ```text
//! cargo run --release -p aivideo-codec --example decisions -- [--model PATH] [--frames N] [--key N]
//!     [--qualities Q,Q,Q,Q] [--chroma] --variant NAME:choice=value,... [--variant ...] clip.y4m...
//! ```
//!
//! Choices: `skip-bits`, `lasting`, `key-boost`, `cycle` (offsets of inter frames' quality, as `0/-2/-1/-2`),
//! `scene-cuts` (0 or 1), `loop-filter` (0 or 1),
//! `residual` (0 or 1), `inter-network` (0 or 1), `model` (a folder).

use aivideo_codec::bitstream::SequenceHeader;
use aivideo_codec::coder::{
    EncodeNet, Encoder, EncoderSettings, KeyFrames, ModelFiles, RateControl, RateSettings, rated,
};
use aivideo_core::pixels::Yuv420;
use aivideo_core::settings::InferenceSettings;
use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Clone)]
struct Variant {
    name: String,
    encoder: EncoderSettings,
    rate: RateSettings,
    scene_cuts: bool,
    model: Option<PathBuf>,
}

impl Variant {
    fn parse(text: &str) -> Result<Self> {
        let (name, choices) = text.split_once(':').unwrap_or((text, ""));
        let mut variant = Self {
            name: name.to_owned(),
            encoder: EncoderSettings::default(),
            rate: RateSettings::default(),
            scene_cuts: false,
            model: None,
        };
        for choice in choices.split(',').filter(|c| !c.is_empty()) {
            let (key, value) = choice.split_once('=').ok_or("a choice is name=value")?;
            match key {
                "skip-bits" => variant.encoder.skip_bits = value.parse()?,
                "lasting" => variant.encoder.lasting = value.parse()?,
                "key-boost" => variant.rate.key_boost = value.parse()?,
                "scene-cuts" => variant.scene_cuts = value == "1",
                "residual" => variant.encoder.residual = value == "1",
                "inter-network" => variant.encoder.inter_network = value == "1",
                "loop-filter" => variant.encoder.loop_filter = value == "1",
                "model" => variant.model = Some(value.into()),
                "cycle" => {
                    let offsets: Vec<i8> = value
                        .split('/')
                        .map(str::parse)
                        .collect::<std::result::Result<_, _>>()?;
                    variant.rate.cycle =
                        offsets.try_into().map_err(|_| "a cycle has four offsets")?;
                }
                _ => return Err(format!("no choice is called {key}").into()),
            }
        }
        Ok(variant)
    }
}

fn read_clip(path: &PathBuf, frames: usize) -> Result<Vec<Yuv420>> {
    let mut file = BufReader::new(std::fs::File::open(path)?);
    let mut line = String::new();
    file.read_line(&mut line)?;
    let size = |key: char| -> Result<usize> {
        let field = line
            .split_whitespace()
            .skip(1)
            .find_map(|f| f.strip_prefix(key));
        Ok(field.ok_or("not a Y4M file")?.parse()?)
    };
    let (width, height) = (size('W')?, size('H')?);
    let mut pictures = Vec::new();
    while pictures.len() < frames {
        let mut head = String::new();
        if file.read_line(&mut head)? == 0 {
            break;
        }
        let mut picture = Yuv420::new(width, height);
        for plane in [&mut picture.y, &mut picture.u, &mut picture.v] {
            file.read_exact(plane)?;
        }
        pictures.push(picture);
    }
    Ok(pictures)
}

/// (bits a pixel, mean over the frames of the PSNR of luma, or with chroma's)
fn point(
    net: &EncodeNet,
    clip: &[Yuv420],
    variant: &Variant,
    quality: u8,
    key: u32,
    chroma: bool,
) -> Result<(f64, f64)> {
    let (width, height) = (clip[0].width, clip[0].height);
    let sequence = SequenceHeader::new(width.try_into()?, height.try_into()?, (30, 1));
    let mut encoder = Encoder::new(net.clone(), sequence, variant.encoder)?;
    let mut rate = RateControl::new(
        RateSettings {
            quality,
            ..variant.rate
        },
        width * height,
        30.0,
    );
    let mut keys = KeyFrames::new(key, variant.scene_cuts);
    let mut shown = Yuv420::new(width, height);
    let (mut bytes, mut psnr) = (0, 0.0);
    for picture in clip {
        let coded = rated::encode(&mut encoder, &mut rate, &mut keys, picture, false, 0)?;
        bytes += coded.data.len();
        encoder.reconstruction()?.crop(&mut shown);
        let luma = plane_psnr(&picture.y, &shown.y);
        psnr += match chroma {
            false => luma,
            true => {
                let [u, v] = [(&picture.u, &shown.u), (&picture.v, &shown.v)];
                (6.0 * luma + plane_psnr(u.0, u.1) + plane_psnr(v.0, v.1)) / 8.0
            }
        };
    }
    let n = clip.len() as f64;
    Ok((8.0 * bytes as f64 / (n * (width * height) as f64), psnr / n))
}

fn plane_psnr(source: &[u8], shown: &[u8]) -> f64 {
    let error: u64 = (source.iter().zip(shown))
        .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2))
        .sum();
    10.0 * (65025.0 * source.len() as f64 / (error as f64).max(0.5)).log10()
}

/// ln bits at a PSNR, linear between points.
fn at(points: &[(f64, f64)], psnr: f64) -> f64 {
    let i = points
        .partition_point(|p| p.1 < psnr)
        .clamp(1, points.len() - 1);
    let (a, b) = (points[i - 1], points[i]);
    let t = (psnr - a.1) / (b.1 - a.1);
    a.0.ln() + t * (b.0.ln() - a.0.ln())
}

/// Bits of `other` against `first` at equal PSNR, over the range that both have.
fn bd_rate(first: &[(f64, f64)], other: &[(f64, f64)]) -> f64 {
    let low = first[0].1.max(other[0].1);
    let high = first[first.len() - 1].1.min(other[other.len() - 1].1);
    let steps = 100;
    let sum: f64 = (0..steps)
        .map(|i| low + (high - low) * (f64::from(i) + 0.5) / f64::from(steps))
        .map(|psnr| at(other, psnr) - at(first, psnr))
        .sum();
    (sum / f64::from(steps)).exp() - 1.0
}

fn main() -> Result<()> {
    let (mut model, mut frames, mut key, mut chroma) = (None, 48, 250, false);
    let (mut qualities, mut variants, mut clips) = (vec![12u8, 24, 36, 48], Vec::new(), Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--model" => model = Some(PathBuf::from(value()?)),
            "--frames" => frames = value()?.parse()?,
            "--key" => key = value()?.parse()?,
            "--qualities" => {
                qualities = value()?
                    .split(',')
                    .map(str::parse)
                    .collect::<std::result::Result<_, _>>()?;
            }
            "--chroma" => chroma = true,
            "--variant" => variants.push(Variant::parse(&value()?)?),
            _ => clips.push(PathBuf::from(arg)),
        }
    }
    let inference = InferenceSettings {
        device: "cpu".to_owned(),
        ..InferenceSettings::default()
    };
    let nets = variants
        .iter()
        .map(|variant| {
            let files = ModelFiles::find(variant.model.as_deref().or(model.as_deref()))?;
            Ok(EncodeNet::acquire(&files, &inference)?)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut sums = vec![0.0; variants.len()];
    for path in &clips {
        let clip = read_clip(path, frames)?;
        let mut curves: Vec<Vec<(f64, f64)>> = Vec::new();
        for (variant, net) in variants.iter().zip(&nets) {
            let mut points = qualities
                .iter()
                .map(|&q| point(net, &clip, variant, q, key, chroma))
                .collect::<Result<Vec<_>>>()?;
            points.sort_by(|a, b| a.1.total_cmp(&b.1));
            curves.push(points);
        }
        print!(
            "{}:",
            path.file_stem().unwrap_or_default().to_string_lossy()
        );
        for ((variant, points), sum) in variants.iter().zip(&curves).zip(&mut sums) {
            let rate = bd_rate(&curves[0], points);
            *sum += rate;
            print!("  {} {:+.2} %", variant.name, 100.0 * rate);
        }
        println!();
    }
    print!("mean:");
    for (variant, sum) in variants.iter().zip(&sums) {
        print!(
            "  {} {:+.2} %",
            variant.name,
            100.0 * sum / clips.len() as f64
        );
    }
    println!();
    Ok(())
}
