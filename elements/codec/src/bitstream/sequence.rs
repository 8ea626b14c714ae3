// SPDX-License-Identifier: Apache-2.0

use super::checksum::crc32;
use super::{BitstreamError, Color, Light, Reader};

/// The version of the syntax that is written, and the only one that is read.
pub const VERSION: u8 = 8;
/// Smallest width and height.
pub const MIN_SIZE: u16 = 16;
/// Largest width and height.
pub const MAX_SIZE: u16 = 8192;

const MAGIC: [u8; 4] = *b"AICS";
const WHAT: &str = "sequence header";
/// Place of the byte that says what is known about light.
const LIGHT: usize = 17;

/// Size of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Tier {
    S = 0,
    M = 1,
    L = 2,
}

impl Tier {
    fn from_code(code: u8) -> Option<Self> {
        [Self::S, Self::M, Self::L]
            .into_iter()
            .find(|t| *t as u8 == code)
    }

    /// The tier that a model names in its metadata.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::S, Self::M, Self::L]
            .into_iter()
            .find(|tier| tier.name().eq_ignore_ascii_case(name))
    }

    /// Its name in caps.
    pub fn name(self) -> &'static str {
        match self {
            Self::S => "s",
            Self::M => "m",
            Self::L => "l",
        }
    }
}

/// Arrangement of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Chroma {
    /// 4:2:0.
    I420 = 1,
}

/// What a decoder must know before the first frame. It is repeated in every key frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceHeader {
    /// [`VERSION`].
    pub version: u8,
    pub tier: Tier,
    /// First bytes of the SHA-256 of the decoder's network.
    pub model_id: [u8; 8],
    /// First bytes of the SHA-256 of the entropy tables.
    pub tables_id: [u8; 8],
    /// Size of the picture that is shown. The coded size is the next multiple of 64.
    pub width: u16,
    pub height: u16,
    pub bit_depth: u8,
    pub chroma: Chroma,
    pub color: Color,
    /// Of video of high dynamic range.
    pub light: Light,
    /// Frames a second; a numerator of 0 is a variable rate.
    pub fps_n: u32,
    pub fps_d: u32,
    /// Pixel aspect ratio.
    pub par_n: u16,
    pub par_d: u16,
    /// Height of a tile in units of 64 luma rows. The last tile may be lower.
    pub tile_rows_64: u8,
}

impl SequenceHeader {
    /// Of square pixels in eight bits whose colours nobody told, in tiles of 128 rows; of tier S, and of no model yet.
    /// `fps` is a fraction.
    pub fn new(width: u16, height: u16, fps: (u32, u32)) -> Self {
        Self {
            version: VERSION,
            tier: Tier::S,
            model_id: [0; 8],
            tables_id: [0; 8],
            width,
            height,
            bit_depth: 8,
            chroma: Chroma::I420,
            color: Color::default(),
            light: Light::default(),
            fps_n: fps.0,
            fps_d: fps.1,
            par_n: 1,
            par_d: 1,
            tile_rows_64: 2,
        }
    }

    /// Bytes of a written header that says nothing about light: the least.
    pub const SIZE: usize = 50;
    /// Most bytes of a written header.
    pub const LARGEST: usize = Self::SIZE + Light::LARGEST;

    /// Bytes of this one when it is written.
    pub fn size(&self) -> usize {
        Self::SIZE + Light::size(self.light.flags())
    }

    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size());
        out.extend(MAGIC);
        out.extend([
            self.version,
            self.tier as u8,
            self.chroma as u8,
            self.bit_depth,
        ]);
        out.extend(self.width.to_le_bytes());
        out.extend(self.height.to_le_bytes());
        out.push(self.tile_rows_64);
        let Color {
            range,
            matrix,
            transfer,
            primaries,
        } = self.color;
        out.extend([range, matrix, transfer, primaries, self.light.flags()]);
        out.extend(self.fps_n.to_le_bytes());
        out.extend(self.fps_d.to_le_bytes());
        out.extend(self.par_n.to_le_bytes());
        out.extend(self.par_d.to_le_bytes());
        out.extend(self.model_id);
        out.extend(self.tables_id);
        self.light.write(&mut out);
        out.extend(crc32(&out).to_le_bytes());
        debug_assert_eq!(out.len(), self.size());
        out
    }

    /// Reads a header from the front of `data`; also returns its size.
    pub fn parse(data: &[u8]) -> Result<(Self, usize), BitstreamError> {
        let mut reader = Reader::new(data, WHAT);
        if reader.array()? != MAGIC {
            return Err(BitstreamError::Mark(WHAT));
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(BitstreamError::Version(version));
        }
        let truncated = BitstreamError::Truncated(WHAT);
        let light = *data.get(LIGHT).ok_or(truncated)?;
        let size = Self::SIZE + Light::size(light);
        let header = data.get(..size).ok_or(truncated)?;
        let (fields, sum) = header.split_at(size - 4);
        if crc32(fields).to_le_bytes() != sum {
            return Err(BitstreamError::Checksum(WHAT));
        }
        let tier = reader.u8()?;
        let chroma = reader.u8()?;
        let bit_depth = reader.u8()?;
        let (width, height) = (reader.u16()?, reader.u16()?);
        let tile_rows_64 = reader.u8()?;
        let [range, matrix, transfer, primaries] = reader.array()?;
        let light = reader.u8()?;
        let (fps_n, fps_d) = (reader.u32()?, reader.u32()?);
        let (par_n, par_d) = (reader.u16()?, reader.u16()?);
        let (model_id, tables_id) = (reader.array()?, reader.array()?);
        let light = Light::read(light, &mut reader)?;

        let value = |what, value: u32| BitstreamError::Value {
            what,
            value: value.into(),
        };
        let check = |what, number: u32, good: bool| good.then_some(()).ok_or(value(what, number));
        let sizes = MIN_SIZE..=MAX_SIZE;
        check("width", width.into(), sizes.contains(&width))?;
        check("height", height.into(), sizes.contains(&height))?;
        check("bit depth", bit_depth.into(), (8..=16).contains(&bit_depth))?;
        check("tile height", tile_rows_64.into(), tile_rows_64 > 0)?;
        // GStreamer's fractions are signed.
        let limit = i32::MAX as u32;
        check("frame rate's numerator", fps_n, fps_n <= limit)?;
        check(
            "frame rate's denominator",
            fps_d,
            fps_d > 0 && fps_d <= limit,
        )?;
        check(
            "pixel aspect ratio",
            par_n.min(par_d).into(),
            par_n > 0 && par_d > 0,
        )?;
        let header = Self {
            version,
            tier: Tier::from_code(tier).ok_or(value("tier", tier.into()))?,
            model_id,
            tables_id,
            width,
            height,
            bit_depth,
            chroma: match chroma {
                1 => Chroma::I420,
                other => return Err(value("chroma format", other.into())),
            },
            color: Color {
                range,
                matrix,
                transfer,
                primaries,
            },
            light,
            fps_n,
            fps_d,
            par_n,
            par_d,
            tile_rows_64,
        };
        Ok((header, size))
    }

    /// Width and height as coded: multiples of 64.
    pub fn coded_size(&self) -> (usize, usize) {
        let coded = |size: u16| usize::from(size).next_multiple_of(64);
        (coded(self.width), coded(self.height))
    }

    /// 16x16 blocks in a row.
    pub fn blocks_wide(&self) -> usize {
        self.coded_size().0 / 16
    }

    pub fn blocks_high(&self) -> usize {
        self.coded_size().1 / 16
    }

    pub fn tile_count(&self) -> u16 {
        let rows = self.height.div_ceil(64);
        rows.div_ceil(u16::from(self.tile_rows_64.max(1)))
    }

    /// The duration of one frame in nanoseconds, where the rate is constant.
    pub fn frame_duration(&self) -> Option<u64> {
        (1_000_000_000 * u64::from(self.fps_d)).checked_div(self.fps_n.into())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::light::Mastering;
    use super::*;
    use proptest::prelude::*;

    pub fn example() -> SequenceHeader {
        SequenceHeader {
            model_id: [1, 2, 3, 4, 5, 6, 7, 8],
            tables_id: [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18],
            color: Color {
                range: 2,
                matrix: 1,
                transfer: 1,
                primaries: 1,
            },
            ..SequenceHeader::new(1279, 718, (30000, 1001))
        }
    }

    fn any_light() -> impl Strategy<Value = Light> {
        // GStreamer writes what needs 32 bits as a negative number, which it does not read.
        let luminance = proptest::array::uniform2(0..=i32::MAX as u32);
        let mastering = (any::<[u16; 8]>(), luminance);
        let mastering = mastering.prop_map(|(chromaticities, luminance)| Mastering {
            chromaticities,
            luminance,
        });
        let parts = (proptest::option::of(mastering), any::<Option<[u16; 2]>>());
        parts.prop_map(|(mastering, content)| Light { mastering, content })
    }

    prop_compose! {
        pub fn any_sequence()(
            tier in prop_oneof![Just(Tier::S), Just(Tier::M), Just(Tier::L)],
            model_id: [u8; 8],
            tables_id: [u8; 8],
            width in MIN_SIZE..=MAX_SIZE,
            height in MIN_SIZE..=MAX_SIZE,
            bit_depth in 8u8..=16,
            codes: [u8; 4],
            light in any_light(),
            fps_n in 0..=i32::MAX as u32,
            fps_d in 1..=i32::MAX as u32,
            par_n in 1..=u16::MAX,
            par_d in 1..=u16::MAX,
            tile_rows_64 in 1..=u8::MAX,
        ) -> SequenceHeader {
            let [range, matrix, transfer, primaries] = codes;
            SequenceHeader {
                version: VERSION, tier, model_id, tables_id, width, height, bit_depth,
                chroma: Chroma::I420, color: Color { range, matrix, transfer, primaries },
                light, fps_n, fps_d, par_n, par_d, tile_rows_64,
            }
        }
    }

    proptest! {
        #[test]
        fn headers_return(sequence in any_sequence(), after in proptest::collection::vec(any::<u8>(), 0..8)) {
            let mut data = sequence.write();
            let size = sequence.size();
            prop_assert!(data.len() == size && size <= SequenceHeader::LARGEST);
            data.extend(after);
            prop_assert_eq!(SequenceHeader::parse(&data), Ok((sequence, size)));
        }

        #[test]
        fn random_bytes_are_refused(mut data in proptest::collection::vec(any::<u8>(), 0..100), magic: bool) {
            if magic && data.len() > 5 {
                data[..4].copy_from_slice(&MAGIC);
                data[4] = VERSION;
            }
            prop_assert!(SequenceHeader::parse(&data).is_err());
        }

        #[test]
        fn a_changed_bit_is_noticed(sequence in any_sequence(), bit in 0..SequenceHeader::SIZE * 8) {
            let mut data = sequence.write();
            data[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(SequenceHeader::parse(&data).is_err());
        }

        #[test]
        fn headers_with_a_right_checksum_are_still_checked(fields: [u8; 69], plain: bool) {
            let mut data = MAGIC.to_vec();
            data.push(VERSION);
            data.extend(fields);
            // Else hardly any flags of light are sound.
            data[LIGHT] &= if plain { 3 } else { 255 };
            data.truncate(SequenceHeader::SIZE - 4 + Light::size(data[LIGHT]));
            data.extend(crc32(&data).to_le_bytes());
            if let Ok((sequence, _)) = SequenceHeader::parse(&data) {
                prop_assert_eq!(sequence.write(), data);
            }
        }
    }

    /// The stream's format is a promise: files that were written must stay readable.
    #[test]
    fn the_bytes_are_these() {
        let golden = [
            b'A', b'I', b'C', b'S', 8, 0, 1, 8, // version, tier, chroma, depth
            0xff, 4, 0xce, 2, // 1279x718
            2, 2, 1, 1, 1, 0, // tile rows, colours, no light
            0x30, 0x75, 0, 0, 0xe9, 3, 0, 0, // 30000/1001
            1, 0, 1, 0, // square pixels
            1, 2, 3, 4, 5, 6, 7, 8, // model
            0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, // tables
        ];
        let written = example().write();
        assert_eq!(written[..46], golden);
        assert_eq!(written[46..], crc32(&golden).to_le_bytes());
        // With light, which comes before the checksum.
        let mut sequence = example();
        sequence.light = Light {
            mastering: Some(Mastering {
                chromaticities: [35400, 14600, 8500, 39850, 6550, 2300, 15635, 16450],
                luminance: [10_000_000, 50],
            }),
            content: Some([1000, 400]),
        };
        let written = sequence.write();
        assert_eq!(written.len(), SequenceHeader::LARGEST);
        assert_eq!(written[..17], golden[..17]);
        assert_eq!(written[17], 3);
        assert_eq!(written[18..46], golden[18..]);
        let light = [
            0x48, 0x8a, 0x08, 0x39, 0x34, 0x21, 0xaa, 0x9b, 0x96, 0x19, 0xfc, 0x08, // r, g, b
            0x13, 0x3d, 0x42, 0x40, // white
            0x80, 0x96, 0x98, 0, 50, 0, 0, 0, // luminance
            0xe8, 3, 0x90, 1, // content
        ];
        assert_eq!(written[46..74], light);
    }

    #[test]
    fn refusals_name_the_field() {
        let bad = |change: fn(&mut SequenceHeader)| {
            let mut sequence = example();
            change(&mut sequence);
            SequenceHeader::parse(&sequence.write())
                .unwrap_err()
                .to_string()
        };
        assert!(bad(|s| s.width = 0).contains("width is 0"));
        assert!(bad(|s| s.height = 8193).contains("height is 8193"));
        assert!(bad(|s| s.fps_d = 0).contains("denominator is 0"));
        assert!(bad(|s| s.par_d = 0).contains("aspect ratio is 0"));
        assert!(bad(|s| s.tile_rows_64 = 0).contains("tile height is 0"));
        assert!(bad(|s| s.version = 9).contains("version 9"));
        let mut data = example().write();
        data[LIGHT] = 4;
        let sum = crc32(&data[..46]).to_le_bytes();
        data[46..].copy_from_slice(&sum);
        let error = SequenceHeader::parse(&data).unwrap_err().to_string();
        assert!(error.contains("flags of light is 4"), "{error}");
    }

    #[test]
    fn sizes_are_derived() {
        let sequence = example();
        assert_eq!(sequence.coded_size(), (1280, 768));
        assert_eq!((sequence.blocks_wide(), sequence.blocks_high()), (80, 48));
        assert_eq!(sequence.tile_count(), 6);
        assert_eq!(sequence.frame_duration(), Some(33_366_666));
    }
}
