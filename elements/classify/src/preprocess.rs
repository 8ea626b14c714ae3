// SPDX-License-Identifier: Apache-2.0
//! From a frame's planes to the model's input, in one pass. Knows no GStreamer.
//!
//! What the model's training does is: convert to RGB, scale so that the short side is
//! `resize_short_side` (bilinear with antialiasing: a triangle as wide as the reduction, the
//! definition of PyTorch's `interpolate(antialias=True)` and of Pillow), cut the middle
//! `size` x `size`, divide by 255, subtract `mean`, divide by `std`. Scaling and the colour matrix
//! are both linear, so the planes are scaled first, only where the crop needs them, and the
//! matrix is applied to the few pixels that are left: the frame is read once and never converted.

pub mod device;
mod rows;

/// A plane of bytes in memory.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    pub data: &'a [u8],
    pub stride: usize,
}

/// Channel order of packed pixels of three bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Rgb,
    Bgr,
}

/// The pixels of a frame.
#[derive(Debug, Clone, Copy)]
pub enum Pixels<'a> {
    /// 4:2:0, three planes.
    Planar {
        y: Plane<'a>,
        u: Plane<'a>,
        v: Plane<'a>,
    },
    /// 4:2:0, luma and interleaved chroma (U first).
    SemiPlanar { y: Plane<'a>, uv: Plane<'a> },
    /// Three bytes a pixel.
    Packed { rgb: Plane<'a>, order: Order },
}

/// How the numbers of a frame mean colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Colour {
    /// Share of red and blue in luma.
    pub kr: f32,
    pub kb: f32,
    /// 0..255 rather than 16..235 (luma) and 16..240 (chroma).
    pub full_range: bool,
    /// Chroma samples lie on even luma columns / rows rather than between two.
    pub cosited_x: bool,
    pub cosited_y: bool,
}

impl Colour {
    pub const BT601: Self = Self {
        kr: 0.299,
        kb: 0.114,
        full_range: false,
        cosited_x: false,
        cosited_y: false,
    };
    pub const BT709: Self = Self {
        kr: 0.2126,
        kb: 0.0722,
        ..Self::BT601
    };
}

/// What the model was trained on.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocessing {
    /// Side of the model's input.
    pub size: usize,
    /// Short side of the scaled frame from which the middle is cut; at least `size`.
    pub resize_short_side: usize,
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PreprocessError {
    #[error("the frame has no pixels ({width}x{height})")]
    Empty { width: usize, height: usize },
    #[error(
        "a plane of {height} rows of {width} bytes at stride {stride} needs {needed} bytes, {got} are there"
    )]
    Short {
        width: usize,
        height: usize,
        stride: usize,
        needed: usize,
        got: usize,
    },
    #[error("cannot cut {size} x {size} out of a frame scaled to a short side of {short}")]
    Crop { size: usize, short: usize },
}

/// The source samples of each output sample and their weights.
#[derive(Debug)]
struct Taps {
    /// First source sample, of each output sample.
    first: Vec<usize>,
    /// Weights, `width` a row.
    weights: Vec<f32>,
    width: usize,
}

impl Taps {
    /// Output sample `i` of `count` looks at `(start + i + 0.5) * scale + shift` of `len` source
    /// samples through a triangle.
    fn new(count: usize, start: usize, scale: f64, shift: f64, len: usize) -> Self {
        let support = scale.max(1.0);
        let taps = (2.0 * support).ceil() as usize + 1;
        let width = taps.next_multiple_of(rows::STEP);
        let mut first = Vec::with_capacity(count);
        let mut weights = vec![0.0; count * width];
        for (i, row) in weights.chunks_exact_mut(width).enumerate() {
            let centre = (start as f64 + i as f64 + 0.5) * scale + shift;
            let from = ((centre - support + 0.5).max(0.0) as usize).min(len - 1);
            let to = ((centre + support + 0.5).max(0.0) as usize).clamp(from + 1, len);
            // Rows have fewer taps at the borders; those that fill up weigh nothing.
            let n = (to - from).min(taps);
            let mut raw: Vec<f64> = (0..n)
                .map(|x| {
                    let distance = ((x + from) as f64 - centre + 0.5) / support;
                    (1.0 - distance.abs()).max(0.0)
                })
                .collect();
            let mut sum: f64 = raw.iter().sum();
            if sum <= 0.0 {
                raw[0] = 1.0;
                sum = 1.0;
            }
            for (weight, raw) in row.iter_mut().zip(&raw) {
                *weight = (raw / sum) as f32;
            }
            first.push(from);
        }
        Self {
            first,
            weights,
            width,
        }
    }

    fn row(&self, i: usize) -> (usize, &[f32]) {
        (
            self.first[i],
            &self.weights[i * self.width..(i + 1) * self.width],
        )
    }

    /// Source samples that any output needs: first and past the last.
    fn range(&self, len: usize) -> (usize, usize) {
        let first = self.first.iter().copied().min().unwrap_or(0);
        let last = self.first.iter().copied().max().unwrap_or(0);
        (first, (last + self.width).min(len))
    }
}

/// How to scale the crop out of one kind of plane.
#[derive(Debug)]
struct Scaler {
    rows: Taps,
    columns: Taps,
    /// First column of each output column, counted from the first that any needs.
    from_x0: Vec<usize>,
    /// Size of the plane in samples.
    width: usize,
    height: usize,
}

impl Scaler {
    fn new(rows: Taps, columns: Taps, width: usize, height: usize) -> Self {
        let (x0, _) = columns.range(width);
        Self {
            from_x0: columns.first.iter().map(|first| first - x0).collect(),
            rows,
            columns,
            width,
            height,
        }
    }

    /// Scales `channels` interleaved channels; the result has a plane of `size * size` for each.
    fn run(
        &self,
        plane: Plane<'_>,
        channels: usize,
        size: usize,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let (x0, x1) = self.columns.range(self.width);
        let samples = x1 - x0;
        let Scratch { sums, line } = scratch;
        sums.clear();
        sums.resize(samples * channels, 0.0);
        // Taps that weigh nothing may lie past the end.
        line.clear();
        line.resize(samples + self.columns.width, 0.0);
        for oy in 0..size {
            let (first, weights) = self.rows.row(oy);
            let taps = weights.len().min(self.height - first);
            let base = first * plane.stride + x0 * channels;
            rows::weighted_sum(&plane.data[base..], plane.stride, &weights[..taps], sums);
            for c in 0..channels {
                for (to, from) in line.iter_mut().zip(sums[c..].iter().step_by(channels)) {
                    *to = *from;
                }
                let at = c * size * size + oy * size;
                rows::dot_products(
                    line,
                    &self.from_x0,
                    &self.columns.weights,
                    self.columns.width,
                    &mut out[at..at + size],
                );
            }
        }
    }
}

/// How the crop's samples along one axis are made of the plane's: sample `i` is the sum of `taps`
/// samples from `first[i]` on, times `weights[i * taps ..]`. Weights whose samples would lie behind the
/// plane are 0.
#[derive(Debug, Clone, Copy)]
pub struct Axis<'a> {
    pub first: &'a [usize],
    pub weights: &'a [f32],
    pub taps: usize,
}

impl Taps {
    fn axis(&self) -> Axis<'_> {
        Axis {
            first: &self.first,
            weights: &self.weights,
            taps: self.width,
        }
    }
}

/// What a [`Preprocessor`] does with the planes, for other machines than the CPU.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    pub rows: Axis<'a>,
    pub columns: Axis<'a>,
    pub chroma_rows: Axis<'a>,
    pub chroma_columns: Axis<'a>,
    /// Of a chroma plane, in samples.
    pub chroma_size: (usize, usize),
}

/// Memory that is used again for each frame.
#[derive(Debug, Default)]
struct Scratch {
    /// A weighted sum of rows, channels interleaved.
    sums: Vec<f32>,
    /// One channel of it.
    line: Vec<f32>,
}

/// Prepares frames of one size and colour for one model.
#[derive(Debug)]
pub struct Preprocessor {
    spec: Preprocessing,
    colour: Colour,
    width: usize,
    height: usize,
    luma: Scaler,
    chroma: Scaler,
    scratch: Scratch,
    planes: Vec<f32>,
}

/// Size of the scaled frame: the short side is given, the long one rounded down.
pub fn scaled_size(width: usize, height: usize, short: usize) -> (usize, usize) {
    if width <= height {
        (short, (short * height / width).max(short))
    } else {
        ((short * width / height).max(short), short)
    }
}

impl Preprocessor {
    pub fn new(
        spec: &Preprocessing,
        width: usize,
        height: usize,
        colour: Colour,
    ) -> Result<Self, PreprocessError> {
        if width == 0 || height == 0 {
            return Err(PreprocessError::Empty { width, height });
        }
        let (size, short) = (spec.size, spec.resize_short_side);
        if size == 0 || short < size {
            return Err(PreprocessError::Crop { size, short });
        }
        let (scaled_width, scaled_height) = scaled_size(width, height, short);
        // Half samples are cut off, as transformers does; torchvision's own crop rounds them.
        let left = (scaled_width - size) / 2;
        let top = (scaled_height - size) / 2;
        let (scale_x, scale_y) = (
            width as f64 / scaled_width as f64,
            height as f64 / scaled_height as f64,
        );
        let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
        // A cosited chroma sample lies half a luma sample before the middle of its pair.
        let shift = |cosited: bool| if cosited { 0.25 } else { 0.0 };
        let luma = Scaler::new(
            Taps::new(size, top, scale_y, 0.0, height),
            Taps::new(size, left, scale_x, 0.0, width),
            width,
            height,
        );
        let chroma = Scaler::new(
            Taps::new(
                size,
                top,
                scale_y / 2.0,
                shift(colour.cosited_y),
                chroma_height,
            ),
            Taps::new(
                size,
                left,
                scale_x / 2.0,
                shift(colour.cosited_x),
                chroma_width,
            ),
            chroma_width,
            chroma_height,
        );
        Ok(Self {
            spec: spec.clone(),
            colour,
            width,
            height,
            luma,
            chroma,
            scratch: Scratch::default(),
            planes: vec![0.0; 3 * size * size],
        })
    }

    /// Numbers in a prepared frame: 3 planes (red, green, blue) of `size * size`.
    pub fn output_len(&self) -> usize {
        3 * self.spec.size * self.spec.size
    }

    /// Which samples are taken with which weights.
    pub fn plan(&self) -> Plan<'_> {
        Plan {
            rows: self.luma.rows.axis(),
            columns: self.luma.columns.axis(),
            chroma_rows: self.chroma.rows.axis(),
            chroma_columns: self.chroma.columns.axis(),
            chroma_size: (self.chroma.width, self.chroma.height),
        }
    }

    /// Prepares one frame.
    pub fn run(&mut self, pixels: Pixels<'_>) -> Result<Vec<f32>, PreprocessError> {
        let size = self.spec.size;
        let area = size * size;
        let (w, h) = (self.width, self.height);
        let (cw, ch) = (self.chroma.width, self.chroma.height);
        match pixels {
            Pixels::Planar { y, u, v } => {
                check(y, w, h)?;
                check(u, cw, ch)?;
                check(v, cw, ch)?;
                let (to_y, rest) = self.planes.split_at_mut(area);
                let (to_u, to_v) = rest.split_at_mut(area);
                self.luma.run(y, 1, size, &mut self.scratch, to_y);
                self.chroma.run(u, 1, size, &mut self.scratch, to_u);
                self.chroma.run(v, 1, size, &mut self.scratch, to_v);
            }
            Pixels::SemiPlanar { y, uv } => {
                check(y, w, h)?;
                check(uv, cw * 2, ch)?;
                let (to_y, to_uv) = self.planes.split_at_mut(area);
                self.luma.run(y, 1, size, &mut self.scratch, to_y);
                self.chroma.run(uv, 2, size, &mut self.scratch, to_uv);
            }
            Pixels::Packed { rgb, .. } => {
                check(rgb, w * 3, h)?;
                self.luma
                    .run(rgb, 3, size, &mut self.scratch, &mut self.planes);
            }
        }
        let mut out = vec![0.0; self.output_len()];
        let (a, rest) = self.planes.split_at(area);
        let (b, c) = rest.split_at(area);
        let finish = |channel: usize, value: f32| {
            (value.clamp(0.0, 255.0) / 255.0 - self.spec.mean[channel]) / self.spec.std[channel]
        };
        let (red, rest) = out.split_at_mut(area);
        let (green, blue) = rest.split_at_mut(area);
        if let Pixels::Packed { order, .. } = pixels {
            let (r, b) = match order {
                Order::Rgb => (a, c),
                Order::Bgr => (c, a),
            };
            let g = &self.planes[area..2 * area];
            for i in 0..area {
                red[i] = finish(0, r[i]);
                green[i] = finish(1, g[i]);
                blue[i] = finish(2, b[i]);
            }
            return Ok(out);
        }
        let m = Matrix::new(&self.colour);
        for i in 0..area {
            let [r, g, b] = m.apply(a[i], b[i], c[i]);
            red[i] = finish(0, r);
            green[i] = finish(1, g);
            blue[i] = finish(2, b);
        }
        Ok(out)
    }
}

/// YUV to RGB, both on the scale 0..255.
#[derive(Debug, Clone, Copy)]
struct Matrix {
    y_offset: f32,
    y_gain: f32,
    v_to_r: f32,
    u_to_g: f32,
    v_to_g: f32,
    u_to_b: f32,
}

impl Matrix {
    fn new(colour: &Colour) -> Self {
        let (kr, kb) = (colour.kr, colour.kb);
        let kg = 1.0 - kr - kb;
        let (y_offset, y_gain, c_gain) = if colour.full_range {
            (0.0, 1.0, 1.0)
        } else {
            (16.0, 255.0 / 219.0, 255.0 / 224.0)
        };
        Self {
            y_offset,
            y_gain,
            v_to_r: 2.0 * (1.0 - kr) * c_gain,
            u_to_g: -2.0 * kb * (1.0 - kb) / kg * c_gain,
            v_to_g: -2.0 * kr * (1.0 - kr) / kg * c_gain,
            u_to_b: 2.0 * (1.0 - kb) * c_gain,
        }
    }

    fn apply(&self, y: f32, u: f32, v: f32) -> [f32; 3] {
        let y = (y - self.y_offset) * self.y_gain;
        let (u, v) = (u - 128.0, v - 128.0);
        [
            y + self.v_to_r * v,
            y + self.u_to_g * u + self.v_to_g * v,
            y + self.u_to_b * u,
        ]
    }
}

fn check(plane: Plane<'_>, width: usize, height: usize) -> Result<(), PreprocessError> {
    let needed = plane
        .stride
        .checked_mul(height - 1)
        .and_then(|n| n.checked_add(width))
        .filter(|_| plane.stride >= width);
    match needed {
        Some(needed) if plane.data.len() >= needed => Ok(()),
        _ => Err(PreprocessError::Short {
            width,
            height,
            stride: plane.stride,
            needed: needed.unwrap_or(usize::MAX),
            got: plane.data.len(),
        }),
    }
}

#[cfg(test)]
mod tests;
