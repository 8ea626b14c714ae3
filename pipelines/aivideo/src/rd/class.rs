// SPDX-License-Identifier: Apache-2.0
//! Content classes: out of a file, or measured on the luma of the frames.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    General,
    Static,
    Screen,
    Noisy,
}

impl Class {
    pub const ALL: [Self; 4] = [Self::General, Self::Static, Self::Screen, Self::Noisy];

    pub fn title(self) -> &'static str {
        match self {
            Self::General => "general",
            Self::Static => "static camera",
            Self::Screen => "screen",
            Self::Noisy => "dark or noisy",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        Ok(match text.trim().to_ascii_lowercase().as_str() {
            "general" => Self::General,
            "static" | "static camera" => Self::Static,
            "screen" => Self::Screen,
            "noisy" | "dark" | "dark/noisy" | "dark or noisy" => Self::Noisy,
            other => bail!("no class {other:?}; there are general, static, screen, noisy"),
        })
    }
}

/// Classes by name of the clip, without folders: JSON `{"clip.mp4": "static"}` or lines `clip.mp4,static`.
pub fn read(file: &Path) -> Result<BTreeMap<String, Class>> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let pairs: Vec<(String, String)> = if text.trim_start().starts_with('{') {
        serde_json::from_str::<BTreeMap<String, String>>(&text)
            .with_context(|| format!("{}: clips and their classes", file.display()))?
            .into_iter()
            .collect()
    } else {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| {
                let (name, class) = line.split_once(',').with_context(|| {
                    format!("{}: {line:?} is not \"clip,class\"", file.display())
                })?;
                Ok((name.trim().to_owned(), class.to_owned()))
            })
            .collect::<Result<_>>()?
    };
    pairs
        .into_iter()
        .map(|(name, class)| {
            let class =
                Class::parse(&class).with_context(|| format!("{}: {name}", file.display()))?;
            Ok((name, class))
        })
        .collect()
}

/// What the class is decided by. The rule is in `Measure::class` and in docs/rd.md.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Measure {
    /// Mean luma.
    pub luma: f64,
    /// Standard deviation of noise (Immerkær's estimate on the flatter half of the picture).
    pub noise: f64,
    /// Part of the 16x16 blocks with texture that hardly change from one frame to the next, median
    /// over frames. Flat blocks look at rest under a moving camera too.
    pub still: f64,
    /// Part of pixels that equal their left and upper neighbour.
    pub flat: f64,
    /// Part of pixels with a step of 64 levels or more to the left.
    pub edges: f64,
}

impl Measure {
    pub fn class(&self) -> Class {
        // Text on a plain ground, or hardly anything but a plain ground and some text.
        let drawn = self.flat >= 0.5 && self.edges >= 0.01;
        let plain = self.flat >= 0.85 && self.edges >= 0.002;
        if drawn || plain {
            Class::Screen
        } else if self.luma < 60.0 || self.noise >= 5.0 {
            Class::Noisy
        } else if self.still >= 0.4 {
            Class::Static
        } else {
            Class::General
        }
    }
}

/// Takes the luma of one frame after the other.
pub struct Meter {
    width: usize,
    height: usize,
    last: Vec<u8>,
    luma: f64,
    noise: Vec<f64>,
    still: Vec<f64>,
    flat: f64,
    edges: f64,
    frames: f64,
}

const BLOCK: usize = 16;
/// Mean absolute difference below which a block counts as unchanged.
const UNCHANGED: f64 = 2.0;
/// Mean sum of the steps to the left and upper neighbour from which on a block has texture.
const TEXTURE: f64 = 4.0;

/// Blocks with texture, and all of them.
#[derive(Default)]
struct Counts {
    textured: u32,
    every: u32,
}

impl Counts {
    fn add(&mut self, textured: bool) {
        self.every += 1;
        self.textured += u32::from(textured);
    }
}

impl Meter {
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            last: Vec::new(),
            luma: 0.0,
            noise: Vec::new(),
            still: Vec::new(),
            flat: 0.0,
            edges: 0.0,
            frames: 0.0,
        }
    }

    pub fn add(&mut self, y: &[u8]) {
        let (w, h) = (self.width, self.height);
        let pixels = (w * h) as f64;
        self.frames += 1.0;
        self.luma += y.iter().map(|&v| u64::from(v)).sum::<u64>() as f64 / pixels;
        let (mut flat, mut edges) = (0u64, 0u64);
        for row in 1..h {
            let (above, here) = (&y[(row - 1) * w..row * w], &y[row * w..(row + 1) * w]);
            for x in 1..w {
                flat += u64::from(here[x] == here[x - 1] && here[x] == above[x]);
                edges += u64::from(here[x].abs_diff(here[x - 1]) >= 64);
            }
        }
        self.flat += flat as f64 / pixels;
        self.edges += edges as f64 / pixels;
        self.noise.push(self.noise_of(y));
        if !self.last.is_empty() {
            self.still.push(self.still_of(y));
        }
        self.last.clear();
        self.last.extend_from_slice(y);
    }

    /// Immerkær's mask [1 -2 1; -2 4 -2; 1 -2 1] in blocks; texture adds to it, so only the flatter
    /// half of the blocks counts. Blocks clipped to black or white say nothing.
    fn noise_of(&self, y: &[u8]) -> f64 {
        let w = self.width;
        let at = |x: usize, row: usize| i32::from(y[row * w + x]);
        let mut blocks = Vec::new();
        for top in (1..self.height.saturating_sub(BLOCK)).step_by(BLOCK) {
            for left in (1..w.saturating_sub(BLOCK)).step_by(BLOCK) {
                let (mut sum, mut mean) = (0i64, 0i64);
                for row in top..top + BLOCK {
                    for x in left..left + BLOCK {
                        let corners = at(x - 1, row - 1)
                            + at(x + 1, row - 1)
                            + at(x - 1, row + 1)
                            + at(x + 1, row + 1);
                        let sides =
                            at(x, row - 1) + at(x, row + 1) + at(x - 1, row) + at(x + 1, row);
                        sum += i64::from((corners - 2 * sides + 4 * at(x, row)).abs());
                        mean += i64::from(at(x, row));
                    }
                }
                let area = (BLOCK * BLOCK) as f64;
                if (20.0..235.0).contains(&(mean as f64 / area)) {
                    let scale = (std::f64::consts::PI / 2.0).sqrt() / 6.0;
                    blocks.push(sum as f64 / area * scale);
                }
            }
        }
        blocks.sort_by(f64::total_cmp);
        let half = blocks.len().div_ceil(2);
        if half == 0 {
            return 0.0;
        }
        blocks[..half].iter().sum::<f64>() / half as f64
    }

    fn still_of(&self, y: &[u8]) -> f64 {
        let w = self.width;
        let (mut still, mut all) = (Counts::default(), Counts::default());
        for top in (0..self.height).step_by(BLOCK) {
            for left in (0..w).step_by(BLOCK) {
                let (bottom, right) = ((top + BLOCK).min(self.height), (left + BLOCK).min(w));
                let (mut change, mut gradient) = (0u64, 0u64);
                for row in top..bottom {
                    for x in left..right {
                        let (here, last) = (y[row * w + x], self.last[row * w + x]);
                        change += u64::from(here.abs_diff(last));
                        if x > left {
                            gradient += u64::from(last.abs_diff(self.last[row * w + x - 1]));
                        }
                        if row > top {
                            gradient += u64::from(last.abs_diff(self.last[(row - 1) * w + x]));
                        }
                    }
                }
                let area = ((bottom - top) * (right - left)) as f64;
                let textured = gradient as f64 >= TEXTURE * area;
                all.add(textured);
                if (change as f64) < UNCHANGED * area {
                    still.add(textured);
                }
            }
        }
        // Hardly any texture: the picture as a whole has to do.
        if all.textured >= 8 {
            f64::from(still.textured) / f64::from(all.textured)
        } else {
            f64::from(still.every) / f64::from(all.every.max(1))
        }
    }

    pub fn finish(mut self) -> Measure {
        let median = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(0.0)
        };
        let frames = self.frames.max(1.0);
        Measure {
            luma: self.luma / frames,
            noise: median(&mut self.noise),
            still: median(&mut self.still),
            flat: self.flat / frames,
            edges: self.edges / frames,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: usize = 128;
    const H: usize = 96;

    fn class(pixel: impl Fn(usize, usize, usize) -> f64) -> (Class, Measure) {
        let mut meter = Meter::new(W, H);
        for t in 0..6 {
            let frame: Vec<u8> = (0..W * H)
                .map(|i| pixel(i % W, i / W, t).clamp(0.0, 255.0) as u8)
                .collect();
            meter.add(&frame);
        }
        let measure = meter.finish();
        (measure.class(), measure)
    }

    fn scene(x: f64, y: f64) -> f64 {
        128.0 + 50.0 * (x / 5.0).sin() * (y / 7.0).cos() + x / 4.0
    }

    /// Unrelated numbers of a standard deviation of one.
    fn noise(x: usize, y: usize, t: usize) -> f64 {
        let mut v = (x as u64) << 32 | (y as u64) << 16 | t as u64;
        let mut sum = 0.0;
        for _ in 0..4 {
            v = (v ^ (v >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            v ^= v >> 29;
            sum += (v >> 40) as f64 / (1u64 << 24) as f64 - 0.5;
        }
        sum * 3f64.sqrt()
    }

    #[test]
    fn made_up_clips_get_their_class() {
        let moving = class(|x, y, t| scene((x + 4 * t) as f64, y as f64));
        assert_eq!(moving.0, Class::General, "{:?}", moving.1);
        let resting = class(|x, y, t| scene((x + if y < 24 { 4 * t } else { 0 }) as f64, y as f64));
        assert_eq!(resting.0, Class::Static, "{:?}", resting.1);
        let dark = class(|x, y, _| scene(x as f64, y as f64) / 5.0);
        assert_eq!(dark.0, Class::Noisy, "{:?}", dark.1);
        let noisy = class(|x, y, t| scene(x as f64, y as f64) + 12.0 * noise(x, y, t));
        assert_eq!(noisy.0, Class::Noisy, "{:?}", noisy.1);
        let text = class(|x, y, _| {
            if (x % 8) < 2 && (y % 24) < 10 {
                10.0
            } else {
                240.0
            }
        });
        assert_eq!(text.0, Class::Screen, "{:?}", text.1);
    }

    #[test]
    fn noise_is_estimated_where_nothing_else_is() {
        let (_, measure) = class(|x, y, t| 128.0 + 6.0 * noise(x, y, t));
        assert!((measure.noise - 6.0).abs() < 1.0, "{measure:?}");
    }

    #[test]
    fn class_files_are_read_in_both_forms() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("classes");
        for text in [
            "{\"a.mp4\": \"static\", \"b.mkv\": \"dark/noisy\"}",
            "# clip,class\na.mp4, static\n\nb.mkv,noisy\n",
        ] {
            std::fs::write(&file, text).unwrap();
            let found = read(&file).unwrap();
            assert_eq!(found["a.mp4"], Class::Static);
            assert_eq!(found["b.mkv"], Class::Noisy);
        }
        std::fs::write(&file, "a.mp4,cartoon\n").unwrap();
        assert!(format!("{:#}", read(&file).unwrap_err()).contains("no class \"cartoon\""));
    }
}
