// SPDX-License-Identifier: Apache-2.0
//! Every kernel, compiled by the system's C compiler and run on the CPU, against its reference: bit by
//! bit. Undefined behaviour of the C code traps, and memory beyond the buffers is watched.

#[path = "kernels/cases.rs"]
mod cases;
#[path = "kernels/emulator.rs"]
mod emulator;
#[path = "kernels/machine.rs"]
mod machine;

use std::collections::BTreeSet;

use aivideo_cuda::source::SOURCES;

#[test]
fn every_kernel_gives_its_references_bits() {
    let Some(mut emulator) = emulator::Emulator::new() else {
        aivideo_skip::skip!(
            "no C compiler (cc, gcc or clang; Debian package gcc): kernels are not emulated"
        );
        return;
    };
    for (name, case) in cases::ALL {
        case(&mut emulator);
        eprintln!("emulated: {name}: equal");
    }
    let run: BTreeSet<&str> = emulator.ran.iter().copied().collect();
    let all: BTreeSet<&str> = SOURCES.iter().flat_map(|s| s.entries).copied().collect();
    assert_eq!(run, all, "every kernel runs in some case");
}

#[test]
fn halves_are_those_of_the_half_crate() {
    let Some(emulator) = emulator::Emulator::new() else {
        aivideo_skip::skip!("no C compiler");
        return;
    };
    emulator.check_halves();
}
