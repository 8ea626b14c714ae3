// SPDX-License-Identifier: Apache-2.0
//! Stand-ins for a CUDA driver, NVRTC, a GPU build of ONNX Runtime and DeepStream's pool of frames, so that code for frames that stay
//! on the GPU runs in tests without one: the code itself, GStreamer's own libgstcuda and its elements
//! cudaupload and cudadownload notice no difference.
//!
//! They are C, compiled when a test asks for them. What they are strict about stands in the files: work
//! that nobody waits for does not happen, and host code that touches the GPU's memory crashes.
//!
//! A test that wants them is marked `#[ignore]`; another one, not marked, calls [`run_ignored`], which
//! runs the marked ones in a process of their own where the stand-ins are found.
//!
//! What they cannot show is in docs/gpu.md: a GPU's own errors, speeds, and the real provider.

#![allow(unsafe_code)] // counters of C libraries

use std::{
    ffi::{CString, OsStr, c_char, c_int},
    path::{Path, PathBuf},
    process::Command,
};

use libloading::Library;
use ort::sys::OrtApi;

const DRIVER: &str = include_str!("driver.c");
const NVRTC: &str = include_str!("nvrtc.c");
const DECODER: &str = include_str!("nvcuvid.c");
const NVMM_POOL: &str = include_str!("nvdsbufferpool.c");
const ONNX_RUNTIME: &str = include_str!("onnxruntime.c");

/// The system's C compiler.
fn compiler() -> Option<&'static str> {
    ["cc", "gcc", "clang"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok())
}

/// Where functions that the stand-in replaces or calls lie in ONNX Runtime's structure.
fn places() -> Vec<String> {
    macro_rules! places {
        ($($name:ident),+ $(,)?) => {
            vec![$(format!(
                concat!("-DONNX_AT_", stringify!($name), "={}"),
                std::mem::offset_of!(OrtApi, $name)
            )),+]
        };
    }
    let mut all = places!(
        AddRunConfigEntry,
        CreateCUDAProviderOptions,
        CreateMemoryInfo,
        CreateSessionFromArray,
        CreateStatus,
        CreateTensorWithDataAsOrtValue,
        GetAvailableProviders,
        GetTensorMutableData,
        MemoryInfoGetName,
        ReleaseAvailableProviders,
        ReleaseCUDAProviderOptions,
        ReleaseMemoryInfo,
        ReleaseRunOptions,
        ReleaseSession,
        Run,
        SessionOptionsAppendExecutionProvider_CUDA_V2,
        UpdateCUDAProviderOptions,
    );
    all.push(format!("-DONNX_API_BYTES={}", size_of::<OrtApi>()));
    all
}

fn compile(compiler: &str, folder: &Path, name: &str, text: &str, options: &[String]) {
    compile_with(compiler, folder, name, text, options, &[]);
}

/// What pkg-config says of GStreamer, which whoever builds the suite has: options, and libraries.
fn gstreamer() -> (Vec<String>, Vec<String>) {
    let ask = |what| {
        let output = Command::new("pkg-config")
            .args([what, "gstreamer-video-1.0"])
            .output()
            .expect("pkg-config runs");
        assert!(output.status.success(), "GStreamer's headers are missing");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.split_whitespace().map(str::to_owned).collect()
    };
    (ask("--cflags"), ask("--libs"))
}

fn compile_with(
    compiler: &str,
    folder: &Path,
    name: &str,
    text: &str,
    options: &[String],
    libraries: &[String],
) {
    let source = folder.join(format!("{name}.c"));
    std::fs::write(&source, text).expect("a temporary folder takes files");
    let output = Command::new(compiler)
        .args(["-std=gnu11", "-O1", "-g", "-fPIC", "-shared"])
        .args(["-fvisibility=hidden", "-Wall", "-Wextra"])
        .arg(format!("-Wl,-soname,{name}"))
        .args(options)
        .arg(&source)
        .arg("-o")
        .arg(folder.join(name))
        .args(["-ldl", "-pthread"])
        .args(libraries)
        .output()
        .expect("the compiler runs");
    assert!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The ONNX Runtime that tests run with.
fn onnx_runtime() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("ORT_DYLIB_PATH")?);
    path.is_file().then_some(path)
}

/// Runs this test program's ignored tests with the stand-ins, one after the other, and fails with
/// their output if one fails or none runs. Says SKIP where there is no C compiler or ONNX Runtime.
pub fn run_ignored() {
    let Some(compiler) = compiler() else {
        aivideo_skip::skip!("no C compiler (cc, gcc or clang; Debian package gcc)");
        return;
    };
    let Some(real) = onnx_runtime() else {
        aivideo_skip::skip!("ORT_DYLIB_PATH names no ONNX Runtime; `. ./env.sh` sets it");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    let text = |value: &OsStr| format!("\"{}\"", value.to_string_lossy());
    compile(compiler, here, "libcuda.so.1", DRIVER, &[]);
    compile(compiler, here, "libnvcuvid.so.1", DECODER, &[]);
    let options = [
        format!("-DFOLDER={}", text(here.as_os_str())),
        format!("-DCOMPILER=\"{compiler}\""),
    ];
    compile(compiler, here, "libnvrtc.so.13", NVRTC, &options);
    let mut options = places();
    options.push(format!("-DREAL={}", text(real.as_os_str())));
    compile(compiler, here, "libonnxruntime.so", ONNX_RUNTIME, &options);
    let (gst, libraries) = gstreamer();
    compile_with(
        compiler,
        here,
        "libnvdsbufferpool.so",
        NVMM_POOL,
        &gst,
        &libraries,
    );
    // Looked for beside the library; the stand-in has its provider inside.
    std::fs::write(here.join("libonnxruntime_providers_cuda.so"), "").expect("writes");

    let mut search = here.as_os_str().to_os_string();
    if let Some(old) = std::env::var_os("LD_LIBRARY_PATH").filter(|old| !old.is_empty()) {
        search.push(":");
        search.push(old);
    }
    let output = Command::new(std::env::current_exe().expect("the test program's path"))
        .args(["--ignored", "--test-threads=1", "--nocapture"])
        .env("LD_LIBRARY_PATH", search)
        .env("ORT_DYLIB_PATH", here.join("libonnxruntime.so"))
        .env("AIVIDEO_NVRTC", here.join("libnvrtc.so.13"))
        // What GStreamer remembers of its plugins is another matter with a driver.
        .env("GST_REGISTRY", here.join("registry.bin"))
        .output()
        .expect("the test program runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let ran = said
        .lines()
        .filter(|line| line.starts_with("test ") && line.ends_with("ok"))
        .count();
    print!("{said}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success(),
        "with the stand-ins: {}",
        output.status
    );
    assert!(ran > 0, "no ignored test ran");
}

fn count(library: &str, function: &[u8], name: &str) -> u64 {
    type Count = unsafe extern "C" fn(*const c_char) -> u64;
    let text = CString::new(name).expect("no NUL");
    // SAFETY: the stand-in is loaded already, found by its name, and has the function; where another
    // library is found, the function is not.
    let value = unsafe {
        let library = Library::new(library).expect("the stand-in is loaded");
        let function = library.get::<Count>(function);
        function.expect("it is the stand-in")(text.as_ptr())
    };
    assert_ne!(value, u64::MAX, "there is no counter {name}");
    value
}

/// What the driver did: bytes `to-device`, `to-host`, `on-device` and `peer`; `launches`; `waits`;
/// `blocks` of memory that there are, and `allocations` that were made.
pub fn driver(name: &str) -> u64 {
    count("libcuda.so.1", b"fake_cuda_count\0", name)
}

/// Has nobody who waits for a stream or an event get on until it is called with `false`.
pub fn hold(hold: bool) {
    // SAFETY: as in `count`.
    unsafe {
        let library = Library::new("libcuda.so.1").expect("the stand-in is loaded");
        let function = library.get::<unsafe extern "C" fn(c_int)>(b"fake_cuda_hold\0");
        function.expect("it is the stand-in")(hold.into());
    }
}

/// What ONNX Runtime did on its "GPU": `unwaited-runs`, `waited-runs`, `graph-runs`.
pub fn onnx(name: &str) -> u64 {
    count("libonnxruntime.so", b"fake_onnx_count\0", name)
}
