// SPDX-License-Identifier: Apache-2.0
//! The kernels of the codec's two sides, with its own code as their references.

use aivideo_codec::coder::{Picture, decision};
use aivideo_codec::loop_filter::{self as filters, FrameFilters};
use aivideo_codec::motion::parallel::{self, STEPS};
use aivideo_codec::motion::{
    Field, Reference, Searcher, Variant, Vector, code::Prices, compensate, interpolate, overlap,
    search,
};
use aivideo_cuda::{
    Area, Launch, LaunchError, Memory,
    codec::{self, Gather, Gathered},
    errors::BlockErrors,
    loop_filter::{Filtering, Judge, LoopFilter, Set},
    motion::{self, Interpolation},
    picture::{Component, Planes, Samples},
    search::{Given, Known, Level, Search, Step, Which},
};

use super::kernels::{Job, noise, one};

/// What an error is worth against a bit at the quality of 32.
const WORTH: f64 = 80.0;
/// Rows of blocks in a tile.
const TILE_ROWS: usize = 24;

/// Sizes of the pictures as they are coded.
#[derive(Clone, Copy)]
struct Size {
    w: usize,
    h: usize,
}

impl Size {
    fn luma(self) -> usize {
        self.w * self.h
    }

    fn blocks(self) -> usize {
        self.luma() / 256
    }

    fn planes(self) -> Planes {
        Planes {
            width: self.w as u32,
            rows: self.h as u32,
            count: 1,
            deep: false,
        }
    }

    /// A texture that moves by a vector with some noise.
    fn scene(self, moved: (f64, f64)) -> Vec<u8> {
        let grain = noise(self.luma());
        let sample = |(i, grain): (usize, u8)| {
            let (x, y) = ((i % self.w) as f64 + moved.0, (i / self.w) as f64 + moved.1);
            let wave = 120.0 + 50.0 * (x * 0.05 + (y * 0.02).sin() * 2.0).sin();
            (wave + 30.0 * (y * 0.11).cos()) as u8 + grain % 4
        };
        grain.into_iter().enumerate().map(sample).collect()
    }

    fn picture(self, bytes: &[u8]) -> Picture {
        let (y, uv) = bytes.split_at(self.luma());
        Picture {
            width: self.w,
            height: self.h,
            y: y.to_vec(),
            uv: uv[..self.luma() / 2].to_vec(),
        }
    }
}

fn bytes_of(vectors: &[Vector]) -> Vec<u8> {
    let numbers = vectors.iter().flat_map(|v| [v.x, v.y]);
    numbers.flat_map(i16::to_ne_bytes).collect()
}

fn vectors_of(bytes: &[u8]) -> Vec<Vector> {
    let number = |two: &[u8]| i16::from_ne_bytes([two[0], two[1]]);
    let vectors = bytes.chunks_exact(4);
    vectors
        .map(|v| Vector::new(number(&v[..2]), number(&v[2..])))
        .collect()
}

/// Cuts memory into parts of these sizes, each on a multiple of 256 bytes.
fn parts<const N: usize>(memory: Memory, sizes: [u64; N]) -> [Memory; N] {
    let mut at = 0;
    sizes.map(|bytes| {
        let part = Memory {
            bytes,
            ..memory.from(at)
        };
        at += bytes.next_multiple_of(256);
        part
    })
}

fn room(sizes: &[u64]) -> usize {
    sizes
        .iter()
        .map(|bytes| bytes.next_multiple_of(256))
        .sum::<u64>() as usize
}

/// All of them on pictures of about this size.
pub fn jobs((w, h): (u32, u32)) -> Vec<Job> {
    let whole = |side: u32| (side / 64 * 64).max(64) as usize;
    let size = Size {
        w: whole(w),
        h: whole(h),
    };
    let mut all = vec![
        frame(size),
        errors(size),
        prediction(size),
        merge(size),
        gather(size),
        scatter(size),
        motion_search(size),
    ];
    all.extend(loop_filter(size));
    all
}

fn frame(size: Size) -> Job {
    let (width, height) = (size.w as u32 - 6, size.h as u32 - 10);
    let component = move |memory| Component {
        area: Area {
            memory,
            stride: width,
        },
        width,
        height,
        samples: Samples::Eight,
        step: 1,
        first: 0,
    };
    Job {
        name: "the codec's luma from a frame",
        inputs: vec![noise((width * height) as usize)],
        output: size.luma(),
        build: one(move |m| component(m[0]).load(size.planes(), m[1])),
        reference: Box::new(move |i| {
            let mut out = vec![0; size.luma()];
            // Its place does not matter.
            let memory = Memory {
                address: 64,
                bytes: i[0].len() as u64,
            };
            component(memory).load_reference(size.planes(), &i[0], &mut out);
            out
        }),
    }
}

fn errors(size: Size) -> Job {
    let bytes = size.luma() * 3 / 2;
    let pair = move |memory: Memory| [memory, memory.from(size.luma() as u64)];
    Job {
        name: "the codec's errors of blocks",
        inputs: vec![noise(bytes), noise(bytes + 7)[7..].to_vec()],
        output: 4 * size.blocks(),
        build: one(move |m| {
            let spec = BlockErrors::new(size.w as u32, size.h as u32, false)?;
            spec.between(pair(m[0]), pair(m[1]), m[2])
        }),
        reference: Box::new(move |i| {
            let [one, other] = [0, 1].map(|k: usize| size.picture(&i[k]));
            let errors = decision::block_errors(&one, &other);
            errors.into_iter().flat_map(u32::to_ne_bytes).collect()
        }),
    }
}

fn prediction(size: Size) -> Job {
    let vectors: Vec<Vector> = (noise(8 * size.blocks()).chunks_exact(2))
        .map(|v| Vector::new(i16::from(v[0]) - 128, i16::from(v[1]) - 128))
        .collect();
    Job {
        name: "the codec's prediction of luma",
        inputs: vec![size.scene((0.0, 0.0)), bytes_of(&vectors)],
        output: size.luma(),
        build: one(move |m| {
            let spec = Interpolation {
                taps: interpolate::LUMA.as_flattened(),
                bits: 2,
                part: 3,
                lean: &overlap::LUMA,
            };
            spec.predict(size.planes(), m[0], m[1], m[2])
        }),
        reference: Box::new(move |i| {
            let mut reference = Reference::<u8>::new(size.w, size.h);
            let mut uv = vec![128; size.luma() / 2];
            reference.load(&i[0], &uv);
            let field = Field {
                vectors: vectors_of(&i[1]),
                ..Field::still(size.w / 16, size.h / 16)
            };
            let mut out = vec![0; size.luma()];
            compensate(&reference, &field, &mut out, &mut uv);
            out
        }),
    }
}

/// One block of three is skipped.
fn skips(size: Size) -> Vec<u8> {
    noise(size.blocks())
        .into_iter()
        .map(|v| u8::from(v.is_multiple_of(3)))
        .collect()
}

fn merge(size: Size) -> Job {
    Job {
        name: "the codec's skipped blocks",
        inputs: vec![noise(size.luma()), size.scene((1.0, 2.0)), skips(size)],
        output: size.luma(),
        build: one(move |m| motion::merge(size.planes(), 4, [m[0], m[1], m[3]], m[2])),
        reference: Box::new(move |i| {
            let block = |at: usize| at / size.w / 16 * (size.w / 16) + at % size.w / 16;
            let from = |at: usize| usize::from(i[2][block(at)] != 0);
            (0..size.luma()).map(|at| i[from(at)][at]).collect()
        }),
    }
}

/// Symbols, of which one of five is not zero.
fn symbols(size: Size) -> Vec<u8> {
    let numbers = noise(128 * size.blocks()).into_iter();
    let symbol = |v: u8| {
        if v.is_multiple_of(5) {
            i16::from(v) - 128
        } else {
            0
        }
    };
    numbers.map(symbol).flat_map(i16::to_ne_bytes).collect()
}

fn numbers_of(bytes: &[u8]) -> Vec<i16> {
    let pairs = bytes.chunks_exact(2);
    pairs.map(|b| i16::from_ne_bytes([b[0], b[1]])).collect()
}

fn gather(size: Size) -> Job {
    let given = symbols(size);
    let spec = Gather {
        length: given.len() as u32 / 2,
    };
    let list = Gather::reference(&numbers_of(&given))[2].len();
    let scratch = [spec.counts_bytes(), spec.sums_bytes()];
    Job {
        name: "the codec's symbols to a list",
        inputs: vec![given, vec![0; room(&scratch)]],
        output: list,
        build: Box::new(move |m| {
            let [counts, sums] = parts(m[1], scratch);
            let to = Gathered {
                counts,
                sums,
                list: m[2],
            };
            Ok(spec.launches(m[0], &to)?.to_vec())
        }),
        reference: Box::new(|i| {
            let [_, _, list] = Gather::reference(&numbers_of(&i[0]));
            list
        }),
    }
}

fn scatter(size: Size) -> Job {
    let given = symbols(size);
    let length = given.len() as u32 / 2;
    let list = codec::entries(&numbers_of(&given));
    let count = (list.len() as u64 / codec::ENTRY_BYTES) as u32;
    Job {
        name: "the codec's symbols from a list",
        inputs: vec![list],
        output: given.len(),
        build: one(move |m| codec::scatter(count, m[0], length, m[1])),
        reference: Box::new(move |_| given.clone()),
    }
}

fn loop_filter(size: Size) -> Vec<Job> {
    let numbers = filters::synthetic::numbers(7);
    let Ok(own) = FrameFilters::new(&numbers) else {
        return Vec::new();
    };
    let weights: Vec<u8> = own.weights().flat_map(i16::to_ne_bytes).collect();
    let limits = own.limits(8);
    let skip = skips(size);
    let flags: Vec<bool> = skip.iter().map(|s| *s != 0).collect();
    let blocks: Vec<u8> = filters::judged(&flags)
        .into_iter()
        .flat_map(u32::to_ne_bytes)
        .collect();
    let count = blocks.len() as u32 / 4;
    let spec = move || LoopFilter::new(size.w as u32, size.h as u32, false);
    let bends = 2 * size.luma() as u64;
    let (luma, source) = (size.scene((0.0, 0.0)), size.scene((0.3, 0.2)));
    let filter = {
        let (own, flags) = (own.clone(), flags.clone());
        Job {
            name: "the codec's loop filter",
            inputs: vec![
                [&luma[..], &source[..size.luma() / 2]].concat(),
                weights.clone(),
                skip,
                vec![0; bends as usize],
            ],
            output: size.luma() * 3 / 2,
            build: Box::new(move |m| {
                let how = Filtering {
                    limits,
                    bends: m[3],
                    weights: m[1],
                    skips: [m[2]; 2],
                    set: Set::Number(2),
                };
                let planes = |frame: Memory| [frame, frame.from(size.luma() as u64)];
                Ok(vec![
                    spec()?.bend(m[0], m[3])?,
                    spec()?.filter(&how, planes(m[0]), planes(m[4]))?,
                ])
            }),
            reference: Box::new(move |i| {
                let mut out = i[0].clone();
                let (y, uv) = out.split_at_mut(size.luma());
                let mut filter = filters::LoopFilter::new(size.w, size.h);
                filter.apply_to_frame(&own, 2, [y, uv], [&flags; 2]);
                out
            }),
        }
    };
    let scratch = [bends, Judge::errors_bytes(count), Judge::SUMS_BYTES];
    let choice = Job {
        name: "the codec's choice of a loop filter",
        inputs: vec![luma, source, weights, blocks, vec![0; room(&scratch)]],
        output: 4,
        build: Box::new(move |m| {
            let [bends, errors, sums] = parts(m[4], scratch);
            let judge = Judge {
                luma: m[0],
                source: m[1],
                bends,
                weights: m[2],
                blocks: m[3],
                count,
                errors,
                sums,
                number: m[5],
            };
            let mut launches = vec![spec()?.bend(m[0], bends)?];
            launches.extend(spec()?.choose(limits[0], &judge)?);
            Ok(launches)
        }),
        reference: Box::new(move |i| {
            let mut out = i[0].clone();
            let mut filter = filters::LoopFilter::new(size.w, size.h);
            let mut chroma = vec![128; out.len() / 2];
            let number = filter.choose(&own, [&mut out, &mut chroma], &i[1], [&flags; 2]);
            u32::from(number).to_ne_bytes().to_vec()
        }),
    };
    vec![filter, choice]
}

fn motion_search(size: Size) -> Job {
    let table: Vec<u8> = (Prices::first().table().iter())
        .flat_map(|p| p.to_ne_bytes())
        .collect();
    let spec = move || Search::new(size.w as u32, size.h as u32);
    let (luma, blocks) = (size.luma() as u64, size.blocks() as u64);
    let vectors = 16 * blocks;
    // Levels of both pictures, what they find, and what is known and found, twice.
    let scratch = [
        luma / 4,
        luma / 16,
        luma / 64,
        luma / 4,
        luma / 16,
        luma / 64,
        vectors / 4,
        vectors / 16,
        vectors / 64,
        vectors,
        blocks,
        4 * blocks,
        vectors,
        blocks,
        4 * blocks,
        vectors,
        vectors,
    ];
    Job {
        name: "the codec's search for motion",
        inputs: vec![
            size.scene((5.25, 2.5)),
            size.scene((0.0, 0.0)),
            table,
            vec![0; room(&scratch)],
        ],
        output: vectors as usize,
        build: Box::new(move |m| search_launches(&spec()?, m, parts(m[3], scratch))),
        reference: Box::new(move |i| {
            let mut reference = Reference::<u8>::new(size.w, size.h);
            reference.load(&i[1], &vec![128; size.luma() / 2]);
            let mut searcher = Searcher::new(size.w, size.h, TILE_ROWS, Variant::Parallel);
            bytes_of(&searcher.search(&i[0], &reference, WORTH).vectors)
        }),
    }
}

/// All of the search, as the encoder starts it; the last step writes the output.
fn search_launches(
    spec: &Search,
    m: &[Memory],
    scratch: [Memory; 17],
) -> Result<Vec<Launch>, LaunchError> {
    let [a1, a2, a3, b1, b2, b3, c1, c2, c3, rest @ ..] = scratch;
    let [v1, m1, s1, v2, m2, s2, f1, f2] = rest;
    let levels = [[m[0], a1, a2, a3], [m[1], b1, b2, b3]];
    let mut all = Vec::new();
    for planes in levels {
        for level in 1..4 {
            all.push(spec.half(level as u32, planes[level - 1], planes[level])?);
        }
    }
    for (number, to, parent) in [(3, c3, None), (2, c2, Some(c3)), (1, c1, Some(c2))] {
        let level = Level {
            number,
            source: levels[0][number as usize],
            reference: levels[1][number as usize],
            parent,
            lambda: search::price(WORTH) >> number,
        };
        all.push(spec.coarse(&level, to)?);
    }
    let given = Given {
        source: m[0],
        reference: m[1],
        prices: m[2],
        tile_rows: TILE_ROWS as u32,
        worth: search::Value::new(WORTH).worth(),
        taps: interpolate::LUMA.as_flattened(),
    };
    let known = |vectors, modes, squares| Known {
        vectors,
        modes,
        squares,
    };
    let (mut now, mut other) = (known(v1, m1, s1), known(v2, m2, s2));
    // Zeros, the first time: nothing was found before. Later runs begin with what the last one left there.
    let (mut found, mut next) = (f1, f2);
    all.push(spec.step(Step::Start, &given, other, c1, now)?);
    let last = STEPS.len() - 1;
    for (i, step) in STEPS.into_iter().enumerate() {
        let kind = match step {
            parallel::Step::Settle(parallel::Which::All) => Step::Settle(Which::All),
            parallel::Step::Settle(parallel::Which::Even) => Step::Settle(Which::Even),
            parallel::Step::Settle(parallel::Which::Odd) => Step::Settle(Which::Odd),
            parallel::Step::Refine => Step::Refine,
            parallel::Step::RefineParts => Step::RefineParts,
            parallel::Step::Divide => Step::Divide,
        };
        let vectors = match kind {
            Step::Refine | Step::RefineParts => next,
            _ if i == last => m[4],
            _ => other.vectors,
        };
        let to = Known { vectors, ..other };
        all.push(spec.step(kind, &given, now, found, to)?);
        match kind {
            Step::Refine | Step::RefineParts => (found, next) = (next, found),
            _ => (now, other) = (to, now),
        }
    }
    Ok(all)
}
