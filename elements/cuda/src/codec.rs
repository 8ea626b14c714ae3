// SPDX-License-Identifier: Apache-2.0
//! The codec's kernels: between planes and the 96 channels of its networks, the roundings to
//! integers that both ends must agree on, and symbols from a list to their places and back.
//!
//! What is done is what `aivideo_codec` and its ONNX files do: a sample s is (s - 128) / 32 in the
//! network; channels are in the order of ONNX's SpaceToDepth (row, column, component), luma's 64 before
//! chroma's 32; values become samples by QuantizeLinear (scale 1/32, zero point 128); everything rounds
//! to nearest, ties to even.

use half::f16;

use crate::{
    convert::to_bytes,
    launch::{Area, Args, Element, Launch, LaunchError, Memory, in_range, plane, tensor},
    picture::Planes,
};

/// Channels of a position of 8 x 8 pixels.
pub const CHANNELS: u32 = 96;
/// Samples about mid grey in the network's unit.
pub const PIXEL_SCALE: f32 = 1.0 / 32.0;

/// Order of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Channel by channel, as ONNX has it.
    Nchw,
    /// Position by position.
    Nhwc,
}

/// Chroma planes, or one plane of interleaved chroma.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Chroma {
    Planar { u: Area, v: Area },
    Interleaved(Area),
}

/// A picture whose sides are multiples of 8, and its tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shuffle {
    pub width: u32,
    pub height: u32,
    pub order: Order,
    pub element: Element,
}

impl Shuffle {
    fn positions(&self) -> u32 {
        self.width / 8 * (self.height / 8)
    }

    pub fn tensor_bytes(&self) -> u64 {
        u64::from(CHANNELS) * u64::from(self.positions()) * self.element.bytes()
    }

    /// Elements between channels and between positions.
    fn steps(&self) -> (u32, u32) {
        match self.order {
            Order::Nchw => (self.positions(), 1),
            Order::Nhwc => (1, CHANNELS),
        }
    }

    /// Picture to tensor.
    pub fn unshuffle(&self, y: Area, chroma: Chroma, out: Memory) -> Result<Launch, LaunchError> {
        let entry = self
            .element
            .of("codec_unshuffle_f32", "codec_unshuffle_f16");
        self.launch(entry, y, chroma, out, PIXEL_SCALE, false)
    }

    /// Tensor to picture, rounded.
    pub fn shuffle(&self, from: Memory, y: Area, chroma: Chroma) -> Result<Launch, LaunchError> {
        let entry = self.element.of("codec_shuffle_f32", "codec_shuffle_f16");
        self.launch(entry, y, chroma, from, 1.0 / PIXEL_SCALE, true)
    }

    fn launch(
        &self,
        entry: &'static str,
        y: Area,
        chroma: Chroma,
        values: Memory,
        scale: f32,
        from_values: bool,
    ) -> Result<Launch, LaunchError> {
        crate::launch::picture(self.width, self.height)?;
        if !self.width.is_multiple_of(8) || !self.height.is_multiple_of(8) {
            return Err(LaunchError::Table {
                what: "size of the picture",
                problem: "both sides must be multiples of 8",
            });
        }
        let (cw, ch) = (u64::from(self.width / 2), self.height / 2);
        let y_at = plane("luma", y, u64::from(self.width), self.height, 1)?;
        let (u_at, v_at, stride, step) = match chroma {
            Chroma::Planar { u, v } => {
                if u.stride != v.stride {
                    return Err(LaunchError::Table {
                        what: "planes of chroma",
                        problem: "both must have one stride",
                    });
                }
                let u_at = plane("U", u, cw, ch, 1)?;
                (u_at, plane("V", v, cw, ch, 1)?, u.stride, 1)
            }
            Chroma::Interleaved(uv) => {
                let at = plane("chroma", uv, 2 * cw, ch, 1)?;
                (at, at + 1, uv.stride, 2)
            }
        };
        let values = tensor(
            "the tensor",
            values,
            self.tensor_bytes(),
            self.element.bytes(),
        )?;
        let (channel_step, position_step) = self.steps();
        let args = Args::default();
        let args = if from_values {
            args.address(values)
                .address(y_at)
                .address(u_at)
                .address(v_at)
        } else {
            args.address(y_at)
                .address(u_at)
                .address(v_at)
                .address(values)
        };
        Ok(args
            .u32s(&[self.width / 8, self.height / 8, y.stride, stride, step])
            .u32s(&[channel_step, position_step])
            .f32(scale)
            .launch(entry, [self.positions(), CHANNELS]))
    }

    /// Where each sample of each plane (luma, U, V; tightly packed) is in the tensor.
    fn places(&self) -> impl Iterator<Item = (usize, usize, usize)> + use<'_> {
        let (channel_step, position_step) = self.steps();
        let place = move |channel: u32, x: u32, y: u32| {
            let position = y * (self.width / 8) + x;
            channel as usize * channel_step as usize + position as usize * position_step as usize
        };
        let luma = (0..self.height).flat_map(move |y| {
            (0..self.width).map(move |x| {
                let at = (y * self.width + x) as usize;
                (0, at, place(y % 8 * 8 + x % 8, x / 8, y / 8))
            })
        });
        let chroma = (0..2).flat_map(move |c: u32| {
            (0..self.height / 2).flat_map(move |y| {
                (0..self.width / 2).map(move |x| {
                    let at = (y * (self.width / 2) + x) as usize;
                    let channel = 64 + (y % 4 * 4 + x % 4) * 2 + c;
                    (1 + c as usize, at, place(channel, x / 4, y / 4))
                })
            })
        });
        luma.chain(chroma)
    }

    /// What [`Self::unshuffle`] gives, on the CPU, from luma, U and V tightly packed.
    ///
    /// # Panics
    /// When a plane is too short.
    pub fn unshuffle_reference(&self, planes: [&[u8]; 3]) -> Vec<u8> {
        let mut out = vec![0.0; (CHANNELS * self.positions()) as usize];
        for (plane, at, place) in self.places() {
            out[place] = (f32::from(planes[plane][at]) - 128.0) * PIXEL_SCALE;
        }
        to_bytes(self.element, &out)
    }

    /// What [`Self::shuffle`] gives, on the CPU: luma, U and V tightly packed.
    ///
    /// # Panics
    /// When there are too few values.
    pub fn shuffle_reference(&self, values: &[f32]) -> [Vec<u8>; 3] {
        let luma = (self.width * self.height) as usize;
        let mut planes = [vec![0; luma], vec![0; luma / 4], vec![0; luma / 4]];
        for (plane, at, place) in self.places() {
            let v = match self.element {
                Element::F32 => values[place],
                Element::F16 => f16::from_f32(values[place]).to_f32(),
            };
            let v = (v * (1.0 / PIXEL_SCALE)).round_ties_even() + 128.0;
            planes[plane][at] = v as u8; // limits, and 0 for what is no number
        }
        planes
    }
}

/// Which of the codec's numbers become integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// 16 times the value, -127 to 127, as i8.
    State,
    /// -31 to 31, as i8.
    Hyper,
    /// Without a dead zone of 0.23 around 0, -32000 to 32000, as i16.
    Symbols,
}

impl Rounding {
    /// Scale, dead zone and limit.
    fn numbers(self) -> [f32; 3] {
        match self {
            Self::State => [16.0, 0.0, 127.0],
            Self::Hyper => [1.0, 0.0, 31.0],
            Self::Symbols => [1.0, 0.5 - 0.27, 32_000.0],
        }
    }

    /// Bytes of an integer.
    pub fn bytes(self) -> u64 {
        match self {
            Self::State | Self::Hyper => 1,
            Self::Symbols => 2,
        }
    }

    /// Rounds `count` numbers.
    pub fn launch(
        self,
        element: Element,
        count: u32,
        from: Memory,
        to: Memory,
    ) -> Result<Launch, LaunchError> {
        in_range("count", count, 1..=1 << 30)?;
        let n = u64::from(count);
        let from = tensor("the values", from, n * element.bytes(), element.bytes())?;
        let to = tensor("the integers", to, n * self.bytes(), self.bytes())?;
        let entry = match self {
            Self::State | Self::Hyper => element.of("codec_round_i8_f32", "codec_round_i8_f16"),
            Self::Symbols => element.of("codec_round_i16_f32", "codec_round_i16_f16"),
        };
        Ok(Args::default()
            .address(from)
            .address(to)
            .u32(count)
            .f32s(&self.numbers())
            .launch(entry, [count, 1]))
    }

    /// One number on the CPU.
    pub fn reference(self, value: f32) -> i16 {
        let [scale, dead, most] = self.numbers();
        let v = value * scale;
        let v = (v - v.max(-dead).min(dead)).round_ties_even();
        v.max(-most).min(most) as i16
    }
}

/// Bytes of a symbol in a list.
pub const ENTRY_BYTES: u64 = 8;

/// The symbols that are not zero, with their places: what [`scatter`] takes.
pub fn entries(symbols: &[i16]) -> Vec<u8> {
    let placed = (0u32..).zip(symbols).filter(|(_, symbol)| **symbol != 0);
    placed
        .flat_map(|(place, symbol)| [place, i32::from(*symbol) as u32])
        .flat_map(u32::to_ne_bytes)
        .collect()
}

/// Puts the `count` symbols of a list where they belong among `length` of 16 bits.
pub fn scatter(
    count: u32,
    entries: Memory,
    length: u32,
    to: Memory,
) -> Result<Launch, LaunchError> {
    in_range("count", count, 1..=length.into())?;
    in_range("length", length, 1..=1 << 30)?;
    let from = tensor("the list", entries, u64::from(count) * ENTRY_BYTES, 4)?;
    let to = tensor("the symbols", to, u64::from(length) * 2, 2)?;
    Ok(Args::default()
        .address(from)
        .address(to)
        .u32s(&[count, length])
        .launch("codec_scatter", [count, 1]))
}

/// Bytes of a square's place in the list, and of a level.
pub const SQUARE_BYTES: u64 = 8;
pub const LEVEL_BYTES: u64 = 4;

/// The levels of squares that are not zero: what [`add`] takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Squares {
    squares: Vec<u32>,
    levels: Vec<u32>,
}

impl Squares {
    /// A square whose first sample has this number, with its levels row by row.
    pub fn push(&mut self, place: u32, levels: &[i16]) {
        self.squares.extend([place, self.levels.len() as u32]);
        let some = (0u32..).zip(levels).filter(|(_, level)| **level != 0);
        let packed = some.map(|(at, level)| at << 16 | u32::from(*level as u16));
        self.levels.extend(packed);
    }

    pub fn is_empty(&self) -> bool {
        self.squares.is_empty()
    }

    /// How many, and how many levels they have.
    pub fn counts(&self) -> [u32; 2] {
        [self.squares.len() as u32 / 2, self.levels.len() as u32]
    }

    /// As they are sent.
    pub fn bytes(&self) -> [Vec<u8>; 2] {
        let bytes = |words: &[u32]| words.iter().flat_map(|v| v.to_ne_bytes()).collect();
        [bytes(&self.squares), bytes(&self.levels)]
    }
}

/// Adds what the levels of so many squares of `side` samples either way (4, 8 or 16), and of so many levels, stand for to planes that lie one
/// after the other. A level of one is `half` eighths of a sample's step.
pub fn add(
    side: u32,
    [count, length]: [u32; 2],
    [squares, levels]: [Memory; 2],
    half: i32,
    planes: Planes,
    to: Memory,
) -> Result<Launch, LaunchError> {
    planes.check()?;
    let samples = planes.width * planes.rows * planes.count;
    let kernel = match side {
        4 => planes.of("codec_add_fine_8", "codec_add_fine_10"),
        8 => planes.of("codec_add_8", "codec_add_10"),
        16 => planes.of("codec_add_large_8", "codec_add_large_10"),
        _ => {
            return Err(LaunchError::Table {
                what: "side of a square",
                problem: "it must be 4, 8 or 16",
            });
        }
    };
    in_range("count", count, 1..=(samples / (side * side)).into())?;
    in_range("number of levels", length, 1..=samples.into())?;
    in_range("half a step", half.unsigned_abs(), 1..=1 << 15)?;
    let squares = tensor("the squares", squares, u64::from(count) * SQUARE_BYTES, 4)?;
    let levels = tensor("the levels", levels, u64::from(length) * LEVEL_BYTES, 4)?;
    Ok(Args::default()
        .address(squares)
        .address(levels)
        .address(planes.address("the planes", planes.bytes(), to)?)
        .u32s(&[count, length, planes.width, samples])
        .i32(half)
        .launch(kernel, [side * count, 1]))
}

/// Symbols of a run, whose places are counted from its first, and runs whose counts are summed.
const RUN: usize = 256;
const GROUP: usize = 64;
/// Bytes of a symbol among those gathered.
pub const GATHERED_BYTES: u64 = 4;

/// Brings the symbols that are not zero together, in three launches one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gather {
    /// Of the symbols.
    pub length: u32,
}

/// What [`Gather`] writes.
#[derive(Debug, Clone, Copy)]
pub struct Gathered {
    /// How many are in each run.
    pub counts: Memory,
    pub sums: Memory,
    /// The symbols with their places; those that do not fit are left out.
    pub list: Memory,
}

impl Gather {
    fn runs(&self) -> usize {
        (self.length as usize).div_ceil(RUN)
    }

    pub fn counts_bytes(&self) -> u64 {
        2 * self.runs() as u64
    }

    pub fn sums_bytes(&self) -> u64 {
        4 * self.runs().div_ceil(GROUP) as u64
    }

    pub fn launches(&self, symbols: Memory, to: &Gathered) -> Result<[Launch; 3], LaunchError> {
        in_range("length", self.length, 1..=1 << 30)?;
        let symbols = tensor("the symbols", symbols, 2 * u64::from(self.length), 2)?;
        let counts = tensor("the counts", to.counts, self.counts_bytes(), 2)?;
        let sums = tensor("the sums", to.sums, self.sums_bytes(), 4)?;
        let list = tensor("the list", to.list, GATHERED_BYTES, 4)?;
        let room = (to.list.bytes / GATHERED_BYTES).min(u32::MAX.into()) as u32;
        let runs = self.runs() as u32;
        let launch = |entry, count| {
            Args::default()
                .address(symbols)
                .address(counts)
                .address(sums)
                .address(list)
                .u32s(&[self.length, room])
                .launch(entry, [count, 1])
        };
        Ok([
            launch("codec_count", runs),
            launch("codec_sum", runs.div_ceil(GROUP as u32)),
            launch("codec_gather", runs),
        ])
    }

    /// How many symbols the counts speak of.
    pub fn total(counts: &[u8]) -> u64 {
        let (counts, _) = counts.as_chunks();
        counts
            .iter()
            .map(|c| u64::from(u16::from_ne_bytes(*c)))
            .sum()
    }

    /// All symbols, from the counts and the list; `None` where the two do not belong together.
    pub fn spread(&self, counts: &[u8], list: &[u8]) -> Option<Vec<i16>> {
        let mut out = vec![0i16; self.length as usize];
        let (counts, _) = counts.as_chunks();
        let (list, _) = list.as_chunks();
        if counts.len() != self.runs() {
            return None;
        }
        let mut list = list.iter().map(|e| u32::from_ne_bytes(*e));
        for (count, run) in counts.iter().zip(out.chunks_mut(RUN)) {
            for _ in 0..u16::from_ne_bytes(*count) {
                let entry = list.next()?;
                *run.get_mut((entry >> 16) as usize)? = entry as u16 as i16;
            }
        }
        Some(out)
    }

    /// What the launches give, on the CPU: counts, sums and list.
    pub fn reference(symbols: &[i16]) -> [Vec<u8>; 3] {
        let counts: Vec<u16> = (symbols.chunks(RUN))
            .map(|run| run.iter().filter(|s| **s != 0).count() as u16)
            .collect();
        let sums = counts
            .chunks(GROUP)
            .map(|g| g.iter().map(|c| u32::from(*c)).sum());
        let list = symbols.chunks(RUN).flat_map(|run| {
            let placed = (0u32..).zip(run).filter(|(_, symbol)| **symbol != 0);
            placed.map(|(place, symbol)| place << 16 | u32::from(*symbol as u16))
        });
        [
            counts.iter().flat_map(|c| c.to_ne_bytes()).collect(),
            sums.flat_map(u32::to_ne_bytes).collect(),
            list.flat_map(u32::to_ne_bytes).collect(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_sizes_are_errors() {
        let spec = Shuffle {
            width: 16,
            height: 8,
            order: Order::Nchw,
            element: Element::F16,
        };
        let area = |bytes, stride| Area {
            memory: Memory { address: 64, bytes },
            stride,
        };
        let memory = |bytes| Memory { address: 64, bytes };
        assert_eq!(spec.tensor_bytes(), 16 * 8 * 3 / 2 * 2);
        let planar = |u, v| Chroma::Planar { u, v };
        let (y, c) = (area(128, 16), area(32, 8));
        assert!(spec.unshuffle(y, planar(c, c), memory(384)).is_ok());
        assert!(
            spec.shuffle(memory(384), y, Chroma::Interleaved(area(64, 16)))
                .is_ok()
        );
        assert!(
            spec.unshuffle(area(127, 16), planar(c, c), memory(384))
                .is_err()
        );
        assert!(
            spec.unshuffle(y, planar(c, area(31, 8)), memory(384))
                .is_err()
        );
        assert!(
            spec.unshuffle(y, planar(c, area(64, 16)), memory(384))
                .is_err()
        );
        assert!(spec.shuffle(memory(383), y, planar(c, c)).is_err());
        assert!(
            spec.shuffle(memory(384), y, Chroma::Interleaved(area(63, 16)))
                .is_err()
        );
        let odd = Shuffle { width: 20, ..spec };
        assert!(
            odd.unshuffle(area(999, 99), planar(c, c), memory(999))
                .is_err()
        );
        let round = |count, from, to| {
            Rounding::Symbols.launch(Element::F32, count, memory(from), memory(to))
        };
        let list = |count, bytes, to| scatter(count, memory(bytes), 4, memory(to));
        assert!(list(4, 32, 8).is_ok());
        assert!(list(0, 32, 8).is_err() && list(5, 40, 8).is_err());
        assert!(list(4, 31, 8).is_err() && list(4, 32, 7).is_err());
        let planes = Planes {
            width: 16,
            rows: 8,
            count: 1,
            deep: false,
        };
        let square = |counts, bytes: [u64; 2], step, to| {
            add(8, counts, bytes.map(memory), step, planes, memory(to))
        };
        assert!(square([2, 5], [16, 20], 9, 128).is_ok());
        assert!(square([0, 5], [16, 20], 9, 128).is_err());
        assert!(square([3, 5], [24, 20], 9, 128).is_err());
        assert!(square([2, 129], [16, 516], 9, 128).is_err());
        assert!(square([2, 5], [15, 20], 9, 128).is_err());
        assert!(square([2, 5], [16, 19], 9, 128).is_err());
        assert!(square([2, 5], [16, 20], 0, 128).is_err());
        assert!(square([2, 5], [16, 20], 9, 127).is_err());
        let large = Planes {
            width: 16,
            rows: 16,
            count: 1,
            deep: false,
        };
        let square = |counts, to| {
            let bytes = [8, 20].map(memory);
            add(16, counts, bytes, 9, large, memory(to))
        };
        assert!(square([1, 5], 256).is_ok());
        assert!(square([2, 5], 256).is_err());
        assert!(square([1, 5], 255).is_err());
        let fine = |side, counts| {
            let bytes = [8 * 17, 20].map(memory);
            add(side, counts, bytes, 9, large, memory(256))
        };
        assert!(fine(4, [16, 5]).is_ok() && fine(4, [17, 5]).is_err());
        assert!(fine(2, [1, 5]).is_err() && fine(32, [1, 5]).is_err());
        let gather = Gather { length: 300 };
        let to = |counts, sums, list| Gathered {
            counts: memory(counts),
            sums: memory(sums),
            list: memory(list),
        };
        assert!(gather.launches(memory(600), &to(4, 4, 8)).is_ok());
        assert!(gather.launches(memory(599), &to(4, 4, 8)).is_err());
        assert!(gather.launches(memory(600), &to(3, 4, 8)).is_err());
        assert!(gather.launches(memory(600), &to(4, 3, 8)).is_err());
        assert!(gather.launches(memory(600), &to(4, 4, 3)).is_err());
        assert!(round(3, 12, 6).is_ok());
        assert!(round(3, 11, 6).is_err() && round(3, 12, 5).is_err() && round(0, 12, 6).is_err());
    }

    #[test]
    fn what_was_gathered_comes_back() {
        let mut symbols = vec![0i16; 1000];
        (symbols[0], symbols[255], symbols[256], symbols[999]) = (-3, 32_000, 1, -32_000);
        let gather = Gather { length: 1000 };
        let [counts, sums, list] = Gather::reference(&symbols);
        assert_eq!((Gather::total(&counts), sums.len(), list.len()), (4, 4, 16));
        assert_eq!(gather.spread(&counts, &list), Some(symbols));
        assert_eq!(gather.spread(&counts, &list[..12]), None);
        assert_eq!(gather.spread(&counts[..6], &list), None);
    }

    #[test]
    fn a_known_place_and_known_numbers() {
        let spec = Shuffle {
            width: 16,
            height: 8,
            order: Order::Nhwc,
            element: Element::F32,
        };
        let mut y = vec![128; 128];
        y[3 * 16 + 10] = 160; // second position, row 3, column 2
        let mut v = vec![128; 32];
        v[2 * 8 + 1] = 96; // V, first position, row 2, column 1
        let out = spec.unshuffle_reference([&y, &[128; 32], &v]);
        let values: Vec<f32> = out
            .chunks_exact(4)
            .map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        assert_eq!(values[96 + 3 * 8 + 2], 1.0);
        assert_eq!(values[64 + (2 * 4 + 1) * 2 + 1], -1.0);
        assert_eq!(values.iter().filter(|v| **v != 0.0).count(), 2);
        assert_eq!(spec.shuffle_reference(&values), [y, vec![128; 32], v]);
        // sign(v) * floor(|v| + 0.27)
        for (value, symbol) in [
            (0.72, 0),
            (0.74, 1),
            (-0.74, -1),
            (1.72, 1),
            (1.74, 2),
            (1e9, 32_000),
        ] {
            assert_eq!(Rounding::Symbols.reference(value), symbol, "{value}");
        }
        for (value, state) in [
            (0.5, 8),
            (0.03125, 0),
            (0.09375, 2),
            (9.0, 127),
            (-9.0, -127),
        ] {
            assert_eq!(Rounding::State.reference(value), state, "{value}");
        }
        assert_eq!(Rounding::Hyper.reference(-40.0), -31);
        assert_eq!(Rounding::State.reference(f32::NAN), -127);
    }
}
