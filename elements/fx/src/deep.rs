// SPDX-License-Identifier: Apache-2.0
//! Pictures of ten bits, for effects that look at one pixel at a time.
//!
//! Definitions are those of eight bits with 1023 in the place of 255; limited range is four times
//! that of eight bits. Rows are walked once, and each sample goes through tables of 1024 entries.

use crate::params::Values;
use crate::picture::{Colorimetry, div_up};
use crate::registry::EFFECTS;
use crate::workers::Workers;

/// The largest code value.
pub const MAX: u16 = 1023;

/// A function of a sample.
pub type Table = Box<[u16; 1024]>;

/// What an effect is for ten bits.
pub enum Point {
    Nothing,
    /// A function of each component alone.
    Tables([Table; 3]),
    /// Brightness decides: tables from luma to Y, U and V, and the share of 256 that colours get.
    /// The table of Y has that share inside.
    Tint([Table; 3], u32),
    /// A function of red, green and blue of 0 to 1.
    Color(Box<dyn Fn([f32; 3]) -> [f32; 3] + Send + Sync>),
}

/// Makes a table.
pub fn table(f: impl Fn(u16) -> f64) -> Table {
    let mut table = Box::new([0; 1024]);
    for (x, value) in table.iter_mut().enumerate() {
        *value = f(x as u16).clamp(0.0, f64::from(MAX)) as u16;
    }
    table
}

/// Paints with a function of brightness: see `effects::tint`.
pub fn tint(color: &Colorimetry, amount: f64, colors: impl Fn(f32) -> [f32; 3]) -> Point {
    let steps = (amount * 256.0).round() as u32;
    if steps == 0 {
        return Point::Nothing;
    }
    let (black, range) = luma_range(color);
    let code = |x: u16, component: usize| {
        let brightness = ((f64::from(x) - black) / range).clamp(0.0, 1.0);
        let rgb = colors(brightness as f32).map(|v| v.clamp(0.0, 1.0));
        let eight = f64::from(color.encode(rgb)[component]);
        let scale = code_scale(color);
        match component {
            0 => eight * scale,
            _ => 512.0 + (eight - 128.0) * scale,
        }
    };
    let luma = table(|x| {
        let old = f64::from(x);
        (old + amount * (code(x, 0) - old)).round()
    });
    let chroma = |component| table(|x| code(x, component).round());
    Point::Tint([luma, chroma(1), chroma(2)], steps)
}

/// Code values of ten bits for one of eight.
fn code_scale(color: &Colorimetry) -> f64 {
    if color.limited { 4.0 } else { 1023.0 / 255.0 }
}

/// Code value of black, and the distance from black to white.
pub fn luma_range(color: &Colorimetry) -> (f64, f64) {
    if color.limited {
        (64.0, 876.0)
    } else {
        (0.0, 1023.0)
    }
}

/// The memory layouts, both of 4:2:0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeepFormat {
    /// Three planes, values in the lower bits.
    I42010le,
    /// Luma, then interleaved chroma, values in the upper bits.
    P010le,
}

impl DeepFormat {
    pub const ALL: [Self; 2] = [Self::I42010le, Self::P010le];

    pub(crate) fn shift(self) -> u32 {
        match self {
            Self::I42010le => 0,
            Self::P010le => 6,
        }
    }

    pub fn plane_count(self) -> usize {
        match self {
            Self::I42010le => 3,
            Self::P010le => 2,
        }
    }

    /// Bytes a row and rows of a plane.
    pub fn plane_size(self, plane: usize, width: usize, height: usize) -> (usize, usize) {
        let (cw, ch) = (div_up(width, 1), div_up(height, 1));
        match (plane, self) {
            (0, _) => (width * 2, height),
            (_, Self::I42010le) => (cw * 2, ch),
            (_, Self::P010le) => (cw * 4, ch),
        }
    }
}

/// An effect of a chain that does not take ten bits.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{effect} takes pictures of eight bits only; put `videoconvert ! video/x-raw,format=I420` \
     before the element"
)]
pub struct NotDeep {
    pub effect: &'static str,
}

/// Why memory cannot be read as a picture.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("plane {plane} of {len} bytes and a stride of {stride} is too small")]
pub struct TooSmall {
    plane: usize,
    len: usize,
    stride: usize,
}

/// A chain for pictures of ten bits.
pub struct DeepChain {
    steps: Vec<Point>,
    format: DeepFormat,
    width: usize,
    height: usize,
    color: Colorimetry,
    mix: u32,
}

/// True when every effect, with these parameters, takes ten bits.
pub fn check(effects: &[(usize, Values)]) -> Result<(), NotDeep> {
    let color = Colorimetry::BT709;
    effects
        .iter()
        .try_for_each(|(effect, values)| point(*effect, values, &color).map(|_| ()))
}

fn point(effect: usize, values: &Values, color: &Colorimetry) -> Result<Point, NotDeep> {
    let effect = EFFECTS[effect];
    effect
        .deep
        .and_then(|deep| deep(values, color))
        .ok_or(NotDeep {
            effect: effect.name,
        })
}

impl DeepChain {
    pub fn new(
        effects: &[(usize, Values)],
        mix: f64,
        format: DeepFormat,
        width: usize,
        height: usize,
        color: Colorimetry,
    ) -> Result<Self, NotDeep> {
        let mix = crate::chain::mix_steps(mix);
        let mut steps: Vec<Point> = Vec::new();
        for (effect, values) in effects {
            match (point(*effect, values, &color)?, steps.last_mut()) {
                (Point::Nothing, _) => {}
                // Tables after tables are tables.
                (Point::Tables(next), Some(Point::Tables(tables))) => {
                    for (table, next) in tables.iter_mut().zip(&next) {
                        table.iter_mut().for_each(|v| *v = next[usize::from(*v)]);
                    }
                }
                (point, _) => steps.push(point),
            }
        }
        if mix == 0 {
            steps.clear();
        }
        let mut chain = Self {
            steps,
            format,
            width,
            height,
            color,
            mix,
        };
        if let [Point::Tables(tables)] = chain.steps.as_mut_slice() {
            for table in tables.iter_mut() {
                for (x, value) in table.iter_mut().enumerate() {
                    *value = blend(x as u16, *value, mix);
                }
            }
            chain.mix = 256;
            let same = |table: &Table| table.iter().enumerate().all(|(x, v)| x as u16 == *v);
            if tables.iter().all(same) {
                chain.steps.clear();
            }
        }
        Ok(chain)
    }

    /// True when frames stay as they are.
    pub fn is_identity(&self) -> bool {
        self.steps.is_empty()
    }

    /// The chain as a table for each of Y, U and V, `None` where it does nothing, or why it is more.
    pub fn tables(&self) -> Result<Option<&[Table; 3]>, &'static str> {
        match self.steps.as_slice() {
            [] => Ok(None),
            [Point::Tables(tables)] => Ok(Some(tables)),
            _ => Err("an effect mixes components"),
        }
    }

    /// Applies the chain to planes with their strides in bytes.
    pub fn run(&self, planes: Vec<(&mut [u8], usize)>, workers: &Workers) -> Result<(), TooSmall> {
        if self.is_identity() || self.width == 0 || self.height == 0 {
            return Ok(());
        }
        let sizes = (0..).map(|plane| self.format.plane_size(plane, self.width, self.height));
        for (plane, ((data, stride), (row, rows))) in planes.iter().zip(sizes).enumerate() {
            let needed = stride.saturating_mul(rows - 1).saturating_add(row);
            if *stride < row || data.len() < needed {
                return Err(TooSmall {
                    plane,
                    len: data.len(),
                    stride: *stride,
                });
            }
        }
        let mut planes = planes.into_iter();
        let (Some((luma, luma_stride)), chroma) = (planes.next(), planes.collect::<Vec<_>>())
        else {
            return Ok(());
        };
        if chroma.len() + 1 != self.format.plane_count() {
            return Ok(());
        }
        let mut chroma: Vec<_> = chroma
            .into_iter()
            .map(|(data, stride)| data.chunks_mut(stride))
            .collect();
        let height = self.height;
        let bands: Vec<Band> = luma
            .chunks_mut(luma_stride * 2)
            .take(height.div_ceil(2))
            .enumerate()
            .filter_map(|(index, lines)| {
                let rows = (height - index * 2).min(2);
                let (first, second) = match rows {
                    1 => (lines, &mut [][..]),
                    _ => lines.split_at_mut(luma_stride),
                };
                Some(Band {
                    luma: [first, second],
                    first: chroma.first_mut()?.next()?,
                    second: match chroma.get_mut(1) {
                        Some(rows) => rows.next()?,
                        None => &mut [],
                    },
                })
            })
            .collect();
        workers.each_many(bands, |band| self.band(band));
        Ok(())
    }

    fn band(&self, band: Band) {
        let (shift, cw) = (self.format.shift(), self.width.div_ceil(2));
        let Band {
            luma: [one, two],
            first,
            second,
        } = band;
        let planar = !second.is_empty();
        let mut y1 = unpack(one, shift, self.width);
        let mut y2 = unpack(two, shift, self.width);
        let (mut u, mut v) = match planar {
            true => (unpack(first, shift, cw), unpack(second, shift, cw)),
            false => {
                let both = unpack(first, shift, 2 * cw);
                let part = |start| both.iter().skip(start).step_by(2).copied().collect();
                (part(0), part(1))
            }
        };
        let old = (self.mix < 256).then(|| (y1.clone(), y2.clone(), u.clone(), v.clone()));
        for step in &self.steps {
            match step {
                Point::Nothing => {}
                Point::Tables([y, cb, cr]) => {
                    look_up(&mut y1, y);
                    look_up(&mut y2, y);
                    look_up(&mut u, cb);
                    look_up(&mut v, cr);
                }
                Point::Tint([y, cb, cr], steps) => {
                    for (i, (u, v)) in u.iter_mut().zip(&mut v).enumerate() {
                        // The mean of the pixels that share the colour.
                        let right = (2 * i + 1).min(y1.len() - 1);
                        let mut sum = y1[2 * i] + y1[right];
                        let mut count = 2;
                        if !y2.is_empty() {
                            sum += y2[2 * i] + y2[right];
                            count = 4;
                        }
                        let at = usize::from((sum + count / 2) / count);
                        (*u, *v) = (blend(*u, cb[at], *steps), blend(*v, cr[at], *steps));
                    }
                    look_up(&mut y1, y);
                    look_up(&mut y2, y);
                }
                Point::Color(f) => self.recolor([&mut y1, &mut y2], [&mut u, &mut v], f),
            }
        }
        if let Some((o1, o2, ou, ov)) = old {
            for (row, old) in [(&mut y1, o1), (&mut y2, o2), (&mut u, ou), (&mut v, ov)] {
                for (new, old) in row.iter_mut().zip(old) {
                    *new = blend(old, *new, self.mix);
                }
            }
        }
        pack(one, &y1, shift);
        pack(two, &y2, shift);
        if planar {
            pack(first, &u, shift);
            pack(second, &v, shift);
        } else {
            let both: Vec<u16> = u.iter().zip(&v).flat_map(|(u, v)| [*u, *v]).collect();
            pack(first, &both, shift);
        }
    }
}

impl DeepChain {
    /// Each pixel with the colour that it shares with its neighbours; they then share the mean.
    fn recolor(
        &self,
        mut luma: [&mut [u16]; 2],
        [u, v]: [&mut [u16]; 2],
        f: &dyn Fn([f32; 3]) -> [f32; 3],
    ) {
        let scale = code_scale(&self.color) as f32;
        let code = |value: f32| value.round().clamp(0.0, f32::from(MAX)) as u16;
        for (i, (u, v)) in u.iter_mut().zip(v).enumerate() {
            let chroma = [*u, *v].map(|c| 128.0 + (f32::from(c) - 512.0) / scale);
            let (mut sum, mut count) = ([0.0; 2], 0.0);
            for row in &mut luma {
                for y in row.iter_mut().skip(2 * i).take(2) {
                    let old = [f32::from(*y) / scale, chroma[0], chroma[1]];
                    // Colours outside of the cube are brought to its surface, as in eight bits.
                    let rgb = self.color.decode(old).map(|x| x.clamp(0.0, 1.0));
                    let new = self.color.encode(f(rgb).map(|x| x.clamp(0.0, 1.0)));
                    *y = code(new[0] * scale);
                    sum = [sum[0] + new[1], sum[1] + new[2]];
                    count += 1.0;
                }
            }
            [*u, *v] = sum.map(|c| code(512.0 + (c / count - 128.0) * scale));
        }
    }
}

/// A row of chroma (two when planar) and the luma rows that share it.
struct Band<'a> {
    luma: [&'a mut [u8]; 2],
    first: &'a mut [u8],
    second: &'a mut [u8],
}

fn blend(old: u16, new: u16, amount: u32) -> u16 {
    ((u32::from(old) * (256 - amount) + u32::from(new) * amount + 128) >> 8) as u16
}

fn look_up(row: &mut [u16], table: &Table) {
    for value in row {
        *value = table[usize::from(*value & MAX)];
    }
}

fn unpack(row: &[u8], shift: u32, count: usize) -> Vec<u16> {
    let pairs = row.chunks_exact(2).take(count);
    pairs
        .map(|pair| (u16::from_le_bytes([pair[0], pair[1]]) >> shift) & MAX)
        .collect()
}

fn pack(row: &mut [u8], values: &[u16], shift: u32) {
    for (pair, value) in row.chunks_exact_mut(2).zip(values) {
        pair.copy_from_slice(&(value << shift).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{registry_defaults, resolve};
    use crate::parse::parse;

    const SIZE: (usize, usize) = (37, 13);

    fn memory(format: DeepFormat, pad: usize, f: impl Fn(usize) -> u16) -> Vec<(Vec<u8>, usize)> {
        (0..format.plane_count())
            .map(|plane| {
                let (row, rows) = format.plane_size(plane, SIZE.0, SIZE.1);
                let stride = row + pad;
                let mut data = vec![0x5a; stride * rows];
                for (y, line) in data.chunks_mut(stride).enumerate() {
                    for (x, pair) in line[..row].chunks_exact_mut(2).enumerate() {
                        let value = f(plane * 7919 + y * 389 + x * 31) << format.shift();
                        pair.copy_from_slice(&value.to_le_bytes());
                    }
                }
                (data, stride)
            })
            .collect()
    }

    fn run(
        text: &str,
        mix: f64,
        threads: usize,
        format: DeepFormat,
        planes: &mut [(Vec<u8>, usize)],
    ) {
        let effects = resolve(&parse(text).unwrap(), &registry_defaults());
        let chain = DeepChain::new(&effects, mix, format, SIZE.0, SIZE.1, Colorimetry::BT709);
        let planes = planes.iter_mut().map(|(d, s)| (d.as_mut_slice(), *s));
        let workers = Workers::new(threads).unwrap();
        chain.unwrap().run(planes.collect(), &workers).unwrap();
    }

    fn values(format: DeepFormat, planes: &[(Vec<u8>, usize)]) -> Vec<u16> {
        let mut all = Vec::new();
        for (plane, (data, stride)) in planes.iter().enumerate() {
            let (row, rows) = format.plane_size(plane, SIZE.0, SIZE.1);
            for line in data.chunks(*stride).take(rows) {
                all.extend(unpack(line, format.shift(), row / 2));
                assert!(line[row..].iter().all(|b| *b == 0x5a), "padding");
            }
        }
        all
    }

    /// The definitions with 1023 for 255, for all inputs and several n and t.
    #[test]
    fn posterise_and_threshold_follow_the_definition() {
        let any = |i: usize| (i % 1024) as u16;
        for format in DeepFormat::ALL {
            let before = values(format, &memory(format, 6, any));
            for n in [2, 3, 8, 25, 100, 256] {
                let mut planes = memory(format, 6, any);
                run(
                    &format!("posterize:num-levels={n}"),
                    1.0,
                    1,
                    format,
                    &mut planes,
                );
                let step = 1023.0 / f64::from(n - 1);
                let expected: Vec<u16> = before
                    .iter()
                    .map(|x| ((f64::from(*x) / step).round_ties_even() * step).min(1023.0) as u16)
                    .collect();
                assert_eq!(values(format, &planes), expected, "{format:?} {n}");
            }
            for t in [0.0, 0.3, 0.5, 1.0] {
                let mut planes = memory(format, 0, any);
                run(
                    &format!("threshold:threshold={t}"),
                    1.0,
                    1,
                    format,
                    &mut planes,
                );
                let expected: Vec<u16> = before
                    .iter()
                    .map(|x| if f64::from(*x) > t * 1023.0 { 1023 } else { 0 })
                    .collect();
                assert_eq!(values(format, &planes), expected, "{format:?} {t}");
            }
        }
    }

    /// Ten bits look as eight do.
    #[test]
    fn colours_are_those_of_eight_bits() {
        use crate::chain::{Chain, Renderer};
        use crate::pass::Moment;
        use crate::picture::{PixelFormat, RawFrame};
        for text in [
            "sepia",
            "duotone:amount=0.5",
            "thermal",
            "invert",
            "sepia,invert,thermal:amount=0.3",
            "posterize:space=rgb",
            "threshold:space=rgb",
        ] {
            for level in [16u8, 60, 128, 200, 235] {
                let mut deep = memory(DeepFormat::P010le, 0, |_| u16::from(level) * 4);
                run(text, 0.8, 1, DeepFormat::P010le, &mut deep);
                let (w, h) = SIZE;
                let mut planes = [vec![level; w * h], vec![level; 19 * 7], vec![level; 19 * 7]];
                let effects = resolve(&parse(text).unwrap(), &registry_defaults());
                let color = Colorimetry::BT709;
                let chain = Chain::new(&effects, 0.8, PixelFormat::I420, w, h, color);
                let [y, u, v] = &mut planes;
                let raw = vec![(y.as_mut_slice(), w), (u.as_mut_slice(), 19), (v, 19)];
                let frame = RawFrame::new(PixelFormat::I420, w, h, color, raw).unwrap();
                chain.run(frame, &Moment::default(), &mut Renderer::new(1).unwrap());
                let all = values(DeepFormat::P010le, &deep);
                let got = [all[0], all[w * h], all[w * h + 1]];
                for (got, plane) in got.into_iter().zip(&planes) {
                    let error = f64::from(got) / 4.0 - f64::from(plane[0]);
                    assert!(error.abs() < 1.6, "{text} {level}: {got} {}", plane[0]);
                }
            }
        }
    }

    /// A table that changes nothing leaves gray alone, and colours to within rounding where all of
    /// the four pixels are alike; one that swaps red and blue does.
    #[test]
    fn tables_of_colours_work() {
        let color = Colorimetry::BT709;
        for swap in [false, true] {
            let f = move |[r, g, b]: [f32; 3]| if swap { [b, g, r] } else { [r, g, b] };
            for rgb in [[0.5, 0.5, 0.5], [0.9, 0.2, 0.1], [0.1, 0.3, 0.8]] {
                let ten = |rgb| {
                    let [y, u, v] = color.encode(rgb).map(|c| f64::from(c) * 4.0);
                    [y, u, v].map(|c| c.round() as u16)
                };
                let (old, expected) = (ten(rgb), ten(f(rgb)));
                let chain = DeepChain {
                    steps: vec![Point::Color(Box::new(f))],
                    format: DeepFormat::I42010le,
                    width: SIZE.0,
                    height: SIZE.1,
                    color,
                    mix: 256,
                };
                let mut planes = memory(DeepFormat::I42010le, 4, |at| old[at / 7919 % 3]);
                for (plane, (data, _)) in planes.iter_mut().enumerate() {
                    for pair in data.chunks_exact_mut(2).filter(|pair| **pair != [0x5a; 2]) {
                        pair.copy_from_slice(&old[plane].to_le_bytes());
                    }
                }
                let raw = planes.iter_mut().map(|(d, s)| (d.as_mut_slice(), *s));
                chain.run(raw.collect(), &Workers::new(1).unwrap()).unwrap();
                let all = values(DeepFormat::I42010le, &planes);
                let (w, h) = SIZE;
                for (at, expected) in [(0, 0), (w * h - 1, 0), (w * h, 1), (all.len() - 1, 2)]
                    .map(|(at, plane)| (all[at], expected[plane]))
                {
                    assert!(
                        at.abs_diff(expected) <= 2,
                        "{rgb:?} {swap}: {at} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn no_mix_is_identity_and_threads_change_nothing() {
        let any = |i: usize| (i * 37 % 1024) as u16;
        for format in DeepFormat::ALL {
            let before = memory(format, 2, any);
            for text in [
                "posterize",
                "sepia",
                "thermal,threshold",
                "posterize:space=rgb",
            ] {
                let mut planes = before.clone();
                run(text, 0.0, 1, format, &mut planes);
                assert_eq!(planes, before);
                let (mut one, mut three) = (before.clone(), before.clone());
                run(text, 0.6, 1, format, &mut one);
                run(text, 0.6, 3, format, &mut three);
                assert!(one == three && one != before, "{format:?} {text}");
            }
        }
    }

    #[test]
    fn effects_that_need_eight_bits_say_so() {
        let effects = resolve(&parse("sepia,blur").unwrap(), &registry_defaults());
        assert_eq!(check(&effects), Err(NotDeep { effect: "blur" }));
    }
}
