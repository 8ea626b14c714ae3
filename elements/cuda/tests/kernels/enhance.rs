// SPDX-License-Identifier: Apache-2.0
//! The kernels of the enhancement's operations against the operations themselves.

use aivideo_core::{
    deep::Yuv420Deep,
    pixels::{PlaneRef, Yuv420},
};
use aivideo_cuda::{
    clahe::{self, Curves},
    denoise::{self, Mix},
    image,
    measure::{self, Sums},
    picture::{Component, Picture},
    steady::Reduce,
};
use aivideo_enhance::{
    chroma::{Siting, enlarge, places},
    cuts::{PLACES, QUARTERS, SIDE},
    frame::{Colour, Gamut},
    hdr::light::Meter,
    noise::{Blocks, answers},
    operations::{
        color::clahe::{CLIP, Clahe, RATE},
        image_net::planes::{self, Planes},
    },
    stabilize::{
        pyramid::{self, Pyramid},
        similarity::Similarity,
        warp::View,
    },
    temporal::{Temporal, Weights},
};

use super::{Random, SAMPLES, SIZES, Samples, area, assert_equal, codes, lay};
use crate::machine::Machine;

/// Codes of noise over a slope, all three components.
fn noisy(random: &mut Random, (w, h): (u32, u32), top: u16) -> [Vec<u16>; 3] {
    let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
    [(w, h), (cw, ch), (cw, ch)].map(|(w, h)| {
        (0..w * h)
            .map(|i| {
                let slope = u64::from(i % w * 3 + i / w * 2);
                ((slope + (random.next() >> 40) % 31) as u16).min(top)
            })
            .collect()
    })
}

fn bytes(codes: &[u16]) -> Vec<u8> {
    codes.iter().map(|v| *v as u8).collect()
}

fn yuv(size: (u32, u32), codes: &[Vec<u16>; 3]) -> Yuv420 {
    let [y, u, v] = codes.clone().map(|p| bytes(&p));
    Yuv420 {
        width: size.0 as usize,
        height: size.1 as usize,
        y,
        u,
        v,
    }
}

fn put(
    machine: &mut dyn Machine,
    size: (u32, u32),
    samples: Samples,
    step: u32,
    given: &[Vec<u16>; 3],
) -> Picture {
    let [y, u, v] = given;
    lay(machine, size, samples, step, [y, u, v])
}

pub fn copy(machine: &mut dyn Machine) {
    for size in SIZES {
        for (from, to) in [(0, 0), (1, 2), (2, 1), (2, 2)] {
            let (from, to) = (SAMPLES[from], SAMPLES[to]);
            let top = if from == Samples::Eight { 255 } else { 1023 };
            let given = noisy(&mut Random(89), size, top);
            let blank = given.clone().map(|p| vec![0; p.len()]);
            for (step, step_to) in [(1, 2), (2, 1)] {
                let from = put(machine, size, from, step, &given);
                let to = put(machine, size, to, step_to, &blank);
                for (from, to) in from.components().iter().zip(to.components()) {
                    machine.run(&from.copy(&to).unwrap());
                }
                assert_eq!(codes(machine, &to), given, "{size:?}");
            }
        }
    }
}

pub fn sums(machine: &mut dyn Machine) {
    let cuts = Sums {
        side: SIDE as u32,
        parts: QUARTERS as u32,
        first: PLACES[0] as u32,
        every: (PLACES[1] - PLACES[0]) as u32,
        count: PLACES.len() as u32,
    };
    let fields = Sums {
        side: 64,
        parts: 4,
        first: 0,
        every: 1,
        count: 4,
    };
    for size in [(1, 1), (33, 9), (201, 117), (640, 360)] {
        let given = noisy(&mut Random(97), size, 255);
        for step in [1, 2] {
            let picture = put(machine, size, Samples::Eight, step, &given);
            for component in picture.components() {
                let bytes = machine.download(component.area.memory);
                for sums in [cuts, fields] {
                    let out = machine.zeros(sums.bytes() as usize);
                    machine.run(&sums.launch(&component, out).unwrap());
                    let wanted: Vec<u8> = sums
                        .reference(&component, &bytes)
                        .iter()
                        .flat_map(|v| v.to_ne_bytes())
                        .collect();
                    let what = format!("{size:?} {sums:?}");
                    assert_equal(&machine.download(out), &wanted, &what);
                }
            }
        }
    }
}

pub fn noise(machine: &mut dyn Machine) {
    // Flat lines, letter boxes, clipping, and more blocks than are looked at.
    for size in [(64, 48), (333, 251), (800, 640)] {
        let mut given = noisy(&mut Random(101), size, 255);
        for (i, v) in given[0].iter_mut().enumerate() {
            let (x, y) = (i as u32 % size.0, i as u32 / size.0);
            match (x / 32 + y / 32) % 4 {
                0 => *v = 40,
                1 if (x * 7 + y * 3) % 61 == 0 => *v = 255 * (x as u16 & 1),
                _ => {}
            }
        }
        for step in [1, 2] {
            let picture = put(machine, size, Samples::Eight, step, &given);
            for (component, codes) in picture.components().iter().zip(&given) {
                let (w, h) = (component.width as usize, component.height as usize);
                let Some(blocks) = Blocks::of(w, h) else {
                    continue;
                };
                let spec = measure::Noise {
                    every: blocks.every as u32,
                    count: blocks.count as u32,
                };
                let out = machine.zeros(spec.bytes() as usize);
                machine.run(&spec.launch(component, out).unwrap());
                let plane = bytes(codes);
                let plane = PlaneRef::packed(&plane, w, h);
                let got = machine.download(out);
                let mut wanted = answers(&plane, blocks, 255);
                let mut compared = 0;
                for pair in got.chunks_exact(8) {
                    let number = |i: usize| {
                        u32::from_ne_bytes([pair[i], pair[i + 1], pair[i + 2], pair[i + 3]])
                    };
                    // What has more is not answered for.
                    if number(4) & 0xffff > 255 {
                        continue;
                    }
                    let answer = wanted.next().unwrap();
                    assert_eq!(number(0), answer.sum);
                    assert_eq!(number(4), answer.clipped | u32::from(answer.flat) << 16);
                    compared += 1;
                }
                assert!(wanted.next().is_none() && compared > 0, "{size:?}");
            }
        }
    }
}

pub fn steady(machine: &mut dyn Machine) {
    for (number, size) in [
        (1u32, 1u32),
        (3, 1),
        (2, 5),
        (33, 9),
        (70, 300),
        (1443, 3),
        (1500, 17),
    ]
    .into_iter()
    .enumerate()
    {
        let given = noisy(&mut Random(211 + number as u64), size, 255);
        let planes: Vec<Vec<u8>> = given.iter().map(|codes| bytes(codes)).collect();
        let blank = given.clone().map(|p| vec![0; p.len()]);
        for step in [1, 2] {
            let from = put(machine, size, Samples::Eight, step, &given);
            let (w, h) = (size.0 as usize, size.1 as usize);
            let (by, reduced) = pyramid::reduced((w, h));
            let spec = Reduce {
                by: by as u32,
                width: reduced.0 as u32,
                height: reduced.1 as u32,
            };
            let out = machine.zeros(spec.bytes() as usize);
            machine.run(&spec.launch(&from.y, out).unwrap());
            let whole = Pyramid::new(PlaneRef::packed(&planes[0], w, h), None);
            assert_equal(&machine.download(out), &whole.levels[0].data, "reduced");
            for (movement, zoom) in [
                (Similarity::IDENTITY, 1.0),
                (
                    Similarity {
                        x: 2.3,
                        y: -40.6,
                        angle: 0.05,
                        log_scale: 0.02,
                    },
                    1.1,
                ),
                (
                    Similarity {
                        x: -0.51,
                        y: 0.2,
                        angle: -0.7,
                        log_scale: -0.3,
                    },
                    1.0,
                ),
            ] {
                let view = View::new(movement, zoom);
                let to = put(machine, size, Samples::Eight, 3 - step, &blank);
                let mut wanted = planes.clone();
                let components = from.components().into_iter().zip(to.components());
                for (k, (from, to)) in components.enumerate() {
                    let scale = if k == 0 { 1.0 } else { 0.5 };
                    let launch = view.on_device(scale).launch(&from, &to);
                    machine.run(&launch.unwrap());
                    let (w, h) = (to.width as usize, to.height as usize);
                    view.render(PlaneRef::packed(&planes[k], w, h), scale, &mut wanted[k]);
                }
                let got = codes(machine, &to).map(|p| bytes(&p));
                assert!(got[..] == wanted[..], "{size:?} moved by {movement:?}");
            }
        }
    }
}

pub fn temporal(machine: &mut dyn Machine) {
    for size in [(1u32, 1u32), (3, 1), (2, 5), (33, 9), (70, 300)] {
        for (strength, sigma) in [(0.6f32, (8.0f32, 5.0f32)), (0.9, (30.0, 0.0))] {
            let mut host = Temporal::default();
            let mut kept: [Option<aivideo_cuda::Memory>; 3] = [None; 3];
            let still = machine.zeros(denoise::STILL_BYTES as usize);
            for number in 0..3 {
                let given = noisy(&mut Random(103 + number), size, 255);
                let mut wanted = yuv(size, &given);
                host.apply(&mut wanted, strength, sigma);
                let blank = given.clone().map(|p| vec![0; p.len()]);
                let to = put(machine, size, Samples::Eight, 2, &blank);
                for (k, component) in to.components().iter().enumerate() {
                    // The net's rows are longer.
                    let now_width = component.width.next_multiple_of(8);
                    let now: Vec<u8> = bytes(&given[k])
                        .chunks(component.width as usize)
                        .flat_map(|row| {
                            let mut row = row.to_vec();
                            row.resize(now_width as usize, 7);
                            row
                        })
                        .collect();
                    let weights = Weights::new(strength, if k == 0 { sigma.0 } else { sigma.1 });
                    let mix = Mix {
                        most: weights.most as u32,
                        limit: weights.limit as u32,
                        slope: weights.slope as u32,
                    };
                    let planes = denoise::Planes {
                        now: machine.upload(&now),
                        now_width,
                        before: kept[k],
                        after: machine.zeros(given[k].len()),
                        still: (k == 0).then_some(still),
                    };
                    machine.run(&mix.launch(&planes, component).unwrap());
                    kept[k] = Some(planes.after);
                    let wanted = [&wanted.y, &wanted.u, &wanted.v][k];
                    assert_equal(
                        &machine.download(planes.after),
                        wanted,
                        &format!("{size:?}"),
                    );
                }
                let got = codes(machine, &to).map(|p| bytes(&p));
                assert_eq!(got, [wanted.y, wanted.u, wanted.v]);
            }
            let counted: u32 = machine
                .download(still)
                .chunks_exact(4)
                .map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
                .sum();
            assert!(f64::from(counted) >= host.still * f64::from(size.0 * size.1));
        }
    }
}

pub fn clahe(machine: &mut dyn Machine) {
    for (size, range) in [
        ((16, 16), (16, 235)),
        ((131, 97), (16, 235)),
        ((200, 120), (0, 255)),
    ] {
        let mut host = Clahe::default();
        let counts = machine.zeros(clahe::COUNT_BYTES as usize);
        let curves = machine.zeros(clahe::CURVE_BYTES as usize);
        let mixed = machine.zeros(clahe::MIXED_BYTES as usize);
        for (number, amount) in [(0, 0.2f32), (1, 1.0), (2, 0.7)] {
            let mut given = noisy(&mut Random(107 + number), size, 255);
            // Of another brightness, with flat parts.
            for (i, v) in given[0].iter_mut().enumerate() {
                *v = match i / 900 % 3 {
                    0 => 90 + number as u16,
                    _ => (*v / 2 + 60 * number as u16).min(255),
                };
            }
            let mut wanted = bytes(&given[0]);
            host.apply(&mut wanted, size.0 as usize, amount, range);
            let picture = put(machine, size, Samples::Eight, 2, &given);
            let counts = match number {
                0 => counts,
                // As when they are cleared.
                _ => machine.zeros(clahe::COUNT_BYTES as usize),
            };
            machine.run(&clahe::count(&picture.y, counts).unwrap());
            let spec = Curves {
                range,
                clip: CLIP,
                rate: RATE,
                amount,
                fresh: number == 0,
            };
            machine.run(&spec.follow(&picture.y, counts, curves, mixed).unwrap());
            machine.run(&clahe::apply(&picture.y, mixed).unwrap());
            let [got, ..] = codes(machine, &picture);
            assert_equal(&bytes(&got), &wanted, &format!("{size:?} {spec:?}"));
        }
    }
}

pub fn light(machine: &mut dyn Machine) {
    for (width, height) in SIZES {
        let mut random = Random(109);
        let mut picture = Yuv420Deep::new(width as usize, height as usize);
        for plane in [&mut picture.y, &mut picture.u, &mut picture.v] {
            plane
                .iter_mut()
                .for_each(|v| *v = (random.next() >> 40) as u16 & 1023);
        }
        let wanted: Vec<u8> = Meter::default()
            .count(&picture)
            .iter()
            .flat_map(|v| v.to_ne_bytes())
            .collect();
        let given = [picture.y, picture.u, picture.v];
        for (samples, step) in [(Samples::TenLower, 1), (Samples::TenUpper, 2)] {
            let of = put(machine, (width, height), samples, step, &given);
            let counts = machine.zeros(measure::LIGHT_BYTES as usize);
            machine.run(&measure::light(&of, counts).unwrap());
            let what = format!("{width}x{height} {samples:?}");
            assert_equal(&machine.download(counts), &wanted, &what);
        }
    }
}

pub fn image(machine: &mut dyn Machine) {
    let colour = Colour {
        gamut: Gamut::Bt709,
        ..Colour::default()
    };
    let (kr, kb) = colour.gamut.weights();
    let codes_of = image::Colour {
        black: 16.0,
        span: 219.0,
        grey: 128.0,
        chroma: 224.0,
        kr,
        kb,
    };
    for size in SIZES {
        let given = noisy(&mut Random(113), size, 255);
        let picture = yuv(size, &given);
        for count in [1u32, 3] {
            let host = Planes::of(&picture, colour, count as usize);
            for (last, bytes) in [(false, false), (true, true), (true, false), (false, true)] {
                let channels = image::Channels {
                    count,
                    last,
                    bytes,
                    white: 255.0,
                };
                image_there_and_back(machine, (size, &given), &host, (codes_of, colour), channels);
            }
        }
        for factor in [3usize, 4] {
            for siting in [Siting::Left, Siting::Centre] {
                image_enlarge(machine, size, &given[0], factor, siting);
            }
        }
    }
}

fn image_there_and_back(
    machine: &mut dyn Machine,
    (size, given): ((u32, u32), &[Vec<u16>; 3]),
    host: &Planes,
    (codes_of, colour): (image::Colour, Colour),
    channels: image::Channels,
) {
    let what = format!("{size:?} {channels:?}");
    let from = put(machine, size, Samples::Eight, 2, given);
    let tile = (size.0.next_multiple_of(8), size.1.next_multiple_of(4));
    let at = (size.0 / 3, size.1 / 2);
    let cut = host.tile(
        (at.0 as usize, at.1 as usize),
        (tile.0 as usize, tile.1 as usize),
    );
    let values: Vec<f32> = match channels.last {
        false => cut.data.concat(),
        true => (0..cut.width * cut.height)
            .flat_map(|i| cut.data.iter().map(move |plane| plane[i]))
            .collect(),
    };
    let wanted: Vec<u8> = match channels.bytes {
        true => values.iter().map(|v| planes::byte(*v)).collect(),
        false => values
            .iter()
            .flat_map(|v| (v * channels.white).to_ne_bytes())
            .collect(),
    };
    let out = machine.zeros(wanted.len());
    machine.run(&image::cut(&from, &codes_of, at, tile, channels, out).unwrap());
    assert_equal(&machine.download(out), &wanted, &what);

    // A part of it back into planes.
    let part = (size.0 - at.0, size.1 - at.1);
    let paste = image::Paste {
        from: tile,
        at: (0, 0),
        size: part,
        to: at,
        planes: size,
    };
    let mut back = Planes {
        width: size.0 as usize,
        height: size.1 as usize,
        data: vec![vec![0.0; (size.0 * size.1) as usize]; channels.count as usize],
    };
    let value = |c: usize, x: usize, y: usize| {
        let v = cut.data[c][y * cut.width + x];
        match channels.bytes {
            true => f32::from(planes::byte(v)) / 255.0,
            false => v * channels.white * (1.0 / channels.white),
        }
    };
    for (c, plane) in back.data.iter_mut().enumerate() {
        for y in 0..part.1 as usize {
            for x in 0..part.0 as usize {
                let to = (y + at.1 as usize) * back.width + x + at.0 as usize;
                plane[to] = value(c, x, y);
            }
        }
    }
    let floats = machine.zeros(image::plane_bytes(channels.count, size) as usize);
    machine.run(&paste.launch(channels, out, floats).unwrap());
    let wanted: Vec<u8> = back
        .data
        .concat()
        .iter()
        .flat_map(|v| v.to_ne_bytes())
        .collect();
    assert_equal(&machine.download(floats), &wanted, &what);

    let blank = given.clone().map(|p| vec![0; p.len()]);
    let to = put(machine, size, Samples::Eight, 2, &blank);
    if channels.count == 1 {
        machine.run(&image::luma(floats, &to.y).unwrap());
        let [got, ..] = codes(machine, &to);
        let wanted: Vec<u8> = back.data[0].iter().map(|v| planes::byte(*v)).collect();
        assert_equal(&bytes(&got), &wanted, &what);
    } else {
        machine.run(&image::colours(floats, &codes_of, &to).unwrap());
        let mut wanted = yuv(size, &blank);
        planes::from_rgb(&back, colour, &mut wanted);
        let got = codes(machine, &to).map(|p| bytes(&p));
        assert_eq!(got, [wanted.y, wanted.u, wanted.v], "{what}");
    }
}

fn image_enlarge(
    machine: &mut dyn Machine,
    (width, height): (u32, u32),
    given: &[u16],
    factor: usize,
    siting: Siting,
) {
    let plane = bytes(given);
    let from = (width as usize, height as usize);
    let to = (from.0 * factor, from.1 * factor - 1);
    let mut wanted = vec![0; to.0 * to.1];
    enlarge(&plane, from, &mut wanted, to, factor, siting);
    let component = |at, width: u32, height| Component {
        area: area(at, width),
        width,
        height,
        samples: Samples::Eight,
        step: 1,
        first: 0,
    };
    let [rows, columns] = places(from, to, factor, siting);
    let rows = machine.upload(&image::tap_bytes(&rows, height).unwrap());
    let columns = machine.upload(&image::tap_bytes(&columns, width).unwrap());
    let small = component(machine.upload(&plane), width, height);
    let large = component(machine.zeros(wanted.len()), to.0 as u32, to.1 as u32);
    let launch = image::enlarge(&small, &large, rows, columns);
    machine.run(&launch.unwrap());
    let what = format!("{width}x{height} {factor} {siting:?}");
    assert_equal(&machine.download(large.area.memory), &wanted, &what);
}
