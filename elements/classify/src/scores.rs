// SPDX-License-Identifier: Apache-2.0
//! From a model's output to labels.

/// Probabilities of the classes from a model's outputs before normalisation.
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f64> = logits
        .iter()
        .map(|logit| f64::from(logit - largest).exp())
        .collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|exp| exp / sum).collect()
}

/// Averages probabilities over clips, the older ones counting less.
#[derive(Debug, Default)]
pub struct Smoother {
    average: Vec<f64>,
}

impl Smoother {
    /// Replaces the clip's probabilities by the average, in which those of the clips before have
    /// the share `past` (0 to below 1).
    pub fn add(&mut self, probabilities: &mut [f64], past: f64) {
        if self.average.len() == probabilities.len() {
            for (new, old) in probabilities.iter_mut().zip(&self.average) {
                // What is not a number stays in its own clip.
                if old.is_finite() {
                    *new = past * old + (1.0 - past) * *new;
                }
            }
        }
        self.average.clear();
        self.average.extend_from_slice(probabilities);
    }

    /// The next clip has none before it.
    pub fn restart(&mut self) {
        self.average.clear();
    }
}

/// The `k` most probable classes that reach the threshold, best first. Equal ones keep the
/// model's order; what is not a number never appears.
pub fn best(probabilities: &[f64], k: usize, threshold: f64) -> Vec<(usize, f64)> {
    let mut ranked: Vec<(usize, f64)> = probabilities
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, probability)| *probability >= threshold)
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(k);
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_add_up_even_for_huge_logits() {
        let p = softmax(&[1000.0, 999.0, -1000.0]);
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((p[0] / p[1] - 1f64.exp()).abs() < 1e-9);
        assert_eq!(p[2], 0.0);
    }

    #[test]
    fn smoothing_averages_until_it_begins_anew() {
        let mut smoother = Smoother::default();
        let mut add = |p: [f64; 2], past| {
            let mut p = p;
            smoother.add(&mut p, past);
            p
        };
        assert_eq!(add([1.0, 0.0], 0.75), [1.0, 0.0], "nothing before");
        assert_eq!(add([0.0, 1.0], 0.75), [0.75, 0.25]);
        assert_eq!(add([0.0, 1.0], 0.0), [0.0, 1.0], "off");
        assert_eq!(add([1.0, 0.0], 0.5), [0.5, 0.5]);
        smoother.restart();
        let mut p = [0.25, 0.75];
        smoother.add(&mut p, 0.9);
        assert_eq!(p, [0.25, 0.75]);
        let mut other = [1.0, 0.0, 0.0];
        smoother.add(&mut other, 0.9);
        assert_eq!(other, [1.0, 0.0, 0.0], "another model");
        let mut broken = [f64::NAN, 0.0, 0.0];
        smoother.add(&mut broken, 0.5);
        let mut sound = [1.0, 0.0, 0.0];
        smoother.add(&mut sound, 0.5);
        assert!(sound.iter().all(|p| p.is_finite()));
    }

    #[test]
    fn best_are_ranked_cut_and_stable() {
        let p = [0.1, 0.4, 0.05, 0.4, f64::NAN];
        assert_eq!(best(&p, 2, 0.0), [(1, 0.4), (3, 0.4)]);
        assert_eq!(best(&p, 9, 0.1), [(1, 0.4), (3, 0.4), (0, 0.1)]);
        assert!(best(&p, 9, 0.5).is_empty());
    }
}
