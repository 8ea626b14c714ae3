// SPDX-License-Identifier: Apache-2.0
//! Negative.

use crate::deep::{self, Point};
use crate::params::Values;
use crate::pass::{Build, Pass};
use crate::picture::{Colorimetry, Family};
use crate::registry::Effect;
use crate::simd::lut::Lut;

pub const EFFECT: Effect = Effect {
    name: "invert",
    aliases: &["negative"],
    nick: "Invert",
    blurb: "Turns the picture into its negative",
    params: &[],
    build,
    deep: Some(deep),
};

fn build(_values: &Values, build: &Build) -> Pass {
    let (black, range) = build.shape.brightness_range();
    let brightness = mirrored(2.0 * black + range);
    let others = if build.shape.family == Family::Yuv {
        mirrored(256.0)
    } else {
        brightness
    };
    Pass::Luts(Box::new([brightness, others, others]))
}

/// The table of `sum − x`.
fn mirrored(sum: f32) -> Lut {
    std::array::from_fn(|x| (sum - x as f32).clamp(0.0, 255.0) as u8)
}

fn deep(_values: &Values, color: &Colorimetry) -> Option<Point> {
    let (black, range) = deep::luma_range(color);
    let mirrored = |sum: f64| deep::table(|x| sum - f64::from(x));
    let luma = mirrored(2.0 * black + range);
    Some(Point::Tables([luma, mirrored(1024.0), mirrored(1024.0)]))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::picture::PixelFormat;

    #[test]
    fn black_and_white_change_places() {
        for format in PixelFormat::ALL {
            let white = run_flat(&EFFECT, &[], format, [0.0; 3]);
            assert_close(white, [1.0; 3], 0.01, format);
            let cyan = run_flat(&EFFECT, &[], format, [1.0, 0.0, 0.0]);
            let expected = in_format(format, [0.0, 1.0, 1.0]);
            if format != PixelFormat::Gray8 {
                assert_close(cyan, expected, 0.02, format);
            }
        }
    }
}
