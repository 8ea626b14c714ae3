// SPDX-License-Identifier: Apache-2.0
use super::Request;
use super::sender::{Outbox, Sender};
use crate::bitstream::{FrameType, SequenceHeader};
use crate::coder::decoder::KERNELS;
use crate::coder::{CodecError, DecodeNet, Decoded, Decoder, ModelFiles};
use crate::element::{AnyPicture, all_formats, formats, message};
use aivideo_core::cuda::{self, Access, CudaError, Frames, Offer, Place, Work};
use aivideo_core::element::lock;
use aivideo_core::settings::InferenceSettings;
use glib::prelude::*;
use gst::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::subclass::prelude::*;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "aicodecdec",
        gst::DebugColorFlags::empty(),
        Some("Neural video decoder"),
    )
});

/// How long an answer is waited for before the sender is asked again, unless the base class's
/// `min-force-key-unit-interval` is set to something else.
const BETWEEN_REQUESTS: gst::ClockTime = gst::ClockTime::from_mseconds(200);
/// The same for key frames: they are large, and often only make a bad connection worse.
const BETWEEN_KEY_REQUESTS: gst::ClockTime = gst::ClockTime::SECOND;

type InputState = gst_video::VideoCodecState<'static, gst_video::video_codec_state::Readable>;

/// What lives from start to stop, apart from the state, which is locked while a frame is decoded.
struct Loaded {
    net: DecodeNet,
    /// Where the network runs on a GPU and its pictures stay there.
    frames: Option<Frames>,
}

struct State {
    decoder: Decoder,
    input: Option<InputState>,
    output: Option<Output>,
}

/// What has been negotiated downstream, and for which stream.
struct Output {
    sequence: SequenceHeader,
    info: gst_video::VideoInfo,
    way: Way,
}

/// How a picture gets into its frame.
enum Way {
    /// Through the host's memory.
    Host(AnyPicture),
    /// On the GPU, on the stream of the network at work.
    Device(Frames, Place),
}

/// Sums over all frames.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    frames: u64,
    refused: u64,
    lost_frames: u64,
    corrupted_frames: u64,
    recoveries: u64,
    requests: u64,
    damaged_tiles: u64,
    concealed_tiles: u64,
    /// Bits of a sample.
    depth: u8,
    motion_us: u64,
    network_us: u64,
    filter_us: u64,
    entropy_us: u64,
    total_us: u64,
}

impl Totals {
    fn add(&mut self, decoded: &Decoded) {
        self.frames += 1;
        self.lost_frames += u64::from(decoded.missing);
        self.corrupted_frames += u64::from(!decoded.intact);
        let recovered = decoded.intact && decoded.frame_type == FrameType::Recovery;
        self.recoveries += u64::from(recovered);
        self.damaged_tiles += decoded.damaged.len() as u64;
        self.concealed_tiles += decoded.concealed as u64;
        let micros = |d: std::time::Duration| d.as_micros() as u64;
        self.motion_us += micros(decoded.timing.motion);
        self.network_us += micros(decoded.timing.network);
        self.filter_us += micros(decoded.timing.filter);
        self.entropy_us += micros(decoded.timing.entropy);
        self.total_us += micros(decoded.timing.total);
    }

    fn fields(&self) -> Vec<(&'static str, glib::SendValue)> {
        vec![
            ("decoded-frames", self.frames.to_send_value()),
            ("refused-frames", self.refused.to_send_value()),
            ("lost-frames", self.lost_frames.to_send_value()),
            ("corrupted-frames", self.corrupted_frames.to_send_value()),
            ("recoveries", self.recoveries.to_send_value()),
            ("requests", self.requests.to_send_value()),
            ("damaged-tiles", self.damaged_tiles.to_send_value()),
            ("concealed-tiles", self.concealed_tiles.to_send_value()),
            ("bit-depth", u32::from(self.depth).to_send_value()),
            ("motion-us", self.motion_us.to_send_value()),
            ("network-us", self.network_us.to_send_value()),
            ("filter-us", self.filter_us.to_send_value()),
            ("entropy-us", self.entropy_us.to_send_value()),
            ("total-us", self.total_us.to_send_value()),
        ]
    }
}

/// A moment: of the stream where it has time stamps, else of the wall clock.
#[derive(Debug, Clone, Copy)]
struct Moment {
    pts: Option<gst::ClockTime>,
    wall: Instant,
}

impl Moment {
    fn of(frame: &gst_video::VideoCodecFrame<'_>) -> Self {
        Self {
            pts: frame.pts(),
            wall: Instant::now(),
        }
    }

    /// True where `time` has passed since.
    fn is_past(&self, time: gst::ClockTime, now: &Self) -> bool {
        match (self.pts, now.pts) {
            // A jump back in time is a new beginning.
            (Some(then), Some(now)) => now < then || now - then >= time,
            _ => now.wall.duration_since(self.wall) >= Duration::from_nanos(time.nseconds()),
        }
    }
}

/// The last requests that have not been answered.
#[derive(Debug, Default)]
struct Requested {
    any: Option<Moment>,
    key: Option<Moment>,
}

#[derive(Default)]
pub struct AiCodecDec {
    request: Mutex<Request>,
    requested: Mutex<Requested>,
    settings: Mutex<InferenceSettings>,
    loaded: Mutex<Option<Loaded>>,
    state: Mutex<Option<State>>,
    totals: Mutex<Totals>,
    /// Where frames can be made in a GPU's memory.
    sender: Mutex<Option<Sender>>,
    /// Held, inside of the stream's lock, while a frame is sent.
    sending: Mutex<()>,
    /// What the last frame that was sent behind the streaming thread's back met with.
    flow: Mutex<Option<gst::FlowError>>,
}

const INTERVAL: &str = "min-force-key-unit-interval";

#[glib::object_subclass]
impl ObjectSubclass for AiCodecDec {
    const NAME: &'static str = "GstAiCodecDec";
    type Type = super::AiCodecDec;
    type ParentType = gst_video::VideoDecoder;
}

impl ObjectImpl for AiCodecDec {
    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        // One buffer is one access unit, and nothing can be decoded before the caps.
        obj.set_packetized(true);
        obj.set_needs_format(true);
        obj.set_property(INTERVAL, BETWEEN_REQUESTS.nseconds());
    }

    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let own = glib::ParamSpecEnum::builder::<Request>("request-sync-points")
                .nick("Request sync points")
                .blurb("When the sender is asked for a frame that ends the effects of a loss")
                .mutable_playing()
                .build();
            std::iter::once(own)
                .chain(InferenceSettings::properties())
                .collect()
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        match pspec.name() {
            // GObject checked the type.
            "request-sync-points" => {
                *lock(&self.request) = value.get().expect("checked by GObject")
            }
            name => {
                lock(&self.settings).set_property(name, value);
            }
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => return self.stats().to_value(),
            "request-sync-points" => return lock(&self.request).to_value(),
            _ => {}
        }
        lock(&self.settings)
            .property(pspec.name())
            .unwrap_or_else(|| pspec.default_value().clone())
    }
}

impl GstObjectImpl for AiCodecDec {}

impl ElementImpl for AiCodecDec {
    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        // Before the base class starts, which would add a second, vaguer error to ours.
        if transition == gst::StateChange::ReadyToPaused {
            self.load().map_err(|error| {
                self.post_error_message(error);
                gst::StateChangeError
            })?;
        }
        self.parent_change_state(transition)
    }

    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Neural video decoder",
                "Codec/Decoder/Video",
                "Decodes the streams of aicodecenc",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let raw = gst_video::VideoCapsBuilder::new()
                .format_list(all_formats())
                .build();
            let raw = cuda::with_places(&raw, &Place::ALL);
            let coded = crate::element::coded_caps("frame");
            use gst::{PadDirection, PadPresence, PadTemplate};
            vec![
                PadTemplate::new("sink", PadDirection::Sink, PadPresence::Always, &coded)
                    .expect("a valid template"),
                PadTemplate::new("src", PadDirection::Src, PadPresence::Always, &raw)
                    .expect("a valid template"),
            ]
        });
        &TEMPLATES
    }
}

impl AiCodecDec {
    fn stats(&self) -> Option<gst::Structure> {
        let totals = *lock(&self.totals);
        let (engine, kernels) = {
            let loaded = lock(&self.loaded);
            let net = &loaded.as_ref()?.net;
            (net.engine_for(totals.depth).clone(), net.kernels())
        };
        let mut fields = totals.fields();
        fields.push(("kernels", kernels.to_send_value()));
        Some(engine.stats().to_structure(&fields))
    }

    /// The first format of the stream's depth that downstream allows, and where its frames lie.
    fn choose_output(
        &self,
        bits: u8,
    ) -> Result<(gst_video::VideoFormat, Option<Place>), gst::FlowError> {
        let formats = formats(bits);
        let obj = self.obj();
        let pad = obj.src_pad();
        if !pad.is_linked() {
            return Ok((formats[0], None));
        }
        let own = gst_video::VideoCapsBuilder::new()
            .format_list(formats)
            .build();
        let both = cuda::with_places(&own, &Place::ALL);
        let taken = pad.peer_query_caps(Some(&both));
        let fitting = taken.intersect_with_mode(&both, gst::CapsIntersectMode::First);
        let mut caps = self.offer().possible(&fitting);
        if caps.is_empty() {
            let [planar, interleaved] = formats.map(|f| f.to_str());
            let reason = match fitting.is_empty() {
                true => format!(
                    "the stream has {bits} bits a sample, and downstream takes neither {planar} nor \
                     {interleaved}: put `videoconvert` behind this element"
                ),
                false => "downstream takes frames in a GPU's memory only, and they are made where the \
                          network runs on one, in NVMM with DeepStream's library of pools: use device=cuda \
                          (GST_DEBUG=aivideocuda:4 says what is missing for it), or put `cudaupload`, or \
                          `nvvideoconvert` for NVMM, behind this element"
                    .to_owned(),
            };
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ("{reason}"),
                ["downstream takes {}", pad.peer_query_caps(None)]
            );
            return Err(gst::FlowError::NotNegotiated);
        }
        caps.truncate();
        caps.fixate();
        let name = caps
            .structure(0)
            .and_then(|s| s.get::<String>("format").ok());
        let chosen = formats
            .into_iter()
            .find(|f| name.as_deref() == Some(f.to_str()));
        Ok((chosen.unwrap_or(formats[0]), Place::of(&caps)))
    }

    /// Negotiates the output for the stream that has just been decoded, if that is new.
    fn negotiate_output(&self) -> Result<(), gst::FlowError> {
        let (sequence, input) = {
            let guard = lock(&self.state);
            let state = guard.as_ref().ok_or(gst::FlowError::NotNegotiated)?;
            let sequence = state
                .decoder
                .sequence()
                .ok_or(gst::FlowError::NotNegotiated)?;
            let known = state
                .output
                .as_ref()
                .is_some_and(|o| o.sequence == *sequence);
            if known {
                return Ok(());
            }
            (sequence.clone(), state.input.clone())
        };
        let obj = self.obj();
        let (width, height) = (u32::from(sequence.width), u32::from(sequence.height));
        let (format, place) = self.choose_output(sequence.bit_depth)?;
        let mut output = obj.set_output_state(format, width, height, input.as_ref())?;
        let info = crate::element::info_from_sequence(output.info(), &sequence)
            .map_err(|_| gst::FlowError::NotNegotiated)?;
        output.set_info(info.clone());
        if let Some(place) = place {
            let mut caps = info.to_caps().map_err(|_| gst::FlowError::NotNegotiated)?;
            let features = gst::CapsFeatures::new([place.feature()]);
            caps.get_mut()
                .ok_or(gst::FlowError::Error)?
                .set_features_simple(Some(features));
            output.set_caps(&caps);
        }
        obj.negotiate(output)
            .map_err(|_| gst::FlowError::NotNegotiated)?;
        if let Some(state) = lock(&self.state).as_mut() {
            let frames = || {
                let engine = state.decoder.device_engine()?;
                let loaded = lock(&self.loaded);
                loaded.as_ref()?.frames.as_ref()?.for_engine(engine)
            };
            let way = match place {
                Some(place) => Way::Device(frames().ok_or(gst::FlowError::NotNegotiated)?, place),
                None => {
                    let (width, height) = (width as usize, height as usize);
                    Way::Host(AnyPicture::new(sequence.bit_depth, width, height))
                }
            };
            state.output = Some(Output {
                sequence,
                info,
                way,
            });
        }
        Ok(())
    }

    fn decode(&self, frame: &gst_video::VideoCodecFrame<'_>) -> Result<Decoded, CodecError> {
        let mut guard = lock(&self.state);
        let state = guard.as_mut().ok_or(CodecError::NeedsKey)?;
        let buffer = frame.input_buffer().ok_or(CodecError::NeedsKey)?;
        let data = buffer
            .map_readable()
            .map_err(|_| CodecError::Unsupported("memory that cannot be read"))?;
        let decoded = state.decoder.decode(&data);
        let mut totals = lock(&self.totals);
        match &decoded {
            Ok(decoded) => {
                totals.add(decoded);
                totals.depth = state.decoder.sequence().map_or(8, |s| s.bit_depth);
            }
            Err(_) => totals.refused += 1,
        }
        decoded
    }

    /// Writes the picture into the frame's output buffer, or has a GPU do so: then its work is given.
    fn fill(
        &self,
        frame: &mut gst_video::VideoCodecFrame<'_>,
    ) -> Result<Option<Work>, gst::ErrorMessage> {
        let mut guard = lock(&self.state);
        let state = guard.as_mut();
        let Some(State {
            decoder,
            output: Some(output),
            ..
        }) = state
        else {
            return Err(gst::error_msg!(
                gst::CoreError::Negotiation,
                ("stopped while decoding")
            ));
        };
        let buffer = frame
            .output_buffer_mut()
            .ok_or_else(|| gst::error_msg!(gst::ResourceError::Write, ("no output buffer")))?;
        match &mut output.way {
            Way::Host(picture) => {
                fill_on_host(decoder, picture, buffer, &output.info)?;
                Ok(None)
            }
            Way::Device(frames, place) => {
                fill_on_device(decoder, frames, *place, buffer, &output.info).map(Some)
            }
        }
    }

    /// Asks the sender for help, unless an answer to the last request may still be under way.
    /// `answered`: an answer came, but was of no use. `key`: only a key frame helps.
    fn ask(&self, now: Moment, answered: bool, mut key: bool) {
        match *lock(&self.request) {
            Request::Never => return,
            Request::Needed if !key => return,
            Request::Needed | Request::Damage => {}
        }
        let interval = self.obj().property::<u64>(INTERVAL);
        // All ones mean never again before an answer.
        let interval = gst::ClockTime::try_from(interval).unwrap_or(gst::ClockTime::MAX);
        let report = match lock(&self.state).as_ref() {
            Some(state) => state.decoder.report(),
            None => return,
        };
        let due = |last: Option<Moment>, interval| last.is_none_or(|m| m.is_past(interval, &now));
        {
            let mut requested = lock(&self.requested);
            if !answered && !due(requested.any, interval) {
                return;
            }
            if key {
                if due(requested.key, interval.max(BETWEEN_KEY_REQUESTS)) {
                    requested.key = Some(now);
                } else if report.held.flatten().is_some() {
                    // What is held is damaged, but better than nothing.
                    key = false;
                } else {
                    return;
                }
            }
            requested.any = Some(now);
        }
        lock(&self.totals).requests += 1;
        gst::debug!(
            CAT,
            imp = self,
            "asking for help, key frame: {key}, {report:?}"
        );
        let event = crate::element::request(&report, key);
        self.obj().sink_pad().push_event(event);
    }

    /// A frame that gave no picture.
    fn refuse(
        &self,
        frame: gst_video::VideoCodecFrame<'_>,
        error: &CodecError,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let obj = self.obj();
        if !error.cured_by_key() {
            obj.release_frame(frame);
            self.post_error_message(message(error));
            return Err(gst::FlowError::Error);
        }
        gst::warning!(
            CAT,
            imp = self,
            "frame {}: {error}",
            frame.system_frame_number()
        );
        // A frame that is malformed is a loss like any other.
        let ready = lock(&self.state)
            .as_ref()
            .is_some_and(|s| s.decoder.is_ready());
        self.ask(Moment::of(&frame), false, !ready);
        let waiting = matches!(error, CodecError::NeedsKey);
        obj.drop_frame(frame)?;
        if waiting {
            // Not a fault of the stream: nothing could be decoded yet.
            return Ok(gst::FlowSuccess::Ok);
        }
        gst_video::video_decoder_error!(obj, 1, gst::StreamError::Decode, ("{error}"))
    }
}

impl AiCodecDec {
    /// Loads the model and makes it ready.
    fn load(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let message = |e: CodecError| message(&e);
        let files = ModelFiles::find(settings.model_location.as_deref()).map_err(message)?;
        let net = DecodeNet::acquire(&files, &settings).map_err(message)?;
        for warning in net.engine().warnings() {
            gst::element_imp_warning!(self, gst::ResourceError::Settings, ("{warning}"));
        }
        gst::info!(
            CAT,
            imp = self,
            "{net:?} on {}, kernels: {}",
            net.engine().device_in_use(),
            net.kernels()
        );
        let frames =
            Frames::of_element(&*self.obj(), net.engine(), &KERNELS).map(Frames::with_results);
        let decoder = match frames {
            Some(_) => Decoder::on_gpu(net.clone(), false),
            None => Decoder::new(net.clone(), false),
        };
        *lock(&self.state) = Some(State {
            decoder,
            input: None,
            output: None,
        });
        *lock(&self.sender) = match frames {
            Some(_) => Some(self.start_sender()?),
            None => None,
        };
        *lock(&self.flow) = None;
        *lock(&self.loaded) = Some(Loaded { net, frames });
        *lock(&self.totals) = Totals::default();
        *lock(&self.requested) = Requested::default();
        Ok(())
    }
}

/// Writes the last picture into a frame in the host's memory.
fn fill_on_host(
    decoder: &Decoder,
    picture: &mut AnyPicture,
    buffer: &mut gst::BufferRef,
    info: &gst_video::VideoInfo,
) -> Result<(), gst::ErrorMessage> {
    match picture {
        AnyPicture::Eight(picture) => decoder.picture(picture),
        AnyPicture::Ten(picture) => decoder.picture(picture),
    }
    .map_err(|e| message(&e))?;
    let mut mapped =
        gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info).map_err(|_| {
            gst::error_msg!(
                gst::ResourceError::Write,
                ("a buffer that cannot be mapped")
            )
        })?;
    picture
        .write_frame(&mut mapped)
        .map_err(|e| gst::error_msg!(gst::StreamError::Format, ("{e}")))
}

/// Has the last picture written into a frame in the GPU's memory, which must be held until that is done.
#[allow(unsafe_code)] // the GPU uses the frame's memory
fn fill_on_device(
    decoder: &Decoder,
    frames: &mut Frames,
    place: Place,
    buffer: &mut gst::BufferRef,
    info: &gst_video::VideoInfo,
) -> Result<Work, gst::ErrorMessage> {
    let failed =
        |error: CudaError| gst::error_msg!(gst::ResourceError::Write, ("a frame: {error}"));
    let frame = frames
        .map(buffer, info, place, Access::Fill)
        .map_err(failed)?;
    let picture = frame.picture(info).ok_or_else(|| {
        let format = info.format().to_str();
        gst::error_msg!(
            gst::StreamError::Format,
            ("no frames of {format} can be written")
        )
    })?;
    // SAFETY: the frame is mapped for the stream of the network at work until that was waited for, by
    // dropping it, or held until its work was.
    unsafe { decoder.show(&picture) }.map_err(|e| message(&e))?;
    // SAFETY: the base class holds the frame until it is sent or let go, both after its work was waited for.
    unsafe { frame.leave() }.map_err(failed)
}

impl AiCodecDec {
    fn start_sender(&self) -> Result<Sender, gst::ErrorMessage> {
        let element = self.obj().downgrade();
        let sender = Sender::new(move |outbox| match element.upgrade() {
            Some(element) => element.imp().send(outbox),
            None => outbox.clear(),
        });
        sender.map_err(|error| {
            gst::error_msg!(
                gst::ResourceError::Failed,
                ("no thread could be started to send frames: {error}")
            )
        })
    }

    /// Sends the frame that is on its way, once the GPU has made it. Whichever thread comes here has the lock of
    /// the stream while it takes the frame and sends it, and none while it waits.
    fn send(&self, outbox: &Outbox) {
        let Some((number, work)) = outbox.first() else {
            return;
        };
        let made = work.wait();
        let obj = self.obj();
        // Its lock is the stream's, and is held until it is dropped.
        let Some(_held) = obj.frame(number as i32) else {
            // The base class knows it no more.
            outbox.take(&work);
            return;
        };
        let _sending = lock(&self.sending);
        // Another thread may have sent it, or a flush was in between.
        if !outbox.take(&work) {
            return;
        }
        let Some(frame) = obj.frame(number as i32) else {
            return;
        };
        let sent = match made {
            Ok(()) => obj.finish_frame(frame),
            Err(error) => {
                obj.release_frame(frame);
                self.post_error_message(gst::error_msg!(
                    gst::ResourceError::Write,
                    ("a frame: {error}")
                ));
                Err(gst::FlowError::Error)
            }
        };
        if let Err(error) = sent {
            *lock(&self.flow) = Some(error);
        }
    }

    /// Waits for the frame that is on its way, and sends it.
    fn send_begun(&self) {
        let outbox = lock(&self.sender).as_ref().map(Sender::outbox);
        if let Some(outbox) = outbox {
            self.send(&outbox);
        }
        // Another thread may be about to.
        drop(lock(&self.sending));
    }

    /// The same, with what it met with.
    fn finish_begun(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.send_begun();
        match lock(&self.flow).take() {
            Some(error) => Err(error),
            None => Ok(gst::FlowSuccess::Ok),
        }
    }

    /// Has the frame sent when the GPU has made it.
    fn send_later(
        &self,
        frame: gst_video::VideoCodecFrame<'_>,
        work: Work,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        match lock(&self.sender).as_ref() {
            Some(sender) => sender.give(frame.system_frame_number(), work),
            None => {
                drop(work);
                self.obj().release_frame(frame);
                self.post_error_message(gst::error_msg!(
                    gst::CoreError::StateChange,
                    ("stopped while decoding")
                ));
                return Err(gst::FlowError::Error);
            }
        }
        Ok(gst::FlowSuccess::Ok)
    }
}

impl AiCodecDec {
    /// What this answers about frames in a GPU's memory.
    fn offer(&self) -> Offer {
        if let Some(loaded) = lock(&self.loaded).as_ref() {
            return Offer::started(loaded.net.engine().gpu_index(), loaded.frames.as_ref());
        }
        Offer::before_start(lock(&self.settings).gpu())
    }
}

impl VideoDecoderImpl for AiCodecDec {
    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        let sender = lock(&self.sender).take();
        // It waits for its thread: outside of the locks.
        drop(sender);
        let state = lock(&self.state).take();
        let loaded = lock(&self.loaded).take();
        // The last user of a model waits for its thread: outside of the locks.
        drop((state, loaded));
        Ok(())
    }

    fn set_format(&self, input: &InputState) -> Result<(), gst::LoggableError> {
        let mut guard = lock(&self.state);
        let state = guard
            .as_mut()
            .ok_or_else(|| gst::loggable_error!(CAT, "Not started"))?;
        state.input = Some(input.clone());
        // A model that does not fit is refused now rather than at the first key frame.
        let Some(caps) = input.caps_owned() else {
            return Ok(());
        };
        let checked = match crate::bitstream::caps::caps_to_sequence_header(&caps) {
            Ok(sequence) => state.decoder.check(&sequence),
            Err(error) => {
                gst::debug!(CAT, imp = self, "no sequence header in the caps: {error}");
                Ok(())
            }
        };
        drop(guard);
        checked.map_err(|error| {
            crate::element::post(self, &error);
            gst::loggable_error!(CAT, "{error}")
        })
    }

    fn handle_frame(
        &self,
        mut frame: gst_video::VideoCodecFrame,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let obj = self.obj();
        // A GPU may be at work on the frame before meanwhile. That one goes when this one's symbols are decoded
        // and its making was started, and before this one takes a frame of the pool.
        let decoded = self.decode(&frame);
        if let Err(error) = self.finish_begun() {
            obj.release_frame(frame);
            return Err(error);
        }
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(error) => return self.refuse(frame, &error),
        };
        if let Err(error) = self.negotiate_output() {
            obj.release_frame(frame);
            return Err(error);
        }
        obj.allocate_output_frame(&mut frame, None)?;
        let work = match self.fill(&mut frame) {
            Ok(work) => work,
            Err(message) => {
                obj.release_frame(frame);
                self.post_error_message(message);
                return Err(gst::FlowError::Error);
            }
        };
        if decoded.intact {
            *lock(&self.requested) = Requested::default();
        } else {
            // Shown as well as can be.
            frame.set_flags(gst_video::VideoCodecFrameFlags::CORRUPTED);
            let answered = matches!(decoded.frame_type, FrameType::Key | FrameType::Recovery);
            self.ask(Moment::of(&frame), answered, !decoded.recoverable);
        }
        if decoded.missing > 0 {
            let (number, missing) = (frame.system_frame_number(), decoded.missing);
            gst::warning!(
                CAT,
                imp = self,
                "frame {number}: {missing} frames before it are missing"
            );
        }
        if !decoded.damaged.is_empty() {
            let (number, tiles) = (frame.system_frame_number(), decoded.damaged);
            gst::warning!(
                CAT,
                imp = self,
                "frame {number}: tiles {tiles:?} are damaged or missing"
            );
            match work {
                // The error is told behind the frame.
                Some(work) => {
                    self.send_later(frame, work)?;
                    self.finish_begun()?;
                }
                None => {
                    obj.finish_frame(frame)?;
                }
            }
            return gst_video::video_decoder_error!(
                obj,
                1,
                gst::StreamError::Decode,
                ["frame {number}: tiles {tiles:?} are damaged or missing: concealed"]
            );
        }
        match work {
            Some(work) => self.send_later(frame, work),
            None => obj.finish_frame(frame),
        }
    }

    fn flush(&self) -> bool {
        let outbox = lock(&self.sender).as_ref().map(Sender::outbox);
        if let Some(outbox) = outbox {
            outbox.clear();
        }
        *lock(&self.flow) = None;
        if let Some(state) = lock(&self.state).as_mut() {
            state.decoder.restart();
        }
        *lock(&self.requested) = Requested::default();
        true
    }

    fn finish(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        // The last one may be on its way.
        self.finish_begun()
    }

    fn drain(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.finish_begun()
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        // What comes behind a frame stays there: not all of it is kept for the next frame by the base class.
        if event.is_serialized() && event.type_() != gst::EventType::FlushStop {
            self.send_begun();
        }
        self.parent_sink_event(event)
    }

    fn sink_query(&self, query: &mut gst::QueryRef) -> bool {
        if query.is_serialized() {
            self.send_begun();
        }
        self.offer().answer(&*self.obj(), query) || self.parent_sink_query(query)
    }

    fn src_query(&self, query: &mut gst::QueryRef) -> bool {
        if self.offer().answer(&*self.obj(), query) {
            return true;
        }
        let answered = self.parent_src_query(query);
        if let gst::QueryViewMut::Caps(caps) = query.view_mut()
            && let Some(all) = caps.result_owned()
        {
            caps.set_result(&self.offer().possible(&all));
        }
        answered
    }

    fn decide_allocation(
        &self,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        match self.offer().decide(query)? {
            Some(Place::Cuda) => return self.parent_decide_allocation(query),
            // The base class would ask the pool for buffers of a picture's bytes, but they hold descriptions.
            Some(Place::Nvmm) => return Ok(()),
            None => {}
        }
        // Strides are honoured, so that downstream's pool may have any.
        if query
            .find_allocation_meta::<gst_video::VideoMeta>()
            .is_some()
        {
            for (pool, size, min, max) in query.allocation_pools() {
                if let Some(pool) = pool {
                    let mut config = pool.config();
                    config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
                    // A pool in use keeps its configuration, and that is fine.
                    let _ = pool.set_config(config);
                    query.set_nth_allocation_pool(0, Some(&pool), size, min, max);
                    break;
                }
            }
        }
        self.parent_decide_allocation(query)
    }
}
