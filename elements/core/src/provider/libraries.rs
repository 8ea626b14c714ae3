// SPDX-License-Identifier: Apache-2.0
//! The libraries of ONNX Runtime's GPU providers, and those that they need in turn.

#![allow(unsafe_code)] // opening libraries

use std::{
    collections::{HashSet, VecDeque},
    path::{Path, PathBuf},
};

use libloading::Library;
use ort::ep::{self, ExecutionProvider};

use super::elf;
use crate::runtime::Runtime;

/// A library that cannot be loaded, and the loader's reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unloadable {
    pub name: String,
    pub reason: String,
}

/// One of ONNX Runtime's GPU providers on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// "CUDA" or "TensorRT".
    pub name: &'static str,
    /// Whether this ONNX Runtime was built with it. That says nothing of the machine.
    pub built_in: bool,
    /// Its library, beside ONNX Runtime's; `None` when it is not there.
    pub file: Option<PathBuf>,
    /// What it needs and does not get, over all levels.
    pub missing: Vec<Unloadable>,
}

impl Provider {
    /// Whether its libraries are complete; a GPU may still be missing.
    pub fn is_complete(&self) -> bool {
        self.built_in && self.file.is_some() && self.missing.is_empty()
    }
}

/// The GPU providers of this ONNX Runtime.
pub fn providers(runtime: &Runtime) -> Vec<Provider> {
    [
        (
            "CUDA",
            ep::CUDA::is_available(),
            "libonnxruntime_providers_cuda.so",
        ),
        (
            "TensorRT",
            ep::TensorRT::is_available(),
            "libonnxruntime_providers_tensorrt.so",
        ),
    ]
    .into_iter()
    .map(|(name, built_in, library)| {
        let built_in = built_in.unwrap_or(false);
        let file = runtime
            .folder()
            .map(|folder| folder.join(library))
            .filter(|file| built_in && file.exists());
        let missing = file.as_deref().map_or_else(Vec::new, missing);
        Provider {
            name,
            built_in,
            file,
            missing,
        }
    })
    .collect()
}

/// Everything that `file` needs and that cannot be loaded. Libraries of its own folder (ONNX
/// Runtime's) are not loaded but looked into; the others are loaded and stay, because CUDA's do not
/// bear being taken away.
fn missing(file: &Path) -> Vec<Unloadable> {
    let mut missing = Vec::new();
    let mut seen = HashSet::new();
    let mut files = VecDeque::from([file.to_path_buf()]);
    while let Some(file) = files.pop_front() {
        let origin = file.parent().unwrap_or(Path::new("."));
        let dynamic = match elf::dynamic(&file) {
            Ok(dynamic) => dynamic,
            Err(err) => {
                missing.push(Unloadable {
                    name: file.display().to_string(),
                    reason: err.to_string(),
                });
                continue;
            }
        };
        for name in dynamic.needed {
            if !seen.insert(name.clone()) {
                continue;
            }
            let beside = origin.join(&name);
            if beside.exists() && name.starts_with("libonnxruntime") {
                files.push_back(beside);
                continue;
            }
            let in_search = dynamic
                .search
                .iter()
                .map(|folder| {
                    let folder = folder.replace("$ORIGIN", &origin.to_string_lossy());
                    Path::new(&folder).join(&name)
                })
                .find(|path| path.exists());
            let place =
                in_search.map_or_else(|| name.clone(), |p| p.to_string_lossy().into_owned());
            if let Err(reason) = open(&place) {
                missing.push(Unloadable { name, reason });
            }
        }
    }
    missing
}

/// Opens a library for good.
fn open(name: &str) -> Result<(), String> {
    // SAFETY: the libraries asked for are those that ONNX Runtime itself would load.
    match unsafe { Library::new(name) } {
        Ok(library) => {
            std::mem::forget(library);
            Ok(())
        }
        Err(err) => {
            let text =
                std::error::Error::source(&err).map_or_else(|| err.to_string(), |e| e.to_string());
            Err(text.trim_start_matches(&format!("{name}: ")).to_string())
        }
    }
}

/// The file that the system's loader takes for `name`, or its reason for taking none.
pub fn find_library(name: &str) -> Result<PathBuf, String> {
    open(name)?;
    // The loader does not say which file it took, the kernel does.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let path = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])))
        .find(|path| {
            path.file_name()
                .and_then(|file| file.to_str())
                .is_some_and(|file| file.starts_with(name.trim_end_matches(char::is_numeric)))
        });
    Ok(path.map_or_else(|| PathBuf::from(name), Path::to_path_buf))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_program_needs_is_there() {
        assert_eq!(missing(&std::env::current_exe().unwrap()), []);
    }

    #[test]
    fn every_missing_library_is_named() {
        // A program whose needs are renamed: as a provider without CUDA.
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let mut bytes = whole.clone();
        let mut renamed = 0;
        for at in 0..bytes.len() - 9 {
            if bytes[at..at + 9] == *b"libc.so.6" {
                bytes[at..at + 9].copy_from_slice(b"libq.so.9");
                renamed += 1;
            }
        }
        assert!(renamed > 0);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("provider.so");
        std::fs::write(&path, bytes).unwrap();
        let found = missing(&path);
        assert!(
            matches!(&found[..], [only] if only.name == "libq.so.9" && only.reason.contains("No such file")),
            "{found:?}"
        );
        std::fs::write(&path, "no library").unwrap();
        assert_eq!(missing(&path).len(), 1);
    }

    #[test]
    fn libraries_are_found_with_their_path() {
        let path = find_library("libc.so.6").unwrap();
        assert!(path.is_absolute(), "{path:?}");
        let reason = find_library("libnothing.so.7").unwrap_err();
        assert!(reason.contains("No such file"), "{reason}");
    }
}
