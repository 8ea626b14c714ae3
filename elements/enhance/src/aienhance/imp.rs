// SPDX-License-Identifier: Apache-2.0

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};

use aivideo_core::{
    cuda::{self, Frames, Place},
    element::{lock, same_pads},
    engine::Engine,
    pixels::Yuv420,
    settings::InferenceSettings,
};
use glib::prelude::*;
use gst::subclass::prelude::*;
use gst_base::{
    prelude::*,
    subclass::{
        base_transform::{GenerateOutputSuccess, InputBuffer, PrepareOutputBufferSuccess},
        prelude::*,
    },
};
use gst_video::{prelude::*, subclass::prelude::*};

use super::{
    caps::{MAX_SIDE, Shape, format_of, formats},
    properties::{self, Numbers},
};
use crate::{
    chain::Chain,
    deep::Yuv420Deep,
    detect::{region::region, track::Tracked},
    frame::{Depth, Frame, Picture, Sighting},
    operations::{EnhanceError, Measurement},
    spec::{self, SpecError},
};

mod device;

use device::OnCard;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "aienhance",
        gst::DebugColorFlags::empty(),
        Some("Video enhancement"),
    )
});

#[derive(Debug, Clone, Default, PartialEq)]
struct Settings {
    operations: String,
    numbers: Numbers,
    inference: InferenceSettings,
}

/// Between `start()` and `stop()`.
struct State {
    chain: Chain,
    /// What the chain was made from, to go back to when a change is refused.
    settings: Settings,
    /// Formats on the pads, once negotiated.
    infos: Option<(gst_video::VideoInfo, gst_video::VideoInfo)>,
    /// Where frames lie, unless they lie in the host's memory.
    device: Option<OnCard>,
    /// Buffers whose frames are inside the chain, the oldest first; time stamps and metas of what
    /// comes out are theirs.
    waiting: VecDeque<gst::Buffer>,
    /// Time stamps and metas of frames in a GPU's memory that are to be made later, the oldest first.
    sources: VecDeque<gst::Buffer>,
    /// Frames in a GPU's memory that are made and wait for those after them, with what was found.
    held: VecDeque<(gst::Buffer, Vec<Sighting>)>,
    /// Frames that are done, with their buffers.
    done: VecDeque<(gst::Buffer, Done)>,
    /// Fields of the caps that downstream was told last.
    told: Vec<(&'static str, String)>,
}

/// A frame that is done.
enum Done {
    /// To be written into a buffer of downstream's.
    Picture(Frame),
    /// In its buffer already; what was found in it.
    Made(Vec<Sighting>),
}

/// A chain that waits for the next frame, and what it was made from.
struct Next {
    chain: Chain,
    settings: Settings,
    /// What maps frames in a GPU's memory for it, or why it does not take them. Made beforehand, as kernels
    /// are compiled for it.
    frames: Result<Frames, String>,
}

/// What `stats` reads; apart from the state, which is locked while a frame is processed.
#[derive(Default)]
struct Report {
    frames: u64,
    engines: Vec<(&'static str, Engine)>,
    measurements: Vec<Measurement>,
}

/// What queries read, for the same reason.
#[derive(Default)]
struct Outline {
    /// Of the active chain; `None` before the element has started.
    shape: Option<Shape>,
    look_ahead: u64,
    /// By how much of that steps in a GPU's memory are behind.
    behind: u64,
    /// When the active chain works in a GPU's memory.
    frames: Option<Frames>,
}

/// Events that wait for the caps to be complete. Encoders look at light levels once, in the first
/// caps that they see.
#[derive(Default)]
struct Withheld {
    active: bool,
    events: Vec<gst::Event>,
}

#[derive(Default)]
pub struct AiEnhance {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
    /// Set by a property change while running, taken at the next frame.
    next: Mutex<Option<Next>>,
    /// Held while properties change, so that changes come one after the other.
    changing: Mutex<()>,
    report: Mutex<Report>,
    outline: Mutex<Outline>,
    withheld: Mutex<Withheld>,
    /// What caps queries could not be answered for has been said.
    complained: AtomicBool,
}

/// Why a chain cannot be had.
enum Refusal {
    Spec(SpecError),
    Load(EnhanceError),
}

impl Refusal {
    fn to_error_message(&self) -> gst::ErrorMessage {
        match self {
            Self::Spec(error) => {
                gst::error_msg!(gst::ResourceError::Settings, ("operations: {error}"))
            }
            Self::Load(error) => error.to_error_message(),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Spec(error) => error.fmt(f),
            Self::Load(error) => error.fmt(f),
        }
    }
}

fn load(settings: &Settings) -> Result<Chain, Refusal> {
    let mut specs = spec::parse(&settings.operations).map_err(Refusal::Spec)?;
    properties::apply(&settings.numbers, &mut specs);
    Chain::build(&specs, &settings.inference).map_err(Refusal::Load)
}

fn read(
    frame: &gst_video::VideoFrameRef<&gst::BufferRef>,
    chain: &mut Chain,
) -> Result<Picture, gst::ErrorMessage> {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let wrong = |error| gst::error_msg!(gst::StreamError::Format, ("{error}"));
    match super::caps::depth_of(frame.format()) {
        Depth::Eight => {
            let mut picture: Yuv420 = chain.spare().picture(width, height);
            picture.read_frame(frame).map_err(wrong)?;
            Ok(Picture::Eight(picture))
        }
        Depth::Ten => {
            let mut picture = Yuv420Deep::default();
            picture.read_frame(frame).map_err(wrong)?;
            Ok(Picture::Ten(picture))
        }
    }
}

impl AiEnhance {
    /// Loads a chain after a property changed while running. On failure the old settings stay.
    fn change(&self, settings: Settings) {
        match load(&settings) {
            Ok(chain) => {
                self.warn_of(&chain);
                let frames = self.frames(&chain);
                *lock(&self.settings) = settings.clone();
                *lock(&self.next) = Some(Next {
                    chain,
                    settings,
                    frames,
                });
                gst::debug!(CAT, imp = self, "new chain waits for the next frame");
            }
            Err(refusal) => {
                gst::element_imp_warning!(
                    self,
                    gst::ResourceError::Settings,
                    ("the change is refused, the old operations stay: {refusal}")
                );
            }
        }
    }

    /// Says on the bus what a chain could not have as asked, such as the device.
    fn warn_of(&self, chain: &Chain) {
        for step in chain.steps() {
            for warning in step.engine().map(Engine::warnings).unwrap_or_default() {
                gst::element_imp_warning!(
                    self,
                    gst::ResourceError::Settings,
                    ("{}: {warning}", step.name())
                );
            }
        }
    }

    /// Tells everything beside the streaming thread which chain is active now.
    fn publish(&self, chain: &Chain, frames: Option<Frames>) {
        {
            let mut report = lock(&self.report);
            report.engines = chain.engines();
            report.measurements.clear();
        }
        let look_ahead = chain.look_ahead() as u64;
        let obj = self.obj();
        let before = {
            let mut outline = lock(&self.outline);
            outline.shape = Some(Shape::of(chain));
            outline.frames = frames;
            outline.behind = chain.behind_on_device() as u64;
            std::mem::replace(&mut outline.look_ahead, look_ahead)
        };
        obj.set_passthrough(chain.is_empty());
        // What remembers must see every frame.
        if chain.remembers() {
            obj.set_qos(false);
        }
        if before != look_ahead {
            gst::debug!(CAT, imp = self, "looks {look_ahead} frames ahead");
            let _ = obj.post_message(gst::message::Latency::builder().src(&*obj).build());
        }
    }

    /// Makes a waiting chain the active one, between two frames.
    fn adopt_next(&self) {
        let Some(Next {
            chain: next,
            settings,
            frames,
        }) = lock(&self.next).take()
        else {
            return;
        };
        let obj = self.obj();
        let shape = Shape::of(&next);
        if let Err(reason) = &frames {
            gst::info!(
                CAT,
                imp = self,
                "frames in a GPU's memory are not taken: {reason}"
            );
        }
        if let Some(caps) = obj.sink_pad().current_caps()
            && let Some(reason) = self.refuses(&next, &shape, &caps, frames.as_ref())
        {
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Settings,
                ("the change is refused, the old operations stay: {reason}")
            );
            let active = lock(&self.state).as_ref().map(|s| s.settings.clone());
            let mut current = lock(&self.settings);
            if let Some(active) = active
                && *current == settings
            {
                *current = active;
            }
            return;
        }
        // What the old chain holds back is still its own.
        if let Err(error) = self.drain() {
            gst::debug!(CAT, imp = self, "while draining the old chain: {error}");
        }
        self.publish(&next, frames.ok());
        if let Some(state) = &mut *lock(&self.state) {
            state.chain = next;
            state.settings = settings;
            if let Some((input, _)) = &state.infos
                && let Err(error) = state.chain.start(&format_of(input))
            {
                gst::debug!(CAT, imp = self, "negotiation will say: {error}");
            }
        }
        // Also when the size stays: buffers must now be allocated, or need not be any more.
        obj.reconfigure_src();
        gst::info!(CAT, imp = self, "new chain in use");
    }

    /// Why a chain cannot take the place of another while frames of these caps flow.
    fn refuses(
        &self,
        next: &Chain,
        shape: &Shape,
        caps: &gst::Caps,
        frames: Result<&Frames, &String>,
    ) -> Option<String> {
        if let Some(reason) = device::refuses(caps, frames) {
            return Some(reason);
        }
        if lock(&self.outline).shape.as_ref() == Some(shape) {
            return None;
        }
        let fits = gst_video::VideoInfo::from_caps(caps)
            .map(|info| next.output(&format_of(&info)))
            .unwrap_or_else(|_| next.output(&Default::default()));
        if let Err(error) = fits {
            return Some(error.to_string());
        }
        let wanted = shape.other(caps, true);
        let peer = self.obj().src_pad().peer_query_caps(None);
        (wanted.is_empty() || !peer.can_intersect(&wanted)).then(|| {
            format!(
                "downstream does not accept {wanted}; let it take any size and format (videoscale, videoconvert, or no fixed caps behind aienhance)"
            )
        })
    }

    /// Gives the chain values that properties or control bindings have set.
    fn take_numbers(&self) {
        let settings = lock(&self.settings).clone();
        let mut guard = lock(&self.state);
        let Some(state) = &mut *guard else { return };
        if state.settings.numbers == settings.numbers {
            return;
        }
        state.settings.numbers.clone_from(&settings.numbers);
        let Ok(mut specs) = spec::parse(&state.settings.operations) else {
            return;
        };
        for (operation, parameter, value) in properties::apply(&settings.numbers, &mut specs) {
            state.chain.set(operation, parameter, value);
        }
    }

    fn reset(&self) {
        if let Some(state) = &mut *lock(&self.state) {
            state.chain.reset();
            state.waiting.clear();
            state.sources.clear();
            state.held.clear();
            state.done.clear();
        }
    }

    /// Pushes what the chain holds back: nothing more comes for now.
    fn drain(&self) -> Result<(), gst::FlowError> {
        self.drain_on_device()?;
        if let Some(state) = &mut *lock(&self.state) {
            state.release(true);
        }
        loop {
            let drained = match &mut *lock(&self.state) {
                Some(state) if !state.waiting.is_empty() => state.chain.drain(),
                _ => Ok(None),
            };
            match drained {
                Ok(Some(frame)) => self.finish(frame),
                Ok(None) => break,
                Err(error) => {
                    self.post_error_message(error.to_error_message());
                    return Err(gst::FlowError::Error);
                }
            }
        }
        while let Some(buffer) = self.next_output()? {
            self.obj().src_pad().push(buffer)?;
        }
        Ok(())
    }

    /// Keeps a frame that came out of the chain together with its buffer.
    fn finish(&self, frame: Frame) {
        if let Some(state) = &mut *lock(&self.state)
            && let Some(buffer) = state.waiting.pop_front()
        {
            state.done.push_back((buffer, Done::Picture(frame)));
        }
    }

    /// The next finished frame in a buffer of downstream's.
    fn next_output(&self) -> Result<Option<gst::Buffer>, gst::FlowError> {
        self.tell_caps(false);
        let (source, frame, info) = {
            let mut guard = lock(&self.state);
            let Some(state) = &mut *guard else {
                return Ok(None);
            };
            let Some((_, info)) = state.infos.clone() else {
                return Ok(None);
            };
            match state.done.pop_front() {
                Some((source, frame)) => (source, frame, info),
                None => return Ok(None),
            }
        };
        let frame = match frame {
            Done::Picture(frame) => frame,
            Done::Made(sightings) => {
                let mut out = source;
                self.attach(out.make_mut(), &info, sightings);
                lock(&self.report).frames += 1;
                return Ok(Some(out));
            }
        };
        // The copy that `prepare_output_buffer` takes time stamps and metas from.
        let prepared = BaseTransformImplExt::parent_prepare_output_buffer(
            self,
            InputBuffer::Readable(&source),
        )?;
        let PrepareOutputBufferSuccess::Buffer(mut out) = prepared else {
            return Err(gst::FlowError::Error);
        };
        let written = {
            let buffer = out.make_mut();
            match gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, &info) {
                Ok(mut mapped) => match &frame.picture {
                    Picture::Eight(picture) => picture.write_frame(&mut mapped),
                    Picture::Ten(picture) => picture.write_frame(&mut mapped),
                }
                .map_err(|error| error.to_string()),
                Err(_) => Err("the buffer for the result cannot be mapped".to_owned()),
            }
        };
        if let Some(state) = &mut *lock(&self.state)
            && let Picture::Eight(picture) = frame.picture
        {
            state.chain.spare().give_picture(picture);
        }
        if let Err(error) = written {
            gst::element_imp_error!(self, gst::StreamError::Format, ("{error}"));
            return Err(gst::FlowError::Error);
        }
        self.attach(out.make_mut(), &info, frame.sightings);
        lock(&self.report).frames += 1;
        Ok(Some(out))
    }

    /// Says on a buffer what was found in its picture.
    fn attach(
        &self,
        out: &mut gst::BufferRef,
        info: &gst_video::VideoInfo,
        sightings: Vec<Sighting>,
    ) {
        let size = (info.width(), info.height());
        for Sighting { label, tracked } in sightings {
            let tracked = Tracked {
                object: tracked.object.scaled(size.0 as f32, size.1 as f32),
                ..tracked
            };
            if let Some(detection) = region(&tracked, label, size)
                && let Err(error) = detection.attach(out, size)
            {
                gst::warning!(CAT, imp = self, "no meta: {error}");
            }
        }
    }

    /// Keeps an event back while caps are not complete; false when it may go.
    fn withhold(&self, event: &gst::EventRef) -> bool {
        let mut withheld = lock(&self.withheld);
        let keep = withheld.active
            && event.is_serialized()
            && !matches!(
                event.type_(),
                gst::EventType::StreamStart | gst::EventType::FlushStop
            );
        if keep {
            withheld.events.push(event.to_owned());
        }
        keep
    }

    /// Sends caps where a step has something new to say in them, and what waited for them.
    fn tell_caps(&self, even_without_frame: bool) {
        let fields = {
            let mut guard = lock(&self.state);
            let Some(state) = &mut *guard else { return };
            if state.done.is_empty() && !even_without_frame {
                return;
            }
            let fields = state.chain.caps_fields();
            let new = fields != state.told;
            state.told.clone_from(&fields);
            new.then_some(fields)
        };
        if let Some(fields) = &fields
            && let Some(shape) = &mut lock(&self.outline).shape
        {
            shape.fields.clone_from(fields);
        }
        let waiting = {
            let mut withheld = lock(&self.withheld);
            withheld.active = false;
            std::mem::take(&mut withheld.events)
        };
        let obj = self.obj();
        if let Some(fields) = fields
            && let Some(mut caps) = obj.src_pad().current_caps()
        {
            for (name, value) in &fields {
                caps.make_mut().set(*name, value);
            }
            gst::info!(CAT, imp = self, "caps are now {caps}");
            if obj.update_src_caps(&caps).is_err() {
                gst::warning!(CAT, imp = self, "downstream does not take {caps}");
            }
        } else if let Some(caps) = waiting.iter().rfind(|e| e.type_() == gst::EventType::Caps) {
            obj.src_pad().push_event(caps.clone());
        }
        for event in waiting {
            if event.type_() != gst::EventType::Caps {
                obj.src_pad().push_event(event);
            }
        }
    }

    /// Says what cannot be when caps queries find nothing. Upstream then only knows that nothing
    /// was negotiated.
    fn complain(&self, offered: Option<&gst::CapsRef>) {
        let Some(shape) = lock(&self.outline).shape.clone() else {
            return;
        };
        let obj = self.obj();
        let template = obj.sink_pad().pad_template_caps();
        let makes = shape.other(&template, true);
        let peer = obj.src_pad().peer_query_caps(None);
        let takes = shape.other(&template, false);
        let problem = if makes.is_empty() || !peer.can_intersect(&makes) {
            format!(
                "the operations make {makes}, but downstream takes only {peer}; change the caps behind aienhance or put videoconvert or videoscale there"
            )
        } else if let Some(offered) = offered
            && !offered.is_empty()
            && template.can_intersect(offered)
            && !takes.can_intersect(offered)
        {
            format!(
                "the operations take {takes}, but upstream offers only {}; put videoconvert in front",
                offered.to_owned()
            )
        } else {
            return;
        };
        if !self.complained.swap(true, Ordering::Relaxed) {
            gst::element_imp_warning!(self, gst::CoreError::Negotiation, ("{problem}"));
        }
    }

    /// Says why negotiation failed, where it is about what the chain makes or takes.
    fn explain_refused_caps(&self, caps: &gst::CapsRef) {
        let owned = caps.to_owned();
        let takes = gst_video::VideoInfo::from_caps(&owned)
            .ok()
            .and_then(|info| {
                let state = lock(&self.state);
                state.as_ref()?.chain.output(&format_of(&info)).err()
            });
        if let Some(error) = takes {
            self.post_error_message(error.to_error_message());
            return;
        }
        let Some(shape) = lock(&self.outline).shape.clone() else {
            return;
        };
        let makes = shape.other(&owned, true);
        let peer = self.obj().src_pad().peer_query_caps(None);
        if !makes.is_empty() && !peer.can_intersect(&makes) {
            gst::element_imp_error!(
                self,
                gst::CoreError::Negotiation,
                ("the operations make {makes}, but downstream takes only {peer}; change the caps behind aienhance or put videoconvert or videoscale there")
            );
        }
    }

    fn stats(&self) -> gst::Structure {
        let report = lock(&self.report);
        let mut stats = gst::Structure::builder("aivideo-stats").field("frames", report.frames);
        for (name, value) in &report.measurements {
            stats = stats.field(*name, *value);
        }
        for (name, engine) in &report.engines {
            stats = stats.field(*name, engine.stats().to_structure(&[]));
        }
        stats.build()
    }

    /// How long the chain holds a frame back, at the negotiated frame rate.
    fn delay(&self) -> Option<gst::ClockTime> {
        let frames = lock(&self.outline).look_ahead;
        if frames == 0 {
            return Some(gst::ClockTime::ZERO);
        }
        let caps = self.obj().sink_pad().current_caps()?;
        let info = gst_video::VideoInfo::from_caps(&caps).ok()?;
        let fps = info.fps();
        let (n, d) = (
            u64::try_from(fps.numer()).ok().filter(|n| *n > 0)?,
            u64::try_from(fps.denom()).ok()?,
        );
        gst::ClockTime::SECOND.mul_div_ceil(frames * d, n)
    }
}

#[glib::object_subclass]
impl ObjectSubclass for AiEnhance {
    const NAME: &'static str = "GstAiEnhance";
    type Type = super::AiEnhance;
    type ParentType = gst_video::VideoFilter;
    type Interfaces = (gst::Preset,);
}

impl PresetImpl for AiEnhance {}

impl ObjectImpl for AiEnhance {
    fn constructed(&self) {
        self.parent_constructed();
        let weak = self.obj().downgrade();
        self.obj()
            .src_pad()
            .add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
                let keep = weak
                    .upgrade()
                    .zip(info.event())
                    .is_some_and(|(element, event)| element.imp().withhold(event));
                if keep {
                    gst::PadProbeReturn::Handled
                } else {
                    gst::PadProbeReturn::Ok
                }
            });
    }

    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let known: Vec<String> = crate::operations::OPERATIONS
                .iter()
                .map(|d| {
                    let params: Vec<_> = d.params.iter().map(|p| p.describe()).collect();
                    format!("{} ({})", d.name, params.join(", "))
                })
                .collect();
            let blurb = format!(
                "What is done, in this order, as in \"denoise:strength=auto,upscale:factor=2\": {}; empty: nothing",
                known.join(", ")
            );
            let mut properties = vec![
                glib::ParamSpecString::builder("operations")
                    .nick("Operations")
                    .blurb(&blurb)
                    .default_value(Some(""))
                    .mutable_playing()
                    .build(),
            ];
            properties.extend(properties::specs());
            properties.extend(InferenceSettings::properties());
            properties
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        // Numbers are taken up with the next frame; control bindings set them from there.
        if properties::set(&mut lock(&self.settings).numbers, pspec.name(), value) {
            return;
        }
        let _one_at_a_time = lock(&self.changing);
        let mut settings = lock(&self.settings).clone();
        if pspec.name() == "operations" {
            settings.operations = value
                .get::<Option<String>>()
                .ok()
                .flatten()
                .unwrap_or_default();
        } else if !settings.inference.set_property(pspec.name(), value) {
            return;
        }
        if lock(&self.state).is_some() {
            self.change(settings);
        } else {
            *lock(&self.settings) = settings;
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "operations" => lock(&self.settings).operations.to_value(),
            "stats" => self.stats().to_value(),
            name => {
                let settings = lock(&self.settings);
                properties::get(&settings.numbers, name)
                    .or_else(|| settings.inference.property(name))
                    .unwrap_or_else(|| pspec.default_value().clone())
            }
        }
    }
}

impl GstObjectImpl for AiEnhance {}

impl ElementImpl for AiEnhance {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Video enhancement",
                "Filter/Effect/Converter/Video/Scaler",
                "Enhances video by operations in the order given: noise reduction, upscaling and more",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let all = [formats(Depth::Eight), formats(Depth::Ten)].concat();
            let caps = gst_video::VideoCapsBuilder::new()
                .format_list(all)
                .width_range(1..=MAX_SIDE)
                .height_range(1..=MAX_SIDE)
                .build();
            same_pads(&cuda::with_places(&caps, &Place::ALL))
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for AiEnhance {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let chain = load(&settings).map_err(|refusal| refusal.to_error_message())?;
        self.warn_of(&chain);
        *lock(&self.report) = Report::default();
        *lock(&self.next) = None;
        *lock(&self.withheld) = Withheld::default();
        self.complained.store(false, Ordering::Relaxed);
        let frames = self.frames(&chain);
        if let Err(reason) = &frames {
            self.explain_host_only(&chain, reason);
        }
        self.publish(&chain, frames.ok());
        gst::info!(CAT, imp = self, "operations: \"{}\"", settings.operations);
        *lock(&self.state) = Some(State {
            chain,
            settings,
            infos: None,
            device: None,
            waiting: VecDeque::new(),
            sources: VecDeque::new(),
            held: VecDeque::new(),
            done: VecDeque::new(),
            told: Vec::new(),
        });
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = None;
        *lock(&self.next) = None;
        lock(&self.report).engines.clear();
        *lock(&self.outline) = Outline::default();
        Ok(())
    }

    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        let outline = lock(&self.outline);
        let other = match &outline.shape {
            Some(shape) => shape.other(
                &outline.offer().possible(caps),
                direction == gst::PadDirection::Sink,
            ),
            // Not started: what comes of it is not known before models and tables are read.
            None => self.obj().src_pad().pad_template_caps(),
        };
        drop(outline);
        gst::log!(CAT, imp = self, "{direction:?} {caps} -> {other}");
        Some(match filter {
            Some(filter) => filter.intersect_with_mode(&other, gst::CapsIntersectMode::First),
            None => other,
        })
    }

    fn propose_allocation(
        &self,
        decide_query: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        let on_card = query
            .get_owned()
            .0
            .is_some_and(|caps| Place::of(&caps) == Some(Place::Cuda));
        if !on_card || decide_query.is_none() {
            return self.parent_propose_allocation(decide_query, query);
        }
        self.offer().propose(query, Ok(()))
    }

    fn decide_allocation(
        &self,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        let place = query.get_owned().0.and_then(|caps| Place::of(&caps));
        let (in_place, held) = {
            let outline = lock(&self.outline);
            let keeps_form = outline.shape.as_ref().is_some_and(Shape::keeps_form);
            (
                place == Some(Place::Nvmm) && keeps_form && outline.behind == 0,
                (outline.look_ahead - outline.behind.min(outline.look_ahead)) as u32,
            )
        };
        if place.is_some() && !in_place {
            self.offer().decide(query)?;
            // Frames that wait for those after them are the pool's all the while.
            let first = query.allocation_pools().next();
            if let Some((pool, size, least, most)) = first.filter(|_| held > 0) {
                let more = |n: u32| if n == 0 { 0 } else { n + held };
                query.set_nth_allocation_pool(0, pool.as_ref(), size, least + held, more(most));
            }
        }
        self.parent_decide_allocation(query)
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        if self.offer().answer(&*self.obj(), query) {
            return true;
        }
        let done = BaseTransformImplExt::parent_query(self, direction, query);
        if direction == gst::PadDirection::Sink
            && let gst::QueryView::Caps(caps) = query.view()
            && caps.result().is_some_and(|caps| caps.is_empty())
        {
            self.complain(caps.filter());
        }
        if done
            && let gst::QueryViewMut::Latency(latency) = query.view_mut()
            && let Some(delay) = self.delay()
        {
            let (live, min, max) = latency.result();
            latency.set(live, min + delay, max.map(|max| max + delay));
        }
        done
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::FlushStop(_) => self.reset(),
            gst::EventView::Eos(_)
            | gst::EventView::Caps(_)
            | gst::EventView::Segment(_)
            | gst::EventView::Gap(_)
            | gst::EventView::StreamStart(_) => {
                if let Err(error) = self.drain() {
                    gst::debug!(CAT, imp = self, "while draining: {error}");
                }
                // No frame will make the caps complete in time for these.
                if matches!(event.type_(), gst::EventType::Eos | gst::EventType::Gap)
                    && lock(&self.withheld).active
                {
                    self.tell_caps(true);
                }
            }
            _ => {}
        }
        if let gst::EventView::Caps(caps) = event.view() {
            let caps = caps.caps_owned();
            let taken = self.parent_sink_event(event);
            if !taken {
                self.explain_refused_caps(&caps);
            }
            return taken;
        }
        self.parent_sink_event(event)
    }

    fn submit_input_buffer(
        &self,
        is_discont: bool,
        inbuf: gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.adopt_next();
        // Not `is_discont`: the base class says that until a frame comes out, which with a
        // look-ahead would then never happen before the end.
        if inbuf.flags().contains(gst::BufferFlags::DISCONT) {
            self.drain()?;
            self.reset();
        }
        aivideo_core::control::follow(*CAT, &*self.obj(), &inbuf);
        self.take_numbers();
        self.parent_submit_input_buffer(is_discont, inbuf)
    }

    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        if self.obj().is_passthrough() {
            return self.parent_generate_output();
        }
        if let Some(buffer) = self.take_queued_buffer() {
            let on_device = lock(&self.state)
                .as_ref()
                .is_some_and(|s| s.device.is_some());
            if on_device {
                self.enhance_on_device(buffer)?;
                return Ok(match self.next_output()? {
                    Some(buffer) => GenerateOutputSuccess::Buffer(buffer),
                    None => GenerateOutputSuccess::NoOutput,
                });
            }
            let outcome = {
                let mut guard = lock(&self.state);
                let state = guard.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
                let (info, _) = state.infos.as_ref().ok_or(gst::FlowError::NotNegotiated)?;
                let picture =
                    match gst_video::VideoFrameRef::from_buffer_ref_readable(&buffer, info) {
                        Ok(frame) => read(&frame, &mut state.chain),
                        Err(_) => Err(gst::error_msg!(
                            gst::StreamError::Format,
                            (
                                "a buffer of {} bytes cannot be read as a frame of {}x{}",
                                buffer.size(),
                                info.width(),
                                info.height()
                            )
                        )),
                    };
                let outcome = picture.and_then(|picture| {
                    state.waiting.push_back(buffer.clone());
                    state
                        .chain
                        .process(Frame::new(picture))
                        .map_err(|error| error.to_error_message())
                });
                let measurements = state.chain.measurements();
                drop(guard);
                lock(&self.report).measurements = measurements;
                outcome
            };
            match outcome {
                Ok(Some(frame)) => self.finish(frame),
                Ok(None) => {}
                Err(message) => {
                    self.post_error_message(message);
                    return Err(gst::FlowError::Error);
                }
            }
        }
        Ok(match self.next_output()? {
            Some(buffer) => GenerateOutputSuccess::Buffer(buffer),
            None => GenerateOutputSuccess::NoOutput,
        })
    }
}

impl VideoFilterImpl for AiEnhance {
    fn set_info(
        &self,
        incaps: &gst::Caps,
        in_info: &gst_video::VideoInfo,
        outcaps: &gst::Caps,
        out_info: &gst_video::VideoInfo,
    ) -> Result<(), gst::LoggableError> {
        let device = self.on_card(incaps)?;
        let mut guard = lock(&self.state);
        let Some(state) = &mut *guard else {
            return Err(gst::loggable_error!(CAT, "not started"));
        };
        let output = match state.chain.start(&format_of(in_info)) {
            Ok(output) => output,
            Err(error) => return Err(gst::loggable_error!(CAT, "{error}")),
        };
        let got = (out_info.width() as usize, out_info.height() as usize);
        if (output.width, output.height) != got {
            return Err(gst::loggable_error!(
                CAT,
                "the operations make {}x{} of {}x{}, which is not {outcaps}",
                output.width,
                output.height,
                in_info.width(),
                in_info.height()
            ));
        }
        state.waiting.clear();
        state.sources.clear();
        state.held.clear();
        state.done.clear();
        state.told = state.chain.caps_fields();
        lock(&self.withheld).active = state.chain.caps_pending();
        state.infos = Some((in_info.clone(), out_info.clone()));
        state.device = device;
        Ok(())
    }
}
