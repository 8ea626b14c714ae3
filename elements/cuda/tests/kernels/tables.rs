// SPDX-License-Identifier: Apache-2.0
//! Tables of three dimensions and of one.

use super::*;

/// A table that moves colours about, and its parts.
pub fn twisted(size: usize, tops: (u16, u16)) -> (ColorTable, Table, Vec<u8>) {
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

pub fn lut_packed(machine: &mut dyn Machine) {
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

pub fn lut_planes(machine: &mut dyn Machine) {
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

pub const SAMPLES: [Samples; 3] = [Samples::Eight, Samples::TenLower, Samples::TenUpper];

/// A picture of these codes, with rows that have something behind them, and its memory.
pub fn lay(
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
pub fn codes(machine: &mut dyn Machine, picture: &Picture) -> [Vec<u16>; 3] {
    picture.components().map(|component| {
        let bytes = machine.download(component.area.memory);
        (0..component.height)
            .flat_map(|y| (0..component.width).map(move |x| (x, y)))
            .map(|(x, y)| component.get(&bytes, x, y) as u16)
            .collect()
    })
}

pub fn lut_yuv(
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

pub fn point(machine: &mut dyn Machine) {
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
