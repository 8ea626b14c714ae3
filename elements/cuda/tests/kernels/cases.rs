// SPDX-License-Identifier: Apache-2.0
//! Each kernel on pictures of odd sizes with padded rows, against its reference.

use aivideo_classify::preprocess::{self, Order, Pixels, Plane, Preprocessing, Preprocessor};
use aivideo_codec::coder::fused::kernels as codec_cpu;
use aivideo_codec::loop_filter as codec_filter;
use aivideo_codec::motion::{Field, Sample, Vector, interpolate, overlap};
use aivideo_codec::residual;
use aivideo_color::planes::{self, Planes, PlanesMut};
use aivideo_color::table::{ColorTable, tetrahedral};
use aivideo_core::pixels::Yuv420;
use aivideo_cuda::{
    Area, Element, Memory,
    classify::{Axis, AxisMemory, Components, Finish, Rows},
    codec::{self, Chroma, Rounding, Shuffle},
    convert::{Colour, Depth, Matrix, Packed, SemiPlanar, to_bytes},
    detect::Detect,
    loop_filter::{Filtering, LoopFilter, Set},
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
#[path = "codec_decoder.rs"]
mod codec_decoder;
mod codec_encoder;
#[path = "colours.rs"]
mod colours;
#[path = "enhance.rs"]
mod enhance;
#[path = "tables.rs"]
mod tables;

use codec_decoder::{Stored, codec_samples};
use tables::{SAMPLES, codes, lay};

type Case = fn(&mut dyn Machine);

pub const ALL: &[(&str, Case)] = &[
    ("semi-planar pictures to planes of colours", colours::to_rgb),
    (
        "planes of colours to semi-planar pictures",
        colours::from_rgb,
    ),
    ("packed pixels and planes of colours", colours::packed),
    ("the classifier's preprocessing", colours::classify),
    ("the codec's shuffles", codec_decoder::codec_shuffles),
    ("the codec's roundings", codec_decoder::codec_rounding),
    (
        "the codec's symbols from a list",
        codec_decoder::codec_scatter,
    ),
    ("the codec's prediction", codec_decoder::codec_prediction),
    ("the codec's residual", codec_decoder::codec_add),
    ("the codec's skipped blocks", codec_decoder::codec_merge),
    ("the codec's loop filter", codec_decoder::codec_loop_filter),
    ("the codec's pictures to frames", codec_decoder::codec_show),
    ("the codec's pictures from frames", codec_encoder::load),
    ("the codec's errors of blocks", codec_encoder::errors),
    ("the codec's search for motion", codec_encoder::search),
    ("the codec's symbols to a list", codec_encoder::gather),
    (
        "the codec's choice of a loop filter",
        codec_encoder::choose_filter,
    ),
    ("tables of three dimensions, packed", tables::lut_packed),
    (
        "tables of three dimensions, luma and chroma",
        tables::lut_planes,
    ),
    ("tables of one dimension", tables::point),
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
