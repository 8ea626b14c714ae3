// SPDX-License-Identifier: Apache-2.0
//! The encoders of the system and how they are told what we want.

use std::sync::LazyLock;

use gst::glib;
use gst::prelude::*;

use super::{Base, Latency, svtav1};
use crate::hint;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "aihybridenc-base",
        gst::DebugColorFlags::empty(),
        Some("Encoders of the hybrid profile"),
    )
});

/// What every encoder is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Goals {
    pub latency: Latency,
    /// In kbit/s; 0 for constant quality.
    pub bitrate: u32,
    /// 0 to 100, the best.
    pub quality: f64,
    /// Frames between key frames at most.
    pub key_int_max: u32,
}

impl Goals {
    /// The constant quantiser over the largest there is.
    pub fn worst(&self) -> f64 {
        1.0 - self.quality / 100.0
    }

    pub fn crf(&self, base: hint::Base) -> f64 {
        (self.worst() * base.worst_quantizer()).round()
    }
}

pub struct Encoder {
    pub factory: &'static str,
    pub base: hint::Base,
    configure: fn(&gst::Element, &Goals),
    /// The length of a side that it can code, for one that is to be.
    pub fit: fn(u32) -> u32,
}

/// In the order in which `auto` tries them.
pub const ENCODERS: [Encoder; 6] = [
    Encoder {
        factory: "svtav1enc",
        base: hint::Base::Av1,
        configure: svtav1::configure,
        fit: svtav1::fit,
    },
    Encoder {
        factory: "nvav1enc",
        base: hint::Base::Av1,
        configure: nvidia,
        fit: any,
    },
    Encoder {
        factory: "av1enc",
        base: hint::Base::Av1,
        configure: libaom,
        fit: any,
    },
    Encoder {
        factory: "x265enc",
        base: hint::Base::H265,
        configure: x265,
        fit: any,
    },
    Encoder {
        factory: "nvh265enc",
        base: hint::Base::H265,
        configure: nvidia,
        fit: any,
    },
    Encoder {
        factory: "x264enc",
        base: hint::Base::H264,
        configure: x264,
        fit: any,
    },
];

impl Encoder {
    pub fn configure(&self, element: &gst::Element, goals: &Goals) {
        (self.configure)(element, goals);
    }

    /// What the encoder gives, so that hints can be put into it.
    pub fn stream_caps(&self) -> gst::Caps {
        match self.base {
            hint::Base::Av1 => gst::Caps::builder("video/x-av1")
                .field("stream-format", "obu-stream")
                .field("alignment", "tu")
                .build(),
            hint::Base::H265 => byte_stream("video/x-h265"),
            _ => byte_stream("video/x-h264"),
        }
    }

    pub fn parser(&self) -> &'static str {
        match self.base {
            hint::Base::Av1 => "av1parse",
            hint::Base::H265 => "h265parse",
            _ => "h264parse",
        }
    }
}

fn any(side: u32) -> u32 {
    side
}

fn byte_stream(name: &str) -> gst::Caps {
    gst::Caps::builder(name)
        .field("stream-format", "byte-stream")
        .field("alignment", "au")
        .build()
}

/// The encoders that a choice allows, in order.
///
/// `av1enc` has no property for a level of constant quality, only one quantiser for every frame, and
/// took more bits than x265 so (docs/hybrid.md): it is the last choice there.
pub fn candidates(base: Base, constant_quality: bool) -> Vec<&'static Encoder> {
    let wanted = match base {
        Base::Auto => None,
        Base::Av1 => Some(hint::Base::Av1),
        Base::H265 => Some(hint::Base::H265),
        Base::H264 => Some(hint::Base::H264),
    };
    let mut known: Vec<_> = ENCODERS
        .iter()
        .filter(|encoder| wanted.is_none_or(|base| encoder.base == base))
        .collect();
    known.sort_by_key(|encoder| constant_quality && encoder.factory == "av1enc");
    known
}

/// Sets what this version of the encoder has; names and values differ between versions, and
/// `set_property_from_str` panics at those that it does not have.
pub fn set(element: &gst::Element, name: &str, value: &str) {
    let known = element
        .find_property(name)
        .is_some_and(|spec| glib::Value::deserialize(value, spec.value_type()).is_ok());
    if known {
        element.set_property_from_str(name, value);
    } else {
        gst::debug!(CAT, obj = element, "takes no {name}={value}");
    }
}

fn threads() -> String {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    count.to_string()
}

fn libaom(element: &gst::Element, goals: &Goals) {
    let (usage, speed, ahead) = match goals.latency {
        Latency::LowDelay => ("realtime", "7", "0"),
        Latency::Balanced => ("good-quality", "6", "19"),
        Latency::File => ("good-quality", "4", "35"),
    };
    set(element, "usage-profile", usage);
    set(element, "cpu-used", speed);
    set(element, "lag-in-frames", ahead);
    set(element, "threads", &threads());
    set(element, "keyframe-max-dist", &goals.key_int_max.to_string());
    if goals.bitrate > 0 {
        set(element, "target-bitrate", &goals.bitrate.to_string());
        let low_delay = goals.latency == Latency::LowDelay;
        set(element, "end-usage", if low_delay { "cbr" } else { "vbr" });
        if low_delay {
            for (name, ms) in [
                ("buf-sz", "1000"),
                ("buf-initial-sz", "600"),
                ("buf-optimal-sz", "600"),
            ] {
                set(element, name, ms);
            }
        }
    } else {
        // The element has no name for the level of constant quality; the range of quantisers is one.
        let crf = goals.crf(hint::Base::Av1);
        set(element, "end-usage", "q");
        set(element, "min-quantizer", &crf.to_string());
        set(element, "max-quantizer", &crf.to_string());
    }
}

fn x265(element: &gst::Element, goals: &Goals) {
    let (preset, more) = match goals.latency {
        Latency::LowDelay => {
            set(element, "tune", "zerolatency");
            ("fast", "")
        }
        Latency::Balanced => ("fast", ":rc-lookahead=15:bframes=3"),
        Latency::File => ("slow", ""),
    };
    set(element, "speed-preset", preset);
    set(element, "key-int-max", &goals.key_int_max.to_string());
    // Its own SEI, a list of all its settings, is larger than many a small frame.
    let mut options = String::from("log-level=error:info=0");
    if goals.bitrate > 0 {
        set(element, "bitrate", &goals.bitrate.to_string());
    } else {
        options.push_str(&format!(":crf={}", goals.crf(hint::Base::H265)));
    }
    options.push_str(more);
    set(element, "option-string", &options);
}

fn x264(element: &gst::Element, goals: &Goals) {
    let preset = match goals.latency {
        Latency::LowDelay => {
            set(element, "tune", "zerolatency");
            "veryfast"
        }
        Latency::Balanced => {
            set(element, "rc-lookahead", "15");
            "fast"
        }
        Latency::File => "slow",
    };
    set(element, "speed-preset", preset);
    set(element, "key-int-max", &goals.key_int_max.to_string());
    if goals.bitrate > 0 {
        set(element, "bitrate", &goals.bitrate.to_string());
    } else {
        set(element, "pass", "qual");
        set(
            element,
            "quantizer",
            &goals.crf(hint::Base::H264).min(50.0).to_string(),
        );
    }
}

/// Both NVIDIA encoders. Their names of presets differ between versions: unknown ones are left out.
fn nvidia(element: &gst::Element, goals: &Goals) {
    let low_delay = goals.latency == Latency::LowDelay;
    set(element, "preset", if low_delay { "p4" } else { "p6" });
    set(
        element,
        "tune",
        if low_delay {
            "ultra-low-latency"
        } else {
            "high-quality"
        },
    );
    set(
        element,
        "zerolatency",
        if low_delay { "true" } else { "false" },
    );
    set(element, "gop-size", &goals.key_int_max.to_string());
    if goals.bitrate > 0 {
        set(element, "bitrate", &goals.bitrate.to_string());
        set(element, "rc-mode", if low_delay { "cbr" } else { "vbr" });
    } else {
        // 0 to 51 for both standards.
        let level = (goals.worst() * 51.0).round().to_string();
        set(element, "rc-mode", "constqp");
        for name in [
            "qp-const",
            "qp-const-i",
            "qp-const-p",
            "qp-const-b",
            "const-quality",
        ] {
            set(element, name, &level);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_keep_the_order() {
        let names = |base| -> Vec<&str> {
            let known = candidates(base, false);
            known.iter().map(|e| e.factory).collect()
        };
        assert_eq!(names(Base::Auto)[2], "av1enc");
        let last = candidates(Base::Auto, true).last().map(|e| e.factory);
        assert_eq!(last, Some("av1enc"));
        assert_eq!(names(Base::Auto).len(), ENCODERS.len());
        assert_eq!(names(Base::Av1), ["svtav1enc", "nvav1enc", "av1enc"]);
        assert_eq!(names(Base::H265), ["x265enc", "nvh265enc"]);
        assert_eq!(names(Base::H264), ["x264enc"]);
    }

    #[test]
    fn quality_becomes_the_quantiser_of_each_standard() {
        let goals = Goals {
            latency: Latency::File,
            bitrate: 0,
            quality: 45.0,
            key_int_max: 250,
        };
        assert_eq!(goals.crf(hint::Base::Av1), 35.0);
        assert_eq!(goals.crf(hint::Base::H265), 28.0);
    }
}
