// SPDX-License-Identifier: Apache-2.0
//! Between pictures of 4:2:0 and the planes of bytes that the restoration net takes and gives.

use crate::{
    launch::{Args, Launch, LaunchError, MOST, Memory, in_range, tensor},
    picture::{Component, Samples},
};

/// Luma or one component of chroma of a picture, and the size of the net's planes: at least the
/// component's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Padded {
    pub component: Component,
    pub width: u32,
    pub height: u32,
}

impl Padded {
    /// Bytes of the net's plane.
    pub fn plane_bytes(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// The address of the component's first sample.
    fn check(&self) -> Result<u64, LaunchError> {
        let (own, most) = (&self.component, u64::from(MOST));
        let at = own.address()?;
        in_range("plane width", self.width, own.width.into()..=most)?;
        in_range("plane height", self.height, own.height.into()..=most)?;
        Ok(at)
    }

    /// Picture to plane.
    pub fn read(&self, out: Memory) -> Result<Launch, LaunchError> {
        let at = self.check()?;
        let out = tensor("the net's plane", out, self.plane_bytes(), 1)?;
        let own = &self.component;
        Ok(Args::default()
            .address(at)
            .address(out)
            .u32s(&[own.width, own.height])
            .u32s(&own.steps())
            .u32s(&[self.width, self.height, own.samples.code(), 0])
            .launch("restore_read", [self.width, self.height]))
    }

    /// Moves the picture by what `new` differs from `old`, times `share` of 256.
    pub fn change(&self, old: Memory, new: Memory, share: u32) -> Result<Launch, LaunchError> {
        let at = self.check()?;
        in_range("share", share, 0..=256)?;
        let old = tensor("the plane before", old, self.plane_bytes(), 1)?;
        let new = tensor("the plane after", new, self.plane_bytes(), 1)?;
        let own = &self.component;
        Ok(Args::default()
            .address(at)
            .address(old)
            .address(new)
            .u32s(&[own.width, own.height])
            .u32s(&own.steps())
            .u32s(&[self.width, own.samples.code(), share, 0])
            .launch("restore_change", [own.width, own.height]))
    }

    /// What [`Self::read`] gives, on the CPU, of memory that begins where the area does.
    ///
    /// # Panics
    /// When the picture is too short; [`Self::read`] checks.
    pub fn read_reference(&self, picture: &[u8]) -> Vec<u8> {
        let own = &self.component;
        let mut out = Vec::with_capacity(self.plane_bytes() as usize);
        for y in 0..self.height {
            for x in 0..self.width {
                let value = own.get(picture, x.min(own.width - 1), y.min(own.height - 1));
                out.push(match own.samples {
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
    pub fn change_reference(&self, picture: &mut [u8], old: &[u8], new: &[u8], share: u32) {
        let own = &self.component;
        for y in 0..own.height {
            for x in 0..own.width {
                let plane_at = (y * self.width + x) as usize;
                let (old, new) = (i32::from(old[plane_at]), i32::from(new[plane_at]));
                let moved = (new - old) * share as i32;
                let value = match own.samples {
                    Samples::Eight => (old + ((moved + 128) >> 8)).clamp(0, 255),
                    _ => (own.get(picture, x, y) + ((moved + 32) >> 6)).clamp(0, 1023),
                };
                own.put(picture, x, y, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Area;

    #[test]
    fn bad_sizes_are_errors() {
        let memory = |bytes| Memory { address: 64, bytes };
        let area = |bytes, stride| Area {
            memory: memory(bytes),
            stride,
        };
        // Three pairs of two samples of two bytes are 12 bytes.
        let own = Component {
            area: area(24, 12),
            width: 3,
            height: 2,
            samples: Samples::TenUpper,
            step: 2,
            first: 1,
        };
        let padded = |component| Padded {
            component,
            width: 4,
            height: 4,
        };
        let spec = padded(own);
        assert!(spec.read(memory(16)).is_ok());
        assert!(spec.change(memory(16), memory(16), 256).is_ok());
        for wrong in [area(23, 12), area(99, 11), area(99, 13)] {
            assert!(
                padded(Component { area: wrong, ..own })
                    .read(memory(16))
                    .is_err()
            );
        }
        assert!(spec.read(memory(15)).is_err());
        assert!(spec.change(memory(15), memory(16), 1).is_err());
        assert!(spec.change(memory(16), memory(15), 1).is_err());
        assert!(spec.change(memory(16), memory(16), 257).is_err());
        let own = Component {
            area: area(1 << 40, 1 << 20),
            ..own
        };
        for wrong in [
            padded(Component { width: 0, ..own }),
            padded(Component { height: 0, ..own }),
            padded(Component { step: 0, ..own }),
            padded(Component { step: 3, ..own }),
            padded(Component { first: 2, ..own }),
            Padded {
                width: 2,
                ..padded(own)
            },
            Padded {
                height: 1,
                ..padded(own)
            },
            Padded {
                height: 1 << 20,
                ..padded(own)
            },
        ] {
            assert!(wrong.read(memory(1 << 40)).is_err(), "{wrong:?}");
        }
    }
}
