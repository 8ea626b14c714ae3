// SPDX-License-Identifier: Apache-2.0
//! What stabilisation does to samples. The reference is `aivideo_enhance::stabilize`: its `pyramid` and `warp`.

use crate::{
    launch::{Args, Launch, LaunchError, Memory, in_range, tensor},
    picture::Component,
};

/// Means of blocks of a component of eight bits; what is left over at the right and below is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reduce {
    /// Side of a block; 1 takes samples as they are.
    pub by: u32,
    /// Size of the result.
    pub width: u32,
    pub height: u32,
}

impl Reduce {
    pub fn bytes(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    pub fn launch(&self, of: &Component, out: Memory) -> Result<Launch, LaunchError> {
        let at = of.address()?;
        of.check_eight("a component to reduce")?;
        in_range("side of the blocks", self.by, 1..=256)?;
        in_range(
            "width of the result",
            self.width,
            1..=(of.width / self.by).into(),
        )?;
        in_range(
            "height of the result",
            self.height,
            1..=(of.height / self.by).into(),
        )?;
        let out = tensor("the reduced component", out, self.bytes(), 1)?;
        Ok(Args::default()
            .address(at)
            .address(out)
            .u32s(&of.steps())
            .u32s(&[self.width, self.height, self.by, 0])
            .launch("steady_reduce", [self.width, self.height]))
    }
}

/// A component of eight bits seen anew: where each sample of the result comes from, about the middle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warp<'a> {
    /// The linear part's first column, and the shift in the component's own samples.
    pub c: f32,
    pub s: f32,
    pub x: f32,
    pub y: f32,
    /// Of four neighbours at each of 64 steps between two samples, 128 in all.
    pub weights: &'a [[i16; 4]; 64],
}

impl Warp<'_> {
    pub fn launch(&self, of: &Component, to: &Component) -> Result<Launch, LaunchError> {
        let (from_at, to_at) = (of.address()?, to.address()?);
        of.check_eight("a component to move")?;
        to.check_eight("a component that is moved")?;
        let wrong = |problem| LaunchError::Table {
            what: "the moved component",
            problem,
        };
        if (of.width, of.height) != (to.width, to.height) {
            return Err(wrong("it has another size"));
        }
        // Beyond this a place has more bits than the kernel keeps.
        let fine = |v: f32, most: f32| v.is_finite() && v.abs() <= most;
        if !(fine(self.c, 256.0) && fine(self.s, 256.0) && fine(self.x, 1e6) && fine(self.y, 1e6)) {
            return Err(wrong("it comes from too far away"));
        }
        let weights: Vec<u32> = self
            .weights
            .as_flattened()
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| u32::from(pair[0] as u16) | u32::from(pair[1] as u16) << 16)
            .collect();
        Ok(Args::default()
            .address(from_at)
            .address(to_at)
            .u32s(&[of.width, of.height])
            .u32s(&of.steps())
            .u32s(&to.steps())
            .f32s(&[self.c, self.s, self.x, self.y])
            .u32s(&weights)
            .launch("steady_warp", [of.width, of.height]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{Picture, Samples};

    #[test]
    fn bad_sizes_are_errors() {
        let memory = |address, bytes| Memory { address, bytes };
        let picture = |size| Picture::planar(memory(64, 100), size, Samples::Eight).y;
        let of = picture((9, 5));
        let reduce = Reduce {
            by: 2,
            width: 4,
            height: 2,
        };
        assert!(reduce.launch(&of, memory(512, 8)).is_ok());
        assert!(reduce.launch(&of, memory(512, 7)).is_err());
        for wrong in [
            Reduce { by: 3, ..reduce },
            Reduce { by: 0, ..reduce },
            Reduce { width: 5, ..reduce },
            Reduce {
                height: 3,
                ..reduce
            },
        ] {
            assert!(wrong.launch(&of, memory(512, 100)).is_err(), "{wrong:?}");
        }
        let weights = [[0, 128, 0, 0]; 64];
        let warp = Warp {
            c: 1.0,
            s: 0.0,
            x: 3.0,
            y: -2.0,
            weights: &weights,
        };
        assert!(warp.launch(&of, &of).is_ok());
        assert!(warp.launch(&of, &picture((9, 4))).is_err());
        for wrong in [f32::NAN, 1e7] {
            assert!(Warp { x: wrong, ..warp }.launch(&of, &of).is_err());
        }
    }
}
