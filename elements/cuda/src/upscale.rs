// SPDX-License-Identifier: Apache-2.0
//! What the upscaler does around its net. The references are `aivideo_enhance`'s own: repeated samples
//! around luma, and `chroma::double`.

use crate::{
    launch::{Area, Args, Launch, LaunchError, MOST, Memory, in_range, picture, plane, tensor},
    picture::Component,
};

/// Luma with repeated samples around it, for the net.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pad {
    pub width: u32,
    pub height: u32,
    /// Samples above and to the left.
    pub margin: u32,
    pub out_width: u32,
    pub out_height: u32,
}

impl Pad {
    pub fn launch(&self, luma: Area, out: Memory) -> Result<Launch, LaunchError> {
        picture(self.width, self.height)?;
        in_range("margin", self.margin, 0..=64)?;
        let least = |side: u32| u64::from(side) + u64::from(self.margin);
        let most = u64::from(MOST);
        in_range(
            "width of the input",
            self.out_width,
            least(self.width)..=most,
        )?;
        in_range(
            "height of the input",
            self.out_height,
            least(self.height)..=most,
        )?;
        let luma_at = plane("luma", luma, self.width.into(), self.height, 1)?;
        let bytes = u64::from(self.out_width) * u64::from(self.out_height);
        let out = tensor("the net's input", out, bytes, 1)?;
        Ok(Args::default()
            .address(luma_at)
            .address(out)
            .u32s(&[self.width, self.height, luma.stride, self.margin])
            .u32s(&[self.out_width, self.out_height])
            .launch("upscale_pad", [self.out_width, self.out_height]))
    }
}

/// Luma out of the net's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crop {
    /// Of the result.
    pub in_width: u32,
    pub in_height: u32,
    /// Samples above and to the left of the luma.
    pub margin: u32,
    pub width: u32,
    pub height: u32,
}

impl Crop {
    pub fn launch(&self, from: Memory, luma: Area) -> Result<Launch, LaunchError> {
        picture(self.width, self.height)?;
        in_range("margin", self.margin, 0..=256)?;
        let most = 2 * u64::from(MOST);
        let least = |side: u32| u64::from(side) + u64::from(self.margin);
        in_range(
            "width of the result",
            self.in_width,
            least(self.width)..=most,
        )?;
        in_range(
            "height of the result",
            self.in_height,
            least(self.height)..=most,
        )?;
        let bytes = u64::from(self.in_width) * u64::from(self.in_height);
        let from = tensor("the net's result", from, bytes, 1)?;
        let luma_at = plane("luma", luma, self.width.into(), self.height, 1)?;
        Ok(Args::default()
            .address(from)
            .address(luma_at)
            .u32s(&[self.in_width, self.margin, self.width, self.height])
            .u32s(&[luma.stride, 0])
            .launch("upscale_crop", [self.width, self.height]))
    }
}

/// Doubles a component of chroma into another, whose sides are twice as long or one less, with these
/// weights for even and odd columns.
pub fn double(
    from: &Component,
    to: &Component,
    even: [i32; 4],
    odd: [i32; 4],
) -> Result<Launch, LaunchError> {
    let (from_at, to_at) = (from.address()?, to.address()?);
    from.check_eight("chroma")?;
    to.check_eight("doubled chroma")?;
    for (side, doubled) in [(from.width, to.width), (from.height, to.height)] {
        let twice = 2 * u64::from(side);
        in_range("side of doubled chroma", doubled, twice - 1..=twice)?;
    }
    let taps = |taps: [i32; 4]| taps.map(|tap| tap as u32);
    Ok(Args::default()
        .address(from_at)
        .address(to_at)
        .u32s(&[from.width, from.height])
        .u32s(&from.steps())
        .u32s(&[to.width, to.height])
        .u32s(&to.steps())
        .u32s(&taps(even))
        .u32s(&taps(odd))
        .launch("upscale_chroma", [to.width, to.height]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Samples;

    #[test]
    fn bad_sizes_are_errors() {
        let memory = |bytes| Memory { address: 64, bytes };
        let area = |bytes, stride| Area {
            memory: memory(bytes),
            stride,
        };
        let pad = Pad {
            width: 5,
            height: 3,
            margin: 2,
            out_width: 10,
            out_height: 8,
        };
        assert!(pad.launch(area(17, 6), memory(80)).is_ok());
        assert!(pad.launch(area(16, 6), memory(80)).is_err());
        assert!(pad.launch(area(17, 6), memory(79)).is_err());
        let narrow = Pad {
            out_width: 6,
            ..pad
        };
        assert!(narrow.launch(area(99, 6), memory(99)).is_err());
        let crop = Crop {
            in_width: 20,
            in_height: 16,
            margin: 4,
            width: 10,
            height: 6,
        };
        assert!(crop.launch(memory(320), area(60, 10)).is_ok());
        assert!(crop.launch(memory(319), area(60, 10)).is_err());
        assert!(crop.launch(memory(320), area(59, 10)).is_err());
        let wide = Crop { width: 17, ..crop };
        assert!(wide.launch(memory(999), area(999, 20)).is_err());
        let chroma = |width, height, bytes| Component {
            area: area(bytes, 12),
            width,
            height,
            samples: Samples::Eight,
            step: 2,
            first: 1,
        };
        let (from, to) = (chroma(3, 2, 18), chroma(6, 3, 36));
        let double = |from: &Component, to: &Component| double(from, to, [0; 4], [0; 4]);
        assert!(double(&from, &to).is_ok());
        assert!(double(&from, &chroma(6, 3, 35)).is_err());
        assert!(double(&chroma(3, 2, 17), &to).is_err());
        assert!(double(&from, &chroma(4, 3, 99)).is_err());
    }
}
