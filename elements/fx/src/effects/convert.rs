// SPDX-License-Identifier: Apache-2.0
//! Running an effect in colour components that the picture is not stored in.

use aivideo_color::table::ColorTable;

use crate::params::{Choice, Kind, Param};
use crate::pass::{Build, Moment, Pass, RowPass, RowScratch};
use crate::picture::{Band, Colorimetry, Family, fit};
use crate::simd::kernels::{self, Matrix};
use crate::simd::lut::{Lut, RowLut};

/// The parameter of effects that work on components one by one.
pub const SPACE: Param = Param {
    name: "space",
    nick: "Colour space",
    blurb: "The components that the effect works on",
    kind: Kind::Choice {
        choices: &[
            Choice {
                name: "yuv",
                blurb: "Y, U and V, as decoders give them; RGB pictures are converted",
            },
            Choice {
                name: "rgb",
                blurb: "red, green and blue; YUV pictures are converted",
            },
        ],
        default: 0,
    },
};

const YUV: usize = 0;

/// One table for each component of the chosen space.
pub fn componentwise(space: usize, build: &Build, lut: &Lut) -> Pass {
    match (build.shape.family, space == YUV) {
        (Family::Yuv, true) | (Family::Rgb, false) | (Family::Gray, true) => {
            Pass::Luts(Box::new([*lut; 3]))
        }
        (Family::Gray, false) => {
            // Gray is red, green and blue at once, but maybe of a limited range.
            let (black, range) = build.shape.brightness_range();
            let table = std::array::from_fn(|x| {
                let full = kernels::to_byte((x as f32 - black) / range * 255.0);
                let value = f32::from(lut[usize::from(full)]);
                kernels::to_byte(black + value / 255.0 * range)
            });
            Pass::Luts(Box::new([table; 3]))
        }
        (Family::Yuv, false) => via_rgb(build, TableOp(RowLut::new(&[lut]))),
        (Family::Rgb, true) => Pass::Rows(Box::new(InYuv {
            op: TableOp(RowLut::new(&[lut])),
            to: encoding(&build.shape.color),
            back: decoding(&build.shape.color),
        })),
    }
}

/// An effect on rows of three components.
pub trait ColorOp: Send + Sync {
    fn apply(&self, rows: [&mut [u8]; 3], y: usize, moment: &Moment);

    /// True when rows must come one after the other from the top.
    fn is_sequential(&self) -> bool {
        false
    }

    /// Where it is nothing but a table: that.
    fn color_table(&self) -> Option<&ColorTable> {
        None
    }
}

struct TableOp(RowLut);

impl ColorOp for TableOp {
    fn apply(&self, rows: [&mut [u8]; 3], _y: usize, _moment: &Moment) {
        for row in rows {
            self.0.apply(row);
        }
    }
}

/// Runs `op` on red, green and blue, whatever the picture is made of. Subsampled chroma is
/// repeated for it and averaged afterwards.
pub fn via_rgb(build: &Build, op: impl ColorOp + 'static) -> Pass {
    let color = &build.shape.color;
    match build.shape.family {
        Family::Rgb => Pass::Rows(Box::new(Direct { op })),
        Family::Yuv => Pass::Rows(Box::new(InRgb {
            op,
            ws: build.shape.ws,
            to: decoding(color),
            back: encoding(color),
        })),
        Family::Gray => Pass::Rows(Box::new(GrayInRgb {
            op,
            to: decoding(color),
            back: encoding(color),
        })),
    }
}

/// Bytes of Y, U, V to bytes of R, G, B.
pub(super) fn decoding(color: &Colorimetry) -> Matrix {
    Matrix::new(affine(|yuv| color.decode(yuv).map(|v| v * 255.0)))
}

/// Bytes of R, G, B to bytes of Y, U, V.
pub(super) fn encoding(color: &Colorimetry) -> Matrix {
    Matrix::new(affine(|rgb| color.encode(rgb.map(|v| v / 255.0))))
}

/// The matrix of an affine function.
pub(super) fn affine(f: impl Fn([f32; 3]) -> [f32; 3]) -> [[f32; 4]; 3] {
    let zero = f([0.0; 3]);
    let columns: [[f32; 3]; 3] = std::array::from_fn(|i| {
        let mut unit = [0.0; 3];
        unit[i] = 255.0;
        let at = f(unit);
        std::array::from_fn(|j| (at[j] - zero[j]) / 255.0)
    });
    std::array::from_fn(|j| [columns[0][j], columns[1][j], columns[2][j], zero[j]])
}

struct Direct<T> {
    op: T,
}

impl<T: ColorOp> RowPass for Direct<T> {
    fn is_sequential(&self) -> bool {
        self.op.is_sequential()
    }

    fn color_table(&self) -> Option<&ColorTable> {
        self.op.color_table()
    }

    fn run(&self, band: &mut Band, moment: &Moment, _scratch: &mut RowScratch) {
        let [r, _] = &mut band.luma;
        let [g, b] = &mut band.chroma;
        self.op.apply([r, g, b], band.y, moment);
    }
}

struct InYuv<T> {
    op: T,
    to: Matrix,
    back: Matrix,
}

impl<T: ColorOp> RowPass for InYuv<T> {
    fn is_sequential(&self) -> bool {
        self.op.is_sequential()
    }

    fn run(&self, band: &mut Band, moment: &Moment, _scratch: &mut RowScratch) {
        let [r, _] = &mut band.luma;
        let [g, b] = &mut band.chroma;
        kernels::matrix(r, g, b, &self.to);
        self.op.apply([r, g, b], band.y, moment);
        kernels::matrix(r, g, b, &self.back);
    }
}

struct GrayInRgb<T> {
    op: T,
    to: Matrix,
    back: Matrix,
}

impl<T: ColorOp> RowPass for GrayInRgb<T> {
    fn is_sequential(&self) -> bool {
        self.op.is_sequential()
    }

    fn run(&self, band: &mut Band, moment: &Moment, scratch: &mut RowScratch) {
        let row = &mut *band.luma[0];
        let [a, b, ..] = &mut scratch.bytes;
        let (a, b) = (fit(a, row.len()), fit(b, row.len()));
        a.fill(128);
        b.fill(128);
        kernels::matrix(row, a, b, &self.to);
        self.op.apply([row, a, b], band.y, moment);
        kernels::matrix(row, a, b, &self.back);
    }
}

struct InRgb<T> {
    op: T,
    ws: u32,
    to: Matrix,
    back: Matrix,
}

impl<T: ColorOp> InRgb<T> {
    /// Converts, runs and converts back; `u` and `v` are as long as `luma`.
    fn row(&self, luma: &mut [u8], u: &mut [u8], v: &mut [u8], y: usize, moment: &Moment) {
        kernels::matrix(luma, u, v, &self.to);
        self.op.apply([luma, u, v], y, moment);
        kernels::matrix(luma, u, v, &self.back);
    }
}

impl<T: ColorOp> RowPass for InRgb<T> {
    fn is_sequential(&self) -> bool {
        self.op.is_sequential()
    }

    fn run(&self, band: &mut Band, moment: &Moment, scratch: &mut RowScratch) {
        let y = band.y;
        let [first, second] = &mut band.luma;
        let [us, vs] = &mut band.chroma;
        let width = first.len();
        if self.ws == 0 && second.is_empty() {
            self.row(first, us, vs, y, moment);
            return;
        }
        let [u1, v1, u2, v2, ..] = &mut scratch.bytes;
        let (u1, v1) = (fit(u1, width), fit(v1, width));
        let (u2, v2) = (fit(u2, second.len()), fit(v2, second.len()));
        for (wide, narrow) in [(&mut *u1, &**us), (&mut *v1, &**vs)] {
            if self.ws == 1 {
                kernels::double(narrow, wide);
            } else {
                wide.copy_from_slice(narrow);
            }
        }
        if !second.is_empty() {
            u2.copy_from_slice(u1);
            v2.copy_from_slice(v1);
        }
        self.row(first, u1, v1, y, moment);
        if !second.is_empty() {
            self.row(second, u2, v2, y + 1, moment);
            kernels::average(u1, u2);
            kernels::average(v1, v2);
        }
        for (wide, narrow) in [(u1, &mut **us), (v1, &mut **vs)] {
            if self.ws == 1 {
                kernels::halve(wide, narrow);
            } else {
                narrow.copy_from_slice(wide);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::effects::{posterize, threshold};
    use crate::params::Value;
    use crate::picture::PixelFormat;

    /// In `space=rgb` a flat colour must come out the same whatever the format.
    #[test]
    fn rgb_posterise_is_the_same_colour_in_every_format() {
        for format in PixelFormat::ALL {
            if format.family() == Family::Gray {
                continue;
            }
            let params = [("num-levels", Value::Int(3)), ("space", Value::Choice(1))];
            let out = run_flat(&posterize::EFFECT, &params, format, [0.9, 0.4, 0.1]);
            // Levels are 0, 127 (truncated from 127.5) and 255.
            assert_close(out, [1.0, 0.498, 0.0], 0.015, format);
        }
    }

    /// In `space=yuv` an RGB picture must look like its YUV sister.
    #[test]
    fn yuv_threshold_is_the_same_colour_in_every_format() {
        let params = [("threshold", Value::Float(0.52))];
        let expected = run_flat(
            &threshold::EFFECT,
            &params,
            PixelFormat::Y444,
            [0.2, 0.9, 0.9],
        );
        for format in PixelFormat::ALL {
            if format.family() == Family::Gray {
                continue;
            }
            let out = run_flat(&threshold::EFFECT, &params, format, [0.2, 0.9, 0.9]);
            // Threshold makes colours beyond red, green and blue, which RGB pictures clamp.
            let [out, expected] = [out, expected].map(|rgb| rgb.map(|v| v.clamp(0.0, 1.0)));
            assert_close(out, expected, 0.02, format);
        }
    }

    #[test]
    fn gray_in_rgb_space_stays_in_its_range() {
        let params = [
            ("threshold", Value::Float(0.5)),
            ("space", Value::Choice(1)),
        ];
        for (gray, code) in [(0.2, 16), (0.8, 235)] {
            let bytes = run_bytes(&threshold::EFFECT, &params, PixelFormat::Gray8, [gray; 3]);
            assert!(bytes.iter().all(|b| *b == code), "{gray} {:?}", &bytes[..4]);
        }
    }
}
