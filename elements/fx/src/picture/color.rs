// SPDX-License-Identifier: Apache-2.0
//! How components become colours.

/// How Y, U and V relate to red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Colorimetry {
    /// Weights of red and blue in the luminance.
    pub kr: f32,
    pub kb: f32,
    /// Black is 16 and white 235 (else 0 and 255).
    pub limited: bool,
}

impl Colorimetry {
    pub const BT601: Self = Self {
        kr: 0.299,
        kb: 0.114,
        limited: true,
    };
    pub const BT709: Self = Self {
        kr: 0.2126,
        kb: 0.0722,
        limited: true,
    };

    /// What a picture of this height most likely is, when nobody says.
    pub fn for_height(height: usize) -> Self {
        if height > 576 {
            Self::BT709
        } else {
            Self::BT601
        }
    }

    pub fn kg(&self) -> f32 {
        1.0 - self.kr - self.kb
    }

    /// Code value of black, and the distance from black to white.
    pub fn luma_range(&self) -> (f32, f32) {
        if self.limited {
            (16.0, 219.0)
        } else {
            (0.0, 255.0)
        }
    }

    /// Code values between the extremes of a chroma component.
    pub fn chroma_range(&self) -> f32 {
        if self.limited { 224.0 } else { 255.0 }
    }

    /// From R, G, B of 0 to 1 to code values, not rounded.
    pub fn encode(&self, [r, g, b]: [f32; 3]) -> [f32; 3] {
        let (black, range) = self.luma_range();
        let y = self.kr * r + self.kg() * g + self.kb * b;
        let u = (b - y) / (2.0 * (1.0 - self.kb));
        let v = (r - y) / (2.0 * (1.0 - self.kr));
        let c = self.chroma_range();
        [black + range * y, 128.0 + c * u, 128.0 + c * v]
    }

    /// From code values to R, G, B of 0 to 1, not clamped.
    pub fn decode(&self, [y, u, v]: [f32; 3]) -> [f32; 3] {
        let (black, range) = self.luma_range();
        let c = self.chroma_range();
        let (y, u, v) = ((y - black) / range, (u - 128.0) / c, (v - 128.0) / c);
        let r = y + 2.0 * (1.0 - self.kr) * v;
        let b = y + 2.0 * (1.0 - self.kb) * u;
        let g = (y - self.kr * r - self.kb * b) / self.kg();
        [r, g, b]
    }
}
