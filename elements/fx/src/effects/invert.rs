// SPDX-License-Identifier: Apache-2.0
//! Negative.

use crate::params::Values;
use crate::pass::{Build, Pass};
use crate::picture::Family;
use crate::registry::Effect;
use crate::simd::lut::Lut;

pub const EFFECT: Effect = Effect {
    name: "invert",
    aliases: &["negative"],
    nick: "Invert",
    blurb: "Turns the picture into its negative",
    params: &[],
    build,
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
