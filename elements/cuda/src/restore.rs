// SPDX-License-Identifier: Apache-2.0
//! Between pictures of 4:2:0 and the planes of bytes that the restoration net takes and gives.

use crate::launch::{Area, Args, Launch, LaunchError, MOST, Memory, in_range, tensor};
use crate::picture;

pub use crate::picture::Samples;

/// Luma or one component of chroma of a picture, and the size of the net's planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    pub width: u32,
    pub height: u32,
    pub samples: Samples,
    /// Samples from one of the component to the next: 1, or 2 where chroma is interleaved.
    pub step: u32,
    /// Which of them is the component's: 0, or 1 for the second of interleaved chroma.
    pub first: u32,
    /// Of the net's plane; at least the component's.
    pub plane_width: u32,
    pub plane_height: u32,
}

impl Component {
    /// Bytes of the net's plane.
    pub fn plane_bytes(&self) -> u64 {
        u64::from(self.plane_width) * u64::from(self.plane_height)
    }

    fn step_bytes(&self) -> u32 {
        self.step * self.samples.bytes()
    }

    /// The address of the component's first sample.
    fn check(&self, area: Area) -> Result<u64, LaunchError> {
        let component = picture::Component {
            area,
            width: self.width,
            height: self.height,
            samples: self.samples,
            step: self.step,
            first: self.first,
        };
        let at = component.address()?;
        let most = u64::from(MOST);
        in_range("plane width", self.plane_width, self.width.into()..=most)?;
        in_range("plane height", self.plane_height, self.height.into()..=most)?;
        Ok(at)
    }

    /// Picture to plane.
    pub fn read(&self, picture: Area, out: Memory) -> Result<Launch, LaunchError> {
        let at = self.check(picture)?;
        let out = tensor("the net's plane", out, self.plane_bytes(), 1)?;
        Ok(Args::default()
            .address(at)
            .address(out)
            .u32s(&[self.width, self.height])
            .u32s(&[picture.stride, self.step_bytes()])
            .u32s(&[self.plane_width, self.plane_height, self.samples.code(), 0])
            .launch("restore_read", [self.plane_width, self.plane_height]))
    }

    /// Moves the picture by what `new` differs from `old`, times `share` of 256.
    pub fn change(
        &self,
        picture: Area,
        old: Memory,
        new: Memory,
        share: u32,
    ) -> Result<Launch, LaunchError> {
        let at = self.check(picture)?;
        in_range("share", share, 0..=256)?;
        let old = tensor("the plane before", old, self.plane_bytes(), 1)?;
        let new = tensor("the plane after", new, self.plane_bytes(), 1)?;
        Ok(Args::default()
            .address(at)
            .address(old)
            .address(new)
            .u32s(&[self.width, self.height])
            .u32s(&[picture.stride, self.step_bytes()])
            .u32s(&[self.plane_width, self.samples.code(), share, 0])
            .launch("restore_change", [self.width, self.height]))
    }

    fn at(&self, stride: usize, x: u32, y: u32) -> usize {
        y as usize * stride + (x * self.step_bytes() + self.first * self.samples.bytes()) as usize
    }

    /// What [`Self::read`] gives, on the CPU.
    ///
    /// # Panics
    /// When the picture is too short; [`Self::read`] checks.
    pub fn read_reference(&self, picture: &[u8], stride: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.plane_bytes() as usize);
        for y in 0..self.plane_height {
            for x in 0..self.plane_width {
                let at = self.at(stride, x.min(self.width - 1), y.min(self.height - 1));
                let value = self.samples.get(&picture[at..]);
                out.push(match self.samples {
                    Samples::Eight => value as u8,
                    _ => ((value + 2) >> 2).min(255) as u8,
                });
            }
        }
        out
    }

    /// What [`Self::change`] does, on the CPU.
    ///
    /// # Panics
    /// When the picture or a plane is too short; [`Self::change`] checks.
    pub fn change_reference(
        &self,
        picture: &mut [u8],
        stride: usize,
        old: &[u8],
        new: &[u8],
        share: u32,
    ) {
        for y in 0..self.height {
            for x in 0..self.width {
                let plane_at = (y * self.plane_width + x) as usize;
                let (old, new) = (i32::from(old[plane_at]), i32::from(new[plane_at]));
                let moved = (new - old) * share as i32;
                let at = self.at(stride, x, y);
                let value = match self.samples {
                    Samples::Eight => (old + ((moved + 128) >> 8)).clamp(0, 255),
                    _ => (self.samples.get(&picture[at..]) + ((moved + 32) >> 6)).clamp(0, 1023),
                };
                self.samples.put(&mut picture[at..], value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_sizes_are_errors() {
        let memory = |bytes| Memory { address: 64, bytes };
        let area = |bytes, stride| Area {
            memory: memory(bytes),
            stride,
        };
        let spec = Component {
            width: 3,
            height: 2,
            samples: Samples::TenUpper,
            step: 2,
            first: 1,
            plane_width: 4,
            plane_height: 4,
        };
        // Three pairs of two samples of two bytes are 12 bytes.
        assert!(spec.read(area(24, 12), memory(16)).is_ok());
        assert!(
            spec.change(area(24, 12), memory(16), memory(16), 256)
                .is_ok()
        );
        assert!(spec.read(area(23, 12), memory(16)).is_err());
        assert!(spec.read(area(99, 11), memory(16)).is_err());
        assert!(spec.read(area(99, 13), memory(16)).is_err());
        assert!(spec.read(area(24, 12), memory(15)).is_err());
        assert!(
            spec.change(area(24, 12), memory(15), memory(16), 1)
                .is_err()
        );
        assert!(
            spec.change(area(24, 12), memory(16), memory(15), 1)
                .is_err()
        );
        assert!(
            spec.change(area(24, 12), memory(16), memory(16), 257)
                .is_err()
        );
        for wrong in [
            Component { width: 0, ..spec },
            Component { height: 0, ..spec },
            Component { step: 0, ..spec },
            Component { step: 3, ..spec },
            Component { first: 2, ..spec },
            Component {
                plane_width: 2,
                ..spec
            },
            Component {
                plane_height: 1,
                ..spec
            },
            Component {
                plane_height: 1 << 20,
                ..spec
            },
        ] {
            let all = area(1 << 40, 1 << 20);
            assert!(wrong.read(all, memory(1 << 40)).is_err(), "{wrong:?}");
        }
    }
}
