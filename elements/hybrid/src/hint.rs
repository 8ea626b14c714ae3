// SPDX-License-Identifier: Apache-2.0
//! What the encoder tells the restorer. It travels inside the standard stream, where plain decoders
//! skip it: in an SEI message of user data (H.264, H.265) or a metadata OBU (AV1), once a key frame.
//!
//! The bytes: a UUID, a version, and fields in network order (`docs/hybrid.md` has the table). More
//! bytes may follow in later versions and are skipped.

/// Says that the bytes are ours.
pub const UUID: [u8; 16] = [
    0x9b, 0x5c, 0x1e, 0x0a, 0x67, 0x2f, 0x4d, 0x31, 0xa8, 0x4e, 0x3d, 0x70, 0xc5, 0x16, 0xf2, 0x8b,
];
const VERSION: u8 = 1;
const LENGTH: usize = 16 + 1 + 8 + 1 + 1 + 1 + 2 + 2 + 2;
const QUALITY_KNOWN: u8 = 1;
const NOISE_KNOWN: u8 = 2;

/// The standard that the base stream follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Base {
    #[default]
    Unknown,
    Av1,
    H265,
    H264,
}

impl Base {
    const ALL: [Self; 4] = [Self::Unknown, Self::Av1, Self::H265, Self::H264];

    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Av1 => "av1",
            Self::H265 => "h265",
            Self::H264 => "h264",
        }
    }

    pub fn from_name(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|base| base.name() == name)
            .unwrap_or_default()
    }

    /// Of the caps of a coded stream.
    pub fn of_media_type(name: &str) -> Self {
        match name {
            "video/x-av1" => Self::Av1,
            "video/x-h265" => Self::H265,
            "video/x-h264" => Self::H264,
            _ => Self::Unknown,
        }
    }

    /// The largest quantiser of constant quality: what 1 of [`Hint::quality`] stands for.
    pub fn worst_quantizer(self) -> f64 {
        match self {
            Self::Av1 => 63.0,
            _ => 51.0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hint {
    /// The first bytes of the SHA-256 of the net that the stream was made for.
    pub model: [u8; 8],
    pub base: Base,
    /// The quantiser over the largest there is, where the quality is constant.
    pub quality: Option<f64>,
    /// The size to show; what is coded may be smaller.
    pub width: u16,
    pub height: u16,
    /// Standard deviation of the source's noise in steps of eight bits.
    pub noise: Option<f64>,
    /// Whether no picture was coded with the help of later ones.
    pub low_delay: Option<bool>,
}

impl Hint {
    /// The part of the shown height that is coded; 1 where none is said.
    pub fn scale(&self, coded_height: usize) -> f64 {
        match self.height {
            0 => 1.0,
            height => coded_height as f64 / f64::from(height),
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LENGTH);
        out.extend(UUID);
        out.push(VERSION);
        out.extend(self.model);
        out.push(Base::ALL.iter().position(|b| *b == self.base).unwrap_or(0) as u8);
        let mut flags = 0;
        if self.quality.is_some() {
            flags |= QUALITY_KNOWN;
        }
        if self.noise.is_some() {
            flags |= NOISE_KNOWN;
        }
        out.push(flags);
        out.push((self.quality.unwrap_or(0.0).clamp(0.0, 1.0) * 255.0).round() as u8);
        out.extend(self.width.to_be_bytes());
        out.extend(self.height.to_be_bytes());
        let noise = (self.noise.unwrap_or(0.0).clamp(0.0, 255.0) * 256.0).round() as u16;
        out.extend(noise.to_be_bytes());
        out.push(match self.low_delay {
            None => 0,
            Some(true) => 1,
            Some(false) => 2,
        });
        out
    }

    /// None where the bytes are not ours, of a later version, or cut off.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.strip_prefix(&UUID)?;
        let (version, bytes) = bytes.split_first()?;
        if *version != VERSION || bytes.len() < LENGTH - 17 {
            return None;
        }
        let (model, bytes) = bytes.split_first_chunk::<8>()?;
        let (&[base, flags, quality], bytes) = bytes.split_first_chunk::<3>()?;
        let (&[w1, w2, h1, h2, n1, n2], more) = bytes.split_first_chunk::<6>()?;
        let noise = f64::from(u16::from_be_bytes([n1, n2])) / 256.0;
        Some(Self {
            model: *model,
            base: Base::ALL
                .get(usize::from(base))
                .copied()
                .unwrap_or_default(),
            quality: (flags & QUALITY_KNOWN != 0).then_some(f64::from(quality) / 255.0),
            width: u16::from_be_bytes([w1, w2]),
            height: u16::from_be_bytes([h1, h2]),
            noise: (flags & NOISE_KNOWN != 0).then_some(noise),
            // The first streams ended before it.
            low_delay: match more.first() {
                Some(1) => Some(true),
                Some(2) => Some(false),
                _ => None,
            },
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub fn any_hint() -> impl Strategy<Value = Hint> {
        let quality = proptest::option::of((0u8..=255).prop_map(|q| f64::from(q) / 255.0));
        let noise = proptest::option::of((0u16..=65_280).prop_map(|n| f64::from(n) / 256.0));
        (
            any::<[u8; 8]>(),
            0usize..4,
            quality,
            any::<[u16; 2]>(),
            noise,
            any::<Option<bool>>(),
        )
            .prop_map(
                |(model, base, quality, [width, height], noise, low_delay)| Hint {
                    model,
                    base: Base::ALL[base],
                    quality,
                    width,
                    height,
                    noise,
                    low_delay,
                },
            )
    }

    proptest! {
        #[test]
        fn comes_back_with_and_without_more_behind(hint in any_hint(), more in any::<Vec<u8>>()) {
            let mut bytes = hint.to_bytes();
            prop_assert_eq!(bytes.len(), LENGTH + 1);
            prop_assert_eq!(Hint::from_bytes(&bytes), Some(hint));
            let old = Hint { low_delay: None, ..hint };
            prop_assert_eq!(Hint::from_bytes(&bytes[..LENGTH]), Some(old));
            for cut in 0..LENGTH {
                prop_assert_eq!(Hint::from_bytes(&bytes[..cut]), None);
            }
            bytes.extend(more);
            prop_assert_eq!(Hint::from_bytes(&bytes), Some(hint));
        }

        #[test]
        fn anything_else_is_refused(bytes in any::<Vec<u8>>()) {
            prop_assert_eq!(Hint::from_bytes(&bytes), None);
            let mut ours = UUID.to_vec();
            ours.extend(bytes);
            let _ = Hint::from_bytes(&ours);
        }
    }
}
