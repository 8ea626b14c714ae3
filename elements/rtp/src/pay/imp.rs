// SPDX-License-Identifier: Apache-2.0
use super::Aggregate;
use crate::format::{MIN_PAYLOAD, packetize};
use crate::{CLOCK_RATE, ENCODING_NAME};
use aivideo_codec::bitstream::caps::{self, CapsError, StreamFormat};
use aivideo_codec::bitstream::{AccessUnit, SequenceHeader};
use glib::prelude::*;
use gst::subclass::prelude::*;
use gst_rtp::prelude::*;
use gst_rtp::subclass::prelude::*;
use std::sync::{LazyLock, Mutex, MutexGuard};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "rtpaicodecpay",
        gst::DebugColorFlags::empty(),
        Some("RTP payloader of the neural codec"),
    )
});

#[derive(Default)]
struct State {
    /// The stream's newest description.
    sequence: Option<SequenceHeader>,
}

#[derive(Default)]
pub struct RtpAiCodecPay {
    aggregate: Mutex<Aggregate>,
    state: Mutex<State>,
}

/// A poisoned lock means that another thread panicked while it only replaced plain values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

#[glib::object_subclass]
impl ObjectSubclass for RtpAiCodecPay {
    const NAME: &'static str = "GstRtpAiCodecPay";
    type Type = super::RtpAiCodecPay;
    type ParentType = gst_rtp::RTPBasePayload;
}

impl ObjectImpl for RtpAiCodecPay {
    fn constructed(&self) {
        self.parent_constructed();
        self.obj()
            .set_options("video", true, ENCODING_NAME, CLOCK_RATE as u32);
    }

    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            vec![
                glib::ParamSpecEnum::builder::<Aggregate>("aggregate-mode")
                    .nick("Aggregate mode")
                    .blurb("Which tiles may share a packet. Sharing saves packets; a lost packet costs all tiles in it")
                    .mutable_playing()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, _pspec: &glib::ParamSpec) {
        // There is one property, and GObject checked the value's type.
        *lock(&self.aggregate) = value.get().expect("checked by GObject");
    }

    fn property(&self, _id: usize, _pspec: &glib::ParamSpec) -> glib::Value {
        lock(&self.aggregate).to_value()
    }
}

impl GstObjectImpl for RtpAiCodecPay {}

impl ElementImpl for RtpAiCodecPay {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "RTP payloader of neural video",
                "Codec/Payloader/Network/RTP",
                "Puts streams of aicodecenc into RTP packets",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let sink = gst::Caps::builder(caps::NAME)
                .field("stream-format", StreamFormat::Frame.name())
                .field("alignment", "au")
                .build();
            let src = gst::Caps::builder("application/x-rtp")
                .field("media", "video")
                .field("payload", gst::IntRange::new(96, 127))
                .field("clock-rate", CLOCK_RATE)
                .field("encoding-name", ENCODING_NAME)
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
            *lock(&self.state) = State::default();
        }
        self.parent_change_state(transition)
    }
}

impl RtpAiCodecPay {
    /// Announces the stream in the output's caps, and so in SDP.
    fn announce(&self, sequence: &SequenceHeader) -> Result<(), glib::BoolError> {
        let fields = gst::Structure::builder("fields")
            .field("config", glib::base64_encode(&sequence.write()))
            .field("model", caps::hex(&sequence.model_id))
            // Where the session has feedback, receivers may tell of a loss, and ask for key frames.
            .field("rtcp-fb-nack-pli", true)
            .field("rtcp-fb-ccm-fir", true)
            .build();
        self.obj().set_outcaps(Some(&fields))
    }

    /// The description that is in force, which a key frame may bring.
    fn current_sequence(
        &self,
        unit: &AccessUnit<'_>,
    ) -> Result<Option<SequenceHeader>, gst::FlowError> {
        let known = lock(&self.state).sequence.clone();
        match (&unit.sequence, known) {
            (Some(new), known) if known.as_ref() != Some(new) => {
                self.announce(new)
                    .map_err(|_| gst::FlowError::NotNegotiated)?;
                lock(&self.state).sequence = Some(new.clone());
                Ok(Some(new.clone()))
            }
            (_, known) => Ok(known),
        }
    }

    /// Bytes of payload in a packet.
    fn max_payload(&self) -> Result<usize, gst::FlowError> {
        let mtu = self.obj().mtu();
        let max = gst_rtp::calc_payload_len(mtu, 0, 0) as usize;
        if max < MIN_PAYLOAD {
            let needed = gst_rtp::calc_packet_len(MIN_PAYLOAD as u32, 0, 0);
            gst::element_imp_error!(
                self,
                gst::LibraryError::Settings,
                ("mtu={mtu} is too small for this payload: set at least {needed}")
            );
            return Err(gst::FlowError::Error);
        }
        Ok(max)
    }

    /// The frame's packets; none for one that nobody could use.
    fn packets(&self, buffer: &gst::BufferRef) -> Result<Option<gst::BufferList>, gst::FlowError> {
        let data = buffer.map_readable().map_err(|_| {
            gst::element_imp_error!(
                self,
                gst::ResourceError::Read,
                ("memory that cannot be read")
            );
            gst::FlowError::Error
        })?;
        let unit = match AccessUnit::parse(&data) {
            Ok(unit) => unit,
            Err(error) => {
                let text = format!("a malformed access unit is not sent: {error}");
                gst::element_imp_warning!(self, gst::StreamError::Decode, ("{text}"));
                return Ok(None);
            }
        };
        let Some(sequence) = self.current_sequence(&unit)? else {
            gst::debug!(
                CAT,
                imp = self,
                "a frame before the first key frame is left out"
            );
            return Ok(None);
        };
        let max = self.max_payload()?;
        let aggregation = (*lock(&self.aggregate)).into();
        let payloads = packetize(&unit, &sequence, max, aggregation);
        gst::trace!(
            CAT,
            imp = self,
            "frame {} of {} bytes in {} packets",
            unit.header.frame_number,
            data.len(),
            payloads.len()
        );
        let mut list = gst::BufferList::new_sized(payloads.len());
        let last = payloads.len() - 1;
        let obj = self.obj();
        for (i, payload) in payloads.iter().enumerate() {
            let mut packet = obj.allocate_output_buffer(payload.len() as u32, 0, 0);
            {
                let packet = packet.get_mut().ok_or(gst::FlowError::Error)?;
                packet.set_pts(buffer.pts());
                packet.set_dts(buffer.dts());
                packet.set_duration(buffer.duration());
                let mut rtp = gst_rtp::RTPBuffer::from_buffer_writable(packet)
                    .map_err(|_| gst::FlowError::Error)?;
                rtp.set_marker(i == last);
                rtp.payload_mut()
                    .map_err(|_| gst::FlowError::Error)?
                    .copy_from_slice(payload);
            }
            let flags = buffer.flags() & (gst::BufferFlags::DELTA_UNIT | gst::BufferFlags::DISCONT);
            let packet = packet.make_mut();
            packet.set_flags(flags);
            if i > 0 {
                packet.unset_flags(gst::BufferFlags::DISCONT);
            }
            if i == last {
                packet.set_flags(gst::BufferFlags::MARKER);
            }
            list.make_mut().add(packet.to_owned());
        }
        Ok(Some(list))
    }
}

impl RTPBasePayloadImpl for RtpAiCodecPay {
    fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
        gst::debug!(CAT, imp = self, "taking {caps}");
        match caps::caps_to_sequence_header(caps) {
            Ok(sequence) => {
                self.announce(&sequence)
                    .map_err(|_| gst::loggable_error!(CAT, "Downstream refuses the caps"))?;
                lock(&self.state).sequence = Some(sequence);
                Ok(())
            }
            // Then the first key frame tells.
            Err(CapsError::NoCodecData) => Ok(()),
            Err(error) => Err(gst::loggable_error!(CAT, "{error}")),
        }
    }

    fn handle_buffer(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        match self.packets(&buffer)? {
            Some(list) => self.obj().push_list(list),
            None => Ok(gst::FlowSuccess::Ok),
        }
    }
}
