// SPDX-License-Identifier: Apache-2.0
//! The places where ONNX Runtime may lie.

#![allow(unsafe_code)] // dladdr has no safe form in the standard library

use std::{
    ffi::{CStr, OsStr, c_void},
    fmt,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Names that the loader resolves by itself (`ld.so.conf`, `LD_LIBRARY_PATH`).
const LOADER_NAMES: [&str; 2] = ["libonnxruntime.so", "libonnxruntime.so.1"];

/// Why a place is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Variable,
    BesidePlugin,
    Loader,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Variable => VARIABLE,
            Self::BesidePlugin => "beside the plugin",
            Self::Loader => "system loader",
        })
    }
}

/// One place to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    pub origin: Origin,
}

impl Place {
    /// Whether the user named this place.
    pub fn is_explicit(&self) -> bool {
        self.origin == Origin::Variable
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.origin)
    }
}

/// Every place, in the order in which it is tried.
pub(super) fn places() -> Vec<Place> {
    places_from(
        std::env::var_os(VARIABLE).as_deref(),
        own_folder().as_deref(),
    )
}

fn places_from(variable: Option<&OsStr>, plugin_folder: Option<&Path>) -> Vec<Place> {
    let mut places = Vec::new();
    if let Some(value) = variable.filter(|value| !value.is_empty()) {
        let path = Path::new(value);
        if path.is_dir() {
            add_folder(&mut places, path, Origin::Variable);
        } else {
            places.push(Place {
                path: path.to_path_buf(),
                origin: Origin::Variable,
            });
        }
    }
    if let Some(folder) = plugin_folder {
        add_folder(&mut places, folder, Origin::BesidePlugin);
        let own = folder.join("onnxruntime");
        if own.is_dir() {
            add_folder(&mut places, &own, Origin::BesidePlugin);
        }
    }
    places.extend(LOADER_NAMES.map(|name| Place {
        path: name.into(),
        origin: Origin::Loader,
    }));
    places
}

/// The library's possible names in `folder`: the plain name first (so that a message names it even
/// where there is none), then versioned ones, newest first.
fn add_folder(places: &mut Vec<Place>, folder: &Path, origin: Origin) {
    places.push(Place {
        path: folder.join("libonnxruntime.so"),
        origin,
    });
    let mut versioned: Vec<(Vec<u32>, PathBuf)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix("libonnxruntime.so.")?;
            let numbers: Result<Vec<u32>, _> = version.split('.').map(str::parse).collect();
            Some((numbers.ok()?, entry.path()))
        })
        .collect();
    versioned.sort();
    places.extend(
        versioned
            .into_iter()
            .rev()
            .map(|(_, path)| Place { path, origin }),
    );
}

/// The folder of the `.so` (or executable) that this code is linked into.
fn own_folder() -> Option<PathBuf> {
    let file = file_of(own_folder as *const c_void)?;
    Some(file.parent()?.to_path_buf())
}

/// The file of the ONNX Runtime that is loaded. Only to be called after a successful load.
pub(super) fn file_of_library() -> Option<PathBuf> {
    let api: *const ort::sys::OrtApi = ort::api();
    file_of(api.cast())
}

/// The absolute path of the loaded file that contains `address`.
fn file_of(address: *const c_void) -> Option<PathBuf> {
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: dladdr only looks the address up, which need not be valid, and fills `info`.
    let found = unsafe { libc::dladdr(address, &mut info) };
    if found == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: on success dli_fname is a NUL-terminated string that lives as long as the file stays
    // loaded; it is copied here.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    // For the main program dladdr gives argv[0], which may be relative.
    std::fs::canonicalize(OsStr::from_bytes(name.to_bytes())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(places: &[Place]) -> Vec<String> {
        places.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn order_is_variable_plugin_loader() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "libonnxruntime.so.1.24.4",
            "libonnxruntime.so.1.31.1",
            "libonnxruntime.so.1.9.0",
            "libonnxruntime_providers_cuda.so",
            "libonnxruntime.so.old",
        ] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let folder = dir.path().display();
        assert_eq!(
            names(&places_from(Some(OsStr::new("/x/y.so")), Some(dir.path()))),
            [
                "/x/y.so (ORT_DYLIB_PATH)".to_string(),
                format!("{folder}/libonnxruntime.so (beside the plugin)"),
                format!("{folder}/libonnxruntime.so.1.31.1 (beside the plugin)"),
                format!("{folder}/libonnxruntime.so.1.24.4 (beside the plugin)"),
                format!("{folder}/libonnxruntime.so.1.9.0 (beside the plugin)"),
                "libonnxruntime.so (system loader)".to_string(),
                "libonnxruntime.so.1 (system loader)".to_string(),
            ]
        );
    }

    #[test]
    fn variable_may_be_a_folder_or_empty() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("libonnxruntime.so.1.30.0"), "").unwrap();
        let places = places_from(Some(dir.path().as_os_str()), None);
        assert!(places[1].path.ends_with("libonnxruntime.so.1.30.0"));
        assert!(places[1].is_explicit());
        assert!(!places_from(Some(OsStr::new("")), None)[0].is_explicit());
    }

    #[test]
    fn own_folder_is_that_of_the_test_program() {
        let program = std::fs::canonicalize(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(own_folder().as_deref(), program.parent());
    }
}
