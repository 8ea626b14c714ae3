// SPDX-License-Identifier: Apache-2.0
//! Blurring what a mask takes for background, and the input of the model that makes the mask. The
//! references are `aivideo_fx::effects::gaussian` and `aivideo_fx::background::mask`.

use crate::{
    launch::{Args, Launch, LaunchError, MOST, Memory, in_range, tensor},
    picture::{Component, Picture},
};

/// The most weights of half a kernel, with its centre.
const TAPS: usize = 10;

/// What happens along one axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// By how much the picture is reduced before.
    pub factor: u32,
    /// The centre of the symmetric kernel and its right half.
    pub weights: Vec<f32>,
}

impl Axis {
    fn check(&self) -> Result<(), LaunchError> {
        in_range("factor of the blur", self.factor, 1..=1024)?;
        in_range(
            "weights of the blur",
            self.weights.len() as u64,
            1..=TAPS as u64,
        )
    }

    /// Samples of a side, reduced.
    fn reduced(&self, side: u32) -> u32 {
        side.div_ceil(self.factor)
    }
}

/// A blur of a component along both axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Blur {
    pub x: Axis,
    pub y: Axis,
    /// Blur where the mask is 1.
    pub invert: bool,
}

/// How much of each place stays sharp, as floats of 0 to 1, tightly packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask {
    pub memory: Memory,
    pub width: u32,
    pub height: u32,
}

/// Bytes of each of the three planes that a component of these sides needs.
pub fn plane_bytes(width: u32, height: u32) -> u64 {
    4 * u64::from(width) * u64::from(height)
}

impl Blur {
    /// All that is to be started, in this order. The three planes are memory of [`plane_bytes`] each.
    pub fn launches(
        &self,
        of: &Component,
        mask: &Mask,
        planes: [Memory; 3],
    ) -> Result<[Launch; 5], LaunchError> {
        let at = of.address()?;
        of.check_eight("a component to blur")?;
        self.x.check()?;
        self.y.check()?;
        in_range("width of the mask", mask.width, 1..=u64::from(MOST))?;
        in_range("height of the mask", mask.height, 1..=u64::from(MOST))?;
        let mask_bytes = plane_bytes(mask.width, mask.height);
        let mask_at = tensor("the mask", mask.memory, mask_bytes, 4)?;
        let bytes = plane_bytes(of.width, of.height);
        let [sums, first, second] = planes;
        let sums = tensor("the sums", sums, bytes, 4)?;
        let first = tensor("the reduced component", first, bytes, 4)?;
        let second = tensor("the convolved component", second, bytes, 4)?;
        let (columns, rows) = (self.x.reduced(of.width), self.y.reduced(of.height));
        let scale = 1.0 / (self.x.factor * self.y.factor) as f32;
        let convolve = |from: u64, to: u64, axis: &Axis, down: bool| {
            let mut weights = [0.0; TAPS];
            weights[..axis.weights.len()].copy_from_slice(&axis.weights);
            Args::default()
                .address(from)
                .address(to)
                .u32s(&[columns, rows, down.into(), axis.weights.len() as u32 - 1])
                .f32s(&weights)
                .launch("blur_convolve", [columns, rows])
        };
        Ok([
            Args::default()
                .address(at)
                .address(sums)
                .u32s(&[of.width, of.height])
                .u32s(&of.steps())
                .u32s(&[self.y.factor, rows])
                .launch("blur_sum", [of.width, rows]),
            Args::default()
                .address(sums)
                .address(first)
                .u32s(&[of.width, self.x.factor, columns, rows])
                .f32(scale)
                .u32(0)
                .launch("blur_mean", [columns, rows]),
            convolve(first, second, &self.x, false),
            convolve(second, first, &self.y, true),
            Args::default()
                .address(first)
                .address(mask_at)
                .address(at)
                .u32s(&[of.width, of.height])
                .u32s(&of.steps())
                .u32s(&[columns, rows, self.x.factor, self.y.factor])
                .u32s(&[mask.width, mask.height, self.invert.into(), 0])
                .launch("blur_merge", [of.width, of.height]),
        ])
    }
}

/// How a picture becomes the model's input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Input {
    pub width: u32,
    pub height: u32,
    /// The channels of a pixel lie together.
    pub last: bool,
    /// Code of black, from there to white, and between the extremes of chroma.
    pub black: f32,
    pub range: f32,
    pub chroma: f32,
    /// Shares of red and blue in luma.
    pub kr: f32,
    pub kb: f32,
    /// What is taken off each of red, green and blue, of 0 to 1, and what it is then multiplied by.
    pub mean: [f32; 3],
    pub scale: [f32; 3],
}

impl Input {
    /// Bytes of the model's input.
    pub fn bytes(&self) -> u64 {
        12 * u64::from(self.width) * u64::from(self.height)
    }

    pub fn launch(&self, of: &Picture, out: Memory) -> Result<Launch, LaunchError> {
        let at = of.addresses()?;
        of.y.check_eight("a picture for the model")?;
        in_range("width of the input", self.width, 1..=8192)?;
        in_range("height of the input", self.height, 1..=8192)?;
        let out = tensor("the model's input", out, self.bytes(), 4)?;
        let (width, height) = of.size();
        let (kr, kb) = (self.kr, self.kb);
        Ok(at
            .into_iter()
            .fold(Args::default(), Args::address)
            .address(out)
            .u32s(&[width, height])
            .u32s(&of.strides())
            .u32s(&[self.width, self.height, self.last.into()])
            .f32s(&[self.black, self.range, self.chroma])
            .f32s(&[kr, 1.0 - kr - kb, kb, 2.0 * (1.0 - kr), 2.0 * (1.0 - kb)])
            .f32s(&self.mean)
            .f32s(&self.scale)
            .u32(0)
            .launch("blur_input", [self.width, self.height]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Samples;

    #[test]
    fn bad_sizes_are_errors() {
        let memory = |bytes| Memory { address: 64, bytes };
        let picture = Picture::planar(memory(27), (5, 3), Samples::Eight);
        let axis = |factor, taps| Axis {
            factor,
            weights: vec![0.1; taps],
        };
        let blur = |x, y| Blur {
            x,
            y,
            invert: false,
        };
        let mask = |bytes, width| Mask {
            memory: memory(bytes),
            width,
            height: 2,
        };
        let good = blur(axis(2, 3), axis(1, 10));
        let launches =
            |blur: &Blur, mask: Mask, bytes| blur.launches(&picture.y, &mask, [memory(bytes); 3]);
        assert!(launches(&good, mask(16, 2), 60).is_ok());
        assert!(launches(&good, mask(15, 2), 60).is_err());
        assert!(launches(&good, mask(16, 0), 60).is_err());
        assert!(launches(&good, mask(16, 2), 59).is_err());
        assert!(launches(&blur(axis(0, 3), axis(1, 1)), mask(16, 2), 60).is_err());
        assert!(launches(&blur(axis(1, 0), axis(1, 1)), mask(16, 2), 60).is_err());
        assert!(launches(&blur(axis(1, 1), axis(1, 11)), mask(16, 2), 60).is_err());
        let input = Input {
            width: 8,
            height: 4,
            last: true,
            black: 16.0,
            range: 219.0,
            chroma: 224.0,
            kr: 0.3,
            kb: 0.1,
            mean: [0.0; 3],
            scale: [1.0; 3],
        };
        assert!(input.launch(&picture, memory(384)).is_ok());
        assert!(input.launch(&picture, memory(383)).is_err());
        assert!(
            Input { width: 0, ..input }
                .launch(&picture, memory(384))
                .is_err()
        );
    }
}
