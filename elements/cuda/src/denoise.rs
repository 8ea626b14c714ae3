// SPDX-License-Identifier: Apache-2.0
//! Mixing a cleaned component with the last output. The reference is `aivideo_enhance::temporal`.

use crate::{
    launch::{Args, Launch, LaunchError, MOST, Memory, in_range, tensor},
    picture::Component,
};

/// How far a sample is mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mix {
    /// Largest weight of the last output, of 256.
    pub most: u32,
    /// Sum of nine differences from which a sample has moved, and weight for a step below it.
    pub limit: u32,
    pub slope: u32,
}

/// Of the counters of samples that were mixed by at least half of the largest weight: 256, whose sum
/// counts.
pub const STILL_BYTES: u64 = 4 * 256;

/// The planes that a component is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planes {
    /// The cleaned component, with so many samples a row and at least the component's rows.
    pub now: Memory,
    pub now_width: u32,
    /// The last output, tightly packed; nothing for the first of a scene, which is taken as it is.
    pub before: Option<Memory>,
    /// Where this one is kept for the next; not the memory of the last.
    pub after: Memory,
    /// Counters, which are added to, where it is to be known.
    pub still: Option<Memory>,
}

impl Mix {
    pub fn launch(&self, planes: &Planes, to: &Component) -> Result<Launch, LaunchError> {
        let at = to.address()?;
        to.check_eight("a component to mix")?;
        in_range("largest weight", self.most, 0..=256)?;
        in_range("the sum that has moved", self.limit, 2..=9 * 255)?;
        in_range("slope of the weight", self.slope, 0..=1 << 17)?;
        in_range("width", planes.now_width, to.width.into()..=MOST.into())?;
        let (width, height) = (u64::from(to.width), u64::from(to.height));
        let cleaned = u64::from(planes.now_width) * (height - 1) + width;
        let now = tensor("the cleaned plane", planes.now, cleaned, 1)?;
        let bytes = width * height;
        let after = tensor("the plane that is kept", planes.after, bytes, 1)?;
        let before = match planes.before {
            Some(before) => tensor("the last plane", before, bytes, 1)?,
            None => 0,
        };
        if before == after {
            return Err(LaunchError::Table {
                what: "the plane that is kept",
                problem: "it is the last one, which neighbours still need",
            });
        }
        let still = match planes.still {
            Some(still) => tensor("the counters", still, STILL_BYTES, 4)?,
            None => 0,
        };
        Ok(Args::default()
            .address(now)
            .address(before)
            .address(after)
            .address(at)
            .address(still)
            .u32s(&[to.width, to.height, planes.now_width])
            .u32s(&to.steps())
            .u32s(&[self.most, self.limit, self.slope])
            .u32s(&[u32::from(planes.before.is_none()), 0])
            .launch("temporal", [to.width, to.height]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{Picture, Samples};

    #[test]
    fn bad_sizes_are_errors() {
        let memory = |address, bytes| Memory { address, bytes };
        let to = Picture::planar(memory(64, 100), (5, 3), Samples::Eight).y;
        let mix = Mix {
            most: 100,
            limit: 50,
            slope: 1000,
        };
        let planes = Planes {
            now: memory(256, 21),
            now_width: 8,
            before: Some(memory(512, 15)),
            after: memory(1024, 15),
            still: Some(memory(2048, 1024)),
        };
        assert!(mix.launch(&planes, &to).is_ok());
        for wrong in [
            Planes {
                now: memory(256, 20),
                ..planes
            },
            Planes {
                now_width: 4,
                ..planes
            },
            Planes {
                before: Some(memory(512, 14)),
                ..planes
            },
            Planes {
                after: memory(1024, 14),
                ..planes
            },
            Planes {
                after: memory(512, 15),
                ..planes
            },
            Planes {
                still: Some(memory(2048, 1023)),
                ..planes
            },
        ] {
            assert!(mix.launch(&wrong, &to).is_err(), "{wrong:?}");
        }
        assert!(Mix { limit: 1, ..mix }.launch(&planes, &to).is_err());
        assert!(Mix { most: 257, ..mix }.launch(&planes, &to).is_err());
    }
}
