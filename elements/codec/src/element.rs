// SPDX-License-Identifier: Apache-2.0
//! What the encoder's and the decoder's elements share.

use crate::bitstream::{self, Chroma, Color, Light, SequenceHeader, Tier};
use crate::coder::{CodecError, LossReport};
use aivideo_core::deep::Yuv420Deep;
use aivideo_core::pixels::{PixelError, Yuv420};
use gst::subclass::prelude::*;
use gst_video::VideoFormat;

/// Formats of pictures that are coded, by depth.
const EIGHT: [VideoFormat; 2] = [VideoFormat::I420, VideoFormat::Nv12];
const TEN: [VideoFormat; 2] = [VideoFormat::I42010le, VideoFormat::P01010le];

/// The formats of a stream of 8 or 10 bits, best first.
pub fn formats(bits: u8) -> [VideoFormat; 2] {
    match bits {
        10 => TEN,
        _ => EIGHT,
    }
}

/// All of them.
pub fn all_formats() -> impl IntoIterator<Item = VideoFormat> {
    EIGHT.into_iter().chain(TEN)
}

/// A picture on its way between a mapped frame and the coder.
#[derive(Debug)]
pub enum AnyPicture {
    Eight(Yuv420),
    Ten(Yuv420Deep),
}

impl AnyPicture {
    pub fn new(bits: u8, width: usize, height: usize) -> Self {
        match bits {
            10 => Self::Ten(Yuv420Deep::new(width, height)),
            _ => Self::Eight(Yuv420::new(width, height)),
        }
    }

    pub fn write_frame(
        &self,
        frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<(), PixelError> {
        match self {
            Self::Eight(picture) => picture.write_frame(frame),
            Self::Ten(picture) => picture.write_frame(frame),
        }
    }
}

/// Caps of the coded stream in one form, for a pad's template.
pub fn coded_caps(format: &str) -> gst::Caps {
    gst::Caps::builder("video/x-aicodec")
        .field("stream-format", format)
        .field("alignment", "au")
        .build()
}

/// The message for an error, with the domain that applications expect.
pub fn message(error: &CodecError) -> gst::ErrorMessage {
    match error {
        CodecError::Engine(error) => error.to_error_message(),
        CodecError::DepthModel { .. } => gst::error_msg!(gst::ResourceError::NotFound, ("{error}")),
        CodecError::ModelFile { .. } => gst::error_msg!(gst::ResourceError::NotFound, ("{error}")),
        CodecError::Tables { .. } | CodecError::ModelShape { .. } | CodecError::Device(_) => {
            gst::error_msg!(gst::ResourceError::Failed, ("{error}"))
        }
        CodecError::ModelMismatch { .. } | CodecError::TablesMismatch { .. } => {
            gst::error_msg!(gst::StreamError::WrongType, ("{error}"))
        }
        CodecError::Size(..) | CodecError::PictureSize { .. } | CodecError::PictureDepth { .. } => {
            gst::error_msg!(gst::StreamError::Format, ("{error}"))
        }
        CodecError::Unsupported(_) | CodecError::Depth(_) => {
            gst::error_msg!(gst::StreamError::NotImplemented, ("{error}"))
        }
        CodecError::Bitstream(_) | CodecError::Lost { .. } | CodecError::NeedsKey => {
            gst::error_msg!(gst::StreamError::Decode, ("{error}"))
        }
    }
}

/// Posts an error.
pub fn post<T: ElementImpl>(element: &T, error: &CodecError)
where
    T::Type: glib::object::IsA<gst::Element>,
{
    element.post_error_message(message(error));
}

/// Describes a stream of such pictures. The model's hashes are filled in by the encoder.
pub fn sequence_from_info(
    info: &gst_video::VideoInfo,
    caps: Option<&gst::CapsRef>,
    tile_rows_64: u8,
) -> Result<SequenceHeader, CodecError> {
    let (width, height) = (info.width(), info.height());
    let too_large = |_| CodecError::Size(width as usize, height as usize);
    let fraction = |f: gst::Fraction| {
        let (n, d) = (f.numer(), f.denom());
        (u32::try_from(n).unwrap_or(0), u32::try_from(d).unwrap_or(1))
    };
    let (fps_n, fps_d) = fraction(info.fps());
    let (par_n, par_d) = fraction(info.par());
    // A ratio that needs more than 16 bits is as good as square: no display has it.
    let (par_n, par_d) = match (u16::try_from(par_n), u16::try_from(par_d)) {
        (Ok(n), Ok(d)) if n > 0 && d > 0 => (n, d),
        _ => (1, 1),
    };
    Ok(SequenceHeader {
        version: bitstream::VERSION,
        tier: Tier::S,
        model_id: [0; 8],
        tables_id: [0; 8],
        width: u16::try_from(width).map_err(too_large)?,
        height: u16::try_from(height).map_err(too_large)?,
        bit_depth: info.comp_depth(0) as u8,
        chroma: Chroma::I420,
        color: Color::from_colorimetry(&info.colorimetry()),
        light: caps.map_or(Light::default(), Light::from_caps),
        fps_n,
        fps_d,
        par_n,
        par_d,
        tile_rows_64,
    })
}

/// The output's description: what was negotiated, with the stream's own colours.
pub fn info_from_sequence(
    info: &gst_video::VideoInfo,
    sequence: &SequenceHeader,
) -> Result<gst_video::VideoInfo, glib::BoolError> {
    if sequence.color == Color::default() {
        return Ok(info.clone());
    }
    gst_video::VideoInfo::builder(info.format(), info.width(), info.height())
        .fps(info.fps())
        .par(info.par())
        .chroma_site(info.chroma_site())
        .colorimetry(&sequence.color.to_colorimetry())
        .build()
}

/// Fields that the decoder adds to its requests. They say more than RTCP can carry.
const LAST_FRAME: &str = "last-frame";
const HELD_FRAME: &str = "held-frame";

/// Asks the encoder for a key frame (`all_headers`), or for a frame that helps after a loss.
pub fn request(report: &LossReport, all_headers: bool) -> gst::Event {
    let mut event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(all_headers);
    if let Some(last) = report.last {
        event = event.other_field(LAST_FRAME, u32::from(last));
    }
    if let Some(held) = report.held.flatten() {
        event = event.other_field(HELD_FRAME, u32::from(held));
    }
    event.build()
}

/// What an event says of a loss; `None` where it wants a key frame, or is another event.
pub fn loss_report(event: &gst::EventRef) -> Option<LossReport> {
    let request = gst_video::UpstreamForceKeyUnitEvent::parse(event).ok()?;
    if request.all_headers || request.running_time.is_some() {
        return None;
    }
    let number = |name: &str| {
        let field = event.structure()?.get::<u32>(name).ok()?;
        u16::try_from(field).ok()
    };
    let last = number(LAST_FRAME);
    Some(LossReport {
        last,
        held: last.map(|_| number(HELD_FRAME)),
    })
}
