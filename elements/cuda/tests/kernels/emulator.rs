// SPDX-License-Identifier: Apache-2.0
//! The kernels in C on the host's memory.

#![allow(unsafe_code)] // calling compiled C

use std::{collections::HashMap, ffi::c_void, process::Command};

use aivideo_cuda::{Launch, Memory, source, source::SOURCES};
use libloading::Library;

use crate::machine::Machine;

/// Bytes around each buffer that no kernel may touch.
const GUARD: usize = 256;
const MARK: u8 = 0xa5;

/// Buffers in words, so that every element type is aligned, and their size in bytes.
struct Held {
    words: Vec<u64>,
    bytes: usize,
}

impl Held {
    fn new(content: &[u8]) -> Self {
        let total = content.len() + 2 * GUARD;
        let mut words = vec![u64::from_ne_bytes([MARK; 8]); total.div_ceil(8)];
        for (i, byte) in content.iter().enumerate() {
            let at = GUARD + i;
            let mut word = words[at / 8].to_ne_bytes();
            word[at % 8] = *byte;
            words[at / 8] = u64::from_ne_bytes(word);
        }
        Self {
            words,
            bytes: content.len(),
        }
    }

    fn memory(&mut self) -> Memory {
        Memory {
            address: self.words.as_mut_ptr() as u64 + GUARD as u64,
            bytes: self.bytes as u64,
        }
    }

    fn byte(&self, at: usize) -> u8 {
        self.words[at / 8].to_ne_bytes()[at % 8]
    }

    /// Nobody wrote around the content.
    fn check(&self) {
        let end = GUARD + self.bytes;
        let mut around = (0..GUARD).chain(end..8 * self.words.len());
        assert!(
            around.all(|at| self.byte(at) == MARK),
            "a kernel wrote beyond its buffer"
        );
    }

    fn content(&self) -> Vec<u8> {
        (GUARD..GUARD + self.bytes)
            .map(|at| self.byte(at))
            .collect()
    }
}

pub struct Emulator {
    libraries: HashMap<&'static str, Library>,
    buffers: HashMap<u64, Held>,
    /// Entries that ran.
    pub ran: Vec<&'static str>,
    _folder: tempfile::TempDir,
}

impl Emulator {
    /// Compiles every file; `None` where there is no compiler.
    pub fn new() -> Option<Self> {
        let compiler = ["cc", "gcc", "clang"]
            .into_iter()
            .find(|name| Command::new(name).arg("--version").output().is_ok())?;
        let folder = tempfile::tempdir().unwrap();
        let mut libraries = HashMap::new();
        for file in SOURCES {
            let mut text = file.text();
            if file.name == "codec_round" {
                // The conversions of common.h by themselves.
                text.push_str("u16 half_of(float v) { return to_half(v); }\n");
                text.push_str("float float_of(u16 v) { return from_half(v); }\n");
            }
            let path = folder.path().join(format!("{}.c", file.name));
            std::fs::write(&path, text).unwrap();
            let library = folder.path().join(format!("{}.so", file.name));
            let output = Command::new(compiler)
                .args(["-std=c99", "-O2", "-fPIC", "-shared", "-ffp-contract=off"])
                .args(["-Wall", "-Wextra", "-Wno-unused-function"])
                .args(["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"])
                .arg(&path)
                .arg("-o")
                .arg(&library)
                .arg("-lm")
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{}: {}",
                file.name,
                String::from_utf8_lossy(&output.stderr)
            );
            // SAFETY: the library was made above and has no initialisers.
            libraries.insert(file.name, unsafe { Library::new(&library) }.unwrap());
        }
        Some(Self {
            libraries,
            buffers: HashMap::new(),
            ran: Vec::new(),
            _folder: folder,
        })
    }

    fn keep(&mut self, mut held: Held) -> Memory {
        let memory = held.memory();
        self.buffers.insert(memory.address, held);
        memory
    }

    /// Every half, and every float near one, between one and the next, and far from any.
    pub fn check_halves(&self) {
        type Half = unsafe extern "C" fn(f32) -> u16;
        type Float = unsafe extern "C" fn(u16) -> f32;
        let library = &self.libraries["codec_round"];
        // SAFETY: both functions are defined above with these signatures.
        let (half_of, float_of) = unsafe {
            (
                library.get::<Half>(b"half_of\0").unwrap(),
                library.get::<Float>(b"float_of\0").unwrap(),
            )
        };
        let check = |v: f32| {
            // SAFETY: a function of a number.
            let got = unsafe { half_of(v) };
            let expected = half::f16::from_f32(v);
            if v.is_nan() {
                assert!(half::f16::from_bits(got).is_nan());
            } else {
                assert_eq!(got, expected.to_bits(), "{v:e}");
            }
        };
        for bits in 0..=u16::MAX {
            let exact = half::f16::from_bits(bits);
            // SAFETY: a function of a number.
            let got = unsafe { float_of(bits) };
            assert!(got.to_bits() == exact.to_f32().to_bits() || (got.is_nan() && exact.is_nan()));
            let here = exact.to_f32().to_bits();
            let next = half::f16::from_bits(bits.wrapping_add(1))
                .to_f32()
                .to_bits();
            for near in -2i32..=2 {
                check(f32::from_bits(here.wrapping_add_signed(near)));
                let middle = here / 2 + next / 2 + (here & next & 1);
                check(f32::from_bits(middle.wrapping_add_signed(near)));
            }
        }
        for i in 0..2_000_000u32 {
            check(f32::from_bits(i.wrapping_mul(2_654_435_761)));
        }
    }
}

impl Machine for Emulator {
    fn upload(&mut self, bytes: &[u8]) -> Memory {
        self.keep(Held::new(bytes))
    }

    fn zeros(&mut self, bytes: usize) -> Memory {
        self.keep(Held::new(&vec![0; bytes]))
    }

    fn run(&mut self, launch: &Launch) {
        type Size = unsafe extern "C" fn() -> u32;
        type Entry = unsafe extern "C" fn(*const c_void, u32, u32);
        let file = source::of(launch.entry).unwrap();
        let library = &self.libraries[file.name];
        let size_name = format!("{}_size\0", launch.entry);
        let entry_name = format!("{}\0", launch.entry);
        // SAFETY: `common.h` defines both functions for every kernel.
        let (size, entry) = unsafe {
            (
                library.get::<Size>(size_name.as_bytes()).unwrap(),
                library.get::<Entry>(entry_name.as_bytes()).unwrap(),
            )
        };
        // SAFETY: a function without arguments.
        let size = unsafe { size() } as usize;
        assert_eq!(
            launch.args.len(),
            size,
            "{}: the structure's size",
            launch.entry
        );
        // A GPU runs whole blocks: positions beyond the grid must be left alone.
        let [x, y] = launch.blocks();
        let [width, height] = [32 * x, 8 * y];
        // SAFETY: the structure has the size that the function copies, and the launcher has checked
        // that what it points to is large enough.
        unsafe { entry(launch.args.as_ptr().cast(), width, height) };
        self.ran.push(launch.entry);
    }

    fn download(&mut self, memory: Memory) -> Vec<u8> {
        for held in self.buffers.values() {
            held.check();
        }
        self.buffers[&memory.address].content()
    }
}
