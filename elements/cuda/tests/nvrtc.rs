// SPDX-License-Identifier: Apache-2.0
//! Every file of kernels compiles with NVRTC, which needs no GPU, to PTX and to machine code, and the
//! entries and the sizes of their structures are those that the launchers have.

use std::collections::HashMap;

use aivideo_cuda::{
    Area, Element, Launch, Memory, blur, clahe, classify, codec,
    compile::{Nvrtc, Target},
    convert::{Colour, Depth, Packed, SemiPlanar},
    denoise, detect,
    errors::BlockErrors,
    image,
    loop_filter::{Filtering, Judge, LoopFilter, Set},
    lut, measure,
    motion::{self, Interpolation},
    picture::{self, Frame, Samples},
    point::Point,
    restore, search,
    source::SOURCES,
    steady, upscale,
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
    let eight = |at: u64| {
        let memory = Memory {
            address: at << 20,
            ..memory
        };
        picture::Picture::planar(memory, (64, 64), Samples::Eight)
    };
    let spec = lut::Yuv {
        table,
        cosited: false,
    };
    all.push(spec.launch(memory, &eight(1), &eight(2)).unwrap());
    for deep in [false, true] {
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
    let gathered = codec::Gathered {
        counts: memory,
        sums: memory,
        list: memory,
    };
    let gather = codec::Gather { length: 64 };
    all.extend(gather.launches(memory, &gathered).unwrap());
    let spec = search::Search::new(64, 64).unwrap();
    all.push(spec.eight(memory, memory).unwrap());
    all.push(spec.half(1, memory, memory).unwrap());
    let level = search::Level {
        number: 3,
        source: memory,
        reference: memory,
        parent: None,
        lambda: 1,
    };
    all.push(spec.coarse(&level, memory).unwrap());
    let given = search::Given {
        source: memory,
        reference: memory,
        prices: memory,
        tile_rows: 4,
        worth: search::Worth {
            per_bit: 1.0,
            lasting: 3.0,
            knee: 50.0,
            skip_at: 60.0,
            divide_from: 10.0,
            division: 5.0,
        },
        taps: &[0; 32],
    };
    let known = |memory| search::Known {
        vectors: memory,
        modes: memory,
        squares: memory,
    };
    let to = known(memory.from(1 << 20));
    use search::Step::{Divide, Refine, RefineParts, Settle, Start};
    let settle = Settle(search::Which::All);
    for step in [Start, settle, Refine, RefineParts, Divide] {
        let launch = spec.step(step, &given, known(memory), memory, to);
        all.push(launch.unwrap());
    }
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
            lean: &[0; 3],
        };
        all.push(spec.predict(planes, memory, memory, memory).unwrap());
        for side in [4, 8, 16] {
            all.push(codec::add(side, [1, 1], [memory; 2], 1, planes, memory).unwrap());
        }
        all.push(motion::merge(planes, 4, [memory; 3], memory).unwrap());
        let spec = LoopFilter::new(64, 64, deep).unwrap();
        all.push(spec.bend(memory, memory).unwrap());
        let to = memory.from(1 << 20);
        let how = Filtering {
            limits: [1, 1],
            bends: memory,
            weights: memory,
            skips: [memory; 2],
            set: Set::Number(1),
        };
        all.push(spec.filter(&how, [memory; 2], [to; 2]).unwrap());
        let samples = match deep {
            true => Samples::TenUpper,
            false => Samples::Eight,
        };
        let frame = Frame {
            planes: vec![plane(1), plane(2)],
            samples,
            width: 33,
            height: 21,
        };
        all.push(frame.component(2).unwrap().show(planes, memory).unwrap());
        all.push(frame.component(2).unwrap().load(planes, memory).unwrap());
        let errors = BlockErrors::new(64, 64, deep).unwrap();
        let pair = [memory; 2];
        all.push(errors.between(pair, pair, memory).unwrap());
        all.push(errors.spread(pair, memory).unwrap());
        let judge = Judge {
            luma: memory,
            source: memory,
            bends: memory,
            weights: memory,
            blocks: memory,
            count: 1,
            errors: memory,
            sums: memory,
            number: memory,
        };
        all.extend(spec.choose(1, &judge).unwrap());
    }
    let spec = restore::Padded {
        component: eight(1).y,
        width: 64,
        height: 64,
    };
    all.push(spec.read(memory).unwrap());
    all.push(spec.change(memory, memory, 256).unwrap());
    for bytes in [false, true] {
        let spec = detect::Detect {
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
        all.push(spec.launch(&eight(1), memory).unwrap());
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
    let (small, large) = (eight(1).u, eight(2).y);
    let taps = [0; 4];
    all.push(upscale::double(&small, &large, taps, taps).unwrap());
    all.extend(enhance(memory, eight(1), eight(2)));
    all.into_iter().map(|l| (l.entry, l.args.len())).collect()
}

/// What the enhancement's operations start.
fn enhance(memory: Memory, from: picture::Picture, to: picture::Picture) -> Vec<Launch> {
    let mut all = vec![from.y.copy(&to.y)];
    let sums = measure::Sums {
        side: 32,
        parts: 4,
        first: 0,
        every: 1,
        count: 4,
    };
    all.push(sums.launch(&from.y, memory));
    let noise = measure::Noise { every: 1, count: 2 };
    all.push(noise.launch(&from.y, memory));
    let deep = picture::Picture::planar(memory, (64, 64), Samples::TenLower);
    all.push(measure::light(&deep, memory));
    let planes = denoise::Planes {
        now: memory,
        now_width: 64,
        before: None,
        after: memory,
        still: Some(memory),
    };
    let mix = denoise::Mix {
        most: 1,
        limit: 2,
        slope: 1,
    };
    all.push(mix.launch(&planes, &to.y));
    let reduce = steady::Reduce {
        by: 2,
        width: 1,
        height: 1,
    };
    all.push(reduce.launch(&from.y, memory));
    let warp = steady::Warp {
        c: 1.0,
        s: 0.0,
        x: 0.0,
        y: 0.0,
        weights: &[[0, 128, 0, 0]; 64],
    };
    all.push(warp.launch(&from.y, &to.y));
    all.push(clahe::count(&from.y, memory));
    let curves = clahe::Curves {
        range: (16, 235),
        clip: 2.5,
        rate: 0.1,
        amount: 1.0,
        fresh: true,
    };
    all.push(curves.follow(&from.y, memory, memory, memory));
    all.push(clahe::apply(&to.y, memory));
    let colour = image::Colour {
        black: 16.0,
        span: 219.0,
        grey: 128.0,
        chroma: 224.0,
        kr: 0.2126,
        kb: 0.0722,
    };
    for bytes in [false, true] {
        let channels = image::Channels {
            count: 3,
            last: false,
            bytes,
            white: 1.0,
        };
        let side = (64, 64);
        all.push(image::cut(&from, &colour, (0, 0), side, channels, memory));
        let paste = image::Paste {
            from: side,
            at: (0, 0),
            size: side,
            to: (0, 0),
            planes: side,
        };
        all.push(paste.launch(channels, memory, memory));
    }
    all.push(image::luma(memory, &to.y));
    all.push(image::colours(memory, &colour, &to));
    all.push(image::enlarge(&from.u, &to.y, memory, memory));
    let axis = blur::Axis {
        factor: 2,
        weights: vec![1.0],
    };
    let spec = blur::Blur {
        x: axis.clone(),
        y: axis,
        invert: false,
    };
    let mask = blur::Mask {
        memory,
        width: 8,
        height: 8,
    };
    let launches = spec.launches(&to.y, &mask, [memory; 3]).unwrap();
    all.extend(launches.map(Ok));
    let input = blur::Input {
        width: 8,
        height: 8,
        last: false,
        black: 16.0,
        range: 219.0,
        chroma: 224.0,
        kr: 0.2126,
        kb: 0.0722,
        mean: [0.0; 3],
        scale: [1.0; 3],
    };
    all.push(input.launch(&from, memory));
    all.into_iter().map(Result::unwrap).collect()
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
            aivideo_skip::skip!("kernels are not compiled: {err}");
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
