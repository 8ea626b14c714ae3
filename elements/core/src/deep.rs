// SPDX-License-Identifier: Apache-2.0
//! 4:2:0 pictures of ten bits, as GStreamer's I420_10LE and P010_10LE.

use crate::pixels::PixelError;
use gst_video::{VideoFormat, prelude::*};

/// An owned 10-bit 4:2:0 picture with tightly packed planes; samples are 0 to 1023.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Yuv420Deep {
    pub width: usize,
    pub height: usize,
    pub y: Vec<u16>,
    pub u: Vec<u16>,
    pub v: Vec<u16>,
}

/// Where the samples of a format lie.
#[derive(Clone, Copy)]
struct Layout {
    /// U and V share plane 1.
    interleaved: bool,
    /// Bits below the sample: P010 keeps it in the upper ten of sixteen.
    shift: u32,
}

fn layout(format: VideoFormat) -> Result<Layout, PixelError> {
    match format {
        VideoFormat::I42010le => Ok(Layout {
            interleaved: false,
            shift: 0,
        }),
        VideoFormat::P01010le => Ok(Layout {
            interleaved: true,
            shift: 6,
        }),
        other => Err(PixelError::Format {
            got: other.to_str().to_string(),
        }),
    }
}

/// Byte length of a row and number of rows of a plane, checked against what is mapped.
fn check(
    plane: usize,
    len: usize,
    stride: i32,
    width: usize,
    height: usize,
) -> Result<usize, PixelError> {
    let bad = PixelError::Stride {
        plane,
        stride,
        width,
    };
    let stride = usize::try_from(stride).map_err(|_| bad.clone())?;
    if stride < width {
        return Err(bad);
    }
    let needed = height
        .checked_sub(1)
        .map_or(0, |full| full * stride + width);
    if len < needed {
        return Err(PixelError::Short {
            plane,
            needed,
            got: len,
        });
    }
    Ok(stride)
}

fn sample(bytes: &[u8], shift: u32) -> u16 {
    (u16::from_le_bytes([bytes[0], bytes[1]]) >> shift).min(1023)
}

impl Yuv420Deep {
    /// A picture of `width` x `height`, luma 0 and chroma 512.
    pub fn new(width: usize, height: usize) -> Self {
        let chroma = width.div_ceil(2) * height.div_ceil(2);
        Self {
            width,
            height,
            y: vec![0; width * height],
            u: vec![512; chroma],
            v: vec![512; chroma],
        }
    }

    pub fn chroma_width(&self) -> usize {
        self.width.div_ceil(2)
    }

    pub fn chroma_height(&self) -> usize {
        self.height.div_ceil(2)
    }

    /// Reads a mapped frame.
    pub fn read_frame(
        &mut self,
        frame: &gst_video::VideoFrameRef<&gst::BufferRef>,
    ) -> Result<(), PixelError> {
        let Layout { interleaved, shift } = layout(frame.format())?;
        let (w, h) = (frame.width() as usize, frame.height() as usize);
        if (w, h) != (self.width, self.height) {
            *self = Self::new(w, h);
        }
        let (cw, ch) = (self.chroma_width(), self.chroma_height());
        let plane = |index: usize, bytes: usize, rows: usize| {
            let data = frame
                .plane_data(index as u32)
                .map_err(|_| PixelError::Short {
                    plane: index,
                    needed: bytes * rows,
                    got: 0,
                })?;
            let stride = check(index, data.len(), frame.plane_stride()[index], bytes, rows)?;
            Ok::<_, PixelError>(data.chunks(stride).take(rows))
        };
        let pack = |target: &mut [u16],
                    width: usize,
                    rows: std::iter::Take<std::slice::Chunks<'_, u8>>| {
            for (out, row) in target.chunks_exact_mut(width.max(1)).zip(rows) {
                for (out, bytes) in out.iter_mut().zip(row.chunks_exact(2)) {
                    *out = sample(bytes, shift);
                }
            }
        };
        pack(&mut self.y, w, plane(0, 2 * w, h)?);
        if interleaved {
            let rows = plane(1, 4 * cw, ch)?;
            let both = self
                .u
                .chunks_exact_mut(cw.max(1))
                .zip(self.v.chunks_exact_mut(cw.max(1)));
            for ((u, v), row) in both.zip(rows) {
                for ((u, v), bytes) in u.iter_mut().zip(v).zip(row.chunks_exact(4)) {
                    *u = sample(&bytes[..2], shift);
                    *v = sample(&bytes[2..], shift);
                }
            }
        } else {
            pack(&mut self.u, cw, plane(1, 2 * cw, ch)?);
            pack(&mut self.v, cw, plane(2, 2 * cw, ch)?);
        }
        Ok(())
    }

    /// Writes into a mapped frame of the same size.
    pub fn write_frame(
        &self,
        frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<(), PixelError> {
        let Layout { interleaved, shift } = layout(frame.format())?;
        let got = (frame.width() as usize, frame.height() as usize);
        if got != (self.width, self.height) {
            return Err(PixelError::Size {
                width: self.width,
                height: self.height,
                got_width: got.0,
                got_height: got.1,
            });
        }
        let (w, h) = got;
        let (cw, ch) = (self.chroma_width(), self.chroma_height());
        let strides = frame.plane_stride().to_vec();
        let mut plane =
            |index: usize, bytes: usize, rows: usize, fill: &dyn Fn(usize, &mut [u8])| {
                let data = frame
                    .plane_data_mut(index as u32)
                    .map_err(|_| PixelError::Short {
                        plane: index,
                        needed: bytes * rows,
                        got: 0,
                    })?;
                let stride = check(index, data.len(), strides[index], bytes, rows)?;
                for (y, row) in data.chunks_mut(stride).take(rows).enumerate() {
                    fill(y, &mut row[..bytes]);
                }
                Ok::<_, PixelError>(())
            };
        let one = |source: &[u16], width: usize, y: usize, row: &mut [u8]| {
            for (bytes, v) in row.chunks_exact_mut(2).zip(&source[y * width..][..width]) {
                bytes.copy_from_slice(&(v << shift).to_le_bytes());
            }
        };
        plane(0, 2 * w, h, &|y, row| one(&self.y, w, y, row))?;
        if interleaved {
            plane(1, 4 * cw, ch, &|y, row| {
                let (u, v) = (&self.u[y * cw..][..cw], &self.v[y * cw..][..cw]);
                for ((bytes, u), v) in row.chunks_exact_mut(4).zip(u).zip(v) {
                    bytes[..2].copy_from_slice(&(u << shift).to_le_bytes());
                    bytes[2..].copy_from_slice(&(v << shift).to_le_bytes());
                }
            })
        } else {
            plane(1, 2 * cw, ch, &|y, row| one(&self.u, cw, y, row))?;
            plane(2, 2 * cw, ch, &|y, row| one(&self.v, cw, y, row))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_hold_the_same_picture() {
        gst::init().expect("GStreamer");
        for (w, h) in [(1, 1), (6, 4), (7, 5)] {
            let mut picture = Yuv420Deep::new(w, h);
            let mut next = 0u16;
            for plane in [&mut picture.y, &mut picture.u, &mut picture.v] {
                for v in plane {
                    next = (next * 5 + 77) % 1024;
                    *v = next;
                }
            }
            for format in [VideoFormat::I42010le, VideoFormat::P01010le] {
                let info = gst_video::VideoInfo::builder(format, w as u32, h as u32)
                    .build()
                    .expect("a format");
                let mut buffer = gst::Buffer::with_size(info.size()).expect("memory");
                {
                    let buffer = buffer.get_mut().expect("ours");
                    let mut frame =
                        gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, &info)
                            .expect("mapped");
                    picture.write_frame(&mut frame).expect("written");
                }
                let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(&buffer, &info)
                    .expect("mapped");
                let mut back = Yuv420Deep::default();
                back.read_frame(&frame).expect("read");
                assert_eq!(back, picture, "{format:?} {w}x{h}");
            }
        }
    }

    #[test]
    fn other_formats_are_refused() {
        assert!(layout(VideoFormat::I420).is_err());
    }
}
