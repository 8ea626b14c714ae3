// SPDX-License-Identifier: Apache-2.0
//! The model that is compiled in, so that an installed plugin works alone.

/// Name and content.
type File = (&'static str, &'static [u8]);

/// Networks for eight and for ten bits, and tables.
pub struct Files {
    pub encode: [File; 2],
    pub decode: [File; 2],
    pub tables: &'static [u8],
}

macro_rules! file {
    ($name:expr) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../models/codec/",
            $name
        ))
    };
}

macro_rules! files {
    ($stem:literal) => {
        Files {
            encode: [
                (
                    concat!("codec/", $stem, "-encode"),
                    file!(concat!($stem, "-encode.onnx")),
                ),
                (
                    concat!("codec/", $stem, "-encode10"),
                    file!(concat!($stem, "-encode10.onnx")),
                ),
            ],
            decode: [
                (
                    concat!("codec/", $stem, "-decode"),
                    file!(concat!($stem, "-decode.onnx")),
                ),
                (
                    concat!("codec/", $stem, "-decode10"),
                    file!(concat!($stem, "-decode10.onnx")),
                ),
            ],
            tables: file!(concat!($stem, "-tables.bin")),
        }
    };
}

pub const INTER: Files = files!("s");
pub const KEY: Files = files!("s-key");
