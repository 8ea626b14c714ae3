// SPDX-License-Identifier: Apache-2.0
//! The kernels that the codec's encoder adds to the decoder's.

use super::*;
use aivideo_codec::coder::{Picture, decision};
use aivideo_codec::motion::parallel::{self, Steps};
use aivideo_codec::motion::{Reference, Searcher, Variant};
use aivideo_cuda::codec::{Gather, Gathered};
use aivideo_cuda::errors::BlockErrors;
use aivideo_cuda::loop_filter::{Judge, WEIGHTS_BYTES};
use aivideo_cuda::search::{self, Given, Known, Level, Search, Step, Which};

/// Frames of odd sizes, apart and interleaved, to larger planes.
pub fn load(machine: &mut dyn Machine) {
    for (width, height) in SIZES {
        for samples in [Samples::Eight, Samples::TenLower, Samples::TenUpper] {
            for interleaved in [false, true] {
                let mut random = Random(89);
                let stride = |row: u32| (row + 5) * samples.bytes();
                let (cw, ch) = (width.div_ceil(2), height.div_ceil(2));
                let shapes = match interleaved {
                    true => vec![(width, height), (2 * cw, ch)],
                    false => vec![(width, height), (cw, ch), (cw, ch)],
                };
                let bytes: Vec<Vec<u8>> = (shapes.iter())
                    .map(|(row, rows)| {
                        random.bytes(plane_bytes(stride(*row), row * samples.bytes(), *rows))
                    })
                    .collect();
                let planes = bytes.iter().zip(&shapes);
                let frame = Frame {
                    planes: planes
                        .map(|(bytes, (row, _))| area(machine.upload(bytes), stride(*row)))
                        .collect(),
                    samples,
                    width,
                    height,
                };
                for number in 0..3 {
                    let side = |side: u32| side.next_multiple_of(64) >> u32::from(number > 0);
                    let planes = picture::Planes {
                        width: side(width),
                        rows: side(height),
                        count: 1,
                        deep: samples != Samples::Eight,
                    };
                    let component = frame.component(number).unwrap();
                    let to = machine.zeros(planes.bytes() as usize);
                    machine.run(&component.load(planes, to).unwrap());
                    let mut wanted = vec![0; planes.bytes() as usize];
                    let from = &bytes[number.min(shapes.len() - 1)];
                    component.load_reference(planes, from, &mut wanted);
                    let what = format!("{width}x{height} {samples:?}, component {number}");
                    assert_equal(&machine.download(to), &wanted, &what);
                }
            }
        }
    }
}

fn store32(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_ne_bytes()).collect()
}

/// The encoder's own sums.
pub fn errors(machine: &mut dyn Machine) {
    fn check<S: Stored>(machine: &mut dyn Machine, (width, height): (usize, usize), most: bool) {
        let mut random = Random(97);
        let pictures = [0, 1].map(|number: i32| {
            let mut picture = Picture::<S>::grey(width, height);
            picture.y = codec_samples(&mut random, width, width * height);
            picture.uv = codec_samples(&mut random, width / 2, width * height / 2);
            if most {
                // The largest error there is.
                picture.y.fill(S::clip(2000 * number));
                picture.uv.fill(S::clip(2000 * number));
            }
            picture
        });
        let [one, other] = [&pictures[0], &pictures[1]].map(|p| {
            [
                machine.upload(&S::store(&p.y)),
                machine.upload(&S::store(&p.uv)),
            ]
        });
        let spec = BlockErrors::new(width as u32, height as u32, S::BITS > 8).unwrap();
        let to = machine.zeros(spec.bytes() as usize);
        machine.run(&spec.between(one, other, to).unwrap());
        let wanted = decision::block_errors(&pictures[0], &pictures[1]);
        assert_equal(&machine.download(to), &store32(&wanted), "errors");
        machine.run(&spec.spread(one, to).unwrap());
        let wanted = decision::block_variations(&pictures[0]);
        assert_equal(&machine.download(to), &store32(&wanted), "deviations");
    }
    for size in [(64, 64), (192, 64), (64, 128)] {
        for most in [false, true] {
            check::<u8>(machine, size, most);
            check::<u16>(machine, size, most);
        }
    }
}

pub fn gather(machine: &mut dyn Machine) {
    for (count, rare) in [(1usize, 1), (256, 1), (257, 3), (5000, 9), (70_001, 70)] {
        let mut random = Random(101);
        let mut symbols: Vec<i16> = (0..count)
            .map(|_| match (random.next() >> 40) % rare {
                0 => (random.next() >> 40) as i16,
                _ => 0,
            })
            .collect();
        symbols[count - 1] = -1;
        let spec = Gather {
            length: count as u32,
        };
        let [counts, sums, list] = Gather::reference(&symbols);
        // All of them, and one too few.
        for room in [list.len(), (list.len() - 4).max(4)] {
            let bytes: Vec<u8> = symbols.iter().flat_map(|s| s.to_ne_bytes()).collect();
            let from = machine.upload(&bytes);
            let to = Gathered {
                counts: machine.zeros(counts.len()),
                sums: machine.zeros(sums.len()),
                list: machine.zeros(room),
            };
            for launch in spec.launches(from, &to).unwrap() {
                machine.run(&launch);
            }
            let what = format!("{count}, one of {rare}");
            assert_equal(&machine.download(to.counts), &counts, &what);
            assert_equal(&machine.download(to.sums), &sums, &what);
            assert_equal(&machine.download(to.list), &list[..room], &what);
        }
        assert_eq!(spec.spread(&counts, &list), Some(symbols));
    }
}

/// The encoder's own choice, and the filter by it.
pub fn choose_filter(machine: &mut dyn Machine) {
    fn check<S: Stored>(
        machine: &mut dyn Machine,
        seed: u64,
        (width, height): (usize, usize),
    ) -> u8 {
        let mut random = Random(seed);
        let numbers = codec_filter::synthetic::numbers(seed as u32);
        let filters = codec_filter::FrameFilters::new(&numbers).unwrap();
        let luma = codec_samples::<S>(&mut random, width, width * height);
        let chroma = codec_samples::<S>(&mut random, width, width * height / 2);
        let skip: Vec<bool> = (0..width * height / 256)
            .map(|_| (random.next() >> 40).is_multiple_of(5))
            .collect();
        // What a set makes of it, or what it is: then that set, or none, is the best.
        let best = (seed % 4) as u8;
        let mut source = luma.clone();
        if best > 0 {
            codec_filter::LoopFilter::new(width, height).apply(
                &filters.luma,
                best,
                &mut source,
                &skip,
            );
        }
        let mut wanted = [luma.clone(), chroma.clone()];
        let [y, uv] = &mut wanted;
        let number = codec_filter::LoopFilter::new(width, height).choose(
            &filters,
            [y, uv],
            &source,
            [&skip; 2],
        );
        let weights: Vec<u8> = filters.weights().flat_map(i16::to_ne_bytes).collect();
        assert_eq!(weights.len() as u64, WEIGHTS_BYTES);
        let blocks = codec_filter::judged(&skip);
        let count = blocks.len() as u32;
        let flags: Vec<u8> = skip.iter().map(|s| u8::from(*s)).collect();
        let flags = machine.upload(&flags);
        let spec = LoopFilter::new(width as u32, height as u32, S::BITS > 8).unwrap();
        let judge = Judge {
            luma: machine.upload(&S::store(&luma)),
            source: machine.upload(&S::store(&source)),
            bends: machine.zeros(spec.bends_bytes() as usize),
            weights: machine.upload(&weights),
            blocks: machine.upload(&store32(&blocks)),
            count,
            errors: machine.zeros(Judge::errors_bytes(count) as usize),
            sums: machine.zeros(Judge::SUMS_BYTES as usize),
            number: machine.zeros(4),
        };
        machine.run(&spec.bend(judge.luma, judge.bends).unwrap());
        let how = Filtering {
            limits: filters.limits(S::BITS),
            bends: judge.bends,
            weights: judge.weights,
            skips: [flags; 2],
            set: Set::Chosen(judge.number),
        };
        for launch in spec.choose(how.limits[0], &judge).unwrap() {
            machine.run(&launch);
        }
        let got = machine.download(judge.number);
        assert_equal(&got, &u32::from(number).to_ne_bytes(), "the set");
        let bytes = usize::from(S::BITS.div_ceil(8));
        let to = [&luma, &chroma].map(|plane| machine.zeros(plane.len() * bytes));
        let from = [judge.luma, machine.upload(&S::store(&chroma))];
        machine.run(&spec.filter(&how, from, to).unwrap());
        for (to, wanted) in to.into_iter().zip(&wanted) {
            assert_equal(&machine.download(to), &S::store(wanted), "filtered");
        }
        number
    }
    let mut chosen = Vec::new();
    for (seed, size) in [
        (67, (64, 64)),
        (72, (192, 64)),
        (73, (64, 128)),
        (74, (1024, 640)),
    ] {
        chosen.push(check::<u8>(machine, seed, size));
        chosen.push(check::<u16>(machine, seed, size));
    }
    assert!((0..4).all(|number| chosen.contains(&number)), "{chosen:?}");
}

/// Bytes of vectors.
fn store_vectors(vectors: &[Vector]) -> Vec<u8> {
    let numbers = vectors.iter().flat_map(|v| [v.x, v.y]);
    numbers.flat_map(i16::to_ne_bytes).collect()
}

/// Luma that moved between two pictures, here more, there less, with some that is new.
fn moving(random: &mut Random, width: usize, height: usize) -> [Vec<u8>; 2] {
    let wave = |x: f32, y: f32| {
        120.0
            + 50.0 * (x * 0.13 + (y * 0.05).sin() * 2.0).sin()
            + 40.0 * (y * 0.17 + x * 0.03).cos()
    };
    [0.0f32, 1.0].map(|t| {
        (0..width * height)
            .map(|i| {
                let (x, y) = ((i % width) as f32, (i / width) as f32);
                let noise = (random.next() >> 40) as f32 % 5.0;
                let value = match ((x / 45.0) as u32 + (y / 37.0) as u32) % 4 {
                    0 => wave(x + 5.25 * t, y - 2.5 * t),
                    1 => wave(x - 19.0 * t, y + 7.75 * t),
                    2 if x < 70.0 => (random.next() >> 40) as f32 % 256.0,
                    _ => wave(x, y),
                };
                (value + noise) as u8
            })
            .collect()
    })
}

/// Each level and each step by itself, then all of them as the encoder's search has them.
pub fn search(machine: &mut dyn Machine) {
    for (width, height, tile_rows, worth) in [
        (64, 64, 4, 40.0),
        (192, 128, 4, 9.0),
        (256, 192, 8, 300.0),
        (192, 64, 8, 0.5),
    ] {
        let mut random = Random(103);
        let [before, now] = moving(&mut random, width, height);
        let mut reference = Reference::<u8>::new(width, height);
        reference.load(&before, &vec![128; width * height / 2]);
        let mut cpu = Searcher::new(width, height, tile_rows, Variant::Parallel);
        // The second time there are vectors from the frame before.
        for round in 0..2 {
            let last = cpu.last().to_vec();
            let field = cpu.search(&now, &reference, worth);
            let spec = Search::new(width as u32, height as u32).unwrap();
            let what = format!("{width}x{height}, worth {worth}, round {round}");
            let planes = [&now, &before].map(|luma| levels(machine, &spec, luma));
            let mut found: Option<Memory> = None;
            for number in (1..=3u32).rev() {
                let level = Level {
                    number,
                    source: planes[0][number as usize],
                    reference: planes[1][number as usize],
                    parent: found,
                    lambda: aivideo_codec::motion::search::price(worth) >> number,
                };
                let to = machine.zeros(spec.vectors_bytes(number) as usize);
                machine.run(&spec.coarse(&level, to).unwrap());
                let wanted = store_vectors(&cpu.level(number as usize, worth));
                assert_equal(
                    &machine.download(to),
                    &wanted,
                    &format!("{what}, level {number}"),
                );
                found = Some(to);
            }
            let steps = cpu.steps(&reference, worth);
            let prices: Vec<u8> = (steps.prices.table().iter())
                .flat_map(|p| p.to_ne_bytes())
                .collect();
            assert_eq!(prices.len(), 4 * search::PRICES);
            let given = Given {
                source: planes[0][0],
                reference: planes[1][0],
                prices: machine.upload(&prices),
                tile_rows: tile_rows as u32,
                worth: steps.value.worth(),
                taps: interpolate::LUMA.as_flattened(),
            };
            let got = walk(
                machine,
                (&spec, &given),
                &steps,
                &cpu.level(1, worth),
                &last,
                &what,
            );
            assert_equal(&got, &store_vectors(&field.vectors), &what);
        }
    }
}

/// A plane and its halves; ten bits give the same when they are those of eight.
fn levels(machine: &mut dyn Machine, spec: &Search, luma: &[u8]) -> [Memory; 4] {
    let deep: Vec<u16> = luma
        .iter()
        .map(|v| 4 * u16::from(*v) + u16::from(v % 2))
        .collect();
    let from = machine.upload(&u16::store(&deep));
    let planes = [0, 1, 2, 3].map(|level| machine.zeros(spec.plane_bytes(level) as usize));
    machine.run(&spec.eight(from, planes[0]).unwrap());
    assert_equal(&machine.download(planes[0]), luma, "rounded to eight bits");
    for level in 1..4 {
        let launch = spec.half(level as u32, planes[level - 1], planes[level]);
        machine.run(&launch.unwrap());
    }
    planes
}

/// All steps at full size, each compared.
fn walk(
    machine: &mut dyn Machine,
    (spec, given): (&Search, &Given<'_>),
    steps: &Steps<'_>,
    half: &[Vector],
    last: &[Vector],
    what: &str,
) -> Vec<u8> {
    let blocks = spec.blocks() as usize;
    let places = [(); 2].map(|()| Known {
        vectors: machine.zeros(16 * blocks),
        modes: machine.zeros(blocks),
        squares: machine.zeros(4 * blocks),
    });
    let mut own = [(); 2].map(|()| machine.zeros(16 * blocks));
    let [mut known, mut other] = places;
    let half = machine.upload(&store_vectors(half));
    machine.run(&spec.step(Step::Start, given, other, half, known).unwrap());
    let mut found = machine.upload(&store_vectors(last));
    let mut wanted = parallel::Known {
        vectors: read_vectors(&machine.download(known.vectors)),
        modes: vec![0; blocks],
        squares: vec![0; blocks],
    };
    let mut wanted_found = last.to_vec();
    for (i, step) in parallel::STEPS.into_iter().enumerate() {
        let what = format!("{what}, step {i}, {step:?}");
        let refines = matches!(step, parallel::Step::Refine | parallel::Step::RefineParts);
        let to = match refines {
            true => Known {
                vectors: own[0],
                ..other
            },
            false => other,
        };
        let kind = match step {
            parallel::Step::Settle(which) => Step::Settle(match which {
                parallel::Which::All => Which::All,
                parallel::Which::Even => Which::Even,
                parallel::Which::Odd => Which::Odd,
            }),
            parallel::Step::Refine => Step::Refine,
            parallel::Step::RefineParts => Step::RefineParts,
            parallel::Step::Divide => Step::Divide,
        };
        machine.run(&spec.step(kind, given, known, found, to).unwrap());
        match step {
            parallel::Step::Settle(which) => wanted = steps.settle(&wanted, &wanted_found, which),
            parallel::Step::Refine => wanted_found = steps.refine(&wanted),
            parallel::Step::RefineParts => wanted_found = steps.refine_parts(&wanted),
            parallel::Step::Divide => wanted = steps.divide(&wanted, &wanted_found),
        }
        if refines {
            found = to.vectors;
            own.reverse();
            assert_equal(
                &machine.download(found),
                &store_vectors(&wanted_found),
                &what,
            );
            continue;
        }
        (known, other) = (other, known);
        assert_equal(
            &machine.download(known.vectors),
            &store_vectors(&wanted.vectors),
            &what,
        );
        assert_equal(&machine.download(known.modes), &wanted.modes, &what);
        assert_equal(
            &machine.download(known.squares),
            &store32(&wanted.squares),
            &what,
        );
    }
    machine.download(known.vectors)
}

fn read_vectors(bytes: &[u8]) -> Vec<Vector> {
    let (vectors, _) = bytes.as_chunks::<4>();
    let number = |a, b| i16::from_ne_bytes([a, b]);
    vectors
        .iter()
        .map(|v| Vector::new(number(v[0], v[1]), number(v[2], v[3])))
        .collect()
}
