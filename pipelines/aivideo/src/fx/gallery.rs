// SPDX-License-Identifier: Apache-2.0
//! `aivideo fx gallery`: a contact sheet of all effects on frames of a clip.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use aivideo_fx::chain::{Chain, Renderer, registry_defaults, resolve};
use aivideo_fx::parse;
use aivideo_fx::pass::Moment;
use aivideo_fx::picture::{Colorimetry, PixelFormat, RawFrame};
use aivideo_fx::registry::EFFECTS;
use anyhow::{Context, Result, bail};
use clap::Args;

use super::font;
use crate::environment;

#[derive(Args)]
pub struct Options {
    /// The clip
    clip: PathBuf,
    /// The picture to write; .png or .jpg
    #[arg(long, default_value = "fx-gallery.png")]
    out: PathBuf,
    /// Second of the clip at which frames are taken
    #[arg(long, default_value_t = 0.5)]
    at: f64,
    /// Tiles in a row
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    columns: u32,
    /// Width of a tile in pixels
    #[arg(long, default_value_t = 320, value_parser = clap::value_parser!(u32).range(64..=1920))]
    width: u32,
    /// Only these chains instead of all effects, one tile each
    #[arg(long)]
    chain: Vec<String>,
}

/// Frames before the one that is shown, for effects that remember.
const FRAMES: usize = 12;
const LABEL: usize = 24;
const GAP: usize = 6;

pub fn run(options: &Options) -> Result<()> {
    let frames = read(options)?;
    let work = tempfile::tempdir().context("no temporary directory")?;
    let table = work.path().join("gallery.cube");
    std::fs::write(&table, teal_and_orange())?;
    let chains: Vec<(String, String)> = match options.chain.is_empty() {
        true => all(&frames, &table),
        false => options
            .chain
            .iter()
            .map(|c| (c.clone(), c.clone()))
            .collect(),
    };
    let (width, height) = (frames.width, frames.height);
    let columns = options.columns as usize;
    let rows = chains.len().div_ceil(columns);
    let (cell_w, cell_h) = (width + GAP, height + LABEL + GAP);
    let (sheet_w, sheet_h) = (columns * cell_w + GAP, rows * cell_h + GAP);
    let mut sheet = vec![24u8; sheet_w * sheet_h * 3];
    for (index, (label, text)) in chains.iter().enumerate() {
        let tile = render(&frames, text).with_context(|| text.clone())?;
        let (left, top) = (
            GAP + index % columns * cell_w,
            GAP + index / columns * cell_h,
        );
        for (y, row) in tile.chunks_exact(width * 3).enumerate() {
            let at = ((top + y) * sheet_w + left) * 3;
            sheet[at..at + row.len()].copy_from_slice(row);
        }
        let scale = if font::width(label, 2) <= width { 2 } else { 1 };
        let place = (left + 2, top + height + (LABEL - 8 * scale) / 2);
        font::draw(&mut sheet, sheet_w * 3, place, scale, label);
    }
    write(&sheet, (sheet_w, sheet_h), &options.out)?;
    println!(
        "{}: {} tiles of {width}x{height}",
        options.out.display(),
        chains.len()
    );
    Ok(())
}

/// What each effect is shown with, where the default does not suit a small picture.
fn all(frames: &Frames, table: &Path) -> Vec<(String, String)> {
    let key = frames.key();
    let mut chains = vec![("original".to_string(), String::new())];
    for effect in EFFECTS {
        let name = effect.name;
        let with = |parameters: &str| (name.to_string(), format!("{name}:{parameters}"));
        match name {
            "posterize" => chains.push(with("num-levels=6")),
            "vignette" => chains.push(with("amount=0.9")),
            "lut" => chains.push(with(&format!("file=\"{}\"", table.display()))),
            "chroma-key" => chains.push(with(&format!(
                "color={key}:similarity=0.1:blend=0.08:to=color:background=#ff00c8"
            ))),
            "vhs" => chains.push(with("bleed=0.8:noise=0.4:jitter=1:tracking=1")),
            "rgb-shift" => chains.push(with("amount=0.02")),
            "glitch" => chains.push(with("amount=0.9")),
            "pixelate" => chains.push(with("size=10")),
            "halftone" => chains.push(with("size=6")),
            "trails" => chains.push(with("persistence=0.92")),
            "kaleidoscope" => chains.push(with("segments=8")),
            "thermal" => {
                for map in ["ironbow", "turbo", "night"] {
                    chains.push((format!("{name} {map}"), format!("{name}:map={map}")));
                }
            }
            "dither" => {
                for method in ["bayer", "blue-noise", "floyd-steinberg"] {
                    chains.push((
                        format!("{name} {method}"),
                        format!("{name}:method={method}:num-levels=2"),
                    ));
                }
            }
            _ => chains.push((name.to_string(), name.to_string())),
        }
    }
    chains
}

/// The look of many films, as a table of 17³ entries.
pub fn teal_and_orange() -> String {
    let mut text = String::from("TITLE \"teal and orange\"\nLUT_3D_SIZE 17\n");
    for i in 0..17 * 17 * 17 {
        let [r, g, b] = [i % 17, i / 17 % 17, i / 289].map(|v| v as f32 / 16.0);
        let light = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        // Shadows to teal, lights to orange, and more contrast.
        let curve = light * light * (3.0 - 2.0 * light);
        let tint = [curve - 0.5, 0.1 * (curve - 0.5), 0.5 - curve];
        let graded: [f32; 3] = std::array::from_fn(|c| {
            let own = [r, g, b][c];
            (own + 0.5 * (curve - light) + 0.22 * tint[c]).clamp(0.0, 1.0)
        });
        text.push_str(&format!("{} {} {}\n", graded[0], graded[1], graded[2]));
    }
    text
}

struct Frames {
    width: usize,
    height: usize,
    /// RGB.
    frames: Vec<Vec<u8>>,
}

impl Frames {
    /// The most colourful of the mean colours of squares, which a key can take away.
    fn key(&self) -> String {
        let last = &self.frames[self.frames.len() - 1];
        let side = (self.width.min(self.height) / 14).max(1);
        let mut best = (0, String::from("#00ff00"));
        for top in (0..=self.height - side).step_by(side) {
            for left in (0..=self.width - side).step_by(side) {
                let mut sums = [0; 3];
                for i in 0..side * side {
                    let at = (top + i / side) * self.width + left + i % side;
                    for (sum, value) in sums.iter_mut().zip(&last[at * 3..]) {
                        *sum += usize::from(*value);
                    }
                }
                let [r, g, b] = sums.map(|sum| sum / (side * side));
                let colourful = r.max(g).max(b) - r.min(g).min(b);
                if colourful > best.0 {
                    best = (colourful, format!("#{r:02x}{g:02x}{b:02x}"));
                }
            }
        }
        best.1
    }
}

fn read(options: &Options) -> Result<Frames> {
    std::fs::File::open(&options.clip)
        .with_context(|| format!("cannot read the clip {}", options.clip.display()))?;
    gst::init().context("GStreamer does not start")?;
    let width = options.width as usize / 2 * 2;
    let found = crate::demo::clip::probe(&options.clip)?;
    let height = ((width as f64 * f64::from(found.height) / f64::from(found.width) / 2.0).round()
        as usize
        * 2)
    .max(2);
    let mut child = Command::new(environment::ffmpeg()?)
        .args(["-v", "error", "-ss", &options.at.to_string(), "-i"])
        .arg(&options.clip)
        .args(["-frames:v", &FRAMES.to_string(), "-vf"])
        .arg(format!("scale={width}:{height}:flags=area"))
        .args(["-pix_fmt", "rgb24", "-f", "rawvideo", "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start ffmpeg")?;
    let mut bytes = Vec::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_end(&mut bytes)?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() || bytes.is_empty() {
        bail!(
            "cannot take frames of {} at {} s: {}",
            options.clip.display(),
            options.at,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let size = width * height * 3;
    Ok(Frames {
        width,
        height,
        frames: bytes.chunks_exact(size).map(<[u8]>::to_vec).collect(),
    })
}

/// The last frame after a chain ran on all.
fn render(frames: &Frames, text: &str) -> Result<Vec<u8>> {
    let (width, height) = (frames.width, frames.height);
    let color = Colorimetry::for_height(height);
    let mut items = parse::parse(text)?;
    parse::load(&mut items)?;
    let effects = resolve(&items, &registry_defaults());
    let chain = Chain::new(&effects, 1.0, PixelFormat::Rgb, width, height, color);
    let mut renderer = Renderer::new(1)?;
    let mut last = Vec::new();
    for (index, frame) in frames.frames.iter().enumerate() {
        last.clone_from(frame);
        let planes = vec![(last.as_mut_slice(), width * 3)];
        let raw = RawFrame::new(PixelFormat::Rgb, width, height, color, planes)?;
        let moment = Moment {
            // A moment at which the random effects look typical.
            time: 2_000_000_000 + index as u64 * 40_000_000,
            seed: 3,
        };
        chain.run(raw, &moment, &mut renderer);
    }
    Ok(last)
}

fn write(rgb: &[u8], (width, height): (usize, usize), out: &Path) -> Result<()> {
    use std::io::Write;
    let mut child = Command::new(environment::ffmpeg()?)
        .args([
            "-v",
            "error",
            "-y",
            "-f",
            "rawvideo",
            "-pixel_format",
            "rgb24",
        ])
        .args(["-video_size", &format!("{width}x{height}"), "-i", "-"])
        .args(["-frames:v", "1", "-update", "1", "-q:v", "5"])
        .arg(out)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start ffmpeg")?;
    if let Some(mut input) = child.stdin.take() {
        // A failure shows in the exit status, with a reason.
        let _ = input.write_all(rgb);
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "cannot write {}: {}",
            out.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_effect_has_a_tile_that_differs() {
        let (width, height) = (96, 54);
        let frame: Vec<u8> = (0..width * height * 3)
            .map(|i| (i * 7 % 251) as u8 ^ (i / 700) as u8)
            .collect();
        let frames = Frames {
            width,
            height,
            frames: vec![vec![90; width * height * 3], frame],
        };
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("a, b.cube");
        std::fs::write(&table, teal_and_orange()).unwrap();
        let chains = all(&frames, &table);
        let original = render(&frames, &chains[0].1).unwrap();
        for (label, text) in &chains[1..] {
            assert_ne!(render(&frames, text).unwrap(), original, "{label}");
        }
        for effect in EFFECTS {
            assert!(
                chains
                    .iter()
                    .any(|(label, _)| label.starts_with(effect.name))
            );
        }
    }
}
