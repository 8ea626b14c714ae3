// SPDX-License-Identifier: Apache-2.0
//! Where a model's files are.
//!
//! `model-location` names a folder with `s-encode.onnx`, `s-decode.onnx` and `s-tables.bin`, or one of
//! the two networks; the others are then found beside it by the ends of their names (`-encode.onnx`,
//! `-decode.onnx`, `-tables.bin`). `-encode10.onnx` and `-decode10.onnx` are the same networks for samples
//! of ten bits; they are only opened where ONNX Runtime is to run them on such.

use super::{CodecError, embedded};
use crate::entropy::Tables;
use aivideo_core::model::ModelSource;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which of the two networks an element runs. The encoder never loads the decode network, but names
/// it in the stream by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Encode,
    Decode,
}

/// Names of a model's files.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Names {
    encode: [PathBuf; 2],
    decode: [PathBuf; 2],
    tables: PathBuf,
}

impl Names {
    fn from_location(location: &Path) -> Self {
        let named = |name: &dyn Fn(&str) -> PathBuf| Self {
            encode: [name("encode.onnx"), name("encode10.onnx")],
            decode: [name("decode.onnx"), name("decode10.onnx")],
            tables: name("tables.bin"),
        };
        let name = location
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if !location.is_dir() {
            for end in ["encode.onnx", "decode.onnx"] {
                if let Some(stem) = name.strip_suffix(end) {
                    return named(&|end| location.with_file_name(format!("{stem}{end}")));
                }
            }
        }
        named(&|end| location.join(format!("s-{end}")))
    }
}

/// A model: two networks and the tables.
#[derive(Debug, Clone)]
pub struct ModelFiles {
    /// For eight and for ten bits.
    encode: [ModelSource; 2],
    decode: [ModelSource; 2],
    pub tables: Arc<Tables>,
    /// First 8 bytes of the SHA-256 of the decode network for eight bits: what streams of either depth
    /// carry.
    pub model_id: [u8; 8],
}

impl ModelFiles {
    /// The files at `location`, or those built in.
    pub fn find(location: Option<&Path>) -> Result<Self, CodecError> {
        match location {
            Some(location) => Self::open(location),
            None => Self::embedded(),
        }
    }

    fn open(location: &Path) -> Result<Self, CodecError> {
        let names = Names::from_location(location);
        let origin = format!("tables file '{}'", names.tables.display());
        let encode = names.encode.map(ModelSource::File);
        let decode = names.decode.map(ModelSource::File);
        // The networks' errors are clearer than that of a missing third file, so they come first.
        let hash = decode[0].sha256()?;
        let bytes = std::fs::read(&names.tables).map_err(|error| CodecError::ModelFile {
            origin: origin.clone(),
            error,
        })?;
        Self::assemble(encode, decode, hash, &bytes, origin)
    }

    fn embedded() -> Result<Self, CodecError> {
        let source = |name, bytes| ModelSource::Embedded { name, bytes };
        let encode = [
            source("codec/s-encode", embedded::ENCODE),
            source("codec/s-encode10", embedded::ENCODE10),
        ];
        let decode = [
            source("codec/s-decode", embedded::DECODE),
            source("codec/s-decode10", embedded::DECODE10),
        ];
        let hash = decode[0].sha256()?;
        Self::assemble(
            encode,
            decode,
            hash,
            embedded::TABLES,
            "the embedded tables".to_owned(),
        )
    }

    fn assemble(
        encode: [ModelSource; 2],
        decode: [ModelSource; 2],
        hash: [u8; 32],
        tables: &[u8],
        origin: String,
    ) -> Result<Self, CodecError> {
        let tables = Tables::parse(tables).map_err(|error| CodecError::Tables { origin, error })?;
        let mut model_id = [0; 8];
        model_id.copy_from_slice(&hash[..8]);
        Ok(Self {
            encode,
            decode,
            tables: Arc::new(tables),
            model_id,
        })
    }

    /// The network for samples of 8 or 10 bits.
    pub fn network(&self, side: Side, bits: u8) -> &ModelSource {
        let networks = match side {
            Side::Encode => &self.encode,
            Side::Decode => &self.decode,
        };
        &networks[usize::from(bits > 8)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_location() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::from_location(folder.path());
        assert_eq!(names.tables, folder.path().join("s-tables.bin"));
        for given in ["cam7-encode.onnx", "cam7-decode.onnx"] {
            let names = Names::from_location(&folder.path().join(given));
            for (names, side) in [(&names.encode, "encode"), (&names.decode, "decode")] {
                assert_eq!(names[0], folder.path().join(format!("cam7-{side}.onnx")));
                assert_eq!(names[1], folder.path().join(format!("cam7-{side}10.onnx")));
            }
            assert_eq!(names.tables, folder.path().join("cam7-tables.bin"));
        }
    }

    #[test]
    fn a_missing_model_is_named() {
        let error = ModelFiles::find(Some(Path::new("/nonexistent/x"))).unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/x/s-decode.onnx"),
            "{error}"
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("s-decode.onnx"), b"\x08\x08").unwrap();
        let error = ModelFiles::find(Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains("s-tables.bin"), "{error}");
    }
}
