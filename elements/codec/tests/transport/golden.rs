// SPDX-License-Identifier: Apache-2.0
//! Golden streams: committed bytes decode to committed symbols, bit by bit.
//!
//! The files under `golden/` hold coded frames and, beside them, a line a frame: the SHA-256 of its
//! vectors, skip flags, z, y, and residual. They depend on the syntax, the motion coder, the entropy coder and the residual, with
//! tables of their own made of integers, and on no network: new weights leave them as they are. The
//! stream of ten bits also has the pictures that its vectors predict from a made-up reference. After a
//! change of the bitstream they are written again by
//!
//!     GOLDEN=write cargo test --release -p aivideo-codec --test transport golden

use aivideo_codec::bitstream::byte_stream::{UnitHeader, write_unit};
use aivideo_codec::bitstream::{
    AccessUnit, AccessUnitWriter, FrameHeader, FrameType, SequenceHeader, Tile,
};
use aivideo_codec::entropy::{
    Tables, TileHistory, TileShape, decode_y, decode_z, encode_y, encode_z,
};
use aivideo_codec::motion::{Field, Reference, Vector, code, compensate};
use aivideo_codec::residual::code::{Shape, Square};
use aivideo_codec::residual::{self, Scale};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

const NAMES: [&str; 3] = ["small", "tiles", "ten"];

/// 33x17 in one tile, 320x192 in three, and 100x80 in two, of ten bits.
fn shapes(name: &str) -> (u16, u16, Vec<TileShape>) {
    let tile = |width64, height64| TileShape {
        channels: 48,
        z_channels: 16,
        width64,
        height64,
    };
    match name {
        "small" => (33, 17, vec![tile(1, 1)]),
        "ten" => (100, 80, vec![tile(2, 1); 2]),
        _ => (320, 192, vec![tile(5, 1); 3]),
    }
}

fn depth(name: &str) -> u8 {
    if name == "ten" { 10 } else { 8 }
}

/// Hashes what a frame's vectors predict from noise of ten bits, as bytes, the lower first.
fn hash_prediction(hash: &mut Sha256, shapes: &[TileShape], vectors: Vec<Vector>) {
    let (width, height) = (64 * shapes[0].width64, 64 * shapes.len());
    let mut noise = Noise(77);
    let mut plane =
        |len: usize| -> Vec<u16> { (0..len).map(|_| noise.next() as u16 & 1023).collect() };
    let (y, uv) = (plane(width * height), plane(width * height / 2));
    let mut reference = Reference::new(width, height);
    reference.load(&y, &uv);
    let field = Field {
        width: width / 16,
        skip: vec![false; vectors.len() / 4],
        vectors,
    };
    let (mut y, mut uv) = (vec![0u16; y.len()], vec![0u16; uv.len()]);
    compensate(&reference, &field, &mut y, &mut uv);
    for sample in y.iter().chain(&uv) {
        hash.update(sample.to_le_bytes());
    }
}

/// Tables of integer arithmetic: the same on every machine.
fn tables() -> Vec<u8> {
    let mut out = b"AICT".to_vec();
    let levels = aivideo_codec::entropy::tables::Y_LEVEL_COUNT as u16;
    let contexts = 6 * levels;
    for v in [4, 14, 16, 16, 12, 31, contexts, 9] {
        out.extend_from_slice(&u16::to_le_bytes(v));
    }
    let mut push = |max: i64, spread: i64| {
        let weight = |v: i64| 1_000_000 / (v * v * 16 / (spread * spread) + 1);
        let weights: Vec<i64> = (-max..=max + 1).map(weight).collect();
        let sum: i64 = weights.iter().sum();
        let free = 16384 - weights.len() as i64;
        let mut freqs: Vec<i64> = weights.iter().map(|w| 1 + w * free / sum).collect();
        freqs[max as usize] += 16384 - freqs.iter().sum::<i64>();
        for f in freqs {
            out.extend_from_slice(&(f as u16).to_le_bytes());
        }
    };
    (0..16 * 16).for_each(|t| push(12, 2 + t % 5));
    for index in 1..=31 {
        (0..i64::from(contexts)).for_each(|context| push(9, index + context % 7));
    }
    // Offsets of scale indices from -3 to 3.
    out.extend((0..4 * 16).map(|channel: i8| (channel % 7 - 3) as u8));
    out
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

    fn skewed(&mut self, spread: u32) -> i32 {
        let size = (self.next() % (1 + self.next() % (1 + spread))) as i32;
        if self.next() & 1 == 0 { size } else { -size }
    }
}

/// One tile's symbols.
struct Symbols {
    vectors: Vec<Vector>,
    skip: Vec<bool>,
    z: Vec<i8>,
    y: Vec<i16>,
    residual: Vec<Square>,
}

impl Symbols {
    fn make(noise: &mut Noise, shape: &TileShape, key: bool) -> Self {
        let blocks = shape.blocks();
        // Where no network says anything all blocks are skipped.
        let network = key || noise.next().is_multiple_of(2);
        let skip: Vec<bool> = (0..blocks)
            .map(|_| !network || !key && noise.next().is_multiple_of(3))
            .collect();
        let mut vectors = vec![Vector::ZERO; 4 * blocks];
        if !key {
            let width = 2 * shape.width16();
            for block in 0..blocks {
                let whole = Vector {
                    x: noise.skewed(30) as i16,
                    y: noise.skewed(30) as i16,
                };
                let divided = noise.next().is_multiple_of(4);
                let (x, y) = (block % shape.width16(), block / shape.width16());
                for part in 0..4 {
                    let at = (2 * y + part / 2) * width + 2 * x + part % 2;
                    vectors[at] = whole;
                    if divided {
                        vectors[at].x += noise.skewed(9) as i16;
                    }
                }
            }
        }
        let z = (0..shape.z_len()).map(|_| i8::from(network) * noise.skewed(18) as i8);
        let z: Vec<i8> = z.collect();
        let mut y = vec![0; shape.y_len()];
        for (i, v) in y.iter_mut().enumerate() {
            let (channel, block) = (i / blocks, i % blocks);
            let (row, x) = (block / shape.width16(), block % shape.width16());
            let index = z[((channel / 4) * shape.height64 + row / 4) * shape.width64 + x / 4];
            if index != 0 && !skip[block] {
                *v = match noise.next() % 500 {
                    0 => noise.skewed(30_000) as i16,
                    _ => noise.skewed(1 + u32::from(index.unsigned_abs()) / 3) as i16,
                };
            }
        }
        let mut residual = Vec::new();
        for block in 0..blocks as u32 {
            let parts: &[u8] = match noise.next() % 4 {
                0 => &[6, 4, 5],
                1 => &[7, 1, 9, 10, 4, 5],
                _ => &[0, 1, 2, 3, 4, 5],
            };
            for &part in parts {
                if !noise.next().is_multiple_of(3) {
                    continue;
                }
                let area = Shape::of(part).side().pow(2) as u32;
                let mut levels = vec![0; area as usize].into_boxed_slice();
                levels[(noise.next() % area) as usize] = 1 + (noise.next() % 3) as i16;
                for _ in 0..noise.next() % 12 {
                    levels[(noise.next() % (area * 5 / 8)) as usize] = noise.skewed(50) as i16;
                }
                if levels.iter().any(|level| *level != 0) {
                    residual.push(Square {
                        block,
                        part,
                        levels,
                    });
                }
            }
        }
        Self {
            vectors,
            skip,
            z,
            y,
            residual,
        }
    }

    /// What a decoder knows when it reads the residual.
    fn classes(&self) -> Vec<u8> {
        residual::classes(self.skip.len(), &self.y, &self.skip)
    }

    fn hash(&self, hash: &mut Sha256, scale: Scale) {
        for square in &self.residual {
            hash.update(square.block.to_le_bytes());
            hash.update([square.part]);
            for level in &square.levels {
                hash.update(level.to_le_bytes());
            }
            // And what they add.
            for difference in &residual::differences(square, scale) {
                hash.update(difference.to_le_bytes());
            }
        }
        for vector in &self.vectors {
            hash.update(vector.x.to_le_bytes());
            hash.update(vector.y.to_le_bytes());
        }
        hash.update(self.skip.iter().map(|s| u8::from(*s)).collect::<Vec<_>>());
        hash.update(self.z.iter().map(|z| *z as u8).collect::<Vec<_>>());
        hash.update(
            self.y
                .iter()
                .flat_map(|y| y.to_le_bytes())
                .collect::<Vec<_>>(),
        );
    }
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// Five frames as bytes of a file and as lines.
fn make(name: &str) -> (Vec<u8>, String) {
    let tables = Tables::parse(&tables()).unwrap();
    let (width, height, shapes) = shapes(name);
    let sequence = SequenceHeader {
        model_id: *b"goldenmd",
        tables_id: tables.id(),
        bit_depth: depth(name),
        tile_rows_64: 1,
        ..SequenceHeader::new(width, height, (25, 1))
    };
    let mut noise = Noise(u64::from(width));
    let mut histories: Vec<TileHistory> = shapes.iter().map(TileHistory::new).collect();
    let (mut file, mut lines) = (Vec::new(), String::new());
    for number in 0..5u16 {
        let key = number % 4 == 0;
        let quality = (13 * number % 64) as u8;
        let header = FrameHeader {
            frame_type: if key {
                FrameType::Key
            } else {
                FrameType::Inter
            },
            frame_number: number,
            reference_number: if key { number } else { number - 1 },
            long_term: None,
            state_reset: key,
            context_reset: false,
            quality,
            filter: 0,
            tile_count: shapes.len() as u16,
        };
        let mut writer = AccessUnitWriter::new(header, key.then_some(&sequence));
        let mut hash = Sha256::new();
        let mut vectors = Vec::new();
        for (index, (shape, history)) in shapes.iter().zip(&mut histories).enumerate() {
            let symbols = Symbols::make(&mut noise, shape, key);
            symbols.hash(&mut hash, Scale::new(quality, depth(name)));
            vectors.extend_from_slice(&symbols.vectors);
            if key {
                history.reset();
            }
            let motion = match key {
                true => Vec::new(),
                false => {
                    code::encode_tile(shape.width16(), quality, &symbols.vectors, &symbols.skip)
                }
            };
            let Symbols { skip, z, y, .. } = &symbols;
            let coded_z = encode_z(&tables, shape, skip, z);
            let coded_y = encode_y(&tables, shape, z, skip, y, history);
            let (width, classes) = (shape.width16(), symbols.classes());
            let levels = residual::code::encode_tile(width, &classes, quality, &symbols.residual);
            let streams = [&motion, &coded_z, &coded_y, &levels].map(Vec::as_slice);
            writer.push_tile(&Tile::new(index as u16, streams));
        }
        if depth(name) == 10 {
            hash_prediction(&mut hash, &shapes, vectors);
        }
        lines.push_str(&hexadecimal(hash));
        lines.push('\n');
        let pts = Some(u64::from(number) * 40_000_000);
        file.extend(write_unit(&writer.finish(), key, pts, None));
    }
    (file, lines)
}

/// The lines of a file.
fn decode(name: &str, file: &[u8]) -> String {
    let tables = Tables::parse(&tables()).unwrap();
    let (_, _, shapes) = shapes(name);
    let mut histories: Vec<TileHistory> = shapes.iter().map(TileHistory::new).collect();
    let (mut rest, mut lines) = (file, String::new());
    while !rest.is_empty() {
        let (unit, size) = UnitHeader::parse(rest).unwrap();
        let (data, after) = rest[size..].split_at(unit.payload);
        rest = after;
        let unit = AccessUnit::parse(data).unwrap();
        let key = unit.header.is_key();
        if let Some(sequence) = &unit.sequence {
            assert_eq!(sequence.tables_id, tables.id());
            assert_eq!(sequence.bit_depth, depth(name));
        }
        let quality = unit.header.quality;
        let mut hash = Sha256::new();
        let mut all_vectors = Vec::new();
        for ((tile, shape), history) in unit.tiles.iter().zip(&shapes).zip(&mut histories) {
            let tile = tile.as_ref().unwrap();
            let mut vectors = vec![Vector::ZERO; 4 * shape.blocks()];
            let mut skip = vec![false; shape.blocks()];
            if key {
                history.reset();
            } else {
                let width = shape.width16();
                code::decode_tile(width, quality, tile.motion, &mut vectors, &mut skip).unwrap();
            }
            let z = decode_z(&tables, shape, &skip, tile.z).unwrap();
            let y = decode_y(&tables, shape, &z, &skip, tile.y, history).unwrap();
            all_vectors.extend_from_slice(&vectors);
            let mut symbols = Symbols {
                vectors,
                skip,
                z,
                y,
                residual: Vec::new(),
            };
            let (width, classes) = (shape.width16(), symbols.classes());
            symbols.residual =
                residual::code::decode_tile(width, &classes, quality, tile.residual).unwrap();
            symbols.hash(&mut hash, Scale::new(quality, depth(name)));
        }
        if depth(name) == 10 {
            hash_prediction(&mut hash, &shapes, all_vectors);
        }
        lines.push_str(&hexadecimal(hash));
        lines.push('\n');
    }
    lines
}

#[test]
fn golden_streams_decode_to_their_symbols() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/transport/golden");
    for name in NAMES {
        let (stream, hashes) = (
            folder.join(format!("{name}.aic")),
            folder.join(format!("{name}.sha256")),
        );
        let (file, lines) = make(name);
        if std::env::var_os("GOLDEN").is_some_and(|v| v == "write") {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&stream, &file).unwrap();
            std::fs::write(&hashes, &lines).unwrap();
        }
        let golden = std::fs::read(&stream).unwrap();
        let expected = std::fs::read_to_string(&hashes).unwrap();
        assert_eq!(decode(name, &golden), expected, "{name}");
        // The encoder still writes the same bytes for the same symbols.
        assert_eq!(lines, expected, "{name}");
        assert!(file == golden, "{name}: other bytes for the same symbols");
    }
}
