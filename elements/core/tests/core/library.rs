// SPDX-License-Identifier: Apache-2.0
//! A process without ONNX Runtime. The search reads the environment and its success is final, so
//! each case is a child process: this test program again, with one test selected.

use std::{env, path::PathBuf};

use aivideo_core::{engine::EngineError, runtime};

use crate::{
    support::{acquire, assert_says, child, floats, is_child, named, pair},
    testmodel::{self, Dim},
};

const REAL: &str = "AIVIDEO_CORE_TEST_LIBRARY";

/// Runs the test `name` of this program in a child that finds the library at `library`.
fn run_with(name: &str, library: &str, real: Option<PathBuf>) {
    child(name, |command| {
        command
            .env("ORT_DYLIB_PATH", library)
            .env_remove("LD_LIBRARY_PATH");
        if let Some(real) = real {
            command.env(REAL, real);
        }
    });
}

fn engine() -> Result<aivideo_core::engine::Engine, EngineError> {
    acquire(testmodel::add(1.0, Dim::Free("n")), &named("library"))
}

#[test]
fn a_missing_library_is_an_error_and_the_next_try_may_succeed() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("libonnxruntime.so");
    let real = runtime::get().unwrap().path().to_path_buf();
    run_with(
        "library::child_without_library",
        link.to_str().unwrap(),
        Some(real),
    );
}

#[test]
#[ignore = "runs as a child of the test above"]
fn child_without_library() {
    if !is_child() {
        return;
    }
    gst::init().unwrap();
    let link = env::var("ORT_DYLIB_PATH").unwrap();
    let result = engine();
    // Machines with ONNX Runtime in the loader's path use that one.
    if let Ok(engine) = result {
        assert_eq!(floats(engine.run(pair(1.0, 2.0)).unwrap()), [2.0, 3.0]);
        return;
    }
    let Err(err) = result else { return };
    assert!(matches!(err, EngineError::Runtime(_)));
    assert_says(
        &err.to_string(),
        &[
            &link,
            "ORT_DYLIB_PATH",
            "beside the plugin",
            "system loader",
            "No such file",
            "make bootstrap",
            "pip install",
        ],
    );
    // The failure is not remembered.
    std::os::unix::fs::symlink(env::var_os(REAL).unwrap(), &link).unwrap();
    let engine = engine().unwrap();
    assert_eq!(floats(engine.run(pair(1.0, 2.0)).unwrap()), [2.0, 3.0]);
}

#[test]
fn a_library_that_is_none_is_passed_over_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("libonnxruntime.so");
    std::fs::write(&path, "this is not a library").unwrap();
    run_with("library::child_with_garbage", path.to_str().unwrap(), None);
}

#[test]
#[ignore = "runs as a child of the test above"]
fn child_with_garbage() {
    if !is_child() {
        return;
    }
    gst::init().unwrap();
    if let Err(err) = engine() {
        let text = err.to_string();
        assert_says(&text, &[&env::var("ORT_DYLIB_PATH").unwrap()]);
        assert!(
            text.contains("file too short") || text.contains("ELF"),
            "{text}"
        );
    }
}

#[test]
fn the_loaded_library_is_named() {
    let runtime = runtime::get().unwrap();
    assert!(runtime.path().is_absolute() && runtime.path().exists());
    assert!(
        runtime
            .path()
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("libonnxruntime.so"))
    );
    assert!(!runtime.build_info().is_empty());
}
