// SPDX-License-Identifier: Apache-2.0
//! Finds the setting of an encoder that reaches a wanted value, with few encodes.

use anyhow::Result;

/// What is looked for. The value (a PSNR, the logarithm of a rate) is nearly a line in the
/// parameter (a CRF, a quality).
pub struct Search {
    pub wanted: f64,
    pub start: f64,
    /// About how much the value changes when the parameter grows by one.
    pub slope: f64,
    pub limits: (f64, f64),
    /// Near enough for no further encode.
    pub tolerance: f64,
    pub most: usize,
    /// The encoder takes whole numbers only.
    pub whole: bool,
    /// Go on until the wanted value lies between two encodes.
    pub both_sides: bool,
}

/// The pair whose value is nearest to the wanted one.
pub fn nearest(points: &[(f64, f64)], wanted: f64) -> Option<(f64, f64)> {
    points
        .iter()
        .copied()
        .min_by(|a, b| (a.1 - wanted).abs().total_cmp(&(b.1 - wanted).abs()))
}

/// The two pairs on either side of the wanted value, the lower value first.
fn bracket(points: &[(f64, f64)], wanted: f64) -> Option<((f64, f64), (f64, f64))> {
    let below = points
        .iter()
        .filter(|p| p.1 <= wanted)
        .max_by(|a, b| a.1.total_cmp(&b.1));
    let above = points
        .iter()
        .filter(|p| p.1 >= wanted)
        .min_by(|a, b| a.1.total_cmp(&b.1));
    Some((*below?, *above?))
}

impl Search {
    /// Calls `measure` with one parameter after the other; gives all pairs of parameter and value.
    pub fn run(&self, mut measure: impl FnMut(f64) -> Result<f64>) -> Result<Vec<(f64, f64)>> {
        let mut points: Vec<(f64, f64)> = Vec::new();
        let mut parameter = self.allowed(self.start);
        let apart = if self.whole { 0.5 } else { 0.01 };
        while points.len() < self.most {
            if points.iter().any(|p| (p.0 - parameter).abs() < apart) {
                break;
            }
            points.push((parameter, measure(parameter)?));
            let near = nearest(&points, self.wanted)
                .is_some_and(|p| (p.1 - self.wanted).abs() <= self.tolerance);
            // One more on the other side lets a value be interpolated instead of extrapolated.
            if near && (!self.both_sides || bracket(&points, self.wanted).is_some()) {
                break;
            }
            parameter = self.allowed(match bracket(&points, self.wanted) {
                Some((low, high)) => {
                    let span = high.1 - low.1;
                    let share = if span.abs() > 1e-6 {
                        (self.wanted - low.1) / span
                    } else {
                        0.5
                    };
                    // Not too near either end, so that each encode narrows the bracket.
                    low.0 + (high.0 - low.0) * share.clamp(0.05, 0.95)
                }
                None => {
                    let Some(from) = nearest(&points, self.wanted) else {
                        break;
                    };
                    // A little further, to get to the other side.
                    let step = (self.wanted - from.1) / self.slope;
                    from.0 + step + step.signum() * 0.3 / self.slope.abs()
                }
            });
        }
        Ok(points)
    }

    fn allowed(&self, parameter: f64) -> f64 {
        let parameter = parameter.clamp(self.limits.0, self.limits.1);
        if self.whole {
            parameter.round()
        } else {
            parameter
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(wanted: f64, whole: bool) -> Search {
        Search {
            wanted,
            start: 28.0,
            slope: -0.5,
            limits: (0.0, 51.0),
            tolerance: 0.05,
            most: 8,
            whole,
            both_sides: true,
        }
    }

    /// CRF and PSNR in a curve.
    fn psnr(crf: f64) -> f64 {
        55.0 - 0.55 * crf - 0.002 * crf * crf
    }

    #[test]
    fn comes_near_from_both_sides() {
        for wanted in [28.0, 33.3, 38.0, 44.0, 50.0] {
            let points = search(wanted, false).run(|crf| Ok(psnr(crf))).unwrap();
            assert!(points.len() <= 8);
            assert!(bracket(&points, wanted).is_some());
            assert!((nearest(&points, wanted).unwrap().1 - wanted).abs() <= 0.05);
        }
    }

    #[test]
    fn whole_numbers_stay_whole() {
        let points = search(38.0, true).run(|crf| Ok(psnr(crf))).unwrap();
        assert!(points.iter().all(|p| p.0.fract() == 0.0));
        assert!((nearest(&points, 38.0).unwrap().1 - 38.0).abs() < 0.4);
    }

    #[test]
    fn stops_at_the_end_of_the_range() {
        for wanted in [10.0, 60.0] {
            let points = search(wanted, false).run(|crf| Ok(psnr(crf))).unwrap();
            assert!(bracket(&points, wanted).is_none());
            let end = nearest(&points, wanted).unwrap().0;
            assert!(end == 0.0 || end == 51.0, "stopped at {end}");
        }
    }
}
