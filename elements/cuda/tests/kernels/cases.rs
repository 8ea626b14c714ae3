// SPDX-License-Identifier: Apache-2.0
//! Each kernel on pictures of odd sizes with padded rows, against its reference.

use aivideo_classify::preprocess::{self, Order, Pixels, Plane, Preprocessing, Preprocessor};
use aivideo_codec::coder::fused::kernels as codec_cpu;
use aivideo_codec::loop_filter as codec_filter;
use aivideo_codec::motion::{Field, Sample, Vector, interpolate, overlap};
use aivideo_color::planes::{self, Planes, PlanesMut};
use aivideo_color::table::{ColorTable, tetrahedral};
use aivideo_core::pixels::Yuv420;
use aivideo_cuda::{
    Area, Element, Memory,
    classify::{Axis, AxisMemory, Components, Finish, Rows},
    codec::{self, Chroma, Rounding, Shuffle},
    convert::{Colour, Depth, Matrix, Packed, SemiPlanar, to_bytes},
    detect::Detect,
    loop_filter::{self, LoopFilter},
    lut::{self, Table},
    motion::{self, Interpolation},
    picture::{self, Component, Frame, Picture, Samples},
    point::Point,
    restore::Padded,
    upscale::{self, Crop, Pad},
};
use aivideo_enhance::{
    chroma::{self, Siting},
    detect::prepare::Fit,
    frame::Gamut,
};
use aivideo_fx::effects::posterize;
use aivideo_fx::simd::lut::RowLut;
use aivideo_nets::isa::Isa;

use crate::machine::Machine;

#[path = "blur.rs"]
mod blur;
mod codec_encoder;
#[path = "enhance.rs"]
mod enhance;

type Case = fn(&mut dyn Machine);

pub const ALL: &[(&str, Case)] = &[
    ("semi-planar pictures to planes of colours", to_rgb),
    ("planes of colours to semi-planar pictures", from_rgb),
    ("packed pixels and planes of colours", packed),
    ("the classifier's preprocessing", classify),
    ("the codec's shuffles", codec_shuffles),
    ("the codec's roundings", codec_rounding),
    ("the codec's symbols from a list", codec_scatter),
    ("the codec's prediction", codec_prediction),
    ("the codec's skipped blocks", codec_merge),
    ("the codec's loop filter", codec_loop_filter),
    ("the codec's pictures to frames", codec_show),
    ("the codec's pictures from frames", codec_encoder::load),
    ("the codec's errors of blocks", codec_encoder::errors),
    ("the codec's search for motion", codec_encoder::search),
    ("the codec's symbols to a list", codec_encoder::gather),
    (
        "the codec's choice of a loop filter",
        codec_encoder::choose_filter,
    ),
    ("tables of three dimensions, packed", lut_packed),
    ("tables of three dimensions, luma and chroma", lut_planes),
    ("tables of one dimension", point),
    ("the restoration net's planes", restore),
    ("a detection model's input", detect),
    ("the upscaler's planes", upscale),
    ("components copied", enhance::copy),
    ("thumbnails", enhance::sums),
    ("noise", enhance::noise),
    ("a cleaned picture and the last", enhance::temporal),
    ("luma reduced, and pictures moved", enhance::steady),
    ("local contrast", enhance::clahe),
    ("light", enhance::light),
    ("nets of other people's", enhance::image),
    ("blurred components", blur::blur),
    ("a segmentation model's input", blur::input),
];

/// Numbers that look random, the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| (self.next() >> 32) as u8).collect()
    }

    /// Of 0 to 1, and a little beyond.
    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n)
            .map(|_| (self.next() >> 40) as f32 / (1 << 24) as f32 * 1.2 - 0.1)
            .collect()
    }
}

const SIZES: [(u32, u32); 4] = [(1, 1), (33, 9), (64, 32), (37, 11)];
const ELEMENTS: [Element; 2] = [Element::F32, Element::F16];

fn area(memory: Memory, stride: u32) -> Area {
    Area { memory, stride }
}

/// The last row of a plane has no padding behind it.
fn plane_bytes(stride: u32, row: u32, rows: u32) -> usize {
    (stride * (rows - 1) + row) as usize
}

#[track_caller]
fn assert_equal(got: &[u8], expected: &[u8], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    if let Some(at) = got.iter().zip(expected).position(|(a, b)| a != b) {
        panic!("{what}: byte {at} is {}, not {}", got[at], expected[at]);
    }
}

fn semi_planar_cases() -> Vec<SemiPlanar> {
    let mut all = Vec::new();
    for (width, height) in SIZES {
        for depth in [Depth::Eight, Depth::Ten] {
            for element in ELEMENTS {
                for (full_range, white) in [(false, 1.0), (true, 255.0)] {
                    all.push(SemiPlanar {
                        width,
                        height,
                        depth,
                        colour: Colour {
                            full_range,
                            ..Colour::BT709
                        },
                        element,
                        white,
                    });
                }
            }
        }
    }
    all
}

/// Strides and sizes in bytes of luma and chroma.
fn semi_planar_memory(spec: &SemiPlanar) -> ([u32; 2], [usize; 2]) {
    let bytes = if spec.depth == Depth::Ten { 2 } else { 1 };
    let (row, c_row) = (spec.width * bytes, spec.width.div_ceil(2) * 2 * bytes);
    let strides = [row + 6, c_row + 10];
    let sizes = [
        plane_bytes(strides[0], row, spec.height),
        plane_bytes(strides[1], c_row, spec.height.div_ceil(2)),
    ];
    (strides, sizes)
}

fn to_rgb(machine: &mut dyn Machine) {
    for spec in semi_planar_cases() {
        let mut random = Random(7);
        let (strides, sizes) = semi_planar_memory(&spec);
        let (y, uv) = (random.bytes(sizes[0]), random.bytes(sizes[1]));
        let (y_at, uv_at) = (machine.upload(&y), machine.upload(&uv));
        let out = machine.zeros(spec.tensor_bytes() as usize);
        let launch = spec
            .to_rgb(area(y_at, strides[0]), area(uv_at, strides[1]), out)
            .unwrap();
        machine.run(&launch);
        let expected = spec.to_rgb_reference((&y, strides[0]), (&uv, strides[1]));
        assert_equal(&machine.download(out), &expected, &format!("{spec:?}"));
    }
}

fn from_rgb(machine: &mut dyn Machine) {
    for spec in semi_planar_cases() {
        let mut random = Random(11);
        let (strides, sizes) = semi_planar_memory(&spec);
        let values: Vec<f32> = random
            .floats((3 * spec.width * spec.height) as usize)
            .into_iter()
            .map(|v| v * spec.white)
            .collect();
        let rgb = to_bytes(spec.element, &values);
        let rgb_at = machine.upload(&rgb);
        // What lies between the rows must stay.
        let (mut y, mut uv) = (vec![77; sizes[0]], vec![78; sizes[1]]);
        let (y_at, uv_at) = (machine.upload(&y), machine.upload(&uv));
        let launch = spec
            .from_rgb(rgb_at, area(y_at, strides[0]), area(uv_at, strides[1]))
            .unwrap();
        machine.run(&launch);
        spec.from_rgb_reference(&rgb, (&mut y, strides[0]), (&mut uv, strides[1]));
        assert_equal(&machine.download(y_at), &y, &format!("luma of {spec:?}"));
        assert_equal(
            &machine.download(uv_at),
            &uv,
            &format!("chroma of {spec:?}"),
        );
    }
}

fn packed(machine: &mut dyn Machine) {
    for (width, height) in SIZES {
        for element in ELEMENTS {
            for (order, white) in [(Packed::RGBA, 1.0), (Packed::BGRA, 255.0), ([1, 2, 3], 1.0)] {
                let spec = Packed {
                    width,
                    height,
                    order,
                    element,
                    white,
                };
                let mut random = Random(13);
                let stride = 4 * width + 8;
                let pixels = random.bytes(plane_bytes(stride, 4 * width, height));
                let at = machine.upload(&pixels);
                let out = machine.zeros(spec.tensor_bytes() as usize);
                machine.run(&spec.to_rgb(area(at, stride), out).unwrap());
                let rgb = spec.to_rgb_reference((&pixels, stride));
                assert_equal(&machine.download(out), &rgb, &format!("{spec:?}"));

                let mut back = vec![9; pixels.len()];
                let to = machine.upload(&back);
                machine.run(&spec.from_rgb(out, area(to, stride)).unwrap());
                spec.from_rgb_reference(&rgb, (&mut back, stride));
                assert_equal(&machine.download(to), &back, &format!("back, {spec:?}"));
                for (pixel, was) in back
                    .chunks(stride as usize)
                    .zip(pixels.chunks(stride as usize))
                {
                    for x in 0..(4 * width) as usize {
                        let is_alpha = !order.contains(&(x as u32 % 4));
                        // Halves of up to 255 have steps of 1/8: bytes come back.
                        assert_eq!(pixel[x], if is_alpha { 255 } else { was[x] });
                    }
                }
            }
        }
    }
}

fn axis(axis: preprocess::Axis<'_>) -> Axis {
    let first = axis.first.iter().map(|v| *v as u32).collect();
    Axis::new(first, axis.weights.to_vec(), axis.taps as u32).unwrap()
}

fn upload_axis(machine: &mut dyn Machine, axis: &Axis) -> AxisMemory {
    AxisMemory {
        first: machine.upload(&axis.first_bytes()),
        weights: machine.upload(&axis.weight_bytes()),
    }
}

/// The element's own preprocessing, in single precision to the bit.
fn classify(machine: &mut dyn Machine) {
    let spec = Preprocessing {
        size: 64,
        resize_short_side: 73,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };
    for (width, height) in [(320usize, 180usize), (75, 129), (641, 360), (40, 30)] {
        for cosited_x in [false, true] {
            for full_range in [false, true] {
                let colour = preprocess::Colour {
                    cosited_x,
                    full_range,
                    ..preprocess::Colour::BT709
                };
                for kind in 0..4 {
                    let mut cpu = Preprocessor::new(&spec, width, height, colour).unwrap();
                    classify_one(machine, &mut cpu, &spec, (width, height), colour, kind);
                }
            }
        }
    }
}

fn classify_one(
    machine: &mut dyn Machine,
    cpu: &mut Preprocessor,
    spec: &Preprocessing,
    (width, height): (usize, usize),
    colour: preprocess::Colour,
    kind: usize,
) {
    let mut random = Random(17);
    let (w, h) = (width as u32, height as u32);
    let plan = cpu.plan();
    let (cw, ch) = (plan.chroma_size.0 as u32, plan.chroma_size.1 as u32);
    let [rows, columns, chroma_rows, chroma_columns] = [
        plan.rows,
        plan.columns,
        plan.chroma_rows,
        plan.chroma_columns,
    ]
    .map(axis);
    // Planes: luma, then chroma as the kind has it; or one of packed pixels.
    let shapes: Vec<(u32, u32, u32, bool)> = match kind {
        0 => vec![(w, h, 1, false), (cw, ch, 1, true), (cw, ch, 1, true)],
        1 => vec![(w, h, 1, false), (cw, ch, 2, true)],
        _ => vec![(w, h, 3, false)],
    };
    let mut planes = Vec::new();
    let mut sums = Vec::new();
    for (width, height, channels, chroma) in shapes {
        let stride = width * channels + 5;
        let data = random.bytes(plane_bytes(stride, width * channels, height));
        let (rows, columns) = match chroma {
            false => (&rows, &columns),
            true => (&chroma_rows, &chroma_columns),
        };
        let stage = Rows {
            rows,
            columns,
            width,
            height,
            channels,
        };
        let scaled = machine.zeros(stage.sums_bytes() as usize);
        let at = machine.upload(&data);
        let taps = upload_axis(machine, rows);
        machine.run(&stage.launch(area(at, stride), taps, scaled).unwrap());
        sums.push((scaled, stage.samples() / channels));
        planes.push((data, stride as usize));
    }
    let given = |i: usize| Plane {
        data: &planes[i].0,
        stride: planes[i].1,
    };
    let matrix = Matrix::new(
        &Colour {
            kr: colour.kr,
            kb: colour.kb,
            full_range: colour.full_range,
        },
        Depth::Eight,
    );
    let yuv = |interleaved| Components::Yuv {
        interleaved,
        matrix,
    };
    let (pixels, components, from) = match kind {
        0 => (
            Pixels::Planar {
                y: given(0),
                u: given(1),
                v: given(2),
            },
            yuv(false),
            [0, 1, 2],
        ),
        1 => (
            Pixels::SemiPlanar {
                y: given(0),
                uv: given(1),
            },
            yuv(true),
            [0, 1, 1],
        ),
        2 => (
            Pixels::Packed {
                rgb: given(0),
                order: Order::Rgb,
            },
            Components::Packed { reversed: false },
            [0, 0, 0],
        ),
        _ => (
            Pixels::Packed {
                rgb: given(0),
                order: Order::Bgr,
            },
            Components::Packed { reversed: true },
            [0, 0, 0],
        ),
    };
    let columns = columns.from_first();
    let chroma_columns = if kind < 2 {
        chroma_columns.from_first()
    } else {
        columns.clone()
    };
    let (taps, chroma_taps) = (
        upload_axis(machine, &columns),
        upload_axis(machine, &chroma_columns),
    );
    let expected = cpu.run(pixels).unwrap();
    for element in ELEMENTS {
        let finish = Finish {
            columns: &columns,
            chroma_columns: &chroma_columns,
            samples: sums[0].1,
            chroma_samples: sums[from[1]].1,
            components,
            mean: spec.mean,
            std: spec.std,
            element,
        };
        let out = machine.zeros(finish.output_bytes() as usize);
        let launch = finish
            .launch(from.map(|i| sums[i].0), taps, chroma_taps, out)
            .unwrap();
        machine.run(&launch);
        assert_equal(
            &machine.download(out),
            &to_bytes(element, &expected),
            &format!("{width}x{height}, kind {kind}, {element:?}, {colour:?}"),
        );
    }
}

fn codec_shuffles(machine: &mut dyn Machine) {
    for (width, height) in [(8, 8), (64, 128), (192, 64)] {
        for element in ELEMENTS {
            for order in [codec::Order::Nchw, codec::Order::Nhwc] {
                for interleaved in [false, true] {
                    let spec = Shuffle {
                        width,
                        height,
                        order,
                        element,
                    };
                    codec_shuffle(machine, &spec, interleaved);
                }
            }
        }
    }
}

fn codec_shuffle(machine: &mut dyn Machine, spec: &Shuffle, interleaved: bool) {
    let what = format!("{spec:?}, interleaved: {interleaved}");
    let mut random = Random(19);
    let (width, height) = (spec.width as usize, spec.height as usize);
    let (cw, ch) = (width / 2, height / 2);
    let planes = [width * height, cw * ch, cw * ch].map(|n| random.bytes(n));
    // Rows with something behind them.
    let pad = |plane: &[u8], row: usize, pad: usize| -> Vec<u8> {
        plane
            .chunks(row)
            .flat_map(|r| r.iter().copied().chain(std::iter::repeat_n(3, pad)))
            .collect()
    };
    let unpad = |plane: &[u8], row: usize, pad: usize| -> Vec<u8> {
        plane
            .chunks(row + pad)
            .flat_map(|r| r[..row].to_vec())
            .collect()
    };
    let weave =
        |u: &[u8], v: &[u8]| -> Vec<u8> { u.iter().zip(v).flat_map(|(u, v)| [*u, *v]).collect() };
    let y_at = machine.upload(&pad(&planes[0], width, 7));
    let chroma = |machine: &mut dyn Machine, u: &[u8], v: &[u8]| {
        if interleaved {
            let at = machine.upload(&pad(&weave(u, v), width, 5));
            (Chroma::Interleaved(area(at, width as u32 + 5)), [at, at])
        } else {
            let at = [
                machine.upload(&pad(u, cw, 5)),
                machine.upload(&pad(v, cw, 5)),
            ];
            let [u, v] = at.map(|at| area(at, cw as u32 + 5));
            (Chroma::Planar { u, v }, at)
        }
    };
    let (from, _) = chroma(machine, &planes[1], &planes[2]);
    let out = machine.zeros(spec.tensor_bytes() as usize);
    let launch = spec
        .unshuffle(area(y_at, width as u32 + 7), from, out)
        .unwrap();
    machine.run(&launch);
    let [y, u, v] = &planes;
    let expected = spec.unshuffle_reference([y, u, v]);
    assert_equal(&machine.download(out), &expected, &what);
    // The reference's numbers are those of the codec's own kernel.
    if let (Some(isa), Element::F32) = (Isa::detect(), spec.element) {
        let mut sorted: Vec<u32> = expected
            .chunks_exact(4)
            .map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]).to_bits())
            .collect();
        let bytes: Vec<u8> = planes.concat();
        let mut own = vec![0.0f32; bytes.len()];
        codec_cpu::samples(isa, &bytes, codec::PIXEL_SCALE, &mut own);
        let mut own: Vec<u32> = own.iter().map(|v| v.to_bits()).collect();
        sorted.sort();
        own.sort();
        assert_eq!(sorted, own);
    }

    // Back, with numbers between the steps, ties among them, and beyond the range.
    let count = 96 * (width / 8) * (height / 8);
    let mut values: Vec<f32> = random
        .floats(count)
        .iter()
        .map(|v| (v - 0.5) * 9.0)
        .collect();
    for (i, value) in values.iter_mut().enumerate().step_by(3) {
        *value = (i as f32 - 400.0) / 64.0; // halves of a step
    }
    values[1] = f32::NAN;
    values[2] = f32::INFINITY;
    let from = machine.upload(&to_bytes(spec.element, &values));
    let y_at = machine.upload(&pad(&vec![0; width * height], width, 7));
    let (to, at) = chroma(machine, &vec![0; cw * ch], &vec![0; cw * ch]);
    machine.run(
        &spec
            .shuffle(from, area(y_at, width as u32 + 7), to)
            .unwrap(),
    );
    let expected = spec.shuffle_reference(&values);
    assert_equal(&machine.download(y_at), &pad(&expected[0], width, 7), &what);
    if interleaved {
        let woven = weave(&expected[1], &expected[2]);
        assert_equal(&machine.download(at[0]), &pad(&woven, width, 5), &what);
        assert_equal(&unpad(&machine.download(at[0]), width, 5), &woven, &what);
    } else {
        for (at, plane) in at.into_iter().zip(&expected[1..]) {
            assert_equal(&machine.download(at), &pad(plane, cw, 5), &what);
        }
    }
    // The reference rounds as the codec's own kernel does where the gate is closed.
    if let (Some(isa), Element::F32) = (Isa::detect(), spec.element) {
        let mut own = vec![0; count];
        let closed = vec![-1000.0; count];
        codec_cpu::blend(isa, &values, &closed, &vec![0.0; count], 32.0, &mut own);
        let mut all = expected.concat();
        all.sort();
        own.sort();
        assert_eq!(all, own);
    }
}

fn codec_rounding(machine: &mut dyn Machine) {
    let mut values: Vec<f32> = Random(23)
        .floats(3000)
        .iter()
        .map(|v| (v - 0.5) * 80.0)
        .collect();
    // Ties, the dead zone's edges, what is beyond the limits.
    values.extend((-900..900).map(|i| i as f32 / 32.0));
    values.extend([0.23, -0.23, 0.73, 0.72999996, 1e9, -1e9, f32::INFINITY]);
    for rounding in [Rounding::State, Rounding::Hyper, Rounding::Symbols] {
        for element in ELEMENTS {
            let bytes = to_bytes(element, &values);
            let from = machine.upload(&bytes);
            let count = values.len() as u32;
            let to = machine.zeros((u64::from(count) * rounding.bytes()) as usize);
            machine.run(&rounding.launch(element, count, from, to).unwrap());
            let given: Vec<f32> = match element {
                Element::F32 => values.clone(),
                Element::F16 => values
                    .iter()
                    .map(|v| half::f16::from_f32(*v).to_f32())
                    .collect(),
            };
            let integers: Vec<i16> = given.iter().map(|v| rounding.reference(*v)).collect();
            let expected: Vec<u8> = match rounding.bytes() {
                1 => integers.iter().map(|v| *v as u8).collect(),
                _ => integers.iter().flat_map(|v| v.to_ne_bytes()).collect(),
            };
            assert_equal(
                &machine.download(to),
                &expected,
                &format!("{rounding:?} {element:?}"),
            );
            // And the reference is the codec's.
            let Some(isa) = Isa::detect() else {
                continue;
            };
            for (value, integer) in given.iter().zip(&integers) {
                let own = match rounding {
                    Rounding::State => {
                        let mut own = [0];
                        codec_cpu::states(isa, &[*value], 16.0, &mut own);
                        i16::from(own[0])
                    }
                    Rounding::Symbols => {
                        let own = codec_cpu::quantise(*value, 0.5 - 0.27);
                        // Infinity less its limit is infinity; a symbol is limited afterwards.
                        own.clamp(-32_000.0, 32_000.0) as i16
                    }
                    Rounding::Hyper => value.clamp(-31.0, 31.0).round_ties_even() as i16,
                };
                assert_eq!(own, *integer, "{rounding:?} of {value}");
            }
        }
    }
}

/// A table that moves colours about, and its parts.
fn twisted(size: usize, tops: (u16, u16)) -> (ColorTable, Table, Vec<u8>) {
    let steps = (size - 1) as f32;
    let entries = (0..size.pow(3)).map(|i| {
        let [a, b, c] = [i % size, i / size % size, i / size / size].map(|v| v as f32 / steps);
        [a * b + 0.1, 1.1 - c, (a + b + c) / 2.9 - 0.05]
    });
    let table = ColorTable::between(size, tops, [0.05, 0.0, -0.1], [0.9, 1.0, 1.3], entries);
    let parts = table.parts();
    let own = Table {
        size: parts.size as u32,
        scale: parts.scale,
        offset: parts.offset,
        fraction: parts.fraction,
        top: parts.top as u32,
    };
    let entries = parts
        .entries
        .iter()
        .flatten()
        .flat_map(|v| v.to_ne_bytes())
        .collect();
    (table, own, entries)
}

fn lut_packed(machine: &mut dyn Machine) {
    for size in [2, 17, 33] {
        let (table, own, entries) = twisted(size, (255, 255));
        let entries = machine.upload(&entries);
        for (width, height) in [(300, 200), (33, 9), (1, 1)] {
            for order in [Packed::RGBA, Packed::BGRA] {
                let mut random = Random(29);
                let stride = 4 * width + 4;
                let mut pixels = random.bytes(plane_bytes(stride, 4 * width, height));
                let at = machine.upload(&pixels);
                let launch = own.packed(entries, (width, height), order, area(at, stride));
                machine.run(&launch.unwrap());
                for row in pixels.chunks_mut(stride as usize) {
                    let row = &mut row[..4 * width as usize];
                    let part = |place: u32| -> Vec<u8> {
                        row.iter()
                            .skip(place as usize)
                            .step_by(4)
                            .copied()
                            .collect()
                    };
                    let [mut r, mut g, mut b] = order.map(part);
                    tetrahedral(&mut r, &mut g, &mut b, &table);
                    for (x, pixel) in row.chunks_exact_mut(4).enumerate() {
                        for (place, values) in order.into_iter().zip([&r, &g, &b]) {
                            pixel[place as usize] = values[x];
                        }
                    }
                }
                assert_equal(
                    &machine.download(at),
                    &pixels,
                    &format!("{size} {width}x{height}"),
                );
            }
        }
    }
}

fn lut_planes(machine: &mut dyn Machine) {
    for size in [(1, 1), (2, 2), (35, 19), (128, 64)] {
        for cosited in [false, true] {
            for from in SAMPLES {
                for to in SAMPLES {
                    for steps in [(1, 2), (2, 1)] {
                        lut_yuv(machine, size, cosited, (from, to), steps);
                    }
                }
            }
        }
    }
}

const SAMPLES: [Samples; 3] = [Samples::Eight, Samples::TenLower, Samples::TenUpper];

/// A picture of these codes, with rows that have something behind them, and its memory.
fn lay(
    machine: &mut dyn Machine,
    (width, height): (u32, u32),
    samples: Samples,
    step: u32,
    codes: [&[u16]; 3],
) -> Picture {
    let (cw, ch) = (width.div_ceil(2), height.div_ceil(2));
    let part = |width, height, step, first| Component {
        area: area(
            Memory {
                address: 0,
                bytes: 0,
            },
            (width * step + 3) * samples.bytes(),
        ),
        width,
        height,
        samples,
        step,
        first,
    };
    let mut picture = Picture {
        y: part(width, height, 1, 0),
        u: part(cw, ch, step, 0),
        v: part(cw, ch, step, step - 1),
    };
    let shared = step == 2;
    let mut last = None;
    for (number, codes) in codes.into_iter().enumerate() {
        let component = [picture.y, picture.u, picture.v][number];
        let mut bytes = match last.take() {
            Some(bytes) => bytes,
            None => vec![55; (component.area.stride * component.height) as usize],
        };
        for (i, code) in codes.iter().enumerate() {
            let at = (i as u32 % component.width, i as u32 / component.width);
            component.put(&mut bytes, at.0, at.1, i32::from(*code));
        }
        if shared && number == 1 {
            last = Some(bytes);
            continue;
        }
        let memory = machine.upload(&bytes);
        match number {
            0 => picture.y.area.memory = memory,
            1 => picture.u.area.memory = memory,
            _ => {
                picture.v.area.memory = memory;
                if shared {
                    picture.u.area.memory = memory;
                }
            }
        }
    }
    picture
}

/// The codes of a picture.
fn codes(machine: &mut dyn Machine, picture: &Picture) -> [Vec<u16>; 3] {
    picture.components().map(|component| {
        let bytes = machine.download(component.area.memory);
        (0..component.height)
            .flat_map(|y| (0..component.width).map(move |x| (x, y)))
            .map(|(x, y)| component.get(&bytes, x, y) as u16)
            .collect()
    })
}

fn lut_yuv(
    machine: &mut dyn Machine,
    (width, height): (u32, u32),
    cosited: bool,
    (samples, samples_to): (Samples, Samples),
    (step, step_to): (u32, u32),
) {
    let what = format!("{width}x{height} {cosited} {samples:?} {samples_to:?} {step}");
    let top = |samples| -> u16 { if samples == Samples::Eight { 255 } else { 1023 } };
    let (table, own, entries) = twisted(17, (top(samples), top(samples_to)));
    let entries = machine.upload(&entries);
    let sizes = [width * height, width.div_ceil(2) * height.div_ceil(2)];
    let mut random = Random(31);
    let given = [sizes[0], sizes[1], sizes[1]].map(|n| -> Vec<u16> {
        (0..n)
            .map(|_| (random.next() >> 40) as u16 & top(samples))
            .collect()
    });
    macro_rules! wanted {
        ($from:ty, $to:ty) => {{
            let from = given
                .clone()
                .map(|p| p.iter().map(|v| *v as $from).collect::<Vec<$from>>());
            let mut to = given.clone().map(|p| vec![0 as $to; p.len()]);
            let [y, u, v] = &mut to;
            let planes = Planes {
                width: width as usize,
                height: height as usize,
                y: &from[0],
                u: &from[1],
                v: &from[2],
            };
            planes::apply(&table, &planes, &mut PlanesMut { y, u, v }, cosited);
            to.map(|p| p.iter().map(|v| u16::from(*v)).collect::<Vec<u16>>())
        }};
    }
    let wanted = match (top(samples), top(samples_to)) {
        (255, 255) => wanted!(u8, u8),
        (255, _) => wanted!(u8, u16),
        (_, 255) => wanted!(u16, u8),
        _ => wanted!(u16, u16),
    };
    let [y, u, v] = &given;
    let from = lay(machine, (width, height), samples, step, [y, u, v]);
    let blank = given.clone().map(|p| vec![0; p.len()]);
    let [y, u, v] = &blank;
    let to = lay(machine, (width, height), samples_to, step_to, [y, u, v]);
    let spec = lut::Yuv {
        table: own,
        cosited,
    };
    machine.run(&spec.launch(entries, &from, &to).unwrap());
    assert_eq!(codes(machine, &to), wanted, "{what}");
}

fn point(machine: &mut dyn Machine) {
    // Posterising is the elements' own table; the others differ from each other.
    let posterized = posterize::lut(7);
    let tables: [[u8; 256]; 4] = std::array::from_fn(|k| match k {
        0 => posterized,
        _ => std::array::from_fn(|x| (x * (2 * k + 1) + 31 * k) as u8),
    });
    for period in 1..=4u32 {
        for (width, height) in [(1, 1), (97, 5), (256, 16)] {
            let spec = Point {
                width: width * period,
                height,
                period,
                deep: false,
                upper: false,
            };
            let row = (width * period) as usize;
            let stride = row + 3;
            let mut samples = Random(37).bytes(stride * (height as usize - 1) + row);
            let all = tables[..period as usize].concat();
            let (table_at, at) = (machine.upload(&all), machine.upload(&samples));
            machine.run(&spec.launch(table_at, area(at, stride as u32)).unwrap());
            // The effects' own kernel.
            let period: Vec<&[u8; 256]> = tables[..period as usize].iter().collect();
            let rows = RowLut::new(&period);
            let mut own = samples.clone();
            for line in own.chunks_mut(stride) {
                let end = row.min(line.len());
                rows.apply(&mut line[..end]);
            }
            spec.reference(&all, &mut samples, stride);
            assert_equal(&samples, &own, "the reference");
            assert_equal(&machine.download(at), &own, &format!("{spec:?}"));
        }
    }
    for upper in [false, true] {
        for period in [1u32, 2] {
            let table = |k: usize| (0..1024).map(move |x| ((x * (2 * k + 3) + 5) % 1024) as u16);
            let tables: Vec<u8> = (0..period as usize)
                .flat_map(table)
                .flat_map(u16::to_ne_bytes)
                .collect();
            let spec = Point {
                width: 41 * period,
                height: 6,
                period,
                deep: true,
                upper,
            };
            let stride = 2 * spec.width as usize + 6;
            let mut samples = Random(41).bytes(stride * 5 + 2 * spec.width as usize);
            let (table_at, at) = (machine.upload(&tables), machine.upload(&samples));
            machine.run(&spec.launch(table_at, area(at, stride as u32)).unwrap());
            spec.reference(&tables, &mut samples, stride);
            assert_equal(&machine.download(at), &samples, &format!("{spec:?}"));
        }
    }
}

/// Samples as they lie in memory.
trait Stored: Sample {
    fn store(samples: &[Self]) -> Vec<u8>;
}

impl Stored for u8 {
    fn store(samples: &[u8]) -> Vec<u8> {
        samples.to_vec()
    }
}

impl Stored for u16 {
    fn store(samples: &[u16]) -> Vec<u8> {
        samples.iter().flat_map(|v| v.to_ne_bytes()).collect()
    }
}

/// Smooth, with a little noise and some of black and white.
fn codec_samples<S: Sample>(random: &mut Random, width: usize, count: usize) -> Vec<S> {
    let level = 1 << (S::BITS - 8);
    let sample = |i: usize| {
        let (x, y) = ((i % width) as f32, (i / width) as f32);
        let wave = 120.0 + 60.0 * (x * 0.2 + y * 0.11).sin();
        let noise = (random.next() >> 40) as i32 % 9;
        S::clip(match (i / 7 + i / width / 5) % 4 {
            0 => (random.next() >> 33 & 1) as i32 * 1023,
            _ => (wave as i32 + noise) * level + noise % 4,
        })
    };
    (0..count).map(sample).collect()
}

fn codec_planes<S: Sample>(width: u32, rows: u32, count: u32) -> picture::Planes {
    picture::Planes {
        width,
        rows,
        count,
        deep: S::BITS > 8,
    }
}

fn codec_scatter(machine: &mut dyn Machine) {
    for (count, rare) in [(1usize, 1), (77, 1), (1000, 9), (5000, 70)] {
        let mut random = Random(83);
        let mut symbols: Vec<i16> = (0..count)
            .map(|_| match (random.next() >> 40) % rare {
                0 => (random.next() >> 40) as i16,
                _ => 0,
            })
            .collect();
        symbols[0] = i16::MIN;
        symbols[count - 1] = -1;
        let entries = codec::entries(&symbols);
        let length = (entries.len() as u64 / codec::ENTRY_BYTES) as u32;
        let (list, to) = (machine.upload(&entries), machine.zeros(2 * count));
        machine.run(&codec::scatter(length, list, count as u32, to).unwrap());
        let wanted: Vec<u8> = symbols.iter().flat_map(|s| s.to_ne_bytes()).collect();
        assert_equal(
            &machine.download(to),
            &wanted,
            &format!("{count}, one of {rare}"),
        );
    }
}

fn codec_prediction(machine: &mut dyn Machine) {
    fn check<S: Stored>(machine: &mut dyn Machine, (width, height): (usize, usize)) {
        let mut random = Random(59);
        let parts = width / 8 * (height / 8);
        // Near, far, and across every edge; all fractions.
        let vectors: Vec<Vector> = (0..parts)
            .map(|i| {
                let mut number = |most: i64| ((random.next() >> 20) as i64 % most) as i16;
                match i % 3 {
                    0 => Vector::new(number(9), number(9)),
                    1 => Vector::new(4 * number(9), number(512)),
                    _ => Vector::new(-number(512), -4 * number(16)),
                }
            })
            .collect();
        let bytes: Vec<u8> = vectors
            .iter()
            .flat_map(|v| [v.x.to_ne_bytes(), v.y.to_ne_bytes()].concat())
            .collect();
        let vectors_at = machine.upload(&bytes);
        let field = Field {
            vectors,
            ..Field::still(width / 16, height / 16)
        };
        for chroma in [false, true] {
            let (w, h, count) = match chroma {
                true => (width / 2, height / 2, 2),
                false => (width, height, 1),
            };
            let planes = codec_planes::<S>(w as u32, h as u32, count);
            let before = codec_samples::<S>(&mut random, w, w * h * count as usize);
            let mut wanted = Vec::with_capacity(before.len());
            for plane in before.chunks(w * h) {
                for (x, y) in (0..h).flat_map(|y| (0..w).map(move |x| (x, y))) {
                    wanted.push(match chroma {
                        true => overlap::reference::chroma(plane, w, x, y, &field),
                        false => overlap::reference::luma(plane, w, x, y, &field),
                    });
                }
            }
            let spec = match chroma {
                true => Interpolation {
                    taps: interpolate::CHROMA.as_flattened(),
                    bits: 3,
                    part: 2,
                    lean: &overlap::CHROMA,
                },
                false => Interpolation {
                    taps: interpolate::LUMA.as_flattened(),
                    bits: 2,
                    part: 3,
                    lean: &overlap::LUMA,
                },
            };
            let from = machine.upload(&S::store(&before));
            let to = machine.zeros(planes.bytes() as usize);
            machine.run(&spec.predict(planes, from, vectors_at, to).unwrap());
            assert_equal(
                &machine.download(to),
                &S::store(&wanted),
                &format!("{planes:?}"),
            );
        }
    }
    for size in [(64, 64), (192, 64), (64, 128)] {
        check::<u8>(machine, size);
        check::<u16>(machine, size);
    }
}

fn codec_merge(machine: &mut dyn Machine) {
    fn check<S: Stored>(machine: &mut dyn Machine, width: u32, rows: u32, count: u32, block: u32) {
        let mut random = Random(61);
        let planes = codec_planes::<S>(width, rows, count);
        let samples = (width * rows * count) as usize;
        let [made, prediction] =
            [(); 2].map(|()| codec_samples::<S>(&mut random, width as usize, samples));
        let wide = width >> block;
        let skip: Vec<u8> = (0..wide * (rows >> block))
            .map(|_| (random.next() >> 40 & 1) as u8)
            .collect();
        let wanted: Vec<S> = (0..samples)
            .map(|i| {
                let (x, y) = (i as u32 % width, i as u32 / width % rows);
                match skip[((y >> block) * wide + (x >> block)) as usize] {
                    0 => made[i],
                    _ => prediction[i],
                }
            })
            .collect();
        let [made, prediction] = [made, prediction].map(|s| machine.upload(&S::store(&s)));
        let skip = machine.upload(&skip);
        let to = machine.zeros(planes.bytes() as usize);
        // To memory of its own first, then in place.
        for to in [to, made] {
            let launch = motion::merge(planes, block, [made, prediction, to], skip);
            machine.run(&launch.unwrap());
            assert_equal(
                &machine.download(to),
                &S::store(&wanted),
                &format!("{planes:?}"),
            );
        }
    }
    for (width, rows, count, block) in [(64, 64, 1, 4), (32, 32, 2, 3), (192, 128, 1, 4)] {
        check::<u8>(machine, width, rows, count, block);
        check::<u16>(machine, width, rows, count, block);
    }
}

/// The element's own filter.
fn codec_loop_filter(machine: &mut dyn Machine) {
    fn check<S: Stored>(machine: &mut dyn Machine, seed: u64, (width, height): (usize, usize)) {
        let mut random = Random(seed);
        let numbers = codec_filter::synthetic::numbers(seed as u32);
        let filters = codec_filter::Filters::new(&numbers).unwrap();
        let luma = codec_samples::<S>(&mut random, width, width * height);
        let skip: Vec<bool> = (0..width * height / 256)
            .map(|_| (random.next() >> 40).is_multiple_of(5))
            .collect();
        let weights: Vec<u8> = filters.weights().flat_map(i16::to_ne_bytes).collect();
        let weights = machine.upload(&weights);
        let flags: Vec<u8> = skip.iter().map(|s| u8::from(*s)).collect();
        let flags = machine.upload(&flags);
        let spec = LoopFilter::new(width as u32, height as u32, S::BITS > 8).unwrap();
        let at = machine.upload(&S::store(&luma));
        let bends = machine.zeros(spec.bends_bytes() as usize);
        machine.run(&spec.bend(at, bends).unwrap());
        for number in 1..=codec_filter::SETS as u8 {
            let mut wanted = luma.clone();
            codec_filter::LoopFilter::new(width, height).apply(
                &filters,
                number,
                &mut wanted,
                &skip,
            );
            assert!(wanted != luma);
            let to = machine.zeros(luma.len() * usize::from(S::BITS.div_ceil(8)));
            let set = weights.from(u64::from(number - 1) * loop_filter::SET_BYTES);
            let limit = filters.limit(S::BITS) as u32;
            let launch = spec.filter(limit, at, [bends, set, flags], to);
            machine.run(&launch.unwrap());
            let what = format!("{spec:?}, set {number}");
            assert_equal(&machine.download(to), &S::store(&wanted), &what);
        }
    }
    for (seed, size) in [(67, (64, 64)), (71, (192, 64)), (73, (64, 128))] {
        check::<u8>(machine, seed, size);
        check::<u16>(machine, seed, size);
    }
}

fn codec_show(machine: &mut dyn Machine) {
    for (width, height) in SIZES {
        for samples in [Samples::Eight, Samples::TenLower, Samples::TenUpper] {
            for interleaved in [false, true] {
                let mut random = Random(79);
                let stride = |row: u32| (row + 3) * samples.bytes();
                let cw = width.div_ceil(2);
                let ch = height.div_ceil(2);
                let shapes = match interleaved {
                    true => vec![(width, height), (2 * cw, ch)],
                    false => vec![(width, height), (cw, ch), (cw, ch)],
                };
                // What lies between the rows must stay.
                let before: Vec<Vec<u8>> = shapes
                    .iter()
                    .map(|(row, rows)| {
                        random.bytes(plane_bytes(stride(*row), row * samples.bytes(), *rows))
                    })
                    .collect();
                let frame = Frame {
                    planes: before
                        .iter()
                        .zip(&shapes)
                        .map(|(bytes, (row, _))| area(machine.upload(bytes), stride(*row)))
                        .collect(),
                    samples,
                    width,
                    height,
                };
                let mut wanted = before;
                for number in 0..3 {
                    let deep = samples != Samples::Eight;
                    let side = |side: u32| side.next_multiple_of(64) >> u32::from(number > 0);
                    let planes = picture::Planes {
                        width: side(width),
                        rows: side(height),
                        count: 1,
                        deep,
                    };
                    let count = (planes.width * planes.rows) as usize;
                    let plane = match deep {
                        true => u16::store(&codec_samples(&mut random, 64, count)),
                        false => u8::store(&codec_samples(&mut random, 64, count)),
                    };
                    let component = frame.component(number).unwrap();
                    let from = machine.upload(&plane);
                    machine.run(&component.show(planes, from).unwrap());
                    let at = number.min(shapes.len() - 1);
                    component.show_reference(planes, &plane, &mut wanted[at]);
                }
                for (plane, wanted) in frame.planes.iter().zip(&wanted) {
                    let what = format!("{width}x{height} {samples:?}, interleaved: {interleaved}");
                    assert_equal(&machine.download(plane.memory), wanted, &what);
                }
            }
        }
    }
}

fn restore(machine: &mut dyn Machine) {
    for (width, height) in SIZES {
        for samples in [Samples::Eight, Samples::TenLower, Samples::TenUpper] {
            for (step, first) in [(1, 0), (2, 0), (2, 1)] {
                let row = width * step * samples.bytes();
                let stride = row + 2 * samples.bytes();
                let mut random = Random(43);
                let mut picture = random.bytes(plane_bytes(stride, row, height));
                let at = machine.upload(&picture);
                let spec = Padded {
                    component: Component {
                        area: area(at, stride),
                        width,
                        height,
                        samples,
                        step,
                        first,
                    },
                    width: width.next_multiple_of(8),
                    height: height.next_multiple_of(8),
                };
                let plane = machine.zeros(spec.plane_bytes() as usize);
                machine.run(&spec.read(plane).unwrap());
                let before = spec.read_reference(&picture);
                assert_equal(&machine.download(plane), &before, &format!("{spec:?}"));
                let after = random.bytes(before.len());
                let after_at = machine.upload(&after);
                for share in [256, 77, 0] {
                    machine.run(&spec.change(plane, after_at, share).unwrap());
                    spec.change_reference(&mut picture, &before, &after, share);
                    let what = format!("{spec:?} changed by {share}");
                    assert_equal(&machine.download(at), &picture, &what);
                }
            }
        }
    }
}

fn detect(machine: &mut dyn Machine) {
    for (width, height, letterbox) in [(97, 41, true), (40, 90, true), (23, 19, false)] {
        for (bgr, full_range) in [(false, false), (true, true)] {
            let fit = Fit {
                width: 64,
                height: 48,
                letterbox,
                pad: 114.0,
                bgr,
                mean: [3.0, 0.0, 7.0],
                std: [2.0, 1.0, 1.5],
            };
            let mut random = Random(47);
            let mut picture = Yuv420::new(width, height);
            picture.y = random.bytes(picture.y.len());
            picture.u = random.bytes(picture.u.len());
            picture.v = random.bytes(picture.v.len());
            let wanted = fit.prepare(&picture, (Gamut::Bt709, full_range));
            let (inner_width, inner_height) = fit.inner((width, height));
            let (kr, kb) = Gamut::Bt709.weights();
            let codes = [&picture.y, &picture.u, &picture.v]
                .map(|p| p.iter().map(|v| u16::from(*v)).collect::<Vec<u16>>());
            let size = (width as u32, height as u32);
            for bytes in [false, true] {
                let spec = Detect {
                    out_width: 64,
                    out_height: 48,
                    inner_width: inner_width as u32,
                    inner_height: inner_height as u32,
                    kr: kr as f32,
                    kb: kb as f32,
                    full_range,
                    bgr,
                    pad: fit.pad,
                    mean: fit.mean,
                    std: fit.std,
                    bytes,
                };
                let wanted: Vec<u8> = match bytes {
                    true => wanted
                        .iter()
                        .map(|v| v.round().clamp(0.0, 255.0) as u8)
                        .collect(),
                    false => wanted.iter().flat_map(|v| v.to_ne_bytes()).collect(),
                };
                for step in [1, 2] {
                    let out = machine.zeros(spec.tensor_bytes() as usize);
                    let [y, u, v] = &codes;
                    let of = lay(machine, size, Samples::Eight, step, [y, u, v]);
                    machine.run(&spec.launch(&of, out).unwrap());
                    let what = format!("{spec:?} {step}");
                    assert_equal(&machine.download(out), &wanted, &what);
                }
            }
        }
    }
}

fn upscale(machine: &mut dyn Machine) {
    for (width, height) in [(1u32, 1u32), (13, 7), (32, 18)] {
        let mut random = Random(53);
        let stride = width + 3;
        let luma = random.bytes(plane_bytes(stride, width, height));
        let (pw, ph) = (
            (width + 4).next_multiple_of(2),
            (height + 4).next_multiple_of(2),
        );
        let pad = Pad {
            width,
            height,
            margin: 2,
            out_width: pw,
            out_height: ph,
        };
        let (luma_at, out) = (machine.upload(&luma), machine.zeros((pw * ph) as usize));
        machine.run(&pad.launch(area(luma_at, stride), out).unwrap());
        let wanted: Vec<u8> = (0..ph)
            .flat_map(|y| (0..pw).map(move |x| (x, y)))
            .map(|(x, y)| {
                let (x, y) = (x.saturating_sub(2), y.saturating_sub(2));
                luma[(y.min(height - 1) * stride + x.min(width - 1)) as usize]
            })
            .collect();
        assert_equal(&machine.download(out), &wanted, &format!("{pad:?}"));

        let crop = Crop {
            in_width: pw,
            in_height: ph,
            margin: 2,
            width,
            height,
        };
        let back = machine.zeros(luma.len());
        machine.run(&crop.launch(out, area(back, stride)).unwrap());
        let got = machine.download(back);
        for y in 0..height {
            let row = (y * stride) as usize..(y * stride + width) as usize;
            assert_equal(&got[row.clone()], &luma[row], &format!("{crop:?}"));
        }

        for siting in [Siting::Left, Siting::Centre] {
            for odd in [0, 1] {
                let (to_width, to_height) = (2 * width - odd, 2 * height - odd);
                let plane = random.bytes((width * height) as usize);
                let mut wanted = vec![0; (to_width * to_height) as usize];
                chroma::double(
                    &plane,
                    (width as usize, height as usize),
                    &mut wanted,
                    (to_width as usize, to_height as usize),
                    siting,
                    &mut Vec::new(),
                );
                // The second of interleaved components to the first of others.
                let pairs: Vec<u8> = plane.iter().flat_map(|v| [99, *v]).collect();
                let from = Component {
                    area: area(machine.upload(&pairs), 2 * width),
                    width,
                    height,
                    samples: Samples::Eight,
                    step: 2,
                    first: 1,
                };
                let target = vec![77; (2 * to_width * to_height) as usize];
                let at = machine.upload(&target);
                let to = Component {
                    area: area(at, 2 * to_width),
                    width: to_width,
                    height: to_height,
                    samples: Samples::Eight,
                    step: 2,
                    first: 0,
                };
                let [even, odd] = siting.taps().map(|taps| taps.map(i32::from));
                machine.run(&upscale::double(&from, &to, even, odd).unwrap());
                let wanted: Vec<u8> = wanted.iter().flat_map(|v| [*v, 77]).collect();
                let what = format!("{from:?} {siting:?}");
                assert_equal(&machine.download(at), &wanted, &what);
            }
        }
    }
}
