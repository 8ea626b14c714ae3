// SPDX-License-Identifier: Apache-2.0
//! Report ITU-R BT.2446-1: methods A and C, from HDR to SDR and back.
//!
//! Both take and give linear display light of BT.2020 primaries. SDR has its white at 100 cd/m²,
//! the HDR that is made its peak at 1000 cd/m², for which the report gives its constants.

use super::{GAMMA, HDR_PEAK, Rgb, SDR_WHITE, luminance, power};

/// The report's conversion methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Section 4: keeps the look, tone mapping on non-linear luma.
    A,
    /// Section 6: keeps skin tones and what is below white exactly, luminance only; its inverse is
    /// exact.
    C,
}

impl Method {
    /// SDR light of HDR light whose highest is `peak`.
    pub fn down(self, hdr: Rgb, peak: f64) -> Rgb {
        match self {
            Self::A => a_down(hdr, peak),
            Self::C => c(hdr, c_curve),
        }
    }

    /// HDR light of SDR light.
    pub fn up(self, sdr: Rgb) -> Rgb {
        match self {
            Self::A => a_up(sdr),
            Self::C => c(sdr, c_curve_back),
        }
    }
}

/// Colour differences of non-linear BT.2020.
fn differences(rgb: Rgb) -> (f64, f64, f64) {
    let y = luminance(rgb);
    (y, (rgb[2] - y) / 1.8814, (rgb[0] - y) / 1.4746)
}

fn from_differences(y: f64, cb: f64, cr: f64) -> Rgb {
    [
        y + 1.4746 * cr,
        y - 0.164_55 * cb - 0.571_35 * cr,
        y + 1.8814 * cb,
    ]
}

fn rho(light: f64) -> f64 {
    1.0 + 32.0 * (light / 10_000.0).powf(1.0 / GAMMA)
}

/// The knee, on luma that is even to the eye.
fn knee(y: f64) -> f64 {
    if y <= 0.7399 {
        1.0770 * y
    } else if y < 0.9909 {
        (-1.1510 * y + 2.7811) * y - 0.6302
    } else {
        0.5 * y + 0.5
    }
}

fn a_down(hdr: Rgb, peak: f64) -> Rgb {
    let (y, cb, cr) = differences(hdr.map(|v| power((v / peak).min(1.0), 1.0 / GAMMA)));
    let (rho_hdr, rho_sdr) = (rho(peak), rho(SDR_WHITE));
    let even = (1.0 + (rho_hdr - 1.0) * y.max(0.0)).ln() / rho_hdr.ln();
    let sdr = (rho_sdr.powf(knee(even)) - 1.0) / (rho_sdr - 1.0);
    let gain = if y > 1e-6 { sdr / (1.1 * y) } else { 0.0 };
    let (cb, cr) = (gain * cb, gain * cr);
    from_differences(sdr - (0.1 * cr).max(0.0), cb, cr).map(|v| SDR_WHITE * power(v, GAMMA))
}

fn a_up(sdr: Rgb) -> Rgb {
    let (y, cb, cr) = differences(sdr.map(|v| power(v / SDR_WHITE, 1.0 / GAMMA)));
    let code = 255.0 * y.max(0.0);
    let exponent = if code <= 70.0 {
        (1.8712e-5 * code - 2.7334e-3) * code + 1.3141
    } else {
        (2.8305e-6 * code - 7.4622e-4) * code + 1.2528
    };
    let hdr = code.powf(exponent);
    let gain = if y > 1e-6 { 1.075 * hdr / y } else { 1.0 };
    from_differences(hdr, cb * gain, cr * gain)
        .map(|v| HDR_PEAK * power((v / 1000.0).min(1.0), GAMMA))
}

/// Method C's curve: straight up to skin tones and a little more, logarithmic above.
const K1: f64 = 0.838_02;
const K2: f64 = 15.099_68;
const K3: f64 = 0.742_04;
const K4: f64 = 78.994_39;
/// Where the curve bends, as SDR light.
const BEND: f64 = 58.535;
/// How much of the other two goes into each channel, so that saturated colours keep their hue.
const CROSSTALK: f64 = 0.04;

fn c_curve(hdr: f64) -> f64 {
    let bend = BEND / K1;
    if hdr < bend {
        K1 * hdr
    } else {
        K2 * (hdr / bend - K3).ln() + K4
    }
}

fn c_curve_back(sdr: f64) -> f64 {
    let bend = BEND / K1;
    if sdr < BEND {
        sdr / K1
    } else {
        bend * (((sdr - K4) / K2).exp() + K3)
    }
}

fn c(light: Rgb, curve: fn(f64) -> f64) -> Rgb {
    let sum: f64 = light.iter().sum();
    let mixed = light.map(|v| (1.0 - 3.0 * CROSSTALK) * v + CROSSTALK * sum);
    let y = luminance(mixed);
    let gain = if y > 1e-6 {
        curve(y) / y
    } else {
        curve(1e-6) / 1e-6
    };
    let sum: f64 = mixed.iter().map(|v| gain * v).sum();
    mixed.map(|v| (gain * v - CROSSTALK * sum) / (1.0 - 3.0 * CROSSTALK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_greys_are_where_the_report_has_them() {
        for method in [Method::A, Method::C] {
            assert!(luminance(method.down([0.0; 3], HDR_PEAK)).abs() < 1e-6);
            assert!(luminance(method.up([0.0; 3])).abs() < 1e-6);
        }
        // A: peak to white and white to peak.
        assert!((luminance(Method::A.down([1000.0; 3], 1000.0)) - 100.0).abs() < 0.1);
        assert!((luminance(Method::A.up([100.0; 3])) - 1000.0).abs() < 10.0);
        // C: peak to 118 cd/m², the super-white that narrow range can carry.
        assert!((luminance(Method::C.down([1000.0; 3], 1000.0)) - 118.4).abs() < 0.5);
        assert!((luminance(Method::C.down([50.0; 3], 1000.0)) - 41.9).abs() < 0.1);
        // Greys stay grey.
        for light in [1.0, 20.0, 80.0] {
            for method in [Method::A, Method::C] {
                let [r, g, b] = method.up([light; 3]);
                assert!(
                    (r - g).abs() < 0.02 * g && (b - g).abs() < 0.02 * g,
                    "{r} {g} {b}"
                );
            }
        }
    }

    #[test]
    fn curves_rise() {
        for method in [Method::A, Method::C] {
            let (mut down, mut up) = (-1.0, -1.0);
            for i in 0..=500 {
                let d = luminance(method.down([f64::from(i) * 2.0; 3], HDR_PEAK));
                let u = luminance(method.up([f64::from(i) / 5.0; 3]));
                assert!(d > down && u > up, "{method:?} {i}");
                (down, up) = (d, u);
            }
        }
    }

    #[test]
    fn method_c_comes_back_exactly_and_a_nearly() {
        let mut worst = [0.0f64; 2];
        for i in 0..4000u32 {
            // In-gamut SDR colours, evenly spread in non-linear values.
            let value =
                |shift: u32| f64::from(i.wrapping_mul(2_654_435_761) >> shift & 255) / 255.0;
            let sdr = [value(0), value(8), value(16)].map(|v| 100.0 * power(v, GAMMA));
            let code = |rgb: Rgb| luminance(rgb.map(|v| power(v / 100.0, 1.0 / GAMMA)));
            for (k, method) in [Method::A, Method::C].into_iter().enumerate() {
                let back = method.down(method.up(sdr), HDR_PEAK);
                worst[k] = worst[k].max((code(back) - code(sdr)).abs());
            }
        }
        assert!(worst[1] < 1e-3, "C: {}", worst[1]);
        // The report's own curves for A are two fits, not inverses; luma differs by some percent.
        assert!(worst[0] < 0.15, "A: {}", worst[0]);
    }
}
