// SPDX-License-Identifier: Apache-2.0
//! A picture as a detection model's input. The reference is `aivideo_enhance::detect::prepare::Fit`,
//! whose numbers the kernel gives.

use crate::launch::{
    Area, Args, Launch, LaunchError, MOST, Memory, in_range, picture, plane, tensor,
};

/// Luma and two planes of chroma, or the same plane of interleaved chroma twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planes {
    pub y: Area,
    pub u: Area,
    pub v: Area,
    /// Samples from one of a component of chroma to the next: 1, or 2 where they are interleaved.
    pub step: u32,
    /// Where the components' first samples are in their planes.
    pub first: [u32; 2],
}

/// How a picture becomes the model's input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detect {
    pub width: u32,
    pub height: u32,
    /// Of the model's input.
    pub out_width: u32,
    pub out_height: u32,
    /// Of the picture in its upper left corner.
    pub inner_width: u32,
    pub inner_height: u32,
    /// Share of red and blue in luma.
    pub kr: f32,
    pub kb: f32,
    pub full_range: bool,
    /// The model's order is blue, green, red.
    pub bgr: bool,
    /// The value around the picture, before it is normalised.
    pub pad: f32,
    pub mean: [f32; 3],
    pub std: [f32; 3],
    /// Bytes, rounded, instead of floats.
    pub bytes: bool,
}

impl Detect {
    /// Bytes of the model's input.
    pub fn tensor_bytes(&self) -> u64 {
        let size = if self.bytes { 1 } else { 4 };
        3 * u64::from(self.out_width) * u64::from(self.out_height) * size
    }

    pub fn launch(&self, planes: &Planes, out: Memory) -> Result<Launch, LaunchError> {
        picture(self.width, self.height)?;
        let most = u64::from(MOST);
        in_range("width of the input", self.out_width, 1..=most)?;
        in_range("height of the input", self.out_height, 1..=most)?;
        let (out_width, out_height) = (self.out_width.into(), self.out_height.into());
        in_range("width in the input", self.inner_width, 1..=out_width)?;
        in_range("height in the input", self.inner_height, 1..=out_height)?;
        in_range("step of chroma", planes.step, 1..=2)?;
        let (cw, ch) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let y = plane("luma", planes.y, self.width.into(), self.height, 1)?;
        let chroma = |what, area: Area, first: u32| {
            in_range(
                "first sample of chroma",
                first,
                0..=u64::from(planes.step - 1),
            )?;
            let row = u64::from(cw - 1) * u64::from(planes.step) + u64::from(first) + 1;
            Ok::<_, LaunchError>(plane(what, area, row, ch, 1)? + u64::from(first))
        };
        let u = chroma("the first plane of chroma", planes.u, planes.first[0])?;
        let v = chroma("the second plane of chroma", planes.v, planes.first[1])?;
        if planes.u.stride != planes.v.stride {
            return Err(LaunchError::Table {
                what: "the planes of chroma",
                problem: "their strides must be equal",
            });
        }
        let align = if self.bytes { 1 } else { 4 };
        let out = tensor("the model's input", out, self.tensor_bytes(), align)?;
        let (kr, kb) = (self.kr, self.kb);
        let (black, luma, chroma) = match self.full_range {
            true => (0.0, 1.0, 1.0),
            false => (16.0, 255.0 / 219.0, 255.0 / 224.0),
        };
        Ok(Args::default()
            .address(y)
            .address(u)
            .address(v)
            .address(out)
            .u32s(&[self.width, self.height, planes.y.stride, planes.u.stride])
            .u32s(&[planes.step, self.out_width, self.out_height])
            .u32s(&[self.inner_width, self.inner_height, self.bgr.into()])
            .f32s(&[black, luma, chroma, 2.0 * (1.0 - kr), 2.0 * (1.0 - kb)])
            .f32s(&[kr, kb, 1.0 - kr - kb, self.pad])
            .f32s(&self.mean)
            .f32s(&self.std)
            .u32(0)
            .launch(
                if self.bytes {
                    "detect_u8"
                } else {
                    "detect_f32"
                },
                [self.out_width, self.out_height],
            ))
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
        let spec = Detect {
            width: 5,
            height: 3,
            out_width: 8,
            out_height: 8,
            inner_width: 8,
            inner_height: 4,
            kr: 0.3,
            kb: 0.1,
            full_range: false,
            bgr: false,
            pad: 0.0,
            mean: [0.0; 3],
            std: [1.0; 3],
            bytes: false,
        };
        let planes = |y, c| Planes {
            y: area(y, 6),
            u: area(c, 6),
            v: area(c, 6),
            step: 2,
            first: [0, 1],
        };
        assert!(spec.launch(&planes(17, 12), memory(768)).is_ok());
        assert!(spec.launch(&planes(16, 12), memory(768)).is_err());
        assert!(spec.launch(&planes(17, 11), memory(768)).is_err());
        assert!(spec.launch(&planes(17, 12), memory(767)).is_err());
        let bytes = Detect {
            bytes: true,
            ..spec
        };
        assert!(bytes.launch(&planes(17, 12), memory(192)).is_ok());
        for wrong in [
            Detect { width: 0, ..spec },
            Detect {
                inner_width: 9,
                ..spec
            },
            Detect {
                inner_height: 0,
                ..spec
            },
            Detect {
                out_width: 0,
                ..spec
            },
        ] {
            assert!(wrong.launch(&planes(99, 99), memory(9999)).is_err());
        }
        let uneven = Planes {
            v: area(99, 7),
            ..planes(99, 99)
        };
        assert!(spec.launch(&uneven, memory(768)).is_err());
    }
}
