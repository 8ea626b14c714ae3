// SPDX-License-Identifier: Apache-2.0
//! Bjøntegaard's difference of two curves, with the piecewise cubic interpolation that JVET's
//! sheets use (PCHIP), and Akima's beside it as a check.

use anyhow::{Result, bail};
use serde::Serialize;

/// Points of a curve, of strictly growing x.
#[derive(Clone, Debug)]
struct Spline {
    x: Vec<f64>,
    y: Vec<f64>,
    slope: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    Pchip,
    Akima,
}

impl Spline {
    fn new(x: Vec<f64>, y: Vec<f64>, interpolation: Interpolation) -> Self {
        let width: Vec<f64> = x.windows(2).map(|p| p[1] - p[0]).collect();
        let delta: Vec<f64> = y
            .windows(2)
            .zip(&width)
            .map(|(p, w)| (p[1] - p[0]) / w)
            .collect();
        let slope = match interpolation {
            Interpolation::Pchip => pchip(&width, &delta),
            Interpolation::Akima => akima(&delta),
        };
        Self { x, y, slope }
    }

    /// The integral from `from` to `to`, both within the points.
    fn integral(&self, from: f64, to: f64) -> f64 {
        let mut sum = 0.0;
        for i in 0..self.x.len() - 1 {
            let (a, b) = (self.x[i].max(from), self.x[i + 1].min(to));
            if b <= a {
                continue;
            }
            // y = y0 + s t + c t² + d t³ with t from the interval's start.
            let h = self.x[i + 1] - self.x[i];
            let delta = (self.y[i + 1] - self.y[i]) / h;
            let c = (3.0 * delta - 2.0 * self.slope[i] - self.slope[i + 1]) / h;
            let d = (self.slope[i] + self.slope[i + 1] - 2.0 * delta) / (h * h);
            let whole =
                |t: f64| t * (self.y[i] + t * (self.slope[i] / 2.0 + t * (c / 3.0 + t * d / 4.0)));
            sum += whole(b - self.x[i]) - whole(a - self.x[i]);
        }
        sum
    }
}

/// Slopes of Fritsch and Butland: weighted harmonic means, and three-point formulas at the ends.
fn pchip(width: &[f64], delta: &[f64]) -> Vec<f64> {
    let n = delta.len();
    if n == 1 {
        return vec![delta[0]; 2];
    }
    let end = |h0: f64, h1: f64, d0: f64, d1: f64| {
        let slope = ((2.0 * h0 + h1) * d0 - h0 * d1) / (h0 + h1);
        if slope * d0 <= 0.0 {
            0.0
        } else if d0 * d1 < 0.0 && slope.abs() > 3.0 * d0.abs() {
            3.0 * d0
        } else {
            slope
        }
    };
    let mut slope = vec![end(width[0], width[1], delta[0], delta[1])];
    for i in 1..n {
        let (a, b) = (delta[i - 1], delta[i]);
        slope.push(if a * b <= 0.0 {
            0.0
        } else {
            let (wa, wb) = (2.0 * width[i] + width[i - 1], width[i] + 2.0 * width[i - 1]);
            (wa + wb) / (wa / a + wb / b)
        });
    }
    slope.push(end(width[n - 1], width[n - 2], delta[n - 1], delta[n - 2]));
    slope
}

/// Akima's slopes of 1970, with his continuation at the ends.
fn akima(delta: &[f64]) -> Vec<f64> {
    let n = delta.len();
    if n == 1 {
        return vec![delta[0]; 2];
    }
    let mut m = vec![0.0; n + 4];
    m[2..n + 2].copy_from_slice(delta);
    m[1] = 2.0 * m[2] - m[3];
    m[0] = 2.0 * m[1] - m[2];
    m[n + 2] = 2.0 * m[n + 1] - m[n];
    m[n + 3] = 2.0 * m[n + 2] - m[n + 1];
    (0..=n)
        .map(|i| {
            let (left, right) = ((m[i + 1] - m[i]).abs(), (m[i + 3] - m[i + 2]).abs());
            if left + right < 1e-12 {
                (m[i + 1] + m[i + 2]) / 2.0
            } else {
                (right * m[i + 1] + left * m[i + 2]) / (left + right)
            }
        })
        .collect()
}

/// A curve of rate and quality, cleaned for interpolation.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Growing in both.
    points: Vec<(f64, f64)>,
    /// Points left out, because a cheaper one was as good.
    pub dropped: usize,
}

impl Curve {
    pub fn new(points: &[(f64, f64)]) -> Self {
        let mut sorted: Vec<(f64, f64)> = points
            .iter()
            .copied()
            .filter(|(rate, quality)| *rate > 0.0 && quality.is_finite())
            .collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut kept: Vec<(f64, f64)> = Vec::new();
        for (rate, quality) in sorted {
            if kept
                .last()
                .is_none_or(|last| quality > last.1 + 1e-6 && rate > last.0)
            {
                kept.push((rate, quality));
            }
        }
        Self {
            dropped: points.len() - kept.len(),
            points: kept,
        }
    }

    /// Lowest and highest quality.
    pub fn range(&self) -> Option<(f64, f64)> {
        Some((self.points.first()?.1, self.points.last()?.1))
    }

    fn rates(&self, interpolation: Interpolation) -> Spline {
        Spline::new(
            self.points.iter().map(|p| p.1).collect(),
            self.points.iter().map(|p| p.0.ln()).collect(),
            interpolation,
        )
    }

    fn qualities(&self, interpolation: Interpolation) -> Spline {
        Spline::new(
            self.points.iter().map(|p| p.0.ln()).collect(),
            self.points.iter().map(|p| p.1).collect(),
            interpolation,
        )
    }
}

/// How one curve compares with another.
#[derive(Clone, Debug, Serialize)]
pub struct Delta {
    /// Rate against the anchor's at equal quality, in percent; below zero is better.
    pub rate: f64,
    /// The same with Akima's interpolation.
    pub rate_akima: f64,
    /// The anchor's rate against this one's.
    pub reverse: f64,
    /// Quality against the anchor's at equal rate; none where the rates do not overlap.
    pub quality: Option<f64>,
    /// Qualities between which both curves exist.
    pub from: f64,
    pub to: f64,
    /// Parts of the two curves' own ranges of quality that lie there.
    pub share: f64,
    pub share_anchor: f64,
    /// What a reader should know before believing the figure.
    pub flags: Vec<String>,
}

/// Compares `ours` with `anchor`. Fails, with the reason, where the curves overlap by less than
/// `least` of quality or have fewer than three points: no figure is better than a wild one.
pub fn delta(ours: &Curve, anchor: &Curve, least: f64) -> Result<Delta> {
    let count = ours.points.len().min(anchor.points.len());
    if count < 3 {
        bail!("only {count} usable points on a curve");
    }
    let (Some(one), Some(two)) = (ours.range(), anchor.range()) else {
        bail!("an empty curve");
    };
    let (from, to) = (one.0.max(two.0), one.1.min(two.1));
    if to - from < least {
        bail!(
            "the curves overlap too little: {:.2} to {:.2} and {:.2} to {:.2}",
            one.0,
            one.1,
            two.0,
            two.1
        );
    }
    let mean = |interpolation| {
        (ours.rates(interpolation).integral(from, to)
            - anchor.rates(interpolation).integral(from, to))
            / (to - from)
    };
    let percent = |log: f64| (log.exp() - 1.0) * 100.0;
    let log = mean(Interpolation::Pchip);
    let (rate, rate_akima) = (percent(log), percent(mean(Interpolation::Akima)));
    let (share, share_anchor) = ((to - from) / (one.1 - one.0), (to - from) / (two.1 - two.0));
    let mut flags = Vec::new();
    if share < 0.5 && share_anchor < 0.5 {
        flags.push(format!(
            "the curves share {:.0} % of one range and {:.0} % of the other only",
            share * 100.0,
            share_anchor * 100.0
        ));
    }
    let shared = |curve: &Curve| {
        curve
            .points
            .iter()
            .filter(|p| p.1 >= from - 1e-9 && p.1 <= to + 1e-9)
            .count()
    };
    if shared(ours) + shared(anchor) < 4 {
        flags.push("few points lie where both curves exist".into());
    }
    if ours.dropped + anchor.dropped > 0 {
        flags.push(format!(
            "{} points were no better than a cheaper one and were left out",
            ours.dropped + anchor.dropped
        ));
    }
    if (rate - rate_akima).abs() > 3f64.max(rate.abs() * 0.05) {
        flags.push(format!("Akima's interpolation says {rate_akima:+.0} %"));
    }
    Ok(Delta {
        rate,
        rate_akima,
        reverse: percent(-log),
        quality: at_equal_rate(ours, anchor),
        from,
        to,
        share,
        share_anchor,
        flags,
    })
}

fn at_equal_rate(ours: &Curve, anchor: &Curve) -> Option<f64> {
    let ends = |curve: &Curve| Some((curve.points.first()?.0.ln(), curve.points.last()?.0.ln()));
    let (one, two) = (ends(ours)?, ends(anchor)?);
    let (from, to) = (one.0.max(two.0), one.1.min(two.1));
    if to - from < 0.1 {
        return None;
    }
    let pchip = Interpolation::Pchip;
    Some(
        (ours.qualities(pchip).integral(from, to) - anchor.qualities(pchip).integral(from, to))
            / (to - from),
    )
}

/// `ours` as it would be if its qualities were divided by `factor`: against an anchor's curve this
/// compares our rate at `factor` times the anchor's quality with the anchor's own rate.
pub fn relaxed(ours: &Curve, factor: f64) -> Curve {
    Curve {
        points: ours.points.iter().map(|p| (p.0, p.1 / factor)).collect(),
        dropped: ours.dropped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(rates: &[f64], qualities: &[f64]) -> Curve {
        let points: Vec<(f64, f64)> = rates
            .iter()
            .copied()
            .zip(qualities.iter().copied())
            .collect();
        Curve::new(&points)
    }

    /// Two published pairs of curves: the example of the Python ports of VCEG-M33's script, and the
    /// x265 example of the `bjontegaard` package. Expected values: SciPy's PchipInterpolator and
    /// Akima1DInterpolator, integrated exactly.
    #[test]
    fn published_curves_have_their_published_difference() {
        type Four = [f64; 4];
        let cases: [(Four, Four, Four, Four, f64, f64); 2] = [
            (
                [686.76, 309.58, 157.11, 85.95],
                [40.28, 37.18, 34.24, 31.42],
                [893.34, 407.8, 204.93, 112.75],
                [40.39, 37.21, 34.17, 31.24],
                31.379878202397627,
                31.38398898434116,
            ),
            (
                [9487.76, 4593.60, 2486.44, 1358.24],
                [40.037, 38.615, 36.845, 34.851],
                [9787.80, 4469.00, 2451.52, 1356.24],
                [40.121, 38.651, 36.970, 34.987],
                -4.417485350589045,
                -4.425245156997493,
            ),
        ];
        for (r1, q1, r2, q2, pchip, akima) in cases {
            let found = delta(&curve(&r2, &q2), &curve(&r1, &q1), 1.0).unwrap();
            assert!((found.rate - pchip).abs() < 1e-9, "{found:?}");
            assert!((found.rate_akima - akima).abs() < 1e-9, "{found:?}");
            // Both ways agree: what one saves the other costs.
            let back = delta(&curve(&r1, &q1), &curve(&r2, &q2), 1.0).unwrap();
            assert!((found.reverse - back.rate).abs() < 1e-9);
            assert!(found.flags.is_empty(), "{:?}", found.flags);
            // What needs more bits is worse at equal bits.
            assert!(found.quality.unwrap() * found.rate < 0.0);
        }
    }

    #[test]
    fn half_the_bits_is_minus_fifty_percent() {
        let q = [30.0, 33.0, 36.0, 40.0, 43.0];
        let r = [100.0, 180.0, 390.0, 900.0, 1600.0];
        let found = delta(&curve(&r.map(|r| r / 2.0), &q), &curve(&r, &q), 1.0).unwrap();
        assert!((found.rate + 50.0).abs() < 1e-9 && (found.reverse - 100.0).abs() < 1e-9);
    }

    /// A codec of 6 dB a doubling: at 0.95 of a PSNR of 36 to 40 dB, 1.8 to 2 dB lower, a fifth goes.
    #[test]
    fn the_cut_at_less_quality_is_what_the_curve_says() {
        let q = [30.0, 33.0, 36.0, 38.0, 41.0];
        let r: Vec<f64> = q.iter().map(|q| 2f64.powf(q / 6.0)).collect();
        let same = curve(&r, &q);
        let found = delta(&relaxed(&same, 0.95), &same, 1.0).unwrap();
        // The interval is 31.58 to 41; the loss of 0.05 of its middle is 1.814 dB.
        let expected = (2f64.powf(-0.05 * (30.0 / 0.95 + 41.0) / 2.0 / 6.0) - 1.0) * 100.0;
        assert!((found.rate - expected).abs() < 1e-6, "{found:?} {expected}");
    }

    #[test]
    fn little_overlap_is_refused_or_flagged() {
        let r = [100.0, 200.0, 400.0, 800.0];
        let low = curve(&r, &[28.0, 30.0, 32.0, 34.0]);
        let high = curve(&r, &[33.5, 36.0, 38.0, 40.0]);
        let error = delta(&low, &high, 1.0).unwrap_err().to_string();
        assert!(
            error.contains("overlap too little: 28.00 to 34.00 and 33.50 to 40.00"),
            "{error}"
        );
        let flagged = delta(&low, &curve(&r, &[32.0, 34.5, 37.0, 40.0]), 1.0).unwrap();
        assert!(
            flagged
                .flags
                .iter()
                .any(|f| f.contains("33 % of one range")),
            "{flagged:?}"
        );
        assert!(delta(&low, &curve(&r[..2], &[28.0, 34.0]), 1.0).is_err());
    }

    #[test]
    fn points_that_cost_more_for_less_are_left_out_and_told() {
        let bent = curve(
            &[100.0, 200.0, 400.0, 500.0, 800.0],
            &[30.0, 33.0, 36.0, 35.9, 38.0],
        );
        assert_eq!(bent.dropped, 1);
        let other = curve(&[90.0, 200.0, 400.0, 800.0], &[30.0, 33.0, 36.0, 38.0]);
        assert!(delta(&bent, &other, 1.0).unwrap().flags[0].contains("1 points"));
    }
}
