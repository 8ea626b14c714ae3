// SPDX-License-Identifier: Apache-2.0
//! NVIDIA's run-time compiler (NVRTC), opened at run time. It needs no GPU.
//!
//! `libloading` rather than `cudarc`, which panics where the library is missing and looks only where
//! the system's loader does; the library of the PyPI wheel lies elsewhere.

#![allow(unsafe_code)] // NVRTC is a C library

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    path::{Path, PathBuf},
    ptr,
};

use libloading::Library;

use crate::source::Source;

/// The file to take, before all others.
pub const VARIABLE: &str = "AIVIDEO_NVRTC";
const NAMES: [&str; 3] = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];

type Program = *mut c_void;
type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;
type ErrorString = unsafe extern "C" fn(c_int) -> *const c_char;
type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
type GetSize = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type GetText = unsafe extern "C" fn(Program, *mut c_char) -> c_int;

/// Why a kernel is not compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    #[error(
        "NVRTC was not found. Tried:{}\nCure: `make bootstrap`, or `pip install nvidia-cuda-nvrtc` and \
         AIVIDEO_NVRTC set to its libnvrtc.so.13",
        tried(.0)
    )]
    NotFound(Vec<(PathBuf, String)>),
    #[error("{} is not a usable NVRTC: {reason}", path.display())]
    Unusable { path: PathBuf, reason: String },
    #[error("{file}.cu does not compile for {target}: {reason}\n{log}")]
    Program {
        file: &'static str,
        target: String,
        reason: String,
        log: String,
    },
}

fn tried(places: &[(PathBuf, String)]) -> String {
    places
        .iter()
        .map(|(path, reason)| format!("\n  {}: {reason}", path.display()))
        .collect()
}

/// What to compile for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// PTX, for GPUs of this compute capability (9.0 is 90) and later ones.
    Ptx(u32),
    /// Machine code of one compute capability. It also runs on drivers older than the compiler, which
    /// refuse its PTX.
    Cubin(u32),
}

impl Target {
    fn option(self) -> String {
        match self {
            Self::Ptx(compute) => format!("--gpu-architecture=compute_{compute}"),
            Self::Cubin(compute) => format!("--gpu-architecture=sm_{compute}"),
        }
    }
}

/// The compiler.
#[derive(Debug)]
pub struct Nvrtc {
    path: PathBuf,
    version: (u32, u32),
    error_string: ErrorString,
    create: Create,
    destroy: Destroy,
    compile: Compile,
    log: (GetSize, GetText),
    ptx: (GetSize, GetText),
    cubin: (GetSize, GetText),
    /// Keeps the functions above where they are.
    _library: Library,
}

impl Nvrtc {
    /// Opens the library that `AIVIDEO_NVRTC` names, or the one that the system's loader finds.
    pub fn find() -> Result<Self, CompileError> {
        let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
        let mut places = Vec::new();
        for path in variable
            .iter()
            .map(PathBuf::from)
            .chain(NAMES.map(PathBuf::from))
        {
            match Self::open(&path) {
                Err(CompileError::NotFound(mut tried)) => places.append(&mut tried),
                other => return other,
            }
        }
        Err(CompileError::NotFound(places))
    }

    /// Opens a library.
    pub fn open(path: &Path) -> Result<Self, CompileError> {
        // SAFETY: opening NVRTC runs its initialisers, which it is made for.
        let library = unsafe { Library::new(path) }.map_err(|err| {
            let reason = std::error::Error::source(&err)
                .map_or_else(|| err.to_string(), |source| source.to_string());
            CompileError::NotFound(vec![(path.to_path_buf(), reason)])
        })?;
        let unusable = |reason: String| CompileError::Unusable {
            path: path.to_path_buf(),
            reason,
        };
        macro_rules! symbol {
            ($ty:ty, $name:literal) => {
                // SAFETY: NVRTC's C API has had these functions with these signatures since CUDA 11.
                *unsafe { library.get::<$ty>(concat!($name, "\0").as_bytes()) }
                    .map_err(|err| unusable(err.to_string()))?
            };
        }
        let (mut major, mut minor) = (0, 0);
        let version: Version = symbol!(Version, "nvrtcVersion");
        // SAFETY: both numbers may be written.
        if unsafe { version(&mut major, &mut minor) } != 0 {
            return Err(unusable("nvrtcVersion fails".to_string()));
        }
        let number = |value: c_int| u32::try_from(value).unwrap_or(0);
        Ok(Self {
            path: path.to_path_buf(),
            version: (number(major), number(minor)),
            error_string: symbol!(ErrorString, "nvrtcGetErrorString"),
            create: symbol!(Create, "nvrtcCreateProgram"),
            destroy: symbol!(Destroy, "nvrtcDestroyProgram"),
            compile: symbol!(Compile, "nvrtcCompileProgram"),
            log: (
                symbol!(GetSize, "nvrtcGetProgramLogSize"),
                symbol!(GetText, "nvrtcGetProgramLog"),
            ),
            ptx: (
                symbol!(GetSize, "nvrtcGetPTXSize"),
                symbol!(GetText, "nvrtcGetPTX"),
            ),
            cubin: (
                symbol!(GetSize, "nvrtcGetCUBINSize"),
                symbol!(GetText, "nvrtcGetCUBIN"),
            ),
            _library: library,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// 13.0 is (13, 0).
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// Compiles a file. PTX is text that ends with a NUL.
    pub fn compile(&self, source: &Source, target: Target) -> Result<Vec<u8>, CompileError> {
        self.compile_text(source.name, &source.text(), target)
    }

    fn compile_text(
        &self,
        file: &'static str,
        text: &str,
        target: Target,
    ) -> Result<Vec<u8>, CompileError> {
        let refuse = |reason: String, log: String| CompileError::Program {
            file,
            target: target.option(),
            reason,
            log,
        };
        let c_text = |text: String| {
            CString::new(text).map_err(|_| refuse("a NUL in the text".to_string(), String::new()))
        };
        let (text, name) = (c_text(text.to_string())?, c_text(format!("{file}.cu"))?);
        let options = [
            target.option(),
            // Equal results on every machine are worth more than contracted sums: see common.h.
            "--fmad=false".to_string(),
            "--std=c++17".to_string(),
        ]
        .into_iter()
        .map(c_text)
        .collect::<Result<Vec<_>, _>>()?;
        let options: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
        let mut program: Program = ptr::null_mut();
        // SAFETY: both texts end with NUL and live through the call, which copies them; there are no
        // headers.
        let code = unsafe {
            (self.create)(
                &mut program,
                text.as_ptr(),
                name.as_ptr(),
                0,
                ptr::null(),
                ptr::null(),
            )
        };
        if code != 0 {
            return Err(refuse(self.reason(code), String::new()));
        }
        // SAFETY: the program was made above; the options live through the call.
        let code = unsafe { (self.compile)(program, options.len() as c_int, options.as_ptr()) };
        let result = if code != 0 {
            let log = self.get(program, self.log).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            Err(refuse(
                self.reason(code),
                log.trim_end_matches(['\0', '\n']).to_string(),
            ))
        } else {
            let output = match target {
                Target::Ptx(_) => self.ptx,
                Target::Cubin(_) => self.cubin,
            };
            self.get(program, output)
                .map_err(|code| refuse(self.reason(code), String::new()))
        };
        // SAFETY: the program was made above and is not used afterwards.
        unsafe { (self.destroy)(&mut program) };
        result
    }

    fn get(&self, program: Program, (size, text): (GetSize, GetText)) -> Result<Vec<u8>, c_int> {
        let mut len = 0;
        // SAFETY: the program is alive and `len` may be written.
        let code = unsafe { size(program, &mut len) };
        if code != 0 {
            return Err(code);
        }
        let mut bytes = vec![0u8; len];
        // SAFETY: as many bytes as the function before said may be written.
        let code = unsafe { text(program, bytes.as_mut_ptr().cast()) };
        if code != 0 {
            return Err(code);
        }
        Ok(bytes)
    }

    fn reason(&self, code: c_int) -> String {
        // SAFETY: the function gives a static text for any number.
        let text = unsafe { (self.error_string)(code) };
        if text.is_null() {
            return format!("error {code}");
        }
        // SAFETY: not null, so a text that ends with NUL and lives as long as the library.
        unsafe { CStr::from_ptr(text) }
            .to_string_lossy()
            .into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_the_cure() {
        let err = Nvrtc::open(Path::new("/nonsense/libnvrtc.so.13")).unwrap_err();
        let text = err.to_string();
        for says in [
            "/nonsense/libnvrtc.so.13: ",
            "No such file",
            "pip install nvidia-cuda-nvrtc",
        ] {
            assert!(text.contains(says), "'{says}' is not in {text}");
        }
        let err = Nvrtc::open(Path::new("libc.so.6")).unwrap_err();
        assert!(matches!(err, CompileError::Unusable { .. }), "{err}");
    }

    #[test]
    fn errors_of_a_program_have_its_log() {
        let Ok(nvrtc) = Nvrtc::find() else {
            aivideo_skip::skip!("NVRTC is not here; `make bootstrap` fetches it");
            return;
        };
        let err = nvrtc
            .compile_text("wrong", "#line 7 \"wrong.cu\"\nnonsense;", Target::Ptx(80))
            .unwrap_err();
        let text = err.to_string();
        assert!(
            text.contains("wrong.cu(7)") && text.contains("compute_80"),
            "{text}"
        );
        assert!(nvrtc.compile_text("nul", "a\0b", Target::Ptx(80)).is_err());
    }
}
