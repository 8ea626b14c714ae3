// SPDX-License-Identifier: Apache-2.0
//! Finding and loading ONNX Runtime: once a process, fallibly, and again on the next try.
//!
//! The library is opened at run time, so the plugins load (and `gst-inspect-1.0` works) where it
//! is absent; the first element that needs it gets an error that names every place tried.
//!
//! The search order is
//! 1. `ORT_DYLIB_PATH`, a file or a folder;
//! 2. beside the plugin's own `.so`, and in an `onnxruntime` folder there;
//! 3. the names known to the system's loader.
//!
//! There is one environment a process and it is never recreated: ONNX Runtime does not support
//! that. So the first library that loads stays.

mod locate;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use once_cell::sync::OnceCell;
use ort::{environment::Environment, logging::LogLevel};
use thiserror::Error;

pub use locate::{Origin, Place};

/// The lowest version whose C API this build can use (feature `api-24` of `ort`).
pub const MINIMUM_VERSION: &str = "1.24";

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "onnxruntime",
        gst::DebugColorFlags::empty(),
        Some("Messages of ONNX Runtime, and how it was found"),
    )
});

static RUNTIME: OnceCell<Runtime> = OnceCell::new();

/// A place where the library was looked for and why it was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    pub place: Place,
    pub reason: String,
}

/// Why ONNX Runtime is not available.
#[derive(Debug, Clone, Error)]
pub enum RuntimeError {
    #[error("{}", not_found(.0))]
    NotFound(Vec<Tried>),
    #[error("ONNX Runtime was loaded from {} but could not be initialised: {reason}", path.display())]
    Environment { path: PathBuf, reason: String },
}

fn not_found(tried: &[Tried]) -> String {
    let mut text = format!("ONNX Runtime {MINIMUM_VERSION} or newer was not found. Tried:");
    for Tried { place, reason } in tried {
        text.push_str(&format!("\n  {place}: {reason}"));
    }
    text.push_str(&format!(
        "\nCure: run `make bootstrap` and `. ./env.sh` in the gst-aivideo folder; or install it with \
         `pip install 'onnxruntime>={MINIMUM_VERSION}'` (`onnxruntime-gpu` for NVIDIA) and set \
         ORT_DYLIB_PATH to the libonnxruntime.so* in its `capi` folder"
    ));
    text
}

/// The loaded library and its environment.
pub struct Runtime {
    environment: Environment,
    path: PathBuf,
    missed: Vec<Tried>,
}

impl Runtime {
    /// For direct use of `ort`, as in measurements; elements use an engine.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The file that was loaded.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the loaded file, where the provider libraries belong.
    pub fn folder(&self) -> Option<&Path> {
        self.path.parent()
    }

    /// Places that were tried before and had no usable library. A place among them that the user
    /// named is worth a word: another library runs than the one that was asked for.
    pub fn missed(&self) -> &[Tried] {
        &self.missed
    }

    /// Version and build flags, as ONNX Runtime words them.
    pub fn build_info(&self) -> &'static str {
        ort::info()
    }
}

/// The process's ONNX Runtime, loaded at the first call. A failure is not remembered: the next
/// call searches again.
pub fn get() -> Result<&'static Runtime, RuntimeError> {
    RUNTIME.get_or_try_init(|| load(&locate::places()))
}

/// The first usable library of `places` with its environment.
fn load(places: &[Place]) -> Result<Runtime, RuntimeError> {
    let ((builder, place), missed) = open_first(places, |place| {
        ort::init_from(&place.path).map_err(|err| reason(&err))
    })
    .map_err(RuntimeError::NotFound)?;
    // A name given to the loader says nothing about the file; ask where its code lies.
    let path = locate::file_of_library().unwrap_or_else(|| place.path.clone());
    let environment = builder
        .with_name("gst-aivideo")
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(|err| RuntimeError::Environment {
            path: path.clone(),
            reason: err.to_string(),
        })?;
    environment.set_log_level(log_level());
    gst::info!(
        CAT,
        "Loaded ONNX Runtime from {} ({})",
        path.display(),
        place.origin
    );
    Ok(Runtime {
        environment,
        path,
        missed,
    })
}

/// What was opened, where, and the places before it that could not be.
type Opened<'a, T> = ((T, &'a Place), Vec<Tried>);

/// Opens the places in order; gives the first that opens, or all the reasons.
fn open_first<T>(
    places: &[Place],
    mut open: impl FnMut(&Place) -> Result<T, String>,
) -> Result<Opened<'_, T>, Vec<Tried>> {
    let mut tried = Vec::new();
    for place in places {
        match open(place) {
            Ok(opened) => {
                // Whoever set the variable expects that file to be used.
                let missed = tried.iter().find(|t: &&Tried| t.place.is_explicit());
                if let Some(missed) = missed.filter(|_| !place.is_explicit()) {
                    gst::warning!(
                        CAT,
                        "{}: {}; using {place} instead",
                        missed.place,
                        missed.reason
                    );
                }
                return Ok(((opened, place), tried));
            }
            Err(reason) => tried.push(Tried {
                place: place.clone(),
                reason,
            }),
        }
    }
    Err(tried)
}

fn reason(err: &ort::LoadDynamicError) -> String {
    use ort::LoadDynamicError::*;
    match err {
        Dlopen { error, .. } => {
            // dlopen repeats the path, which the caller prints already.
            let text = std::error::Error::source(error)
                .map_or_else(|| error.to_string(), |source| source.to_string());
            match text.split_once(": ") {
                Some((_, rest)) => rest.to_string(),
                None => text,
            }
        }
        MissingApi { .. } => "it is not ONNX Runtime (no symbol OrtGetApiBase)".to_string(),
        BadVersion { version_str, .. } => {
            format!("its version {version_str} is too old, {MINIMUM_VERSION} or newer is needed")
        }
        other => other.to_string(),
    }
}

/// What the debug category asks for. ONNX Runtime formats messages before it offers them, so more
/// is asked of it only when somebody listens.
fn log_level() -> LogLevel {
    let threshold = CAT.threshold();
    if threshold >= gst::DebugLevel::Trace {
        LogLevel::Verbose
    } else if threshold >= gst::DebugLevel::Info {
        LogLevel::Info
    } else {
        LogLevel::Warning
    }
}

fn log(level: LogLevel, category: &str, id: &str, location: &str, message: &str) {
    let level = match level {
        LogLevel::Verbose => gst::DebugLevel::Trace,
        LogLevel::Info => gst::DebugLevel::Info,
        LogLevel::Warning => gst::DebugLevel::Warning,
        LogLevel::Error | LogLevel::Fatal => gst::DebugLevel::Error,
    };
    CAT.log(
        None::<&glib::Object>,
        level,
        glib::gstr!("onnxruntime"),
        glib::gstr!("onnxruntime"),
        0,
        format_args!("{location} [{category}] {id}: {message}"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str, origin: Origin) -> Place {
        Place {
            path: path.into(),
            origin,
        }
    }

    #[test]
    fn failure_lists_every_place_and_the_cure() {
        let places = [
            place("/a/libonnxruntime.so", Origin::Variable),
            place("/b/libonnxruntime.so.1", Origin::BesidePlugin),
            place("libonnxruntime.so", Origin::Loader),
        ];
        let tried = open_first::<()>(&places, |place| Err(format!("no {}", place.path.display())))
            .unwrap_err();
        let text = RuntimeError::NotFound(tried).to_string();
        for says in [
            "/a/libonnxruntime.so (ORT_DYLIB_PATH): no /a/",
            "/b/libonnxruntime.so.1 (beside the plugin): no /b/",
            "libonnxruntime.so (system loader): no lib",
            "make bootstrap",
            "pip install 'onnxruntime>=1.24'",
            "ORT_DYLIB_PATH",
        ] {
            assert!(text.contains(says), "'{says}' is not in:\n{text}");
        }
    }

    #[test]
    fn the_first_that_opens_is_taken() {
        gst::init().unwrap();
        let places = [
            place("/a", Origin::Variable),
            place("/b", Origin::BesidePlugin),
            place("/c", Origin::Loader),
        ];
        let mut opened = Vec::new();
        let ((_, taken), missed) = open_first(&places, |place| {
            opened.push(place.path.clone());
            (place.path != Path::new("/a"))
                .then_some(())
                .ok_or_else(|| "gone".to_string())
        })
        .unwrap();
        assert_eq!(taken, &places[1]);
        assert_eq!(missed.len(), 1);
        assert_eq!(missed[0].place, places[0]);
        assert_eq!(opened, [PathBuf::from("/a"), PathBuf::from("/b")]);
    }

    #[test]
    fn wrong_libraries_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("libonnxruntime.so");
        std::fs::write(&text, "not a library").unwrap();
        let missing = ort::init_from(dir.path().join("gone.so"))
            .map(|_| ())
            .unwrap_err();
        assert!(
            reason(&missing).contains("cannot open shared object file"),
            "{}",
            reason(&missing)
        );
        let garbage = ort::init_from(&text).map(|_| ()).unwrap_err();
        assert!(
            reason(&garbage).contains("file too short") || reason(&garbage).contains("ELF"),
            "{}",
            reason(&garbage)
        );
        let old = ort::LoadDynamicError::BadVersion {
            version_str: "1.23.2".to_string(),
            path: text,
        };
        assert!(
            reason(&old).contains("1.23.2 is too old"),
            "{}",
            reason(&old)
        );
    }
}
