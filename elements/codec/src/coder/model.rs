// SPDX-License-Identifier: Apache-2.0
//! Where a model's files are.
//!
//! `model-location` names a folder with `s-encode.onnx`, `s-decode.onnx` and `s-tables.bin` (or, where there is no tier S,
//! the same of tier M or L), or one of the two networks; the others are then found beside it by the ends of their names (`-encode.onnx`,
//! `-decode.onnx`, `-tables.bin`). `-encode10.onnx` and `-decode10.onnx` are the same networks for samples
//! of ten bits; they are only opened where ONNX Runtime is to run them on such.
//!
//! Key frames may have networks and tables of their own: the same names with `key-` before their ends
//! (`s-key-encode.onnx`). Where there are none, the others code key frames too.

use super::{CodecError, embedded};
use crate::entropy::Tables;
use aivideo_core::model::ModelSource;
use sha2::{Digest, Sha256};
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
    /// The model's, and those of its key frames, which need not exist.
    fn from_location(location: &Path) -> [Self; 2] {
        let name = location
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        let stem = ["encode.onnx", "decode.onnx"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .filter(|_| !location.is_dir());
        let there = |tier: &&str| location.join(format!("{tier}-decode.onnx")).exists();
        let tier = ["s", "m", "l"].into_iter().find(there).unwrap_or("s");
        ["", "key-"].map(|kind| {
            let named = |end: &str| match stem {
                Some(stem) => location.with_file_name(format!("{stem}{kind}{end}")),
                None => location.join(format!("{tier}-{kind}{end}")),
            };
            Self {
                encode: [named("encode.onnx"), named("encode10.onnx")],
                decode: [named("decode.onnx"), named("decode10.onnx")],
                tables: named("tables.bin"),
            }
        })
    }

    /// Whether there is any of the networks.
    fn exist(&self) -> bool {
        self.encode[0].exists() || self.decode[0].exists()
    }
}

/// A model: two networks and the tables, and perhaps the same for key frames.
#[derive(Debug, Clone)]
pub struct ModelFiles {
    /// For eight and for ten bits.
    encode: [ModelSource; 2],
    decode: [ModelSource; 2],
    pub tables: Arc<Tables>,
    /// What streams of either depth carry: the first 8 bytes of the SHA-256 of the decode network for
    /// eight bits; where key frames have their own, of the two networks' first 8 bytes,
    /// that one's last.
    pub model_id: [u8; 8],
    /// The same of the tables.
    pub tables_id: [u8; 8],
    key: Option<Arc<ModelFiles>>,
}

impl ModelFiles {
    /// The files at `location`, or those built in.
    pub fn find(location: Option<&Path>) -> Result<Self, CodecError> {
        match location {
            Some(location) => {
                let [own, key] = Names::from_location(location);
                let key = key.exist().then(|| Self::open(key)).transpose()?;
                Ok(Self::open(own)?.with_key(key))
            }
            None => Self::embedded(),
        }
    }

    fn open(names: Names) -> Result<Self, CodecError> {
        let origin = format!("tables file '{}'", names.tables.display());
        let encode = names.encode.map(ModelSource::File);
        let decode = names.decode.map(ModelSource::File);
        // The networks' errors are clearer than that of a missing third file, so they come first.
        decode[0].sha256()?;
        let bytes = std::fs::read(&names.tables).map_err(|error| CodecError::ModelFile {
            origin: origin.clone(),
            error,
        })?;
        Self::assemble(encode, decode, &bytes, origin)
    }

    fn embedded() -> Result<Self, CodecError> {
        let assemble = |files: &embedded::Files| {
            let source = |(name, bytes)| ModelSource::Embedded { name, bytes };
            Self::assemble(
                files.encode.map(source),
                files.decode.map(source),
                files.tables,
                "the embedded tables".to_owned(),
            )
        };
        Ok(assemble(&embedded::INTER)?.with_key(Some(assemble(&embedded::KEY)?)))
    }

    fn assemble(
        encode: [ModelSource; 2],
        decode: [ModelSource; 2],
        tables: &[u8],
        origin: String,
    ) -> Result<Self, CodecError> {
        let tables = Tables::parse(tables).map_err(|error| CodecError::Tables { origin, error })?;
        Ok(Self {
            model_id: first8(&decode[0].sha256()?),
            tables_id: tables.id(),
            encode,
            decode,
            tables: Arc::new(tables),
            key: None,
        })
    }

    fn with_key(mut self, key: Option<Self>) -> Self {
        if let Some(key) = key {
            let both = |own: &[u8], key: &[u8]| {
                first8(&Sha256::new().chain_update(own).chain_update(key).finalize())
            };
            self.model_id = both(&self.model_id, &key.model_id);
            self.tables_id = both(&self.tables_id, &key.tables_id);
            self.key = Some(Arc::new(key));
        }
        self
    }

    /// The files of key frames, where they have their own.
    pub fn key(&self) -> Option<&Self> {
        self.key.as_deref()
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

fn first8(hash: &[u8]) -> [u8; 8] {
    let mut id = [0; 8];
    id.copy_from_slice(&hash[..8]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_location() {
        let folder = tempfile::tempdir().unwrap();
        let [names, key] = Names::from_location(folder.path());
        assert_eq!(names.tables, folder.path().join("s-tables.bin"));
        assert_eq!(key.tables, folder.path().join("s-key-tables.bin"));
        std::fs::write(folder.path().join("m-decode.onnx"), b"").unwrap();
        let [names, key] = Names::from_location(folder.path());
        assert_eq!(names.encode[1], folder.path().join("m-encode10.onnx"));
        assert_eq!(key.tables, folder.path().join("m-key-tables.bin"));
        std::fs::write(folder.path().join("s-decode.onnx"), b"").unwrap();
        let [names, _] = Names::from_location(folder.path());
        assert_eq!(names.tables, folder.path().join("s-tables.bin"));
        for given in ["cam7-encode.onnx", "cam7-decode.onnx"] {
            let [names, key] = Names::from_location(&folder.path().join(given));
            for (names, side) in [(&names.encode, "encode"), (&names.decode, "decode")] {
                assert_eq!(names[0], folder.path().join(format!("cam7-{side}.onnx")));
                assert_eq!(names[1], folder.path().join(format!("cam7-{side}10.onnx")));
            }
            assert_eq!(names.tables, folder.path().join("cam7-tables.bin"));
            assert_eq!(key.decode[0], folder.path().join("cam7-key-decode.onnx"));
        }
    }

    #[test]
    fn key_frames_files_are_all_there_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let write = |files: &embedded::Files, stem: &str| {
            let [(_, encode), (_, decode)] = [files.encode[0], files.decode[0]];
            std::fs::write(folder.path().join(format!("{stem}encode.onnx")), encode).unwrap();
            std::fs::write(folder.path().join(format!("{stem}decode.onnx")), decode).unwrap();
            std::fs::write(
                folder.path().join(format!("{stem}tables.bin")),
                files.tables,
            )
            .unwrap();
        };
        write(&embedded::INTER, "s-");
        let alone = ModelFiles::find(Some(folder.path())).unwrap();
        assert!(alone.key().is_none());
        assert_eq!(alone.tables_id, alone.tables.id());
        write(&embedded::KEY, "s-key-");
        let both = ModelFiles::find(Some(folder.path())).unwrap();
        let embedded = ModelFiles::find(None).unwrap();
        assert!(both.key().is_some());
        assert_ne!(both.model_id, alone.model_id);
        assert_eq!(both.model_id, embedded.model_id);
        assert_eq!(both.tables_id, embedded.tables_id);
        std::fs::remove_file(folder.path().join("s-key-tables.bin")).unwrap();
        let error = ModelFiles::find(Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains("s-key-tables.bin"), "{error}");
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
