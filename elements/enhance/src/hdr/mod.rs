// SPDX-License-Identifier: Apache-2.0
//! High dynamic range: from code values to light and back, and between the two ranges.
//!
//! * this module: transfer functions of BT.2100 (PQ, HLG) and BT.1886, and primaries;
//! * [`bt2446`]: tone mapping and its inverse, methods A and C of Report ITU-R BT.2446-1;
//! * [`light`]: how bright a picture is.
//!
//! Light is in cd/m² on a display; 1 of SDR is 100 cd/m².

pub mod bt2446;
pub mod light;

/// Red, green and blue.
pub type Rgb = [f64; 3];

/// White of SDR, and the peak of the HDR pictures that are made, in cd/m².
pub const SDR_WHITE: f64 = 100.0;
pub const HDR_PEAK: f64 = 1000.0;

const PQ_M1: f64 = 2610.0 / 16384.0;
const PQ_M2: f64 = 2523.0 / 4096.0 * 128.0;
const PQ_C1: f64 = 3424.0 / 4096.0;
const PQ_C2: f64 = 2413.0 / 4096.0 * 32.0;
const PQ_C3: f64 = 2392.0 / 4096.0 * 32.0;

/// Light of a PQ value. Values below zero mirror those above, so that a table's corners outside of
/// what can be shown continue the curve.
pub fn pq_to_light(value: f64) -> f64 {
    let p = value.abs().powf(1.0 / PQ_M2);
    let light = ((p - PQ_C1).max(0.0) / (PQ_C2 - PQ_C3 * p).max(1e-9)).powf(1.0 / PQ_M1);
    (10_000.0 * light.min(4.0)).copysign(value)
}

pub fn light_to_pq(light: f64) -> f64 {
    let y = (light.abs() / 10_000.0).powf(PQ_M1);
    ((PQ_C1 + PQ_C2 * y) / (1.0 + PQ_C3 * y))
        .powf(PQ_M2)
        .copysign(light)
        - PQ_C1.powf(PQ_M2).copysign(light)
}

const HLG_A: f64 = 0.178_832_77;
const HLG_B: f64 = 1.0 - 4.0 * HLG_A;
/// System gamma of a display of 1000 cd/m².
const HLG_GAMMA: f64 = 1.2;

fn hlg_c() -> f64 {
    0.5 - HLG_A * (4.0 * HLG_A).ln()
}

/// BT.2020 luminance.
pub fn luminance([r, g, b]: Rgb) -> f64 {
    0.2627 * r + 0.6780 * g + 0.0593 * b
}

/// Light on a display of 1000 cd/m² of HLG values.
pub fn hlg_to_light(rgb: Rgb) -> Rgb {
    let scene = rgb.map(|value| {
        let v = value.abs();
        let e = if v <= 0.5 {
            v * v / 3.0
        } else {
            (((v - hlg_c()) / HLG_A).exp() + HLG_B) / 12.0
        };
        e.copysign(value)
    });
    let gain = HDR_PEAK * luminance(scene).max(1e-9).powf(HLG_GAMMA - 1.0);
    scene.map(|v| v * gain)
}

pub fn light_to_hlg(light: Rgb) -> Rgb {
    let y = (luminance(light) / HDR_PEAK).max(1e-9);
    let gain = y.powf((1.0 - HLG_GAMMA) / HLG_GAMMA) / HDR_PEAK;
    light.map(|v| {
        let e = (v * gain).abs();
        let value = if e <= 1.0 / 12.0 {
            (3.0 * e).sqrt()
        } else {
            HLG_A * (12.0 * e - HLG_B).max(1e-9).ln() + hlg_c()
        };
        value.copysign(v)
    })
}

/// Gamma of BT.1886 with black at zero, continued below it.
pub fn power(value: f64, gamma: f64) -> f64 {
    value.abs().powf(gamma).copysign(value)
}

/// The transfer function of SDR displays.
pub const GAMMA: f64 = 2.4;

fn times(m: [[f64; 3]; 3], v: Rgb) -> Rgb {
    m.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2])
}

/// Linear BT.709 to BT.2020 (Report ITU-R BT.2407, Recommendation BT.2087).
pub fn bt709_to_2020(rgb: Rgb) -> Rgb {
    times(
        [
            [0.627_403_9, 0.329_283_0, 0.043_313_1],
            [0.069_097_3, 0.919_540_4, 0.011_362_3],
            [0.016_391_4, 0.088_013_3, 0.895_595_3],
        ],
        rgb,
    )
}

pub fn bt2020_to_709(rgb: Rgb) -> Rgb {
    times(
        [
            [1.660_491_0, -0.587_641_1, -0.072_849_9],
            [-0.124_550_5, 1.132_899_9, -0.008_349_4],
            [-0.018_150_8, -0.100_578_9, 1.118_729_7],
        ],
        rgb,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pq_has_the_values_of_the_recommendation() {
        // BT.2100, and BT.2408's table of levels.
        for (light, value) in [
            (0.0, 0.0),
            (100.0, 0.508_08),
            (203.0, 0.580_69),
            (1000.0, 0.751_83),
            (10_000.0, 1.0),
        ] {
            let got = light_to_pq(light);
            assert!((got - value).abs() < 1e-4, "{light}: {got}");
            assert!(
                (pq_to_light(got) - light).abs() < 1e-2 * light.max(1.0),
                "{light}"
            );
        }
    }

    #[test]
    fn hlg_has_the_values_of_the_recommendation() {
        // BT.2408: 203 cd/m² is 75 %, peak is 100 %.
        for (light, value) in [(203.0, 0.75), (1000.0, 1.0)] {
            let got = light_to_hlg([light; 3]);
            assert!((got[0] - value).abs() < 2e-3, "{light}: {got:?}");
        }
        for rgb in [[0.1, 0.5, 0.9], [0.7, 0.02, 0.3], [1.0, 1.0, 0.0]] {
            let back = light_to_hlg(hlg_to_light(rgb));
            for (a, b) in rgb.iter().zip(back) {
                assert!((a - b).abs() < 1e-6, "{rgb:?}: {back:?}");
            }
        }
    }

    #[test]
    fn primaries_come_back_and_white_is_white() {
        assert!(
            bt709_to_2020([1.0; 3])
                .iter()
                .all(|v| (v - 1.0).abs() < 1e-6)
        );
        let back = bt2020_to_709(bt709_to_2020([0.2, 0.5, 0.9]));
        for (a, b) in back.iter().zip([0.2, 0.5, 0.9]) {
            assert!((a - b).abs() < 1e-6);
        }
    }
}
