// SPDX-License-Identifier: Apache-2.0
use super::classes::{BOUNDS, DIRECTIONS};
use super::kernels::filter_block;
use super::sets::{LIMIT, WEIGHT_LIMIT};
use super::*;
use proptest::prelude::*;

/// A sample, or the one at the edge that is nearest.
fn at<S: Sample>(plane: &[S], (width, height): (usize, usize), x: isize, y: isize) -> i32 {
    let x = x.clamp(0, width as isize - 1) as usize;
    let y = y.clamp(0, height as isize - 1) as usize;
    plane[y * width + x].value()
}

/// The class of a cell, as it is defined.
fn defined_class<S: Sample>(
    luma: &[S],
    (width, height): (usize, usize),
    x: isize,
    y: isize,
) -> usize {
    let at = |x, y| at(luma, (width, height), x, y);
    let shift = S::BITS - 8;
    let cell = |x: isize, y: isize| -> [u32; 4] {
        let x = x.clamp(0, width as isize / 2 - 1);
        let y = y.clamp(0, height as isize / 2 - 1);
        [(0, 1), (1, 0), (1, 1), (1, -1)].map(|(down, right)| {
            let samples = (0..4).map(|i| {
                let (x, y) = (2 * x + i % 2, 2 * y + i / 2);
                (2 * at(x, y) - at(x + right, y + down) - at(x - right, y - down)).unsigned_abs()
            });
            samples.sum::<u32>() >> shift
        })
    };
    let mut sums = [0; 4];
    for (dy, dx) in (0..9).map(|k| (k / 3 - 1, k % 3 - 1)) {
        let cell = cell(x + dx, y + dy);
        sums.iter_mut().zip(cell).for_each(|(sum, v)| *sum += v);
    }
    let [h, v, d, e] = sums;
    let level = BOUNDS.iter().filter(|b| h + v >= u32::from(**b)).count();
    let ratio = |a: u32, b: u32| (a.max(b), a.min(b));
    let (straight, oblique) = (ratio(h, v), ratio(d, e));
    let direction = if straight.0 <= 2 * straight.1 && oblique.0 <= 2 * oblique.1 {
        0
    } else if straight.0 * oblique.1 >= oblique.0 * straight.1 {
        if h > v { 1 } else { 2 }
    } else if d > e {
        3
    } else {
        4
    };
    level * DIRECTIONS + direction
}

/// A plane after the filter as it is defined, sample by sample; so many of its samples have a side of a block, and a cell.
fn defined_plane<S: Sample>(
    (filters, number): (&Filters, u8),
    plane: &[S],
    (width, height): (usize, usize),
    (block, cell): (usize, usize),
    class: impl Fn(isize, isize) -> usize,
    skip: &[bool],
) -> Vec<S> {
    let at = |x, y| at(plane, (width, height), x, y);
    let mut out = plane.to_vec();
    for (i, out) in out.iter_mut().enumerate() {
        let (x, y) = (i % width, i / width);
        if skip[y / block * (width / block) + x / block] {
            continue;
        }
        let weights = filters.set(number)[class((x / cell) as isize, (y / cell) as isize)];
        let limit = i32::from(filters.limit(S::BITS));
        let (x, y) = (x as isize, y as isize);
        let mut sum = 64;
        for (weight, (down, right)) in weights.into_iter().zip(PLACES) {
            for sign in [1, -1] {
                let other = at(x + sign * right, y + sign * down);
                sum += i32::from(weight[0]) * (other - at(x, y)).clamp(-limit, limit);
            }
        }
        *out = S::clip(at(x, y) + (sum >> 7));
    }
    out
}

fn defined<S: Sample>(
    filters: &Filters,
    number: u8,
    luma: &[S],
    size: (usize, usize),
    skip: &[bool],
) -> Vec<S> {
    let class = |x, y| defined_class(luma, size, x, y);
    defined_plane((filters, number), luma, size, (BLOCK, CELL), class, skip)
}

/// Luma, and U and V one after the other.
fn defined_frame<S: Sample>(
    filters: &FrameFilters,
    number: u8,
    [luma, chroma]: [&[S]; 2],
    size: (usize, usize),
    [skip, skip_chroma]: [&[bool]; 2],
) -> [Vec<S>; 2] {
    let class = |x, y| defined_class(luma, size, x, y);
    let half = (size.0 / 2, size.1 / 2);
    let planes = chroma.chunks(half.0 * half.1).map(|plane| {
        let filters = (&filters.chroma, number);
        defined_plane(filters, plane, half, (BLOCK / 2, 1), class, skip_chroma)
    });
    let planes: Vec<_> = planes.collect();
    [
        defined(&filters.luma, number, luma, size, skip),
        planes.concat(),
    ]
}

fn picture<S: Sample>(seed: u32, (width, height): (usize, usize), contrast: u32) -> Vec<S> {
    let mut state = seed | 1;
    let mut noise = move || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        state >> 16
    };
    let level = 1 << (S::BITS - 8);
    let sample = |i: usize| {
        let (x, y) = ((i % width) as f32, (i / width) as f32);
        let wave = 60.0 * (x * 0.2 + y * 0.11).sin() + if x > y { 40.0 } else { 0.0 };
        S::clip((120 + wave as i32 + (noise() % contrast) as i32) * level + (noise() % 4) as i32)
    };
    (0..width * height).map(sample).collect()
}

fn check<S: Sample>(seed: u32, size: (usize, usize), contrast: u32, number: u8) {
    let filters = FrameFilters::new(&synthetic::numbers(seed)).unwrap();
    let luma = picture::<S>(seed, size, contrast);
    let chroma = picture::<S>(seed ^ 5, (size.0 / 2, size.1), contrast);
    let skips: [Vec<bool>; 2] = [5, 3].map(|every| {
        let blocks = 0..size.0 * size.1 / 256;
        let skip = blocks.map(|i| (i * 7 + seed as usize).is_multiple_of(every));
        skip.collect()
    });
    let skips = skips.each_ref().map(Vec::as_slice);
    let mut filtered = [luma.clone(), chroma.clone()];
    let [y, uv] = &mut filtered;
    LoopFilter::new(size.0, size.1).apply_to_frame(&filters, number, [y, uv], skips);
    let wanted = defined_frame(&filters, number, [&luma, &chroma], size, skips);
    assert!(filtered == wanted);
    assert!(filtered[0] != luma && filtered[1] != chroma);
}

#[test]
fn the_kernels_by_hand_are_the_plain_ones() {
    let (width, height) = (128, 64);
    let filters = Filters::new(&synthetic::numbers_of_plane(9)).unwrap();
    let luma = picture::<u16>(9, (width, height), 200);
    let others = [picture::<u16>(5, (width, height), 200), luma.clone()];
    let weights: BesideSet = std::array::from_fn(|class| [class as i16 - 19; CELL]);
    let beside = others.each_ref().map(|picture| Beside {
        picture: &picture[..],
        weights: &weights,
    });
    let mut filter = LoopFilter::new(width, height);
    filter.load(&luma);
    let set = filters.set(1);
    for place in (0..32).map(|i| (i % 8, i / 8)) {
        let both = [filter_block::<u16, BLOCK, CELL>, block::<u16>].map(|f| {
            f(
                filter.view(),
                &filter.classes,
                place,
                set,
                &beside,
                (16, 12),
            )
        });
        assert_eq!(both[0], both[1]);
    }
    let chroma = picture::<u16>(3, (width / 2, height / 2), 200);
    let padded = pad(&mut filter.padded, &chroma, (width / 2, height / 2));
    for place in (0..32).map(|i| (i % 8, i / 8)) {
        let classes = &filter.classes;
        let plain = filter_block::<u16, CHROMA_BLOCK, 1>(padded, classes, place, set, &[], (16, 0));
        assert_eq!(chroma_block::<u16>(padded, classes, place, set, 16), plain);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn it_is_what_is_defined(seed in any::<u32>(), wide in 1usize..3, high in 1usize..3, contrast in 1u32..200, number in 1u8..4) {
        check::<u8>(seed, (64 * wide, 64 * high), contrast, number);
        check::<u16>(seed, (64 * wide, 64 * high), contrast, number);
    }
}

/// The largest weights and limit that a file may have, on pictures of black and white: nothing overflows.
#[test]
fn the_largest_numbers_fit_sixteen_bits() {
    fn check<S: Sample>(weights: impl Fn(usize) -> i16) {
        let numbers: Vec<u16> = std::iter::once(LIMIT)
            .chain((1..Filters::LEN).map(|i| weights(i - 1) as u16))
            .collect();
        let filters = Filters::new(&numbers).unwrap();
        let size = (64, 64);
        let most = (1 << S::BITS) - 1;
        let luma: Vec<S> = (0..64usize * 64)
            .map(|i| {
                S::clip(if (i % 64 / 3 + i / 64 / 2).is_multiple_of(2) {
                    0
                } else {
                    most
                })
            })
            .collect();
        let mut filtered = luma.clone();
        let skip = [false; 16];
        LoopFilter::new(size.0, size.1).apply(&filters, 1, &mut filtered, &skip);
        assert!(filtered == defined(&filters, 1, &luma, size, &skip));
    }
    for sign in [1, -1] {
        let even = move |_| sign * (WEIGHT_LIMIT as usize / TAPS) as i16;
        let one = move |i: usize| {
            if i % TAPS == 5 {
                sign * WEIGHT_LIMIT as i16
            } else {
                0
            }
        };
        check::<u8>(even);
        check::<u16>(even);
        check::<u8>(one);
        check::<u16>(one);
    }
}

/// What the trainer computes (`models/training/codec/loop_filter.py`) is what the codec computes.
#[test]
fn it_is_what_weights_are_fitted_for() {
    let bytes = include_bytes!("../../tests/data/loop_filter.bin");
    let size = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let (width, height) = (size(0), size(2));
    let (luma, rest) = bytes[4..].split_at(width * height);
    let (chroma, rest) = rest.split_at(width * height / 2);
    let (skip, rest) = rest.split_at(2 * (width * height / 256));
    let (numbers, expected) = rest.split_at(2 * FrameFilters::LEN);
    let pairs = numbers.chunks_exact(2);
    let numbers: Vec<u16> = pairs.map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    let skip: Vec<bool> = skip.iter().map(|s| *s != 0).collect();
    let (skip, skip_chroma) = skip.split_at(width * height / 256);
    let (mut luma, mut chroma) = (luma.to_vec(), chroma.to_vec());
    let filters = FrameFilters::new(&numbers).unwrap();
    let planes = [&mut luma[..], &mut chroma[..]];
    LoopFilter::new(width, height).apply_to_frame(&filters, 2, planes, [skip, skip_chroma]);
    assert!([luma, chroma].concat() == expected);
}

#[test]
fn the_set_that_helps_most_is_chosen() {
    let size = (128, 64);
    let skip = vec![false; 32];
    // Sets: one that does nothing, one that smooths, one that does the opposite.
    let mut numbers = vec![4u16];
    for weight in [0i16, 10, -10] {
        numbers.extend([weight as u16; CLASSES * TAPS]);
    }
    let filters = FrameFilters::new(&[&numbers[..], &numbers].concat()).unwrap();
    let noise = picture::<u8>(6, (64, 64), 200);
    let source: Vec<u8> = (0..size.0 * size.1)
        .map(|i| (60 + i % size.0) as u8)
        .collect();
    let noisy = |amount: i32| -> Vec<u8> {
        let noise = picture::<u8>(5, size, 200);
        let pairs = source.iter().zip(&noise);
        pairs
            .map(|(s, n)| (i32::from(*s) + (i32::from(*n) % 3 - 1) * amount).clamp(0, 255) as u8)
            .collect()
    };
    let mut filter = LoopFilter::new(size.0, size.1);
    let mut choose = |luma: &mut [u8], chroma: &mut [u8]| {
        filter.choose(&filters, [luma, chroma], &source, [&skip; 2])
    };
    let (mut luma, mut chroma) = (noisy(2), noise.clone());
    assert_eq!(choose(&mut luma, &mut chroma), 2);
    let mut expected = [noisy(2), noise.clone()];
    let [y, uv] = &mut expected;
    LoopFilter::new(size.0, size.1).apply_to_frame(&filters, 2, [y, uv], [&skip; 2]);
    assert!([luma, chroma] == expected);
    let (mut luma, mut chroma) = (source.clone(), noise.clone());
    assert_eq!(choose(&mut luma, &mut chroma), 0);
    assert!(luma == source && chroma == noise);
}

/// Numbers of filters with two pictures beside: weights of pairs, then of the pictures.
fn numbers_beside(pair: i16, others: [i16; 2]) -> Vec<u16> {
    let class = std::iter::repeat_n(pair, TAPS).chain(others);
    let classes = std::iter::repeat_n(class, SETS * CLASSES).flatten();
    std::iter::once(LIMIT)
        .chain(classes.map(|w| w as u16))
        .collect()
}

/// What pictures beside add is their limited difference times the weight.
#[test]
fn pictures_beside_count_by_their_weights() {
    fn check<S: Sample>() {
        let size = (64, 48);
        let luma = picture::<S>(3, size, 200);
        let others = [picture::<S>(4, size, 200), picture::<S>(5, size, 200)];
        let skip = [false; 12];
        let weights = [50, -21];
        let filters = Filters::new_beside(&numbers_beside(0, weights), 2).unwrap();
        let limit = i32::from(LIMIT) << (S::BITS - 8);
        for there in [[true, true], [true, false], [false, false]] {
            let expected: Vec<S> = (0..luma.len())
                .map(|i| {
                    let middle = luma[i].value();
                    let parts = others.iter().zip(weights).zip(there);
                    let sum: i32 = parts
                        .filter(|(_, there)| *there)
                        .map(|((other, weight), _)| {
                            (other[i].value() - middle).clamp(-limit, limit) * i32::from(weight)
                        })
                        .sum();
                    S::clip(middle + ((sum + 64) >> SHIFT))
                })
                .collect();
            let beside: Vec<Option<&[S]>> = others
                .iter()
                .zip(there)
                .map(|(other, there)| there.then_some(&other[..]))
                .collect();
            let mut filter = LoopFilter::new(size.0, size.1);
            let mut filtered = luma.clone();
            filter.apply_beside(&filters, 1, &mut filtered, &beside, &skip);
            assert!(filtered == expected);
        }
    }
    check::<u8>();
    check::<u16>();
}

/// Half a level and more is a change of one; with a doubt it takes that much more.
#[test]
fn doubt_shrinks_changes_and_makes_no_small_ones() {
    let luma = [100u8; 256];
    let changed = |difference: i16, doubts: [u8; SETS]| -> i32 {
        let filters = Filters::new_beside(&numbers_beside(0, [33, 0]), 2).unwrap();
        let other = luma.map(|v| (i16::from(v) + difference) as u8);
        let mut out = luma;
        LoopFilter::new(16, 16).apply_beside(
            &filters.with_doubts(doubts),
            2,
            &mut out,
            &[Some(&other[..])],
            &[false],
        );
        i32::from(out[0]) - 100
    };
    for sign in [1, -1] {
        // 33 / 128 of a level for each level of difference.
        assert_eq!(changed(2 * sign, [0; SETS]), i32::from(sign));
        assert_eq!(changed(2 * sign, [0, 16, 0]), 0);
        assert_eq!(changed(3 * sign, [0, 16, 0]), i32::from(sign));
        assert_eq!(changed(6 * sign, [0; SETS]), 2 * i32::from(sign));
        assert_eq!(changed(6 * sign, [0, 16, 0]), i32::from(sign));
        assert_eq!(changed(6 * sign, [16, 0, 16]), 2 * i32::from(sign));
    }
}

#[test]
fn weights_of_pictures_beside_count_for_the_limit_of_all() {
    assert!(Filters::new_beside(&numbers_beside(30, [70, -70]), 2).is_ok());
    assert!(Filters::new_beside(&numbers_beside(30, [70, -71]), 2).is_err());
    assert!(Filters::new_beside(&numbers_beside(30, [70, -70]), 1).is_err());
    assert_eq!(numbers_beside(0, [0, 0]).len(), Filters::len_beside(2));
}

#[test]
fn bad_numbers_are_refused() {
    let good = synthetic::numbers(1);
    assert!(FrameFilters::new(&good).is_ok());
    assert!(FrameFilters::new(&good[1..]).is_err() && FrameFilters::new(&good[..9]).is_err());
    let good = synthetic::numbers_of_plane(1);
    assert!(Filters::new(&good).is_ok());
    assert!(Filters::new(&good[1..]).is_err());
    assert!(Filters::new(&[&good[..], &[0]].concat()).is_err());
    for limit in [0, 9, 65535] {
        let mut bad = good.clone();
        bad[0] = limit;
        assert!(Filters::new(&bad).is_err());
    }
    let mut bad = good;
    bad[1] = 32767;
    assert!(Filters::new(&bad).is_err());
}
