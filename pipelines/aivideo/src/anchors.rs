// SPDX-License-Identifier: Apache-2.0
//! The encoders of ffmpeg that ours is compared with. Their bytes are those of raw streams.

use std::path::Path;

use anyhow::Result;

use crate::ffmpeg::{Ffmpeg, Took, words};
use crate::rawclip::RawClip;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    X264,
    X265,
    SvtAv1,
    Vvenc,
}

/// One setting of one encoder.
#[derive(Debug)]
pub struct Anchor {
    /// What `--codecs` takes.
    pub id: &'static str,
    pub name: &'static str,
    family: Family,
    preset: &'static str,
    tune: Option<&'static str>,
    /// Key frames once a second, as a stream that one can join needs them.
    one_second_gop: bool,
    /// No frame waits for a later one.
    low_delay: bool,
    /// About this many million pixels are encoded in a second on two cores.
    pub speed: f64,
}

const fn anchor(
    id: &'static str,
    name: &'static str,
    family: Family,
    preset: &'static str,
    speed: f64,
) -> Anchor {
    Anchor {
        id,
        name,
        family,
        preset,
        tune: None,
        one_second_gop: false,
        low_delay: false,
        speed,
    }
}

/// Every anchor, in the order of reports.
pub const ANCHORS: &[Anchor] = &[
    Anchor {
        tune: Some("zerolatency"),
        one_second_gop: true,
        low_delay: true,
        ..anchor(
            "x264-ultrafast-zl",
            "x264 ultrafast zerolatency, 1 s GOP",
            Family::X264,
            "ultrafast",
            50.0,
        )
    },
    anchor("x264-medium", "x264 medium", Family::X264, "medium", 20.0),
    Anchor {
        tune: Some("zerolatency"),
        one_second_gop: true,
        low_delay: true,
        ..anchor(
            "x265-ultrafast-zl",
            "x265 ultrafast zerolatency, 1 s GOP",
            Family::X265,
            "ultrafast",
            14.0,
        )
    },
    Anchor {
        tune: Some("zerolatency"),
        low_delay: true,
        ..anchor(
            "x265-medium-zl",
            "x265 medium zerolatency",
            Family::X265,
            "medium",
            5.0,
        )
    },
    anchor("x265-medium", "x265 medium", Family::X265, "medium", 6.0),
    Anchor {
        tune: Some("psnr"),
        ..anchor(
            "x265-medium-psnr",
            "x265 medium, tune psnr",
            Family::X265,
            "medium",
            6.0,
        )
    },
    Anchor {
        tune: Some("psnr"),
        ..anchor(
            "x265-veryslow",
            "x265 veryslow, tune psnr",
            Family::X265,
            "veryslow",
            0.5,
        )
    },
    Anchor {
        one_second_gop: true,
        low_delay: true,
        ..anchor(
            "svtav1-p8-ld",
            "SVT-AV1 preset 8 low delay, 1 s GOP",
            Family::SvtAv1,
            "8",
            20.0,
        )
    },
    anchor("svtav1-p5", "SVT-AV1 preset 5", Family::SvtAv1, "5", 12.0),
    anchor("vvenc-faster", "VVenC faster", Family::Vvenc, "faster", 7.0),
    anchor("vvenc-medium", "VVenC medium", Family::Vvenc, "medium", 1.0),
];

pub fn find(id: &str) -> Option<&'static Anchor> {
    ANCHORS.iter().find(|anchor| anchor.id == id)
}

/// How one encode is made, beside its quality.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// Seconds from one key frame to the next where the anchor has a fixed interval.
    pub gop_seconds: f64,
    pub threads: Option<usize>,
}

/// An interval of key frames in frames.
pub fn gop_frames(clip: &RawClip, seconds: f64) -> u64 {
    (clip.rate() * seconds).round().max(1.0) as u64
}

impl Anchor {
    /// The encoder's name in ffmpeg.
    pub fn encoder(&self) -> &'static str {
        match self.family {
            Family::X264 => "libx264",
            Family::X265 => "libx265",
            Family::SvtAv1 => "libsvtav1",
            Family::Vvenc => "libvvenc",
        }
    }

    /// What the encoder calls its quality; a smaller number is better in all of them.
    pub fn parameter(&self) -> &'static str {
        match self.family {
            Family::Vvenc => "qp",
            _ => "crf",
        }
    }

    /// Whether only whole numbers are taken.
    pub fn whole(&self) -> bool {
        matches!(self.family, Family::SvtAv1 | Family::Vvenc)
    }

    /// The best and the worst quality of a usual curve.
    pub fn ladder(&self) -> (f64, f64) {
        match self.family {
            Family::X264 | Family::X265 => (18.0, 42.0),
            Family::SvtAv1 => (20.0, 60.0),
            Family::Vvenc => (19.0, 43.0),
        }
    }

    /// The best and the worst quality that the encoder has (that are of use: CRF 0 may be lossless).
    pub fn limits(&self) -> (f64, f64) {
        match self.family {
            Family::X264 | Family::X265 => (1.0, 51.0),
            Family::SvtAv1 => (2.0, 63.0),
            Family::Vvenc => (4.0, 60.0),
        }
    }

    /// About how much the logarithm of the rate, and the PSNR, fall when the parameter grows by one.
    pub fn slopes(&self) -> (f64, f64) {
        match self.family {
            Family::SvtAv1 => (-0.07, -0.3),
            _ => (-0.12, -0.5),
        }
    }

    /// Whether no frame waits for a later one.
    pub fn is_low_delay(&self) -> bool {
        self.low_delay
    }

    /// ffmpeg's name of the raw stream, also the extension of its files.
    pub fn format(&self) -> &'static str {
        match self.family {
            Family::X264 => "h264",
            Family::X265 => "hevc",
            Family::SvtAv1 => "obu",
            Family::Vvenc => "vvc",
        }
    }

    /// The output options, with `N` where the quality goes.
    pub fn options(&self, clip: &RawClip, conditions: Conditions) -> String {
        self.arguments(clip, conditions, "N").join(" ")
    }

    fn arguments(&self, clip: &RawClip, conditions: Conditions, value: &str) -> Vec<String> {
        let gop = gop_frames(clip, conditions.gop_seconds);
        let mut args = words(&format!("-c:v {} -preset {}", self.encoder(), self.preset));
        if let Some(tune) = self.tune {
            args.extend(["-tune".into(), tune.into()]);
        }
        let mut own: Vec<String> = Vec::new();
        match self.family {
            Family::X264 | Family::X265 => {
                own.push(format!("crf={value}"));
                if self.one_second_gop {
                    own.push(format!("keyint={gop}:min-keyint={gop}:scenecut=0"));
                }
                if let Some(threads) = conditions.threads {
                    let key = if self.family == Family::X264 {
                        "threads"
                    } else {
                        "pools"
                    };
                    own.push(format!("{key}={threads}"));
                }
                if self.family == Family::X264 {
                    args.extend(["-x264-params".into(), own.join(":")]);
                    // The version message of some 700 bytes is no part of the picture.
                    args.extend(words("-bsf:v filter_units=remove_types=6"));
                } else {
                    own.push("info=0:log-level=error".into());
                    args.extend(["-x265-params".into(), own.join(":")]);
                }
            }
            Family::SvtAv1 => {
                let gop = if self.one_second_gop { gop } else { 250 };
                own.push(format!("tune=1:keyint={gop}"));
                if self.low_delay {
                    own.push("pred-struct=1".into());
                }
                if let Some(threads) = conditions.threads {
                    own.push(format!("lp={threads}"));
                }
                args.extend(["-crf".into(), value.into()]);
                args.extend(["-svtav1-params".into(), own.join(":")]);
            }
            Family::Vvenc => {
                // Without its perceptual quantiser, as where VVenC is compared by PSNR.
                args.extend(words("-qpa 0 -period 10 -pix_fmt yuv420p10le"));
                args.extend(["-qp".into(), value.into()]);
                if let Some(threads) = conditions.threads {
                    args.extend(["-threads".into(), threads.to_string()]);
                }
            }
        }
        args
    }

    /// Encodes `clip` into the raw stream `target`.
    pub fn encode(
        &self,
        ffmpeg: &Ffmpeg,
        clip: &RawClip,
        conditions: Conditions,
        value: f64,
        target: &Path,
    ) -> Result<Took> {
        let value = if self.whole() {
            format!("{value:.0}")
        } else {
            format!("{value:.3}")
        };
        let mut args = clip.ffmpeg_input();
        args.extend(self.arguments(clip, conditions, &value));
        args.extend(["-f".into(), self.format().into()]);
        args.push(target.display().to_string());
        ffmpeg.timed(&args)
    }

    /// Options with which ffmpeg reads a stream that `encode` made.
    pub fn input(&self, file: &Path) -> Vec<String> {
        vec![
            "-f".into(),
            self.format().into(),
            "-i".into(),
            file.display().to_string(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_options_say_what_the_name_says() {
        let clip = RawClip {
            path: Default::default(),
            width: 64,
            height: 64,
            fps: (30000, 1001),
            frames: 1,
        };
        let conditions = Conditions {
            gop_seconds: 1.0,
            threads: Some(2),
        };
        for (i, anchor) in ANCHORS.iter().enumerate() {
            assert!(ANCHORS[..i].iter().all(|other| other.id != anchor.id));
            let options = anchor.options(&clip, conditions);
            assert_eq!(
                anchor.name.contains("1 s GOP"),
                options.contains("keyint=30"),
                "{options}"
            );
            assert_eq!(
                anchor.name.contains("zerolatency"),
                options.contains("zerolatency")
            );
            assert_eq!(
                anchor.name.contains("tune psnr"),
                options.contains("-tune psnr")
            );
            assert!(options.contains('N') && options.contains('2'), "{options}");
        }
    }
}
