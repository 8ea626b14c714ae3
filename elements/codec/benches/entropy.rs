// SPDX-License-Identifier: Apache-2.0
//! The entropy coder on one core, in symbols a second, beside the `constriction` crate on the same
//! symbols and tables in the same run.
//!
//! Real symbols come out of the shipped network, from `AIVIDEO_BENCH_Y4M=clip.y4m` (8 bits, 4:2:0) or
//! a made-up scene; where ONNX Runtime is missing only the synthetic mix is timed. `tile` is everything
//! that a tile's y takes: contexts, tables, escapes, order. `coder` is the bare coder with tables already
//! chosen, which is what `constriction` is given. Times are CPU time of the thread.
//!
//!     cargo bench -p aivideo-codec --bench entropy

use aivideo_codec::coder::{EncodeNet, ModelFiles, Picture};
use aivideo_codec::entropy::rans::{self, Decoder, Op};
use aivideo_codec::entropy::tables::synthetic;
use aivideo_codec::entropy::{
    Table, Tables, TileHistory, TileShape, coded_symbols, decode_y, encode_y,
};
use aivideo_core::settings::InferenceSettings;
use constriction::stream::model::{
    ContiguousCategoricalEntropyModel, ContiguousLookupDecoderModel,
};
use constriction::stream::stack::{DefaultAnsCoder, SmallAnsCoder};
use constriction::stream::{Decode, Encode};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

type Model = ContiguousCategoricalEntropyModel<u16, Vec<u16>, 14>;
type Lookup = ContiguousLookupDecoderModel<u16, Vec<u16>, Box<[u16]>, 14>;

/// Frames of one stream as the entropy coder gets them.
struct Source {
    name: String,
    tables: Tables,
    shape: TileShape,
    frames: Vec<(Vec<i8>, Vec<i16>)>,
}

struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as u32
    }
}

/// A share of groups coded, values as skewed as their index says.
fn made_up(share: u32) -> Option<Source> {
    let tables = Tables::parse(&synthetic::file(32, 20, 20)).ok()?;
    let shape = TileShape {
        channels: 128,
        z_channels: 32,
        width64: 20,
        height64: 12,
    };
    let mut noise = Noise(7);
    let frames = (0..2)
        .map(|_| {
            let z: Vec<i8> = (0..shape.z_len())
                .map(|_| match noise.next() % 100 < share {
                    true => 1 + (noise.next() % 12) as i8,
                    false => 0,
                })
                .collect();
            let y = (0..shape.y_len())
                .map(|i| {
                    let (channel, block) = (i / shape.blocks(), i % shape.blocks());
                    let (row, x) = (block / shape.width16(), block % shape.width16());
                    let index = z[(channel / 4 * shape.height64 + row / 4) * shape.width64 + x / 4];
                    let size = noise.next() % 256 * u32::from(index.unsigned_abs()) / 700;
                    match noise.next() & 1 {
                        0 => size as i16,
                        _ => -(size as i16),
                    }
                })
                .collect();
            (z, y)
        })
        .collect();
    Some(Source {
        name: format!("synthetic, {share} % coded"),
        tables,
        shape,
        frames,
    })
}

/// Luma and chroma of a clip's frames, cut to multiples of 64.
fn pictures() -> Option<Vec<Picture>> {
    let path = std::env::var_os("AIVIDEO_BENCH_Y4M")?;
    let bytes = std::fs::read(path).ok()?;
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let size = |key: char| -> Option<usize> {
        let field = head.split(' ').find_map(|f| f.strip_prefix(key))?;
        field.parse().ok()
    };
    let (width, height) = (size('W')?, size('H')?);
    let (w, h) = (width / 64 * 64, height / 64 * 64);
    let frame = width * height + 2 * width.div_ceil(2) * height.div_ceil(2);
    let cut = |plane: &[u8], stride: usize, w: usize, h: usize| -> Vec<u8> {
        plane
            .chunks_exact(stride)
            .take(h)
            .flat_map(|row| row[..w].to_vec())
            .collect()
    };
    let all = bytes[end + 1..].chunks_exact(frame + 6).take(6).map(|f| {
        let (y, uv) = f[6..].split_at(width * height);
        let (u, v) = uv.split_at(uv.len() / 2);
        let half = width.div_ceil(2);
        Picture {
            width: w,
            height: h,
            y: cut(y, width, w, h),
            uv: [cut(u, half, w / 2, h / 2), cut(v, half, w / 2, h / 2)].concat(),
        }
    });
    Some(all.collect())
}

/// A textured pan with noise.
fn scene() -> Vec<Picture> {
    let (width, height) = (1280, 768);
    (0..4)
        .map(|frame| {
            let mut picture = Picture::grey(width, height);
            let mut noise = Noise(frame as u64 + 1);
            for (i, v) in picture.y.iter_mut().enumerate() {
                let (x, y) = ((i % width + 2 * frame) as f32, (i / width + frame) as f32);
                let texture = 50.0 * (x * 0.05).sin() + 40.0 * (y * 0.07 + x * 0.01).cos();
                *v = (120.0 + texture) as u8 + (noise.next() % 8) as u8;
            }
            picture
        })
        .collect()
}

/// What the network makes of pictures, each predicted from the one before.
fn real(quality: u8) -> Option<Source> {
    gst::init().ok()?;
    let files = ModelFiles::find(None).ok()?;
    let net = EncodeNet::acquire(&files, &InferenceSettings::default()).ok()?;
    let (name, pictures) = match pictures() {
        Some(pictures) => ("clip", pictures),
        None => ("scene", scene()),
    };
    let first = pictures.first()?;
    let layout = net.layout((first.width, first.height), usize::MAX);
    let mut prediction = Picture::grey(first.width, first.height);
    let mut state = vec![0; net.state_len(&layout)];
    let skip = vec![false; layout.blocks()];
    let mut frames = Vec::new();
    for (i, picture) in pictures.iter().enumerate() {
        // The first is a key frame, whose symbols may have tables of their own.
        let net = net.of(i == 0);
        let layout = net.layout((first.width, first.height), usize::MAX);
        let coded = net
            .run(&layout, picture, &prediction, state, quality, &skip)
            .ok()?;
        if i > 0 {
            frames.push((coded.z, coded.y));
        }
        prediction = coded.reconstruction.picture;
        state = coded.reconstruction.state;
    }
    let shape = layout.tiles.first()?.shape;
    let bytes = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../models/codec/s-tables.bin"
    ));
    Some(Source {
        name: format!("{name}, quality {quality}"),
        tables: Tables::parse(&bytes.ok()?).ok()?,
        shape,
        frames,
    })
}

/// Model and symbol of each step, and the models in both forms.
type Models = (Vec<(usize, usize)>, Vec<Model>, Vec<Lookup>);

fn models<'a>(coded: &[(&'a Table, usize)]) -> Option<Models> {
    let mut known: HashMap<*const Table, usize> = HashMap::new();
    let mut tables: Vec<&'a Table> = Vec::new();
    let list = coded
        .iter()
        .map(|(table, symbol)| {
            let at = *known.entry(*table as *const Table).or_insert_with(|| {
                tables.push(table);
                tables.len() - 1
            });
            (at, *symbol)
        })
        .collect();
    let made = tables
        .iter()
        .map(|t| Model::from_nonzero_fixed_point_probabilities(t.frequencies(), false).ok());
    let quick = tables
        .iter()
        .map(|t| Lookup::from_nonzero_fixed_point_probabilities(t.frequencies(), false).ok());
    Some((
        list,
        made.collect::<Option<Vec<_>>>()?,
        quick.collect::<Option<Vec<_>>>()?,
    ))
}

/// Time that this thread has run: what it would take alone, on a machine that has other work too.
fn ran() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

fn time<T>(bencher: &mut criterion::Bencher<'_>, mut run: impl FnMut() -> T) {
    bencher.iter_custom(|rounds| {
        let (start, clock) = (ran(), Instant::now());
        for _ in 0..rounds {
            black_box(run());
        }
        match ran().saturating_sub(start) {
            Duration::ZERO => clock.elapsed(),
            time => time,
        }
    });
}

fn entropy(criterion: &mut Criterion) {
    let sources = [made_up(100), made_up(33), real(20), real(40), real(60)];
    for source in sources.into_iter().flatten() {
        let Source {
            name,
            tables,
            shape,
            frames,
        } = source;
        let skip = vec![false; shape.blocks()];
        let mut history = TileHistory::new(&shape);
        let mut streams = Vec::new();
        let mut coded: Vec<(&Table, usize)> = Vec::new();
        for (z, y) in &frames {
            let mut before = history.clone();
            coded.extend(coded_symbols(&tables, &shape, z, &skip, y, &mut before));
            streams.push(encode_y(&tables, &shape, z, &skip, y, &mut history));
        }
        let bits = 8.0 * streams.iter().map(Vec::len).sum::<usize>() as f64;
        println!(
            "{name}: {} symbols, {:.2} bits each",
            coded.len(),
            bits / coded.len() as f64
        );
        let mut group = criterion.benchmark_group(&name);
        group.throughput(Throughput::Elements(coded.len() as u64));
        group.bench_function("tile encode", |b| {
            time(b, || {
                history.reset();
                for (z, y) in &frames {
                    black_box(encode_y(&tables, &shape, z, &skip, y, &mut history));
                }
            })
        });
        group.bench_function("tile decode", |b| {
            time(b, || {
                history.reset();
                for ((z, _), stream) in frames.iter().zip(&streams) {
                    let y = decode_y(&tables, &shape, z, &skip, stream, &mut history);
                    black_box(y).expect("a sound stream");
                }
            })
        });
        let ops: Vec<Op> = coded
            .iter()
            .enumerate()
            .map(|(i, (table, symbol))| table.op(i & 1, *symbol))
            .collect();
        let bytes = rans::encode::<2>(&ops);
        group.bench_function("coder encode", |b| {
            time(b, || rans::encode::<2>(black_box(&ops)))
        });
        group.bench_function("coder decode", |b| {
            time(b, || {
                let mut decoder = Decoder::<2>::new(black_box(&bytes)).expect("states");
                let mut sum = 0;
                for pair in coded.chunks(2) {
                    for (lane, (table, _)) in pair.iter().enumerate() {
                        sum += decoder.symbol(lane, table);
                    }
                }
                decoder.finish().expect("the end");
                sum
            })
        });
        let Some((list, models, lookups)) = models(&coded) else {
            continue;
        };
        let encode = || {
            let mut coder = DefaultAnsCoder::new();
            for (model, symbol) in list.iter().rev() {
                let _ = coder.encode_symbol(*symbol, &models[*model]);
            }
            coder
        };
        group.bench_function("constriction encode", |b| time(b, encode));
        let coder = encode();
        group.bench_function("constriction decode", |b| {
            time(b, || {
                let mut coder = coder.clone();
                list.iter()
                    .map(|(model, _)| coder.decode_symbol(&models[*model]).unwrap_or_default())
                    .sum::<usize>()
            })
        });
        let mut small = SmallAnsCoder::new();
        for (model, symbol) in list.iter().rev() {
            let _ = small.encode_symbol(*symbol, &models[*model]);
        }
        group.bench_function("constriction decode, lookup", |b| {
            time(b, || {
                let mut coder = small.clone();
                list.iter()
                    .map(|(model, _)| coder.decode_symbol(&lookups[*model]).unwrap_or_default())
                    .sum::<usize>()
            })
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = entropy
}
criterion_main!(benches);
