// SPDX-License-Identifier: Apache-2.0
use crate::format::{Assembled, Assembler, PacketError};
use crate::{CLOCK_RATE, ENCODING_NAME};
use aivideo_codec::bitstream::caps::{self, StreamFormat, sequence_header_to_caps};
use aivideo_codec::bitstream::{FrameType, SequenceHeader};
use glib::prelude::*;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_rtp::prelude::*;
use gst_rtp::subclass::prelude::*;
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "rtpaicodecdepay",
        gst::DebugColorFlags::empty(),
        Some("RTP depayloader of the neural codec"),
    )
});

/// Answers are large: a sender that is asked too often only makes a bad connection worse.
const BETWEEN_REQUESTS: Duration = Duration::from_millis(500);

#[derive(Default)]
struct State {
    assembler: Assembler,
    /// What the caps downstream say.
    sent: Option<SequenceHeader>,
    /// Of the pending frame's first packet.
    pts: Option<gst::ClockTime>,
    discont: bool,
    requested: Option<Instant>,
    /// There is a decoder downstream that asks for what it needs.
    downstream_asks: bool,
    model_reported: bool,
}

#[derive(Default)]
pub struct RtpAiCodecDepay {
    state: Mutex<State>,
    settings: Mutex<Settings>,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    request_keyframe: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_keyframe: true,
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for RtpAiCodecDepay {
    const NAME: &'static str = "GstRtpAiCodecDepay";
    type Type = super::RtpAiCodecDepay;
    type ParentType = gst_rtp::RTPBaseDepayload;
}

impl ObjectImpl for RtpAiCodecDepay {
    fn constructed(&self) {
        self.parent_constructed();
        let weak = self.downgrade();
        let watch = move |_: &gst::Pad, info: &mut gst::PadProbeInfo<'_>| {
            let event = info.event().filter(|e| gst_video::ForceKeyUnitEvent::is(e));
            if let (Some(_), Some(this)) = (event, weak.upgrade()) {
                this.state().downstream_asks = true;
            }
            gst::PadProbeReturn::Ok
        };
        let pad = self.obj().src_pad().clone();
        pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, watch);
    }

    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            vec![
                glib::ParamSpecBoolean::builder("request-keyframe")
                    .nick("Request key frames")
                    .blurb("Ask the sender for a key frame where there is none to begin with, and for a frame that ends the effects of a loss where no decoder downstream asks itself")
                    .default_value(true)
                    .mutable_playing()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, _pspec: &glib::ParamSpec) {
        // There is one property, and GObject checked the value's type.
        self.settings().request_keyframe = value.get().expect("checked by GObject");
    }

    fn property(&self, _id: usize, _pspec: &glib::ParamSpec) -> glib::Value {
        self.settings().request_keyframe.to_value()
    }
}

impl GstObjectImpl for RtpAiCodecDepay {}

impl ElementImpl for RtpAiCodecDepay {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "RTP depayloader of neural video",
                "Codec/Depayloader/Network/RTP",
                "Takes streams of aicodecenc out of RTP packets",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let sink = gst::Caps::builder("application/x-rtp")
                .field("media", "video")
                .field("clock-rate", CLOCK_RATE)
                .field("encoding-name", ENCODING_NAME)
                .build();
            let src = gst::Caps::builder(caps::NAME)
                .field("stream-format", StreamFormat::Frame.name())
                .field("alignment", "au")
                .field("parsed", true)
                .build();
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

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            *self.state() = State::default();
        }
        self.parent_change_state(transition)
    }
}

impl RtpAiCodecDepay {
    /// A poisoned lock means that another thread panicked while it only replaced plain values.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn send_caps(&self, sequence: &SequenceHeader) {
        if self.state().sent.as_ref() == Some(sequence) {
            return;
        }
        let caps = sequence_header_to_caps(sequence, StreamFormat::Frame);
        gst::debug!(CAT, imp = self, "giving {caps}");
        // What does not fit downstream is told by the flow of the first buffer.
        self.obj()
            .src_pad()
            .push_event(gst::event::Caps::new(&caps));
        self.state().sent = Some(sequence.clone());
    }

    /// Asks for a key frame (`all_headers`), or for whatever ends the effects of a loss.
    fn request(&self, all_headers: bool) {
        if !self.settings().request_keyframe {
            return;
        }
        {
            let mut state = self.state();
            if state.downstream_asks && !all_headers {
                return;
            }
            if state
                .requested
                .is_some_and(|t| t.elapsed() < BETWEEN_REQUESTS)
            {
                return;
            }
            state.requested = Some(Instant::now());
        }
        gst::debug!(CAT, imp = self, "asking for help, key frame: {all_headers}");
        let event = gst_video::UpstreamForceKeyUnitEvent::builder()
            .all_headers(all_headers)
            .build();
        self.obj().sink_pad().push_event(event);
    }

    /// Ends the pending frame, and prepares it for downstream.
    fn finish(&self) -> Option<gst::Buffer> {
        let (frame, pts, discont) = {
            let mut state = self.state();
            let frame = state.assembler.finish()?;
            let pts = state.pts.take();
            let restart = matches!(
                frame.header.frame_type,
                FrameType::Key | FrameType::Recovery
            );
            if restart && frame.whole {
                state.requested = None;
            }
            (frame, pts, std::mem::take(&mut state.discont))
        };
        self.send_caps(&frame.sequence);
        if frame.is_damaged() {
            self.request(false);
        }
        let Assembled {
            data,
            header,
            whole,
            broken,
            ..
        } = frame;
        if !whole {
            gst::debug!(CAT, imp = self, "frame {} lost tiles", header.frame_number);
        }
        let mut buffer = gst::Buffer::from_mut_slice(data);
        let out = buffer.make_mut();
        out.set_pts(pts);
        for (flag, set) in [
            (gst::BufferFlags::DELTA_UNIT, !header.is_key()),
            (gst::BufferFlags::CORRUPTED, !whole),
            (gst::BufferFlags::DISCONT, discont || broken),
        ] {
            if set {
                out.set_flags(flag);
            }
        }
        Some(buffer)
    }

    fn refuse(&self, error: PacketError) {
        match error {
            PacketError::NoSequence => {
                gst::debug!(CAT, imp = self, "packet left out: {error}");
                self.request(true);
            }
            PacketError::Model { .. } => {
                gst::warning!(CAT, imp = self, "packet left out: {error}");
                if !std::mem::replace(&mut self.state().model_reported, true) {
                    gst::element_imp_warning!(self, gst::StreamError::WrongType, ("{error}"));
                }
                self.request(true);
            }
            _ => gst::warning!(CAT, imp = self, "packet left out: {error}"),
        }
        self.state().discont = true;
    }
}

impl RTPBaseDepayloadImpl for RtpAiCodecDepay {
    fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
        gst::debug!(CAT, imp = self, "taking {caps}");
        let structure = caps
            .structure(0)
            .ok_or_else(|| gst::loggable_error!(CAT, "Caps without structure"))?;
        // Without an announcement the first key frame tells.
        let Ok(config) = structure.get::<&str>("config") else {
            return Ok(());
        };
        let header = glib::base64_decode(config);
        let (sequence, _) = SequenceHeader::parse(&header).map_err(|error| {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ("the stream's description (`config` in caps or SDP) is unusable: {error}")
            );
            gst::loggable_error!(CAT, "config: {error}")
        })?;
        self.state().assembler.announce(sequence.clone());
        self.send_caps(&sequence);
        Ok(())
    }

    fn handle_event(&self, event: gst::Event) -> bool {
        match event.type_() {
            gst::EventType::FlushStop => {
                let mut state = self.state();
                state.assembler.reset();
                state.pts = None;
            }
            gst::EventType::Eos => {
                // Its last packet was lost. The stream ends, whatever the push gives.
                if let Some(buffer) = self.finish() {
                    let _ = self.obj().push(buffer);
                }
            }
            _ => (),
        }
        self.parent_handle_event(event)
    }

    fn process_rtp_packet(
        &self,
        packet: &gst_rtp::RTPBuffer<'_, gst_rtp::rtp_buffer::Readable>,
    ) -> Option<gst::Buffer> {
        // Not `packet.payload()`: the bindings give a copy of the C structure, and what is mapped
        // into a copy is never unmapped. Every packet's memory would be lost.
        let payload = match packet
            .payload_buffer()
            .map(gst::Buffer::into_mapped_buffer_readable)
        {
            Ok(Ok(payload)) => payload,
            _ => {
                gst::warning!(CAT, imp = self, "a packet without a payload is left out");
                return None;
            }
        };
        let payload = payload.as_slice();
        let timestamp = packet.timestamp();
        if self.state().assembler.begins_frame(timestamp, payload) {
            // The last packet of the frame before was lost. A failed push cannot be returned from
            // here; the base class meets the same result when it pushes this packet's frame.
            if let Some(buffer) = self.finish() {
                let _ = self.obj().push(buffer);
            }
        }
        let pushed = {
            let mut state = self.state();
            let fresh = !state.assembler.is_pending();
            let pushed = state.assembler.push(timestamp, payload);
            if fresh && state.assembler.is_pending() {
                state.pts = packet.buffer().pts();
            }
            pushed
        };
        if let Err(error) = pushed {
            self.refuse(error);
        }
        if packet.is_marker() {
            self.finish()
        } else {
            None
        }
    }
}
