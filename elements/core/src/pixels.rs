// SPDX-License-Identifier: Apache-2.0
//! Access to 4:2:0 pictures whatever their strides, chroma layout and size.
//!
//! The element code never assumes a stride: it reads a mapped frame into tightly packed planes
//! (the shape a network wants) and writes packed planes back into a mapped frame.

use gst_video::prelude::*;
use thiserror::Error;

/// Why a frame could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PixelError {
    #[error(
        "pixel format {got} is not supported here: expected one of I420, YV12, NV12, NV21 (put `videoconvert` in front)"
    )]
    Format { got: String },
    #[error("the frame is {got_width}x{got_height} but {width}x{height} was expected")]
    Size {
        width: usize,
        height: usize,
        got_width: usize,
        got_height: usize,
    },
    #[error("plane {plane} of the frame is too short: {needed} bytes needed, {got} mapped")]
    Short {
        plane: usize,
        needed: usize,
        got: usize,
    },
    #[error("plane {plane} of the frame has stride {stride}, less than its width of {width} bytes")]
    Stride {
        plane: usize,
        stride: i32,
        width: usize,
    },
}

/// A read-only 8 bit plane, one byte a sample.
#[derive(Debug, Clone, Copy)]
pub struct PlaneRef<'a> {
    pub data: &'a [u8],
    pub stride: usize,
    pub width: usize,
    pub height: usize,
}

/// A writable 8 bit plane, one byte a sample.
#[derive(Debug)]
pub struct PlaneMut<'a> {
    pub data: &'a mut [u8],
    pub stride: usize,
    pub width: usize,
    pub height: usize,
}

impl<'a> PlaneRef<'a> {
    /// A plane without padding.
    pub fn packed(data: &'a [u8], width: usize, height: usize) -> Self {
        Self {
            data,
            stride: width,
            width,
            height,
        }
    }

    /// Row `y`, `width` bytes long.
    ///
    /// # Panics
    /// When `y` is outside the plane, as slice indexing does.
    pub fn row(&self, y: usize) -> &'a [u8] {
        let start = y * self.stride;
        &self.data[start..start + self.width]
    }
}

impl<'a> PlaneMut<'a> {
    /// A plane without padding.
    pub fn packed(data: &'a mut [u8], width: usize, height: usize) -> Self {
        Self {
            data,
            stride: width,
            width,
            height,
        }
    }

    /// Row `y`, `width` bytes long.
    ///
    /// # Panics
    /// When `y` is outside the plane, as slice indexing does.
    pub fn row(&self, y: usize) -> &[u8] {
        let start = y * self.stride;
        &self.data[start..start + self.width]
    }

    /// Row `y` for writing, `width` bytes long.
    ///
    /// # Panics
    /// When `y` is outside the plane, as slice indexing does.
    pub fn row_mut(&mut self, y: usize) -> &mut [u8] {
        let start = y * self.stride;
        &mut self.data[start..start + self.width]
    }

    /// The same plane for reading.
    pub fn as_ref(&self) -> PlaneRef<'_> {
        PlaneRef {
            data: self.data,
            stride: self.stride,
            width: self.width,
            height: self.height,
        }
    }
}

/// An owned 8 bit 4:2:0 picture with tightly packed planes.
///
/// Width and height may be odd: the chroma planes then are `(width + 1) / 2` by
/// `(height + 1) / 2`, as in GStreamer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Yuv420 {
    pub width: usize,
    pub height: usize,
    pub y: Vec<u8>,
    pub u: Vec<u8>,
    pub v: Vec<u8>,
}

/// Where the two chroma components of a frame lie.
enum Chroma {
    /// Own planes, by plane index.
    Planar { u: usize, v: usize },
    /// Interleaved in plane 1, U before V or the other way round.
    Interleaved { u_first: bool },
}

fn chroma_of(format: gst_video::VideoFormat) -> Result<Chroma, PixelError> {
    match format {
        gst_video::VideoFormat::I420 => Ok(Chroma::Planar { u: 1, v: 2 }),
        gst_video::VideoFormat::Yv12 => Ok(Chroma::Planar { u: 2, v: 1 }),
        gst_video::VideoFormat::Nv12 => Ok(Chroma::Interleaved { u_first: true }),
        gst_video::VideoFormat::Nv21 => Ok(Chroma::Interleaved { u_first: false }),
        other => Err(PixelError::Format {
            got: other.to_str().to_string(),
        }),
    }
}

/// Checks that `data` holds `height` rows of `width` bytes at `stride` and returns the stride.
fn check(
    plane: usize,
    data: &[u8],
    stride: i32,
    width: usize,
    height: usize,
) -> Result<usize, PixelError> {
    let bad_stride = PixelError::Stride {
        plane,
        stride,
        width,
    };
    let stride = usize::try_from(stride).map_err(|_| bad_stride.clone())?;
    if stride < width {
        return Err(bad_stride);
    }
    // The last row need not be padded.
    let needed = match height.checked_sub(1) {
        Some(full) => full * stride + width,
        None => 0,
    };
    if data.len() < needed {
        return Err(PixelError::Short {
            plane,
            needed,
            got: data.len(),
        });
    }
    Ok(stride)
}

fn mapped<'a>(
    frame: &'a gst_video::VideoFrameRef<&gst::BufferRef>,
    plane: usize,
    width: usize,
    height: usize,
) -> Result<PlaneRef<'a>, PixelError> {
    let stride = frame.plane_stride()[plane];
    let data = frame
        .plane_data(plane as u32)
        .map_err(|_| PixelError::Short {
            plane,
            needed: width * height,
            got: 0,
        })?;
    let stride = check(plane, data, stride, width, height)?;
    Ok(PlaneRef {
        data,
        stride,
        width,
        height,
    })
}

fn mapped_mut<'a>(
    frame: &'a mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    plane: usize,
    width: usize,
    height: usize,
) -> Result<PlaneMut<'a>, PixelError> {
    let stride = frame.plane_stride()[plane];
    let data = frame
        .plane_data_mut(plane as u32)
        .map_err(|_| PixelError::Short {
            plane,
            needed: width * height,
            got: 0,
        })?;
    let stride = check(plane, data, stride, width, height)?;
    Ok(PlaneMut {
        data,
        stride,
        width,
        height,
    })
}

fn pack(source: PlaneRef<'_>, target: &mut [u8]) {
    if source.stride == source.width {
        target.copy_from_slice(&source.data[..source.width * source.height]);
        return;
    }
    for (y, row) in target.chunks_exact_mut(source.width).enumerate() {
        row.copy_from_slice(source.row(y));
    }
}

fn unpack(source: &[u8], target: &mut PlaneMut<'_>) {
    if target.stride == target.width {
        target.data[..source.len()].copy_from_slice(source);
        return;
    }
    for (y, row) in source.chunks_exact(target.width).enumerate() {
        target.row_mut(y).copy_from_slice(row);
    }
}

impl Yuv420 {
    /// A picture of `width` x `height`, black (luma 0, chroma 128).
    pub fn new(width: usize, height: usize) -> Self {
        let chroma = width.div_ceil(2) * height.div_ceil(2);
        Self {
            width,
            height,
            y: vec![0; width * height],
            u: vec![128; chroma],
            v: vec![128; chroma],
        }
    }

    pub fn chroma_width(&self) -> usize {
        self.width.div_ceil(2)
    }

    pub fn chroma_height(&self) -> usize {
        self.height.div_ceil(2)
    }

    pub fn y_plane(&self) -> PlaneRef<'_> {
        PlaneRef::packed(&self.y, self.width, self.height)
    }

    pub fn u_plane(&self) -> PlaneRef<'_> {
        PlaneRef::packed(&self.u, self.chroma_width(), self.chroma_height())
    }

    pub fn v_plane(&self) -> PlaneRef<'_> {
        PlaneRef::packed(&self.v, self.chroma_width(), self.chroma_height())
    }

    fn check_size(&self, width: u32, height: u32) -> Result<(), PixelError> {
        let (got_width, got_height) = (width as usize, height as usize);
        if (got_width, got_height) != (self.width, self.height) {
            return Err(PixelError::Size {
                width: self.width,
                height: self.height,
                got_width,
                got_height,
            });
        }
        Ok(())
    }

    /// Copies a mapped frame (I420, YV12, NV12 or NV21, any stride) into this picture. The frame
    /// must have this picture's size.
    pub fn read_frame(
        &mut self,
        frame: &gst_video::VideoFrameRef<&gst::BufferRef>,
    ) -> Result<(), PixelError> {
        let chroma = chroma_of(frame.format())?;
        self.check_size(frame.width(), frame.height())?;
        let (cw, ch) = (self.chroma_width(), self.chroma_height());
        if cw == 0 || ch == 0 {
            return Ok(()); // nothing to copy, and rows of no bytes cannot be iterated
        }
        pack(mapped(frame, 0, self.width, self.height)?, &mut self.y);
        match chroma {
            Chroma::Planar { u, v } => {
                pack(mapped(frame, u, cw, ch)?, &mut self.u);
                pack(mapped(frame, v, cw, ch)?, &mut self.v);
            }
            Chroma::Interleaved { u_first } => {
                let plane = mapped(frame, 1, cw * 2, ch)?;
                // Fixed places in the pair, so that the loop is vectorised.
                let (first, second) = match u_first {
                    true => (&mut self.u, &mut self.v),
                    false => (&mut self.v, &mut self.u),
                };
                let rows = first.chunks_exact_mut(cw).zip(second.chunks_exact_mut(cw));
                for (y, (first, second)) in rows.enumerate() {
                    let pairs = plane.row(y).chunks_exact(2);
                    for ((pair, first), second) in pairs.zip(first).zip(second) {
                        *first = pair[0];
                        *second = pair[1];
                    }
                }
            }
        }
        Ok(())
    }

    /// Copies this picture into a mapped frame (I420, YV12, NV12 or NV21, any stride) of the same
    /// size.
    pub fn write_frame(
        &self,
        frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<(), PixelError> {
        let chroma = chroma_of(frame.format())?;
        self.check_size(frame.width(), frame.height())?;
        let (cw, ch) = (self.chroma_width(), self.chroma_height());
        if cw == 0 || ch == 0 {
            return Ok(());
        }
        unpack(&self.y, &mut mapped_mut(frame, 0, self.width, self.height)?);
        match chroma {
            Chroma::Planar { u, v } => {
                unpack(&self.u, &mut mapped_mut(frame, u, cw, ch)?);
                unpack(&self.v, &mut mapped_mut(frame, v, cw, ch)?);
            }
            Chroma::Interleaved { u_first } => {
                let mut plane = mapped_mut(frame, 1, cw * 2, ch)?;
                let (first, second) = match u_first {
                    true => (&self.u, &self.v),
                    false => (&self.v, &self.u),
                };
                let rows = first.chunks_exact(cw).zip(second.chunks_exact(cw));
                for (y, (first, second)) in rows.enumerate() {
                    let pairs = plane.row_mut(y).chunks_exact_mut(2);
                    for ((pair, first), second) in pairs.zip(first).zip(second) {
                        pair[0] = *first;
                        pair[1] = *second;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gst_video::VideoFormat;
    use proptest::prelude::*;

    use super::*;

    const FORMATS: [VideoFormat; 4] = [
        VideoFormat::I420,
        VideoFormat::Yv12,
        VideoFormat::Nv12,
        VideoFormat::Nv21,
    ];

    /// A buffer whose planes have `pad` more bytes a row than they need and `gap` bytes between
    /// them, as hardware and `VideoMeta` may have it.
    fn buffer(
        format: VideoFormat,
        width: usize,
        height: usize,
        pad: usize,
        gap: usize,
    ) -> (gst_video::VideoInfo, gst::Buffer) {
        gst::init().unwrap();
        let info = gst_video::VideoInfo::builder(format, width as u32, height as u32)
            .build()
            .unwrap();
        let (cw, ch) = (width.div_ceil(2), height.div_ceil(2));
        let planes: &[(usize, usize)] = match format {
            VideoFormat::I420 | VideoFormat::Yv12 => &[(width, height), (cw, ch), (cw, ch)],
            _ => &[(width, height), (cw * 2, ch)],
        };
        let (mut offsets, mut strides, mut size) = (Vec::new(), Vec::new(), gap);
        for (width, height) in planes {
            offsets.push(size);
            strides.push((width + pad) as i32);
            size += (width + pad) * height + gap;
        }
        let mut buffer = gst::Buffer::from_mut_slice(vec![0xa5u8; size]);
        gst_video::VideoMeta::add_full(
            buffer.get_mut().unwrap(),
            gst_video::VideoFrameFlags::empty(),
            format,
            width as u32,
            height as u32,
            &offsets,
            &strides,
        )
        .unwrap();
        (info, buffer)
    }

    fn picture(width: usize, height: usize, seed: u8) -> Yuv420 {
        let mut picture = Yuv420::new(width, height);
        let planes = [&mut picture.y, &mut picture.u, &mut picture.v];
        for (plane, data) in planes.into_iter().enumerate() {
            for (i, value) in data.iter_mut().enumerate() {
                *value = (i * 31 + plane * 85) as u8 ^ seed;
            }
        }
        picture
    }

    proptest! {
        /// Written with one layout and read with the same: nothing changes, and nothing outside
        /// the planes is touched.
        #[test]
        fn round_trip(
            format in prop::sample::select(&FORMATS[..]),
            width in 1usize..70,
            height in 1usize..40,
            pad in 0usize..20,
            gap in 0usize..9,
            seed: u8,
        ) {
            let (info, mut buffer) = buffer(format, width, height, pad, gap);
            let original = picture(width, height, seed);
            {
                let buffer = buffer.get_mut().unwrap();
                let mut frame =
                    gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, &info).unwrap();
                original.write_frame(&mut frame).unwrap();
            }
            let frame =
                gst_video::VideoFrameRef::from_buffer_ref_readable(&buffer, &info).unwrap();
            let mut copy = Yuv420::new(width, height);
            copy.read_frame(&frame).unwrap();
            prop_assert_eq!(&copy, &original);
            drop(frame);
            let map = buffer.map_readable().unwrap();
            let untouched = map[..gap].iter().chain(&map[map.len() - gap..]);
            prop_assert!(untouched.copied().all(|byte| byte == 0xa5));
        }

    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))] // each builds a pipeline

        /// Every format holds the same picture: what is written in one and converted by GStreamer's
        /// own converter is read in the other.
        #[test]
        fn formats_agree_with_gstreamers_converter(
            from in prop::sample::select(&FORMATS[..]),
            to in prop::sample::select(&FORMATS[..]),
            half_width in 1usize..20,
            half_height in 1usize..20,
            seed: u8,
        ) {
            let (width, height) = (half_width * 2, half_height * 2);
            let original = picture(width, height, seed);
            let (info, mut source) = buffer(from, width, height, 3, 0);
            {
                let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(
                    source.get_mut().unwrap(),
                    &info,
                )
                .unwrap();
                original.write_frame(&mut frame).unwrap();
            }
            let caps = gst_video::VideoInfo::builder(to, width as u32, height as u32)
                .build()
                .unwrap()
                .to_caps()
                .unwrap();
            let sample = gst::Sample::builder()
                .buffer(&source)
                .caps(&info.to_caps().unwrap())
                .build();
            let converted =
                gst_video::convert_sample(&sample, &caps, Some(gst::ClockTime::from_seconds(20))).unwrap();
            let info = gst_video::VideoInfo::from_caps(converted.caps().unwrap()).unwrap();
            let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(
                converted.buffer().unwrap(),
                &info,
            )
            .unwrap();
            let mut copy = Yuv420::new(width, height);
            copy.read_frame(&frame).unwrap();
            prop_assert_eq!(&copy, &original);
        }
    }

    #[test]
    fn other_formats_and_sizes_are_refused_with_a_reason() {
        let (info, buffer) = buffer(VideoFormat::I420, 8, 6, 0, 0);
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(&buffer, &info).unwrap();
        let err = Yuv420::new(8, 8).read_frame(&frame).unwrap_err();
        assert!(err.to_string().contains("8x6") && err.to_string().contains("8x8"));

        let info = gst_video::VideoInfo::builder(VideoFormat::Rgb, 8, 6)
            .build()
            .unwrap();
        let buffer = gst::Buffer::with_size(info.size()).unwrap();
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(&buffer, &info).unwrap();
        let err = Yuv420::new(8, 6).read_frame(&frame).unwrap_err();
        assert!(err.to_string().contains("RGB") && err.to_string().contains("NV12"));
    }

    #[test]
    fn a_stride_below_the_width_is_an_error() {
        assert_eq!(
            check(1, &[0; 100], 7, 8, 2),
            Err(PixelError::Stride {
                plane: 1,
                stride: 7,
                width: 8
            })
        );
        assert!(check(0, &[0; 100], -8, 8, 2).is_err());
        assert_eq!(
            check(0, &[0; 17], 10, 8, 2),
            Err(PixelError::Short {
                plane: 0,
                needed: 18,
                got: 17
            })
        );
        assert_eq!(check(0, &[0; 18], 10, 8, 2), Ok(10));
    }
}
