// SPDX-License-Identifier: Apache-2.0
//! The kernels of enhancement, with the operations' own code as their references.

use aivideo_color::{
    planes::{self, PlanesMut},
    table::ColorTable,
};
use aivideo_core::{
    deep::Yuv420Deep,
    pixels::{PlaneRef, Yuv420},
};
use aivideo_cuda::{
    clahe::{self, COUNT_BYTES, CURVE_BYTES, Curves, MIXED_BYTES},
    denoise::{Mix, Planes},
    image, lut,
    measure::{self, LIGHT_BYTES, Sums},
    picture::{Picture, Samples},
    steady::Reduce,
};
use aivideo_enhance::{
    frame::{Colour, Gamut},
    hdr::light::Meter,
    noise::{Blocks, answers},
    operations::{
        color::clahe::{CLIP, Clahe, RATE},
        image_net::planes as image_planes,
    },
    stabilize::{
        pyramid::{self, Pyramid},
        similarity::Similarity,
        warp::View,
    },
    temporal::{Temporal, Weights},
};

use super::kernels::{Job, noise, one};

/// Planes of eight bits, one after the other.
fn yuv((w, h): (u32, u32), bytes: &[u8]) -> Yuv420 {
    let mut picture = Yuv420::new(w as usize, h as usize);
    let (y, chroma) = bytes.split_at(picture.y.len());
    let (u, v) = chroma.split_at(picture.u.len());
    picture.y.copy_from_slice(y);
    picture.u.copy_from_slice(u);
    picture.v.copy_from_slice(&v[..u.len()]);
    picture
}

/// The same of ten bits in the lower ones of two bytes.
fn yuv_deep((w, h): (u32, u32), bytes: &[u8]) -> Yuv420Deep {
    let mut picture = Yuv420Deep::new(w as usize, h as usize);
    let mut codes = bytes
        .chunks_exact(2)
        .map(|b| u16::from_le_bytes([b[0], b[1]]).min(1023));
    for plane in [&mut picture.y, &mut picture.u, &mut picture.v] {
        plane
            .iter_mut()
            .zip(&mut codes)
            .for_each(|(to, from)| *to = from);
    }
    picture
}

fn numbers(values: impl IntoIterator<Item = u32>) -> Vec<u8> {
    values.into_iter().flat_map(u32::to_ne_bytes).collect()
}

pub fn jobs(size: (u32, u32)) -> Vec<Job> {
    let bytes = Picture::planar_bytes(size, Samples::Eight) as usize;
    let deep_bytes = Picture::planar_bytes(size, Samples::TenLower) as usize;
    let luma = (size.0 * size.1) as usize;
    let eight = move |memory| Picture::planar(memory, size, Samples::Eight);
    let picture = noise(bytes);
    let mut all = vec![
        Job {
            name: "luma copied",
            inputs: vec![picture[..luma].to_vec()],
            output: luma,
            build: one(move |m| eight(m[0]).y.copy(&eight(m[1]).y)),
            reference: Box::new(|i| i[0].clone()),
        },
        light(size, deep_bytes),
        local_contrast(size, picture.clone()),
        net(size, picture.clone()),
        table(size, picture.clone()),
        mixing(size, picture[..luma].to_vec()),
        reduced(size, picture[..luma].to_vec()),
        moved(size, picture[..luma].to_vec()),
    ];
    let sums = Sums {
        side: 64,
        parts: 4,
        first: 0,
        every: 1,
        count: 4,
    };
    all.push(Job {
        name: "a thumbnail",
        inputs: vec![picture.clone()],
        output: sums.bytes() as usize,
        build: one(move |m| sums.launch(&eight(m[0]).y, m[1])),
        reference: Box::new(move |i| {
            // Only the strides and places matter.
            let place = aivideo_cuda::Memory {
                address: 64,
                bytes: i[0].len() as u64,
            };
            let of = eight(place).y;
            let sums = sums.reference(&of, &i[0]);
            sums.iter().flat_map(|v| v.to_ne_bytes()).collect()
        }),
    });
    if let Some(blocks) = Blocks::of(size.0 as usize, size.1 as usize) {
        let spec = measure::Noise {
            every: blocks.every as u32,
            count: blocks.count as u32,
        };
        all.push(Job {
            name: "noise in blocks",
            // Neither black nor white, so that each block is answered for.
            inputs: vec![picture.iter().map(|v| (*v).clamp(1, 254)).collect()],
            output: spec.bytes() as usize,
            build: one(move |m| spec.launch(&eight(m[0]).y, m[1])),
            reference: Box::new(move |i| {
                let plane = PlaneRef::packed(&i[0][..luma], size.0 as usize, size.1 as usize);
                numbers(
                    answers(&plane, blocks, 255).flat_map(|answer| {
                        [answer.sum, answer.clipped | u32::from(answer.flat) << 16]
                    }),
                )
            }),
        });
    }
    all.push(Job {
        name: "chroma three times as large",
        inputs: {
            let [rows, columns] = aivideo_enhance::chroma::places(
                (size.0 as usize, size.1 as usize),
                (3 * size.0 as usize, 3 * size.1 as usize),
                3,
                Default::default(),
            );
            let bytes =
                |taps: &[image::Taps], length| image::tap_bytes(taps, length).unwrap_or_default();
            vec![
                picture[..luma].to_vec(),
                bytes(&rows, size.1),
                bytes(&columns, size.0),
            ]
        },
        output: 9 * luma,
        build: one(move |m| {
            let large = Picture::planar(m[3], (3 * size.0, 3 * size.1), Samples::Eight);
            image::enlarge(&eight(m[0]).y, &large.y, m[1], m[2])
        }),
        reference: Box::new(move |i| {
            let mut out = vec![0; 9 * luma];
            aivideo_enhance::chroma::enlarge(
                &i[0],
                (size.0 as usize, size.1 as usize),
                &mut out,
                (3 * size.0 as usize, 3 * size.1 as usize),
                3,
                Default::default(),
            );
            out
        }),
    });
    all
}

fn light(size: (u32, u32), bytes: usize) -> Job {
    let mut samples = noise(bytes);
    // Ten bits.
    samples.iter_mut().skip(1).step_by(2).for_each(|v| *v &= 3);
    Job {
        name: "light of a PQ picture",
        inputs: vec![samples],
        output: LIGHT_BYTES as usize,
        build: one(move |m| measure::light(&Picture::planar(m[0], size, Samples::TenLower), m[1])),
        reference: Box::new(move |i| numbers(Meter::default().count(&yuv_deep(size, &i[0])))),
    }
}

fn local_contrast(size: (u32, u32), picture: Vec<u8>) -> Job {
    let range = (16, 235);
    let spec = Curves {
        range,
        clip: CLIP,
        rate: RATE,
        amount: 0.5,
        fresh: true,
    };
    let zeros = |bytes: u64| vec![0; bytes as usize];
    Job {
        name: "local contrast: histograms, curves, luma",
        inputs: vec![
            picture,
            zeros(COUNT_BYTES),
            zeros(CURVE_BYTES),
            zeros(MIXED_BYTES),
        ],
        output: 0,
        build: Box::new(move |m| {
            let luma = Picture::planar(m[0], size, Samples::Eight).y;
            Ok(vec![
                clahe::count(&luma, m[1])?,
                spec.follow(&luma, m[1], m[2], m[3])?,
                clahe::apply(&luma, m[3])?,
            ])
        }),
        reference: Box::new(move |i| {
            let mut out = i[0].clone();
            let luma = &mut out[..(size.0 * size.1) as usize];
            Clahe::default().apply(luma, size.0 as usize, spec.amount, range);
            out
        }),
    }
}

fn net(size: (u32, u32), picture: Vec<u8>) -> Job {
    let colour = Colour {
        gamut: Gamut::Bt709,
        ..Colour::default()
    };
    let (kr, kb) = colour.gamut.weights();
    let codes = image::Colour {
        black: 16.0,
        span: 219.0,
        grey: 128.0,
        chroma: 224.0,
        kr,
        kb,
    };
    let channels = image::Channels {
        count: 3,
        last: false,
        bytes: false,
        white: 1.0,
    };
    let paste = image::Paste {
        from: size,
        at: (0, 0),
        size,
        to: (0, 0),
        planes: size,
    };
    let floats = vec![0; image::plane_bytes(3, size) as usize];
    Job {
        name: "to a net of three channels and back",
        output: picture.len(),
        inputs: vec![picture, floats.clone(), floats],
        build: Box::new(move |m| {
            let [from, to] = [m[0], m[3]].map(|m| Picture::planar(m, size, Samples::Eight));
            Ok(vec![
                image::cut(&from, &codes, (0, 0), size, channels, m[1])?,
                paste.launch(channels, m[1], m[2])?,
                image::colours(m[2], &codes, &to)?,
            ])
        }),
        reference: Box::new(move |i| {
            let planes = image_planes::Planes::of(&yuv(size, &i[0]), colour, 3);
            let mut out = Yuv420::new(size.0 as usize, size.1 as usize);
            image_planes::from_rgb(&planes, colour, &mut out);
            [out.y, out.u, out.v].concat()
        }),
    }
}

fn table(size: (u32, u32), picture: Vec<u8>) -> Job {
    const SIDE: usize = 65;
    let entries = (0..SIDE.pow(3)).map(|i| {
        let [y, u, v] = [i % SIDE, i / SIDE % SIDE, i / SIDE / SIDE].map(|v| v as f32 / 64.0);
        [y * 0.9 + 0.05, 1.0 - v, (u + y) / 2.0]
    });
    let table = ColorTable::between(SIDE, (255, 1023), [0.0; 3], [1.0; 3], entries);
    let parts = table.parts();
    let own = lut::Table {
        size: parts.size as u32,
        scale: parts.scale,
        offset: parts.offset,
        fraction: parts.fraction,
        top: parts.top as u32,
    };
    let spec = lut::Yuv {
        table: own,
        cosited: true,
    };
    let numbers: Vec<u8> = parts
        .entries
        .iter()
        .flatten()
        .flat_map(|v| v.to_ne_bytes())
        .collect();
    Job {
        name: "a table of 65 x 65 x 65 over luma and chroma, to ten bits",
        inputs: vec![picture, numbers],
        output: Picture::planar_bytes(size, Samples::TenLower) as usize,
        build: one(move |m| {
            let from = Picture::planar(m[0], size, Samples::Eight);
            let to = Picture::planar(m[2], size, Samples::TenLower);
            spec.launch(m[1], &from, &to)
        }),
        reference: Box::new(move |i| {
            let from = yuv(size, &i[0]);
            let mut to = Yuv420Deep::new(from.width, from.height);
            let given = planes::Planes {
                width: from.width,
                height: from.height,
                y: &from.y,
                u: &from.u,
                v: &from.v,
            };
            let mut out = PlanesMut {
                y: &mut to.y,
                u: &mut to.u,
                v: &mut to.v,
            };
            planes::apply(&table, &given, &mut out, true);
            let codes = to.y.iter().chain(&to.u).chain(&to.v);
            codes.flat_map(|v| v.to_le_bytes()).collect()
        }),
    }
}

fn mixing(size: (u32, u32), before: Vec<u8>) -> Job {
    const STRENGTH: f32 = 0.6;
    const SIGMA: f32 = 12.0;
    let weights = Weights::new(STRENGTH, SIGMA);
    let mix = Mix {
        most: weights.most as u32,
        limit: weights.limit as u32,
        slope: weights.slope as u32,
    };
    // A little off in most places, and far in some.
    let now: Vec<u8> = before
        .iter()
        .enumerate()
        .map(|(i, v)| v.wrapping_add(if i % 977 < 40 { 90 } else { (i % 5) as u8 }))
        .collect();
    Job {
        name: "a cleaned plane and the last",
        output: now.len(),
        inputs: vec![now.clone(), before, vec![0; now.len()]],
        build: one(move |m| {
            let planes = Planes {
                now: m[0],
                now_width: size.0,
                before: Some(m[1]),
                after: m[3],
                still: None,
            };
            mix.launch(&planes, &Picture::planar(m[2], size, Samples::Eight).y)
        }),
        reference: Box::new(move |i| {
            let picture = |luma: &[u8]| {
                let mut picture = Yuv420::new(size.0 as usize, size.1 as usize);
                picture.y.copy_from_slice(luma);
                picture
            };
            let mut temporal = Temporal::default();
            temporal.apply(&mut picture(&i[1]), STRENGTH, (SIGMA, SIGMA));
            let mut now = picture(&i[0]);
            temporal.apply(&mut now, STRENGTH, (SIGMA, SIGMA));
            now.y
        }),
    }
}

/// Luma in which motion is found.
fn reduced(size: (u32, u32), luma: Vec<u8>) -> Job {
    let (w, h) = (size.0 as usize, size.1 as usize);
    let (by, to) = pyramid::reduced((w, h));
    let spec = Reduce {
        by: by as u32,
        width: to.0 as u32,
        height: to.1 as u32,
    };
    Job {
        name: "luma reduced to find motion",
        output: spec.bytes() as usize,
        inputs: vec![luma],
        build: one(move |m| spec.launch(&Picture::planar(m[0], size, Samples::Eight).y, m[1])),
        reference: Box::new(move |i| {
            let mut pyramid = Pyramid::new(PlaneRef::packed(&i[0], w, h), None);
            pyramid.levels.swap_remove(0).data
        }),
    }
}

/// Luma of a camera that shook.
fn moved(size: (u32, u32), luma: Vec<u8>) -> Job {
    let shake = Similarity {
        x: 3.3,
        y: -5.6,
        angle: 0.02,
        log_scale: 0.01,
    };
    let view = View::new(shake, 1.1);
    Job {
        name: "luma moved onto the camera's path",
        output: luma.len(),
        inputs: vec![luma],
        build: one(move |m| {
            let of = |memory| Picture::planar(memory, size, Samples::Eight).y;
            view.on_device(1.0).launch(&of(m[0]), &of(m[1]))
        }),
        reference: Box::new(move |i| {
            let mut out = vec![0; i[0].len()];
            let plane = PlaneRef::packed(&i[0], size.0 as usize, size.1 as usize);
            view.render(plane, 1.0, &mut out);
            out
        }),
    }
}
