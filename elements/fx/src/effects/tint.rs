// SPDX-License-Identifier: Apache-2.0
//! Colouring by brightness: every brightness has its colour.

use crate::pass::{Build, Moment, Pass, RowPass, RowScratch};
use crate::picture::{Band, Family, fit};
use crate::simd::kernels;
use crate::simd::lut::{Lut, RowLut};

/// Paints pictures with `colors`, a function of brightness (0 to 1) that gives red, green and
/// blue. `amount` of 0 keeps the picture's own colours. Gray pictures show the colours'
/// brightness.
pub fn tint(build: &Build, amount: f64, colors: impl Fn(f32) -> [f32; 3]) -> Pass {
    let amount = amount as f32;
    let steps = (amount * 256.0).round() as u32;
    if steps == 0 {
        return Pass::Nothing;
    }
    let (black, range) = build.shape.brightness_range();
    let color = build.shape.color;
    let code = |x: usize| -> [f32; 3] {
        let brightness = ((x as f32 - black) / range).clamp(0.0, 1.0);
        let rgb = colors(brightness).map(|v| v.clamp(0.0, 1.0));
        match build.shape.family {
            Family::Rgb => rgb.map(|v| v * 255.0),
            _ => color.encode(rgb),
        }
    };
    let tables: [Lut; 3] =
        std::array::from_fn(|c| std::array::from_fn(|x| kernels::to_byte(code(x)[c])));
    let mixed: Lut = std::array::from_fn(|x| {
        let old = x as f32;
        kernels::to_byte(old + amount * (code(x)[0] - old))
    });
    match build.shape.family {
        Family::Gray => Pass::Luts(Box::new([mixed; 3])),
        Family::Yuv => Pass::Rows(Box::new(TintYuv {
            luma: RowLut::new(&[&mixed]),
            chroma: [RowLut::new(&[&tables[1]]), RowLut::new(&[&tables[2]])],
            ws: build.shape.ws,
            steps,
        })),
        Family::Rgb => {
            let red = (color.kr * 65536.0).round() as u32;
            let blue = (color.kb * 65536.0).round() as u32;
            Pass::Rows(Box::new(TintRgb {
                tables: tables.map(|table| RowLut::new(&[&table])),
                weights: [red, 65536 - red - blue, blue],
                steps,
            }))
        }
    }
}

struct TintYuv {
    luma: RowLut,
    chroma: [RowLut; 2],
    ws: u32,
    steps: u32,
}

impl RowPass for TintYuv {
    fn run(&self, band: &mut Band, _moment: &Moment, scratch: &mut RowScratch) {
        let [first, second] = &mut band.luma;
        let width = first.len();
        let narrow_width = band.chroma[0].len();
        let [wide, narrow, painted, ..] = &mut scratch.bytes;
        // The brightness at each chroma sample is the mean of its pixels.
        let brightness: &[u8] = {
            let wide = fit(wide, width);
            wide.copy_from_slice(first);
            if !second.is_empty() {
                kernels::average(wide, second);
            }
            if self.ws == 1 {
                let narrow = fit(narrow, narrow_width);
                kernels::halve(wide, narrow);
                narrow
            } else {
                wide
            }
        };
        for (row, table) in band.chroma.iter_mut().zip(&self.chroma) {
            if self.steps == 256 {
                row.copy_from_slice(brightness);
                table.apply(row);
            } else {
                let painted = fit(painted, narrow_width);
                painted.copy_from_slice(brightness);
                table.apply(painted);
                kernels::blend(row, painted, 256 - self.steps);
            }
        }
        self.luma.apply(first);
        self.luma.apply(second);
    }
}

struct TintRgb {
    tables: [RowLut; 3],
    weights: [u32; 3],
    steps: u32,
}

impl RowPass for TintRgb {
    fn run(&self, band: &mut Band, _moment: &Moment, scratch: &mut RowScratch) {
        let [red, _] = &mut band.luma;
        let [green, blue] = &mut band.chroma;
        let width = red.len();
        let [brightness, painted, ..] = &mut scratch.bytes;
        let (brightness, painted) = (fit(brightness, width), fit(painted, width));
        kernels::weigh(brightness, [red, green, blue], self.weights);
        for (row, table) in [red, green, blue].into_iter().zip(&self.tables) {
            painted.copy_from_slice(brightness);
            table.apply(painted);
            kernels::blend(row, painted, 256 - self.steps);
        }
    }
}

/// A function that goes through evenly spaced colours (`0xRRGGBB`).
pub fn through(colors: &'static [u32], at: f32) -> [f32; 3] {
    let last = colors.len() - 1;
    let place = at.clamp(0.0, 1.0) * last as f32;
    let index = (place as usize).min(last.saturating_sub(1));
    let part = place - index as f32;
    let from = crate::params::rgb(colors[index]);
    let to = crate::params::rgb(colors[(index + 1).min(last)]);
    std::array::from_fn(|i| from[i] + (to[i] - from[i]) * part)
}
