// SPDX-License-Identifier: Apache-2.0
//! A picture as a detection model's input. The reference is `aivideo_enhance::detect::prepare::Fit`,
//! whose numbers the kernel gives.

use crate::{
    launch::{Args, Launch, LaunchError, MOST, Memory, in_range, tensor},
    picture::Picture,
};

/// How a picture becomes the model's input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detect {
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

    pub fn launch(&self, of: &Picture, out: Memory) -> Result<Launch, LaunchError> {
        let [y, u, v] = of.addresses()?;
        of.y.check_eight("a picture for the model")?;
        let most = u64::from(MOST);
        in_range("width of the input", self.out_width, 1..=most)?;
        in_range("height of the input", self.out_height, 1..=most)?;
        let (out_width, out_height) = (self.out_width.into(), self.out_height.into());
        in_range("width in the input", self.inner_width, 1..=out_width)?;
        in_range("height in the input", self.inner_height, 1..=out_height)?;
        let [y_stride, u_stride, v_stride, c_step] = of.strides();
        if u_stride != v_stride {
            return Err(LaunchError::Table {
                what: "the planes of chroma",
                problem: "their strides must be equal",
            });
        }
        let (width, height) = of.size();
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
            .u32s(&[width, height, y_stride, u_stride])
            .u32s(&[c_step, self.out_width, self.out_height])
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
    use crate::picture::Samples;

    #[test]
    fn bad_sizes_are_errors() {
        let memory = |bytes| Memory { address: 64, bytes };
        let spec = Detect {
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
        let of = |bytes| Picture::planar(memory(bytes), (5, 3), Samples::Eight);
        assert!(spec.launch(&of(27), memory(768)).is_ok());
        assert!(spec.launch(&of(26), memory(768)).is_err());
        assert!(spec.launch(&of(27), memory(767)).is_err());
        let bytes = Detect {
            bytes: true,
            ..spec
        };
        assert!(bytes.launch(&of(27), memory(192)).is_ok());
        for wrong in [
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
            assert!(wrong.launch(&of(99), memory(9999)).is_err());
        }
        let mut uneven = of(99);
        uneven.v.area.stride += 1;
        assert!(spec.launch(&uneven, memory(768)).is_err());
        let deep = Picture::planar(memory(99), (5, 3), Samples::TenLower);
        assert!(spec.launch(&deep, memory(768)).is_err());
    }
}
