// SPDX-License-Identifier: Apache-2.0
//! Codes Y4M clips under one runtime setting and decodes each access unit under several others:
//! the symbols must be identical on every frame; the pictures may drift a little, by how much is
//! printed, beside rate, quality and where the time goes.
//!
//! ```text
//! cargo run --release -p aivideo-codec --example exactness -- [options] clip.y4m...
//!   --quality N      0 to 63 (default 32)        --frames N    at most so many of each clip
//!   --model PATH     as `model-location`         --key N       key frame interval (default 250)
//!   --motion M       full, blocks16, zero          --skip-bits X 0: never skip a block
//!   --key-boost N    quality added to key frames    --inter-network    the network codes predicted frames, too
//!   --fast           one decoder only            --threads N   of the encoder (default: all)
//!   --runtime        encoder in ONNX Runtime     --plain       and without graph optimisation
//! ```

use aivideo_codec::bitstream::SequenceHeader;
use aivideo_codec::coder::{
    DecodeNet, Decoder, EncodeNet, Encoder, EncoderSettings, ModelFiles, Picture,
};
use aivideo_codec::motion::Variant;
use aivideo_core::pixels::Yuv420;
use aivideo_core::settings::InferenceSettings;
use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

struct Options {
    quality: u8,
    frames: usize,
    key: usize,
    model: Option<PathBuf>,
    settings: EncoderSettings,
    fast: bool,
    runtime: bool,
    plain: bool,
    threads: u32,
    clips: Vec<PathBuf>,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut o = Options {
        quality: 32,
        frames: usize::MAX,
        key: 250,
        model: None,
        settings: EncoderSettings {
            hash_symbols: true,
            ..EncoderSettings::default()
        },
        fast: false,
        runtime: false,
        plain: false,
        threads: 0,
        clips: Vec::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--quality" => o.quality = value()?.parse()?,
            "--frames" => o.frames = value()?.parse()?,
            "--key" => o.key = value()?.parse()?,
            "--threads" => o.threads = value()?.parse()?,
            "--model" => o.model = Some(value()?.into()),
            "--motion" => {
                o.settings.motion = match value()?.as_str() {
                    "full" => Variant::Full,
                    "blocks16" => Variant::Blocks16,
                    "zero" => Variant::Zero,
                    "none" => Variant::None,
                    other => return Err(format!("no motion {other}").into()),
                };
            }
            "--inter-network" => o.settings.inter_network = true,
            "--key-boost" => o.settings.key_boost = value()?.parse()?,
            "--skip-bits" => o.settings.skip_bits = value()?.parse()?,
            "--fast" => o.fast = true,
            "--runtime" => o.runtime = true,
            "--plain" => (o.runtime, o.plain) = (true, true),
            _ => o.clips.push(arg.into()),
        }
    }
    if o.clips.is_empty() {
        return Err("no clip given: name 8-bit 4:2:0 Y4M files".into());
    }
    Ok(o)
}

/// Reads 8-bit 4:2:0 Y4M.
struct Y4m {
    file: BufReader<std::fs::File>,
    width: usize,
    height: usize,
}

impl Y4m {
    fn open(path: &std::path::Path) -> Result<Self, Box<dyn Error>> {
        let mut file = BufReader::new(std::fs::File::open(path)?);
        let mut line = String::new();
        file.read_line(&mut line)?;
        let field = |key: char| {
            line.split_whitespace()
                .skip(1)
                .find_map(|f| f.strip_prefix(key))
        };
        if !line.starts_with("YUV4MPEG2")
            || !field('C').is_none_or(|c| c.starts_with("420") && !c.contains("p1"))
        {
            return Err(format!("{}: not an 8-bit 4:2:0 Y4M file", path.display()).into());
        }
        let size = |key| {
            field(key)
                .and_then(|v| v.parse().ok())
                .ok_or("a Y4M file without a size")
        };
        let (width, height) = (size('W')?, size('H')?);
        Ok(Self {
            file,
            width,
            height,
        })
    }

    fn next(&mut self, picture: &mut Yuv420) -> Result<bool, Box<dyn Error>> {
        let mut line = String::new();
        if self.file.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        for plane in [&mut picture.y, &mut picture.u, &mut picture.v] {
            self.file.read_exact(plane)?;
        }
        Ok(true)
    }
}

fn psnr(error: f64, samples: usize) -> f64 {
    10.0 * (255.0 * 255.0 * samples as f64 / error.max(1e-9)).log10()
}

fn squared_error(a: &[u8], b: &[u8]) -> f64 {
    let sum: u64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2))
        .sum();
    sum as f64
}

struct Receiver {
    name: &'static str,
    decoder: Decoder,
    mismatches: usize,
    /// Largest difference to the encoder's picture, and its squared sum.
    largest: u8,
    drift: f64,
    time: [f64; 4],
}

fn compare(own: &Picture, other: &Picture) -> (u8, f64) {
    let pairs = || own.y.iter().zip(&other.y);
    let largest = pairs().map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
    (largest, squared_error(&own.y, &other.y))
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let files = ModelFiles::find(options.model.as_deref())?;
    let inference = |threads, optimise| InferenceSettings {
        device: "cpu".to_owned(),
        num_threads: threads,
        graph_optimization: optimise,
        ..InferenceSettings::default()
    };
    let mut encode_net = EncodeNet::acquire(&files, &inference(options.threads, !options.plain))?;
    encode_net.set_fused(!options.runtime);
    // Name, threads, graph optimisation, fused kernels.
    let variants: &[(&str, u32, bool, bool)] = if options.fast {
        &[("all threads", 0, true, true)]
    } else {
        &[
            ("fused, 2 threads", 2, true, true),
            ("fused, 1 thread", 1, true, true),
            ("optimised, 2 threads", 2, true, false),
            ("optimised, 1 thread", 1, true, false),
            ("plain, 2 threads", 2, false, false),
            ("plain, 1 thread", 1, false, false),
        ]
    };
    let nets: Vec<_> = variants
        .iter()
        .map(|&(name, threads, optimise, fused)| {
            let mut net = DecodeNet::acquire(&files, &inference(threads, optimise))?;
            net.set_fused(fused);
            Ok((name, net))
        })
        .collect::<Result<_, Box<dyn Error>>>()?;
    let (mut all_frames, mut all_mismatches) = (0, 0);
    let mut all_samples = 0;
    // Largest difference, squared error and least PSNR of a frame, by receiver.
    let mut all_drift = vec![(0u8, 0.0, f64::INFINITY); nets.len()];
    let mut all_symbols = crc32fast::Hasher::new();
    for clip in &options.clips {
        let mut source = Y4m::open(clip)?;
        let sequence =
            SequenceHeader::new(source.width.try_into()?, source.height.try_into()?, (30, 1));
        let mut encoder = Encoder::new(encode_net.clone(), sequence, options.settings)?;
        let mut receivers: Vec<Receiver> = nets
            .iter()
            .map(|(name, net)| Receiver {
                name,
                decoder: Decoder::new(net.clone(), true),
                mismatches: 0,
                largest: 0,
                drift: 0.0,
                time: [0.0; 4],
            })
            .collect();
        let mut picture = Yuv420::new(source.width, source.height);
        let mut shown = picture.clone();
        let (mut frames, mut bytes, mut skipped) = (0usize, 0usize, 0usize);
        let (mut parts, mut time, mut error) = ([0usize; 3], [0f64; 4], 0f64);
        let mut key_bytes = 0;
        while frames < options.frames && source.next(&mut picture)? {
            let key = frames.is_multiple_of(options.key.max(1));
            let coded = encoder.encode(&picture, options.quality, key)?;
            bytes += coded.data.len();
            if key {
                key_bytes += coded.data.len();
            }
            skipped += coded.skipped_blocks;
            for (sum, part) in parts.iter_mut().zip(coded.parts) {
                *sum += part;
            }
            let t = coded.timing;
            for (sum, part) in time
                .iter_mut()
                .zip([t.motion, t.network, t.entropy, t.total])
            {
                *sum += part.as_secs_f64();
            }
            for (i, receiver) in receivers.iter_mut().enumerate() {
                let decoded = receiver.decoder.decode(&coded.data)?;
                if decoded.symbols != coded.symbols || decoded.concealed > 0 {
                    receiver.mismatches += 1;
                }
                let t = decoded.timing;
                for (sum, part) in receiver
                    .time
                    .iter_mut()
                    .zip([t.motion, t.network, t.entropy, t.total])
                {
                    *sum += part.as_secs_f64();
                }
                let own = receiver.decoder.reconstruction().ok_or("no picture")?;
                let (largest, drift) = compare(&*encoder.reconstruction()?, own);
                receiver.largest = receiver.largest.max(largest);
                receiver.drift += drift;
                let all = &mut all_drift[i];
                *all = (
                    all.0.max(largest),
                    all.1 + drift,
                    all.2.min(psnr(drift, own.y.len())),
                );
                if i == 0 {
                    receiver.decoder.picture(&mut shown)?;
                    error += squared_error(&picture.y, &shown.y);
                }
            }
            all_symbols.update(&coded.symbols.unwrap_or_default().to_le_bytes());
            frames += 1;
        }
        let samples = frames * source.width * source.height;
        println!(
            "{}: {}x{}, {frames} frames, quality {}: {:.4} bits/pixel ({} bytes; key {key_bytes}, motion {}, z {}, y {}), Y-PSNR {:.2} dB, {:.0} % of blocks skipped, cost {:.2}",
            clip.display(),
            source.width,
            source.height,
            options.quality,
            8.0 * bytes as f64 / samples as f64,
            bytes,
            parts[0],
            parts[1],
            parts[2],
            psnr(error, samples),
            100.0 * (skipped * 256) as f64 / samples as f64,
            (error
                + 8.0
                    * bytes as f64
                    * aivideo_codec::coder::decision::error_per_bit(options.quality))
                / samples as f64
        );
        let ms = |time: [f64; 4]| time.map(|t| format!("{:.2}", 1e3 * t / frames.max(1) as f64));
        let [motion, network, entropy, total] = ms(time);
        println!(
            "  encode: {total} ms a frame: motion {motion}, network {network}, entropy {entropy}"
        );
        let coded = encoder.reconstruction()?.y.len() * frames;
        for receiver in &receivers {
            let [motion, network, entropy, total] = ms(receiver.time);
            println!(
                "  decode, {:<22}: {} frames with other symbols; drift: largest {} levels, PSNR {:.1} dB; {total} ms a frame: motion {motion}, network {network}, entropy {entropy}",
                receiver.name,
                receiver.mismatches,
                receiver.largest,
                psnr(receiver.drift, coded)
            );
            all_mismatches += receiver.mismatches;
        }
        all_frames += frames;
        all_samples += coded;
    }
    for ((name, ..), (largest, drift, worst)) in variants.iter().zip(all_drift) {
        println!(
            "all, {name:<22}: drift: largest {largest} levels, PSNR {:.1} dB, of the worst frame {worst:.1} dB",
            psnr(drift, all_samples)
        );
    }
    println!(
        "{all_frames} frames, {} settings: {all_mismatches} mismatches; hash of all symbols {:08x}",
        variants.len(),
        all_symbols.finalize()
    );
    if all_mismatches > 0 {
        return Err("the decoder's symbols differ from the encoder's".into());
    }
    Ok(())
}
