// SPDX-License-Identifier: Apache-2.0
//! The kernels of the background's blur against the effects' own code.

use aivideo_cuda::blur::{Axis, Blur, Input, Mask, plane_bytes};
use aivideo_fx::{
    effects::gaussian,
    picture::{Colorimetry, Plane},
    simd::kernels,
    workers::{Tools, Workers},
};

use super::{Random, Samples, assert_equal, codes, lay};
use crate::machine::Machine;

fn given(random: &mut Random, (w, h): (u32, u32)) -> [Vec<u16>; 3] {
    let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
    [w * h, cw * ch, cw * ch].map(|n| (0..n).map(|_| (random.next() >> 40) as u16 & 255).collect())
}

/// Gains of a row, as the element has them.
fn gains(mask: &[f32], (w, h): (usize, usize), y: f32, width: usize, invert: bool) -> Vec<u16> {
    let place = |at: f32, size: usize| {
        let at = (at * size as f32 - 0.5).clamp(0.0, (size - 1) as f32);
        let low = (at as usize).min(size.saturating_sub(2));
        (low, (low + 1).min(size - 1), at - low as f32)
    };
    let (top, bottom, down) = place(y, h);
    let [top, bottom] = [top, bottom].map(|y| &mask[y * w..][..w]);
    (0..width)
        .map(|x| {
            let (left, right, across) = place((x as f32 + 0.5) / width as f32, w);
            let line = |row: &[f32]| row[left] + (row[right] - row[left]) * across;
            let value = line(top) + (line(bottom) - line(top)) * down;
            let gain = (value * 32768.0).round() as u16;
            if invert { 32768 - gain } else { gain }
        })
        .collect()
}

pub fn blur(machine: &mut dyn Machine) {
    let tools = Tools::new(Workers::new(1).unwrap());
    for size in [(1u32, 1u32), (33, 9), (70, 130)] {
        for sigma in [
            [0.4, 0.2],
            [2.5, 2.5],
            [6.0, 2.0],
            [2.0, 12.0],
            [40.0, 40.0],
        ] {
            for (mask_size, invert) in [((1usize, 1usize), false), ((7, 5), true)] {
                let mut random = Random(127);
                let codes_of = given(&mut random, size);
                let mask = random.floats(mask_size.0 * mask_size.1);
                let mask: Vec<f32> = mask.iter().map(|v| v.clamp(0.0, 1.0)).collect();
                let mask_bytes: Vec<u8> = mask.iter().flat_map(|v| v.to_ne_bytes()).collect();
                let mask_at = Mask {
                    memory: machine.upload(&mask_bytes),
                    width: mask_size.0 as u32,
                    height: mask_size.1 as u32,
                };
                let axis = |sigma| {
                    let (factor, weights) = gaussian::axis(sigma);
                    Axis {
                        factor: factor as u32,
                        weights,
                    }
                };
                let spec = Blur {
                    x: axis(sigma[0]),
                    y: axis(sigma[1]),
                    invert,
                };
                let [y, u, v] = &codes_of;
                let picture = lay(machine, size, Samples::Eight, 2, [y, u, v]);
                for component in picture.components() {
                    let bytes = plane_bytes(component.width, component.height) as usize;
                    let planes = [(); 3].map(|()| machine.zeros(bytes));
                    for launch in spec.launches(&component, &mask_at, planes).unwrap() {
                        machine.run(&launch);
                    }
                }
                let got = codes(machine, &picture);
                for (number, component) in picture.components().iter().enumerate() {
                    let (w, h) = (component.width as usize, component.height as usize);
                    let sharp: Vec<u8> = codes_of[number].iter().map(|v| *v as u8).collect();
                    let mut wanted = sharp.clone();
                    let mut plane = Plane {
                        data: &mut wanted,
                        stride: w,
                        width: w,
                        height: h,
                    };
                    gaussian::smooth(&mut plane, sigma, &tools, |row, soft| {
                        kernels::round_row(row, soft);
                    });
                    for (y, row) in wanted.chunks_mut(w).enumerate() {
                        let at = (y as f32 + 0.5) / h as f32;
                        let gain = gains(&mask, mask_size, at, w, invert);
                        kernels::merge(row, &sharp[y * w..][..w], &gain);
                    }
                    let got: Vec<u8> = got[number].iter().map(|v| *v as u8).collect();
                    assert_equal(&got, &wanted, &format!("{size:?} {sigma:?} {number}"));
                }
            }
        }
    }
}

pub fn input(machine: &mut dyn Machine) {
    for size in [(1u32, 1u32), (33, 9), (70, 130)] {
        for last in [false, true] {
            let codes_of = given(&mut Random(131), size);
            let color = Colorimetry::BT709;
            let (black, range) = color.luma_range();
            let spec = Input {
                width: 24,
                height: 20,
                last,
                black,
                range,
                chroma: color.chroma_range(),
                kr: color.kr,
                kb: color.kb,
                mean: [0.485, 0.456, 0.406],
                scale: [1.0 / 0.229, 1.0 / 0.224, 1.0 / 0.225],
            };
            let mut wanted = vec![0.0f32; 3 * 24 * 20];
            let place = |i: u32, quarter: u32, from: u32, to: u32| {
                ((4 * i + quarter) * from / (4 * to)).min(from - 1)
            };
            for (y, x) in (0..20).flat_map(|y| (0..24).map(move |x| (y, x))) {
                let mut code = [0.0f32; 3];
                for (row, column) in [(1, 1), (1, 3), (3, 1), (3, 3)] {
                    let (row, column) = (place(y, row, size.1, 20), place(x, column, size.0, 24));
                    for (component, sum) in code.iter_mut().enumerate() {
                        let shift = u32::from(component > 0);
                        let width = (size.0 + shift) >> shift;
                        let at = (row >> shift) * width + (column >> shift);
                        *sum += 0.25 * f32::from(codes_of[component][at as usize]);
                    }
                }
                for (c, value) in color.decode(code).into_iter().enumerate() {
                    let (pixel, c_at) = ((y * 24 + x) as usize, c * 24 * 20);
                    let at = if last { pixel * 3 + c } else { c_at + pixel };
                    wanted[at] = (value.clamp(0.0, 1.0) - spec.mean[c]) * spec.scale[c];
                }
            }
            let [y, u, v] = &codes_of;
            let of = lay(machine, size, Samples::Eight, 1, [y, u, v]);
            let out = machine.zeros(spec.bytes() as usize);
            machine.run(&spec.launch(&of, out).unwrap());
            let wanted: Vec<u8> = wanted.iter().flat_map(|v| v.to_ne_bytes()).collect();
            assert_equal(&machine.download(out), &wanted, &format!("{size:?} {last}"));
        }
    }
}
