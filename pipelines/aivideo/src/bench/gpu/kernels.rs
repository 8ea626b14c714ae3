// SPDX-License-Identifier: Apache-2.0
//! The CUDA kernels by themselves, and whether they give what their references give. A rehearsal times
//! the references.

use std::time::Instant;

use aivideo_color::table::{ColorTable, tetrahedral};
use aivideo_cuda::{
    Area, Element, Launch, LaunchError, Memory,
    codec::{Chroma, Order, Shuffle},
    convert::{Colour, Depth, SemiPlanar},
    device::Gpu,
    lut::Table,
    point::Point,
};
use anyhow::{Result, bail};
use indicatif::ProgressBar;
use serde::Serialize;

use super::{Options, Percentiles, codec, enhance, index};

#[derive(Serialize)]
pub struct Figure {
    pub name: String,
    /// "GPU", or "reference on the CPU" in a rehearsal.
    pub ran: &'static str,
    /// Start to end of one run, waited for.
    pub ms: Option<Percentiles>,
    /// Bytes read and written in a run, over the median, in 10^9 a second.
    pub gigabytes_per_second: f64,
    /// Whether the first run gave the reference's bytes; `None` where only the reference ran.
    pub equals_reference: Option<bool>,
}

pub(super) type Build = Box<dyn Fn(&[Memory]) -> Result<Vec<Launch>, LaunchError>>;
type Reference = Box<dyn Fn(&[Vec<u8>]) -> Vec<u8>>;

/// A kernel, or some one after the other, on pictures of a size.
pub(super) struct Job {
    pub name: &'static str,
    pub inputs: Vec<Vec<u8>>,
    /// Bytes of the output behind the inputs; 0 where the first input is changed in place.
    pub output: usize,
    pub build: Build,
    pub reference: Reference,
}

/// A single kernel.
pub(super) fn one(build: impl Fn(&[Memory]) -> Result<Launch, LaunchError> + 'static) -> Build {
    Box::new(move |memory| Ok(vec![build(memory)?]))
}

pub(super) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1u32;
    (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

fn area(memory: Memory, stride: u32) -> Area {
    Area { memory, stride }
}

fn jobs((w, h): (u32, u32)) -> Vec<Job> {
    let luma = (w * h) as usize;
    let nv12 = SemiPlanar {
        width: w,
        height: h,
        depth: Depth::Eight,
        colour: Colour::BT709,
        element: Element::F16,
        white: 1.0,
    };
    let picture = noise(luma * 3 / 2);
    let rgb = nv12.to_rgb_reference((&picture[..luma], w), (&picture[luma..], w));
    // The codec takes sides of whole positions.
    let shuffle = Shuffle {
        width: w / 8 * 8,
        height: h / 8 * 8,
        order: Order::Nchw,
        element: Element::F32,
    };
    let (sw, coded) = (shuffle.width, (shuffle.width * shuffle.height) as usize);
    let planes = move |bytes: &[u8]| {
        let (y, c) = bytes.split_at(coded);
        let (u, v) = c.split_at(coded / 4);
        [y.to_vec(), u.to_vec(), v.to_vec()]
    };
    let chroma = move |memory: Memory| Chroma::Planar {
        u: area(memory.from(coded as u64), sw / 2),
        v: area(memory.from((coded + coded / 4) as u64), sw / 2),
    };
    let source = noise(coded * 3 / 2);
    let [y, u, v] = planes(&source);
    let values = shuffle.unshuffle_reference([&y, &u, &v]);

    let entries = (0..33usize.pow(3)).map(|i| {
        let [r, g, b] = [i % 33, i / 33 % 33, i / 1089].map(|v| v as f32 / 32.0);
        [1.0 - g, r * b, (r + b) / 2.0]
    });
    let table = ColorTable::new(33, [0.0; 3], [1.0; 3], entries);
    let parts = table.parts();
    let own = Table {
        size: parts.size as u32,
        scale: parts.scale,
        offset: parts.offset,
        fraction: parts.fraction,
        top: parts.top as u32,
    };
    let numbers = parts
        .entries
        .iter()
        .flatten()
        .flat_map(|v| v.to_ne_bytes())
        .collect();
    let point = Point {
        width: w,
        height: h,
        period: 1,
        deep: false,
        upper: false,
    };
    vec![
        Job {
            name: "NV12 to planes of half",
            inputs: vec![picture.clone()],
            output: rgb.len(),
            build: one(move |m| nv12.to_rgb(area(m[0], w), area(m[0].from(luma as u64), w), m[1])),
            reference: Box::new(move |i| {
                nv12.to_rgb_reference((&i[0][..luma], w), (&i[0][luma..], w))
            }),
        },
        Job {
            name: "planes of half to NV12",
            inputs: vec![rgb],
            output: luma * 3 / 2,
            build: one(move |m| {
                nv12.from_rgb(m[0], area(m[1], w), area(m[1].from(luma as u64), w))
            }),
            reference: Box::new(move |i| {
                let mut out = vec![0; luma * 3 / 2];
                let (y, uv) = out.split_at_mut(luma);
                nv12.from_rgb_reference(&i[0], (y, w), (uv, w));
                out
            }),
        },
        Job {
            name: "the codec's unshuffle",
            inputs: vec![source],
            output: values.len(),
            build: one(move |m| shuffle.unshuffle(area(m[0], sw), chroma(m[0]), m[1])),
            reference: Box::new(move |i| {
                let [y, u, v] = planes(&i[0]);
                shuffle.unshuffle_reference([&y, &u, &v])
            }),
        },
        Job {
            name: "the codec's shuffle, rounded",
            inputs: vec![values],
            output: coded * 3 / 2,
            build: one(move |m| shuffle.shuffle(m[0], area(m[1], sw), chroma(m[1]))),
            reference: Box::new(move |i| {
                let values: Vec<f32> = i[0]
                    .chunks_exact(4)
                    .map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
                    .collect();
                shuffle.shuffle_reference(&values).concat()
            }),
        },
        Job {
            name: "a table of 33 x 33 x 33 over RGBA",
            inputs: vec![noise(4 * luma), numbers],
            output: 0,
            build: one(move |m| own.packed(m[1], (w, h), [0, 1, 2], area(m[0], 4 * w))),
            reference: Box::new(move |i| {
                let mut out = i[0].clone();
                let part =
                    |c: usize| -> Vec<u8> { i[0].iter().skip(c).step_by(4).copied().collect() };
                let [mut r, mut g, mut b] = [part(0), part(1), part(2)];
                tetrahedral(&mut r, &mut g, &mut b, &table);
                for (n, pixel) in out.chunks_exact_mut(4).enumerate() {
                    pixel[..3].copy_from_slice(&[r[n], g[n], b[n]]);
                }
                out
            }),
        },
        Job {
            name: "a table over a plane of bytes",
            inputs: vec![noise(luma), (0..=255u8).map(|v| v / 11 * 11).collect()],
            output: 0,
            build: one(move |m| point.launch(m[1], area(m[0], w))),
            reference: Box::new(move |i| {
                let mut out = i[0].clone();
                point.reference(&i[1], &mut out, w as usize);
                out
            }),
        },
    ]
}

#[allow(unsafe_code)] // starting kernels
fn on_gpu(gpu: &Gpu, job: &Job, runs: u32) -> Result<(Vec<f64>, bool)> {
    let mut buffers = Vec::new();
    for input in &job.inputs {
        buffers.push(gpu.upload(input)?);
    }
    if job.output > 0 {
        buffers.push(gpu.zeros(job.output)?);
    }
    let memory: Vec<Memory> = buffers.iter().map(|b| b.memory()).collect();
    let launches = (job.build)(&memory)?;
    let start = || {
        launches.iter().try_for_each(|launch| {
            // SAFETY: the launches' memory is that of `buffers`, which live until they were waited for.
            unsafe { gpu.start(launch) }
        })
    };
    start()?;
    let at = if job.output > 0 { buffers.len() - 1 } else { 0 };
    let equal = gpu.download(&buffers[at])? == (job.reference)(&job.inputs);
    let mut times = Vec::new();
    for _ in 0..runs {
        let begin = Instant::now();
        start()?;
        gpu.synchronize()?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok((times, equal))
}

pub fn measure(options: &Options, size: (u32, u32), bar: &ProgressBar) -> Result<Vec<Figure>> {
    let gpu = match options.device.as_str() {
        "cpu" => None,
        device => Some(Gpu::open(index(device) as usize)?),
    };
    let mut figures = Vec::new();
    for job in jobs(size)
        .into_iter()
        .chain(enhance::jobs(size))
        .chain(codec::jobs(size))
    {
        if !options.wants_name(job.name) {
            continue;
        }
        bar.set_message(job.name);
        let (times, equal) = match &gpu {
            Some(gpu) => {
                let (times, equal) = on_gpu(gpu, &job, options.runs * options.rounds)?;
                if !equal {
                    bail!("{}: the GPU's result is not the reference's", job.name);
                }
                (times, Some(equal))
            }
            None => {
                let run = |_| {
                    let start = Instant::now();
                    std::hint::black_box((job.reference)(&job.inputs));
                    start.elapsed().as_secs_f64() * 1e3
                };
                ((0..3).map(run).collect(), None)
            }
        };
        let moved = match job.output {
            0 => 2 * job.inputs[0].len(),
            output => job.inputs[0].len() + output,
        };
        let ms = Percentiles::of(times);
        let median = ms.as_ref().map_or(0.0, |ms| ms.p50);
        figures.push(Figure {
            name: job.name.to_string(),
            ran: if gpu.is_some() {
                "GPU"
            } else {
                "reference on the CPU"
            },
            gigabytes_per_second: if median > 0.0 {
                moved as f64 / median / 1e6
            } else {
                0.0
            },
            ms,
            equals_reference: equal,
        });
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// See `elements/cuda/fake`.
    #[test]
    fn on_a_stand_in_for_a_gpu() {
        aivideo_fakecuda::run_ignored();
    }

    #[test]
    #[ignore = "run by on_a_stand_in_for_a_gpu"]
    fn every_job_gives_its_references_bytes() {
        let gpu = Gpu::open(0).unwrap();
        for job in jobs((64, 48)).into_iter().chain(enhance::jobs((64, 48))) {
            let (_, equal) = on_gpu(&gpu, &job, 1).unwrap();
            assert!(equal, "{}", job.name);
        }
    }

    #[test]
    fn every_job_can_be_launched_and_its_reference_fills_the_output() {
        for job in jobs((64, 48))
            .into_iter()
            .chain(enhance::jobs((64, 48)))
            .chain(codec::jobs((64, 64)))
        {
            let mut at = 4096;
            let lens = job.inputs.iter().map(Vec::len).chain([job.output]);
            let memory: Vec<Memory> = lens
                .map(|len| {
                    let memory = Memory {
                        address: at,
                        bytes: len as u64,
                    };
                    at += (len as u64).next_multiple_of(256);
                    memory
                })
                .collect();
            (job.build)(&memory).unwrap_or_else(|err| panic!("{}: {err}", job.name));
            let expected = if job.output > 0 {
                job.output
            } else {
                job.inputs[0].len()
            };
            assert_eq!((job.reference)(&job.inputs).len(), expected, "{}", job.name);
        }
    }
}
