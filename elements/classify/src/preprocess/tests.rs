// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::*;

const SPEC: Preprocessing = Preprocessing {
    size: 64,
    resize_short_side: 64,
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
};

/// `pattern()` of preprocess.py.
fn pattern(w: usize, h: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(w * h * 3);
    for y in 0..h {
        for x in 0..w {
            for c in 0..3 {
                out.push(((x * 7 + y * 13 + c * 50) ^ ((x * y) >> 3)) as u8);
            }
        }
    }
    out
}

/// `smooth()` of preprocess.py.
fn smooth(w: usize, h: usize, c: f32) -> Vec<u8> {
    let mut out = Vec::with_capacity(w * h);
    for y in 0..h {
        for x in 0..w {
            let value = (x as f32 * 0.043 + c).sin() * (y as f32 * 0.031 + 2.0 * c).cos();
            out.push((128.0 + 24.0 * value).round_ties_even() as u8);
        }
    }
    out
}

/// The definition, written plainly: convert every pixel, scale the whole frame, cut, normalise.
fn reference(rgb: &[f32], w: usize, h: usize, spec: &Preprocessing) -> Vec<f32> {
    let (sw, sh) = scaled_size(w, h, spec.resize_short_side);
    let axis = |input: usize, output: usize| -> Vec<Vec<(usize, f64)>> {
        let scale = input as f64 / output as f64;
        let support = scale.max(1.0);
        (0..output)
            .map(|i| {
                let centre = (i as f64 + 0.5) * scale;
                let all: Vec<(usize, f64)> = (0..input)
                    .map(|x| (x, 1.0 - ((x as f64 + 0.5 - centre) / support).abs()))
                    .filter(|(_, weight)| *weight > 0.0)
                    .collect();
                let sum: f64 = all.iter().map(|(_, weight)| weight).sum();
                all.into_iter()
                    .map(|(x, weight)| (x, weight / sum))
                    .collect()
            })
            .collect()
    };
    let (xs, ys) = (axis(w, sw), axis(h, sh));
    let (left, top) = ((sw - spec.size) / 2, (sh - spec.size) / 2);
    let mut out = Vec::new();
    for c in 0..3 {
        for row in &ys[top..top + spec.size] {
            for column in &xs[left..left + spec.size] {
                let mut sum = 0.0;
                for (y, wy) in row {
                    for (x, wx) in column {
                        sum += wy * wx * f64::from(rgb[(y * w + x) * 3 + c]);
                    }
                }
                let value = sum.clamp(0.0, 255.0) as f32 / 255.0;
                out.push((value - spec.mean[c]) / spec.std[c]);
            }
        }
    }
    out
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// A copy of a plane with `pad` bytes of rubbish after each row.
fn padded(data: &[u8], width: usize, pad: usize) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    for row in data.chunks_exact(width) {
        out.extend_from_slice(row);
        out.extend(std::iter::repeat_n(0xa5, pad));
    }
    (out, width + pad)
}

fn plane(data: &[u8], stride: usize) -> Plane<'_> {
    Plane { data, stride }
}

fn packed(data: &[u8], w: usize, order: Order) -> Pixels<'_> {
    Pixels::Packed {
        rgb: plane(data, w * 3),
        order,
    }
}

#[test]
fn golden_values_of_the_training_code() {
    let text = include_str!("../../tests/data/preprocess.txt");
    let mut out = Vec::new();
    let (mut size, mut limit, mut checked) = (0, 0.0f32, 0);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| fields[i].parse::<usize>().unwrap();
        if fields.len() == 5 {
            let (w, h) = (number(1), number(2));
            size = number(4);
            let spec = Preprocessing {
                size,
                resize_short_side: number(3),
                ..SPEC
            };
            let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
            let yuv = [smooth(w, h, 0.0), smooth(cw, ch, 1.0), smooth(cw, ch, 2.0)];
            let mut colour = Colour::BT601;
            match fields[0] {
                "rgb" => {
                    let mut prep = Preprocessor::new(&spec, w, h, colour).unwrap();
                    out = prep.run(packed(&pattern(w, h), w, Order::Rgb)).unwrap();
                    limit = 2e-4;
                    continue;
                }
                "yuv601" => {}
                "yuv709cosited" => {
                    colour = Colour {
                        cosited_x: true,
                        ..Colour::BT709
                    }
                }
                "yuv601full" => colour.full_range = true,
                other => panic!("unknown kind {other}"),
            }
            let mut prep = Preprocessor::new(&spec, w, h, colour).unwrap();
            out = prep
                .run(Pixels::Planar {
                    y: plane(&yuv[0], w),
                    u: plane(&yuv[1], cw),
                    v: plane(&yuv[2], cw),
                })
                .unwrap();
            // Chroma brought to luma size first is smoothed once more: half a level of 255.
            limit = 0.5 / 255.0 / 0.22;
        } else {
            let got = out[(number(0) * size + number(1)) * size + number(2)];
            let want: f32 = fields[3].parse().unwrap();
            assert!(
                (got - want).abs() <= limit,
                "{line}: got {got} (limit {limit})"
            );
            checked += 1;
        }
    }
    assert_eq!(checked, 11 * 60);
}

#[test]
fn rgb_and_bgr_agree_with_the_plain_definition() {
    for (w, h) in [
        (64, 64),
        (97, 64),
        (130, 251),
        (31, 40),
        (400, 100),
        (1, 1),
        (3, 200),
    ] {
        let rgb = pattern(w, h);
        let float: Vec<f32> = rgb.iter().map(|v| f32::from(*v)).collect();
        let want = reference(&float, w, h, &SPEC);
        let mut prep = Preprocessor::new(&SPEC, w, h, Colour::BT601).unwrap();
        let got = prep.run(packed(&rgb, w, Order::Rgb)).unwrap();
        assert!(worst(&got, &want) < 1e-4, "{w}x{h}: {}", worst(&got, &want));
        let bgr: Vec<u8> = rgb
            .chunks_exact(3)
            .flat_map(|p| [p[2], p[1], p[0]])
            .collect();
        assert_eq!(prep.run(packed(&bgr, w, Order::Bgr)).unwrap(), got);
    }
}

#[test]
fn yuv_agrees_with_converting_first() {
    for (w, h) in [(320usize, 240usize), (321, 239), (641, 361)] {
        let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
        let [y, u, v] = [smooth(w, h, 0.3), smooth(cw, ch, 1.3), smooth(cw, ch, 2.3)];
        for colour in [
            Colour::BT601,
            Colour::BT709,
            Colour {
                full_range: true,
                ..Colour::BT709
            },
        ] {
            let matrix = Matrix::new(&colour);
            let mut rgb = Vec::new();
            for py in 0..h {
                for px in 0..w {
                    let c = (py / 2) * cw + px / 2;
                    let yuv = [y[py * w + px], u[c], v[c]].map(f32::from);
                    rgb.extend(matrix.apply(yuv[0], yuv[1], yuv[2]));
                }
            }
            let want = reference(&rgb, w, h, &SPEC);
            let mut prep = Preprocessor::new(&SPEC, w, h, colour).unwrap();
            let pixels = Pixels::Planar {
                y: plane(&y, w),
                u: plane(&u, cw),
                v: plane(&v, cw),
            };
            let got = prep.run(pixels).unwrap();
            // one level of 255, as the reference repeats chroma samples
            assert!(
                worst(&got, &want) < 1.0 / 255.0 / 0.22,
                "{}",
                worst(&got, &want)
            );
        }
    }
}

#[test]
fn layout_and_padding_do_not_matter() {
    let (w, h) = (101usize, 75usize);
    let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
    let [y, u, v] = [smooth(w, h, 0.0), smooth(cw, ch, 1.0), smooth(cw, ch, 2.0)];
    let uv: Vec<u8> = u.iter().zip(&v).flat_map(|(u, v)| [*u, *v]).collect();
    let mut prep = Preprocessor::new(&SPEC, w, h, Colour::BT709).unwrap();
    let planar = prep
        .run(Pixels::Planar {
            y: plane(&y, w),
            u: plane(&u, cw),
            v: plane(&v, cw),
        })
        .unwrap();
    let (y, y_stride) = padded(&y, w, 27);
    let (uv, uv_stride) = padded(&uv, cw * 2, 9);
    let semi = prep
        .run(Pixels::SemiPlanar {
            y: plane(&y, y_stride),
            uv: plane(&uv, uv_stride),
        })
        .unwrap();
    assert!(worst(&planar, &semi) < 1e-5);
    // The last row's padding need not be mapped.
    let short = &y[..y_stride * (h - 1) + w];
    let again = prep
        .run(Pixels::SemiPlanar {
            y: plane(short, y_stride),
            uv: plane(&uv, uv_stride),
        })
        .unwrap();
    assert_eq!(again, semi);
}

#[test]
fn grey_is_grey_in_every_matrix() {
    for colour in [Colour::BT601, Colour::BT709] {
        let mut prep = Preprocessor::new(&SPEC, 16, 16, colour).unwrap();
        let out = prep
            .run(Pixels::Planar {
                y: plane(&[126; 256], 16),
                u: plane(&[128; 64], 8),
                v: plane(&[128; 64], 8),
            })
            .unwrap();
        let level = (126.0 - 16.0) / 219.0;
        for c in 0..3 {
            let want = (level - SPEC.mean[c]) / SPEC.std[c];
            assert!((out[c * 4096] - want).abs() < 1e-5);
        }
    }
}

#[test]
fn bad_input_is_an_error() {
    assert!(matches!(
        Preprocessor::new(&SPEC, 0, 4, Colour::BT601),
        Err(PreprocessError::Empty { .. })
    ));
    let spec = Preprocessing {
        resize_short_side: 32,
        ..SPEC
    };
    assert!(matches!(
        Preprocessor::new(&spec, 8, 8, Colour::BT601),
        Err(PreprocessError::Crop { .. })
    ));
    let mut prep = Preprocessor::new(&SPEC, 8, 8, Colour::BT601).unwrap();
    let short = prep.run(packed(&[0; 8 * 8 * 3 - 1], 8, Order::Rgb));
    assert!(matches!(short, Err(PreprocessError::Short { .. })));
    let thin = prep.run(Pixels::Packed {
        rgb: plane(&[0; 1000], 23),
        order: Order::Rgb,
    });
    assert!(matches!(thin, Err(PreprocessError::Short { .. })));
}

proptest! {
    /// Any size: no panic, and a flat picture stays flat.
    #[test]
    fn flat_stays_flat(w in 1usize..200, h in 1usize..200, size in 1usize..40, extra in 0usize..20, level in 0u8..=255) {
        let spec = Preprocessing { size, resize_short_side: size + extra, mean: [0.0; 3], std: [1.0; 3] };
        let mut prep = Preprocessor::new(&spec, w, h, Colour { full_range: true, ..Colour::BT601 }).unwrap();
        let want = f32::from(level) / 255.0;
        let rgb = vec![level; w * h * 3];
        for value in prep.run(packed(&rgb, w, Order::Bgr)).unwrap() {
            prop_assert!((value - want).abs() < 1e-4);
        }
        let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
        let (y, u, v) = (vec![level; w * h], vec![128; cw * ch], vec![128; cw * ch]);
        let pixels = Pixels::Planar { y: plane(&y, w), u: plane(&u, cw), v: plane(&v, cw) };
        for value in prep.run(pixels).unwrap() {
            prop_assert!((value - want).abs() < 1e-4);
        }
    }
}
