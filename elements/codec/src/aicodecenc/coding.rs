// SPDX-License-Identifier: Apache-2.0
//! The encoder of a stream, of either depth, and the way of its frames into it.

use super::writer::Note;
use crate::bitstream::SequenceHeader;
use crate::coder::rated::Control;
use crate::coder::{
    Begun, CodecError, Depth, EncodeNet, Encoded, Encoder, EncoderSettings, Lesson, LossReport,
    Prepared, Unwritten,
};
use crate::element::message;
use aivideo_core::cuda::{Access, CudaError, Frames, Place};
use aivideo_core::deep::Yuv420Deep;
use aivideo_core::engine::Engine;
use aivideo_core::pixels::{PixelError, Yuv420};

/// An encoder and the picture that it is given from the host's memory, of either depth.
pub enum Coding {
    Eight(Box<Encoder<u8>>, Yuv420),
    Ten(Box<Encoder<u16>>, Yuv420Deep),
}

/// A frame whose making was started.
pub enum Started {
    Eight(Begun<u8>),
    Ten(Begun<u16>),
}

/// Where a frame lies.
pub struct Input<'a> {
    pub buffer: &'a mut gst::Buffer,
    pub info: &'a gst_video::VideoInfo,
    pub way: &'a mut Way,
}

/// Where the frames of a format come from.
pub enum Way {
    Host,
    /// The memory of the GPU whose stream the network at work has.
    Device(Frames, Place),
}

/// What is decided about a frame beside its picture.
pub struct Wish<'a> {
    pub control: Control<'a>,
    /// A key frame was asked for.
    pub forced: bool,
    /// Bytes around the frame.
    pub framing: usize,
}

/// Runs `$body` with the encoder inside, whatever its depth.
macro_rules! any {
    ($coding:expr, $encoder:ident => $body:expr) => {
        match $coding {
            Coding::Eight($encoder, _) => $body,
            Coding::Ten($encoder, _) => $body,
        }
    };
}

impl Coding {
    pub fn new(
        net: EncodeNet,
        sequence: SequenceHeader,
        choices: EncoderSettings,
        on_gpu: bool,
    ) -> Result<Self, CodecError> {
        fn encoder<S: Depth>(
            net: EncodeNet,
            sequence: SequenceHeader,
            choices: EncoderSettings,
            on_gpu: bool,
        ) -> Result<Box<Encoder<S>>, CodecError> {
            let encoder = match on_gpu {
                true => Encoder::on_gpu(net, sequence, choices),
                false => Encoder::new(net, sequence, choices),
            };
            encoder.map(Box::new)
        }
        let size = (usize::from(sequence.width), usize::from(sequence.height));
        Ok(match sequence.bit_depth {
            10 => Self::Ten(
                encoder(net, sequence, choices, on_gpu)?,
                Yuv420Deep::new(size.0, size.1),
            ),
            _ => Self::Eight(
                encoder(net, sequence, choices, on_gpu)?,
                Yuv420::new(size.0, size.1),
            ),
        })
    }

    pub fn sequence(&self) -> SequenceHeader {
        any!(self, encoder => encoder.sequence().clone())
    }

    pub fn coded_pixels(&self) -> usize {
        any!(self, encoder => encoder.coded_pixels())
    }

    pub fn device_engine(&self) -> Option<Engine> {
        any!(self, encoder => encoder.device_engine().cloned())
    }

    pub fn restart(&mut self) {
        any!(self, encoder => encoder.restart());
    }

    pub fn report_loss(&mut self, report: LossReport) {
        any!(self, encoder => encoder.report_loss(report));
    }

    pub fn learn(&mut self, lesson: Lesson) {
        any!(self, encoder => encoder.learn(lesson));
    }

    /// Codes a frame.
    pub fn encode(
        &mut self,
        input: Input<'_>,
        wish: &mut Wish<'_>,
    ) -> Result<Encoded, gst::ErrorMessage> {
        let framing = wish.framing;
        let coded = match self {
            Self::Eight(encoder, picture) => {
                let (prepared, quality) = prepare(encoder, picture, input, wish)?;
                wish.control.encode(encoder, prepared, quality, framing)
            }
            Self::Ten(encoder, picture) => {
                let (prepared, quality) = prepare(encoder, picture, input, wish)?;
                wish.control.encode(encoder, prepared, quality, framing)
            }
        };
        coded.map_err(|error| message(&error))
    }

    /// Starts a frame's making.
    pub fn begin(
        &mut self,
        input: Input<'_>,
        wish: &mut Wish<'_>,
    ) -> Result<(Started, Note), gst::ErrorMessage> {
        let failed = |error: CodecError| message(&error);
        Ok(match self {
            Self::Eight(encoder, picture) => {
                let (prepared, quality) = prepare(encoder, picture, input, wish)?;
                let begun = wish.control.begin(encoder, prepared, quality);
                let (begun, kind) = begun.map_err(failed)?;
                (Started::Eight(begun), Note { kind, quality })
            }
            Self::Ten(encoder, picture) => {
                let (prepared, quality) = prepare(encoder, picture, input, wish)?;
                let begun = wish.control.begin(encoder, prepared, quality);
                let (begun, kind) = begun.map_err(failed)?;
                (Started::Ten(begun), Note { kind, quality })
            }
        })
    }

    /// Waits for it.
    pub fn end(&mut self, started: Started) -> Result<Unwritten, gst::ErrorMessage> {
        match (self, started) {
            (Self::Eight(encoder, _), Started::Eight(begun)) => encoder.end(begun),
            (Self::Ten(encoder, _), Started::Ten(begun)) => encoder.end(begun),
            _ => Err(CodecError::Device(
                "the depth of the stream changed within a frame".to_owned(),
            )),
        }
        .map_err(|error| message(&error))
    }
}

/// A picture that frames of the host's memory are read into.
trait Readable<S: Depth> {
    fn read(
        &mut self,
        frame: &gst_video::VideoFrameRef<&gst::BufferRef>,
    ) -> Result<crate::coder::Planes<'_, S>, PixelError>;
}

macro_rules! readable {
    ($picture:ty, $sample:ty) => {
        impl Readable<$sample> for $picture {
            fn read(
                &mut self,
                frame: &gst_video::VideoFrameRef<&gst::BufferRef>,
            ) -> Result<crate::coder::Planes<'_, $sample>, PixelError> {
                self.read_frame(frame)?;
                Ok((&*self).into())
            }
        }
    };
}

readable!(Yuv420, u8);
readable!(Yuv420Deep, u16);

fn prepare<S: Depth>(
    encoder: &mut Encoder<S>,
    picture: &mut impl Readable<S>,
    input: Input<'_>,
    wish: &mut Wish<'_>,
) -> Result<(Prepared, i8), gst::ErrorMessage> {
    let Input { buffer, info, way } = input;
    if let Way::Device(frames, place) = way {
        // The buffer's description is copied where others hold it, not its memory.
        let buffer = buffer.make_mut();
        return prepare_on_device(encoder, (frames, buffer, info, *place), wish);
    }
    let mapped =
        gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).map_err(|_| {
            gst::error_msg!(gst::ResourceError::Read, ("a frame that cannot be mapped"))
        })?;
    let planes = (picture.read(&mapped))
        .map_err(|error| gst::error_msg!(gst::StreamError::Format, ("{error}")))?;
    let prepared = (wish.control).prepare(encoder, wish.forced, |encoder, quality, key| {
        encoder.prepare(planes, quality, key)
    });
    prepared.map_err(|error| message(&error))
}

/// The same for a frame in the GPU's memory, which nobody needs any more when this returns.
#[allow(unsafe_code)] // the GPU reads the frame's memory
fn prepare_on_device<S: Depth>(
    encoder: &mut Encoder<S>,
    (frames, buffer, info, place): (
        &mut Frames,
        &mut gst::BufferRef,
        &gst_video::VideoInfo,
        Place,
    ),
    wish: &mut Wish<'_>,
) -> Result<(Prepared, i8), gst::ErrorMessage> {
    let unreadable =
        |error: CudaError| gst::error_msg!(gst::ResourceError::Read, ("a frame: {error}"));
    let frame = frames
        .map(buffer, info, place, Access::Read)
        .map_err(unreadable)?;
    let picture = frame.picture(info).ok_or_else(|| {
        let format = info.format().to_str();
        gst::error_msg!(
            gst::StreamError::Format,
            ("no frames of {format} can be read")
        )
    })?;
    let prepared = (wish.control).prepare(encoder, wish.forced, |encoder, quality, key| {
        // SAFETY: the frame is mapped for the stream of the network at work until that was waited for, by
        // `finish` or by dropping it.
        unsafe { encoder.prepare_frame(&picture, quality, key) }
    });
    let prepared = prepared.map_err(|error| message(&error))?;
    frame.finish().map_err(unreadable)?;
    Ok(prepared)
}
