// SPDX-License-Identifier: Apache-2.0
//! Shift, rotation and scale: the one that most pairs of points agree on.

/// Pairs must agree to so many pixels of the finest level.
const CLOSE: f32 = 0.8;
/// Pairs of pairs that are tried.
const TRIALS: usize = 150;

/// x' = s R(a) x + (x, y), about the middle of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Similarity {
    pub x: f32,
    pub y: f32,
    /// Radians, from the first axis to the second.
    pub angle: f32,
    /// Natural logarithm of the scale.
    pub log_scale: f32,
}

impl Default for Similarity {
    fn default() -> Self {
        Self::IDENTITY
    }
}

impl Similarity {
    pub const IDENTITY: Self = Self {
        x: 0.0,
        y: 0.0,
        angle: 0.0,
        log_scale: 0.0,
    };

    /// The linear part: (s cos a, s sin a).
    pub fn linear(&self) -> (f32, f32) {
        let scale = self.log_scale.exp();
        (scale * self.angle.cos(), scale * self.angle.sin())
    }

    pub fn apply(&self, (x, y): (f32, f32)) -> (f32, f32) {
        let (c, s) = self.linear();
        (c * x - s * y + self.x, s * x + c * y + self.y)
    }

    /// Each value times `by`.
    pub fn times(&self, by: f32) -> Self {
        Self {
            x: self.x * by,
            y: self.y * by,
            angle: self.angle * by,
            log_scale: self.log_scale * by,
        }
    }

    pub fn values(&self) -> [f32; 4] {
        [self.x, self.y, self.angle, self.log_scale]
    }

    pub fn from_values([x, y, angle, log_scale]: [f32; 4]) -> Self {
        Self {
            x,
            y,
            angle,
            log_scale,
        }
    }

    fn from_linear(c: f32, s: f32, x: f32, y: f32) -> Option<Self> {
        let scale = c.hypot(s);
        let found = Self {
            x,
            y,
            angle: s.atan2(c),
            log_scale: scale.ln(),
        };
        found
            .values()
            .iter()
            .all(|v| v.is_finite())
            .then_some(found)
    }
}

type Point = (f32, f32);
type Pair = (Point, Point);

/// What was found, and how many pairs agree with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    pub found: Similarity,
    pub agreeing: usize,
}

/// The similarity of least squares; `None` where the points do not determine one.
fn fit<'a>(pairs: impl Iterator<Item = &'a Pair> + Clone) -> Option<Similarity> {
    let (mut n, mut mx, mut my, mut ux, mut uy) = (0.0_f64, 0.0, 0.0, 0.0, 0.0);
    for (a, b) in pairs.clone() {
        n += 1.0;
        mx += f64::from(a.0);
        my += f64::from(a.1);
        ux += f64::from(b.0);
        uy += f64::from(b.1);
    }
    if n < 2.0 {
        return None;
    }
    let (mx, my, ux, uy) = (mx / n, my / n, ux / n, uy / n);
    let (mut power, mut c, mut s) = (0.0_f64, 0.0, 0.0);
    for (a, b) in pairs {
        let (ax, ay) = (f64::from(a.0) - mx, f64::from(a.1) - my);
        let (bx, by) = (f64::from(b.0) - ux, f64::from(b.1) - uy);
        power += ax * ax + ay * ay;
        c += ax * bx + ay * by;
        s += ax * by - ay * bx;
    }
    if power < 1e-6 {
        return None;
    }
    let (c, s) = (c / power, s / power);
    let x = ux - (c * mx - s * my);
    let y = uy - (s * mx + c * my);
    Similarity::from_linear(c as f32, s as f32, x as f32, y as f32)
}

/// Square of the distance by which a pair is off.
fn miss((c, s): (f32, f32), found: &Similarity, (a, b): &Pair) -> f32 {
    let x = c * a.0 - s * a.1 + found.x - b.0;
    let y = s * a.0 + c * a.1 + found.y - b.1;
    x * x + y * y
}

/// The similarity that most pairs agree on, fitted to those.
pub fn agree(pairs: &[Pair]) -> Option<Agreement> {
    if pairs.len() < 2 {
        return None;
    }
    // The same picks for the same number of points: a run can be repeated.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut pick = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % pairs.len()
    };
    let mut best: Option<(Similarity, f32)> = None;
    for _ in 0..TRIALS {
        let (i, j) = (pick(), pick());
        if i == j {
            continue;
        }
        let Some(found) = fit([pairs[i], pairs[j]].iter()) else {
            continue;
        };
        // No camera turns or zooms so much between two pictures.
        if found.angle.abs() > 0.3 || found.log_scale.abs() > 0.3 {
            continue;
        }
        // Pairs count by how closely they agree (MSAC), those that do not by the limit.
        let linear = found.linear();
        let cost: f32 = pairs
            .iter()
            .map(|pair| miss(linear, &found, pair).min(CLOSE * CLOSE))
            .sum();
        if best.is_none_or(|(_, least)| cost < least) {
            best = Some((found, cost));
        }
    }
    let (mut found, _) = best?;
    let mut agreeing = 0;
    // Of two points only, the first is crude; each fit finds its own pairs, ever closer ones.
    for close in [CLOSE, CLOSE, CLOSE / 2.0] {
        let linear = found.linear();
        let near = pairs
            .iter()
            .filter(|pair| miss(linear, &found, pair) < close * close);
        let Some(better) = fit(near.clone()) else {
            break;
        };
        agreeing = near.count();
        found = better;
    }
    Some(Agreement { found, agreeing })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn the_majority_is_found_among_outliers() {
        let truth = Similarity {
            x: 3.25,
            y: -7.5,
            angle: 0.02,
            log_scale: -0.01,
        };
        let mut random = Random::new(4);
        let pairs: Vec<Pair> = (0..150)
            .map(|n| {
                let a = (random.gaussian() * 200.0, random.gaussian() * 100.0);
                let b = match n % 5 {
                    // A car that drives by, and points that went astray.
                    0 => (a.0 + 20.0, a.1 + 1.0),
                    1 => (random.gaussian() * 200.0, random.gaussian() * 100.0),
                    _ => truth.apply(a),
                };
                (a, b)
            })
            .collect();
        let found = agree(&pairs).unwrap();
        assert!(found.agreeing >= 90);
        for (a, b) in truth.values().iter().zip(found.found.values()) {
            assert!((a - b).abs() < 1e-3, "{found:?}");
        }
    }

    #[test]
    fn too_few_or_equal_points_give_nothing() {
        assert_eq!(agree(&[]), None);
        assert_eq!(agree(&[((1.0, 1.0), (2.0, 2.0))]), None);
        assert_eq!(agree(&[((1.0, 1.0), (2.0, 2.0)); 9]), None);
    }
}
