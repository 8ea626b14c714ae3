// SPDX-License-Identifier: Apache-2.0
//! Between the pictures of video and the planes of red, green and blue that nets take.
//!
//! Chroma serves the four pixels around it, wherever the stream says that it lies; the way back takes
//! the chroma of the mean of four pixels. Codes are rounded to nearest, ties to even.

use half::f16;

use crate::launch::{Area, Args, Element, Launch, LaunchError, Memory, picture, plane, tensor};

/// How codes mean colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Colour {
    /// Share of red and blue in luma.
    pub kr: f32,
    pub kb: f32,
    /// 0 to the largest code rather than 16 to 235 (luma) and 16 to 240 (chroma) of 255.
    pub full_range: bool,
}

impl Colour {
    pub const BT601: Self = Self {
        kr: 0.299,
        kb: 0.114,
        full_range: false,
    };
    pub const BT709: Self = Self {
        kr: 0.2126,
        kb: 0.0722,
        full_range: false,
    };
}

/// Bits of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// NV12: a byte a sample.
    Eight,
    /// P010: the upper ten bits of two bytes.
    Ten,
}

impl Depth {
    fn bytes(self) -> u32 {
        match self {
            Self::Eight => 1,
            Self::Ten => 2,
        }
    }

    fn top(self) -> f32 {
        match self {
            Self::Eight => 255.0,
            Self::Ten => 1023.0,
        }
    }

    /// Codes for one of eight bits.
    fn scale(self, full_range: bool) -> f32 {
        match (self, full_range) {
            (Self::Eight, _) => 1.0,
            (Self::Ten, false) => 4.0,
            (Self::Ten, true) => 1023.0 / 255.0,
        }
    }
}

/// From codes to colours of 0 to 255, as the kernels take it (`Colour` in `common.h`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matrix {
    pub y_offset: f32,
    pub y_gain: f32,
    pub c_middle: f32,
    pub v_to_r: f32,
    pub u_to_g: f32,
    pub v_to_g: f32,
    pub u_to_b: f32,
}

impl Matrix {
    pub fn new(colour: &Colour, depth: Depth) -> Self {
        let (kr, kb) = (colour.kr, colour.kb);
        let kg = 1.0 - kr - kb;
        let (y_offset, y_gain, c_gain) = if colour.full_range {
            (0.0, 1.0, 1.0)
        } else {
            (16.0, 255.0 / 219.0, 255.0 / 224.0)
        };
        let scale = depth.scale(colour.full_range);
        Self {
            y_offset: y_offset * scale,
            y_gain: y_gain / scale,
            c_middle: (depth.top() + 1.0) / 2.0,
            v_to_r: 2.0 * (1.0 - kr) * c_gain / scale,
            u_to_g: -2.0 * kb * (1.0 - kb) / kg * c_gain / scale,
            v_to_g: -2.0 * kr * (1.0 - kr) / kg * c_gain / scale,
            u_to_b: 2.0 * (1.0 - kb) * c_gain / scale,
        }
    }

    /// Red, green and blue, which may lie outside of 0 to 255.
    pub fn apply(&self, y: f32, u: f32, v: f32) -> [f32; 3] {
        let y = (y - self.y_offset) * self.y_gain;
        let (u, v) = (u - self.c_middle, v - self.c_middle);
        [
            y + self.v_to_r * v,
            y + self.u_to_g * u + self.v_to_g * v,
            y + self.u_to_b * u,
        ]
    }

    pub(crate) fn words(&self) -> [f32; 7] {
        [
            self.y_offset,
            self.y_gain,
            self.c_middle,
            self.v_to_r,
            self.u_to_g,
            self.v_to_g,
            self.u_to_b,
        ]
    }
}

/// From colours of 0 to 255 to codes (`Codes` in `common.h`).
#[derive(Debug, Clone, Copy, PartialEq)]
struct Codes {
    share: [f32; 3],
    y_offset: f32,
    y_gain: f32,
    c_middle: f32,
    u_gain: f32,
    v_gain: f32,
    top: f32,
}

impl Codes {
    fn new(colour: &Colour, depth: Depth) -> Self {
        let (kr, kb) = (colour.kr, colour.kb);
        let scale = depth.scale(colour.full_range);
        let (offset, y_gain, c_gain) = if colour.full_range {
            (0.0, 1.0, 1.0)
        } else {
            (16.0, 219.0 / 255.0, 224.0 / 255.0)
        };
        Self {
            share: [kr, 1.0 - kr - kb, kb],
            y_offset: offset * scale,
            y_gain: y_gain * scale,
            c_middle: (depth.top() + 1.0) / 2.0,
            u_gain: c_gain * scale / (2.0 * (1.0 - kb)),
            v_gain: c_gain * scale / (2.0 * (1.0 - kr)),
            top: depth.top(),
        }
    }

    fn words(&self) -> [f32; 9] {
        [
            self.share[0],
            self.share[1],
            self.share[2],
            self.y_offset,
            self.y_gain,
            self.c_middle,
            self.u_gain,
            self.v_gain,
            self.top,
        ]
    }

    fn luma(&self, [r, g, b]: [f32; 3]) -> f32 {
        self.share[0] * r + self.share[1] * g + self.share[2] * b
    }
}

#[allow(clippy::manual_clamp)] // max and min, unlike clamp, leave no NaN
fn limit(v: f32, low: f32, high: f32) -> f32 {
    v.max(low).min(high)
}

fn code(v: f32, top: f32) -> u16 {
    limit(v, 0.0, top).round_ties_even() as u16
}

/// A picture with interleaved chroma, and planes of red, green and blue of 0 to 1 (or to `white`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SemiPlanar {
    pub width: u32,
    pub height: u32,
    pub depth: Depth,
    pub colour: Colour,
    /// Element type of the planes.
    pub element: Element,
    /// What white is in the planes; 1 for most nets, 255 for some. Above 0.
    pub white: f32,
}

/// A tensor's elements, in the test's and the reference's hands.
fn read(element: Element, bytes: &[u8], at: usize) -> f32 {
    match element {
        Element::F32 => bytes
            .get(4 * at..4 * at + 4)
            .map_or(0.0, |b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])),
        Element::F16 => bytes
            .get(2 * at..2 * at + 2)
            .map_or(0.0, |b| f16::from_ne_bytes([b[0], b[1]]).to_f32()),
    }
}

/// Numbers as a tensor's bytes.
pub fn to_bytes(element: Element, values: &[f32]) -> Vec<u8> {
    match element {
        Element::F32 => values.iter().flat_map(|v| v.to_ne_bytes()).collect(),
        Element::F16 => values
            .iter()
            .flat_map(|v| f16::from_f32(*v).to_ne_bytes())
            .collect(),
    }
}

fn check_white(white: f32) -> Result<(), LaunchError> {
    if white.is_finite() && white > 0.0 {
        return Ok(());
    }
    Err(LaunchError::Table {
        what: "white",
        problem: "it must be a number above 0",
    })
}

impl SemiPlanar {
    /// Bytes of the planes.
    pub fn tensor_bytes(&self) -> u64 {
        3 * u64::from(self.width) * u64::from(self.height) * self.element.bytes()
    }

    fn half(&self) -> (u32, u32) {
        (self.width.div_ceil(2), self.height.div_ceil(2))
    }

    /// Addresses of luma, chroma and tensor.
    fn check(&self, y: Area, uv: Area, rgb: Memory) -> Result<[u64; 3], LaunchError> {
        picture(self.width, self.height)?;
        check_white(self.white)?;
        let bytes = u64::from(self.depth.bytes());
        let (cw, ch) = self.half();
        Ok([
            plane("luma", y, u64::from(self.width) * bytes, self.height, bytes)?,
            plane("chroma", uv, u64::from(cw) * 2 * bytes, ch, bytes)?,
            tensor(
                "the planes of colours",
                rgb,
                self.tensor_bytes(),
                self.element.bytes(),
            )?,
        ])
    }

    /// Picture to planes.
    pub fn to_rgb(&self, y: Area, uv: Area, rgb: Memory) -> Result<Launch, LaunchError> {
        let [y_at, uv_at, rgb_at] = self.check(y, uv, rgb)?;
        let entry = match self.depth {
            Depth::Eight => self.element.of("nv12_to_rgb_f32", "nv12_to_rgb_f16"),
            Depth::Ten => self.element.of("p010_to_rgb_f32", "p010_to_rgb_f16"),
        };
        Ok(Args::default()
            .address(y_at)
            .address(uv_at)
            .address(rgb_at)
            .u32s(&[self.width, self.height, y.stride, uv.stride])
            .f32s(&Matrix::new(&self.colour, self.depth).words())
            .f32(self.white / 255.0)
            .launch(entry, [self.width, self.height]))
    }

    /// Planes to picture.
    pub fn from_rgb(&self, rgb: Memory, y: Area, uv: Area) -> Result<Launch, LaunchError> {
        let [y_at, uv_at, rgb_at] = self.check(y, uv, rgb)?;
        let entry = match self.depth {
            Depth::Eight => self.element.of("rgb_to_nv12_f32", "rgb_to_nv12_f16"),
            Depth::Ten => self.element.of("rgb_to_p010_f32", "rgb_to_p010_f16"),
        };
        let (cw, ch) = self.half();
        Ok(Args::default()
            .address(rgb_at)
            .address(y_at)
            .address(uv_at)
            .u32s(&[self.width, self.height, y.stride, uv.stride])
            .f32s(&Codes::new(&self.colour, self.depth).words())
            .f32(255.0 / self.white)
            .launch(entry, [cw, ch]))
    }

    fn sample(&self, plane: &[u8], stride: u32, x: u32, y: u32) -> f32 {
        let at = y as usize * stride as usize + (x * self.depth.bytes()) as usize;
        match self.depth {
            Depth::Eight => f32::from(plane[at]),
            Depth::Ten => f32::from(u16::from_le_bytes([plane[at], plane[at + 1]]) >> 6),
        }
    }

    fn put(&self, plane: &mut [u8], stride: u32, x: u32, y: u32, value: u16) {
        let at = y as usize * stride as usize + (x * self.depth.bytes()) as usize;
        match self.depth {
            Depth::Eight => plane[at] = value as u8,
            Depth::Ten => plane[at..at + 2].copy_from_slice(&(value << 6).to_le_bytes()),
        }
    }

    /// What [`Self::to_rgb`] gives, on the CPU: planes with their strides to the tensor's bytes.
    ///
    /// # Panics
    /// When a plane is too short; [`Self::to_rgb`] checks.
    pub fn to_rgb_reference(&self, y: (&[u8], u32), uv: (&[u8], u32)) -> Vec<u8> {
        let matrix = Matrix::new(&self.colour, self.depth);
        let area = self.width as usize * self.height as usize;
        let mut out = vec![0.0; 3 * area];
        for row in 0..self.height {
            for x in 0..self.width {
                let at = (row * self.width + x) as usize;
                let rgb = matrix.apply(
                    self.sample(y.0, y.1, x, row),
                    self.sample(uv.0, uv.1, x / 2 * 2, row / 2),
                    self.sample(uv.0, uv.1, x / 2 * 2 + 1, row / 2),
                );
                for (c, v) in rgb.into_iter().enumerate() {
                    out[c * area + at] = limit(v, 0.0, 255.0) * (self.white / 255.0);
                }
            }
        }
        to_bytes(self.element, &out)
    }

    /// What [`Self::from_rgb`] gives, on the CPU: the tensor's bytes into planes with their strides.
    ///
    /// # Panics
    /// When a plane is too short; [`Self::from_rgb`] checks.
    pub fn from_rgb_reference(&self, rgb: &[u8], y: (&mut [u8], u32), uv: (&mut [u8], u32)) {
        let codes = Codes::new(&self.colour, self.depth);
        let area = self.width as usize * self.height as usize;
        let scale = 255.0 / self.white;
        let (cw, ch) = self.half();
        for by in 0..ch {
            for bx in 0..cw {
                let mut sum = [0.0f32; 3];
                for i in 0..4 {
                    let (x, row) = (bx * 2 + i % 2, by * 2 + i / 2);
                    let at =
                        (row.min(self.height - 1) * self.width + x.min(self.width - 1)) as usize;
                    let p: [f32; 3] =
                        std::array::from_fn(|c| read(self.element, rgb, c * area + at) * scale);
                    for (sum, v) in sum.iter_mut().zip(p) {
                        *sum += v;
                    }
                    if x < self.width && row < self.height {
                        let value = code(codes.luma(p) * codes.y_gain + codes.y_offset, codes.top);
                        self.put(y.0, y.1, x, row, value);
                    }
                }
                let mean = sum.map(|v| v * 0.25);
                let luma = codes.luma(mean);
                let u = code((mean[2] - luma) * codes.u_gain + codes.c_middle, codes.top);
                let v = code((mean[0] - luma) * codes.v_gain + codes.c_middle, codes.top);
                self.put(uv.0, uv.1, 2 * bx, by, u);
                self.put(uv.0, uv.1, 2 * bx + 1, by, v);
            }
        }
    }
}

/// Pixels of four bytes, and planes of red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Packed {
    pub width: u32,
    pub height: u32,
    /// Places of red, green and blue in the four bytes; the one that is left is alpha's.
    pub order: [u32; 3],
    pub element: Element,
    /// What white is in the planes. Above 0.
    pub white: f32,
}

impl Packed {
    pub const RGBA: [u32; 3] = [0, 1, 2];
    pub const BGRA: [u32; 3] = [2, 1, 0];

    pub fn tensor_bytes(&self) -> u64 {
        3 * u64::from(self.width) * u64::from(self.height) * self.element.bytes()
    }

    fn check(&self, pixels: Area, rgb: Memory) -> Result<[u64; 2], LaunchError> {
        picture(self.width, self.height)?;
        check_white(self.white)?;
        check_order(self.order)?;
        Ok([
            plane(
                "the picture",
                pixels,
                u64::from(self.width) * 4,
                self.height,
                1,
            )?,
            tensor(
                "the planes of colours",
                rgb,
                self.tensor_bytes(),
                self.element.bytes(),
            )?,
        ])
    }

    pub fn to_rgb(&self, pixels: Area, rgb: Memory) -> Result<Launch, LaunchError> {
        let [from, to] = self.check(pixels, rgb)?;
        Ok(Args::default()
            .address(from)
            .address(to)
            .u32s(&[self.width, self.height, pixels.stride])
            .u32s(&self.order)
            .f32(self.white / 255.0)
            .u32(0)
            .launch(
                self.element.of("rgba_to_rgb_f32", "rgba_to_rgb_f16"),
                [self.width, self.height],
            ))
    }

    pub fn from_rgb(&self, rgb: Memory, pixels: Area) -> Result<Launch, LaunchError> {
        let [to, from] = self.check(pixels, rgb)?;
        Ok(Args::default()
            .address(from)
            .address(to)
            .u32s(&[self.width, self.height, pixels.stride])
            .u32s(&self.order)
            .u32(self.alpha())
            .f32(255.0 / self.white)
            .launch(
                self.element.of("rgb_to_rgba_f32", "rgb_to_rgba_f16"),
                [self.width, self.height],
            ))
    }

    fn alpha(&self) -> u32 {
        6 - self.order.iter().sum::<u32>().min(6)
    }

    /// What [`Self::to_rgb`] gives, on the CPU.
    ///
    /// # Panics
    /// When the picture is too short; [`Self::to_rgb`] checks.
    pub fn to_rgb_reference(&self, pixels: (&[u8], u32)) -> Vec<u8> {
        let mut out = Vec::new();
        for place in self.order {
            for y in 0..self.height {
                for x in 0..self.width {
                    let at = y as usize * pixels.1 as usize + (4 * x + place) as usize;
                    out.push(f32::from(pixels.0[at]) * (self.white / 255.0));
                }
            }
        }
        to_bytes(self.element, &out)
    }

    /// What [`Self::from_rgb`] gives, on the CPU.
    ///
    /// # Panics
    /// When the picture is too short; [`Self::from_rgb`] checks.
    pub fn from_rgb_reference(&self, rgb: &[u8], pixels: (&mut [u8], u32)) {
        let area = self.width as usize * self.height as usize;
        for y in 0..self.height {
            for x in 0..self.width {
                let at = y as usize * pixels.1 as usize + 4 * x as usize;
                let from = (y * self.width + x) as usize;
                for (c, place) in self.order.into_iter().enumerate() {
                    let v = read(self.element, rgb, c * area + from) * (255.0 / self.white);
                    pixels.0[at + place as usize] = code(v, 255.0) as u8;
                }
                pixels.0[at + self.alpha() as usize] = 255;
            }
        }
    }
}

pub(crate) fn check_order(order: [u32; 3]) -> Result<(), LaunchError> {
    let [r, g, b] = order;
    if order.iter().all(|p| *p < 4) && r != g && g != b && r != b {
        return Ok(());
    }
    Err(LaunchError::Table {
        what: "order of colours",
        problem: "three different places of 0 to 3 are needed",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nv12(depth: Depth, colour: Colour) -> SemiPlanar {
        SemiPlanar {
            width: 2,
            height: 2,
            depth,
            colour,
            element: Element::F32,
            white: 1.0,
        }
    }

    fn floats(bytes: &[u8]) -> Vec<f32> {
        (0..bytes.len() / 4)
            .map(|i| read(Element::F32, bytes, i))
            .collect()
    }

    #[test]
    fn black_white_and_primaries_have_their_standard_codes() {
        // BT.709, limited range: red is 63, 102, 240 (ITU-R BT.709, table 4, rounded).
        let spec = nv12(Depth::Eight, Colour::BT709);
        for (yuv, rgb) in [
            ([16, 128, 128], [0.0, 0.0, 0.0]),
            ([235, 128, 128], [1.0, 1.0, 1.0]),
            ([63, 102, 240], [1.0, 0.0, 0.0]),
            ([173, 42, 26], [0.0, 1.0, 0.0]),
            ([32, 240, 118], [0.0, 0.0, 1.0]),
        ] {
            let out = spec.to_rgb_reference((&[yuv[0]; 4], 2), (&[yuv[1], yuv[2]], 2));
            for (c, expected) in rgb.iter().enumerate() {
                let got = floats(&out)[4 * c];
                assert!((got - expected).abs() < 0.01, "{yuv:?}: {c}: {got}");
            }
            let planes: Vec<f32> = rgb.iter().flat_map(|v| [*v; 4]).collect();
            let (mut y, mut uv) = ([0; 4], [0; 2]);
            spec.from_rgb_reference(&to_bytes(Element::F32, &planes), (&mut y, 2), (&mut uv, 2));
            assert_eq!([y[0], uv[0], uv[1]], yuv);
            // Ten bits: four times the codes.
            let deep = nv12(Depth::Ten, Colour::BT709);
            let (mut y, mut uv) = ([0; 8], [0; 4]);
            deep.from_rgb_reference(&to_bytes(Element::F32, &planes), (&mut y, 4), (&mut uv, 4));
            let codes =
                [&y[..2], &uv[..2], &uv[2..]].map(|b| u16::from_le_bytes([b[0], b[1]]) >> 6);
            for (ten, eight) in codes.into_iter().zip(yuv) {
                assert!(ten.abs_diff(4 * u16::from(eight)) <= 2, "{ten} {eight}");
            }
        }
    }

    #[test]
    fn there_and_back_keeps_flat_pictures() {
        for depth in [Depth::Eight, Depth::Ten] {
            for full_range in [false, true] {
                let colour = Colour {
                    full_range,
                    ..Colour::BT601
                };
                let spec = nv12(depth, colour);
                for n in 0..200u16 {
                    // Codes near grey, so that nothing is limited.
                    let scale = if depth == Depth::Ten { 4 } else { 1 };
                    let codes = [60 + n % 120, 118 + n % 20, 120 + n % 17].map(|c| c * scale);
                    let pack = |v: u16| match depth {
                        Depth::Eight => vec![v as u8],
                        Depth::Ten => (v << 6).to_le_bytes().to_vec(),
                    };
                    let y: Vec<u8> = pack(codes[0]).repeat(4);
                    let uv = [pack(codes[1]), pack(codes[2])].concat();
                    let stride = 2 * scale.min(2) as u32;
                    let rgb = spec.to_rgb_reference((&y, stride), (&uv, stride));
                    let (mut y2, mut uv2) = (y.clone(), uv.clone());
                    y2.fill(0);
                    uv2.fill(0);
                    spec.from_rgb_reference(&rgb, (&mut y2, stride), (&mut uv2, stride));
                    assert_eq!((y2, uv2), (y, uv), "{depth:?} {full_range} {codes:?}");
                }
            }
        }
    }

    #[test]
    fn bad_sizes_are_errors() {
        let memory = |bytes| Memory {
            address: 4096,
            bytes,
        };
        let area = |bytes, stride| Area {
            memory: memory(bytes),
            stride,
        };
        let spec = SemiPlanar {
            width: 5,
            height: 3,
            depth: Depth::Ten,
            colour: Colour::BT709,
            element: Element::F16,
            white: 1.0,
        };
        assert!(spec.to_rgb(area(34, 12), area(24, 12), memory(90)).is_ok());
        for (y, uv, rgb) in [
            (area(33, 12), area(24, 12), memory(90)),
            (area(34, 12), area(23, 12), memory(90)),
            (area(34, 12), area(24, 12), memory(89)),
            (area(34, 8), area(24, 12), memory(90)),
            (area(99, 13), area(24, 12), memory(90)),
        ] {
            assert!(spec.to_rgb(y, uv, rgb).is_err());
            assert!(spec.from_rgb(rgb, y, uv).is_err());
        }
        for wrong in [
            SemiPlanar { width: 0, ..spec },
            SemiPlanar {
                height: 40_000,
                ..spec
            },
            SemiPlanar { white: 0.0, ..spec },
            SemiPlanar {
                white: f32::NAN,
                ..spec
            },
        ] {
            let all = area(u64::MAX / 2, 1 << 20);
            assert!(wrong.to_rgb(all, all, all.memory).is_err(), "{wrong:?}");
        }
        let packed = Packed {
            width: 2,
            height: 2,
            order: [0, 0, 1],
            element: Element::F32,
            white: 1.0,
        };
        assert!(packed.to_rgb(area(16, 8), memory(48)).is_err());
        let packed = Packed {
            order: [3, 1, 0],
            ..packed
        };
        assert!(packed.to_rgb(area(16, 8), memory(48)).is_ok());
        assert_eq!(packed.alpha(), 2);
        assert!(packed.from_rgb(memory(47), area(16, 8)).is_err());
    }
}
