// SPDX-License-Identifier: Apache-2.0

use std::collections::VecDeque;
use std::sync::{LazyLock, Mutex};

use aivideo_core::{
    cuda::{self, Access, CudaError, Frames, Offer, Place},
    element::{lock, same_pads},
    settings::InferenceSettings,
};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_transform::GenerateOutputSuccess;
use gst_base::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::subclass::prelude::*;

use super::{Base, Structure};
use crate::carriage;
use crate::hint::{self, Hint};
use crate::restore::beside::FARTHEST;
use crate::restore::device::KERNELS;
use crate::restore::{Condition, Depth, Picture, RestoreError, Restorer};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "airestore",
        gst::DebugColorFlags::empty(),
        Some("Restoration of coded video"),
    )
});

const FORMATS: [gst_video::VideoFormat; 4] = [
    gst_video::VideoFormat::I420,
    gst_video::VideoFormat::Nv12,
    gst_video::VideoFormat::I42010le,
    gst_video::VideoFormat::P01010le,
];

/// What may change from frame to frame.
#[derive(Clone, Copy)]
struct Rules {
    strength: f64,
    quality: f64,
    base: Base,
    structure: Structure,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            strength: 1.0,
            quality: -1.0,
            base: Base::Auto,
            structure: Structure::Auto,
        }
    }
}

#[derive(Clone, Default)]
struct Settings {
    rules: Rules,
    look_ahead: u32,
    inference: InferenceSettings,
}

struct State {
    restorer: Restorer,
    built_in: bool,
    /// With the height that is coded.
    hint: Option<(Hint, Option<usize>)>,
    /// True when the stream was made for another net.
    foreign: bool,
    /// When the net runs on a GPU and frames may lie there.
    frames: Option<Frames>,
    /// Of the frames, when they lie there.
    on_device: Option<(Place, gst_video::VideoInfo)>,
    /// Of the frames.
    height: usize,
    /// How many frames wait for those after them, in the host's memory, and which.
    look_ahead: usize,
    waiting: VecDeque<gst::Buffer>,
    info: Option<gst_video::VideoInfo>,
    restored: u64,
    passed: u64,
}

#[derive(Default)]
pub struct AiRestore {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
}

/// The properties, also those of the decoder around it.
pub fn properties() -> Vec<glib::ParamSpec> {
    let default = Rules::default();
    let mut specs = vec![
        glib::ParamSpecDouble::builder("strength")
            .nick("Strength")
            .blurb("Share of what the net changes; 0 passes frames through")
            .minimum(0.0)
            .maximum(1.0)
            .default_value(default.strength)
            .controllable()
            .mutable_playing()
            .build(),
        glib::ParamSpecDouble::builder("quality")
            .nick("Quality")
            .blurb(
                "The stream's constant quantiser (CRF, CQ) over the largest there is, 51 or \
                 63 for AV1; -1 for what the stream says, else unknown",
            )
            .minimum(-1.0)
            .maximum(1.0)
            .default_value(default.quality)
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("base", default.base)
            .nick("Base")
            .blurb("What made the stream; counts together with quality")
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("structure", default.structure)
            .nick("Structure")
            .blurb("How the stream's pictures lean on each other; counts together with quality")
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt::builder("look-ahead")
            .nick("Look-ahead")
            .blurb(
                "Frames that each one waits for, to be filtered with their help, where it was coded at its \
                 full size; as many before it are looked at, too. Adds their time to the latency",
            )
            .maximum(FARTHEST as u32)
            .default_value(0)
            .mutable_ready()
            .build(),
    ];
    specs.extend(InferenceSettings::properties());
    specs
}

#[glib::object_subclass]
impl ObjectSubclass for AiRestore {
    const NAME: &'static str = "GstAiRestore";
    type Type = super::AiRestore;
    type ParentType = gst_video::VideoFilter;
}

impl ObjectImpl for AiRestore {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(properties);
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let mut guard = lock(&self.settings);
        let settings = &mut *guard;
        let rules = &mut settings.rules;
        match pspec.name() {
            "structure" => rules.structure = value.get().unwrap_or(rules.structure),
            "look-ahead" => settings.look_ahead = value.get().unwrap_or(settings.look_ahead),
            "strength" => rules.strength = value.get().unwrap_or(rules.strength),
            "quality" => rules.quality = value.get().unwrap_or(rules.quality),
            "base" => rules.base = value.get().unwrap_or(rules.base),
            name => {
                if !settings.inference.set_property(name, value) {
                    gst::error!(CAT, imp = self, "{name} cannot be {value:?}");
                }
            }
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" {
            let state = lock(&self.state);
            let stats = match state.as_ref() {
                Some(state) => {
                    let mut extra = vec![
                        ("frames-restored", state.restored.to_send_value()),
                        ("frames-passed", state.passed.to_send_value()),
                    ];
                    if let Some((hint, coded)) = &state.hint {
                        let coded = coded.and_then(|height| i32::try_from(height).ok());
                        let structure = carriage::structure(hint, coded);
                        extra.push(("hint", structure.to_send_value()));
                    }
                    state.restorer.engine().stats().to_structure(&extra)
                }
                None => gst::Structure::new_empty("aivideo-stats"),
            };
            return stats.to_value();
        }
        let settings = lock(&self.settings);
        match pspec.name() {
            "strength" => settings.rules.strength.to_value(),
            "quality" => settings.rules.quality.to_value(),
            "base" => settings.rules.base.to_value(),
            "structure" => settings.rules.structure.to_value(),
            "look-ahead" => settings.look_ahead.to_value(),
            name => settings
                .inference
                .property(name)
                .unwrap_or_else(|| pspec.default_value().clone()),
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        // The net remembers the picture before: none may be left out.
        self.obj().set_qos(false);
    }
}

impl GstObjectImpl for AiRestore {}

impl ElementImpl for AiRestore {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Restoration of coded video",
                "Filter/Effect/Video",
                "Takes artefacts of AV1, H.265 and H.264 coding out of decoded video, by a net",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst_video::VideoCapsBuilder::new()
                .format_list(FORMATS)
                .build();
            same_pads(&cuda::with_places(&caps, &Place::ALL))
        });
        &TEMPLATES
    }
}

impl AiRestore {
    /// What this answers about frames in a GPU's memory.
    fn offer(&self) -> Offer {
        if let Some(state) = lock(&self.state).as_ref() {
            return Offer::started(state.restorer.engine().gpu_index(), state.frames.as_ref());
        }
        Offer::before_start(lock(&self.settings).inference.gpu())
    }
}

impl BaseTransformImpl for AiRestore {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let mut restorer = Restorer::load(&settings.inference).map_err(|error| match &error {
            RestoreError::Engine(error) => error.to_error_message(),
            RestoreError::Model { .. } | RestoreError::Device(_) => {
                gst::error_msg!(gst::ResourceError::Failed, ("{error}"))
            }
        })?;
        for warning in restorer.engine().warnings() {
            gst::element_imp_warning!(self, gst::ResourceError::Settings, ("{warning}"));
        }
        let mut look_ahead = settings.look_ahead as usize;
        if look_ahead > 0 && !restorer.has_filters() {
            look_ahead = 0;
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Settings,
                ("look-ahead is for the filters that come with the built-in net; with a model-location \
                     frames are not kept back")
            );
        }
        restorer.set_look_ahead(look_ahead);
        let frames = Frames::of_element(&*self.obj(), restorer.engine(), &KERNELS);
        *lock(&self.state) = Some(State {
            restorer,
            frames,
            on_device: None,
            built_in: settings.inference.model_location.is_none(),
            hint: None,
            foreign: false,
            height: 0,
            look_ahead,
            waiting: VecDeque::new(),
            info: None,
            restored: 0,
            passed: 0,
        });
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = None;
        Ok(())
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        let answered = self.offer().answer(&*self.obj(), query)
            || BaseTransformImplExt::parent_query(self, direction, query);
        if answered
            && direction == gst::PadDirection::Src
            && let gst::QueryViewMut::Latency(latency) = query.view_mut()
        {
            let own = lock(&self.state).as_ref().map(State::latency);
            let own = own.unwrap_or_default();
            let (live, least, most) = latency.result();
            latency.set(live, least + own, most.map(|most| most + own));
        }
        answered
    }

    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        self.parent_transform_caps(direction, &self.offer().possible(caps), filter)
    }

    fn propose_allocation(
        &self,
        decide_query: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        let answered = self.parent_propose_allocation(decide_query, query);
        self.offer().propose(query, answered)
    }

    fn transform_ip(&self, buf: &mut gst::BufferRef) -> Result<gst::FlowSuccess, gst::FlowError> {
        let rules = lock(&self.settings).rules;
        let mut guard = lock(&self.state);
        let Some(state) = guard.as_mut().filter(|state| state.on_device.is_some()) else {
            drop(guard);
            return self.parent_transform_ip(buf);
        };
        let result = state.restore_on_device(buf, rules);
        state.restored += u64::from(result.is_ok());
        if result.is_err() {
            state.restorer.reset();
        }
        drop(guard);
        result.map(|()| gst::FlowSuccess::Ok).map_err(|error| {
            gst::element_imp_error!(self, gst::StreamError::Failed, ("{error}"));
            gst::FlowError::Error
        })
    }

    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        let mut guard = lock(&self.state);
        let Some(state) = guard.as_mut().filter(|state| state.looks_ahead()) else {
            drop(guard);
            return self.parent_generate_output();
        };
        if let Some(buffer) = self.take_queued_buffer() {
            state.admit(buffer);
        }
        if state.waiting.len() <= state.look_ahead {
            return Ok(GenerateOutputSuccess::NoOutput);
        }
        drop(guard);
        self.take_waiting().map(|frame| match frame {
            Some(frame) => GenerateOutputSuccess::Buffer(frame),
            None => GenerateOutputSuccess::NoOutput,
        })
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        // What comes after the frames that wait does not overtake them.
        if event.is_serialized() && event.type_() != gst::EventType::FlushStop {
            self.drain();
        }
        match event.view() {
            gst::EventView::FlushStop(_) => {
                if let Some(state) = lock(&self.state).as_mut() {
                    state.restorer.reset();
                    state.waiting.clear();
                }
            }
            gst::EventView::CustomDownstreamSticky(custom) => {
                let hint = custom.structure().and_then(carriage::from_structure);
                if let Some((hint, coded_height)) = hint {
                    self.take_hint(hint, coded_height);
                }
            }
            _ => {}
        }
        self.parent_sink_event(event)
    }

    fn before_transform(&self, inbuf: &gst::BufferRef) {
        let obj = self.obj();
        if lock(&self.state).as_ref().is_some_and(State::looks_ahead) {
            return;
        }
        aivideo_core::control::follow(*CAT, &*obj, inbuf);
        let rules = lock(&self.settings).rules;
        let mut guard = lock(&self.state);
        let Some(state) = guard.as_mut() else { return };
        let nothing = state.passes(rules);
        if nothing {
            state.passed += 1;
        }
        if nothing || inbuf.flags().contains(gst::BufferFlags::DISCONT) {
            state.restorer.reset();
        }
        drop(guard);
        if obj.is_passthrough() != nothing {
            obj.set_passthrough(nothing);
        }
    }
}

impl VideoFilterImpl for AiRestore {
    fn set_info(
        &self,
        incaps: &gst::Caps,
        in_info: &gst_video::VideoInfo,
        _outcaps: &gst::Caps,
        _out_info: &gst_video::VideoInfo,
    ) -> Result<(), gst::LoggableError> {
        let place = self.offer().place(incaps);
        let place = place.map_err(|err| gst::loggable_error!(CAT, "{err}"))?;
        if let Some(state) = lock(&self.state).as_mut() {
            state.restorer.reset();
            state.height = in_info.height() as usize;
            state.info = Some(in_info.clone());
            state.on_device = place.map(|place| (place, in_info.clone()));
        }
        let (wanted, looks_ahead) = lock(&self.state).as_ref().map_or((false, false), |state| {
            (state.look_ahead > 0, state.looks_ahead())
        });
        if looks_ahead {
            let obj = self.obj();
            // The default path is not taken, so neither is its way of passing frames.
            obj.set_passthrough(false);
            let _ = obj.post_message(gst::message::Latency::builder().src(&*obj).build());
        } else if wanted {
            gst::element_imp_warning!(
                self,
                gst::StreamError::Format,
                ("look-ahead needs frames in the host's memory; those in a GPU's are restored without")
            );
        }
        Ok(())
    }

    fn transform_frame_ip(
        &self,
        frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let rules = lock(&self.settings).rules;
        let mut guard = lock(&self.state);
        let Some(state) = guard.as_mut() else {
            return Err(gst::FlowError::Flushing);
        };
        let result = state.restore(frame, rules);
        drop(guard);
        result.map(|()| gst::FlowSuccess::Ok).map_err(|error| {
            gst::element_imp_error!(self, gst::StreamError::Failed, ("{error}"));
            gst::FlowError::Error
        })
    }
}

impl State {
    /// Whether frames wait for those after them.
    fn looks_ahead(&self) -> bool {
        self.look_ahead > 0 && self.on_device.is_none()
    }

    fn latency(&self) -> gst::ClockTime {
        if !self.looks_ahead() {
            return gst::ClockTime::ZERO;
        }
        // As elsewhere, 25 frames a second where none are told.
        let fps = self.info.as_ref().map(gst_video::VideoInfo::fps);
        let fps = fps.filter(|fps| fps.numer() > 0 && fps.denom() > 0);
        let (frames, seconds) = fps.map_or((25, 1), |fps| (fps.numer() as u64, fps.denom() as u64));
        gst::ClockTime::from_nseconds(1_000_000_000 * self.look_ahead as u64 * seconds / frames)
    }

    /// Whether a frame goes as it came.
    fn passes(&self, rules: Rules) -> bool {
        // On a GPU the net alone restores.
        let filters = self.restorer.has_filters() && self.on_device.is_none();
        let filters = filters.then_some(self.look_ahead);
        let fine = || condition(rules, self.hint.as_ref(), self.height).is_fine(filters);
        rules.strength < 1.0 / 512.0 || self.foreign || self.built_in && fine()
    }

    /// A frame begins to wait; one that cannot be read is told of when its turn comes.
    fn admit(&mut self, mut buffer: gst::Buffer) {
        if buffer.get_mut().is_none() {
            // A decoder predicts from it.
            buffer = buffer.copy_deep().unwrap_or(buffer);
        }
        if let (Some(info), Some(writable)) = (&self.info, buffer.get_mut())
            && let Ok(mut frame) =
                gst_video::VideoFrameRef::from_buffer_ref_writable(writable, info)
            && let Some(picture) = picture(&mut frame)
        {
            self.restorer.admit(&picture);
        }
        self.waiting.push_back(buffer);
    }

    fn restore(
        &mut self,
        frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
        rules: Rules,
    ) -> Result<(), String> {
        let condition = condition(rules, self.hint.as_ref(), self.height);
        let mut picture = picture(frame)
            .ok_or("Cannot read the frame: its planes are smaller than its caps say")?;
        self.restorer
            .run(&mut picture, condition, rules.strength)
            .map_err(|error| error.to_string())?;
        self.restored += 1;
        Ok(())
    }

    /// Restores a frame in the GPU's memory in place, and waits for it.
    #[allow(unsafe_code)] // the GPU uses the frame's memory
    fn restore_on_device(
        &mut self,
        buffer: &mut gst::BufferRef,
        rules: Rules,
    ) -> Result<(), String> {
        let condition = condition(rules, self.hint.as_ref(), self.height);
        let (Some(frames), Some((place, info))) = (&mut self.frames, &self.on_device) else {
            return Err("There is no GPU for frames in its memory".to_string());
        };
        let said = |error: CudaError| error.to_string();
        let frame = frames
            .map(buffer, info, *place, Access::Change)
            .map_err(said)?;
        let picture = frame
            .picture(info)
            .ok_or_else(|| format!("frames of {} cannot be restored", info.format().to_str()))?;
        // SAFETY: the planes are the frame's, which `finish`, or dropping it, waits for.
        unsafe {
            self.restorer
                .run_on_device(&picture, condition, rules.strength)
        }
        .map_err(|error| error.to_string())?;
        frame.finish().map_err(said)
    }
}

fn depth(format: gst_video::VideoFormat) -> Depth {
    match format {
        gst_video::VideoFormat::I42010le => Depth::Ten { upper: false },
        gst_video::VideoFormat::P01010le => Depth::Ten { upper: true },
        _ => Depth::Eight,
    }
}

impl AiRestore {
    /// The frame that waited longest, restored.
    fn take_waiting(&self) -> Result<Option<gst::Buffer>, gst::FlowError> {
        let Some(mut buffer) = lock(&self.state)
            .as_mut()
            .and_then(|s| s.waiting.pop_front())
        else {
            return Ok(None);
        };
        aivideo_core::control::follow(*CAT, &*self.obj(), &buffer);
        let rules = lock(&self.settings).rules;
        let mut guard = lock(&self.state);
        let Some(state) = guard.as_mut() else {
            return Err(gst::FlowError::Flushing);
        };
        if state.passes(rules) {
            state.passed += 1;
            state.restorer.pass();
            return Ok(Some(buffer));
        }
        let result = match (&state.info.clone(), buffer.get_mut()) {
            (Some(info), Some(writable)) => {
                gst_video::VideoFrameRef::from_buffer_ref_writable(writable, info)
                    .map_err(|error| format!("Cannot read the frame: {error}"))
                    .and_then(|mut frame| state.restore(&mut frame, rules))
            }
            _ => Err("Cannot write the frame: there is no memory for a copy".to_string()),
        };
        drop(guard);
        result.map(|()| Some(buffer)).map_err(|error| {
            gst::element_imp_error!(self, gst::StreamError::Failed, ("{error}"));
            gst::FlowError::Error
        })
    }

    /// Sends all frames that wait, with what is known so far.
    fn drain(&self) {
        while let Ok(Some(buffer)) = self.take_waiting() {
            if let Err(error) = self.obj().src_pad().push(buffer) {
                gst::debug!(
                    CAT,
                    imp = self,
                    "a frame that waited was not taken: {error}"
                );
            }
        }
    }

    fn take_hint(&self, hint: Hint, coded_height: Option<usize>) {
        let mut guard = lock(&self.state);
        let Some(state) = guard.as_mut() else { return };
        let own = state.restorer.model_id();
        let foreign = hint.model != own;
        let news = foreign && !state.foreign;
        state.foreign = foreign;
        state.hint = Some((hint, coded_height));
        drop(guard);
        if news {
            let hex = |id: [u8; 8]| id.map(|byte| format!("{byte:02x}")).concat();
            gst::element_imp_warning!(
                self,
                gst::StreamError::Decode,
                (
                    "The stream was made for the net {}, and this is {}: pictures pass as they are; \
                     use the encoder's version, or model-location with its net",
                    hex(hint.model),
                    hex(own)
                )
            );
        }
    }
}

/// What the properties say of the stream, else the hint. The size that was coded is the hint's in
/// either case.
fn condition(rules: Rules, hint: Option<&(Hint, Option<usize>)>, height: usize) -> Condition {
    if rules.quality >= 0.0 {
        let base = match rules.base {
            Base::Auto => hint.map(|(hint, _)| hint.base).unwrap_or_default(),
            Base::Av1 => hint::Base::Av1,
            Base::H265 => hint::Base::H265,
            Base::H264 => hint::Base::H264,
        };
        let scale = hint.map_or(1.0, |(hint, coded)| hint.scale(coded.unwrap_or(height)));
        let low_delay = match rules.structure {
            Structure::Auto => hint.and_then(|(hint, _)| hint.low_delay),
            Structure::LowDelay => Some(true),
            Structure::Reordered => Some(false),
        };
        return Condition::new(rules.quality, scale, base).with_low_delay(low_delay);
    }
    hint.map_or(Condition::default(), |(hint, coded)| {
        Condition::of_hint(hint, coded.unwrap_or(height))
    })
}

/// The planes of a frame; None where memory is too short.
fn picture<'a>(
    frame: &'a mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
) -> Option<Picture<'a>> {
    let (format, width, height) = (frame.format(), frame.width(), frame.height());
    let count = frame.n_planes() as usize;
    let strides: Vec<usize> = frame
        .plane_stride()
        .iter()
        .map(|stride| usize::try_from(*stride).unwrap_or(0))
        .collect();
    let planes = frame.planes_data_mut().into_iter().zip(strides);
    Picture::new(
        planes.take(count).collect(),
        depth(format),
        width as usize,
        height as usize,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quality_by_hand_does_not_hide_the_size_that_was_coded() {
        let rules = Rules {
            quality: 0.3,
            base: Base::Av1,
            ..Rules::default()
        };
        let hint = Hint {
            model: [0; 8],
            base: hint::Base::Av1,
            quality: None,
            width: 320,
            height: 180,
            noise: None,
            low_delay: None,
        };
        assert!(condition(rules, None, 180).is_fine(None));
        assert!(condition(rules, Some(&(hint, Some(180))), 180).is_fine(None));
        assert!(!condition(rules, Some(&(hint, Some(90))), 180).is_fine(None));
    }
}
