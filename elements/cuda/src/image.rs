// SPDX-License-Identifier: Apache-2.0
//! Pictures to and from nets of one or three channels, in tiles. The references are `aivideo_enhance`'s
//! `operations::image_net`.

use crate::{
    launch::{Args, Launch, LaunchError, MOST, Memory, in_range, tensor},
    picture::{Component, Picture},
};

/// What a net's tensors are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Channels {
    /// 1 (luma) or 3 (red, green and blue).
    pub count: u32,
    /// The channels of a pixel lie together.
    pub last: bool,
    /// Bytes instead of floats.
    pub bytes: bool,
    /// What 1 is as a float.
    pub white: f32,
}

impl Channels {
    fn check(&self) -> Result<(), LaunchError> {
        match self.count {
            1 | 3 => Ok(()),
            _ => Err(LaunchError::Table {
                what: "channels",
                problem: "they are neither one nor three",
            }),
        }
    }

    fn size(&self) -> u64 {
        if self.bytes { 1 } else { 4 }
    }

    fn tensor_bytes(&self, (width, height): (u32, u32)) -> u64 {
        u64::from(self.count) * u64::from(width) * u64::from(height) * self.size()
    }
}

/// Codes of luma and of differences of colour, of 0 to 255, and shares of red and blue in luma.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Colour {
    pub black: f64,
    pub span: f64,
    pub grey: f64,
    pub chroma: f64,
    pub kr: f64,
    pub kb: f64,
}

impl Colour {
    fn words(&self, args: Args) -> Args {
        let (kr, kb) = (self.kr, self.kb);
        args.f64s(&[self.black, self.span, self.grey, self.chroma])
            .f64s(&[kr, 1.0 - kr - kb, kb])
            .f64s(&[2.0 * (1.0 - kr), 2.0 * (1.0 - kb)])
    }
}

/// Bytes of the planes of floats that results are put together in.
pub fn plane_bytes(channels: u32, (width, height): (u32, u32)) -> u64 {
    4 * u64::from(channels) * u64::from(width) * u64::from(height)
}

/// A tile of a picture as a net's input. What lies beyond the picture repeats its edge.
pub fn cut(
    of: &Picture,
    colour: &Colour,
    (left, top): (u32, u32),
    (width, height): (u32, u32),
    channels: Channels,
    out: Memory,
) -> Result<Launch, LaunchError> {
    let at = of.addresses()?;
    of.y.check_eight("a picture for a net")?;
    channels.check()?;
    let (most, size) = (u64::from(MOST), of.size());
    in_range("left of the tile", left, 0..=u64::from(size.0 - 1))?;
    in_range("top of the tile", top, 0..=u64::from(size.1 - 1))?;
    in_range("width of the tile", width, 1..=most)?;
    in_range("height of the tile", height, 1..=most)?;
    let bytes = channels.tensor_bytes((width, height));
    let out = tensor("the net's input", out, bytes, channels.size())?;
    let args = at
        .into_iter()
        .fold(Args::default(), Args::address)
        .address(out)
        .u32s(&[size.0, size.1])
        .u32s(&of.strides())
        .u32s(&[left, top, width, height])
        .u32s(&[channels.count, channels.last.into()])
        .f32(channels.white)
        .u32(0);
    let entry = match channels.bytes {
        true => "image_cut_u8",
        false => "image_cut_f32",
    };
    Ok(colour.words(args).launch(entry, [width, height]))
}

/// Where a part of a net's result goes in the planes of floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paste {
    /// Sides of the result.
    pub from: (u32, u32),
    /// The part's left and top there, its sides, and its left and top in the planes.
    pub at: (u32, u32),
    pub size: (u32, u32),
    pub to: (u32, u32),
    /// Sides of the planes.
    pub planes: (u32, u32),
}

impl Paste {
    pub fn launch(
        &self,
        channels: Channels,
        result: Memory,
        planes: Memory,
    ) -> Result<Launch, LaunchError> {
        channels.check()?;
        let most = 8 * u64::from(MOST);
        for (what, at, size, all) in [
            ("columns of the result", self.at.0, self.size.0, self.from.0),
            ("rows of the result", self.at.1, self.size.1, self.from.1),
            (
                "columns of the planes",
                self.to.0,
                self.size.0,
                self.planes.0,
            ),
            ("rows of the planes", self.to.1, self.size.1, self.planes.1),
        ] {
            in_range(what, all, 1..=most)?;
            in_range(what, size, 1..=most)?;
            in_range(what, u64::from(at) + u64::from(size), 1..=u64::from(all))?;
        }
        let bytes = channels.tensor_bytes(self.from);
        let result = tensor("the net's result", result, bytes, channels.size())?;
        let bytes = plane_bytes(channels.count, self.planes);
        let planes = tensor("the planes", planes, bytes, 4)?;
        let pair = |(a, b): (u32, u32)| [a, b];
        Ok(Args::default()
            .address(result)
            .address(planes)
            .u32s(&pair(self.from))
            .u32s(&pair(self.at))
            .u32s(&pair(self.size))
            .u32s(&pair(self.to))
            .u32s(&pair(self.planes))
            .u32s(&[channels.count, channels.last.into()])
            .f32(1.0 / channels.white)
            .u32(0)
            .launch(
                if channels.bytes {
                    "image_paste_u8"
                } else {
                    "image_paste_f32"
                },
                pair(self.size),
            ))
    }
}

/// A plane of floats to luma.
pub fn luma(plane: Memory, to: &Component) -> Result<Launch, LaunchError> {
    let at = to.address()?;
    to.check_eight("luma")?;
    in_range("step", to.step, 1..=1)?;
    let plane = tensor("the plane", plane, plane_bytes(1, (to.width, to.height)), 4)?;
    Ok(Args::default()
        .address(plane)
        .address(at)
        .u32s(&[to.width, to.height, to.area.stride, 0])
        .launch("image_luma", [to.width, to.height]))
}

/// Three planes of floats to a picture.
pub fn colours(planes: Memory, colour: &Colour, to: &Picture) -> Result<Launch, LaunchError> {
    let at = to.addresses()?;
    to.y.check_eight("a picture of a net")?;
    let (width, height) = to.size();
    let planes = tensor("the planes", planes, plane_bytes(3, (width, height)), 4)?;
    let args = at
        .into_iter()
        .fold(Args::default().address(planes), Args::address)
        .u32s(&[width, height])
        .u32s(&to.strides());
    let half = [width.div_ceil(2), height.div_ceil(2)];
    Ok(colour.words(args).launch("image_colours", half))
}

/// The four samples around a place, and their weights.
pub type Taps = [(usize, f32); 4];

/// Places and weights as the kernel takes them, for samples of a side of `length`.
pub fn tap_bytes(taps: &[Taps], length: u32) -> Result<Vec<u8>, LaunchError> {
    let mut bytes = Vec::with_capacity(32 * taps.len());
    for taps in taps {
        for (at, _) in taps {
            in_range("place of a sample", *at as u64, 0..=u64::from(length) - 1)?;
            bytes.extend((*at as u32).to_ne_bytes());
        }
        bytes.extend(taps.iter().flat_map(|(_, weight)| weight.to_ne_bytes()));
    }
    Ok(bytes)
}

/// Enlarges a component by the taps of [`tap_bytes`], for each row and each column of what comes out, of
/// the sides of `from`.
pub fn enlarge(
    from: &Component,
    to: &Component,
    rows: Memory,
    columns: Memory,
) -> Result<Launch, LaunchError> {
    let (from_at, to_at) = (from.address()?, to.address()?);
    from.check_eight("chroma")?;
    to.check_eight("enlarged chroma")?;
    let rows = tensor("taps of rows", rows, 32 * u64::from(to.height), 4)?;
    let columns = tensor("taps of columns", columns, 32 * u64::from(to.width), 4)?;
    Ok(Args::default()
        .address(from_at)
        .address(to_at)
        .address(rows)
        .address(columns)
        .u32s(&from.steps())
        .u32s(&[to.width, to.height])
        .u32s(&to.steps())
        .launch("image_enlarge", [to.width, to.height]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Samples;

    #[test]
    fn bad_sizes_are_errors() {
        let memory = |bytes| Memory { address: 64, bytes };
        let picture = Picture::planar(memory(27), (5, 3), Samples::Eight);
        let colour = Colour {
            black: 16.0,
            span: 219.0,
            grey: 128.0,
            chroma: 224.0,
            kr: 0.3,
            kb: 0.1,
        };
        let three = Channels {
            count: 3,
            last: true,
            bytes: false,
            white: 1.0,
        };
        let cut = |left, channels, bytes| {
            cut(
                &picture,
                &colour,
                (left, 0),
                (8, 8),
                channels,
                memory(bytes),
            )
        };
        assert!(cut(4, three, 768).is_ok());
        assert!(cut(5, three, 768).is_err());
        assert!(cut(4, three, 767).is_err());
        assert!(cut(4, Channels { count: 2, ..three }, 768).is_err());
        let paste = Paste {
            from: (8, 8),
            at: (3, 0),
            size: (5, 3),
            to: (0, 0),
            planes: (5, 3),
        };
        let launch = |p: Paste| p.launch(three, memory(768), memory(180));
        assert!(launch(paste).is_ok());
        assert!(
            launch(Paste {
                at: (4, 0),
                ..paste
            })
            .is_err()
        );
        assert!(
            launch(Paste {
                to: (1, 0),
                ..paste
            })
            .is_err()
        );
        assert!(
            launch(Paste {
                size: (0, 3),
                ..paste
            })
            .is_err()
        );
        assert!(paste.launch(three, memory(767), memory(180)).is_err());
        assert!(paste.launch(three, memory(768), memory(179)).is_err());
        assert!(luma(memory(60), &picture.y).is_ok());
        assert!(luma(memory(59), &picture.y).is_err());
        assert!(colours(memory(180), &colour, &picture).is_ok());
        assert!(colours(memory(179), &colour, &picture).is_err());
        assert!(tap_bytes(&[[(3, 0.0); 4]], 3).is_err());
        assert_eq!(
            tap_bytes(&[[(2, 0.0); 4]], 3).map(|bytes| bytes.len()),
            Ok(32)
        );
        let twice = |rows, columns| enlarge(&picture.u, &picture.v, memory(rows), memory(columns));
        assert!(twice(64, 96).is_ok());
        assert!(twice(63, 96).is_err());
        assert!(twice(64, 95).is_err());
    }
}
