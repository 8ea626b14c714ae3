// SPDX-License-Identifier: Apache-2.0
//! Hints in buffers and in events.

use crate::hint::{Base, Hint};
use crate::{obu, sei};

/// The event that goes with the stream from the parser to the restorer.
pub const EVENT: &str = "aivideo-hybrid-hint";

/// The buffer's bytes with the hint inside. None where no picture was found to put it before.
pub fn insert(base: Base, stream: &[u8], hint: &Hint) -> Option<Vec<u8>> {
    let data = hint.to_bytes();
    match base {
        Base::Av1 => obu::insert(stream, &data),
        Base::H264 => sei::insert(stream, sei::Syntax::H264, &data),
        Base::H265 => sei::insert(stream, sei::Syntax::H265, &data),
        Base::Unknown => None,
    }
}

pub fn find(base: Base, stream: &[u8]) -> Option<Hint> {
    let found = match base {
        Base::Av1 => obu::find(stream),
        Base::H264 => sei::find(stream, sei::Syntax::H264),
        Base::H265 => sei::find(stream, sei::Syntax::H265),
        Base::Unknown => Vec::new(),
    };
    found.iter().find_map(|data| Hint::from_bytes(data))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What people see of a hint, and the height that is coded; -1 stands for unknown.
pub fn structure(hint: &Hint, coded_height: Option<i32>) -> gst::Structure {
    gst::Structure::builder(EVENT)
        .field("model", hex(&hint.model))
        .field("base", hint.base.name())
        .field("quality", hint.quality.unwrap_or(-1.0))
        .field("width", u32::from(hint.width))
        .field("height", u32::from(hint.height))
        .field("coded-height", coded_height.unwrap_or(-1))
        .field("noise", hint.noise.unwrap_or(-1.0))
        .field("low-delay", hint.low_delay.map_or(-1, i32::from))
        .build()
}

pub fn from_structure(structure: &gst::StructureRef) -> Option<(Hint, Option<usize>)> {
    if structure.name() != EVENT {
        return None;
    }
    let model = structure.get::<String>("model").ok()?;
    let mut bytes = [0; 8];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(model.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    let known = |name| {
        structure
            .get::<f64>(name)
            .ok()
            .filter(|value| *value >= 0.0)
    };
    let size = |name| {
        structure
            .get::<u32>(name)
            .ok()
            .and_then(|v| u16::try_from(v).ok())
    };
    let coded = structure.get::<i32>("coded-height").ok();
    let hint = Hint {
        model: bytes,
        base: Base::from_name(structure.get::<&str>("base").ok()?),
        quality: known("quality"),
        width: size("width")?,
        height: size("height")?,
        noise: known("noise"),
        low_delay: match structure.get::<i32>("low-delay") {
            Ok(0) => Some(false),
            Ok(1) => Some(true),
            _ => None,
        },
    };
    Some((hint, coded.and_then(|v| usize::try_from(v).ok())))
}
