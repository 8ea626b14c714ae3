// SPDX-License-Identifier: Apache-2.0
//! Every file of kernels compiles with NVRTC, which needs no GPU, to PTX and to machine code, and the
//! entries and the sizes of their structures are those that the launchers have.

use std::collections::HashMap;

use aivideo_cuda::{
    Area, Element, Launch, Memory, classify, codec,
    compile::{Nvrtc, Target},
    convert::{Colour, Depth, Packed, SemiPlanar},
    detect,
    loop_filter::LoopFilter,
    lut,
    motion::{self, Interpolation},
    picture::{self, Frame},
    point::Point,
    restore,
    source::SOURCES,
    upscale,
};

/// Data-centre GPUs (A100, H100) and those of workstations (A6000, L40, RTX 50).
const COMPUTE: [u32; 5] = [80, 86, 89, 90, 120];

/// A launch of every entry over memory that is not there; only the structures matter.
fn launches() -> HashMap<&'static str, usize> {
    let memory = Memory {
        address: 1 << 20,
        bytes: 1 << 40,
    };
    let plane = |at: u64| Area {
        memory: Memory {
            address: at << 20,
            ..memory
        },
        stride: 4096,
    };
    let mut all: Vec<Launch> = Vec::new();
    for element in [Element::F32, Element::F16] {
        for depth in [Depth::Eight, Depth::Ten] {
            let spec = SemiPlanar {
                width: 64,
                height: 64,
                depth,
                colour: Colour::BT709,
                element,
                white: 1.0,
            };
            all.push(spec.to_rgb(plane(1), plane(2), memory).unwrap());
            all.push(spec.from_rgb(memory, plane(1), plane(2)).unwrap());
        }
        let spec = Packed {
            width: 64,
            height: 64,
            order: Packed::RGBA,
            element,
            white: 1.0,
        };
        all.push(spec.to_rgb(plane(1), memory).unwrap());
        all.push(spec.from_rgb(memory, plane(1)).unwrap());
        let axis = classify::Axis::new(vec![0; 8], vec![0.0; 64], 8).unwrap();
        let given = classify::AxisMemory {
            first: memory,
            weights: memory,
        };
        let rows = classify::Rows {
            rows: &axis,
            columns: &axis,
            width: 64,
            height: 64,
            channels: 1,
        };
        all.push(rows.launch(plane(1), given, memory).unwrap());
        let finish = classify::Finish {
            columns: &axis,
            chroma_columns: &axis,
            samples: 64,
            chroma_samples: 64,
            components: classify::Components::Packed { reversed: false },
            mean: [0.0; 3],
            std: [1.0; 3],
            element,
        };
        all.push(finish.launch([memory; 3], given, given, memory).unwrap());
        let spec = codec::Shuffle {
            width: 64,
            height: 64,
            order: codec::Order::Nchw,
            element,
        };
        let chroma = codec::Chroma::Interleaved(plane(2));
        all.push(spec.unshuffle(plane(1), chroma, memory).unwrap());
        all.push(spec.shuffle(memory, plane(1), chroma).unwrap());
        for rounding in [
            codec::Rounding::State,
            codec::Rounding::Hyper,
            codec::Rounding::Symbols,
        ] {
            all.push(rounding.launch(element, 8, memory, memory).unwrap());
        }
    }
    let table = lut::Table {
        size: 17,
        scale: [1; 3],
        offset: [0; 3],
        fraction: 6,
        top: 255,
    };
    all.push(table.packed(memory, (64, 64), [0, 1, 2], plane(1)).unwrap());
    for deep in [false, true] {
        let spec = lut::Yuv {
            width: 64,
            height: 64,
            table,
            deep,
            upper: deep,
            step: 1,
            cosited: false,
        };
        let planes = |at| lut::Planes {
            y: plane(at),
            u: plane(at + 1),
            v: plane(at + 2),
        };
        all.push(spec.launch(memory, &planes(1), &planes(4)).unwrap());
        let spec = Point {
            width: 64,
            height: 64,
            period: 1,
            deep,
            upper: deep,
        };
        all.push(spec.launch(memory, plane(1)).unwrap());
    }
    all.push(codec::scatter(1, memory, 1, memory).unwrap());
    for deep in [false, true] {
        let planes = picture::Planes {
            width: 64,
            rows: 64,
            count: 1,
            deep,
        };
        let spec = Interpolation {
            taps: &[0; 32],
            bits: 2,
            part: 3,
        };
        all.push(spec.predict(planes, memory, memory, memory).unwrap());
        all.push(motion::merge(planes, 4, [memory; 3], memory).unwrap());
        let spec = LoopFilter::new(64, 64, deep).unwrap();
        all.push(spec.bend(memory, memory).unwrap());
        let to = memory.from(1 << 20);
        all.push(spec.filter(1, memory, [memory; 3], to).unwrap());
        let samples = match deep {
            true => restore::Samples::TenUpper,
            false => restore::Samples::Eight,
        };
        let frame = Frame {
            planes: vec![plane(1), plane(2)],
            samples,
            width: 33,
            height: 21,
        };
        all.push(frame.component(2).unwrap().show(planes, memory).unwrap());
    }
    let spec = restore::Component {
        width: 64,
        height: 64,
        samples: restore::Samples::Eight,
        step: 1,
        first: 0,
        plane_width: 64,
        plane_height: 64,
    };
    all.push(spec.read(plane(1), memory).unwrap());
    all.push(spec.change(plane(1), memory, memory, 256).unwrap());
    for bytes in [false, true] {
        let spec = detect::Detect {
            width: 64,
            height: 64,
            out_width: 64,
            out_height: 64,
            inner_width: 64,
            inner_height: 64,
            kr: 0.2126,
            kb: 0.0722,
            full_range: false,
            bgr: false,
            pad: 0.0,
            mean: [0.0; 3],
            std: [1.0; 3],
            bytes,
        };
        let planes = detect::Planes {
            y: plane(1),
            u: plane(2),
            v: plane(3),
            step: 1,
            first: [0, 0],
        };
        all.push(spec.launch(&planes, memory).unwrap());
    }
    let pad = upscale::Pad {
        width: 64,
        height: 64,
        margin: 2,
        out_width: 68,
        out_height: 68,
    };
    all.push(pad.launch(plane(1), memory).unwrap());
    let crop = upscale::Crop {
        in_width: 136,
        in_height: 136,
        margin: 4,
        width: 128,
        height: 128,
    };
    all.push(crop.launch(memory, plane(1)).unwrap());
    let chroma = |side| upscale::Chroma {
        area: plane(1),
        width: side,
        height: side,
        step: 1,
        first: 0,
    };
    let taps = [0; 4];
    all.push(chroma(32).double(&chroma(64), taps, taps).unwrap());
    all.into_iter().map(|l| (l.entry, l.args.len())).collect()
}

/// Entries of a PTX text with the size of their one parameter.
fn entries(ptx: &str) -> HashMap<String, usize> {
    ptx.split(".visible .entry ")
        .skip(1)
        .map(|text| {
            let (name, rest) = text.split_once('(').unwrap();
            let (params, _) = rest.split_once(')').unwrap();
            assert_eq!(params.matches(".param").count(), 1, "{name}: {params}");
            let (_, size) = params.split_once('[').unwrap();
            let (size, _) = size.split_once(']').unwrap();
            (name.trim().to_string(), size.parse().unwrap())
        })
        .collect()
}

#[test]
fn every_kernel_compiles_to_ptx_with_its_entries() {
    let launches = launches();
    let listed = SOURCES.iter().map(|s| s.entries.len()).sum::<usize>();
    assert_eq!(launches.len(), listed, "every entry has a launcher");
    let nvrtc = match Nvrtc::find() {
        Ok(nvrtc) => nvrtc,
        Err(err) => {
            eprintln!("SKIP: kernels are not compiled: {err}");
            return;
        }
    };
    let (major, minor) = nvrtc.version();
    eprintln!("NVRTC {major}.{minor}, {}", nvrtc.path().display());
    for file in SOURCES {
        for compute in COMPUTE {
            // Older compilers do not know the newest GPUs.
            if compute > 90 && major < 13 {
                continue;
            }
            let ptx = nvrtc.compile(file, Target::Ptx(compute)).unwrap();
            let ptx = String::from_utf8(ptx).unwrap();
            assert!(
                ptx.contains(&format!(".target sm_{compute}")),
                "{}",
                file.name
            );
            let found = entries(&ptx);
            assert_eq!(found.len(), file.entries.len(), "{}", file.name);
            for entry in file.entries {
                assert_eq!(found.get(*entry), launches.get(entry), "{entry}: structure");
            }
            // Contracted sums would make results differ from the CPU's.
            assert!(!ptx.contains("fma."), "{}: contracted sums", file.name);
            let cubin = nvrtc.compile(file, Target::Cubin(compute)).unwrap();
            assert!(cubin.starts_with(b"\x7fELF"), "{}", file.name);
        }
        eprintln!("compiled: {}: {}", file.name, file.entries.join(", "));
    }
}
