// SPDX-License-Identifier: Apache-2.0
//! Blending into the samples of a frame.
//!
//! A frame is a set of components (Y, U, V or R, G, B, perhaps alpha), each with a place in a plane,
//! a distance from sample to sample and a subsampling. One loop over such components serves
//! every layout.

/// Where the samples of one component lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Component {
    pub plane: usize,
    /// Bytes to the first sample.
    pub offset: usize,
    /// Bytes from one sample to the next of the row.
    pub step: usize,
    /// One sample for 2^n pixels.
    pub sub_x: u32,
    pub sub_y: u32,
    /// Bits of a sample, 8 to 16; more than 8 lie in two bytes, the low one first.
    pub depth: u32,
    /// Unused low bits.
    pub shift: u32,
}

/// What a component means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Colours {
    /// Red, green, blue, and alpha if there is a fourth.
    Rgb,
    /// Luma alone or with two differences, and alpha if there is a fourth.
    Yuv { kr: f32, kb: f32, full_range: bool },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    pub components: Vec<Component>,
    pub colours: Colours,
}

/// A colour, with how much of it covers what was there (0 to 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ink {
    pub rgb: [u8; 3],
    pub opacity: f32,
}

impl Ink {
    pub const fn new(rgb: [u8; 3], opacity: f32) -> Self {
        Self { rgb, opacity }
    }

    /// Perceived brightness, 0 to 255.
    pub fn brightness(&self) -> f32 {
        let [r, g, b] = self.rgb.map(f32::from);
        0.299 * r + 0.587 * g + 0.114 * b
    }
}

/// Coverage of pixels by a shape, 0 to 255.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mask {
    pub width: usize,
    pub height: usize,
    pub coverage: Vec<u8>,
}

/// An area that may lie outside of the frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    pub x: i64,
    pub y: i64,
    pub width: i64,
    pub height: i64,
}

pub struct Plane<'a> {
    pub data: &'a mut [u8],
    pub stride: usize,
}

pub struct Canvas<'a> {
    pub planes: Vec<Plane<'a>>,
    pub layout: &'a Layout,
    pub width: usize,
    pub height: usize,
}

impl Layout {
    /// The ink as a value of each component.
    fn values(&self, rgb: [u8; 3]) -> [f32; 4] {
        let [r, g, b] = rgb.map(|value| f32::from(value) / 255.0);
        // In parts of a whole sample of eight bits.
        let eight = match self.colours {
            Colours::Rgb => [r * 255.0, g * 255.0, b * 255.0, 255.0],
            Colours::Yuv { kr, kb, full_range } => {
                let y = kr * r + (1.0 - kr - kb) * g + kb * b;
                let u = (b - y) / (2.0 * (1.0 - kb));
                let v = (r - y) / (2.0 * (1.0 - kr));
                let (luma, base, chroma) = match full_range {
                    true => (255.0, 0.0, 255.0),
                    false => (219.0, 16.0, 224.0),
                };
                [
                    y * luma + base,
                    u * chroma + 128.0,
                    v * chroma + 128.0,
                    255.0,
                ]
            }
        };
        let mut values = [0.0; 4];
        for ((value, eight), component) in values.iter_mut().zip(eight).zip(&self.components) {
            let most = ((1u32 << component.depth) - 1) as f32;
            *value = (eight * (1u32 << (component.depth - 8)) as f32).clamp(0.0, most);
        }
        values
    }
}

/// The part of a range that lies in 0..size.
fn clip(from: i64, length: i64, size: usize) -> (usize, usize) {
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    let end = from.saturating_add(length.max(0)).clamp(0, size);
    (from.clamp(0, end) as usize, end as usize)
}

impl Canvas<'_> {
    /// Covers the area with the ink.
    pub fn fill(&mut self, area: Area, ink: Ink) {
        self.blend(area, ink, |_, _| 255);
    }

    /// Covers what the mask says, with its upper left corner at (x, y).
    pub fn stamp(&mut self, mask: &Mask, x: i64, y: i64, ink: Ink) {
        let area = Area {
            x,
            y,
            width: mask.width as i64,
            height: mask.height as i64,
        };
        self.blend(area, ink, |column, row| {
            let at = row * mask.width + column;
            mask.coverage.get(at).copied().unwrap_or(0)
        });
    }

    /// `coverage` is asked for places within the area.
    fn blend(&mut self, area: Area, ink: Ink, coverage: impl Fn(usize, usize) -> u8) {
        let (x0, x1) = clip(area.x, area.width, self.width);
        let (y0, y1) = clip(area.y, area.height, self.height);
        if x0 >= x1 || y0 >= y1 {
            return;
        }
        let at = |x: usize, y: usize| {
            let (column, row) = (x as i64 - area.x, y as i64 - area.y);
            u32::from(coverage(column as usize, row as usize))
        };
        let values = self.layout.values(ink.rgb);
        let opacity = ink.opacity.clamp(0.0, 1.0);
        for (component, value) in self.layout.components.iter().zip(values) {
            let Some(plane) = self.planes.get_mut(component.plane) else {
                continue;
            };
            let (sub_x, sub_y) = (component.sub_x, component.sub_y);
            let scale = opacity / (255u32 << (sub_x + sub_y)) as f32;
            for sy in (y0 >> sub_y)..=((y1 - 1) >> sub_y) {
                let rows = (sy << sub_y).max(y0)..((sy + 1) << sub_y).min(y1);
                let row = sy * plane.stride + component.offset;
                for sx in (x0 >> sub_x)..=((x1 - 1) >> sub_x) {
                    let columns = (sx << sub_x).max(x0)..((sx + 1) << sub_x).min(x1);
                    let mut sum = 0;
                    for y in rows.clone() {
                        for x in columns.clone() {
                            sum += at(x, y);
                        }
                    }
                    if sum == 0 {
                        continue;
                    }
                    let weight = sum as f32 * scale;
                    let place = row + sx * component.step;
                    let mix = |old: u32| (old as f32 + (value - old as f32) * weight + 0.5) as u32;
                    if component.depth == 8 {
                        if let Some(sample) = plane.data.get_mut(place) {
                            *sample = mix(u32::from(*sample)) as u8;
                        }
                    } else if let Some([low, high]) = plane.data.get_mut(place..place + 2) {
                        let old = u32::from(u16::from_le_bytes([*low, *high])) >> component.shift;
                        let new = (mix(old) << component.shift) as u16;
                        [*low, *high] = new.to_le_bytes();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn component(plane: usize, offset: usize, step: usize, sub: u32) -> Component {
        Component {
            plane,
            offset,
            step,
            sub_x: sub,
            sub_y: sub,
            depth: 8,
            shift: 0,
        }
    }

    const BT601: Colours = Colours::Yuv {
        kr: 0.299,
        kb: 0.114,
        full_range: false,
    };

    #[test]
    fn colours_are_those_of_the_standard() {
        let layout = Layout {
            components: (0..3).map(|plane| component(plane, 0, 1, 0)).collect(),
            colours: BT601,
        };
        let rounded = |rgb| layout.values(rgb).map(f32::round)[..3].to_vec();
        assert_eq!(rounded([255, 255, 255]), [235.0, 128.0, 128.0]);
        assert_eq!(rounded([0, 0, 0]), [16.0, 128.0, 128.0]);
        assert_eq!(rounded([255, 0, 0]), [81.0, 90.0, 240.0]);
        assert_eq!(rounded([0, 0, 255]), [41.0, 240.0, 110.0]);
    }

    #[test]
    fn ten_bits_keep_their_place() {
        let mut p010 = component(0, 0, 2, 0);
        (p010.depth, p010.shift) = (10, 6);
        let layout = Layout {
            components: vec![p010],
            colours: BT601,
        };
        let mut data = [0u8; 8];
        let mut canvas = Canvas {
            planes: vec![Plane {
                data: &mut data,
                stride: 8,
            }],
            layout: &layout,
            width: 4,
            height: 1,
        };
        let area = Area {
            x: 1,
            y: 0,
            width: 2,
            height: 9,
        };
        canvas.fill(area, Ink::new([255; 3], 1.0));
        let white = (940u16 << 6).to_le_bytes();
        assert_eq!(data, [0, 0, white[0], white[1], white[0], white[1], 0, 0]);
    }

    proptest! {
        /// Any area on any layout: samples outside of it stay, those inside are the ink where it is
        /// opaque and whole; nothing panics.
        #[test]
        fn only_the_area_changes(
            width in 1usize..20,
            height in 1usize..20,
            x in -30i64..30, y in -30i64..30,
            w in -3i64..40, h in -3i64..40,
            sub in 0u32..3,
            step in 1usize..4,
            pad in 0usize..5,
            short in prop::bool::ANY,
        ) {
            let layout = Layout { components: vec![component(0, step - 1, step, sub)], colours: Colours::Rgb };
            let (columns, rows) = (width.div_ceil(1 << sub), height.div_ceil(1 << sub));
            let stride = columns * step + pad;
            let mut data = vec![7u8; (stride * rows).saturating_sub(if short { 3 } else { 0 })];
            let area = Area { x, y, width: w, height: h };
            Canvas { planes: vec![Plane { data: &mut data, stride }], layout: &layout, width, height }
                .fill(area, Ink::new([200; 3], 1.0));
            for (at, value) in data.iter().enumerate() {
                let (row, column) = (at / stride, at % stride);
                let sample = column % step == step - 1 && column / step < columns && row < rows;
                let covered = |block: usize, from: i64, length: i64, size: usize| {
                    let first = (block << sub) as i64;
                    let last = (((block + 1) << sub).min(size)) as i64;
                    let (a, b) = (first.max(from), last.min(from + length.max(0)));
                    ((b - a).max(0), last - first)
                };
                let (cx, nx) = covered(column / step, x, w, width);
                let (cy, ny) = covered(row, y, h, height);
                if !sample || cx == 0 || cy == 0 {
                    prop_assert_eq!(*value, 7);
                } else if cx == nx && cy == ny && nx == 1 << sub && ny == 1 << sub {
                    prop_assert_eq!(*value, 200);
                } else {
                    prop_assert!((7..=200).contains(value));
                }
            }
        }
    }
}
