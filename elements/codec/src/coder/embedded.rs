// SPDX-License-Identifier: Apache-2.0
//! The model that is compiled in, so that an installed plugin works alone.

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../models/codec/",
            $name
        ))
    };
}

pub const ENCODE: &[u8] = file!("s-encode.onnx");
pub const DECODE: &[u8] = file!("s-decode.onnx");
pub const ENCODE10: &[u8] = file!("s-encode10.onnx");
pub const DECODE10: &[u8] = file!("s-decode10.onnx");
pub const TABLES: &[u8] = file!("s-tables.bin");
