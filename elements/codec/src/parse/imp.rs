// SPDX-License-Identifier: Apache-2.0
use super::index::Index;
use super::unit::{self, Found, Reason, Step};
use crate::bitstream::SequenceHeader;
use crate::bitstream::byte_stream::write_unit;
use crate::bitstream::caps::{self, StreamFormat};
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "aicodecparse",
        gst::DebugColorFlags::empty(),
        Some("Parser of the neural codec's streams"),
    )
});

/// Shorter than any unit, so that nothing waits for more than it needs.
const SHORTEST: u32 = 1;
/// How long the making of the index may delay the first frame.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
struct State {
    /// The input's form; unknown is taken for a byte stream.
    input: Option<StreamFormat>,
    output: Option<StreamFormat>,
    /// The newest description of the stream.
    sequence: Option<SequenceHeader>,
    /// The caps that were sent have to be made anew.
    renegotiate: bool,
    /// Made for files when the first frame has come.
    index: Option<Index>,
    /// What the unit in work says of its time.
    pts: Option<gst::ClockTime>,
    /// The unit that is cut off has been reported.
    cut_reported: bool,
}

#[derive(Default)]
pub struct AiCodecParse {
    state: Mutex<State>,
}

#[glib::object_subclass]
impl ObjectSubclass for AiCodecParse {
    const NAME: &'static str = "GstAiCodecParse";
    type Type = super::AiCodecParse;
    type ParentType = gst_base::BaseParse;
}

impl ObjectImpl for AiCodecParse {}

impl GstObjectImpl for AiCodecParse {}

impl ElementImpl for AiCodecParse {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Neural video parser",
                // `Converter` tells decodebin that downstream's caps choose the form.
                "Codec/Parser/Converter/Video",
                "Splits streams of aicodecenc into access units",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let sink = gst::Caps::new_empty_simple(caps::NAME);
            // Byte stream first: what takes anything, as a file does, gets what plays by itself.
            let mut src = gst::Caps::new_empty();
            for format in [StreamFormat::ByteStream, StreamFormat::Frame] {
                let caps = gst::Caps::builder(caps::NAME)
                    .field("stream-format", format.name())
                    .field("alignment", "au")
                    .field("parsed", true)
                    .build();
                src.merge(caps);
            }
            use gst::{PadDirection, PadPresence, PadTemplate};
            vec![
                PadTemplate::new("sink", PadDirection::Sink, PadPresence::Always, &sink)
                    .expect("a valid template"),
                PadTemplate::new("src", PadDirection::Src, PadPresence::Always, &src)
                    .expect("a valid template"),
            ]
        });
        &TEMPLATES
    }
}

impl AiCodecParse {
    /// A poisoned lock means that another thread panicked while it only replaced plain values.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The form that downstream wants: the first it allows, in its own order.
    fn choose_output(&self) -> Result<StreamFormat, gst::FlowError> {
        let obj = self.obj();
        let pad = obj.src_pad();
        let wanted = pad.peer_query_caps(None);
        let possible = pad.pad_template_caps();
        let allowed = wanted.intersect_with_mode(&possible, gst::CapsIntersectMode::First);
        if allowed.is_empty() {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ("downstream takes neither form of this stream: it must accept video/x-aicodec")
            );
            return Err(gst::FlowError::NotNegotiated);
        }
        let mut first = allowed;
        first.truncate();
        first.fixate();
        let format = first.structure(0).and_then(StreamFormat::from_structure);
        Ok(format.unwrap_or(StreamFormat::Frame))
    }

    /// Sends caps where the stream's description or downstream's wish changed.
    fn negotiate(&self) -> Result<StreamFormat, gst::FlowError> {
        let obj = self.obj();
        let reconfigure = obj.src_pad().check_reconfigure();
        let (known, sequence) = {
            let mut state = self.state();
            let known = state.output.filter(|_| !state.renegotiate && !reconfigure);
            state.renegotiate = false;
            (known, state.sequence.clone())
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let sequence = sequence.ok_or(gst::FlowError::NotNegotiated)?;
        let output = self.choose_output()?;
        let caps = caps::sequence_header_to_caps(&sequence, output);
        if obj.src_pad().current_caps().as_ref() != Some(&caps) {
            gst::debug!(CAT, imp = self, "giving {caps}");
            if sequence.fps_n > 0 {
                // Bounded by the header's reader.
                let (n, d) = (sequence.fps_n as i32, sequence.fps_d as i32);
                obj.set_frame_rate(gst::Fraction::new(n, d), 0, 0);
            }
            let mut tags = gst::TagList::new();
            let name = format!("Neural video, tier {}", sequence.tier.name().to_uppercase());
            let append = gst::TagMergeMode::Append;
            tags.make_mut()
                .add::<gst::tags::VideoCodec>(&name.as_str(), append);
            obj.merge_tags(Some(&tags), gst::TagMergeMode::Replace);
            if !obj.src_pad().push_event(gst::event::Caps::new(&caps)) {
                gst::debug!(CAT, imp = self, "downstream refuses {caps}");
            }
        }
        self.state().output = Some(output);
        Ok(output)
    }

    /// Indexes a file that can be read at any place.
    fn make_index(&self) {
        let obj = self.obj();
        let pad = obj.sink_pad();
        if self.state().index.is_some() || pad.mode() != gst::PadMode::Pull {
            return;
        }
        let size = pad.peer_query_duration::<gst::format::Bytes>();
        let size = size.map_or(0, |size| *size);
        let read = |offset: u64, length: usize| {
            let length = u32::try_from((size - offset.min(size)).min(length as u64)).ok()?;
            let buffer = pad.pull_range(offset, length).ok()?;
            buffer.into_mapped_buffer_readable().ok()
        };
        let start = Instant::now();
        let index = Index::build(size, read, || start.elapsed() < PATIENCE);
        gst::debug!(
            CAT,
            imp = self,
            "{} key frames in {size} bytes, until {:?}, all seen: {}, in {:?}",
            index.keys.len(),
            index.end.map(gst::ClockTime::from_nseconds),
            index.complete,
            start.elapsed()
        );
        for key in &index.keys {
            let pts = gst::ClockTime::from_nseconds(key.pts);
            obj.add_index_entry(key.offset, pts, true, true);
        }
        if let Some(end) = index.end {
            obj.set_duration(gst::ClockTime::from_nseconds(end), 0);
        }
        self.state().index = Some(index);
    }

    /// Posts once that the input ends inside of a unit.
    fn report_cut(&self) {
        if !std::mem::replace(&mut self.state().cut_reported, true) {
            gst::element_imp_warning!(
                self,
                gst::StreamError::Decode,
                ("the stream ends inside of an access unit: the file is truncated")
            );
        }
    }

    fn finish(
        &self,
        mut frame: gst_base::BaseParseFrame<'_>,
        found: Found,
        input: StreamFormat,
        consumed: usize,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        {
            let mut state = self.state();
            if found.sequence.is_some() && found.sequence != state.sequence {
                state.sequence = found.sequence;
                state.renegotiate = true;
            }
        }
        let output = self.negotiate()?;
        let key = found.header.is_key();
        let buffer = frame.buffer_mut().ok_or(gst::FlowError::Error)?;
        if input == StreamFormat::ByteStream {
            let pts = found.pts.map(gst::ClockTime::from_nseconds);
            buffer.set_pts(pts);
            buffer.set_duration(found.duration.map(gst::ClockTime::from_nseconds));
            self.state().pts = pts;
        }
        if key {
            buffer.unset_flags(gst::BufferFlags::DELTA_UNIT);
        } else {
            buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        if !found.whole {
            buffer.set_flags(gst::BufferFlags::CORRUPTED);
        }
        let payload = found.payload.clone();
        let mut out = match (input, output) {
            (StreamFormat::Frame, StreamFormat::Frame)
            | (StreamFormat::ByteStream, StreamFormat::ByteStream) => None,
            (StreamFormat::ByteStream, StreamFormat::Frame) => {
                let flags = gst::BufferCopyFlags::MEMORY;
                let region = buffer.copy_region(flags, payload);
                Some(region.map_err(|_| gst::FlowError::Error)?)
            }
            (StreamFormat::Frame, StreamFormat::ByteStream) => {
                let data = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
                let time = |time: Option<gst::ClockTime>| time.map(gst::ClockTime::nseconds);
                let duration = time(buffer.duration()).or_else(|| {
                    let state = self.state();
                    state
                        .sequence
                        .as_ref()
                        .and_then(SequenceHeader::frame_duration)
                });
                let unit = write_unit(&data[payload], key, time(buffer.pts()), duration);
                drop(data);
                Some(gst::Buffer::from_mut_slice(unit))
            }
        };
        if let Some(out) = out.as_mut().and_then(|out| out.get_mut()) {
            out.set_pts(buffer.pts());
            out.set_dts(buffer.dts());
            out.set_duration(buffer.duration());
            out.set_flags(buffer.flags());
        }
        if let Some(out) = out {
            frame.set_output_buffer(out);
        }
        // A unit is bounded far below what does not fit.
        self.obj().finish_frame(frame, consumed as u32)
    }
}

impl BaseParseImpl for AiCodecParse {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        *self.state() = State::default();
        let obj = self.obj();
        obj.set_min_frame_size(SHORTEST);
        obj.set_has_timing_info(true);
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *self.state() = State::default();
        Ok(())
    }

    fn set_sink_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
        gst::debug!(CAT, imp = self, "taking {caps}");
        let format = caps.structure(0).and_then(StreamFormat::from_structure);
        let sequence = match caps::caps_to_sequence_header(caps) {
            Ok(sequence) => Some(sequence),
            Err(caps::CapsError::NoCodecData) => None,
            Err(error) => return Err(gst::loggable_error!(CAT, "{error}")),
        };
        let mut state = self.state();
        state.input = format;
        if sequence.is_some() {
            state.sequence = sequence;
        }
        state.renegotiate = true;
        Ok(())
    }

    fn handle_frame(
        &self,
        frame: gst_base::BaseParseFrame,
    ) -> Result<(gst::FlowSuccess, u32), gst::FlowError> {
        let obj = self.obj();
        let input = self.state().input.unwrap_or(StreamFormat::ByteStream);
        let step = {
            let buffer = frame.buffer().ok_or(gst::FlowError::Error)?;
            let data = buffer.map_readable().map_err(|_| {
                gst::element_imp_error!(
                    self,
                    gst::ResourceError::Read,
                    ("memory that cannot be read")
                );
                gst::FlowError::Error
            })?;
            match input {
                StreamFormat::ByteStream => unit::byte_stream(&data),
                StreamFormat::Frame => unit::frame(&data),
            }
        };
        match step {
            Step::Frame(found) => {
                obj.set_min_frame_size(SHORTEST);
                let consumed = found.payload.end;
                if found.sequence.is_none() && self.state().sequence.is_none() {
                    gst::debug!(
                        CAT,
                        imp = self,
                        "a frame before the first key frame is left out"
                    );
                    return Ok((gst::FlowSuccess::Ok, consumed as u32));
                }
                if input == StreamFormat::ByteStream {
                    self.make_index();
                }
                self.finish(frame, found, input, consumed)?;
                Ok((gst::FlowSuccess::Ok, 0))
            }
            Step::Skip(count, reason) => {
                obj.set_min_frame_size(SHORTEST);
                match reason {
                    Reason::UnknownType(_) => gst::debug!(CAT, imp = self, "passing over {reason}"),
                    _ => gst::warning!(CAT, imp = self, "passing over {count} bytes: {reason}"),
                }
                Ok((gst::FlowSuccess::Ok, count as u32))
            }
            Step::Need(count) => {
                if obj.is_draining() {
                    self.report_cut();
                } else {
                    gst::trace!(CAT, imp = self, "waiting for {count} bytes");
                    obj.set_min_frame_size(count as u32);
                }
                Ok((gst::FlowSuccess::Ok, 0))
            }
        }
    }

    fn pre_push_frame(
        &self,
        frame: &mut gst_base::BaseParseFrame,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        // Where upstream works in time, the base class takes only upstream's stamps: without any,
        // the stream's own are better than none.
        let pts = self.state().pts.take();
        if let Some(buffer) = frame.buffer_mut()
            && buffer.pts().is_none()
        {
            buffer.set_pts(pts);
        }
        frame.set_flags(gst_base::BaseParseFrameFlags::CLIP);
        Ok(gst::FlowSuccess::Ok)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        let flushed = event.type_() == gst::EventType::FlushStop;
        let done = self.parent_sink_event(event);
        if flushed {
            self.obj().set_min_frame_size(SHORTEST);
        }
        done
    }

    fn src_event(&self, event: gst::Event) -> bool {
        let seek = match event.view() {
            gst::EventView::Seek(seek) => self.seek_by_index(seek),
            _ => None,
        };
        self.parent_src_event(seek.unwrap_or(event))
    }
}

impl AiCodecParse {
    /// With a whole index every seek can begin at a key frame, and the base class does so for
    /// accurate seeks only: for others it would begin at any frame, which cannot be decoded.
    fn seek_by_index(&self, seek: &gst::event::Seek) -> Option<gst::Event> {
        let (rate, flags, start_type, start, stop_type, stop) = seek.get();
        let gst::GenericFormattedValue::Time(Some(time)) = start else {
            return None;
        };
        if flags.contains(gst::SeekFlags::ACCURATE) || start_type != gst::SeekType::Set {
            return None;
        }
        let state = self.state();
        let index = state.index.as_ref().filter(|index| index.complete)?;
        let key = index.before(time.nseconds())?;
        drop(state);
        let time = match flags.contains(gst::SeekFlags::KEY_UNIT) && rate > 0.0 {
            true => gst::ClockTime::from_nseconds(key.pts),
            false => time,
        };
        gst::debug!(
            CAT,
            imp = self,
            "seeking to {time} by the key frame at {}",
            key.offset
        );
        let gst::GenericFormattedValue::Time(stop) = stop else {
            return None;
        };
        let builder = gst::event::Seek::builder(
            rate,
            flags | gst::SeekFlags::ACCURATE,
            start_type,
            time,
            stop_type,
            stop,
        );
        Some(builder.seqnum(seek.seqnum()).build())
    }
}
