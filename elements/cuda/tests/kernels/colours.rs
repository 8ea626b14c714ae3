// SPDX-License-Identifier: Apache-2.0
//! Planes of colours, and what the classifier makes of pictures.

use super::*;

pub fn semi_planar_cases() -> Vec<SemiPlanar> {
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
pub fn semi_planar_memory(spec: &SemiPlanar) -> ([u32; 2], [usize; 2]) {
    let bytes = if spec.depth == Depth::Ten { 2 } else { 1 };
    let (row, c_row) = (spec.width * bytes, spec.width.div_ceil(2) * 2 * bytes);
    let strides = [row + 6, c_row + 10];
    let sizes = [
        plane_bytes(strides[0], row, spec.height),
        plane_bytes(strides[1], c_row, spec.height.div_ceil(2)),
    ];
    (strides, sizes)
}

pub fn to_rgb(machine: &mut dyn Machine) {
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

pub fn from_rgb(machine: &mut dyn Machine) {
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

pub fn packed(machine: &mut dyn Machine) {
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

pub fn axis(axis: preprocess::Axis<'_>) -> Axis {
    let first = axis.first.iter().map(|v| *v as u32).collect();
    Axis::new(first, axis.weights.to_vec(), axis.taps as u32).unwrap()
}

pub fn upload_axis(machine: &mut dyn Machine, axis: &Axis) -> AxisMemory {
    AxisMemory {
        first: machine.upload(&axis.first_bytes()),
        weights: machine.upload(&axis.weight_bytes()),
    }
}

/// The element's own preprocessing, in single precision to the bit.
pub fn classify(machine: &mut dyn Machine) {
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

pub fn classify_one(
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
