// SPDX-License-Identifier: Apache-2.0
//! Where a model comes from, and the checks before ONNX Runtime sees it.

use std::{
    borrow::Cow,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::error::EngineError;

/// A protobuf message cannot be larger. Bigger models keep their weights in external files.
pub const MAX_MODEL_BYTES: u64 = 2 << 30;

/// A model: one compiled into the plugin, or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    Embedded {
        name: &'static str,
        bytes: &'static [u8],
    },
    File(PathBuf),
}

impl ModelSource {
    /// How messages name this model.
    pub fn describe(&self) -> String {
        match self {
            Self::Embedded { name, .. } => format!("embedded model '{name}'"),
            Self::File(path) => format!("model file '{}'", path.display()),
        }
    }

    /// The folder in which ONNX external data is looked for.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Embedded { .. } => None,
            Self::File(path) => Some(match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            }),
        }
    }

    /// The folder of the model's external data, if it has any.
    pub(crate) fn external_folder(&self, bytes: &[u8]) -> Option<PathBuf> {
        // The entry "location" of a tensor's `external_data`, as protobuf writes it. Where it
        // appears by accident, a model is only shared less.
        const LOCATION: &[u8] = b"\x0a\x08location";
        let folder = self.folder()?;
        let external = bytes
            .windows(LOCATION.len())
            .any(|window| window == LOCATION);
        external.then(|| {
            folder
                .canonicalize()
                .unwrap_or_else(|_| folder.to_path_buf())
        })
    }

    /// The bytes of the model. Refuses what cannot be an ONNX model, saying what it is instead.
    pub fn load(&self) -> Result<Cow<'static, [u8]>, EngineError> {
        let bytes = match self {
            Self::Embedded { bytes, .. } => Cow::Borrowed(*bytes),
            Self::File(path) => Cow::Owned(read(path)?),
        };
        match refuse(&bytes) {
            None => Ok(bytes),
            Some(reason) => Err(EngineError::ModelInvalid {
                origin: self.describe(),
                reason: reason.to_string(),
            }),
        }
    }

    /// SHA-256 of the model's bytes (of the ONNX file alone when the weights are external).
    pub fn sha256(&self) -> Result<[u8; 32], EngineError> {
        Ok(sha256(&self.load()?))
    }
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Lower case hexadecimal form of a hash.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

fn read(path: &Path) -> Result<Vec<u8>, EngineError> {
    let unreadable = |reason: String| EngineError::ModelUnreadable {
        path: path.to_path_buf(),
        reason,
    };
    let failed = |err: io::Error| match err.kind() {
        io::ErrorKind::NotFound => EngineError::ModelNotFound {
            path: path.to_path_buf(),
        },
        _ => unreadable(err.to_string()),
    };
    let file = fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(unreadable(
            "it is a directory, not an .onnx file".to_string(),
        ));
    }
    if !metadata.is_file() {
        // A pipe or device may never end.
        return Err(unreadable("it is not a regular file".to_string()));
    }
    let too_large = || {
        unreadable(format!(
            "it is larger than the {} bytes that an ONNX file can have; export it with external data",
            MAX_MODEL_BYTES
        ))
    };
    if metadata.len() > MAX_MODEL_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.take(MAX_MODEL_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_MODEL_BYTES {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Recognises the common wrong files, of which ONNX Runtime would only say that parsing failed.
fn refuse(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return Some("it is empty; download or export it again");
    }
    if bytes.starts_with(b"version https://git-lfs") {
        return Some("it is a Git LFS pointer, not the model; run `git lfs pull`");
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return Some("it is a ZIP archive (a PyTorch checkpoint?); export the model to ONNX");
    }
    if bytes.starts_with(b"\x89HDF") {
        return Some("it is an HDF5 file (Keras?); export the model to ONNX");
    }
    if bytes.get(4..8) == Some(b"TFL3") {
        return Some("it is a TensorFlow Lite model; convert it to ONNX");
    }
    let head = &bytes[..bytes.len().min(256)];
    let text = head.trim_ascii_start();
    if text.starts_with(b"<") || text.starts_with(b"{") {
        return Some("it is a text file (a failed download?); download it again");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_like_the_standard() {
        let source = ModelSource::Embedded {
            name: "abc",
            bytes: b"abc",
        };
        assert_eq!(
            hex(&source.sha256().unwrap()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn missing_file_names_path_and_property() {
        let err = ModelSource::File("/nonexistent/a.onnx".into())
            .load()
            .unwrap_err();
        assert!(matches!(err, EngineError::ModelNotFound { .. }));
        let text = err.to_string();
        assert!(text.contains("/nonexistent/a.onnx") && text.contains("model-location"));
    }

    #[test]
    fn wrong_files_are_named_for_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        for (content, says) in [
            (&b""[..], "empty"),
            (
                b"version https://git-lfs.github.com/spec/v1\n",
                "git lfs pull",
            ),
            (b"PK\x03\x04rest", "ZIP"),
            (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
            (b"<!DOCTYPE html><html>", "text file"),
        ] {
            let path = dir.path().join("model.onnx");
            fs::write(&path, content).unwrap();
            let err = ModelSource::File(path).load().unwrap_err().to_string();
            assert!(err.contains(says), "{err}");
            assert!(err.contains("model.onnx"), "{err}");
        }
    }

    #[test]
    fn directories_and_devices_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let err = ModelSource::File(dir.path().into()).load().unwrap_err();
        assert!(err.to_string().contains("directory"), "{err}");
        let err = ModelSource::File("/dev/zero".into()).load().unwrap_err();
        assert!(err.to_string().contains("regular file"), "{err}");
    }

    #[test]
    fn huge_files_are_refused_without_reading_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge.onnx");
        fs::File::create(&path)
            .unwrap()
            .set_len(MAX_MODEL_BYTES + 1)
            .unwrap();
        let err = ModelSource::File(path).load().unwrap_err();
        assert!(err.to_string().contains("external data"), "{err}");
    }
}
