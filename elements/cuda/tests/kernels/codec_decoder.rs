// SPDX-License-Identifier: Apache-2.0
//! The kernels that the codec's decoder has.

use super::*;
use aivideo_codec::residual::code::{DIVIDED, PARTS, QUARTERS, SHAPES, Shape, WHOLE};

/// Samples as they lie in memory.
pub trait Stored: Sample {
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

pub fn codec_shuffles(machine: &mut dyn Machine) {
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

pub fn codec_shuffle(machine: &mut dyn Machine, spec: &Shuffle, interleaved: bool) {
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

pub fn codec_rounding(machine: &mut dyn Machine) {
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

/// Smooth, with a little noise and some of black and white.
pub fn codec_samples<S: Sample>(random: &mut Random, width: usize, count: usize) -> Vec<S> {
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

pub fn codec_planes<S: Sample>(width: u32, rows: u32, count: u32) -> picture::Planes {
    picture::Planes {
        width,
        rows,
        count,
        deep: S::BITS > 8,
    }
}

pub fn codec_scatter(machine: &mut dyn Machine) {
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

pub fn codec_prediction(machine: &mut dyn Machine) {
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

/// As the codec itself adds it.
pub fn codec_add(machine: &mut dyn Machine) {
    fn check<S: Stored>(machine: &mut dyn Machine, width: u32, rows: u32, quality: u8) {
        let mut random = Random(67);
        let (wide, samples) = (width as usize, (width * rows) as usize);
        let luma = codec_planes::<S>(width, rows, 1);
        let chroma = codec_planes::<S>(width / 2, rows / 2, 2);
        let mut y = codec_samples::<S>(&mut random, wide, samples);
        let mut uv = codec_samples::<S>(&mut random, wide / 2, samples / 2);
        let scale = residual::Scale::new(quality, S::BITS);
        let mut squares = Vec::new();
        // Every third block has a large square in place of its quarters, every other third fine ones.
        let all = PARTS as u32;
        let parts = (0..all * width * rows / 256).filter(|at| at % 5 != 1);
        for at in parts.filter(|at| match (at % all) as usize {
            0..QUARTERS => at / all % 3 == 1,
            WHOLE => (at / all).is_multiple_of(3),
            DIVIDED.. => at / all % 3 == 2,
            _ => true,
        }) {
            let part = (at % all) as u8;
            let area = Shape::of(part).side().pow(2);
            let mut levels = vec![0; area].into_boxed_slice();
            for _ in 0..5 {
                let to = (random.next() >> 40) as usize % area;
                levels[to] = (random.next() >> 40) as i16 % 90;
            }
            squares.push(residual::code::Square {
                block: at / all,
                part,
                levels,
            });
        }
        let mut lists: [codec::Squares; SHAPES] = Default::default();
        for square in &squares {
            let (place, _) = residual::place(wide, square.block, square.part);
            let second = if square.part == 5 { samples / 4 } else { 0 };
            for (place, levels) in residual::transformed(square, second + place, wide) {
                lists[square.shape() as usize].push(place as u32, &levels);
            }
        }
        assert!(lists.iter().all(|list| !list.is_empty()));
        let at = [S::store(&y), S::store(&uv)].map(|plane| machine.upload(&plane));
        for (shape, list) in Shape::ALL.into_iter().zip(&lists) {
            let from = list.bytes().map(|bytes| machine.upload(&bytes));
            let is_chroma = shape == Shape::Chroma;
            let (planes, to) = if is_chroma {
                (chroma, at[1])
            } else {
                (luma, at[0])
            };
            let (side, half) = (shape.transformed() as u32, scale.half(is_chroma));
            let launch = codec::add(side, list.counts(), from, half, planes, to);
            machine.run(&launch.unwrap());
        }
        let (u, v) = uv.split_at_mut(samples / 4);
        let mut area = residual::Area {
            width: wide,
            y: &mut y,
            u,
            v,
        };
        for square in &squares {
            area.add(square, scale);
        }
        let what = format!("{luma:?}, quality {quality}");
        assert_equal(&machine.download(at[0]), &S::store(&y), &what);
        assert_equal(&machine.download(at[1]), &S::store(&uv), &what);
    }
    for (width, rows, quality) in [(64, 64, 0), (192, 64, 40), (64, 128, 63)] {
        check::<u8>(machine, width, rows, quality);
        check::<u16>(machine, width, rows, quality);
    }
}

pub fn codec_merge(machine: &mut dyn Machine) {
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
pub fn codec_loop_filter(machine: &mut dyn Machine) {
    fn check<S: Stored>(machine: &mut dyn Machine, seed: u64, (width, height): (usize, usize)) {
        let mut random = Random(seed);
        let numbers = codec_filter::synthetic::numbers(seed as u32);
        let filters = codec_filter::FrameFilters::new(&numbers).unwrap();
        let planes = [width * height, width * height / 2]
            .map(|count| codec_samples::<S>(&mut random, width, count));
        let skips: [Vec<bool>; 2] = [5, 3].map(|every| {
            let blocks = 0..width * height / 256;
            let skip = blocks.map(|_| (random.next() >> 40).is_multiple_of(every));
            skip.collect()
        });
        let weights: Vec<u8> = filters.weights().flat_map(i16::to_ne_bytes).collect();
        let flags = skips.each_ref().map(|skip| {
            let flags: Vec<u8> = skip.iter().map(|s| u8::from(*s)).collect();
            machine.upload(&flags)
        });
        let spec = LoopFilter::new(width as u32, height as u32, S::BITS > 8).unwrap();
        let from = planes
            .each_ref()
            .map(|plane| machine.upload(&S::store(plane)));
        let bends = machine.zeros(spec.bends_bytes() as usize);
        machine.run(&spec.bend(from[0], bends).unwrap());
        let weights = machine.upload(&weights);
        for number in 1..=codec_filter::SETS as u8 {
            let mut wanted = planes.clone();
            let [y, uv] = &mut wanted;
            codec_filter::LoopFilter::new(width, height).apply_to_frame(
                &filters,
                number,
                [y, uv],
                skips.each_ref().map(Vec::as_slice),
            );
            assert!(wanted[0] != planes[0] && wanted[1] != planes[1]);
            let how = Filtering {
                limits: filters.limits(S::BITS),
                bends,
                weights,
                skips: flags,
                set: Set::Number(number),
            };
            let bytes = usize::from(S::BITS.div_ceil(8));
            let to = [0, 1].map(|i| machine.zeros(planes[i].len() * bytes));
            machine.run(&spec.filter(&how, from, to).unwrap());
            let what = format!("{spec:?}, set {number}");
            for (to, wanted) in to.into_iter().zip(&wanted) {
                assert_equal(&machine.download(to), &S::store(wanted), &what);
            }
        }
    }
    for (seed, size) in [(67, (64, 64)), (71, (192, 64)), (73, (64, 128))] {
        check::<u8>(machine, seed, size);
        check::<u16>(machine, seed, size);
    }
}

pub fn codec_show(machine: &mut dyn Machine) {
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
