// SPDX-License-Identifier: Apache-2.0
//! Which packets are lost.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    None,
    Random,
    Bursty,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Random => "random",
            Self::Bursty => "bursty",
        }
    }
}

/// Seeded numbers from 0 to 1 (SplitMix64): the same on every machine.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Decides which packets are lost: each by itself, or in the two states of Gilbert's model.
pub(super) struct Dropper {
    pub(super) random: Random,
    pub(super) kind: Kind,
    /// Part of the packets that is lost.
    pub(super) rate: f64,
    /// Mean length of a burst.
    pub(super) burst: f64,
    pub(super) bad: bool,
}

impl Dropper {
    pub(super) fn new(seed: u64, kind: Kind, rate: f64, burst: f64) -> Self {
        Self {
            random: Random(seed),
            kind,
            rate,
            burst: burst.max(1.0),
            bad: false,
        }
    }

    pub(super) fn drops(&mut self) -> bool {
        let x = self.random.next();
        match self.kind {
            Kind::None => false,
            Kind::Random => x < self.rate,
            Kind::Bursty => {
                self.bad = if self.bad {
                    x >= 1.0 / self.burst
                } else {
                    x < self.rate / (1.0 - self.rate).max(1e-9) / self.burst
                };
                self.bad
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dropper_keeps_its_rate_and_its_bursts() {
        for kind in [Kind::Random, Kind::Bursty] {
            for rate in [0.01, 0.2] {
                let mut dropper = Dropper::new(7, kind, rate, 4.0);
                let lost: Vec<bool> = (0..200_000).map(|_| dropper.drops()).collect();
                let share = lost.iter().filter(|l| **l).count() as f64 / lost.len() as f64;
                assert!(
                    (share / rate - 1.0).abs() < 0.15,
                    "{kind:?} {rate}: {share}"
                );
                let bursts = lost.windows(2).filter(|w| !w[0] && w[1]).count();
                let length = share * lost.len() as f64 / bursts as f64;
                let expected = if kind == Kind::Bursty {
                    4.0
                } else {
                    1.0 / (1.0 - rate)
                };
                assert!((length / expected - 1.0).abs() < 0.1, "{kind:?}: {length}");
            }
        }
        let drops = |seed| {
            let mut dropper = Dropper::new(seed, Kind::Random, 0.5, 1.0);
            (0..64).map(|_| dropper.drops()).collect::<Vec<_>>()
        };
        assert!(drops(1) == drops(1) && drops(1) != drops(2));
    }
}
