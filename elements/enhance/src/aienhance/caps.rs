// SPDX-License-Identifier: Apache-2.0
//! Caps: what a chain makes of sizes, formats and colours.

use glib::prelude::*;
use gst_video::VideoFormat;

use crate::{
    chain::Chain,
    chroma::Siting,
    frame::{Colour, Depth, Format, Gamut, Transfer},
};

/// Largest side of a picture on either pad.
pub const MAX_SIDE: i32 = 16384;

/// Formats of a depth.
pub fn formats(depth: Depth) -> &'static [VideoFormat] {
    match depth {
        Depth::Eight => &[VideoFormat::I420, VideoFormat::Nv12],
        Depth::Ten => &[VideoFormat::I42010le, VideoFormat::P01010le],
    }
}

pub fn depth_of(format: VideoFormat) -> Depth {
    if formats(Depth::Ten).contains(&format) {
        Depth::Ten
    } else {
        Depth::Eight
    }
}

/// What a chain does to caps; kept apart from the chain, which is busy while queries come.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    pub scale: usize,
    /// Depths that it takes, with what comes out.
    pub depths: Vec<(Depth, Depth)>,
    /// Set where the chain changes what code values mean: colorimetry of what comes out.
    pub colorimetry: Option<String>,
    /// Further fields of what comes out, such as light levels.
    pub fields: Vec<(&'static str, String)>,
}

/// Fields that speak of light and colour, which a chain that changes them sets anew.
const COLOUR_FIELDS: [&str; 4] = [
    "colorimetry",
    "mastering-display-info",
    "content-light-level",
    "hdr-format",
];

impl Shape {
    pub fn of(chain: &Chain) -> Self {
        Self {
            scale: chain.scale(),
            depths: chain.depths(),
            colorimetry: chain.changes_colour().map(colorimetry),
            fields: chain.caps_fields(),
        }
    }

    /// Whether pictures keep their size and depth.
    pub fn keeps_form(&self) -> bool {
        self.scale == 1 && self.depths.iter().all(|(from, to)| from == to)
    }

    /// The caps on the other pad: behind the chain with `forward`, else in front of it.
    pub fn other(&self, caps: &gst::Caps, forward: bool) -> gst::Caps {
        let scale = self.scale as i32;
        let mut out = gst::Caps::new_empty();
        let target = out.make_mut();
        for (structure, features) in caps.iter_with_features() {
            let sized = |structure: &gst::StructureRef| {
                let mut structure = structure.to_owned();
                let fits = scale == 1
                    || ["width", "height"].iter().all(|name| {
                        let Ok(value) = structure.value(*name) else {
                            return true; // any size
                        };
                        match scale_side(value, scale, forward) {
                            Some(value) => {
                                structure.set_value(*name, value);
                                true
                            }
                            None => false,
                        }
                    });
                fits.then_some(structure)
            };
            let Some(mut structure) = sized(structure) else {
                continue;
            };
            if let Some(colorimetry) = &self.colorimetry {
                structure.remove_fields(COLOUR_FIELDS);
                if forward {
                    structure.set("colorimetry", colorimetry);
                    for (name, value) in &self.fields {
                        structure.set(*name, value);
                    }
                }
            }
            for &(input, output) in &self.depths {
                let (here, there) = if forward {
                    (input, output)
                } else {
                    (output, input)
                };
                let mine = allowed(&structure, here);
                if mine.is_empty() {
                    continue;
                }
                let mut structure = structure.clone();
                let names: Vec<&str> = if here == there { mine } else { names(there) };
                match names.as_slice() {
                    [one] => structure.set("format", *one),
                    many => structure.set("format", gst::List::new(many)),
                }
                target.append_structure_full(structure, Some(features.to_owned()));
            }
        }
        out
    }
}

fn names(depth: Depth) -> Vec<&'static str> {
    formats(depth).iter().map(|f| f.to_str().as_str()).collect()
}

/// The formats of a depth that a structure allows.
fn allowed(structure: &gst::StructureRef, depth: Depth) -> Vec<&'static str> {
    let Ok(value) = structure.value("format") else {
        return names(depth);
    };
    let fits = |name: &&str| {
        value.get::<&str>().is_ok_and(|v| v == *name)
            || value.get::<gst::List>().is_ok_and(|list| {
                list.iter()
                    .any(|v| v.get::<&str>().is_ok_and(|v| v == *name))
            })
    };
    names(depth).into_iter().filter(fits).collect()
}

/// GStreamer's text for what code values mean.
pub fn colorimetry(colour: Colour) -> String {
    match (colour.transfer, colour.gamut) {
        (Transfer::Pq, _) => "bt2100-pq".into(),
        (Transfer::Hlg, _) => "bt2100-hlg".into(),
        (Transfer::Sdr, Gamut::Bt2020) => "bt2020-10".into(),
        (Transfer::Sdr, Gamut::Bt709) => "bt709".into(),
        (Transfer::Sdr, Gamut::Bt601) => "bt601".into(),
    }
}

/// The form of the pictures that caps describe.
pub fn format_of(info: &gst_video::VideoInfo) -> Format {
    use gst_video::{VideoColorMatrix as Matrix, VideoColorRange, VideoTransferFunction as Curve};
    let colorimetry = info.colorimetry();
    let gamut = match colorimetry.matrix() {
        Matrix::Bt601 | Matrix::Fcc => Gamut::Bt601,
        Matrix::Bt2020 => Gamut::Bt2020,
        Matrix::Bt709 => Gamut::Bt709,
        // What GStreamer itself assumes of pictures without a word on it.
        _ if info.height() < 720 => Gamut::Bt601,
        _ => Gamut::Bt709,
    };
    let transfer = match colorimetry.transfer() {
        Curve::Smpte2084 => Transfer::Pq,
        Curve::AribStdB67 => Transfer::Hlg,
        _ => Transfer::Sdr,
    };
    Format {
        width: info.width() as usize,
        height: info.height() as usize,
        depth: depth_of(info.format()),
        colour: Colour {
            gamut,
            transfer,
            full_range: colorimetry.range() == VideoColorRange::Range0_255,
        },
        siting: siting_of(info),
    }
}

fn siting_of(info: &gst_video::VideoInfo) -> Siting {
    let site = info.chroma_site();
    // Unknown means the default of the codecs in use, which is left.
    if site.is_empty() || site.contains(gst_video::VideoChromaSite::H_COSITED) {
        Siting::Left
    } else {
        Siting::Centre
    }
}

/// Multiplies (`grow`) or divides the sides of `value` by `scale`; `None` when nothing is left.
fn scale_side(value: &glib::SendValue, scale: i32, grow: bool) -> Option<glib::SendValue> {
    if let Ok(side) = value.get::<i32>() {
        let side = match grow {
            true => side.checked_mul(scale).filter(|s| *s <= MAX_SIDE)?,
            false if side % scale == 0 => side / scale,
            false => return None,
        };
        return (side > 0).then(|| side.to_send_value());
    }
    if let Ok(range) = value.get::<gst::IntRange<i32>>() {
        let (low, high) = if grow {
            (
                range.min().saturating_mul(scale),
                range.max().saturating_mul(scale).min(MAX_SIDE),
            )
        } else {
            // Rounded inwards; the sides in between are multiples again on the other pad.
            (
                range.min() / scale + i32::from(range.min() % scale > 0),
                range.max() / scale,
            )
        };
        let low = low.max(1);
        return match low.cmp(&high) {
            std::cmp::Ordering::Less => {
                // A step would say it exactly when growing, but bases rarely fixate steps well:
                // the plain range is a superset, and fixed caps are exact.
                Some(gst::IntRange::new(low, high).to_send_value())
            }
            std::cmp::Ordering::Equal => Some(low.to_send_value()),
            std::cmp::Ordering::Greater => None,
        };
    }
    if let Ok(list) = value.get::<gst::List>() {
        let sides: Vec<_> = list
            .iter()
            .filter_map(|v| scale_side(v, scale, grow))
            .collect();
        return (!sides.is_empty()).then(|| gst::List::new(sides).to_send_value());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    fn scaled(caps: &str, scale: i32, grow: bool) -> String {
        gst::init().expect("GStreamer");
        let caps = gst::Caps::from_str(caps).expect("caps");
        let shape = Shape {
            scale: scale as usize,
            depths: vec![(Depth::Eight, Depth::Eight)],
            colorimetry: None,
            fields: Vec::new(),
        };
        shape.other(&caps, grow).to_string()
    }

    #[test]
    fn sides_scale_and_the_rest_stays() {
        let out = scaled(
            "video/x-raw, width=(int)640, height=(int)[ 1, 100 ], pixel-aspect-ratio=(fraction)4/3, framerate=(fraction)30/1",
            2,
            true,
        );
        assert!(out.contains("width=(int)1280"), "{out}");
        assert!(out.contains("height=(int)[ 2, 200 ]"), "{out}");
        assert!(out.contains("pixel-aspect-ratio=(fraction)4/3"), "{out}");
        assert!(out.contains("framerate=(fraction)30/1"), "{out}");
    }

    #[test]
    fn only_multiples_come_back() {
        let out = scaled(
            "video/x-raw, width=(int){ 640, 641, 644 }, height=(int)[ 3, 8 ]",
            4,
            false,
        );
        assert!(out.contains("width=(int){ 160, 161 }"), "{out}");
        assert!(out.contains("height=(int)[ 1, 2 ]"), "{out}");
        assert_eq!(
            scaled("video/x-raw, width=(int)641, height=(int)10", 2, false),
            "EMPTY"
        );
        assert_eq!(
            scaled("video/x-raw, width=(int)[ 5, 7 ], height=(int)8", 4, false),
            "EMPTY"
        );
    }

    #[test]
    fn what_would_be_too_large_is_dropped() {
        let too_wide = format!("video/x-raw, width=(int){}, height=(int)10", MAX_SIDE);
        assert_eq!(scaled(&too_wide, 2, true), "EMPTY");
        let out = scaled(
            "video/x-raw, width=(int)[ 1, 2147483647 ], height=(int)1",
            2,
            true,
        );
        assert!(
            out.contains(&format!("width=(int)[ 2, {MAX_SIDE} ]")),
            "{out}"
        );
        // The largest i32 must not overflow on the way back either.
        let out = scaled(
            "video/x-raw, width=(int)[ 1, 2147483647 ], height=(int)2",
            2,
            false,
        );
        assert!(out.contains("1073741823"), "{out}");
    }

    #[test]
    fn depth_and_colour_change_and_come_back() {
        gst::init().expect("GStreamer");
        let shape = Shape {
            scale: 1,
            depths: vec![(Depth::Eight, Depth::Ten)],
            colorimetry: Some("bt2100-pq".into()),
            fields: vec![("content-light-level", "900:200".into())],
        };
        let caps = gst::Caps::from_str("video/x-raw, format=NV12, colorimetry=bt709, width=64")
            .expect("caps");
        let behind = shape.other(&caps, true).to_string();
        for part in ["{ I420_10LE, P010_10LE }", "bt2100-pq", "900:200"] {
            assert!(behind.contains(part), "{behind}");
        }
        let caps = gst::Caps::from_str("video/x-raw, format=P010_10LE, colorimetry=bt2100-pq")
            .expect("caps");
        let front = shape.other(&caps, false).to_string();
        assert!(front.contains("{ I420, NV12 }"), "{front}");
        assert!(!front.contains("bt2100"), "{front}");
        let caps = gst::Caps::from_str("video/x-raw, format=I420").expect("caps");
        assert!(shape.other(&caps, false).is_empty());
    }
}
