// SPDX-License-Identifier: Apache-2.0
//! The caps of coded streams.

use super::{BitstreamError, Color, SequenceHeader};

/// The media type of coded streams.
pub const NAME: &str = "video/x-aicodec";

/// How access units are packed into buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFormat {
    /// A buffer is an access unit.
    Frame,
    /// Units as in [`super::byte_stream`].
    ByteStream,
}

impl StreamFormat {
    pub fn name(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::ByteStream => "byte-stream",
        }
    }

    /// Reads the field of caps.
    pub fn from_structure(structure: &gst::StructureRef) -> Option<Self> {
        let name = structure.get::<&str>("stream-format").ok()?;
        [Self::Frame, Self::ByteStream]
            .into_iter()
            .find(|f| f.name() == name)
    }
}

/// Why caps do not describe a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CapsError {
    #[error("caps of another medium than {NAME}")]
    Name,
    #[error("caps without `codec_data`: the sequence header comes with the first key frame")]
    NoCodecData,
    #[error("`codec_data` that cannot be mapped")]
    Unreadable,
    #[error("`codec_data`: {0}")]
    Header(#[from] BitstreamError),
    #[error("{0} byte(s) after the sequence header in `codec_data`")]
    TrailingBytes(usize),
}

/// Two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Describes a stream to other elements.
pub fn sequence_header_to_caps(sequence: &SequenceHeader, format: StreamFormat) -> gst::Caps {
    // The header's reader bounds the rates; a hand-made one must not make this panic either.
    let fraction = |n: u32, d: u32| {
        let (n, d) = (i32::try_from(n), i32::try_from(d));
        let (n, d) = (n.unwrap_or(0), d.unwrap_or(1));
        gst::Fraction::new(n, d.max(1))
    };
    let mut caps = gst::Caps::builder(NAME)
        .field("stream-format", format.name())
        .field("alignment", "au")
        .field("parsed", true)
        .field("profile", sequence.tier.name())
        .field("width", i32::from(sequence.width))
        .field("height", i32::from(sequence.height))
        .field("framerate", fraction(sequence.fps_n, sequence.fps_d))
        .field(
            "pixel-aspect-ratio",
            fraction(sequence.par_n.into(), sequence.par_d.into()),
        )
        .field("chroma-format", "4:2:0")
        .field("bit-depth-luma", u32::from(sequence.bit_depth))
        .field("bit-depth-chroma", u32::from(sequence.bit_depth))
        .field("model-hash", hex(&sequence.model_id));
    let color = sequence.color.to_colorimetry();
    // GStreamer gives no text, not even an empty one, where nothing is known.
    if Color::from_colorimetry(&color) != Color::default() {
        caps = caps.field("colorimetry", color.to_string());
    }
    let data = gst::Buffer::from_mut_slice(sequence.write());
    let mut caps = caps.field("codec_data", data).build();
    sequence.light.add_to_caps(caps.make_mut());
    caps
}

/// The sequence header in the caps' `codec_data`.
pub fn caps_to_sequence_header(caps: &gst::CapsRef) -> Result<SequenceHeader, CapsError> {
    let structure = caps.structure(0).filter(|s| s.name() == NAME);
    let structure = structure.ok_or(CapsError::Name)?;
    let data = structure
        .get::<gst::Buffer>("codec_data")
        .map_err(|_| CapsError::NoCodecData)?;
    let data = data.map_readable().map_err(|_| CapsError::Unreadable)?;
    let (sequence, size) = SequenceHeader::parse(&data)?;
    match data.len() - size {
        0 => Ok(sequence),
        rest => Err(CapsError::TrailingBytes(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Light;
    use super::super::sequence::tests::{any_sequence, example};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn headers_return(sequence in any_sequence()) {
            gst::init().unwrap();
            for format in [StreamFormat::Frame, StreamFormat::ByteStream] {
                let caps = sequence_header_to_caps(&sequence, format);
                prop_assert!(caps.is_fixed());
                prop_assert_eq!(caps_to_sequence_header(&caps), Ok(sequence.clone()));
                // Caps also travel as text.
                let text: gst::Caps = caps.to_string().parse().unwrap();
                prop_assert_eq!(caps_to_sequence_header(&text), Ok(sequence.clone()));
                prop_assert_eq!(Light::from_caps(&text), sequence.light);
                let structure = text.structure(0).unwrap();
                prop_assert_eq!(StreamFormat::from_structure(structure), Some(format));
            }
        }
    }

    #[test]
    fn fields_have_the_usual_names() {
        gst::init().unwrap();
        let caps = sequence_header_to_caps(&example(), StreamFormat::Frame);
        let expected = "video/x-aicodec, stream-format=frame, alignment=au, parsed=true, profile=s, \
            width=1279, height=718, framerate=30000/1001, pixel-aspect-ratio=1/1, colorimetry=bt709, \
            model-hash=(string)0102030405060708";
        let expected: gst::Caps = expected.parse().unwrap();
        assert!(caps.is_subset(&expected), "{caps}");
    }

    #[test]
    fn bad_caps_are_refused() {
        gst::init().unwrap();
        let with = |data: Vec<u8>| {
            let caps = gst::Caps::builder(NAME)
                .field("codec_data", gst::Buffer::from_mut_slice(data))
                .build();
            caps_to_sequence_header(&caps).unwrap_err()
        };
        let good = example().write();
        assert!(matches!(with(Vec::new()), CapsError::Header(_)));
        assert!(matches!(with(good[..20].to_vec()), CapsError::Header(_)));
        assert_eq!(
            with([&good[..], b"x"].concat()),
            CapsError::TrailingBytes(1)
        );
        let none = gst::Caps::new_empty_simple(NAME);
        assert_eq!(caps_to_sequence_header(&none), Err(CapsError::NoCodecData));
        let other = gst::Caps::new_empty_simple("video/x-h264");
        assert_eq!(caps_to_sequence_header(&other), Err(CapsError::Name));
        let any = gst::Caps::new_any();
        assert_eq!(caps_to_sequence_header(&any), Err(CapsError::Name));
    }
}
